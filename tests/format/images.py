# SPDX-License-Identifier: BSD-2-Clause
"""Images for tests that do not know Python: python3 -m format.images [--whole] FOLDER, from tests/.

For each operation of scenarios.py a folder NAME with the images 0.img, 1.img, ...: cut after so
many requests, the last one not cut. With --whole only the last. Beside them expected.txt, lines of
words:

    case NAME                    of the folder
    images NUMBER
    state before|after           an image shows one of the two
    volume NAME CLUSTERS         sorted by name
    cluster INDEX CRC32C         one that is not all zeros; the sum in eight hexadecimal digits

Clusters have 16384 bytes. The bytes of the one external snapshot are in external.bin.
"""
import argparse
import functools
import pathlib
import shutil
import sys

from .crc32c import crc32c
from .scenarios import CASES, Stage
from .shadow import CLUSTER, EXTERNAL, external_bytes

EXTERNAL_SIZE = 1 << 20

cluster_sum = functools.lru_cache(maxsize=4096)(crc32c)


def folder_name(name):
    return "-".join("".join(c if c.isalnum() else " " for c in name).split())


def describe(state, volumes):
    yield f"state {state}"
    for name, data in sorted(volumes.items()):
        yield f"volume {name} {len(data) // CLUSTER}"
        for index in range(len(data) // CLUSTER):
            cluster = data[index * CLUSTER:(index + 1) * CLUSTER]
            if any(cluster):
                yield f"cluster {index} {cluster_sum(cluster):08x}"


def make(place, name, whole=False):
    """One folder of images; its path."""
    folder = place / folder_name(name)
    folder.mkdir(parents=True)
    work = folder / "work"
    work.mkdir()
    stage = Stage(work, *CASES[name])
    numbers = [stage.requests] if whole else range(stage.requests + 1)
    for number in numbers:
        stage.cut(number).rename(folder / f"{number}.img")
    shutil.rmtree(work)
    lines = [f"case {folder.name}", f"images {stage.requests + 1}",
             *describe("before", stage.before), *describe("after", stage.after)]
    (folder / "expected.txt").write_text("\n".join(lines) + "\n")
    return folder


def main():
    parser = argparse.ArgumentParser(prog="format.images",
                                     description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--whole", action="store_true", help="only what is not cut")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    (args.folder / "external.bin").write_bytes(
        external_bytes(EXTERNAL.encode() + b"\0", 0, EXTERNAL_SIZE))
    for name in CASES:
        make(args.folder, name, args.whole)
    return 0


if __name__ == "__main__":
    sys.exit(main())
