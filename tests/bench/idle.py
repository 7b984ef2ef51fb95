# SPDX-License-Identifier: BSD-2-Clause
"""What a target uses when nobody wants anything: CPU and memory without guests, with ten idle ones,
and with a thousand idle queues. Guests are connected and started, as Linux leaves them."""
import os
import subprocess
import time

import measure
import targets
from targets import Setup

# Title, guests, queues of each.
CASES = (("no guest", 0, 0), ("10 guests", 10, 1), ("1,000 queues", 20, 50))
SETTLE_SECONDS = 1.0


def usage(pid):
    """Seconds of run time of all threads, and KiB of its own memory (guests' is shared)."""
    run_ns = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
            run_ns += int(file.read().split()[0])
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        fields = dict(line.split(":", 1) for line in file)
    kib = sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssFile", "HugetlbPages"))
    return run_ns / 1e9, kib


def start_guests(options, core, peer, setup, guests, queues, seconds):
    argv = [os.path.join(options.build, "tests/bench/vhost-bench"), "--socket",
            peer.pattern(setup), "--bus", setup.bus, "--guests", str(guests), "--queues", "0",
            "--idle-queues", str(queues), "--warmup", "0", "--seconds", str(seconds), "--notified"]
    return subprocess.Popen(targets.pinned(core, argv), stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def measure_case(options, cores, peer, case):
    title, guests, queues = case
    seconds = 1.5 if options.quick else 5
    setup = Setup(options.bus[0], "null", guests=max(guests, 1), queues=max(queues, 1))
    row = {"section": "idle", "variant": title, "target": peer.name, "guests": guests,
           "queues": queues, "runs": []}
    load = None
    try:
        peer.start([setup])
        if guests:
            load = start_guests(options, cores.load, peer, setup, guests, queues,
                                seconds + SETTLE_SECONDS + 2)
        time.sleep(SETTLE_SECONDS + (1 if guests else 0))
        if load and load.poll() is not None:
            raise targets.TargetError(load.stderr.read().strip())
        began, (before, _) = time.monotonic(), usage(peer.process.pid)
        time.sleep(seconds)
        after, kib = usage(peer.process.pid)
        row["runs"].append({"cpu_cores": (after - before) / (time.monotonic() - began),
                            "memory_kib": kib})
    except (targets.TargetError, OSError) as error:
        row["error"] = str(error)
    finally:
        if load:
            load.kill()
            load.communicate()
        peer.stop()
    measure.summarise(row)
    return row


def line(row):
    head = f"{row['variant']:14}{row['target']:20}"
    if not row["runs"]:
        return f"{head}  failed: {row.get('error')}"
    median = row["median"]
    return (f"{head}{median['cpu_cores']:9.2%} of a core{median['memory_kib'] / 1024:9.1f} MiB of "
            "its own")


def measure_all(options, cores, peers):
    rows = []
    for case in CASES:
        for peer in peers:
            if peer.name in ("sluice", "spdk", "qemu-storage-daemon"):
                rows.append(measure_case(options, cores, peer, case))
                print(line(rows[-1]), flush=True)
    return rows
