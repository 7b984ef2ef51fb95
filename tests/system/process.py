# SPDX-License-Identifier: BSD-2-Clause
"""Starting programs that do not outlive the tests.

Fixtures end what they have started. For the case that pytest itself is killed, the kernel does it:
each program asks for SIGKILL at the death of the process that started it.
"""

import ctypes
import signal
import subprocess

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def spawn(command, log_path, **options):
    """Start a program with its output added to a log."""
    with open(log_path, "ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                preexec_fn=die_with_parent, **options)
