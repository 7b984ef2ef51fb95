# SPDX-License-Identifier: BSD-2-Clause
"""Waiting with a limit. Nothing in the system tests waits without one.

Limits are for an idle machine with two cores and no KVM. They are three times as long for
sanitizer builds; SLUICE_PATIENCE, for busy machines, is a factor of its own.
"""

import os
import time

from .executable import sanitized

FACTOR = float(os.environ.get("SLUICE_PATIENCE", "1")) * (3 if sanitized() else 1)


class TooLate(AssertionError):
    """What was waited for did not come in time."""


class Deadline:
    def __init__(self, seconds, what):
        self.seconds = seconds * FACTOR
        self.what = what
        self.end = time.monotonic() + self.seconds

    def remaining(self):
        """Seconds left; raises when there are none."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise TooLate(f"{self.what} did not happen within {self.seconds:.0f} s")
        return left


def wait_until(condition, seconds, what, pause=0.05):
    """Call condition until it returns something true; returns that."""
    deadline = Deadline(seconds, what)
    while True:
        value = condition()
        if value:
            return value
        deadline.remaining()
        time.sleep(pause)
