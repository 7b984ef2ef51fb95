# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures of the system tests.

`lab` gives a test a directory of its own, daemons and guests, and takes all of it away again. After
a test that passed each daemon is stopped in order and searched for leftovers, so a leak fails the
test that made it; after one that failed everything is killed, by process id, and the last lines of
all logs are added to the report.
"""

import json
import os
import pathlib
import shutil
import signal
import tempfile

import pytest

from guests import images, qemu10

from .daemon import Daemon
from .executable import sanitized
from .guest import Guest

# The figures are promised for release builds.
collect_ignore = ["test_figures.py"] if sanitized() else []
# A program that nothing here needs, to exchange stores with where there is one.
if not (os.environ.get("SLUICE_SPDK_TGT") or shutil.which("spdk_tgt")):
    collect_ignore.append("test_spdk.py")


class Lab:
    def __init__(self):
        # Short, for the paths of Unix sockets; and not in memory, since disks are put here.
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="sluice-", dir="/var/tmp"))
        self.daemons = []
        self.guests = []

    def daemon(self, *arguments, **options):
        place = self.place / f"daemon{len(self.daemons)}"
        self.daemons.append(Daemon(place, *arguments, **options))
        return self.daemons[-1]

    def image(self, name="root", kind="root"):
        """A private copy of a prepared image: "root" (bare ext4) or "disk" (bootable)."""
        return images.copy(images.prepare() / f"{kind}.img", self.place / f"{name}.img")

    def empty(self, name, size_mib):
        """An empty file for a further disk."""
        path = self.place / f"{name}.img"
        with open(path, "wb") as file:
            file.truncate(size_mib << 20)
        return path

    def start(self, version, *disks, **options):
        """Start a guest without waiting for it."""
        place = self.place / f"guest{len(self.guests)}"
        self.guests.append(Guest(version, place, list(disks), **options))
        return self.guests[-1]

    def boot(self, version, *disks, **options):
        return self.start(version, *disks, **options).wait_first_ready()

    def close(self, passed):
        try:
            for guest in self.guests:
                guest.kill()
            for daemon in self.daemons:
                if passed and not daemon.stopped:
                    daemon.stop()
        finally:
            for daemon in self.daemons:
                daemon.kill()
            shutil.rmtree(self.place)

    def logs(self):
        """What there is to see after a failure, as pairs of title and text."""
        for daemon in self.daemons:
            if daemon.running():
                try:
                    yield "controllers", json.dumps(daemon.call("vhost_get_controllers"), indent=1)
                except (OSError, AssertionError) as error:
                    yield "controllers", f"the daemon does not answer: {error}"
        for path in sorted(self.place.glob("*/*.log")):
            lines = path.read_text(errors="replace").splitlines()
            yield f"{path.parent.name}/{path.name}", "\n".join(lines[-40:])


def pytest_configure(config):
    """A time limit on the whole run ends it like Ctrl-C: fixtures still clean up."""
    config.addinivalue_line("markers", "once: sanitizers would see nothing new in it (tools/test)")
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def guest_parts():
    """Build what guests need before the first test's clock runs."""
    images.prepare()
    qemu10.prepare()


@pytest.fixture
def lab(request):
    laboratory = Lab()
    yield laboratory
    report = getattr(request.node, "report", None)
    laboratory.close(passed=report is not None and report.passed)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when != "call":
        return
    item.report = report
    laboratory = item.funcargs.get("lab")
    if report.failed and laboratory:
        report.sections += list(laboratory.logs())
