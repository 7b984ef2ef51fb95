/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A visit to the tasks that one channel has in flight: sent by the control reactor, comes back to
 * it once the tasks it is about have ended and what they published is published. Several visits may
 * wait for the same task.
 *
 * A task is a visit's if it was submitted before the visit arrived and has its tag; so what a visit
 * counted on arrival and what it counts down later are the same tasks.
 */
#ifndef SCSI_VISIT_H
#define SCSI_VISIT_H

#include "core/reactor.h"

struct scsi_lun_channel;
struct scsi_task;

struct scsi_visit {
	/* the sender's */
	struct scsi_lun_channel *channel;
	bool fetch; /* first what the initiator has sent already */
	bool wait; /* until they have ended; else only count */
	bool mark; /* end them with response */
	bool every_tag;
	uint8_t response; /* enum scsi_response */
	uint64_t tag;
	/* Which of these; NULL: all. Asked on the channel's reactor. */
	bool (*concerns)(const struct scsi_visit *visit, const struct scsi_task *task);
	uint8_t restriction; /* for concerns: enum scsi_restriction */
	void (*returned)(struct scsi_visit *visit); /* control reactor */

	/* at returned */
	unsigned found;

	/* ours */
	struct message message;
	struct deferred publish;
	struct list link;
	uint32_t sequence;
	unsigned left;
	bool met; /* the task that is ending is one of them */
};

/* Control reactor. */
void scsi_visit_send(struct scsi_visit *visit);

#endif
