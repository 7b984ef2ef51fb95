# SPDX-License-Identifier: BSD-2-Clause
"""Power is cut after every request of every operation, and again in the recovery that follows.

Afterwards each volume shows what it showed before the operation or what it shows after it, to the
reader at once and after a load; and the checker has no error to report, apart from what the known
implementation is known to leave.
"""
import pytest

from . import checker
from .disk import Disk, PowerCut
from .reader import Store
from .scenarios import CASES, Stage, both_have_pages, long_chain
from .shadow import EXTERNAL, Shadow, contents, external_bytes
from .writer import LoadRefused, Writer


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


def sound(path, stage):
    assert contents(path) in (stage.before, stage.after)
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
