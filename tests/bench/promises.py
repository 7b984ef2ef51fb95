# SPDX-License-Identifier: BSD-2-Clause
"""What Sluice promises, held against a result: one line each, with the figure and whether it holds.

Comparisons with SPDK use the best run of each side, since whatever else the machine does only ever
takes away. A promise whose cells were not measured is not in the list.
"""
import dataclasses
import statistics

import history
import measure

COMPARED = ("requests", "storage", "large", "volumes")      # sections that SPDK is in
COORDINATES = ("section", "bus", "disk", "rings", "rw", "block_size", "depth")
FULL = 0.95                     # so busy is a target that is the limit


@dataclasses.dataclass
class Promise:
    what: str
    limit: str
    measured: str
    holds: bool


class Cells:
    """Cells of a result, found by what is asked of them."""

    def __init__(self, result):
        self.rows = [row for row in result["cells"] if row.get("runs")]

    def find(self, **wanted):
        return [row for row in self.rows if all(row.get(k) == v for k, v in wanted.items())]

    def best(self, figure, **wanted):
        found = self.find(**wanted)
        return found[0]["best"].get(figure) if found else None

    def median(self, figure, **wanted):
        found = self.find(**wanted)
        return found[0]["median"].get(figure) if found else None

    def ratio(self, figure, peer="spdk", **wanted):
        """Ours to a peer's, best to best, of runs in which the cores were equally far apart."""
        ours = self.find(target="sluice", **wanted)
        theirs = self.find(target=peer, **wanted)
        if not ours or not theirs:
            return None
        best = max if measure.FIGURES[figure][1] else min
        pair = equally_far(undisturbed(ours[0]["runs"]), undisturbed(theirs[0]["runs"]))
        first, second = (best((run[figure] for run in runs if run.get(figure)), default=None)
                         for runs in pair)
        return first / second if first and second else None


def undisturbed(runs):
    """Those in which the load had its core; all of them if there are none such."""
    return [run for run in runs if run.get("load_share", 1) >= history.QUIET] or runs


def equally_far(ours, theirs):
    """The runs of both in which a line took about as long as in that run which was nearest to the
    target that fared worse; all of them if there are none such."""
    least = [min((run.get("round_trip_ns", 0) for run in runs), default=0)
             for runs in (ours, theirs)]
    near, far = max(least) / measure.FAR, max(least) * measure.FAR
    kept = [[run for run in runs if near <= run.get("round_trip_ns", 0) <= far]
            for runs in (ours, theirs)]
    return kept if all(kept) else (ours, theirs)


def at_most(promises, what, value, limit, unit=""):
    if value is not None:
        promises.append(Promise(what, f"at most {limit:g}{unit}", f"{value:.3g}{unit}",
                                value <= limit))


def at_least(promises, what, value, limit, unit=""):
    if value is not None:
        promises.append(Promise(what, f"at least {limit:g}{unit}", f"{value:.3g}{unit}",
                                value >= limit))


def rate_wanted(theirs):
    """Of SPDK's rate in this cell of its: more where its target is what limits it."""
    if theirs["section"] == "requests" and theirs["disk"] == "malloc":
        return 1.3
    return 1.1 if theirs["median"].get("busy_share", 0) >= FULL else 1.0


def against_spdk(cells, promises):
    for theirs in cells.find(target="spdk"):
        if theirs["section"] not in COMPARED:
            continue
        here = {key: theirs[key] for key in COORDINATES}
        volume = theirs["disk"] not in ("null", "malloc", "file", "zram")
        at = ", ".join((theirs["bus"], theirs["disk"] + " volume" * volume, theirs["rings"],
                        theirs["rw"], f"depth {theirs['depth']}"))
        if theirs["section"] == "large":
            at += f", {theirs['block_size'] >> 10} KiB"
        # Where the kernel's threads have their say the rate tells it: SPDK leaves them no core, so
        # that half of its round trips are quick and some take milliseconds.
        if theirs["depth"] == 1 and theirs["section"] != "storage":
            at_most(promises, f"round trip at depth 1 against SPDK: {at}",
                    cells.ratio("latency_p50_ns", **here), 1.05)
            continue
        if theirs["disk"] == "null":
            at_most(promises, f"busy time per request against SPDK: {at}",
                    cells.ratio("busy_ns_per_request", **here), 0.8)
        at_least(promises, f"rate against SPDK: {at}", cells.ratio("iops", **here),
                 rate_wanted(theirs))


def recording(cells, promises):
    """By the median of what neighbouring runs differ in: the distance of the cores changes between
    rounds, and moves a request's cost by more than recording does."""
    for row in cells.find(section="recording", target="sluice", recorded=True):
        without = cells.find(section="recording", target="sluice", bus=row["bus"],
                             rings=row["rings"], depth=row["depth"], recorded=False)
        pairs = zip(row["runs"], without[0]["runs"] if without else ())
        costs = [run["busy_ns_per_request"] - other["busy_ns_per_request"]
                 for run, other in pairs]
        if costs:
            at_most(promises, f"in-flight recording: {row['bus']}, {row['rings']}, depth "
                    f"{row['depth']}", statistics.median(costs), 5, " ns")


def against_fio(cells, promises):
    """On the same file, core and time; fio's cells are those of one bus, its requests of none."""
    for row in cells.find(section="storage", target="sluice", disk="file"):
        alone = [other["best"]["iops"] for other in
                 cells.find(section="storage", target="fio", disk="file", rw=row["rw"],
                            depth=row["depth"])]
        if alone:
            at_least(promises, f"IOPS against fio's own: {row['bus']}, file, {row['rw']}, depth "
                     f"{row['depth']}", row["best"]["iops"] / max(alone), 0.9)


def idle(cells, promises):
    for row in cells.find(section="idle", target="sluice"):
        median = row["median"]
        at_most(promises, f"idle, {row['variant']}: CPU", median["cpu_cores"] * 100, 1, " %")
        at_most(promises, f"idle, {row['variant']}: memory", median["memory_kib"] / 1024, 64,
                " MiB")
    busy = {row["idle_queues"]: row for row in cells.find(section="idle queues", target="sluice")}
    if 0 in busy and 1000 in busy:
        loss = 1 - busy[1000]["best"]["iops"] / max(busy[0]["best"]["iops"], 1)
        at_most(promises, "what 1,000 idle queues cost a busy one", loss * 100, 2, " %")


def fairness(cells, promises):
    guests = {row["guests"]: row for row in cells.find(section="guests", target="sluice",
                                                       bus="blk")}
    if 64 in guests and 1 in guests:
        at_least(promises, "the worst served of 64 guests: part of its share",
                 guests[64]["best"].get("least_share"), 0.8)
        at_least(promises, "64 guests' IOPS against one guest's", guests[64]["best"]["iops"]
                 / guests[1]["best"]["iops"], 0.85)
    for bus in ("blk", "scsi"):
        busy = {row["guests"]: row["best"].get("busy_ns_per_request") for row in
                cells.find(section="guests", target="sluice", bus=bus)}
        if busy.get(1) and busy.get(256):
            at_most(promises, f"busy time per request with 256 guests against one: {bus}",
                    busy[256] / busy[1], 1.1)
    alone = cells.best("latency_p99_ns", section="fairness", target="sluice", guests=1)
    beside = cells.best("latency_p99_ns", section="fairness", target="sluice", guests=2)
    if alone and beside:
        at_most(promises, "what a neighbour's 1 MiB writes add at the 99th percentile",
                (beside - alone) / 1000, 100, " us")
    one = cells.best("drain_ns", section="drain", target="sluice")
    two = cells.best("drain_ns", section="drain", target="sluice-2")
    if one and two:
        at_least(promises, "two data threads drain two rings faster by", one / two, 1.8, " times")


def window(cells, promises):
    worst, where = 0, None
    for row in cells.find(section="window", target="sluice"):
        us = row["interarrival_us"]
        always = cells.median("latency_p50_ns", section="window", target="sluice-always",
                              interarrival_us=us)
        if not always or us > 50:
            continue
        excess = row["median"]["latency_p50_ns"] / always
        if excess > worst:
            worst, where = excess, us
    rare = cells.median("cpu_cores", section="window", target="sluice", interarrival_us=50000)
    if rare is not None:
        at_most(promises, "CPU with arrivals 50 ms apart", rare * 100, 1, " % of a core")
    if where is not None:
        at_most(promises, "latency of adaptive polling against polling always, arrivals up to "
                f"50 us (worst at {where:g} us)", worst, 1.1)


def volumes(cells, promises):
    """By the latency at the median, which at full depth is what a request costs, and which a
    neighbour's interruptions move less than the rate. Best to best."""
    for row in cells.find(section="volumes", target="sluice"):
        bare = cells.best("latency_p50_ns", section="volumes", target="sluice", disk="malloc",
                          rw=row["rw"], depth=row["depth"])
        if bare and row["disk"] != "malloc":
            at_most(promises, f"latency on a {row['disk']} volume against its base device: "
                    f"{row['rw']}, depth {row['depth']}", row["best"]["latency_p50_ns"] / bare,
                    1.03)


def most_to_one(cells, section, disk, key):
    """IOPS where there is most of something, as part of those where there is one; and how many."""
    found = {row[key]: row["best"]["iops"] for row in
             cells.find(section=section, target="sluice", disk=disk)}
    return (found[max(found)] / found[1], max(found)) if 1 in found and len(found) > 1 else (0, 0)


def flat(cells, promises):
    """More volumes, more clusters, larger stores and larger volumes: the same cost. Guests have
    memory of their own and RAM disks are memory too, whose speed is not ours, so volumes are held
    against what as many RAM disks do."""
    for section, what, key, bare, ours in (("volume count", "volumes", "guests", "bare", "many"),
                                           ("clusters", "clusters", "clusters", "memory",
                                            "million")):
        alone, _ = most_to_one(cells, section, bare, key)
        share, most = most_to_one(cells, section, ours, key)
        if alone and share:
            at_least(promises, f"IOPS of {most:,} {what} against one's ({share:.2f}) to the same "
                     f"without volumes ({alone:.2f})", share / alone, 0.9)
    loads = {row["bytes"]: row for row in cells.find(section="store load", target="sluice")}
    if loads:
        largest = loads[max(loads)]
        at_most(promises, f"opening a store of {largest['variant']} after a sudden death",
                largest["best"]["load_ns"] / 1e9, 5, " s")
    taken = {row["bytes"]: row for row in cells.find(section="snapshot", target="sluice")}
    if taken:
        largest = taken[max(taken)]
        at_most(promises, f"a snapshot of a volume of {largest['variant']}",
                largest["best"]["snapshot_ns"] / 1e6, 10, " ms")


def check(result):
    cells = Cells(result)
    promises = []
    for part in (against_spdk, recording, against_fio, idle, fairness, window, volumes, flat):
        part(cells, promises)
    return promises
