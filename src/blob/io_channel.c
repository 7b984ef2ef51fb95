/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A blob on a reactor. Below its channel are that of the store there, which all blobs share (the
 * base device's channel and the reserve of clusters), and, for the clone of a foreign device, that
 * device's. Both are opened before the blob's own and closed after it, on the control reactor.
 *
 * The foreign device is that of the end of the parents' chain when the channel is opened. Snapshots
 * and merges leave it at the end. Where it has gone from the chain meanwhile (inflate) its channel
 * stays open, unused, until the blob's is closed.
 *
 * A store channel is on the store's list while it can be found: its first user opens the base's
 * channel, the others wait at the gate. The last user takes it off the list and closes it, while
 * somebody else may be opening another one for the same reactor.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "blob/io_impl.h"

const size_t blob_channel_size = sizeof(struct blob_channel);

/* ---- the store's channel: control --------------------------------------- */

struct store_channel_op {
	struct flow flow;
	struct store_channel *channel;
	struct bdev_gate_turn turn;
	struct reactor_call call;
	done_fn done;
	void *arg;
};

static struct store_channel *store_channel_find(
	struct blob_store *store, const struct reactor *reactor)
{
	struct store_channel *channel;

	list_for_each_entry (channel, &store->channels, link)
		if (channel->reactor == reactor)
			return channel;
	return NULL;
}

static struct store_channel *store_channel_create(struct blob_store *store, struct reactor *reactor)
{
	struct store_channel *channel = alloc_lines(sizeof(*channel));

	if (!channel)
		return NULL;
	channel->store = store;
	channel->reactor = reactor;
	bdev_gate_init(&channel->gate, store->control);
	reserve_init(&channel->reserve, store, reactor);
	buffers_init(&channel->buffers, reactor);
	list_init(&channel->zeroing);
	list_add_tail(&store->channels, &channel->link);
	return channel;
}

static int store_channel_start(struct reactor_call *call)
{
	struct store_channel_op *op = container_of(call, struct store_channel_op, call);

	/* What was committed before may not be stable: the first FUA write flushes. */
	op->channel->flushed_commits = UINT64_MAX;
	zero_memory_init(op->channel);
	return 0;
}

static int store_channel_stop(struct reactor_call *call)
{
	struct store_channel_op *op = container_of(call, struct store_channel_op, call);
	struct store_channel *channel = op->channel;

	invariant(list_is_empty(&channel->zeroing));
	invariant(buffers_are_unused(&channel->buffers));
	poller_stop(&channel->zero_poller);
	return 0;
}

static void store_channel_free(struct store_channel *channel)
{
	list_remove(&channel->link);
	free(channel);
}

static enum flow_result store_channel_open_run(struct flow *f)
{
	struct store_channel_op *op = container_of(f, struct store_channel_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->channel->gate, &op->turn, flow_resume, f));
	if (op->channel->base)
		goto leave;
	AWAIT(f, bdev_channel_open(&op->channel->store->base, op->channel->reactor,
			 &op->channel->base, flow_resume, f));
	if (flow_failed(f))
		goto leave;
	AWAIT(f, reactor_call(&op->call, f->reactor, op->channel->reactor, store_channel_start,
			 flow_resume, f));
leave:
	bdev_gate_leave(&op->channel->gate);
	if (f->error && --op->channel->users == 0)
		store_channel_free(op->channel);
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

/* The caller is counted in users; after a failure no more. */
static void store_channel_open(struct store_channel *channel, done_fn done, void *arg)
{
	struct store_channel_op *op = alloc_op(sizeof(*op));

	op->channel = channel;
	op->done = done;
	op->arg = arg;
	flow_start(
		&op->flow, channel->store->control, "store_channel_open", store_channel_open_run);
}

static enum flow_result store_channel_close_run(struct flow *f)
{
	struct store_channel_op *op = container_of(f, struct store_channel_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, reactor_call(&op->call, f->reactor, op->channel->reactor, store_channel_stop,
			 flow_resume, f));
	AWAIT(f, reserve_leave(&op->channel->reserve, f->reactor, flow_resume, f));
	AWAIT(f, bdev_channel_close(op->channel->base, flow_resume, f));
	free(op->channel);
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

/* Its last user: nobody finds it any more. */
static void store_channel_close(struct store_channel *channel, done_fn done, void *arg)
{
	struct store_channel_op *op = alloc_op(sizeof(*op));

	list_remove(&channel->link);
	op->channel = channel;
	op->done = done;
	op->arg = arg;
	flow_start(
		&op->flow, channel->store->control, "store_channel_close", store_channel_close_run);
}

/* ---- a blob's channel: control ------------------------------------------ */

struct blob_channel_op {
	struct flow flow;
	struct blob *blob;
	struct bdev_channel *channel;
	struct store_channel *store;
	struct bdev_user *esnap;
	struct bdev_channel *esnap_channel;
	done_fn done;
	void *arg;
};

static struct bdev_user *blob_esnap_of_chain(const struct blob *blob)
{
	while (blob->view.parent)
		blob = blob->view.parent;
	return blob->esnap;
}

static struct store_channel *store_channel_get(struct blob_store *store, struct reactor *reactor)
{
	struct store_channel *channel = store_channel_find(store, reactor);

	if (!channel)
		channel = store_channel_create(store, reactor);
	if (channel)
		channel->users++;
	return channel;
}

static void blob_channel_fill(struct blob_channel_op *op)
{
	struct blob_channel *own = blob_channel_of(op->channel);

	own->blob = op->blob;
	own->store = op->store;
	own->base = op->store->base;
	own->channel = op->channel;
	own->esnap = op->esnap_channel;
	own->cluster_shift = op->blob->store->cluster_shift;
	own->cluster_size = op->blob->store->cluster_size;
	own->straight_bytes = bdev_channel_takes_passed(own->base) ? own->cluster_size : 0;
	bdev_channel_set_passing(own->channel);
	blob_channel_init_straight(own);
	for (unsigned i = 0; i < BLOB_ALLOCATION_LISTS; i++)
		list_init(&own->allocations[i]);
}

static enum flow_result blob_channel_prepare_run(struct flow *f)
{
	struct blob_channel_op *op = container_of(f, struct blob_channel_op, flow);

	FLOW_BEGIN(f);
	op->store = store_channel_get(op->blob->store, op->channel->reactor);
	if (!op->store) {
		flow_fail(f, -ENOMEM);
		goto finish;
	}
	AWAIT(f, store_channel_open(op->store, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	op->esnap = blob_esnap_of_chain(op->blob);
	if (!op->esnap)
		goto prepared;
	AWAIT(f, bdev_channel_open(
			 op->esnap, op->channel->reactor, &op->esnap_channel, flow_resume, f));
	if (flow_failed(f))
		goto close_store;
prepared:
	blob_channel_fill(op);
	goto finish;

close_store:
	if (--op->store->users == 0)
		AWAIT(f, store_channel_close(op->store, flow_resume, f));
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

static enum flow_result blob_channel_release_run(struct flow *f)
{
	struct blob_channel_op *op = container_of(f, struct blob_channel_op, flow);

	FLOW_BEGIN(f);
	if (op->esnap_channel)
		AWAIT(f, bdev_channel_close(op->esnap_channel, flow_resume, f));
	if (--op->store->users == 0)
		AWAIT(f, store_channel_close(op->store, flow_resume, f));
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

static struct blob_channel_op *blob_channel_op_create(
	struct blob *blob, struct bdev_channel *channel, done_fn done, void *arg)
{
	struct blob_channel_op *op = alloc_op(sizeof(*op));

	op->blob = blob;
	op->channel = channel;
	op->done = done;
	op->arg = arg;
	return op;
}

void blob_channel_prepare(struct blob *blob, struct bdev_channel *channel, done_fn done, void *arg)
{
	struct blob_channel_op *op = blob_channel_op_create(blob, channel, done, arg);

	flow_start(
		&op->flow, blob->store->control, "blob_channel_prepare", blob_channel_prepare_run);
}

void blob_channel_release(struct blob *blob, struct bdev_channel *channel, done_fn done, void *arg)
{
	struct blob_channel_op *op = blob_channel_op_create(blob, channel, done, arg);
	const struct blob_channel *own = blob_channel_of(channel);

	op->store = own->store;
	op->esnap_channel = own->esnap;
	flow_start(
		&op->flow, blob->store->control, "blob_channel_release", blob_channel_release_run);
}

/* ---- the channel's reactor ---------------------------------------------- */

/* All has been prepared. */
int blob_channel_init(struct blob *blob, struct bdev_channel *channel)
{
	invariant(blob_channel_of(channel)->blob == blob);
	return 0;
}

void blob_channel_fini(struct bdev_channel *channel)
{
	struct blob_channel *own = blob_channel_of(channel);

	invariant(!own->fetching.head);
	for (unsigned i = 0; i < BLOB_ALLOCATION_LISTS; i++)
		invariant(list_is_empty(&own->allocations[i]));
}
