#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Prepares all that guests need, into build/guests or $SLUICE_GUESTS, and prints where it is.

    tests/guests/build.py              everything: kernel, images, QEMU 10.0
    tests/guests/build.py images       kernel and images (what the demo needs)
    tests/guests/build.py qemu10       QEMU 10.0 only

Built once; later calls only look. Needs a Debian mirror, no root.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from guests import images, kernel, qemu10  # noqa: E402  (the path has to be set first)

PARTS = {"kernel": kernel.prepare, "images": images.prepare, "qemu10": qemu10.prepare}


def main(names):
    unknown = set(names) - set(PARTS)
    if unknown:
        print(f"build.py: no part {sorted(unknown)[0]}; there are {', '.join(PARTS)}",
              file=sys.stderr)
        return 2
    for name in names or PARTS:
        try:
            print(f"{name}\t{PARTS[name]()}")
        except RuntimeError as error:
            print(f"build.py: {name} cannot be built: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
