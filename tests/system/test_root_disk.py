# SPDX-License-Identifier: BSD-2-Clause
"""A guest lives on a disk of ours: root on ext4, as many queues as processors, verified load.

The same with io_uring switched off in the daemon, and with io_uring refused by the kernel as
container runtimes refuse it.
"""

import pytest

from .checks import assert_clean
from .confine import io_uring_is_allowed
from .guest import fio, fio_result


def ring_names(daemon):
    return [name for name in daemon.fd_names() if "io_uring" in name]


def live_on_root_disk(lab, daemon, version, bus, cpus):
    image = lab.image()
    disk = daemon.put_file(bus, "root", image)
    guest = lab.boot(version, disk, cpus=cpus)
    assert guest.root_device() == f"{guest.device(disk)} ext4"
    queues = guest.run(f"ls /sys/block/{guest.block_device(disk)}/mq").split()
    assert len(queues) == cpus
    job = fio_result(guest.run(fio("/fio", size_mib=16, numjobs=cpus, offset_increment="16M",
                                   bsrange="4k-64k"), timeout=120))
    assert job["write"]["io_bytes"] == job["read"]["io_bytes"] == cpus * 16 << 20
    guest.poweroff()
    assert_clean(image)


@pytest.mark.parametrize("version, bus, cpus", [
    ("7.2", "blk", 1), ("7.2", "scsi", 2), ("10.0", "blk", 2), ("10.0", "scsi", 1)])
def test_root_file_system_and_verified_load_with_a_queue_per_processor(lab, version, bus, cpus):
    daemon = lab.daemon()
    assert bool(ring_names(daemon)) == (io_uring_is_allowed() and daemon.io_uring == "allowed")
    live_on_root_disk(lab, daemon, version, bus, cpus)


@pytest.mark.parametrize("io_uring, version, bus, cpus", [
    ("off", "7.2", "scsi", 1), ("off", "10.0", "blk", 2),
    ("forbidden", "7.2", "blk", 2), ("forbidden", "10.0", "scsi", 1)])
def test_root_file_system_and_verified_load_without_io_uring(lab, io_uring, version, bus, cpus):
    daemon = lab.daemon(io_uring=io_uring)
    assert not ring_names(daemon)
    live_on_root_disk(lab, daemon, version, bus, cpus)
    assert not ring_names(daemon)


@pytest.mark.once
@pytest.mark.parametrize("version, bus", [("7.2", "blk"), ("10.0", "scsi")])
def test_disk_with_blocks_of_4096_bytes_carries_the_root_file_system(lab, version, bus):
    daemon = lab.daemon()
    image = lab.image()
    disk = daemon.put_file(bus, "root", image, block_size=4096)
    guest = lab.boot(version, disk)
    name = guest.block_device(disk)
    assert guest.run(f"cat /sys/block/{name}/queue/logical_block_size") == "4096"
    fio_result(guest.run(fio("/fio")))
    small = guest.run(f"dd if=/dev/{name} of=/dev/null bs=512 count=1 iflag=direct", check=False)
    assert small.status != 0, "a read of 512 bytes went through to a disk with blocks of 4096"
    guest.poweroff()
    assert_clean(image)
