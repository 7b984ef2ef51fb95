/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command table: what exists, how long its CDB is, which bits of it are looked at, what must
 * hold before it runs. One table drives dispatch, checking and REPORT SUPPORTED OPERATION CODES, so
 * that they cannot disagree.
 */
#ifndef SCSI_COMMAND_H
#define SCSI_COMMAND_H

#include "scsi/steps.h"

enum scsi_command_flags {
	SCSI_COMMAND_ANY_LUN = 1 << 0, /* answers where the target has no such LUN */
	SCSI_COMMAND_WELL_KNOWN = 1 << 1, /* answers on the REPORT LUNS well-known LUN */
	SCSI_COMMAND_PAST_ATTENTION = 1 << 2, /* runs while a unit attention is pending */
	SCSI_COMMAND_MEDIUM = 1 << 3, /* needs the block device to be ours to use */
	SCSI_COMMAND_WRITES = 1 << 4, /* refused when write protected */
	SCSI_COMMAND_UNMAPS = 1 << 5, /* exists where the block device can unmap */
	SCSI_COMMAND_SERVICE_ACTION = 1 << 6, /* byte 1 bits 0-4 select it */
	SCSI_COMMAND_LONG = 1 << 7, /* of variable length (SPC-4 4.2.3): bytes 8 and 9 do */
	SCSI_COMMAND_ATOMIC = 1 << 8, /* exists where the block device has atomic writes */
	SCSI_COMMAND_SLOW = 1 << 9, /* nobody can say how long it takes */
	/* Under somebody else's reservation (reservation.c): it runs, it runs unless access is
	 * exclusive, or, with neither, it conflicts. */
	SCSI_COMMAND_UNRESTRICTED = 1 << 10,
	SCSI_COMMAND_READS = 1 << 11,
	/* Executed twice it would do something else: not repeated after a restart. */
	SCSI_COMMAND_ONCE = 1 << 12,
	SCSI_COMMAND_ON_WIPED = 1 << 13, /* runs while the medium is being overwritten (wipe.h) */
	SCSI_COMMAND_ENDS_FAILURE = 1 << 14, /* runs once that has failed */
	SCSI_COMMAND_KEEPS = 1 << 15, /* exists where something can be kept (store.h) */
};

struct scsi_command {
	uint8_t opcode;
	uint16_t service_action;
	uint8_t cdb_len;
	uint16_t flags;
	/* A one for each bit that we look at; byte 0 is the operation code, a service action stands
	 * as itself (SPC-4 6.35.3). */
	uint8_t usage[32];
	enum scsi_run (*run)(struct scsi_task *task);
};

static inline bool scsi_command_has_actions(const struct scsi_command *command)
{
	return command->flags & (SCSI_COMMAND_SERVICE_ACTION | SCSI_COMMAND_LONG);
}

/* Where in the CDB the control byte is. */
static inline unsigned scsi_command_control(const struct scsi_command *command)
{
	return command->flags & SCSI_COMMAND_LONG ? 1 : command->cdb_len - 1u;
}

extern const struct scsi_command scsi_commands[];
extern const unsigned scsi_command_count;

/* Does this logical unit have it? */
bool scsi_command_exists(
	const struct scsi_command *command, const struct scsi_lun_channel *channel);

/* NULL when the logical unit has no such command. */
const struct scsi_command *scsi_command_find(
	const struct scsi_lun_channel *channel, const uint8_t *cdb);

/* Does it end with RESERVATION CONFLICT for an initiator with that restriction? */
bool scsi_command_conflicts(
	const struct scsi_command *command, const uint8_t *cdb, enum scsi_restriction restriction);
/* The same of a task, on its reactor, before its done. */
bool scsi_task_conflicts(const struct scsi_task *task, enum scsi_restriction restriction);

/* The general way: finds the command, checks what the table says, runs it. */
enum scsi_run scsi_command_dispatch(struct scsi_task *task);

/* read_write.c. The straight path: false when it is none, or nothing was done because something
 * about it is odd; the general way then finds out what. */
bool scsi_read_write_submit(struct scsi_task *task);

/* read_write.c. Writes the task's data-out to task->offset, task->left bytes of it. */
enum scsi_run scsi_write_data(struct scsi_task *task, uint8_t flags, scsi_step_fn next);

enum scsi_run scsi_run_compare_and_write(struct scsi_task *task);
enum scsi_run scsi_run_extended_copy(struct scsi_task *task);
enum scsi_run scsi_run_format_unit(struct scsi_task *task);
enum scsi_run scsi_run_get_lba_status(struct scsi_task *task);
enum scsi_run scsi_run_inquiry(struct scsi_task *task);
enum scsi_run scsi_run_mode_select(struct scsi_task *task);
enum scsi_run scsi_run_mode_sense(struct scsi_task *task);
enum scsi_run scsi_run_orwrite(struct scsi_task *task);
enum scsi_run scsi_run_persistent_in(struct scsi_task *task);
enum scsi_run scsi_run_persistent_out(struct scsi_task *task);
enum scsi_run scsi_run_pre_fetch(struct scsi_task *task);
enum scsi_run scsi_run_prevent_allow(struct scsi_task *task);
enum scsi_run scsi_run_read_buffer(struct scsi_task *task);
enum scsi_run scsi_run_read_capacity_10(struct scsi_task *task);
enum scsi_run scsi_run_read_capacity_16(struct scsi_task *task);
enum scsi_run scsi_run_read_defect_data(struct scsi_task *task);
enum scsi_run scsi_run_read_write(struct scsi_task *task);
enum scsi_run scsi_run_receive_copy_results(struct scsi_task *task);
enum scsi_run scsi_run_receive_diagnostic(struct scsi_task *task);
enum scsi_run scsi_run_report_luns(struct scsi_task *task);
enum scsi_run scsi_run_log_select(struct scsi_task *task);
enum scsi_run scsi_run_log_sense(struct scsi_task *task);
enum scsi_run scsi_run_report_identifying(struct scsi_task *task);
enum scsi_run scsi_run_report_target_port_groups(struct scsi_task *task);
enum scsi_run scsi_run_report_timestamp(struct scsi_task *task);
enum scsi_run scsi_run_set_identifying(struct scsi_task *task);
enum scsi_run scsi_run_set_target_port_groups(struct scsi_task *task);
enum scsi_run scsi_run_set_timestamp(struct scsi_task *task);
enum scsi_run scsi_run_report_supported_opcodes(struct scsi_task *task);
enum scsi_run scsi_run_report_supported_tmf(struct scsi_task *task);
enum scsi_run scsi_run_request_sense(struct scsi_task *task);
enum scsi_run scsi_run_reserve(struct scsi_task *task);
enum scsi_run scsi_run_sanitize(struct scsi_task *task);
enum scsi_run scsi_run_send_diagnostic(struct scsi_task *task);
enum scsi_run scsi_run_start_stop_unit(struct scsi_task *task);
enum scsi_run scsi_run_synchronize_cache(struct scsi_task *task);
enum scsi_run scsi_run_test_unit_ready(struct scsi_task *task);
enum scsi_run scsi_run_unmap(struct scsi_task *task);
enum scsi_run scsi_run_verify(struct scsi_task *task);
enum scsi_run scsi_run_write_and_verify(struct scsi_task *task);
enum scsi_run scsi_run_write_atomic(struct scsi_task *task);
enum scsi_run scsi_run_write_buffer(struct scsi_task *task);
enum scsi_run scsi_run_write_same(struct scsi_task *task);

/* vpd.c: INQUIRY with EVPD. */
enum scsi_run scsi_run_inquiry_vpd(struct scsi_task *task, uint8_t page, size_t allocation_length);

#endif
