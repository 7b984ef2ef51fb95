/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bdev_lvol_start_shallow_copy, bdev_lvol_check_shallow_copy. A copy goes on by itself; what was
 * wrong with it is told by the check that finds it ended, which also forgets it.
 */
#include <errno.h>
#include <string.h>

#include "control/lvol_impl.h"

struct start_params {
	const char *src_lvol_name;
	const char *dst_bdev_name;
};

static const struct rpc_param start_table[] = {
	{PARAM(RPC_STRING, start_params, src_lvol_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, start_params, dst_bdev_name), .flags = RPC_REQUIRED},
	{0},
};

static void bdev_lvol_start_shallow_copy(
	struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct start_params *wanted = params;
	struct bdev *target = bdev_find(control->options.registry, wanted->dst_bdev_name);
	struct lvol *lvol = lvol_find_or_fail(control, request, wanted->src_lvol_name);
	struct reason reason = {0};

	if (!lvol)
		return;
	if (!target) {
		rpc_request_fail_code(request, RPC_INVALID_PARAMS, -ENODEV, NULL);
	} else if (bdev_claim_excludes(target->claim)) {
		reason_set(&reason, -EPERM, "device %s belongs to somebody: copy to another one",
			target->name);
		rpc_request_fail_code(request, RPC_INVALID_PARAMS, -EPERM, &reason);
	} else {
		rpc_request_finish(request, json_pack("{s:I}", "operation_id",
						    (json_int_t)lvol_copy_start(lvol, target)));
	}
}

struct check_params {
	uint32_t operation_id;
};

static const struct rpc_param check_table[] = {
	{PARAM(RPC_U32, check_params, operation_id), .flags = RPC_REQUIRED},
	{0},
};

static json_t *copy_describe(const struct lvol_copy_status *status)
{
	json_t *described =
		json_pack("{s:I, s:I, s:s}", "copied_clusters", (json_int_t)status->copied_clusters,
			"total_clusters", (json_int_t)status->total_clusters, "state",
			!status->ended  ? "in progress"
			: status->error ? "error"
					: "complete");

	if (status->ended && status->error)
		json_object_set_new(described, "error", json_string(strerror(-status->error)));
	if (status->ended && status->error && status->reason.text[0])
		json_object_set_new(described, "reason", json_string(status->reason.text));
	return described;
}

static void bdev_lvol_check_shallow_copy(
	struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct check_params *wanted = params;
	struct lvol_copy_status status;
	struct reason reason = {0};

	if (lvol_copy_check(control->options.lvols, wanted->operation_id, &status)) {
		reason_set(&reason, -ENODEV,
			"there is no copy %u: one that has ended is told of once",
			wanted->operation_id);
		rpc_request_fail(request, -ENODEV, &reason);
		return;
	}
	rpc_request_finish(request, copy_describe(&status));
}

const struct rpc_method lvol_copy_methods[] = {
	{"bdev_lvol_start_shallow_copy", RPC_RUNTIME, bdev_lvol_start_shallow_copy, start_table,
		sizeof(struct start_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_check_shallow_copy", RPC_RUNTIME, bdev_lvol_check_shallow_copy, check_table,
		sizeof(struct check_params), .decode_error = RPC_DECODE_ERROR},
	{0},
};
