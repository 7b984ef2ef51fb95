/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vhost-bench: a load generator that drives any vhost-user target of virtio-blk or virtio-scsi
 * from one polling thread. What its files share.
 *
 * Everything that does not change from one request to the next is laid out beforehand: each of the
 * `depth` requests of a queue has its header, status and data at fixed places, and on split rings
 * its descriptors too. To repeat one, its block number and one entry of the available ring are
 * written. Completions are taken in batches of at most `batch`; a batch reads the clock once, is
 * published once and decides once whether to kick.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include <jansson.h>

#include "frontend/frontend.h"

enum bench_mode { MODE_RANDREAD, MODE_RANDWRITE, MODE_READ, MODE_WRITE, MODE_MIX };

struct bench_options {
	const char *socket;
	enum fe_bus bus;
	enum bench_mode mode;
	uint32_t target, lun;
	uint32_t read_share; /* per cent, of MODE_MIX */
	uint32_t block_size; /* bytes */
	uint32_t depth; /* per queue */
	uint32_t queues;
	uint32_t batch;
	uint32_t ring_size; /* 0: what the depth needs, at least 128 */
	double seconds, warmup;
	uint64_t seed;
	uint64_t range; /* bytes of the disk to use; 0: all */
	uint64_t memory; /* bytes of guest memory; 0: what is needed */
	bool packed, indirect, event_idx, notified, verify, no_inflight;
	int target_pid; /* 0: unknown */
	const char *rpc; /* JSON-RPC socket of the target, or NULL */
};

#define BENCH_MAX_DEPTH  4096u
#define BENCH_MAX_QUEUES 64u
#define BENCH_MAX_BATCH  64u
#define CHAIN_SLOTS      4u /* of a split ring per direct request, so that ids need no lookup */

/* ---- clock ---- */

static inline uint64_t ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
	uint64_t value;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
	return value;
#else
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
#endif
}

static inline uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

double ticks_per_ns(void); /* measured once, in 50 ms */

/* ---- histogram: log-linear, 32 steps to each power of two, so within 3 per cent ---- */

#define HISTOGRAM_STEPS   32u
#define HISTOGRAM_BUCKETS (60u * HISTOGRAM_STEPS)

struct histogram {
	uint64_t count, sum, max;
	uint32_t bucket[HISTOGRAM_BUCKETS];
};

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
	uint32_t shift = 58 - (uint32_t)__builtin_clzll(value | 32);

	histogram->bucket[shift * HISTOGRAM_STEPS + (uint32_t)(value >> shift)]++;
	histogram->sum += value;
	histogram->count++;
	if (value > histogram->max)
		histogram->max = value;
}

uint64_t histogram_quantile(const struct histogram *histogram, double share);

/* ---- queues ---- */

struct bench_queue {
	struct fe_ring *ring; /* areas and eventfds; its own bookkeeping is not used */
	uint32_t depth, batch;
	uint16_t mask; /* split: ring size - 1 */
	uint16_t shift; /* split: head >> shift is the request */
	uint16_t avail_idx, used_idx, kicked_idx;
	bool avail_wrap, used_wrap; /* packed */
	uint16_t chain_slots; /* packed */
	uint32_t live; /* requests in flight */
	uint64_t random;
	uint64_t next_block; /* sequential modes */

	/* Guest memory of the requests. */
	uint8_t *commands;
	uint32_t command_stride;
	uint8_t *data;
	uint64_t data_stride;
	uint8_t *tables; /* indirect; 64 bytes each */

	/* Ours, by request. */
	uint64_t *stamp;
	bool *writes;
	uint64_t *block; /* kept for verification */
	struct fe_packed_desc (
		*packed_chain)[4]; /* as they go into the ring, flags without AVAIL */

	uint64_t batches, kicks;
};

struct bench_verify;

struct bench {
	struct bench_options options;
	struct fe *fe;
	struct bench_queue queue[BENCH_MAX_QUEUES];
	uint64_t blocks; /* of block_size, in the range used */
	uint32_t units; /* sectors or logical blocks in one */
	bool random, mix, stopping;
	uint32_t read_threshold; /* MODE_MIX: of 2^32 */
	struct bench_verify *verify;
	struct histogram latency;
	uint64_t errors, wakeups;
	uint16_t first_error;
	char why[256];
};

/* Offsets within a command in guest memory. */
#define BLK_STATUS_AT    16u
#define BLK_STRIDE       64u
#define SCSI_RESPONSE_AT 64u
#define SCSI_STRIDE      192u

/* setup.c: connects, finds the size of the disk, lays all requests out. 0 or -errno with why. */
int bench_open(struct bench *bench);
void bench_close(struct bench *bench);
/* Rewrites the descriptors of a request for the other direction. */
void bench_lay_out(struct bench *bench, struct bench_queue *queue, uint32_t request, bool write);

/* load.c: runs until `until` (in ticks); with bench->stopping until nothing is in flight. */
int bench_submit_all(struct bench *bench);
int bench_run(struct bench *bench, uint64_t until);

/* verify.c: every block's contents are a function of its number and how often it was written. */
int verify_create(struct bench *bench);
void verify_destroy(struct bench *bench);
/* May choose another block when that one is in flight. */
uint64_t verify_start(
	struct bench *bench, struct bench_queue *queue, uint32_t request, uint64_t block);
bool verify_finish(struct bench *bench, struct bench_queue *queue, uint32_t request, bool failed);

/* target.c: what the target used. */
struct target_usage;
struct target_usage *target_usage_take(const struct bench_options *options); /* free() it */
json_t *target_usage_report(
	const struct target_usage *before, const struct target_usage *after, uint64_t requests);

/* options.c */
int options_parse(int argc, char **argv, struct bench_options *ret_options);
extern const char *const mode_names[];

#endif
