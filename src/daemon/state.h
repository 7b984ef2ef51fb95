/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The configuration over restarts: a file in the state directory that has what was configured, and
 * is there, whole, after an orderly stop, kill -9 and power loss. docs/configuration.md describes
 * it for users.
 *
 * The server's keeper (rpc/server.h) is in here: a change is answered when it is in the file. When
 * the directory cannot take another one (its disk is full) changes are refused before they happen.
 */
#ifndef DAEMON_STATE_H
#define DAEMON_STATE_H

#include <jansson.h>

#include "rpc/server.h"

struct state;

/* Blocks: before anything is served. Takes the directory for this process: -EBUSY while another
 * has it. *ret_subsystems: what was kept, a new reference; an empty array when nothing was. What is
 * damaged is set aside and told; -EINVAL when the file is another version's. */
int state_open(struct os *os, struct reactor *control, const char *directory, struct reason *reason,
	struct state **ret_state, json_t **ret_subsystems) MUST_CHECK;
/* What is to be kept, asked on the control reactor: all of it new, nothing shared with anybody; a
 * worker frees it. NULL without memory. Before the first change. */
void state_set_source(struct state *state, json_t *(*collect)(void *arg), void *arg);
const struct rpc_keeper *state_get_keeper(struct state *state);
/* No change comes any more: done when nothing is being written. */
void state_stop(struct state *state, done_fn done, void *arg);
/* Stopped, or never used; the control reactor does not run any more. May block. */
void state_close(struct state *state);

#endif
