/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The report, as JSON. `requests`, `iops`, `bytes_per_second` count all roles; `latency_ns` is that
 * of the first role, and `roles` has each apart, with how evenly its guests were served.
 */
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
	uint64_t wanted = (uint64_t)((double)histogram->count * share), seen = 0;
	uint32_t i;

	for (i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint32_t shift = i < 2 * HISTOGRAM_STEPS ? 0 : i / HISTOGRAM_STEPS - 1;

		seen += histogram->bucket[i];
		/* The middle of the bucket. */
		if (seen > wanted)
			return ((uint64_t)(i - shift * HISTOGRAM_STEPS) << shift) +
			       ((UINT64_C(1) << shift) >> 1);
	}
	return histogram->max;
}

static json_t *report_latency(const struct histogram *latency)
{
	double scale = 1 / ticks_per_ns();
	double average = latency->count ? (double)latency->sum / (double)latency->count * scale : 0;

	return json_pack("{s:f, s:f, s:f, s:f, s:f}", "avg", average, "p50",
		(double)histogram_quantile(latency, 0.5) * scale, "p99",
		(double)histogram_quantile(latency, 0.99) * scale, "p99.9",
		(double)histogram_quantile(latency, 0.999) * scale, "max",
		(double)latency->max * scale);
}

static json_t *report_options(const struct bench *bench)
{
	const struct bench_options *options = &bench->options;
	const struct fe *fe = bench->guest[0].fe;
	char features[32];

	snprintf(features, sizeof(features), "%#llx", (unsigned long long)fe->features);
	return json_pack("{s:s, s:b, s:b, s:b, s:b, s:b, s:s, s:I}", "bus",
		options->bus == FE_BUS_SCSI ? "scsi" : "blk", "packed", options->packed,
		"event_idx", (fe->features & FE_F_EVENT_IDX) != 0, "inflight", fe->inflight.fd >= 0,
		"notified", options->notified, "drain", options->drain, "features", features,
		"seed", (json_int_t)options->seed);
}

static json_t *report_role_options(const struct role_options *options)
{
	return json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:b, s:i, s:b, s:b}", "rw",
		mode_names[options->mode], "block_size", options->block_size, "depth",
		options->depth, "queues", options->queues, "idle_queues", options->idle_queues,
		"batch", options->batch, "ring_size", role_ring_size(options), "interarrival_us",
		options->interarrival_us, "random_arrivals", options->random_arrivals, "burst",
		options->burst, "indirect", options->indirect, "verify", options->verify);
}

/* Requests of a guest. */
static uint64_t guest_completed(const struct bench_guest *guest)
{
	uint64_t completed = 0;
	uint32_t i;

	for (i = 0; i < guest->role->options->queues; i++)
		completed += guest->queue[i].completed;
	return completed;
}

/* The worst-served guest's part of an even share, and the best's. */
static json_t *report_shares(const struct bench *bench, const struct bench_role *role)
{
	uint32_t guests = role->options->guests, i;
	uint64_t least = UINT64_MAX, most = 0, total = 0;
	double even;

	for (i = 0; i < guests; i++) {
		uint64_t completed = guest_completed(&bench->guest[role->first_guest + i]);

		least = completed < least ? completed : least;
		most = completed > most ? completed : most;
		total += completed;
	}
	even = total ? (double)total / guests : 1;
	return json_pack("{s:f, s:f}", "least", (double)least / even, "most", (double)most / even);
}

static json_t *report_role(const struct bench *bench, const struct bench_role *role, double seconds)
{
	double iops = (double)role->latency.count / seconds;

	return json_pack("{s:s, s:i, s:o, s:I, s:f, s:f, s:o, s:o}", "name", role->options->name,
		"guests", role->options->guests, "options", report_role_options(role->options),
		"requests", (json_int_t)role->latency.count, "iops", iops, "bytes_per_second",
		iops * role->options->block_size, "latency_ns", report_latency(&role->latency),
		"share", report_shares(bench, role));
}

static void report_totals(const struct bench *bench, json_t *root, double seconds)
{
	uint64_t requests = 0, kicks = 0, batches = 0;
	json_t *roles = json_array();
	double bytes = 0;
	uint32_t i;

	for (i = 0; i < bench->options.role_count; i++) {
		const struct bench_role *role = &bench->role[i];

		requests += role->latency.count;
		bytes += (double)role->latency.count * role->options->block_size;
		json_array_append_new(roles, report_role(bench, role, seconds));
	}
	for (i = 0; i < bench->queue_count; i++) {
		kicks += bench->queue[i].kicks;
		batches += bench->queue[i].batches;
	}
	json_object_update_new(
		root, json_pack("{s:I, s:f, s:f, s:I, s:f, s:o}", "requests", (json_int_t)requests,
			      "iops", (double)requests / seconds, "bytes_per_second",
			      bytes / seconds, "kicks", (json_int_t)kicks, "requests_per_batch",
			      batches ? (double)requests / (double)batches : 0, "roles", roles));
}

void bench_report(const struct bench *bench, double seconds, const struct target_usage *before,
	const struct target_usage *after)
{
	json_t *options = report_options(bench), *root;
	uint64_t requests;

	/* The first role's are found beside the common ones: most runs have but one. */
	json_object_update_new(options, report_role_options(&bench->options.role[0]));
	root = json_pack("{s:o, s:f, s:i, s:o, s:I, s:i, s:I, s:f}", "options", options, "seconds",
		seconds, "guests", bench->guest_count, "latency_ns",
		report_latency(&bench->role[0].latency), "errors", (json_int_t)bench->errors,
		"first_error", bench->first_error, "wakeups", (json_int_t)bench->wakeups,
		"load_idle_share",
		bench->passes ? (double)bench->empty_passes / (double)bench->passes : 1.0);
	report_totals(bench, root, seconds);
	requests = (uint64_t)json_integer_value(json_object_get(root, "requests"));
	json_object_set_new(root, "target", target_usage_report(before, after, requests));
	if (bench->drain)
		json_object_set_new(root, "drain", drain_report(bench));
	json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
	putchar('\n');
	json_decref(root);
}

void bench_forget(struct bench *bench)
{
	uint32_t i;

	for (i = 0; i < bench->options.role_count; i++)
		memset(&bench->role[i].latency, 0, sizeof(bench->role[i].latency));
	for (i = 0; i < bench->queue_count; i++) {
		struct bench_queue *queue = &bench->queue[i];

		queue->completed = queue->kicks = queue->batches = 0;
	}
	bench->wakeups = bench->passes = bench->empty_passes = 0;
}
