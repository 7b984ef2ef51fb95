/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A volume is deleted: its device is taken from whoever uses it (copying its clusters ends with
 * that), then the blob goes. If that fails it has a device again. While its users let go of it the
 * store's gate is open.
 */
#include <errno.h>
#include <stdlib.h>

#include "lvol/lvol_impl.h"

static int delete_check(struct lvol_op *op)
{
	struct blob_info blob;

	blob_get_info(op->lvol->blob, &blob);
	if (blob.num_clones > 1)
		return reason_set(op->reason, -EPERM,
			"volume %s has %u clones: delete, inflate or decouple all but one of them "
			"first",
			op->lvol->name, blob.num_clones);
	return lvol_check_filling_above(op->lvol, op->reason);
}

/* Its store may have been closed, and it with that. */
static int delete_check_again(struct lvol_op *op)
{
	if (op->lvol->blob && op->lvs->state == LVS_OPEN)
		return 0;
	return reason_set(op->reason, -ENODEV, "the store %s has been closed", op->lvs->name);
}

static enum flow_result delete_run(struct flow *f)
{
	struct lvol_op *op = container_of(f, struct lvol_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, lvol_op_enter(op, flow_resume, f));
	if (!flow_failed(f))
		flow_fail(f, delete_check(op));
	if (flow_failed(f))
		goto finish;
	op->lvol->leaving = true;
	bdev_gate_leave(&op->lvs->gate);
	AWAIT(f, lvol_unregister(op->lvol, flow_resume, f));
	AWAIT(f, bdev_gate_enter(&op->lvs->gate, &op->turn, flow_resume, f));
	flow_fail(f, delete_check_again(op));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, blob_delete(op->lvol->blob, op->reason, flow_resume, f));
	op->lvol->leaving = false;
	if (!flow_failed(f))
		lvol_drop(op->lvol);
	AWAIT(f, lvs_settle(op->lvs, flow_resume, f));
finish:
	lvol_op_end(op, f->error);
	FLOW_END(f);
}

void lvol_delete(struct lvol *lvol, struct reason *reason, done_fn done, void *arg)
{
	struct lvol_op *op = lvol_op_create(lvol->lvs, lvol, reason, done, arg);

	op->any_state = true;
	lvol_op_start(op, "lvol_delete", delete_run);
}
