/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The open loop: requests arrive by the clock. A completion only frees its request; an arrival that
 * is due takes a free one, at another block. One that is due while none is free is sent as soon as
 * there is one, with the time it was due as its stamp: the wait counts, as it would for the program
 * that wanted to send it. Otherwise latency counts from the moment it was sent, so that the load
 * generator's own lateness (a sleep that took longer) does not.
 *
 * Queues begin at evenly spread moments. A role without arrivals of its own, beside one that has
 * some, runs as a closed loop in here.
 */
#include <math.h>

#include "bench/load_impl.h"

/* Of a Poisson process with that mean. */
static double draw_interval(struct bench_queue *queue)
{
	double uniform = (double)((next_random(queue) >> 11) + 1) / 9007199254740992.0;

	return queue->interval * -log(uniform);
}

static ALWAYS_INLINE void collect(struct bench *bench, struct bench_queue *queue,
	uint32_t *requests, uint32_t count, bool scsi)
{
	uint64_t now = ticks();
	uint32_t i;

	queue->batches++;
	queue->completed += count;
	queue->live -= count;
	for (i = 0; i < count; i++) {
		finish(bench, queue, requests[i], now, scsi);
		queue->spare[queue->spare_count++] = requests[i];
	}
}

/* How many requests are due, at most as many as are free. Closed: all that are free. */
static ALWAYS_INLINE uint32_t due_now(struct bench_queue *queue, uint64_t now)
{
	if (queue->interval > 0 && now < queue->next_due)
		return 0;
	return queue->spare_count;
}

static ALWAYS_INLINE int submit(
	struct bench_queue *queue, uint64_t now, bool starved, bool packed, bool scsi)
{
	const struct role_options *options = queue->role->options;
	struct packed_batch batch = {NULL, 0};
	uint32_t count = 0;

	while (queue->spare_count && (!(queue->interval > 0) || queue->next_due <= now)) {
		uint32_t request = queue->spare[--queue->spare_count];

		prepare(queue, request, scsi);
		queue->stamp[request] = starved ? queue->next_due : now;
		if (packed)
			place_packed(queue, request, &batch);
		else
			place_split(queue, request);
		count++;
		if (!(queue->interval > 0) || --queue->burst_left)
			continue;
		queue->burst_left = options->burst;
		queue->next_due += (uint64_t)(options->random_arrivals ? draw_interval(queue)
								       : queue->interval);
	}
	queue->live += count;
	if (packed)
		publish_packed(queue, count, &batch);
	else
		publish_split(queue);
	return (int)count;
}

static ALWAYS_INLINE int pass(
	struct bench *bench, struct bench_queue *queue, uint64_t now, bool packed, bool scsi)
{
	uint32_t requests[BENCH_MAX_BATCH];
	bool starved = queue->spare_count == 0 && queue->interval > 0;
	uint32_t count = packed ? collect_packed(queue, requests) : collect_split(queue, requests);
	int rc;

	if (count) {
		rc = prefetch_all(bench, queue, requests, count, scsi);
		if (UNLIKELY(rc))
			return rc;
		collect(bench, queue, requests, count, scsi);
	}
	if (UNLIKELY(bench->stopping))
		return (int)count;
	if (due_now(queue, now))
		count += (uint32_t)submit(queue, now, starved, packed, scsi);
	return (int)count;
}

/* Until the first arrival that could be sent; 100 ms at most. */
static uint64_t time_to_next(const struct bench *bench, uint64_t now)
{
	uint64_t most = (uint64_t)(ticks_per_ns() * 1e8), wait = most;
	uint32_t i;

	for (i = 0; i < bench->queue_count; i++) {
		const struct bench_queue *queue = &bench->queue[i];

		if (!queue->spare_count || !(queue->interval > 0))
			continue;
		if (queue->next_due <= now)
			return 0;
		if (queue->next_due - now < wait)
			wait = queue->next_due - now;
	}
	return (uint64_t)((double)wait / ticks_per_ns());
}

static ALWAYS_INLINE int run(struct bench *bench, uint64_t until, bool packed, bool scsi)
{
	uint64_t patience = (uint64_t)(SILENCE_SECONDS * 1e9 * ticks_per_ns());
	uint64_t last = ticks(), now = last;
	bool notified = bench->options.notified;
	uint32_t i;

	do {
		int moved = 0;

		for (i = 0; i < bench->queue_count; i++) {
			int count = pass(bench, &bench->queue[i], now, packed, scsi);

			if (UNLIKELY(count < 0))
				return count;
			moved += count;
		}
		bench->passes++;
		now = ticks();
		if (moved) {
			last = now;
			continue;
		}
		bench->empty_passes++;
		if (UNLIKELY(now - last > patience && count_live(bench)))
			return bench_fail(bench, -ETIMEDOUT,
				"nothing completed for %.0f seconds, %u requests are out",
				SILENCE_SECONDS, count_live(bench));
		if (notified) {
			bench_sleep(bench, time_to_next(bench, now));
			now = ticks();
		}
	} while (bench->stopping ? count_live(bench) != 0 : now < until);
	return 0;
}

int arrivals_run(struct bench *bench, uint64_t until)
{
	bool scsi = bench->options.bus == FE_BUS_SCSI;

	if (bench->options.packed)
		return scsi ? run(bench, until, true, true) : run(bench, until, true, false);
	return scsi ? run(bench, until, false, true) : run(bench, until, false, false);
}

void arrivals_start(struct bench *bench)
{
	uint64_t now = ticks();
	uint32_t i, request;

	for (i = 0; i < bench->queue_count; i++) {
		struct bench_queue *queue = &bench->queue[i];
		double interval_us = queue->role->options->interarrival_us;

		queue->interval = interval_us * 1000 * ticks_per_ns();
		queue->next_due = now + (uint64_t)(queue->interval * i / bench->queue_count);
		for (request = 0; request < queue->depth; request++)
			queue->spare[request] = request;
		queue->spare_count = queue->depth;
		queue->burst_left = queue->role->options->burst;
	}
}
