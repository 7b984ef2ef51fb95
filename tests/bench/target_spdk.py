# SPDX-License-Identifier: BSD-2-Clause
"""SPDK's vhost target as a peer: used when its program is given or found.

It needs huge pages, which this reserves for the time of a run and gives back after it: as many as
are missing, never fewer than there were. It is started without PCI and without files in hugetlbfs,
so that nothing else of the machine is touched.
"""
import os
import shutil

import targets
import volumes

PROGRAMS = ("spdk_vhost", "spdk_tgt")           # as its packages call them
MEMORY_MIB = 1024                               # what its buffer pools and RAM disks need
VOLUMES_MIB = 1024                              # and beside stores' RAM disks
SPARE_MIB = 64                                  # others use the pool as well
HUGE_POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB"
HUGE_MIB = 2


def find(given):
    """The program: given by hand, or by the environment, or installed."""
    if given or os.environ.get("SLUICE_BENCH_SPDK"):
        return given or os.environ["SLUICE_BENCH_SPDK"]
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def read_pool(name):
    with open(os.path.join(HUGE_POOL, name), encoding="ascii") as file:
        return int(file.read())


def write_pool(pages):
    with open(os.path.join(HUGE_POOL, "nr_hugepages"), "w", encoding="ascii") as file:
        file.write(str(pages))


class HugePages:
    """Pages added to the machine's pool, and taken from it again."""

    def __init__(self):
        self.added = 0

    def reserve(self, mib):
        free = read_pool("free_hugepages") - read_pool("resv_hugepages")
        missing = mib // HUGE_MIB - free
        if missing <= 0:
            return
        before = read_pool("nr_hugepages")
        try:
            write_pool(before + missing)
        except PermissionError:
            raise targets.TargetError(
                f"SPDK needs {mib} MiB of huge pages: run as root, or reserve them") from None
        self.added = read_pool("nr_hugepages") - before
        if self.added < missing:
            self.release()
            raise targets.TargetError(f"the machine has no {mib} MiB left for huge pages")

    def release(self):
        if self.added:
            write_pool(max(0, read_pool("nr_hugepages") - self.added))
            self.added = 0


class Spdk(targets.RpcTarget):
    name = "spdk"

    def __init__(self, folder, cores, program):
        super().__init__(folder, cores)
        self.program = program
        self.pages = HugePages()
        self.describe = f"{os.path.basename(program)}, polling, bdev_uring for files"

    def missing(self):
        return None if os.access(self.program, os.X_OK) else f"{self.program} cannot be run"

    def can(self, setup):
        # Its packed rings are an option of blk controllers; scsi controllers have none.
        return not (setup.packed and setup.bus == "scsi")

    def start(self, setups):
        stores = volumes.memory_mib(setups)
        memory = stores + VOLUMES_MIB if stores else MEMORY_MIB
        self.pages.reserve(memory + SPARE_MIB)
        self.fresh_rpc()
        mask = sum(1 << core for core in self.cores or (0,))
        self.spawn([self.program, "-r", self.rpc, "-S", self.folder, "-m", hex(mask),
                    "-s", str(memory), "--no-pci", "--env-context=--in-memory"])
        targets.wait_for(self.answers, self.process, self.name, self.log)
        version = targets.call(self.rpc, "spdk_get_version")["version"]
        self.describe = f"{version}, polling, bdev_uring for files"
        self.configure(setups)

    def stop(self):
        super().stop()
        self.pages.release()
