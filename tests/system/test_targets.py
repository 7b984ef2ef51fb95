# SPDX-License-Identifier: BSD-2-Clause
"""SCSI controllers with several targets, and targets with several LUNs, which come and go under a
running guest; disk identities.

Linux asks all 256 targets at its start, so these tests are about absent ones as well.
"""

import time

import pytest

from .checks import MIB, grow
from .guest import fio, fio_result
from .patience import wait_until


def wait_for(guest, disk, there):
    wait_until(lambda: bool(guest.block_device(disk)) == there, 15,
               f"the guest {'finds' if there else 'drops'} LUN {disk.lun} of target {disk.target}",
               pause=0.3)


def serial(guest, disk):
    name = guest.block_device(disk)
    if disk.bus == "blk":
        return guest.run(f"cat /sys/block/{name}/serial")
    # The page's header is four bytes.
    return guest.run(f"tail -c +5 /sys/block/{name}/device/vpd_pg80")


@pytest.mark.parametrize("version", ["7.2", "10.0"])
def test_each_target_of_a_controller_is_a_disk_of_its_own(lab, version):
    daemon = lab.daemon()
    root = daemon.put_file("scsi", "root", lab.image(), controller="vm", target=0)
    sizes = {1: 16, 4: 24, 7: 40}
    daemon.file("aio", lab.empty("aio", sizes[1]))
    daemon.call("bdev_uring_create", name="uring", filename=str(lab.empty("uring", sizes[4])))
    daemon.call("bdev_malloc_create", name="malloc", num_blocks=sizes[7] * 2048, block_size=512)
    disks = [daemon.put("scsi", bdev, controller="vm", target=target)
             for bdev, target in (("aio", 1), ("uring", 4), ("malloc", 7))]
    guest = lab.boot(version, root, *disks, cpus=2)
    assert len(guest.run("ls -d /sys/block/sd*").split()) == 4
    assert [guest.size(d) // MIB for d in disks] == list(sizes.values())
    load = [guest.start(fio(guest.device(d), size_mib=8)) for d in disks]
    for job in load:
        fio_result(job.wait())
    for disk in disks:
        assert "0000000000000000" in guest.run(f"sg_luns {guest.device(disk)}"), "no LUN 0"
        guest.run(f"sg_turs {guest.device(disk)}")
    guest.poweroff()


def test_disks_have_identities_that_differ_and_outlive_the_daemon(lab):
    def identities(daemon, paths):
        disks = [daemon.put_file(bus, path.stem, path, uuid=uuid) for bus, path, uuid in paths]
        guest = lab.boot("10.0", disks[0], *disks[1:])
        found = [serial(guest, disk) for disk in disks]
        names = [guest.run(f"sg_vpd -p di {guest.device(d)}") for d in disks if d.bus == "scsi"]
        guest.poweroff()
        daemon.stop()
        return found, names

    paths = [("blk", lab.image(), "5157ce00-0000-4000-8000-00000000000a"),
             ("blk", lab.empty("more", 8), "5157ce00-0000-4000-8000-00000000000b"),
             ("scsi", lab.empty("one", 8), "5157ce00-0000-4000-8000-00000000000c"),
             ("scsi", lab.empty("two", 8), "5157ce00-0000-4000-8000-00000000000d")]
    serials, names = identities(lab.daemon(), paths)
    assert all(serials) and len(set(serials)) == len(serials), serials
    assert len(set(names)) == len(names), names
    assert identities(lab.daemon(), paths) == (serials, names)


@pytest.mark.parametrize("version", ["7.2", "10.0"])
def test_target_is_plugged_and_unplugged_under_a_running_guest(lab, version):
    daemon = lab.daemon()
    root = daemon.put_file("scsi", "root", lab.image(), controller="vm", target=0)
    guest = lab.boot(version, root)
    for _ in range(2):
        disk = daemon.put_file("scsi", "data", lab.empty("data", 32), controller="vm", target=3)
        wait_for(guest, disk, there=True)
        fio_result(guest.run(fio(guest.device(disk), size_mib=8)))
        daemon.call("vhost_scsi_controller_remove_target", ctrlr="vm", scsi_target_num=3)
        wait_for(guest, disk, there=False)
        daemon.call("bdev_aio_delete", name="data")
    fio_result(guest.run(fio("/fio", size_mib=8)))
    guest.poweroff()


@pytest.mark.parametrize("version", ["7.2", "10.0"])
def test_target_that_goes_under_load_ends_that_load_and_nothing_else(lab, version):
    daemon = lab.daemon()
    root = daemon.put_file("scsi", "root", lab.image(), controller="vm", target=0)
    disk = daemon.put_file("scsi", "data", lab.empty("data", 32), controller="vm", target=2)
    guest = lab.boot(version, root, disk)
    lost = guest.start(fio(guest.device(disk), size_mib=32, time_based=1, runtime=60)
                       + " > /run/lost; test $? -ne 0")
    kept = guest.start(fio("/fio", size_mib=16))
    time.sleep(1.5)
    daemon.call("bdev_aio_delete", name="data")
    wait_for(guest, disk, there=False)
    lost.wait(30)
    fio_result(kept.wait())
    guest.poweroff()


@pytest.mark.parametrize("version", ["7.2", "10.0"])
def test_each_lun_of_each_target_is_a_disk_of_its_own(lab, version):
    daemon = lab.daemon()
    places = {"one": (0, 1), "flat": (0, 300), "alone": (5, 2)}
    root = daemon.put_file("scsi", "root", lab.image(), controller="vm", target=0)
    disks = [daemon.put_file("scsi", name, lab.empty(name, 16 + 8 * number), controller="vm",
                             target=target, lun=lun)
             for number, (name, (target, lun)) in enumerate(places.items())]
    guest = lab.boot(version, root, *disks, cpus=2)
    assert len(guest.run("ls -d /sys/block/sd*").split()) == 4
    assert [guest.size(d) // MIB for d in disks] == [16, 24, 32]
    assert len({serial(guest, disk) for disk in (root, *disks)}) == 4
    load = [guest.start(fio(guest.device(d), size_mib=8)) for d in disks]
    for job in load:
        fio_result(job.wait())
    for disk, luns in ((root, ["0000", "0001", "412c"]), (disks[2], ["0002"])):
        told = guest.run(f"sg_luns {guest.device(disk)}").split()
        assert [word[:4] for word in told if len(word) == 16] == luns, told
    guest.poweroff()


@pytest.mark.parametrize("version", ["7.2", "10.0"])
def test_lun_comes_grows_and_goes_while_its_neighbour_works(lab, version):
    daemon = lab.daemon()
    root = daemon.put_file("scsi", "root", lab.image(), controller="vm", target=0)
    near = daemon.put_file("scsi", "near", lab.empty("near", 32), controller="vm", target=0, lun=2)
    guest = lab.boot(version, root, near)
    load = guest.start(fio(guest.device(near), size_mib=8, time_based=1, runtime=20, verify=None,
                           do_verify=None, verify_fatal=None))
    kept = guest.start(fio("/fio", size_mib=16))
    for lun in (1, 300):
        path = lab.empty("data", 32)
        disk = daemon.put_file("scsi", "data", path, controller="vm", target=0, lun=lun)
        wait_for(guest, disk, there=True)
        fio_result(guest.run(fio(guest.device(disk), size_mib=4)))
        grow(path, 48)
        daemon.call("bdev_aio_rescan", name="data")
        wait_until(lambda: guest.size(disk) == 48 * MIB, 15, "the guest sees the LUN's new size")
        daemon.call("vhost_scsi_controller_remove_target", ctrlr="vm", scsi_target_num=0, lun=lun)
        wait_for(guest, disk, there=False)
        daemon.call("bdev_aio_delete", name="data")
        assert guest.size(near) == 32 * MIB
    fio_result(kept.wait())
    fio_result(load.wait())
    assert "I/O error" not in guest.run("dmesg")
    daemon.call("bdev_aio_delete", name="near")  # under nobody: its LUN goes, the root stays
    wait_for(guest, near, there=False)
    fio_result(guest.run(fio("/fio", size_mib=8)))
    guest.poweroff()


@pytest.mark.parametrize("version", ["7.2", "10.0"])
def test_lun_that_goes_under_load_ends_that_load_and_nothing_else(lab, version):
    daemon = lab.daemon()
    root = daemon.put_file("scsi", "root", lab.image(), controller="vm", target=0)
    kept, lost = (daemon.put_file("scsi", name, lab.empty(name, 32), controller="vm", target=1,
                                  lun=lun) for name, lun in (("kept", 0), ("lost", 1)))
    guest = lab.boot(version, root, kept, lost)
    ends = guest.start(fio(guest.device(lost), size_mib=32, time_based=1, runtime=60)
                       + " > /run/lost; test $? -ne 0")
    goes_on = guest.start(fio(guest.device(kept), size_mib=16))
    time.sleep(1.5)
    daemon.call("vhost_scsi_controller_remove_target", ctrlr="vm", scsi_target_num=1, lun=1)
    wait_for(guest, lost, there=False)
    ends.wait(30)
    fio_result(goes_on.wait())
    daemon.call("vhost_scsi_controller_remove_target", ctrlr="vm", scsi_target_num=1)
    wait_for(guest, kept, there=False)
    guest.poweroff()
