/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Write claims: every logical unit's block device is claimed before the first ring starts and given
 * up after the last has stopped (the design's "Claims"). Control reactor.
 *
 * A claim that is refused does not stop the other logical units. That unit is not ready
 * (02h/04h/01h, "becoming ready", which guests wait for) and the claim is tried again: the usual
 * holder is the process before this one, whose lock lives until its last I/O has ended. Not even
 * reading is allowed meanwhile, since what is read would be remembered.
 */
#include <stdlib.h>

#include "vhost/scsi_impl.h"

#define CLAIM_RETRY_NS (100 * MSEC_NS)

struct claim_op {
	struct flow flow;
	struct bdev_gate_turn turn;
	struct scsi_device *device;
	struct scsi_unit *unit;
	unsigned refused;
	bool retry;
	struct reason reason;
	done_fn done;
	void *arg;
};

bool scsi_attachment_wants_claim(const struct scsi_attachment *attachment)
{
	return attachment->user.claim == BDEV_CLAIM_NONE && !attachment->read_only &&
	       !attachment->user.bdev->read_only;
}

static struct bdev_user *claim_op_user(const struct claim_op *op)
{
	return &op->unit->attachment->user;
}

/* A unit that is being removed gives up what it has, and needs no more. */
static bool claim_op_is_wanted(const struct claim_op *op)
{
	return op->unit->state == SCSI_UNIT_PRESENT &&
	       scsi_attachment_wants_claim(op->unit->attachment);
}

static void claim_refused(struct claim_op *op, int rc)
{
	const struct scsi_unit *unit = op->unit;

	op->refused++;
	atomic_fetch_or_explicit(
		&unit->attachment->attention, SCSI_ATTENTION_NOT_READY, memory_order_release);
	if (!op->retry)
		log_warning("%s: LUN %u of target %u is not ready: %s", op->device->name,
			unit->attachment->number, unit->slot->target->number,
			reason_text(&op->reason, rc));
	op->reason.text[0] = '\0';
}

static void claim_granted(struct claim_op *op)
{
	const struct scsi_unit *unit = op->unit;

	atomic_fetch_and_explicit(
		&unit->attachment->attention, ~SCSI_ATTENTION_NOT_READY, memory_order_release);
	if (op->retry)
		log_notice("%s: LUN %u of target %u is ready now", op->device->name,
			unit->attachment->number, unit->slot->target->number);
}

static enum flow_result claim_run(struct flow *f)
{
	struct claim_op *op = container_of(f, struct claim_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->device->gate, &op->turn, flow_resume, f));
	if (op->retry && !op->device->claimed)
		goto finish;
	for_each_unit(op->device, op->unit)
	{
		if (!claim_op_is_wanted(op))
			continue;
		AWAIT(f, bdev_claim(claim_op_user(op), BDEV_CLAIM_SHARED_WRITE, &op->reason,
				 flow_resume, f));
		if (flow_failed(f))
			claim_refused(op, f->rc);
		else
			claim_granted(op);
	}
	op->device->claimed = true;
	if (op->refused)
		timer_start(f->reactor, &op->device->claim_retry, CLAIM_RETRY_NS);
finish:
	if (op->retry)
		op->device->claim_retrying = false;
	bdev_gate_leave(&op->device->gate);
	if (op->done)
		op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

void scsi_device_claim(struct vhost_device *device, struct reason *reason, done_fn done, void *arg)
{
	struct claim_op *op = scsi_op_alloc(sizeof(*op));

	op->device = scsi_device_of(device);
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, op->device->control, "scsi_claim", claim_run);
}

static void claim_retry(struct timer *timer)
{
	struct scsi_device *device = container_of(timer, struct scsi_device, claim_retry);
	struct claim_op *op;

	if (device->claim_retrying)
		return;
	device->claim_retrying = true;
	op = scsi_op_alloc(sizeof(*op));
	op->device = device;
	op->retry = true;
	flow_start(&op->flow, device->control, "scsi_claim_retry", claim_run);
}

void scsi_claim_init(struct scsi_device *device)
{
	device->claim_retry.fired = claim_retry;
}

/* ---- release ------------------------------------------------------------------------------ */

static void release_forget_refusal(struct claim_op *op)
{
	atomic_fetch_and_explicit(
		&op->unit->attachment->attention, ~SCSI_ATTENTION_NOT_READY, memory_order_release);
}

static enum flow_result release_run(struct flow *f)
{
	struct claim_op *op = container_of(f, struct claim_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->device->gate, &op->turn, flow_resume, f));
	op->device->claimed = false;
	timer_stop(f->reactor, &op->device->claim_retry);
	for_each_unit(op->device, op->unit)
	{
		release_forget_refusal(op);
		AWAIT(f, bdev_release(claim_op_user(op), flow_resume, f));
	}
	bdev_gate_leave(&op->device->gate);
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

void scsi_device_release(struct vhost_device *device, done_fn done, void *arg)
{
	struct claim_op *op = scsi_op_alloc(sizeof(*op));

	op->device = scsi_device_of(device);
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, op->device->control, "scsi_release", release_run);
}
