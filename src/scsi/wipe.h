/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operations over all of a logical unit's medium that go on whether or not somebody waits for them:
 * SANITIZE and FORMAT UNIT. One at a time for each unit.
 */
#ifndef SCSI_WIPE_H
#define SCSI_WIPE_H

#include "scsi/task.h"

struct scsi_wipe;

enum scsi_wipe_kind {
	SCSI_WIPE_OVERWRITE, /* SANITIZE with a pattern */
	SCSI_WIPE_ERASE, /* SANITIZE: zeroes, unmapped where that can be */
	SCSI_WIPE_FORMAT, /* the same as FORMAT UNIT */
};

/* What has become of the last one: lun->wipe_state. */
enum scsi_wipe_state {
	SCSI_WIPE_NONE, /* or it succeeded */
	SCSI_WIPE_SANITIZING,
	SCSI_WIPE_FORMATTING,
	SCSI_WIPE_SANITIZE_FAILED, /* only SANITIZE ends this */
	SCSI_WIPE_SANITIZE_FAILED_UNRESTRICTED, /* or EXIT FAILURE MODE */
	SCSI_WIPE_FORMAT_FAILED,
};

struct scsi_wipe_options {
	enum scsi_wipe_kind kind;
	bool unrestricted_exit; /* AUSE */
	bool immediate; /* the task does not wait */
	uint8_t passes; /* OVERWRITE */
	bool invert; /* between passes */
	const void *pattern; /* one block; copied */
};

/* Control reactor, from scsi_task_keep_on_control with scsi_wipe_answered: begins. The task comes
 * back at once when it does not wait or cannot begin, else at the end. */
void scsi_wipe_start(struct scsi_task *task, const struct scsi_wipe_options *options);
/* The task's last step, on its own reactor. */
enum scsi_run scsi_wipe_answered(struct scsi_task *task);
/* Control reactor: EXIT FAILURE MODE. -EPERM: not from this one. */
int scsi_wipe_exit_failure(struct scsi_lun *lun) MUST_CHECK;
/* Control reactor: the unit's last attachment has gone. true: what runs ends soon, and frees the
 * unit. */
bool scsi_wipe_orphan(struct scsi_lun *lun);

/* Any reactor: what a command gets that may not run because of the state; SCSI_GOES_ON: nothing. */
enum scsi_run scsi_wipe_check(struct scsi_task *task);
/* The same as sense data for REQUEST SENSE; false: there is none. */
struct scsi_sense;
bool scsi_wipe_sense(const struct scsi_lun *lun, struct scsi_sense *ret_sense);

#endif
