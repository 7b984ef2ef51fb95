/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Chains as nobody should write them: what must be borne with is read, everything else is refused
 * with a sentence, whatever it tells takes no memory.
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

#include "base/endian.h"
#include "md_model.h"

#define ROOT   5u
#define ID     (BLOBSTORE_ID_BIT | ROOT)
#define MD_LEN 16u

struct chain {
	struct blobstore_page pages[MD_LEN];
	uint32_t index; /* of the page that is filled */
	uint32_t used;
	struct reason reason;
};

static void chain_init(struct chain *chain)
{
	memset(chain, 0, sizeof(*chain));
	chain->index = ROOT;
	chain->pages[ROOT].id = htole64(ID);
	chain->pages[ROOT].next = htole32(BLOBSTORE_NO_PAGE);
}

static void chain_page(struct chain *chain, uint32_t index)
{
	struct blobstore_page *last = &chain->pages[chain->index], *page = &chain->pages[index];

	last->next = htole32(index);
	*page = (struct blobstore_page){
		.id = htole64(ID),
		.sequence = htole32(le32toh(last->sequence) + 1),
		.next = htole32(BLOBSTORE_NO_PAGE),
	};
	chain->index = index;
	chain->used = 0;
}

static void chain_raw(
	struct chain *chain, uint8_t type, uint32_t length, const void *body, uint32_t body_length)
{
	uint8_t *at = chain->pages[chain->index].descriptors + chain->used;

	assert_true(chain->used + 5 + body_length <= BLOBSTORE_DESCRIPTOR_AREA);
	at[0] = type;
	le32_put(at + 1, length);
	if (body_length)
		memcpy(at + 5, body, body_length);
	chain->used += 5 + body_length;
}

static void chain_add(struct chain *chain, uint8_t type, const void *body, uint32_t length)
{
	chain_raw(chain, type, length, body, length);
}

static void chain_flags(struct chain *chain, uint64_t invalid)
{
	uint64_t words[3] = {htole64(invalid)};

	chain_add(chain, BLOBSTORE_FLAGS, words, sizeof(words));
}

/* Pairs of the extent table or of runs. */
static void chain_pairs(struct chain *chain, uint8_t type, uint64_t clusters, unsigned numbers, ...)
{
	uint32_t body[64] = {htole32((uint32_t)clusters), htole32((uint32_t)(clusters >> 32))};
	unsigned at = type == BLOBSTORE_EXTENT_TABLE ? 2 : 0;
	va_list args;

	va_start(args, numbers);
	for (unsigned i = 0; i < numbers; i++)
		body[at++] = htole32(va_arg(args, uint32_t));
	va_end(args);
	chain_add(chain, type, body, at * 4);
}

#define COUNT(...) (sizeof((uint32_t[]){0, ##__VA_ARGS__}) / 4 - 1)
#define TABLE(chain, size, ...)                                                                    \
	chain_pairs(chain, BLOBSTORE_EXTENT_TABLE, size, COUNT(__VA_ARGS__), ##__VA_ARGS__)
#define RUNS(chain, ...) chain_pairs(chain, BLOBSTORE_RUNS, 0, COUNT(__VA_ARGS__), ##__VA_ARGS__)

static void chain_xattr(
	struct chain *chain, uint8_t type, const char *name, const void *value, uint16_t length)
{
	uint8_t body[4072];
	size_t name_length = strlen(name);

	le16_put(body, (uint16_t)name_length);
	le16_put(body + 2, length);
	memcpy(body + 4, name, name_length);
	memcpy(body + 4 + name_length, value, length);
	chain_add(chain, type, body, (uint32_t)(4 + name_length + length));
}

static int chain_decode(struct chain *chain, struct md *ret_md)
{
	int rc;

	for (unsigned i = 0; i < MD_LEN; i++) {
		if (chain->pages[i].id)
			chain->pages[i].crc = htole32(page_checksum(&chain->pages[i]));
	}
	chain->reason.text[0] = '\0';
	rc = md_decode_from(chain->pages, MD_LEN, 1000, ID, ret_md, &chain->reason);
	assert_int_equal(rc != 0, chain->reason.text[0] != '\0');
	return rc;
}

static void accept(struct chain *chain, struct md *ret_md)
{
	if (chain_decode(chain, ret_md))
		fail_msg("%s", chain->reason.text);
}

static void refuse(struct chain *chain, const char *words)
{
	struct md md;

	assert_int_equal(chain_decode(chain, &md), -EILSEQ);
	if (!strstr(chain->reason.text, words))
		fail_msg("\"%s\" does not say \"%s\"", chain->reason.text, words);
}

/* ---- what is borne with ------------------------------------------------------------------- */

static void a_blob_without_flags_has_none(void **state)
{
	struct chain chain;
	struct md md;

	chain_init(&chain);
	RUNS(&chain, 7, 2, 3, 1);
	accept(&chain, &md);
	assert_int_equal(md.invalid_flags | md.data_ro_flags | md.md_ro_flags, 0);
	assert_false(md.uses_table);
	assert_int_equal(md.num_clusters, 3);
	assert_int_equal(md.runs[0], 7);
	assert_int_equal(md.runs[1], 8);
	assert_int_equal(md.runs[2], 3);
	md_fini(&md);
	chain_init(&chain);
	accept(&chain, &md);
	assert_false(md.uses_table);
	assert_int_equal(md.num_clusters, 0);
	md_fini(&md);
}

static void an_extent_table_makes_a_table_blob_whatever_the_flag_says(void **state)
{
	struct chain chain;
	struct md md;

	chain_init(&chain);
	chain_flags(&chain, 0);
	TABLE(&chain, 0);
	accept(&chain, &md);
	assert_true(md.uses_table);
	md_fini(&md);
	chain_init(&chain);
	chain_flags(&chain, BLOBSTORE_USES_TABLE);
	accept(&chain, &md);
	assert_false(md.uses_table);
	md_fini(&md);
}

static void an_internal_xattr_counts_without_its_flag(void **state)
{
	struct chain chain;
	struct md md;

	chain_init(&chain);
	chain_flags(&chain, BLOBSTORE_THIN);
	chain_xattr(&chain, BLOBSTORE_XATTR_INTERNAL, "SNAP", "\1\0\0\0\1\0\0\0", 8);
	accept(&chain, &md);
	assert_true(md_internal_id(&md, "SNAP") == (BLOBSTORE_ID_BIT | 1));
	assert_false(md.invalid_flags & BLOBSTORE_INTERNAL_XATTR);
	md_fini(&md);
}

static void empty_slots_may_be_counted_and_left_out_at_the_end(void **state)
{
	struct chain chain;
	struct md md;

	chain_init(&chain);
	chain_flags(&chain, BLOBSTORE_THIN);
	TABLE(&chain, 5000, 0, 3, 9, 1);
	chain_page(&chain, 0);
	TABLE(&chain, 5000);
	TABLE(&chain, 5000, 0, 0, 0, 2, 8, 1);
	accept(&chain, &md);
	assert_int_equal(md.num_slots, 10);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(md.pages[i], i == 3 ? 9 : i == 6 ? 8 : 0);
	md_fini(&md);
}

static void padding_and_unknown_descriptors_are_skipped(void **state)
{
	struct chain chain;
	struct md md;

	chain_init(&chain);
	chain_flags(&chain, 0);
	chain_add(&chain, BLOBSTORE_PADDING, "paddings", 8);
	chain_add(&chain, 7, "unknown", 7);
	chain_add(&chain, 255, NULL, 0);
	RUNS(&chain, 7, 2);
	chain_add(&chain, BLOBSTORE_PADDING, NULL, 0);
	chain_add(&chain, BLOBSTORE_FLAGS, "never read", 10);
	accept(&chain, &md);
	assert_int_equal(md.num_clusters, 2);
	md_fini(&md);
}

static void a_page_may_be_full_to_its_last_bytes(void **state)
{
	for (uint32_t left = 0; left < 7; left++) {
		static const uint8_t zeroes[4072];
		struct chain chain;
		struct md md;

		chain_init(&chain);
		chain_flags(&chain, 0);
		chain_add(&chain, BLOBSTORE_PADDING, zeroes, 4072 - 29 - 5 - left);
		if (left && left < 5) /* too short for a head: not looked at */
			memset(chain.pages[ROOT].descriptors + 4072 - left, 0xff, left);
		chain_page(&chain, 7);
		TABLE(&chain, 1, 3, 1);
		accept(&chain, &md);
		assert_int_equal(md.pages[0], 3);
		md_fini(&md);
	}
}

static void an_enormous_empty_blob_takes_no_memory(void **state)
{
	struct chain chain;
	struct md md;

	chain_init(&chain);
	chain_flags(&chain, BLOBSTORE_THIN);
	TABLE(&chain, UINT32_MAX, 0, 5, 3, 1);
	accept(&chain, &md);
	assert_int_equal(md.num_slots, 1 << 23);
	assert_int_equal(md.pages[5], 3);
	md_fini(&md);
	chain_init(&chain);
	chain_flags(&chain, BLOBSTORE_THIN);
	RUNS(&chain, 0, 1 << 28, 9, 1, 0, 1 << 27);
	accept(&chain, &md);
	assert_int_equal(md.num_clusters, (1 << 28) + 1 + (1 << 27));
	assert_int_equal(md.runs[1 << 28], 9);
	assert_int_equal(md.runs[(1 << 28) + 1], 0);
	md_fini(&md);
}

/* ---- what is refused ---------------------------------------------------------------------- */

static void pages_that_are_not_of_the_chain_are_refused(void **state)
{
	struct chain chain;
	struct md md;

	chain_init(&chain);
	chain_page(&chain, 7);
	accept(&chain, &md);
	md_fini(&md);
	chain.pages[7].id = htole64(ID + 1);
	refuse(&chain, "page 7: it belongs to another blob");
	chain.pages[7].id = htole64(ID | UINT64_C(1) << 40);
	refuse(&chain, "page 7: it belongs to another blob");
	chain.pages[7].id = htole64(ID);
	chain.pages[7].sequence = htole32(2);
	refuse(&chain, "page 7: its place in the chain");
	chain.pages[7].id = 0;
	refuse(&chain, "page 7: its checksum");
	chain_init(&chain);
	chain.pages[ROOT].sequence = htole32(1);
	refuse(&chain, "page 5: its place");
}

static void a_chain_that_loops_or_leaves_is_refused(void **state)
{
	struct chain chain;
	struct md md;

	chain_init(&chain);
	chain.pages[ROOT].next = htole32(ROOT);
	refuse(&chain, "its place in the chain");
	chain_init(&chain);
	chain_page(&chain, 0);
	chain_page(&chain, 1);
	accept(&chain, &md);
	md_fini(&md);
	chain.pages[1].next = htole32(0);
	refuse(&chain, "its place in the chain");
	chain.pages[1].next = htole32(MD_LEN);
	refuse(&chain, "next page lies outside");
	chain.pages[1].next = htole32(BLOBSTORE_NO_PAGE - 1);
	refuse(&chain, "next page lies outside");
}

static void a_root_outside_the_metadata_is_refused(void **state)
{
	struct blobstore_page page = {.id = htole64(BLOBSTORE_ID_BIT | 9), .next = UINT32_MAX};
	struct md_decoder decoder;
	struct md md;

	page.crc = htole32(page_checksum(&page));
	md_init(&md, BLOBSTORE_ID_BIT | 9);
	md_decode_begin(&decoder, &md, 9);
	assert_int_equal(md_decode_page(&decoder, &page, NULL), -EILSEQ);
	md_fini(&md);
	md_init(&md, BLOBSTORE_ID_BIT | 9);
	md_decode_begin(&decoder, &md, 10);
	assert_int_equal(md_decode_page(&decoder, &page, NULL), 0);
	assert_int_equal(md_decode_end(&decoder, NULL), 0);
	md_fini(&md);
}

static void descriptors_of_a_wrong_length_are_refused(void **state)
{
	static const uint8_t body[64] = {1, 0, 1, 0};
	static const struct {
		uint8_t type;
		uint32_t length;
		const char *words;
	} faults[] = {
		{BLOBSTORE_FLAGS, 23, "flags have a wrong length"},
		{BLOBSTORE_FLAGS, 25, "flags have a wrong length"},
		{BLOBSTORE_FLAGS, 0, "flags have a wrong length"},
		{BLOBSTORE_XATTR, 0, "too short"},
		{BLOBSTORE_XATTR, 3, "too short"},
		{BLOBSTORE_XATTR, 5, "contradict"},
		{BLOBSTORE_XATTR, 7, "contradict"},
		{BLOBSTORE_XATTR_INTERNAL, 4, "contradict"},
		{BLOBSTORE_RUNS, 0, "runs has a wrong length"},
		{BLOBSTORE_RUNS, 12, "runs has a wrong length"},
		{BLOBSTORE_EXTENT_TABLE, 0, "table has a wrong length"},
		{BLOBSTORE_EXTENT_TABLE, 4, "table has a wrong length"},
		{BLOBSTORE_EXTENT_TABLE, 20, "table has a wrong length"},
		{BLOBSTORE_EXTENT_PAGE, 8, "extent page is part of a chain"},
	};
	struct chain chain;

	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
		chain_init(&chain);
		chain_add(&chain, faults[i].type, body, faults[i].length);
		refuse(&chain, faults[i].words);
	}
}

static void a_descriptor_that_does_not_end_within_its_page_is_refused(void **state)
{
	static const uint32_t lengths[] = {
		4068, 4072, 65536, INT32_MAX, UINT32_MAX - 4, UINT32_MAX};
	struct chain chain;
	struct md md;

	for (unsigned type = 0; type < 9; type++) {
		for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
			chain_init(&chain);
			chain_raw(&chain, (uint8_t)type, lengths[i], NULL, 0);
			refuse(&chain, "does not end within");
		}
	}
	chain_init(&chain);
	chain_raw(&chain, 8, 4067, NULL, 0);
	accept(&chain, &md);
	md_fini(&md);
}

static void flags_come_once_and_before_the_clusters(void **state)
{
	struct chain chain;

	chain_init(&chain);
	chain_flags(&chain, 0);
	chain_flags(&chain, 0);
	refuse(&chain, "flags come twice");
	chain_init(&chain);
	RUNS(&chain, 7, 1);
	chain_flags(&chain, 0);
	refuse(&chain, "after the clusters");
	chain_init(&chain);
	TABLE(&chain, 0);
	chain_flags(&chain, 0);
	refuse(&chain, "after the clusters");
}

static void only_a_thin_blob_has_empty_places(void **state)
{
	struct chain chain;

	chain_init(&chain);
	chain_flags(&chain, BLOBSTORE_USES_TABLE);
	TABLE(&chain, 600, 3, 1, 0, 1);
	refuse(&chain, "not thin");
	chain_init(&chain);
	TABLE(&chain, 600, 3, 1);
	refuse(&chain, "ends after 1 of 2 slots");
	chain_init(&chain);
	RUNS(&chain, 3, 1, 0, 1);
	refuse(&chain, "not thin");
}

static void extent_tables_that_cannot_be_are_refused(void **state)
{
	struct chain chain;

	chain_init(&chain);
	chain_flags(&chain, BLOBSTORE_THIN);
	TABLE(&chain, UINT64_C(1) << 60, 0, 1);
	refuse(&chain, "impossible size");
	chain_init(&chain);
	chain_flags(&chain, BLOBSTORE_THIN);
	TABLE(&chain, UINT64_C(1) << 32);
	refuse(&chain, "impossible size");
	chain_init(&chain);
	chain_flags(&chain, BLOBSTORE_THIN);
	TABLE(&chain, 512, 3, 1, 4, 1);
	refuse(&chain, "more entries than slots");
	chain_init(&chain);
	chain_flags(&chain, BLOBSTORE_THIN);
	TABLE(&chain, 1024, 3, 1, 0, UINT32_MAX);
	refuse(&chain, "more entries than slots");
	chain_init(&chain);
	TABLE(&chain, 1024, 3, 2);
	refuse(&chain, "in several slots");
	chain_init(&chain);
	TABLE(&chain, 1024, 3, 0);
	refuse(&chain, "in several slots");
	chain_init(&chain);
	TABLE(&chain, 512, MD_LEN, 1);
	refuse(&chain, "outside the metadata");
	chain_init(&chain);
	TABLE(&chain, 1024, 3, 1);
	TABLE(&chain, 1023, 4, 1);
	refuse(&chain, "different sizes");
}

static void runs_that_cannot_be_are_refused(void **state)
{
	struct chain chain;
	struct md md;

	chain_init(&chain);
	RUNS(&chain, 7, 0, 9, 0);
	refuse(&chain, "is empty");
	chain_init(&chain);
	RUNS(&chain, 990, 11);
	refuse(&chain, "outside the store");
	chain_init(&chain);
	RUNS(&chain, UINT32_MAX, UINT32_MAX);
	refuse(&chain, "outside the store");
	chain_init(&chain);
	RUNS(&chain, 1, 999, 500, 1);
	accept(&chain, &md);
	assert_int_equal(md.num_clusters, 1000);
	md_fini(&md);
	chain_page(&chain, 0);
	RUNS(&chain, 1, 1);
	refuse(&chain, "impossible size"); /* more than the store has */
	chain_init(&chain);
	chain_flags(&chain, BLOBSTORE_THIN);
	RUNS(&chain, 0, UINT32_MAX, 0, 1);
	refuse(&chain, "impossible size");
}

static void a_blob_has_runs_or_a_table(void **state)
{
	struct chain chain;

	chain_init(&chain);
	RUNS(&chain, 7, 1);
	TABLE(&chain, 512, 3, 1);
	refuse(&chain, "both");
	chain_init(&chain);
	TABLE(&chain, 512, 3, 1);
	RUNS(&chain, 7, 1);
	refuse(&chain, "both");
}

static void xattrs_that_cannot_be_are_refused(void **state)
{
	struct chain chain;
	struct md md;

	chain_init(&chain);
	chain_xattr(&chain, BLOBSTORE_XATTR, "same", "1", 1);
	chain_xattr(&chain, BLOBSTORE_XATTR_INTERNAL, "same", "2", 1);
	accept(&chain, &md);
	md_fini(&md);
	chain_xattr(&chain, BLOBSTORE_XATTR, "same", "3", 1);
	refuse(&chain, "is there twice");
	chain_init(&chain);
	chain_xattr(&chain, BLOBSTORE_XATTR_INTERNAL, "SNAP", "1234567", 7);
	refuse(&chain, "SNAP is no blob id");
	chain_init(&chain);
	chain_xattr(&chain, BLOBSTORE_XATTR_INTERNAL, "SNAPRM", "", 0);
	refuse(&chain, "SNAPRM is no blob id");
	chain_init(&chain);
	chain_flags(&chain, BLOBSTORE_THIN | BLOBSTORE_ESNAP);
	refuse(&chain, "external parent");
	chain_xattr(&chain, BLOBSTORE_XATTR_INTERNAL, "EXTSNAP", "x", 1);
	accept(&chain, &md);
	md_fini(&md);
}

static void more_xattrs_than_anybody_sets_are_refused(void **state)
{
	struct chain chain;
	struct md md;

	chain_init(&chain);
	for (unsigned number = 0; number < 4097; number++) {
		char name[5];

		if (number == 4096) {
			accept(&chain, &md);
			md_fini(&md);
		}
		if (chain.used + 13 > BLOBSTORE_DESCRIPTOR_AREA)
			chain_page(&chain, (chain.index + 1) % MD_LEN);
		snprintf(name, sizeof(name), "%04x", number);
		chain_xattr(&chain, BLOBSTORE_XATTR, name, "", 0);
	}
	refuse(&chain, "too many xattrs");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_blob_without_flags_has_none),
		cmocka_unit_test(an_extent_table_makes_a_table_blob_whatever_the_flag_says),
		cmocka_unit_test(an_internal_xattr_counts_without_its_flag),
		cmocka_unit_test(empty_slots_may_be_counted_and_left_out_at_the_end),
		cmocka_unit_test(padding_and_unknown_descriptors_are_skipped),
		cmocka_unit_test(a_page_may_be_full_to_its_last_bytes),
		cmocka_unit_test(an_enormous_empty_blob_takes_no_memory),
		cmocka_unit_test(pages_that_are_not_of_the_chain_are_refused),
		cmocka_unit_test(a_chain_that_loops_or_leaves_is_refused),
		cmocka_unit_test(a_root_outside_the_metadata_is_refused),
		cmocka_unit_test(descriptors_of_a_wrong_length_are_refused),
		cmocka_unit_test(a_descriptor_that_does_not_end_within_its_page_is_refused),
		cmocka_unit_test(flags_come_once_and_before_the_clusters),
		cmocka_unit_test(only_a_thin_blob_has_empty_places),
		cmocka_unit_test(extent_tables_that_cannot_be_are_refused),
		cmocka_unit_test(runs_that_cannot_be_are_refused),
		cmocka_unit_test(a_blob_has_runs_or_a_table),
		cmocka_unit_test(xattrs_that_cannot_be_are_refused),
		cmocka_unit_test(more_xattrs_than_anybody_sets_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
