/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands that are alone on their range while they run (lock.c), against all other requests of all
 * initiators and of whoever else has the block device: COMPARE AND WRITE (SBC-3 5.2), ORWRITE (16)
 * and (32) (5.8, 5.9), WRITE ATOMIC (16) (SBC-4).
 *
 * COMPARE AND WRITE writes the second half of its data-out in one request, once the first half has
 * been found equal to the disk: nobody sees a part of it, and no task management function ends it
 * half-way. ORWRITE goes piece by piece; that of 32
 * bytes with BMOP 0 only, and the generation is 0 for ever.
 *
 * WRITE ATOMIC exists where the block device promises that a power cut leaves all or nothing of a
 * write (bdev.atomic_write_bytes); the lock adds that no reader finds a part of it. There are no
 * boundaries within which less would be atomic.
 */
#include "base/endian.h"
#include "scsi/bounce.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/range.h"
#include "scsi/sense.h"
#include "scsi/steps.h"

#define FLAG_FUA     0x08
#define FLAG_PROTECT 0xe0

static uint64_t blocks_to_bytes(const struct scsi_task *task, uint64_t blocks)
{
	return blocks << task->channel->block_shift;
}

static uint8_t write_flags(const struct scsi_task *task)
{
	return scsi_range_flags(task) & FLAG_FUA ? BDEV_IO_FUA : 0;
}

/* Locks the range, with a buffer of that class. The range is kept in offset and left. */
static enum scsi_run lock_range(struct scsi_task *task, const struct scsi_range *range,
	enum slab_class class, scsi_step_fn with_buffer)
{
	task->offset = blocks_to_bytes(task, range->lba);
	task->left = blocks_to_bytes(task, range->blocks);
	task->moved = 0;
	return scsi_task_get_buffer(task, class, with_buffer);
}

/* ---- COMPARE AND WRITE ------------------------------------------------------------------- */

static struct scsi_range compare_and_write_range(const struct scsi_task *task)
{
	return (struct scsi_range){be64_get(task->cdb + 2), task->cdb[13]};
}

static enum scsi_run compare_and_write_ended(struct scsi_task *task)
{
	task->moved = 2 * blocks_to_bytes(task, task->cdb[13]);
	return scsi_task_good(task);
}

static enum scsi_run compare_piece(struct scsi_task *task, uint64_t moved, uint32_t bytes)
{
	return scsi_task_compare(task, moved, bytes);
}

static enum scsi_run compared(struct scsi_task *task)
{
	struct scsi_range range = compare_and_write_range(task);

	task->offset = blocks_to_bytes(task, range.lba);
	task->left = blocks_to_bytes(task, range.blocks);
	task->out_iovs = (uint16_t)scsi_iov_skip(&task->out, task->out_iovs, task->left);
	return scsi_write_data(task, write_flags(task), compare_and_write_ended);
}

static const struct scsi_loop compare_loop = {
	.type = BDEV_IO_READ,
	.take = compare_piece,
	.ended = compared,
};

static enum scsi_run compare_begin(struct scsi_task *task)
{
	task->loop_flags = 0;
	return scsi_loop_start(task, &compare_loop);
}

static enum scsi_run compare_lock(struct scsi_task *task)
{
	return scsi_task_lock(task, task->offset, task->left, compare_begin);
}

enum scsi_run scsi_run_compare_and_write(struct scsi_task *task)
{
	struct scsi_range range = compare_and_write_range(task);

	if (task->cdb[1] & FLAG_PROTECT)
		return scsi_task_check_cdb(task, 1, 7);
	if (scsi_range_check(task, &range) == SCSI_ENDED)
		return SCSI_ENDED;
	if (range.blocks == 0)
		return SCSI_ENDED;
	if (task->out_bytes < 2 * blocks_to_bytes(task, range.blocks))
		return scsi_task_overrun(task);
	return lock_range(task, &range, SLAB_128K, compare_lock);
}

/* ---- ORWRITE ----------------------------------------------------------------------------- */

static enum scsi_run orwrite_piece_written(struct scsi_task *task);

static enum scsi_run orwrite_piece_read(struct scsi_task *task)
{
	scsi_iov_or(task->out, task->out_iovs, task->moved, task->buffer, task->piece.iov_len);
	return scsi_task_io(task, BDEV_IO_WRITE, task->offset, task->piece.iov_len,
		write_flags(task), orwrite_piece_written);
}

static enum scsi_run orwrite_next(struct scsi_task *task)
{
	uint64_t room =
		align_down(slab_object_size(SLAB_128K), UINT64_C(1) << task->channel->block_shift);

	task->piece = (struct iovec){task->buffer, u64_min(task->left, room)};
	task->io.iov = &task->piece;
	task->io.iovcnt = 1;
	return scsi_task_io(
		task, BDEV_IO_READ, task->offset, task->piece.iov_len, 0, orwrite_piece_read);
}

static enum scsi_run orwrite_piece_written(struct scsi_task *task)
{
	task->offset += task->piece.iov_len;
	task->moved += task->piece.iov_len;
	task->left -= task->piece.iov_len;
	return task->left ? orwrite_next(task) : scsi_task_good(task);
}

static enum scsi_run orwrite_lock(struct scsi_task *task)
{
	return scsi_task_lock(task, task->offset, task->left, orwrite_next);
}

static enum scsi_run orwrite_check_long(struct scsi_task *task)
{
	if (task->cdb[2] & 0x07) /* BMOP */
		return scsi_task_check_cdb(task, 2, 2);
	if (be32_get(task->cdb + 20)) /* EXPECTED ORWGENERATION */
		return scsi_task_check(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_ORWRITE_GENERATION);
	return SCSI_GOES_ON;
}

enum scsi_run scsi_run_orwrite(struct scsi_task *task)
{
	struct scsi_range range = scsi_range_decode(task);

	if (scsi_range_flags(task) & FLAG_PROTECT)
		return scsi_task_check_cdb(task, scsi_range_flags_byte(task), 7);
	if (task->command->cdb_len == 32 && orwrite_check_long(task) == SCSI_ENDED)
		return SCSI_ENDED;
	if (scsi_range_check_limit(task, &range, task->channel->transfer_bytes_max) == SCSI_ENDED)
		return SCSI_ENDED;
	if (range.blocks == 0)
		return SCSI_ENDED;
	if (task->out_bytes < blocks_to_bytes(task, range.blocks))
		return scsi_task_overrun(task);
	return lock_range(task, &range, SLAB_128K, orwrite_lock);
}

/* ---- WRITE ATOMIC ------------------------------------------------------------------------ */

static enum scsi_run write_atomic_locked(struct scsi_task *task)
{
	return scsi_write_data(task, write_flags(task), scsi_task_good);
}

static enum scsi_run write_atomic_lock(struct scsi_task *task)
{
	return scsi_task_lock(task, task->offset, task->left, write_atomic_locked);
}

enum scsi_run scsi_run_write_atomic(struct scsi_task *task)
{
	struct scsi_range range = {be64_get(task->cdb + 2), be16_get(task->cdb + 12)};
	uint64_t bytes = blocks_to_bytes(task, range.blocks);

	if (task->cdb[1] & FLAG_PROTECT)
		return scsi_task_check_cdb(task, 1, 7);
	if (be16_get(task->cdb + 10)) /* ATOMIC BOUNDARY */
		return scsi_task_check_cdb(task, 10, -1);
	if (scsi_range_check(task, &range) == SCSI_ENDED)
		return SCSI_ENDED;
	if (bytes > scsi_atomic_write_bytes_max(task->channel))
		return scsi_task_check_cdb(task, 12, -1);
	if (range.blocks == 0)
		return SCSI_ENDED;
	if (task->out_bytes < bytes)
		return scsi_task_overrun(task);
	/* More segments than the device takes would need more than one write. */
	if (task->out_iovs > task->channel->iovs_max)
		return scsi_task_check_cdb(task, 12, -1);
	return lock_range(task, &range, SLAB_512, write_atomic_lock);
}
