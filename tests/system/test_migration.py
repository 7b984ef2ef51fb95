# SPDX-License-Identifier: BSD-2-Clause
"""A machine moves between two QEMUs while it writes and verifies: between two daemons that have the
same file attached, and back, and once given up half-way. The link is slowed down, so that memory is
sent again and again with what the dirty log tells."""

import time

import pytest

from .checks import ALL
from .guest import fio, fio_result
from .patience import wait_until

MIGRATIONS = 3
SLOW = 48 << 20         # bytes a second: the whole of memory takes a few
FAST = 1 << 30
BLOCK_MIB = 32


def state(guest):
    return guest.qemu.command("query-migrate").get("status", "none")


def set_speed(guest, speed):
    guest.qemu.command("migrate-set-parameters", max_bandwidth=speed, downtime_limit=500)


def begin(source, target, path):
    target.qemu.command("migrate-incoming", uri=f"unix:{path}")
    source.qemu.command("migrate", uri=f"unix:{path}")
    wait_until(lambda: state(source) in ("active", "completed"), 10, "memory is being sent")


def migrate(source, target, path):
    """The machine runs in the target's QEMU afterwards, and talks there."""
    set_speed(source, SLOW)
    begin(source, target, path)
    time.sleep(0.7)
    set_speed(source, FAST)
    wait_until(lambda: state(source) in ("completed", "failed"), 40, "the machine has moved")
    assert state(source) == "completed", source.qemu.command("query-migrate")
    wait_until(lambda: target.qemu.command("query-status")["running"], 10, "it runs there")
    target.number, target.jobs = source.number, source.jobs
    target.received = b""
    source.kill()


def cancel(source, target, path):
    set_speed(source, SLOW)
    begin(source, target, path)
    time.sleep(0.7)
    source.qemu.command("migrate_cancel")
    wait_until(lambda: state(source) == "cancelled", 10, "it is given up")
    target.kill()


@pytest.mark.once
@pytest.mark.parametrize("version, bus", ALL)
def test_machine_moves_between_daemons_and_back_while_it_writes_and_verifies(lab, version, bus):
    image = lab.image()
    disks = [lab.daemon().put_file(bus, "root", image) for _ in range(2)]
    guest = lab.boot(version, disks[0])
    job = guest.start(fio("/fio", size_mib=BLOCK_MIB, time_based=1, runtime=10, iodepth=8,
                          verify_backlog=256))
    incoming = ("-incoming", "defer")
    time.sleep(0.5)

    cancel(guest, lab.start(version, disks[1], extra=incoming), lab.place / "m")
    for number in range(MIGRATIONS):
        target = lab.start(version, disks[(number + 1) % 2], extra=incoming)
        migrate(guest, target, lab.place / f"m{number}")
        guest = target
    job.guest = guest
    assert fio_result(job.wait())["error"] == 0
    guest.run("sync; echo 3 > /proc/sys/vm/drop_caches; cat /fio > /dev/null")
    guest.poweroff()
