# SPDX-License-Identifier: BSD-2-Clause
"""The machine that the bench runs on: its processors, and the disks that it can make there."""
import dataclasses
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile

import targets

ZRAM_CONTROL = "/sys/class/zram-control"
ZRAM_MIB = 256


@dataclasses.dataclass
class Cores:
    """One core for the target, one for the load; neither is pinned on a machine with one."""

    target: list
    load: list

    @property
    def everything(self):
        """Two for a target: the load sleeps while it drains."""
        return self.target + self.load


def pick_cores():
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("One core only: target and load share it, and the figures say little.")
        return Cores([], [])
    return Cores([cores[0]], [cores[1]])


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        for line in info:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def machine():
    facts = {"cpu": processor(), "cores": os.cpu_count(), "kernel": platform.release(),
             "host": platform.node()}
    key = hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()[:12]
    return {**facts, "key": key, "load_before": os.getloadavg()[0]}


def commit():
    """What was measured, for the history; no more than a name."""
    here = os.path.dirname(os.path.abspath(__file__))
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True,
                          text=True, cwd=here, check=False)
    return done.stdout.strip() or "unknown"


def cache_lines(build, cores):
    """What moving cache lines between the two cores costs."""
    argv = [os.path.join(build, "tests/bench/cache-lines"), str(cores.target[0]),
            str(cores.load[0])]
    done = subprocess.run(targets.pinned(cores.everything, argv), capture_output=True, text=True,
                          check=False, timeout=120)
    return json.loads(done.stdout) if done.returncode == 0 else None


class Disks:
    """What the sections on storage need: a file without holes, the name of one of holes, and a zram
    device where the user may make one. `paths` has those that are there."""

    def __init__(self, options):
        self.options = options
        self.folder = None
        self.zram = None
        self.paths = {}

    def __enter__(self):
        wanted = set(self.options.section)
        on_file = "file" in self.options.disk and wanted & {
            "storage", "large", "thin-writes", "stores"}
        try:
            if on_file:
                self.folder = tempfile.mkdtemp(prefix="bench-",
                                               dir=self.options.folder or self.options.build)
                self.paths["sparse"] = os.path.join(self.folder, "holes.img")
            if on_file and wanted & {"storage", "large"}:
                self.paths["file"] = os.path.join(self.folder, "bench.img")
                fill(self.paths["file"], self.options.image_mib)
            if "storage" in wanted and "zram" in self.options.disk:
                self.make_zram()
        except BaseException:
            self.__exit__()
            raise
        return self

    def make_zram(self):
        try:
            with open(f"{ZRAM_CONTROL}/hot_add", encoding="ascii") as file:
                self.zram = int(file.read())
            with open(f"/sys/block/zram{self.zram}/disksize", "w", encoding="ascii") as file:
                file.write(f"{ZRAM_MIB}M")
        except OSError as error:
            print(f"Left out: zram ({error.strerror}).")
            return
        self.paths["zram"] = f"/dev/zram{self.zram}"
        # Half of each page can be compressed, as with much of what is really stored.
        fill(self.paths["zram"], ZRAM_MIB, os.urandom(2048) + bytes(2048))

    def __exit__(self, *_):
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self.zram is not None:
            with open(f"{ZRAM_CONTROL}/hot_remove", "w", encoding="ascii") as file:
                file.write(str(self.zram))


def fill(path, mib, page=None):
    """So that reads reach the medium and writes allocate nothing."""
    block = page * 256 if page else os.urandom(1 << 20)
    with open(path, "wb") as image:
        for _ in range(mib):
            image.write(block)
        image.flush()
        os.fsync(image.fileno())
