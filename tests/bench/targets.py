# SPDX-License-Identifier: BSD-2-Clause
"""The targets that the bench drives: how each is started, given its disks, and stopped.

Only one runs at a time, pinned to its cores, and each start is a fresh process, so that nothing of
one peer is left when the next is measured. One start serves all setups of a group; those that are
not being measured have listening sockets and nothing else. A target says in `describe` what it was
started as.

Sluice and SPDK are set up by the same calls of the same JSON-RPC; that they can be is a promise of
ours which this keeps honest.
"""
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import time

import volumes

NULL_BYTES = 4 << 30
MALLOC_BYTES = 256 << 20
START_SECONDS = 20
BLOCK_SIZES = {"zram": 4096}    # what the device itself has; 512 elsewhere


class TargetError(Exception):
    """A target could not be started or configured; the text says what to do."""


class NotOffered(TargetError):
    """The target does not have what a cell needs: no failure, the cell is left out for it."""


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a target has to serve. `path` is the file or device of disks that need one."""

    bus: str
    disk: str                   # null, malloc, file, zram, or one of volumes.KINDS
    path: str = None
    guests: int = 1             # with a controller and a disk each
    packed: bool = False
    queues: int = 1             # of a guest; only the storage daemon has to be told

    @property
    def label(self):
        return f"{self.bus}{'-packed' if self.packed else ''}-{self.disk}-{self.guests}"


def disk_bytes(setup):
    """Of one that is in memory."""
    kind = volumes.KINDS.get(setup.disk)
    return kind.size if kind else MALLOC_BYTES


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


def pinned(cores, argv):
    """On these cores, and there before other programs where that is permitted."""
    if not cores:
        return argv
    first = ["nice", "-n", "-10"] if os.geteuid() == 0 else []
    return first + ["taskset", "-c", ",".join(map(str, cores))] + argv


def call(path, method, **params):
    """One JSON-RPC request of SPDK's kind: no frame, so the answer is whole when it parses."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method}
    if params:
        request["params"] = params
    answer = b""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
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


class Target:
    """One started process; `rpc` is its JSON-RPC socket."""

    name = None
    buses = ("blk", "scsi")
    rpc = None

    def __init__(self, folder, cores):
        self.folder = folder
        self.cores = cores
        self.process = None
        self.log = os.path.join(folder, f"{self.name}.log")

    def missing(self):
        """Why it cannot be measured here, or None."""
        return None

    def can(self, setup):
        """Whether it serves such a thing at all."""
        return setup.bus in self.buses

    def spawn(self, argv):
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(pinned(self.cores, argv), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)

    def start(self, setups):
        raise NotImplementedError

    def clear_sockets(self):
        """Left by a peer that was killed."""
        for name in os.listdir(self.folder):
            if name.startswith(f"{self.name}-"):
                os.unlink(os.path.join(self.folder, name))

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
        self.clear_sockets()

    def die(self):
        """As by kill -9."""
        self.process.kill()
        self.process.wait()
        self.process = None
        self.clear_sockets()

    def pattern(self, setup):
        """The sockets of a setup for vhost-bench: %u is the guest's number."""
        return os.path.join(self.folder, f"{self.name}-{setup.label}-%u")

    def path(self, setup, guest):
        return self.pattern(setup).replace("%u", str(guest))

    def check_running(self):
        """Asked by a guest that waits for an answer."""
        if self.process is None or self.process.poll() is not None:
            raise TargetError(f"{self.name} has ended: {tail(self.log)}")


class RpcTarget(Target):
    """A daemon that is given its disks by SPDK's JSON-RPC."""

    def __init__(self, folder, cores):
        super().__init__(folder, cores)
        self.stores = volumes.Stores(lambda method, **params: call(self.rpc, method, **params))

    def answers(self):
        try:
            return bool(call(self.rpc, "spdk_get_version"))
        except (OSError, TargetError):
            return False

    def fresh_rpc(self):
        self.rpc = os.path.join(self.folder, f"{self.name}.rpc")
        if os.path.exists(self.rpc):
            os.unlink(self.rpc)

    def configure(self, setups):
        disks = set()
        for setup in setups:
            for guest in range(setup.guests):
                disk = f"{setup.disk}{guest}"
                if disk not in disks:
                    self.create_disk(setup, disk)
                    disks.add(disk)
                self.create_controller(setup, self.controller(setup, guest),
                                       self.device(setup, disk))

    def controller(self, setup, guest):
        return os.path.basename(self.path(setup, guest))

    def device(self, setup, disk):
        """What its block device is called."""
        return self.stores.device(setup, disk) if volumes.is_volume(setup.disk) else disk

    def create_disk(self, setup, name):
        if setup.disk == "null":
            call(self.rpc, "bdev_null_create", name=name, num_blocks=NULL_BYTES // 512,
                 block_size=512)
        elif setup.disk == "malloc":
            call(self.rpc, "bdev_malloc_create", name=name, num_blocks=MALLOC_BYTES // 512,
                 block_size=512)
        elif volumes.is_volume(setup.disk):
            self.stores.create(setup, name)
        else:
            call(self.rpc, "bdev_uring_create", name=name, filename=setup.path,
                 block_size=BLOCK_SIZES.get(setup.disk, 512))

    def snapshot(self, setup, guest, name):
        """Of a guest's volume: everything after it is a first write again."""
        self.stores.snapshot(setup, f"{setup.disk}{guest}", name)

    def renew(self, setup, guest):
        """A guest's volume is another, to which nothing was written."""
        disk = f"{setup.disk}{guest}"
        call(self.rpc, "vhost_delete_controller", ctrlr=self.controller(setup, guest))
        self.stores.delete_volume(setup, disk)
        self.stores.create_volume(setup, disk)
        self.create_controller(setup, self.controller(setup, guest), self.device(setup, disk))

    def stop(self):
        super().stop()
        self.stores.forget()

    def create_controller(self, setup, name, disk):
        if setup.bus == "blk":
            call(self.rpc, "vhost_create_blk_controller", ctrlr=name, dev_name=disk,
                 **self.ring_params(setup))
        else:
            call(self.rpc, "vhost_create_scsi_controller", ctrlr=name)
            call(self.rpc, "vhost_scsi_controller_add_target", ctrlr=name, scsi_target_num=0,
                 bdev_name=disk)

    def ring_params(self, setup):
        """How packed rings are asked for, where they must be."""
        return {"packed_ring": True} if setup.packed else {}


class Sluice(RpcTarget):
    def __init__(self, folder, cores, build, poll="adaptive", name="sluice"):
        self.name = name
        super().__init__(folder, cores)
        self.program = os.path.join(build, "sluice")
        self.poll = poll
        self.describe = f"sluice serve --poll {poll}"

    def missing(self):
        return None if os.access(self.program, os.X_OK) else f"{self.program} is not built"

    def ring_params(self, setup):
        return {}                   # packed rings are there for whoever negotiates them

    def start(self, setups):
        state = os.path.join(self.folder, "state")
        shutil.rmtree(state, ignore_errors=True)
        os.makedirs(state)
        self.fresh_rpc()
        cores = ["-m", hex(sum(1 << core for core in self.cores))] if self.cores else []
        self.spawn([self.program, "serve", "--rpc-socket", self.rpc, "--vhost-dir", self.folder,
                    "--state-dir", state, "--poll", self.poll, *cores])
        wait_for(self.answers, self.process, self.name, self.log)
        self.configure(setups)


class StorageDaemon(Target):
    """QEMU's, as its documentation runs it: an iothread, which polls adaptively; io_uring."""

    name = "qemu-storage-daemon"
    buses = ("blk",)

    def __init__(self, folder, cores):
        super().__init__(folder, cores)
        self.program = shutil.which(self.name) or self.name
        self.describe = "qemu-storage-daemon with an iothread, null-co or file with io_uring"

    def missing(self):
        if shutil.which(self.name):
            return None
        return f"{self.name} is not installed (Debian package qemu-system-common)"

    def can(self, setup):
        return (setup.bus == "blk" and setup.disk in ("null", "file", "zram")
                and not setup.packed)

    def start(self, setups):
        ready = os.path.join(self.folder, "qsd.pid")
        if os.path.exists(ready):
            os.unlink(ready)
        argv = [self.program, "--pidfile", ready, "--object", "iothread,id=worker"]
        for setup in setups:
            for guest in range(setup.guests):
                node = f"{setup.label}-{guest}"
                argv += ["--blockdev", self.blockdev(setup, node), "--export",
                         f"type=vhost-user-blk,id=export-{node},node-name={node},writable=on,"
                         f"iothread=worker,num-queues={setup.queues},addr.type=unix,"
                         f"addr.path={self.path(setup, guest)}"]
        # Its pid file is written when everything on the command line is there.
        self.spawn(argv)
        wait_for(lambda: os.path.exists(ready), self.process, self.name, self.log)

    @staticmethod
    def blockdev(setup, name):
        if setup.disk == "null":
            # Like the others' null: what is read is not touched.
            return f"driver=null-co,read-zeroes=off,size={NULL_BYTES},node-name={name}"
        driver = "host_device" if setup.disk == "zram" else "file"
        return (f"driver={driver},aio=io_uring,cache.direct=on,auto-read-only=off,"
                f"filename={setup.path},node-name={name}")
