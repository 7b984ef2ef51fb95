/* SPDX-License-Identifier: BSD-2-Clause */
#include "crash/toy.h"

#include <stdlib.h>
#include <string.h>

#define TOY_SECTOR    512u
#define TOY_LOG       8u /* records; the log begins at sector 1, the header is sector 0 */
#define TOY_VALUES    16u /* the sector of key 0 */
#define TOY_SIGNATURE UINT64_C(0x746f79206c6f6721)

struct toy_record {
	uint64_t signature;
	uint64_t number; /* of the header: of the last record that is in its place */
	uint64_t key;
	uint64_t value;
};

struct toy_sector {
	struct toy_record record;
	uint8_t rest[TOY_SECTOR - sizeof(struct toy_record)];
};

struct toy_place {
	struct world_call call;
	struct iovec iov;
	struct toy_sector sector;
	bool begun;
};

void toy_start(struct toy *toy, struct world *world, struct bdev_channel *channel)
{
	*toy = (struct toy){.world = world, .channel = channel};
	toy->places = calloc(TOY_KEYS, sizeof(*toy->places));
	assert_non_null(toy->places);
}

static void toy_flush(struct toy *toy)
{
	assert_int_equal(world_io(toy->world, toy->channel, BDEV_IO_FLUSH, 0, NULL, 0, 0, 0), 0);
}

static void toy_place_finish(struct toy *toy, unsigned key)
{
	struct toy_place *place = &toy->places[key];

	if (place->begun)
		assert_int_equal(world_finish(toy->world, &place->call), 0);
	place->begun = false;
}

static void toy_place_begin(struct toy *toy, unsigned key, uint64_t value)
{
	struct toy_place *place = &toy->places[key];

	toy_place_finish(toy, key);
	memset(place, 0, sizeof(*place));
	place->begun = true;
	place->sector.record.value = value;
	place->iov = (struct iovec){&place->sector, TOY_SECTOR};
	place->call.channel = toy->channel;
	place->call.io = (struct bdev_io){.type = BDEV_IO_WRITE,
		.iov = &place->iov,
		.iovcnt = 1,
		.offset = (TOY_VALUES + key) * TOY_SECTOR,
		.length = TOY_SECTOR};
	world_io_begin(toy->world, &place->call);
}

static void toy_write_record(struct toy *toy, unsigned sector_number, uint64_t key, uint64_t value)
{
	struct toy_sector sector = {.record = {.signature = TOY_SIGNATURE,
					    .number = toy->number,
					    .key = key,
					    .value = value}};

	assert_int_equal(world_write(toy->world, toy->channel, &sector,
				 (uint64_t)sector_number * TOY_SECTOR, TOY_SECTOR),
		0);
}

static void toy_empty_log(struct toy *toy)
{
	for (unsigned key = 0; key < TOY_KEYS; key++)
		toy_place_finish(toy, key);
	toy_flush(toy);
	toy_write_record(
		toy, 0, 0, 0); /* stable with the next record, which overwrites the first */
	toy->in_log = 0;
}

void toy_put(struct toy *toy, unsigned key, uint64_t value)
{
	if (toy->in_log == TOY_LOG)
		toy_empty_log(toy);
	toy->number++;
	toy_write_record(toy, 1 + toy->in_log++, key, value);
	toy_flush(toy);
	toy_place_begin(toy, key, value);
}

void toy_stop(struct toy *toy)
{
	toy_empty_log(toy);
	free(toy->places);
}

void toy_recover(const struct crash_image *image, uint64_t *ret_values)
{
	struct toy_sector sector;
	uint64_t number;

	for (unsigned key = 0; key < TOY_KEYS; key++) {
		crash_image_read(image, (TOY_VALUES + key) * TOY_SECTOR, &sector, sizeof(sector));
		ret_values[key] = sector.record.value;
	}
	crash_image_read(image, 0, &sector, sizeof(sector));
	number = sector.record.number;
	for (unsigned i = 0; i < TOY_LOG; i++) {
		crash_image_read(image, (1 + i) * TOY_SECTOR, &sector, sizeof(sector));
		if (sector.record.signature != TOY_SIGNATURE || sector.record.number != ++number)
			return;
		ret_values[sector.record.key] = sector.record.value;
	}
}
