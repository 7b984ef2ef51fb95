/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the daemon keeps what it is not told a place for, and where the command line looks for it.
 * Computed from the user and the environment alone; nothing is created here. Any thread, as long
 * as nobody changes the environment.
 *
 *	             root               others
 *	sockets      /run/sluice        $XDG_RUNTIME_DIR/sluice, else STATE/run
 *	state        /var/lib/sluice    $XDG_STATE_HOME/sluice, else ~/.local/state/sluice
 */
#ifndef BASE_PATHS_H
#define BASE_PATHS_H

#include "base/reason.h"

#define PATHS_MAX 4096

/* name below the directory, or "" for the directory itself. -ENOENT when the environment of an
 * ordinary user names no place, -ENAMETOOLONG. */
int paths_run(const char *name, char *buf, size_t size, struct reason *reason) MUST_CHECK;
int paths_state(const char *name, char *buf, size_t size, struct reason *reason) MUST_CHECK;

#define PATHS_RPC_SOCKET "rpc.sock"
#define PATHS_VHOST_DIR  "vhost"

#endif
