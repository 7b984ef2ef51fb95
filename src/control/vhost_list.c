/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vhost_get_controllers, virtio_blk_get_transports, scsi_get_devices.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/control_impl.h"

static json_t *cpumask_describe(const struct control *control, const struct cpu_set *cpus)
{
	char mask[CPUS_MAX / 4 + 1];

	cpu_set_format(cpus ? cpus : &control->options.cpus, mask, sizeof(mask));
	return json_sprintf("0x%s", mask);
}

static json_t *sessions_describe(const struct vhost_controller_info *info)
{
	const struct vhost_session_info *session = &info->session;
	json_t *sessions = json_array();
	json_t *described = json_object();

	if (!info->connected) {
		json_decref(described);
		return sessions;
	}
	json_object_set_new(described, "vid", json_integer(session->vid));
	json_object_set_new(described, "id", json_integer(session->id));
	json_object_set_new(described, "name", json_sprintf("%ss%u", info->name, session->vid));
	json_object_set_new(described, "started", json_boolean(session->started));
	json_object_set_new(described, "max_queues", json_integer(session->max_queues));
	json_object_set_new(described, "inflight_task_cnt", json_integer(session->in_flight));
	json_array_append_new(sessions, described);
	return sessions;
}

struct target_list {
	json_t *targets;
	json_t *luns; /* of the last of them; borrowed */
	unsigned number; /* its */
};

static void target_list_add_lun(const struct vhost_lun_info *info, void *arg)
{
	struct target_list *list = arg;
	json_t *lun;

	if (!list->luns || list->number != info->target) {
		json_t *target = json_pack("{s:i, s:i, s:o, s:[]}", "scsi_dev_num",
			(int)info->target, "id", (int)info->device_id, "target_name",
			json_sprintf("Target %u", info->target), "luns");

		json_array_append_new(list->targets, target);
		list->luns = json_object_get(target, "luns");
		list->number = info->target;
	}
	lun = json_pack("{s:i, s:s}", "id", (int)info->lun, "bdev_name", info->bdev_name);
	if (info->read_only)
		json_object_set_new(lun, "readonly", json_true());
	if (info->removable)
		json_object_set_new(lun, "removable", json_true());
	if (info->short_cdbs)
		json_object_set_new(lun, "short_cdbs", json_true());
	json_array_append_new(list->luns, lun);
}

static json_t *targets_describe(const struct vhost_controller *controller)
{
	struct target_list list = {.targets = json_array()};

	vhost_scsi_for_each_lun(controller, target_list_add_lun, &list);
	return list.targets;
}

static json_t *backend_describe(
	const struct vhost_controller *controller, const struct vhost_controller_info *info)
{
	if (info->kind == VHOST_SCSI)
		return json_pack("{s:o}", "scsi", targets_describe(controller));
	return json_pack("{s:{s:b, s:s?, s:s}}", "block", "readonly", (int)info->read_only, "bdev",
		info->bdev_name, "transport", "vhost_user_blk");
}

struct list_call {
	const struct control *control;
	json_t *list;
	bool any; /* scsi_get_devices: the target told last */
	unsigned target;
};

static void controller_append(struct vhost_controller *controller, void *arg)
{
	struct list_call *call = arg;
	struct vhost_controller_info info;
	json_t *described = json_object();

	vhost_controller_get_info(controller, &info);
	json_object_set_new(described, "ctrlr", json_string(info.name));
	json_object_set_new(described, "cpumask", cpumask_describe(call->control, info.cpus));
	json_object_set_new(described, "delay_base_us", json_integer(info.delay_base_us));
	json_object_set_new(described, "iops_threshold", json_integer(info.iops_threshold));
	json_object_set_new(described, "socket", json_string(info.socket_path));
	json_object_set_new(
		described, "when_full", json_string(info.waits_for_space ? "wait" : "error"));
	json_object_set_new(described, "sessions", sessions_describe(&info));
	json_object_set_new(described, "backend_specific", backend_describe(controller, &info));
	json_array_append_new(call->list, described);
}

static struct list_call *list_call_create(struct control *control, struct rpc_request *request)
{
	struct list_call *call = calloc(1, sizeof(*call));

	if (!call) {
		rpc_request_fail(request, -ENOMEM, NULL);
		return NULL;
	}
	call->control = control;
	call->list = json_array();
	return call;
}

static void list_call_finish(struct list_call *call, struct rpc_request *request)
{
	rpc_request_finish(request, call->list);
	free(call);
}

struct name_params {
	const char *name;
};

static const struct rpc_param name_table[] = {
	{PARAM(RPC_STRING, name_params, name)},
	{0},
};

static void vhost_get_controllers(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct name_params *wanted = params;
	struct vhost_controller *controller = NULL;
	struct reason reason = {0};
	struct list_call *call;

	if (wanted->name) {
		controller = vhost_controller_find(control->options.vhost, wanted->name);
		if (!controller) {
			reason_set(&reason, -ENODEV,
				"there is no controller %s: vhost_get_controllers without a name "
				"lists those there are",
				wanted->name);
			rpc_request_fail_code(request, RPC_INTERNAL_ERROR, -ENODEV, &reason);
			return;
		}
	}
	call = list_call_create(control, request);
	if (!call)
		return;
	if (controller)
		controller_append(controller, call);
	else
		vhost_controller_for_each(control->options.vhost, controller_append, call);
	list_call_finish(call, request);
}

static void virtio_blk_get_transports(
	struct rpc_request *request, const void *params, void *context)
{
	const struct name_params *wanted = params;

	if (wanted->name && strcmp(wanted->name, "vhost_user_blk") != 0)
		rpc_request_fail(request, -ENODEV, NULL);
	else
		rpc_request_finish(request, json_pack("[{s:s}]", "name", "vhost_user_blk"));
}

/* One for each target: at its first LUN. */
static void scsi_devices_append_lun(const struct vhost_lun_info *info, void *arg)
{
	struct list_call *call = arg;

	if (call->any && call->target == info->target)
		return;
	call->any = true;
	call->target = info->target;
	json_array_append_new(
		call->list, json_pack("{s:i, s:o}", "id", (int)info->device_id, "device_name",
				    json_sprintf("Target %u", info->target)));
}

static void scsi_devices_append(struct vhost_controller *controller, void *arg)
{
	struct list_call *call = arg;

	call->any = false;
	vhost_scsi_for_each_lun(controller, scsi_devices_append_lun, call);
}

static void scsi_get_devices(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	struct list_call *call = list_call_create(control, request);

	if (!call)
		return;
	vhost_controller_for_each(control->options.vhost, scsi_devices_append, call);
	list_call_finish(call, request);
}

const struct rpc_method vhost_list_methods[] = {
	{"vhost_get_controllers", RPC_RUNTIME, vhost_get_controllers, name_table,
		sizeof(struct name_params),
		.decode_error = {RPC_INTERNAL_ERROR, "Invalid argument"}},
	{"virtio_blk_get_transports", RPC_RUNTIME, virtio_blk_get_transports, name_table,
		sizeof(struct name_params),
		.decode_error = {RPC_INVALID_PARAMS, "Invalid parameters"}},
	{"scsi_get_devices", RPC_RUNTIME, scsi_get_devices},
	{0},
};
