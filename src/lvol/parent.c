/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Another parent for a volume.
 *
 * Channels reach a foreign parent through channels of it that were opened with them. So when the
 * foreign parent at the end of the chain becomes another one, or the first, the volume and all that
 * stand on it get new devices; nobody may be using them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lvol/lvol_impl.h"

static struct lvol *parent_next_above(struct lvol_op *op)
{
	for (op->at = op->at->next; !list_is_end(&op->lvs->volumes, op->at);
		op->at = op->at->next) {
		struct lvol *lvol = list_entry(op->at, struct lvol, link);

		if (lvol->registered && lvol_is_below(lvol, op->lvol))
			return lvol;
	}
	return NULL;
}

static int parent_check_unused(struct lvol_op *op)
{
	struct lvol *lvol;

	op->at = &op->lvs->volumes;
	while ((lvol = parent_next_above(op)))
		if (lvol_is_used(lvol))
			return reason_set(op->reason, -EBUSY,
				"volume %s is in use and would stand on another device: detach it "
				"first",
				lvol->name);
	op->at = &op->lvs->volumes;
	return 0;
}

/* ---- a snapshot of the same store ------------------------------------------------------ */

static int parent_check_filling(const struct lvol_op *op)
{
	int rc = lvol_check_filling(op->lvol, op->reason);

	return rc ? rc : lvol_check_filling_above(op->lvol, op->reason);
}

static int parent_check(struct lvol_op *op)
{
	int rc = parent_check_filling(op);

	if (rc || !op->other)
		return rc;
	if (op->other->lvs != op->lvs)
		return reason_set(op->reason, -EINVAL,
			"%s is a volume of another store: make its device the parent, with "
			"bdev_lvol_set_parent_bdev",
			op->other->name);
	if (op->other == op->lvol)
		return reason_set(op->reason, -EINVAL, "a volume cannot be its own parent");
	return 0;
}

static bool parent_changes_device(const struct lvol_op *op)
{
	bool missing;

	if (!op->other)
		return lvol_esnap_below(op->lvol, NULL) != NULL;
	return lvol_esnap_below(op->other, &missing) != lvol_esnap_below(op->lvol, NULL) || missing;
}

static void parent_set(struct lvol_op *op, done_fn done, void *arg)
{
	blob_set_parent(op->lvol->blob, op->other ? op->other->blob : NULL, op->reason, done, arg);
}

static enum flow_result parent_run(struct flow *f)
{
	struct lvol_op *op = container_of(f, struct lvol_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, lvol_op_enter(op, flow_resume, f));
	if (!flow_failed(f))
		flow_fail(f, parent_check(op));
	if (flow_failed(f))
		goto finish;
	if (parent_changes_device(op)) {
		flow_fail(f, parent_check_unused(op));
		if (flow_failed(f))
			goto finish;
		while (parent_next_above(op))
			AWAIT(f, lvol_unregister(
					 list_entry(op->at, struct lvol, link), flow_resume, f));
	}
	AWAIT(f, parent_set(op, flow_resume, f));
	AWAIT(f, lvs_settle(op->lvs, flow_resume, f));
finish:
	lvol_op_end(op, f->error);
	FLOW_END(f);
}

void lvol_set_parent(
	struct lvol *lvol, struct lvol *parent, struct reason *reason, done_fn done, void *arg)
{
	struct lvol_op *op = lvol_op_create(lvol->lvs, lvol, reason, done, arg);

	op->any_state = true;
	op->other = parent;
	lvol_get(parent);
	lvol_op_start(op, "lvol_set_parent", parent_run);
}

void lvol_detach_parent(struct lvol *lvol, struct reason *reason, done_fn done, void *arg)
{
	struct lvol_op *op = lvol_op_create(lvol->lvs, lvol, reason, done, arg);

	op->any_state = true;
	lvol_op_start(op, "lvol_detach_parent", parent_run);
}

/* ---- a foreign device ------------------------------------------------------------------ */

static int parent_bdev_check(struct lvol_op *op)
{
	struct blob_store_info store;
	struct blob_info blob;
	int rc = parent_check_filling(op);

	if (rc)
		return rc;
	blob_store_get_info(op->lvs->store, &store);
	blob_get_info(op->lvol->blob, &blob);
	if (!blob.thin)
		return reason_set(op->reason, -EINVAL,
			"volume %s is thick and has no parent: clone the device instead",
			op->lvol->name);
	if (op->lvol->esnap_id && strcmp(op->lvol->esnap_id, op->esnap_id) == 0)
		return reason_set(op->reason, -EEXIST, "it is the parent already");
	return parent_check_unused(op);
}

static void parent_bdev_open(struct lvol_op *op, done_fn done, void *arg)
{
	lvs_esnap_open(op->lvs, op->device, op->reason, &op->esnap, done, arg);
}

static void parent_bdev_set(struct lvol_op *op, done_fn done, void *arg)
{
	blob_set_esnap_parent(
		op->lvol->blob, op->esnap_id, sizeof(op->esnap_id), op->reason, done, arg);
}

static void parent_bdev_adopt(struct lvol_op *op)
{
	free(op->lvol->esnap_id);
	op->lvol->esnap_id = NULL; /* settling reads the new one */
	blob_set_esnap_bdev(op->lvol->blob, &op->esnap->user);
}

static enum flow_result parent_bdev_run(struct flow *f)
{
	struct lvol_op *op = container_of(f, struct lvol_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, lvol_op_enter(op, flow_resume, f));
	if (!flow_failed(f))
		flow_fail(f, parent_bdev_check(op));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, parent_bdev_open(op, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	while (parent_next_above(op))
		AWAIT(f, lvol_unregister(list_entry(op->at, struct lvol, link), flow_resume, f));
	AWAIT(f, parent_bdev_set(op, flow_resume, f));
	if (!flow_failed(f))
		parent_bdev_adopt(op);
	AWAIT(f, lvs_settle(op->lvs, flow_resume, f)); /* an esnap of nobody is closed */
finish:
	lvol_op_end(op, f->error);
	FLOW_END(f);
}

void lvol_set_parent_bdev(
	struct lvol *lvol, struct bdev *parent, struct reason *reason, done_fn done, void *arg)
{
	struct lvol_op *op = lvol_op_create(lvol->lvs, lvol, reason, done, arg);

	op->any_state = true;
	lvol_op_take_device(op, parent);
	lvol_op_start(op, "lvol_set_parent_bdev", parent_bdev_run);
}
