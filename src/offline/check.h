/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What contradicts itself on a volume store, and how that is mended. docs/volumes.md, "Checking".
 *
 * A check reads all metadata. Each fault is told with the volume and page that it is in, what it
 * leads to, and what can be done about it: nothing; a repair that loses nothing; or one that gives
 * up what is named in the fault's consequence.
 *
 * A repair is made of rounds: look, mend what may be mended, look again, until nothing is left to
 * mend. A crash in between leaves a store on which the next repair goes on.
 */
#ifndef OFFLINE_CHECK_H
#define OFFLINE_CHECK_H

#include "offline/image.h"

enum remedy {
	REMEDY_NONE, /* nothing can be done here */
	REMEDY_REPAIR, /* loses nothing */
	REMEDY_LOSE, /* gives something up */
};

#define FAULT_VOLUME_MAX 80
#define FAULT_NO_PAGE    UINT32_MAX

struct fault {
	const char *kind; /* a word or two, for programs */
	enum remedy remedy;
	bool mended;
	uint64_t blob; /* 0: of the store as a whole */
	char volume[FAULT_VOLUME_MAX]; /* its name, or "" */
	uint32_t page; /* metadata page, or FAULT_NO_PAGE */
	char text[REASON_MAX];
	char consequence[REASON_MAX];
};

struct check_options {
	bool repair;
	bool lose; /* with repair: also what gives something up */
};

struct check_report {
	struct fault *faults; /* those mended, in order, then those that remain */
	unsigned num_faults;
	unsigned remaining;
	/* The store, as far as it could be read. */
	bool readable;
	bool closed; /* clean = 1, before anything was done */
	char type[17];
	char name[FAULT_VOLUME_MAX];
	unsigned volumes;
	uint32_t cluster_size;
	uint32_t clusters, clusters_used; /* with those of the metadata */
	uint32_t pages, pages_used;
};

/* -EIO and its like, -ENOMEM: the check has not come to an end; faults found until then are told
 * all the same. Faults are no failure. */
int check_run(struct image *image, const struct check_options *options,
	struct check_report *ret_report, struct reason *reason) MUST_CHECK;
void check_report_fini(struct check_report *report);

#endif
