# SPDX-License-Identifier: BSD-2-Clause
"""The Debian package: it installs, runs and goes again, on this host seen through an overlay."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

import pytest

from .patience import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("SLUICE_BUILD", "build")
PAGES = ["sluice", "sluice-serve", "sluice-disk", "sluice-store", "sluice-volume",
         "sluice-nvme", "sluice-config", "sluice-top", "sluice-io", "sluice-check", "sluice-rpc"]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    made = subprocess.run([ROOT / "tools/deb", BUILD, tmp_path_factory.mktemp("package")],
                          check=True, text=True, stdout=subprocess.PIPE, timeout=120)
    return pathlib.Path(made.stdout.strip())


# In a mount namespace of its own: what is done to the root goes to a place in memory.
INSIDE = r"""
set -e
mount --make-rprivate /
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount --bind /dev "$1/root/dev"
mount -t proc proc "$1/root/proc"
mount -t tmpfs none "$1/root/run"
cp "$2" "$1/root/sluice.deb"
chroot "$1/root" /bin/sh -e -c "$3"
"""


class Overlay:
    def __init__(self, package):
        self.package = package

    def run(self, script):
        place = tempfile.mkdtemp(prefix="sluice-overlay-")
        try:
            done = subprocess.run(
                ["unshare", "-m", "sh", "-c", INSIDE, "sh", place, self.package, script],
                capture_output=True, text=True, timeout=120, check=False)
        finally:
            os.rmdir(place)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def overlay(package):
    return Overlay(package)


@pytest.mark.once
def test_a_package_installs_runs_and_leaves_nothing_but_images(overlay):
    told = overlay.run("""
        dpkg -i /sluice.deb >/dev/null
        sluice --version
        sluice serve & daemon=$!
        for i in $(seq 100); do [ -S /run/sluice/rpc.sock ] && break; sleep 0.1; done
        sluice store create pool /var/lib/sluice/pool.img --size 64M
        sluice volume create pool/v --size 1M
        sluice volume list
        kill $daemon
        wait $daemon
        dpkg -r sluice >/dev/null 2>&1
        ls /var/lib/sluice
        test ! -e /usr/bin/sluice
        dpkg -P sluice >/dev/null 2>&1
        echo after:
        ls /var/lib/sluice
        test ! -e /etc/sluice
        """)
    before, after = told.split("after:\n")
    assert before.startswith("sluice 0.") and "pool/v" in before and "config.json" in before
    assert after.split() == ["pool.img"]


@pytest.mark.once
def test_what_is_installed_is_what_a_package_has(overlay, package):
    listed = subprocess.run(["dpkg-deb", "--contents", package], capture_output=True, text=True,
                            check=True).stdout
    for name in PAGES:
        assert f"./usr/share/man/man1/{name}.1.gz\n" in listed
    for name in ("bin/sluice", "share/bash-completion/completions/sluice",
                 "share/zsh/site-functions/_sluice", "share/doc/sluice/copyright"):
        assert f"./usr/{name}\n" in listed
    depends = subprocess.run(["dpkg-deb", "--field", package, "Depends"], capture_output=True,
                             text=True, check=True).stdout
    assert "liburing2" in depends and "libjansson4" in depends and "libc6" in depends
    overlay.run("""
        dpkg -i /sluice.deb >/dev/null
        systemd-analyze verify --man=no /lib/systemd/system/sluice.service 2>/tmp/said
        cp '/lib/systemd/system/sluice-disk@.service' '/run/sluice-disk@a.service'
        systemd-analyze verify --man=no '/run/sluice-disk@a.service' 2>>/tmp/said
        if grep -i sluice /tmp/said; then exit 1; fi
        """)


@pytest.mark.parametrize("unit", ["sluice.service", "sluice-disk@.service"])
def test_a_unit_keeps_no_disk_away(unit):
    """Each of these lets in listed devices only, the last one by what it implies."""
    text = (BUILD / "data" / unit).read_text()
    for setting in ("DeviceAllow", "DevicePolicy", "PrivateDevices", "ProtectClock"):
        assert f"\n{setting}=" not in text


@pytest.mark.once
@pytest.mark.parametrize("name", PAGES)
def test_manual_pages_are_sound(name):
    page = BUILD / "data" / f"{name}.1"
    said = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page],
                          capture_output=True, text=True, check=True)
    assert not said.stderr
    text = page.read_text()
    assert ".SH SYNOPSIS" in text and ".SH DESCRIPTION" in text
    if name not in ("sluice", "sluice-serve", "sluice-check"):
        assert "rpc\\-socket" in text


@pytest.mark.once
@pytest.mark.parametrize("words, wanted", [
    (["sluice", "vol"], ["volume"]),
    (["sluice", "disk", "at"], ["attach"]),
    (["sluice", "volume", "ex"], ["export"]),
    (["sluice", "disk", "attach", "--when"], ["--when-full"]),
])
def test_bash_completes_commands_and_options(words, wanted):
    place = tempfile.mkdtemp()
    try:
        os.symlink(BUILD / "sluice", f"{place}/sluice")
        script = (f". {ROOT}/data/sluice.bash; COMP_WORDS=({' '.join(words)}); "
                  f"COMP_CWORD={len(words) - 1}; _sluice; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
        told = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True,
                              env={"PATH": f"{place}:/usr/bin:/bin"}, cwd=place)
        assert told.stdout.split() == wanted
    finally:
        shutil.rmtree(place)


def test_a_service_manager_is_told(tmp_path):
    place = pathlib.Path(tempfile.mkdtemp(prefix="sluice-"))
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(place / "notify"))
    manager.settimeout(10)
    process = subprocess.Popen(
        [BUILD / "sluice", "serve", "-r", place / "rpc", "-S", place, "--state-dir",
         place / "state"], stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        env={**os.environ, "NOTIFY_SOCKET": str(place / "notify"), "WATCHDOG_USEC": "100000"})
    try:
        told = [manager.recv(100) for _ in range(4)]
        assert b"READY=1" in told and told.count(b"WATCHDOG=1") == 3
        process.terminate()
        wait_until(lambda: manager.recv(100) == b"STOPPING=1", 10, "it says that it stops")
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait(10)
        manager.close()
        shutil.rmtree(place)
