/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pollers: hot and cold without losing work, fair shares, the adaptive window. The queue under test
 * is a counter that a producer on another reactor raises, with a notification bit and an eventfd as
 * a virtqueue has them.
 */
#include "host.h"

#include <stdlib.h>

#include "core/poller.h"

#define QUEUES 16

struct queue {
	struct poller poller;
	struct os_watch watch;
	struct bench *bench;
	unsigned number;
	unsigned request_bytes;
	bool endless; /* always has a backlog */
	bool stop_after_work;
	unsigned late; /* see queue_sleep */
	uint64_t request_ns; /* simulated: what one takes in the poll ... */
	uint64_t batch_ns; /* ... and what one takes in the batch behind the polls */
	struct deferred batch;
	unsigned batched;
	struct queue *victim; /* stopped from inside this one's poll */
	/* written by the producer as well */
	atomic_uint produced;
	atomic_bool notify;
	/* the reactor's; read by the test when it is stopped, or through a call */
	unsigned consumed;
	uint64_t bytes;
	unsigned polls;
	unsigned polls_stopped;
	unsigned largest_take;
	unsigned since_last; /* turns of others since its last take */
	unsigned longest_pause;
	unsigned colds;
	unsigned wakes;
	bool told[POLLER_SECOND + 1]; /* that its poll comes, since the last one */
	unsigned polls_told; /* from afar and then from near */
	unsigned tells;
	atomic_uint seen;
};

struct bench {
	struct host host;
	struct reactor *reactor;
	struct queue queues[QUEUES];
	unsigned count;
	unsigned stop_at; /* pieces of work in all; then every backlog ends */
	unsigned total;
	uint64_t counted_turns;
	uint64_t turn;
	unsigned turn_requests;
	uint64_t turn_bytes;
	unsigned most_requests;
	uint64_t most_bytes;
	atomic_bool done;
};

/* ---- the queue ---- */

static void bench_account(struct queue *queue, struct poll_result result)
{
	struct bench *bench = queue->bench;
	struct reactor_stats stats;

	reactor_get_stats(bench->reactor, &stats);
	if (stats.turns != bench->turn) {
		bench->turn = stats.turns;
		bench->turn_requests = 0;
		bench->turn_bytes = 0;
	}
	bench->turn_requests += result.requests;
	bench->turn_bytes += result.bytes;
	if (bench->turn_requests > bench->most_requests)
		bench->most_requests = bench->turn_requests;
	bench->most_bytes = u64_max(bench->most_bytes, bench->turn_bytes);
	for (unsigned i = 0; i < bench->count; i++) {
		struct queue *other = &bench->queues[i];

		other->since_last += result.requests;
		if (other->since_last > other->longest_pause)
			other->longest_pause = other->since_last;
	}
	if (result.requests)
		queue->since_last = 0;
	bench->total += result.requests;
	if (bench->stop_at && bench->total >= bench->stop_at)
		atomic_store(&bench->done, true);
}

static void queue_batch(struct deferred *deferred)
{
	struct queue *queue = container_of(deferred, struct queue, batch);

	sim_spend(queue->bench->host.os, queue->batched * queue->batch_ns);
	queue->batched = 0;
}

/* Work takes time. */
static void queue_spend(struct queue *queue, unsigned requests)
{
	if (queue->request_ns)
		sim_spend(queue->bench->host.os, requests * queue->request_ns);
	if (!queue->batch_ns || !requests)
		return;
	queue->batched += requests;
	queue->batch.run = queue_batch;
	reactor_defer(queue->bench->reactor, DEFER_SUBMIT, &queue->batch);
}

static struct poll_result queue_poll(struct poller *poller, struct poll_budget budget)
{
	struct queue *queue = container_of(poller, struct queue, poller);
	struct bench *bench = queue->bench;
	struct poll_result result = {0};
	unsigned backlog = queue->endless && !atomic_load(&bench->done)
				   ? budget.requests + 1
				   : atomic_load(&queue->produced) - queue->consumed;

	queue->polls++;
	queue->polls_told += queue->told[POLLER_NEXT];
	queue->told[POLLER_NEXT] = queue->told[POLLER_SECOND] = false;
	queue->polls_stopped += poller->state != POLLER_HOT;
	while (result.requests < backlog && result.requests < budget.requests &&
		result.bytes < budget.bytes) {
		result.requests++;
		result.bytes += queue->request_bytes;
	}
	result.more = result.requests < backlog;
	if (!queue->endless)
		queue->consumed += result.requests;
	else
		queue->bytes += result.bytes;
	if (result.requests > queue->largest_take)
		queue->largest_take = result.requests;
	bench_account(queue, result);
	if (queue->endless)
		queue->consumed += result.requests;
	atomic_fetch_add(&queue->seen, result.requests);
	queue_spend(queue, result.requests);
	if (queue->stop_after_work && queue->consumed)
		poller_stop(poller);
	if (queue->victim && queue->victim->poller.state != POLLER_STOPPED)
		poller_stop(&queue->victim->poller);
	return result;
}

static bool queue_sleep(struct poller *poller)
{
	struct queue *queue = container_of(poller, struct queue, poller);

	/* The guest adds work between the last poll and the notification bit: it signals nothing.
	 */
	if (queue->late > 0 && queue->late-- % 3 == 0)
		atomic_fetch_add(&queue->produced, 1);
	atomic_store(&queue->notify, true);
	reactor_watch(poller->reactor, &queue->watch);
	if (!queue->endless && atomic_load(&queue->produced) != queue->consumed) {
		reactor_unwatch(poller->reactor, &queue->watch);
		atomic_store(&queue->notify, false);
		return false;
	}
	queue->colds++;
	return true;
}

static void queue_wake(struct poller *poller)
{
	struct queue *queue = container_of(poller, struct queue, poller);

	atomic_store(&queue->notify, false);
	reactor_unwatch(poller->reactor, &queue->watch);
	queue->wakes++;
}

static void queue_prefetch(struct poller *poller, enum poller_distance distance)
{
	struct queue *queue = container_of(poller, struct queue, poller);

	queue->tells++;
	queue->told[distance] = distance == POLLER_SECOND || queue->told[POLLER_SECOND];
}

static void queue_ready(struct os_watch *watch)
{
	poller_wake(&container_of(watch, struct queue, watch)->poller);
}

static const struct poller_ops queue_ops = {
	.poll = queue_poll,
	.sleep = queue_sleep,
	.wake = queue_wake,
	.prefetch = queue_prefetch,
};

static void queue_produce(struct queue *queue)
{
	struct os *os = queue->bench->host.os;

	atomic_fetch_add(&queue->produced, 1);
	if (atomic_load(&queue->notify))
		assert_int_equal(os->ops->event_signal(os, queue->watch.fd), 0);
}

/* ---- the bench ---- */

static void bench_start(struct bench *bench, uint64_t seed, unsigned count, enum poll_mode mode)
{
	*bench = (struct bench){.count = count};
	host_start(&bench->host, seed);
	bench->reactor = host_reactor(&bench->host, "pollers", mode);
	for (unsigned i = 0; i < count; i++) {
		struct queue *queue = &bench->queues[i];

		queue->bench = bench;
		queue->number = i;
		queue->request_bytes = 4096;
		queue->watch.kind = OS_WATCH_EVENT;
		queue->watch.ready = queue_ready;
		assert_int_equal(
			bench->host.os->ops->event_create(bench->host.os, &queue->watch.fd), 0);
	}
}

static void bench_go(void *arg)
{
	struct bench *bench = arg;

	for (unsigned i = 0; i < bench->count; i++)
		poller_start(bench->reactor, &bench->queues[i].poller, &queue_ops);
}

static void bench_halt(void *arg)
{
	struct bench *bench = arg;

	for (unsigned i = 0; i < bench->count; i++) {
		struct queue *queue = &bench->queues[i];

		if (queue->poller.state != POLLER_STOPPED)
			poller_stop(&queue->poller);
		reactor_unwatch(bench->reactor, &queue->watch);
	}
}

static void bench_end(struct bench *bench)
{
	host_call(&bench->host, bench->reactor, bench_halt, bench);
	assert_int_equal(bench->reactor->hot_count, 0);
	assert_int_equal(bench->reactor->cold_count, 0);
	host_stop_reactor(bench->reactor);
	for (unsigned i = 0; i < bench->count; i++)
		bench->host.os->ops->close(bench->host.os, bench->queues[i].watch.fd);
	host_end(&bench->host);
}

/* ---- a producer on a reactor of its own ---- */

struct producer {
	struct reactor *reactor;
	struct bench *bench;
	struct timer timer;
	uint64_t random;
	uint64_t gap_ns; /* at most, drawn each time unless exact */
	bool exact;
	unsigned left;
	atomic_bool done;
};

static uint64_t producer_draw(struct producer *producer, uint64_t below)
{
	producer->random = producer->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (producer->random >> 33) % below;
}

static void producer_fired(struct timer *timer)
{
	struct producer *producer = container_of(timer, struct producer, timer);
	struct bench *bench = producer->bench;
	uint64_t gap_ns =
		producer->exact ? producer->gap_ns : producer_draw(producer, producer->gap_ns);

	if (producer->left == 0) {
		atomic_store(&producer->done, true);
		return;
	}
	producer->left--;
	queue_produce(&bench->queues[producer_draw(producer, bench->count)]);
	timer_start(producer->reactor, timer, gap_ns);
}

static void producer_begin(void *arg)
{
	struct producer *producer = arg;

	producer->timer.fired = producer_fired;
	timer_start(producer->reactor, &producer->timer, 0);
}

static bool producer_is_served(void *arg)
{
	struct producer *producer = arg;

	if (!atomic_load(&producer->done))
		return false;
	for (unsigned i = 0; i < producer->bench->count; i++) {
		struct queue *queue = &producer->bench->queues[i];

		if (atomic_load(&queue->seen) != atomic_load(&queue->produced))
			return false;
	}
	return true;
}

static void producer_run(
	struct bench *bench, uint64_t seed, unsigned count, uint64_t gap_ns, bool exact)
{
	struct producer producer = {
		.bench = bench, .random = seed, .left = count, .gap_ns = gap_ns, .exact = exact};

	producer.reactor = host_reactor(&bench->host, "producer", POLL_ADAPTIVE);
	host_call(&bench->host, producer.reactor, producer_begin, &producer);
	assert_true(host_wait(&bench->host, producer_is_served, &producer));
	host_stop_reactor(producer.reactor);
}

/* ---- hot and cold ---- */

static void no_work_is_lost_between_hot_and_cold(void **state)
{
	HOST_FOR_EACH_SEED(seed, 60)
	{
		static struct bench bench;
		unsigned colds = 0;

		bench_start(&bench, seed, 4, seed % 2 ? POLL_ADAPTIVE : POLL_NEVER);
		for (unsigned i = 0; i < bench.count; i++)
			bench.queues[i].late = 20;
		host_call(&bench.host, bench.reactor, bench_go, &bench);
		producer_run(&bench, seed, 300, 40 * USEC_NS, false);
		producer_run(&bench, seed, 50, 800 * USEC_NS, false);
		bench_end(&bench);
		for (unsigned i = 0; i < bench.count; i++)
			colds += bench.queues[i].colds;
		assert_true(colds > 10);
	}
}

static void bench_count_turns(void *arg)
{
	struct bench *bench = arg;
	struct reactor_stats stats;

	reactor_get_stats(bench->reactor, &stats);
	bench->counted_turns = stats.turns;
}

static uint64_t turns_while_idle(enum poll_mode mode)
{
	static struct bench bench;
	uint64_t before;

	bench_start(&bench, 1, 4, mode);
	host_call(&bench.host, bench.reactor, bench_go, &bench);
	producer_run(&bench, 1, 100, 20 * USEC_NS, false);
	host_sleep(&bench.host, 5 * MSEC_NS);
	host_call(&bench.host, bench.reactor, bench_count_turns, &bench);
	before = bench.counted_turns;
	host_sleep(&bench.host, 20 * MSEC_NS);
	host_call(&bench.host, bench.reactor, bench_count_turns, &bench);
	bench_end(&bench);
	return bench.counted_turns - before;
}

static void an_idle_reactor_sleeps_unless_it_always_polls(void **state)
{
	/* Two calls and a few early returns. */
	assert_in_range(turns_while_idle(POLL_ADAPTIVE), 1, 30);
	assert_in_range(turns_while_idle(POLL_NEVER), 1, 30);
	/* On a busy machine a thread that never sleeps may not get to run: look again. One that
	 * sleeps never comes beyond 30. */
	unsigned least = host_is_simulated() ? 200 : 31;
	unsigned turns = 0;

	for (unsigned tries = 0; tries < 20 && turns < least; tries++)
		turns = turns_while_idle(POLL_ALWAYS);
	assert_in_range(turns, least, UINT32_MAX);
}

static void a_queue_with_short_gaps_stays_hot_and_one_with_long_gaps_does_not_burn(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		static struct bench bench;

		bench_start(&bench, seed, 1, POLL_ADAPTIVE);
		host_call(&bench.host, bench.reactor, bench_go, &bench);
		producer_run(&bench, seed, 50, 5 * USEC_NS, true);
		bench.queues[0].colds = 0;
		producer_run(&bench, seed, 500, 5 * USEC_NS, true);
		assert_in_range(bench.queues[0].colds, 0, 20);

		producer_run(&bench, seed, 50, 5 * MSEC_NS, true);
		bench.queues[0].polls = 0;
		bench.queues[0].colds = 0;
		producer_run(&bench, seed, 100, 5 * MSEC_NS, true);
		assert_in_range(bench.queues[0].colds, 90, 110);
		/* The window that remains is microseconds, not the gap. */
		assert_in_range(bench.queues[0].polls, 100, 100 * 30);
		bench_end(&bench);
	}
}

/* ---- fairness ---- */

static void run_backlogs(struct bench *bench, unsigned work)
{
	bench->stop_at = work;
	for (unsigned i = 0; i < bench->count; i++)
		bench->queues[i].endless = true;
	host_call(&bench->host, bench->reactor, bench_go, bench);
	assert_true(host_wait_flag(&bench->host, &bench->done));
	bench_end(bench);
}

static void equal_backlogs_get_equal_shares(void **state)
{
	HOST_FOR_EACH_SEED(seed, 5)
	{
		static struct bench bench;
		unsigned least = UINT32_MAX, most = 0;

		bench_start(&bench, seed, QUEUES, POLL_ADAPTIVE);
		run_backlogs(&bench, 100000);
		for (unsigned i = 0; i < QUEUES; i++) {
			unsigned taken = bench.queues[i].consumed;

			least = taken < least ? taken : least;
			most = taken > most ? taken : most;
		}
		assert_in_range(most - least, 0, 2 * 128);
	}
}

static void one_of_many_is_told_twice_that_its_poll_comes(void **state)
{
	HOST_FOR_EACH_SEED(seed, 5)
	{
		static struct bench bench;

		bench_start(&bench, seed, 8, POLL_ADAPTIVE);
		run_backlogs(&bench, 100000);
		for (unsigned i = 0; i < 8; i++) {
			struct queue *queue = &bench.queues[i];

			/* All but those with which a round begins or ends. */
			assert_in_range(queue->polls_told, queue->polls / 2, queue->polls);
		}
		/* What one of a few needs is near anyway. */
		bench_start(&bench, seed, 2, POLL_ADAPTIVE);
		run_backlogs(&bench, 10000);
		assert_int_equal(bench.queues[0].tells + bench.queues[1].tells, 0);
	}
}

static void large_requests_do_not_take_more_bytes_than_small_ones(void **state)
{
	HOST_FOR_EACH_SEED(seed, 5)
	{
		static struct bench bench;
		uint64_t large, small = 0;

		bench_start(&bench, seed, 8, POLL_ADAPTIVE);
		bench.queues[3].request_bytes = 1 * MIB;
		run_backlogs(&bench, 200000);
		large = bench.queues[3].bytes;
		for (unsigned i = 0; i < 8; i++)
			small = i == 3 ? small : u64_max(small, bench.queues[i].bytes);
		assert_true(large <= small + 2 * MIB);
		assert_true(large >= small / 4); /* nor is it starved */
	}
}

static void a_turn_is_bounded_and_nobody_waits_long(void **state)
{
	HOST_FOR_EACH_SEED(seed, 5)
	{
		static struct bench bench;

		bench_start(&bench, seed, QUEUES, POLL_ALWAYS);
		for (unsigned i = 0; i < QUEUES; i++)
			bench.queues[i].request_bytes = i % 4 ? 512 : 64 * KIB;
		run_backlogs(&bench, 100000);
		assert_in_range(bench.most_requests, 1, 512 + QUEUES * 8);
		/* A queue's last request may go beyond its share. */
		assert_in_range(bench.most_bytes, 1, 1 * MIB + QUEUES * 64 * KIB);
		for (unsigned i = 0; i < QUEUES; i++) {
			assert_true(bench.queues[i].consumed > 0);
			assert_in_range(bench.queues[i].longest_pause, 0, 4 * 512);
		}
	}
}

static void a_backlog_does_not_starve_a_queue_with_little_work(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		static struct bench bench;
		struct queue *little;

		bench_start(&bench, seed, 4, POLL_ADAPTIVE);
		little = &bench.queues[0];
		for (unsigned i = 1; i < 4; i++)
			bench.queues[i].endless = true;
		host_call(&bench.host, bench.reactor, bench_go, &bench);
		for (unsigned n = 1; n <= 50; n++) {
			uint64_t start = bench.host.os->ops->now_ns(bench.host.os);

			queue_produce(little);
			while (atomic_load(&little->seen) < n) {
				host_sleep(&bench.host, 10 * USEC_NS);
				assert_true(bench.host.os->ops->now_ns(bench.host.os) - start <
					    5 * SEC_NS);
			}
			host_sleep(&bench.host, 100 * USEC_NS); /* it goes cold meanwhile */
		}
		atomic_store(&bench.done, true);
		bench_end(&bench);
	}
}

static void bench_forget_longest_turn(void *arg)
{
	struct bench *bench = arg;

	bench->reactor->stats.longest_turn_ns = 0;
}

/* Full backlogs; the first turns, which do not know yet what a request costs, do not count. */
static uint64_t longest_turn(struct bench *bench)
{
	struct reactor_stats stats;

	for (unsigned i = 0; i < bench->count; i++)
		bench->queues[i].endless = true;
	host_call(&bench->host, bench->reactor, bench_go, bench);
	host_sleep(&bench->host, 4 * MSEC_NS);
	host_call(&bench->host, bench->reactor, bench_forget_longest_turn, bench);
	host_sleep(&bench->host, 40 * MSEC_NS);
	reactor_get_stats(bench->reactor, &stats);
	atomic_store(&bench->done, true);
	bench_end(bench);
	return stats.longest_turn_ns;
}

static void assert_equal_shares(const struct bench *bench)
{
	unsigned least = UINT32_MAX, most = 0;

	for (unsigned i = 0; i < bench->count; i++) {
		least = (unsigned)u64_min(least, bench->queues[i].consumed);
		most = (unsigned)u64_max(most, bench->queues[i].consumed);
	}
	assert_true(least > 0 && most - least <= most / 10 + 64);
}

static void a_turn_ends_when_its_time_is_up_and_the_next_goes_on_there(void **state)
{
	HOST_FOR_EACH_SEED(seed, 5)
	{
		static struct bench bench;

		bench_start(&bench, seed, QUEUES, POLL_ADAPTIVE);
		for (unsigned i = 0; i < QUEUES; i++)
			bench.queues[i].request_ns = 1 * USEC_NS;
		assert_in_range(longest_turn(&bench), 10 * USEC_NS, 100 * USEC_NS);
		assert_equal_shares(&bench);
	}
}

static void a_turn_gets_smaller_when_what_it_took_is_slow_to_work_off(void **state)
{
	HOST_FOR_EACH_SEED(seed, 5)
	{
		static struct bench bench;

		bench_start(&bench, seed, QUEUES, POLL_ADAPTIVE);
		for (unsigned i = 0; i < QUEUES; i++) {
			bench.queues[i].request_ns = 50;
			bench.queues[i].batch_ns = 1500;
		}
		assert_in_range(longest_turn(&bench), 10 * USEC_NS, 130 * USEC_NS);
		assert_equal_shares(&bench);

		/* A single one, too. */
		bench_start(&bench, seed, 1, POLL_ADAPTIVE);
		bench.queues[0].batch_ns = 1500;
		assert_in_range(longest_turn(&bench), 10 * USEC_NS, 100 * USEC_NS);
	}
}

static void a_turn_is_full_again_when_work_is_quick(void **state)
{
	HOST_FOR_EACH_SEED(seed, 5)
	{
		static struct bench bench;

		bench_start(&bench, seed, 4, POLL_ADAPTIVE);
		for (unsigned i = 0; i < 4; i++) {
			bench.queues[i].endless = true;
			bench.queues[i].request_ns = 2 * USEC_NS;
		}
		host_call(&bench.host, bench.reactor, bench_go, &bench);
		host_sleep(&bench.host, 4 * MSEC_NS);
		assert_true(bench.reactor->turn_scale < REACTOR_SCALE_FULL);
		for (unsigned i = 0; i < 4; i++)
			bench.queues[i].request_ns = 20;
		host_sleep(&bench.host, 4 * MSEC_NS);
		assert_int_equal(bench.reactor->turn_scale, REACTOR_SCALE_FULL);
		atomic_store(&bench.done, true);
		bench_end(&bench);
	}
}

static void work_behind_the_polls_is_told_when_the_time_is_up(void **state)
{
	static struct bench bench;

	bench_start(&bench, 1, 0, POLL_ADAPTIVE);
	struct reactor *reactor = bench.reactor;

	reactor->units = 0;
	reactor->turn_is_over = false;
	reactor->now_ns = bench.host.os->ops->now_ns(bench.host.os);
	assert_true(reactor_has_time(reactor, REACTOR_LOOK_UNITS));
	sim_spend(bench.host.os, REACTOR_TURN_NS);
	/* It looks at the clock only after some work. */
	assert_true(reactor_has_time(reactor, 1));
	assert_false(reactor_has_time(reactor, REACTOR_LOOK_UNITS));
	assert_false(reactor_has_time(reactor, 0));
	bench_end(&bench);
}

/* ---- stopping inside poll ---- */

static bool first_two_have_worked(void *arg)
{
	struct bench *bench = arg;

	return atomic_load(&bench->queues[0].seen) == 1 && atomic_load(&bench->queues[1].seen) == 1;
}

static bool those_that_run_have_worked(void *arg)
{
	struct bench *bench = arg;

	return atomic_load(&bench->queues[0].seen) == 2 &&
	       atomic_load(&bench->queues[3].seen) == 1 && atomic_load(&bench->queues[5].seen) == 1;
}

static void a_poller_may_stop_itself_or_another_while_it_is_polled(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		static struct bench bench;

		bench_start(&bench, seed, 6, POLL_NEVER);
		bench.queues[1].stop_after_work = true;
		bench.queues[2].victim = &bench.queues[2]; /* itself, without work */
		bench.queues[3].victim = &bench.queues[4]; /* the next in the list */
		for (unsigned i = 0; i < 2; i++)
			queue_produce(&bench.queues[i]);
		host_call(&bench.host, bench.reactor, bench_go, &bench);
		assert_true(host_wait(&bench.host, first_two_have_worked, &bench));
		/* A message comes in a later turn: all have been polled. */
		host_call(&bench.host, bench.reactor, bench_count_turns, &bench);
		for (unsigned i = 0; i < 6; i++)
			queue_produce(&bench.queues[i]);
		assert_true(host_wait(&bench.host, those_that_run_have_worked, &bench));
		host_sleep(&bench.host, MSEC_NS);
		bench_end(&bench);
		assert_int_equal(bench.queues[1].polls, 1);
		assert_int_equal(bench.queues[2].polls, 1);
		for (unsigned i = 0; i < 6; i++)
			assert_int_equal(bench.queues[i].polls_stopped, 0);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_work_is_lost_between_hot_and_cold),
		cmocka_unit_test(an_idle_reactor_sleeps_unless_it_always_polls),
		cmocka_unit_test(equal_backlogs_get_equal_shares),
		cmocka_unit_test(one_of_many_is_told_twice_that_its_poll_comes),
		cmocka_unit_test(large_requests_do_not_take_more_bytes_than_small_ones),
		cmocka_unit_test(a_turn_is_bounded_and_nobody_waits_long),
		cmocka_unit_test(a_backlog_does_not_starve_a_queue_with_little_work),
		cmocka_unit_test(a_poller_may_stop_itself_or_another_while_it_is_polled),
		/* times are exact, and work has a length, only in the simulation */
		cmocka_unit_test(
			a_queue_with_short_gaps_stays_hot_and_one_with_long_gaps_does_not_burn),
		cmocka_unit_test(a_turn_ends_when_its_time_is_up_and_the_next_goes_on_there),
		cmocka_unit_test(a_turn_gets_smaller_when_what_it_took_is_slow_to_work_off),
		cmocka_unit_test(a_turn_is_full_again_when_work_is_quick),
		cmocka_unit_test(work_behind_the_polls_is_told_when_the_time_is_up),
	};

	host_select(argc, argv);
	return _cmocka_run_group_tests(
		"tests", tests, ARRAY_SIZE(tests) - (!host_is_simulated() ? 5 : 0), NULL, NULL);
}
