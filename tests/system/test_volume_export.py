# SPDX-License-Identifier: BSD-2-Clause
"""`sluice volume export` and `import`: contents of volumes to and from files, whole and by what
changed. No guests: contents come and go through files."""

import os
import random
import shutil
import subprocess

import pytest

from .patience import wait_until
from .test_volume_command_line import VolumeShell

MIB = 1 << 20
CLUSTER = 65536


@pytest.fixture
def shell(lab):
    shell = VolumeShell(lab)
    shell.good("store", "create", "--size", "200M", "pool", "pool.img")
    return shell


def sparse(path, size, parts):
    """A file of that size with random bytes in the parts, offset and length; its contents."""
    source = random.Random(str(parts))
    with open(path, "wb") as file:
        file.truncate(size)
        for offset, length in parts:
            file.seek(offset)
            file.write(source.randbytes(length))
    return path.read_bytes()


def allocated(path):
    return path.stat().st_blocks * 512


def write(shell, volume, parts):
    """As a machine would: other bytes into parts of a volume."""
    path = shell.place / "change.img"
    size = shell.volumes()[volume]["size_bytes"]
    data = sparse(path, size, parts)
    shell.daemon.call("bdev_aio_create", name="change", filename=str(path))
    shell.daemon.call("bdev_copy", source="change", target=volume,
                      ranges=[list(part) for part in parts])
    shell.daemon.call("bdev_aio_delete", name="change")
    return data


def exported(shell, volume, *arguments):
    path = shell.place / "exported.img"
    shell.good("volume", "export", "--force", *arguments, volume, str(path))
    return path.read_bytes()


def test_a_raw_image_comes_and_goes_and_stays_sparse(shell):
    image = shell.place / "in.img"
    data = sparse(image, 100 * MIB, [(5 * MIB + 512, 3 * MIB), (99 * MIB, 1024)])
    shell.good("volume", "import", "pool/v", "in.img")
    volume = shell.volumes()["pool/v"]
    assert volume["size_bytes"] == 100 * MIB and volume["kind"] == "thin"
    assert volume["allocated_bytes"] <= 3 * MIB + 3 * CLUSTER
    assert exported(shell, "pool/v") == data
    assert allocated(shell.place / "exported.img") <= 3 * MIB + 4 * CLUSTER
    assert sorted(p.name for p in shell.place.glob("*.img*")) == [
        "exported.img", "in.img", "pool.img"]
    assert len(shell.daemon.call("bdev_get_bdevs")) == 2  # of the store and the volume


def test_zeroes_that_take_room_in_a_file_take_none_in_a_volume(shell):
    (shell.place / "in.img").write_bytes(bytes(8 * MIB))
    shell.good("volume", "import", "pool/v", "in.img")
    assert shell.volumes()["pool/v"]["allocated_bytes"] == 0


def test_a_volume_shows_what_it_has_from_its_snapshots(shell):
    data = bytearray(sparse(shell.place / "in.img", 8 * MIB, [(0, 2 * MIB)]))
    shell.good("volume", "import", "pool/v", "in.img")
    for number, part in enumerate([(MIB, MIB), (3 * MIB, CLUSTER), (CLUSTER // 2, 4096)]):
        shell.good("volume", "snapshot", "pool/v", f"s{number}")
        assert exported(shell, f"pool/s{number}") == data
        change = write(shell, "pool/v", [part])
        data[part[0]:sum(part)] = change[part[0]:sum(part)]
    before = shell.volumes()
    assert exported(shell, "pool/v") == data
    assert shell.volumes() == before  # the snapshot that it was taken from is gone


def test_what_changed_is_replayed_step_by_step(shell):
    sparse(shell.place / "in.img", 32 * MIB, [(0, 4 * MIB)])
    shell.good("volume", "import", "pool/v", "in.img")
    shell.good("volume", "snapshot", "pool/v", "s0")
    shell.good("volume", "export", "pool/s0", "full.img")
    for number in (1, 2):
        write(shell, "pool/v", [(number * MIB, CLUSTER), ((20 + number) * MIB, 4096)])
        shell.good("volume", "snapshot", "pool/v", f"s{number}")
        shell.good("volume", "export", "--since", f"s{number - 1}", f"pool/s{number}",
                   f"step{number}")
        assert allocated(shell.place / f"step{number}") <= 4 * CLUSTER
    shell.good("volume", "import", "pool/copy", "full.img")
    shell.good("volume", "import", "pool/copy", "step1")
    assert exported(shell, "pool/copy") == exported(shell, "pool/s1")
    text = shell.bad(1, "volume", "import", "pool/copy", "step1")
    assert "what changed since s0" in text and "--force" in text
    shell.good("volume", "import", "pool/copy", "step2")
    assert exported(shell, "pool/copy") == exported(shell, "pool/s2")


def test_one_step_may_be_over_several_snapshots_and_a_larger_size(shell):
    sparse(shell.place / "in.img", 4 * MIB, [(0, MIB)])
    shell.good("volume", "import", "pool/v", "in.img")
    shell.good("volume", "snapshot", "pool/v", "s0")
    shell.good("volume", "export", "pool/s0", "full.img")
    write(shell, "pool/v", [(0, 4096)])
    shell.good("volume", "snapshot", "pool/v", "s1")
    shell.good("volume", "resize", "pool/v", "8M")
    write(shell, "pool/v", [(7 * MIB, 4096)])
    shell.good("volume", "export", "--since", "pool/s0", "pool/v", "step")
    shell.good("volume", "import", "pool/copy", "full.img")
    shell.good("volume", "import", "pool/copy", "step")
    assert exported(shell, "pool/copy") == exported(shell, "pool/v")


def test_zeroes_that_were_written_since_are_replayed(shell):
    sparse(shell.place / "in.img", 4 * MIB, [(0, MIB)])
    shell.good("volume", "import", "pool/v", "in.img")
    shell.good("volume", "snapshot", "pool/v", "s0")
    shell.good("volume", "export", "pool/s0", "full.img")
    (shell.place / "zero.img").write_bytes(bytes(4 * MIB))
    shell.daemon.call("bdev_aio_create", name="zero", filename=str(shell.place / "zero.img"))
    shell.daemon.call("bdev_copy", source="zero", target="pool/v", ranges=[[0, CLUSTER]])
    shell.daemon.call("bdev_aio_delete", name="zero")
    shell.good("volume", "export", "--since", "s0", "pool/v", "step")
    shell.good("volume", "import", "pool/copy", "full.img")
    shell.good("volume", "import", "pool/copy", "step")
    data = exported(shell, "pool/copy")
    assert data == exported(shell, "pool/v") and not any(data[:CLUSTER]) and any(data)


def test_a_clone_of_a_foreign_device_is_exported_whole(shell):
    data = sparse(shell.place / "golden.img", 4 * MIB, [(MIB, MIB)])
    shell.daemon.call("bdev_aio_create", name="golden", readonly=True,
                      filename=str(shell.place / "golden.img"))
    shell.good("volume", "clone", "golden", "pool/v")
    change = write(shell, "pool/v", [(0, 4096)])
    assert exported(shell, "pool/v") == change[:4096] + data[4096:]
    shell.good("volume", "delete", "pool/v")


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not installed")
def test_qcow2_comes_and_goes_through_qemu_img(shell):
    data = sparse(shell.place / "in.img", 16 * MIB, [(MIB, MIB), (9 * MIB, 4096)])
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", "in.img", "in.qcow2"], check=True,
                   cwd=shell.place)
    shell.good("volume", "import", "pool/v", "in.qcow2")
    assert exported(shell, "pool/v") == data
    shell.good("volume", "export", "pool/v", "out.qcow2")
    subprocess.run(["qemu-img", "compare", "in.qcow2", "out.qcow2"], check=True, cwd=shell.place,
                   stdout=subprocess.DEVNULL)
    assert not list(shell.place.glob("*.raw*"))


@pytest.mark.parametrize("arguments, text", [
    (["export", "pool/none", "x"], "no volume"),
    (["export", "pool/v", "there"], "--force"),
    (["export", "pool/v", "no/x"], "No such file"),
    (["export", "--since", "none", "pool/v", "x"], "no volume pool/none"),
    (["export", "--since", "other", "pool/v", "x"], "does not stand on"),
    (["export", "--since", "s", "pool/v", "x.qcow2"], "--format raw"),
    (["import", "pool/v", "there"], "pool/v"),
    (["import", "v2", "there"], "in which store"),
    (["import", "lake/v2", "there"], "no store lake"),
    (["import", "pool/v2", "none"], "No such file"),
    (["import", "pool/v2", "empty"], "is empty"),
    (["import", "pool/v2", "odd"], "whole sectors of 512"),
    (["import", "pool/v2", "large"], "pool/v2"),
])
def test_what_fails_says_why_and_leaves_nothing(shell, arguments, text):
    for name in ("v", "other"):
        shell.good("volume", "create", "--size", "1M", f"pool/{name}")
    shell.good("volume", "snapshot", "pool/v", "s")
    for name, size in (("there", 4096), ("empty", 0), ("odd", 1000)):
        (shell.place / name).write_bytes(b"x" * size)
    with open(shell.place / "large", "wb") as file:
        file.write(os.urandom(4096))
        file.truncate(1 << 43)
    before = shell.state(), shell.volumes(), sorted(p.name for p in shell.place.iterdir())
    assert text in shell.bad(1, "volume", *arguments)
    assert (shell.state(), shell.volumes(),
            sorted(p.name for p in shell.place.iterdir())) == before


def test_a_full_store_ends_an_import_and_leaves_no_volume(shell):
    sparse(shell.place / "in.img", 250 * MIB, [(0, 250 * MIB)])
    text = shell.bad(1, "volume", "import", "pool/v", "in.img")
    assert "pool/v" in text and "'sluice store grow'" in text and not shell.volumes()
    wait_until(lambda: shell.stores()[0]["used_bytes"] == 0, 10, "its space is free again")


def test_wrong_usage_is_one_sentence_and_exit_code_2(shell):
    for arguments in (["export"], ["export", "pool/v"], ["import", "pool/v"],
                      ["export", "--format", "vdi", "pool/v", "x"],
                      ["import", "--since", "s", "pool/v", "x"]):
        shell.bad(2, "volume", *arguments)
    for command in ("export", "import"):
        assert shell.good("volume", command, "--help").startswith(f"usage: sluice volume {command}")
