/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Visits (visit.h).
 *
 * A visit returns from an entry of the DEFER_PUBLISH phase that is queued after task->done of the
 * last of its tasks has been called: whatever done deferred to that phase, the used ring of a
 * virtqueue, has been published by then.
 */
#include "scsi/visit.h"

#include "scsi/lun.h"
#include "scsi/order.h"
#include "scsi/task_impl.h"

static bool visit_concerns(const struct scsi_visit *visit, const struct scsi_task *task)
{
	return (visit->every_tag || visit->tag == task->tag) &&
	       (int32_t)(task->sequence - visit->sequence) < 0 &&
	       (!visit->concerns || visit->concerns(visit, task));
}

static void visit_back_on_control(struct message *message)
{
	struct scsi_visit *visit = container_of(message, struct scsi_visit, message);

	visit->returned(visit);
}

static void visit_published(struct deferred *deferred)
{
	struct scsi_visit *visit = container_of(deferred, struct scsi_visit, publish);

	visit->message.run = visit_back_on_control;
	reactor_send(visit->channel->attachment->lun->control, &visit->message);
}

static void visit_leave(struct scsi_visit *visit)
{
	list_remove(&visit->link);
	if (list_is_empty(&visit->channel->visits))
		visit->channel->watched &= ~SCSI_WATCHED_VISITS;
	visit->publish.queued = false;
	visit->publish.run = visit_published;
	reactor_defer(visit->channel->reactor, DEFER_PUBLISH, &visit->publish);
}

static void visit_arrive(struct message *message)
{
	struct scsi_visit *visit = container_of(message, struct scsi_visit, message);
	struct scsi_lun_channel *channel = visit->channel;
	struct scsi_task *task;

	if (visit->fetch && channel->fetch)
		channel->fetch(channel->fetch_arg);
	visit->sequence = channel->sequence;
	visit->found = 0;
	list_init(&visit->link);
	list_for_each_entry (task, &channel->tasks, link) {
		if (!visit_concerns(visit, task))
			continue;
		visit->found++;
		if (visit->mark && task->ending == SCSI_RESPONSE_OK)
			task->ending = visit->response;
	}
	visit->left = visit->wait ? visit->found : 0;
	if (visit->left) {
		list_add_tail(&channel->visits, &visit->link);
		channel->watched |= SCSI_WATCHED_VISITS;
	} else {
		visit_leave(visit);
	}
	if (visit->mark && channel->watched & SCSI_WATCHED_ORDER)
		scsi_order_end_marked(channel);
}

void scsi_visit_send(struct scsi_visit *visit)
{
	visit->message.run = visit_arrive;
	reactor_send(visit->channel->reactor, &visit->message);
}

void scsi_task_done_visited(struct scsi_task *task)
{
	struct scsi_lun_channel *channel = task->channel;
	struct scsi_visit *visit, *next;

	if (task->ending != SCSI_RESPONSE_OK) {
		task->response = task->ending;
		task->status = SCSI_STATUS_GOOD;
		task->sense_len = 0;
	}
	list_for_each_entry (visit, &channel->visits, link)
		visit->met = visit_concerns(visit, task);
	if (channel->watched & SCSI_WATCHED_ORDER)
		scsi_order_task_ends(channel, task);
	task->done(task); /* from here on it is the submitter's again */
	list_for_each_entry_safe (visit, next, &channel->visits, link) {
		if (visit->met && --visit->left == 0)
			visit_leave(visit);
	}
	if (channel->watched & SCSI_WATCHED_ORDER)
		scsi_order_go_on(channel);
}
