/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device on a reactor. The first half runs there: requests that take the general way, and the end
 * of all. The second half runs on the control reactor: opening and closing, one at a time for each
 * device (channel_gate), so that a channel is made once however many ask for it, and a new one on
 * the same reactor only when the old one is gone.
 *
 * A channel's memory is allocated and freed by the control reactor; its reactor knows it from
 * channel_start to channel_end, both in messages. A device over another one opens that one's
 * channel before and closes it after (ops->channel_prepare, channel_release).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bdev/bdev_impl.h"

/* ---- the channel's reactor ---------------------------------------------- */

/* It was counted (bdev_io_count) in this very turn. */
void bdev_channel_uncount(struct bdev_channel *channel, const struct bdev_io *io)
{
	struct bdev_io_stats *stats = &channel->stats;
	const unsigned type = io->type;

	stats->of[type].ops--;
	stats->of[type].latency_ns -= channel->reactor->now_ns - io->submitted_ns;
	if (!io->status)
		stats->of[type].bytes -= io->length;
	else
		stats->errors--;
}

static void bdev_channel_drain(struct deferred *deferred)
{
	struct bdev_channel *channel = container_of(deferred, struct bdev_channel, drain);
	struct bdev_io *io = channel->completed.head;

	bdev_io_list_init(&channel->completed);
	while (io) {
		struct bdev_io *next = io->next;

		bdev_io_count(io, channel);
		io->done(io); /* may free or submit it again */
		io = next;
	}
	if (unlikely(channel->draining))
		bdev_range_holds_check(channel);
}

void bdev_io_end_unusual(struct bdev_io *io)
{
	struct bdev_channel *channel = io->channel;
	const bool draining = channel->draining;

	bdev_io_count(io, channel);
	io->done(io);
	if (draining)
		bdev_range_holds_check(channel);
}

void bdev_channel_refuse(struct bdev_channel *channel, struct bdev_io *io, int status)
{
	io->epoch = channel->epoch;
	channel->in_flight[io->epoch]++;
	if (io->type == BDEV_IO_WORK)
		channel->submit(channel, io);
	else
		bdev_io_complete(io, status);
}

void bdev_submit_detour(struct bdev_channel *channel, struct bdev_io *io)
{
	if (channel->qos && !channel->removed && bdev_qos_holds_back(channel, io))
		return;
	bdev_submit_admitted(channel, io);
}

void bdev_submit_admitted(struct bdev_channel *channel, struct bdev_io *io)
{
	if (channel->removed) {
		bdev_channel_refuse(channel, io, -ENODEV);
		return;
	}
	if (bdev_range_holds_back(channel, io)) {
		io->epoch = BDEV_EPOCH_RANGE_LOCK;
		bdev_io_list_add(&channel->waiting, io);
		return;
	}
	io->epoch = channel->epoch;
	channel->in_flight[io->epoch]++;
	channel->submit(channel, io);
}

static void bdev_channel_refuse_all(struct bdev_channel *channel, struct bdev_io *io)
{
	while (io) {
		struct bdev_io *next = io->next;

		bdev_channel_refuse(channel, io, -ENODEV);
		io = next;
	}
}

void bdev_channel_set_removed(struct bdev_channel *channel)
{
	struct bdev_io *waiting = channel->waiting.head;

	channel->removed = true;
	channel->detour = true;
	bdev_io_list_init(&channel->waiting);
	bdev_channel_refuse_all(channel, waiting);
	bdev_channel_refuse_all(channel, bdev_qos_take_waiting(channel));
	if (channel->bdev->ops->channel_removed)
		channel->bdev->ops->channel_removed(channel);
}

/* ---- requests that stand aside ------------------------------------------ */

void bdev_io_step_aside(struct bdev_io *io)
{
	struct bdev_channel *channel = io->channel;

	channel->in_flight[io->epoch]--;
	if (channel->draining)
		bdev_range_holds_check(channel);
}

void bdev_io_step_back(struct bdev_io *io)
{
	io->epoch = io->channel->epoch;
	io->channel->in_flight[io->epoch]++;
}

/* ---- the control reactor ------------------------------------------------ */

struct bdev_channel_op {
	struct flow flow;
	struct bdev *bdev;
	struct reactor *reactor;
	struct bdev_channel *channel;
	struct bdev_gate_turn turn;
	struct reactor_call call;
	struct bdev_channel **ret_channel;
	done_fn done;
	void *arg;
};

static struct bdev_channel *bdev_channel_find(
	const struct bdev *bdev, const struct reactor *reactor)
{
	struct bdev_channel *channel;

	list_for_each_entry (channel, &bdev->channels, link)
		if (channel->reactor == reactor)
			return channel;
	return NULL;
}

static struct bdev_channel *bdev_channel_alloc(struct bdev *bdev, struct reactor *reactor)
{
	size_t size = align_up(sizeof(struct bdev_channel) + bdev->ops->channel_size, CACHE_LINE);
	struct bdev_channel *channel = aligned_alloc(CACHE_LINE, size);

	if (!channel)
		return NULL;
	memset(channel, 0, size);
	channel->submit_units = bdev->ops->submit;
	channel->submit =
		bdev->io_unit_size > bdev->block_size ? bdev_sectors_submit : bdev->ops->submit;
	channel->unit_mask = (uint16_t)(bdev->io_unit_size - 1);
	channel->reactor = reactor;
	channel->bdev = bdev;
	channel->drain.run = bdev_channel_drain;
	bdev_channel_note_all(channel);
	list_init(&channel->link);
	list_init(&channel->range_holds);
	if (bdev->qos)
		channel->qos = bdev_channel_qos_create(channel);
	channel->detour = channel->qos != NULL;
	bdev_io_list_init(&channel->completed);
	bdev_io_list_init(&channel->waiting);
	if (bdev_channel_histogram_create(channel)) {
		free(channel->qos);
		free(channel);
		return NULL;
	}
	return channel;
}

static int bdev_channel_start(struct reactor_call *call)
{
	struct bdev_channel_op *op = container_of(call, struct bdev_channel_op, call);

	return op->bdev->ops->channel_init ? op->bdev->ops->channel_init(op->channel) : 0;
}

static int bdev_channel_end(struct reactor_call *call)
{
	struct bdev_channel_op *op = container_of(call, struct bdev_channel_op, call);
	struct bdev_channel *channel = op->channel;

	invariant(bdev_channel_in_flight(channel) == 0);
	invariant(channel->waiting.head == NULL);
	bdev_range_holds_detach(channel);
	if (op->bdev->ops->channel_fini)
		op->bdev->ops->channel_fini(channel);
	return 0;
}

static void bdev_channel_free(struct bdev_channel *channel)
{
	bdev_range_locks_leave(channel->bdev, channel->reactor);
	bdev_stats_add(&channel->bdev->closed_stats, &channel->stats);
	bdev_channel_histogram_free(channel);
	free(channel->qos);
	free(channel);
}

static void bdev_channel_op_end(struct bdev_channel_op *op, int rc)
{
	bdev_gate_leave(&op->bdev->channel_gate);
	bdev_operation_end(op->bdev);
	op->done(op->arg, rc);
	free(op);
}

static enum flow_result bdev_channel_open_run(struct flow *f)
{
	struct bdev_channel_op *op = container_of(f, struct bdev_channel_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->bdev->channel_gate, &op->turn, flow_resume, f));
	if (op->bdev->removing) {
		flow_fail(f, -ENODEV);
		goto leave;
	}
	op->channel = bdev_channel_find(op->bdev, op->reactor);
	if (op->channel)
		goto opened;

	op->channel = bdev_channel_alloc(op->bdev, op->reactor);
	if (!op->channel) {
		flow_fail(f, -ENOMEM);
		goto leave;
	}
	if (op->bdev->ops->channel_prepare)
		AWAIT(f, op->bdev->ops->channel_prepare(op->channel, flow_resume, f));
	if (flow_failed(f))
		goto free_channel;
	AWAIT(f, reactor_call(
			 &op->call, f->reactor, op->reactor, bdev_channel_start, flow_resume, f));
	if (flow_failed(f))
		goto release_channel;
	list_add_tail(&op->bdev->channels, &op->channel->link);
	bdev_range_locks_join(op->channel);
opened:
	op->channel->users++;
	*op->ret_channel = op->channel;
	goto leave;

release_channel:
	if (op->bdev->ops->channel_release)
		AWAIT(f, op->bdev->ops->channel_release(op->channel, flow_resume, f));
free_channel:
	bdev_channel_free(op->channel);
leave:
	bdev_channel_op_end(op, f->error);
	FLOW_END(f);
}

static enum flow_result bdev_channel_close_run(struct flow *f)
{
	struct bdev_channel_op *op = container_of(f, struct bdev_channel_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->bdev->channel_gate, &op->turn, flow_resume, f));
	invariant(op->channel->users > 0);
	if (--op->channel->users > 0)
		goto leave;
	list_remove(&op->channel->link);
	AWAIT(f,
		reactor_call(&op->call, f->reactor, op->reactor, bdev_channel_end, flow_resume, f));
	if (op->bdev->ops->channel_release)
		AWAIT(f, op->bdev->ops->channel_release(op->channel, flow_resume, f));
	bdev_channel_free(op->channel);
leave:
	bdev_channel_op_end(op, f->error);
	FLOW_END(f);
}

static struct bdev_channel_op *bdev_channel_op_create(
	struct bdev *bdev, struct reactor *reactor, done_fn done, void *arg)
{
	struct bdev_channel_op *op = alloc_op(sizeof(*op));

	op->bdev = bdev;
	op->reactor = reactor;
	op->done = done;
	op->arg = arg;
	bdev_operation_begin(bdev);
	return op;
}

void bdev_channel_open(struct bdev_user *user, struct reactor *reactor,
	struct bdev_channel **ret_channel, done_fn done, void *arg)
{
	struct bdev_channel_op *op = bdev_channel_op_create(user->bdev, reactor, done, arg);

	op->ret_channel = ret_channel;
	flow_start(&op->flow, user->bdev->registry->control, "bdev_channel_open",
		bdev_channel_open_run);
}

void bdev_channel_close(struct bdev_channel *channel, done_fn done, void *arg)
{
	struct bdev *bdev = channel->bdev;
	struct bdev_channel_op *op = bdev_channel_op_create(bdev, channel->reactor, done, arg);

	op->channel = channel;
	flow_start(
		&op->flow, bdev->registry->control, "bdev_channel_close", bdev_channel_close_run);
}
