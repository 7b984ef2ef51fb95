# SPDX-License-Identifier: BSD-2-Clause
"""Another program that writes such stores: its life cycle of a store, and how it writes a blob.

The order of requests is that of the known implementation, weaknesses included: no flush, extent
pages changed in place, parallel zeroing of a chain. Masks live in memory and are written by unload.
After PowerCut a new Writer on the same disk loads what is left, recovering it, and may die there
again. Operations on volumes are in writer_volumes.py.

Where pages are larger than 4096 bytes the rest of a root or extent page is filled with GARBAGE,
which readers have to ignore.
"""
import dataclasses
import uuid as uuids

from . import structures as s
from .disk import Unmap, Write, Zero, operation
from .layout import STRUCTURE, ceil_div, make_layout, mask_pages, slot_count
from .reader import Store
from .writer_blob import WriterBlob
from .writer_volumes import Volumes

GARBAGE = b"\xa5"


class LoadRefused(Exception):
    """The known implementation gives up on this store."""


class Used(set):
    """Numbers in use; the lowest free one is claimed. Below `lowest` none is free."""
    lowest = 0

    def claim(self, first, end, what):
        number = max(first, self.lowest)
        while number in self:
            number += 1
        if number >= end:
            raise ValueError(f"no free {what}")
        self.add(number)
        if first <= self.lowest:
            self.lowest = number + 1
        return number

    def free(self, numbers):
        self.difference_update(numbers)
        self.lowest = min([self.lowest, *numbers])


class Writer(Volumes):
    def __init__(self, disk, external=None):
        self.disk = disk
        self.external = external       # as of reader.Store
        self.superblock = None
        self.dirty = False             # the super block is known to say so
        self.pages, self.clusters, self.blobids = Used(), Used(), set()
        self.blobs = {}

    @property
    def layout(self):
        return self.superblock.layout

    # The store

    @operation
    def create_store(self, name, *, uuid=None, cluster_size=4 << 20, ratio=100, page_size=0,
                     clear="unmap", cluster_room=True):
        layout = make_layout(self.disk.size, self.disk.block_size, self.disk.physical_size,
                             cluster_size, page_size=page_size, ratio=ratio)
        if not cluster_room:           # as stores before v22.09
            less = layout.cluster_mask_room - layout.cluster_mask_len
            layout.blobid_mask_start -= less
            layout.md_start -= less
        self.superblock = s.SuperBlock(layout, bstype=s.LVOLSTORE)
        self.clusters = Used(range(layout.md_clusters))
        end = layout.total_pages * layout.page_size
        rest = {"unmap": [Unmap(end, layout.size - end)], "write_zeroes":
                [Zero(end, layout.size - end)], "none": []}[clear]
        yield [Zero(0, end)] + rest
        yield Write(0, self.superblock.encode())
        self.dirty = True
        blob = self.claim_blob("table")
        yield from self.persist(blob)
        self.superblock.super_blob = blob.id
        yield Write(0, self.superblock.encode())
        blob.xattrs["uuid"] = str(uuid or uuids.uuid4()).encode() + b"\0"
        blob.xattrs["name"] = name.encode() + b"\0"
        yield from self.persist(blob)

    @operation
    def rename_store(self, name):
        blob = self.blobs[self.superblock.super_blob]
        blob.xattrs["name"] = name.encode() + b"\0"
        yield from self.persist(blob)

    @operation
    def unload(self):
        at = self.layout
        yield self._mask(s.MASK_PAGES, at.md_len, self.pages, at.page_mask_start, at.page_mask_len)
        if at.blobid_mask_len:
            yield self._mask(s.MASK_BLOBIDS, at.md_len, self.blobids, at.blobid_mask_start,
                             at.blobid_mask_len)
        yield self._mask(s.MASK_CLUSTERS, at.clusters, self.clusters, at.cluster_mask_start,
                         at.cluster_mask_len)
        self.superblock.clean = 1
        yield Write(0, self.superblock.encode())

    def _mask(self, kind, bits, used, start, length):
        page = self.layout.page_size
        return Write(start * page, s.Mask(kind, bits, used).encode(length * page))

    @operation
    def load(self):
        """After an unload or a power cut."""
        store = Store(self.disk.image())
        self.superblock = dataclasses.replace(store.superblock, layout=store.layout)
        self.dirty = False
        if store.clean:
            self.pages = Used(store.masks[s.MASK_PAGES].used)
            self.clusters = Used(store.masks[s.MASK_CLUSTERS].used)
            self.blobids = set(store.masks[s.MASK_BLOBIDS].used)
        else:
            self._recover(store)
            at = self.layout
            yield self._mask(s.MASK_PAGES, at.md_len, self.pages, at.page_mask_start,
                             at.page_mask_len)
            yield self._mask(s.MASK_BLOBIDS, at.md_len, self.blobids, at.blobid_mask_start,
                             at.blobid_mask_len)
            yield self._mask(s.MASK_CLUSTERS, at.clusters, self.clusters, at.cluster_mask_start,
                             at.cluster_mask_len)
        self.blobs = {blob.id: WriterBlob.from_disk(blob) for blob in store.blobs.values()
                      if not blob.broken}
        for blob_id in sorted(self.blobs):
            yield from self._repair(self.blobs[blob_id])

    def _recover(self, store):
        references = 0
        self.pages, self.blobids = Used(), set()
        self.clusters = Used(range(self.layout.md_clusters))
        for blob in store.blobs.values():
            if any(finding.kind == "extent-empty" for finding in blob.findings):
                raise LoadRefused("an extent page of no cluster")
            self.blobids.add(blob.root)
            self.pages.update(blob.chain, blob.pages.values())
            for _, cluster in blob.device_clusters():
                references += 1
                self.clusters.add(cluster)
        if references + self.layout.md_clusters > self.layout.clusters:
            raise LoadRefused("more references than clusters")

    def _repair(self, blob):
        mark = blob.internal.get("SNAPRM") or blob.internal.get("SNAPTMP")
        partner = self.blobs.get(int.from_bytes(mark, "little")) if mark else None
        if partner is None:
            return
        if partner.parent == blob.id:
            blob.drop_internal("SNAPRM")
            blob.drop_internal("SNAPTMP")
            blob.data_ro |= s.READ_ONLY
            yield from self.persist(blob)
            return
        blob.clear_map()
        blob.invalid |= s.THIN
        yield from self.persist(blob)
        yield from self.delete_blob(blob)

    @operation
    def grow_store(self):
        """Online, after the device has grown."""
        at, size = self.layout, self.disk.size
        pages = mask_pages(size // at.cluster_size, at.page_size)
        if pages > at.cluster_mask_room:
            raise ValueError("no room for a larger cluster mask")
        self.superblock.layout = dataclasses.replace(at, size=size, cluster_mask_len=pages)
        self.superblock.clean, self.dirty = 0, True
        yield Write(0, self.superblock.encode())

    @operation
    def destroy_store(self):
        """Its volumes are deleted before."""
        yield from self.delete_blob(self.blobs[self.superblock.super_blob])
        yield Zero(0, STRUCTURE)

    # Blobs

    def claim_blob(self, style):
        index = self.claim_page(0)
        self.blobids.add(index)
        blob = WriterBlob(s.BLOB_BIT | index, style)
        self.blobs[blob.id] = blob
        return blob

    def claim_page(self, first=0):
        return self.pages.claim(first, self.layout.md_len, "metadata page")

    def claim_cluster(self):
        return self.clusters.claim(0, self.layout.clusters, "cluster")

    def mark_dirty(self):
        if not self.dirty:
            self.superblock.clean, self.dirty = 0, True
            yield Write(0, self.superblock.encode())

    def page_write(self, index, page, whole=True):
        data = page.encode()
        if whole:
            data = data.ljust(self.layout.page_size, GARBAGE)
        return Write(self.layout.md_offset(index), data)

    def page_zeroes(self, indexes):
        return [Zero(self.layout.md_offset(index), self.layout.page_size) for index in indexes]

    def write_extents(self, blob, slot):
        index = blob.pages[slot] if slot < len(blob.pages) else blob.cut_pages[slot]
        yield self.page_write(index, s.Page(blob.id, 0, blob.extents_area(slot)))

    def persist(self, blob):
        """The one way in which a blob gets to disk; the root page is the commit."""
        yield from self.mark_dirty()
        if len(blob.map) != blob.stored and blob.style == "table":
            yield from self._write_resized(blob)
        areas = blob.areas()
        chain = [blob.chain[0]] + [self.claim_page() for _ in areas[1:]]
        pages = [s.Page(blob.id, at, bytes(area), following) for at, (area, following)
                 in enumerate(zip(areas, chain[1:] + [s.NO_PAGE]))]
        rest = [self.page_write(index, page, False)
                for index, page in zip(chain[1:], pages[1:])]
        if rest:
            yield rest
        yield self.page_write(chain[0], pages[0])
        old, blob.chain, blob.stored = blob.chain[1:], chain, len(blob.map)
        if old:
            yield self.page_zeroes(old)
            self.pages.free(old)
        cut, blob.cut_clusters = blob.cut_clusters, []
        yield from self.clear_clusters(blob, cut)
        cut, blob.cut_pages = list(blob.cut_pages.values()), {}
        if cut:
            yield self.page_zeroes(cut)
            self.pages.free(cut)

    def _write_resized(self, blob):
        """The former, or the new last extent page and all behind it, in place."""
        old, new = slot_count(blob.stored), len(blob.pages)
        grown = len(blob.map) > blob.stored
        for slot in range(max(1, old if grown else new) - 1, new if grown else old):
            if slot in blob.cut_pages or slot < new and blob.pages[slot]:
                yield from self.write_extents(blob, slot)

    def clear_clusters(self, blob, clusters):
        """Clear as the blob's clear method says, neighbours in one request; then they are free."""
        size, ranges = self.layout.cluster_size, []
        for cluster in sorted(clusters):
            if ranges and sum(ranges[-1]) == cluster:
                ranges[-1][1] += 1
            else:
                ranges.append([cluster, 1])
        method = blob.md_ro & s.MD_RO_KNOWN
        if ranges and method != s.CLEAR_NONE:
            request = Zero if method == s.CLEAR_ZEROES else Unmap
            yield [request(first * size, count * size) for first, count in ranges]
        self.clusters.free(clusters)

    def delete_blob(self, blob):
        """Root and chain are zeroed together: the root is the commit."""
        self.blobids.discard(blob.chain[0])
        del self.blobs[blob.id]
        yield from self.mark_dirty()
        yield self.page_zeroes(reversed(blob.chain))
        self.pages.free(blob.chain)
        yield from self.clear_clusters(blob, [cluster for cluster in blob.map if cluster])
        extents = [index for index in blob.pages if index]
        if extents:
            yield self.page_zeroes(extents)
            self.pages.free(extents)

    def free_clusters(self):
        return self.layout.clusters - len(self.clusters)

    def need_clusters(self, count):
        if count > self.free_clusters():
            raise ValueError(f"{count} clusters are wanted, {self.free_clusters()} are free")

    def clusters_of(self, size):
        return ceil_div(size, self.layout.cluster_size)
