/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A full store: who hears of it, who waits, and that nothing else stands still.
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

static void pool_begin_waiting(struct pool *pool, struct io_request *request, uint64_t cluster)
{
	io_request_begin(&pool->place, request, pool->blob, 1, BDEV_IO_WRITE, BDEV_IO_WAIT_SPACE,
		cluster * CLUSTER, 2 * CLUSTER, 'w');
	host_sleep(&pool->place.world.host, 300 * MSEC_NS);
	assert_false(atomic_load(&request->call.ended));
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

static void a_request_that_may_wait_ends_when_there_is_space(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		struct io_request request;
		struct pool pool;

		pool_open(&pool, seed);
		pool_fill(&pool);
		pool_begin_waiting(&pool, &request, 900);
		assert_int_equal(pool_unmap(&pool, 0, 1), 0);
		host_sleep(&pool.place.world.host, 300 * MSEC_NS);
		assert_false(atomic_load(&request.call.ended)); /* it needs two */
		assert_int_equal(pool_unmap(&pool, 7, 1), 0);
		assert_int_equal(io_request_finish(&pool.place, &request), 0);
		assert_true(volume_holds(
			&pool.place.volumes, pool.blob, 900 * CLUSTER, 2 * CLUSTER, 'w'));
		pool_close(&pool);
	}
}

/* Deleting takes no part of the volume's own channels. */
static void another_volume_that_is_deleted_makes_space(void **state)
{
	struct io_request request;
	struct blob *other;
	struct pool pool;

	pool_open(&pool, 1);
	assert_int_equal(volume_create(&pool.place.volumes, 10, false, &other), 0);
	pool_fill(&pool);
	pool_begin_waiting(&pool, &request, 900);
	assert_int_equal(volume_delete(&pool.place.volumes, other), 0);
	assert_int_equal(io_request_finish(&pool.place, &request), 0);
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

static void a_snapshot_does_not_wait_for_who_waits_for_space(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		struct io_request request;
		struct blob *snapshot;
		struct pool pool;

		pool_open(&pool, seed);
		pool_fill(&pool);
		pool_begin_waiting(&pool, &request, 900);
		assert_int_equal(volume_snapshot(&pool.place.volumes, pool.blob, &snapshot), 0);
		assert_true(volume_holds(&pool.place.volumes, snapshot, 0, 512, 'x'));
		assert_false(atomic_load(&request.call.ended));
		/* What was the volume's is the snapshot's: gone with it, merged back. */
		assert_int_equal(volume_delete(&pool.place.volumes, snapshot), 0);
		assert_int_equal(pool_unmap(&pool, 0, 4), 0);
		assert_int_equal(io_request_finish(&pool.place, &request), 0);
		assert_true(volume_holds(
			&pool.place.volumes, pool.blob, 900 * CLUSTER, 2 * CLUSTER, 'w'));
		pool_close(&pool);
	}
}

struct cancel {
	struct world_call call;
	struct io_request *request;
};

static void cancel_run(struct world_call *call)
{
	struct cancel *cancel = container_of(call, struct cancel, call);

	world_done(call, bdev_io_cancel_parked(&cancel->request->call.io));
}

static void a_request_that_waits_can_be_cancelled(void **state)
{
	struct io_request request;
	struct cancel cancel = {.call.run = cancel_run, .request = &request};
	struct pool pool;

	pool_open(&pool, 1);
	pool_fill(&pool);
	pool_begin_waiting(&pool, &request, 900);
	assert_true(world_run(&pool.place.world, pool.place.world.data[1], &cancel.call));
	assert_int_equal(io_request_finish(&pool.place, &request), -ECANCELED);
	pool_close(&pool);
}

static void a_discard_that_would_have_to_write_waits_as_well(void **state)
{
	struct io_request request;
	struct blob *snapshot;
	struct pool pool;

	pool_open(&pool, 1);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(pool_write(&pool, 0), 0);
	assert_int_equal(volume_snapshot(&pool.place.volumes, pool.blob, &snapshot), 0);
	pool_fill(&pool);
	io_request_begin(&pool.place, &request, pool.blob, 1, BDEV_IO_WRITE_ZEROES,
		BDEV_IO_WAIT_SPACE, CLUSTER, CLUSTER, 0);
	host_sleep(&pool.place.world.host, 300 * MSEC_NS);
	assert_false(atomic_load(&request.call.ended));
	assert_int_equal(pool_unmap(&pool, 10, 1), 0);
	assert_int_equal(io_request_finish(&pool.place, &request), 0);
	assert_true(volume_holds(&pool.place.volumes, pool.blob, CLUSTER, CLUSTER, 0));
	pool_close(&pool);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cluster_can_be_used_however_many_reactors_hold_some),
		cmocka_unit_test(what_reactors_hold_is_given_back_when_they_close),
		cmocka_unit_test(a_write_after_a_discard_finds_its_space),
		cmocka_unit_test(a_request_that_may_wait_ends_when_there_is_space),
		cmocka_unit_test(another_volume_that_is_deleted_makes_space),
		cmocka_unit_test(a_store_that_has_grown_serves_those_who_found_nothing),
		cmocka_unit_test(a_snapshot_does_not_wait_for_who_waits_for_space),
		cmocka_unit_test(a_request_that_waits_can_be_cancelled),
		cmocka_unit_test(a_discard_that_would_have_to_write_waits_as_well),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
