# SPDX-License-Identifier: BSD-2-Clause
"""The structures on disk: super block, masks, metadata pages and the descriptors in them.

Each has a decode that refuses what cannot be taken apart (FormatError, with a sentence) and an
encode. What a decode accepts may still be nonsense: judging is the checker's.
"""
import dataclasses
import struct

from .crc32c import crc32c
from .layout import STRUCTURE, Layout

SIGNATURE = b"SPDKBLOB"
VERSION = 3
NO_BLOB = (1 << 64) - 1
NO_PAGE = 0xFFFFFFFF
BLOB_BIT = 1 << 32
DESCRIPTOR_AREA = 4072
DESCRIPTOR_HEADER = 5
AREA_START = 16
LVOLSTORE = b"LVOLSTORE".ljust(16, b"\0")

MASK_PAGES, MASK_CLUSTERS, MASK_BLOBIDS = 0, 1, 2
PADDING, RUNS, XATTR, FLAGS, INTERNAL, TABLE, EXTENTS = range(7)

THIN, HAS_INTERNAL, HAS_TABLE, ESNAP = 1, 2, 4, 8
INVALID_KNOWN = 15
READ_ONLY = 1
DATA_RO_KNOWN = 1
CLEAR_DEFAULT, CLEAR_NONE, CLEAR_UNMAP, CLEAR_ZEROES = range(4)
MD_RO_KNOWN = 3

_SUPER = struct.Struct("<8sIIIQ7I16sIIQII")
_PAGE = struct.Struct("<QII")


class FormatError(Exception):
    """Bytes that are not what they should be; `kind` names how."""

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


def seal(body):
    """4092 bytes and their checksum."""
    return body + struct.pack("<I", crc32c(body))


def sealed(data):
    return struct.unpack_from("<I", data, STRUCTURE - 4)[0] == crc32c(data[:STRUCTURE - 4])


@dataclasses.dataclass
class SuperBlock:
    layout: Layout
    clean: int = 0
    super_blob: int = NO_BLOB
    bstype: bytes = bytes(16)
    version: int = VERSION
    length: int = STRUCTURE
    reserved: bytes = b""      # what is there instead of zeros

    def encode(self):
        at = self.layout
        body = _SUPER.pack(SIGNATURE, self.version, self.length, self.clean, self.super_blob,
                           at.cluster_size, at.page_mask_start, at.page_mask_len,
                           at.cluster_mask_start, at.cluster_mask_len, at.md_start, at.md_len,
                           self.bstype, at.blobid_mask_start, at.blobid_mask_len, at.size,
                           at.io_unit_size, at.page_size)
        return seal((body + self.reserved).ljust(STRUCTURE - 4, b"\0"))

    @classmethod
    def decode(cls, data):
        """Signature, version and checksum are judged here, as a loader does first."""
        if len(data) < STRUCTURE:
            raise FormatError("super", "there is no room for a super block")
        (signature, version, length, clean, super_blob, cluster_size, page_start, page_len,
         cluster_start, cluster_len, md_start, md_len, bstype, blobid_start, blobid_len, size,
         io_unit, page_size) = _SUPER.unpack_from(data)
        if not 1 <= version <= VERSION:
            raise FormatError("super-version", f"the super block's version is {version}")
        if signature != SIGNATURE:
            raise FormatError("super-signature", "no super block: the signature is missing")
        if not sealed(data):
            raise FormatError("super-crc", "the super block's checksum is wrong")
        layout = Layout(size, io_unit, page_size, cluster_size, page_start, page_len, cluster_start,
                        cluster_len, blobid_start, blobid_len, md_start, md_len)
        rest = data[_SUPER.size:STRUCTURE - 4].rstrip(b"\0")
        return cls(layout, clean, super_blob, bstype, version, length, rest)


@dataclasses.dataclass
class Mask:
    kind: int
    bits: int
    used: set
    surplus: bool = False      # something is set beyond the bits

    def encode(self, length):
        field = bytearray(length)
        struct.pack_into("<BI", field, 0, self.kind, self.bits)
        for bit in self.used:
            field[5 + bit // 8] |= 1 << bit % 8
        return bytes(field)

    @classmethod
    def decode(cls, data):
        kind, bits = struct.unpack_from("<BI", data.ljust(5, b"\0"))
        used, surplus = set(), False
        for at, byte in enumerate(data[5:].rstrip(b"\0")):
            if byte:
                base = 8 * at
                used.update(base + bit for bit in range(8) if byte >> bit & 1)
        if used and max(used) >= bits:
            surplus = True
            used = {bit for bit in used if bit < bits}
        return cls(kind, bits, used, surplus)


@dataclasses.dataclass
class Descriptor:
    kind: int
    body: bytes
    offset: int = 0            # in the descriptor area

    def encode(self):
        return struct.pack("<BI", self.kind, len(self.body)) + self.body


@dataclasses.dataclass
class Page:
    """A page structure; `descriptors` are the bytes of its area."""
    blob_id: int
    sequence: int
    area: bytes
    following: int = NO_PAGE
    reserved: int = 0

    def encode(self):
        body = _PAGE.pack(self.blob_id, self.sequence, self.reserved)
        body += self.area.ljust(DESCRIPTOR_AREA, b"\0") + struct.pack("<I", self.following)
        return seal(body)

    @classmethod
    def decode(cls, data):
        """The page, or None when its checksum is wrong."""
        if len(data) < STRUCTURE or not sealed(data):
            return None
        blob_id, sequence, reserved = _PAGE.unpack_from(data)
        following = struct.unpack_from("<I", data, STRUCTURE - 8)[0]
        return cls(blob_id, sequence, bytes(data[AREA_START:AREA_START + DESCRIPTOR_AREA]),
                   following, reserved)

    def descriptors(self):
        """All descriptors up to the end mark; FormatError for one that crosses the page."""
        found, at = [], 0
        while at + DESCRIPTOR_HEADER <= DESCRIPTOR_AREA:
            kind, length = struct.unpack_from("<BI", self.area, at)
            if kind == PADDING and length == 0:
                break
            end = at + DESCRIPTOR_HEADER + length
            if end > DESCRIPTOR_AREA:
                raise FormatError("descriptor-length",
                                  f"a descriptor of type {kind} at {at} ends past the page")
            found.append(Descriptor(kind, self.area[at + DESCRIPTOR_HEADER:end], at))
            at = end
        return found

    def after_descriptors(self):
        """What stands behind the last descriptor, which should be zeros."""
        last = 0
        for descriptor in self.descriptors():
            last = descriptor.offset + DESCRIPTOR_HEADER + len(descriptor.body)
        return self.area[last:]


def encode_flags(invalid, data_ro, md_ro):
    return Descriptor(FLAGS, struct.pack("<QQQ", invalid, data_ro, md_ro)).encode()


def decode_flags(body):
    if len(body) != 24:
        raise FormatError("flags-length", f"flags of {len(body)} bytes instead of 24")
    return struct.unpack("<QQQ", body)


def encode_xattr(kind, name, value):
    name = name.encode()
    head = struct.pack("<HH", len(name), len(value))
    return Descriptor(kind, head + name + value).encode()


def decode_xattr(body):
    """The name as text (undecodable bytes kept as surrogates) and the value."""
    if len(body) < 4:
        raise FormatError("xattr-length", "an xattr without its lengths")
    name, value = struct.unpack_from("<HH", body)
    if 4 + name + value != len(body):
        raise FormatError("xattr-length", f"an xattr of {len(body)} bytes holds {name} + {value}")
    return body[4:4 + name].decode(errors="surrogateescape"), body[4 + name:]


def encode_runs(runs):
    return Descriptor(RUNS, b"".join(struct.pack("<II", *run) for run in runs)).encode()


def decode_runs(body):
    if not body or len(body) % 8:
        raise FormatError("runs-length", f"a run list of {len(body)} bytes")
    runs = list(struct.iter_unpack("<II", body))
    if not sum(count for _, count in runs):
        raise FormatError("runs-empty", "a run list of no clusters")
    return runs


def encode_table(clusters, entries):
    """Entries are pairs of md index (0: none) and repeat count."""
    body = struct.pack("<Q", clusters) + b"".join(struct.pack("<II", *pair) for pair in entries)
    return Descriptor(TABLE, body).encode()


def decode_table(body):
    if len(body) < 8 or len(body) % 8:
        raise FormatError("table-length", f"an extent table of {len(body)} bytes")
    return struct.unpack_from("<Q", body)[0], list(struct.iter_unpack("<II", body[8:]))


def encode_extents(start, entries):
    return Descriptor(EXTENTS, struct.pack(f"<I{len(entries)}I", start, *entries)).encode()


def decode_extents(body):
    """First cluster and entries; that there is at least one entry is for the caller to ask."""
    if len(body) < 4 or len(body) % 4:
        raise FormatError("extents-length", f"extents of {len(body)} bytes")
    start, *entries = struct.unpack(f"<{len(body) // 4}I", body)
    return start, entries
