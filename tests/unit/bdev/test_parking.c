/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests that a device keeps until it has space: what they wait for, and who for them. */
#include "fake.h"

#include <errno.h>
#include <string.h>

struct parking {
	struct world world;
	struct fake fake;
	struct world_user user;
	struct bdev_channel *channel;
	struct bdev_range_lock range;
	uint8_t buf[512];
	struct iovec iov;
	struct world_call parked;
};

static void parking_start(struct parking *p, uint64_t seed)
{
	memset(p, 0, sizeof(*p));
	world_start(&p->world, seed);
	fake_init(&p->fake, "disk", MIB);
	assert_int_equal(fake_register(&p->world, &p->fake, NULL), 0);
	world_user_init(&p->user, "first");
	assert_int_equal(world_open(&p->world, &p->fake.bdev, &p->user, NULL), 0);
	assert_int_equal(world_channel_open(&p->world, &p->user, 0, &p->channel), 0);
	p->iov = (struct iovec){.iov_base = p->buf, .iov_len = sizeof(p->buf)};
	p->parked.channel = p->channel;
	p->parked.io = (struct bdev_io){
		.type = BDEV_IO_WRITE,
		.flags = BDEV_IO_WAIT_SPACE,
		.iov = &p->iov,
		.iovcnt = 1,
		.length = sizeof(p->buf),
	};
	atomic_store(&p->fake.full, true);
	world_io_begin(&p->world, &p->parked);
	world_settle(&p->world);
	assert_false(atomic_load(&p->parked.ended));
}

static void parking_end(struct parking *p)
{
	world_channel_close(&p->world, p->channel);
	world_close(&p->world, &p->user);
	assert_int_equal(world_unregister(&p->world, &p->fake.bdev), 0);
	world_end(&p->world);
}

static void unpark_run(struct world_call *call)
{
	bdev_channel_unpark(call->channel);
	world_done(call, 0);
}

static void parking_unpark(struct parking *p)
{
	struct world_call call = {.run = unpark_run, .channel = p->channel};

	world_run(&p->world, p->world.data[0], &call);
	world_settle(&p->world);
}

struct parking_call {
	struct world_call call;
	struct parking *p;
};

static struct parking *parking_of(struct world_call *call)
{
	return container_of(call, struct parking_call, call)->p;
}

static void lock_run(struct world_call *call)
{
	struct parking *p = parking_of(call);

	bdev_range_lock(
		&p->range, &p->fake.bdev, p->world.data[1], 0, BDEV_RANGE_ALL, world_done, call);
}

static void unlock_run(struct world_call *call)
{
	bdev_range_unlock(&parking_of(call)->range, world_done, call);
}

static void cancel_run(struct world_call *call)
{
	world_done(call, bdev_io_cancel_parked(&parking_of(call)->parked.io));
}

static int parking_run(struct parking *p, unsigned reactor, void (*run)(struct world_call *call))
{
	struct parking_call call = {.call.run = run, .p = p};

	return world_run(&p->world, p->world.data[reactor], &call.call);
}

static void a_parked_request_runs_again_when_there_is_space(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct parking p;

		parking_start(&p, seed);
		parking_unpark(&p);
		assert_false(atomic_load(&p.parked.ended)); /* there was none after all */
		atomic_store(&p.fake.full, false);
		parking_unpark(&p);
		assert_int_equal(world_finish(&p.world, &p.parked), 0);
		assert_int_equal(atomic_load(&p.fake.submitted), 3);
		parking_end(&p);
	}
}

/* And when there is space under a lock it waits for that, as any other would. */
static void a_range_lock_does_not_wait_for_parked_requests(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct parking p;

		parking_start(&p, seed);
		assert_int_equal(parking_run(&p, 1, lock_run), 0);
		atomic_store(&p.fake.full, false);
		parking_unpark(&p);
		assert_false(atomic_load(&p.parked.ended));
		assert_int_equal(parking_run(&p, 1, unlock_run), 0);
		assert_int_equal(world_finish(&p.world, &p.parked), 0);
		parking_end(&p);
	}
}

static void a_parked_request_can_be_cancelled_and_no_other(void **state)
{
	struct parking p;

	parking_start(&p, 1);
	assert_int_equal(parking_run(&p, 0, cancel_run), true);
	assert_int_equal(world_finish(&p.world, &p.parked), -ECANCELED);
	assert_int_equal(parking_run(&p, 0, cancel_run), false);
	parking_end(&p);
}

static void a_parked_request_ends_with_its_device(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct parking p;
		struct world_call remove = {.run = world_unregister_run};

		parking_start(&p, seed);
		remove.bdev = &p.fake.bdev;
		world_begin(&p.world, p.world.control, &remove);
		assert_int_equal(world_finish(&p.world, &p.parked), -ENODEV);
		world_channel_close(&p.world, p.channel);
		world_close(&p.world, &p.user);
		assert_int_equal(world_finish(&p.world, &remove), 0);
		world_end(&p.world);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_parked_request_runs_again_when_there_is_space),
		cmocka_unit_test(a_range_lock_does_not_wait_for_parked_requests),
		cmocka_unit_test(a_parked_request_can_be_cancelled_and_no_other),
		cmocka_unit_test(a_parked_request_ends_with_its_device),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
