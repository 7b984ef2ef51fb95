/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Large requests, and buffers in more pieces than the kernel takes in one call (1,024), over a file
 * and over memory.
 */
#include "file_world.h"
#include "model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIZE       (8 * MIB)
#define PIECES_MAX 2050

/* The part of a buffer that a request uses, cut into pieces. */
struct pieces {
	struct iovec iov[PIECES_MAX];
	unsigned count;
	uint64_t length;
};

enum cut {
	CUT_EVEN, /* all of 512 bytes */
	CUT_MIXED, /* 512 to 2048 */
	CUT_ONE_ODD, /* one in the middle begins at no aligned address */
	CUT_ODD_AT_1024, /* the last that the kernel takes in one call is so */
	CUTS,
};

static uint8_t *memory_create(void)
{
	uint8_t *memory = aligned_alloc(4096, 2 * SIZE);

	assert_non_null(memory);
	return memory;
}

static void pieces_cut(struct pieces *pieces, uint8_t *memory, unsigned count, enum cut cut)
{
	uint8_t *at = memory;

	pieces->count = count;
	pieces->length = 0;
	for (unsigned i = 0; i < count; i++) {
		bool odd = (cut == CUT_ONE_ODD && i == count / 2) ||
			   (cut == CUT_ODD_AT_1024 && i == 1023);
		size_t length = cut == CUT_MIXED ? (1 + i % 4) * 512u : 512u;

		/* A gap between all of them: nothing can be merged by luck. */
		pieces->iov[i] = (struct iovec){at + (odd ? 1 : 0), length};
		pieces->length += length;
		at += length + 512;
	}
	assert_true((size_t)(at - memory) <= 2 * SIZE && pieces->length <= SIZE);
}

static uint8_t pattern(uint64_t at, unsigned seed)
{
	return (uint8_t)((at * 2654435761u >> 7) + at / 512 + seed);
}

static void pieces_fill(const struct pieces *pieces, unsigned seed)
{
	uint64_t at = 0;

	for (unsigned i = 0; i < pieces->count; i++) {
		uint8_t *to = pieces->iov[i].iov_base;

		for (size_t k = 0; k < pieces->iov[i].iov_len; k++)
			to[k] = pattern(at++, seed);
	}
}

static void pieces_check(const struct pieces *pieces, unsigned seed)
{
	uint64_t at = 0;

	for (unsigned i = 0; i < pieces->count; i++) {
		const uint8_t *from = pieces->iov[i].iov_base;

		for (size_t k = 0; k < pieces->iov[i].iov_len; k++, at++)
			if (from[k] != pattern(at, seed))
				fail_msg("byte %llu, in piece %u of %u", (unsigned long long)at, i,
					pieces->count);
	}
}

static int pieces_io(struct world *world, struct bdev_channel *channel, enum bdev_io_type type,
	const struct pieces *pieces, uint64_t offset)
{
	return world_io(
		world, channel, type, 0, pieces->iov, pieces->count, offset, pieces->length);
}

/* Written in pieces, read in one; written in one, read in pieces. */
static void check_chains(struct world *world, struct bdev_channel *channel)
{
	static const unsigned counts[] = {1, 2, 8, 9, 1023, 1024, 1025, 1026, 2047, 2048, 2050};
	struct pieces *many = calloc(1, sizeof(*many));
	struct pieces *one = calloc(1, sizeof(*one));
	uint8_t *memory = memory_create();
	uint8_t *flat = memory_create();
	unsigned seed = 0;

	assert_true(many && one);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		for (unsigned cut = 0; cut < CUTS; cut++, seed++) {
			uint64_t offset = (seed % 8) * 512;

			pieces_cut(many, memory, counts[i], (enum cut)cut);
			one->iov[0] = (struct iovec){flat, many->length};
			one->count = 1;
			one->length = many->length;
			pieces_fill(many, seed);
			assert_int_equal(pieces_io(world, channel, BDEV_IO_WRITE, many, offset), 0);
			memset(flat, 0, many->length);
			assert_int_equal(pieces_io(world, channel, BDEV_IO_READ, one, offset), 0);
			pieces_check(one, seed);
			pieces_fill(one, seed + 1);
			assert_int_equal(pieces_io(world, channel, BDEV_IO_WRITE, one, offset), 0);
			assert_int_equal(pieces_io(world, channel, BDEV_IO_READ, many, offset), 0);
			pieces_check(many, seed + 1);
		}
	}
	free(flat);
	free(memory);
	free(one);
	free(many);
}

static void a_file_serves_chains_of_any_length(void **state)
{
	struct file_world fw;

	file_world_start(&fw, 1, SIZE);
	check_chains(&fw.world, fw.channel);
	file_world_end(&fw);
}

/* The same while the kernel transfers less than it was asked, now and then. */
static void long_chains_survive_short_transfers(void **state)
{
	SIM_FOR_EACH_SEED(seed, 3)
	{
		struct pieces *many = calloc(1, sizeof(*many));
		uint8_t *memory = memory_create();
		struct file_world fw;

		assert_non_null(many);
		file_world_prepare(&fw, seed, SIZE);
		file_world_attach(&fw, 512);
		for (unsigned cut = 0; cut < CUTS; cut++) {
			pieces_cut(many, memory, PIECES_MAX, (enum cut)cut);
			pieces_fill(many, cut);
			sim_file_shorten(fw.file, 5);
			assert_int_equal(
				pieces_io(&fw.world, fw.channel, BDEV_IO_WRITE, many, 512), 0);
			pieces_fill(many, cut + 1);
			sim_file_shorten(fw.file, 5);
			assert_int_equal(
				pieces_io(&fw.world, fw.channel, BDEV_IO_READ, many, 512), 0);
			pieces_check(many, cut);
		}
		free(memory);
		free(many);
		file_world_end(&fw);
	}
}

/* An error in the second of several calls ends the request, once. */
static void an_error_behind_the_first_1024_pieces_is_reported(void **state)
{
	struct pieces *many = calloc(1, sizeof(*many));
	uint8_t *memory = memory_create();
	struct file_world fw;

	assert_non_null(many);
	file_world_prepare(&fw, 1, SIZE);
	file_world_attach(&fw, 512);
	pieces_cut(many, memory, 1100, CUT_EVEN);
	pieces_fill(many, 3);
	sim_file_fail_range(fw.file, 1050 * 512, 512, ENOSPC, 1);
	assert_int_equal(pieces_io(&fw.world, fw.channel, BDEV_IO_WRITE, many, 0), -ENOSPC);
	assert_int_equal(pieces_io(&fw.world, fw.channel, BDEV_IO_WRITE, many, 0), 0);
	sim_file_fail_range(fw.file, 1050 * 512, 512, EIO, 1);
	assert_int_equal(pieces_io(&fw.world, fw.channel, BDEV_IO_READ, many, 0), -EIO);
	pieces_fill(many, 0);
	assert_int_equal(pieces_io(&fw.world, fw.channel, BDEV_IO_READ, many, 0), 0);
	pieces_check(many, 3);
	free(memory);
	free(many);
	file_world_end(&fw);
}

/* Up to the whole device, one after the other, at and beside aligned addresses. */
static void check_large(struct world *world, struct bdev_channel *channel)
{
	static const uint64_t lengths[] = {128 * KIB, MIB, MIB + 512, 4 * MIB, SIZE};
	uint8_t *memory = memory_create();
	struct pieces one = {.count = 1};

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		for (unsigned skip_bytes = 0; skip_bytes <= 512; skip_bytes += 256) {
			uint64_t end = align_down(SIZE, lengths[i]);

			one.iov[0] = (struct iovec){memory + skip_bytes, lengths[i]};
			one.length = lengths[i];
			for (uint64_t at = 0; at + lengths[i] <= end; at += lengths[i]) {
				pieces_fill(&one, (unsigned)(at / 512));
				assert_int_equal(
					pieces_io(world, channel, BDEV_IO_WRITE, &one, at), 0);
			}
			for (uint64_t at = 0; at + lengths[i] <= end; at += lengths[i]) {
				memset(one.iov[0].iov_base, 0, lengths[i]);
				assert_int_equal(
					pieces_io(world, channel, BDEV_IO_READ, &one, at), 0);
				pieces_check(&one, (unsigned)(at / 512));
			}
		}
	}
	free(memory);
}

static void a_file_serves_requests_of_megabytes(void **state)
{
	struct file_world fw;

	file_world_start(&fw, 1, SIZE);
	check_large(&fw.world, fw.channel);
	file_world_end(&fw);
}

static void malloc_create_run(struct world_call *call)
{
	world_done(call, malloc_bdev_create(
				 call->world->registry, call->options, call->reason, &call->bdev));
}

static void memory_serves_long_chains_and_megabytes(void **state)
{
	const struct malloc_bdev_options options = {
		.name = "ram", .num_blocks = SIZE / 512, .block_size = 512};
	struct world_call call = {.run = malloc_create_run, .options = &options};
	struct bdev_channel *channel;
	struct world_user user;
	struct world world;

	world_start(&world, 1);
	assert_int_equal(world_run(&world, world.control, &call), 0);
	world_user_init(&user, "first");
	assert_int_equal(world_open(&world, call.bdev, &user, NULL), 0);
	assert_int_equal(world_channel_open(&world, &user, 0, &channel), 0);
	check_chains(&world, channel);
	check_large(&world, channel);
	world_channel_close(&world, channel);
	world_close(&world, &user);
	assert_int_equal(world_unregister(&world, call.bdev), 0);
	world_end(&world);
}

#define SIMULATED_ONLY 2

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_serves_chains_of_any_length),
		cmocka_unit_test(a_file_serves_requests_of_megabytes),
		cmocka_unit_test(memory_serves_long_chains_and_megabytes),
		/* only the simulated disk fails when told: SIMULATED_ONLY */
		cmocka_unit_test(long_chains_survive_short_transfers),
		cmocka_unit_test(an_error_behind_the_first_1024_pieces_is_reported),
	};

	host_select(argc, argv);
	return _cmocka_run_group_tests("tests", tests,
		ARRAY_SIZE(tests) - (host_is_simulated() ? 0 : SIMULATED_ONLY), NULL, NULL);
}
