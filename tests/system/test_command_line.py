# SPDX-License-Identifier: BSD-2-Clause
"""`sluice disk` and `sluice rpc` as a user types them."""

import fcntl
import json
import os
import pty
import select
import socket as sockets
import subprocess
import threading

import pytest

from .executable import binary
from .patience import wait_until


class Shell:
    """Runs commands against one daemon, whose socket is in the environment."""

    def __init__(self, lab, *arguments):
        self.daemon = lab.daemon(*arguments)
        self.place = lab.place
        self.environment = {**os.environ, "SLUICE_RPC_SOCKET": str(self.daemon.rpc_socket)}

    def run(self, *arguments):
        return subprocess.run([binary(), *arguments], capture_output=True, text=True, check=False,
                              timeout=20, env=self.environment, cwd=self.place)

    def good(self, *arguments):
        done = self.run(*arguments)
        assert done.returncode == 0 and not done.stderr, done
        return done.stdout

    def bad(self, code, *arguments):
        """One sentence on stderr, nothing on stdout."""
        done = self.run(*arguments)
        assert done.returncode == code and not done.stdout, done
        assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("sluice"), done
        return done.stderr

    def state(self):
        """Everything the daemon has, to see that a command that failed has left nothing."""
        return (self.daemon.call("bdev_get_bdevs"), self.daemon.call("vhost_get_controllers"),
                sorted(p.name for p in self.place.glob("*.img")))


@pytest.fixture
def shell(lab):
    return Shell(lab)


def test_a_disk_is_made_attached_listed_and_detached(shell):
    told = shell.good("disk", "attach", "--size", "64M", "vm1.img")
    socket = shell.daemon.vhost_dir / "vm1.scsi"
    assert "vm1 is target 0 of the SCSI controller vm1.scsi." in told
    assert f"path={socket}" in told and "vhost-user-scsi-pci" in told and "share=on" in told
    assert socket.is_socket()
    image = shell.place / "vm1.img"
    assert image.stat().st_size == 64 << 20 and image.stat().st_blocks == 0
    assert json.loads(shell.good("disk", "list", "--json")) == [{
        "name": "vm1", "size_bytes": 64 << 20, "kind": "AIO disk", "file": str(image),
        "readonly": False,
        "attached": [{"bus": "scsi", "controller": "vm1.scsi", "socket": str(socket),
                      "connected": False, "target": 0, "lun": 0, "readonly": False}]}]
    assert shell.good("disk", "list") == \
        f"vm1\t64M\tAIO disk\trw\tscsi\tvm1.scsi:0\tnone\t{socket}\n"
    shell.good("disk", "detach", "vm1")
    assert shell.state() == ([], [], ["vm1.img"])


def test_a_file_of_any_name_goes_on_a_blk_controller(shell):
    told = json.loads(shell.good("disk", "attach", "--bus", "blk", "--json", "--size", "1M",
                                 "a b,c.img"))
    socket = f"{shell.daemon.vhost_dir}/a_b_c.blk"
    assert told["bus"] == "blk" and told["controller"] == "a_b_c.blk" and told["socket"] == socket
    assert told["qemu"][-1].startswith("vhost-user-blk-pci,")
    assert told["qemu"][-3] == f"socket,id=char-a_b_c.blk,path={socket},reconnect=1"
    shell.good("disk", "detach", "a b,c.img")
    assert shell.state() == ([], [], ["a b,c.img"])


def test_disks_share_a_controller_and_the_last_one_takes_it_away(shell):
    for number in range(3):
        told = json.loads(shell.good("disk", "attach", "--controller", "vm", "--size", "1M",
                                     "--json", f"d{number}.img"))
        assert told["target"] == number
    told = json.loads(shell.good("disk", "attach", "--controller", "vm", "--target", "200",
                                 "--shared", "--json", "d0.img"))
    assert told["target"] == 200 and told["disk"] == "d0"
    for number in range(3):
        assert shell.daemon.call("vhost_get_controllers")
        shell.good("disk", "detach", f"d{number}")
    assert shell.daemon.call("vhost_get_controllers") == []


def test_disks_share_a_target_and_are_detached_one_by_one(shell):
    for number, lun in enumerate((0, 1, 300)):
        told = json.loads(shell.good("disk", "attach", "--controller", "vm", "--target", "2",
                                     "--lun", str(lun), "--size", "1M", "--json",
                                     f"d{number}.img"))
        assert told["target"] == 2 and told["lun"] == lun
    assert "in use" in shell.bad(1, "disk", "attach", "--controller", "vm", "--target", "2",
                                 "--shared", "d0")
    told = shell.good("disk", "attach", "--controller", "vm", "--target", "3", "--lun", "1",
                      "--shared", "d1")
    assert "d1 is LUN 1 of target 3 of the SCSI controller vm." in told
    places = [row.split("\t")[5] for row in shell.good("disk", "list").splitlines()]
    assert places == ["vm:2", "vm:2:1", "vm:3:1", "vm:2:300"]
    assert "d0 is not there" in shell.bad(1, "disk", "detach", "--target", "3", "d0")
    shell.good("disk", "detach", "d0")
    shell.good("disk", "detach", "--controller", "vm", "--target", "2", "--lun", "1", "d1")
    [controller] = shell.daemon.call("vhost_get_controllers")
    assert [(t["scsi_dev_num"], t["luns"]) for t in controller["backend_specific"]["scsi"]] == [
        (2, [{"id": 300, "bdev_name": "d2"}]), (3, [{"id": 1, "bdev_name": "d1"}])]
    shell.good("disk", "detach", "d1")
    shell.good("disk", "detach", "d2")
    assert shell.state() == ([], [], ["d0.img", "d1.img", "d2.img"])


def test_a_disk_goes_on_a_second_controller_only_when_it_is_to_be_shared(shell):
    shell.good("disk", "attach", "--size", "1M", "vm1.img")
    before = shell.state()
    text = shell.bad(1, "disk", "attach", "--bus", "blk", "vm1.img")
    assert "vm1 is on controller vm1.scsi already" in text and "--shared" in text
    assert shell.state() == before
    shell.good("disk", "attach", "--bus", "blk", "--shared", "vm1.img")
    assert len(json.loads(shell.good("disk", "list", "--json"))[0]["attached"]) == 2


def test_a_new_file_is_not_taken_for_a_removed_one_of_its_name(shell):
    shell.good("disk", "attach", "--size", "1M", "vm1.img")
    (shell.place / "vm1.img").unlink()
    text = shell.bad(1, "disk", "attach", "--controller", "other", "--size", "2M", "vm1.img")
    assert "has been removed is still open as disk vm1" in text
    assert not (shell.place / "vm1.img").exists()


def test_the_same_command_attaches_the_same_file_after_a_restart(shell):
    shell.good("disk", "attach", "--size", "1M", "vm1.img")
    shell.good("disk", "detach", "vm1.img")
    shell.good("disk", "attach", "--size", "1M", "vm1.img")
    assert "has another size" in shell.bad(1, "disk", "attach", "--size", "2M", "vm1.img")


def test_a_killed_daemon_leaves_no_sockets_for_long(shell):
    directory = shell.daemon.vhost_dir
    for name in ("a.img", "b.img"):
        shell.good("disk", "attach", "--size", "1M", name)
    with sockets.socket(sockets.AF_UNIX) as other:  # of a program that is no more
        other.bind(str(directory / "other"))
    shell.daemon.kill()
    assert (directory / "a.scsi").is_socket() and (directory / "b.scsi").is_socket()
    shell.daemon.start()
    assert [p.name for p in directory.glob("[!.]*")] == ["other"]
    (directory / "other").unlink()
    shell.good("disk", "attach", "a.img")


def test_output_that_cannot_be_written_is_a_failure(shell):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([binary(), "disk", "list", "--json"], stdout=full, text=True,
                              stderr=subprocess.PIPE, check=False, timeout=20,
                              env=shell.environment)
    assert done.returncode == 1 and "could not be written" in done.stderr


def test_a_word_that_means_a_disk_and_a_file_is_not_guessed_at(shell):
    shell.good("rpc", "bdev_null_create", '{"name":"data","num_blocks":8,"block_size":512}')
    (shell.place / "data").write_bytes(bytes(4096))
    before = shell.state()
    text = shell.bad(1, "disk", "attach", "data")
    uuid = shell.daemon.call("bdev_get_bdevs")[0]["uuid"]
    assert "./data" in text and uuid in text
    assert shell.state() == before
    assert json.loads(shell.good("disk", "attach", "--json", "./data"))["disk"] == "data-2"
    assert json.loads(shell.good("disk", "attach", "--json", uuid))["disk"] == "data"
    assert "./data" in shell.bad(1, "disk", "detach", "data")
    shell.good("disk", "detach", "./data")
    shell.good("disk", "detach", "data")  # the file is no disk any more
    assert shell.daemon.call("vhost_get_controllers") == []


def test_a_link_to_an_attached_file_is_that_disk(shell):
    shell.good("disk", "attach", "--size", "1M", "vm1.img")
    (shell.place / "soft.img").symlink_to("vm1.img")
    os.link(shell.place / "vm1.img", shell.place / "hard.img")
    for link in ("soft.img", "hard.img"):
        assert "vm1 is on controller vm1.scsi already" in shell.bad(1, "disk", "attach", link)
    shell.good("disk", "detach", "hard.img")
    assert shell.daemon.call("bdev_get_bdevs") == []


def test_a_disk_is_detached_by_its_file_after_the_file_is_gone(shell):
    shell.good("disk", "attach", "--size", "1M", "vm1.img")
    (shell.place / "vm1.img").unlink()
    shell.good("disk", "detach", "vm1.img")
    assert shell.daemon.call("bdev_get_bdevs") == []


def test_printed_arguments_are_what_a_shell_makes_of_them(shell):
    name = "it's, \"5$\" & `a` \\ b"
    told = json.loads(shell.good("disk", "attach", "--json", "--size", "1M", "--controller", name,
                                 "x.img"))
    shell.good("disk", "detach", "x")
    text = shell.good("disk", "attach", "--controller", name, "x.img")
    command = text[text.index("  -object"):text.index("\n\nFrom QEMU")]
    done = subprocess.run(["sh", "-c", "printf '%s\\n' " + command], capture_output=True, text=True,
                          check=True)
    assert done.stdout.splitlines() == told["qemu"]
    assert f"path={told['socket']}".replace(",", ",,") in told["qemu"][5]


@pytest.fixture
def machine(shell):
    """Connects as a machine does that has started."""
    connections = []

    def connect(controller):
        connections.append(sockets.socket(sockets.AF_UNIX))
        connections[-1].connect(str(shell.daemon.vhost_dir / controller))
        wait_until(lambda: shell.daemon.call("vhost_get_controllers", name=controller)[0]
                   ["sessions"], 5, "connected")
        return connections[-1]

    yield connect
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("bus", ["scsi", "blk"])
def test_a_disk_of_a_connected_machine_is_taken_away_only_by_force(shell, machine, bus):
    shell.good("disk", "attach", "--bus", bus, "--size", "1M", "vm1.img")
    machine(f"vm1.{bus}")
    before = shell.state()
    text = shell.bad(1, "disk", "detach", "vm1")
    assert f"a machine is connected to vm1.{bus}" in text and "--force" in text
    assert shell.state() == before
    shell.good("disk", "detach", "--force", "vm1")
    assert shell.daemon.call("bdev_get_bdevs") == []


def test_a_controller_that_lost_its_disk_is_listed_used_again_and_deleted(shell, machine):
    shell.good("disk", "attach", "--controller", "vm", "--size", "1M", "a.img")
    connection = machine("vm")
    assert "sluice disk detach vm " in shell.good("disk", "detach", "--force", "a")
    socket = shell.daemon.vhost_dir / "vm"
    assert shell.good("disk", "list") == f"-\t-\t-\t-\tscsi\tvm\tconnected\t{socket}\n"
    told = shell.good("disk", "attach", "--controller", "vm", "a.img")
    assert "sees the disk now" in told and "-chardev" not in told
    assert "is a controller with a disk" in shell.bad(1, "disk", "detach", "vm")
    shell.good("disk", "detach", "--force", "a")
    assert "--force" in shell.bad(1, "disk", "detach", "vm")
    connection.close()
    wait_until(lambda: "connected" not in shell.good("disk", "list"), 5, "gone")
    told = shell.good("disk", "attach", "--controller", "vm", "a.img")
    assert "sees the disk now" not in told and "-chardev" in told
    shell.daemon.call("vhost_scsi_controller_remove_target", ctrlr="vm", scsi_target_num=0)
    shell.good("disk", "detach", "vm")
    assert shell.daemon.call("vhost_get_controllers") == []
    shell.good("disk", "detach", "a")


def test_a_second_machine_on_a_socket_waits_and_the_log_says_so(shell, machine):
    shell.good("disk", "attach", "--size", "1M", "vm1.img")
    first = machine("vm1.scsi")
    assert "waits" not in shell.daemon.log_tail()
    machine("vm1.scsi")
    wait_until(lambda: "vm1.scsi: another front-end waits" in shell.daemon.log_tail(), 5, "told")
    first.close()
    wait_until(lambda: shell.daemon.call("vhost_get_controllers")[0]["sessions"], 5, "served")
    assert shell.daemon.log_tail().count("another front-end waits") == 1


def test_names_that_json_cannot_carry_are_refused(shell):
    before = shell.state()
    for arguments in (["disk", "attach", "--size", "1M", b"caf\xe9.img"],
                      ["disk", "attach", "--size", "1M", "--controller", b"caf\xe9", "x.img"],
                      ["disk", "detach", b"caf\xe9"], ["rpc", b"caf\xe9"]):
        assert "is not UTF-8" in shell.bad(2, *arguments)
    assert shell.state() == before
    odd = shell.place / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    (odd / "x.img").write_bytes(bytes(4096))
    done = subprocess.run([binary(), "disk", "attach", "x.img"], capture_output=True, text=True,
                          check=False, timeout=20, env=shell.environment, cwd=odd)
    assert done.returncode == 1 and "is not UTF-8" in done.stderr
    assert shell.state() == before


def test_commands_at_the_same_time_do_as_if_one_came_after_the_other(shell):
    def all_at_once(*commands):
        started = [subprocess.Popen([binary(), *command], stdout=subprocess.DEVNULL, text=True,
                                    stderr=subprocess.PIPE, env=shell.environment, cwd=shell.place)
                   for command in commands]
        return sorted(process.communicate(timeout=20)[1] for process in started)

    names = [f"d{number}.img" for number in range(4)]
    attach = ["disk", "attach", "--size", "1M"]
    assert not any(all_at_once(*([*attach, "--controller", "vm", name] for name in names)))
    listed = json.loads(shell.good("disk", "list", "--json"))
    assert sorted(disk["attached"][0]["target"] for disk in listed) == list(range(4))
    # Others come to the controller as these go: it never goes with a disk on it. There is room for
    # all of them among the first eight targets.
    assert not any(all_at_once(*(["disk", "detach", name] for name in names),
                               *([*attach, "--controller", "vm", f"e{number}.img"]
                                 for number in range(4))))
    assert len(json.loads(shell.good("disk", "list", "--json"))) == 4
    assert all(disk["attached"] for disk in json.loads(shell.good("disk", "list", "--json")))
    errors = all_at_once(*([*attach, "same.img"] for _ in range(4)))
    assert not errors[0] and all("is on controller same.scsi already" in e for e in errors[1:])


def test_a_command_that_does_not_end_holds_up_others_for_a_while_only(shell):
    with open(f"{shell.daemon.rpc_socket}.lock", "r+", encoding="utf-8") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        text = shell.bad(1, "disk", "attach", "--timeout", "1", "--size", "1M", "x.img")
        assert "another sluice command is at work" in text
        assert shell.good("disk", "list") == ""
    shell.good("disk", "attach", "--size", "1M", "x.img")


def test_files_of_one_name_in_two_places_are_two_disks(shell):
    for directory in ("one", "two"):
        (shell.place / directory).mkdir()
        shell.good("disk", "attach", "--size", "1M", f"{directory}/x.img")
    assert [b["name"] for b in shell.daemon.call("bdev_get_bdevs")] == ["x", "x-2"]


@pytest.mark.parametrize("kind, start", [
    ("qcow2", b"QFI\xfb\0\0\0\3"), ("vmdk", b"KDMV\1\0\0\0"), ("vhdx", b"vhdxfile"),
    ("vdi", b"<<< Oracle VM VirtualBox Disk Image >>>".ljust(64, b"\0") + b"\x7f\x10\xda\xbe")])
def test_an_image_that_is_not_raw_is_told_from_a_disk(shell, kind, start):
    (shell.place / "vm.img").write_bytes(start.ljust(4096, b"\0"))
    before = shell.state()
    text = shell.bad(1, "disk", "attach", "vm.img")
    assert f"is a {kind} image" in text and "qemu-img convert -O raw" in text and "--raw" in text
    assert shell.state() == before
    shell.good("disk", "attach", "--raw", "vm.img")  # a guest may have written that


def test_a_link_to_nothing_is_said_to_be_one(shell):
    (shell.place / "x.img").symlink_to("nowhere")
    assert "is a link to" in shell.bad(1, "disk", "attach", "--size", "1M", "x.img")
    assert not (shell.place / "nowhere").exists()


def test_a_device_in_use_on_the_host_is_not_given_to_a_machine(shell):
    with open(shell.place / "back.img", "wb") as file:
        file.truncate(1 << 20)
    loop = subprocess.run(["losetup", "--find", "--show", "back.img"], capture_output=True,
                          text=True, check=False, cwd=shell.place)
    if loop.returncode:
        pytest.skip(f"no loop device here: {loop.stderr.strip()}")
    device = loop.stdout.strip()
    try:
        user = os.open(device, os.O_RDONLY | os.O_EXCL)  # as a mount would
        assert "in use on this host" in shell.bad(1, "disk", "attach", device)
        shell.good("disk", "attach", "--readonly", device)
        shell.good("disk", "detach", device)
        os.close(user)
        shell.good("disk", "attach", device)
        shell.good("disk", "detach", device)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_names_cannot_write_on_the_terminal(shell):
    shell.good("disk", "attach", "--controller", "a\nb\tc\x1b[31m", "--size", "1M", "x.img")
    line, = shell.good("disk", "list").splitlines()
    assert line.split("\t")[5] == "a?b?c?[31m:0"


def test_a_block_device_of_the_daemon_is_attached_by_its_name_and_stays(shell):
    shell.good("rpc", "bdev_null_create", '{"name":"n","num_blocks":2048,"block_size":512}')
    shell.good("disk", "attach", "n")
    shell.good("disk", "attach", "--bus", "blk", "--readonly", "n")
    assert len(shell.daemon.call("vhost_get_controllers")) == 2
    shell.good("disk", "detach", "n")
    assert shell.daemon.call("vhost_get_controllers") == []
    assert [b["name"] for b in shell.daemon.call("bdev_get_bdevs")] == ["n"]


def test_a_block_device_of_any_name_gets_a_controller(shell):
    shell.good("rpc", "bdev_null_create", '{"name":"pool/a b","num_blocks":8,"block_size":512}')
    told = json.loads(shell.good("disk", "attach", "--json", "pool/a b"))
    assert told["disk"] == "pool/a b" and told["controller"] == "pool_a_b.scsi"


def test_readonly_reaches_the_device_and_the_controller(shell):
    shell.good("disk", "attach", "--readonly", "--bus", "blk", "--size", "1M", "r.img")
    bdev, = shell.daemon.call("bdev_get_bdevs")
    controller, = shell.daemon.call("vhost_get_controllers")
    assert bdev["driver_specific"]["aio"]["readonly"] is True
    assert controller["backend_specific"]["block"]["readonly"] is True
    listed, = json.loads(shell.good("disk", "list", "--json"))
    assert listed["readonly"] is True and listed["attached"][0]["readonly"] is True


def test_a_list_tells_which_machine_may_write(shell):
    shell.good("disk", "attach", "--size", "1M", "rw.img")
    shell.good("disk", "attach", "--bus", "blk", "--readonly", "rw.img")
    rows = [line.split("\t") for line in shell.good("disk", "list").splitlines()]
    assert {(row[5], row[3]) for row in rows} == {("rw.blk", "ro"), ("rw.scsi:0", "rw")}


def test_what_becomes_of_a_write_without_space_can_be_chosen(shell):
    shell.good("disk", "attach", "--size", "1M", "s.img")
    shell.good("disk", "attach", "--bus", "blk", "--when-full", "error", "--size", "1M", "b.img")
    shell.good("disk", "attach", "--when-full", "wait", "--size", "1M", "w.img")
    assert {c["ctrlr"]: c["when_full"] for c in shell.daemon.call("vhost_get_controllers")} == {
        "s.scsi": "error", "b.blk": "error", "w.scsi": "wait"}
    shell.good("disk", "attach", "--when-full", "wait", "--controller", "w.scsi", "--size", "1M",
               "x.img")
    assert "--controller" in shell.bad(1, "disk", "attach", "--when-full", "error", "--controller",
                                       "w.scsi", "--size", "1M", "y.img")


def test_a_lun_that_is_removable_or_read_only_is_told_so(shell):
    shell.good("disk", "attach", "--removable", "--size", "1M", "r.img")
    shell.good("disk", "attach", "--removable", "--readonly", "--controller", "b", "r.img")
    luns = [controller["backend_specific"]["scsi"][0]["luns"][0]
            for controller in shell.daemon.call("vhost_get_controllers")]
    assert luns == [{"id": 0, "bdev_name": "r", "readonly": True, "removable": True},
                    {"id": 0, "bdev_name": "r", "removable": True}]
    disk, = json.loads(shell.good("disk", "list", "--json"))
    assert [place["readonly"] for place in disk["attached"]] == [True, False]



@pytest.mark.parametrize("arguments, text", [
    (["none.img"], "--size"),
    (["--size", "2M", "there.img"], "leave out --size"),
    (["--size", "1M", "nowhere/x.img"], "No such file"),
    (["--size", "1M", "--controller", "a/b", "x.img"], "a/b"),
    (["--size", "1M", "--controller", "taken", "x.img"], "--controller"),
    (["--size", "1M", "--controller", "taken", "--bus", "scsi", "x.img"], "--controller"),
    (["--size", "1M", "--controller", "full", "--target", "0", "x.img"], "in use"),
    (["--size", "1M", "--bus", "blk", "--target", "0", "x.img"], "--target"),
    (["--size", "1M", "--lun", "1", "x.img"], "--target"),
    (["--size", "1M", "--bus", "blk", "--removable", "x.img"], "--removable"),
    (["--readonly", "--removable", "there"], "in the same way"),
    (["--size", "1M", "--controller", "full", "--target", "0", "--lun", "0", "x.img"], "in use"),
    (["--size", "1M", "--controller", "y" * 150, "x.img"], "y" * 20),
    (["--size", "1M", "there"], "leave out --size"),
    (["/"], "directory"),
])
def test_an_attach_that_fails_says_why_and_leaves_nothing(shell, arguments, text):
    shell.good("disk", "attach", "--bus", "blk", "--controller", "taken", "--size", "1M",
               "there.img")
    shell.good("disk", "attach", "--controller", "full", "--shared", "there")
    before = shell.state()
    assert text in shell.bad(1, "disk", "attach", *arguments)
    assert shell.state() == before


def test_what_is_wrong_with_parameters_is_said(shell):
    assert "are an object" in shell.bad(2, "rpc", "bdev_get_bdevs", "5")
    assert "comes twice" in shell.bad(2, "rpc", "bdev_get_bdevs", '{"name":"a","name":"b"}')
    assert "are not JSON" in shell.bad(2, "rpc", "bdev_get_bdevs", "{name:a}")


@pytest.mark.parametrize("arguments", [
    ["disk"],
    ["disk", "move"],
    ["disk", "attach"],
    ["disk", "attach", "a", "b"],
    ["disk", "attach", ""],
    ["disk", "attach", "--size", "1M", ""],
    ["disk", "detach", ""],
    ["disk", "attach", "--bus", "ide", "a"],
    ["disk", "attach", "--target", "-1", "a"],
    ["disk", "attach", "--target", "256", "a"],
    ["disk", "attach", "--target", "0", "--lun", "16384", "a"],
    ["disk", "detach", "--target", "x", "a"],
    ["disk", "detach", "--lun", "-1", "a"],
    ["disk", "attach", "--size", "0", "a"],
    ["disk", "attach", "--when-full", "stop", "a"],
    ["disk", "attach", "--size", "1000", "a"],
    ["disk", "attach", "--size", "big", "a"],
    ["disk", "attach", "--zz", "a"],
    ["disk", "detach"],
    ["disk", "detach", "--json", "a"],
    ["disk", "list", "a"],
    ["rpc"],
    ["rpc", "a", "{}", "c"],
    ["rpc", "a", "{x"],
    ["rpc", "a", "5"],
    ["rpc", "a", "[5]"],
    ["rpc", "a", "null"],
    ["rpc", "a", '{"x":1,"x":2}'],
    ["rpc", "--timeout", "0", "a"],
    ["rpc", "--timeout", "soon", "a"],
    ["disk", "list", "--timeout", "1s"],
    ["paint"],
])
def test_wrong_usage_is_one_sentence_and_exit_code_2(shell, arguments):
    shell.bad(2, *arguments)


@pytest.mark.parametrize("arguments", [[], ["disk"], ["disk", "attach"], ["disk", "detach"],
                                       ["disk", "list"], ["rpc"], ["serve"], ["top"]])
def test_every_command_explains_itself(shell, arguments):
    assert shell.good(*arguments, "--help").startswith("usage: sluice")


def test_without_a_daemon_the_way_to_one_is_told(shell):
    for arguments in (["disk", "list"], ["disk", "detach", "x"], ["rpc", "x"],
                      ["disk", "attach", "x"]):
        command = [*arguments[:2], "--rpc-socket", "/nowhere/rpc", *arguments[2:]]
        if arguments[0] == "rpc":
            command = ["rpc", "--rpc-socket", "/nowhere/rpc", "x"]
        assert "sluice serve" in shell.bad(1, *command)


@pytest.fixture
def stranger(lab):
    """What listens at the returned path takes connections and says what it is given to say."""
    listener = sockets.socket(sockets.AF_UNIX)
    listener.bind(str(lab.place / "stranger"))
    listener.listen(1)

    def serve(words):
        with listener.accept()[0] as connection:
            connection.sendall(words)
            while connection.recv(4096):
                pass

    def start(words):
        thread = threading.Thread(target=serve, args=(words,), daemon=True)
        thread.start()
        return lab.place / "stranger"

    yield start
    listener.close()


@pytest.mark.parametrize("command", [["rpc", "bdev_get_bdevs"], ["disk", "list"],
                                     ["disk", "attach", "x"], ["disk", "detach", "x"]])
def test_a_peer_that_says_nothing_is_given_up(shell, stranger, command):
    path = stranger(b"")
    text = shell.bad(1, *command, "--rpc-socket", str(path), "--timeout", "1")
    assert f"{path} does not answer within 1 s" in text and "--timeout" in text


def test_a_peer_that_is_no_daemon_is_told_from_one(shell, stranger):
    path = stranger(b"220 mail.example.org ESMTP\r\n")
    assert "is no Sluice daemon" in shell.bad(1, "disk", "list", "-r", str(path))


def test_a_daemon_with_all_its_clients_is_waited_for_with_a_limit(shell):
    clients = []
    for _ in range(64):
        clients.append(sockets.socket(sockets.AF_UNIX))
        clients[-1].connect(str(shell.daemon.rpc_socket))
    text = shell.bad(1, "disk", "list", "--timeout", "1")
    assert "maximum of clients" in text
    done = subprocess.Popen([binary(), "disk", "list", "--json"], stdout=subprocess.PIPE,
                            text=True, env=shell.environment)
    with pytest.raises(subprocess.TimeoutExpired):
        done.wait(0.5)
    for client in clients:
        client.close()
    assert json.loads(done.communicate(timeout=20)[0]) == []


def test_a_connection_that_is_never_accepted_is_given_up(shell, lab):
    path = lab.place / "full"
    with sockets.socket(sockets.AF_UNIX) as listener, sockets.socket(sockets.AF_UNIX) as first:
        listener.bind(str(path))
        listener.listen(0)
        first.connect(str(path))
        assert "does not answer within 1 s" in shell.bad(1, "disk", "list", "-r", str(path),
                                                         "-t", "1")


def test_an_operation_may_take_long_unless_a_limit_is_given(shell):
    wait = '{"name":"none","timeout":2500}'
    text = shell.bad(1, "rpc", "-t", "1", "bdev_get_bdevs", wait)
    assert "no answer within 1 s" in text and "may still be done" in text
    assert "(code -110)" in shell.bad(1, "rpc", "bdev_get_bdevs", wait)


def test_a_relative_name_of_a_file_is_the_daemons_to_resolve(shell):
    text = shell.bad(1, "rpc", "bdev_aio_create", '{"name":"x","filename":"no/x.img"}')
    assert "where the daemon was started" in text and "absolute" in text


def test_a_file_that_the_daemon_may_not_write_is_not_silently_read_only(lab):
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    place = lab.place / "users"
    place.mkdir()
    lab.place.chmod(0o755)
    image = lab.empty("vm1", 1)
    os.chown(place, 65534, 65534)
    image.chmod(0o644)
    environment = {**os.environ, "SLUICE_RPC_SOCKET": str(place / "rpc")}
    user = {"user": 65534, "group": 65534, "extra_groups": []}
    daemon = subprocess.Popen([binary(), "serve", "-r", str(place / "rpc"), "-S", str(place),
                               "--state-dir", str(place / "state")], stderr=subprocess.DEVNULL,
                              **user)

    def attach(*arguments):
        return subprocess.run([binary(), "disk", "attach", *arguments, str(image)], check=False,
                              capture_output=True, text=True, timeout=20, env=environment)

    try:
        done = attach()
        assert done.returncode == 1 and "--readonly" in done.stderr, done
        assert attach("--readonly").returncode == 0  # and nothing was left of the first
    finally:
        daemon.terminate()
        assert daemon.wait(10) == 0


def test_rpc_says_what_a_method_takes(shell):
    rows = [line.split("\t") for line in
            shell.good("rpc", "vhost_create_blk_controller", "--help").splitlines()]
    assert ["ctrlr", "string", "required"] in rows
    assert ["transport", "string", '"vhost_user_blk"'] in rows
    assert "takes no parameters" in shell.good("rpc", "--help", "spdk_get_version")
    assert "there is no method zz" in shell.bad(1, "rpc", "zz", "--help")


def test_rpc_prints_results_and_explains_errors(shell):
    assert json.loads(shell.good("rpc", "bdev_get_bdevs")) == []
    assert "zz" in shell.bad(1, "rpc", "bdev_null_delete", '{"name":"zz"}')
    assert "(code -19)" in shell.bad(1, "rpc", "bdev_null_delete", '{"name":"zz"}')
    assert "no parameter x" in shell.bad(1, "rpc", "bdev_get_bdevs", '{"x":1}')
    assert "rpc_get_methods" in shell.bad(1, "rpc", "bdev_nul_create")
    assert "one of SIGINT, SIGTERM" in shell.bad(1, "rpc", "spdk_kill_instance", '{"sig_name":"X"}')
    assert "num_blocks is missing" in shell.bad(
        1, "rpc", "bdev_null_create", '{"name":"n","block_size":512}')


def test_a_list_on_a_terminal_is_a_table(shell):
    shell.good("disk", "attach", "--size", "1M", "a-long-name.img")
    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb") as terminal:
        subprocess.run([binary(), "disk", "list"], stdout=follower, stderr=follower, check=True,
                       timeout=20, env=shell.environment)
        os.close(follower)
        lines = []
        try:
            for line in terminal:
                lines.append(line.decode().rstrip("\r\n"))
        except OSError:  # how a terminal says that it is closed
            pass
    assert lines[0].split() == ["DISK", "SIZE", "KIND", "ACCESS", "BUS", "CONTROLLER", "MACHINE",
                                "SOCKET"]
    assert lines[0].index("SIZE") == lines[1].index("1M")
    assert lines[0].index("SOCKET") == lines[1].index("/")


def test_a_new_scsi_controller_has_its_target_before_its_socket(shell):
    """A machine that connects again (reconnect) repeats its requests as soon as it can connect."""
    socket = shell.daemon.vhost_dir / "vm1.scsi"
    front = shell.place / "front.sock"
    early = []

    def watch(chunk):
        if b"vhost_scsi_controller_add_target" in chunk:
            early.append(socket.exists())

    with sockets.socket(sockets.AF_UNIX) as listener:
        listener.bind(str(front))
        listener.listen()
        thread = threading.Thread(target=relay_one, args=(listener, shell.daemon, watch))
        thread.start()
        shell.good("disk", "attach", "-r", str(front), "--size", "1M", "vm1.img")
        thread.join(20)
    assert early == [False] and socket.is_socket()


def relay_one(listener, daemon, watch):
    """Carry what one client and the daemon say to each other."""
    with listener.accept()[0] as client, sockets.socket(sockets.AF_UNIX) as server:
        server.connect(str(daemon.rpc_socket))
        while True:
            for source in select.select([client, server], [], [])[0]:
                chunk = source.recv(1 << 16)
                if not chunk:
                    return
                if source is client:
                    watch(chunk)
                (server if source is client else client).sendall(chunk)


class Drives:
    """What /sys shows of PCI, made up: seen by commands run in a mount namespace of their own."""

    def __init__(self, shell):
        self.shell = shell
        self.root = shell.place / "sys"
        (self.root / "bus/pci/devices").mkdir(parents=True)
        (self.root / "bus/pci/drivers").mkdir()
        (self.root / "bus/pci/drivers_probe").touch()

    def add(self, address, kind="0x010802", group=None, driver=None, model=None):
        function = self.root / "bus/pci/devices" / address
        function.mkdir()
        (function / "class").write_text(kind + "\n")
        (function / "driver_override").write_text("(null)\n")
        if group:
            (function / "iommu_group").symlink_to(f"../../kernel/iommu_groups/{group}")
        if driver:
            folder = self.root / "bus/pci/drivers" / driver
            folder.mkdir(exist_ok=True)
            (folder / "unbind").touch()
            (function / "driver").symlink_to(folder)
        if model:
            (function / "nvme/nvme0/nvme0n1").mkdir(parents=True)
            (function / "nvme/nvme0/model").write_text(f"{model}           \n")
            (function / "nvme/nvme0/serial").write_text("S1\n")
        return function

    def run(self, *arguments):
        return subprocess.run(
            ["unshare", "--map-root-user", "--mount", "sh", "-c",
             f'mount --bind "{self.root}" /sys && exec "$@"', "sh", binary(), "nvme", *arguments],
            capture_output=True, text=True, check=False, timeout=20, env=self.shell.environment)

    def refuses(self, *arguments):
        done = self.run(*arguments)
        assert done.returncode == 1 and not done.stdout, done
        assert len(done.stderr.splitlines()) == 1, done
        return done.stderr


def test_drives_are_listed_with_or_without_a_daemon(shell):
    drives = Drives(shell)
    drives.add("0000:00:00.0", kind="0x060000", group=1)
    drives.add("0000:02:00.0", group=3, driver="vfio-pci")
    drives.add("0000:01:00.0", group=2, driver="nvme", model="A Drive")
    rows = [["0000:01:00.0", "A Drive", "S1", "nvme", "-", "-", "-", "-", "-"],
            ["0000:02:00.0", "-", "-", "vfio-pci", "-", "-", "-", "-", "-"]]
    assert [row.split("\t") for row in drives.run("list").stdout.splitlines()] == rows
    shell.daemon.stop()
    assert [row.split("\t") for row in drives.run("list").stdout.splitlines()] == rows
    told = json.loads(drives.run("list", "--json").stdout)
    assert told[0]["model"] == "A Drive" and told[0]["iommu_group"] == "2"


def test_a_drive_that_cannot_be_bound_says_what_to_do(shell):
    drives = Drives(shell)
    drives.add("0000:00:00.0", kind="0x060000", group=1)
    drives.add("0000:01:00.0", driver="nvme")
    function = drives.add("0000:02:00.0", group=2, driver="nvme")
    assert "no PCI address" in drives.refuses("bind", "nvme0n1")
    assert "sluice nvme list" in drives.refuses("bind", "0000:ff:1f.7")
    assert "no NVMe drive" in drives.refuses("bind", "0:0.0")
    assert "IOMMU" in drives.refuses("bind", "01:00.0")
    assert "modprobe vfio-pci" in drives.refuses("bind", "02:00.0")
    assert (function / "driver_override").read_text() == "(null)\n"
    (drives.root / "bus/pci/drivers/vfio-pci").mkdir()
    assert "does not take" in drives.refuses("bind", "02:00.0")
    assert (function / "driver_override").read_text()[0] == "\n"
    assert "has the kernel's driver nvme" in drives.run("unbind", "02:00.0").stdout
    assert "list, bind" in shell.bad(2, "nvme", "bind")


def test_a_configuration_that_is_not_there_or_not_whole_is_named(shell):
    told = shell.bad(1, "config", "load", "nofile")
    assert "nofile: No such file" in told and "line" not in told
    (shell.place / "half").write_text('{"subsystems":\n', encoding="ascii")
    told = shell.bad(1, "config", "load", "half")
    assert "cannot read half" in told and "line 2" in told
    told = shell.bad(1, "config", "forget", "vm1")
    assert "vm1" in told and "'sluice config missing'" in told


def test_a_histogram_that_is_off_is_told_apart_from_a_lack_of_memory(shell):
    shell.daemon.call("bdev_null_create", name="n", num_blocks=8, block_size=512)
    assert "bdev_enable_histogram" in shell.bad(1, "rpc", "bdev_get_histogram", '{"name":"n"}')


def test_an_empty_name_is_called_that(shell):
    assert "socket is empty" in shell.bad(1, "disk", "list", "-r", "")
    assert "store is empty" in shell.bad(1, "volume", "create", "--size", "1M", "/x")
