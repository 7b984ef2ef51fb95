/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Telling the front-end that the configuration space has changed.
 *
 *	changed --sent--> waiting --answer, or GET_CONFIG--> quiet
 *	   ^                 |
 *	   +--changed again--+ (sent when the answer is there: later changes coalesce)
 *
 * Nothing here waits: the front-end may not read for a long time, and may at that very moment wait
 * for us on the main channel. Written bytes stay in order: a message that went out in part is
 * finished before the next.
 *
 * QEMU answers but reads nothing while its device is not started: so a change is forgotten only
 * when a GET_CONFIG has followed, and is told again when a ring is enabled.
 *
 * Answers are read and thrown away. A lost or broken back channel is no error of the device.
 */
#include "vhost/backchannel_impl.h"

#include <errno.h>

static void backchannel_readable(struct os_watch *watch);
static void backchannel_writable(struct os_watch *watch);

void backchannel_init(struct backchannel *back, struct os *os, struct reactor *reactor)
{
	back->os = os;
	back->reactor = reactor;
	back->fd = -1;
	back->readable.kind = OS_WATCH_READABLE;
	back->readable.ready = backchannel_readable;
	back->writable.kind = OS_WATCH_WRITABLE;
	back->writable.ready = backchannel_writable;
}

void backchannel_close(struct backchannel *back)
{
	if (back->fd < 0)
		return;
	if (back->readable.armed)
		reactor_unwatch(back->reactor, &back->readable);
	if (back->writable.armed)
		reactor_unwatch(back->reactor, &back->writable);
	back->os->ops->close(back->os, back->fd);
	back->fd = -1;
	/* Whoever was told through it may not have heard. */
	back->changed = back->unread;
	back->waiting = false;
	back->sent = 0;
	back->received = 0;
}

/* ---- sending ----------------------------------------------------------------------------- */

static void backchannel_send(struct backchannel *back)
{
	int64_t sent = 0;

	if (back->fd < 0 || back->writable.armed)
		return;
	if (back->sent == 0) {
		if (!back->changed || back->waiting)
			return;
		back->out = (struct vhost_user_header){
			.request = VHOST_USER_BACKEND_CONFIG_CHANGE_MSG,
			.flags =
				VHOST_USER_VERSION | (back->need_reply ? VHOST_USER_NEED_REPLY : 0),
		};
		back->changed = false;
		back->waiting = true;
	}
	while (sent >= 0 && back->sent < sizeof(back->out)) {
		sent = back->os->ops->socket_send(back->os, back->fd,
			(uint8_t *)&back->out + back->sent, sizeof(back->out) - back->sent, NULL,
			0);
		if (sent > 0)
			back->sent += (size_t)sent;
	}
	if (sent == -EAGAIN)
		reactor_watch(back->reactor, &back->writable);
	else if (sent < 0)
		backchannel_close(back);
	else
		back->sent = 0;
}

static void backchannel_writable(struct os_watch *watch)
{
	backchannel_send(container_of(watch, struct backchannel, writable));
}

void backchannel_config_changed(struct backchannel *back)
{
	back->changed = true;
	back->unread = true;
	backchannel_send(back);
}

/* Without REPLY_ACK this is the only answer there is. */
void backchannel_config_read(struct backchannel *back)
{
	back->unread = false;
	if (!back->need_reply)
		back->waiting = false;
	backchannel_send(back);
}

void backchannel_rings_enabled(struct backchannel *back)
{
	if (!back->unread)
		return;
	back->changed = true;
	if (!back->need_reply)
		back->waiting = false;
	backchannel_send(back);
}

/* ---- answers ----------------------------------------------------------------------------- */

/* One read of at most the rest of this answer: 0, -EAGAIN, or that it is over. */
static int backchannel_read(struct backchannel *back)
{
	uint8_t payload[64];
	size_t header = sizeof(back->in);
	bool in_header = back->received < header;
	size_t left = in_header ? header - back->received : header + back->in.size - back->received;
	int fds[OS_FDS_MAX];
	unsigned nfds = 0;
	int64_t got = back->os->ops->socket_receive(back->os, back->fd,
		in_header ? (uint8_t *)&back->in + back->received : payload,
		in_header ? left : u64_min(left, sizeof(payload)), fds, OS_FDS_MAX, &nfds);

	for (unsigned i = 0; i < nfds; i++)
		back->os->ops->close(back->os, fds[i]);
	if (got <= 0)
		return got == 0 ? -ECONNRESET : (int)got;
	back->received += (size_t)got;
	if (in_header && back->received == header && back->in.size > VHOST_USER_PAYLOAD_MAX)
		return -EPROTO;
	if (back->received >= header && back->received == header + back->in.size) {
		back->received = 0;
		if (back->in.request == VHOST_USER_BACKEND_CONFIG_CHANGE_MSG)
			back->waiting = false;
	}
	return 0;
}

#define BACKCHANNEL_READS_PER_TURN 16

static void backchannel_readable(struct os_watch *watch)
{
	struct backchannel *back = container_of(watch, struct backchannel, readable);
	int rc = 0;

	for (unsigned i = 0; i < BACKCHANNEL_READS_PER_TURN && rc == 0; i++)
		rc = backchannel_read(back);
	if (rc && rc != -EAGAIN) {
		backchannel_close(back);
		return;
	}
	reactor_watch(back->reactor, &back->readable);
	backchannel_send(back);
}

int backchannel_open(struct backchannel *back, int fd, bool need_reply)
{
	unsigned nfds = 0;
	int stray;
	uint8_t byte;
	/* Reads nothing, but tells whether it is a socket. */
	int64_t rc = back->os->ops->socket_receive(back->os, fd, &byte, 0, &stray, 1, &nfds);

	if (nfds)
		back->os->ops->close(back->os, stray);
	if (rc < 0 && rc != -EAGAIN)
		return (int)rc;
	backchannel_close(back);
	back->fd = fd;
	back->need_reply = need_reply;
	back->readable.fd = fd;
	back->writable.fd = fd;
	reactor_watch(back->reactor, &back->readable);
	backchannel_send(back);
	return 0;
}
