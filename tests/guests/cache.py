# SPDX-License-Identifier: BSD-2-Clause
"""The cache directory in which guest parts are built once.

A part is a directory `<name>-<key>`. The key is a hash of its recipe: the text of the files that
make it, and whatever else the maker names (package versions, keys of other parts). A part is made
in a private directory beside and renamed into its place when it is whole, so a reader never sees
half of one, and a killed build leaves only a directory that the next build removes. One lock per
part keeps two checkouts that share a cache from building the same thing twice.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
DEFAULT = HERE.parent.parent / "build" / "guests"


def directory():
    """The cache: $SLUICE_GUESTS, or build/guests in this checkout."""
    path = pathlib.Path(os.environ.get("SLUICE_GUESTS") or DEFAULT).absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


def recipe_key(files, *extra):
    """Hash of the named files of this folder and of any further strings the part depends on."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + (HERE / name).read_bytes() + b"\0")
    for item in extra:
        digest.update(str(item).encode() + b"\0")
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def locked(name):
    """Hold the lock of one part. The kernel lets it go with the process, however that ends."""
    with open(directory() / f".{name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def part(name, key, make):
    """Return the directory of a part, calling make(dir) to fill it if it is not there yet."""
    final = directory() / f"{name}-{key}"
    if final.is_dir():
        return final
    with locked(name):
        if final.is_dir():
            return final
        for stale in directory().glob(f".{name}-*.part"):
            shutil.rmtree(stale)
        print(f"guests: building {final.name}", file=sys.stderr, flush=True)
        work = pathlib.Path(tempfile.mkdtemp(prefix=f".{name}-", suffix=".part", dir=directory()))
        work.chmod(0o755)
        try:
            make(work)
            work.rename(final)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return final
