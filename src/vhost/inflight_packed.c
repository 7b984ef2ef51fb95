/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Recovery of a packed ring from its queue region. Reference section 11.3; who writes what and when
 * is in packed.c. Runs before the queue does, on a worker.
 *
 * Completions overwrite the ring, so the chains themselves are in the region, as lists of entries.
 * Entries that are in no chain form the free list. free_head, used_idx and used_wrap_counter are
 * there twice, as they will be (new) and as they are (old).
 *
 * A killed back-end leaves a prefix of its stores:
 *
 *	died			found				made of it
 *	in a fetch		new = old positions, the	new = old: its entries are on the
 *				  chain on the free list	  free list, the chain is
 *								  fetched as new
 *	after old_free_head	marked, not on the free list	repeated
 *	before the flags of	new != old positions, the slot	new = old: the batch is repeated;
 *	  a batch's first slot	  at the old one still is	  slots that already look used
 *	  are stored		  available			  are made to look available
 *	after it		the same, but it is not		old = new: the batch is done, its
 *				  available any more		  entries are on the free list,
 *								  their marks are cleared
 *	in a recovery		any of these			the same again
 *
 * Positions are compared with their wrap counters, a batch may go once around the ring, and stored
 * together with them: slots inside of a chain that came back still look available in their round,
 * so that a new index with an old wrap counter could not be told from a batch that is not visible.
 *
 * Slots that look used: push writes all of a batch but the flags of the first. Were they left so,
 * the driver would take them for completions as soon as those before them are there.
 *
 * The front-end can write the region, and the guest the ring, at any time: each value is read once,
 * into a struct packed_entry of ours or a mark, and checked; every entry is visited once. A region
 * that cannot be right is refused before anything of it is changed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vhost/virtqueue_impl.h"

struct packed_recovery {
	struct virtqueue *vq;
	struct vhost_inflight_packed *region;
	uint16_t free_head;
	uint16_t used_idx;
	bool used_wrap;
	uint32_t free_count; /* entries */
	uint32_t slots; /* of the chains in flight */
	bool *seen; /* by entry */
	struct inflight_mark *marks;
	unsigned count;
};

static inline uint16_t region_load16(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline bool region_load_bool(const uint8_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static int packed_region_init(struct virtqueue *vq, struct reason *reason)
{
	struct vhost_inflight_packed *region = vq->inflight.packed;
	uint16_t n = vq->inflight.desc_num;
	int rc = packed_set_base(vq, reason);

	if (rc)
		return rc;
	memset(region->entries, 0, n * sizeof(region->entries[0]));
	for (unsigned i = 0; i < n; i++) {
		region->entries[i].next = (uint16_t)(i + 1);
		vq->packed.entries[i].next = (uint16_t)(i + 1);
	}
	vq->packed.free_head = 0;
	vq->packed.out_slots = 0;
	region->features = 0;
	region->desc_num = n;
	region->free_head = region->old_free_head = 0;
	packed_region_set_used(region, vq->packed.used_next, vq->packed.used_wrap);
	region->version = VHOST_INFLIGHT_VERSION;
	inflight_step();
	vq->inflight.counter = 1;
	return 0;
}

/* ---- what is there ------------------------------------------------------------------------- */

static int packed_region_check(struct virtqueue *vq, uint16_t version, struct reason *reason)
{
	const struct vhost_inflight_packed *region = vq->inflight.packed;

	return inflight_check_header(
		vq, region->features, version, region_load16(&region->desc_num), reason);
}

static bool slot_is(const struct virtqueue *vq, uint16_t position, bool avail, bool used)
{
	uint16_t flags = region_load16(&vq->packed.desc[position].flags);

	return !!(flags & VRING_PACKED_DESC_F_AVAIL) == avail &&
	       !!(flags & VRING_PACKED_DESC_F_USED) == used;
}

/* Which of the two positions counts. */
static int packed_find_positions(struct packed_recovery *r, struct reason *reason)
{
	const struct vhost_inflight_packed *region = r->region;
	union vhost_inflight_packed_used used;

	used.word = __atomic_load_n(&region->used.word, __ATOMIC_RELAXED);
	if (used.idx >= r->vq->size || used.old_idx >= r->vq->size)
		return reason_set(reason, -EPROTO,
			"%s: the in-flight region names position %u of a ring of %u", r->vq->name,
			used.idx >= r->vq->size ? used.idx : used.old_idx, r->vq->size);
	r->used_idx = used.old_idx;
	r->used_wrap = used.old_wrap_counter;
	r->free_head = region_load16(&region->old_free_head);
	if ((used.idx == used.old_idx && !used.wrap_counter == !used.old_wrap_counter) ||
		slot_is(r->vq, r->used_idx, r->used_wrap, !r->used_wrap))
		return 0;
	r->used_idx = used.idx;
	r->used_wrap = used.wrap_counter;
	r->free_head = region_load16(&region->free_head);
	return 0;
}

/* False: it does not exist or belongs to two lists. */
static bool packed_visit(struct packed_recovery *r, uint16_t index)
{
	if (index >= r->vq->inflight.desc_num || r->seen[index])
		return false;
	r->seen[index] = true;
	r->vq->packed.entries[index].next = region_load16(&r->region->entries[index].next);
	return true;
}

static int packed_reason_lists(const struct packed_recovery *r, struct reason *reason)
{
	return reason_set(reason, -EPROTO,
		"%s: the lists in the in-flight region are not those of a ring of %u", r->vq->name,
		r->vq->size);
}

static bool packed_walk_free(struct packed_recovery *r)
{
	uint16_t end = r->vq->inflight.desc_num;

	for (uint16_t i = r->free_head; i < end; i = r->vq->packed.entries[i].next) {
		if (!packed_visit(r, i))
			return false;
		r->free_count++;
	}
	return true;
}

/* A chain's entries, by num: the link of the last may lead to the free list already. */
static bool packed_walk_chain(struct packed_recovery *r, uint16_t first)
{
	uint16_t num = region_load16(&r->region->entries[first].num);
	uint16_t last = first;

	if (num == 0 || num > r->vq->size - r->slots || !packed_visit(r, first))
		return false;
	for (unsigned i = 1; i < num; i++) {
		last = r->vq->packed.entries[last].next;
		if (!packed_visit(r, last))
			return false;
	}
	r->vq->packed.entries[first].last = last;
	r->slots += num;
	return true;
}

/* Marked and not on the free list. Every entry has to be on one list or the other. */
static int packed_collect(struct packed_recovery *r, struct reason *reason)
{
	uint16_t n = r->vq->inflight.desc_num;

	if (!packed_walk_free(r))
		return packed_reason_lists(r, reason);
	for (uint16_t i = 0; i < n; i++) {
		const struct vhost_inflight_packed_entry *entry = &r->region->entries[i];

		if (r->seen[i] || !region_load_bool(&entry->inflight))
			continue;
		if (!packed_walk_chain(r, i))
			return packed_reason_lists(r, reason);
		r->marks[r->count++] = (struct inflight_mark){
			.counter = __atomic_load_n(&entry->counter, __ATOMIC_RELAXED),
			.index = i,
		};
	}
	return r->free_count + r->slots == n ? 0 : packed_reason_lists(r, reason);
}

/* ---- repair -------------------------------------------------------------------------------- */

/* Heads first: while the positions differ, one slot goes on saying which of them count. */
static void packed_settle_positions(struct packed_recovery *r)
{
	r->region->free_head = r->free_head;
	r->region->old_free_head = r->free_head;
	inflight_step();
	packed_region_set_used(r->region, r->used_idx, r->used_wrap);
}

/* Marks of entries on the free list go. In walking order: recovery may be cut as well. */
static void packed_clear_free(struct packed_recovery *r)
{
	const struct packed_entry *entries = r->vq->packed.entries;

	for (uint16_t i = r->free_head; i < r->vq->inflight.desc_num; i = entries[i].next)
		r->region->entries[i].inflight = 0;
	inflight_step();
}

/* All slots that are out look as the driver made them. */
static void packed_restore_slots(struct packed_recovery *r)
{
	uint16_t position = r->used_idx;
	bool wrap = r->used_wrap;

	for (uint32_t left = r->slots; left; left--) {
		uint16_t *flags = &r->vq->packed.desc[position].flags;

		if (slot_is(r->vq, position, wrap, wrap))
			__atomic_store_n(flags,
				wrap ? VRING_PACKED_DESC_F_AVAIL : VRING_PACKED_DESC_F_USED,
				__ATOMIC_RELAXED);
		packed_advance(r->vq, &position, &wrap, 1);
	}
}

static void packed_resume(struct packed_recovery *r)
{
	struct packed_ring *packed = &r->vq->packed;

	packed->free_head = r->free_head;
	packed->out_slots = r->slots;
	packed->used_next = packed->avail_next = r->used_idx;
	packed->used_wrap = packed->avail_wrap = r->used_wrap;
	packed_advance(r->vq, &packed->avail_next, &packed->avail_wrap, r->slots);
	r->vq->inflight.resumed = true;
}

static int packed_recover_used(struct packed_recovery *r, struct reason *reason)
{
	int rc = packed_find_positions(r, reason);

	if (rc == 0)
		rc = packed_collect(r, reason);
	if (rc == 0)
		rc = inflight_set_recovered(r->vq, r->marks, r->count);
	if (rc)
		return rc;
	packed_restore_slots(r);
	packed_settle_positions(r);
	packed_clear_free(r);
	packed_resume(r);
	return 0;
}

int packed_recover(struct virtqueue *vq, struct reason *reason)
{
	struct packed_recovery r = {.vq = vq, .region = vq->inflight.packed};
	uint16_t version = region_load16(&r.region->version);
	int rc;

	if (version == 0)
		return packed_region_init(vq, reason);
	rc = packed_region_check(vq, version, reason);
	if (rc)
		return rc;
	r.seen = calloc(vq->inflight.desc_num, sizeof(*r.seen));
	r.marks = calloc(vq->size, sizeof(*r.marks));
	rc = r.seen && r.marks ? packed_recover_used(&r, reason) : -ENOMEM;
	free(r.seen);
	free(r.marks);
	return rc;
}
