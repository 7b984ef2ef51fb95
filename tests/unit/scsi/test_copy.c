/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EXTENDED COPY: what it leaves on the disks, and what becomes of it while others act.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "copies.h"

#define BLOCK  512
#define BLOCKS 4096

static struct copies c;
static struct copy_list list;

static void start(uint32_t other_block)
{
	struct disk_options other = SMALL_DISK;

	other.name = "other";
	other.uuid = "5157ce00-0123-4567-89ab-cdef89abcdef";
	other.block_size = other_block;
	other.blocks = BLOCKS * BLOCK / other_block;
	copies_start(&c, &SMALL_DISK, &other);
	fill_pattern(c.w.disk.bytes, BLOCKS * BLOCK, 3);
	fill_pattern(c.other.bytes, BLOCKS * BLOCK, 4);
}

static int setup(void **state)
{
	start(BLOCK);
	return 0;
}

static int setup_coarse(void **state)
{
	start(4096);
	return 0;
}

static int teardown(void **state)
{
	copies_end(&c);
	return 0;
}

/* What the other disk should be. */
static uint8_t model[BLOCKS * BLOCK];

static void model_take(void)
{
	memcpy(model, c.other.bytes, sizeof(model));
}

static void assert_model(void)
{
	assert_memory_equal(c.other.bytes, model, sizeof(model));
}

/* ---- blocks of one size ---------------------------------------------------------------------- */

static void blocks_are_copied_from_unit_to_unit(void **state)
{
	static const uint16_t counts[] = {1, 3, 247, 248, 249, 1000, 4000};

	for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
		struct command *command = copy_simply(&c, 0, 1, counts[i], 17, 90);

		model_take();
		memcpy(model + 90 * BLOCK, c.w.disk.bytes + 17 * BLOCK, counts[i] * BLOCK);
		command_run(command);
		assert_int_equal(command_sense(command), 0);
		assert_int_equal(command->task.transferred, 16 + 2 * 32 + 28);
		command_free(command);
		assert_model();
		fill_pattern(c.w.disk.bytes, BLOCKS * BLOCK, 10 + i);
	}
}

static void the_addressed_unit_need_not_be_one_of_them(void **state)
{
	struct command *command = copy_simply(&c, 1, 1, 100, 0, 1000);

	model_take();
	memcpy(model + 1000 * BLOCK, model, 100 * BLOCK);
	wants_good(command);
	assert_model();
}

static void ranges_that_overlap_are_copied_upwards(void **state)
{
	model_take();
	memmove(model + 10 * BLOCK, model + 11 * BLOCK, 700 * BLOCK);
	wants_good(copy_simply(&c, 1, 1, 700, 11, 10));
	assert_model();
}

static void units_are_found_by_each_of_their_names(void **state)
{
	struct command *page = COMMAND(&c.w, SCSI_INQUIRY, 1, 0x83, 0, 255);
	unsigned used = 0;

	page->channel = c.channel;
	page->in_len = 255;
	command_run(page);
	for (unsigned at = 4; at < page->task.transferred; at += 4 + page->in[at + 3]) {
		const uint8_t *designator = page->in + at;
		uint8_t *cscd;

		if (designator[1] & 0x30 || designator[3] > 20)
			continue;
		copy_list_begin(&list, 0, 3);
		cscd = copy_list_disk(&list, c.attachment, false);
		memset(cscd + 4, 0, 24);
		memcpy(cscd + 4, designator, 4 + designator[3]);
		copy_list_segment(&list, 0, 0xffff, 0, 5, used, 50);
		model_take();
		memcpy(model + 50 * BLOCK, c.w.disk.bytes + used * BLOCK, 5 * BLOCK);
		wants_good(copy_command(&c, &list));
		assert_model();
		used++;
	}
	assert_int_equal(used, 3); /* name, EUI-64, NAA */
	command_free(page);
}

static void segments_are_copied_one_after_the_other(void **state)
{
	copy_list_begin(&list, 0, 3);
	copy_list_disk(&list, c.w.attachment, false);
	copy_list_disk(&list, c.attachment, false);
	for (unsigned i = 0; i < 16; i++)
		copy_list_segment(&list, 0, i % 2, 1, (uint16_t)(i * 20), i * 7, 100 + i * 30);
	model_take();
	for (unsigned i = 0; i < 16; i++)
		memmove(model + (100 + i * 30) * BLOCK,
			(i % 2 ? model : c.w.disk.bytes) + i * 7 * BLOCK, i * 20 * BLOCK);
	wants_good(copy_command(&c, &list));
	assert_model();
}

static void no_list_and_no_segment_are_nothing_to_do(void **state)
{
	struct command *command = COMMAND(&c.w, SCSI_EXTENDED_COPY);

	wants_good(command);
	copy_list_begin(&list, 0, 3);
	wants_good(copy_command(&c, &list));
	copy_list_disk(&list, c.attachment, false);
	wants_good(copy_command(&c, &list));
	wants_good(copy_simply(&c, 0, 1, 0, 0, 0));
	assert_int_equal(c.other.counts[BDEV_IO_WRITE], 0);
}

/* ---- blocks of two sizes --------------------------------------------------------------------- */

#define SHIFT 8 /* blocks of the first disk in one of the other */

static void blocks_of_two_sizes_are_copied_both_ways(void **state)
{
	uint8_t first[BLOCKS * BLOCK];

	model_take();
	memcpy(model + 2 * 4096, c.w.disk.bytes + 3 * BLOCK, 320 * BLOCK);
	wants_good(copy_simply(&c, 0, 1, 320, 3, 2));
	assert_model();
	memcpy(first, c.w.disk.bytes, sizeof(first));
	memcpy(first + 5 * BLOCK, model + 7 * 4096, 40 * 4096);
	wants_good(copy_simply(&c, 1, 0, 40, 7, 5));
	assert_memory_equal(c.w.disk.bytes, first, sizeof(first));
}

static void dc_counts_blocks_of_the_destination(void **state)
{
	copy_list_begin(&list, 0, 3);
	copy_list_disk(&list, c.w.attachment, false);
	copy_list_disk(&list, c.attachment, false);
	copy_list_segment(&list, COPY_FLAG_DC, 0, 1, 50, 9, 1);
	model_take();
	memcpy(model + 4096, c.w.disk.bytes + 9 * BLOCK, 50 * 4096);
	wants_good(copy_command(&c, &list));
	assert_model();
}

/* What becomes of a residue: SPC-4 table 118, for both kinds. */
enum residue { PADDED, DROPPED, KEPT, REFUSED };

static const struct {
	bool source_pad, destination_pad, cat;
	enum residue of_source; /* DC 1 */
	enum residue of_destination; /* DC 0 */
} residues[] = {
	{false, false, false, REFUSED, REFUSED},
	{false, false, true, KEPT, KEPT},
	{false, true, false, KEPT, PADDED},
	{false, true, true, KEPT, KEPT},
	{true, false, false, DROPPED, KEPT},
	{true, false, true, KEPT, KEPT},
	{true, true, false, DROPPED, PADDED},
	{true, true, true, KEPT, KEPT},
};

static void residue_list(unsigned row, bool more)
{
	copy_list_begin(&list, 0, 3);
	copy_list_disk(&list, c.w.attachment, residues[row].source_pad);
	copy_list_disk(&list, c.attachment, residues[row].destination_pad);
	copy_list_segment(&list, residues[row].cat, 0, 1, SHIFT + 3, 5, 1);
	if (more)
		copy_list_segment(&list, 0, 0, 1, SHIFT - 3, 100, 2);
}

static void residues_of_the_destination_go_where_pad_and_cat_say(void **state)
{
	for (unsigned row = 0; row < ARRAY_SIZE(residues); row++) {
		enum residue residue = residues[row].of_destination;

		residue_list(row, false);
		model_take();
		memcpy(model + 4096, c.w.disk.bytes + 5 * BLOCK, 4096);
		if (residue == PADDED) {
			memset(model + 2 * 4096, 0, 4096);
			memcpy(model + 2 * 4096, c.w.disk.bytes + (5 + SHIFT) * BLOCK, 3 * BLOCK);
			wants_good(copy_command(&c, &list));
		} else { /* there is no next segment */
			wants_copy_aborted(copy_command(&c, &list), 0x260a, 0, true, 10);
		}
		assert_model();
		if (residue != KEPT)
			continue;
		residue_list(row, true);
		memcpy(model + 2 * 4096, c.w.disk.bytes + (5 + SHIFT) * BLOCK, 3 * BLOCK);
		memcpy(model + 2 * 4096 + 3 * BLOCK, c.w.disk.bytes + 100 * BLOCK, 5 * BLOCK);
		wants_good(copy_command(&c, &list));
		assert_model();
	}
}

/* Three of the first disk's blocks out of one of the other's; then, where they are kept, the other
 * five and as many more as make four. */
static void residue_list_of_source(unsigned row, bool more)
{
	copy_list_begin(&list, 0, 3);
	copy_list_disk(&list, c.attachment, residues[row].source_pad);
	copy_list_disk(&list, c.w.attachment, residues[row].destination_pad);
	copy_list_segment(&list, residues[row].cat | COPY_FLAG_DC, 0, 1, 3, 7, 50);
	if (more)
		copy_list_segment(&list, COPY_FLAG_DC, 0, 1, 5, 100, 60);
}

static void residues_of_the_source_go_where_pad_and_cat_say(void **state)
{
	for (unsigned row = 0; row < ARRAY_SIZE(residues); row++) {
		enum residue residue = residues[row].of_source;

		residue_list_of_source(row, false);
		if (residue == DROPPED)
			wants_good(copy_command(&c, &list));
		else
			wants_copy_aborted(copy_command(&c, &list), 0x260a, 0, true, 10);
		assert_memory_equal(
			c.w.disk.bytes + 50 * BLOCK, c.other.bytes + 7 * 4096, 3 * BLOCK);
		if (residue != KEPT)
			continue;
		residue_list_of_source(row, true);
		wants_good(copy_command(&c, &list));
		assert_memory_equal(c.w.disk.bytes + 60 * BLOCK,
			c.other.bytes + 7 * 4096 + 3 * BLOCK, 5 * BLOCK);
		fill_pattern(c.w.disk.bytes, BLOCKS * BLOCK, row);
	}
}

/* ---- while others act ------------------------------------------------------------------------ */

static void attentions_are_left_for_the_initiator(void **state)
{
	struct command *ready = COMMAND(&c.w, SCSI_TEST_UNIT_READY);

	scsi_attention_raise(c.attachment, SCSI_UA_CAPACITY_CHANGED);
	wants_good(copy_simply(&c, 0, 1, 10, 0, 0));
	ready->channel = c.channel;
	wants_sense(ready, 0x062a09);
}

static void an_ordered_copy_does_not_wait_for_itself(void **state)
{
	struct command *command = copy_simply(&c, 0, 0, 10, 0, 100);

	command->attribute = SCSI_TASK_ORDERED;
	wants_good(command);
	assert_memory_equal(c.w.disk.bytes, c.w.disk.bytes + 100 * BLOCK, 10 * BLOCK);
}

struct abort_call {
	struct world_call call;
	struct scsi_abort abort;
	struct scsi_attachment *attachment;
};

static void abort_run(struct world_call *call)
{
	struct abort_call *op = container_of(call, struct abort_call, call);

	op->abort.every_tag = true;
	op->abort.response = SCSI_RESPONSE_RESET;
	scsi_abort_run(&op->abort, op->attachment, world_done, call);
}

static void an_aborted_copy_ends_when_the_disk_gives_its_buffer_up(void **state)
{
	struct abort_call op = {.call.run = abort_run, .attachment = c.w.attachment};
	struct command *command = copy_simply(&c, 0, 1, 1000, 0, 0);

	atomic_store(&c.other.hold, true);
	command_begin(command);
	disk_wait_held(&c.w.world, &c.other, 1);
	world_begin(&c.w.world, c.w.world.control, &op.call);
	world_settle(&c.w.world);
	assert_false(command_has_ended(command));
	assert_false(atomic_load(&op.call.ended));
	disk_release(&c.w.world, &c.other, c.w.world.data[0]);
	command_finish(command);
	assert_int_equal(world_finish(&c.w.world, &op.call), 0);
	assert_int_equal(command->task.response, SCSI_RESPONSE_RESET);
	assert_int_equal(c.other.counts[BDEV_IO_WRITE], 1);
	command_free(command);
}

static void a_reset_of_the_destination_ends_the_copy_with_an_error(void **state)
{
	struct abort_call op = {.call.run = abort_run, .attachment = c.attachment};
	struct command *command = copy_simply(&c, 0, 1, 1000, 0, 0);

	atomic_store(&c.other.hold, true);
	command_begin(command);
	disk_wait_held(&c.w.world, &c.other, 1);
	world_begin(&c.w.world, c.w.world.control, &op.call);
	world_settle(&c.w.world);
	disk_release(&c.w.world, &c.other, c.w.world.data[0]);
	assert_int_equal(world_finish(&c.w.world, &op.call), 0);
	command_finish(command);
	assert_int_equal(command_sense(command), 0x0a0d01);
	command_free(command);
}

static void a_unit_that_goes_is_no_more_reachable(void **state)
{
	struct command *command = copy_simply(&c, 0, 1, 1000, 0, 0);

	atomic_store(&c.other.hold, true);
	command_begin(command);
	disk_wait_held(&c.w.world, &c.other, 1);
	c.targets[2] = NULL;
	disk_release(&c.w.world, &c.other, c.w.world.data[0]);
	command_finish(command);
	assert_int_equal(command_sense(command), 0x0a0d02);
	assert_int_equal(be16_get(command->task.sense + 16), 6);
	assert_int_equal(c.other.counts[BDEV_IO_WRITE], 1);
	command_free(command);
	c.targets[2] = c.view;
}

static void a_copy_of_a_daemon_before_is_not_repeated(void **state)
{
	struct command *command = copy_simply(&c, 0, 1, 10, 0, 0);

	command->recovered = true;
	wants_sense(command, 0x062900);
	assert_int_equal(c.other.counts[BDEV_IO_WRITE], 0);
}

int main(int argc, char **argv)
{
#define TEST(name)        cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_COARSE(name) cmocka_unit_test_setup_teardown(name, setup_coarse, teardown)
	const struct CMUnitTest tests[] = {
		TEST(blocks_are_copied_from_unit_to_unit),
		TEST(the_addressed_unit_need_not_be_one_of_them),
		TEST(ranges_that_overlap_are_copied_upwards),
		TEST(units_are_found_by_each_of_their_names),
		TEST(segments_are_copied_one_after_the_other),
		TEST(no_list_and_no_segment_are_nothing_to_do),
		TEST_COARSE(blocks_of_two_sizes_are_copied_both_ways),
		TEST_COARSE(dc_counts_blocks_of_the_destination),
		TEST_COARSE(residues_of_the_destination_go_where_pad_and_cat_say),
		TEST_COARSE(residues_of_the_source_go_where_pad_and_cat_say),
		TEST(attentions_are_left_for_the_initiator),
		TEST(an_ordered_copy_does_not_wait_for_itself),
		TEST(an_aborted_copy_ends_when_the_disk_gives_its_buffer_up),
		TEST(a_reset_of_the_destination_ends_the_copy_with_an_error),
		TEST(a_unit_that_goes_is_no_more_reachable),
		TEST(a_copy_of_a_daemon_before_is_not_repeated),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
