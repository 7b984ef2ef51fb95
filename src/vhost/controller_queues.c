/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is set for the queues of a controller: where they are served, how often they signal. Control
 * reactor.
 *
 * What was chosen is kept with the controller, so that it holds for queues that are not there yet
 * and for the next front-end. A queue that cannot be moved keeps the place and the choice it had.
 * An operation keeps its controller from being destroyed until it is done.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "vhost/controller_impl.h"

/* How long it may take until the guest is not changing its queues and requests in flight have
 * ended; the queue's others wait meanwhile. */
#define PLACE_LIMIT_NS (2 * SEC_NS)
#define PLACE_RETRY_NS (5 * MSEC_NS)

struct place_op {
	struct vhost_controller *controller;
	unsigned queue;
	struct reactor *pin;
	bool pinned; /* over pin_before */
	struct reactor *pin_before;
	struct reason *reason;
	uint64_t deadline_ns;
	struct timer retry;
	struct deferred answer; /* a refusal, told later */
	int rc;
	done_fn done;
	void *arg;
};

static void place_end(struct place_op *op, int rc)
{
	struct vhost_controller *controller = op->controller;
	struct connection_waiter waiter = controller->idle;

	if (rc && op->pinned && controller->pins[op->queue] == op->pin)
		controller->pins[op->queue] = op->pin_before;
	op->done(op->arg, rc);
	free(op);
	if (--controller->busy == 0 && waiter.done) {
		controller->idle.done = NULL;
		waiter.done(waiter.arg, 0);
	}
}

static void place_answer(struct deferred *deferred)
{
	struct place_op *op = container_of(deferred, struct place_op, answer);

	place_end(op, op->rc);
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

static void place_moved(void *arg, int rc);

/* 0: place_moved will be called. -EALREADY: there is nothing to move. */
static int place_move(struct place_op *op)
{
	uint64_t now_ns = reactor_now(op->controller->vhost->control);
	struct vhost_session *s = op->controller->session;
	struct ring *ring = s ? &s->rings[op->queue] : NULL;

	if (!op->pin || !ring || !ring->vq || (ring->reactor == op->pin && !ring->relocation))
		return -EALREADY;
	if (now_ns >= op->deadline_ns)
		return -EBUSY;
	return ring_relocate(ring, op->pin, op->deadline_ns - now_ns, op->reason, place_moved, op);
}

/* Somebody has chosen otherwise since. */
static int place_check_choice(const struct place_op *op)
{
	if (op->controller->pins[op->queue] == op->pin)
		return 0;
	return reason_set(op->reason, -ESTALE,
		"another place was chosen for queue %u of %s meanwhile: that one holds", op->queue,
		op->controller->name);
}

/* Tries once; the session may have ended meanwhile, and another one come. */
static void place_try(struct timer *timer)
{
	struct place_op *op = container_of(timer, struct place_op, retry);
	int rc = place_check_choice(op);

	if (!rc)
		rc = place_move(op);
	if (rc)
		place_moved(op, rc == -EALREADY ? 0 : rc);
}

static void place_moved(void *arg, int rc)
{
	struct place_op *op = arg;
	struct reactor *control = op->controller->vhost->control;

	if ((rc == -EBUSY || rc == -ECANCELED) && reactor_now(control) < op->deadline_ns) {
		timer_start(control, &op->retry, PLACE_RETRY_NS);
		return;
	}
	place_end(op, rc == -ECANCELED || rc == -ESTALE ? -EBUSY : rc);
}

void vhost_controller_place_queue(struct vhost_controller *controller, unsigned queue, int cpu,
	struct reason *reason, done_fn done, void *arg)
{
	struct place_op *op = alloc_op(sizeof(*op));

	op->controller = controller;
	op->queue = queue;
	op->reason = reason;
	op->retry.fired = place_try;
	op->deadline_ns = reactor_now(controller->vhost->control) + PLACE_LIMIT_NS;
	op->done = done;
	op->arg = arg;
	controller->busy++;
	op->rc = place_find(op, cpu);
	if (!op->rc) {
		op->pinned = true;
		op->pin_before = controller->pins[queue];
		controller->pins[queue] = op->pin;
		timer_start(controller->vhost->control, &op->retry, 0);
		return;
	}
	op->answer.run = place_answer;
	reactor_defer(controller->vhost->control, DEFER_COMPLETE, &op->answer);
}

/* ---- coalescing -------------------------------------------------------------------------- */

#define IOPS_THRESHOLD_MIN 100 /* one request in each sample (coalesce.c) */

int vhost_controller_set_coalescing(struct vhost_controller *controller, uint32_t delay_base_us,
	uint32_t iops_threshold, struct reason *reason)
{
	struct vhost_session *s = controller->session;

	/* Clients know the limit as 32 bits of clock ticks; ours are nanoseconds. */
	if (delay_base_us * USEC_NS > UINT32_MAX)
		return reason_set(reason, -EINVAL,
			"a delay of %u us is too long: at most %u us are possible", delay_base_us,
			(unsigned)(UINT32_MAX / USEC_NS));
	if (iops_threshold < IOPS_THRESHOLD_MIN)
		return reason_set(reason, -EINVAL,
			"a threshold of %u requests a second is too low: at least %u are needed",
			iops_threshold, IOPS_THRESHOLD_MIN);
	controller->coalescing.delay_base_us = delay_base_us;
	controller->coalescing.iops_threshold = iops_threshold;
	for (unsigned i = 0; s && i < s->ring_count; i++) {
		if (s->rings[i].vq)
			virtqueue_set_coalescing(s->rings[i].vq, delay_base_us, iops_threshold);
	}
	return 0;
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
		ret_info->postponed = info.postponed;
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
