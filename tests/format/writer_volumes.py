# SPDX-License-Identifier: BSD-2-Clause
"""What the writer does to volumes: each operation with its writes in order.

Volumes are named; a name at creation fills 64 bytes, after a rename only what it needs.
"""
import uuid as uuids

from . import structures as s
from .disk import Unmap, Write, operation
from .layout import SLOT_CLUSTERS, slot_count

CLEAR = {"default": s.CLEAR_DEFAULT, "none": s.CLEAR_NONE, "unmap": s.CLEAR_UNMAP,
         "write_zeroes": s.CLEAR_ZEROES}


class Volumes:
    def volume(self, name):
        for blob in self.blobs.values():
            if blob.name == name and blob.id != self.superblock.super_blob:
                return blob
        raise KeyError(name)

    def clones(self, blob):
        return [other for other in self.blobs.values() if other.parent == blob.id]

    # Coming and going

    def _new(self, name, uuid, clusters, style, thin):
        blob = self.claim_blob(style)
        blob.xattrs["name"] = name.encode().ljust(64, b"\0")
        blob.xattrs["uuid"] = str(uuid or uuids.uuid4()).encode() + b"\0"
        if thin:
            blob.invalid |= s.THIN
        self._extend(blob, clusters)
        return blob

    def _extend(self, blob, clusters):
        more = clusters - len(blob.map)
        if not blob.thin:
            self.need_clusters(more)
        blob.map += [0 if blob.thin else self.claim_cluster() for _ in range(more)]
        while len(blob.pages) < slot_count(clusters):
            claim = blob.style == "table" and not blob.thin
            blob.pages.append(self.claim_page(1) if claim else 0)

    @operation
    def create_volume(self, name, size, *, thin=False, uuid=None, clear="default", style="table"):
        blob = self._new(name, uuid, self.clusters_of(size), style, thin)
        blob.md_ro |= CLEAR[clear]
        yield from self.persist(blob)

    @operation
    def create_external_clone(self, name, external, size, *, uuid=None):
        """`external` is the id: the text of a device's uuid gets its NUL here."""
        blob = self._new(name, uuid, self.clusters_of(size), "table", True)
        blob.invalid |= s.ESNAP
        blob.set_internal("EXTSNAP", _external_id(external))
        yield from self.persist(blob)

    @operation
    def create_clone(self, name, snapshot, *, uuid=None):
        parent = self.volume(snapshot)
        if not parent.data_ro & s.READ_ONLY:
            raise ValueError(f"{snapshot} is not read-only")
        blob = self._new(name, uuid, len(parent.map), parent.style, True)
        blob.set_internal("SNAP", parent.id)
        yield from self.persist(blob)

    @operation
    def create_snapshot(self, origin, name, *, uuid=None):
        blob = self.volume(origin)
        if blob.data_ro & s.READ_ONLY:
            raise ValueError(f"{origin} is read-only")
        snapshot = self._new(name, uuid, len(blob.map), blob.style, True)
        snapshot.set_internal("SNAPTMP", blob.id)
        yield from self.persist(snapshot)

        snapshot.map, snapshot.pages = blob.map, blob.pages
        snapshot.invalid, snapshot.md_ro = blob.invalid, blob.md_ro
        if blob.external is not None:
            snapshot.set_internal("EXTSNAP", blob.external)
        elif blob.parent is not None:
            snapshot.set_internal("SNAP", blob.parent)
        yield from self.persist(snapshot)

        blob.clear_map()
        blob.invalid = blob.invalid & ~s.ESNAP | s.THIN
        blob.drop_internal("EXTSNAP")
        blob.set_internal("SNAP", snapshot.id)
        yield from self.persist(blob)

        snapshot.drop_internal("SNAPTMP")
        snapshot.data_ro |= s.READ_ONLY
        yield from self.persist(snapshot)

    @operation
    def delete(self, name):
        blob = self.volume(name)
        clones = self.clones(blob)
        if len(clones) > 1:
            raise ValueError(f"{name} has {len(clones)} clones")
        if clones:
            yield from self._detach(blob, clones[0])
        yield from self.delete_blob(blob)

    def _detach(self, snapshot, clone):
        """The only clone takes over what it has seen through its snapshot."""
        snapshot.set_internal("SNAPRM", clone.id)
        yield from self.persist(snapshot)

        for index in range(min(len(clone.map), len(snapshot.map))):
            clone.map[index] = clone.map[index] or snapshot.map[index]
        for slot in range(min(len(clone.pages), len(snapshot.pages))):
            if clone.pages[slot] and snapshot.pages[slot]:
                yield from self.write_extents(clone, slot)
            else:
                clone.pages[slot] = clone.pages[slot] or snapshot.pages[slot]

        if snapshot.external is not None:
            clone.invalid |= s.ESNAP   # and SNAP stays, though nobody reads it any more
            clone.set_internal("EXTSNAP", snapshot.external)
        elif snapshot.parent is not None:
            clone.set_internal("SNAP", snapshot.parent)
        else:
            clone.drop_internal("SNAP")
        yield from self.persist(clone)

        for index in range(min(len(clone.map), len(snapshot.map))):
            if clone.map[index] == snapshot.map[index]:
                snapshot.map[index] = 0
        for slot in range(min(len(clone.pages), len(snapshot.pages))):
            if clone.pages[slot] == snapshot.pages[slot]:
                snapshot.pages[slot] = 0
        snapshot.invalid |= s.THIN
        yield from self.persist(snapshot)

    # Properties

    @operation
    def rename(self, name, new_name):
        blob = self.volume(name)
        blob.xattrs["name"] = new_name.encode() + b"\0"
        yield from self.persist(blob)

    @operation
    def set_read_only(self, name):
        blob = self.volume(name)
        blob.data_ro |= s.READ_ONLY
        yield from self.persist(blob)

    @operation
    def set_xattr(self, name, key, value):
        blob = self.volume(name)
        blob.xattrs[key] = value
        yield from self.persist(blob)

    @operation
    def resize(self, name, size):
        blob, clusters = self.volume(name), self.clusters_of(size)
        if clusters >= len(blob.map):
            self._extend(blob, clusters)
        else:
            blob.cut_clusters = [cluster for cluster in blob.map[clusters:] if cluster]
            slots = slot_count(clusters)
            blob.cut_pages = {slot: blob.pages[slot] for slot in range(slots, len(blob.pages))
                              if blob.pages[slot]}
            del blob.map[clusters:], blob.pages[slots:]
        if clusters != blob.stored:
            yield from self.persist(blob)

    # Parents

    @operation
    def inflate(self, name):
        """Every cluster becomes the volume's own; it is thick afterwards."""
        blob = self.volume(name)
        missing = [index for index, cluster in enumerate(blob.map) if not cluster]
        self.need_clusters(len(missing))
        for index in missing:
            yield from self.allocate(blob, index)
        yield from self._cut_loose(blob)

    def _cut_loose(self, blob):
        blob.invalid &= ~(s.THIN | s.ESNAP)
        blob.drop_internal("SNAP")
        blob.drop_internal("EXTSNAP")
        yield from self.persist(blob)

    @operation
    def decouple_parent(self, name):
        """What the parent itself holds is copied; the grandparent becomes the parent. That an
        external one cannot be is found out last."""
        blob = self.volume(name)
        if blob.external is not None:
            yield from type(self).inflate.steps(self, name)
            return
        parent = self.blobs[blob.parent]
        missing = [index for index, cluster in enumerate(blob.map)
                   if not cluster and index < len(parent.map) and parent.map[index]]
        self.need_clusters(len(missing))
        for index in missing:
            yield from self.allocate(blob, index)
        if parent.external is not None:
            raise ValueError(f"{parent.name} is a clone of an external snapshot")
        if parent.parent is not None:
            blob.set_internal("SNAP", parent.parent)
        else:
            blob.drop_internal("SNAP")
        yield from self.persist(blob)

    @operation
    def set_parent(self, name, snapshot):
        blob, parent = self.volume(name), self.volume(snapshot)
        if not blob.thin or len(parent.map) != len(blob.map):
            raise ValueError(f"{snapshot} cannot be the parent of {name}")
        blob.invalid &= ~s.ESNAP
        blob.drop_internal("EXTSNAP")
        blob.set_internal("SNAP", parent.id)
        yield from self.persist(blob)

    @operation
    def set_external_parent(self, name, external):
        blob = self.volume(name)
        blob.invalid |= s.ESNAP        # and SNAP stays, though nobody reads it any more
        blob.set_internal("EXTSNAP", _external_id(external))
        yield from self.persist(blob)

    # Data

    def _source(self, blob, index):
        """The device cluster, None for zeros, or the external id, seen through the parents."""
        while index < len(blob.map):
            if blob.map[index]:
                return blob.map[index]
            if blob.external is not None:
                return blob.external
            if not blob.thin or blob.parent is None:
                return None
            blob = self.blobs[blob.parent]
        return None

    def _cluster_bytes(self, source, index):
        size = self.layout.cluster_size
        if isinstance(source, int):
            return self.disk.read(source * size, size)
        return self.external(source, index * size, size).ljust(size, b"\0")

    def allocate(self, blob, index):
        """A cluster of the blob's own, with what it showed before, mapped after it is written."""
        slot, source = index // SLOT_CLUSTERS, self._source(blob, index)
        cluster = self.claim_cluster()
        fresh = self.claim_page(1) if blob.style == "table" and not blob.pages[slot] else 0
        if source is not None:
            yield Write(cluster * self.layout.cluster_size, self._cluster_bytes(source, index))
        blob.map[index] = cluster
        if blob.style == "runs":
            yield from self.persist(blob)
            return
        yield from self.mark_dirty()
        if not fresh:
            yield from self.write_extents(blob, slot)
            return
        blob.pages[slot] = fresh
        yield from self.write_extents(blob, slot)
        yield from self.persist(blob)

    def _pieces(self, blob, offset, length):
        size = self.layout.cluster_size
        if offset + length > len(blob.map) * size:
            raise ValueError(f"{offset} + {length} is past the end of {blob.name}")
        while length:
            index, inside = divmod(offset, size)
            count = min(length, size - inside)
            yield index, inside, count
            offset, length = offset + count, length - count

    @operation
    def write(self, name, offset, data):
        blob, size, at = self.volume(name), self.layout.cluster_size, 0
        if blob.data_ro & s.READ_ONLY:
            raise ValueError(f"{name} is read-only")
        for index, inside, count in self._pieces(blob, offset, len(data)):
            if not blob.map[index]:
                yield from self.allocate(blob, index)
            yield Write(blob.map[index] * size + inside, data[at:at + count])
            at += count

    @operation
    def unmap(self, name, offset, length):
        """A whole cluster of a thin volume without a parent is given back."""
        blob, size = self.volume(name), self.layout.cluster_size
        for index, inside, count in self._pieces(blob, offset, length):
            cluster = blob.map[index]
            if not cluster:
                continue
            yield Unmap(cluster * size + inside, count)
            if count != size or not blob.thin or blob.parent is not None \
                    or blob.external is not None:
                continue
            blob.map[index] = 0
            if blob.style == "table":
                yield from self.mark_dirty()
                yield from self.write_extents(blob, index // SLOT_CLUSTERS)
                self.clusters.free([cluster])
            else:
                self.clusters.free([cluster])
                yield from self.persist(blob)


def _external_id(external):
    return external if isinstance(external, bytes) else external.encode() + b"\0"
