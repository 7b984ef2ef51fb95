/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Volumes with sectors of 512 bytes on a device of 4096: what is not a whole block takes no more
 * space than it must, waits for space as anybody else, and is in no snapshot's way.
 */
#include "io_place.h"

#include <errno.h>
#include <string.h>

#define CLUSTER (16 * KIB)
#define SECTOR  UINT64_C(512)

static const struct io_place_options small = {
	.base_bytes = 2 * MIB, .md_percent = 200, .block_size = 4096};

struct pool {
	struct io_place place;
	struct blob *blob;
	uint64_t next; /* cluster that was not written yet */
};

static void pool_open(struct pool *pool, uint64_t seed)
{
	io_place_open(&pool->place, seed, &small);
	assert_int_equal(volume_create(&pool->place.volumes, 1000, true, &pool->blob), 0);
	pool->next = 0;
}

static void pool_fill(struct pool *pool)
{
	int rc = 0;

	for (; !rc; pool->next += rc == 0)
		rc = volume_write(&pool->place.volumes, pool->blob, 0,
			pool->next * CLUSTER + SECTOR, SECTOR, 'x');
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(io_place_free(&pool->place), 0);
}

static bool pool_holds(struct pool *pool, uint64_t offset, uint64_t length, int byte)
{
	return volume_holds(&pool->place.volumes, pool->blob, offset, length, byte);
}

static void a_first_write_of_a_sector_shows_zeroes_around_it(void **state)
{
	struct pool pool;

	pool_open(&pool, 1);
	assert_int_equal(
		volume_write(&pool.place.volumes, pool.blob, 0, CLUSTER + SECTOR, SECTOR, 'a'), 0);
	assert_true(pool_holds(&pool, CLUSTER, SECTOR, 0));
	assert_true(pool_holds(&pool, CLUSTER + SECTOR, SECTOR, 'a'));
	assert_true(pool_holds(&pool, CLUSTER + 2 * SECTOR, CLUSTER - 2 * SECTOR, 0));
	assert_int_equal(io_place_allocated(&pool.place, pool.blob), 1);
	/* Where nothing is, zeroes need no cluster. */
	assert_int_equal(volume_clear(&pool.place.volumes, pool.blob, 0, BDEV_IO_WRITE_ZEROES,
				 5 * CLUSTER + SECTOR, SECTOR),
		0);
	assert_int_equal(volume_clear(&pool.place.volumes, pool.blob, 0, BDEV_IO_UNMAP,
				 6 * CLUSTER + SECTOR, 2 * CLUSTER),
		0);
	assert_int_equal(io_place_allocated(&pool.place, pool.blob), 1);
	io_place_close(&pool.place);
}

static void a_sector_of_a_clone_is_written_over_what_its_parent_shows(void **state)
{
	struct blob *snapshot;
	struct pool pool;

	pool_open(&pool, 1);
	assert_int_equal(volume_write(&pool.place.volumes, pool.blob, 0, 0, 2 * CLUSTER, 'p'), 0);
	assert_int_equal(volume_snapshot(&pool.place.volumes, pool.blob, &snapshot), 0);
	assert_int_equal(
		volume_write(&pool.place.volumes, pool.blob, 1, CLUSTER - SECTOR, 2 * SECTOR, 'c'),
		0);
	assert_true(pool_holds(&pool, 0, CLUSTER - SECTOR, 'p'));
	assert_true(pool_holds(&pool, CLUSTER - SECTOR, 2 * SECTOR, 'c'));
	assert_true(pool_holds(&pool, CLUSTER + SECTOR, CLUSTER - SECTOR, 'p'));
	assert_true(volume_holds(&pool.place.volumes, snapshot, 0, 2 * CLUSTER, 'p'));
	assert_int_equal(volume_clear(&pool.place.volumes, pool.blob, 2, BDEV_IO_WRITE_ZEROES,
				 SECTOR, SECTOR),
		0);
	assert_true(pool_holds(&pool, 0, SECTOR, 'p'));
	assert_true(pool_holds(&pool, SECTOR, SECTOR, 0));
	assert_true(pool_holds(&pool, 2 * SECTOR, CLUSTER - 3 * SECTOR, 'p'));
	io_place_close(&pool.place);
}

/* Discards take a lock of the volume themselves. */
static void a_discard_frees_the_whole_clusters_in_it(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		struct pool pool;

		pool_open(&pool, seed);
		assert_int_equal(
			volume_write(&pool.place.volumes, pool.blob, 0, 0, 4 * CLUSTER, 'a'), 0);
		assert_int_equal(volume_clear(&pool.place.volumes, pool.blob, 1, BDEV_IO_UNMAP,
					 CLUSTER - SECTOR, 2 * CLUSTER + 2 * SECTOR),
			0);
		assert_int_equal(io_place_allocated(&pool.place, pool.blob), 2);
		assert_true(pool_holds(&pool, 0, CLUSTER - SECTOR, 'a'));
		assert_true(pool_holds(&pool, CLUSTER, 2 * CLUSTER, 0));
		assert_true(pool_holds(&pool, 3 * CLUSTER + SECTOR, CLUSTER - SECTOR, 'a'));
		assert_int_equal(
			volume_clear(&pool.place.volumes, pool.blob, 2, BDEV_IO_WRITE_ZEROES,
				CLUSTER - SECTOR, 2 * CLUSTER + 2 * SECTOR),
			0);
		assert_true(pool_holds(&pool, 0, CLUSTER - SECTOR, 'a'));
		assert_true(pool_holds(&pool, CLUSTER - SECTOR, 2 * CLUSTER + 2 * SECTOR, 0));
		assert_true(pool_holds(&pool, 3 * CLUSTER + SECTOR, CLUSTER - SECTOR, 'a'));
		io_place_close(&pool.place);
	}
}

/* And leaves nothing behind that a snapshot or a later write would wait for. */
static void a_write_of_a_sector_is_told_that_there_is_no_space(void **state)
{
	const uint64_t offset = 3 * CLUSTER - SECTOR + 900 * CLUSTER;

	HOST_FOR_EACH_SEED(seed, 10)
	{
		struct io_request request;
		struct blob *snapshot;
		struct pool pool;

		pool_open(&pool, seed);
		pool_fill(&pool);
		io_request_begin(
			&pool.place, &request, pool.blob, 1, BDEV_IO_WRITE, 0, offset, SECTOR, 'x');
		assert_int_equal(
			volume_write(&pool.place.volumes, pool.blob, 2, offset, SECTOR, 'y'),
			-ENOSPC);
		assert_int_equal(io_request_finish(&pool.place, &request), -ENOSPC);
		assert_int_equal(volume_snapshot(&pool.place.volumes, pool.blob, &snapshot), 0);
		assert_int_equal(volume_delete(&pool.place.volumes, snapshot), 0);
		assert_int_equal(
			volume_clear(&pool.place.volumes, pool.blob, 0, BDEV_IO_UNMAP, 0, CLUSTER),
			0);
		assert_int_equal(
			volume_write(&pool.place.volumes, pool.blob, 1, offset, SECTOR, 'w'), 0);
		assert_true(pool_holds(&pool, 902 * CLUSTER, CLUSTER - SECTOR, 0));
		assert_true(pool_holds(&pool, 903 * CLUSTER - SECTOR, SECTOR, 'w'));
		io_place_close(&pool.place);
	}
}

static bool something_is_held(void *gate)
{
	return gate_bdev_held(gate) > 0;
}

/* Between the read of a block and its write, with others behind it. */
static void a_device_that_goes_ends_what_is_written_in_parts(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct world_call remove = {.run = world_unregister_run};
		struct io_request requests[4];
		struct gate_bdev *gate;
		struct pool pool;

		pool_open(&pool, seed);
		assert_int_equal(
			volume_write(&pool.place.volumes, pool.blob, 0, 0, CLUSTER, 'a'), 0);
		gate = pool.place.gate;
		gate_bdev_hold_types(gate, 1u << BDEV_IO_READ);
		gate_bdev_hold(gate, true);
		for (unsigned i = 0; i < ARRAY_SIZE(requests); i++)
			io_request_begin(&pool.place, &requests[i], pool.blob, i % WORLD_REACTORS,
				BDEV_IO_WRITE, 0, i * SECTOR, SECTOR, 'b');
		assert_true(host_wait(&pool.place.world.host, something_is_held, gate));
		remove.bdev = gate_bdev_of(gate);
		world_begin(&pool.place.world, pool.place.world.control, &remove);
		assert_true(host_wait_flag(&pool.place.world.host, &pool.place.volumes.removed));
		world_settle(&pool.place.world);
		gate_bdev_hold(gate, false);
		gate_bdev_release_all(gate, 0);
		for (unsigned i = 0; i < ARRAY_SIZE(requests); i++)
			assert_int_equal(io_request_finish(&pool.place, &requests[i]), -ENODEV);
		assert_int_equal(volumes_close(&pool.place.volumes), 0);
		assert_int_equal(world_finish(&pool.place.world, &remove), 0);
		gate_bdev_destroy(gate);
		world_end(&pool.place.world);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_first_write_of_a_sector_shows_zeroes_around_it),
		cmocka_unit_test(a_sector_of_a_clone_is_written_over_what_its_parent_shows),
		cmocka_unit_test(a_discard_frees_the_whole_clusters_in_it),
		cmocka_unit_test(a_write_of_a_sector_is_told_that_there_is_no_space),
		cmocka_unit_test(a_device_that_goes_ends_what_is_written_in_parts),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
