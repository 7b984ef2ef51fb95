/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The files that keep the configuration: whole or as before, whatever call the process dies at and
 * whatever of it a power cut loses; what is damaged is set aside.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "daemon/state_impl.h"
#include "sim/sim.h"

#define STATE "/state"

static struct reason reason;

/* A configuration that is known by a number. */
static json_t *config_make(int number)
{
	return json_pack("[{s:s, s:[{s:s, s:{s:i}}]}]", "subsystem", "bdev", "config", "method",
		"bdev_null_create", "params", "n", number);
}

/* 0: an empty one. */
static int config_number(const json_t *subsystems)
{
	const json_t *config = json_object_get(json_array_get(subsystems, 0), "config");
	const json_t *params = json_object_get(json_array_get(config, 0), "params");

	return (int)json_integer_value(json_object_get(params, "n"));
}

static struct sim *sim_make(uint64_t seed, struct os **ret_os)
{
	struct sim *sim = sim_create(seed);

	log_set_level(LOG_ERROR);
	memset(&reason, 0, sizeof(reason));
	*ret_os = sim_process_start(sim, "daemon");
	assert_int_equal((*ret_os)->ops->directory_create(*ret_os, STATE, 0700), 0);
	return sim;
}

/* Space for the next change is no matter of this one. */
static void reserve(struct state_file *file)
{
	int rc = state_file_reserve(file);

	assert_true(rc <= 0);
}

/* Keeps one after the other, as a daemon does; the code of the last. */
static int keep(struct os *os, int first, int last)
{
	struct state_file file;
	json_t *subsystems = NULL;
	int rc = state_file_open(&file, os, STATE, &reason);

	if (!rc)
		rc = state_file_read(&file, &reason, &subsystems);
	json_decref(subsystems);
	if (!rc)
		reserve(&file);
	for (int n = first; !rc && n <= last; n++) {
		subsystems = config_make(n);
		rc = state_file_write(&file, subsystems);
		if (!rc)
			reserve(&file);
		json_decref(subsystems);
	}
	state_file_close(&file);
	return rc;
}

/* What a start finds. */
static int found(struct os *os)
{
	struct state_file file;
	json_t *subsystems;
	int number;

	assert_int_equal(state_file_open(&file, os, STATE, &reason), 0);
	assert_int_equal(state_file_read(&file, &reason, &subsystems), 0);
	number = config_number(subsystems);
	json_decref(subsystems);
	state_file_close(&file);
	return number;
}

static void what_was_kept_last_is_found(void **state)
{
	struct os *os;
	struct sim *sim = sim_make(1, &os);

	assert_int_equal(found(os), 0);
	assert_int_equal(keep(os, 1, 1), 0);
	assert_int_equal(found(os), 1);
	assert_int_equal(keep(os, 2, 5), 0);
	assert_int_equal(found(os), 5);
	assert_int_equal(found(os), 5);
	assert_int_equal(sim_destroy(sim), 0);
}

static void the_same_again_is_not_written(void **state)
{
	struct os *os;
	struct sim *sim = sim_make(1, &os);
	json_t *subsystems = NULL, *same = config_make(3);
	struct state_file file;
	unsigned before;

	assert_int_equal(keep(os, 3, 3), 0);
	assert_int_equal(state_file_open(&file, os, STATE, &reason), 0);
	assert_int_equal(state_file_read(&file, &reason, &subsystems), 0);
	before = sim_count_calls(sim, SIM_CALL_FILE_WRITE);
	assert_int_equal(state_file_write(&file, same), 0);
	assert_int_equal(sim_count_calls(sim, SIM_CALL_FILE_WRITE), before);
	json_decref(same);
	json_decref(subsystems);
	state_file_close(&file);
	assert_int_equal(sim_destroy(sim), 0);
}

static void a_second_daemon_is_refused(void **state)
{
	struct os *os;
	struct sim *sim = sim_make(1, &os);
	struct os *other = sim_process_start(sim, "other");
	struct state_file file, second;

	assert_int_equal(state_file_open(&file, os, STATE, &reason), 0);
	assert_int_equal(state_file_open(&second, other, STATE, &reason), -EBUSY);
	assert_non_null(strstr(reason.text, "--state-dir"));
	state_file_close(&second);
	state_file_close(&file);
	assert_int_equal(found(other), 0);
	assert_int_equal(sim_destroy(sim), 0);
}

/* ---- damage -------------------------------------------------------------------------------- */

static void damage(struct sim *sim, const char *path, uint64_t offset)
{
	struct sim_file *file = sim_file_find(sim, path);
	char byte;

	assert_non_null(file);
	sim_file_peek(file, offset, &byte, 1);
	byte ^= 1;
	sim_file_poke(file, offset, &byte, 1);
}

static void a_damaged_file_is_set_aside_and_the_one_before_is_used(void **state)
{
	struct os *os;
	struct sim *sim = sim_make(1, &os);
	uint64_t size;

	assert_int_equal(keep(os, 1, 1), 0);
	size = sim_file_size(sim_file_find(sim, STATE "/config.json"));
	/* Whatever is changed: its form, or what it says. */
	for (uint64_t at = 0; at < size; at += 7) {
		assert_int_equal(keep(os, 1, 2), 0);
		damage(sim, STATE "/config.json", at);
		/* Blanks do not count, nor names beside the known ones. */
		if (found(os) == 2)
			continue;
		assert_int_equal(found(os), 1);
		assert_non_null(sim_file_find(sim, STATE "/config.json.damaged"));
		assert_null(sim_file_find(sim, STATE "/config.json"));
		assert_int_equal(keep(os, 7, 7), 0);
		assert_int_equal(found(os), 7);
	}
	assert_int_equal(sim_destroy(sim), 0);
}

static void a_file_that_was_cut_is_set_aside(void **state)
{
	struct os *os;
	struct sim *sim = sim_make(1, &os);

	assert_int_equal(keep(os, 1, 2), 0);
	sim_file_resize(sim_file_find(sim, STATE "/config.json"), 20);
	assert_int_equal(found(os), 1);
	assert_int_equal(sim_destroy(sim), 0);
}

static void when_all_are_damaged_the_start_is_empty(void **state)
{
	struct os *os;
	struct sim *sim = sim_make(1, &os);

	assert_int_equal(keep(os, 1, 2), 0);
	damage(sim, STATE "/config.json", 0);
	damage(sim, STATE "/config.json.previous", 0);
	assert_int_equal(found(os), 0);
	assert_non_null(sim_file_find(sim, STATE "/config.json.damaged"));
	assert_int_equal(keep(os, 3, 3), 0);
	assert_int_equal(found(os), 3);
	assert_int_equal(sim_destroy(sim), 0);
}

static void refused(struct os *os, int rc, const char *why)
{
	struct state_file file;
	json_t *subsystems;

	reason.text[0] = '\0';
	assert_int_equal(state_file_open(&file, os, STATE, &reason), 0);
	assert_int_equal(state_file_read(&file, &reason, &subsystems), rc);
	assert_non_null(strstr(reason.text, why));
	state_file_close(&file);
}

static void what_another_version_has_written_is_left_alone(void **state)
{
	static const char text[] = "{\"sluice_state\":{\"format\":2},\"subsystems\":[]}";
	struct os *os;
	struct sim *sim = sim_make(1, &os);

	sim_file_poke(sim_file_create(sim, STATE "/config.json", sizeof(text) - 1), 0, text,
		sizeof(text) - 1);
	refused(os, -EINVAL, "another version");
	assert_non_null(sim_file_find(sim, STATE "/config.json"));
	assert_int_equal(sim_destroy(sim), 0);
}

static void what_cannot_be_read_just_now_is_left_alone(void **state)
{
	struct os *os;
	struct sim *sim = sim_make(1, &os);

	assert_int_equal(keep(os, 1, 2), 0);
	sim_fail_call(sim, SIM_CALL_FILE_READ, 1, EIO);
	refused(os, -EIO, "cannot read the state");
	assert_int_equal(found(os), 2);
	assert_int_equal(sim_destroy(sim), 0);
}

/* ---- failing calls ------------------------------------------------------------------------- */

static void whatever_call_fails_what_was_kept_before_is_there(void **state)
{
	unsigned failed = 0;

	for (unsigned nth = 1;; nth++) {
		struct os *os;
		struct sim *sim = sim_make(1, &os);
		unsigned calls;
		int rc, number;

		assert_int_equal(keep(os, 1, 1), 0);
		calls = sim_count_calls(sim, SIM_CALL_ANY);
		sim_fail_call(sim, SIM_CALL_ANY, nth, EIO);
		rc = keep(os, 2, 3);
		calls = sim_count_calls(sim, SIM_CALL_ANY) - calls;
		sim_fail_call(sim, SIM_CALL_ANY, 0, 0);
		number = found(os);
		assert_true(rc ? number >= 1 && number <= 3 : number == 3);
		assert_int_equal(keep(os, 4, 4), 0);
		assert_int_equal(found(os), 4);
		failed += rc != 0;
		assert_int_equal(sim_destroy(sim), 0);
		if (nth > calls)
			break;
	}
	assert_true(failed > 12);
}

/* ---- death at every call ------------------------------------------------------------------- */

struct dying_os {
	struct os os; /* first */
	struct os *under;
	unsigned left; /* calls until it is dead; of a last write half is done */
};

static struct dying_os *dying_of(struct os *os)
{
	return container_of(os, struct dying_os, os);
}

static struct os *under(struct os *os)
{
	return dying_of(os)->under;
}

static bool lives(struct os *os)
{
	if (dying_of(os)->left == 0)
		return false;
	dying_of(os)->left--;
	return true;
}

static int dying_open(struct os *os, const char *path, unsigned flags, unsigned mode, int *ret_fd)
{
	return lives(os) ? under(os)->ops->file_open(under(os), path, flags, mode, ret_fd) : -EIO;
}

static int dying_info(struct os *os, int fd, struct os_file_info *ret_info)
{
	return under(os)->ops->file_info(under(os), fd, ret_info);
}

static int dying_lock(struct os *os, int fd, bool exclusive, struct reason *why)
{
	return under(os)->ops->file_lock(under(os), fd, exclusive, why);
}

static int64_t dying_read(struct os *os, int fd, void *buf, size_t len, uint64_t offset)
{
	return under(os)->ops->file_read(under(os), fd, buf, len, offset);
}

static int64_t dying_write(struct os *os, int fd, const void *buf, size_t len, uint64_t offset)
{
	if (!lives(os))
		return -EIO;
	if (dying_of(os)->left == 0)
		len /= 2;
	return under(os)->ops->file_write(under(os), fd, buf, len, offset);
}

static int dying_truncate(struct os *os, int fd, uint64_t size_bytes)
{
	return lives(os) ? under(os)->ops->file_truncate(under(os), fd, size_bytes) : -EIO;
}

static int dying_sync(struct os *os, int fd)
{
	return lives(os) ? under(os)->ops->file_sync(under(os), fd) : -EIO;
}

static int dying_rename(struct os *os, const char *from, const char *to)
{
	return lives(os) ? under(os)->ops->file_rename(under(os), from, to) : -EIO;
}

static void dying_close(struct os *os, int fd)
{
	if (dying_of(os)->left)
		under(os)->ops->close(under(os), fd);
}

static const struct os_ops dying_ops = {
	.file_open = dying_open,
	.file_info = dying_info,
	.file_lock = dying_lock,
	.file_read = dying_read,
	.file_write = dying_write,
	.file_truncate = dying_truncate,
	.file_sync = dying_sync,
	.file_rename = dying_rename,
	.close = dying_close,
};

/* Keeps 2, then 3, and dies after so many calls. False: it has outlived them. */
static bool die_at(unsigned calls, bool power, uint64_t seed)
{
	struct os *os;
	struct sim *sim = sim_make(seed, &os);
	struct dying_os dying = {.os.ops = &dying_ops, .under = os, .left = calls};
	int rc, number;

	assert_int_equal(keep(os, 1, 1), 0);
	rc = keep(&dying.os, 2, 2);
	if (!rc)
		rc = keep(&dying.os, 3, 3) ? -EINTR : 0;
	if (power)
		sim_power_cut(sim);
	else
		sim_process_kill(os);
	os = sim_process_start(sim, "next");
	number = found(os);
	assert_int_equal(found(os), number);
	if (rc == 0)
		assert_int_equal(number, 3);
	else if (rc == -EINTR) /* 2 was answered */
		assert_in_range(number, 2, 3);
	else
		assert_in_range(number, 1, 2);
	assert_int_equal(keep(os, 4, 4), 0);
	assert_int_equal(found(os), 4);
	assert_int_equal(sim_destroy(sim), 0);
	return rc != 0;
}

static void die_everywhere(bool power, unsigned seeds)
{
	SIM_FOR_EACH_SEED(seed, seeds)
	{
		unsigned calls = 0;

		while (die_at(calls, power, seed))
			calls++;
		assert_true(calls > 12);
	}
}

static void a_process_that_dies_anywhere_leaves_a_whole_state(void **state)
{
	die_everywhere(false, 1);
}

static void a_power_cut_anywhere_leaves_a_whole_state(void **state)
{
	die_everywhere(true, 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_kept_last_is_found),
		cmocka_unit_test(the_same_again_is_not_written),
		cmocka_unit_test(a_second_daemon_is_refused),
		cmocka_unit_test(a_damaged_file_is_set_aside_and_the_one_before_is_used),
		cmocka_unit_test(a_file_that_was_cut_is_set_aside),
		cmocka_unit_test(when_all_are_damaged_the_start_is_empty),
		cmocka_unit_test(what_another_version_has_written_is_left_alone),
		cmocka_unit_test(what_cannot_be_read_just_now_is_left_alone),
		cmocka_unit_test(whatever_call_fails_what_was_kept_before_is_there),
		cmocka_unit_test(a_process_that_dies_anywhere_leaves_a_whole_state),
		cmocka_unit_test(a_power_cut_anywhere_leaves_a_whole_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
