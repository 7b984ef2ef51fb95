/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What operations on volumes do, as their users see it: with I/O, across closing and loading.
 */
#include "volumes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/gate_bdev.h"

#define CLUSTER (16 * KIB)
#define BASE    (64 * MIB)
#define GARBAGE 0xee /* of a former tenant of the device */

struct place {
	struct world world;
	struct gate_bdev *gate;
	struct volumes volumes;
};

static void place_register(void *arg)
{
	struct place *place = arg;

	assert_int_equal(gate_bdev_register(place->gate, place->world.registry, NULL), 0);
}

static void place_open(struct place *place, uint64_t seed, enum blobstore_clear_method clear)
{
	const struct blob_store_create_options options = {
		.bstype = "TEST", .cluster_size = CLUSTER, .clear_method = clear};
	const struct gate_bdev_options gate = {
		.name = "base", .size_bytes = BASE, .block_size = 512};
	unsigned char garbage[4096];

	world_start(&place->world, seed);
	place->gate = gate_bdev_create(&gate);
	memset(garbage, GARBAGE, sizeof(garbage));
	for (uint64_t at = 0; clear == BLOBSTORE_CLEAR_NONE && at < BASE; at += sizeof(garbage))
		gate_bdev_poke(place->gate, at, garbage, sizeof(garbage));
	host_call(&place->world.host, place->world.control, place_register, place);
	assert_int_equal(
		volumes_create(&place->volumes, &place->world, gate_bdev_of(place->gate), &options),
		0);
}

static void place_reload(struct place *place)
{
	assert_int_equal(volumes_close(&place->volumes), 0);
	assert_int_equal(
		volumes_load(&place->volumes, &place->world, gate_bdev_of(place->gate)), 0);
}

static void place_close(struct place *place)
{
	assert_int_equal(volumes_close(&place->volumes), 0);
	assert_int_equal(world_unregister(&place->world, gate_bdev_of(place->gate)), 0);
	gate_bdev_destroy(place->gate);
	world_end(&place->world);
}

static struct blob *reshow(struct place *place, uint64_t id)
{
	struct blob *blob = volumes_find(&place->volumes, id);

	assert_non_null(blob);
	assert_int_equal(volume_show(&place->volumes, blob), 0);
	return blob;
}

static uint64_t id_of(struct place *place, struct blob *blob)
{
	struct blob_info info;

	volume_info(&place->volumes, blob, &info);
	return info.id;
}

static uint64_t allocated(struct place *place, struct blob *blob)
{
	struct blob_info info;

	volume_info(&place->volumes, blob, &info);
	return info.num_allocated;
}

static uint64_t free_clusters(struct place *place)
{
	struct blob_store_info info;

	volumes_info(&place->volumes, &info);
	return info.free_clusters;
}

/* What is deleted becomes free once that is safe. */
static void assert_becomes_free(struct place *place, uint64_t clusters)
{
	for (unsigned i = 0; i < 1000 && free_clusters(place) != clusters; i++)
		host_sleep(&place->world.host, 10 * MSEC_NS);
	assert_int_equal(free_clusters(place), clusters);
}

/* ---- thin and thick ----------------------------------------------------- */

static void thin_volume_has_what_was_written_and_zeroes_elsewhere(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		struct place place;
		struct blob *blob;
		uint64_t id;

		place_open(&place, seed, BLOBSTORE_CLEAR_NONE);
		assert_int_equal(volume_create(&place.volumes, 8, true, &blob), 0);
		assert_int_equal(allocated(&place, blob), 0);
		assert_true(volume_holds(&place.volumes, blob, 0, 8 * CLUSTER, 0));
		assert_int_equal(volume_write(&place.volumes, blob, 1, CLUSTER + 512, 1024, 7), 0);
		assert_int_equal(allocated(&place, blob), 1);
		id = id_of(&place, blob);
		for (unsigned loads = 0; loads < 2; loads++) {
			assert_true(volume_holds(&place.volumes, blob, 0, CLUSTER + 512, 0));
			assert_true(volume_holds(&place.volumes, blob, CLUSTER + 512, 1024, 7));
			assert_true(volume_holds(
				&place.volumes, blob, CLUSTER + 1536, 7 * CLUSTER - 1536, 0));
			place_reload(&place);
			blob = reshow(&place, id);
		}
		place_close(&place);
	}
}

static void thick_volume_reads_zeroes_on_a_device_full_of_something_else(void **state)
{
	struct place place;
	struct blob *blob;
	uint64_t before;

	place_open(&place, 1, BLOBSTORE_CLEAR_NONE);
	before = free_clusters(&place);
	assert_int_equal(volume_create(&place.volumes, 600, false, &blob), 0);
	assert_int_equal(allocated(&place, blob), 600);
	assert_int_equal(free_clusters(&place), before - 600);
	assert_true(volume_holds(&place.volumes, blob, 0, 600 * CLUSTER, 0));
	assert_int_equal(volume_resize(&place.volumes, blob, 700), 0);
	assert_true(volume_holds(&place.volumes, blob, 0, 700 * CLUSTER, 0));
	assert_int_equal(volume_delete(&place.volumes, blob), 0);
	assert_becomes_free(&place, before);
	place_close(&place);
}

static void a_volume_larger_than_the_store_can_only_be_thin(void **state)
{
	struct place place;
	struct blob *blob;
	uint64_t before;

	place_open(&place, 1, BLOBSTORE_CLEAR_UNMAP);
	before = free_clusters(&place);
	assert_int_equal(volume_create(&place.volumes, BASE / CLUSTER + 1, false, &blob), -ENOSPC);
	assert_string_not_equal(place.volumes.reason.text, "");
	assert_int_equal(free_clusters(&place), before);
	assert_int_equal(volumes_count(&place.volumes), 0);
	assert_int_equal(volume_create(&place.volumes, 100000, true, &blob), 0);
	assert_int_equal(volume_write(&place.volumes, blob, 0, 99999 * CLUSTER, CLUSTER, 3), 0);
	assert_true(volume_holds(&place.volumes, blob, 99999 * CLUSTER, CLUSTER, 3));
	place_close(&place);
}

/* ---- snapshots and clones ----------------------------------------------- */

static void snapshot_keeps_what_its_origin_overwrites(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		struct place place;
		struct blob *blob, *snapshot;
		uint64_t ids[2];

		place_open(&place, seed, BLOBSTORE_CLEAR_NONE);
		assert_int_equal(volume_create(&place.volumes, 8, true, &blob), 0);
		assert_int_equal(volume_write(&place.volumes, blob, 0, 0, 2 * CLUSTER, 'a'), 0);
		assert_int_equal(volume_snapshot(&place.volumes, blob, &snapshot), 0);
		assert_int_equal(volume_write(&place.volumes, blob, 1, 4096, 4096, 'b'), 0);
		assert_int_equal(
			volume_write(&place.volumes, blob, 2, 5 * CLUSTER, CLUSTER, 'c'), 0);
		ids[0] = id_of(&place, blob);
		ids[1] = id_of(&place, snapshot);
		for (unsigned loads = 0; loads < 2; loads++) {
			struct blob_info info;

			assert_true(volume_holds(&place.volumes, snapshot, 0, 2 * CLUSTER, 'a'));
			assert_true(volume_holds(
				&place.volumes, snapshot, 2 * CLUSTER, 6 * CLUSTER, 0));
			assert_true(volume_holds(&place.volumes, blob, 0, 4096, 'a'));
			assert_true(volume_holds(&place.volumes, blob, 4096, 4096, 'b'));
			assert_true(
				volume_holds(&place.volumes, blob, 8192, 2 * CLUSTER - 8192, 'a'));
			assert_true(volume_holds(&place.volumes, blob, 5 * CLUSTER, CLUSTER, 'c'));
			volume_info(&place.volumes, blob, &info);
			assert_ptr_equal(info.parent, snapshot);
			volume_info(&place.volumes, snapshot, &info);
			assert_true(info.read_only);
			assert_int_equal(info.num_clones, 1);
			assert_int_equal(
				volume_write(&place.volumes, snapshot, 0, 0, 4096, 'x'), -EROFS);
			place_reload(&place);
			blob = reshow(&place, ids[0]);
			snapshot = reshow(&place, ids[1]);
		}
		place_close(&place);
	}
}

static void snapshots_are_deleted_in_any_order_and_leave_their_clone_whole(void **state)
{
	HOST_FOR_EACH_SEED(seed, 12)
	{
		struct place place;
		struct blob *blob, *snapshots[3];
		uint64_t before;

		place_open(&place, seed, BLOBSTORE_CLEAR_NONE);
		before = free_clusters(&place);
		assert_int_equal(volume_create(&place.volumes, 530, true, &blob), 0);
		for (unsigned i = 0; i < 3; i++) {
			for (unsigned c = 0; c < 530; c += 1 + i * 7)
				assert_int_equal(
					volume_write(&place.volumes, blob, i,
						c * CLUSTER + i * 4096, 4096, 'a' + (int)i),
					0);
			assert_int_equal(volume_snapshot(&place.volumes, blob, &snapshots[i]), 0);
		}
		for (unsigned i = 0; i < 3; i++) {
			unsigned which = (unsigned)((seed + i) % 3);

			assert_int_equal(volume_delete(&place.volumes, snapshots[which]), 0);
			assert_true(volume_holds(&place.volumes, blob, 0, 4096, 'a'));
			assert_true(volume_holds(&place.volumes, blob, 8192, 4096, 'c'));
			assert_true(
				volume_holds(&place.volumes, blob, 8 * CLUSTER + 4096, 4096, 'b'));
			assert_true(volume_holds(&place.volumes, blob, 529 * CLUSTER, 4096, 'a'));
		}
		assert_int_equal(allocated(&place, blob), 530);
		assert_int_equal(volume_delete(&place.volumes, blob), 0);
		assert_becomes_free(&place, before);
		place_close(&place);
	}
}

static void a_snapshot_with_two_clones_stays(void **state)
{
	struct place place;
	struct blob *blob, *snapshot, *clone;

	place_open(&place, 1, BLOBSTORE_CLEAR_UNMAP);
	assert_int_equal(volume_create(&place.volumes, 8, true, &blob), 0);
	assert_int_equal(volume_clone(&place.volumes, blob, &clone), -EINVAL);
	assert_int_equal(volume_write(&place.volumes, blob, 0, 0, CLUSTER, 'a'), 0);
	assert_int_equal(volume_snapshot(&place.volumes, blob, &snapshot), 0);
	assert_int_equal(volume_snapshot(&place.volumes, snapshot, &clone), -EINVAL);
	assert_int_equal(volume_clone(&place.volumes, snapshot, &clone), 0);
	assert_true(volume_holds(&place.volumes, clone, 0, CLUSTER, 'a'));
	assert_int_equal(volume_delete(&place.volumes, snapshot), -EBUSY);
	assert_int_equal(volume_delete(&place.volumes, blob), 0);
	assert_int_equal(volume_delete(&place.volumes, snapshot), 0);
	assert_true(volume_holds(&place.volumes, clone, 0, CLUSTER, 'a'));
	place_close(&place);
}

/* ---- independence ------------------------------------------------------- */

static void an_inflated_clone_needs_nobody(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		struct place place;
		struct blob *blob, *snapshot, *clone;
		struct blob_info info;

		place_open(&place, seed, BLOBSTORE_CLEAR_NONE);
		assert_int_equal(volume_create(&place.volumes, 40, true, &blob), 0);
		assert_int_equal(
			volume_write(&place.volumes, blob, 0, 3 * CLUSTER, 5 * CLUSTER, 'a'), 0);
		assert_int_equal(volume_snapshot(&place.volumes, blob, &snapshot), 0);
		assert_int_equal(volume_clone(&place.volumes, snapshot, &clone), 0);
		assert_int_equal(volume_write(&place.volumes, clone, 1, 0, 4096, 'b'), 0);
		assert_int_equal(volume_inflate(&place.volumes, clone), 0);
		volume_info(&place.volumes, clone, &info);
		assert_null(info.parent);
		assert_false(info.thin);
		assert_int_equal(info.num_allocated, 40);
		assert_true(volume_holds(&place.volumes, clone, 0, 4096, 'b'));
		assert_true(volume_holds(&place.volumes, clone, 4096, 3 * CLUSTER - 4096, 0));
		assert_true(volume_holds(&place.volumes, clone, 3 * CLUSTER, 5 * CLUSTER, 'a'));
		assert_true(volume_holds(&place.volumes, clone, 8 * CLUSTER, 32 * CLUSTER, 0));
		place_close(&place);
	}
}

static void a_decoupled_clone_takes_only_what_its_parent_has(void **state)
{
	struct place place;
	struct blob *blob, *first, *second;
	struct blob_info info;

	place_open(&place, 1, BLOBSTORE_CLEAR_UNMAP);
	assert_int_equal(volume_create(&place.volumes, 8, true, &blob), 0);
	assert_int_equal(volume_decouple(&place.volumes, blob), -EINVAL);
	assert_int_equal(volume_write(&place.volumes, blob, 0, 0, CLUSTER, 'a'), 0);
	assert_int_equal(volume_snapshot(&place.volumes, blob, &first), 0);
	assert_int_equal(volume_write(&place.volumes, blob, 0, CLUSTER, CLUSTER, 'b'), 0);
	assert_int_equal(volume_snapshot(&place.volumes, blob, &second), 0);
	assert_int_equal(volume_decouple(&place.volumes, blob), 0);
	volume_info(&place.volumes, blob, &info);
	assert_ptr_equal(info.parent, first);
	assert_int_equal(info.num_allocated, 1);
	assert_true(volume_holds(&place.volumes, blob, 0, CLUSTER, 'a'));
	assert_true(volume_holds(&place.volumes, blob, CLUSTER, CLUSTER, 'b'));
	assert_int_equal(volume_delete(&place.volumes, second), 0);
	assert_int_equal(volume_decouple(&place.volumes, blob), 0);
	volume_info(&place.volumes, blob, &info);
	assert_null(info.parent);
	assert_true(info.thin);
	assert_true(volume_holds(&place.volumes, blob, 0, CLUSTER, 'a'));
	place_close(&place);
}

static void another_parent_shows_through(void **state)
{
	struct place place;
	struct blob *a, *b, *snapshots[2];

	place_open(&place, 1, BLOBSTORE_CLEAR_UNMAP);
	assert_int_equal(volume_create(&place.volumes, 8, true, &a), 0);
	assert_int_equal(volume_create(&place.volumes, 8, true, &b), 0);
	assert_int_equal(volume_write(&place.volumes, a, 0, 0, CLUSTER, 'a'), 0);
	assert_int_equal(volume_write(&place.volumes, b, 0, 0, CLUSTER, 'b'), 0);
	assert_int_equal(volume_snapshot(&place.volumes, a, &snapshots[0]), 0);
	assert_int_equal(volume_snapshot(&place.volumes, b, &snapshots[1]), 0);
	assert_int_equal(volume_write(&place.volumes, a, 0, CLUSTER, CLUSTER, 'c'), 0);
	assert_int_equal(volume_set_parent(&place.volumes, a, snapshots[1]), 0);
	assert_true(volume_holds(&place.volumes, a, 0, CLUSTER, 'b'));
	assert_true(volume_holds(&place.volumes, a, CLUSTER, CLUSTER, 'c'));
	assert_int_equal(volume_set_parent(&place.volumes, a, snapshots[1]), -EEXIST);
	assert_int_equal(volume_set_parent(&place.volumes, a, b), -EINVAL);
	place_close(&place);
}

/* ---- sizes -------------------------------------------------------------- */

static void sizes_change_across_slots_and_nothing_cut_off_comes_back(void **state)
{
	static const uint64_t sizes[] = {600, 511, 512, 513, 1025, 3, 1030, 1024};
	HOST_FOR_EACH_SEED(seed, 6)
	{
		struct place place;
		struct blob *blob;
		uint64_t size = 8;
		uint64_t id;

		place_open(&place, seed, BLOBSTORE_CLEAR_NONE);
		assert_int_equal(volume_create(&place.volumes, size, true, &blob), 0);
		id = id_of(&place, blob);
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			uint64_t before = size;

			size = sizes[i];
			assert_int_equal(volume_resize(&place.volumes, blob, size), 0);
			if (size > before)
				assert_true(volume_holds(&place.volumes, blob, before * CLUSTER,
					(size - before) * CLUSTER, 0));
			assert_int_equal(volume_write(&place.volumes, blob, i % 3,
						 (size - 1) * CLUSTER, CLUSTER, 'a' + (int)i),
				0);
			if (i % 2) {
				place_reload(&place);
				blob = reshow(&place, id);
			}
			assert_true(volume_holds(
				&place.volumes, blob, (size - 1) * CLUSTER, CLUSTER, 'a' + (int)i));
		}
		place_close(&place);
	}
}

static void attributes_are_kept_whatever_their_number(void **state)
{
	struct place place;
	struct blob *blob;
	char name[16], value[2000], found[2000];
	uint64_t id;

	place_open(&place, 1, BLOBSTORE_CLEAR_UNMAP);
	assert_int_equal(volume_create(&place.volumes, 8, true, &blob), 0);
	id = id_of(&place, blob);
	memset(value, 'v', sizeof(value));
	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "name%d", i);
		value[100 + i * 50] = '\0';
		assert_int_equal(volume_set_xattr(&place.volumes, blob, name, value), 0);
		value[100 + i * 50] = 'v';
	}
	assert_int_equal(volume_write(&place.volumes, blob, 0, 0, CLUSTER, 'a'), 0);
	assert_int_equal(volume_set_xattr(&place.volumes, blob, "name7", NULL), 0);
	assert_int_equal(volume_set_xattr(&place.volumes, blob, "name7", NULL), -ENOENT);
	place_reload(&place);
	blob = reshow(&place, id);
	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "name%d", i);
		assert_int_equal(volume_get_xattr(&place.volumes, blob, name, found, sizeof(found)),
			i == 7 ? -ENOENT : 100 + i * 50);
	}
	assert_true(volume_holds(&place.volumes, blob, 0, CLUSTER, 'a'));
	place_close(&place);
}

/* ---- while clusters are copied ------------------------------------------ */

static bool one_is_held(void *gate)
{
	return gate_bdev_held(gate) > 0;
}

/* Inflates it; the first write of a cluster that is copied waits. */
static void inflate_begin_held(struct place *place, struct blob *blob, struct volume_call *call)
{
	volume_channel(&place->volumes, blob, 0);
	gate_bdev_hold_types(place->gate, 1u << BDEV_IO_WRITE | 1u << BDEV_IO_WRITE_ZEROES);
	gate_bdev_hold(place->gate, true);
	volume_own_begin(&place->volumes, blob, false, call);
	assert_true(host_wait(&place->world.host, one_is_held, place->gate));
	gate_bdev_hold(place->gate, false);
}

static void inflate_finish(struct place *place, struct volume_call *call)
{
	gate_bdev_release_all(place->gate, 0);
	assert_int_equal(world_finish(&place->world, &call->call), 0);
}

static void a_snapshot_beside_an_inflate_keeps_what_was_written_meanwhile(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct volume_call inflate, snapshot;
		struct blob_info info;
		struct place place;
		struct blob *blob;

		place_open(&place, seed, BLOBSTORE_CLEAR_UNMAP);
		assert_int_equal(volume_create(&place.volumes, 1, true, &blob), 0);
		inflate_begin_held(&place, blob, &inflate);
		assert_int_equal(volume_write(&place.volumes, blob, 0, 0, 4096, 'x'), 0);
		volume_snapshot_begin(&place.volumes, blob, &snapshot);
		host_sleep(&place.world.host, 5 * MSEC_NS);
		gate_bdev_release_all(place.gate, 0);
		assert_int_equal(world_finish(&place.world, &snapshot.call), 0);
		inflate_finish(&place, &inflate);
		assert_int_equal(volume_show(&place.volumes, snapshot.result), 0);
		assert_true(volume_holds(&place.volumes, blob, 0, 4096, 'x'));
		assert_true(volume_holds(&place.volumes, snapshot.result, 0, 4096, 'x'));
		volume_info(&place.volumes, blob, &info);
		assert_null(info.parent);
		place_close(&place);
	}
}

static void a_volume_shrinks_beside_an_inflate(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		struct volume_call inflate;
		struct blob_info info;
		struct place place;
		struct blob *blob;

		place_open(&place, seed, BLOBSTORE_CLEAR_UNMAP);
		assert_int_equal(volume_create(&place.volumes, 600, true, &blob), 0);
		inflate_begin_held(&place, blob, &inflate);
		gate_bdev_release_all(place.gate, 0);
		assert_int_equal(volume_resize(&place.volumes, blob, 3), 0);
		inflate_finish(&place, &inflate);
		volume_info(&place.volumes, blob, &info);
		assert_int_equal(info.num_allocated, 3);
		assert_false(info.thin);
		place_close(&place);
	}
}

/* Unless it was faster, which the simulation is not. */
static void an_inflate_ends_when_its_volume_goes(void **state)
{
	struct volume_call inflate;
	struct place place;
	struct blob *blob;
	int rc;

	place_open(&place, 1, BLOBSTORE_CLEAR_UNMAP);
	assert_int_equal(volume_create(&place.volumes, 600, true, &blob), 0);
	inflate_begin_held(&place, blob, &inflate);
	gate_bdev_release_all(place.gate, 0);
	assert_int_equal(volume_delete(&place.volumes, blob), 0);
	rc = world_finish(&place.world, &inflate.call);
	if (rc || host_is_simulated())
		assert_int_equal(rc, -ENODEV);
	place_close(&place);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(thin_volume_has_what_was_written_and_zeroes_elsewhere),
		cmocka_unit_test(thick_volume_reads_zeroes_on_a_device_full_of_something_else),
		cmocka_unit_test(a_volume_larger_than_the_store_can_only_be_thin),
		cmocka_unit_test(snapshot_keeps_what_its_origin_overwrites),
		cmocka_unit_test(snapshots_are_deleted_in_any_order_and_leave_their_clone_whole),
		cmocka_unit_test(a_snapshot_with_two_clones_stays),
		cmocka_unit_test(an_inflated_clone_needs_nobody),
		cmocka_unit_test(a_decoupled_clone_takes_only_what_its_parent_has),
		cmocka_unit_test(a_snapshot_beside_an_inflate_keeps_what_was_written_meanwhile),
		cmocka_unit_test(a_volume_shrinks_beside_an_inflate),
		cmocka_unit_test(an_inflate_ends_when_its_volume_goes),
		cmocka_unit_test(another_parent_shows_through),
		cmocka_unit_test(sizes_change_across_slots_and_nothing_cut_off_comes_back),
		cmocka_unit_test(attributes_are_kept_whatever_their_number),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
