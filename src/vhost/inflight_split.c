/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Recovery of a split ring from its queue region. Reference section 11.2; who writes what and when
 * is in split.c. Runs before the queue does, on a worker.
 *
 * A killed back-end leaves a prefix of its stores. With R the ring's used index, U the region's, H
 * a head of the batch under way:
 *
 *	died after		found				made of it
 *	counter[H]		H not marked			fetched as new
 *	inflight[H]		H marked			repeated
 *	used elements, next[H],	R = U, all of the batch		repeated; the used ring beyond R
 *	  last_batch_head	  marked			  is overwritten
 *	used->idx		R - U = d > 0, all of the	the last d of the list are done:
 *				  batch marked			  their marks are cleared
 *	some marks of the batch	R - U = d, some marked		the same
 *	used_idx		R = U, none marked		nothing
 *	a step of a recovery	as before it, with fewer	the same again
 *				  marks, or R = U
 *
 * last_batch_head is stored after the links of the whole batch and before used->idx: so whenever d
 * is not 0 the list begins with exactly these d heads.
 *
 * The front-end can write the region, and the guest the ring, at any time: each value is read once
 * and checked, every walk is bounded by desc_num. A region that cannot be right is refused before
 * anything of it is changed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vhost/virtqueue_impl.h"

static inline uint16_t region_load16(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

/* A driver may have come a long way before us: then the ring's used index is where it stands. */
static void split_region_init(struct virtqueue *vq, uint16_t used)
{
	struct vhost_inflight_split *region = vq->inflight.split;
	uint16_t n = vq->inflight.desc_num;

	memset(region->entries, 0, n * sizeof(region->entries[0]));
	region->features = 0;
	region->desc_num = n;
	region->last_batch_head = 0;
	region->used_idx = used;
	inflight_step();
	region->version = VHOST_INFLIGHT_VERSION;
	inflight_step();
	vq->inflight.counter = 1;
}

/* The last `done` entries of the list of completed ones; clear: takes their marks away. */
static int split_walk_done(struct virtqueue *vq, uint16_t done, bool clear, struct reason *reason)
{
	struct vhost_inflight_split *region = vq->inflight.split;
	uint16_t head = region_load16(&region->last_batch_head);

	for (unsigned i = 0; i < done; i++) {
		if (head >= vq->size)
			return reason_set(reason, -EPROTO,
				"%s: the in-flight region names head %u of a ring of %u", vq->name,
				head, vq->size);
		if (clear)
			region->entries[head].inflight = 0;
		head = region_load16(&region->entries[head].next);
	}
	return 0;
}

static bool split_is_left(const struct virtqueue *vq, unsigned head)
{
	return __atomic_load_n(&vq->inflight.split->entries[head].inflight, __ATOMIC_RELAXED);
}

static bool split_has_records(const struct virtqueue *vq)
{
	for (unsigned head = 0; head < vq->inflight.desc_num; head++) {
		if (split_is_left(vq, head))
			return true;
	}
	return false;
}

static unsigned split_collect(const struct virtqueue *vq, struct inflight_mark *marks)
{
	unsigned count = 0;

	for (unsigned head = 0; head < vq->size; head++) {
		const uint64_t *counter = &vq->inflight.split->entries[head].counter;

		if (split_is_left(vq, head))
			marks[count++] = (struct inflight_mark){
				.counter = __atomic_load_n(counter, __ATOMIC_RELAXED),
				.index = (uint16_t)head,
			};
	}
	return count;
}

static int split_region_check(
	struct virtqueue *vq, uint16_t version, uint16_t done, struct reason *reason)
{
	const struct vhost_inflight_split *region = vq->inflight.split;
	int rc = inflight_check_header(
		vq, region->features, version, region_load16(&region->desc_num), reason);

	if (rc)
		return rc;
	/* Where nothing is marked there is nothing to be wrong about: a driver may have begun anew
	 * with the region of the one before it. */
	if (!split_has_records(vq))
		return 0;
	if (done > vq->inflight.desc_num)
		return reason_set(reason, -EPROTO,
			"%s: the in-flight region is %u requests behind a ring of %u: it is not "
			"this ring's",
			vq->name, done, vq->inflight.desc_num);
	for (unsigned head = vq->size; head < vq->inflight.desc_num; head++) {
		if (split_is_left(vq, head))
			return reason_set(reason, -EPROTO,
				"%s: the in-flight region has head %u of a ring of %u", vq->name,
				head, vq->size);
	}
	return split_walk_done(vq, done, false, reason);
}

static int split_resume(struct virtqueue *vq, uint16_t used)
{
	struct inflight_mark *marks = calloc(vq->size, sizeof(*marks));
	unsigned count;
	int rc;

	if (!marks)
		return -ENOMEM;
	count = split_collect(vq, marks);
	rc = inflight_set_recovered(vq, marks, count);
	free(marks);
	if (rc)
		return rc;
	vq->inflight.last_batch_head = region_load16(&vq->inflight.split->last_batch_head);
	vq->inflight.resumed = true;
	vq->split.used_next = used;
	vq->base = (uint16_t)(used + count);
	return 0;
}

int split_recover(struct virtqueue *vq, struct reason *reason)
{
	struct vhost_inflight_split *region = vq->inflight.split;
	uint16_t version = region_load16(&region->version);
	uint16_t used = region_load16(&vq->split.used->idx);
	uint16_t done = (uint16_t)(used - region_load16(&region->used_idx));
	int rc;

	if (version == 0) {
		split_region_init(vq, used);
		return 0;
	}
	rc = split_region_check(vq, version, done, reason);
	if (rc)
		return rc;
	if (split_has_records(vq))
		split_walk_done(vq, done, true, NULL);
	inflight_step();
	region->used_idx = used;
	inflight_step();
	return split_resume(vq, used);
}
