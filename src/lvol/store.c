/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A store in memory: made when a device is to be one or was found to be one, in the list until it
 * is closed, freed when the last operation on it has ended. And the two operations on the store
 * itself that leave its volumes alone: rename and grow.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lvol/lvol_impl.h"

/* ---- what the blob layer tells --------------------------------------------------------- */

static void lvs_removed_closed(void *arg, int rc)
{
	/* Logged where it failed. */
}

static void lvs_removed(void *arg)
{
	struct lvs *lvs = arg;

	log_warning("the device of volume store %s goes: its volumes go with it", lvs->name);
	lvs_close(lvs, LVS_CLOSE, lvs_removed_closed, NULL);
}

const struct blob_store_user lvs_store_user_template = {
	.removed = lvs_removed,
	.space = lvs_space_changed,
};

/* ---- life ------------------------------------------------------------------------------ */

struct lvs *lvs_alloc(struct lvols *lvols)
{
	struct lvs *lvs = alloc_op(sizeof(*lvs));

	lvs->lvols = lvols;
	lvs->refs = 1; /* the list's */
	lvs->state = LVS_OPENING;
	lvs->low_water_percent = BLOB_STORE_LOW_WATER_PERCENT;
	bdev_gate_init(&lvs->gate, lvols->control);
	bdev_gate_init(&lvs->close_gate, lvols->control);
	list_init(&lvs->volumes);
	list_init(&lvs->esnaps);
	list_add_tail(&lvols->stores, &lvs->link);
	return lvs;
}

void lvs_get(struct lvs *lvs)
{
	lvs->refs++;
}

void lvs_put(struct lvs *lvs)
{
	if (--lvs->refs > 0)
		return;
	invariant(lvs->state == LVS_CLOSED && list_is_empty(&lvs->volumes) &&
		  list_is_empty(&lvs->esnaps));
	free(lvs);
}

void lvs_drop(struct lvs *lvs)
{
	lvs->state = LVS_CLOSED;
	lvs->store = NULL;
	list_remove(&lvs->link);
	lvs_put(lvs);
}

void lvs_get_info(const struct lvs *lvs, struct lvs_info *ret_info)
{
	const struct bdev *base = blob_store_base(lvs->store);

	*ret_info = (struct lvs_info){
		.name = lvs->name,
		.uuid = lvs->uuid,
		.base_bdev = base ? base->name : "",
		.space = lvs->space,
		.low_water_percent = lvs->low_water_percent,
	};
	blob_store_get_info(lvs->store, &ret_info->store);
}

/* ---- rename ---------------------------------------------------------------------------- */

static int lvs_rename_check_volumes(const struct lvol_op *op)
{
	const struct lvol *lvol;

	list_for_each_entry (lvol, &op->lvs->volumes, link) {
		char alias[LVOL_ALIAS_MAX];

		lvol_alias_format(op->name, lvol->name, alias, sizeof(alias));
		if (bdev_find(op->lvs->lvols->options.registry, alias))
			return reason_set(op->reason, -EEXIST,
				"there is a block device named %s: choose another name", alias);
	}
	return 0;
}

static int lvs_rename_check(struct lvol_op *op)
{
	if (lvs_name_is_taken(op->lvs->lvols, op->name, op->lvs))
		return reason_set(op->reason, -EEXIST,
			"there is a store %s already: choose another name", op->name);
	return lvs_rename_check_volumes(op);
}

static void lvol_change_store_name(struct lvol *lvol, const char *from, const char *to)
{
	char alias[LVOL_ALIAS_MAX];
	struct reason reason = {0};

	if (!lvol->registered)
		return;
	lvol_alias_format(from, lvol->name, alias, sizeof(alias));
	if (bdev_alias_remove(&lvol->bdev, alias, NULL))
		log_debug("volume %s had no alias", alias);
	lvol_alias_format(to, lvol->name, alias, sizeof(alias));
	if (bdev_alias_add(&lvol->bdev, alias, &reason))
		log_warning("volume %s is known as %s only: %s", alias, lvol->id, reason.text);
}

static void lvs_change_name(struct lvol_op *op)
{
	struct lvs *lvs = op->lvs;
	struct lvol *lvol;

	list_for_each_entry (lvol, &lvs->volumes, link)
		lvol_change_store_name(lvol, lvs->name, op->name);
	memcpy(lvs->name, op->name, sizeof(lvs->name));
}

static void lvs_write_name(struct lvol_op *op, done_fn done, void *arg)
{
	struct blob *super = blob_find(op->lvs->store, blob_store_super(op->lvs->store));

	op->xattrs[0] = (struct blob_xattr){
		.name = LVOLSTORE_XATTR_NAME, .value = op->name, .length = strlen(op->name) + 1};
	blob_set_xattrs(super, op->xattrs, 1, op->reason, done, arg);
}

static enum flow_result lvs_rename_run(struct flow *f)
{
	struct lvol_op *op = container_of(f, struct lvol_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, lvol_op_enter(op, flow_resume, f));
	if (flow_failed(f) || strcmp(op->lvs->name, op->name) == 0)
		goto finish;
	flow_fail(f, lvs_rename_check(op));
	if (flow_failed(f))
		goto finish;
	memcpy(op->lvs->new_name, op->name, sizeof(op->name));
	AWAIT(f, lvs_write_name(op, flow_resume, f));
	op->lvs->new_name[0] = '\0';
	if (!flow_failed(f))
		lvs_change_name(op);
finish:
	lvol_op_end(op, f->error);
	FLOW_END(f);
}

void lvs_rename(struct lvs *lvs, const char *name, struct reason *reason, done_fn done, void *arg)
{
	struct lvol_op *op = lvol_op_create(lvs, NULL, reason, done, arg);

	op->refusal = lvol_check_name(name, "store", reason);
	if (!op->refusal)
		memcpy(op->name, name, strlen(name) + 1);
	lvol_op_start(op, "lvs_rename", lvs_rename_run);
}

/* ---- grow ------------------------------------------------------------------------------ */

static enum flow_result lvs_grow_run(struct flow *f)
{
	struct lvol_op *op = container_of(f, struct lvol_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, lvol_op_enter(op, flow_resume, f));
	if (!flow_failed(f))
		AWAIT(f, blob_store_grow(op->lvs->store, op->reason, flow_resume, f));
	lvol_op_end(op, f->error);
	FLOW_END(f);
}

void lvs_grow(struct lvs *lvs, struct reason *reason, done_fn done, void *arg)
{
	lvol_op_start(lvol_op_create(lvs, NULL, reason, done, arg), "lvs_grow", lvs_grow_run);
}
