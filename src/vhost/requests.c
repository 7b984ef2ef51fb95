/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests in flight of all controllers: one query for each queue that has any, all at once; done
 * after the last answer. Names are copied: a controller may be deleted meanwhile.
 */
#include "vhost/requests.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "vhost/controller_impl.h"

struct requests_op {
	struct vhost_requests_query query;
	unsigned waiting; /* and one for who asks */
	struct deferred answer;
	done_fn done;
	void *arg;
};

struct queue_query {
	struct requests_op *op;
	struct virtqueue_query query;
	unsigned queue;
	char *controller;
};

static void requests_put(struct requests_op *op)
{
	if (--op->waiting)
		return;
	op->done(op->arg, 0);
	free(op);
}

static void queue_query_free(struct queue_query *queue)
{
	free(queue->controller);
	free(queue->query.requests);
	free(queue);
}

static void queue_answered(void *arg, int rc)
{
	struct queue_query *queue = arg;
	struct requests_op *op = queue->op;

	op->query.queue(queue->controller, queue->queue, queue->query.requests, queue->query.count,
		queue->query.more, op->query.arg);
	queue_query_free(queue);
	requests_put(op);
}

static void queue_ask(struct requests_op *op, const char *controller, const struct ring *ring)
{
	unsigned room = op->query.max_of_queue < ring->num ? op->query.max_of_queue : ring->num;
	struct queue_query *queue = alloc_op(sizeof(*queue));

	queue->op = op;
	queue->queue = ring->index;
	queue->controller = strcpy(alloc_op(strlen(controller) + 1), controller);
	queue->query = (struct virtqueue_query){
		.older_than_ns = op->query.older_than_ns,
		.requests = calloc(room, sizeof(*queue->query.requests)),
		.done = queue_answered,
		.arg = queue,
	};
	queue->query.room = queue->query.requests ? room : 0; /* else they are only counted */
	if (virtqueue_query(ring->vq, &queue->query))
		op->waiting++;
	else
		queue_query_free(queue);
}

static void controller_ask(struct vhost_controller *controller, void *arg)
{
	struct vhost_session *s = controller->session;

	for (unsigned i = 0; s && i < s->ring_count; i++)
		if (s->rings[i].vq && !s->rings[i].relocation)
			queue_ask(arg, controller->name, &s->rings[i]);
}

static void requests_asked(struct deferred *deferred)
{
	requests_put(container_of(deferred, struct requests_op, answer));
}

void vhost_query_requests(
	struct vhost *vhost, const struct vhost_requests_query *query, done_fn done, void *arg)
{
	struct requests_op *op = alloc_op(sizeof(*op));

	op->query = *query;
	op->waiting = 1;
	op->done = done;
	op->arg = arg;
	op->answer.run = requests_asked;
	vhost_controller_for_each(vhost, controller_ask, op);
	reactor_defer(vhost->control, DEFER_COMPLETE, &op->answer);
}
