# SPDX-License-Identifier: BSD-2-Clause
"""What is measured: the cells of the matrix, in groups that are started together.

A cell is one figure's worth of work: a setup of the target and the options of the load. A group is
what one start of a target serves. Both say nothing about targets; a group may name the few that it
is about. The cells of a section differ in what its plot has on its axes.
"""
import dataclasses

from targets import Setup
from volumes import CLUSTERS, KINDS, MANY

DEPTHS = (1, 32, 128)
EVERYONE = ("sluice", "spdk", "qemu-storage-daemon")
KIB = 1024
IDLE_PER_GUEST = 50          # every target offers as many queues


@dataclasses.dataclass(frozen=True)
class Cell:
    section: str
    setup: Setup
    rw: str = "randread"
    block_size: int = 4 * KIB
    depth: int = 32
    guests: int = 1
    queues: int = 1
    idle_queues: int = 0        # of further guests
    interarrival_us: float = 0
    clusters: int = 0           # of the disk that are used, where that is what varies
    recorded: bool = True       # what is in flight
    load: tuple = ()            # further options of vhost-bench
    first_writes: bool = False  # the volume is new, or has a snapshot made right before

    @property
    def coordinates(self):
        """What tells it from the others, in the result and in the history."""
        return {"section": self.section, "bus": self.setup.bus, "disk": self.setup.disk,
                "rings": "packed" if self.setup.packed else "split", "rw": self.rw,
                "block_size": self.block_size, "depth": self.depth, "guests": self.guests,
                "queues": self.queues, "idle_queues": self.idle_queues,
                "interarrival_us": self.interarrival_us, "clusters": self.clusters,
                "recorded": self.recorded}

    def arguments(self):
        argv = ["--bus", self.setup.bus, "--rw", self.rw, "--block-size", str(self.block_size),
                "--depth", str(self.depth), "--guests", str(self.guests),
                "--queues", str(self.queues)]
        if self.setup.packed:
            argv.append("--packed")
        if self.interarrival_us:
            argv += ["--interarrival-us", str(self.interarrival_us)]
        if not self.recorded:
            argv.append("--no-inflight")
        return argv + list(self.load)


@dataclasses.dataclass
class Group:
    title: str
    cells: list
    peers: tuple = EVERYONE
    rounds: int = None          # None: as the bench was told
    seconds: float = None

    @property
    def setups(self):
        return list(dict.fromkeys(cell.setup for cell in self.cells))


def requests(options):
    """4 KiB requests on memory and nothing: what a request costs."""
    cells = []
    for disk in ("null", "malloc"):
        for bus in options.bus:
            for packed in (False, True):
                setup = Setup(bus, disk, packed=packed)
                modes = ("randread",) if packed or options.quick else ("randread", "randwrite")
                depths = (32,) if packed and options.quick else options.depth
                cells += [Cell("requests", setup, rw, depth=depth)
                          for rw in modes for depth in depths]
    return Group("4 KiB requests: null and memory", cells)


def recording(options):
    """What recording requests in flight costs, with it and without by turns: short and many."""
    times = 2 if options.quick else 4
    buses = options.bus[:1] if options.quick else options.bus
    kinds = (False,) if options.quick else (False, True)
    depths = (32,) if options.quick else (32, 128)
    cells = [Cell("recording", Setup(bus, "null", packed=packed), depth=depth, recorded=recorded)
             for bus in buses for packed in kinds for depth in depths
             for recorded in (True, False)]
    return Group("in-flight recording", cells, ("sluice",), rounds=times * options.rounds,
                 seconds=options.seconds / times)


def storage(options, paths):
    """4 KiB requests on what the kernel serves."""
    cells = []
    depths = (32,) if options.quick else options.depth
    buses = options.bus[:1] if options.quick else options.bus
    for disk, path in paths.items():
        if disk == "sparse":
            continue
        for bus in buses:
            setup = Setup(bus, disk, path)
            # Reads first: zram stores what the load writes in less space than what it was given.
            cells += [Cell("storage", setup, rw, depth=depth)
                      for rw in ("randread", "randwrite") for depth in depths]
    return Group("4 KiB requests: storage of the kernel", cells, EVERYONE + ("fio",))


def large(options, paths):
    """Sequential: the memory's or the device's speed."""
    cells = []
    disks = {"malloc": None, **{d: p for d, p in paths.items() if d == "file"}}
    for disk, path in disks.items():
        for bus in options.bus[:1] if options.quick else options.bus:
            setup = Setup(bus, disk, path)
            cells += [Cell("large", setup, rw, size * KIB, depth)
                      for size, depth in ((128, 16), (1024, 4)) for rw in ("read", "write")]
    return Group("large sequential requests", cells, EVERYONE + ("fio",))


def guests(options):
    """One data thread, more and more guests; the depth of each keeps all of them hot."""
    counts = (1, 16, 64) if options.quick else (1, 2, 4, 8, 16, 32, 48, 64, 128, 256)
    cells = []
    for bus in options.bus[:1] if options.quick else options.bus:
        setup = Setup(bus, "null", guests=max(counts))
        cells += [Cell("guests", setup, depth=8, guests=count) for count in counts]
    return Group("guests on one data thread", cells, ("sluice", "spdk"))


def queues(options):
    counts = (1, 16) if options.quick else (1, 2, 4, 8, 16, 32, 64)
    setup = Setup(options.bus[0], "null", queues=max(counts))
    cells = [Cell("queues", setup, depth=8, queues=count) for count in counts]
    return Group("queues of one guest", cells)


def idle_queues(options):
    """A busy queue beside idle ones: of the same guest and of others."""
    setup = Setup(options.bus[0], "null", guests=1 + 1000 // IDLE_PER_GUEST)
    counts = (0, 1000) if options.quick else (0, 10, 100, 500, 1000)
    cells = [Cell("idle queues", setup, depth=32, idle_queues=count, load=beside(count))
             for count in counts]
    return Group("idle queues beside a busy one", cells, ("sluice",))


def beside(count):
    """Roles: the busy queue, and idle ones on as few guests as hold them."""
    if not count:
        return ()
    per_guest = min(count, IDLE_PER_GUEST)
    return ("--role", "busy", "--guests", "1", "--role", "idle", "--guests",
            str(count // per_guest), "--queues", "0", "--idle-queues", str(per_guest))


def window(options):
    """The adaptive window: regular arrivals at one queue, against polling without end."""
    distances = (2, 5, 50, 500, 5000, 50000) if options.quick else (
        2, 3, 5, 10, 20, 30, 50, 60, 80, 100, 150, 200, 300, 500, 1000, 2000, 5000, 10000, 20000,
        50000)
    setup = Setup(options.bus[0], "null")
    cells = [Cell("window", setup, depth=8, interarrival_us=us) for us in distances]
    return Group("arrivals by the clock", cells, ("sluice", "sluice-always"), rounds=1,
                 seconds=0.5 if options.quick else 1.0)


def fairness(options):
    """A depth-1 reader alone, and beside a neighbour that writes 1 MiB at full depth."""
    setup = Setup(options.bus[0], "malloc", guests=2)
    alone = Cell("fairness", setup, depth=1)
    beside_writer = Cell("fairness", setup, depth=1, guests=2, load=(
        "--role", "reader", "--guests", "1", "--role", "writer", "--guests", "1", "--rw", "write",
        "--block-size", str(1024 * KIB), "--depth", "16"))
    return Group("a neighbour's 1 MiB writes", [alone, beside_writer], ("sluice", "spdk"))


def drain(options):
    """Two full rings of one disk, emptied by one data thread and by two."""
    setup = Setup(options.bus[0], "null", queues=2)
    cells = [Cell("drain", setup, depth=4096, queues=2, load=("--drain",))]
    return Group("draining two full rings", cells, ("sluice", "sluice-2"))


def volumes(options):
    """Volumes on RAM disks, all of them allocated, beside the bare RAM disk."""
    depths = (32,) if options.quick else options.depth
    cells = [Cell("volumes", Setup("blk", disk), rw, depth=depth,
                  load=("--range", str(KINDS["thin"].size)))
             for rw in ("randread", "randwrite") for depth in depths
             for disk in ("malloc", "thick", "thin")]
    return Group("4 KiB requests: volumes and what is below them", cells, ("sluice", "spdk"))


def half(options):
    """Seconds for cells of which there are many."""
    return min(0.5, options.seconds)


def volume_count(options):
    """More and more volumes of one store on one data thread, and as many RAM disks."""
    counts = (1, MANY) if options.quick else (1, 2, 4, 8, 16, 32, MANY)
    cells = [Cell("volume count", Setup("blk", disk, guests=max(counts)), depth=8, guests=count,
                  load=("--range", str(KINDS["many"].size)))
             for count in counts for disk in ("bare", "many")]
    return Group("volumes on one data thread", cells, ("sluice",), seconds=half(options))


def clusters(options):
    """More and more clusters of one volume, and as much of the RAM disk below it."""
    counts = (1, CLUSTERS) if options.quick else (1, 10, 100, 1000, 10_000, 100_000, CLUSTERS)
    cells = [Cell("clusters", Setup("blk", disk), clusters=count,
                  load=("--range", str(count * KINDS["million"].cluster)))
             for count in counts for disk in ("memory", "million")]
    return Group("clusters of a volume", cells, ("sluice",), seconds=half(options))


def rounds(options):
    """Of what takes longer to prepare than to measure; None: as the bench was told."""
    return 1 if options.quick else None


def thin_writes(options, paths):
    """All that is written goes to a cluster that nobody has. It takes up to 64 times the space of
    the write, or 1,024 times, so the time is short and nothing comes before it."""
    setups = [Setup("blk", "new"), Setup("blk", "new-4m")]
    if "sparse" in paths:
        setups.append(Setup("blk", "new-1t", paths["sparse"]))
    depths = (32,) if options.quick else options.depth
    cells = [Cell("first writes, thin", setup, "randwrite", depth=depth, first_writes=True)
             for setup in setups for depth in depths]
    return Group("first writes to a thin volume", cells, ("sluice",), rounds=rounds(options),
                 seconds=0.25)


def snapshot_writes(options):
    """Each write copies its cluster, and there are only 8,192 or 128 of them."""
    depths = (32,) if options.quick else options.depth
    cells = [Cell("first writes, snapshot", Setup("blk", disk), "randwrite", depth=depth,
                  first_writes=True) for disk in ("snapped", "snapped-4m") for depth in depths]
    return Group("first writes after a snapshot", cells, ("sluice", "spdk"),
                 rounds=rounds(options), seconds=0.25)
