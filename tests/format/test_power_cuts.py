# SPDX-License-Identifier: BSD-2-Clause
"""Power is cut after every request of every operation, and again in the recovery that follows.

Afterwards each volume shows what it showed before the operation or what it shows after it, to the
reader at once and after a load; and the checker has no error to report, apart from what the known
implementation is known to leave.
"""
import pytest

from . import checker
from .disk import Disk, PowerCut
from .image import Image
from .reader import Store
from .shadow import EXTERNAL, Shadow, contents, external_bytes
from .writer import LoadRefused, Writer


def thin_with_snapshot(shadow):
    shadow.create("vol", 6, thin=True)
    shadow.write("vol", 1, "a")
    shadow.write("vol", 2, "b")
    shadow.snapshot("vol", "snap")


def both_have_pages(shadow):
    thin_with_snapshot(shadow)
    shadow.write("vol", 2, "c", 4096)


def with_grandparent(shadow):
    both_have_pages(shadow)
    shadow.snapshot("vol", "second")
    shadow.write("vol", 4, "d")


def thick(shadow):
    shadow.create("vol", 5)
    shadow.write("vol", 3, "a")


def thin(shadow):
    shadow.create("vol", 516, thin=True)
    shadow.write("vol", 515, "a")


def runs(shadow):
    shadow.create("vol", 9, thin=True, style="runs")
    shadow.write("vol", 4, "a")


def external(shadow):
    shadow.external_clone("vol", 3)
    shadow.write("vol", 1, "a")


def long_chain(shadow):
    thick(shadow)
    for name in "abc":
        shadow.writer.set_xattr("vol", name, name.encode() * 3500)


CASES = {
    "create thin": (thin, lambda shadow: shadow.create("new", 3, thin=True)),
    "create thick": (thin, lambda shadow: shadow.create("new", 3)),
    "first write": (thin, lambda shadow: shadow.write("vol", 3, "b")),
    "write into a known slot": (thin, lambda shadow: shadow.write("vol", 514, "b")),
    "write into a run list": (runs, lambda shadow: shadow.write("vol", 5, "b")),
    "copy on write": (thin_with_snapshot, lambda shadow: shadow.write("vol", 1, "z", 8192)),
    "copy from outside": (external, lambda shadow: shadow.write("vol", 2, "z", 4096)),
    "unmap": (thin, lambda shadow: shadow.unmap("vol", 515)),
    "snapshot of thin": (thin, lambda shadow: shadow.snapshot("vol", "new")),
    "snapshot of thick": (thick, lambda shadow: shadow.snapshot("vol", "new")),
    "snapshot of a clone": (both_have_pages, lambda shadow: shadow.snapshot("vol", "new")),
    "snapshot of an external clone": (external, lambda shadow: shadow.snapshot("vol", "new")),
    "snapshot of runs": (runs, lambda shadow: shadow.snapshot("vol", "new")),
    "clone": (thin_with_snapshot, lambda shadow: shadow.clone("new", "snap")),
    "grow": (thick, lambda shadow: shadow.resize("vol", 8)),
    "shrink": (thick, lambda shadow: shadow.resize("vol", 4)),
    "rename": (thin_with_snapshot, lambda shadow: shadow.writer.rename("snap", "other")),
    "delete": (thin, lambda shadow: shadow.delete("vol")),
    "delete a clone": (both_have_pages, lambda shadow: shadow.delete("vol")),
    "delete a snapshot": (thin_with_snapshot, lambda shadow: shadow.delete("snap")),
    "delete a snapshot that shares a slot": (both_have_pages, lambda shadow: shadow.delete("snap")),
    "delete a snapshot in between": (with_grandparent, lambda shadow: shadow.delete("second")),
    "delete an external clone's snapshot": (
        lambda shadow: (external(shadow), shadow.snapshot("vol", "snap")),
        lambda shadow: shadow.delete("snap")),
    "inflate": (both_have_pages, lambda shadow: shadow.inflate("vol")),
    "inflate from outside": (external, lambda shadow: shadow.inflate("vol")),
    "decouple": (with_grandparent, lambda shadow: shadow.decouple("vol")),
    "long xattrs": (thick, lambda shadow: [shadow.writer.set_xattr("vol", name, b"x" * 3500)
                                           for name in "ab"]),
    "delete a long chain": (long_chain, lambda shadow: shadow.delete("vol")),
    "unload": (with_grandparent, lambda shadow: shadow.writer.unload()),
    "rename the store": (thin, lambda shadow: shadow.writer.rename_store("other")),
}


class Stage:
    """An image before an operation, to be cut in copies of it."""

    def __init__(self, folder, prepare, act, size=2 << 20):
        self.folder, self.act = folder, act
        shadow = Shadow(folder / "before", size=size)
        prepare(shadow)
        shadow.reload()
        shadow.disk.close()
        self.before = dict(shadow.volumes)
        self.shadow = shadow
        self.after, self.requests = self._run("after", None)

    def copy(self, source, name):
        with Image(self.folder / source) as image, open(self.folder / name, "wb") as file:
            file.truncate(image.size)
            for start, end in image.data_ranges(0, image.size):
                file.seek(start)
                file.write(image.read(start, end - start))
        return self.folder / name

    def _run(self, name, die_after):
        shadow = self.shadow
        shadow.path = self.copy("before", name)
        shadow.volumes = dict(self.before)
        with Disk(shadow.path) as shadow.disk:
            shadow.load()
            start = len(shadow.disk.log)
            shadow.disk.die_after = die_after
            try:
                self.act(shadow)
            except PowerCut:
                pass
            return shadow.volumes, len(shadow.disk.log) - start

    def cut(self, requests):
        self._run("cut", requests)
        return self.folder / "cut"


def load(path, die_after=None):
    """A load, then an unload if it has survived; whether it has."""
    with Disk(path) as disk:
        disk.die_after = die_after
        writer = Writer(disk, external_bytes)
        try:
            writer.load()
        except PowerCut:
            return False
        disk.die_after = None
        writer.unload()
        return True


def volumes_by_content(volumes):
    return sorted(volumes.values())


def sound(path, stage):
    found = contents(path)
    assert volumes_by_content(found) in (volumes_by_content(stage.before),
                                         volumes_by_content(stage.after))
    assert checker.errors(checker.check(path)) == []


@pytest.mark.parametrize("name", CASES)
def test_a_cut_leaves_before_or_after(tmp_path, name):
    stage = Stage(tmp_path, *CASES[name])
    assert stage.requests
    for requests in range(stage.requests + 1):
        sound(stage.cut(requests), stage)
        again = 0
        while not load(stage.copy("cut", "again"), again):
            sound(tmp_path / "again", stage)
            assert load(tmp_path / "again")
            sound(tmp_path / "again", stage)
            again += 1
        sound(tmp_path / "again", stage)
        with Store(tmp_path / "again") as store:
            assert store.clean and not store.repairs


def test_a_snapshot_of_more_than_half_a_store_can_end_it(tmp_path):
    """The known implementation counts what both have twice, and gives up."""
    stage = Stage(tmp_path, lambda shadow: shadow.create("vol", 600),
                  lambda shadow: shadow.snapshot("vol", "new"), size=16 << 20)
    refused = []
    for requests in range(stage.requests + 1):
        sound(stage.cut(requests), stage)
        notes = {finding.kind for finding in checker.check(tmp_path / "cut")}
        try:
            load(tmp_path / "cut")
        except LoadRefused:
            refused.append(requests)
            assert {"references", "mark", "shared"} <= notes
    assert refused == [3]


def shrunk(stage, path):
    """Either size, the clusters that both have unchanged."""
    found = contents(path)["vol"]
    end = len(stage.after["vol"])
    assert len(found) in (end, len(stage.before["vol"]))
    assert found[:end] == stage.after["vol"]


def test_shrinking_across_slots_keeps_what_remains(tmp_path):
    def prepare(shadow):
        shadow.create("vol", 1100, thin=True)
        for index in (3, 599, 600, 1099):
            shadow.write("vol", index, f"at {index}")

    stage = Stage(tmp_path, prepare, lambda shadow: shadow.resize("vol", 600))
    refused = []
    for requests in range(stage.requests + 1):
        shrunk(stage, stage.cut(requests))
        findings = checker.check(tmp_path / "cut")
        assert checker.errors(findings) == []
        kinds = {finding.kind for finding in findings}
        try:
            load(tmp_path / "cut")
            shrunk(stage, tmp_path / "cut")
        except LoadRefused:
            refused.append(requests)
            assert "extent-empty" in kinds
        else:
            assert "extent-empty" not in kinds
    assert refused == [3]


def test_a_chain_whose_root_outlives_it_is_a_zombie(tmp_path):
    stage = Stage(tmp_path, long_chain, lambda shadow: shadow.delete("vol"))
    stage.cut(2)                       # the clean flag and one of three pages, root last
    findings = checker.check(tmp_path / "cut")
    assert "chain-zeroed" in {finding.kind for finding in findings}
    assert checker.errors(findings) == []
    assert checker.errors(checker.check(tmp_path / "cut", strict=True))
    assert contents(tmp_path / "cut") == {}


def test_an_interrupted_deletion_leaks_what_was_the_snapshots_alone(tmp_path):
    stage = Stage(tmp_path, both_have_pages, lambda shadow: shadow.delete("snap"))
    leaks = set()
    for requests in range(stage.requests + 1):
        load(stage.cut(requests))
        leaks |= {finding.kind for finding in checker.check(tmp_path / "cut")}
    assert {"cluster-leak", "page-leak"} <= leaks


def test_an_unclean_store_is_recovered_whatever_its_masks_say(tmp_path):
    shadow = Shadow(tmp_path / "image")
    both_have_pages(shadow)
    shadow.writer.create_external_clone("outside", EXTERNAL, 2 * shadow.cluster)
    shadow.volumes["outside"] = external_bytes(EXTERNAL.encode() + b"\0", 0, 2 * shadow.cluster)
    used = shadow.writer.clusters, shadow.writer.pages, shadow.writer.blobids
    for page in (1, 2, 3):
        shadow.disk._write(4096 * page, b"\x77" * 4096)
    shadow.load()
    assert (shadow.writer.clusters, shadow.writer.pages, shadow.writer.blobids) == used
    assert contents(shadow.path) == shadow.volumes
    shadow.reload()
    assert checker.check(shadow.path, strict=True) == []
    shadow.disk.close()
