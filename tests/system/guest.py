# SPDX-License-Identifier: BSD-2-Clause
"""A running guest: commands in its shell, with output and exit status.

The guest's init (tests/guests/init-root) takes orders on the second serial port: a line with a
number and a script in base64. It answers in a form that cannot be taken for anything else, and the
kernel's messages go to another port. A job runs in the background with its output in a file.
"""

import base64
import dataclasses
import json
import re
import socket
import time
import warnings

from .patience import Deadline, TooLate
from .qemu import FIRST_SLOT, Qemu, first_of_each_socket

BOOT_SECONDS = {"kernel": 90, "seabios": 120, "ovmf": 240}
SILENT_SECONDS = 20      # a kernel that is this quiet before its first process is stuck
NUDGE_SECONDS = 8        # of silence while something is waited for
STARTS = 3


class CommandFailed(AssertionError):
    """A command in the guest ended with another status than 0."""


class KernelStuck(Exception):
    """The guest's kernel stopped before it could know of any disk: its drivers are modules that its
    first process loads. About once in a few hundred starts TCG does this to a kernel."""


@dataclasses.dataclass
class Result:
    status: int
    output: str


class Guest:
    def __init__(self, version, place, disks, *, boot="kernel", **options):
        self.disks = disks
        self.boot = boot
        self.number = 0
        self.jobs = 0
        self.start_qemu = lambda: Qemu(version, place, disks, boot=boot, **options)
        self.begin()

    def begin(self):
        self.received = b""
        self.heard = time.monotonic()
        self.qemu = self.start_qemu()
        self.serial = self.connect()

    def connect(self):
        """QEMU makes its sockets before it answers on its monitor."""
        port = socket.socket(socket.AF_UNIX)
        try:
            port.connect(str(self.qemu.serial))
        except OSError:
            port.close()
            self.qemu.kill()
            raise
        return port

    # ---- the shell -------------------------------------------------------------------------------

    def read_line(self, deadline, starting=None):
        while b"\n" not in self.received:
            self.serial.settimeout(min(deadline.remaining(), 1))
            try:
                data = self.serial.recv(1 << 16)
            except TimeoutError:
                for disk in self.disks:
                    disk.daemon.check_running()
                if starting:
                    starting.check()
                self.nudge()
                continue
            if not data:
                raise ConnectionError(f"QEMU has ended:\n{self.qemu.log_text()}")
            self.heard = time.monotonic()
            self.received += data
        line, self.received = self.received.split(b"\n", 1)
        return line.strip().decode(errors="replace")

    def nudge(self):
        """Twice a guest of QEMU 7.2 on a busy host heard nothing any more, not even this serial
        port, while none of its disks owed it anything. Asking for its registers makes QEMU look at
        its processors again, in case one sleeps over an interrupt. No device is touched: a signal
        that we owe stays missing."""
        if time.monotonic() - self.heard < NUDGE_SECONDS:
            return
        self.heard = time.monotonic()
        try:
            self.qemu.command("human-monitor-command", command_line="info registers -a")
        except (OSError, AssertionError):
            pass        # it is ending; whoever waits will see it

    def wait_ready(self):
        """Wait until the guest takes orders: after its start, or again after a reboot."""
        deadline = Deadline(BOOT_SECONDS[self.boot], "the guest's start")
        starting = KernelWatch(self.qemu) if self.boot == "kernel" else None
        # UEFI firmware writes to every serial port, and leaves its last line without an end.
        while not self.read_line(deadline, starting).endswith("guest ready"):
            pass
        return self

    def wait_first_ready(self):
        """wait_ready after QEMU's start. A kernel that got stuck before it looked for disks is no
        matter of ours: it is started again, and the run says so."""
        for _ in range(STARTS - 1):
            try:
                return self.wait_ready()
            except KernelStuck as stuck:
                warnings.warn(f"guest started again: {stuck}", stacklevel=2)
            self.kill()
            self.begin()
        return self.wait_ready()

    def run(self, script, timeout=60, check=True):
        """Run a shell script in the guest. Returns its output; with check=False a Result."""
        result = self.execute(script, timeout)
        if not check:
            return result
        if result.status:
            raise CommandFailed(f"{script}\nended with {result.status}:\n{result.output}")
        return result.output.strip()

    def execute(self, script, timeout):
        self.number += 1
        self.send(script)
        deadline = Deadline(timeout, f"the end of '{script}' in the guest")
        while True:
            words = self.read_line(deadline).split()
            if words[:2] == ["begin", str(self.number)]:
                break
        text = ""
        while (line := self.read_line(deadline)) != f"end {self.number}":
            text += line
        output = base64.b64decode(text)
        assert len(output) == int(words[3]), "output was lost on the serial port"
        return Result(int(words[2]), output.decode(errors="replace"))

    def send(self, script):
        encoded = base64.b64encode(script.encode()).decode()
        self.serial.settimeout(10)
        self.serial.sendall(f"{self.number} {encoded}\n".encode())

    def start(self, script):
        """Start a script in the background."""
        self.jobs += 1
        name = f"/run/job.{self.jobs}"
        encoded = base64.b64encode(script.encode()).decode()
        self.run(f"echo {encoded} | base64 -d > {name}.sh\n"
                 f"(sh {name}.sh > {name}.out 2>&1 < /dev/null; echo $? > {name}.tmp\n"
                 f"mv {name}.tmp {name}.status) &")
        return Job(self, script, name)

    # ---- disks -----------------------------------------------------------------------------------

    def block_device(self, disk):
        """The kernel's name of a disk (vda, sdb), or None while there is none."""
        sockets = [d.socket for d in first_of_each_socket(self.disks)]
        pci = f"/sys/bus/pci/devices/0000:00:{FIRST_SLOT + sockets.index(disk.socket):x}.0/virtio*"
        # LUNs from 256 on are told in the flat form, which Linux takes as a number as it is.
        lun = disk.lun if disk.lun < 256 else 0x4000 | disk.lun
        below = "" if disk.bus == "blk" else f"/host*/target*:0:{disk.target}/*:{lun}"
        names = self.run(f"cd {pci}{below}/block 2>/dev/null && ls || true").split()
        return names[0] if names else None

    def device(self, disk):
        return f"/dev/{self.block_device(disk)}"

    def size(self, disk):
        """A disk's size in bytes as the guest sees it."""
        return 512 * int(self.run(f"cat /sys/block/{self.block_device(disk)}/size"))

    def root_device(self):
        """The device that / is on."""
        return self.run("awk '$2 == \"/\" { print $1, $3 }' /proc/mounts")

    # ---- its end ---------------------------------------------------------------------------------

    def poweroff(self):
        """Shut the guest down; QEMU ends by itself."""
        self.run("sync; mount -o remount,ro / && (sleep 0.2; poweroff -f) > /dev/null 2>&1 &")
        self.qemu.wait_exit(60)
        self.serial.close()

    def reboot(self):
        """Restart the guest through its firmware, and wait until it takes orders again."""
        self.run("sync; mount -o remount,ro / && (sleep 0.2; reboot -f) > /dev/null 2>&1 &")
        self.wait_ready()

    def kill(self):
        self.qemu.kill()
        self.serial.close()


class KernelWatch:
    """Notices a kernel that has stopped on its way to its first process."""

    def __init__(self, qemu):
        self.qemu = qemu
        self.length = 0
        self.quiet = Deadline(SILENT_SECONDS, "a word from the guest's kernel")

    def check(self):
        text = self.qemu.console_text()
        if not text or len(text) != self.length or "Run /init as init process" in text:
            self.__init__(self.qemu)
            self.length = len(text)
        try:
            self.quiet.remaining()
        except TooLate:
            raise KernelStuck(self.describe(text)) from None

    def describe(self, text):
        registers = self.qemu.command("human-monitor-command", command_line="info registers -a")
        where = re.findall(r"[RE]IP=\w+", registers)
        halted = re.findall(r"HLT=\d", registers)
        last = (text.splitlines() or ["nothing"])[-1]
        return f"its kernel stopped after '{last}' at {' '.join(where + halted)}"


class Job:
    """A script that runs in the background of a guest."""

    def __init__(self, guest, script, name):
        self.guest = guest
        self.script = script
        self.name = name

    def running(self):
        return self.guest.run(f"test -e {self.name}.status", check=False).status != 0

    def wait(self, timeout=120):
        """Wait for its end; its output."""
        deadline = Deadline(timeout, f"the end of '{self.script}' in the guest")
        while self.running():
            time.sleep(min(0.3, deadline.remaining()))
        status = int(self.guest.run(f"cat {self.name}.status"))
        output = self.guest.run(f"cat {self.name}.out")
        if status:
            raise CommandFailed(f"{self.script}\nended with {status}:\n{output}")
        return output


def fio(where, size_mib=16, **options):
    """A fio command line: random writes whose checksums are read back and compared at the end.

    Any option can be given; None takes one away.
    """
    words = {"name": "verify", "filename": where, "size": f"{size_mib}M", "rw": "randwrite",
             "bs": "4k", "iodepth": 16, "ioengine": "libaio", "direct": 1, "verify": "crc32c",
             "do_verify": 1, "verify_fatal": 1, "group_reporting": 1, "randseed": 7, **options}
    chosen = (f"--{key}={value}" for key, value in words.items() if value is not None)
    return "fio --output-format=json " + " ".join(chosen)


def fio_result(output):
    """The only job of fio's JSON output, which must have moved data without an error."""
    job = json.loads(output[output.index("{"):])["jobs"][0]
    assert job["error"] == 0, job
    assert job["read"]["total_ios"] + job["write"]["total_ios"] > 0, job
    return job
