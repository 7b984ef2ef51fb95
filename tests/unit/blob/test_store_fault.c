/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each request of creating, loading, closing and growing a store fails once, and at each the device
 * goes away: the operation ends, leaves nothing behind, and can be repeated.
 */
#include "store_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIZE    (32 * MIB)
#define CLUSTER (16 * KIB)
#define ANY     ((1u << BDEV_IO_TYPES) - 1)

static const struct gate_bdev_options disk = {
	.name = "disk", .size_bytes = SIZE, .block_size = 512, .physical_block_size = 4096};

static void creating_fails_at_each_request_and_is_repeated(void **state)
{
	bool failed = true;

	for (unsigned nth = 0; failed; nth++) {
		struct store_world sw;

		store_world_start(&sw, nth, &disk);
		gate_bdev_fail_nth(sw.gate, ANY, nth, -EIO);
		failed = store_world_create(&sw, CLUSTER) != 0;
		assert_int_equal(failed, gate_bdev_fail_nth(sw.gate, 0, 0, 0));
		if (failed) {
			assert_string_not_equal(sw.volumes.reason.text, "");
			assert_int_equal(store_world_create(&sw, CLUSTER), 0);
		}
		store_world_fill(&sw, CLUSTER);
		store_world_check(&sw, CLUSTER);
		assert_int_equal(store_world_close(&sw), 0);
		store_world_end(&sw);
		assert_true(nth < 100);
	}
}

/* An older store on the device is there whole, or gone; there may be the new one, empty. */
static void creating_over_a_store_never_leaves_half_of_it(void **state)
{
	bool failed = true;

	for (unsigned nth = 0; failed; nth++) {
		struct store_world sw;
		int rc;

		store_world_start(&sw, nth, &disk);
		assert_int_equal(store_world_create(&sw, CLUSTER), 0);
		store_world_fill(&sw, CLUSTER);
		assert_int_equal(store_world_close(&sw), 0);
		gate_bdev_fail_nth(sw.gate, ANY, nth, -EIO);
		failed = store_world_create(&sw, CLUSTER) != 0;
		assert_int_equal(failed, gate_bdev_fail_nth(sw.gate, 0, 0, 0));
		rc = failed ? store_world_load(&sw) : 0;
		assert_true(rc == 0 || rc == -EILSEQ);
		if (rc == 0 && nth == 0)
			store_world_check(&sw, CLUSTER);
		else if (rc == 0)
			assert_int_equal(volumes_count(&sw.volumes), 0);
		if (rc == 0)
			assert_int_equal(store_world_close(&sw), 0);
		store_world_end(&sw);
	}
}

static void loading_fails_at_each_request_and_is_repeated(void **state)
{
	for (unsigned clean = 0; clean < 2; clean++) {
		struct store_world sw;
		bool failed = true;

		store_world_start(&sw, 1, &disk);
		assert_int_equal(store_world_create(&sw, CLUSTER), 0);
		store_world_fill(&sw, CLUSTER);
		if (clean)
			assert_int_equal(store_world_close(&sw), 0);
		else
			store_world_kill(&sw);
		for (unsigned nth = 0; failed; nth++) {
			gate_bdev_fail_nth(sw.gate, ANY, nth, -EIO);
			if (store_world_load(&sw) == 0) {
				/* Masks are not needed; a piece is tried again. */
				failed = gate_bdev_fail_nth(sw.gate, 0, 0, 0);
				store_world_check(&sw, CLUSTER);
				if (clean && !failed) {
					assert_int_equal(store_world_close(&sw), 0);
				} else {
					store_world_kill(&sw);
					disk_set_clean(&sw, clean);
				}
			} else {
				assert_true(gate_bdev_fail_nth(sw.gate, 0, 0, 0));
				assert_string_not_equal(sw.volumes.reason.text, "");
			}
			assert_true(nth < 200);
		}
		store_world_end(&sw);
	}
}

static void closing_fails_at_each_request_and_the_next_load_recovers(void **state)
{
	bool failed = true;

	for (unsigned nth = 0; failed; nth++) {
		struct store_world sw;

		store_world_start(&sw, nth, &disk);
		assert_int_equal(store_world_create(&sw, CLUSTER), 0);
		store_world_fill(&sw, CLUSTER);
		host_sleep(&sw.world.host, 100 * MSEC_NS); /* for what is being released */
		volumes_hide_all(&sw.volumes);
		gate_bdev_fail_nth(sw.gate, ANY, nth, -EIO);
		failed = store_world_close(&sw) != 0;
		assert_int_equal(failed, gate_bdev_fail_nth(sw.gate, 0, 0, 0));
		assert_int_equal(store_world_load(&sw), 0);
		store_world_check(&sw, CLUSTER);
		assert_int_equal(store_world_close(&sw), 0);
		assert_int_equal(store_world_load(&sw), 0);
		store_world_check(&sw, CLUSTER);
		assert_int_equal(store_world_close(&sw), 0);
		store_world_end(&sw);
		assert_true(nth < 100);
	}
}

static void growing_fails_at_each_request_and_is_repeated(void **state)
{
	bool failed = true;

	for (unsigned nth = 0; failed; nth++) {
		struct blob_store_info before, after;
		struct store_world sw;
		int rc;

		store_world_start(&sw, nth, &disk);
		world_set_size(&sw.world, sw.base, SIZE - 2 * MIB);
		assert_int_equal(store_world_create(&sw, CLUSTER), 0);
		store_world_fill(&sw, CLUSTER);
		volumes_info(&sw.volumes, &before);
		world_set_size(&sw.world, sw.base, SIZE);
		gate_bdev_fail_nth(sw.gate, ANY, nth, -EIO);
		rc = volumes_grow(&sw.volumes);
		failed = gate_bdev_fail_nth(sw.gate, 0, 0, 0);
		assert_int_equal(failed, rc != 0);
		volumes_info(&sw.volumes, &after);
		assert_int_equal(after.total_data_clusters - before.total_data_clusters,
			failed ? 0 : 2 * MIB / CLUSTER);
		store_world_kill(&sw);
		assert_int_equal(store_world_load(&sw), 0);
		store_world_check(&sw, CLUSTER);
		assert_int_equal(volumes_grow(&sw.volumes), 0);
		volumes_info(&sw.volumes, &after);
		assert_int_equal(
			after.total_data_clusters - before.total_data_clusters, 2 * MIB / CLUSTER);
		assert_int_equal(after.free_clusters - before.free_clusters, 2 * MIB / CLUSTER);
		assert_int_equal(store_world_close(&sw), 0);
		store_world_end(&sw);
		assert_true(nth < 100);
	}
}

/* ---- the device goes ---------------------------------------------------- */

enum operation { CREATE, LOAD_CLEAN, LOAD_KILLED, CLOSE, OPERATIONS };

struct removal {
	struct store_world sw;
	struct world_call call; /* the operation */
	struct world_call unregister;
	enum operation operation;
};

static void run_operation(struct world_call *call)
{
	struct removal *removal = container_of(call, struct removal, call);
	struct volumes *volumes = &removal->sw.volumes;
	static const struct blob_store_create_options options = {
		.bstype = "TEST", .cluster_size = CLUSTER};

	switch (removal->operation) {
	case CREATE:
		blob_store_create(volumes->base, &options, NULL, &volumes->reason, &volumes->store,
			world_done, call);
		return;
	case CLOSE:
		blob_store_close(volumes->store, world_done, call);
		return;
	default:
		blob_store_load(volumes->base, NULL, NULL, &volumes->reason, &volumes->store,
			world_done, call);
		return;
	}
}

static void removal_prepare(struct removal *removal, uint64_t seed)
{
	struct store_world *sw = &removal->sw;

	store_world_start(sw, seed, &disk);
	assert_int_equal(store_world_create(sw, CLUSTER), 0);
	store_world_fill(sw, CLUSTER);
	switch (removal->operation) {
	case LOAD_KILLED:
		store_world_kill(sw);
		break;
	case CLOSE:
		volumes_hide_all(&sw->volumes);
		host_sleep(&sw->world.host, 100 * MSEC_NS);
		break;
	default:
		assert_int_equal(store_world_close(sw), 0);
		break;
	}
}

/* false: it has ended before. */
static bool removal_step_to(struct removal *removal, unsigned nth)
{
	struct store_world *sw = &removal->sw;

	for (unsigned step = 0;; step++) {
		for (unsigned naps = 0; !gate_bdev_held(sw->gate); naps++) {
			if (atomic_load(&removal->call.ended))
				return false;
			assert_true(naps < 1000);
			host_sleep(&sw->world.host, MSEC_NS / 10);
		}
		if (step == nth)
			return true;
		gate_bdev_release(sw->gate, 0, 0);
	}
}

static bool remove_at(enum operation operation, unsigned nth)
{
	struct removal removal = {.operation = operation};
	struct store_world *sw = &removal.sw;
	bool reached;

	removal_prepare(&removal, nth);
	gate_bdev_hold(sw->gate, true);
	removal.call.run = run_operation;
	world_begin(&sw->world, sw->world.control, &removal.call);
	reached = removal_step_to(&removal, nth);
	removal.unregister = (struct world_call){.run = world_unregister_run, .bdev = sw->base};
	world_begin(&sw->world, sw->world.control, &removal.unregister);
	gate_bdev_hold(sw->gate, false);
	if (nth % 2)
		host_sleep(&sw->world.host, MSEC_NS); /* the channel has heard of it, or not */
	gate_bdev_release_all(sw->gate, 0);
	if (world_finish(&sw->world, &removal.call) == 0 && operation != CLOSE)
		assert_int_equal(volumes_close(&sw->volumes), 0);
	assert_int_equal(world_finish(&sw->world, &removal.unregister), 0);
	sw->base = NULL;
	store_world_end(sw);
	return reached;
}

static void the_device_may_go_at_each_request(void **state)
{
	for (enum operation operation = 0; operation < OPERATIONS; operation++) {
		unsigned nth = 0;

		while (remove_at(operation, nth))
			nth++;
		assert_true(nth > 2);
	}
}

static void run_unregister_wait(struct world_call *call)
{
	world_unregister_run(call);
}

static void a_store_without_its_device_closes_and_is_recovered_later(void **state)
{
	struct world_call unregister = {.run = run_unregister_wait};
	struct gate_record record;
	struct store_world sw;
	unsigned before;

	store_world_start(&sw, 1, &disk);
	assert_int_equal(store_world_create(&sw, CLUSTER), 0);
	store_world_fill(&sw, CLUSTER);
	volumes_hide_all(&sw.volumes);
	host_sleep(&sw.world.host, 100 * MSEC_NS);
	before = gate_bdev_record_count(sw.gate);
	unregister.bdev = sw.base;
	world_begin(&sw.world, sw.world.control, &unregister);
	assert_true(host_wait_flag(&sw.world.host, &sw.volumes.removed));
	assert_int_equal(store_world_close(&sw), 0);
	assert_int_equal(world_finish(&sw.world, &unregister), 0);
	for (unsigned i = before; i < gate_bdev_record_count(sw.gate); i++) {
		gate_bdev_record_at(sw.gate, i, &record);
		assert_int_equal(record.type, BDEV_IO_READ);
	}
	store_world_register(&sw);
	assert_int_equal(store_world_load(&sw), 0);
	store_world_check(&sw, CLUSTER);
	assert_int_equal(store_world_close(&sw), 0);
	store_world_end(&sw);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(creating_fails_at_each_request_and_is_repeated),
		cmocka_unit_test(creating_over_a_store_never_leaves_half_of_it),
		cmocka_unit_test(loading_fails_at_each_request_and_is_repeated),
		cmocka_unit_test(closing_fails_at_each_request_and_the_next_load_recovers),
		cmocka_unit_test(growing_fails_at_each_request_and_is_repeated),
		cmocka_unit_test(the_device_may_go_at_each_request),
		cmocka_unit_test(a_store_without_its_device_closes_and_is_recovered_later),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
