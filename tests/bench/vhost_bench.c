/* SPDX-License-Identifier: BSD-2-Clause */
/* vhost-bench: warm up, measure, report. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* Only idle queues: nothing is sent, only the target is looked at. */
static int rest(struct bench *bench, uint64_t until)
{
	while (ticks() < until)
		usleep(10000);
	return 0;
}

static int run_until(struct bench *bench, uint64_t until)
{
	if (!bench->queue_count)
		return rest(bench, until);
	if (bench->options.drain)
		return drain_run(bench, until);
	return bench->open ? arrivals_run(bench, until) : bench_run(bench, until);
}

static void start(struct bench *bench)
{
	if (bench->options.drain || !bench->queue_count)
		return;
	if (bench->open)
		arrivals_start(bench);
	else
		bench_submit_all(bench);
}

static int measure(struct bench *bench)
{
	double rate = ticks_per_ns() * 1e9;
	struct target_usage *before = NULL, *after = NULL;
	uint64_t from;
	double seconds;
	int rc;

	start(bench);
	rc = run_until(bench, ticks() + (uint64_t)(bench->options.warmup * rate));
	if (rc)
		return rc;
	before = target_usage_take(&bench->options);
	bench_forget(bench);
	from = ticks();
	rc = run_until(bench, from + (uint64_t)(bench->options.seconds * rate));
	seconds = (double)(ticks() - from) / rate;
	after = target_usage_take(&bench->options);
	if (!rc && before && after)
		bench_report(bench, seconds, before, after);
	free(before);
	free(after);
	if (rc)
		return rc;
	/* What the last requests complete is not part of the report. */
	bench->stopping = true;
	return bench->options.drain ? 0 : run_until(bench, 0);
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
