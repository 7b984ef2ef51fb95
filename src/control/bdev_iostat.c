/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bdev_get_iostat, bdev_reset_iostat.
 *
 * Ticks are nanoseconds (tick_rate 1e9), as in framework_get_reactors. Latencies are between the
 * turns of a data thread in which a request came and ended. Nothing is copied here, so those
 * counters are 0. A single name is taken as well as names: older clients send it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "control/control_impl.h"

#define NAMES_MAX 1024

struct iostat_call {
	struct flow flow;
	struct control *control;
	struct rpc_request *request;
	struct bdev_stats_query query;
	struct bdev_io_stats sum;
	json_t *list; /* of devices, or of channels; NULL: nothing is told */
	bool per_channel;
	unsigned count;
	unsigned at;
	struct bdev *bdevs[]; /* an operation of each is begun */
};

/* ---- encoded ------------------------------------------------------------------------------- */

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)u64_min(value, INT64_MAX));
}

static void kind_encode(
	json_t *told, const struct bdev_io_stats *stats, int type, const char *const keys[static 5])
{
	uint64_t none = 0;
	const uint64_t *ops = type < 0 ? &none : &stats->of[type].ops;

	json_object_set_new(told, keys[0], number(*ops ? stats->of[type].bytes : 0));
	json_object_set_new(told, keys[1], number(*ops));
	json_object_set_new(told, keys[2], number(*ops ? stats->of[type].latency_ns : 0));
	json_object_set_new(told, keys[3], number(*ops ? stats->extremes[type].slowest_ns : 0));
	json_object_set_new(
		told, keys[4], number(*ops ? ~stats->extremes[type].fastest_inverted : 0));
}

static void stats_encode(json_t *told, const struct bdev_io_stats *stats)
{
	static const struct {
		int type;
		const char *keys[5];
	} kinds[] = {
		{BDEV_IO_READ, {"bytes_read", "num_read_ops", "read_latency_ticks",
				       "max_read_latency_ticks", "min_read_latency_ticks"}},
		{BDEV_IO_WRITE, {"bytes_written", "num_write_ops", "write_latency_ticks",
					"max_write_latency_ticks", "min_write_latency_ticks"}},
		{BDEV_IO_UNMAP, {"bytes_unmapped", "num_unmap_ops", "unmap_latency_ticks",
					"max_unmap_latency_ticks", "min_unmap_latency_ticks"}},
		{-1, {"bytes_copied", "num_copy_ops", "copy_latency_ticks",
			     "max_copy_latency_ticks", "min_copy_latency_ticks"}},
	};
	json_t *errors = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		kind_encode(told, stats, kinds[i].type, kinds[i].keys);
	if (stats->errors)
		json_object_set_new(errors, "failed", number(stats->errors));
	json_object_set_new(told, "io_error", errors);
}

static uint64_t now_ns(const struct control *control)
{
	struct os *os = bdev_registry_os(control->options.registry);

	return os->ops->now_ns(os);
}

/* The numbers of thread_get_stats; 0: a store's own thread. */
static int thread_id(const struct control *control, const struct reactor *reactor)
{
	for (unsigned i = 0; i < control->options.data_count; i++)
		if (control->options.data[i] == reactor)
			return (int)i + 2;
	return reactor == control->options.control ? 1 : 0;
}

static void channel_tell(
	const struct reactor *reactor, const struct bdev_io_stats *stats, void *arg)
{
	struct iostat_call *call = arg;
	json_t *told = json_pack("{s:i}", "thread_id", thread_id(call->control, reactor));

	stats_encode(told, stats);
	json_array_append_new(call->list, told);
}

static void device_tell(struct iostat_call *call, const struct bdev *bdev)
{
	json_t *told;

	if (!call->list || call->per_channel)
		return;
	told = json_pack("{s:s}", "name", bdev->name);
	stats_encode(told, &call->sum);
	json_array_append_new(call->list, told);
}

static json_t *answer_encode(struct iostat_call *call)
{
	if (!call->list)
		return NULL;
	if (call->per_channel)
		return json_pack("{s:o, s:o, s:s, s:o}", "tick_rate", number(SEC_NS), "ticks",
			number(now_ns(call->control)), "name", call->bdevs[0]->name, "channels",
			call->list);
	return json_pack("{s:o, s:o, s:o}", "tick_rate", number(SEC_NS), "ticks",
		number(now_ns(call->control)), "bdevs", call->list);
}

/* ---- asked --------------------------------------------------------------------------------- */

static enum flow_result iostat_run(struct flow *f)
{
	struct iostat_call *call = container_of(f, struct iostat_call, flow);

	FLOW_BEGIN(f);
	for (call->at = 0; call->at < call->count; call->at++) {
		AWAIT(f, bdev_query_stats(call->bdevs[call->at], &call->query, flow_resume, f));
		device_tell(call, call->bdevs[call->at]);
	}
	rpc_request_finish(call->request, answer_encode(call));
	for (call->at = 0; call->at < call->count; call->at++)
		bdev_operation_end(call->bdevs[call->at]);
	free(call);
	FLOW_END(f);
}

static void iostat_add(struct bdev *bdev, void *arg)
{
	struct iostat_call *call = arg;

	if (bdev->removing)
		return;
	call->bdevs[call->count++] = bdev;
	bdev_operation_begin(bdev);
}

static void devices_count(struct bdev *bdev, void *arg)
{
	(*(unsigned *)arg)++;
}

static struct iostat_call *iostat_call_create(struct control *control, struct rpc_request *request)
{
	struct iostat_call *call;
	unsigned count = NAMES_MAX;

	bdev_for_each(control->options.registry, devices_count, &count);
	call = calloc(1, sizeof(*call) + count * sizeof(call->bdevs[0]));
	if (!call) {
		rpc_request_fail(request, -ENOMEM, NULL);
		return NULL;
	}
	call->control = control;
	call->request = request;
	return call;
}

static void iostat_call_drop(struct iostat_call *call)
{
	for (unsigned i = 0; i < call->count; i++)
		bdev_operation_end(call->bdevs[i]);
	json_decref(call->list);
	free(call);
}

/* false: there is none, and the request is answered. */
static bool iostat_add_named(struct iostat_call *call, const char *name)
{
	struct bdev *bdev = bdev_find_or_fail(call->control, call->request, name);

	if (bdev)
		iostat_add(bdev, call);
	return bdev != NULL;
}

/* names: NULL or an array of strings. false: the request is answered. */
static bool iostat_add_all(struct iostat_call *call, const json_t *names, const char *name)
{
	if (name)
		return iostat_add_named(call, name);
	for (size_t i = 0; i < json_array_size(names); i++)
		if (!iostat_add_named(call, json_string_value(json_array_get(names, i))))
			return false;
	if (!names)
		bdev_for_each(call->control->options.registry, iostat_add, call);
	return true;
}

struct iostat_params {
	const char *name;
	const json_t *names;
	bool per_channel;
	int reset_mode;
};

static const char *const reset_modes[] = {"all", "maxmin", "error", "none", NULL};
static const enum bdev_stats_reset resets[] = {
	BDEV_STATS_RESET_ALL, BDEV_STATS_RESET_EXTREMES, BDEV_STATS_RESET_ERRORS, BDEV_STATS_KEEP};

static const struct rpc_param iostat_table[] = {
	{PARAM(RPC_STRING, iostat_params, name)},
	{PARAM(RPC_JSON, iostat_params, names)},
	{PARAM(RPC_BOOL, iostat_params, per_channel)},
	{PARAM(RPC_ENUM, iostat_params, reset_mode), .choices = reset_modes, .value = 3},
	{0},
};

static bool are_names(const json_t *names)
{
	if (!json_is_array(names) || json_array_size(names) > NAMES_MAX)
		return false;
	for (size_t i = 0; i < json_array_size(names); i++)
		if (!json_is_string(json_array_get(names, i)))
			return false;
	return true;
}

static void bdev_get_iostat(struct rpc_request *request, const void *params, void *context)
{
	const struct iostat_params *wanted = params;
	struct reason reason = {0};
	struct iostat_call *call;

	if (wanted->names && !are_names(wanted->names)) {
		rpc_request_fail_text(
			request, RPC_INTERNAL_ERROR, "spdk_json_decode_object failed", NULL);
		return;
	}
	if (wanted->per_channel && !wanted->name && json_array_size(wanted->names) != 1) {
		reason_set(&reason, -EINVAL, "per_channel is for one device: name it in names");
		rpc_request_fail(request, -EINVAL, &reason);
		return;
	}
	call = iostat_call_create(context, request);
	if (!call)
		return;
	call->list = json_array();
	call->per_channel = wanted->per_channel;
	call->query.reset = resets[wanted->reset_mode];
	call->query.sum = &call->sum;
	call->query.each = wanted->per_channel ? channel_tell : NULL;
	call->query.arg = call;
	if (iostat_add_all(call, wanted->names, wanted->name))
		flow_start(&call->flow, call->control->options.control, "iostat", iostat_run);
	else
		iostat_call_drop(call);
}

struct reset_params {
	const char *name;
	int mode;
};

static const struct rpc_param reset_table[] = {
	{PARAM(RPC_STRING, reset_params, name)},
	{PARAM(RPC_ENUM, reset_params, mode), .choices = reset_modes},
	{0},
};

static void bdev_reset_iostat(struct rpc_request *request, const void *params, void *context)
{
	const struct reset_params *wanted = params;
	struct iostat_call *call = iostat_call_create(context, request);

	if (!call)
		return;
	call->query.reset = resets[wanted->mode];
	if (iostat_add_all(call, NULL, wanted->name))
		flow_start(&call->flow, call->control->options.control, "iostat", iostat_run);
	else
		iostat_call_drop(call);
}

const struct rpc_method bdev_iostat_methods[] = {
	{"bdev_get_iostat", RPC_RUNTIME, bdev_get_iostat, iostat_table,
		sizeof(struct iostat_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_reset_iostat", RPC_RUNTIME, bdev_reset_iostat, reset_table,
		sizeof(struct reset_params), .decode_error = RPC_DECODE_ERROR},
	{0},
};
