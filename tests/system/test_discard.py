# SPDX-License-Identifier: BSD-2-Clause
"""What a guest gives up, the file gives back: discard and fstrim; and zeroes without writing."""

import pytest

from .checks import MIB, OTHER_HALF, allocated
from .patience import wait_until


def fill(guest, device, size_mib):
    guest.run(f"dd if=/dev/urandom of={device} bs=1M count={size_mib} oflag=direct")


@pytest.mark.parametrize("version, bus", OTHER_HALF)
def test_discard_and_fstrim_free_the_files_blocks_and_zeroed_ranges_read_zero(lab, version, bus):
    daemon = lab.daemon()
    image, path = lab.image(), lab.empty("data", 32)
    root = daemon.put_file(bus, "root", image, fallocate=True)
    disk = daemon.put_file(bus, "data", path, fallocate=True)
    guest = lab.boot(version, root, disk)
    device = guest.device(disk)

    fill(guest, device, 32)
    assert allocated(path) >= 31 * MIB
    data = path.read_bytes()
    guest.run(f"blkdiscard -o {8 * MIB} -l {16 * MIB} {device}")
    assert allocated(path) <= 17 * MIB
    expected = data[:8 * MIB] + bytes(16 * MIB) + data[24 * MIB:]
    assert path.read_bytes() == expected, "discard touched more than its range"

    guest.run(f"blkdiscard -z -o {2 * MIB} -l {3 * MIB} {device}")
    expected = expected[:2 * MIB] + bytes(3 * MIB) + expected[5 * MIB:]
    assert path.read_bytes() == expected, "write zeroes did not zero its range and only that"

    full = allocated(image)
    guest.run("dd if=/dev/urandom of=/large bs=1M count=32; sync")
    assert allocated(image) >= full + 30 * MIB
    guest.run("rm /large; sync; fstrim /")
    wait_until(lambda: allocated(image) <= full + 4 * MIB, 10, "fstrim frees the file's blocks")
    guest.poweroff()
