/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TEST UNIT READY, REQUEST SENSE: SPC-4 6.47, 6.39.
 */
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/lun_state.h"
#include "scsi/sense.h"
#include "scsi/wipe.h"

/* That it is ready was checked by the table. */
enum scsi_run scsi_run_test_unit_ready(struct scsi_task *task)
{
	return SCSI_ENDED;
}

/* Sense data never waits here (it goes with the status), so this is about unit attentions, then how
 * far a SANITIZE or FORMAT UNIT is, and then what the logical unit cannot do now. */
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
		else if (!scsi_wipe_sense(task->channel->attachment->lun, &sense))
			scsi_lun_state_sense(task->channel->attachment, &sense);
	} else if (!task->well_known) {
		sense.key = SCSI_KEY_ILLEGAL_REQUEST;
		sense.code = SCSI_ASC_LUN_NOT_SUPPORTED;
	}
	len = scsi_sense_encode(&sense, descriptor_format, data);
	return scsi_reply(task, task->cdb[4], data, len);
}
