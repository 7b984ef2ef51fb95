# SPDX-License-Identifier: BSD-2-Clause
"""The virtual machine is stopped and continued while it reads and writes, as snapshots do it."""

import time

import pytest

from .checks import HALF, OTHER_HALF
from .guest import fio, fio_result
from .patience import wait_until


def sessions(daemon):
    return [s for c in daemon.call("vhost_get_controllers") for s in c["sessions"]]


@pytest.mark.parametrize("version, bus", OTHER_HALF)
def test_load_is_verified_across_stop_and_cont_and_nothing_is_in_flight_meanwhile(lab, version,
                                                                                   bus):
    daemon = lab.daemon()
    guest = lab.boot(version, daemon.put_file(bus, "root", lab.image()))
    load = guest.start(fio("/fio", size_mib=32, iodepth=32))
    for _ in range(4):
        time.sleep(0.7)
        guest.qemu.command("stop")
        [session] = sessions(daemon)
        assert not session["started"] and session["inflight_task_cnt"] == 0
        time.sleep(0.3)
        guest.qemu.command("cont")
    wait_until(lambda: sessions(daemon)[0]["started"], 5, "the session runs again")
    job = fio_result(load.wait())
    assert job["read"]["io_bytes"] == job["write"]["io_bytes"] == 32 << 20
    guest.poweroff()


@pytest.mark.parametrize("version, bus", HALF)
def test_guest_comes_back_from_a_system_reset_in_the_middle_of_its_load(lab, version, bus):
    daemon = lab.daemon()
    guest = lab.boot(version, daemon.put_file(bus, "root", lab.image()))
    for _ in range(2):
        guest.start(fio("/load", size_mib=64, time_based=1, runtime=60))
        time.sleep(1.5)
        guest.qemu.command("system_reset")
        guest.wait_ready()
    fio_result(guest.run(fio("/fio", size_mib=8)))
    guest.poweroff()
