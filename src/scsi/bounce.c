/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One piece after the other through one buffer (bounce.h). Each piece is an I/O of its own, so that
 * a long command neither holds up the reactor nor escapes a task management function.
 */
#include "scsi/bounce.h"

#include "scsi/steps.h"

static enum scsi_run loop_piece_done(struct scsi_task *task);

static enum scsi_run loop_next(struct scsi_task *task)
{
	uint32_t room = (uint32_t)align_down(
		slab_object_size(SLAB_128K), UINT64_C(1) << task->channel->block_shift);
	uint32_t bytes = (uint32_t)u64_min(task->left, room);
	const struct scsi_loop *loop = task->loop;

	invariant(bytes > 0);
	if (loop->fill)
		loop->fill(task, task->moved, bytes);
	task->piece = (struct iovec){.iov_base = task->buffer, .iov_len = bytes};
	task->io.iov = &task->piece;
	task->io.iovcnt = 1;
	return scsi_task_io(
		task, loop->type, task->offset, bytes, task->loop_flags, loop_piece_done);
}

static enum scsi_run loop_piece_done(struct scsi_task *task)
{
	const struct scsi_loop *loop = task->loop;
	uint32_t bytes = (uint32_t)task->piece.iov_len;

	if (loop->take && loop->take(task, task->moved, bytes) == SCSI_ENDED)
		return SCSI_ENDED;
	task->offset += bytes;
	task->moved += bytes;
	task->left -= bytes;
	return task->left ? loop_next(task) : loop->ended(task);
}

enum scsi_run scsi_loop_start(struct scsi_task *task, const struct scsi_loop *loop)
{
	task->loop = loop;
	task->moved = 0;
	if (task->buffer) /* a loop after a loop */
		return loop_next(task);
	return scsi_task_get_buffer(task, SLAB_128K, loop_next);
}
