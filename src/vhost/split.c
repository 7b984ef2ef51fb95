/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The split ring, device side. VIRTIO 1.2 section 2.6.
 *
 * Indices run freely through 65536; positions are taken modulo the size, a power of two. Our own
 * indices are private: the used index is written to guest memory and read from there only once, at
 * start. Accesses that pair with the driver's:
 *
 *	avail->idx    acquire, before the ring entry and the descriptors are read
 *	used->idx     release, after the used elements are written
 *	used_event    read after a full fence that follows the store of used->idx (2.6.7.2)
 *	avail_event   written before a full fence that precedes the look at avail->idx (2.6.9.2)
 */
#include <errno.h>

#include "vhost/virtqueue_impl.h"

static inline uint16_t guest_load16(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline void guest_store16(uint16_t *p, uint16_t value)
{
	__atomic_store_n(p, value, __ATOMIC_RELAXED);
}

static inline uint16_t *split_used_event(const struct virtqueue *vq)
{
	return &vq->split.avail->ring[vq->size];
}

static inline uint16_t *split_avail_event(const struct virtqueue *vq)
{
	return (uint16_t *)(void *)&vq->split.used->ring[vq->size];
}

static int split_create(struct virtqueue *vq, struct reason *reason)
{
	if (!is_power_of_two(vq->size))
		return reason_set(reason, -EINVAL,
			"%s: a split ring of %u entries is not possible, only powers of two",
			vq->name, vq->size);
	if (vq->base > UINT16_MAX)
		return reason_set(
			reason, -EINVAL, "%s: it cannot begin at index %u", vq->name, vq->base);
	return 0;
}

static void split_destroy(struct virtqueue *vq)
{
	(void)vq; /* all it needs is in it */
}

static void split_set_areas(
	struct virtqueue *vq, void *descriptors, void *driver_area, void *device_area)
{
	vq->split.desc = descriptors;
	vq->split.avail = driver_area;
	vq->split.used = device_area;
}

#define SPLIT_CHAINS_AHEAD  8
#define SPLIT_BUFFERS_AHEAD 4
#define SPLIT_RING_AHEAD    4

static void split_start(struct virtqueue *vq)
{
	struct split_ring *split = &vq->split;

	split->mask = (uint16_t)(vq->size - 1);
	split->avail_next = (uint16_t)vq->base;
	split->avail_seen = split->avail_next;
	if (!vq->inflight.resumed)
		split->used_next = guest_load16(&split->used->idx);
	split->used_decided = split->used_next;
}

/* ---- recording --------------------------------------------------------------------------- */

static inline bool split_is_marked(const struct virtqueue *vq, uint16_t head)
{
	return vq->inflight.region && vq->inflight.split->entries[head].inflight;
}

static inline void split_mark(struct virtqueue *vq, uint16_t head)
{
	struct vhost_inflight_split_entry *entry;

	if (!vq->inflight.region)
		return;
	entry = &vq->inflight.split->entries[head];
	entry->counter = vq->inflight.counter++;
	inflight_step();
	entry->inflight = 1;
	inflight_step();
}

/* In both loops all is in variables of their own: for the compiler a store to the region may change
 * what vq points to, which it would read again for each request. */

/* Step 1. */
static inline void split_link_batch(struct virtqueue *vq)
{
	struct vhost_inflight_split *region = vq->inflight.split;
	const uint16_t *batch = vq->inflight.batch;
	unsigned count = vq->inflight.batch_count;
	uint16_t last = vq->inflight.last_batch_head;

	for (unsigned i = 0; i < count; i++) {
		uint16_t head = batch[i];

		region->entries[head].next = last;
		last = head;
	}
	vq->inflight.last_batch_head = last;
	inflight_step();
	region->last_batch_head = last;
	inflight_step();
}

/* Steps 3 and 4. */
static inline void split_clear_batch(struct virtqueue *vq, uint16_t used)
{
	struct vhost_inflight_split *region = vq->inflight.split;
	const uint16_t *batch = vq->inflight.batch;
	unsigned count = vq->inflight.batch_count;

	inflight_step();
	for (unsigned i = 0; i < count; i++)
		region->entries[batch[i]].inflight = 0;
	vq->inflight.batch_count = 0;
	inflight_step();
	region->used_idx = used;
	inflight_step();
}

/* What was pushed becomes visible. */
static void split_expose(struct virtqueue *vq)
{
	struct split_ring *split = &vq->split;

	if (vq->inflight.batch_count)
		split_link_batch(vq);
	__atomic_store_n(&split->used->idx, split->used_next, __ATOMIC_RELEASE);
	if (vq->inflight.batch_count)
		split_clear_batch(vq, split->used_next);
}

/* ---- the ring ---------------------------------------------------------------------------- */

/* True when there is something to fetch. */
static bool split_look(struct virtqueue *vq)
{
	struct split_ring *split = &vq->split;
	uint16_t pending;

	split->avail_seen = __atomic_load_n(&split->avail->idx, __ATOMIC_ACQUIRE);
	pending = (uint16_t)(split->avail_seen - split->avail_next);
	if (unlikely(pending > vq->size)) {
		virtqueue_set_broken(
			vq, "the available index jumped by more than the ring", pending);
		split->avail_seen = split->avail_next;
		return false;
	}
	return pending != 0;
}

/* What the next chains need is in the cache of the driver's CPU, or in a far one of ours: it
 * travels meanwhile. First descriptors and request, then, with the address that is found there,
 * the first buffer, which a device reads before all else. Heads and addresses are hints here,
 * checked when their turn comes. */
static inline uint16_t split_hint(const struct split_ring *split, unsigned ahead)
{
	return guest_load16(&split->avail->ring[(split->avail_next + ahead) & split->mask]) &
	       split->mask;
}

static inline void split_prefetch_chain(const struct virtqueue *vq, unsigned ahead)
{
	uint16_t head = split_hint(&vq->split, ahead);

	__builtin_prefetch(&vq->split.desc[head]);
	__builtin_prefetch(virtqueue_request_at(vq, head), 1);
}

static inline void split_prefetch_buffer(struct virtqueue *vq, unsigned ahead)
{
	uint64_t gpa = vq->split.desc[split_hint(&vq->split, ahead)].addr;
	uint64_t len;
	const void *buffer = guest_memory_translate(vq->memory, &vq->region_hint, gpa, 1, &len);

	if (likely(buffer != NULL))
		__builtin_prefetch(buffer, 1);
}

static inline void split_prefetch(struct virtqueue *vq)
{
	const struct split_ring *split = &vq->split;
	unsigned left = (uint16_t)(split->avail_seen - split->avail_next);

	if (left > SPLIT_CHAINS_AHEAD)
		split_prefetch_chain(vq, SPLIT_CHAINS_AHEAD);
	if (left > SPLIT_BUFFERS_AHEAD)
		split_prefetch_buffer(vq, SPLIT_BUFFERS_AHEAD);
}

/* The first of a batch. */
static void split_prefetch_first(struct virtqueue *vq, unsigned count)
{
	for (unsigned i = 0; i < count && i < SPLIT_CHAINS_AHEAD; i++)
		split_prefetch_chain(vq, i);
	for (unsigned i = 0; i < count && i < SPLIT_BUFFERS_AHEAD; i++)
		split_prefetch_buffer(vq, i);
}

static struct vq_request *split_pop(struct virtqueue *vq)
{
	struct split_ring *split = &vq->split;
	struct vq_request *request;
	uint16_t head;

	if (split->avail_next == split->avail_seen) {
		if (!split_look(vq))
			return NULL;
		split_prefetch_first(vq, (uint16_t)(split->avail_seen - split->avail_next));
	}
	head = guest_load16(&split->avail->ring[split->avail_next & split->mask]);
	if (unlikely(head >= vq->size)) {
		virtqueue_set_broken(vq, "a head is out of bounds", head);
		return NULL;
	}
	split_prefetch(vq);
	request = virtqueue_request(vq, head);
	if (unlikely(request->in_flight || split_is_marked(vq, head))) {
		virtqueue_set_broken(vq, "a head was made available twice", head);
		return NULL;
	}
	switch (chain_read_split(vq, request, head)) {
	case CHAIN_OK:
		break;
	case CHAIN_DRY:
		vq->dry = true;
		return NULL;
	case CHAIN_BROKEN:
		return NULL;
	}
	split->avail_next++;
	split_mark(vq, head);
	return request;
}

/* Its mark is there, its place in the available ring is behind us. */
static struct vq_request *split_pop_recovered(struct virtqueue *vq)
{
	struct vq_inflight *inflight = &vq->inflight;
	struct vq_request *request;
	uint16_t head;

	if (inflight_left(vq) == 0)
		return NULL;
	head = inflight->recovered[inflight->recovered_next];
	request = virtqueue_request(vq, head);
	switch (chain_read_split(vq, request, head)) {
	case CHAIN_OK:
		inflight->recovered_next++;
		return request;
	case CHAIN_DRY:
		vq->dry = true;
		return NULL;
	default:
		return NULL;
	}
}

static enum chain_result split_pop_again(struct virtqueue *vq, struct vq_request *request)
{
	return chain_read_split(vq, request, request->head);
}

/* Back through the available ring. The entries of chains that are out have not been overwritten:
 * the driver has that many heads less to post. */
static void split_take_back(struct virtqueue *vq, unsigned most)
{
	struct split_ring *split = &vq->split;

	while (most--) {
		uint16_t position = (uint16_t)(split->avail_next - 1) & split->mask;
		uint16_t head = guest_load16(&split->avail->ring[position]);

		if (head >= vq->size || virtqueue_request_at(vq, head)->in_flight != VQ_POSTPONED)
			return;
		virtqueue_request_at(vq, head)->in_flight = VQ_IDLE;
		split->avail_next--;
	}
}

static void split_push(struct virtqueue *vq, struct vq_request *request, uint32_t written)
{
	struct split_ring *split = &vq->split;
	struct vring_used_elem *elem = &split->used->ring[split->used_next & split->mask];

	elem->id = request->head;
	elem->len = written;
	split->used_next++;
	if (!vq->inflight.region)
		return;
	/* More than the ring holds: a driver that posts what it has not got back, with the help of
	 * a front-end that takes the marks away. */
	if (unlikely(vq->inflight.batch_count == vq->size))
		split_expose(vq);
	vq->inflight.batch[vq->inflight.batch_count++] = request->head;
}

static bool split_publish(struct virtqueue *vq)
{
	struct split_ring *split = &vq->split;
	uint16_t new = split->used_next;
	uint16_t old = split->used_decided;

	if (new == old && !vq->first_decision)
		return false;
	split_expose(vq);
	split->used_decided = new;
	/* The driver writes used_event or flags, then looks at used->idx: one of us sees the other.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	if (vq->event_idx)
		return (uint16_t)(new - guest_load16(split_used_event(vq)) - 1) <
		       (uint16_t)(new - old);
	return !(guest_load16(&split->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
}

static bool split_notify_on(struct virtqueue *vq)
{
	struct split_ring *split = &vq->split;

	if (vq->event_idx)
		guest_store16(split_avail_event(vq), split->avail_next);
	else
		guest_store16(&split->used->flags, 0);
	/* The driver writes avail->idx, then reads avail_event or flags. */
	atomic_thread_fence(memory_order_seq_cst);
	return guest_load16(&split->avail->idx) == split->avail_next;
}

static void split_notify_off(struct virtqueue *vq)
{
	/* EVENT_IDX has no "never", only an index far away, which the driver passes once in 65536
	 * entries. Left where it was, it would be passed with the very next one. */
	if (vq->event_idx)
		guest_store16(split_avail_event(vq), (uint16_t)(vq->split.avail_next + 0x8000));
	else
		guest_store16(&vq->split.used->flags, VRING_USED_F_NO_NOTIFY);
}

static void split_prefetch_ring(const struct virtqueue *vq, enum poller_distance distance)
{
	const struct split_ring *split = &vq->split;
	uint16_t pending;

	if (distance == POLLER_SECOND) {
		__builtin_prefetch(&split->avail->idx);
		__builtin_prefetch(&split->avail->ring[split->avail_next & split->mask]);
		__builtin_prefetch(&split->used->ring[split->used_next & split->mask], 1);
		__builtin_prefetch(&split->used->idx, 1);
		__builtin_prefetch(vq->inflight.batch, 1);
		__builtin_prefetch(vq->inflight.region, 1);
		return;
	}
	pending = (uint16_t)(__atomic_load_n(&split->avail->idx, __ATOMIC_ACQUIRE) -
			     split->avail_next);
	for (unsigned i = 0; i < pending && i < SPLIT_RING_AHEAD; i++)
		split_prefetch_chain(vq, i);
}

static uint32_t split_base(const struct virtqueue *vq)
{
	return vq->split.avail_next;
}

const struct vring_ops split_ops = {
	.create = split_create,
	.destroy = split_destroy,
	.set_areas = split_set_areas,
	.start = split_start,
	.pop = split_pop,
	.push = split_push,
	.publish = split_publish,
	.notify_on = split_notify_on,
	.notify_off = split_notify_off,
	.base = split_base,
	.prefetch = split_prefetch_ring,
	.recover = split_recover,
	.pop_recovered = split_pop_recovered,
	.pop_again = split_pop_again,
	.take_back = split_take_back,
};
