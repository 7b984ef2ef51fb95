# SPDX-License-Identifier: BSD-2-Clause
"""Packed rings: `packed=on` of QEMU's vhost-user devices, driven by Linux.

QEMU gives them to a SCSI guest without asking us (conformance item 13), to a block device only
because they are offered. Kills of the daemon: test_restart.py.
"""

import time

import pytest

from .checks import HALF, OTHER_HALF, assert_clean
from .guest import fio, fio_result

RING_PACKED = 34
PACKED = ["-global", "vhost-user-scsi.packed=on", "-global", "vhost-user-blk.packed=on"]


def assert_packed(guest, disk):
    """The guest's driver has acknowledged them."""
    name = guest.block_device(disk)
    up = "/device" if disk.bus == "blk" else "/device/../../.."
    features = guest.run(f"cat /sys/block/{name}{up}/features")
    assert features[RING_PACKED] == "1", features


def boot(lab, daemon, version, bus, **options):
    image = lab.image()
    disk = daemon.put_file(bus, "root", image)
    guest = lab.boot(version, disk, extra=PACKED, **options)
    assert_packed(guest, disk)
    return guest, disk, image


@pytest.mark.parametrize("version, bus, cpus", [
    ("7.2", "blk", 2), ("7.2", "scsi", 1), ("10.0", "blk", 1), ("10.0", "scsi", 2)])
def test_root_file_system_and_verified_load_on_packed_rings(lab, version, bus, cpus):
    guest, disk, image = boot(lab, lab.daemon(), version, bus, cpus=cpus)
    assert guest.root_device() == f"{guest.device(disk)} ext4"
    job = fio_result(guest.run(fio("/fio", size_mib=16, numjobs=cpus, offset_increment="16M",
                                   bsrange="4k-64k", iodepth=48), timeout=120))
    assert job["write"]["io_bytes"] == job["read"]["io_bytes"] == cpus * 16 << 20
    guest.reboot()
    assert_packed(guest, disk)
    fio_result(guest.run(fio("/fio", size_mib=4)))
    guest.poweroff()
    assert_clean(image)


@pytest.mark.parametrize("version, bus", HALF)
def test_load_on_packed_rings_is_verified_across_stop_and_cont(lab, version, bus):
    daemon = lab.daemon()
    guest, _, image = boot(lab, daemon, version, bus)
    load = guest.start(fio("/fio", size_mib=32, iodepth=32))
    for _ in range(4):
        time.sleep(0.7)
        guest.qemu.command("stop")
        [controller] = daemon.call("vhost_get_controllers")
        [session] = controller["sessions"]
        assert not session["started"] and session["inflight_task_cnt"] == 0
        time.sleep(0.3)
        guest.qemu.command("cont")
    job = fio_result(load.wait())
    assert job["read"]["io_bytes"] == job["write"]["io_bytes"] == 32 << 20
    guest.poweroff()
    assert_clean(image)


@pytest.mark.parametrize("version, bus", HALF)
def test_a_guest_with_packed_rings_comes_back_from_a_reset_in_the_middle_of_its_load(
        lab, version, bus):
    guest, disk, _ = boot(lab, lab.daemon(), version, bus)
    for _ in range(2):
        guest.start(fio("/load", size_mib=64, time_based=1, runtime=60))
        time.sleep(1.5)
        guest.qemu.command("system_reset")
        guest.wait_ready()
        assert_packed(guest, disk)
    fio_result(guest.run(fio("/fio", size_mib=8)))
    guest.poweroff()


@pytest.mark.parametrize("version, bus", OTHER_HALF)
def test_a_killed_qemu_with_packed_rings_starts_again_on_the_same_disk(lab, version, bus):
    daemon = lab.daemon()
    guest, disk, image = boot(lab, daemon, version, bus)
    before = guest.run("yes sluice | head -c 4000000 > /kept; sha256sum < /kept; sync")
    guest.start(fio("/load", size_mib=64, time_based=1, runtime=60, iodepth=32))
    time.sleep(2)
    guest.kill()
    again = lab.boot(version, disk)      # split this time: nothing is left of the packed ring
    assert again.run("sha256sum < /kept") == before
    fio_result(again.run(fio("/fio", size_mib=8)))
    again.poweroff()
    assert_clean(image)


@pytest.mark.once
@pytest.mark.parametrize("version, bus", OTHER_HALF)
def test_firmware_leaves_its_split_rings_to_a_driver_with_packed_ones(lab, version, bus):
    disk = lab.daemon().put_file(bus, "root", lab.image(kind="disk"))
    guest = lab.boot(version, disk, boot="seabios", extra=PACKED)
    assert_packed(guest, disk)
    fio_result(guest.run(fio("/fio", size_mib=4)))
    guest.reboot()
    fio_result(guest.run(fio("/fio", size_mib=4)))
    guest.poweroff()
