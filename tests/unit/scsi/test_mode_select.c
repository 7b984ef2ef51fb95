/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What MODE SELECT changes: the cache, write protection, and what is saved over a restart.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "kept.h"
#include "scsi/lun_state.h"

#define CACHING 0x08
#define CONTROL 0x0a
#define WCE     0x04
#define D_SENSE 0x04
#define SWP     0x08

#define CURRENT  0x00
#define DEFAULTS 0x80
#define SAVED    0xc0

static struct scsi_world w;
static uint8_t list[64];
static struct kept kept;

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

/* The page's bytes into buf; its length. */
static unsigned page_read(uint8_t code, uint8_t *buf)
{
	struct command *command = COMMAND(&w, SCSI_MODE_SENSE_6, 0x08, code, 0, 255);
	unsigned len;

	command->in_len = 255;
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	len = command->task.transferred - 4;
	memcpy(buf, command->in + 4, len);
	command_free(command);
	return len;
}

static uint8_t page_byte(uint8_t code, unsigned byte)
{
	uint8_t page[255];

	page_read(code, page);
	return page[byte];
}

/* MODE SELECT (6) of the page as it is, but for that byte. */
static struct command *select_byte(uint8_t flags, uint8_t code, unsigned byte, uint8_t value)
{
	struct command *command;
	unsigned len;

	memset(list, 0, sizeof(list));
	len = page_read(code, list + 4);
	list[4] &= 0x3f;
	list[4 + byte] = value;
	command = COMMAND(&w, SCSI_MODE_SELECT_6, 0x10 | flags, 0, 0, (uint8_t)(4 + len));
	command->out = list;
	command->out_len = 4 + len;
	return command;
}

static void change(uint8_t code, unsigned byte, uint8_t value)
{
	wants_good(select_byte(0, code, byte, value));
}

static struct command *write_one(uint8_t opcode)
{
	static const uint8_t data[1024];
	struct command *command = COMMAND(&w, opcode, 0, 0, 0, 0, 1, 0, 0, 1);

	command->out = data;
	command->out_len = 512;
	return command;
}

static struct command *read_one(void)
{
	struct command *command = COMMAND(&w, SCSI_READ_10, 0, 0, 0, 0, 1, 0, 0, 1);

	command->in_len = 512;
	return command;
}

/* ---- the cache ------------------------------------------------------------------------------- */

static void without_a_cache_every_write_is_stable_when_it_ends(void **state)
{
	static const uint8_t opcodes[] = {
		SCSI_WRITE_10, SCSI_WRITE_AND_VERIFY_10, SCSI_WRITE_SAME_10};

	wants_good(write_one(SCSI_WRITE_10));
	assert_int_equal(w.disk.last_flags[BDEV_IO_WRITE], 0);
	change(CACHING, 2, 0);
	assert_int_equal(w.disk.counts[BDEV_IO_FLUSH], 1); /* what was written before */
	assert_int_equal(page_byte(CACHING, 2), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(opcodes); i++) {
		atomic_store(&w.disk.last_flags[BDEV_IO_WRITE], 0);
		atomic_store(&w.disk.last_flags[BDEV_IO_WRITE_ZEROES], 0);
		wants_good(write_one(opcodes[i]));
		assert_true((w.disk.last_flags[BDEV_IO_WRITE] |
				    w.disk.last_flags[BDEV_IO_WRITE_ZEROES]) &
			    BDEV_IO_FUA);
	}
	wants_good(read_one());
	assert_int_equal(w.disk.last_flags[BDEV_IO_READ], 0);
	change(CACHING, 2, WCE);
	assert_int_equal(w.disk.counts[BDEV_IO_FLUSH], 1);
	wants_good(write_one(SCSI_WRITE_10));
	assert_int_equal(w.disk.last_flags[BDEV_IO_WRITE], 0);
}

static void an_initiator_that_comes_later_has_no_cache_either(void **state)
{
	struct scsi_attachment *other;
	struct scsi_lun_channel *channel;
	struct command *command;

	change(CACHING, 2, 0);
	other = scsi_world_attach(&w, 1);
	channel = scsi_world_open(&w, other, 1);
	command = write_one(SCSI_WRITE_10);
	command->channel = channel;
	wants_good(command);
	assert_int_equal(w.disk.last_flags[BDEV_IO_WRITE], BDEV_IO_FUA);
	scsi_world_close(&w, channel);
	scsi_world_detach(&w, other);
}

static void a_cache_that_cannot_be_emptied_fails_the_command(void **state)
{
	struct command *command = select_byte(0, CACHING, 2, 0);

	disk_fail(&w.disk, BDEV_IO_FLUSH, EIO, 1);
	wants_sense(command, 0x030c00);
}

/* ---- write protection ----------------------------------------------------------------------- */

static void a_disk_that_was_protected_is_not_written_by_anybody(void **state)
{
	struct scsi_attachment *other = scsi_world_attach(&w, 1);
	struct scsi_lun_channel *channel = scsi_world_open(&w, other, 1);
	struct command *command;

	change(CONTROL, 4, SWP);
	assert_int_equal(page_byte(CONTROL, 4), SWP);
	wants_sense(write_one(SCSI_WRITE_10), 0x072702);
	wants_good(read_one());
	command = write_one(SCSI_WRITE_10);
	command->channel = channel;
	wants_sense(command, 0x062a01);
	command = write_one(SCSI_WRITE_10);
	command->channel = channel;
	wants_sense(command, 0x072702);
	command = COMMAND(&w, SCSI_MODE_SENSE_6, 0, 0x3f, 0, 4);
	command->in_len = 4;
	command_run(command);
	assert_int_equal(command->in[2] & 0x80, 0x80);
	command_free(command);
	change(CONTROL, 4, 0);
	wants_good(write_one(SCSI_WRITE_10));
	assert_int_equal(w.disk.counts[BDEV_IO_WRITE], 1);
	scsi_world_close(&w, channel);
	scsi_world_detach(&w, other);
}

/* ---- saved values --------------------------------------------------------------------------- */

struct store_call {
	struct world_call call;
	void (*fn)(void);
};

static void store_run(struct world_call *call)
{
	container_of(call, struct store_call, call)->fn();
	world_done(call, 0);
}

static void on_control(void (*fn)(void))
{
	struct store_call op = {.call.run = store_run, .fn = fn};

	assert_int_equal(world_run(&w.world, w.world.control, &op.call), 0);
}

static void reset_unit(void)
{
	scsi_lun_state_reset(w.attachment->lun);
}

static void what_is_saved_is_there_after_a_restart_and_the_rest_is_not(void **state)
{
	kept_begin(&kept, &w, "mode-saved", false);
	assert_int_equal(page_byte(CACHING, 0), 0x80 | CACHING); /* PS */
	assert_int_equal(page_byte(SAVED | CACHING, 2), WCE);
	wants_good(select_byte(1, CACHING, 2, 0));
	change(CONTROL, 2, 0x02 | D_SENSE);
	assert_int_equal(page_byte(SAVED | CACHING, 2), 0);
	assert_int_equal(page_byte(SAVED | CONTROL, 2), 0x02);
	kept_restart(&kept);
	assert_int_equal(page_byte(CACHING, 2), 0);
	assert_int_equal(page_byte(DEFAULTS | CACHING, 2), WCE);
	assert_int_equal(page_byte(CONTROL, 2), 0x02);
	wants_good(write_one(SCSI_WRITE_10));
	assert_int_equal(w.disk.last_flags[BDEV_IO_WRITE], BDEV_IO_FUA);
	wants_good(select_byte(1, CACHING, 2, WCE));
	kept_restart(&kept);
	assert_int_equal(page_byte(CACHING, 2), WCE);
	kept_end(&kept);
}

static void a_reset_brings_back_what_is_saved(void **state)
{
	kept_begin(&kept, &w, "mode-reset", false);
	wants_good(select_byte(1, CONTROL, 4, SWP));
	change(CONTROL, 4, 0);
	wants_good(write_one(SCSI_WRITE_10));
	on_control(reset_unit);
	wants_sense(write_one(SCSI_WRITE_10), 0x072702);
	kept_end(&kept);
}

static void a_save_that_fails_is_told(void **state)
{
	kept_begin(&kept, &w, "mode-none", true);
	wants_sense(select_byte(1, CONTROL, 4, SWP), 0x044400);
	assert_int_equal(page_byte(CONTROL, 4), SWP);
	kept_end(&kept);
}

static void without_a_store_nothing_is_saved(void **state)
{
	struct command *command = COMMAND(&w, SCSI_MODE_SENSE_6, 0, SAVED | CACHING, 0, 255);

	command->in_len = 255;
	wants_sense(command, 0x053900);
	assert_int_equal(page_byte(CACHING, 0), CACHING);
	wants_bad_cdb(select_byte(1, CACHING, 2, 0), 1, 0);
	assert_int_equal(page_byte(CACHING, 2), WCE);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(without_a_cache_every_write_is_stable_when_it_ends),
		TEST(an_initiator_that_comes_later_has_no_cache_either),
		TEST(a_cache_that_cannot_be_emptied_fails_the_command),
		TEST(a_disk_that_was_protected_is_not_written_by_anybody),
		TEST(what_is_saved_is_there_after_a_restart_and_the_rest_is_not),
		TEST(a_reset_brings_back_what_is_saved),
		TEST(a_save_that_fails_is_told),
		TEST(without_a_store_nothing_is_saved),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
