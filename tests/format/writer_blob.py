# SPDX-License-Identifier: BSD-2-Clause
"""A blob in the memory of the writer, and how its chain of pages is packed."""
from . import structures as s
from .layout import SLOT_CLUSTERS, slot_count, slot_entries


class WriterBlob:
    def __init__(self, blob_id, style):
        self.id = blob_id
        self.style = style             # "table" or "runs"
        self.invalid = s.HAS_TABLE if style == "table" else 0
        self.data_ro = self.md_ro = 0
        self.xattrs, self.internal = {}, {}
        self.map = []                  # device cluster of each cluster, 0 = none
        self.pages = []                # md index of the extent page of each slot, 0 = none
        self.chain = [blob_id & 0xFFFFFFFF]
        self.stored = 0                # clusters as last written
        self.cut_clusters = []         # what a shrink has dropped and nothing on disk frees yet
        self.cut_pages = {}            # slot: md index, likewise

    @classmethod
    def from_disk(cls, found):
        """What the reader has found, to be changed from here on."""
        blob = cls(found.id, found.style or "runs")
        blob.invalid, blob.data_ro, blob.md_ro = found.invalid, found.data_ro, found.md_ro
        blob.xattrs, blob.internal = dict(found.xattrs), dict(found.internal)
        blob.map = [found.cluster(index) for index in range(found.clusters)]
        blob.pages = [found.pages.get(slot, 0) for slot in range(slot_count(found.clusters))]
        blob.chain = list(found.chain)
        blob.stored = found.clusters
        return blob

    @property
    def name(self):
        return self.xattrs.get("name", b"").split(b"\0")[0].decode()

    @property
    def thin(self):
        return bool(self.invalid & s.THIN)

    @property
    def parent(self):
        value = self.internal.get("SNAP") if self.invalid & s.ESNAP == 0 else None
        return int.from_bytes(value, "little") if value else None

    @property
    def external(self):
        return self.internal.get("EXTSNAP") if self.invalid & s.ESNAP else None

    def set_internal(self, name, value):
        self.internal[name] = value.to_bytes(8, "little") if isinstance(value, int) else value
        self.invalid |= s.HAS_INTERNAL

    def drop_internal(self, name):
        if self.internal.pop(name, None) is not None and not self.internal:
            self.invalid &= ~s.HAS_INTERNAL

    def clear_map(self):
        self.map = [0] * len(self.map)
        self.pages = [0] * len(self.pages)

    def extents_area(self, slot):
        """The descriptor of an extent page; of no entry beyond the end of the blob."""
        start = SLOT_CLUSTERS * slot
        count = max(0, slot_entries(slot, len(self.map)))
        return s.encode_extents(start, self.map[start:start + count])

    def areas(self):
        """The descriptor areas of the chain, root first."""
        areas = [bytearray(s.encode_flags(self.invalid, self.data_ro, self.md_ro))]
        for kind, space in ((s.XATTR, self.xattrs), (s.INTERNAL, self.internal)):
            for name, value in space.items():
                descriptor = s.encode_xattr(kind, name, value)
                if len(areas[-1]) + len(descriptor) > s.DESCRIPTOR_AREA:
                    areas.append(bytearray())
                areas[-1] += descriptor
        if self.style == "table":
            self._pack(areas, self._table_entries(), 13,
                       lambda entries: s.encode_table(len(self.map), entries))
        elif self.map:
            self._pack(areas, self._runs(), 5, s.encode_runs)
        return areas

    @staticmethod
    def _pack(areas, items, head, encode):
        first = True
        while items or first:
            free = s.DESCRIPTOR_AREA - len(areas[-1])
            if free < 13:
                if not items:
                    return             # the known implementation's table of no slots gets lost here
                areas.append(bytearray())
                continue
            count = (free - head) // 8
            areas[-1] += encode(items[:count])
            items, first = items[count:], False
            if items:
                areas.append(bytearray())

    def _table_entries(self):
        entries = []
        for page in self.pages:
            if not page and entries and not entries[-1][0]:
                entries[-1] = (0, entries[-1][1] + 1)
            else:
                entries.append((page, 1))
        return entries

    def _runs(self):
        runs = []
        for cluster in self.map:
            first, count = runs[-1] if runs else (0, 0)
            if count and (cluster == first + count if first else not cluster):
                runs[-1] = (first, count + 1)
            else:
                runs.append((cluster, 1))
        return runs
