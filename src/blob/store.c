/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A store from outside: open and close, on the control reactor.
 *
 *	bdev_open, claim	the device below is the store's alone
 *	engine			a thread that sleeps while nothing is asked of it
 *	channel			of the device, on the engine
 *	create or load		flows of the engine (store_create.c, store_load.c)
 *	blobs			control sees them
 *
 * and back in reverse. What runs on the engine is started by a message and answers with one
 * (store_call). When the device below goes, users are told, requests fail from then on, and closing
 * writes nothing; what is on the device is recovered by the next load.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "blob/store_impl.h"

/* ---- from control to the engine and back -------------------------------- */

struct store_call {
	struct message message;
	struct blob_store *store;
	void (*start)(struct store_call *call); /* engine; ends in store_call_done */
	done_fn done; /* control */
	void *arg;
	int rc;
};

static void call_returned(struct message *message)
{
	struct store_call *call = container_of(message, struct store_call, message);

	call->done(call->arg, call->rc);
}

/* A done_fn; arg is the call. */
static void store_call_done(void *arg, int rc)
{
	struct store_call *call = arg;

	call->rc = rc;
	call->message.run = call_returned;
	reactor_send(call->store->control, &call->message);
}

static void call_arrived(struct message *message)
{
	struct store_call *call = container_of(message, struct store_call, message);

	call->start(call);
}

static void store_call(struct store_call *call, struct blob_store *store,
	void (*start)(struct store_call *call), done_fn done, void *arg)
{
	call->store = store;
	call->start = start;
	call->done = done;
	call->arg = arg;
	call->message.run = call_arrived;
	reactor_send(store->engine, &call->message);
}

/* ---- the store ---------------------------------------------------------- */

static void store_base_removed(struct bdev_user *user)
{
	struct blob_store *store = container_of(user, struct blob_store, base);

	store->base_removed = true;
	if (store->opened && store->user.removed)
		store->user.removed(store->user.arg);
}

static const struct bdev_user_ops store_base_ops = {
	.name = "lvol",
	.removed = store_base_removed,
};

static struct blob_store *store_alloc(struct bdev *base, const struct blob_store_user *user)
{
	struct blob_store *store = alloc_op(sizeof(*store));

	store->registry = base->registry;
	store->control = bdev_registry_control(base->registry);
	store->os = bdev_registry_os(base->registry);
	store->base.ops = &store_base_ops;
	if (user)
		store->user = *user;
	list_init(&store->blobs_seen);
	list_init(&store->channels);
	list_init(&store->blobs);
	list_init(&store->io_waiting);
	list_init(&store->flush_waiting);
	store_space_init(store);
	store_refills_init(store);
	return store;
}

/* The engine does not run any more, or has not begun to. */
static void store_free(struct blob_store *store)
{
	struct blob *blob, *next;

	list_for_each_entry_safe (blob, next, &store->blobs, link)
		blob_free(blob);
	store_fini_super(store);
	free(store);
}

int store_init_super(struct blob_store *store, const struct super *super)
{
	uint32_t size = super->cluster_size;
	int rc = bitmap_init(&store->used_pages, super->md_len);

	store->super = *super;
	store->cluster_size = size;
	store->cluster_shift = is_power_of_two(size) ? (unsigned)__builtin_ctz(size) : 63;
	if (!rc)
		rc = bitmap_init(&store->used_clusters, super_clusters(super));
	if (!rc)
		rc = bitmap_init(&store->used_blobids, super->md_len);
	if (!rc)
		rc = store_ahead_create(store);
	if (rc)
		store_fini_super(store);
	return rc;
}

void store_fini_super(struct blob_store *store)
{
	store_ahead_destroy(store);
	bitmap_fini(&store->used_pages);
	bitmap_fini(&store->used_clusters);
	bitmap_fini(&store->used_blobids);
	store->used_pages = (struct bitmap){0};
	store->used_clusters = (struct bitmap){0};
	store->used_blobids = (struct bitmap){0};
}

static int store_create_engine(struct blob_store *store, struct reason *reason)
{
	char name[16];
	const struct reactor_options options = {
		.name = name,
		.cpu = -1,
		.poll_mode = POLL_NEVER,
	};
	int rc;

	snprintf(name, sizeof(name), "store %.9s", store->base.bdev->name);
	rc = reactor_create(store->os, &options, reason, &store->engine);
	if (rc)
		return rc;
	rc = reactor_start(store->engine, reason);
	if (rc) {
		reactor_destroy(store->engine);
		return rc;
	}
	bdev_gate_init(&store->op_gate, store->engine);
	bdev_gate_init(&store->super_gate, store->engine);
	return 0;
}

struct store_stop {
	struct worker_job job;
	struct blob_store *store;
};

static int stop_engine_job(struct worker_job *job)
{
	reactor_stop(container_of(job, struct store_stop, job)->store->engine);
	return 0;
}

/* It is joined, which takes as long as its last turn: on a worker. */
static void store_stop_engine(
	struct store_stop *stop, struct blob_store *store, done_fn done, void *arg)
{
	stop->store = store;
	worker_run(&stop->job, store->control, stop_engine_job, done, arg);
}

/* Before its channel is closed. */
static void settle_on_engine(struct store_call *call)
{
	store_releases_wait(call->store, store_call_done, call);
}

/* ---- open --------------------------------------------------------------- */

struct open_op {
	struct flow flow;
	struct blob_store *store;
	struct bdev *base;
	bool creates;
	struct blob_store_create_options options;
	char bstype[BLOBSTORE_TYPE_BYTES + 1];
	struct store_call call;
	struct store_stop stop;
	struct reason *reason;
	struct blob_store **ret_store;
	done_fn done;
	void *arg;
};

static void open_on_engine(struct store_call *call)
{
	struct open_op *op = container_of(call, struct open_op, call);

	if (op->creates)
		store_create(op->store, &op->options, op->reason, store_call_done, call);
	else
		store_load(op->store, op->options.bstype, op->reason, store_call_done, call);
}

static int open_check(const struct open_op *op)
{
	const struct bdev *base = op->base;
	uint64_t size = bdev_size(base);

	if (base->block_size > BLOBSTORE_PAGE_BYTES)
		return reason_set(op->reason, -EINVAL,
			"%s has blocks of %u bytes: a store needs a device with blocks of at most "
			"%u",
			base->name, base->block_size, BLOBSTORE_PAGE_BYTES);
	if (size < BLOBSTORE_PAGE_BYTES)
		return reason_set(op->reason, op->creates ? -ENOSPC : -EILSEQ,
			"%s has %llu bytes: no store fits there", base->name,
			(unsigned long long)size);
	return 0;
}

/* Torn pages are what no store of this format survives. */
static void open_warn_of_tearing(const struct open_op *op)
{
	const struct bdev *base = op->base;
	uint32_t physical =
		base->physical_block_size ? base->physical_block_size : base->block_size;

	if (physical < BLOBSTORE_PAGE_BYTES)
		log_warning("%s promises to write %u bytes at once, not %u: a power failure during "
			    "a write of metadata can make a volume unreadable",
			base->name, physical, BLOBSTORE_PAGE_BYTES);
}

static void open_fill_info(struct blob_store *store)
{
	const struct super *super = &store->super;

	store->info = (struct blob_store_info){
		.cluster_size = super->cluster_size,
		.io_unit_size = super->io_unit_size,
		.md_page_size = super->md_page_size,
		.total_data_clusters = super_clusters(super) - super_md_clusters(super),
		.max_growable_bytes = super_max_bytes(super),
		.md_pages = super->md_len,
		.recovered = store->recovered,
	};
}

/* Nobody has asked the engine for anything yet: control may look at what it made. */
static void open_show(struct open_op *op)
{
	struct blob_store *store = op->store;
	struct blob_view view;
	struct blob *blob;

	list_for_each_entry (blob, &store->blobs, link) {
		blob_view_fill(blob, &view);
		blob_view_apply(blob, &view);
		list_add_tail(&store->blobs_seen, &blob->control_link);
	}
	open_fill_info(store);
	store->opened = true;
	*op->ret_store = store;
}

static enum flow_result open_run(struct flow *f)
{
	struct open_op *op = container_of(f, struct open_op, flow);

	FLOW_BEGIN(f);
	flow_fail(f, open_check(op));
	if (!flow_failed(f))
		flow_fail(f, bdev_open(op->base, &op->store->base, op->reason));
	if (flow_failed(f))
		goto free_store;
	AWAIT(f, bdev_claim(&op->store->base, BDEV_CLAIM_READ_MANY_WRITE_ONE, op->reason,
			 flow_resume, f));
	if (flow_failed(f))
		goto close_base;
	flow_fail(f, store_create_engine(op->store, op->reason));
	if (flow_failed(f))
		goto release_base;
	AWAIT(f, bdev_channel_open(
			 &op->store->base, op->store->engine, &op->store->md, flow_resume, f));
	if (flow_failed(f))
		goto stop_engine;
	AWAIT(f, store_call(&op->call, op->store, open_on_engine, flow_resume, f));
	if (!flow_failed(f) && op->store->base_removed)
		flow_fail(f, reason_set(op->reason, -ENODEV, "device %s is being removed",
				     op->base->name));
	if (flow_failed(f))
		goto close_channel;
	open_warn_of_tearing(op);
	open_show(op);
	goto finish;

close_channel:
	AWAIT(f, store_call(&op->call, op->store, settle_on_engine, flow_resume, f));
	AWAIT(f, bdev_channel_close(op->store->md, flow_resume, f));
stop_engine:
	AWAIT(f, store_stop_engine(&op->stop, op->store, flow_resume, f));
	reactor_destroy(op->store->engine);
release_base:
	AWAIT(f, bdev_release(&op->store->base, flow_resume, f));
close_base:
	bdev_close(&op->store->base);
free_store:
	store_free(op->store);
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

static struct open_op *open_start(struct bdev *base, const char *bstype,
	const struct blob_store_user *user, struct reason *reason, struct blob_store **ret_store,
	done_fn done, void *arg)
{
	struct open_op *op = alloc_op(sizeof(*op));

	op->store = store_alloc(base, user);
	op->base = base;
	if (bstype) {
		snprintf(op->bstype, sizeof(op->bstype), "%s", bstype);
		op->options.bstype = op->bstype;
	}
	op->reason = reason;
	op->ret_store = ret_store;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, op->store->control, "blob_store_open", open_run);
	return op;
}

void blob_store_create(struct bdev *base, const struct blob_store_create_options *options,
	const struct blob_store_user *user, struct reason *reason, struct blob_store **ret_store,
	done_fn done, void *arg)
{
	struct open_op *op = open_start(base, options->bstype, user, reason, ret_store, done, arg);
	const char *bstype = op->options.bstype;

	op->creates = true;
	op->options = *options;
	op->options.bstype = bstype;
}

void blob_store_load(struct bdev *base, const char *bstype, const struct blob_store_user *user,
	struct reason *reason, struct blob_store **ret_store, done_fn done, void *arg)
{
	open_start(base, bstype, user, reason, ret_store, done, arg);
}

/* ---- close -------------------------------------------------------------- */

struct end_op {
	struct flow flow; /* control */
	struct blob_store *store;
	bool wipes;
	bool writes;
	struct store_call call;
	struct bdev_gate_turn turn;
	struct store_stop stop;
	int rc;
	done_fn done;
	void *arg;
};

/* Operations that were asked for before have ended: it is never left. */
static void end_entered(void *arg, int rc)
{
	struct end_op *op = arg;

	if (!op->writes)
		store_releases_wait(op->store, store_call_done, &op->call);
	else if (op->wipes)
		store_destroy(op->store, store_call_done, &op->call);
	else
		store_close(op->store, store_call_done, &op->call);
}

static void end_on_engine(struct store_call *call)
{
	struct end_op *op = container_of(call, struct end_op, call);

	bdev_gate_enter(&op->store->op_gate, &op->turn, end_entered, op);
}

static enum flow_result end_run(struct flow *f)
{
	struct end_op *op = container_of(f, struct end_op, flow);

	FLOW_BEGIN(f);
	op->writes = !op->store->base_removed;
	AWAIT(f, store_call(&op->call, op->store, end_on_engine, flow_resume, f));
	op->rc = f->rc;
	AWAIT(f, bdev_channel_close(op->store->md, flow_resume, f));
	AWAIT(f, store_stop_engine(&op->stop, op->store, flow_resume, f));
	reactor_destroy(op->store->engine);
	AWAIT(f, bdev_release(&op->store->base, flow_resume, f));
	bdev_close(&op->store->base);
	store_free(op->store);
	op->done(op->arg, op->rc);
	free(op);
	FLOW_END(f);
}

static void end_start(struct blob_store *store, bool wipes, done_fn done, void *arg)
{
	struct end_op *op = alloc_op(sizeof(*op));

	store->opened = false;
	op->store = store;
	op->wipes = wipes;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, store->control, "blob_store_close", end_run);
}

void blob_store_close(struct blob_store *store, done_fn done, void *arg)
{
	end_start(store, false, done, arg);
}

void blob_store_destroy(struct blob_store *store, done_fn done, void *arg)
{
	end_start(store, true, done, arg);
}

/* ---- what control sees -------------------------------------------------- */

uint64_t blob_store_super(const struct blob_store *store)
{
	return atomic_load_explicit(&store->super_blob, memory_order_relaxed);
}

void blob_store_get_info(const struct blob_store *store, struct blob_store_info *ret_info)
{
	*ret_info = store->info;
	ret_info->free_clusters =
		atomic_load_explicit(&store->free_clusters, memory_order_relaxed) +
		atomic_load_explicit(&store->reserved_clusters, memory_order_relaxed);
	ret_info->md_pages_free = atomic_load_explicit(&store->free_pages, memory_order_relaxed);
	ret_info->md_space = (enum blob_store_space)atomic_load_explicit(
		&store->page_space, memory_order_relaxed);
}

struct bdev *blob_store_base(const struct blob_store *store)
{
	return store->base.bdev;
}
