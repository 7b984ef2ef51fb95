/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One message of the front-end is under way at a time: it is read whole, with its descriptors,
 * queued for the server, and if an answer is due kept until that has come. What is queued borrows
 * its descriptors from the message and the state, which do not change before the queue is empty,
 * since nothing is read meanwhile.
 *
 *	READING --whole, answer due--> AWAITING --answer--> REPLYING --written--> READING
 *	   ^ |
 *	   +-+ whole, no answer due
 *
 * A server that goes without KEEPER_SESSION_CLOSED has died or is about to: nothing is read from
 * the front-end until a successor is attached. A hang-up of the front-end ends the session at once,
 * in whatever phase it is.
 */
#include "keeper/relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "spec/keeper.h"

#define MESSAGES_PER_TURN 16

struct relay_out {
	struct list entry;
	unsigned fd_count;
	size_t size;
	size_t sent;
	int fds[KEPT_FDS_MAX]; /* borrowed */
	uint8_t bytes[];
};

uint64_t keeper_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SEC_NS + (uint64_t)now.tv_nsec;
}

void watch_set(int epoll_fd, struct watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	if (watch->fd < 0 || (watch->added && watch->events == events))
		return;
	if (epoll_ctl(epoll_fd, watch->added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, watch->fd, &event) <
		0)
		log_error("keeper: a descriptor cannot be watched: %s", strerror(errno));
	watch->added = true;
	watch->events = events;
}

void watch_close(int epoll_fd, struct watch *watch)
{
	if (watch->fd < 0)
		return;
	if (watch->added)
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	close(watch->fd);
	watch->fd = -1;
	watch->added = false;
}

/* ---- bytes ------------------------------------------------------------------------------- */

static int fds_take(struct msghdr *msg, struct kept_message *message, bool first)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (first && message->fd_count < KEPT_FDS_MAX)
				message->fds[message->fd_count++] = fd;
			else
				close(fd);
		}
		if (!first)
			return -EPROTO;
	}
	return msg->msg_flags & MSG_CTRUNC ? -EPROTO : 0;
}

static size_t message_size(const struct kept_message *message)
{
	return sizeof(message->header) + message->header.size;
}

/* 1: whole; 0: not yet; -EMSGSIZE: only the header is there, and its size is out of bounds;
 * -errno: over. */
static int message_read(int fd, struct kept_message *message, size_t *received)
{
	union {
		char bytes[CMSG_SPACE(KEPT_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;

	for (;;) {
		bool in_header = *received < sizeof(message->header);
		size_t end = in_header ? sizeof(message->header) : message_size(message);
		struct iovec iov = {.iov_base = (uint8_t *)&message->header + *received,
			.iov_len = end - *received};
		struct msghdr msg = {.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.bytes,
			.msg_controllen = sizeof(control.bytes)};
		ssize_t got;

		if (!in_header && *received == end)
			return 1;
		got = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (got < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		if (fds_take(&msg, message, *received == 0))
			return -EPROTO;
		if (got == 0)
			return -ECONNRESET;
		*received += (size_t)got;
		if (in_header && *received == end && message->header.size > VHOST_USER_PAYLOAD_MAX)
			return -EMSGSIZE;
	}
}

/* Bytes sent, 0 for not now, or -errno. */
static ssize_t bytes_send(int fd, const void *bytes, size_t size, const int *fds, unsigned fd_count)
{
	union {
		char bytes[CMSG_SPACE(KEPT_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t sent;

	if (fd_count) {
		struct cmsghdr *c;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
	}
	sent = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return sent;
}

/* ---- to the server ----------------------------------------------------------------------- */

static void relay_end(struct relay *relay)
{
	relay->ended = true;
	watch_close(relay->epoll_fd, &relay->front);
	watch_close(relay->epoll_fd, &relay->server);
}

static void relay_forget_out(struct relay *relay)
{
	while (!list_is_empty(&relay->out)) {
		struct relay_out *out = container_of(relay->out.next, struct relay_out, entry);

		list_remove(&out->entry);
		free(out);
	}
}

static int relay_queue(struct relay *relay, const struct vhost_user_header *header,
	const void *payload, size_t size, const int *fds, unsigned fd_count)
{
	struct relay_out *out = malloc(sizeof(*out) + sizeof(*header) + size);

	if (!out)
		return -ENOMEM;
	out->size = sizeof(*header) + size;
	out->sent = 0;
	out->fd_count = fd_count;
	memcpy(out->bytes, header, sizeof(*header));
	if (size)
		memcpy(out->bytes + sizeof(*header), payload, size);
	if (fd_count)
		memcpy(out->fds, fds, fd_count * sizeof(int));
	list_add_tail(&relay->out, &out->entry);
	return 0;
}

/* kept_send_fn */
static int relay_queue_replay(void *arg, uint32_t request, const void *payload, uint32_t size,
	const int *fds, unsigned fd_count)
{
	const struct vhost_user_header header = {
		.request = request, .flags = VHOST_USER_VERSION, .size = size};

	return relay_queue(arg, &header, payload, size, fds, fd_count);
}

static int relay_queue_current(struct relay *relay)
{
	const struct kept_message *m = &relay->current;

	/* Of one with a size out of bounds there is only the header, which the server refuses. */
	if (m->header.size > sizeof(m->payload))
		return relay_queue(relay, &m->header, NULL, 0, NULL, 0);
	return relay_queue(
		relay, &m->header, m->payload.bytes, m->header.size, m->fds, m->fd_count);
}

static void relay_flush(struct relay *relay)
{
	while (relay->server.fd >= 0 && !list_is_empty(&relay->out)) {
		struct relay_out *out = container_of(relay->out.next, struct relay_out, entry);
		ssize_t sent = bytes_send(relay->server.fd, out->bytes + out->sent,
			out->size - out->sent, out->fds, out->sent ? 0 : out->fd_count);

		if (sent <= 0)
			return; /* not now, or the reader finds out what has become of it */
		out->sent += (size_t)sent;
		if (out->sent < out->size)
			continue;
		list_remove(&out->entry);
		free(out);
	}
}

static void relay_watch(struct relay *relay)
{
	bool idle = list_is_empty(&relay->out);
	uint32_t front = 0;
	uint32_t server = relay->phase == RELAY_REPLYING ? 0 : EPOLLIN;

	if (relay->ended)
		return;
	if (relay->phase == RELAY_REPLYING)
		front = EPOLLOUT;
	else if (relay->phase == RELAY_READING && idle && relay->server.fd >= 0)
		front = EPOLLIN;
	watch_set(relay->epoll_fd, &relay->front, front);
	watch_set(relay->epoll_fd, &relay->server, server | (idle ? 0 : EPOLLOUT));
}

/* ---- from the front-end ------------------------------------------------------------------ */

static int relay_prepare_inflight(struct relay *relay)
{
	int rc;

	if (!kept_state_needs_inflight(&relay->state, &relay->current))
		return 0;
	rc = kept_state_make_inflight(&relay->state);
	return rc ? rc : kept_state_tell_inflight(&relay->state, relay_queue_replay, relay);
}

/* The message is whole. */
static int relay_forward(struct relay *relay)
{
	int rc = relay_prepare_inflight(relay);

	if (!rc)
		rc = relay_queue_current(relay);
	if (rc)
		return rc;
	if (kept_state_expects_reply(&relay->state, &relay->current.header)) {
		relay->phase = RELAY_AWAITING;
		relay->reply_received = 0;
	} else {
		kept_state_record(&relay->state, &relay->current, NULL);
	}
	relay_flush(relay);
	return 0;
}

/* The server judges it, and closes. */
static int relay_forward_header(struct relay *relay)
{
	relay->phase = RELAY_AWAITING;
	relay->reply_received = 0;
	return relay_queue_current(relay);
}

static void relay_read_front(struct relay *relay)
{
	for (unsigned i = 0; i < MESSAGES_PER_TURN; i++) {
		int rc;

		if (relay->ended || relay->phase != RELAY_READING || relay->server.fd < 0 ||
			!list_is_empty(&relay->out))
			return;
		if (relay->received == 0)
			kept_message_discard(&relay->current);
		rc = message_read(relay->front.fd, &relay->current, &relay->received);
		if (rc == 0)
			return;
		if (rc == 1) {
			relay->received = 0;
			rc = relay_forward(relay);
		} else if (rc == -EMSGSIZE) {
			rc = relay_forward_header(relay);
			relay_flush(relay);
		}
		if (rc == -EPROTO)
			log_warning(
				"%s: connection closed: descriptors in the middle of a message, "
				"or too many",
				relay->name);
		if (rc)
			relay_end(relay);
	}
}

/* ---- to the front-end -------------------------------------------------------------------- */

static void relay_next(struct relay *relay)
{
	kept_message_discard(&relay->reply);
	kept_message_discard(&relay->current);
	relay->received = 0;
	relay->reply_received = 0;
	relay->phase = RELAY_READING;
}

static void relay_write_reply(struct relay *relay)
{
	const struct kept_message *reply = &relay->reply;

	while (relay->reply_sent < message_size(reply)) {
		ssize_t sent = bytes_send(relay->front.fd,
			(const uint8_t *)&reply->header + relay->reply_sent,
			message_size(reply) - relay->reply_sent, reply->fds,
			relay->reply_sent ? 0 : reply->fd_count);

		if (sent < 0)
			relay_end(relay);
		if (sent <= 0)
			return;
		relay->reply_sent += (size_t)sent;
	}
	relay_next(relay);
}

/* A whole message of the server. */
static void relay_take_reply(struct relay *relay)
{
	if (relay->reply.header.request == KEEPER_SESSION_CLOSED) {
		relay_end(relay);
		return;
	}
	if (relay->replies_to_replay) {
		relay->replies_to_replay--;
		relay->reply_received = 0;
		kept_message_discard(&relay->reply);
		return;
	}
	if (relay->phase != RELAY_AWAITING) {
		log_error("%s: connection closed: the server answered what was not asked",
			relay->name);
		relay_end(relay);
		return;
	}
	kept_state_record(&relay->state, &relay->current, &relay->reply);
	relay->phase = RELAY_REPLYING;
	relay->reply_sent = 0;
	relay_write_reply(relay);
}

static void relay_lose_server(struct relay *relay)
{
	watch_close(relay->epoll_fd, &relay->server);
	relay_forget_out(relay);
	relay->lost_ns = keeper_now_ns();
}

static void relay_read_server(struct relay *relay)
{
	while (!relay->ended && relay->phase != RELAY_REPLYING) {
		int rc = message_read(relay->server.fd, &relay->reply, &relay->reply_received);

		if (rc == 0)
			return;
		if (rc < 0) {
			relay_lose_server(relay);
			return;
		}
		relay_take_reply(relay);
	}
}

/* ---- events ------------------------------------------------------------------------------ */

static void relay_front_ready(struct watch *watch, uint32_t events)
{
	struct relay *relay = container_of(watch, struct relay, front);

	if (relay->phase == RELAY_REPLYING && !(events & EPOLLHUP))
		relay_write_reply(relay);
	else if (events & EPOLLIN)
		relay_read_front(relay);
	else if (events & (EPOLLHUP | EPOLLERR))
		relay_end(relay);
	relay_watch(relay);
}

static void relay_server_ready(struct watch *watch, uint32_t events)
{
	struct relay *relay = container_of(watch, struct relay, server);

	if (events & EPOLLOUT)
		relay_flush(relay);
	if (relay->phase == RELAY_REPLYING && events & EPOLLHUP)
		relay_lose_server(relay);
	else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		relay_read_server(relay);
	relay_watch(relay);
}

/* ---- life -------------------------------------------------------------------------------- */

int relay_create(const struct relay_options *options, struct relay **ret_relay)
{
	struct relay *relay = calloc(1, sizeof(*relay));
	int rc = relay ? kept_state_init(&relay->state, options->queues) : -ENOMEM;

	if (rc) {
		free(relay);
		close(options->front_fd);
		close(options->server_fd);
		return rc;
	}
	list_init(&relay->entry);
	list_init(&relay->out);
	relay->epoll_fd = options->epoll_fd;
	memcpy(relay->name, options->name, strnlen(options->name, sizeof(relay->name) - 1));
	relay->front.fd = options->front_fd;
	relay->front.ready = relay_front_ready;
	relay->server.fd = options->server_fd;
	relay->server.ready = relay_server_ready;
	relay_watch(relay);
	*ret_relay = relay;
	return 0;
}

void relay_destroy(struct relay *relay)
{
	relay_end(relay);
	relay_forget_out(relay);
	kept_message_discard(&relay->current);
	kept_message_discard(&relay->reply);
	kept_state_fini(&relay->state);
	free(relay);
}

void relay_detach(struct relay *relay)
{
	if (relay->server.fd >= 0)
		relay_read_server(relay);
	if (relay->ended)
		return;
	relay_lose_server(relay);
	relay->lost_ns = 0;
	/* Half an answer is none. */
	if (relay->phase != RELAY_REPLYING) {
		relay->reply_received = 0;
		kept_message_discard(&relay->reply);
	}
	relay_watch(relay);
}

void relay_attach(struct relay *relay, int server_fd)
{
	int rc;

	relay->server.fd = server_fd;
	relay->lost_ns = 0;
	rc = kept_state_replay(&relay->state, relay_queue_replay, relay, &relay->replies_to_replay);
	if (!rc && relay->phase == RELAY_AWAITING)
		rc = relay_queue_current(relay);
	if (rc) {
		log_error("%s: connection closed: no memory to go on with it", relay->name);
		relay_end(relay);
		return;
	}
	relay_flush(relay);
	relay_watch(relay);
}
