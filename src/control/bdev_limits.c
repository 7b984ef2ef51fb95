/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bdev_set_qos_limit: what a device may do in a second (bdev.h). A limit that is not named stays as
 * it is; 0 ends it. Requests are rounded up to whole thousands, and a MiB is one.
 */
#include <errno.h>
#include <string.h>

#include "control/config_impl.h"

#define IOS_STEP 1000

struct limits_params {
	const char *name;
	uint64_t rw_ios_per_sec;
	uint64_t rw_mbytes_per_sec;
	uint64_t r_mbytes_per_sec;
	uint64_t w_mbytes_per_sec;
};

#define LIMIT_UNSET (-1)

static const struct rpc_param limits_table[] = {
	{PARAM(RPC_STRING, limits_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_U64, limits_params, rw_ios_per_sec), .value = LIMIT_UNSET},
	{PARAM(RPC_U64, limits_params, rw_mbytes_per_sec), .value = LIMIT_UNSET},
	{PARAM(RPC_U64, limits_params, r_mbytes_per_sec), .value = LIMIT_UNSET},
	{PARAM(RPC_U64, limits_params, w_mbytes_per_sec), .value = LIMIT_UNSET},
	{0},
};

static bool is_set(uint64_t value)
{
	return value != (uint64_t)LIMIT_UNSET;
}

static void limits_answer(void *arg, int rc)
{
	struct rpc_request *request = arg;
	char text[128];

	if (!rc) {
		rpc_request_finish(request, NULL);
		return;
	}
	snprintf(text, sizeof(text), "Failed to configure rate limit: %s", strerror(-rc));
	rpc_request_fail_text(request, RPC_INVALID_PARAMS, text, NULL);
}

static void bdev_set_qos_limit(struct rpc_request *request, const void *params, void *context)
{
	const struct limits_params *wanted = params;
	struct bdev *bdev = bdev_find_or_fail(context, request, wanted->name);
	struct bdev_limits limits;

	if (!bdev)
		return;
	if (!is_set(wanted->rw_ios_per_sec) && !is_set(wanted->rw_mbytes_per_sec) &&
		!is_set(wanted->r_mbytes_per_sec) && !is_set(wanted->w_mbytes_per_sec)) {
		rpc_request_fail_text(request, -EINVAL, "No rate limits specified", NULL);
		return;
	}
	limits = bdev_get_limits(bdev);
	if (is_set(wanted->rw_ios_per_sec))
		limits.rw_ios = (wanted->rw_ios_per_sec + IOS_STEP - 1) / IOS_STEP * IOS_STEP;
	if (is_set(wanted->rw_mbytes_per_sec))
		limits.rw_bytes = u64_min(wanted->rw_mbytes_per_sec, INT64_MAX / MIB) * MIB;
	if (is_set(wanted->r_mbytes_per_sec))
		limits.r_bytes = u64_min(wanted->r_mbytes_per_sec, INT64_MAX / MIB) * MIB;
	if (is_set(wanted->w_mbytes_per_sec))
		limits.w_bytes = u64_min(wanted->w_mbytes_per_sec, INT64_MAX / MIB) * MIB;
	bdev_set_limits(bdev, &limits, limits_answer, request);
}

json_t *limits_describe(const struct bdev *bdev)
{
	struct bdev_limits limits = bdev_get_limits(bdev);

	return json_pack("{s:I, s:I, s:I, s:I}", "rw_ios_per_sec", (json_int_t)limits.rw_ios,
		"rw_mbytes_per_sec", (json_int_t)(limits.rw_bytes / MIB), "r_mbytes_per_sec",
		(json_int_t)(limits.r_bytes / MIB), "w_mbytes_per_sec",
		(json_int_t)(limits.w_bytes / MIB));
}

static void limits_write_at_stop(struct config_writer *writer, const struct bdev *bdev)
{
	json_t *call;
	size_t i;

	json_array_foreach(writer->control->limits_at_stop, i, call)
	{
		json_t *params = json_object_get(call, "params");
		const char *name = json_string_value(json_object_get(params, "name"));

		if (strcmp(name, bdev->name) == 0)
			config_add(writer, "bdev_set_qos_limit", json_deep_copy(params));
	}
}

void limits_write_config(struct config_writer *writer, const struct bdev *bdev)
{
	struct bdev_limits limits = bdev_get_limits(bdev);
	json_t *params;

	if (writer->control->limits_at_stop) {
		limits_write_at_stop(writer, bdev);
		return;
	}
	if (!limits.rw_ios && !limits.rw_bytes && !limits.r_bytes && !limits.w_bytes)
		return;
	params = limits_describe(bdev);
	if (json_object_set_new(params, "name", json_string(bdev->name))) {
		json_decref(params);
		params = NULL;
	}
	config_add(writer, "bdev_set_qos_limit", params);
}

static void limits_note(struct bdev *bdev, void *writer)
{
	limits_write_config(writer, bdev);
}

void limits_note_all(struct control *control)
{
	struct config_writer writer = {.control = control, .entries = json_array()};

	if (control->limits_at_stop)
		return;
	bdev_for_each(control->options.registry, limits_note, &writer);
	control->limits_at_stop = writer.entries;
}

const struct rpc_method bdev_limits_methods[] = {
	{"bdev_set_qos_limit", RPC_RUNTIME, bdev_set_qos_limit, limits_table,
		sizeof(struct limits_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{0},
};
