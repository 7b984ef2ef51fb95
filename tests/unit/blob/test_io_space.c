/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A full store: who hears of it, what makes space again, and that nothing else stands still.
 */
#include "io_place.h"

#include <errno.h>
#include <string.h>

#define CLUSTER (16 * KIB)

static const struct io_place_options small = {.base_bytes = 2 * MIB, .md_percent = 200};

struct pool {
	struct io_place place;
	struct blob *blob;
	uint64_t next; /* cluster that was not written yet */
};

static void pool_open_with(struct pool *pool, uint64_t seed, const struct io_place_options *options)
{
	io_place_open(&pool->place, seed, options);
	assert_int_equal(volume_create(&pool->place.volumes, 1000, true, &pool->blob), 0);
	pool->next = 0;
}

static void pool_open(struct pool *pool, uint64_t seed)
{
	pool_open_with(pool, seed, &small);
}

static int pool_write(struct pool *pool, unsigned reactor)
{
	int rc = volume_write(
		&pool->place.volumes, pool->blob, reactor, pool->next * CLUSTER, 512, 'x');

	pool->next += rc == 0;
	return rc;
}

/* With one reactor until there is nothing left. */
static void pool_fill(struct pool *pool)
{
	int rc;

	do
		rc = pool_write(pool, 0);
	while (rc == 0);
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(io_place_free(&pool->place), 0);
}

/* Two clusters at once, on another reactor. */
static int pool_write_two(struct pool *pool, uint64_t cluster)
{
	return volume_write(
		&pool->place.volumes, pool->blob, 1, cluster * CLUSTER, 2 * CLUSTER, 'w');
}

static int pool_unmap(struct pool *pool, uint64_t cluster, uint64_t count)
{
	return volume_clear(&pool->place.volumes, pool->blob, 0, BDEV_IO_UNMAP, cluster * CLUSTER,
		count * CLUSTER);
}

static void pool_close(struct pool *pool)
{
	io_place_close(&pool->place);
}

static void every_cluster_can_be_used_however_many_reactors_hold_some(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		struct pool pool;
		uint64_t free;

		pool_open(&pool, seed);
		free = io_place_free(&pool.place);
		for (unsigned i = 0; i < 12; i++)
			assert_int_equal(pool_write(&pool, i % WORLD_REACTORS), 0);
		assert_int_equal(io_place_free(&pool.place), free - 12);
		pool_fill(&pool);
		assert_int_equal(pool.next, free);
		assert_int_equal(pool_write(&pool, 1), -ENOSPC);
		assert_int_equal(io_place_allocated(&pool.place, pool.blob), free);
		pool_close(&pool);
	}
}

static void what_reactors_hold_is_given_back_when_they_close(void **state)
{
	struct pool pool;
	uint64_t free, id;

	pool_open(&pool, 1);
	free = io_place_free(&pool.place);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(pool_write(&pool, i % WORLD_REACTORS), 0);
	id = io_place_id(&pool.place, pool.blob);
	volume_hide(&pool.place.volumes, pool.blob);
	assert_int_equal(io_place_free(&pool.place), free - 40);
	io_place_reload(&pool.place);
	assert_int_equal(io_place_free(&pool.place), free - 40);
	pool.blob = io_place_find(&pool.place, id);
	pool_fill(&pool);
	assert_int_equal(pool.next, free);
	pool_close(&pool);
}

/* Clusters are on their way back when the guest has been told that its discard has ended. */
static void a_write_after_a_discard_finds_its_space(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct pool pool;

		pool_open(&pool, seed);
		pool_fill(&pool);
		assert_int_equal(pool_unmap(&pool, 3, 1), 0);
		assert_int_equal(pool_write(&pool, 2), 0);
		assert_int_equal(pool_write(&pool, 2), -ENOSPC);
		pool_close(&pool);
	}
}

/* What it has written of it before is no harm. */
static void a_request_for_two_clusters_finds_them_one_by_one(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		struct pool pool;

		pool_open(&pool, seed);
		pool_fill(&pool);
		assert_int_equal(pool_write_two(&pool, 900), -ENOSPC);
		assert_int_equal(pool_unmap(&pool, 0, 1), 0);
		assert_int_equal(pool_write_two(&pool, 900), -ENOSPC);
		assert_int_equal(pool_unmap(&pool, 7, 1), 0);
		assert_int_equal(pool_write_two(&pool, 900), 0);
		assert_true(volume_holds(
			&pool.place.volumes, pool.blob, 900 * CLUSTER, 2 * CLUSTER, 'w'));
		pool_close(&pool);
	}
}

/* Deleting takes no part of the volume's own channels. */
static void another_volume_that_is_deleted_makes_space(void **state)
{
	struct blob *other;
	struct pool pool;

	pool_open(&pool, 1);
	assert_int_equal(volume_create(&pool.place.volumes, 10, false, &other), 0);
	pool_fill(&pool);
	assert_int_equal(pool_write_two(&pool, 900), -ENOSPC);
	assert_int_equal(volume_delete(&pool.place.volumes, other), 0);
	assert_int_equal(pool_write_two(&pool, 900), 0);
	pool_close(&pool);
}

static void a_store_that_has_grown_serves_those_who_found_nothing(void **state)
{
	static const struct io_place_options grows = {
		.base_bytes = 8 * MIB, .begin_bytes = 4 * MIB, .md_percent = 200};

	HOST_FOR_EACH_SEED(seed, 10)
	{
		struct pool pool;

		pool_open_with(&pool, seed, &grows);
		pool_fill(&pool);
		for (unsigned i = 0; i < WORLD_REACTORS; i++)
			assert_int_equal(pool_write(&pool, i), -ENOSPC);
		world_set_size(&pool.place.world, gate_bdev_of(pool.place.gate), grows.base_bytes);
		assert_int_equal(volumes_grow(&pool.place.volumes), 0);
		for (unsigned i = 0; i < WORLD_REACTORS; i++)
			assert_int_equal(pool_write(&pool, i), 0);
		pool_close(&pool);
	}
}

static void a_full_store_takes_a_snapshot_and_gives_it_up(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		struct blob *snapshot;
		struct pool pool;

		pool_open(&pool, seed);
		pool_fill(&pool);
		assert_int_equal(volume_snapshot(&pool.place.volumes, pool.blob, &snapshot), 0);
		assert_true(volume_holds(&pool.place.volumes, snapshot, 0, 512, 'x'));
		assert_int_equal(pool_write_two(&pool, 900), -ENOSPC);
		/* What was the volume's is the snapshot's: gone with it, merged back. */
		assert_int_equal(volume_delete(&pool.place.volumes, snapshot), 0);
		assert_int_equal(pool_unmap(&pool, 0, 4), 0);
		assert_int_equal(pool_write_two(&pool, 900), 0);
		assert_true(volume_holds(
			&pool.place.volumes, pool.blob, 900 * CLUSTER, 2 * CLUSTER, 'w'));
		pool_close(&pool);
	}
}

static int pool_zero(struct pool *pool, uint64_t cluster)
{
	return volume_clear(&pool->place.volumes, pool->blob, 1, BDEV_IO_WRITE_ZEROES,
		cluster * CLUSTER, CLUSTER);
}

static void zeroes_over_a_snapshot_need_space_as_well(void **state)
{
	struct blob *snapshot;
	struct pool pool;

	pool_open(&pool, 1);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(pool_write(&pool, 0), 0);
	assert_int_equal(volume_snapshot(&pool.place.volumes, pool.blob, &snapshot), 0);
	pool_fill(&pool);
	assert_int_equal(pool_zero(&pool, 1), -ENOSPC);
	assert_int_equal(pool_unmap(&pool, 10, 1), 0);
	assert_int_equal(pool_zero(&pool, 1), 0);
	assert_true(volume_holds(&pool.place.volumes, pool.blob, CLUSTER, CLUSTER, 0));
	pool_close(&pool);
}

/* ---- metadata ----------------------------------------------------------- */

#define SLOT_CLUSTERS 512u /* that an extent page is of */
#define MANY_SLOTS    100u

static void meta_open(struct pool *pool, uint64_t seed)
{
	static const struct io_place_options few_pages = {.md_percent = 8};

	io_place_open(&pool->place, seed, &few_pages);
	assert_int_equal(
		volume_create(&pool->place.volumes, MANY_SLOTS * SLOT_CLUSTERS, true, &pool->blob),
		0);
	pool->next = 0;
}

static int meta_write(struct pool *pool, unsigned reactor, uint64_t slot, uint64_t cluster)
{
	return volume_write(&pool->place.volumes, pool->blob, reactor,
		(slot * SLOT_CLUSTERS + cluster) * CLUSTER, 512, 'm');
}

static void meta_expect(struct pool *pool, enum blob_store_space space)
{
	struct blob_store_info info;

	host_sleep(&pool->place.world.host, 100 * MSEC_NS);
	volumes_info(&pool->place.volumes, &info);
	assert_int_equal(atomic_load(&pool->place.volumes.space), space);
	assert_int_equal(info.md_space, space);
}

/* A cluster of each slot until there is no page for the next: pool->next. */
static void meta_fill(struct pool *pool)
{
	int rc;

	do
		rc = meta_write(pool, 0, pool->next, 0);
	while (rc == 0 && ++pool->next < MANY_SLOTS);
	assert_int_equal(rc, -ENOSPC);
	assert_true(io_place_free(&pool->place) > 500);
}

static void metadata_that_is_full_is_a_full_store_until_pages_are_given_back(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		uint64_t free;
		struct blob *other;
		struct pool pool;

		meta_open(&pool, seed);
		meta_expect(&pool, BLOB_STORE_PLENTY);
		assert_int_equal(
			volume_create(&pool.place.volumes, 8 * SLOT_CLUSTERS, true, &other), 0);
		for (unsigned slot = 0; slot < 8; slot++)
			assert_int_equal(volume_write(&pool.place.volumes, other, 1,
						 slot * SLOT_CLUSTERS * CLUSTER, 512, 'o'),
				0);
		meta_fill(&pool);
		meta_expect(&pool, BLOB_STORE_FULL);
		free = io_place_free(&pool.place);
		assert_int_equal(meta_write(&pool, 2, pool.next, 0), -ENOSPC);
		assert_int_equal(io_place_free(&pool.place), free);
		assert_int_equal(volume_delete(&pool.place.volumes, other), 0);
		assert_int_equal(meta_write(&pool, 2, pool.next, 0), 0);
		meta_expect(&pool, BLOB_STORE_PLENTY);
		pool_close(&pool);
	}
}

static void metadata_that_runs_low_is_told_before_it_is_full(void **state)
{
	struct pool pool;
	unsigned low = 0;

	meta_open(&pool, 1);
	while (meta_write(&pool, 0, pool.next, 0) == 0) {
		host_sleep(&pool.place.world.host, 5 * MSEC_NS);
		low += atomic_load(&pool.place.volumes.space) == BLOB_STORE_LOW;
		pool.next++;
	}
	assert_true(low > 0);
	meta_expect(&pool, BLOB_STORE_FULL);
	pool_close(&pool);
}

/* However many requests share a commit: only those that lack a page are refused. */
static void what_needs_no_page_is_written_while_there_is_none(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct io_request requests[8] = {0};
		struct pool pool;

		meta_open(&pool, seed);
		meta_fill(&pool);
		for (unsigned i = 0; i < 8; i++)
			io_request_begin(&pool.place, &requests[i], pool.blob, i % WORLD_REACTORS,
				BDEV_IO_WRITE, 0,
				((i % 2 ? pool.next + i / 4 : i) * SLOT_CLUSTERS + 9) * CLUSTER,
				CLUSTER, 'n');
		for (unsigned i = 0; i < 8; i++)
			assert_int_equal(
				io_request_finish(&pool.place, &requests[i]), i % 2 ? -ENOSPC : 0);
		assert_true(volume_holds(&pool.place.volumes, pool.blob,
			(6 * SLOT_CLUSTERS + 9) * CLUSTER, CLUSTER, 'n'));
		assert_true(volume_holds(&pool.place.volumes, pool.blob,
			(pool.next * SLOT_CLUSTERS + 9) * CLUSTER, CLUSTER, 0));
		pool_close(&pool);
	}
}

static void a_discard_where_nothing_could_be_written_needs_no_page(void **state)
{
	struct pool pool;

	meta_open(&pool, 1);
	meta_fill(&pool);
	assert_int_equal(meta_write(&pool, 1, pool.next, 5), -ENOSPC);
	assert_int_equal(pool_unmap(&pool, pool.next * SLOT_CLUSTERS, SLOT_CLUSTERS), 0);
	assert_int_equal(pool_unmap(&pool, 0, MANY_SLOTS * SLOT_CLUSTERS), 0);
	assert_int_equal(io_place_allocated(&pool.place, pool.blob), 0);
	pool_close(&pool);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cluster_can_be_used_however_many_reactors_hold_some),
		cmocka_unit_test(what_reactors_hold_is_given_back_when_they_close),
		cmocka_unit_test(a_write_after_a_discard_finds_its_space),
		cmocka_unit_test(a_request_for_two_clusters_finds_them_one_by_one),
		cmocka_unit_test(another_volume_that_is_deleted_makes_space),
		cmocka_unit_test(a_store_that_has_grown_serves_those_who_found_nothing),
		cmocka_unit_test(a_full_store_takes_a_snapshot_and_gives_it_up),
		cmocka_unit_test(zeroes_over_a_snapshot_need_space_as_well),
		cmocka_unit_test(metadata_that_is_full_is_a_full_store_until_pages_are_given_back),
		cmocka_unit_test(metadata_that_runs_low_is_told_before_it_is_full),
		cmocka_unit_test(what_needs_no_page_is_written_while_there_is_none),
		cmocka_unit_test(a_discard_where_nothing_could_be_written_needs_no_page),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
