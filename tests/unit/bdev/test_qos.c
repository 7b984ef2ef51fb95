/* SPDX-License-Identifier: BSD-2-Clause */
/* Limits of a device: what comes through in which time, and who waits for what. */
#include <errno.h>
#include <string.h>

#include "fake.h"

#define SIZE  (64 * MIB)
#define BLOCK 4096u
#define MANY  64u

struct limited {
	struct world world;
	struct fake fake;
	struct world_user user;
	struct bdev_channel *channels[WORLD_REACTORS];
	uint8_t buf[1 * MIB];
	struct iovec iov;
	struct world_call requests[MANY];
};

struct limits_call {
	struct world_call call;
	struct bdev_limits limits;
};

static struct limited place;

static void limits_run(struct world_call *call)
{
	const struct limits_call *limits = container_of(call, struct limits_call, call);

	bdev_set_limits(call->bdev, &limits->limits, world_done, call);
}

static void limits_set(struct limited *l, struct bdev_limits limits)
{
	struct limits_call call = {
		.call = {.run = limits_run, .bdev = &l->fake.bdev}, .limits = limits};

	assert_int_equal(world_run(&l->world, l->world.control, &call.call), 0);
}

static struct limited *limited_start(uint64_t seed)
{
	struct limited *l = &place;

	memset(l, 0, sizeof(*l));
	world_start(&l->world, seed);
	fake_init(&l->fake, "limited", SIZE);
	assert_int_equal(fake_register(&l->world, &l->fake, NULL), 0);
	world_user_init(&l->user, "first");
	assert_int_equal(world_open(&l->world, &l->fake.bdev, &l->user, NULL), 0);
	for (unsigned i = 0; i < WORLD_REACTORS; i++)
		assert_int_equal(world_channel_open(&l->world, &l->user, i, &l->channels[i]), 0);
	return l;
}

static void limited_end(struct limited *l)
{
	for (unsigned i = 0; i < WORLD_REACTORS; i++)
		world_channel_close(&l->world, l->channels[i]);
	world_close(&l->world, &l->user);
	assert_int_equal(world_unregister(&l->world, &l->fake.bdev), 0);
	world_end(&l->world);
}

static uint64_t now_ns(const struct limited *l)
{
	return l->world.host.os->ops->now_ns(l->world.host.os);
}

static struct world_call *begin(
	struct limited *l, unsigned index, enum bdev_io_type type, uint64_t length)
{
	struct world_call *call = &l->requests[index];

	memset(call, 0, sizeof(*call));
	l->iov = (struct iovec){l->buf, length};
	call->channel = l->channels[index % WORLD_REACTORS];
	call->io = (struct bdev_io){
		.type = (uint8_t)type, .iov = &l->iov, .iovcnt = 1, .length = length};
	world_io_begin(&l->world, call);
	return call;
}

/* Many requests at once, over all reactors; how long they took. */
static uint64_t run_many(struct limited *l, enum bdev_io_type type, uint64_t length)
{
	uint64_t start = now_ns(l);

	for (unsigned i = 0; i < MANY; i++)
		begin(l, i, type, length);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(world_finish(&l->world, &l->requests[i]), 0);
	return now_ns(l) - start;
}

/* On the real kernel the machine may be busy: longer is no fault there. */
static void expect_about(uint64_t ns, uint64_t wanted_ns)
{
	assert_true(ns >= wanted_ns - wanted_ns / 10);
	if (host_is_simulated())
		assert_true(ns <= wanted_ns + wanted_ns / 10);
}

static void requests_a_second_are_those_of_all_reactors(void **state)
{
	struct limited *l = limited_start(1);

	limits_set(l, (struct bdev_limits){.rw_ios = 1000});
	expect_about(run_many(l, BDEV_IO_WRITE, BLOCK), (MANY - 2) * MSEC_NS);
	expect_about(run_many(l, BDEV_IO_UNMAP, BLOCK), (MANY - 2) * MSEC_NS);
	limited_end(l);
}

static void bytes_a_second_are_those_of_all_reactors(void **state)
{
	struct limited *l = limited_start(1);

	limits_set(l, (struct bdev_limits){.rw_bytes = 64 * MIB});
	expect_about(run_many(l, BDEV_IO_READ, 64 * KIB), 62 * MSEC_NS);
	limited_end(l);
}

static void reads_and_writes_have_limits_of_their_own(void **state)
{
	struct limited *l = limited_start(1);
	uint64_t start;

	limits_set(l, (struct bdev_limits){.r_bytes = 64 * MIB, .w_bytes = 16 * MIB});
	expect_about(run_many(l, BDEV_IO_READ, 64 * KIB), 62 * MSEC_NS);
	/* A write that must wait long is in no read's way. */
	for (unsigned i = 0; i < 3; i++)
		begin(l, i, BDEV_IO_WRITE, 1 * MIB);
	start = now_ns(l);
	for (unsigned i = 3; i < 6; i++)
		assert_int_equal(world_finish(&l->world, begin(l, i, BDEV_IO_READ, 64 * KIB)), 0);
	if (host_is_simulated())
		assert_true(now_ns(l) - start < 10 * MSEC_NS);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(world_finish(&l->world, &l->requests[i]), 0);
	expect_about(now_ns(l) - start, 124 * MSEC_NS);
	limited_end(l);
}

static void of_several_limits_the_tightest_counts(void **state)
{
	struct limited *l = limited_start(1);

	limits_set(l, (struct bdev_limits){.rw_ios = 2000, .rw_bytes = 4 * MIB});
	expect_about(run_many(l, BDEV_IO_WRITE, BLOCK), 61 * MSEC_NS);
	expect_about(run_many(l, BDEV_IO_WRITE, 512), 31 * MSEC_NS);
	limited_end(l);
}

static void a_change_of_limits_concerns_what_waits(void **state)
{
	struct limited *l = limited_start(1);
	uint64_t start;

	/* A day and a half. */
	limits_set(l, (struct bdev_limits){.w_bytes = 8});
	for (unsigned i = 0; i < MANY; i++)
		begin(l, i, BDEV_IO_WRITE, 16 * KIB);
	world_settle(&l->world);
	assert_int_equal(atomic_load(&l->fake.submitted), 1);
	start = now_ns(l);
	limits_set(l, (struct bdev_limits){.rw_ios = 1000});
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(world_finish(&l->world, &l->requests[i]), 0);
	expect_about(now_ns(l) - start, (MANY - 3) * MSEC_NS);

	limits_set(l, (struct bdev_limits){.w_bytes = 8});
	for (unsigned i = 0; i < MANY; i++)
		begin(l, i, BDEV_IO_WRITE, 16 * KIB);
	limits_set(l, (struct bdev_limits){0});
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(world_finish(&l->world, &l->requests[i]), 0);
	for (unsigned i = 0; i < WORLD_REACTORS; i++)
		assert_false(l->channels[i]->detour);
	limited_end(l);
}

static void what_waits_ends_when_the_device_goes(void **state)
{
	struct limited *l = limited_start(1);
	struct world_call gone = {.run = world_unregister_run, .bdev = &l->fake.bdev};

	limits_set(l, (struct bdev_limits){.rw_bytes = 8});
	for (unsigned i = 0; i < MANY; i++)
		begin(l, i, i % 2 ? BDEV_IO_WRITE : BDEV_IO_READ, 16 * KIB);
	world_begin(&l->world, l->world.control, &gone);
	for (unsigned i = 0; i < MANY; i++) {
		int rc = world_finish(&l->world, &l->requests[i]);

		assert_true(rc == -ENODEV || rc == 0);
	}
	for (unsigned i = 0; i < WORLD_REACTORS; i++)
		world_channel_close(&l->world, l->channels[i]);
	world_close(&l->world, &l->user);
	assert_int_equal(world_finish(&l->world, &gone), 0);
	world_end(&l->world);
}

struct lock_call {
	struct world_call call;
	struct bdev_range_lock *lock;
};

static void lock_run(struct world_call *call)
{
	struct bdev_range_lock *lock = container_of(call, struct lock_call, call)->lock;

	bdev_range_lock(lock, call->bdev, call->reactor, 0, BDEV_RANGE_ALL, world_done, call);
}

static void unlock_run(struct world_call *call)
{
	bdev_range_unlock(container_of(call, struct lock_call, call)->lock, world_done, call);
}

/* And what comes under it, a read-modify-write for example, is not held up. */
static void a_lock_does_not_wait_for_what_waits(void **state)
{
	struct limited *l = limited_start(1);
	struct bdev_range_lock range = {0};
	struct lock_call lock = {
		.call = {.run = lock_run, .bdev = &l->fake.bdev, .reactor = l->world.data[0]},
		.lock = &range};
	struct world_call *under = &l->requests[MANY - 1];

	limits_set(l, (struct bdev_limits){.rw_bytes = 8});
	for (unsigned i = 0; i < 12; i++)
		begin(l, i, BDEV_IO_WRITE, 16 * KIB);
	world_settle(&l->world);
	assert_int_equal(world_run(&l->world, l->world.data[0], &lock.call), 0);
	memset(under, 0, sizeof(*under));
	under->channel = l->channels[0];
	under->io = (struct bdev_io){.type = BDEV_IO_WRITE,
		.iov = &l->iov,
		.iovcnt = 1,
		.length = 16 * KIB,
		.lock = &range};
	world_io_begin(&l->world, under);
	assert_int_equal(world_finish(&l->world, under), 0);
	/* What the limits let through meets the lock then. */
	limits_set(l, (struct bdev_limits){0});
	world_settle(&l->world);
	assert_int_equal(atomic_load(&l->fake.submitted), 2);
	lock.call.run = unlock_run;
	assert_int_equal(world_run(&l->world, l->world.data[0], &lock.call), 0);
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(world_finish(&l->world, &l->requests[i]), 0);
	limited_end(l);
}

static void limits_hold_for_channels_that_are_opened_later(void **state)
{
	struct limited *l = limited_start(1);

	for (unsigned i = 0; i < WORLD_REACTORS; i++)
		world_channel_close(&l->world, l->channels[i]);
	limits_set(l, (struct bdev_limits){.rw_ios = 1000});
	for (unsigned i = 0; i < WORLD_REACTORS; i++)
		assert_int_equal(world_channel_open(&l->world, &l->user, i, &l->channels[i]), 0);
	expect_about(run_many(l, BDEV_IO_READ, BLOCK), (MANY - 2) * MSEC_NS);
	limited_end(l);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_a_second_are_those_of_all_reactors),
		cmocka_unit_test(bytes_a_second_are_those_of_all_reactors),
		cmocka_unit_test(reads_and_writes_have_limits_of_their_own),
		cmocka_unit_test(of_several_limits_the_tightest_counts),
		cmocka_unit_test(a_change_of_limits_concerns_what_waits),
		cmocka_unit_test(what_waits_ends_when_the_device_goes),
		cmocka_unit_test(a_lock_does_not_wait_for_what_waits),
		cmocka_unit_test(limits_hold_for_channels_that_are_opened_later),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
