/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Task management (abort.h): one visit for each channel concerned. A channel that is being closed
 * is no longer on its attachment's list: its close waits for the same tasks.
 */
#include "scsi/abort.h"

#include <errno.h>
#include <stdlib.h>

struct scsi_abort_visit {
	struct scsi_visit visit;
	struct scsi_abort *abort;
};

static void abort_done(struct message *message)
{
	struct scsi_abort *abort = container_of(message, struct scsi_abort, message);

	free(abort->visits);
	abort->done(abort->arg, abort->rc);
}

static void visit_returned(struct scsi_visit *visit)
{
	struct scsi_abort *abort = container_of(visit, struct scsi_abort_visit, visit)->abort;
	struct scsi_attachment *attachment = visit->channel->attachment;

	abort->found += visit->found;
	if (visit->found && abort->tell_others && attachment != abort->attachment)
		scsi_attention_raise(attachment, SCSI_UA_COMMANDS_CLEARED);
	if (--abort->visits_out == 0)
		abort_done(&abort->message);
}

static unsigned channel_count(const struct scsi_attachment *attachment)
{
	const struct scsi_lun_channel *channel;
	unsigned count = 0;

	list_for_each_entry (channel, &attachment->channels, link)
		count++;
	return count;
}

static void visit_channels(struct scsi_abort *abort, struct scsi_attachment *attachment)
{
	struct scsi_lun_channel *channel;

	list_for_each_entry (channel, &attachment->channels, link) {
		struct scsi_abort_visit *entry = &abort->visits[abort->visits_out++];

		entry->abort = abort;
		entry->visit.channel = channel;
		entry->visit.fetch = true;
		entry->visit.wait = !abort->query;
		entry->visit.mark = !abort->query;
		entry->visit.every_tag = abort->every_tag;
		entry->visit.response = abort->response;
		entry->visit.tag = abort->tag;
		entry->visit.returned = visit_returned;
		scsi_visit_send(&entry->visit);
	}
}

void scsi_abort_run(
	struct scsi_abort *abort, struct scsi_attachment *attachment, done_fn done, void *arg)
{
	struct scsi_lun *lun = attachment->lun;
	struct scsi_attachment *each;
	unsigned count = 0;

	abort->found = 0;
	abort->attachment = attachment;
	abort->visits_out = 0;
	abort->done = done;
	abort->arg = arg;
	abort->rc = 0;
	list_for_each_entry (each, &lun->attachments, link) {
		if (each == attachment || abort->every_nexus)
			count += channel_count(each);
	}
	abort->visits = count ? calloc(count, sizeof(*abort->visits)) : NULL;
	if (!abort->visits) {
		abort->rc = count ? -ENOMEM : 0;
		abort->message.run = abort_done;
		reactor_send(lun->control, &abort->message);
		return;
	}
	list_for_each_entry (each, &lun->attachments, link) {
		if (each == attachment || abort->every_nexus)
			visit_channels(abort, each);
	}
}
