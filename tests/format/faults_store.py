# SPDX-License-Identifier: BSD-2-Clause
"""Faults of the super block, the masks, ownership, parents and logical volumes."""
import struct

from . import structures as s
from .blob import KNOWN, NOTE
from .editor import fault


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
