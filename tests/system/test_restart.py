# SPDX-License-Identifier: BSD-2-Clause
"""Conformance item 52: the daemon is killed with -9 under load and started again, while the guests
run on. Its state brings the disks back; the guests see no error, and every byte is what they wrote.

QEMU 7.2 cannot connect a SCSI controller again (reference section 12.1): it needs the keeper, which
keeps the connection while the process that serves is killed.
"""

import os
import pathlib
import signal
import time

import pytest

from .checks import assert_clean
from .guest import fio, fio_result
from .patience import wait_until

SPLIT = ()
PACKED = ("-global", "vhost-user-scsi.packed=on", "-global", "vhost-user-blk.packed=on")
KILLS = 3
QUEUE_SIZE = 128         # QEMU's default
TROUBLE = "dmesg | grep -iE 'i/o error|blk_update|timed out|abort|remount|EXT4-fs error' || true"


def region_of(qemu):
    """The in-flight region that QEMU keeps for its next back-end."""
    for link in pathlib.Path(f"/proc/{qemu.process.pid}/fd").iterdir():
        if "sluice-inflight" in os.readlink(link):
            return link.read_bytes()
    raise AssertionError("QEMU has no in-flight region")


def count_in_flight(region, packed):
    """Marked entries of all its queues (spec/vhost_inflight.h)."""
    entry = 32 if packed else 16
    stride = (entry + entry * QUEUE_SIZE + 63) // 64 * 64
    room = (32 + 32 * QUEUE_SIZE + 63) // 64 * 64
    queues = [region[i * stride:(i + 1) * stride] for i in range(len(region) // room)]
    return sum(queue[entry:entry + entry * QUEUE_SIZE:entry].count(1) for queue in queues)


def stop_in_flight(daemon, guest, packed):
    """Stop the daemon (SIGSTOP) at a moment when it has requests in flight: how many."""
    daemon.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, daemon.process.pid, os.WSTOPPED | os.WNOWAIT)
    found = count_in_flight(region_of(guest.qemu), packed)
    if not found:
        daemon.process.send_signal(signal.SIGCONT)
    return found


def restart(daemon, guest, packed):
    """kill -9, and the next one, which has what the one before had."""
    wait_until(lambda: stop_in_flight(daemon, guest, packed), 60, "requests are in flight",
               pause=0.003)
    daemon.kill()
    daemon.start()


def load(where, seconds, **options):
    """Random writes, each block verified again and again while they go on."""
    return fio(where, time_based=1, runtime=seconds, verify_backlog=64, iodepth=32, **options)


@pytest.mark.parametrize("version, bus, cpus, rings", [
    ("7.2", "blk", 1, SPLIT), ("10.0", "blk", 2, SPLIT), ("10.0", "scsi", 2, SPLIT),
    ("7.2", "blk", 2, PACKED), ("10.0", "scsi", 1, PACKED)])
def test_a_guest_runs_on_through_kills_of_the_daemon(lab, version, bus, cpus, rings):
    daemon = lab.daemon(state=True)
    image = lab.image()
    disk = daemon.put_file(bus, "root", image)
    guest = lab.boot(version, disk, cpus=cpus, reconnect=True, extra=rings)
    job = guest.start(load("/load", 5 * KILLS, size_mib=32, numjobs=cpus))
    for _ in range(KILLS):
        time.sleep(2)
        restart(daemon, guest, bool(rings))
    fio_result(job.wait())
    assert guest.run(TROUBLE) == ""
    assert daemon.log_tail(1000).count(" repeats ") >= KILLS
    fio_result(guest.run(fio("/again", size_mib=8)))
    guest.poweroff()
    assert_clean(image)


KEEPER_KILLS = 6


def serving(daemon):
    """The process that serves, a child of the keeper; None while there is none."""
    children = daemon.proc(f"task/{daemon.process.pid}/children").read_text().split()
    return int(children[0]) if children else None


def state_of(pid):
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return stat.rsplit(")", 1)[1].split()[0]


def kill_in_flight(daemon, guest, pid):
    """kill -9 the process that serves, at a moment when it has requests in flight."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) in "TZ", 5, "the process stands still", pause=0.001)
    found = count_in_flight(region_of(guest.qemu), False)
    os.kill(pid, signal.SIGKILL if found else signal.SIGCONT)
    return found


def test_a_guest_that_cannot_connect_again_runs_on_through_kills(lab):
    daemon = lab.daemon("--keeper", state=True)
    image = lab.image()
    disk = daemon.put_file("scsi", "root", image)
    guest = lab.boot("7.2", disk, cpus=2)
    job = guest.start(load("/load", 2 * KEEPER_KILLS, size_mib=32, numjobs=2))
    for _ in range(KEEPER_KILLS):
        time.sleep(1.2)
        pid = serving(daemon)
        wait_until(lambda: kill_in_flight(daemon, guest, pid), 60, "requests are in flight",
                   pause=0.003)
        wait_until(lambda: serving(daemon) not in (None, pid), 5, "a successor", pause=0.01)
    daemon.rpc = wait_until(daemon.connect, 20, "the successor listens", pause=0.01)
    fio_result(job.wait())
    assert guest.run(TROUBLE) == ""
    assert daemon.log_tail(1000).count(" repeats ") >= KEEPER_KILLS
    fio_result(guest.run(fio("/again", size_mib=8)))
    guest.poweroff()
    assert_clean(image)
