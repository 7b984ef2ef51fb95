/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Timers of a reactor: a skew heap through the timers themselves, so that starting one never
 * allocates. Amortised O(log n) to start, stop and fire.
 */
#include "core/reactor.h"

/* Merges two heaps; the parent of the result is left to the caller. Iterative: a skew heap can be
 * as deep as it has entries. */
static struct timer *timer_merge(struct timer *a, struct timer *b)
{
	struct timer *root = NULL;
	struct timer **link = &root;
	struct timer *parent = NULL;

	while (a && b) {
		struct timer *first = a->deadline_ns <= b->deadline_ns ? a : b;
		struct timer *other = first == a ? b : a;

		*link = first;
		first->parent = parent;
		parent = first;
		/* Swap the children, go on merging into what is now the left one. */
		a = first->right;
		b = other;
		first->right = first->left;
		link = &first->left;
	}
	*link = a ? a : b;
	if (*link)
		(*link)->parent = parent;
	return root;
}

static void timer_remove(struct reactor *reactor, struct timer *timer)
{
	struct timer *parent = timer->parent;
	struct timer *rest = timer_merge(timer->left, timer->right);

	if (rest)
		rest->parent = parent;
	if (!parent)
		reactor->timers = rest;
	else if (parent->left == timer)
		parent->left = rest;
	else
		parent->right = rest;
	timer->parent = NULL;
	timer->left = NULL;
	timer->right = NULL;
	timer->deadline_ns = 0;
}

void timer_start(struct reactor *reactor, struct timer *timer, uint64_t delay_ns)
{
	uint64_t deadline_ns = reactor_now(reactor) + delay_ns;

	if (timer_is_started(timer))
		timer_remove(reactor, timer);
	if (deadline_ns < delay_ns)
		deadline_ns = UINT64_MAX;
	timer->deadline_ns = deadline_ns ? deadline_ns : 1;
	timer->parent = NULL;
	timer->left = NULL;
	timer->right = NULL;
	reactor->timers = timer_merge(reactor->timers, timer);
	reactor->timers->parent = NULL;
}

void timer_stop(struct reactor *reactor, struct timer *timer)
{
	if (timer_is_started(timer))
		timer_remove(reactor, timer);
}

void timer_run_due(struct reactor *reactor)
{
	/* A timer that starts itself again with delay 0 waits for the next turn: its deadline is
	 * this turn's now, so compare against the turn before. */
	while (reactor->timers && reactor->timers->deadline_ns < reactor->now_ns) {
		struct timer *timer = reactor->timers;

		timer_remove(reactor, timer);
		reactor->work_done++;
		timer->fired(timer);
	}
}

uint64_t timer_next_delay(const struct reactor *reactor)
{
	if (!reactor->timers)
		return OS_WAIT_FOREVER;
	if (reactor->timers->deadline_ns < reactor->now_ns)
		return 0;
	/* One more: due is strictly after the deadline. */
	return reactor->timers->deadline_ns - reactor->now_ns + 1;
}
