/* SPDX-License-Identifier: BSD-2-Clause */
/* Copies between devices: what they write, what they refuse, and how they end. */
#include "bdev/copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"

#define SIZE  (4 * MIB)
#define BLOCK 512u

struct copying {
	struct world world;
	struct fake source;
	struct fake target;
	uint8_t *from;
	uint8_t *to;
	atomic_uint writes;
	atomic_uint flushes;
	struct world_user other;
};

struct copy_call {
	struct world_call call;
	struct bdev_copy_options options;
};

static void iov_move(const struct bdev_io *io, uint8_t *bytes, bool into_iov)
{
	uint64_t at = io->offset;

	for (unsigned i = 0; i < io->iovcnt; i++) {
		void *base = io->iov[i].iov_base;

		if (into_iov)
			memcpy(base, bytes + at, io->iov[i].iov_len);
		else
			memcpy(bytes + at, base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
}

static void source_watch(struct fake *fake, struct bdev_io *io, bool begins)
{
	struct copying *c = fake->watch_arg;

	if (begins && io->type == BDEV_IO_READ)
		iov_move(io, c->from, true);
}

static void target_watch(struct fake *fake, struct bdev_io *io, bool begins)
{
	struct copying *c = fake->watch_arg;

	if (!begins)
		return;
	if (io->type == BDEV_IO_WRITE) {
		iov_move(io, c->to, false);
		atomic_fetch_add(&c->writes, 1);
	} else if (io->type == BDEV_IO_FLUSH) {
		atomic_fetch_add(&c->flushes, 1);
	}
}

static void copying_start(struct copying *c, uint64_t seed)
{
	memset(c, 0, sizeof(*c));
	world_start(&c->world, seed);
	c->from = malloc(SIZE);
	c->to = calloc(1, SIZE);
	for (size_t i = 0; i < SIZE; i++)
		c->from[i] = (uint8_t)(i / BLOCK * 7 + i % 251 + 1);
	fake_init(&c->source, "source", SIZE);
	fake_init(&c->target, "target", SIZE);
	c->source.watch = source_watch;
	c->target.watch = target_watch;
	c->source.watch_arg = c->target.watch_arg = c;
	c->source.latency_ns = c->target.latency_ns = 50 * USEC_NS;
	assert_int_equal(fake_register(&c->world, &c->source, NULL), 0);
	assert_int_equal(fake_register(&c->world, &c->target, NULL), 0);
	world_user_init(&c->other, "second");
}

/* Whatever happened, nothing of a copy is left: the devices can go. */
static void copying_end(struct copying *c)
{
	if (!atomic_load(&c->source.destroyed))
		assert_int_equal(world_unregister(&c->world, &c->source.bdev), 0);
	if (!atomic_load(&c->target.destroyed))
		assert_int_equal(world_unregister(&c->world, &c->target.bdev), 0);
	world_end(&c->world);
	free(c->from);
	free(c->to);
}

static void copy_run_call(struct world_call *call)
{
	struct copy_call *copy = container_of(call, struct copy_call, call);

	bdev_copy(&copy->options, call->reason, world_done, call);
}

static void copy_prepare(struct copying *c, struct copy_call *copy, const struct bdev_range *ranges,
	unsigned count, bool skip_zeroes)
{
	*copy = (struct copy_call){.call.run = copy_run_call};
	copy->options = (struct bdev_copy_options){
		.source = &c->source.bdev,
		.target = &c->target.bdev,
		.ranges = ranges,
		.num_ranges = count,
		.skip_zeroes = skip_zeroes,
		.reactor = c->world.data[1],
	};
}

static int copy(struct copying *c, const struct bdev_range *ranges, unsigned count, bool skip)
{
	struct copy_call call;

	copy_prepare(c, &call, ranges, count, skip);
	return world_run(&c->world, c->world.control, &call.call);
}

static void only_the_ranges_are_copied_and_then_flushed(void **state)
{
	static const struct bdev_range ranges[] = {
		{0, BLOCK}, {MIB, 3 * 64 * KIB + 2 * BLOCK}, {SIZE - BLOCK, BLOCK}};
	struct copying c;

	HOST_FOR_EACH_SEED(seed, 30)
	{
		uint8_t *wanted = calloc(1, SIZE);

		copying_start(&c, seed);
		assert_int_equal(copy(&c, ranges, ARRAY_SIZE(ranges), false), 0);
		for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
			memcpy(wanted + ranges[i].offset, c.from + ranges[i].offset,
				ranges[i].length);
		assert_memory_equal(c.to, wanted, SIZE);
		assert_int_equal(atomic_load(&c.flushes), 1);
		copying_end(&c);
		free(wanted);
	}
}

static void what_is_all_zeroes_is_skipped_where_that_is_wanted(void **state)
{
	static const struct bdev_range all = {0, SIZE};
	struct copying c;

	copying_start(&c, 1);
	memset(c.from, 0, SIZE);
	c.from[MIB + 5] = 1;
	memset(c.to, 0xee, SIZE);
	assert_int_equal(copy(&c, &all, 1, true), 0);
	assert_int_equal(atomic_load(&c.writes), 1);
	assert_int_equal(c.to[MIB + 5], 1);
	assert_int_equal(c.to[2 * MIB], 0xee);
	assert_int_equal(copy(&c, &all, 1, false), 0);
	assert_memory_equal(c.to, c.from, SIZE);
	copying_end(&c);
}

static void ranges_that_cannot_be_are_refused_before_anything_is_written(void **state)
{
	static const struct bdev_range wrong[] = {{0, 0}, {1, BLOCK}, {0, BLOCK + 1}, {SIZE, BLOCK},
		{SIZE - BLOCK, 2 * BLOCK}, {UINT64_MAX - BLOCK + 1, BLOCK},
		{BLOCK, UINT64_MAX - BLOCK + 1}};
	struct copying c;

	copying_start(&c, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct bdev_range two[] = {{0, BLOCK}, wrong[i]};

		assert_int_equal(copy(&c, two, 2, false), -EINVAL);
	}
	assert_int_equal(atomic_load(&c.writes), 0);
	copying_end(&c);
}

static void a_device_is_not_copied_to_itself(void **state)
{
	static const struct bdev_range range = {0, BLOCK};
	struct copy_call call;
	struct copying c;

	copying_start(&c, 1);
	copy_prepare(&c, &call, &range, 1, false);
	call.options.target = &c.source.bdev;
	assert_int_equal(world_run(&c.world, c.world.control, &call.call), -EINVAL);
	copying_end(&c);
}

static void a_target_that_somebody_else_writes_is_refused(void **state)
{
	static const struct bdev_range range = {0, BLOCK};
	struct copying c;

	copying_start(&c, 1);
	assert_int_equal(world_open(&c.world, &c.target.bdev, &c.other, NULL), 0);
	assert_int_equal(world_claim(&c.world, &c.other, BDEV_CLAIM_EXCLUSIVE_WRITE, NULL), 0);
	assert_int_equal(copy(&c, &range, 1, false), -EPERM);
	assert_int_equal(world_release(&c.world, &c.other), 0);
	assert_int_equal(copy(&c, &range, 1, false), 0);
	world_close(&c.world, &c.other);
	copying_end(&c);
}

static void the_first_failure_ends_a_copy_without_a_flush(void **state)
{
	static const struct bdev_range all = {0, SIZE};
	struct copying c;

	HOST_FOR_EACH_SEED(seed, 20)
	{
		copying_start(&c, seed);
		atomic_store(seed % 2 ? &c.source.io_status : &c.target.io_status, -EIO);
		assert_int_equal(copy(&c, &all, 1, false), -EIO);
		assert_int_equal(atomic_load(&c.flushes), 0);
		copying_end(&c);
	}
}

static void a_copy_ends_when_one_of_its_devices_goes(void **state)
{
	static const struct bdev_range all = {0, SIZE};
	struct copying c;

	HOST_FOR_EACH_SEED(seed, 60)
	{
		struct copy_call call;
		int rc;

		copying_start(&c, seed);
		copy_prepare(&c, &call, &all, 1, false);
		world_begin(&c.world, c.world.control, &call.call);
		if (seed % 3)
			world_settle(&c.world);
		assert_int_equal(
			world_unregister(&c.world, seed % 2 ? &c.source.bdev : &c.target.bdev), 0);
		rc = world_finish(&c.world, &call.call);
		assert_true(rc == 0 || rc == -ECANCELED || rc == -ENODEV);
		copying_end(&c);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_ranges_are_copied_and_then_flushed),
		cmocka_unit_test(what_is_all_zeroes_is_skipped_where_that_is_wanted),
		cmocka_unit_test(ranges_that_cannot_be_are_refused_before_anything_is_written),
		cmocka_unit_test(a_device_is_not_copied_to_itself),
		cmocka_unit_test(a_target_that_somebody_else_writes_is_refused),
		cmocka_unit_test(the_first_failure_ends_a_copy_without_a_flush),
		cmocka_unit_test(a_copy_ends_when_one_of_its_devices_goes),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
