/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A little store with a redo log, to try the crash tests' disk on something whose order of writes
 * is known to be right: TOY_KEYS values of a sector each, put one after another.
 *
 *	put:		the record into the log, flush, done; the value into its place
 *	when full:	flush, the header with the number of the last record; the log is empty
 *	recovery:	records that are younger than the header's, in their order, up to the first
 *			that is none
 */
#ifndef CRASH_TOY_H
#define CRASH_TOY_H

#include "bdev/world.h"
#include "crash/crash_disk.h"

#define TOY_KEYS  16u
#define TOY_BYTES (64 * KIB)

struct toy {
	struct world *world;
	struct bdev_channel *channel;
	uint64_t number; /* of the last record */
	unsigned in_log;
	struct toy_place *places; /* writes of values, under way */
};

void toy_start(struct toy *toy, struct world *world, struct bdev_channel *channel);
void toy_put(struct toy *toy, unsigned key, uint64_t value);
void toy_stop(struct toy *toy);
/* What a recovery finds. */
void toy_recover(const struct crash_image *image, uint64_t *ret_values);

#endif
