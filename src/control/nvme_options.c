/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bdev_nvme_set_options; and what is told of drives in the configuration.
 *
 * All options of SPDK are taken, checked and told again; what is left out of a call stays as it is.
 * Those with an effect here:
 *
 *	timeout_us, action_on_timeout	0 is not for ever: without a timeout of somebody's choice a
 *					command is aborted after 30 s, and then the drive is reset.
 *					With one, none means to wait.
 *	timeout_admin_us		0: 30 s
 *	bdev_retry_count		of a command; -1: without an end, so to say
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/nvme_impl.h"

#define UNSAID32    UINT32_MAX
#define UNSAID_I32  INT32_MIN
#define RETRIES_MAX 200

#define NVME_TIMEOUT_MIN (10 * MSEC_NS)
#define NVME_TIMEOUT_MAX (1000000 * SEC_NS)

static const char nvme_options_text[] =
	"{\"action_on_timeout\":\"none\",\"timeout_us\":0,\"timeout_admin_us\":0,"
	"\"keep_alive_timeout_ms\":10000,\"arbitration_burst\":0,\"low_priority_weight\":0,"
	"\"medium_priority_weight\":0,\"high_priority_weight\":0,"
	"\"nvme_adminq_poll_period_us\":10000,\"nvme_ioq_poll_period_us\":0,"
	"\"io_queue_requests\":0,\"delay_cmd_submit\":true,\"transport_retry_count\":4,"
	"\"bdev_retry_count\":3,\"transport_ack_timeout\":0,\"ctrlr_loss_timeout_sec\":0,"
	"\"reconnect_delay_sec\":0,\"fast_io_fail_timeout_sec\":0,"
	"\"disable_auto_failback\":false,\"generate_uuids\":false,\"transport_tos\":0,"
	"\"nvme_error_stat\":false,\"rdma_srq_size\":0,\"io_path_stat\":false,"
	"\"allow_accel_sequence\":false,\"rdma_max_cq_size\":0,\"rdma_cm_event_timeout_ms\":0,"
	"\"dhchap_digests\":[\"sha256\",\"sha384\",\"sha512\"],\"dhchap_dhgroups\":[\"null\","
	"\"ffdhe2048\",\"ffdhe3072\",\"ffdhe4096\",\"ffdhe6144\",\"ffdhe8192\"],"
	"\"rdma_umr_per_io\":false,\"tcp_connect_timeout_ms\":0,\"enable_flush\":false,"
	"\"multipath_opts\":{\"policy\":\"active_passive\"}}";

struct nvme_options_params {
	int action_on_timeout;
	uint64_t timeout_us;
	uint64_t timeout_admin_us;
	uint32_t keep_alive_timeout_ms;
	uint32_t arbitration_burst;
	uint32_t low_priority_weight;
	uint32_t medium_priority_weight;
	uint32_t high_priority_weight;
	uint64_t nvme_adminq_poll_period_us;
	uint64_t nvme_ioq_poll_period_us;
	uint32_t io_queue_requests;
	const json_t *delay_cmd_submit;
	uint32_t transport_retry_count;
	int32_t bdev_retry_count;
	uint32_t transport_ack_timeout;
	int32_t ctrlr_loss_timeout_sec;
	uint32_t reconnect_delay_sec;
	uint32_t fast_io_fail_timeout_sec;
	const json_t *disable_auto_failback;
	const json_t *generate_uuids;
	uint32_t transport_tos;
	const json_t *nvme_error_stat;
	uint32_t rdma_srq_size;
	const json_t *io_path_stat;
	const json_t *allow_accel_sequence;
	uint32_t rdma_max_cq_size;
	uint32_t rdma_cm_event_timeout_ms;
	const json_t *dhchap_digests;
	const json_t *dhchap_dhgroups;
	const json_t *rdma_umr_per_io;
	uint64_t tcp_connect_timeout_ms;
	const json_t *enable_flush;
	const json_t *multipath_opts;
};

#define OPTION_U32(field_)                                                                         \
	{                                                                                          \
		PARAM(RPC_U32, nvme_options_params, field_), .flags = RPC_UNSAID,                  \
							     .value = UNSAID32                     \
	}
#define OPTION_U64(field_)                                                                         \
	{                                                                                          \
		PARAM(RPC_U64, nvme_options_params, field_), .flags = RPC_UNSAID, .value = -1      \
	}
#define OPTION_I32(field_)                                                                         \
	{                                                                                          \
		PARAM(RPC_I32, nvme_options_params, field_), .flags = RPC_UNSAID,                  \
							     .value = UNSAID_I32                   \
	}
#define OPTION_JSON(field_)                                                                        \
	{                                                                                          \
		PARAM(RPC_JSON, nvme_options_params, field_)                                       \
	}

static const char *const nvme_action_names[] = {"none", "reset", "abort", NULL};

static const struct rpc_param nvme_options_table[] = {
	{PARAM(RPC_ENUM, nvme_options_params, action_on_timeout), .flags = RPC_UNSAID,
		.choices = nvme_action_names, .value = -1},
	OPTION_U64(timeout_us),
	OPTION_U64(timeout_admin_us),
	OPTION_U32(keep_alive_timeout_ms),
	OPTION_U32(arbitration_burst),
	OPTION_U32(low_priority_weight),
	OPTION_U32(medium_priority_weight),
	OPTION_U32(high_priority_weight),
	OPTION_U64(nvme_adminq_poll_period_us),
	OPTION_U64(nvme_ioq_poll_period_us),
	OPTION_U32(io_queue_requests),
	OPTION_JSON(delay_cmd_submit),
	OPTION_U32(transport_retry_count),
	OPTION_I32(bdev_retry_count),
	OPTION_U32(transport_ack_timeout),
	OPTION_I32(ctrlr_loss_timeout_sec),
	OPTION_U32(reconnect_delay_sec),
	OPTION_U32(fast_io_fail_timeout_sec),
	OPTION_JSON(disable_auto_failback),
	OPTION_JSON(generate_uuids),
	OPTION_U32(transport_tos),
	OPTION_JSON(nvme_error_stat),
	OPTION_U32(rdma_srq_size),
	OPTION_JSON(io_path_stat),
	OPTION_JSON(allow_accel_sequence),
	OPTION_U32(rdma_max_cq_size),
	OPTION_U32(rdma_cm_event_timeout_ms),
	OPTION_JSON(dhchap_digests),
	OPTION_JSON(dhchap_dhgroups),
	OPTION_JSON(rdma_umr_per_io),
	OPTION_U64(tcp_connect_timeout_ms),
	OPTION_JSON(enable_flush),
	OPTION_JSON(multipath_opts),
	{0},
};

/* The caller's reference; NULL: it was left out. */
static json_t *nvme_option_given(const struct rpc_param *param, const void *params)
{
	const void *field = (const uint8_t *)params + param->offset;
	uint64_t number;
	int choice;

	switch (param->type) {
	case RPC_ENUM:
		choice = *(const int *)field;
		return choice < 0 ? NULL : json_string(param->choices[choice]);
	case RPC_U32:
		number = *(const uint32_t *)field;
		return number == UNSAID32 ? NULL : json_integer((json_int_t)number);
	case RPC_I32:
		choice = *(const int32_t *)field;
		return choice == UNSAID_I32 ? NULL : json_integer(choice);
	case RPC_U64:
		number = *(const uint64_t *)field;
		return number == UINT64_MAX ? NULL : json_integer((json_int_t)number);
	default:
		return json_incref(*(json_t *const *)field);
	}
}

static bool nvme_option_is_of_type(const json_t *value, const json_t *known)
{
	if (json_is_boolean(known))
		return json_is_boolean(value);
	return json_typeof(value) == json_typeof(known);
}

static int nvme_options_merge(json_t *options, const void *params, struct reason *reason)
{
	for (const struct rpc_param *param = nvme_options_table; param->name; param++) {
		json_t *value = nvme_option_given(param, params);

		if (!value)
			continue;
		if (!nvme_option_is_of_type(value, json_object_get(options, param->name))) {
			json_decref(value);
			return reason_set(reason, -EINVAL,
				"parameter %s has a value of a wrong type", param->name);
		}
		json_object_set_new(options, param->name, value);
	}
	return 0;
}

static json_int_t nvme_option(const json_t *options, const char *name)
{
	return json_integer_value(json_object_get(options, name));
}

/* What is said about drives that are lost must fit together, though nothing here waits for them. */
static bool nvme_loss_is_sound(const json_t *options)
{
	json_int_t loss = nvme_option(options, "ctrlr_loss_timeout_sec");
	json_int_t delay = nvme_option(options, "reconnect_delay_sec");
	json_int_t fast = nvme_option(options, "fast_io_fail_timeout_sec");

	if (loss < -1)
		return false;
	if (loss == 0)
		return delay == 0 && fast == 0;
	if (delay == 0 || (fast != 0 && fast < delay))
		return false;
	return loss == -1 || (delay <= loss && fast <= loss);
}

static int nvme_options_check(const json_t *options, struct reason *reason)
{
	if (nvme_option(options, "timeout_us") == 0 && nvme_option(options, "timeout_admin_us") > 0)
		return reason_set(reason, -EINVAL, "timeout_admin_us needs a timeout_us as well");
	if (nvme_option(options, "bdev_retry_count") < -1)
		return reason_set(reason, -EINVAL, "bdev_retry_count is -1 or more");
	if (!nvme_loss_is_sound(options))
		return reason_set(reason, -EINVAL,
			"ctrlr_loss_timeout_sec, reconnect_delay_sec and fast_io_fail_timeout_sec "
			"do not fit together");
	return 0;
}

static json_t *nvme_options_copy(const struct control *control)
{
	return control->nvme_options ? json_deep_copy(control->nvme_options)
				     : json_loads(nvme_options_text, 0, NULL);
}

static void bdev_nvme_set_options(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	struct reason reason = {0};
	json_t *options;
	int rc;

	if (!nvme_drives_is_empty(control->options.drives)) {
		reason_set(&reason, -EPERM,
			"options are of drives that are attached later: detach those there are");
		rpc_request_fail_text(request, -EPERM,
			"RPC not permitted with nvme controllers already attached", &reason);
		return;
	}
	options = nvme_options_copy(control);
	rc = nvme_options_merge(options, params, &reason);
	if (!rc)
		rc = nvme_options_check(options, &reason);
	if (rc) {
		json_decref(options);
		rpc_request_fail(request, rc, &reason);
		return;
	}
	json_decref(control->nvme_options);
	control->nvme_options = options;
	rpc_request_finish(request, NULL);
}

/* ---- what they mean ------------------------------------------------------------------------ */

static enum nvme_timeout_action nvme_action(const json_t *options)
{
	const char *name = json_string_value(json_object_get(options, "action_on_timeout"));

	if (strcmp(name, "reset") == 0)
		return NVME_TIMEOUT_RESET;
	return strcmp(name, "abort") == 0 ? NVME_TIMEOUT_ABORT : NVME_TIMEOUT_NONE;
}

static uint64_t nvme_timeout_ns(json_int_t timeout_us)
{
	uint64_t bounded_us = u64_min((uint64_t)timeout_us, NVME_TIMEOUT_MAX / USEC_NS);

	return u64_max(bounded_us * USEC_NS, NVME_TIMEOUT_MIN);
}

void nvme_options_fill(const struct control *control, struct nvme_options *ret_options)
{
	const struct nvme_options defaults = NVME_OPTIONS_DEFAULT;
	const json_t *options = control->nvme_options;
	json_int_t timeout_us, admin_us, retries;

	*ret_options = defaults;
	if (!options)
		return;
	timeout_us = nvme_option(options, "timeout_us");
	admin_us = nvme_option(options, "timeout_admin_us");
	retries = nvme_option(options, "bdev_retry_count");
	if (timeout_us > 0) {
		ret_options->timeout_ns = nvme_timeout_ns(timeout_us);
		ret_options->action = nvme_action(options);
	}
	if (admin_us > 0)
		ret_options->admin_timeout_ns = nvme_timeout_ns(admin_us);
	ret_options->retries =
		retries < 0 || retries > RETRIES_MAX ? RETRIES_MAX : (unsigned)retries;
}

/* ---- configuration ------------------------------------------------------------------------- */

static void nvme_attachment_write_config(struct nvme_attachment *attachment, void *arg)
{
	struct config_writer *writer = arg;

	if (attachment->state != NVME_ATTACHED)
		return;
	config_add(writer, "bdev_nvme_attach_controller",
		json_pack("{s:s, s:s, s:s, s:b, s:b, s:i, s:i, s:i, s:b, s:b, s:s, s:i}", "name",
			attachment->name, "trtype", attachment->kind->type, "traddr",
			attachment->address, "prchk_reftag", 0, "prchk_guard", 0,
			"ctrlr_loss_timeout_sec", 0, "reconnect_delay_sec", 0,
			"fast_io_fail_timeout_sec", 0, "hdgst", 0, "ddgst", 0, "multipath",
			"multipath", "num_io_queues", (int)attachment->options.io_queues));
}

void nvme_write_config(struct config_writer *writer)
{
	const struct control *control = writer->control;

	bool told = !writer->stored && !nvme_drives_is_empty(control->options.drives);

	if (control->nvme_options || told)
		config_add(writer, "bdev_nvme_set_options", nvme_options_copy(control));
	nvme_drives_for_each(control->options.drives, nvme_attachment_write_config, writer);
}

const struct rpc_method nvme_option_methods[] = {
	{"bdev_nvme_set_options", RPC_ANY_STATE, bdev_nvme_set_options, nvme_options_table,
		sizeof(struct nvme_options_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{0},
};
