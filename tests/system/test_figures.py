# SPDX-License-Identifier: BSD-2-Clause
"""Figures the project promises, measured. They hold for release builds, not under sanitizers."""

import os
import statistics
import time

from .rpc import Rpc


def start_to_listening(lab):
    """Milliseconds from exec to an answered call, as a client sees it."""
    begin = time.monotonic()
    daemon = lab.daemon()
    took = time.monotonic() - begin
    Rpc(daemon.rpc_socket).close()
    return took * 1000


def test_daemon_answers_within_50_ms_of_its_start(lab):
    took = [start_to_listening(lab) for _ in range(5)]
    assert statistics.median(took) < 50, took


def test_daemon_with_two_idle_guests_uses_under_1_percent_of_a_core_and_30_mib(lab):
    daemon = lab.daemon()
    guests = [lab.start("7.2", daemon.put_file("scsi", "a", lab.image("a"))),
              lab.start("10.0", daemon.put_file("blk", "b", lab.image("b")))]
    for guest in guests:
        guest.wait_first_ready()
        guest.run("sync")
    time.sleep(6)               # ext4 commits its journal within 5 s
    share = daemon.cpu_share(10)
    memory = daemon.memory_kib("RssAnon", "RssFile")
    assert share < 0.01, f"{share:.2%} of a core with {os.cpu_count()} cores"
    assert memory < 30 * 1024, f"{memory} KiB"
    for guest in guests:
        guest.poweroff()
