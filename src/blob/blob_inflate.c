/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A blob gets clusters of its own for what it sees through its parent. docs/volumes.md,
 * "Inflating".
 *
 * Two parts. Clusters are copied one by one through an ordinary channel of the blob's device on the
 * engine, as a guest's first writes would do it (blob_touch), while the guest goes on; each commits
 * by itself. Then an operation, with I/O standing still, checks that nothing is missing (the guest
 * may have discarded meanwhile: -EAGAIN, and once more) and changes flags and parent with the one
 * write that decides.
 *
 * Crash table:
 *	while clusters are copied	what was copied stays, the blob reads the same
 *	after the write that decides	done
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "blob/io_impl.h"

#define TOUCHES 16

/* ---- the write that decides --------------------------------------------- */

struct own_op {
	struct blob_op op;
	struct blob *blob;
	bool decouple;
	struct bdev_gate_turn turn;
	struct md md;
	uint32_t pages;
};

/* Does it take that cluster from where it will take nothing any more? */
static bool own_is_missing(const struct blob *blob, const struct blob_map *below, uint64_t index)
{
	if (blob_map_get(blob_map(blob), index))
		return false;
	return !below || (index < below->num_clusters && blob_map_get(below, index));
}

/* Decoupling, only what the parent itself has is missing. */
static const struct blob_map *own_below(const struct blob *blob, bool decouple)
{
	const struct blob *parent = atomic_load_explicit(&blob->parent, memory_order_relaxed);

	return decouple && parent ? blob_map(parent) : NULL;
}

static bool slot_is_empty(const struct blob_map *map, uint64_t index)
{
	uint32_t slot = (uint32_t)(index / BLOBSTORE_SLOT_ENTRIES);

	return slot >= map->num_slots ||
	       !atomic_load_explicit(&map->extents[slot], memory_order_relaxed);
}

/* The first at or after index; num_clusters: none. */
static uint64_t own_next_missing(const struct blob *blob, bool decouple, uint64_t index)
{
	const struct blob_map *below = own_below(blob, decouple);

	while (index < blob->md.num_clusters) {
		if (below && slot_is_empty(below, index))
			index = align_down(index, BLOBSTORE_SLOT_ENTRIES) + BLOBSTORE_SLOT_ENTRIES;
		else if (own_is_missing(blob, below, index))
			return index;
		else
			index++;
	}
	return blob->md.num_clusters;
}

static int own_check_parent(const struct blob *blob, bool decouple, struct reason *reason)
{
	const struct blob *parent = atomic_load_explicit(&blob->parent, memory_order_relaxed);

	if (blob->broken)
		return reason_set(reason, -EROFS,
			"the volume's metadata could not be written: close and load its store");
	if (!decouple)
		return 0;
	if (!parent)
		return reason_set(reason, -EINVAL, "the volume has no parent to part from");
	if (parent->md.invalid_flags & BLOBSTORE_ESNAP)
		return reason_set(reason, -ENOTSUP,
			"the parent is a clone of a foreign device: inflate the volume instead");
	return 0;
}

static int own_md(struct own_op *op)
{
	const struct blob *parent = atomic_load_explicit(&op->blob->parent, memory_order_relaxed);
	int rc = own_check_parent(op->blob, op->decouple, op->op.reason);

	if (rc)
		return rc;
	if (own_next_missing(op->blob, op->decouple, 0) < op->blob->md.num_clusters)
		return -EAGAIN;
	rc = md_copy(&op->md, &op->blob->md);
	if (rc)
		return rc;
	if (op->decouple)
		return md_internal_set_id(&op->md, BLOBSTORE_XATTR_PARENT,
			md_internal_id(&parent->md, BLOBSTORE_XATTR_PARENT));
	op->md.invalid_flags &= ~(BLOBSTORE_THIN | BLOBSTORE_ESNAP);
	md_internal_remove(&op->md, BLOBSTORE_XATTR_PARENT);
	md_internal_remove(&op->md, BLOBSTORE_XATTR_ESNAP);
	return 0;
}

static void own_switch(struct own_op *op)
{
	struct blob *parent = atomic_load_explicit(&op->blob->parent, memory_order_relaxed);
	struct blob *next = NULL;

	if (parent)
		parent->num_clones--;
	if (parent && op->decouple)
		next = atomic_load_explicit(&parent->parent, memory_order_relaxed);
	if (next)
		next->num_clones++;
	atomic_store_explicit(&op->blob->parent, next, memory_order_release);
}

static enum flow_result own_run(struct flow *f)
{
	struct own_op *op = container_of(f, struct own_op, op.flow);

	FLOW_BEGIN(f);
	AWAIT(f, blob_op_freeze(&op->op, flow_resume, f));
	AWAIT(f, bdev_gate_enter(&op->blob->md_gate, &op->turn, flow_resume, f));
	flow_fail(f, own_md(op));
	if (flow_failed(f))
		goto leave;
	op->pages = 2 * blob_chain_pages_max(&op->md);
	AWAIT(f, store_begin_change(op->op.store, op->pages, op->op.reason, flow_resume, f));
	if (flow_failed(f)) {
		op->pages = 0;
		goto leave;
	}
	/* First writes are answered before their extent pages are stable: they must be now. */
	AWAIT(f, store_flush(op->op.store, flow_resume, f));
	if (!flow_failed(f))
		AWAIT(f, blob_update(
				 op->blob, &op->md, NULL, NULL, &op->pages, true, flow_resume, f));
	if (!flow_failed(f))
		own_switch(op);
leave:
	store_end_change(op->op.store, op->pages);
	bdev_gate_leave(&op->blob->md_gate);
	AWAIT(f, blob_op_thaw(&op->op, flow_resume, f));
	blob_op_view(&op->op, op->blob);
	blob_op_end(&op->op, f->error);
	FLOW_END(f);
}

static void own_ended(struct blob_op *blob_op, int rc)
{
	md_fini(&container_of(blob_op, struct own_op, op)->md);
}

static void own_start(
	struct blob *blob, bool decouple, struct reason *reason, done_fn done, void *arg)
{
	struct own_op *op = alloc_op(sizeof(*op));

	op->blob = blob;
	op->decouple = decouple;
	op->op.ended = own_ended;
	md_init(&op->md, blob->id);
	blob_op_freezes(&op->op, blob);
	blob_op_start(&op->op, blob->store, decouple ? "blob_decouple" : "blob_inflate", own_run,
		reason, done, arg);
}

/* ---- copying: engine ---------------------------------------------------- */

struct inflate_op {
	struct flow flow; /* control */
	struct blob *blob;
	bool decouple;
	struct bdev_user user;
	struct bdev_channel *channel; /* on the engine */
	_Atomic bool stop; /* the device goes */
	struct reason *reason;
	done_fn done;
	void *arg;

	/* engine */
	struct message message;
	struct inflate_touch {
		struct blob_touch touch;
		struct inflate_op *op;
		bool busy;
	} touches[TOUCHES];
	unsigned in_flight;
	uint64_t next; /* to be looked at */
	int rc;
};

static void copy_returned(struct message *message)
{
	struct inflate_op *op = container_of(message, struct inflate_op, message);

	flow_resume(&op->flow, op->rc);
}

static void copy_end(struct inflate_op *op)
{
	op->message.run = copy_returned;
	reactor_send(op->blob->store->control, &op->message);
}

static void copy_touched(struct blob_touch *touch);

static bool copy_goes_on(struct inflate_op *op)
{
	if (!op->rc && atomic_load_explicit(&op->stop, memory_order_relaxed))
		op->rc = reason_set(op->reason, -ENODEV, "the volume is being removed");
	return !op->rc;
}

static void copy_more(struct inflate_op *op)
{
	for (unsigned i = 0; i < TOUCHES && copy_goes_on(op); i++) {
		if (op->touches[i].busy)
			continue;
		op->next = own_next_missing(op->blob, op->decouple, op->next);
		if (op->next >= op->blob->md.num_clusters)
			break;
		op->touches[i].op = op;
		op->touches[i].busy = true;
		op->touches[i].touch.index = op->next++;
		op->touches[i].touch.done = copy_touched;
		op->in_flight++;
		blob_touch_submit(op->channel, &op->touches[i].touch);
	}
	if (op->in_flight == 0)
		copy_end(op);
}

static void copy_touched(struct blob_touch *touch)
{
	struct inflate_touch *one = container_of(touch, struct inflate_touch, touch);
	struct inflate_op *op = one->op;

	one->busy = false;
	op->in_flight--;
	if (touch->status && !op->rc)
		op->rc = touch->status;
	copy_more(op);
}

static int copy_check(struct inflate_op *op)
{
	const struct blob *blob = op->blob;
	uint64_t missing = 0;
	int rc = own_check_parent(blob, op->decouple, op->reason);

	if (rc)
		return rc;
	if (!op->decouple)
		missing = blob->md.num_clusters -
			  atomic_load_explicit(&blob->num_allocated, memory_order_relaxed);
	for (uint64_t index = own_next_missing(blob, op->decouple, 0);
		op->decouple && index < blob->md.num_clusters;
		index = own_next_missing(blob, op->decouple, index + 1))
		missing++;
	if (missing <= store_clusters_free(blob->store))
		return 0;
	return reason_set(op->reason, -ENOSPC,
		"%llu clusters are needed and %llu are free: delete something or grow the store",
		(unsigned long long)missing, (unsigned long long)store_clusters_free(blob->store));
}

static void copy_arrived(struct message *message)
{
	struct inflate_op *op = container_of(message, struct inflate_op, message);

	op->next = 0;
	op->in_flight = 0;
	op->rc = copy_check(op);
	copy_more(op);
}

static void inflate_copy(struct inflate_op *op)
{
	op->message.run = copy_arrived;
	reactor_send(op->blob->store->engine, &op->message);
}

/* ---- control ------------------------------------------------------------ */

static void inflate_removed(struct bdev_user *user)
{
	struct inflate_op *op = container_of(user, struct inflate_op, user);

	atomic_store_explicit(&op->stop, true, memory_order_relaxed);
}

static const struct bdev_user_ops inflate_user_ops = {
	.name = "inflate",
	.removed = inflate_removed,
};

static int inflate_open(struct inflate_op *op)
{
	op->user.ops = &inflate_user_ops;
	if (!op->blob->bdev)
		return reason_set(op->reason, -ENODEV,
			"the volume's parent device is missing: attach that first");
	return bdev_open(op->blob->bdev, &op->user, op->reason);
}

static enum flow_result inflate_run(struct flow *f)
{
	struct inflate_op *op = container_of(f, struct inflate_op, flow);

	FLOW_BEGIN(f);
	flow_fail(f, inflate_open(op));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, bdev_channel_open(
			 &op->user, op->blob->store->engine, &op->channel, flow_resume, f));
	if (flow_failed(f))
		goto close;
	do {
		f->error = 0;
		AWAIT(f, inflate_copy(op));
		if (flow_failed(f))
			break;
		AWAIT(f, own_start(op->blob, op->decouple, op->reason, flow_resume, f));
	} while (f->rc == -EAGAIN);
	AWAIT(f, bdev_channel_close(op->channel, flow_resume, f));
close:
	bdev_close(&op->user);
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

static void inflate_start(
	struct blob *blob, bool decouple, struct reason *reason, done_fn done, void *arg)
{
	struct inflate_op *op = alloc_op(sizeof(*op));

	op->blob = blob;
	op->decouple = decouple && !blob->view.esnap;
	op->reason = reason;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, blob->store->control, "blob_inflate", inflate_run);
}

void blob_inflate(struct blob *blob, struct reason *reason, done_fn done, void *arg)
{
	inflate_start(blob, false, reason, done, arg);
}

void blob_decouple(struct blob *blob, struct reason *reason, done_fn done, void *arg)
{
	inflate_start(blob, true, reason, done, arg);
}
