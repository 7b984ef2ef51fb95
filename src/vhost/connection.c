/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Framing of vhost-user messages over a stream socket. Reference sections 2.1 to 2.3 and 19.
 *
 * Read exactly the 12 bytes of a header, then exactly the bytes of its payload: reading ahead over
 * the end of a message would mix up the descriptors of two. Descriptors come with the first byte of
 * a message; anywhere else they are a violation. All of them are owned by the connection until the
 * message is discarded. A header is judged (version, reply flag, size) before a byte of its payload
 * is read, and the buffers have a fixed size: a peer cannot make us allocate.
 *
 * A turn takes a bounded number of messages from one connection; then the watch is armed instead,
 * which fires in the next turn. While a reply cannot be written nothing is read: that is the back
 * pressure (the session never has both under way). No timeouts here: the session has them.
 */
#include "vhost/connection_impl.h"

#include <errno.h>
#include <string.h>

#include "spec/keeper.h"

#define MESSAGES_PER_TURN 16

static void connection_receive_step(struct deferred *step);
static void connection_readable(struct os_watch *watch);
static void connection_send_step(struct deferred *step);
static void connection_writable(struct os_watch *watch);

void connection_init(struct connection *conn, struct os *os, struct reactor *reactor, int fd)
{
	conn->os = os;
	conn->reactor = reactor;
	conn->fd = fd;
	conn->readable.fd = fd;
	conn->readable.kind = OS_WATCH_READABLE;
	conn->readable.ready = connection_readable;
	conn->receive_step.run = connection_receive_step;
	conn->writable.fd = fd;
	conn->writable.kind = OS_WATCH_WRITABLE;
	conn->writable.ready = connection_writable;
	conn->send_step.run = connection_send_step;
}

/* ---- receiving --------------------------------------------------------------------------- */

void connection_discard(struct connection *conn)
{
	for (unsigned i = 0; i < conn->fd_count; i++) {
		if (conn->fds[i] >= 0)
			conn->os->ops->close(conn->os, conn->fds[i]);
	}
	conn->fd_count = 0;
	conn->received = 0;
}

static int connection_fault(struct connection *conn, const char *fault)
{
	conn->fault = fault;
	return -EPROTO;
}

static int connection_check_header(struct connection *conn)
{
	uint32_t flags = conn->header.flags;

	if ((flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION)
		return connection_fault(conn, "a message of another protocol version");
	if (flags & VHOST_USER_REPLY)
		return connection_fault(conn, "a reply where a request was due");
	if (conn->header.size > VHOST_USER_PAYLOAD_MAX)
		return connection_fault(conn, "a payload of more than 4096 bytes");
	return 0;
}

/* Where the next bytes go, and how many at most: never past the end of this message. */
static size_t connection_window(struct connection *conn, uint8_t **ret_start)
{
	size_t header = sizeof(conn->header);

	if (conn->received < header) {
		*ret_start = (uint8_t *)&conn->header + conn->received;
		return header - conn->received;
	}
	*ret_start = conn->payload.bytes + (conn->received - header);
	return header + conn->header.size - conn->received;
}

static bool connection_has_message(const struct connection *conn)
{
	return conn->received >= sizeof(conn->header) &&
	       conn->received == sizeof(conn->header) + conn->header.size;
}

/* One read. Descriptors that come late are closed here, those of the first byte are kept. */
static int connection_read(struct connection *conn)
{
	int late_fds[OS_FDS_MAX];
	bool first = conn->received == 0;
	bool in_header = conn->received < sizeof(conn->header);
	unsigned nfds = 0;
	uint8_t *start;
	size_t len = connection_window(conn, &start);
	int64_t got = conn->os->ops->socket_receive(
		conn->os, conn->fd, start, len, first ? conn->fds : late_fds, OS_FDS_MAX, &nfds);

	if (first)
		conn->fd_count = nfds;
	for (unsigned i = 0; !first && i < nfds; i++)
		conn->os->ops->close(conn->os, late_fds[i]);
	if (got == -EMSGSIZE)
		return connection_fault(conn, "more descriptors than a message can carry");
	if (!first && nfds)
		return connection_fault(conn, "descriptors in the middle of a message");
	if (got < 0)
		return (int)got;
	if (got == 0)
		return -ECONNRESET;
	conn->received += (size_t)got;
	if (in_header && conn->received == sizeof(conn->header))
		return connection_check_header(conn);
	return 0;
}

static void connection_receive_end(struct connection *conn, int rc)
{
	struct connection_waiter waiter = conn->receiver;

	conn->receiver.done = NULL;
	if (conn->readable.armed)
		reactor_unwatch(conn->reactor, &conn->readable);
	waiter.done(waiter.arg, rc);
}

/* May this turn take one more message? */
static bool connection_take_share(struct connection *conn)
{
	if (conn->turn_ns != reactor_now(conn->reactor)) {
		conn->turn_ns = reactor_now(conn->reactor);
		conn->turn_messages = 0;
	}
	return conn->turn_messages++ < MESSAGES_PER_TURN;
}

static void connection_try_receive(struct connection *conn)
{
	int rc = 0;

	while (rc == 0 && !connection_has_message(conn))
		rc = connection_read(conn);
	if (rc == -EAGAIN)
		reactor_watch(conn->reactor, &conn->readable);
	else
		connection_receive_end(conn, rc);
}

static void connection_receive_step(struct deferred *step)
{
	struct connection *conn = container_of(step, struct connection, receive_step);

	if (!conn->receiver.done)
		return;
	if (conn->fd < 0) {
		connection_receive_end(conn, -ECONNRESET);
	} else if (!conn->readable.armed) {
		if (connection_take_share(conn))
			connection_try_receive(conn);
		else
			reactor_watch(conn->reactor, &conn->readable);
	}
}

static void connection_readable(struct os_watch *watch)
{
	struct connection *conn = container_of(watch, struct connection, readable);

	if (conn->receiver.done && conn->fd >= 0)
		connection_try_receive(conn);
}

void connection_receive(struct connection *conn, done_fn done, void *arg)
{
	if (connection_has_message(conn))
		connection_discard(conn);
	conn->receiver.done = done;
	conn->receiver.arg = arg;
	reactor_defer(conn->reactor, DEFER_COMPLETE, &conn->receive_step);
}

/* ---- sending ----------------------------------------------------------------------------- */

static void connection_send_end(struct connection *conn, int rc)
{
	struct connection_waiter waiter = conn->sender;

	conn->sender.done = NULL;
	waiter.done(waiter.arg, rc);
}

static void connection_send_step(struct deferred *step)
{
	struct connection *conn = container_of(step, struct connection, send_step);
	int64_t sent = 0;

	if (!conn->sender.done || conn->writable.armed)
		return;
	if (conn->fd < 0) {
		connection_send_end(conn, -ECONNRESET);
		return;
	}
	while (sent >= 0 && conn->tx_sent < conn->tx_size) {
		sent = conn->os->ops->socket_send(conn->os, conn->fd, conn->tx + conn->tx_sent,
			conn->tx_size - conn->tx_sent, &conn->tx_fd,
			conn->tx_fd >= 0 && conn->tx_sent == 0);
		if (sent > 0)
			conn->tx_sent += (size_t)sent;
	}
	if (sent == -EAGAIN)
		reactor_watch(conn->reactor, &conn->writable);
	else
		connection_send_end(conn, sent < 0 ? (int)sent : 0);
}

static void connection_writable(struct os_watch *watch)
{
	struct connection *conn = container_of(watch, struct connection, writable);

	connection_send_step(&conn->send_step);
}

void connection_send(struct connection *conn, uint32_t request, uint32_t flags, const void *payload,
	uint32_t size, int fd, done_fn done, void *arg)
{
	struct vhost_user_header header = {.request = request, .flags = flags, .size = size};

	invariant(!conn->sender.done && size <= VHOST_USER_PAYLOAD_MAX);
	memcpy(conn->tx, &header, sizeof(header));
	if (size)
		memcpy(conn->tx + sizeof(header), payload, size);
	conn->tx_size = sizeof(header) + size;
	conn->tx_sent = 0;
	conn->tx_fd = fd;
	conn->sender.done = done;
	conn->sender.arg = arg;
	reactor_defer(conn->reactor, DEFER_COMPLETE, &conn->send_step);
}

/* It always fits: one answer at most is on its way. */
static void connection_tell_keeper(struct connection *conn)
{
	const struct vhost_user_header header = {
		.request = KEEPER_SESSION_CLOSED, .flags = VHOST_USER_VERSION};
	int none = -1;

	conn->os->ops->socket_send(conn->os, conn->fd, &header, sizeof(header), &none, 0);
}

void connection_close(struct connection *conn)
{
	if (conn->fd < 0)
		return;
	if (conn->kept)
		connection_tell_keeper(conn);
	if (conn->readable.armed)
		reactor_unwatch(conn->reactor, &conn->readable);
	if (conn->writable.armed)
		reactor_unwatch(conn->reactor, &conn->writable);
	conn->os->ops->close(conn->os, conn->fd);
	conn->fd = -1;
	if (conn->receiver.done)
		reactor_defer(conn->reactor, DEFER_COMPLETE, &conn->receive_step);
	if (conn->sender.done)
		reactor_defer(conn->reactor, DEFER_COMPLETE, &conn->send_step);
}
