/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SANITIZE and FORMAT UNIT at work (wipe.h): SBC-3 4.11, 5.3.
 *
 *	control		wipe_run: shares the device, takes the write claim, opens a channel on
 *			the command's reactor, and waits until what was in flight has ended (a
 *			range lock of the whole device, given back at once)
 *	data reactor	one piece after the other, then a flush
 *	control		gives everything back, says how it ended
 *
 * Meanwhile, and after a failure, SCSI_ATTENTION_WIPED is set for every attachment of the unit, so
 * that the dispatcher asks here: commands end with NOT READY and how far it is, or with MEDIUM
 * ERROR. The operation has a share of the device of its own: it survives every reset, task
 * management and the initiator, but neither the device nor the daemon.
 *
 * Erasing writes zeroes and lets the device unmap. That is stronger than UNMAP, which may leave the
 * data where they are.
 */
#include "scsi/wipe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "scsi/lun.h"
#include "scsi/sense.h"
#include "scsi/steps.h"
#include "scsi/task_impl.h"

#define PATTERN_BYTES (1 * MIB)
#define ERASE_BYTES   (64 * MIB)

struct scsi_wipe {
	struct flow flow;
	struct scsi_lun *lun; /* stays until the end */
	struct scsi_task *task; /* that waits, or NULL */
	struct bdev *bdev;
	struct reactor *reactor;
	struct scsi_wipe_options options;
	struct bdev_user user;
	struct bdev_channel *channel;
	struct bdev_range_lock lock;
	_Atomic bool cancelled; /* control writes */

	/* data reactor */
	uint8_t *pattern; /* PATTERN_BYTES; NULL: the device writes zeroes by itself */
	struct iovec iov;
	struct bdev_io io;
	uint64_t size;
	uint64_t at;
	unsigned pass;
	int rc;
	struct message message; /* there and back */
	done_fn done;
	void *arg;
};

/* ---- what others see --------------------------------------------------------------------- */

static void wipe_set_state(struct scsi_lun *lun, enum scsi_wipe_state state)
{
	struct scsi_attachment *attachment;

	atomic_store_explicit(&lun->wipe_state, state, memory_order_release);
	list_for_each_entry (attachment, &lun->attachments, link) {
		if (state == SCSI_WIPE_NONE)
			atomic_fetch_and_explicit(&attachment->attention, ~SCSI_ATTENTION_WIPED,
				memory_order_release);
		else
			atomic_fetch_or_explicit(
				&attachment->attention, SCSI_ATTENTION_WIPED, memory_order_release);
	}
}

bool scsi_wipe_sense(const struct scsi_lun *lun, struct scsi_sense *ret_sense)
{
	enum scsi_wipe_state state = atomic_load_explicit(&lun->wipe_state, memory_order_acquire);
	if (state == SCSI_WIPE_NONE)
		return false;
	*ret_sense = (struct scsi_sense){.key = SCSI_KEY_MEDIUM_ERROR};
	switch (state) {
	case SCSI_WIPE_NONE:
		break;
	case SCSI_WIPE_SANITIZING:
	case SCSI_WIPE_FORMATTING:
		ret_sense->key = SCSI_KEY_NOT_READY;
		ret_sense->code = state == SCSI_WIPE_SANITIZING ? SCSI_ASC_SANITIZE_IN_PROGRESS
								: SCSI_ASC_FORMAT_IN_PROGRESS;
		ret_sense->progress_valid = true;
		ret_sense->progress =
			atomic_load_explicit(&lun->wipe_progress, memory_order_relaxed);
		return true;
	case SCSI_WIPE_SANITIZE_FAILED:
	case SCSI_WIPE_SANITIZE_FAILED_UNRESTRICTED:
		ret_sense->code = SCSI_ASC_SANITIZE_FAILED;
		return true;
	case SCSI_WIPE_FORMAT_FAILED:
		ret_sense->code = SCSI_ASC_FORMAT_FAILED;
		return true;
	}
	return false;
}

enum scsi_run scsi_wipe_check(struct scsi_task *task)
{
	struct scsi_sense sense;

	if (!scsi_wipe_sense(task->channel->attachment->lun, &sense))
		return SCSI_GOES_ON;
	return scsi_task_check_sense(task, &sense);
}

/* What control has to tell, in task->loop_flags. */
enum wipe_answer { WIPE_GOOD, WIPE_FAILED, WIPE_OTHER_RUNS, WIPE_NO_MEMORY };

static void wipe_answer(struct scsi_task *task, enum wipe_answer answer)
{
	task->loop_flags = answer;
	scsi_task_leave_control(task);
}

enum scsi_run scsi_wipe_answered(struct scsi_task *task)
{
	enum wipe_answer answer = task->loop_flags;

	if (answer == WIPE_GOOD)
		return SCSI_ENDED;
	task->transferred = 0;
	if (answer == WIPE_NO_MEMORY || scsi_wipe_check(task) == SCSI_GOES_ON)
		task->status = SCSI_STATUS_BUSY; /* what there was to tell has passed */
	return SCSI_ENDED;
}

int scsi_wipe_exit_failure(struct scsi_lun *lun)
{
	switch ((enum scsi_wipe_state)atomic_load_explicit(
		&lun->wipe_state, memory_order_relaxed)) {
	case SCSI_WIPE_SANITIZE_FAILED_UNRESTRICTED:
		wipe_set_state(lun, SCSI_WIPE_NONE);
		return 0;
	case SCSI_WIPE_SANITIZE_FAILED:
		return -EPERM;
	default:
		return 0;
	}
}

/* ---- data reactor ------------------------------------------------------------------------ */

static void wipe_back(struct message *message)
{
	struct scsi_wipe *wipe = container_of(message, struct scsi_wipe, message);

	wipe->done(wipe->arg, wipe->rc);
}

static void wipe_end(struct scsi_wipe *wipe)
{
	wipe->message.run = wipe_back;
	reactor_send(wipe->flow.reactor, &wipe->message);
}

static void wipe_flushed(struct bdev_io *io)
{
	struct scsi_wipe *wipe = container_of(io, struct scsi_wipe, io);

	wipe->rc = io->status;
	wipe_end(wipe);
}

static void wipe_flush(struct scsi_wipe *wipe)
{
	if (!bdev_supports(wipe->bdev, BDEV_IO_FLUSH)) {
		wipe_end(wipe);
		return;
	}
	wipe->io = (struct bdev_io){.type = BDEV_IO_FLUSH, .done = wipe_flushed};
	bdev_submit(wipe->channel, &wipe->io);
}

static void wipe_next(struct scsi_wipe *wipe);

/* Of 65536. */
static void wipe_tell_progress(struct scsi_wipe *wipe)
{
	uint64_t permille = wipe->at / (wipe->size / 1000 + 1);
	uint64_t done = (uint64_t)wipe->pass * 1000 + permille;
	uint64_t progress = done * 65535 / (wipe->options.passes * UINT64_C(1000));

	atomic_store_explicit(&wipe->lun->wipe_progress, (uint16_t)progress, memory_order_relaxed);
}

static void wipe_invert(struct scsi_wipe *wipe)
{
	for (size_t i = 0; i < PATTERN_BYTES; i++)
		wipe->pattern[i] = (uint8_t)~wipe->pattern[i];
}

static void wipe_piece_done(struct bdev_io *io)
{
	struct scsi_wipe *wipe = container_of(io, struct scsi_wipe, io);

	wipe->rc = io->status;
	wipe->at += io->length;
	if (wipe->rc) {
		wipe_end(wipe);
		return;
	}
	wipe_tell_progress(wipe);
	wipe_next(wipe);
}

static void wipe_piece(struct scsi_wipe *wipe)
{
	uint64_t most = wipe->pattern ? PATTERN_BYTES : ERASE_BYTES;

	wipe->io = (struct bdev_io){
		.type = wipe->pattern ? BDEV_IO_WRITE : BDEV_IO_WRITE_ZEROES,
		.offset = wipe->at,
		.length = u64_min(wipe->size - wipe->at, most),
		.done = wipe_piece_done,
	};
	if (wipe->pattern) {
		wipe->iov = (struct iovec){wipe->pattern, wipe->io.length};
		wipe->io.iov = &wipe->iov;
		wipe->io.iovcnt = 1;
	}
	bdev_submit(wipe->channel, &wipe->io);
}

static void wipe_next(struct scsi_wipe *wipe)
{
	if (atomic_load_explicit(&wipe->cancelled, memory_order_relaxed)) {
		wipe->rc = -ECANCELED;
		wipe_end(wipe);
		return;
	}
	wipe->size = u64_min(wipe->size, bdev_size(wipe->bdev));
	if (wipe->at < wipe->size) {
		wipe_piece(wipe);
		return;
	}
	wipe->at = 0;
	if (++wipe->pass == wipe->options.passes) {
		wipe_flush(wipe);
		return;
	}
	if (wipe->options.invert)
		wipe_invert(wipe);
	wipe_next(wipe);
}

static void wipe_begin(struct message *message)
{
	wipe_next(container_of(message, struct scsi_wipe, message));
}

/* ---- control ----------------------------------------------------------------------------- */

static void wipe_pieces(struct scsi_wipe *wipe, done_fn done, void *arg)
{
	wipe->done = done;
	wipe->arg = arg;
	wipe->size = bdev_size(wipe->bdev);
	wipe->message.run = wipe_begin;
	reactor_send(wipe->reactor, &wipe->message);
}

static void wipe_cancel(struct scsi_wipe *wipe)
{
	atomic_store_explicit(&wipe->cancelled, true, memory_order_relaxed);
}

static void wipe_removed(struct bdev_user *user)
{
	wipe_cancel(container_of(user, struct scsi_wipe, user));
}

static const struct bdev_user_ops wipe_user_ops = {
	.name = "a SCSI command that overwrites it",
	.removed = wipe_removed,
};

bool scsi_wipe_orphan(struct scsi_lun *lun)
{
	if (lun->wipe)
		wipe_cancel(lun->wipe);
	return lun->wipe;
}

static enum scsi_wipe_state wipe_state_after(const struct scsi_wipe *wipe)
{
	if (!wipe->flow.error)
		return SCSI_WIPE_NONE;
	if (wipe->options.kind == SCSI_WIPE_FORMAT)
		return SCSI_WIPE_FORMAT_FAILED;
	return wipe->options.unrestricted_exit ? SCSI_WIPE_SANITIZE_FAILED_UNRESTRICTED
					       : SCSI_WIPE_SANITIZE_FAILED;
}

/* The states of the unit and of the task that waits. */
static void wipe_finish(struct scsi_wipe *wipe)
{
	struct scsi_lun *lun = wipe->lun;

	lun->wipe = NULL;
	wipe_set_state(lun, wipe_state_after(wipe));
	if (wipe->task)
		wipe_answer(wipe->task, wipe->flow.error ? WIPE_FAILED : WIPE_GOOD);
	if (lun->attachment_count == 0)
		scsi_lun_destroy(lun);
	free(wipe->pattern);
	free(wipe);
}

static enum flow_result wipe_run(struct flow *f)
{
	struct scsi_wipe *op = container_of(f, struct scsi_wipe, flow);

	FLOW_BEGIN(f);
	flow_fail(f, bdev_open(op->bdev, &op->user, NULL));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, bdev_claim(&op->user, BDEV_CLAIM_SHARED_WRITE, NULL, flow_resume, f));
	if (flow_failed(f))
		goto close;
	AWAIT(f, bdev_channel_open(&op->user, op->reactor, &op->channel, flow_resume, f));
	if (flow_failed(f))
		goto release;
	AWAIT(f, bdev_range_lock(
			 &op->lock, op->bdev, f->reactor, 0, BDEV_RANGE_ALL, flow_resume, f));
	AWAIT(f, bdev_range_unlock(&op->lock, flow_resume, f));
	AWAIT(f, wipe_pieces(op, flow_resume, f));
	AWAIT(f, bdev_channel_close(op->channel, flow_resume, f));
release:
	AWAIT(f, bdev_release(&op->user, flow_resume, f));
close:
	bdev_close(&op->user);
finish:
	bdev_operation_end(op->bdev);
	wipe_finish(op);
	FLOW_END(f);
}

/* Of a whole number of blocks. false: out of memory. */
static bool wipe_make_pattern(struct scsi_wipe *wipe, const void *block, uint32_t block_size)
{
	bool zeroes = wipe->options.kind != SCSI_WIPE_OVERWRITE;

	wipe->options.pattern = NULL;
	if (zeroes && bdev_supports(wipe->bdev, BDEV_IO_WRITE_ZEROES))
		return true;
	wipe->pattern = aligned_alloc(4096, PATTERN_BYTES);
	if (!wipe->pattern)
		return false;
	if (zeroes)
		memset(wipe->pattern, 0, PATTERN_BYTES);
	for (size_t at = 0; !zeroes && at < PATTERN_BYTES; at += block_size)
		memcpy(wipe->pattern + at, block, block_size);
	return true;
}

void scsi_wipe_start(struct scsi_task *task, const struct scsi_wipe_options *options)
{
	struct scsi_lun *lun = task->channel->attachment->lun;
	struct scsi_wipe *wipe;

	if (lun->wipe) { /* it came while another one was on its way here */
		wipe_answer(task, WIPE_OTHER_RUNS);
		return;
	}
	wipe = alloc_op(sizeof(*wipe));
	wipe->options = *options;
	wipe->lun = lun;
	wipe->bdev = lun->bdev;
	wipe->reactor = task->reactor;
	wipe->user.ops = &wipe_user_ops;
	if (!wipe_make_pattern(wipe, options->pattern, lun->bdev->block_size)) {
		free(wipe);
		wipe_answer(task, WIPE_NO_MEMORY);
		return;
	}
	wipe->task = options->immediate ? NULL : task;
	lun->wipe = wipe;
	atomic_store_explicit(&lun->wipe_progress, 0, memory_order_relaxed);
	wipe_set_state(lun,
		options->kind == SCSI_WIPE_FORMAT ? SCSI_WIPE_FORMATTING : SCSI_WIPE_SANITIZING);
	bdev_operation_begin(wipe->bdev);
	flow_start(&wipe->flow, lun->control, "scsi_wipe", wipe_run);
	if (options->immediate)
		wipe_answer(task, WIPE_GOOD);
}
