/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a daemon's disks and data threads do, from one look to the next: for sluice top.
 */
#ifndef CLI_LOAD_H
#define CLI_LOAD_H

#include "cli/cli_impl.h"

enum load_percentile { LOAD_P50, LOAD_P99, LOAD_P999, LOAD_PERCENTILES };

struct load_counters {
	uint64_t reads;
	uint64_t writes; /* unmaps, too */
	uint64_t read_bytes;
	uint64_t written_bytes;
	uint64_t latency_ns; /* of all of these */
	uint64_t errors;
};

struct load_histogram; /* as the daemon counts */

struct load_disk {
	char *name; /* the daemon's */
	char *label; /* people's */
	struct load_counters at; /* at the last look */
	struct load_counters more; /* since the look before */
	struct load_histogram *histogram; /* at the last look; NULL: none yet */
	bool counts_for_us; /* nobody counted before us */
	double percentile_us[LOAD_PERCENTILES]; /* below 0: not known */
	unsigned seen; /* the look that found it */
};

struct load_thread {
	char name[32];
	uint64_t busy_ns; /* since it began */
	double busy; /* 0 to 1, since the look before */
};

struct load {
	struct client *client;
	struct load_disk *disks;
	unsigned disks_count;
	struct load_thread threads[64];
	unsigned threads_count;
	unsigned looks;
	uint64_t at_ns; /* the daemon's clock at the last look */
	double seconds; /* from the look before to the last */
};

void load_init(struct load *load, struct client *client);
/* What we had counted for us is no more. */
void load_fini(struct load *load);
/* Another look. False after a sentence on stderr. */
bool load_look(struct load *load);

double load_per_second(const struct load *load, uint64_t more);
uint64_t load_requests(const struct load_disk *disk);
/* Of the requests since the look before; below 0: there were none. */
double load_average_us(const struct load_disk *disk);

#endif
