/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vhost-bench: a load generator that drives any vhost-user target of virtio-blk or virtio-scsi
 * from one polling thread. What its files share.
 *
 * Roles and guests. A role says what a kind of guest does; it has one or more guests. Each guest is
 * a connection with memory, rings and a disk of its own: its socket is the path given with %u
 * replaced by the guest's number, counted over all roles. Of a guest's rings the first `queues` are
 * driven, the `idle_queues` behind them are started and never kicked.
 *
 * Closed loop: `depth` requests are always in flight on a queue; a completion is repeated at once.
 * Open loop (`interarrival_us`): requests arrive by the clock, whatever the target does; one that
 * finds all `depth` of them in flight waits, and its latency counts from when it was due.
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

#define BENCH_MAX_DEPTH  32768u
#define BENCH_MAX_QUEUES 250u /* of a guest */
#define BENCH_MAX_GUESTS 1024u
#define BENCH_MAX_ROLES  8u
#define BENCH_MAX_BATCH  64u
#define CHAIN_SLOTS      4u /* of a split ring per direct request, so that ids need no lookup */

enum bench_mode { MODE_RANDREAD, MODE_RANDWRITE, MODE_READ, MODE_WRITE, MODE_MIX };

/* What a kind of guest does. */
struct role_options {
	const char *name;
	enum bench_mode mode;
	uint32_t guests;
	uint32_t target, lun;
	uint32_t read_share; /* per cent, of MODE_MIX */
	uint32_t block_size; /* bytes */
	uint32_t depth; /* per queue */
	uint32_t queues, idle_queues;
	uint32_t batch;
	uint32_t ring_size; /* 0: what the depth needs, at least 128 */
	uint32_t burst; /* requests of one arrival */
	double interarrival_us; /* of one queue; 0: closed loop */
	bool random_arrivals; /* a Poisson process, else regular */
	bool indirect, verify;
	uint64_t range; /* bytes of the disk to use; 0: all */
	uint64_t memory; /* bytes of guest memory; 0: what is needed */
};

struct bench_options {
	const char *socket;
	enum fe_bus bus;
	double seconds, warmup;
	uint64_t seed;
	bool packed, event_idx, notified, no_inflight, drain;
	int target_pid; /* 0: unknown */
	const char *rpc; /* JSON-RPC socket of the target, or NULL */
	struct role_options role[BENCH_MAX_ROLES];
	uint32_t role_count;
};

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

/* ---- roles, guests, queues ---- */

struct bench_role {
	const struct role_options *options;
	uint32_t first_guest;
	bool random, mix, open;
	uint32_t read_threshold; /* MODE_MIX: of 2^32 */
	struct histogram latency;
};

struct bench_queue {
	/* What every pass looks at. */
	struct fe_ring *ring; /* areas and eventfds; its own bookkeeping is not used */
	struct bench_role *role;
	struct bench_guest *guest;
	uint32_t depth, batch;
	uint16_t mask; /* split: ring size - 1 */
	uint16_t shift; /* split: head >> shift is the request */
	uint16_t avail_idx, used_idx, kicked_idx;
	bool avail_wrap, used_wrap; /* packed */
	uint16_t chain_slots; /* packed */
	uint32_t live; /* requests in flight; kept when stopping, in an open loop and in a drain */
	uint64_t next_due; /* open loop: in ticks */
	double interval; /* open loop: in ticks */
	uint32_t burst_left; /* open loop: of the arrival that is due next */

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
	uint32_t *spare; /* open loop: requests that are not in flight */
	uint32_t spare_count;
	struct fe_packed_desc (
		*packed_chain)[4]; /* as they go into the ring, flags without AVAIL */

	uint64_t random;
	uint64_t next_block; /* sequential modes */
	uint64_t completed, batches, kicks;
};

struct bench_verify;

struct bench_guest {
	struct bench_role *role;
	struct fe *fe;
	struct bench_queue *queue; /* role->options->queues of them, in bench->queue */
	uint64_t blocks; /* of block_size, in the range used */
	uint32_t units; /* sectors or logical blocks in one */
	struct bench_verify *verify;
};

struct bench {
	struct bench_options options;
	struct bench_role role[BENCH_MAX_ROLES];
	struct bench_guest *guest;
	uint32_t guest_count;
	struct bench_queue *queue; /* the driven ones of all guests */
	uint32_t queue_count;
	bool open, stopping;
	uint64_t errors, wakeups, passes, empty_passes;
	uint16_t first_error;
	struct drain *drain; /* results, or NULL */
	char why[256];
};

/* Offsets within a command in guest memory. */
#define BLK_STATUS_AT    16u
#define BLK_STRIDE       64u
#define SCSI_RESPONSE_AT 64u
#define SCSI_STRIDE      192u

int bench_fail(struct bench *bench, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4))); /* writes `why`, returns rc */

/* setup.c: connects, finds the sizes of the disks. 0 or -errno with why. */
int bench_open(struct bench *bench);
void bench_close(struct bench *bench);
uint32_t role_ring_size(const struct role_options *options);

/* layout.c: all that can be written before the first request. */
int queue_create(struct bench *bench, struct bench_guest *guest, uint32_t index);
void queue_destroy(struct bench_queue *queue);
/* Rewrites the descriptors of a request for the other direction. */
void bench_lay_out(struct bench_queue *queue, uint32_t request, bool write);

/* load.c, closed loop: runs until `until` (in ticks); with bench->stopping until nothing is in
 * flight. */
void bench_submit_all(struct bench *bench);
int bench_run(struct bench *bench, uint64_t until);
/* Notified mode: waits for a call of any queue, at most so long. */
void bench_sleep(struct bench *bench, uint64_t most_ns);

/* arrivals.c, open loop: the same. */
void arrivals_start(struct bench *bench);
int arrivals_run(struct bench *bench, uint64_t until);

/* drain.c: stops the target, fills all rings, lets it go, and measures until all is used. */
int drain_run(struct bench *bench, uint64_t until);
json_t *drain_report(const struct bench *bench);

/* report.c: forget what the warm-up measured; print what was measured since. */
void bench_forget(struct bench *bench);
struct target_usage;
void bench_report(const struct bench *bench, double seconds, const struct target_usage *before,
	const struct target_usage *after);

/* verify.c: every block's contents are a function of its number and how often it was written. */
int verify_create(struct bench *bench, struct bench_guest *guest);
void verify_destroy(struct bench_guest *guest);
/* May choose another block when that one is in flight. */
uint64_t verify_start(struct bench_queue *queue, uint32_t request, uint64_t block);
bool verify_finish(struct bench_queue *queue, uint32_t request, bool failed);

/* target.c: what the target used. */
struct target_usage *target_usage_take(const struct bench_options *options); /* free() it */
json_t *target_usage_report(
	const struct target_usage *before, const struct target_usage *after, uint64_t requests);

/* options.c */
int options_parse(int argc, char **argv, struct bench_options *ret_options);
extern const char *const mode_names[];

#endif
