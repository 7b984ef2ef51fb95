/* SPDX-License-Identifier: BSD-2-Clause */
#include "keeper/pause.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "keeper/service.h"

#define BETWEEN_NS 1400000000ull

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* One write after the other until `until_ns`: how long the longest has taken; 0: one has failed. */
static uint64_t longest_write(struct fe *fe, uint64_t until_ns)
{
	uint8_t data[512] = {1}, status;
	uint64_t longest = 0;

	for (uint64_t before = now_ns(); before < until_ns; before = now_ns()) {
		if (fe_blk_run(fe->ring[0], FE_BLK_OUT, 0, data, 512, &status, 20000) || status)
			return 0;
		if (now_ns() - before > longest)
			longest = now_ns() - before;
	}
	return longest;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int pause_measure(unsigned kills)
{
	uint64_t *pauses = calloc(kills + 1, sizeof(*pauses));
	struct service service = {0};
	struct fe_options options;
	struct fe *fe;
	int rc = 0;

	service_start(&service);
	options = fe_options_default(FE_BUS_BLK, service.socket);
	if (!pauses || !kills || fe_open(&options, &fe))
		return 1;
	longest_write(fe, now_ns() + BETWEEN_NS);
	for (unsigned i = 0; i < kills && !rc; i++) {
		service_kill_server(&service);
		pauses[i] = longest_write(fe, now_ns() + BETWEEN_NS);
		rc = pauses[i] ? 0 : 1;
	}
	qsort(pauses, kills, sizeof(*pauses), compare);
	if (!rc)
		printf("%u kills: pause least %.1f ms, median %.1f, 90 %% %.1f, most %.1f\n", kills,
			(double)pauses[0] / 1e6, (double)pauses[kills / 2] / 1e6,
			(double)pauses[kills * 9 / 10] / 1e6, (double)pauses[kills - 1] / 1e6);
	fe_close(fe);
	service_stop(&service);
	free(pauses);
	return rc;
}
