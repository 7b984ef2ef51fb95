/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bdev_error_create/delete/inject_error/resume_pending.
 *
 * A failure with an NVMe status is a failure like the others here: what a guest is told depends on
 * its bus.
 */
#include <errno.h>

#include "control/control_impl.h"

struct error_params {
	const char *base_name;
	const char *uuid;
};

static const struct rpc_param error_table[] = {
	{PARAM(RPC_STRING, error_params, base_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_UUID, error_params, uuid)},
	{0},
};

static void error_call(struct filter_call *call, done_fn done, void *arg)
{
	error_create(call->control->options.filters, &call->filter, &call->reason, done, arg);
}

static json_t *error_call_true(struct filter_call *call)
{
	return json_true();
}

static void bdev_error_create(struct rpc_request *request, const void *params, void *context)
{
	const struct error_params *wanted = params;
	struct filter_call *call = filter_call_create(context, request, error_call);

	call->filter.base = wanted->base_name;
	uuid_set(call->filter.uuid, wanted->uuid);
	call->result = error_call_true;
	filter_call_start(call);
}

static void bdev_error_delete(struct rpc_request *request, const void *params, void *context)
{
	filter_remove_named(request, params, context, FILTER_ERROR);
}

/* ---- injection ----------------------------------------------------------------------------- */

struct inject_params {
	const char *name;
	int io_type;
	int error_type;
	uint32_t num;
	uint64_t queue_depth;
	uint64_t corrupt_offset;
	uint32_t corrupt_value;
	uint32_t nvme_sct;
	uint32_t nvme_sc;
};

enum inject_io_type {
	INJECT_CLEAR,
	INJECT_READ,
	INJECT_WRITE,
	INJECT_UNMAP,
	INJECT_FLUSH,
	INJECT_ALL,
};

static const char *const inject_io_types[] = {
	[INJECT_CLEAR] = "clear",
	[INJECT_READ] = "read",
	[INJECT_WRITE] = "write",
	[INJECT_UNMAP] = "unmap",
	[INJECT_FLUSH] = "flush",
	[INJECT_ALL] = "all",
	NULL,
};

enum inject_error_type {
	INJECT_FAILURE,
	INJECT_PENDING,
	INJECT_CORRUPT_DATA,
	INJECT_NOMEM,
	INJECT_NVME_FAILURE,
};

static const char *const inject_error_types[] = {
	[INJECT_FAILURE] = "failure",
	[INJECT_PENDING] = "pending",
	[INJECT_CORRUPT_DATA] = "corrupt_data",
	[INJECT_NOMEM] = "nomem",
	[INJECT_NVME_FAILURE] = "nvme_failure",
	NULL,
};

static const struct rpc_param inject_table[] = {
	{PARAM(RPC_STRING, inject_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_ENUM, inject_params, io_type), .flags = RPC_REQUIRED,
		.choices = inject_io_types},
	{PARAM(RPC_ENUM, inject_params, error_type), .flags = RPC_REQUIRED,
		.choices = inject_error_types},
	{PARAM(RPC_U32, inject_params, num), .value = 1},
	{PARAM(RPC_U64, inject_params, queue_depth)},
	{PARAM(RPC_U64, inject_params, corrupt_offset)},
	{PARAM(RPC_U32, inject_params, corrupt_value)},
	{PARAM(RPC_U32, inject_params, nvme_sct)},
	{PARAM(RPC_U32, inject_params, nvme_sc)},
	{0},
};

static int inject_check(const struct inject_params *wanted, struct reason *reason)
{
	if (wanted->corrupt_value > UINT8_MAX ||
		(wanted->error_type == INJECT_CORRUPT_DATA && !wanted->corrupt_value))
		return reason_set(reason, -EINVAL,
			"corrupt_value, which a byte is combined with by exclusive or, is 1 to "
			"255");
	return 0;
}

/* A status belongs to this kind of failure, and to no other. */
static bool inject_status_fits(const struct inject_params *wanted)
{
	bool has_status = wanted->nvme_sct || wanted->nvme_sc;

	return has_status == (wanted->error_type == INJECT_NVME_FAILURE);
}

static void inject(struct filter *filter, const struct inject_params *wanted)
{
	static const enum error_kind kinds[] = {
		[INJECT_FAILURE] = ERROR_FAILURE,
		[INJECT_PENDING] = ERROR_PENDING,
		[INJECT_CORRUPT_DATA] = ERROR_CORRUPT_DATA,
		[INJECT_NOMEM] = ERROR_NOMEM,
		[INJECT_NVME_FAILURE] = ERROR_FAILURE,
	};
	static const int types[] = {
		[INJECT_READ] = BDEV_IO_READ,
		[INJECT_WRITE] = BDEV_IO_WRITE,
		[INJECT_UNMAP] = BDEV_IO_UNMAP,
		[INJECT_FLUSH] = BDEV_IO_FLUSH,
		[INJECT_ALL] = ERROR_ALL_TYPES,
	};
	const struct error_injection injection = {
		.kind = kinds[wanted->error_type],
		.count = wanted->num,
		.queue_depth = wanted->queue_depth,
		.corrupt_offset = wanted->corrupt_offset,
		.corrupt_value = (uint8_t)wanted->corrupt_value,
	};

	if (wanted->io_type == INJECT_CLEAR)
		error_clear(filter);
	else
		error_inject(filter, types[wanted->io_type], &injection);
}

/* One that stands; or NULL, and the request answered. */
static struct filter *error_find_or_fail(
	struct control *control, struct rpc_request *request, const char *name)
{
	struct filter *filter = filter_find(control->options.filters, FILTER_ERROR, name);
	struct bdev *bdev;

	if (filter && filter_device(filter, 0))
		return filter;
	bdev = bdev_find_or_fail(control, request, name);
	if (bdev)
		bdev_refuse_kind(request, bdev);
	return NULL;
}

static void bdev_error_inject_error(struct rpc_request *request, const void *params, void *context)
{
	const struct inject_params *wanted = params;
	struct reason reason = {0};
	struct filter *filter;
	int rc = inject_check(wanted, &reason);

	if (!inject_status_fits(wanted)) {
		rpc_request_fail_text(request, -EINVAL,
			"nvme_sct or nvme_sc should be specified for NVMe error injection", NULL);
		return;
	}
	if (rc) {
		rpc_request_fail(request, rc, &reason);
		return;
	}
	filter = error_find_or_fail(context, request, wanted->name);
	if (!filter)
		return;
	inject(filter, wanted);
	rpc_request_finish(request, NULL);
}

static void error_resumed(void *request, int rc)
{
	rpc_request_finish(request, NULL);
}

static void bdev_error_resume_pending(
	struct rpc_request *request, const void *params, void *context)
{
	const struct bdev_name_params *wanted = params;
	struct filter *filter = error_find_or_fail(context, request, wanted->name);

	if (filter)
		error_resume(filter, error_resumed, request);
}

const struct rpc_method filter_error_methods[] = {
	{"bdev_error_create", RPC_RUNTIME, bdev_error_create, error_table,
		sizeof(struct error_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{"bdev_error_delete", RPC_RUNTIME, bdev_error_delete, bdev_name_table,
		sizeof(struct bdev_name_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{"bdev_error_inject_error", RPC_RUNTIME, bdev_error_inject_error, inject_table,
		sizeof(struct inject_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_error_resume_pending", RPC_RUNTIME, bdev_error_resume_pending, bdev_name_table,
		sizeof(struct bdev_name_params), .decode_error = RPC_DECODE_ERROR},
	{0},
};
