/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An operation's way: control -> the store's engine -> control.
 *
 *	control: blob_op_start     a message carries the op over
 *	engine:  op_gate           one operation at a time for each store, first come first served
 *	control: op_collect        the devices to be frozen, where there may be some
 *	engine:  run               the flow of the operation; freezes I/O where it must
 *	         blob_op_end       a message carries the op back, then the gate is left
 *	control: views applied, ended, done; the op is freed
 *
 * What control knows of blobs (struct blob_view) it learns only here, from copies that the engine
 * made before it let the next operation in. So control never reads what the engine writes. What it
 * knew when an operation was asked for may be old when that comes in: those before it give blobs
 * other parents and devices other places. The message back is sent before the gate is left, so what
 * control collects for the next operation is as the last one left it.
 *
 * Freezing takes the whole of a device as a range lock: what is in flight ends, what comes waits.
 * The device cannot be destroyed meanwhile (bdev_operation_begin), it may be unregistered.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "blob/store_impl.h"

struct blob_op_frozen {
	struct bdev_range_lock lock;
	struct bdev *bdev;
	bool locked;
};

/* ---- control: what is to stand still ------------------------------------ */

static unsigned freeze_collect(struct blob_op *op, struct blob *blob, bool count_only)
{
	struct blob *clone;
	unsigned count = blob->bdev != NULL;

	if (blob->bdev && !count_only) {
		op->frozen[op->num_frozen++].bdev = blob->bdev;
		bdev_operation_begin(blob->bdev);
	}
	list_for_each_entry (clone, &blob->store->blobs_seen, control_link)
		if (clone->view.parent == blob)
			count += freeze_collect(op, clone, count_only);
	return count;
}

static void op_begin(struct message *message)
{
	struct blob_op *op = container_of(message, struct blob_op, message);

	flow_start(&op->flow, op->store->engine, op->name, op->run);
}

static void op_collect(struct message *message)
{
	struct blob_op *op = container_of(message, struct blob_op, message);
	unsigned count = freeze_collect(op, op->freezes, true);

	if (count) {
		op->frozen = alloc_op(count * sizeof(*op->frozen));
		freeze_collect(op, op->freezes, false);
	}
	op->message.run = op_begin;
	reactor_send(op->store->engine, &op->message);
}

void blob_op_freezes(struct blob_op *op, struct blob *blob)
{
	op->freezes = blob;
}

/* ---- start -------------------------------------------------------------- */

static void op_entered(void *arg, int rc)
{
	struct blob_op *op = arg;

	if (!op->freezes) {
		op_begin(&op->message);
		return;
	}
	op->message.run = op_collect;
	reactor_send(op->store->control, &op->message);
}

static void op_arrived(struct message *message)
{
	struct blob_op *op = container_of(message, struct blob_op, message);

	bdev_gate_enter(&op->store->op_gate, &op->turn, op_entered, op);
}

void blob_op_start(struct blob_op *op, struct blob_store *store, const char *name,
	enum flow_result (*run)(struct flow *flow), struct reason *reason, done_fn done, void *arg)
{
	op->store = store;
	op->name = name;
	op->run = run;
	op->reason = reason;
	op->done = done;
	op->arg = arg;
	op->message.run = op_arrived;
	reactor_send(store->engine, &op->message);
}

/* ---- engine, freezing --------------------------------------------------- */

static void frozen_one(void *arg, int rc)
{
	struct blob_op *op = arg;

	if (--op->frozen_pending == 0)
		op->frozen_done(op->frozen_arg, 0);
}

/* One pending is held by the caller itself, so that done comes once, and later where there is
 * nothing to do. */
static void frozen_later(struct message *message)
{
	frozen_one(container_of(message, struct blob_op, message), 0);
}

static void frozen_begin(struct blob_op *op, done_fn done, void *arg)
{
	op->frozen_done = done;
	op->frozen_arg = arg;
	op->frozen_pending = op->num_frozen + 1;
	op->message.run = frozen_later;
	reactor_send(op->store->engine, &op->message);
}

void blob_op_freeze(struct blob_op *op, done_fn done, void *arg)
{
	frozen_begin(op, done, arg);
	for (unsigned i = 0; i < op->num_frozen; i++) {
		struct blob_op_frozen *frozen = &op->frozen[i];

		invariant(!frozen->locked);
		frozen->locked = true;
		bdev_range_lock(&frozen->lock, frozen->bdev, op->store->engine, 0, BDEV_RANGE_ALL,
			frozen_one, op);
	}
}

void blob_op_thaw(struct blob_op *op, done_fn done, void *arg)
{
	frozen_begin(op, done, arg);
	for (unsigned i = 0; i < op->num_frozen; i++) {
		struct blob_op_frozen *frozen = &op->frozen[i];

		invariant(frozen->locked);
		frozen->locked = false;
		bdev_range_unlock(&frozen->lock, frozen_one, op);
	}
}

/* ---- end ---------------------------------------------------------------- */

void blob_op_view(struct blob_op *op, struct blob *blob)
{
	unsigned i = 0;

	while (i < op->num_views && op->views[i].blob != blob)
		i++;
	invariant(i < BLOB_OP_VIEWS);
	if (i == op->num_views)
		op->num_views++;
	op->views[i].blob = blob;
	blob_view_fill(blob, &op->views[i].view);
}

static void op_forget(struct blob_op *op)
{
	struct blob_view no_parent = op->gone->view;

	no_parent.parent = NULL;
	blob_view_apply(op->gone, &no_parent);
	list_remove(&op->gone->control_link);
	blob_free(op->gone);
}

static void op_returned(struct message *message)
{
	struct blob_op *op = container_of(message, struct blob_op, message);
	done_fn done = op->done;
	void *arg = op->arg;
	int rc = op->rc;

	if (op->born)
		list_add_tail(&op->store->blobs_seen, &op->born->control_link);
	for (unsigned i = 0; i < op->num_views; i++)
		blob_view_apply(op->views[i].blob, &op->views[i].view);
	for (unsigned i = 0; i < op->num_frozen; i++)
		bdev_operation_end(op->frozen[i].bdev);
	free(op->frozen);
	if (op->ended)
		op->ended(op, rc);
	if (op->gone)
		op_forget(op);
	free(op);
	done(arg, rc);
}

void blob_op_end(struct blob_op *op, int rc)
{
	struct blob_store *store = op->store;

	op->rc = rc;
	op->message.run = op_returned;
	reactor_send(store->control, &op->message);
	bdev_gate_leave(&store->op_gate);
}
