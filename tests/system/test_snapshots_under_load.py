# SPDX-License-Identifier: BSD-2-Clause
"""A minute of snapshots, one a second, of two disks of a guest that are being written: each holds
what the guest had been told was written, as of one moment.

In one half of each disk logged-writer keeps a log of what it was told when; in the other fio writes
and verifies. $SLUICE_SOAK makes it ten minutes.
"""
import os
import struct
import time

import pytest

from format.reader import Store

from .checks import MIB
from .executable import build_folder
from .guest import fio, fio_result
from .patience import FACTOR
from .test_volumes import assert_sound, create, pool, snapshot
from .write_log import BLOCK, WriteLog

SECONDS = 600 if os.environ.get("SLUICE_SOAK") else 60
HALF = 4 * MIB                      # of a disk
LOG_MIB = 256                       # of a writer, sparse
FIO_HEADER = struct.Struct("<HHIQQII")
FIO_MAGIC = 0xacca
BUSES = ("blk", "scsi")


def writer():
    return build_folder() / "tests/system/logged-writer"


def start_writers(guest, tool, disks):
    """logged-writer on all disks, and fio's jobs."""
    size = os.path.getsize(writer())
    jobs = []
    guest.run(f"head -c {size} {guest.device(tool)} > /run/writer; chmod +x /run/writer")
    for bus, disk in disks.items():
        device = guest.device(disk)
        jobs.append(guest.start(f"echo $$ > /run/{bus}.pid\n"
                                f"exec /run/writer {device} {HALF // BLOCK} /run/{bus}"))
        # Again and again, since a guest under TCG has its own idea of a minute.
        command = fio(device, size_mib=HALF // MIB, offset=HALF, iodepth=4, verify_backlog=64)
        jobs.append(guest.start(f"until [ -e /run/stop ]; do {command} > /run/{bus}.fio || exit 1;"
                                f" done; cat /run/{bus}.fio"))
    there = " && ".join(f"[ -e /run/{bus}.marks ]" for bus in BUSES)
    guest.run(f"until {there}; do sleep 0.1; done", timeout=20)
    return jobs


def pids():
    return " ".join(f"$(cat /run/{bus}.pid)" for bus in BUSES)


def mark(guest, count):
    """All writers put a mark into their logs, which have so many then."""
    there = " && ".join(f"[ $(stat -c %s /run/{bus}.marks) -ge {count} ]" for bus in BUSES)
    guest.run(f"kill -USR1 {pids()}\nuntil {there}; do :; done")


def take_snapshots(daemon, guest):
    """One a second of each disk; how many."""
    begin = time.monotonic()
    count = 0
    while (passed := time.monotonic() - begin) < SECONDS:
        mark(guest, 2 * count + 1)
        for bus in BUSES:
            snapshot(daemon, bus, f"{bus}-{count}")
        mark(guest, 2 * count + 2)
        count += 1
        time.sleep(max(0.0, passed + 1 - (time.monotonic() - begin)))
    return count


def fio_times(contents):
    """When fio issued what is in each block; 0: nothing is there."""
    times = []
    for at in range(0, len(contents), BLOCK):
        magic, _, length, _, offset, seconds, nanoseconds = FIO_HEADER.unpack_from(contents, at)
        if magic or length:
            assert (magic, length, offset) == (FIO_MAGIC, BLOCK, HALF + at)
        times.append((seconds, nanoseconds))
    return times


def check_snapshots(store, bus, log, count):
    """Against the log; and fio's blocks never go back."""
    moments, times = [], [(0, 0)] * (HALF // BLOCK)
    for number in range(count):
        contents = store.read(store.volume(f"{bus}-{number}"), 0, 2 * HALF)
        moments.append(log.check(contents[:HALF], 2 * number, 2 * number + 1))
        now = fio_times(contents[HALF:])
        assert all(then <= later for then, later in zip(times, now)), f"{bus}-{number}"
        times = now
    assert moments == sorted(moments)
    assert times != [(0, 0)] * len(times)


@pytest.mark.once
def test_each_of_a_minute_of_snapshots_holds_what_had_been_acknowledged(lab):
    daemon = lab.daemon()
    path = pool(lab, daemon, size_mib=SECONDS * len(BUSES) * 2 * HALF // MIB + 512)
    root = daemon.put_file("blk", "root", lab.image())
    tool = lab.empty("tool", 4)
    with open(tool, "r+b") as file:
        file.write(writer().read_bytes())
    logs = lab.empty("logs", len(BUSES) * LOG_MIB)
    disks = {}
    for bus in BUSES:
        create(daemon, bus, 2 * HALF // MIB, thin_provision=True)
        disks[bus] = daemon.put(bus, f"lvs0/{bus}", controller=bus)
    tool, logs_disk = daemon.put_file("blk", "tool", tool), daemon.put_file("blk", "logs", logs)
    guest = lab.boot("10.0", root, tool, logs_disk, *disks.values())

    jobs = start_writers(guest, tool, disks)
    count = take_snapshots(daemon, guest)
    assert count >= SECONDS / (3 * FACTOR), f"{count} snapshots in {SECONDS} s"
    guest.run(f"touch /run/stop; kill {pids()}")
    for job in jobs:
        output = job.wait()
        if output:
            fio_result(output)
    for number, bus in enumerate(BUSES):
        guest.run(f"dd if=/run/{bus} of={guest.device(logs_disk)} bs=1M seek={number * LOG_MIB} "
                  "conv=notrunc,fsync", timeout=120)
    guest.poweroff()
    daemon.stop()

    assert_sound(path)
    with Store(path) as store, open(logs, "rb") as file:
        for number, bus in enumerate(BUSES):
            file.seek(number * LOG_MIB * MIB)
            log = WriteLog(file.read(LOG_MIB * MIB))
            assert len(log.marks) == 2 * count
            assert len(log.issued) > 10 * count
            check_snapshots(store, bus, log, count)
