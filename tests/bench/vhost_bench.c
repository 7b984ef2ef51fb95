/* SPDX-License-Identifier: BSD-2-Clause */
/* vhost-bench: warm up, measure, report. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

double ticks_per_ns(void)
{
	static double rate;
	uint64_t ns, from;

	if (rate > 0)
		return rate;
	ns = now_ns();
	from = ticks();
	while (now_ns() - ns < 50000000)
		;
	rate = (double)(ticks() - from) / (double)(now_ns() - ns);
	return rate;
}

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
	char features[32];

	snprintf(features, sizeof(features), "%#llx", (unsigned long long)bench->fe->features);
	return json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:b, s:b, s:b, s:b, s:b, s:b, s:s}",
		"bus", options->bus == FE_BUS_SCSI ? "scsi" : "blk", "rw",
		mode_names[options->mode], "block_size", options->block_size, "depth",
		options->depth, "queues", options->queues, "batch", options->batch, "ring_size",
		bench->queue[0].ring->size, "packed", options->packed, "indirect",
		options->indirect, "event_idx", (bench->fe->features & FE_F_EVENT_IDX) != 0,
		"inflight", bench->fe->inflight.fd >= 0, "notified", options->notified, "verify",
		options->verify, "features", features);
}

static void report(const struct bench *bench, double seconds, const struct target_usage *before,
	const struct target_usage *after)
{
	const struct bench_options *options = &bench->options;
	double iops = (double)bench->latency.count / seconds;
	uint64_t kicks = 0, batches = 0;
	json_t *root;
	uint32_t i;

	for (i = 0; i < options->queues; i++) {
		kicks += bench->queue[i].kicks;
		batches += bench->queue[i].batches;
	}
	root = json_pack("{s:o, s:f, s:I, s:f, s:f, s:o, s:I, s:i, s:I, s:I, s:f, s:o}", "options",
		report_options(bench), "seconds", seconds, "requests",
		(json_int_t)bench->latency.count, "iops", iops, "bytes_per_second",
		iops * options->block_size, "latency_ns", report_latency(&bench->latency), "errors",
		(json_int_t)bench->errors, "first_error", bench->first_error, "kicks",
		(json_int_t)kicks, "wakeups", (json_int_t)bench->wakeups, "requests_per_batch",
		batches ? (double)bench->latency.count / (double)batches : 0, "target",
		target_usage_report(before, after, bench->latency.count));
	json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
	putchar('\n');
	json_decref(root);
}

static void forget(struct bench *bench)
{
	uint32_t i;

	memset(&bench->latency, 0, sizeof(bench->latency));
	bench->wakeups = 0;
	for (i = 0; i < bench->options.queues; i++)
		bench->queue[i].kicks = bench->queue[i].batches = 0;
}

static int measure(struct bench *bench)
{
	double rate = ticks_per_ns() * 1e9;
	struct target_usage *before = NULL, *after = NULL;
	uint64_t from;
	double seconds;
	int rc = bench_submit_all(bench);

	if (!rc)
		rc = bench_run(bench, ticks() + (uint64_t)(bench->options.warmup * rate));
	if (rc)
		return rc;
	before = target_usage_take(&bench->options);
	forget(bench);
	from = ticks();
	rc = bench_run(bench, from + (uint64_t)(bench->options.seconds * rate));
	seconds = (double)(ticks() - from) / rate;
	after = target_usage_take(&bench->options);
	if (!rc && before && after)
		report(bench, seconds, before, after);
	free(before);
	free(after);
	if (rc)
		return rc;
	/* What the drain completes is not part of the report. */
	bench->stopping = true;
	return bench_run(bench, 0);
}

int main(int argc, char **argv)
{
	static struct bench bench;
	int rc;

	if (options_parse(argc, argv, &bench.options))
		return 2;
	rc = bench_open(&bench);
	if (!rc)
		rc = measure(&bench);
	if (rc)
		fprintf(stderr, "vhost-bench: %s\n", bench.why[0] ? bench.why : strerror(-rc));
	bench_close(&bench);
	return rc || bench.errors ? 1 : 0;
}
