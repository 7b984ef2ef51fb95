/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state that is kept as messages to a successor, none of which asks for an answer, but
 * SET_LOG_BASE, which has one in any case.
 *
 * The order is that of a front-end that starts a device: features, back channel, memory, in-flight
 * region, log, then all rings, and only then their ENABLE, so that the server sees all requests to
 * be repeated before the first ring runs. A ring that was disabled by a message without an answer
 * may have requests in flight: it is enabled, which repeats them, and disabled again at the end.
 *
 * A ring that has not been told anything since the features changed may have a size, a base or
 * addresses that only the features before allowed: of the other format, or to be logged. They are
 * left out, since the server would refuse the session for them; before such a ring starts it is
 * told them anew.
 */
#include <string.h>

#include "base/util.h"
#include "keeper/session.h"
#include "spec/virtio_ring.h"

struct replay {
	const struct kept_state *state;
	kept_send_fn send;
	void *arg;
	int rc; /* the first error; nothing is sent after it */
};

static void replay_send_fd(
	struct replay *replay, uint32_t request, const void *payload, uint32_t size, int fd)
{
	if (!replay->rc)
		replay->rc = replay->send(
			replay->arg, request, payload, size, fd >= 0 ? &fd : NULL, fd >= 0);
}

static void replay_send(struct replay *replay, uint32_t request, const void *payload, uint32_t size)
{
	replay_send_fd(replay, request, payload, size, -1);
}

static void replay_features(struct replay *replay)
{
	const struct kept_state *state = replay->state;

	if (state->protocol_features)
		replay_send(replay, VHOST_USER_SET_PROTOCOL_FEATURES, &state->protocol_features, 8);
	if (state->features_told)
		replay_send(replay, VHOST_USER_SET_FEATURES, &state->features, 8);
	if (state->backend_fd >= 0)
		replay_send_fd(replay, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, state->backend_fd);
}

/* One region at a time where that can be said. */
static void replay_memory(struct replay *replay)
{
	const struct kept_state *state = replay->state;
	bool single = state->protocol_features & VIRTIO_BIT(VHOST_USER_PF_CONFIGURE_MEM_SLOTS);
	uint8_t bytes[VHOST_USER_PAYLOAD_MAX] = {0};
	struct vhost_user_mem_table *table = (void *)bytes;
	size_t size = sizeof(*table) + state->region_count * sizeof(table->regions[0]);
	int fds[KEPT_FDS_MAX];

	for (unsigned i = 0; single && i < state->region_count; i++) {
		const struct vhost_user_single_region message = {
			.region = state->regions[i].region};

		replay_send_fd(replay, VHOST_USER_ADD_MEM_REG, &message, sizeof(message),
			state->regions[i].fd);
	}
	if (single || state->region_count == 0 || size > sizeof(bytes) || replay->rc)
		return;
	table->count = state->region_count;
	for (unsigned i = 0; i < state->region_count; i++) {
		table->regions[i] = state->regions[i].region;
		fds[i] = state->regions[i].fd;
	}
	replay->rc = replay->send(replay->arg, VHOST_USER_SET_MEM_TABLE, bytes, (uint32_t)size, fds,
		state->region_count);
}

static void replay_event(
	struct replay *replay, uint32_t request, unsigned index, const struct kept_event *event)
{
	uint64_t word = index | (event->fd < 0 ? VHOST_USER_VRING_NOFD : 0);

	if (event->told)
		replay_send_fd(replay, request, &word, sizeof(word), event->fd);
}

static void replay_state(struct replay *replay, uint32_t request, unsigned index, uint32_t num)
{
	const struct vhost_user_vring_state message = {.index = index, .num = num};

	replay_send(replay, request, &message, sizeof(message));
}

static void replay_addr(struct replay *replay, const struct vhost_user_vring_addr *addr)
{
	uint64_t features = replay->state->features;
	struct vhost_user_vring_addr message = *addr;

	if ((features & VIRTIO_BIT(VIRTIO_F_RING_PACKED)) && addr->driver_area % 4)
		return;
	if (!(features & VIRTIO_BIT(VHOST_F_LOG_ALL)))
		message.flags &= ~(uint32_t)VHOST_USER_VRING_F_LOG;
	replay_send(replay, VHOST_USER_SET_VRING_ADDR, &message, sizeof(message));
}

static void replay_ring(struct replay *replay, unsigned index)
{
	const struct kept_ring *ring = &replay->state->rings[index];
	bool packed = replay->state->features & VIRTIO_BIT(VIRTIO_F_RING_PACKED);

	if (ring->has_num && (packed || is_power_of_two(ring->num)))
		replay_state(replay, VHOST_USER_SET_VRING_NUM, index, ring->num);
	if (ring->has_base && (packed || ring->base <= UINT16_MAX))
		replay_state(replay, VHOST_USER_SET_VRING_BASE, index, ring->base);
	if (ring->has_addr)
		replay_addr(replay, &ring->addr);
	replay_event(replay, VHOST_USER_SET_VRING_CALL, index, &ring->call);
	replay_event(replay, VHOST_USER_SET_VRING_ERR, index, &ring->err);
	replay_event(replay, VHOST_USER_SET_VRING_KICK, index, &ring->kick);
}

static void replay_enables(struct replay *replay)
{
	const struct kept_state *state = replay->state;

	for (unsigned i = 0; i < state->queues; i++) {
		const struct kept_ring *ring = &state->rings[i];
		bool repeats = ring->undrained && ring->kick.told;

		if (ring->enable_told && (ring->enabled || repeats))
			replay_state(replay, VHOST_USER_SET_VRING_ENABLE, i, 1);
	}
	for (unsigned i = 0; i < state->queues; i++) {
		if (state->rings[i].enable_told && !state->rings[i].enabled)
			replay_state(replay, VHOST_USER_SET_VRING_ENABLE, i, 0);
	}
}

int kept_state_tell_inflight(const struct kept_state *state, kept_send_fn send, void *arg)
{
	struct replay replay = {.state = state, .send = send, .arg = arg};

	replay_send(&replay, VHOST_USER_SET_PROTOCOL_FEATURES, &state->protocol_features, 8);
	replay_send_fd(&replay, VHOST_USER_SET_INFLIGHT_FD, &state->inflight, state->inflight_size,
		state->inflight_fd);
	return replay.rc;
}

int kept_state_replay(
	const struct kept_state *state, kept_send_fn send, void *arg, unsigned *ret_replies)
{
	struct replay replay = {.state = state, .send = send, .arg = arg};
	bool log_answered = state->protocol_features & VIRTIO_BIT(VHOST_USER_PF_LOG_SHMFD);

	replay_features(&replay);
	replay_memory(&replay);
	if (state->inflight_fd >= 0)
		replay_send_fd(&replay, VHOST_USER_SET_INFLIGHT_FD, &state->inflight,
			state->inflight_size, state->inflight_fd);
	if (state->log_fd >= 0)
		replay_send_fd(&replay, VHOST_USER_SET_LOG_BASE, &state->log, sizeof(state->log),
			state->log_fd);
	for (unsigned i = 0; i < state->queues; i++)
		replay_ring(&replay, i);
	replay_enables(&replay);
	*ret_replies = state->log_fd >= 0 && log_answered;
	return replay.rc;
}
