# SPDX-License-Identifier: BSD-2-Clause
"""A store in an image: what is in it, and the bytes of its volumes.

Opening reads metadata only. A store that was not unloaded is seen as a load would leave it: blobs
are found by a scan, and `repairs` says what becomes of those with the mark of an unfinished
operation on snapshots ("keep", "remove", or "leave" where the partner cannot be opened). The image
itself is never changed.
"""
import dataclasses
import functools
import hashlib

from . import structures as s
from .blob import Blob, read_blob
from .image import Image
from .layout import STRUCTURE

SCAN_BYTES = 1 << 20


def effective_layout(layout, device_size):
    """Fields that older stores lack, filled in; FormatError where nothing can be computed."""
    layout = dataclasses.replace(layout, size=layout.size or device_size,
                                 io_unit_size=layout.io_unit_size or STRUCTURE,
                                 page_size=layout.page_size or STRUCTURE)
    if layout.size > device_size:
        raise s.FormatError("super-size", f"the store has {layout.size} bytes, its device "
                            f"{device_size}")
    if layout.page_size < STRUCTURE or layout.page_size % layout.io_unit_size:
        raise s.FormatError("super-geometry", f"pages of {layout.page_size} bytes, blocks of "
                            f"{layout.io_unit_size}")
    if layout.cluster_size < layout.page_size or layout.cluster_size % STRUCTURE:
        raise s.FormatError("super-geometry", f"clusters of {layout.cluster_size} bytes, pages of "
                            f"{layout.page_size}")
    if layout.total_pages * layout.page_size > layout.size or layout.md_clusters > layout.clusters:
        raise s.FormatError("super-geometry", "the metadata does not fit on the device")
    return layout


class Store:
    """`external(id, offset, length)` gives the bytes of external snapshots."""

    def __init__(self, source, external=None):
        self.image = source if isinstance(source, Image) else Image(source)
        self.external = external
        self.superblock = s.SuperBlock.decode(self.image.read(0, min(STRUCTURE, self.image.size)))
        self.layout = effective_layout(self.superblock.layout, self.image.size)
        self.masks = None
        if self.superblock.clean == 1 and self.layout.blobid_mask_len:
            self.masks = self._read_masks()
            roots = {index for index in self.masks[s.MASK_BLOBIDS].used
                     if index < self.layout.md_len}
        else:
            roots = self.scanned_roots
        self.blobs = {}
        for index in sorted(roots):
            blob_id = s.BLOB_BIT | index
            self.blobs[blob_id] = read_blob(self.md_structure, self.layout, blob_id)
        for blob in self.blobs.values():
            if blob.parent in self.blobs:
                self.blobs[blob.parent].clones.append(blob.id)
        self.repairs = {blob.id: self._repair(blob) for blob in self.blobs.values()
                        if blob.mark and not blob.broken}

    def close(self):
        self.image.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def clean(self):
        """Whether a load would trust the masks."""
        return self.masks is not None

    @property
    def lvolstore(self):
        return self.superblock.bstype == s.LVOLSTORE

    @property
    def super_blob(self):
        return self.blobs.get(self.superblock.super_blob)

    @property
    def name(self):
        return self.super_blob.name if self.super_blob else None

    @property
    def uuid(self):
        return self.super_blob.uuid if self.super_blob else None

    def md_structure(self, index):
        return self.image.read(self.layout.md_offset(index), STRUCTURE)

    @functools.cached_property
    def scanned_roots(self):
        """Every md index that holds the root of the blob of its own number."""
        layout, found = self.layout, set()
        start, page = layout.md_offset(0), layout.page_size
        for begin, end in self.image.data_ranges(start, layout.md_offset(layout.md_len)):
            first = (begin - start) // page
            last = -(-(end - start) // page)
            for index in range(first, last, SCAN_BYTES // page):
                count = min(SCAN_BYTES // page, last - index)
                data = self.image.read(layout.md_offset(index), count * page)
                for at in range(count):
                    head = (s.BLOB_BIT | (index + at)).to_bytes(8, "little") + bytes(4)
                    if data.startswith(head, at * page) and \
                            s.Page.decode(data[at * page:at * page + STRUCTURE]):
                        found.add(index + at)
        return found

    def used_clusters(self):
        return sum(1 for _ in self._referenced()) + self.layout.md_clusters

    def _referenced(self):
        return {cluster for blob in self.blobs.values() for _, cluster in blob.device_clusters()}

    def _read_masks(self):
        at, page = self.layout, self.layout.page_size
        return [s.Mask.decode(self.image.read(start * page, length * page)) for start, length in
                ((at.page_mask_start, at.page_mask_len),
                 (at.cluster_mask_start, at.cluster_mask_len),
                 (at.blobid_mask_start, at.blobid_mask_len))]

    def _repair(self, blob):
        partner = self.blobs.get(blob.mark[1])
        if partner is None or partner.broken:
            return "leave"
        return "keep" if partner.parent == blob.id else "remove"

    def volumes(self):
        """What a user sees after a load: no super blob, nothing removed or unopenable."""
        return [blob for blob in self.blobs.values()
                if blob.id != self.superblock.super_blob and not blob.broken
                and self.repairs.get(blob.id) != "remove"]

    def volume(self, name):
        """By name, uuid or blob id."""
        for blob in self.volumes():
            if name in (blob.name, blob.uuid, blob.id):
                return blob
        raise KeyError(name)

    def kind(self, blob):
        """One of "thick", "thin", "clone", "esnap clone" or "snapshot": what has or had clones."""
        if blob.clones or blob.read_only or self.repairs.get(blob.id) == "keep":
            return "snapshot"
        if blob.esnap:
            return "esnap clone"
        if blob.parent is not None and blob.thin:
            return "clone"
        return "thin" if blob.thin else "thick"

    def size(self, blob):
        return blob.clusters * self.layout.cluster_size

    def source(self, blob, index):
        """Where a cluster's bytes are: ("device", cluster), ("zero", 0) or ("external", id)."""
        seen = set()
        while True:
            if index < blob.clusters and blob.cluster(index):
                return "device", blob.cluster(index)
            if index >= blob.clusters or not blob.thin:
                return "zero", 0
            if blob.esnap:
                return "external", blob.external
            if blob.parent is None:
                return "zero", 0
            if blob.id in seen or blob.parent not in self.blobs:
                raise s.FormatError("parent", f"{blob.label} has a parent that cannot be opened")
            seen.add(blob.id)
            blob = self.blobs[blob.parent]

    def read(self, volume, offset, length):
        blob = volume if isinstance(volume, Blob) else self.volume(volume)
        if offset < 0 or offset + length > self.size(blob):
            raise ValueError(f"{offset} + {length} is past the end of {blob.label}")
        size, parts = self.layout.cluster_size, []
        while length:
            index, inside = divmod(offset, size)
            count = min(length, size - inside)
            parts.append(self._read_piece(blob, index, inside, count))
            offset, length = offset + count, length - count
        return b"".join(parts)

    def _read_piece(self, blob, index, inside, count):
        where, what = self.source(blob, index)
        size = self.layout.cluster_size
        if where == "device":
            return self.image.read(what * size + inside, count)
        if where == "zero":
            return bytes(count)
        if self.external is None:
            raise s.FormatError("external", f"{blob.label} needs the device {what!r}")
        return self.external(what, index * size + inside, count).ljust(count, b"\0")

    def sha256(self, volume):
        """Of the whole content."""
        blob = volume if isinstance(volume, Blob) else self.volume(volume)
        digest, size = hashlib.sha256(), self.layout.cluster_size
        for index in range(blob.clusters):
            digest.update(self.read(blob, index * size, size))
        return digest.hexdigest()


def open_store(source, external=None):
    return Store(source, external)
