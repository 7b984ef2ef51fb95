# SPDX-License-Identifier: BSD-2-Clause
"""A disk grows under a running guest: blk tells by its configuration, scsi by an event."""

import pytest

from .checks import HALF, MIB, grow
from .patience import wait_until


def grow_to(daemon, path, size_mib):
    grow(path, size_mib)
    daemon.call("bdev_aio_rescan", name="data")


def wait_for_size(guest, disk, size_mib):
    wait_until(lambda: guest.size(disk) == size_mib * MIB, 10,
               f"the guest sees {size_mib} MiB instead of {guest.size(disk) // MIB}", pause=0.3)


@pytest.mark.parametrize("version, bus", HALF)
def test_guest_sees_and_uses_a_disk_that_has_grown_also_while_it_was_stopped(lab, version, bus):
    daemon = lab.daemon()
    root = daemon.put_file(bus, "root", lab.image())
    path = lab.empty("data", 32)
    disk = daemon.put_file(bus, "data", path)
    guest = lab.boot(version, root, disk)
    assert guest.size(disk) == 32 * MIB
    grow_to(daemon, path, 64)
    wait_for_size(guest, disk, 64)
    last = f"of={guest.device(disk)} bs=1M seek=63 count=1 oflag=direct"
    guest.run(f"dd if=/dev/urandom {last}")
    assert any(path.read_bytes()[63 * MIB:]), "what was written to the new end is not in the file"

    guest.qemu.command("stop")
    grow_to(daemon, path, 96)
    guest.qemu.command("cont")
    wait_for_size(guest, disk, 96)
    guest.poweroff()
