/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tasks: submit, the steps of commands that need several, the end.
 *
 * Who calls task->done: the completion of a block request (already outside submit, in the reactor's
 * DEFER_COMPLETE phase), or for commands that end at once an entry deferred to that phase.
 *
 * A task that waits for a buffer of the slab is on the slab's list of waiters; a mark by a task
 * management function is noticed when the buffer comes, which needs nobody else's help.
 */
#include "scsi/task_impl.h"

#include "scsi/command.h"
#include "scsi/copy.h"
#include "scsi/order.h"
#include "scsi/sense.h"
#include "scsi/steps.h"

static void task_end_later(struct scsi_task *task)
{
	reactor_defer(task->reactor, DEFER_COMPLETE, &task->deferred);
}

static void task_deferred(struct deferred *deferred)
{
	scsi_task_finish(container_of(deferred, struct scsi_task, deferred));
}

void scsi_submit(struct scsi_task *task)
{
	struct scsi_lun_channel *channel = task->channel;

	task->status = SCSI_STATUS_GOOD;
	task->response = SCSI_RESPONSE_OK;
	task->sense_len = 0;
	task->transferred = 0;
	task->ending = SCSI_RESPONSE_OK;
	task->order = SCSI_ORDER_FREE;
	task->buffer = NULL;
	if (likely(channel != NULL)) {
		task->sequence = channel->sequence++;
		list_add_tail(&channel->tasks, &task->link);
		channel->stats.commands++;
		if (likely((atomic_load_explicit(
				    &channel->attachment->attention, memory_order_relaxed) |
				   task->attribute | channel->watched) == 0 &&
			    scsi_read_write_submit(task)))
			return;
	}
	task->lock = NULL;
	task->copy = NULL;
	task->io.channel = NULL;
	task->io.submitted_ns = task->reactor->now_ns;
	task->deferred.queued = false;
	task->deferred.run = task_deferred;
	if (channel && task->attribute | channel->watched && scsi_order_holds(task))
		return;
	if (scsi_command_dispatch(task) == SCSI_ENDED)
		task_end_later(task);
}

void scsi_task_begin(struct scsi_task *task)
{
	if (task->ending != SCSI_RESPONSE_OK || scsi_command_dispatch(task) == SCSI_ENDED)
		task_end_later(task);
}

bool scsi_task_release(struct scsi_task *task)
{
	slab_put(task->reactor, task->buffer_class, task->buffer);
	task->buffer = NULL;
	if (task->lock)
		scsi_task_unlock(task);
	else if (task->copy)
		scsi_copy_end(task);
	else
		return false;
	return true;
}

/* Of a READ or WRITE on the straight path the block device has it from submit to done. */
bool scsi_task_get_place(const struct scsi_task *task, struct bdev_io_place *ret_place)
{
	if (!task->io.channel) {
		*ret_place = (struct bdev_io_place){.submitted_ns = task->io.submitted_ns};
		return false;
	}
	bdev_io_get_place(&task->io, task->channel->bdev_channel, ret_place);
	return true;
}

/* ---- steps ------------------------------------------------------------------------------- */

void scsi_task_next_step(struct scsi_task *task)
{
	if (task->ending != SCSI_RESPONSE_OK || task->step(task) == SCSI_ENDED)
		scsi_task_finish(task);
}

static void task_io_done(struct bdev_io *io)
{
	struct scsi_task *task = container_of(io, struct scsi_task, io);
	bool has_lba = io->type != BDEV_IO_FLUSH;

	io->channel = NULL; /* for scsi_task_get_place */
	if (likely(io->status == 0)) {
		scsi_task_next_step(task);
		return;
	}
	scsi_task_check_errno(task, io->status, has_lba, io->offset >> task->channel->block_shift);
	scsi_task_finish(task);
}

static bool task_writes_through(const struct scsi_task *task, enum bdev_io_type type)
{
	uint32_t attention =
		atomic_load_explicit(&task->channel->attachment->attention, memory_order_relaxed);

	return attention & SCSI_ATTENTION_WRITE_THROUGH && type != BDEV_IO_READ &&
	       type != BDEV_IO_FLUSH && type != BDEV_IO_EXTENT;
}

enum scsi_run scsi_task_io(struct scsi_task *task, enum bdev_io_type type, uint64_t offset,
	uint64_t length, uint8_t flags, scsi_step_fn next)
{
	struct bdev_io *io = &task->io;

	if (type == BDEV_IO_FLUSH || type == BDEV_IO_UNMAP || type == BDEV_IO_WRITE_ZEROES) {
		io->iov = NULL;
		io->iovcnt = 0;
	}
	if (task_writes_through(task, type))
		flags |= BDEV_IO_FUA;
	io->type = (uint8_t)type;
	io->flags = flags;
	io->offset = offset;
	io->length = length;
	io->lock = scsi_task_range_lock(task);
	io->done = task_io_done;
	task->step = next;
	bdev_submit(task->channel->bdev_channel, io);
	return SCSI_GOES_ON;
}

/* The slab may be dry again when our turn comes: then we wait once more. */
static void task_buffer_ready(struct slab_waiter *waiter)
{
	struct scsi_task *task = container_of(waiter, struct scsi_task, waiter);

	task->buffer = slab_get(task->reactor, task->buffer_class);
	if (!task->buffer && task->ending == SCSI_RESPONSE_OK) {
		slab_wait(task->reactor, task->buffer_class, &task->waiter);
		return;
	}
	scsi_task_next_step(task);
}

enum scsi_run scsi_task_get_buffer(struct scsi_task *task, enum slab_class class, scsi_step_fn next)
{
	task->buffer_class = class;
	task->step = next;
	task->buffer = slab_get(task->reactor, class);
	if (likely(task->buffer != NULL))
		return next(task);
	task->waiter.ready = task_buffer_ready;
	slab_wait(task->reactor, class, &task->waiter);
	return SCSI_GOES_ON;
}

static void task_back_from_control(struct message *message)
{
	scsi_task_next_step(container_of(message, struct scsi_task, message));
}

void scsi_task_leave_control(struct scsi_task *task)
{
	task->message.run = task_back_from_control;
	reactor_send(task->reactor, &task->message);
}

static void task_at_control(struct message *message)
{
	struct scsi_task *task = container_of(message, struct scsi_task, message);

	task->at_control(task);
	scsi_task_leave_control(task);
}

enum scsi_run scsi_task_on_control(
	struct scsi_task *task, void (*fn)(struct scsi_task *task), scsi_step_fn next)
{
	task->at_control = fn;
	task->step = next;
	task->message.run = task_at_control;
	reactor_send(task->channel->attachment->lun->control, &task->message);
	return SCSI_GOES_ON;
}

static void task_stay_at_control(struct message *message)
{
	struct scsi_task *task = container_of(message, struct scsi_task, message);

	task->at_control(task);
}

enum scsi_run scsi_task_keep_on_control(
	struct scsi_task *task, void (*fn)(struct scsi_task *task), scsi_step_fn next)
{
	task->at_control = fn;
	task->step = next;
	task->message.run = task_stay_at_control;
	reactor_send(task->channel->attachment->lun->control, &task->message);
	return SCSI_GOES_ON;
}

enum scsi_run scsi_task_good(struct scsi_task *task)
{
	task->status = SCSI_STATUS_GOOD;
	task->transferred = (uint32_t)task->moved;
	return SCSI_ENDED;
}
