/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A reactor is one thread and everything it owns: a ring of the os, pollers, timers, messages.
 * Nothing of it is locked; other threads reach it only with reactor_send.
 *
 * A turn (reactor_turn):
 *   1. read the clock once (reactor_now); run timers that are due
 *   2. run the messages that have arrived
 *   3. poll the hot pollers, each up to its fair share (poller.h); where there are many, requests
 *      that have ended already are completed and published behind each
 *   4. run what was deferred: batches for backends, completions, publishing to guests
 *   5. enter the ring: submit what was queued; sleep only if there is no hot poller, nothing
 *      deferred and no message, and then until the next timer at most
 *   6. run what step 5 has deferred
 *
 * A turn shall last REACTOR_TURN_NS at most, since whoever sends a request may have to wait for the
 * rest of one turn and for all of the next. Nothing is interrupted: polls, and backends that have
 * much to do in step 4, ask whether there is time left (reactor_has_time) and leave the rest to the
 * next turn; and after turns that were too long a turn's share of work gets smaller (turn_scale).
 *
 * Life: create -> start (its thread runs turns) -> stop (joins) -> destroy. Under a simulated os
 * the thread is a step of the simulation.
 */
#ifndef CORE_REACTOR_H
#define CORE_REACTOR_H

#include <stdatomic.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mpsc.h"
#include "os/os.h"

struct reactor;
struct slab_pool;

/* Work for another reactor, embedded in what it is about. Belongs to the target from reactor_send
 * until run is called; run may free it or send it again. */
struct message {
	struct mpsc_node node;
	void (*run)(struct message *message);
};

/*
 * Work for later in this same turn, in the order of the phases; within a phase first in, first
 * out. Work deferred to an earlier phase while a later one runs makes another round. An entry is
 * on the list once however often it is deferred.
 */
enum defer_phase {
	DEFER_SUBMIT, /* a backend hands its batch to the device */
	DEFER_COMPLETE, /* done callbacks of requests that ended without a device */
	DEFER_PUBLISH, /* used rings are published, guests are signalled */
	DEFER_PHASES,
};

struct deferred {
	struct deferred *next;
	bool queued;
	void (*run)(struct deferred *deferred);
};

/* A call in the future, on the reactor that started it. Embedded in its owner, zeroed at first. */
struct timer {
	uint64_t deadline_ns; /* 0: not started */
	void (*fired)(struct timer *timer);
	struct timer *parent; /* the reactor's heap (timer.c) */
	struct timer *left;
	struct timer *right;
};

enum poll_mode {
	POLL_ADAPTIVE, /* hot while there is work, asleep when there is none */
	POLL_ALWAYS, /* never sleeps */
	POLL_NEVER, /* every poller goes cold as soon as it is empty */
};

#define REACTOR_TURN_NS    (50 * USEC_NS)
#define REACTOR_SCALE_FULL 64 /* of turn_scale */
#define REACTOR_LOOK_UNITS 64 /* requests or KiB */

struct reactor_options {
	const char *name;
	int cpu; /* -1: not pinned */
	enum poll_mode poll_mode;
	unsigned ring_entries; /* 0: default */
};

struct reactor_stats {
	uint64_t turns;
	uint64_t busy_ns; /* turns that found work */
	uint64_t idle_ns; /* turns that found none, and sleep */
	uint64_t asleep_ns; /* of idle_ns: in the call that sleeps, which also submits */
	uint64_t sleeps;
	uint64_t messages;
	uint64_t longest_turn_ns;
};

struct defer_list {
	struct deferred *head;
	struct deferred **tail;
};

/* Public only for the inline functions below; everything else goes through functions. */
struct reactor {
	struct os *os;
	struct os_ring *ring;
	uint64_t now_ns; /* start of this turn */
	struct defer_list deferred[DEFER_PHASES];
	unsigned deferred_phases; /* bit per phase that has entries */
	struct list hot; /* pollers */
	struct list cold;
	unsigned hot_count;
	unsigned cold_count;
	unsigned units; /* done since the last look at the clock */
	bool turn_is_over; /* what it said, for the rest of the turn */
	unsigned turn_scale; /* of the full share of work of a turn, up to REACTOR_SCALE_FULL */
	unsigned visit_requests; /* share of one poller, for ... */
	uint64_t visit_bytes;
	unsigned divided_count; /* ... so many of them ... */
	unsigned divided_scale; /* ... and that scale */
	enum poll_mode poll_mode;
	struct timer *timers; /* heap: the first to fire */
	unsigned work_done; /* in this turn: callbacks, messages, requests */
	unsigned jobs; /* on workers, to come back here */
	bool overslept; /* in the enter that slept: now_ns is of before */
	struct list flows; /* waiting here, for listing */
	struct slab_pool *slabs;
	struct reactor_stats stats; /* read by others through reactor_get_stats only */
	char name[16];
	int cpu;
	bool stopping;
	void *thread;
	struct message stop_message;

	/* shared with other threads */
	CACHE_ALIGNED struct mpsc messages;
	_Atomic bool asleep;
	_Atomic uint32_t turns; /* begun; own thread writes, the watchdog reads */
	_Atomic uint32_t senders; /* inside reactor_send */
};

int reactor_create(struct os *os, const struct reactor_options *options, struct reason *reason,
	struct reactor **ret_reactor) MUST_CHECK;
int reactor_start(struct reactor *reactor, struct reason *reason) MUST_CHECK;
/* Any other thread. Returns when the thread has ended; messages sent before the call have run. */
void reactor_stop(struct reactor *reactor);
void reactor_destroy(struct reactor *reactor);

/* The reactor whose turn is running on this thread, or NULL. */
struct reactor *reactor_self(void);

/* One turn; false once it is stopping and has nothing left to do. Called by the thread. */
bool reactor_turn(struct reactor *reactor);

/* For poller_poll_all: runs what is deferred to DEFER_COMPLETE and DEFER_PUBLISH, no batches. */
void reactor_run_ended(struct reactor *reactor);

/* Any thread. Messages of one sender run in the order they were sent. */
void reactor_send(struct reactor *reactor, struct message *message);

/* Any other thread: a call that waits in this one, if any, fails with EINTR. */
void reactor_interrupt(struct reactor *reactor);

/* Own thread. A copy; from another thread send a message. */
void reactor_get_stats(const struct reactor *reactor, struct reactor_stats *ret_stats);

/* Own thread. deadline = now of this turn + delay; a started timer is moved. */
void timer_start(struct reactor *reactor, struct timer *timer, uint64_t delay_ns);
void timer_stop(struct reactor *reactor, struct timer *timer);
/* For the turn: fires what is due, returns the nanoseconds to the next, OS_WAIT_FOREVER if none. */
void timer_run_due(struct reactor *reactor);
uint64_t timer_next_delay(const struct reactor *reactor);

static inline bool timer_is_started(const struct timer *timer)
{
	return timer->deadline_ns != 0;
}

/* For reactor_now: reads the clock after a sleep. */
void reactor_wake_up(struct reactor *reactor);

/* Own thread: CLOCK_MONOTONIC at the start of this turn or, for what a sleep has ended with, at the
 * end of that. */
static inline uint64_t reactor_now(struct reactor *reactor)
{
	if (unlikely(reactor->overslept))
		reactor_wake_up(reactor);
	return reactor->now_ns;
}

/* Looks at the clock; false from then on when this turn has lasted long enough. */
bool reactor_look_at_clock(struct reactor *reactor, uint64_t most_ns);

/*
 * Own thread, within a turn: so much has been done, in KiB moved or requests handled; may more be?
 * Reads the clock once in REACTOR_LOOK_UNITS. For work that could take long in step 4: when it says
 * no, leave the rest to a poller, which does a little before it asks.
 */
static inline bool reactor_has_time(struct reactor *reactor, unsigned units)
{
	reactor->units += units;
	if (likely(reactor->units < REACTOR_LOOK_UNITS))
		return !reactor->turn_is_over;
	return reactor_look_at_clock(reactor, REACTOR_TURN_NS);
}

/* Own thread. */
static inline void reactor_defer(
	struct reactor *reactor, enum defer_phase phase, struct deferred *deferred)
{
	struct defer_list *list = &reactor->deferred[phase];

	if (deferred->queued)
		return;
	deferred->queued = true;
	deferred->next = NULL;
	*list->tail = deferred;
	list->tail = &deferred->next;
	reactor->deferred_phases |= 1u << phase;
}

/* Own thread. Asynchronous I/O and watches of this reactor (os/os.h). */
static inline void reactor_submit_io(struct reactor *reactor, struct os_io *io)
{
	reactor->os->ops->ring_submit(reactor->ring, io);
}

/* Own thread. A file that this reactor does much I/O on (os/os.h: ring_file_keep). */
static inline void reactor_keep_file(struct reactor *reactor, int fd)
{
	reactor->os->ops->ring_file_keep(reactor->ring, fd);
}

static inline void reactor_drop_file(struct reactor *reactor, int fd)
{
	reactor->os->ops->ring_file_drop(reactor->ring, fd);
}

static inline void reactor_watch(struct reactor *reactor, struct os_watch *watch)
{
	reactor->os->ops->ring_watch(reactor->ring, watch);
}

static inline void reactor_unwatch(struct reactor *reactor, struct os_watch *watch)
{
	reactor->os->ops->ring_unwatch(reactor->ring, watch);
}

#endif
