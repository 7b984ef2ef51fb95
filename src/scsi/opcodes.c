/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * REPORT SUPPORTED OPERATION CODES and REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS:
 * SPC-4 6.35, 6.36. Made from the table that dispatches (command.c).
 *
 * Of timeouts we recommend one: long enough for a disk whose host is busy. Commands that go over
 * all of the disk have none, and nominal times are not said.
 */
#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/sense.h"

#define TIMEOUT_BYTES   12
#define TIMEOUT_SECONDS 60

enum reporting_options {
	REPORT_ALL = 0,
	REPORT_OPCODE = 1, /* of a command without service actions */
	REPORT_SERVICE_ACTION = 2, /* of a command with */
	REPORT_EITHER = 3,
};

static void put_timeouts(struct scsi_reply *reply, const struct scsi_command *command)
{
	uint8_t data[TIMEOUT_BYTES] = {0, TIMEOUT_BYTES - 2};

	if (!(command->flags & SCSI_COMMAND_SLOW))
		be32_put(data + 8, TIMEOUT_SECONDS);
	scsi_reply_put(reply, data, sizeof(data));
}

static enum scsi_run report_all(struct scsi_task *task, size_t allocation_length, bool timeouts)
{
	unsigned entry_bytes = 8 + (timeouts ? TIMEOUT_BYTES : 0);
	struct scsi_reply reply;
	uint8_t header[4];
	unsigned count = 0;

	for (unsigned i = 0; i < scsi_command_count; i++)
		count += scsi_command_exists(&scsi_commands[i], task->channel);
	scsi_reply_begin(&reply, task, allocation_length);
	be32_put(header, count * entry_bytes);
	scsi_reply_put(&reply, header, sizeof(header));
	for (unsigned i = 0; i < scsi_command_count; i++) {
		const struct scsi_command *command = &scsi_commands[i];
		uint8_t entry[8] = {command->opcode};

		if (!scsi_command_exists(command, task->channel))
			continue;
		if (scsi_command_has_actions(command)) {
			be16_put(entry + 2, command->service_action);
			entry[5] |= 0x01; /* SERVACTV */
		}
		if (timeouts)
			entry[5] |= 0x02; /* CTDP */
		be16_put(entry + 6, command->cdb_len);
		scsi_reply_put(&reply, entry, sizeof(entry));
		if (timeouts)
			put_timeouts(&reply, command);
	}
	return scsi_reply_end(&reply);
}

/* NULL when it is not supported; *ret_actions: the operation code has service actions. */
static const struct scsi_command *find(
	const struct scsi_task *task, uint8_t opcode, uint16_t action, bool *ret_actions)
{
	*ret_actions = false;
	for (unsigned i = 0; i < scsi_command_count; i++) {
		const struct scsi_command *command = &scsi_commands[i];

		if (command->opcode != opcode || !scsi_command_exists(command, task->channel))
			continue;
		*ret_actions = scsi_command_has_actions(command);
		if (!*ret_actions || command->service_action == action)
			return command;
	}
	return NULL;
}

static enum scsi_run report_one(
	struct scsi_task *task, size_t allocation_length, enum reporting_options options)
{
	bool timeouts = task->cdb[2] & 0x80;
	uint16_t action = be16_get(task->cdb + 4);
	const struct scsi_command *command;
	struct scsi_reply reply;
	uint8_t header[4] = {0};
	bool actions;

	command = find(task, task->cdb[3], action, &actions);
	if (options == REPORT_OPCODE && actions)
		return scsi_task_check_cdb(task, 2, 2);
	if (options == REPORT_SERVICE_ACTION && command && !actions)
		return scsi_task_check_cdb(task, 2, 2);
	if (options == REPORT_EITHER && command && !actions && action)
		command = NULL; /* without service actions there is only 0 */

	scsi_reply_begin(&reply, task, allocation_length);
	header[1] = command ? 0x03 : 0x01; /* as the standard says; not supported */
	if (command && timeouts)
		header[1] |= 0x80;
	be16_put(header + 2, command ? command->cdb_len : 0);
	scsi_reply_put(&reply, header, sizeof(header));
	if (command) {
		scsi_reply_put(&reply, command->usage, command->cdb_len);
		if (timeouts)
			put_timeouts(&reply, command);
	}
	return scsi_reply_end(&reply);
}

enum scsi_run scsi_run_report_supported_opcodes(struct scsi_task *task)
{
	size_t allocation_length = be32_get(task->cdb + 6);
	unsigned options = task->cdb[2] & 0x07;

	if (options > REPORT_EITHER)
		return scsi_task_check_cdb(task, 2, 2);
	if (options == REPORT_ALL)
		return report_all(task, allocation_length, task->cdb[2] & 0x80);
	return report_one(task, allocation_length, options);
}

enum scsi_run scsi_run_report_supported_tmf(struct scsi_task *task)
{
	bool extended = task->cdb[2] & 0x80;
	/* Abort task, abort task set, clear ACA, clear task set, LUN reset, query task; query task
	 * set, I_T nexus reset. */
	uint8_t data[16] = {0x80 | 0x40 | 0x20 | 0x10 | 0x08 | 0x04, 0x02 | 0x01};

	if (be32_get(task->cdb + 6) < 4)
		return scsi_task_check_cdb(task, 6, -1);
	if (extended)
		data[3] = 12;
	return scsi_reply(task, be32_get(task->cdb + 6), data, extended ? 16 : 4);
}
