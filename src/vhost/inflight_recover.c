/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What recovery has in common for both formats of rings: see virtqueue_recover, and
 * inflight_split.c and inflight_packed.c for their parts.
 */
#include <errno.h>
#include <stdlib.h>

#include "vhost/virtqueue_impl.h"

int virtqueue_recover(struct virtqueue *vq, struct reason *reason)
{
	invariant(vq->state == VQ_CREATED);
	return vq->inflight.region ? vq->ring->recover(vq, reason) : 0;
}

unsigned virtqueue_recovered(const struct virtqueue *vq)
{
	return vq->inflight.recovered_count;
}

void virtqueue_hold(struct virtqueue *vq)
{
	invariant(vq->state == VQ_CREATED && vq->ops->handle);
	vq->held = true;
}

/* Plain 64-bit order; equal counters, which we never write, by index. */
static int inflight_mark_compare(const void *a, const void *b)
{
	const struct inflight_mark *left = a;
	const struct inflight_mark *right = b;

	if (left->counter != right->counter)
		return left->counter < right->counter ? -1 : 1;
	return left->index < right->index ? -1 : left->index > right->index;
}

int inflight_set_recovered(struct virtqueue *vq, struct inflight_mark *marks, unsigned count)
{
	struct vq_inflight *inflight = &vq->inflight;
	uint16_t *recovered;

	inflight->counter = 1;
	if (count == 0)
		return 0;
	recovered = calloc(count, sizeof(*recovered));
	if (!recovered)
		return -ENOMEM;
	qsort(marks, count, sizeof(*marks), inflight_mark_compare);
	for (unsigned i = 0; i < count; i++)
		recovered[i] = marks[i].index;
	inflight->recovered = recovered;
	inflight->recovered_count = count;
	inflight->counter = marks[count - 1].counter + 1;
	return 0;
}

int inflight_check_header(const struct virtqueue *vq, uint64_t features, uint16_t version,
	uint16_t desc_num, struct reason *reason)
{
	if (version != VHOST_INFLIGHT_VERSION || features)
		return reason_set(reason, -EPROTO,
			"%s: the in-flight region is of a version (%u) that we do not know",
			vq->name, version);
	if (desc_num != vq->inflight.desc_num)
		return reason_set(reason, -EPROTO,
			"%s: the in-flight region was made for rings of %u entries, not %u",
			vq->name, desc_num, vq->inflight.desc_num);
	return 0;
}
