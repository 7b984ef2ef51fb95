/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SYNCHRONIZE CACHE (10), (16): SBC-3 5.28, 5.29, PRE-FETCH (10), (16): SBC-3 5.8, 5.9, and START
 * STOP UNIT: SBC-3 5.25.
 *
 * The block device can only flush as a whole, which is more than the range asked for. IMMED asks
 * for status before it is done; giving it afterwards is allowed and is what the data deserves.
 *
 * There is no cache of ours to fetch anything into. PRE-FETCH says so by GOOD: CONDITION MET would
 * mean that all of it is in there.
 *
 * The disk is not removable and never spins: stopping it makes what was written stable, as for a
 * disk that loses power next, and leaves it ready (QEMU's disks do the same; Linux and Windows send
 * it at shutdown). Power conditions and LOEJ are invalid fields.
 */
#include "scsi/command.h"
#include "scsi/range.h"
#include "scsi/sense.h"
#include "scsi/steps.h"

static enum scsi_run flush(struct scsi_task *task)
{
	task->moved = 0;
	if (task->channel->read_only || !bdev_supports(task->channel->bdev, BDEV_IO_FLUSH))
		return scsi_task_good(task);
	return scsi_task_io(task, BDEV_IO_FLUSH, 0, 0, 0, scsi_task_good);
}

enum scsi_run scsi_run_synchronize_cache(struct scsi_task *task)
{
	struct scsi_range range = scsi_range_decode(task);

	if (scsi_range_check(task, &range) == SCSI_ENDED)
		return SCSI_ENDED;
	return flush(task);
}

enum scsi_run scsi_run_pre_fetch(struct scsi_task *task)
{
	struct scsi_range range = scsi_range_decode(task);

	scsi_range_check(task, &range); /* status GOOD unless it says otherwise */
	return SCSI_ENDED;
}

enum scsi_run scsi_run_start_stop_unit(struct scsi_task *task)
{
	bool start = task->cdb[4] & 0x01;
	bool load_eject = task->cdb[4] & 0x02;
	bool no_flush = task->cdb[4] & 0x04;

	if (task->cdb[4] & 0xf0)
		return scsi_task_check_cdb(task, 4, 7);
	if (load_eject)
		return scsi_task_check_cdb(task, 4, 1);
	if (start || no_flush)
		return SCSI_ENDED;
	return flush(task);
}
