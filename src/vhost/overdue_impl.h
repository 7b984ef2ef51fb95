/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests that take too long are named in the log, as a rule once each. Control reactor; it looks
 * while a front-end is connected.
 */
#ifndef VHOST_OVERDUE_IMPL_H
#define VHOST_OVERDUE_IMPL_H

#include "core/reactor.h"

struct vhost;

struct overdue {
	struct vhost *vhost;
	uint64_t limit_ns;
	uint64_t looked_ns; /* the last time */
	struct timer timer;
};

/* limit_ns 0: 30 s. */
void overdue_init(struct overdue *overdue, struct vhost *vhost, uint64_t limit_ns);
void overdue_start(struct overdue *overdue);
void overdue_stop(struct overdue *overdue);

#endif
