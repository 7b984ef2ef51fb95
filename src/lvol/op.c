/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What operations on stores and volumes begin and end with.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lvol/lvol_impl.h"

struct lvol_op *lvol_op_create(
	struct lvs *lvs, struct lvol *lvol, struct reason *reason, done_fn done, void *arg)
{
	struct lvol_op *op = alloc_op(sizeof(*op));

	op->lvs = lvs;
	op->lvol = lvol;
	op->reason = reason;
	op->done = done;
	op->arg = arg;
	lvs_get(lvs);
	if (lvol)
		lvol_get(lvol);
	return op;
}

void lvol_op_start(struct lvol_op *op, const char *name, enum flow_result (*run)(struct flow *flow))
{
	flow_start(&op->flow, op->lvs->lvols->control, name, run);
}

static bool lvol_has_gone(const struct lvol *lvol)
{
	return !lvol->blob || lvol->leaving;
}

static int lvol_op_check(const struct lvol_op *op)
{
	const struct lvol *lvol = op->lvol;

	if (op->refusal)
		return op->refusal;
	if (op->lvs->state != LVS_OPEN)
		return reason_set(
			op->reason, -ENODEV, "the store %s has been closed", op->lvs->name);
	if ((lvol && lvol_has_gone(lvol)) || (op->other && lvol_has_gone(op->other)))
		return reason_set(op->reason, -ENODEV, "the volume has been deleted meanwhile");
	if (lvol && !op->any_state && !lvol->registered)
		return reason_set(op->reason, -ENODEV,
			"the volume %s/%s has no device: the external snapshot that it stands on "
			"is missing",
			op->lvs->name, lvol->name);
	return 0;
}

static void lvol_op_entered(void *arg, int rc)
{
	struct lvol_op *op = arg;

	op->entered(op->entered_arg, lvol_op_check(op));
}

void lvol_op_enter(struct lvol_op *op, done_fn done, void *arg)
{
	op->entered = done;
	op->entered_arg = arg;
	bdev_gate_enter(&op->lvs->gate, &op->turn, lvol_op_entered, op);
}

void lvol_op_end(struct lvol_op *op, int rc)
{
	bdev_gate_leave(&op->lvs->gate);
	if (!rc && op->ret_lvol)
		*op->ret_lvol = op->made;
	op->done(op->arg, rc);
	if (op->device)
		bdev_operation_end(op->device);
	if (op->other)
		lvol_put(op->other);
	if (op->lvol)
		lvol_put(op->lvol);
	lvs_put(op->lvs);
	free(op->key);
	free(op->value);
	free(op);
}

void lvol_op_take_name(struct lvol_op *op, const char *name)
{
	int rc = lvol_check_name(name, "volume", op->reason);

	if (rc)
		op->refusal = rc;
	else
		memcpy(op->name, name, strlen(name) + 1);
}

void lvol_op_take_device(struct lvol_op *op, struct bdev *device)
{
	op->device = device;
	bdev_operation_begin(device);
	uuid_unparse_lower(device->uuid, op->esnap_id);
}

void lvol_op_take_block_size(struct lvol_op *op, uint32_t block_size)
{
	op->block_size = block_size;
	if (block_size && block_size != LVOL_BLOCK_SIZE_SMALL &&
		block_size != LVOL_BLOCK_SIZE_LARGE)
		op->refusal = reason_set(op->reason, -EINVAL,
			"a volume has blocks of %u or %u bytes, not of %u", LVOL_BLOCK_SIZE_SMALL,
			LVOL_BLOCK_SIZE_LARGE, block_size);
}

void lvol_op_make_xattrs(struct lvol_op *op)
{
	uuid_t uuid;

	uuid_generate_random(uuid);
	uuid_unparse_lower(uuid, op->uuid);
	memcpy(op->padded, op->name, strlen(op->name));
	op->xattrs[0] = (struct blob_xattr){
		.name = LVOLSTORE_XATTR_NAME, .value = op->padded, .length = sizeof(op->padded)};
	op->xattrs[1] = (struct blob_xattr){
		.name = LVOLSTORE_XATTR_UUID, .value = op->uuid, .length = sizeof(op->uuid)};
	op->num_xattrs = 2;
	if (!op->block_size)
		return;
	op->xattrs[op->num_xattrs++] = (struct blob_xattr){
		.name = LVOL_XATTR_BLOCK_SIZE,
		.value = op->block_size_text,
		.length = 1 + (size_t)snprintf(op->block_size_text, sizeof(op->block_size_text),
				      "%u", op->block_size),
	};
}
