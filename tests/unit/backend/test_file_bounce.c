/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests whose buffers O_DIRECT does not take, in numbers. */
#include "file_world.h"
#include "model.h"

#include <stdlib.h>
#include <string.h>

#define FLOOD_MAX 300

struct flood_io {
	struct bdev_io io;
	struct iovec iov;
	struct flood *flood;
};

/* Requests that a reactor submits in one turn. */
struct flood {
	struct world_call call;
	struct flood_io ios[FLOOD_MAX];
	unsigned count;
	unsigned left;
	uint64_t turn;
	uint64_t turn_bytes;
	uint64_t most_bytes; /* that ended in one turn */
	uint8_t *memory;
	uint32_t length; /* of each */
};

static void flood_io_done(struct bdev_io *io)
{
	struct flood *flood = container_of(io, struct flood_io, io)->flood;
	uint64_t turn = io->channel->reactor->stats.turns;

	assert_int_equal(io->status, 0);
	flood->turn_bytes = flood->turn == turn ? flood->turn_bytes + io->length : io->length;
	flood->turn = turn;
	flood->most_bytes = u64_max(flood->most_bytes, flood->turn_bytes);
	if (--flood->left == 0)
		world_done(&flood->call, 0);
}

static void flood_run(struct world_call *call)
{
	struct flood *flood = container_of(call, struct flood, call);

	for (unsigned i = 0; i < flood->count; i++)
		bdev_submit(call->channel, &flood->ios[i].io);
}

/* Each has a buffer of its own that begins skip bytes behind an aligned address. */
static struct flood *flood_create(unsigned count, uint32_t length, unsigned skip)
{
	struct flood *flood = calloc(1, sizeof(*flood));
	uint32_t stride = (uint32_t)align_up(length + skip, 4096);

	assert_non_null(flood);
	flood->count = count;
	flood->length = length;
	flood->memory = aligned_alloc(4096, (size_t)count * stride);
	assert_non_null(flood->memory);
	for (unsigned i = 0; i < count; i++) {
		struct flood_io *io = &flood->ios[i];

		io->flood = flood;
		io->iov = (struct iovec){flood->memory + (size_t)i * stride + skip, length};
		io->io = (struct bdev_io){.iov = &io->iov,
			.iovcnt = 1,
			.offset = (uint64_t)i * length,
			.length = length,
			.done = flood_io_done};
	}
	return flood;
}

static void flood_begin(struct file_world *fw, struct flood *flood, enum bdev_io_type type)
{
	for (unsigned i = 0; i < flood->count; i++)
		flood->ios[i].io.type = (uint8_t)type;
	flood->left = flood->count;
	flood->most_bytes = 0;
	flood->turn = 0;
	flood->call = (struct world_call){.run = flood_run, .channel = fw->channel};
	world_begin(&fw->world, fw->world.data[0], &flood->call);
}

static void flood_fill(struct flood *flood, unsigned seed)
{
	for (unsigned i = 0; i < flood->count; i++)
		memset(flood->ios[i].iov.iov_base, (int)(i * 7 + seed), flood->length);
}

static void flood_check(const struct flood *flood, unsigned seed)
{
	for (unsigned i = 0; i < flood->count; i++) {
		const uint8_t *at = flood->ios[i].iov.iov_base;

		for (uint32_t k = 0; k < flood->length; k++)
			assert_int_equal(at[k], (uint8_t)(i * 7 + seed));
	}
}

static void flood_destroy(struct flood *flood)
{
	free(flood->memory);
	free(flood);
}

/* All transfers end together; what they copy is spread over turns. */
static void copies_of_a_turn_are_bounded(void **state)
{
	const unsigned count = 100;
	const uint32_t length = 32 * 1024;

	SIM_FOR_EACH_SEED(seed, 5)
	{
		struct flood *flood = flood_create(count, length, 1);
		struct file_world fw;

		file_world_start(&fw, seed, (uint64_t)count * length);
		flood_fill(flood, 1);
		flood_begin(&fw, flood, BDEV_IO_WRITE);
		assert_int_equal(world_finish(&fw.world, &flood->call), 0);
		flood_fill(flood, 99);
		sim_file_hold(fw.file);
		flood_begin(&fw, flood, BDEV_IO_READ);
		host_sleep(&fw.world.host, 100 * MSEC_NS);
		assert_int_equal(flood->left, count);
		sim_file_release(fw.file);
		assert_int_equal(world_finish(&fw.world, &flood->call), 0);
		flood_check(flood, 1);
		assert_true(flood->most_bytes <= 256 * KIB);
		flood_destroy(flood);
		file_world_end(&fw);
	}
}

/* More than may have bounce memory at once: the others wait, none is forgotten. */
static void requests_beyond_the_bounce_memory_wait_their_turn(void **state)
{
	SIM_FOR_EACH_SEED(seed, 5)
	{
		struct flood *flood = flood_create(FLOOD_MAX, 4096, 3);
		struct file_world fw;

		file_world_start(&fw, seed, FLOOD_MAX * 4096);
		flood_fill(flood, 5);
		flood_begin(&fw, flood, BDEV_IO_WRITE);
		assert_int_equal(world_finish(&fw.world, &flood->call), 0);
		flood_fill(flood, 0);
		flood_begin(&fw, flood, BDEV_IO_READ);
		assert_int_equal(world_finish(&fw.world, &flood->call), 0);
		flood_check(flood, 5);
		flood_destroy(flood);
		file_world_end(&fw);
	}
}

/* The file system wants more than it says: that is found out once, not at every request. */
static void what_alignment_is_wanted_is_learnt_once(void **state)
{
	const unsigned count = 50;
	struct flood *flood = flood_create(count, 4096, 512);
	struct file_world fw;
	unsigned calls;

	file_world_start(&fw, 1, 64 * 4096);
	sim_file_set_direct(fw.file, 4096, 512);
	flood_fill(flood, 5);
	calls = sim_count_calls(fw.world.host.sim, SIM_CALL_IO_WRITEV);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(world_write(&fw.world, fw.channel, flood->ios[i].iov.iov_base,
					 i * 4096, 4096),
			0);
	calls = sim_count_calls(fw.world.host.sim, SIM_CALL_IO_WRITEV) - calls;
	assert_int_equal(calls, count + 1);
	flood_fill(flood, 0);
	flood_begin(&fw, flood, BDEV_IO_READ);
	assert_int_equal(world_finish(&fw.world, &flood->call), 0);
	flood_check(flood, 5);
	flood_destroy(flood);
	file_world_end(&fw);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_of_a_turn_are_bounded),
		cmocka_unit_test(requests_beyond_the_bounce_memory_wait_their_turn),
		cmocka_unit_test(what_alignment_is_wanted_is_learnt_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
