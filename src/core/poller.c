/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hot and cold queues, and each queue's fair share of a turn.
 *
 * Share: a turn has a budget of requests and bytes, divided among the hot pollers, with a floor so
 * that batching survives many of them. Bytes are a deficit counter: a queue that took a large
 * request is in debt and is passed over until its quantum of later turns has paid for it, unless
 * nobody else is hot. Credit is not saved up: a queue that was empty starts level.
 *
 * Window: gap_ns is a moving average of the time from one piece of work, or from the end of one, to
 * the next: the time that polling would have to bridge. While it is short, a
 * queue stays hot for a few gaps after its last work; when it is long, polling until the next
 * request would burn more than the wake-up costs, and the queue goes cold at once.
 */
#include "core/poller.h"

#define POLLER_TURN_REQUESTS 512
#define POLLER_MIN_REQUESTS  8
#define POLLER_MAX_REQUESTS  128
#define POLLER_TURN_BYTES    (1 * MIB)
#define POLLER_MIN_BYTES     (32 * KIB)

#define POLLER_GAP_WORTH_NS  (50 * USEC_NS) /* longer gaps are slept through */
#define POLLER_WINDOW_MIN_NS (2 * USEC_NS)
#define POLLER_WINDOW_MAX_NS (200 * USEC_NS)
#define POLLER_WINDOW_GAPS   4

void poller_start(struct reactor *reactor, struct poller *poller, const struct poller_ops *ops)
{
	poller->ops = ops;
	poller->reactor = reactor;
	poller->state = POLLER_HOT;
	poller->last_work_ns = reactor->now_ns;
	poller->gap_ns = POLLER_GAP_WORTH_NS / 2;
	poller->window_ns = POLLER_GAP_WORTH_NS;
	poller->deficit_bytes = 0;
	list_add_tail(&reactor->hot, &poller->link);
	reactor->hot_count++;
	ops->wake(poller);
}

void poller_stop(struct poller *poller)
{
	if (poller->state == POLLER_HOT)
		poller->reactor->hot_count--;
	else if (poller->state == POLLER_COLD)
		poller->reactor->cold_count--;
	list_remove(&poller->link);
	poller->state = POLLER_STOPPED;
}

void poller_wake(struct poller *poller)
{
	struct reactor *reactor = poller->reactor;

	if (poller->state != POLLER_COLD)
		return;
	list_remove(&poller->link);
	list_add_tail(&reactor->hot, &poller->link);
	reactor->cold_count--;
	reactor->hot_count++;
	poller->state = POLLER_HOT;
	poller->ops->wake(poller);
}

void poller_expect_work(struct poller *poller)
{
	struct reactor *reactor = poller->reactor;

	if (poller->state == POLLER_STOPPED)
		return;
	poller->last_work_ns = reactor->now_ns;
	if (poller->state == POLLER_COLD && poller->gap_ns <= POLLER_GAP_WORTH_NS &&
		reactor->poll_mode == POLL_ADAPTIVE)
		poller_wake(poller);
}

static void poller_go_cold(struct reactor *reactor, struct poller *poller)
{
	if (!poller->ops->sleep(poller))
		return;
	list_remove(&poller->link);
	list_add_tail(&reactor->cold, &poller->link);
	reactor->hot_count--;
	reactor->cold_count++;
	poller->state = POLLER_COLD;
}

static void poller_found_work(struct poller *poller, uint64_t now_ns)
{
	uint64_t gap_ns = now_ns - poller->last_work_ns;

	poller->last_work_ns = now_ns;
	/* A pause far beyond what is worth waiting for says no more than "long". */
	gap_ns = u64_min(gap_ns, 8 * POLLER_GAP_WORTH_NS);
	poller->gap_ns = (poller->gap_ns * 7 + gap_ns) / 8;
	if (poller->gap_ns > POLLER_GAP_WORTH_NS)
		poller->window_ns = POLLER_WINDOW_MIN_NS;
	else
		poller->window_ns = u64_min(
			u64_max(poller->gap_ns * POLLER_WINDOW_GAPS, POLLER_WINDOW_MIN_NS * 5),
			POLLER_WINDOW_MAX_NS);
}

static bool poller_window_is_over(const struct reactor *reactor, const struct poller *poller)
{
	switch (reactor->poll_mode) {
	case POLL_ALWAYS:
		return false;
	case POLL_NEVER:
		return true;
	case POLL_ADAPTIVE:
		break;
	}
	return reactor->now_ns - poller->last_work_ns > poller->window_ns;
}

static void poller_poll_one(
	struct reactor *reactor, struct poller *poller, unsigned requests, uint64_t quantum)
{
	struct poll_result result;

	poller->deficit_bytes += (int64_t)quantum;
	if (poller->deficit_bytes > (int64_t)quantum || reactor->hot_count == 1)
		poller->deficit_bytes = (int64_t)quantum;
	if (poller->deficit_bytes <= 0)
		return;
	result = poller->ops->poll(poller, (struct poll_budget){
						   .requests = requests,
						   .bytes = (uint64_t)poller->deficit_bytes,
					   });
	reactor->work_done += result.requests;
	if (poller->state != POLLER_HOT)
		return; /* it has stopped itself */
	if (result.requests) {
		poller->deficit_bytes -= (int64_t)result.bytes;
		poller_found_work(poller, reactor->now_ns);
	} else {
		poller->deficit_bytes = 0;
		if (!result.more && poller_window_is_over(reactor, poller))
			poller_go_cold(reactor, poller);
	}
}

void poller_poll_all(struct reactor *reactor)
{
	unsigned count = reactor->hot_count;
	unsigned requests;
	uint64_t quantum;

	if (count == 0)
		return;
	requests = (unsigned)u64_min(
		u64_max(POLLER_TURN_REQUESTS / count, POLLER_MIN_REQUESTS), POLLER_MAX_REQUESTS);
	quantum = u64_max(POLLER_TURN_BYTES / count, POLLER_MIN_BYTES);
	/* Always the first, which then stands last: a poll may stop any poller or wake others. */
	for (unsigned i = 0; i < count && !list_is_empty(&reactor->hot); i++) {
		struct poller *poller = list_first_entry(&reactor->hot, struct poller, link);

		list_remove(&poller->link);
		list_add_tail(&reactor->hot, &poller->link);
		poller_poll_one(reactor, poller, requests, quantum);
	}

	/* Who is first in a turn gets the shortest wait: take turns. */
	if (reactor->hot_count > 1) {
		struct list *first = reactor->hot.next;

		list_remove(first);
		list_add_tail(&reactor->hot, first);
	}
}
