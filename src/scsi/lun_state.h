/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a logical unit can do now: whether its medium is there, whether it has been stopped, whether
 * it rests, whether it may be written.
 *
 * Whatever is not usual is a bit in the attention of every attachment, so that the straight path
 * has one test for all of it. Changes are made on the control reactor; the bits are read anywhere.
 *
 *	bit of attention	commands that need the medium		REQUEST SENSE
 *	NOT_READY (claim)	NOT READY, becoming ready		the same
 *	NO_MEDIUM		NOT READY, medium not present		the same
 *	STOPPED			NOT READY, initializing command		the same
 *				required
 *	WRITE_PROTECT (SWP)	DATA PROTECT if they write		nothing
 *	WRITE_THROUGH (no WCE)	write with FUA				nothing
 *	LOW_POWER		end the condition and run; not		NO SENSE, the condition
 *				TEST UNIT READY
 *
 *	PORT_...		(port.h)
 *
 * LOW_POWER of an attachment may be stale: what counts is lun->low_power.
 */
#ifndef SCSI_LUN_STATE_H
#define SCSI_LUN_STATE_H

#include "scsi/command.h"
#include "scsi/sense.h"

/* A command of the table that may have to be refused: SCSI_ENDED with its check condition. */
enum scsi_run scsi_lun_state_check(
	struct scsi_task *task, const struct scsi_command *command, uint32_t attention);

/* What REQUEST SENSE tells when there is no unit attention; sense stays where that is nothing. */
void scsi_lun_state_sense(const struct scsi_attachment *attachment, struct scsi_sense *sense);

/* Control reactor: sets and clears bits of all attachments, also of those to come. */
void scsi_lun_set_conditions(struct scsi_lun *lun, uint32_t set, uint32_t clear);

/* Control reactor. A reset, or a new initiator where there is no other: mode parameters are as
 * saved, nothing prevents the removal of the medium, and the unit is active. A medium that was
 * ejected stays so. */
void scsi_lun_state_reset(struct scsi_lun *lun);
/* Control reactor: what the initiator has prevented is so no longer, and what its copies have left
 * is forgotten. */
void scsi_lun_state_lose_nexus(struct scsi_attachment *attachment);
/* For lun.c: the initiator has begun anew. */
void scsi_lun_state_restart(struct scsi_attachment *attachment);

#endif
