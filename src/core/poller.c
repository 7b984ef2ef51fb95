/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hot and cold queues, and each queue's fair share of a turn.
 *
 * Share: a turn has a budget of requests and bytes, divided among the hot pollers, with a floor so
 * that batching survives many of them. Bytes are a deficit counter: a queue that took a large
 * request is in debt and is passed over until its quantum of later turns has paid for it, unless
 * nobody else is hot. Credit is not saved up: a queue that was empty starts level.
 *
 * Time: what a request costs is known only afterwards, and most of it may fall behind the polls:
 * in a backend's batch, in the kernel, in signals to guests. So the budget of a turn, and the time
 * that its polls may take, are scaled down when turns last too long and back up when they are
 * short (reactor->turn_scale). Within a round the clock is read now and then; when the time of the
 * polls is over the round ends, and the next turn goes on where it stopped: whoever was polled
 * stands at the end of the list.
 *
 * Many: behind each poll what has ended in it is completed and published at once. Left to the end
 * of the turn, each queue's memory would have to come into the near caches once more.
 *
 * Window: gaps run from one piece of work, or from the end of one, to the next. A wake-up costs the
 * CPU some microseconds and the guest's request somewhat more; it is valued at POLLER_WORTH_NS of
 * polling. Bridging a gap saves that and costs the gap; behind the last of a burst the whole window
 * is polled in vain. Where the first is worth more than the second the window is several times the
 * usual gap, so that of random arrivals, too, nearly all find the queue hot. Gaps longer than any
 * window say nothing about the others.
 *
 * Waits: while a device has requests of a queue, what comes next is most likely their end. A thread
 * that sleeps has to be woken for that, too, so a device that is sooner done than that is worth is
 * waited for by polling. The time from a piece of work to the next end is judged like a gap, apart
 * from the gaps. Devices vary less than guests do: a few times what is usual is enough. Where
 * threads do the work they may need this core, and are not waited for.
 */
#include "core/poller.h"

#define POLLER_TURN_REQUESTS 512
#define POLLER_MIN_REQUESTS  8
#define POLLER_MAX_REQUESTS  128
#define POLLER_TURN_BYTES    (1 * MIB)
#define POLLER_MIN_BYTES     (32 * KIB)

#define POLLER_LINES 7 /* of what a poller is embedded in */

#define POLLER_WORTH_NS      (56 * USEC_NS)
#define POLLER_WINDOW_MIN_NS (2 * USEC_NS) /* none: a last look behind each piece of work */
#define POLLER_WINDOW_HOT_NS (10 * USEC_NS) /* the least that is worth it */
#define POLLER_WINDOW_GAPS   6
#define POLLER_WINDOW_WAITS  3
#define POLLER_WINDOW_MAX_NS (320 * USEC_NS)
#define POLLER_SHARE_ALL     1024

void poller_start(struct reactor *reactor, struct poller *poller, const struct poller_ops *ops)
{
	poller->ops = ops;
	poller->reactor = reactor;
	poller->state = POLLER_HOT;
	poller->last_work_ns = reactor->now_ns;
	poller->gaps = (struct poller_gaps){.usual_ns = POLLER_WORTH_NS / 2};
	poller->waits = (struct poller_gaps){.usual_ns = POLLER_WORTH_NS / 2};
	poller->window_ns = POLLER_WORTH_NS;
	poller->wait_window_ns = POLLER_WORTH_NS;
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

static void gap_average(uint32_t *average, uint64_t value)
{
	*average = (uint32_t)(*average + (value >> 4) - (*average >> 4));
}

static void gap_learn(struct poller_gaps *gaps, uint64_t gap_ns)
{
	if (gap_ns <= POLLER_WINDOW_MAX_NS) {
		gap_average(&gaps->usual_ns, gap_ns);
		gap_average(&gaps->long_share, 0);
	} else {
		gap_average(&gaps->long_share, POLLER_SHARE_ALL);
	}
}

static uint64_t poller_find_window(const struct poller_gaps *gaps, unsigned factor)
{
	uint64_t window_ns = u64_min(
		u64_max(gaps->usual_ns * factor, POLLER_WINDOW_HOT_NS), POLLER_WINDOW_MAX_NS);

	if (gaps->usual_ns < POLLER_WORTH_NS &&
		(POLLER_SHARE_ALL - gaps->long_share) * (POLLER_WORTH_NS - gaps->usual_ns) >
			gaps->long_share * window_ns)
		return window_ns;
	return POLLER_WINDOW_MIN_NS;
}

static void poller_found_work(struct poller *poller, uint64_t now_ns)
{
	gap_learn(&poller->gaps, now_ns - poller->last_work_ns);
	poller->last_work_ns = now_ns;
	poller->window_ns = poller_find_window(&poller->gaps, POLLER_WINDOW_GAPS);
}

void poller_expect_work(struct poller *poller)
{
	struct reactor *reactor = poller->reactor;

	if (poller->state == POLLER_STOPPED || poller->last_work_ns == reactor->now_ns)
		return;
	gap_learn(&poller->waits, reactor->now_ns - poller->last_work_ns);
	poller->wait_window_ns = poller_find_window(&poller->waits, POLLER_WINDOW_WAITS);
	poller->last_work_ns = reactor->now_ns;
	if (poller->state == POLLER_COLD && poller->window_ns > POLLER_WINDOW_MIN_NS &&
		reactor->poll_mode == POLL_ADAPTIVE)
		poller_wake(poller);
}

static bool poller_window_is_over(
	const struct reactor *reactor, const struct poller *poller, bool waits)
{
	uint64_t idle_ns = reactor->now_ns - poller->last_work_ns;

	switch (reactor->poll_mode) {
	case POLL_ALWAYS:
		return false;
	case POLL_NEVER:
		return true;
	case POLL_ADAPTIVE:
		break;
	}
	if (idle_ns <= poller->window_ns)
		return false;
	return !waits || idle_ns > poller->wait_window_ns ||
	       reactor->os->ops->ring_with_threads(reactor->ring) > 0;
}

/* Returns what the visit counts for until the next look at the clock (reactor_has_time). */
static unsigned poller_poll_one(struct reactor *reactor, struct poller *poller)
{
	int64_t quantum = (int64_t)reactor->visit_bytes;
	struct poll_result result;

	poller->deficit_bytes += quantum;
	if (poller->deficit_bytes > quantum || reactor->hot_count == 1)
		poller->deficit_bytes = quantum;
	if (poller->deficit_bytes <= 0)
		return 1;
	result = poller->ops->poll(poller, (struct poll_budget){
						   .requests = reactor->visit_requests,
						   .bytes = (uint64_t)poller->deficit_bytes,
					   });
	reactor->work_done += result.requests;
	if (poller->state != POLLER_HOT)
		return 1; /* it has stopped itself */
	if (result.requests) {
		poller->deficit_bytes -= (int64_t)result.bytes;
		poller_found_work(poller, reactor->now_ns);
	} else {
		poller->deficit_bytes = 0;
		if (!result.more && poller_window_is_over(reactor, poller, result.waits))
			poller_go_cold(reactor, poller);
	}
	return 1 + result.requests;
}

/* The share of each when so many are hot; kept until one of both changes. */
static void poller_divide_turn(struct reactor *reactor, unsigned count)
{
	uint64_t scale = reactor->turn_scale;
	uint64_t requests = POLLER_TURN_REQUESTS * scale / REACTOR_SCALE_FULL / count;
	uint64_t bytes = POLLER_TURN_BYTES * scale / REACTOR_SCALE_FULL / count;

	reactor->visit_requests =
		(unsigned)u64_min(u64_max(requests, POLLER_MIN_REQUESTS), POLLER_MAX_REQUESTS);
	reactor->visit_bytes = u64_max(bytes, POLLER_MIN_BYTES);
	reactor->divided_count = count;
	reactor->divided_scale = reactor->turn_scale;
}

/* May the round go on? What was taken must still be worked off, for which there is more time. */
static bool poller_has_time(struct reactor *reactor)
{
	uint64_t most_ns = REACTOR_TURN_NS * 3 / 4 * reactor->turn_scale / REACTOR_SCALE_FULL;
	bool has_time = reactor_look_at_clock(reactor, most_ns);

	reactor->turn_is_over = false;
	return has_time;
}

/*
 * With many pollers what one needs has left the near caches since its last poll, and waiting for it
 * would make the cost of a request a matter of how many others there are. So it is fetched while
 * those before it are polled: of the third to come the poller and what that is embedded in, of the
 * second what those point to, of the next what is found there.
 */
static void poller_look_ahead(const struct reactor *reactor)
{
	struct list *link = reactor->hot.next;
	struct poller *next = container_of(link, struct poller, link);
	struct poller *second = container_of(link->next, struct poller, link);
	const uint8_t *third = (const uint8_t *)link->next->next;

	for (unsigned i = 0; i < POLLER_LINES; i++)
		__builtin_prefetch(third + (size_t)i * CACHE_LINE, 1);
	if (second->ops->prefetch)
		second->ops->prefetch(second, POLLER_SECOND);
	if (next->ops->prefetch)
		next->ops->prefetch(next, POLLER_NEXT);
}

void poller_poll_all(struct reactor *reactor)
{
	unsigned count = reactor->hot_count;

	if (count == 0)
		return;
	if (unlikely(count != reactor->divided_count ||
		     reactor->turn_scale != reactor->divided_scale))
		poller_divide_turn(reactor, count);
	/* Always the first, which then stands last: a poll may stop any poller or wake others. */
	for (unsigned i = 0; i < count && !list_is_empty(&reactor->hot); i++) {
		struct poller *poller = list_first_entry(&reactor->hot, struct poller, link);

		if (unlikely(reactor->units >= REACTOR_LOOK_UNITS || reactor->turn_is_over) &&
			!poller_has_time(reactor))
			return;
		list_remove(&poller->link);
		list_add_tail(&reactor->hot, &poller->link);
		if (poller_has_many(reactor))
			poller_look_ahead(reactor);
		reactor->units += poller_poll_one(reactor, poller);
		if (poller_has_many(reactor))
			reactor_run_ended(reactor); /* while its lines are near */
	}

	/* Who is first in a turn gets the shortest wait: take turns. */
	if (reactor->hot_count > 1) {
		struct list *first = reactor->hot.next;

		list_remove(first);
		list_add_tail(&reactor->hot, first);
	}
}
