/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reservations in force (lun_reservation.h).
 *
 * Reactors know of it only what their channel may not do: channel->restriction, one word that
 * nobody else writes but the control reactor, when it changes. The straight path does not even look
 * at that: where anything is forbidden channel->straight_bytes_max is 0, so that every READ and
 * WRITE takes the general way.
 *
 * Putting a state in force:
 *
 *	1. every channel's restriction is stored; those who lose something get a unit attention
 *	2. a visit (visit.h) goes to each channel that may do less than before. A command that was
 *	   accepted there under the old state is on its channel's list when the visit arrives; one
 *	   that comes later sees the new state, since the message came after the store
 *	3. when all visits are back what is forbidden has ended. PREEMPT AND ABORT marks the
 *	   commands of whom it has removed, whatever they are, and waits for them in the same way
 *
 * Commands that take their own turn at the gate (PERSISTENT RESERVE OUT, RESERVE, RELEASE) are
 * never waited for nor aborted here: they wait for us, and then find the new state. What waits for
 * an ORDERED one of them (order.h) has not begun, and is not waited for either.
 */
#include "scsi/lun_reservation.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "scsi/command.h"
#include "scsi/order.h"
#include "scsi/reservation_file.h"

struct scsi_reservation_visit {
	struct scsi_visit visit;
	struct scsi_reservation_change *change;
};

void scsi_lun_reservation_init(struct scsi_lun *lun)
{
	bdev_gate_init(&lun->reservation.gate, lun->control);
}

void scsi_lun_reservation_fini(struct scsi_lun *lun)
{
	free(lun->reservation.now);
}

/* ---- restrictions --------------------------------------------------------------------------- */

void scsi_channel_restrict(struct scsi_lun_channel *channel)
{
	uint8_t restriction = channel->attachment->restriction;
	uint64_t straight = restriction == SCSI_UNRESTRICTED ? channel->transfer_bytes_max : 0;

	atomic_store_explicit(&channel->restriction, restriction, memory_order_relaxed);
	atomic_store_explicit(&channel->straight_bytes_max, straight, memory_order_relaxed);
}

static enum scsi_restriction attachment_restriction(const struct scsi_attachment *attachment)
{
	const struct scsi_lun_reservation *reservation = &attachment->lun->reservation;

	if (reservation->reserved)
		return scsi_nexus_equals(&reservation->reserver, &attachment->nexus)
			       ? SCSI_UNRESTRICTED
			       : SCSI_RESTRICTED_ALL;
	return scsi_reservation_restricts(reservation->now, &attachment->nexus);
}

/* True when it may do less than before. */
static bool attachment_restrict(struct scsi_attachment *attachment)
{
	enum scsi_restriction before = attachment->restriction;
	struct scsi_lun_channel *channel;

	attachment->restriction = (uint8_t)attachment_restriction(attachment);
	list_for_each_entry (channel, &attachment->channels, link)
		scsi_channel_restrict(channel);
	return attachment->restriction > before;
}

/* Where nobody may do less than before: nothing to wait for. */
static void lun_relax(struct scsi_lun *lun)
{
	struct scsi_attachment *attachment;

	list_for_each_entry (attachment, &lun->attachments, link)
		attachment_restrict(attachment);
}

void scsi_attachment_set_nexus(struct scsi_attachment *attachment, const struct scsi_nexus *nexus)
{
	invariant(list_is_empty(&attachment->channels));
	attachment->nexus = *nexus;
	attachment_restrict(attachment);
}

/* ---- putting a state in force ---------------------------------------------------------------- */

static void change_done(struct message *message)
{
	struct scsi_reservation_change *change =
		container_of(message, struct scsi_reservation_change, message);

	free(change->visits);
	change->done(change->arg, 0);
}

static void change_returned(struct scsi_visit *visit)
{
	struct scsi_reservation_change *change =
		container_of(visit, struct scsi_reservation_visit, visit)->change;

	if (visit->mark && visit->found)
		scsi_attention_raise(visit->channel->attachment, SCSI_UA_COMMANDS_CLEARED);
	if (--change->visits_out == 0)
		change_done(&change->message);
}

static bool task_is_forbidden(const struct scsi_visit *visit, const struct scsi_task *task)
{
	return scsi_order_had_begun(task, visit->sequence) &&
	       scsi_task_conflicts(task, visit->restriction);
}

static bool task_is_aborted(const struct scsi_visit *visit, const struct scsi_task *task)
{
	switch (task->cdb[0]) {
	case SCSI_PERSISTENT_OUT:
	case SCSI_RESERVE_6:
	case SCSI_RESERVE_10:
	case SCSI_RELEASE_6:
	case SCSI_RELEASE_10:
		return false;
	default:
		return true;
	}
}

static void change_visit(
	struct scsi_reservation_change *change, struct scsi_attachment *attachment, bool aborts)
{
	struct scsi_lun_channel *channel;

	list_for_each_entry (channel, &attachment->channels, link) {
		struct scsi_reservation_visit *entry = &change->visits[change->visits_out++];

		entry->change = change;
		entry->visit.channel = channel;
		entry->visit.wait = true;
		entry->visit.mark = aborts;
		entry->visit.every_tag = true;
		entry->visit.response = SCSI_RESPONSE_ABORTED;
		entry->visit.restriction = attachment->restriction;
		entry->visit.concerns = aborts ? task_is_aborted : task_is_forbidden;
		entry->visit.returned = change_returned;
		scsi_visit_send(&entry->visit);
	}
}

static unsigned lun_count_channels(const struct scsi_lun *lun)
{
	const struct scsi_attachment *attachment;
	const struct scsi_lun_channel *channel;
	unsigned count = 0;

	list_for_each_entry (attachment, &lun->attachments, link) {
		list_for_each_entry (channel, &attachment->channels, link)
			count++;
	}
	return count;
}

/* A change of the persistent state; all NULL: of RESERVE. */
struct difference {
	const struct scsi_reservation *before;
	const struct scsi_reservation *after;
	const struct scsi_nexus *actor;
	uint8_t action;
};

static const struct scsi_registration *difference_find(
	const struct difference *difference, const struct scsi_attachment *attachment)
{
	if (!difference->before || scsi_nexus_equals(difference->actor, &attachment->nexus))
		return NULL;
	return scsi_reservation_find(difference->before, &attachment->nexus);
}

static void difference_tell(const struct difference *difference, struct scsi_attachment *attachment)
{
	const struct scsi_registration *registration = difference_find(difference, attachment);

	switch (registration ? scsi_reservation_attention(difference->before, difference->after,
				       registration, difference->action)
			     : 0) {
	case SCSI_ASC_RESERVATIONS_PREEMPTED:
		scsi_attention_raise(attachment, SCSI_UA_RESERVATIONS_PREEMPTED);
		break;
	case SCSI_ASC_RESERVATIONS_RELEASED:
		scsi_attention_raise(attachment, SCSI_UA_RESERVATIONS_RELEASED);
		break;
	case SCSI_ASC_REGISTRATIONS_PREEMPTED:
		scsi_attention_raise(attachment, SCSI_UA_REGISTRATIONS_PREEMPTED);
		break;
	default:
		break;
	}
}

static bool difference_aborts(
	const struct difference *difference, const struct scsi_attachment *attachment)
{
	return difference->action == SCSI_SA_PREEMPT_AND_ABORT &&
	       difference_find(difference, attachment) &&
	       !scsi_reservation_find(difference->after, &attachment->nexus);
}

static void change_run(struct scsi_reservation_change *change, struct scsi_lun *lun,
	const struct difference *difference, done_fn done, void *arg)
{
	unsigned count = lun_count_channels(lun);
	struct scsi_attachment *attachment;

	change->lun = lun;
	change->visits = alloc_op((count + 1) * sizeof(*change->visits));
	change->visits_out = 0;
	change->done = done;
	change->arg = arg;
	list_for_each_entry (attachment, &lun->attachments, link) {
		bool aborts = difference_aborts(difference, attachment);

		difference_tell(difference, attachment);
		if (attachment_restrict(attachment) || aborts)
			change_visit(change, attachment, aborts);
	}
	if (change->visits_out)
		return;
	change->message.run = change_done;
	reactor_send(lun->control, &change->message);
}

void scsi_lun_put_in_force(struct scsi_reservation_change *change, struct scsi_reservation *next,
	struct scsi_attachment *attachment, uint8_t action, done_fn done, void *arg)
{
	struct scsi_lun *lun = attachment->lun;
	struct scsi_reservation *before = lun->reservation.now;
	const struct difference difference = {
		.before = before,
		.after = next,
		.actor = &attachment->nexus,
		.action = action,
	};

	lun->reservation.now = next;
	change_run(change, lun, &difference, done, arg);
	free(before);
}

/* ---- RESERVE and RELEASE --------------------------------------------------------------------- */

void scsi_lun_reserve(struct scsi_reservation_change *change, struct scsi_attachment *attachment,
	done_fn done, void *arg)
{
	const struct difference none = {0};

	attachment->lun->reservation.reserved = true;
	attachment->lun->reservation.reserver = attachment->nexus;
	change_run(change, attachment->lun, &none, done, arg);
}

void scsi_lun_release(struct scsi_lun *lun)
{
	lun->reservation.reserved = false;
	lun_relax(lun);
}

void scsi_lun_reset_reservation(struct scsi_lun *lun)
{
	if (lun->reservation.reserved)
		scsi_lun_release(lun);
}

void scsi_attachment_lose_nexus(struct scsi_attachment *attachment)
{
	struct scsi_lun_reservation *reservation = &attachment->lun->reservation;

	if (reservation->reserved && scsi_nexus_equals(&reservation->reserver, &attachment->nexus))
		scsi_lun_release(attachment->lun);
}

/* ---- on disk --------------------------------------------------------------------------------- */

static struct os *lun_os(const struct scsi_lun *lun)
{
	return bdev_registry_os(lun->bdev->registry);
}

static int save_run(struct worker_job *job)
{
	struct scsi_reservation_save *save = container_of(job, struct scsi_reservation_save, job);
	const struct scsi_lun *lun = save->lun;

	if (!lun->reservation.state_dir)
		return 0;
	return scsi_reservation_save(lun_os(lun), lun->reservation.state_dir, lun->bdev->uuid,
		save->reservation, &save->reason);
}

void scsi_lun_save_reservation(struct scsi_reservation_save *save, struct scsi_lun *lun,
	const struct scsi_reservation *reservation, done_fn done, void *arg)
{
	save->lun = lun;
	save->reservation = reservation;
	save->reason.text[0] = '\0';
	worker_run(&save->job, lun->control, save_run, done, arg);
}

struct load_op {
	struct flow flow;
	struct bdev_gate_turn turn;
	struct worker_job job;
	struct scsi_lun *lun;
	const char *state_dir;
	struct reason *reason;
	struct scsi_reservation *loaded;
	done_fn done;
	void *arg;
};

static int load_job_run(struct worker_job *job)
{
	struct load_op *op = container_of(job, struct load_op, job);

	return scsi_reservation_load(
		lun_os(op->lun), op->state_dir, op->lun->bdev->uuid, op->reason, &op->loaded);
}

static bool load_is_needless(const struct load_op *op)
{
	return op->lun->reservation.state_dir || !op->state_dir;
}

static void load_adopt(struct load_op *op)
{
	op->lun->reservation.state_dir = op->state_dir;
	op->lun->reservation.now = op->loaded;
	lun_relax(op->lun); /* no channel is open yet: nobody has anything to lose */
}

static enum flow_result load_run(struct flow *f)
{
	struct load_op *op = container_of(f, struct load_op, flow);

	FLOW_BEGIN(f);
	if (load_is_needless(op)) /* without a turn: a change may wait long for commands */
		goto finish;
	AWAIT(f, bdev_gate_enter(&op->lun->reservation.gate, &op->turn, flow_resume, f));
	if (load_is_needless(op))
		goto leave;
	AWAIT(f, worker_run(&op->job, f->reactor, load_job_run, flow_resume, f));
	if (!flow_failed(f))
		load_adopt(op);
leave:
	bdev_gate_leave(&op->lun->reservation.gate);
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void scsi_attachment_load_reservation(struct scsi_attachment *attachment, const char *state_dir,
	struct reason *reason, done_fn done, void *arg)
{
	struct load_op *op = alloc_op(sizeof(*op));

	op->lun = attachment->lun;
	op->state_dir = state_dir;
	op->reason = reason;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, op->lun->control, "scsi_load_reservation", load_run);
}
