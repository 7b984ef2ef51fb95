/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The small store of example.h: loaded as it is, and made again by our own operations, with the
 * same bytes on the device.
 */
#include "store_world.h"

#include <errno.h>
#include <string.h>

#include "example.h"

#define CLUSTER (1 * MIB)

static const struct gate_bdev_options disk = {
	.name = "disk", .size_bytes = EXAMPLE_DEVICE_BYTES, .block_size = 4096};

static void the_example_is_loaded_and_left_as_it_is(void **state)
{
	struct blob_store_info store;
	struct store_world sw;
	struct blob *vol, *snap;
	struct blob_info info;
	uint8_t page[4096];

	store_world_start(&sw, 1, &disk);
	for (unsigned i = 0; i < EXAMPLE_PAGES; i++) {
		example_page(i, page);
		gate_bdev_poke(sw.gate, i * sizeof(page), page, sizeof(page));
	}
	for (unsigned cluster = 1; cluster <= 4; cluster++) {
		memset(page, (int)cluster, sizeof(page));
		gate_bdev_poke(sw.gate, cluster * CLUSTER, page, sizeof(page));
	}
	assert_int_equal(store_world_load(&sw), 0);
	volumes_info(&sw.volumes, &store);
	assert_false(store.recovered);
	assert_int_equal(store.total_data_clusters, 31);
	assert_int_equal(store.free_clusters, 27);
	assert_int_equal(store.md_pages_free, 27);
	assert_true(blob_store_super(sw.volumes.store) == EXAMPLE_SUPER_BLOB);
	assert_int_equal(volumes_count(&sw.volumes), 3);
	vol = volumes_find(&sw.volumes, EXAMPLE_VOL);
	snap = volumes_find(&sw.volumes, EXAMPLE_SNAP);
	volume_info(&sw.volumes, vol, &info);
	assert_ptr_equal(info.parent, snap);
	assert_int_equal(info.num_allocated, 2);
	volume_info(&sw.volumes, snap, &info);
	assert_true(info.read_only);
	assert_int_equal(info.num_clones, 1);
	assert_int_equal(volume_show(&sw.volumes, vol), 0);
	assert_int_equal(volume_show(&sw.volumes, snap), 0);
	assert_true(volume_holds(&sw.volumes, vol, 0, 4096, 0));
	assert_true(volume_holds(&sw.volumes, vol, 2 * CLUSTER, 4096, 1));
	assert_true(volume_holds(&sw.volumes, vol, 3 * CLUSTER, 4096, 3));
	assert_true(volume_holds(&sw.volumes, vol, 5 * CLUSTER, 4096, 4));
	assert_true(volume_holds(&sw.volumes, snap, 3 * CLUSTER, 4096, 2));
	assert_int_equal(store_world_close(&sw), 0);
	for (unsigned i = 0; i < EXAMPLE_PAGES; i++) {
		uint8_t now[4096];

		example_page(i, page);
		gate_bdev_peek(sw.gate, i * sizeof(now), now, sizeof(now));
		assert_memory_equal(now, page, sizeof(now));
	}
	store_world_end(&sw);
}

/* ---- made again --------------------------------------------------------- */

struct make_call {
	struct world_call call;
	struct store_world *sw;
	uint64_t clusters;
	const struct blob_xattr *xattrs;
	struct blob *origin;
	struct blob *result;
};

static void run_make(struct world_call *call)
{
	struct make_call *own = container_of(call, struct make_call, call);
	const struct blob_create_options options = {
		.num_clusters = own->clusters,
		.thin = own->clusters != 0,
		.xattrs = own->xattrs,
		.num_xattrs = own->xattrs ? 2 : 0,
	};

	if (own->origin)
		blob_snapshot(own->origin, own->xattrs, 2, NULL, &own->result, world_done, call);
	else
		blob_create(own->sw->volumes.store, &options, NULL, &own->result, world_done, call);
}

static void run_set_super(struct world_call *call)
{
	struct make_call *own = container_of(call, struct make_call, call);

	blob_store_set_super(own->sw->volumes.store, EXAMPLE_SUPER_BLOB, world_done, call);
}

static struct blob *make(struct store_world *sw, uint64_t clusters, const struct blob_xattr *xattrs,
	struct blob *origin)
{
	struct make_call call = {.call.run = run_make,
		.sw = sw,
		.clusters = clusters,
		.xattrs = xattrs,
		.origin = origin};

	assert_int_equal(world_run(&sw->world, sw->world.control, &call.call), 0);
	return call.result;
}

static void make_example(struct store_world *sw)
{
	static const char vol_name[64] = "vol", snap_name[64] = "snap";
	const struct blob_xattr of_vol[] = {
		{"name", vol_name, 64}, {"uuid", "11111111-2222-4333-8444-555555555502", 37}};
	const struct blob_xattr of_snap[] = {
		{"name", snap_name, 64}, {"uuid", "11111111-2222-4333-8444-555555555503", 37}};
	const struct blob_xattr of_store[] = {
		{"uuid", "11111111-2222-4333-8444-555555555501", 37}, {"name", "lvs0", 5}};
	const struct blob_store_create_options options = {
		.bstype = LVOLSTORE_TYPE, .cluster_size = CLUSTER};
	struct make_call call = {.call.run = run_set_super, .sw = sw};
	struct blob *vol;

	assert_int_equal(volumes_create(&sw->volumes, &sw->world, sw->base, &options), 0);
	make(sw, 0, of_store, NULL);
	assert_int_equal(world_run(&sw->world, sw->world.control, &call.call), 0);
	vol = make(sw, 8, of_vol, NULL);
	assert_int_equal(volume_show(&sw->volumes, vol), 0);
	assert_int_equal(volume_write(&sw->volumes, vol, 0, 2 * CLUSTER, 4096, 1), 0);
	assert_int_equal(volume_write(&sw->volumes, vol, 0, 3 * CLUSTER, 4096, 2), 0);
	make(sw, 0, of_snap, vol);
	assert_int_equal(volume_write(&sw->volumes, vol, 0, 3 * CLUSTER, 4096, 3), 0);
	assert_int_equal(volume_write(&sw->volumes, vol, 0, 5 * CLUSTER, 4096, 4), 0);
	assert_int_equal(store_world_close(sw), 0);
}

static void the_same_made_by_us_is_the_same_on_the_device(void **state)
{
	struct store_world sw;

	store_world_start(&sw, 1, &disk);
	make_example(&sw);
	for (unsigned i = 0; i < EXAMPLE_PAGES; i++) {
		uint8_t now[4096], page[4096];

		example_page(i, page);
		gate_bdev_peek(sw.gate, i * sizeof(now), now, sizeof(now));
		if (memcmp(now, page, sizeof(now)) != 0)
			fail_msg("page %u of the device differs", i);
	}
	store_world_end(&sw);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example_is_loaded_and_left_as_it_is),
		cmocka_unit_test(the_same_made_by_us_is_the_same_on_the_device),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
