# SPDX-License-Identifier: BSD-2-Clause
"""The targets that the bench drives: how each is started, given a disk, and stopped.

Only one runs at a time, pinned to one core, and each run starts a fresh process, so that nothing
of one peer is left when the next is measured. A target says in `describe` what it was started as.
"""
import json
import os
import shutil
import socket
import subprocess
import time

NULL_BYTES = 4 << 30
START_SECONDS = 10


class TargetError(Exception):
    """A target could not be started or configured; the text says what to do."""


def wait_for(condition, process, what, log):
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise TargetError(f"{what} ended with {process.returncode}: {tail(log)}")
        if condition():
            return
        time.sleep(0.005)
    raise TargetError(f"{what} was not ready in {START_SECONDS} s: {tail(log)}")


def tail(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return " | ".join(file.read().strip().splitlines()[-3:]) or "(it said nothing)"
    except OSError:
        return "(no log)"


def pinned(core, argv):
    return argv if core is None else ["taskset", "-c", str(core)] + argv


class Target:
    """One started process. `socket` is where its disk is served, `rpc` its JSON-RPC socket."""

    rpc = None

    def __init__(self, folder, core):
        self.folder = folder
        self.core = core
        self.process = None
        self.socket = None
        self.log = os.path.join(folder, f"{self.name}.log")

    def spawn(self, argv):
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(pinned(self.core, argv), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


def call(path, method, **params):
    """One JSON-RPC request of SPDK's kind: no frame, so the answer is whole when it parses."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method}
    if params:
        request["params"] = params
    answer = b""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(path)
        sock.sendall(json.dumps(request).encode())
        while True:
            part = sock.recv(65536)
            if not part:
                raise TargetError(f"{method}: the connection was closed")
            answer += part
            try:
                reply = json.loads(answer)
                break
            except ValueError:
                continue
    if "error" in reply:
        raise TargetError(f"{method}: {reply['error'].get('message')}")
    return reply["result"]


class Sluice(Target):
    name = "sluice"
    buses = ("blk", "scsi")

    def __init__(self, folder, core, build, poll):
        super().__init__(folder, core)
        self.program = os.path.join(build, "sluice")
        self.poll = poll
        self.describe = f"sluice serve --poll {poll}"

    def missing(self):
        return None if os.access(self.program, os.X_OK) else f"{self.program} is not built"

    def start(self, bus, device, path):
        state = os.path.join(self.folder, "state")
        shutil.rmtree(state, ignore_errors=True)
        os.makedirs(state)
        self.rpc = os.path.join(self.folder, "rpc.sock")
        if os.path.exists(self.rpc):
            os.unlink(self.rpc)
        mask = 1 << (self.core or 0)
        self.spawn([self.program, "serve", "--rpc-socket", self.rpc, "--vhost-dir", self.folder,
                    "--state-dir", state, "-m", hex(mask), "--poll", self.poll])
        wait_for(self.answers, self.process, self.name, self.log)
        self.configure(bus, device, path)

    def answers(self):
        try:
            return bool(call(self.rpc, "spdk_get_version"))
        except (OSError, TargetError):
            return False

    def configure(self, bus, device, path):
        if device == "null":
            call(self.rpc, "bdev_null_create", name="disk", num_blocks=NULL_BYTES // 512,
                 block_size=512)
        else:
            call(self.rpc, "bdev_aio_create", name="disk", filename=path, block_size=512)
        if bus == "blk":
            call(self.rpc, "vhost_create_blk_controller", ctrlr="bench", dev_name="disk")
        else:
            call(self.rpc, "vhost_create_scsi_controller", ctrlr="bench")
            call(self.rpc, "vhost_scsi_controller_add_target", ctrlr="bench", scsi_target_num=0,
                 bdev_name="disk")
        self.socket = os.path.join(self.folder, "bench")


class StorageDaemon(Target):
    """QEMU's, as its documentation runs it: an iothread, which polls adaptively; io_uring."""

    name = "qemu-storage-daemon"
    buses = ("blk",)

    def __init__(self, folder, core):
        super().__init__(folder, core)
        self.program = shutil.which(self.name) or self.name
        self.describe = "qemu-storage-daemon with an iothread, null-co or file with io_uring"

    def missing(self):
        if shutil.which(self.name):
            return None
        return f"{self.name} is not installed (Debian package qemu-system-common)"

    def start(self, bus, device, path):
        self.socket = os.path.join(self.folder, "qsd.sock")
        ready = os.path.join(self.folder, "qsd.pid")
        for stale in (self.socket, ready):
            if os.path.exists(stale):
                os.unlink(stale)
        if device == "null":
            # Like Sluice's null: what is read is not touched.
            disk = f"driver=null-co,read-zeroes=off,size={NULL_BYTES},node-name=disk"
        else:
            disk = ("driver=file,aio=io_uring,cache.direct=on,auto-read-only=off,"
                    f"filename={path},node-name=disk")
        # Its pid file is written when everything on the command line is there.
        self.spawn([self.program, "--pidfile", ready, "--object", "iothread,id=worker",
                    "--blockdev", disk, "--export",
                    "type=vhost-user-blk,id=bench,node-name=disk,writable=on,iothread=worker,"
                    f"num-queues=1,addr.type=unix,addr.path={self.socket}"])
        wait_for(lambda: os.path.exists(ready) and os.path.exists(self.socket), self.process,
                 self.name, self.log)
