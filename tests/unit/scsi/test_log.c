/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * LOG SENSE, LOG SELECT, REPORT TIMESTAMP, SET TIMESTAMP.
 */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "scsi_world.h"

static struct scsi_world w;
static uint8_t list[64];

static int setup(void **state)
{
	scsi_world_start(&w, &SMALL_DISK);
	memset(list, 0, sizeof(list));
	return 0;
}

static int teardown(void **state)
{
	scsi_world_end(&w);
	return 0;
}

/* ---- LOG SENSE ------------------------------------------------------------------------------- */

static struct command *log_sense(uint8_t page, uint8_t subpage, uint16_t from)
{
	struct command *command = COMMAND(&w, SCSI_LOG_SENSE, 0, 0x40 | page, subpage);

	be16_put(command->cdb + 5, from);
	be16_put(command->cdb + 7, 255);
	command->in_len = 255;
	return command;
}

static void wants_page(struct command *command, const char *bytes, unsigned len)
{
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(command->task.transferred, len);
	assert_memory_equal(command->in, bytes, len);
	command_free(command);
}

static void log_pages_are_told(void **state)
{
	wants_page(log_sense(0, 0, 0), "\x00\x00\x00\x03\x00\x0d\x2f", 7);
	wants_page(log_sense(0, 0xff, 0), "\x40\xff\x00\x08\x00\x00\x00\xff\x0d\x00\x2f\x00", 12);
	wants_page(log_sense(0x0d, 0, 0),
		"\x8d\x00\x00\x0c\x00\x00\x03\x02\x00\xff\x00\x01\x03\x02\x00\xff", 16);
	wants_page(log_sense(0x0d, 0, 1), "\x8d\x00\x00\x06\x00\x01\x03\x02\x00\xff", 10);
	wants_page(log_sense(0x2f, 0, 0), "\xaf\x00\x00\x08\x00\x00\x03\x04\x00\x00\xff\x00", 12);
}

/* Available and used in units of 1 MiB, and percent of the pool that is left. */
static void space_of_a_pool_is_told(void **state)
{
	struct disk_options options = SMALL_DISK;
	struct command *command;

	wants_bad_cdb(log_sense(0x0c, 0, 0), 2, 5);
	scsi_world_end(&w);
	options.space = (struct bdev_space){
		.used_bytes = 7 * MIB + 1, .available_bytes = 300 * MIB, .total_bytes = 1000 * MIB};
	scsi_world_start(&w, &options);
	wants_page(log_sense(0, 0, 0), "\x00\x00\x00\x04\x00\x0c\x0d\x2f", 8);
	wants_page(log_sense(0x0c, 0, 0),
		"\x8c\x00\x00\x24"
		"\x00\x01\x03\x08\x00\x00\x01\x2c\x02\x00\x00\x00"
		"\x00\x02\x03\x08\x00\x00\x00\x07\x01\x00\x00\x00"
		"\x00\x03\x03\x08\x00\x1e\x00\x00\x02\x00\x00\x00",
		40);
	wants_page(log_sense(0x0c, 0, 3),
		"\x8c\x00\x00\x0c\x00\x03\x03\x08\x00\x1e\x00\x00\x02\x00\x00\x00", 16);
	wants_bad_cdb(log_sense(0x0c, 0, 4), 5, -1);
	command = COMMAND(&w, SCSI_INQUIRY, 1, 0xb2, 0, 8);
	command->in_len = 8;
	command_run(command);
	assert_int_equal(command->in[4], 11); /* 2 to the power of it are the blocks of 1 MiB */
	command_free(command);
	w.disk.options.space.available_bytes = 0;
	wants_page(log_sense(0x0c, 0, 3),
		"\x8c\x00\x00\x0c\x00\x03\x03\x08\x00\x00\x00\x00\x02\x00\x00\x00", 16);
}

static void log_pages_are_cut_at_the_allocation_length(void **state)
{
	for (uint16_t len = 0; len < 20; len++) {
		struct command *command = log_sense(0x0d, 0, 0);

		be16_put(command->cdb + 7, len);
		command_run(command);
		assert_int_equal(command_sense(command), 0);
		assert_int_equal(command->task.transferred, len < 16 ? len : 16);
		command_free(command);
	}
}

static void wrong_log_senses_are_invalid_fields(void **state)
{
	struct command *command;

	wants_bad_cdb(log_sense(0x0e, 0, 0), 2, 5);
	wants_bad_cdb(log_sense(0x0d, 1, 0), 3, -1);
	wants_bad_cdb(log_sense(0x0d, 0xff, 0), 3, -1);
	wants_bad_cdb(log_sense(0x0d, 0, 2), 5, -1);
	wants_bad_cdb(log_sense(0x00, 0, 1), 5, -1);
	command = log_sense(0x0d, 0, 0);
	command->cdb[1] = 1; /* SP */
	wants_bad_cdb(command, 1, 0);
	command = log_sense(0x0d, 0, 0);
	command->cdb[1] = 2; /* PPC */
	wants_bad_cdb(command, 1, 1);
}

/* ---- LOG SELECT ------------------------------------------------------------------------------ */

static struct command *log_select(uint8_t flags, uint8_t page, uint8_t subpage, uint16_t len)
{
	struct command *command = COMMAND(&w, SCSI_LOG_SELECT, flags, 0x40 | page, subpage);

	be16_put(command->cdb + 7, len);
	command->out = list;
	command->out_len = len;
	return command;
}

static void there_is_nothing_to_reset_or_to_change(void **state)
{
	wants_good(log_select(0x02, 0, 0, 0)); /* PCR */
	wants_good(log_select(0, 0x0d, 0, 0));
	list[0] = 0x0d;
	wants_good(log_select(0, 0, 0, 4));
	list[3] = 6;
	wants_bad_parameters(log_select(0, 0, 0, 10), 4);
}

static void wrong_log_selects_are_refused(void **state)
{
	struct command *command;

	wants_bad_cdb(log_select(0x01, 0, 0, 0), 1, 0); /* SP */
	wants_bad_cdb(log_select(0x02, 0, 0, 4), 1, 1);
	wants_bad_cdb(log_select(0, 0x0d, 0, 4), 2, 5);
	wants_bad_cdb(log_select(0, 0, 1, 4), 3, -1);
	wants_bad_cdb(log_select(0, 0x0e, 0, 0), 2, 5);
	wants_bad_cdb(log_select(0, 0x0d, 1, 0), 3, -1);
	wants_sense(log_select(0, 0, 0, 3), 0x051a00);
	list[0] = 0x0e;
	wants_bad_parameters(log_select(0, 0, 0, 4), 0);
	list[0] = 0x0d;
	list[3] = 5;
	wants_bad_parameters(log_select(0, 0, 0, 4), 2);
	command = log_select(0, 0, 0, 4);
	command->out_len = 3;
	wants_response(command, SCSI_RESPONSE_OVERRUN);
}

/* ---- time stamps ----------------------------------------------------------------------------- */

static uint64_t timestamp(uint8_t *ret_origin)
{
	struct command *command = COMMAND(&w, SCSI_MAINTENANCE_IN, 0x0f, 0, 0, 0, 0, 0, 0, 0, 12);
	uint64_t ms;

	command->in_len = 12;
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(command->task.transferred, 12);
	assert_int_equal(be16_get(command->in), 10);
	*ret_origin = command->in[2];
	ms = (uint64_t)be16_get(command->in + 4) << 32 | be32_get(command->in + 6);
	command_free(command);
	return ms;
}

static struct command *set_timestamp(uint32_t len, uint64_t ms)
{
	struct command *command = COMMAND(&w, SCSI_MAINTENANCE_OUT, 0x0f);

	be32_put(command->cdb + 6, len);
	be16_put(list + 4, (uint16_t)(ms >> 32));
	be32_put(list + 6, (uint32_t)ms);
	command->out = list;
	command->out_len = len;
	return command;
}

#define YEAR_2026 UINT64_C(1770000000000)

static void time_goes_on_from_zero_or_from_what_was_set(void **state)
{
	struct scsi_attachment *other = scsi_world_attach(&w, 1);
	struct scsi_lun_channel *channel = scsi_world_open(&w, other, 1);
	struct command *command;
	uint64_t first, second;
	uint8_t origin;

	first = timestamp(&origin);
	assert_true(first < 10000);
	assert_int_equal(origin, 0);
	host_sleep(&w.world.host, 20 * MSEC_NS);
	second = timestamp(&origin);
	assert_true(second >= first + 10 && second < first + 10000);

	wants_good(set_timestamp(12, YEAR_2026));
	first = timestamp(&origin);
	assert_int_equal(origin, 2);
	assert_true(first + 1 >= YEAR_2026 && first < YEAR_2026 + 10000);
	wants_good(COMMAND(&w, SCSI_TEST_UNIT_READY));
	command = COMMAND(&w, SCSI_TEST_UNIT_READY);
	command->channel = channel;
	wants_sense(command, 0x062a10);
	scsi_world_close(&w, channel);
	scsi_world_detach(&w, other);
}

static void wrong_time_stamps_change_nothing(void **state)
{
	struct command *command;
	uint8_t origin;

	wants_good(set_timestamp(0, YEAR_2026));
	wants_sense(set_timestamp(11, YEAR_2026), 0x051a00);
	wants_bad_parameters(set_timestamp(12, UINT64_C(0xffffffffffff)), 4);
	command = set_timestamp(12, YEAR_2026);
	command->out_len = 11;
	wants_response(command, SCSI_RESPONSE_OVERRUN);
	timestamp(&origin);
	assert_int_equal(origin, 0);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(log_pages_are_told),
		TEST(space_of_a_pool_is_told),
		TEST(log_pages_are_cut_at_the_allocation_length),
		TEST(wrong_log_senses_are_invalid_fields),
		TEST(there_is_nothing_to_reset_or_to_change),
		TEST(wrong_log_selects_are_refused),
		TEST(time_goes_on_from_zero_or_from_what_was_set),
		TEST(wrong_time_stamps_change_nothing),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
