/* SPDX-License-Identifier: BSD-2-Clause */
/* The null and malloc devices. */
#include "backend/backends.h"
#include "model.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#define SIZE (6 * MIB)

struct memory_world {
	struct world world;
	struct bdev *bdev;
	struct world_user user;
	struct bdev_channel *channels[2];
};

static void null_create_run(struct world_call *call)
{
	world_done(call,
		null_bdev_create(call->world->registry, call->options, call->reason, &call->bdev));
}

static void malloc_create_run(struct world_call *call)
{
	world_done(call, malloc_bdev_create(
				 call->world->registry, call->options, call->reason, &call->bdev));
}

static int memory_create(struct world *world, void (*run)(struct world_call *call),
	const void *options, struct bdev **ret_bdev)
{
	struct reason reason = {0};
	struct world_call call = {.run = run, .options = options, .reason = &reason};
	int rc = world_run(world, world->control, &call);

	*ret_bdev = call.bdev;
	if (rc)
		assert_string_not_equal(reason.text, "");
	return rc;
}

static void memory_world_start(struct memory_world *mw, uint64_t seed,
	void (*run)(struct world_call *call), const void *options)
{
	world_start(&mw->world, seed);
	assert_int_equal(memory_create(&mw->world, run, options, &mw->bdev), 0);
	world_user_init(&mw->user, "first");
	assert_int_equal(world_open(&mw->world, mw->bdev, &mw->user, NULL), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(world_channel_open(&mw->world, &mw->user, i, &mw->channels[i]), 0);
}

static void memory_world_end(struct memory_world *mw)
{
	for (unsigned i = 0; i < 2; i++)
		world_channel_close(&mw->world, mw->channels[i]);
	world_close(&mw->world, &mw->user);
	assert_int_equal(world_unregister(&mw->world, mw->bdev), 0);
	world_end(&mw->world);
}

static void null_succeeds_and_leaves_buffers_alone(void **state)
{
	const struct null_bdev_options options = {
		.name = "null", .num_blocks = 1024, .block_size = 4096};
	uint8_t buf[4096], same[4096];
	struct memory_world mw;

	memory_world_start(&mw, 1, null_create_run, &options);
	assert_true(bdev_is_null(mw.bdev));
	assert_false(bdev_is_malloc(mw.bdev));
	memset(buf, 0x5a, sizeof(buf));
	memset(same, 0x5a, sizeof(same));
	assert_int_equal(world_write(&mw.world, mw.channels[0], buf, 0, 4096), 0);
	assert_int_equal(world_read(&mw.world, mw.channels[0], buf, 1023 * 4096, 4096), 0);
	assert_memory_equal(buf, same, sizeof(buf));
	for (unsigned type = BDEV_IO_FLUSH; type <= BDEV_IO_WRITE_ZEROES; type++)
		assert_int_equal(world_io(&mw.world, mw.channels[0], type, 0, NULL, 0, 0, 4096), 0);
	assert_int_equal(world_extent(&mw.world, mw.channels[0], 0, 8192).length, 8192);
	assert_int_equal(world_extent(&mw.world, mw.channels[0], 0, 8192).state,
		BDEV_EXTENT_DEALLOCATED); /* whatever was written */
	memory_world_end(&mw);
}

static void null_resize_run(struct world_call *call)
{
	world_done(
		call, null_bdev_resize(call->bdev, *(const uint64_t *)call->options, call->reason));
}

static int null_resize(struct memory_world *mw, uint64_t blocks)
{
	struct world_call call = {.run = null_resize_run, .bdev = mw->bdev, .options = &blocks};

	return world_run(&mw->world, mw->world.control, &call);
}

static void null_grows_only(void **state)
{
	const struct null_bdev_options options = {
		.name = "null", .num_blocks = 1024, .block_size = 512};
	struct memory_world mw;

	memory_world_start(&mw, 1, null_create_run, &options);
	assert_int_equal(null_resize(&mw, 2048), 0);
	assert_int_equal(bdev_size(mw.bdev), 2048 * 512);
	assert_int_equal(atomic_load(&mw.user.resized), 1);
	assert_int_equal(null_resize(&mw, 2047), -EINVAL);
	assert_int_equal(null_resize(&mw, UINT64_MAX), -EINVAL);
	assert_int_equal(null_resize(&mw, UINT64_C(1) << 54), -EINVAL);
	assert_int_equal(bdev_size(mw.bdev), 2048 * 512);
	memory_world_end(&mw);
}

static void malloc_reads_what_was_written_on_every_reactor(void **state)
{
	HOST_FOR_EACH_SEED(seed, 5)
	{
		const struct malloc_bdev_options options = {
			.name = "ram", .num_blocks = SIZE / 512, .block_size = 512};
		struct model low, high;
		struct memory_world mw;

		memory_world_start(&mw, seed, malloc_create_run, &options);
		assert_true(bdev_is_malloc(mw.bdev));
		assert_true(mw.bdev->unmap_reads_zeroes);
		model_init(&low, &mw.world, mw.channels[0], 0, SIZE / 2, seed);
		model_init(&high, &mw.world, mw.channels[1], SIZE / 2, SIZE / 2, seed);
		low.longest = SIZE / 2;
		model_check(&low); /* zeroes after creation */
		for (unsigned i = 0; i < 12; i++) {
			model_run(&low, 20);
			model_run(&high, 20);
		}
		model_check(&low);
		model_check(&high);
		model_fini(&low);
		model_fini(&high);
		memory_world_end(&mw);
	}
}

/* A long request and a short one to elsewhere: the long one takes several turns. */
static void malloc_does_long_and_short_requests_at_the_same_time(void **state)
{
	static uint8_t large[4 * MIB], small[512];
	const struct malloc_bdev_options options = {
		.name = "ram", .num_blocks = SIZE / 512, .block_size = 512};
	struct iovec iov = {.iov_base = large, .iov_len = sizeof(large)};
	struct world_call calls[3] = {0};
	struct memory_world mw;

	memory_world_start(&mw, 1, malloc_create_run, &options);
	memset(large, 0x77, sizeof(large));
	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		calls[i].channel = mw.channels[0];
		calls[i].io = (struct bdev_io){.type = i == 1 ? BDEV_IO_UNMAP : BDEV_IO_WRITE,
			.iov = i == 1 ? NULL : &iov,
			.iovcnt = i == 1 ? 0 : 1,
			.offset = i == 1 ? 5 * MIB : 0,
			.length = i == 1 ? MIB : sizeof(large)};
		world_io_begin(&mw.world, &calls[i]);
	}
	assert_int_equal(world_write(&mw.world, mw.channels[0], small, 4 * MIB, 512), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++)
		assert_int_equal(world_finish(&mw.world, &calls[i]), 0);
	memset(large, 0, sizeof(large));
	assert_int_equal(world_read(&mw.world, mw.channels[1], large, 0, sizeof(large)), 0);
	for (size_t i = 0; i < sizeof(large); i++)
		assert_int_equal(large[i], 0x77);
	memory_world_end(&mw);
}

/* ---- turns ------------------------------------------------------------------------------- */

#define FLOOD_REQUESTS 160
#define FLOOD_BYTES    (16 * KIB)

struct flood_io {
	struct bdev_io io;
	struct iovec iov;
	struct flood *flood;
};

struct flood {
	struct world_call call;
	struct flood_io ios[FLOOD_REQUESTS];
	unsigned left;
	unsigned next; /* they end in the order they came */
	bool in_order;
	uint64_t late_ns; /* other work took so long in the turn they came in */
	uint64_t turn;
	uint64_t turn_bytes;
	uint64_t first_turn;
	uint64_t first_bytes; /* copied in that one */
	uint64_t most_bytes; /* copied in one turn */
};

static void flood_io_done(struct bdev_io *io)
{
	struct flood *flood = container_of(io, struct flood_io, io)->flood;
	uint64_t turn = io->channel->reactor->stats.turns;

	flood->turn_bytes = flood->turn == turn ? flood->turn_bytes + io->length : io->length;
	if (flood->first_turn == 0)
		flood->first_turn = turn;
	if (flood->first_turn == turn)
		flood->first_bytes = flood->turn_bytes;
	flood->turn = turn;
	flood->most_bytes = u64_max(flood->most_bytes, flood->turn_bytes);
	flood->in_order &= container_of(io, struct flood_io, io) == &flood->ios[flood->next++];
	if (--flood->left == 0)
		world_done(&flood->call, io->status);
}

/* All in one turn, as many queues would. */
static void flood_run(struct world_call *call)
{
	struct flood *flood = container_of(call, struct flood, call);

	for (unsigned i = 0; i < FLOOD_REQUESTS; i++)
		bdev_submit(call->channel, &flood->ios[i].io);
	if (flood->late_ns)
		sim_spend(call->channel->reactor->os, flood->late_ns);
}

static void flood_write(
	struct memory_world *mw, struct flood *flood, uint8_t *data, uint64_t late_ns)
{
	*flood = (struct flood){.left = FLOOD_REQUESTS,
		.late_ns = late_ns,
		.in_order = true,
		.call = {.run = flood_run, .channel = mw->channels[0]}};
	for (unsigned i = 0; i < FLOOD_REQUESTS; i++) {
		flood->ios[i].flood = flood;
		flood->ios[i].iov = (struct iovec){data + i * FLOOD_BYTES, FLOOD_BYTES};
		flood->ios[i].io = (struct bdev_io){.type = BDEV_IO_WRITE,
			.iov = &flood->ios[i].iov,
			.iovcnt = 1,
			.offset = i * FLOOD_BYTES,
			.length = FLOOD_BYTES,
			.done = flood_io_done};
	}
	assert_int_equal(world_run(&mw->world, mw->world.data[0], &flood->call), 0);
}

static void malloc_copies_a_bounded_part_of_many_short_requests_in_a_turn(void **state)
{
	const struct malloc_bdev_options options = {
		.name = "ram", .num_blocks = SIZE / 512, .block_size = 512};
	static uint8_t data[FLOOD_REQUESTS * FLOOD_BYTES], back[sizeof(data)];
	static struct flood flood;
	struct memory_world mw;

	memory_world_start(&mw, 1, malloc_create_run, &options);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / FLOOD_BYTES);
	/* The first time some wait for memory, and others overtake them. */
	flood_write(&mw, &flood, data, 0);
	flood_write(&mw, &flood, data, 0);
	assert_true(flood.in_order);
	assert_true(flood.most_bytes <= 512 * KIB);
	assert_true(flood.most_bytes >= 4 * FLOOD_BYTES); /* a batch is a batch */
	assert_int_equal(world_read(&mw.world, mw.channels[1], back, 0, sizeof(back)), 0);
	assert_memory_equal(back, data, sizeof(data));
	memory_world_end(&mw);
}

static void malloc_leaves_copies_to_the_next_turn_when_the_time_of_this_is_up(void **state)
{
	const struct malloc_bdev_options options = {
		.name = "ram", .num_blocks = SIZE / 512, .block_size = 512};
	static uint8_t data[FLOOD_REQUESTS * FLOOD_BYTES];
	static struct flood flood;
	struct memory_world mw;

	memory_world_start(&mw, 1, malloc_create_run, &options);
	flood_write(&mw, &flood, data, 0); /* takes the memory */
	flood_write(&mw, &flood, data, REACTOR_TURN_NS);
	assert_true(flood.in_order);
	/* What it does before it looks at the clock. */
	assert_in_range(flood.first_bytes, FLOOD_BYTES, REACTOR_LOOK_UNITS * KIB);
	memory_world_end(&mw);
}

/* ---- where memory comes from ------------------------------------------------------------- */

#define FRESH_SIZE (64 * MIB)

/* Page faults of the data thread. */
static void faults_run(struct world_call *call)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_THREAD, &usage), 0);
	world_done(call, (int)usage.ru_minflt);
}

static int data_thread_faults(struct memory_world *mw)
{
	struct world_call call = {.run = faults_run};

	return world_run(&mw->world, mw->world.data[0], &call);
}

/* One write into each region, and one across each border. */
static void write_everywhere(struct memory_world *mw, const uint8_t *buf)
{
	for (uint64_t at = 0; at < FRESH_SIZE; at += 2 * MIB) {
		if (at)
			assert_int_equal(
				world_write(&mw->world, mw->channels[0], buf, at - 512, 4096), 0);
		assert_int_equal(world_write(&mw->world, mw->channels[0], buf, at + MIB, 4096), 0);
	}
}

static void unmap_everything(struct memory_world *mw)
{
	assert_int_equal(
		world_io(&mw->world, mw->channels[0], BDEV_IO_UNMAP, 0, NULL, 0, 0, FRESH_SIZE), 0);
}

static void memory_is_not_taken_by_the_data_thread(void **state)
{
	const struct malloc_bdev_options options = {
		.name = "ram", .num_blocks = FRESH_SIZE / 512, .block_size = 512};
	static uint8_t buf[4096], back[4096];
	struct memory_world mw;
	int least = INT32_MAX;

	memory_world_start(&mw, 1, malloc_create_run, &options);
	memset(buf, 0x5c, sizeof(buf));
	memset(back, 1, sizeof(back));
	write_everywhere(&mw, buf);
	/* Given back and taken again, several times: a sanitizer's own faults come and go. */
	for (unsigned round = 0; round < 5; round++) {
		int faults;

		unmap_everything(&mw);
		faults = data_thread_faults(&mw);
		write_everywhere(&mw, buf);
		faults = data_thread_faults(&mw) - faults;
		if (faults < least)
			least = faults;
	}
	if (!mw.world.host.sim) /* where every thread is the test's own */
		assert_true(least < 16); /* of the 32 regions */
	for (uint64_t at = 2 * MIB; at < FRESH_SIZE; at += 2 * MIB) {
		assert_int_equal(world_read(&mw.world, mw.channels[1], back, at - 512, 4096), 0);
		assert_memory_equal(back, buf, sizeof(buf));
	}
	unmap_everything(&mw);
	assert_int_equal(world_write(&mw.world, mw.channels[0], buf, 6 * MIB, 4096), 0);
	assert_int_equal(world_read(&mw.world, mw.channels[1], back, 6 * MIB - 4096, 4096), 0);
	for (size_t i = 0; i < sizeof(back); i++)
		assert_int_equal(back[i], 0);
	memory_world_end(&mw);
}

static void impossible_memory_devices_are_refused(void **state)
{
	static const struct malloc_bdev_options wrong[] = {
		{.name = "x", .num_blocks = 0, .block_size = 512},
		{.name = "x", .num_blocks = 8, .block_size = 500},
		{.name = "x", .num_blocks = 8, .block_size = 0},
		{.name = "", .num_blocks = 8, .block_size = 512},
		{.name = "x", .num_blocks = UINT64_MAX / 256, .block_size = 512},
		{.name = "x", .num_blocks = UINT64_C(1) << 54, .block_size = 512},
		{.name = "x", .num_blocks = 8, .block_size = 512, .optimal_io_boundary = 1u << 31},
		{.name = "x", .num_blocks = 8, .block_size = 4096, .physical_block_size = 512},
	};
	const struct malloc_bdev_options huge = {
		.name = "x", .num_blocks = UINT64_C(1) << 52, .block_size = 512};
	const struct null_bdev_options wrong_null = {
		.name = "x", .num_blocks = UINT64_MAX / 256, .block_size = 512};
	struct bdev *bdev;
	struct world world;

	world_start(&world, 1);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(
			memory_create(&world, malloc_create_run, &wrong[i], &bdev), -EINVAL);
	assert_int_equal(memory_create(&world, malloc_create_run, &huge, &bdev), -ENOMEM);
	assert_int_equal(memory_create(&world, null_create_run, &wrong_null, &bdev), -EINVAL);
	world_end(&world);
}

static void assert_extent(struct memory_world *mw, uint64_t offset, uint64_t length,
	uint64_t wanted, enum bdev_extent_state state)
{
	struct bdev_extent extent = world_extent(&mw->world, mw->channels[0], offset, length);

	assert_int_equal(extent.length, wanted);
	assert_int_equal(extent.state, state);
}

static void malloc_tells_which_regions_have_been_written(void **state)
{
	const uint64_t size = 7 * MIB; /* three regions and a half */
	const struct malloc_bdev_options options = {
		.name = "ram", .num_blocks = size / 512, .block_size = 512};
	struct memory_world mw;
	uint8_t buf[512] = {1};

	memory_world_start(&mw, 1, malloc_create_run, &options);
	assert_extent(&mw, 0, size, size, BDEV_EXTENT_DEALLOCATED);
	assert_extent(&mw, 1024, 512, 512, BDEV_EXTENT_DEALLOCATED);
	assert_int_equal(world_write(&mw.world, mw.channels[0], buf, 3 * MIB, 512), 0);
	assert_int_equal(world_write(&mw.world, mw.channels[1], buf, size - 512, 512), 0);
	assert_extent(&mw, 0, size, 2 * MIB, BDEV_EXTENT_DEALLOCATED);
	assert_extent(&mw, 3 * MIB, size - 3 * MIB, MIB, BDEV_EXTENT_MAPPED);
	assert_extent(&mw, 4 * MIB, 3 * MIB, 2 * MIB, BDEV_EXTENT_DEALLOCATED);
	assert_extent(&mw, 6 * MIB, MIB, MIB, BDEV_EXTENT_MAPPED);
	assert_int_equal(world_io(&mw.world, mw.channels[0], BDEV_IO_UNMAP, 0, NULL, 0,
				 2 * MIB + 4096, size - 2 * MIB - 4096),
		0);
	assert_extent(&mw, 2 * MIB, 5 * MIB, 2 * MIB, BDEV_EXTENT_MAPPED); /* not all of it */
	assert_extent(&mw, 4 * MIB, 3 * MIB, 3 * MIB, BDEV_EXTENT_DEALLOCATED);
	assert_int_equal(
		world_io(&mw.world, mw.channels[0], BDEV_IO_WRITE_ZEROES, 0, NULL, 0, 0, size), 0);
	assert_extent(&mw, 0, size, size, BDEV_EXTENT_DEALLOCATED);
	memory_world_end(&mw);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(null_succeeds_and_leaves_buffers_alone),
		cmocka_unit_test(null_grows_only),
		cmocka_unit_test(malloc_reads_what_was_written_on_every_reactor),
		cmocka_unit_test(malloc_tells_which_regions_have_been_written),
		cmocka_unit_test(malloc_does_long_and_short_requests_at_the_same_time),
		cmocka_unit_test(malloc_copies_a_bounded_part_of_many_short_requests_in_a_turn),
		cmocka_unit_test(memory_is_not_taken_by_the_data_thread),
		cmocka_unit_test(impossible_memory_devices_are_refused),
		/* work has a length only in the simulation */
		cmocka_unit_test(malloc_leaves_copies_to_the_next_turn_when_the_time_of_this_is_up),
	};

	host_select(argc, argv);
	return _cmocka_run_group_tests(
		"tests", tests, ARRAY_SIZE(tests) - (!host_is_simulated() ? 1 : 0), NULL, NULL);
}
