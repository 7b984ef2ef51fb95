/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The commands about blocks that are not READ or WRITE: VERIFY, WRITE AND VERIFY, WRITE SAME,
 * UNMAP, SYNCHRONIZE CACHE, START STOP UNIT.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "scsi_world.h"

#define BLOCK 512

static struct scsi_world w;
static uint8_t data[512 * BLOCK];

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

static void restart(const struct disk_options *options)
{
	scsi_world_end(&w);
	scsi_world_start(&w, options);
	fill_pattern(w.disk.bytes, options->blocks * BLOCK, 7);
}

/* Of variable length: in place of operation codes that say it already. */
#define LONG             0xe0
#define VERIFY_32        (LONG | SCSI_SA_VERIFY_32)
#define WRITE_VERIFY_32  (LONG | SCSI_SA_WRITE_AND_VERIFY_32)
#define WRITE_SAME_32    (LONG | SCSI_SA_WRITE_SAME_32)
#define FLAGS_OF(opcode) ((opcode) >= LONG ? 10 : 1)

/* Any command with address and length at the usual places of its size. */
static struct command *ranged(uint8_t opcode, uint8_t flags, uint64_t lba, uint32_t blocks)
{
	struct command *command = COMMAND(&w, opcode, flags);
	uint8_t *cdb = command->cdb;

	if (opcode >= LONG) {
		cdb[0] = SCSI_VARIABLE_LENGTH;
		cdb[1] = 0;
		cdb[7] = 24;
		be16_put(cdb + 8, opcode & 0x1f);
		cdb[10] = flags;
		be64_put(cdb + 12, lba);
		be32_put(cdb + 28, blocks);
	} else if (opcode < 0x80) {
		be32_put(cdb + 2, (uint32_t)lba);
		be16_put(cdb + 7, (uint16_t)blocks);
	} else if (opcode >= 0xa0) {
		be32_put(cdb + 2, (uint32_t)lba);
		be32_put(cdb + 6, blocks);
	} else {
		be64_put(cdb + 2, lba);
		be32_put(cdb + 10, blocks);
	}
	return command;
}

static struct command *with_data(struct command *command, const void *out, uint32_t len)
{
	command->out = out;
	command->out_len = len;
	return command;
}

static const uint8_t verifies[] = {SCSI_VERIFY_10, SCSI_VERIFY_12, SCSI_VERIFY_16, VERIFY_32};
static const uint8_t writes[] = {SCSI_WRITE_AND_VERIFY_10, SCSI_WRITE_AND_VERIFY_12,
	SCSI_WRITE_AND_VERIFY_16, WRITE_VERIFY_32};

/* ---- VERIFY --------------------------------------------------------------------------------- */

static void verify_reads_the_medium(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(verifies); i++) {
		unsigned reads = w.disk.counts[BDEV_IO_READ];

		wants_good(ranged(verifies[i], 0, 0, 1000)); /* several pieces */
		assert_true(w.disk.counts[BDEV_IO_READ] - reads >= 4);
		disk_fail(&w.disk, BDEV_IO_READ, EIO, 1);
		wants_sense(ranged(verifies[i], 0, 5, 1), 0x031100);
		wants_good(ranged(verifies[i], 0, 4095, 0));
		wants_sense(ranged(verifies[i], 0, 4090, 7), 0x052100);
		wants_sense(ranged(verifies[i], 0, 4096, 0), 0x052100);
		wants_bad_cdb(ranged(verifies[i], 0x20, 0, 1), FLAGS_OF(verifies[i]), 7);
		wants_bad_cdb(ranged(verifies[i], 0x04, 0, 1), FLAGS_OF(verifies[i]), 2);
	}
	assert_int_equal(w.disk.counts[BDEV_IO_WRITE], 0);
}

static void verify_compares_all_blocks(void **state)
{
	uint64_t place;

	memcpy(data, w.disk.bytes + 100 * BLOCK, 300 * BLOCK);
	for (unsigned i = 0; i < ARRAY_SIZE(verifies); i++) {
		struct command *command =
			with_data(ranged(verifies[i], 0x02, 100, 300), data, 300 * BLOCK);

		command->segment = 777;
		command_run(command);
		assert_int_equal(command_sense(command), 0);
		assert_int_equal(command->task.transferred, 300 * BLOCK);
		command_free(command);
		data[299 * BLOCK + 511] ^= 1;
		command = with_data(ranged(verifies[i], 0x02, 100, 300), data, 300 * BLOCK);
		command_run(command);
		assert_int_equal(command_sense(command), 0x0e1d00);
		assert_true(command_information(command, &place));
		assert_int_equal(place, 299 * BLOCK + 511);
		command_free(command);
		data[299 * BLOCK + 511] ^= 1;
		wants_response(
			with_data(ranged(verifies[i], 0x02, 100, 300), data, 300 * BLOCK - 1),
			SCSI_RESPONSE_OVERRUN);
	}
}

static void verify_compares_every_block_with_one(void **state)
{
	fill_pattern(data, BLOCK, 99);
	for (unsigned block = 50; block < 60; block++)
		memcpy(w.disk.bytes + block * BLOCK, data, BLOCK);
	wants_good(with_data(ranged(SCSI_VERIFY_10, 0x06, 50, 10), data, BLOCK));
	wants_sense(with_data(ranged(SCSI_VERIFY_16, 0x06, 50, 11), data, BLOCK), 0x0e1d00);
	wants_response(ranged(SCSI_VERIFY_10, 0x06, 50, 10), SCSI_RESPONSE_OVERRUN);
}

static void verify_has_the_limit_of_a_transfer(void **state)
{
	uint32_t most = SCSI_TRANSFER_BYTES_MAX / BLOCK;

	restart(&(struct disk_options){.name = "disk", .blocks = most + 8, .block_size = BLOCK});
	wants_good(ranged(SCSI_VERIFY_16, 0, 0, most));
	wants_bad_cdb(ranged(SCSI_VERIFY_16, 0, 0, most + 1), 10, -1);
	wants_bad_cdb(ranged(SCSI_VERIFY_12, 0, 0, most + 1), 6, -1);
	wants_bad_cdb(ranged(VERIFY_32, 0, 0, most + 1), 28, -1);
}

static void write_and_verify_writes_to_the_medium_and_reads_back(void **state)
{
	fill_pattern(data, 300 * BLOCK, 5);
	for (unsigned i = 0; i < ARRAY_SIZE(writes); i++) {
		for (uint8_t check = 0; check < 2; check++) {
			uint64_t lba = 400 * (2 * i + check + 1);
			struct command *command =
				with_data(ranged(writes[i], (uint8_t)(check << 1), lba, 300), data,
					300 * BLOCK);

			command_run(command);
			assert_int_equal(command_sense(command), 0);
			assert_int_equal(command->task.transferred, 300 * BLOCK);
			assert_memory_equal(w.disk.bytes + lba * BLOCK, data, 300 * BLOCK);
			command_free(command);
		}
		assert_int_equal(w.disk.last_flags[BDEV_IO_WRITE], BDEV_IO_FUA);
		disk_fail(&w.disk, BDEV_IO_WRITE, ENOSPC, 1);
		wants_sense(with_data(ranged(writes[i], 0, 0, 2), data, 2 * BLOCK), 0x072707);
		disk_fail(&w.disk, BDEV_IO_READ, EIO, 1);
		wants_sense(with_data(ranged(writes[i], 0, 0, 2), data, 2 * BLOCK), 0x031100);
		wants_bad_cdb(with_data(ranged(writes[i], 0x04, 0, 2), data, 2 * BLOCK),
			FLAGS_OF(writes[i]), 2);
		wants_sense(with_data(ranged(writes[i], 0, 4095, 2), data, 2 * BLOCK), 0x052100);
		wants_response(
			with_data(ranged(writes[i], 0, 0, 2), data, BLOCK), SCSI_RESPONSE_OVERRUN);
		wants_good(ranged(writes[i], 0, 0, 0));
	}
}

static void write_and_verify_manages_more_segments_than_the_disk(void **state)
{
	struct disk_options options = SMALL_DISK;
	struct command *command;

	options.max_iovcnt = 2;
	restart(&options);
	fill_pattern(data, 400 * BLOCK, 6);
	command = with_data(ranged(SCSI_WRITE_AND_VERIFY_16, 0x02, 10, 400), data, 400 * BLOCK);
	command->segment = 1000;
	wants_good(command);
	assert_memory_equal(w.disk.bytes + 10 * BLOCK, data, 400 * BLOCK);
}

/* ---- WRITE SAME ----------------------------------------------------------------------------- */

static void assert_touched(unsigned from, unsigned count, uint8_t how)
{
	for (unsigned i = from; i < from + count; i++)
		assert_int_equal(w.disk.touched[i], how);
}

static void write_same_repeats_its_block(void **state)
{
	fill_pattern(data, BLOCK, 3);
	wants_good(with_data(ranged(SCSI_WRITE_SAME_10, 0, 100, 700), data, BLOCK));
	wants_good(with_data(ranged(SCSI_WRITE_SAME_16, 0x08, 1000, 1), data, BLOCK));
	wants_good(with_data(ranged(WRITE_SAME_32, 0x08, 2000, 3), data, BLOCK));
	assert_memory_equal(w.disk.bytes + 2002 * BLOCK, data, BLOCK);
	for (unsigned block = 100; block < 800; block++)
		assert_memory_equal(w.disk.bytes + block * BLOCK, data, BLOCK);
	assert_memory_equal(w.disk.bytes + 1000 * BLOCK, data, BLOCK);
	assert_touched(100, 700, 1);
	assert_touched(99, 1, 0);
	assert_touched(800, 1, 0);
}

static void write_same_of_zeroes_does_not_write(void **state)
{
	memset(data, 0, BLOCK);
	wants_good(with_data(ranged(SCSI_WRITE_SAME_10, 0, 100, 10), data, BLOCK));
	assert_touched(100, 10, 2); /* stays allocated */
	wants_good(with_data(ranged(SCSI_WRITE_SAME_10, 0x08, 110, 10), data, BLOCK));
	assert_touched(110, 10, 3); /* may be unmapped */
	wants_good(ranged(SCSI_WRITE_SAME_16, 0x01, 120, 10));
	assert_touched(120, 10, 2);
	wants_good(ranged(SCSI_WRITE_SAME_16, 0x09, 130, 10));
	assert_touched(130, 10, 3);
	wants_good(ranged(WRITE_SAME_32, 0x09, 140, 10));
	assert_touched(140, 10, 3);
	assert_int_equal(w.disk.counts[BDEV_IO_WRITE], 0);
}

static void write_same_of_zeroes_writes_where_the_disk_cannot(void **state)
{
	struct disk_options options = SMALL_DISK;

	options.no_write_zeroes = true;
	restart(&options);
	wants_good(ranged(SCSI_WRITE_SAME_16, 0x01, 120, 600));
	assert_touched(120, 600, 1);
	memset(data, 0, BLOCK);
	for (unsigned block = 120; block < 720; block++)
		assert_memory_equal(w.disk.bytes + block * BLOCK, data, BLOCK);
}

static void write_same_refuses_what_it_should(void **state)
{
	struct disk_options options = SMALL_DISK;

	wants_bad_cdb(with_data(ranged(SCSI_WRITE_SAME_10, 0, 0, 0), data, BLOCK), 7, -1);
	wants_bad_cdb(with_data(ranged(SCSI_WRITE_SAME_16, 0, 0, 0), data, BLOCK), 10, -1);
	wants_bad_cdb(with_data(ranged(WRITE_SAME_32, 0, 0, 0), data, BLOCK), 28, -1);
	wants_bad_cdb(with_data(ranged(WRITE_SAME_32, 0x20, 0, 1), data, BLOCK), 10, 7);
	wants_bad_cdb(with_data(ranged(SCSI_WRITE_SAME_10, 0x20, 0, 1), data, BLOCK), 1, 7);
	wants_bad_cdb(with_data(ranged(SCSI_WRITE_SAME_10, 0x10, 0, 1), data, BLOCK), 1, 4);
	wants_bad_cdb(with_data(ranged(SCSI_WRITE_SAME_10, 0x04, 0, 1), data, BLOCK), 1, 2);
	wants_sense(with_data(ranged(SCSI_WRITE_SAME_10, 0, 4095, 2), data, BLOCK), 0x052100);
	wants_response(ranged(SCSI_WRITE_SAME_10, 0, 0, 1), SCSI_RESPONSE_OVERRUN);
	wants_response(with_data(ranged(SCSI_WRITE_SAME_16, 0, 0, 1), data, BLOCK - 1),
		SCSI_RESPONSE_OVERRUN);
	fill_pattern(data, BLOCK, 3);
	disk_fail(&w.disk, BDEV_IO_WRITE, EIO, 1);
	wants_sense(with_data(ranged(SCSI_WRITE_SAME_10, 0, 0, 1), data, BLOCK), 0x030c00);

	options.no_unmap = true;
	restart(&options);
	wants_bad_cdb(with_data(ranged(SCSI_WRITE_SAME_10, 0x08, 0, 1), data, BLOCK), 1, 3);
	options.read_only = true;
	restart(&options);
	wants_sense(with_data(ranged(SCSI_WRITE_SAME_10, 0, 0, 1), data, BLOCK), 0x072700);
}

static void write_same_has_the_limit_it_tells(void **state)
{
	struct disk_options options = SMALL_DISK;

	options.blocks = SCSI_WRITE_SAME_BYTES_MAX / BLOCK + 2;
	scsi_world_end(&w);
	scsi_world_start(&w, &options);
	wants_bad_cdb(
		ranged(SCSI_WRITE_SAME_16, 0x01, 0, SCSI_WRITE_SAME_BYTES_MAX / BLOCK + 1), 10, -1);
}

/* ---- UNMAP ---------------------------------------------------------------------------------- */

static struct command *unmap(unsigned descriptors, unsigned list_len)
{
	struct command *command = COMMAND(&w, SCSI_UNMAP);

	memset(data, 0, 8);
	be16_put(data, (uint16_t)(descriptors * 16 + 6));
	be16_put(data + 2, (uint16_t)(descriptors * 16));
	be16_put(command->cdb + 7, (uint16_t)list_len);
	return with_data(command, data, list_len);
}

static void descriptor_set(unsigned index, uint64_t lba, uint32_t blocks)
{
	memset(data + 8 + index * 16, 0, 16);
	be64_put(data + 8 + index * 16, lba);
	be32_put(data + 16 + index * 16, blocks);
}

static void unmap_unmaps_its_ranges(void **state)
{
	struct command *command;

	descriptor_set(0, 10, 5);
	descriptor_set(1, 0, 0);
	descriptor_set(2, 4095, 1);
	command = unmap(3, 8 + 3 * 16);
	command->segment = 5;
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(command->task.transferred, 8 + 3 * 16);
	command_free(command);
	assert_touched(10, 5, 3);
	assert_touched(4095, 1, 3);
	assert_int_equal(w.disk.counts[BDEV_IO_UNMAP], 2);

	for (unsigned i = 0; i < 255; i++)
		descriptor_set(i, 100 + 2 * i, 1);
	wants_good(unmap(255, 8 + 255 * 16));
	assert_int_equal(w.disk.counts[BDEV_IO_UNMAP], 257);
}

static void unmap_with_nothing_to_do_is_good(void **state)
{
	wants_good(unmap(0, 0));
	wants_good(unmap(0, 8));
	descriptor_set(0, 4096, 0); /* ends where the disk does */
	wants_good(unmap(1, 24));
	assert_int_equal(w.disk.counts[BDEV_IO_UNMAP], 0);
}

static void unmap_checks_all_before_it_unmaps_any(void **state)
{
	struct disk_options options = SMALL_DISK;
	struct command *command;

	descriptor_set(0, 10, 5);
	descriptor_set(1, 4090, 7);
	wants_sense(unmap(2, 40), 0x052100);
	descriptor_set(1, 4097, 0);
	wants_sense(unmap(2, 40), 0x052100);
	descriptor_set(1, 4090, 7);
	wants_sense(unmap(2, 39), 0x051a00); /* says more than it has */
	wants_sense(unmap(2, 7), 0x051a00);
	command = unmap(1, 24);
	be16_put(data, 100);
	wants_sense(command, 0x051a00);
	command = unmap(256, 8 + 256 * 16);
	for (unsigned i = 0; i < 256; i++)
		descriptor_set(i, 0, 1);
	wants_bad_parameters(command, 2);
	command = unmap(1, 24);
	command->cdb[1] = 1;
	wants_bad_cdb(command, 1, 0);
	command = unmap(1, 24);
	command->out_len = 23;
	wants_response(command, SCSI_RESPONSE_OVERRUN);
	assert_int_equal(w.disk.counts[BDEV_IO_UNMAP], 0);

	for (unsigned i = 0; i < 255; i++)
		descriptor_set(i, 0, 4096);
	wants_good(unmap(255, 8 + 255 * 16)); /* close to the limit that is told */
	restart(&(struct disk_options){.name = "disk", .blocks = 8192, .block_size = BLOCK});
	for (unsigned i = 0; i < 255; i++)
		descriptor_set(i, 0, 8192);
	wants_bad_parameters(unmap(255, 8 + 255 * 16), 8 + 128 * 16 + 8);
	assert_int_equal(w.disk.counts[BDEV_IO_UNMAP], 0);
	restart(&SMALL_DISK);

	descriptor_set(0, 10, 5);
	disk_fail(&w.disk, BDEV_IO_UNMAP, EIO, 1);
	wants_sense(unmap(1, 24), 0x030c00);
	options.read_only = true;
	restart(&options);
	wants_sense(unmap(1, 24), 0x072700);
	options = SMALL_DISK;
	options.no_unmap = true;
	restart(&options);
	wants_sense(unmap(1, 24), 0x052000);
}

/* ---- SYNCHRONIZE CACHE, START STOP UNIT -------------------------------------------------- */

static void synchronize_cache_flushes(void **state)
{
	struct disk_options options = SMALL_DISK;
	static const uint8_t opcodes[] = {SCSI_SYNCHRONIZE_CACHE_10, SCSI_SYNCHRONIZE_CACHE_16};

	for (unsigned i = 0; i < ARRAY_SIZE(opcodes); i++) {
		wants_good(ranged(opcodes[i], 0, 0, 0));
		wants_good(ranged(opcodes[i], 0x02, 10, 100));
		wants_sense(ranged(opcodes[i], 0, 4096, 0), 0x052100);
		wants_sense(ranged(opcodes[i], 0, 4095, 2), 0x052100);
		assert_int_equal(w.disk.counts[BDEV_IO_FLUSH], 2 * i + 2);
	}
	disk_fail(&w.disk, BDEV_IO_FLUSH, EIO, 1);
	wants_sense(ranged(SCSI_SYNCHRONIZE_CACHE_10, 0, 0, 0), 0x030c00);
	options.read_only = true;
	restart(&options);
	wants_good(ranged(SCSI_SYNCHRONIZE_CACHE_10, 0, 0, 0));
	assert_int_equal(w.disk.counts[BDEV_IO_FLUSH], 0);
}

/* The status is there while the flush is still under way; what came after it is not held up. */
static void with_immed_the_cache_is_synchronized_behind_the_status(void **state)
{
	static const uint8_t opcodes[] = {SCSI_SYNCHRONIZE_CACHE_10, SCSI_SYNCHRONIZE_CACHE_16};
	struct command *command;

	for (unsigned i = 0; i < ARRAY_SIZE(opcodes); i++) {
		atomic_store(&w.disk.hold, true);
		wants_good(ranged(opcodes[i], 0x02, 10, 100));
		disk_wait_held(&w.world, &w.disk, 1);
		wants_good(COMMAND(&w, SCSI_TEST_UNIT_READY));
		wants_sense(ranged(opcodes[i], 0x02, 4096, 1), 0x052100);
		disk_release(&w.world, &w.disk, w.channel->reactor);
		assert_int_equal(w.disk.counts[BDEV_IO_FLUSH], i + 1);
	}
	disk_fail(&w.disk, BDEV_IO_FLUSH, EIO, 1);
	atomic_store(&w.disk.hold, true);
	wants_good(ranged(SCSI_SYNCHRONIZE_CACHE_10, 0x02, 0, 0));
	disk_wait_held(&w.world, &w.disk, 1);
	disk_release(&w.world, &w.disk, w.channel->reactor);
	host_sleep(&w.world.host, 5 * MSEC_NS);
	command = COMMAND(&w, SCSI_TEST_UNIT_READY);
	command_run(command);
	assert_int_equal(command_sense(command), 0x030c00);
	assert_int_equal(command->task.sense[0] & 0x7f, 0x71); /* deferred */
	command_free(command);
	wants_good(COMMAND(&w, SCSI_TEST_UNIT_READY));

	/* The channel's end waits for it. */
	atomic_store(&w.disk.hold, true);
	wants_good(ranged(SCSI_SYNCHRONIZE_CACHE_10, 0x02, 0, 0));
	disk_wait_held(&w.world, &w.disk, 1);
	disk_release(&w.world, &w.disk, w.channel->reactor);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(verify_reads_the_medium),
		TEST(verify_compares_all_blocks),
		TEST(verify_compares_every_block_with_one),
		TEST(verify_has_the_limit_of_a_transfer),
		TEST(write_and_verify_writes_to_the_medium_and_reads_back),
		TEST(write_and_verify_manages_more_segments_than_the_disk),
		TEST(write_same_repeats_its_block),
		TEST(write_same_of_zeroes_does_not_write),
		TEST(write_same_of_zeroes_writes_where_the_disk_cannot),
		TEST(write_same_refuses_what_it_should),
		TEST(write_same_has_the_limit_it_tells),
		TEST(unmap_unmaps_its_ranges),
		TEST(unmap_with_nothing_to_do_is_good),
		TEST(unmap_checks_all_before_it_unmaps_any),
		TEST(synchronize_cache_flushes),
		TEST(with_immed_the_cache_is_synchronized_behind_the_status),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
