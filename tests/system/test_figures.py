# SPDX-License-Identifier: BSD-2-Clause
"""Figures the project promises, measured. They hold for release builds, not under sanitizers."""

import os
import statistics
import time

from .guest import fio, fio_result
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


def test_busy_time_is_what_the_data_thread_used(lab):
    """A thread that sleeps between requests: it has nothing idle to do, so its CPU time is busy."""
    def used():
        """Busy seconds and CPU seconds of the data thread."""
        reactor = daemon.call("framework_get_reactors")["reactors"][1]
        stat = daemon.proc(f"task/{reactor['tid']}/schedstat").read_text(encoding="utf-8")
        return reactor["busy"] / 1e9, int(stat.split()[0]) / 1e9

    daemon = lab.daemon("--poll", "never")
    guest = lab.boot("10.0", daemon.put_file("blk", "disk", lab.image()))
    busy, cpu = used()
    fio_result(guest.run(fio("/fio", size_mib=4, iodepth=1), 240))
    busy, cpu = (b - a for a, b in zip((busy, cpu), used()))
    assert cpu > 0.01, cpu
    assert busy > 0.9 * cpu, f"busy {busy:.4f} s, CPU {cpu:.4f} s"
    threads = daemon.call("thread_get_stats")["threads"]
    assert threads[1]["busy"] > 0
    guest.poweroff()
