/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests for which a device has no space, by seed: its queue is paused, stopped, started again
 * and frozen at any moment, space comes in small amounts, and each request ends once. Only where it
 * cannot be otherwise it ends with an error: on a ring without a record that is stopped, and on a
 * packed one without a record.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "queue_world.h"

#define REQUESTS 64
#define HELD_MAX 64

enum status { PENDING = 0xee, GOOD = 1, NO_SPACE = 2 };

/* ---- the device: each request that writes takes some of its room ----------------------------- */

struct pool {
	struct queue_world *world;
	struct vq_request *held[HELD_MAX]; /* under way at the storage */
	unsigned held_count;
	uint64_t room;
	uint64_t tries;
	struct timer timer;
};

static void pool_answer(struct pool *pool, struct vq_request *request)
{
	uint8_t status = GOOD;
	uint8_t writes;

	assert_int_equal(vq_iov_read(request->iov, request->out_iovs, 0, &writes, 1), 1);
	pool->tries++;
	if (writes && pool->room == 0) {
		if (virtqueue_postpone(request))
			return;
		status = NO_SPACE;
	} else if (writes) {
		pool->room--;
	}
	if (!virtqueue_is_frozen(request->vq))
		vq_iov_write(request->iov + request->out_iovs, request->in_iovs, 0, &status, 1);
	virtqueue_push(request, 1);
}

static void pool_timer(struct timer *timer)
{
	struct pool *pool = container_of(timer, struct pool, timer);
	unsigned count = pool->held_count;

	pool->held_count = 0;
	for (unsigned i = 0; i < count; i++)
		pool_answer(pool, pool->held[i]);
}

static void pool_handle(struct vq_request *request)
{
	struct pool *pool = virtqueue_device(request->vq);

	if (sim_random(pool->world->sim, 3) == 0) {
		pool_answer(pool, request);
		return;
	}
	assert_true(pool->held_count < HELD_MAX);
	pool->held[pool->held_count++] = request;
	if (!timer_is_started(&pool->timer))
		timer_start(pool->world->data, &pool->timer,
			sim_random(pool->world->sim, 200 * USEC_NS));
}

static const struct virtqueue_ops pool_ops = {
	.request_size = sizeof(struct vq_request),
	.handle = pool_handle,
};

/* ---- the driver ------------------------------------------------------------------------------ */

struct driver {
	struct queue_world world;
	struct pool pool;
	struct world_options options;
	bool used[REQUESTS]; /* its two bytes of memory are */
	uint64_t added, ended, failed;
	bool paused;
};

static void driver_create(struct driver *d, uint64_t seed)
{
	struct sim *dice = sim_create(seed ^ 0x5eed);

	memset(d, 0, sizeof(*d));
	d->options = (struct world_options){
		.seed = seed,
		.size = 1u << (1 + sim_random(dice, 6)),
		.packed = sim_random(dice, 2),
		.event_idx = sim_random(dice, 2),
		.recorded = sim_random(dice, 2),
		.poll_mode = sim_random(dice, 2) ? POLL_ADAPTIVE : POLL_NEVER,
		.ops = &pool_ops,
		.device = &d->pool,
	};
	if (d->options.packed)
		d->options.base = 0x8000;
	assert_int_equal(sim_destroy(dice), 0);
	world_create(&d->world, &d->options);
	d->pool.world = &d->world;
	d->pool.timer.fired = pool_timer;
	world_start(&d->world);
}

static uint64_t request_gpa(unsigned index)
{
	return WORLD_DATA_GPA + (uint64_t)index * 16;
}

static void driver_add(struct driver *d, bool writes)
{
	unsigned index = (unsigned)sim_random(d->world.sim, REQUESTS);
	const struct fe_segment segments[2] = {
		{.gpa = request_gpa(index), .len = 1},
		{.gpa = request_gpa(index) + 1, .len = 1, .write = true},
	};
	struct fe_chain chain = {
		.segments = segments, .count = 2, .direct = 2, .token = &d->used[index]};
	uint8_t bytes[2] = {writes, PENDING};

	if (d->used[index])
		return;
	fe_memory_write(&d->world.memory, request_gpa(index), bytes, 2);
	if (fe_ring_add(d->world.ring, &chain, NULL))
		return;
	d->used[index] = true;
	d->added++;
}

static void driver_pop_all(struct driver *d)
{
	struct fe_completion completion;
	uint8_t status;
	int rc;

	while ((rc = fe_ring_pop(d->world.ring, &completion)) == 1) {
		bool *used = completion.token;

		assert_true(*used);
		*used = false;
		fe_memory_read(
			&d->world.memory, request_gpa((unsigned)(used - d->used)) + 1, &status, 1);
		assert_true(status == GOOD || status == NO_SPACE);
		d->failed += status == NO_SPACE;
		d->ended++;
	}
	if (rc < 0)
		fail_msg("%s", d->world.ring->fault);
}

/* ---- what happens to the queue --------------------------------------------------------------- */

static void driver_continue(struct driver *d)
{
	bool left = virtqueue_recovered(d->world.vq) > 0;

	world_start(&d->world);
	if (!left)
		return;
	world_repeat(&d->world);
	world_release(&d->world);
}

static void driver_restart(struct driver *d, bool freeze)
{
	if (freeze)
		world_freeze(&d->world);
	world_stop(&d->world);
	driver_pop_all(d);
	world_renew(&d->world, virtqueue_base(d->world.vq));
	driver_continue(d);
}

static void driver_pause(struct driver *d)
{
	world_pause(&d->world);
	world_run(&d->world, sim_random(d->world.sim, 100 * MSEC_NS));
	world_resume(&d->world);
}

static void driver_random_step(struct driver *d)
{
	switch (sim_random(d->world.sim, 12)) {
	case 0:
		driver_pause(d);
		break;
	case 1:
		driver_restart(d, d->options.recorded && sim_random(d->world.sim, 2));
		break;
	case 2:
		d->pool.room = sim_random(d->world.sim, 4);
		break;
	case 3:
		driver_pop_all(d);
		break;
	case 4:
	case 5:
		world_run(&d->world, sim_random(d->world.sim, 100 * MSEC_NS));
		break;
	default:
		driver_add(d, sim_random(d->world.sim, 4) != 0);
		world_publish(&d->world);
		world_run(&d->world, sim_random(d->world.sim, MSEC_NS));
	}
}

static bool all_have_ended(struct driver *d)
{
	for (unsigned i = 0; i < 100 && d->ended < d->added; i++) {
		world_run(&d->world, 50 * MSEC_NS);
		driver_pop_all(d);
	}
	return d->ended == d->added;
}

static void check_idle(struct driver *d)
{
	struct virtqueue_info info;

	virtqueue_get_info(d->world.vq, &info);
	assert_int_equal(info.in_flight, 0);
	assert_int_equal(info.postponed, 0);
	assert_false(info.broken);
}

static void each_ends_once_whatever_happens_to_its_queue(void **state)
{
	SIM_FOR_EACH_SEED(seed, 400)
	{
		struct driver d;

		driver_create(&d, seed);
		for (unsigned i = 0; i < 150; i++)
			driver_random_step(&d);
		d.pool.room = UINT64_MAX;
		assert_true(all_have_ended(&d));
		if (d.options.recorded)
			assert_int_equal(d.failed, 0);
		check_idle(&d);
		world_stop(&d.world);
		world_destroy(&d.world);
	}
}

/* Without space few are tried, and with some the whole line goes. */
static void little_is_done_in_vain_and_all_of_it_soon_when_there_is_space(void **state)
{
	SIM_FOR_EACH_SEED(seed, 60)
	{
		struct virtqueue_info info;
		struct driver d;
		uint64_t tries;

		driver_create(&d, seed);
		for (unsigned i = 0; i < REQUESTS; i++)
			driver_add(&d, true);
		world_publish(&d.world);
		world_run(&d.world, SEC_NS);
		driver_pop_all(&d);
		virtqueue_get_info(d.world.vq, &info);
		assert_int_equal(info.postponed, d.added - d.ended);
		tries = d.pool.tries;
		world_run(&d.world, 4 * SEC_NS);
		assert_true(d.pool.tries - tries <= 11 * ((info.postponed + 7) / 8));
		d.pool.room = UINT64_MAX;
		world_run(&d.world, 450 * MSEC_NS);
		driver_pop_all(&d);
		assert_int_equal(d.ended, d.added);
		check_idle(&d);
		world_stop(&d.world);
		world_destroy(&d.world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_ends_once_whatever_happens_to_its_queue),
		cmocka_unit_test(little_is_done_in_vain_and_all_of_it_soon_when_there_is_space),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
