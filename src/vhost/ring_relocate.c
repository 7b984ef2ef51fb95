/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A ring that runs moves to another data reactor while its guest goes on. Control reactor.
 *
 *	open	the device's channels on the new reactor; the ring runs on
 *	leave	nothing is fetched any more; requests in flight end on the old reactor
 *	enter	the virtqueue goes on where it stood, on the new reactor
 *	close	the device's channels on the old reactor
 *
 * What fails or takes too long before the queue has left changes nothing: what was opened is closed
 * and the ring goes on where it was, not one request the worse for it. So storage that does not
 * answer holds nobody up: after the limit the queue is told to stay (virtqueue_stay), and the same
 * happens when somebody needs the ring in one place.
 *
 * Who that is holds moves (vhost_device_hold_moves): a message of the front-end, the end of the
 * session, a task management function, which has to find every request that the driver has sent.
 * Then no move begins and those under way end soon, one way or the other.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "vhost/session_impl.h"

struct relocation {
	struct flow flow;
	struct ring *ring;
	struct reactor *unused; /* first where it goes to, later where it was */
	const struct virtqueue_ops *ops;
	void *context; /* the device's, on unused */
	struct timer limit;
	bool leaving; /* virtqueue_leave is under way */
	bool staying; /* virtqueue_stay is */
	bool waits_for_stay;
	bool refused; /* a hold came while channels were being opened */
	struct reason *reason;
	done_fn done;
	void *arg;
};

static enum flow_result ring_relocate_run(struct flow *f);

/* ---- giving up --------------------------------------------------------------------------- */

static void relocation_stayed(void *arg, int rc)
{
	struct relocation *op = arg;

	op->staying = false;
	if (op->waits_for_stay)
		flow_resume(&op->flow, 0);
}

static void relocation_give_up(struct relocation *op)
{
	op->refused = true;
	if (!op->leaving || op->staying)
		return;
	op->staying = true;
	virtqueue_stay(op->ring->vq, relocation_stayed, op);
}

static void relocation_limit_fired(struct timer *timer)
{
	relocation_give_up(container_of(timer, struct relocation, limit));
}

/* Its own done has said what came of the leave. */
static void relocation_await_stay(struct relocation *op)
{
	op->waits_for_stay = true;
}

static void relocation_explain(struct relocation *op, int rc)
{
	const struct ring *ring = op->ring;

	if (rc == -ECANCELED)
		reason_set(op->reason, rc,
			"requests of %s queue %u did not end in time, or the guest is changing its "
			"queues: it is served where it was; try again later",
			ring->device->name, ring->index);
	else
		reason_set(op->reason, rc,
			"the storage of %s cannot be opened on another thread: queue %u is served "
			"where it was",
			ring->device->name, ring->index);
}

/* ---- the move ---------------------------------------------------------------------------- */

static void relocation_start_limit(struct relocation *op, uint64_t limit_ns)
{
	op->limit.fired = relocation_limit_fired;
	timer_start(op->ring->session->control, &op->limit, limit_ns);
}

static void relocation_leave(struct relocation *op, struct flow *f)
{
	op->leaving = true;
	virtqueue_leave(op->ring->vq, flow_resume, f);
}

/* The ring has left: from here on it belongs to the new reactor. */
static void relocation_enter(struct relocation *op, struct flow *f)
{
	struct ring *ring = op->ring;
	struct reactor *old = ring->reactor;
	void *old_context = ring->context;

	ring->reactor = op->unused;
	ring->context = op->context;
	op->unused = old;
	op->context = old_context;
	virtqueue_enter(ring->vq, ring->reactor, ring->context, flow_resume, f);
}

/* Each waiter may be gone once it goes on, and with the session's goes the session. */
static void device_move_ended(struct vhost_device *device)
{
	struct vhost_moves_waiter *waiter = device->moves_waiters;

	if (--device->moves > 0)
		return;
	device->moves_waiters = NULL;
	while (waiter) {
		struct vhost_moves_waiter *next = waiter->next;

		waiter->done(waiter->arg, 0);
		waiter = next;
	}
}

static void relocation_end(struct relocation *op, int rc)
{
	struct ring *ring = op->ring;
	struct vhost_session *s = ring->session;
	done_fn done = op->done;
	void *arg = op->arg;

	timer_stop(s->control, &op->limit);
	placement_give(s->options.placement, op->unused);
	ring->relocation = NULL;
	if (rc)
		relocation_explain(op, rc);
	else
		ring->relocations++;
	free(op);
	done(arg, rc);
	device_move_ended(s->device);
}

static enum flow_result ring_relocate_run(struct flow *f)
{
	struct relocation *op = container_of(f, struct relocation, flow);

	FLOW_BEGIN(f);
	AWAIT(f, op->ring->device->ops->ring_open(op->ring->device, op->ring->index, op->unused,
			 op->ring->session->features, &op->ops, &op->context, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	if (op->refused)
		flow_fail(f, -ECANCELED);
	if (flow_failed(f))
		goto close;
	AWAIT(f, relocation_leave(op, f));
	op->leaving = false;
	if (op->staying)
		AWAIT(f, relocation_await_stay(op));
	if (f->error)
		goto close;

	if (op->ring->device->ops->ring_stopping)
		AWAIT(f, op->ring->device->ops->ring_stopping(
				 op->ring->device, op->ring->context, flow_resume, f));
	/* A freeze on its way to the old reactor has to be over before the new one begins. */
	if (op->ring->freeze == RING_FREEZING)
		AWAIT(f, ring_await_frozen(op->ring, flow_resume, f));
	AWAIT(f, relocation_enter(op, f));
	ring_tell_started(op->ring);
close:
	AWAIT(f, op->ring->device->ops->ring_close(
			 op->ring->device, op->ring->index, op->context, flow_resume, f));
finish:
	relocation_end(op, f->error);
	FLOW_END(f);
}

static int ring_check_relocation(const struct ring *ring, struct reason *reason)
{
	const struct vhost_session *s = ring->session;

	if (!ring->device->moves_held && !s->ending && !ring->relocation && ring->vq &&
		!ring->paused && !ring->held)
		return 0;
	return reason_set(reason, -EBUSY,
		"the guest is changing its queues, queue %u is being moved already, or requests of "
		"before a restart are being repeated: try again",
		ring->index);
}

int ring_relocate(struct ring *ring, struct reactor *reactor, uint64_t limit_ns,
	struct reason *reason, done_fn done, void *arg)
{
	struct relocation *op;
	int rc = ring_check_relocation(ring, reason);

	if (rc)
		return rc;
	op = alloc_op(sizeof(*op));
	op->ring = ring;
	op->unused = reactor;
	op->reason = reason;
	op->done = done;
	op->arg = arg;
	ring->relocation = op;
	ring->device->moves++;
	placement_add(ring->session->options.placement, reactor);
	relocation_start_limit(op, limit_ns);
	flow_start(&op->flow, ring->session->control, "ring_relocate", ring_relocate_run);
	return 0;
}

/* ---- holds ------------------------------------------------------------------------------- */

static void session_give_up_moves(struct vhost_session *s)
{
	for (unsigned i = 0; i < s->ring_count; i++) {
		if (s->rings[i].relocation)
			relocation_give_up(s->rings[i].relocation);
	}
}

void vhost_device_hold_moves(struct vhost_device *device)
{
	device->moves_held++;
	if (device->moves)
		session_give_up_moves(device->session);
}

void vhost_device_release_moves(struct vhost_device *device)
{
	invariant(device->moves_held > 0);
	device->moves_held--;
}

void vhost_device_await_moves(
	struct vhost_device *device, struct vhost_moves_waiter *waiter, done_fn done, void *arg)
{
	invariant(device->moves_held && device->moves);
	waiter->done = done;
	waiter->arg = arg;
	waiter->next = device->moves_waiters;
	device->moves_waiters = waiter;
}
