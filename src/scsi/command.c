/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command table and the general way through it.
 *
 * Order of the checks, as initiators expect them: no such logical unit, pending unit attention
 * (SAM-5 5.14: it goes before everything that is wrong with the command itself), unknown operation
 * code, unknown service action, NACA, the length that a CDB of variable length says of itself,
 * reservation conflict, not to be repeated, a medium that is being overwritten, not ready, write
 * protected. The rest is the command's own.
 *
 * Reserved bits are not looked at (SPC-4 4.2.1 leaves it to us, and old initiators set some).
 */
#include "scsi/command.h"

#include "base/endian.h"
#include "scsi/lun_state.h"
#include "scsi/sense.h"
#include "scsi/wipe.h"

#define FREE SCSI_COMMAND_UNRESTRICTED
#define RD   SCSI_COMMAND_READS
#define ANY  (SCSI_COMMAND_ANY_LUN | SCSI_COMMAND_WELL_KNOWN | SCSI_COMMAND_PAST_ATTENTION | FREE)
#define SA   SCSI_COMMAND_SERVICE_ACTION
#define MED  (SCSI_COMMAND_MEDIUM | RD)
#define WR   (SCSI_COMMAND_MEDIUM | SCSI_COMMAND_WRITES)
#define LONG SCSI_COMMAND_LONG
#define WIPE (WR | SCSI_COMMAND_ENDS_FAILURE | SCSI_COMMAND_SLOW)
#define ONCE (SCSI_COMMAND_ONCE | FREE) /* conflicts by its own rules */
#define CTRL 0x04 /* of the control byte: NACA */

#define BE24 0xff, 0xff, 0xff
#define BE32 0xff, 0xff, 0xff, 0xff
#define BE64 BE32, BE32

/* Flags, address and transfer length. The tags of protection information are not looked at. */
#define LONG_USAGE(action, flags)                                                                  \
	{                                                                                          \
		0x7f, CTRL, 0, 0, 0, 0, 0, 0xff, (action) >> 8, (action)&0xff, flags, 0, BE64, 0,  \
			0, 0, 0, 0, 0, 0, 0, BE32                                                  \
	}

/* With BMOP and the expected generation. */
#define ORWRITE_USAGE                                                                              \
	{                                                                                          \
		0x7f, CTRL, 0x07, 0, 0, 0, 0, 0xff, 0, SCSI_SA_ORWRITE_32, 0xf8, 0, BE64, BE32, 0, \
			0, 0, 0, BE32                                                              \
	}

#define PERSISTENT_IN(action)                                                                      \
	{                                                                                          \
		SCSI_PERSISTENT_IN, action, 10, SA | FREE,                                         \
			{0x5e, action, 0, 0, 0, 0, 0, 0xff, 0xff, CTRL}, scsi_run_persistent_in    \
	}
#define PERSISTENT_OUT(action)                                                                     \
	{                                                                                          \
		SCSI_PERSISTENT_OUT, action, 10, SA | ONCE,                                        \
			{0x5f, action, 0xff, 0, 0, BE32, CTRL}, scsi_run_persistent_out            \
	}

#define COPY_RESULTS(action, list_id)                                                              \
	{                                                                                          \
		SCSI_RECEIVE_COPY_RESULTS, action, 16, SA,                                         \
			{0x84, action, list_id, 0, 0, 0, 0, 0, 0, 0, BE32, 0, CTRL},               \
			scsi_run_receive_copy_results                                              \
	}

const struct scsi_command scsi_commands[] = {
	{SCSI_TEST_UNIT_READY, 0, 6, MED | FREE | SCSI_COMMAND_WELL_KNOWN, {0x00, 0, 0, 0, 0, CTRL},
		scsi_run_test_unit_ready},
	{SCSI_REQUEST_SENSE, 0, 6, ANY, {0x03, 0x01, 0, 0, 0xff, CTRL}, scsi_run_request_sense},
	{SCSI_FORMAT_UNIT, 0, 6, WIPE, {0x04, 0xff, 0, 0, 0, CTRL}, scsi_run_format_unit},
	{SCSI_READ_6, 0, 6, MED, {0x08, 0x1f, 0xff, 0xff, 0xff, CTRL}, scsi_run_read_write},
	{SCSI_WRITE_6, 0, 6, WR, {0x0a, 0x1f, 0xff, 0xff, 0xff, CTRL}, scsi_run_read_write},
	{SCSI_INQUIRY, 0, 6, ANY, {0x12, 0x03, 0xff, 0xff, 0xff, CTRL}, scsi_run_inquiry},
	{SCSI_MODE_SELECT_6, 0, 6, 0, {0x15, 0x11, 0, 0, 0xff, CTRL}, scsi_run_mode_select},
	{SCSI_RESERVE_6, 0, 6, ONCE, {0x16, 0x11, 0, 0, 0, CTRL}, scsi_run_reserve},
	{SCSI_RELEASE_6, 0, 6, ONCE, {0x17, 0x11, 0, 0, 0, CTRL}, scsi_run_reserve},
	{SCSI_MODE_SENSE_6, 0, 6, RD, {0x1a, 0x08, 0xff, 0xff, 0xff, CTRL}, scsi_run_mode_sense},
	{SCSI_START_STOP_UNIT, 0, 6, 0, {0x1b, 0x01, 0, 0x0f, 0xf7, CTRL},
		scsi_run_start_stop_unit},
	{SCSI_RECEIVE_DIAGNOSTIC, 0, 6, RD, {0x1c, 0x01, 0xff, 0xff, 0xff, CTRL},
		scsi_run_receive_diagnostic},
	{SCSI_SEND_DIAGNOSTIC, 0, 6, SCSI_COMMAND_MEDIUM, {0x1d, 0xf7, 0, 0xff, 0xff, CTRL},
		scsi_run_send_diagnostic},
	{SCSI_PREVENT_ALLOW, 0, 6, 0, {0x1e, 0, 0, 0, 0x03, CTRL}, scsi_run_prevent_allow},
	{SCSI_READ_CAPACITY_10, 0, 10, MED | FREE, {0x25, 0, BE32, 0, 0, 0x01, CTRL},
		scsi_run_read_capacity_10},
	{SCSI_READ_10, 0, 10, MED, {0x28, 0xf8, BE32, 0, 0xff, 0xff, CTRL}, scsi_run_read_write},
	{SCSI_WRITE_10, 0, 10, WR, {0x2a, 0xf8, BE32, 0, 0xff, 0xff, CTRL}, scsi_run_read_write},
	{SCSI_WRITE_AND_VERIFY_10, 0, 10, WR, {0x2e, 0xf6, BE32, 0, 0xff, 0xff, CTRL},
		scsi_run_write_and_verify},
	{SCSI_VERIFY_10, 0, 10, MED, {0x2f, 0xf6, BE32, 0, 0xff, 0xff, CTRL}, scsi_run_verify},
	{SCSI_PRE_FETCH_10, 0, 10, MED, {0x34, 0x02, BE32, 0, 0xff, 0xff, CTRL},
		scsi_run_pre_fetch},
	{SCSI_SYNCHRONIZE_CACHE_10, 0, 10, SCSI_COMMAND_MEDIUM,
		{0x35, 0x02, BE32, 0, 0xff, 0xff, CTRL}, scsi_run_synchronize_cache},
	{SCSI_READ_DEFECT_DATA_10, 0, 10, MED, {0x37, 0, 0x1f, 0, 0, 0, 0, 0xff, 0xff, CTRL},
		scsi_run_read_defect_data},
	{SCSI_WRITE_BUFFER, 0, 10, 0, {0x3b, 0x1f, 0xff, BE24, BE24, CTRL}, scsi_run_write_buffer},
	{SCSI_READ_BUFFER, 0, 10, RD, {0x3c, 0x1f, 0xff, BE24, BE24, CTRL}, scsi_run_read_buffer},
	{SCSI_WRITE_SAME_10, 0, 10, WR, {0x41, 0xfe, BE32, 0, 0xff, 0xff, CTRL},
		scsi_run_write_same},
	{SCSI_UNMAP, 0, 10, WR | SCSI_COMMAND_UNMAPS, {0x42, 0x01, 0, 0, 0, 0, 0, 0xff, 0xff, CTRL},
		scsi_run_unmap},
	{SCSI_SANITIZE, SCSI_SA_SANITIZE_OVERWRITE, 10, WIPE | SA,
		{0x48, 0xa1, 0, 0, 0, 0, 0, 0xff, 0xff, CTRL}, scsi_run_sanitize},
	{SCSI_SANITIZE, SCSI_SA_SANITIZE_BLOCK_ERASE, 10, WIPE | SA,
		{0x48, 0xa2, 0, 0, 0, 0, 0, 0xff, 0xff, CTRL}, scsi_run_sanitize},
	{SCSI_SANITIZE, SCSI_SA_SANITIZE_EXIT_FAILURE_MODE, 10, WIPE | SA,
		{0x48, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff, CTRL}, scsi_run_sanitize},
	{SCSI_LOG_SELECT, 0, 10, 0, {0x4c, 0x03, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, CTRL},
		scsi_run_log_select},
	{SCSI_LOG_SENSE, 0, 10, FREE, {0x4d, 0x03, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, CTRL},
		scsi_run_log_sense},
	{SCSI_MODE_SELECT_10, 0, 10, 0, {0x55, 0x11, 0, 0, 0, 0, 0, 0xff, 0xff, CTRL},
		scsi_run_mode_select},
	{SCSI_RESERVE_10, 0, 10, ONCE, {0x56, 0x13, 0, 0, 0, 0, 0, 0, 0, CTRL}, scsi_run_reserve},
	{SCSI_RELEASE_10, 0, 10, ONCE, {0x57, 0x13, 0, 0, 0, 0, 0, 0, 0, CTRL}, scsi_run_reserve},
	{SCSI_MODE_SENSE_10, 0, 10, RD, {0x5a, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, CTRL},
		scsi_run_mode_sense},
	PERSISTENT_IN(SCSI_SA_READ_KEYS),
	PERSISTENT_IN(SCSI_SA_READ_RESERVATION),
	PERSISTENT_IN(SCSI_SA_REPORT_CAPABILITIES),
	PERSISTENT_IN(SCSI_SA_READ_FULL_STATUS),
	PERSISTENT_OUT(SCSI_SA_REGISTER),
	PERSISTENT_OUT(SCSI_SA_RESERVE),
	PERSISTENT_OUT(SCSI_SA_RELEASE),
	PERSISTENT_OUT(SCSI_SA_CLEAR),
	PERSISTENT_OUT(SCSI_SA_PREEMPT),
	PERSISTENT_OUT(SCSI_SA_PREEMPT_AND_ABORT),
	PERSISTENT_OUT(SCSI_SA_REGISTER_AND_IGNORE),
	PERSISTENT_OUT(SCSI_SA_REGISTER_AND_MOVE),
	{SCSI_EXTENDED_COPY, SCSI_SA_EXTENDED_COPY_LID1, 16, SA | SCSI_COMMAND_ONCE,
		{0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, BE32, 0, CTRL}, scsi_run_extended_copy},
	COPY_RESULTS(SCSI_SA_COPY_STATUS, 0xff),
	COPY_RESULTS(SCSI_SA_OPERATING_PARAMETERS, 0),
	COPY_RESULTS(SCSI_SA_FAILED_SEGMENT_DETAILS, 0xff),
	{SCSI_READ_16, 0, 16, MED, {0x88, 0xf8, BE64, BE32, 0, CTRL}, scsi_run_read_write},
	{SCSI_COMPARE_AND_WRITE, 0, 16, WR | SCSI_COMMAND_ONCE,
		{0x89, 0xf8, BE64, 0, 0, 0, 0xff, 0, CTRL}, scsi_run_compare_and_write},
	{SCSI_WRITE_16, 0, 16, WR, {0x8a, 0xf8, BE64, BE32, 0, CTRL}, scsi_run_read_write},
	{SCSI_ORWRITE_16, 0, 16, WR, {0x8b, 0xf8, BE64, BE32, 0, CTRL}, scsi_run_orwrite},
	{SCSI_WRITE_AND_VERIFY_16, 0, 16, WR, {0x8e, 0xf6, BE64, BE32, 0, CTRL},
		scsi_run_write_and_verify},
	{SCSI_VERIFY_16, 0, 16, MED, {0x8f, 0xf6, BE64, BE32, 0, CTRL}, scsi_run_verify},
	{SCSI_PRE_FETCH_16, 0, 16, MED, {0x90, 0x02, BE64, BE32, 0, CTRL}, scsi_run_pre_fetch},
	{SCSI_SYNCHRONIZE_CACHE_16, 0, 16, SCSI_COMMAND_MEDIUM, {0x91, 0x02, BE64, BE32, 0, CTRL},
		scsi_run_synchronize_cache},
	{SCSI_WRITE_SAME_16, 0, 16, WR, {0x93, 0xff, BE64, BE32, 0, CTRL}, scsi_run_write_same},
	{SCSI_WRITE_ATOMIC_16, 0, 16, WR | SCSI_COMMAND_ATOMIC,
		{0x9c, 0xf8, BE64, 0xff, 0xff, 0xff, 0xff, 0, CTRL}, scsi_run_write_atomic},
	{SCSI_SERVICE_ACTION_IN_16, SCSI_SA_READ_CAPACITY_16, 16, MED | FREE | SA,
		{0x9e, 0x10, BE64, BE32, 0x01, CTRL}, scsi_run_read_capacity_16},
	{SCSI_SERVICE_ACTION_IN_16, SCSI_SA_GET_LBA_STATUS_16, 16, MED | SA,
		{0x9e, 0x12, BE64, BE32, 0xff, CTRL}, scsi_run_get_lba_status},
	{SCSI_REPORT_LUNS, 0, 12, ANY, {0xa0, 0, 0xff, 0, 0, 0, BE32, 0, CTRL},
		scsi_run_report_luns},
	{SCSI_MAINTENANCE_IN, SCSI_SA_REPORT_IDENTIFYING, 12, SA | FREE | SCSI_COMMAND_KEEPS,
		{0xa3, 0x05, 0, 0, 0, 0, BE32, 0xfe, CTRL}, scsi_run_report_identifying},
	{SCSI_MAINTENANCE_IN, SCSI_SA_REPORT_TARGET_PORT_GROUPS, 12, SA | FREE,
		{0xa3, 0xea, 0, 0, 0, 0, BE32, 0, CTRL}, scsi_run_report_target_port_groups},
	{SCSI_MAINTENANCE_IN, SCSI_SA_REPORT_TIMESTAMP, 12, SA | FREE,
		{0xa3, 0x0f, 0, 0, 0, 0, BE32, 0, CTRL}, scsi_run_report_timestamp},
	{SCSI_MAINTENANCE_IN, SCSI_SA_REPORT_SUPPORTED_OPCODES, 12, RD | SA | SCSI_COMMAND_ON_WIPED,
		{0xa3, 0x0c, 0x87, 0xff, 0xff, 0xff, BE32, 0, CTRL},
		scsi_run_report_supported_opcodes},
	{SCSI_MAINTENANCE_IN, SCSI_SA_REPORT_SUPPORTED_TMF, 12, RD | SA | SCSI_COMMAND_ON_WIPED,
		{0xa3, 0x0d, 0x80, 0, 0, 0, BE32, 0, CTRL}, scsi_run_report_supported_tmf},
	{SCSI_MAINTENANCE_OUT, SCSI_SA_SET_IDENTIFYING, 12, SA | SCSI_COMMAND_KEEPS,
		{0xa4, 0x06, 0, 0, 0, 0, BE32, 0xfe, CTRL}, scsi_run_set_identifying},
	{SCSI_MAINTENANCE_OUT, SCSI_SA_SET_TARGET_PORT_GROUPS, 12, SA,
		{0xa4, 0x0a, 0, 0, 0, 0, BE32, 0, CTRL}, scsi_run_set_target_port_groups},
	{SCSI_MAINTENANCE_OUT, SCSI_SA_SET_TIMESTAMP, 12, SA,
		{0xa4, 0x0f, 0, 0, 0, 0, BE32, 0, CTRL}, scsi_run_set_timestamp},
	{SCSI_READ_12, 0, 12, MED, {0xa8, 0xf8, BE32, BE32, 0, CTRL}, scsi_run_read_write},
	{SCSI_WRITE_12, 0, 12, WR, {0xaa, 0xf8, BE32, BE32, 0, CTRL}, scsi_run_read_write},
	{SCSI_WRITE_AND_VERIFY_12, 0, 12, WR, {0xae, 0xf6, BE32, BE32, 0, CTRL},
		scsi_run_write_and_verify},
	{SCSI_VERIFY_12, 0, 12, MED, {0xaf, 0xf6, BE32, BE32, 0, CTRL}, scsi_run_verify},
	{SCSI_READ_DEFECT_DATA_12, 0, 12, MED, {0xb7, 0x1f, BE32, BE32, 0, CTRL},
		scsi_run_read_defect_data},
	{SCSI_VARIABLE_LENGTH, SCSI_SA_READ_32, 32, MED | LONG, LONG_USAGE(SCSI_SA_READ_32, 0xf8),
		scsi_run_read_write},
	{SCSI_VARIABLE_LENGTH, SCSI_SA_VERIFY_32, 32, MED | LONG,
		LONG_USAGE(SCSI_SA_VERIFY_32, 0xf6), scsi_run_verify},
	{SCSI_VARIABLE_LENGTH, SCSI_SA_WRITE_32, 32, WR | LONG, LONG_USAGE(SCSI_SA_WRITE_32, 0xf8),
		scsi_run_read_write},
	{SCSI_VARIABLE_LENGTH, SCSI_SA_WRITE_AND_VERIFY_32, 32, WR | LONG,
		LONG_USAGE(SCSI_SA_WRITE_AND_VERIFY_32, 0xf6), scsi_run_write_and_verify},
	{SCSI_VARIABLE_LENGTH, SCSI_SA_WRITE_SAME_32, 32, WR | LONG,
		LONG_USAGE(SCSI_SA_WRITE_SAME_32, 0xff), scsi_run_write_same},
	{SCSI_VARIABLE_LENGTH, SCSI_SA_ORWRITE_32, 32, WR | LONG, ORWRITE_USAGE, scsi_run_orwrite},
	{SCSI_VARIABLE_LENGTH, SCSI_SA_GET_LBA_STATUS_32, 32, MED | LONG,
		LONG_USAGE(SCSI_SA_GET_LBA_STATUS_32, 0xff), scsi_run_get_lba_status},
};

const unsigned scsi_command_count = ARRAY_SIZE(scsi_commands);

bool scsi_command_exists(const struct scsi_command *command, const struct scsi_lun_channel *channel)
{
	if (command->flags & SCSI_COMMAND_UNMAPS)
		return channel && bdev_supports(channel->bdev, BDEV_IO_UNMAP);
	if (command->flags & SCSI_COMMAND_LONG)
		return !channel || !channel->attachment->short_cdbs;
	if (command->flags & SCSI_COMMAND_KEEPS)
		return channel && channel->attachment->lun->store;
	if (command->flags & SCSI_COMMAND_ATOMIC)
		return channel && channel->bdev->atomic_write_bytes;
	return true;
}

static bool command_is(const struct scsi_command *command, const uint8_t *cdb)
{
	if (command->flags & SCSI_COMMAND_LONG)
		return command->service_action == be16_get(cdb + 8);
	if (command->flags & SCSI_COMMAND_SERVICE_ACTION)
		return command->service_action == (cdb[1] & 0x1f);
	return true;
}

/* NULL when there is none; *ret_opcode tells whether at least the operation code is known. */
static const struct scsi_command *command_find(
	const struct scsi_lun_channel *channel, const uint8_t *cdb, bool *ret_opcode)
{
	*ret_opcode = false;
	for (unsigned i = 0; i < scsi_command_count; i++) {
		const struct scsi_command *command = &scsi_commands[i];

		if (command->opcode != cdb[0] || !scsi_command_exists(command, channel))
			continue;
		*ret_opcode = true;
		if (command_is(command, cdb))
			return command;
	}
	return NULL;
}

const struct scsi_command *scsi_command_find(
	const struct scsi_lun_channel *channel, const uint8_t *cdb)
{
	bool opcode_known;

	return command_find(channel, cdb, &opcode_known);
}

/* ---- reservations -------------------------------------------------------------------------- */

/* What depends on more of the CDB than its service action: SBC-3 table 13. */
static bool command_is_unrestricted(const struct scsi_command *command, const uint8_t *cdb)
{
	switch (command->opcode) {
	case SCSI_START_STOP_UNIT: /* START, and no power condition */
		return (cdb[4] & 0xf1) == 0x01;
	case SCSI_PREVENT_ALLOW:
		return (cdb[4] & 0x03) == 0;
	default:
		return command->flags & SCSI_COMMAND_UNRESTRICTED;
	}
}

bool scsi_command_conflicts(
	const struct scsi_command *command, const uint8_t *cdb, enum scsi_restriction restriction)
{
	if (restriction == SCSI_UNRESTRICTED)
		return false;
	if (restriction == SCSI_RESTRICTED_ALL && command->opcode == SCSI_TEST_UNIT_READY)
		return true; /* SPC-2 table 9 */
	if (command_is_unrestricted(command, cdb))
		return false;
	return restriction != SCSI_RESTRICTED_WRITES || !(command->flags & SCSI_COMMAND_READS);
}

bool scsi_task_conflicts(const struct scsi_task *task, enum scsi_restriction restriction)
{
	const struct scsi_command *command = scsi_command_find(task->channel, task->cdb);

	return command && scsi_command_conflicts(command, task->cdb, restriction);
}

/* ---- dispatch ------------------------------------------------------------------------------ */

static enum scsi_run command_unknown(struct scsi_task *task, bool opcode_known)
{
	if (opcode_known && task->cdb[0] == SCSI_VARIABLE_LENGTH)
		return scsi_task_check_cdb(task, 8, -1);
	if (opcode_known)
		return scsi_task_check_cdb(task, 1, 4);
	return scsi_task_check(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

/* No logical unit, or the well-known one. */
static enum scsi_run dispatch_without_lun(
	struct scsi_task *task, const struct scsi_command *command)
{
	unsigned needed = task->well_known ? SCSI_COMMAND_WELL_KNOWN : SCSI_COMMAND_ANY_LUN;

	if (command && command->flags & needed)
		return command->run(task);
	if (task->well_known) /* SPC-4 8.2: whatever it is */
		return command_unknown(task, false);
	return scsi_task_check(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LUN_NOT_SUPPORTED);
}

static enum scsi_run attention_tell(struct scsi_task *task)
{
	enum scsi_unit_attention attention;

	if (task->of_copy) /* it stays for the initiator's own commands */
		return SCSI_GOES_ON;
	/* Another reactor may have told it in between: then there is nothing to tell here. */
	if (!scsi_attention_take(task->channel->attachment, &attention))
		return SCSI_GOES_ON;
	return scsi_task_check_attention(task, attention);
}

static enum scsi_run check_cdb(struct scsi_task *task, const struct scsi_command *command)
{
	unsigned control = scsi_command_control(command);

	if (task->cdb[control] & CTRL)
		return scsi_task_check_cdb(task, control, 2);
	if (command->flags & SCSI_COMMAND_LONG && task->cdb[7] != command->cdb_len - 8)
		return scsi_task_check_cdb(task, 7, -1);
	return SCSI_GOES_ON;
}

/* SBC-3 4.11.4: what runs beside SANITIZE, and what after one that failed. FORMAT UNIT is the same
 * to us. */
static enum scsi_run check_wiped(struct scsi_task *task, const struct scsi_command *command)
{
	const struct scsi_lun *lun = task->channel->attachment->lun;
	uint8_t state = atomic_load_explicit(&lun->wipe_state, memory_order_acquire);
	bool runs = state == SCSI_WIPE_SANITIZING || state == SCSI_WIPE_FORMATTING;

	if (command->flags & (SCSI_COMMAND_PAST_ATTENTION | SCSI_COMMAND_ON_WIPED))
		return SCSI_GOES_ON;
	if (!runs && command->flags & SCSI_COMMAND_ENDS_FAILURE)
		return SCSI_GOES_ON;
	return scsi_wipe_check(task);
}

/* What the initiator has to do with the logical unit. */
static enum scsi_run check_nexus(struct scsi_task *task, const struct scsi_command *command)
{
	enum scsi_restriction restriction =
		atomic_load_explicit(&task->channel->restriction, memory_order_relaxed);

	if (unlikely(restriction) && scsi_command_conflicts(command, task->cdb, restriction)) {
		task->status = SCSI_STATUS_RESERVATION_CONFLICT;
		return SCSI_ENDED;
	}
	if (unlikely(task->recovered) && command->flags & SCSI_COMMAND_ONCE)
		return scsi_task_check(task, SCSI_KEY_UNIT_ATTENTION, SCSI_ASC_POWER_ON);
	return SCSI_GOES_ON;
}

enum scsi_run scsi_command_dispatch(struct scsi_task *task)
{
	struct scsi_lun_channel *channel = task->channel;
	const struct scsi_command *command;
	uint32_t attention;
	bool opcode_known;

	if (task->in_bytes && task->out_bytes) {
		task->response = SCSI_RESPONSE_FAILURE;
		return SCSI_ENDED;
	}
	command = command_find(channel, task->cdb, &opcode_known);
	task->command = command;
	if (!channel)
		return dispatch_without_lun(task, command);

	attention = atomic_load_explicit(&channel->attachment->attention, memory_order_acquire);
	if (attention & SCSI_ATTENTION_CONDITIONS &&
		!(command && command->flags & SCSI_COMMAND_PAST_ATTENTION) &&
		attention_tell(task) == SCSI_ENDED)
		return SCSI_ENDED;
	if (!command)
		return command_unknown(task, opcode_known);
	if (check_cdb(task, command) == SCSI_ENDED)
		return SCSI_ENDED;
	if (check_nexus(task, command) == SCSI_ENDED)
		return SCSI_ENDED;
	if (attention & SCSI_ATTENTION_WIPED && check_wiped(task, command) == SCSI_ENDED)
		return SCSI_ENDED;
	if (scsi_lun_state_check(task, command, attention) == SCSI_ENDED)
		return SCSI_ENDED;
	return command->run(task);
}
