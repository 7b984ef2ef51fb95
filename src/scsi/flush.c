/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SYNCHRONIZE CACHE (10), (16): SBC-3 5.28, 5.29, PRE-FETCH (10), (16): SBC-3 5.8, 5.9.
 *
 * The block device can only flush as a whole, which is more than the range asked for.
 *
 * With IMMED the status goes out when the CDB has been checked, and the flush is a task of its own
 * that nobody waits for but task management, reservations and the end of the channel, as for any
 * task. When it fails, the initiator's next command ends with a deferred error. Where there is no
 * object of the slab for it at once, the command waits like any other.
 *
 * There is no cache of ours to fetch anything into. PRE-FETCH says so by GOOD: CONDITION MET would
 * mean that all of it is in there.
 */
#include "scsi/command.h"
#include "scsi/range.h"
#include "scsi/sense.h"
#include "scsi/steps.h"

enum scsi_run scsi_task_flush(struct scsi_task *task, scsi_step_fn next)
{
	if (task->channel->read_only || !bdev_supports(task->channel->bdev, BDEV_IO_FLUSH))
		return next(task);
	return scsi_task_io(task, BDEV_IO_FLUSH, 0, 0, 0, next);
}

/* ---- IMMED --------------------------------------------------------------------------------- */

#define BEHIND_CLASS SLAB_4K /* holds a task */
#define BEHIND_TAG   UINT64_MAX /* of no initiator's task */

static void flushed_behind(struct scsi_task *behind)
{
	if (behind->response == SCSI_RESPONSE_OK && behind->status != SCSI_STATUS_GOOD)
		scsi_attention_raise(behind->channel->attachment, SCSI_UA_DEFERRED_ERROR);
	slab_put(behind->reactor, BEHIND_CLASS, behind);
}

static bool flush_behind(const struct scsi_task *task)
{
	struct scsi_task *behind = slab_get(task->reactor, BEHIND_CLASS);

	if (!behind)
		return false;
	memset(behind, 0, sizeof(*behind));
	behind->channel = task->channel;
	behind->reactor = task->reactor;
	behind->done = flushed_behind;
	behind->of_copy = true; /* of ours: unit attentions are the initiator's */
	behind->tag = BEHIND_TAG;
	behind->cdb[0] = SCSI_SYNCHRONIZE_CACHE_10; /* of everything */
	scsi_submit(behind);
	return true;
}

/* -------------------------------------------------------------------------------------------- */

enum scsi_run scsi_run_synchronize_cache(struct scsi_task *task)
{
	bool immediate = task->cdb[1] & 0x02;
	struct scsi_range range = scsi_range_decode(task);

	if (scsi_range_check(task, &range) == SCSI_ENDED)
		return SCSI_ENDED;
	if (immediate && flush_behind(task))
		return SCSI_ENDED;
	task->moved = 0;
	return scsi_task_flush(task, scsi_task_good);
}

enum scsi_run scsi_run_pre_fetch(struct scsi_task *task)
{
	struct scsi_range range = scsi_range_decode(task);

	scsi_range_check(task, &range); /* status GOOD unless it says otherwise */
	return SCSI_ENDED;
}
