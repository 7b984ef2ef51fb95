/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between state.c (who waits for what, when something is written) and state_file.c (the files).
 */
#ifndef DAEMON_STATE_IMPL_H
#define DAEMON_STATE_IMPL_H

#include <jansson.h>

#include "base/reason.h"
#include "os/os.h"

struct state_file {
	struct os *os;
	char *directory;
	char *path; /* config.json */
	char *path_new;
	char *path_previous;
	char *path_damaged;
	int lock_fd; /* -1: not taken */
	uint64_t generation; /* of what is in path */
	char *kept; /* the subsystems that are in path, as compact text; NULL: unknown */
};

/* All of them block. */

/* Names and the lock; the file is the caller's to close also when this fails. */
int state_file_open(struct state_file *file, struct os *os, const char *directory,
	struct reason *reason) MUST_CHECK;
void state_file_close(struct state_file *file);
int state_file_read(
	struct state_file *file, struct reason *reason, json_t **ret_subsystems) MUST_CHECK;
/* Makes subsystems what is kept; does nothing when it is already. Afterwards, whatever came of it,
 * -errno as it was before or what is wanted is kept. */
int state_file_write(struct state_file *file, const json_t *subsystems) MUST_CHECK;
/* Takes the space that the next write needs. */
int state_file_reserve(struct state_file *file) MUST_CHECK;

#endif
