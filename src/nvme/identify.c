/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a controller is (base 5.17.2.1), and the features that the driver sets (5.27): the number of
 * queues and which events are told. The write cache stays as it is found: where there is one a
 * FLUSH is always sent. All numbers that a controller answers are checked before they are used: a
 * drive is as foreign as a guest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "nvme/controller_impl.h"
#include "nvme/qpair.h"

#define NVME_MDTS_MAX 20 /* 4 GiB: more than any limit of ours */

/* ---- commands ----------------------------------------------------------- */

void nvme_identify(struct nvme_controller *controller, struct nvme_admin_command *command,
	unsigned cns, uint32_t nsid, void *ret_data, done_fn done, void *arg)
{
	*command = (struct nvme_admin_command){
		.sqe = {.opcode = NVME_ADMIN_IDENTIFY, .nsid = nsid, .cdw10 = cns},
		.data = ret_data,
		.data_bytes = NVME_IDENTIFY_BYTES,
	};
	nvme_admin_submit(controller, command, done, arg);
}

static void nvme_set_feature(struct nvme_controller *controller, struct nvme_admin_command *command,
	unsigned feature, uint32_t value, done_fn done, void *arg)
{
	*command = (struct nvme_admin_command){
		.sqe = {.opcode = NVME_ADMIN_SET_FEATURES, .cdw10 = feature, .cdw11 = value},
	};
	nvme_admin_submit(controller, command, done, arg);
}

void nvme_read_log(struct nvme_controller *controller, struct nvme_admin_command *command,
	unsigned page, void *buf, unsigned bytes, done_fn done, void *arg)
{
	*command = (struct nvme_admin_command){
		.sqe = {.opcode = NVME_ADMIN_GET_LOG_PAGE,
			.nsid = NVME_NSID_ALL,
			.cdw10 = NVME_LOG_CDW10(page, bytes)},
		.data = buf,
		.data_bytes = bytes,
	};
	nvme_admin_submit(controller, command, done, arg);
}

void nvme_controller_read_log(struct nvme_controller *controller, unsigned page, void *buf,
	unsigned bytes, done_fn done, void *arg)
{
	nvme_read_log(controller, &controller->read_log, page, buf, bytes, done, arg);
}

/* ---- the controller ----------------------------------------------------- */

struct nvme_configure_op {
	struct flow flow;
	struct nvme_controller *controller;
	struct nvme_admin_command command;
	struct nvme_identify_controller identity;
	uint32_t wanted;
	struct reason *reason;
	done_fn done;
	void *arg;
};

/* Of the first time all is kept; later it must be the same drive. */
static int nvme_identity_take(struct nvme_configure_op *op)
{
	struct nvme_controller *controller = op->controller;
	struct nvme_identify_controller *known = &controller->identity;

	if (controller->state != NVME_OPENING &&
		(memcmp(known->sn, op->identity.sn, sizeof(known->sn)) != 0 ||
			memcmp(known->mn, op->identity.mn, sizeof(known->mn)) != 0))
		return reason_set(op->reason, -ENODEV,
			"%s is another drive now: detach the old one and attach this",
			controller->transport->address);
	*known = op->identity;
	controller->write_cache = known->vwc & NVME_VWC_PRESENT;
	controller->transfer_max = NVME_TRANSFER_MAX;
	if (known->mdts && known->mdts < NVME_MDTS_MAX)
		controller->transfer_max =
			(uint32_t)u64_min(NVME_TRANSFER_MAX, (uint64_t)NVME_PAGE << known->mdts);
	controller->entries =
		(unsigned)u64_min(NVME_QPAIR_ENTRIES, NVME_CAP_MQES(controller->cap) + 1);
	return 0;
}

static unsigned nvme_queues_wanted(const struct nvme_controller *controller)
{
	unsigned doorbell = 2 * (4u << NVME_CAP_DSTRD(controller->cap));
	unsigned reachable = controller->transport->doorbells_bytes / doorbell;
	unsigned wanted = (unsigned)u64_min(controller->options.io_queues, NVME_QUEUES_MAX - 1);

	if (controller->state != NVME_OPENING)
		return controller->io_queues; /* those that are open must fit again */
	return (unsigned)u64_max(1, u64_min(wanted, reachable - 1));
}

static int nvme_queues_take(struct nvme_configure_op *op)
{
	struct nvme_controller *controller = op->controller;
	uint32_t granted = op->command.cqe.dw0;
	unsigned count = (unsigned)u64_min((granted & 0xffff) + 1, (granted >> 16) + 1);

	count = (unsigned)u64_min(count, op->wanted);
	if (controller->state != NVME_OPENING && count < controller->io_queues)
		return reason_set(op->reason, -EIO, "%s has fewer queues after its reset",
			controller->transport->address);
	controller->io_queues = count;
	return 0;
}

static enum flow_result nvme_configure_run(struct flow *f)
{
	struct nvme_configure_op *op = container_of(f, struct nvme_configure_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, nvme_identify(op->controller, &op->command, NVME_CNS_CONTROLLER, 0, &op->identity,
			 flow_resume, f));
	if (flow_failed(f))
		goto finish;
	flow_fail(f, nvme_identity_take(op));
	if (flow_failed(f))
		goto finish;
	op->wanted = nvme_queues_wanted(op->controller);
	AWAIT(f, nvme_set_feature(op->controller, &op->command, NVME_FEATURE_QUEUES,
			 (op->wanted - 1) << 16 | (op->wanted - 1), flow_resume, f));
	if (flow_failed(f))
		goto finish;
	flow_fail(f, nvme_queues_take(op));
	if (flow_failed(f))
		goto finish;
	/* One that knows no events has none. */
	AWAIT(f, nvme_set_feature(op->controller, &op->command, NVME_FEATURE_ASYNC_EVENTS,
			 NVME_EVENTS_HEALTH | (op->identity.oaes & (NVME_EVENTS_NAMESPACES |
									   NVME_EVENTS_FIRMWARE)),
			 flow_resume, f));
	f->error = op->controller->admin.running ? 0 : -EIO;
	if (!f->error)
		nvme_events_start(op->controller);
finish:
	if (f->error)
		reason_set(op->reason, f->error, "%s cannot be set up: %s",
			op->controller->transport->address, strerror(-f->error));
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void nvme_configure(
	struct nvme_controller *controller, struct reason *reason, done_fn done, void *arg)
{
	struct nvme_configure_op *op = alloc_op(sizeof(*op));

	op->controller = controller;
	op->reason = reason;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, controller->control, "nvme_configure", nvme_configure_run);
}
