/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Task attributes (order.h). order.active are the tasks of the channel that have begun, counted
 * while order is kept: from an ORDERED one on, until neither it nor one that waits is left.
 */
#include "scsi/order.h"

static bool task_is_ordered(const struct scsi_task *task)
{
	return task->attribute == SCSI_TASK_ORDERED;
}

/* This one is on the list already, and has not begun. */
static void order_begin(struct scsi_lun_channel *channel)
{
	const struct scsi_task *task;

	channel->order.active = 0;
	list_for_each_entry (task, &channel->tasks, link)
		channel->order.active++;
	channel->order.active--;
	channel->order.running = NULL;
	list_init(&channel->order.waiting);
	channel->watched |= SCSI_WATCHED_ORDER;
}

static void order_count(struct scsi_order *order, const struct scsi_task *task)
{
	order->active++;
	if (task_is_ordered(task))
		order->running = task;
}

bool scsi_order_holds(struct scsi_task *task)
{
	struct scsi_lun_channel *channel = task->channel;
	struct scsi_order *order = &channel->order;

	if (!(channel->watched & SCSI_WATCHED_ORDER)) {
		if (!task_is_ordered(task))
			return false;
		order_begin(channel);
	}
	if (task->attribute == SCSI_TASK_HEAD) {
		order->active++;
		return false;
	}
	if (order->running || !list_is_empty(&order->waiting) ||
		(task_is_ordered(task) && order->active)) {
		list_add_tail(&order->waiting, &task->held);
		task->order = SCSI_ORDER_WAITS;
		return true;
	}
	order_count(order, task);
	return false;
}

/* It waits no longer. */
static void order_release(struct scsi_lun_channel *channel, struct scsi_task *task)
{
	list_remove(&task->held);
	task->order = SCSI_ORDER_WAITED;
	task->begun = channel->sequence;
}

bool scsi_order_had_begun(const struct scsi_task *task, uint32_t sequence)
{
	return task->order == SCSI_ORDER_FREE ||
	       (task->order == SCSI_ORDER_WAITED && (int32_t)(task->begun - sequence) < 0);
}

void scsi_order_task_ends(struct scsi_lun_channel *channel, const struct scsi_task *task)
{
	struct scsi_order *order = &channel->order;

	order->active--;
	if (order->running == task)
		order->running = NULL;
}

void scsi_order_go_on(struct scsi_lun_channel *channel)
{
	struct scsi_order *order = &channel->order;

	while (!list_is_empty(&order->waiting) && !order->running) {
		struct scsi_task *task = list_first_entry(&order->waiting, struct scsi_task, held);

		if (task_is_ordered(task) && order->active)
			return;
		order_release(channel, task);
		order_count(order, task);
		scsi_task_begin(task);
	}
	if (list_is_empty(&order->waiting) && !order->running)
		channel->watched &= ~SCSI_WATCHED_ORDER;
}

void scsi_order_end_marked(struct scsi_lun_channel *channel)
{
	struct scsi_order *order = &channel->order;
	struct scsi_task *task, *next;

	list_for_each_entry_safe (task, next, &order->waiting, held) {
		if (task->ending == SCSI_RESPONSE_OK)
			continue;
		order_release(channel, task);
		order->active++; /* until it has ended, like those that have begun */
		scsi_task_begin(task);
	}
}
