/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The turn of a reactor, and how it sleeps without losing a wake-up.
 *
 * Sleeping: the reactor stores asleep = true and then looks at its messages; a sender pushes its
 * message and then looks at asleep. Both pairs are sequentially consistent, so at least one of the
 * two sees the other: either the reactor finds the message or the sender wakes it. Only the sender
 * that flips asleep back pays for the wake. A reactor counts as asleep until its next turn begins,
 * since under a simulated os it is the step's return that puts it to sleep.
 *
 * Length: a turn that took longer than REACTOR_TURN_NS cuts the share of the next ones by an
 * eighth, one that took less than half of that gives a sixty-fourth back.
 *
 * Accounting: a turn in which something was called counts as busy from its clock reading to that
 * of the next, sleep excluded; all else is idle.
 */
#include "core/reactor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/flow.h"
#include "core/poller.h"
#include "core/slab.h"

#define REACTOR_RING_ENTRIES 512

#define REACTOR_SCALE_MIN 4

/* Rounds through the deferred phases before the rest waits for the next turn. */
#define REACTOR_DEFER_ROUNDS 64

static _Thread_local struct reactor *reactor_current;

struct reactor *reactor_self(void)
{
	return reactor_current;
}

static void defer_list_init(struct defer_list *list)
{
	list->head = NULL;
	list->tail = &list->head;
}

static void reactor_init(
	struct reactor *reactor, struct os *os, const struct reactor_options *options)
{
	reactor->os = os;
	reactor->poll_mode = options->poll_mode;
	reactor->cpu = options->cpu;
	reactor->turn_scale = REACTOR_SCALE_FULL;
	reactor->now_ns = os->ops->now_ns(os);
	snprintf(reactor->name, sizeof(reactor->name), "%s", options->name);
	for (unsigned phase = 0; phase < DEFER_PHASES; phase++)
		defer_list_init(&reactor->deferred[phase]);
	list_init(&reactor->hot);
	list_init(&reactor->cold);
	list_init(&reactor->flows);
}

int reactor_create(struct os *os, const struct reactor_options *options, struct reason *reason,
	struct reactor **ret_reactor)
{
	const struct os_ring_options ring_options = {
		.entries = options->ring_entries ? options->ring_entries : REACTOR_RING_ENTRIES,
	};
	struct reactor *reactor = aligned_alloc(CACHE_LINE, sizeof(*reactor));
	int rc;

	if (!reactor)
		return -ENOMEM;
	memset(reactor, 0, sizeof(*reactor));
	reactor_init(reactor, os, options);
	rc = os->ops->ring_create(os, &ring_options, &reactor->ring);
	if (rc) {
		reason_set(
			reason, rc, "no I/O ring for thread %s: %s", options->name, strerror(-rc));
		goto free_reactor;
	}
	rc = slab_pool_create(reactor, &reactor->slabs);
	if (rc)
		goto destroy_ring;
	*ret_reactor = reactor;
	return 0;

destroy_ring:
	os->ops->ring_destroy(reactor->ring);
free_reactor:
	free(reactor);
	return rc;
}

void reactor_destroy(struct reactor *reactor)
{
	invariant(reactor->thread == NULL);
	slab_pool_destroy(reactor->slabs);
	reactor->os->ops->ring_destroy(reactor->ring);
	free(reactor);
}

void reactor_interrupt(struct reactor *reactor)
{
	if (reactor->thread)
		reactor->os->ops->thread_interrupt(reactor->os, reactor->thread);
}

static bool reactor_step(void *arg)
{
	return reactor_turn(arg);
}

int reactor_start(struct reactor *reactor, struct reason *reason)
{
	const struct os_thread_options options = {
		.name = reactor->name,
		.cpu = reactor->cpu,
		.step = reactor_step,
		.arg = reactor,
	};
	int rc = reactor->os->ops->thread_start(reactor->os, &options, &reactor->thread);

	if (rc)
		return reason_set(reason, rc, "thread %s cannot be started: %s", reactor->name,
			strerror(-rc));
	return 0;
}

static void reactor_stop_run(struct message *message)
{
	struct reactor *reactor = container_of(message, struct reactor, stop_message);

	reactor->stopping = true;
}

void reactor_stop(struct reactor *reactor)
{
	if (!reactor->thread)
		return;
	reactor->stop_message.run = reactor_stop_run;
	reactor_send(reactor, &reactor->stop_message);
	reactor->os->ops->thread_join(reactor->os, reactor->thread);
	reactor->thread = NULL;
}

void reactor_send(struct reactor *reactor, struct message *message)
{
	/* The message may be the reactor's last: it stays until its senders are out of here. */
	atomic_fetch_add_explicit(&reactor->senders, 1, memory_order_relaxed);
	mpsc_push(&reactor->messages, &message->node);
	if (atomic_load_explicit(&reactor->asleep, memory_order_seq_cst) &&
		atomic_exchange_explicit(&reactor->asleep, false, memory_order_seq_cst))
		reactor->os->ops->ring_wake(reactor->ring);
	atomic_fetch_sub_explicit(&reactor->senders, 1, memory_order_release);
}

/* Of every message that has been taken its sender is counted, or has left. */
static bool reactor_has_senders(struct reactor *reactor)
{
	return atomic_load_explicit(&reactor->senders, memory_order_acquire) > 0;
}

void reactor_get_stats(const struct reactor *reactor, struct reactor_stats *ret_stats)
{
	*ret_stats = reactor->stats;
}

static void reactor_run_messages(struct reactor *reactor)
{
	struct mpsc_node *node = mpsc_take_all(&reactor->messages);

	while (node) {
		struct message *message = container_of(node, struct message, node);

		node = node->next; /* run may free or resend the message */
		reactor->work_done++;
		reactor->stats.messages++;
		message->run(message);
	}
}

static void reactor_run_phase(struct reactor *reactor, unsigned phase)
{
	struct deferred *entry = reactor->deferred[phase].head;

	defer_list_init(&reactor->deferred[phase]);
	reactor->deferred_phases &= ~(1u << phase);
	while (entry) {
		struct deferred *next = entry->next;

		entry->queued = false; /* from here on it may be deferred again, or freed */
		entry->run(entry);
		entry = next;
	}
}

static void reactor_run_deferred(struct reactor *reactor)
{
	for (unsigned round = 0; reactor->deferred_phases && round < REACTOR_DEFER_ROUNDS;
		round++) {
		reactor->work_done++;
		reactor_run_phase(reactor, (unsigned)__builtin_ctz(reactor->deferred_phases));
	}
}

void reactor_run_ended(struct reactor *reactor)
{
	const unsigned phases = 1u << DEFER_COMPLETE | 1u << DEFER_PUBLISH;

	for (unsigned round = 0; reactor->deferred_phases & phases && round < REACTOR_DEFER_ROUNDS;
		round++) {
		reactor->work_done++;
		reactor_run_phase(
			reactor, (unsigned)__builtin_ctz(reactor->deferred_phases & phases));
	}
}

/* Stopping, and nothing is under way that would wake it: only senders that are on their way out of
 * reactor_send can keep it, and they do not. */
static bool reactor_is_ending(const struct reactor *reactor)
{
	return reactor->stopping && reactor->jobs == 0 &&
	       reactor->os->ops->ring_pending(reactor->ring) == 0;
}

static bool reactor_may_sleep(struct reactor *reactor)
{
	return reactor->hot_count == 0 && reactor->deferred_phases == 0 &&
	       reactor->poll_mode != POLL_ALWAYS && !reactor_is_ending(reactor);
}

bool reactor_look_at_clock(struct reactor *reactor, uint64_t most_ns)
{
	reactor->units = 0;
	reactor->turn_is_over = reactor->os->ops->now_ns(reactor->os) - reactor->now_ns >= most_ns;
	return !reactor->turn_is_over;
}

/* After a turn that did something. */
static void reactor_scale_turn(struct reactor *reactor, uint64_t spent_ns)
{
	if (spent_ns > reactor->stats.longest_turn_ns)
		reactor->stats.longest_turn_ns = spent_ns;
	if (spent_ns > REACTOR_TURN_NS)
		reactor->turn_scale = (unsigned)u64_max(
			reactor->turn_scale - (reactor->turn_scale + 7) / 8, REACTOR_SCALE_MIN);
	else if (spent_ns < REACTOR_TURN_NS / 2 && reactor->turn_scale < REACTOR_SCALE_FULL)
		reactor->turn_scale++;
}

/* Closes a stretch of time and starts the next with a fresh clock reading. */
static void reactor_account(struct reactor *reactor)
{
	uint64_t now_ns = reactor->os->ops->now_ns(reactor->os);
	uint64_t spent_ns = now_ns - reactor->now_ns;

	if (reactor->work_done) {
		reactor->stats.busy_ns += spent_ns;
		reactor_scale_turn(reactor, spent_ns);
	} else {
		reactor->stats.idle_ns += spent_ns;
	}
	reactor->now_ns = now_ns;
	reactor->work_done = 0;
}

void reactor_wake_up(struct reactor *reactor)
{
	uint64_t idle_ns;

	if (!reactor->overslept)
		return;
	reactor->overslept = false;
	idle_ns = reactor->stats.idle_ns;
	reactor_account(reactor); /* asleep: idle */
	reactor->stats.asleep_ns += reactor->stats.idle_ns - idle_ns;
}

static void reactor_sleep(struct reactor *reactor)
{
	uint64_t delay_ns;
	unsigned called;

	reactor_account(reactor); /* what this turn did before it went to sleep */
	atomic_store_explicit(&reactor->asleep, true, memory_order_seq_cst);
	delay_ns = mpsc_is_empty(&reactor->messages) ? timer_next_delay(reactor) : 0;
	reactor->overslept = true;
	called = reactor->os->ops->ring_enter(reactor->ring, delay_ns);
	reactor->stats.sleeps++;
	reactor_wake_up(reactor); /* what completed is stamped with the end of the sleep */
	reactor->work_done = called;
}

static bool reactor_is_finished(struct reactor *reactor)
{
	return reactor_is_ending(reactor) && reactor->deferred_phases == 0 &&
	       mpsc_is_empty(&reactor->messages) && !reactor_has_senders(reactor);
}

bool reactor_turn(struct reactor *reactor)
{
	/* Only a simulated os can run a turn inside another's call. */
	struct reactor *outer = reactor_current;

	reactor_current = reactor;
	/* Before the messages are taken: what is sent from here on is found by this turn or by the
	 * look before the next sleep. */
	if (atomic_load_explicit(&reactor->asleep, memory_order_relaxed))
		atomic_store_explicit(&reactor->asleep, false, memory_order_relaxed);
	reactor_account(reactor);
	reactor->stats.turns++;
	atomic_store_explicit(
		&reactor->turns, (uint32_t)reactor->stats.turns, memory_order_relaxed);
	timer_run_due(reactor);
	reactor_run_messages(reactor);
	poller_poll_all(reactor);
	reactor_run_deferred(reactor);
	if (reactor_is_finished(reactor)) {
		reactor_current = outer;
		return false;
	}
	if (reactor_may_sleep(reactor))
		reactor_sleep(reactor);
	else
		reactor->work_done += reactor->os->ops->ring_enter(reactor->ring, 0);
	reactor_run_deferred(reactor);
	reactor_current = outer;
	return true;
}
