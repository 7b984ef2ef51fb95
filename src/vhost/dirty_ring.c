/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtqueues whose writes to guest memory are logged, for a live migration. The queue's reactor.
 *
 * While there is nothing to log this costs nothing: logging is a format of rings of its own, whose
 * functions are those of the plain one, each followed by the marks of what it has written. A queue
 * is given the one or the other by virtqueue_set_logging, between two requests.
 *
 * What is marked, and when (reference section 10):
 *
 *	push		every byte of the chain that the device could write, whatever it did; one
 *			that has shortened the iovecs puts them right first (ops->restore). Then
 *			the used element (packed: the first slot)
 *	publish		the used index and flags; packed: the slot that makes the batch visible
 *	notifications	avail_event; packed: the device event area
 *	start		all of the ring: recovery may have written there
 *
 * So buffers are marked before the driver can see them used. It is decided at the completion: a
 * request that was fetched before logging began is logged. The ring's own marks follow its writes;
 * all of them are there before the queue is found drained.
 *
 * A split ring is where the front-end says in the log field of its addresses. In a packed ring that
 * field is the device event area's; the descriptors' place is found in the memory table.
 *
 * Two regions of the same memory (which no front-end we know has) are told of by one of them.
 */
#include "vhost/virtqueue_impl.h"

/* Where element i of the used ring is, from its beginning; i = size: avail_event. */
static inline uint64_t used_offset(unsigned i)
{
	return sizeof(struct vring_used) + i * sizeof(struct vring_used_elem);
}

static inline void dirty_mark(const struct virtqueue *vq, uint64_t gpa, uint64_t len)
{
	dirty_log_mark(vq->dirty.logging.log, gpa, len);
}

/* [addr, addr + len) lies in one region. */
static void dirty_mark_addr(struct virtqueue *vq, const void *addr, uint64_t len)
{
	const struct guest_memory *memory = vq->memory;
	unsigned i = vq->dirty.hint < memory->count ? vq->dirty.hint : 0;

	for (unsigned left = memory->count; left; left--) {
		const struct guest_region *region = &memory->regions[i];
		uint64_t offset = (uintptr_t)addr - (uintptr_t)region->addr;

		if (likely(offset < region->size)) {
			vq->dirty.hint = i;
			dirty_mark(vq, region->gpa + offset, len);
			return;
		}
		if (++i == memory->count)
			i = 0;
	}
}

static void dirty_mark_buffers(struct virtqueue *vq, struct vq_request *request)
{
	const struct iovec *in = request->iov + request->out_iovs;

	if (vq->ops->restore)
		vq->ops->restore(request);
	for (uint32_t i = 0; i < request->in_iovs; i++) {
		if (likely(in[i].iov_base && in[i].iov_len))
			dirty_mark_addr(vq, in[i].iov_base, in[i].iov_len);
	}
}

/* ---- the ring's own ------------------------------------------------------------------------ */

static void dirty_mark_used(struct virtqueue *vq, uint16_t used)
{
	if (vq->is_packed)
		dirty_mark_addr(vq, &vq->packed.desc[used], sizeof(struct vring_packed_desc));
	else
		dirty_mark(vq, vq->dirty.logging.ring_gpa + used_offset(used & vq->split.mask),
			sizeof(struct vring_used_elem));
}

static uint16_t dirty_used_next(const struct virtqueue *vq)
{
	return vq->is_packed ? vq->packed.used_next : vq->split.used_next;
}

/* The beginning of the used ring: flags and index. */
static void dirty_mark_index(struct virtqueue *vq)
{
	dirty_mark(vq, vq->dirty.logging.ring_gpa, sizeof(struct vring_used));
}

static void dirty_mark_suppression(struct virtqueue *vq)
{
	if (!vq->dirty.logging.ring)
		return;
	dirty_mark_index(vq); /* packed: the event area, of the same size */
	if (!vq->is_packed && vq->event_idx)
		dirty_mark(
			vq, vq->dirty.logging.ring_gpa + used_offset(vq->size), sizeof(uint16_t));
}

static_assert(sizeof(struct vring_used) == sizeof(union vring_packed_event), "area");

/* ---- the format ---------------------------------------------------------------------------- */

static void dirty_start(struct virtqueue *vq)
{
	vq->dirty.plain->start(vq);
	if (!vq->dirty.logging.ring)
		return;
	dirty_mark_suppression(vq);
	for (unsigned i = 0; vq->is_packed && i < vq->size; i++)
		dirty_mark_used(vq, (uint16_t)i);
}

static void dirty_push(struct virtqueue *vq, struct vq_request *request, uint32_t written)
{
	uint16_t used = dirty_used_next(vq);

	if (vq->dirty.logging.buffers)
		dirty_mark_buffers(vq, request);
	vq->dirty.plain->push(vq, request, written);
	if (vq->dirty.logging.ring)
		dirty_mark_used(vq, used);
}

static bool dirty_publish(struct virtqueue *vq)
{
	bool wanted = vq->dirty.plain->publish(vq);

	if (!vq->dirty.logging.ring)
		return wanted;
	if (vq->is_packed)
		dirty_mark_used(vq, vq->packed.batch_start);
	else
		dirty_mark_index(vq);
	return wanted;
}

static bool dirty_notify_on(struct virtqueue *vq)
{
	bool empty = vq->dirty.plain->notify_on(vq);

	dirty_mark_suppression(vq);
	return empty;
}

static void dirty_notify_off(struct virtqueue *vq)
{
	vq->dirty.plain->notify_off(vq);
	dirty_mark_suppression(vq);
}

void virtqueue_apply_logging(struct virtqueue *vq, const struct virtqueue_logging *logging)
{
	struct vq_dirty *dirty = &vq->dirty;

	if (!dirty->plain) {
		dirty->plain = vq->ring;
		dirty->ops = *vq->ring;
		dirty->ops.start = dirty_start;
		dirty->ops.push = dirty_push;
		dirty->ops.publish = dirty_publish;
		dirty->ops.notify_on = dirty_notify_on;
		dirty->ops.notify_off = dirty_notify_off;
	}
	dirty->logging = *logging;
	vq->ring = logging->log && (logging->buffers || logging->ring) ? &dirty->ops : dirty->plain;
}
