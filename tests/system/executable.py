# SPDX-License-Identifier: BSD-2-Clause
"""Which executable is tested: $SLUICE_BINARY, or `sluice` in $SLUICE_BUILD (default: build)."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def build_folder():
    """What else was built with it."""
    return ROOT / os.environ.get("SLUICE_BUILD", "build")


def binary():
    return os.environ.get("SLUICE_BINARY") or str(build_folder() / "sluice")


def sanitized():
    """Whether it was built with a sanitizer: slower, and larger by far."""
    path = pathlib.Path(binary())
    content = path.read_bytes() if path.exists() else b""
    return b"__asan_init" in content or b"__tsan_init" in content
