/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a request is: which device has it, and whether something holds it up before it. For lists
 * of what is in flight. Nothing is recorded for this on the data path: it is read from the request
 * while it is in flight, on its channel's reactor.
 *
 * A request that was passed down is with the device that it was passed to. One for which a device
 * has made requests of its own (a volume's first write to a cluster, a filter that copies) is with
 * that device.
 */
#ifndef BDEV_PLACE_H
#define BDEV_PLACE_H

#include "bdev/bdev.h"

#define BDEV_PLACE_NAME 64 /* longer ones are cut */

enum bdev_io_hold {
	BDEV_HELD_BY_DEVICE,
	BDEV_HELD_BY_LIMIT, /* bdev_set_limits */
	BDEV_HELD_BY_RANGE_LOCK,
};

/* A copy: names are not those of devices that may go. */
struct bdev_io_place {
	enum bdev_io_type type;
	enum bdev_io_hold hold;
	uint64_t offset; /* of the disk that it was submitted to */
	uint64_t length;
	uint64_t submitted_ns;
	uint32_t block_size; /* of the disk */
	char disk[BDEV_PLACE_NAME];
	char device[BDEV_PLACE_NAME]; /* which has it */
	char module[BDEV_PLACE_NAME]; /* what kind of device that is: "aio", "lvol" */
};

/* Channel's reactor; the request was submitted to top, and its done has not been called. */
void bdev_io_get_place(
	const struct bdev_io *io, const struct bdev_channel *top, struct bdev_io_place *ret_place);

const char *bdev_io_type_name(enum bdev_io_type type);
const char *bdev_io_hold_name(enum bdev_io_hold hold);

#endif
