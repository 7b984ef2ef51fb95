/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vhost-user messages: framing, and the strict reading of replies. A reply must carry flags 5, the
 * id of its request and exactly the bytes and file descriptors that belong to it; all less strict
 * would let a back-end pass here that QEMU or rust-vmm disconnect.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "frontend/connection.h"
#include "frontend/frontend_impl.h"

const char *fe_msg_name(uint32_t id)
{
	static const char *const names[] = {
		[FE_GET_FEATURES] = "GET_FEATURES",
		[FE_SET_FEATURES] = "SET_FEATURES",
		[FE_SET_OWNER] = "SET_OWNER",
		[FE_RESET_OWNER] = "RESET_OWNER",
		[FE_SET_MEM_TABLE] = "SET_MEM_TABLE",
		[FE_SET_LOG_BASE] = "SET_LOG_BASE",
		[FE_SET_LOG_FD] = "SET_LOG_FD",
		[FE_SET_VRING_NUM] = "SET_VRING_NUM",
		[FE_SET_VRING_ADDR] = "SET_VRING_ADDR",
		[FE_SET_VRING_BASE] = "SET_VRING_BASE",
		[FE_GET_VRING_BASE] = "GET_VRING_BASE",
		[FE_SET_VRING_KICK] = "SET_VRING_KICK",
		[FE_SET_VRING_CALL] = "SET_VRING_CALL",
		[FE_SET_VRING_ERR] = "SET_VRING_ERR",
		[FE_GET_PROTOCOL_FEATURES] = "GET_PROTOCOL_FEATURES",
		[FE_SET_PROTOCOL_FEATURES] = "SET_PROTOCOL_FEATURES",
		[FE_GET_QUEUE_NUM] = "GET_QUEUE_NUM",
		[FE_SET_VRING_ENABLE] = "SET_VRING_ENABLE",
		[FE_SET_BACKEND_REQ_FD] = "SET_BACKEND_REQ_FD",
		[FE_IOTLB_MSG] = "IOTLB_MSG",
		[FE_GET_CONFIG] = "GET_CONFIG",
		[FE_SET_CONFIG] = "SET_CONFIG",
		[FE_POSTCOPY_ADVISE] = "POSTCOPY_ADVISE",
		[FE_POSTCOPY_LISTEN] = "POSTCOPY_LISTEN",
		[FE_POSTCOPY_END] = "POSTCOPY_END",
		[FE_GET_INFLIGHT_FD] = "GET_INFLIGHT_FD",
		[FE_SET_INFLIGHT_FD] = "SET_INFLIGHT_FD",
		[FE_RESET_DEVICE] = "RESET_DEVICE",
		[FE_VRING_KICK] = "VRING_KICK",
		[FE_GET_MAX_MEM_SLOTS] = "GET_MAX_MEM_SLOTS",
		[FE_ADD_MEM_REG] = "ADD_MEM_REG",
		[FE_REM_MEM_REG] = "REM_MEM_REG",
		[FE_SET_STATUS] = "SET_STATUS",
		[FE_GET_STATUS] = "GET_STATUS",
		[FE_SET_DEVICE_STATE_FD] = "SET_DEVICE_STATE_FD",
		[FE_CHECK_DEVICE_STATE] = "CHECK_DEVICE_STATE",
		[FE_GET_SHMEM_CONFIG] = "GET_SHMEM_CONFIG",
	};

	if (id < sizeof(names) / sizeof(names[0]) && names[id])
		return names[id];
	return "message without a name here";
}

void fe_msg_init(
	struct fe_msg *msg, uint32_t id, uint32_t flags, const void *payload, uint32_t size)
{
	msg->header = (struct fe_header){.id = id, .flags = flags, .size = size};
	msg->fd_count = 0;
	if (size > FE_MAX_PAYLOAD)
		size = FE_MAX_PAYLOAD;
	if (payload)
		memcpy(msg->bytes, payload, size);
	else
		memset(msg->bytes, 0, size);
}

void fe_msg_add_fd(struct fe_msg *msg, int fd)
{
	if (msg->fd_count < FE_MAX_FDS)
		msg->fds[msg->fd_count++] = fd;
}

void fe_msg_close_fds(struct fe_msg *msg)
{
	uint32_t i;

	for (i = 0; i < msg->fd_count; i++)
		close(msg->fds[i]);
	msg->fd_count = 0;
}

int fe_msg_send(struct fe_conn *conn, const struct fe_msg *msg)
{
	uint8_t bytes[sizeof(struct fe_header) + FE_MAX_PAYLOAD];
	uint32_t size = msg->header.size;

	/* A size beyond what we hold is a test's lie in the header: all there is goes out. */
	if (size > FE_MAX_PAYLOAD)
		size = FE_MAX_PAYLOAD;
	memcpy(bytes, &msg->header, sizeof(struct fe_header));
	memcpy(bytes + sizeof(struct fe_header), msg->bytes, size);
	return fe_conn_send(conn, bytes, sizeof(struct fe_header) + size, msg->fds, msg->fd_count);
}

int fe_msg_recv(struct fe_conn *conn, struct fe_msg *ret_msg)
{
	int rc;

	ret_msg->fd_count = 0;
	rc = fe_conn_recv(conn, &ret_msg->header, sizeof(ret_msg->header), ret_msg);
	if (!rc && ret_msg->header.size > FE_MAX_PAYLOAD)
		rc = fe_conn_fail(conn, -EPROTO, "%s: a payload of %u bytes is announced",
			fe_msg_name(ret_msg->header.id), ret_msg->header.size);
	if (!rc && ret_msg->header.size)
		rc = fe_conn_recv(conn, ret_msg->bytes, ret_msg->header.size, ret_msg);
	if (rc)
		fe_msg_close_fds(ret_msg);
	return rc;
}

int fe_msg_recv_reply(
	struct fe_conn *conn, uint32_t id, uint32_t size, uint32_t fd_count, struct fe_msg *ret_msg)
{
	int rc = fe_msg_recv(conn, ret_msg);
	const struct fe_header *header = &ret_msg->header;

	if (rc) {
		char why[sizeof(conn->why)];

		memcpy(why, conn->why, sizeof(why));
		return fe_conn_fail(conn, rc, "reply to %s: %.150s", fe_msg_name(id), why);
	}
	if (header->id != id)
		rc = fe_conn_fail(
			conn, -EPROTO, "reply to %s carries id %u", fe_msg_name(id), header->id);
	else if (header->flags != FE_FLAGS_OF_REPLY)
		rc = fe_conn_fail(
			conn, -EPROTO, "reply to %s has flags %#x", fe_msg_name(id), header->flags);
	else if (header->size != size)
		rc = fe_conn_fail(conn, -EPROTO, "reply to %s has %u bytes instead of %u",
			fe_msg_name(id), header->size, size);
	else if (ret_msg->fd_count != fd_count)
		rc = fe_conn_fail(conn, -EPROTO, "reply to %s has %u fds instead of %u",
			fe_msg_name(id), ret_msg->fd_count, fd_count);
	if (rc)
		fe_msg_close_fds(ret_msg);
	return rc;
}
