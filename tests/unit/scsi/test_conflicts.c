/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may send what while a disk is reserved: every command of the table, under every type of
 * reservation and under RESERVE, from the holder, a registrant and neither. What the standards say
 * (SPC-4 tables 63 and 64, SBC-3 table 13, SPC-2 table 9) stands here once more, as one letter for
 * each command, and a command without a row fails.
 */
#include <stdio.h>
#include <string.h>

#include "kept.h"
#include "nexuses.h"
#include "scsi/command.h"

enum kind {
	FREE, /* everybody, always */
	READS, /* everybody unless access is exclusive */
	WRITES, /* nobody else */
	OWN, /* has rules of its own, which are tested elsewhere */
};

static const struct row {
	enum kind kind;
	uint8_t cdb[16];
} rows[] = {
	{FREE, {SCSI_TEST_UNIT_READY}}, {FREE, {SCSI_REQUEST_SENSE}},
	{WRITES, {0x04}}, /* FORMAT UNIT */
	{WRITES, {0x07}}, /* REASSIGN BLOCKS */
	{READS, {SCSI_READ_6}}, {WRITES, {SCSI_WRITE_6}}, {FREE, {SCSI_INQUIRY}},
	{WRITES, {SCSI_MODE_SELECT_6}}, {OWN, {SCSI_RESERVE_6}}, {OWN, {SCSI_RELEASE_6}},
	{READS, {SCSI_MODE_SENSE_6}}, {WRITES, {SCSI_START_STOP_UNIT, 0, 0, 0, 0x00}},
	{WRITES, {SCSI_START_STOP_UNIT, 0, 0, 0, 0x11}}, /* to active */
	{FREE, {SCSI_START_STOP_UNIT, 0, 0, 0, 0x01}},
	{READS, {0x1c}}, /* RECEIVE DIAGNOSTIC RESULTS */
	{WRITES, {0x1d}}, /* SEND DIAGNOSTIC */
	{FREE, {SCSI_PREVENT_ALLOW, 0, 0, 0, 0x00}}, {WRITES, {SCSI_PREVENT_ALLOW, 0, 0, 0, 0x01}},
	{FREE, {SCSI_READ_CAPACITY_10}}, {READS, {SCSI_READ_10}}, {WRITES, {SCSI_WRITE_10}},
	{WRITES, {SCSI_WRITE_AND_VERIFY_10}}, {READS, {SCSI_VERIFY_10}},
	{READS, {0x34}}, /* PRE-FETCH (10) */
	{WRITES, {SCSI_SYNCHRONIZE_CACHE_10}}, {READS, {0x37}}, /* READ DEFECT DATA (10) */
	{WRITES, {0x3b}}, /* WRITE BUFFER */
	{READS, {0x3c}}, /* READ BUFFER */
	{WRITES, {SCSI_WRITE_SAME_10}}, {WRITES, {SCSI_UNMAP}},
	{WRITES, {0x48, 0x01}}, /* SANITIZE: overwrite, block erase, cryptographic erase, exit */
	{WRITES, {0x48, 0x02}}, {WRITES, {0x48, 0x03}}, {WRITES, {0x48, 0x1f}},
	{WRITES, {0x4c}}, /* LOG SELECT */
	{FREE, {0x4d}}, /* LOG SENSE */
	{WRITES, {SCSI_MODE_SELECT_10}}, {OWN, {SCSI_RESERVE_10}}, {OWN, {SCSI_RELEASE_10}},
	{READS, {SCSI_MODE_SENSE_10}}, {OWN, {SCSI_PERSISTENT_IN, SCSI_SA_READ_KEYS}},
	{OWN, {SCSI_PERSISTENT_IN, SCSI_SA_READ_RESERVATION}},
	{OWN, {SCSI_PERSISTENT_IN, SCSI_SA_REPORT_CAPABILITIES}},
	{OWN, {SCSI_PERSISTENT_IN, SCSI_SA_READ_FULL_STATUS}},
	{OWN, {SCSI_PERSISTENT_OUT, SCSI_SA_REGISTER}},
	{OWN, {SCSI_PERSISTENT_OUT, SCSI_SA_RESERVE}},
	{OWN, {SCSI_PERSISTENT_OUT, SCSI_SA_RELEASE}}, {OWN, {SCSI_PERSISTENT_OUT, SCSI_SA_CLEAR}},
	{OWN, {SCSI_PERSISTENT_OUT, SCSI_SA_PREEMPT}},
	{OWN, {SCSI_PERSISTENT_OUT, SCSI_SA_PREEMPT_AND_ABORT}},
	{OWN, {SCSI_PERSISTENT_OUT, SCSI_SA_REGISTER_AND_IGNORE}},
	{OWN, {SCSI_PERSISTENT_OUT, SCSI_SA_REGISTER_AND_MOVE}},
	{READS, {0x7f, 0, 0, 0, 0, 0, 0, 24, 0, 0x09}}, /* READ (32) */
	{READS, {0x7f, 0, 0, 0, 0, 0, 0, 24, 0, 0x0a}}, /* VERIFY (32) */
	{WRITES, {0x7f, 0, 0, 0, 0, 0, 0, 24, 0, 0x0b}}, /* WRITE (32) */
	{WRITES, {0x7f, 0, 0, 0, 0, 0, 0, 24, 0, 0x0c}}, /* WRITE AND VERIFY (32) */
	{WRITES, {0x7f, 0, 0, 0, 0, 0, 0, 24, 0, 0x0d}}, /* WRITE SAME (32) */
	{WRITES, {0x7f, 0, 0, 0, 0, 0, 0, 24, 0, 0x0e}}, /* ORWRITE (32) */
	{WRITES, {0x7f, 0, 0, 0, 0, 0, 0, 24, 0, 0x0f}}, /* WRITE ATOMIC (32) */
	{READS, {0x7f, 0, 0, 0, 0, 0, 0, 24, 0, 0x12}}, /* GET LBA STATUS (32) */
	{WRITES, {0x83, 0x00}}, /* EXTENDED COPY (LID1), (LID4); COPY OPERATION ABORT */
	{WRITES, {0x83, 0x01}}, {WRITES, {0x83, 0x1c}},
	{WRITES, {0x84, 0x00}}, /* RECEIVE COPY RESULTS and its kin */
	{WRITES, {0x84, 0x01}}, {WRITES, {0x84, 0x03}}, {WRITES, {0x84, 0x04}},
	{READS, {SCSI_READ_16}}, {WRITES, {0x89}}, /* COMPARE AND WRITE */
	{WRITES, {SCSI_WRITE_16}}, {WRITES, {0x8b}}, /* ORWRITE (16) */
	{WRITES, {SCSI_WRITE_AND_VERIFY_16}}, {READS, {SCSI_VERIFY_16}},
	{READS, {0x90}}, /* PRE-FETCH (16) */
	{WRITES, {SCSI_SYNCHRONIZE_CACHE_16}}, {WRITES, {SCSI_WRITE_SAME_16}},
	{WRITES, {0x9c}}, /* WRITE ATOMIC (16) */
	{FREE, {SCSI_SERVICE_ACTION_IN_16, SCSI_SA_READ_CAPACITY_16}},
	{READS, {SCSI_SERVICE_ACTION_IN_16, 0x12}}, /* GET LBA STATUS (16) */
	{FREE, {SCSI_REPORT_LUNS}},
	{FREE, {SCSI_MAINTENANCE_IN, 0x05}}, /* REPORT IDENTIFYING INFORMATION */
	{FREE, {SCSI_MAINTENANCE_IN, 0x0a}}, /* REPORT TARGET PORT GROUPS */
	{READS, {SCSI_MAINTENANCE_IN, SCSI_SA_REPORT_SUPPORTED_OPCODES}},
	{READS, {SCSI_MAINTENANCE_IN, SCSI_SA_REPORT_SUPPORTED_TMF}},
	{FREE, {SCSI_MAINTENANCE_IN, 0x0f}}, /* REPORT TIMESTAMP */
	{WRITES, {0xa4, 0x06}}, /* SET IDENTIFYING INFORMATION */
	{WRITES, {0xa4, 0x0a}}, /* SET TARGET PORT GROUPS */
	{WRITES, {0xa4, 0x0f}}, /* SET TIMESTAMP */
	{READS, {SCSI_READ_12}}, {WRITES, {SCSI_WRITE_12}}, {WRITES, {SCSI_WRITE_AND_VERIFY_12}},
	{READS, {SCSI_VERIFY_12}}, {READS, {0xb7}}, /* READ DEFECT DATA (12) */
};

static struct nexuses n;
static struct kept kept;

static int setup(void **state)
{
	nexuses_start(&n, NULL);
	kept_open(&kept, &n.w, "conflicts", false);
	n.w.attachment->lun->store = kept.store; /* so that it has every command */
	return 0;
}

static int teardown(void **state)
{
	n.w.attachment->lun->store = NULL;
	kept_close(&kept);
	nexuses_end(&n);
	return 0;
}

static const struct scsi_command *row_command(const struct row *row)
{
	return scsi_command_find(n.w.channel, row->cdb);
}

static bool conflicts(unsigned nexus, const struct row *row)
{
	struct command *command = command_new(&n.w, row->cdb, sizeof(row->cdb));
	bool conflict;

	command_from(&n, nexus, command);
	command_run(command);
	conflict = command->task.status == SCSI_STATUS_RESERVATION_CONFLICT;
	command_free(command);
	return conflict;
}

static void expect_row(unsigned nexus, const struct row *row, bool conflict, const char *who)
{
	if (!row_command(row) || conflicts(nexus, row) == conflict)
		return;
	print_error("command %02x/%02x/%02x of %s %s\n", row->cdb[0], row->cdb[1], row->cdb[4], who,
		conflict ? "goes through" : "conflicts");
	fail();
}

/* All rows from that nexus. */
static void expect_table(unsigned nexus, const char *who, bool reads_conflict, bool writes_conflict)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];

		if (row->kind != OWN)
			expect_row(nexus, row,
				(row->kind == READS && reads_conflict) ||
					(row->kind == WRITES && writes_conflict),
				who);
	}
}

static void under_type(uint8_t type, bool exclusive_access)
{
	bool registrants = type >= 5;

	registers(&n, 0, 0x10);
	registers(&n, 1, 0x11);
	reserves(&n, 0, 0x10, type);
	expect_table(0, "the holder", false, false);
	expect_table(1, "a registrant", exclusive_access && !registrants, !registrants);
	expect_table(2, "neither", exclusive_access, true);
	wants_status(persistent_out(&n, 0, SCSI_SA_CLEAR, 0, 0x10, 0, 0), SCSI_STATUS_GOOD);
	listens(&n, 1);
	expect_table(2, "anybody without a reservation", false, false);
}

static void every_command_has_a_row(void **state)
{
	for (unsigned i = 0; i < scsi_command_count; i++) {
		const struct scsi_command *command = &scsi_commands[i];
		unsigned found = 0;

		for (unsigned j = 0; j < ARRAY_SIZE(rows); j++)
			found += row_command(&rows[j]) == command;
		if (!found && scsi_command_exists(command, n.w.channel)) {
			print_error("command %02x/%02x has no row\n", command->opcode,
				command->service_action);
			fail();
		}
	}
}

static void write_exclusive_lets_others_read(void **state)
{
	under_type(SCSI_WRITE_EXCLUSIVE, false);
}

static void exclusive_access_lets_others_do_nothing(void **state)
{
	under_type(SCSI_EXCLUSIVE_ACCESS, true);
}

static void write_exclusive_registrants_only(void **state)
{
	under_type(SCSI_WRITE_EXCLUSIVE_REGISTRANTS, false);
}

static void exclusive_access_registrants_only(void **state)
{
	under_type(SCSI_EXCLUSIVE_ACCESS_REGISTRANTS, true);
}

static void write_exclusive_all_registrants(void **state)
{
	under_type(SCSI_WRITE_EXCLUSIVE_ALL_REGISTRANTS, false);
}

static void exclusive_access_all_registrants(void **state)
{
	under_type(SCSI_EXCLUSIVE_ACCESS_ALL_REGISTRANTS, true);
}

static void a_reserve_keeps_all_others_out(void **state)
{
	wants_good(FROM(&n, 0, SCSI_RESERVE_6));
	expect_table(0, "who reserved", false, false);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];

		if (row->kind != OWN)
			expect_row(1, row, row->kind != FREE || row->cdb[0] == SCSI_TEST_UNIT_READY,
				"another");
		else if (row->cdb[0] == SCSI_PERSISTENT_IN)
			expect_row(0, row, true, "who reserved");
	}
	wants_good(FROM(&n, 0, SCSI_RELEASE_6));
	expect_table(1, "another, after the release", false, false);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_command_has_a_row),
		TEST(write_exclusive_lets_others_read),
		TEST(exclusive_access_lets_others_do_nothing),
		TEST(write_exclusive_registrants_only),
		TEST(exclusive_access_registrants_only),
		TEST(write_exclusive_all_registrants),
		TEST(exclusive_access_all_registrants),
		TEST(a_reserve_keeps_all_others_out),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
