# SPDX-License-Identifier: BSD-2-Clause
"""Runs groups of cells. Targets take turns, a round each, so that a noisy minute of the machine
falls on all of them. What is shown is the median and how far the runs lie apart.

Two figures for the CPU of a request, never to be mixed:
  cpu   run time of all threads of the target's process, by the kernel's count
  busy  what the target's own reactors count as work (framework_get_reactors): for a target that
        polls without end, `cpu` is only the time that passed
Busy time is time: what interrupts a reactor is counted as its work. On a machine that is not quiet
the best run is nearer to the truth than the median; both are kept. How quiet it was is measured
too: the load polls, so the share of its core that it got is what others left (`load_share`).

A virtual machine's processors are moved about by its host. How far apart the two are at the moment
(`round_trip_ns` of a cache line, timed before each run) decides about every figure of a polled
ring, so the median is that of the runs in which they were as near as in any of their group.
"""
import json
import os
import resource
import statistics
import subprocess
import time

import targets
import volumes
from cells import Cell

# Of one run's report: name here, where it is there, and whether more is better.
FIGURES = {
    "iops": (("iops",), True),
    "bytes_per_second": (("bytes_per_second",), True),
    "latency_avg_ns": (("latency_ns", "avg"), False),
    "latency_p50_ns": (("latency_ns", "p50"), False),
    "latency_p99_ns": (("latency_ns", "p99"), False),
    "latency_p999_ns": (("latency_ns", "p99.9"), False),
    "cpu_ns_per_request": (("target", "threads_ns_per_request"), False),
    "cpu_cores": (("target", "cores"), False),
    "busy_ns_per_request": (("target", "busy_ns_per_request"), False),
    "busy_share": (("target", "busy_share"), False),
    "least_share": (("roles", 0, "share", "least"), True),
    "neighbour_bytes_per_second": (("roles", 1, "bytes_per_second"), True),
    "round_trip_ns": (("round_trip_ns",), False),
    "load_share": (("load_share",), True),
    "memory_kib": (("target", "memory_kib"), False),
    "requests_per_batch": (("requests_per_batch",), True),
    "drain_ns": (("drain", "median_ns"), False),
    "load_ns": (("load_ns",), False),           # of stores.py
    "snapshot_ns": (("snapshot_ns",), False),
}


FAR = 1.6                       # times the nearest round trip


def dig(report, path):
    for key in path:
        try:
            report = report[key]
        except (KeyError, IndexError, TypeError):
            return None
    return report


def precondition(options, core, target, setup):
    """Writes all of a RAM disk: memory that was never written is not there yet, and reading it
    shows the speed of one page of zeroes. Each run of the load begins at the disk's."""
    cell = Cell("fill", setup, "write", 1 << 20, 4, guests=setup.guests)
    seconds = 0.2
    while run_load(options, core, target, cell, seconds)["requests"] << 20 < \
            targets.disk_bytes(setup) * setup.guests:
        seconds *= 2


def prepare(options, cores, peer, cell, prepared):
    """What a cell finds. All setups of a target share its RAM disks and volumes, which are full;
    but where first writes are measured the volume is new, or has a snapshot made right before."""
    disk = cell.setup.disk
    kind = volumes.KINDS.get(disk)
    in_memory = kind.filled if kind else disk == "malloc"
    if in_memory and disk not in prepared:
        precondition(options, cores.load, peer, cell.setup)
    elif cell.first_writes and disk in prepared:
        peer.renew(cell.setup, 0)
    prepared.add(disk)
    if cell.first_writes and kind.filled:
        peer.snapshot(cell.setup, 0, f"before-{cell.depth}")


def children_cpu():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_load(options, core, target, cell, seconds):
    if hasattr(target, "run_load"):     # it makes its load itself
        return target.run_load(cell, seconds)
    argv = [os.path.join(options.build, "tests/bench/vhost-bench"),
            "--socket", target.pattern(cell.setup), *cell.arguments(), "--seconds", str(seconds),
            "--warmup", str(0 if cell.first_writes else options.warmup),
            "--target-pid", str(target.process.pid)]
    if target.rpc:
        argv += ["--rpc", target.rpc]
    # Options of the command line before the first role: they are of all roles.
    at = argv.index("--role") if "--role" in argv else len(argv)
    argv[at:at] = options.load
    began, used = time.monotonic(), children_cpu()
    done = subprocess.run(targets.pinned(core, argv), capture_output=True, text=True,
                          timeout=seconds + options.warmup + 60, check=False)
    share = (children_cpu() - used) / (time.monotonic() - began)
    if not done.stdout:
        why = done.stderr.strip() or f"vhost-bench: exit {done.returncode}"
        kind = targets.NotOffered if "the target has no" in why else targets.TargetError
        raise kind(why)
    report = json.loads(done.stdout)
    if report["errors"]:
        raise targets.TargetError(f"{report['errors']} requests failed, the first with status "
                                  f"{report['first_error']:#x}")
    if not report["options"]["drain"]:          # there it sleeps
        report["load_share"] = min(share, 1.0)
    return report


def quiet_share(rows):
    """The share of its core that the load got, at the median of all runs; None if unknown."""
    shares = [run["load_share"] for row in rows for run in row["runs"] if "load_share" in run]
    return statistics.median(shares) if shares else None


def round_trip(options, cores):
    """Of a cache line between target and load, now; None where there are no two cores."""
    if not cores.load:
        return None
    argv = [os.path.join(options.build, "tests/bench/cache-lines"), str(cores.load[0]),
            str(cores.target[0]), "turn"]
    done = subprocess.run(targets.pinned(cores.everything, argv), capture_output=True, text=True,
                          timeout=60, check=False)
    return json.loads(done.stdout)["round_trip_ns"] if done.returncode == 0 else None


def near_runs(runs, nearest):
    """Those in which the cores were as near as they get, or all when none was."""
    near = [run for run in runs if nearest and run.get("round_trip_ns", 0) <= nearest * FAR]
    return near or runs


def summarise(cell, nearest=None):
    """Medians over the runs, the best, and their distance as a share of the median."""
    cell.update(median={}, best={}, spread={})
    runs = near_runs(cell["runs"], nearest)
    for name, (_, more_is_better) in FIGURES.items():
        values = [run[name] for run in runs if name in run]
        if not values:
            continue
        median = statistics.median(values)
        cell["median"][name] = median
        cell["best"][name] = max(values) if more_is_better else min(values)
        cell["spread"][name] = (max(values) - min(values)) / median if median else 0.0


class Results:
    """The cells of a group for each of its targets."""

    def __init__(self, group, peers):
        self.by_peer = {peer.name: [(cell, {**cell.coordinates, "target": peer.name, "runs": []})
                                    for cell in group.cells if peer.can(cell.setup)]
                        for peer in peers}

    def open_cells(self, peer):
        return [(cell, result) for cell, result in self.by_peer[peer.name]
                if not {"error", "left_out"} & set(result)]

    def rows(self):
        """In the order of the group's cells, targets beside one another."""
        rows = {}
        for pairs in self.by_peer.values():
            for cell, result in pairs:
                rows.setdefault(cell, []).append(result)
        return [result for cell in rows for result in rows[cell]]


def measure_cell(options, cores, peer, cell, result, seconds):
    try:
        distance = round_trip(options, cores)
        report = run_load(options, cores.load, peer, cell, seconds)
        report["round_trip_ns"] = distance
    except targets.NotOffered as reason:
        result["left_out"] = str(reason)
        return
    except subprocess.TimeoutExpired:
        result["error"] = "vhost-bench did not come to an end"
        return
    except targets.TargetError as error:
        result["error"] = str(error)
        if peer.process and peer.process.poll() is not None:
            raise targets.TargetError(f"{peer.name} has ended: {targets.tail(peer.log)}") from None
        return
    figures = {name: dig(report, path) for name, (path, _) in FIGURES.items()}
    result["runs"].append({name: value for name, value in figures.items() if value is not None})
    for fact in ("event_idx", "inflight"):
        result[fact] = report["options"][fact]


def measure_round(options, cores, peer, group, results):
    """One turn of one target: every cell of the group once."""
    mine = results.open_cells(peer)
    if not mine:
        return
    try:
        peer.start(list(dict.fromkeys(cell.setup for cell, _ in mine)))
        prepared = set()
        for cell, result in mine:
            prepare(options, cores, peer, cell, prepared)
            measure_cell(options, cores, peer, cell, result,
                         group.seconds or options.seconds)
    except (targets.TargetError, OSError) as error:
        for _, result in mine:
            if not result["runs"]:
                result.setdefault("error", str(error))
    finally:
        peer.stop()


def measure_group(options, cores, peers, group):
    """All cells of a group on all its targets. Returns the results."""
    able = [peer for peer in peers if peer.name in group.peers]
    results = Results(group, able)
    for _ in range(group.rounds or options.rounds):
        for peer in able:
            measure_round(options, cores, peer, group, results)
    rows = results.rows()
    distances = [run["round_trip_ns"] for row in rows for run in row["runs"]
                 if "round_trip_ns" in run]
    for result in rows:
        summarise(result, min(distances, default=None))
    return rows
