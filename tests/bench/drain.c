/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How fast a target empties full rings when nobody disturbs it: the target's process is stopped
 * (SIGSTOP), all rings are filled to their depth and kicked, it is let go (SIGCONT), and the load
 * generator sleeps until every ring has used all, so that the target has all cores for itself. One
 * call a ring is asked for, at its last request; without EVENT_IDX it looks every 100 us.
 *
 * The time includes the wake-up of both: make the rings deep enough for a drain of milliseconds.
 */
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/load_impl.h"

#define DRAINS_MAX 4096u

struct drain {
	uint32_t count;
	uint64_t requests; /* of one */
	uint64_t ns[DRAINS_MAX];
};

static bool thread_is_stopped(int pid, const char *tid)
{
	char path[320], text[512], *after_name;
	size_t got;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", pid, tid);
	file = fopen(path, "re");
	if (!file)
		return true; /* it has ended */
	got = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[got] = 0;
	after_name = strrchr(text, ')');
	return after_name && after_name[1] == ' ' && after_name[2] == 'T';
}

static bool is_stopped(int pid)
{
	const struct dirent *entry;
	bool stopped = true;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && stopped && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			stopped = thread_is_stopped(pid, entry->d_name);
	if (dir)
		closedir(dir);
	return stopped;
}

static int stop_target(struct bench *bench)
{
	int pid = bench->options.target_pid, tries;

	if (kill(pid, SIGSTOP))
		return bench_fail(bench, -errno, "process %d: %s", pid, strerror(errno));
	for (tries = 0; tries < 2000; tries++) {
		if (is_stopped(pid))
			return 0;
		usleep(500);
	}
	kill(pid, SIGCONT);
	return bench_fail(bench, -ETIMEDOUT, "process %d does not stop", pid);
}

/* ---- waiting ---- */

static void ask_for_last(struct bench_queue *queue)
{
	struct fe_ring *ring = queue->ring;

	fe_eventfd_drain(ring->call_fd);
	if (!ring->event_idx)
		return;
	if (ring->packed) {
		uint32_t last = queue->used_idx + (queue->depth - 1) * queue->chain_slots;
		bool wrap = queue->used_wrap ^ (last >= ring->size);

		ring->driver_event->position = (uint16_t)(last % ring->size | (uint32_t)wrap << 15);
		__atomic_store_n(&ring->driver_event->flags, FE_EVENT_AT, __ATOMIC_RELEASE);
	} else {
		__atomic_store_n(
			ring->used_event, (uint16_t)(queue->avail_idx - 1), __ATOMIC_RELEASE);
	}
}

static bool is_drained(const struct bench_queue *queue)
{
	const struct fe_ring *ring = queue->ring;

	if (ring->packed) {
		uint32_t last = queue->used_idx + (queue->depth - 1) * queue->chain_slots;
		bool wrap = queue->used_wrap ^ (last >= ring->size);
		uint16_t flags = __atomic_load_n(
			&ring->packed_desc[last % ring->size].flags, __ATOMIC_ACQUIRE);

		return !!(flags & FE_PACKED_AVAIL) == wrap && !!(flags & FE_PACKED_USED) == wrap;
	}
	return __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE) == queue->avail_idx;
}

static int await_queue(struct bench *bench, struct bench_queue *queue)
{
	uint64_t deadline = now_ns() + (uint64_t)(SILENCE_SECONDS * 1e9);
	struct timespec most = {.tv_nsec = queue->ring->event_idx ? 100000000 : 100000};

	while (!is_drained(queue)) {
		struct pollfd fd = {queue->ring->call_fd, POLLIN, 0};

		if (queue->ring->event_idx)
			ppoll(&fd, 1, &most, NULL);
		else
			nanosleep(&most, NULL);
		if (now_ns() > deadline)
			return bench_fail(bench, -ETIMEDOUT,
				"a ring is not drained after %.0f seconds", SILENCE_SECONDS);
	}
	return 0;
}

/* ---- one drain ---- */

static void take_all(struct bench *bench, struct bench_queue *queue)
{
	bool scsi = bench->options.bus == FE_BUS_SCSI;
	uint64_t now = ticks();

	while (queue->live) {
		uint32_t requests[BENCH_MAX_BATCH], i;
		uint32_t count = queue->ring->packed ? collect_packed(queue, requests)
						     : collect_split(queue, requests);

		for (i = 0; i < count; i++)
			finish(bench, queue, requests[i], now, scsi);
		queue->live -= count;
		queue->completed += count;
		queue->batches++;
	}
}

static int drain_once(struct bench *bench)
{
	struct drain *drain = bench->drain;
	uint64_t from;
	uint32_t i;
	int rc = stop_target(bench);

	if (rc)
		return rc;
	bench_submit_all(bench);
	for (i = 0; i < bench->queue_count; i++)
		ask_for_last(&bench->queue[i]);
	from = now_ns();
	kill(bench->options.target_pid, SIGCONT);
	for (i = 0; i < bench->queue_count && !rc; i++)
		rc = await_queue(bench, &bench->queue[i]);
	if (rc)
		return rc;
	if (drain->count < DRAINS_MAX)
		drain->ns[drain->count++] = now_ns() - from;
	for (i = 0; i < bench->queue_count; i++)
		take_all(bench, &bench->queue[i]);
	return 0;
}

int drain_run(struct bench *bench, uint64_t until)
{
	uint32_t i;
	int rc;

	if (!bench->drain)
		bench->drain = calloc(1, sizeof(*bench->drain));
	if (!bench->drain)
		return -ENOMEM;
	bench->drain->count = 0;
	bench->drain->requests = 0;
	for (i = 0; i < bench->queue_count; i++)
		bench->drain->requests += bench->queue[i].depth;
	do
		rc = drain_once(bench);
	while (!rc && ticks() < until);
	return rc;
}

static int compare_ns(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

json_t *drain_report(const struct bench *bench)
{
	struct drain *drain = bench->drain;
	uint64_t median;

	if (!drain->count)
		return json_null();
	qsort(drain->ns, drain->count, sizeof(drain->ns[0]), compare_ns);
	median = drain->ns[drain->count / 2];
	return json_pack("{s:i, s:I, s:I, s:I, s:I, s:f}", "drains", drain->count, "requests",
		(json_int_t)drain->requests, "median_ns", (json_int_t)median, "least_ns",
		(json_int_t)drain->ns[0], "most_ns", (json_int_t)drain->ns[drain->count - 1],
		"requests_per_second", (double)drain->requests * 1e9 / (double)median);
}
