/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is true of every command: absent and well-known logical units, unit attentions, unknown
 * commands; and the commands that report on others.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "kept.h"
#include "scsi/command.h"

static struct scsi_world w;
static struct kept kept;

static int setup(void **state)
{
	struct disk_options options = SMALL_DISK;

	options.atomic_write_bytes = 65536; /* so that it has every command */
	scsi_world_start(&w, &options);
	kept_begin(&kept, &w, "general", false); /* the same */
	return 0;
}

static int teardown(void **state)
{
	kept_end(&kept);
	scsi_world_end(&w);
	return 0;
}

static struct command *with_in(struct command *command, uint32_t in_len)
{
	command->in_len = in_len;
	return command;
}

static struct command *absent(struct command *command)
{
	command->absent = true;
	return command;
}

static struct command *well_known(struct command *command)
{
	command->well_known = true;
	return command;
}

static void raise_attention(enum scsi_unit_attention attention)
{
	scsi_attention_raise(w.attachment, attention);
}

/* ---- unknown, absent --------------------------------------------------------------------- */

static bool opcode_exists(unsigned opcode)
{
	for (unsigned i = 0; i < scsi_command_count; i++) {
		if (scsi_commands[i].opcode == opcode)
			return true;
	}
	return false;
}

static void unknown_commands_are_invalid_operation_codes(void **state)
{
	for (unsigned opcode = 0; opcode < 256; opcode++) {
		if (!opcode_exists(opcode))
			wants_sense(COMMAND(&w, (uint8_t)opcode), 0x052000);
	}
	wants_bad_cdb(COMMAND(&w, SCSI_SERVICE_ACTION_IN_16, 0x1f), 1, 4);
	wants_bad_cdb(COMMAND(&w, SCSI_MAINTENANCE_IN, 0x00), 1, 4);
	wants_bad_cdb(COMMAND(&w, SCSI_VARIABLE_LENGTH, 0, 0, 0, 0, 0, 0, 24, 0x0f, 0xff), 8, -1);
	wants_bad_cdb(
		COMMAND(&w, SCSI_VARIABLE_LENGTH, 0, 0, 0, 0, 0, 0, 23, 0, SCSI_SA_READ_32), 7, -1);
}

/* With its service action, and long enough for what it is. */
static struct command *command_of(const struct scsi_command *each)
{
	struct command *command = COMMAND(&w, each->opcode);

	if (each->flags & SCSI_COMMAND_LONG) {
		command->cdb[7] = each->cdb_len - 8;
		be16_put(command->cdb + 8, each->service_action);
	} else {
		command->cdb[1] = (uint8_t)each->service_action;
	}
	return command;
}

static void naca_is_refused_by_every_command(void **state)
{
	for (unsigned i = 0; i < scsi_command_count; i++) {
		const struct scsi_command *each = &scsi_commands[i];
		struct command *command;

		command = command_of(each);
		command->cdb[scsi_command_control(each)] = 0x04;
		wants_bad_cdb(command, scsi_command_control(each), 2);
	}
}

static void an_absent_unit_supports_nothing_but_three_commands(void **state)
{
	struct command *command;

	for (unsigned opcode = 0; opcode < 256; opcode++) {
		if (opcode != SCSI_INQUIRY && opcode != SCSI_REPORT_LUNS &&
			opcode != SCSI_REQUEST_SENSE)
			wants_sense(absent(COMMAND(&w, (uint8_t)opcode)), 0x052500);
	}
	command = absent(with_in(COMMAND(&w, SCSI_REQUEST_SENSE, 0, 0, 0, 252), 252));
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(command->task.transferred, 18);
	assert_int_equal(command->in[2], 5);
	assert_int_equal(be16_get(command->in + 12), 0x2500);
	command_free(command);
}

static void the_well_known_unit_has_four_commands(void **state)
{
	for (unsigned opcode = 0; opcode < 256; opcode++) {
		switch (opcode) {
		case SCSI_TEST_UNIT_READY:
		case SCSI_REQUEST_SENSE:
		case SCSI_INQUIRY:
			wants_good(well_known(COMMAND(&w, (uint8_t)opcode)));
			break;
		case SCSI_REPORT_LUNS:
			break;
		default:
			wants_sense(well_known(COMMAND(&w, (uint8_t)opcode)), 0x052000);
		}
	}
}

/* ---- unit attentions --------------------------------------------------------------------- */

static void a_unit_attention_is_told_once_and_before_anything_else(void **state)
{
	static const uint32_t codes[SCSI_UA_COUNT] = {
		[SCSI_UA_POWER_ON] = 0x062900,
		[SCSI_UA_DEVICE_RESET] = 0x062903,
		[SCSI_UA_I_T_NEXUS_LOSS] = 0x062907,
		[SCSI_UA_COMMANDS_CLEARED] = 0x062f00,
		[SCSI_UA_RESERVATIONS_PREEMPTED] = 0x062a03,
		[SCSI_UA_RESERVATIONS_RELEASED] = 0x062a04,
		[SCSI_UA_REGISTRATIONS_PREEMPTED] = 0x062a05,
		[SCSI_UA_LUNS_CHANGED] = 0x063f0e,
		[SCSI_UA_CAPACITY_CHANGED] = 0x062a09,
		[SCSI_UA_MODE_CHANGED] = 0x062a01,
		[SCSI_UA_SOFT_THRESHOLD] = 0x063807,
		[SCSI_UA_MEDIUM_CHANGED] = 0x062800,
		[SCSI_UA_ACCESS_CHANGED] = 0x062a06,
		[SCSI_UA_TIMESTAMP_CHANGED] = 0x062a10,
		[SCSI_UA_IDENTIFIER_CHANGED] = 0x063f05,
		[SCSI_UA_DEFERRED_ERROR] = 0x030c00,
	};

	for (unsigned i = 0; i < SCSI_UA_COUNT; i++) {
		raise_attention(i);
		raise_attention(i);
		wants_sense(COMMAND(&w, 0xff), codes[i]); /* even an unknown command */
		wants_sense(COMMAND(&w, 0xff), 0x052000);
	}
	raise_attention(SCSI_UA_CAPACITY_CHANGED);
	raise_attention(SCSI_UA_POWER_ON);
	wants_sense(with_in(COMMAND(&w, SCSI_READ_10, 0, 0, 0, 0, 0, 0, 0, 1), 512), 0x062900);
	wants_sense(with_in(COMMAND(&w, SCSI_READ_10, 0, 0, 0, 0, 0, 0, 0, 1), 512), 0x062a09);
	wants_good(with_in(COMMAND(&w, SCSI_READ_10, 0, 0, 0, 0, 0, 0, 0, 1), 512));
}

static void tell_low_space(struct world_call *call)
{
	bdev_tell_low_space(call->bdev);
	world_done(call, 0);
}

/* Which threshold is in the information: where its descriptor is in the mode page. */
static void little_space_left_is_a_unit_attention(void **state)
{
	struct world_call call = {.run = tell_low_space, .bdev = &w.disk.bdev};
	struct command *command = COMMAND(&w, SCSI_TEST_UNIT_READY);

	world_run(&w.world, w.world.control, &call);
	command_run(command);
	assert_int_equal(command_sense(command), 0x063807);
	assert_int_equal(command->task.sense[0], 0xf0);
	assert_int_equal(be32_get(command->task.sense + 3), 16);
	command_free(command);
	wants_good(COMMAND(&w, SCSI_TEST_UNIT_READY));
}

static void inquiry_and_report_luns_pass_a_unit_attention(void **state)
{
	raise_attention(SCSI_UA_POWER_ON);
	wants_good(with_in(COMMAND(&w, SCSI_INQUIRY, 0, 0, 0, 36), 36));
	wants_good(with_in(COMMAND(&w, SCSI_REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 0, 16), 16));
	wants_sense(COMMAND(&w, SCSI_TEST_UNIT_READY), 0x062900);
	raise_attention(SCSI_UA_LUNS_CHANGED);
	wants_good(with_in(COMMAND(&w, SCSI_REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 0, 16), 16));
	wants_good(COMMAND(&w, SCSI_TEST_UNIT_READY)); /* it has been seen */
}

static void request_sense_takes_the_unit_attention(void **state)
{
	struct command *command;

	raise_attention(SCSI_UA_CAPACITY_CHANGED);
	command = with_in(COMMAND(&w, SCSI_REQUEST_SENSE, 0, 0, 0, 18), 18);
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(command->in[0], 0x70);
	assert_int_equal(command->in[2], 6);
	assert_int_equal(be16_get(command->in + 12), 0x2a09);
	command_free(command);
	command = with_in(COMMAND(&w, SCSI_REQUEST_SENSE, 0x01, 0, 0, 252), 252);
	command_run(command);
	assert_int_equal(command->task.transferred, 8);
	assert_int_equal(command->in[0], 0x72);
	assert_int_equal(command->in[1], 0);
	command_free(command);
	wants_good(COMMAND(&w, SCSI_TEST_UNIT_READY));
}

static void a_unit_without_its_claim_is_not_ready(void **state)
{
	atomic_fetch_or(&w.attachment->attention, SCSI_ATTENTION_NOT_READY);
	wants_sense(COMMAND(&w, SCSI_TEST_UNIT_READY), 0x020401);
	wants_sense(with_in(COMMAND(&w, SCSI_READ_10, 0, 0, 0, 0, 0, 0, 0, 1), 512), 0x020401);
	wants_good(with_in(COMMAND(&w, SCSI_INQUIRY, 0, 0, 0, 36), 36));
	wants_good(with_in(COMMAND(&w, SCSI_MODE_SENSE_6, 0, 0x3f, 0, 4), 4));
	atomic_fetch_and(&w.attachment->attention, ~SCSI_ATTENTION_NOT_READY);
	wants_good(COMMAND(&w, SCSI_TEST_UNIT_READY));
}

/* ---- REPORT LUNS ------------------------------------------------------------------------- */

static struct command *report_luns(uint8_t select, uint32_t allocation)
{
	struct command *command = COMMAND(&w, SCSI_REPORT_LUNS, 0, select);

	be32_put(command->cdb + 6, allocation);
	command->in_len = allocation;
	return command;
}

static void report_luns_lists_the_target(void **state)
{
	static const uint8_t one[16] = {0, 0, 0, 8};
	struct command *command;

	for (unsigned i = 0; i < 2; i++) {
		command = report_luns(i ? 2 : 0, 4096);
		command->absent = i;
		command_run(command);
		assert_int_equal(command_sense(command), 0);
		assert_int_equal(command->task.transferred, 16);
		assert_memory_equal(command->in, one, 16);
		command_free(command);
	}
	command = report_luns(1, 16); /* well-known ones only: none here */
	command_run(command);
	assert_int_equal(command->task.transferred, 8);
	assert_int_equal(be32_get(command->in), 0);
	command_free(command);
	wants_bad_cdb(report_luns(3, 16), 2, -1);
	wants_bad_cdb(report_luns(0, 15), 6, -1);
}

static void luns_are_encoded_in_the_shortest_method_and_cut_lists_keep_their_length(void **state)
{
	static struct scsi_lun_channel channels[400];
	static struct scsi_attachment attachment; /* seen to the end: what was to tell is told */
	struct scsi_target_view *view =
		malloc(sizeof(*view) + ARRAY_SIZE(channels) * sizeof(view->luns[0]));
	struct command *command = report_luns(0, 8 + 400 * 8);

	assert_non_null(view);
	view->lun_count = ARRAY_SIZE(channels);
	for (unsigned i = 0; i < ARRAY_SIZE(channels); i++) {
		channels[i].number = (uint16_t)(i < 200 ? i : 100 + i * 3);
		channels[i].attachment = &attachment;
		view->luns[i] = &channels[i];
	}
	free(w.view);
	w.view = view;
	command->segment = 13;
	command_run(command);
	assert_int_equal(be32_get(command->in), 3200);
	for (unsigned i = 0; i < 400; i++) {
		uint16_t number = channels[i].number;

		assert_int_equal(
			be16_get(command->in + 8 + 8 * i), number < 256 ? number : 0x4000 | number);
		assert_ptr_equal(scsi_target_view_find(view, number), &channels[i]);
	}
	assert_null(scsi_target_view_find(view, 200));
	assert_null(scsi_target_view_find(view, 16383));
	command_free(command);
	command = report_luns(0, 100);
	command_run(command);
	assert_int_equal(be32_get(command->in), 3200);
	assert_int_equal(command->task.transferred, 100);
	command_free(command);
}

static void the_well_known_unit_lists_every_target(void **state)
{
	static const uint8_t expected[] = {
		0, 0, 0, 16, 0, 0, 0, 0, 0xc1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0};
	struct command *command = well_known(report_luns(2, 256));

	command_run(command);
	assert_int_equal(command->task.transferred, sizeof(expected));
	assert_memory_equal(command->in, expected, sizeof(expected));
	command_free(command);
}

static void targets_take_the_lowest_number_and_keep_their_luns_sorted(void **state)
{
	struct scsi_attachment attachments[3] = {{.number = 7}, {.number = 300}, {.number = 0}};
	struct scsi_attachment again = {.number = 300};
	struct scsi_target *targets[3];

	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(scsi_target_create(i, &targets[i]), 0);
		assert_int_equal(targets[i]->device_id, i);
	}
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(scsi_target_add_lun(targets[0], &attachments[i]), 0);
	assert_int_equal(scsi_target_add_lun(targets[0], &again), -EEXIST);
	assert_ptr_equal(targets[0]->luns[0], &attachments[2]);
	assert_ptr_equal(targets[0]->luns[1], &attachments[0]);
	assert_ptr_equal(targets[0]->luns[2], &attachments[1]);
	for (unsigned i = 0; i < 3; i++)
		scsi_target_remove_lun(targets[0], &attachments[i]);
	scsi_target_destroy(targets[1]);
	assert_int_equal(scsi_target_create(9, &targets[1]), 0);
	assert_int_equal(targets[1]->device_id, 1);
	for (unsigned i = 0; i < 3; i++)
		scsi_target_destroy(targets[i]);
}

/* ---- REPORT SUPPORTED OPERATION CODES ---------------------------------------------------- */

static struct command *report_opcodes(uint8_t options, uint8_t opcode, uint16_t action)
{
	struct command *command = COMMAND(&w, SCSI_MAINTENANCE_IN, 0x0c, options, opcode);

	be16_put(command->cdb + 4, action);
	be32_put(command->cdb + 6, 8192);
	command->in_len = 8192;
	return command;
}

static void every_command_is_reported_alone_and_in_the_list(void **state)
{
	struct command *all = report_opcodes(0x80, 0, 0);
	unsigned at = 4;

	command_run(all);
	assert_int_equal(command_sense(all), 0);
	assert_int_equal(all->task.transferred, 4 + be32_get(all->in));
	assert_int_equal(be32_get(all->in), scsi_command_count * 20);
	for (unsigned i = 0; i < scsi_command_count; i++, at += 20) {
		const struct scsi_command *each = &scsi_commands[i];
		bool action = scsi_command_has_actions(each);
		struct command *one =
			report_opcodes(action ? 2 : 1, each->opcode, each->service_action);

		assert_int_equal(all->in[at], each->opcode);
		assert_int_equal(all->in[at + 5], action ? 3 : 2);
		command_run(one);
		assert_int_equal(command_sense(one), 0);
		assert_int_equal(one->in[1], 0x03);
		assert_int_equal(be16_get(one->in + 2), each->cdb_len);
		assert_int_equal(be16_get(all->in + at + 6), each->cdb_len);
		assert_int_equal(one->in[4], each->opcode);
		if (each->flags & SCSI_COMMAND_LONG)
			assert_int_equal(be16_get(one->in + 4 + 8), each->service_action);
		else if (action)
			assert_int_equal(one->in[5] & 0x1f, each->service_action);
		assert_int_equal(be32_get(all->in + at + 16),
			each->flags & SCSI_COMMAND_SLOW ? 0 : 60); /* recommended timeout */
		assert_int_equal(one->task.transferred, 4 + each->cdb_len);
		assert_int_equal(one->in[4 + scsi_command_control(each)], 0x04);
		command_free(one);
		wants_bad_cdb(report_opcodes(action ? 1 : 2, each->opcode, 0), 2, 2);
		one = report_opcodes(0x80 | (action ? 2 : 1), each->opcode, each->service_action);
		command_run(one);
		assert_int_equal(one->in[1], 0x83); /* CTDP: time-outs follow */
		assert_int_equal(one->task.transferred, 4 + each->cdb_len + 12);
		assert_int_equal(be16_get(one->in + 4 + each->cdb_len), 10);
		command_free(one);
	}
	command_free(all);
}

static void what_is_not_supported_is_reported_so(void **state)
{
	struct disk_options options = SMALL_DISK;
	static const uint8_t opcodes[] = {0xc1, 0x8c, 0xd3, 0x06, 0xff, 0xa5};
	struct command *command;

	for (unsigned i = 0; i < ARRAY_SIZE(opcodes); i++) {
		command = report_opcodes(i % 2 ? 1 : 3, opcodes[i], 0);
		command_run(command);
		assert_int_equal(command->in[1], 0x01);
		assert_int_equal(command->task.transferred, 4);
		command_free(command);
	}
	command = report_opcodes(2, SCSI_MAINTENANCE_IN, 0x1f);
	command_run(command);
	assert_int_equal(command->in[1], 0x01);
	command_free(command);
	wants_bad_cdb(report_opcodes(4, 0, 0), 2, 2);

	kept_end(&kept);
	scsi_world_end(&w);
	options.no_unmap = true;
	scsi_world_start(&w, &options);
	kept_begin(&kept, &w, "no-unmap", false);
	command = report_opcodes(1, SCSI_UNMAP, 0);
	command_run(command);
	assert_int_equal(command->in[1], 0x01);
	command_free(command);
	command = report_opcodes(1, SCSI_WRITE_ATOMIC_16, 0);
	command_run(command);
	assert_int_equal(command->in[1], 0x01);
	command_free(command);
}

/* Their operation code is unknown, and the list does not have them. */
static void where_cdbs_are_short_there_are_no_long_commands(void **state)
{
	struct command *all = report_opcodes(0, 0, 0);
	unsigned commands = 0;

	w.attachment->short_cdbs = true;
	command_run(all);
	for (unsigned i = 0; i < scsi_command_count; i++)
		commands += scsi_commands[i].cdb_len <= 16;
	assert_true(commands < scsi_command_count);
	assert_int_equal(be32_get(all->in), commands * 8);
	command_free(all);
	for (unsigned i = 0; i < scsi_command_count; i++) {
		if (scsi_commands[i].cdb_len > 16)
			wants_sense(command_of(&scsi_commands[i]), 0x052000);
	}
}

static void task_management_functions_are_reported(void **state)
{
	struct command *command =
		with_in(COMMAND(&w, SCSI_MAINTENANCE_IN, 0x0d, 0, 0, 0, 0, 0, 0, 0, 64), 64);

	command_run(command);
	assert_int_equal(command->task.transferred, 4);
	assert_int_equal(command->in[0], 0xfc);
	assert_int_equal(command->in[1], 0x03);
	command_free(command);
	command = with_in(COMMAND(&w, SCSI_MAINTENANCE_IN, 0x0d, 0x80, 0, 0, 0, 0, 0, 0, 64), 64);
	command_run(command);
	assert_int_equal(command->task.transferred, 16);
	assert_int_equal(command->in[3], 12);
	command_free(command);
	wants_bad_cdb(COMMAND(&w, SCSI_MAINTENANCE_IN, 0x0d, 0, 0, 0, 0, 0, 0, 0, 3), 6, -1);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(unknown_commands_are_invalid_operation_codes),
		TEST(naca_is_refused_by_every_command),
		TEST(an_absent_unit_supports_nothing_but_three_commands),
		TEST(the_well_known_unit_has_four_commands),
		TEST(a_unit_attention_is_told_once_and_before_anything_else),
		TEST(little_space_left_is_a_unit_attention),
		TEST(inquiry_and_report_luns_pass_a_unit_attention),
		TEST(request_sense_takes_the_unit_attention),
		TEST(a_unit_without_its_claim_is_not_ready),
		TEST(report_luns_lists_the_target),
		TEST(luns_are_encoded_in_the_shortest_method_and_cut_lists_keep_their_length),
		TEST(the_well_known_unit_lists_every_target),
		TEST(targets_take_the_lowest_number_and_keep_their_luns_sorted),
		TEST(every_command_is_reported_alone_and_in_the_list),
		TEST(what_is_not_supported_is_reported_so),
		TEST(where_cdbs_are_short_there_are_no_long_commands),
		TEST(task_management_functions_are_reported),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
