/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of a task, inline for the straight path.
 */
#ifndef SCSI_TASK_IMPL_H
#define SCSI_TASK_IMPL_H

#include "scsi/task.h"

/* task.c: gives task->buffer back. true: so is more, and then comes finish again. */
bool scsi_task_release(struct scsi_task *task);
/* task.c: outside submit, what came before has ended. */
void scsi_task_next_step(struct scsi_task *task);
/* lock.c: what its requests are made under, or NULL. */
const struct bdev_range_lock *scsi_task_range_lock(const struct scsi_task *task);
/* lock.c: gives task->lock back, then scsi_task_finish. */
void scsi_task_unlock(struct scsi_task *task);
/* visit.c: calls done, then tells those that wait for this task. */
void scsi_task_done_visited(struct scsi_task *task);

/* Own reactor, not from inside scsi_submit. */
static inline void scsi_task_finish(struct scsi_task *task)
{
	if (likely(task->channel != NULL)) {
		if (unlikely(task->buffer != NULL) && scsi_task_release(task))
			return;
		list_remove(&task->link);
		if (unlikely(task->channel->watched)) {
			scsi_task_done_visited(task);
			return;
		}
	}
	task->done(task);
}

#endif
