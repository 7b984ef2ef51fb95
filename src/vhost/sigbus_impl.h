/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory of a front-end that is taken away under us: the process's SIGBUS handler and the table of
 * mappings that it knows. Reference section 9.4.
 */
#ifndef VHOST_SIGBUS_IMPL_H
#define VHOST_SIGBUS_IMPL_H

#include <stdatomic.h>

#include "base/util.h"

struct os;
struct sigbus_slot;

/* Whose mappings they are; told once. Outlives its slots. */
struct sigbus_owner {
	_Atomic bool hit; /* set by the handler, on whatever thread */
	struct os *os;
	int event_fd; /* signalled after hit was set */
};

/* Installs the handler, once for the process; counted. */
int sigbus_install(void) MUST_CHECK;
void sigbus_uninstall(void);

/* Control reactor. A fault in [addr, addr + len) replaces all of it by zero pages and marks the
 * owner. -ENOMEM. */
int sigbus_add(void *addr, size_t len, struct sigbus_owner *owner,
	struct sigbus_slot **ret_slot) MUST_CHECK;
/* Before the range is unmapped, when no thread can touch it any more. NULL is allowed. */
void sigbus_remove(struct sigbus_slot *slot);

#endif
