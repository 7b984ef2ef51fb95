# SPDX-License-Identifier: BSD-2-Clause
"""Faults of one blob: its chain, descriptors, clusters."""
import struct

from . import structures as s
from .blob import KNOWN
from .editor import fault


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
