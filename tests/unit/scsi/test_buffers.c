/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * READ BUFFER, WRITE BUFFER: what is read is what was written. REPORT and SET IDENTIFYING
 * INFORMATION: what was set is there after a restart.
 */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "kept.h"

#define CAPACITY        4096
#define DATA            0x02
#define DESCRIPTOR      0x03
#define ECHO            0x0a
#define ECHO_DESCRIPTOR 0x0b

static struct scsi_world w;
static struct kept kept;
static uint8_t bytes[CAPACITY + 512];

static int setup(void **state)
{
	scsi_world_start(&w, &SMALL_DISK);
	fill_pattern(bytes, sizeof(bytes), 5);
	return 0;
}

static int teardown(void **state)
{
	scsi_world_end(&w);
	return 0;
}

/* ---- buffers -------------------------------------------------------------------------------- */

static struct command *with_place(
	struct command *command, uint8_t id, uint32_t offset, uint32_t len)
{
	command->cdb[2] = id;
	be32_put(command->cdb + 2, (uint32_t)id << 24 | offset);
	be32_put(command->cdb + 5, (offset & 0xff) << 24 | len);
	return command;
}

static struct command *write_buffer(uint8_t mode, uint8_t id, uint32_t offset, uint32_t len)
{
	struct command *command = with_place(COMMAND(&w, 0x3b, mode), id, offset, len);

	command->out = bytes;
	command->out_len = len < sizeof(bytes) ? len : (uint32_t)sizeof(bytes);
	command->segment = 700;
	return command;
}

static struct command *read_buffer(uint8_t mode, uint8_t id, uint32_t offset, uint32_t len)
{
	struct command *command = with_place(COMMAND(&w, 0x3c, mode), id, offset, len);

	command->in_len = len < IN_MAX ? len : IN_MAX;
	command->segment = 900;
	return command;
}

static void wants_bytes(struct command *command, const void *expected, uint32_t len)
{
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(command->task.transferred, len);
	assert_memory_equal(command->in, expected, len);
	command_free(command);
}

static void a_buffer_gives_back_what_it_was_given(void **state)
{
	static const uint8_t zeroes[CAPACITY];

	wants_bytes(read_buffer(DATA, 0, 0, CAPACITY), zeroes, CAPACITY);
	wants_good(write_buffer(DATA, 0, 0, CAPACITY));
	wants_bytes(read_buffer(DATA, 0, 0, 100000), bytes, CAPACITY);
	wants_bytes(read_buffer(DATA, 0, 1001, 77), bytes + 1001, 77);
	wants_bytes(read_buffer(DATA, 0, CAPACITY - 3, 77), bytes + CAPACITY - 3, 3);
	wants_bytes(read_buffer(DATA, 0, CAPACITY, 77), bytes, 0);
	wants_bytes(read_buffer(DATA, 0, 0, 0), bytes, 0);
	wants_good(write_buffer(DATA, 0, 4000, 96));
	wants_bytes(read_buffer(DATA, 0, 4000, 96), bytes, 96);
	wants_bytes(read_buffer(DATA, 0, 3999, 1), bytes + 3999, 1);
	wants_good(write_buffer(DATA, 0, CAPACITY, 0));
}

static void buffers_say_how_large_they_are(void **state)
{
	wants_bytes(read_buffer(DESCRIPTOR, 0, 0, 4), "\x00\x00\x10\x00", 4);
	wants_bytes(read_buffer(DESCRIPTOR, 1, 0, 255), "\x00\x00\x00\x00", 4);
	wants_bytes(read_buffer(ECHO_DESCRIPTOR, 0, 0, 4), "\x00\x00\x10\x00", 4);
	wants_bytes(read_buffer(ECHO_DESCRIPTOR, 0, 0, 3), "\x00\x00\x10", 3);
}

/* Two initiators: each its own echo, and one data buffer for both. */
static void an_echo_is_only_of_who_wrote_it(void **state)
{
	struct scsi_attachment *other = scsi_world_attach(&w, 1);
	struct scsi_lun_channel *channel = scsi_world_open(&w, other, 0);
	struct command *command;

	wants_sense(read_buffer(ECHO, 0, 0, CAPACITY), 0x052c00);
	wants_good(write_buffer(ECHO, 0, 0, 1000));
	command = read_buffer(ECHO, 0, 0, CAPACITY);
	command->channel = channel;
	wants_sense(command, 0x052c00);
	wants_bytes(read_buffer(ECHO, 0, 0, CAPACITY), bytes, 1000);
	wants_bytes(read_buffer(ECHO, 0, 0, 10), bytes, 10);
	wants_good(write_buffer(DATA, 0, 0, 500));
	command = read_buffer(DATA, 0, 0, 500);
	command->channel = channel;
	wants_bytes(command, bytes, 500);
	scsi_world_close(&w, channel);
	scsi_world_detach(&w, other);
}

static void other_modes_and_places_are_invalid_fields(void **state)
{
	struct command *command;

	for (uint8_t mode = 0; mode < 32; mode++) {
		if (mode != DATA && mode != ECHO)
			wants_bad_cdb(write_buffer(mode, 0, 0, 4), 1, 4);
		if (mode != DATA && mode != DESCRIPTOR && mode != ECHO && mode != ECHO_DESCRIPTOR)
			wants_bad_cdb(read_buffer(mode, 0, 0, 4), 1, 4);
	}
	wants_bad_cdb(write_buffer(DATA, 1, 0, 4), 2, -1);
	wants_bad_cdb(read_buffer(DATA, 1, 0, 4), 2, -1);
	wants_bad_cdb(write_buffer(DATA, 0, CAPACITY + 1, 0), 3, -1);
	wants_bad_cdb(read_buffer(DATA, 0, CAPACITY + 1, 4), 3, -1);
	wants_bad_cdb(write_buffer(DATA, 0, 1, CAPACITY), 6, -1);
	wants_bad_cdb(write_buffer(ECHO, 0, 0, CAPACITY + 1), 6, -1);
	command = write_buffer(DATA, 0, 0, 100);
	command->out_len = 99;
	wants_response(command, SCSI_RESPONSE_OVERRUN);
}

/* ---- identifying information ----------------------------------------------------------------- */

static struct command *report(uint8_t type, uint32_t len)
{
	struct command *command = COMMAND(&w, SCSI_MAINTENANCE_IN, 0x05);

	be32_put(command->cdb + 6, len);
	command->cdb[10] = (uint8_t)(type << 1);
	command->in_len = len;
	return command;
}

static struct command *set(uint8_t type, const void *data, uint32_t len)
{
	struct command *command = COMMAND(&w, SCSI_MAINTENANCE_OUT, 0x06);

	be32_put(command->cdb + 6, len);
	command->cdb[10] = (uint8_t)(type << 1);
	command->out = data;
	command->out_len = len;
	return command;
}

static void wants_information(uint8_t type, const void *data, uint32_t len)
{
	struct command *command = report(type, 600);

	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(command->task.transferred, 4 + len);
	assert_int_equal(be32_get(command->in), len);
	assert_memory_equal(command->in + 4, data, len);
	command_free(command);
}

static void what_a_disk_is_called_is_kept(void **state)
{
	kept_begin(&kept, &w, "label", false);
	wants_information(0, "", 0);
	wants_good(set(0, bytes, 512));
	wants_good(set(2, "Platte 7", 9));
	wants_information(0, bytes, 512);
	wants_information(2, "Platte 7", 9);
	kept_restart(&kept);
	wants_information(0, bytes, 512);
	wants_information(2, "Platte 7", 9);
	wants_good(set(2, "", 0));
	wants_good(set(0, bytes + 7, 3));
	kept_restart(&kept);
	wants_information(2, "", 0);
	wants_information(0, bytes + 7, 3);
	wants_bytes(report(0, 3), "\x00\x00\x00", 3); /* cut, and its length the same */
	kept_end(&kept);
}

static void others_hear_of_another_label(void **state)
{
	struct scsi_attachment *other;
	struct scsi_lun_channel *channel;
	struct command *command;

	kept_begin(&kept, &w, "others", false);
	other = scsi_world_attach(&w, 1);
	channel = scsi_world_open(&w, other, 0);
	wants_good(set(0, bytes, 8));
	wants_good(COMMAND(&w, SCSI_TEST_UNIT_READY));
	command = COMMAND(&w, SCSI_TEST_UNIT_READY);
	command->channel = channel;
	wants_sense(command, 0x063f05);
	wants_good(set(0, bytes, 8)); /* the same */
	command = COMMAND(&w, SCSI_TEST_UNIT_READY);
	command->channel = channel;
	wants_good(command);
	scsi_world_close(&w, channel);
	scsi_world_detach(&w, other);
	kept_end(&kept);
}

static void wrong_labels_change_nothing(void **state)
{
	struct command *command;

	kept_begin(&kept, &w, "wrong", false);
	wants_bytes(report(0x7f, 100), "\x00\x00\x00\x08\x00\x00\x02\x00\x04\x00\x01\x00", 12);
	wants_bad_cdb(report(1, 100), 10, 7);
	wants_bad_cdb(set(1, bytes, 4), 10, 7);
	wants_bad_cdb(set(0x7f, bytes, 4), 10, 7);
	wants_bad_cdb(set(0, bytes, 513), 6, -1);
	wants_bad_cdb(set(2, bytes, 257), 6, -1);
	wants_bad_parameters(set(2, "ohne", 4), 3); /* its last byte is no zero */
	command = set(0, bytes, 40);
	command->out_len = 39;
	wants_response(command, SCSI_RESPONSE_OVERRUN);
	wants_information(0, "", 0);
	wants_information(2, "", 0);
	kept_end(&kept);

	wants_bad_cdb(report(0, 100), 1, 4); /* without a store there are no such commands */
	wants_bad_cdb(set(0, bytes, 4), 1, 4);
	kept_begin(&kept, &w, "nowhere", true);
	wants_sense(set(0, bytes, 4), 0x044400);
	kept_end(&kept);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_buffer_gives_back_what_it_was_given),
		TEST(buffers_say_how_large_they_are),
		TEST(an_echo_is_only_of_who_wrote_it),
		TEST(other_modes_and_places_are_invalid_fields),
		TEST(what_a_disk_is_called_is_kept),
		TEST(others_hear_of_another_label),
		TEST(wrong_labels_change_nothing),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
