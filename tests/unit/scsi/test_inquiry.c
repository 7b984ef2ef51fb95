/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * INQUIRY and its pages, READ CAPACITY: who the disk is and what it says it can.
 */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "scsi_world.h"

static struct scsi_world w;

static struct disk_options rich_disk(void)
{
	struct disk_options options = SMALL_DISK;

	options.physical_block_size = 4096;
	options.optimal_io_bytes = 65536;
	options.unmap_granularity = 8192;
	return options;
}

static int setup(void **state)
{
	struct disk_options options = rich_disk();

	scsi_world_start(&w, &options);
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

static struct command *inquiry(uint8_t vital, uint8_t page, uint16_t allocation, uint32_t in_len)
{
	struct command *command = COMMAND(&w, SCSI_INQUIRY, vital, page);

	be16_put(command->cdb + 3, allocation);
	command->in_len = in_len;
	return command;
}

/* The page without its header; checks the header. */
static struct command *page_get(uint8_t page, unsigned *ret_len)
{
	struct command *command = inquiry(1, page, 1024, 1024);

	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(command->in[0], 0);
	assert_int_equal(command->in[1], page);
	assert_int_equal(command->task.transferred, be16_get(command->in + 2) + 4u);
	*ret_len = be16_get(command->in + 2);
	return command;
}

static void standard_data_is_cut_at_the_allocation_length_and_at_the_buffer(void **state)
{
	static const struct {
		uint16_t allocation;
		uint32_t in_len;
		uint32_t moved;
	} cases[] = {{36, 36, 36}, {96, 96, 96}, {255, 255, 96}, {5, 5, 5}, {0, 0, 0}, {0, 100, 0},
		{1, 255, 1}, {96, 20, 20}, {255, 260, 96}, {65535, 7, 7}};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct command *command = inquiry(0, 0, cases[i].allocation, cases[i].in_len);

		command->segment = i % 2 ? 3 : 0;
		command_run(command);
		assert_int_equal(command_sense(command), 0);
		assert_int_equal(command->task.transferred, cases[i].moved);
		command_free(command);
	}
}

static void standard_data_names_a_disk_of_spc_4(void **state)
{
	struct command *command = inquiry(0, 0, 96, 96);

	command_run(command);
	assert_int_equal(command->in[0], 0x00);
	assert_int_equal(command->in[1], 0x00); /* not removable */
	assert_int_equal(command->in[2], 0x06);
	assert_int_equal(command->in[3] & 0x0f, 2);
	assert_int_equal(command->in[4], 91);
	assert_int_equal(command->in[5], 0x28); /* access states by command, third party copy */
	assert_int_equal(command->in[7] & 0x02, 0x02);
	assert_memory_equal(command->in + 8, "SLUICE  VIRTUAL DISK    0001", 28);
	assert_int_equal(be16_get(command->in + 60), 0x0460);
	command_free(command);
}

static void wrong_inquiries_are_invalid_fields(void **state)
{
	wants_bad_cdb(inquiry(0, 0x80, 255, 255), 2, -1);
	wants_bad_cdb(inquiry(1, 0x7f, 255, 255), 2, -1);
	wants_bad_cdb(inquiry(2, 0, 255, 255), 1, 1);
}

static void every_page_that_is_listed_exists_and_no_other(void **state)
{
	static const uint8_t expected[] = {
		0x00, 0x80, 0x83, 0x85, 0x86, 0x87, 0x8f, 0xb0, 0xb1, 0xb2};
	unsigned len, each;
	struct command *list = page_get(0, &len);

	assert_int_equal(len, sizeof(expected));
	assert_memory_equal(list->in + 4, expected, sizeof(expected));
	for (unsigned page = 0; page < 256; page++) {
		if (memchr(expected, (int)page, sizeof(expected)))
			command_free(page_get((uint8_t)page, &each));
		else
			wants_bad_cdb(inquiry(1, (uint8_t)page, 255, 255), 2, -1);
	}
	command_free(list);
}

static void pages_are_cut_like_standard_data(void **state)
{
	for (uint16_t allocation = 0; allocation < 80; allocation += 3) {
		struct command *command = inquiry(1, 0xb0, allocation, 70);

		command_run(command);
		assert_int_equal(command_sense(command), 0);
		assert_int_equal(command->task.transferred, allocation < 64 ? allocation : 64);
		command_free(command);
	}
}

static void the_serial_number_is_the_uuid(void **state)
{
	unsigned len;
	struct command *command = page_get(0x80, &len);

	assert_int_equal(len, 32);
	assert_memory_equal(command->in + 4, "5157ce000123456789abcdef01234567", 32);
	command_free(command);
}

/* The designation descriptor whose second byte (association and type) that is. */
static const uint8_t *designator_find(const struct command *page, uint8_t type)
{
	for (unsigned at = 4; at < be16_get(page->in + 2) + 4u; at += 4 + page->in[at + 3]) {
		if (page->in[at + 1] == type)
			return page->in + at;
	}
	fail_msg("no designator of type %02x", type);
	return NULL;
}

static void the_identity_is_the_same_on_every_target_and_after_every_start(void **state)
{
	struct disk_options options = rich_disk();
	unsigned len, again;
	struct command *first = page_get(0x83, &len), *second;

	options.name = "another name";
	options.blocks = 100;
	restart(&options);
	second = page_get(0x83, &again);
	assert_int_equal(len, again);
	assert_memory_equal(first->in, second->in, len + 4);
	command_free(second);

	/* For ever: these bytes are in guests' configurations. */
	assert_memory_equal(designator_find(first, 0x03),
		"\x01\x03\x00\x08\x38\xfc\x03\xef\x00\x00\x00\x0d", 12);
	assert_memory_equal(designator_find(first, 0x01),
		"\x02\x01\x00\x28SLUICE  5157ce000123456789abcdef01234567", 44);
	options.uuid = "5157ce00-0123-4567-89ab-cdef01234568";
	restart(&options);
	second = page_get(0x83, &again);
	assert_memory_not_equal(designator_find(first, 0x03), designator_find(second, 0x03), 12);
	assert_memory_not_equal(first->in, second->in, len + 4);
	command_free(first);
	command_free(second);
}

static void designators_fill_the_page_exactly(void **state)
{
	bool naa = false, name = false, eui = false;
	unsigned len, at = 4;
	struct command *command = page_get(0x83, &len);
	const uint8_t *own = designator_find(command, 0x03) + 4;

	while (at < len + 4) {
		const uint8_t *designator = command->in + at;

		if ((designator[1] & 0x3f) == 0x03) {
			naa = true;
			assert_int_equal(designator[3], 8);
			assert_int_equal(designator[4] >> 4, 3); /* locally assigned */
		}
		if (designator[1] == 0x02) {
			eui = true;
			assert_int_equal(designator[3], 8);
			assert_int_equal(designator[4] & 0x03, 0x02); /* local, of one */
			assert_memory_equal(designator + 5, own + 1, 7);
		}
		if ((designator[1] & 0x0f) == 0x08) {
			char text[21];

			name = true;
			snprintf(text, sizeof(text), "naa.%02x%02x%02x%02x%02x%02x%02x%02x", own[0],
				own[1], own[2], own[3], own[4], own[5], own[6], own[7]);
			assert_memory_equal(designator + 4, text, 20);
		}
		at += 4 + designator[3];
	}
	assert_int_equal(at, len + 4);
	assert_true(naa && name && eui);
	/* Who takes the first NAA name of all takes the unit's, not the port's. */
	assert_ptr_equal(own, command->in + 8);
	command_free(command);
}

static void block_limits_tell_what_is_enforced(void **state)
{
	unsigned len;
	struct command *command = page_get(0xb0, &len);
	const uint8_t *page = command->in;

	assert_int_equal(len, 60);
	assert_int_equal(page[4] & 1, 1); /* WSNZ */
	assert_int_equal(be16_get(page + 6), 8);
	assert_int_equal(be32_get(page + 8), SCSI_TRANSFER_BYTES_MAX / 512);
	assert_int_equal(be32_get(page + 12), 128);
	assert_int_equal(be32_get(page + 20), SCSI_UNMAP_BLOCKS_MAX);
	assert_int_equal(be32_get(page + 24), 255);
	assert_int_equal(be32_get(page + 28), 16);
	assert_int_equal(be64_get(page + 36), SCSI_WRITE_SAME_BYTES_MAX / 512);
	command_free(command);
}

static void a_disk_that_cannot_unmap_does_not_say_so(void **state)
{
	struct disk_options options = rich_disk();
	struct command *command;
	unsigned len;

	command = page_get(0xb2, &len);
	assert_int_equal(command->in[5], 0xe4);
	assert_int_equal(command->in[6], 2);
	command_free(command);

	options.no_unmap = true;
	restart(&options);
	command = page_get(0xb2, &len);
	assert_int_equal(command->in[5], 0);
	assert_int_equal(command->in[6], 0);
	command_free(command);
	command = page_get(0xb0, &len);
	assert_int_equal(be32_get(command->in + 20), 0);
	assert_int_equal(be32_get(command->in + 24), 0);
	command_free(command);
}

static void rotation_is_told(void **state)
{
	struct disk_options options = rich_disk();
	unsigned len;
	struct command *command = page_get(0xb1, &len);

	assert_int_equal(be16_get(command->in + 4), 1);
	assert_int_equal(command->in[7] >> 6, 1); /* WABEREQ: readable after an erase */
	command_free(command);
	options.rotational = true;
	restart(&options);
	command = page_get(0xb1, &len);
	assert_int_equal(be16_get(command->in + 4), 0);
	command_free(command);
}

static void a_lun_that_does_not_exist_says_7fh(void **state)
{
	struct command *command = inquiry(0, 0, 96, 96);

	command->absent = true;
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(command->in[0], 0x7f);
	command_free(command);
	command = inquiry(1, 0, 96, 96);
	command->absent = true;
	wants_bad_cdb(command, 1, 0);
}

static void the_well_known_unit_has_its_type_and_its_two_pages(void **state)
{
	static const uint8_t expected[] = {0x1e, 0x00, 0x00, 0x02, 0x00, 0x83};
	struct command *command = inquiry(0, 0, 96, 96);

	command->well_known = true;
	command_run(command);
	assert_int_equal(command->in[0], 0x1e);
	command_free(command);
	command = inquiry(1, 0, 96, 96);
	command->well_known = true;
	command_run(command);
	assert_memory_equal(command->in, expected, sizeof(expected));
	command_free(command);
	command = inquiry(1, 0x83, 96, 96);
	command->well_known = true;
	wants_good(command);
	command = inquiry(1, 0xb0, 96, 96);
	command->well_known = true;
	wants_bad_cdb(command, 2, -1);
}

static void capacity_10_is_the_last_block(void **state)
{
	struct command *command = COMMAND(&w, SCSI_READ_CAPACITY_10);

	command->in_len = 8;
	command_run(command);
	assert_int_equal(be32_get(command->in), 4095);
	assert_int_equal(be32_get(command->in + 4), 512);
	command_free(command);
	wants_bad_cdb(COMMAND(&w, SCSI_READ_CAPACITY_10, 0, 0, 0, 0, 1), 2, -1);
}

static void capacity_16_tells_physical_blocks_and_provisioning(void **state)
{
	struct disk_options options = rich_disk();
	struct command *command = COMMAND(&w, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32);

	command->in_len = 64;
	command_run(command);
	assert_int_equal(command->task.transferred, 32);
	assert_int_equal(be64_get(command->in), 4095);
	assert_int_equal(be32_get(command->in + 8), 512);
	assert_int_equal(command->in[13], 3);
	assert_int_equal(command->in[14], 0xc0);
	command_free(command);
	wants_bad_cdb(COMMAND(&w, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 32), 2, -1);
	wants_bad_cdb(COMMAND(&w, 0x9e, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32), 1, 4);

	options.no_unmap = true;
	options.physical_block_size = 0;
	restart(&options);
	command = COMMAND(&w, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32);
	command->in_len = 32;
	command_run(command);
	assert_int_equal(command->in[13], 0);
	assert_int_equal(command->in[14], 0);
	command_free(command);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(standard_data_is_cut_at_the_allocation_length_and_at_the_buffer),
		TEST(standard_data_names_a_disk_of_spc_4),
		TEST(wrong_inquiries_are_invalid_fields),
		TEST(every_page_that_is_listed_exists_and_no_other),
		TEST(pages_are_cut_like_standard_data),
		TEST(the_serial_number_is_the_uuid),
		TEST(the_identity_is_the_same_on_every_target_and_after_every_start),
		TEST(designators_fill_the_page_exactly),
		TEST(block_limits_tell_what_is_enforced),
		TEST(a_disk_that_cannot_unmap_does_not_say_so),
		TEST(rotation_is_told),
		TEST(a_lun_that_does_not_exist_says_7fh),
		TEST(the_well_known_unit_has_its_type_and_its_two_pages),
		TEST(capacity_10_is_the_last_block),
		TEST(capacity_16_tells_physical_blocks_and_provisioning),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
