/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupt coalescing on the simulated clock: how many signals a driver gets at which rate, and
 * that the last one always comes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "queue_world.h"

#define THRESHOLD 20000

/* A device that answers at once. */
static void answer(struct vq_request *request)
{
	virtqueue_push(request, 0);
}

static const struct virtqueue_ops answer_ops = {
	.request_size = sizeof(struct vq_request),
	.handle = answer,
};

struct driver {
	struct queue_world world;
	unsigned added, popped;
	unsigned calls; /* that it has taken note of */
};

static void driver_start(struct driver *driver, uint64_t seed, bool packed, bool event_idx)
{
	const struct world_options options = {
		.seed = seed,
		.size = 128,
		.packed = packed,
		.event_idx = event_idx,
		.ops = &answer_ops,
	};

	memset(driver, 0, sizeof(*driver));
	world_create(&driver->world, &options);
	world_start(&driver->world);
	world_run(&driver->world, MSEC_NS);
	driver->calls = driver->world.calls;
	fe_ring_interrupts(driver->world.ring, true);
}

static void driver_end(struct driver *driver)
{
	world_stop(&driver->world);
	world_destroy(&driver->world);
}

static void driver_send(struct driver *driver)
{
	const struct fe_segment segment = {.gpa = WORLD_DATA_GPA, .len = 16};
	const struct fe_chain chain = {
		.segments = &segment, .count = 1, .direct = 1, .token = driver};

	assert_int_equal(fe_ring_add(driver->world.ring, &chain, NULL), 0);
	driver->added++;
	world_publish(&driver->world);
}

static void driver_pop(struct driver *driver)
{
	struct fe_completion completion;
	int rc;

	while ((rc = fe_ring_pop(driver->world.ring, &completion)) == 1)
		driver->popped++;
	assert_int_equal(rc, 0);
}

/* As an interrupt handler: looks at the ring only when it was called. */
static void driver_handle_calls(struct driver *driver)
{
	if (driver->world.calls == driver->calls)
		return;
	driver->calls = driver->world.calls;
	do
		driver_pop(driver);
	while (fe_ring_interrupts(driver->world.ring, true));
}

/* One request every gap_ns for so long; the calls meanwhile. */
static unsigned driver_run(struct driver *driver, uint64_t gap_ns, uint64_t for_ns)
{
	unsigned before = driver->world.calls;

	for (uint64_t ns = 0; ns < for_ns; ns += gap_ns) {
		if (driver->added - driver->popped < 100)
			driver_send(driver);
		world_run(&driver->world, gap_ns);
		driver_handle_calls(driver);
	}
	return driver->world.calls - before;
}

static void assert_all_heard(struct driver *driver, uint64_t within_ns)
{
	world_run(&driver->world, within_ns);
	driver_handle_calls(driver);
	assert_int_equal(driver->popped, driver->added);
}

static void below_the_threshold(void **state)
{
	struct driver driver;
	unsigned calls;

	driver_start(&driver, 1, false, true);
	virtqueue_set_coalescing(driver.world.vq, 50, THRESHOLD);
	calls = driver_run(&driver, 100 * USEC_NS, 50 * MSEC_NS);
	assert_int_equal(calls, 500);
	driver_end(&driver);
}

static uint64_t driver_now(struct driver *driver)
{
	return driver->world.os->ops->now_ns(driver->world.os);
}

/* About 100,000 a second, five times the threshold: 50 us * 4 between two signals. */
static void above_the_threshold(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t begin_ns, elapsed_ns, delay_ns, rate;
		struct driver driver;
		unsigned calls;

		driver_start(&driver, 2, i / 2, i % 2);
		calls = driver_run(&driver, 10 * USEC_NS, 20 * MSEC_NS);
		assert_true(calls > 1900);
		virtqueue_set_coalescing(driver.world.vq, 50, THRESHOLD);
		driver_run(&driver, 10 * USEC_NS, 30 * MSEC_NS);
		begin_ns = driver_now(&driver);
		calls = driver_run(&driver, 10 * USEC_NS, 100 * MSEC_NS);
		elapsed_ns = driver_now(&driver) - begin_ns;
		rate = 10000 * SEC_NS / elapsed_ns;
		assert_in_range(rate, 90000, 100000);
		delay_ns = 50 * USEC_NS * (rate - THRESHOLD) / THRESHOLD;
		assert_in_range(calls, elapsed_ns / delay_ns * 9 / 10, elapsed_ns / delay_ns + 1);
		assert_all_heard(&driver, 300 * USEC_NS);
		/* Off again. */
		virtqueue_set_coalescing(driver.world.vq, 0, THRESHOLD);
		calls = driver_run(&driver, 10 * USEC_NS, 20 * MSEC_NS);
		assert_true(calls > 1900);
		driver_end(&driver);
	}
}

static void a_rate_that_falls_ends_the_delay(void **state)
{
	struct driver driver;
	unsigned calls;

	driver_start(&driver, 3, false, true);
	virtqueue_set_coalescing(driver.world.vq, 50, THRESHOLD);
	driver_run(&driver, 10 * USEC_NS, 50 * MSEC_NS);
	driver_run(&driver, 100 * USEC_NS, 30 * MSEC_NS);
	calls = driver_run(&driver, 100 * USEC_NS, 50 * MSEC_NS);
	assert_int_equal(calls, 500);
	driver_end(&driver);
}

/* However much is asked for. */
static void no_delay_is_longer_than_a_sample(void **state)
{
	struct driver driver;

	driver_start(&driver, 4, false, true);
	virtqueue_set_coalescing(driver.world.vq, 5000, 100);
	for (unsigned round = 0; round < 20; round++) {
		driver_run(&driver, 5 * USEC_NS, 13 * MSEC_NS);
		assert_all_heard(&driver, 11 * MSEC_NS);
	}
	driver_end(&driver);
}

/* Bursts and pauses of all kinds: what a pause begins with is heard of in it. */
static void no_wake_up_is_lost(void **state)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct driver driver;

		driver_start(&driver, seed, seed % 4 < 2, seed % 2);
		virtqueue_set_coalescing(driver.world.vq,
			(uint32_t)(1 + sim_random(driver.world.sim, 100)),
			(uint32_t)(100 + sim_random(driver.world.sim, 40000)));
		for (unsigned round = 0; round < 30; round++) {
			driver_run(&driver, 1000 + sim_random(driver.world.sim, 40 * USEC_NS),
				sim_random(driver.world.sim, 15 * MSEC_NS));
			if (sim_random(driver.world.sim, 8) == 0) {
				world_pause(&driver.world);
				driver_handle_calls(&driver);
				assert_int_equal(driver.popped, driver.added);
				world_resume(&driver.world);
			} else {
				assert_all_heard(&driver, 11 * MSEC_NS);
			}
		}
		driver_end(&driver);
	}
}

static void a_frozen_queue_sends_no_late_signal(void **state)
{
	struct driver driver;
	unsigned calls;

	driver_start(&driver, 5, false, true);
	virtqueue_set_coalescing(driver.world.vq, 5000, 100);
	driver_run(&driver, 10 * USEC_NS, 25 * MSEC_NS);
	calls = driver.world.calls;
	driver_send(&driver);
	world_run(&driver.world, 20 * USEC_NS);
	assert_int_equal(driver.world.calls, calls);
	world_freeze(&driver.world);
	world_run(&driver.world, 100 * MSEC_NS);
	assert_int_equal(driver.world.calls, calls);
	driver_end(&driver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(below_the_threshold),
		cmocka_unit_test(above_the_threshold),
		cmocka_unit_test(a_rate_that_falls_ends_the_delay),
		cmocka_unit_test(no_delay_is_longer_than_a_sample),
		cmocka_unit_test(no_wake_up_is_lost),
		cmocka_unit_test(a_frozen_queue_sends_no_late_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
