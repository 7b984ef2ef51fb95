# SPDX-License-Identifier: BSD-2-Clause
"""The guests' disks, made without root, mounts or loop devices.

Gives a part with
  initrd      busybox and the drivers, an uncompressed cpio archive
  vmlinux     the kernel, for QEMU to load
  root.img    a bare ext4 file system (label sluice-root) with busybox, fio, sg3-utils and
              iscsi-test-cu
  disk.img    a GPT disk with the same file system as third partition, its kernel in /boot, and two
              boot loaders: GRUB for SeaBIOS in the first sector and the first partition, GRUB for
              UEFI in an EFI system partition
Programs and their libraries are copied from the machine, so their package versions belong to the
key. Times and UUIDs are fixed: one recipe gives one image.
"""

import os
import pathlib
import re
import shutil
import struct
import subprocess
import tempfile

from . import cache
from . import debian
from . import kernel

# Debian packages that the images are made of, or with.
CONTENT = ["bash", "findutils", "grep", "sed", "busybox-static", "fio", "sg3-utils",
           "libiscsi-bin", "util-linux", "coreutils", "dash", "libc6", "grub-common",
           "grub-pc-bin", "grub-efi-amd64-bin", "e2fsprogs", "mtools", "parted"]
RECIPE = ["images.py", "init-initramfs", "init-root", "grub.cfg", "kernel.py", "debian.py"]
# Real programs besides busybox. Its shell prefers its own applets, so scripts run in dash.
PROGRAMS = ["dash", "dd", "blkdiscard", "fstrim", "fio", "sg_inq", "sg_vpd", "sg_luns",
            "sg_persist", "sg_readcap", "sg_raw", "sg_turs", "sg_reset", "sg_opcodes", "sg_unmap",
            "sg_write_same", "sg_sync", "sg_modes", "sg_requests", "sg_start", "iscsi-test-cu"]
PROGRAMS += ["bash", "find", "grep", "pr", "sed", "sg_dd", "sg_logs", "sg_rtpg", "sg_stpg",
             "sg_timestamp", "sg_wr_mode", "sg_xcopy", "sg_copy_results", "sg_verify",
             "sg_compare_and_write", "sg_get_lba_status", "sg_sanitize", "sg_senddiag", "sg_ident",
             "sg_write_buffer"]
SCRIPTS = ["rescan-scsi-bus.sh"]

CMDLINE = ("console=ttyS0,115200 panic=-1 tsc=reliable no_timer_check mitigations=off "
           "cryptomgr.notests random.trust_cpu=on rcupdate.rcu_expedited=1 nokaslr "
           "swiotlb=noforce")
MIB = 1 << 20
ROOT_SIZE = 256 * MIB
BIOS_START, BIOS_SIZE = 1 * MIB, 1 * MIB
ESP_START, ESP_SIZE = 2 * MIB, 6 * MIB
ROOT_START = 8 * MIB
UUID = "5157ce00-0000-4000-8000-000000000001"


def key():
    return cache.recipe_key(RECIPE, kernel.key(), debian.versions(*CONTENT))


def which(program):
    path = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not path:
        raise RuntimeError(f"{program} is not installed")
    return pathlib.Path(path)


# ---- the initramfs -------------------------------------------------------------------------------

def cpio_entry(number, name, mode, data=b""):
    """One member of a cpio archive in the kernel's "newc" form."""
    encoded = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def make_initrd(path, kernel_dir):
    files = [("bin/busybox", 0o100755, which("busybox").read_bytes()),
             ("init", 0o100755, (cache.HERE / "init-initramfs").read_bytes())]
    files += [(f"modules/{p.name}", 0o100644, p.read_bytes())
              for p in sorted((kernel_dir / "modules").iterdir())]
    members = [(name, 0o040755, b"") for name in ("bin", "modules")] + files
    with open(path, "wb") as out:
        for number, (name, mode, data) in enumerate(members, 1):
            out.write(cpio_entry(number, name, mode, data))
        out.write(cpio_entry(0, "TRAILER!!!", 0))


# ---- the root file system ------------------------------------------------------------------------

def libraries(program):
    """The shared libraries of a program, its loader included."""
    text = debian.run("ldd", program)
    return {pathlib.Path(p) for p in re.findall(r"(?:=> |^\s+)(/\S+) \(", text, flags=re.M)}


def usr_path(path):
    """Debian 12 has everything in /usr; /bin, /lib and the like are links to it."""
    text = str(path)
    return text if text.startswith("/usr/") else "/usr" + text


def copy_program(program, root, copied):
    for path in {which(program)} | libraries(which(program)):
        place = root / usr_path(path).lstrip("/")
        if place in copied:
            continue
        copied.add(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        place.chmod(0o755)


def make_tree(root):
    """The directory tree that becomes the guests' file system."""
    for name in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "proc", "sys", "dev", "run", "tmp",
                 "root", "mnt", "boot", "etc", "var"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    copied = set()
    for program in PROGRAMS:
        copy_program(program, root, copied)
    for script in SCRIPTS:
        place = root / usr_path(which(script)).lstrip("/")
        shutil.copyfile(which(script), place)
        place.chmod(0o755)
    busybox = root / "usr/bin/busybox"
    shutil.copyfile(which("busybox"), busybox)
    busybox.chmod(0o755)
    for applet in debian.run(busybox, "--list").split():
        link = root / "usr/bin" / applet
        if applet not in PROGRAMS and not os.path.lexists(link):
            link.symlink_to("busybox")
    (root / "usr/bin/sh").unlink()
    (root / "usr/bin/sh").symlink_to("dash")
    shutil.copyfile(cache.HERE / "init-root", root / "usr/sbin/init")
    (root / "usr/sbin/init").chmod(0o755)
    (root / "etc/passwd").write_text("root::0:0:root:/root:/bin/sh\n", encoding="ascii")
    (root / "etc/group").write_text("root:x:0:\n", encoding="ascii")


def make_ext4(path, tree, size, offset=0):
    """An ext4 file system with the tree's content, at an offset of a file."""
    with open(path, "ab") as image:
        image.truncate(max(image.tell(), offset + size))
    options = f"root_owner=0:0,offset={offset},hash_seed={UUID},lazy_itable_init=0"
    debian.run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-L", "sluice-root",
               "-U", UUID, "-E", options, "-d", tree, path, f"{size // 1024}k")


# ---- the bootable disk ---------------------------------------------------------------------------

def make_partitions(path):
    size = ROOT_START + ROOT_SIZE + MIB
    with open(path, "wb") as image:
        image.truncate(size)
    bounds = [("bios", BIOS_START, BIOS_SIZE), ("esp", ESP_START, ESP_SIZE),
              ("root", ROOT_START, ROOT_SIZE)]
    words = ["mklabel", "gpt"]
    for name, start, length in bounds:
        words += ["mkpart", name, f"{start}B", f"{start + length - 1}B"]
    debian.run("parted", "-s", path, *words, "set", "1", "bios_grub", "on", "set", "2", "esp", "on")


def write_at(path, offset, data):
    with open(path, "r+b") as image:
        image.seek(offset)
        image.write(data)


def grub_image(target, work):
    """A GRUB that holds all it needs and starts from its built-in configuration."""
    config, out = work / f"{target}.cfg", work / f"{target}.image"
    lines = (cache.HERE / "grub.cfg").read_text(encoding="ascii").splitlines(keepends=True)
    # GRUB's small parser knows no comments, and would take an apostrophe in one for a quote.
    text = "".join(line for line in lines if not line.startswith("#"))
    text = text.replace("@LOADER@", f"grub-{target}").replace("@CMDLINE@", CMDLINE)
    config.write_text(text, encoding="ascii")
    modules = ["part_gpt", "ext2", "search", "search_label", "linux", "echo", "boot", "serial",
               "terminal"]
    if target == "i386-pc":
        modules.append("biosdisk")
    debian.run("grub-mkimage", "-O", target, "-d", f"/usr/lib/grub/{target}", "-c", config,
               "-p", "/boot/grub", "-o", out, *modules)
    return out


def install_bios_loader(disk, work):
    """What grub-bios-setup does: boot.img in the first sector, which loads core.img by its address.

    boot.img holds the 64-bit sector number of core.img at 0x5c. The first sector of core.img ends
    in a list of what follows it: sector (64 bits), count and segment (16 bits each) at 0x1f4. The
    two bytes at 0x66 of boot.img are a jump around a workaround for firmware that does not tell
    the boot drive; on a hard disk they are made no-operations.
    """
    core = bytearray(grub_image("i386-pc", work).read_bytes())
    if len(core) > BIOS_SIZE:
        raise RuntimeError("GRUB's core image does not fit into the BIOS boot partition")
    sector = BIOS_START // 512
    struct.pack_into("<Q", core, 0x1f4, sector + 1)
    write_at(disk, BIOS_START, core)
    boot = bytearray(pathlib.Path("/usr/lib/grub/i386-pc/boot.img").read_bytes()[:440])
    struct.pack_into("<Q", boot, 0x5c, sector)
    boot[0x66:0x68] = b"\x90\x90"
    write_at(disk, 0, boot)


def install_uefi_loader(disk, work):
    """GRUB as the fallback loader that firmware starts from an EFI system partition."""
    efi = grub_image("x86_64-efi", work)
    place = f"{disk}@@{ESP_START}"
    debian.run("mformat", "-i", place, "-T", ESP_SIZE // 512, "-h", "16", "-s", "63",
               "-v", "ESP", "-N", "51ce0001", "::")
    debian.run("mmd", "-i", place, "::/EFI", "::/EFI/BOOT")
    debian.run("mcopy", "-i", place, efi, "::/EFI/BOOT/BOOTX64.EFI")


def make_disk(disk, tree, work):
    make_partitions(disk)
    make_ext4(disk, tree, ROOT_SIZE, offset=ROOT_START)
    install_bios_loader(disk, work)
    install_uefi_loader(disk, work)


def make(work):
    kernel_dir = kernel.prepare()
    make_initrd(work / "initrd", kernel_dir)
    shutil.copyfile(kernel_dir / "vmlinux", work / "vmlinux")
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        tree = pathlib.Path(scratch) / "tree"
        make_tree(tree)
        make_ext4(work / "root.img", tree, ROOT_SIZE)
        shutil.copyfile(kernel_dir / "vmlinuz", tree / "boot/vmlinuz")
        shutil.copyfile(work / "initrd", tree / "boot/initrd")
        make_disk(work / "disk.img", tree, pathlib.Path(scratch))


def prepare():
    return cache.part("images", key(), make)


def copy(source, target):
    """Copy an image with its holes; the target is a private disk of one guest."""
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(source), str(target)],
                   check=True)
    return pathlib.Path(target)
