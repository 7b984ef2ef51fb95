# SPDX-License-Identifier: BSD-2-Clause
"""The example that the format gives in full: a store with a thin volume and its snapshot.

The writer has to make its metadata byte for byte, and in the order in which it is given.
"""
import pytest

from . import checker
from .disk import Disk
from .reader import Store
from .writer import Writer

MIB = 1 << 20
UUID = "11111111-2222-4333-8444-5555555555"
TEXT = UUID.encode().hex(" ")

METADATA = {
    0x0000: """53 50 44 4b 42 4c 4f 42 03 00 00 00 00 10 00 00
               01 00 00 00 00 00 00 00 01 00 00 00 00 00 10 00
               01 00 00 00 01 00 00 00 02 00 00 00 01 00 00 00
               04 00 00 00 20 00 00 00 4c 56 4f 4c 53 54 4f 52
               45 00 00 00 00 00 00 00 03 00 00 00 01 00 00 00
               00 00 00 02 00 00 00 00 00 10 00 00 00 10 00 00""",
    0x0ffc: "27 34 46 3b",
    0x1000: "00 20 00 00 00 1f",
    0x2000: "01 20 00 00 00 1f",
    0x3000: "02 20 00 00 00 0b",
    0x4000: f"""00 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00
               03 18 00 00 00 04 00 00 00 00 00 00 00 00 00 00
               00 00 00 00 00 00 00 00 00 00 00 00 00 02 2d 00
               00 00 04 00 25 00 75 75 69 64 {TEXT} 30 31 00 02
               0d 00 00 00 04 00 05 00 6e 61 6d 65 6c 76 73 30
               00 05 08""",
    0x4ff8: "ff ff ff ff 74 aa 96 64",
    0x5000: """01 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00
               03 18 00 00 00 07 00 00 00 00 00 00 00 00 00 00
               00 00 00 00 00 00 00 00 00 00 00 00 00 02 48 00
               00 00 04 00 40 00 6e 61 6d 65 76 6f 6c""",
    0x507a: f"""02 2d 00 00 00 04 00 25 00 75 75 69 64 {TEXT} 30 32 00
               04 10 00 00 00 04 00 08 00 53 4e 41 50 03 00 00 00 01 00 00 00
               05 10 00 00 00 08 00 00 00 00 00 00 00 04 00 00 00 01""",
    0x5ff8: "ff ff ff ff d6 64 18 58",
    0x6000: """01 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00
               06 24 00 00 00 00 00 00 00 00 00 00 00 00 00 00
               00 01 00 00 00 02""",
    0x6ff8: "ff ff ff ff eb d5 7c d1",
    0x7000: """03 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00
               03 18 00 00 00 05 00 00 00 00 00 00 00 01 00 00
               00 00 00 00 00 00 00 00 00 00 00 00 00 02 48 00
               00 00 04 00 40 00 6e 61 6d 65 73 6e 61 70""",
    0x707a: f"""02 2d 00 00 00 04 00 25 00 75 75 69 64 {TEXT} 30 33 00
               05 10 00 00 00 08 00 00 00 00 00 00 00 02 00 00 00 01""",
    0x7ff8: "ff ff ff ff 63 1d d9 b8",
    0x8000: """01 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00
               06 24 00 00 00 00 00 00 00 00 00 00 00 00 00 00
               00 00 00 00 00 03 00 00 00 00 00 00 00 04""",
    0x8ff8: "ff ff ff ff 23 81 b1 ff",
}

WRITES = [
    ("zero", 0x0, 0x24000), ("unmap", 0x24000, 0x1fdc000), ("write", 0x0, 0x1000),
    ("write", 0x4000, 0x1000), ("write", 0x0, 0x1000), ("write", 0x4000, 0x1000),
    ("write", 0x5000, 0x1000),
    ("write", 0x6000, 0x1000), ("write", 0x5000, 0x1000), ("write", 0x100000, 0x1000),
    ("write", 0x6000, 0x1000), ("write", 0x200000, 0x1000),
    ("write", 0x7000, 0x1000), ("write", 0x7000, 0x1000), ("write", 0x5000, 0x1000),
    ("write", 0x7000, 0x1000),
    ("write", 0x300000, 0x100000), ("write", 0x8000, 0x1000), ("write", 0x5000, 0x1000),
    ("write", 0x300000, 0x1000), ("write", 0x8000, 0x1000), ("write", 0x400000, 0x1000),
    ("write", 0x1000, 0x1000), ("write", 0x3000, 0x1000), ("write", 0x2000, 0x1000),
    ("write", 0x0, 0x1000),
]


def block(letter):
    return letter * 4096


@pytest.fixture(name="disk")
def example(tmp_path):
    with Disk(tmp_path / "image", 32 * MIB) as disk:
        writer = Writer(disk)
        writer.create_store("lvs0", uuid=UUID + "01", cluster_size=MIB)
        writer.create_volume("vol", 8 * MIB, thin=True, uuid=UUID + "02")
        writer.write("vol", 2 * MIB, block(b"a"))
        writer.write("vol", 3 * MIB, block(b"b"))
        writer.create_snapshot("vol", "snap", uuid=UUID + "03")
        writer.write("vol", 3 * MIB, block(b"c"))
        writer.write("vol", 5 * MIB, block(b"d"))
        writer.unload()
        yield disk


def test_the_metadata_is_byte_for_byte_the_example(disk):
    wanted = bytearray(0x24000)
    for offset, text in METADATA.items():
        data = bytes.fromhex(text)
        wanted[offset:offset + len(data)] = data
    found = disk.read(0, len(wanted))
    different = [hex(at) for at in range(len(wanted)) if found[at] != wanted[at]]
    assert different == []


def test_the_writes_come_in_the_order_of_the_example(disk):
    assert disk.log == WRITES


def test_the_reader_sees_what_the_example_says(disk):
    store = Store(disk.image())
    assert (store.name, store.uuid, store.clean) == ("lvs0", UUID + "01", True)
    vol, snap = store.volume("vol"), store.volume(UUID + "03")
    assert (store.kind(vol), store.kind(snap), vol.parent) == ("clone", "snapshot", snap.id)
    assert dict(vol.device_clusters()) == {3: 3, 5: 4}
    assert dict(snap.device_clusters()) == {2: 1, 3: 2}
    rest = bytes(MIB - 4096)
    assert store.read(vol, 0, 8 * MIB) == (bytes(2 * MIB) + block(b"a") + rest + block(b"c") + rest
                                           + bytes(MIB) + block(b"d") + rest + bytes(2 * MIB))
    assert store.read(snap, 3 * MIB - 1, 4098) == b"\0" + block(b"b") + b"\0"


def test_the_checker_finds_nothing(disk):
    assert checker.check(disk.file, strict=True) == []


SUPER = 0x100000001
MARKED = [  # after each step, of the snapshot: flags, mark, table; of the origin: flags, parent
    (0x7, {"SNAPTMP": SUPER}, {}, 0x4, None),
    (0x4, {"SNAPTMP": SUPER}, {0: 2}, 0x4, None),
    (0x4, {"SNAPTMP": SUPER}, {0: 2}, 0x7, 0x100000003),
    (0x4, {}, {0: 2}, 0x7, 0x100000003),
]


def test_a_snapshot_of_a_thick_volume_goes_through_its_marks(tmp_path):
    with Disk(tmp_path / "image", 32 * MIB) as disk:
        writer = Writer(disk)
        writer.create_store("lvs0", cluster_size=MIB)
        writer.create_volume("vol", 8 * MIB)
        steps = Writer.create_snapshot.steps(writer, "vol", "snap")
        for invalid, marks, pages, origin_invalid, parent in MARKED:
            disk.apply(next(steps))
            store = Store(disk.image())
            snap, vol = store.blobs[0x100000003], store.blobs[0x100000001]
            assert (snap.invalid, snap.pages) == (invalid, pages)
            assert {name: int.from_bytes(value, "little") for name, value
                    in snap.internal.items()} == marks
            assert (vol.invalid, vol.parent) == (origin_invalid, parent)
        assert snap.data_ro == 1
