/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TEST UNIT READY, REQUEST SENSE, PREVENT ALLOW MEDIUM REMOVAL: SPC-4 6.47, 6.39, SBC-3 5.8.
 */
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/sense.h"
#include "scsi/wipe.h"

/* That it is ready was checked by the table. */
enum scsi_run scsi_run_test_unit_ready(struct scsi_task *task)
{
	return SCSI_ENDED;
}

/* Sense data never waits here (it goes with the status), so this is about unit attentions, and how
 * far a SANITIZE or FORMAT UNIT is. */
enum scsi_run scsi_run_request_sense(struct scsi_task *task)
{
	bool descriptor_format = task->cdb[1] & 0x01;
	struct scsi_sense sense = {.key = SCSI_KEY_NO_SENSE, .code = SCSI_ASC_NONE};
	enum scsi_unit_attention attention;
	uint8_t data[SCSI_SENSE_BYTES];
	unsigned len;

	if (task->channel) {
		if (scsi_attention_take(task->channel->attachment, &attention))
			sense = scsi_sense_of_attention(attention);
		else
			scsi_wipe_sense(task->channel->attachment->lun, &sense);
	} else if (!task->well_known) {
		sense.key = SCSI_KEY_ILLEGAL_REQUEST;
		sense.code = SCSI_ASC_LUN_NOT_SUPPORTED;
	}
	len = scsi_sense_encode(&sense, descriptor_format, data);
	return scsi_reply(task, task->cdb[4], data, len);
}

/* The medium cannot be removed: there is nothing to prevent. */
enum scsi_run scsi_run_prevent_allow(struct scsi_task *task)
{
	if (task->cdb[4] & 0x02) /* obsolete values of PREVENT */
		return scsi_task_check_cdb(task, 4, 1);
	return SCSI_ENDED;
}
