/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * COMPARE AND WRITE, ORWRITE, WRITE ATOMIC: what they do, what they refuse, and that they are alone
 * on their range.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "scsi/lun_mode.h"
#include "scsi_world.h"

#define BLOCK 512

static struct scsi_world w;
static uint8_t data[520 * BLOCK];

static void start(void)
{
	struct disk_options options = SMALL_DISK;

	options.atomic_write_bytes = 256 * BLOCK;
	scsi_world_start(&w, &options);
	fill_pattern(w.disk.bytes, 4096 * BLOCK, 7);
}

static int setup(void **state)
{
	start();
	return 0;
}

static int teardown(void **state)
{
	scsi_world_end(&w);
	return 0;
}

static void restart(const struct disk_options *options)
{
	scsi_world_end(&w);
	scsi_world_start(&w, options);
	fill_pattern(w.disk.bytes, options->blocks * options->block_size, 7);
}

/* blocks: where the command has its length. */
static struct command *of_16(uint8_t opcode, uint64_t lba, unsigned blocks, uint32_t out_len)
{
	struct command *command = COMMAND(&w, opcode);

	be64_put(command->cdb + 2, lba);
	if (opcode == SCSI_COMPARE_AND_WRITE)
		command->cdb[13] = (uint8_t)blocks;
	else if (opcode == SCSI_WRITE_ATOMIC_16)
		be16_put(command->cdb + 12, (uint16_t)blocks);
	else
		be32_put(command->cdb + 10, blocks);
	command->out = data;
	command->out_len = out_len;
	return command;
}

/* Compares with what is there, to write a pattern. */
static struct command *compare_and_write(uint64_t lba, unsigned blocks)
{
	memcpy(data, w.disk.bytes + lba * BLOCK, blocks * BLOCK);
	fill_pattern(data + blocks * BLOCK, blocks * BLOCK, (unsigned)lba + 3);
	return of_16(SCSI_COMPARE_AND_WRITE, lba, blocks, 2 * blocks * BLOCK);
}

static struct command *other_write(uint64_t lba)
{
	struct command *command =
		COMMAND(&w, SCSI_WRITE_10, 0, 0, 0, (uint8_t)(lba >> 8), (uint8_t)lba, 0, 0, 1);

	command->out = data + 515 * BLOCK;
	command->out_len = BLOCK;
	return command;
}

static void settle(void)
{
	host_sleep(&w.world.host, 5 * MSEC_NS);
}

/* ---- COMPARE AND WRITE ----------------------------------------------------------------------- */

static void what_compares_equal_is_overwritten(void **state)
{
	static const unsigned lengths[] = {1, 2, 100, 255};

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct command *command = compare_and_write(300 * i, lengths[i]);
		uint32_t half = lengths[i] * BLOCK;

		command->segment = i % 2 ? 1000 : 0;
		command_run(command);
		assert_int_equal(command_sense(command), 0);
		assert_int_equal(command->task.transferred, 2 * half);
		assert_memory_equal(w.disk.bytes + 300 * i * BLOCK, data + half, half);
		command_free(command);
	}
	wants_good(compare_and_write(4095, 1));
	wants_good(compare_and_write(0, 0));
}

static void what_differs_stays_and_the_place_is_told(void **state)
{
	static const uint32_t places[] = {0, 511, 512, 9 * BLOCK - 27, 9 * BLOCK - 1};
	struct command *command;
	uint64_t information;

	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		command = compare_and_write(50, 9);
		data[places[i]] ^= 0x40;
		command->segment = i % 2 ? 777 : 0;
		command_run(command);
		assert_int_equal(command_sense(command), 0x0e1d00);
		assert_true(command_information(command, &information));
		assert_int_equal(information, places[i]);
		assert_int_equal(command->task.transferred, 0);
		command_free(command);
	}
	for (unsigned block = 0; block < 4096; block++)
		assert_int_equal(w.disk.touched[block], 0);
}

static void the_place_is_told_in_descriptors_too(void **state)
{
	struct command *command = compare_and_write(50, 9);
	uint64_t information;

	atomic_fetch_or(&w.attachment->lun->mode, SCSI_MODE_D_SENSE);
	data[4000] ^= 1;
	command_run(command);
	assert_int_equal(command->task.sense[0], 0x72);
	assert_int_equal(command_sense(command), 0x0e1d00);
	assert_true(command_information(command, &information));
	assert_int_equal(information, 4000);
	command_free(command);
}

static void compare_and_write_refuses_what_it_should(void **state)
{
	struct disk_options options = SMALL_DISK;
	struct command *command = compare_and_write(5, 1);

	command->cdb[1] = 0x20;
	wants_bad_cdb(command, 1, 7);
	wants_sense(of_16(SCSI_COMPARE_AND_WRITE, 4095, 2, 4 * BLOCK), 0x052100);
	wants_sense(of_16(SCSI_COMPARE_AND_WRITE, 4096, 0, 0), 0x052100);
	command = compare_and_write(5, 2);
	command->out_len--;
	wants_response(command, SCSI_RESPONSE_OVERRUN);
	disk_fail(&w.disk, BDEV_IO_READ, EIO, 1);
	wants_sense(compare_and_write(5, 1), 0x031100);
	disk_fail(&w.disk, BDEV_IO_WRITE, EIO, 1);
	wants_sense(compare_and_write(5, 1), 0x030c00);
	wants_good(compare_and_write(5, 1)); /* the lock is free */

	options.read_only = true;
	restart(&options);
	wants_sense(of_16(SCSI_COMPARE_AND_WRITE, 0, 1, 2 * BLOCK), 0x072700);
}

static void compare_and_write_obeys_fua(void **state)
{
	struct command *command = compare_and_write(5, 1);

	command->cdb[1] = 0x18;
	wants_good(command);
	assert_int_equal(w.disk.last_flags[BDEV_IO_WRITE], BDEV_IO_FUA);
	wants_good(compare_and_write(5, 1));
	assert_int_equal(w.disk.last_flags[BDEV_IO_WRITE], 0);
}

static void more_segments_than_the_disk_takes_compare_and_write_too(void **state)
{
	struct disk_options options = SMALL_DISK;
	struct command *command;

	options.max_iovcnt = 3;
	restart(&options);
	command = compare_and_write(100, 255);
	command->segment = 1000;
	wants_good(command);
	assert_memory_equal(w.disk.bytes + 100 * BLOCK, data + 255 * BLOCK, 255 * BLOCK);
}

/* ---- alone ----------------------------------------------------------------------------------- */

/* The command reads first; while the disk holds that, nobody else gets to its range. */
static void assert_alone(struct command *command, uint64_t lba)
{
	struct scsi_attachment *other = scsi_world_attach(&w, 1);
	struct scsi_lun_channel *channel = scsi_world_open(&w, other, 0);
	struct command *inside = other_write(lba), *outside = other_write(lba + 64);

	fill_pattern(data + 515 * BLOCK, BLOCK, 77);
	inside->channel = outside->channel = channel;
	atomic_store(&w.disk.hold, true);
	command_begin(command);
	disk_wait_held(&w.world, &w.disk, 1);
	command_begin(inside);
	command_begin(outside);
	disk_wait_held(&w.world, &w.disk, 2);
	settle();
	assert_int_equal(atomic_load(&w.disk.held_count), 2); /* the read, and the one outside */
	assert_false(command_has_ended(command) || command_has_ended(inside));
	disk_release(&w.world, &w.disk, w.world.data[0]);
	command_finish(command);
	assert_int_equal(command_sense(command), 0);
	command_finish(inside);
	command_finish(outside);
	/* Last came the one that had to wait. */
	assert_memory_equal(w.disk.bytes + lba * BLOCK, data + 515 * BLOCK, BLOCK);
	command_free(command);
	command_free(inside);
	command_free(outside);
	scsi_world_close(&w, channel);
	scsi_world_detach(&w, other);
}

static void compare_and_write_is_alone_on_its_range(void **state)
{
	assert_alone(compare_and_write(10, 20), 12);
}

static void orwrite_is_alone_on_its_range(void **state)
{
	memset(data, 0, 20 * BLOCK);
	assert_alone(of_16(SCSI_ORWRITE_16, 10, 20, 20 * BLOCK), 29);
}

static void write_atomic_is_alone_on_its_range(void **state)
{
	assert_alone(of_16(SCSI_WRITE_ATOMIC_16, 10, 20, 20 * BLOCK), 10);
}

static void compare_and_writes_of_the_same_blocks_come_one_after_the_other(void **state)
{
	struct command *commands[8];
	unsigned won = 0;

	memset(w.disk.bytes, 0, 4 * BLOCK);
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		memset(data, 0, 4 * BLOCK);
		memset(data + 4 * BLOCK, (int)i + 1, 4 * BLOCK);
		commands[i] = of_16(SCSI_COMPARE_AND_WRITE, 0, 4, 8 * BLOCK);
		command_begin(commands[i]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		command_finish(commands[i]);
		if (command_sense(commands[i]) == 0) {
			won++;
			assert_int_equal(w.disk.bytes[0], i + 1);
		} else {
			assert_int_equal(command_sense(commands[i]), 0x0e1d00);
		}
		command_free(commands[i]);
	}
	assert_int_equal(won, 1);
}

struct abort_call {
	struct world_call call;
	struct scsi_abort abort;
};

static void abort_run(struct world_call *call)
{
	struct abort_call *op = container_of(call, struct abort_call, call);

	scsi_abort_run(&op->abort, w.attachment, world_done, call);
}

static void an_aborted_one_writes_nothing_and_leaves_the_range_free(void **state)
{
	struct command *command = compare_and_write(10, 20);
	struct abort_call op = {.call.run = abort_run, .abort.every_tag = true};

	op.abort.response = SCSI_RESPONSE_ABORTED;
	atomic_store(&w.disk.hold, true);
	command_begin(command);
	disk_wait_held(&w.world, &w.disk, 1);
	world_begin(&w.world, w.world.control, &op.call);
	settle();
	assert_false(command_has_ended(command));
	disk_release(&w.world, &w.disk, w.world.data[0]);
	assert_int_equal(world_finish(&w.world, &op.call), 0);
	command_finish(command);
	assert_int_equal(command->task.response, SCSI_RESPONSE_ABORTED);
	assert_int_equal(w.disk.touched[10], 0);
	command_free(command);
	wants_good(compare_and_write(10, 20));
}

static void one_that_was_in_flight_when_a_daemon_died_is_not_done_again(void **state)
{
	struct command *command = compare_and_write(10, 20);

	command->recovered = true;
	wants_sense(command, 0x062900);
	assert_int_equal(w.disk.counts[BDEV_IO_READ] + w.disk.counts[BDEV_IO_WRITE], 0);
	memset(data, 0x11, BLOCK);
	command = of_16(SCSI_ORWRITE_16, 10, 1, BLOCK);
	command->recovered = true;
	wants_good(command);
	command = other_write(10);
	command->recovered = true;
	wants_good(command);
}

/* ---- ORWRITE --------------------------------------------------------------------------------- */

static void orwrite_sets_bits(void **state)
{
	static const unsigned lengths[] = {1, 7, 300};
	static uint8_t before[300 * BLOCK];

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		uint8_t *disk = w.disk.bytes + 1000 * i * BLOCK;
		uint32_t bytes = lengths[i] * BLOCK;
		struct command *command;

		memcpy(before, disk, bytes);
		fill_pattern(data, bytes, i + 50);
		command = of_16(SCSI_ORWRITE_16, 1000 * i, lengths[i], bytes);
		command->segment = i == 1 ? 333 : 0;
		command_run(command);
		assert_int_equal(command_sense(command), 0);
		assert_int_equal(command->task.transferred, bytes);
		command_free(command);
		for (uint32_t at = 0; at < bytes; at++)
			assert_int_equal(disk[at], before[at] | data[at]);
	}
	wants_good(of_16(SCSI_ORWRITE_16, 4095, 0, 0));
}

static void orwrite_refuses_what_it_should(void **state)
{
	struct disk_options options = SMALL_DISK;
	struct command *command = of_16(SCSI_ORWRITE_16, 0, 1, BLOCK);

	command->cdb[1] = 0xe0;
	wants_bad_cdb(command, 1, 7);
	wants_sense(of_16(SCSI_ORWRITE_16, 4095, 2, 2 * BLOCK), 0x052100);
	wants_response(of_16(SCSI_ORWRITE_16, 0, 2, 2 * BLOCK - 1), SCSI_RESPONSE_OVERRUN);
	disk_fail(&w.disk, BDEV_IO_READ, EIO, 1);
	wants_sense(of_16(SCSI_ORWRITE_16, 0, 2, 2 * BLOCK), 0x031100);
	disk_fail(&w.disk, BDEV_IO_WRITE, ENOSPC, 1);
	wants_sense(of_16(SCSI_ORWRITE_16, 0, 2, 2 * BLOCK), 0x072707);
	command = of_16(SCSI_ORWRITE_16, 0, 1, BLOCK);
	command->cdb[1] = 0x08;
	wants_good(command);
	assert_int_equal(w.disk.last_flags[BDEV_IO_WRITE], BDEV_IO_FUA);
	options.blocks = 70000;
	restart(&options);
	wants_bad_cdb(of_16(SCSI_ORWRITE_16, 0, 65537, BLOCK), 10, -1);
	options.read_only = true;
	restart(&options);
	wants_sense(of_16(SCSI_ORWRITE_16, 0, 1, BLOCK), 0x072700);
}

static struct command *orwrite_32(uint64_t lba, uint32_t blocks, uint32_t out_len)
{
	struct command *command = of_16(SCSI_ORWRITE_16, lba, blocks, out_len);

	memset(command->cdb, 0, sizeof(command->cdb));
	command->cdb[0] = SCSI_VARIABLE_LENGTH;
	command->cdb[7] = 24;
	command->cdb[9] = SCSI_SA_ORWRITE_32;
	be64_put(command->cdb + 12, lba);
	be32_put(command->cdb + 28, blocks);
	return command;
}

static void orwrite_of_32_bytes_does_the_same(void **state)
{
	struct command *command = orwrite_32(7, 3, 3 * BLOCK);
	uint8_t expected[3 * BLOCK];

	fill_pattern(w.disk.bytes + 7 * BLOCK, 3 * BLOCK, 5);
	for (unsigned i = 0; i < sizeof(expected); i++)
		expected[i] = w.disk.bytes[7 * BLOCK + i] | ((const uint8_t *)command->out)[i];
	wants_good(command);
	assert_memory_equal(w.disk.bytes + 7 * BLOCK, expected, sizeof(expected));
	wants_sense(orwrite_32(4095, 2, 2 * BLOCK), 0x052100);
	for (unsigned bit = 5; bit < 8; bit++) {
		command = orwrite_32(0, 1, BLOCK);
		command->cdb[10] = (uint8_t)(1 << bit);
		wants_bad_cdb(command, 10, 7);
	}
	command = orwrite_32(0, 1, BLOCK);
	command->cdb[2] = 1; /* changes the generation */
	wants_bad_cdb(command, 2, 2);
	command = orwrite_32(0, 1, BLOCK);
	command->cdb[23] = 1; /* another generation is expected */
	wants_sense(command, 0x052c0c);
}

/* ---- WRITE ATOMIC ---------------------------------------------------------------------------- */

static void write_atomic_is_one_write(void **state)
{
	struct command *command;

	fill_pattern(data, 256 * BLOCK, 9);
	command = of_16(SCSI_WRITE_ATOMIC_16, 40, 256, 256 * BLOCK);
	command->cdb[1] = 0x18;
	command->segment = 3000;
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(command->task.transferred, 256 * BLOCK);
	command_free(command);
	assert_memory_equal(w.disk.bytes + 40 * BLOCK, data, 256 * BLOCK);
	assert_int_equal(w.disk.counts[BDEV_IO_WRITE], 1);
	assert_int_equal(w.disk.last_flags[BDEV_IO_WRITE], BDEV_IO_FUA);
	wants_good(of_16(SCSI_WRITE_ATOMIC_16, 0, 0, 0));
}

static void write_atomic_refuses_what_it_should(void **state)
{
	struct disk_options options = SMALL_DISK;
	struct command *command = of_16(SCSI_WRITE_ATOMIC_16, 0, 1, BLOCK);

	command->cdb[1] = 0x20;
	wants_bad_cdb(command, 1, 7);
	command = of_16(SCSI_WRITE_ATOMIC_16, 0, 1, BLOCK);
	command->cdb[11] = 8; /* a boundary */
	wants_bad_cdb(command, 10, -1);
	wants_bad_cdb(of_16(SCSI_WRITE_ATOMIC_16, 0, 257, BLOCK), 12, -1);
	wants_sense(of_16(SCSI_WRITE_ATOMIC_16, 4000, 97, BLOCK), 0x052100);
	wants_response(of_16(SCSI_WRITE_ATOMIC_16, 0, 2, BLOCK), SCSI_RESPONSE_OVERRUN);
	disk_fail(&w.disk, BDEV_IO_WRITE, EIO, 1);
	wants_sense(of_16(SCSI_WRITE_ATOMIC_16, 0, 1, BLOCK), 0x030c00);

	options.atomic_write_bytes = 65536;
	options.max_iovcnt = 2;
	restart(&options);
	command = of_16(SCSI_WRITE_ATOMIC_16, 0, 8, 8 * BLOCK);
	command->segment = 512;
	wants_bad_cdb(command, 12, -1); /* it would take more than one write */
	options.read_only = true;
	restart(&options);
	wants_sense(of_16(SCSI_WRITE_ATOMIC_16, 0, 1, BLOCK), 0x072700);
	restart(&SMALL_DISK);
	wants_sense(of_16(SCSI_WRITE_ATOMIC_16, 0, 1, BLOCK), 0x052000);
}

static void block_limits_tell_what_is_taken(void **state)
{
	struct command *command = COMMAND(&w, SCSI_INQUIRY, 1, SCSI_VPD_BLOCK_LIMITS, 0, 64);

	command->in_len = 64;
	command_run(command);
	assert_int_equal(command->in[5], 255);
	assert_int_equal(be32_get(command->in + 44), 256);
	command_free(command);
	restart(&SMALL_DISK);
	command = COMMAND(&w, SCSI_INQUIRY, 1, SCSI_VPD_BLOCK_LIMITS, 0, 64);
	command->in_len = 64;
	command_run(command);
	assert_int_equal(be32_get(command->in + 44), 0);
	command_free(command);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_compares_equal_is_overwritten),
		TEST(what_differs_stays_and_the_place_is_told),
		TEST(the_place_is_told_in_descriptors_too),
		TEST(compare_and_write_refuses_what_it_should),
		TEST(compare_and_write_obeys_fua),
		TEST(more_segments_than_the_disk_takes_compare_and_write_too),
		TEST(compare_and_write_is_alone_on_its_range),
		TEST(orwrite_is_alone_on_its_range),
		TEST(write_atomic_is_alone_on_its_range),
		TEST(compare_and_writes_of_the_same_blocks_come_one_after_the_other),
		TEST(an_aborted_one_writes_nothing_and_leaves_the_range_free),
		TEST(one_that_was_in_flight_when_a_daemon_died_is_not_done_again),
		TEST(orwrite_sets_bits),
		TEST(orwrite_refuses_what_it_should),
		TEST(orwrite_of_32_bytes_does_the_same),
		TEST(write_atomic_is_one_write),
		TEST(write_atomic_refuses_what_it_should),
		TEST(block_limits_tell_what_is_taken),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
