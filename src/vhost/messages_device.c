/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages about the device as a whole: features, owner, reset, configuration, back channel.
 * Reference sections 4 and 6.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vhost/session_impl.h"

/* ---- features ---------------------------------------------------------------------------- */

int message_get_features(struct vhost_session *s)
{
	message_reply_u64(s, s->device->ops->features(s->device));
	return 0;
}

/* What to switch off where QEMU negotiates a bit with the guest without asking us (6.3). */
static const char *feature_property(uint64_t bits)
{
	if (bits & VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM))
		return ": set iommu_platform=off on the QEMU device";
	if (bits & VIRTIO_BIT(VIRTIO_F_IN_ORDER))
		return ": set in_order=off on the QEMU device";
	if (bits & VIRTIO_BIT(VIRTIO_F_NOTIFICATION_DATA))
		return ": set notification_data=off on the QEMU device";
	if (bits & VIRTIO_BIT(3))
		return ": set t10_pi=off on the QEMU device";
	return "";
}

static int set_features_check(struct vhost_session *s, uint64_t features)
{
	const struct vhost_device_ops *ops = s->device->ops;
	uint64_t tolerated = ops->tolerated_features ? ops->tolerated_features(s->device) : 0;
	uint64_t foreign = features & ~(ops->features(s->device) | tolerated);
	uint64_t changed = features ^ s->features;

	if (foreign)
		return reason_set(&s->reason, -EINVAL,
			"feature bits 0x%" PRIx64 " were acknowledged and are not offered%s",
			foreign, feature_property(foreign));
	if (s->features_set && rings_any_started(s) && changed & ~VIRTIO_BIT(VHOST_F_LOG_ALL))
		return reason_set(&s->reason, -EBUSY,
			"feature bits 0x%" PRIx64 " cannot change while rings are started",
			changed);
	return 0;
}

int message_set_features(struct vhost_session *s)
{
	uint64_t features = s->conn.payload.u64;
	int rc = set_features_check(s, features);

	if (rc)
		return rc;
	s->features = features;
	s->features_set = true;
	/* Without this bit no SET_VRING_ENABLE will come. With it, enable bits stay as they are. */
	if (features & VIRTIO_BIT(VHOST_USER_F_PROTOCOL_FEATURES))
		return 0;
	for (unsigned i = 0; i < s->ring_count; i++)
		s->rings[i].enabled = true;
	return 0;
}

int message_get_protocol_features(struct vhost_session *s)
{
	message_reply_u64(s, s->device->ops->protocol_features(s->device));
	return 0;
}

int message_set_protocol_features(struct vhost_session *s)
{
	uint64_t features = s->conn.payload.u64;
	uint64_t foreign = features & ~s->device->ops->protocol_features(s->device);

	if (foreign)
		return reason_set(&s->reason, -EINVAL,
			"protocol feature bits 0x%" PRIx64 " are not offered", foreign);
	s->protocol_features = features;
	return 0;
}

int message_get_queue_num(struct vhost_session *s)
{
	message_reply_u64(s, s->ring_count);
	return 0;
}

int message_get_max_mem_slots(struct vhost_session *s)
{
	message_reply_u64(s, GUEST_REGIONS_MAX);
	return 0;
}

/* ---- owner and reset --------------------------------------------------------------------- */

/* Tolerated at any place and twice. */
int message_set_owner(struct vhost_session *s)
{
	return 0;
}

/* Without bit 30 nobody would enable the rings again. */
static void session_disable_rings(struct vhost_session *s)
{
	bool enabled =
		s->features_set && !(s->features & VIRTIO_BIT(VHOST_USER_F_PROTOCOL_FEATURES));

	for (unsigned i = 0; i < s->ring_count; i++)
		s->rings[i].enabled = enabled;
}

enum flow_result message_reset_owner_run(struct flow *f)
{
	struct vhost_session *s = session_of_message_flow(f);

	FLOW_BEGIN(f);
	session_disable_rings(s);
	AWAIT(f, rings_settle(s, false, flow_resume, f));
	message_done(s, f->error);
	FLOW_END(f);
}

static void session_stop_rings(struct vhost_session *s)
{
	session_disable_rings(s);
	for (unsigned i = 0; i < s->ring_count; i++)
		s->rings[i].started = false;
}

/* The call and err descriptors stay: QEMU sent them at connect and does not repeat them. */
static void session_forget_rings(struct vhost_session *s)
{
	for (unsigned i = 0; i < s->ring_count; i++) {
		struct ring *ring = &s->rings[i];

		ring->num = 0;
		ring->base = 0;
		ring->has_base = false;
		ring->has_addr = false;
		ring->moved = false;
		ring_replace_fd(ring, &ring->kick_fd, -1);
	}
}

/* Memory regions, features, protocol features and back channel stay (reference 4, note 34). */
enum flow_result message_reset_device_run(struct flow *f)
{
	struct vhost_session *s = session_of_message_flow(f);

	FLOW_BEGIN(f);
	session_stop_rings(s);
	AWAIT(f, rings_settle(s, false, flow_resume, f));
	session_forget_rings(s);
	inflight_reset(s);
	if (!s->ending)
		s->device->ops->reset(s->device);
	message_done(s, f->error);
	FLOW_END(f);
}

/* ---- configuration ----------------------------------------------------------------------- */

/* Both forms of a request are seen: with room for the bytes, and without. */
int message_get_config(struct vhost_session *s)
{
	const struct vhost_user_config *config = (const void *)s->conn.payload.bytes;
	struct vhost_user_config *reply;
	int rc;

	if (config->size > VHOST_USER_PAYLOAD_MAX - sizeof(*config) ||
		(s->conn.header.size != sizeof(*config) &&
			s->conn.header.size != sizeof(*config) + config->size))
		return reason_set(&s->reason, -EINVAL,
			"%u bytes of configuration are asked for in a payload of %u bytes",
			config->size, s->conn.header.size);
	if (!s->device->ops->config_get)
		return reason_set(&s->reason, -EOPNOTSUPP, "the device has no configuration space");
	reply = message_reply_init(s, sizeof(*config) + config->size);
	*reply = *config;
	rc = s->device->ops->config_get(s->device, config->offset, reply->bytes, config->size);
	if (rc == 0)
		backchannel_config_read(&s->back);
	return rc;
}

int message_set_config(struct vhost_session *s)
{
	const struct vhost_user_config *config = (const void *)s->conn.payload.bytes;

	if (s->conn.header.size - sizeof(*config) != config->size)
		return reason_set(&s->reason, -EINVAL,
			"%u bytes of configuration in a payload of %u bytes", config->size,
			s->conn.header.size);
	if (!s->device->ops->config_set)
		return reason_set(&s->reason, -EOPNOTSUPP, "the device has no configuration space");
	return s->device->ops->config_set(s->device, config->offset, config->bytes, config->size);
}

/* ---- the rest ---------------------------------------------------------------------------- */

int message_set_backend_req_fd(struct vhost_session *s)
{
	int rc = backchannel_open(
		&s->back, s->conn.fds[0], session_has_protocol_feature(s, VHOST_USER_PF_REPLY_ACK));

	if (rc)
		return reason_set(
			&s->reason, rc, "the back channel is no socket: %s", strerror(-rc));
	s->conn.fds[0] = -1;
	/* The process before this one may have died before it could tell. */
	if (s->options.resumed && session_has_protocol_feature(s, VHOST_USER_PF_CONFIG))
		s->back.unread = true;
	return 0;
}

/* An eventfd for errors of the log, of which there are none: closed with the message. */
int message_set_log_fd(struct vhost_session *s)
{
	return 0;
}
