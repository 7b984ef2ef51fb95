/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bdev_copy, ours: ranges of one block device to the same place of another. It is answered when
 * they are there and flushed; who has much to copy asks for a part at a time.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "bdev/copy.h"
#include "control/control_impl.h"

#define RANGES_MAX 2048

struct copy_params {
	const char *source;
	const char *target;
	const json_t *ranges;
	bool skip_zeroes;
};

static const struct rpc_param copy_table[] = {
	{PARAM(RPC_STRING, copy_params, source), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, copy_params, target), .flags = RPC_REQUIRED},
	{PARAM(RPC_JSON, copy_params, ranges), .flags = RPC_REQUIRED},
	{PARAM(RPC_BOOL, copy_params, skip_zeroes)},
	{0},
};

struct copy_call {
	struct rpc_request *request;
	struct reason reason;
};

static void bdev_copied(void *arg, int rc)
{
	struct copy_call *call = arg;

	if (rc)
		rpc_request_fail(call->request, rc, &call->reason);
	else
		rpc_request_finish(call->request, NULL);
	free(call);
}

/* [[offset, length], ...]; NULL: not that. */
static struct bdev_range *ranges_parse(const json_t *ranges)
{
	size_t count = json_array_size(ranges), i;
	struct bdev_range *parsed;
	json_t *pair;

	if (count == 0 || count > RANGES_MAX)
		return NULL;
	parsed = alloc_op(count * sizeof(*parsed));
	json_array_foreach(ranges, i, pair)
	{
		json_int_t offset = -1, length = -1;

		if (json_is_array(pair) && json_array_size(pair) == 2) {
			offset = json_is_integer(json_array_get(pair, 0))
					 ? json_integer_value(json_array_get(pair, 0))
					 : -1;
			length = json_is_integer(json_array_get(pair, 1))
					 ? json_integer_value(json_array_get(pair, 1))
					 : -1;
		}
		if (offset < 0 || length < 0) {
			free(parsed);
			return NULL;
		}
		parsed[i] = (struct bdev_range){(uint64_t)offset, (uint64_t)length};
	}
	return parsed;
}

static void bdev_copy_run(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct copy_params *wanted = params;
	struct bdev *source = bdev_find_or_fail(control, request, wanted->source);
	struct bdev *target = source ? bdev_find_or_fail(control, request, wanted->target) : NULL;
	struct bdev_range *ranges;
	struct bdev_copy_options options;
	struct copy_call *call;
	struct reason reason = {0};

	if (!target)
		return;
	ranges = ranges_parse(wanted->ranges);
	if (!ranges) {
		reason_set(&reason, -EINVAL,
			"ranges is an array of 1 to %u pairs of offset and length, in bytes",
			RANGES_MAX);
		rpc_request_fail(request, -EINVAL, &reason);
		return;
	}
	call = alloc_op(sizeof(*call));
	call->request = request;
	options = (struct bdev_copy_options){
		.source = source,
		.target = target,
		.ranges = ranges,
		.num_ranges = (unsigned)json_array_size(wanted->ranges),
		.skip_zeroes = wanted->skip_zeroes,
		.reactor =
			control->options.data[control->next_copy++ % control->options.data_count],
	};
	bdev_copy(&options, &call->reason, bdev_copied, call);
	free(ranges);
}

const struct rpc_method bdev_copy_methods[] = {
	{"bdev_copy", RPC_RUNTIME, bdev_copy_run, copy_table, sizeof(struct copy_params),
		.decode_error = RPC_DECODE_ERROR},
	{0},
};
