# SPDX-License-Identifier: BSD-2-Clause
"""QEMU is killed with -9 in the middle of its work and started again on the same disk."""

import time

import pytest

from .checks import HALF, assert_clean, digest, pattern
from .guest import fio, fio_result

KEEP = "yes sluice | head -c 4000000 > /kept; sha256sum < /kept; sync"


@pytest.mark.parametrize("version, bus", HALF)
def test_killed_qemu_starts_again_on_the_same_disk_and_finds_all_it_had_flushed(lab, version, bus):
    daemon = lab.daemon()
    image = lab.image()
    disk = daemon.put_file(bus, "root", image)
    guest = lab.boot(version, disk)
    before = guest.run(KEEP)
    guest.start(fio("/load", size_mib=64, time_based=1, runtime=60, iodepth=32))
    time.sleep(2)
    guest.kill()
    again = lab.boot(version, disk)
    assert again.run("sha256sum < /kept") == before
    fio_result(again.run(fio("/fio", size_mib=8)))
    again.poweroff()
    assert_clean(image)


def test_killed_qemu_harms_no_other_guest(lab):
    daemon = lab.daemon()
    first = lab.start("7.2", daemon.put_file("scsi", "a", lab.image("a")))
    second = lab.start("10.0", daemon.put_file("blk", "b", lab.image("b")))
    for guest in (first, second):
        guest.wait_first_ready()
    load = second.start(fio("/fio", size_mib=32))
    first.start(fio("/fio", size_mib=32, time_based=1, runtime=60))
    time.sleep(1)
    first.kill()
    fio_result(load.wait())
    second.poweroff()


@pytest.mark.once
def test_disk_written_by_the_host_reads_the_same_in_the_guest(lab):
    daemon = lab.daemon()
    data = pattern(8 << 20)
    path = lab.place / "data.img"
    path.write_bytes(data)
    root = daemon.put_file("blk", "root", lab.image())
    disks = [daemon.put_file("blk", "data-blk", path)]
    copy = lab.place / "copy.img"
    copy.write_bytes(data)
    disks.append(daemon.put_file("scsi", "data-scsi", copy))
    guest = lab.boot("10.0", root, *disks)
    for disk in disks:
        assert guest.run(f"sha256sum < {guest.device(disk)}").split()[0] == digest(data)
    guest.poweroff()
