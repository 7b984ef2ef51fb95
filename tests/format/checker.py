# SPDX-License-Identifier: BSD-2-Clause
"""What contradicts itself in an image: python3 -m format.checker [--strict] IMAGE, from tests/.

Findings are errors or notes. What breaks the format but is left behind, and loaded, by the known
implementation is a note; in strict mode, for images that we wrote, it is an error. A store that was
not unloaded may hold the marks of an unfinished snapshot operation, and what two blobs share
because of one: that is a note in either mode. Masks count only in a store that was unloaded.

Nothing is repaired, and only metadata is read. Exit code 1: there are errors.
"""
import argparse
import itertools
import re
import sys

from . import structures as s
from .blob import ERROR, KNOWN, NOTE, Finding
from .image import Image
from .layout import mask_pages
from .reader import Store

UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\0")
UUID_SIZE = 37
NAME_MAX = 64
FEW = 8


def some(numbers):
    first = sorted(itertools.islice(sorted(numbers), FEW))
    more = len(numbers) - len(first)
    return ", ".join(map(str, first)) + (f" and {more} more" if more else "")


class Checker:
    def __init__(self, store):
        self.store = store
        self.layout = store.layout
        self.findings = []
        self.pages = {}                # md index: blob
        self.clusters = {}             # device cluster: blob
        self.shared = {}               # pair of blob ids: what both have, as words

    def report(self, level, kind, text, blob=None, page=-1):
        self.findings.append(Finding(level, kind, text, blob.label if blob else "", page))

    def check(self):
        self.check_super()
        self.check_regions()
        for blob in self.store.blobs.values():
            for finding in blob.findings:
                self.report(finding.level, finding.kind, finding.text, blob, finding.page)
            self.check_flags(blob)
            self.check_mark(blob)
            self.check_parent(blob)
            self.collect(blob)
        self.check_shared()
        if self.store.clean:
            self.check_masks()
        if self.store.lvolstore:
            self.check_lvolstore()
        return self.findings

    # Super block

    def check_super(self):
        block, raw = self.store.superblock, self.store.superblock.layout
        for wrong, kind, text in (
                (block.version < s.VERSION, "super-old", f"version {block.version}"),
                (block.length != 4096, "super-length", f"a length of {block.length}"),
                (block.reserved, "super-reserved", "the reserved bytes are not zeros"),
                (not raw.size, "super-old", "no size"),
                (not raw.io_unit_size, "super-old", "no I/O unit size"),
                (not raw.page_size, "super-old", "no metadata page size"),
                (not raw.blobid_mask_len, "super-old", "no mask of blob ids"),
                (self.layout.cluster_size % self.layout.page_size, "super-geometry",
                 "clusters are no multiple of pages")):
            if wrong:
                self.report(KNOWN, kind, text)
        if block.clean not in (0, 1):
            self.report(ERROR, "super-clean", f"clean is {block.clean}")
        if self.layout.size < self.store.image.size:
            self.report(NOTE, "super-size", f"the device has {self.store.image.size} bytes, the "
                        f"store {self.layout.size}")
        if block.super_blob != s.NO_BLOB and block.super_blob not in self.store.blobs:
            self.report(ERROR, "super-blob", f"there is no blob {block.super_blob:#x}")

    def check_regions(self):
        at, page = self.layout, self.layout.page_size
        end = 1
        regions = [("page mask", at.page_mask_start, at.page_mask_len, at.md_len),
                   ("cluster mask", at.cluster_mask_start, at.cluster_mask_len, at.clusters)]
        if at.blobid_mask_len:
            regions.append(("blob-id mask", at.blobid_mask_start, at.blobid_mask_len, at.md_len))
        for name, start, length, bits in regions:
            if start < end:
                self.report(ERROR, "region-order", f"the {name} starts at {start}, before {end}")
            if length < mask_pages(bits, page):
                self.report(ERROR, "region-length", f"{length} pages of {name} for {bits} bits")
            end = start + length
        if at.md_start < end:
            self.report(ERROR, "region-order", f"metadata starts at {at.md_start}, before {end}")
        md_mask, mask = mask_pages(at.md_len, page), mask_pages(at.clusters, page)
        cluster_start = 1 + md_mask
        room = at.cluster_mask_room
        if (at.page_mask_start, at.page_mask_len, at.cluster_mask_start, at.cluster_mask_len,
                at.blobid_mask_len, at.md_start) != (1, md_mask, cluster_start, mask, md_mask,
                                                     cluster_start + room + md_mask) \
                or room < max(mask, md_mask):
            self.report(KNOWN, "region-place", "not laid out as new stores are")

    # One blob

    def check_flags(self, blob):
        lag = blob.mark and not self.store.clean
        if not blob.flags:
            self.report(KNOWN, "flags-missing", "no flags descriptor", blob)
            return
        if bool(blob.invalid & s.HAS_INTERNAL) != bool(blob.internal):
            self.report(NOTE if lag else KNOWN, "flags-internal",
                        f"flags {blob.invalid:#x} with {len(blob.internal)} internal xattrs", blob)
        if bool(blob.invalid & s.HAS_TABLE) != (blob.style == "table") and blob.style:
            self.report(KNOWN, "flags-table", f"flags {blob.invalid:#x} with a {blob.style}", blob)
        for name in blob.internal:
            if name not in ("SNAP", "SNAPTMP", "SNAPRM", "EXTSNAP"):
                self.report(KNOWN, "internal-name", f"an internal xattr {name!r}", blob)

    def check_mark(self, blob):
        if not blob.mark or blob.broken:
            return
        name, partner = blob.mark
        repair = self.store.repairs[blob.id]
        outcome = {"keep": "a load keeps it as a snapshot", "remove": "a load removes it",
                   "leave": f"its partner {partner:#x} cannot be opened"}[repair]
        level = KNOWN if self.store.clean or repair == "leave" else NOTE
        self.report(level, "mark", f"{name} is set: {outcome}", blob)

    def check_parent(self, blob):
        if "SNAP" not in blob.internal and not blob.esnap:
            if "EXTSNAP" in blob.internal:
                self.report(KNOWN, "esnap-flag", "an external parent's id without the flag", blob)
            return
        if not blob.thin:
            self.report(ERROR, "parent-thick", "a thick blob with a parent", blob)
        if "SNAP" in blob.internal and blob.esnap:
            self.report(KNOWN, "parent-two", "a parent's id beside an external one's", blob)
        if blob.parent is None:
            return
        parent = self.store.blobs.get(blob.parent)
        if parent is None:
            self.report(ERROR, "parent-missing", f"there is no blob {blob.parent:#x}", blob)
            return
        if parent.broken:
            self.report(ERROR, "parent-broken", f"{parent.label} cannot be opened", blob)
        if parent.id == self.store.superblock.super_blob:
            self.report(ERROR, "parent-super", "the super blob is its parent", blob)
        if not parent.read_only and not (parent.mark and not self.store.clean):
            self.report(KNOWN, "parent-writable", f"{parent.label} is not read-only", blob)
        seen = {blob.id}
        while parent is not None and parent.id not in seen:
            seen.add(parent.id)
            parent = self.store.blobs.get(parent.parent)
        if parent is not None and parent.id == blob.id:
            self.report(ERROR, "parent-loop", "it is its own ancestor", blob)

    # Who owns what

    def collect(self, blob):
        for index in blob.chain:
            other = self.pages.setdefault(index, blob)
            if other is not blob:
                self.report(ERROR, "page-shared", f"a chain page of {other.label} too", blob, index)
        for index in blob.pages.values():
            other = self.pages.setdefault(index, blob)
            if other is not blob:
                self._share(other, blob, f"page {index}")
            elif index in blob.chain:
                self.report(ERROR, "page-shared", "chain page and extent page", blob, index)
        own = set()
        for index, cluster in blob.device_clusters():
            if cluster < self.layout.md_clusters:
                self.report(ERROR, "cluster-metadata", f"cluster {index} is at {cluster}, metadata",
                            blob)
            if cluster in own:
                self.report(ERROR, "cluster-twice", f"device cluster {cluster} is there twice",
                            blob)
            own.add(cluster)
            other = self.clusters.setdefault(cluster, blob)
            if other is not blob:
                self._share(other, blob, f"cluster {cluster}")

    def _share(self, one, two, what):
        self.shared.setdefault((one.id, two.id), []).append(what)

    def check_shared(self):
        for (one, two), things in self.shared.items():
            one, two = self.store.blobs[one], self.store.blobs[two]
            if any(a.mark and a.mark[1] == b.id for a, b in ((one, two), (two, one))):
                level = KNOWN if self.store.clean else NOTE
            else:
                level = KNOWN if one.id == two.parent or two.id == one.parent else ERROR
            more = f" and {len(things) - 1} more" if things[1:] else ""
            self.report(level, "shared", f"{one.label} has {things[0]}{more} too", two)
        references = sum(blob.allocated for blob in self.store.blobs.values())
        if not self.store.clean and references + self.layout.md_clusters > self.layout.clusters:
            self.report(NOTE, "references", "the known implementation cannot recover this store: "
                        f"{references} references are more than it has data clusters")

    # Masks

    def check_masks(self):
        at = self.layout
        pages, clusters, blobids = self.store.masks
        good = True
        for kind, mask, bits in ((s.MASK_PAGES, pages, at.md_len),
                                 (s.MASK_CLUSTERS, clusters, at.clusters),
                                 (s.MASK_BLOBIDS, blobids, at.md_len)):
            if mask.kind != kind:
                self.report(ERROR, "mask-type", f"mask {kind} has type {mask.kind}")
                good = False
            surplus = kind == s.MASK_CLUSTERS and mask.bits > bits
            if mask.bits != bits:
                self.report(KNOWN if surplus else ERROR, "mask-bits", f"mask {kind} has "
                            f"{mask.bits} bits instead of {bits}")
                good = good and surplus
            if mask.surplus:
                self.report(KNOWN, "mask-surplus", f"mask {kind} goes on behind its last bit")
        if not good:
            return
        metadata = set(range(at.md_clusters))
        used = {cluster for cluster in clusters.used if cluster < at.clusters}
        self._compare(set(self.pages), pages.used, "page")
        self._compare(set(self.clusters) | metadata, used, "cluster")
        stale = self.store.scanned_roots - blobids.used
        if stale:
            self.report(ERROR, "root-stale", f"a recovery would bring back blobs: {some(stale)}")

    def _compare(self, wanted, used, what):
        if wanted - used:
            self.report(ERROR, f"{what}-unmarked", f"in use but free in the mask: "
                        f"{some(wanted - used)}")
        if used - wanted:
            self.report(KNOWN, f"{what}-leak", f"used in the mask but by nobody: "
                        f"{some(used - wanted)}")

    # Logical volumes

    def check_lvolstore(self):
        root = self.store.super_blob
        if root is None or root.broken:
            self.report(ERROR, "lvol-super", "no super blob that can be opened")
        else:
            self._check_uuid(root, ERROR)
            self._check_name(root)
            if root.clusters:
                self.report(KNOWN, "lvol-super", "the super blob has clusters", root)
        names, uuids = {}, {}
        for blob in self.store.blobs.values():
            if blob is root or blob.broken:
                continue
            self._check_name(blob)
            self._check_uuid(blob, KNOWN)
            for space, value, what in ((names, blob.name, "name"), (uuids, blob.uuid, "uuid")):
                if value and space.setdefault(value, blob) is not blob:
                    self.report(ERROR, "lvol-double", f"the {what} {value} is there twice", blob)
            if blob.esnap and not UUID.fullmatch(blob.external or b""):
                self.report(NOTE, "esnap-uuid", f"the external parent is {blob.external}", blob)

    def _check_name(self, blob):
        value = blob.xattrs.get("name")
        if value is None or len(value) > NAME_MAX or b"\0" not in value or value[0] == 0:
            self.report(ERROR, "lvol-name", f"the name is {value!r}: the store is refused", blob)

    def _check_uuid(self, blob, level):
        value = blob.xattrs.get("uuid")
        if value is None or len(value) != UUID_SIZE or not UUID.fullmatch(value):
            self.report(level, "lvol-uuid", f"the uuid is {value!r}", blob)


def check_store(store, strict=False):
    findings = Checker(store).check()
    for finding in findings:
        if finding.level == KNOWN:
            finding.level = ERROR if strict else NOTE
    return findings


def check(source, strict=False):
    """All findings of an image; what cannot be opened at all is one error."""
    with Image(source) as image:
        try:
            return check_store(Store(image), strict)
        except s.FormatError as error:
            return [Finding(ERROR, error.kind, str(error))]


def errors(findings):
    return [finding for finding in findings if finding.level == ERROR]


def main():
    parser = argparse.ArgumentParser(prog="format.checker",
                                     description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("image")
    parser.add_argument("--strict", action="store_true", help="as for images that we wrote")
    args = parser.parse_args()
    try:
        findings = check(args.image, args.strict)
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    for finding in findings:
        print(finding)
    return 1 if errors(findings) else 0


if __name__ == "__main__":
    sys.exit(main())
