/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The messages that a scsi or blk back-end can get (reference section 4): their form, and when an
 * answer is due (2.4, 2.5).
 *
 *	good:		own reply, or a status of 0 when asked for (NEED_REPLY with REPLY_ACK), or
 *			nothing
 *	bad:		own reply: its error form if it has one, else the connection is closed;
 *			status asked for: not 0; else the connection is closed: there is no other
 *			way to tell
 *
 * Not here because we do not offer it yet: PAGEFAULT, DEVICE_STATE. The
 * table has these messages' form; they are refused for want of the protocol feature, which no
 * front-end can have acknowledged.
 */
#include <errno.h>
#include <string.h>

#include "vhost/session_impl.h"

#define PF(name) VIRTIO_BIT(VHOST_USER_PF_##name)

#define STATE sizeof(struct vhost_user_vring_state)

static const struct message_type message_types[VHOST_USER_REQUESTS] = {
	[VHOST_USER_GET_FEATURES] = {.name = "GET_FEATURES",
		.own_reply = true,
		.handle = message_get_features},
	[VHOST_USER_SET_FEATURES] = {.name = "SET_FEATURES",
		.size = 8,
		.handle = message_set_features,
		.run = message_relog_rings_run},
	[VHOST_USER_SET_OWNER] = {.name = "SET_OWNER", .handle = message_set_owner},
	[VHOST_USER_RESET_OWNER] = {.name = "RESET_OWNER", .run = message_reset_owner_run},
	[VHOST_USER_SET_MEM_TABLE] = {.name = "SET_MEM_TABLE",
		.size = sizeof(struct vhost_user_mem_table),
		.size_max = VHOST_USER_PAYLOAD_MAX,
		.fds_max = OS_FDS_MAX,
		.handle = message_set_mem_table,
		.run = message_change_memory_run},
	[VHOST_USER_SET_LOG_BASE] = {.name = "SET_LOG_BASE",
		.size = sizeof(struct vhost_user_log),
		.fds_min = 1,
		.fds_max = 1,
		.own_reply = true,
		.needs = PF(LOG_SHMFD),
		.handle = message_set_log_base,
		.run = message_set_log_base_run},
	[VHOST_USER_SET_LOG_FD] = {.name = "SET_LOG_FD",
		.fds_min = 1,
		.fds_max = 1,
		.handle = message_set_log_fd},
	[VHOST_USER_SET_VRING_NUM] = {.name = "SET_VRING_NUM",
		.size = STATE,
		.handle = message_set_vring_num,
		.run = message_settle_rings_run},
	[VHOST_USER_SET_VRING_ADDR] = {.name = "SET_VRING_ADDR",
		.size = sizeof(struct vhost_user_vring_addr),
		.handle = message_set_vring_addr,
		.run = message_relog_rings_run},
	[VHOST_USER_SET_VRING_BASE] = {.name = "SET_VRING_BASE",
		.size = STATE,
		.handle = message_set_vring_base,
		.run = message_settle_rings_run},
	[VHOST_USER_GET_VRING_BASE] = {.name = "GET_VRING_BASE",
		.size = STATE,
		.own_reply = true,
		.handle = message_get_vring_base,
		.run = message_get_vring_base_run},
	[VHOST_USER_SET_VRING_KICK] = {.name = "SET_VRING_KICK",
		.size = 8,
		.fds_max = 1,
		.handle = message_set_vring_fd,
		.run = message_set_vring_fd_run},
	[VHOST_USER_SET_VRING_CALL] = {.name = "SET_VRING_CALL",
		.size = 8,
		.fds_max = 1,
		.handle = message_set_vring_fd,
		.run = message_set_vring_fd_run},
	[VHOST_USER_SET_VRING_ERR] = {.name = "SET_VRING_ERR",
		.size = 8,
		.fds_max = 1,
		.handle = message_set_vring_fd,
		.run = message_set_vring_fd_run},
	[VHOST_USER_GET_PROTOCOL_FEATURES] = {.name = "GET_PROTOCOL_FEATURES",
		.own_reply = true,
		.handle = message_get_protocol_features},
	[VHOST_USER_SET_PROTOCOL_FEATURES] = {.name = "SET_PROTOCOL_FEATURES",
		.size = 8,
		.handle = message_set_protocol_features},
	/* Harmless without MQ: front-ends with one ring ask too. */
	[VHOST_USER_GET_QUEUE_NUM] = {.name = "GET_QUEUE_NUM",
		.own_reply = true,
		.handle = message_get_queue_num},
	[VHOST_USER_SET_VRING_ENABLE] = {.name = "SET_VRING_ENABLE",
		.size = STATE,
		.handle = message_set_vring_enable,
		.run = message_set_vring_enable_run},
	[VHOST_USER_SET_BACKEND_REQ_FD] = {.name = "SET_BACKEND_REQ_FD",
		.fds_min = 1,
		.fds_max = 1,
		.needs = PF(BACKEND_REQ),
		.handle = message_set_backend_req_fd},
	[VHOST_USER_GET_CONFIG] = {.name = "GET_CONFIG",
		.size = sizeof(struct vhost_user_config),
		.size_max = VHOST_USER_PAYLOAD_MAX,
		.own_reply = true,
		.empty_on_error = true,
		.handle = message_get_config},
	[VHOST_USER_SET_CONFIG] = {.name = "SET_CONFIG",
		.size = sizeof(struct vhost_user_config),
		.size_max = VHOST_USER_PAYLOAD_MAX,
		.needs = PF(CONFIG),
		.handle = message_set_config},
	[VHOST_USER_IOTLB_MSG] = {.name = "IOTLB_MSG", .size = 32, .own_reply = true},
	[VHOST_USER_POSTCOPY_ADVISE] = {.name = "POSTCOPY_ADVISE",
		.own_reply = true,
		.needs = PF(PAGEFAULT)},
	[VHOST_USER_POSTCOPY_LISTEN] = {.name = "POSTCOPY_LISTEN", .needs = PF(PAGEFAULT)},
	[VHOST_USER_POSTCOPY_END] = {.name = "POSTCOPY_END",
		.own_reply = true,
		.needs = PF(PAGEFAULT)},
	[VHOST_USER_GET_INFLIGHT_FD] = {.name = "GET_INFLIGHT_FD",
		.size = 20,
		.size_max = sizeof(struct vhost_user_inflight),
		.own_reply = true,
		.needs = PF(INFLIGHT_SHMFD),
		.run = message_get_inflight_fd_run},
	[VHOST_USER_SET_INFLIGHT_FD] = {.name = "SET_INFLIGHT_FD",
		.size = 20,
		.size_max = sizeof(struct vhost_user_inflight),
		.fds_min = 1,
		.fds_max = 1,
		.needs = PF(INFLIGHT_SHMFD),
		.run = message_set_inflight_fd_run},
	[VHOST_USER_RESET_DEVICE] = {.name = "RESET_DEVICE",
		.needs = PF(RESET_DEVICE),
		.run = message_reset_device_run},
	[VHOST_USER_GET_MAX_MEM_SLOTS] = {.name = "GET_MAX_MEM_SLOTS",
		.own_reply = true,
		.handle = message_get_max_mem_slots},
	[VHOST_USER_ADD_MEM_REG] = {.name = "ADD_MEM_REG",
		.size = sizeof(struct vhost_user_single_region),
		.fds_min = 1,
		.fds_max = 1,
		.needs = PF(CONFIGURE_MEM_SLOTS),
		.handle = message_add_mem_reg,
		.run = message_change_memory_run},
	/* A stray descriptor is tolerated. */
	[VHOST_USER_REM_MEM_REG] = {.name = "REM_MEM_REG",
		.size = sizeof(struct vhost_user_single_region),
		.fds_max = 1,
		.needs = PF(CONFIGURE_MEM_SLOTS),
		.handle = message_rem_mem_reg,
		.run = message_change_memory_run},
	[VHOST_USER_GET_STATUS] = {.name = "GET_STATUS", .own_reply = true, .needs = PF(STATUS)},
	[VHOST_USER_GET_SHARED_OBJECT] = {.name = "GET_SHARED_OBJECT",
		.size = 16,
		.own_reply = true,
		.needs = PF(SHARED_OBJECT)},
	[VHOST_USER_SET_DEVICE_STATE_FD] = {.name = "SET_DEVICE_STATE_FD",
		.size = 8,
		.fds_min = 1,
		.fds_max = 1,
		.own_reply = true,
		.needs = PF(DEVICE_STATE)},
	[VHOST_USER_CHECK_DEVICE_STATE] = {.name = "CHECK_DEVICE_STATE",
		.own_reply = true,
		.needs = PF(DEVICE_STATE)},
	[VHOST_USER_GET_SHMEM_CONFIG] = {.name = "GET_SHMEM_CONFIG",
		.own_reply = true,
		.needs = PF(SHMEM)},
	[VHOST_USER_GET_VRING_BASE_SKIP_DRAIN] = {.name = "GET_VRING_BASE_SKIP_DRAIN",
		.size = STATE,
		.own_reply = true,
		.needs = PF(SKIP_DRAIN)},
};

int message_check(struct vhost_session *s)
{
	const struct vhost_user_header *header = &s->conn.header;
	const struct message_type *type = NULL;
	uint32_t size_max;

	s->reason.text[0] = '\0';
	s->reply_size = 0;
	s->need_reply = header->flags & VHOST_USER_NEED_REPLY &&
			session_has_protocol_feature(s, VHOST_USER_PF_REPLY_ACK);
	if (header->request < VHOST_USER_REQUESTS && message_types[header->request].name)
		type = &message_types[header->request];
	s->type = type;
	if (!type)
		return reason_set(&s->reason, -EOPNOTSUPP, "a message we do not know");
	size_max = type->size_max ? type->size_max : type->size;
	if (header->size < type->size || header->size > size_max)
		return reason_set(&s->reason, -EINVAL, "a payload of %u bytes", header->size);
	if (s->conn.fd_count < type->fds_min || s->conn.fd_count > type->fds_max)
		return reason_set(
			&s->reason, -EINVAL, "%u descriptors came with it", s->conn.fd_count);
	if (type->needs & ~s->protocol_features || (!type->run && !type->handle))
		return reason_set(
			&s->reason, -EOPNOTSUPP, "its protocol feature was not acknowledged");
	return 0;
}

void message_run(struct vhost_session *s, done_fn done, void *arg)
{
	s->message_done = done;
	s->message_arg = arg;
	flow_start(&s->message_flow, s->control, s->type->name, s->type->run);
}

enum flow_result message_settle_rings_run(struct flow *f)
{
	struct vhost_session *s = session_of_message_flow(f);

	FLOW_BEGIN(f);
	AWAIT(f, rings_settle(s, true, flow_resume, f));
	message_done(s, f->error);
	FLOW_END(f);
}

void message_done(struct vhost_session *s, int rc)
{
	s->message_done(s->message_arg, rc);
}

void *message_reply_init(struct vhost_session *s, uint32_t size)
{
	invariant(size <= sizeof(s->reply_buf));
	memset(s->reply_buf, 0, size);
	s->reply_size = size;
	return s->reply_buf;
}

void message_reply_u64(struct vhost_session *s, uint64_t value)
{
	memcpy(message_reply_init(s, sizeof(value)), &value, sizeof(value));
}

bool message_finish(struct vhost_session *s)
{
	const struct message_type *type = s->type;
	bool own = type && type->own_reply;

	s->reply_due = own || s->need_reply;
	if (s->status)
		log_limited(s->options.log_limit, LOG_WARNING,
			"%s: %s (message %u) was refused: %s", s->device->name,
			type ? type->name : "unknown", s->conn.header.request,
			reason_text(&s->reason, s->status));
	if (own) {
		if (s->status)
			s->reply_size = 0;
		return s->status == 0 || type->empty_on_error;
	}
	if (s->need_reply)
		message_reply_u64(s, s->status ? 1 : 0);
	return s->status == 0 || s->need_reply;
}
