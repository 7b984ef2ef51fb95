# SPDX-License-Identifier: BSD-2-Clause
"""Bytes that the format gives as examples, made and taken apart."""
import pytest

from . import structures as s
from .crc32c import crc32c
from .disk import Disk
from .writer import Writer
from .writer_blob import WriterBlob

RUNS = bytes.fromhex("01 20 00 00 00  00 00 00 00 03 00 00 00  41 00 00 00 02 00 00 00"
                     "00 00 00 00 04 00 00 00  43 00 00 00 01 00 00 00")
TABLE = bytes.fromhex("05 20 00 00 00  4c 04 00 00 00 00 00 00  00 00 00 00 01 00 00 00"
                      "02 00 00 00 01 00 00 00  00 00 00 00 01 00 00 00")
EXTENTS_HEAD = bytes.fromhex("06 04 08 00 00  00 02 00 00")
ESNAP = bytes.fromhex("04 1b 00 00 00  07 00 10 00  45 58 54 53 4e 41 50"
                      "30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66")


@pytest.mark.parametrize("data, value", [
    (b"", 0), (b"123456789", 0xE3069283), (bytes(4092), 0xA732586E), (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E), (b"1", 0x90F599E3)])
def test_the_checksum_is_crc32c(data, value):
    assert crc32c(data) == value


def bitwise(data):
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize("zeros", [0, 1, 95, 96, 97, 255, 256, 1001])
def test_skipping_zeros_changes_no_checksum(zeros):
    for front in (0, 1, 2, 7):
        for back in (0, 1, 4, 9):
            data = b"\x5a" * front + bytes(zeros) + b"\x01" * back
            assert crc32c(data) == bitwise(data)
    data = (b"\1" + bytes(zeros)) * 5
    assert crc32c(data) == bitwise(data)


def blob_of(style, clusters):
    blob = WriterBlob(s.BLOB_BIT | 5, style)
    blob.invalid |= s.THIN
    blob.map = [0] * clusters
    blob.pages = [0] * -(-clusters // 512)
    return blob


def test_a_run_list_has_maximal_runs():
    blob = blob_of("runs", 10)
    blob.map[3], blob.map[4], blob.map[9] = 65, 66, 67
    assert bytes(blob.areas()[0][29:]) == RUNS
    assert s.decode_runs(RUNS[5:]) == [(0, 3), (65, 2), (0, 4), (67, 1)]


def test_an_extent_table_names_pages_and_counts_empty_slots():
    blob = blob_of("table", 1100)
    blob.pages[1] = 2
    assert bytes(blob.areas()[0][29:]) == TABLE
    assert s.decode_table(TABLE[5:]) == (1100, [(0, 1), (2, 1), (0, 1)])


def test_a_full_extent_page_has_512_entries():
    blob = blob_of("table", 1100)
    area = blob.extents_area(1)
    assert area.startswith(EXTENTS_HEAD) and len(area) == 2057
    assert s.decode_extents(area[5:]) == (512, [0] * 512)
    assert len(blob.extents_area(2)) == 9 + 4 * (1100 - 1024)


def test_a_clone_of_an_external_snapshot_names_it(tmp_path):
    with Disk(tmp_path / "image", 8 << 20) as disk:
        writer = Writer(disk)
        writer.create_store("store", cluster_size=1 << 20)
        writer.create_external_clone("clone", b"0123456789abcdef", 2 << 20)
        area = bytes(writer.volume("clone").areas()[0])
    assert s.decode_flags(area[5:29]) == (0xF, 0, 0)
    assert area.endswith(ESNAP + s.encode_table(2, [(0, 1)]))


def test_what_is_encoded_decodes_to_the_same():
    page = s.Page(s.BLOB_BIT | 7, 3, b"", 9, 0)
    page.area = s.encode_flags(1, 2, 3) + s.encode_xattr(s.XATTR, "näme", b"\0value")
    found = s.Page.decode(page.encode())
    assert (found.blob_id, found.sequence, found.following) == (page.blob_id, 3, 9)
    flags, xattr = found.descriptors()
    assert s.decode_flags(flags.body) == (1, 2, 3)
    assert s.decode_xattr(xattr.body) == ("näme", b"\0value")
    mask = s.Mask(1, 77, {0, 8, 76})
    assert s.Mask.decode(mask.encode(4096)) == mask


def test_a_page_of_zeros_or_with_a_flipped_bit_is_none():
    data = bytearray(s.Page(s.BLOB_BIT, 0, b"").encode())
    assert s.Page.decode(data)
    for at in (0, 2000, 4091, 4095):
        data[at] ^= 16
        assert s.Page.decode(data) is None
        data[at] ^= 16
    assert s.Page.decode(bytes(4096)) is None
