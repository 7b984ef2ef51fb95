/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Logical units come and go while the guest runs. Control reactor.
 *
 *	ADDING --in the views of all reactors--> PRESENT --remove, or its device goes--> REMOVING
 *	   |                                                                                |
 *	   +--(failed)--> freed                                       freed <--nothing left-+
 *
 * Adding: learn what reservations there are, take the write claim if rings run, open channels on
 * every reactor that has rings, put the unit into the views, tell the guest.
 *
 * Removing: tell the guest and give it a moment to finish with the disk (Linux flushes the cache of
 * a disk that goes), take the unit out of the views - from then on its LUN is one that does not
 * exist, and a target without units answers BAD_TARGET -, wait for the commands in flight, close.
 * The moment is bounded and is given only to a guest that can have heard, and not when the block
 * device is going anyway. Waiting for commands happens outside the gate: a block device that does
 * not answer holds up only its own removal.
 *
 * What happens to a unit, by its state:
 *
 *			     ADDING		PRESENT		REMOVING
 *	add, same LUN	     -EEXIST		-EEXIST		-EEXIST
 *	add, other LUN	     goes on beside it; -EEXIST while the whole target is being removed
 *	remove LUN	     -EBUSY		REMOVING	-EBUSY
 *	remove target	     -EBUSY		REMOVING	waited for; -EBUSY if there is no
 *								unit that is PRESENT
 *	device goes	     noted: fails, or	REMOVING,	noted; a moment that was given
 *			     REMOVING at once	no moment	is not taken back
 *	device resized	     not told		attention,	not told
 *						event
 *	a ring opens	     waits its turn	channel, view	the same until it is out of the
 *								views, then nothing
 *	controller goes	     waits its turn	REMOVING	waited for
 *
 * To remove a whole target is to remove each of its units; whoever asked waits for the slot.
 *
 * The guest is told of each unit by an event with its address (reference 16.7), and the other units
 * of the target have the unit attention 3Fh/0Eh once the views are changed (SPC-4 6.33), so that a
 * REPORT LUNS that it leads to tells the new list. It is not raised where no initiator is: a new
 * one begins with power on.
 *
 * Views are made with an allocation that cannot fail (scsi_op_alloc), since taking a unit out has
 * no way to be refused.
 */
#include <errno.h>
#include <stdlib.h>

#include "vhost/scsi_impl.h"

#define REMOVAL_GRACE_NS (100 * MSEC_NS)

struct plug_op {
	struct flow flow;
	struct bdev_gate_turn turn;
	struct timer grace;
	struct scsi_device *device;
	struct scsi_unit *unit;
	struct scsi_local *local;
	struct reason *reason;
	bool untold; /* there was no room for the event */
	done_fn done;
	void *arg;
};

static enum flow_result add_run(struct flow *f);
static enum flow_result remove_run(struct flow *f);

static struct plug_op *plug_op_create(struct scsi_device *device, done_fn done, void *arg)
{
	struct plug_op *op = scsi_op_alloc(sizeof(*op));

	op->device = device;
	op->done = done;
	op->arg = arg;
	return op;
}

/* All locals; they change only within the gate. */
#define for_each_local(op)                                                                         \
	for ((op)->local = list_first_entry(&(op)->device->locals, struct scsi_local, link);       \
		list_member((op)->local, link) != &(op)->device->locals;                           \
		(op)->local = list_first_entry(&(op)->local->link, struct scsi_local, link))

/* The target's list of LUNs has become another. A unit that goes itself need not know. */
static void plug_tell_others(const struct plug_op *op)
{
	const struct scsi_target *target = op->unit->slot->target;

	for (unsigned i = 0; op->device->device.session && i < target->lun_count; i++) {
		const struct scsi_unit *unit = scsi_unit_of(target->luns[i]);

		if (unit != op->unit && unit->state == SCSI_UNIT_PRESENT)
			scsi_attention_raise(unit->attachment, SCSI_UA_LUNS_CHANGED);
	}
}

static bool plug_post_event(const struct plug_op *op, uint32_t reason)
{
	return scsi_event_post(op->device, VIRTIO_SCSI_T_TRANSPORT_RESET, reason,
		op->unit->slot->target->number, op->unit->attachment->number);
}

static int number_check(unsigned target, int lun, struct reason *reason)
{
	if (target >= SCSI_DEVICE_TARGETS_MAX)
		return reason_set(reason, -EINVAL, "there is no target %u: the last is %d", target,
			SCSI_DEVICE_TARGETS_MAX - 1);
	if (lun >= SCSI_DEVICE_LUNS_MAX || lun < SCSI_DEVICE_LUN_UNSAID)
		return reason_set(reason, -EINVAL, "there is no LUN %d: LUNs are 0 to %d", lun,
			SCSI_DEVICE_LUNS_MAX - 1);
	return 0;
}

/* ---- adding -------------------------------------------------------------------------------- */

static int add_check(
	const struct scsi_device *device, unsigned target, int lun, struct reason *reason)
{
	int rc = number_check(target, lun, reason);
	const struct scsi_slot *slot;

	if (rc)
		return rc;
	slot = device->slots[target];
	if (!slot)
		return 0;
	if (slot->removing)
		return reason_set(reason, -EEXIST, "target %u of %s is being removed: wait", target,
			device->name);
	if (lun == SCSI_DEVICE_LUN_UNSAID)
		return reason_set(reason, -EEXIST,
			"target %u of %s is in use: choose another, or a LUN behind it", target,
			device->name);
	if (scsi_unit_find(device, target, (unsigned)lun))
		return reason_set(reason, -EEXIST,
			"LUN %d of target %u of %s is in use: choose another", lun, target,
			device->name);
	return 0;
}

void scsi_device_add_lun(struct vhost_device *device, unsigned target, int lun, struct bdev *bdev,
	const struct scsi_device_lun_options *options, struct reason *reason, done_fn done,
	void *arg)
{
	static const struct scsi_device_lun_options usual;
	struct scsi_device *scsi = scsi_device_of(device);
	struct plug_op *op = plug_op_create(scsi, done, arg);
	int rc;

	op->reason = reason;
	flow_start(&op->flow, scsi->control, "scsi_add_lun", add_run);
	if (!options)
		options = &usual;
	rc = add_check(scsi, target, lun, reason);
	if (lun == SCSI_DEVICE_LUN_UNSAID)
		lun = 0;
	if (rc == 0)
		rc = bdev_check_usable(bdev, options->read_only, reason);
	if (rc == 0)
		rc = scsi_unit_create(
			scsi, target, (unsigned)lun, bdev, options, reason, &op->unit);
	if (rc)
		flow_fail(&op->flow, rc);
}

static void add_present(struct plug_op *op)
{
	op->unit->state = SCSI_UNIT_PRESENT;
	plug_tell_others(op);
	plug_post_event(op, VIRTIO_SCSI_EVT_RESET_RESCAN);
	if (op->unit->bdev_gone) /* while it was being added */
		scsi_unit_remove(op->unit, NULL, NULL);
}

static enum flow_result add_run(struct flow *f)
{
	struct plug_op *op = container_of(f, struct plug_op, flow);

	FLOW_BEGIN(f);
	if (f->error)
		goto finish;
	AWAIT(f, bdev_gate_enter(&op->device->gate, &op->turn, flow_resume, f));
	AWAIT(f, scsi_attachment_load_reservation(
			 op->unit->attachment, op->device->state_dir, op->reason, flow_resume, f));
	if (flow_failed(f))
		goto free_unit;
	if (op->device->claimed && scsi_attachment_wants_claim(op->unit->attachment)) {
		AWAIT(f, bdev_claim(&op->unit->attachment->user, BDEV_CLAIM_SHARED_WRITE,
				 op->reason, flow_resume, f));
		if (flow_failed(f))
			goto free_unit;
	}
	for_each_local(op)
	{
		AWAIT(f, scsi_local_open_unit(op->local, op->unit, flow_resume, f));
		if (flow_failed(f))
			goto close_channels;
	}
	op->unit->visible = true;
	for_each_local(op) AWAIT(f, scsi_local_publish(op->local, op->unit->slot, flow_resume, f));
	add_present(op);
	goto leave;

close_channels:
	for_each_local(op) AWAIT(f, scsi_local_close_unit(op->local, op->unit, flow_resume, f));
	AWAIT(f, bdev_release(&op->unit->attachment->user, flow_resume, f));
free_unit:
	scsi_unit_free(op->unit);
leave:
	bdev_gate_leave(&op->device->gate);
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

/* ---- removing one -------------------------------------------------------------------------- */

void scsi_unit_remove(struct scsi_unit *unit, done_fn done, void *arg)
{
	struct plug_op *op = plug_op_create(unit->slot->device, done, arg);

	invariant(unit->state == SCSI_UNIT_PRESENT);
	unit->state = SCSI_UNIT_REMOVING;
	op->device->removals++;
	op->unit = unit;
	flow_start(&op->flow, op->device->control, "scsi_remove_lun", remove_run);
}

/* A guest that has been told and can use the time. */
static bool remove_has_grace(const struct plug_op *op)
{
	return op->device->device.session && op->device->events.vq && !op->unit->bdev_gone &&
	       op->device->features & VIRTIO_BIT(VIRTIO_SCSI_F_HOTPLUG);
}

static void grace_over(struct timer *timer)
{
	flow_resume(&container_of(timer, struct plug_op, grace)->flow, 0);
}

static void remove_grace(struct plug_op *op)
{
	op->grace.fired = grace_over;
	timer_start(op->device->control, &op->grace, REMOVAL_GRACE_NS);
}

static void remove_tell(struct plug_op *op)
{
	op->untold = !plug_post_event(op, VIRTIO_SCSI_EVT_RESET_REMOVED);
	op->device->removals_untold += op->untold;
}

/* It is in no view any more. */
static void remove_withdrawn(struct plug_op *op)
{
	plug_tell_others(op);
	if (op->untold && --op->device->removals_untold == 0)
		scsi_events_rescan(op->device);
}

/* The next channel that is still open; its local. */
static bool remove_find_channel(struct plug_op *op)
{
	struct list *channels = &op->unit->attachment->channels;

	if (list_is_empty(channels))
		return false;
	op->local = list_first_entry(channels, struct scsi_lun_channel, link)->fetch_arg;
	return true;
}

static void remove_ended(struct plug_op *op)
{
	struct flow *destroyer = op->device->destroyer;

	scsi_unit_free(op->unit);
	if (op->done)
		op->done(op->arg, 0);
	if (--op->device->removals == 0 && destroyer) {
		op->device->destroyer = NULL;
		flow_resume(destroyer, 0);
	}
}

static enum flow_result remove_run(struct flow *f)
{
	struct plug_op *op = container_of(f, struct plug_op, flow);

	FLOW_BEGIN(f);
	remove_tell(op);
	if (remove_has_grace(op))
		AWAIT(f, remove_grace(op));
	AWAIT(f, bdev_gate_enter(&op->device->gate, &op->turn, flow_resume, f));
	op->unit->visible = false;
	for_each_local(op) AWAIT(f, scsi_local_publish(op->local, op->unit->slot, flow_resume, f));
	remove_withdrawn(op);
	bdev_gate_leave(&op->device->gate);

	while (remove_find_channel(op))
		AWAIT(f, scsi_local_close_unit(op->local, op->unit, flow_resume, f));
	AWAIT(f, bdev_release(&op->unit->attachment->user, flow_resume, f));
	remove_ended(op);
	free(op);
	FLOW_END(f);
}

/* ---- removing as asked --------------------------------------------------------------------- */

static int remove_check_unit(
	const struct scsi_device *device, unsigned target, unsigned lun, struct reason *reason)
{
	const struct scsi_unit *unit = scsi_unit_find(device, target, lun);

	if (!unit)
		return reason_set(
			reason, -EBUSY, "target %u of %s has no LUN %u", target, device->name, lun);
	if (unit->state != SCSI_UNIT_PRESENT)
		return reason_set(reason, -EBUSY,
			"LUN %u of target %u of %s is being %s already: wait", lun, target,
			device->name, unit->state == SCSI_UNIT_ADDING ? "added" : "removed");
	return 0;
}

static int remove_check_target(
	const struct scsi_device *device, const struct scsi_slot *slot, struct reason *reason)
{
	const struct scsi_target *target = slot->target;
	bool present = false;

	for (unsigned i = 0; i < target->lun_count; i++) {
		enum scsi_unit_state state = scsi_unit_of(target->luns[i])->state;

		if (state == SCSI_UNIT_ADDING)
			return reason_set(reason, -EBUSY,
				"LUN %u of target %u of %s is being added: wait",
				target->luns[i]->number, target->number, device->name);
		present = present || state == SCSI_UNIT_PRESENT;
	}
	if (!present)
		return reason_set(reason, -EBUSY, "target %u of %s is being removed already: wait",
			target->number, device->name);
	return 0;
}

static int remove_check(
	const struct scsi_device *device, unsigned target, int lun, struct reason *reason)
{
	int rc = number_check(target, lun, reason);

	if (rc)
		return rc;
	if (!device->slots[target])
		return reason_set(reason, -EBUSY, "%s has no target %u", device->name, target);
	if (lun == SCSI_DEVICE_LUN_UNSAID)
		return remove_check_target(device, device->slots[target], reason);
	return remove_check_unit(device, target, (unsigned)lun, reason);
}

static void slot_remove_units(struct scsi_slot *slot)
{
	for (unsigned i = 0; i < slot->target->lun_count; i++) {
		struct scsi_unit *unit = scsi_unit_of(slot->target->luns[i]);

		if (unit->state == SCSI_UNIT_PRESENT)
			scsi_unit_remove(unit, NULL, NULL);
	}
}

static enum flow_result refuse_run(struct flow *f)
{
	struct plug_op *op = container_of(f, struct plug_op, flow);

	FLOW_BEGIN(f);
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void scsi_device_remove_lun(struct vhost_device *device, unsigned target, int lun,
	struct reason *reason, done_fn done, void *arg)
{
	struct scsi_device *scsi = scsi_device_of(device);
	int rc = remove_check(scsi, target, lun, reason);
	struct plug_op *op;

	if (rc) {
		op = plug_op_create(scsi, done, arg);
		flow_start(&op->flow, scsi->control, "scsi_remove_lun", refuse_run);
		flow_fail(&op->flow, rc);
	} else if (lun != SCSI_DEVICE_LUN_UNSAID) {
		scsi_unit_remove(scsi_unit_find(scsi, target, (unsigned)lun), done, arg);
	} else {
		scsi->slots[target]->removing = true;
		scsi->slots[target]->removed = done;
		scsi->slots[target]->removed_arg = arg;
		slot_remove_units(scsi->slots[target]);
	}
}

void scsi_units_remove_all(struct scsi_device *device)
{
	for (unsigned i = 0; i < SCSI_DEVICE_TARGETS_MAX; i++) {
		if (device->slots[i])
			slot_remove_units(device->slots[i]);
	}
}
