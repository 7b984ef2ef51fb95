/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The raw level: a Unix stream socket, bytes with file descriptors, and framed messages with no
 * opinion about what is right. Everything waits at most conn->timeout_ms.
 *
 * Errors, here and in frontend.h:
 *   -ETIMEDOUT   nothing came (or could be sent) in time
 *   -ECONNRESET  the back-end closed the connection
 *   -EPROTO      the back-end answered against the protocol
 *   -EREMOTEIO   the back-end refused: status not zero
 *   others       of the system call that failed
 * `why` holds a sentence about the last failure.
 */
#ifndef FRONTEND_CONNECTION_H
#define FRONTEND_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frontend/wire.h"

#define FE_MAX_FDS     253u
#define FE_MAX_PAYLOAD 4096u

struct fe_conn {
	int fd; /* -1: closed */
	int timeout_ms;
	char why[200];
};

struct fe_msg {
	struct fe_header header;
	union {
		uint8_t bytes[FE_MAX_PAYLOAD];
		uint64_t u64;
		struct fe_vring_state state;
		struct fe_vring_addr addr;
		struct fe_mem_single region;
		struct fe_log_base log;
		struct fe_config_header config;
		struct fe_inflight_desc inflight;
	};
	int fds[FE_MAX_FDS]; /* received ones belong to the caller: fe_msg_close_fds() */
	uint32_t fd_count;
};

/* Ways to get a connection. `conn` need not be initialised. */
int fe_conn_connect(struct fe_conn *conn, const char *path, int timeout_ms);
void fe_conn_adopt(struct fe_conn *conn, int fd, int timeout_ms); /* takes fd over */
int fe_conn_listen(
	const char *path); /* for back-ends that connect to us: a listening fd, or -errno */
int fe_conn_accept(struct fe_conn *conn, int listen_fd, int timeout_ms);
void fe_conn_close(struct fe_conn *conn);

/* Bytes as they are; the fds go with the first byte. All bytes are sent, or an error returned. */
int fe_conn_send(
	struct fe_conn *conn, const void *bytes, size_t len, const int *fds, uint32_t fd_count);
/* The same, one send per byte. */
int fe_conn_send_slowly(
	struct fe_conn *conn, const void *bytes, size_t len, const int *fds, uint32_t fd_count);
/* Exactly len bytes; fds that come with them are appended to msg->fds. */
int fe_conn_recv(struct fe_conn *conn, void *bytes, size_t len, struct fe_msg *msg);

/* 0 when the back-end closes within timeout_ms; -ETIMEDOUT when it stays open; -EPROTO when it
 * sends something instead. */
int fe_conn_wait_close(struct fe_conn *conn, int timeout_ms);
/* 0 when nothing at all comes for quiet_ms; -EPROTO when bytes come, -ECONNRESET at a close. */
int fe_conn_expect_silence(struct fe_conn *conn, int quiet_ms);

/* Fills the header and copies the payload; payload may be NULL (zeroes). No fds. */
void fe_msg_init(
	struct fe_msg *msg, uint32_t id, uint32_t flags, const void *payload, uint32_t size);
void fe_msg_add_fd(struct fe_msg *msg, int fd); /* borrowed */
int fe_msg_send(struct fe_conn *conn, const struct fe_msg *msg);
/* One message, of which only the size is checked (<= FE_MAX_PAYLOAD, else -EPROTO). */
int fe_msg_recv(struct fe_conn *conn, struct fe_msg *ret_msg);
/* One message that must be the reply to `id`: flags exactly 5, the id, `size` bytes, `fd_count`
 * fds; else -EPROTO (and its fds are closed). */
int fe_msg_recv_reply(struct fe_conn *conn, uint32_t id, uint32_t size, uint32_t fd_count,
	struct fe_msg *ret_msg);
void fe_msg_close_fds(struct fe_msg *msg);
const char *fe_msg_name(uint32_t id);

#endif
