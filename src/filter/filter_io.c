/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests on their way down, on the reactor that they came on.
 *
 * A filter that changes nothing but the offset passes the request itself down (bdev/io.h), unless
 * the device below passes down itself or cannot take one just then. All others, and these then,
 * send a request of their own, from the reactor's slab, over the same vectors.
 */
#include <stdlib.h>

#include "filter/filter_impl.h"

/* Own request to the device below. */
struct filter_child {
	struct bdev_io io;
	struct bdev_io *of;
	void (*done)(struct bdev_io *io, int status);
};

/* In the backend's part of a request that waits for a child. */
struct filter_wait {
	struct slab_waiter waiter;
	void (*done)(struct bdev_io *io, int status);
};

_Static_assert(sizeof(struct filter_wait) <= FILTER_SEND_SIZE, "fits in the request");

void filter_channel_prepare(struct bdev_channel *channel, done_fn done, void *arg)
{
	struct filter_part *part = filter_part_of(channel->bdev);
	struct filter_channel *own = filter_channel_of(channel);

	own->offset = part->offset;
	bdev_channel_open(&part->filter->base, channel->reactor, &own->base, done, arg);
}

void filter_channel_release(struct bdev_channel *channel, done_fn done, void *arg)
{
	bdev_channel_close(filter_channel_of(channel)->base, done, arg);
}

int filter_channel_init(struct bdev_channel *channel)
{
	struct filter_channel *own = filter_channel_of(channel);

	own->takes_passed = bdev_channel_takes_passed(own->base);
	if (own->takes_passed)
		bdev_channel_set_passing(channel);
	return 0;
}

/* ---- by a request of its own --------------------------------------------------------------- */

static void filter_child_done(struct bdev_io *io)
{
	struct filter_child *child = container_of(io, struct filter_child, io);
	struct bdev_io *of = child->of;
	void (*done)(struct bdev_io * io, int status) = child->done;
	int status = io->status;

	slab_put(of->channel->reactor, SLAB_512, child);
	done(of, status);
}

static void filter_slab_ready(struct slab_waiter *waiter)
{
	struct filter_wait *wait = container_of(waiter, struct filter_wait, waiter);
	struct bdev_io *io = container_of((uint8_t *)wait, struct bdev_io, backend.bytes);

	filter_send(io->channel, io, wait->done);
}

void filter_send(struct bdev_channel *channel, struct bdev_io *io,
	void (*done)(struct bdev_io *io, int status))
{
	struct filter_channel *own = filter_channel_of(channel);
	struct filter_child *child = slab_get(channel->reactor, SLAB_512);

	if (unlikely(!child)) {
		struct filter_wait *wait = (struct filter_wait *)io->backend.bytes;

		wait->waiter.ready = filter_slab_ready;
		wait->done = done;
		slab_wait(channel->reactor, SLAB_512, &wait->waiter);
		return;
	}
	child->of = io;
	child->done = done;
	child->io = (struct bdev_io){
		.type = io->type,
		.flags = io->flags,
		.iov = io->iov,
		.iovcnt = io->iovcnt,
		.offset = io->offset + own->offset,
		.length = io->length,
		.done = filter_child_done,
	};
	bdev_submit(own->base, &child->io);
}

/* ---- passed down --------------------------------------------------------------------------- */

static void filter_passed(struct bdev_io *io)
{
	bdev_io_take_back(io);
	bdev_io_end(io);
}

void filter_forward(struct bdev_channel *channel, struct bdev_io *io)
{
	struct filter_channel *own = filter_channel_of(channel);

	if (likely(own->takes_passed && bdev_io_may_pass(io, own->base)))
		bdev_io_pass_down(io, own->base, io->offset + own->offset, filter_passed);
	else
		filter_send(channel, io, bdev_io_complete);
}

/* ---- all channels -------------------------------------------------------------------------- */

struct channels_op {
	struct flow flow;
	struct filter *filter;
	unsigned at;
	void (*fn)(struct bdev_channel *channel);
	done_fn done;
	void *arg;
};

static void channels_call(struct bdev_channel *channel, void *arg)
{
	((const struct channels_op *)arg)->fn(channel);
}

static const struct bdev_each_channel channels_each = {.run = channels_call};

static void channels_call_part(struct channels_op *op, done_fn done, void *arg)
{
	bdev_for_each_channel(&op->filter->parts[op->at].bdev, &channels_each, op, done, arg);
}

static enum flow_result channels_run(struct flow *f)
{
	struct channels_op *op = container_of(f, struct channels_op, flow);

	FLOW_BEGIN(f);
	for (op->at = 0; op->at < op->filter->parts_count; op->at++)
		if (op->filter->parts[op->at].registered)
			AWAIT(f, channels_call_part(op, flow_resume, f));
	op->done(op->arg, 0);
	filter_put(op->filter);
	free(op);
	FLOW_END(f);
}

void filter_call_channels(
	struct filter *filter, void (*fn)(struct bdev_channel *channel), done_fn done, void *arg)
{
	struct channels_op *op = alloc_op(sizeof(*op));

	op->filter = filter;
	op->fn = fn;
	op->done = done;
	op->arg = arg;
	filter_get(filter);
	flow_start(&op->flow, filter->filters->control, "filter_channels", channels_run);
}
