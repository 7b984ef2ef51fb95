/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Snapshots, clones and what stands on what: bdev_lvol_snapshot, bdev_lvol_clone,
 * bdev_lvol_clone_bdev, bdev_lvol_inflate, bdev_lvol_decouple_parent, bdev_lvol_detach_parent,
 * bdev_lvol_set_parent, bdev_lvol_set_parent_bdev.
 */
#include <errno.h>
#include <string.h>

#include "control/lvol_impl.h"

/* ---- snapshot -------------------------------------------------------------------------- */

struct snapshot_params {
	const char *lvol_name;
	const char *snapshot_name;
	const json_t *xattrs;
};

static const struct rpc_param snapshot_table[] = {
	{PARAM(RPC_STRING, snapshot_params, lvol_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, snapshot_params, snapshot_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_JSON, snapshot_params, xattrs)},
	{0},
};

/* An object of strings, which are stored with their NUL; the array has LVOL_XATTRS_MAX places. */
static int xattrs_read(
	const json_t *object, struct blob_xattr *xattrs, unsigned *ret_count, struct reason *reason)
{
	const char *name;
	json_t *value;
	unsigned count = 0;

	if (object && !json_is_object(object))
		return reason_set(reason, -EINVAL, "xattrs is an object of strings");
	json_object_foreach((json_t *)(uintptr_t)object, name, value)
	{
		const char *text = json_string_value(value);

		if (!text)
			return reason_set(reason, -EINVAL, "xattr %s must be a string", name);
		if (count == LVOL_XATTRS_MAX)
			return reason_set(reason, -EINVAL,
				"a snapshot takes %u xattrs: set the others afterwards",
				LVOL_XATTRS_MAX);
		xattrs[count++] = (struct blob_xattr){
			.name = name, .value = text, .length = strlen(text) + 1};
	}
	*ret_count = count;
	return 0;
}

static void bdev_lvol_snapshot(struct rpc_request *request, const void *params, void *context)
{
	const struct snapshot_params *wanted = params;
	struct blob_xattr xattrs[LVOL_XATTRS_MAX];
	struct reason reason = {0};
	struct lvol_call *call;
	struct lvol *lvol;
	unsigned count = 0;
	int rc = xattrs_read(wanted->xattrs, xattrs, &count, &reason);

	if (rc) {
		rpc_request_fail_text(
			request, RPC_INTERNAL_ERROR, "spdk_json_decode_object failed", &reason);
		return;
	}
	lvol = lvol_find_or_fail(context, request, wanted->lvol_name);
	if (!lvol)
		return;
	call = lvol_call_create(request, LVOL_RESULT_LVOL);
	lvol_snapshot(lvol, wanted->snapshot_name, xattrs, count, &call->reason, &call->lvol,
		lvol_call_end, call);
}

/* ---- clones ---------------------------------------------------------------------------- */

struct clone_params {
	const char *snapshot_name;
	const char *clone_name;
};

static const struct rpc_param clone_table[] = {
	{PARAM(RPC_STRING, clone_params, snapshot_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, clone_params, clone_name), .flags = RPC_REQUIRED},
	{0},
};

static void bdev_lvol_clone(struct rpc_request *request, const void *params, void *context)
{
	const struct clone_params *wanted = params;
	struct lvol_call *call =
		lvol_call_on(context, request, wanted->snapshot_name, LVOL_RESULT_LVOL);

	if (call)
		lvol_clone(call->on, wanted->clone_name, &call->reason, &call->lvol, lvol_call_end,
			call);
}

struct clone_bdev_params {
	const char *bdev;
	const char *lvs_name;
	const char *clone_name;
	uint32_t block_size; /* ours; 0: as the device below */
};

static const struct rpc_param clone_bdev_table[] = {
	{PARAM(RPC_STRING, clone_bdev_params, bdev), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, clone_bdev_params, lvs_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, clone_bdev_params, clone_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_U32, clone_bdev_params, block_size)},
	{0},
};

static bool bdev_is_of_store(
	struct control *control, const struct bdev *bdev, const struct lvs *lvs)
{
	const struct lvol *lvol = lvol_find(control->options.lvols, bdev->name);
	struct lvol_info info;

	if (!lvol)
		return false;
	lvol_get_info(lvol, &info);
	return info.lvs == lvs;
}

static void bdev_lvol_clone_bdev(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct clone_bdev_params *wanted = params;
	struct bdev *bdev = bdev_find(control->options.registry, wanted->bdev);
	struct lvs *lvs = lvs_find(control->options.lvols, wanted->lvs_name);
	struct lvol_call *call;

	if (!bdev || !lvs) {
		rpc_request_fail_text(request, RPC_INVALID_PARAMS,
			bdev ? "lvs does not exist" : "bdev does not exist", NULL);
		return;
	}
	if (bdev_is_of_store(control, bdev, lvs)) {
		rpc_request_fail_text(request, RPC_INVALID_PARAMS,
			"bdev is an lvol in same lvs as clone; use bdev_lvol_clone instead", NULL);
		return;
	}
	call = lvol_call_create(request, LVOL_RESULT_LVOL);
	lvol_create_from_bdev(lvs, bdev, wanted->clone_name, wanted->block_size, &call->reason,
		&call->lvol, lvol_call_end, call);
}

/* ---- independent ----------------------------------------------------------------------- */

static void bdev_lvol_inflate(struct rpc_request *request, const void *params, void *context)
{
	const struct lvol_name_params *wanted = params;
	struct lvol_call *call = lvol_call_on(context, request, wanted->name, LVOL_RESULT_TRUE);

	if (call)
		lvol_inflate(call->on, &call->reason, lvol_call_end, call);
}

static void bdev_lvol_decouple_parent(
	struct rpc_request *request, const void *params, void *context)
{
	const struct lvol_name_params *wanted = params;
	struct lvol_call *call = lvol_call_on(context, request, wanted->name, LVOL_RESULT_TRUE);

	if (call)
		lvol_decouple(call->on, &call->reason, lvol_call_end, call);
}

static void bdev_lvol_detach_parent(struct rpc_request *request, const void *params, void *context)
{
	const struct lvol_name_params *wanted = params;
	struct lvol_call *call = lvol_call_on(context, request, wanted->name, LVOL_RESULT_TRUE);

	if (call)
		lvol_detach_parent(call->on, &call->reason, lvol_call_end, call);
}

/* ---- another parent -------------------------------------------------------------------- */

struct parent_params {
	const char *lvol_name;
	const char *parent_name;
};

static const struct rpc_param parent_table[] = {
	{PARAM(RPC_STRING, parent_params, lvol_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, parent_params, parent_name), .flags = RPC_REQUIRED},
	{0},
};

static void bdev_lvol_set_parent(struct rpc_request *request, const void *params, void *context)
{
	const struct parent_params *wanted = params;
	struct lvol *lvol = lvol_find_or_fail(context, request, wanted->lvol_name);
	struct lvol_call *call;
	struct lvol *parent;

	if (!lvol)
		return;
	parent = lvol_find_or_fail(context, request, wanted->parent_name);
	if (!parent)
		return;
	call = lvol_call_create(request, LVOL_RESULT_TRUE);
	lvol_set_parent(lvol, parent, &call->reason, lvol_call_end, call);
}

static void bdev_lvol_set_parent_bdev(
	struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct parent_params *wanted = params;
	struct bdev *parent = bdev_find(control->options.registry, wanted->parent_name);
	struct lvol *lvol = lvol_find_or_fail(control, request, wanted->lvol_name);
	struct lvol_call *call;

	if (!lvol)
		return;
	if (!parent) {
		rpc_request_fail_code(request, RPC_INVALID_PARAMS, -ENODEV, NULL);
		return;
	}
	call = lvol_call_create(request, LVOL_RESULT_TRUE);
	lvol_set_parent_bdev(lvol, parent, &call->reason, lvol_call_end, call);
}

const struct rpc_method lvol_snapshot_methods[] = {
	{"bdev_lvol_snapshot", RPC_RUNTIME, bdev_lvol_snapshot, snapshot_table,
		sizeof(struct snapshot_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_clone", RPC_RUNTIME, bdev_lvol_clone, clone_table, sizeof(struct clone_params),
		.decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_clone_bdev", RPC_RUNTIME, bdev_lvol_clone_bdev, clone_bdev_table,
		sizeof(struct clone_bdev_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_inflate", RPC_RUNTIME, bdev_lvol_inflate, lvol_name_table,
		sizeof(struct lvol_name_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_decouple_parent", RPC_RUNTIME, bdev_lvol_decouple_parent, lvol_name_table,
		sizeof(struct lvol_name_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_detach_parent", RPC_RUNTIME, bdev_lvol_detach_parent, lvol_name_table,
		sizeof(struct lvol_name_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_set_parent", RPC_RUNTIME, bdev_lvol_set_parent, parent_table,
		sizeof(struct parent_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_set_parent_bdev", RPC_RUNTIME, bdev_lvol_set_parent_bdev, parent_table,
		sizeof(struct parent_params), .decode_error = RPC_DECODE_ERROR},
	{0},
};
