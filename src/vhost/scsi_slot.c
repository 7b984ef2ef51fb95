/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Targets come and go while the guest runs. Control reactor.
 *
 *	ADDING --on every reactor--> PRESENT --remove, or its device goes--> REMOVING --> freed
 *	   +---(failed)--> freed
 *
 * Adding: take the write claim if rings run, open channels on every reactor that has rings, put the
 * target into the tables, tell the guest.
 *
 * Removing: tell the guest and give it a moment to finish with the disk (Linux flushes the cache of
 * a disk that goes), take the target out of the tables - from then on commands are answered
 * BAD_TARGET -, wait for the commands in flight, close. The moment is bounded and is given only to
 * a guest that can have heard, and not when the block device is going anyway. Waiting for commands
 * happens outside the gate: a block device that does not answer holds up only its own removal.
 */
#include <errno.h>
#include <stdlib.h>

#include "vhost/scsi_impl.h"

#define REMOVAL_GRACE_NS (100 * MSEC_NS)

struct slot_op {
	struct flow flow;
	struct bdev_gate_turn turn;
	struct timer grace;
	struct scsi_device *device;
	struct scsi_slot *slot;
	struct scsi_local *local;
	struct scsi_attachment *attachment;
	struct scsi_target_view *view;
	unsigned number;
	struct reason *reason;
	done_fn done;
	void *arg;
};

static enum flow_result add_run(struct flow *f);
static enum flow_result remove_run(struct flow *f);

static struct slot_op *slot_op_create(
	struct scsi_device *device, unsigned number, done_fn done, void *arg)
{
	struct slot_op *op = scsi_op_alloc(sizeof(*op));

	op->device = device;
	op->number = number;
	op->done = done;
	op->arg = arg;
	return op;
}

/* ---- the slot itself ----------------------------------------------------------------------- */

static void slot_remove(struct scsi_slot *slot, done_fn done, void *arg)
{
	struct slot_op *op = slot_op_create(slot->device, slot->target->number, done, arg);

	slot->state = SCSI_SLOT_REMOVING;
	slot->device->removals++;
	op->slot = slot;
	flow_start(&op->flow, slot->device->control, "scsi_remove_target", remove_run);
}

static void slot_bdev_removed(struct scsi_attachment *attachment)
{
	struct scsi_slot *slot = attachment->owner;

	slot->bdev_gone = true;
	if (slot->state == SCSI_SLOT_PRESENT)
		slot_remove(slot, NULL, NULL);
}

static void slot_bdev_resized(struct scsi_attachment *attachment)
{
	struct scsi_slot *slot = attachment->owner;

	if (slot->state != SCSI_SLOT_PRESENT)
		return;
	/* The code as the reference has it: ASC in the low byte, ASCQ above it. */
	scsi_event_post(slot->device, VIRTIO_SCSI_T_PARAM_CHANGE,
		SCSI_ASC_CAPACITY_CHANGED >> 8 | (SCSI_ASC_CAPACITY_CHANGED & 0xff) << 8,
		slot->target->number, attachment->number);
}

static const struct scsi_attachment_ops slot_attachment_ops = {
	.removed = slot_bdev_removed,
	.resized = slot_bdev_resized,
};

static void slot_free(struct scsi_slot *slot)
{
	struct scsi_target *target = slot->target;

	while (target->lun_count) {
		struct scsi_attachment *attachment = target->luns[0];

		scsi_target_remove_lun(target, attachment);
		scsi_attachment_close(attachment);
	}
	slot->device->slots[target->number] = NULL;
	scsi_target_destroy(target);
	free(slot);
}

/* With the device as LUN 0, in state ADDING. */
static int slot_create(struct scsi_device *device, unsigned number, struct bdev *bdev,
	struct reason *reason, struct scsi_slot **ret_slot)
{
	struct scsi_slot *slot = calloc(1, sizeof(*slot));
	struct scsi_attachment *attachment;
	int rc;

	if (!slot)
		return reason_set(reason, -ENOMEM, "out of memory");
	rc = scsi_target_create(number, &slot->target);
	if (rc) {
		free(slot);
		return reason_set(reason, rc, "no further SCSI target is possible");
	}
	slot->device = device;
	slot->state = SCSI_SLOT_ADDING;
	device->slots[number] = slot;
	rc = scsi_attachment_open(bdev, 0, &slot_attachment_ops, slot, reason, &attachment);
	if (rc)
		goto free_slot;
	rc = scsi_target_add_lun(slot->target, attachment);
	if (rc) {
		scsi_attachment_close(attachment);
		goto free_slot;
	}
	scsi_attention_raise(attachment, SCSI_UA_POWER_ON);
	*ret_slot = slot;
	return 0;

free_slot:
	slot_free(slot);
	return rc;
}

/* ---- steps that both have ------------------------------------------------------------------ */

/* All locals; they change only within the gate. */
#define for_each_local(op)                                                                         \
	for ((op)->local = list_first_entry(&(op)->device->locals, struct scsi_local, link);       \
		&(op)->local->link != &(op)->device->locals;                                       \
		(op)->local = list_first_entry(&(op)->local->link, struct scsi_local, link))

/* The next channel of the slot that is still open; its local. */
static bool slot_op_find_channel(struct slot_op *op)
{
	const struct scsi_target *target = op->slot->target;

	for (unsigned i = 0; i < target->lun_count; i++) {
		struct list *channels = &target->luns[i]->channels;

		if (list_is_empty(channels))
			continue;
		op->local = list_first_entry(channels, struct scsi_lun_channel, link)->fetch_arg;
		return true;
	}
	return false;
}

/* The next logical unit that holds a claim. */
static bool slot_op_find_claimed(struct slot_op *op)
{
	const struct scsi_target *target = op->slot->target;

	for (unsigned i = 0; i < target->lun_count; i++) {
		op->attachment = target->luns[i];
		if (op->attachment->user.claim != BDEV_CLAIM_NONE)
			return true;
	}
	return false;
}

/* ---- adding -------------------------------------------------------------------------------- */

static int add_check(struct scsi_device *device, unsigned number, struct reason *reason)
{
	if (number >= SCSI_DEVICE_TARGETS_MAX)
		return reason_set(reason, -EINVAL, "there is no target %u: the last is %d", number,
			SCSI_DEVICE_TARGETS_MAX - 1);
	if (device->slots[number])
		return reason_set(reason, -EEXIST, "target %u of %s is in use: choose another",
			number, device->name);
	return 0;
}

void scsi_device_add_target(struct vhost_device *device, unsigned target, struct bdev *bdev,
	struct reason *reason, done_fn done, void *arg)
{
	struct scsi_device *scsi = scsi_device_of(device);
	struct slot_op *op = slot_op_create(scsi, target, done, arg);
	int rc;

	op->reason = reason;
	flow_start(&op->flow, scsi->control, "scsi_add_target", add_run);
	rc = add_check(scsi, target, reason);
	if (rc == 0)
		rc = slot_create(scsi, target, bdev, reason, &op->slot);
	if (rc)
		flow_fail(&op->flow, rc);
}

static int add_make_view(struct slot_op *op, struct scsi_target_view **ret_view)
{
	*ret_view = scsi_local_make_view(op->local, op->slot);
	return *ret_view ? 0 : reason_set(op->reason, -ENOMEM, "out of memory");
}

static void add_publish(struct slot_op *op, done_fn done, void *arg)
{
	scsi_local_publish(op->local, op->number, op->view, done, arg);
}

static void add_present(struct slot_op *op)
{
	op->slot->state = SCSI_SLOT_PRESENT;
	scsi_event_post(op->device, VIRTIO_SCSI_T_TRANSPORT_RESET, VIRTIO_SCSI_EVT_RESET_RESCAN,
		op->number, op->slot->target->luns[0]->number);
	if (op->slot->bdev_gone) /* while it was being added */
		slot_remove(op->slot, NULL, NULL);
}

static enum flow_result add_run(struct flow *f)
{
	struct slot_op *op = container_of(f, struct slot_op, flow);

	FLOW_BEGIN(f);
	if (f->error)
		goto finish;
	AWAIT(f, bdev_gate_enter(&op->device->gate, &op->turn, flow_resume, f));
	op->attachment = op->slot->target->luns[0];
	if (op->device->claimed && scsi_attachment_wants_claim(op->attachment)) {
		AWAIT(f, bdev_claim(&op->attachment->user, BDEV_CLAIM_SHARED_WRITE, op->reason,
				 flow_resume, f));
		if (flow_failed(f))
			goto free_slot;
	}
	for_each_local(op)
	{
		AWAIT(f, scsi_local_open_slot(op->local, op->slot, flow_resume, f));
		if (flow_failed(f))
			goto withdraw;
	}
	for_each_local(op)
	{
		flow_fail(f, add_make_view(op, &op->view));
		if (flow_failed(f))
			goto withdraw;
		AWAIT(f, add_publish(op, flow_resume, f));
	}
	add_present(op);
	goto leave;

withdraw:
	for_each_local(op)
	{
		AWAIT(f, scsi_local_publish(op->local, op->number, NULL, flow_resume, f));
		AWAIT(f, scsi_local_close_slot(op->local, op->slot, flow_resume, f));
	}
	if (slot_op_find_claimed(op))
		AWAIT(f, bdev_release(&op->attachment->user, flow_resume, f));
free_slot:
	slot_free(op->slot);
leave:
	bdev_gate_leave(&op->device->gate);
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

/* ---- removing ------------------------------------------------------------------------------ */

static int remove_check(struct scsi_device *device, unsigned number, struct reason *reason)
{
	if (number >= SCSI_DEVICE_TARGETS_MAX)
		return reason_set(reason, -EINVAL, "there is no target %u: the last is %d", number,
			SCSI_DEVICE_TARGETS_MAX - 1);
	if (!device->slots[number])
		return reason_set(reason, -EBUSY, "%s has no target %u", device->name, number);
	if (device->slots[number]->state != SCSI_SLOT_PRESENT)
		return reason_set(reason, -EBUSY, "target %u of %s is being %s already: wait",
			number, device->name,
			device->slots[number]->state == SCSI_SLOT_ADDING ? "added" : "removed");
	return 0;
}

static enum flow_result refuse_run(struct flow *f)
{
	struct slot_op *op = container_of(f, struct slot_op, flow);

	FLOW_BEGIN(f);
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void scsi_device_remove_target(struct vhost_device *device, unsigned target, struct reason *reason,
	done_fn done, void *arg)
{
	struct scsi_device *scsi = scsi_device_of(device);
	int rc = remove_check(scsi, target, reason);
	struct slot_op *op;

	if (rc == 0) {
		slot_remove(scsi->slots[target], done, arg);
		return;
	}
	op = slot_op_create(scsi, target, done, arg);
	flow_start(&op->flow, scsi->control, "scsi_remove_target", refuse_run);
	flow_fail(&op->flow, rc);
}

/* A guest that has been told and can use the time. */
static bool remove_has_grace(const struct slot_op *op)
{
	return op->device->device.session && op->device->events.vq && !op->slot->bdev_gone &&
	       op->device->features & VIRTIO_BIT(VIRTIO_SCSI_F_HOTPLUG);
}

static void grace_over(struct timer *timer)
{
	flow_resume(&container_of(timer, struct slot_op, grace)->flow, 0);
}

static void remove_grace(struct slot_op *op)
{
	op->grace.fired = grace_over;
	timer_start(op->device->control, &op->grace, REMOVAL_GRACE_NS);
}

static void remove_ended(struct slot_op *op)
{
	struct flow *destroyer = op->device->destroyer;

	slot_free(op->slot);
	if (op->done)
		op->done(op->arg, 0);
	if (--op->device->removals == 0 && destroyer) {
		op->device->destroyer = NULL;
		flow_resume(destroyer, 0);
	}
}

static enum flow_result remove_run(struct flow *f)
{
	struct slot_op *op = container_of(f, struct slot_op, flow);

	FLOW_BEGIN(f);
	scsi_event_post(op->device, VIRTIO_SCSI_T_TRANSPORT_RESET, VIRTIO_SCSI_EVT_RESET_REMOVED,
		op->number, op->slot->target->luns[0]->number);
	if (remove_has_grace(op))
		AWAIT(f, remove_grace(op));
	AWAIT(f, bdev_gate_enter(&op->device->gate, &op->turn, flow_resume, f));
	for_each_local(op)
		AWAIT(f, scsi_local_publish(op->local, op->number, NULL, flow_resume, f));
	bdev_gate_leave(&op->device->gate);

	while (slot_op_find_channel(op))
		AWAIT(f, scsi_local_close_slot(op->local, op->slot, flow_resume, f));
	while (slot_op_find_claimed(op))
		AWAIT(f, bdev_release(&op->attachment->user, flow_resume, f));
	remove_ended(op);
	free(op);
	FLOW_END(f);
}

void scsi_slots_remove_all(struct scsi_device *device)
{
	for (unsigned i = 0; i < SCSI_DEVICE_TARGETS_MAX; i++) {
		if (device->slots[i] && device->slots[i]->state == SCSI_SLOT_PRESENT)
			slot_remove(device->slots[i], NULL, NULL);
	}
}

/* ---- listing ------------------------------------------------------------------------------- */

bool scsi_device_target_is_free(const struct vhost_device *device, unsigned target)
{
	const struct scsi_device *scsi = container_of(device, struct scsi_device, device);

	return target < SCSI_DEVICE_TARGETS_MAX && !scsi->slots[target];
}

void scsi_device_for_each_target(const struct vhost_device *device,
	void (*fn)(const struct scsi_device_target_info *info, void *arg), void *arg)
{
	const struct scsi_device *scsi = container_of(device, struct scsi_device, device);

	for (unsigned i = 0; i < SCSI_DEVICE_TARGETS_MAX; i++) {
		const struct scsi_slot *slot = scsi->slots[i];
		struct scsi_device_target_info info;

		if (!slot || slot->state != SCSI_SLOT_PRESENT)
			continue;
		info.target = i;
		info.device_id = slot->target->device_id;
		info.bdev_name = slot->target->luns[0]->user.bdev->name;
		fn(&info, arg);
	}
}
