# SPDX-License-Identifier: BSD-2-Clause
"""One blob as its pages describe it: chain, flags, xattrs, clusters.

What is wrong is collected, not raised, so that one bad blob hides no other. A finding has one of
three levels: ERROR contradicts the format; KNOWN does too, but the known implementation leaves it
behind (section 13 of the format) and loads it; NOTE is worth knowing only. `broken` is the reason
for which a blob cannot be opened.

Where an extent page and the extent table disagree about sizes the table wins: missing entries are
unallocated, surplus ones are ignored. A thick blob has no unallocated clusters: there the blob ends
with the entries, since only a shrink that has got as far as this page leaves such.
"""
import array
import dataclasses

from . import structures as s
from .layout import SLOT_CLUSTERS, slot_count, slot_entries

ERROR, KNOWN, NOTE = "error", "known", "note"


@dataclasses.dataclass
class Finding:
    level: str
    kind: str
    text: str
    volume: str = ""
    page: int = -1             # md index, -1: none in particular

    def __str__(self):
        where = f" {self.volume}" if self.volume else ""
        where += f" page {self.page}" if self.page >= 0 else ""
        return f"{self.level}: {self.kind}:{where} {self.text}"


class Blob:
    def __init__(self, blob_id):
        self.id = blob_id
        self.root = blob_id & 0xFFFFFFFF
        self.flags = None              # has a flags descriptor
        self.invalid = self.data_ro = self.md_ro = 0
        self.xattrs, self.internal = {}, {}
        self.chain = []
        self.style = None              # "table", "runs" or None: neither was there
        self.clusters = 0
        self.pages = {}                # slot: md index of its extent page
        self.slots = {}                # slot: device cluster of each of its clusters, 0 = none
        self.findings = []
        self.broken = None
        self.clones = []               # ids of blobs whose parent this is, set by the store

    def __repr__(self):
        return f"<blob {self.id:#x} {self.name!r}>"

    @property
    def label(self):
        return self.name or f"{self.id:#x}"

    @property
    def name(self):
        return _text(self.xattrs.get("name"))

    @property
    def uuid(self):
        return _text(self.xattrs.get("uuid"))

    @property
    def thin(self):
        return bool(self.invalid & s.THIN)

    @property
    def esnap(self):
        return bool(self.invalid & s.ESNAP)

    @property
    def read_only(self):
        return bool(self.data_ro & s.READ_ONLY)

    @property
    def parent(self):
        """Blob id of the parent, or None; an external one, which comes first, is `external`."""
        value = None if self.esnap else self.internal.get("SNAP")
        return int.from_bytes(value, "little") if value and len(value) == 8 else None

    @property
    def external(self):
        return self.internal.get("EXTSNAP") if self.esnap else None

    @property
    def mark(self):
        """(name, blob id) of the mark of an unfinished snapshot operation, or None."""
        for name in ("SNAPRM", "SNAPTMP"):
            value = self.internal.get(name)
            if value is not None and len(value) == 8:
                return name, int.from_bytes(value, "little")
        return None

    @property
    def allocated(self):
        return sum(1 for _ in self.device_clusters())

    def cluster(self, index):
        """Device cluster behind a cluster of the blob, 0 = none."""
        entries = self.slots.get(index // SLOT_CLUSTERS)
        at = index % SLOT_CLUSTERS
        return entries[at] if entries is not None and at < len(entries) else 0

    def device_clusters(self):
        """Pairs of own cluster and device cluster."""
        for slot in sorted(self.slots):
            for at, cluster in enumerate(self.slots[slot]):
                if cluster:
                    yield SLOT_CLUSTERS * slot + at, cluster

    def report(self, level, kind, text, page=-1):
        self.findings.append(Finding(level, kind, text, page=page))

    def break_(self, level, kind, text, page=-1):
        self.report(level, kind, text, page)
        self.broken = self.broken or text


def _text(value):
    if value is None:
        return None
    return value.split(b"\0")[0].decode(errors="backslashreplace")


class BlobReader:
    """Reads one blob; `fetch` gives the 4096 bytes of a md index."""

    def __init__(self, fetch, layout, blob_id):
        self.fetch = fetch
        self.layout = layout
        self.blob = Blob(blob_id)
        self.runs_at = 0               # clusters of run lists so far
        self.table = []                # (md index, repeat count) of all parts
        self.table_clusters = None

    def read(self):
        self._walk_chain()
        blob = self.blob
        if blob.style == "table":
            blob.clusters = self.table_clusters or 0
            self._read_table()
        elif blob.style == "runs":
            blob.clusters = self.runs_at
        elif blob.flags and blob.invalid & s.HAS_TABLE:
            # What the known implementation makes of an empty one near the end of a page.
            blob.report(KNOWN, "table-missing", "there is no extent table")
        self._judge_flags()
        return blob

    def _walk_chain(self):
        blob, index, sequence, seen = self.blob, self.blob.root, 0, set()
        while True:
            if index >= self.layout.md_len:
                return blob.break_(ERROR, "chain-range", f"the chain goes to page {index}")
            if index in seen:
                return blob.break_(ERROR, "chain-loop", "the chain comes back to itself", index)
            page = s.Page.decode(self.fetch(index))
            if page is None:
                level = KNOWN if not any(self.fetch(index)) else ERROR
                what = "chain-zeroed" if level == KNOWN else "page-crc"
                return blob.break_(level, what, "no valid page where the chain has one", index)
            if page.blob_id != blob.id:
                return blob.break_(ERROR, "page-id", f"the page says {page.blob_id:#x}", index)
            if page.sequence != sequence:
                return blob.break_(ERROR, "page-sequence", f"page {sequence} of the chain says "
                                   f"{page.sequence}", index)
            seen.add(index)
            blob.chain.append(index)
            self._parse(page, index)
            if page.following == s.NO_PAGE:
                return None
            index, sequence = page.following, sequence + 1

    def _parse(self, page, index):
        blob = self.blob
        if page.reserved:
            blob.report(KNOWN, "page-reserved", "the reserved word is not 0", index)
        try:
            descriptors = page.descriptors()
            for descriptor in descriptors:
                self._take(descriptor, index)
            if any(page.after_descriptors()):
                blob.report(KNOWN, "page-tail", "no zeros after the last descriptor", index)
        except s.FormatError as error:
            blob.break_(ERROR, error.kind, str(error), index)

    def _take(self, descriptor, index):
        blob, kind = self.blob, descriptor.kind
        if kind == s.FLAGS:
            if blob.flags:
                blob.report(ERROR, "flags-twice", "a second flags descriptor", index)
            if blob.style or index != blob.root or descriptor.offset:
                level = ERROR if blob.style else KNOWN
                blob.report(level, "flags-late", "the flags do not come first", index)
            blob.flags = True
            blob.invalid, blob.data_ro, blob.md_ro = s.decode_flags(descriptor.body)
        elif kind in (s.XATTR, s.INTERNAL):
            name, value = s.decode_xattr(descriptor.body)
            space = blob.xattrs if kind == s.XATTR else blob.internal
            if name in space:
                blob.report(ERROR, "xattr-twice", f"xattr {name!r} is there twice", index)
            if not name:
                blob.report(ERROR, "xattr-nameless", "an xattr without a name", index)
            space[name] = value
        elif kind == s.RUNS:
            self._style("runs", index)
            self._take_runs(s.decode_runs(descriptor.body), index)
        elif kind == s.TABLE:
            self._style("table", index)
            self._take_table(*s.decode_table(descriptor.body), index)
        elif kind == s.EXTENTS:
            blob.report(ERROR, "extents-in-chain", "extents of a page in the chain", index)
        elif kind != s.PADDING:
            blob.report(ERROR, "descriptor-type", f"a descriptor of type {kind}: a recovery "
                        "refuses the whole store", index)

    def _style(self, style, index):
        if self.blob.style not in (None, style):
            self.blob.break_(ERROR, "styles-mixed", "a run list and an extent table", index)
        self.blob.style = style

    def _take_runs(self, runs, index):
        blob = self.blob
        for first, count in runs:
            if first and first + count > self.layout.clusters:
                blob.break_(ERROR, "cluster-range", f"{count} clusters from {first}, of "
                            f"{self.layout.clusters}", index)
            elif first:
                for at in range(count):
                    self._put(self.runs_at + at, first + at)
            elif not blob.thin:
                blob.break_(ERROR, "hole-in-thick", "an unallocated run in a thick blob", index)
            self.runs_at += count

    def _put(self, index, cluster):
        slot = index // SLOT_CLUSTERS
        entries = self.blob.slots.setdefault(slot, array.array("I"))
        entries.extend([0] * (index % SLOT_CLUSTERS + 1 - len(entries)))
        entries[index % SLOT_CLUSTERS] = cluster

    def _take_table(self, clusters, entries, index):
        if self.table_clusters not in (None, clusters):
            self.blob.break_(ERROR, "table-size", f"a part of the extent table says {clusters} "
                             f"clusters, one before {self.table_clusters}", index)
        elif self.table_clusters is None:
            self.table_clusters = clusters
        for page, count in entries:
            if page and count != 1:
                self.blob.break_(ERROR, "table-repeat", f"page {page} with a repeat count of "
                                 f"{count}", index)
            if not page and not count:
                self.blob.report(ERROR, "table-repeat", "an empty run of no slots", index)
            self.table.append((page, count))

    def _read_table(self):
        blob, slot, taken = self.blob, 0, set()
        slots = slot_count(blob.clusters)
        for page, count in self.table:
            if not page:
                if not blob.thin:
                    blob.break_(ERROR, "hole-in-thick", f"slot {slot} of a thick blob is empty")
                slot += count
                continue
            if page >= self.layout.md_len:
                blob.break_(ERROR, "table-range", f"slot {slot} is at page {page}")
            elif page in taken:
                blob.break_(ERROR, "extent-page-twice", "two slots have the same page", page)
            elif slot < slots:
                blob.pages[slot] = page
                taken.add(page)
                if slot < slot_count(blob.clusters):
                    self._read_extents(slot, page)
            slot += 1
        if slot != slots:
            blob.report(ERROR, "table-slots", f"{slot} slots for {blob.clusters} clusters")

    def _read_extents(self, slot, index):
        blob = self.blob
        page = s.Page.decode(self.fetch(index))
        if page is None:
            return blob.break_(ERROR, "extent-crc", f"the page of slot {slot} is not valid", index)
        if page.blob_id == s.BLOB_BIT | index:
            blob.report(ERROR, "extent-id", "an extent page that looks like a root", index)
        if page.sequence or page.following != s.NO_PAGE:
            blob.break_(ERROR, "extent-head", f"sequence {page.sequence}, next {page.following:#x}",
                        index)
        try:
            descriptors = page.descriptors()
            if len(descriptors) != 1 or descriptors[0].kind != s.EXTENTS:
                raise s.FormatError("extent-kind", "not extents alone")
            start, entries = s.decode_extents(descriptors[0].body)
            if any(page.after_descriptors()):
                blob.report(KNOWN, "page-tail", "no zeros after the extents", index)
        except s.FormatError as error:
            return blob.break_(ERROR, error.kind, str(error), index)
        if start != SLOT_CLUSTERS * slot:
            return blob.break_(ERROR, "extent-start", f"the page of slot {slot} starts at {start}",
                               index)
        return self._take_extents(slot, entries, index)

    def _take_extents(self, slot, entries, index):
        blob, wanted = self.blob, slot_entries(slot, self.blob.clusters)
        if not entries:
            blob.report(KNOWN, "extent-empty", "extents of no cluster: a recovery by the known "
                        "implementation refuses the whole store", index)
        elif len(entries) != wanted:
            blob.report(KNOWN, "extent-count", f"{len(entries)} entries instead of {wanted}", index)
        if len(entries) < wanted and not blob.thin:
            blob.clusters = SLOT_CLUSTERS * slot + len(entries)
            wanted = len(entries)
        entries = array.array("I", entries[:wanted])
        entries.extend([0] * (wanted - len(entries)))
        for at, cluster in enumerate(entries):
            if cluster >= self.layout.clusters:
                blob.break_(ERROR, "cluster-range", f"cluster {SLOT_CLUSTERS * slot + at} is at "
                            f"{cluster}, of {self.layout.clusters}", index)
                entries[at] = 0
        if 0 in entries and not blob.thin:
            blob.break_(ERROR, "hole-in-thick", f"slot {slot} of a thick blob has holes", index)
        blob.slots[slot] = entries

    def _judge_flags(self):
        blob = self.blob
        unknown = blob.invalid & ~s.INVALID_KNOWN
        if unknown:
            blob.break_(ERROR, "flags-unknown", f"unknown flags {unknown:#x}")
        if blob.data_ro & ~s.DATA_RO_KNOWN or blob.md_ro & ~s.MD_RO_KNOWN:
            blob.report(KNOWN, "flags-read-only", f"unknown flags {blob.data_ro:#x} and "
                        f"{blob.md_ro:#x} force it read-only")
        for name in ("SNAP", "SNAPTMP", "SNAPRM"):
            if len(blob.internal.get(name, bytes(8))) != 8:
                blob.break_(ERROR, "internal-length", f"{name} is not 8 bytes long")
        if blob.esnap and not blob.internal.get("EXTSNAP"):
            blob.break_(ERROR, "esnap-id", "a clone of an external snapshot without its id")


def read_blob(fetch, layout, blob_id):
    return BlobReader(fetch, layout, blob_id).read()
