# SPDX-License-Identifier: BSD-2-Clause
"""The cells as lines on a terminal."""

HEADER = (f"{'bus':5}{'disk':11}{'rings':7}{'mode':10}{'size':>5}{'depth':>6}  {'':13}{'target':20}"
          f"{'IOPS':>12}{'+-%':>5}{'p50 us':>10}{'p99 us':>10}{'99.9 us':>10}{'cpu ns':>10}"
          f"{'busy ns':>10}{'best':>10}{'busy %':>8}")


def size(count):
    return f"{count >> 20}M" if count >= 1 << 20 else f"{count >> 10}K"


def variable(row):
    """What a section varies besides depth."""
    if row["interarrival_us"]:
        return f"{row['interarrival_us']:g} us"
    if row.get("clusters"):
        return f"{row['clusters']:,} cl"
    if not row.get("recorded", True):
        return "unrecorded"
    if row["idle_queues"]:
        return f"+{row['idle_queues']} idle"
    if row["queues"] > 1:
        return f"{row['queues']} q"
    return f"{row['guests']} vm" if row["guests"] > 1 else ""


def line(row):
    head = (f"{row['bus']:5}{row['disk']:11}{row['rings']:7}{row['rw']:10}"
            f"{size(row['block_size']):>5}{row['depth']:6}  {variable(row):13}{row['target']:20}")
    if row.get("left_out"):
        return f"{head}  left out: {row['left_out']}"
    if not row["runs"]:
        return f"{head}  failed: {row.get('error')}"
    median, best = row["median"], row["best"]

    def figure(name, scale, width, digits, of=median):
        if name not in of:
            return f"{'-':>{width}}"
        return f"{of[name] * scale:{width},.{digits}f}"

    return (head + figure("iops", 1, 12, 0) + f"{row['spread'].get('iops', 0) * 50:5.0f}"
            + figure("latency_p50_ns", 1e-3, 10, 1) + figure("latency_p99_ns", 1e-3, 10, 1)
            + figure("latency_p999_ns", 1e-3, 10, 1)
            + figure("cpu_ns_per_request", 1, 10, 0) + figure("busy_ns_per_request", 1, 10, 0)
            + figure("busy_ns_per_request", 1, 10, 0, best) + figure("busy_share", 100, 8, 0))


def name(row):
    """A cell in words."""
    if "variant" in row:
        return f"{row['section']}, {row['variant']}, {row['target']}"
    words = [row["bus"], row["disk"], row["rings"], row["rw"], size(row["block_size"]),
             f"depth {row['depth']}", variable(row), row["target"]]
    return f"{row['section']}, " + " ".join(word for word in words if word)


def cache_lines(lines):
    if not lines:
        return "Cache lines between the two cores: could not be measured."
    batches = {batch["lines"]: batch for batch in lines["batches"]}
    return (f"Cache lines between the two cores: {lines['round_trip_ns']:.0f} ns there and back; "
            f"each of a batch of 32: {batches[32]['read_ns']:.1f} ns to hand over, "
            f"{batches[32]['exchange_ns']:.1f} ns there and back.")
