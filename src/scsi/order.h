/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Task attributes: SAM-5 8.6, 8.9. Kept among the commands of one initiator to one logical unit on
 * one reactor, which has all of a ring's:
 *
 *	SIMPLE		begins when no ORDERED one came before it and has not ended
 *	ORDERED		begins when all that came before it have ended
 *	HEAD OF QUEUE	begins at once
 *
 * A channel without an ORDERED command pays nothing for this but a test of the attribute. With one,
 * commands that must wait are on order.waiting, in the order in which they came; they are on the
 * channel's list of tasks as well, so task management finds them, and one that is marked ends
 * without having begun. ACA is taken for SIMPLE: there never is such a condition.
 *
 * The channel's reactor.
 */
#ifndef SCSI_ORDER_H
#define SCSI_ORDER_H

#include "scsi/task.h"

/* The task is on the channel's list, as its last. True: it waits, and is begun later. */
bool scsi_order_holds(struct scsi_task *task);

/* Where the channel keeps order. Before the task's done, and after it. */
void scsi_order_task_ends(struct scsi_lun_channel *channel, const struct scsi_task *task);
void scsi_order_go_on(struct scsi_lun_channel *channel);

/* Of one that came before that sequence number of its channel. What had not begun by then waits
 * maybe for the very thing that asks, and finds all as that has left it. */
bool scsi_order_had_begun(const struct scsi_task *task, uint32_t sequence);

/* Tasks have been marked (visit.c): those that wait end now. */
void scsi_order_end_marked(struct scsi_lun_channel *channel);

/* task.c: a task that was held begins; one that has been marked ends. Later, in either case. */
void scsi_task_begin(struct scsi_task *task);

#endif
