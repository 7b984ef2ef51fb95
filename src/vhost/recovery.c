/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The order in which requests that were in flight before a restart are repeated: a disk takes no
 * new request from any ring until those of all rings of its front-end have been (design.md,
 * Availability; reference 11.4). Otherwise an old write, repeated late, could undo a new one.
 *
 * Rings start one after the other, each with its own message. So the region is looked through when
 * the first opens, and tells for which others to wait:
 *
 *	NONE ----(records found)----> EXPECTED ---(it opens, has to repeat)---> READY
 *	  ^                              |                                       |
 *	  |<-----(it opens: all marks    |                            (its turn) v
 *	  |       were of completed ones)+                                   REPEATING
 *	  +<-------------------(all has been completed; broken; closed)----------+
 *
 *	while any ring is not NONE	rings open held, and stay so
 *	READY -> REPEATING		at once; a ring of ops->repeat_last (task management: what
 *					it aborts must not be executed after its answer) when no
 *					other is EXPECTED, READY or REPEATING
 *	all NONE			held rings are released
 *
 * A ring that is expected and never starts, or is disabled before it has repeated all, must not
 * hold the others for ever: after RECOVERY_PATIENCE_NS it is late, which is logged, and the others
 * no longer wait for it. It still repeats before it takes anything new. A ring that runs is waited
 * for however long its requests take.
 *
 * Front-ends that share a disk (LUNs behind several controllers) are one in this: rings of one open
 * held, and stay so, also while another one repeats. After a restart they come back one by one, and
 * nothing says which were there before. So one that comes back itself, with a region that has been
 * used, waits RECOVERY_PEERS_NS for the others to come; what a later one has to repeat is repeated
 * late, beside new requests of those that run.
 *
 * The event ring of virtio-scsi executes nothing: its buffers are available again, it never waits
 * and nobody waits for it.
 *
 * Messages to a virtqueue are sent here only while no ring is moving (rings_settle), and a held
 * ring does not move to another reactor (ring_relocate.c): so a queue never gets one on a reactor
 * that it has just left.
 */
#include "vhost/session_impl.h"

#define RECOVERY_PATIENCE_NS (5 * SEC_NS)
#define RECOVERY_PEERS_NS    (2 * SEC_NS)

static void recovery_patience_over(struct timer *timer);
static void recovery_peers_over(struct timer *timer);

void recovery_init(struct vhost_session *s)
{
	s->inflight.patience.fired = recovery_patience_over;
	s->inflight.peers_patience.fired = recovery_peers_over;
}

void recovery_stop(struct vhost_session *s)
{
	timer_stop(s->control, &s->inflight.patience);
	timer_stop(s->control, &s->inflight.peers_patience);
}

/* ---- who waits for whom ------------------------------------------------------------------ */

static bool recovery_is_awaited(const struct ring *ring)
{
	return ring->recovery != RECOVERY_NONE && !ring->late;
}

static bool recovery_has_own(const struct vhost_session *s)
{
	for (unsigned i = 0; i < s->ring_count; i++) {
		if (recovery_is_awaited(&s->rings[i]))
			return true;
	}
	return false;
}

struct recovery_wait {
	const struct vhost_session *session;
	bool found;
};

/* Its rings start, and it is known which have something to repeat. */
static bool recovery_has_come(const struct vhost_session *s)
{
	return s && !s->ending && s->has_run && (!s->inflight.region || s->inflight.looked);
}

static void recovery_look_at_peer(struct vhost_device *peer, void *arg)
{
	struct recovery_wait *wait = arg;
	const struct vhost_session *p = peer->session;

	if (recovery_has_come(p))
		wait->found |= recovery_has_own(p);
	else
		wait->found |= timer_is_started(&wait->session->inflight.peers_patience);
}

/* Only for what peers have of their own, and not for whom they wait: nobody waits in a circle. */
static bool recovery_waits_for_peers(const struct vhost_session *s)
{
	struct recovery_wait wait = {.session = s};

	if (s->device->ops->for_each_peer)
		s->device->ops->for_each_peer(s->device, recovery_look_at_peer, &wait);
	return wait.found;
}

static bool recovery_is_pending(const struct vhost_session *s)
{
	return recovery_has_own(s) || recovery_waits_for_peers(s);
}

/* Rings whose requests come before those of the ones that are last. */
static bool recovery_has_first(const struct vhost_session *s)
{
	for (unsigned i = 0; i < s->ring_count; i++) {
		const struct ring *ring = &s->rings[i];

		if (recovery_is_awaited(ring) && !(ring->vq && ring->ops->repeat_last))
			return true;
	}
	return false;
}

void recovery_expect(struct vhost_session *s)
{
	for (unsigned i = 0; i < s->ring_count; i++) {
		struct ring *ring = &s->rings[i];

		ring->late = false;
		ring->recovery = s->inflight.records[i] ? RECOVERY_EXPECTED : RECOVERY_NONE;
	}
	if (recovery_has_own(s))
		timer_start(s->control, &s->inflight.patience, RECOVERY_PATIENCE_NS);
	if (s->inflight.first && s->inflight.used && s->device->ops->for_each_peer)
		timer_start(s->control, &s->inflight.peers_patience, RECOVERY_PEERS_NS);
	s->inflight.first = false;
}

void recovery_ring_opening(struct ring *ring)
{
	unsigned recovered = virtqueue_recovered(ring->vq);

	ring->late = false;
	ring->recovery = RECOVERY_NONE;
	if (!ring->ops->handle)
		return;
	if (recovered) {
		log_notice("%s: ring %u repeats %u requests of before the restart",
			ring->device->name, ring->index, recovered);
		ring->recovery = RECOVERY_READY;
	}
	ring->held = recovery_is_pending(ring->session);
	if (ring->held)
		virtqueue_hold(ring->vq);
}

void recovery_ring_closed(struct ring *ring)
{
	ring->recovery = RECOVERY_NONE;
	ring->held = false;
	ring->late = false;
}

void recovery_forget_closed(struct vhost_session *s)
{
	for (unsigned i = 0; i < s->ring_count; i++) {
		if (!s->rings[i].vq)
			recovery_ring_closed(&s->rings[i]);
	}
}

/* ---- going on ---------------------------------------------------------------------------- */

static void recovery_repeated(void *arg, int rc)
{
	struct ring *ring = arg;

	ring->recovery = RECOVERY_NONE;
	ring->late = false;
	recovery_advance(ring->session);
}

static void recovery_released(void *arg, int rc)
{
}

static void recovery_repeat(struct vhost_session *s)
{
	bool first = recovery_has_first(s);

	for (unsigned i = 0; i < s->ring_count; i++) {
		struct ring *ring = &s->rings[i];

		if (ring->recovery != RECOVERY_READY || (first && ring->ops->repeat_last))
			continue;
		ring->recovery = RECOVERY_REPEATING;
		virtqueue_repeat(ring->vq, recovery_repeated, ring);
	}
}

/* A late ring is still held for its own sake. */
static void recovery_release(struct vhost_session *s)
{
	for (unsigned i = 0; i < s->ring_count; i++) {
		struct ring *ring = &s->rings[i];

		if (!ring->held || ring->recovery != RECOVERY_NONE)
			continue;
		ring->held = false;
		virtqueue_release(ring->vq, recovery_released, NULL);
	}
}

static void recovery_go_on(struct vhost_session *s)
{
	if (s->settling || s->ending)
		return;
	recovery_repeat(s);
	if (!recovery_has_own(s))
		timer_stop(s->control, &s->inflight.patience);
	if (!recovery_is_pending(s))
		recovery_release(s);
}

static void recovery_tell_peer(struct vhost_device *peer, void *arg)
{
	if (peer->session)
		recovery_go_on(peer->session);
}

void recovery_tell_peers(struct vhost_device *device)
{
	if (device->ops->for_each_peer)
		device->ops->for_each_peer(device, recovery_tell_peer, NULL);
}

void recovery_advance(struct vhost_session *s)
{
	recovery_go_on(s);
	recovery_tell_peers(s->device);
}

static void recovery_peers_over(struct timer *timer)
{
	struct vhost_session *s =
		container_of(timer, struct vhost_session, inflight.peers_patience);

	recovery_go_on(s);
}

static void recovery_patience_over(struct timer *timer)
{
	struct vhost_session *s = container_of(timer, struct vhost_session, inflight.patience);

	for (unsigned i = 0; i < s->ring_count; i++) {
		struct ring *ring = &s->rings[i];

		if (!recovery_is_awaited(ring) || (ring->vq && !ring->paused))
			continue;
		log_limited(s->options.log_limit, LOG_WARNING,
			"%s: ring %u has requests of before the restart and does not run: the "
			"other rings go on without it",
			s->device->name, ring->index);
		ring->late = true;
	}
	timer_start(s->control, timer, RECOVERY_PATIENCE_NS);
	recovery_advance(s);
}
