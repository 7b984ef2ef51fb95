/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keeper of changes: what was answered is there, changes in a row share a write, and a full
 * disk refuses changes before they happen.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/state.h"
#include "host.h"

#define CHANGES 16

static struct {
	struct host host;
	struct reactor *control;
	struct state *state;
	char directory[64];
	int number; /* what is configured */
	int begins_with; /* what the state had */
	struct change {
		int refused;
		int rc;
		atomic_bool ended;
		struct reason reason;
	} changes[CHANGES];
	unsigned count; /* of changes asked for */
	atomic_bool stopped;
} w;

static json_t *collect(void *arg)
{
	return json_pack("[{s:s, s:[{s:i}]}]", "subsystem", "bdev", "config", "n", w.number);
}

static void state_start(void)
{
	struct reason reason = {0};
	json_t *subsystems;
	json_t *config;

	assert_int_equal(
		state_open(w.host.os, w.control, w.directory, &reason, &w.state, &subsystems), 0);
	config = json_object_get(json_array_get(subsystems, 0), "config");
	w.begins_with = (int)json_integer_value(json_object_get(json_array_get(config, 0), "n"));
	w.number = w.begins_with;
	json_decref(subsystems);
	state_set_source(w.state, collect, NULL);
}

static void stopped(void *arg, int rc)
{
	w.stopped = true;
}

static void stop_run(void *arg)
{
	state_stop(w.state, stopped, NULL);
}

/* The process ends, after an orderly stop. */
static void state_end(void)
{
	w.stopped = false;
	host_call(&w.host, w.control, stop_run, NULL);
	assert_true(host_wait_flag(&w.host, &w.stopped));
	host_stop_reactor(w.control);
	state_close(w.state);
}

static void state_restart(void)
{
	state_end();
	w.control = host_reactor(&w.host, "control", POLL_NEVER);
	state_start();
}

static void start(void)
{
	log_set_level(LOG_ERROR);
	memset(&w, 0, sizeof(w));
	host_start(&w.host, 1);
	w.control = host_reactor(&w.host, "control", POLL_NEVER);
	snprintf(w.directory, sizeof(w.directory), "/tmp/sluice-state-%d", (int)getpid());
	w.host.os->ops->directory_create(w.host.os, "/tmp", 0700);
	assert_int_equal(w.host.os->ops->directory_create(w.host.os, w.directory, 0700), 0);
	state_start();
}

static void end(void)
{
	static const char *const names[] = {
		"config.json", "config.json.new", "config.json.previous", "state.lock"};
	char path[128];

	state_end();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", w.directory, names[i]);
		w.host.os->ops->file_unlink(w.host.os, path);
	}
	rmdir(w.directory);
	host_end(&w.host);
}

/* ---- changes ------------------------------------------------------------------------------- */

static void kept(void *arg, int rc)
{
	struct change *change = arg;

	change->rc = rc;
	change->ended = true;
}

/* What the server does with a method that changes the configuration. */
static void change_run(void *arg)
{
	const struct rpc_keeper *keeper = state_get_keeper(w.state);
	struct change *change = arg;

	memset(change, 0, sizeof(*change));
	change->refused = keeper->admit(keeper->arg, &change->reason);
	if (change->refused) {
		change->ended = true;
		return;
	}
	w.number++;
	keeper->keep(keeper->arg, &change->reason, kept, change);
}

static void changes_run(void *arg)
{
	for (unsigned i = 0; i < w.count; i++)
		change_run(&w.changes[i]);
}

static void make_changes(unsigned count)
{
	w.count = count;
	host_call(&w.host, w.control, changes_run, NULL);
	for (unsigned i = 0; i < count; i++)
		assert_true(host_wait_flag(&w.host, &w.changes[i].ended));
}

static const struct change *make_change(void)
{
	make_changes(1);
	return &w.changes[0];
}

static void what_was_answered_is_there_after_a_restart(void **state)
{
	start();
	assert_int_equal(w.begins_with, 0);
	for (int i = 1; i <= 3; i++) {
		assert_int_equal(make_change()->rc, 0);
		state_restart();
		assert_int_equal(w.begins_with, i);
	}
	end();
}

static void changes_in_a_row_share_a_write(void **state)
{
	unsigned before;

	start();
	before = sim_count_calls(w.host.sim, SIM_CALL_FILE_RENAME);
	make_changes(CHANGES);
	for (unsigned i = 0; i < CHANGES; i++)
		assert_int_equal(w.changes[i].rc, 0);
	/* The first alone, the others in one. */
	assert_in_range(sim_count_calls(w.host.sim, SIM_CALL_FILE_RENAME) - before, 2, 4);
	state_restart();
	assert_int_equal(w.begins_with, CHANGES);
	end();
}

/* Nobody asked for anything before. */
static void a_stop_waits_for_nothing_when_nothing_changed(void **state)
{
	start();
	end();
}

/* ---- a directory that takes no more -------------------------------------------------------- */

static void fail_write(unsigned nth, int error)
{
	sim_fail_call(w.host.sim, SIM_CALL_FILE_WRITE, nth, error);
}

static void a_full_disk_refuses_the_next_change_and_none_that_has_happened(void **state)
{
	const struct change *change;

	start();
	fail_write(2, ENOSPC); /* the first is the change, the second takes space */
	assert_int_equal(make_change()->rc, 0);
	fail_write(1, ENOSPC);
	change = make_change();
	assert_int_equal(change->refused, -ENOSPC);
	assert_non_null(strstr(change->reason.text, "nothing was changed"));
	assert_int_equal(w.number, 1);
	state_restart();
	assert_int_equal(w.begins_with, 1);
	end();
}

static void changes_are_taken_again_when_there_is_room(void **state)
{
	start();
	fail_write(2, ENOSPC);
	make_change();
	assert_int_equal(make_change()->refused, -ENOSPC); /* finds that there is room by now */
	host_sleep(&w.host, 10 * MSEC_NS);
	assert_int_equal(make_change()->rc, 0);
	assert_int_equal(w.number, 2);
	state_restart();
	assert_int_equal(w.begins_with, 2);
	end();
}

static void a_disk_that_breaks_is_told_to_who_made_the_change(void **state)
{
	const struct change *change;

	start();
	make_change();
	fail_write(1, EIO);
	change = make_change();
	assert_int_equal(change->rc, -EIO);
	assert_non_null(strstr(change->reason.text, "could not be kept"));
	state_restart();
	assert_int_equal(w.begins_with, 1);
	end();
}

static void a_disk_that_is_full_at_the_start_refuses_changes(void **state)
{
	start();
	make_change();
	state_end();
	w.control = host_reactor(&w.host, "control", POLL_NEVER);
	fail_write(1, ENOSPC);
	state_start();
	assert_int_equal(w.begins_with, 1);
	assert_int_equal(make_change()->refused, -ENOSPC);
	end();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest everywhere[] = {
		cmocka_unit_test(what_was_answered_is_there_after_a_restart),
		cmocka_unit_test(a_stop_waits_for_nothing_when_nothing_changed),
	};
	const struct CMUnitTest simulated[] = {
		cmocka_unit_test(changes_in_a_row_share_a_write),
		cmocka_unit_test(a_full_disk_refuses_the_next_change_and_none_that_has_happened),
		cmocka_unit_test(changes_are_taken_again_when_there_is_room),
		cmocka_unit_test(a_disk_that_breaks_is_told_to_who_made_the_change),
		cmocka_unit_test(a_disk_that_is_full_at_the_start_refuses_changes),
	};
	int failed;

	host_select(argc, argv);
	failed = cmocka_run_group_tests(everywhere, NULL, NULL);
	if (host_is_simulated())
		failed += cmocka_run_group_tests(simulated, NULL, NULL);
	return failed;
}
