/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A volume becomes independent: of all that it stands on, or of its parent only.
 *
 * Copying takes as long as it takes, so it is done outside the store's gate, with a mark on the
 * volume (lvol->filling). Until it ends no operation is made whose result would depend on how far
 * it has come: the volume is not snapshotted, resized or made independent a second time, nobody
 * gives another parent to it or to one that it stands on, and none that it stands on is deleted.
 * Everything else goes on. Deleting the volume, closing its store and the loss of a device below
 * end it: its device goes.
 */
#include <errno.h>
#include <stdlib.h>

#include "lvol/lvol_impl.h"

static bool lvol_is_filling_above(const struct lvol *lvol, const struct lvol *top)
{
	return lvol != top && lvol->filling && lvol->blob && lvol_is_below(lvol, top);
}

int lvol_check_filling(const struct lvol *lvol, struct reason *reason)
{
	if (!lvol->filling)
		return 0;
	return reason_set(reason, -EBUSY,
		"volume %s is being inflated or decoupled: wait for the end of that", lvol->name);
}

int lvol_check_filling_above(const struct lvol *lvol, struct reason *reason)
{
	const struct lvol *other;

	list_for_each_entry (other, &lvol->lvs->volumes, link)
		if (lvol_is_filling_above(other, lvol))
			return reason_set(reason, -EBUSY,
				"volume %s, which stands on %s, is being inflated or decoupled: "
				"wait for the end of that",
				other->name, lvol->name);
	return 0;
}

/* Of one that is being deleted nobody can say whether it will still be there to part from. */
static int own_check(const struct lvol_op *op)
{
	struct blob_info info;

	blob_get_info(op->lvol->blob, &info);
	for (; info.parent; blob_get_info(info.parent, &info)) {
		const struct lvol *below = blob_user(info.parent);

		if (below && below->leaving)
			return reason_set(op->reason, -EBUSY,
				"volume %s, which %s stands on, is being deleted: try again",
				below->name, op->lvol->name);
	}
	return lvol_check_filling(op->lvol, op->reason);
}

static void own_fill(struct lvol_op *op, done_fn done, void *arg)
{
	bdev_gate_leave(&op->lvs->gate);
	blob_fill(op->lvol->blob, op->decouple, op->reason, done, arg);
}

static void own_decide(struct lvol_op *op, done_fn done, void *arg)
{
	if (op->decouple)
		blob_decouple(op->lvol->blob, op->reason, done, arg);
	else
		blob_inflate(op->lvol->blob, op->reason, done, arg);
}

static enum flow_result own_run(struct flow *f)
{
	struct lvol_op *op = container_of(f, struct lvol_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, lvol_op_enter(op, flow_resume, f));
	if (!flow_failed(f))
		flow_fail(f, own_check(op));
	if (flow_failed(f))
		goto finish;
	op->lvol->filling = true;
	do {
		f->error = 0;
		AWAIT(f, own_fill(op, flow_resume, f));
		AWAIT(f, lvol_op_enter(op, flow_resume, f));
		if (!f->error)
			AWAIT(f, own_decide(op, flow_resume, f));
	} while (f->error == -EAGAIN);
	op->lvol->filling = false;
	if (!f->error)
		AWAIT(f, lvs_settle(op->lvs, flow_resume, f));
finish:
	lvol_op_end(op, f->error);
	FLOW_END(f);
}

static void own_start(
	struct lvol *lvol, bool decouple, struct reason *reason, done_fn done, void *arg)
{
	struct lvol_op *op = lvol_op_create(lvol->lvs, lvol, reason, done, arg);

	op->decouple = decouple;
	lvol_op_start(op, decouple ? "lvol_decouple" : "lvol_inflate", own_run);
}

void lvol_inflate(struct lvol *lvol, struct reason *reason, done_fn done, void *arg)
{
	own_start(lvol, false, reason, done, arg);
}

void lvol_decouple(struct lvol *lvol, struct reason *reason, done_fn done, void *arg)
{
	own_start(lvol, true, reason, done, arg);
}
