# SPDX-License-Identifier: BSD-2-Clause
"""What should not grow with the size of a thing: opening a store after a sudden death, whatever its
capacity, and a snapshot, whatever its volume's size.

The stores are on a file of holes and have the same volumes in them; the daemon that made them is
killed, and another lists them. The snapshots are of thin volumes on a RAM disk: how long the way to
the medium takes is another matter.
"""
import os
import statistics
import time

import measure
import targets
from volumes import GIB, KIB, MIB, TIB

STORE_BYTES = (64 * GIB, 512 * GIB, TIB, 4 * TIB, 8 * TIB)
VOLUME_BYTES = (GIB, 16 * GIB, 128 * GIB, TIB, 8 * TIB)
STORE_CLUSTER = 64 * KIB
SNAPSHOT_CLUSTER = MIB
SNAPSHOT_STORE = 4 * GIB        # that of the RAM disk: nothing is written but metadata
THICK_MIB = 32


def some(options, sizes):
    return (sizes[0], sizes[2], sizes[-1]) if options.quick else sizes


def fill(peer, count):
    """Volumes with clusters, half of which are their snapshots'."""
    for number in range(count):
        targets.call(peer.rpc, "bdev_lvol_create", lvs_name="store", lvol_name=f"v{number}",
                     size_in_mib=THICK_MIB, thin_provision=False, clear_method="none")
        targets.call(peer.rpc, "bdev_lvol_snapshot", lvol_name=f"store/v{number}",
                     snapshot_name=f"s{number}")


def attach(peer, path):
    targets.call(peer.rpc, "bdev_uring_create", name="base", filename=path, block_size=4096)


def measure_load(peer, path, size, count):
    """ns from the call that attaches the file until its volumes are listed."""
    with open(path, "wb") as file:
        os.truncate(file.fileno(), size)
    peer.start([])
    attach(peer, path)
    targets.call(peer.rpc, "bdev_lvol_create_lvstore", bdev_name="base", lvs_name="store",
                 cluster_sz=STORE_CLUSTER)
    fill(peer, count)
    peer.die()
    peer.start([])
    began = time.perf_counter_ns()
    attach(peer, path)
    found = targets.call(peer.rpc, "bdev_lvol_get_lvols")
    took = time.perf_counter_ns() - began
    if len(found) != 2 * count:
        raise targets.TargetError(f"{len(found)} of {2 * count} volumes were found")
    return took


def load_row(options, peer, path, size):
    row = {"section": "store load", "variant": human(size), "bytes": size, "target": peer.name,
           "runs": []}
    try:
        for _ in range(1 if options.quick else options.rounds):
            row["runs"].append({"load_ns": measure_load(peer, path, size,
                                                        10 if options.quick else 50)})
            peer.stop()
    except (targets.TargetError, OSError) as error:
        row["error"] = str(error)
    finally:
        peer.stop()
        if os.path.exists(path):
            os.unlink(path)
    return row


def snapshot_row(peer, size, rounds):
    """One volume, and snapshots of it one after the other. Each run is the median of three."""
    row = {"section": "snapshot", "variant": human(size), "bytes": size, "target": peer.name,
           "runs": []}
    name = f"v{size}"
    try:
        targets.call(peer.rpc, "bdev_lvol_create", lvs_name="store", lvol_name=name,
                     size_in_mib=size // MIB, thin_provision=True)
        for run in range(rounds):
            row["runs"].append({"snapshot_ns": statistics.median(
                time_snapshot(peer, name, f"{name}-{run}-{number}") for number in range(3))})
    except (targets.TargetError, OSError) as error:
        row["error"] = str(error)
    return row


def time_snapshot(peer, volume, name):
    began = time.perf_counter_ns()
    targets.call(peer.rpc, "bdev_lvol_snapshot", lvol_name=f"store/{volume}", snapshot_name=name)
    return time.perf_counter_ns() - began


def snapshot_rows(options, peer):
    try:
        peer.start([])
        targets.call(peer.rpc, "bdev_malloc_create", name="ram", num_blocks=SNAPSHOT_STORE // 4096,
                     block_size=4096)
        targets.call(peer.rpc, "bdev_lvol_create_lvstore", bdev_name="ram", lvs_name="store",
                     cluster_sz=SNAPSHOT_CLUSTER)
        return [snapshot_row(peer, size, max(3, options.rounds))
                for size in some(options, VOLUME_BYTES)]
    finally:
        peer.stop()


def human(size):
    return f"{size // TIB} TiB" if size >= TIB else f"{size // GIB} GiB"


def line(row):
    head = f"{row['section']:12}{row['variant']:>8}  {row['target']:20}"
    if not row["runs"]:
        return f"{head}  failed: {row.get('error')}"
    median = row["median"]
    took = median.get("load_ns", median.get("snapshot_ns"))
    return f"{head}{took / 1e6:10.1f} ms"


def measure_all(options, peers, path):
    rows = []
    for peer in (peer for peer in peers if peer.name == "sluice"):
        if path:
            rows += [load_row(options, peer, path, size) for size in some(options, STORE_BYTES)]
        rows += snapshot_rows(options, peer)
    for row in rows:
        measure.summarise(row)
        print(line(row), flush=True)
    return rows
