/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Properties of a virtqueue, by seed: every chain arrives once with its bytes where the driver put
 * them, comes back once with what the device wrote, in any order; no wake-up is lost in either
 * direction; pause, stop and start lose nothing. Hostile drivers: test_hostile_driver.c.
 *
 * Bytes are a function of their guest-physical address, so that a buffer at the wrong place shows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "queue_world.h"
#include "spec/virtio_ring.h"

#define SLICE_BYTES   2003 /* of the data area for one chain; odd, so that one crosses the border */
#define SLICES        ((WORLD_DATA_SIZE - 16) / SLICE_BYTES)
#define SEGMENTS_MAX  24
#define SEGMENT_BYTES 80
#define HELD_MAX      512

/* ---- the device: checks what it is given, answers now or later, in random order -------------- */

struct echo_device {
	struct queue_world *world;
	struct vq_request *held[HELD_MAX];
	unsigned held_count;
	unsigned handled;
	bool hold; /* answer nothing until told */
	struct timer timer;
};

static uint8_t byte_out(uint64_t gpa)
{
	return (uint8_t)(gpa * 7 + (gpa >> 8) + 3);
}

static uint8_t byte_in(uint64_t gpa)
{
	return (uint8_t)~byte_out(gpa);
}

static void echo_check(struct echo_device *echo, const struct vq_request *request)
{
	uint64_t out = 0, in = 0;

	for (unsigned i = 0; i < request->out_iovs + request->in_iovs; i++) {
		const uint8_t *p = request->iov[i].iov_base;
		uint64_t gpa = fe_memory_gpa(&echo->world->memory, p);

		if (i >= request->out_iovs) {
			in += request->iov[i].iov_len;
			continue;
		}
		out += request->iov[i].iov_len;
		for (size_t j = 0; j < request->iov[i].iov_len; j++)
			assert_int_equal(p[j], byte_out(gpa + j));
	}
	assert_int_equal(out, request->out_bytes);
	assert_int_equal(in, request->in_bytes);
}

static void echo_answer(struct echo_device *echo, struct vq_request *request)
{
	uint64_t written =
		request->in_bytes ? sim_random(echo->world->sim, request->in_bytes + 1) : 0;
	uint64_t left = written;

	for (unsigned i = 0; i < request->in_iovs && left; i++) {
		const struct iovec *iov = &request->iov[request->out_iovs + i];
		uint64_t gpa = fe_memory_gpa(&echo->world->memory, iov->iov_base);
		uint8_t *p = iov->iov_base;

		for (size_t j = 0; j < iov->iov_len && left; j++, left--)
			p[j] = byte_in(gpa + j);
	}
	virtqueue_push(request, (uint32_t)written);
}

static void echo_answer_one(struct echo_device *echo)
{
	unsigned pick = (unsigned)sim_random(echo->world->sim, echo->held_count);
	struct vq_request *request = echo->held[pick];

	echo->held[pick] = echo->held[--echo->held_count];
	echo_answer(echo, request);
}

static void echo_timer(struct timer *timer)
{
	struct echo_device *echo = container_of(timer, struct echo_device, timer);
	unsigned count;

	if (echo->hold || echo->held_count == 0)
		return;
	count = 1 + (unsigned)sim_random(echo->world->sim, echo->held_count);
	while (count--)
		echo_answer_one(echo);
	if (echo->held_count)
		timer_start(echo->world->data, timer, sim_random(echo->world->sim, 40000));
}

static void echo_handle(struct vq_request *request)
{
	struct echo_device *echo = virtqueue_device(request->vq);

	echo->handled++;
	echo_check(echo, request);
	if (!echo->hold && sim_random(echo->world->sim, 3) == 0) {
		echo_answer(echo, request);
		return;
	}
	assert_true(echo->held_count < HELD_MAX);
	echo->held[echo->held_count++] = request;
	if (!echo->hold && !timer_is_started(&echo->timer))
		timer_start(echo->world->data, &echo->timer, sim_random(echo->world->sim, 40000));
}

static const struct virtqueue_ops echo_ops = {
	.request_size = sizeof(struct vq_request) + 8,
	.handle = echo_handle,
};

/* ---- the driver -------------------------------------------------------------------------- */

struct driver {
	struct queue_world world;
	struct echo_device echo;
	struct world_options options;
	bool slice_used[SLICES];
	struct slice {
		uint32_t in_bytes;
		uint32_t in_count;
		struct fe_segment in[SEGMENTS_MAX];
		unsigned index;
	} slices[SLICES];
	unsigned added, popped;
};

/* Packed rings have any size, and a wrap that comes soon without being aimed at. */
static void driver_draw_options(struct driver *d, uint64_t seed)
{
	struct sim *dice = sim_create(seed ^ 0x5eed);

	d->options = (struct world_options){
		.seed = seed,
		.size = 1u << sim_random(dice, 9),
		.packed = sim_random(dice, 2),
		.event_idx = sim_random(dice, 2),
		.indirect = sim_random(dice, 2),
		.base = (uint16_t)(sim_random(dice, 2) ? 65536 - sim_random(dice, 300) : 0),
		.poll_mode = (enum poll_mode)sim_random(dice, 3),
		.ops = &echo_ops,
		.device = &d->echo,
	};
	if (d->options.packed) {
		d->options.size -= (uint32_t)sim_random(dice, d->options.size / 2 + 1);
		d->options.base =
			(uint16_t)(sim_random(dice, 2) << 15 | sim_random(dice, d->options.size));
	}
	assert_int_equal(sim_destroy(dice), 0);
}

static void driver_create(struct driver *d, uint64_t seed)
{
	memset(d, 0, sizeof(*d));
	driver_draw_options(d, seed);
	world_create(&d->world, &d->options);
	d->echo.world = &d->world;
	d->echo.timer.fired = echo_timer;
	world_start(&d->world);
}

static void driver_fill(struct driver *d, const struct fe_segment *segment)
{
	uint8_t bytes[SEGMENT_BYTES];

	for (uint32_t i = 0; i < segment->len; i++)
		bytes[i] = byte_out(segment->gpa + i);
	assert_int_equal(fe_memory_write(&d->world.memory, segment->gpa, bytes, segment->len), 0);
}

/* A chain of random segments over a free slice; false when the ring or the slices are full. */
static bool driver_add(struct driver *d)
{
	struct fe_segment segments[SEGMENTS_MAX];
	struct sim *sim = d->world.sim;
	unsigned index = (unsigned)sim_random(sim, SLICES);
	struct slice *slice = &d->slices[index];
	uint64_t gpa = WORLD_DATA_GPA + index * SLICE_BYTES;
	uint32_t count = 1 + (uint32_t)sim_random(sim, SEGMENTS_MAX);
	uint32_t readable = (uint32_t)sim_random(sim, count + 1);
	struct fe_chain chain = {.segments = segments, .count = count, .direct = count};

	if (d->slice_used[index])
		return false;
	slice->in_bytes = 0;
	slice->in_count = 0;
	for (uint32_t i = 0; i < count; i++) {
		segments[i].gpa = gpa;
		segments[i].len = 1 + (uint32_t)sim_random(sim, SEGMENT_BYTES - 1);
		segments[i].write = i >= readable;
		driver_fill(d, &segments[i]);
		if (segments[i].write) {
			slice->in_bytes += segments[i].len;
			slice->in[slice->in_count++] = segments[i];
		}
		gpa += segments[i].len;
	}
	if (d->options.indirect && d->options.packed)
		chain.direct = sim_random(sim, 2) ? count : 0;
	else if (d->options.indirect)
		chain.direct = (uint32_t)sim_random(sim, count + 1);
	chain.indirect_write = sim_random(sim, 2);
	chain.token = slice;
	slice->index = index;
	if (fe_ring_add(d->world.ring, &chain, NULL))
		return false;
	d->slice_used[index] = true;
	d->added++;
	return true;
}

static void driver_check(struct driver *d, const struct fe_completion *completion)
{
	struct slice *slice = completion->token;
	uint32_t left = completion->len;

	assert_true(d->slice_used[slice->index]);
	d->slice_used[slice->index] = false;
	assert_true(completion->len <= slice->in_bytes);
	for (uint32_t i = 0; i < slice->in_count; i++) {
		uint8_t bytes[SEGMENT_BYTES];

		fe_memory_read(&d->world.memory, slice->in[i].gpa, bytes, slice->in[i].len);
		for (uint32_t j = 0; j < slice->in[i].len; j++) {
			uint64_t gpa = slice->in[i].gpa + j;

			assert_int_equal(bytes[j], left ? byte_in(gpa) : byte_out(gpa));
			left -= left > 0;
		}
	}
	d->popped++;
}

static void driver_pop_all(struct driver *d)
{
	struct fe_completion completion;
	int rc;

	while ((rc = fe_ring_pop(d->world.ring, &completion)) == 1)
		driver_check(d, &completion);
	if (rc < 0)
		fail_msg("%s", d->world.ring->fault);
}

/* Sleeps as a driver does: asks for an interrupt, looks again, believes nothing but the call. */
static void driver_sleep(struct driver *d)
{
	unsigned calls = d->world.calls;

	if (d->popped == d->added || fe_ring_interrupts(d->world.ring, true))
		return;
	assert_true(world_wait_call(&d->world, calls));
	fe_ring_interrupts(d->world.ring, false);
}

static void driver_finish(struct driver *d)
{
	world_publish(&d->world);
	while (d->popped < d->added) {
		driver_sleep(d);
		driver_pop_all(d);
	}
	assert_int_equal(d->echo.handled, d->added);
}

static void driver_random_step(struct driver *d)
{
	switch (sim_random(d->world.sim, 6)) {
	case 0:
	case 1:
		for (unsigned i = (unsigned)sim_random(d->world.sim, 8); i; i--)
			driver_add(d);
		break;
	case 2:
		world_publish(&d->world);
		break;
	case 3:
		world_run(&d->world, sim_random(d->world.sim, 300000));
		break;
	case 4:
		driver_pop_all(d);
		break;
	case 5:
		world_publish(&d->world);
		driver_sleep(d);
		break;
	}
}

/* ---- tests ------------------------------------------------------------------------------- */

static void chains_arrive_once_and_come_back_once_in_any_order(void **state)
{
	SIM_FOR_EACH_SEED(seed, 150)
	{
		struct driver *d = malloc(sizeof(*d));

		driver_create(d, seed);
		for (unsigned i = 0; i < 200; i++)
			driver_random_step(d);
		driver_finish(d);
		world_stop(&d->world);
		assert_int_equal(virtqueue_base(d->world.vq), fe_ring_base(d->world.ring));
		if (!d->options.packed)
			assert_int_equal(virtqueue_base(d->world.vq),
				(uint16_t)(d->options.base + d->added));
		world_destroy(&d->world);
		free(d);
	}
}

static void pause_stop_and_start_lose_nothing(void **state)
{
	SIM_FOR_EACH_SEED(seed, 60)
	{
		struct driver *d = malloc(sizeof(*d));

		driver_create(d, seed);
		for (unsigned i = 0; i < 150; i++) {
			driver_random_step(d);
			switch (sim_random(d->world.sim, 12)) {
			case 0:
				world_pause(&d->world);
				world_publish(&d->world); /* its kick must not be lost */
				world_resume(&d->world);
				break;
			case 1:
				world_stop(&d->world);
				driver_pop_all(d);
				assert_int_equal(d->echo.held_count, 0);
				assert_int_equal(
					virtqueue_base(d->world.vq), fe_ring_base(d->world.ring));
				world_start(&d->world);
				break;
			}
		}
		driver_finish(d);
		world_stop(&d->world);
		world_destroy(&d->world);
		free(d);
	}
}

static void a_paused_queue_touches_nothing(void **state)
{
	struct driver *d = malloc(sizeof(*d));
	unsigned handled;

	driver_create(d, 7);
	driver_add(d);
	driver_finish(d);
	world_pause(&d->world);
	handled = d->echo.handled;
	while (!driver_add(d))
		;
	fe_ring_publish(d->world.ring);
	fe_ring_kick_always(d->world.ring);
	d->world.os->ops->event_signal(d->world.os, d->world.kick_fd);
	world_run(&d->world, 10 * MSEC_NS);
	assert_int_equal(d->echo.handled, handled);
	world_resume(&d->world);
	driver_finish(d);
	world_stop(&d->world);
	world_destroy(&d->world);
	free(d);
}

static void a_stop_waits_for_what_is_in_flight(void **state)
{
	struct driver *d = malloc(sizeof(*d));

	driver_create(d, 11);
	d->echo.hold = true;
	while (!driver_add(d))
		;
	world_publish(&d->world);
	world_run(&d->world, MSEC_NS);
	assert_int_equal(d->echo.held_count, 1);
	world_stop_begin(&d->world);
	world_run(&d->world, 100 * MSEC_NS);
	assert_false(d->world.answered);
	d->echo.hold = false;
	timer_start(d->world.data, &d->echo.timer, 1000); /* its reactor sleeps: nobody races */
	d->world.os->ops->ring_wake(d->world.data->ring);
	world_run(&d->world, 100 * MSEC_NS);
	assert_true(d->world.answered);
	driver_pop_all(d);
	assert_int_equal(d->popped, 1);
	world_destroy(&d->world);
	free(d);
}

static void a_frozen_queue_writes_nothing_and_signals_nobody(void **state)
{
	struct driver *d = malloc(sizeof(*d));
	unsigned calls;

	for (uint64_t seed = 1; seed < 20; seed++) {
		driver_create(d, seed);
		d->echo.hold = true;
		while (!driver_add(d))
			;
		world_publish(&d->world);
		world_run(&d->world, MSEC_NS);
		world_freeze(&d->world);
		calls = d->world.calls;
		world_stop_begin(&d->world);
		d->echo.hold = false;
		timer_start(d->world.data, &d->echo.timer, 1000);
		d->world.os->ops->ring_wake(d->world.data->ring);
		world_run(&d->world, 100 * MSEC_NS);
		assert_true(d->world.answered);
		assert_int_equal(d->world.calls, calls);
		assert_false(fe_ring_ready(d->world.ring));
		world_destroy(&d->world);
	}
	free(d);
}

static void a_frozen_queue_fetches_nothing(void **state)
{
	struct driver *d = malloc(sizeof(*d));
	unsigned handled;

	for (uint64_t seed = 1; seed < 20; seed++) {
		driver_create(d, seed);
		while (!driver_add(d))
			;
		world_freeze(&d->world);
		handled = d->echo.handled;
		world_publish(&d->world);
		world_run(&d->world, 10 * MSEC_NS);
		assert_int_equal(d->echo.handled, handled);
		world_stop(&d->world);
		world_destroy(&d->world);
	}
	free(d);
}

/* ---- kicks ------------------------------------------------------------------------------- */

#define SLOW_ANSWER_NS (100 * USEC_NS) /* longer than a queue stays hot for nothing */

/* As a disk that takes its time, and a guest that sends the next request as soon as it has the
 * answer: a kick costs that guest an exit. */
struct slow_device {
	struct queue_world *world;
	struct vq_request *request;
	struct timer timer;
};

static void slow_answer(struct timer *timer)
{
	virtqueue_push(container_of(timer, struct slow_device, timer)->request, 0);
}

static void slow_handle(struct vq_request *request)
{
	struct slow_device *slow = virtqueue_device(request->vq);

	slow->request = request;
	timer_start(slow->world->data, &slow->timer, SLOW_ANSWER_NS);
}

static const struct virtqueue_ops slow_ops = {
	.request_size = sizeof(struct vq_request),
	.handle = slow_handle,
};

static void a_queue_that_expects_the_next_request_asks_for_no_kick(void **state)
{
	for (unsigned format = 0; format < 4; format++) {
		struct queue_world world;
		struct slow_device slow = {.world = &world, .timer.fired = slow_answer};
		const struct world_options options = {.seed = 1,
			.size = 8,
			.packed = format & 2,
			.base = format & 2 ? 0x8000 : 0,
			.event_idx = format & 1,
			.ops = &slow_ops,
			.device = &slow};
		const struct fe_segment segment = {.gpa = WORLD_DATA_GPA, .len = 16};
		const struct fe_chain chain = {.segments = &segment, .count = 1, .direct = 1};
		struct fe_completion completion;

		world_create(&world, &options);
		world_start(&world);
		for (unsigned i = 0; i < 200; i++) {
			assert_int_equal(fe_ring_add(world.ring, &chain, NULL), 0);
			world_publish(&world);
			assert_true(world_wait_ready(&world));
			assert_int_equal(fe_ring_pop(world.ring, &completion), 1);
		}
		assert_true(world.ring->kicks < 20);
		world_stop(&world);
		world_destroy(&world);
	}
}

/* ---- a turn is short --------------------------------------------------------------------- */

#define LONG_CHAIN 900u

struct turn_counter {
	struct queue_world *world;
	uint64_t turn;
	unsigned in_turn, most_in_turn, handled;
	struct vq_request *first; /* handled */
};

static void turn_counter_handle(struct vq_request *request)
{
	struct turn_counter *counter = virtqueue_device(request->vq);
	struct reactor_stats stats;

	reactor_get_stats(counter->world->data, &stats);
	if (stats.turns != counter->turn)
		counter->in_turn = 0;
	counter->turn = stats.turns;
	if (counter->handled++ == 0)
		counter->first = request;
	if (++counter->in_turn > counter->most_in_turn)
		counter->most_in_turn = counter->in_turn;
	virtqueue_push(request, 0);
}

static const struct virtqueue_ops turn_counter_ops = {
	.request_size = sizeof(struct vq_request),
	.handle = turn_counter_handle,
};

/* A hundred heads that share one long tail of descriptors with a byte each: few bytes, and much to
 * read. */
static void long_chains_of_few_bytes_do_not_make_a_turn_long(void **state)
{
	struct queue_world world;
	struct turn_counter counter = {.world = &world};
	const struct world_options options = {
		.seed = 1, .size = 1024, .ops = &turn_counter_ops, .device = &counter};

	world_create(&world, &options);
	for (uint32_t i = 0; i < LONG_CHAIN; i++)
		fe_ring_poke_desc(world.ring, i, WORLD_DATA_GPA, 1,
			i + 1 < LONG_CHAIN ? VRING_DESC_F_NEXT : 0, (uint16_t)(i + 1));
	for (uint32_t i = 0; i < 100; i++) {
		fe_ring_poke_desc(
			world.ring, LONG_CHAIN + i, WORLD_DATA_GPA, 1, VRING_DESC_F_NEXT, 0);
		fe_ring_poke_avail(world.ring, (uint16_t)i, (uint16_t)(LONG_CHAIN + i));
	}
	fe_ring_poke_avail_idx(world.ring, 100);
	world_start(&world);
	world_run(&world, 100 * MSEC_NS);
	assert_int_equal(counter.handled, 100);
	assert_true(counter.most_in_turn <= 20);
	world_stop(&world);
	world_destroy(&world);
}

#define MANY_ENTRIES 32768u

/* How many of its pages are there. */
static size_t count_resident(void *start, size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *from = (uint8_t *)((uintptr_t)start & ~(page - 1));
	size_t pages = ((size_t)((uint8_t *)start - from) + bytes + page - 1) / page;
	unsigned char *present = malloc(pages);
	size_t count = 0;

	assert_non_null(present);
	assert_int_equal(mincore(from, pages * page, present), 0);
	for (size_t i = 0; i < pages; i++)
		count += present[i] & 1;
	free(present);
	return count;
}

/* A thousand idle queues shall fit into little memory: a request's pages are there from its first
 * use on. */
static void a_queue_of_many_entries_takes_memory_only_for_those_in_use(void **state)
{
	struct queue_world world;
	struct turn_counter counter = {.world = &world};
	const struct world_options options = {
		.seed = 1, .size = MANY_ENTRIES, .ops = &turn_counter_ops, .device = &counter};
	size_t stride = align_up(sizeof(struct vq_request), CACHE_LINE);

	world_create(&world, &options);
	world_start(&world);
	fe_ring_poke_desc(world.ring, 7, WORLD_DATA_GPA, 1, 0, 0);
	fe_ring_poke_avail(world.ring, 0, 7);
	fe_ring_poke_avail_idx(world.ring, 1);
	world_run(&world, 100 * MSEC_NS);
	assert_int_equal(counter.handled, 1);
	assert_in_range(
		count_resident((uint8_t *)counter.first - 7 * stride, MANY_ENTRIES * stride), 1, 8);
	world_stop(&world);
	world_destroy(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains_arrive_once_and_come_back_once_in_any_order),
		cmocka_unit_test(pause_stop_and_start_lose_nothing),
		cmocka_unit_test(a_paused_queue_touches_nothing),
		cmocka_unit_test(a_stop_waits_for_what_is_in_flight),
		cmocka_unit_test(a_frozen_queue_writes_nothing_and_signals_nobody),
		cmocka_unit_test(a_frozen_queue_fetches_nothing),
		cmocka_unit_test(a_queue_that_expects_the_next_request_asks_for_no_kick),
		cmocka_unit_test(long_chains_of_few_bytes_do_not_make_a_turn_long),
		cmocka_unit_test(a_queue_of_many_entries_takes_memory_only_for_those_in_use),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
