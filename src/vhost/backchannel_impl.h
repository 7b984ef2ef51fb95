/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The back channel: our requests to the front-end, of which we send one, CONFIG_CHANGE_MSG.
 * Reference sections 5 and 13.1. Control reactor.
 */
#ifndef VHOST_BACKCHANNEL_IMPL_H
#define VHOST_BACKCHANNEL_IMPL_H

#include "core/reactor.h"
#include "spec/vhost_user.h"

struct backchannel {
	struct os *os;
	struct reactor *reactor;
	int fd; /* -1: none */
	bool need_reply; /* REPLY_ACK is agreed */
	bool changed; /* the configuration changed and the front-end was not told */
	bool unread; /* it was not read since the change */
	bool waiting; /* told; no answer yet */
	struct vhost_user_header out;
	size_t sent; /* bytes of out that are written; 0 or sizeof(out): nothing in part */
	struct vhost_user_header in;
	size_t received; /* of the header, then of the payload, which is thrown away */
	struct os_watch readable;
	struct os_watch writable;
};

void backchannel_init(struct backchannel *back, struct os *os, struct reactor *reactor);
/* Replaces an earlier one; fd is handed over when 0 is returned. -ENOTSOCK. */
int backchannel_open(struct backchannel *back, int fd, bool need_reply) MUST_CHECK;
void backchannel_close(struct backchannel *back);

void backchannel_config_changed(struct backchannel *back);
/* The front-end has read the configuration. */
void backchannel_config_read(struct backchannel *back);
/* A ring was enabled: what QEMU ignored while the device was not started is said again. */
void backchannel_rings_enabled(struct backchannel *back);

#endif
