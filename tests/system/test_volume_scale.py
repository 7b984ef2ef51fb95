# SPDX-License-Identifier: BSD-2-Clause
"""A volume store of 8 TB: making it, and opening it again after a sudden death, cost what is in
use, not what would fit."""

import re
import time

from .patience import FACTOR

TIB_IN_MIB = 1 << 20
CLUSTER = 1 << 20
VOLUMES = 200


def memory_mib(daemon):
    text = daemon.proc("status").read_text(encoding="utf-8")
    return int(re.search(r"RssAnon:\s+(\d+) kB", text)[1]) >> 10


def attach(daemon, path):
    """Seconds until the volumes of the store on a file are listed, and how many there are."""
    begin = time.monotonic()
    daemon.file("base", path, block_size=4096)
    volumes = daemon.call("bdev_lvol_get_lvols")
    return time.monotonic() - begin, volumes


def fill(daemon):
    """Thin volumes of 1 TiB and thick ones of 128 MiB, each with a snapshot; no data is written."""
    for i in range(VOLUMES):
        size = TIB_IN_MIB if i % 10 == 0 else 128
        daemon.call("bdev_lvol_create", lvs_name="store", lvol_name=f"v{i}", size_in_mib=size,
                    thin_provision=size == TIB_IN_MIB, clear_method="none")
        daemon.call("bdev_lvol_snapshot", lvol_name=f"store/v{i}", snapshot_name=f"s{i}")


def test_a_store_of_8_tb_opens_within_5_s_of_a_sudden_death_in_little_memory(lab):
    path = lab.empty("base", 8 * TIB_IN_MIB)
    daemon = lab.daemon()
    daemon.file("base", path, block_size=4096)
    begin = time.monotonic()
    daemon.call("bdev_lvol_create_lvstore", bdev_name="base", lvs_name="store", cluster_sz=CLUSTER)
    made = time.monotonic() - begin
    fill(daemon)
    used = daemon.call("bdev_lvol_get_lvols")
    daemon.kill()
    # What lies in the file: metadata that was zeroed or discarded takes no space.
    assert path.stat().st_blocks * 512 < 1 << 30, path.stat().st_blocks

    daemon.start()
    empty = memory_mib(daemon)
    took, volumes = attach(daemon, path)
    grown = memory_mib(daemon) - empty
    assert "looking for volumes in" in daemon.log.read_text(encoding="utf-8")
    assert len(volumes) == 2 * VOLUMES
    assert {v["name"]: v.get("num_allocated_clusters") for v in volumes} == \
        {v["name"]: v.get("num_allocated_clusters") for v in used}
    slower = FACTOR
    assert made < 5 * slower, f"{made:.1f} s to make the store"
    assert took < 5 * slower, f"{took:.1f} s to open the store"
    assert grown < 64 * slower, f"{grown} MiB for {2 * VOLUMES} volumes, most of them small"
    daemon.call("bdev_lvol_delete_lvstore", lvs_name="store")
