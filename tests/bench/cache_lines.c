/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cache-lines CPU CPU [turn]: what it costs to move cache lines between two cores, as JSON. Every
 * request of a polled ring moves some (its command one way, its answer the other, its part of the
 * rings), so this is the floor that no target and no driver gets under.
 *
 *   round_trip_ns  one line there and back: what a request of depth 1 cannot go below
 *   read_ns        per line, when one core has written `lines` and the other reads them: the misses
 *                  of a batch overlap, so this falls with the size of the batch
 *   exchange_ns    per line, when the other core reads and then writes them, as a device does with
 *                  the line of a blk request (header read, status written), and the first then
 *                  reads and writes them again, as the driver does
 *
 * With `turn` only the first, in a few milliseconds: the processors of a virtual machine are moved
 * about by its host, and how far apart they are decides about every figure of a polled ring.
 *
 * Two threads take turns by a word of their own line; the time of that turn, measured with no lines
 * at all, is taken off. Turns are timed in slices so short that many pass between two
 * interruptions; the tenth of a hundred counts, sorted, since a neighbour only ever adds.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#define LINE      64u
#define MAX_LINES 512u
#define SLICE     40u /* turns */
#define SLICES    500u

enum work { WORK_NONE, WORK_READ, WORK_EXCHANGE };

struct line {
	_Alignas(LINE) uint64_t word;
};

struct stage {
	struct line turn; /* odd: the second core's */
	struct line lines[MAX_LINES];
	struct line second_sum; /* so that no read is optimised away */
	enum work work;
	uint32_t count;
	int cpu; /* of the second core */
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return -pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void wait_for_turn(struct stage *stage, uint64_t turn)
{
	/* The turn before the lines that were written in it. */
	while (__atomic_load_n(&stage->turn.word, __ATOMIC_ACQUIRE) != turn)
		;
}

static void give_turn(struct stage *stage, uint64_t turn)
{
	/* The lines before the turn. */
	__atomic_store_n(&stage->turn.word, turn, __ATOMIC_RELEASE);
}

static uint64_t read_lines(const struct stage *stage)
{
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i < stage->count; i++)
		sum += __atomic_load_n(&stage->lines[i].word, __ATOMIC_RELAXED);
	return sum;
}

static void write_lines(struct stage *stage, uint64_t value)
{
	uint32_t i;

	for (i = 0; i < stage->count; i++)
		__atomic_store_n(&stage->lines[i].word, value, __ATOMIC_RELAXED);
}

static void *second_core(void *arg)
{
	struct stage *stage = arg;
	uint64_t turn = 0, sum = 0;
	int rc = pin(stage->cpu); /* the first core waits for the turns in any case */
	uint32_t i;

	for (i = 0; i < SLICE * SLICES; i++, turn += 2) {
		wait_for_turn(stage, turn + 1);
		if (stage->work != WORK_NONE)
			sum += read_lines(stage);
		if (stage->work == WORK_EXCHANGE)
			write_lines(stage, turn);
		give_turn(stage, turn + 2);
	}
	stage->second_sum.word = sum;
	return rc ? stage : NULL;
}

static uint64_t take_slice(struct stage *stage, uint64_t turn)
{
	uint64_t from = now_ns(), sum = 0;
	uint32_t i;

	for (i = 0; i < SLICE; i++, turn += 2) {
		if (stage->work == WORK_EXCHANGE)
			sum += read_lines(stage);
		write_lines(stage, turn + sum % 2);
		give_turn(stage, turn + 1);
		wait_for_turn(stage, turn + 2);
	}
	return now_ns() - from;
}

static int compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

/* Nanoseconds of a turn there and back; negative when it cannot be measured. */
static double measure(struct stage *stage, int cpu, enum work work, uint32_t count)
{
	static uint64_t slices[SLICES];
	pthread_t thread;
	void *failed;
	uint32_t i;

	memset(stage, 0, sizeof(*stage));
	stage->work = work;
	stage->count = count;
	stage->cpu = cpu;
	if (pthread_create(&thread, NULL, second_core, stage))
		return -1;
	for (i = 0; i < SLICES; i++)
		slices[i] = take_slice(stage, 2ull * SLICE * i);
	pthread_join(thread, &failed);
	qsort(slices, SLICES, sizeof(slices[0]), compare);
	return failed ? -1 : (double)slices[SLICES / 10] / SLICE;
}

static json_t *report(struct stage *stage, int cpu, bool only_turn)
{
	static const uint32_t counts[] = {1, 4, 16, 32, 64, 128, 256, 512};
	double turn = measure(stage, cpu, WORK_NONE, 0);
	json_t *batches = json_array();
	size_t i;

	for (i = 0; !only_turn && i < sizeof(counts) / sizeof(counts[0]); i++) {
		double read = measure(stage, cpu, WORK_READ, counts[i]);
		double exchange = measure(stage, cpu, WORK_EXCHANGE, counts[i]);

		json_array_append_new(
			batches, json_pack("{s:i, s:f, s:f}", "lines", counts[i], "read_ns",
					 (read - turn) / counts[i], "exchange_ns",
					 (exchange - turn) / counts[i]));
	}
	return json_pack("{s:f, s:o}", "round_trip_ns", turn, "batches", batches);
}

int main(int argc, char **argv)
{
	struct stage *stage = aligned_alloc(4096, (sizeof(*stage) + 4095) & ~4095ul);
	json_t *root;

	if (argc < 3 || argc > 4 || !stage) {
		fprintf(stderr, "usage: cache-lines CPU CPU [turn]\n");
		return 2;
	}
	if (pin(atoi(argv[1])) || atoi(argv[1]) == atoi(argv[2])) {
		fprintf(stderr, "cache-lines: it takes two processors that this may run on\n");
		return 1;
	}
	root = report(stage, atoi(argv[2]), argc == 4);
	json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(5));
	putchar('\n');
	json_decref(root);
	free(stage);
	return 0;
}
