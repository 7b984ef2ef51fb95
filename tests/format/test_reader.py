# SPDX-License-Identifier: BSD-2-Clause
"""What the reader reads of volumes after each operation, against plain byte arrays."""
import io
import random

import pytest

from . import checker, structures as s
from .image import Image
from .reader import Store
from .shadow import EXTERNAL, Shadow, contents, external_bytes

GEOMETRIES = [dict(), dict(block_size=512), dict(physical_size=16384, cluster_size=32768),
              dict(block_size=512, page_size=8192)]


def check(shadow):
    """Content, and nothing to complain of: as a store in use, and unloaded."""
    assert contents(shadow.path) == shadow.volumes
    assert checker.errors(checker.check(shadow.path)) == []
    shadow.reload()
    assert contents(shadow.path) == shadow.volumes
    # what stays behind when an external parent takes the place of one inside
    assert {finding.kind for finding in checker.check(shadow.path, strict=True)} <= {"parent-two"}


@pytest.fixture(name="shadow", params=GEOMETRIES, ids=lambda options: "-".join(
    f"{key}={value}" for key, value in options.items()) or "plain")
def fresh(request, tmp_path):
    shadow = Shadow(tmp_path / "image", **request.param)
    yield shadow
    shadow.disk.close()


def test_volumes_read_what_was_written(shadow):
    shadow.create("thin", 40, thin=True)
    shadow.create("thick", 3)
    check(shadow)
    shadow.write("thin", 0, "a")
    shadow.write("thin", 39, "b", 4096)
    shadow.write("thick", 1, "c", 8192)
    check(shadow)


def test_snapshots_keep_what_their_origin_overwrites(shadow):
    shadow.create("vol", 20, thin=True)
    for name in ("one", "two", "three"):
        shadow.write("vol", 3, name)
        shadow.write("vol", len(name), name, 4096)
        shadow.snapshot("vol", name)
        check(shadow)
    shadow.write("vol", 3, "last")
    check(shadow)
    shadow.delete("two")
    check(shadow)


def test_a_thick_volume_becomes_a_clone_of_its_snapshot(shadow):
    shadow.create("vol", 4)
    shadow.write("vol", 2, "before")
    shadow.snapshot("vol", "snap")
    shadow.write("vol", 2, "after")
    check(shadow)
    shadow.inflate("vol")
    check(shadow)
    shadow.delete("snap")
    check(shadow)


def test_clones_share_and_part(shadow):
    shadow.create("vol", 10, thin=True)
    shadow.write("vol", 1, "x")
    shadow.snapshot("vol", "snap")
    shadow.clone("one", "snap")
    shadow.clone("two", "snap")
    shadow.write("one", 1, "y", 4096)
    check(shadow)
    shadow.decouple("one")
    shadow.inflate("two")
    check(shadow)
    shadow.delete("snap")
    shadow.delete("vol")
    check(shadow)


def test_clones_of_an_external_snapshot_read_through_it(shadow):
    shadow.external_clone("clone", 5)
    shadow.write("clone", 2, "mine", 4096)
    check(shadow)
    shadow.snapshot("clone", "snap")
    shadow.write("clone", 4, "later")
    check(shadow)
    shadow.delete("snap")
    check(shadow)
    assert list(shadow.writer.volume("clone").internal) == ["SNAP", "EXTSNAP"]
    shadow.snapshot("clone", "again")
    assert list(shadow.writer.volume("again").internal) == ["EXTSNAP"]
    check(shadow)
    shadow.inflate("clone")
    assert shadow.writer.volume("clone").internal == {}
    check(shadow)


def test_a_parent_can_be_exchanged(shadow):
    shadow.create("vol", 6, thin=True)
    shadow.write("vol", 0, "from vol")
    shadow.snapshot("vol", "snap")
    shadow.create("thin", 6, thin=True)
    shadow.write("thin", 5, "own")
    shadow.writer.set_parent("thin", "snap")
    own = shadow.volumes["thin"][5 * shadow.cluster:]
    shadow.volumes["thin"] = shadow.volumes["snap"][:5 * shadow.cluster] + own
    check(shadow)
    shadow.writer.set_external_parent("thin", EXTERNAL)
    shadow.volumes["thin"] = external_bytes(EXTERNAL.encode() + b"\0", 0, 5 * shadow.cluster) + own
    check(shadow)


def test_volumes_grow_and_shrink_across_extent_pages(shadow):
    shadow.create("vol", 100, thin=True)
    shadow.write("vol", 99, "a")
    for clusters in (600, 1100, 1024, 513, 512, 40, 1030):
        shadow.resize("vol", clusters)
        shadow.write("vol", clusters - 1, f"end of {clusters}")
        check(shadow)
    shadow.create("thick", 2)
    shadow.resize("thick", 7)
    shadow.resize("thick", 3)
    check(shadow)


def test_unmapped_clusters_are_given_back(shadow):
    shadow.create("vol", 5, thin=True)
    shadow.write("vol", 1, "a")
    shadow.write("vol", 2, "b")
    free = shadow.writer.free_clusters()
    shadow.unmap("vol", 1)
    assert shadow.writer.free_clusters() == free + 1
    check(shadow)


def test_run_length_blobs_are_read(shadow):
    shadow.create("vol", 30, thin=True, style="runs")
    for index in (3, 4, 9, 29, 10):
        shadow.write("vol", index, f"at {index}")
    check(shadow)
    shadow.snapshot("vol", "snap")
    shadow.write("vol", 4, "new")
    shadow.resize("vol", 31)
    check(shadow)
    shadow.delete("snap")
    shadow.create("thick", 5, style="runs")
    shadow.resize("thick", 2)
    check(shadow)


def test_a_chain_of_pages_is_followed(shadow):
    shadow.create("vol", 3, thin=True)
    for number in range(3):
        shadow.writer.set_xattr("vol", f"long{number}", bytes([number + 1]) * 3000)
    shadow.write("vol", 1, "a")
    with Store(shadow.path) as store:
        assert len(store.volume("vol").chain) == 3
        assert store.volume("vol").xattrs["long2"] == b"\3" * 3000
    check(shadow)
    shadow.delete("vol")
    check(shadow)


def test_names_follow_a_rename(shadow):
    shadow.create("vol", 1)
    shadow.rename("vol", "a" * 63)
    shadow.writer.rename_store("new")
    check(shadow)
    with Store(shadow.path) as store:
        assert store.name == "new"


@pytest.mark.parametrize("seed", range(12))
def test_any_order_of_operations_leaves_a_sound_store(tmp_path, seed):
    dice = random.Random(seed)
    shadow = Shadow(tmp_path / "image", **GEOMETRIES[seed % len(GEOMETRIES)])
    for step in range(60):
        one_operation(shadow, dice, step)
        if step % 10 == 9:
            check(shadow)
    shadow.disk.close()


def one_operation(shadow, dice, step):
    names, name = sorted(shadow.volumes), f"v{step}"
    kinds = ["thin", "thick", "external"]
    volume = dice.choice(names) if names else None
    if volume:
        blob = shadow.writer.volume(volume)
        kinds += ["write"] * 6 if not blob.data_ro else ["clone", "clone"]
        kinds += ["rename"]
        if not blob.data_ro:
            kinds += ["snapshot", "snapshot", "inflate"]
            parent = shadow.writer.blobs.get(blob.parent)
            kinds += ["decouple"] if parent and parent.external is None else []
            free_to_resize = blob.parent is None and blob.external is None
            kinds += ["resize"] if free_to_resize else []
        kinds += ["delete", "delete"] if len(shadow.writer.clones(blob)) < 2 else []
    kind = dice.choice(kinds)
    length = len(shadow.volumes[volume]) // shadow.cluster if volume else 0
    {"thin": lambda: shadow.create(name, dice.choice([5, 20, 600]), thin=True, style=dice.choice(
        ["table", "table", "runs"])),
     "thick": lambda: shadow.create(name, dice.choice([1, 8])),
     "external": lambda: shadow.external_clone(name, 9),
     "write": lambda: shadow.write(volume, dice.randrange(length), name, 4096 * dice.randrange(4)),
     "clone": lambda: shadow.clone(name, volume),
     "rename": lambda: shadow.rename(volume, name),
     "snapshot": lambda: shadow.snapshot(volume, name),
     "inflate": lambda: length < 100 and shadow.inflate(volume),
     "decouple": lambda: shadow.decouple(volume),
     "resize": lambda: shadow.resize(volume, max(1, length + dice.choice([-3, 2]))),
     "delete": lambda: shadow.delete(volume)}[kind]()


def test_a_grown_store_is_read(tmp_path):
    shadow = Shadow(tmp_path / "image")
    shadow.create("vol", 3)
    shadow.write("vol", 2, "a")
    shadow.disk.file.truncate(32 << 20)
    shadow.writer.grow_store()
    shadow.create("more", 1000)
    shadow.write("more", 999, "b")
    check(shadow)
    shadow.disk.close()


def test_opening_reads_metadata_only(tmp_path):
    shadow = Shadow(tmp_path / "image", 64 << 30, cluster_size=4 << 20)
    shadow.writer.create_volume("vol", 10000 * (4 << 20), thin=True)
    shadow.writer.write("vol", 9999 * (4 << 20), b"a" * 4096)
    shadow.disk.close()

    class Counting(Image):
        count = 0

        def read(self, offset, length):
            self.count += length
            return super().read(offset, length)

    with Counting(shadow.path) as image:
        store = Store(image)
        assert store.read("vol", 9999 * (4 << 20), 1) == b"a"
        assert image.count < 1 << 20


def test_an_image_in_memory_is_read(tmp_path):
    shadow = Shadow(tmp_path / "image")
    shadow.create("vol", 2, thin=True)
    shadow.write("vol", 1, "a")
    shadow.disk.close()
    data = io.BytesIO((tmp_path / "image").read_bytes())
    assert Store(data).read("vol", shadow.cluster, 4096) == b"a" * 4096


@pytest.mark.parametrize("version", [1, 2])
def test_old_stores_are_scanned(tmp_path, version):
    """No blob-id mask, no flags, sizes of zero, clean: as the first releases wrote them."""
    shadow = Shadow(tmp_path / "image", 8 << 20)
    writer = shadow.writer
    layout = writer.layout
    layout.blobid_mask_start = layout.blobid_mask_len = layout.size = 0
    layout.io_unit_size = layout.page_size = 0
    writer.superblock.version, writer.superblock.clean = version, 1
    with open(shadow.path, "r+b") as file:
        file.write(writer.superblock.encode())
        file.seek(layout.md_start * 4096 + 3 * 4096)
        file.write(s.Page(s.BLOB_BIT | 3, 0, s.encode_xattr(s.XATTR, "name", b"old\0")
                          + s.encode_runs([(300, 2)])).encode())
        file.seek(301 * shadow.cluster)
        file.write(b"old data")
    with Store(shadow.path) as store:
        assert not store.clean
        assert store.read("old", shadow.cluster, 8) == b"old data"
    found = {finding.kind for finding in checker.check(shadow.path)}
    assert "super-old" in found and "flags-missing" in found
    assert checker.errors(checker.check(shadow.path)) == []
