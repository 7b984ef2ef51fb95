/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * READ and WRITE (6), (10), (12), (16), (32): SBC-3 5.10 to 5.15 and 5.38 to 5.43.
 *
 * The straight path decodes, compares four numbers and hands the initiator's iovecs on. It touches
 * nothing when a comparison says no; the general way decodes again, slower, and finds out which
 * check condition it is. What it also does there:
 *  - zero blocks: GOOD, once the address has been checked
 *  - READ with FUA: what the cache holds of it must be stable first (4.21), so a flush goes before
 *  - more segments than the block device takes: through a buffer of ours (bounce.c)
 *  - the commands of 32 bytes, which are for protection of type 2; what they say of its tags is not
 *    looked at where there is none
 *
 * DPO is a hint about a cache that we do not have. Protection information is not supported: any
 * value of RDPROTECT or WRPROTECT but 0 is an invalid field.
 */
#include "base/endian.h"
#include "scsi/bounce.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/range.h"
#include "scsi/sense.h"
#include "scsi/steps.h"
#include "scsi/task_impl.h"

#define FLAG_FUA     0x08
#define FLAG_PROTECT 0xe0

struct read_write {
	uint64_t lba;
	uint32_t blocks;
	uint8_t flags; /* byte 1, 0 for six-byte commands */
	uint8_t control;
	bool write;
};

static inline bool read_write_decode(const uint8_t *cdb, struct read_write *ret)
{
	switch (cdb[0]) {
	case SCSI_READ_10:
	case SCSI_WRITE_10:
		*ret = (struct read_write){be32_get(cdb + 2), be16_get(cdb + 7), cdb[1], cdb[9],
			cdb[0] == SCSI_WRITE_10};
		return true;
	case SCSI_READ_16:
	case SCSI_WRITE_16:
		*ret = (struct read_write){be64_get(cdb + 2), be32_get(cdb + 10), cdb[1], cdb[15],
			cdb[0] == SCSI_WRITE_16};
		return true;
	case SCSI_READ_12:
	case SCSI_WRITE_12:
		*ret = (struct read_write){be32_get(cdb + 2), be32_get(cdb + 6), cdb[1], cdb[11],
			cdb[0] == SCSI_WRITE_12};
		return true;
	case SCSI_READ_6:
	case SCSI_WRITE_6:
		*ret = (struct read_write){be24_get(cdb + 1) & 0x1fffff, cdb[4] ? cdb[4] : 256, 0,
			cdb[5], cdb[0] == SCSI_WRITE_6};
		return true;
	default:
		return false;
	}
}

static void read_write_done(struct bdev_io *io)
{
	struct scsi_task *task = container_of(io, struct scsi_task, io);

	if (likely(io->status == 0))
		task->transferred = (uint32_t)io->length;
	else
		scsi_task_check_errno(
			task, io->status, true, io->offset >> task->channel->block_shift);
	scsi_task_finish(task);
}

bool scsi_read_write_submit(struct scsi_task *task)
{
	const struct scsi_lun_channel *channel = task->channel;
	struct bdev_io *io = &task->io;
	struct read_write rw;
	uint64_t bytes, capacity;
	unsigned iovs;

	if (!read_write_decode(task->cdb, &rw))
		return false;
	bytes = (uint64_t)rw.blocks << channel->block_shift;
	capacity = bdev_size(channel->bdev) >> channel->block_shift;
	if (unlikely(rw.flags & FLAG_PROTECT || rw.control || rw.lba >= capacity ||
		     rw.blocks > capacity - rw.lba || rw.blocks == 0 ||
		     bytes > atomic_load_explicit(
				     &channel->straight_bytes_max, memory_order_relaxed)))
		return false;

	if (rw.write) {
		if (unlikely(task->out_bytes < bytes || task->in_bytes || channel->read_only ||
			     task->out_iovs > channel->iovs_max))
			return false;
		iovs = task->out_iovs;
		if (unlikely(task->out_bytes > bytes))
			iovs = scsi_iov_trim(task->out, iovs, bytes);
		io->iov = task->out;
		io->type = BDEV_IO_WRITE;
		io->flags = rw.flags & FLAG_FUA ? BDEV_IO_FUA : 0;
	} else {
		if (unlikely(task->in_bytes < bytes || task->out_bytes || rw.flags & FLAG_FUA ||
			     task->in_iovs > channel->iovs_max))
			return false;
		iovs = task->in_iovs;
		if (unlikely(task->in_bytes > bytes))
			iovs = scsi_iov_trim(task->in, iovs, bytes);
		io->iov = task->in;
		io->type = BDEV_IO_READ;
		io->flags = 0;
	}
	io->iovcnt = (uint16_t)iovs;
	io->offset = rw.lba << channel->block_shift;
	io->length = bytes;
	io->lock = NULL;
	io->done = read_write_done;
	bdev_submit(channel->bdev_channel, io);
	return true;
}

/* ---- the general way --------------------------------------------------------------------- */

static void bounce_fill_write(struct scsi_task *task, uint64_t moved, uint32_t bytes)
{
	scsi_iov_read(task->out, task->out_iovs, moved, task->buffer, bytes);
}

static enum scsi_run bounce_take_read(struct scsi_task *task, uint64_t moved, uint32_t bytes)
{
	scsi_iov_write(task->in, task->in_iovs, moved, task->buffer, bytes);
	return SCSI_GOES_ON;
}

static enum scsi_run bounced_write_ended(struct scsi_task *task)
{
	return task->after(task);
}

static const struct scsi_loop bounced_write = {
	.type = BDEV_IO_WRITE,
	.fill = bounce_fill_write,
	.ended = bounced_write_ended,
};

static const struct scsi_loop bounced_read = {
	.type = BDEV_IO_READ,
	.take = bounce_take_read,
	.ended = scsi_task_good,
};

static enum scsi_run written_directly(struct scsi_task *task)
{
	task->moved = task->left;
	return task->after(task);
}

enum scsi_run scsi_write_data(struct scsi_task *task, uint8_t flags, scsi_step_fn next)
{
	task->after = next;
	task->loop_flags = flags;
	if (task->out_iovs > task->channel->iovs_max)
		return scsi_loop_start(task, &bounced_write);
	task->out_iovs = (uint16_t)scsi_iov_trim(task->out, task->out_iovs, task->left);
	task->io.iov = task->out;
	task->io.iovcnt = task->out_iovs;
	return scsi_task_io(task, BDEV_IO_WRITE, task->offset, task->left, flags, written_directly);
}

static enum scsi_run read_ended(struct scsi_task *task)
{
	task->moved = task->left;
	return scsi_task_good(task);
}

static enum scsi_run read_data(struct scsi_task *task)
{
	task->loop_flags = 0;
	if (task->in_iovs > task->channel->iovs_max)
		return scsi_loop_start(task, &bounced_read);
	task->io.iov = task->in;
	task->io.iovcnt = (uint16_t)scsi_iov_trim(task->in, task->in_iovs, task->left);
	return scsi_task_io(task, BDEV_IO_READ, task->offset, task->left, 0, read_ended);
}

/* Any of the commands. */
static struct read_write read_write_decode_any(const struct scsi_task *task)
{
	struct scsi_range range = scsi_range_decode(task);
	struct read_write rw;

	if (read_write_decode(task->cdb, &rw))
		return rw;
	return (struct read_write){range.lba, (uint32_t)range.blocks, scsi_range_flags(task), 0,
		task->command->service_action == SCSI_SA_WRITE_32};
}

enum scsi_run scsi_run_read_write(struct scsi_task *task)
{
	const struct scsi_lun_channel *channel = task->channel;
	struct read_write rw = read_write_decode_any(task);
	struct scsi_range range;

	if (rw.flags & FLAG_PROTECT)
		return scsi_task_check_cdb(task, scsi_range_flags_byte(task), 7);
	range = (struct scsi_range){rw.lba, rw.blocks};
	if (scsi_range_check_limit(task, &range, channel->transfer_bytes_max) == SCSI_ENDED)
		return SCSI_ENDED;
	task->offset = rw.lba << channel->block_shift;
	task->left = (uint64_t)rw.blocks << channel->block_shift;
	task->moved = 0;
	if (rw.blocks == 0)
		return scsi_task_good(task);
	if ((rw.write ? task->out_bytes : task->in_bytes) < task->left)
		return scsi_task_overrun(task);

	if (rw.write)
		return scsi_write_data(task, rw.flags & FLAG_FUA ? BDEV_IO_FUA : 0, scsi_task_good);
	if (rw.flags & FLAG_FUA && bdev_supports(channel->bdev, BDEV_IO_FLUSH))
		return scsi_task_io(task, BDEV_IO_FLUSH, 0, 0, 0, read_data);
	return read_data(task);
}
