/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The closed loop. One pass over a queue: see how far the device is; finish each request and start
 * it again at another block; publish; kick if wanted. In notified mode it sleeps when nothing came.
 */
#include <poll.h>
#include <unistd.h>

#include "bench/load_impl.h"

/* Polled together; further queues are looked at when the sleep is over. */
#define POLL_FDS 1024u

static ALWAYS_INLINE int pass(
	struct bench *bench, struct bench_queue *queue, bool packed, bool scsi)
{
	uint32_t requests[BENCH_MAX_BATCH];
	struct packed_batch batch = {NULL, 0};
	uint32_t count = packed ? collect_packed(queue, requests) : collect_split(queue, requests);
	uint64_t now;
	uint32_t i;
	int rc;

	if (!count)
		return 0;
	now = ticks();
	rc = prefetch_all(bench, queue, requests, count, scsi);
	if (UNLIKELY(rc))
		return rc;
	queue->batches++;
	queue->completed += count;
	for (i = 0; i < count; i++) {
		finish(bench, queue, requests[i], now, scsi);
		if (UNLIKELY(bench->stopping)) {
			queue->live--;
			continue;
		}
		prepare(queue, requests[i], scsi);
		queue->stamp[requests[i]] = now;
		if (packed)
			place_packed(queue, requests[i], &batch);
		else
			place_split(queue, requests[i]);
	}
	if (UNLIKELY(bench->stopping))
		return (int)count;
	if (packed)
		publish_packed(queue, count, &batch);
	else
		publish_split(queue);
	return (int)count;
}

/* ---- sleeping, in notified mode ---- */

static bool arm_all(struct bench *bench, bool on)
{
	bool ready = false;
	uint32_t i;

	for (i = 0; i < bench->queue_count; i++) {
		struct bench_queue *queue = &bench->queue[i];

		queue->ring->used_idx = queue->used_idx;
		queue->ring->used_wrap = queue->used_wrap;
		ready |= fe_ring_interrupts(queue->ring, on);
	}
	return ready;
}

void bench_sleep(struct bench *bench, uint64_t most_ns)
{
	struct timespec most = {
		.tv_sec = (time_t)(most_ns / 1000000000), .tv_nsec = (long)(most_ns % 1000000000)};
	struct pollfd fds[POLL_FDS];
	uint32_t count = bench->queue_count < POLL_FDS ? bench->queue_count : POLL_FDS;
	uint32_t i;

	if (!arm_all(bench, true)) {
		for (i = 0; i < count; i++)
			fds[i] = (struct pollfd){bench->queue[i].ring->call_fd, POLLIN, 0};
		if (ppoll(fds, count, &most, NULL) > 0)
			bench->wakeups++;
		for (i = 0; i < count; i++)
			if (fds[i].revents & POLLIN)
				fe_eventfd_drain(fds[i].fd);
	}
	if (!bench->options.event_idx || !(bench->guest[0].fe->features & FE_F_EVENT_IDX))
		arm_all(bench, false);
}

/* ---- the loop ---- */

static ALWAYS_INLINE int run(struct bench *bench, uint64_t until, bool packed, bool scsi)
{
	uint64_t patience = (uint64_t)(SILENCE_SECONDS * 1e9 * ticks_per_ns());
	uint64_t last = ticks(), now;
	uint32_t queues = bench->queue_count, i;
	bool notified = bench->options.notified;

	do {
		int moved = 0;

		for (i = 0; i < queues; i++) {
			int count = pass(bench, &bench->queue[i], packed, scsi);

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
		if (UNLIKELY(now - last > patience))
			return bench_fail(bench, -ETIMEDOUT,
				"nothing completed for %.0f seconds, %u requests are out",
				SILENCE_SECONDS, count_live(bench));
		if (notified)
			bench_sleep(bench, 100000000);
	} while (bench->stopping ? count_live(bench) != 0 : now < until);
	return 0;
}

int bench_run(struct bench *bench, uint64_t until)
{
	bool scsi = bench->options.bus == FE_BUS_SCSI;

	if (bench->options.packed)
		return scsi ? run(bench, until, true, true) : run(bench, until, true, false);
	return scsi ? run(bench, until, false, true) : run(bench, until, false, false);
}

void bench_submit_all(struct bench *bench)
{
	bool scsi = bench->options.bus == FE_BUS_SCSI;
	uint32_t i, request;

	for (i = 0; i < bench->queue_count; i++) {
		struct bench_queue *queue = &bench->queue[i];
		struct packed_batch batch = {NULL, 0};

		for (request = 0; request < queue->depth; request++) {
			prepare(queue, request, scsi);
			queue->stamp[request] = ticks();
			if (bench->options.packed)
				place_packed(queue, request, &batch);
			else
				place_split(queue, request);
		}
		queue->live = queue->depth;
		if (bench->options.packed)
			publish_packed(queue, queue->depth, &batch);
		else
			publish_split(queue);
	}
}
