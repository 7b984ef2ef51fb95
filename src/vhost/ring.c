/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state of rings (reference section 8), and how it becomes virtqueues that run.
 *
 * A front-end tells parts (num, base, addresses, descriptors) and two bits, started and enabled.
 * Messages only record what was told and then call rings_settle: that finds the goal of every ring
 * and moves those that are not there, all at the same time, each in a flow of its own:
 *
 *	RING_CLOSED	not started, parts missing, or its areas are in no region:
 *			stop, destroy, give back
 *	RING_PAUSED	disabled, or the memory is being switched: pause
 *	RING_RUNNING	otherwise: open and start, or resume
 *
 * So a message is answered when everything it asked for has taken effect: rings_settle is done when
 * every ring is at its goal. A move that drains is bounded by the session's limit on messages.
 *
 * A ring whose memory goes away is closed, not broken: its base is kept, and it is opened again
 * when the memory is back. One that was broken stays closed then: only a new start ends that
 * (8.4). A start looks at the ring once without a kick (virtqueue_start).
 *
 * A ring that runs is also moved to other reactors (ring_relocate.c), but not while rings settle:
 * whoever settles them has a hold.
 *
 * With an in-flight region a virtqueue recovers from it, on a worker, between its creation and its
 * start; when it may take what is new is told by recovery.c.
 *
 * Freezing (the connection is gone) may overtake a move: the close awaits it before the virtqueue
 * is destroyed.
 */
#include <errno.h>
#include <stdio.h>

#include "vhost/session_impl.h"

static enum flow_result ring_move_run(struct flow *f);
static enum flow_result rings_settle_run(struct flow *f);

void ring_init(struct ring *ring, struct vhost_session *s, unsigned index)
{
	ring->session = s;
	ring->device = s->device;
	ring->index = index;
	ring->kick_fd = -1;
	ring->call_fd = -1;
	ring->err_fd = -1;
}

void ring_replace_fd(struct ring *ring, int *place, int fd)
{
	struct os *os = ring->session->os;

	if (*place >= 0)
		os->ops->close(os, *place);
	*place = fd;
}

void ring_fini(struct ring *ring)
{
	invariant(!ring->vq);
	ring_replace_fd(ring, &ring->kick_fd, -1);
	ring_replace_fd(ring, &ring->call_fd, -1);
	ring_replace_fd(ring, &ring->err_fd, -1);
}

bool ring_is_complete(const struct ring *ring)
{
	return ring->num && ring->has_addr;
}

/* Both wrap counters of a packed ring begin at 1. */
uint32_t ring_base(const struct ring *ring)
{
	if (!ring->has_base && session_has_packed_rings(ring->session))
		return VRING_PACKED_BASE_0;
	return ring->base;
}

/* Sizes of the areas: reference 8.5. Alignment was checked in the front-end's addresses; a region
 * with an odd offset into its file may still spoil it in ours, where it matters. */
bool ring_resolve(struct ring *ring, const struct guest_memory *memory)
{
	bool packed = session_has_packed_rings(ring->session);
	bool event_idx = ring->session->features & VIRTIO_BIT(VIRTIO_F_EVENT_IDX);
	uint64_t num = ring->num;
	uint64_t event = event_idx ? 2 : 0;

	ring->descriptors = guest_memory_from_user(memory, ring->addr.descriptors, 16 * num);
	ring->driver_area = guest_memory_from_user(
		memory, ring->addr.driver_area, packed ? 4 : 4 + 2 * num + event);
	ring->device_area = guest_memory_from_user(
		memory, ring->addr.device_area, packed ? 4 : 4 + 8 * num + event);
	return ring->descriptors && ring->driver_area && ring->device_area &&
	       (uintptr_t)ring->descriptors % 16 == 0 &&
	       (uintptr_t)ring->driver_area % (packed ? 4 : 2) == 0 &&
	       (uintptr_t)ring->device_area % 4 == 0;
}

static bool ring_begins_anew(const struct ring *ring)
{
	return ring_base(ring) ==
	       (session_has_packed_rings(ring->session) ? VRING_PACKED_BASE_0 : 0);
}

/* ---- goals ------------------------------------------------------------------------------- */

static enum ring_goal ring_find_goal(struct ring *ring)
{
	struct vhost_session *s = ring->session;
	const struct guest_memory *memory = s->memory_switching ? s->change.table : s->memory;

	if (s->ending || !ring->started || ring->broken || !ring_is_complete(ring))
		return RING_CLOSED;
	if (!ring_resolve(ring, memory)) {
		if (ring->enabled && memory->count)
			log_limited(s->options.log_limit, LOG_NOTICE,
				"%s: ring %u waits: its areas are not in the guest's memory, or "
				"are misaligned there",
				s->device->name, ring->index);
		return RING_CLOSED;
	}
	if (!ring->enabled || s->memory_switching)
		return ring->vq ? RING_PAUSED : RING_CLOSED;
	return ring->vq || s->settle_may_open ? RING_RUNNING : RING_CLOSED;
}

static bool ring_is_at_goal(const struct ring *ring)
{
	if (ring->goal == RING_CLOSED)
		return !ring->vq;
	return ring->vq && ring->paused == (ring->goal == RING_PAUSED);
}

bool rings_any_started(const struct vhost_session *s)
{
	for (unsigned i = 0; i < s->ring_count; i++) {
		if (s->rings[i].started)
			return true;
	}
	return false;
}

static bool rings_any_opening(const struct vhost_session *s)
{
	for (unsigned i = 0; i < s->ring_count; i++) {
		if (s->rings[i].goal == RING_RUNNING && !s->rings[i].vq)
			return true;
	}
	return false;
}

/* ---- freezing ---------------------------------------------------------------------------- */

static void ring_frozen(void *arg, int rc)
{
	struct ring *ring = arg;
	struct connection_waiter waiter = ring->frozen;

	ring->freeze = RING_FROZEN;
	ring->frozen.done = NULL;
	if (waiter.done)
		waiter.done(waiter.arg, rc);
}

static void ring_freeze(struct ring *ring)
{
	if (!ring->vq || ring->freeze != RING_LIVE)
		return;
	ring->freeze = RING_FREEZING;
	virtqueue_freeze(ring->vq, ring_frozen, ring);
}

void rings_freeze(struct vhost_session *s)
{
	for (unsigned i = 0; i < s->ring_count; i++)
		ring_freeze(&s->rings[i]);
}

void ring_await_frozen(struct ring *ring, done_fn done, void *arg)
{
	ring->frozen.done = done;
	ring->frozen.arg = arg;
}

/* ---- one ring's move --------------------------------------------------------------------- */

static struct reactor *ring_place(struct ring *ring)
{
	const struct session_options *options = &ring->session->options;
	struct reactor *pin = options->pins[ring->index];

	if (!pin)
		return placement_take(options->placement, options->cpus);
	placement_add(options->placement, pin);
	return pin;
}

static int ring_create_vq(struct ring *ring)
{
	struct vhost_session *s = ring->session;
	char name[64];
	struct virtqueue_config config = {
		.features = s->features,
		.size = (uint16_t)ring->num,
		.base = ring_base(ring),
		.descriptors = ring->descriptors,
		.driver_area = ring->driver_area,
		.device_area = ring->device_area,
		.memory = s->memory,
		.kick_fd = ring->kick_fd,
		.call_fd = ring->call_fd,
		.err_fd = ring->err_fd,
		.name = name,
		.device = ring->context,
		.logging = session_ring_logging(ring),
		.delay_base_us = s->options.coalescing->delay_base_us,
		.iops_threshold = s->options.coalescing->iops_threshold,
	};
	int rc = inflight_find_queue(s, ring->index, &s->reason, &config.inflight);

	if (rc)
		return rc;
	ring->logging = config.logging;
	if (config.inflight)
		config.inflight_size = s->inflight.region->queue_size;
	snprintf(name, sizeof(name), "%s queue %u", s->device->name, ring->index);
	return virtqueue_create(ring->ops, &config, &s->reason, &ring->fresh);
}

static int ring_recover_job(struct worker_job *job)
{
	struct ring *ring = container_of(job, struct ring, recover_job);

	return virtqueue_recover(ring->fresh, &ring->recover_reason);
}

/* Several rings may do this at the same time, so each has its own sentence. The front-end may be
 * gone meanwhile: then the ring must not start. */
static int ring_check_recovered(struct ring *ring, int rc)
{
	struct vhost_session *s = ring->session;

	if (rc == 0)
		return s->ending ? -ECANCELED : 0;
	return ring->recover_reason.text[0]
		       ? reason_set(&s->reason, rc, "%s", ring->recover_reason.text)
		       : rc;
}

static void ring_destroy_fresh(struct ring *ring)
{
	virtqueue_destroy(ring->fresh);
	ring->fresh = NULL;
}

static void ring_take_fresh(struct ring *ring)
{
	ring->vq = ring->fresh;
	ring->fresh = NULL;
	recovery_ring_opening(ring);
}

void ring_tell_started(struct ring *ring)
{
	struct vhost_device *device = ring->session->device;

	ring->paused = false;
	if (device->ops->ring_started)
		device->ops->ring_started(device, ring->context, ring->vq);
}

static void ring_destroy_vq(struct ring *ring)
{
	struct virtqueue_info info;

	virtqueue_get_info(ring->vq, &info);
	ring->broken = info.broken;
	ring->base = virtqueue_base(ring->vq);
	ring->has_base = true;
	ring->moved = !ring_begins_anew(ring);
	virtqueue_destroy(ring->vq);
	ring->vq = NULL;
	ring->paused = false;
	ring->freeze = RING_LIVE;
	recovery_ring_closed(ring);
	placement_give(ring->session->options.placement, ring->reactor);
}

static enum flow_result ring_move_run(struct flow *f)
{
	struct ring *ring = container_of(f, struct ring, flow);

	FLOW_BEGIN(f);
	if (ring->goal == RING_CLOSED)
		goto close;
	if (ring->goal == RING_PAUSED) {
		ring->paused = true;
		AWAIT(f, virtqueue_pause(ring->vq, flow_resume, f));
		goto finish;
	}
	if (ring->vq) {
		AWAIT(f, virtqueue_resume(ring->vq, flow_resume, f));
		ring->paused = false;
		goto finish;
	}

	ring->reactor = ring_place(ring);
	AWAIT(f, ring->device->ops->ring_open(ring->device, ring->index, ring->reactor,
			 ring->session->features, &ring->ops, &ring->context, flow_resume, f));
	if (flow_failed(f))
		goto give_reactor;
	flow_fail(f, ring_create_vq(ring));
	if (flow_failed(f))
		goto close_ring;
	ring->recover_reason.text[0] = '\0';
	if (ring->session->inflight.region)
		AWAIT(f, worker_run(&ring->recover_job, ring->session->control, ring_recover_job,
				 flow_resume, f));
	flow_fail(f, ring_check_recovered(ring, f->rc));
	if (flow_failed(f))
		goto destroy_fresh;
	ring_take_fresh(ring);
	AWAIT(f, virtqueue_start(ring->vq, ring->reactor, flow_resume, f));
	ring_tell_started(ring);
	goto finish;

destroy_fresh:
	ring_destroy_fresh(ring);
close_ring:
	AWAIT(f, ring->device->ops->ring_close(
			 ring->device, ring->index, ring->context, flow_resume, f));
give_reactor:
	placement_give(ring->session->options.placement, ring->reactor);
	goto finish;

close:
	if (ring->session->ending)
		ring_freeze(ring);
	if (ring->freeze == RING_FREEZING)
		AWAIT(f, ring_await_frozen(ring, flow_resume, f));
	if (ring->device->ops->ring_stopping)
		AWAIT(f, ring->device->ops->ring_stopping(
				 ring->device, ring->context, flow_resume, f));
	AWAIT(f, virtqueue_stop(ring->vq, flow_resume, f));
	if (ring->freeze == RING_FREEZING)
		AWAIT(f, ring_await_frozen(ring, flow_resume, f));
	ring_destroy_vq(ring);
	AWAIT(f, ring->device->ops->ring_close(
			 ring->device, ring->index, ring->context, flow_resume, f));
finish:
	ring->done(ring->arg, f->error);
	FLOW_END(f);
}

/* ---- all rings --------------------------------------------------------------------------- */

static void rings_move_done(void *arg, int rc)
{
	struct vhost_session *s = arg;

	if (rc && !s->settle_rc)
		s->settle_rc = rc;
	if (--s->settle_pending == 0)
		flow_resume(&s->settle, s->settle_rc);
}

/* How many rings have to move. */
static unsigned rings_find_goals(struct vhost_session *s)
{
	unsigned moves = 0;

	for (unsigned i = 0; i < s->ring_count; i++) {
		s->rings[i].goal = ring_find_goal(&s->rings[i]);
		moves += !ring_is_at_goal(&s->rings[i]);
	}
	return moves;
}

/* At least one has to. */
static void rings_move(struct vhost_session *s)
{
	s->settle_rc = 0;
	s->settle_pending = 0;
	for (unsigned i = 0; i < s->ring_count; i++) {
		struct ring *ring = &s->rings[i];

		if (ring_is_at_goal(ring))
			continue;
		s->settle_pending++;
		ring->done = rings_move_done;
		ring->arg = s;
		flow_start(&ring->flow, s->control, "ring_move", ring_move_run);
	}
}

/* No ring is left of it. Those that run began where they begin with any driver. */
static void rings_reset_driver(struct vhost_session *s)
{
	for (unsigned i = 0; i < s->ring_count; i++)
		s->rings[i].moved = false;
	s->device->ops->reset(s->device);
	/* Closed rings were drained: what a region says of them is of the one before. */
	inflight_reset(s);
}

/*
 * When all rings were closed and start again, it may be for another driver (not every front-end
 * sends RESET_DEVICE: reference 7.5). It starts from nothing, and what was kept for the one before
 * it is forgotten. A ring that goes on where it stood says that it is the same one; one that had
 * moved and begins anew, that it is not. A ring that has never moved says nothing: rings may start
 * one by one, and those of control and events are often still at their beginning.
 */
static void rings_look_at_driver(struct vhost_session *s)
{
	bool anew = false;

	for (unsigned i = 0; i < s->ring_count && !s->driver_known; i++) {
		const struct ring *ring = &s->rings[i];

		s->driver_known = ring->started && !ring_begins_anew(ring);
		anew |= ring->started && ring->moved;
	}
	if (s->driver_known || !anew)
		return;
	s->driver_known = true;
	rings_reset_driver(s);
}

/* Not even where it stood can be told from a packed ring itself (reference 11.3). */
static void rings_note_unrecorded(struct vhost_session *s)
{
	if (session_has_packed_rings(s) && !s->inflight.region)
		log_limited(s->options.log_limit, LOG_NOTICE,
			"%s: its rings are packed and the front-end keeps no record of what is in "
			"flight: they will not survive a restart of the daemon",
			s->device->name);
}

static enum flow_result rings_settle_run(struct flow *f)
{
	struct vhost_session *s = container_of(f, struct vhost_session, settle);

	FLOW_BEGIN(f);
	s->settling = true;
	rings_find_goals(s);
	if (rings_any_opening(s) && !s->claimed) {
		AWAIT(f, s->device->ops->claim(s->device, &s->reason, flow_resume, f));
		if (flow_failed(f))
			goto finish; /* nothing is open without the claim: nothing to close */
		s->claimed = true;
		s->driver_known = !s->has_run;
		s->inflight.first = !s->has_run;
		rings_note_unrecorded(s);
		s->has_run = true;
	}
	if (rings_any_opening(s) && !s->driver_known)
		rings_look_at_driver(s);
	if (rings_any_opening(s) && s->inflight.region && !s->inflight.looked) {
		AWAIT(f, inflight_look(s, flow_resume, f));
		s->inflight.looked = true;
		recovery_expect(s);
	}
	if (rings_find_goals(s) > 0) /* again: the connection may have ended meanwhile */
		AWAIT(f, rings_move(s));
	if (s->claimed && (s->ending || !rings_any_started(s))) {
		s->claimed = false;
		AWAIT(f, s->device->ops->release(s->device, flow_resume, f));
	}
finish:
	s->settling = false;
	recovery_advance(s);
	s->settle_done(s->settle_arg, f->error);
	FLOW_END(f);
}

void rings_settle(struct vhost_session *s, bool may_open, done_fn done, void *arg)
{
	s->settle_may_open = may_open;
	s->settle_done = done;
	s->settle_arg = arg;
	flow_start(&s->settle, s->control, "rings_settle", rings_settle_run);
}
