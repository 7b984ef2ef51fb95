/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of a task, inline for the straight path.
 */
#ifndef SCSI_TASK_IMPL_H
#define SCSI_TASK_IMPL_H

#include "scsi/task.h"

/* task.c: gives task->buffer back. */
void scsi_task_put_buffer(struct scsi_task *task);
/* abort.c: calls done, then tells those that wait for this task. */
void scsi_task_done_visited(struct scsi_task *task);

/* Own reactor, not from inside scsi_submit. */
static inline void scsi_task_finish(struct scsi_task *task)
{
	if (likely(task->channel != NULL)) {
		list_remove(&task->link);
		if (unlikely(task->buffer != NULL))
			scsi_task_put_buffer(task);
		if (unlikely(!list_is_empty(&task->channel->visits))) {
			scsi_task_done_visited(task);
			return;
		}
	}
	task->done(task);
}

#endif
