# SPDX-License-Identifier: BSD-2-Clause
"""`sluice store` and `sluice volume` as a user types them."""

import fcntl
import json
import os
import pty
import socket as sockets
import subprocess
import threading

import pytest

from format.reader import Store

from .executable import binary
from .patience import wait_until
from .test_command_line import Shell


class VolumeShell(Shell):
    def stores(self):
        return json.loads(self.good("store", "list", "--json"))

    def volumes(self, *arguments):
        listed = json.loads(self.good("volume", "list", "--json", *arguments))
        return {f"{v['store']}/{v['name']}": v for v in listed}

    def on_terminal(self, *arguments):
        """What a command prints where a person reads it."""
        leader, follower = pty.openpty()
        with os.fdopen(leader, "rb") as terminal:
            subprocess.run([binary(), *arguments], stdout=follower, stderr=follower, check=True,
                           timeout=20, env=self.environment, cwd=self.place)
            os.close(follower)
            lines = []
            try:
                for line in terminal:
                    lines.append(line.decode().rstrip("\r\n"))
            except OSError:  # how a terminal says that it is closed
                pass
        return lines


@pytest.fixture
def shell(lab):
    return VolumeShell(lab)


@pytest.fixture
def pool(shell):
    """With an open store `pool` of 64 MiB on pool.img."""
    shell.good("store", "create", "--size", "64M", "pool", "pool.img")
    return shell


# ---- stores --------------------------------------------------------------------------------------

def test_a_store_is_made_listed_and_deleted(shell):
    shell.good("store", "create", "--size", "64M", "pool", "pool.img")
    image = shell.place / "pool.img"
    store, = shell.stores()
    assert (store["name"], store["device"], store["cluster_bytes"]) == ("pool", str(image), 65536)
    assert store["used_bytes"] == 0 and store["volumes"] == 0
    # The room of metadata is under 1 %, and the store may grow to sixteen times its size.
    assert 63 << 20 < store["size_bytes"] == store["free_bytes"] < 64 << 20
    assert store["growable_to_bytes"] >= 16 * (64 << 20)
    row = shell.good("store", "list").rstrip("\n").split("\t")
    assert row[:2] == ["pool", str(image)] and row[3] == "0" and row[5:] == ["ok", "64K", "0"]
    assert (store["space"], store["low_water_percent"]) == ("ok", 5)
    shell.good("store", "low-water", "pool", "20")
    assert shell.stores()[0]["low_water_percent"] == 20
    shell.bad(1, "store", "low-water", "pool", "51")
    shell.good("store", "delete", "pool")
    assert shell.state() == ([], [], ["pool.img"])


def test_a_file_that_is_too_small_for_a_store_is_told_how_large_it_must_be(shell):
    told = shell.bad(1, "store", "create", "--size", "1M", "pool", "pool.img")
    least = told.split("at least ")[1].split()[0]
    assert "too small" in told and shell.state() == ([], [], [])
    shell.good("store", "create", "--size", least, "pool", "pool.img")
    shell.good("volume", "create", "--size", "64K", "pool/v")


def test_a_store_has_the_clusters_it_is_given(shell):
    for size, least in (("16K", 62 << 20), ("1M", 63 << 20)):
        shell.good("store", "create", "--cluster-size", size, "--size", "64M", f"s{size}",
                   f"{size}.img")
        store, = (s for s in shell.stores() if s["name"] == f"s{size}")
        assert store["size_bytes"] >= least - (1 << 20)
        assert shell.good("store", "list").count(size) >= 1


def test_a_store_goes_on_a_block_device_that_the_daemon_has(shell):
    shell.good("rpc", "bdev_malloc_create", '{"name":"m","num_blocks":65536,"block_size":512}')
    shell.good("store", "create", "pool", "m")
    store, = shell.stores()
    assert store["device"] == store["bdev"] == "m"
    assert "which is no file" in shell.bad(1, "store", "close", "pool")
    shell.good("store", "delete", "pool")
    assert [b["name"] for b in shell.daemon.call("bdev_get_bdevs")] == ["m"]


def test_what_is_on_a_file_is_not_lost_without_force(shell):
    image = shell.place / "data.img"
    image.write_bytes(bytes(5000) + b"precious".ljust((8 << 20) - 5000, b"\0"))
    before = shell.state()
    assert "is not empty" in shell.bad(1, "store", "create", "pool", "data.img")
    assert shell.state() == before and b"precious" in image.read_bytes()
    shell.good("store", "create", "--force", "pool", "data.img")
    assert b"precious" not in image.read_bytes()


def test_a_store_is_made_in_the_place_of_another_only_by_force(pool):
    pool.good("volume", "create", "--size", "1M", "pool/v")
    assert "store pool is on pool.img" in pool.bad(1, "store", "create", "-f", "new", "pool.img")
    pool.good("store", "close", "pool")
    text = pool.bad(1, "store", "create", "new", "pool.img")
    assert "a volume store" in text and "store open" in text
    pool.good("store", "create", "--force", "new", "pool.img")
    store, = pool.stores()
    assert store["name"] == "new" and store["volumes"] == 0


def test_a_store_is_closed_and_opened_with_what_is_in_it(pool):
    pool.good("volume", "create", "--size", "1M", "pool/v")
    listed = pool.volumes()
    pool.good("store", "close", "pool")
    assert pool.stores() == [] and pool.daemon.call("bdev_get_bdevs") == []
    assert pool.good("store", "open", "pool.img") == "pool\n"
    assert pool.volumes() == listed
    assert pool.good("store", "open", "pool.img") == "pool\n"  # it is open


def test_a_file_without_a_store_is_not_left_open(shell):
    shell.good("disk", "attach", "--size", "1M", "vm1.img")
    shell.good("disk", "detach", "vm1")
    assert "no store on vm1.img" in shell.bad(1, "store", "open", "vm1.img")
    assert shell.daemon.call("bdev_get_bdevs") == []


def test_a_store_grows_with_its_file(pool):
    size = pool.stores()[0]["size_bytes"]
    pool.good("store", "grow", "--size", "128M", "pool")
    grown = pool.stores()[0]["size_bytes"]
    assert grown == size + (64 << 20) and (pool.place / "pool.img").stat().st_size == 128 << 20
    os.truncate(pool.place / "pool.img", 256 << 20)
    pool.good("store", "grow", "pool")
    assert pool.stores()[0]["size_bytes"] == size + (192 << 20)
    assert "does not shrink" in pool.bad(1, "store", "grow", "--size", "1M", "pool")
    assert (pool.place / "pool.img").stat().st_size == 256 << 20


def test_a_file_is_not_made_larger_than_its_store_can_grow(pool):
    image = pool.place / "pool.img"
    limit = pool.stores()[0]["growable_to_bytes"]
    assert f"up to {limit} bytes" in pool.bad(1, "store", "grow", "--size", "100T", "pool")
    assert image.stat().st_size == 64 << 20
    pool.good("store", "grow", "--size", str(limit), "pool")
    assert image.stat().st_size == limit and pool.stores()[0]["size_bytes"] > limit * 9 // 10


def test_a_store_is_renamed_with_its_volumes(pool):
    pool.good("volume", "create", "--size", "1M", "pool/v")
    pool.good("store", "rename", "pool", "lake")
    assert list(pool.volumes()) == ["lake/v"]
    assert "no store pool" in pool.bad(1, "store", "rename", "pool", "x")


def test_a_store_with_volumes_is_deleted_by_force_and_never_under_a_machine(pool):
    pool.good("volume", "create", "--size", "1M", "pool/v")
    assert "--force" in pool.bad(1, "store", "delete", "pool")
    pool.good("disk", "attach", "pool/v")
    for command in (["delete", "--force"], ["close"]):
        text = pool.bad(1, "store", *command, "pool")
        assert "pool/v is on controller pool_v.scsi" in text and "disk detach" in text
    assert "store close pool" in pool.bad(1, "disk", "detach", "pool.img")
    assert "pool/v" in pool.volumes()
    pool.good("disk", "detach", "pool/v")
    pool.good("store", "delete", "--force", "pool")
    assert pool.stores() == []


@pytest.mark.parametrize("arguments, text", [
    (["pool2", "none.img"], "--size"),
    (["pool2", "/"], "directory"),
    (["a/b", "x.img"], "without a slash"),
    (["y" * 64, "--size", "8M", "x.img"], "y" * 20),
    (["pool", "--size", "8M", "x.img"], "pool"),
    (["tiny", "--size", "64K", "x.img"], "tiny"),
    (["pool2", "--size", "32M", "pool.img"], "another size"),
])
def test_a_store_that_cannot_be_made_leaves_nothing(pool, arguments, text):
    before = pool.state()
    assert text in pool.bad(1, "store", "create", *arguments)
    assert pool.state() == before


# ---- volumes -------------------------------------------------------------------------------------

def test_volumes_are_made_thin_or_thick(pool):
    pool.good("volume", "create", "--size", "1G", "pool/thin")
    pool.good("volume", "create", "--size", "1000K", "--thick", "pool/thick")
    listed = pool.volumes()
    thin, thick = listed["pool/thin"], listed["pool/thick"]
    assert (thin["size_bytes"], thin["allocated_bytes"], thin["kind"]) == (1 << 30, 0, "thin")
    assert thick["size_bytes"] == thick["allocated_bytes"] == thick["exclusive_bytes"] == 1 << 20
    assert thick["kind"] == "thick" and thick["shared_bytes"] == 0
    assert pool.good("volume", "list").splitlines() == [
        "pool/thick\t1M\t1M\t1M\t0\tthick\t-\t-", "pool/thin\t1G\t0\t0\t0\tthin\t-\t-"]


def test_the_list_is_a_tree_of_snapshots_and_clones(pool):
    pool.good("volume", "create", "--size", "1M", "--thick", "pool/base")
    pool.good("volume", "snapshot", "pool/base", "monday")
    pool.good("volume", "snapshot", "pool/base", "pool/tuesday")
    pool.good("volume", "clone", "pool/monday", "test")
    pool.good("volume", "create", "--size", "1M", "pool/alone")
    lines = pool.on_terminal("volume", "list")
    column = lines[0].index("SIZE")
    assert [line[:column].rstrip() for line in lines] == [
        "VOLUME", "pool/alone", "pool/monday", "├─ test", "└─ tuesday", "   └─ base"]
    assert all(line[column:].startswith("1M ") for line in lines[1:])
    listed = pool.volumes("pool")
    assert list(listed) == ["pool/alone", "pool/monday", "pool/test", "pool/tuesday", "pool/base"]
    assert [listed[f"pool/{v}"].get("parent") for v in ("test", "tuesday", "base", "alone")] == [
        "monday", "monday", "tuesday", None]
    monday, base = listed["pool/monday"], listed["pool/base"]
    assert monday["kind"] == "snapshot" and base["kind"] == "clone"
    assert monday["allocated_bytes"] == monday["shared_bytes"] == 1 << 20
    assert monday["exclusive_bytes"] == 0 and base["allocated_bytes"] == 0
    assert base["shared_bytes"] == 1 << 20


def test_a_list_is_of_one_store_or_all(pool):
    pool.good("store", "create", "--size", "8M", "lake", "lake.img")
    for name in ("pool/v", "lake/v"):
        pool.good("volume", "create", "--size", "1M", name)
    assert list(pool.volumes()) == ["pool/v", "lake/v"]
    assert list(pool.volumes("lake")) == ["lake/v"]
    assert "no store sea" in pool.bad(1, "volume", "list", "sea")


def test_a_volume_is_attached_by_its_name(pool):
    pool.good("volume", "create", "--size", "1M", "pool/vm 1")
    told = json.loads(pool.good("disk", "attach", "--json", "pool/vm 1"))
    assert told["disk"] == "pool/vm 1" and told["controller"] == "pool_vm_1.scsi"
    assert pool.volumes()["pool/vm 1"]["attached"][0]["controller"] == "pool_vm_1.scsi"
    assert "pool/vm 1\t1M\tLogical Volume\trw\tscsi\tpool_vm_1.scsi:0" in pool.good("disk", "list")
    pool.good("disk", "detach", "pool/vm 1")
    assert "pool/vm 1" in pool.volumes()


def test_a_volume_grows_and_shrinks_only_by_force(pool):
    pool.good("volume", "create", "--size", "1M", "--thick", "pool/v")
    pool.good("volume", "resize", "pool/v", "2M")
    assert pool.volumes()["pool/v"]["size_bytes"] == 2 << 20
    text = pool.bad(1, "volume", "resize", "pool/v", "512K")
    assert "smaller" in text and "--force" in text
    assert pool.volumes()["pool/v"]["size_bytes"] == 2 << 20
    pool.good("volume", "resize", "--force", "pool/v", "512K")
    assert pool.volumes()["pool/v"]["allocated_bytes"] == 512 << 10


def test_a_clone_is_made_whole_and_freed_of_its_parent(pool):
    pool.good("volume", "create", "--size", "1M", "--thick", "pool/v")
    pool.good("volume", "snapshot", "pool/v", "s")
    for command, name in (("inflate", "a"), ("decouple", "b")):
        pool.good("volume", "clone", "pool/s", name)
        pool.good("volume", command, f"pool/{name}")
        listed = pool.volumes()[f"pool/{name}"]
        assert listed["allocated_bytes"] == 1 << 20 and "parent" not in listed
    assert "no parent" in pool.bad(1, "volume", "decouple", "pool/a")


def test_a_volume_gets_another_parent(pool):
    pool.good("volume", "create", "--size", "1M", "pool/v")
    pool.good("volume", "snapshot", "pool/v", "s")
    pool.good("volume", "create", "--size", "1M", "pool/w")
    pool.good("volume", "set-parent", "pool/w", "s")
    assert pool.volumes()["pool/w"]["parent"] == "s"
    assert "already" in pool.bad(1, "volume", "set-parent", "pool/w", "pool/s")
    assert "no snapshot or block device" in pool.bad(1, "volume", "set-parent", "pool/w", "none")


def test_attributes_are_kept_with_a_volume(pool):
    pool.good("volume", "create", "--size", "1M", "pool/v")
    assert "no attribute" in pool.bad(1, "volume", "attribute", "pool/v", "owner")
    pool.good("volume", "attribute", "pool/v", "owner", "anna")
    pool.good("volume", "attribute", "pool/v", "owner", "bea und co")
    assert pool.good("volume", "attribute", "pool/v", "owner") == "bea und co\n"
    pool.good("volume", "snapshot", "pool/v", "s")
    assert pool.good("volume", "attribute", "pool/v", "owner") == "bea und co\n"
    assert "no attribute" in pool.bad(1, "volume", "attribute", "pool/s", "owner")
    assert "no volume" in pool.bad(1, "volume", "attribute", "pool/none", "owner")


def test_what_a_snapshot_has_itself_is_copied_to_a_device(pool):
    """The device keeps everything else that is on it."""
    for name, mark in (("image", b"old"), ("step", b"new")):
        (pool.place / name).write_bytes((mark * 21846)[:64 << 10])
    with open(pool.place / "image", "ab") as file:
        file.truncate(1 << 20)
    pool.good("volume", "import", "pool/v", "image")
    pool.good("volume", "snapshot", "pool/v", "s")
    with open(pool.place / "target", "wb") as file:
        file.write(b"kept" * (1 << 18))
    pool.good("rpc", "bdev_aio_create", json.dumps(
        {"name": "target", "filename": str(pool.place / "target"), "block_size": 512}))
    pool.good("volume", "shallow-copy", "pool/s", "target")
    copied = (pool.place / "target").read_bytes()
    assert copied[:64 << 10] == (b"old" * 21846)[:64 << 10]
    assert copied[64 << 10:] == b"kept" * ((1 << 18) - (1 << 14))
    assert "no block device" in pool.bad(1, "volume", "shallow-copy", "pool/s", "none")
    assert "can be written" in pool.bad(1, "volume", "shallow-copy", "pool/v", "target")
    pool.good("disk", "attach", "target")
    assert "on controller" in pool.bad(1, "volume", "shallow-copy", "pool/s", "target")


def test_how_clusters_are_cleared_is_said_when_something_is_made(shell):
    shell.good("store", "create", "--size", "8M", "--clear", "none", "lake", "lake.img")
    shell.good("volume", "create", "--size", "1M", "--clear", "write_zeroes", "lake/v")
    assert "--clear is" in shell.bad(2, "volume", "create", "--size", "1M", "--clear", "so",
                                     "lake/w")
    shell.daemon.stop()
    with Store(shell.place / "lake.img") as store:
        assert {blob.name: blob.md_ro & 3 for blob in store.blobs.values() if blob.name} == {
            "lake": 0, "v": 3}


def test_a_block_device_and_another_stores_volume_are_cloned(pool):
    pool.good("rpc", "bdev_malloc_create", '{"name":"golden","num_blocks":2048,"block_size":512}')
    pool.good("volume", "clone", "golden", "pool/a")
    pool.good("store", "create", "--size", "8M", "lake", "lake.img")
    pool.good("volume", "create", "--size", "1M", "pool/v")
    pool.good("volume", "read-only", "pool/v")
    pool.good("volume", "clone", "pool/v", "lake/b")
    listed = pool.volumes()
    for name in ("pool/a", "lake/b"):
        assert listed[name]["kind"] == "clone" and listed[name]["size_bytes"] == 1 << 20
    uuids = {b["name"]: b["uuid"] for b in pool.daemon.call("bdev_get_bdevs")}
    assert listed["pool/a"]["foreign_parent"] == uuids["golden"]
    assert listed["pool/v"]["kind"] == "read-only"
    assert "say STORE/VOLUME" in pool.bad(1, "volume", "clone", "golden", "c")
    pool.good("volume", "delete", "pool/a")
    pool.good("volume", "delete", "lake/b")


def test_a_volume_is_renamed_within_its_store(pool):
    pool.good("volume", "create", "--size", "1M", "pool/v")
    pool.good("volume", "rename", "pool/v", "w")
    pool.good("volume", "rename", "pool/w", "pool/x")
    assert list(pool.volumes()) == ["pool/x"]
    assert "stays in its own" in pool.bad(1, "volume", "rename", "pool/x", "lake/x")


def test_a_snapshot_with_clones_is_deleted_with_them_or_not_at_all(pool):
    pool.good("volume", "create", "--size", "1M", "pool/v")
    pool.good("volume", "snapshot", "pool/v", "s")
    pool.good("volume", "clone", "pool/s", "w")
    pool.good("volume", "snapshot", "pool/w", "t")
    pool.good("volume", "create", "--size", "1M", "pool/other")
    text = pool.bad(1, "volume", "delete", "pool/s")
    assert "has 2 clones" in text and "--recursive" in text
    pool.good("disk", "attach", "pool/w")
    before = pool.volumes()
    assert "pool/w is on controller" in pool.bad(1, "volume", "delete", "--recursive", "pool/s")
    assert pool.volumes() == before
    pool.good("disk", "detach", "pool/w")
    pool.good("volume", "delete", "--recursive", "pool/s")
    assert list(pool.volumes()) == ["pool/other"]


def test_a_snapshot_with_one_clone_passes_its_clusters_on(pool):
    pool.good("volume", "create", "--size", "1M", "--thick", "pool/v")
    pool.good("volume", "snapshot", "pool/v", "s")
    pool.good("volume", "delete", "pool/s")
    listed = pool.volumes()
    assert list(listed) == ["pool/v"] and listed["pool/v"]["allocated_bytes"] == 1 << 20


def test_an_operation_that_takes_long_does_not_hold_up_other_commands(pool):
    """inflate and decouple look at one volume only: they leave the lock of commands alone."""
    pool.good("volume", "create", "--size", "1M", "pool/v")
    with open(f"{pool.daemon.rpc_socket}.lock", "r+", encoding="utf-8") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        pool.good("volume", "inflate", "pool/v")
        assert "another sluice command" in pool.bad(1, "volume", "delete", "-t", "1", "pool/v")


@pytest.mark.parametrize("arguments, text", [
    (["create", "--size", "1M", "v"], "in which store"),
    (["create", "--size", "1M", "lake/v"], "no store lake"),
    (["create", "--size", "1M", "pool/"], "no name"),
    (["create", "--size", "1M", "pool/a/b"], "no name"),
    (["create", "--size", "1M", "pool/" + "y" * 64], "y" * 20),
    (["create", "--size", "1M", "pool/v"], "pool/v"),
    (["create", "pool/x"], "--size"),
    (["create", "--size", "1G", "--thick", "pool/x"], "pool/x"),
    (["resize", "pool/none", "1M"], "no volume pool/none"),
    (["resize", "v", "1M"], "is no volume"),
    (["resize", "pool/v", "1X"], "not '1X'"),
    (["resize", "pool/s", "8M"], "pool/s"),
    (["snapshot", "pool/s", "t"], "pool/s"),
    (["snapshot", "pool/v", "s"], "pool/v"),
    (["snapshot", "pool/v", "lake/s"], "stays in its own"),
    (["clone", "pool/v", "w"], "pool/v"),
    (["clone", "pool/s", "v"], "pool/s"),
    (["rename", "pool/v", "s"], "pool/v"),
    (["delete", "pool/none"], "no volume pool/none"),
])
def test_an_operation_that_fails_says_why_and_changes_nothing(pool, arguments, text):
    pool.good("volume", "create", "--size", "1M", "pool/v")
    pool.good("volume", "snapshot", "pool/v", "s")
    before = pool.state(), pool.volumes()
    assert text in pool.bad(1, "volume", *arguments)
    assert (pool.state(), pool.volumes()) == before


# ---- off line ------------------------------------------------------------------------------------

def test_a_store_is_checked_when_no_daemon_has_it_open(pool):
    pool.good("volume", "create", "--size", "1M", "--thick", "pool/v")
    pool.good("volume", "snapshot", "pool/v", "s")
    assert "in use" in pool.bad(1, "check", "pool.img")
    pool.good("store", "close", "pool")
    said = json.loads(pool.good("check", "--json", "pool.img"))
    assert said["result"] == "clean" and said["store"]["closed"]
    assert (said["store"]["name"], said["store"]["volumes"]) == ("pool", 2)


def test_a_store_of_a_killed_daemon_has_no_faults(pool):
    for number in range(5):
        pool.good("volume", "create", "--size", "1M", "--thick", f"pool/v{number}")
    pool.good("volume", "snapshot", "pool/v0", "s")
    pool.good("volume", "delete", "pool/v1")
    pool.daemon.kill()
    wait_until(lambda: pool.run("check", "pool.img").returncode == 0, 5, "let go")
    said = json.loads(pool.good("check", "--json", "pool.img"))
    assert said["result"] == "clean" and not said["store"]["closed"]
    pool.daemon.start()
    pool.good("store", "open", "pool.img")
    assert len(pool.volumes()) == 5


# ---- usage ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("arguments", [
    ["store"],
    ["store", "paint"],
    ["store", "create"],
    ["store", "create", "pool"],
    ["store", "create", "pool", "a", "b"],
    ["store", "create", "pool", ""],
    ["store", "create", "-c", "8K", "pool", "a"],
    ["store", "create", "-c", "2G", "pool", "a"],
    ["store", "create", "-c", "65537", "pool", "a"],
    ["store", "create", "--md-pages", "1001", "pool", "a"],
    ["store", "create", "--growth", "x", "pool", "a"],
    ["store", "list", "a"],
    ["store", "list", "-f"],
    ["store", "grow", "--size", "1000", "pool"],
    ["store", "rename", "a"],
    ["store", "delete"],
    ["volume"],
    ["volume", "create"],
    ["volume", "create", "--size", "0", "pool/v"],
    ["volume", "create", "-c", "64K", "pool/v"],
    ["volume", "resize", "pool/v"],
    ["volume", "delete", "-f", "pool/v"],
    ["volume", "list", "a", "b"],
    ["volume", "snapshot", "pool/v"],
    ["volume", "inflate", "--json", "pool/v"],
    ["volume", "delete", "pool/v", "--timeout", "0"],
])
def test_wrong_usage_is_one_sentence_and_exit_code_2(shell, arguments):
    shell.bad(2, *arguments)


@pytest.mark.parametrize("command", [
    "store", "store create", "store open", "store list", "store grow", "store low-water",
    "store rename", "store close", "store delete", "volume", "volume create", "volume list",
    "volume resize", "volume snapshot", "volume clone", "volume inflate", "volume decouple",
    "volume set-parent", "volume read-only", "volume attribute", "volume shallow-copy",
    "volume rename", "volume delete"])
def test_every_command_explains_itself(shell, command):
    text = shell.good(*command.split(), "--help")
    assert text.startswith(f"usage: sluice {command}")
    assert all(len(line) <= 92 for line in text.splitlines())


def test_without_a_daemon_the_way_to_one_is_told(shell):
    for arguments in (["store", "list"], ["volume", "list"], ["volume", "delete", "a/b"]):
        assert "sluice serve" in shell.bad(1, *arguments, "-r", "/nowhere/rpc")


# ---- a daemon that is not ours -------------------------------------------------------------------

class Peer:
    """Answers as a daemon would that does not know what only Sluice knows."""

    def __init__(self, path, answers):
        self.path, self.answers, self.calls = path, answers, []
        self.listener = sockets.socket(sockets.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(1)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            with connection:
                self.talk(connection)

    def talk(self, connection):
        decoder, text = json.JSONDecoder(), ""
        while chunk := connection.recv(65536):
            text += chunk.decode()
            request, end = decoder.raw_decode(text)
            text = text[end:].lstrip()
            self.calls.append((request["method"], request.get("params")))
            answer = {"jsonrpc": "2.0", "id": request["id"]}
            if request["method"] in self.answers:
                answer["result"] = self.answers[request["method"]]
            else:
                answer["error"] = {"code": -32601, "message": "Method not found"}
            connection.sendall(json.dumps(answer).encode() + b"\n")


@pytest.fixture
def peer(shell):
    def lvol(name, **more):
        return {"name": f"id-{name}", "aliases": [f"lvs/{name}"], "uuid": f"id-{name}",
                "product_name": "Logical Volume", "num_blocks": 2048, "block_size": 512,
                "supported_io_types": {"write": name != "snap"},
                "driver_specific": {"lvol": {"base_bdev": "base", **more}}}

    def volume(name, **more):
        return {"alias": f"lvs/{name}", "uuid": f"id-{name}", "name": name,
                "is_thin_provisioned": True, "is_snapshot": False, "is_clone": False,
                "is_esnap_clone": False, "is_degraded": False, "num_allocated_clusters": 1,
                "lvs": {"name": "lvs", "uuid": "id-lvs"}, **more}

    peer = Peer(shell.place / "peer", {
        "bdev_get_bdevs": [lvol("snap", snapshot=True, clones=["vol", "lost"]),
                           lvol("vol", clone=True, base_snapshot="snap"),
                           {"name": "base", "num_blocks": 65536, "block_size": 512},
                           {"name": "m", "num_blocks": 65536, "block_size": 512}],
        "vhost_get_controllers": [],
        "bdev_lvol_get_lvstores": [{"uuid": "id-lvs", "name": "lvs", "base_bdev": "base",
                                    "total_data_clusters": 31, "free_clusters": 29,
                                    "block_size": 512, "cluster_size": 4 << 20}],
        "bdev_lvol_get_lvols": [volume("vol", is_clone=True), volume("snap", is_snapshot=True),
                                volume("lost", is_clone=True, is_degraded=True)],
        "bdev_lvol_create_lvstore": "id-new",
        "bdev_lvol_create": "id-v",
    })
    yield peer
    peer.listener.close()


def test_the_tree_of_a_daemon_that_does_not_tell_parents_is_drawn_as_well(shell, peer):
    assert shell.good("volume", "list", "-r", str(peer.path)).splitlines() == [
        "lvs/snap\t1M\t4M\t-\t-\tsnapshot\t-\t-", "lvs/lost\t-\t4M\t-\t-\tdegraded\tsnap\t-",
        "lvs/vol\t1M\t4M\t-\t-\tclone\tsnap\t-"]
    assert ("bdev_lvol_get_lvols", None) in peer.calls


def test_a_daemon_that_is_not_ours_gets_no_parameter_of_ours(shell, peer):
    shell.good("store", "create", "-r", str(peer.path), "new", "m")
    assert peer.calls[-1] == ("bdev_lvol_create_lvstore", {
        "bdev_name": "m", "lvs_name": "new", "cluster_sz": 65536,
        "num_md_pages_per_cluster_ratio": 10})
    shell.good("volume", "create", "-r", str(peer.path), "--size", "3M", "lvs/v")
    assert peer.calls[-1] == ("bdev_lvol_create", {
        "lvol_name": "v", "uuid": "id-lvs", "thin_provision": True, "size_in_mib": 3})
    shell.good("volume", "create", "-r", str(peer.path), "--size", "3M", "--sector-size", "512",
               "lvs/v")
    assert peer.calls[-1] == ("bdev_lvol_create", {
        "lvol_name": "v", "uuid": "id-lvs", "thin_provision": True, "size_in_mib": 3})
    assert "leave out --sector-size" in shell.bad(
        1, "volume", "create", "-r", str(peer.path), "--size", "3M", "--sector-size", "4096",
        "lvs/v")
    assert "whole MiB" in shell.bad(1, "volume", "create", "-r", str(peer.path), "--size", "64K",
                                    "lvs/v")
