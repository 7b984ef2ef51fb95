/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL, and what a logical unit answers that is not ready.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "scsi/command.h"
#include "scsi/lun_state.h"
#include "scsi_world.h"

#define START    0x01
#define LOEJ     0x02
#define NO_FLUSH 0x04

static struct scsi_world w;

static int setup(void **state)
{
	scsi_world_start(&w, &SMALL_DISK);
	return 0;
}

static int setup_removable(void **state)
{
	struct disk_options options = SMALL_DISK;

	options.removable = true;
	scsi_world_start(&w, &options);
	return 0;
}

static int teardown(void **state)
{
	scsi_world_end(&w);
	return 0;
}

static struct command *power(uint8_t flags)
{
	return COMMAND(&w, SCSI_START_STOP_UNIT, 0, 0, 0, flags);
}

static struct command *condition(uint8_t condition, uint8_t modifier)
{
	return COMMAND(&w, SCSI_START_STOP_UNIT, 0, 0, modifier, (uint8_t)(condition << 4));
}

static struct command *ready(void)
{
	return COMMAND(&w, SCSI_TEST_UNIT_READY);
}

static struct command *read_one(void)
{
	struct command *command = COMMAND(&w, SCSI_READ_10, 0, 0, 0, 0, 1, 0, 0, 1);

	command->in_len = 512;
	return command;
}

static struct command *prevent(uint8_t value)
{
	return COMMAND(&w, SCSI_PREVENT_ALLOW, 0, 0, 0, value);
}

/* What REQUEST SENSE tells: 0xKKAAQQ. */
static uint32_t told_sense(void)
{
	struct command *command = COMMAND(&w, SCSI_REQUEST_SENSE, 0, 0, 0, 18);
	uint32_t sense;

	command->in_len = 18;
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	sense = (uint32_t)command->in[2] << 16 | be16_get(command->in + 12);
	command_free(command);
	return sense;
}

/* Every command that needs the medium ends so, and no other does. */
static void check_not_ready(uint32_t wanted)
{
	for (unsigned i = 0; i < scsi_command_count; i++) {
		const struct scsi_command *each = &scsi_commands[i];
		struct command *command;
		uint32_t sense;

		if (each->opcode == SCSI_START_STOP_UNIT || each->opcode == SCSI_REQUEST_SENSE ||
			!scsi_command_exists(each, w.channel))
			continue;
		command = command_new(&w, each->usage, each->cdb_len);
		memset(command->cdb + 2, 0, sizeof(command->cdb) - 2);
		command->cdb[1] =
			each->flags & SCSI_COMMAND_SERVICE_ACTION ? each->usage[1] & 0x1f : 0;
		if (each->flags & SCSI_COMMAND_LONG) {
			command->cdb[7] = each->cdb_len - 8;
			memcpy(command->cdb + 8, each->usage + 8, 2);
		}
		command_run(command);
		if (command->task.response == SCSI_RESPONSE_OK &&
			command->task.status == SCSI_STATUS_CHECK_CONDITION) {
			sense = command_sense(command);
			assert_int_equal(sense == wanted, !!(each->flags & SCSI_COMMAND_MEDIUM));
		} else {
			assert_false(each->flags & SCSI_COMMAND_MEDIUM);
		}
		command_free(command);
	}
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void a_disk_that_is_stopped_is_stable_and_not_ready_until_it_is_started(void **state)
{
	wants_good(power(0));
	assert_int_equal(w.disk.counts[BDEV_IO_FLUSH], 1);
	wants_sense(ready(), 0x020402);
	wants_sense(read_one(), 0x020402);
	check_not_ready(0x020402);
	assert_int_equal(told_sense(), 0x020402);
	wants_good(power(0)); /* again */
	wants_good(power(START));
	wants_good(ready());
	wants_good(read_one());
	assert_int_equal(told_sense(), 0);
	wants_good(power(NO_FLUSH));
	assert_int_equal(w.disk.counts[BDEV_IO_FLUSH], 2);
	wants_sense(ready(), 0x020402);
	wants_good(power(START));
}

static void a_disk_that_cannot_be_flushed_is_not_stopped(void **state)
{
	disk_fail(&w.disk, BDEV_IO_FLUSH, EIO, 1);
	wants_sense(power(0), 0x030c00);
	wants_good(ready());
}

struct restart_call {
	struct world_call call;
	void (*fn)(void);
};

static void restart_run(struct world_call *call)
{
	container_of(call, struct restart_call, call)->fn();
	world_done(call, 0);
}

static void on_control(void (*fn)(void))
{
	struct restart_call op = {.call.run = restart_run, .fn = fn};

	assert_int_equal(world_run(&w.world, w.world.control, &op.call), 0);
}

static void begin_anew(void)
{
	scsi_attention_restart(w.attachment);
}

static void reset_unit(void)
{
	scsi_lun_state_reset(w.attachment->lun);
}

static void a_new_initiator_and_a_reset_find_the_disk_started(void **state)
{
	wants_good(power(0));
	on_control(begin_anew);
	wants_sense(ready(), 0x062900);
	wants_good(ready());
	wants_good(power(0));
	on_control(reset_unit);
	wants_good(ready());
	wants_good(condition(2, 0));
	on_control(reset_unit);
	assert_int_equal(told_sense(), 0);
}

static void a_disk_that_others_have_goes_on(void **state)
{
	struct scsi_attachment *other = scsi_world_attach(&w, 1);

	wants_good(power(0));
	assert_int_equal(w.disk.counts[BDEV_IO_FLUSH], 1);
	wants_good(ready());
	scsi_world_detach(&w, other);
}

static void an_initiator_that_comes_later_finds_the_disk_stopped(void **state)
{
	struct scsi_attachment *other;
	struct scsi_lun_channel *channel;
	struct command *command;

	wants_good(power(0));
	other = scsi_world_attach(&w, 1);
	channel = scsi_world_open(&w, other, 1);
	command = ready();
	command->channel = channel;
	wants_sense(command, 0x020402);
	command = power(START);
	command->channel = channel;
	wants_good(command);
	wants_good(ready());
	scsi_world_close(&w, channel);
	scsi_world_detach(&w, other);
}

static void a_unit_without_its_claim_is_not_started(void **state)
{
	atomic_fetch_or(&w.attachment->attention, SCSI_ATTENTION_NOT_READY);
	wants_sense(power(START), 0x020401);
	assert_int_equal(told_sense(), 0x020401);
	atomic_fetch_and(&w.attachment->attention, ~SCSI_ATTENTION_NOT_READY);
}

/* ---- power conditions ------------------------------------------------------------------------ */

static void power_conditions_are_told_until_the_next_access(void **state)
{
	static const struct {
		uint8_t condition, modifier;
		uint32_t sense;
	} rests[] = {{2, 0, 0x5e03}, {2, 1, 0x5e06}, {2, 2, 0x5e08}, {3, 0, 0x5e04}, {3, 1, 0x5e0a},
		{10, 0, 0x5e03}, {11, 1, 0x5e0a}};

	for (unsigned i = 0; i < ARRAY_SIZE(rests); i++) {
		wants_good(condition(rests[i].condition, rests[i].modifier));
		assert_int_equal(told_sense(), rests[i].sense);
		wants_good(ready()); /* no access */
		assert_int_equal(told_sense(), rests[i].sense);
		wants_good(read_one());
		assert_int_equal(told_sense(), 0);
	}
	assert_int_equal(w.disk.counts[BDEV_IO_FLUSH], 3); /* of the standby conditions */
	wants_good(condition(2, 0));
	wants_good(condition(1, 0)); /* active */
	assert_int_equal(told_sense(), 0);
	wants_good(condition(2, 0));
	wants_good(condition(7, 0)); /* as the unit likes */
	assert_int_equal(told_sense(), 0);
	wants_good(power(0));
	wants_good(condition(2, 0)); /* no longer stopped */
	wants_good(ready());
}

static void wrong_power_conditions_are_invalid_fields(void **state)
{
	static const uint8_t none[] = {4, 5, 6, 8, 9, 12, 13, 14, 15};

	for (unsigned i = 0; i < ARRAY_SIZE(none); i++)
		wants_bad_cdb(condition(none[i], 0), 4, 7);
	wants_bad_cdb(condition(1, 1), 3, 3);
	wants_bad_cdb(condition(2, 3), 3, 3);
	wants_bad_cdb(condition(3, 2), 3, 3);
	wants_bad_cdb(power(LOEJ), 4, 1);
	wants_bad_cdb(power(LOEJ | START), 4, 1);
	wants_good(ready());
}

/* ---- a removable medium ---------------------------------------------------------------------- */

static void a_medium_that_was_ejected_is_not_there_until_it_is_loaded(void **state)
{
	struct scsi_attachment *other = scsi_world_attach(&w, 1);
	struct scsi_lun_channel *channel = scsi_world_open(&w, other, 1);
	struct command *command;

	wants_good(power(LOEJ));
	assert_int_equal(w.disk.counts[BDEV_IO_FLUSH], 1);
	wants_sense(ready(), 0x023a00);
	check_not_ready(0x023a00);
	assert_int_equal(told_sense(), 0x023a00);
	wants_sense(power(START), 0x023a00);
	command = ready();
	command->channel = channel;
	wants_sense(command, 0x023a00);
	wants_good(power(LOEJ | START));
	wants_good(ready()); /* who loaded it knows */
	command = ready();
	command->channel = channel;
	wants_sense(command, 0x062800);
	wants_good(power(LOEJ | START)); /* it is there */
	command = ready();
	command->channel = channel;
	wants_good(command);
	scsi_world_close(&w, channel);
	scsi_world_detach(&w, other);
}

static void removal_that_anybody_prevents_is_refused(void **state)
{
	struct scsi_attachment *other = scsi_world_attach(&w, 1);
	struct scsi_lun_channel *channel = scsi_world_open(&w, other, 1);
	struct command *command;

	wants_good(prevent(1));
	wants_sense(power(LOEJ), 0x055302);
	command = power(LOEJ);
	command->channel = channel;
	wants_sense(command, 0x055302);
	wants_good(ready());
	wants_good(prevent(0));
	wants_good(power(LOEJ));
	wants_good(prevent(1));
	wants_sense(power(LOEJ | START), 0x055302);
	on_control(reset_unit); /* ends it, and leaves the medium out */
	wants_sense(ready(), 0x023a00);
	wants_good(power(LOEJ | START));
	command = ready();
	command->channel = channel;
	wants_sense(command, 0x062800);
	command = prevent(1);
	command->channel = channel;
	wants_good(command);
	wants_sense(power(LOEJ), 0x055302);
	scsi_world_close(&w, channel);
	scsi_world_detach(&w, other);
	wants_good(power(LOEJ)); /* who prevented it is gone */
	wants_good(power(LOEJ | START));
	wants_good(prevent(1));
	on_control(begin_anew);
	wants_sense(ready(), 0x062900);
	wants_good(power(LOEJ));
}

static void a_removable_medium_does_not_rest(void **state)
{
	for (uint8_t i = 1; i < 16; i++) {
		wants_good(COMMAND(&w, SCSI_START_STOP_UNIT, 1, 0, 0, (uint8_t)(i << 4 | LOEJ)));
		wants_good(ready());
	}
	wants_good(power(0));
	wants_good(ready());
	assert_int_equal(w.disk.counts[BDEV_IO_FLUSH], 1);
	assert_int_equal(told_sense(), 0);
}

static void a_removable_medium_says_so(void **state)
{
	struct command *command = COMMAND(&w, SCSI_INQUIRY, 0, 0, 0, 36);

	command->in_len = 36;
	command_run(command);
	assert_int_equal(command->in[1], 0x80);
	command_free(command);
}

struct open_call {
	struct world_call call;
	bool removable;
};

static void open_run(struct world_call *call)
{
	const struct scsi_attachment_options options = {
		.removable = container_of(call, struct open_call, call)->removable};
	struct scsi_attachment *attachment;
	struct reason reason = {0};
	int rc = scsi_attachment_open(
		&w.disk.bdev, &options, w.attachment->ops, &w, &reason, &attachment);

	assert_non_null(strstr(reason.text, "attach it in the same way"));
	world_done(call, rc);
}

static void a_medium_is_removable_everywhere_or_nowhere(void **state)
{
	struct open_call op = {.call.run = open_run, .removable = !w.attachment->lun->removable};

	assert_int_equal(world_run(&w.world, w.world.control, &op.call), -EINVAL);
}

static void preventing_removal_is_accepted_where_nothing_can_be_removed(void **state)
{
	wants_good(prevent(1));
	wants_good(prevent(0));
	wants_bad_cdb(prevent(2), 4, 1);
	wants_bad_cdb(prevent(3), 4, 1);
}

/* ---- write protection ------------------------------------------------------------------------ */

static void an_initiator_that_may_not_write_is_told_so(void **state)
{
	struct disk_options options = SMALL_DISK;
	struct command *command;
	static const uint8_t data[512];

	options.attach_read_only = true;
	scsi_world_end(&w);
	scsi_world_start(&w, &options);
	command = COMMAND(&w, SCSI_WRITE_10, 0, 0, 0, 0, 0, 0, 0, 1);
	command->out = data;
	command->out_len = 512;
	wants_sense(command, 0x072700);
	wants_good(read_one());
	command = COMMAND(&w, SCSI_MODE_SENSE_6, 0, 0x3f, 0, 4);
	command->in_len = 4;
	command_run(command);
	assert_int_equal(command->in[2] & 0x80, 0x80);
	command_free(command);
	wants_good(power(0)); /* without a flush, which it may not ask for */
	assert_int_equal(w.disk.counts[BDEV_IO_FLUSH], 0);
}

int main(int argc, char **argv)
{
#define TEST(name)      cmocka_unit_test_setup_teardown(name, setup, teardown)
#define REMOVABLE(name) cmocka_unit_test_setup_teardown(name, setup_removable, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_disk_that_is_stopped_is_stable_and_not_ready_until_it_is_started),
		TEST(a_disk_that_cannot_be_flushed_is_not_stopped),
		TEST(a_new_initiator_and_a_reset_find_the_disk_started),
		TEST(a_disk_that_others_have_goes_on),
		TEST(an_initiator_that_comes_later_finds_the_disk_stopped),
		TEST(a_unit_without_its_claim_is_not_started),
		TEST(power_conditions_are_told_until_the_next_access),
		TEST(wrong_power_conditions_are_invalid_fields),
		REMOVABLE(a_medium_that_was_ejected_is_not_there_until_it_is_loaded),
		REMOVABLE(removal_that_anybody_prevents_is_refused),
		REMOVABLE(a_removable_medium_does_not_rest),
		REMOVABLE(a_removable_medium_says_so),
		REMOVABLE(a_medium_is_removable_everywhere_or_nowhere),
		TEST(a_medium_is_removable_everywhere_or_nowhere),
		TEST(preventing_removal_is_accepted_where_nothing_can_be_removed),
		TEST(an_initiator_that_may_not_write_is_told_so),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
