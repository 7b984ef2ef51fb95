# SPDX-License-Identifier: BSD-2-Clause
"""The volumes that the bench measures, by the name that a setup gives its disk, and how a daemon
that is spoken to by RPC makes them.

They lie on RAM disks of a store's size, of which only what is written takes memory; but "new-1t",
which is on a file of holes: what a first write costs there is for the file system to say as well.
"""
import dataclasses
import os

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
MANY = 64                       # volumes of one store
CLUSTERS = 1_000_000            # of "million"
BLOCK = 4096                    # of the file


@dataclasses.dataclass(frozen=True)
class Volume:
    cluster: int                # bytes, as all of these
    size: int
    store: int
    thin: bool = True
    filled: bool = True         # written before it is measured
    together: bool = False      # all in one store
    on_file: bool = False
    md_percent: int = 100       # metadata pages for 100 clusters

    @property
    def size_mib(self):
        return self.size // MIB


KINDS = {
    # Once everything is allocated a volume should cost nothing.
    "thick": Volume(64 * KIB, 96 * MIB, 208 * MIB, thin=False),
    "thin": Volume(64 * KIB, 96 * MIB, 208 * MIB),
    # Allocated and never written: reads find one page of zeroes, so that what differs between one
    # and many is the volume and not how much memory the data takes.
    "many": Volume(64 * KIB, 16 * MIB, 20 * MIB * MANY, thin=False, filled=False, together=True),
    "million": Volume(16 * KIB, 16 * KIB * CLUSTERS, 17 * GIB, thin=False, filled=False,
                      md_percent=10),
    # No volumes: such RAM disks themselves.
    "bare": Volume(0, 0, 20 * MIB, filled=False),
    "memory": Volume(0, 0, 17 * GIB, filled=False),
    # Written by the first writes that are measured, and nothing else.
    "new": Volume(64 * KIB, 8 * GIB, 64 * GIB, filled=False),
    "new-4m": Volume(4 * MIB, 8 * GIB, 64 * GIB, filled=False),
    "new-1t": Volume(64 * KIB, TIB, 1100 * GIB, filled=False, on_file=True),
    # Filled; each cell has a snapshot made before it, and room for all of it again.
    "snapped": Volume(64 * KIB, 512 * MIB, 2304 * MIB),
    "snapped-4m": Volume(4 * MIB, 512 * MIB, 2304 * MIB),
}


def is_volume(disk):
    return disk in KINDS


def memory_mib(setups):
    """What a target needs that takes the memory of its RAM disks when it makes them."""
    disks = {setup.disk: setup.guests for setup in setups if is_volume(setup.disk)}
    return sum(KINDS[disk].store // MIB * (1 if KINDS[disk].together else guests)
               for disk, guests in disks.items())


class Stores:
    """The stores of one started target. `call` is its RPC."""

    def __init__(self, call):
        self.call = call
        self.made = {}          # store: what takes it away

    @staticmethod
    def store(setup, disk):
        return f"{setup.disk}-store" if KINDS[setup.disk].together else f"{disk}-store"

    def device(self, setup, disk):
        """What a disk's block device is called."""
        return f"{self.store(setup, disk)}/{disk}" if KINDS[setup.disk].cluster else f"{disk}-base"

    def create(self, setup, disk):
        kind, store = KINDS[setup.disk], self.store(setup, disk)
        if store not in self.made:
            self.create_base(setup, f"{disk}-base")
            self.made[store] = setup
            if kind.cluster:
                self.call("bdev_lvol_create_lvstore", bdev_name=f"{disk}-base", lvs_name=store,
                          cluster_sz=kind.cluster,
                          num_md_pages_per_cluster_ratio=kind.md_percent)
        if kind.cluster:
            self.create_volume(setup, disk)

    def create_base(self, setup, name):
        size = KINDS[setup.disk].store
        if KINDS[setup.disk].on_file:
            with open(setup.path, "wb") as file:
                os.truncate(file.fileno(), size)
            self.call("bdev_uring_create", name=name, filename=setup.path, block_size=BLOCK)
        else:
            self.call("bdev_malloc_create", name=name, num_blocks=size // 512, block_size=512)

    def create_volume(self, setup, disk):
        kind = KINDS[setup.disk]
        self.call("bdev_lvol_create", lvs_name=self.store(setup, disk), lvol_name=disk,
                  size_in_mib=kind.size_mib, thin_provision=kind.thin)

    def delete_volume(self, setup, disk):
        self.call("bdev_lvol_delete", name=self.device(setup, disk))

    def snapshot(self, setup, disk, name):
        self.call("bdev_lvol_snapshot", lvol_name=self.device(setup, disk), snapshot_name=name)

    def forget(self):
        """The target has ended."""
        for setup in self.made.values():
            if KINDS[setup.disk].on_file and os.path.exists(setup.path):
                os.unlink(setup.path)
        self.made.clear()
