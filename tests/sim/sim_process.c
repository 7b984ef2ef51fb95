/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A process: the table of functions that its code calls, its descriptors, threads and workers.
 *
 * Worker jobs run in no order (os.h promises none): a pick takes any queued job and runs it whole,
 * a later pick calls finished, so that what happens between the two is tried as well.
 *
 * A killed process keeps its struct until sim_destroy, since the test may still undo what the dead
 * code had allocated: its calls fail with -ESRCH or do nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/sim_impl.h"

#define FIRST_FD  3 /* as if stdin, stdout and stderr were open */
#define FIRST_PID 1000

static const struct os_ops process_ops;

struct sim_process *sim_process_create(struct sim *sim, const char *name)
{
	struct sim_process *process = sim_alloc(sizeof(*process));

	process->os.ops = &process_ops;
	process->sim = sim;
	process->pid = FIRST_PID + (uint32_t)sim->next_id++;
	snprintf(process->name, sizeof(process->name), "%s", name);
	list_init(&process->threads);
	list_init(&process->jobs_queued);
	list_init(&process->jobs_ran);
	list_init(&process->mappings);
	list_init(&process->rings);
	list_add_tail(&sim->processes, &process->link);
	return process;
}

struct os *sim_process_start(struct sim *sim, const char *name)
{
	return &sim_process_create(sim, name)->os;
}

uint32_t sim_process_pid(const struct os *os)
{
	return container_of(os, struct sim_process, os)->pid;
}

static void close_all(struct sim_process *process)
{
	for (unsigned i = 0; i < process->fds_size; i++) {
		struct sim_open *open = process->fds[i];

		process->fds[i] = NULL;
		if (open)
			sim_open_put(open);
	}
}

void sim_process_kill(struct os *os)
{
	struct sim_process *process = sim_process_of(os);
	struct sim *sim = process->sim;
	struct sim_thread *thread;
	struct os_ring *ring;
	struct sim_io *sio, *next;

	invariant(!sim->thread);
	if (process->dead)
		return;
	sim_trace(sim, "kill", process->pid, 0);
	process->dead = true;
	list_for_each_entry (thread, &process->threads, link) {
		invariant(!thread->stepping);
		thread->ended = true;
	}
	list_for_each_entry_safe (sio, next, &sim->in_flight, link) {
		if (sio->ring && sio->ring->process == process)
			sim_io_orphan(sio);
	}
	list_for_each_entry (ring, &process->rings, link) {
		ring->queued = ring->ended = NULL;
		ring->queued_count = ring->ended_count = ring->in_flight = 0;
		sim_ring_drop_kept(ring);
	}
	/* The jobs' memory is the dead code's. */
	list_init(&process->jobs_queued);
	list_init(&process->jobs_ran);
	close_all(process);
}

void sim_process_check(struct sim_process *process)
{
	struct sim *sim = process->sim;
	struct sim_thread *thread;
	struct sim_mapping *mapping;
	struct os_ring *ring;

	if (process->dead)
		return;
	for (unsigned i = 0; i < process->fds_size; i++) {
		if (process->fds[i])
			sim_complain(sim, "%s: descriptor %u is still open", process->name,
				i + FIRST_FD);
	}
	list_for_each_entry (thread, &process->threads, link)
		sim_complain(sim, "%s: thread %s was not joined", process->name, thread->name);
	list_for_each_entry (ring, &process->rings, link)
		sim_complain(sim, "%s: a ring with %u operations was not destroyed", process->name,
			sim_ring_pending(ring));
	list_for_each_entry (mapping, &process->mappings, link)
		sim_complain(sim, "%s: %zu bytes are still mapped", process->name, mapping->len);
	if (!list_is_empty(&process->jobs_queued) || !list_is_empty(&process->jobs_ran))
		sim_complain(sim, "%s: workers have unfinished jobs", process->name);
}

void sim_process_free(struct sim_process *process)
{
	struct sim_thread *thread, *next_thread;
	struct os_ring *ring, *next_ring;

	close_all(process);
	sim_mappings_free(process);
	list_for_each_entry_safe (thread, next_thread, &process->threads, link) {
		list_remove(&thread->link);
		free(thread);
	}
	list_for_each_entry_safe (ring, next_ring, &process->rings, link) {
		list_remove(&ring->link);
		free(ring);
	}
	list_remove(&process->link);
	free(process->fds);
	free(process);
}

/* ---- descriptors ---- */

struct sim_open *sim_fd_open(struct sim_process *process, int fd)
{
	if (fd < FIRST_FD || (unsigned)fd - FIRST_FD >= process->fds_size)
		return NULL;
	return process->fds[fd - FIRST_FD];
}

int sim_fd_install(struct sim_process *process, struct sim_open *open)
{
	unsigned i = 0;

	while (i < process->fds_size && process->fds[i])
		i++;
	if (i == process->fds_size) {
		unsigned size = process->fds_size ? process->fds_size * 2 : 16;

		process->fds = realloc(process->fds, size * sizeof(struct sim_open *));
		invariant(process->fds != NULL);
		memset(process->fds + i, 0, (size - i) * sizeof(struct sim_open *));
		process->fds_size = size;
	}
	process->fds[i] = open;
	return (int)i + FIRST_FD;
}

static void process_close(struct os *os, int fd)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_open *open = sim_fd_open(process, fd);
	struct os_ring *ring;
	struct os_watch *watch;

	if (process->dead)
		return;
	if (!open) {
		sim_complain(process->sim, "%s closed descriptor %d, which is not open",
			process->name, fd);
		return;
	}
	list_for_each_entry (ring, &process->rings, link) {
		list_for_each_entry (watch, &ring->armed, link) {
			if (watch->fd == fd)
				sim_complain(process->sim,
					"%s closed descriptor %d, which is watched", process->name,
					fd);
		}
	}
	list_for_each_entry (ring, &process->rings, link) {
		if (sim_ring_kept_file(ring, fd))
			sim_complain(process->sim,
				"%s closed descriptor %d, which a ring still keeps", process->name,
				fd);
	}
	sim_trace(process->sim, "close", (uint64_t)fd, 0);
	process->fds[fd - FIRST_FD] = NULL;
	sim_open_put(open);
}

/* ---- threads ---- */

static int process_thread_start(
	struct os *os, const struct os_thread_options *options, void **ret_thread)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_thread *thread;
	int rc;

	if (process->dead)
		return -ESRCH;
	rc = sim_call(process->sim, SIM_CALL_THREAD_START);
	if (rc)
		return rc;
	thread = sim_alloc(sizeof(*thread));
	thread->process = process;
	thread->id = process->sim->next_id++;
	snprintf(thread->name, sizeof(thread->name), "%s", options->name);
	thread->step = options->step;
	thread->arg = options->arg;
	list_add_tail(&process->threads, &thread->link);
	*ret_thread = thread;
	return 0;
}

static void process_thread_join(struct os *os, void *thread_arg)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_thread *thread = thread_arg;

	while (!thread->ended) {
		if (thread->stepping || sim_pick_one(process->sim, UINT64_MAX) == SIM_STUCK) {
			sim_complain(process->sim, "%s: thread %s is joined, but can never end",
				process->name, thread->name);
			abort();
		}
	}
	list_remove(&thread->link);
	free(thread);
}

/* Nothing of the simulation waits inside a call. */
static void process_thread_interrupt(struct os *os, void *thread_arg)
{
}

bool sim_thread_is_runnable(const struct sim_thread *thread)
{
	return !thread->ring || thread->deadline_ns <= thread->process->sim->now_ns ||
	       sim_ring_has_work(thread->ring);
}

void sim_thread_run(struct sim_thread *thread)
{
	struct sim *sim = thread->process->sim;
	struct sim_thread *outer = sim->thread;

	sim_trace(sim, "step", thread->id, 0);
	thread->ring = NULL;
	thread->enters = 0;
	thread->stepping = true;
	sim->thread = thread;
	if (!thread->step(thread->arg))
		thread->ended = true;
	sim->thread = outer;
	thread->stepping = false;
	if (thread->ended)
		sim_trace(sim, "thread end", thread->id, 0);
}

/* ---- workers ---- */

static void process_work_queue(struct os *os, struct os_work *work)
{
	struct sim_process *process = sim_process_of(os);

	if (!process->dead)
		list_add_tail(&process->jobs_queued, &work->link);
}

static struct os_work *job_draw(struct sim *sim, struct list *jobs)
{
	struct os_work *job, *drawn = NULL;
	unsigned count = 0;

	list_for_each_entry (job, jobs, link) {
		if (sim_chance(sim, ++count))
			drawn = job;
	}
	list_remove(&drawn->link);
	return drawn;
}

void sim_job_run(struct sim_process *process)
{
	struct sim *sim = process->sim;
	struct sim_thread *outer = sim->thread;
	struct os_work *job = job_draw(sim, &process->jobs_queued);

	sim_trace(sim, "job run", process->pid, 0);
	sim->thread = NULL;
	job->run(job);
	sim->thread = outer;
	list_add_tail(&process->jobs_ran, &job->link);
}

void sim_job_finish(struct sim_process *process)
{
	struct sim *sim = process->sim;
	struct sim_thread *outer = sim->thread;
	struct os_work *job = job_draw(sim, &process->jobs_ran);

	sim_trace(sim, "job finish", process->pid, 0);
	sim->thread = NULL;
	job->finished(job);
	sim->thread = outer;
}

void sim_spend(struct os *os, uint64_t ns)
{
	sim_process_of(os)->sim->now_ns += ns;
}

/* ---- the table ---- */

static uint64_t process_now_ns(struct os *os)
{
	struct sim *sim = sim_process_of(os)->sim;

	/* A loop that waits for the time to pass must see it pass. */
	sim->now_ns += sim_random(sim, 64);
	return sim->now_ns;
}

static const struct os_ops process_ops = {
	.now_ns = process_now_ns,
	.file_open = sim_file_open,
	.file_info = sim_file_info,
	.file_lock = sim_file_lock,
	.file_unlock = sim_file_unlock,
	.file_truncate = sim_file_truncate,
	.file_read = sim_file_read,
	.file_write = sim_file_write,
	.file_sync = sim_file_sync,
	.file_rename = sim_file_rename,
	.file_unlink = sim_file_unlink,
	.directory_create = sim_directory_create,
	.memfd_create = sim_memfd_create,
	.map = sim_map,
	.unmap = sim_unmap,
	.close = process_close,
	.socket_listen = sim_socket_listen,
	.socket_connect = sim_socket_connect,
	.socket_accept = sim_socket_accept,
	.socket_receive = sim_socket_receive,
	.socket_send = sim_socket_send,
	.socket_peer = sim_socket_peer,
	.socket_shutdown = sim_socket_shutdown,
	.event_create = sim_event_create,
	.event_signal = sim_event_signal,
	.event_adopt = sim_event_adopt,
	.ring_create = sim_ring_create,
	.ring_destroy = sim_ring_destroy,
	.ring_submit = sim_ring_submit,
	.ring_watch = sim_ring_watch,
	.ring_unwatch = sim_ring_unwatch,
	.ring_enter = sim_ring_enter,
	.ring_pending = sim_ring_pending,
	.ring_with_threads = sim_ring_with_threads,
	.ring_wake = sim_ring_wake,
	.ring_file_keep = sim_ring_file_keep,
	.ring_file_drop = sim_ring_file_drop,
	.thread_start = process_thread_start,
	.thread_join = process_thread_join,
	.thread_interrupt = process_thread_interrupt,
	.work_queue = process_work_queue,
};
