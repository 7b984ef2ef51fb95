/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * READ and WRITE in all their lengths: the straight path and everything that leaves it.
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
	fill_pattern(w.disk.bytes, 4096 * BLOCK, 7);
	return 0;
}

static int teardown(void **state)
{
	scsi_world_end(&w);
	return 0;
}

/* In place of operation codes that say it already. */
#define READ_32  0xf0
#define WRITE_32 0xf1

/* A READ or WRITE of any of the five lengths. */
static struct command *transfer(uint8_t opcode, uint64_t lba, uint32_t blocks)
{
	struct command *command = COMMAND(&w, opcode);
	uint8_t *cdb = command->cdb;

	switch (opcode) {
	case READ_32:
	case WRITE_32:
		cdb[0] = SCSI_VARIABLE_LENGTH;
		cdb[7] = 24;
		be16_put(cdb + 8, opcode == READ_32 ? SCSI_SA_READ_32 : SCSI_SA_WRITE_32);
		be64_put(cdb + 12, lba);
		be32_put(cdb + 20, 0xdeadbeef); /* tags that nobody looks at */
		be32_put(cdb + 28, blocks);
		break;
	case SCSI_READ_6:
	case SCSI_WRITE_6:
		cdb[1] = (uint8_t)(lba >> 16);
		be16_put(cdb + 2, (uint16_t)lba);
		cdb[4] = (uint8_t)blocks;
		break;
	case SCSI_READ_10:
	case SCSI_WRITE_10:
		be32_put(cdb + 2, (uint32_t)lba);
		be16_put(cdb + 7, (uint16_t)blocks);
		break;
	case SCSI_READ_12:
	case SCSI_WRITE_12:
		be32_put(cdb + 2, (uint32_t)lba);
		be32_put(cdb + 6, blocks);
		break;
	default:
		be64_put(cdb + 2, lba);
		be32_put(cdb + 10, blocks);
	}
	return command;
}

static struct command *read_of(uint8_t opcode, uint64_t lba, uint32_t blocks)
{
	struct command *command = transfer(opcode, lba, blocks);

	command->in_len = blocks * BLOCK;
	return command;
}

static uint8_t data[64 * 1024];

static struct command *write_of(uint8_t opcode, uint64_t lba, uint32_t blocks)
{
	struct command *command = transfer(opcode, lba, blocks);

	fill_pattern(data, blocks * BLOCK, (unsigned)lba + opcode);
	command->out = data;
	command->out_len = blocks * BLOCK;
	return command;
}

static const uint8_t reads[] = {SCSI_READ_6, SCSI_READ_10, SCSI_READ_12, SCSI_READ_16, READ_32};
static const uint8_t writes[] = {
	SCSI_WRITE_6, SCSI_WRITE_10, SCSI_WRITE_12, SCSI_WRITE_16, WRITE_32};

static void every_read_returns_what_is_on_the_disk(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(reads); i++) {
		struct command *command = read_of(reads[i], 100 + i, 9);

		command_run(command);
		assert_int_equal(command_sense(command), 0);
		assert_int_equal(command->task.transferred, 9 * BLOCK);
		assert_memory_equal(command->in, w.disk.bytes + (100 + i) * BLOCK, 9 * BLOCK);
		command_free(command);
	}
}

static void every_write_reaches_the_disk_and_nothing_else(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(writes); i++) {
		struct command *command = write_of(writes[i], 200 + 10 * i, 5);

		command_run(command);
		assert_int_equal(command_sense(command), 0);
		assert_int_equal(command->task.transferred, 5 * BLOCK);
		assert_memory_equal(w.disk.bytes + (200 + 10 * i) * BLOCK, data, 5 * BLOCK);
		command_free(command);
	}
	for (unsigned block = 0; block < 4096; block++)
		assert_int_equal(w.disk.touched[block],
			block >= 200 && block < 250 && block % 10 < 5 ? 1 : 0);
}

static void zero_blocks_are_256_in_six_byte_commands_and_none_in_others(void **state)
{
	struct command *command = transfer(SCSI_READ_6, 0, 0);

	command->in_len = 256 * BLOCK;
	command_run(command);
	assert_int_equal(command->task.transferred, 256 * BLOCK);
	assert_memory_equal(command->in, w.disk.bytes, 256 * BLOCK);
	command_free(command);
	for (unsigned i = 1; i < ARRAY_SIZE(reads); i++) {
		wants_good(transfer(reads[i], 4095, 0));
		wants_good(transfer(writes[i], 4095, 0));
		wants_sense(transfer(reads[i], 4096, 0), 0x052100);
	}
	assert_int_equal(w.disk.counts[BDEV_IO_READ], 1);
	assert_int_equal(w.disk.counts[BDEV_IO_WRITE], 0);
}

static void the_last_block_can_be_reached_and_the_one_after_cannot(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(reads); i++) {
		wants_good(read_of(reads[i], 4095, 1));
		wants_good(write_of(writes[i], 4095, 1));
		wants_sense(read_of(reads[i], 4095, 2), 0x052100);
		wants_sense(write_of(writes[i], 4096, 1), 0x052100);
	}
	wants_sense(read_of(SCSI_READ_16, UINT64_MAX, 1), 0x052100);
	wants_sense(read_of(SCSI_READ_16, UINT64_MAX - 3, 8), 0x052100);
	wants_sense(write_of(SCSI_WRITE_16, UINT64_C(1) << 55, 8), 0x052100);
}

static void a_buffer_longer_than_the_command_leaves_a_residual(void **state)
{
	struct command *command = read_of(SCSI_READ_10, 5, 3);

	command->in_len = 4 * BLOCK + 100;
	command->segment = 700;
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(command->task.transferred, 3 * BLOCK);
	assert_int_equal(scsi_task_residual(&command->task), BLOCK + 100);
	assert_memory_equal(command->in, w.disk.bytes + 5 * BLOCK, 3 * BLOCK);
	command_free(command);

	command = write_of(SCSI_WRITE_10, 5, 8);
	be16_put(command->cdb + 7, 2);
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(scsi_task_residual(&command->task), 6 * BLOCK);
	command_free(command);
	assert_int_equal(w.disk.touched[6], 1);
	assert_int_equal(w.disk.touched[7], 0);
}

static void a_buffer_shorter_than_the_command_is_an_overrun_and_moves_nothing(void **state)
{
	struct command *command = read_of(SCSI_READ_10, 5, 3);

	command->in_len--;
	wants_response(command, SCSI_RESPONSE_OVERRUN);
	command = write_of(SCSI_WRITE_16, 5, 3);
	command->out_len = 1;
	wants_response(command, SCSI_RESPONSE_OVERRUN);
	command = read_of(SCSI_READ_16, 5, 3);
	command->in_len = 0;
	wants_response(command, SCSI_RESPONSE_OVERRUN);
	/* The direction is wrong: there is no buffer for what the CDB says. */
	command = read_of(SCSI_READ_16, 5, 3);
	command->in_len = 0;
	command->out = data;
	command->out_len = 3 * BLOCK;
	wants_response(command, SCSI_RESPONSE_OVERRUN);
	assert_int_equal(w.disk.touched[5], 0);
}

static void data_in_both_directions_is_a_failure(void **state)
{
	struct command *command = read_of(SCSI_READ_10, 5, 1);

	command->out = data;
	command->out_len = BLOCK;
	wants_response(command, SCSI_RESPONSE_FAILURE);
}

static void segments_may_be_cut_at_any_byte(void **state)
{
	static const unsigned segments[] = {1, 7, 511, 512, 513, 4096};

	for (unsigned i = 0; i < ARRAY_SIZE(segments); i++) {
		struct command *command = read_of(SCSI_READ_10, 32, 8);

		command->segment = segments[i];
		command_run(command);
		assert_int_equal(command_sense(command), 0);
		assert_memory_equal(command->in, w.disk.bytes + 32 * BLOCK, 8 * BLOCK);
		command_free(command);
		command = write_of(SCSI_WRITE_10, 64, 8);
		command->segment = segments[i];
		wants_good(command);
		assert_memory_equal(w.disk.bytes + 64 * BLOCK, data, 8 * BLOCK);
	}
}

static void more_segments_than_the_disk_takes_go_through_a_buffer(void **state)
{
	struct disk_options options = SMALL_DISK;
	struct command *command;

	scsi_world_end(&w);
	options.max_iovcnt = 4;
	scsi_world_start(&w, &options);
	fill_pattern(w.disk.bytes, 4096 * BLOCK, 8);

	command = read_of(SCSI_READ_16, 3, 300); /* more than one piece */
	command->segment = 999;
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(command->task.transferred, 300 * BLOCK);
	assert_memory_equal(command->in, w.disk.bytes + 3 * BLOCK, 300 * BLOCK);
	command_free(command);

	command = write_of(SCSI_WRITE_16, 1000, 100);
	command->cdb[1] = 0x08;
	command->segment = 100;
	wants_good(command);
	assert_memory_equal(w.disk.bytes + 1000 * BLOCK, data, 100 * BLOCK);
	assert_int_equal(w.disk.last_flags[BDEV_IO_WRITE], BDEV_IO_FUA);
	assert_int_equal(w.disk.iovcnt_max, 1);

	disk_fail(&w.disk, BDEV_IO_READ, EIO, 1);
	command = read_of(SCSI_READ_16, 3, 300);
	command->segment = 999;
	wants_sense(command, 0x031100);
}

static void fua_reaches_the_disk_and_dpo_is_accepted(void **state)
{
	struct command *command = write_of(SCSI_WRITE_10, 1, 1);

	command->cdb[1] = 0x18;
	wants_good(command);
	assert_int_equal(w.disk.last_flags[BDEV_IO_WRITE], BDEV_IO_FUA);
	wants_good(write_of(SCSI_WRITE_10, 1, 1));
	assert_int_equal(w.disk.last_flags[BDEV_IO_WRITE], 0);
	command = write_of(WRITE_32, 1, 1);
	command->cdb[10] = 0x18;
	wants_good(command);
	assert_int_equal(w.disk.last_flags[BDEV_IO_WRITE], BDEV_IO_FUA);

	command = read_of(SCSI_READ_16, 1, 1);
	command->cdb[1] = 0x08;
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_memory_equal(command->in, data, BLOCK);
	command_free(command);
	assert_int_equal(w.disk.counts[BDEV_IO_FLUSH], 1); /* before reading */
}

static void transfers_beyond_the_limit_are_an_invalid_field(void **state)
{
	struct disk_options options = SMALL_DISK;

	scsi_world_end(&w);
	options.blocks = 70000;
	scsi_world_start(&w, &options);
	wants_bad_cdb(transfer(SCSI_READ_12, 0, 65537), 6, -1);
	wants_bad_cdb(transfer(SCSI_WRITE_16, 0, 65537), 10, -1);
	wants_bad_cdb(transfer(READ_32, 0, 65537), 28, -1);
	wants_response(transfer(SCSI_READ_16, 0, 65536), SCSI_RESPONSE_OVERRUN); /* within it */
}

static void protection_and_naca_are_invalid_fields(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(reads); i++) {
		static const unsigned control[] = {5, 9, 11, 15, 1};
		unsigned flags = reads[i] == READ_32 ? 10 : 1;
		struct command *command;

		if (i > 0) {
			command = read_of(reads[i], 0, 1);
			command->cdb[flags] = 0x20;
			wants_bad_cdb(command, flags, 7);
			command = write_of(writes[i], 0, 1);
			command->cdb[flags] = 0xa0;
			wants_bad_cdb(command, flags, 7);
		}
		command = read_of(reads[i], 0, 1);
		command->cdb[control[i]] = 0x04;
		wants_bad_cdb(command, control[i], 2);
		command = read_of(reads[i], 0, 1);
		command->cdb[control[i]] = 0x40; /* vendor specific: ours to ignore */
		wants_good(command);
	}
}

static void a_read_only_disk_is_write_protected(void **state)
{
	struct disk_options options = SMALL_DISK;

	scsi_world_end(&w);
	options.read_only = true;
	scsi_world_start(&w, &options);
	for (unsigned i = 0; i < ARRAY_SIZE(reads); i++) {
		wants_good(read_of(reads[i], 0, 1));
		wants_sense(write_of(writes[i], 0, 1), 0x072700);
	}
}

static void errors_of_the_disk_become_the_sense_data_they_are(void **state)
{
	static const struct {
		int error;
		uint32_t read;
		uint32_t write;
	} cases[] = {
		{EIO, 0x031100, 0x030c00},
		{EILSEQ, 0x031100, 0x030c00},
		{ENOSPC, 0x072707, 0x072707},
		{ENODEV, 0x052500, 0x052500},
		{EROFS, 0x072700, 0x072700},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		disk_fail(&w.disk, BDEV_IO_READ, cases[i].error, 1);
		wants_sense(read_of(SCSI_READ_10, 77, 3), cases[i].read);
		disk_fail(&w.disk, BDEV_IO_WRITE, cases[i].error, 1);
		wants_sense(write_of(SCSI_WRITE_10, 77, 3), cases[i].write);
		wants_good(read_of(SCSI_READ_10, 77, 3));
	}
}

static void a_medium_error_tells_where(void **state)
{
	struct command *command = read_of(SCSI_READ_10, 77, 3);
	uint64_t information;

	disk_fail(&w.disk, BDEV_IO_READ, EIO, 1);
	command_run(command);
	assert_true(command_information(command, &information));
	assert_int_equal(information, 77);
	assert_int_equal(command->task.sense_len, 18);
	command_free(command);
}

static void a_disk_short_of_memory_is_busy(void **state)
{
	struct command *command = read_of(SCSI_READ_10, 77, 3);

	disk_fail(&w.disk, BDEV_IO_READ, ENOMEM, 1);
	command_run(command);
	assert_int_equal(command->task.status, SCSI_STATUS_BUSY);
	assert_int_equal(command->task.sense_len, 0);
	command_free(command);
}

static void a_shrunk_disk_refuses_what_is_beyond_its_end(void **state)
{
	world_set_size(&w.world, &w.disk.bdev, 1000 * BLOCK);
	wants_sense(read_of(SCSI_READ_10, 999, 1), 0x062a09);
	wants_good(read_of(SCSI_READ_10, 999, 1));
	wants_sense(read_of(SCSI_READ_10, 1000, 1), 0x052100);
	wants_sense(write_of(SCSI_WRITE_10, 999, 2), 0x052100);
	assert_int_equal(w.resized, 1);
}

static void blocks_of_4096_bytes_are_counted_as_such(void **state)
{
	struct disk_options options = SMALL_DISK;
	struct command *command;

	scsi_world_end(&w);
	options.block_size = 4096;
	options.blocks = 64;
	scsi_world_start(&w, &options);
	fill_pattern(w.disk.bytes, 64 * 4096, 9);
	command = transfer(SCSI_READ_10, 60, 4);
	command->in_len = 4 * 4096;
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_memory_equal(command->in, w.disk.bytes + 60 * 4096, 4 * 4096);
	command_free(command);
	wants_sense(transfer(SCSI_READ_10, 60, 5), 0x052100);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_read_returns_what_is_on_the_disk),
		TEST(every_write_reaches_the_disk_and_nothing_else),
		TEST(zero_blocks_are_256_in_six_byte_commands_and_none_in_others),
		TEST(the_last_block_can_be_reached_and_the_one_after_cannot),
		TEST(a_buffer_longer_than_the_command_leaves_a_residual),
		TEST(a_buffer_shorter_than_the_command_is_an_overrun_and_moves_nothing),
		TEST(data_in_both_directions_is_a_failure),
		TEST(segments_may_be_cut_at_any_byte),
		TEST(more_segments_than_the_disk_takes_go_through_a_buffer),
		TEST(fua_reaches_the_disk_and_dpo_is_accepted),
		TEST(transfers_beyond_the_limit_are_an_invalid_field),
		TEST(protection_and_naca_are_invalid_fields),
		TEST(a_read_only_disk_is_write_protected),
		TEST(errors_of_the_disk_become_the_sense_data_they_are),
		TEST(a_medium_error_tells_where),
		TEST(a_disk_short_of_memory_is_busy),
		TEST(a_shrunk_disk_refuses_what_is_beyond_its_end),
		TEST(blocks_of_4096_bytes_are_counted_as_such),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
