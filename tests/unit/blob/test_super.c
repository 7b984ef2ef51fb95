/* SPDX-License-Identifier: BSD-2-Clause */
/* Super blocks: the example byte for byte, the layouts that are known, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/endian.h"
#include "blob/format.h"
#include "example.h"

static void the_super_block_of_the_example_is_read_and_written_alike(void **state)
{
	uint8_t page[4096], written[4096];
	struct reason reason = {0};
	struct super super;

	example_page(EXAMPLE_SUPER, page);
	assert_int_equal(super_decode(page, EXAMPLE_DEVICE_BYTES, &super, &reason), 0);
	assert_true(super.clean);
	assert_int_equal(super.super_blob, EXAMPLE_SUPER_BLOB);
	assert_string_equal((const char *)super.bstype, LVOLSTORE_TYPE);
	assert_int_equal(super_clusters(&super), 32);
	assert_int_equal(super_md_clusters(&super), 1);
	assert_int_equal(super_page_offset(&super, 2), 0x6000);
	assert_int_equal(super_cluster_offset(&super, 3), 0x300000);
	memset(written, 0xee, sizeof(written));
	super_encode(&super, written);
	assert_memory_equal(written, page, sizeof(page));
}

/* ---- layouts of new stores ---- */

#define TIB (UINT64_C(1) << 40)

static const struct layout {
	uint64_t bytes;
	uint32_t cluster, page, percent;
	uint32_t clusters, md_len, page_mask, cluster_mask, room, blobid_mask, md_start;
	uint32_t md_clusters;
	uint64_t max_bytes;
} layouts[] = {
	{32 * MIB, MIB, 4096, 100, 32, 32, 1, 1, 1, 1, 4, 1, 34317795328},
	{128 * MIB, 4 * MIB, 4096, 100, 32, 32, 1, 1, 1, 1, 4, 1, 137271181312},
	{TIB, 4 * MIB, 4096, 100, 262144, 262144, 9, 9, 9, 9, 28, 257, 1236782809088},
	{TIB, 4 * MIB, 4096, 200, 262144, 524288, 17, 9, 17, 17, 52, 513, 2336294436864},
	{TIB, 4 * MIB, 16384, 100, 262144, 262144, 3, 3, 3, 3, 10, 1025, 1649099669504},
	{7681501126656, 4 * MIB, 4096, 100, 1831412, 1831412, 56, 56, 56, 56, 169, 1789,
		7696413622272},
	{TIB, MIB, 4096, 100, 1048576, 1048576, 33, 33, 33, 33, 100, 4097, 1133829423104},
};

static struct super_plan plan_of(const struct layout *layout)
{
	return (struct super_plan){
		.device_bytes = layout->bytes,
		.block_size = 4096,
		.physical_block_size = layout->page,
		.cluster_size = layout->cluster,
		.md_pages_per_cluster_percent = layout->percent,
		.growth_factor = 1,
		.bstype = LVOLSTORE_TYPE,
	};
}

static void new_stores_are_laid_out_as_the_known_implementation_does(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(layouts); i++) {
		const struct layout *l = &layouts[i];
		const struct super_plan plan = plan_of(l);
		struct reason reason = {0};
		struct super super;

		assert_int_equal(super_plan(&plan, &super, &reason), 0);
		assert_int_equal(super_clusters(&super), l->clusters);
		assert_int_equal(super.md_len, l->md_len);
		assert_int_equal(super.page_mask_start, 1);
		assert_int_equal(super.page_mask_len, l->page_mask);
		assert_int_equal(super.cluster_mask_start, 1 + l->page_mask);
		assert_int_equal(super.cluster_mask_len, l->cluster_mask);
		assert_int_equal(super_cluster_mask_room(&super), l->room);
		assert_int_equal(super.blobid_mask_start, 1 + l->page_mask + l->room);
		assert_int_equal(super.blobid_mask_len, l->blobid_mask);
		assert_int_equal(super.md_start, l->md_start);
		assert_int_equal(super_md_clusters(&super), l->md_clusters);
		assert_true(super_max_bytes(&super) == l->max_bytes);
	}
}

static void the_plan_of_the_example_is_its_super_block_before_it_was_used(void **state)
{
	const struct super_plan plan = plan_of(&layouts[0]);
	uint8_t expected[4096], written[4096];
	struct super super, known;

	example_page(EXAMPLE_SUPER, expected);
	assert_int_equal(super_decode(expected, EXAMPLE_DEVICE_BYTES, &known, NULL), 0);
	known.clean = false;
	known.super_blob = BLOBSTORE_NO_BLOB;
	super_encode(&known, expected);
	assert_int_equal(super_plan(&plan, &super, NULL), 0);
	super_encode(&super, written);
	assert_memory_equal(written, expected, sizeof(expected));
}

static void room_to_grow_changes_the_cluster_mask_only(void **state)
{
	struct super_plan plan = plan_of(&layouts[2]);
	struct super super;
	uint8_t page[4096];

	plan.growth_factor = 16;
	assert_int_equal(super_plan(&plan, &super, NULL), 0);
	assert_int_equal(super.cluster_mask_len, 9);
	assert_int_equal(super_cluster_mask_room(&super), 129); /* of 4194304 bits */
	assert_true(super_max_bytes(&super) >= 16 * TIB);
	assert_int_equal(super.blobid_mask_start, 1 + 9 + 129);
	assert_int_equal(super.md_start, 1 + 9 + 129 + 9);
	super_encode(&super, page);
	assert_int_equal(super_decode(page, plan.device_bytes, &super, NULL), 0);
	plan.growth_factor = UINT32_MAX;
	assert_int_equal(super_plan(&plan, &super, NULL), 0);
	assert_true(super_max_bytes(&super) == (uint64_t)BLOBSTORE_BITS_MAX * 4 * MIB);
}

static void a_page_is_as_large_as_the_largest_of_what_is_asked_for(void **state)
{
	struct super_plan plan = plan_of(&layouts[2]);
	struct super super;

	plan.block_size = 512;
	plan.physical_block_size = 512;
	assert_int_equal(super_plan(&plan, &super, NULL), 0);
	assert_int_equal(super.md_page_size, 4096);
	assert_int_equal(super.io_unit_size, 512);
	plan.md_page_size = 16384;
	assert_int_equal(super_plan(&plan, &super, NULL), 0);
	assert_int_equal(super.md_page_size, 16384);
	plan.physical_block_size = 32768;
	assert_int_equal(super_plan(&plan, &super, NULL), 0);
	assert_int_equal(super.md_page_size, 32768);
	plan.device_bytes += 1000;
	assert_int_equal(super_plan(&plan, &super, NULL), 0);
	assert_true(super.size_bytes == TIB + 512);
}

#define PLAN(field_, value_)                                                                       \
	{                                                                                          \
		offsetof(struct super_plan, field_), sizeof(((struct super_plan *)0)->field_),     \
			(value_), -EINVAL                                                          \
	}

static void impossible_plans_are_refused_with_a_sentence(void **state)
{
	static const struct {
		size_t at, size;
		uint64_t value;
		int rc;
	} faults[] = {
		PLAN(block_size, 0),
		PLAN(block_size, 256),
		PLAN(block_size, 520),
		PLAN(block_size, 8192),
		PLAN(physical_block_size, 6144),
		PLAN(md_page_size, 2048),
		PLAN(md_page_size, 12288),
		PLAN(md_page_size, 131072),
		PLAN(cluster_size, 0),
		PLAN(cluster_size, 1000),
		PLAN(cluster_size, 2048),
		PLAN(device_bytes, 512 * KIB),
		PLAN(device_bytes, 0),
		PLAN(device_bytes, UINT64_C(1) << 62),
		PLAN(md_pages_per_cluster_percent, 0),
		PLAN(md_pages_per_cluster_percent, 3), /* of 32: none */
		{offsetof(struct super_plan, md_pages_per_cluster_percent), 4, 100 * 256, -ENOSPC},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
		struct super_plan plan = plan_of(&layouts[0]);
		struct reason reason = {0};
		struct super super = {.version = 77};

		memcpy((char *)&plan + faults[i].at, &faults[i].value, faults[i].size);
		assert_int_equal(super_plan(&plan, &super, &reason), faults[i].rc);
		assert_true(reason.text[0]);
		assert_int_equal(super.version, 77);
	}
}

/* ---- what others wrote ---- */

static struct super example(void)
{
	struct super super;
	uint8_t page[4096];

	example_page(EXAMPLE_SUPER, page);
	assert_int_equal(super_decode(page, EXAMPLE_DEVICE_BYTES, &super, NULL), 0);
	return super;
}

/* Decodes the example with a field of 4 bytes changed; the checksum is right. */
static int decode_changed(size_t at, uint32_t value, struct super *ret_super)
{
	uint8_t page[4096];
	struct reason reason = {0};
	int rc;

	example_page(EXAMPLE_SUPER, page);
	le32_put(page + at, value);
	le32_put(page + BLOBSTORE_CRC_BYTES, page_checksum(page));
	rc = super_decode(page, EXAMPLE_DEVICE_BYTES, ret_super, &reason);
	if (rc && !reason.text[0])
		fail_msg("no sentence for %zu", at);
	return rc;
}

#define FIELD(field_) offsetof(struct blobstore_super, field_)

static void numbers_that_cannot_be_are_refused(void **state)
{
	static const struct {
		size_t at;
		uint32_t value;
	} faults[] = {
		{FIELD(signature), 0}, {FIELD(version), 0}, {FIELD(version), 4},
		{FIELD(cluster_size), 0}, {FIELD(cluster_size), 1000},
		{FIELD(cluster_size), 0x4000000}, /* larger than the device */
		{FIELD(used_page_mask_start), 0},
		{FIELD(used_page_mask_start), 2}, /* on the cluster mask */
		{FIELD(used_page_mask_start), 3}, /* on the blob id mask */
		{FIELD(used_page_mask_start), 4}, /* in the metadata */
		{FIELD(used_page_mask_start), UINT32_MAX}, {FIELD(used_page_mask_len), 0},
		{FIELD(used_page_mask_len), 2}, {FIELD(used_page_mask_len), UINT32_MAX},
		{FIELD(used_cluster_mask_start), 0}, {FIELD(used_cluster_mask_start), 3},
		{FIELD(used_cluster_mask_len), 0}, {FIELD(used_cluster_mask_len), 2},
		{FIELD(used_blobid_mask_start), 0}, {FIELD(used_blobid_mask_len), 2},
		{FIELD(md_start), 0}, {FIELD(md_start), 3}, {FIELD(md_start), 8192 - 31},
		{FIELD(md_start), UINT32_MAX}, {FIELD(md_len), 0}, {FIELD(md_len), 8192 - 3},
		{FIELD(md_len), UINT32_MAX}, {FIELD(size), 0x2000001}, /* beyond the device */
		{FIELD(size) + 4, 1}, {FIELD(size), 4096}, /* less than a cluster */
		{FIELD(io_unit_size), 256}, {FIELD(io_unit_size), 1000},
		{FIELD(io_unit_size), 8192}, {FIELD(md_page_size), 512},
		{FIELD(md_page_size), 6144},
		{FIELD(md_page_size), 0x200000}, /* larger than a cluster */
	};
	struct super super = {.version = 77};

	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
		if (decode_changed(faults[i].at, faults[i].value, &super) != -EILSEQ)
			fail_msg("%#x at %zu was taken", faults[i].value, faults[i].at);
		assert_int_equal(super.version, 77);
	}
}

static void a_wrong_checksum_is_refused(void **state)
{
	for (unsigned at = 16; at < 4096; at += 51) {
		uint8_t page[4096];
		struct reason reason = {0};
		struct super super;

		example_page(EXAMPLE_SUPER, page);
		page[at] ^= 1;
		assert_int_equal(
			super_decode(page, EXAMPLE_DEVICE_BYTES, &super, &reason), -EILSEQ);
		assert_non_null(strstr(reason.text, "checksum"));
	}
}

static void masks_without_room_for_their_bits_are_refused(void **state)
{
	struct super super = example(), again;
	uint8_t page[4096];

	super.size_bytes = UINT64_C(8) * 4091 * MIB; /* as many as fit */
	super_encode(&super, page);
	assert_int_equal(super_decode(page, super.size_bytes, &again, NULL), 0);
	assert_true(super_max_bytes(&super) == super.size_bytes);
	super.size_bytes += MIB;
	super_encode(&super, page);
	assert_int_equal(super_decode(page, super.size_bytes, &again, NULL), -EILSEQ);
	super = example();
	super.size_bytes = UINT64_C(8) * 4091 * MIB;
	super.md_len = 8 * 4091 + 1;
	super_encode(&super, page);
	assert_int_equal(super_decode(page, super.size_bytes, &again, NULL), -EILSEQ);
	super.blobid_mask_len = 0; /* still without room in the mask of pages */
	super_encode(&super, page);
	assert_int_equal(super_decode(page, super.size_bytes, &again, NULL), -EILSEQ);
	super.md_len--;
	super_encode(&super, page);
	assert_int_equal(super_decode(page, super.size_bytes, &again, NULL), 0);
}

static void what_old_stores_do_not_tell_takes_its_default(void **state)
{
	struct super super = example(), again;
	uint8_t page[4096];

	super.version = 1;
	super.size_bytes = 0;
	super.io_unit_size = 0;
	super.md_page_size = 0;
	super.blobid_mask_start = 0;
	super.blobid_mask_len = 0;
	memset(super.bstype, 0, sizeof(super.bstype));
	super_encode(&super, page);
	assert_int_equal(super_decode(page, EXAMPLE_DEVICE_BYTES + 512, &again, NULL), 0);
	assert_int_equal(again.size_bytes, EXAMPLE_DEVICE_BYTES + 512);
	assert_int_equal(again.io_unit_size, 4096);
	assert_int_equal(again.md_page_size, 4096);
	assert_int_equal(again.blobid_mask_len, 0);
	assert_int_equal(super_clusters(&again), 32);
	assert_int_equal(super_cluster_mask_room(&again), 2); /* up to the metadata */
}

static void only_one_means_clean(void **state)
{
	struct super super;

	assert_int_equal(decode_changed(FIELD(clean), 0, &super), 0);
	assert_false(super.clean);
	assert_int_equal(decode_changed(FIELD(clean), 2, &super), 0);
	assert_false(super.clean);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_super_block_of_the_example_is_read_and_written_alike),
		cmocka_unit_test(new_stores_are_laid_out_as_the_known_implementation_does),
		cmocka_unit_test(the_plan_of_the_example_is_its_super_block_before_it_was_used),
		cmocka_unit_test(room_to_grow_changes_the_cluster_mask_only),
		cmocka_unit_test(a_page_is_as_large_as_the_largest_of_what_is_asked_for),
		cmocka_unit_test(impossible_plans_are_refused_with_a_sentence),
		cmocka_unit_test(numbers_that_cannot_be_are_refused),
		cmocka_unit_test(a_wrong_checksum_is_refused),
		cmocka_unit_test(masks_without_room_for_their_bits_are_refused),
		cmocka_unit_test(what_old_stores_do_not_tell_takes_its_default),
		cmocka_unit_test(only_one_means_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
