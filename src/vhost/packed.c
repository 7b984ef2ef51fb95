/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The packed ring, device side. VIRTIO 1.2 section 2.8.
 *
 * One ring of descriptors, written by both. Positions run from 0 to size - 1, any size; a wrap
 * counter each, flipped at the end, tells one round from the next. A slot is available when its
 * AVAIL bit equals our counter and its USED bit does not, used when both equal it. A chain takes
 * consecutive slots; it comes back as one used descriptor at the used position, which then passes
 * as many slots as the chain had. The request is found by the buffer id in the last descriptor, so
 * the slots of a chain are copied out first and checked after: nothing is read twice.
 *
 * The slots from the used position to the available one are ours: fetched, not returned. The driver
 * never has more out than the ring has slots; that is checked, everything else rests on it.
 *
 * A batch: push writes the used descriptors whole, except the flags of the very first; publish
 * stores these, and the driver, who goes in order, sees all of them at once.
 *
 * Our own positions and what is out is private; the ring is read only where the driver made it
 * available. Accesses that pair with the driver's:
 *
 *	flags of a chain's first slot	acquire, before the rest of the chain
 *	flags of a batch's first slot	release, after the rest of the batch
 *	driver event area		read after a full fence that follows the publish (2.8.21.3)
 *	device event area		written before a full fence that precedes the last look
 */
#include <errno.h>
#include <stdlib.h>

#include "vhost/virtqueue_impl.h"

int packed_set_base(struct virtqueue *vq, struct reason *reason)
{
	struct packed_ring *packed = &vq->packed;
	uint16_t avail = (uint16_t)vq->base;
	uint16_t used = (uint16_t)(vq->base >> 16);

	if (used == 0) /* from a back-end that told only the lower half (reference 8.3) */
		used = avail;
	if ((avail & VRING_PACKED_POSITION) >= vq->size)
		return reason_set(reason, -EINVAL,
			"%s: it cannot begin at position %u, the ring has %u", vq->name,
			avail & VRING_PACKED_POSITION, vq->size);
	if (used != avail)
		return reason_set(reason, -EINVAL,
			"%s: it was left with requests in flight (base 0x%x) and no record of "
			"them; the guest has to reset the device",
			vq->name, vq->base);
	packed->avail_next = avail & VRING_PACKED_POSITION;
	packed->avail_wrap = avail & VRING_PACKED_WRAP;
	packed->used_next = packed->avail_next;
	packed->used_wrap = packed->avail_wrap;
	return 0;
}

static void packed_destroy(struct virtqueue *vq)
{
	free(vq->packed.chain);
	free(vq->packed.out);
	free(vq->packed.entries);
}

/* Written with every request: on lines that no other queue's thread writes. Not touched yet. */
static void *packed_alloc(size_t count, size_t size)
{
	return aligned_alloc(CACHE_LINE, align_up(count * size, CACHE_LINE));
}

/* With a queue region the base waits for what recovery finds there. */
static int packed_create(struct virtqueue *vq, struct reason *reason)
{
	struct packed_ring *packed = &vq->packed;
	int rc;

	packed->chain = packed_alloc(vq->size, sizeof(*packed->chain));
	packed->out = packed_alloc(vq->size, sizeof(*packed->out));
	rc = packed->chain && packed->out ? 0 : -ENOMEM;
	if (rc == 0 && vq->inflight.region) {
		packed->entries = packed_alloc(vq->inflight.desc_num, sizeof(*packed->entries));
		rc = packed->entries ? 0 : -ENOMEM;
	} else if (rc == 0) {
		rc = packed_set_base(vq, reason);
	}
	if (rc)
		packed_destroy(vq);
	return rc;
}

static void packed_set_areas(
	struct virtqueue *vq, void *descriptors, void *driver_area, void *device_area)
{
	vq->packed.desc = descriptors;
	vq->packed.driver_event = driver_area;
	vq->packed.device_event = device_area;
}

/* The positions are those of packed_set_base, of recovery, or of the last stop. */
static void packed_start(struct virtqueue *vq)
{
	vq->packed.batch_slots = 0;
}

/* ---- recording: reference 11.3 ------------------------------------------------------------- */

/* The chain as copied and checked. It counts from the last store on: a recovery that does not find
 * it takes all entries from old_free_head on for free. */
static inline void packed_record(struct virtqueue *vq, uint16_t id, uint32_t slots)
{
	struct packed_ring *packed = &vq->packed;
	struct vhost_inflight_packed *region = vq->inflight.packed;
	uint16_t first = packed->free_head;
	uint16_t index = first;
	uint16_t last = first;
	struct vhost_inflight_packed_entry *entry;

	for (uint32_t i = 0; i < slots; i++) {
		const struct vring_packed_desc *slot = &packed->chain[i];

		entry = &region->entries[index];
		entry->id = slot->id;
		entry->flags = slot->flags;
		entry->len = slot->len;
		entry->addr = slot->addr;
		last = index;
		index = packed->entries[index].next;
	}
	entry = &region->entries[first];
	entry->last = last;
	entry->num = (uint16_t)slots;
	entry->counter = vq->inflight.counter++;
	entry->inflight = 1;
	inflight_step();
	region->free_head = index;
	inflight_step();
	region->old_free_head = index;
	inflight_step();
	packed->entries[first].last = last;
	packed->out[id].entry = first;
	packed->free_head = index;
}

/* Step 1. */
static inline void packed_link_batch(struct virtqueue *vq)
{
	struct packed_ring *packed = &vq->packed;
	struct vhost_inflight_packed *region = vq->inflight.packed;
	union vhost_inflight_packed_used used = region->used;

	for (unsigned i = 0; i < vq->inflight.batch_count; i++) {
		uint16_t first = vq->inflight.batch[i];
		uint16_t last = packed->entries[first].last;

		packed->entries[last].next = packed->free_head;
		region->entries[last].next = packed->free_head;
		packed->free_head = first;
	}
	region->free_head = packed->free_head;
	inflight_step();
	used.idx = packed->used_next;
	used.wrap_counter = packed->used_wrap;
	__atomic_store_n(&region->used.word, used.word, __ATOMIC_RELAXED);
	inflight_step();
}

/* Steps 3 and 4. */
static inline void packed_clear_batch(struct virtqueue *vq)
{
	struct packed_ring *packed = &vq->packed;
	struct vhost_inflight_packed *region = vq->inflight.packed;

	inflight_step();
	for (unsigned i = 0; i < vq->inflight.batch_count; i++)
		region->entries[vq->inflight.batch[i]].inflight = 0;
	vq->inflight.batch_count = 0;
	inflight_step();
	region->old_free_head = packed->free_head;
	inflight_step();
	packed_region_set_used(region, packed->used_next, packed->used_wrap);
}

/* ---- from the driver ----------------------------------------------------------------------- */

/* The flags of the slot that is next, or 0 where it is not available: one of the two bits is set in
 * those of every slot that is. */
static inline uint16_t packed_look(const struct virtqueue *vq)
{
	const struct packed_ring *packed = &vq->packed;
	uint16_t flags = __atomic_load_n(&packed->desc[packed->avail_next].flags, __ATOMIC_ACQUIRE);
	uint16_t bits = flags & (VRING_PACKED_DESC_F_AVAIL | VRING_PACKED_DESC_F_USED);

	return bits == (packed->avail_wrap ? VRING_PACKED_DESC_F_AVAIL : VRING_PACKED_DESC_F_USED)
		       ? flags
		       : 0;
}

/* Copies the chain that begins with a slot of those flags; returns its slots, 0: broken. */
static inline uint32_t packed_copy_chain(struct virtqueue *vq, uint16_t flags)
{
	struct packed_ring *packed = &vq->packed;
	uint32_t slots_max = vq->size - packed->out_slots;
	uint16_t position = packed->avail_next;

	for (uint32_t count = 0; likely(count < slots_max);) {
		const struct vring_packed_desc *slot = &packed->desc[position];
		struct vring_packed_desc *copy = &packed->chain[count++];

		copy->addr = __atomic_load_n(&slot->addr, __ATOMIC_RELAXED);
		copy->len = __atomic_load_n(&slot->len, __ATOMIC_RELAXED);
		copy->id = __atomic_load_n(&slot->id, __ATOMIC_RELAXED);
		copy->flags = flags;
		if (!(flags & VRING_DESC_F_NEXT))
			return count;
		if (++position == vq->size)
			position = 0;
		flags = __atomic_load_n(&packed->desc[position].flags, __ATOMIC_RELAXED);
	}
	virtqueue_set_broken(vq, "more descriptors are available than the ring has", slots_max);
	return 0;
}

static struct vq_request *packed_pop(struct virtqueue *vq)
{
	struct packed_ring *packed = &vq->packed;
	uint16_t flags = packed_look(vq);
	struct vq_request *request;
	uint32_t slots;
	uint16_t id;

	if (!flags)
		return NULL;
	slots = packed_copy_chain(vq, flags);
	if (unlikely(slots == 0))
		return NULL;
	id = packed->chain[slots - 1].id;
	if (unlikely(id >= vq->size)) {
		virtqueue_set_broken(vq, "a buffer id is out of bounds", id);
		return NULL;
	}
	request = virtqueue_request(vq, id);
	if (unlikely(request->in_flight)) {
		virtqueue_set_broken(vq, "a buffer id was made available twice", id);
		return NULL;
	}
	switch (chain_read_packed(vq, request, packed->chain, slots)) {
	case CHAIN_OK:
		break;
	case CHAIN_DRY:
		vq->dry = true;
		return NULL;
	case CHAIN_BROKEN:
		return NULL;
	}
	packed->out[id].slots = (uint16_t)slots;
	packed->out_slots += slots;
	packed_advance(vq, &packed->avail_next, &packed->avail_wrap, slots);
	if (vq->inflight.region)
		packed_record(vq, id, slots);
	return request;
}

/* From the queue region: the slots may have been written over. The list is whole; entries may have
 * been written since. Returns how many slots the chain has. */
static uint32_t packed_copy_recorded(struct virtqueue *vq, uint16_t first)
{
	struct packed_ring *packed = &vq->packed;
	uint32_t slots = 0;

	for (uint16_t index = first;; index = packed->entries[index].next) {
		const struct vhost_inflight_packed_entry *entry =
			&vq->inflight.packed->entries[index];
		struct vring_packed_desc *copy = &packed->chain[slots++];

		copy->addr = __atomic_load_n(&entry->addr, __ATOMIC_RELAXED);
		copy->len = __atomic_load_n(&entry->len, __ATOMIC_RELAXED);
		copy->id = __atomic_load_n(&entry->id, __ATOMIC_RELAXED);
		copy->flags = __atomic_load_n(&entry->flags, __ATOMIC_RELAXED);
		if (index == packed->entries[first].last)
			return slots;
	}
}

static enum chain_result packed_pop_again(struct virtqueue *vq, struct vq_request *request)
{
	uint32_t slots = packed_copy_recorded(vq, vq->packed.out[request->head].entry);

	return chain_read_packed(vq, request, vq->packed.chain, slots);
}

static void packed_take_back(struct virtqueue *vq, unsigned most)
{
	invariant(!"a packed ring postpones only what is recorded");
}

/* Recovery has counted it as out. */
static struct vq_request *packed_pop_recovered(struct virtqueue *vq)
{
	struct packed_ring *packed = &vq->packed;
	struct vq_inflight *inflight = &vq->inflight;
	struct vq_request *request;
	uint16_t first;
	uint32_t slots;
	uint16_t id;

	if (inflight_left(vq) == 0)
		return NULL;
	first = inflight->recovered[inflight->recovered_next];
	slots = packed_copy_recorded(vq, first);
	id = packed->chain[slots - 1].id;
	if (id >= vq->size || virtqueue_request(vq, id)->in_flight) {
		virtqueue_set_broken(vq, "an impossible buffer id is in the in-flight region", id);
		return NULL;
	}
	request = virtqueue_request(vq, id);
	switch (chain_read_packed(vq, request, packed->chain, slots)) {
	case CHAIN_OK:
		break;
	case CHAIN_DRY:
		vq->dry = true;
		return NULL;
	default:
		return NULL;
	}
	inflight->recovered_next++;
	packed->out[id] = (struct packed_out){.slots = (uint16_t)slots, .entry = first};
	return request;
}

/* ---- to the driver ------------------------------------------------------------------------- */

static void packed_push(struct virtqueue *vq, struct vq_request *request, uint32_t written)
{
	struct packed_ring *packed = &vq->packed;
	struct vring_packed_desc *slot = &packed->desc[packed->used_next];
	uint32_t slots = packed->out[request->head].slots;
	uint16_t flags =
		packed->used_wrap ? VRING_PACKED_DESC_F_AVAIL | VRING_PACKED_DESC_F_USED : 0;

	if (written)
		flags |= VRING_DESC_F_WRITE; /* the length means something */
	slot->id = request->head;
	slot->len = written;
	if (packed->batch_slots) {
		slot->flags = flags; /* not visible: the driver waits at the first */
	} else {
		packed->batch_start = packed->used_next;
		packed->batch_flags = flags;
	}
	packed->batch_slots += slots;
	packed_advance(vq, &packed->used_next, &packed->used_wrap, slots);
	/* (Never more than there are entries: each takes a slot, and slots are counted.) */
	if (vq->inflight.region)
		vq->inflight.batch[vq->inflight.batch_count++] = packed->out[request->head].entry;
}

/* What was pushed becomes visible. */
static void packed_expose(struct virtqueue *vq)
{
	struct packed_ring *packed = &vq->packed;

	if (packed->batch_slots == 0)
		return;
	if (vq->inflight.region)
		packed_link_batch(vq);
	__atomic_store_n(
		&packed->desc[packed->batch_start].flags, packed->batch_flags, __ATOMIC_RELEASE);
	if (vq->inflight.region)
		packed_clear_batch(vq);
	packed->out_slots -= packed->batch_slots;
	packed->batch_slots = 0;
}

/* Is the driver's position among the `slots` that end before used_next? (2.8.10, by the formula of
 * 2.7.7.2; a position with the other wrap counter is one of the round before.) */
static bool packed_passed(const struct virtqueue *vq, uint16_t off_wrap, uint32_t slots)
{
	int32_t behind = vq->packed.used_next - (int32_t)(off_wrap & VRING_PACKED_POSITION) - 1;

	if (!!(off_wrap & VRING_PACKED_WRAP) != vq->packed.used_wrap)
		behind += vq->size;
	return behind >= 0 && (uint32_t)behind < slots;
}

static bool packed_publish(struct virtqueue *vq)
{
	struct packed_ring *packed = &vq->packed;
	uint32_t slots = packed->batch_slots;
	union vring_packed_event event;

	if (!slots && !vq->first_decision)
		return false;
	packed_expose(vq);
	/* The driver writes its event area, then looks at the ring: one of us sees the other. */
	atomic_thread_fence(memory_order_seq_cst);
	event.word = __atomic_load_n(&packed->driver_event->word, __ATOMIC_RELAXED);
	if (event.flags == VRING_PACKED_EVENT_F_DESC && vq->event_idx)
		return packed_passed(vq, event.off_wrap, slots);
	return event.flags != VRING_PACKED_EVENT_F_DISABLE;
}

static bool packed_notify_on(struct virtqueue *vq)
{
	struct packed_ring *packed = &vq->packed;
	union vring_packed_event event = {.flags = VRING_PACKED_EVENT_F_ENABLE};

	if (vq->event_idx) {
		event.flags = VRING_PACKED_EVENT_F_DESC;
		event.off_wrap = (uint16_t)(packed->avail_next |
					    (packed->avail_wrap ? VRING_PACKED_WRAP : 0));
	}
	__atomic_store_n(&packed->device_event->word, event.word, __ATOMIC_RELAXED);
	/* The driver makes slots available, then reads this. */
	atomic_thread_fence(memory_order_seq_cst);
	return !packed_look(vq);
}

static void packed_notify_off(struct virtqueue *vq)
{
	union vring_packed_event event = {.flags = VRING_PACKED_EVENT_F_DISABLE};

	__atomic_store_n(&vq->packed.device_event->word, event.word, __ATOMIC_RELAXED);
}

/* Drained: what was fetched has been returned, so both halves are equal; but for recovered requests
 * that a broken ring leaves behind. */
static uint32_t packed_base(const struct virtqueue *vq)
{
	const struct packed_ring *packed = &vq->packed;
	uint32_t avail = packed->avail_next | (packed->avail_wrap ? VRING_PACKED_WRAP : 0);
	uint32_t used = packed->used_next | (packed->used_wrap ? VRING_PACKED_WRAP : 0);

	return avail | used << 16;
}

static void packed_prefetch_ring(const struct virtqueue *vq, enum poller_distance distance)
{
	const struct packed_ring *packed = &vq->packed;

	if (distance != POLLER_SECOND)
		return;
	__builtin_prefetch(&packed->desc[packed->avail_next], 1);
	__builtin_prefetch(&packed->desc[packed->used_next], 1);
	__builtin_prefetch(packed->driver_event);
	__builtin_prefetch(packed->chain, 1);
	__builtin_prefetch(vq->inflight.batch, 1);
	__builtin_prefetch(vq->inflight.region, 1);
}

const struct vring_ops packed_ops = {
	.create = packed_create,
	.destroy = packed_destroy,
	.set_areas = packed_set_areas,
	.start = packed_start,
	.pop = packed_pop,
	.push = packed_push,
	.publish = packed_publish,
	.notify_on = packed_notify_on,
	.notify_off = packed_notify_off,
	.base = packed_base,
	.prefetch = packed_prefetch_ring,
	.recover = packed_recover,
	.pop_recovered = packed_pop_recovered,
	.pop_again = packed_pop_again,
	.take_back = packed_take_back,
};
