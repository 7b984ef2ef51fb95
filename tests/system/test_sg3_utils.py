# SPDX-License-Identifier: BSD-2-Clause
"""sg3-utils in one guest, against each part of a SCSI disk that they know: what the tools make of
the answers, and what the guest's kernel makes of what they change."""

import re

from .checks import MIB
from .patience import wait_until

ILLEGAL_REQUEST = 5     # exit statuses of the tools
MISCOMPARE = 14


def generic(guest, device):
    """The pass-through beside a block device."""
    return "/dev/" + guest.run(f"ls /sys/block/{device[5:]}/device/scsi_generic")


def check_identity(guest, device):
    told = guest.run(f"sg_inq {device}")
    for text in ("SLUICE", "SPC-4", "TPGS=2", "CmdQue=1"):
        assert text in told, told
    pages = guest.run(f"sg_vpd {device}")
    for page in ("sn", "di", "mna", "ei", "mpp", "bl", "bdc", "lbpv"):
        assert f"[{page}]" in pages, pages
        guest.run(f"sg_vpd -p {page} {device}")
    names = guest.run(f"sg_vpd -p di {device}")
    for text in ("NAA", "EUI-64 based", "SCSI name string", "T10 vendor identification",
                 "Relative target port", "Target port group"):
        assert f"designator type: {text}" in names, names
    assert "(LBPU): 1" in guest.run(f"sg_vpd -p lbpv {device}")


def check_commands(guest, device):
    told = guest.run(f"sg_opcodes -R {device}")
    for name in ("Log sense", "Start stop unit", "Report target port groups", "Set timestamp",
                 "Mode select(10)", "Write same(16)"):
        assert name in told, told
    assert "Command is supported" in guest.run(f"sg_opcodes -o 0x4d {device}")
    told = guest.run(f"sg_opcodes -t {device}")
    for name in ("Abort task", "Logical unit reset", "Query task set", "I_T nexus reset"):
        assert name in told, told
    assert "imples 1 lun entry" in guest.run(f"sg_luns {device}")


def check_pages(guest, device):
    told = guest.run(f"sg_logs -A {device}")
    for text in ("Temperature page  [0xd]", "Informational Exceptions page  [0x2f]",
                 "Supported log pages and subpages"):
        assert text in told, told
    told = guest.run(f"sg_modes -a {device}")
    for text in ("Read-Write error recovery", "Disconnect-Reconnect", "Caching", "Control",
                 "Power condition", "Informational exceptions"):
        assert f">> {text}" in told, told


def mode_page(guest, device, page, values=0):
    """The bytes of a mode page: current 0, changeable 1, default 2, saved 3."""
    told = guest.run(f"sg_modes -d -p {page} -c {values} {device}").split(">>")[1]
    lines = re.findall(r"^ [0-9a-f]0     ([0-9a-f ]+)$", told, re.M)
    return [int(byte, 16) for line in lines for byte in line.split()]


def check_cache(guest, device):
    """Off, and saved so: the guest's kernel sees it."""
    page = mode_page(guest, device, 8)
    page[0], page[2] = 8, 0
    contents = ",".join(f"{byte:02x}" for byte in page)
    guest.run(f"sg_wr_mode -s -p 8 -c {contents} {device}")
    assert [mode_page(guest, device, 8, values)[2] for values in range(4)] == [0, 4, 4, 0]
    guest.run(f"echo 1 > /sys/block/{device[5:]}/device/rescan")
    assert guest.run(f"cat /sys/block/{device[5:]}/queue/write_cache") == "write through"


def check_ports(guest, device):
    told = guest.run(f"sg_rtpg -d {device}")
    assert "(active/optimized)" in told, told
    group = re.search(r"target port group id : (0x[0-9a-f]+)", told).group(1)
    assert f"Target port group: {group}" in guest.run(f"sg_vpd -p di {device}")
    guest.run(f"sg_stpg --active --tp {group} {device}")
    assert "(active/non optimized)" in guest.run(f"sg_rtpg -d {device}")
    guest.run(f"sg_stpg --optimized --tp {group} {device}")
    guest.run(f"sg_timestamp -m 1770000000000 {device}")
    assert guest.run(f"sg_timestamp {device}").startswith("177000000")


def check_power(guest, device):
    guest.run(f"sg_start --stop {device}")
    told = guest.run(f"sg_turs -v {device}", check=False)
    assert told.status == 2 and "initializing command required" in told.output, told
    guest.run(f"sg_start --start {device} && sg_turs {device}")
    guest.run(f"sg_start --pc=2 {device}")
    assert "Idle condition activated by command" in guest.run(f"sg_requests {device}")
    guest.run(f"sg_dd if={device} of=/dev/null bs=512 count=1 blk_sgio=1")
    assert "Idle condition" not in guest.run(f"sg_requests {device}")


def check_data(guest, device):
    """Odd sizes and places, through the pass-through and back."""
    guest.run("dd if=/dev/urandom of=/run/data bs=512 count=2047 2>/dev/null")
    for bpt, seek in ((1, 1), (7, 3), (127, 1111), (1023, 4095)):
        guest.run(f"sg_dd if=/run/data of={device} bs=512 bpt={bpt} seek={seek} oflag=sgio,dsync "
                  f"&& sg_dd if={device} of=/run/back bs=512 bpt={bpt} skip={seek} count=2047 "
                  "iflag=sgio && cmp /run/data /run/back")


def check_copies(guest, device, other):
    """From disk to disk, without the data passing through the guest."""
    told = guest.run(f"sg_copy_results -p {device}")
    assert "Maximum segment descriptor count: 16" in told, told
    told = guest.run(f"sg_vpd -p tpc {device}")
    assert "Extended copy" in told and "Receive copy" in told, told
    source, target = generic(guest, device), generic(guest, other)
    guest.run(f"sg_xcopy if={source} of={target} bs=512 skip=5 seek=77 count=3001 && "
              f"cmp -n $((3001 * 512)) {device} {other} $((5 * 512)) $((77 * 512))")


def holds(guest, device, byte, lba, blocks=1):
    """Whether these blocks are full of one byte, given as tr writes it."""
    guest.run(f"blockdev --flushbufs {device}")
    others = guest.run(f"dd if={device} bs=512 skip={lba} count={blocks} 2>/dev/null | "
                       f"tr -d '{byte}' | wc -c")
    return int(others) == 0


def status_of(guest, words):
    return guest.run(words, check=False).status


def check_blocks(guest, device):
    """What looks at blocks, and what changes them with less data than they hold."""
    guest.run("for byte in A B; do head -c 512 /dev/zero | tr '\\0' $byte > /run/$byte; done; "
              "cat /run/A /run/B > /run/AB; cat /run/A /run/A > /run/AA")
    guest.run(f"sg_write_same --10 --in=/run/A --xferlen=512 --lba=0 --num=64 {device}")
    assert holds(guest, device, "A", 0, 64)
    assert holds(guest, device, "\\0", 64)

    guest.run(f"sg_verify --lba=0 --count=16384 {device}")
    guest.run(f"sg_verify --lba=62 --count=2 --ndo=1024 --in=/run/AA {device}")
    verify = f"sg_verify --lba=62 --count=2 --ndo=1024 --in=/run/AB {device}"
    assert status_of(guest, verify) == MISCOMPARE
    guest.run(f"sg_verify --16 --lba=0 --count=64 --ndo=512 --bytchk=3 --in=/run/A {device}")

    compare = f"sg_compare_and_write --in=/run/AB --lba=5 --num=1 --xferlen=1024 {device}"
    guest.run(compare)
    assert holds(guest, device, "B", 5)
    assert status_of(guest, compare) == MISCOMPARE

    guest.run(f"sg_unmap --lba=8 --num=8 --force {device}")
    guest.run(f"sg_write_same --16 --unmap --lba=16 --num=8 --in=/dev/zero --xferlen=512 {device}")
    guest.run(f"sg_write_same --16 --ndob --lba=24 --num=8 {device}")
    assert holds(guest, device, "\\0", 8, 24)
    assert holds(guest, device, "A", 32, 32)
    assert "mapped" in guest.run(f"sg_get_lba_status --lba=0 {device}")
    assert "deallocated" in guest.run(f"sg_get_lba_status --lba=8192 {device}")

    guest.run(f"sg_sanitize --overwrite --pattern=/run/B --quick --wait {device}")
    assert holds(guest, device, "B", 0, 16384)
    guest.run(f"sg_sanitize --block --quick --wait {device}")
    assert holds(guest, device, "\\0", 0, 16384)
    crypto = f"sg_sanitize --crypto --quick --wait {device}"
    assert status_of(guest, crypto) == ILLEGAL_REQUEST


def check_service(guest, device):
    """Self-test, buffers, and what the disk is called."""
    guest.run(f"sg_senddiag --test {device}")
    assert "Supported diagnostic pages" in guest.run(f"sg_senddiag --list {device}")
    guest.run("dd if=/dev/urandom of=/run/echo bs=4096 count=1 2>/dev/null")
    guest.run(f"sg_write_buffer --mode=data --length=4096 --in=/run/echo {device} && "
              f"sg_raw -r 4096 -o /run/back {device} 3c 02 00 00 00 00 00 10 00 00 && "
              "cmp /run/echo /run/back")
    guest.run(f"echo -n 'shelf 7' | sg_ident --set {device}")
    assert guest.run(f"sg_ident --ascii {device}").endswith("shelf 7")


def check_reset(guest, device):
    guest.run(f"sg_reset -d {device}")
    assert "reset function occurred" in guest.run(f"sg_turs -n 4 -v {device}")
    guest.run(f"sg_dd if={device} of=/dev/null bs=512 count=8 blk_sgio=1")
    assert mode_page(guest, device, 8)[2] == 0, "what was saved is so after a reset"


def check_ejection(guest, device):
    """Through sg: who has the block device open prevents it, Linux sees to that."""
    name = generic(guest, device)
    assert guest.run(f"sg_start --eject {device}", check=False).status == ILLEGAL_REQUEST
    guest.run(f"sg_start --eject {name}")
    told = guest.run(f"sg_turs -v {name}", check=False)
    assert told.status == 2 and "Medium not present" in told.output, told
    guest.run(f"sg_start --load {name} && sg_turs {name}")


def test_sg3_utils_find_a_disk_that_answers_and_obeys(lab):
    daemon = lab.daemon()
    root = daemon.put_file("blk", "root", lab.image())
    disk = daemon.put_file("scsi", "data", lab.empty("data", 16), controller="vm", target=0)
    bdev = daemon.file("medium", lab.empty("medium", 8))
    daemon.call("vhost_scsi_controller_add_target", ctrlr="vm", scsi_target_num=1,
                bdev_name=bdev, removable=True)
    bdev = daemon.file("sealed", lab.empty("sealed", 8))
    daemon.call("vhost_scsi_controller_add_target", ctrlr="vm", scsi_target_num=1,
                bdev_name=bdev, lun=1, readonly=True)
    daemon.call("bdev_malloc_create", name="blocks", num_blocks=16384, block_size=512)
    blocks = daemon.put("scsi", "blocks", controller="vm", target=2)
    guest = lab.boot("10.0", root, disk, blocks)
    device = guest.device(disk)
    check_identity(guest, device)
    check_commands(guest, device)
    check_pages(guest, device)
    check_data(guest, device)
    check_ports(guest, device)
    check_power(guest, device)
    check_ejection(guest, "/dev/" + guest.run("ls /sys/bus/scsi/devices/0:0:1:0/block"))
    sealed = guest.run("ls /sys/bus/scsi/devices/0:0:1:1/block")
    assert guest.run(f"cat /sys/block/{sealed}/ro") == "1"
    check_copies(guest, device,
                 "/dev/" + guest.run("ls /sys/bus/scsi/devices/0:0:1:0/block"))
    check_service(guest, device)
    check_blocks(guest, guest.device(blocks))
    check_cache(guest, device)
    check_reset(guest, device)
    assert "Last LBA=32767 " in guest.run(f"sg_readcap -l {device}")

    # A LUN of a target that is there comes by itself; the script finds nothing to do.
    late = daemon.put_file("scsi", "late", lab.empty("late", 8), controller="vm", target=0, lun=3)
    wait_until(lambda: bool(guest.block_device(late)), 15, "the guest finds the new LUN")
    assert guest.size(late) == 8 * MIB
    # Debian's version does not know how its own sg_inq writes the peripheral device type.
    guest.run("sed -e 's/)  Device[.]/)  PDT./; s/ Device_type=/ PDT=/' "
              "$(which rescan-scsi-bus.sh) > /run/rescan")
    told = guest.run("bash /run/rescan --ids=0 -r 2>&1", timeout=120)
    for text in ("0 new or changed device(s) found", "0 remapped or resized",
                 "0 device(s) removed"):
        assert text in told, told
    guest.poweroff()
