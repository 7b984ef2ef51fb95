# SPDX-License-Identifier: BSD-2-Clause
"""One disk over several data threads, and how often it interrupts its guest."""

import itertools
import time

import pytest

from .checks import HALF, OTHER_HALF, assert_clean
from .guest import fio, fio_result

# What SCSI has before its request queues.
FIRST = {"blk": 0, "scsi": 2}


def queues(daemon, controller):
    (found,) = daemon.call("vhost_get_queues", ctrlr=controller)
    return {queue["queue"]: queue for queue in found["queues"]}


def place(daemon, controller, queue, cpu):
    return daemon.call("vhost_controller_set_queue_placement", ctrlr=controller, queue=queue,
                       cpu=cpu)


def lcores(daemon):
    """The CPUs of the data threads: the first thread is the application's."""
    return [r["lcore"] for r in daemon.call("framework_get_reactors")["reactors"]][1:]


@pytest.mark.parametrize("version,bus", OTHER_HALF)
def test_queues_move_to_and_fro_under_fio_and_its_data_stays_right(lab, version, bus):
    daemon = lab.daemon("--cores", "[0-1]")
    image = lab.image()
    disk = daemon.put_file(bus, "disk", image)
    guest = lab.boot(version, disk, cpus=2)
    mine = [FIRST[bus], FIRST[bus] + 1]
    assert {daemon.call("vhost_get_queues")[0]["ctrlr"]} == {"disk"}
    assert {queues(daemon, "disk")[queue]["cpu"] for queue in mine} == {0, 1}
    job = guest.start(fio(None, directory="/", size_mib=8, numjobs=2))
    for turn in itertools.count():
        for queue in mine:
            place(daemon, "disk", queue, (turn + queue) % 2 if turn % 3 else turn % 2)
        if turn > 20 and not job.running():
            break
        time.sleep(0.05)
    fio_result(job.wait(240))
    after = queues(daemon, "disk")
    for queue in mine:
        assert after[queue]["moves"] > 10, after
        assert after[queue]["requests"] > 0, after
    guest.poweroff()
    assert_clean(image)


def test_queue_placed_by_hand_stays_there_when_the_guest_starts_again(lab):
    daemon = lab.daemon("--cores", "[0-1]")
    disk = daemon.put_file("blk", "disk", lab.image())
    for queue in (0, 1):
        place(daemon, "disk", queue, 1)
    guest = lab.boot("10.0", disk, cpus=2)
    assert [queues(daemon, "disk")[q]["cpu"] for q in (0, 1)] == [1, 1]
    guest.reboot()
    assert [queues(daemon, "disk")[q]["cpu"] for q in (0, 1)] == [1, 1]
    guest.poweroff()


def interrupts(guest):
    """Of all virtio queues."""
    lines = guest.run("grep -E 'virtio.*(req|request)' /proc/interrupts").splitlines()
    return sum(int(word) for line in lines for word in line.split()[1:3] if word.isdigit())


@pytest.mark.parametrize("version,bus", HALF)
def test_coalesced_interrupts_are_fewer_and_every_request_ends(lab, version, bus):
    def interrupts_per_request(**options):
        before, done = interrupts(guest), total()
        fio_result(guest.run(fio("/fio", size_mib=8, iodepth=32, **options), 240))
        return (interrupts(guest) - before) / (total() - done)

    def total():
        return sum(queue["requests"] for queue in queues(daemon, "disk").values())

    daemon = lab.daemon()
    disk = daemon.put_file(bus, "disk", lab.image())
    guest = lab.boot(version, disk)
    at_once = interrupts_per_request()
    # Even TCG makes some hundred requests a second: pauses of 10 ms, the longest there are.
    daemon.call("vhost_controller_set_coalescing", ctrlr="disk", delay_base_us=2000,
                iops_threshold=100)
    delayed = interrupts_per_request()
    assert delayed < at_once / 2, f"{at_once:.2f} and {delayed:.2f} interrupts a request"
    # One request at a time: each waits for the end of a pause, and gets it.
    fio_result(guest.run(fio("/fio", size_mib=1, iodepth=1), 240))
    daemon.call("vhost_controller_set_coalescing", ctrlr="disk", delay_base_us=0,
                iops_threshold=60000)
    assert interrupts_per_request() > delayed
    guest.poweroff()
