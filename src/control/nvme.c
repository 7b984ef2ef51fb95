/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bdev_nvme_attach_controller, bdev_nvme_detach_controller, bdev_nvme_reset_controller.
 *
 * Drives are PCI functions (trtype PCIe): another trtype is as good as a device that is not there.
 * A name has one path to its drive, so parameters about several paths, about networks and about
 * protection information are accepted as long as they ask for nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/pci.h"
#include "control/nvme_impl.h"

#define NVME_TRADDR_MAX 256
#define NVME_QUEUES_END 65536u

/* ---- attach -------------------------------------------------------------------------------- */

enum { MULTIPATH_UNSAID = -1, MULTIPATH_DISABLE };

struct nvme_attach_params {
	const char *name;
	const char *trtype;
	const char *traddr;
	const char *adrfam;
	const char *trsvcid;
	const char *priority;
	const char *subnqn;
	const char *hostnqn;
	const char *hostaddr;
	const char *hostsvcid;
	bool prchk_reftag;
	bool prchk_guard;
	bool hdgst;
	bool ddgst;
	uint64_t fabrics_connect_timeout_us;
	int multipath;
	uint32_t num_io_queues;
	int32_t ctrlr_loss_timeout_sec;
	uint32_t reconnect_delay_sec;
	uint32_t fast_io_fail_timeout_sec;
	const char *psk;
	uint32_t max_bdevs;
	const char *dhchap_key;
	const char *dhchap_ctrlr_key;
	bool allow_unrecognized_csi;
	const json_t *multipath_opts;
};

static const char *const multipath_names[] = {
	[MULTIPATH_DISABLE] = "disable", "failover", "multipath", NULL};

static const struct rpc_param nvme_attach_table[] = {
	{PARAM(RPC_STRING, nvme_attach_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, nvme_attach_params, trtype), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, nvme_attach_params, traddr), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, nvme_attach_params, adrfam)},
	{PARAM(RPC_STRING, nvme_attach_params, trsvcid)},
	{PARAM(RPC_STRING, nvme_attach_params, priority)},
	{PARAM(RPC_STRING, nvme_attach_params, subnqn)},
	{PARAM(RPC_STRING, nvme_attach_params, hostnqn)},
	{PARAM(RPC_STRING, nvme_attach_params, hostaddr)},
	{PARAM(RPC_STRING, nvme_attach_params, hostsvcid)},
	{PARAM(RPC_BOOL, nvme_attach_params, prchk_reftag)},
	{PARAM(RPC_BOOL, nvme_attach_params, prchk_guard)},
	{PARAM(RPC_BOOL, nvme_attach_params, hdgst)},
	{PARAM(RPC_BOOL, nvme_attach_params, ddgst)},
	{PARAM(RPC_U64, nvme_attach_params, fabrics_connect_timeout_us)},
	{PARAM(RPC_ENUM, nvme_attach_params, multipath), .flags = RPC_UNSAID,
		.choices = multipath_names, .value = MULTIPATH_UNSAID},
	{PARAM(RPC_U32, nvme_attach_params, num_io_queues), .value = NVME_IO_QUEUES_DEFAULT},
	{PARAM(RPC_I32, nvme_attach_params, ctrlr_loss_timeout_sec)},
	{PARAM(RPC_U32, nvme_attach_params, reconnect_delay_sec)},
	{PARAM(RPC_U32, nvme_attach_params, fast_io_fail_timeout_sec)},
	{PARAM(RPC_STRING, nvme_attach_params, psk)},
	{PARAM(RPC_U32, nvme_attach_params, max_bdevs), .value = 128},
	{PARAM(RPC_STRING, nvme_attach_params, dhchap_key)},
	{PARAM(RPC_STRING, nvme_attach_params, dhchap_ctrlr_key)},
	{PARAM(RPC_BOOL, nvme_attach_params, allow_unrecognized_csi)},
	{PARAM(RPC_JSON, nvme_attach_params, multipath_opts)},
	{0},
};

struct nvme_call {
	struct flow flow;
	struct control *control;
	struct rpc_request *request;
	struct nvme_attachment *attachment;
	struct bdev *bdev;
	unsigned at;
	json_t *names;
	struct reason reason;
};

static struct nvme_call *nvme_call_create(struct control *control, struct rpc_request *request)
{
	struct nvme_call *call = alloc_op(sizeof(*call));

	call->control = control;
	call->request = request;
	return call;
}

static void nvme_refuse(struct rpc_request *request, const char *what, const char *value)
{
	char text[128];

	snprintf(text, sizeof(text), "%s%.64s", what, value);
	rpc_request_fail_text(request, -EINVAL, text, NULL);
}

/* False and answered: what cannot be in any case. */
static bool nvme_attach_check(
	struct rpc_request *request, const struct nvme_attach_params *wanted, struct reason *reason)
{
	if (wanted->adrfam && strcasecmp(wanted->adrfam, "IPv4") != 0 &&
		strcasecmp(wanted->adrfam, "IPv6") != 0 && strcasecmp(wanted->adrfam, "IB") != 0 &&
		strcasecmp(wanted->adrfam, "FC") != 0) {
		nvme_refuse(request, "Failed to parse adrfam: ", wanted->adrfam);
	} else if (strlen(wanted->traddr) > NVME_TRADDR_MAX) {
		nvme_refuse(request, "traddr too long: ", wanted->traddr);
	} else if (wanted->num_io_queues < 1 || wanted->num_io_queues > NVME_QUEUES_END) {
		nvme_refuse(request, "", "num_io_queues out of bounds, min: 1 max: 65536");
	} else if (wanted->max_bdevs == 0) {
		nvme_refuse(request, "", "max_bdevs cannot be zero");
	} else if (wanted->prchk_reftag || wanted->prchk_guard) {
		reason_set(reason, -EINVAL,
			"namespaces with protection information are not used here: leave out "
			"prchk_reftag and prchk_guard");
		rpc_request_fail(request, -EINVAL, reason);
	} else {
		return true;
	}
	return false;
}

/* What one name has already, or what is at the address, decides the text. */
static void nvme_attach_refuse_name(struct rpc_request *request,
	const struct nvme_attach_params *wanted, const struct nvme_attachment *there,
	const char *address)
{
	struct reason reason = {0};
	char text[192];
	bool same = strcasecmp(there->address, address) == 0;

	snprintf(text, sizeof(text), "A controller named %.64s already exists %s", wanted->name,
		same ? "with the specified network path" : "and multipath is disabled");
	reason_set(&reason, -EALREADY, "%s is the drive at %s: a drive has one path here",
		there->name, there->address);
	rpc_request_fail_text(request, -EALREADY, text, &reason);
}

static json_t *nvme_bdev_names(const struct nvme_call *call)
{
	json_t *names = json_array();
	const struct bdev *bdev;

	for (unsigned i = 0; (bdev = nvme_drive_bdev(call->attachment->drive, i)); i++)
		json_array_append_new(names, json_string(bdev->name));
	return names;
}

static void nvme_attach_fail(struct nvme_call *call, int rc)
{
	int code = -EIO;

	if (rc == -ENOENT || rc == -ENODEV)
		code = -ENODEV;
	else if (rc == -EALREADY || rc == -ENOMEM)
		code = rc;
	if (!call->reason.text[0])
		reason_set(&call->reason, rc, "the drive cannot be used: %s", strerror(-rc));
	rpc_request_fail(call->request, code, &call->reason);
}

static void nvme_examined(void *arg, int rc)
{
	struct nvme_call *call = arg;

	rpc_request_finish(call->request, call->names);
	free(call);
}

static void nvme_attached_done(void *arg, int rc)
{
	struct nvme_call *call = arg;

	if (rc) {
		nvme_attach_fail(call, rc);
		free(call);
		return;
	}
	call->names = nvme_bdev_names(call); /* it may be gone again when they are examined */
	lvols_wait_examined(call->control->options.lvols, nvme_examined, call);
}

static void bdev_nvme_attach_controller(
	struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	struct nvme_drives *drives = control->options.drives;
	const struct nvme_attach_params *wanted = params;
	const struct nvme_kind *kind = nvme_drives_kind(drives, wanted->trtype);
	const struct nvme_attachment *there = nvme_drives_find(drives, wanted->name);
	struct nvme_options options;
	char address[PCI_ADDRESS_SIZE];
	struct reason reason = {0};
	struct nvme_call *call;

	if (!nvme_attach_check(request, wanted, &reason))
		return;
	if (!kind || pci_address_parse(wanted->traddr, address)) {
		reason_set(&reason, -ENODEV,
			"only drives on PCI can be attached: trtype PCIe, traddr like "
			"0000:01:00.0");
		rpc_request_fail(request, -ENODEV, &reason);
		return;
	}
	if (there) {
		nvme_attach_refuse_name(request, wanted, there, address);
		return;
	}
	nvme_options_fill(control, &options);
	options.io_queues = wanted->num_io_queues;
	call = nvme_call_create(control, request);
	nvme_drives_attach(drives, kind, wanted->name, address, &options, &call->reason,
		&call->attachment, nvme_attached_done, call);
}

/* ---- detach -------------------------------------------------------------------------------- */

struct nvme_attachment *nvme_attached(struct control *control, const char *name)
{
	struct nvme_attachment *attachment = nvme_drives_find(control->options.drives, name);

	return attachment && attachment->state == NVME_ATTACHED ? attachment : NULL;
}

struct nvme_detach_params {
	const char *name;
	const char *trtype;
	const char *traddr;
	const char *adrfam;
	const char *trsvcid;
	const char *subnqn;
	const char *hostaddr;
	const char *hostsvcid;
};

static const struct rpc_param nvme_detach_table[] = {
	{PARAM(RPC_STRING, nvme_detach_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, nvme_detach_params, trtype)},
	{PARAM(RPC_STRING, nvme_detach_params, traddr)},
	{PARAM(RPC_STRING, nvme_detach_params, adrfam)},
	{PARAM(RPC_STRING, nvme_detach_params, trsvcid)},
	{PARAM(RPC_STRING, nvme_detach_params, subnqn)},
	{PARAM(RPC_STRING, nvme_detach_params, hostaddr)},
	{PARAM(RPC_STRING, nvme_detach_params, hostsvcid)},
	{0},
};

static bool nvme_path_matches(
	const struct nvme_attachment *attachment, const struct nvme_detach_params *wanted)
{
	char address[PCI_ADDRESS_SIZE];

	if (wanted->trtype && strcasecmp(wanted->trtype, attachment->kind->type) != 0)
		return false;
	if (wanted->traddr && (pci_address_parse(wanted->traddr, address) ||
				      strcasecmp(address, attachment->address) != 0))
		return false;
	return !wanted->trsvcid && !wanted->subnqn && !wanted->hostaddr && !wanted->hostsvcid;
}

static enum flow_result nvme_detach_run(struct flow *f)
{
	struct nvme_call *call = container_of(f, struct nvme_call, flow);

	FLOW_BEGIN(f);
	for (call->at = 0; (call->bdev = nvme_drive_bdev(call->attachment->drive, call->at));
		call->at++) {
		bdev_operation_begin(call->bdev);
		AWAIT(f, bdev_leave_stores(call->control, call->bdev, flow_resume, f));
		bdev_operation_end(call->bdev);
	}
	AWAIT(f, nvme_drives_detach(call->attachment, flow_resume, f));
	rpc_request_finish(call->request, NULL);
	free(call);
	FLOW_END(f);
}

static void nvme_fail_unknown(struct rpc_request *request, const char *name)
{
	struct reason reason = {0};

	reason_set(&reason, -ENODEV,
		"there is no drive %s: bdev_nvme_get_controllers lists those there are", name);
	rpc_request_fail(request, -ENODEV, &reason);
}

static void bdev_nvme_detach_controller(
	struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct nvme_detach_params *wanted = params;
	struct nvme_attachment *attachment = nvme_attached(control, wanted->name);
	struct nvme_call *call;

	if (!attachment) {
		nvme_fail_unknown(request, wanted->name);
		return;
	}
	if (!nvme_path_matches(attachment, wanted)) {
		rpc_request_fail(request, -ENXIO, NULL);
		return;
	}
	attachment->state = NVME_DETACHING;
	call = nvme_call_create(control, request);
	call->attachment = attachment;
	flow_start(&call->flow, control->options.control, "nvme_detach", nvme_detach_run);
}

/* ---- reset --------------------------------------------------------------------------------- */

struct nvme_reset_params {
	const char *name;
	uint16_t cntlid;
};

static const struct rpc_param nvme_reset_table[] = {
	{PARAM(RPC_STRING, nvme_reset_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_U16, nvme_reset_params, cntlid)},
	{0},
};

static void nvme_was_reset(void *arg, int rc)
{
	struct nvme_call *call = arg;

	if (rc)
		rpc_request_fail(call->request, rc, &call->reason);
	else
		rpc_request_finish(call->request, NULL);
	free(call);
}

static void bdev_nvme_reset_controller(
	struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct nvme_reset_params *wanted = params;
	struct nvme_attachment *attachment = nvme_attached(control, wanted->name);
	struct nvme_call *call;

	if (!attachment) {
		nvme_fail_unknown(request, wanted->name);
		return;
	}
	call = nvme_call_create(control, request);
	nvme_drive_reset(attachment->drive, &call->reason, nvme_was_reset, call);
}

const struct rpc_method nvme_methods[] = {
	{"bdev_nvme_attach_controller", RPC_RUNTIME, bdev_nvme_attach_controller, nvme_attach_table,
		sizeof(struct nvme_attach_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{"bdev_nvme_detach_controller", RPC_RUNTIME, bdev_nvme_detach_controller, nvme_detach_table,
		sizeof(struct nvme_detach_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{"bdev_nvme_reset_controller", RPC_RUNTIME, bdev_nvme_reset_controller, nvme_reset_table,
		sizeof(struct nvme_reset_params), .decode_error = RPC_DECODE_ERROR},
	{0},
};
