/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a virtqueue has in flight, told by its own reactor.
 *
 * A query is a message to that reactor and the same message back. What was asked before a leave is
 * answered before it; after that none is sent until the queue is on its new reactor. Queues that
 * stop are asked as others are, since those wait for the very requests that one looks for: the
 * queue's memory stays until the answer is there (virtqueue_destroy), and from the end of the stop
 * to then nobody writes to it.
 *
 * The walk ends with the last request in flight, and a queue that has none is not asked.
 */
#include "vhost/virtqueue_impl.h"

static void query_answer(struct message *message)
{
	struct virtqueue_query *query = container_of(message, struct virtqueue_query, message);
	struct virtqueue *vq = query->vq;

	if (--vq->queries == 0 && vq->abandoned)
		virtqueue_destroy(vq);
	query->done(query->arg, 0);
}

static void request_describe(const struct virtqueue *vq, const struct vq_request *request,
	struct vq_request_info *ret_info)
{
	uint64_t since_ns;

	*ret_info = (struct vq_request_info){.head = request->head, .age_ns = UINT64_MAX};
	if (request->in_flight == VQ_POSTPONED) {
		ret_info->state = VQ_REQUEST_POSTPONED;
		return;
	}
	if (!vq->ops->get_place)
		return;
	if (vq->ops->get_place(request, &ret_info->place))
		ret_info->state = VQ_REQUEST_PLACED;
	since_ns = ret_info->place.submitted_ns;
	if (since_ns)
		ret_info->age_ns = vq->reactor->now_ns - u64_min(since_ns, vq->reactor->now_ns);
}

static bool query_wants(const struct virtqueue_query *query, const struct vq_request_info *info)
{
	if (query->older_than_ns == 0)
		return true;
	return info->age_ns != UINT64_MAX && info->age_ns >= query->older_than_ns;
}

/* The queue's reactor. */
static void query_run(struct message *message)
{
	struct virtqueue_query *query = container_of(message, struct virtqueue_query, message);
	const struct virtqueue *vq = query->vq;
	unsigned left = vq->in_flight + vq->postponed.count;

	for (unsigned head = 0; left && head < vq->size; head++) {
		const struct vq_request *request = virtqueue_request_at(vq, (uint16_t)head);
		struct vq_request_info info;

		if (!request->in_flight)
			continue;
		left--;
		request_describe(vq, request, &info);
		if (!query_wants(query, &info))
			continue;
		if (query->count < query->room)
			query->requests[query->count++] = info;
		else
			query->more++;
	}
	query->message.run = query_answer;
	reactor_send(query->origin, &query->message);
}

bool virtqueue_query(struct virtqueue *vq, struct virtqueue_query *query)
{
	struct virtqueue_info info;

	virtqueue_get_info(vq, &info);
	if (vq->op[VQ_OP_LEAVE].busy || info.in_flight + info.postponed == 0)
		return false;
	vq->queries++;
	query->vq = vq;
	query->origin = reactor_self();
	query->message.run = query_run;
	reactor_send(vq->reactor, &query->message);
	return true;
}
