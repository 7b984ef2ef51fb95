/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The serving process's side of the keeper (docs/keeper.md): sessions of a process before this one
 * come from it, new connections are given to it, and it speaks for this process to the service
 * manager.
 */
#ifndef DAEMON_KEPT_H
#define DAEMON_KEPT_H

#include "base/util.h"
#include "vhost/controller.h"

struct kept;

/* NULL in *ret_kept: there is no keeper. Before threads are started. */
int kept_open(struct kept **ret_kept) MUST_CHECK;
/* NULL is allowed. */
void kept_close(struct kept *kept);
/* For vhost; lives as long as kept. */
const struct vhost_keeper *kept_get_vhost_keeper(struct kept *kept);
void kept_tell_ready(struct kept *kept);

#endif
