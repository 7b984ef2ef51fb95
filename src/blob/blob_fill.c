/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A blob gets clusters of its own for what it sees through its parent, as many as there are: before
 * blob_inflate or blob_decouple. docs/volumes.md, "Inflating".
 *
 * No operation of the store's line: that goes on beside it. Each cluster is touched (io_touch.c)
 * through an ordinary channel of the blob's device on the engine, as a guest's first write would do
 * it; guests go on, and operations on the blob find it with some clusters more.
 *
 *	control		fill_run: opens the device and a channel, waits
 *	engine		copy_run: FILL_TOUCHES clusters at a time, less of large ones, since an
 *			operation that stops I/O waits for them
 *
 * Crash table: each cluster is committed by itself. What was copied stays, the blob reads the same.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "blob/io_impl.h"
#include "blob/own_impl.h"

#define FILL_TOUCHES 16u
#define FILL_BYTES   (64 * MIB)
#define FILL_LOOKS   4096u /* at entries of the map, in a turn */

struct fill_op {
	struct flow flow; /* control */
	struct blob *blob;
	bool decouple;
	int refusal;
	struct bdev_user user;
	struct bdev_channel *channel; /* on the engine */
	_Atomic bool stop; /* the device goes */
	struct reason *reason;
	done_fn done;
	void *arg;

	/* engine */
	struct message message; /* there and back */
	struct flow copy;
	struct timer timer;
	struct fill_touch {
		struct blob_touch touch;
		struct fill_op *op;
		bool busy;
	} touches[FILL_TOUCHES];
	unsigned most; /* of them at a time */
	unsigned in_flight;
	bool waiting; /* for one of them */
	uint64_t next; /* to be looked at */
	uint64_t missing;
	unsigned looks; /* left of this turn */
	int touch_rc; /* the first failure */
};

/* ---- engine ------------------------------------------------------------- */

static void copy_timer_fired(struct timer *timer)
{
	flow_resume(&container_of(timer, struct fill_op, timer)->copy, 0);
}

static void copy_wait_turn(struct fill_op *op)
{
	op->looks = FILL_LOOKS;
	op->timer.fired = copy_timer_fired;
	timer_start(op->copy.reactor, &op->timer, 0);
}

static void copy_wait_touch(struct fill_op *op)
{
	op->waiting = true;
}

static void copy_touched(struct blob_touch *touch)
{
	struct fill_touch *one = container_of(touch, struct fill_touch, touch);
	struct fill_op *op = one->op;

	one->busy = false;
	op->in_flight--;
	/* What lay beyond the end when it shrank needs no cluster any more. */
	if (touch->status && !op->touch_rc && touch->index < own_end(op->blob))
		op->touch_rc = touch->status;
	if (!op->waiting)
		return;
	op->waiting = false;
	flow_resume(&op->copy, op->touch_rc);
}

static void copy_touch(struct fill_op *op)
{
	struct fill_touch *one = op->touches;

	while (one->busy)
		one++;
	one->op = op;
	one->busy = true;
	one->touch.index = op->next++;
	one->touch.done = copy_touched;
	op->in_flight++;
	blob_touch_submit(op->channel, &one->touch);
}

static bool copy_is_at_end(const struct fill_op *op)
{
	return op->next >= own_end(op->blob);
}

static int copy_check_stop(struct fill_op *op, int rc)
{
	if (!atomic_load_explicit(&op->stop, memory_order_relaxed) && rc != -ENODEV)
		return rc;
	return reason_set(op->reason, -ENODEV, "the volume is being removed");
}

/* Is there room for them? Better known before than when the store is full. */
static int copy_check_room(struct fill_op *op)
{
	uint64_t free_clusters = store_clusters_free(op->blob->store);

	if (op->missing <= free_clusters)
		return 0;
	return reason_set(op->reason, -ENOSPC,
		"%llu clusters are needed and %llu are free: delete something or grow the store",
		(unsigned long long)op->missing, (unsigned long long)free_clusters);
}

static void copy_begin(struct fill_op *op)
{
	const struct blob *blob = op->blob;
	uint64_t end = own_end(blob);

	op->looks = FILL_LOOKS;
	op->most =
		(unsigned)u64_min(FILL_TOUCHES, u64_max(FILL_BYTES / blob->store->cluster_size, 1));
	if (op->decouple)
		return;
	op->missing = end - u64_min(end, atomic_load_explicit(
						 &blob->num_allocated, memory_order_relaxed));
	op->next = end;
}

static void copy_returned(struct message *message)
{
	struct fill_op *op = container_of(message, struct fill_op, message);

	flow_resume(&op->flow, op->copy.error);
}

static enum flow_result copy_run(struct flow *f)
{
	struct fill_op *op = container_of(f, struct fill_op, copy);

	FLOW_BEGIN(f);
	flow_fail(f, own_check(op->blob, op->decouple, op->reason));
	copy_begin(op);
	while (!f->error && !copy_is_at_end(op)) {
		if (!own_find_missing(op->blob, true, &op->next, &op->looks)) {
			AWAIT(f, copy_wait_turn(op));
			continue;
		}
		op->missing++;
		op->next++;
	}
	if (!f->error)
		flow_fail(f, copy_check_room(op));
	op->next = 0;
	while (!f->error && !copy_is_at_end(op)) {
		if (!own_find_missing(op->blob, op->decouple, &op->next, &op->looks)) {
			AWAIT(f, copy_wait_turn(op));
			continue;
		}
		copy_touch(op);
		if (op->in_flight == op->most)
			AWAIT(f, copy_wait_touch(op));
		flow_fail(f, copy_check_stop(op, op->touch_rc));
	}
	while (op->in_flight > 0)
		AWAIT(f, copy_wait_touch(op));
	f->error = copy_check_stop(op, f->error ? f->error : op->touch_rc);
	op->message.run = copy_returned;
	reactor_send(op->blob->store->control, &op->message);
	FLOW_END(f);
}

static void copy_arrived(struct message *message)
{
	struct fill_op *op = container_of(message, struct fill_op, message);

	flow_start(&op->copy, op->blob->store->engine, "blob_fill_copy", copy_run);
}

/* ---- control ------------------------------------------------------------ */

static void fill_copy(struct fill_op *op)
{
	op->message.run = copy_arrived;
	reactor_send(op->blob->store->engine, &op->message);
}

static void fill_removed(struct bdev_user *user)
{
	struct fill_op *op = container_of(user, struct fill_op, user);

	atomic_store_explicit(&op->stop, true, memory_order_relaxed);
}

static const struct bdev_user_ops fill_user_ops = {
	.name = "inflating or decoupling it",
	.removed = fill_removed,
};

static enum flow_result fill_run(struct flow *f)
{
	struct fill_op *op = container_of(f, struct fill_op, flow);

	FLOW_BEGIN(f);
	flow_fail(f, op->refusal);
	if (flow_failed(f))
		goto finish;
	AWAIT(f, bdev_channel_open(
			 &op->user, op->blob->store->engine, &op->channel, flow_resume, f));
	if (flow_failed(f))
		goto close;
	AWAIT(f, fill_copy(op));
	AWAIT(f, bdev_channel_close(op->channel, flow_resume, f));
close:
	bdev_close(&op->user); /* the blob may go */
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void blob_fill(struct blob *blob, bool decouple, struct reason *reason, done_fn done, void *arg)
{
	struct fill_op *op = alloc_op(sizeof(*op));

	op->blob = blob;
	op->decouple = own_is_decoupled(blob, decouple);
	op->reason = reason;
	op->done = done;
	op->arg = arg;
	op->user.ops = &fill_user_ops;
	/* At once: so it stays there. */
	op->refusal = blob->bdev ? bdev_open(blob->bdev, &op->user, reason)
				 : reason_set(reason, -ENODEV,
					   "the volume's parent device is missing: attach that "
					   "first");
	flow_start(&op->flow, blob->store->control, "blob_fill", fill_run);
}
