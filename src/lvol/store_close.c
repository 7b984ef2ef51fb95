/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of a store: closed in order, deleted, or its device goes. Its volumes' devices are taken
 * from whoever uses them, then foreign parents are let go, then the blobs are closed.
 *
 * Deletion is decided by one write, that of the super block. What the volumes held is discarded
 * after that, by the strongest of their clear methods; where that does not come to an end, a new
 * store on the device does it.
 */
#include <errno.h>
#include <stdlib.h>

#include "lvol/lvol_impl.h"

struct lvs_close_op {
	struct flow flow;
	struct bdev_gate_turn turn;
	struct bdev_gate_turn close_turn;
	struct lvs *lvs;
	enum lvs_close_kind kind;
	struct list *at;
	struct bdev *base; /* DESTROY: to be discarded, held by bdev_operation_begin */
	enum bdev_io_type discard;
	done_fn done;
	void *arg;
};

/* By the strongest clear method of its volumes; BDEV_IO_TYPES: nothing is to be discarded. */
static enum bdev_io_type close_discard_type(const struct lvs *lvs)
{
	enum bdev_io_type type = BDEV_IO_TYPES;
	const struct lvol *lvol;
	struct blob_info info;

	list_for_each_entry (lvol, &lvs->volumes, link) {
		blob_get_info(lvol->blob, &info);
		if (info.clear_method == BLOBSTORE_CLEAR_WRITE_ZEROES)
			return BDEV_IO_WRITE_ZEROES;
		if (info.clear_method != BLOBSTORE_CLEAR_NONE)
			type = BDEV_IO_UNMAP;
	}
	return type;
}

static void close_decide_discard(struct lvs_close_op *op)
{
	op->discard = BDEV_IO_TYPES;
	if (op->kind != LVS_DESTROY || !blob_store_base(op->lvs->store))
		return;
	op->discard = close_discard_type(op->lvs);
	op->base = blob_store_base(op->lvs->store);
	bdev_operation_begin(op->base);
	if (op->discard != BDEV_IO_TYPES && !bdev_supports(op->base, op->discard))
		op->discard = BDEV_IO_TYPES;
}

static struct lvol *close_next(struct lvs_close_op *op)
{
	op->at = op->at->next;
	if (list_is_end(&op->lvs->volumes, op->at))
		return NULL;
	return list_entry(op->at, struct lvol, link);
}

static void close_forget(struct lvs_close_op *op)
{
	struct lvol *lvol, *next;

	list_for_each_entry_safe (lvol, next, &op->lvs->volumes, link) {
		blob_set_user(lvol->blob, NULL);
		lvol_drop(lvol);
	}
}

static void close_store(struct lvs_close_op *op, done_fn done, void *arg)
{
	if (op->kind == LVS_DESTROY)
		blob_store_destroy(op->lvs->store, done, arg);
	else
		blob_store_close(op->lvs->store, done, arg);
}

static enum flow_result lvs_close_run(struct flow *f)
{
	struct lvs_close_op *op = container_of(f, struct lvs_close_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->lvs->close_gate, &op->close_turn, flow_resume, f));
	AWAIT(f, bdev_gate_enter(&op->lvs->gate, &op->turn, flow_resume, f));
	if (op->lvs->state != LVS_OPEN) {
		flow_fail(f, -ENODEV); /* somebody was faster, or it never opened */
		goto finish;
	}
	/* Nobody does anything in it from now on. */
	op->lvs->state = LVS_CLOSING;
	bdev_gate_leave(&op->lvs->gate);
	op->at = &op->lvs->volumes;
	while (close_next(op))
		AWAIT(f, lvol_unregister(list_entry(op->at, struct lvol, link), flow_resume, f));
	AWAIT(f, bdev_gate_enter(&op->lvs->gate, &op->turn, flow_resume, f));
	close_decide_discard(op);
	close_forget(op);
	AWAIT(f, lvs_settle(op->lvs, flow_resume, f)); /* foreign parents are let go */
	AWAIT(f, close_store(op, flow_resume, f));
	if (flow_failed(f))
		log_warning(
			"volume store %s was not closed in order (%s): its next load recovers it",
			op->lvs->name, reason_text(NULL, f->rc));
	lvs_drop(op->lvs);
	if (op->discard != BDEV_IO_TYPES && !f->error)
		AWAIT(f, bdev_discard_all(op->base, op->discard, flow_resume, f));
finish:
	bdev_gate_leave(&op->lvs->gate);
	bdev_gate_leave(&op->lvs->close_gate);
	op->done(op->arg, op->kind == LVS_CLOSE && f->error != -ENODEV ? 0 : f->error);
	if (op->base)
		bdev_operation_end(op->base);
	lvs_put(op->lvs);
	free(op);
	FLOW_END(f);
}

void lvs_close(struct lvs *lvs, enum lvs_close_kind kind, done_fn done, void *arg)
{
	struct lvs_close_op *op = alloc_op(sizeof(*op));

	op->lvs = lvs;
	op->kind = kind;
	op->done = done;
	op->arg = arg;
	lvs_get(lvs);
	flow_start(&op->flow, lvs->lvols->control, "lvs_close", lvs_close_run);
}

void lvs_delete(struct lvs *lvs, struct reason *reason, done_fn done, void *arg)
{
	lvs_close(lvs, LVS_DESTROY, done, arg);
}
