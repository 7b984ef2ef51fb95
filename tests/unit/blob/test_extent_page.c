/* SPDX-License-Identifier: BSD-2-Clause */
/* Extent pages: those of the example byte for byte, full, short, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/endian.h"
#include "blob/format.h"
#include "example.h"

static void the_extent_pages_of_the_example_are_read_and_written_alike(void **state)
{
	static const uint32_t expected[2][8] = {{0, 0, 1, 2, 0, 0, 0, 0}, {0, 0, 0, 3, 0, 4, 0, 0}};
	static const unsigned pages[] = {2, 4};

	for (unsigned i = 0; i < 2; i++) {
		uint32_t clusters[BLOBSTORE_SLOT_ENTRIES], entries;
		uint8_t page[4096], written[4096];
		struct reason reason = {0};

		example_page(EXAMPLE_MD + pages[i], page);
		assert_int_equal(extent_page_decode(page, 0, clusters, &entries, &reason), 0);
		assert_int_equal(entries, 8);
		assert_memory_equal(clusters, expected[i], sizeof(expected[i]));
		for (unsigned j = 8; j < BLOBSTORE_SLOT_ENTRIES; j++)
			assert_int_equal(clusters[j], 0);
		memset(written, 0xee, sizeof(written));
		extent_page_encode(EXAMPLE_VOL, 0, clusters, 8, written);
		assert_memory_equal(written, page, sizeof(page));
	}
}

static void every_number_of_entries_of_every_slot_comes_back(void **state)
{
	static const uint32_t slots[] = {0, 1, 77, UINT32_MAX / BLOBSTORE_SLOT_ENTRIES};
	uint32_t clusters[BLOBSTORE_SLOT_ENTRIES], back[BLOBSTORE_SLOT_ENTRIES], entries;
	struct blobstore_page page;

	for (unsigned i = 0; i < BLOBSTORE_SLOT_ENTRIES; i++)
		clusters[i] = UINT32_MAX - i * 3;
	for (unsigned s = 0; s < ARRAY_SIZE(slots); s++) {
		for (uint32_t n = 1; n <= BLOBSTORE_SLOT_ENTRIES; n++) {
			extent_page_encode(EXAMPLE_VOL, slots[s], clusters, n, &page);
			assert_int_equal(
				extent_page_decode(&page, slots[s], back, &entries, NULL), 0);
			assert_int_equal(entries, n);
			assert_memory_equal(back, clusters, 4 * n);
			for (uint32_t j = n; j < BLOBSTORE_SLOT_ENTRIES; j++)
				assert_int_equal(back[j], 0);
		}
	}
}

static void a_full_page_of_slot_1_has_the_known_head(void **state)
{
	static const uint8_t head[] = {0x06, 0x04, 0x08, 0, 0, 0x00, 0x02, 0, 0, 7, 0, 0, 0};
	uint32_t clusters[BLOBSTORE_SLOT_ENTRIES] = {7};
	struct blobstore_page page;

	extent_page_encode(EXAMPLE_VOL, 1, clusters, BLOBSTORE_SLOT_ENTRIES, &page);
	assert_memory_equal(page.descriptors, head, sizeof(head));
	assert_int_equal(le32toh(page.next), BLOBSTORE_NO_PAGE);
	assert_true(page_checksum_is_right(&page));
}

static void a_page_of_no_entries_is_read_as_empty(void **state)
{
	uint32_t clusters[BLOBSTORE_SLOT_ENTRIES], entries = 1;
	struct blobstore_page page = {.descriptors = {6, 4, 0, 0, 0, 0, 2}, .next = UINT32_MAX};

	page.crc = htole32(page_checksum(&page));
	memset(clusters, 0xff, sizeof(clusters));
	assert_int_equal(extent_page_decode(&page, 1, clusters, &entries, NULL), 0);
	assert_int_equal(entries, 0);
	for (unsigned i = 0; i < BLOBSTORE_SLOT_ENTRIES; i++)
		assert_int_equal(clusters[i], 0);
}

/* Changes of one byte; the checksum is made right again. */
static void what_is_no_extent_page_of_that_slot_is_refused(void **state)
{
	static const struct {
		unsigned at;
		uint8_t byte;
	} faults[] = {
		{8, 1}, /* a place in a chain */
		{16, 5}, /* another type */
		{17, 0x23}, /* half an entry */
		{17, 0}, /* shorter than its first cluster */
		{19, 1}, /* longer than the page */
		{18, 0x08}, /* 2084: 520 entries */
		{22, 2}, /* begins with cluster 512 */
		{4088, 0}, /* has a successor */
		{16 + 9 + 8 * 4 + 1, 9}, /* something follows */
	};
	uint32_t clusters[BLOBSTORE_SLOT_ENTRIES] = {1, 2, 3, 4, 5, 6, 7, 8}, entries;

	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
		uint8_t page[4096];
		struct reason reason = {0};

		extent_page_encode(EXAMPLE_VOL, 0, clusters, 8, page);
		page[faults[i].at] = faults[i].byte;
		assert_int_equal(extent_page_decode(page, 0, clusters, &entries, &reason), -EILSEQ);
		assert_non_null(strstr(reason.text, "checksum"));
		le32_put(page + BLOBSTORE_CRC_BYTES, page_checksum(page));
		reason.text[0] = '\0';
		assert_int_equal(extent_page_decode(page, 0, clusters, &entries, &reason), -EILSEQ);
		assert_null(strstr(reason.text, "checksum"));
		assert_non_null(strstr(reason.text, "slot 0"));
	}
}

static void an_empty_page_is_no_extent_page(void **state)
{
	uint32_t clusters[BLOBSTORE_SLOT_ENTRIES], entries;
	uint8_t page[4096] = {0};

	assert_int_equal(extent_page_decode(page, 0, clusters, &entries, NULL), -EILSEQ);
}

static void the_last_slot_has_the_rest_of_the_clusters(void **state)
{
	assert_int_equal(extent_page_entries(8, 0), 8);
	assert_int_equal(extent_page_entries(512, 0), 512);
	assert_int_equal(extent_page_entries(512, 1), 0);
	assert_int_equal(extent_page_entries(1100, 1), 512);
	assert_int_equal(extent_page_entries(1100, 2), 76);
	assert_int_equal(extent_page_entries(1100, 3), 0);
	assert_int_equal(extent_page_entries(UINT32_MAX, UINT32_MAX / 512), 511);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_extent_pages_of_the_example_are_read_and_written_alike),
		cmocka_unit_test(every_number_of_entries_of_every_slot_comes_back),
		cmocka_unit_test(a_full_page_of_slot_1_has_the_known_head),
		cmocka_unit_test(a_page_of_no_entries_is_read_as_empty),
		cmocka_unit_test(what_is_no_extent_page_of_that_slot_is_refused),
		cmocka_unit_test(an_empty_page_is_no_extent_page),
		cmocka_unit_test(the_last_slot_has_the_rest_of_the_clusters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
