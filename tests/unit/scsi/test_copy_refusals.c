/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EXTENDED COPY and RECEIVE COPY RESULTS: every check condition, and what is told of a copy.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "copies.h"
#include "scsi/lun_state.h"

#define BLOCK  512
#define BLOCKS 4096

#define COPY_STATUS    0x00
#define OPERATING      0x03
#define FAILED_DETAILS 0x04

static struct copies c;
static struct copy_list list;

static void start(const struct disk_options *other)
{
	struct disk_options options = *other;

	options.name = "other";
	options.uuid = "5157ce00-0123-4567-89ab-cdef89abcdef";
	copies_start(&c, &SMALL_DISK, &options);
}

static int setup(void **state)
{
	start(&SMALL_DISK);
	return 0;
}

static int teardown(void **state)
{
	copies_end(&c);
	return 0;
}

/* Both disks; the segments are still to come. */
static void begin(uint8_t list_id, uint8_t usage)
{
	copy_list_begin(&list, list_id, usage);
	copy_list_disk(&list, c.w.attachment, false);
	copy_list_disk(&list, c.attachment, false);
}

static uint8_t *one_segment(uint8_t list_id, uint8_t usage)
{
	begin(list_id, usage);
	return copy_list_segment(&list, 0, 0, 1, 10, 0, 0);
}

static struct command *command_of_list(void)
{
	return copy_command(&c, &list);
}

/* ILLEGAL REQUEST with a pointer into the list. */
static void wants_at(struct command *command, uint16_t code, unsigned byte)
{
	command_run(command);
	assert_int_equal(command_sense(command), 0x05 << 16 | code);
	assert_int_equal(command->task.sense[15], 0x80);
	assert_int_equal(be16_get(command->task.sense + 16), byte);
	command_free(command);
}

/* ---- the parameter list ---------------------------------------------------------------------- */

static void list_identifiers_obey_their_usage(void **state)
{
	one_segment(0, 1);
	wants_bad_parameters(command_of_list(), 1);
	one_segment(7, 3);
	wants_bad_parameters(command_of_list(), 0);
}

static void lists_that_end_too_early_have_the_wrong_length(void **state)
{
	one_segment(0, 3);
	for (unsigned len = 1; len < copy_list_len(&list); len++) {
		struct command *command = command_of_list();

		be32_put(command->cdb + 10, len);
		wants_sense(command, 0x051a00);
	}
	one_segment(0, 3);
	be32_put(list.bytes + 8, 27); /* part of a segment */
	wants_sense(command_of_list(), 0x051a00);
	be32_put(list.bytes + 8, UINT32_MAX);
	wants_sense(command_of_list(), 0x051a00);
	assert_int_equal(c.other.counts[BDEV_IO_WRITE], 0);
}

static void a_list_that_was_not_sent_is_an_overrun(void **state)
{
	struct command *command;

	one_segment(0, 3);
	command = command_of_list();
	command->out_len--;
	wants_response(command, SCSI_RESPONSE_OVERRUN);
}

static void there_is_no_inline_data(void **state)
{
	one_segment(0, 3);
	be32_put(list.bytes + 12, 1);
	wants_at(command_of_list(), 0x260b, 12);
}

static void there_are_no_more_descriptors_than_is_told(void **state)
{
	copy_list_begin(&list, 0, 3);
	for (unsigned i = 0; i < 17; i++)
		copy_list_disk(&list, c.attachment, false);
	copy_list_segment(&list, 0, 0, 1, 10, 0, 0);
	wants_at(command_of_list(), 0x2606, 2);
	begin(0, 3);
	for (unsigned i = 0; i < 17; i++)
		copy_list_segment(&list, 0, 0, 1, 10, 0, 0);
	wants_at(command_of_list(), 0x2608, 8);
	copy_list_begin(&list, 0, 3);
	for (unsigned i = 0; i < 17; i++)
		copy_list_disk(&list, c.attachment, false);
	for (unsigned i = 0; i < 17; i++)
		copy_list_segment(&list, 0, 0, 1, 10, 0, 0);
	wants_sense(command_of_list(), 0x051a00);
}

static void descriptors_are_of_the_types_that_are_told(void **state)
{
	for (unsigned type = 0; type < 256; type++) {
		one_segment(0, 3);
		list.bytes[16 + 32] = (uint8_t)type;
		if (type != 0xe4)
			wants_at(command_of_list(), 0x2607, 16 + 32);
		one_segment(0, 3)[0] = (uint8_t)type;
		if (type != 0x02)
			wants_at(command_of_list(), 0x2609, 16 + 64);
	}
}

static void descriptors_have_the_lengths_of_their_types(void **state)
{
	one_segment(0, 3)[3] = 23;
	wants_bad_parameters(command_of_list(), 16 + 64 + 2);
	one_segment(0, 3);
	be16_put(list.bytes + 2, 33);
	wants_bad_parameters(command_of_list(), 2);
	one_segment(0, 3);
	list.bytes[16 + 7] = 21; /* the designator's */
	wants_bad_parameters(command_of_list(), 16 + 7);
}

/* ---- segments -------------------------------------------------------------------------------- */

static void an_index_is_of_a_descriptor_that_is_there(void **state)
{
	begin(0, 3);
	copy_list_segment(&list, 0, 0, 1, 10, 0, 0);
	copy_list_segment(&list, 0, 0, 2, 10, 0, 0);
	wants_copy_aborted(command_of_list(), 0x0804, 1, true, 6);
	assert_int_equal(c.other.counts[BDEV_IO_WRITE], 1); /* the first segment */
	begin(0, 3);
	copy_list_segment(&list, 0, 0xfffe, 1, 10, 0, 0);
	wants_copy_aborted(command_of_list(), 0x0804, 0, true, 4);
}

static void names_that_are_of_no_unit_here_are_not_reachable(void **state)
{
	static const struct {
		unsigned byte;
		uint8_t value;
	} changes[] = {{4, 3}, {5, 0x13}, {5, 0x02}, {5, 0x08}, {7, 7}, {15, 0x55}, {8, 0x52}};

	for (unsigned i = 0; i < ARRAY_SIZE(changes); i++) {
		one_segment(0, 3);
		list.bytes[16 + 32 + changes[i].byte] = changes[i].value;
		wants_copy_aborted(command_of_list(), 0x0d02, 0, true, 6);
		list.bytes[16 + changes[i].byte] = changes[i].value;
		wants_copy_aborted(command_of_list(), 0x0d02, 0, true, 4);
	}
}

static void names_with_digits_that_are_none_are_not_reachable(void **state)
{
	uint8_t *cscd;

	copy_list_begin(&list, 0, 3);
	cscd = copy_list_disk(&list, c.attachment, false);
	cscd[4] = 3;
	cscd[5] = 8;
	cscd[7] = 20;
	memcpy(cscd + 8, "naa.0123456789abcdeg", 20);
	copy_list_segment(&list, 0, 0, 0, 1, 0, 1);
	wants_copy_aborted(command_of_list(), 0x0d02, 0, true, 4);
	memcpy(cscd + 8, "eui.0123456789abcdef", 20);
	wants_copy_aborted(command_of_list(), 0x0d02, 0, true, 4);
}

static void without_other_units_only_the_addressed_one_is_reachable(void **state)
{
	c.w.channel->target_count = 0;
	wants_copy_aborted(copy_simply(&c, 0, 1, 10, 0, 0), 0x0d02, 0, true, 6);
	wants_good(copy_simply(&c, 0, 0, 10, 0, 100));
	c.w.channel->target_count = ARRAY_SIZE(c.targets);
}

static void devices_are_disks_of_the_block_length_that_is_said(void **state)
{
	one_segment(0, 3);
	list.bytes[16 + 32 + 1] = 0x01; /* a tape */
	wants_copy_aborted(command_of_list(), 0x0d03, 0, false, 16 + 32 + 1);
	one_segment(0, 3);
	be16_put(list.bytes + 16 + 30, 4096);
	wants_copy_aborted(command_of_list(), 0x2600, 0, false, 16 + 29);
}

static void ranges_end_where_their_disks_do(void **state)
{
	wants_copy_aborted(copy_simply(&c, 0, 1, 10, BLOCKS - 9, 0), 0, 0, true, 12);
	wants_copy_aborted(copy_simply(&c, 0, 1, 10, 0, BLOCKS - 9), 0, 0, true, 20);
	wants_copy_aborted(copy_simply(&c, 0, 1, 1, UINT64_MAX, 0), 0, 0, true, 12);
	wants_good(copy_simply(&c, 0, 1, 10, BLOCKS - 10, BLOCKS - 10));
}

static void segments_are_no_longer_than_is_told(void **state)
{
	struct disk_options large = SMALL_DISK;

	large.block_size = 2048;
	large.blocks = 33000;
	copies_end(&c);
	start(&large);
	wants_copy_aborted(copy_simply(&c, 1, 1, 32769, 0, 0), 0x2600, 0, true, 10);
}

static void blocks_that_do_not_fit_the_buffer_are_not_reachable(void **state)
{
	struct disk_options large = SMALL_DISK;

	large.block_size = 65536;
	large.blocks = 8;
	copies_end(&c);
	start(&large);
	wants_copy_aborted(copy_simply(&c, 1, 1, 1, 0, 1), 0x0d02, 0, true, 4);
}

/* ---- what devices refuse --------------------------------------------------------------------- */

/* The status and sense data of the source or destination, behind our own. */
static void wants_forwarded(struct command *command, bool of_source, uint8_t status, uint32_t sense)
{
	const uint8_t *bytes = command->task.sense;

	command_run(command);
	assert_int_equal(command_sense(command), 0x0a0d01);
	assert_int_equal(bytes[8], of_source ? 18 : 0);
	assert_int_equal(bytes[9], of_source ? 0 : 18);
	assert_int_equal(bytes[18], status);
	assert_int_equal(command->task.sense_len, sense ? 18 + 1 + 18 : 19);
	if (sense)
		assert_int_equal((bytes[19 + 2] & 15) << 16 | be16_get(bytes + 19 + 12), sense);
	command_free(command);
}

static void what_a_device_refuses_is_told_with_its_own_words(void **state)
{
	disk_fail(&c.w.disk, BDEV_IO_READ, EIO, 1);
	wants_forwarded(copy_simply(&c, 0, 1, 10, 0, 0), true, 0x02, 0x031100);
	disk_fail(&c.other, BDEV_IO_WRITE, ENOSPC, 1);
	wants_forwarded(copy_simply(&c, 0, 1, 10, 0, 0), false, 0x02, 0x072707);
	disk_fail(&c.other, BDEV_IO_WRITE, ENOMEM, 1);
	wants_forwarded(copy_simply(&c, 0, 1, 10, 0, 0), false, 0x08, 0);
}

static void a_destination_that_is_protected_is_not_written(void **state)
{
	struct disk_options options = SMALL_DISK;

	options.attach_read_only = true;
	copies_end(&c);
	start(&options);
	wants_forwarded(copy_simply(&c, 0, 1, 10, 0, 0), false, 0x02, 0x072700);
	wants_good(copy_simply(&c, 1, 0, 10, 0, 0));
}

static void units_that_are_stopped_take_no_part(void **state)
{
	struct command *stop = COMMAND(&c.w, SCSI_START_STOP_UNIT);

	stop->channel = c.channel;
	wants_good(stop);
	wants_forwarded(copy_simply(&c, 0, 1, 10, 0, 0), false, 0x02, 0x020402);
	wants_forwarded(copy_simply(&c, 1, 0, 10, 0, 0), true, 0x02, 0x020402);
}

/* Somebody else's: scsi_lun_restrict's word, as a data thread sees it. */
static void restrict_other(enum scsi_restriction restriction)
{
	atomic_store(&c.channel->restriction, restriction);
	atomic_store(
		&c.channel->straight_bytes_max, restriction ? 0 : c.channel->transfer_bytes_max);
}

static void reservations_hold_against_copies(void **state)
{
	restrict_other(SCSI_RESTRICTED_WRITES);
	wants_forwarded(copy_simply(&c, 0, 1, 10, 0, 0), false, 0x18, 0);
	wants_good(copy_simply(&c, 1, 0, 10, 0, 0));
	restrict_other(SCSI_RESTRICTED_ALL);
	wants_forwarded(copy_simply(&c, 1, 0, 10, 0, 0), true, 0x18, 0);
	assert_int_equal(c.other.counts[BDEV_IO_WRITE], 0);
	restrict_other(SCSI_UNRESTRICTED);
}

static void in_descriptor_format_the_words_have_a_descriptor(void **state)
{
	uint8_t control[16] = {0};
	struct command *page = COMMAND(&c.w, SCSI_MODE_SENSE_6, 0x08, 0x0a, 0, 255);
	struct command *select = COMMAND(&c.w, SCSI_MODE_SELECT_6, 0x10, 0, 0, sizeof(control));
	struct command *command = copy_simply(&c, 0, 1, 10, 0, 0);
	const uint8_t *sense = command->task.sense;

	page->in_len = 255;
	command_run(page);
	memcpy(control + 4, page->in + 4, 12);
	control[4] &= 0x3f;
	control[6] |= 0x04; /* D_SENSE */
	command_free(page);
	select->out = control;
	select->out_len = sizeof(control);
	wants_good(select);
	disk_fail(&c.other, BDEV_IO_WRITE, EIO, 1);
	command_run(command);
	assert_int_equal(command_sense(command), 0x0a0d01);
	assert_int_equal(sense[8], 0x01); /* the segment */
	assert_int_equal(sense[9], 0x0a);
	assert_int_equal(be64_get(sense + 12), 0);
	assert_int_equal(sense[20], 0x0c);
	assert_int_equal(sense[21], 2 + 18);
	assert_int_equal(sense[22], 2); /* of the destination */
	assert_int_equal(sense[23], 0x02);
	assert_int_equal((sense[24 + 2] & 15) << 16 | be16_get(sense + 24 + 12), 0x030c00);
	command_free(command);
}

/* ---- results --------------------------------------------------------------------------------- */

static void wants_status(uint8_t list_id, uint8_t status, uint16_t segments, uint32_t bytes)
{
	struct command *command = copy_results(&c, COPY_STATUS, list_id, 64);

	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(command->task.transferred, 12);
	assert_int_equal(be32_get(command->in), 8);
	assert_int_equal(command->in[4], status);
	assert_int_equal(be16_get(command->in + 5), segments);
	assert_int_equal(command->in[7], 0); /* bytes */
	assert_int_equal(be32_get(command->in + 8), bytes);
	command_free(command);
}

static void wants_nothing(uint8_t action, uint8_t list_id)
{
	wants_bad_cdb(copy_results(&c, action, list_id, 64), 2, -1);
}

static void the_status_of_a_copy_is_told_once(void **state)
{
	wants_nothing(COPY_STATUS, 5);
	begin(5, 0);
	copy_list_segment(&list, 0, 0, 1, 10, 0, 0);
	copy_list_segment(&list, 0, 0, 1, 1000, 0, 0);
	wants_good(command_of_list());
	wants_nothing(COPY_STATUS, 6);
	wants_nothing(FAILED_DETAILS, 5);
	wants_status(5, 1, 2, 1010 * BLOCK);
	wants_nothing(COPY_STATUS, 5);
}

static void results_that_may_be_discarded_are(void **state)
{
	one_segment(5, 2);
	wants_good(command_of_list());
	wants_nothing(COPY_STATUS, 5);
}

static void the_details_of_a_failure_are_told_once(void **state)
{
	struct command *command;

	begin(9, 2);
	copy_list_segment(&list, 0, 0, 1, 10, 0, 0);
	copy_list_segment(&list, 0, 0, 1, 10, BLOCKS, 0);
	wants_copy_aborted(command_of_list(), 0, 1, true, 12);
	wants_status(9, 2, 1, 10 * BLOCK);
	wants_nothing(COPY_STATUS, 9);
	command = copy_results(&c, FAILED_DETAILS, 9, 200);
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(command->task.transferred, 60 + 18);
	assert_int_equal(be32_get(command->in), 56 + 18);
	assert_int_equal(command->in[56], 0x02);
	assert_int_equal(be16_get(command->in + 58), 18);
	assert_int_equal(command->in[60 + 2], 0x0a);
	assert_int_equal(be16_get(command->in + 60 + 10), 1);
	command_free(command);
	wants_nothing(FAILED_DETAILS, 9);
}

static struct command *hold_one(uint8_t list_id)
{
	struct command *command;

	one_segment(list_id, 0);
	copy_list_segment(&list, 0, 0, 1, 10, 0, 0);
	command = command_of_list();
	atomic_store(&c.other.hold, true);
	command_begin(command);
	disk_wait_held(&c.w.world, &c.other, 1);
	disk_release_one(&c.w.world, &c.other, c.w.world.data[0]);
	disk_wait_held(&c.w.world, &c.other, 1);
	return command;
}

static void release_one(struct command *command, uint32_t sense)
{
	disk_release(&c.w.world, &c.other, c.w.world.data[0]);
	command_finish(command);
	assert_int_equal(command_sense(command), sense);
	command_free(command);
}

static void a_copy_that_runs_tells_how_far_it_is(void **state)
{
	struct command *command = hold_one(5);

	wants_status(5, 0, 1, 10 * BLOCK);
	wants_status(5, 0, 1, 10 * BLOCK);
	wants_nothing(FAILED_DETAILS, 5);
	one_segment(5, 0); /* is in use */
	wants_sense(command_of_list(), 0x050016);
	release_one(command, 0);
	wants_status(5, 1, 2, 20 * BLOCK);
	one_segment(5, 0);
	wants_good(command_of_list());
	one_segment(5, 0); /* takes the place of the one before */
	wants_good(command_of_list());
	wants_status(5, 1, 1, 10 * BLOCK);
}

struct reset_call {
	struct world_call call;
	struct scsi_abort abort;
};

static void reset_run(struct world_call *call)
{
	scsi_lun_state_reset(c.w.attachment->lun);
	world_done(call, 0);
}

static void a_reset_forgets_results(void **state)
{
	struct world_call call = {.run = reset_run};
	struct command *command;

	one_segment(4, 0);
	wants_good(command_of_list());
	command = hold_one(5);
	assert_int_equal(world_run(&c.w.world, c.w.world.control, &call), 0);
	wants_nothing(COPY_STATUS, 4);
	wants_nothing(COPY_STATUS, 5);
	release_one(command, 0);
	wants_nothing(COPY_STATUS, 5);
}

static void abort_run(struct world_call *call)
{
	struct reset_call *op = container_of(call, struct reset_call, call);

	op->abort.every_tag = true;
	op->abort.response = SCSI_RESPONSE_ABORTED;
	scsi_abort_run(&op->abort, c.w.attachment, world_done, call);
}

static void an_aborted_copy_has_failed(void **state)
{
	struct reset_call op = {.call.run = abort_run};
	struct command *command = hold_one(5);

	world_begin(&c.w.world, c.w.world.control, &op.call);
	world_settle(&c.w.world);
	disk_release(&c.w.world, &c.other, c.w.world.data[0]);
	assert_int_equal(world_finish(&c.w.world, &op.call), 0);
	command_finish(command);
	assert_int_equal(command->task.response, SCSI_RESPONSE_ABORTED);
	command_free(command);
	wants_status(5, 2, 1, 10 * BLOCK);
}

static void only_so_many_results_are_kept(void **state)
{
	for (unsigned i = 0; i < 40; i++) {
		one_segment((uint8_t)i, 0);
		wants_good(command_of_list());
	}
	wants_nothing(COPY_STATUS, 7);
	for (unsigned i = 8; i < 40; i++)
		wants_status((uint8_t)i, 1, 1, 10 * BLOCK);
}

static void operating_parameters_are_those_of_the_page(void **state)
{
	struct command *command = copy_results(&c, OPERATING, 0, 100);
	struct command *page = COMMAND(&c.w, SCSI_INQUIRY, 1, 0x8f, 0, 255);
	const uint8_t *at, *end;
	unsigned found = 0;

	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_int_equal(command->task.transferred, 46);
	assert_int_equal(be32_get(command->in), 42);
	assert_int_equal(command->in[4], 1);
	assert_int_equal(be16_get(command->in + 8), 16);
	assert_int_equal(be16_get(command->in + 10), 16);
	assert_int_equal(be32_get(command->in + 12), 16 * (32 + 28));
	assert_int_equal(be32_get(command->in + 16), 64 << 20);
	assert_memory_equal(command->in + 43, ((const uint8_t[]){2, 0x02, 0xe4}), 3);
	page->in_len = 255;
	command_run(page);
	end = page->in + page->task.transferred;
	for (at = page->in + 4; at < end; at += 4 + be16_get(at + 2)) {
		assert_int_equal(be16_get(at + 2) % 4, 0);
		if (be16_get(at) == 0x0004)
			assert_memory_equal(at + 8, command->in + 8, 8);
		if (be16_get(at) == 0x0008)
			assert_memory_equal(at + 4, command->in + 43, 3);
		if (be16_get(at) == 0x8001)
			assert_memory_equal(at + 12, command->in + 16, 4);
		found++;
	}
	assert_ptr_equal(at, end);
	assert_int_equal(found, 5);
	command_free(command);
	command_free(page);
}

static void there_are_no_other_service_actions(void **state)
{
	for (uint8_t action = 0; action < 32; action++) {
		if (action != 0)
			wants_bad_cdb(COMMAND(&c.w, SCSI_EXTENDED_COPY, action), 1, 4);
		if (action != COPY_STATUS && action != OPERATING && action != FAILED_DETAILS)
			wants_bad_cdb(copy_results(&c, action, 0, 64), 1, 4);
	}
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(list_identifiers_obey_their_usage),
		TEST(lists_that_end_too_early_have_the_wrong_length),
		TEST(a_list_that_was_not_sent_is_an_overrun),
		TEST(there_is_no_inline_data),
		TEST(there_are_no_more_descriptors_than_is_told),
		TEST(descriptors_are_of_the_types_that_are_told),
		TEST(descriptors_have_the_lengths_of_their_types),
		TEST(an_index_is_of_a_descriptor_that_is_there),
		TEST(names_that_are_of_no_unit_here_are_not_reachable),
		TEST(names_with_digits_that_are_none_are_not_reachable),
		TEST(without_other_units_only_the_addressed_one_is_reachable),
		TEST(devices_are_disks_of_the_block_length_that_is_said),
		TEST(ranges_end_where_their_disks_do),
		TEST(segments_are_no_longer_than_is_told),
		TEST(blocks_that_do_not_fit_the_buffer_are_not_reachable),
		TEST(what_a_device_refuses_is_told_with_its_own_words),
		TEST(a_destination_that_is_protected_is_not_written),
		TEST(units_that_are_stopped_take_no_part),
		TEST(reservations_hold_against_copies),
		TEST(in_descriptor_format_the_words_have_a_descriptor),
		TEST(the_status_of_a_copy_is_told_once),
		TEST(results_that_may_be_discarded_are),
		TEST(the_details_of_a_failure_are_told_once),
		TEST(a_copy_that_runs_tells_how_far_it_is),
		TEST(a_reset_forgets_results),
		TEST(an_aborted_copy_has_failed),
		TEST(only_so_many_results_are_kept),
		TEST(operating_parameters_are_those_of_the_page),
		TEST(there_are_no_other_service_actions),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
