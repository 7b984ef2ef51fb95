# SPDX-License-Identifier: BSD-2-Clause
"""Conformance item 52: the daemon is killed with -9 under load and started again with the same
disks, while the guests run on. They see no error, and every byte is what they wrote.

QEMU 7.2 cannot connect a SCSI controller again (reference section 12.1).
"""

import signal
import time
import warnings

import pytest

from .checks import assert_clean
from .guest import fio, fio_result

SPLIT = ()
PACKED = ("-global", "vhost-user-scsi.packed=on", "-global", "vhost-user-blk.packed=on")
KILLS = 3
TROUBLE = "dmesg | grep -iE 'i/o error|blk_update|timed out|abort|remount|EXT4-fs error' || true"


def restart(daemon, *disks):
    """kill -9, and the next one with what the one before had. While the daemon is stopped its rings
    fill, so that it has much to do when it dies."""
    daemon.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    daemon.process.send_signal(signal.SIGCONT)
    time.sleep(0.001)
    daemon.kill()
    daemon.start()
    for disk, image in disks:
        daemon.put_file(disk.bus, disk.name, image, controller=disk.socket.name)


def load(where, seconds, **options):
    """Random writes, each block verified again and again while they go on."""
    return fio(where, time_based=1, runtime=seconds, verify_backlog=64, iodepth=32, **options)


@pytest.mark.parametrize("version, bus, cpus, rings", [
    ("7.2", "blk", 1, SPLIT), ("10.0", "blk", 2, SPLIT), ("10.0", "scsi", 2, SPLIT),
    ("7.2", "blk", 2, PACKED), ("10.0", "scsi", 1, PACKED)])
def test_a_guest_runs_on_through_kills_of_the_daemon(lab, version, bus, cpus, rings):
    daemon = lab.daemon()
    image = lab.image()
    disk = daemon.put_file(bus, "root", image)
    guest = lab.boot(version, disk, cpus=cpus, reconnect=True, extra=rings)
    job = guest.start(load("/load", 4 * KILLS, size_mib=32, numjobs=cpus))
    for _ in range(KILLS):
        time.sleep(2)
        restart(daemon, (disk, image))
    fio_result(job.wait())
    assert guest.run(TROUBLE) == ""
    if "repeats" not in daemon.log_tail(1000):
        warnings.warn("nothing was in flight when the daemon was killed")
    fio_result(guest.run(fio("/again", size_mib=8)))
    guest.poweroff()
    assert_clean(image)
