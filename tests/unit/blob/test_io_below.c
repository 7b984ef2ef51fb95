/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests of a volume that are the device's below while they are there: what that device, and what
 * the volume, may do meanwhile.
 */
#include "io_place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CLUSTER (16 * KIB)

static const struct io_place_options usual;

/* Clusters of each volume behind those that a test uses. */
#define MANY 33000 /* the map is a large one, whose entries are fetched first */
static uint64_t behind;

static struct blob *created(struct io_place *place, uint64_t clusters)
{
	struct blob *blob;

	assert_int_equal(volume_create(&place->volumes, clusters + behind, true, &blob), 0);
	return blob;
}

static struct blob *written(struct io_place *place, uint64_t clusters)
{
	struct blob *blob = created(place, clusters);

	for (uint64_t i = 0; i < clusters; i++)
		assert_int_equal(
			volume_write(&place->volumes, blob, 0, i * CLUSTER, CLUSTER, 'a' + (int)i),
			0);
	gate_bdev_forget(place->gate);
	return blob;
}

static bool holds(struct io_place *place, struct blob *blob, uint64_t from, uint64_t to, int byte)
{
	return volume_holds(&place->volumes, blob, from, to - from, byte);
}

/* ---- a lock on the device below ----------------------------------------- */

struct lock_call {
	struct world_call call;
	struct bdev_range_lock lock;
};

static void lock_run(struct world_call *call)
{
	struct lock_call *own = container_of(call, struct lock_call, call);

	bdev_range_lock(
		&own->lock, call->bdev, reactor_self(), 0, BDEV_RANGE_ALL, world_done, call);
}

static void unlock_run(struct world_call *call)
{
	struct lock_call *own = container_of(call, struct lock_call, call);

	bdev_range_unlock(&own->lock, world_done, call);
}

static void requests_wait_for_a_lock_of_the_device_below(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct io_request before, during;
		struct lock_call lock = {.call.run = lock_run};
		struct io_place place;
		struct blob *blob;

		io_place_open(&place, seed, &usual);
		blob = written(&place, 4);
		gate_bdev_hold(place.gate, true);
		io_request_begin(&place, &before, blob, 0, BDEV_IO_WRITE, 0, 512, 512, 'x');
		world_settle(&place.world);
		lock.call.bdev = gate_bdev_of(place.gate);
		world_begin(&place.world, place.world.data[1], &lock.call);
		world_settle(&place.world);
		io_request_begin(&place, &during, blob, 0, BDEV_IO_WRITE, 0, 1024, 512, 'y');
		world_settle(&place.world);
		assert_false(atomic_load(&lock.call.ended));
		gate_bdev_hold(place.gate, false);
		gate_bdev_release_all(place.gate, 0);
		assert_int_equal(io_request_finish(&place, &before), 0);
		assert_int_equal(world_finish(&place.world, &lock.call), 0);
		assert_int_equal(io_place_count(&place, BDEV_IO_WRITE), 1);
		assert_false(atomic_load(&during.call.ended));
		lock.call.run = unlock_run;
		assert_int_equal(world_run(&place.world, place.world.data[1], &lock.call), 0);
		assert_int_equal(io_request_finish(&place, &during), 0);
		assert_true(holds(&place, blob, 512, 1024, 'x'));
		assert_true(holds(&place, blob, 1024, 1536, 'y'));
		io_place_close(&place);
	}
}

/* ---- what the volume does meanwhile ------------------------------------- */

static void a_snapshot_has_what_was_under_way_below(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct volume_call snapshot = {0};
		struct io_request request, after;
		struct io_place place;
		struct blob *blob;

		io_place_open(&place, seed, &usual);
		blob = written(&place, 4);
		gate_bdev_hold(place.gate, true);
		io_request_begin(&place, &request, blob, 0, BDEV_IO_WRITE, 0, 0, 512, 'x');
		world_settle(&place.world);
		/* The store's own writes are not to wait. */
		gate_bdev_hold(place.gate, false);
		volume_snapshot_begin(&place.volumes, blob, &snapshot);
		/* Until it stands in the way: on a busy machine the threads take their time. */
		host_sleep(&place.world.host, 100 * MSEC_NS);
		assert_false(atomic_load(&snapshot.call.ended));
		io_request_begin(&place, &after, blob, 0, BDEV_IO_WRITE, 0, 0, 512, 'y');
		world_settle(&place.world);
		gate_bdev_release_all(place.gate, 0);
		assert_int_equal(io_request_finish(&place, &request), 0);
		assert_int_equal(world_finish(&place.world, &snapshot.call), 0);
		assert_int_equal(io_request_finish(&place, &after), 0);
		assert_int_equal(volume_show(&place.volumes, snapshot.result), 0);
		assert_true(holds(&place, snapshot.result, 0, 512, 'x'));
		assert_true(holds(&place, blob, 0, 512, 'y'));
		assert_true(holds(&place, blob, 512, CLUSTER, 'a'));
		io_place_close(&place);
	}
}

/* A chain that is being given one more volume, while its end waits in line to be deleted. */
struct line {
	struct blob *bottom, *middle, *top; /* the first two hidden */
	struct blob *joins;
	struct volume_call parent, end;
	struct io_request before, during;
};

static void line_make(struct io_place *place, struct line *line)
{
	line->top = written(place, 4);
	assert_int_equal(volume_snapshot(&place->volumes, line->top, &line->bottom), 0);
	assert_int_equal(volume_snapshot(&place->volumes, line->top, &line->middle), 0);
	volume_hide(&place->volumes, line->bottom);
	volume_hide(&place->volumes, line->middle);
	line->joins = created(place, 4);
	assert_int_equal(volume_write(&place->volumes, line->joins, 0, 0, CLUSTER, 'x'), 0);
}

/* Neither operation gets on before the volume's read has ended; another read comes and waits. */
static void line_begin(struct io_place *place, struct line *line)
{
	gate_bdev_hold_types(place->gate, 1u << BDEV_IO_READ);
	gate_bdev_hold(place->gate, true);
	io_request_begin(place, &line->before, line->joins, 0, BDEV_IO_READ, 0, 0, 512, 0);
	world_settle(&place->world);
	assert_int_equal(gate_bdev_held(place->gate), 1);
	volume_set_parent_begin(&place->volumes, line->joins, line->middle, &line->parent);
	volume_delete_begin(&place->volumes, line->bottom, &line->end);
	host_sleep(&place->world.host, MSEC_NS);
	io_request_begin(place, &line->during, line->joins, 0, BDEV_IO_READ, 0, CLUSTER, 512, 0);
	world_settle(&place->world);
	assert_int_equal(gate_bdev_held(place->gate), 1);
}

static void deleting_waits_for_who_came_to_stand_on_it_before_its_turn(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct line line = {0};
		struct io_place place;

		io_place_open(&place, seed, &usual);
		line_make(&place, &line);
		line_begin(&place, &line);
		gate_bdev_release(place.gate, 0, 0);
		assert_int_equal(io_request_finish(&place, &line.before), 0);
		assert_int_equal(world_finish(&place.world, &line.parent.call), 0);
		/* The other read is in the deleted snapshot's cluster now. */
		host_sleep(&place.world.host, 5 * MSEC_NS);
		assert_int_equal(gate_bdev_held(place.gate), 1);
		assert_false(atomic_load(&line.end.call.ended));
		gate_bdev_hold(place.gate, false);
		gate_bdev_release_all(place.gate, 0);
		assert_int_equal(io_request_finish(&place, &line.during), 0);
		assert_int_equal(world_finish(&place.world, &line.end.call), 0);
		assert_true(holds(&place, line.joins, 0, CLUSTER, 'x'));
		assert_true(holds(&place, line.joins, CLUSTER, 2 * CLUSTER, 'b'));
		io_place_close(&place);
	}
}

static void a_failure_below_is_the_requests_alone(void **state)
{
	struct bdev_io_stats above, below;
	struct io_place place;
	struct blob *blob;

	io_place_open(&place, 1, &usual);
	blob = written(&place, 2);
	gate_bdev_fail(place.gate, 1u << BDEV_IO_READ, 0, UINT64_MAX, -EIO, 1);
	assert_int_equal(io_request(&place, blob, 0, BDEV_IO_READ, 0, 0, 512, 0), -EIO);
	assert_int_equal(io_request(&place, blob, 0, BDEV_IO_READ, 0, 512, 1024, 0), 0);
	world_stats(&place.world, volume_channel(&place.volumes, blob, 0)->bdev, &above);
	world_stats(&place.world, gate_bdev_of(place.gate), &below);
	assert_int_equal(above.of[BDEV_IO_READ].ops, 2);
	assert_int_equal(above.of[BDEV_IO_READ].bytes, 1024);
	assert_int_equal(above.errors, 1);
	assert_int_equal(below.errors, 1);
	io_place_close(&place);
}

/* ---- many at once ------------------------------------------------------- */

/* Of the volume's first clusters every second was written before the snapshot, every third after:
 * some it has itself, some its parent, some nobody. */
#define MIXED 24

static int mixed_byte(unsigned cluster)
{
	if (cluster % 3 == 0)
		return 'A' + (int)cluster;
	return cluster % 2 == 0 ? 'a' + (int)cluster : 0;
}

static void requests_of_one_turn_find_each_its_own_cluster(void **state)
{
	struct io_request requests[MIXED];
	struct io_place place;
	struct blob *blob, *snapshot;

	io_place_open(&place, 1, &usual);
	blob = created(&place, MIXED);
	for (unsigned i = 0; i < MIXED; i += 2)
		assert_int_equal(
			volume_write(&place.volumes, blob, 0, i * CLUSTER, CLUSTER, 'a' + (int)i),
			0);
	assert_int_equal(volume_snapshot(&place.volumes, blob, &snapshot), 0);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < MIXED; i += 3)
			io_request_begin(&place, &requests[i], blob, 0, BDEV_IO_WRITE, 0,
				i * CLUSTER, CLUSTER, 'A' + (int)i);
		for (unsigned i = 0; i < MIXED; i += 3)
			assert_int_equal(io_request_finish(&place, &requests[i]), 0);
	}
	for (unsigned i = 0; i < MIXED; i++)
		io_request_begin(&place, &requests[i], blob, 0, BDEV_IO_READ, 0, i * CLUSTER,
			CLUSTER, IO_GARBAGE);
	for (unsigned i = 0; i < MIXED; i++) {
		const unsigned char *bytes = requests[i].iov.iov_base;

		assert_int_equal(world_finish(&place.world, &requests[i].call), 0);
		assert_int_equal(bytes[0], mixed_byte(i));
		assert_int_equal(bytes[CLUSTER - 1], mixed_byte(i));
		free(requests[i].iov.iov_base);
	}
	io_place_close(&place);
}

/* ---- volumes below ------------------------------------------------------ */

static void a_store_on_a_volume_holds_what_is_written(void **state)
{
	const struct blob_store_create_options create = {
		.bstype = "INNER", .cluster_size = CLUSTER, .clear_method = BLOBSTORE_CLEAR_NONE};
	const struct io_place_options large = {.base_bytes = 32 * MIB};
	struct volumes *inner = calloc(1, sizeof(*inner));
	struct blob *other, *outer, *blob;
	struct io_place place;

	assert_non_null(inner);
	io_place_open(&place, 1, &large);
	/* Volumes are shown by their numbers: the first of the inner store gets this one's. */
	assert_int_equal(volume_create(&place.volumes, 1, true, &other), 0);
	volume_hide(&place.volumes, other);
	assert_int_equal(volume_create(&place.volumes, 512, true, &outer), 0);
	assert_int_equal(volumes_create(inner, &place.world,
				 volume_channel(&place.volumes, outer, 0)->bdev, &create),
		0);
	assert_int_equal(volume_create(inner, 4, true, &blob), 0);
	for (unsigned reactor = 0; reactor < 2; reactor++)
		for (uint64_t i = 0; i < 8; i++)
			assert_int_equal(volume_write(inner, blob, reactor, i * CLUSTER / 2,
						 CLUSTER / 2, 'a' + (int)(i + reactor)),
				0);
	for (uint64_t i = 0; i < 8; i++)
		assert_true(
			volume_holds(inner, blob, i * CLUSTER / 2, CLUSTER / 2, 'a' + (int)i + 1));
	assert_int_equal(volumes_close(inner), 0);
	io_place_close(&place);
	free(inner);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_wait_for_a_lock_of_the_device_below),
		cmocka_unit_test(a_snapshot_has_what_was_under_way_below),
		cmocka_unit_test(deleting_waits_for_who_came_to_stand_on_it_before_its_turn),
		cmocka_unit_test(a_failure_below_is_the_requests_alone),
		cmocka_unit_test(requests_of_one_turn_find_each_its_own_cluster),
		cmocka_unit_test(a_store_on_a_volume_holds_what_is_written),
	};
	int failed;

	host_select(argc, argv);
	failed = cmocka_run_group_tests_name("small volumes", tests, NULL, NULL);
	behind = MANY;
	return failed + cmocka_run_group_tests_name("large volumes", tests, NULL, NULL);
}
