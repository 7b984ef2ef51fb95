# SPDX-License-Identifier: BSD-2-Clause
"""Stores change hands between the daemon and SPDK itself: $SLUICE_SPDK_TGT, or spdk_tgt where it is
installed. Both make, change and delete; each finds what the other has left, names and bytes.
"""

import os
import shutil
import signal

import pytest

from format import checker
from format.reader import Store

from .checks import MIB, pattern
from .patience import wait_until
from .process import spawn
from .rpc import Rpc

SPDK = os.environ.get("SLUICE_SPDK_TGT") or shutil.which("spdk_tgt")

DATA = pattern(4 * MIB)
MEMBERS = ("alias", "uuid", "name", "is_thin_provisioned", "is_clone", "is_esnap_clone",
           "is_degraded", "num_allocated_clusters", "lvs")


class Spdk:
    """SPDK's target on ordinary memory; ended in order, so that it closes its stores."""

    def __init__(self, place):
        place.mkdir()
        self.socket = place / "rpc.sock"
        self.process = spawn([SPDK, "-r", str(self.socket), "--no-huge", "-s", "1536", "-m", "0x1",
                              "--no-pci", "--disable-cpumask-locks", "--interrupt-mode"],
                             place / "spdk.log", start_new_session=True)
        self.rpc = wait_until(self.connect, 60, "SPDK listens")
        self.rpc.call("framework_wait_init", timeout=60)

    def connect(self):
        assert self.process.poll() is None, "SPDK ended at its start"
        try:
            return Rpc(self.socket)
        except OSError:
            return None

    def call(self, method, **params):
        return self.rpc.call(method, **params)

    def end(self):
        self.rpc.close()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0


class Sluice:
    def __init__(self, lab):
        self.daemon = lab.daemon()
        self.call = self.daemon.call

    def end(self):
        self.daemon.stop()


@pytest.fixture(name="make")
def fixture_make(lab):
    """Starts one or the other; what a failed test has left of SPDK is killed."""
    started = []

    def make(which):
        number = len(started)
        started.append(Sluice(lab) if which == "sluice" else Spdk(lab.place / f"spdk{number}"))
        return started[-1]

    yield make
    for program in started:
        if isinstance(program, Spdk) and program.process.poll() is None:
            program.process.kill()
            program.process.wait(10)


def attach(program, pool, parent):
    program.call("bdev_aio_create", name="parent", filename=str(parent), block_size=4096,
                 uuid="3f0e6a1c-9d55-4a43-8d11-52c7be1f0a77")
    program.call("bdev_aio_create", name="pool", filename=str(pool), block_size=4096)


def make_one_of_each(program, tag):
    def do(method, **params):
        program.call(f"bdev_lvol_{method}", **params)

    do("clone_bdev", bdev="parent", lvs_name="lvs0", clone_name=f"full{tag}")
    do("inflate", name=f"lvs0/full{tag}")
    do("snapshot", lvol_name=f"lvs0/full{tag}", snapshot_name=f"snap{tag}")
    do("clone", snapshot_name=f"lvs0/snap{tag}", clone_name=f"clone{tag}")
    do("snapshot", lvol_name=f"lvs0/clone{tag}", snapshot_name=f"middle{tag}")
    do("clone", snapshot_name=f"lvs0/middle{tag}", clone_name=f"copy{tag}")
    do("decouple_parent", name=f"lvs0/clone{tag}")
    do("inflate", name=f"lvs0/copy{tag}")
    do("create", lvs_name="lvs0", lvol_name=f"thin{tag}", size_in_mib=16, thin_provision=True)
    do("create", lvs_name="lvs0", lvol_name=f"thick{tag}", size_in_mib=8)
    do("resize", name=f"lvs0/thin{tag}", size_in_mib=600)
    do("resize", name=f"lvs0/thin{tag}", size_in_mib=24)
    do("resize", name=f"lvs0/thick{tag}", size_in_mib=12)
    do("rename", old_name=f"lvs0/thin{tag}", new_name=f"renamed{tag}")
    do("set_read_only", name=f"lvs0/renamed{tag}")
    do("clone_bdev", bdev="parent", lvs_name="lvs0", clone_name=f"foreign{tag}")
    do("snapshot", lvol_name=f"lvs0/foreign{tag}", snapshot_name=f"below{tag}")


def listing(program):
    found = [{name: volume[name] for name in MEMBERS}
             for volume in program.call("bdev_lvol_get_lvols")]
    store = program.call("bdev_lvol_get_lvstores")[0]
    return (sorted(found, key=lambda volume: volume["name"]),
            {name: store[name] for name in ("uuid", "name", "total_data_clusters", "free_clusters",
                                            "block_size", "cluster_size", "max_growable_size")})


def assert_contents(pool, tags, strict):
    findings = checker.errors(checker.check(pool, strict=strict))
    assert not findings, "\n".join(map(str, findings))
    with Store(pool, external=lambda _, offset, length: DATA[offset:offset + length]) as store:
        assert store.clean
        for tag in tags:
            for kind in ("full", "snap", "clone", "copy", "foreign"):
                volume = store.volume(f"{kind}{tag}")
                assert store.read(volume, 0, store.size(volume)) == DATA, f"{kind}{tag}"


@pytest.mark.parametrize("first, second", [("sluice", "spdk"), ("spdk", "sluice")])
@pytest.mark.parametrize("cluster_kib", [64, 1024])
def test_a_store_changes_hands(lab, make, first, second, cluster_kib):
    pool, parent = lab.empty("pool", 512), lab.place / "parent.img"
    parent.write_bytes(DATA)
    program = make(first)
    attach(program, pool, parent)
    program.call("bdev_lvol_create_lvstore", bdev_name="pool", lvs_name="lvs0",
                 cluster_sz=cluster_kib << 10)
    make_one_of_each(program, "1")
    left = listing(program)
    program.end()
    assert_contents(pool, "1", strict=first == "sluice")

    program = make(second)
    attach(program, pool, parent)
    assert listing(program) == left
    make_one_of_each(program, "2")
    program.call("bdev_lvol_delete", name="lvs0/middle1")
    left = listing(program)
    program.end()
    assert_contents(pool, "12", strict=False)

    program = make(first)
    attach(program, pool, parent)
    assert listing(program) == left
    names = [volume["alias"] for volume in left[0]]
    parents = ("snap", "middle", "below")   # after what stands on them
    for name in sorted(names, key=lambda name: any(word in name for word in parents)):
        program.call("bdev_lvol_delete", name=name)
    wait_until(lambda: listing(program)[1]["free_clusters"] ==
               listing(program)[1]["total_data_clusters"], 10, "everything is free")
    program.end()
