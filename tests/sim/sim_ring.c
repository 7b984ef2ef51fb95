/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rings. An operation goes queued (ring_submit) -> in flight (the next enter; sim_io.c) -> ended
 * (a pick made it end) -> delivered by an enter of its ring. One enter may deliver only some of
 * what is there and takes watches from any place of its list: the kernel promises no order either.
 *
 * A wake is remembered until an enter that may sleep has seen it.
 */
#include <errno.h>
#include <stdlib.h>

#include "sim/sim_impl.h"

/* A step that enters so often with a timeout waits for something inside the step: it never will. */
#define ENTERS_MAX 10000

int sim_ring_create(struct os *os, const struct os_ring_options *options, struct os_ring **ret_ring)
{
	struct sim_process *process = sim_process_of(os);
	struct os_ring *ring;
	int rc;

	if (process->dead)
		return -ESRCH;
	rc = sim_call(process->sim, SIM_CALL_RING_CREATE);
	if (rc)
		return rc;
	ring = sim_alloc(sizeof(*ring));
	ring->process = process;
	ring->id = process->sim->next_id++;
	ring->queued_tail = &ring->queued;
	ring->ended_tail = &ring->ended;
	list_init(&ring->armed);
	list_init(&ring->kept);
	list_add_tail(&process->rings, &ring->link);
	*ret_ring = ring;
	return 0;
}

/* ---- kept files ---- */

struct sim_kept_file *sim_ring_kept_file(const struct os_ring *ring, int fd)
{
	struct sim_kept_file *kept;

	list_for_each_entry (kept, &ring->kept, link) {
		if (kept->fd == fd)
			return kept;
	}
	return NULL;
}

static void kept_file_free(struct sim_kept_file *kept)
{
	list_remove(&kept->link);
	sim_open_put(kept->open);
	free(kept);
}

void sim_ring_file_keep(struct os_ring *ring, int fd)
{
	struct sim_open *open = sim_fd_open(ring->process, fd);
	struct sim_kept_file *kept;

	if (ring->process->dead)
		return;
	if (!open || sim_ring_kept_file(ring, fd)) {
		sim_complain(
			ring->process->sim, "descriptor %d is kept but not open, or twice", fd);
		return;
	}
	kept = sim_alloc(sizeof(*kept));
	kept->fd = fd;
	kept->open = sim_open_get(open);
	list_add_tail(&ring->kept, &kept->link);
}

void sim_ring_file_drop(struct os_ring *ring, int fd)
{
	struct sim *sim = ring->process->sim;
	struct sim_kept_file *kept;
	struct sim_io *sio;

	if (ring->process->dead)
		return;
	kept = sim_ring_kept_file(ring, fd);
	if (!kept) {
		sim_complain(sim, "descriptor %d is dropped but not kept", fd);
		return;
	}
	list_for_each_entry (sio, &sim->in_flight, link) {
		if (sio->ring == ring && sio->open == kept->open)
			sim_complain(sim, "descriptor %d is dropped with I/O under way", fd);
	}
	kept_file_free(kept);
}

/* Those of a killed process: the kernel lets go of them when it ends. */
void sim_ring_drop_kept(struct os_ring *ring)
{
	struct sim_kept_file *kept, *next;

	list_for_each_entry_safe (kept, next, &ring->kept, link)
		kept_file_free(kept);
}

/* ---- rings ---- */

void sim_ring_destroy(struct os_ring *ring)
{
	struct sim *sim = ring->process->sim;
	struct sim_io *sio, *next;
	struct os_watch *watch, *next_watch;
	struct sim_kept_file *kept;
	struct sim_thread *thread;

	if (!ring->process->dead && sim_ring_pending(ring))
		sim_complain(
			sim, "a ring was destroyed with %u operations", sim_ring_pending(ring));
	list_for_each_entry_safe (sio, next, &sim->in_flight, link) {
		if (sio->ring == ring)
			sim_io_orphan(sio);
	}
	list_for_each_entry_safe (watch, next_watch, &ring->armed, link) {
		if (!ring->process->dead)
			sim_complain(
				sim, "a ring was destroyed that watches descriptor %d", watch->fd);
		watch->armed = false;
		list_remove(&watch->link);
	}
	list_for_each_entry (kept, &ring->kept, link)
		sim_complain(sim, "a ring was destroyed that keeps descriptor %d", kept->fd);
	sim_ring_drop_kept(ring);
	list_for_each_entry (thread, &ring->process->threads, link) {
		if (thread->ring == ring)
			thread->ring = NULL;
	}
	list_remove(&ring->link);
	free(ring);
}

void sim_ring_submit(struct os_ring *ring, struct os_io *io)
{
	io->next = NULL;
	*ring->queued_tail = io;
	ring->queued_tail = &io->next;
	ring->queued_count++;
}

static void submit_queued(struct os_ring *ring)
{
	struct os_io *io = ring->queued;

	ring->queued = NULL;
	ring->queued_tail = &ring->queued;
	ring->queued_count = 0;
	while (io) {
		struct os_io *next = io->next;

		ring->in_flight++;
		sim_io_submit(ring, io);
		io = next;
	}
}

void sim_ring_end_io(struct os_ring *ring, struct os_io *io)
{
	ring->in_flight--;
	ring->ended_count++;
	io->next = NULL;
	*ring->ended_tail = io;
	ring->ended_tail = &io->next;
}

unsigned sim_ring_pending(const struct os_ring *ring)
{
	return ring->queued_count + ring->in_flight + ring->ended_count;
}

unsigned sim_ring_with_threads(const struct os_ring *ring)
{
	return ring->process->sim->threads_work ? sim_ring_pending(ring) + 1 : 0;
}

void sim_let_threads_work(struct sim *sim)
{
	sim->threads_work = true;
}

/* ---- watches ---- */

void sim_ring_watch(struct os_ring *ring, struct os_watch *watch)
{
	struct sim *sim = ring->process->sim;

	if (ring->process->dead)
		return;
	if (!sim_fd_open(ring->process, watch->fd))
		sim_complain(sim, "descriptor %d is watched but not open", watch->fd);
	if (watch->armed)
		return;
	watch->armed = true;
	watch->token = ring->id;
	list_add_tail(&ring->armed, &watch->link);
}

void sim_ring_unwatch(struct os_ring *ring, struct os_watch *watch)
{
	if (!watch->armed)
		return;
	invariant(watch->token == ring->id);
	watch->armed = false;
	list_remove(&watch->link);
}

static bool watch_is_ready(const struct os_ring *ring, const struct os_watch *watch)
{
	struct sim_open *open = sim_fd_open(ring->process, watch->fd);

	return !open || sim_open_is_ready(open, watch->kind);
}

bool sim_ring_has_work(const struct os_ring *ring)
{
	struct os_watch *watch;

	if (ring->ended || ring->queued || ring->woken)
		return true;
	list_for_each_entry (watch, &ring->armed, link) {
		if (watch_is_ready(ring, watch))
			return true;
	}
	return false;
}

static void watch_fire(struct os_ring *ring, struct os_watch *watch)
{
	struct sim_open *open = sim_fd_open(ring->process, watch->fd);

	watch->armed = false;
	if (watch->kind == OS_WATCH_EVENT && open) {
		open->event_count = 0;
		if (open->socket)
			sim_socket_drain(open->socket);
	}
	sim_trace(ring->process->sim, "ready", ring->id, (uint64_t)watch->fd);
	watch->ready(watch);
}

static unsigned deliver_watches(struct os_ring *ring)
{
	struct sim *sim = ring->process->sim;
	struct list waiting;
	unsigned count = 0;

	if (list_is_empty(&ring->armed))
		return 0;
	/* Taken one by one, since ready may unwatch others; what it arms is for the next enter. */
	list_init(&waiting);
	list_move_all(&waiting, &ring->armed);
	for (uint64_t turn = sim_random(sim, 4); turn > 0; turn--) {
		struct list *first = waiting.next;

		list_remove(first);
		list_add_tail(&waiting, first);
	}
	while (!list_is_empty(&waiting)) {
		struct os_watch *watch = list_first_entry(&waiting, struct os_watch, link);

		list_remove(&watch->link);
		if (!watch_is_ready(ring, watch) || (count > 0 && sim_chance(sim, 8))) {
			list_add_tail(&ring->armed, &watch->link);
			continue;
		}
		watch_fire(ring, watch);
		count++;
	}
	return count;
}

/* ---- enter ---- */

static unsigned deliver_ended(struct os_ring *ring)
{
	struct sim *sim = ring->process->sim;
	unsigned count = ring->ended_count;

	if (count > 1 && sim_chance(sim, 4))
		count = 1 + (unsigned)sim_random(sim, count);
	for (unsigned i = 0; i < count; i++) {
		struct os_io *io = ring->ended;

		ring->ended = io->next;
		if (!ring->ended)
			ring->ended_tail = &ring->ended;
		ring->ended_count--;
		sim_trace(sim, "done", ring->id, (uint64_t)io->result);
		io->done(io);
	}
	return count;
}

/* Called by the test itself: the rest of the world goes on until there is something. */
static void wait_outside(struct os_ring *ring, uint64_t deadline_ns)
{
	struct sim *sim = ring->process->sim;

	while (!sim_ring_has_work(ring) && sim->now_ns < deadline_ns) {
		if (sim_pick_one(sim, deadline_ns) != SIM_STUCK)
			continue;
		if (deadline_ns == UINT64_MAX) {
			sim_complain(sim, "a ring was entered for ever, but nothing can happen");
			abort();
		}
		sim->now_ns = deadline_ns;
	}
}

unsigned sim_ring_enter(struct os_ring *ring, uint64_t timeout_ns)
{
	struct sim *sim = ring->process->sim;
	uint64_t deadline_ns;
	unsigned count;

	if (ring->process->dead)
		return 0;
	submit_queued(ring);
	if (timeout_ns > 0)
		sim_preempt(sim, 4);
	count = deliver_ended(ring) + deliver_watches(ring);
	if (count > 0 || timeout_ns == 0)
		return count;
	if (ring->woken || sim_chance(sim, 64)) {
		ring->woken = false;
		return 0;
	}
	deadline_ns = timeout_ns == OS_WAIT_FOREVER ? UINT64_MAX : sim->now_ns + timeout_ns;
	if (!sim->thread) {
		wait_outside(ring, deadline_ns);
		ring->woken = false;
		return deliver_ended(ring) + deliver_watches(ring);
	}
	invariant(++sim->thread->enters < ENTERS_MAX);
	sim->thread->ring = ring;
	sim->thread->deadline_ns = deadline_ns;
	return 0;
}

void sim_ring_wake(struct os_ring *ring)
{
	sim_trace(ring->process->sim, "wake", ring->id, 0);
	ring->woken = true;
}
