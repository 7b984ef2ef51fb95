/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bdev_lvol_create_lvstore, bdev_lvol_delete_lvstore, bdev_lvol_get_lvstores,
 * bdev_lvol_rename_lvstore, bdev_lvol_grow_lvstore, and bdev_lvol_set_low_water of ours.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/lvol_impl.h"

/* ---- create ---------------------------------------------------------------------------- */

struct create_params {
	const char *bdev_name;
	const char *lvs_name;
	const char *clear_method;
	uint32_t cluster_sz;
	uint32_t num_md_pages_per_cluster_ratio;
	uint32_t md_page_size;
	uint32_t growth_factor;
};

static const struct rpc_param create_table[] = {
	{PARAM(RPC_STRING, create_params, bdev_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, create_params, lvs_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_U32, create_params, cluster_sz), .value = LVS_CLUSTER_BYTES_DEFAULT},
	{PARAM(RPC_STRING, create_params, clear_method)},
	{PARAM(RPC_U32, create_params, num_md_pages_per_cluster_ratio), .value = 100},
	{PARAM(RPC_U32, create_params, md_page_size)},
	{PARAM(RPC_U32, create_params, growth_factor)},
	{0},
};

/* What is wrong with what was asked for is told by its errno, what went wrong as lvol_refuse. */
static void lvstore_created(void *arg, int rc)
{
	struct lvol_call *call = arg;

	if (rc != -EEXIST && rc != -EINVAL && rc != -EPERM) {
		lvol_call_end(call, rc);
		return;
	}
	rpc_request_fail(call->request, rc, &call->reason);
	free(call);
}

static int create_check(
	const struct create_params *wanted, const struct bdev *bdev, struct reason *reason)
{
	if (wanted->num_md_pages_per_cluster_ratio == 0)
		return reason_set(reason, -EINVAL,
			"num_md_pages_per_cluster_ratio is a percentage: 100 is one page for each "
			"cluster");
	if (wanted->md_page_size &&
		(!is_power_of_two(wanted->md_page_size) || wanted->md_page_size < 4096 ||
			wanted->md_page_size > 65536))
		return reason_set(reason, -EINVAL,
			"md_page_size is a power of two from 4096 to 65536, or left out");
	if (bdev->read_only)
		return reason_set(reason, -EPERM, "device %s is read-only: a store needs to write",
			bdev->name);
	return 0;
}

static void lvstore_create(struct control *control, struct rpc_request *request,
	const struct create_params *wanted, struct bdev *bdev, enum blobstore_clear_method method)
{
	struct lvol_call *call = lvol_call_create(request, LVOL_RESULT_LVS);
	const struct lvs_create_options options = {
		.name = wanted->lvs_name,
		.cluster_size = wanted->cluster_sz ? wanted->cluster_sz : LVS_CLUSTER_BYTES_DEFAULT,
		.md_page_size = wanted->md_page_size,
		.md_pages_per_cluster_percent = wanted->num_md_pages_per_cluster_ratio,
		.growth_factor = wanted->growth_factor,
		.clear_method = method,
	};

	lvs_create(control->options.lvols, bdev, &options, &call->reason, &call->lvs,
		lvstore_created, call);
}

static void bdev_lvol_create_lvstore(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct create_params *wanted = params;
	enum blobstore_clear_method method = BLOBSTORE_CLEAR_UNMAP;
	struct reason reason = {0};
	struct bdev *bdev;
	int rc;

	if (clear_method_parse(wanted->clear_method, &method)) {
		reason_set(&reason, -EINVAL, "clear_method is none, unmap or write_zeroes");
		rpc_request_fail_text(request, -EINVAL, "Invalid clear_method parameter", &reason);
		return;
	}
	bdev = bdev_find_or_fail(control, request, wanted->bdev_name);
	if (!bdev)
		return;
	rc = create_check(wanted, bdev, &reason);
	if (rc) {
		rpc_request_fail(request, rc, &reason);
	} else if (wanted->cluster_sz > bdev_size(bdev)) {
		reason_set(&reason, -EINVAL, "a cluster of %u bytes is larger than the device %s",
			wanted->cluster_sz, bdev->name);
		rpc_request_fail_code(request, RPC_INVALID_PARAMS, -EINVAL, &reason);
	} else {
		lvstore_create(control, request, wanted, bdev, method);
	}
}

/* ---- delete and grow ------------------------------------------------------------------- */

static const struct rpc_param choice_table[] = {
	{PARAM(RPC_STRING, lvs_choice, uuid)},
	{PARAM(RPC_STRING, lvs_choice, lvs_name)},
	{0},
};

static void bdev_lvol_delete_lvstore(struct rpc_request *request, const void *params, void *context)
{
	struct lvs *lvs = lvs_choose_or_fail(context, request, params);
	struct lvol_call *call;

	if (!lvs)
		return;
	call = lvol_call_create(request, LVOL_RESULT_TRUE);
	lvs_delete(lvs, &call->reason, lvol_call_end, call);
}

static void bdev_lvol_grow_lvstore(struct rpc_request *request, const void *params, void *context)
{
	struct lvs *lvs = lvs_choose_or_fail(context, request, params);
	struct lvol_call *call;

	if (!lvs)
		return;
	call = lvol_call_create(request, LVOL_RESULT_TRUE);
	lvs_grow(lvs, &call->reason, lvol_call_end, call);
}

/* ---- the low-water mark ---------------------------------------------------------------- */

struct low_water_params {
	struct lvs_choice choice;
	uint32_t percent;
};

static const struct rpc_param low_water_table[] = {
	{.name = "uuid",
		.type = RPC_STRING,
		.offset = offsetof(struct low_water_params, choice.uuid)},
	{.name = "lvs_name",
		.type = RPC_STRING,
		.offset = offsetof(struct low_water_params, choice.lvs_name)},
	{PARAM(RPC_U32, low_water_params, percent), .flags = RPC_REQUIRED},
	{0},
};

static void bdev_lvol_set_low_water(struct rpc_request *request, const void *params, void *context)
{
	const struct low_water_params *wanted = params;
	struct lvs *lvs = lvs_choose_or_fail(context, request, &wanted->choice);
	struct lvol_call *call;

	if (!lvs)
		return;
	call = lvol_call_create(request, LVOL_RESULT_TRUE);
	lvs_set_low_water(lvs, wanted->percent, &call->reason, lvol_call_end, call);
}

/* ---- rename ---------------------------------------------------------------------------- */

struct rename_params {
	const char *old_name;
	const char *new_name;
};

static const struct rpc_param rename_table[] = {
	{PARAM(RPC_STRING, rename_params, old_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, rename_params, new_name), .flags = RPC_REQUIRED},
	{0},
};

static void bdev_lvol_rename_lvstore(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct rename_params *wanted = params;
	struct lvs *lvs = lvs_find(control->options.lvols, wanted->old_name);
	struct lvol_call *call;
	char text[128];

	if (!lvs) {
		snprintf(text, sizeof(text), "Lvol store %s not found", wanted->old_name);
		rpc_request_fail_text(request, -ENOENT, text, NULL);
		return;
	}
	call = lvol_call_create(request, LVOL_RESULT_TRUE);
	lvs_rename(lvs, wanted->new_name, &call->reason, lvol_call_end, call);
}

/* ---- list ------------------------------------------------------------------------------ */

static void lvstore_append(struct lvs *lvs, void *list)
{
	json_t *described = json_object();
	struct lvs_info info;

	lvs_get_info(lvs, &info);
	json_object_set_new(described, "uuid", json_string(info.uuid));
	json_object_set_new(described, "name", json_string(info.name));
	json_object_set_new(described, "base_bdev", json_string(info.base_bdev));
	json_object_set_new(described, "total_data_clusters",
		json_integer((json_int_t)info.store.total_data_clusters));
	json_object_set_new(
		described, "free_clusters", json_integer((json_int_t)info.store.free_clusters));
	json_object_set_new(described, "block_size", json_integer(info.store.io_unit_size));
	json_object_set_new(described, "cluster_size", json_integer(info.store.cluster_size));
	json_object_set_new(described, "max_growable_size",
		json_integer((json_int_t)info.store.max_growable_bytes));
	/* Ours. */
	json_object_set_new(described, "md_pages", json_integer(info.store.md_pages));
	json_object_set_new(described, "md_pages_free", json_integer(info.store.md_pages_free));
	json_object_set_new(
		described, "md_low", json_boolean(info.store.md_space != BLOB_STORE_PLENTY));
	json_object_set_new(
		described, "md_full", json_boolean(info.store.md_space == BLOB_STORE_FULL));
	json_object_set_new(
		described, "low_on_space", json_boolean(info.space != BLOB_STORE_PLENTY));
	json_object_set_new(described, "full", json_boolean(info.space == BLOB_STORE_FULL));
	json_object_set_new(described, "low_water_percent", json_integer(info.low_water_percent));
	json_object_set_new(described, "recovered", json_boolean(info.store.recovered));
	json_array_append_new(list, described);
}

static void bdev_lvol_get_lvstores(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct lvs_choice *choice = params;
	json_t *list;
	struct lvs *lvs = NULL;

	if (choice->uuid || choice->lvs_name) {
		lvs = lvs_choose_or_fail(control, request, choice);
		if (!lvs)
			return;
	}
	list = json_array();
	if (lvs)
		lvstore_append(lvs, list);
	else
		lvs_for_each(control->options.lvols, lvstore_append, list);
	rpc_request_finish(request, list);
}

const struct rpc_method lvol_store_methods[] = {
	{"bdev_lvol_create_lvstore", RPC_RUNTIME, bdev_lvol_create_lvstore, create_table,
		sizeof(struct create_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_delete_lvstore", RPC_RUNTIME, bdev_lvol_delete_lvstore, choice_table,
		sizeof(struct lvs_choice), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_get_lvstores", RPC_RUNTIME, bdev_lvol_get_lvstores, choice_table,
		sizeof(struct lvs_choice), .decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_rename_lvstore", RPC_RUNTIME, bdev_lvol_rename_lvstore, rename_table,
		sizeof(struct rename_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_grow_lvstore", RPC_RUNTIME, bdev_lvol_grow_lvstore, choice_table,
		sizeof(struct lvs_choice), .decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_set_low_water", RPC_RUNTIME, bdev_lvol_set_low_water, low_water_table,
		sizeof(struct low_water_params), .decode_error = RPC_DECODE_ERROR},
	{0},
};
