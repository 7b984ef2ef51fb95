/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a load makes of a store that another writer, a crash or a bad device has left: unfinished
 * operations, extent pages of the wrong length, clusters that two volumes have, metadata that makes
 * no sense. Each state is built on the disk of a store that was closed, and loaded both as closed
 * (clean = 1, masks as they were) and as not closed.
 */
#include "store_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIZE    (32 * MIB)
#define CLUSTER (16 * KIB)
#define SLOT    BLOBSTORE_SLOT_ENTRIES

static const struct gate_bdev_options disk = {
	.name = "disk", .size_bytes = SIZE, .block_size = 512, .physical_block_size = 4096};

struct left {
	struct store_world sw;
	struct blob_store_info before; /* when it was closed */
};

static void left_start(struct left *left, uint64_t seed)
{
	struct store_world *sw = &left->sw;

	store_world_start(sw, seed, &disk);
	assert_int_equal(store_world_create(sw, CLUSTER), 0);
	store_world_fill(sw, CLUSTER);
	volumes_hide_all(&sw->volumes);
	host_sleep(&sw->world.host, 100 * MSEC_NS);
	volumes_info(&sw->volumes, &left->before);
	assert_int_equal(store_world_close(sw), 0);
}

static void left_end(struct left *left)
{
	assert_int_equal(store_world_close(&left->sw), 0);
	store_world_end(&left->sw);
}

#define FOR_CLEAN_AND_NOT(clean) for (unsigned clean = 0; clean < 2; clean++)

static void left_load(struct left *left, bool clean)
{
	disk_set_clean(&left->sw, clean);
	assert_int_equal(store_world_load(&left->sw), 0);
}

/* What a load has mended is so on the disk: whatever comes next finds it in order. */
static void left_reload(struct left *left)
{
	struct blob_store_info info;

	host_sleep(&left->sw.world.host, 100 * MSEC_NS);
	store_world_kill(&left->sw);
	assert_int_equal(store_world_load(&left->sw), 0);
	assert_int_equal(store_world_close(&left->sw), 0);
	assert_int_equal(store_world_load(&left->sw), 0);
	volumes_info(&left->sw.volumes, &info);
	assert_false(info.recovered);
}

static void assert_free(struct left *left, int64_t more_clusters, int64_t more_pages)
{
	struct blob_store_info info;

	host_sleep(&left->sw.world.host, 100 * MSEC_NS);
	volumes_info(&left->sw.volumes, &info);
	assert_int_equal(
		(int64_t)info.free_clusters, (int64_t)left->before.free_clusters + more_clusters);
	assert_int_equal(
		(int64_t)info.md_pages_free, (int64_t)left->before.md_pages_free + more_pages);
}

static bool is_there(struct left *left, uint64_t id)
{
	return volumes_find(&left->sw.volumes, id) != NULL;
}

static void show(struct left *left, uint64_t id, struct blob **ret_blob)
{
	*ret_blob = volumes_find(&left->sw.volumes, id);
	assert_non_null(*ret_blob);
	if (!volume_is_shown(&left->sw.volumes, *ret_blob))
		assert_int_equal(volume_show(&left->sw.volumes, *ret_blob), 0);
}

/* ---- extent pages ------------------------------------------------------- */

static void surplus_entries_of_an_extent_page_come_to_nothing(void **state)
{
	FOR_CLEAN_AND_NOT(clean)
	{
		uint32_t clusters[SLOT];
		struct blob_info info;
		struct left left;
		struct blob *blob;
		struct md md;

		left_start(&left, 1);
		disk_md(&left.sw, left.sw.thick, &md); /* 700 clusters: 188 in slot 1 */
		disk_extents(&left.sw, &md, 1, clusters);
		clusters[188] = 1900;
		clusters[189] = clusters[0]; /* nobody minds */
		disk_set_extents(&left.sw, &md, 1, clusters, 190);
		left_load(&left, clean);
		store_world_check(&left.sw, CLUSTER);
		assert_free(&left, 0, 0);
		/* Gone from the disk too, before it can be given to others. */
		memset(clusters, 0xff, sizeof(clusters));
		disk_extents(&left.sw, &md, 1, clusters);
		assert_int_equal(clusters[188], 0);
		show(&left, left.sw.thick, &blob);
		assert_int_equal(volume_resize(&left.sw.volumes, blob, 710), 0);
		volume_info(&left.sw.volumes, blob, &info);
		assert_int_equal(info.num_allocated, 710);
		assert_true(volume_holds(&left.sw.volumes, blob, 700 * CLUSTER, 10 * CLUSTER, 0));
		md_fini(&md);
		left_end(&left);
	}
}

static void missing_entries_of_a_thin_volume_are_unallocated(void **state)
{
	FOR_CLEAN_AND_NOT(clean)
	{
		uint32_t clusters[SLOT];
		struct left left;
		struct md md;

		left_start(&left, 1);
		disk_md(&left.sw, left.sw.snapshot, &md);
		disk_extents(&left.sw, &md, 0, clusters); /* only the first is used */
		disk_set_extents(&left.sw, &md, 0, clusters, 1);
		left_load(&left, clean);
		store_world_check(&left.sw, CLUSTER);
		left_reload(&left);
		store_world_check(&left.sw, CLUSTER);
		assert_free(&left, 0, 0);
		md_fini(&md);
		left_end(&left);
	}
}

static void page_without_entries(struct left *left, const struct md *md, uint32_t slot)
{
	struct blobstore_page page = {.id = htole64(md->id), .next = htole32(BLOBSTORE_NO_PAGE)};

	page.descriptors[0] = BLOBSTORE_EXTENT_PAGE;
	page.descriptors[1] = 4;
	page.descriptors[5] = (uint8_t)(slot * SLOT);
	page.descriptors[6] = (uint8_t)(slot * SLOT >> 8);
	page.crc = htole32(page_checksum(&page));
	disk_set_page(&left->sw, md->pages[slot], &page);
}

static void a_thick_volume_cut_short_by_another_writer_is_thin_and_whole(void **state)
{
	FOR_CLEAN_AND_NOT(clean)
	{
		struct blob_info info;
		struct left left;
		struct blob *blob;
		struct md md;

		left_start(&left, 1);
		disk_md(&left.sw, left.sw.thick, &md);
		page_without_entries(&left, &md, 1);
		md_fini(&md);
		left_load(&left, clean);
		for (unsigned loads = 0; loads < 2; loads++) {
			assert_int_equal(volumes_count(&left.sw.volumes), 5);
			show(&left, left.sw.thick, &blob);
			volume_info(&left.sw.volumes, blob, &info);
			assert_true(info.thin);
			assert_int_equal(info.num_clusters, 700);
			assert_int_equal(info.num_allocated, 512);
			assert_true(volume_holds(&left.sw.volumes, blob, 0, 700 * CLUSTER, 0));
			left_reload(&left);
		}
		left_end(&left);
	}
}

/* ---- unfinished operations ---------------------------------------------- */

static void set_mark(struct left *left, uint64_t id, const char *mark, uint64_t partner)
{
	struct md md;

	disk_md(&left->sw, id, &md);
	assert_int_equal(md_internal_set_id(&md, mark, partner), 0);
	md.data_ro_flags = 0;
	disk_set_md(&left->sw, &md, NULL);
	md_fini(&md);
}

/* The origin's root was not written yet: it has the clusters itself, and no parent. */
static void undo_switch(struct left *left, uint64_t origin, uint64_t snapshot)
{
	struct md of_snapshot, md;

	disk_md(&left->sw, snapshot, &of_snapshot);
	disk_md(&left->sw, origin, &md);
	md_internal_remove(&md, BLOBSTORE_XATTR_PARENT);
	memcpy(md.pages, of_snapshot.pages, md.num_slots * sizeof(*md.pages));
	disk_set_md(&left->sw, &md, NULL);
	md_fini(&md);
	md_fini(&of_snapshot);
}

static void delete_clone(struct left *left)
{
	struct blob *blob;

	assert_int_equal(store_world_load(&left->sw), 0);
	show(left, left->sw.clone, &blob);
	assert_int_equal(volume_delete(&left->sw.volumes, blob), 0);
	host_sleep(&left->sw.world.host, 100 * MSEC_NS);
	volumes_hide_all(&left->sw.volumes);
	volumes_info(&left->sw.volumes, &left->before);
	assert_int_equal(store_world_close(&left->sw), 0);
}

static void a_snapshot_whose_origin_was_not_switched_over_goes(void **state)
{
	FOR_CLEAN_AND_NOT(clean)
	{
		struct left left;
		struct blob *blob;
		uint64_t far = UINT64_C(600) * CLUSTER;

		left_start(&left, 1);
		delete_clone(&left);
		undo_switch(&left, left.sw.thin, left.sw.snapshot);
		set_mark(&left, left.sw.snapshot, BLOBSTORE_XATTR_SNAPSHOT_PENDING, left.sw.thin);
		left_load(&left, clean);
		for (unsigned loads = 0; loads < 2; loads++) {
			assert_false(is_there(&left, left.sw.snapshot));
			assert_int_equal(volumes_count(&left.sw.volumes), 3);
			show(&left, left.sw.thin, &blob);
			assert_true(volume_holds(&left.sw.volumes, blob, 0, 4096, 1));
			assert_true(volume_holds(&left.sw.volumes, blob, far, 4096, 2));
			left_reload(&left);
		}
		left_end(&left);
	}
}

static void a_snapshot_whose_origin_was_switched_over_stays(void **state)
{
	FOR_CLEAN_AND_NOT(clean)
	{
		struct left left;

		left_start(&left, 1);
		set_mark(&left, left.sw.snapshot, BLOBSTORE_XATTR_SNAPSHOT_PENDING, left.sw.thin);
		left_load(&left, clean);
		for (unsigned loads = 0; loads < 2; loads++) {
			store_world_check(&left.sw, CLUSTER);
			assert_free(&left, 0, 0);
			left_reload(&left);
		}
		left_end(&left);
	}
}

static void a_snapshot_whose_clone_was_not_detached_stays(void **state)
{
	FOR_CLEAN_AND_NOT(clean)
	{
		struct left left;
		struct md md;

		left_start(&left, 1);
		set_mark(&left, left.sw.snapshot, BLOBSTORE_XATTR_REMOVAL_PENDING, left.sw.thin);
		left_load(&left, clean);
		store_world_check(&left.sw, CLUSTER);
		assert_free(&left, 0, 0);
		disk_md(&left.sw, left.sw.snapshot, &md);
		assert_true(list_is_empty(&md.internal_xattrs));
		assert_int_equal(md.data_ro_flags, BLOBSTORE_READ_ONLY);
		md_fini(&md);
		left_reload(&left);
		store_world_check(&left.sw, CLUSTER);
		left_end(&left);
	}
}

/* The clone has the page with cluster 600 now; that with cluster 0 goes with the snapshot. */
static void a_snapshot_whose_clone_was_detached_goes_and_nothing_leaks(void **state)
{
	FOR_CLEAN_AND_NOT(clean)
	{
		struct md of_snapshot, md;
		struct left left;
		struct blob *blob;

		left_start(&left, 1);
		delete_clone(&left);
		disk_md(&left.sw, left.sw.snapshot, &of_snapshot);
		disk_md(&left.sw, left.sw.thin, &md);
		md_internal_remove(&md, BLOBSTORE_XATTR_PARENT);
		md.pages[1] = of_snapshot.pages[1];
		disk_set_md(&left.sw, &md, NULL);
		md_fini(&md);
		md_fini(&of_snapshot);
		set_mark(&left, left.sw.snapshot, BLOBSTORE_XATTR_REMOVAL_PENDING, left.sw.thin);
		left_load(&left, clean);
		for (unsigned loads = 0; loads < 2; loads++) {
			struct blob_store_info info;

			assert_false(is_there(&left, left.sw.snapshot));
			show(&left, left.sw.thin, &blob);
			assert_true(volume_holds(&left.sw.volumes, blob, 0, 4096, 0));
			assert_true(volume_holds(
				&left.sw.volumes, blob, UINT64_C(600) * CLUSTER, 4096, 2));
			host_sleep(&left.sw.world.host, 100 * MSEC_NS);
			volumes_info(&left.sw.volumes, &info);
			assert_int_equal(info.free_clusters, left.before.free_clusters + 1);
			assert_true(info.md_pages_free >= left.before.md_pages_free + 2);
			left_reload(&left);
		}
		left_end(&left);
	}
}

/* ---- what two volumes have ---------------------------------------------- */

/* As after a crash in the middle of merging: the clone has the snapshot's clusters as well. */
static void a_clone_gives_up_what_is_its_snapshots(void **state)
{
	FOR_CLEAN_AND_NOT(clean)
	{
		uint32_t of_snapshot[SLOT], clusters[SLOT];
		struct md snapshot, md;
		struct left left;

		left_start(&left, 1);
		disk_md(&left.sw, left.sw.snapshot, &snapshot);
		disk_extents(&left.sw, &snapshot, 1, of_snapshot);
		disk_md(&left.sw, left.sw.thin, &md);
		assert_int_not_equal(md.pages[4], 0);
		disk_extents(&left.sw, &md, 4, clusters);
		if (!md.pages[1])
			md.pages[1] = 1500; /* a page that is free */
		disk_set_extents(&left.sw, &md, 1, of_snapshot, SLOT);
		disk_set_md(&left.sw, &md, NULL);
		left_load(&left, clean);
		for (unsigned loads = 0; loads < 2; loads++) {
			store_world_check(&left.sw, CLUSTER);
			left_reload(&left);
		}
		md_fini(&md);
		md_fini(&snapshot);
		left_end(&left);
	}
}

static void a_clone_gives_up_a_page_that_is_its_snapshots(void **state)
{
	FOR_CLEAN_AND_NOT(clean)
	{
		struct md snapshot, md;
		struct left left;

		left_start(&left, 1);
		disk_md(&left.sw, left.sw.snapshot, &snapshot);
		disk_md(&left.sw, left.sw.thin, &md);
		md.pages[1] = snapshot.pages[1];
		disk_set_md(&left.sw, &md, NULL);
		left_load(&left, clean);
		for (unsigned loads = 0; loads < 2; loads++) {
			store_world_check(&left.sw, CLUSTER);
			left_reload(&left);
		}
		md_fini(&md);
		md_fini(&snapshot);
		left_end(&left);
	}
}

static void strangers_that_share_a_cluster_are_not_used_and_lose_nothing(void **state)
{
	FOR_CLEAN_AND_NOT(clean)
	{
		uint32_t of_thick[SLOT], clusters[SLOT];
		struct md thick, md;
		struct left left;

		left_start(&left, 1);
		disk_md(&left.sw, left.sw.thick, &thick);
		disk_extents(&left.sw, &thick, 0, of_thick);
		disk_md(&left.sw, left.sw.clone, &md);
		disk_extents(&left.sw, &md, 1, clusters);
		clusters[3] = of_thick[3];
		disk_set_extents(&left.sw, &md, 1, clusters, SLOT);
		left_load(&left, clean);
		assert_false(is_there(&left, left.sw.thick));
		assert_false(is_there(&left, left.sw.clone));
		assert_int_equal(volumes_count(&left.sw.volumes), 3);
		assert_free(&left, 0, 0);
		left_reload(&left);
		assert_free(&left, 0, 0);
		md_fini(&md);
		md_fini(&thick);
		left_end(&left);
	}
}

/* ---- volumes that cannot be used ---------------------------------------- */

static void spoil_page(struct left *left, uint32_t index)
{
	uint8_t page[4096];

	disk_page(&left->sw, index, page);
	page[100] ^= 1;
	disk_set_page(&left->sw, index, page);
}

static void an_extent_page_that_is_spoilt_costs_its_volume_only(void **state)
{
	FOR_CLEAN_AND_NOT(clean)
	{
		struct left left;
		struct md md;

		left_start(&left, 1);
		disk_md(&left.sw, left.sw.thick, &md);
		spoil_page(&left, md.pages[1]);
		left_load(&left, clean);
		assert_false(is_there(&left, left.sw.thick));
		assert_int_equal(volumes_count(&left.sw.volumes), 4);
		/* What it has in slot 1 is told by the masks only. */
		assert_free(&left, clean ? 0 : 188, 0);
		md_fini(&md);
		left_end(&left);
	}
}

static void a_parent_that_is_spoilt_costs_its_clones(void **state)
{
	FOR_CLEAN_AND_NOT(clean)
	{
		struct left left;
		struct md md;

		left_start(&left, 1);
		disk_md(&left.sw, left.sw.snapshot, &md);
		spoil_page(&left, md.pages[0]);
		left_load(&left, clean);
		assert_int_equal(volumes_count(&left.sw.volumes), 2);
		assert_true(is_there(&left, left.sw.thick));
		assert_true(is_there(&left, left.sw.empty));
		assert_free(&left, clean ? 0 : 1, 0);
		left_reload(&left);
		assert_int_equal(volumes_count(&left.sw.volumes), 2);
		md_fini(&md);
		left_end(&left);
	}
}

static void volumes_that_are_their_own_ancestors_are_not_used(void **state)
{
	FOR_CLEAN_AND_NOT(clean)
	{
		struct left left;
		struct md md;

		left_start(&left, 1);
		disk_md(&left.sw, left.sw.snapshot, &md);
		assert_int_equal(md_internal_set_id(&md, BLOBSTORE_XATTR_PARENT, left.sw.thin), 0);
		disk_set_md(&left.sw, &md, NULL);
		md_fini(&md);
		left_load(&left, clean);
		assert_int_equal(volumes_count(&left.sw.volumes), 2);
		assert_free(&left, 0, 0);
		left_end(&left);
	}
}

static void a_parent_that_is_missing_costs_its_clones(void **state)
{
	FOR_CLEAN_AND_NOT(clean)
	{
		struct left left;
		struct md md;

		left_start(&left, 1);
		disk_md(&left.sw, left.sw.clone, &md);
		assert_int_equal(
			md_internal_set_id(&md, BLOBSTORE_XATTR_PARENT, BLOBSTORE_ID_BIT | 2000),
			0);
		disk_set_md(&left.sw, &md, NULL);
		md_fini(&md);
		left_load(&left, clean);
		assert_false(is_there(&left, left.sw.clone));
		assert_int_equal(volumes_count(&left.sw.volumes), 4);
		assert_free(&left, 0, 0);
		left_end(&left);
	}
}

static void clusters_outside_the_store_cost_their_volume(void **state)
{
	static const uint32_t outside[] = {1, SIZE / CLUSTER, UINT32_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(outside); i++) {
		uint32_t clusters[SLOT];
		struct left left;
		struct md md;

		left_start(&left, 1);
		disk_md(&left.sw, left.sw.clone, &md);
		disk_extents(&left.sw, &md, 1, clusters);
		clusters[7] = outside[i];
		disk_set_extents(&left.sw, &md, 1, clusters, SLOT);
		md_fini(&md);
		left_load(&left, false);
		assert_false(is_there(&left, left.sw.clone));
		assert_int_equal(volumes_count(&left.sw.volumes), 4);
		left_end(&left);
	}
}

/* ---- flags of the future ------------------------------------------------ */

static void unknown_flags_make_a_volume_unusable_or_read_only(void **state)
{
	FOR_CLEAN_AND_NOT(clean)
	{
		struct blob_info info;
		struct left left;
		struct md md;

		left_start(&left, 1);
		disk_md(&left.sw, left.sw.thick, &md);
		md.invalid_flags |= UINT64_C(1) << 40;
		disk_set_md(&left.sw, &md, NULL);
		md_fini(&md);
		disk_md(&left.sw, left.sw.clone, &md);
		md.data_ro_flags |= UINT64_C(1) << 40;
		disk_set_md(&left.sw, &md, NULL);
		md_fini(&md);
		disk_md(&left.sw, left.sw.empty, &md);
		md.md_ro_flags |= UINT64_C(1) << 40;
		disk_set_md(&left.sw, &md, NULL);
		md_fini(&md);
		left_load(&left, clean);
		assert_false(is_there(&left, left.sw.thick));
		assert_free(&left, 0, 0);
		volume_info(&left.sw.volumes, volumes_find(&left.sw.volumes, left.sw.clone), &info);
		assert_true(info.read_only);
		volume_info(&left.sw.volumes, volumes_find(&left.sw.volumes, left.sw.empty), &info);
		assert_true(info.read_only);
		left_end(&left);
	}
}

/* ---- masks -------------------------------------------------------------- */

static void masks_that_make_no_sense_are_not_used(void **state)
{
	for (enum blobstore_mask_type type = 0; type < 3; type++) {
		struct blob_store_info info;
		struct bitmap map;
		struct left left;

		left_start(&left, 1);
		assert_int_equal(bitmap_init(&map, 2048), 0);
		bitmap_set(&map, type == BLOBSTORE_MASK_BLOBIDS ? 2000 : 3);
		disk_set_mask(&left.sw, type, &map);
		bitmap_fini(&map);
		left_load(&left, true);
		store_world_check(&left.sw, CLUSTER);
		volumes_info(&left.sw.volumes, &info);
		assert_true(info.recovered);
		assert_free(&left, 0, 0);
		left_end(&left);
	}
}

static void what_volumes_own_is_in_use_whatever_the_masks_say(void **state)
{
	struct blob_store_info info;
	uint32_t clusters[SLOT];
	struct bitmap map;
	struct left left;
	struct md md;

	left_start(&left, 1);
	disk_md(&left.sw, left.sw.thick, &md);
	disk_extents(&left.sw, &md, 0, clusters);
	disk_mask(&left.sw, BLOBSTORE_MASK_CLUSTERS, &map);
	bitmap_clear(&map, clusters[100]);
	disk_set_mask(&left.sw, BLOBSTORE_MASK_CLUSTERS, &map);
	bitmap_fini(&map);
	disk_mask(&left.sw, BLOBSTORE_MASK_PAGES, &map);
	bitmap_clear(&map, md.pages[1]);
	disk_set_mask(&left.sw, BLOBSTORE_MASK_PAGES, &map);
	bitmap_fini(&map);
	md_fini(&md);
	left_load(&left, true);
	store_world_check(&left.sw, CLUSTER);
	volumes_info(&left.sw.volumes, &info);
	assert_true(info.recovered);
	assert_free(&left, 0, 0);
	left_end(&left);
}

static void a_mask_with_more_clusters_than_the_store_is_read(void **state)
{
	struct blob_store_info info;
	struct bitmap map, longer;
	struct left left;
	struct super super;
	uint8_t region[4096];

	left_start(&left, 1);
	disk_mask(&left.sw, BLOBSTORE_MASK_CLUSTERS, &map);
	assert_int_equal(bitmap_init(&longer, map.bits + 100), 0);
	for (uint32_t bit = 0; bit < map.bits; bit++)
		if (bitmap_test(&map, bit))
			bitmap_set(&longer, bit);
	mask_encode(BLOBSTORE_MASK_CLUSTERS, &longer, longer.bits, region, sizeof(region));
	disk_super(&left.sw, &super);
	gate_bdev_poke(left.sw.gate, (uint64_t)super.cluster_mask_start * super.md_page_size,
		region, sizeof(region));
	bitmap_fini(&map);
	bitmap_fini(&longer);
	left_load(&left, true);
	volumes_info(&left.sw.volumes, &info);
	assert_false(info.recovered);
	assert_free(&left, 0, 0);
	left_end(&left);
}

static void a_store_older_than_masks_of_volumes_is_always_scanned(void **state)
{
	struct blob_store_info info;
	struct left left;
	struct super super;
	struct blob *blob;

	left_start(&left, 1);
	disk_super(&left.sw, &super);
	super.blobid_mask_start = 0;
	super.blobid_mask_len = 0;
	disk_set_super(&left.sw, &super);
	for (unsigned loads = 0; loads < 3; loads++) {
		assert_int_equal(store_world_load(&left.sw), 0);
		volumes_info(&left.sw.volumes, &info);
		assert_true(info.recovered);
		if (loads < 2)
			store_world_check(&left.sw, CLUSTER);
		if (loads == 1)
			assert_int_equal(volume_create(&left.sw.volumes, 3, false, &blob), 0);
		if (loads < 2)
			assert_int_equal(store_world_close(&left.sw), 0);
	}
	assert_int_equal(volumes_count(&left.sw.volumes), 6);
	left_end(&left);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(surplus_entries_of_an_extent_page_come_to_nothing),
		cmocka_unit_test(missing_entries_of_a_thin_volume_are_unallocated),
		cmocka_unit_test(a_thick_volume_cut_short_by_another_writer_is_thin_and_whole),
		cmocka_unit_test(a_snapshot_whose_origin_was_not_switched_over_goes),
		cmocka_unit_test(a_snapshot_whose_origin_was_switched_over_stays),
		cmocka_unit_test(a_snapshot_whose_clone_was_not_detached_stays),
		cmocka_unit_test(a_snapshot_whose_clone_was_detached_goes_and_nothing_leaks),
		cmocka_unit_test(a_clone_gives_up_what_is_its_snapshots),
		cmocka_unit_test(a_clone_gives_up_a_page_that_is_its_snapshots),
		cmocka_unit_test(strangers_that_share_a_cluster_are_not_used_and_lose_nothing),
		cmocka_unit_test(an_extent_page_that_is_spoilt_costs_its_volume_only),
		cmocka_unit_test(a_parent_that_is_spoilt_costs_its_clones),
		cmocka_unit_test(volumes_that_are_their_own_ancestors_are_not_used),
		cmocka_unit_test(a_parent_that_is_missing_costs_its_clones),
		cmocka_unit_test(clusters_outside_the_store_cost_their_volume),
		cmocka_unit_test(unknown_flags_make_a_volume_unusable_or_read_only),
		cmocka_unit_test(masks_that_make_no_sense_are_not_used),
		cmocka_unit_test(what_volumes_own_is_in_use_whatever_the_masks_say),
		cmocka_unit_test(a_mask_with_more_clusters_than_the_store_is_read),
		cmocka_unit_test(a_store_older_than_masks_of_volumes_is_always_scanned),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
