#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Starts a program for which io_uring_setup fails with EPERM, as container runtimes have it.

    confine.py PROGRAM [ARGUMENT...]

A seccomp filter of four instructions, set on this process before it becomes the program.
"""

import ctypes
import errno
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ERRNO = 0x00050000
SECCOMP_RET_ALLOW = 0x7FFF0000
IO_URING_SETUP = 425          # the same number on every architecture

LOAD_WORD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
FILTER = [(LOAD_WORD, 0, 0, 0),                        # the system call's number
          (JUMP_EQUAL, 0, 1, IO_URING_SETUP),
          (RETURN, 0, 0, SECCOMP_RET_ERRNO | errno.EPERM),
          (RETURN, 0, 0, SECCOMP_RET_ALLOW)]


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def io_uring_is_allowed():
    """Whether the kernel would make a ring (a null argument gives EFAULT then)."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(IO_URING_SETUP, 1, None) == -1
    return ctypes.get_errno() == errno.EFAULT


def forbid_io_uring():
    libc = ctypes.CDLL(None, use_errno=True)
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in FILTER)
    program = Program(len(FILTER), code)
    if (libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)):
        raise OSError(ctypes.get_errno(), "prctl")
    if io_uring_is_allowed():
        raise RuntimeError("io_uring_setup is still allowed")


if __name__ == "__main__":
    forbid_io_uring()
    os.execvp(sys.argv[1], sys.argv[1:])
