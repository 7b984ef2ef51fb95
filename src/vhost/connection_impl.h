/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The framed byte stream of one vhost-user connection: whole messages in, whole replies out, in the
 * control reactor's turns. One receive and one send at most are under way. Reference section 2.
 */
#ifndef VHOST_CONNECTION_IMPL_H
#define VHOST_CONNECTION_IMPL_H

#include "core/flow.h"
#include "spec/vhost_user.h"

struct connection_waiter {
	done_fn done; /* NULL: nobody waits */
	void *arg;
};

struct connection {
	struct os *os;
	struct reactor *reactor;
	int fd; /* -1: closed */
	bool kept; /* the keeper is told that it is closed on purpose */
	const char *fault; /* literal: what the peer did wrong, after -EPROTO */

	/* the message being received, or received */
	struct vhost_user_header header;
	union {
		uint8_t bytes[VHOST_USER_PAYLOAD_MAX];
		uint64_t u64;
		struct vhost_user_vring_state state;
		struct vhost_user_vring_addr addr;
		struct vhost_user_single_region single;
		struct vhost_user_log log;
	} payload;
	size_t received;
	int fds[OS_FDS_MAX]; /* owned; a handler that keeps one stores -1 in its place */
	unsigned fd_count;
	struct os_watch readable;
	struct deferred receive_step;
	struct connection_waiter receiver;
	uint64_t turn_ns; /* fairness: messages taken in the turn that began then */
	unsigned turn_messages;

	/* the message being sent */
	uint8_t tx[sizeof(struct vhost_user_header) + VHOST_USER_PAYLOAD_MAX];
	size_t tx_size;
	size_t tx_sent;
	int tx_fd; /* borrowed; -1: none */
	struct os_watch writable;
	struct deferred send_step;
	struct connection_waiter sender;
};

/* Takes over fd. The struct is zeroed by the caller. */
void connection_init(struct connection *conn, struct os *os, struct reactor *reactor, int fd);

/* The next message into header, payload, fds; what was there before is discarded. done gets 0,
 * -ECONNRESET at the end of the stream, -EPROTO for a framing violation (fault), or an error of the
 * socket. */
void connection_receive(struct connection *conn, done_fn done, void *arg);
/* Closes the descriptors of the received message that nobody kept. */
void connection_discard(struct connection *conn);

/* payload (at most VHOST_USER_PAYLOAD_MAX bytes) is copied; fd (-1: none) is borrowed until done.
 */
void connection_send(struct connection *conn, uint32_t request, uint32_t flags, const void *payload,
	uint32_t size, int fd, done_fn done, void *arg);

/* At any time, also twice. Waits under way end with -ECONNRESET. */
void connection_close(struct connection *conn);

#endif
