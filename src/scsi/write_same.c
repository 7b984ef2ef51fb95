/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * WRITE SAME (10), (16), (32): SBC-3 5.48 to 5.50.
 *
 * A block of zeroes, or none (NDOB), becomes one request to write zeroes: with UNMAP set the block
 * device may unmap, without it the range stays allocated. Any other block is repeated through a
 * buffer, whatever UNMAP says: the result reads as asked, which is what UNMAP promises first
 * (4.7.3.5). No blocks at all is an invalid field (WSNZ in VPD page B0h).
 *
 * PBDATA and LBDATA of old standards, and ANCHOR, are invalid fields.
 */
#include "base/endian.h"
#include "scsi/bounce.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/range.h"
#include "scsi/sense.h"
#include "scsi/steps.h"

#define FLAG_NDOB   0x01
#define FLAG_OLD    0x06
#define FLAG_UNMAP  0x08
#define FLAG_ANCHOR 0x10

static bool write_same_has_data(const struct scsi_task *task)
{
	return task->cdb[0] == SCSI_WRITE_SAME_10 || !(scsi_range_flags(task) & FLAG_NDOB);
}

static enum scsi_run write_same_ended(struct scsi_task *task)
{
	task->moved = write_same_has_data(task) ? UINT64_C(1) << task->channel->block_shift : 0;
	return scsi_task_good(task);
}

/* The block is at the start of the buffer; the buffer is filled with it once. */
static void write_same_fill(struct scsi_task *task, uint64_t moved, uint32_t bytes)
{
	uint32_t block = UINT32_C(1) << task->channel->block_shift;
	uint8_t *buffer = task->buffer;

	if (moved)
		return;
	for (uint32_t at = block; at < bytes; at += block)
		memcpy(buffer + at, buffer, block);
}

static const struct scsi_loop write_same_loop = {
	.type = BDEV_IO_WRITE,
	.fill = write_same_fill,
	.ended = write_same_ended,
};

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

static enum scsi_run write_zeroes(struct scsi_task *task)
{
	uint8_t flags = scsi_range_flags(task) & FLAG_UNMAP ? 0 : BDEV_IO_NO_UNMAP;

	return scsi_task_io(
		task, BDEV_IO_WRITE_ZEROES, task->offset, task->left, flags, write_same_ended);
}

static enum scsi_run write_same_with_buffer(struct scsi_task *task)
{
	uint32_t block = UINT32_C(1) << task->channel->block_shift;

	if (write_same_has_data(task))
		scsi_iov_read(task->out, task->out_iovs, 0, task->buffer, block);
	else
		memset(task->buffer, 0, block);
	if (bdev_supports(task->channel->bdev, BDEV_IO_WRITE_ZEROES) &&
		is_zero(task->buffer, block))
		return write_zeroes(task);
	return scsi_loop_start(task, &write_same_loop);
}

static enum scsi_run write_same_check_flags(struct scsi_task *task)
{
	unsigned byte = scsi_range_flags_byte(task);
	uint8_t flags = scsi_range_flags(task);

	if (flags & 0xe0)
		return scsi_task_check_cdb(task, byte, 7);
	if (flags & FLAG_ANCHOR)
		return scsi_task_check_cdb(task, byte, 4);
	if (flags & FLAG_UNMAP && !bdev_supports(task->channel->bdev, BDEV_IO_UNMAP))
		return scsi_task_check_cdb(task, byte, 3);
	if (flags & FLAG_OLD)
		return scsi_task_check_cdb(task, byte, 2);
	return SCSI_GOES_ON;
}

enum scsi_run scsi_run_write_same(struct scsi_task *task)
{
	const struct scsi_lun_channel *channel = task->channel;
	struct scsi_range range = scsi_range_decode(task);

	if (write_same_check_flags(task) == SCSI_ENDED)
		return SCSI_ENDED;
	if (range.blocks == 0)
		return scsi_task_check_cdb(task, scsi_range_length_byte(task), -1);
	if (scsi_range_check_limit(task, &range, SCSI_WRITE_SAME_BYTES_MAX) == SCSI_ENDED)
		return SCSI_ENDED;
	if (write_same_has_data(task) && task->out_bytes >> channel->block_shift == 0)
		return scsi_task_overrun(task);

	task->offset = range.lba << channel->block_shift;
	task->left = range.blocks << channel->block_shift;
	task->loop_flags = 0;
	if (!write_same_has_data(task) && bdev_supports(channel->bdev, BDEV_IO_WRITE_ZEROES))
		return write_zeroes(task);
	return scsi_task_get_buffer(task, SLAB_128K, write_same_with_buffer);
}
