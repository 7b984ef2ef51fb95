/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VERIFY (10), (12), (16), (32) and WRITE AND VERIFY (10), (12), (16), (32): SBC-3 5.33 to 5.36,
 * 5.44 to 5.47.
 *
 * BYTCHK 00b: the blocks are really read, so that what cannot be read is reported. 01b: compared
 * with as many blocks of data-out. 11b (VERIFY only): each compared with the one block of data-out.
 * Where they differ the information field has the offset of the first such byte in data-out.
 * The compare takes the initiator's buffer as it is when its turn comes.
 */
#include "scsi/bounce.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/range.h"
#include "scsi/sense.h"
#include "scsi/steps.h"

enum byte_check { CHECK_MEDIUM = 0, CHECK_ALL = 1, CHECK_ONE = 3 };

static enum scsi_run compare_with_one(struct scsi_task *task, uint32_t bytes)
{
	uint32_t block = UINT32_C(1) << task->channel->block_shift;

	for (uint32_t at = 0; at < bytes; at += block) {
		size_t same = scsi_iov_match(
			task->out, task->out_iovs, 0, (const uint8_t *)task->buffer + at, block);

		if (same < block)
			return scsi_task_check_information(
				task, SCSI_KEY_MISCOMPARE, SCSI_ASC_MISCOMPARE, same);
	}
	return SCSI_GOES_ON;
}

static enum scsi_run verify_piece(struct scsi_task *task, uint64_t moved, uint32_t bytes)
{
	if (task->compare == CHECK_MEDIUM)
		return SCSI_GOES_ON;
	if (task->compare == CHECK_ONE)
		return compare_with_one(task, bytes);
	return scsi_task_compare(task, moved, bytes);
}

/* Bytes of data-out that were used. */
static uint64_t verify_data_bytes(const struct scsi_task *task, uint64_t blocks)
{
	switch (task->compare) {
	case CHECK_ALL:
		return blocks << task->channel->block_shift;
	case CHECK_ONE:
		return UINT64_C(1) << task->channel->block_shift;
	default:
		return 0;
	}
}

static enum scsi_run verify_ended(struct scsi_task *task)
{
	task->moved = verify_data_bytes(task, scsi_range_decode(task).blocks);
	return scsi_task_good(task);
}

static const struct scsi_loop verify_loop = {
	.type = BDEV_IO_READ,
	.take = verify_piece,
	.ended = verify_ended,
};

static void range_to_bytes(struct scsi_task *task, const struct scsi_range *range)
{
	task->offset = range->lba << task->channel->block_shift;
	task->left = range->blocks << task->channel->block_shift;
	task->moved = 0;
	task->loop_flags = 0;
}

/* Protection and range; sets task->compare. */
static enum scsi_run verify_check(struct scsi_task *task, const struct scsi_range *range)
{
	uint8_t flags = scsi_range_flags(task);

	if (flags & 0xe0)
		return scsi_task_check_cdb(task, scsi_range_flags_byte(task), 7);
	task->compare = flags >> 1 & 3;
	return scsi_range_check_limit(task, range, task->channel->transfer_bytes_max);
}

enum scsi_run scsi_run_verify(struct scsi_task *task)
{
	struct scsi_range range = scsi_range_decode(task);

	if (verify_check(task, &range) == SCSI_ENDED)
		return SCSI_ENDED;
	if (task->compare == 2)
		return scsi_task_check_cdb(task, scsi_range_flags_byte(task), 2);
	range_to_bytes(task, &range);
	if (range.blocks == 0)
		return scsi_task_good(task);
	if (task->out_bytes < verify_data_bytes(task, range.blocks))
		return scsi_task_overrun(task);
	return scsi_loop_start(task, &verify_loop);
}

/* ---- WRITE AND VERIFY -------------------------------------------------------------------- */

static enum scsi_run verify_written_ended(struct scsi_task *task)
{
	return scsi_task_good(task); /* moved: all that was written */
}

static const struct scsi_loop verify_written_loop = {
	.type = BDEV_IO_READ,
	.take = verify_piece,
	.ended = verify_written_ended,
};

static enum scsi_run verify_written(struct scsi_task *task)
{
	struct scsi_range range = scsi_range_decode(task);

	range_to_bytes(task, &range);
	return scsi_loop_start(task, &verify_written_loop);
}

enum scsi_run scsi_run_write_and_verify(struct scsi_task *task)
{
	struct scsi_range range = scsi_range_decode(task);

	if (verify_check(task, &range) == SCSI_ENDED)
		return SCSI_ENDED;
	if (task->compare > CHECK_ALL)
		return scsi_task_check_cdb(task, scsi_range_flags_byte(task), 2);
	range_to_bytes(task, &range);
	if (range.blocks == 0)
		return scsi_task_good(task);
	if (task->out_bytes < task->left)
		return scsi_task_overrun(task);
	/* What is verified is the medium: the data must be there. */
	return scsi_write_data(task, BDEV_IO_FUA, verify_written);
}
