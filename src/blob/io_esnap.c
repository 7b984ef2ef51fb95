/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Channels let go of a foreign device that their blob does not stand on any more, while they are in
 * use: requests stand aside for as long as it takes.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "blob/io_impl.h"

struct esnap_release_op {
	struct flow flow;
	struct bdev *bdev;
	struct bdev_range_lock lock;
	struct bdev_gate_turn turn;
	struct reactor_call call;
	struct list *at; /* the channel */
	struct bdev_channel *esnap; /* that it had */
	done_fn done;
	void *arg;
};

static struct bdev_channel *esnap_release_channel(const struct esnap_release_op *op)
{
	return list_entry(op->at, struct bdev_channel, link);
}

static int esnap_take(struct reactor_call *call)
{
	struct esnap_release_op *op = container_of(call, struct esnap_release_op, call);
	struct blob_channel *own = blob_channel_of(esnap_release_channel(op));

	op->esnap = own->esnap;
	own->esnap = NULL;
	return 0;
}

static enum flow_result esnap_release_run(struct flow *f)
{
	struct esnap_release_op *op = container_of(f, struct esnap_release_op, flow);

	FLOW_BEGIN(f);
	if (!op->bdev)
		goto finish;
	AWAIT(f, bdev_range_lock(
			 &op->lock, op->bdev, f->reactor, 0, BDEV_RANGE_ALL, flow_resume, f));
	/* No channel comes or goes meanwhile. */
	AWAIT(f, bdev_gate_enter(&op->bdev->channel_gate, &op->turn, flow_resume, f));
	for (op->at = op->bdev->channels.next; op->at != &op->bdev->channels;
		op->at = op->at->next) {
		AWAIT(f, reactor_call(&op->call, f->reactor, esnap_release_channel(op)->reactor,
				 esnap_take, flow_resume, f));
		if (op->esnap)
			AWAIT(f, bdev_channel_close(op->esnap, flow_resume, f));
	}
	bdev_gate_leave(&op->bdev->channel_gate);
	AWAIT(f, bdev_range_unlock(&op->lock, flow_resume, f));
	bdev_operation_end(op->bdev);
finish:
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

void blob_esnap_release(struct blob *blob, done_fn done, void *arg)
{
	struct esnap_release_op *op = alloc_op(sizeof(*op));

	op->bdev = blob->bdev;
	if (op->bdev)
		bdev_operation_begin(op->bdev);
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, blob->store->control, "blob_esnap_release", esnap_release_run);
}
