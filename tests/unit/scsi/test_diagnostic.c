/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a disk says of itself: diagnostics, defects, which blocks take space.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "scsi_world.h"

#define BLOCK 512

static struct scsi_world w;

static int setup(void **state)
{
	scsi_world_start(&w, &SMALL_DISK);
	return 0;
}

static int teardown(void **state)
{
	scsi_world_end(&w);
	return 0;
}

static struct command *with_in(struct command *command, uint32_t in_len)
{
	command->in_len = in_len;
	return command;
}

static struct command *with_out(struct command *command, const void *out, uint32_t out_len)
{
	command->out = out;
	command->out_len = out_len;
	return command;
}

/* ---- diagnostics ----------------------------------------------------------------------------- */

static void the_self_test_looks_at_the_medium(void **state)
{
	wants_good(COMMAND(&w, SCSI_SEND_DIAGNOSTIC, 0x04));
	assert_int_equal(w.disk.counts[BDEV_IO_READ], 1);
	disk_fail(&w.disk, BDEV_IO_READ, EIO, 1);
	wants_sense(COMMAND(&w, SCSI_SEND_DIAGNOSTIC, 0x04), 0x031100);
	wants_bad_cdb(COMMAND(&w, SCSI_SEND_DIAGNOSTIC, 0x20), 1, 7);
	wants_bad_cdb(COMMAND(&w, SCSI_SEND_DIAGNOSTIC, 0x04, 0, 0, 4), 3, -1);
	wants_good(COMMAND(&w, SCSI_SEND_DIAGNOSTIC, 0x10)); /* no page: nothing to do */
}

static void there_is_one_diagnostic_page(void **state)
{
	static const uint8_t page[] = {0, 0, 0, 1, 0};
	static const uint8_t asked[4], other[4] = {0x40}, longer[4] = {0, 0, 0, 1};
	struct command *command;

	wants_good(with_out(COMMAND(&w, SCSI_SEND_DIAGNOSTIC, 0x10, 0, 0, 4), asked, 4));
	wants_bad_parameters(
		with_out(COMMAND(&w, SCSI_SEND_DIAGNOSTIC, 0x10, 0, 0, 4), other, 4), 0);
	wants_bad_parameters(
		with_out(COMMAND(&w, SCSI_SEND_DIAGNOSTIC, 0x10, 0, 0, 4), longer, 4), 2);
	wants_sense(with_out(COMMAND(&w, SCSI_SEND_DIAGNOSTIC, 0x10, 0, 0, 3), asked, 4), 0x051a00);
	wants_bad_cdb(with_out(COMMAND(&w, SCSI_SEND_DIAGNOSTIC, 0, 0, 0, 4), asked, 4), 1, 4);
	wants_response(with_out(COMMAND(&w, SCSI_SEND_DIAGNOSTIC, 0x10, 0, 0, 4), asked, 3),
		SCSI_RESPONSE_OVERRUN);
	for (uint8_t valid = 0; valid < 2; valid++) {
		command = with_in(COMMAND(&w, SCSI_RECEIVE_DIAGNOSTIC, valid, 0, 0, 64), 64);
		command_run(command);
		assert_int_equal(command_sense(command), 0);
		assert_int_equal(command->task.transferred, sizeof(page));
		assert_memory_equal(command->in, page, sizeof(page));
		command_free(command);
	}
	wants_bad_cdb(with_in(COMMAND(&w, SCSI_RECEIVE_DIAGNOSTIC, 1, 0x40, 0, 64), 64), 2, -1);
}

static void both_lists_of_defects_are_empty(void **state)
{
	static const uint8_t formats[] = {0, 3, 4, 5};
	struct command *command;

	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
		uint8_t asked = 0x18 | formats[i];

		command = with_in(
			COMMAND(&w, SCSI_READ_DEFECT_DATA_10, 0, asked, 0, 0, 0, 0, 0, 32), 32);
		command_run(command);
		assert_int_equal(command_sense(command), 0);
		assert_int_equal(command->task.transferred, 4);
		assert_int_equal(be32_get(command->in), (uint32_t)asked << 16);
		command_free(command);
		command = with_in(
			COMMAND(&w, SCSI_READ_DEFECT_DATA_12, asked, 0, 0, 0, 0, 0, 0, 0, 32), 32);
		command_run(command);
		assert_int_equal(command->task.transferred, 8);
		assert_int_equal(be32_get(command->in), (uint32_t)asked << 16);
		assert_int_equal(be32_get(command->in + 4), 0);
		command_free(command);
	}
	wants_bad_cdb(COMMAND(&w, SCSI_READ_DEFECT_DATA_10, 0, 0x1f), 2, 2);
	wants_bad_cdb(COMMAND(&w, SCSI_READ_DEFECT_DATA_12, 0x02), 1, 2);
}

static void pre_fetch_says_that_nothing_is_cached(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		uint8_t opcode = i ? SCSI_PRE_FETCH_16 : SCSI_PRE_FETCH_10;
		unsigned low = i ? 9 : 5, length = i ? 13 : 8; /* the last bytes of the fields */
		struct command *command = COMMAND(&w, opcode, 0x02);

		command->cdb[length] = 200;
		wants_good(command);
		wants_good(COMMAND(&w, opcode)); /* all */
		command = COMMAND(&w, opcode);
		command->cdb[low - 1] = 0x0f;
		command->cdb[low] = 0xff;
		command->cdb[length] = 2;
		wants_sense(command, 0x052100);
		command = COMMAND(&w, opcode);
		command->cdb[low - 1] = 0x10;
		wants_sense(command, 0x052100);
	}
	assert_int_equal(w.disk.counts[BDEV_IO_READ], 0);
}

/* ---- GET LBA STATUS -------------------------------------------------------------------------- */

static struct command *lba_status(bool long_form, uint64_t lba, uint32_t allocation)
{
	struct command *command = COMMAND(&w, SCSI_SERVICE_ACTION_IN_16, SCSI_SA_GET_LBA_STATUS_16);

	if (long_form) {
		command->cdb[0] = SCSI_VARIABLE_LENGTH;
		command->cdb[1] = 0;
		command->cdb[7] = 24;
		be16_put(command->cdb + 8, SCSI_SA_GET_LBA_STATUS_32);
		be64_put(command->cdb + 12, lba);
		be32_put(command->cdb + 28, allocation);
	} else {
		be64_put(command->cdb + 2, lba);
		be32_put(command->cdb + 10, allocation);
	}
	return with_in(command, allocation);
}

static void assert_descriptor(
	const struct command *command, unsigned index, uint64_t lba, uint32_t blocks, uint8_t state)
{
	const uint8_t *descriptor = command->in + 8 + index * 16;

	assert_int_equal(be64_get(descriptor), lba);
	assert_int_equal(be32_get(descriptor + 8), blocks);
	assert_int_equal(descriptor[12], state);
}

/* Mapped: 0 to 9, 20, and the last. */
static void map_some(void)
{
	memset(w.disk.touched, 1, 10);
	w.disk.touched[20] = 1;
	w.disk.touched[4095] = 2;
}

static void lba_status_tells_what_takes_space(void **state)
{
	map_some();
	for (unsigned i = 0; i < 2; i++) {
		struct command *command = lba_status(i, 0, 1000);

		command_run(command);
		assert_int_equal(command_sense(command), 0);
		assert_int_equal(be32_get(command->in), 4 + 5 * 16);
		assert_int_equal(command->task.transferred, 8 + 5 * 16);
		assert_descriptor(command, 0, 0, 10, 0);
		assert_descriptor(command, 1, 10, 10, 1);
		assert_descriptor(command, 2, 20, 1, 0);
		assert_descriptor(command, 3, 21, 4095 - 21, 1);
		assert_descriptor(command, 4, 4095, 1, 0);
		command_free(command);
		command = lba_status(i, 15, 24);
		command_run(command);
		assert_int_equal(be32_get(command->in), 4 + 16);
		assert_descriptor(command, 0, 15, 5, 1);
		command_free(command);
		wants_sense(lba_status(i, 4096, 24), 0x052100);
		wants_sense(lba_status(i, UINT64_MAX, 24), 0x052100);
		command = lba_status(i, 0, 24);
		command->cdb[i ? 10 : 14] = 1; /* only some states */
		wants_bad_cdb(command, i ? 10 : 14, -1);
	}
}

static void short_allocations_cut_the_answer_and_nothing_else(void **state)
{
	static const uint32_t lengths[] = {0, 3, 8, 20};

	map_some();
	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct command *command = lba_status(false, 0, lengths[i]);

		command_run(command);
		assert_int_equal(command_sense(command), 0);
		assert_int_equal(command->task.transferred, lengths[i]);
		if (lengths[i] >= 4)
			assert_int_equal(be32_get(command->in), 4 + 16);
		command_free(command);
	}
}

static void a_long_list_ends_and_can_be_continued(void **state)
{
	struct command *command = lba_status(false, 0, 100 * 1024);
	uint32_t count;

	for (unsigned i = 0; i < 4096; i += 2)
		w.disk.touched[i] = 1;
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	count = (be32_get(command->in) - 4) / 16;
	assert_int_equal(count, 250);
	assert_descriptor(command, count - 1, count - 1, 1, (count - 1) % 2);
	command_free(command);
	command = lba_status(false, count, 24);
	command_run(command);
	assert_descriptor(command, 0, count, 1, count % 2);
	command_free(command);
}

static void a_disk_that_does_not_know_is_mapped(void **state)
{
	struct disk_options options = SMALL_DISK;
	struct command *command;

	options.no_extents = true;
	scsi_world_end(&w);
	scsi_world_start(&w, &options);
	command = lba_status(false, 96, 1000);
	command_run(command);
	assert_int_equal(be32_get(command->in), 4 + 16);
	assert_descriptor(command, 0, 96, 4000, 0);
	command_free(command);
}

static void a_failure_to_look_is_told(void **state)
{
	disk_fail(&w.disk, BDEV_IO_EXTENT, EIO, 1);
	wants_sense(lba_status(false, 0, 24), 0x031100);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_self_test_looks_at_the_medium),
		TEST(there_is_one_diagnostic_page),
		TEST(both_lists_of_defects_are_empty),
		TEST(pre_fetch_says_that_nothing_is_cached),
		TEST(lba_status_tells_what_takes_space),
		TEST(short_allocations_cut_the_answer_and_nothing_else),
		TEST(a_long_list_ends_and_can_be_continued),
		TEST(a_disk_that_does_not_know_is_mapped),
		TEST(a_failure_to_look_is_told),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
