/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SYNCHRONIZE CACHE (10), (16): SBC-3 5.28, 5.29, PRE-FETCH (10), (16): SBC-3 5.8, 5.9.
 *
 * The block device can only flush as a whole, which is more than the range asked for. IMMED asks
 * for status before it is done; giving it afterwards is allowed and is what the data deserves.
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

enum scsi_run scsi_run_synchronize_cache(struct scsi_task *task)
{
	struct scsi_range range = scsi_range_decode(task);

	if (scsi_range_check(task, &range) == SCSI_ENDED)
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
