/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a request is. What waits before a device is in no epoch of its channel: the number tells
 * what it waits for (bdev_impl.h).
 */
#include "bdev/place.h"

#include <stdio.h>

#include "bdev/bdev_impl.h"

static void name_copy(char target[BDEV_PLACE_NAME], const char *name)
{
	snprintf(target, BDEV_PLACE_NAME, "%s", name);
}

void bdev_io_get_place(
	const struct bdev_io *io, const struct bdev_channel *top, struct bdev_io_place *ret_place)
{
	const bool passed = io->channel != top && io->above.channel == top;
	const struct bdev *bdev = io->channel->bdev;

	*ret_place = (struct bdev_io_place){
		.type = io->type,
		.offset = passed ? io->above.offset : io->offset,
		.length = io->length,
		.submitted_ns = io->submitted_ns,
		.block_size = passed ? top->bdev->block_size : bdev->block_size,
	};
	if (io->epoch == BDEV_EPOCH_LIMIT)
		ret_place->hold = BDEV_HELD_BY_LIMIT;
	else if (io->epoch == BDEV_EPOCH_RANGE_LOCK)
		ret_place->hold = BDEV_HELD_BY_RANGE_LOCK;
	name_copy(ret_place->disk, passed ? top->bdev->name : bdev->name);
	name_copy(ret_place->device, bdev->name);
	name_copy(ret_place->module, bdev->ops->module);
}

const char *bdev_io_type_name(enum bdev_io_type type)
{
	static const char *const names[] = {
		[BDEV_IO_READ] = "read",
		[BDEV_IO_WRITE] = "write",
		[BDEV_IO_FLUSH] = "flush",
		[BDEV_IO_UNMAP] = "unmap",
		[BDEV_IO_WRITE_ZEROES] = "write_zeroes",
		[BDEV_IO_EXTENT] = "extent",
	};

	return type < ARRAY_SIZE(names) ? names[type] : "work";
}

const char *bdev_io_hold_name(enum bdev_io_hold hold)
{
	static const char *const names[] = {
		[BDEV_HELD_BY_DEVICE] = "device",
		[BDEV_HELD_BY_LIMIT] = "limit",
		[BDEV_HELD_BY_RANGE_LOCK] = "range_lock",
	};

	return names[hold];
}
