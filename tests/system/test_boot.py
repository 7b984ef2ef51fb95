# SPDX-License-Identifier: BSD-2-Clause
"""Guests that start by themselves from a disk of ours: firmware, boot loader, kernel, root.

Each of the disk's two loaders names itself on the kernel's command line, so a test knows which it
was.
OVMF drives these devices (on the root bus, with default properties) in legacy mode, without
VERSION_1: a back-end that insists on it cannot pass.
"""

import pytest

from .checks import HALF, OTHER_HALF


def root_is_on_partition_3(guest, disk):
    return guest.root_device() == f"{guest.device(disk)}3 ext4"


@pytest.mark.once
@pytest.mark.parametrize("version, bus", HALF)
def test_seabios_boots_the_disk_through_its_own_loader_and_again_after_a_reboot(lab, version, bus):
    daemon = lab.daemon()
    disk = daemon.put_file(bus, "disk", lab.image(kind="disk"))
    guest = lab.boot(version, disk, boot="seabios")
    assert "loader=grub-i386-pc" in guest.run("cat /proc/cmdline")
    assert root_is_on_partition_3(guest, disk)
    guest.run("echo kept > /kept; sync")
    guest.reboot()
    assert guest.run("cat /kept") == "kept"
    guest.poweroff()


@pytest.mark.once
@pytest.mark.parametrize("version, bus", OTHER_HALF)
def test_ovmf_boots_the_disk_through_its_own_loader(lab, version, bus):
    daemon = lab.daemon()
    disk = daemon.put_file(bus, "disk", lab.image(kind="disk"))
    guest = lab.boot(version, disk, boot="ovmf")
    assert "loader=grub-x86_64-efi" in guest.run("cat /proc/cmdline; ls -d /sys/firmware/efi")
    assert root_is_on_partition_3(guest, disk)
    guest.poweroff()


@pytest.mark.once
@pytest.mark.parametrize("version", ["7.2", "10.0"])
@pytest.mark.parametrize("firmware", ["seabios", "ovmf"])
def test_firmware_boots_lun_0_of_a_target_that_has_more(lab, version, firmware):
    daemon = lab.daemon()
    disk = daemon.put_file("scsi", "disk", lab.image(kind="disk"), controller="vm")
    others = [daemon.put_file("scsi", name, lab.empty(name, 8), controller="vm", target=target,
                              lun=lun) for name, target, lun in (("a", 0, 1), ("b", 1, 0))]
    guest = lab.boot(version, disk, *others, boot=firmware)
    assert root_is_on_partition_3(guest, disk)
    assert [guest.size(other) for other in others] == [8 << 20] * 2
    guest.poweroff()


@pytest.mark.once
# QEMU's boot index of a SCSI controller means LUN 0 of a target, so these guests have none. SeaBIOS
# tries the first disk that it finds and no other; OVMF tries them all.
@pytest.mark.parametrize("firmware, other, boots", [("seabios", 2, 1), ("ovmf", 0, 1)])
def test_firmware_boots_another_lun_than_0(lab, firmware, other, boots):
    daemon = lab.daemon()
    empty = daemon.put_file("scsi", "a", lab.empty("a", 8), controller="vm", lun=other)
    disk = daemon.put_file("scsi", "disk", lab.image(kind="disk"), controller="vm", lun=boots)
    guest = lab.boot("10.0", disk, empty, boot=firmware, bootindex=False)
    assert root_is_on_partition_3(guest, disk)
    guest.poweroff()
