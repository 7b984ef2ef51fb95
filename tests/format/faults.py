# SPDX-License-Identifier: BSD-2-Clause
"""Faults to be planted in a sound image: one function a fault, each made by an Editor.

FAULTS has for each the kind of finding it has to lead to, and how the finding counts: ERROR in
either mode, KNOWN as a note and in strict mode as an error, NOTE as a note.
"""
import dataclasses
import struct

from . import structures as s
from .blob import ERROR, KNOWN, NOTE
from .image import Image
from .reader import Store
from .shadow import Shadow
from .writer_blob import WriterBlob

FAULTS = []


def fault(kind, level=ERROR):
    def register(function):
        FAULTS.append((kind, level, function))
        return function
    return register


def make_sound(path):
    """What the faults are planted in: a volume of each kind, unloaded."""
    shadow = Shadow(path)
    shadow.create("vol", 600, thin=True)
    shadow.write("vol", 2, "a")
    shadow.write("vol", 3, "a")
    shadow.write("vol", 599, "b")
    shadow.snapshot("vol", "snap")
    shadow.write("vol", 2, "c")
    shadow.create("thick", 4)
    shadow.create("runs", 8, thin=True, style="runs")
    shadow.write("runs", 3, "d")
    shadow.write("runs", 4, "e")
    shadow.external_clone("outside", 3)
    shadow.writer.unload()
    shadow.disk.close()


class Editor:
    def __init__(self, path):
        self.path = path
        with Store(path) as store:
            self.blobs = {blob.label: blob for blob in store.blobs.values()}
            self.layout = store.layout

    def __getitem__(self, name):
        return self.blobs[name]

    def read(self, offset, length):
        with Image(self.path) as image:
            return image.read(offset, length)

    def write(self, offset, data):
        with open(self.path, "r+b") as file:
            file.seek(offset)
            file.write(data)

    def page(self, index):
        return s.Page.decode(self.read(self.layout.md_offset(index), 4096))

    def put(self, index, page):
        self.write(self.layout.md_offset(index), page.encode())

    def change(self, index, **fields):
        self.put(index, dataclasses.replace(self.page(index), **fields))

    def descriptors(self, index, edit):
        """Let edit change the list of descriptors of a page."""
        page = self.page(index)
        found = page.descriptors()
        edit(found)
        page.area = b"".join(descriptor.encode() for descriptor in found)
        self.put(index, page)

    def blob(self, name, edit):
        """Let edit change a blob as a writer has it, and write its root again."""
        blob = WriterBlob.from_disk(self.blobs[name])
        edit(blob)
        areas = blob.areas()
        assert len(areas) == 1
        self.put(blob.chain[0], s.Page(blob.id, 0, bytes(areas[0])))

    def super(self, **fields):
        block = s.SuperBlock.decode(self.read(0, 4096))
        names = {field.name for field in dataclasses.fields(block.layout)}
        layout = {name: fields.pop(name) for name in list(fields) if name in names}
        block.layout = dataclasses.replace(block.layout, **layout)
        self.write(0, dataclasses.replace(block, **fields).encode())

    def mask(self, kind, edit):
        start = (self.layout.page_mask_start, self.layout.cluster_mask_start,
                 self.layout.blobid_mask_start)[kind] * self.layout.page_size
        mask = s.Mask.decode(self.read(start, self.layout.page_size))
        edit(mask)
        self.write(start, mask.encode(self.layout.page_size))

    def extents(self, name, slot, edit):
        """Let edit change the entries of an extent page."""
        index = self[name].pages[slot]
        page = self.page(index)
        start, entries = s.decode_extents(page.descriptors()[0].body)
        edit(entries)
        page.area = s.encode_extents(start, entries)
        self.put(index, page)

    def unclean(self):
        self.super(clean=0)


# Super block

@fault("super-signature")
def no_signature(image):
    image.write(0, b"SPDKBLOK")


@fault("super-version")
def a_version_of_the_future(image):
    image.super(version=4)


@fault("super-crc")
def a_flipped_bit_in_the_super_block(image):
    image.write(3000, b"\1")


@fault("super-size")
def a_store_larger_than_its_device(image):
    image.super(size=9 << 20)


@fault("super-size", NOTE)
def a_store_smaller_than_its_device(image):
    with open(image.path, "r+b") as file:
        file.truncate(9 << 20)


@fault("super-geometry")
def no_cluster_size(image):
    image.super(cluster_size=0)


@fault("super-geometry")
def pages_of_a_block_and_a_half(image):
    image.super(io_unit_size=3000)


@fault("super-geometry")
def metadata_past_the_end(image):
    image.super(md_len=3000)


@fault("super-old", KNOWN)
def an_old_version(image):
    image.super(version=2)


@fault("super-length", KNOWN)
def a_wrong_length(image):
    image.super(length=512)


@fault("super-reserved", KNOWN)
def something_in_the_reserved_bytes(image):
    image.super(reserved=b"\1")


@fault("super-clean")
def neither_clean_nor_not(image):
    image.super(clean=2)


@fault("super-blob")
def a_super_blob_that_is_not_there(image):
    image.super(super_blob=0x100000063)


@fault("region-order")
def masks_that_overlap(image):
    image.super(cluster_mask_start=1)


@fault("region-order")
def metadata_over_a_mask(image):
    image.super(md_start=3)


@fault("region-length")
def a_mask_without_pages(image):
    image.super(page_mask_len=0)


@fault("region-place", KNOWN)
def metadata_a_page_further_than_needed(image):
    start = image.layout.md_offset(0)
    image.write(start + 4096, image.read(start, 40 * 4096))
    image.super(md_start=image.layout.md_start + 1, md_len=image.layout.md_len - 1, clean=0)


# Masks

@fault("mask-type")
def a_mask_of_another_type(image):
    image.mask(s.MASK_PAGES, lambda mask: setattr(mask, "kind", 2))


@fault("mask-bits")
def a_mask_with_bits_missing(image):
    image.mask(s.MASK_BLOBIDS, lambda mask: setattr(mask, "bits", mask.bits - 1))


@fault("mask-bits", KNOWN)
def a_cluster_mask_of_a_grow_that_was_cut(image):
    image.mask(s.MASK_CLUSTERS, lambda mask: setattr(mask, "bits", mask.bits + 8))


@fault("mask-surplus", KNOWN)
def a_bit_behind_the_last_one(image):
    image.mask(s.MASK_PAGES, lambda mask: mask.used.add(mask.bits))


@fault("page-unmarked")
def a_page_in_use_that_is_free(image):
    image.mask(s.MASK_PAGES, lambda mask: mask.used.remove(image["vol"].pages[0]))


@fault("page-leak", KNOWN)
def a_page_of_nobody(image):
    image.mask(s.MASK_PAGES, lambda mask: mask.used.add(400))


@fault("cluster-unmarked")
def a_cluster_in_use_that_is_free(image):
    image.mask(s.MASK_CLUSTERS, lambda mask: mask.used.remove(image["vol"].cluster(2)))


@fault("cluster-unmarked")
def metadata_that_is_free(image):
    image.mask(s.MASK_CLUSTERS, lambda mask: mask.used.remove(0))


@fault("cluster-leak", KNOWN)
def a_cluster_of_nobody(image):
    image.mask(s.MASK_CLUSTERS, lambda mask: mask.used.add(500))


@fault("root-stale")
def a_root_that_is_no_blob(image):
    image.mask(s.MASK_BLOBIDS, lambda mask: mask.used.remove(image["runs"].root))


@fault("page-crc")
def a_blob_id_without_a_root(image):
    image.mask(s.MASK_BLOBIDS, lambda mask: mask.used.add(image["vol"].pages[0]))
    image.write(image.layout.md_offset(image["vol"].pages[0]), b"\0\0\0")


# Chains

@fault("page-crc")
def a_flipped_bit_in_a_root(image):
    image.write(image.layout.md_offset(image["thick"].root) + 2000, b"\1")


@fault("chain-zeroed", KNOWN)
def a_root_of_zeros(image):
    image.write(image.layout.md_offset(image["thick"].root), bytes(4096))


@fault("page-id")
def a_root_of_another_blob(image):
    image.change(image["thick"].root, blob_id=image["vol"].id)


@fault("page-sequence")
def a_root_that_is_the_second_page(image):
    image.change(image["thick"].root, sequence=1)


@fault("page-reserved", KNOWN)
def a_reserved_word_in_a_page(image):
    image.change(image["thick"].root, reserved=1)


@fault("page-tail", KNOWN)
def something_behind_the_descriptors(image):
    page = image.page(image["thick"].root)
    image.change(image["thick"].root, area=page.area[:-1] + b"\1")


@fault("page-tail", KNOWN)
def something_behind_the_extents(image):
    index = image["thick"].pages[0]
    image.change(index, area=image.page(index).area[:-1] + b"\1")


@fault("chain-range")
def a_chain_that_leaves_the_metadata(image):
    image.change(image["thick"].root, following=512)


@fault("chain-loop")
def a_chain_in_a_circle(image):
    image.change(image["thick"].root, following=image["thick"].root)


@fault("page-shared")
def a_chain_that_goes_through_extents_of_its_own(image):
    index = image["thick"].pages[0]
    image.change(image["thick"].root, following=index)
    image.change(index, blob_id=image["thick"].id, sequence=1)


@fault("page-shared")
def a_chain_that_goes_through_extents_of_another(image):
    index = image["thick"].pages[0]
    image.change(image["runs"].root, following=index)
    image.change(index, blob_id=image["runs"].id, sequence=1)


# Descriptors

@fault("descriptor-length")
def a_descriptor_longer_than_its_page(image):
    image.change(image["thick"].root, area=struct.pack("<BI", s.XATTR, 4068))


@fault("descriptor-type")
def a_descriptor_of_an_unknown_type(image):
    image.descriptors(image["thick"].root, lambda found: found.append(s.Descriptor(7, b"x")))


@fault("extents-in-chain")
def extents_in_a_chain(image):
    image.descriptors(image["thick"].root, lambda found: found.append(
        s.Descriptor(s.EXTENTS, bytes(8))))


@fault("flags-missing", KNOWN)
def no_flags(image):
    image.descriptors(image["thick"].root, lambda found: found.pop(0))


@fault("flags-twice")
def flags_twice(image):
    image.descriptors(image["thick"].root, lambda found: found.insert(1, found[0]))


@fault("flags-late")
def flags_after_the_clusters(image):
    image.descriptors(image["thick"].root, lambda found: found.append(found.pop(0)))


@fault("flags-late", KNOWN)
def flags_after_an_xattr(image):
    image.descriptors(image["thick"].root, lambda found: found.insert(1, found.pop(0)))


@fault("flags-length")
def short_flags(image):
    def shorten(found):
        found[0].body = found[0].body[:16]
    image.descriptors(image["thick"].root, shorten)


@fault("flags-unknown")
def a_flag_that_nobody_knows(image):
    image.blob("thick", lambda blob: setattr(blob, "invalid", blob.invalid | 16))


@fault("flags-read-only", KNOWN)
def a_flag_that_makes_it_read_only(image):
    image.blob("thick", lambda blob: setattr(blob, "data_ro", 2))


@fault("flags-internal", KNOWN)
def an_internal_xattr_without_its_flag(image):
    image.blob("vol", lambda blob: setattr(blob, "invalid", s.THIN | s.HAS_TABLE))


@fault("flags-table", KNOWN)
def a_table_without_its_flag(image):
    image.blob("thick", lambda blob: setattr(blob, "invalid", 0))


@fault("xattr-length")
def an_xattr_of_the_wrong_length(image):
    image.descriptors(image["thick"].root, lambda found: found.append(
        s.Descriptor(s.XATTR, struct.pack("<HH", 1, 5) + b"abc")))


@fault("xattr-length")
def an_xattr_without_lengths(image):
    image.descriptors(image["thick"].root, lambda found: found.append(
        s.Descriptor(s.XATTR, b"\1\0\1")))


@fault("xattr-twice")
def an_xattr_twice(image):
    image.descriptors(image["thick"].root, lambda found: found.insert(2, found[1]))


@fault("xattr-nameless")
def an_xattr_without_a_name(image):
    image.descriptors(image["thick"].root, lambda found: found.append(
        s.Descriptor(s.XATTR, struct.pack("<HH", 0, 1) + b"x")))


@fault("internal-name", KNOWN)
def an_internal_xattr_of_another_name(image):
    image.blob("thick", lambda blob: blob.set_internal("WHAT", b"x"))


@fault("internal-length")
def a_parent_of_four_bytes(image):
    image.blob("vol", lambda blob: blob.set_internal("SNAP", b"1234"))


# Clusters

@fault("runs-length")
def a_run_and_a_half(image):
    image.descriptors(image["runs"].root, lambda found: found.append(
        s.Descriptor(s.RUNS, bytes(12))))


@fault("runs-empty")
def a_run_list_of_nothing(image):
    image.descriptors(image["runs"].root, lambda found: found.append(
        s.Descriptor(s.RUNS, struct.pack("<II", 200, 0))))


@fault("cluster-range")
def a_run_past_the_end(image):
    image.blob("runs", lambda blob: setattr(blob, "map", [510, 511, 512]))


@fault("cluster-range")
def an_entry_past_the_end(image):
    image.extents("thick", 0, lambda entries: entries.__setitem__(1, 512))


@fault("hole-in-thick")
def an_unallocated_run_in_a_thick_blob(image):
    image.blob("runs", lambda blob: setattr(blob, "invalid", 0))


@fault("hole-in-thick")
def an_empty_slot_in_a_thick_blob(image):
    image.blob("thick", lambda blob: setattr(blob, "pages", [0]))


@fault("hole-in-thick")
def an_empty_entry_in_a_thick_blob(image):
    image.extents("thick", 0, lambda entries: entries.__setitem__(1, 0))


@fault("styles-mixed")
def runs_beside_a_table(image):
    image.descriptors(image["thick"].root, lambda found: found.append(
        s.Descriptor(s.RUNS, struct.pack("<II", 200, 1))))


@fault("table-length")
def half_an_entry(image):
    image.descriptors(image["thick"].root, lambda found: found.append(
        s.Descriptor(s.TABLE, bytes(12))))


@fault("table-size")
def a_second_part_of_another_size(image):
    image.descriptors(image["thick"].root, lambda found: found.append(
        s.Descriptor(s.TABLE, struct.pack("<Q", 5))))


@fault("table-repeat")
def a_page_for_two_slots(image):
    image.descriptors(image["vol"].root, lambda found: found.__setitem__(
        -1, s.Descriptor(s.TABLE, struct.pack("<QII", 600, image["vol"].pages[0], 2))))


@fault("table-repeat")
def an_empty_run_of_slots(image):
    image.descriptors(image["vol"].root, lambda found: found.append(
        s.Descriptor(s.TABLE, struct.pack("<QII", 600, 0, 0))))


@fault("table-range")
def a_slot_past_the_metadata(image):
    image.blob("thick", lambda blob: setattr(blob, "pages", [512]))


@fault("table-slots")
def a_slot_too_many(image):
    image.blob("vol", lambda blob: blob.pages.append(0))


@fault("table-slots")
def a_slot_too_few(image):
    image.blob("vol", lambda blob: blob.pages.pop())


@fault("table-missing", KNOWN)
def no_table(image):
    image.descriptors(image["thick"].root, lambda found: found.pop())


@fault("extent-page-twice")
def one_page_for_two_slots(image):
    image.blob("vol", lambda blob: setattr(blob, "pages", [blob.pages[0]] * 2))


@fault("extent-crc")
def a_flipped_bit_in_an_extent_page(image):
    image.write(image.layout.md_offset(image["thick"].pages[0]) + 2000, b"\1")


@fault("extent-id")
def an_extent_page_like_a_root(image):
    index = image["thick"].pages[0]
    image.change(index, blob_id=s.BLOB_BIT | index)


@fault("extent-head")
def an_extent_page_with_a_successor(image):
    image.change(image["thick"].pages[0], following=3)


@fault("extent-head")
def an_extent_page_with_a_place_in_a_chain(image):
    image.change(image["thick"].pages[0], sequence=1)


@fault("extent-kind")
def an_extent_page_with_two_descriptors(image):
    image.descriptors(image["thick"].pages[0], lambda found: found.append(found[0]))


@fault("extents-length")
def half_an_extent(image):
    image.descriptors(image["thick"].pages[0], lambda found: found.__setitem__(
        0, s.Descriptor(s.EXTENTS, bytes(10))))


@fault("extent-start")
def an_extent_page_of_another_slot(image):
    image.blob("vol", lambda blob: setattr(blob, "pages", [0, blob.pages[0]]))


@fault("extent-empty", KNOWN)
def an_extent_page_of_no_cluster(image):
    image.extents("vol", 0, lambda entries: entries.clear())


@fault("extent-count", KNOWN)
def an_extent_page_that_is_short(image):
    image.extents("vol", 0, lambda entries: entries.pop())


@fault("extent-count", KNOWN)
def an_extent_page_that_is_long(image):
    image.extents("thick", 0, lambda entries: entries.append(0))


# Ownership

@fault("cluster-metadata")
def metadata_as_data(image):
    image.extents("thick", 0, lambda entries: entries.__setitem__(1, 1))


@fault("cluster-twice")
def one_cluster_twice_in_a_blob(image):
    image.extents("thick", 0, lambda entries: entries.__setitem__(1, entries[0]))


@fault("shared")
def one_cluster_in_two_volumes(image):
    cluster = image["runs"].cluster(3)
    image.extents("thick", 0, lambda entries: entries.__setitem__(1, cluster))


@fault("shared")
def one_extent_page_in_two_volumes(image):
    image.blob("thick", lambda blob: setattr(blob, "pages", [image["snap"].pages[0]]))


@fault("shared", KNOWN)
def one_cluster_in_a_clone_and_its_parent(image):
    cluster = image["snap"].cluster(3)
    image.extents("vol", 0, lambda entries: entries.__setitem__(3, cluster))


@fault("shared", NOTE)
def what_an_unfinished_snapshot_shares(image):
    image.blob("thick", lambda blob: blob.set_internal("SNAPTMP", image["vol"].id))
    cluster = image["vol"].cluster(2)
    image.extents("thick", 0, lambda entries: entries.__setitem__(1, cluster))
    image.unclean()


@fault("references", NOTE)
def more_references_than_clusters(image):
    image.blob("thick", lambda blob: blob.set_internal("SNAPTMP", image["runs"].id))
    for name in ("runs", "thick"):
        image.descriptors(image[name].root, lambda found: found.__setitem__(-1, s.Descriptor(
            s.RUNS, struct.pack("<II", 200, 300))))
    image.unclean()


# Parents and marks

@fault("parent-thick")
def a_thick_blob_with_a_parent(image):
    image.blob("thick", lambda blob: blob.set_internal("SNAP", image["snap"].id))


@fault("parent-two", KNOWN)
def a_parent_inside_and_one_outside(image):
    image.blob("outside", lambda blob: blob.set_internal("SNAP", image["snap"].id))


@fault("parent-missing")
def a_parent_that_is_not_there(image):
    image.blob("vol", lambda blob: blob.set_internal("SNAP", 0x100000063))


@fault("parent-broken")
def a_parent_that_cannot_be_opened(image):
    image.blob("snap", lambda blob: setattr(blob, "invalid", blob.invalid | 16))


@fault("parent-super")
def the_super_blob_as_parent(image):
    image.blob("vol", lambda blob: blob.set_internal("SNAP", image["store"].id))


@fault("parent-writable", KNOWN)
def a_parent_that_can_be_written(image):
    image.blob("snap", lambda blob: setattr(blob, "data_ro", 0))


@fault("parent-loop")
def two_that_are_each_others_parent(image):
    image.blob("snap", lambda blob: blob.set_internal("SNAP", image["vol"].id))


@fault("esnap-id")
def an_external_parent_without_an_id(image):
    image.blob("outside", lambda blob: blob.internal.pop("EXTSNAP"))


@fault("esnap-flag", KNOWN)
def an_external_parent_without_its_flag(image):
    image.blob("outside", lambda blob: setattr(blob, "invalid", blob.invalid & ~s.ESNAP))


@fault("esnap-uuid", NOTE)
def an_external_parent_that_is_no_device(image):
    image.blob("outside", lambda blob: blob.set_internal("EXTSNAP", b"my own"))


@fault("mark", KNOWN)
def a_mark_in_an_unloaded_store(image):
    image.blob("snap", lambda blob: blob.set_internal("SNAPRM", image["vol"].id))


@fault("mark", NOTE)
def a_mark_in_a_store_in_use(image):
    image.blob("snap", lambda blob: blob.set_internal("SNAPRM", image["vol"].id))
    image.unclean()


@fault("mark", KNOWN)
def a_mark_whose_partner_is_gone(image):
    image.blob("snap", lambda blob: blob.set_internal("SNAPTMP", 0x100000063))
    image.unclean()


# Logical volumes

@fault("lvol-super")
def no_super_blob(image):
    image.super(super_blob=s.NO_BLOB)


@fault("lvol-super", KNOWN)
def a_super_blob_with_clusters(image):
    image.blob("store", lambda blob: (blob.map.append(0), blob.pages.append(0),
                                      setattr(blob, "invalid", blob.invalid | s.THIN)))


@fault("lvol-uuid")
def a_store_without_a_uuid(image):
    image.blob("store", lambda blob: blob.xattrs.pop("uuid"))


@fault("lvol-uuid", KNOWN)
def a_volume_with_half_a_uuid(image):
    image.blob("thick", lambda blob: blob.xattrs.update(uuid=b"12345678\0"))


@fault("lvol-name")
def a_volume_without_a_name(image):
    image.blob("thick", lambda blob: blob.xattrs.pop("name"))


@fault("lvol-name")
def a_name_that_is_too_long(image):
    image.blob("thick", lambda blob: blob.xattrs.update(name=b"a" * 64 + b"\0"))


@fault("lvol-name")
def a_name_without_an_end(image):
    image.blob("thick", lambda blob: blob.xattrs.update(name=b"a" * 64))


@fault("lvol-double")
def two_volumes_of_one_name(image):
    image.blob("thick", lambda blob: blob.xattrs.update(name=b"vol\0"))


@fault("lvol-double")
def two_volumes_of_one_uuid(image):
    image.blob("thick", lambda blob: blob.xattrs.update(uuid=image["vol"].xattrs["uuid"]))
