# SPDX-License-Identifier: BSD-2-Clause
"""The page and the metrics over HTTP: what they say, and clients that mean no good."""

import http.client
import json
import re
import shutil
import socket
import subprocess

import pytest

from .executable import binary
from .patience import FACTOR, wait_until
from .test_command_line import shell  # noqa: F401 (a fixture)

MIB = 1 << 20
NAME = 'a<b title="x">\\&'


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def served(lab):
    port = free_port()
    daemon = lab.daemon("--http", str(port))
    daemon.http_port = port
    return daemon


def get(daemon, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", daemon.http_port, timeout=10 * FACTOR)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def raw(daemon, sent):
    """What comes until the other end closes."""
    with socket.create_connection(("127.0.0.1", daemon.http_port), timeout=10 * FACTOR) as client:
        try:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: client.recv(65536), b""))
        except OSError:
            return b""


def furnish(daemon):
    daemon.call("bdev_malloc_create", name="base", num_blocks=64 << 11, block_size=4096)
    daemon.call("bdev_lvol_create_lvstore", bdev_name="base", lvs_name="pool")
    daemon.call("bdev_lvol_create", lvs_name="pool", lvol_name="vm1", size_in_mib=16,
                thin_provision=True)
    daemon.call("bdev_lvol_snapshot", lvol_name="pool/vm1", snapshot_name="before")
    daemon.call("bdev_malloc_create", name=NAME, num_blocks=8192, block_size=512)
    daemon.call("vhost_create_scsi_controller", ctrlr="machine")
    daemon.call("vhost_scsi_controller_add_target", ctrlr="machine", scsi_target_num=0,
                bdev_name="pool/vm1")


def test_metrics_are_in_the_form_of_prometheus_and_count(served):
    furnish(served)
    served.call("bdev_malloc_create", name="to", num_blocks=8192, block_size=512)
    served.call("bdev_copy", source=NAME, target="to", ranges=[[0, 4 * MIB]])
    status, text = get(served, "/metrics")
    assert status == 200
    for line in text.splitlines():
        assert line.startswith("#") or re.fullmatch(
            r'sluice_[a-z_]+(\{[a-z]+="([^"\\\n]|\\.)*"\})? [0-9.e+-]+', line), line
    assert f'sluice_disk_written_bytes_total{{disk="to"}} {4 * MIB}\n' in text
    assert r'sluice_disk_read_bytes_total{disk="a<b title=\"x\">\\&"}' in text
    assert 'sluice_controller_connected{controller="machine"} 0\n' in text
    assert "sluice_requests_stuck 0\n" in text
    assert 'sluice_store_free_clusters{store="pool"}' in text


def test_clients_that_mean_no_good_get_nothing_and_change_nothing(served):
    assert get(served, "/nowhere")[0] == 404
    assert get(served, "/../../etc/passwd")[0] == 404
    assert get(served, "/data", "POST")[0] == get(served, "/data", "DELETE")[0] == 405
    assert get(served, "/data", Host="evil.example")[0] == 403
    assert get(served, "/metrics", "HEAD") == (200, "")
    assert b"200 OK" not in raw(served, b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n")
    assert b"200 OK" not in raw(served, b"GET /data HTTP/1.1\r\n" + b"X: y\r\n" * 20000)
    for junk in b"\0" * 4096, b"\xff\xfe\r\n\r\n", b"GET\r\n\r\n", bytes(range(256)) * 64:
        assert b"200 OK" not in raw(served, junk)
    idle = [socket.create_connection(("127.0.0.1", served.http_port)) for _ in range(40)]
    served.call("bdev_get_bdevs")
    for client in idle:
        client.close()

    def serves_again():
        try:
            return json.loads(get(served, "/data")[1])["bdev_get_bdevs"] == []
        except (OSError, http.client.HTTPException):
            return False  # it has not noticed that they have gone

    wait_until(serves_again, 10, "others are served again")


def test_without_the_option_or_with_nonsense_nothing_is_served(shell):  # noqa: F811
    for where in "x", "localhost:80", "1.2.3.4.5:80", "", "127.0.0.1:", ":99999", "-1", \
            "0", "127.0.0.1:0", "65536", "70000", "[::1]:65536":
        done = subprocess.run([binary(), "serve", "--no-state", "--no-rpc-server", "--http",
                               where], env=shell.environment, capture_output=True, text=True,
                              timeout=30 * FACTOR, check=False)
        assert done.returncode == 1 and "HTTP" in done.stderr, (where, done.stderr)


def test_the_page_shows_machines_disks_and_volumes_in_a_browser(served):
    browser = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if not browser:
        pytest.skip("there is no chromium: tools/deps test installs it")
    furnish(served)
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu",
         f"--user-data-dir={served.place}/b",
         "--virtual-time-budget=3000", "--dump-dom",
         f"http://127.0.0.1:{served.http_port}/"],
        capture_output=True, text=True, timeout=60 * FACTOR, check=True)
    page = re.sub(r"<script>.*</script>", "", done.stdout, flags=re.DOTALL)
    assert ">live<" in page
    assert "None; 0 in flight." in page
    assert "<td class=\" \">machine</td>" in page and "0:0 pool/vm1" in page
    assert "└ before" in page and "└ vm1" in page
    assert page.count("<polyline") == 6
    assert "a&lt;b title=" in page and "<b title" not in page
