/* SPDX-License-Identifier: BSD-2-Clause */
#include "sectors_place.h"

#include <stdlib.h>
#include <string.h>

void place_start(struct place *place, uint64_t seed, const struct gate_bdev_options *more)
{
	struct gate_bdev_options options = {0};

	if (more)
		options = *more;
	options.name = "disk";
	options.size_bytes = UNITS * UNIT;
	options.block_size = SECTOR;
	options.io_unit_size = options.io_unit_size ? options.io_unit_size : UNIT;
	memset(place, 0, sizeof(*place));
	world_start(&place->world, seed);
	place->gate = gate_bdev_create(&options);
	assert_int_equal(gate_bdev_register(place->gate, place->world.registry, NULL), 0);
	place->bdev = gate_bdev_of(place->gate);
	world_user_init(&place->user, "first");
	assert_int_equal(world_open(&place->world, place->bdev, &place->user, NULL), 0);
	for (unsigned i = 0; i < WORLD_REACTORS; i++)
		assert_int_equal(
			world_channel_open(&place->world, &place->user, i, &place->channels[i]), 0);
}

void place_end(struct place *place)
{
	for (unsigned i = 0; i < WORLD_REACTORS; i++)
		world_channel_close(&place->world, place->channels[i]);
	world_close(&place->world, &place->user);
	assert_int_equal(world_unregister(&place->world, place->bdev), 0);
	gate_bdev_destroy(place->gate);
	world_end(&place->world);
}

static uint8_t place_byte(struct place *place, uint64_t offset)
{
	uint8_t byte;

	gate_bdev_peek(place->gate, offset, &byte, 1);
	return byte;
}

/* Every byte of the range. */
bool place_holds(struct place *place, uint64_t offset, uint64_t length, uint8_t byte)
{
	for (uint64_t at = offset; at < offset + length; at++)
		if (place_byte(place, at) != byte)
			return false;
	return true;
}

int place_write(struct place *place, uint64_t offset, uint64_t length, uint8_t byte)
{
	uint8_t *buf = malloc(length);
	int rc;

	assert_non_null(buf);
	memset(buf, byte, length);
	rc = world_write(&place->world, place->channels[0], buf, offset, length);
	free(buf);
	return rc;
}

int place_clear(struct place *place, enum bdev_io_type type, uint8_t flags, uint64_t offset,
	uint64_t length)
{
	return world_io(&place->world, place->channels[1], type, flags, NULL, 0, offset, length);
}
