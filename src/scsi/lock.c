/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A task alone on a range of its device, by a range lock of the block layer (bdev/bdev.h).
 *
 * The lock is in an object of the slab, taken after the task's buffer: so the end of a task needs
 * to look for a lock only where there is a buffer. It is given back before the task's done is
 * called: whoever hears of this command has the range free for the next one.
 *
 * A task management function that meets a task waiting for its lock ends it when the lock comes:
 * it waits for requests that are in flight there, as the task itself would.
 */
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/sense.h"
#include "scsi/steps.h"
#include "scsi/task_impl.h"

struct scsi_lock {
	struct bdev_range_lock range;
};

_Static_assert(sizeof(struct scsi_lock) <= 512, "a lock fits in its slab");

const struct bdev_range_lock *scsi_task_range_lock(const struct scsi_task *task)
{
	return task->buffer && task->lock ? &task->lock->range : NULL;
}

static void task_locked(void *arg, int rc)
{
	invariant(rc == 0); /* nobody unlocks before */
	scsi_task_next_step(arg);
}

static void task_take_lock(struct scsi_task *task)
{
	bdev_range_lock(&task->lock->range, task->channel->bdev, task->reactor, task->offset,
		task->left, task_locked, task);
}

static void lock_slab_ready(struct slab_waiter *waiter)
{
	struct scsi_task *task = container_of(waiter, struct scsi_task, waiter);

	if (task->ending != SCSI_RESPONSE_OK) {
		scsi_task_finish(task);
		return;
	}
	task->lock = slab_get(task->reactor, SLAB_512);
	if (task->lock)
		task_take_lock(task);
	else
		slab_wait(task->reactor, SLAB_512, &task->waiter);
}

enum scsi_run scsi_task_lock(
	struct scsi_task *task, uint64_t offset, uint64_t length, scsi_step_fn next)
{
	invariant(task->buffer && !task->lock);
	task->offset = offset;
	task->left = length;
	task->step = next;
	task->lock = slab_get(task->reactor, SLAB_512);
	if (task->lock) {
		task_take_lock(task);
	} else {
		task->waiter.ready = lock_slab_ready;
		slab_wait(task->reactor, SLAB_512, &task->waiter);
	}
	return SCSI_GOES_ON;
}

static void task_unlocked(void *arg, int rc)
{
	struct scsi_task *task = arg;

	slab_put(task->reactor, SLAB_512, task->lock);
	task->lock = NULL;
	scsi_task_finish(task);
}

void scsi_task_unlock(struct scsi_task *task)
{
	bdev_range_unlock(&task->lock->range, task_unlocked, task);
}

enum scsi_run scsi_task_compare(struct scsi_task *task, uint64_t skip, uint32_t bytes)
{
	size_t same = scsi_iov_match(task->out, task->out_iovs, skip, task->buffer, bytes);

	if (same == bytes)
		return SCSI_GOES_ON;
	return scsi_task_check_information(
		task, SCSI_KEY_MISCOMPARE, SCSI_ASC_MISCOMPARE, skip + same);
}
