# SPDX-License-Identifier: BSD-2-Clause
"""Memory is plugged into a running guest and taken out again while its disk works; and a guest's
memory in huge pages.
"""

import pathlib
import re

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


def huge_pages_left():
    """How many of 2 MiB can be had: free ones, and those that the host makes on demand."""
    pool = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
    free, on_demand, made = (int((pool / name).read_text()) for name in
                             ("free_hugepages", "nr_overcommit_hugepages", "surplus_hugepages"))
    return free + on_demand - made


@pytest.mark.once
@pytest.mark.parametrize("version, bus", HALF)
def test_guest_whose_memory_is_huge_pages(lab, version, bus):
    if huge_pages_left() < 128:
        pytest.skip("the host has no 128 huge pages of 2 MiB to spare")
    daemon = lab.daemon()
    guest = lab.boot(version, daemon.put_file(bus, "root", lab.image()), huge=True)
    fio_result(guest.run(fio("/fio", size_mib=32, bs="64k")))
    guest.reboot()
    fio_result(guest.run(fio("/fio", size_mib=16)))
    mapped = pathlib.Path(f"/proc/{daemon.process.pid}/smaps").read_text(encoding="ascii")
    assert re.search(r"KernelPageSize: +2048 kB", mapped), "the daemon sees no huge page"
    guest.poweroff()
