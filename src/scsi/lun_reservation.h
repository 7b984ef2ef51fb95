/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reservations in force on a logical unit: the persistent ones (reservation.h) and that of RESERVE
 * (6) and (10), SPC-2 5.5. Control reactor.
 *
 * A change takes its turn at lun->reservation.gate, is made durable where there is a state
 * directory, and is then put in force (scsi_lun_put_in_force): done when every reactor has taken
 * it and the commands that it forbids, accepted before, have ended.
 */
#ifndef SCSI_LUN_RESERVATION_H
#define SCSI_LUN_RESERVATION_H

#include "core/worker.h"
#include "scsi/lun.h"

struct scsi_task;

void scsi_lun_reservation_init(struct scsi_lun *lun);
void scsi_lun_reservation_fini(struct scsi_lun *lun);

/* ---- for who has the attachment ------------------------------------------------------------ */

/* Who the initiator is, and through which target port it comes. Before any channel is opened. */
void scsi_attachment_set_nexus(struct scsi_attachment *attachment, const struct scsi_nexus *nexus);
/* What was in force before this daemon started; state_dir is borrowed for the life of the logical
 * unit, NULL: nothing outlives it. Before any channel is opened. */
void scsi_attachment_load_reservation(struct scsi_attachment *attachment, const char *state_dir,
	struct reason *reason, done_fn done, void *arg);
/* The initiator has gone, or begun anew: persistent reservations stay, others end. */
void scsi_attachment_lose_nexus(struct scsi_attachment *attachment);
/* The logical unit has been reset: the same for all initiators. */
void scsi_lun_reset_reservation(struct scsi_lun *lun);

/* ---- for commands --------------------------------------------------------------------------- */

/* Somebody's RESERVE (6) or (10) is in force. */
static inline bool scsi_lun_is_reserved(const struct scsi_lun *lun)
{
	return lun->reservation.reserved;
}

static inline bool scsi_lun_has_registrations(const struct scsi_lun *lun)
{
	return lun->reservation.now && lun->reservation.now->count;
}

/* Before an answer says that it is so: on disk. At once where there is no state directory. */
struct scsi_reservation_save {
	struct worker_job job;
	struct scsi_lun *lun;
	const struct scsi_reservation *reservation;
	struct reason reason;
};

/* Who has the gate's turn. On failure nobody can know which of the two is on disk. */
void scsi_lun_save_reservation(struct scsi_reservation_save *save, struct scsi_lun *lun,
	const struct scsi_reservation *reservation, done_fn done, void *arg);

struct scsi_reservation_visit;

/* The caller's; borrowed until done. */
struct scsi_reservation_change {
	struct scsi_lun *lun;
	struct scsi_reservation_visit *visits;
	unsigned visits_out;
	struct message message;
	done_fn done;
	void *arg;
};

/* Who has the gate's turn. next, handed over, is in force from now on; the attachment's nexus did
 * it with that service action of PERSISTENT RESERVE OUT, of which the others hear. */
void scsi_lun_put_in_force(struct scsi_reservation_change *change, struct scsi_reservation *next,
	struct scsi_attachment *attachment, uint8_t action, done_fn done, void *arg);
/* The same of RESERVE (6) and (10). */
void scsi_lun_reserve(struct scsi_reservation_change *change, struct scsi_attachment *attachment,
	done_fn done, void *arg);
/* Of RELEASE. */
void scsi_lun_release(struct scsi_lun *lun);

/* For lun.c: a channel that is opened begins as its attachment is. */
void scsi_channel_restrict(struct scsi_lun_channel *channel);

#endif
