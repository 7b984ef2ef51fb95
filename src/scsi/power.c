/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * START STOP UNIT: SBC-3 5.25, 4.20; PREVENT ALLOW MEDIUM REMOVAL: SBC-3 5.15.
 *
 * Whatever takes the medium away (stop, standby, eject) makes what was written stable before,
 * unless NO_FLUSH is set. IMMED asks for status before it is done; giving it afterwards is allowed.
 *
 * A disk that is stopped is not ready for anybody until it is started, reset, or its machine begins
 * anew. One that other machines have as well is flushed and goes on: a machine that goes down would
 * take the disk of all the others.
 *
 * A unit with a removable medium does not rest: all power conditions are taken for what changes
 * nothing, and without LOEJ it is not stopped. Its medium comes and goes by LOEJ; not, in either
 * direction, while an initiator prevents it. Ejected is what the unit is, not the block device:
 * that stays open.
 */
#include "scsi/command.h"
#include "scsi/lun_state.h"
#include "scsi/steps.h"

enum power_condition {
	POWER_START_VALID = 0x0,
	POWER_ACTIVE = 0x1,
	POWER_IDLE = 0x2,
	POWER_STANDBY = 0x3,
	POWER_LU_CONTROL = 0x7,
	POWER_FORCE_IDLE = 0xa,
	POWER_FORCE_STANDBY = 0xb,
};

/* What is done on the control reactor, in task->index. */
enum power_action { ACTION_START, ACTION_STOP, ACTION_LOAD, ACTION_EJECT, ACTION_REST };

static struct scsi_lun *task_lun(const struct scsi_task *task)
{
	return task->channel->attachment->lun;
}

static bool removal_is_prevented(const struct scsi_lun *lun)
{
	const struct scsi_attachment *attachment;

	list_for_each_entry (attachment, &lun->attachments, link) {
		if (atomic_load_explicit(&attachment->prevents, memory_order_relaxed))
			return true;
	}
	return false;
}

static void lun_start(struct scsi_lun *lun)
{
	atomic_store_explicit(&lun->low_power, 0, memory_order_relaxed);
	scsi_lun_set_conditions(lun, 0, SCSI_ATTENTION_STOPPED | SCSI_ATTENTION_LOW_POWER);
}

static void lun_tell_medium(struct scsi_lun *lun)
{
	struct scsi_attachment *attachment;

	list_for_each_entry (attachment, &lun->attachments, link) {
		if (attachment->ops->medium_changed)
			attachment->ops->medium_changed(attachment);
	}
}

static void lun_load(struct scsi_lun *lun, const struct scsi_attachment *by)
{
	if (!(lun->conditions & SCSI_ATTENTION_NO_MEDIUM))
		return;
	scsi_lun_set_conditions(lun, 0, SCSI_ATTENTION_NO_MEDIUM);
	scsi_lun_raise_others(lun, by, SCSI_UA_MEDIUM_CHANGED);
	lun_tell_medium(lun);
}

static void lun_eject(struct scsi_lun *lun)
{
	if (lun->conditions & SCSI_ATTENTION_NO_MEDIUM)
		return;
	scsi_lun_set_conditions(lun, SCSI_ATTENTION_NO_MEDIUM, 0);
	lun_tell_medium(lun);
}

/* On the control reactor. task->index: 1 when it was refused. */
static void power_apply(struct scsi_task *task)
{
	struct scsi_lun *lun = task_lun(task);
	enum power_action action = task->index;

	task->index = 0;
	switch (action) {
	case ACTION_START:
		lun_start(lun);
		break;
	case ACTION_STOP:
		if (!lun->removable && lun->attachment_count == 1)
			scsi_lun_set_conditions(lun, SCSI_ATTENTION_STOPPED, 0);
		break;
	case ACTION_REST:
		scsi_lun_set_conditions(lun, SCSI_ATTENTION_LOW_POWER, SCSI_ATTENTION_STOPPED);
		atomic_store_explicit(&lun->low_power, task->count, memory_order_relaxed);
		break;
	case ACTION_LOAD:
	case ACTION_EJECT:
		task->index = removal_is_prevented(lun);
		if (task->index)
			break;
		if (action == ACTION_LOAD)
			lun_load(lun, task->channel->attachment);
		else
			lun_eject(lun);
		break;
	}
}

static enum scsi_run power_applied(struct scsi_task *task)
{
	if (task->index)
		return scsi_task_check(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_REMOVAL_PREVENTED);
	return scsi_task_good(task);
}

static enum scsi_run power_flushed(struct scsi_task *task)
{
	return scsi_task_on_control(task, power_apply, power_applied);
}

static enum scsi_run power_act(struct scsi_task *task, enum power_action action, bool flush)
{
	task->index = (uint16_t)action;
	task->moved = 0;
	return flush ? scsi_task_flush(task, power_flushed) : power_flushed(task);
}

/* The code by which REQUEST SENSE tells of the condition; 0: there is no such one. */
static uint16_t rest_code(bool standby, unsigned modifier)
{
	static const uint16_t idle[] = {
		SCSI_ASC_IDLE_BY_COMMAND, SCSI_ASC_IDLE_B_BY_COMMAND, SCSI_ASC_IDLE_C_BY_COMMAND};
	static const uint16_t standbys[] = {
		SCSI_ASC_STANDBY_BY_COMMAND, SCSI_ASC_STANDBY_Y_BY_COMMAND};

	if (standby)
		return modifier < ARRAY_SIZE(standbys) ? standbys[modifier] : 0;
	return modifier < ARRAY_SIZE(idle) ? idle[modifier] : 0;
}

/* START and LOEJ are ignored beside a power condition. */
static enum scsi_run power_condition(struct scsi_task *task, unsigned condition)
{
	unsigned modifier = task->cdb[3] & 0x0f;
	bool no_flush = task->cdb[4] & 0x04;
	bool standby = condition == POWER_STANDBY || condition == POWER_FORCE_STANDBY;

	if (task_lun(task)->removable)
		return SCSI_ENDED;
	switch (condition) {
	case POWER_ACTIVE:
	case POWER_LU_CONTROL:
		if (modifier)
			return scsi_task_check_cdb(task, 3, 3);
		return power_act(task, ACTION_START, false);
	case POWER_IDLE:
	case POWER_STANDBY:
	case POWER_FORCE_IDLE:
	case POWER_FORCE_STANDBY:
		task->count = rest_code(standby, modifier);
		if (!task->count)
			return scsi_task_check_cdb(task, 3, 3);
		return power_act(task, ACTION_REST, standby && !no_flush);
	default:
		return scsi_task_check_cdb(task, 4, 7);
	}
}

enum scsi_run scsi_run_start_stop_unit(struct scsi_task *task)
{
	uint32_t attention =
		atomic_load_explicit(&task->channel->attachment->attention, memory_order_relaxed);
	unsigned condition = task->cdb[4] >> 4;
	bool start = task->cdb[4] & 0x01;
	bool load_eject = task->cdb[4] & 0x02;
	bool no_flush = task->cdb[4] & 0x04;

	if (attention & SCSI_ATTENTION_NOT_READY)
		return scsi_task_check(task, SCSI_KEY_NOT_READY, SCSI_ASC_BECOMING_READY);
	if (condition != POWER_START_VALID)
		return power_condition(task, condition);
	if (load_eject) {
		if (!task_lun(task)->removable)
			return scsi_task_check_cdb(task, 4, 1);
		if (start)
			return power_act(task, ACTION_LOAD, false);
		return power_act(task, ACTION_EJECT, !no_flush);
	}
	if (attention & SCSI_ATTENTION_NO_MEDIUM)
		return scsi_task_check(task, SCSI_KEY_NOT_READY, SCSI_ASC_MEDIUM_NOT_PRESENT);
	return power_act(task, start ? ACTION_START : ACTION_STOP, !start && !no_flush);
}

/* Where the medium cannot be removed there is nothing to prevent. */
enum scsi_run scsi_run_prevent_allow(struct scsi_task *task)
{
	if (task->cdb[4] & 0x02) /* obsolete values of PREVENT */
		return scsi_task_check_cdb(task, 4, 1);
	atomic_store_explicit(
		&task->channel->attachment->prevents, task->cdb[4] & 0x01, memory_order_relaxed);
	return SCSI_ENDED;
}
