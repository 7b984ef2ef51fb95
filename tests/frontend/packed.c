/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packed virtqueues, driver's side: VIRTIO 1.3, 2.8. Positions run 0..size-1 with a wrap counter
 * each. A batch becomes visible at once: all descriptors of all its chains are written with their
 * final flags except the very first, whose flags fe_packed_publish() stores last; a device takes
 * descriptors in order and so cannot see past it.
 *
 * Buffer ids come from a free list of their own and go in and out of order with the positions, as
 * far as the device completes out of order.
 */
#include <errno.h>
#include <string.h>

#include "frontend/frontend_impl.h"

/* Only the last descriptor's id counts; a device that reads another one finds this. */
#define NO_ID 0x7fffu

int fe_packed_create(struct fe_ring *ring, bool tight)
{
	ring->packed_desc = fe_ring_place(
		ring, 0, (size_t)ring->size * sizeof(struct fe_packed_desc), tight ? 16 : 0);
	ring->driver_event = fe_ring_place(ring, 1, sizeof(struct fe_packed_event), tight ? 4 : 0);
	ring->device_event = fe_ring_place(ring, 2, sizeof(struct fe_packed_event), tight ? 4 : 0);
	if (!ring->packed_desc || !ring->driver_event || !ring->device_event)
		return -ENOSPC;
	return 0;
}

static uint16_t state_flags(bool available, bool wrap)
{
	bool avail_bit = wrap, used_bit = available ? !wrap : wrap;

	return (uint16_t)((avail_bit ? FE_PACKED_AVAIL : 0) | (used_bit ? FE_PACKED_USED : 0));
}

void fe_packed_reset_at(struct fe_ring *ring, uint16_t index)
{
	bool wrap = index & 0x8000;
	uint16_t position = index & 0x7fff;
	uint32_t i;

	memset(ring->packed_desc, 0, (size_t)ring->size * sizeof(struct fe_packed_desc));
	/* As if all slots had been used: those before the position in this round, the others in the
	 * one before. At a first start, wrap 1 and position 0, that is all zeroes. */
	for (i = 0; i < ring->size; i++)
		ring->packed_desc[i].flags = state_flags(false, i < position ? wrap : !wrap);
	memset(ring->driver_event, 0, sizeof(struct fe_packed_event));
	memset(ring->device_event, 0, sizeof(struct fe_packed_event));
	ring->avail_idx = ring->published_idx = ring->used_idx = position;
	ring->avail_wrap = ring->published_wrap = ring->used_wrap = wrap;
}

static void advance(const struct fe_ring *ring, uint16_t *position, bool *wrap, uint32_t step)
{
	uint32_t next = *position + step;

	if (next >= ring->size) {
		next -= ring->size;
		*wrap = !*wrap;
	}
	*position = (uint16_t)next;
}

static void write_desc(struct fe_ring *ring, const struct fe_packed_desc *desc)
{
	struct fe_packed_desc *at = &ring->packed_desc[ring->avail_idx];
	uint16_t flags = (uint16_t)(desc->flags | state_flags(true, ring->avail_wrap));

	at->gpa = desc->gpa;
	at->len = desc->len;
	at->id = desc->id;
	if (!ring->batch_slots) {
		ring->batch_start = ring->avail_idx;
		ring->batch_flags = flags;
	} else {
		at->flags = flags;
	}
	ring->batch_slots++;
	advance(ring, &ring->avail_idx, &ring->avail_wrap, 1);
}

int fe_packed_add(struct fe_ring *ring, const struct fe_chain *chain, void *table, uint16_t *ret_id)
{
	uint16_t id = ring->free_head;
	uint32_t i;

	ring->free_head = ring->slots[id].next;
	if (table) {
		struct fe_packed_desc desc = {
			.gpa = fe_memory_gpa(ring->memory, table),
			.len = chain->count * (uint32_t)sizeof(desc),
			.id = id,
			.flags = FE_DESC_INDIRECT | (chain->indirect_write ? FE_DESC_WRITE : 0),
		};

		write_desc(ring, &desc);
	}
	for (i = 0; i < chain->direct; i++) {
		const struct fe_segment *segment = &chain->segments[i];
		bool last = i + 1 == chain->direct;
		struct fe_packed_desc desc = {
			.gpa = segment->gpa,
			.len = segment->len,
			.id = last ? id : NO_ID,
			.flags = (uint16_t)((segment->write ? FE_DESC_WRITE : 0) |
					    (last ? 0 : FE_DESC_NEXT)),
		};

		write_desc(ring, &desc);
	}
	fe_ring_fill_slot(ring, id, chain, table, (uint16_t)(table ? 1 : chain->direct));
	*ret_id = id;
	return 0;
}

void fe_packed_publish(struct fe_ring *ring)
{
	ring->unkicked += ring->batch_slots;
	ring->batch_slots = 0;
	ring->published_idx = ring->avail_idx;
	ring->published_wrap = ring->avail_wrap;
	/* Everything of the batch before the flags that show it. */
	__atomic_store_n(
		&ring->packed_desc[ring->batch_start].flags, ring->batch_flags, __ATOMIC_RELEASE);
}

bool fe_packed_wants_kick(struct fe_ring *ring)
{
	union {
		uint32_t word;
		struct fe_packed_event event;
	} wish;
	int32_t behind;

	if (!ring->unkicked)
		return false;
	/* Flags and position belong together, so they are read together. */
	wish.word = __atomic_load_n((uint32_t *)(void *)ring->device_event, __ATOMIC_RELAXED);
	if (wish.event.flags == FE_EVENT_NEVER)
		return false;
	if (wish.event.flags != FE_EVENT_AT || !ring->event_idx)
		return true;
	behind = ring->published_idx - (wish.event.position & 0x7fff) - 1;
	if ((wish.event.position >> 15) != ring->published_wrap)
		behind += (int32_t)ring->size;
	return behind >= 0 && (uint32_t)behind < ring->unkicked;
}

bool fe_packed_ready(const struct fe_ring *ring)
{
	/* The flags before the id and length they show. */
	uint16_t flags =
		__atomic_load_n(&ring->packed_desc[ring->used_idx].flags, __ATOMIC_ACQUIRE);
	uint16_t used = state_flags(false, ring->used_wrap);

	return (flags & (FE_PACKED_AVAIL | FE_PACKED_USED)) == used;
}

int fe_packed_pop(struct fe_ring *ring, struct fe_completion *ret_completion)
{
	const struct fe_packed_desc *desc = &ring->packed_desc[ring->used_idx];
	uint32_t len;
	int rc;

	if (!fe_packed_ready(ring))
		return 0;
	/* 2.8.13: without WRITE the length means nothing. */
	len = desc->flags & FE_DESC_WRITE ? desc->len : 0;
	rc = fe_ring_take_slot(ring, desc->id, len, ret_completion);
	if (rc)
		return rc;
	advance(ring, &ring->used_idx, &ring->used_wrap,
		ring->slots[ret_completion->id].descriptors);
	ring->slots[ret_completion->id].next = ring->free_head;
	ring->free_head = ret_completion->id;
	return 1;
}

void fe_packed_interrupts(struct fe_ring *ring, bool on)
{
	struct fe_packed_event *event = ring->driver_event;
	uint16_t position = (uint16_t)(ring->used_idx | (ring->used_wrap ? 0x8000 : 0));

	if (!on) {
		__atomic_store_n(&event->flags, FE_EVENT_NEVER, __ATOMIC_RELAXED);
		return;
	}
	if (!ring->event_idx) {
		__atomic_store_n(&event->flags, FE_EVENT_ALWAYS, __ATOMIC_RELAXED);
		return;
	}
	/* The position before the flag that gives it a meaning. */
	__atomic_store_n(&event->position, position, __ATOMIC_RELAXED);
	__atomic_store_n(&event->flags, FE_EVENT_AT, __ATOMIC_RELEASE);
}

/* ---- raw ---- */

void fe_ring_poke_packed(struct fe_ring *ring, uint32_t slot, uint64_t gpa, uint32_t len,
	uint16_t id, uint16_t flags)
{
	struct fe_packed_desc *desc = &ring->packed_desc[slot];

	desc->gpa = gpa;
	desc->len = len;
	desc->id = id;
	__atomic_store_n(&desc->flags, flags, __ATOMIC_RELEASE);
}
