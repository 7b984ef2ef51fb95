/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Task management (SAM-5 7): finds tasks in flight of a logical unit on all reactors, marks them,
 * and waits until they have ended. A task that the block device holds is waited for: its buffers
 * could still be written. Control reactor.
 */
#ifndef SCSI_ABORT_H
#define SCSI_ABORT_H

#include "scsi/lun.h"

struct scsi_abort_visit;

struct scsi_abort {
	/* the caller's; borrowed until done */
	bool query; /* only count */
	bool every_tag; /* else those with this tag */
	bool every_nexus; /* all attachments of the logical unit, else only the given one */
	bool tell_others; /* other initiators whose tasks were ended get a unit attention */
	uint8_t response; /* enum scsi_response that the tasks end with */
	uint64_t tag;

	unsigned found; /* at done: tasks that matched */

	/* abort.c's */
	const struct scsi_attachment *attachment;
	struct scsi_abort_visit *visits;
	unsigned visits_out;
	struct message message;
	done_fn done;
	void *arg;
	int rc;
};

/* Done when every task that matched has had its task->done, and what that deferred for publishing
 * has been published. -ENOMEM. */
void scsi_abort_run(
	struct scsi_abort *abort, struct scsi_attachment *attachment, done_fn done, void *arg);

#endif
