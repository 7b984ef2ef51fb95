/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages about one ring: reference section 8.1 (the table of what each does in each state) and
 * 8.5 (bounds). Each records what it was told and settles the rings; where a start fails (the claim
 * is somebody else's, the device is gone) it is taken back.
 *
 * A ring counts as stopped for NUM, BASE and ADDR until it has been kicked and all its parts are
 * there: front-ends bring them in any order (7.11).
 */
#include <errno.h>
#include <inttypes.h>

#include "vhost/session_impl.h"

#define RING_SIZE_MAX  32768
#define SPLIT_BASE_MAX 65535

static int message_find_ring(struct vhost_session *s, uint32_t index)
{
	if (index >= s->ring_count)
		return reason_set(&s->reason, -EINVAL,
			"ring %u of a device with %u rings: give the machine fewer queues", index,
			s->ring_count);
	s->ring = &s->rings[index];
	return 0;
}

/* Finds the ring of NUM, BASE and ADDR, which has to be stopped. */
static int message_find_stopped_ring(struct vhost_session *s, uint32_t index)
{
	int rc = message_find_ring(s, index);

	if (rc == 0 && s->ring->started && ring_is_complete(s->ring))
		return reason_set(
			&s->reason, -EBUSY, "ring %u is started: GET_VRING_BASE stops it", index);
	return rc;
}

/* ---- NUM, BASE, ADDR --------------------------------------------------------------------- */

int message_set_vring_num(struct vhost_session *s)
{
	const struct vhost_user_vring_state *state = &s->conn.payload.state;
	int rc = message_find_stopped_ring(s, state->index);

	if (rc)
		return rc;
	if (state->num == 0 || state->num > RING_SIZE_MAX)
		return reason_set(&s->reason, -EINVAL,
			"ring %u cannot have %u entries: 1 to %u are possible", state->index,
			state->num, RING_SIZE_MAX);
	if (!session_has_packed_rings(s) && !is_power_of_two(state->num))
		return reason_set(&s->reason, -EINVAL,
			"ring %u cannot have %u entries: a split ring needs a power of two",
			state->index, state->num);
	s->ring->num = state->num;
	return 0;
}

int message_set_vring_base(struct vhost_session *s)
{
	const struct vhost_user_vring_state *state = &s->conn.payload.state;
	int rc = message_find_stopped_ring(s, state->index);

	if (rc)
		return rc;
	if (!session_has_packed_rings(s) && state->num > SPLIT_BASE_MAX)
		return reason_set(&s->reason, -EINVAL, "ring %u cannot begin at index %u",
			state->index, state->num);
	s->ring->base = state->num;
	s->ring->has_base = true;
	return 0;
}

static int vring_addr_check(struct vhost_session *s, const struct vhost_user_vring_addr *addr)
{
	if (addr->flags & ~VHOST_USER_VRING_F_LOG)
		return reason_set(&s->reason, -EINVAL, "ring %u has unknown flags 0x%x",
			addr->index, addr->flags);
	if (addr->flags && !(s->features & VIRTIO_BIT(VHOST_F_LOG_ALL)))
		return reason_set(&s->reason, -EINVAL,
			"ring %u is to be logged, but LOG_ALL was not acknowledged", addr->index);
	if (addr->descriptors % 16 || addr->driver_area % (session_has_packed_rings(s) ? 4 : 2) ||
		addr->device_area % 4)
		return reason_set(&s->reason, -EINVAL,
			"ring %u is misaligned: descriptors 0x%" PRIx64 ", driver area 0x%" PRIx64
			", device area 0x%" PRIx64,
			addr->index, addr->descriptors, addr->driver_area, addr->device_area);
	return 0;
}

/* A started ring keeps its addresses; the log flag alone may change. */
int message_set_vring_addr(struct vhost_session *s)
{
	const struct vhost_user_vring_addr *addr = &s->conn.payload.addr;
	const struct vhost_user_vring_addr *old;
	int rc = message_find_ring(s, addr->index);

	if (rc == 0)
		rc = vring_addr_check(s, addr);
	if (rc)
		return rc;
	old = &s->ring->addr;
	if (s->ring->started && ring_is_complete(s->ring) &&
		(addr->descriptors != old->descriptors || addr->driver_area != old->driver_area ||
			addr->device_area != old->device_area))
		return reason_set(&s->reason, -EBUSY,
			"the addresses of ring %u cannot change while it is started", addr->index);
	s->ring->addr = *addr;
	s->ring->has_addr = true;
	return 0;
}

/* ---- KICK, CALL, ERR --------------------------------------------------------------------- */

/* Finds the ring and takes the descriptor, if one has to be there, into s->new_fd. */
int message_set_vring_fd(struct vhost_session *s)
{
	uint64_t word = s->conn.payload.u64;
	bool none = word & VHOST_USER_VRING_NOFD;
	int rc = message_find_ring(s, word & VHOST_USER_VRING_INDEX_MASK);

	if (rc)
		return rc;
	if (word & ~(uint64_t)(VHOST_USER_VRING_INDEX_MASK | VHOST_USER_VRING_NOFD))
		return reason_set(&s->reason, -EINVAL, "unknown bits 0x%" PRIx64, word);
	if (s->conn.fd_count != (none ? 0 : 1))
		return reason_set(&s->reason, -EINVAL, "%u descriptors for ring %u, %u are due",
			s->conn.fd_count, s->ring->index, none ? 0 : 1);
	s->new_fd = -1;
	if (none)
		return 0;
	rc = s->os->ops->event_adopt(s->os, s->conn.fds[0]);
	if (rc)
		return reason_set(&s->reason, rc,
			"the descriptor for ring %u cannot signal anything", s->ring->index);
	s->new_fd = s->conn.fds[0];
	s->conn.fds[0] = -1;
	return 0;
}

static int *vring_fd_place(struct vhost_session *s)
{
	switch (s->conn.header.request) {
	case VHOST_USER_SET_VRING_KICK:
		return &s->ring->kick_fd;
	case VHOST_USER_SET_VRING_CALL:
		return &s->ring->call_fd;
	default:
		return &s->ring->err_fd;
	}
}

/* Tells the running queue; done: it does not use the old descriptor any more. */
static void vring_fd_switch(struct vhost_session *s, done_fn done, void *arg)
{
	struct virtqueue *vq = s->ring->vq;

	switch (s->conn.header.request) {
	case VHOST_USER_SET_VRING_KICK:
		virtqueue_set_kick(vq, s->new_fd, done, arg);
		break;
	case VHOST_USER_SET_VRING_CALL:
		virtqueue_set_call(vq, s->new_fd, done, arg);
		break;
	default:
		virtqueue_set_err(vq, s->new_fd, done, arg);
	}
}

enum flow_result message_set_vring_fd_run(struct flow *f)
{
	struct vhost_session *s = session_of_message_flow(f);

	FLOW_BEGIN(f);
	if (s->ring->vq)
		AWAIT(f, vring_fd_switch(s, flow_resume, f));
	ring_replace_fd(s->ring, vring_fd_place(s), s->new_fd);
	if (s->conn.header.request != VHOST_USER_SET_VRING_KICK)
		goto finish;
	if (!s->ring->started)
		s->ring->broken = false;
	s->ring->started = true;
	AWAIT(f, rings_settle(s, true, flow_resume, f));
	if (flow_failed(f) && !s->ring->vq)
		s->ring->started = false;
finish:
	message_done(s, f->error);
	FLOW_END(f);
}

/* ---- ENABLE, GET_VRING_BASE -------------------------------------------------------------- */

int message_set_vring_enable(struct vhost_session *s)
{
	const struct vhost_user_vring_state *state = &s->conn.payload.state;
	int rc = message_find_ring(s, state->index);

	if (rc)
		return rc;
	if (state->num > 1)
		return reason_set(&s->reason, -EINVAL,
			"ring %u can be enabled by 1 or disabled "
			"by 0, not %u",
			state->index, state->num);
	s->ring->enabled = state->num;
	return 0;
}

/* ENABLE 0 is acknowledged when nothing of the ring is in flight: cloud-hypervisor's pause. */
enum flow_result message_set_vring_enable_run(struct flow *f)
{
	struct vhost_session *s = session_of_message_flow(f);

	FLOW_BEGIN(f);
	AWAIT(f, rings_settle(s, s->ring->enabled, flow_resume, f));
	if (flow_failed(f) && !s->ring->vq)
		s->ring->enabled = false;
	if (s->ring->enabled)
		backchannel_rings_enabled(&s->back);
	message_done(s, f->error);
	FLOW_END(f);
}

int message_get_vring_base(struct vhost_session *s)
{
	return message_find_ring(s, s->conn.payload.state.index);
}

static void get_vring_base_reply(struct vhost_session *s)
{
	struct vhost_user_vring_state *state = message_reply_init(s, sizeof(*state));

	state->index = s->ring->index;
	state->num = s->ring->base;
}

/* Section 8.3. The kick and call descriptors are forgotten, every start brings new ones; the err
 * descriptor is kept, QEMU sends it only at connect. */
enum flow_result message_get_vring_base_run(struct flow *f)
{
	struct vhost_session *s = session_of_message_flow(f);

	FLOW_BEGIN(f);
	s->ring->started = false;
	AWAIT(f, rings_settle(s, false, flow_resume, f));
	ring_replace_fd(s->ring, &s->ring->kick_fd, -1);
	ring_replace_fd(s->ring, &s->ring->call_fd, -1);
	get_vring_base_reply(s);
	message_done(s, f->error);
	FLOW_END(f);
}
