/* SPDX-License-Identifier: BSD-2-Clause */
#include "crash/guest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THINK_NS_MAX (150 * USEC_NS)

static uint32_t request_sectors_max(const struct guest *guest)
{
	return 2 * guest->model->cluster_sectors;
}

void guest_init(struct guest *guest, struct volume *volume, struct model *model,
	struct model_volume *subject, struct crash_log *log, uint64_t seed)
{
	*guest = (struct guest){
		.volume = volume,
		.model = model,
		.subject = subject,
		.log = log,
		.chance.state = seed,
		.unit_sectors = volume->bdev.block_size / MODEL_SECTOR,
		.num_sectors = (uint32_t)(bdev_size(&volume->bdev) / MODEL_SECTOR),
		.only_reads = volume->bdev.read_only,
	};
	for (unsigned i = 0; i < GUEST_SLOTS; i++) {
		struct guest_slot *slot = &guest->slots[i];

		slot->guest = guest;
		slot->channel = volume->channels[i % volume->num_channels];
		slot->buf = aligned_alloc(4096, request_sectors_max(guest) * MODEL_SECTOR);
		slot->floor = calloc(request_sectors_max(guest), sizeof(*slot->floor));
		assert_non_null(slot->buf);
		assert_non_null(slot->floor);
	}
}

void guest_fini(struct guest *guest)
{
	assert_int_equal(guest->active, 0);
	for (unsigned i = 0; i < GUEST_SLOTS; i++) {
		free(guest->slots[i].buf);
		free(guest->slots[i].floor);
	}
}

/* ---- requests -------------------------------------------------------------------------------- */

static uint32_t pick_cluster(struct guest *guest)
{
	static const uint16_t hot[] = {0, 1, 2, 3, 4, 5, 511, 512, 1023, 1024};
	uint32_t clusters = guest->num_sectors / guest->model->cluster_sectors;
	unsigned count = 0;

	while (count < ARRAY_SIZE(hot) && hot[count] < clusters)
		count++;
	return hot[chance_below(&guest->chance, count)];
}

/* Mostly a few blocks, sometimes whole clusters, or across from one to the next. */
static void pick_range(struct guest_slot *slot)
{
	struct guest *guest = slot->guest;
	uint32_t cluster_sectors = guest->model->cluster_sectors;
	uint32_t first = pick_cluster(guest) * cluster_sectors;
	uint32_t length = cluster_sectors;

	if (!chance_one_in(&guest->chance, 5)) {
		length = (uint32_t)(1 + chance_below(&guest->chance, 8)) * guest->unit_sectors;
		first += (uint32_t)(chance_below(&guest->chance, cluster_sectors) /
				    guest->unit_sectors * guest->unit_sectors);
	}
	slot->first = first;
	slot->end = (uint32_t)u64_min(first + length, guest->num_sectors);
	if (!model_is_hot((slot->end - 1) / cluster_sectors))
		slot->end = (first / cluster_sectors + 1) * cluster_sectors;
}

static enum bdev_io_type pick_type(struct guest *guest)
{
	static const uint8_t types[] = {BDEV_IO_WRITE, BDEV_IO_WRITE, BDEV_IO_WRITE, BDEV_IO_WRITE,
		BDEV_IO_WRITE, BDEV_IO_WRITE, BDEV_IO_WRITE, BDEV_IO_READ, BDEV_IO_READ,
		BDEV_IO_FLUSH, BDEV_IO_FLUSH, BDEV_IO_WRITE_ZEROES, BDEV_IO_UNMAP, BDEV_IO_UNMAP};

	if (guest->only_reads)
		return BDEV_IO_READ;
	return types[chance_below(&guest->chance, ARRAY_SIZE(types))];
}

static enum model_write_kind write_kind(const struct guest_slot *slot)
{
	switch (slot->io.type) {
	case BDEV_IO_WRITE:
		return MODEL_WRITE;
	case BDEV_IO_WRITE_ZEROES:
		return MODEL_ZEROES;
	default:
		return MODEL_DISCARD;
	}
}

static void slot_call_write(struct guest_slot *slot)
{
	struct guest *guest = slot->guest;

	slot->write = model_write_begin(guest->model, guest->subject, write_kind(slot), slot->first,
		slot->end, slot->called);
	if (slot->io.type != BDEV_IO_WRITE)
		return;
	for (uint32_t at = slot->first; at < slot->end; at++)
		model_fill(guest->model, slot->write, at,
			slot->buf + (at - slot->first) * MODEL_SECTOR);
}

static void slot_call_read(struct guest_slot *slot)
{
	uint32_t sectors = slot->end - slot->first;

	memcpy(slot->floor, slot->guest->subject->live + slot->first,
		sectors * sizeof(*slot->floor));
	memset(slot->buf, 0xee, sectors * MODEL_SECTOR);
}

static void slot_check_read(struct guest_slot *slot, uint64_t now)
{
	struct guest *guest = slot->guest;

	for (uint32_t at = slot->first; at < slot->end; at++) {
		uint32_t id = model_recognize(
			guest->model, at, slot->buf + (at - slot->first) * MODEL_SECTOR);

		if (!model_read_is_right(guest->model, guest->subject, at, id,
			    slot->floor[at - slot->first], now) &&
			!guest->fault[0])
			snprintf(guest->fault, sizeof(guest->fault),
				"volume %u sector %u was read at %" PRIu64 "-%" PRIu64
				": write %u, floor %" PRIu64,
				guest->subject->tag, at, slot->called, now, id,
				slot->floor[at - slot->first]);
	}
}

static void slot_next(struct guest_slot *slot);

static void slot_thought(struct timer *timer)
{
	slot_next(container_of(timer, struct guest_slot, timer));
}

static void slot_done(struct bdev_io *io)
{
	struct guest_slot *slot = container_of(io, struct guest_slot, io);
	struct guest *guest = slot->guest;
	uint64_t now = crash_log_tick(guest->log);

	assert_int_equal(io->status, 0);
	if (io->type == BDEV_IO_UNMAP)
		model_discard_end(guest->model, slot->write);
	if (io->type == BDEV_IO_READ)
		slot_check_read(slot, now);
	else if (io->type == BDEV_IO_FLUSH)
		model_flush(guest->model, guest->subject, slot->called, now);
	else
		model_write_end(guest->model, slot->write, io->flags & BDEV_IO_FUA, now);
	slot->timer.fired = slot_thought;
	timer_start(slot->channel->reactor, &slot->timer,
		1 + chance_below(&guest->chance, THINK_NS_MAX));
}

static void slot_submit(struct guest_slot *slot)
{
	struct guest *guest = slot->guest;
	enum bdev_io_type type = pick_type(guest);

	pick_range(slot);
	slot->io = (struct bdev_io){.type = (uint8_t)type, .done = slot_done};
	slot->called = crash_log_tick(guest->log);
	if (type != BDEV_IO_FLUSH) {
		slot->io.offset = (uint64_t)slot->first * MODEL_SECTOR;
		slot->io.length = (uint64_t)(slot->end - slot->first) * MODEL_SECTOR;
		slot->iov = (struct iovec){slot->buf, slot->io.length};
		slot->io.iov = &slot->iov;
		slot->io.iovcnt = 1;
	}
	if (type != BDEV_IO_FLUSH && type != BDEV_IO_READ && chance_one_in(&guest->chance, 8))
		slot->io.flags |= BDEV_IO_FUA;
	if (type == BDEV_IO_READ)
		slot_call_read(slot);
	else if (type != BDEV_IO_FLUSH)
		slot_call_write(slot);
	bdev_submit(slot->channel, &slot->io);
}

static void slot_next(struct guest_slot *slot)
{
	struct guest *guest = slot->guest;

	if (!guest->budget) {
		guest->active--;
		return;
	}
	guest->budget--;
	guest->made++;
	slot_submit(slot);
}

static void slot_start(struct message *message)
{
	slot_next(container_of(message, struct guest_slot, message));
}

void guest_start(struct guest *guest, unsigned requests)
{
	assert_int_equal(guest->active, 0);
	guest->budget = requests;
	guest->active = GUEST_SLOTS;
	for (unsigned i = 0; i < GUEST_SLOTS; i++) {
		struct guest_slot *slot = &guest->slots[i];

		slot->message.run = slot_start;
		reactor_send(slot->channel->reactor, &slot->message);
	}
}

void guest_stop(struct guest *guest)
{
	guest->budget = 0;
}
