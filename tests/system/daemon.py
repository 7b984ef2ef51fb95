# SPDX-License-Identifier: BSD-2-Clause
"""The daemon under test: started in a directory of its own, stopped, and searched for leftovers.

It runs in a session (in the sense of setsid) of its own, so that whatever it has started can be
found by that number afterwards.
"""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time

from .executable import binary
from .patience import FACTOR, TooLate, wait_until
from .process import spawn
from .rpc import Rpc

CONFINE = pathlib.Path(__file__).resolve().parent / "confine.py"


@dataclasses.dataclass
class Disk:
    """A disk as a guest will see it: a target and LUN (0 for blk) behind the socket of a
    controller."""
    bus: str
    name: str
    socket: pathlib.Path
    target: int = 0
    daemon: "Daemon" = dataclasses.field(default=None, repr=False)
    lun: int = 0


def session_members(session):
    """Process ids of a session that are alive (a zombie is not)."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(entry.name))
    return found


class Daemon:
    """io_uring: "allowed", "off" (the daemon is told not to), "forbidden" (the kernel refuses).
    $SLUICE_TEST_IO_URING is what daemons get that a test says nothing about.
    state: what is configured is there again after a restart; else each begins with nothing."""

    def __init__(self, place, *arguments, io_uring=None, state=False):
        self.place = pathlib.Path(place)
        self.place.mkdir(parents=True)
        self.rpc_socket = self.place / "rpc.sock"
        self.vhost_dir = self.place / "vhost"
        self.vhost_dir.mkdir()
        self.state_dir = self.place / "state"
        self.state_dir.mkdir()
        self.log = self.place / "daemon.log"
        self.io_uring = io_uring or os.environ.get("SLUICE_TEST_IO_URING", "allowed")
        self.arguments = arguments if state else ("--no-state", *arguments)
        self.process = None
        self.rpc = None
        self.stopped = False
        self.start()

    # ---- life ------------------------------------------------------------------------------------

    def command(self):
        launcher = [sys.executable, str(CONFINE)] if self.io_uring == "forbidden" else []
        return [*launcher, binary(), "serve", "--rpc-socket", str(self.rpc_socket),
                "--vhost-dir", str(self.vhost_dir), "--state-dir", str(self.state_dir),
                *self.arguments]

    def start(self):
        env = dict(os.environ)
        if self.io_uring == "off":
            env["SLUICE_IO_URING"] = "0"
        self.process = spawn(self.command(), self.log, env=env, start_new_session=True)
        try:
            self.rpc = wait_until(self.connect, 20, "the daemon listens", pause=0.01)
            self.fds_at_start = self.fds()
        except BaseException:
            self.kill()
            raise

    def connect(self):
        assert self.process.poll() is None, f"the daemon ended at start:\n{self.log_tail()}"
        try:
            rpc = Rpc(self.rpc_socket)
            # The socket of one that was killed takes connections until the kernel has ended all
            # of its I/O.
            rpc.call("rpc_get_methods")
            return rpc
        except OSError:
            return None

    def running(self):
        return self.process.poll() is None

    def check_running(self):
        assert self.running(), f"the daemon has ended ({self.process.poll()}):\n{self.log_tail()}"

    def kill(self):
        """End it whatever its state; for failed tests and for tests of sudden death."""
        if self.rpc:
            self.rpc.close()
        if self.running():
            self.process.kill()
        self.process.wait(10)

    def stop(self):
        """Take everything down in order and check that nothing is left: the end of each test."""
        self.check_running()
        self.clear()
        self.check_fds()
        self.rpc.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(20 * FACTOR)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"SIGTERM does not end the daemon:\n{self.log_tail()}") from None
        assert code == 0, f"the daemon ended with {code}:\n{self.log_tail()}"
        assert not session_members(self.process.pid), "the daemon left a process behind"
        left = [p.name for p in (*self.vhost_dir.iterdir(), *self.place.glob("rpc.sock*"))]
        assert not left, f"the daemon left files behind: {left}"
        self.stopped = True

    def check_fds(self):
        """As many open files as at the start. A connection just closed may take a moment."""
        try:
            wait_until(lambda: self.fds() <= self.fds_at_start, 5, "closing")
        except TooLate:
            raise AssertionError(f"the daemon left fds open: it had {self.fds_at_start}, "
                                 f"now {self.fd_names()}") from None

    def clear(self):
        """Delete every controller and block device; volumes go with what their stores are on."""
        for controller in self.call("vhost_get_controllers"):
            self.call("vhost_delete_controller", ctrlr=controller["ctrlr"])
        for bdev in self.call("bdev_get_bdevs"):
            # Volumes and filters go with the device below them.
            if bdev["product_name"] in ("Logical Volume", "crypto"):
                continue
            kind = {"Malloc disk": "malloc", "Null disk": "null", "AIO disk": "aio",
                    "URING bdev": "uring"}[bdev["product_name"]]
            self.call(f"bdev_{kind}_delete", name=bdev["name"])

    # ---- what it is asked for --------------------------------------------------------------------

    def call(self, method, **params):
        return self.rpc.call(method, **params)

    def file(self, name, path, **params):
        """A block device over a file."""
        self.call("bdev_aio_create", name=name, filename=str(path), **params)
        return name

    def put(self, bus, bdev, controller=None, target=0, readonly=None, lun=None, **more):
        """Put a block device on a controller, which is created unless it is there."""
        controller = controller or bdev
        socket = self.vhost_dir / controller
        if bus == "blk":
            more = {} if readonly is None else {"readonly": readonly}
            self.call("vhost_create_blk_controller", ctrlr=controller, dev_name=bdev, **more)
        else:
            if controller not in (c["ctrlr"] for c in self.call("vhost_get_controllers")):
                self.call("vhost_create_scsi_controller", ctrlr=controller)
            if lun is not None:
                more["lun"] = lun
            self.call("vhost_scsi_controller_add_target", ctrlr=controller,
                      scsi_target_num=target, bdev_name=bdev, **more)
        return Disk(bus, bdev, socket, target, self, lun or 0)

    def put_file(self, bus, name, path, controller=None, target=0, lun=None, **params):
        """A file as a disk, in one go."""
        return self.put(bus, self.file(name, path, **params), controller, target, lun=lun)

    # ---- what it uses ----------------------------------------------------------------------------

    def proc(self, name):
        return pathlib.Path(f"/proc/{self.process.pid}") / name

    def fds(self):
        return len(list(self.proc("fd").iterdir()))

    def fd_names(self):
        return sorted(os.readlink(p) for p in self.proc("fd").iterdir())

    def cpu_seconds(self):
        fields = self.proc("stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def cpu_share(self, seconds):
        """Share of one core it uses over the next seconds."""
        begin, used = time.monotonic(), self.cpu_seconds()
        time.sleep(seconds)
        return (self.cpu_seconds() - used) / (time.monotonic() - begin)

    def memory_kib(self, *fields):
        """Sum of fields of /proc/PID/status, such as RssAnon: memory that is not the guests'."""
        lines = self.proc("status").read_text(encoding="utf-8").splitlines()
        values = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith("kB")}
        return sum(int(values[name]) for name in fields)

    def log_tail(self, lines=60):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
