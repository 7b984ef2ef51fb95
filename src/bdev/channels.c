/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Something with each channel of a device, one after the other, each on its own reactor. Meanwhile
 * none is opened or closed: all are inside the device's channel gate.
 */
#include <stdlib.h>

#include "bdev/bdev_impl.h"

struct channels_op {
	struct flow flow;
	struct bdev *bdev;
	const struct bdev_each_channel *each;
	void *arg;
	struct bdev_gate_turn turn;
	struct reactor_call call;
	struct list *at;
	done_fn done;
	void *done_arg;
};

static struct bdev_channel *channels_at(const struct channels_op *op)
{
	return list_entry(op->at, struct bdev_channel, link);
}

/* Channel's reactor. */
static int channels_run_one(struct reactor_call *call)
{
	const struct channels_op *op = container_of(call, struct channels_op, call);

	op->each->run(channels_at(op), op->arg);
	return 0;
}

static void channels_begin_one(struct channels_op *op, done_fn done, void *arg)
{
	if (op->each->before)
		op->each->before(channels_at(op), op->arg);
	reactor_call(
		&op->call, op->flow.reactor, channels_at(op)->reactor, channels_run_one, done, arg);
}

static enum flow_result channels_run(struct flow *f)
{
	struct channels_op *op = container_of(f, struct channels_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->bdev->channel_gate, &op->turn, flow_resume, f));
	if (op->each->enter)
		flow_fail(f, op->each->enter(op->bdev, op->arg));
	if (flow_failed(f))
		goto leave;
	for (op->at = op->bdev->channels.next; op->at != &op->bdev->channels;
		op->at = op->at->next) {
		AWAIT(f, channels_begin_one(op, flow_resume, f));
		if (op->each->after)
			op->each->after(channels_at(op), op->arg);
	}
	if (op->each->leave)
		op->each->leave(op->bdev, op->arg);
leave:
	bdev_gate_leave(&op->bdev->channel_gate);
	bdev_operation_end(op->bdev);
	op->done(op->done_arg, f->error);
	free(op);
	FLOW_END(f);
}

void bdev_for_each_channel(struct bdev *bdev, const struct bdev_each_channel *each, void *arg,
	done_fn done, void *done_arg)
{
	struct channels_op *op = alloc_op(sizeof(*op));

	op->bdev = bdev;
	op->each = each;
	op->arg = arg;
	op->done = done;
	op->done_arg = done_arg;
	bdev_operation_begin(bdev);
	flow_start(&op->flow, bdev->registry->control, "bdev_channels", channels_run);
}
