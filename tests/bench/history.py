# SPDX-License-Identifier: BSD-2-Clause
"""What this machine measured before, and which cells have fallen since.

One line of JSON for each cell of each run, in a file of the user's state directory: it outlives
build folders and checkouts and is no part of the project. Only runs of the same machine and the
same kind (quick or whole) are compared. The reference is the median of the last runs.

A cell has fallen when its median *and* its best run lie more than a tenth below the reference: on
a machine with neighbours the median alone falls every other hour. Cells that were measured while
others had much of the load's core say nothing, neither then nor later.
"""
import json
import os
import statistics

RUNS = 7                        # that the reference is made of
ENOUGH = 2                      # fewer say nothing
TOLERANCE = 0.10
QUIET = 0.9                     # of its core must the load have had
# What a cell is held to: the rate, and for arrivals by the clock, whose rate is given, the latency;
# of what is done once, its time.
RATE, LATENCY = "iops", "latency_p50_ns"
TIMES = {"store load": "load_ns", "snapshot": "snapshot_ns"}


def default_path():
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "sluice", "bench-history.jsonl")


def identity(row):
    """The name of a cell through the years: what was measured, and of whom."""
    names = ("section", "bus", "disk", "rings", "rw", "block_size", "depth", "guests", "queues",
             "idle_queues", "interarrival_us", "variant", "target")
    clusters = f" {row['clusters']}" if row.get("clusters") else ""
    recorded = "" if row.get("recorded", True) else " unrecorded"
    return " ".join(str(row.get(name, "")) for name in names) + clusters + recorded


def figure_of(row):
    return TIMES.get(row["section"]) or (LATENCY if row.get("interarrival_us") else RATE)


def load(path):
    entries = []
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                try:
                    entries.append(json.loads(line))
                except ValueError:
                    continue        # the end of a run that was cut off
    except FileNotFoundError:
        pass
    return entries


def load_share(row):
    return row["median"].get("load_share", 1.0)


def kind(result):
    return f"{result['machine']['key']} {'quick' if result['settings']['quick'] else 'whole'}"


def append(path, result):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        for row in result["cells"]:
            figure = figure_of(row)
            if figure in row.get("median", {}):
                file.write(json.dumps({
                    "when": result["when"], "commit": result["commit"], "kind": kind(result),
                    "cell": identity(row), "figure": figure, "median": row["median"][figure],
                    "best": row["best"][figure], "load_share": load_share(row)}) + "\n")


def references(entries, result):
    """Of each cell: the medians of its last runs here, the newest last."""
    found = {}
    for entry in entries:
        if entry.get("kind") == kind(result) and entry.get("load_share", 1.0) >= QUIET:
            found.setdefault(entry["cell"], []).append(entry["median"])
    return {cell: values[-RUNS:] for cell, values in found.items()}


def compare(path, result):
    """Gives each cell its past, and marks what has fallen. Returns the fallen ones."""
    known = references(load(path), result)
    fallen = []
    for row in result["cells"]:
        past = known.get(identity(row), [])
        figure = figure_of(row)
        row["past"] = past
        if len(past) < ENOUGH or figure not in row.get("median", {}) or load_share(row) < QUIET:
            continue
        reference = statistics.median(past)
        row["against_past"] = change(figure, row["median"][figure], reference)
        best = change(figure, row["best"][figure], reference)
        if max(row["against_past"], best) < -TOLERANCE:
            row["fallen"] = True
            fallen.append(row)
    return fallen


def change(figure, value, reference):
    """How much better: 0.1 is ten per cent more, or in ten per cent less time."""
    if not value or not reference:
        return 0.0
    return value / reference - 1 if figure == RATE else reference / value - 1
