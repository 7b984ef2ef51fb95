# SPDX-License-Identifier: BSD-2-Clause
"""The bench as a program: one small run of it, and what it makes of runs before."""

import copy
import json
import os
import pathlib
import subprocess
import sys

from .executable import binary

BENCH = pathlib.Path(__file__).resolve().parent.parent / "bench"
sys.path.insert(0, str(BENCH))

import history  # noqa: E402  (the path has to be set first)
import promises  # noqa: E402

CELL = {"section": "requests", "bus": "blk", "disk": "null", "rings": "split", "rw": "randread",
        "block_size": 4096, "depth": 32, "guests": 1, "queues": 1, "idle_queues": 0,
        "interarrival_us": 0, "target": "sluice", "runs": [{"iops": 100.0}],
        "median": {"iops": 100.0}, "best": {"iops": 100.0}}
RESULT = {"when": "2026-01-01T00:00:00Z", "commit": "c0ffee", "machine": {"key": "m"},
          "settings": {"quick": False}, "cells": [CELL]}


def result(median, best, **settings):
    made = copy.deepcopy(RESULT)
    made["cells"][0]["median"]["iops"] = median
    made["cells"][0]["best"]["iops"] = best
    made["settings"].update(settings)
    return made


def past(tmp_path, *medians):
    path = tmp_path / "state" / "history.jsonl"
    for median in medians:
        history.append(str(path), result(median, median))
    return str(path)


def test_a_small_run_ends_with_a_result_and_an_entry_in_the_history(tmp_path):
    kept = tmp_path / "history.jsonl"
    out = tmp_path / "out.json"
    subprocess.run(
        [sys.executable, BENCH / "bench", "--build", pathlib.Path(binary()).parent, "--section",
         "requests", "--disk", "null", "--bus", "blk", "--depth", "8", "--only", "sluice",
         "--rounds", "1", "--seconds", "0.1", "--warmup", "0.05", "--json", out, "--history", kept],
        check=True, timeout=120, env={**os.environ, "QUICK": "1"})
    split = next(c for c in json.loads(out.read_text())["cells"] if c["rings"] == "split")
    assert split["median"]["iops"] > 0 and split["runs"], split
    assert split["event_idx"], split
    assert "sluice" in kept.read_text()


def test_a_cell_below_nine_tenths_of_its_last_runs_is_named(tmp_path):
    path = past(tmp_path, 100, 104, 96)
    fallen = history.compare(path, result(80, 85))
    assert [row["target"] for row in fallen] == ["sluice"]
    assert round(fallen[0]["against_past"], 6) == -0.2


def test_a_cell_whose_best_run_is_as_good_as_ever_has_not_fallen(tmp_path):
    assert not history.compare(past(tmp_path, 100, 104, 96), result(60, 95))


def test_runs_of_another_kind_or_too_few_of_them_say_nothing(tmp_path):
    assert not history.compare(past(tmp_path, 100, 100, 100), result(50, 50, quick=True))
    assert not history.compare(past(tmp_path / "other", 100), result(50, 50))


def test_what_a_busy_machine_measured_is_not_compared(tmp_path):
    path = past(tmp_path, 100, 100)
    disturbed = result(50, 50)
    disturbed["cells"][0]["median"]["load_share"] = 0.5
    assert not history.compare(path, disturbed)
    history.append(path, disturbed)
    history.append(path, disturbed)
    history.append(path, disturbed)
    assert history.compare(path, result(80, 80))


def test_a_history_that_was_cut_off_is_still_read(tmp_path):
    path = past(tmp_path, 100, 100)
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"when": "20')
    assert history.compare(path, result(50, 50))


def test_a_promise_that_is_not_kept_is_told_as_such():
    peer = copy.deepcopy(CELL)
    peer.update(target="spdk", runs=[{"iops": 90.0, "busy_ns_per_request": 80.0}],
                median={"busy_share": 0.9})
    ours = copy.deepcopy(CELL)
    ours["runs"][0]["busy_ns_per_request"] = 72.0
    held = {p.what: p.holds for p in promises.check({"cells": [ours, peer]})}
    assert held == {
        "busy time per request against SPDK: blk, null, split, randread, depth 32": False,
        "rate against SPDK: blk, null, split, randread, depth 32": True}


def cell(**differs):
    best = {"iops": differs.pop("iops")}
    return {**copy.deepcopy(CELL), "clusters": 0, "best": best, **differs}


def test_more_clusters_are_held_against_what_memory_itself_loses():
    rows = [cell(section="clusters", disk=disk, clusters=count, iops=iops)
            for disk, count, iops in (("memory", 1, 100.0), ("memory", 10, 80.0),
                                      ("million", 1, 90.0), ("million", 10, 63.0))]
    found = promises.check({"cells": rows})
    assert [(p.measured, p.holds) for p in found] == [("0.875", False)]
    rows[3]["best"]["iops"] = 66.0
    assert promises.check({"cells": rows})[0].holds
    assert not promises.check({"cells": rows[1:]}), "what was not measured is no promise"


def test_cells_that_differ_in_their_clusters_are_told_apart_in_the_history():
    one, many = (cell(section="clusters", clusters=count, iops=1.0) for count in (1, 10))
    assert history.identity(one) != history.identity(many)
    assert history.identity(cell(iops=1.0)) == history.identity(CELL)
