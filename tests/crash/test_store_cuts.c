/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Power cuts of the volume store: every cut point of many scenarios, and for each some choices of
 * what survives.
 *
 *	CRASH_CUTS=n		so many cuts instead of the default
 *	CRASH_CHOICES=n		choices a cut point
 *	CRASH_SCENARIO=n	only that scenario
 *	CRASH_DUMP=file		the disk, as the cut left it that was wrong last
 *
 * Arguments: "part N OF" takes every OF-th scenario, beginning with N; "wide" those of stores with
 * a wide mask; "liar" shows that the harness notices a disk that lies.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crash/check.h"

#define CUTS_DEFAULT    25000u
#define WIDE_SCENARIOS  10u
#define WIDE_CHOICES    20u
#define CHOICES_DEFAULT 6u
#define WRONG_MAX       1u /* of one scenario */
#define WRONG_SCENARIOS 5u /* that are told */

/* Operations, alone and in company, come in a row: a block has each of them once. */
#define BLOCK (SCENARIO_OPS * 3u)

static bool wide;
static unsigned part, parts = 1;

/* Of wide stores what writes a root directly after the mask: a thin volume, a clone. */
static uint64_t nth_scenario(uint64_t nth)
{
	if (!wide)
		return part + nth * parts;
	return SCENARIO_WIDE + nth / 2 * BLOCK + (nth % 2 ? SCENARIO_CLONE : SCENARIO_CREATE_THIN);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

/* Of this process. */
static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void run_one(uint64_t number, struct check_totals *totals)
{
	struct check_totals own = {0};
	unsigned choices = number < SCENARIO_WIDE
				   ? (unsigned)from_environment("CRASH_CHOICES", CHOICES_DEFAULT)
				   : WIDE_CHOICES;
	struct scenario *scenario = malloc(sizeof(*scenario));

	assert_non_null(scenario);
	scenario_run(scenario, number, CRASH_HONEST, 0, 1);
	if (scenario->fault[0]) {
		own.wrong = 1;
		snprintf(own.first, sizeof(own.first),
			"scenario %" PRIu64 " (%s) without a cut: %s", number,
			scenario_op_name(scenario->op), scenario->fault);
	}
	check_scenario(scenario, choices, WRONG_MAX, &own);
	if (own.wrong)
		fprintf(stderr, "%s\n", own.first);
	totals->cuts += own.cuts;
	totals->double_cuts += own.double_cuts;
	totals->disks += own.disks;
	totals->wrong += own.wrong;
	scenario_fini(scenario);
	free(scenario);
}

static void no_cut_breaks_a_promise(void **state)
{
	struct check_totals totals = {0};
	uint64_t wanted = from_environment("CRASH_CUTS", CUTS_DEFAULT);
	double began = cpu_seconds();
	uint64_t nth = 0;

	if (getenv("CRASH_SCENARIO"))
		run_one(from_environment("CRASH_SCENARIO", 0), &totals);
	else
		while (wide ? nth < WIDE_SCENARIOS
			    : totals.cuts + totals.double_cuts < wanted &&
					totals.wrong < WRONG_SCENARIOS)
			run_one(nth_scenario(nth++), &totals);
	fprintf(stderr,
		"%" PRIu64 " cuts and %" PRIu64 " double cuts, which left %" PRIu64
		" disks, %" PRIu64 " wrong; %.0f a CPU-second\n",
		totals.cuts, totals.double_cuts, totals.disks, totals.wrong,
		(double)(totals.cuts + totals.double_cuts) / (cpu_seconds() - began));
	assert_int_equal(totals.wrong, 0);
}

/* ---- liars -------------------------------------------------------------- */

/* Of so many scenarios, those in which a disk that lies so was caught. */
static unsigned liar_caught(
	enum crash_fault fault, unsigned first, unsigned nth, unsigned scenarios)
{
	struct scenario *scenario = malloc(sizeof(*scenario));
	unsigned caught = 0;

	assert_non_null(scenario);
	for (unsigned i = 0; i < scenarios; i++) {
		struct check_totals totals = {0};

		/* From all of a block. */
		scenario_run(scenario, i * 5 % BLOCK, fault, first + i, nth);
		check_scenario(scenario, CHOICES_DEFAULT, 1, &totals);
		caught += totals.wrong > 0;
		scenario_fini(scenario);
	}
	free(scenario);
	return caught;
}

static void a_disk_that_drops_every_flush_is_caught_every_time(void **state)
{
	assert_int_equal(liar_caught(CRASH_DROPS_FLUSHES, 0, 1, 12), 12);
}

static void a_disk_that_drops_some_flushes_is_caught(void **state)
{
	assert_true(liar_caught(CRASH_DROPS_FLUSHES, 0, 7, 24) >= 8);
}

static void a_disk_that_swaps_writes_around_flushes_is_caught(void **state)
{
	assert_true(liar_caught(CRASH_SWAPS_WRITES, 0, 3, 12) >= 6);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest cuts[] = {cmocka_unit_test(no_cut_breaks_a_promise)};
	const struct CMUnitTest liars[] = {
		cmocka_unit_test(a_disk_that_drops_every_flush_is_caught_every_time),
		cmocka_unit_test(a_disk_that_drops_some_flushes_is_caught),
		cmocka_unit_test(a_disk_that_swaps_writes_around_flushes_is_caught),
	};

	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_MXFAST, 0); /* nothing to be gathered when a load allocates much at once */
	log_set_level(LOG_ERROR); /* each load tells that the store was not closed */
	if (argc > 1 && strcmp(argv[1], "liar") == 0)
		return cmocka_run_group_tests(liars, NULL, NULL);
	if (argc > 1 && strcmp(argv[1], "wide") == 0)
		wide = true;
	if (argc > 3 && strcmp(argv[1], "part") == 0) {
		part = (unsigned)atoi(argv[2]);
		parts = (unsigned)atoi(argv[3]);
	}
	return cmocka_run_group_tests(cuts, NULL, NULL);
}
