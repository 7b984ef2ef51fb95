/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vhost_create_blk_controller, vhost_create_scsi_controller, vhost_start_scsi_controller,
 * vhost_scsi_controller_add_target, vhost_scsi_controller_remove_target, vhost_delete_controller,
 * and virtio_blk_create_transport. (The listings are in vhost_list.c,
 * what is about queues in vhost_queues.c.)
 *
 * Every failure has the code -32602 and the C library's text, as clients know it.
 *
 * vhost_delete_controller disconnects a front-end that is still there and answers; it does not
 * wait for the guest to leave.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/control_impl.h"

void vhost_answer(struct rpc_request *request, int rc, const struct reason *reason)
{
	if (rc)
		rpc_request_fail_code(request, RPC_INVALID_PARAMS, rc, reason);
	else
		rpc_request_finish(request, NULL);
}

/* A mask within the application's. *ret_cpus: NULL where it means all data reactors. */
static int cpumask_read(const struct control *control, const char *text, struct cpu_set *set,
	const struct cpu_set **ret_cpus, struct reason *reason)
{
	char all[CPUS_MAX / 4 + 1];

	*ret_cpus = NULL;
	if (!text)
		return 0;
	if (cpu_set_parse(text, set))
		return reason_set(reason, -EINVAL,
			"'%s' is no set of CPUs: give a mask (0x3) or a list ([0-1])", text);
	for (size_t i = 0; i < ARRAY_SIZE(set->bits); i++) {
		if (set->bits[i] & ~control->options.cpus.bits[i]) {
			cpu_set_format(&control->options.cpus, all, sizeof(all));
			return reason_set(reason, -EINVAL,
				"cpumask %s is not within the daemon's own, 0x%s", text, all);
		}
	}
	/* Threads that are not pinned are on no CPU that could be chosen. */
	if (control->options.pinned)
		*ret_cpus = set;
	return 0;
}

/* What becomes of a request that finds no space. */
static int when_full_read(const char *text, bool *ret_waits, struct reason *reason)
{
	*ret_waits = strcmp(text, "wait") == 0;
	if (*ret_waits || strcmp(text, "error") == 0)
		return 0;
	return reason_set(reason, -EINVAL,
		"when_full is wait or error, not %s: whether a write that finds no space waits for "
		"it or fails",
		text);
}

/* ---- create -------------------------------------------------------------------------------- */

struct create_blk_params {
	const char *ctrlr;
	const char *dev_name;
	const char *cpumask;
	const char *transport;
	const char *when_full; /* ours */
	bool readonly;
	bool packed_ring; /* changes nothing: packed rings are always offered */
};

static const struct rpc_param create_blk_table[] = {
	{PARAM(RPC_STRING, create_blk_params, ctrlr), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, create_blk_params, dev_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_BOOL, create_blk_params, readonly)},
	{PARAM(RPC_BOOL, create_blk_params, packed_ring)},
	{PARAM(RPC_STRING, create_blk_params, cpumask)},
	{PARAM(RPC_STRING, create_blk_params, transport), .text = "vhost_user_blk"},
	{PARAM(RPC_STRING, create_blk_params, when_full), .text = "wait"},
	{0},
};

static void vhost_create_blk_controller(
	struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct create_blk_params *wanted = params;
	struct vhost_blk_options options = {
		.name = wanted->ctrlr,
		.bdev_name = wanted->dev_name,
		.read_only = wanted->readonly,
	};
	struct vhost_controller *controller;
	struct reason reason = {0};
	struct cpu_set cpus = {0};
	bool waits = true;
	int rc = cpumask_read(control, wanted->cpumask, &cpus, &options.cpus, &reason);

	if (!rc)
		rc = when_full_read(wanted->when_full, &waits, &reason);
	options.fails_when_full = !waits;
	if (!rc && strcmp(wanted->transport, "vhost_user_blk") != 0)
		rc = reason_set(&reason, -EINVAL, "there is no transport %s: use vhost_user_blk",
			wanted->transport);
	if (!rc)
		rc = vhost_blk_create(control->options.vhost, &options, &reason, &controller);
	vhost_answer(request, rc, &reason);
}

struct create_scsi_params {
	const char *ctrlr;
	const char *cpumask;
	const char *when_full; /* ours */
	bool delay;
};

static const struct rpc_param create_scsi_table[] = {
	{PARAM(RPC_STRING, create_scsi_params, ctrlr), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, create_scsi_params, cpumask)},
	{PARAM(RPC_BOOL, create_scsi_params, delay)},
	{PARAM(RPC_STRING, create_scsi_params, when_full), .text = "error"},
	{0},
};

static void vhost_create_scsi_controller(
	struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct create_scsi_params *wanted = params;
	struct vhost_scsi_options options = {.name = wanted->ctrlr, .delay = wanted->delay};
	struct vhost_controller *controller;
	struct reason reason = {0};
	struct cpu_set cpus = {0};
	int rc = cpumask_read(control, wanted->cpumask, &cpus, &options.cpus, &reason);

	if (!rc)
		rc = when_full_read(wanted->when_full, &options.waits_for_space, &reason);
	if (!rc)
		rc = vhost_scsi_create(control->options.vhost, &options, &reason, &controller);
	vhost_answer(request, rc, &reason);
}

/* ---- existing controllers ------------------------------------------------------------------ */

struct vhost_controller *vhost_controller_find_or_fail(
	struct control *control, struct rpc_request *request, const char *name)
{
	struct vhost_controller *controller = vhost_controller_find(control->options.vhost, name);
	struct reason reason = {0};

	if (!controller) {
		reason_set(&reason, -ENODEV,
			"there is no controller %s: vhost_get_controllers lists those there are",
			name);
		vhost_answer(request, -ENODEV, &reason);
	}
	return controller;
}

struct ctrlr_params {
	const char *ctrlr;
};

static const struct rpc_param ctrlr_table[] = {
	{PARAM(RPC_STRING, ctrlr_params, ctrlr), .flags = RPC_REQUIRED},
	{0},
};

static void vhost_start_scsi_controller(
	struct rpc_request *request, const void *params, void *context)
{
	const struct ctrlr_params *wanted = params;
	struct vhost_controller *controller =
		vhost_controller_find_or_fail(context, request, wanted->ctrlr);
	struct reason reason = {0};

	if (controller)
		vhost_answer(request, vhost_scsi_start(controller, &reason), &reason);
}

static void controller_deleted(void *arg, int rc)
{
	vhost_answer(arg, rc, NULL);
}

static void vhost_delete_controller(struct rpc_request *request, const void *params, void *context)
{
	const struct ctrlr_params *wanted = params;
	struct vhost_controller *controller =
		vhost_controller_find_or_fail(context, request, wanted->ctrlr);

	if (controller)
		vhost_controller_delete(controller, controller_deleted, request);
}

/* ---- targets ------------------------------------------------------------------------------- */

struct target_call {
	struct rpc_request *request;
	struct reason reason;
};

static struct target_call *target_call_create(struct rpc_request *request)
{
	struct target_call *call = calloc(1, sizeof(*call));

	if (call)
		call->request = request;
	else
		vhost_answer(request, -ENOMEM, NULL);
	return call;
}

/* lun, readonly, removable and short_cdbs are ours: clients that do not know them get what they
 * know, one LUN for each target, a disk. */
#define LUN_UNSAID INT32_MIN

struct add_target_params {
	const char *ctrlr;
	const char *bdev_name;
	int32_t scsi_target_num;
	int32_t lun;
	bool readonly;
	bool removable;
	bool short_cdbs;
};

static const struct rpc_param add_target_table[] = {
	{PARAM(RPC_STRING, add_target_params, ctrlr), .flags = RPC_REQUIRED},
	{PARAM(RPC_I32, add_target_params, scsi_target_num), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, add_target_params, bdev_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_I32, add_target_params, lun), .value = LUN_UNSAID},
	{PARAM(RPC_BOOL, add_target_params, readonly)},
	{PARAM(RPC_BOOL, add_target_params, removable)},
	{PARAM(RPC_BOOL, add_target_params, short_cdbs)},
	{0},
};

/* False and answered: no such LUN can be. */
static bool lun_read(struct rpc_request *request, int32_t wanted, int *ret_lun)
{
	struct reason reason = {0};

	*ret_lun = wanted == LUN_UNSAID ? VHOST_SCSI_LUN_UNSAID : wanted;
	if (wanted == LUN_UNSAID || (wanted >= 0 && wanted < VHOST_SCSI_LUNS_MAX))
		return true;
	reason_set(&reason, -EINVAL, "there is no LUN %d: LUNs are 0 to %d", wanted,
		VHOST_SCSI_LUNS_MAX - 1);
	vhost_answer(request, -EINVAL, &reason);
	return false;
}

static void target_added(void *arg, int rc)
{
	struct target_call *call = arg;

	if (rc < 0)
		vhost_answer(call->request, rc, &call->reason);
	else
		rpc_request_finish(call->request, json_integer(rc));
	free(call);
}

static void vhost_scsi_controller_add_target(
	struct rpc_request *request, const void *params, void *context)
{
	const struct add_target_params *wanted = params;
	struct vhost_controller *controller =
		vhost_controller_find_or_fail(context, request, wanted->ctrlr);
	struct vhost_scsi_lun_options options;
	struct target_call *call;

	if (!controller) /* the request has gone with its answer */
		return;
	options = (struct vhost_scsi_lun_options){
		.target = wanted->scsi_target_num,
		.bdev_name = wanted->bdev_name,
		.read_only = wanted->readonly,
		.removable = wanted->removable,
		.short_cdbs = wanted->short_cdbs,
	};
	if (!lun_read(request, wanted->lun, &options.lun))
		return;
	if (wanted->scsi_target_num < -1) {
		vhost_answer(request, -EINVAL, NULL);
		return;
	}
	call = target_call_create(request);
	if (call)
		vhost_scsi_add_lun(controller, &options, &call->reason, target_added, call);
}

struct remove_target_params {
	const char *ctrlr;
	uint32_t scsi_target_num;
	int32_t lun;
};

static const struct rpc_param remove_target_table[] = {
	{PARAM(RPC_STRING, remove_target_params, ctrlr), .flags = RPC_REQUIRED},
	{PARAM(RPC_U32, remove_target_params, scsi_target_num), .flags = RPC_REQUIRED},
	{PARAM(RPC_I32, remove_target_params, lun), .value = LUN_UNSAID},
	{0},
};

static void target_removed(void *arg, int rc)
{
	struct target_call *call = arg;

	vhost_answer(call->request, rc, &call->reason);
	free(call);
}

static void vhost_scsi_controller_remove_target(
	struct rpc_request *request, const void *params, void *context)
{
	const struct remove_target_params *wanted = params;
	struct vhost_controller *controller =
		vhost_controller_find_or_fail(context, request, wanted->ctrlr);
	struct target_call *call;
	int lun;

	if (!controller || !lun_read(request, wanted->lun, &lun))
		return;
	call = target_call_create(request);
	if (call)
		vhost_scsi_remove_target(controller, wanted->scsi_target_num, lun, &call->reason,
			target_removed, call);
}

/* ---- transports ---------------------------------------------------------------------------- */

struct transport_params {
	const char *name;
};

static const struct rpc_param transport_table[] = {
	{PARAM(RPC_STRING, transport_params, name), .flags = RPC_REQUIRED},
	{0},
};

/* There is one transport and it exists from the start. */
static void virtio_blk_create_transport(
	struct rpc_request *request, const void *params, void *context)
{
	const struct transport_params *wanted = params;

	rpc_request_fail(
		request, strcmp(wanted->name, "vhost_user_blk") == 0 ? -EEXIST : -ENOENT, NULL);
}

const struct rpc_method vhost_methods[] = {
	{"vhost_create_blk_controller", RPC_RUNTIME, vhost_create_blk_controller, create_blk_table,
		sizeof(struct create_blk_params), .ignores_unknown = true,
		.changes_configuration = true, .decode_error = VHOST_DECODE_ERROR},
	{"vhost_create_scsi_controller", RPC_RUNTIME, vhost_create_scsi_controller,
		create_scsi_table, sizeof(struct create_scsi_params), .changes_configuration = true,
		.decode_error = VHOST_DECODE_ERROR},
	{"vhost_start_scsi_controller", RPC_RUNTIME, vhost_start_scsi_controller, ctrlr_table,
		sizeof(struct ctrlr_params), .changes_configuration = true,
		.decode_error = VHOST_DECODE_ERROR},
	{"vhost_scsi_controller_add_target", RPC_RUNTIME, vhost_scsi_controller_add_target,
		add_target_table, sizeof(struct add_target_params), .changes_configuration = true,
		.decode_error = VHOST_DECODE_ERROR},
	{"vhost_scsi_controller_remove_target", RPC_RUNTIME, vhost_scsi_controller_remove_target,
		remove_target_table, sizeof(struct remove_target_params),
		.changes_configuration = true, .decode_error = VHOST_DECODE_ERROR},
	{"vhost_delete_controller", RPC_RUNTIME, vhost_delete_controller, ctrlr_table,
		sizeof(struct ctrlr_params), .changes_configuration = true,
		.decode_error = VHOST_DECODE_ERROR},
	{"virtio_blk_create_transport", RPC_RUNTIME, virtio_blk_create_transport, transport_table,
		sizeof(struct transport_params), .ignores_unknown = true,
		.decode_error = {-EINVAL, "Invalid argument"}},
	{0},
};
