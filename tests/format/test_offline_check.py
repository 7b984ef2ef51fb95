# SPDX-License-Identifier: BSD-2-Clause
"""`sluice check` on the corpus of damaged images: each fault planted in a sound store, and what a
power cut leaves at each request of the known implementation."""
import fcntl
import json
import os
import pathlib
import random
import subprocess

import pytest

from . import checker, faults_blob, faults_store
from .blob import ERROR
from .crc32c import crc32c
from .editor import FAULTS, Editor, make_sound
from .reader import Store
from .scenarios import CASES, Stage, long_chain
from .shadow import contents, external_bytes
from .test_power_cuts import load

assert faults_blob and faults_store  # they fill FAULTS
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BINARY = os.environ.get("SLUICE_BINARY") or str(
    ROOT / os.environ.get("SLUICE_BUILD", "build") / "sluice")

# What the known implementation leaves, or nobody minds, and a check has nothing to say about.
SILENT = {
    "super-size", "super-old", "super-length", "super-reserved", "region-place", "mask-bits",
    "mask-surplus", "page-reserved", "page-tail", "flags-missing", "flags-late", "flags-internal",
    "flags-table", "internal-name", "table-missing", "parent-two", "esnap-flag", "esnap-uuid",
    "lvol-super", "lvol-uuid", "references",
}
# Errors of the strict format that no reader minds: unknown descriptors are skipped, a volume
# without a UUID has another identifier.
TOLERATED = {
    "an_xattr_without_a_name", "a_descriptor_of_an_unknown_type", "flags_after_an_xattr",
    "an_empty_run_of_slots", "a_slot_too_few", "an_extent_page_like_a_root",
    "two_volumes_of_one_uuid",
}
# Not even giving up a volume helps.
HOPELESS = {"super-signature", "super-version", "super-crc", "super-size", "super-geometry",
            "super-blob", "region-order", "region-length", "lvol-super", "lvol-uuid", "lvol-double",
            "flags-unknown", "flags-read-only", "parent-broken", "shared", "page-shared",
            "extent-page-twice", "mark"}


def sluice_check(path, *arguments):
    """Exit code and what was said, as JSON."""
    done = subprocess.run([BINARY, "check", "--json", *arguments, str(path)], timeout=60,
                          capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1) and not done.stderr, done
    said = json.loads(done.stdout)
    assert (said["remaining"] == 0) == (done.returncode == 0)
    return done.returncode, said


def readable(path):
    """Contents of every volume that can be read."""
    found = {}
    try:
        with Store(path, external_bytes) as store:
            for volume in store.volumes():
                try:
                    found[volume.id] = store.read(volume, 0, store.size(volume))
                except Exception:  # pylint: disable=broad-except
                    pass  # it is damaged
    except Exception:  # pylint: disable=broad-except
        pass  # there is no store
    return found


def error_kinds(path):
    try:
        return {finding.kind for finding in checker.errors(checker.check(path))}
    except Exception:  # pylint: disable=broad-except
        return {"checker"}


@pytest.fixture(name="sound", scope="module")
def one_image(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "image"
    make_sound(path)
    return path


@pytest.fixture(name="image")
def a_copy(sound, tmp_path):
    path = tmp_path / "image"
    path.write_bytes(sound.read_bytes())
    return path


def test_a_sound_store_has_no_faults_and_is_not_touched(image):
    before = image.read_bytes()
    for arguments in ([], ["--repair"], ["--repair", "--lose"]):
        code, said = sluice_check(image, *arguments)
        assert (code, said["result"], said["faults"]) == (0, "clean", [])
        assert said["store"]["volumes"] == 5 and said["store"]["closed"]
    assert image.read_bytes() == before


PLANTED = pytest.mark.parametrize("kind, level, plant", FAULTS,
                                  ids=[row[2].__name__ for row in FAULTS])


@PLANTED
def test_a_look_finds_the_fault_and_writes_nothing(image, kind, level, plant):
    plant(Editor(image))
    before = image.read_bytes()
    code, said = sluice_check(image)
    assert image.read_bytes() == before
    if level == ERROR and plant.__name__ not in TOLERATED or kind not in SILENT and level != ERROR:
        assert code == 1 and plant.__name__ not in TOLERATED, said
    assert all(fault["text"] and fault["consequence"] for fault in said["faults"])


@PLANTED
def test_a_repair_loses_nothing_and_leaves_nothing_to_repair(image, kind, level, plant):
    plant(Editor(image))
    errors, before = error_kinds(image), readable(image)
    code, said = sluice_check(image, "--repair")
    assert all(fault["remedy"] != "repair" for fault in said["faults"] if not fault["mended"])
    after = readable(image)
    for volume, text in before.items():
        if volume in after or kind not in ("mark", "shared", "chain-zeroed"):
            assert after[volume] == text, f"volume {volume:#x} is not what it was"
    assert error_kinds(image) <= errors, (errors, said)
    left = image.read_bytes()
    assert sluice_check(image, "--repair")[0] == code
    assert image.read_bytes() == left


@PLANTED
def test_what_cannot_be_repaired_can_be_given_up(image, kind, level, plant):
    plant(Editor(image))
    before = readable(image)
    code, said = sluice_check(image, "--repair", "--lose")
    if kind not in HOPELESS:
        assert code == 0, said
        assert not error_kinds(image) or plant.__name__ in TOLERATED, said
        assert sluice_check(image)[1]["result"] == "clean"
    after = readable(image)
    if kind != "cluster-metadata":     # what was given up could be read
        assert all(after[volume] == text for volume, text in before.items() if volume in after)


@pytest.mark.parametrize("damage", range(40))
def test_random_bytes_in_metadata_end_in_order(image, damage):
    """A look and a repair come to their end whatever is there, and a second repair does nothing."""
    source = random.Random(damage)
    with open(image, "r+b") as file:
        for _ in range(source.choice((1, 3, 10))):
            page = source.randrange(4 + 14) * 4096
            file.seek(page + source.choice((0, 16, source.randrange(4096))))
            file.write(source.randbytes(source.choice((1, 4, 16))))
            if page >= 4 * 4096 and damage % 2:  # such that what is inside is believed
                file.seek(page)
                body = file.read(4092)
                file.write(crc32c(body).to_bytes(4, "little"))
    sluice_check(image)
    sluice_check(image, "--repair")
    repaired = image.read_bytes()
    sluice_check(image, "--repair")
    assert image.read_bytes() == repaired
    sluice_check(image, "--repair", "--lose")
    lost = image.read_bytes()
    sluice_check(image, "--repair", "--lose")
    assert image.read_bytes() == lost


@pytest.mark.parametrize("name", CASES)
def test_what_a_power_cut_leaves_is_repaired(tmp_path, name):
    stage = Stage(tmp_path, *CASES[name])
    for requests in range(stage.requests + 1):
        path = stage.cut(requests)
        code, said = sluice_check(path, "--repair")
        assert code == 0, (requests, said)
        assert contents(path) in (stage.before, stage.after)
        assert checker.errors(checker.check(path)) == []
        assert load(path)


def test_a_store_that_the_known_implementation_refuses_for_its_count_is_brought_back(tmp_path):
    stage = Stage(tmp_path, lambda shadow: shadow.create("vol", 600),
                  lambda shadow: shadow.snapshot("vol", "new"), size=16 << 20)
    for requests in range(stage.requests + 1):
        path = stage.cut(requests)
        assert sluice_check(path, "--repair")[0] == 0
        assert contents(path) in (stage.before, stage.after)
        assert load(path)  # raises when it is refused


def test_a_store_that_it_refuses_for_an_empty_extent_page_is_brought_back(tmp_path):
    def prepare(shadow):
        shadow.create("vol", 1100, thin=True)
        for index in (3, 599, 600, 1099):
            shadow.write("vol", index, f"at {index}")

    stage = Stage(tmp_path, prepare, lambda shadow: shadow.resize("vol", 600))
    for requests in range(stage.requests + 1):
        path = stage.cut(requests)
        assert sluice_check(path, "--repair")[0] == 0
        assert load(path)
        text, = readable(path).values()
        end = len(stage.after["vol"])
        assert len(text) in (end, len(stage.before["vol"]))
        assert text[:end] == stage.after["vol"]


def test_volumes_with_the_same_extent_page_each_get_their_own(image):
    faults_store.one_extent_page_in_two_volumes(Editor(image))
    before = readable(image)
    faults = [fault for fault in sluice_check(image)[1]["faults"] if fault["kind"] == "shared"]
    assert "the extent page of slot 0" in faults[0]["text"] and len(faults) > 1
    assert all(fault["remedy"] == "repair" for fault in faults)
    code, said = sluice_check(image, "--repair")
    assert code == 0 and said["result"] == "repaired", said
    after = readable(image)
    assert {volume: after[volume] for volume in before} == before
    with Store(image) as store:
        thick, snap = (after[store.volume(name).id] for name in ("thick", "snap"))
    length = min(len(thick), len(snap))
    assert length and thick[:length] == snap[:length] and any(thick)
    assert not checker.errors(checker.check(image))
    assert load(image)


@pytest.mark.parametrize("plant", [faults_store.one_cluster_in_two_volumes,
                                   faults_store.one_cluster_twice_in_a_blob],
                         ids=lambda plant: plant.__name__)
def test_clusters_in_two_places_become_copies(image, plant):
    """Everybody reads what he read before, nobody shares, and what may be wrong is named."""
    plant(Editor(image))
    before = readable(image)
    shared, = (fault for fault in sluice_check(image)[1]["faults"] if fault["kind"] == "shared")
    assert shared["remedy"] == "repair" and "bytes, from byte" in shared["text"]
    code, said = sluice_check(image, "--repair")
    assert code == 0 and said["result"] == "repaired", said
    assert readable(image) == before
    assert not checker.errors(checker.check(image))
    assert load(image)


def test_a_deletion_that_left_the_root_is_finished(tmp_path):
    stage = Stage(tmp_path, long_chain, lambda shadow: shadow.delete("vol"))
    path = stage.cut(2)
    fault, = sluice_check(path)[1]["faults"]
    assert fault["kind"] == "half deleted" and fault["remedy"] == "repair"
    assert sluice_check(path, "--repair")[0] == 0
    assert readable(path) == {}
    load(path)
    assert checker.check(path) == []


def test_a_repair_that_is_cut_at_any_write_is_repaired(image, tmp_path):
    """tests/unit/offline/repair_cut.c does as a device that loses power after so many writes."""
    cutter = ROOT / os.environ.get("SLUICE_BUILD", "build") / "tests/unit/offline/repair_cut"
    cut = tmp_path / "cut"
    for _, _, plant in FAULTS:
        image_bytes = image.read_bytes()
        plant(Editor(image))
        whole = tmp_path / "whole"
        whole.write_bytes(image.read_bytes())
        code, _ = sluice_check(whole, "--repair")
        expected = readable(whole)
        for writes in range(50):
            cut.write_bytes(image.read_bytes())
            done = subprocess.run([cutter, cut, str(writes)], timeout=60, check=False)
            assert done.returncode in (0, 3)
            if done.returncode == 0:
                break
            assert sluice_check(cut, "--repair")[0] == code, plant.__name__
            assert readable(cut) == expected, plant.__name__
        assert done.returncode == 0, "more writes than expected"
        image.write_bytes(image_bytes)


def test_a_store_that_somebody_has_open_is_refused(image):
    with open(image, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = subprocess.run([BINARY, "check", str(image)], capture_output=True, text=True,
                              check=False)
        assert done.returncode == 1 and "store close" in done.stderr
        fcntl.flock(file, fcntl.LOCK_SH)
        assert sluice_check(image)[0] == 0
        done = subprocess.run([BINARY, "check", "--repair", str(image)], capture_output=True,
                              text=True, check=False)
        assert done.returncode == 1 and "in use" in done.stderr


def test_the_command_says_what_it_found(image):
    def said(*arguments):
        done = subprocess.run([BINARY, "check", *arguments], capture_output=True, text=True,
                              check=False)
        return done.returncode, done.stdout or done.stderr

    assert said(str(image))[1].endswith("no faults\n")
    Editor(image).extents("vol", 0, lambda entries: entries.pop())
    code, text = said(str(image))
    assert code == 1 and "vol (blob 0x1" in text and "--repair mends it" in text
    code, text = said("--repair", str(image))
    assert code == 0 and "1 faults, 1 of them mended" in text
    for arguments in ([], ["a", "b"], ["--lose", str(image)], ["--zz"], [""]):
        assert said(*arguments)[0] == 2
    assert said("/nowhere/x")[0] == 1
    assert said("--help")[1].startswith("usage: sluice check")
