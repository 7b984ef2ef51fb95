# SPDX-License-Identifier: BSD-2-Clause
"""The daemon as a process: options, start, signals, exit codes, what it leaves behind."""

import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest

from .executable import binary
from .patience import wait_until
from .process import spawn
from .rpc import Rpc, RpcError


@pytest.fixture
def place():
    """A directory with a name short enough for sockets, which other users can reach."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-", dir="/var/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def serve(place):
    """Starts daemons and ends those that the test has left."""
    started = []

    def start(*arguments, **environment):
        command = [binary(), "serve", "-r", str(place / "rpc"), "-S", str(place), "--state-dir",
                   str(place / "state"), *arguments]
        started.append(spawn(command, place / "log", env={**os.environ, **environment}))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def connect(place):
    def attempt():
        try:
            return Rpc(place / "rpc")
        except OSError:
            return None
    return wait_until(attempt, 10, "the daemon listens", pause=0.005)


def refuses(place):
    try:
        Rpc(place / "rpc").close()
        return False
    except ConnectionRefusedError:
        return True


def run(*arguments, **environment):
    return subprocess.run([binary(), *arguments], capture_output=True, text=True, check=False,
                          timeout=20, env={**os.environ, **environment})


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"])
def test_a_signal_stops_it_with_exit_code_0_and_nothing_left(serve, place, name):
    process = serve("-f", str(place / "pid"))
    rpc = connect(place)
    assert (place / "pid").read_text() == f"{process.pid}\n"
    assert (place / "rpc.lock").stat().st_mode & 0o777 == 0o600
    rpc.call("bdev_null_create", name="n", num_blocks=2048, block_size=512)
    rpc.call("vhost_create_blk_controller", ctrlr="b", dev_name="n")
    process.send_signal(getattr(signal, name))
    process.send_signal(getattr(signal, name))
    assert process.wait(10) == 0
    assert sorted(p.name for p in place.iterdir()) == ["log", "state"]


def test_a_second_signal_ends_a_daemon_whose_stop_does_not_end(place):
    """Nobody reads what it says: sooner or later every thread that logs stands still."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, 1031, 4096)  # F_SETPIPE_SZ
    process = subprocess.Popen(
        [binary(), "serve", "-r", str(place / "rpc"), "-S", str(place), "--state-dir",
         str(place / "state")], stderr=writer, stdin=subprocess.DEVNULL)
    os.close(writer)
    try:
        rpc = connect(place)
        rpc.call("log_set_print_level", level="DEBUG")
        rpc.socket.sendall(40 * json.dumps({
            "jsonrpc": "2.0", "id": 1, "method": "bdev_null_delete",
            "params": {"name": 200 * "x"}}).encode())
        time.sleep(0.3)
        process.terminate()
        time.sleep(0.6)
        assert process.poll() is None, "it has ended though its log is full"
        process.terminate()
        assert process.wait(10) == 1
    finally:
        process.kill()
        process.wait(10)
        os.close(reader)


def test_limits_hold_no_stop_up(serve, place):
    """A copy that would take four minutes waits for its time when the daemon is told to end."""
    process = serve()
    rpc = connect(place)
    for name in "from", "to":
        rpc.call("bdev_malloc_create", name=name, num_blocks=256 << 11, block_size=512)
    rpc.call("bdev_set_qos_limit", name="to", w_mbytes_per_sec=1)
    rpc.socket.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "bdev_copy", "params": {
        "source": "from", "target": "to", "ranges": [[0, 256 << 20]]}}).encode())
    time.sleep(0.3)
    process.terminate()
    assert process.wait(10) == 0


def test_sigusr1_and_a_vanished_reader_do_not_end_it(serve, place):
    process = serve()
    rpc = connect(place)
    process.send_signal(signal.SIGUSR1)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(place / "rpc"))
        client.sendall(b'{"method":"rpc_get_methods","id":1}' * 5000)
    assert rpc.call("spdk_get_version")["fields"]["major"] == 26
    assert process.poll() is None


def test_kill_instance_answers_before_it_ends(serve, place):
    process = serve()
    assert connect(place).call("spdk_kill_instance", sig_name="SIGTERM") is True
    assert process.wait(10) == 0


def test_wait_for_rpc_holds_everything_until_framework_start_init(serve, place):
    serve("--wait-for-rpc")
    rpc, waiting = connect(place), connect(place)
    with pytest.raises(RpcError) as refused:
        rpc.call("bdev_get_bdevs")
    assert refused.value.code == -1
    waiting.socket.sendall(b'{"method":"framework_wait_init","id":1}')
    time.sleep(0.1)
    assert rpc.call("framework_start_init") is True
    assert waiting.socket.recv(100) == b'{"jsonrpc":"2.0","id":1,"result":true}\n'
    assert rpc.call("bdev_get_bdevs") == []


def test_a_daemon_that_waits_for_rpc_can_be_stopped(serve, place):
    process = serve("--wait-for-rpc")
    rpc = connect(place)
    rpc.socket.sendall(b'{"method":"framework_wait_init","id":1}')
    time.sleep(0.1)
    process.terminate()
    assert process.wait(10) == 0


def test_a_second_daemon_on_the_same_socket_is_refused_with_a_sentence(serve, place):
    process = serve()
    rpc = connect(place)
    second = run("serve", "-r", str(place / "rpc"), "-S", str(place), "--state-dir",
                 str(place / "state"))
    assert second.returncode == 1
    assert "in use" in second.stderr and str(process.pid) in second.stderr
    assert rpc.call("bdev_get_bdevs") == []


def test_the_socket_of_a_killed_daemon_is_taken_over(serve, place):
    process = serve()
    connect(place)
    process.kill()
    process.wait()
    # The kernel lets go of what was in a ring a little later than of the process.
    wait_until(lambda: refuses(place), 10, "the dead daemon's socket is closed", pause=0.005)
    assert (place / "rpc").exists()
    serve()
    assert connect(place).call("bdev_get_bdevs") == []


def test_options_that_mean_nothing_here_are_accepted_with_one_notice(serve, place):
    serve("-s", "1024", "--no-huge", "--huge-dir", "/x", "-R", "-g", "-n", "2", "--iova-mode", "va",
          "--base-virtaddr", "0", "-i", "1", "-u", "--pci-blocked", "0000:00:00.0", "-p", "0",
          "--disable-cpumask-locks", "--num-trace-entries", "5", "-d", "--cpumask", "[0]",
          "-e", "bdev")
    assert connect(place).call("bdev_get_bdevs") == []
    notices = [line for line in (place / "log").read_text().splitlines() if "do nothing" in line]
    assert len(notices) == 1 and "--huge-dir" in notices[0]


def test_only_allowed_methods_exist(serve, place):
    serve("--rpcs-allowed", "rpc_get_methods,spdk_get_version")
    rpc = connect(place)
    assert rpc.call("rpc_get_methods") == ["rpc_get_methods", "spdk_get_version"]
    with pytest.raises(RpcError) as refused:
        rpc.call("bdev_get_bdevs")
    assert refused.value.code == -32601


@pytest.mark.parametrize("arguments, text", [
    (["--zz"], "--help"),
    (["--poll", "sometimes"], "--poll is always, adaptive or never"),
    (["-m", "0x0"], "set of CPUs"),
    (["-m", "0x1", "--lcores", "0@0"], "exclude each other"),
    (["--no-rpc-server", "--wait-for-rpc"], "--wait-for-rpc"),
    (["-r", ""], "--rpc-socket"),
    (["extra"], "extra"),
])
def test_wrong_options_are_refused_with_a_sentence_and_exit_code_2(arguments, text):
    done = run("serve", *arguments)
    assert done.returncode == 2
    assert text in done.stderr and not done.stdout


@pytest.mark.parametrize("arguments, text", [
    (["-r", "/" + "x" * 120], "107 characters"),
    (["-r", "/nowhere/rpc"], "/nowhere/rpc"),
    (["-f", "/nowhere/pid"], "/nowhere/pid"),
    (["--state-dir", "/proc/nowhere"], "/proc/nowhere"),
    (["-S", "/etc/passwd"], "cannot hold sockets"),
    (["--rpcs-allowed", "zz"], "zz"),
    (["--cores", "[1000]"], "CPU 1000 is not there"),
    (["--cores", "0x8" + "0" * 200], "hexadecimal mask"),
])
def test_a_start_that_fails_says_why_and_leaves_nothing(place, arguments, text):
    done = run("serve", "-r", str(place / "rpc"), "-S", str(place), "--state-dir",
               str(place / "state"), *arguments)
    assert done.returncode == 1
    assert text in done.stderr
    assert not [p.name for p in place.iterdir() if p.name != "state"]


def test_help_and_version_win_over_everything_else():
    for arguments in (["--help"], ["--zz", "-h"], ["-m", "0", "--help"]):
        done = run("serve", *arguments)
        assert done.returncode == 0 and "usage: sluice serve" in done.stdout
    for arguments in (["serve", "--version"], ["--version"], ["serve", "--zz", "-v"]):
        done = run(*arguments)
        assert done.returncode == 0 and done.stdout.startswith("sluice ")
        assert len(done.stdout.splitlines()) == 1


def test_an_ordinary_user_needs_no_options(place):
    """Places come from the environment; sockets and state are made there."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    user = 65534
    os.chown(place, user, user)
    environment = {"XDG_RUNTIME_DIR": str(place), "XDG_STATE_HOME": str(place / "s"), "HOME": "/"}
    with open(place / "log", "wb") as log:
        process = subprocess.Popen([binary(), "serve"], stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log, user=user, group=user, extra_groups=[],
                                   env={**os.environ, **environment})
    try:
        wait_until((place / "sluice/rpc.sock").exists, 10, "the socket is there")
        done = subprocess.run([binary(), "disk", "attach", "--size", "1M", "--json",
                               str(place / "a.img")], capture_output=True, text=True, check=False,
                              timeout=20, user=user, group=user, extra_groups=[],
                              env={**os.environ, **environment})
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["socket"] == str(place / "sluice/vhost/a.scsi")
        assert (place / "s/sluice").is_dir()
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_sockets_are_open_to_the_group_of_their_directory_and_to_nobody_else(place, serve):
    """How QEMU runs as another user than the daemon."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    friends, directory = 100, place / "sockets"
    directory.mkdir()
    os.chown(directory, 0, friends)
    directory.chmod(0o2750)
    serve("-S", str(directory))
    connect(place).call("vhost_create_scsi_controller", ctrlr="vm")

    def connects(group):
        script = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        return subprocess.run([sys.executable, "-c", script, str(directory / "vm")], check=False,
                              user=65534, group=group, extra_groups=[], cwd="/",
                              stderr=subprocess.DEVNULL).returncode == 0

    assert connects(friends)
    assert not connects(65534)
