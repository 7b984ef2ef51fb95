/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A whole device is discarded: what a deleted store held. In pieces, one after another, so that
 * other requests of the device have their turn.
 */
#include <errno.h>
#include <stdlib.h>

#include "lvol/lvol_impl.h"

#define DISCARD_PIECE_BYTES (64 * MIB)

struct discard_op {
	struct flow flow;
	struct bdev *bdev;
	struct bdev_user user;
	struct bdev_channel *channel;
	struct bdev_io io;
	uint64_t offset;
	done_fn io_done;
	void *io_arg;
	done_fn done;
	void *arg;
};

static void discard_removed(struct bdev_user *user)
{
	/* Its requests fail from now on, which ends the flow that closes it. */
}

static const struct bdev_user_ops discard_user_ops = {
	.name = "the deletion of a volume store",
	.removed = discard_removed,
};

static void discard_piece_done(struct bdev_io *io)
{
	struct discard_op *op = container_of(io, struct discard_op, io);

	op->offset += io->length;
	op->io_done(op->io_arg, io->status);
}

static void discard_piece(struct discard_op *op, done_fn done, void *arg)
{
	op->io_done = done;
	op->io_arg = arg;
	op->io.offset = op->offset;
	op->io.length = u64_min(DISCARD_PIECE_BYTES, bdev_size(op->bdev) - op->offset);
	bdev_submit(op->channel, &op->io);
}

static enum flow_result discard_run(struct flow *f)
{
	struct discard_op *op = container_of(f, struct discard_op, flow);

	FLOW_BEGIN(f);
	flow_fail(f, bdev_open(op->bdev, &op->user, NULL));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, bdev_claim(&op->user, BDEV_CLAIM_EXCLUSIVE_WRITE, NULL, flow_resume, f));
	if (flow_failed(f))
		goto close;
	AWAIT(f, bdev_channel_open(&op->user, f->reactor, &op->channel, flow_resume, f));
	if (flow_failed(f))
		goto release;
	while (!flow_failed(f) && op->offset < bdev_size(op->bdev))
		AWAIT(f, discard_piece(op, flow_resume, f));
	AWAIT(f, bdev_channel_close(op->channel, flow_resume, f));
release:
	AWAIT(f, bdev_release(&op->user, flow_resume, f));
close:
	bdev_close(&op->user);
finish:
	if (f->error && f->error != -ENODEV)
		log_warning("what a deleted volume store held on %s is not discarded: %s",
			op->bdev->name, reason_text(NULL, f->error));
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

void bdev_discard_all(struct bdev *bdev, enum bdev_io_type type, done_fn done, void *arg)
{
	struct discard_op *op = alloc_op(sizeof(*op));

	op->bdev = bdev;
	op->user.ops = &discard_user_ops;
	op->io.type = (uint8_t)type;
	op->io.done = discard_piece_done;
	op->done = done;
	op->arg = arg;
	flow_start(
		&op->flow, bdev_registry_control(bdev->registry), "bdev_discard_all", discard_run);
}
