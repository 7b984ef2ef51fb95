/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Metadata of blobs: the example byte for byte, known vectors, what crosses pages, xattrs and sizes
 * in memory, and that what was written is read again, for blobs made by chance.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/endian.h"
#include "example.h"
#include "md_model.h"

#define ID (BLOBSTORE_ID_BIT | 5)

static void md_make(struct md *md, uint64_t flags, uint64_t clusters)
{
	md_init(md, ID);
	md->invalid_flags = flags;
	assert_int_equal(md_resize(md, clusters), 0);
}

static void make_runs(struct md *md, uint64_t clusters)
{
	md->uses_table = false;
	md->invalid_flags = BLOBSTORE_THIN;
	md->num_clusters = clusters;
	md->runs = alloc_pages(clusters * sizeof(*md->runs));
	assert_non_null(md->runs);
}

static void encode(const struct md *md, unsigned num_pages, struct md_image *ret_image)
{
	assert_int_equal(md_encode(md, md_run_at, (void *)(uintptr_t)md, ret_image), 0);
	assert_int_equal(ret_image->num_pages, num_pages);
	assert_int_equal((uintptr_t)ret_image->pages % 4096, 0);
}

static void check_round_trip(const struct md *md)
{
	struct reason reason = {0};
	struct md back;

	assert_int_equal(md_round_trip(md, 4096, 1 << 20, &back, &reason), 0);
	assert_true(md_equals(md, &back));
	md_fini(&back);
}

/* ---- the example -------------------------------------------------------------------------- */

static void example_md(struct blobstore_page *pages)
{
	for (unsigned i = 0; i < EXAMPLE_MD_LEN; i++)
		memset(&pages[i], 0, sizeof(*pages));
	for (unsigned i = EXAMPLE_MD; i < EXAMPLE_PAGES; i++)
		example_page(i, (uint8_t *)&pages[i - EXAMPLE_MD]);
}

static void the_blobs_of_the_example_are_read_and_written_alike(void **state)
{
	static const uint64_t ids[] = {EXAMPLE_SUPER_BLOB, EXAMPLE_VOL, EXAMPLE_SNAP};
	struct blobstore_page pages[EXAMPLE_MD_LEN], written[EXAMPLE_MD_LEN];

	example_md(pages);
	for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
		uint32_t root = (uint32_t)ids[i];
		struct reason reason = {0};
		struct md md;

		assert_int_equal(md_decode_from(pages, EXAMPLE_MD_LEN, EXAMPLE_CLUSTERS, ids[i],
					 &md, &reason),
			0);
		md_write_to(&md, written, EXAMPLE_MD_LEN);
		assert_memory_equal(&written[root], &pages[root], sizeof(*pages));
		md_fini(&md);
	}
}

static void the_volume_of_the_example_is_a_clone_of_its_snapshot(void **state)
{
	struct blobstore_page pages[EXAMPLE_MD_LEN];
	const struct xattr *xattr;
	struct md md;

	example_md(pages);
	assert_int_equal(
		md_decode_from(pages, EXAMPLE_MD_LEN, EXAMPLE_CLUSTERS, EXAMPLE_VOL, &md, NULL), 0);
	assert_int_equal(
		md.invalid_flags, BLOBSTORE_THIN | BLOBSTORE_INTERNAL_XATTR | BLOBSTORE_USES_TABLE);
	assert_int_equal(md.data_ro_flags, 0);
	assert_true(md_internal_id(&md, BLOBSTORE_XATTR_PARENT) == EXAMPLE_SNAP);
	assert_true(md_internal_id(&md, BLOBSTORE_XATTR_SNAPSHOT_PENDING) == BLOBSTORE_NO_BLOB);
	assert_true(md.uses_table);
	assert_int_equal(md.num_clusters, 8);
	assert_int_equal(md.num_slots, 1);
	assert_int_equal(md.pages[0], 4);
	xattr = md_xattr_find(&md.xattrs, LVOLSTORE_XATTR_NAME);
	assert_non_null(xattr);
	assert_int_equal(xattr->value_length, LVOLSTORE_NAME_BYTES);
	assert_string_equal(xattr_value(xattr), "vol");
	assert_null(md_xattr_find(&md.xattrs, BLOBSTORE_XATTR_PARENT));
	md_fini(&md);
}

static void roots_of_the_example_are_told_from_its_extent_pages(void **state)
{
	static const bool root[EXAMPLE_MD_LEN] = {[0] = true, [1] = true, [3] = true};
	struct blobstore_page pages[EXAMPLE_MD_LEN];

	example_md(pages);
	for (unsigned i = 0; i < EXAMPLE_MD_LEN; i++)
		assert_int_equal(md_page_is_root(&pages[i], i), root[i]);
	assert_false(md_page_is_root(&pages[1], 3));
	pages[1].descriptors[100] ^= 1;
	assert_false(md_page_is_root(&pages[1], 1));
	pages[3].sequence = 1;
	pages[3].crc = htole32(page_checksum(&pages[3]));
	assert_false(md_page_is_root(&pages[3], 3));
}

/* ---- known vectors ------------------------------------------------------------------------ */

#define AFTER_FLAGS 29

static void runs_are_the_longest_there_can_be(void **state)
{
	static const uint8_t expected[] = {0x01, 0x20, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0x41, 0, 0,
		0, 2, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0x43, 0, 0, 0, 1, 0, 0, 0, 0};
	struct md_image image;
	struct md md;

	md_init(&md, ID);
	make_runs(&md, 10);
	md.runs[3] = 65;
	md.runs[4] = 66;
	md.runs[9] = 67;
	encode(&md, 1, &image);
	assert_memory_equal(image.pages->descriptors + AFTER_FLAGS, expected, sizeof(expected));
	md_image_fini(&image);
	check_round_trip(&md);
	md_fini(&md);
}

static void an_extent_table_has_an_entry_for_each_slot(void **state)
{
	static const uint8_t expected[] = {0x05, 0x20, 0, 0, 0, 0x4c, 0x04, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0};
	struct md_image image;
	struct md md;

	md_make(&md, BLOBSTORE_THIN | BLOBSTORE_USES_TABLE, 1100);
	md.pages[1] = 2;
	encode(&md, 1, &image);
	assert_memory_equal(image.pages->descriptors + AFTER_FLAGS, expected, sizeof(expected));
	md_image_fini(&image);
	check_round_trip(&md);
	md_fini(&md);
}

static void a_clone_of_an_external_snapshot_names_it(void **state)
{
	static const uint8_t expected[] = {0x04, 0x1b, 0, 0, 0, 0x07, 0, 0x10, 0, 'E', 'X', 'T',
		'S', 'N', 'A', 'P', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c',
		'd', 'e', 'f', 0x05, 0x10, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0,
		0};
	struct md_image image;
	struct md md;

	md_make(&md, BLOBSTORE_THIN | BLOBSTORE_USES_TABLE | BLOBSTORE_ESNAP, 2);
	assert_int_equal(md_internal_set(&md, BLOBSTORE_XATTR_ESNAP, "0123456789abcdef", 16), 0);
	assert_int_equal(md.invalid_flags, 0xf);
	encode(&md, 1, &image);
	assert_memory_equal(image.pages->descriptors + AFTER_FLAGS, expected, sizeof(expected));
	md_image_fini(&image);
	check_round_trip(&md);
	md_fini(&md);
}

/* ---- over several pages ------------------------------------------------------------------- */

/* Fills the root page so that `left` bytes are left of it. */
static void fill_page(struct md *md, uint32_t left)
{
	static const uint8_t value[4072];

	assert_int_equal(md_xattr_set(&md->xattrs, "fill", value,
				 BLOBSTORE_DESCRIPTOR_AREA - AFTER_FLAGS - 13 - left),
		0);
}

static void a_table_of_no_slots_is_written_even_where_it_needs_another_page(void **state)
{
	for (uint32_t left = 0; left < 40; left++) {
		struct md_image image;
		struct md md;

		md_make(&md, BLOBSTORE_USES_TABLE, 0);
		fill_page(&md, left);
		encode(&md, left < 13 ? 2 : 1, &image);
		md_image_fini(&image);
		check_round_trip(&md);
		md_fini(&md);
	}
}

static void a_table_goes_on_where_the_page_ends(void **state)
{
	for (uint32_t left = 0; left < 60; left++) {
		struct md_image image;
		struct md md;

		md_make(&md, BLOBSTORE_THIN | BLOBSTORE_USES_TABLE, 3 * 512 - 3);
		md.pages[0] = 7;
		md.pages[2] = 9;
		fill_page(&md, left);
		encode(&md, left < 13 + 3 * 8 ? 2 : 1, &image);
		if (left >= 13 + 8 && left < 13 + 24) { /* the number of clusters again */
			assert_int_equal(image.pages[1].descriptors[0], BLOBSTORE_EXTENT_TABLE);
			assert_int_equal(le64_get(image.pages[1].descriptors + 5), 3 * 512 - 3);
		}
		md_image_fini(&image);
		check_round_trip(&md);
		md_fini(&md);
	}
}

static void runs_go_on_where_the_page_ends(void **state)
{
	for (uint32_t left = 0; left < 60; left++) {
		struct md_image image;
		struct md md;

		md_init(&md, ID);
		make_runs(&md, 9);
		for (unsigned i = 0; i < 9; i++)
			md.runs[i] = i % 3 ? 100 + 10 * i : 0;
		fill_page(&md, left);
		encode(&md, left < 5 + 9 * 8 ? 2 : 1, &image);
		md_image_fini(&image);
		check_round_trip(&md);
		md_fini(&md);
	}
}

static void ten_thousand_slots_make_a_long_chain(void **state)
{
	struct md_image image;
	struct md md;

	md_make(&md, BLOBSTORE_THIN | BLOBSTORE_USES_TABLE, 10000 * 512);
	for (uint32_t i = 0; i < 10000; i++)
		md.pages[i] = i % 7 ? 1 + i % 4000 : 0;
	encode(&md, 20, &image); /* 503 slots in the root, 507 in each other */
	md_image_fini(&image);
	check_round_trip(&md);
	md_fini(&md);
}

static void runs_of_ten_thousand_single_clusters_make_a_long_chain(void **state)
{
	struct md md;

	md_init(&md, ID);
	make_runs(&md, 10000);
	for (uint32_t i = 0; i < 10000; i++)
		md.runs[i] = 20000 - i;
	check_round_trip(&md);
	md_fini(&md);
}

static void an_xattr_that_does_not_fit_starts_a_page(void **state)
{
	static const uint8_t value[4072];
	struct md_image image;
	struct md md;

	md_make(&md, BLOBSTORE_USES_TABLE, 0);
	fill_page(&md, 100);
	assert_int_equal(md_xattr_set(&md.xattrs, "large", value, 200), 0);
	assert_int_equal(md_xattr_set(&md.xattrs, "small", value, 2), 0);
	assert_int_equal(md_xattr_set(&md.xattrs, "whole", value, 4058), 0);
	encode(&md, 4, &image); /* and the table on its own */
	assert_int_equal(image.pages[0].descriptors[BLOBSTORE_DESCRIPTOR_AREA - 100], 0);
	assert_memory_equal(image.pages[1].descriptors + 9, "large", 5);
	assert_memory_equal(image.pages[1].descriptors + 9 + 5 + 200 + 9, "small", 5);
	assert_memory_equal(image.pages[2].descriptors + 9, "whole", 5);
	assert_int_equal(image.pages[3].descriptors[0], BLOBSTORE_EXTENT_TABLE);
	md_image_fini(&image);
	check_round_trip(&md);
	md_fini(&md);
}

/* ---- in memory ---------------------------------------------------------------------------- */

static const char *names(const struct list *xattrs)
{
	static char text[100];
	const struct xattr *xattr;

	text[0] = '\0';
	list_for_each_entry (xattr, xattrs, link) {
		strcat(text, xattr->name);
		strcat(text, "=");
		strcat(text, xattr_value(xattr));
	}
	return text;
}

static void xattrs_keep_their_place_and_new_ones_come_last(void **state)
{
	struct list copy;
	struct md md;

	md_init(&md, ID);
	assert_int_equal(md_xattr_set(&md.xattrs, "b", "1", 2), 0);
	assert_int_equal(md_xattr_set(&md.xattrs, "a", "2", 2), 0);
	assert_int_equal(md_xattr_set(&md.xattrs, "c", "3", 2), 0);
	assert_string_equal(names(&md.xattrs), "b=1a=2c=3");
	assert_int_equal(md_xattr_set(&md.xattrs, "a", "four", 5), 0);
	assert_string_equal(names(&md.xattrs), "b=1a=fourc=3");
	assert_true(md_xattr_remove(&md.xattrs, "b"));
	assert_false(md_xattr_remove(&md.xattrs, "b"));
	assert_int_equal(md_xattr_set(&md.xattrs, "b", "5", 2), 0);
	assert_string_equal(names(&md.xattrs), "a=fourc=3b=5");
	list_init(&copy);
	assert_int_equal(md_xattrs_copy(&copy, &md.xattrs), 0);
	md_fini(&md);
	assert_string_equal(names(&copy), "a=fourc=3b=5");
	md_xattrs_free(&copy);
	assert_true(list_is_empty(&copy));
}

static void an_xattr_has_a_name_and_fits_a_page(void **state)
{
	static const uint8_t value[70000];
	char name[5000];
	struct md md;

	md_init(&md, ID);
	assert_int_equal(md_xattr_set(&md.xattrs, "", "x", 1), -EINVAL);
	assert_int_equal(md_xattr_set(&md.xattrs, "n", value, 4062), 0);
	assert_int_equal(md_xattr_set(&md.xattrs, "n", value, 4063), -ENOSPC);
	assert_int_equal(md_xattr_set(&md.xattrs, "n", value, 65536), -ENOSPC);
	assert_int_equal(md_xattr_find(&md.xattrs, "n")->value_length, 4062);
	memset(name, 'n', sizeof(name));
	name[4063] = '\0';
	assert_int_equal(md_xattr_set(&md.xattrs, name, NULL, 0), 0);
	assert_int_equal(md_xattr_set(&md.xattrs, name, value, 1), -ENOSPC);
	name[4063] = 'n';
	name[4999] = '\0';
	assert_int_equal(md_xattr_set(&md.xattrs, name, NULL, 0), -ENOSPC);
	check_round_trip(&md);
	md_fini(&md);
}

static void the_flag_of_internal_xattrs_follows_them(void **state)
{
	struct md md;

	md_init(&md, ID);
	assert_int_equal(md.invalid_flags, BLOBSTORE_USES_TABLE);
	assert_int_equal(md_internal_set_id(&md, BLOBSTORE_XATTR_PARENT, ID + 1), 0);
	assert_int_equal(md_internal_set_id(&md, BLOBSTORE_XATTR_REMOVAL_PENDING, ID), 0);
	assert_true(md.invalid_flags & BLOBSTORE_INTERNAL_XATTR);
	assert_true(md_internal_id(&md, BLOBSTORE_XATTR_PARENT) == ID + 1);
	assert_int_equal(md_internal_set_id(&md, BLOBSTORE_XATTR_PARENT, BLOBSTORE_NO_BLOB), 0);
	assert_true(md_internal_id(&md, BLOBSTORE_XATTR_PARENT) == BLOBSTORE_NO_BLOB);
	assert_true(md.invalid_flags & BLOBSTORE_INTERNAL_XATTR);
	md_internal_remove(&md, BLOBSTORE_XATTR_REMOVAL_PENDING);
	assert_false(md.invalid_flags & BLOBSTORE_INTERNAL_XATTR);
	assert_int_equal(md_internal_set(&md, BLOBSTORE_XATTR_PARENT, "four", 4), 0);
	assert_true(md_internal_id(&md, BLOBSTORE_XATTR_PARENT) == BLOBSTORE_NO_BLOB);
	md_fini(&md);
}

static void a_blob_that_shrinks_and_grows_again_has_nothing_there(void **state)
{
	struct md md;

	md_make(&md, 0, 5000 * 512);
	for (uint32_t i = 0; i < 5000; i++)
		md.pages[i] = 1 + i;
	assert_int_equal(md_resize(&md, 2 * 512 + 1), 0);
	assert_int_equal(md.num_slots, 3);
	assert_int_equal(md_resize(&md, 8000 * 512), 0);
	for (uint32_t i = 0; i < 8000; i++)
		assert_int_equal(md.pages[i], i < 3 ? 1 + i : 0);
	assert_int_equal(md_resize(&md, 0), 0);
	assert_null(md.pages);
	assert_int_equal(md_resize(&md, 1), 0);
	assert_int_equal(md.pages[0], 0);
	assert_int_equal(md_resize(&md, UINT64_C(1) << 32), -EFBIG);
	assert_int_equal(md.num_clusters, 1);
	assert_int_equal(md_resize(&md, MD_CLUSTERS_MAX), 0);
	assert_int_equal(md.num_slots, 1 << 23);
	assert_int_equal(md.pages[(1 << 23) - 1], 0);
	md_fini(&md);
}

static void the_map_of_a_run_length_blob_follows_its_size(void **state)
{
	struct md md;

	md_init(&md, ID);
	make_runs(&md, 3000);
	for (uint32_t i = 0; i < 3000; i++)
		md.runs[i] = 1 + i;
	assert_int_equal(md_resize(&md, 10), 0);
	assert_int_equal(md_resize(&md, 5000), 0);
	for (uint32_t i = 0; i < 5000; i++)
		assert_int_equal(md.runs[i], i < 10 ? 1 + i : 0);
	assert_int_equal(md.num_slots, 0);
	md_runs_free(&md);
	assert_int_equal(md_resize(&md, 7), 0);
	assert_int_equal(md.num_clusters, 7);
	assert_null(md.runs);
	md_fini(&md);
}

/* ---- by chance ---------------------------------------------------------------------------- */

static void random_xattrs(struct list *xattrs)
{
	unsigned count = (unsigned)random() % 8;
	uint8_t value[4072];

	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)random();
	for (unsigned i = 0; i < count; i++) {
		char name[40];

		snprintf(name, sizeof(name), "%ld", random() % 100000000);
		assert_int_equal(md_xattr_set(xattrs, name, value,
					 (size_t)random() % (random() % 4 ? 60 : 4050)),
			0);
	}
}

static void random_md(struct md *md)
{
	md_make(md, 0, 0);
	random_xattrs(&md->xattrs);
	random_xattrs(&md->internal_xattrs);
	if (random() % 2) {
		assert_int_equal(md_resize(md, (uint64_t)(random() % 600000)), 0);
		for (uint32_t i = 0; i < md->num_slots; i++)
			md->pages[i] = random() % 3 ? (uint32_t)random() % 4096 : 0;
	} else {
		make_runs(md, 1 + (uint64_t)(random() % 3000));
		for (uint64_t i = 0; i < md->num_clusters; i++) {
			bool goes_on = i && random() % 4;
			uint32_t last = i ? md->runs[i - 1] : 0;

			md->runs[i] = goes_on        ? (last ? last + 1 : 0)
				      : random() % 4 ? (uint32_t)random() % 1000000
						     : 0;
		}
	}
	md->invalid_flags = BLOBSTORE_THIN | (uint64_t)random() << 4;
	md->data_ro_flags = (uint64_t)random() << 30 | (uint64_t)random();
	md->md_ro_flags = (uint64_t)random();
}

static void what_was_written_is_read_again(void **state)
{
	for (unsigned seed = 0; seed < 500; seed++) {
		struct md md;

		srandom(seed);
		random_md(&md);
		check_round_trip(&md);
		md_fini(&md);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_blobs_of_the_example_are_read_and_written_alike),
		cmocka_unit_test(the_volume_of_the_example_is_a_clone_of_its_snapshot),
		cmocka_unit_test(roots_of_the_example_are_told_from_its_extent_pages),
		cmocka_unit_test(runs_are_the_longest_there_can_be),
		cmocka_unit_test(an_extent_table_has_an_entry_for_each_slot),
		cmocka_unit_test(a_clone_of_an_external_snapshot_names_it),
		cmocka_unit_test(a_table_of_no_slots_is_written_even_where_it_needs_another_page),
		cmocka_unit_test(a_table_goes_on_where_the_page_ends),
		cmocka_unit_test(runs_go_on_where_the_page_ends),
		cmocka_unit_test(ten_thousand_slots_make_a_long_chain),
		cmocka_unit_test(runs_of_ten_thousand_single_clusters_make_a_long_chain),
		cmocka_unit_test(an_xattr_that_does_not_fit_starts_a_page),
		cmocka_unit_test(xattrs_keep_their_place_and_new_ones_come_last),
		cmocka_unit_test(an_xattr_has_a_name_and_fits_a_page),
		cmocka_unit_test(the_flag_of_internal_xattrs_follows_them),
		cmocka_unit_test(a_blob_that_shrinks_and_grows_again_has_nothing_there),
		cmocka_unit_test(the_map_of_a_run_length_blob_follows_its_size),
		cmocka_unit_test(what_was_written_is_read_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
