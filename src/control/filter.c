/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bdev_passthru_create/delete, bdev_split_create/delete, bdev_delay_create/update_latency/delete.
 *
 * Creating over a device that is not there succeeds, and the filter's devices come when it does.
 * Otherwise the answer comes when they are there and have been examined.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "control/control_impl.h"

/* ---- shared -------------------------------------------------------------------------------- */

static enum flow_result filter_create_run(struct flow *f)
{
	struct filter_call *call = container_of(f, struct filter_call, flow);

	FLOW_BEGIN(f);
	AWAIT(f, call->create(call, flow_resume, f));
	if (flow_failed(f)) {
		call->fail(call, f->error);
		goto finish;
	}
	AWAIT(f, lvols_wait_examined(call->control->options.lvols, flow_resume, f));
	rpc_request_finish(call->request, call->result(call));
finish:
	free(call);
	FLOW_END(f);
}

static void filter_call_fail(struct filter_call *call, int rc)
{
	rpc_request_fail(call->request, rc, &call->reason);
}

static json_t *filter_call_name(struct filter_call *call)
{
	return json_string(call->filter.name);
}

struct filter_call *filter_call_create(struct control *control, struct rpc_request *request,
	void (*create)(struct filter_call *call, done_fn done, void *arg))
{
	struct filter_call *call = alloc_op(sizeof(*call));

	call->control = control;
	call->request = request;
	call->create = create;
	call->result = filter_call_name;
	call->fail = filter_call_fail;
	return call;
}

void filter_call_start(struct filter_call *call)
{
	flow_start(&call->flow, call->control->options.control, "filter_create", filter_create_run);
}

static enum flow_result filter_remove_run(struct flow *f)
{
	struct filter_call *call = container_of(f, struct filter_call, flow);

	FLOW_BEGIN(f);
	for (call->at = 0; (call->device = filter_device(call->found, call->at)); call->at++) {
		bdev_operation_begin(call->device);
		AWAIT(f, bdev_leave_stores(call->control, call->device, flow_resume, f));
		bdev_operation_end(call->device);
	}
	AWAIT(f, filter_delete(call->found, flow_resume, f));
	rpc_request_finish(call->request, NULL);
	free(call);
	FLOW_END(f);
}

void filter_remove(struct control *control, struct rpc_request *request, struct filter *filter)
{
	struct filter_call *call = alloc_op(sizeof(*call));

	call->control = control;
	call->request = request;
	call->found = filter;
	flow_start(&call->flow, control->options.control, "filter_remove", filter_remove_run);
}

void filter_remove_named(
	struct rpc_request *request, const void *params, void *context, enum filter_type type)
{
	struct control *control = context;
	const struct bdev_name_params *wanted = params;
	struct filter *filter = filter_find(control->options.filters, type, wanted->name);
	struct bdev *bdev;

	if (filter) {
		filter_remove(control, request, filter);
		return;
	}
	bdev = bdev_find_or_fail(control, request, wanted->name);
	if (bdev)
		bdev_refuse_kind(request, bdev);
}

/* ---- passthru ------------------------------------------------------------------------------ */

struct passthru_params {
	const char *name;
	const char *base_bdev_name;
	const char *uuid;
};

static const struct rpc_param passthru_table[] = {
	{PARAM(RPC_STRING, passthru_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, passthru_params, base_bdev_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_UUID, passthru_params, uuid)},
	{0},
};

static void passthru_call(struct filter_call *call, done_fn done, void *arg)
{
	passthru_create(call->control->options.filters, &call->filter, &call->reason, done, arg);
}

static void bdev_passthru_create(struct rpc_request *request, const void *params, void *context)
{
	const struct passthru_params *wanted = params;
	struct filter_call *call = filter_call_create(context, request, passthru_call);

	call->filter.name = wanted->name;
	call->filter.base = wanted->base_bdev_name;
	uuid_set(call->filter.uuid, wanted->uuid);
	filter_call_start(call);
}

static void bdev_passthru_delete(struct rpc_request *request, const void *params, void *context)
{
	filter_remove_named(request, params, context, FILTER_PASSTHRU);
}

/* ---- split --------------------------------------------------------------------------------- */

struct split_params {
	const char *base_bdev;
	uint32_t split_count;
	uint64_t split_size_mb;
};

static const struct rpc_param split_table[] = {
	{PARAM(RPC_STRING, split_params, base_bdev), .flags = RPC_REQUIRED},
	{PARAM(RPC_U32, split_params, split_count), .flags = RPC_REQUIRED},
	{PARAM(RPC_U64, split_params, split_size_mb)},
	{0},
};

#define SPLIT_DECODE_ERROR                                                                         \
	{                                                                                          \
		RPC_INVALID_PARAMS, "Invalid parameters"                                           \
	}

static void split_call(struct filter_call *call, done_fn done, void *arg)
{
	split_create(call->control->options.filters, &call->split, &call->reason, done, arg);
}

static json_t *split_call_names(struct filter_call *call)
{
	const struct filter *filter =
		filter_find(call->control->options.filters, FILTER_SPLIT, call->split.base);
	json_t *names = json_array();
	const struct bdev *bdev;

	for (unsigned i = 0; filter && (bdev = filter_device(filter, i)); i++)
		json_array_append_new(names, json_string(bdev->name));
	return names;
}

static void split_call_fail(struct filter_call *call, int rc)
{
	char text[512];

	snprintf(text, sizeof(text), "Failed to create %u split bdevs from '%s': %s",
		call->split.count, call->split.base, strerror(-rc));
	rpc_request_fail_text(call->request, RPC_INVALID_PARAMS, text, &call->reason);
}

static void bdev_split_create(struct rpc_request *request, const void *params, void *context)
{
	const struct split_params *wanted = params;
	struct filter_call *call = filter_call_create(context, request, split_call);

	call->split.base = wanted->base_bdev;
	call->split.count = wanted->split_count;
	call->split.size_mib = wanted->split_size_mb;
	call->result = split_call_names;
	call->fail = split_call_fail;
	filter_call_start(call);
}

struct split_delete_params {
	const char *base_bdev;
};

static const struct rpc_param split_delete_table[] = {
	{PARAM(RPC_STRING, split_delete_params, base_bdev), .flags = RPC_REQUIRED},
	{0},
};

static void bdev_split_delete(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct split_delete_params *wanted = params;
	struct filter *filter =
		filter_find(control->options.filters, FILTER_SPLIT, wanted->base_bdev);

	if (filter)
		filter_remove(control, request, filter);
	else
		rpc_request_fail_code(request, RPC_INVALID_PARAMS, -ENOENT, NULL);
}

/* ---- delay --------------------------------------------------------------------------------- */

struct delay_params {
	const char *name;
	const char *base_bdev_name;
	const char *uuid;
	uint64_t avg_read_latency; /* us, all of them */
	uint64_t p99_read_latency;
	uint64_t avg_write_latency;
	uint64_t p99_write_latency;
};

static const struct rpc_param delay_table[] = {
	{PARAM(RPC_STRING, delay_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, delay_params, base_bdev_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_UUID, delay_params, uuid)},
	{PARAM(RPC_U64, delay_params, avg_read_latency), .flags = RPC_REQUIRED},
	{PARAM(RPC_U64, delay_params, p99_read_latency), .flags = RPC_REQUIRED},
	{PARAM(RPC_U64, delay_params, avg_write_latency), .flags = RPC_REQUIRED},
	{PARAM(RPC_U64, delay_params, p99_write_latency), .flags = RPC_REQUIRED},
	{0},
};

static void delay_call(struct filter_call *call, done_fn done, void *arg)
{
	call->delay.filter = call->filter;
	delay_create(call->control->options.filters, &call->delay, &call->reason, done, arg);
}

static void bdev_delay_create(struct rpc_request *request, const void *params, void *context)
{
	const struct delay_params *wanted = params;
	struct filter_call *call = filter_call_create(context, request, delay_call);

	call->filter.name = wanted->name;
	call->filter.base = wanted->base_bdev_name;
	uuid_set(call->filter.uuid, wanted->uuid);
	call->delay.latency_us[DELAY_AVG_READ] = wanted->avg_read_latency;
	call->delay.latency_us[DELAY_P99_READ] = wanted->p99_read_latency;
	call->delay.latency_us[DELAY_AVG_WRITE] = wanted->avg_write_latency;
	call->delay.latency_us[DELAY_P99_WRITE] = wanted->p99_write_latency;
	filter_call_start(call);
}

struct delay_update_params {
	const char *delay_bdev_name;
	int latency_type;
	uint64_t latency_us;
};

static const char *const delay_latency_names[] = {
	[DELAY_AVG_READ] = "avg_read",
	[DELAY_P99_READ] = "p99_read",
	[DELAY_AVG_WRITE] = "avg_write",
	[DELAY_P99_WRITE] = "p99_write",
	NULL,
};

static const struct rpc_param delay_update_table[] = {
	{PARAM(RPC_STRING, delay_update_params, delay_bdev_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_ENUM, delay_update_params, latency_type), .flags = RPC_REQUIRED,
		.choices = delay_latency_names},
	{PARAM(RPC_U64, delay_update_params, latency_us), .flags = RPC_REQUIRED},
	{0},
};

static void bdev_delay_update_latency(
	struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct delay_update_params *wanted = params;
	struct filter *filter =
		filter_find(control->options.filters, FILTER_DELAY, wanted->delay_bdev_name);

	if (filter) {
		delay_set_latency(
			filter, (enum delay_latency)wanted->latency_type, wanted->latency_us);
		rpc_request_finish(request, NULL);
	} else if (bdev_find(control->options.registry, wanted->delay_bdev_name)) {
		rpc_request_fail_text(request, RPC_INVALID_REQUEST,
			"The requested bdev is not a delay bdev.", NULL);
	} else {
		rpc_request_fail_text(
			request, RPC_INVALID_PARAMS, "The requested bdev does not exist.", NULL);
	}
}

static void bdev_delay_delete(struct rpc_request *request, const void *params, void *context)
{
	filter_remove_named(request, params, context, FILTER_DELAY);
}

const struct rpc_method filter_methods[] = {
	{"bdev_passthru_create", RPC_RUNTIME, bdev_passthru_create, passthru_table,
		sizeof(struct passthru_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{"bdev_passthru_delete", RPC_RUNTIME, bdev_passthru_delete, bdev_name_table,
		sizeof(struct bdev_name_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{"bdev_split_create", RPC_RUNTIME, bdev_split_create, split_table,
		sizeof(struct split_params), .changes_configuration = true,
		.decode_error = SPLIT_DECODE_ERROR},
	{"bdev_split_delete", RPC_RUNTIME, bdev_split_delete, split_delete_table,
		sizeof(struct split_delete_params), .changes_configuration = true,
		.decode_error = SPLIT_DECODE_ERROR},
	{"bdev_delay_create", RPC_RUNTIME, bdev_delay_create, delay_table,
		sizeof(struct delay_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{"bdev_delay_update_latency", RPC_RUNTIME, bdev_delay_update_latency, delay_update_table,
		sizeof(struct delay_update_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{"bdev_delay_delete", RPC_RUNTIME, bdev_delay_delete, bdev_name_table,
		sizeof(struct bdev_name_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{0},
};
