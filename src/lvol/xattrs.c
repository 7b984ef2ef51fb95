/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A volume's attributes that are its user's. Its name and UUID are attributes too, which only
 * rename changes, and so is the block size that was chosen when it was made.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lvol/lvol_impl.h"

#define XATTR_BYTES_MAX 4063 /* name and value */

int lvol_check_xattr(const char *name, size_t length, struct reason *reason)
{
	if (!*name || length == 0 || strlen(name) + length > XATTR_BYTES_MAX)
		return reason_set(reason, -EINVAL,
			"an attribute has a name and a value, of %u bytes together at most",
			XATTR_BYTES_MAX);
	if (strcmp(name, LVOLSTORE_XATTR_NAME) == 0 || strcmp(name, LVOLSTORE_XATTR_UUID) == 0 ||
		strcmp(name, LVOL_XATTR_BLOCK_SIZE) == 0)
		return reason_set(reason, -EINVAL,
			"the attribute %s is the volume's own: choose another", name);
	return 0;
}

static void xattr_write(struct lvol_op *op, done_fn done, void *arg)
{
	op->xattrs[0] =
		(struct blob_xattr){.name = op->key, .value = op->value, .length = op->length};
	blob_set_xattrs(op->lvol->blob, op->xattrs, 1, op->reason, done, arg);
}

static enum flow_result set_xattr_run(struct flow *f)
{
	struct lvol_op *op = container_of(f, struct lvol_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, lvol_op_enter(op, flow_resume, f));
	if (!flow_failed(f))
		AWAIT(f, xattr_write(op, flow_resume, f));
	lvol_op_end(op, f->error);
	FLOW_END(f);
}

/* The value is stored with its NUL. */
void lvol_set_xattr(struct lvol *lvol, const char *name, const char *value, struct reason *reason,
	done_fn done, void *arg)
{
	struct lvol_op *op = lvol_op_create(lvol->lvs, lvol, reason, done, arg);

	op->any_state = true;
	op->length = value ? strlen(value) + 1 : 0;
	op->refusal = lvol_check_xattr(name, value ? op->length : 1, reason);
	if (!op->refusal) {
		op->key = strcpy(alloc_op(strlen(name) + 1), name);
		op->value = value ? strcpy(alloc_op(op->length), value) : NULL;
	}
	lvol_op_start(op, "lvol_set_xattr", set_xattr_run);
}

static void xattr_read(struct lvol_op *op, done_fn done, void *arg)
{
	blob_get_xattr(op->lvol->blob, op->key, op->value, XATTR_BYTES_MAX, &op->length, done, arg);
}

static enum flow_result get_xattr_run(struct flow *f)
{
	struct lvol_op *op = container_of(f, struct lvol_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, lvol_op_enter(op, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, xattr_read(op, flow_resume, f));
	if (flow_failed(f)) {
		reason_set(op->reason, f->rc, "volume %s has no attribute %s", op->lvol->name,
			op->key);
		goto finish;
	}
	*op->ret_value = op->value;
	op->value = NULL;
finish:
	lvol_op_end(op, f->error);
	FLOW_END(f);
}

void lvol_get_xattr(struct lvol *lvol, const char *name, struct reason *reason, char **ret_value,
	done_fn done, void *arg)
{
	struct lvol_op *op = lvol_op_create(lvol->lvs, lvol, reason, done, arg);

	op->any_state = true;
	op->key = strcpy(alloc_op(strlen(name) + 1), name);
	op->value = alloc_op(XATTR_BYTES_MAX + 1);
	op->ret_value = ret_value;
	lvol_op_start(op, "lvol_get_xattr", get_xattr_run);
}
