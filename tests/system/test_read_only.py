# SPDX-License-Identifier: BSD-2-Clause
"""A disk that may only be read: the guest is told so, and nothing it does changes the file."""

import filecmp

import pytest

from guests import images


@pytest.mark.parametrize("version, bus, where", [
    ("7.2", "blk", "controller"), ("10.0", "blk", "bdev"), ("10.0", "scsi", "bdev")])
def test_guest_sees_a_read_only_disk_and_cannot_change_it(lab, version, bus, where):
    daemon = lab.daemon()
    image = lab.image()
    bdev = daemon.file("root", image, **({"readonly": True} if where == "bdev" else {}))
    disk = daemon.put(bus, bdev, readonly=True if where == "controller" else None)
    guest = lab.boot(version, disk, append="ro")
    device = guest.device(disk)
    assert guest.run(f"cat /sys/block/{device[5:]}/ro") == "1"
    write = f"dd if=/dev/zero of={device} bs=4096 count=1 oflag=direct conv=notrunc"
    assert guest.run(write, check=False).status != 0
    # Taking the kernel's own guard away, the request reaches us, and we refuse it.
    guest.run(f"blockdev --setrw {device} || true")
    assert guest.run(write, check=False).status != 0
    assert guest.run("mount -o remount,rw / && echo > /x && sync", check=False).status != 0
    guest.qemu.quit()
    assert filecmp.cmp(image, images.prepare() / "root.img", shallow=False)
