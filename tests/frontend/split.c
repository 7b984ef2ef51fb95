/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Split virtqueues, driver's side: VIRTIO 1.3, 2.7. Which descriptors are free and how chains hang
 * together is kept in slots[], never read back from guest memory.
 */
#include <errno.h>
#include <string.h>

#include "frontend/frontend_impl.h"

static size_t avail_size(const struct fe_ring *ring)
{
	return sizeof(struct fe_avail) + ((size_t)ring->size + 1) * sizeof(uint16_t);
}

static size_t used_size(const struct fe_ring *ring)
{
	return sizeof(struct fe_used) + (size_t)ring->size * sizeof(struct fe_used_elem) +
	       sizeof(uint16_t);
}

int fe_split_create(struct fe_ring *ring, bool tight)
{
	/* 2.7: alignment 16, 2 and 4. */
	ring->desc =
		fe_ring_place(ring, 0, (size_t)ring->size * sizeof(struct fe_desc), tight ? 16 : 0);
	ring->avail = fe_ring_place(ring, 1, avail_size(ring), tight ? 2 : 0);
	ring->used = fe_ring_place(ring, 2, used_size(ring), tight ? 4 : 0);
	if (!ring->desc || !ring->avail || !ring->used)
		return -ENOSPC;
	ring->used_event = &ring->avail->ring[ring->size];
	ring->avail_event = (uint16_t *)(void *)&ring->used->ring[ring->size];
	return 0;
}

void fe_split_reset_at(struct fe_ring *ring, uint16_t index)
{
	memset(ring->desc, 0, (size_t)ring->size * sizeof(struct fe_desc));
	memset(ring->avail, 0, avail_size(ring));
	memset(ring->used, 0, used_size(ring));
	ring->avail->idx = index;
	ring->used->idx = index;
	*ring->used_event = index;
	*ring->avail_event = index;
	ring->avail_idx = ring->published_idx = ring->used_idx = index;
}

static void write_desc(struct fe_ring *ring, uint16_t at, const struct fe_segment *segment)
{
	ring->desc[at].gpa = segment->gpa;
	ring->desc[at].len = segment->len;
	ring->desc[at].flags = segment->write ? FE_DESC_WRITE : 0;
	ring->desc[at].next = 0;
}

int fe_split_add(struct fe_ring *ring, const struct fe_chain *chain, void *table, uint16_t *ret_id)
{
	uint16_t count = (uint16_t)(chain->direct + (table ? 1 : 0));
	uint16_t head = ring->free_head, at = head, last = head;
	uint16_t i;

	for (i = 0; i < count; i++) {
		if (i < chain->direct) {
			write_desc(ring, at, &chain->segments[i]);
		} else {
			uint32_t entries = chain->count - chain->direct;

			ring->desc[at].gpa = fe_memory_gpa(ring->memory, table);
			ring->desc[at].len = entries * (uint32_t)sizeof(struct fe_desc);
			ring->desc[at].flags = FE_DESC_INDIRECT;
			if (chain->indirect_write)
				ring->desc[at].flags |= FE_DESC_WRITE;
			ring->desc[at].next = 0;
		}
		last = at;
		at = ring->slots[at].next;
		if (i + 1 < count) {
			ring->desc[last].flags |= FE_DESC_NEXT;
			ring->desc[last].next = at;
		}
	}
	ring->free_head = at;
	fe_ring_fill_slot(ring, head, chain, table, count);
	ring->avail->ring[ring->avail_idx % ring->size] = head;
	ring->avail_idx++;
	*ret_id = head;
	return 0;
}

void fe_split_publish(struct fe_ring *ring)
{
	ring->unkicked += (uint16_t)(ring->avail_idx - ring->published_idx);
	ring->published_idx = ring->avail_idx;
	/* Descriptors, tables and ring entries before the index that shows them. */
	__atomic_store_n(&ring->avail->idx, ring->avail_idx, __ATOMIC_RELEASE);
}

bool fe_split_wants_kick(struct fe_ring *ring)
{
	uint16_t event;

	if (!ring->unkicked)
		return false;
	if (!ring->event_idx)
		return !(__atomic_load_n(&ring->used->flags, __ATOMIC_RELAXED) & FE_USED_NO_NOTIFY);
	event = __atomic_load_n(ring->avail_event, __ATOMIC_RELAXED);
	return (uint16_t)(ring->published_idx - event - 1) < ring->unkicked;
}

bool fe_split_ready(const struct fe_ring *ring)
{
	return fe_ring_peek_used_idx(ring) != ring->used_idx;
}

int fe_split_pop(struct fe_ring *ring, struct fe_completion *ret_completion)
{
	uint16_t count = (uint16_t)(fe_ring_peek_used_idx(ring) - ring->used_idx);
	const struct fe_used_elem *elem = &ring->used->ring[ring->used_idx % ring->size];
	uint16_t at, i;
	int rc;

	if (!count)
		return 0;
	if (count > ring->outstanding)
		return fe_ring_fault(ring, "used index is %u ahead with %u chains outstanding",
			count, ring->outstanding);
	rc = fe_ring_take_slot(ring, elem->id, elem->len, ret_completion);
	if (rc)
		return rc;
	/* The chain goes in front of the free list: its last descriptor points to the old head. */
	at = ret_completion->id;
	for (i = 1; i < ring->slots[ret_completion->id].descriptors; i++)
		at = ring->slots[at].next;
	ring->slots[at].next = ring->free_head;
	ring->free_head = ret_completion->id;
	ring->used_idx++;
	return 1;
}

void fe_split_interrupts(struct fe_ring *ring, bool on)
{
	uint16_t flags = on ? 0 : FE_AVAIL_NO_INTERRUPT;
	/* Off with EVENT_IDX: an index that was passed already is met again after 65,536 entries.
	 */
	uint16_t event = (uint16_t)(on ? ring->used_idx : ring->used_idx - 1);

	if (ring->event_idx)
		__atomic_store_n(ring->used_event, event, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&ring->avail->flags, flags, __ATOMIC_RELAXED);
}

/* ---- raw ---- */

void fe_ring_poke_desc(struct fe_ring *ring, uint32_t slot, uint64_t gpa, uint32_t len,
	uint16_t flags, uint16_t next)
{
	ring->desc[slot] = (struct fe_desc){gpa, len, flags, next};
}

void fe_ring_poke_avail(struct fe_ring *ring, uint16_t index, uint16_t head)
{
	ring->avail->ring[index % ring->size] = head;
}

void fe_ring_poke_avail_idx(struct fe_ring *ring, uint16_t index)
{
	__atomic_store_n(&ring->avail->idx, index, __ATOMIC_RELEASE);
}

uint16_t fe_ring_peek_used_idx(const struct fe_ring *ring)
{
	/* The index before the entries it shows. */
	return __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE);
}
