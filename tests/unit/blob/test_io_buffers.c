/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory that first writes over a snapshot copy through: bounded, shared fairly, given back.
 */
#include "io_place.h"

#include <errno.h>
#include <string.h>

#define CLUSTER   MIB
#define BASE      (160 * MIB)
#define CLUSTERS  40u /* of the volume */
#define AT_A_TIME 16u /* that find a buffer */

struct crowd {
	struct io_place place;
	struct blob *blob;
	struct io_request requests[CLUSTERS];
	bool writes[CLUSTERS]; /* that have not ended with an error */
};

static void crowd_open(struct crowd *crowd, uint64_t seed)
{
	struct blob *snapshot;

	memset(crowd, 0, sizeof(*crowd));
	io_place_open(&crowd->place, seed,
		&(struct io_place_options){.base_bytes = BASE, .cluster_size = CLUSTER});
	assert_int_equal(volume_create(&crowd->place.volumes, CLUSTERS, false, &crowd->blob), 0);
	assert_int_equal(volume_snapshot(&crowd->place.volumes, crowd->blob, &snapshot), 0);
	for (unsigned i = 0; i < WORLD_REACTORS; i++)
		volume_channel(&crowd->place.volumes, crowd->blob, i);
	gate_bdev_forget(crowd->place.gate);
	gate_bdev_hold_types(crowd->place.gate, 1u << BDEV_IO_READ);
	gate_bdev_hold(crowd->place.gate, true);
}

static void crowd_close(struct crowd *crowd)
{
	gate_bdev_hold(crowd->place.gate, false);
	gate_bdev_release_all(crowd->place.gate, 0);
	for (unsigned i = 0; i < CLUSTERS; i++)
		if (crowd->writes[i])
			assert_int_equal(io_request_finish(&crowd->place, &crowd->requests[i]), 0);
	for (unsigned i = 0; i < CLUSTERS; i++)
		assert_true(volume_holds(&crowd->place.volumes, crowd->blob, i * CLUSTER, 4096,
			crowd->writes[i] ? 'x' : 0));
	io_place_close(&crowd->place);
}

/* At the beginning of its cluster: one read. */
static void crowd_write(struct crowd *crowd, unsigned nth, unsigned reactor)
{
	io_request_begin(&crowd->place, &crowd->requests[nth], crowd->blob, reactor, BDEV_IO_WRITE,
		0, nth * CLUSTER, 4096, 'x');
	crowd->writes[nth] = true;
}

struct wanted {
	struct gate_bdev *gate;
	unsigned held;
};

static bool so_many_are_held(void *arg)
{
	const struct wanted *wanted = arg;

	return gate_bdev_held(wanted->gate) == wanted->held;
}

/* Not more either, when there was time. */
static void assert_held(struct crowd *crowd, unsigned held)
{
	struct wanted wanted = {crowd->place.gate, held};

	assert_true(host_wait(&crowd->place.world.host, so_many_are_held, &wanted));
	host_sleep(&crowd->place.world.host, 5 * MSEC_NS);
	assert_int_equal(gate_bdev_held(crowd->place.gate), held);
}

static void first_writes_copy_through_so_many_buffers_and_the_others_wait(void **state)
{
	HOST_FOR_EACH_SEED(seed, 3)
	{
		struct crowd crowd;

		crowd_open(&crowd, seed);
		for (unsigned i = 0; i < CLUSTERS; i++)
			crowd_write(&crowd, i, 0);
		assert_held(&crowd, AT_A_TIME);
		crowd_close(&crowd);
	}
}

static void who_waits_longest_for_a_buffer_has_it_first(void **state)
{
	struct gate_record first, next;
	struct crowd crowd;

	crowd_open(&crowd, 1);
	for (unsigned i = 0; i < CLUSTERS; i++) {
		crowd_write(&crowd, i, 0);
		if (i < AT_A_TIME)
			assert_held(&crowd, i + 1);
	}
	gate_bdev_held_at(crowd.place.gate, 0, &first);
	for (unsigned i = AT_A_TIME; i < CLUSTERS; i++) {
		gate_bdev_release(crowd.place.gate, 0, 0);
		assert_held(&crowd, AT_A_TIME);
		gate_bdev_held_at(crowd.place.gate, AT_A_TIME - 1, &next);
		assert_int_equal(next.offset - first.offset, i * CLUSTER);
	}
	crowd_close(&crowd);
}

static void each_reactor_has_buffers_of_its_own(void **state)
{
	struct crowd crowd;

	crowd_open(&crowd, 1);
	for (unsigned i = 0; i < CLUSTERS - 1; i++)
		crowd_write(&crowd, i, 0);
	assert_held(&crowd, AT_A_TIME);
	crowd_write(&crowd, CLUSTERS - 1, 1);
	assert_held(&crowd, AT_A_TIME + 1);
	crowd_close(&crowd);
}

static void a_write_that_fails_gives_its_buffer_to_the_next(void **state)
{
	struct crowd crowd;
	unsigned failed = 0;

	crowd_open(&crowd, 1);
	for (unsigned i = 0; i < CLUSTERS; i++)
		crowd_write(&crowd, i, 0);
	assert_held(&crowd, AT_A_TIME);
	gate_bdev_release_all(crowd.place.gate, -EIO);
	assert_held(&crowd, AT_A_TIME);
	for (unsigned i = 0; i < AT_A_TIME; i++) {
		failed += io_request_finish(&crowd.place, &crowd.requests[i]) == -EIO;
		crowd.writes[i] = false;
	}
	assert_int_equal(failed, AT_A_TIME);
	crowd_close(&crowd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_writes_copy_through_so_many_buffers_and_the_others_wait),
		cmocka_unit_test(who_waits_longest_for_a_buffer_has_it_first),
		cmocka_unit_test(each_reactor_has_buffers_of_its_own),
		cmocka_unit_test(a_write_that_fails_gives_its_buffer_to_the_next),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
