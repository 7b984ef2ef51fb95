/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Task management: what is aborted has ended before the abort is done, what the disk holds is
 * waited for, nothing else is touched; and channels close only when their tasks have ended.
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

static struct command *read_tagged(uint64_t tag, struct scsi_lun_channel *channel)
{
	struct command *command = COMMAND(&w, SCSI_READ_10, 0, 0, 0, 0, 1, 0, 0, 1);

	command->in_len = 512;
	command->tag = tag;
	command->channel = channel;
	return command;
}

struct abort_call {
	struct world_call call;
	struct scsi_abort abort;
	struct scsi_attachment *attachment;
};

static void abort_run(struct world_call *call)
{
	struct abort_call *op = container_of(call, struct abort_call, call);

	scsi_abort_run(&op->abort, op->attachment, world_done, call);
}

static void abort_begin(struct abort_call *op)
{
	op->call.run = abort_run;
	if (!op->attachment)
		op->attachment = w.attachment;
	op->abort.response = SCSI_RESPONSE_ABORTED;
	world_begin(&w.world, w.world.control, &op->call);
}

static unsigned abort_finish(struct abort_call *op)
{
	assert_int_equal(world_finish(&w.world, &op->call), 0);
	return op->abort.found;
}

static bool abort_has_ended(const struct abort_call *op)
{
	return atomic_load(&op->call.ended);
}

static void finish_with(struct command *command, enum scsi_response response)
{
	command_finish(command);
	assert_int_equal(command->task.response, response);
	command_free(command);
}

static void settle(void)
{
	host_sleep(&w.world.host, 5 * MSEC_NS);
}

static void an_abort_waits_for_what_the_disk_holds(void **state)
{
	struct command *one = read_tagged(1, NULL), *two = read_tagged(2, NULL);
	struct abort_call abort = {.abort.tag = 2};

	atomic_store(&w.disk.hold, true);
	command_begin(one);
	command_begin(two);
	disk_wait_held(&w.world, &w.disk, 2);
	abort_begin(&abort);
	settle();
	assert_false(abort_has_ended(&abort));
	assert_false(command_has_ended(two));
	disk_release(&w.world, &w.disk, w.world.data[0]);
	assert_int_equal(abort_finish(&abort), 1);
	assert_true(command_has_ended(two)); /* before the abort */
	finish_with(one, SCSI_RESPONSE_OK);
	finish_with(two, SCSI_RESPONSE_ABORTED);
}

static void all_tasks_of_a_repeated_tag_are_aborted(void **state)
{
	struct command *commands[3];
	struct abort_call abort = {.abort.tag = 7};

	atomic_store(&w.disk.hold, true);
	for (unsigned i = 0; i < 3; i++) {
		commands[i] = read_tagged(7, NULL);
		command_begin(commands[i]);
	}
	disk_wait_held(&w.world, &w.disk, 3);
	abort_begin(&abort);
	settle();
	disk_release(&w.world, &w.disk, w.world.data[0]);
	assert_int_equal(abort_finish(&abort), 3);
	for (unsigned i = 0; i < 3; i++)
		finish_with(commands[i], SCSI_RESPONSE_ABORTED);
}

static void what_comes_after_an_abort_is_not_its_business(void **state)
{
	struct command *before = read_tagged(1, NULL), *after = read_tagged(1, NULL);
	struct abort_call abort = {.abort.every_tag = true}, again = {.abort.tag = 1};

	atomic_store(&w.disk.hold, true);
	command_begin(before);
	disk_wait_held(&w.world, &w.disk, 1);
	abort_begin(&abort);
	settle();
	command_begin(after);
	disk_wait_held(&w.world, &w.disk, 2);
	abort_begin(&again); /* two aborts wait for the first task */
	settle();
	assert_false(abort_has_ended(&again));
	disk_release(&w.world, &w.disk, w.world.data[0]);
	assert_int_equal(abort_finish(&abort), 1);
	assert_int_equal(abort_finish(&again), 2);
	finish_with(before, SCSI_RESPONSE_ABORTED);
	finish_with(after, SCSI_RESPONSE_ABORTED);
}

static void an_abort_of_nothing_finds_nothing(void **state)
{
	struct abort_call abort = {.abort.tag = 7};

	abort_begin(&abort);
	assert_int_equal(abort_finish(&abort), 0);
}

static void a_query_counts_and_ends_nothing(void **state)
{
	struct command *one = read_tagged(1, NULL);
	struct abort_call known = {.abort = {.query = true, .tag = 1}},
			  unknown = {.abort = {.query = true, .tag = 2}};

	atomic_store(&w.disk.hold, true);
	command_begin(one);
	disk_wait_held(&w.world, &w.disk, 1);
	abort_begin(&known);
	assert_int_equal(abort_finish(&known), 1);
	abort_begin(&unknown);
	assert_int_equal(abort_finish(&unknown), 0);
	disk_release(&w.world, &w.disk, w.world.data[0]);
	finish_with(one, SCSI_RESPONSE_OK);
}

static void other_initiators_are_concerned_only_when_asked_for(void **state)
{
	struct scsi_attachment *other = scsi_world_attach(&w, 3);
	struct scsi_lun_channel *channel = scsi_world_open(&w, other, 1);
	struct command *theirs = read_tagged(1, channel), *probe;
	struct abort_call own = {.abort.every_tag = true};
	struct abort_call all = {
		.abort = {.every_tag = true, .every_nexus = true, .tell_others = true}};

	atomic_store(&w.disk.hold, true);
	command_begin(theirs);
	disk_wait_held(&w.world, &w.disk, 1);
	abort_begin(&own);
	assert_int_equal(abort_finish(&own), 0);
	abort_begin(&all);
	settle();
	assert_false(abort_has_ended(&all));
	disk_release(&w.world, &w.disk, w.world.data[1]);
	assert_int_equal(abort_finish(&all), 1);
	finish_with(theirs, SCSI_RESPONSE_ABORTED);
	probe = COMMAND(&w, SCSI_TEST_UNIT_READY);
	probe->channel = channel;
	wants_sense(probe, 0x062f00);
	wants_good(COMMAND(&w, SCSI_TEST_UNIT_READY)); /* who asked is not told */
	scsi_world_close(&w, channel);
	scsi_world_detach(&w, other);
}

static void an_attachment_on_several_reactors_is_aborted_on_all(void **state)
{
	struct scsi_lun_channel *second = scsi_world_open(&w, w.attachment, 1);
	struct command *there = read_tagged(5, second);
	struct abort_call abort = {.abort.tag = 5};

	atomic_store(&w.disk.hold, true);
	command_begin(there);
	disk_wait_held(&w.world, &w.disk, 1);
	abort_begin(&abort);
	settle();
	assert_false(abort_has_ended(&abort));
	disk_release(&w.world, &w.disk, w.world.data[1]);
	assert_int_equal(abort_finish(&abort), 1);
	finish_with(there, SCSI_RESPONSE_ABORTED);
	scsi_world_close(&w, second);
}

static void a_command_of_several_steps_ends_at_the_next(void **state)
{
	struct command *verify = COMMAND(&w, SCSI_VERIFY_10, 0, 0, 0, 0, 0, 0, 0x10, 0);
	struct abort_call abort = {.abort.every_tag = true};

	atomic_store(&w.disk.hold, true);
	command_begin(verify);
	disk_wait_held(&w.world, &w.disk, 1);
	abort_begin(&abort);
	settle();
	disk_release(&w.world, &w.disk, w.world.data[0]);
	assert_int_equal(abort_finish(&abort), 1);
	finish_with(verify, SCSI_RESPONSE_ABORTED);
	assert_int_equal(w.disk.counts[BDEV_IO_READ], 1); /* of sixteen */
}

struct close_call {
	struct world_call call;
	struct scsi_lun_channel *channel;
};

static void close_run(struct world_call *call)
{
	scsi_channel_close(container_of(call, struct close_call, call)->channel, world_done, call);
}

static void a_channel_closes_when_its_tasks_have_ended_as_they_would(void **state)
{
	struct scsi_lun_channel *second = scsi_world_open(&w, w.attachment, 1);
	struct command *there = read_tagged(5, second);
	struct close_call op = {.call.run = close_run, .channel = second};

	atomic_store(&w.disk.hold, true);
	command_begin(there);
	disk_wait_held(&w.world, &w.disk, 1);
	world_begin(&w.world, w.world.control, &op.call);
	settle();
	assert_false(atomic_load(&op.call.ended));
	disk_release(&w.world, &w.disk, w.world.data[1]);
	assert_int_equal(world_finish(&w.world, &op.call), 0);
	finish_with(there, SCSI_RESPONSE_OK);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_abort_waits_for_what_the_disk_holds),
		TEST(all_tasks_of_a_repeated_tag_are_aborted),
		TEST(what_comes_after_an_abort_is_not_its_business),
		TEST(an_abort_of_nothing_finds_nothing),
		TEST(a_query_counts_and_ends_nothing),
		TEST(other_initiators_are_concerned_only_when_asked_for),
		TEST(an_attachment_on_several_reactors_is_aborted_on_all),
		TEST(a_command_of_several_steps_ends_at_the_next),
		TEST(a_channel_closes_when_its_tasks_have_ended_as_they_would),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
