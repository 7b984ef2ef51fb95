/* SPDX-License-Identifier: BSD-2-Clause */
/* Masks: those of the example byte for byte, and what is refused. */
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

static const uint32_t example_words[] = {0x1f, 0x1f, 0x0b};

static void the_masks_of_the_example_are_read_and_written_alike(void **state)
{
	for (unsigned type = 0; type < 3; type++) {
		uint8_t expected[4096], written[4096];
		struct reason reason = {0};
		struct bitmap map;

		example_page(EXAMPLE_PAGE_MASK + type, expected);
		assert_int_equal(bitmap_init(&map, 32), 0);
		assert_int_equal(mask_decode(type, expected, 4096, 32, &map, &reason), 0);
		assert_int_equal(map.words[0], example_words[type]);
		memset(written, 0xee, sizeof(written));
		mask_encode(type, &map, 32, written, sizeof(written));
		assert_memory_equal(written, expected, sizeof(written));
		bitmap_fini(&map);
	}
}

static int decode(unsigned type, uint32_t told, uint32_t min_bits, size_t bytes)
{
	uint8_t region[64] = {(uint8_t)type};
	struct reason reason = {0};
	struct bitmap map;
	int rc;

	le32_put(region + 1, told);
	memset(region + 5, 0xff, sizeof(region) - 5);
	assert_int_equal(bitmap_init(&map, min_bits), 0);
	rc = mask_decode(BLOBSTORE_MASK_CLUSTERS, region, bytes, min_bits, &map, &reason);
	assert_int_equal(map.count, rc ? 0 : min_bits);
	assert_true(rc == 0 || reason.text[0]);
	bitmap_fini(&map);
	return rc;
}

static void a_mask_of_too_few_bits_or_another_type_is_refused(void **state)
{
	assert_int_equal(decode(BLOBSTORE_MASK_CLUSTERS, 100, 100, 64), 0);
	assert_int_equal(decode(BLOBSTORE_MASK_CLUSTERS, 99, 100, 64), -EILSEQ);
	assert_int_equal(decode(BLOBSTORE_MASK_CLUSTERS, 0, 100, 64), -EILSEQ);
	assert_int_equal(decode(BLOBSTORE_MASK_PAGES, 100, 100, 64), -EILSEQ);
	assert_int_equal(decode(3, 100, 100, 64), -EILSEQ);
	assert_int_equal(decode(BLOBSTORE_MASK_CLUSTERS, 100, 100, 18), 0);
	assert_int_equal(decode(BLOBSTORE_MASK_CLUSTERS, 100, 100, 17), -EILSEQ);
	assert_int_equal(decode(BLOBSTORE_MASK_CLUSTERS, 100, 100, 4), -EILSEQ);
}

static void an_interrupted_growth_leaves_a_cluster_mask_that_is_read(void **state)
{
	assert_int_equal(decode(BLOBSTORE_MASK_CLUSTERS, 300, 100, 64), 0);
	assert_int_equal(decode(BLOBSTORE_MASK_CLUSTERS, UINT32_MAX, 100, 64), 0);
}

static void masks_of_pages_and_blob_ids_have_exactly_their_bits(void **state)
{
	uint8_t region[64] = {BLOBSTORE_MASK_BLOBIDS, 101};
	struct bitmap map;

	assert_int_equal(bitmap_init(&map, 100), 0);
	assert_int_equal(mask_decode(BLOBSTORE_MASK_BLOBIDS, region, 64, 100, &map, NULL), -EILSEQ);
	region[1] = 100;
	assert_int_equal(mask_decode(BLOBSTORE_MASK_BLOBIDS, region, 64, 100, &map, NULL), 0);
	bitmap_fini(&map);
}

static void a_mask_takes_five_bytes_and_its_bits(void **state)
{
	assert_int_equal(mask_bytes(0), 5);
	assert_int_equal(mask_bytes(8), 6);
	assert_int_equal(mask_bytes(9), 7);
	assert_int_equal(mask_bytes(UINT32_MAX), 5 + 0x20000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_masks_of_the_example_are_read_and_written_alike),
		cmocka_unit_test(a_mask_of_too_few_bits_or_another_type_is_refused),
		cmocka_unit_test(an_interrupted_growth_leaves_a_cluster_mask_that_is_read),
		cmocka_unit_test(masks_of_pages_and_blob_ids_have_exactly_their_bits),
		cmocka_unit_test(a_mask_takes_five_bytes_and_its_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
