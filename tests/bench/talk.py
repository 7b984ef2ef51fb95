# SPDX-License-Identifier: BSD-2-Clause
"""The experiment of the talk that Sluice goes back to, scaled to the machine: several guests of one
processor, a disk each, 4 KiB random reads by fio with direct I/O, over each way that a guest's disk
can be served. Total IOPS at depth 32, latency of one guest at depth 1, and host CPU per I/O: of all
QEMU processes and the target together, since QEMU's own devices work inside QEMU.

The disks are null, so that only the way to them differs. All guests have a disk of each way, and
one boot serves all of them: a way that is not being measured sleeps. SPDK's target never does, so
that it has a boot of its own. Absolute figures are those of TCG where the machine has no KVM.
"""
import os
import pathlib
import sys
import time

import targets
from targets import Setup

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from guests import images  # noqa: E402  (the path has to be set first)
from system.daemon import Disk  # noqa: E402
from system.guest import Guest, fio, fio_result  # noqa: E402

OWN_BLK, OWN_SCSI, ROOT = 0x18, 0x19, 0x1a      # PCI slots
SLUICE = {"sluice, vhost-user-scsi": "scsi", "sluice, vhost-user-blk": "blk"}
STORAGE_DAEMON = {"qemu-storage-daemon, vhost-user-blk": "blk"}
SPDK = {"spdk, vhost-user-scsi": "scsi", "spdk, vhost-user-blk": "blk"}
OWN = {"QEMU, virtio-scsi with iothread": ("scsi", OWN_SCSI),
       "QEMU, virtio-blk with iothread": ("blk", OWN_BLK)}


def own_disks(root_image):
    """QEMU's own devices, and the guest's root, of which nothing is kept."""
    words = ["-drive", f"if=none,id=root,file={root_image},format=raw,snapshot=on",
             "-device", f"virtio-blk-pci,drive=root,addr={ROOT:#x}"]
    for bus, slot in OWN.values():
        node = f"own-{bus}"
        words += ["-object", f"iothread,id=thread-{bus}", "-blockdev",
                  f"driver=null-co,read-zeroes=off,size={targets.NULL_BYTES},node-name={node}"]
        if bus == "blk":
            words += ["-device", f"virtio-blk-pci,drive={node},iothread=thread-{bus},"
                                 f"addr={slot:#x}"]
        else:
            words += ["-device", f"virtio-scsi-pci,id=own,iothread=thread-{bus},addr={slot:#x}",
                      "-device", f"scsi-hd,drive={node},bus=own.0"]
    return words


class Way:
    """One way to a disk: what it is called, whose process serves it, where guests find it."""

    def __init__(self, name, bus, target=None, slot=None):
        self.name, self.bus, self.target, self.slot = name, bus, target, slot

    def disk(self, setup, guest):
        """For the guest's command line: only of ways outside QEMU."""
        return Disk(self.bus, self.name, pathlib.Path(self.target.path(setup, guest)),
                    daemon=self.target)

    def device(self, guest):
        if self.target:
            found = guest.block_device(next(d for d in guest.disks if d.name == self.name))
        else:
            below = "/host*/target*/*:0" if self.bus == "scsi" else ""
            found = guest.run(
                f"ls /sys/bus/pci/devices/0000:00:{self.slot:x}.0/virtio*{below}/block")
        return f"/dev/{found}"


def run_seconds(pids):
    """Run time of all threads of these processes so far."""
    total = 0
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
            except OSError:
                continue                # it has ended
    return total / 1e9


def load(device, depth, seconds):
    return fio(device, rw="randread", iodepth=depth, size_mib=2048, verify=None, do_verify=None,
               verify_fatal=None, time_based=1, runtime=seconds, norandommap=1,
               lat_percentiles=1, clat_percentiles=0)


def measure_together(way, guests, seconds):
    """All guests at depth 32. The CPU is that of the middle of the run, where all are at work."""
    pids = [guest.qemu.process.pid for guest in guests]
    if way.target:
        pids.append(way.target.process.pid)
    jobs = [guest.start(load(way.device(guest), 32, seconds)) for guest in guests]
    time.sleep(seconds * 0.4)
    began, used = time.monotonic(), run_seconds(pids)
    time.sleep(seconds * 0.4)
    cores = (run_seconds(pids) - used) / (time.monotonic() - began)
    iops = sum(fio_result(job.wait())["read"]["iops"] for job in jobs)
    return {"iops": iops, "cpu_cores": cores, "cpu_ns_per_request": cores * 1e9 / iops}


def measure_alone(way, guest, seconds):
    side = fio_result(guest.run(load(way.device(guest), 1, seconds), timeout=120))["read"]
    return {"latency_p50_ns": side["lat_ns"]["percentile"]["50.000000"],
            "latency_avg_ns": side["lat_ns"]["mean"]}


def boot(place, ways, setups, count):
    root = images.prepare() / "root.img"
    guests = []
    try:
        for number in range(count):
            disks = [way.disk(setups[way], number) for way in ways if way.target]
            guests.append(Guest("7.2", pathlib.Path(place) / f"{time.monotonic_ns()}", disks,
                                extra=own_disks(root)))
        for guest in guests:
            guest.wait_first_ready()
    except BaseException:
        end(guests)
        raise
    return guests


def end(guests):
    for guest in guests:
        guest.kill()


def measure_ways(options, place, ways, count):
    """Boots guests that have a disk of each of these ways, and takes the ways in turn."""
    rows = [{"section": "talk", "variant": way.name, "target": way.target.name if way.target else
             "qemu", "bus": way.bus, "guests": count, "runs": []} for way in ways]
    started, guests = [], []
    seconds = 4 if options.quick else 8
    setups = {way: Setup(way.bus, "null", guests=count) for way in ways if way.target}
    try:
        for target in dict.fromkeys(way.target for way in ways if way.target):
            started.append(target)
            target.start([setups[way] for way in ways if way.target is target])
        guests = boot(place, ways, setups, count)
        for _ in range(1 if options.quick else 2):
            for way, row in zip(ways, rows):
                figures = measure_together(way, guests, seconds)
                figures.update(measure_alone(way, guests[0], seconds / 2))
                row["runs"].append(figures)
    except (targets.TargetError, OSError, RuntimeError, AssertionError) as error:
        for row in rows:
            if not row["runs"]:
                row["error"] = str(error).splitlines()[0]
    finally:
        end(guests)
        for target in started:
            target.stop()
    return rows


def measure_all(options, place, peers):
    """`peers` are not pinned: the guests want all cores, as does what serves them."""
    by_name = {peer.name: peer for peer in peers}
    count = 2 if options.quick else max(3, min(8, os.cpu_count() or 1))
    sleeping, polling = [], []
    for name, ways, group in (("sluice", SLUICE, sleeping),
                              ("qemu-storage-daemon", STORAGE_DAEMON, sleeping),
                              ("spdk", SPDK, polling)):
        if name in by_name:
            group += [Way(title, bus, by_name[name]) for title, bus in ways.items()]
    sleeping += [Way(title, bus, slot=slot) for title, (bus, slot) in OWN.items()]
    rows = measure_ways(options, place, sleeping, count)
    if polling:
        rows += measure_ways(options, place, polling, count)
    return rows


def line(row):
    head = f"{row['variant']:38}"
    if not row["runs"]:
        return f"{head}  failed: {row.get('error')}"
    median = row["median"]
    return (f"{head}{row['guests']} guests{median['iops']:10,.0f} IOPS"
            f"{median['cpu_ns_per_request'] / 1000:9.1f} us CPU each"
            f"{median['latency_p50_ns'] / 1000:9.0f} us at depth 1")
