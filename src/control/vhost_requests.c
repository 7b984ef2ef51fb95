/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vhost_get_requests, ours: what is in flight at this moment, for `sluice io`. The data reactors
 * look into their own tables when they are asked; nothing is recorded for it.
 *
 * In no order. Of one queue at most REQUESTS_OF_QUEUE are told,
 * and how many more there are, so that an answer has a bound.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/control_impl.h"
#include "vhost/requests.h"

#define REQUESTS_OF_QUEUE 512

struct requests_params {
	const char *ctrlr;
	uint32_t older_than_ms;
};

static const struct rpc_param requests_table[] = {
	{PARAM(RPC_STRING, requests_params, ctrlr)},
	{PARAM(RPC_U32, requests_params, older_than_ms)},
	{0},
};

struct requests_call {
	struct rpc_request *request;
	const char *controller; /* the request's; NULL: all */
	json_t *list;
	uint64_t more;
};

/* Who has it: a kind of block device, or what keeps it from one. */
static const char *request_layer(const struct vq_request_info *info)
{
	switch (info->state) {
	case VQ_REQUEST_POSTPONED:
		return "space";
	case VQ_REQUEST_PLACED:
		return info->place.hold == BDEV_HELD_BY_DEVICE
			       ? info->place.module
			       : bdev_io_hold_name(info->place.hold);
	default:
		return "vhost";
	}
}

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)u64_min(value, INT64_MAX));
}

static json_t *request_encode(
	const char *controller, unsigned queue, const struct vq_request_info *info)
{
	const struct bdev_io_place *place = &info->place;
	bool aged = info->age_ns != UINT64_MAX;
	json_t *told = json_pack("{s:s, s:i, s:i, s:o, s:s}", "ctrlr", controller, "queue",
		(int)queue, "head", (int)info->head, "age_us",
		aged ? number(info->age_ns / USEC_NS) : json_null(), "layer", request_layer(info));

	if (info->state != VQ_REQUEST_PLACED)
		return told;
	json_object_set_new(told, "disk", json_string(place->disk));
	json_object_set_new(told, "device", json_string(place->device));
	json_object_set_new(told, "operation", json_string(bdev_io_type_name(place->type)));
	json_object_set_new(told, "lba", number(place->offset / place->block_size));
	json_object_set_new(told, "offset", number(place->offset));
	json_object_set_new(told, "length", number(place->length));
	return told;
}

static void queue_take(const char *controller, unsigned queue,
	const struct vq_request_info *requests, unsigned count, uint64_t more, void *arg)
{
	struct requests_call *call = arg;

	if (call->controller && strcmp(call->controller, controller) != 0)
		return;
	for (unsigned i = 0; i < count; i++)
		json_array_append_new(call->list, request_encode(controller, queue, &requests[i]));
	call->more += more;
}

static void requests_answer(void *arg, int rc)
{
	struct requests_call *call = arg;

	rpc_request_finish(call->request,
		json_pack("{s:o, s:o}", "requests", call->list, "more", number(call->more)));
	free(call);
}

static void vhost_get_requests(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct requests_params *wanted = params;
	struct vhost_requests_query query = {
		.older_than_ns = wanted->older_than_ms * MSEC_NS,
		.max_of_queue = REQUESTS_OF_QUEUE,
		.queue = queue_take,
	};
	struct requests_call *call;

	if (wanted->ctrlr && !vhost_controller_find_or_fail(control, request, wanted->ctrlr))
		return;
	call = calloc(1, sizeof(*call));
	if (!call) {
		rpc_request_fail(request, -ENOMEM, NULL);
		return;
	}
	call->request = request;
	call->controller = wanted->ctrlr;
	call->list = json_array();
	query.arg = call;
	vhost_query_requests(control->options.vhost, &query, requests_answer, call);
}

const struct rpc_method vhost_request_methods[] = {
	{"vhost_get_requests", RPC_RUNTIME, vhost_get_requests, requests_table,
		sizeof(struct requests_params), .decode_error = VHOST_DECODE_ERROR},
	{0},
};
