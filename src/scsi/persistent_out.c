/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PERSISTENT RESERVE OUT: SPC-4 6.16. The rules are in reservation_out.c, what putting a state in
 * force means in lun_reservation.c; here is the road between:
 *
 *	data reactor	the list is copied into a buffer of ours, once, and taken apart
 *	control		a turn at the logical unit's gate: one such command at a time
 *			the rules make the next state, or refuse
 *			a worker makes it durable
 *			it is put in force
 *	data reactor	the status
 *
 * A change that cannot be made durable is refused (HARDWARE ERROR, INTERNAL TARGET FAILURE), and
 * the state that stays in force is written again, since nobody knows which of the two is on disk.
 *
 * A command that was in flight when the daemon before this one ended is not repeated: whether it
 * had been executed its initiator learns from PERSISTENT RESERVE IN (SCSI_COMMAND_ONCE).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/lun_reservation.h"
#include "scsi/range.h"
#include "scsi/sense.h"

#define OP_CLASS SLAB_32K

/* In a buffer of the slab. */
struct persistent_out_op {
	struct flow flow;
	struct bdev_gate_turn turn;
	struct scsi_task *task;
	struct scsi_persistent_out out;
	struct scsi_verdict verdict;
	struct scsi_reservation *next;
	struct scsi_reservation_save save;
	struct scsi_reservation_change change;
	int rc;
	struct scsi_nexus others[SCSI_REGISTRATIONS_MAX];
	uint8_t list[SCSI_PERSISTENT_OUT_BYTES_MAX];
};

_Static_assert(sizeof(struct persistent_out_op) <= 32 * 1024, "an op fits in its buffer");

static enum flow_result persistent_out_run(struct flow *f);

/* ---- further nexuses that a REGISTER is about ------------------------------------------------ */

/* False: there are too many. */
static bool others_add(struct persistent_out_op *op, const struct scsi_nexus *nexus)
{
	struct scsi_persistent_out *out = &op->out;

	if (scsi_nexus_equals(nexus, &op->task->channel->attachment->nexus))
		return true;
	for (unsigned i = 0; i < out->other_count; i++) {
		if (scsi_nexus_equals(&op->others[i], nexus))
			return true;
	}
	if (out->other_count == ARRAY_SIZE(op->others))
		return false;
	op->others[out->other_count++] = *nexus;
	return true;
}

/* Does that initiator have the logical unit, through that port or, 0, through any? */
static bool initiator_is_here(const struct persistent_out_op *op, uint64_t initiator, uint16_t port)
{
	const struct scsi_attachment *attachment;
	const struct scsi_lun *lun = op->task->channel->attachment->lun;

	list_for_each_entry (attachment, &lun->attachments, link) {
		if (attachment->nexus.initiator == initiator &&
			(!port || attachment->nexus.port == port))
			return true;
	}
	return false;
}

/* All target ports: those through which that initiator has the logical unit; one that is not here
 * at the moment could come through any. */
static bool others_add_all_ports(struct persistent_out_op *op, uint64_t initiator)
{
	const struct scsi_attachment *attachment;
	const struct scsi_lun *lun = op->task->channel->attachment->lun;
	bool here = initiator_is_here(op, initiator, 0);

	list_for_each_entry (attachment, &lun->attachments, link) {
		const struct scsi_nexus nexus = {initiator, attachment->nexus.port};

		if (here && attachment->nexus.initiator != initiator)
			continue;
		if (!others_add(op, &nexus))
			return false;
	}
	return true;
}

/* Through the port of this command; who cannot come through that one, through those that it has. */
static bool others_add_initiator(struct persistent_out_op *op, uint64_t initiator)
{
	const struct scsi_nexus nexus = {initiator, op->task->channel->attachment->nexus.port};
	bool elsewhere = initiator_is_here(op, initiator, 0) &&
			 !initiator_is_here(op, initiator, nexus.port);

	return op->out.all_tg_pt || elsewhere ? others_add_all_ports(op, initiator)
					      : others_add(op, &nexus);
}

static bool others_find(struct persistent_out_op *op)
{
	struct scsi_persistent_out *out = &op->out;

	out->others = op->others;
	if (out->all_tg_pt &&
		!others_add_initiator(op, op->task->channel->attachment->nexus.initiator))
		return false;
	for (unsigned i = 0; i < out->transport_id_count; i++) {
		const uint8_t *id = out->transport_ids + i * SCSI_TRANSPORT_ID_BYTES;

		if (!others_add_initiator(op, scsi_transport_id_initiator(id)))
			return false;
	}
	return true;
}

/* ---- on the control reactor ------------------------------------------------------------------ */

static struct scsi_lun *op_lun(const struct persistent_out_op *op)
{
	return op->task->channel->attachment->lun;
}

static void op_refuse(struct persistent_out_op *op, uint16_t code, int byte, int bit)
{
	op->verdict = (struct scsi_verdict){.status = SCSI_STATUS_CHECK_CONDITION,
		.code = code,
		.byte = (int16_t)byte,
		.bit = (int8_t)bit};
}

/* Leaves the next state where there is one, else the verdict says how the command ends. */
static void op_decide(struct persistent_out_op *op)
{
	const struct scsi_lun *lun = op_lun(op);

	op->next = NULL;
	if (scsi_lun_is_reserved(lun))
		op->verdict.status = SCSI_STATUS_RESERVATION_CONFLICT;
	else if (op->out.aptpl && !lun->reservation.state_dir)
		op_refuse(op, SCSI_ASC_INVALID_FIELD_IN_PARAMETERS,
			op->out.action == SCSI_SA_REGISTER_AND_MOVE ? 17 : 20, 0);
	else if (!others_find(op))
		op_refuse(op, SCSI_ASC_REGISTRATION_RESOURCES, -1, -1);
	else
		op->rc = scsi_reservation_apply(lun->reservation.now,
			&op->task->channel->attachment->nexus, &op->out, &op->verdict, &op->next);
}

static void op_log_failure(const struct persistent_out_op *op)
{
	static struct log_limit limit;

	log_limited(&limit, LOG_ERROR, "disk %s: %s", op_lun(op)->bdev->name,
		reason_text(&op->save.reason, op->rc));
}

static void op_start(struct scsi_task *task)
{
	struct persistent_out_op *op = task->buffer;

	flow_start(&op->flow, op_lun(op)->control, "scsi_persistent_out", persistent_out_run);
}

static enum flow_result persistent_out_run(struct flow *f)
{
	struct persistent_out_op *op = container_of(f, struct persistent_out_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op_lun(op)->reservation.gate, &op->turn, flow_resume, f));
	op_decide(op);
	if (!op->next)
		goto leave;
	AWAIT(f, scsi_lun_save_reservation(&op->save, op_lun(op), op->next, flow_resume, f));
	if (flow_failed(f)) {
		op->rc = f->error;
		op_log_failure(op);
		goto save_again;
	}
	AWAIT(f, scsi_lun_put_in_force(&op->change, op->next, op->task->channel->attachment,
			 op->out.action, flow_resume, f));
	goto leave;

save_again:
	free(op->next);
	AWAIT(f, scsi_lun_save_reservation(
			 &op->save, op_lun(op), op_lun(op)->reservation.now, flow_resume, f));
leave:
	bdev_gate_leave(&op_lun(op)->reservation.gate);
	/* From here on the task, and op in its buffer, are the data reactor's. */
	scsi_task_leave_control(op->task);
	FLOW_END(f);
}

/* ---- on the data reactor --------------------------------------------------------------------- */

static enum scsi_run task_take_verdict(struct scsi_task *task, const struct scsi_verdict *verdict)
{
	switch (verdict->status) {
	case SCSI_STATUS_GOOD:
		return scsi_task_good(task);
	case SCSI_STATUS_CHECK_CONDITION:
		break;
	default:
		task->status = verdict->status;
		return SCSI_ENDED;
	}
	if (verdict->code == SCSI_ASC_INVALID_FIELD_IN_CDB)
		return scsi_task_check_cdb(task, (unsigned)verdict->byte, verdict->bit);
	if (verdict->code == SCSI_ASC_INVALID_FIELD_IN_PARAMETERS)
		return scsi_task_check_parameters(task, (unsigned)verdict->byte, verdict->bit);
	return scsi_task_check(task, SCSI_KEY_ILLEGAL_REQUEST, verdict->code);
}

static enum scsi_run persistent_out_end(struct scsi_task *task)
{
	const struct persistent_out_op *op = task->buffer;

	if (op->rc == -ENOMEM) {
		task->status = SCSI_STATUS_BUSY;
		return SCSI_ENDED;
	}
	if (op->rc)
		return scsi_task_check(
			task, SCSI_KEY_HARDWARE_ERROR, SCSI_ASC_INTERNAL_TARGET_FAILURE);
	return task_take_verdict(task, &op->verdict);
}

static enum scsi_run persistent_out_begin(struct scsi_task *task)
{
	struct persistent_out_op *op = task->buffer;
	uint32_t len = (uint32_t)task->left;

	op->task = task;
	op->rc = 0;
	op->turn = (struct bdev_gate_turn){0};
	scsi_iov_read(task->out, task->out_iovs, 0, op->list, len);
	op->verdict = scsi_persistent_out_parse(
		&op->out, task->cdb[1] & 0x1f, task->cdb[2], op->list, len);
	if (op->verdict.status != SCSI_STATUS_GOOD)
		return task_take_verdict(task, &op->verdict);
	task->moved = len;
	return scsi_task_keep_on_control(task, op_start, persistent_out_end);
}

enum scsi_run scsi_run_persistent_out(struct scsi_task *task)
{
	task->left = be32_get(task->cdb + 5);
	if (task->left < SCSI_PERSISTENT_OUT_BYTES)
		return scsi_task_check(
			task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	if (task->left > SCSI_PERSISTENT_OUT_BYTES_MAX)
		return scsi_task_check_cdb(task, 5, -1);
	if (task->out_bytes < task->left)
		return scsi_task_overrun(task);
	return scsi_task_get_buffer(task, OP_CLASS, persistent_out_begin);
}
