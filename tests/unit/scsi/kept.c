/* SPDX-License-Identifier: BSD-2-Clause */
#include "kept.h"

#include <stdio.h>
#include <unistd.h>

static struct os *os_of(const struct kept *kept)
{
	return kept->w->world.host.os;
}

static void store_open(struct kept *kept)
{
	assert_int_equal(scsi_store_open(os_of(kept), kept->w->world.control, kept->directory, NULL,
				 &kept->store),
		0);
}

void kept_open(struct kept *kept, struct scsi_world *w, const char *name, bool nowhere)
{
	struct os *os = w->world.host.os;

	*kept = (struct kept){.w = w, .nowhere = nowhere};
	snprintf(kept->directory, sizeof(kept->directory), "/tmp/scsi-kept-%d-%s", (int)getpid(),
		name);
	os->ops->directory_create(os, "/tmp", 0700);
	if (!nowhere)
		assert_int_equal(os->ops->directory_create(os, kept->directory, 0700), 0);
	store_open(kept);
}

void kept_close(struct kept *kept)
{
	struct os *os = os_of(kept);
	char path[128];

	scsi_store_close(kept->store);
	snprintf(path, sizeof(path), "%s/scsi.json", kept->directory);
	os->ops->file_unlink(os, path);
	rmdir(kept->directory);
}

/* ---- the unit ------------------------------------------------------------------------------ */

/* Between the two the logical unit is not there. */
static void unit_leave(struct kept *kept)
{
	scsi_world_close(kept->w, kept->w->channel);
	scsi_world_detach(kept->w, kept->w->attachment);
}

static void unit_enter(struct kept *kept, struct scsi_store *store)
{
	struct scsi_world *w = kept->w;

	w->disk.options.store = store;
	w->attachment = scsi_world_attach(w, 0);
	w->channel = scsi_world_open(w, w->attachment, 0);
	w->view->luns[0] = w->channel;
}

void kept_begin(struct kept *kept, struct scsi_world *w, const char *name, bool nowhere)
{
	kept_open(kept, w, name, nowhere);
	unit_leave(kept);
	unit_enter(kept, kept->store);
}

void kept_restart(struct kept *kept)
{
	unit_leave(kept);
	scsi_store_close(kept->store);
	store_open(kept);
	unit_enter(kept, kept->store);
}

void kept_end(struct kept *kept)
{
	unit_leave(kept);
	kept_close(kept);
	unit_enter(kept, NULL);
}
