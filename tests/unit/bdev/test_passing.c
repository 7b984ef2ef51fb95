/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests that a device passes down as they are to the one below it. */
#include "fake.h"

#include <errno.h>
#include <string.h>

#define SIZE  (1 * MIB)
#define SHIFT (64 * KIB) /* where the device above begins on the one below */

struct passing {
	struct world world;
	struct fake below;
	struct world_user below_user;
	struct bdev_channel *below_channel;
	struct bdev above;
	struct timer above_timer;
	done_fn above_destroyed;
	void *above_arg;
	struct world_user user;
	struct bdev_channel *channel;
	struct bdev_range_lock ranges[2]; /* of the device above, and below */
	uint8_t buf[512];
	struct iovec iov;
	struct world_call request;
	atomic_uint passed;
	atomic_uint kept; /* what could not be passed: the device ends it with -EAGAIN */
	struct bdev_io seen; /* below, as it came */
};

/* ---- the device above --------------------------------------------------- */

static struct passing *passing_of(const struct bdev *above)
{
	return container_of(above, struct passing, above);
}

static void above_done(struct bdev_io *io)
{
	bdev_io_take_back(io);
	if (io->status)
		bdev_io_complete(io, io->status);
	else
		bdev_io_end(io);
}

static void above_submit(struct bdev_channel *channel, struct bdev_io *io)
{
	struct passing *p = passing_of(channel->bdev);

	if (!bdev_io_may_pass(io, p->below_channel)) {
		atomic_fetch_add(&p->kept, 1);
		bdev_io_complete(io, -EAGAIN);
		return;
	}
	atomic_fetch_add(&p->passed, 1);
	bdev_io_pass_down(io, p->below_channel, io->offset + SHIFT, above_done);
}

static int above_channel_init(struct bdev_channel *channel)
{
	bdev_channel_set_passing(channel);
	return 0;
}

static void above_gone(struct timer *timer)
{
	struct passing *p = container_of(timer, struct passing, above_timer);

	p->above_destroyed(p->above_arg, 0);
}

static void above_destroy(struct bdev *bdev, done_fn done, void *arg)
{
	struct passing *p = passing_of(bdev);

	p->above_destroyed = done;
	p->above_arg = arg;
	p->above_timer.fired = above_gone;
	timer_start(p->world.control, &p->above_timer, 1);
}

static const struct bdev_ops above_ops = {
	.product_name = "Device over another",
	.module = "above",
	.submit = above_submit,
	.channel_init = above_channel_init,
	.destroy = above_destroy,
};

/* ---- the place ---------------------------------------------------------- */

static void below_watch(struct fake *fake, struct bdev_io *io, bool begins)
{
	struct passing *p = fake->watch_arg;

	if (begins)
		p->seen = *io;
}

static void above_register_run(struct world_call *call)
{
	world_done(call, bdev_register(call->world->registry, call->bdev, NULL));
}

static void passing_start(struct passing *p, uint64_t seed)
{
	struct world_call call = {.run = above_register_run, .bdev = &p->above};

	memset(p, 0, sizeof(*p));
	world_start(&p->world, seed);
	fake_init(&p->below, "below", SIZE + SHIFT);
	p->below.watch = below_watch;
	p->below.watch_arg = p;
	assert_int_equal(fake_register(&p->world, &p->below, NULL), 0);
	world_user_init(&p->below_user, "first");
	assert_int_equal(world_open(&p->world, &p->below.bdev, &p->below_user, NULL), 0);
	assert_int_equal(world_channel_open(&p->world, &p->below_user, 0, &p->below_channel), 0);
	p->above.ops = &above_ops;
	p->above.name = "above";
	p->above.block_size = 512;
	p->above.size_bytes = SIZE;
	assert_int_equal(world_run(&p->world, p->world.control, &call), 0);
	world_user_init(&p->user, "second");
	assert_int_equal(world_open(&p->world, &p->above, &p->user, NULL), 0);
	assert_int_equal(world_channel_open(&p->world, &p->user, 0, &p->channel), 0);
	p->iov = (struct iovec){.iov_base = p->buf, .iov_len = sizeof(p->buf)};
}

static void passing_end(struct passing *p)
{
	assert_int_equal(bdev_channel_in_flight(p->channel), 0);
	assert_int_equal(bdev_channel_in_flight(p->below_channel), 0);
	world_channel_close(&p->world, p->channel);
	world_close(&p->world, &p->user);
	assert_int_equal(world_unregister(&p->world, &p->above), 0);
	world_channel_close(&p->world, p->below_channel);
	world_close(&p->world, &p->below_user);
	assert_int_equal(world_unregister(&p->world, &p->below.bdev), 0);
	world_end(&p->world);
}

static void passing_begin(struct passing *p, uint8_t flags)
{
	p->request = (struct world_call){.channel = p->channel,
		.io = {
			.type = BDEV_IO_WRITE,
			.flags = flags,
			.iov = &p->iov,
			.iovcnt = 1,
			.offset = 4096,
			.length = sizeof(p->buf),
		}};
	world_io_begin(&p->world, &p->request);
	world_settle(&p->world);
}

static int passing_request(struct passing *p)
{
	passing_begin(p, 0);
	return world_finish(&p->world, &p->request);
}

static struct bdev_io_stats passing_stats(struct passing *p, struct bdev *bdev)
{
	struct bdev_io_stats stats;

	world_stats(&p->world, bdev, &stats);
	return stats;
}

struct range_call {
	struct world_call call; /* bdev: whose lock */
	struct passing *p;
};

static void lock_run(struct world_call *call)
{
	struct passing *p = container_of(call, struct range_call, call)->p;
	bool below = call->bdev == &p->below.bdev;

	bdev_range_lock(&p->ranges[below], call->bdev, p->world.data[1], 0, BDEV_RANGE_ALL,
		world_done, call);
}

static void unlock_run(struct world_call *call)
{
	struct passing *p = container_of(call, struct range_call, call)->p;

	bdev_range_unlock(&p->ranges[call->bdev == &p->below.bdev], world_done, call);
}

static void range_begin(struct passing *p, struct range_call *call, struct bdev *bdev)
{
	*call = (struct range_call){.call = {.run = lock_run, .bdev = bdev}, .p = p};
	world_begin(&p->world, p->world.data[1], &call->call);
	world_settle(&p->world);
}

static void range_end(struct passing *p, struct bdev *bdev)
{
	struct range_call call = {.call = {.run = unlock_run, .bdev = bdev}, .p = p};

	assert_int_equal(world_run(&p->world, p->world.data[1], &call.call), 0);
	world_settle(&p->world);
}

/* ---- tests -------------------------------------------------------------- */

static void a_request_passed_down_is_one_of_the_device_below_until_it_is_done(void **state)
{
	struct passing p;

	passing_start(&p, 1);
	passing_begin(&p, BDEV_IO_FUA);
	assert_int_equal(world_finish(&p.world, &p.request), 0);
	assert_ptr_equal(p.seen.channel, p.below_channel);
	assert_int_equal(p.seen.offset, 4096 + SHIFT);
	assert_int_equal(p.seen.length, sizeof(p.buf));
	assert_int_equal(p.seen.flags, BDEV_IO_FUA);
	assert_ptr_equal(p.request.io.channel, p.channel);
	assert_int_equal(p.request.io.offset, 4096);
	assert_int_equal(p.request.io.flags, BDEV_IO_FUA);
	assert_int_equal(atomic_load(&p.passed), 1);
	passing_end(&p);
}

static void both_devices_count_what_is_passed_down(void **state)
{
	struct bdev_io_stats above, below;
	struct passing p;

	passing_start(&p, 1);
	p.below.latency_ns = 100 * USEC_NS;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(passing_request(&p), 0);
	atomic_store(&p.below.io_status, -EIO);
	assert_int_equal(passing_request(&p), -EIO);
	above = passing_stats(&p, &p.above);
	below = passing_stats(&p, &p.below.bdev);
	assert_memory_equal(&above, &below, sizeof(above));
	assert_int_equal(above.of[BDEV_IO_WRITE].ops, 4);
	assert_int_equal(above.of[BDEV_IO_WRITE].bytes, 3 * sizeof(p.buf));
	assert_true(above.of[BDEV_IO_WRITE].latency_ns > 0);
	assert_int_equal(above.errors, 1);
	passing_end(&p);
}

static void locks_of_both_devices_wait_for_what_was_passed_down(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct range_call above, below;
		struct passing p;

		passing_start(&p, seed);
		atomic_store(&p.below.hold, true);
		passing_begin(&p, 0);
		range_begin(&p, &above, &p.above);
		range_begin(&p, &below, &p.below.bdev);
		assert_false(atomic_load(&above.call.ended));
		assert_false(atomic_load(&below.call.ended));
		atomic_store(&p.below.hold, false);
		fake_kick(&p.world, p.below_channel);
		assert_int_equal(world_finish(&p.world, &above.call), 0);
		assert_int_equal(world_finish(&p.world, &below.call), 0);
		assert_true(atomic_load(&p.request.ended));
		assert_int_equal(world_finish(&p.world, &p.request), 0);
		range_end(&p, &p.above);
		range_end(&p, &p.below.bdev);
		assert_int_equal(passing_request(&p), 0);
		assert_int_equal(atomic_load(&p.passed), 2);
		passing_end(&p);
	}
}

static void nothing_is_passed_to_a_device_that_is_locked_or_going(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct world_call remove = {.run = world_unregister_run};
		struct range_call lock;
		struct passing p;

		passing_start(&p, seed);
		range_begin(&p, &lock, &p.below.bdev);
		assert_int_equal(world_finish(&p.world, &lock.call), 0);
		assert_int_equal(passing_request(&p), -EAGAIN);
		range_end(&p, &p.below.bdev);
		assert_int_equal(passing_request(&p), 0);
		remove.bdev = &p.below.bdev;
		world_begin(&p.world, p.world.control, &remove);
		while (!atomic_load(&p.below_user.removed))
			host_sleep(&p.world.host, 10 * USEC_NS);
		world_settle(&p.world);
		assert_int_equal(passing_request(&p), -EAGAIN);
		assert_int_equal(atomic_load(&p.passed), 1);
		assert_int_equal(atomic_load(&p.kept), 2);
		world_channel_close(&p.world, p.channel);
		world_close(&p.world, &p.user);
		assert_int_equal(world_unregister(&p.world, &p.above), 0);
		world_channel_close(&p.world, p.below_channel);
		world_close(&p.world, &p.below_user);
		assert_int_equal(world_finish(&p.world, &remove), 0);
		world_end(&p.world);
	}
}

/* Its time below would begin before it got there. */
static void what_has_waited_above_is_not_passed_down(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct range_call lock;
		struct passing p;

		passing_start(&p, seed);
		range_begin(&p, &lock, &p.above);
		assert_int_equal(world_finish(&p.world, &lock.call), 0);
		passing_begin(&p, 0);
		assert_false(atomic_load(&p.request.ended));
		host_sleep(&p.world.host, MSEC_NS);
		range_end(&p, &p.above);
		assert_int_equal(world_finish(&p.world, &p.request), -EAGAIN);
		assert_int_equal(atomic_load(&p.passed), 0);
		passing_end(&p);
	}
}

static void nobody_passes_down_over_a_device_that_does(void **state)
{
	struct passing p;

	passing_start(&p, 1);
	assert_true(bdev_channel_takes_passed(p.below_channel));
	assert_false(bdev_channel_takes_passed(p.channel));
	passing_end(&p);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_passed_down_is_one_of_the_device_below_until_it_is_done),
		cmocka_unit_test(both_devices_count_what_is_passed_down),
		cmocka_unit_test(locks_of_both_devices_wait_for_what_was_passed_down),
		cmocka_unit_test(nothing_is_passed_to_a_device_that_is_locked_or_going),
		cmocka_unit_test(what_has_waited_above_is_not_passed_down),
		cmocka_unit_test(nobody_passes_down_over_a_device_that_does),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
