# SPDX-License-Identifier: BSD-2-Clause
"""Sectors of 512 or 4096 bytes whatever the device below has, so that images boot as they are."""

import subprocess

import pytest

from .checks import MIB, assert_clean
from .guest import fio, fio_result
from .rpc import RpcError
from .test_volume_command_line import VolumeShell

ROOT_START = 8 * MIB  # of the third partition of the image (tests/guests)
ROOT_SIZE = 256 * MIB


@pytest.fixture
def shell(lab):
    """With stores `large` and `small` on devices with blocks of 4096 and 512."""
    shell = VolumeShell(lab)
    for name, block in (("large", 4096), ("small", 512)):
        shell.daemon.file(f"{name}-disk", lab.empty(name, 512), block_size=block)
        shell.good("store", "create", name, f"{name}-disk")
    return shell


def sizes(shell, volume):
    """Of a volume: logical sectors as listed, as the block device has them, and of a unmap."""
    bdev, = shell.daemon.call("bdev_get_bdevs", name=volume)
    listed = shell.volumes()[volume]
    assert listed["sector_bytes"] == bdev["block_size"]
    assert listed["size_bytes"] == bdev["num_blocks"] * bdev["block_size"]
    return bdev["block_size"], bdev["preferred_unmap_granularity"]


def reopen(shell, name):
    block = {"large": 4096, "small": 512}[name]
    shell.daemon.call("bdev_aio_delete", name=f"{name}-disk")
    shell.daemon.file(f"{name}-disk", shell.place / f"{name}.img", block_size=block)


# ---- what a volume has ---------------------------------------------------------------------------

def test_a_volume_has_512_unless_it_is_told_and_keeps_what_it_has(shell):
    for store, option, size, unmapped in (
            ("large", None, 512, 8), ("large", "512", 512, 8), ("large", "4096", 4096, 0),
            ("large", "4K", 4096, 0), ("small", None, 512, 0), ("small", "4096", 4096, 0)):
        name = f"{store}/{option or 'default'}"
        words = ["--sector-size", option] if option else []
        shell.good("volume", "create", "--size", "1M", *words, name)
        shell.good("volume", "snapshot", name, f"s{option}")
        shell.good("volume", "clone", f"{store}/s{option}", f"c{option}")
        names = [name, f"{store}/s{option}", f"{store}/c{option}"]
        assert [sizes(shell, each) for each in names] == [(size, unmapped)] * 3
        reopen(shell, store)
        assert [sizes(shell, each) for each in names] == [(size, unmapped)] * 3
    assert "512 or 4096" in shell.bad(2, "volume", "create", "--size", "1M", "--sector-size",
                                      "1024", "large/v")


def test_methods_without_a_word_about_it_do_as_clients_know_it(shell):
    def create(store, name, **more):
        shell.daemon.call("bdev_lvol_create", lvs_name=store, lvol_name=name, size_in_mib=1, **more)
        return sizes(shell, f"{store}/{name}")[0]

    assert create("large", "plain") == 4096 and create("small", "plain") == 512
    assert create("large", "chosen", block_size=512) == 512
    with pytest.raises(RpcError) as failure:
        create("large", "wrong", block_size=1024)
    assert failure.value.code == -22
    # Nobody changes it behind a machine's back.
    with pytest.raises(RpcError):
        shell.daemon.call("bdev_lvol_set_xattr", name="large/plain",
                          xattr_name="sluice.block_size", xattr_value="512")
    assert shell.daemon.call("bdev_lvol_get_xattr", name="large/chosen",
                             xattr_name="sluice.block_size") == "512"


def test_a_clone_of_a_disk_has_the_sectors_of_that_disk(shell, lab):
    for block in (512, 4096):
        shell.daemon.file(f"base{block}", lab.empty(f"base{block}", 2), block_size=block)
        shell.good("volume", "clone", f"base{block}", f"large/c{block}")
        assert sizes(shell, f"large/c{block}")[0] == block


# ---- import --------------------------------------------------------------------------------------

def with_gpt(path, sector):
    """An image with nothing but the place of a GPT's header, and an odd length."""
    with open(path, "wb") as file:
        file.truncate(3 * MIB)
        file.seek(sector)
        file.write(b"EFI PART")
        file.seek(2 * MIB + 512)
        file.write(b"data" * 256)
    return path


def test_an_image_keeps_the_sectors_that_it_was_made_for(shell):
    for sector in (512, 4096):
        image = with_gpt(shell.place / f"in{sector}", sector)
        shell.good("volume", "import", f"large/v{sector}", str(image))
        assert sizes(shell, f"large/v{sector}")[0] == sector
        shell.good("volume", "export", f"large/v{sector}", "out")
        out = (shell.place / "out").read_bytes()
        (shell.place / "out").unlink()
        assert out == image.read_bytes()
    shell.good("volume", "import", "--sector-size", "4096", "large/told", "in512")
    assert sizes(shell, "large/told")[0] == 4096


def test_an_image_of_any_number_of_sectors_comes_into_any_store(shell):
    image = shell.place / "odd"
    data = bytes(MIB) + b"x" * (MIB + 512 * 3)
    image.write_bytes(data)
    for store in ("large", "small"):
        shell.good("volume", "import", f"{store}/odd", str(image))
        shell.good("volume", "export", f"{store}/odd", "out")
        out = (shell.place / "out").read_bytes()
        (shell.place / "out").unlink()
        assert out[:len(data)] == data and not any(out[len(data):])
    image.write_bytes(data + b"x")
    assert "whole sectors of 512" in shell.bad(1, "volume", "import", "large/more", str(image))


# ---- a guest -------------------------------------------------------------------------------------

def topology(guest, disk):
    queue = f"/sys/block/{guest.block_device(disk)}/queue"
    names = ("logical_block_size", "physical_block_size", "minimum_io_size", "discard_granularity")
    return [int(guest.run(f"cat {queue}/{name}")) for name in names]


@pytest.mark.once
def test_a_stock_image_boots_from_a_device_with_blocks_of_4096(shell, lab):
    image = lab.image("stock", kind="disk")
    shell.good("volume", "import", "large/root", str(image))
    shell.good("volume", "create", "--size", "64M", "large/data")
    shell.good("volume", "snapshot", "large/data", "empty")
    root = shell.daemon.put("blk", "large/root", controller="root")
    data = shell.daemon.put("scsi", "large/data", controller="data")
    guest = lab.boot("10.0", root, data, boot="seabios", cpus=2)
    assert "loader=grub-i386-pc" in guest.run("cat /proc/cmdline")
    assert guest.root_device() == f"{guest.device(root)}3 ext4"
    assert topology(guest, root) == topology(guest, data) == [512, 4096, 4096, 4096]
    device = guest.device(data)
    capacity = guest.run(f"sg_readcap -l {device}")
    assert "physical block length=4096" in capacity and "Lowest aligned LBA=0" in capacity
    limits = guest.run(f"sg_vpd -p bl {device}")
    assert "transfer length granularity: 8 blocks" in limits
    assert "unmap granularity: 8 blocks" in limits

    # Many at a time, of any number of sectors, from both processors.
    job = fio_result(guest.run(fio(device, size_mib=4, numjobs=2, offset_increment="16M",
                                   bs=None, bsrange="512-24k", blockalign=512, iodepth=8),
                               timeout=120))
    assert job["write"]["io_bytes"] > 0
    guest.run(f"yes sluice | dd of={device} bs=512 seek=80001 count=3 iflag=fullblock "
              "oflag=direct\n"
              f"test $(dd if={device} bs=512 skip=80000 count=5 iflag=direct | tr -d '\\0' |"
              " wc -c) = 1536\n"
              "echo kept > /kept; sync")
    shell.good("volume", "snapshot", "large/root", "running")
    guest.poweroff()

    shell.good("volume", "export", "large/root", "out")
    part = shell.place / "part"
    subprocess.run(["dd", f"if={shell.place / 'out'}", f"of={part}", "bs=1M", "status=none",
                    f"skip={ROOT_START // MIB}", f"count={ROOT_SIZE // MIB}"], check=True)
    assert_clean(part)
    shell.daemon.clear()
    shell.good("check", str(shell.place / "large.img"))
