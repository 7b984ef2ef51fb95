/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SANITIZE and FORMAT UNIT: what they leave, what others are told meanwhile and after a failure.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "scsi_world.h"

#define BLOCK  512
#define BLOCKS 4096

static struct scsi_world w;
static uint8_t list[BLOCK + 8];

static int setup(void **state)
{
	scsi_world_start(&w, &SMALL_DISK);
	fill_pattern(w.disk.bytes, BLOCKS * BLOCK, 7);
	return 0;
}

static int teardown(void **state)
{
	scsi_world_end(&w);
	return 0;
}

static struct command *sanitize(uint8_t flags_and_action, uint16_t list_len)
{
	struct command *command = COMMAND(&w, SCSI_SANITIZE, flags_and_action);

	be16_put(command->cdb + 7, list_len);
	command->out = list;
	command->out_len = list_len;
	return command;
}

/* With a pattern of so many bytes. */
static struct command *overwrite(uint8_t flags, uint8_t count, uint16_t pattern_len)
{
	list[0] = count;
	list[1] = 0;
	be16_put(list + 2, pattern_len);
	fill_pattern(list + 4, pattern_len <= BLOCK ? pattern_len : BLOCK, 5);
	return sanitize(flags | 0x01, (uint16_t)(pattern_len + 4));
}

static struct command *read_one(void)
{
	struct command *command = COMMAND(&w, SCSI_READ_10, 0, 0, 0, 0, 1, 0, 0, 1);

	command->in_len = BLOCK;
	return command;
}

static void assert_pattern(const uint8_t *pattern, unsigned len, uint8_t invert)
{
	for (unsigned block = 0; block < BLOCKS; block++)
		for (unsigned at = 0; at < BLOCK; at++)
			if (w.disk.bytes[block * BLOCK + at] != (pattern[at % len] ^ invert))
				fail_msg("block %u, byte %u", block, at);
}

static void assert_zeroes(uint8_t how)
{
	static const uint8_t zero[1];

	assert_pattern(zero, 1, 0);
	for (unsigned block = 0; block < BLOCKS; block++)
		assert_int_equal(w.disk.touched[block], how);
}

static void settle(void)
{
	host_sleep(&w.world.host, 5 * MSEC_NS);
}

/* Waits for what runs without a task. */
static void wait_until_ready(void)
{
	for (unsigned i = 0; i < 1000; i++) {
		struct command *command = COMMAND(&w, SCSI_TEST_UNIT_READY);
		bool ready;

		command_run(command);
		ready = command_sense(command) == 0;
		command_free(command);
		if (ready)
			return;
		settle();
	}
	fail_msg("it does not end");
}

/* ---- what they leave ------------------------------------------------------------------------- */

static void overwrite_leaves_its_pattern_in_every_block(void **state)
{
	static const uint16_t lengths[] = {BLOCK, BLOCK / 2, 5, 1};

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct command *command = overwrite(0, 1, lengths[i]);

		command_run(command);
		assert_int_equal(command_sense(command), 0);
		assert_int_equal(command->task.transferred, lengths[i] + 4);
		assert_pattern(list + 4, lengths[i], 0);
		command_free(command);
	}
	assert_int_equal(w.disk.counts[BDEV_IO_FLUSH], 4);
}

static void overwrites_are_counted_and_may_invert(void **state)
{
	unsigned writes = w.disk.counts[BDEV_IO_WRITE];

	wants_good(overwrite(0, 3, BLOCK));
	assert_int_equal(w.disk.counts[BDEV_IO_WRITE] - writes, 3 * BLOCKS * BLOCK / MIB);
	assert_pattern(list + 4, BLOCK, 0);
	wants_good(overwrite(0, 0x82, BLOCK)); /* the second time inverted */
	assert_pattern(list + 4, BLOCK, 0xff);
}

static void block_erase_leaves_zeroes_that_take_no_space(void **state)
{
	wants_good(sanitize(0x02, 0));
	assert_zeroes(3);
	assert_int_equal(w.disk.counts[BDEV_IO_WRITE], 0);
	assert_int_equal(w.disk.counts[BDEV_IO_FLUSH], 1);
}

static void a_poor_disk_is_erased_by_writing(void **state)
{
	struct disk_options options = SMALL_DISK;

	options.no_write_zeroes = true;
	options.no_flush = true;
	scsi_world_end(&w);
	scsi_world_start(&w, &options);
	fill_pattern(w.disk.bytes, BLOCKS * BLOCK, 7);
	wants_good(sanitize(0x02, 0));
	assert_zeroes(1);
}

static void formatting_leaves_zeroes(void **state)
{
	static const uint8_t header[8] = {0, 0x80};
	struct command *command = COMMAND(&w, SCSI_FORMAT_UNIT);

	wants_good(command);
	assert_zeroes(3);
	for (unsigned len = 4; len <= 8; len += 4) {
		fill_pattern(w.disk.bytes, BLOCKS * BLOCK, 7);
		command = COMMAND(&w, SCSI_FORMAT_UNIT, len == 8 ? 0x30 : 0x10);
		command->out = header;
		command->out_len = len;
		command_run(command);
		assert_int_equal(command_sense(command), 0);
		assert_int_equal(command->task.transferred, len);
		command_free(command);
		assert_zeroes(3);
	}
}

/* ---- meanwhile ------------------------------------------------------------------------------- */

/* While one runs, which is held by the disk. */
static void assert_others_are_told(struct command *running, uint32_t sense)
{
	struct scsi_attachment *other;
	struct scsi_lun_channel *channel;
	struct command *command;

	atomic_store(&w.disk.hold, true);
	command_begin(running);
	disk_wait_held(&w.world, &w.disk, 1);
	other = scsi_world_attach(&w, 1); /* even one that comes later */
	channel = scsi_world_open(&w, other, 0);

	command = read_one();
	command_run(command);
	assert_int_equal(command_sense(command), sense);
	assert_int_equal(command->task.sense[15], 0x80); /* how far it is */
	assert_int_equal(command->task.sense_len, 18);
	command_free(command);
	command = read_one();
	command->channel = channel;
	wants_sense(command, sense);
	wants_sense(COMMAND(&w, SCSI_TEST_UNIT_READY), sense);
	wants_sense(sanitize(0x02, 0), sense);
	wants_sense(COMMAND(&w, SCSI_MODE_SENSE_6, 0, 0x3f, 0, 255), sense);
	wants_good(COMMAND(&w, SCSI_INQUIRY, 0, 0, 0, 36));
	wants_good(COMMAND(&w, SCSI_MAINTENANCE_IN, SCSI_SA_REPORT_SUPPORTED_OPCODES));
	command = COMMAND(&w, SCSI_REQUEST_SENSE, 1, 0, 0, 252);
	command->in_len = 252;
	command_run(command);
	assert_int_equal(command->in[1] << 16 | be16_get(command->in + 2), sense);
	assert_int_equal(command->in[8], 2);
	assert_int_equal(command->in[12], 0x80);
	command_free(command);

	scsi_world_close(&w, channel);
	scsi_world_detach(&w, other);
	disk_release(&w.world, &w.disk, w.world.data[0]);
}

static void others_are_told_of_a_sanitize_that_runs(void **state)
{
	struct command *running = sanitize(0x02, 0);

	assert_others_are_told(running, 0x02041b);
	command_finish(running);
	assert_int_equal(command_sense(running), 0);
	command_free(running);
	wants_good(COMMAND(&w, SCSI_TEST_UNIT_READY));
}

static void others_are_told_of_a_format_that_runs(void **state)
{
	struct command *running = COMMAND(&w, SCSI_FORMAT_UNIT);

	assert_others_are_told(running, 0x020404);
	command_finish(running);
	assert_int_equal(command_sense(running), 0);
	command_free(running);
}

static void with_immed_the_status_comes_first(void **state)
{
	static const uint8_t immed[4] = {0, 0x82};
	struct command *command = sanitize(0x82, 0);

	atomic_store(&w.disk.hold, true);
	wants_good(command);
	disk_wait_held(&w.world, &w.disk, 1);
	wants_sense(read_one(), 0x02041b);
	disk_release(&w.world, &w.disk, w.world.data[0]);
	wait_until_ready();
	assert_zeroes(3);

	fill_pattern(w.disk.bytes, BLOCKS * BLOCK, 7);
	command = COMMAND(&w, SCSI_FORMAT_UNIT, 0x10);
	command->out = immed;
	command->out_len = 4;
	atomic_store(&w.disk.hold, true);
	wants_good(command);
	disk_wait_held(&w.world, &w.disk, 1);
	wants_sense(read_one(), 0x020404);
	disk_release(&w.world, &w.disk, w.world.data[0]);
	wait_until_ready();
	assert_zeroes(3);
}

static void what_was_in_flight_before_has_ended(void **state)
{
	struct command *before = read_one(), *running = sanitize(0x02, 0);

	atomic_store(&w.disk.hold, true);
	command_begin(before);
	disk_wait_held(&w.world, &w.disk, 1);
	command_begin(running);
	settle();
	assert_int_equal(w.disk.counts[BDEV_IO_WRITE_ZEROES], 0);
	disk_release(&w.world, &w.disk, w.world.data[0]);
	command_finish(before);
	assert_int_equal(command_sense(before), 0);
	command_finish(running);
	assert_int_equal(command_sense(running), 0);
	command_free(before);
	command_free(running);
}

static void one_that_nobody_waits_for_ends_with_its_unit(void **state)
{
	atomic_store(&w.disk.hold, true);
	wants_good(sanitize(0x82, 0));
	disk_wait_held(&w.world, &w.disk, 1);
	scsi_world_close(&w, w.channel);
	scsi_world_detach(&w, w.attachment);
	disk_release(&w.world, &w.disk, w.world.data[0]);
	w.attachment = scsi_world_attach(&w, 0);
	w.channel = scsi_world_open(&w, w.attachment, 0);
	w.view->luns[0] = w.channel;
	wait_until_ready();
}

/* ---- failures -------------------------------------------------------------------------------- */

static void a_failed_sanitize_closes_the_disk_until_one_succeeds(void **state)
{
	disk_fail(&w.disk, BDEV_IO_WRITE_ZEROES, EIO, 1);
	wants_sense(sanitize(0x02, 0), 0x033103);
	wants_sense(read_one(), 0x033103);
	wants_sense(COMMAND(&w, SCSI_TEST_UNIT_READY), 0x033103);
	wants_good(COMMAND(&w, SCSI_INQUIRY, 0, 0, 0, 36));
	wants_bad_cdb(sanitize(0x1f, 0), 1, 4); /* AUSE was not set */
	wants_sense(read_one(), 0x033103);
	wants_good(sanitize(0x02, 0));
	wants_good(read_one());
}

static void the_failure_mode_may_be_left_where_that_was_allowed(void **state)
{
	disk_fail(&w.disk, BDEV_IO_WRITE, EIO, 1);
	wants_sense(overwrite(0x20, 1, 4), 0x033103);
	wants_sense(read_one(), 0x033103);
	wants_good(sanitize(0x1f, 0));
	wants_good(read_one());
	wants_good(sanitize(0x1f, 0)); /* there is nothing to leave */
	disk_fail(&w.disk, BDEV_IO_FLUSH, EIO, 1);
	wants_sense(overwrite(0x20, 1, 4), 0x033103);
}

static void a_failed_format_closes_the_disk_until_one_succeeds(void **state)
{
	disk_fail(&w.disk, BDEV_IO_WRITE_ZEROES, ENOSPC, 1);
	wants_sense(COMMAND(&w, SCSI_FORMAT_UNIT), 0x033101);
	wants_sense(read_one(), 0x033101);
	wants_good(COMMAND(&w, SCSI_FORMAT_UNIT));
	wants_good(read_one());
}

static void sanitize_refuses_what_it_should(void **state)
{
	struct disk_options options = SMALL_DISK;
	struct command *command;

	for (uint8_t action = 0; action < 0x20; action++) {
		if (action != 1 && action != 2 && action != 0x1f)
			wants_bad_cdb(sanitize(action, 0), 1, 4);
	}
	wants_bad_cdb(sanitize(0x02, 8), 7, -1);
	wants_bad_cdb(sanitize(0x1f, 8), 7, -1);
	for (uint16_t len = 0; len < 5; len++)
		wants_bad_cdb(sanitize(0x01, len), 7, -1);
	wants_bad_cdb(sanitize(0x01, BLOCK + 5), 7, -1);
	wants_bad_parameters(overwrite(0, 0, BLOCK), 0);
	wants_bad_parameters(overwrite(0, 0x21, BLOCK), 0);
	command = overwrite(0, 1, BLOCK);
	be16_put(list + 2, 0);
	wants_bad_parameters(command, 2);
	command = overwrite(0, 1, BLOCK);
	be16_put(list + 2, BLOCK + 1);
	wants_bad_parameters(command, 2);
	command = overwrite(0, 1, 8);
	be16_put(list + 2, 9);
	wants_sense(command, 0x051a00);
	command = overwrite(0, 1, 8);
	command->out_len--;
	wants_response(command, SCSI_RESPONSE_OVERRUN);
	assert_int_equal(w.disk.counts[BDEV_IO_WRITE], 0);

	options.read_only = true;
	scsi_world_end(&w);
	scsi_world_start(&w, &options);
	wants_sense(sanitize(0x02, 0), 0x072700);
	wants_sense(overwrite(0, 1, BLOCK), 0x072700);
	wants_sense(COMMAND(&w, SCSI_FORMAT_UNIT), 0x072700);
}

static struct command *format(uint8_t flags, const uint8_t *header, uint32_t len)
{
	struct command *command = COMMAND(&w, SCSI_FORMAT_UNIT, flags);

	memcpy(list, header, len);
	command->out = list;
	command->out_len = len;
	return command;
}

static void format_refuses_what_it_should(void **state)
{
	wants_bad_cdb(COMMAND(&w, SCSI_FORMAT_UNIT, 0x80), 1, 7);
	wants_bad_cdb(COMMAND(&w, SCSI_FORMAT_UNIT, 0x08), 1, 3);
	wants_bad_parameters(format(0x10, (const uint8_t[]){1, 0x80, 0, 0}, 4), 0);
	wants_bad_parameters(format(0x10, (const uint8_t[]){0, 0x20, 0, 0}, 4), 1);
	wants_bad_parameters(format(0x10, (const uint8_t[]){0, 0x88, 0, 0}, 4), 1);
	wants_bad_parameters(format(0x10, (const uint8_t[]){0, 0, 0, 8}, 4), 2);
	wants_bad_parameters(format(0x30, (const uint8_t[]){0, 0, 0, 1, 0, 0, 0, 0}, 8), 3);
	wants_bad_parameters(format(0x30, (const uint8_t[]){0, 0, 0, 0, 0, 0, 0, 8}, 8), 4);
	wants_response(format(0x10, (const uint8_t[]){0, 0, 0}, 3), SCSI_RESPONSE_OVERRUN);
	assert_int_equal(w.disk.counts[BDEV_IO_WRITE_ZEROES], 0);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(overwrite_leaves_its_pattern_in_every_block),
		TEST(overwrites_are_counted_and_may_invert),
		TEST(block_erase_leaves_zeroes_that_take_no_space),
		TEST(a_poor_disk_is_erased_by_writing),
		TEST(formatting_leaves_zeroes),
		TEST(others_are_told_of_a_sanitize_that_runs),
		TEST(others_are_told_of_a_format_that_runs),
		TEST(with_immed_the_status_comes_first),
		TEST(what_was_in_flight_before_has_ended),
		TEST(one_that_nobody_waits_for_ends_with_its_unit),
		TEST(a_failed_sanitize_closes_the_disk_until_one_succeeds),
		TEST(the_failure_mode_may_be_left_where_that_was_allowed),
		TEST(a_failed_format_closes_the_disk_until_one_succeeds),
		TEST(sanitize_refuses_what_it_should),
		TEST(format_refuses_what_it_should),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
