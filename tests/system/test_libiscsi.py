# SPDX-License-Identifier: BSD-2-Clause
"""libiscsi's iscsi-test-cu over SG_IO in a guest, each of its tests in a process of its own, in the
set-up in which it can run.

What may be skipped, what fails and what is not run at all stands in the table of docs/scsi.md and
nowhere else. A test that does otherwise than the table says fails this one; so does one that begins
to pass, until its row is taken out.
"""

import fnmatch
import pathlib
import re

import pytest

TABLE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "scsi.md"
BLOCKS = 31 * 2048      # of 512 bytes: more would be tried in one go, which SG_IO cannot
# A write or read of half of these is one SG_IO of no more pages than QEMU lets a command have
# segments, 126. A guest's pages are side by side only as long as its memory is fresh; and of a
# WRITE that SG_IO refuses, the program takes no notice.
FEW_BLOCKS = 1920
SECONDS = 40            # for one test in the guest
TESTS = 215

# The first set-up with a pattern that fits is a test's.
SETUPS = {
    "write-protected": ["ReadOnly.*"],
    "two paths": ["MultipathIO.*", "Prin*", "Prout*", "Reserve6.*"],
    "removable": ["NoMedia.*", "PreventAllow.*", "StartStopUnit.*"],
    "sanitize": ["Sanitize.*"],
    # Of 256 blocks, which the command cannot say, the tests have wrong ideas: shorter transfers
    # make them stop before.
    "short transfers": ["CompareAndWrite.*"],
    # These want a disk of which no result of an earlier copy is kept: nothing else copies there.
    "large physical blocks": ["*.UnmapUnaligned", "ReceiveCopyResults.*"],
    "few blocks": ["ExtendedCopy.Simple"],
    # The program has room for CDBs of 16 bytes.
    "short CDBs": ["ReportSupportedOpcodes.OneCommand"],
    "default": ["*"],
}
# Guests: what of the above each one runs.
GUESTS = {
    "READ and WRITE": (["default"], ["Read*", "Write*"]),
    "all else": (list(SETUPS), ["*"]),
}


def fits(name, patterns):
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def setup_of(name):
    return next(setup for setup, patterns in SETUPS.items() if fits(name, patterns))


def guest_of(name):
    return next(guest for guest, (setups, patterns) in GUESTS.items()
                if setup_of(name) in setups and fits(name, patterns))


def expected():
    """The rows of the table: name -> (outcome, reason). A name may be a pattern."""
    rows = re.findall(r"^\| `([\w.*-]+)` \| (skip|fail|no) \| (.+) \|$",
                      TABLE.read_text(encoding="utf-8"), re.M)
    return {name: (outcome, reason) for name, outcome, reason in rows}


def plug(daemon):
    """The disks that the set-ups need: name -> the disks whose devices a test is given."""
    for name, more in (("plain", {}), ("twofold", {}), ("coarse", {"physical_block_size": 4096})):
        daemon.call("bdev_malloc_create", name=name, num_blocks=BLOCKS, block_size=512, **more)
    image = daemon.place / "protected.img"
    with open(image, "wb") as file:
        file.truncate(BLOCKS * 512)
    daemon.file("protected", image, block_size=512, readonly=True)
    bdevs = ["plain", "twofold", "twofold", "coarse", "protected"]
    disks = [daemon.put("scsi", bdev, controller="vm", target=target)
             for target, bdev in enumerate(bdevs, 1)]
    plain, first, second, coarse, protected = disks
    daemon.call("bdev_malloc_create", name="medium", num_blocks=BLOCKS, block_size=512)
    medium = daemon.put("scsi", "medium", controller="vm", target=len(bdevs) + 1, removable=True)
    daemon.call("bdev_malloc_create", name="few", num_blocks=FEW_BLOCKS, block_size=512)
    few = daemon.put("scsi", "few", controller="vm", target=len(bdevs) + 2, short_cdbs=True)
    disks += [medium, few]
    return disks, {"default": [plain], "short transfers": [plain], "sanitize": [plain],
                   "two paths": [first, second], "large physical blocks": [coarse],
                   "write-protected": [protected], "removable": [medium], "few blocks": [few],
                   "short CDBs": [few]}


def generic_device(guest, disk):
    """A disk that may only be read can be opened for writing by this name, and one whose medium
    may go is not kept from that by who has it open."""
    name = guest.block_device(disk)
    return f"/dev/{guest.run(f'ls /sys/block/{name}/device/scsi_generic')}"


def devices_of(guest, setup, disks):
    generic = setup in ("write-protected", "removable")
    name = generic_device if generic else type(guest).device
    return [name(guest, disk) for disk in disks]


def script_of(guest, places, tests):
    """Runs the tests; says of each its name, its exit status and its words about it."""
    lines = ["run() {", "name=$1; shift",
             f"timeout {SECONDS} iscsi-test-cu --dataloss --Verbose-scsi --test SCSI.$name \"$@\" "
             "> /run/test 2>&1", "status=$?", "echo \"=== $name $status\"",
             # Before the suite it asks for what some of its tests need.
             "sed -n '/^Suite:/,$ p' /run/test | "
             "grep -a 'SKIPPED\\|FAIL\\|^ *[0-9]*\\. \\|ailed to' | sort -u | head -n 6",
             "}"]
    devices = {setup: devices_of(guest, setup, disks) for setup, disks in places.items()}
    queue = f"/sys/block/{guest.block_device(places['default'][0])}/queue/max_sectors_kb"
    for name in tests:
        setup = setup_of(name)
        more = ["--allow-sanitize"] if setup == "sanitize" else []
        limit = "120" if setup == "short transfers" else "1280"
        lines += [f"echo {limit} > {queue}", " ".join(["run", name, *more, *devices[setup]])]
    return "\n".join(lines) + "\n"


def outcomes(output):
    """name -> (outcome, what was said)."""
    found = {}
    for part in output.split("=== ")[1:]:
        head, _, words = part.partition("\n")
        name, status = head.split()
        outcome = "fail" if status != "0" else "skip" if "SKIPPED" in words else "pass"
        if status not in ("0", "1"):
            words = f"exit status {status}\n{words}"
        found[name] = (outcome, words.strip())
    return found


def wanted_of(name, table):
    """What the table says of a test: the row with its name, or else a pattern that fits."""
    for pattern in [name] + [row for row in table if "*" in row]:
        if pattern in table and fnmatch.fnmatch(name, pattern):
            return table[pattern]
    return "pass", ""


def list_tests(guest):
    names = re.findall(r"^SCSI\.([\w-]+\.[\w-]+)$", guest.run("iscsi-test-cu --list"), re.M)
    assert len(names) == TESTS, "another version of iscsi-test-cu: look at docs/scsi.md again"
    return names


# Named after QEMU 10.0, so that of the sanitizers one is spared.
@pytest.mark.parametrize("part", GUESTS, ids=[f"10.0-{part.replace(' ', '-')}" for part in GUESTS])
def test_every_test_of_libiscsi_does_what_the_table_says(lab, part):
    daemon = lab.daemon()
    root = daemon.put_file("blk", "root", lab.image())
    disks, places = plug(daemon)
    guest = lab.boot("10.0", root, *disks)
    table = expected()
    tests = [name for name in list_tests(guest)
             if guest_of(name) == part and wanted_of(name, table)[0] != "no"]
    found = outcomes(guest.run(script_of(guest, places, tests), timeout=900))
    assert list(found) == tests
    wrong = []
    for name, (outcome, words) in found.items():
        wanted, reason = wanted_of(name, table)
        told = f" ({reason})" if reason else ""
        print(f"{name}: {outcome}{told}")
        if outcome != wanted:
            wrong.append(f"{name}: {outcome}, not {wanted}{told}\n{words}")
    assert not wrong, "\n".join([f"{len(wrong)} of {len(found)}, see docs/scsi.md:", *wrong])
    guest.poweroff()
