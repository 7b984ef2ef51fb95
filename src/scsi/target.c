/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Targets (target.h) and their process-wide numbers.
 */
#include "scsi/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE_IDS_MAX 65536

/* Targets by their process-wide number; control reactor. */
static struct scsi_target **devices;
static unsigned device_slots;
static unsigned device_count;

/* The lowest free number; grows the array. */
static int device_id_take(struct scsi_target *target)
{
	unsigned id = 0;

	while (id < device_slots && devices[id])
		id++;
	if (id == DEVICE_IDS_MAX)
		return -ENOSPC;
	if (id == device_slots) {
		unsigned slots = device_slots ? device_slots * 2 : 16;
		struct scsi_target **grown = realloc(devices, slots * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		memset(grown + device_slots, 0, (slots - device_slots) * sizeof(*grown));
		devices = grown;
		device_slots = slots;
	}
	devices[id] = target;
	device_count++;
	target->device_id = id;
	return 0;
}

static void device_id_give(struct scsi_target *target)
{
	devices[target->device_id] = NULL;
	if (--device_count == 0) {
		free(devices);
		devices = NULL;
		device_slots = 0;
	}
}

int scsi_target_create(unsigned number, struct scsi_target **ret_target)
{
	struct scsi_target *target = calloc(1, sizeof(*target));
	int rc;

	if (!target)
		return -ENOMEM;
	target->number = number;
	rc = device_id_take(target);
	if (rc) {
		free(target);
		return rc;
	}
	*ret_target = target;
	return 0;
}

void scsi_target_destroy(struct scsi_target *target)
{
	invariant(target->lun_count == 0);
	device_id_give(target);
	free(target->luns);
	free(target);
}

unsigned scsi_target_seek(const struct scsi_target *target, unsigned number)
{
	unsigned low = 0, high = target->lun_count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (target->luns[middle]->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int scsi_target_add_lun(struct scsi_target *target, struct scsi_attachment *attachment)
{
	unsigned at = scsi_target_seek(target, attachment->number);
	struct scsi_attachment **luns;

	if (at < target->lun_count && target->luns[at]->number == attachment->number)
		return -EEXIST;
	luns = realloc(target->luns, (target->lun_count + 1) * sizeof(*luns));
	if (!luns)
		return -ENOMEM;
	memmove(luns + at + 1, luns + at, (target->lun_count - at) * sizeof(*luns));
	luns[at] = attachment;
	target->luns = luns;
	target->lun_count++;
	return 0;
}

void scsi_target_remove_lun(struct scsi_target *target, struct scsi_attachment *attachment)
{
	unsigned at = scsi_target_seek(target, attachment->number);

	invariant(at < target->lun_count && target->luns[at] == attachment);
	target->lun_count--;
	memmove(target->luns + at, target->luns + at + 1,
		(target->lun_count - at) * sizeof(*target->luns));
}

struct scsi_lun_channel *scsi_target_view_find(const struct scsi_target_view *view, uint16_t number)
{
	unsigned low = 0, high = view->lun_count;

	/* Where LUNs are numbered without gaps each is at its number. */
	if (likely(number < high && view->luns[number]->number == number))
		return view->luns[number];
	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (view->luns[middle]->number == number)
			return view->luns[middle];
		if (view->luns[middle]->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}
