/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Task attributes: what ORDERED and HEAD OF QUEUE commands wait for, and what waits for them; and
 * task management of commands that have not begun.
 */
#include <stdlib.h>
#include <string.h>

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

static struct command *read_begin(uint8_t attribute, uint64_t tag)
{
	struct command *command = COMMAND(&w, SCSI_READ_10, 0, 0, 0, 0, 1, 0, 0, 1);

	command->in_len = 512;
	command->attribute = attribute;
	command->tag = tag;
	command_begin(command);
	return command;
}

static void settle(void)
{
	host_sleep(&w.world.host, 5 * MSEC_NS);
}

/* The disk is given so many, and no more. */
static void wants_held(unsigned count)
{
	disk_wait_held(&w.world, &w.disk, count);
	settle();
	assert_int_equal(w.disk.held_count, count);
}

/* Ends what the disk has, which holds what comes next. */
static void release_and_hold(void)
{
	disk_release(&w.world, &w.disk, w.world.data[0]);
	settle();
}

static void finish(struct command *command, enum scsi_response response)
{
	command_finish(command);
	assert_int_equal(command->task.response, response);
	assert_int_equal(command_sense(command), 0);
	command_free(command);
}

static void look_for_order(void *arg)
{
	*(bool *)arg = w.channel->watched;
}

/* Nothing more is paid for it. */
static void wants_no_order(void)
{
	bool kept;

	host_call(&w.world.host, w.world.data[0], look_for_order, &kept);
	assert_false(kept);
}

static void an_ordered_command_waits_for_all_before_and_all_after_wait_for_it(void **state)
{
	struct command *commands[6];
	static const uint8_t attributes[] = {SCSI_TASK_SIMPLE, SCSI_TASK_SIMPLE, SCSI_TASK_ORDERED,
		SCSI_TASK_SIMPLE, SCSI_TASK_SIMPLE, SCSI_TASK_ORDERED};

	atomic_store(&w.disk.hold, true);
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		commands[i] = read_begin(attributes[i], i);
	wants_held(2);
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		assert_false(command_has_ended(commands[i]));
	release_and_hold();
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		finish(commands[i], SCSI_RESPONSE_OK);
	assert_int_equal(w.disk.counts[BDEV_IO_READ], 6);
	wants_no_order();
}

/* The disk holds one at a time of those that wait for one another. */
static void commands_begin_only_when_those_before_have_ended(void **state)
{
	struct command *simple, *ordered, *last;

	atomic_store(&w.disk.hold, true);
	ordered = read_begin(SCSI_TASK_ORDERED, 1); /* the first waits for nothing */
	wants_held(1);
	simple = read_begin(SCSI_TASK_SIMPLE, 2);
	last = read_begin(SCSI_TASK_ORDERED, 3);
	wants_held(1);
	disk_release_one(&w.world, &w.disk, w.world.data[0]);
	finish(ordered, SCSI_RESPONSE_OK);
	wants_held(1);
	assert_false(command_has_ended(simple));
	disk_release_one(&w.world, &w.disk, w.world.data[0]);
	finish(simple, SCSI_RESPONSE_OK);
	wants_held(1);
	assert_false(command_has_ended(last));
	release_and_hold();
	finish(last, SCSI_RESPONSE_OK);
	wants_no_order();
}

static void a_head_of_queue_command_waits_for_nothing(void **state)
{
	struct command *simple, *ordered, *head;

	atomic_store(&w.disk.hold, true);
	simple = read_begin(SCSI_TASK_SIMPLE, 1);
	ordered = read_begin(SCSI_TASK_ORDERED, 2);
	head = read_begin(SCSI_TASK_HEAD, 3);
	wants_held(2); /* the first and the last */
	disk_release_one(&w.world, &w.disk, w.world.data[0]);
	finish(simple, SCSI_RESPONSE_OK);
	wants_held(1);
	assert_false(command_has_ended(ordered)); /* it waits for the head of queue too */
	release_and_hold();
	finish(head, SCSI_RESPONSE_OK);
	finish(ordered, SCSI_RESPONSE_OK);
	head = read_begin(SCSI_TASK_HEAD, 4);
	finish(head, SCSI_RESPONSE_OK);
	wants_no_order();
}

static void commands_that_end_at_once_keep_the_order_too(void **state)
{
	struct command *simple, *ordered, *after;

	atomic_store(&w.disk.hold, true);
	simple = read_begin(SCSI_TASK_SIMPLE, 1);
	ordered = COMMAND(&w, SCSI_TEST_UNIT_READY);
	ordered->attribute = SCSI_TASK_ORDERED;
	command_begin(ordered);
	after = COMMAND(&w, SCSI_TEST_UNIT_READY);
	command_begin(after);
	wants_held(1);
	assert_false(command_has_ended(ordered) || command_has_ended(after));
	release_and_hold();
	finish(simple, SCSI_RESPONSE_OK);
	finish(ordered, SCSI_RESPONSE_OK);
	finish(after, SCSI_RESPONSE_OK);
}

struct abort_call {
	struct world_call call;
	struct scsi_abort abort;
};

static void abort_run(struct world_call *call)
{
	scsi_abort_run(&container_of(call, struct abort_call, call)->abort, w.attachment,
		world_done, call);
}

static void what_waits_is_aborted_without_having_begun(void **state)
{
	struct abort_call abort = {
		.call.run = abort_run, .abort = {.tag = 2, .response = SCSI_RESPONSE_ABORTED}};
	struct command *first, *ordered, *after;

	atomic_store(&w.disk.hold, true);
	first = read_begin(SCSI_TASK_SIMPLE, 1);
	ordered = read_begin(SCSI_TASK_ORDERED, 2);
	after = read_begin(SCSI_TASK_SIMPLE, 3);
	wants_held(1);
	assert_int_equal(world_run(&w.world, w.world.control, &abort.call), 0);
	assert_int_equal(abort.abort.found, 1);
	assert_true(command_has_ended(ordered)); /* while the disk has the one before it */
	finish(ordered, SCSI_RESPONSE_ABORTED);
	wants_held(2); /* nothing is in the way of the last any more */
	release_and_hold();
	finish(first, SCSI_RESPONSE_OK);
	finish(after, SCSI_RESPONSE_OK);
	assert_int_equal(w.disk.counts[BDEV_IO_READ], 2);
	wants_no_order();
}

static void a_whole_set_of_waiting_commands_is_aborted(void **state)
{
	struct abort_call abort = {.call.run = abort_run,
		.abort = {.every_tag = true, .response = SCSI_RESPONSE_RESET}};
	struct command *commands[8];

	atomic_store(&w.disk.hold, true);
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		commands[i] = read_begin(i % 2 ? SCSI_TASK_ORDERED : SCSI_TASK_SIMPLE, i);
	wants_held(1);
	world_begin(&w.world, w.world.control, &abort.call);
	for (unsigned i = 1; i < ARRAY_SIZE(commands); i++)
		finish(commands[i], SCSI_RESPONSE_RESET);
	assert_false(command_has_ended(commands[0]));
	release_and_hold();
	finish(commands[0], SCSI_RESPONSE_RESET);
	assert_int_equal(world_finish(&w.world, &abort.call), 0);
	assert_int_equal(abort.abort.found, 8);
	assert_int_equal(w.disk.counts[BDEV_IO_READ], 1);
	wants_no_order();
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_ordered_command_waits_for_all_before_and_all_after_wait_for_it),
		TEST(commands_begin_only_when_those_before_have_ended),
		TEST(a_head_of_queue_command_waits_for_nothing),
		TEST(commands_that_end_at_once_keep_the_order_too),
		TEST(what_waits_is_aborted_without_having_begun),
		TEST(a_whole_set_of_waiting_commands_is_aborted),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
