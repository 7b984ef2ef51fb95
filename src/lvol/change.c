/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A volume is changed: its name, its size, read-only.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lvol/lvol_impl.h"

/* ---- rename ---------------------------------------------------------------------------- */

static void rename_write(struct lvol_op *op, done_fn done, void *arg)
{
	op->xattrs[0] = (struct blob_xattr){
		.name = LVOLSTORE_XATTR_NAME, .value = op->name, .length = strlen(op->name) + 1};
	blob_set_xattrs(op->lvol->blob, op->xattrs, 1, op->reason, done, arg);
}

static void rename_apply(struct lvol_op *op)
{
	struct lvol *lvol = op->lvol;
	struct bdev *bdev = &lvol->bdev;
	char alias[LVOL_ALIAS_MAX];
	struct reason reason = {0};

	lvol_alias_format(op->lvs->name, lvol->name, alias, sizeof(alias));
	memcpy(lvol->name, op->name, sizeof(lvol->name));
	lvol->no_name = false;
	if (!lvol->registered)
		return;
	if (bdev_alias_remove(bdev, alias, NULL))
		log_debug("volume %s had no alias", alias);
	lvol_alias_format(op->lvs->name, lvol->name, alias, sizeof(alias));
	if (bdev_alias_add(bdev, alias, &reason))
		log_warning("volume %s is known as %s only: %s", alias, lvol->id, reason.text);
}

static enum flow_result rename_run(struct flow *f)
{
	struct lvol_op *op = container_of(f, struct lvol_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, lvol_op_enter(op, flow_resume, f));
	if (!flow_failed(f))
		flow_fail(f, lvol_check_free(op->lvs, op->name, op->reason));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, rename_write(op, flow_resume, f));
	if (!flow_failed(f))
		rename_apply(op);
finish:
	lvol_op_end(op, f->error);
	FLOW_END(f);
}

void lvol_rename(
	struct lvol *lvol, const char *name, struct reason *reason, done_fn done, void *arg)
{
	struct lvol_op *op = lvol_op_create(lvol->lvs, lvol, reason, done, arg);

	op->any_state = true;
	lvol_op_take_name(op, name);
	lvol_op_start(op, "lvol_rename", rename_run);
}

/* ---- resize ---------------------------------------------------------------------------- */

static int resize_check(struct lvol_op *op)
{
	struct lvol *lvol = op->lvol;
	struct blob_store_info store;
	struct blob_info blob;
	int rc;

	blob_store_get_info(op->lvs->store, &store);
	blob_get_info(lvol->blob, &blob);
	op->old_bytes = blob.num_clusters * store.cluster_size;
	op->num_clusters = op->bytes / store.cluster_size + (op->bytes % store.cluster_size != 0);
	if (op->num_clusters > INT64_MAX / store.cluster_size)
		return reason_set(op->reason, -EINVAL, "a volume cannot be that large");
	op->bytes = op->num_clusters * store.cluster_size;
	if (blob.read_only)
		return reason_set(op->reason, -EPERM,
			"volume %s is read-only and keeps its size: clone it", lvol->name);
	rc = lvol_check_filling(lvol, op->reason);
	if (rc)
		return rc;
	if (op->bytes < op->old_bytes && lvol_is_used(lvol))
		return reason_set(op->reason, -EBUSY,
			"volume %s is in use and cannot shrink: detach it first", lvol->name);
	return 0;
}

static void resize_blob(struct lvol_op *op, done_fn done, void *arg)
{
	blob_resize(op->lvol->blob, op->num_clusters, op->reason, done, arg);
}

static enum flow_result resize_run(struct flow *f)
{
	struct lvol_op *op = container_of(f, struct lvol_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, lvol_op_enter(op, flow_resume, f));
	if (!flow_failed(f))
		flow_fail(f, resize_check(op));
	if (flow_failed(f) || op->bytes == op->old_bytes)
		goto finish;
	/* Nobody may have requests beyond the end of the blob at any time. */
	if (op->bytes < op->old_bytes)
		bdev_set_size(&op->lvol->bdev, op->bytes);
	AWAIT(f, resize_blob(op, flow_resume, f));
	bdev_set_size(&op->lvol->bdev, flow_failed(f) ? op->old_bytes : op->bytes);
finish:
	lvol_op_end(op, f->error);
	FLOW_END(f);
}

void lvol_resize(
	struct lvol *lvol, uint64_t size_bytes, struct reason *reason, done_fn done, void *arg)
{
	struct lvol_op *op = lvol_op_create(lvol->lvs, lvol, reason, done, arg);

	op->bytes = size_bytes;
	lvol_op_start(op, "lvol_resize", resize_run);
}

/* ---- read-only ------------------------------------------------------------------------- */

static void read_only_write(struct lvol_op *op, done_fn done, void *arg)
{
	blob_set_read_only(op->lvol->blob, op->reason, done, arg);
}

static enum flow_result read_only_run(struct flow *f)
{
	struct lvol_op *op = container_of(f, struct lvol_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, lvol_op_enter(op, flow_resume, f));
	if (!flow_failed(f))
		AWAIT(f, read_only_write(op, flow_resume, f));
	if (!flow_failed(f)) {
		op->lvol->bdev.read_only = true;
		atomic_store_explicit(&op->lvol->read_only, true, memory_order_relaxed);
	}
	lvol_op_end(op, f->error);
	FLOW_END(f);
}

void lvol_set_read_only(struct lvol *lvol, struct reason *reason, done_fn done, void *arg)
{
	lvol_op_start(lvol_op_create(lvol->lvs, lvol, reason, done, arg), "lvol_set_read_only",
		read_only_run);
}
