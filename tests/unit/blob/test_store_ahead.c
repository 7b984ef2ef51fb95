/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page mask that is written ahead: what a load after a crash reads, and that it never misses a
 * volume, whoever has written last. Other writers are played with what they are known to write: on
 * recovery and on closing the masks with zeroes behind them, pages of metadata, the super block.
 */
#include "store_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIZE    (128 * MIB)
#define CLUSTER (16 * KIB)
#define FAR     7000u /* a page that is not covered after a few changes */

static const struct gate_bdev_options disk = {
	.name = "disk", .size_bytes = SIZE, .block_size = 512, .physical_block_size = 4096};

static uint32_t md_bytes(struct store_world *sw)
{
	struct super super;

	disk_super(sw, &super);
	return super.md_len * super.md_page_size;
}

/* Loads, and how much that read. */
static uint64_t load_and_count(struct store_world *sw)
{
	gate_bdev_forget(sw->gate);
	assert_int_equal(store_world_load(sw), 0);
	return count_bytes(sw, BDEV_IO_READ);
}

static bool is_recovered(struct store_world *sw)
{
	struct blob_store_info info;

	volumes_info(&sw->volumes, &info);
	return info.recovered;
}

/* A volume of one cluster, as another writer makes it in pages that we had not claimed. */
static void other_makes_volume(struct store_world *sw, uint32_t root, uint32_t cluster)
{
	uint32_t clusters[BLOBSTORE_SLOT_ENTRIES] = {cluster};
	struct md md;

	md_init(&md, BLOBSTORE_ID_BIT | root);
	assert_int_equal(md_resize(&md, 1), 0);
	md.pages[0] = root + 1;
	md.invalid_flags = BLOBSTORE_THIN | BLOBSTORE_USES_TABLE;
	disk_set_extents(sw, &md, 0, clusters, 1);
	disk_set_md(sw, &md, NULL);
	md_fini(&md);
}

/* What a recovery of another writer finds: a full scan. */
static void other_finds(struct store_world *sw, struct bitmap *pages, struct bitmap *blobids)
{
	struct super super;
	uint8_t page[4096];

	disk_super(sw, &super);
	assert_int_equal(bitmap_init(pages, super.md_len), 0);
	assert_int_equal(bitmap_init(blobids, super.md_len), 0);
	for (uint32_t index = 0; index < super.md_len; index++) {
		struct md md;

		disk_page(sw, index, page);
		if (!md_page_is_root(page, index))
			continue;
		bitmap_set(pages, index);
		bitmap_set(blobids, index);
		disk_md(sw, BLOBSTORE_ID_BIT | index, &md);
		for (uint32_t slot = 0; slot < md.num_slots; slot++)
			if (md.pages[slot])
				bitmap_set(pages, md.pages[slot]);
		md_fini(&md);
	}
}

static void other_recovers(struct store_world *sw)
{
	struct bitmap pages, blobids;

	other_finds(sw, &pages, &blobids);
	disk_set_mask(sw, BLOBSTORE_MASK_PAGES, &pages);
	disk_set_mask(sw, BLOBSTORE_MASK_BLOBIDS, &blobids);
	bitmap_fini(&pages);
	bitmap_fini(&blobids);
}

static void a_killed_store_is_loaded_by_looking_at_what_was_claimed(void **state)
{
	SIM_FOR_EACH_SEED(seed, 3)
	{
		struct blob_store_info before, after;
		struct store_world sw;

		store_world_start(&sw, seed, &disk);
		assert_int_equal(store_world_create(&sw, CLUSTER), 0);
		assert_false(disk_is_marked(&sw));
		store_world_fill(&sw, CLUSTER);
		assert_true(disk_is_marked(&sw));
		volumes_info(&sw.volumes, &before);
		store_world_kill(&sw);
		assert_true(load_and_count(&sw) < md_bytes(&sw) * 3 / 4);
		assert_true(is_recovered(&sw));
		store_world_check(&sw, CLUSTER);
		volumes_info(&sw.volumes, &after);
		assert_int_equal(before.md_pages_free, after.md_pages_free);
		assert_int_equal(before.free_clusters, after.free_clusters);
		assert_int_equal(store_world_close(&sw), 0);
		assert_false(disk_is_marked(&sw));
		load_and_count(&sw);
		assert_false(is_recovered(&sw));
		store_world_check(&sw, CLUSTER);
		assert_int_equal(store_world_close(&sw), 0);
		store_world_end(&sw);
	}
}

static void killed_again_and_again_it_is_still_whole(void **state)
{
	struct store_world sw;

	store_world_start(&sw, 1, &disk);
	assert_int_equal(store_world_create(&sw, CLUSTER), 0);
	store_world_fill(&sw, CLUSTER);
	for (unsigned kills = 0; kills < 4; kills++) {
		struct blob *blob;

		store_world_kill(&sw);
		assert_int_equal(store_world_load(&sw), 0);
		store_world_check(&sw, CLUSTER);
		assert_int_equal(volume_create(&sw.volumes, 10, false, &blob), 0);
		assert_true(disk_is_marked(&sw));
		assert_int_equal(volume_delete(&sw.volumes, blob), 0);
	}
	assert_int_equal(store_world_close(&sw), 0);
	store_world_end(&sw);
}

static void more_pages_are_claimed_before_they_are_used(void **state)
{
	struct store_world sw;
	struct bitmap covered;
	struct blob *blob;

	store_world_start(&sw, 1, &disk);
	assert_int_equal(store_world_create(&sw, CLUSTER), 0);
	store_world_fill(&sw, CLUSTER);
	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(volume_create(&sw.volumes, 0, true, &blob), 0);
	store_world_kill(&sw);
	disk_mask(&sw, BLOBSTORE_MASK_PAGES, &covered);
	assert_true(covered.count > 5000);
	bitmap_fini(&covered);
	assert_int_equal(store_world_load(&sw), 0);
	assert_int_equal(volumes_count(&sw.volumes), 5005);
	assert_int_equal(store_world_close(&sw), 0);
	store_world_end(&sw);
}

static void another_writer_that_recovers_and_dies_loses_nothing(void **state)
{
	struct store_world sw;

	store_world_start(&sw, 1, &disk);
	assert_int_equal(store_world_create(&sw, CLUSTER), 0);
	store_world_fill(&sw, CLUSTER);
	store_world_kill(&sw);

	other_recovers(&sw);
	assert_false(disk_is_marked(&sw));
	other_makes_volume(&sw, FAR, 5000);
	assert_true(load_and_count(&sw) > md_bytes(&sw));
	assert_non_null(volumes_find(&sw.volumes, BLOBSTORE_ID_BIT | FAR));
	assert_int_equal(
		volume_delete(&sw.volumes, volumes_find(&sw.volumes, BLOBSTORE_ID_BIT | FAR)), 0);
	assert_true(disk_is_marked(&sw));
	store_world_check(&sw, CLUSTER);
	assert_int_equal(store_world_close(&sw), 0);
	store_world_end(&sw);
}

static void another_writer_that_dies_while_it_recovers_loses_nothing(void **state)
{
	struct store_world sw;
	struct bitmap pages, blobids;

	store_world_start(&sw, 1, &disk);
	assert_int_equal(store_world_create(&sw, CLUSTER), 0);
	store_world_fill(&sw, CLUSTER);
	store_world_kill(&sw);

	other_finds(&sw, &pages, &blobids); /* it has written nothing yet: our mark stands */
	assert_true(load_and_count(&sw) < md_bytes(&sw) * 3 / 4);
	store_world_check(&sw, CLUSTER);
	store_world_kill(&sw);
	disk_set_mask(&sw, BLOBSTORE_MASK_PAGES, &pages); /* only the first mask */
	assert_true(load_and_count(&sw) > md_bytes(&sw));
	store_world_check(&sw, CLUSTER);
	assert_int_equal(store_world_close(&sw), 0);
	bitmap_fini(&pages);
	bitmap_fini(&blobids);
	store_world_end(&sw);
}

static void another_writer_that_dies_in_a_closed_store_loses_nothing(void **state)
{
	struct store_world sw;

	store_world_start(&sw, 1, &disk);
	assert_int_equal(store_world_create(&sw, CLUSTER), 0);
	store_world_fill(&sw, CLUSTER);
	assert_int_equal(store_world_close(&sw), 0);

	disk_set_clean(&sw, false);
	other_makes_volume(&sw, FAR, 5000);
	assert_true(load_and_count(&sw) > md_bytes(&sw));
	assert_non_null(volumes_find(&sw.volumes, BLOBSTORE_ID_BIT | FAR));
	assert_int_equal(store_world_close(&sw), 0);
	load_and_count(&sw);
	assert_false(is_recovered(&sw));
	assert_non_null(volumes_find(&sw.volumes, BLOBSTORE_ID_BIT | FAR));
	assert_int_equal(store_world_close(&sw), 0);
	store_world_end(&sw);
}

/* Writes of the super block, flushes and writes of the page mask, in their order. */
static void first_change_requests(struct store_world *sw, char *ret_order, size_t size)
{
	struct super super;
	uint64_t mask;
	size_t at = 0;

	disk_super(sw, &super);
	mask = (uint64_t)super.page_mask_start * super.md_page_size;
	for (unsigned i = 0; i < gate_bdev_record_count(sw->gate) && at + 1 < size; i++) {
		struct gate_record record;

		gate_bdev_record_at(sw->gate, i, &record);
		if (record.type == BDEV_IO_FLUSH)
			ret_order[at++] = 'f';
		else if (record.type == BDEV_IO_WRITE && record.offset == 0)
			ret_order[at++] = 's';
		else if (record.type == BDEV_IO_WRITE && record.offset == mask)
			ret_order[at++] = 'm';
	}
	ret_order[at] = '\0';
}

static void the_first_change_follows_the_super_block_the_mask_and_the_mark(void **state)
{
	struct store_world sw;
	struct blob *blob;
	char order[6];

	store_world_start(&sw, 1, &disk);
	assert_int_equal(store_world_create(&sw, CLUSTER), 0);
	store_world_fill(&sw, CLUSTER);
	assert_int_equal(store_world_close(&sw), 0);
	assert_int_equal(store_world_load(&sw), 0);
	gate_bdev_forget(sw.gate);
	assert_int_equal(volume_create(&sw.volumes, 0, true, &blob), 0);
	first_change_requests(&sw, order, sizeof(order));
	assert_string_equal(order, "sfmfm");

	gate_bdev_forget(sw.gate);
	assert_int_equal(volume_create(&sw.volumes, 0, true, &blob), 0);
	first_change_requests(&sw, order, sizeof(order));
	assert_null(strpbrk(order, "sm"));

	gate_bdev_forget(sw.gate);
	assert_int_equal(store_world_close(&sw), 0);
	first_change_requests(&sw, order, sizeof(order));
	assert_string_equal(order, "mfsf");
	store_world_end(&sw);
}

static void a_first_change_that_fails_anywhere_can_be_tried_again(void **state)
{
	static const unsigned types[] = {1u << BDEV_IO_WRITE, 1u << BDEV_IO_FLUSH};

	for (unsigned kind = 0; kind < 2; kind++) {
		for (unsigned nth = 0; nth < 3; nth++) {
			struct store_world sw;
			struct blob *blob;

			store_world_start(&sw, 1, &disk);
			assert_int_equal(store_world_create(&sw, CLUSTER), 0);
			store_world_fill(&sw, CLUSTER);
			assert_int_equal(store_world_close(&sw), 0);
			assert_int_equal(store_world_load(&sw), 0);
			gate_bdev_fail_nth(sw.gate, types[kind], nth, -EIO);
			assert_int_equal(volume_create(&sw.volumes, 0, true, &blob), -EIO);
			assert_int_equal(volumes_count(&sw.volumes), 5);
			gate_bdev_fail_nth(sw.gate, 0, 0, 0);
			assert_int_equal(volume_create(&sw.volumes, 0, true, &blob), 0);
			assert_true(disk_is_marked(&sw));
			store_world_kill(&sw);
			assert_int_equal(store_world_load(&sw), 0);
			assert_int_equal(volumes_count(&sw.volumes), 6);
			assert_int_equal(store_world_close(&sw), 0);
			store_world_end(&sw);
		}
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_killed_store_is_loaded_by_looking_at_what_was_claimed),
		cmocka_unit_test(killed_again_and_again_it_is_still_whole),
		cmocka_unit_test(more_pages_are_claimed_before_they_are_used),
		cmocka_unit_test(another_writer_that_recovers_and_dies_loses_nothing),
		cmocka_unit_test(another_writer_that_dies_while_it_recovers_loses_nothing),
		cmocka_unit_test(another_writer_that_dies_in_a_closed_store_loses_nothing),
		cmocka_unit_test(the_first_change_follows_the_super_block_the_mask_and_the_mark),
		cmocka_unit_test(a_first_change_that_fails_anywhere_can_be_tried_again),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
