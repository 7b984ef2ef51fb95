/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A store's life: made, closed, loaded, grown, wiped; what is on the device in between, and what is
 * refused.
 */
#include "store_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIZE    (32 * MIB)
#define CLUSTER (16 * KIB)

static const struct gate_bdev_options disk = {
	.name = "disk", .size_bytes = SIZE, .block_size = 512, .physical_block_size = 4096};

static void a_new_store_is_empty_and_not_closed(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct blob_store_info info;
		struct store_world sw;
		struct super super;

		store_world_start(&sw, seed, &disk);
		assert_int_equal(store_world_create(&sw, CLUSTER), 0);
		volumes_info(&sw.volumes, &info);
		assert_int_equal(info.cluster_size, CLUSTER);
		assert_int_equal(info.io_unit_size, 512);
		assert_int_equal(info.free_clusters, info.total_data_clusters);
		assert_int_equal(info.md_pages, info.md_pages_free);
		assert_false(info.recovered);
		disk_super(&sw, &super);
		assert_false(super.clean);
		assert_true(gate_bdev_is_stable(sw.gate, 0, SIZE));
		assert_int_equal(store_world_close(&sw), 0);
		disk_super(&sw, &super);
		assert_true(super.clean);
		assert_true(gate_bdev_is_stable(sw.gate, 0, SIZE));
		store_world_end(&sw);
	}
}

static void nothing_is_written_where_nothing_changed(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		struct blob_store_info before, after;
		struct store_world sw;

		store_world_start(&sw, seed, &disk);
		assert_int_equal(store_world_create(&sw, CLUSTER), 0);
		store_world_fill(&sw, CLUSTER);
		assert_int_equal(store_world_close(&sw), 0);
		gate_bdev_forget(sw.gate);
		for (unsigned loads = 0; loads < 2; loads++) {
			assert_int_equal(store_world_load(&sw), 0);
			volumes_info(&sw.volumes, loads ? &after : &before);
			assert_false(after.recovered && loads);
			store_world_check(&sw, CLUSTER);
			assert_int_equal(store_world_close(&sw), 0);
		}
		assert_memory_equal(&before, &after, sizeof(before));
		assert_int_equal(count_requests(&sw, BDEV_IO_WRITE), 0);
		assert_int_equal(count_requests(&sw, BDEV_IO_WRITE_ZEROES), 0);
		assert_int_equal(count_requests(&sw, BDEV_IO_UNMAP), 0);
		store_world_end(&sw);
	}
}

/* ---- another store, or none --------------------------------------------- */

struct call_with_type {
	struct world_call call;
	struct store_world *sw;
	const char *bstype;
};

static void run_load_type(struct world_call *call)
{
	struct call_with_type *own = container_of(call, struct call_with_type, call);

	blob_store_load(own->sw->base, own->bstype, NULL, &own->sw->volumes.reason,
		&own->sw->volumes.store, world_done, call);
}

static void run_probe(struct world_call *call)
{
	struct call_with_type *own = container_of(call, struct call_with_type, call);

	blob_store_probe(own->sw->base, world_done, call);
}

static int call_with_type(
	struct store_world *sw, const char *bstype, void (*run)(struct world_call *call))
{
	struct call_with_type own = {.call.run = run, .sw = sw, .bstype = bstype};

	memset(&sw->volumes.reason, 0, sizeof(sw->volumes.reason));
	return world_run(&sw->world, sw->world.control, &own.call);
}

static void a_store_of_another_type_is_left_alone(void **state)
{
	struct store_world sw;

	store_world_start(&sw, 1, &disk);
	assert_int_equal(store_world_create(&sw, CLUSTER), 0);
	assert_int_equal(store_world_close(&sw), 0);
	gate_bdev_forget(sw.gate);
	assert_int_equal(call_with_type(&sw, "TES", run_load_type), -ENXIO);
	assert_non_null(strstr(sw.volumes.reason.text, "TEST"));
	assert_int_equal(call_with_type(&sw, "TEST", run_load_type), 0);
	assert_int_equal(store_world_close(&sw), 0);
	assert_int_equal(count_requests(&sw, BDEV_IO_WRITE), 0);
	store_world_end(&sw);
}

static void a_store_is_seen_on_a_device_until_it_is_destroyed(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		struct store_world sw;

		store_world_start(&sw, seed, &disk);
		assert_int_equal(call_with_type(&sw, NULL, run_probe), -ENOENT);
		assert_int_equal(store_world_load(&sw), -EILSEQ);
		assert_string_not_equal(sw.volumes.reason.text, "");
		assert_int_equal(store_world_create(&sw, CLUSTER), 0);
		store_world_fill(&sw, CLUSTER);
		assert_int_equal(call_with_type(&sw, NULL, run_probe), 0);
		assert_int_equal(volumes_destroy(&sw.volumes), 0);
		assert_true(gate_bdev_is_stable(sw.gate, 0, 4096));
		assert_int_equal(call_with_type(&sw, NULL, run_probe), -ENOENT);
		assert_int_equal(store_world_load(&sw), -EILSEQ);
		store_world_end(&sw);
	}
}

static void a_device_in_use_gets_no_store(void **state)
{
	struct world_user user;
	struct store_world sw;

	store_world_start(&sw, 1, &disk);
	world_user_init(&user, "first");
	assert_int_equal(world_open(&sw.world, sw.base, &user, NULL), 0);
	assert_int_equal(world_claim(&sw.world, &user, BDEV_CLAIM_SHARED_WRITE, NULL), 0);
	assert_int_equal(store_world_create(&sw, CLUSTER), -EPERM);
	assert_int_equal(store_world_load(&sw), -EPERM);
	assert_int_equal(gate_bdev_record_count(sw.gate), 0);
	assert_int_equal(world_release(&sw.world, &user), 0);
	assert_int_equal(store_world_create(&sw, CLUSTER), 0);
	assert_int_equal(world_claim(&sw.world, &user, BDEV_CLAIM_SHARED_WRITE, NULL), -EPERM);
	assert_int_equal(store_world_close(&sw), 0);
	assert_int_equal(world_claim(&sw.world, &user, BDEV_CLAIM_SHARED_WRITE, NULL), 0);
	assert_int_equal(world_release(&sw.world, &user), 0);
	world_close(&sw.world, &user);
	store_world_end(&sw);
}

/* ---- super blocks that cannot be ---------------------------------------- */

static void spoil_version(struct super *super)
{
	super->version = 4;
}

static void spoil_size(struct super *super)
{
	super->size_bytes = SIZE + 512;
}

static void spoil_cluster_size(struct super *super)
{
	super->cluster_size = 0;
}

static void spoil_cluster_size_odd(struct super *super)
{
	super->cluster_size = CLUSTER + 512;
}

static void spoil_page_mask(struct super *super)
{
	super->page_mask_len = 0;
}

static void spoil_cluster_mask(struct super *super)
{
	super->cluster_mask_start = super->page_mask_start;
}

static void spoil_blobid_mask(struct super *super)
{
	super->blobid_mask_start = super->md_start;
}

static void spoil_md_start(struct super *super)
{
	super->md_start = UINT32_MAX;
}

static void spoil_md_len(struct super *super)
{
	super->md_len = UINT32_MAX;
}

static void spoil_io_unit(struct super *super)
{
	super->io_unit_size = 3;
}

static void spoil_md_page_size(struct super *super)
{
	super->md_page_size = 4095;
}

static void a_super_block_that_cannot_be_is_refused(void **state)
{
	static void (*const spoil[])(struct super * super) = {spoil_version, spoil_size,
		spoil_cluster_size, spoil_cluster_size_odd, spoil_page_mask, spoil_cluster_mask,
		spoil_blobid_mask, spoil_md_start, spoil_md_len, spoil_io_unit, spoil_md_page_size};
	struct store_world sw;
	struct super good;

	store_world_start(&sw, 1, &disk);
	assert_int_equal(store_world_create(&sw, CLUSTER), 0);
	store_world_fill(&sw, CLUSTER);
	assert_int_equal(store_world_close(&sw), 0);
	disk_super(&sw, &good);
	gate_bdev_forget(sw.gate);
	for (size_t i = 0; i < ARRAY_SIZE(spoil); i++) {
		struct super super = good;

		spoil[i](&super);
		disk_set_super(&sw, &super);
		if (store_world_load(&sw) != -EILSEQ)
			fail_msg("super block %zu was accepted", i);
		assert_string_not_equal(sw.volumes.reason.text, "");
	}
	for (unsigned bit = 0; bit < 8 * 96; bit++) {
		uint8_t page[4096];

		super_encode(&good, page);
		page[bit / 8] ^= (uint8_t)(1u << bit % 8);
		gate_bdev_poke(sw.gate, 0, page, sizeof(page));
		assert_int_equal(store_world_load(&sw), -EILSEQ);
	}
	assert_int_equal(count_requests(&sw, BDEV_IO_WRITE), 0);
	disk_set_super(&sw, &good);
	assert_int_equal(store_world_load(&sw), 0);
	store_world_check(&sw, CLUSTER);
	assert_int_equal(store_world_close(&sw), 0);
	store_world_end(&sw);
}

/* ---- growing ------------------------------------------------------------ */

static void a_store_grows_with_its_device_and_is_recovered_at_either_size(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		const struct gate_bdev_options small = {
			.name = "disk", .size_bytes = SIZE, .block_size = 512};
		struct blob_store_info before, after;
		struct store_world sw;
		struct blob *blob;

		store_world_start(&sw, seed, &small);
		world_set_size(&sw.world, sw.base, SIZE / 2);
		assert_int_equal(store_world_create(&sw, CLUSTER), 0);
		volumes_info(&sw.volumes, &before);
		assert_int_equal(volumes_grow(&sw.volumes), 0);
		volumes_info(&sw.volumes, &after);
		assert_memory_equal(&before, &after, sizeof(before));
		assert_int_equal(volume_create(&sw.volumes, SIZE / CLUSTER / 4, false, &blob), 0);

		world_set_size(&sw.world, sw.base, SIZE);
		assert_int_equal(volumes_grow(&sw.volumes), 0);
		volumes_info(&sw.volumes, &after);
		assert_int_equal(
			after.total_data_clusters, before.total_data_clusters + SIZE / 2 / CLUSTER);
		assert_int_equal(
			after.free_clusters, after.total_data_clusters - SIZE / CLUSTER / 4);
		assert_int_equal(volume_create(&sw.volumes, SIZE / CLUSTER / 2, false, &blob), 0);
		for (unsigned loads = 0; loads < 2; loads++) {
			assert_int_equal(store_world_close(&sw), 0);
			assert_int_equal(store_world_load(&sw), 0);
			volumes_info(&sw.volumes, &before);
			assert_int_equal(before.total_data_clusters, after.total_data_clusters);
			assert_int_equal(
				before.free_clusters, after.free_clusters - SIZE / CLUSTER / 2);
			assert_int_equal(volumes_count(&sw.volumes), 2);
		}
		world_set_size(&sw.world, sw.base, SIZE / 2);
		assert_int_equal(volumes_grow(&sw.volumes), -EINVAL);
		assert_string_not_equal(sw.volumes.reason.text, "");
		world_set_size(&sw.world, sw.base, SIZE);
		assert_int_equal(store_world_close(&sw), 0);
		store_world_end(&sw);
	}
}

static void a_store_grows_as_far_as_its_mask_has_room_and_no_further(void **state)
{
	const struct gate_bdev_options large = {
		.name = "disk", .size_bytes = 640 * MIB, .block_size = 4096};
	struct blob_store_info info;
	struct store_world sw;
	uint64_t before;

	store_world_start(&sw, 1, &large);
	world_set_size(&sw.world, sw.base, 8 * MIB);
	assert_int_equal(store_world_create(&sw, CLUSTER), 0);
	volumes_info(&sw.volumes, &info);
	assert_true(info.max_growable_bytes < 640 * MIB);
	before = info.total_data_clusters;
	world_set_size(&sw.world, sw.base, 640 * MIB);
	assert_int_equal(volumes_grow(&sw.volumes), 0);
	volumes_info(&sw.volumes, &info);
	assert_int_equal(
		info.total_data_clusters, before + (info.max_growable_bytes - 8 * MIB) / CLUSTER);
	before = info.total_data_clusters;
	assert_int_equal(volumes_grow(&sw.volumes), -ENOSPC);
	assert_string_not_equal(sw.volumes.reason.text, "");
	assert_int_equal(store_world_close(&sw), 0);
	assert_int_equal(store_world_load(&sw), 0);
	volumes_info(&sw.volumes, &info);
	assert_int_equal(info.total_data_clusters, before);
	world_set_size(&sw.world, sw.base, info.max_growable_bytes);
	assert_int_equal(volumes_grow(&sw.volumes), 0);
	assert_int_equal(store_world_close(&sw), 0);
	store_world_end(&sw);
}

/* ---- space -------------------------------------------------------------- */

static void check_space(struct store_world *sw, enum blob_store_space space)
{
	host_sleep(&sw->world.host, 100 * MSEC_NS);
	assert_int_equal(atomic_load(&sw->volumes.space), space);
}

/* Little is left: now nothing, and the same again. */
static void check_full(struct store_world *sw)
{
	struct blob_store_info info;
	struct blob *rest;

	check_space(sw, BLOB_STORE_LOW);
	volumes_info(&sw->volumes, &info);
	assert_int_equal(volume_create(&sw->volumes, info.free_clusters, false, &rest), 0);
	check_space(sw, BLOB_STORE_FULL);
	assert_int_equal(volume_delete(&sw->volumes, rest), 0);
	check_space(sw, BLOB_STORE_LOW);
}

struct mark_call {
	struct world_call call;
	struct blob_store *store;
	unsigned percent;
};

static void run_set_low_water(struct world_call *call)
{
	struct mark_call *mark = container_of(call, struct mark_call, call);

	blob_store_set_low_water(mark->store, mark->percent);
	world_done(call, 0);
}

static void set_low_water(struct store_world *sw, unsigned percent)
{
	struct mark_call mark = {
		.call.run = run_set_low_water, .store = sw->volumes.store, .percent = percent};

	assert_int_equal(world_run(&sw->world, sw->world.control, &mark.call), 0);
}

static void check_other_mark(struct store_world *sw)
{
	set_low_water(sw, 0);
	check_space(sw, BLOB_STORE_PLENTY);
	set_low_water(sw, BLOB_STORE_LOW_WATER_PERCENT);
	check_space(sw, BLOB_STORE_LOW);
}

static void users_are_told_when_space_gets_low_and_when_there_is_again(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		struct blob_store_info info;
		struct store_world sw;
		struct blob *blob, *thin;
		uint64_t left = SIZE / CLUSTER / 20 + 2;

		store_world_start(&sw, seed, &disk);
		assert_int_equal(store_world_create(&sw, CLUSTER), 0);
		volumes_info(&sw.volumes, &info);
		assert_int_equal(
			volume_create(&sw.volumes, info.free_clusters - left, false, &blob), 0);
		assert_int_equal(volume_create(&sw.volumes, 100, true, &thin), 0);
		host_sleep(&sw.world.host, 10 * MSEC_NS);
		assert_false(atomic_load(&sw.volumes.low));
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(
				volume_write(&sw.volumes, thin, i, i * CLUSTER, 4096, 1), 0);
		assert_true(host_wait_flag(&sw.world.host, &sw.volumes.low));
		assert_int_equal(store_world_close(&sw), 0);
		assert_int_equal(store_world_load(&sw), 0);
		assert_true(host_wait_flag(&sw.world.host, &sw.volumes.low));
		check_full(&sw);
		check_other_mark(&sw);
		blob = volumes_find(&sw.volumes, BLOBSTORE_ID_BIT | 0);
		assert_int_equal(volume_delete(&sw.volumes, blob), 0);
		host_sleep(&sw.world.host, 100 * MSEC_NS);
		assert_false(atomic_load(&sw.volumes.low));
		assert_int_equal(store_world_close(&sw), 0);
		store_world_end(&sw);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_store_is_empty_and_not_closed),
		cmocka_unit_test(nothing_is_written_where_nothing_changed),
		cmocka_unit_test(a_store_of_another_type_is_left_alone),
		cmocka_unit_test(a_store_is_seen_on_a_device_until_it_is_destroyed),
		cmocka_unit_test(a_device_in_use_gets_no_store),
		cmocka_unit_test(a_super_block_that_cannot_be_is_refused),
		cmocka_unit_test(a_store_grows_with_its_device_and_is_recovered_at_either_size),
		cmocka_unit_test(a_store_grows_as_far_as_its_mask_has_room_and_no_further),
		cmocka_unit_test(users_are_told_when_space_gets_low_and_when_there_is_again),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
