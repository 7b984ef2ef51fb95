/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A target: a number on its controller and the logical units behind it, sorted by LUN.
 *
 * Control reactor, except for views. A view is the target as one data reactor sees it: immutable,
 * made on the control reactor, published to the reactor by message by whoever owns the table of
 * targets there, and freed once that reactor has put something else in its place.
 */
#ifndef SCSI_TARGET_H
#define SCSI_TARGET_H

#include "scsi/lun.h"
#include "spec/scsi.h"

struct scsi_target {
	unsigned number; /* on its controller */
	unsigned device_id; /* process-wide, the lowest that was free */
	unsigned lun_count;
	struct scsi_attachment **luns;
};

struct scsi_target_view {
	unsigned lun_count;
	struct scsi_lun_channel *luns[]; /* sorted by number */
};

/* -ENOSPC when no process-wide number is free, -ENOMEM. */
int scsi_target_create(unsigned number, struct scsi_target **ret_target) MUST_CHECK;
/* Has no LUN. */
void scsi_target_destroy(struct scsi_target *target);

/* Borrows the attachment until removed. -EEXIST when the LUN is taken. */
int scsi_target_add_lun(struct scsi_target *target, struct scsi_attachment *attachment) MUST_CHECK;
void scsi_target_remove_lun(struct scsi_target *target, struct scsi_attachment *attachment);
/* Index of the first LUN that is not below number; lun_count when all are. */
unsigned scsi_target_seek(const struct scsi_target *target, unsigned number);

/* The two bytes by which REPORT LUNS and events name a LUN: addressing method 00 below 256, else
 * flat space. They are one function because Linux compares them without masking. */
static inline uint16_t scsi_lun_encode(uint16_t number)
{
	return number < 256 ? number : SCSI_LUN_FLAT | number;
}

/* The view's reactor. The channel of that LUN, or NULL. */
struct scsi_lun_channel *scsi_target_view_find(
	const struct scsi_target_view *view, uint16_t number);

#endif
