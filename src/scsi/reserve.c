/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RESERVE (6), (10) and RELEASE (6), (10): SPC-2 7.16, 7.17, 7.21, 7.22, beside persistent
 * reservations as SPC-4 5.12.3 has it (CRH is 1):
 *
 *	nobody is registered	a RESERVE by whom has it, or when nobody has, is GOOD and reserves;
 *				of others RESERVATION CONFLICT. A RELEASE is always GOOD
 *	somebody is		both are GOOD and do nothing for the holder of a persistent
 *				reservation, and for a registrant where that is for registrants;
 *				else RESERVATION CONFLICT
 *
 * The reservation ends with the initiator's session, its I_T NEXUS RESET, a reset of the logical
 * unit and the daemon: after each of these the initiator hears of it by a unit attention. Third
 * parties and extents, obsolete, are an invalid field.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "scsi/command.h"
#include "scsi/lun_reservation.h"
#include "scsi/sense.h"

#define OBSOLETE_3RDPTY  0x10
#define OBSOLETE_LONG_ID 0x02
#define OBSOLETE_EXTENT  0x01

struct reserve_op {
	struct flow flow;
	struct bdev_gate_turn turn;
	struct scsi_task *task;
	struct scsi_reservation_change change;
};

static enum flow_result reserve_run(struct flow *f);

static struct scsi_attachment *op_attachment(const struct reserve_op *op)
{
	return op->task->channel->attachment;
}

static struct bdev_gate *op_gate(const struct reserve_op *op)
{
	return &op_attachment(op)->lun->reservation.gate;
}

static bool op_releases(const struct reserve_op *op)
{
	return op->task->cdb[0] == SCSI_RELEASE_6 || op->task->cdb[0] == SCSI_RELEASE_10;
}

/* With persistent reservations: nothing happens, but is it GOOD? */
static bool op_is_compatible(const struct reserve_op *op)
{
	const struct scsi_reservation *now = op_attachment(op)->lun->reservation.now;
	const struct scsi_nexus *nexus = &op_attachment(op)->nexus;

	if (scsi_reservation_is_holder(now, nexus))
		return true;
	return scsi_reservation_is_for_registrants(now) && scsi_reservation_find(now, nexus);
}

static bool op_has_it(const struct reserve_op *op)
{
	const struct scsi_lun_reservation *reservation = &op_attachment(op)->lun->reservation;

	return reservation->reserved &&
	       scsi_nexus_equals(&reservation->reserver, &op_attachment(op)->nexus);
}

/* Does a reservation begin? Releases, and sets the task's index to 1 for a conflict. */
static bool op_decide(struct reserve_op *op)
{
	struct scsi_lun *lun = op_attachment(op)->lun;

	op->task->index = 0;
	if (scsi_lun_has_registrations(lun)) {
		op->task->index = !op_is_compatible(op);
		return false;
	}
	if (op_releases(op)) {
		if (op_has_it(op))
			scsi_lun_release(lun);
		return false;
	}
	op->task->index = scsi_lun_is_reserved(lun) && !op_has_it(op);
	return !scsi_lun_is_reserved(lun);
}

/* On the control reactor. */
static void reserve_start(struct scsi_task *task)
{
	struct reserve_op *op = alloc_op(sizeof(*op));

	op->task = task;
	flow_start(&op->flow, task->channel->attachment->lun->control, "scsi_reserve", reserve_run);
}

static enum flow_result reserve_run(struct flow *f)
{
	struct reserve_op *op = container_of(f, struct reserve_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(op_gate(op), &op->turn, flow_resume, f));
	if (op_decide(op))
		AWAIT(f, scsi_lun_reserve(&op->change, op_attachment(op), flow_resume, f));
	bdev_gate_leave(op_gate(op));
	scsi_task_leave_control(op->task);
	free(op);
	FLOW_END(f);
}

static enum scsi_run reserve_end(struct scsi_task *task)
{
	if (task->index)
		task->status = SCSI_STATUS_RESERVATION_CONFLICT;
	return SCSI_ENDED;
}

enum scsi_run scsi_run_reserve(struct scsi_task *task)
{
	if (task->cdb[1] & OBSOLETE_3RDPTY)
		return scsi_task_check_cdb(task, 1, 4);
	if (task->command->cdb_len == 10 && task->cdb[1] & OBSOLETE_LONG_ID)
		return scsi_task_check_cdb(task, 1, 1);
	if (task->cdb[1] & OBSOLETE_EXTENT)
		return scsi_task_check_cdb(task, 1, 0);
	return scsi_task_keep_on_control(task, reserve_start, reserve_end);
}
