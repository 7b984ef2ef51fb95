/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reservations on disk: what was answered is there after a kill, and after a power cut, at every
 * call that the file is written with; what cannot be written is refused; what is damaged is found.
 *
 * A process that dies at its nth call is an os of ours over the simulated one: that call is the
 * last with an effect, and a write half of one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nexuses.h"
#include "scsi/reservation_file.h"

#define STATE   "/state"
#define BOOT_ID "/proc/sys/kernel/random/boot_id"

static const uuid_t uuid = {0x51, 0x57, 0xce, 0x00, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
	0x01, 0x23, 0x45, 0x67};
#define FILE_NAME STATE "/reservations/5157ce00-0123-4567-89ab-cdef01234567"

/* ---- states ---------------------------------------------------------------------------------- */

static struct scsi_reservation *state_make(unsigned count, uint8_t type, bool aptpl)
{
	struct scsi_reservation *state = scsi_reservation_copy(NULL, count);

	assert_non_null(state);
	state->generation = 40 + count;
	state->aptpl = aptpl;
	state->count = count;
	for (unsigned i = 0; i < count; i++)
		state->registrations[i] = (struct scsi_registration){
			.nexus = {.initiator = WORLD_INITIATOR(i), .port = (uint16_t)(i + 1)},
			.key = 1000 + i};
	state->type = type;
	if (type)
		state->holder = state->registrations[0].nexus;
	return state;
}

static bool state_equals(const struct scsi_reservation *a, const struct scsi_reservation *b)
{
	if (!a || !b)
		return a == b;
	if (a->count != b->count || a->generation != b->generation || a->type != b->type ||
		a->aptpl != b->aptpl || !scsi_nexus_equals(&a->holder, &b->holder))
		return false;
	for (unsigned i = 0; i < a->count; i++) {
		if (a->registrations[i].key != b->registrations[i].key ||
			!scsi_nexus_equals(&a->registrations[i].nexus, &b->registrations[i].nexus))
			return false;
	}
	return true;
}

static struct scsi_reservation *load(struct os *os)
{
	struct scsi_reservation *state;

	assert_int_equal(scsi_reservation_load(os, STATE, uuid, NULL, &state), 0);
	return state;
}

static void expect_loaded(struct os *os, const struct scsi_reservation *wanted)
{
	struct scsi_reservation *state = load(os);

	assert_true(state_equals(state, wanted));
	free(state);
}

static void save(struct os *os, const struct scsi_reservation *state)
{
	assert_int_equal(scsi_reservation_save(os, STATE, uuid, state, NULL), 0);
}

static struct sim *world_make(struct os **ret_os)
{
	struct sim *sim = sim_create(1);

	*ret_os = sim_process_start(sim, "sluice");
	assert_int_equal((*ret_os)->ops->directory_create(*ret_os, STATE, 0700), 0);
	return sim;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void any_change_of_a_byte_is_found(void **state)
{
	struct scsi_reservation *wanted = state_make(3, SCSI_WRITE_EXCLUSIVE_REGISTRANTS, true);
	static const char boot[SCSI_BOOT_ID_BYTES];
	char then[SCSI_BOOT_ID_BYTES];
	struct scsi_reservation *got;
	uint8_t *bytes;
	size_t len;

	assert_int_equal(scsi_reservation_encode(wanted, uuid, boot, &bytes, &len), 0);
	for (size_t i = 0; i < len; i++) {
		bytes[i] ^= (uint8_t)(1 << i % 8);
		assert_int_equal(scsi_reservation_decode(bytes, len, uuid, then, &got), -EINVAL);
		bytes[i] ^= (uint8_t)(1 << i % 8);
		assert_int_equal(scsi_reservation_decode(bytes, i, uuid, then, &got), -EINVAL);
	}
	assert_int_equal(scsi_reservation_decode(bytes, len, uuid, then, &got), 0);
	assert_true(state_equals(wanted, got));
	free(got);
	free(bytes);
	free(wanted);
}

/* With a checksum that is right. */
static void a_state_that_no_command_makes_is_damage(void **state)
{
	static const char boot[SCSI_BOOT_ID_BYTES];

	for (unsigned fault = 0; fault < 5; fault++) {
		struct scsi_reservation *bad = state_make(2, SCSI_EXCLUSIVE_ACCESS, false), *got;
		char then[SCSI_BOOT_ID_BYTES];
		uint8_t *bytes;
		size_t len;

		switch (fault) {
		case 0:
			bad->registrations[1].key = 0;
			break;
		case 1:
			bad->registrations[1].nexus = bad->registrations[0].nexus;
			break;
		case 2:
			bad->holder.initiator = 99;
			break;
		case 3:
			bad->type = 4;
			break;
		default:
			bad->registrations[0].nexus.port = 0;
			bad->holder.port = 0;
		}
		assert_int_equal(scsi_reservation_encode(bad, uuid, boot, &bytes, &len), 0);
		assert_int_equal(scsi_reservation_decode(bytes, len, uuid, then, &got), -EINVAL);
		free(bytes);
		free(bad);
	}
}

/* ---- files ----------------------------------------------------------------------------------- */

static void what_is_saved_is_loaded(void **state)
{
	struct scsi_reservation *first = state_make(2, SCSI_WRITE_EXCLUSIVE, false);
	struct scsi_reservation *second =
		state_make(SCSI_REGISTRATIONS_MAX, SCSI_EXCLUSIVE_ACCESS, true);
	struct scsi_reservation *none = state_make(0, 0, false);
	struct os *os;
	struct sim *sim = world_make(&os);

	expect_loaded(os, NULL);
	save(os, first);
	expect_loaded(os, first);
	save(os, second);
	expect_loaded(os, second);
	save(os, none);
	expect_loaded(os, none);
	free(none);
	free(second);
	free(first);
	assert_int_equal(sim_destroy(sim), 0);
}

static void a_damaged_file_is_set_aside(void **state)
{
	struct scsi_reservation *wanted = state_make(2, SCSI_WRITE_EXCLUSIVE, false);
	struct os *os;
	struct sim *sim = world_make(&os);

	save(os, wanted);
	sim_file_poke(sim_file_find(sim, FILE_NAME), 90, "?", 1);
	expect_loaded(os, NULL);
	assert_null(sim_file_find(sim, FILE_NAME));
	assert_non_null(sim_file_find(sim, FILE_NAME ".damaged"));
	save(os, wanted);
	expect_loaded(os, wanted);
	sim_file_resize(sim_file_find(sim, FILE_NAME), 0); /* nor is an empty one no file */
	expect_loaded(os, NULL);
	assert_null(sim_file_find(sim, FILE_NAME));
	free(wanted);
	assert_int_equal(sim_destroy(sim), 0);
}

static void a_file_that_cannot_be_read_is_not_taken_for_none(void **state)
{
	static const enum sim_call calls[] = {SIM_CALL_FILE_OPEN, SIM_CALL_FILE_READ};
	struct scsi_reservation *wanted = state_make(2, SCSI_WRITE_EXCLUSIVE, false), *got;
	struct os *os;
	struct sim *sim = world_make(&os);

	save(os, wanted);
	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		struct reason reason = {0};

		sim_fail_call(sim, calls[i], 1, EIO);
		assert_int_equal(scsi_reservation_load(os, STATE, uuid, &reason, &got), -EIO);
		assert_non_null(strstr(reason.text, FILE_NAME));
	}
	expect_loaded(os, wanted);
	free(wanted);
	assert_int_equal(sim_destroy(sim), 0);
}

static void boot(struct sim *sim, char letter)
{
	char id[SCSI_BOOT_ID_BYTES];

	memset(id, letter, sizeof(id));
	sim_file_poke(sim_file_find(sim, BOOT_ID), 0, id, sizeof(id));
}

static void a_start_of_the_host_is_a_power_loss_and_one_of_the_daemon_is_not(void **state)
{
	for (unsigned aptpl = 0; aptpl < 2; aptpl++) {
		struct scsi_reservation *wanted = state_make(2, SCSI_WRITE_EXCLUSIVE, aptpl);
		struct scsi_reservation *after = state_make(0, 0, aptpl);
		struct os *os;
		struct sim *sim = world_make(&os);

		sim_file_create(sim, BOOT_ID, SCSI_BOOT_ID_BYTES);
		boot(sim, 'a');
		save(os, wanted);
		expect_loaded(os, wanted);
		boot(sim, 0); /* nobody knows */
		expect_loaded(os, wanted);
		boot(sim, 'b');
		wanted->generation = 0;
		after->generation = 0;
		expect_loaded(os, aptpl ? wanted : after);
		free(after);
		free(wanted);
		assert_int_equal(sim_destroy(sim), 0);
	}
}

/* ---- death at every call --------------------------------------------------------------------- */

struct dying_os {
	struct os os; /* first */
	struct os *under;
	unsigned left; /* calls until it is dead; the last has an effect */
};

static bool lives(struct os *os)
{
	struct dying_os *dying = container_of(os, struct dying_os, os);

	if (dying->left == 0)
		return false;
	dying->left--;
	return true;
}

static struct os *under(struct os *os)
{
	return container_of(os, struct dying_os, os)->under;
}

static int dying_open(struct os *os, const char *path, unsigned flags, unsigned mode, int *ret_fd)
{
	return lives(os) ? under(os)->ops->file_open(under(os), path, flags, mode, ret_fd) : -EIO;
}

static int64_t dying_read(struct os *os, int fd, void *buf, size_t len, uint64_t offset)
{
	return lives(os) ? under(os)->ops->file_read(under(os), fd, buf, len, offset) : -EIO;
}

static int64_t dying_write(struct os *os, int fd, const void *buf, size_t len, uint64_t offset)
{
	if (!lives(os))
		return -EIO;
	if (container_of(os, struct dying_os, os)->left == 0)
		len /= 2;
	return under(os)->ops->file_write(under(os), fd, buf, len, offset);
}

static int dying_sync(struct os *os, int fd)
{
	return lives(os) ? under(os)->ops->file_sync(under(os), fd) : -EIO;
}

static int dying_rename(struct os *os, const char *from, const char *to)
{
	return lives(os) ? under(os)->ops->file_rename(under(os), from, to) : -EIO;
}

static int dying_unlink(struct os *os, const char *path)
{
	return lives(os) ? under(os)->ops->file_unlink(under(os), path) : -EIO;
}

static int dying_directory(struct os *os, const char *path, unsigned mode)
{
	return lives(os) ? under(os)->ops->directory_create(under(os), path, mode) : -EIO;
}

static void dying_close(struct os *os, int fd)
{
	if (container_of(os, struct dying_os, os)->left)
		under(os)->ops->close(under(os), fd);
}

static const struct os_ops dying_ops = {
	.file_open = dying_open,
	.file_read = dying_read,
	.file_write = dying_write,
	.file_sync = dying_sync,
	.file_rename = dying_rename,
	.file_unlink = dying_unlink,
	.directory_create = dying_directory,
	.close = dying_close,
};

/* Of a process that dies after so many calls; false: it has outlived them. */
static bool die_at(unsigned calls, const struct scsi_reservation *before,
	const struct scsi_reservation *after, bool power, uint64_t seed)
{
	struct sim *sim = sim_create(seed);
	struct os *os = sim_process_start(sim, "one"), *next;
	struct dying_os dying = {.os.ops = &dying_ops, .under = os, .left = calls};
	struct scsi_reservation *got;
	int rc;

	assert_int_equal(os->ops->directory_create(os, STATE, 0700), 0);
	if (before)
		save(os, before);
	rc = scsi_reservation_save(&dying.os, STATE, uuid, after, NULL);
	if (power)
		sim_power_cut(sim);
	else
		sim_process_kill(os);
	next = sim_process_start(sim, "two");
	got = load(next);
	assert_true(state_equals(got, after) || (rc && state_equals(got, before)));
	free(got);
	save(next, after);
	expect_loaded(next, after);
	assert_int_equal(sim_destroy(sim), 0);
	return rc != 0;
}

static void die_everywhere(bool power, bool had_one)
{
	struct scsi_reservation *before = state_make(2, SCSI_WRITE_EXCLUSIVE, false);
	struct scsi_reservation *after = state_make(5, SCSI_EXCLUSIVE_ACCESS, true);

	SIM_FOR_EACH_SEED(seed, power ? 20 : 1)
	{
		unsigned calls = 0;

		while (die_at(calls, had_one ? before : NULL, after, power, seed))
			calls++;
		assert_true(calls > 5);
	}
	free(after);
	free(before);
}

static void a_kill_at_any_call_leaves_the_old_or_the_new(void **state)
{
	die_everywhere(false, false);
	die_everywhere(false, true);
}

static void a_power_cut_at_any_call_leaves_the_old_or_the_new(void **state)
{
	die_everywhere(true, false);
	die_everywhere(true, true);
}

/* ---- with the command around it -------------------------------------------------------------- */

static struct nexuses n;

static void a_status_goes_out_when_it_is_on_disk(void **state)
{
	struct registrations found;
	struct sim_file *file;

	nexuses_start(&n, "state");
	for (unsigned i = 0; i < 10; i++) {
		struct scsi_reservation *got;

		registers(&n, i % NEXUSES, 100 + i);
		file = sim_file_find(n.w.world.host.sim, FILE_NAME);
		assert_non_null(file);
		assert_int_equal(sim_file_unflushed(file), 0);
		got = load(n.w.world.host.os);
		assert_int_equal(got->generation, i + 1);
		assert_int_equal(got->registrations[i % NEXUSES].key, 100 + i);
		free(got);
	}
	nexuses_restart(&n);
	read_full_status(&n, 0, &found);
	assert_int_equal(found.count, NEXUSES);
	assert_int_equal(found.generation, 10);
	nexuses_end(&n);
}

static void what_cannot_be_written_is_refused_and_has_not_happened(void **state)
{
	static const enum sim_call calls[] = {SIM_CALL_FILE_OPEN, SIM_CALL_FILE_WRITE,
		SIM_CALL_FILE_SYNC, SIM_CALL_FILE_RENAME, SIM_CALL_DIRECTORY_CREATE};
	struct registrations found;
	unsigned refused = 0;

	nexuses_start(&n, "state");
	registers(&n, 0, 1);
	reserves(&n, 0, 1, SCSI_WRITE_EXCLUSIVE_REGISTRANTS);
	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		for (unsigned nth = 1; nth <= 3; nth++) {
			struct command *command =
				persistent_out(&n, 1, SCSI_SA_REGISTER, 0, 0, 2, 0);
			bool failed;

			sim_fail_call(n.w.world.host.sim, calls[i], nth, ENOSPC);
			command_run(command);
			sim_fail_call(n.w.world.host.sim, calls[i], 0, 0);
			failed = command->task.status != SCSI_STATUS_GOOD;
			refused += failed;
			if (failed)
				assert_int_equal(command_sense(command), 0x044400);
			command_free(command);
			if (nth % 2)
				nexuses_restart(&n);
			read_full_status(&n, 2, &found);
			assert_int_equal(found.count, failed ? 1 : 2);
			if (failed)
				wants_conflict(write_one(&n, 1));
			else
				registers(&n, 1, 0);
			listens(&n, 1);
		}
	}
	assert_true(refused >= 7);
	nexuses_end(&n);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_change_of_a_byte_is_found),
		cmocka_unit_test(a_state_that_no_command_makes_is_damage),
		cmocka_unit_test(what_is_saved_is_loaded),
		cmocka_unit_test(a_damaged_file_is_set_aside),
		cmocka_unit_test(a_file_that_cannot_be_read_is_not_taken_for_none),
		cmocka_unit_test(a_start_of_the_host_is_a_power_loss_and_one_of_the_daemon_is_not),
		cmocka_unit_test(a_kill_at_any_call_leaves_the_old_or_the_new),
		cmocka_unit_test(a_power_cut_at_any_call_leaves_the_old_or_the_new),
		cmocka_unit_test(a_status_goes_out_when_it_is_on_disk),
		cmocka_unit_test(what_cannot_be_written_is_refused_and_has_not_happened),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
