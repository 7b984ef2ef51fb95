# SPDX-License-Identifier: BSD-2-Clause
"""QEMU 10.0 from bookworm-backports, unpacked beside the 7.2 that Debian 12 installs.

The part holds the unpacked packages in `root` and a wrapper `qemu-system-x86_64` that starts the
program with its own libraries, modules and firmware. Libraries of Debian 12 that QEMU 7.2 needs too
are the machine's; apt says which others there must be.
"""

import tempfile

from . import cache
from . import debian

PACKAGES = ["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"]

WRAPPER = """#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Starts the unpacked QEMU with its own libraries, modules and firmware.
here=$(dirname "$(readlink -f "$0")")/root/usr
lib=$here/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH="$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export QEMU_MODULE_DIR="$lib/qemu"
exec "$here/bin/qemu-system-x86_64" -L "$here/share/qemu" -L "$here/share/seabios" "$@"
"""


def key():
    return cache.recipe_key(["qemu10.py", "debian.py"])


def make(work):
    root = work / "root"
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        apt = debian.Apt(scratch)
        names = apt.needed(f"{debian.CODENAME}-backports", *PACKAGES)
        for package in apt.download(*names):
            debian.run("dpkg-deb", "-x", package, root)
    wrapper = work / "qemu-system-x86_64"
    wrapper.write_text(WRAPPER, encoding="ascii")
    wrapper.chmod(0o755)
    version = debian.run(wrapper, "--version")
    if "version 10." not in version:
        raise RuntimeError(f"the unpacked QEMU is not version 10: {version}")
    (work / "version").write_text(version, encoding="ascii")


def prepare():
    return cache.part("qemu10", key(), make)
