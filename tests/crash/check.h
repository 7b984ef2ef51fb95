/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * After a cut: a small daemon loads the store from what is left, and everything must be right.
 *  - It loads, and lists what must be there, whole, and nothing else.
 *  - Every sector reads as the model allows.
 *  - Closed, it is consistent for a reader of its own (store_image.h), says of every blob what the
 *    daemon said, and has nothing that nobody owns.
 *  - Of a sample: it loads again, clean this time, and is the same; all free clusters can be taken
 *    and read zeroes, all volumes can be deleted, which leaves it empty (check_use.c); and a second
 *    cut within the load that follows the first leaves a store for which all of this is true.
 */
#ifndef CRASH_CHECK_H
#define CRASH_CHECK_H

#include "crash/scenario.h"
#include "crash/store_image.h"

struct check;

struct check_totals {
	uint64_t cuts;
	uint64_t double_cuts;
	uint64_t disks; /* that they left: each was loaded and read */
	uint64_t wrong;
	char first[1400]; /* of what is wrong */
};

/* All cuts of a scenario, with that many choices each; goes on until so many have been wrong. */
void check_scenario(struct scenario *scenario, unsigned choices, uint64_t wrong_max,
	struct check_totals *totals);

#endif
