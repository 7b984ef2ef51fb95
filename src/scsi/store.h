/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What logical units keep over a restart of the daemon, and over its being killed: saved mode pages
 * and the like. One file of the state directory for all units; a unit is known by its serial number
 * (identity.h), a thing of it by a key, which is the name of the source file that owns it.
 *
 * {"format": 1, "units": {"5157ce...": {"mode": ...}}}
 *
 * Read once, at the start; the values live in memory. Control reactor, but for open and close.
 */
#ifndef SCSI_STORE_H
#define SCSI_STORE_H

#include <jansson.h>

#include "core/flow.h"

struct scsi_store;

/* Blocks: before anything is served. A file that is not there is an empty one; -EINVAL when what is
 * there cannot be understood, so that nothing is overwritten. */
int scsi_store_open(struct os *os, struct reactor *control, const char *directory,
	struct reason *reason, struct scsi_store **ret_store) MUST_CHECK;
/* Nothing is under way. */
void scsi_store_close(struct scsi_store *store);

/* Borrowed until the next set; NULL: nothing is kept, or store is NULL. */
const json_t *scsi_store_get(const struct scsi_store *store, const char *serial, const char *key);

/* Takes the reference to value; NULL: nothing is to be kept any more. done(0) when it is stable.
 * After a failure get tells the new value all the same, and the next set tries to write it too:
 * whoever cannot leave it so sets the old one again. */
void scsi_store_set(struct scsi_store *store, const char *serial, const char *key, json_t *value,
	done_fn done, void *arg);

#endif
