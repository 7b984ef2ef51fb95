/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bdev_nvme_get_controllers, bdev_nvme_get_controller_health_info.
 *
 * Numbers of 128 bits in the health log are told as far as JSON's integers go, like SPDK's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "control/nvme_impl.h"

#define KELVIN 273

/* ---- controllers --------------------------------------------------------------------------- */

static const char *nvme_state_name(const struct nvme_attachment *attachment)
{
	static const char *const names[] = {
		[NVME_OPENING] = "resetting",
		[NVME_LIVE] = "enabled",
		[NVME_BROKEN] = "resetting",
		[NVME_RESETTING] = "resetting",
		[NVME_DEAD] = "failed",
		[NVME_CLOSING] = "deleting",
	};

	if (attachment->state == NVME_DETACHING)
		return "deleting";
	return names[nvme_controller_state(nvme_drive_controller(attachment->drive))];
}

static json_t *nvme_attachment_describe(const struct nvme_attachment *attachment)
{
	const struct nvme_controller *controller = nvme_drive_controller(attachment->drive);

	return json_pack("{s:s, s:[{s:s, s:{s:s, s:s}, s:i, s:{s:s, s:s, s:s, s:b}, s:i}]}", "name",
		attachment->name, "ctrlrs", "state", nvme_state_name(attachment), "trid", "trtype",
		attachment->kind->type, "traddr", attachment->address, "cntlid",
		(int)nvme_controller_identity(controller)->cntlid, "host", "nqn", "", "addr", "",
		"svcid", "", "no_shn_notification", 0, "numa_id", -1);
}

static void nvme_attachment_append(struct nvme_attachment *attachment, void *list)
{
	if (attachment->state != NVME_ATTACHING)
		json_array_append_new(list, nvme_attachment_describe(attachment));
}

static const struct rpc_param nvme_list_table[] = {
	{PARAM(RPC_STRING, bdev_name_params, name)},
	{0},
};

static void bdev_nvme_get_controllers(
	struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct bdev_name_params *wanted = params;
	struct nvme_attachment *attachment;
	json_t *list;
	char text[160];

	if (!wanted->name) {
		list = json_array();
		nvme_drives_for_each(control->options.drives, nvme_attachment_append, list);
		rpc_request_finish(request, list);
		return;
	}
	attachment = nvme_drives_find(control->options.drives, wanted->name);
	if (!attachment || attachment->state == NVME_ATTACHING) {
		snprintf(text, sizeof(text), "Controller %.96s does not exist", wanted->name);
		rpc_request_fail_text(request, -EINVAL, text, NULL);
		return;
	}
	rpc_request_finish(request, json_pack("[o]", nvme_attachment_describe(attachment)));
}

/* ---- health -------------------------------------------------------------------------------- */

struct nvme_health_call {
	struct rpc_request *request;
	json_t *described; /* who it is */
	struct nvme_health health;
};

static json_t *nvme_count(const uint64_t number[2])
{
	bool fits = number[1] == 0 && number[0] <= INT64_MAX;

	return json_integer(fits ? (json_int_t)number[0] : (json_int_t)INT64_MAX);
}

static int nvme_celsius(uint16_t kelvin)
{
	return (int)kelvin - KELVIN;
}

static void nvme_health_describe_counts(json_t *described, const struct nvme_health *health)
{
	const struct {
		const char *name;
		const uint64_t *number;
	} counts[] = {
		{"data_units_read", health->data_units_read},
		{"data_units_written", health->data_units_written},
		{"host_read_commands", health->host_reads},
		{"host_write_commands", health->host_writes},
		{"controller_busy_time", health->busy_minutes},
		{"power_cycles", health->power_cycles},
		{"power_on_hours", health->power_on_hours},
		{"unsafe_shutdowns", health->unsafe_shutdowns},
		{"media_errors", health->media_errors},
		{"num_err_log_entries", health->error_log_entries},
	};

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		json_object_set_new(described, counts[i].name, nvme_count(counts[i].number));
}

static void nvme_health_describe(json_t *described, const struct nvme_health *health)
{
	const struct {
		const char *name;
		int number;
	} numbers[] = {
		{"critical_warning", health->critical_warning},
		{"temperature_celsius", nvme_celsius((uint16_t)(health->temperature[0] |
								health->temperature[1] << 8))},
		{"available_spare_percentage", health->available_spare},
		{"available_spare_threshold_percentage", health->available_spare_threshold},
		{"percentage_used", health->percentage_used},
	};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		json_object_set_new(described, numbers[i].name, json_integer(numbers[i].number));
	nvme_health_describe_counts(described, health);
	json_object_set_new(described, "warning_temperature_time_minutes",
		json_integer(health->warning_minutes));
	json_object_set_new(described, "critical_composite_temperature_time_minutes",
		json_integer(health->critical_minutes));
	for (size_t i = 0; i < ARRAY_SIZE(health->sensors); i++) {
		if (health->sensors[i])
			json_object_set_new(described, "temperature_sensor_celsius",
				json_integer(nvme_celsius(health->sensors[i])));
	}
}

static void nvme_health_read(void *arg, int rc)
{
	struct nvme_health_call *call = arg;

	if (rc) {
		json_decref(call->described);
		rpc_request_fail_text(
			call->request, RPC_INTERNAL_ERROR, "Unable to process the request", NULL);
	} else {
		nvme_health_describe(call->described, &call->health);
		rpc_request_finish(call->request, call->described);
	}
	free(call);
}

static void bdev_nvme_get_controller_health_info(
	struct rpc_request *request, const void *params, void *context)
{
	const struct bdev_name_params *wanted = params;
	struct nvme_attachment *attachment = nvme_attached(context, wanted->name);
	const struct nvme_identify_controller *id;
	struct nvme_health_call *call;

	if (!attachment) {
		rpc_request_fail_text(request, RPC_INTERNAL_ERROR, "Device not found", NULL);
		return;
	}
	call = alloc_op(sizeof(*call));
	id = nvme_controller_identity(nvme_drive_controller(attachment->drive));
	call->request = request;
	call->described =
		json_pack("{s:o, s:o, s:o, s:s}", "model_number", nvme_text(id->mn, sizeof(id->mn)),
			"serial_number", nvme_text(id->sn, sizeof(id->sn)), "firmware_revision",
			nvme_text(id->fr, sizeof(id->fr)), "traddr", attachment->address);
	nvme_drive_read_health(attachment->drive, &call->health, nvme_health_read, call);
}

const struct rpc_method nvme_list_methods[] = {
	{"bdev_nvme_get_controllers", RPC_RUNTIME, bdev_nvme_get_controllers, nvme_list_table,
		sizeof(struct bdev_name_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_nvme_get_controller_health_info", RPC_RUNTIME, bdev_nvme_get_controller_health_info,
		bdev_name_table, sizeof(struct bdev_name_params), .decode_error = RPC_DECODE_ERROR},
	{0},
};
