/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Volumes: bdev_lvol_create, bdev_lvol_delete, bdev_lvol_rename, bdev_lvol_resize,
 * bdev_lvol_set_read_only, bdev_lvol_set_xattr, bdev_lvol_get_xattr. Listing is in lvol_list.c.
 */
#include <errno.h>
#include <stdlib.h>

#include "control/lvol_impl.h"

/* Not said: no number that can be given. */
#define SIZE_UNSAID ((int64_t)UINT64_MAX)

/* ---- create ---------------------------------------------------------------------------- */

struct create_params {
	const char *lvol_name;
	struct lvs_choice store;
	const char *clear_method;
	uint64_t size_in_mib;
	uint64_t size; /* bytes, as clients of older releases say */
	uint32_t block_size; /* ours; 0: as the device below */
	bool thin_provision;
};

static const struct rpc_param create_table[] = {
	{PARAM(RPC_STRING, create_params, lvol_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_U64, create_params, size_in_mib), .flags = RPC_UNSAID, .value = SIZE_UNSAID},
	{PARAM(RPC_U64, create_params, size), .flags = RPC_UNSAID, .value = SIZE_UNSAID},
	{.name = "uuid", .type = RPC_STRING, .offset = offsetof(struct create_params, store.uuid)},
	{.name = "lvs_name",
		.type = RPC_STRING,
		.offset = offsetof(struct create_params, store.lvs_name)},
	{PARAM(RPC_BOOL, create_params, thin_provision)},
	{PARAM(RPC_STRING, create_params, clear_method)},
	{PARAM(RPC_U32, create_params, block_size)},
	{0},
};

static void lvol_created(void *arg, int rc)
{
	struct lvol_call *call = arg;

	if (rc != -EEXIST && rc != -EINVAL) {
		lvol_call_end(call, rc);
		return;
	}
	rpc_request_fail(call->request, rc, &call->reason);
	free(call);
}

/* true, or the request has been answered. */
static bool size_read(struct rpc_request *request, const uint64_t *size_in_mib,
	const uint64_t *size, uint64_t *ret_bytes)
{
	struct reason reason = {0};
	int rc = lvol_size_parse(size_in_mib, size, ret_bytes, &reason);

	if (rc == -ENOENT)
		rpc_request_fail_text(
			request, RPC_INTERNAL_ERROR, "spdk_json_decode_object failed", &reason);
	else if (rc)
		rpc_request_fail(request, rc, &reason);
	return !rc;
}

static void bdev_lvol_create(struct rpc_request *request, const void *params, void *context)
{
	const struct create_params *wanted = params;
	struct lvol_create_options options = {
		.name = wanted->lvol_name,
		.thin = wanted->thin_provision,
		.block_size = wanted->block_size,
	};
	struct reason reason = {0};
	struct lvol_call *call;
	struct lvs *lvs;

	if (!size_read(request, &wanted->size_in_mib, &wanted->size, &options.size_bytes))
		return;
	lvs = lvs_choose_or_fail(context, request, &wanted->store);
	if (!lvs)
		return;
	if (clear_method_parse(wanted->clear_method, &options.clear_method)) {
		reason_set(&reason, -EINVAL, "clear_method is none, unmap or write_zeroes");
		rpc_request_fail_text(request, -EINVAL, "Invalid clean_method option", &reason);
		return;
	}
	call = lvol_call_create(request, LVOL_RESULT_LVOL);
	lvol_create(lvs, &options, &call->reason, &call->lvol, lvol_created, call);
}

/* ---- delete and read-only -------------------------------------------------------------- */

static void bdev_lvol_delete(struct rpc_request *request, const void *params, void *context)
{
	const struct lvol_name_params *wanted = params;
	struct lvol_call *call = lvol_call_on(context, request, wanted->name, LVOL_RESULT_TRUE);

	if (!call)
		return;
	call->eperm_code = RPC_INTERNAL_ERROR;
	lvol_delete(call->on, &call->reason, lvol_call_end, call);
}

static void bdev_lvol_set_read_only(struct rpc_request *request, const void *params, void *context)
{
	const struct lvol_name_params *wanted = params;
	struct lvol_call *call = lvol_call_on(context, request, wanted->name, LVOL_RESULT_TRUE);

	if (call)
		lvol_set_read_only(call->on, &call->reason, lvol_call_end, call);
}

/* ---- rename and resize ----------------------------------------------------------------- */

struct rename_params {
	const char *old_name;
	const char *new_name;
};

static const struct rpc_param rename_table[] = {
	{PARAM(RPC_STRING, rename_params, old_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, rename_params, new_name), .flags = RPC_REQUIRED},
	{0},
};

static void bdev_lvol_rename(struct rpc_request *request, const void *params, void *context)
{
	const struct rename_params *wanted = params;
	struct lvol_call *call = lvol_call_on(context, request, wanted->old_name, LVOL_RESULT_TRUE);

	if (call)
		lvol_rename(call->on, wanted->new_name, &call->reason, lvol_call_end, call);
}

struct resize_params {
	const char *name;
	uint64_t size_in_mib;
	uint64_t size;
};

static const struct rpc_param resize_table[] = {
	{PARAM(RPC_STRING, resize_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_U64, resize_params, size_in_mib), .flags = RPC_UNSAID, .value = SIZE_UNSAID},
	{PARAM(RPC_U64, resize_params, size), .flags = RPC_UNSAID, .value = SIZE_UNSAID},
	{0},
};

static void bdev_lvol_resize(struct rpc_request *request, const void *params, void *context)
{
	const struct resize_params *wanted = params;
	struct lvol_call *call;
	uint64_t bytes = 0;
	struct lvol *lvol;

	if (!size_read(request, &wanted->size_in_mib, &wanted->size, &bytes))
		return;
	lvol = lvol_find_or_fail(context, request, wanted->name);
	if (!lvol)
		return;
	call = lvol_call_create(request, LVOL_RESULT_TRUE);
	lvol_resize(lvol, bytes, &call->reason, lvol_call_end, call);
}

/* ---- attributes ------------------------------------------------------------------------ */

struct xattr_params {
	const char *name;
	const char *xattr_name;
	const char *xattr_value;
};

static const struct rpc_param set_xattr_table[] = {
	{PARAM(RPC_STRING, xattr_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, xattr_params, xattr_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, xattr_params, xattr_value), .flags = RPC_REQUIRED},
	{0},
};

static const struct rpc_param get_xattr_table[] = {
	{PARAM(RPC_STRING, xattr_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, xattr_params, xattr_name), .flags = RPC_REQUIRED},
	{0},
};

static void bdev_lvol_set_xattr(struct rpc_request *request, const void *params, void *context)
{
	const struct xattr_params *wanted = params;
	struct lvol_call *call = lvol_call_on(context, request, wanted->name, LVOL_RESULT_TRUE);

	if (call)
		lvol_set_xattr(call->on, wanted->xattr_name, wanted->xattr_value, &call->reason,
			lvol_call_end, call);
}

struct get_xattr_call {
	struct rpc_request *request;
	struct reason reason;
	char *value;
};

/* The bytes of other writers need not be text. */
static void xattr_got(void *arg, int rc)
{
	struct get_xattr_call *call = arg;
	json_t *value = rc ? NULL : json_string(call->value);

	if (!rc && !value)
		rc = reason_set(&call->reason, -EILSEQ, "the value of the attribute is no text");
	if (rc == -ENODEV)
		rpc_request_fail(call->request, rc, &call->reason);
	else if (rc)
		rpc_request_fail_code(call->request, RPC_INTERNAL_ERROR, rc, &call->reason);
	else
		rpc_request_finish(call->request, value);
	free(call->value);
	free(call);
}

static void bdev_lvol_get_xattr(struct rpc_request *request, const void *params, void *context)
{
	const struct xattr_params *wanted = params;
	struct lvol *lvol = lvol_find_or_fail(context, request, wanted->name);
	struct get_xattr_call *call;

	if (!lvol)
		return;
	call = calloc(1, sizeof(*call));
	if (!call) {
		rpc_request_fail(request, -ENOMEM, NULL);
		return;
	}
	call->request = request;
	lvol_get_xattr(lvol, wanted->xattr_name, &call->reason, &call->value, xattr_got, call);
}

const struct rpc_method lvol_volume_methods[] = {
	{"bdev_lvol_create", RPC_RUNTIME, bdev_lvol_create, create_table,
		sizeof(struct create_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_delete", RPC_RUNTIME, bdev_lvol_delete, lvol_name_table,
		sizeof(struct lvol_name_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_rename", RPC_RUNTIME, bdev_lvol_rename, rename_table,
		sizeof(struct rename_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_resize", RPC_RUNTIME, bdev_lvol_resize, resize_table,
		sizeof(struct resize_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_set_read_only", RPC_RUNTIME, bdev_lvol_set_read_only, lvol_name_table,
		sizeof(struct lvol_name_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_set_xattr", RPC_RUNTIME, bdev_lvol_set_xattr, set_xattr_table,
		sizeof(struct xattr_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_get_xattr", RPC_RUNTIME, bdev_lvol_get_xattr, get_xattr_table,
		sizeof(struct xattr_params), .decode_error = RPC_DECODE_ERROR},
	{0},
};
