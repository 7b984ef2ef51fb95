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

int verify_create(struct bench *bench)
{
	struct bench_verify *verify = calloc(1, sizeof(*verify));

	if (!verify)
		return -ENOMEM;
	if (bench->blocks > MAX_BLOCKS)
		bench->blocks = MAX_BLOCKS;
	verify->writes = calloc(bench->blocks, sizeof(*verify->writes));
	verify->busy = calloc(bench->blocks, sizeof(*verify->busy));
	bench->verify = verify;
	if (!verify->writes || !verify->busy ||
		bench->blocks < 2ull * bench->options.depth * bench->options.queues) {
		strcpy(bench->why, "the disk has too few blocks to keep requests apart");
		return -EINVAL;
	}
	return 0;
}

void verify_destroy(struct bench *bench)
{
	if (!bench->verify)
		return;
	free(bench->verify->writes);
	free(bench->verify->busy);
	free(bench->verify);
	bench->verify = NULL;
}

static uint64_t first_word(const struct bench *bench, uint64_t block)
{
	uint64_t x = block * 0x9e3779b97f4a7c15 + bench->verify->writes[block];

	x ^= x >> 31;
	x *= 0xbf58476d1ce4e5b9;
	return x ^ x >> 29;
}

uint64_t verify_start(
	struct bench *bench, struct bench_queue *queue, uint32_t request, uint64_t block)
{
	uint64_t *words = (uint64_t *)(void *)(queue->data + request * queue->data_stride);
	uint32_t count = bench->options.block_size / 8, i;
	uint64_t word;

	while (bench->verify->busy[block])
		block = block + 1 == bench->blocks ? 0 : block + 1;
	bench->verify->busy[block] = true;
	queue->block[request] = block;
	if (!queue->writes[request]) {
		memset(words, 0xa5, bench->options.block_size);
		return block;
	}
	/* 0 is kept for "unknown", also when the count wraps. */
	if (!++bench->verify->writes[block])
		bench->verify->writes[block] = 1;
	word = first_word(bench, block);
	for (i = 0; i < count; i++, word += 0x0101010101010101)
		words[i] = word;
	return block;
}

bool verify_finish(struct bench *bench, struct bench_queue *queue, uint32_t request, bool failed)
{
	const uint64_t *words =
		(const uint64_t *)(void *)(queue->data + request * queue->data_stride);
	uint64_t block = queue->block[request], word;
	uint32_t count = bench->options.block_size / 8, i;

	bench->verify->busy[block] = false;
	if (queue->writes[request]) {
		if (failed)
			bench->verify->writes[block] = 0;
		return true;
	}
	if (failed || !bench->verify->writes[block])
		return true;
	word = first_word(bench, block);
	for (i = 0; i < count; i++, word += 0x0101010101010101)
		if (words[i] != word)
			return false;
	return true;
}
