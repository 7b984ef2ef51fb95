# SPDX-License-Identifier: BSD-2-Clause
"""The guests' kernel: Debian's, taken out of its package together with the few modules we need.

Gives a part with `vmlinuz`, `vmlinux` (the same, unpacked), `modules/*.ko`, `modules/order` (the
order in which insmod must see them), the same of `vfio`, and `version`.

Nearly all guests run under TCG, where a kernel takes longer to unpack itself than to start. QEMU
loads the unpacked one, which has an entry for that (PVH). Modules lose their signatures, which each
would be checked against, and the types of their data, which nothing here reads.
"""

import lzma
import pathlib
import re
import struct
import subprocess
import tarfile
import tempfile

from . import cache
from . import debian

# What a guest loads, in this order; what these depend on comes before them.
MODULES = ["crc32c_generic", "crc32c-intel", "crct10dif_generic", "crc64_rocksoft_generic",
           "virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "sg", "ext4"]


# What a guest loads that drives a device from user space; these are for programs' own initramfs.
VFIO_MODULES = ["vfio_iommu_type1", "vfio-pci"]


def key():
    return cache.recipe_key(["kernel.py", "debian.py"])


def extract(package, work):
    """Copy the kernel and all modules out of the package, as a stream; returns name -> bytes."""
    modules = {}
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package],
                          stdout=subprocess.PIPE) as unpacker:
        with tarfile.open(fileobj=unpacker.stdout, mode="r|") as tar:
            for member in tar:
                name = pathlib.PurePosixPath(member.name)
                if name.name.startswith("vmlinuz-"):
                    (work / "vmlinuz").write_bytes(tar.extractfile(member).read())
                elif name.suffix == ".ko" and wanted(name):
                    modules[name.stem] = tar.extractfile(member).read()
    if unpacker.returncode:
        raise RuntimeError(f"dpkg-deb could not unpack {package}")
    return modules


def wanted(path):
    """Whether a module can be one of ours or one they depend on: not the thousands of drivers."""
    parts = path.parts
    return ("drivers" not in parts or "virtio" in parts or "scsi" in parts or "vfio" in parts
            or path.stem == "virtio_blk") and "net" not in parts and "sound" not in parts


def depends(module):
    match = re.search(rb"\0depends=([^\0]*)\0", module)
    return [name for name in match.group(1).decode().split(",") if name] if match else []


def load_order(modules, names):
    """The named modules and all they depend on, each after its dependencies."""
    by_symbol = {name.replace("-", "_"): name for name in modules}
    order = []

    def visit(name):
        if name in order:
            return
        for needed in depends(modules[name]):
            visit(by_symbol[needed.replace("-", "_")])
        order.append(name)

    for name in names:
        visit(by_symbol[name.replace("-", "_")])
    return order


def unpack(image):
    """The ELF file in a bzImage: its header (Documentation/arch/x86/boot.rst) tells where it is."""
    setup_sectors = image[0x1f1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    begin = (setup_sectors + 1) * 512 + offset
    return lzma.LZMADecompressor().decompress(image[begin:begin + length])


def make(work):
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        apt = debian.Apt(scratch)
        name = apt.depends("linux-image-amd64", r"linux-image-[0-9.]+-\S+-amd64")
        [package] = apt.download(name)
        modules = extract(package, work)
        (work / "vmlinux").write_bytes(unpack((work / "vmlinuz").read_bytes()))
        (work / "version").write_text(package.name + "\n", encoding="ascii")
    write_modules(work / "modules", modules, MODULES)
    write_modules(work / "vfio", modules, VFIO_MODULES)


def write_modules(place, modules, names):
    order = load_order(modules, names)
    place.mkdir()
    for name in order:
        module = place / f"{name}.ko"
        module.write_bytes(modules[name])
        debian.run("objcopy", "--strip-debug", "--remove-section=.BTF", module)
    (place / "order").write_text("".join(f"{n}.ko\n" for n in order), encoding="ascii")


def prepare():
    return cache.part("kernel", key(), make)
