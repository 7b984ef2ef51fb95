/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ranges of one device to the same place of another. Control reactor; the requests run on the data
 * reactor that is named.
 */
#ifndef BDEV_COPY_H
#define BDEV_COPY_H

#include "bdev/bdev.h"

struct bdev_range {
	uint64_t offset; /* bytes, both multiples of the block sizes of both devices */
	uint64_t length;
};

struct bdev_copy_options {
	struct bdev *source;
	struct bdev *target;
	const struct bdev_range *ranges; /* copied */
	unsigned num_ranges;
	bool skip_zeroes; /* the target reads zeroes there: what is all zeroes is not written */
	struct reactor *reactor;
};

/* The target is claimed meanwhile: nobody else writes it (-EPERM, -EBUSY, -EROFS), and flushed in
 * the end. -EINVAL: a range that is not on both devices, or in the middle of a block. -ECANCELED: a
 * device has gone. What was copied until a failure stays. reason is borrowed until done. */
void bdev_copy(
	const struct bdev_copy_options *options, struct reason *reason, done_fn done, void *arg);

#endif
