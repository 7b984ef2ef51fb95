/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the queues of a controller are served, by hand. Control reactor.
 *
 * What was chosen is kept with the controller, so that it holds for queues that are not there yet
 * and for the next front-end. A queue that cannot be moved keeps the place and the choice it had.
 * An operation keeps its controller from being destroyed until it is done.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "vhost/controller_impl.h"

/* How long requests in flight may take to end; the queue's others wait meanwhile. */
#define PLACE_LIMIT_NS (2 * SEC_NS)

struct place_op {
	struct vhost_controller *controller;
	unsigned queue;
	struct reactor *pin;
	bool pinned; /* over pin_before */
	struct reactor *pin_before;
	struct reason *reason;
	struct deferred answer; /* where nothing has to be waited for */
	int rc;
	done_fn done;
	void *arg;
};

static void place_done(void *arg, int rc)
{
	struct place_op *op = arg;
	struct vhost_controller *controller = op->controller;
	struct connection_waiter waiter = controller->idle;

	if (rc && op->pinned)
		controller->pins[op->queue] = op->pin_before;
	op->done(op->arg, rc == -ECANCELED ? -EBUSY : rc);
	free(op);
	if (--controller->busy == 0 && waiter.done) {
		controller->idle.done = NULL;
		waiter.done(waiter.arg, 0);
	}
}

static void place_answer(struct deferred *deferred)
{
	struct place_op *op = container_of(deferred, struct place_op, answer);

	place_done(op, op->rc);
}

static int place_find(struct place_op *op, int cpu)
{
	struct vhost_controller *controller = op->controller;
	const struct cpu_set *cpus = controller->has_cpus ? &controller->cpus : NULL;
	unsigned count = controller->device->ops->queue_count(controller->device);

	if (op->queue >= count)
		return reason_set(
			op->reason, -EINVAL, "%s has queues 0 to %u", controller->name, count - 1);
	if (cpu < 0)
		return 0;
	op->pin = placement_find(&controller->vhost->placement, cpus, (unsigned)cpu);
	if (op->pin)
		return 0;
	return reason_set(op->reason, -EINVAL,
		"no thread that %s may use runs on CPU %d: framework_get_reactors lists them, the "
		"controller's cpumask chooses among them",
		controller->name, cpu);
}

/* 0: place_done will be called. -EALREADY: there is nothing to move. */
static int place_move(struct place_op *op)
{
	struct vhost_session *s = op->controller->session;
	struct ring *ring = s ? &s->rings[op->queue] : NULL;

	if (!op->pin || !ring || !ring->vq || (ring->reactor == op->pin && !ring->relocation))
		return -EALREADY;
	return ring_relocate(ring, op->pin, PLACE_LIMIT_NS, op->reason, place_done, op);
}

void vhost_controller_place_queue(struct vhost_controller *controller, unsigned queue, int cpu,
	struct reason *reason, done_fn done, void *arg)
{
	struct place_op *op = alloc_op(sizeof(*op));

	op->controller = controller;
	op->queue = queue;
	op->reason = reason;
	op->done = done;
	op->arg = arg;
	controller->busy++;
	op->rc = place_find(op, cpu);
	if (!op->rc) {
		op->pinned = true;
		op->pin_before = controller->pins[queue];
		controller->pins[queue] = op->pin;
		op->rc = place_move(op);
		if (!op->rc)
			return;
		if (op->rc == -EALREADY)
			op->rc = 0;
	}
	op->answer.run = place_answer;
	reactor_defer(controller->vhost->control, DEFER_COMPLETE, &op->answer);
}

/* ---- listing ----------------------------------------------------------------------------- */

static void queue_get_info(const struct vhost_controller *controller, const struct ring *ring,
	struct vhost_queue_info *ret_info)
{
	const struct placement *placement = &controller->vhost->placement;
	const struct reactor *reactor = controller->pins[ret_info->queue];
	struct virtqueue_info info;

	ret_info->pinned = reactor != NULL;
	if (ring && ring->vq) {
		reactor = ring->reactor;
		virtqueue_get_info(ring->vq, &info);
		ret_info->running = !ring->paused;
		ret_info->in_flight = info.in_flight;
		ret_info->requests = info.requests;
		ret_info->bytes = info.bytes;
	}
	if (ring) {
		ret_info->moving = ring->relocation != NULL;
		ret_info->size = ring->num;
		ret_info->moves = ring->relocations;
	}
	ret_info->cpu = reactor ? (int)placement_cpu_of(placement, reactor) : -1;
}

void vhost_controller_for_each_queue(struct vhost_controller *controller,
	void (*fn)(const struct vhost_queue_info *info, void *arg), void *arg)
{
	unsigned count = controller->device->ops->queue_count(controller->device);
	struct vhost_session *s = controller->session;

	for (unsigned i = 0; i < count; i++) {
		const struct ring *ring = s ? &s->rings[i] : NULL;
		struct vhost_queue_info info = {.queue = i};

		if (!controller->pins[i] && (!ring || !ring->num))
			continue;
		queue_get_info(controller, ring, &info);
		fn(&info, arg);
	}
}
