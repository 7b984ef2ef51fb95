/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random requests of several reactors at once, on sectors of the same units but never on the same
 * sectors, over a backend that ends its parts in any order and fails some: each sector holds what
 * was written to it and nothing else.
 */
#include "sectors_place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS    8u
#define MOST     20u /* sectors of a request */
#define REQUESTS 250u

struct slot {
	struct world_call call;
	struct iovec iov[3];
	uint8_t buf[MOST * SECTOR];
	uint8_t expected[MOST * SECTOR]; /* of a READ */
	unsigned first; /* sectors */
	unsigned count; /* 0: free */
	uint8_t stamp;
};

struct crowd {
	struct place place;
	uint64_t random;
	bool garbage; /* what is unmapped */
	struct slot slots[SLOTS];
	uint8_t model[SECTORS]; /* the byte that each sector is full of */
	bool unknown[SECTORS]; /* a write of it has failed: that or what was there */
	uint8_t old[SECTORS];
};

static unsigned draw(struct crowd *crowd, unsigned below)
{
	crowd->random = crowd->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (unsigned)((crowd->random >> 33) % below);
}

/* Sectors of requests under way are apart; units are not. */
static bool crowd_is_free(const struct crowd *crowd, unsigned first, unsigned count)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		const struct slot *slot = &crowd->slots[i];

		if (slot->count && first < slot->first + slot->count && slot->first < first + count)
			return false;
	}
	return true;
}

static void slot_cut_iov(struct crowd *crowd, struct slot *slot)
{
	size_t length = slot->count * SECTOR;
	size_t cut = draw(crowd, (unsigned)length + 1);
	size_t next = cut + draw(crowd, (unsigned)(length - cut) + 1);

	slot->iov[0] = (struct iovec){slot->buf, cut};
	slot->iov[1] = (struct iovec){slot->buf + cut, next - cut};
	slot->iov[2] = (struct iovec){slot->buf + next, length - next};
}

static void slot_begin(struct crowd *crowd, struct slot *slot)
{
	static const enum bdev_io_type types[] = {BDEV_IO_READ, BDEV_IO_READ, BDEV_IO_WRITE,
		BDEV_IO_WRITE, BDEV_IO_WRITE, BDEV_IO_WRITE_ZEROES, BDEV_IO_UNMAP};
	unsigned first = draw(crowd, SECTORS), count = 1 + draw(crowd, MOST);
	enum bdev_io_type type = types[draw(crowd, ARRAY_SIZE(types))];
	bool moves = type == BDEV_IO_READ || type == BDEV_IO_WRITE;

	if (draw(crowd, 4) == 0)
		first = first / 8 * 8, count = (count + 7) / 8 * 8;
	if (first + count > SECTORS || count > MOST || !crowd_is_free(crowd, first, count))
		return;
	slot->first = first;
	slot->count = count;
	slot->stamp = (uint8_t)(1 + draw(crowd, 100));
	memset(slot->buf, slot->stamp, sizeof(slot->buf));
	for (unsigned i = 0; i < count; i++)
		memset(slot->expected + i * SECTOR, crowd->model[first + i], SECTOR);
	slot_cut_iov(crowd, slot);
	memset(&slot->call, 0, sizeof(slot->call));
	slot->call.channel = crowd->place.channels[draw(crowd, WORLD_REACTORS)];
	slot->call.io = (struct bdev_io){
		.type = (uint8_t)type,
		.flags = type != BDEV_IO_READ && draw(crowd, 8) == 0 ? BDEV_IO_FUA : 0,
		.iov = moves ? slot->iov : NULL,
		.iovcnt = moves ? 3 : 0,
		.offset = first * SECTOR,
		.length = count * SECTOR,
	};
	world_io_begin(&crowd->place.world, &slot->call);
}

static uint8_t slot_result(const struct crowd *crowd, const struct slot *slot, unsigned sector)
{
	unsigned unit = sector / 8 * 8;

	if (slot->call.io.type == BDEV_IO_WRITE)
		return slot->stamp;
	if (slot->call.io.type == BDEV_IO_WRITE_ZEROES || !crowd->garbage)
		return 0;
	if (unit >= slot->first && unit + 8 <= slot->first + slot->count)
		return 0xa5; /* what the gate leaves */
	return crowd->model[sector];
}

/* A sector that a failed write was for holds one or the other; once it was seen, that. */
static void crowd_see(struct crowd *crowd, unsigned sector, const uint8_t *data)
{
	for (unsigned i = 1; i < SECTOR; i++)
		assert_int_equal(data[i], data[0]);
	if (crowd->unknown[sector] && data[0] == crowd->old[sector])
		crowd->model[sector] = data[0];
	crowd->unknown[sector] = false;
	assert_int_equal(data[0], crowd->model[sector]);
}

static void slot_end(struct crowd *crowd, struct slot *slot)
{
	int status = slot->call.rc;

	assert_true(status == 0 || status == -EIO);
	for (unsigned i = 0; i < slot->count; i++) {
		unsigned sector = slot->first + i;

		if (slot->call.io.type == BDEV_IO_READ && status == 0) {
			crowd_see(crowd, sector, slot->buf + i * SECTOR);
		} else if (slot->call.io.type != BDEV_IO_READ && status == 0) {
			crowd->model[sector] = slot_result(crowd, slot, sector);
			crowd->unknown[sector] = false;
		} else if (slot->call.io.type != BDEV_IO_READ && !crowd->unknown[sector]) {
			crowd->old[sector] = crowd->model[sector];
			crowd->model[sector] = slot_result(crowd, slot, sector);
			crowd->unknown[sector] = true;
		}
	}
	slot->count = 0;
}

/* Of an unknown sector nobody may write before it was seen: it would have three values. */
static void crowd_look(struct crowd *crowd)
{
	uint8_t data[SECTOR];

	for (unsigned i = 0; i < SECTORS; i++) {
		gate_bdev_peek(crowd->place.gate, i * SECTOR, data, sizeof(data));
		crowd_see(crowd, i, data);
	}
}

static bool crowd_has_ended_one(void *arg)
{
	const struct crowd *crowd = arg;

	for (unsigned i = 0; i < SLOTS; i++)
		if (crowd->slots[i].count && atomic_load(&crowd->slots[i].call.ended))
			return true;
	return gate_bdev_held(crowd->place.gate) > 0;
}

static bool crowd_is_busy(const struct crowd *crowd)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (crowd->slots[i].count)
			return true;
	return false;
}

/* The device ends what it holds in any order. */
static void crowd_step(struct crowd *crowd)
{
	unsigned held;

	assert_true(host_wait(&crowd->place.world.host, crowd_has_ended_one, crowd));
	held = gate_bdev_held(crowd->place.gate);
	if (held)
		gate_bdev_release(
			crowd->place.gate, draw(crowd, held), draw(crowd, 30) == 0 ? -EIO : 0);
	for (unsigned i = 0; i < SLOTS; i++)
		if (crowd->slots[i].count && atomic_load(&crowd->slots[i].call.ended))
			slot_end(crowd, &crowd->slots[i]);
}

static void crowd_run(struct crowd *crowd)
{
	for (unsigned n = 0; n < REQUESTS; n++) {
		struct slot *slot = &crowd->slots[draw(crowd, SLOTS)];
		bool settle = false;

		for (unsigned i = 0; i < SECTORS; i++)
			settle |= crowd->unknown[i];
		while (settle && crowd_is_busy(crowd))
			crowd_step(crowd);
		if (settle)
			crowd_look(crowd);
		if (!slot->count)
			slot_begin(crowd, slot);
		if (crowd_is_busy(crowd) && draw(crowd, 2))
			crowd_step(crowd);
	}
	while (crowd_is_busy(crowd))
		crowd_step(crowd);
	crowd_look(crowd);
}

static void each_sector_holds_what_was_written_to_it(void **state)
{
	HOST_FOR_EACH_SEED(seed, 40)
	{
		const struct gate_bdev_options options = {
			.unmap_leaves_garbage = seed % 2, .io_unit_size = UNIT};
		struct crowd *crowd = calloc(1, sizeof(*crowd));

		assert_non_null(crowd);
		crowd->random = seed;
		crowd->garbage = options.unmap_leaves_garbage;
		place_start(&crowd->place, seed, &options);
		gate_bdev_hold(crowd->place.gate, true);
		crowd_run(crowd);
		gate_bdev_hold(crowd->place.gate, false);
		place_end(&crowd->place);
		free(crowd);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_sector_holds_what_was_written_to_it),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
