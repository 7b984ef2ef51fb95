/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device of sectors of 512 bytes whose backend, a gated one, takes units of 4096, open on all
 * reactors of the test's world.
 */
#ifndef UNIT_BDEV_SECTORS_PLACE_H
#define UNIT_BDEV_SECTORS_PLACE_H

#include "sim/gate_bdev.h"
#include "world.h"

#define SECTOR  512u
#define UNIT    4096u
#define UNITS   16u
#define SECTORS (UNITS * UNIT / SECTOR)

struct place {
	struct world world;
	struct gate_bdev *gate;
	struct bdev *bdev;
	struct world_user user;
	struct bdev_channel *channels[WORLD_REACTORS];
};

/* more: of the gated device, beside name and sizes; may be NULL. */
void place_start(struct place *place, uint64_t seed, const struct gate_bdev_options *more);
void place_end(struct place *place);

/* Is every byte of the range on the device that one? */
bool place_holds(struct place *place, uint64_t offset, uint64_t length, uint8_t byte);
int place_write(struct place *place, uint64_t offset, uint64_t length, uint8_t byte);
/* UNMAP, WRITE_ZEROES, FLUSH. */
int place_clear(struct place *place, enum bdev_io_type type, uint8_t flags, uint64_t offset,
	uint64_t length);

#endif
