# SPDX-License-Identifier: BSD-2-Clause
"""Memory is plugged into a running guest and taken out again while its disk works."""

import pytest

from .checks import HALF
from .guest import fio, fio_result
from .patience import wait_until

DIMM = 128 << 20


def memory_kib(guest):
    return int(guest.run("awk '/MemTotal/ { print $2 }' /proc/meminfo"))


def online(guest):
    """Take new memory into use for pages that can move, so that it can be given back."""
    guest.run("for m in /sys/devices/system/memory/memory*; do\n"
              "grep -q offline $m/state && echo online_movable > $m/state; done; true")


def plug(guest):
    qemu = guest.qemu
    qemu.command("object-add", qom_type="memory-backend-memfd", id="dimm-memory", size=DIMM,
                 share=True)
    qemu.command("device_add", driver="pc-dimm", id="dimm", memdev="dimm-memory")


@pytest.mark.parametrize("version, bus", HALF)
def test_memory_that_is_plugged_and_unplugged_under_load_carries_requests(lab, version, bus):
    daemon = lab.daemon()
    guest = lab.boot(version, daemon.put_file(bus, "root", lab.image()))
    before = memory_kib(guest)
    load = guest.start(fio("/fio", size_mib=32))
    plug(guest)

    def has_grown():
        online(guest)
        return memory_kib(guest) >= before + DIMM // 1024

    wait_until(has_grown, 20, "the guest uses the new memory", pause=0.3)
    # Requests of 1 MiB, many at once: their buffers are taken from the movable zone first.
    fio_result(guest.run(fio("/large", size_mib=48, bs="1M", iodepth=48)))
    fio_result(load.wait())

    load = guest.start(fio("/fio", size_mib=32))
    guest.qemu.command("device_del", id="dimm")
    guest.qemu.wait_event("DEVICE_DELETED", 60)
    assert memory_kib(guest) < before + DIMM // 1024
    fio_result(load.wait())
    guest.poweroff()
