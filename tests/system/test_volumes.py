# SPDX-License-Identifier: BSD-2-Clause
"""Volumes, snapshots and clones in the daemon: over RPC, over restarts, and under guests.

What is on the disk is read by the format's second implementation (tests/format), which shares no
line with the daemon.
"""

import time

import pytest

from format import checker
from format.reader import Store

from .checks import MIB, assert_clean, grow, pattern
from .guest import fio, fio_result
from .patience import wait_until
from .rpc import RpcError

BOTH = [("10.0", "blk"), ("10.0", "scsi")]
KIB64 = 64 << 10
PARENT = "3f0e6a1c-9d55-4a43-8d11-52c7be1f0a77"


def pool(lab, daemon, size_mib=512, cluster=KIB64, **options):
    """A store named lvs0 on a new file; the file."""
    path = lab.empty("pool", size_mib)
    daemon.file("pool", path, fallocate=True)
    daemon.call("bdev_lvol_create_lvstore", bdev_name="pool", lvs_name="lvs0", cluster_sz=cluster,
                **options)
    return path


def create(daemon, name, size_mib, **options):
    return daemon.call("bdev_lvol_create", lvs_name="lvs0", lvol_name=name, size_in_mib=size_mib,
                       **options)


def snapshot(daemon, volume, name):
    return daemon.call("bdev_lvol_snapshot", lvol_name=f"lvs0/{volume}", snapshot_name=name)


def clone(daemon, of, name):
    return daemon.call("bdev_lvol_clone", snapshot_name=f"lvs0/{of}", clone_name=name)


def volume_of_bytes(lab, daemon, name, data):
    """A volume with these contents and no parent."""
    path = lab.place / f"{name}.bytes"
    path.write_bytes(data)
    daemon.file(f"{name}-bytes", path, readonly=True)
    daemon.call("bdev_lvol_clone_bdev", bdev=f"{name}-bytes", lvs_name="lvs0", clone_name=name)
    daemon.call("bdev_lvol_inflate", name=f"lvs0/{name}")
    daemon.call("bdev_aio_delete", name=f"{name}-bytes")


def copied(lab, daemon, volume, size):
    """What a shallow copy of a read-only volume makes of an empty file."""
    path = lab.empty(f"copy-{volume}", 0)
    grow(path, size // MIB)
    daemon.file("copy", path)
    number = daemon.call("bdev_lvol_start_shallow_copy", src_lvol_name=f"lvs0/{volume}",
                         dst_bdev_name="copy")["operation_id"]
    state = wait_until(lambda: ended(daemon, number), 60, "the copy ends")
    assert state["state"] == "complete" and state["copied_clusters"] == state["total_clusters"]
    daemon.call("bdev_aio_delete", name="copy")
    return path.read_bytes()


def ended(daemon, number):
    state = daemon.call("bdev_lvol_check_shallow_copy", operation_id=number)
    return None if state["state"] == "in progress" else state


def volumes(daemon):
    """The listing without what may differ after a load."""
    unstable = ("is_snapshot",)
    return [{key: value for key, value in volume.items() if key not in unstable}
            for volume in sorted(daemon.call("bdev_lvol_get_lvols", usage=True),
                                 key=lambda volume: volume["name"])]


def contents(path, name, **options):
    with Store(path, **options) as store:
        volume = store.volume(name)
        return store.read(volume, 0, store.size(volume))


def assert_sound(path):
    findings = checker.errors(checker.check(path, strict=True))
    assert not findings, "\n".join(map(str, findings))


def fill(lab, daemon):
    """One of each kind; the bytes of two of them."""
    data = pattern(4 * MIB)
    volume_of_bytes(lab, daemon, "base", data)
    snapshot(daemon, "base", "golden")
    clone(daemon, "golden", "one")
    clone(daemon, "golden", "two")
    daemon.call("bdev_lvol_decouple_parent", name="lvs0/two")
    create(daemon, "thin", 64, thin_provision=True)
    create(daemon, "thick", 8)
    create(daemon, "none", 0)
    daemon.call("bdev_lvol_set_xattr", name="lvs0/thick", xattr_name="who", xattr_value="me")
    daemon.call("bdev_lvol_rename", old_name="lvs0/one", new_name="uno")
    daemon.call("bdev_lvol_resize", name="lvs0/thin", size_in_mib=100)
    return data


def test_volumes_are_there_again_after_a_restart(lab):
    daemon = lab.daemon()
    path = pool(lab, daemon)
    data = fill(lab, daemon)
    before = volumes(daemon)
    stores = daemon.call("bdev_lvol_get_lvstores")
    assert copied(lab, daemon, "golden", len(data)) == data
    daemon.stop()
    assert_sound(path)
    with Store(path) as store:
        assert store.clean
    for name in ("golden", "uno", "two", "base"):
        assert contents(path, name) == data
    assert contents(path, "thick") == bytes(8 * MIB)

    again = lab.daemon()
    again.file("pool", path)
    assert volumes(again) == before
    after = again.call("bdev_lvol_get_lvstores")
    assert not after[0]["recovered"] and after == stores
    assert again.call("bdev_lvol_get_xattr", name="lvs0/thick", xattr_name="who") == "me"


def test_volumes_are_there_again_after_a_kill(lab):
    daemon = lab.daemon()
    path = pool(lab, daemon)
    data = fill(lab, daemon)
    before = volumes(daemon)
    daemon.kill()
    daemon.start()
    daemon.file("pool", path)
    assert daemon.call("bdev_lvol_get_lvstores")[0]["recovered"]
    assert volumes(daemon) == before
    assert copied(lab, daemon, "golden", len(data)) == data
    create(daemon, "more", 4)
    daemon.stop()
    assert_sound(path)
    assert contents(path, "uno") == data


def test_deletion_in_any_order_leaves_an_empty_store(lab):
    daemon = lab.daemon()
    path = pool(lab, daemon)
    free = daemon.call("bdev_lvol_get_lvstores")[0]["free_clusters"]
    fill(lab, daemon)
    with pytest.raises(RpcError):
        daemon.call("bdev_lvol_delete", name="lvs0/golden")
    for name in ("uno", "golden", "base", "two", "thin", "thick", "none"):
        daemon.call("bdev_lvol_delete", name=f"lvs0/{name}")
    assert daemon.call("bdev_lvol_get_lvols") == []
    wait_until(lambda: daemon.call("bdev_lvol_get_lvstores")[0]["free_clusters"] == free, 10,
               "all clusters are free again")
    daemon.stop()
    assert_sound(path)


def test_a_store_grows_with_its_file(lab):
    daemon = lab.daemon()
    path = pool(lab, daemon, size_mib=64, growth_factor=4)
    data = pattern(2 * MIB)
    volume_of_bytes(lab, daemon, "kept", data)
    with pytest.raises(RpcError):
        create(daemon, "large", 128)
    grow(path, 256)
    daemon.call("bdev_aio_rescan", name="pool")
    before = daemon.call("bdev_lvol_get_lvstores")[0]["total_data_clusters"]
    daemon.call("bdev_lvol_grow_lvstore", lvs_name="lvs0")
    assert daemon.call("bdev_lvol_get_lvstores")[0]["total_data_clusters"] == before + 192 * 16
    create(daemon, "large", 128)
    daemon.kill()
    daemon.start()
    daemon.file("pool", path)
    assert daemon.call("bdev_lvol_get_lvstores")[0]["total_data_clusters"] == before + 192 * 16
    daemon.stop()
    assert_sound(path)
    assert contents(path, "kept") == data


def test_a_deleted_store_gives_its_space_back_and_is_not_found_again(lab):
    daemon = lab.daemon()
    path = pool(lab, daemon)
    volume_of_bytes(lab, daemon, "v", pattern(32 * MIB))
    daemon.call("bdev_lvol_delete_lvstore", lvs_name="lvs0")
    assert path.stat().st_blocks * 512 < MIB
    daemon.call("bdev_aio_delete", name="pool")
    daemon.file("pool", path)
    assert daemon.call("bdev_lvol_get_lvstores") == []


def test_controllers_lose_the_volumes_of_a_device_that_goes(lab):
    daemon = lab.daemon()
    path = pool(lab, daemon)
    create(daemon, "v", 8)
    daemon.put("blk", "lvs0/v", controller="c")
    daemon.put("scsi", "lvs0/v", controller="s")
    daemon.call("bdev_aio_delete", name="pool")
    blk, scsi = daemon.call("vhost_get_controllers")
    assert blk["backend_specific"]["block"]["bdev"] is None
    assert scsi["backend_specific"]["scsi"] == []
    events = daemon.call("notify_get_notifications")
    assert [event["type"] for event in events[-2:]] == ["bdev_unregister"] * 2
    assert events[-1]["ctx"] == "pool", "a volume goes before its store's device"
    with Store(path) as store:
        assert store.clean


# ---- under guests --------------------------------------------------------------------------------

def root_clone(lab, daemon, name="vm"):
    """A guest's root disk: a clone of a prepared image, which stays as it is. The image."""
    image = lab.image("parent")
    daemon.file("parent", image, readonly=True, uuid=PARENT)
    daemon.call("bdev_lvol_clone_bdev", bdev="parent", lvs_name="lvs0", clone_name=name)
    return image


@pytest.mark.parametrize("version, bus", BOTH)
def test_a_guest_lives_on_a_clone_while_it_is_snapshotted_and_inflated(lab, version, bus):
    daemon = lab.daemon()
    path = pool(lab, daemon)
    image = root_clone(lab, daemon)
    original = image.read_bytes()
    disk = daemon.put(bus, "lvs0/vm", controller="vm")
    guest = lab.boot(version, disk)
    assert guest.root_device() == f"{guest.device(disk)} ext4"
    guest.run("yes sluice | head -c 4000000 > /kept; sha256sum < /kept > /sum; sync")
    job = guest.start(fio("/load", size_mib=16, time_based=1, runtime=8, verify_backlog=64))
    for number in range(3):
        time.sleep(1)
        snapshot(daemon, "vm", f"s{number}")
    daemon.call("bdev_lvol_delete", name="lvs0/s1")
    daemon.call("bdev_lvol_resize", name="lvs0/vm", size_in_mib=300)
    wait_until(lambda: guest.size(disk) == 300 * MIB, 20, "the guest sees the new size")
    fio_result(job.wait())
    daemon.call("bdev_lvol_inflate", name="lvs0/vm")
    for name in ("s0", "s2"):
        daemon.call("bdev_lvol_delete", name=f"lvs0/{name}")
    # Nothing stands on it any more, while the guest runs on.
    daemon.call("bdev_aio_delete", name="parent")
    guest.run("sha256sum < /kept | cmp - /sum")
    guest.poweroff()
    assert image.read_bytes() == original
    daemon.stop()
    assert_sound(path)
    root = lab.place / "root-of-vm"
    root.write_bytes(contents(path, "vm")[:len(original)])
    assert_clean(root)


@pytest.mark.parametrize("version, bus", BOTH)
def test_a_guest_on_a_volume_runs_on_through_kills_of_the_daemon(lab, version, bus):
    daemon = lab.daemon()
    path = pool(lab, daemon)
    image = root_clone(lab, daemon)
    disk = daemon.put(bus, "lvs0/vm", controller="vm")
    guest = lab.boot(version, disk, reconnect=True)
    job = guest.start(fio("/load", size_mib=16, time_based=1, runtime=10, verify_backlog=64))
    for number in range(2):
        time.sleep(2)
        snapshot(daemon, "vm", f"s{number}")
        time.sleep(0.5)
        daemon.kill()
        daemon.start()
        daemon.file("parent", image, readonly=True, uuid=PARENT)
        daemon.file("pool", path, fallocate=True)
        daemon.put(bus, "lvs0/vm", controller="vm")
    fio_result(job.wait())
    guest.poweroff()
    daemon.stop()
    assert_sound(path)


def test_a_snapshot_keeps_what_the_guest_had_flushed(lab):
    daemon = lab.daemon()
    path = pool(lab, daemon)
    root = daemon.put_file("blk", "root", lab.image())
    create(daemon, "data", 16, thin_provision=True)
    disk = daemon.put("scsi", "lvs0/data", controller="data")
    guest = lab.boot("10.0", root, disk)
    device = guest.device(disk)
    wanted = {}
    for name in ("first", "second"):
        guest.run(f"dd if=/dev/urandom of={device} bs=4k count=512 seek={256 * len(wanted)} "
                  "oflag=direct conv=notrunc; sync")
        wanted[name] = guest.run(f"sha256sum < {device}").split()[0]
        snapshot(daemon, "data", name)
    guest.run(f"blkdiscard -o {MIB} -l {MIB} {device}; sync")
    guest.poweroff()
    daemon.stop()
    assert_sound(path)
    with Store(path) as store:
        for name, digest in wanted.items():
            assert store.sha256(store.volume(name)) == digest
