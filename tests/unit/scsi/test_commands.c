/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every command of the table, one by one: its good answer, and each check condition that commands
 * have in common. A command without a row here fails. What only one command refuses is tested with
 * that command.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "kept.h"
#include "scsi/command.h"
#include "scsi/wipe.h"

#define BLOCK  512
#define BLOCKS 64

/* What a row's command is given first. */
enum before {
	NOTHING,
	REGISTERED, /* the initiator has a registration, with key 17 */
	RESERVED, /* and holds a reservation, WRITE EXCLUSIVE */
};

enum row_flags {
	HAS_LBA = 1 << 0,
	HAS_LENGTH = 1 << 1, /* with a number of blocks */
	MOVES_BLOCKS = 1 << 2, /* data-in is blocks: a short buffer is an overrun */
	CHANGES_STATE = 1 << 3, /* and so has rules of its own about it */
	ELSEWHERE = 1 << 4, /* its good answer takes more than a row */
};

struct row {
	uint8_t cdb[32];
	uint16_t flags;
	uint16_t out;
	uint16_t in;
	uint16_t moved; /* 0: what out is */
	uint8_t data[32]; /* the beginning of data-out */
	enum before before;
};

#define BLOCKS_OUT(...)                                                                            \
	{                                                                                          \
		{__VA_ARGS__}, HAS_LBA | HAS_LENGTH, BLOCK                                         \
	}
#define BLOCKS_IN(...)                                                                             \
	{                                                                                          \
		{__VA_ARGS__}, HAS_LBA | HAS_LENGTH | MOVES_BLOCKS, 0, BLOCK, BLOCK                \
	}
#define NO_DATA(...)                                                                               \
	{                                                                                          \
		{__VA_ARGS__}, HAS_LBA | HAS_LENGTH                                                \
	}
#define LONG(action, flags) 0x7f, 0, 0, 0, 0, 0, 0, 24, 0, action, flags, 0, LBA64, [31] = 1
#define LBA32               0, 0, 0, 1
#define LBA64               0, 0, 0, 0, 0, 0, 0, 1
#define KEY                 0, 0, 0, 0, 0, 0, 0, 17
#define NO_KEY              0, 0, 0, 0, 0, 0, 0, 0
#define PR_OUT(action, type, keys, before)                                                         \
	{                                                                                          \
		{0x5f, action, type, [8] = 24}, 0, 24, 0, 0, keys, before                          \
	}
#define KEYS(...)                                                                                  \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}

static const struct row rows[] = {
	{{0x00}},
	{{0x03, 0, 0, 0, 18}, 0, 0, 18, 18},
	{{0x04}}, /* FORMAT UNIT */
	{{0x08, 0, 0, 1, 1}, HAS_LBA | HAS_LENGTH | MOVES_BLOCKS, 0, BLOCK, BLOCK},
	{{0x0a, 0, 0, 1, 1}, HAS_LBA | HAS_LENGTH, BLOCK},
	{{0x12, 0, 0, 0, 96}, 0, 0, 96, 96},
	{{0x15, 0x10, 0, 0, 4}, 0, 4}, /* MODE SELECT (6) of nothing */
	{{0x16}},
	{{0x17}},
	{{0x1a, 8, 0x08, 0, 255}, 0, 0, 255, 24}, /* the caching page */
	{{0x1b, 0, 0, 0, 1}, CHANGES_STATE},
	{{0x1c, 1, 0, 0, 255}, 0, 0, 255, 5},
	{{0x1d, 0x10, 0, 0, 4}, 0, 4},
	{{0x1e}},
	{{0x25}, 0, 0, 8, 8},
	BLOCKS_IN(0x28, 0, LBA32, 0, 0, 1),
	BLOCKS_OUT(0x2a, 0, LBA32, 0, 0, 1),
	BLOCKS_OUT(0x2e, 0, LBA32, 0, 0, 1),
	BLOCKS_OUT(0x2f, 2, LBA32, 0, 0, 1), /* VERIFY (10), BYTCHK 01b */
	NO_DATA(0x34, 0, LBA32, 0, 0, 1), /* PRE-FETCH (10) */
	NO_DATA(0x35, 0, LBA32, 0, 0, 1), /* SYNCHRONIZE CACHE (10) */
	{{0x37, 0, 0x1d, [8] = 255}, 0, 0, 255, 4},
	{{0x3b, 2, 0, [8] = 16}, 0, 16}, /* WRITE BUFFER */
	{{0x3c, 2, 0, [8] = 16}, 0, 0, 16, 16},
	BLOCKS_OUT(0x41, 0, LBA32, 0, 0, 1),
	{{0x42, [8] = 24}, 0, 24, 0, 0, {0, 22, 0, 16, 0, 0, 0, 0, LBA64, 0, 0, 0, 1}},
	{{0x48, 0x01, [8] = 8}, 0, 8, 0, 0, {1, 0, 0, 4, 1, 2, 3, 4}}, /* SANITIZE, OVERWRITE */
	{{0x48, 0x02}},
	{{0x48, 0x1f}},
	{{0x4c, 0, 0, 0, 0, 0, 0, 0, 4}, 0, 4, 0, 0, {0x0d}},
	{{0x4d, 0, 0x0d, 0, 0, 0, 0, 0, 255}, 0, 0, 255, 16},
	{{0x55, 0x10, [8] = 8}, 0, 8},
	{{0x56}},
	{{0x57}},
	{{0x5a, 8, 0x08, [8] = 255}, 0, 0, 255, 28},
	{{0x5e, 0, [8] = 255}, 0, 0, 255, 8},
	{{0x5e, 1, [8] = 255}, 0, 0, 255, 8},
	{{0x5e, 2, [8] = 255}, 0, 0, 255, 8},
	{{0x5e, 3, [8] = 255}, 0, 0, 255, 8},
	PR_OUT(0, 0, KEYS(NO_KEY, KEY), NOTHING),
	PR_OUT(1, 1, KEYS(KEY), REGISTERED),
	PR_OUT(2, 1, KEYS(KEY), RESERVED),
	PR_OUT(3, 0, KEYS(KEY), RESERVED),
	PR_OUT(4, 1, KEYS(KEY, KEY), RESERVED),
	PR_OUT(5, 1, KEYS(KEY, KEY), RESERVED),
	PR_OUT(6, 0, KEYS(NO_KEY, KEY), NOTHING),
	{{0x5f, 7, 0, [8] = 48}, ELSEWHERE, 48, 0, 0, {KEY}, RESERVED}, /* names another port */
	{{0x83}, ELSEWHERE}, /* EXTENDED COPY, RECEIVE COPY RESULTS */
	{{0x84, 0, [13] = 255}, ELSEWHERE, 0, 255},
	{{0x84, 3, [13] = 255}, 0, 0, 255, 46},
	{{0x84, 4, [13] = 255}, ELSEWHERE, 0, 255},
	BLOCKS_IN(0x88, 0, LBA64, 0, 0, 0, 1),
	{{0x89, 0, LBA64, 0, 0, 0, 1}, HAS_LBA | HAS_LENGTH, 2 * BLOCK}, /* zeroes to zeroes */
	BLOCKS_OUT(0x8a, 0, LBA64, 0, 0, 0, 1),
	BLOCKS_OUT(0x8b, 0, LBA64, 0, 0, 0, 1),
	BLOCKS_OUT(0x8e, 0, LBA64, 0, 0, 0, 1),
	BLOCKS_OUT(0x8f, 2, LBA64, 0, 0, 0, 1),
	NO_DATA(0x90, 0, LBA64, 0, 0, 0, 1),
	NO_DATA(0x91, 0, LBA64, 0, 0, 0, 1),
	BLOCKS_OUT(0x93, 0, LBA64, 0, 0, 0, 1),
	BLOCKS_OUT(0x9c, 0, LBA64, 0, 0, 0, 1), /* WRITE ATOMIC (16) */
	{{0x9e, 0x10, [13] = 32}, 0, 0, 32, 32},
	{{0x9e, 0x12, [9] = 40, [13] = 255}, HAS_LBA, 0, 255, 24}, /* GET LBA STATUS (16) */
	{{0xa0, [9] = 16}, 0, 0, 16, 16},
	{{0xa3, 0x05, [9] = 255}, 0, 0, 255, 4},
	{{0xa3, 0x0a, [9] = 255}, 0, 0, 255, 16},
	{{0xa3, 0x0c, 1, 0x12, [9] = 255}, 0, 0, 255, 10},
	{{0xa3, 0x0d, [9] = 255}, 0, 0, 255, 4},
	{{0xa3, 0x0f, [9] = 255}, 0, 0, 255, 12},
	{{0xa4, 0x06, [9] = 2, [10] = 4}, 0, 2, 0, 0, {'x'}}, /* a text */
	{{0xa4, 0x0a, [9] = 4}, 0, 4},
	{{0xa4, 0x0f, [9] = 12}, 0, 12},
	BLOCKS_IN(0xa8, 0, LBA32, 0, 0, 0, 1),
	BLOCKS_OUT(0xaa, 0, LBA32, 0, 0, 0, 1),
	BLOCKS_OUT(0xae, 0, LBA32, 0, 0, 0, 1),
	BLOCKS_OUT(0xaf, 2, LBA32, 0, 0, 0, 1),
	{{0xb7, 0x1d, [9] = 255}, 0, 0, 255, 8},
	BLOCKS_IN(LONG(0x09, 0)),
	BLOCKS_OUT(LONG(0x0a, 2)),
	BLOCKS_OUT(LONG(0x0b, 0)),
	BLOCKS_OUT(LONG(0x0c, 0)),
	BLOCKS_OUT(LONG(0x0d, 0)),
	BLOCKS_OUT(LONG(0x0e, 0)),
	{{0x7f, [7] = 24, [9] = 0x12, [19] = 40, [31] = 255}, HAS_LBA, 0, 255, 24},
};

static struct scsi_world w;
static struct kept kept;
static uint8_t data[2 * BLOCK + 100];
static unsigned wrong;

static int setup(void **state)
{
	struct disk_options options = SMALL_DISK;

	options.blocks = BLOCKS;
	options.atomic_write_bytes = 65536; /* so that it has every command */
	scsi_world_start(&w, &options);
	kept_begin(&kept, &w, "commands", false);
	wrong = 0;
	return 0;
}

static int teardown(void **state)
{
	kept_end(&kept);
	scsi_world_end(&w);
	assert_int_equal(wrong, 0);
	return 0;
}

/* ---- rows ------------------------------------------------------------------------------------ */

struct answer {
	uint8_t response;
	uint8_t status;
	uint32_t sense;
	uint32_t moved;
};

static struct answer run(struct command *command)
{
	struct answer answer;

	command_run(command);
	answer.response = command->task.response;
	answer.status = command->task.status;
	answer.sense = command->task.sense_len ? command_sense(command) : 0;
	answer.moved = command->task.transferred;
	command_free(command);
	return answer;
}

static void persistent_out(uint8_t action, uint8_t type, uint64_t key, uint64_t action_key)
{
	struct command *command = COMMAND(&w, SCSI_PERSISTENT_OUT, action, type);
	uint8_t list[24] = {0};

	command->cdb[8] = sizeof(list);
	command->out = list;
	command->out_len = sizeof(list);
	be64_put(list, key);
	be64_put(list + 8, action_key);
	assert_int_equal(run(command).status, SCSI_STATUS_GOOD);
}

/* Whatever commands before have left. */
static void prepare(const struct row *row)
{
	run(COMMAND(&w, SCSI_RELEASE_6));
	persistent_out(SCSI_SA_REGISTER_AND_IGNORE, 0, 0, 0);
	if (row->before >= REGISTERED)
		persistent_out(SCSI_SA_REGISTER, 0, 0, 17);
	if (row->before == RESERVED)
		persistent_out(SCSI_SA_RESERVE, SCSI_WRITE_EXCLUSIVE, 17, 0);
}

static struct command *row_new(const struct row *row)
{
	struct command *command = command_new(&w, row->cdb, sizeof(row->cdb));

	memset(data, 0, sizeof(data));
	memcpy(data, row->data, sizeof(row->data));
	command->out = data;
	command->out_len = row->out;
	command->in_len = row->in;
	return command;
}

static const struct scsi_command *row_command(const struct row *row)
{
	return scsi_command_find(w.channel, row->cdb);
}

static bool row_has(const struct row *row, unsigned flags)
{
	return row_command(row)->flags & flags;
}

static bool answers_are_alike(const struct answer *a, const struct answer *b)
{
	return a->response == b->response && a->status == b->status && a->sense == b->sense &&
	       a->moved == b->moved;
}

static void wants(const struct row *row, struct command *command, const struct answer *wanted)
{
	struct answer answer = run(command);

	if (answers_are_alike(&answer, wanted))
		return;
	print_error("%02x/%02x/%02x: response %u status %02x sense %06x moved %u, not %u %02x "
		    "%06x %u\n",
		row->cdb[0], row->cdb[1], row->cdb[9], answer.response, answer.status, answer.sense,
		answer.moved, wanted->response, wanted->status, wanted->sense, wanted->moved);
	wrong++;
}

static struct answer good(const struct row *row)
{
	return (struct answer){.moved = row->moved ? row->moved : row->out};
}

static struct answer check(uint32_t sense)
{
	return (struct answer){.status = SCSI_STATUS_CHECK_CONDITION, .sense = sense};
}

static struct answer other_response(uint8_t response)
{
	return (struct answer){.response = response};
}

#define FOR_EACH_ROW(row) for (const struct row *row = rows; row < rows + ARRAY_SIZE(rows); row++)

/* Is the good answer looked at here? */
static bool row_is_good(const struct row *row)
{
	if (row->flags & ELSEWHERE)
		return false;
	prepare(row);
	return true;
}

/* All that have one of the flags answer this, all others as they usually do. */
static void expect_refusals(unsigned flags, uint32_t sense)
{
	FOR_EACH_ROW(row)
	{
		struct answer wanted = row_has(row, flags) ? check(sense) : good(row);

		if (!(row->flags & CHANGES_STATE) && (row_has(row, flags) || row_is_good(row)))
			wants(row, row_new(row), &wanted);
	}
}

/* ---- what is tested -------------------------------------------------------------------------- */

static void every_command_has_one_row(void **state)
{
	unsigned found[256] = {0};

	FOR_EACH_ROW(row)
	{
		assert_non_null(row_command(row));
		found[row_command(row) - scsi_commands]++;
	}
	for (unsigned i = 0; i < scsi_command_count; i++) {
		if (found[i] != 1)
			fail_msg("%02x/%02x has %u rows", scsi_commands[i].opcode,
				scsi_commands[i].service_action, found[i]);
	}
}

static void every_command_has_a_good_answer(void **state)
{
	FOR_EACH_ROW(row)
	{
		struct answer wanted = good(row);

		if (row_is_good(row))
			wants(row, row_new(row), &wanted);
	}
}

static bool is_unused(const struct row *row, unsigned byte, unsigned bit)
{
	const struct scsi_command *command = row_command(row);

	return byte > 0 && byte < command->cdb_len && !(command->usage[byte] & 1 << bit) &&
	       !(byte == 1 && command->flags & SCSI_COMMAND_SERVICE_ACTION && bit < 5) &&
	       !(byte / 2 == 4 && command->flags & SCSI_COMMAND_LONG);
}

/* As REPORT SUPPORTED OPERATION CODES says of them. */
static void bits_that_are_not_used_change_nothing(void **state)
{
	FOR_EACH_ROW(row)
	{
		struct answer wanted = good(row);

		for (unsigned at = 8; at < 8 * sizeof(row->cdb); at++) {
			struct command *command;

			if (!is_unused(row, at / 8, at % 8) || !row_is_good(row))
				continue;
			command = row_new(row);
			command->cdb[at / 8] |= (uint8_t)(1 << at % 8);
			wants(row, command, &wanted);
		}
	}
}

static void the_rest_of_a_longer_buffer_is_residual(void **state)
{
	FOR_EACH_ROW(row)
	{
		struct answer wanted = good(row);
		struct command *command;

		if (!row_is_good(row))
			continue;
		command = row_new(row);
		command->out_len += row->out ? 100 : 0;
		command->in_len += row->in ? 100 : 0;
		wants(row, command, &wanted);
	}
}

static void data_that_is_missing_is_an_overrun_and_answers_are_cut(void **state)
{
	FOR_EACH_ROW(row)
	{
		struct answer wanted = other_response(SCSI_RESPONSE_OVERRUN);
		struct command *command;

		if ((!row->out && !row->moved) || !row_is_good(row))
			continue;
		command = row_new(row);
		if (row->out)
			command->out_len--;
		else
			command->in_len = row->moved - 1;
		if (row->in && !(row->flags & MOVES_BLOCKS))
			wanted = (struct answer){.moved = row->moved - 1u};
		wants(row, command, &wanted);
	}
}

static void data_in_both_directions_is_a_failure(void **state)
{
	FOR_EACH_ROW(row)
	{
		struct answer wanted = other_response(SCSI_RESPONSE_FAILURE);
		struct command *command = row_new(row);

		command->in_len = command->in_len ? command->in_len : 1;
		command->out_len = command->out_len ? command->out_len : 1;
		wants(row, command, &wanted);
	}
}

/* The last byte of the address, and that of the number of blocks. */
static void row_place(const struct row *row, unsigned *ret_lba, unsigned *ret_length)
{
	switch (row_command(row)->cdb_len) {
	case 6:
		*ret_lba = 3;
		*ret_length = 4;
		break;
	case 10:
		*ret_lba = 5;
		*ret_length = 8;
		break;
	case 12:
		*ret_lba = 5;
		*ret_length = 9;
		break;
	case 16:
		*ret_lba = 9;
		*ret_length = 13;
		break;
	default:
		*ret_lba = 19;
		*ret_length = 31;
	}
}

static void blocks_beyond_the_end_are_out_of_range(void **state)
{
	struct answer wanted = check(0x052100);

	FOR_EACH_ROW(row)
	{
		unsigned lba, length;
		struct command *command;

		if (!(row->flags & HAS_LBA))
			continue;
		row_place(row, &lba, &length);
		command = row_new(row);
		command->cdb[lba] = BLOCKS;
		wants(row, command, &wanted);
		if (!(row->flags & HAS_LENGTH))
			continue;
		command = row_new(row);
		command->cdb[lba] = BLOCKS - 1;
		command->cdb[length] = 2;
		wants(row, command, &wanted);
		command = row_new(row); /* far beyond, without an overflow */
		command->cdb[lba - (row_command(row)->cdb_len == 6 ? 1 : 3)] =
			row_command(row)->cdb_len == 6 ? 0x1f : 0xff;
		wants(row, command, &wanted);
	}
}

static void with_attention(uint32_t bits, unsigned flags, uint32_t sense)
{
	atomic_fetch_or(&w.attachment->attention, bits);
	expect_refusals(flags, sense);
	atomic_fetch_and(&w.attachment->attention, ~bits);
}

static void what_needs_the_medium_is_not_ready_without(void **state)
{
	with_attention(SCSI_ATTENTION_NO_MEDIUM, SCSI_COMMAND_MEDIUM, 0x023a00);
	with_attention(SCSI_ATTENTION_STOPPED, SCSI_COMMAND_MEDIUM, 0x020402);
	with_attention(SCSI_ATTENTION_NOT_READY, SCSI_COMMAND_MEDIUM, 0x020401);
}

static void what_writes_is_refused_by_a_protected_disk(void **state)
{
	with_attention(SCSI_ATTENTION_WRITE_PROTECT, SCSI_COMMAND_WRITES, 0x072702);
	w.channel->read_only = true;
	expect_refusals(SCSI_COMMAND_WRITES, 0x072700);
	w.channel->read_only = false;
}

/* What a row is prepared by would take it. */
static void all_but_a_few_tell_a_unit_attention(void **state)
{
	struct answer wanted = check(0x062900);

	FOR_EACH_ROW(row)
	{
		if (row_has(row, SCSI_COMMAND_PAST_ATTENTION))
			continue;
		scsi_attention_raise(w.attachment, SCSI_UA_POWER_ON);
		wants(row, row_new(row), &wanted);
	}
}

static void all_but_a_few_know_that_there_is_no_such_unit(void **state)
{
	struct answer wanted = check(0x052500);

	FOR_EACH_ROW(row)
	{
		struct command *command = row_new(row);

		if (row_has(row, SCSI_COMMAND_ANY_LUN)) {
			assert_int_equal(run(command).status, SCSI_STATUS_GOOD);
			continue;
		}
		command_free(command);
		command = row_new(row);
		command->absent = true;
		wants(row, command, &wanted);
	}
}

static void what_would_do_more_the_second_time_is_not_repeated(void **state)
{
	FOR_EACH_ROW(row)
	{
		bool once = row_has(row, SCSI_COMMAND_ONCE);
		struct answer wanted = once ? check(0x062900) : good(row);
		struct command *command;

		if (!once && !row_is_good(row))
			continue;
		command = row_new(row);
		command->recovered = true;
		wants(row, command, &wanted);
	}
}

/* But for what says so, and what may end a failure once there is one. */
static void all_but_a_few_wait_while_the_medium_is_overwritten(void **state)
{
	static const struct {
		enum scsi_wipe_state state;
		uint32_t sense;
	} states[] = {{SCSI_WIPE_SANITIZING, 0x02041b}, {SCSI_WIPE_FORMATTING, 0x020404},
		{SCSI_WIPE_SANITIZE_FAILED, 0x033103}, {SCSI_WIPE_FORMAT_FAILED, 0x033101}};
	struct scsi_lun *lun = w.attachment->lun;

	atomic_fetch_or(&w.attachment->attention, SCSI_ATTENTION_WIPED);
	for (unsigned i = 0; i < ARRAY_SIZE(states); i++) {
		struct answer refused = check(states[i].sense);

		atomic_store(&lun->wipe_state, states[i].state);
		FOR_EACH_ROW(row)
		{
			struct answer usual = good(row);

			if (row_has(row, SCSI_COMMAND_PAST_ATTENTION | SCSI_COMMAND_ON_WIPED))
				wants(row, row_new(row), &usual);
			else if (i < 2 || !row_has(row, SCSI_COMMAND_ENDS_FAILURE))
				wants(row, row_new(row), &refused);
		}
	}
	atomic_store(&lun->wipe_state, SCSI_WIPE_NONE);
	atomic_fetch_and(&w.attachment->attention, ~SCSI_ATTENTION_WIPED);
}

static bool is_failure(const struct answer *answer)
{
	unsigned key = answer->sense >> 16;

	return answer->status == SCSI_STATUS_CHECK_CONDITION &&
	       (key == SCSI_KEY_MEDIUM_ERROR || key == SCSI_KEY_HARDWARE_ERROR);
}

/* Whatever a command asks of the block device: if that fails, so does the command. */
static void what_the_disk_fails_is_told(void **state)
{
	static const enum bdev_io_type types[] = {BDEV_IO_READ, BDEV_IO_WRITE, BDEV_IO_FLUSH,
		BDEV_IO_UNMAP, BDEV_IO_WRITE_ZEROES, BDEV_IO_EXTENT};

	FOR_EACH_ROW(row)
	{
		for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
			struct answer answer;

			if (!row_is_good(row))
				break;
			disk_fail(&w.disk, types[i], EIO, 1000);
			answer = run(row_new(row));
			if ((w.disk.fail_count < 1000) != is_failure(&answer))
				fail_msg("%02x/%02x: sense %06x with %d failures of type %u",
					row->cdb[0], row->cdb[1], answer.sense,
					1000 - w.disk.fail_count, types[i]);
			disk_fail(&w.disk, types[i], EIO, 0);
			atomic_store(&w.attachment->lun->wipe_state, SCSI_WIPE_NONE);
			atomic_fetch_and(&w.attachment->attention, ~SCSI_ATTENTION_WIPED);
		}
	}
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_command_has_one_row),
		TEST(every_command_has_a_good_answer),
		TEST(bits_that_are_not_used_change_nothing),
		TEST(the_rest_of_a_longer_buffer_is_residual),
		TEST(data_that_is_missing_is_an_overrun_and_answers_are_cut),
		TEST(data_in_both_directions_is_a_failure),
		TEST(blocks_beyond_the_end_are_out_of_range),
		TEST(what_needs_the_medium_is_not_ready_without),
		TEST(what_writes_is_refused_by_a_protected_disk),
		TEST(all_but_a_few_tell_a_unit_attention),
		TEST(all_but_a_few_know_that_there_is_no_such_unit),
		TEST(what_would_do_more_the_second_time_is_not_repeated),
		TEST(all_but_a_few_wait_while_the_medium_is_overwritten),
		TEST(what_the_disk_fails_is_told),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
