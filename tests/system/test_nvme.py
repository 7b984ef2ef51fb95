# SPDX-License-Identifier: BSD-2-Clause
"""The NVMe driver with a real IOMMU and another's controller: QEMU's, inside a guest.

The guest has nothing but an initramfs: busybox, the kernel's VFIO, and the driver's own test
program (tests/unit/nvme/test_vfio.c), which is given the drive.
"""

import os
import subprocess

from guests import images, kernel

from .executable import build_folder
from .patience import FACTOR
from .qemu import accelerator, program

ADDRESS = "0000:00:04.0"

INIT = f"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
while read -r module; do
	/bin/busybox insmod "/modules/$module" || echo "$module does not load"
done < /modules/order
echo vfio-pci > /sys/bus/pci/devices/{ADDRESS}/driver_override
echo {ADDRESS} > /sys/bus/pci/drivers_probe
/bin/nvme-vfio io_uring {ADDRESS} 2>&1
echo "driver ended with $?"
/bin/busybox poweroff -f
"""


def initramfs(path):
    tool = build_folder() / "tests/unit/nvme/nvme-vfio"
    modules = sorted((kernel.prepare() / "vfio").iterdir())
    files = {"init": INIT.encode(), "bin/busybox": images.which("busybox").read_bytes(),
             "bin/nvme-vfio": tool.read_bytes()}
    files |= {str(library).lstrip("/"): library.read_bytes()
              for library in images.libraries(tool)}
    files |= {f"modules/{module.name}": module.read_bytes() for module in modules}
    folders = sorted({parent for name in files for parent in parents(name)})
    members = [(name, 0o040755, b"") for name in folders]
    members += [(name, 0o100755, data) for name, data in files.items()]
    with open(path, "wb") as out:
        for number, (name, mode, data) in enumerate(members, 1):
            out.write(images.cpio_entry(number, name, mode, data))
        out.write(images.cpio_entry(0, "TRAILER!!!", 0))


def parents(name):
    while name := os.path.dirname(name):
        yield name


def test_a_drive_behind_an_iommu_is_driven_from_user_space(tmp_path):
    initrd, disk = tmp_path / "initrd", tmp_path / "disk"
    initramfs(initrd)
    with open(disk, "wb") as out:
        out.truncate(64 << 20)
    guest = subprocess.run(
        [program("7.2"), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
         "-machine", "q35", "-accel", accelerator(), "-cpu", "max,la57=off", "-smp", "2",
         "-m", "512M", "-kernel", str(kernel.prepare() / "vmlinuz"), "-initrd", str(initrd),
         "-append", f"{images.CMDLINE} intel_iommu=on",
         "-device", "intel-iommu,intremap=on,caching-mode=on",
         "-drive", f"if=none,id=disk,format=raw,file={disk}",
         "-device", "nvme,drive=disk,serial=sluice-test,addr=4", "-serial", "stdio"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
        timeout=60 * FACTOR, check=False)
    assert "driver ended with 0" in guest.stdout, guest.stdout[-4000:] + guest.stderr
