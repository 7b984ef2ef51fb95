# SPDX-License-Identifier: BSD-2-Clause
"""Two machines share a disk and fight over it with sg_persist, as the nodes of a cluster do, while
the daemon is killed with -9 in between: what one was told it has, it has."""

import re

from .guest import fio, fio_result
from .patience import wait_until

CONFLICT = 24           # exit status of sg3-utils for RESERVATION CONFLICT
UNIT_ATTENTION = 6      # told once
UUID = "5157ce00-0000-4000-8000-000000000099"
FIRST, SECOND = "0x1a", "0x2b"
WRITE_EXCLUSIVE_REGISTRANTS, EXCLUSIVE_ACCESS_REGISTRANTS = 5, 6


class Node:
    """A machine with a root disk of its own and the shared one as its target 1."""

    def __init__(self, lab, name):
        self.name = name
        self.image = lab.image(name)
        self.guest = None
        self.shared = None

    def attach(self, daemon):
        """All of it before the machine, which may be waiting, can connect."""
        controller = f"vm-{self.name}"
        daemon.call("vhost_create_scsi_controller", ctrlr=controller, delay=True)
        root = daemon.put_file("scsi", self.name, self.image, controller)
        self.shared = daemon.put("scsi", "shared", controller, target=1)
        daemon.call("vhost_start_scsi_controller", ctrlr=controller)
        return root, self.shared

    def device(self):
        return self.guest.device(self.shared)

    def try_persist(self, options):
        """Exit status and output; a unit attention is heard and the command sent again."""
        while True:
            result = self.guest.run(f"sg_persist -n {options} {self.device()} 2>&1", check=False)
            if result.status != UNIT_ATTENTION:
                return result

    def persist(self, options):
        result = self.try_persist(options)
        assert result.status == 0, result
        return result.output

    def is_refused(self, options):
        result = self.try_persist(options)
        assert result.status in (0, CONFLICT), result
        return result.status == CONFLICT

    def copies(self, arguments):
        """Does it get through?"""
        command = f"dd bs=4096 count=1 {arguments} 2>&1"
        return self.guest.run(command, check=False).status == 0

    def writes(self):
        return self.copies(f"if=/dev/zero of={self.device()} oflag=direct")

    def reads(self):
        return self.copies(f"if={self.device()} of=/dev/null iflag=direct")

    def keys(self):
        return re.findall(r"^ +(0x[0-9a-f]+)$", self.persist("--in --read-keys"), re.M)


def restart(daemon, path, nodes):
    daemon.kill()
    daemon.start()
    daemon.file("shared", path, uuid=UUID)
    for node in nodes:
        node.attach(daemon)


def fight(one, two):
    for node, key in ((one, FIRST), (two, SECOND)):
        node.persist(f"--out --register-ignore --param-sark={key}")
    one.persist(f"--out --reserve --param-rk={FIRST} --prout-type={WRITE_EXCLUSIVE_REGISTRANTS}")
    assert two.is_refused(
        f"--out --reserve --param-rk={SECOND} --prout-type={WRITE_EXCLUSIVE_REGISTRANTS}")
    assert two.is_refused(f"--out --release --param-rk={FIRST} --prout-type=5")
    assert one.writes() and two.writes()


def preempt(one, two):
    two.persist(f"--out --preempt-abort --param-rk={SECOND} --param-sark={FIRST} "
                f"--prout-type={EXCLUSIVE_ACCESS_REGISTRANTS}")
    assert two.keys() == [SECOND]
    assert one.is_refused(f"--out --register --param-rk={FIRST} --param-sark={FIRST}")
    assert not one.writes() and not one.reads()
    assert two.writes() and two.reads()


def test_two_machines_fight_over_a_disk_and_no_kill_of_the_daemon_takes_it_from_one(lab):
    daemon = lab.daemon()
    path = lab.empty("shared", 32)
    daemon.file("shared", path, uuid=UUID)
    one, two = nodes = Node(lab, "one"), Node(lab, "two")
    for node in nodes:
        node.guest = lab.start("10.0", *node.attach(daemon), reconnect=True)
    for node in nodes:
        node.guest.wait_first_ready()
    fight(one, two)

    restart(daemon, path, nodes)
    wait_until(lambda: two.keys() == [FIRST, SECOND], 20, "both keys are there after the kill")
    assert "Write Exclusive, registrants only" in one.persist("--in --read-reservation")
    preempt(one, two)

    load = two.guest.start(fio(two.device(), size_mib=8, time_based=1, runtime=4,
                               verify_backlog=64))
    restart(daemon, path, nodes)
    assert not one.writes() and not one.reads()
    fio_result(load.wait())
    assert two.keys() == [SECOND]
    one.guest.run(f"sg_reset -d {one.device()}")        # takes nothing from anybody
    assert not one.writes()
    status = two.persist("--in --read-full-status")
    assert "SAS" in status and "Exclusive Access, registrants only" in status, status

    two.persist(f"--out --clear --param-rk={SECOND}")
    assert two.keys() == []
    assert one.writes() and one.reads()
    for node in nodes:
        node.guest.poweroff()
