/* SPDX-License-Identifier: BSD-2-Clause */
#include "scsi/lun_state.h"

#include "scsi/copy.h"
#include "scsi/lun_mode.h"
#include "scsi/port.h"

#define POWER_CONDITIONS (SCSI_ATTENTION_STOPPED | SCSI_ATTENTION_LOW_POWER)

/* 0: it can. */
static uint16_t not_ready_code(uint32_t attention)
{
	if (attention & SCSI_ATTENTION_NOT_READY)
		return SCSI_ASC_BECOMING_READY;
	if (attention & SCSI_ATTENTION_NO_MEDIUM)
		return SCSI_ASC_MEDIUM_NOT_PRESENT;
	if (attention & SCSI_ATTENTION_STOPPED)
		return SCSI_ASC_START_REQUIRED;
	return 0;
}

/* SPC-4 5.12: an access makes it active. The bits of other attachments are found stale later. */
static void end_low_power(struct scsi_attachment *attachment)
{
	atomic_store_explicit(&attachment->lun->low_power, 0, memory_order_relaxed);
	atomic_fetch_and_explicit(
		&attachment->attention, ~SCSI_ATTENTION_LOW_POWER, memory_order_relaxed);
}

enum scsi_run scsi_lun_state_check(
	struct scsi_task *task, const struct scsi_command *command, uint32_t attention)
{
	struct scsi_lun_channel *channel = task->channel;
	uint16_t code = scsi_port_refuses(attention, command);

	if (!code && command->flags & SCSI_COMMAND_MEDIUM)
		code = not_ready_code(attention);
	if (code)
		return scsi_task_check(task, SCSI_KEY_NOT_READY, code);
	if (command->flags & SCSI_COMMAND_WRITES && channel->read_only)
		return scsi_task_check(task, SCSI_KEY_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED);
	if (command->flags & SCSI_COMMAND_WRITES && attention & SCSI_ATTENTION_WRITE_PROTECT)
		return scsi_task_check(
			task, SCSI_KEY_DATA_PROTECT, SCSI_ASC_SOFTWARE_WRITE_PROTECTED);
	if (attention & SCSI_ATTENTION_LOW_POWER && command->flags & SCSI_COMMAND_MEDIUM &&
		command->opcode != SCSI_TEST_UNIT_READY)
		end_low_power(channel->attachment);
	return SCSI_GOES_ON;
}

void scsi_lun_state_sense(const struct scsi_attachment *attachment, struct scsi_sense *sense)
{
	uint32_t attention = atomic_load_explicit(&attachment->attention, memory_order_relaxed);
	uint16_t code = not_ready_code(attention);

	if (code) {
		sense->key = SCSI_KEY_NOT_READY;
		sense->code = code;
	} else {
		sense->code =
			atomic_load_explicit(&attachment->lun->low_power, memory_order_relaxed);
	}
}

void scsi_lun_set_conditions(struct scsi_lun *lun, uint32_t set, uint32_t clear)
{
	struct scsi_attachment *attachment;

	lun->conditions = (lun->conditions & ~clear) | set;
	list_for_each_entry (attachment, &lun->attachments, link) {
		atomic_fetch_and_explicit(&attachment->attention, ~clear, memory_order_relaxed);
		atomic_fetch_or_explicit(&attachment->attention, set, memory_order_release);
	}
}

void scsi_lun_state_reset(struct scsi_lun *lun)
{
	struct scsi_attachment *attachment;

	scsi_lun_mode_set(lun, scsi_lun_mode_saved(lun));
	scsi_lun_set_conditions(lun, 0, POWER_CONDITIONS);
	atomic_store_explicit(&lun->low_power, 0, memory_order_relaxed);
	list_for_each_entry (attachment, &lun->attachments, link)
		scsi_lun_state_lose_nexus(attachment);
}

void scsi_lun_state_lose_nexus(struct scsi_attachment *attachment)
{
	atomic_store_explicit(&attachment->prevents, false, memory_order_relaxed);
	scsi_copy_forget(attachment);
}

void scsi_lun_state_restart(struct scsi_attachment *attachment)
{
	scsi_lun_state_lose_nexus(attachment);
	if (attachment->lun->attachment_count == 1)
		scsi_lun_state_reset(attachment->lun);
}
