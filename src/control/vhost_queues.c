/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is set for the queues of a controller: vhost_controller_set_coalescing, and which data
 * thread serves which queue: vhost_controller_set_queue_placement and vhost_get_queues. The latter
 * two are ours; SPDK places whole controllers.
 */
#include <errno.h>
#include <stdlib.h>

#include "control/control_impl.h"

/* ---- placement ----------------------------------------------------------------------------- */

struct place_params {
	const char *ctrlr;
	uint32_t queue;
	int32_t cpu;
};

static const struct rpc_param place_table[] = {
	{PARAM(RPC_STRING, place_params, ctrlr), .flags = RPC_REQUIRED},
	{PARAM(RPC_U32, place_params, queue), .flags = RPC_REQUIRED},
	{PARAM(RPC_I32, place_params, cpu), .value = -1},
	{0},
};

struct place_call {
	struct rpc_request *request;
	struct reason reason;
};

static void queue_placed(void *arg, int rc)
{
	struct place_call *call = arg;

	vhost_answer(call->request, rc, &call->reason);
	free(call);
}

static void vhost_controller_set_queue_placement(
	struct rpc_request *request, const void *params, void *context)
{
	const struct place_params *wanted = params;
	struct vhost_controller *controller =
		vhost_controller_find_or_fail(context, request, wanted->ctrlr);
	struct place_call *call;

	if (!controller)
		return;
	call = calloc(1, sizeof(*call));
	if (!call) {
		vhost_answer(request, -ENOMEM, NULL);
		return;
	}
	call->request = request;
	vhost_controller_place_queue(
		controller, wanted->queue, wanted->cpu, &call->reason, queue_placed, call);
}

/* ---- coalescing ---------------------------------------------------------------------------- */

struct coalescing_params {
	const char *ctrlr;
	uint32_t delay_base_us;
	uint32_t iops_threshold;
};

static const struct rpc_param coalescing_table[] = {
	{PARAM(RPC_STRING, coalescing_params, ctrlr), .flags = RPC_REQUIRED},
	{PARAM(RPC_U32, coalescing_params, delay_base_us), .flags = RPC_REQUIRED},
	{PARAM(RPC_U32, coalescing_params, iops_threshold), .flags = RPC_REQUIRED},
	{0},
};

static void vhost_controller_set_coalescing_method(
	struct rpc_request *request, const void *params, void *context)
{
	const struct coalescing_params *wanted = params;
	struct vhost_controller *controller =
		vhost_controller_find_or_fail(context, request, wanted->ctrlr);
	struct reason reason = {0};

	if (controller)
		vhost_answer(request,
			vhost_controller_set_coalescing(
				controller, wanted->delay_base_us, wanted->iops_threshold, &reason),
			&reason);
}

/* ---- listing ------------------------------------------------------------------------------- */

static void queue_append(const struct vhost_queue_info *info, void *arg)
{
	json_t *described = json_pack("{s:i, s:o?, s:b, s:b, s:b, s:i, s:i, s:i, s:I, s:I, s:I}",
		"queue", (int)info->queue, "cpu", info->cpu < 0 ? NULL : json_integer(info->cpu),
		"pinned", (int)info->pinned, "running", (int)info->running, "moving",
		(int)info->moving, "size", (int)info->size, "inflight", (int)info->in_flight,
		"waiting_for_space", (int)info->postponed, "requests", (json_int_t)info->requests,
		"bytes", (json_int_t)info->bytes, "moves", (json_int_t)info->moves);

	json_array_append_new(arg, described);
}

static void controller_append(struct vhost_controller *controller, void *arg)
{
	json_t *queues = json_array();

	vhost_controller_for_each_queue(controller, queue_append, queues);
	json_array_append_new(arg, json_pack("{s:s, s:o}", "ctrlr",
					   vhost_controller_name(controller), "queues", queues));
}

struct queues_params {
	const char *ctrlr;
};

static const struct rpc_param queues_table[] = {
	{PARAM(RPC_STRING, queues_params, ctrlr)},
	{0},
};

static void vhost_get_queues(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct queues_params *wanted = params;
	json_t *list;
	struct vhost_controller *controller = NULL;

	if (wanted->ctrlr) {
		controller = vhost_controller_find_or_fail(control, request, wanted->ctrlr);
		if (!controller)
			return;
	}
	list = json_array();
	if (controller)
		controller_append(controller, list);
	else
		vhost_controller_for_each(control->options.vhost, controller_append, list);
	rpc_request_finish(request, list);
}

const struct rpc_method vhost_queue_methods[] = {
	{"vhost_controller_set_queue_placement", RPC_RUNTIME, vhost_controller_set_queue_placement,
		place_table, sizeof(struct place_params), .changes_configuration = true,
		.decode_error = VHOST_DECODE_ERROR},
	{"vhost_controller_set_coalescing", RPC_RUNTIME, vhost_controller_set_coalescing_method,
		coalescing_table, sizeof(struct coalescing_params), .changes_configuration = true,
		.decode_error = VHOST_DECODE_ERROR},
	{"vhost_get_queues", RPC_RUNTIME, vhost_get_queues, queues_table,
		sizeof(struct queues_params), .decode_error = VHOST_DECODE_ERROR},
	{0},
};
