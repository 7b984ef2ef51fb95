/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reader of store images that crash tests judge by (store_image.h): it reads a small store that
 * is made here byte by byte, and finds each fault that is planted in it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "crash/store_image.h"

#define SIZE         MIB
#define CLUSTER      (16 * KIB)
#define CLUSTERS     (SIZE / CLUSTER)
#define MD_START     4u
#define MD_LEN       16u
#define MD_CLUSTERS  5u /* 20 pages */
#define SNAPSHOT     1u /* index of its root */
#define CLONE        2u
#define SNAPSHOT_MAP 3u /* index of its extent page */
#define CLONE_MAP    4u
#define CLONE_CHAIN  0u /* index of its second page */

struct desk {
	struct crash_image image;
	struct blobstore_super super;
	struct blobstore_page page;
	uint32_t at; /* in its descriptors */
};

/* ---- pages ---- */

static void put32(struct desk *desk, uint32_t value)
{
	memcpy(desk->page.descriptors + desk->at, &value, sizeof(value));
	desk->at += sizeof(value);
}

static void put64(struct desk *desk, uint64_t value)
{
	memcpy(desk->page.descriptors + desk->at, &value, sizeof(value));
	desk->at += sizeof(value);
}

static void put_head(struct desk *desk, uint8_t type, uint32_t length)
{
	desk->page.descriptors[desk->at++] = type;
	put32(desk, length);
}

static void put_xattr(
	struct desk *desk, uint8_t type, const char *name, const void *value, uint16_t length)
{
	uint16_t name_length = (uint16_t)strlen(name);

	put_head(desk, type, 4u + name_length + length);
	memcpy(desk->page.descriptors + desk->at, &name_length, 2);
	memcpy(desk->page.descriptors + desk->at + 2, &length, 2);
	memcpy(desk->page.descriptors + desk->at + 4, name, name_length);
	memcpy(desk->page.descriptors + desk->at + 4 + name_length, value, length);
	desk->at += 4u + name_length + length;
}

static void put_flags(struct desk *desk, uint64_t invalid, uint64_t data_ro)
{
	put_head(desk, BLOBSTORE_FLAGS, BLOBSTORE_FLAGS_LENGTH);
	put64(desk, invalid | BLOBSTORE_USES_TABLE);
	put64(desk, data_ro);
	put64(desk, 0);
}

static void put_table(struct desk *desk, uint64_t clusters, uint32_t page)
{
	put_head(desk, BLOBSTORE_EXTENT_TABLE, 16);
	put64(desk, clusters);
	put32(desk, page);
	put32(desk, 1);
}

static void page_begin(struct desk *desk, uint32_t owner, uint32_t sequence)
{
	memset(&desk->page, 0, sizeof(desk->page));
	desk->page.id = BLOBSTORE_ID_BIT | owner;
	desk->page.sequence = sequence;
	desk->page.next = BLOBSTORE_NO_PAGE;
	desk->at = 0;
}

static void page_end(struct desk *desk, uint32_t index)
{
	desk->page.crc = crc32c(&desk->page, BLOBSTORE_CRC_BYTES);
	crash_image_write(&desk->image, (MD_START + index) * 4096u, &desk->page, 4096);
}

static void extent_page(struct desk *desk, uint32_t index, uint32_t owner, uint32_t entries,
	uint32_t first, uint32_t second)
{
	page_begin(desk, owner, 0);
	put_head(desk, BLOBSTORE_EXTENT_PAGE, 4 + 4 * entries);
	put32(desk, 0);
	put32(desk, first);
	put32(desk, second);
	page_end(desk, index);
}

static void xattr_32(struct desk *desk, const char *name, uint32_t value)
{
	put_xattr(desk, BLOBSTORE_XATTR, name, &value, sizeof(value));
}

static void xattr_id(struct desk *desk, const char *name, uint32_t index)
{
	uint64_t id = BLOBSTORE_ID_BIT | index;

	put_xattr(desk, BLOBSTORE_XATTR_INTERNAL, name, &id, sizeof(id));
}

static void snapshot_root(struct desk *desk, const char *unfinished)
{
	page_begin(desk, SNAPSHOT, 0);
	put_flags(desk, BLOBSTORE_THIN, BLOBSTORE_READ_ONLY);
	xattr_32(desk, STORE_IMAGE_TAG, 7);
	if (unfinished)
		xattr_id(desk, unfinished, CLONE);
	put_table(desk, 4, SNAPSHOT_MAP);
	page_end(desk, SNAPSHOT);
}

/* Of two pages. */
static void clone_chain(struct desk *desk, uint32_t parent)
{
	page_begin(desk, CLONE, 0);
	put_flags(desk, BLOBSTORE_THIN | BLOBSTORE_INTERNAL_XATTR, 0);
	xattr_32(desk, STORE_IMAGE_TAG, 8);
	desk->page.next = CLONE_CHAIN;
	page_end(desk, CLONE);
	page_begin(desk, CLONE, 1);
	xattr_id(desk, BLOBSTORE_XATTR_PARENT, parent);
	put_table(desk, 4, CLONE_MAP);
	page_end(desk, CLONE_CHAIN);
}

/* ---- the store ---- */

static void super_put(struct desk *desk)
{
	desk->super.crc = crc32c(&desk->super, BLOBSTORE_CRC_BYTES);
	crash_image_write(&desk->image, 0, &desk->super, sizeof(desk->super));
}

static void mask_put(struct desk *desk, uint8_t type, uint32_t bits, uint64_t set)
{
	struct blobstore_mask head = {.type = type, .bits = bits};
	uint8_t map[8];

	memcpy(map, &set, sizeof(map));
	crash_image_write(&desk->image, 4096u * (1 + type), &head, sizeof(head));
	crash_image_write(&desk->image, 4096u * (1 + type) + sizeof(head), map, sizeof(map));
}

static void fill_cluster(struct desk *desk, uint32_t cluster, uint8_t byte)
{
	crash_image_fill(&desk->image, cluster * CLUSTER, byte, CLUSTER);
}

/* A snapshot with clusters 5 and 6, a clone with cluster 7 in its first place; closed. */
static void desk_start(struct desk *desk)
{
	memset(desk, 0, sizeof(*desk));
	crash_image_init(&desk->image, NULL, SIZE);
	memcpy(desk->super.signature, BLOBSTORE_SIGNATURE, 8);
	desk->super.version = 3;
	desk->super.length = 4096;
	desk->super.clean = 1;
	desk->super.super_blob = BLOBSTORE_NO_BLOB;
	desk->super.cluster_size = CLUSTER;
	desk->super.used_page_mask_start = 1;
	desk->super.used_cluster_mask_start = 2;
	desk->super.used_blobid_mask_start = 3;
	desk->super.used_page_mask_len = desk->super.used_cluster_mask_len = 1;
	desk->super.used_blobid_mask_len = 1;
	desk->super.md_start = MD_START;
	desk->super.md_len = MD_LEN;
	desk->super.size = SIZE;
	desk->super.io_unit_size = 512;
	desk->super.md_page_size = 4096;
	super_put(desk);
	mask_put(desk, BLOBSTORE_MASK_PAGES, MD_LEN, 0x1f);
	mask_put(desk, BLOBSTORE_MASK_CLUSTERS, CLUSTERS, 0xff);
	mask_put(desk, BLOBSTORE_MASK_BLOBIDS, MD_LEN, 0x6);
	extent_page(desk, SNAPSHOT_MAP, CLONE, 4, 5, 6);
	extent_page(desk, CLONE_MAP, CLONE, 4, 7, 0);
	snapshot_root(desk, NULL);
	clone_chain(desk, SNAPSHOT);
	fill_cluster(desk, 5, 0x55);
	fill_cluster(desk, 6, 0x66);
	fill_cluster(desk, 7, 0x77);
}

static void desk_end(struct desk *desk)
{
	crash_image_fini(&desk->image);
}

/* "" when all is right. */
static const char *desk_fault(struct desk *desk)
{
	static char fault[200];
	struct store_image store;
	int rc = store_image_init(&store, &desk->image);

	if (!rc)
		rc = store_image_check_closed(&store);
	memcpy(fault, rc ? store.fault : "", rc ? sizeof(fault) : 1);
	store_image_fini(&store);
	return fault;
}

static void assert_fault(struct desk *desk, const char *expected)
{
	const char *fault = desk_fault(desk);

	if (!strstr(fault, expected))
		fail_msg("\"%s\" and not \"%s\"", fault, expected);
	desk_end(desk);
}

/* ---- tests ---- */

static uint8_t byte_of(
	const struct store_image *store, const struct store_image_blob *blob, uint32_t cluster)
{
	uint8_t data[512];

	store_image_sector(store, blob, cluster * (uint32_t)(CLUSTER / 512) + 1, data);
	return data[511];
}

static void blobs_read_through_their_parents(void **state)
{
	struct desk desk;
	struct store_image store;

	desk_start(&desk);
	assert_string_equal(desk_fault(&desk), "");
	assert_int_equal(store_image_init(&store, &desk.image), 0);
	assert_int_equal(store.num_blobs, 2);
	assert_int_equal(store.md_clusters, MD_CLUSTERS);
	assert_int_equal(store.free_clusters, CLUSTERS - 8);
	assert_int_equal(store.blobs[0].tag, 7);
	assert_int_equal(store.blobs[1].tag, 8);
	assert_int_equal(byte_of(&store, &store.blobs[0], 0), 0x55);
	assert_int_equal(byte_of(&store, &store.blobs[1], 0), 0x77);
	assert_int_equal(byte_of(&store, &store.blobs[1], 1), 0x66);
	assert_int_equal(byte_of(&store, &store.blobs[1], 2), 0);
	store_image_fini(&store);
	desk_end(&desk);
}

static void a_cluster_with_two_owners_is_found(void **state)
{
	struct desk desk;

	desk_start(&desk);
	extent_page(&desk, CLONE_MAP, CLONE, 4, 6, 0);
	assert_fault(&desk, "cluster 6 has two owners");
}

static void a_cluster_of_the_metadata_is_nobody_s(void **state)
{
	struct desk desk;

	desk_start(&desk);
	extent_page(&desk, CLONE_MAP, CLONE, 4, MD_CLUSTERS - 1, 0);
	assert_fault(&desk, "cluster 4 is out of range");
}

static void a_page_with_two_owners_is_found(void **state)
{
	struct desk desk;

	desk_start(&desk);
	page_begin(&desk, 9, 0);
	put_flags(&desk, BLOBSTORE_THIN, 0);
	put_table(&desk, 4, CLONE_MAP);
	page_end(&desk, 9);
	assert_fault(&desk, "page 4 is used twice");
}

static void leaks_and_holes_in_masks_are_found(void **state)
{
	struct desk desk;

	desk_start(&desk);
	mask_put(&desk, BLOBSTORE_MASK_CLUSTERS, CLUSTERS, 0x1ff);
	assert_fault(&desk, "mask 1: 8 is set and nobody's");
	desk_start(&desk);
	mask_put(&desk, BLOBSTORE_MASK_CLUSTERS, CLUSTERS, 0x7f);
	assert_fault(&desk, "mask 1: 7 is clear and in use");
	desk_start(&desk);
	mask_put(&desk, BLOBSTORE_MASK_PAGES, MD_LEN, 0x3f);
	assert_fault(&desk, "mask 0: 5 is set and nobody's");
	desk_start(&desk);
	mask_put(&desk, BLOBSTORE_MASK_BLOBIDS, MD_LEN, 0x2);
	assert_fault(&desk, "mask 2: 2 is clear and in use");
}

static void a_root_that_would_come_back_to_life_is_found(void **state)
{
	struct desk desk;

	desk_start(&desk);
	page_begin(&desk, 9, 0);
	put_flags(&desk, BLOBSTORE_THIN, 0);
	put_head(&desk, BLOBSTORE_EXTENT_TABLE, 8);
	put64(&desk, 0);
	page_end(&desk, 9);
	assert_fault(&desk, "mask 0: 9 is clear and in use");
}

static void unfinished_operations_are_found(void **state)
{
	struct desk desk;

	desk_start(&desk);
	snapshot_root(&desk, BLOBSTORE_XATTR_SNAPSHOT_PENDING);
	assert_fault(&desk, "unfinished");
	desk_start(&desk);
	snapshot_root(&desk, BLOBSTORE_XATTR_REMOVAL_PENDING);
	assert_fault(&desk, "unfinished");
}

static void a_parent_that_is_not_there_is_found(void **state)
{
	struct desk desk;

	desk_start(&desk);
	clone_chain(&desk, 12);
	assert_fault(&desk, "has no proper parent");
}

static void wrong_extent_pages_are_found(void **state)
{
	struct desk desk;

	desk_start(&desk);
	extent_page(&desk, CLONE_MAP, CLONE, 3, 7, 0);
	assert_fault(&desk, "extent page 4");
	desk_start(&desk);
	crash_image_fill(&desk.image, (MD_START + CLONE_MAP) * 4096u + 100, 1, 1);
	assert_fault(&desk, "crc wrong");
}

static void a_broken_chain_is_found(void **state)
{
	struct desk desk;

	desk_start(&desk);
	crash_image_fill(&desk.image, (MD_START + CLONE_CHAIN) * 4096u, 0, 4096);
	assert_fault(&desk, "page 0 of the chain");
}

static void a_store_that_was_not_closed_is_found(void **state)
{
	struct desk desk;

	desk_start(&desk);
	desk.super.clean = 0;
	super_put(&desk);
	assert_fault(&desk, "not marked clean");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blobs_read_through_their_parents),
		cmocka_unit_test(a_cluster_with_two_owners_is_found),
		cmocka_unit_test(a_cluster_of_the_metadata_is_nobody_s),
		cmocka_unit_test(a_page_with_two_owners_is_found),
		cmocka_unit_test(leaks_and_holes_in_masks_are_found),
		cmocka_unit_test(a_root_that_would_come_back_to_life_is_found),
		cmocka_unit_test(unfinished_operations_are_found),
		cmocka_unit_test(a_parent_that_is_not_there_is_found),
		cmocka_unit_test(wrong_extent_pages_are_found),
		cmocka_unit_test(a_broken_chain_is_found),
		cmocka_unit_test(a_store_that_was_not_closed_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
