/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reservations: what each service action answers and refuses, who hears of it, what it waits for
 * and what it ends, and what does not outlive a reset. Random orders of them are in
 * test_reservation_model.c, what others may do meanwhile in test_conflicts.c.
 */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "nexuses.h"
#include "scsi/lun_reservation.h"

#define GOOD SCSI_STATUS_GOOD

static struct nexuses n;
static struct registrations found;

static int setup(void **state)
{
	nexuses_start(&n, NULL);
	return 0;
}

static int setup_durable(void **state)
{
	nexuses_start(&n, "state");
	return 0;
}

static int teardown(void **state)
{
	nexuses_end(&n);
	return 0;
}

static struct command *probe(unsigned nexus)
{
	return FROM(&n, nexus, SCSI_TEST_UNIT_READY);
}

/* ---- the parameter list and the CDB ---------------------------------------------------------- */

static struct command *cut_list(uint32_t said, uint32_t sent)
{
	static const uint8_t zeroes[64];
	struct command *command = FROM(&n, 0, SCSI_PERSISTENT_OUT, SCSI_SA_REGISTER);

	be32_put(command->cdb + 5, said);
	command->out = zeroes;
	command->out_len = sent;
	return command;
}

static void a_list_of_another_length_is_refused(void **state)
{
	struct command *command;

	wants_sense(cut_list(0, 0), 0x051a00);
	wants_sense(cut_list(23, 64), 0x051a00);
	wants_sense(cut_list(25, 64), 0x051a00);
	wants_bad_cdb(cut_list(1 << 20, 64), 5, -1);
	wants_response(cut_list(24, 23), SCSI_RESPONSE_OVERRUN);
	command = cut_list(24, 64); /* a longer buffer is none of our business */
	command_run(command);
	assert_int_equal(command->task.transferred, 24);
	command_free(command);
}

static void unknown_service_actions_are_refused(void **state)
{
	wants_bad_cdb(FROM(&n, 0, SCSI_PERSISTENT_OUT, 0x08), 1, 4);
	wants_bad_cdb(FROM(&n, 0, SCSI_PERSISTENT_IN, 0x04), 1, 4);
}

static void types_and_scopes_that_do_not_exist_are_refused(void **state)
{
	static const uint8_t bad[] = {0, 2, 4, 9, 15, 0x11, 0x21};

	registers(&n, 0, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		wants_bad_cdb(persistent_out(&n, 0, SCSI_SA_RESERVE, bad[i], 1, 0, 0), 2, -1);
	reserves(&n, 0, 1, SCSI_WRITE_EXCLUSIVE);
	registers(&n, 1, 2);
	wants_bad_cdb(persistent_out(&n, 1, SCSI_SA_PREEMPT, 2, 2, 1, 0), 2, -1);
	/* Only registrations: the type is not looked at. */
	registers(&n, 2, 3);
	wants_status(persistent_out(&n, 0, SCSI_SA_PREEMPT, 2, 1, 3, 0), GOOD);
}

static void what_names_other_initiators_is_checked_whole(void **state)
{
	const uint64_t ids[] = {WORLD_INITIATOR(1), WORLD_INITIATOR(2)};
	struct command *command = register_for(&n, 0, 9, 0, ids, 2);
	uint8_t list[80];

	memcpy(list, command->out, 76);
	command->out = list;
	be32_put(list + 24, 47); /* not the rest of the list */
	wants_sense(command, 0x051a00);

	command = register_for(&n, 0, 9, 0, ids, 2);
	memcpy(list, command->out, 76);
	command->out = list;
	list[52] = 0x05; /* another protocol's */
	wants_bad_parameters(command, 52);

	command = register_for(&n, 0, 9, 0, ids, 2);
	memcpy(list, command->out, 76);
	command->out = list;
	be32_put(command->cdb + 5, 28 + 30);
	be32_put(list + 24, 30); /* not a whole number of them */
	wants_bad_parameters(command, 24);

	/* Nothing behind the keys. */
	wants_sense(persistent_out(&n, 0, SCSI_SA_REGISTER, 0, 0, 9, LIST_SPEC_I_PT), 0x051a00);
	wants_bad_parameters(
		persistent_out(&n, 0, SCSI_SA_REGISTER_AND_IGNORE, 0, 0, 9, LIST_SPEC_I_PT), 20);
	read_full_status(&n, 0, &found);
	assert_int_equal(found.count, 0);
	assert_int_equal(found.generation, 0);
}

/* ---- REGISTER -------------------------------------------------------------------------------- */

static void registering_follows_the_table(void **state)
{
	wants_conflict(persistent_out(&n, 0, SCSI_SA_REGISTER, 0, 5, 1, 0));
	wants_status(persistent_out(&n, 0, SCSI_SA_REGISTER, 0, 0, 0, 0), GOOD); /* nothing */
	wants_status(persistent_out(&n, 0, SCSI_SA_REGISTER, 0, 0, 1, 0), GOOD);
	wants_conflict(persistent_out(&n, 0, SCSI_SA_REGISTER, 0, 0, 2, 0));
	wants_status(persistent_out(&n, 0, SCSI_SA_REGISTER, 0, 1, 2, 0), GOOD);
	wants_conflict(persistent_out(&n, 0, SCSI_SA_REGISTER, 0, 1, 0, 0));
	wants_status(persistent_out(&n, 0, SCSI_SA_REGISTER_AND_IGNORE, 0, 77, 3, 0), GOOD);
	read_full_status(&n, 0, &found);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.generation, 4);
	assert_int_equal(found.list[0].key, 3);
	assert_int_equal(found.list[0].initiator, WORLD_INITIATOR(0));
	wants_status(persistent_out(&n, 0, SCSI_SA_REGISTER, 0, 3, 0, 0), GOOD);
	wants_status(persistent_out(&n, 0, SCSI_SA_REGISTER_AND_IGNORE, 0, 0, 0, 0), GOOD);
	read_full_status(&n, 0, &found);
	assert_int_equal(found.count, 0);
	assert_int_equal(found.generation, 6);
}

static void one_may_register_for_others_or_for_none_of_them(void **state)
{
	const uint64_t ids[] = {WORLD_INITIATOR(1), WORLD_INITIATOR(2), UINT64_C(0x3000dead)};
	struct command *command;
	uint8_t list[52];

	wants_status(register_for(&n, 0, 9, 0, ids, 3), GOOD);
	read_full_status(&n, 0, &found);
	assert_int_equal(found.count, 4);
	assert_int_equal(found.generation, 1);
	wants_conflict(register_for(&n, 0, 9, 0, ids, 3)); /* the key comes first */
	command = register_for(&n, 0, 9, 0, ids, 1);
	memcpy(list, command->out, sizeof(list));
	be64_put(list, 9);
	command->out = list;
	wants_bad_cdb(command, 1, 4);
}

static void who_is_registered_is_not_registered_by_another(void **state)
{
	const uint64_t ids[] = {UINT64_C(0x3000dead), WORLD_INITIATOR(1)};

	registers(&n, 1, 5);
	wants_conflict(register_for(&n, 0, 9, 0, ids, 2));
	read_full_status(&n, 0, &found);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.generation, 1);
}

/* The same machine sees the disk through a second target. */
static struct scsi_attachment *second_path(unsigned nexus)
{
	struct scsi_attachment *attachment = scsi_world_attach(&n.w, 40);
	const struct scsi_nexus same = {WORLD_INITIATOR(nexus), 2};

	scsi_attachment_set_nexus(attachment, &same);
	return attachment;
}

static void one_may_register_through_all_ports(void **state)
{
	const uint64_t ids[] = {WORLD_INITIATOR(1)};
	struct scsi_attachment *path = second_path(0);

	wants_status(persistent_out(&n, 0, SCSI_SA_REGISTER, 0, 0, 4, LIST_ALL_TG_PT), GOOD);
	read_full_status(&n, 0, &found);
	assert_int_equal(found.count, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(found.list[i].initiator, WORLD_INITIATOR(0));
		assert_int_equal(found.list[i].port, i + 1);
		assert_int_equal(found.list[i].key, 4);
	}
	wants_status(persistent_out(&n, 0, SCSI_SA_REGISTER, 0, 4, 0, LIST_ALL_TG_PT), GOOD);
	read_full_status(&n, 0, &found);
	assert_int_equal(found.count, 0);
	/* Nexus 1 has one path only; an initiator that is not here could come through any. */
	wants_status(register_for(&n, 0, 4, LIST_ALL_TG_PT, ids, 1), GOOD);
	read_full_status(&n, 0, &found);
	assert_int_equal(found.count, 3);
	scsi_world_detach(&n.w, path);
}

static void who_is_named_and_has_another_port_is_registered_through_that(void **state)
{
	const uint64_t ids[] = {WORLD_INITIATOR(7)};
	struct scsi_attachment *path = second_path(7);

	wants_status(register_for(&n, 0, 4, 0, ids, 1), GOOD);
	read_full_status(&n, 0, &found);
	assert_int_equal(found.count, 2);
	assert_int_equal(found.list[1].initiator, WORLD_INITIATOR(7));
	assert_int_equal(found.list[1].port, 2);
	scsi_world_detach(&n.w, path);
}

static void registrations_have_an_end(void **state)
{
	static uint64_t ids[SCSI_REGISTRATIONS_MAX];

	for (unsigned i = 0; i < SCSI_REGISTRATIONS_MAX; i++)
		ids[i] = 0x30000000 + i;
	wants_sense(register_for(&n, 0, 9, 0, ids, SCSI_REGISTRATIONS_MAX), 0x055504);
	wants_status(register_for(&n, 0, 9, 0, ids, SCSI_REGISTRATIONS_MAX - 1), GOOD);
	wants_sense(persistent_out(&n, 1, SCSI_SA_REGISTER, 0, 0, 1, 0), 0x055504);
	wants_status(persistent_out(&n, 0, SCSI_SA_REGISTER, 0, 9, 8, 0), GOOD);
	read_full_status(&n, 0, &found);
	assert_int_equal(found.count, SCSI_REGISTRATIONS_MAX);
}

/* ---- REGISTER AND MOVE ----------------------------------------------------------------------- */

static void a_reservation_moves(void **state)
{
	uint64_t key;

	all_register(&n);
	wants_bad_cdb(register_and_move(&n, 0, 1, 7, false, WORLD_INITIATOR(1), 1), 1, 4);
	reserves(&n, 0, 1, SCSI_EXCLUSIVE_ACCESS);
	wants_conflict(register_and_move(&n, 1, 2, 7, false, WORLD_INITIATOR(2), 1));
	wants_conflict(register_and_move(&n, 0, 2, 7, false, WORLD_INITIATOR(1), 1));
	wants_bad_parameters(register_and_move(&n, 0, 1, 0, false, WORLD_INITIATOR(1), 1), 8);
	wants_bad_parameters(register_and_move(&n, 0, 1, 7, false, WORLD_INITIATOR(1), 0), 18);
	wants_bad_parameters(register_and_move(&n, 0, 1, 7, false, WORLD_INITIATOR(0), 1), 24);
	wants_status(register_and_move(&n, 0, 1, 7, true, WORLD_INITIATOR(1), 1), GOOD);
	assert_int_equal(read_reservation(&n, 2, &key), SCSI_EXCLUSIVE_ACCESS);
	assert_int_equal(key, 7);
	read_full_status(&n, 0, &found);
	assert_int_equal(found.count, 2);
	wants_good(read_one(&n, 1));
	wants_conflict(read_one(&n, 0));
}

/* Like register_and_move, with a list that says of itself that so many bytes follow, and that is
 * so long, to an initiator of that protocol. */
static struct command *move_list(uint32_t said, uint32_t len, uint8_t protocol)
{
	static uint8_t list[96];
	struct command *command = register_and_move(&n, 0, 1, 7, false, WORLD_INITIATOR(1), 1);

	memcpy(list, command->out, 48);
	be32_put(list + 20, said);
	list[24] = protocol;
	be32_put(command->cdb + 5, len);
	command->out = list;
	command->out_len = len;
	return command;
}

static void where_a_reservation_moves_is_checked(void **state)
{
	static uint64_t ids[SCSI_REGISTRATIONS_MAX];

	registers(&n, 0, 1);
	reserves(&n, 0, 1, SCSI_WRITE_EXCLUSIVE);
	wants_sense(move_list(24, 23, SCSI_TRANSPORT_SAS), 0x051a00);
	wants_sense(move_list(23, 48, SCSI_TRANSPORT_SAS), 0x051a00);
	wants_bad_parameters(move_list(48, 72, SCSI_TRANSPORT_SAS), 20);
	wants_bad_parameters(move_list(24, 48, 0x05), 24);
	wants_status(persistent_out(&n, 0, SCSI_SA_CLEAR, 0, 1, 0, 0), GOOD);

	for (unsigned i = 0; i < SCSI_REGISTRATIONS_MAX - 1; i++)
		ids[i] = 0x30000000 + i;
	wants_status(register_for(&n, 0, 1, 0, ids, SCSI_REGISTRATIONS_MAX - 1), GOOD);
	reserves(&n, 0, 1, SCSI_WRITE_EXCLUSIVE);
	wants_sense(register_and_move(&n, 0, 1, 7, false, WORLD_INITIATOR(1), 1), 0x055504);
	wants_status(register_and_move(&n, 0, 1, 7, true, WORLD_INITIATOR(1), 1), GOOD);
}

static void what_all_registrants_hold_does_not_move(void **state)
{
	all_register(&n);
	reserves(&n, 0, 1, SCSI_WRITE_EXCLUSIVE_ALL_REGISTRANTS);
	wants_conflict(register_and_move(&n, 0, 1, 7, false, WORLD_INITIATOR(1), 1));
}

/* ---- who hears of it ------------------------------------------------------------------------- */

static void a_release_is_told_to_registrants_where_it_matters_to_them(void **state)
{
	for (unsigned type = 1; type <= 8; type++) {
		if (type == 2 || type == 4)
			continue;
		all_register(&n);
		registers(&n, 2, 0);
		reserves(&n, 0, 1, (uint8_t)type);
		wants_status(persistent_out(&n, 0, SCSI_SA_RELEASE, (uint8_t)type, 1, 0, 0), GOOD);
		if (type >= 5)
			wants_sense(probe(1), 0x062a04);
		wants_good(probe(1));
		wants_good(probe(0));
		wants_good(probe(2));
	}
}

static void what_ends_with_its_holder_is_told(void **state)
{
	all_register(&n);
	reserves(&n, 0, 1, SCSI_WRITE_EXCLUSIVE_REGISTRANTS);
	registers(&n, 0, 0);
	wants_sense(probe(1), 0x062a04);
	wants_sense(probe(2), 0x062a04);
	wants_good(probe(0));
}

static void a_clear_is_told_to_all_registrants(void **state)
{
	all_register(&n);
	wants_status(persistent_out(&n, 0, SCSI_SA_CLEAR, 0, 1, 0, 0), GOOD);
	wants_sense(probe(1), 0x062a03);
	wants_sense(probe(2), 0x062a03);
	wants_good(probe(0));
	wants_good(probe(1));
}

static void who_is_preempted_hears_it_and_others_hear_of_another_type(void **state)
{
	all_register(&n);
	reserves(&n, 1, 2, SCSI_WRITE_EXCLUSIVE);
	wants_status(
		persistent_out(&n, 0, SCSI_SA_PREEMPT, SCSI_EXCLUSIVE_ACCESS_REGISTRANTS, 1, 2, 0),
		GOOD);
	wants_sense(probe(1), 0x062a05);
	wants_sense(probe(2), 0x062a04);
	wants_good(probe(2));
	wants_good(probe(0));
	wants_conflict(read_one(&n, 1));
	wants_good(read_one(&n, 2));
}

/* ---- what a change waits for ----------------------------------------------------------------- */

static void settle(void)
{
	host_sleep(&n.w.world.host, 5 * MSEC_NS);
}

static void a_change_waits_for_what_it_forbids(void **state)
{
	struct command *writes, *reads, *reserve;

	registers(&n, 0, 1);
	atomic_store(&n.w.disk.hold, true);
	writes = write_one(&n, 1); /* on another reactor */
	command_begin(writes);
	disk_wait_held(&n.w.world, &n.w.disk, 1);
	reserve = persistent_out(&n, 0, SCSI_SA_RESERVE, SCSI_WRITE_EXCLUSIVE, 1, 0, 0);
	command_begin(reserve);
	settle();
	assert_false(command_has_ended(reserve));
	wants_conflict(write_one(&n, 1)); /* later ones see it already */
	disk_release(&n.w.world, &n.w.disk, n.w.world.data[1]);
	command_finish(reserve);
	assert_int_equal(reserve->task.status, GOOD);
	assert_true(command_has_ended(writes)); /* before the status went out */
	command_finish(writes);
	assert_int_equal(writes->task.status, GOOD);

	/* What stays allowed is not waited for. */
	atomic_store(&n.w.disk.hold, true);
	reads = read_one(&n, 1);
	command_begin(reads);
	disk_wait_held(&n.w.world, &n.w.disk, 1);
	wants_status(persistent_out(&n, 0, SCSI_SA_RELEASE, SCSI_WRITE_EXCLUSIVE, 1, 0, 0), GOOD);
	reserves(&n, 0, 1, SCSI_WRITE_EXCLUSIVE);
	assert_false(command_has_ended(reads));
	disk_release(&n.w.world, &n.w.disk, n.w.world.data[1]);
	command_finish(reads);
	command_free(writes);
	command_free(reads);
	command_free(reserve);
}

static void a_preempt_and_abort_ends_what_the_other_has_sent(void **state)
{
	struct command *theirs, *preempt;

	registers(&n, 0, 1);
	registers(&n, 1, 2);
	reserves(&n, 1, 2, SCSI_WRITE_EXCLUSIVE);
	atomic_store(&n.w.disk.hold, true);
	theirs = read_one(&n, 1); /* would still be allowed */
	command_begin(theirs);
	disk_wait_held(&n.w.world, &n.w.disk, 1);
	preempt = persistent_out(&n, 0, SCSI_SA_PREEMPT_AND_ABORT, SCSI_WRITE_EXCLUSIVE, 1, 2, 0);
	command_begin(preempt);
	settle();
	assert_false(command_has_ended(preempt));
	disk_release(&n.w.world, &n.w.disk, n.w.world.data[1]);
	command_finish(preempt);
	assert_int_equal(preempt->task.status, GOOD);
	assert_true(command_has_ended(theirs));
	command_finish(theirs);
	assert_int_equal(theirs->task.response, SCSI_RESPONSE_ABORTED);
	wants_sense(probe(1), 0x062f00);
	wants_sense(probe(1), 0x062a05);
	wants_conflict(write_one(&n, 1));
	command_free(theirs);
	command_free(preempt);
}

/* Two that would wait for one another, if they waited for more than they must. */
static void those_who_preempt_each_other_both_end(void **state)
{
	for (unsigned i = 0; i < 20; i++) {
		struct command *one, *two;
		unsigned good;

		all_register(&n);
		one = persistent_out(&n, 0, SCSI_SA_PREEMPT_AND_ABORT, 1, 1, 2, 0);
		command_begin(one);
		two = persistent_out(&n, 1, SCSI_SA_PREEMPT_AND_ABORT, 1, 2, 1, 0);
		command_begin(two);
		command_finish(one);
		command_finish(two);
		good = (one->task.status == GOOD) + (two->task.status == GOOD);
		assert_int_equal(good, 1); /* the other's registration had gone */
		command_free(one);
		command_free(two);
		for (unsigned j = 0; j < NEXUSES; j++)
			listens(&n, j);
	}
}

/* A registrant that makes itself one of those who may not. */
static void whoever_unregisters_does_not_wait_for_himself(void **state)
{
	registers(&n, 0, 1);
	registers(&n, 1, 2);
	reserves(&n, 0, 1, SCSI_EXCLUSIVE_ACCESS_REGISTRANTS);
	wants_good(read_one(&n, 1));
	registers(&n, 1, 0);
	wants_conflict(read_one(&n, 1));
	registers(&n, 1, 2);
	wants_good(write_one(&n, 1));
}

/* What is behind the ORDERED command that forbids it has not begun. */
static void what_waits_for_a_change_is_not_waited_for_by_it(void **state)
{
	struct command *unregister, *reads = read_one(&n, 1);

	registers(&n, 0, 1);
	registers(&n, 1, 2);
	reserves(&n, 0, 1, SCSI_EXCLUSIVE_ACCESS_REGISTRANTS);
	unregister = persistent_out(&n, 1, SCSI_SA_REGISTER, 0, 2, 0, 0);
	unregister->attribute = SCSI_TASK_ORDERED;
	command_begin(unregister);
	command_begin(reads);
	command_finish(unregister);
	command_finish(reads);
	assert_int_equal(unregister->task.status, GOOD);
	assert_int_equal(reads->task.status, SCSI_STATUS_RESERVATION_CONFLICT);
	command_free(unregister);
	command_free(reads);
}

static void a_channel_that_opens_later_is_bound_as_well(void **state)
{
	struct scsi_lun_channel *later;
	struct command *command;

	registers(&n, 0, 1);
	reserves(&n, 0, 1, SCSI_EXCLUSIVE_ACCESS);
	later = scsi_world_open(&n.w, n.attachments[1], 2);
	command = read_one(&n, 1);
	command->channel = later;
	wants_conflict(command);
	wants_status(persistent_out(&n, 0, SCSI_SA_RELEASE, SCSI_EXCLUSIVE_ACCESS, 1, 0, 0), GOOD);
	command = read_one(&n, 1);
	command->channel = later;
	wants_good(command);
	scsi_world_close(&n.w, later);
}

/* ---- PERSISTENT RESERVE IN ------------------------------------------------------------------- */

static void capabilities_are_told(void **state)
{
	static const uint8_t without[] = {0, 8, 0x1c, 0x90, 0xea, 0x01, 0, 0};
	struct command *command = persistent_in(&n, 0, SCSI_SA_REPORT_CAPABILITIES);

	command_run(command);
	assert_int_equal(command->task.transferred, 8);
	assert_memory_equal(command->in, without, 8);
	command_free(command);
	wants_bad_parameters(persistent_out(&n, 0, SCSI_SA_REGISTER, 0, 0, 1, LIST_APTPL), 20);
}

static void with_a_state_directory_power_loss_may_be_survived(void **state)
{
	static const uint8_t with[] = {0, 8, 0x1d, 0x91, 0xea, 0x01, 0, 0};
	struct command *command;

	wants_status(persistent_out(&n, 0, SCSI_SA_REGISTER, 0, 0, 1, LIST_APTPL), GOOD);
	command = persistent_in(&n, 0, SCSI_SA_REPORT_CAPABILITIES);
	command_run(command);
	assert_memory_equal(command->in, with, 8);
	command_free(command);
}

static void a_short_allocation_cuts_the_answer_and_not_its_length(void **state)
{
	struct command *command;

	all_register(&n);
	command = persistent_in(&n, 0, SCSI_SA_READ_KEYS);
	be16_put(command->cdb + 7, 13);
	command_run(command);
	assert_int_equal(command->task.transferred, 13);
	assert_int_equal(be32_get(command->in), 3);
	assert_int_equal(be32_get(command->in + 4), 24);
	command_free(command);
}

/* ---- what does not last ---------------------------------------------------------------------- */

struct on_control {
	struct world_call call;
	void (*fn)(void);
};

static void on_control_run(struct world_call *call)
{
	container_of(call, struct on_control, call)->fn();
	world_done(call, 0);
}

static void on_control(void (*fn)(void))
{
	struct on_control op = {.call.run = on_control_run, .fn = fn};

	assert_int_equal(world_run(&n.w.world, n.w.world.control, &op.call), 0);
}

static void reset_unit(void)
{
	scsi_lun_reset_reservation(n.attachments[0]->lun);
}

static void lose_first(void)
{
	scsi_attachment_lose_nexus(n.attachments[0]);
}

static void lose_second(void)
{
	scsi_attachment_lose_nexus(n.attachments[1]);
}

static void a_reset_ends_a_reserve_and_no_persistent_reservation(void **state)
{
	wants_good(FROM(&n, 0, SCSI_RESERVE_10));
	on_control(lose_second);
	wants_conflict(read_one(&n, 1));
	on_control(lose_first);
	wants_good(read_one(&n, 1));
	wants_good(FROM(&n, 0, SCSI_RESERVE_6));
	on_control(reset_unit);
	wants_good(write_one(&n, 1));

	registers(&n, 0, 1);
	reserves(&n, 0, 1, SCSI_EXCLUSIVE_ACCESS);
	on_control(reset_unit);
	on_control(lose_first);
	wants_conflict(read_one(&n, 1));
}

static void obsolete_forms_of_reserve_are_refused(void **state)
{
	wants_bad_cdb(FROM(&n, 0, SCSI_RESERVE_6, 0x10), 1, 4);
	wants_bad_cdb(FROM(&n, 0, SCSI_RESERVE_6, 0x01), 1, 0);
	wants_bad_cdb(FROM(&n, 0, SCSI_RELEASE_6, 0x10), 1, 4);
	wants_bad_cdb(FROM(&n, 0, SCSI_RESERVE_10, 0x02), 1, 1);
	wants_bad_cdb(FROM(&n, 0, SCSI_RELEASE_10, 0x01), 1, 0);
	wants_good(FROM(&n, 0, SCSI_RELEASE_10));
}

static void a_reserve_waits_for_what_it_forbids(void **state)
{
	struct command *reads, *reserve;

	atomic_store(&n.w.disk.hold, true);
	reads = read_one(&n, 1);
	command_begin(reads);
	disk_wait_held(&n.w.world, &n.w.disk, 1);
	reserve = FROM(&n, 0, SCSI_RESERVE_6);
	command_begin(reserve);
	settle();
	assert_false(command_has_ended(reserve));
	disk_release(&n.w.world, &n.w.disk, n.w.world.data[1]);
	command_finish(reserve);
	assert_true(command_has_ended(reads));
	command_finish(reads);
	assert_int_equal(reads->task.status, GOOD);
	command_free(reads);
	command_free(reserve);
}

static void what_was_in_flight_over_a_restart_is_not_done_twice(void **state)
{
	struct command *command = persistent_out(&n, 0, SCSI_SA_REGISTER, 0, 0, 1, 0);

	command->recovered = true;
	wants_sense(command, 0x062900);
	command = FROM(&n, 0, SCSI_RESERVE_6);
	command->recovered = true;
	wants_sense(command, 0x062900);
	command = read_one(&n, 0); /* does no harm */
	command->recovered = true;
	wants_good(command);
	read_full_status(&n, 0, &found);
	assert_int_equal(found.count, 0);
}

int main(int argc, char **argv)
{
#define TEST(name)    cmocka_unit_test_setup_teardown(name, setup, teardown)
#define DURABLE(name) cmocka_unit_test_setup_teardown(name, setup_durable, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_list_of_another_length_is_refused),
		TEST(unknown_service_actions_are_refused),
		TEST(types_and_scopes_that_do_not_exist_are_refused),
		TEST(what_names_other_initiators_is_checked_whole),
		TEST(registering_follows_the_table),
		TEST(one_may_register_for_others_or_for_none_of_them),
		TEST(who_is_registered_is_not_registered_by_another),
		TEST(one_may_register_through_all_ports),
		TEST(who_is_named_and_has_another_port_is_registered_through_that),
		TEST(registrations_have_an_end),
		TEST(a_reservation_moves),
		TEST(where_a_reservation_moves_is_checked),
		TEST(what_all_registrants_hold_does_not_move),
		TEST(a_release_is_told_to_registrants_where_it_matters_to_them),
		TEST(what_ends_with_its_holder_is_told),
		TEST(a_clear_is_told_to_all_registrants),
		TEST(who_is_preempted_hears_it_and_others_hear_of_another_type),
		TEST(a_change_waits_for_what_it_forbids),
		TEST(a_preempt_and_abort_ends_what_the_other_has_sent),
		TEST(those_who_preempt_each_other_both_end),
		TEST(whoever_unregisters_does_not_wait_for_himself),
		TEST(what_waits_for_a_change_is_not_waited_for_by_it),
		TEST(a_channel_that_opens_later_is_bound_as_well),
		TEST(capabilities_are_told),
		DURABLE(with_a_state_directory_power_loss_may_be_survived),
		TEST(a_short_allocation_cuts_the_answer_and_not_its_length),
		TEST(a_reset_ends_a_reserve_and_no_persistent_reservation),
		TEST(obsolete_forms_of_reserve_are_refused),
		TEST(a_reserve_waits_for_what_it_forbids),
		TEST(what_was_in_flight_over_a_restart_is_not_done_twice),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
