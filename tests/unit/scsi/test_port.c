/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Target ports: how they are told, and asymmetric access to a unit through them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "scsi/command.h"
#include "scsi/port.h"
#include "scsi_world.h"

static struct scsi_world w;
static struct scsi_attachment *other;
static struct scsi_lun_channel *other_channel;

/* Two ports of one unit. */
static int setup(void **state)
{
	scsi_world_start(&w, &SMALL_DISK);
	other = scsi_world_attach(&w, 1);
	other_channel = scsi_world_open(&w, other, 1);
	return 0;
}

static int teardown(void **state)
{
	scsi_world_close(&w, other_channel);
	scsi_world_detach(&w, other);
	scsi_world_end(&w);
	return 0;
}

static struct command *through_other(struct command *command)
{
	command->channel = other_channel;
	return command;
}

static struct command *report_groups(uint8_t format, uint32_t allocation)
{
	struct command *command = COMMAND(&w, SCSI_MAINTENANCE_IN, (uint8_t)(format << 5 | 0x0a));

	be32_put(command->cdb + 6, allocation);
	command->in_len = 256;
	return command;
}

/* A list of one descriptor. */
static uint8_t list[64];

static struct command *set_group(uint8_t access, uint16_t group)
{
	struct command *command = COMMAND(&w, SCSI_MAINTENANCE_OUT, 0x0a);

	memset(list, 0, sizeof(list));
	list[4] = access;
	be16_put(list + 6, group);
	be32_put(command->cdb + 6, 8);
	command->out = list;
	command->out_len = 8;
	return command;
}

static struct command *ready(void)
{
	return COMMAND(&w, SCSI_TEST_UNIT_READY);
}

/* Bytes of the designator of that type in VPD page 83h. */
static void designator(struct scsi_lun_channel *channel, uint8_t type, uint8_t *buf, unsigned len)
{
	struct command *command = COMMAND(&w, SCSI_INQUIRY, 1, 0x83, 0, 255);
	bool found = false;

	command->channel = channel;
	command->in_len = 255;
	command_run(command);
	for (unsigned at = 4; at < command->task.transferred; at += 4 + command->in[at + 3]) {
		if (command->in[at + 1] != type)
			continue;
		assert_false(found);
		found = true;
		assert_int_equal(command->in[at + 3], len);
		memcpy(buf, command->in + at + 4, len);
	}
	assert_true(found);
	command_free(command);
}

static uint16_t relative_port(struct scsi_lun_channel *channel)
{
	uint8_t bytes[4];

	designator(channel, 0x14, bytes, 4);
	assert_int_equal(be16_get(bytes), 0);
	return be16_get(bytes + 2);
}

static void every_port_has_a_name_and_a_number_of_its_own(void **state)
{
	uint8_t name[8], other_name[8], group[4];

	assert_int_not_equal(relative_port(w.channel), 0);
	assert_int_not_equal(relative_port(w.channel), relative_port(other_channel));
	designator(w.channel, 0x13, name, 8);
	designator(other_channel, 0x13, other_name, 8);
	assert_int_equal(name[0] >> 4, 3);
	/* The same controller and target here: the name is the port's, not the attachment's. */
	assert_memory_equal(name, other_name, 8);
	designator(w.channel, 0x15, group, 4);
	assert_int_equal(be16_get(group + 2), relative_port(w.channel));
}

static void the_number_of_a_port_is_the_same_after_every_start(void **state)
{
	uint16_t port = relative_port(w.channel);

	teardown(NULL);
	setup(NULL);
	assert_int_equal(relative_port(w.channel), port);
}

static void groups_are_told_as_the_designators_tell_them(void **state)
{
	struct command *command = report_groups(0, 256);
	uint16_t ports[2] = {relative_port(w.channel), relative_port(other_channel)};

	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(command->task.transferred, 4 + 2 * 12);
	assert_int_equal(be32_get(command->in), 2 * 12);
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *group = command->in + 4 + (size_t)i * 12;

		assert_int_equal(group[0], 0); /* active, optimized */
		assert_int_equal(group[1], 0x0f);
		assert_int_equal(be16_get(group + 2), ports[i]);
		assert_int_equal(group[5], 0);
		assert_int_equal(group[7], 1);
		assert_int_equal(be16_get(group + 10), ports[i]);
	}
	command_free(command);
	command = report_groups(1, 256);
	command_run(command);
	assert_int_equal(command->task.transferred, 8 + 2 * 12);
	assert_int_equal(command->in[4], 0x10);
	command_free(command);
	command = report_groups(0, 6);
	command_run(command);
	assert_int_equal(command->task.transferred, 6);
	assert_int_equal(be32_get(command->in), 2 * 12);
	command_free(command);
	wants_bad_cdb(report_groups(2, 256), 1, 7);
}

/* Every command through the other port: those that are not refused do not end with that sense. */
static void check_refused(uint32_t sense, bool (*runs)(uint8_t opcode, uint16_t action))
{
	for (unsigned i = 0; i < scsi_command_count; i++) {
		const struct scsi_command *each = &scsi_commands[i];
		struct command *command;
		bool refused;

		if (!scsi_command_exists(each, w.channel))
			continue;
		command = command_new(&w, each->usage, each->cdb_len);
		memset(command->cdb + 2, 0, sizeof(command->cdb) - 2);
		command->cdb[1] =
			each->flags & SCSI_COMMAND_SERVICE_ACTION ? each->usage[1] & 0x1f : 0;
		if (each->flags & SCSI_COMMAND_LONG) {
			command->cdb[7] = each->cdb_len - 8;
			memcpy(command->cdb + 8, each->usage + 8, 2);
		}
		command_run(through_other(command));
		refused = command->task.response == SCSI_RESPONSE_OK &&
			  command->task.status == SCSI_STATUS_CHECK_CONDITION &&
			  command_sense(command) == sense;
		if (refused == runs(each->opcode, each->service_action))
			fail_msg("command %02x/%02x", each->opcode, each->service_action);
		command_free(command);
	}
}

static bool runs_when_unavailable(uint8_t opcode, uint16_t action)
{
	return opcode == SCSI_INQUIRY || opcode == SCSI_REPORT_LUNS ||
	       opcode == SCSI_REQUEST_SENSE ||
	       ((opcode == SCSI_MAINTENANCE_IN || opcode == SCSI_MAINTENANCE_OUT) &&
		       action == 0x0a);
}

static bool runs_in_standby(uint8_t opcode, uint16_t action)
{
	static const uint8_t opcodes[] = {
		0x4c, 0x4d, 0x15, 0x55, 0x1a, 0x5a, 0x1c, 0x1d, 0x5e, 0x5f};

	return memchr(opcodes, opcode, sizeof(opcodes)) || runs_when_unavailable(opcode, action);
}

static void a_port_that_was_switched_refuses_what_its_state_says(void **state)
{
	uint16_t port = relative_port(other_channel);
	struct command *command;

	wants_good(set_group(SCSI_ACCESS_STANDBY, port));
	wants_good(ready()); /* the port through which it was done */
	wants_sense(through_other(ready()), 0x062a06);
	wants_sense(through_other(ready()), 0x02040b);
	check_refused(0x02040b, runs_in_standby);
	wants_good(set_group(SCSI_ACCESS_UNAVAILABLE, port));
	wants_sense(through_other(ready()), 0x062a06);
	check_refused(0x02040c, runs_when_unavailable);

	command = through_other(report_groups(0, 256));
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(command->in[4], 0);
	assert_int_equal(command->in[4 + 5], 0);
	assert_int_equal(command->in[16], SCSI_ACCESS_UNAVAILABLE);
	assert_int_equal(command->in[16 + 5], 1); /* by SET TARGET PORT GROUPS */
	command_free(command);

	wants_good(through_other(set_group(SCSI_ACCESS_NON_OPTIMIZED, port)));
	wants_good(through_other(ready()));
	wants_sense(ready(), 0x062a06);
	wants_good(set_group(SCSI_ACCESS_NON_OPTIMIZED, port)); /* no change */
	wants_good(through_other(ready()));
}

static void wrong_lists_of_groups_change_nothing(void **state)
{
	uint16_t port = relative_port(other_channel);
	struct command *command;

	wants_bad_parameters(set_group(0x0e, port), 4); /* offline */
	wants_bad_parameters(set_group(0x0f, port), 4); /* transitioning */
	wants_bad_parameters(set_group(0, 0), 6);
	command = set_group(SCSI_ACCESS_STANDBY, port);
	be32_put(command->cdb + 6, 12);
	command->out_len = 12; /* the second descriptor is of no group */
	wants_bad_parameters(command, 10);
	command = set_group(SCSI_ACCESS_STANDBY, port);
	be32_put(command->cdb + 6, 7);
	wants_sense(command, 0x051a00);
	command = set_group(SCSI_ACCESS_STANDBY, port);
	be32_put(command->cdb + 6, 3);
	wants_sense(command, 0x051a00);
	command = set_group(SCSI_ACCESS_STANDBY, port);
	be32_put(command->cdb + 6, 2048);
	wants_sense(command, 0x051a00);
	command = set_group(SCSI_ACCESS_STANDBY, port);
	command->out_len = 4;
	wants_response(command, SCSI_RESPONSE_OVERRUN);
	wants_good(COMMAND(&w, SCSI_MAINTENANCE_OUT, 0x0a)); /* no list */
	wants_good(through_other(ready()));
}

static void standard_data_tells_of_groups(void **state)
{
	struct command *command = COMMAND(&w, SCSI_INQUIRY, 0, 0, 0, 36);

	command->in_len = 36;
	command_run(command);
	assert_int_equal(command->in[5] & 0x30, 0x20); /* switched by command only */
	command_free(command);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_port_has_a_name_and_a_number_of_its_own),
		TEST(the_number_of_a_port_is_the_same_after_every_start),
		TEST(groups_are_told_as_the_designators_tell_them),
		TEST(a_port_that_was_switched_refuses_what_its_state_says),
		TEST(wrong_lists_of_groups_change_nothing),
		TEST(standard_data_tells_of_groups),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
