/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * New volumes: empty ones, snapshots, clones, clones of foreign devices. The blob is there, named,
 * with one write of its layer; what follows here is memory only.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lvol/lvol_impl.h"

/* The blob has been made: the volume that it is. */
static void create_adopt(struct lvol_op *op)
{
	struct lvol *lvol = lvol_alloc(op->lvs, op->blob);

	lvol_set_uuid(lvol, op->uuid);
	memcpy(lvol->name, op->name, sizeof(lvol->name));
	lvol->block_size = op->block_size;
	op->made = lvol;
}

static int create_check(struct lvol_op *op)
{
	return lvol_check_free(op->lvs, op->name, op->reason);
}

/* Rounds up; -EINVAL beyond what a device can have. */
static int create_round(struct lvol_op *op, uint64_t bytes)
{
	struct blob_store_info store;

	blob_store_get_info(op->lvs->store, &store);
	op->num_clusters = bytes / store.cluster_size + (bytes % store.cluster_size != 0);
	if (op->num_clusters > INT64_MAX / store.cluster_size)
		return reason_set(op->reason, -EINVAL, "a volume cannot be that large");
	return 0;
}

/* ---- empty ----------------------------------------------------------------------------- */

static void create_empty(struct lvol_op *op, done_fn done, void *arg)
{
	const struct blob_create_options options = {
		.num_clusters = op->num_clusters,
		.thin = op->thin,
		.clear_method = op->clear_method,
		.xattrs = op->xattrs,
		.num_xattrs = op->num_xattrs,
		.esnap_id = op->esnap_id[0] ? op->esnap_id : NULL,
		.esnap_id_length = op->esnap_id[0] ? sizeof(op->esnap_id) : 0,
	};

	blob_create(op->lvs->store, &options, op->reason, &op->blob, done, arg);
}

static enum flow_result create_run(struct flow *f)
{
	struct lvol_op *op = container_of(f, struct lvol_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, lvol_op_enter(op, flow_resume, f));
	if (!flow_failed(f))
		flow_fail(f, create_check(op));
	if (!flow_failed(f))
		flow_fail(f, create_round(op, op->bytes));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, create_empty(op, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	create_adopt(op);
	AWAIT(f, lvs_settle(op->lvs, flow_resume, f));
finish:
	lvol_op_end(op, f->error);
	FLOW_END(f);
}

void lvol_create(struct lvs *lvs, const struct lvol_create_options *options, struct reason *reason,
	struct lvol **ret_lvol, done_fn done, void *arg)
{
	struct lvol_op *op = lvol_op_create(lvs, NULL, reason, done, arg);

	lvol_op_take_block_size(op, options->block_size);
	lvol_op_take_name(op, options->name);
	lvol_op_make_xattrs(op);
	op->bytes = options->size_bytes;
	op->thin = options->thin;
	op->clear_method = options->clear_method;
	op->ret_lvol = ret_lvol;
	lvol_op_start(op, "lvol_create", create_run);
}

/* ---- clone of a foreign device --------------------------------------------------------- */

static void create_open_parent(struct lvol_op *op, done_fn done, void *arg)
{
	lvs_esnap_open(op->lvs, op->device, op->reason, &op->esnap, done, arg);
}

/* Nobody changes the parent's size or contents from the claim on. */
static enum flow_result create_from_bdev_run(struct flow *f)
{
	struct lvol_op *op = container_of(f, struct lvol_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, lvol_op_enter(op, flow_resume, f));
	if (!flow_failed(f))
		flow_fail(f, create_check(op));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, create_open_parent(op, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	flow_fail(f, create_round(op, bdev_size(op->device)));
	if (flow_failed(f))
		goto settle;
	AWAIT(f, create_empty(op, flow_resume, f));
	if (flow_failed(f))
		goto settle;
	create_adopt(op);
	blob_set_esnap_bdev(op->blob, &op->esnap->user);
settle:
	AWAIT(f, lvs_settle(op->lvs, flow_resume, f)); /* an esnap of nobody is closed */
finish:
	lvol_op_end(op, f->error);
	FLOW_END(f);
}

void lvol_create_from_bdev(struct lvs *lvs, struct bdev *parent, const char *name,
	uint32_t block_size, struct reason *reason, struct lvol **ret_lvol, done_fn done, void *arg)
{
	struct lvol_op *op = lvol_op_create(lvs, NULL, reason, done, arg);

	lvol_op_take_block_size(op, block_size);
	lvol_op_take_name(op, name);
	lvol_op_make_xattrs(op);
	lvol_op_take_device(op, parent);
	op->thin = true;
	op->ret_lvol = ret_lvol;
	lvol_op_start(op, "lvol_create_from_bdev", create_from_bdev_run);
}

/* ---- snapshot -------------------------------------------------------------------------- */

static void snapshot_make(struct lvol_op *op, done_fn done, void *arg)
{
	blob_snapshot(op->lvol->blob, op->xattrs, op->num_xattrs, op->reason, &op->blob, done, arg);
}

static enum flow_result snapshot_run(struct flow *f)
{
	struct lvol_op *op = container_of(f, struct lvol_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, lvol_op_enter(op, flow_resume, f));
	if (!flow_failed(f))
		flow_fail(f, create_check(op));
	if (!flow_failed(f))
		flow_fail(f, lvol_check_filling(op->lvol, op->reason));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, snapshot_make(op, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	create_adopt(op);
	AWAIT(f, lvs_settle(op->lvs, flow_resume, f));
finish:
	lvol_op_end(op, f->error);
	FLOW_END(f);
}

/* The caller's attributes are copied behind the volume's own, in one piece of memory. */
static void snapshot_take_xattrs(
	struct lvol_op *op, const struct blob_xattr *xattrs, unsigned num_xattrs)
{
	size_t size = 0;
	char *at;

	for (unsigned i = 0; i < num_xattrs; i++)
		size += strlen(xattrs[i].name) + 1 + xattrs[i].length;
	op->value = at = alloc_op(size + 1);
	for (unsigned i = 0; i < num_xattrs && !op->refusal; i++) {
		struct blob_xattr *copy = &op->xattrs[op->num_xattrs];

		op->refusal = lvol_check_xattr(xattrs[i].name, xattrs[i].length, op->reason);
		copy->name = at;
		at = stpcpy(at, xattrs[i].name) + 1;
		copy->value = memcpy(at, xattrs[i].value, xattrs[i].length);
		copy->length = xattrs[i].length;
		at += xattrs[i].length;
		op->num_xattrs++;
	}
}

void lvol_snapshot(struct lvol *lvol, const char *name, const struct blob_xattr *xattrs,
	unsigned num_xattrs, struct reason *reason, struct lvol **ret_snapshot, done_fn done,
	void *arg)
{
	struct lvol_op *op = lvol_op_create(lvol->lvs, lvol, reason, done, arg);

	lvol_op_take_name(op, name);
	op->block_size = lvol->block_size;
	lvol_op_make_xattrs(op);
	if (num_xattrs > LVOL_XATTRS_MAX)
		op->refusal = reason_set(reason, -EINVAL,
			"a snapshot takes %u attributes: set the others afterwards",
			LVOL_XATTRS_MAX);
	if (!op->refusal)
		snapshot_take_xattrs(op, xattrs, num_xattrs);
	op->ret_lvol = ret_snapshot;
	lvol_op_start(op, "lvol_snapshot", snapshot_run);
}

/* ---- clone ----------------------------------------------------------------------------- */

static void clone_make(struct lvol_op *op, done_fn done, void *arg)
{
	blob_clone(op->lvol->blob, op->xattrs, op->num_xattrs, op->reason, &op->blob, done, arg);
}

static enum flow_result clone_run(struct flow *f)
{
	struct lvol_op *op = container_of(f, struct lvol_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, lvol_op_enter(op, flow_resume, f));
	if (!flow_failed(f))
		flow_fail(f, create_check(op));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, clone_make(op, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	create_adopt(op);
	AWAIT(f, lvs_settle(op->lvs, flow_resume, f));
finish:
	lvol_op_end(op, f->error);
	FLOW_END(f);
}

void lvol_clone(struct lvol *lvol, const char *name, struct reason *reason, struct lvol **ret_clone,
	done_fn done, void *arg)
{
	struct lvol_op *op = lvol_op_create(lvol->lvs, lvol, reason, done, arg);

	lvol_op_take_name(op, name);
	op->block_size = lvol->block_size;
	lvol_op_make_xattrs(op);
	op->ret_lvol = ret_clone;
	lvol_op_start(op, "lvol_clone", clone_run);
}
