/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each message changes in the state that is kept. A message that asks for an answer counts
 * when the answer is there and good; any other when it is passed on, since the connection to the
 * server keeps the order: a successor that is told the state is where the one before would have
 * been.
 *
 * Each record function looks at the size and at the number of descriptors first: what is not as it
 * should be, the server refuses.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "keeper/session.h"
#include "spec/vhost_inflight.h"
#include "spec/virtio_ring.h"

#define INFLIGHT_QUEUE_SIZE 32768 /* no ring is larger; pages that nobody touches cost nothing */

static void fd_replace(int *fd, int fresh)
{
	if (*fd >= 0)
		close(*fd);
	*fd = fresh;
}

static int message_take_fd(struct kept_message *message, unsigned index)
{
	int fd = message->fds[index];

	message->fds[index] = -1;
	return fd;
}

void kept_message_discard(struct kept_message *message)
{
	for (unsigned i = 0; i < message->fd_count; i++)
		fd_replace(&message->fds[i], -1);
	message->fd_count = 0;
}

int kept_state_init(struct kept_state *state, unsigned queues)
{
	memset(state, 0, sizeof(*state));
	state->backend_fd = -1;
	state->inflight_fd = -1;
	state->log_fd = -1;
	if (queues == 0 || queues > KEPT_QUEUES_MAX)
		return -EINVAL;
	state->queues = queues;
	state->rings = calloc(queues, sizeof(*state->rings));
	state->regions = calloc(KEPT_REGIONS_MAX, sizeof(*state->regions));
	if (!state->rings || !state->regions) {
		free(state->rings);
		free(state->regions);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < queues; i++) {
		state->rings[i].kick.fd = -1;
		state->rings[i].call.fd = -1;
		state->rings[i].err.fd = -1;
	}
	return 0;
}

static void regions_forget(struct kept_state *state)
{
	for (unsigned i = 0; i < state->region_count; i++)
		fd_replace(&state->regions[i].fd, -1);
	state->region_count = 0;
}

void kept_state_fini(struct kept_state *state)
{
	fd_replace(&state->backend_fd, -1);
	fd_replace(&state->inflight_fd, -1);
	fd_replace(&state->log_fd, -1);
	regions_forget(state);
	for (unsigned i = 0; i < state->queues; i++) {
		fd_replace(&state->rings[i].kick.fd, -1);
		fd_replace(&state->rings[i].call.fd, -1);
		fd_replace(&state->rings[i].err.fd, -1);
	}
	free(state->rings);
	free(state->regions);
}

bool kept_state_expects_reply(
	const struct kept_state *state, const struct vhost_user_header *header)
{
	switch (header->request) {
	case VHOST_USER_GET_FEATURES:
	case VHOST_USER_GET_VRING_BASE:
	case VHOST_USER_GET_PROTOCOL_FEATURES:
	case VHOST_USER_GET_QUEUE_NUM:
	case VHOST_USER_IOTLB_MSG:
	case VHOST_USER_GET_CONFIG:
	case VHOST_USER_POSTCOPY_ADVISE:
	case VHOST_USER_POSTCOPY_END:
	case VHOST_USER_GET_INFLIGHT_FD:
	case VHOST_USER_GET_MAX_MEM_SLOTS:
	case VHOST_USER_GET_STATUS:
	case VHOST_USER_GET_SHARED_OBJECT:
	case VHOST_USER_SET_DEVICE_STATE_FD:
	case VHOST_USER_CHECK_DEVICE_STATE:
	case VHOST_USER_GET_SHMEM_CONFIG:
	case VHOST_USER_GET_VRING_BASE_SKIP_DRAIN:
		return true;
	case VHOST_USER_SET_LOG_BASE:
		if (state->protocol_features & VIRTIO_BIT(VHOST_USER_PF_LOG_SHMFD))
			return true;
		break;
	default:
		break;
	}
	return header->flags & VHOST_USER_NEED_REPLY && state->reply_ack;
}

/* ---- memory ------------------------------------------------------------------------------ */

static void region_add(struct kept_state *state, const struct vhost_user_region *region,
	struct kept_message *m, unsigned index)
{
	struct kept_region *kept = &state->regions[state->region_count];

	if (state->region_count == KEPT_REGIONS_MAX)
		return;
	kept->region = *region;
	kept->fd = message_take_fd(m, index);
	state->region_count++;
}

static void record_mem_table(struct kept_state *state, struct kept_message *m)
{
	const struct vhost_user_mem_table *table = (const void *)m->payload.bytes;

	if (m->header.size < sizeof(*table) || table->count != m->fd_count ||
		m->header.size != sizeof(*table) + table->count * sizeof(table->regions[0]))
		return;
	regions_forget(state);
	for (unsigned i = 0; i < m->fd_count; i++)
		region_add(state, &table->regions[i], m, i);
}

static void record_add_region(struct kept_state *state, struct kept_message *m)
{
	if (m->header.size == sizeof(m->payload.single) && m->fd_count == 1)
		region_add(state, &m->payload.single.region, m, 0);
}

static void record_remove_region(struct kept_state *state, const struct kept_message *m)
{
	const struct vhost_user_region *gone = &m->payload.single.region;

	for (unsigned i = 0; i < state->region_count; i++) {
		struct kept_region *kept = &state->regions[i];

		if (kept->region.gpa != gone->gpa || kept->region.uva != gone->uva ||
			kept->region.size != gone->size)
			continue;
		fd_replace(&kept->fd, -1);
		*kept = state->regions[--state->region_count];
		return;
	}
}

/* ---- rings ------------------------------------------------------------------------------- */

static struct kept_ring *ring_find(struct kept_state *state, uint64_t index)
{
	return index < state->queues ? &state->rings[index] : NULL;
}

static void event_forget(struct kept_event *event)
{
	fd_replace(&event->fd, -1);
	event->told = false;
}

static void record_event(struct kept_state *state, struct kept_message *m)
{
	struct kept_ring *ring = ring_find(state, m->payload.u64 & VHOST_USER_VRING_INDEX_MASK);
	bool none = m->payload.u64 & VHOST_USER_VRING_NOFD;
	struct kept_event *event;

	if (!ring || m->header.size != 8 || m->fd_count != (none ? 0 : 1))
		return;
	event = m->header.request == VHOST_USER_SET_VRING_KICK   ? &ring->kick
		: m->header.request == VHOST_USER_SET_VRING_CALL ? &ring->call
								 : &ring->err;
	event->told = true;
	fd_replace(&event->fd, none ? -1 : message_take_fd(m, 0));
}

static void record_state(struct kept_state *state, const struct kept_message *m, bool answered)
{
	struct kept_ring *ring = ring_find(state, m->payload.state.index);

	if (!ring || m->header.size != sizeof(m->payload.state))
		return;
	if (m->header.request == VHOST_USER_SET_VRING_NUM) {
		ring->has_num = true;
		ring->num = m->payload.state.num;
	} else if (m->header.request == VHOST_USER_SET_VRING_BASE) {
		ring->has_base = true;
		ring->base = m->payload.state.num;
	} else {
		ring->undrained = ring->enable_told && (ring->enabled || ring->undrained) &&
				  m->payload.state.num == 0 && !answered;
		ring->enable_told = true;
		ring->enabled = m->payload.state.num != 0;
	}
}

static void record_addr(struct kept_state *state, const struct kept_message *m)
{
	struct kept_ring *ring = ring_find(state, m->payload.addr.index);

	if (!ring || m->header.size != sizeof(ring->addr))
		return;
	ring->has_addr = true;
	ring->addr = m->payload.addr;
}

/* In a region of ours nothing must be left of the ring: its driver may begin anew. */
static void inflight_clear_ring(struct kept_state *state, unsigned index)
{
	bool packed = state->features & VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	uint64_t stride = packed ? vhost_inflight_packed_stride(INFLIGHT_QUEUE_SIZE)
				 : vhost_inflight_split_stride(INFLIGHT_QUEUE_SIZE);
	const uint16_t version = 0;

	if (state->inflight_is_ours)
		(void)!pwrite(state->inflight_fd, &version, sizeof(version),
			(off_t)(index * stride + offsetof(struct vhost_inflight_split, version)));
}

static void record_get_base(
	struct kept_state *state, const struct kept_message *m, const struct kept_message *reply)
{
	struct kept_ring *ring = ring_find(state, m->payload.state.index);

	if (!ring || !reply || reply->header.size != sizeof(reply->payload.state))
		return;
	ring->has_base = true;
	ring->base = reply->payload.state.num;
	ring->undrained = false;
	event_forget(&ring->kick);
	event_forget(&ring->call);
	inflight_clear_ring(state, m->payload.state.index);
}

/* The call and err descriptors stay (reference 4, note 34). */
static void record_reset(struct kept_state *state)
{
	for (unsigned i = 0; i < state->queues; i++) {
		struct kept_ring *ring = &state->rings[i];

		ring->has_num = ring->has_base = ring->has_addr = false;
		ring->enable_told = ring->enabled = ring->undrained = false;
		event_forget(&ring->kick);
	}
}

static void record_reset_owner(struct kept_state *state)
{
	for (unsigned i = 0; i < state->queues; i++) {
		state->rings[i].undrained |= state->rings[i].enabled;
		state->rings[i].enabled = false;
	}
}

/* ---- in-flight region -------------------------------------------------------------------- */

static void record_inflight(struct kept_state *state, struct kept_message *m)
{
	if (m->fd_count != 1 || m->header.size > sizeof(state->inflight))
		return;
	state->inflight = m->payload.inflight;
	state->inflight_size = m->header.size;
	state->inflight_is_ours = false;
	fd_replace(&state->inflight_fd, message_take_fd(m, 0));
}

bool kept_state_needs_inflight(const struct kept_state *state, const struct kept_message *message)
{
	if (message->header.request != VHOST_USER_SET_VRING_KICK)
		return false;
	if (state->inflight_fd >= 0 && !state->inflight_is_ours)
		return false;
	for (unsigned i = 0; i < state->queues; i++) {
		if (state->rings[i].kick.told)
			return false;
	}
	return true;
}

int kept_state_make_inflight(struct kept_state *state)
{
	uint64_t size = state->queues * vhost_inflight_packed_stride(INFLIGHT_QUEUE_SIZE);
	int fd = memfd_create("sluice-kept-inflight", MFD_CLOEXEC);
	int rc;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	state->inflight = (struct vhost_user_inflight){.mmap_size = size,
		.queues = (uint16_t)state->queues,
		.queue_size = INFLIGHT_QUEUE_SIZE};
	state->inflight_size = sizeof(state->inflight);
	state->inflight_is_ours = true;
	state->protocol_features |= VIRTIO_BIT(VHOST_USER_PF_INFLIGHT_SHMFD);
	fd_replace(&state->inflight_fd, fd);
	return 0;
}

/* ---- all --------------------------------------------------------------------------------- */

static void record_features(struct kept_state *state, const struct kept_message *m)
{
	if (m->header.size != 8)
		return;
	if (m->header.request == VHOST_USER_SET_FEATURES) {
		state->features = m->payload.u64;
		state->features_told = true;
		return;
	}
	state->protocol_features = m->payload.u64;
	if (state->inflight_is_ours)
		state->protocol_features |= VIRTIO_BIT(VHOST_USER_PF_INFLIGHT_SHMFD);
	state->reply_ack = m->payload.u64 & VIRTIO_BIT(VHOST_USER_PF_REPLY_ACK);
}

static void record_log(struct kept_state *state, struct kept_message *m)
{
	if (m->header.size != sizeof(state->log) || m->fd_count != 1)
		return;
	state->log = m->payload.log;
	fd_replace(&state->log_fd, message_take_fd(m, 0));
}

/* A status that says no changes nothing. */
static bool reply_refuses(const struct kept_message *m, const struct kept_message *reply)
{
	return reply && m->header.request != VHOST_USER_GET_VRING_BASE &&
	       m->header.request != VHOST_USER_SET_LOG_BASE && reply->header.size == 8 &&
	       reply->payload.u64 != 0;
}

void kept_state_record(
	struct kept_state *state, struct kept_message *m, const struct kept_message *reply)
{
	if (reply_refuses(m, reply))
		return;
	switch (m->header.request) {
	case VHOST_USER_SET_FEATURES:
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		record_features(state, m);
		break;
	case VHOST_USER_SET_MEM_TABLE:
		record_mem_table(state, m);
		break;
	case VHOST_USER_ADD_MEM_REG:
		record_add_region(state, m);
		break;
	case VHOST_USER_REM_MEM_REG:
		record_remove_region(state, m);
		break;
	case VHOST_USER_SET_LOG_BASE:
		record_log(state, m);
		break;
	case VHOST_USER_SET_VRING_NUM:
	case VHOST_USER_SET_VRING_BASE:
	case VHOST_USER_SET_VRING_ENABLE:
		record_state(state, m, reply != NULL);
		break;
	case VHOST_USER_SET_VRING_ADDR:
		record_addr(state, m);
		break;
	case VHOST_USER_GET_VRING_BASE:
		record_get_base(state, m, reply);
		break;
	case VHOST_USER_SET_VRING_KICK:
	case VHOST_USER_SET_VRING_CALL:
	case VHOST_USER_SET_VRING_ERR:
		record_event(state, m);
		break;
	case VHOST_USER_SET_BACKEND_REQ_FD:
		if (m->fd_count == 1)
			fd_replace(&state->backend_fd, message_take_fd(m, 0));
		break;
	case VHOST_USER_SET_INFLIGHT_FD:
		record_inflight(state, m);
		break;
	case VHOST_USER_RESET_DEVICE:
		record_reset(state);
		break;
	case VHOST_USER_RESET_OWNER:
		record_reset_owner(state);
		break;
	default:
		break;
	}
}
