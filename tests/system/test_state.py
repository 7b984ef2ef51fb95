# SPDX-License-Identifier: BSD-2-Clause
"""What is configured is there again after a restart: docs/configuration.md."""

import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest

from .executable import binary
from .patience import wait_until
from .process import spawn
from .rpc import Rpc, RpcError

SUBSYSTEMS = ("iobuf", "accel", "bdev", "vhost_blk", "scsi", "vhost_scsi")


def config(daemon):
    return {name: daemon.call("framework_get_config", name=name) for name in SUBSYSTEMS}


def log(daemon):
    return daemon.log.read_text(errors="replace")


def restart(daemon, number=signal.SIGKILL):
    daemon.rpc.close()
    daemon.process.send_signal(number)
    daemon.process.wait(20)
    daemon.start()


def furnish(lab, daemon):
    """Some of everything."""
    daemon.file("disk", lab.empty("disk", 4))
    daemon.file("pool", lab.empty("pool", 64), block_size=4096)
    daemon.call("bdev_malloc_create", num_blocks=8192, block_size=512)
    daemon.call("bdev_null_create", name="null", num_blocks=8192, block_size=512)
    daemon.call("bdev_lvol_create_lvstore", bdev_name="pool", lvs_name="store")
    volume = daemon.call("bdev_lvol_create", lvs_name="store", lvol_name="volume", size_in_mib=16,
                         thin_provision=True)
    daemon.put("blk", "disk", readonly=True)
    daemon.put("blk", "store/volume", controller="vm1")
    daemon.call("vhost_controller_set_coalescing", ctrlr="vm1", delay_base_us=20,
                iops_threshold=1000)
    daemon.put("scsi", "Malloc0", controller="vm2", target=2)
    daemon.put("scsi", "null", controller="vm2", target=2, lun=5)
    daemon.call("vhost_create_scsi_controller", ctrlr="later", delay=True)
    return volume


def test_what_is_set_up_is_there_again(lab):
    daemon = lab.daemon(state=True)
    volume = furnish(lab, daemon)
    before = config(daemon)
    controllers = daemon.call("vhost_get_controllers")
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        restart(daemon, number)
        assert config(daemon) == before
        assert daemon.call("vhost_get_controllers") == controllers
        assert daemon.call("bdev_get_bdevs", name="store/volume")[0]["name"] == volume
        assert daemon.call("config_get_missing") == []
    daemon.call("vhost_delete_controller", ctrlr="vm2")
    daemon.call("bdev_null_delete", name="null")
    before = config(daemon)
    restart(daemon)
    assert config(daemon) == before


class Script(threading.Thread):
    """Creates and deletes at random until the daemon goes; knows what was answered."""

    def __init__(self, daemon, names, seed):
        super().__init__()
        self.rpc = Rpc(daemon.rpc_socket)
        self.random = random.Random(seed)
        self.names = names
        self.answered = {}      # name: is it there
        self.asked = None       # name and what was wanted, not answered yet
        self.answers = 0

    def run(self):
        try:
            while True:
                name = self.random.choice(self.names)
                wanted = not self.answered.get(name, False)
                self.asked = (name, wanted)
                if wanted:
                    self.rpc.call("bdev_null_create", name=name, num_blocks=8, block_size=512)
                else:
                    self.rpc.call("bdev_null_delete", name=name)
                self.answered[name] = wanted
                self.asked = None
                self.answers += 1
        except OSError:
            self.rpc.close()


def test_what_was_answered_survives_a_kill_at_any_moment(lab):
    daemon = lab.daemon(state=True)
    chance = random.Random(7)
    answered, answers = {}, 0
    for _ in range(8):
        scripts = [Script(daemon, [f"{who}{i}" for i in range(6)], chance.random())
                   for who in ("a", "b")]
        for script in scripts:
            script.answered = {n: answered.get(n, False) for n in script.names}
            script.start()
        time.sleep(chance.uniform(0.02, 0.12))
        daemon.process.kill()
        for script in scripts:
            script.join(20)
        restart(daemon)
        there = {bdev["name"] for bdev in daemon.call("bdev_get_bdevs")}
        for script in scripts:
            answers += script.answers
            for name, wanted in script.answered.items():
                if script.asked is None or name != script.asked[0]:
                    assert (name in there) == wanted, (name, wanted)
            answered.update({name: name in there for name in script.names})
    assert answers > 20


def test_what_is_missing_is_told_and_kept(lab, tmp_path):
    daemon = lab.daemon(state=True)
    path, away = lab.empty("disk", 4), tmp_path / "away.img"
    daemon.put_file("blk", "disk", path, controller="vm")
    daemon.call("bdev_null_create", name="null", num_blocks=8, block_size=512)
    before = config(daemon)
    shutil.move(path, away)
    for _ in range(2):
        restart(daemon)
        assert [b["name"] for b in daemon.call("bdev_get_bdevs")] == ["null"]
        missing = daemon.call("config_get_missing")
        assert [m["method"] for m in missing] == ["bdev_aio_create", "vhost_create_blk_controller"]
        assert str(path) in missing[0]["error"]
    assert f"bdev_aio_create disk of the configuration is missing: {missing[0]['error']}" in \
        log(daemon)
    shutil.move(away, path)
    done = subprocess.run([binary(), "config", "retry", "-r", str(daemon.rpc_socket)], timeout=20,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {**config(daemon), "bdev": None} == {**before, "bdev": None}
    restart(daemon)
    assert daemon.call("config_get_missing") == []
    assert len(daemon.call("vhost_get_controllers")) == 1


def test_volumes_on_an_encrypted_device_come_back_with_its_key(lab):
    daemon = lab.daemon(state=True)
    daemon.file("base", lab.empty("base", 64), block_size=4096)
    key = {"cipher": "AES_XTS", "name": "k", "key": 16 * "27", "key2": 16 * "31"}
    daemon.call("accel_crypto_key_create", **key)
    daemon.call("bdev_crypto_create", base_bdev_name="base", name="secret", key_name="k")
    daemon.call("bdev_set_qos_limit", name="secret", rw_mbytes_per_sec=50)
    daemon.call("bdev_lvol_create_lvstore", bdev_name="secret", lvs_name="pool")
    volume = daemon.call("bdev_lvol_create", lvs_name="pool", lvol_name="v", size_in_mib=8)
    daemon.call("vhost_create_blk_controller", ctrlr="vm", dev_name="pool/v")
    restart(daemon)
    assert daemon.call("bdev_lvol_get_lvstores") == []
    told = [entry["method"] for entry in daemon.call("config_get_missing")]
    assert told == ["bdev_crypto_create", "bdev_set_qos_limit", "vhost_create_blk_controller"]
    daemon.call("accel_crypto_key_create", **key)
    daemon.call("config_retry_missing")
    assert daemon.call("config_get_missing") == []
    assert daemon.call("bdev_get_bdevs", name="pool/v")[0]["name"] == volume
    [secret] = daemon.call("bdev_get_bdevs", name="secret")
    assert secret["assigned_rate_limits"]["rw_mbytes_per_sec"] == 50
    assert [one["ctrlr"] for one in daemon.call("vhost_get_controllers")] == ["vm"]


def test_what_is_damaged_is_set_aside(lab):
    daemon = lab.daemon(state=True)
    for name in ("one", "two"):
        daemon.call("bdev_null_create", name=name, num_blocks=8, block_size=512)
    state = daemon.state_dir / "config.json"
    text = state.read_text()
    state.write_text(text.replace('"two"', '"too"'))
    restart(daemon)
    assert [b["name"] for b in daemon.call("bdev_get_bdevs")] == ["one"]
    assert '"too"' in (daemon.state_dir / "config.json.damaged").read_text()
    assert "is damaged (its checksum does not fit)" in log(daemon)


def test_a_full_disk_refuses_changes_and_harms_nothing(lab):
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    place = lab.place / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "sluice-test", place], check=True)
    try:
        daemon = lab.daemon("--state-dir", str(place), state=True)
        daemon.call("bdev_null_create", name="kept", num_blocks=8, block_size=512)
        with open(place / "filler", "wb", buffering=0) as filler:
            with pytest.raises(OSError):
                while True:
                    filler.write(bytes(4096))
        # The space for one change was taken before.
        daemon.call("bdev_null_create", name="last", num_blocks=8, block_size=512)
        with pytest.raises(RpcError) as refused:
            daemon.call("bdev_null_create", name="refused", num_blocks=8, block_size=512)
        assert refused.value.code == -28
        names = {b["name"] for b in daemon.call("bdev_get_bdevs")}
        assert names == {"kept", "last"}
        restart(daemon)
        assert {b["name"] for b in daemon.call("bdev_get_bdevs")} == names
        (place / "filler").unlink()

        def changes():
            try:
                return daemon.call("bdev_null_delete", name="last")
            except RpcError:
                return False
        wait_until(changes, 10, "changes are taken again")
        restart(daemon)
        assert [b["name"] for b in daemon.call("bdev_get_bdevs")] == ["kept"]
        daemon.stop()
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_a_second_daemon_on_the_directory_is_refused(lab):
    daemon = lab.daemon(state=True)
    done = subprocess.run([binary(), "serve", "-r", str(lab.place / "rpc"), "-S", str(lab.place),
                           "--state-dir", str(daemon.state_dir)], capture_output=True, text=True,
                          check=False, timeout=20)
    assert done.returncode == 1
    assert "--state-dir" in done.stderr and str(daemon.process.pid) in done.stderr


def test_a_configuration_file_comes_instead_of_the_state(lab):
    daemon = lab.daemon(state=True)
    furnish(lab, daemon)
    saved = lab.place / "saved.json"
    shell = ["-r", str(daemon.rpc_socket)]
    subprocess.run([binary(), "config", "save", str(saved), *shell], check=True, timeout=20)
    before, kept = config(daemon), (daemon.state_dir / "config.json").read_bytes()
    assert json.loads(saved.read_text()) == {
        "subsystems": [{"subsystem": n, "config": c} for n, c in before.items()]}
    saved.write_text("// comments are allowed\n" + saved.read_text())
    daemon.arguments = ("-c", str(saved))
    restart(daemon, signal.SIGTERM)
    assert config(daemon) == before
    daemon.call("bdev_null_create", name="unkept", num_blocks=8, block_size=512)
    assert (daemon.state_dir / "config.json").read_bytes() == kept
    # An empty daemon is given it by hand.
    saved.write_text(saved.read_text().split("\n", 1)[1])
    daemon.arguments = ("--no-state", "--wait-for-rpc")
    restart(daemon, signal.SIGTERM)
    subprocess.run([binary(), "config", "load", str(saved), *shell], check=True, timeout=20)
    assert config(daemon) == before
    assert (daemon.state_dir / "config.json").read_bytes() == kept


@pytest.mark.parametrize("entry, status", [
    ({"method": "bdev_aio_create", "params": {"name": "a", "filename": "/nowhere"}}, 254),
    ({"method": "bdev_make"}, 234),
])
def test_an_entry_that_fails_ends_the_start(lab, entry, status):
    path = lab.place / "bad.json"
    path.write_text(json.dumps({"subsystems": [{"subsystem": "bdev", "config": [entry]}]}))
    done = subprocess.run([binary(), "serve", "-r", str(lab.place / "rpc"), "-S", str(lab.place),
                           "--state-dir", str(lab.place / "state"), "-c", str(path)],
                          capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == status
    assert entry["method"] in done.stderr


def test_under_the_names_of_spdks_programs_it_has_their_ways(lab):
    place = lab.place / "spdk"
    place.mkdir()
    program = place / "vhost"
    program.symlink_to(binary())
    process = spawn([str(program), "-r", "rpc", "-S", str(place), "-m", "0x1", "-s", "64"],
                    place / "log", cwd=place)
    try:
        def connect():
            try:
                rpc = Rpc(place / "rpc")
                rpc.call("spdk_get_version")
                return rpc
            except OSError:
                return None
        rpc = wait_until(connect, 20, "the daemon listens", pause=0.01)
        rpc.call("bdev_null_create", name="n", num_blocks=8, block_size=512)
        process.kill()
        process.wait(10)
        assert not list(place.glob("**/config.json"))
        process = spawn([str(program), "-r", "rpc"], place / "log", cwd=place)
        rpc = wait_until(connect, 20, "the daemon listens", pause=0.01)
        assert rpc.call("bdev_get_bdevs") == []
        rpc.call("bdev_null_create", name="n", num_blocks=8, block_size=512)
        rpc.call("vhost_create_blk_controller", ctrlr="vm", dev_name="n")
        assert (place / "vm").is_socket()
    finally:
        process.terminate()
        process.wait(10)
