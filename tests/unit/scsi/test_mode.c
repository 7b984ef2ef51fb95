/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MODE SENSE and MODE SELECT, (6) and (10).
 */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "scsi_world.h"

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

static void restart(const struct disk_options *options)
{
	scsi_world_end(&w);
	scsi_world_start(&w, options);
}

#define NO_DESCRIPTORS 0x08
#define LONG_LBA       0x10

static struct command *sense_6(uint8_t flags, uint8_t page, uint8_t subpage)
{
	struct command *command = COMMAND(&w, SCSI_MODE_SENSE_6, flags, page, subpage, 255);

	command->in_len = 255;
	return command;
}

static struct command *sense_10(uint8_t flags, uint8_t page, uint8_t subpage)
{
	struct command *command =
		COMMAND(&w, SCSI_MODE_SENSE_10, flags, page, subpage, 0, 0, 0, 2, 0);

	command->in_len = 512;
	return command;
}

/* Runs MODE SENSE (6) without descriptors: the page follows four bytes of header. */
static struct command *page_get(uint8_t page, uint8_t subpage)
{
	struct command *command = sense_6(NO_DESCRIPTORS, page, subpage);

	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(command->task.transferred, command->in[0] + 1);
	assert_int_equal(command->in[3], 0);
	return command;
}

static void the_caching_page_tells_of_the_cache(void **state)
{
	struct disk_options options = SMALL_DISK;
	struct command *command = page_get(0x08, 0);

	assert_int_equal(command->in[4], 0x08);
	assert_int_equal(command->in[5], 18);
	assert_int_equal(command->in[6], 0x04);
	assert_int_equal(command->in[2], 0x10); /* DPOFUA, not write protected */
	command_free(command);
	options.no_flush = true;
	restart(&options);
	command = page_get(0x08, 0);
	assert_int_equal(command->in[6], 0);
	command_free(command);
	options.read_only = true;
	restart(&options);
	command = page_get(0x08, 0);
	assert_int_equal(command->in[2], 0x90);
	command_free(command);
}

static void all_pages_are_each_page_in_order(void **state)
{
	static const uint8_t codes[] = {0x01, 0x02, 0x08, 0x0a, 0x1a, 0x1c};
	struct command *all = page_get(0x3f, 0);
	unsigned at = 4;

	for (unsigned i = 0; i < ARRAY_SIZE(codes); i++) {
		struct command *one = page_get(codes[i], 0);
		unsigned len = one->task.transferred - 4;

		assert_int_equal(one->in[4], codes[i]);
		assert_int_equal(one->in[5] + 2, len);
		assert_memory_equal(all->in + at, one->in + 4, len);
		at += len;
		command_free(one);
	}
	assert_int_equal(all->task.transferred, at);
	command_free(all);
}

static void subpages_are_told_when_asked_for(void **state)
{
	struct command *command = page_get(0x0a, 1);

	assert_int_equal(command->in[4], 0x4a);
	assert_int_equal(command->in[5], 1);
	assert_int_equal(be16_get(command->in + 6), 28);
	assert_int_equal(command->task.transferred, 4 + 32);
	command_free(command);
	command = page_get(0x0a, 0xff);
	assert_int_equal(command->task.transferred, 4 + 12 + 32);
	command_free(command);
	command = page_get(0x3f, 0xff);
	assert_int_equal(command->task.transferred, 4 + 12 + 16 + 20 + 12 + 32 + 40 + 12 + 24);
	command_free(command);
}

static void low_water_run(struct world_call *call)
{
	bdev_set_low_water(call->bdev, *(const unsigned *)call->options);
	world_done(call, 0);
}

/* Initiators hear that a mode page has changed. */
static void set_low_water(unsigned percent)
{
	struct world_call call = {.run = low_water_run, .bdev = &w.disk.bdev, .options = &percent};
	struct command *command = COMMAND(&w, SCSI_TEST_UNIT_READY);

	world_run(&w.world, w.world.control, &call);
	command_run(command);
	assert_int_equal(command_sense(command), 0x062a01);
	command_free(command);
}

/* SBC-4: one threshold of those that are percentages, armed decreasing, for every initiator. */
static void the_low_water_mark_of_the_pool_is_a_threshold(void **state)
{
	struct command *command = page_get(0x1c, 2);

	assert_int_equal(command->in[4], 0x5c);
	assert_int_equal(command->in[5], 2);
	assert_int_equal(be16_get(command->in + 6), 20);
	for (unsigned i = 8; i < 4 + 24; i++)
		assert_int_equal(command->in[i], 0);
	command_free(command);
	set_low_water(7);
	command = page_get(0x1c, 2);
	assert_int_equal(command->in[4 + 4], 0); /* SITUA */
	assert_int_equal(command->in[4 + 16], 0x88);
	assert_int_equal(command->in[4 + 17], 0x03);
	assert_int_equal(be32_get(command->in + 4 + 20), 7);
	command_free(command);
	command = page_get(0x01, 0);
	assert_int_equal(command->in[4 + 7], 0x80); /* LBPERE */
	command_free(command);
}

static void block_descriptors_tell_size_and_number(void **state)
{
	struct command *command = sense_6(0, 0x08, 0);

	command_run(command);
	assert_int_equal(command->in[3], 8);
	assert_int_equal(be32_get(command->in + 4), 4096);
	assert_int_equal(be32_get(command->in + 8), 512);
	command_free(command);
	command = sense_10(0, 0x08, 0);
	command_run(command);
	assert_int_equal(be16_get(command->in), command->task.transferred - 2);
	assert_int_equal(command->in[4], 0);
	assert_int_equal(be16_get(command->in + 6), 8);
	command_free(command);
	command = sense_10(LONG_LBA, 0x08, 0);
	command_run(command);
	assert_int_equal(command->in[4], 1);
	assert_int_equal(be16_get(command->in + 6), 16);
	assert_int_equal(be64_get(command->in + 8), 4096);
	assert_int_equal(be32_get(command->in + 20), 512);
	command_free(command);
}

static void mode_data_is_cut_at_the_allocation_length(void **state)
{
	for (uint8_t allocation = 0; allocation < 30; allocation++) {
		struct command *command = sense_6(NO_DESCRIPTORS, 0x08, 0);

		command->cdb[4] = allocation;
		command_run(command);
		assert_int_equal(command_sense(command), 0);
		assert_int_equal(command->task.transferred, allocation < 24 ? allocation : 24);
		if (allocation)
			assert_int_equal(command->in[0], 23);
		command_free(command);
	}
}

static void wrong_mode_senses_are_refused(void **state)
{
	wants_bad_cdb(sense_6(0, 0x05, 0), 2, 5);
	wants_bad_cdb(sense_6(0, 0x08, 1), 2, 5);
	wants_bad_cdb(sense_10(0, 0x3f, 1), 3, -1);
	wants_sense(sense_6(0, 0xc8, 0), 0x053900); /* saved values */
	wants_sense(sense_10(0, 0xff, 0), 0x053900);
}

static uint8_t changeable_byte(uint8_t code, unsigned byte)
{
	if (code == 0x08)
		return byte == 2 ? 0x04 : 0; /* WCE */
	if (code == 0x0a)
		return byte == 2 ? 0x04 : byte == 4 ? 0x08 : 0; /* D_SENSE, SWP */
	return 0;
}

static void cache_sense_format_and_write_protection_are_changeable(void **state)
{
	struct command *command = page_get(0x7f, 0xff); /* changeable values of all */
	unsigned at = 4, len = command->task.transferred;

	while (at < len) {
		bool subpage = command->in[at] & 0x40;
		unsigned header = subpage ? 4 : 2;
		unsigned page_len =
			header + (subpage ? be16_get(command->in + at + 2) : command->in[at + 1]);

		for (unsigned i = header; i < page_len; i++)
			assert_int_equal(command->in[at + i], changeable_byte(command->in[at], i));
		at += page_len;
	}
	command_free(command);
}

static void without_a_cache_that_can_be_flushed_there_is_none_to_switch(void **state)
{
	struct disk_options options = SMALL_DISK;
	struct command *command;

	options.no_flush = true;
	restart(&options);
	command = page_get(0x48, 0);
	assert_int_equal(command->in[6], 0);
	command_free(command);
}

/* ---- MODE SELECT ----------------------------------------------------------------------------- */

static uint8_t list[2048];

static struct command *select_6(unsigned len)
{
	struct command *command = COMMAND(&w, SCSI_MODE_SELECT_6, 0x10, 0, 0, (uint8_t)len);

	command->out = list;
	command->out_len = len;
	return command;
}

static struct command *select_10(unsigned len)
{
	struct command *command = COMMAND(&w, SCSI_MODE_SELECT_10, 0x10);

	be16_put(command->cdb + 7, (uint16_t)len);
	command->out = list;
	command->out_len = len;
	return command;
}

/* A header and the control page as it is, with D_SENSE as wanted. Returns the length. */
static unsigned put_control(unsigned header, bool d_sense)
{
	struct command *command = page_get(0x0a, 0);

	memset(list, 0, sizeof(list));
	memcpy(list + header, command->in + 4, 12);
	list[header + 2] = (uint8_t)((list[header + 2] & ~0x04) | (d_sense ? 0x04 : 0));
	command_free(command);
	return header + 12;
}

static void d_sense_changes_the_format_of_sense_data(void **state)
{
	struct command *command;

	for (unsigned i = 0; i < 4; i++) {
		bool d_sense = i % 2 == 0;

		wants_good(i < 2 ? select_6(put_control(4, d_sense))
				 : select_10(put_control(8, d_sense)));
		command = COMMAND(&w, 0xff);
		command_run(command);
		assert_int_equal(command_sense(command), 0x052000);
		assert_int_equal(command->task.sense[0], d_sense ? 0x72 : 0x70);
		command_free(command);
		wants_bad_cdb(sense_6(0, 0x05, 0), 2, 5); /* the pointer, in that format */
		command = page_get(0x0a, 0);
		assert_int_equal(command->in[6] & 0x04, d_sense ? 0x04 : 0);
		command_free(command);
	}
}

static void information_beyond_32_bits_needs_descriptor_format(void **state)
{
	uint8_t buf[SCSI_SENSE_BYTES];
	struct scsi_sense sense = {.key = SCSI_KEY_MEDIUM_ERROR,
		.code = SCSI_ASC_UNRECOVERED_READ_ERROR,
		.information_valid = true,
		.information = UINT64_C(0x100000000)};

	assert_int_equal(scsi_sense_encode(&sense, false, buf), 18);
	assert_int_equal(buf[0], 0x70); /* VALID is 0 */
	assert_int_equal(be32_get(buf + 3), 0);
	assert_int_equal(scsi_sense_encode(&sense, true, buf), 20);
	assert_int_equal(be64_get(buf + 12), UINT64_C(0x100000000));
}

static void a_change_is_told_to_the_others_and_not_to_who_made_it(void **state)
{
	struct scsi_attachment *other = scsi_world_attach(&w, 0);
	struct scsi_lun_channel *channel = scsi_world_open(&w, other, 1);
	struct command *command;

	wants_good(select_6(put_control(4, true)));
	wants_good(COMMAND(&w, SCSI_TEST_UNIT_READY));
	command = COMMAND(&w, SCSI_TEST_UNIT_READY);
	command->channel = channel;
	wants_sense(command, 0x062a01);
	wants_good(select_6(put_control(4, true))); /* no change */
	command = COMMAND(&w, SCSI_TEST_UNIT_READY);
	command->channel = channel;
	wants_good(command);
	scsi_world_close(&w, channel);
	scsi_world_detach(&w, other);
}

static void pages_as_they_are_are_accepted(void **state)
{
	struct command *all = page_get(0x3f, 0xff);
	unsigned len = all->task.transferred;

	memset(list, 0, sizeof(list));
	memcpy(list + 4, all->in + 4, len - 4);
	wants_good(select_6(len));
	memset(list, 0, sizeof(list));
	memcpy(list + 8, all->in + 4, len - 4);
	wants_good(select_10(len + 4));
	command_free(all);
	wants_good(select_6(0));
	memset(list, 0, sizeof(list));
	wants_good(select_6(4));
}

static void block_descriptors_must_say_what_is(void **state)
{
	memset(list, 0, sizeof(list));
	list[3] = 8;
	be32_put(list + 8, 512);
	wants_good(select_6(12));
	be32_put(list + 4, 4096);
	wants_good(select_6(12));
	be32_put(list + 4, 4095);
	wants_bad_parameters(select_6(12), 4);
	be32_put(list + 4, 0);
	be32_put(list + 8, 4096);
	wants_bad_parameters(select_6(12), 9);
	list[3] = 7;
	wants_bad_parameters(select_6(12), 3);
	list[3] = 8;
	wants_sense(select_6(11), 0x051a00);

	memset(list, 0, sizeof(list));
	list[4] = 1;
	list[7] = 16;
	be32_put(list + 20, 512);
	wants_good(select_10(24));
	list[7] = 8;
	wants_bad_parameters(select_10(24), 6);
}

static void wrong_mode_selects_change_nothing(void **state)
{
	unsigned len = put_control(4, true);
	struct command *command;

	list[4 + 3] ^= 0x10; /* not changeable */
	wants_bad_parameters(select_6(len), 7);
	list[4 + 3] ^= 0x10;
	list[len] = 0x05; /* a good page, then an unknown one */
	list[len + 1] = 2;
	wants_bad_parameters(select_6(len + 4), len);
	list[len] = 0x08; /* then one of a wrong length */
	wants_bad_parameters(select_6(len + 4), len + 1);
	list[len + 1] = 18; /* then one that is cut short */
	wants_sense(select_6(len + 4), 0x051a00);
	wants_sense(select_6(len + 1), 0x051a00);
	wants_sense(select_6(3), 0x051a00);
	wants_sense(select_10(7), 0x051a00);
	wants_sense(select_10(2000), 0x051a00);
	command = select_6(len);
	command->cdb[1] = 0;
	wants_bad_cdb(command, 1, 4);
	command = select_6(len);
	command->cdb[1] = 0x11;
	wants_bad_cdb(command, 1, 0);
	command = select_6(len);
	command->out_len--;
	wants_response(command, SCSI_RESPONSE_OVERRUN);
	command = page_get(0x0a, 0);
	assert_int_equal(command->in[6] & 0x04, 0);
	command_free(command);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_caching_page_tells_of_the_cache),
		TEST(all_pages_are_each_page_in_order),
		TEST(subpages_are_told_when_asked_for),
		TEST(the_low_water_mark_of_the_pool_is_a_threshold),
		TEST(block_descriptors_tell_size_and_number),
		TEST(mode_data_is_cut_at_the_allocation_length),
		TEST(wrong_mode_senses_are_refused),
		TEST(cache_sense_format_and_write_protection_are_changeable),
		TEST(without_a_cache_that_can_be_flushed_there_is_none_to_switch),
		TEST(d_sense_changes_the_format_of_sense_data),
		TEST(information_beyond_32_bits_needs_descriptor_format),
		TEST(a_change_is_told_to_the_others_and_not_to_who_made_it),
		TEST(pages_as_they_are_are_accepted),
		TEST(block_descriptors_must_say_what_is),
		TEST(wrong_mode_selects_change_nothing),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
