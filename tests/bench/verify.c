/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Data verification. What a block must hold follows from its number and how often it was written;
 * the count is kept here. Two requests are never in flight on one block. A block that was never
 * written by this run, or whose last write failed, may hold anything.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

#define MAX_BLOCKS (UINT64_C(1) << 24)

struct bench_verify {
	uint32_t *writes; /* per block; 0: unknown contents */
	bool *busy;
};

int verify_create(struct bench *bench, struct bench_guest *guest)
{
	const struct role_options *options = guest->role->options;
	struct bench_verify *verify = calloc(1, sizeof(*verify));

	if (!verify)
		return -ENOMEM;
	if (guest->blocks > MAX_BLOCKS)
		guest->blocks = MAX_BLOCKS;
	verify->writes = calloc(guest->blocks, sizeof(*verify->writes));
	verify->busy = calloc(guest->blocks, sizeof(*verify->busy));
	guest->verify = verify;
	if (!verify->writes || !verify->busy)
		return -ENOMEM;
	if (guest->blocks < 2ull * options->depth * options->queues)
		return bench_fail(
			bench, -EINVAL, "the disk has too few blocks to keep requests apart");
	return 0;
}

void verify_destroy(struct bench_guest *guest)
{
	if (!guest->verify)
		return;
	free(guest->verify->writes);
	free(guest->verify->busy);
	free(guest->verify);
	guest->verify = NULL;
}

static uint64_t first_word(const struct bench_verify *verify, uint64_t block)
{
	uint64_t x = block * 0x9e3779b97f4a7c15 + verify->writes[block];

	x ^= x >> 31;
	x *= 0xbf58476d1ce4e5b9;
	return x ^ x >> 29;
}

uint64_t verify_start(struct bench_queue *queue, uint32_t request, uint64_t block)
{
	struct bench_verify *verify = queue->guest->verify;
	uint64_t *words = (uint64_t *)(void *)(queue->data + request * queue->data_stride);
	uint32_t count = queue->role->options->block_size / 8, i;
	uint64_t word;

	while (verify->busy[block])
		block = block + 1 == queue->guest->blocks ? 0 : block + 1;
	verify->busy[block] = true;
	queue->block[request] = block;
	if (!queue->writes[request]) {
		memset(words, 0xa5, queue->role->options->block_size);
		return block;
	}
	/* 0 is kept for "unknown", also when the count wraps. */
	if (!++verify->writes[block])
		verify->writes[block] = 1;
	word = first_word(verify, block);
	for (i = 0; i < count; i++, word += 0x0101010101010101)
		words[i] = word;
	return block;
}

bool verify_finish(struct bench_queue *queue, uint32_t request, bool failed)
{
	struct bench_verify *verify = queue->guest->verify;
	const uint64_t *words =
		(const uint64_t *)(void *)(queue->data + request * queue->data_stride);
	uint64_t block = queue->block[request], word;
	uint32_t count = queue->role->options->block_size / 8, i;

	verify->busy[block] = false;
	if (queue->writes[request]) {
		if (failed)
			verify->writes[block] = 0;
		return true;
	}
	if (failed || !verify->writes[block])
		return true;
	word = first_word(verify, block);
	for (i = 0; i < count; i++, word += 0x0101010101010101)
		if (words[i] != word)
			return false;
	return true;
}
