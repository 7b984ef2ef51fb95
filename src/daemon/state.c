/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When the state is written (state.h). Control reactor; the files are a worker's, one write at a
 * time: changes that come meanwhile are all in the next, and answered when that one is stable. What
 * is kept is asked for when a write begins, not when a change is reported.
 *
 *	open	changes are admitted
 *	shut	the last write, or taking space for the next, has failed: nothing is admitted. Each
 *		change that is refused begins an attempt to write what there is, and the first that
 *		succeeds opens
 *
 * A change whose own write fails has happened all the same, and is told so; what there is to undo
 * only its method knows. Since space is taken ahead that is left to disks that break.
 */
#include "daemon/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "core/worker.h"
#include "daemon/state_impl.h"

struct state_waiter {
	struct list link;
	struct reason *reason;
	done_fn done;
	void *arg;
};

struct state {
	struct state_file file; /* a worker's while one is writing */
	struct reactor *control;
	struct rpc_keeper keeper;
	json_t *(*collect)(void *arg);
	void *collect_arg;

	int shut; /* 0: open; else why not */
	bool writing;
	struct worker_job job;
	json_t *subsystems; /* being written; the worker's, who frees it */
	int reserve_rc; /* the job's second result */
	struct list written; /* waiters whose changes are being written */
	struct list waiting; /* those of later changes */
	struct deferred stopped;
	done_fn stop_done;
	void *stop_arg;
};

static void state_begin_write(struct state *state);

/* ---- writing ------------------------------------------------------------------------------- */

static int state_write(struct worker_job *job)
{
	struct state *state = container_of(job, struct state, job);
	int rc = state->subsystems ? state_file_write(&state->file, state->subsystems) : -ENOMEM;

	/* Of a thousand objects that takes a while, too. */
	json_decref(state->subsystems);
	state->subsystems = NULL;
	state->reserve_rc = rc ? rc : state_file_reserve(&state->file);
	return rc;
}

static void state_set_shut(struct state *state, int shut)
{
	if (shut && shut != state->shut)
		log_error("the state directory %s takes no more changes (%s): they are refused "
			  "until it does",
			state->file.directory, strerror(-shut));
	else if (!shut && state->shut)
		log_notice("the state directory %s takes changes again", state->file.directory);
	state->shut = shut;
}

static void waiters_finish(struct state *state, struct list *waiters, int rc)
{
	struct state_waiter *waiter, *next;

	list_for_each_entry_safe (waiter, next, waiters, link) {
		if (rc)
			reason_set(waiter->reason, rc,
				"the change is in effect but could not be kept in %s (%s): after a "
				"restart it may be gone",
				state->file.directory, strerror(-rc));
		waiter->done(waiter->arg, rc);
		free(waiter);
	}
}

static void state_written(void *arg, int rc)
{
	struct state *state = arg;
	struct list ended = LIST_INIT(ended);

	state->writing = false;
	state_set_shut(state, rc ? rc : state->reserve_rc);
	list_move_all(&ended, &state->written);
	if (!list_is_empty(&state->waiting))
		state_begin_write(state);
	waiters_finish(state, &ended, rc);
	if (state->stop_done && !state->writing)
		state->stop_done(state->stop_arg, 0);
}

static void state_begin_write(struct state *state)
{
	state->writing = true;
	state->subsystems = state->collect(state->collect_arg);
	list_move_all(&state->written, &state->waiting);
	worker_run(&state->job, state->control, state_write, state_written, state);
}

/* ---- the keeper ---------------------------------------------------------------------------- */

static int state_admit(void *arg, struct reason *reason)
{
	struct state *state = arg;

	if (!state->shut)
		return 0;
	if (!state->writing)
		state_begin_write(state);
	return reason_set(reason, state->shut,
		"nothing was changed: it could not be kept in the state directory %s (%s). Make "
		"room there and try again",
		state->file.directory, strerror(-state->shut));
}

static void state_keep(void *arg, struct reason *reason, done_fn done, void *done_arg)
{
	struct state *state = arg;
	struct state_waiter *waiter = alloc_op(sizeof(*waiter));

	waiter->reason = reason;
	waiter->done = done;
	waiter->arg = done_arg;
	list_add_tail(&state->waiting, &waiter->link);
	if (!state->writing)
		state_begin_write(state);
}

/* ---- life ---------------------------------------------------------------------------------- */

int state_open(struct os *os, struct reactor *control, const char *directory, struct reason *reason,
	struct state **ret_state, json_t **ret_subsystems)
{
	struct state *state = calloc(1, sizeof(*state));
	int rc;

	if (!state)
		return -ENOMEM;
	state->control = control;
	state->keeper = (struct rpc_keeper){state_admit, state_keep, state};
	list_init(&state->written);
	list_init(&state->waiting);
	rc = state_file_open(&state->file, os, directory, reason);
	if (!rc)
		rc = state_file_read(&state->file, reason, ret_subsystems);
	if (rc) {
		state_close(state);
		return rc;
	}
	state_set_shut(state, state_file_reserve(&state->file));
	*ret_state = state;
	return 0;
}

void state_set_source(struct state *state, json_t *(*collect)(void *arg), void *arg)
{
	state->collect = collect;
	state->collect_arg = arg;
}

const struct rpc_keeper *state_get_keeper(struct state *state)
{
	return &state->keeper;
}

static void state_stopped(struct deferred *deferred)
{
	struct state *state = container_of(deferred, struct state, stopped);

	state->stop_done(state->stop_arg, 0);
}

void state_stop(struct state *state, done_fn done, void *arg)
{
	invariant(list_is_empty(&state->waiting));
	state->stop_done = done;
	state->stop_arg = arg;
	if (state->writing)
		return;
	state->stopped.run = state_stopped;
	reactor_defer(state->control, DEFER_COMPLETE, &state->stopped);
}

void state_close(struct state *state)
{
	invariant(!state->writing);
	state_file_close(&state->file);
	free(state);
}
