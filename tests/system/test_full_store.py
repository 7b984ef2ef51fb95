# SPDX-License-Identifier: BSD-2-Clause
"""A store without space, as guests meet it: on blk a write waits, over whatever happens to machine
and daemon meanwhile, until there is some; on SCSI the guest is warned before, and told then.
"""

import re

import pytest

from .checks import MIB, grow
from .patience import wait_until

TROUBLE = "dmesg | grep -iE 'i/o error|blk_update|timed out|no space' || true"


def pool(lab, daemon, size_mib):
    path = lab.empty("pool", size_mib)
    daemon.file("pool", path, fallocate=True)
    daemon.call("bdev_lvol_create_lvstore", bdev_name="pool", lvs_name="lvs0", cluster_sz=MIB)
    return path


def volume(daemon, name, size_mib, thin=True):
    daemon.call("bdev_lvol_create", lvs_name="lvs0", lvol_name=name, size_in_mib=size_mib,
                thin_provision=thin)
    return f"lvs0/{name}"


def waiting(daemon, controller):
    [listed] = daemon.call("vhost_get_queues", ctrlr=controller)
    return sum(queue["waiting_for_space"] for queue in listed["queues"])


def told(daemon):
    return [event["type"] for event in daemon.call("notify_get_notifications")
            if event["type"].startswith("lvstore_")]


def write(device, mib, at=0):
    return f"dd if=/run/data of={device} bs=1M count={mib} seek={at} oflag=direct"


def test_a_blk_guest_waits_for_space_and_goes_on_when_the_store_has_grown(lab):
    daemon = lab.daemon()
    path, image = pool(lab, daemon, 32), lab.image()
    spare = volume(daemon, "spare", 4, thin=False)
    root = daemon.put_file("blk", "root", image)
    disk = daemon.put("blk", volume(daemon, "vm", 64), controller="vm")
    guest = lab.boot("10.0", root, disk, reconnect=True)
    device = guest.device(disk)
    guest.run("dd if=/dev/urandom of=/run/data bs=1M count=40")
    job = guest.start(write(device, 40))

    def stalls():
        wait_until(lambda: waiting(daemon, "vm") > 0, 20, "the guest's write waits")
        assert guest.run("echo other disks go on; sync") and job.running()

    stalls()
    assert daemon.call("bdev_lvol_get_lvstores")[0]["full"]
    assert told(daemon)[-1] == "lvstore_space_full"
    guest.qemu.command("stop")
    assert waiting(daemon, "vm") == 0
    guest.qemu.command("cont")
    stalls()
    written = daemon.call("bdev_lvol_get_lvols", lvs_name="lvs0")[-1]["num_allocated_clusters"]
    daemon.call("bdev_lvol_delete", name=spare)
    wait_until(lambda: daemon.call("bdev_lvol_get_lvols", lvs_name="lvs0")[-1]
               ["num_allocated_clusters"] >= written + 4, 20, "the guest uses what was deleted")
    stalls()
    daemon.kill()
    daemon.start()
    daemon.file("pool", path, fallocate=True)
    daemon.put("blk", "lvs0/vm", controller="vm")
    daemon.put_file("blk", "root", image)
    stalls()
    grow(path, 64)
    daemon.call("bdev_aio_rescan", name="pool")
    daemon.call("bdev_lvol_grow_lvstore", lvs_name="lvs0")
    job.wait()
    guest.run(f"echo 3 > /proc/sys/vm/drop_caches; dd if={device} bs=1M count=40 | cmp - /run/data")
    assert guest.run(TROUBLE) == ""
    job = guest.start(write(device, 24, at=40))
    stalls()
    guest.kill()
    wait_until(lambda: waiting(daemon, "vm") == 0, 5, "nothing waits for a machine that is gone")


def test_a_scsi_guest_is_warned_before_and_told_when_there_is_no_space(lab):
    daemon = lab.daemon()
    pool(lab, daemon, 64)
    root = daemon.put_file("scsi", "root", lab.image())
    disk = daemon.put("scsi", volume(daemon, "vm", 128), controller="vm")
    guest = lab.boot("10.0", root, disk)
    device = guest.device(disk)
    guest.run("dd if=/dev/urandom of=/run/data bs=1M count=40")
    guest.run(write(device, 40))
    guest.run(write(device, 21, at=40))
    wait_until(lambda: told(daemon) == ["lvstore_space_low"], 5, "the store is low")
    guest.run(f"dd if={device} of=/dev/null bs=4k count=1 iflag=direct")
    assert "soft threshold" in guest.run("dmesg")
    told_by_log = guest.run(f"sg_logs --page=0xc {device}")
    assert re.search(r"Used LBA mapping .*: 61$", told_by_log, re.M), told_by_log
    assert re.search(r"percentage.*: [1-5] %$", told_by_log, re.M), told_by_log
    failed = guest.run(write(device, 20, at=61), check=False)
    assert failed.status and "No space left on device" in failed.output
    guest.run(f"blkdiscard -l {8 * MIB} {device}")
    guest.run(write(device, 4, at=61))
    guest.poweroff()


def spread(device):
    """A block in each part of 32 MiB, which all need metadata of their own, while that works."""
    return (f"for part in $(seq 0 63); do dd if=/run/data of={device} bs=4k count=1 "
            "seek=$((part * 8192)) oflag=direct || break; echo written $part; done 2>&1")


@pytest.mark.once
def test_guests_wait_or_are_told_when_it_is_metadata_that_there_is_none_of(lab):
    daemon = lab.daemon()
    path = lab.empty("pool", 64)
    daemon.file("pool", path, fallocate=True)
    daemon.call("bdev_lvol_create_lvstore", bdev_name="pool", lvs_name="lvs0", cluster_sz=MIB // 16,
                num_md_pages_per_cluster_ratio=2)
    spares = [volume(daemon, f"spare{nth}", 1, thin=False) for nth in range(3)]
    root = daemon.put_file("blk", "root", lab.image())
    waits = daemon.put("blk", volume(daemon, "waits", 2048), controller="waits")
    fails = daemon.put("scsi", volume(daemon, "fails", 2048), controller="fails")
    guest = lab.boot("10.0", root, waits, fails)
    device = guest.device(fails)
    guest.run("dd if=/dev/urandom of=/run/data bs=1M count=1")
    output = guest.run(spread(device))
    assert "No space left on device" in output
    [store] = daemon.call("bdev_lvol_get_lvstores")
    assert store["md_full"] and store["full"] and store["free_clusters"] > 900
    assert told(daemon)[0] == "lvstore_space_low" and told(daemon)[-1] == "lvstore_space_full"
    assert "soft threshold" in guest.run("dmesg")
    # In parts that have their metadata it goes on.
    part = output.count("written") - 1
    assert part > 3
    guest.run(f"dd if=/run/data of={device} bs=64k count=16 seek={part * 512} oflag=direct\n"
              f"dd if={device} bs=64k count=16 skip={part * 512} iflag=direct | cmp - /run/data")

    job = guest.start(write(guest.device(waits), 1))
    wait_until(lambda: waiting(daemon, "waits") > 0, 20, "the guest's write waits")
    assert guest.run("echo other disks go on; sync") and job.running()
    daemon.call("bdev_lvol_delete", name=spares[0])
    job.wait()
    guest.run(f"dd if={guest.device(waits)} bs=1M count=1 iflag=direct | cmp - /run/data")
    daemon.call("bdev_lvol_delete", name=spares[1])
    guest.run(write(device, 1, at=32 * (part + 1)))
    assert guest.run(TROUBLE + f" | grep -v {device.split('/')[-1]} || true") == ""
    guest.poweroff()
