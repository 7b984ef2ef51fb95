/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Target numbers in use (slots) and the logical units behind them: made, found, listed, freed.
 * Control reactor. How a unit is added and removed is in scsi_plug.c.
 *
 * A slot is there while it has a unit, in whatever state. A unit takes its LUN from the call that
 * adds it until the last of it is gone, so no number has two meanings at a time.
 */
#include <errno.h>
#include <stdlib.h>

#include "vhost/scsi_impl.h"

/* ---- what the block device says ------------------------------------------------------------ */

static void unit_bdev_removed(struct scsi_attachment *attachment)
{
	struct scsi_unit *unit = scsi_unit_of(attachment);

	unit->bdev_gone = true;
	if (unit->state == SCSI_UNIT_PRESENT)
		scsi_unit_remove(unit, NULL, NULL);
}

static void unit_bdev_resized(struct scsi_attachment *attachment)
{
	struct scsi_unit *unit = scsi_unit_of(attachment);

	if (unit->state != SCSI_UNIT_PRESENT)
		return;
	/* The code as the reference has it: ASC in the low byte, ASCQ above it. */
	scsi_event_post(unit->slot->device, VIRTIO_SCSI_T_PARAM_CHANGE,
		SCSI_ASC_CAPACITY_CHANGED >> 8 | (SCSI_ASC_CAPACITY_CHANGED & 0xff) << 8,
		unit->slot->target->number, attachment->number);
}

static void unit_medium_changed(struct scsi_attachment *attachment)
{
	struct scsi_unit *unit = scsi_unit_of(attachment);

	if (unit->state == SCSI_UNIT_PRESENT &&
		unit->subscribed & VIRTIO_SCSI_EVT_ASYNC_MEDIA_CHANGE)
		scsi_event_post(unit->slot->device, VIRTIO_SCSI_T_ASYNC_NOTIFY,
			VIRTIO_SCSI_EVT_ASYNC_MEDIA_CHANGE, unit->slot->target->number,
			attachment->number);
}

static const struct scsi_attachment_ops unit_attachment_ops = {
	.removed = unit_bdev_removed,
	.resized = unit_bdev_resized,
	.medium_changed = unit_medium_changed,
};

/* ---- life ---------------------------------------------------------------------------------- */

static int slot_create(struct scsi_device *device, unsigned number, struct reason *reason)
{
	struct scsi_slot *slot = calloc(1, sizeof(*slot));
	int rc;

	if (!slot)
		return reason_set(reason, -ENOMEM, "out of memory");
	rc = scsi_target_create(number, &slot->target);
	if (rc) {
		free(slot);
		return reason_set(reason, rc, "no further SCSI target is possible");
	}
	slot->device = device;
	device->slots[number] = slot;
	return 0;
}

/* After a unit has gone, or could not come. */
static void slot_put(struct scsi_slot *slot)
{
	if (slot->target->lun_count)
		return;
	slot->device->slots[slot->target->number] = NULL;
	scsi_target_destroy(slot->target);
	if (slot->removed)
		slot->removed(slot->removed_arg, 0);
	free(slot);
}

int scsi_unit_create(struct scsi_device *device, unsigned target, unsigned lun, struct bdev *bdev,
	const struct scsi_device_lun_options *options, struct reason *reason,
	struct scsi_unit **ret_unit)
{
	const struct scsi_attachment_options attachment_options = {
		.number = (uint16_t)lun,
		.read_only = options->read_only,
		.removable = options->removable,
		.short_cdbs = options->short_cdbs,
		.controller = device->name,
		.target = target,
		.store = device->store,
	};
	struct scsi_unit *unit = calloc(1, sizeof(*unit));
	struct scsi_slot *slot;
	int rc;

	if (!unit)
		return reason_set(reason, -ENOMEM, "out of memory");
	rc = device->slots[target] ? 0 : slot_create(device, target, reason);
	if (rc)
		goto free_unit;
	slot = device->slots[target];
	unit->slot = slot;
	unit->state = SCSI_UNIT_ADDING;
	rc = scsi_attachment_open(
		bdev, &attachment_options, &unit_attachment_ops, unit, reason, &unit->attachment);
	if (rc)
		goto put_slot;
	rc = scsi_target_add_lun(slot->target, unit->attachment);
	if (rc)
		goto close_attachment;
	scsi_attachment_set_nexus(
		unit->attachment, &(struct scsi_nexus){.initiator = device->initiator,
					  .port = unit->attachment->relative_port});
	scsi_attention_raise(unit->attachment, SCSI_UA_POWER_ON);
	*ret_unit = unit;
	return 0;

close_attachment:
	scsi_attachment_close(unit->attachment);
put_slot:
	slot_put(slot);
free_unit:
	free(unit);
	return rc;
}

void scsi_unit_free(struct scsi_unit *unit)
{
	scsi_target_remove_lun(unit->slot->target, unit->attachment);
	scsi_attachment_close(unit->attachment);
	slot_put(unit->slot);
	free(unit);
}

/* ---- finding ------------------------------------------------------------------------------- */

struct scsi_unit *scsi_unit_find(const struct scsi_device *device, unsigned target, unsigned lun)
{
	const struct scsi_slot *slot = device->slots[target];
	unsigned at;

	if (!slot)
		return NULL;
	at = scsi_target_seek(slot->target, lun);
	if (at == slot->target->lun_count || slot->target->luns[at]->number != lun)
		return NULL;
	return scsi_unit_of(slot->target->luns[at]);
}

/* The first visible unit from that LUN on. */
static struct scsi_unit *slot_find_visible(const struct scsi_slot *slot, unsigned lun)
{
	unsigned at = scsi_target_seek(slot->target, lun);

	for (; at < slot->target->lun_count; at++) {
		if (scsi_unit_of(slot->target->luns[at])->visible)
			return scsi_unit_of(slot->target->luns[at]);
	}
	return NULL;
}

struct scsi_unit *scsi_unit_next(const struct scsi_device *device, const struct scsi_unit *unit)
{
	unsigned number = unit ? unit->slot->target->number : 0;
	unsigned lun = unit ? unit->attachment->number + 1U : 0;
	struct scsi_unit *next = NULL;

	for (; !next && number < SCSI_DEVICE_TARGETS_MAX; number++) {
		if (device->slots[number])
			next = slot_find_visible(device->slots[number], lun);
		lun = 0;
	}
	return next;
}

/* ---- listing ------------------------------------------------------------------------------- */

bool scsi_device_target_is_free(const struct vhost_device *device, unsigned target)
{
	const struct scsi_device *scsi = container_of(device, struct scsi_device, device);

	return target < SCSI_DEVICE_TARGETS_MAX && !scsi->slots[target];
}

static void slot_for_each_lun(const struct scsi_slot *slot,
	void (*fn)(const struct scsi_device_lun_info *info, void *arg), void *arg)
{
	const struct scsi_target *target = slot->target;

	for (unsigned i = 0; i < target->lun_count; i++) {
		const struct scsi_device_lun_info info = {
			.target = target->number,
			.device_id = target->device_id,
			.lun = target->luns[i]->number,
			.bdev_name = target->luns[i]->user.bdev->name,
			.read_only = target->luns[i]->read_only,
			.removable = target->luns[i]->lun->removable,
			.short_cdbs = target->luns[i]->short_cdbs,
		};

		if (scsi_unit_of(target->luns[i])->state == SCSI_UNIT_PRESENT)
			fn(&info, arg);
	}
}

void scsi_device_for_each_lun(const struct vhost_device *device,
	void (*fn)(const struct scsi_device_lun_info *info, void *arg), void *arg)
{
	const struct scsi_device *scsi = container_of(device, struct scsi_device, device);

	for (unsigned i = 0; i < SCSI_DEVICE_TARGETS_MAX; i++) {
		if (scsi->slots[i])
			slot_for_each_lun(scsi->slots[i], fn, arg);
	}
}
