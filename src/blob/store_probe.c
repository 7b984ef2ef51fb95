/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Is there a store on a device? A look at its super block, on the control reactor, without a claim:
 * for examining devices that were attached.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "blob/store_impl.h"

struct probe_op {
	struct flow flow;
	struct bdev_user user;
	struct bdev *base;
	struct bdev_channel *channel;
	struct bdev_io io;
	struct iovec iov;
	int rc;
	done_fn done;
	void *arg;
};

/* It is closed as soon as the look is over. */
static void probe_removed(struct bdev_user *user)
{
}

static const struct bdev_user_ops probe_user_ops = {
	.name = "lvol",
	.removed = probe_removed,
};

static void probe_read_done(struct bdev_io *io)
{
	struct probe_op *op = container_of(io, struct probe_op, io);

	flow_resume(&op->flow, io->status);
}

static void probe_read(struct probe_op *op)
{
	op->iov.iov_len = BLOBSTORE_PAGE_BYTES;
	op->io.type = BDEV_IO_READ;
	op->io.iov = &op->iov;
	op->io.iovcnt = 1;
	op->io.length = BLOBSTORE_PAGE_BYTES;
	op->io.done = probe_read_done;
	bdev_submit(op->channel, &op->io);
}

static bool probe_sees_store(const struct probe_op *op)
{
	return memcmp(op->iov.iov_base, BLOBSTORE_SIGNATURE, strlen(BLOBSTORE_SIGNATURE)) == 0;
}

static enum flow_result probe_run(struct flow *f)
{
	struct probe_op *op = container_of(f, struct probe_op, flow);

	FLOW_BEGIN(f);
	op->rc = -ENOENT;
	if (op->base->block_size > BLOBSTORE_PAGE_BYTES ||
		bdev_size(op->base) < BLOBSTORE_PAGE_BYTES)
		goto finish;
	op->rc = op->iov.iov_base ? 0 : -ENOMEM;
	if (!op->rc)
		op->rc = bdev_open(op->base, &op->user, NULL);
	if (op->rc)
		goto finish;
	AWAIT(f, bdev_channel_open(&op->user, f->reactor, &op->channel, flow_resume, f));
	op->rc = f->rc;
	if (op->rc)
		goto close_base;
	AWAIT(f, probe_read(op));
	op->rc = f->rc;
	if (!op->rc && !probe_sees_store(op))
		op->rc = -ENOENT;
	AWAIT(f, bdev_channel_close(op->channel, flow_resume, f));
close_base:
	bdev_close(&op->user);
finish:
	op->done(op->arg, op->rc);
	free(op->iov.iov_base);
	free(op);
	FLOW_END(f);
}

void blob_store_probe(struct bdev *base, done_fn done, void *arg)
{
	struct probe_op *op = alloc_op(sizeof(*op));

	op->base = base;
	op->user.ops = &probe_user_ops;
	op->iov.iov_base = aligned_alloc(BLOBSTORE_PAGE_BYTES, BLOBSTORE_PAGE_BYTES);
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, bdev_registry_control(base->registry), "blob_store_probe", probe_run);
}
