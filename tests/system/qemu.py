# SPDX-License-Identifier: BSD-2-Clause
"""A QEMU process: its command line, its monitor (QMP) and its end.

KVM is used only where the processor says that it can virtualise: inside some virtual machines
/dev/kvm opens and a guest on it then hangs. Everywhere else TCG runs the guests.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess

from guests import images, qemu10

from .patience import FACTOR, Deadline, wait_until
from .process import spawn

OVMF = pathlib.Path("/usr/share/OVMF")
FIRST_SLOT = 0x10
RECONNECT = {"7.2": ",reconnect=1", "10.0": ",reconnect-ms=200"}
MEMORY_MIB = {"kernel": 256, "seabios": 256, "ovmf": 512}   # GRUB under OVMF needs the room


def program(version):
    """The QEMU of a version: 7.2 is Debian 12's own, 10.0 the one unpacked beside it."""
    if version == "10.0":
        return str(qemu10.prepare() / "qemu-system-x86_64")
    path = shutil.which("qemu-system-x86_64")
    assert path, "qemu-system-x86_64 is not installed"
    return path


def has_kvm():
    flags = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return bool(re.search(r"\b(svm|vmx)\b", flags)) and os.access("/dev/kvm", os.R_OK | os.W_OK)


def accelerator():
    return "kvm" if has_kvm() else "tcg,thread=multi"


def processors(cpus):
    """With a single possible processor TCG drops the guest's memory barriers (the explicit ones
    before QEMU 8, those of locked instructions to this day), so that a driver and a device in
    another process miss each other's notifications. With room for a second it keeps them."""
    return f"{cpus},maxcpus={max(cpus, 2)}"


def machine_arguments(cpus, memory_mib, huge):
    huge_pages = ",hugetlb=on,hugetlbsize=2M" if huge else ""
    return ["-nodefaults", "-no-user-config", "-display", "none",
            "-machine", "q35,memory-backend=mem", "-accel", accelerator(), "-cpu", "max,la57=off",
            "-smp", processors(cpus), "-m", f"{memory_mib}M,slots=4,maxmem=4G",
            "-object", f"memory-backend-memfd,id=mem,size={memory_mib}M,share=on"
            f"{huge_pages}"]


def firmware_arguments(boot, place, append):
    """How the guest starts: its kernel given to QEMU, or found on the disk by the firmware."""
    parts = images.prepare()
    if boot == "kernel":
        return ["-kernel", str(parts / "vmlinux"), "-initrd", str(parts / "initrd"),
                "-append", f"{images.CMDLINE} root=LABEL=sluice-root {append}"]
    if boot == "ovmf":
        variables = place / "ovmf-variables.fd"
        shutil.copyfile(OVMF / "OVMF_VARS_4M.fd", variables)
        return ["-drive", f"if=pflash,format=raw,readonly=on,file={OVMF / 'OVMF_CODE_4M.fd'}",
                "-drive", f"if=pflash,format=raw,file={variables}"]
    assert boot == "seabios", boot
    return []


def disk_arguments(disks, queues, reconnect, bootindex):
    """One PCI device per socket, in the order given, at fixed slots. See Guest.block_device.
    reconnect: what is added to their character devices, or nothing.

    With a boot index firmware starts from the first; of a SCSI controller that is LUN 0 of target
    0, whatever else it has. Without one firmware has its own order.
    """
    words = []
    for index, disk in enumerate(first_of_each_socket(disks)):
        char = f"char{index}"
        words += ["-chardev", f"socket,id={char},path={disk.socket}{reconnect}"]
        count = f"num-queues={queues}" if disk.bus == "blk" else f"num_queues={queues}"
        boot = ",bootindex=1" if index == 0 and bootindex else ""
        words += ["-device", f"vhost-user-{disk.bus}-pci,id=disk{index},chardev={char},{count},"
                             f"addr={FIRST_SLOT + index:#x}{boot}"]
    return words


def first_of_each_socket(disks):
    return list({disk.socket: disk for disk in reversed(disks)}.values())[::-1]


class Qemu:
    """A started QEMU. The harness sees to it that none outlives its test."""

    def __init__(self, version, place, disks, *, boot="kernel", cpus=1, memory_mib=None,
                 append="", huge=False, reconnect=False, bootindex=True, extra=()):
        self.place = pathlib.Path(place)
        self.place.mkdir(parents=True, exist_ok=True)
        self.console = self.place / "console.log"
        self.log = self.place / "qemu.log"
        self.serial = self.place / "serial"
        self.disks = disks
        self.events = []
        self.received = b""
        self.commands = 0
        memory_mib = memory_mib or MEMORY_MIB[boot]
        arguments = [program(version), *machine_arguments(cpus, memory_mib, huge),
                     *firmware_arguments(boot, self.place, append),
                     *disk_arguments(disks, cpus, RECONNECT[version] if reconnect else "",
                                     bootindex),
                     "-serial", f"file:{self.console}",
                     "-serial", f"unix:{self.serial},server=on,wait=off",
                     "-qmp", f"unix:{self.place / 'qmp'},server=on,wait=off", *extra]
        self.process = spawn(arguments, self.log)
        self.socket = None
        try:
            self.socket = wait_until(self.connect, 30, "QEMU's monitor answers")
            self.read_message(Deadline(10, "QEMU's greeting"))
            self.negotiate()
        except BaseException:
            self.kill()
            raise

    def connect(self):
        assert self.process.poll() is None, f"QEMU ended at start:\n{self.log_text()}"
        monitor = socket.socket(socket.AF_UNIX)
        try:
            monitor.connect(str(self.place / "qmp"))
            return monitor
        except OSError:
            monitor.close()
            return None

    # ---- the monitor -----------------------------------------------------------------------------

    def read_message(self, deadline):
        while b"\n" not in self.received:
            self.socket.settimeout(deadline.remaining())
            try:
                data = self.socket.recv(1 << 16)
            except TimeoutError:
                continue
            if not data:
                raise ConnectionError(f"QEMU closed its monitor:\n{self.log_text()}")
            self.received += data
        line, self.received = self.received.split(b"\n", 1)
        return json.loads(line)

    def send(self, name, arguments):
        """Send a command; the number under which it is answered."""
        self.commands += 1
        self.socket.sendall(json.dumps({"execute": name, "arguments": arguments,
                                        "id": self.commands}).encode())
        return self.commands

    def negotiate(self):
        """Leave the monitor's first state. A client that connects while QEMU is still setting its
        monitor up may be greeted twice, and the second greeting begins the negotiation anew."""
        self.send("qmp_capabilities", {})
        deadline = Deadline(10, "the end of QEMU's negotiation")
        while "return" not in (message := self.read_message(deadline)):
            if "QMP" in message:
                self.send("qmp_capabilities", {})

    def command(self, name, timeout=30, **arguments):
        """Run a monitor command; its result. Events that arrive meanwhile are kept."""
        number = self.send(name, {key.replace("_", "-"): value
                                  for key, value in arguments.items()})
        deadline = Deadline(timeout, f"QEMU's answer to {name}")
        while True:
            message = self.read_message(deadline)
            if "event" in message:
                self.events.append(message)
            elif message.get("id") == number:
                assert "error" not in message, f"{name}: {message['error']}"
                return message["return"]

    def wait_event(self, name, timeout):
        deadline = Deadline(timeout, f"QEMU's event {name}")
        while True:
            for index, event in enumerate(self.events):
                if event["event"] == name:
                    return self.events.pop(index)
            self.events.append(self.read_message(deadline))

    # ---- its end ---------------------------------------------------------------------------------

    def running(self):
        return self.process.poll() is None

    def wait_exit(self, timeout):
        """Wait for QEMU to end by itself, which must be with success."""
        try:
            code = self.process.wait(timeout * FACTOR)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"QEMU is still there after {timeout} s") from None
        assert code == 0, f"QEMU ended with {code}:\n{self.log_text()}"
        self.socket.close()

    def quit(self):
        """As if the user closed it: QEMU stops the devices in order, the guest is not asked."""
        self.command("quit")
        self.wait_exit(20)

    def kill(self):
        """kill -9, and wait until it is gone."""
        if self.running():
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)
        if self.socket:
            self.socket.close()

    def log_text(self):
        return self.log.read_text(errors="replace")

    def console_text(self):
        return self.console.read_text(errors="replace") if self.console.exists() else ""
