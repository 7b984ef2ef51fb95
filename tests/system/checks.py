# SPDX-License-Identifier: BSD-2-Clause
"""What several tests look at: file systems and files on the host, and the combinations they run."""

import hashlib
import os
import shutil
import subprocess

MIB = 1 << 20

# Both QEMUs with both devices.
ALL = [("7.2", "blk"), ("7.2", "scsi"), ("10.0", "blk"), ("10.0", "scsi")]
# Each QEMU and each device once: what a test shows of one it hardly shows anew of the other. Of two
# tests of the same kind (rings split and packed, two firmwares) one runs the first half and one the
# second, so that each QEMU meets each device there.
HALF = [("7.2", "scsi"), ("10.0", "blk")]
OTHER_HALF = [("7.2", "blk"), ("10.0", "scsi")]


def assert_clean(image):
    """The ext4 file system of an image has no error, not even one that fsck would mend."""
    tool = shutil.which("e2fsck", path="/usr/sbin:/sbin:/usr/bin:/bin")
    done = subprocess.run([tool, "-fn", str(image)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout


def allocated(path):
    """Bytes that a file really takes."""
    return os.stat(path).st_blocks * 512


def grow(path, size_mib):
    os.truncate(path, size_mib * MIB)


def pattern(size):
    """Bytes that differ in every block."""
    seed = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(size // 4096 + 1))
    blocks = (seed[32 * n:32 * n + 32] * 128 for n in range(size // 4096 + 1))
    return b"".join(blocks)[:size]


def digest(data):
    return hashlib.sha256(data).hexdigest()
