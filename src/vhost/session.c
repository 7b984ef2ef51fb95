/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of one connection: one flow on the control reactor that takes a message, does all it
 * asks for, answers if an answer is due, and only then looks at the next. Reference sections 1, 2.6
 * and 12.2.
 *
 * Slow steps (a drain, a mmap) are awaited; other sessions go on meanwhile. Nothing is read from
 * the socket during them, so a front-end that dies in the middle of a drain is noticed when the
 * drain is over and the answer cannot be written.
 *
 * What bounds a session: one message at a time in buffers of fixed size; a limit on the time that a
 * message or the writing of its reply may take; limits on memory and regions; rings as many as the
 * device has, each with three descriptors at most.
 *
 * The end (session_abort) can come at any time: from the peer, a violation, a limit, memory that
 * was taken away, the deletion of the controller. The sockets are closed and the rings frozen at
 * once: no used entry, no signal. The flow then comes to its end by itself, since whatever it waits
 * for ends: it stops the rings, which waits until no I/O is under way at the storage, gives the
 * memory back, and tells the controller, which may then take the next connection.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vhost/session_impl.h"

static enum flow_result session_run(struct flow *f);

/* ---- the end ----------------------------------------------------------------------------- */

void session_abort(struct vhost_session *s, const char *why)
{
	if (s->ending)
		return;
	s->ending = true;
	if (why)
		log_limited(s->options.log_limit, LOG_WARNING, "%s: connection closed: %s",
			s->device->name, why);
	else
		log_info("%s: the front-end is gone", s->device->name);
	connection_close(&s->conn);
	backchannel_close(&s->back);
	rings_freeze(s);
}

/* The stream ended or broke. */
static void session_lost(struct vhost_session *s, int rc)
{
	if (rc == -EPROTO)
		session_abort(s, s->conn.fault);
	else if (rc == -ECONNRESET || rc == -EPIPE)
		session_abort(s, NULL);
	else
		session_abort(s, strerror(-rc));
}

static void session_limit_fired(struct timer *timer)
{
	struct vhost_session *s = container_of(timer, struct vhost_session, limit);

	if (s->reply_due)
		session_abort(s, "the front-end does not read its reply");
	else
		session_abort(s, "requests in flight did not end in time; the answer that they "
				 "have ended is not given");
}

static void session_free(struct vhost_session *s)
{
	timer_stop(s->control, &s->limit);
	connection_discard(&s->conn);
	for (unsigned i = 0; i < s->ring_count; i++)
		ring_fini(&s->rings[i]);
	free(s->rings);
	free(s);
}

/* ---- the flow ---------------------------------------------------------------------------- */

static bool session_message_waits(const struct vhost_session *s)
{
	return s->status == 0 && s->type->run;
}

static void session_close_reply_fd(struct vhost_session *s)
{
	if (s->reply_fd >= 0)
		s->os->ops->close(s->os, s->reply_fd);
	s->reply_fd = -1;
}

static void session_begin_message(struct vhost_session *s)
{
	s->reply_due = false;
	s->status = message_check(s);
	if (s->status == 0 && s->type->handle)
		s->status = s->type->handle(s);
	if (session_message_waits(s))
		timer_start(s->control, &s->limit, s->options.limits.drain_ns);
}

static void session_end_message(struct vhost_session *s)
{
	timer_stop(s->control, &s->limit);
	connection_discard(&s->conn);
	if (s->ending)
		s->reply_due = false;
	else if (!message_finish(s))
		session_abort(s, "a message that cannot be refused in any other way");
	else if (s->reply_due)
		timer_start(s->control, &s->limit, s->options.limits.reply_ns);
	if (s->ending || !s->reply_due)
		session_close_reply_fd(s);
}

static enum flow_result session_run(struct flow *f)
{
	struct vhost_session *s = container_of(f, struct vhost_session, flow);

	FLOW_BEGIN(f);
	while (!s->ending) {
		AWAIT(f, connection_receive(&s->conn, flow_resume, f));
		if (flow_failed(f)) {
			session_lost(s, f->rc);
			break;
		}
		vhost_device_hold_moves(s->device);
		if (s->device->moves)
			AWAIT(f, vhost_device_await_moves(
					 s->device, &s->moves_waiter, flow_resume, f));
		session_begin_message(s);
		if (session_message_waits(s)) {
			AWAIT(f, message_run(s, flow_resume, f));
			s->status = f->rc;
		}
		session_end_message(s);
		vhost_device_release_moves(s->device);
		if (s->ending || !s->reply_due)
			continue;
		AWAIT(f, connection_send(&s->conn, s->conn.header.request, VHOST_USER_REPLY_FLAGS,
				 s->reply_buf, s->reply_size, s->reply_fd, flow_resume, f));
		timer_stop(s->control, &s->limit);
		session_close_reply_fd(s);
		if (flow_failed(f))
			session_lost(s, f->rc);
	}

	vhost_device_hold_moves(s->device);
	if (s->device->moves)
		AWAIT(f, vhost_device_await_moves(s->device, &s->moves_waiter, flow_resume, f));
	recovery_stop(s);
	AWAIT(f, rings_settle(s, false, flow_resume, f));
	AWAIT(f, inflight_forget(s, flow_resume, f));
	AWAIT(f, session_log_forget(s, flow_resume, f));
	vhost_device_release_moves(s->device);
	s->device->ops->session_end(s->device);
	s->device->session = NULL;
	recovery_tell_peers(s->device);
	AWAIT(f, memory_put(&s->change, s->control, s->memory, flow_resume, f));
	s->options.ended(s->options.arg);
	session_free(s);
	FLOW_END(f);
}

/* ---- beginning --------------------------------------------------------------------------- */

static void session_log_peer(struct vhost_session *s)
{
	struct os_peer peer;

	if (s->os->ops->socket_peer(s->os, s->options.fd, &peer) == 0)
		log_info("%s: connected to process %u of user %u", s->device->name, peer.pid,
			peer.uid);
}

static int session_init_rings(struct vhost_session *s)
{
	s->ring_count = s->device->ops->queue_count(s->device);
	invariant(s->ring_count > 0 && s->ring_count <= VHOST_QUEUES_MAX);
	s->rings = calloc(s->ring_count, sizeof(*s->rings));
	if (!s->rings)
		return -ENOMEM;
	for (unsigned i = 0; i < s->ring_count; i++)
		ring_init(&s->rings[i], s, i);
	return 0;
}

static void session_init(struct vhost_session *s, const struct session_options *options)
{
	s->options = *options;
	s->os = options->os;
	s->control = options->control;
	s->device = options->device;
	s->sigbus.os = options->os;
	s->sigbus.event_fd = options->event_fd;
	s->limit.fired = session_limit_fired;
	s->change.os = options->os;
	s->change.registry = options->registry;
	s->reply_fd = -1;
	s->log.os = options->os;
	s->log.reason = &s->reason;
	s->inflight.os = options->os;
	s->inflight.reason = &s->reason;
	recovery_init(s);
	connection_init(&s->conn, s->os, s->control, options->fd);
	s->conn.kept = options->kept;
	backchannel_init(&s->back, s->os, s->control);
}

int session_create(const struct session_options *options, struct vhost_session **ret_session)
{
	struct vhost_session *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	session_init(s, options);
	s->memory = guest_memory_empty();
	if (!s->memory)
		goto free_session;
	if (session_init_rings(s))
		goto free_memory;
	session_log_peer(s);
	s->device->session = s;
	s->device->ops->session_begin(s->device, s);
	flow_start(&s->flow, s->control, "session", session_run);
	*ret_session = s;
	return 0;

free_memory:
	free(s->memory);
free_session:
	free(s);
	return -ENOMEM;
}

/* ---- for the device and for listing ------------------------------------------------------ */

void vhost_session_config_changed(struct vhost_session *s)
{
	if (session_has_protocol_feature(s, VHOST_USER_PF_CONFIG))
		backchannel_config_changed(&s->back);
}

uint64_t vhost_session_features(const struct vhost_session *s)
{
	return s->features;
}

unsigned session_in_flight(const struct vhost_session *s)
{
	struct virtqueue_info info;
	unsigned in_flight = 0;

	for (unsigned i = 0; i < s->ring_count; i++) {
		if (!s->rings[i].vq)
			continue;
		virtqueue_get_info(s->rings[i].vq, &info);
		in_flight += info.in_flight + info.postponed;
	}
	return in_flight;
}

bool session_is_started(const struct vhost_session *s)
{
	for (unsigned i = 0; i < s->ring_count; i++) {
		if (s->rings[i].vq && !s->rings[i].paused)
			return true;
	}
	return false;
}

unsigned session_queues(const struct vhost_session *s)
{
	unsigned queues = 0;

	for (unsigned i = 0; i < s->ring_count; i++) {
		if (s->rings[i].num)
			queues = i + 1;
	}
	return queues;
}
