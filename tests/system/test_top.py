# SPDX-License-Identifier: BSD-2-Clause
"""`sluice top`: what it says of disks that work and of those that do not."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import threading

import pytest

from .executable import binary
from .patience import wait_until
from .rpc import Rpc, RpcError
from .test_command_line import shell  # noqa: F401 (a fixture)

MIB = 1 << 20


@pytest.fixture
def busy(shell):  # noqa: F811
    """A daemon with one disk that is read, one that is written, and one that does nothing."""
    for name in "from", "to", "idle":
        shell.daemon.call("bdev_malloc_create", name=name, num_blocks=64 << 11, block_size=512)
    shell.daemon.call("bdev_set_qos_limit", name="from", r_mbytes_per_sec=100)
    ends = threading.Event()

    def copy():
        rpc = Rpc(shell.daemon.rpc_socket)
        while not ends.is_set():
            rpc.call("bdev_copy", source="from", target="to", ranges=[[0, 16 * MIB]])
        rpc.close()

    thread = threading.Thread(target=copy)
    thread.start()
    yield shell
    ends.set()
    thread.join()


def test_rates_are_those_of_disks_that_work(busy):
    told = json.loads(busy.good("top", "-n", "1", "--json"))
    disks = {disk["disk"]: disk for disk in told["disks"]}
    assert set(disks) == {"from", "to"}
    assert 30 * MIB < disks["from"]["read_bytes_per_second"] < 140 * MIB
    assert disks["from"]["writes_per_second"] == disks["to"]["reads_per_second"] == 0
    assert disks["to"]["written_bytes_per_second"] > 30 * MIB
    assert disks["from"]["p50_us"] <= disks["from"]["p99_us"] <= disks["from"]["p999_us"]
    assert disks["from"]["p50_us"] > 100, "a limit of 100 MiB/s holds requests up"
    assert {"app_thread", "data0"} <= {thread["name"] for thread in told["threads"]}
    with pytest.raises(RpcError) as none:
        busy.daemon.call("bdev_get_histogram", name="from")
    assert none.value.code == -12, "what top has switched on is off again"


def test_a_reader_that_has_enough_is_no_error_to_tell_of(shell):  # noqa: F811
    with subprocess.Popen([binary(), "top", "-n", "5"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, env=shell.environment) as top:
        assert top.stdout.readline()
        top.stdout.close()
        assert top.wait(20) == 1 and top.stderr.read() == ""
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([binary(), "top"], stdout=full, stderr=subprocess.PIPE, text=True,
                              env=shell.environment, timeout=20, check=False)
    assert done.returncode == 1 and "could not be written" in done.stderr


def test_a_histogram_of_somebody_else_stays(busy):
    busy.daemon.call("bdev_enable_histogram", name="to", enable=True)
    lines = busy.good("top", "-n", "2", "--all").splitlines()
    assert [line.split("\t")[0] for line in lines].count("idle") == 2
    busy.daemon.call("bdev_get_histogram", name="to")


def open_screen(shell, *arguments):  # noqa: F811
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 130, 0, 0))
    process = subprocess.Popen(
        [binary(), "top", *arguments], stdin=follower, stdout=follower, stderr=follower,
        env={**shell.environment, "TERM": "xterm"})
    os.close(follower)
    os.set_blocking(leader, False)
    shown = bytearray()

    def shows(text):
        try:
            shown.extend(os.read(leader, 1 << 16))
        except BlockingIOError:
            pass
        return text in shown.decode(errors="replace")

    return process, leader, shows


def test_a_screen_shows_the_busy_disks_and_on_a_key_all_of_them(busy):
    process, leader, shows = open_screen(busy)
    try:
        wait_until(lambda: shows("READS/S") and shows("3 disks") and shows("disks do nothing"), 10,
                   "the screen shows disks at work")
        assert not shows("idle")
        os.write(leader, b"a")
        wait_until(lambda: shows("idle"), 10, "the screen shows all disks")
        os.write(leader, b"q")
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait(10)
        os.close(leader)


def test_an_interrupted_screen_leaves_nothing_switched_on(busy):
    process, leader, shows = open_screen(busy)
    try:
        wait_until(lambda: shows("READS/S"), 10, "the screen is there")
        wait_until(lambda: is_counted(busy, "to"), 10, "requests are counted")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert not is_counted(busy, "to")
    finally:
        process.kill()
        process.wait(10)
        os.close(leader)


def is_counted(shell, name):  # noqa: F811
    try:
        shell.daemon.call("bdev_get_histogram", name=name)
        return True
    except RpcError:
        return False
