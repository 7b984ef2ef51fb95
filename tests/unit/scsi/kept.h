/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A store for what the world's logical unit keeps over a restart, in a directory of its own.
 */
#ifndef UNIT_SCSI_KEPT_H
#define UNIT_SCSI_KEPT_H

#include "scsi/store.h"
#include "scsi_world.h"

struct kept {
	struct scsi_world *w;
	struct scsi_store *store;
	bool nowhere; /* the directory is missing: nothing can be written */
	char directory[64];
};

/* Only the store, and its end; name is unique to the test. */
void kept_open(struct kept *kept, struct scsi_world *w, const char *name, bool nowhere);
void kept_close(struct kept *kept);

/* The unit has a store from now on; name is unique to the test. */
void kept_begin(struct kept *kept, struct scsi_world *w, const char *name, bool nowhere);
/* The disk is taken from the initiator and given back, with another store on the same directory. */
void kept_restart(struct kept *kept);
/* The unit has none any more, and nothing is left of it. */
void kept_end(struct kept *kept);

#endif
