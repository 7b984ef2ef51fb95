/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Foreign parents. A volume may stand on a block device that is none of its store's, named by UUID.
 * That device must not change: it is claimed against all writers. It may itself be a volume of
 * another store. Nothing stands on itself that way: a parent has a device before its volumes have
 * one, and a volume that is used as a parent, however far below, cannot be given another one.
 *
 * When the device goes, every volume above it loses its own device, and becomes degraded.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lvol/lvol_impl.h"

/* ---- who stands on what ---------------------------------------------------------------- */

bool lvol_is_below(const struct lvol *lvol, const struct lvol *top)
{
	struct blob_info info;
	const struct blob *blob = lvol->blob;

	for (; blob; blob = info.parent) {
		if (blob == top->blob)
			return true;
		blob_get_info(blob, &info);
	}
	return false;
}

struct lvol_esnap *lvol_esnap_below(const struct lvol *lvol, bool *ret_missing)
{
	const struct blob *blob = lvol->blob;
	struct blob_info info;
	struct bdev_user *user;

	blob_get_info(blob, &info);
	while (info.parent) {
		blob = info.parent;
		blob_get_info(blob, &info);
	}
	user = info.esnap ? blob_esnap_bdev(blob) : NULL;
	if (ret_missing)
		*ret_missing = info.esnap &&
			       (!user || container_of(user, struct lvol_esnap, user)->removed);
	return user ? container_of(user, struct lvol_esnap, user) : NULL;
}

static int esnap_check(struct lvs *lvs, struct bdev *bdev, struct reason *reason)
{
	struct blob_store_info store;

	blob_store_get_info(lvs->store, &store);
	if (bdev_is_lvol(bdev) && lvol_of_bdev(bdev)->lvs == lvs)
		return reason_set(reason, -EINVAL,
			"%s is a volume of the same store: clone it, or make it the parent, as "
			"such",
			bdev->name);
	if (bdev_size(bdev) == 0 || bdev_size(bdev) % store.cluster_size)
		return reason_set(reason, -EINVAL,
			"the size of %s is no multiple of the store's clusters of %u bytes",
			bdev->name, store.cluster_size);
	if (store.io_unit_size % bdev->block_size)
		return reason_set(reason, -EINVAL,
			"%s has blocks of %u bytes, the store %s of %u: the parent's must not be "
			"larger",
			bdev->name, bdev->block_size, lvs->name, store.io_unit_size);
	return 0;
}

/* ---- opened and closed ----------------------------------------------------------------- */

struct esnap_op {
	struct flow flow;
	struct lvol_esnap *esnap;
	struct bdev *bdev;
	struct reason *reason;
	struct lvol_esnap **ret_esnap;
	int refusal;
	done_fn done;
	void *arg;
};

static void esnap_removed(struct bdev_user *user);

static const struct bdev_user_ops esnap_user_ops = {
	.name = "volumes that stand on it",
	.removed = esnap_removed,
};

static enum flow_result esnap_open_run(struct flow *f)
{
	struct esnap_op *op = container_of(f, struct esnap_op, flow);

	FLOW_BEGIN(f);
	flow_fail(f, op->refusal);
	if (!flow_failed(f))
		flow_fail(f, bdev_open(op->bdev, &op->esnap->user, op->reason));
	if (flow_failed(f))
		goto free_esnap;
	AWAIT(f, bdev_claim(&op->esnap->user, BDEV_CLAIM_READ_MANY_WRITE_NONE, op->reason,
			 flow_resume, f));
	if (flow_failed(f))
		goto close;
	list_add_tail(&op->esnap->lvs->esnaps, &op->esnap->link);
	*op->ret_esnap = op->esnap;
	goto finish;

close:
	bdev_close(&op->esnap->user);
free_esnap:
	free(op->esnap);
finish:
	bdev_operation_end(op->bdev);
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void lvs_esnap_open(struct lvs *lvs, struct bdev *bdev, struct reason *reason,
	struct lvol_esnap **ret_esnap, done_fn done, void *arg)
{
	struct esnap_op *op = alloc_op(sizeof(*op));

	op->esnap = alloc_op(sizeof(*op->esnap));
	op->esnap->user.ops = &esnap_user_ops;
	op->esnap->lvs = lvs;
	list_init(&op->esnap->link);
	op->bdev = bdev;
	op->reason = reason;
	op->ret_esnap = ret_esnap;
	op->refusal = esnap_check(lvs, bdev, reason);
	op->done = done;
	op->arg = arg;
	bdev_operation_begin(bdev);
	flow_start(&op->flow, lvs->lvols->control, "lvs_esnap_open", esnap_open_run);
}

static enum flow_result esnap_close_run(struct flow *f)
{
	struct esnap_op *op = container_of(f, struct esnap_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_release(&op->esnap->user, flow_resume, f));
	bdev_close(&op->esnap->user);
	list_remove(&op->esnap->link);
	free(op->esnap);
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

void lvol_esnap_close(struct lvol_esnap *esnap, done_fn done, void *arg)
{
	struct esnap_op *op = alloc_op(sizeof(*op));

	op->esnap = esnap;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, esnap->lvs->lvols->control, "lvol_esnap_close", esnap_close_run);
}

/* ---- its device goes ------------------------------------------------------------------- */

struct esnap_lost_op {
	struct flow flow;
	struct bdev_gate_turn turn;
	struct lvs *lvs;
	struct lvol *lvol;
};

static bool lvol_has_lost_parent(const struct lvol *lvol)
{
	const struct lvol_esnap *esnap = lvol->blob ? lvol_esnap_below(lvol, NULL) : NULL;

	return esnap && esnap->removed;
}

/* A volume that has a device and must lose it; none is registered again as long as that is so. */
static struct lvol *lost_find(const struct lvs *lvs)
{
	struct lvol *lvol;

	if (lvs->state != LVS_OPEN)
		return NULL; /* who closes the store lets go of everything */
	list_for_each_entry (lvol, &lvs->volumes, link)
		if (lvol->registered && lvol_has_lost_parent(lvol))
			return lvol;
	return NULL;
}

static void lost_forget(struct lvs *lvs)
{
	struct lvol *lvol;

	list_for_each_entry (lvol, &lvs->volumes, link) {
		struct bdev_user *user = blob_esnap_bdev(lvol->blob);

		if (!user || !container_of(user, struct lvol_esnap, user)->removed)
			continue;
		log_warning("the parent of volume %s/%s has gone: it is degraded", lvs->name,
			lvol->name);
		blob_set_esnap_bdev(lvol->blob, NULL);
	}
}

static enum flow_result esnap_lost_run(struct flow *f)
{
	struct esnap_lost_op *op = container_of(f, struct esnap_lost_op, flow);

	FLOW_BEGIN(f);
	while ((op->lvol = lost_find(op->lvs)))
		AWAIT(f, lvol_unregister(op->lvol, flow_resume, f));
	AWAIT(f, bdev_gate_enter(&op->lvs->gate, &op->turn, flow_resume, f));
	if (op->lvs->state != LVS_OPEN)
		goto leave;
	lost_forget(op->lvs);
	AWAIT(f, lvs_settle(op->lvs, flow_resume, f));
leave:
	bdev_gate_leave(&op->lvs->gate);
	lvs_put(op->lvs);
	free(op);
	FLOW_END(f);
}

static void esnap_removed(struct bdev_user *user)
{
	struct lvol_esnap *esnap = container_of(user, struct lvol_esnap, user);
	struct esnap_lost_op *op = alloc_op(sizeof(*op));

	esnap->removed = true;
	op->lvs = esnap->lvs;
	lvs_get(op->lvs);
	flow_start(&op->flow, op->lvs->lvols->control, "esnap_lost", esnap_lost_run);
}
