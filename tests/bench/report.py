#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""report.py RESULT.json PAGE.html: a result of the bench as a page that needs nothing but itself.

First what was promised and whether it holds, then a plot for each section, then every cell.
"""
import html
import json
import sys

import plots
import promises
import table
from history import QUIET

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 0; }
main { max-width: 1060px; margin: 0 auto; padding: 24px; }
h1 { margin: 0 0 4px; } h2 { margin: 40px 0 4px; border-bottom: 1px solid #ddd; }
p.note { color: #555; margin: 4px 0 12px; max-width: 80ch; }
.legend span { margin-right: 18px; font-size: 13px; }
.legend i { display: inline-block; width: 11px; height: 11px; margin-right: 5px; }
svg { max-width: 100%; height: auto; }
svg text { font-family: system-ui, sans-serif; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 2px 10px 2px 0; text-align: left; white-space: nowrap; }
td.n, th.n { text-align: right; }
tr:nth-child(even) td { background: #f6f7f8; }
.yes { color: #18794e; } .no { color: #b3261e; font-weight: 600; }
.wide { overflow-x: auto; } summary { cursor: pointer; color: #0b6e99; }
"""


def escape(value):
    return html.escape(str(value))


def depth(row):
    return f"depth {row['depth']}"


def panel(row):
    kind = {"null": "null", "malloc": "RAM disk", "file": "file", "zram": "zram",
            "thick": "thick volume", "thin": "thin volume", "many": "volumes of one store",
            "million": "volume", "bare": "RAM disks", "memory": "RAM disk",
            "new": "64 KiB clusters", "new-4m": "4 MiB clusters",
            "new-1t": "1 TiB on a file, 64 KiB", "snapped": "64 KiB clusters",
            "snapped-4m": "4 MiB clusters"}[row["disk"]]
    rings = ", packed" if row["rings"] == "packed" else ""
    return f"{row['bus']}, {kind}{rings}"


def panel_with_mode(row):
    return f"{panel(row)}, {row['rw']}"


def size_and_mode(row):
    return f"{table.size(row['block_size'])} {row['rw']}"


def requests(rows):
    reads = [row for row in rows if row["rw"] == "randread"]
    polling = [row for row in reads if "busy_ns_per_request" in row["median"]]
    yield ("4 KiB random reads: IOPS", "One core for the target, one for the guest; bars are "
           "medians, lines reach from the worst run to the best.",
           plots.panels(reads, panel, depth, "iops", "requests iops"))
    yield ("What a request costs the target", "Busy time of the data thread per request, in ns, as "
           "the target itself counts it (framework_get_reactors). A target that was interrupted "
           "counts that as its own work: the lower end of a line is nearest to the truth.",
           plots.panels(polling, panel, depth, "busy_ns_per_request", "requests busy", digits=0))
    yield ("Latency at the median, in ns", "",
           plots.panels(reads, panel, depth, "latency_p50_ns", "requests latency"))


def recording(rows):
    yield ("In-flight recording: busy ns per request", "What a request costs the target with it "
           "and without.", plots.panels(
               rows, panel, lambda row: f"{depth(row)}{'' if row['recorded'] else ', without'}",
               "busy_ns_per_request", "recording", digits=0))


def storage(rows):
    yield ("4 KiB requests on a file and on zram: IOPS", "Through the kernel: here the device has "
           "its say.", plots.panels(rows, panel_with_mode, depth, "iops", "storage iops"))
    yield ("CPU of the whole process per request, in us", "",
           plots.panels(rows, panel_with_mode, depth, "cpu_ns_per_request", "storage cpu",
                        scale=1e-3, digits=1))


def large(rows):
    yield ("Large sequential requests: GB/s", "", plots.panels(
        rows, panel, size_and_mode, "bytes_per_second", "large", scale=1e-9, digits=1))


def scaling(rows, key, name):
    for bus in dict.fromkeys(row["bus"] for row in rows):
        yield (f"More {name}, one data thread: {bus}", "A request should cost no more because "
               "there are more of them.", plots.two_curves(
                   [row for row in rows if row["bus"] == bus], lambda row: row[key], name,
                   (("iops", "IOPS of all", 1), ("busy_ns_per_request", "busy ns per request", 1)),
                   f"{name} {bus}"))


def guests(rows):
    yield from scaling(rows, "guests", "guests")


def queues(rows):
    yield from scaling(rows, "queues", "queues")


def idle_queues(rows):
    yield ("A busy queue beside idle ones: IOPS", "", plots.panels(
        rows, panel, lambda row: f"{row['idle_queues']} idle", "iops", "idle queues"))


def window(rows):
    yield ("Arrivals by the clock", "Latency stays that of polling where that pays, and the CPU "
           "falls towards nothing where it does not.", plots.two_curves(
               rows, lambda row: row["interarrival_us"], "us between requests",
               (("latency_p50_ns", "latency at the median, us", 1e-3),
                ("cpu_cores", "CPU of the target, cores", 1)), "window", (True, False)))


def fairness(rows):
    yield ("A depth-1 reader, alone and beside a neighbour's 1 MiB writes",
           "99th percentile of the reader's latency, in us.", plots.panels(
               rows, panel, lambda row: "alone" if row["guests"] == 1 else "with neighbour",
               "latency_p99_ns", "fairness", scale=1e-3, digits=1))


def drain(rows):
    yield ("Draining two full rings of one disk, in us", "", plots.panels(
        rows, panel, lambda row: "2 rings", "drain_ns", "drain", scale=1e-3, digits=0))


def volumes(rows):
    yield ("4 KiB requests on allocated volumes of a RAM disk, and on the RAM disk: IOPS",
           "Clusters of 64 KiB. Once a cluster is there a volume should cost nothing.",
           plots.panels(rows, panel_with_mode, depth, "iops", "volumes iops"))
    polling = [row for row in rows if "busy_ns_per_request" in row["median"]]
    yield ("What they cost the target: busy ns per request", "",
           plots.panels(polling, panel_with_mode, depth, "busy_ns_per_request", "volumes busy",
                        digits=0))


def beside_bare(rows, key, name):
    """Targets have the colours: that of another stands for the RAM disk itself."""
    yield (f"More {name}, one data thread", "4 KiB random reads of volumes of Sluice, and in grey "
           "of the same without volumes: where both fall it is memory that gets slower.",
           plots.two_curves(
               [{**row, "target": "bare" if row["disk"] in ("bare", "memory") else row["target"]}
                for row in rows], lambda row: row[key], name,
               (("iops", "IOPS", 1), ("latency_p999_ns", "the slowest of a thousand, us", 1e-3)),
               f"more {name}"))


def volume_count(rows):
    yield from beside_bare(rows, "guests", "volumes")


def clusters(rows):
    yield from beside_bare(rows, "clusters", "clusters of a volume")


def first_writes(rows, what, note):
    yield (f"4 KiB random first writes {what}: IOPS", note,
           plots.panels(rows, panel, depth, "iops", f"first writes {what} iops"))
    yield (f"First writes {what}: the slowest of a thousand of them, in ms", "",
           plots.panels(rows, panel, depth, "latency_p999_ns", f"first writes {what} latency",
                        scale=1e-6, digits=1))


def thin_writes(rows):
    yield from first_writes(rows, "to a new thin volume", "Each takes a cluster. All stores are on "
                            "RAM disks but that of 1 TiB, which is on a file of holes.")


def snapshot_writes(rows):
    yield from first_writes(rows, "after a snapshot", "Each reads its cluster from the snapshot "
                            "and writes all of it.")


def times(rows, figure, title, note):
    yield (title, note, plots.one_curve(rows, lambda row: row["bytes"] / (1 << 30), "GiB", figure,
                                        "ms", 1e-6, title))


def store_load(rows):
    yield from times(rows, "load_ns", "Opening a store after a sudden death", "The same volumes in "
                     "stores of any capacity, on a file.")


def snapshot(rows):
    yield from times(rows, "snapshot_ns", "A snapshot of a thin volume of any size", "On a RAM "
                     "disk, from the request to its answer.")


def idle(rows):
    yield ("Idle", "", plots.horizontal(
        rows, lambda row: f"{plots.name_of(row['target'])}, {row['variant']}",
        (("cpu_cores", "CPU, % of a core", 100), ("memory_kib", "memory of its own, MiB",
                                                  1 / 1024)), "idle"))


def talk(rows):
    yield (f"{rows[0]['guests']} guests with a processor and a disk each, fio in each",
           "4 KiB random reads with direct I/O on null disks. CPU is that of all QEMU processes "
           "and the target together.", plots.horizontal(
               rows, lambda row: row["variant"],
               (("iops", "IOPS of all, depth 32", 1),
                ("latency_p50_ns", "us at depth 1", 1e-3),
                ("cpu_ns_per_request", "CPU us per I/O", 1e-3)), "talk"))


SECTIONS = {"requests": requests, "recording": recording, "storage": storage, "large": large,
            "guests": guests, "queues": queues, "idle queues": idle_queues, "window": window,
            "fairness": fairness, "drain": drain, "volumes": volumes,
            "volume count": volume_count, "clusters": clusters,
            "first writes, thin": thin_writes, "first writes, snapshot": snapshot_writes,
            "store load": store_load, "snapshot": snapshot, "idle": idle, "talk": talk}


def promise_table(result):
    lines = [f"<tr><td>{escape(p.what)}</td><td class=n>{escape(p.measured)}</td>"
             f"<td>{escape(p.limit)}</td><td class={'yes' if p.holds else 'no'}>"
             f"{'holds' if p.holds else 'does not hold'}</td></tr>"
             for p in promises.check(result)]
    if not lines:
        return "<p class=note>None of the cells that promises are about was measured.</p>"
    return ("<table><tr><th>promise<th class=n>measured<th>limit<th></tr>" + "".join(lines)
            + "</table>")


COLUMNS = (("IOPS", "iops", 1, 0), ("p50 us", "latency_p50_ns", 1e-3, 2),
           ("p99 us", "latency_p99_ns", 1e-3, 2), ("p99.9 us", "latency_p999_ns", 1e-3, 2),
           ("cpu ns", "cpu_ns_per_request", 1, 0), ("busy ns", "busy_ns_per_request", 1, 0),
           ("cores", "cpu_cores", 1, 3), ("ms", "load_ns", 1e-6, 1), ("ms", "snapshot_ns", 1e-6, 2))


def cell_line(row):
    values = [f"<td>{escape(table.name(row))}</td>"]
    if not row["runs"]:
        why = row.get("left_out") or row.get("error")
        return f"<tr>{values[0]}<td colspan={len(COLUMNS) + 2}>{escape(why)}</td></tr>"
    for _, figure, scale, digits in COLUMNS:
        value = row["median"].get(figure)
        values.append(f"<td class=n>{value * scale:,.{digits}f}</td>" if value is not None
                      else "<td></td>")
    values.append(f"<td class=n>{row['spread'].get('iops', 0) * 50:.0f}</td>")
    change = row.get("against_past")
    mark = " class='n no'" if row.get("fallen") else " class=n"
    values.append(f"<td{mark}>{change:+.0%}</td>" if change is not None else "<td></td>")
    return f"<tr>{''.join(values)}</tr>"


def cell_table(rows):
    heads = "".join(f"<th class=n>{name}" for name, *_ in COLUMNS)
    return ("<details><summary>Every cell</summary><div class=wide><table><tr><th>cell" + heads
            + "<th class=n>+-%<th class=n>to the past</tr>"
            + "".join(map(cell_line, rows)) + "</table></div></details>")


def noise(result):
    share = result.get("load_share")
    if share is None or share >= QUIET:
        return ""
    return (f"<p class=no>The machine was not quiet: the load got {share:.0%} of its core. These "
            "figures say little.</p>")


def head(result):
    machine, settings = result["machine"], result["settings"]
    peers = "; ".join(f"{name}: {what}" for name, what in result["targets"].items())
    return (f"<h1>Sluice under load</h1><p class=note>{escape(result['when'])}, commit "
            f"{escape(result['commit'])}, {escape(machine['cpu'])}, {machine['cores']} cores, "
            f"Linux {escape(machine['kernel'])}, load before: {machine['load_before']:.1f}. "
            f"{settings['rounds']} alternated runs of {settings['seconds']:g} s, "
            f"{result['took_seconds'] / 60:.0f} minutes in all. {escape(peers)}.</p>"
            + noise(result))


def body(result):
    yield head(result)
    yield "<h2>What was promised</h2>" + promise_table(result)
    for section, plot in SECTIONS.items():
        rows = [row for row in result["cells"] if row["section"] == section and row["runs"]]
        for title, note, drawing in plot(rows) if rows else ():
            if drawing:
                yield f"<h2>{escape(title)}</h2><p class=note>{escape(note)}</p>{drawing}"
    if result.get("lines"):
        yield ("<h2>The floor: cache lines between the two cores</h2><p class=note>Each request "
               "moves some from one core to the other and back; misses of a batch overlap. One "
               f"line there and back: {result['lines']['round_trip_ns']:.0f} ns.</p>"
               + plots.cache_lines(result["lines"]))
    yield "<h2>All figures</h2>" + cell_table(result["cells"])


def write(result, path):
    page = ("<!doctype html><html lang=en><meta charset=utf-8><title>Sluice under load</title>"
            "<meta name=viewport content='width=device-width'>"
            f"<style>{STYLE}</style><main>{''.join(body(result))}</main></html>\n")
    with open(path, "w", encoding="utf-8") as file:
        file.write(page)


def main():
    if len(sys.argv) != 3:
        print(__doc__.splitlines()[0], file=sys.stderr)
        return 2
    with open(sys.argv[1], encoding="utf-8") as file:
        write(json.load(file), sys.argv[2])
    return 0


if __name__ == "__main__":
    sys.exit(main())
