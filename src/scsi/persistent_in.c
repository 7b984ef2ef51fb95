/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PERSISTENT RESERVE IN: SPC-4 6.15. The control reactor fills a buffer of ours from the state that
 * is in force, and the data reactor copies that to the initiator. Conflicts with nothing but a
 * RESERVE, of whichever initiator (SPC-2 5.5.1).
 */
#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/lun_reservation.h"

#define PERSISTENT_IN_CLASS SLAB_32K

_Static_assert(SCSI_PERSISTENT_IN_BYTES_MAX <= 32 * 1024, "parameter data fits in its buffer");

/* On the control reactor. index: a conflict; count: bytes in the buffer. */
static void persistent_in_read(struct scsi_task *task)
{
	const struct scsi_lun *lun = task->channel->attachment->lun;
	const struct scsi_lun_reservation *reservation = &lun->reservation;

	task->index = scsi_lun_is_reserved(lun);
	task->count = (uint16_t)scsi_reservation_read(reservation->now, task->cdb[1] & 0x1f,
		reservation->state_dir != NULL, task->buffer);
}

static enum scsi_run persistent_in_reply(struct scsi_task *task)
{
	if (task->index) {
		task->status = SCSI_STATUS_RESERVATION_CONFLICT;
		return SCSI_ENDED;
	}
	return scsi_reply(task, be16_get(task->cdb + 7), task->buffer, task->count);
}

static enum scsi_run persistent_in_ask(struct scsi_task *task)
{
	return scsi_task_on_control(task, persistent_in_read, persistent_in_reply);
}

enum scsi_run scsi_run_persistent_in(struct scsi_task *task)
{
	return scsi_task_get_buffer(task, PERSISTENT_IN_CLASS, persistent_in_ask);
}
