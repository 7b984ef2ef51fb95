/* SPDX-License-Identifier: BSD-2-Clause */
/* Channels: one for each device and reactor, counters, and what a removal does to requests. */
#include "fake.h"

#include <errno.h>

#define SIZE (1 * MIB)

struct channel_world {
	struct world world;
	struct fake fake;
	struct world_user user;
};

static void channel_world_start(struct channel_world *cw, uint64_t seed)
{
	world_start(&cw->world, seed);
	fake_init(&cw->fake, "disk", SIZE);
	assert_int_equal(fake_register(&cw->world, &cw->fake, NULL), 0);
	world_user_init(&cw->user, "first");
	assert_int_equal(world_open(&cw->world, &cw->fake.bdev, &cw->user, NULL), 0);
}

static void channel_world_end(struct channel_world *cw)
{
	world_close(&cw->world, &cw->user);
	assert_int_equal(world_unregister(&cw->world, &cw->fake.bdev), 0);
	world_end(&cw->world);
}

static void users_on_one_reactor_share_a_channel(void **state)
{
	struct bdev_channel *one, *again, *other;
	struct channel_world cw;

	channel_world_start(&cw, 1);
	assert_int_equal(world_channel_open(&cw.world, &cw.user, 0, &one), 0);
	assert_int_equal(world_channel_open(&cw.world, &cw.user, 0, &again), 0);
	assert_int_equal(world_channel_open(&cw.world, &cw.user, 1, &other), 0);
	assert_ptr_equal(one, again);
	assert_ptr_not_equal(one, other);
	assert_ptr_equal(other->reactor, cw.world.data[1]);
	assert_int_equal(atomic_load(&cw.fake.channels), 2);
	world_channel_close(&cw.world, one);
	assert_int_equal(atomic_load(&cw.fake.channels), 2);
	world_channel_close(&cw.world, again);
	assert_int_equal(atomic_load(&cw.fake.channels), 1);
	world_channel_close(&cw.world, other);
	assert_int_equal(atomic_load(&cw.fake.channels), 0);
	channel_world_end(&cw);
}

static void open_begin(struct world_call *call)
{
	bdev_channel_open(call->user, call->reactor, &call->channel, world_done, call);
}

static void opens_that_meet_make_one_channel(void **state)
{
	HOST_FOR_EACH_SEED(seed, 30)
	{
		struct world_call open[6] = {0};
		struct channel_world cw;

		channel_world_start(&cw, seed);
		for (unsigned i = 0; i < ARRAY_SIZE(open); i++) {
			open[i].run = open_begin;
			open[i].user = &cw.user.user;
			open[i].reactor = cw.world.data[i % 2];
			world_begin(&cw.world, cw.world.control, &open[i]);
		}
		for (unsigned i = 0; i < ARRAY_SIZE(open); i++) {
			assert_int_equal(world_finish(&cw.world, &open[i]), 0);
			assert_ptr_equal(open[i].channel, open[i % 2].channel);
		}
		assert_int_equal(atomic_load(&cw.fake.channels), 2);
		for (unsigned i = 0; i < ARRAY_SIZE(open); i++)
			world_channel_close(&cw.world, open[i].channel);
		channel_world_end(&cw);
	}
}

static void a_channel_that_cannot_be_made_leaves_nothing(void **state)
{
	struct bdev_channel *channel;
	struct channel_world cw;

	channel_world_start(&cw, 1);
	atomic_store(&cw.fake.channel_status, -EMFILE);
	assert_int_equal(world_channel_open(&cw.world, &cw.user, 0, &channel), -EMFILE);
	assert_int_equal(atomic_load(&cw.fake.prepared), 0);
	atomic_store(&cw.fake.channel_status, 0);
	assert_int_equal(world_channel_open(&cw.world, &cw.user, 0, &channel), 0);
	world_channel_close(&cw.world, channel);
	channel_world_end(&cw);
}

static void a_channel_is_prepared_on_the_control_reactor_first(void **state)
{
	struct bdev_channel *channel, *again;
	struct channel_world cw;

	channel_world_start(&cw, 1);
	atomic_store(&cw.fake.prepare_status, -ENXIO);
	assert_int_equal(world_channel_open(&cw.world, &cw.user, 0, &channel), -ENXIO);
	assert_int_equal(atomic_load(&cw.fake.prepared), 0);
	atomic_store(&cw.fake.prepare_status, 0);
	assert_int_equal(world_channel_open(&cw.world, &cw.user, 0, &channel), 0);
	assert_int_equal(world_channel_open(&cw.world, &cw.user, 0, &again), 0);
	assert_int_equal(atomic_load(&cw.fake.prepared), 1);
	world_channel_close(&cw.world, again);
	assert_int_equal(atomic_load(&cw.fake.prepared), 1);
	world_channel_close(&cw.world, channel);
	assert_int_equal(atomic_load(&cw.fake.prepared), 0);
	channel_world_end(&cw);
}

static void counters_outlive_channels(void **state)
{
	uint8_t buf[1024] = {0};
	struct bdev_io_stats stats;
	struct bdev_channel *one, *two;
	struct channel_world cw;

	channel_world_start(&cw, 1);
	cw.fake.latency_ns = 100 * USEC_NS;
	assert_int_equal(world_channel_open(&cw.world, &cw.user, 0, &one), 0);
	assert_int_equal(world_channel_open(&cw.world, &cw.user, 1, &two), 0);
	assert_int_equal(world_read(&cw.world, one, buf, 0, 512), 0);
	assert_int_equal(world_write(&cw.world, one, buf, 512, 1024), 0);
	assert_int_equal(world_write(&cw.world, two, buf, 512, 512), 0);
	world_channel_close(&cw.world, one);
	atomic_store(&cw.fake.io_status, -EIO);
	assert_int_equal(world_read(&cw.world, two, buf, 0, 512), -EIO);
	world_stats(&cw.world, &cw.fake.bdev, &stats);
	assert_int_equal(stats.of[BDEV_IO_READ].ops, 2);
	assert_int_equal(stats.of[BDEV_IO_READ].bytes, 512); /* what failed moved nothing */
	assert_int_equal(stats.of[BDEV_IO_WRITE].ops, 2);
	assert_int_equal(stats.of[BDEV_IO_WRITE].bytes, 1536);
	assert_int_equal(stats.of[BDEV_IO_FLUSH].ops, 0);
	assert_int_equal(stats.errors, 1);
	assert_true(stats.of[BDEV_IO_WRITE].latency_ns > 0);
	/* Of two writes the slower and the faster one are their sum. */
	assert_int_equal(stats.extremes[BDEV_IO_WRITE].slowest_ns +
				 ~stats.extremes[BDEV_IO_WRITE].fastest_inverted,
		stats.of[BDEV_IO_WRITE].latency_ns);
	assert_int_equal(stats.extremes[BDEV_IO_FLUSH].slowest_ns, 0);
	assert_int_equal(stats.extremes[BDEV_IO_FLUSH].fastest_inverted, 0);
	world_channel_close(&cw.world, two);
	channel_world_end(&cw);
}

struct query_call {
	struct world_call call;
	struct bdev_stats_query query;
	unsigned channels;
};

static void channel_seen(
	const struct reactor *reactor, const struct bdev_io_stats *stats, void *arg)
{
	((struct query_call *)arg)->channels++;
}

static void query_run(struct world_call *call)
{
	struct query_call *query = container_of(call, struct query_call, call);

	query->query.each = channel_seen;
	query->query.arg = query;
	bdev_query_stats(call->bdev, &query->query, world_done, call);
}

/* With what channels that are gone have left. */
static void counters_are_forgotten_as_far_as_is_asked(void **state)
{
	static const enum bdev_stats_reset resets[] = {BDEV_STATS_RESET_ERRORS,
		BDEV_STATS_RESET_EXTREMES, BDEV_STATS_KEEP, BDEV_STATS_RESET_ALL};
	struct bdev_io_stats stats;
	uint8_t buf[512];
	struct bdev_channel *one, *two;
	struct channel_world cw;

	channel_world_start(&cw, 1);
	cw.fake.latency_ns = 100 * USEC_NS;
	atomic_store(&cw.fake.io_status, -EIO);
	assert_int_equal(world_channel_open(&cw.world, &cw.user, 0, &one), 0);
	assert_int_equal(world_channel_open(&cw.world, &cw.user, 1, &two), 0);
	assert_int_equal(world_read(&cw.world, one, buf, 0, 512), -EIO);
	assert_int_equal(world_read(&cw.world, two, buf, 0, 512), -EIO);
	world_channel_close(&cw.world, one);
	for (unsigned i = 0; i < ARRAY_SIZE(resets); i++) {
		struct query_call query = {.call = {.run = query_run, .bdev = &cw.fake.bdev},
			.query.reset = resets[i]};

		assert_int_equal(world_run(&cw.world, cw.world.control, &query.call), 0);
		assert_int_equal(query.channels, 1);
		world_stats(&cw.world, &cw.fake.bdev, &stats);
		assert_int_equal(stats.errors, 0);
		assert_int_equal(stats.extremes[BDEV_IO_READ].slowest_ns > 0, i == 0);
		assert_int_equal(
			stats.of[BDEV_IO_READ].ops, resets[i] == BDEV_STATS_RESET_ALL ? 0 : 2);
	}
	world_channel_close(&cw.world, two);
	channel_world_end(&cw);
}

/* What the backend has ends as the backend says, what comes later ends with -ENODEV. */
static void removal_ends_new_requests_and_waits_for_old_ones(void **state)
{
	HOST_FOR_EACH_SEED(seed, 30)
	{
		struct world_call remove = {.run = world_unregister_run};
		struct world_call old = {0};
		struct bdev_channel *channel;
		uint8_t buf[512] = {0};
		struct iovec iov = {.iov_base = buf, .iov_len = sizeof(buf)};
		struct channel_world cw;
		int rc;

		channel_world_start(&cw, seed);
		assert_int_equal(world_channel_open(&cw.world, &cw.user, 0, &channel), 0);
		atomic_store(&cw.fake.hold, true);
		old.channel = channel;
		old.io = (struct bdev_io){
			.type = BDEV_IO_WRITE, .iov = &iov, .iovcnt = 1, .length = sizeof(buf)};
		world_io_begin(&cw.world, &old);
		remove.bdev = &cw.fake.bdev;
		world_begin(&cw.world, cw.world.control, &remove);
		assert_true(host_wait_flag(&cw.world.host, &cw.user.removed));
		world_settle(&cw.world); /* the channel has heard of it */
		assert_int_equal(atomic_load(&cw.fake.submitted), 1);
		assert_int_equal(world_read(&cw.world, channel, buf, 0, 512), -ENODEV);
		assert_int_equal(atomic_load(&cw.fake.submitted), 1);
		assert_false(atomic_load(&old.ended));
		fake_kick(&cw.world, channel);
		assert_int_equal(world_finish(&cw.world, &old), 0);
		world_channel_close(&cw.world, channel);
		rc = world_channel_open(&cw.world, &cw.user, 1, &channel);
		assert_int_equal(rc, -ENODEV);
		world_close(&cw.world, &cw.user);
		assert_int_equal(world_finish(&cw.world, &remove), 0);
		assert_true(atomic_load(&cw.fake.destroyed));
		world_end(&cw.world);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(users_on_one_reactor_share_a_channel),
		cmocka_unit_test(opens_that_meet_make_one_channel),
		cmocka_unit_test(a_channel_that_cannot_be_made_leaves_nothing),
		cmocka_unit_test(a_channel_is_prepared_on_the_control_reactor_first),
		cmocka_unit_test(counters_outlive_channels),
		cmocka_unit_test(counters_are_forgotten_as_far_as_is_asked),
		cmocka_unit_test(removal_ends_new_requests_and_waits_for_old_ones),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
