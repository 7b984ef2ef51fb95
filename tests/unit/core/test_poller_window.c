/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long a queue stays hot, rhythm by rhythm. A guest on a reactor of its own adds requests at
 * the times of a rhythm and signals when the queue is cold, as a driver does. Two figures judge a
 * rhythm: how many requests found the queue cold, each of which pays for a wake-up, and how often
 * the queue was polled for each, which is what polling burns: on the simulated host a turn takes
 * about a microsecond.
 *
 * Simulated only: a real clock belongs to a quiet machine, and to vhost-bench.
 */
#include "host.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/poller.h"

#define QUEUES   2
#define STALL_NS (10 * MSEC_NS)

struct rhythm {
	uint64_t gap_ns; /* between the requests of a burst; also from an answer to the next one */
	bool random; /* exponential distances around gap_ns */
	unsigned burst; /* requests; 0: endless */
	uint64_t pause_ns; /* behind each burst */
	uint64_t device_ns; /* each request takes so long, and the next waits for its answer */
	bool by_threads; /* it is threads that do so */
	unsigned stall_every; /* one of so many takes STALL_NS; 0: none */
};

struct guest {
	struct host *host;
	struct reactor *reactor; /* of the guest */
	struct rhythm rhythm;
	struct timer arrival;
	uint64_t due_ns;
	unsigned left, sent;
	struct message answer;
	uint64_t random;
	atomic_bool done;

	/* The queue; produced and notify are shared. */
	struct poller poller;
	struct os_watch watch;
	struct timer device;
	atomic_uint produced, signals;
	atomic_bool notify;
	unsigned consumed, polls;
};

/* ---- the queue ---- */

static uint64_t device_time_ns(const struct guest *guest)
{
	const struct rhythm *rhythm = &guest->rhythm;

	if (rhythm->stall_every && guest->consumed % rhythm->stall_every == 0)
		return STALL_NS;
	return rhythm->device_ns;
}

static struct poll_result queue_poll(struct poller *poller, struct poll_budget budget)
{
	struct guest *guest = container_of(poller, struct guest, poller);
	struct poll_result result = {.waits = timer_is_started(&guest->device)};

	guest->polls++;
	result.requests = atomic_load(&guest->produced) - guest->consumed;
	guest->consumed += result.requests;
	if (result.requests && guest->rhythm.device_ns)
		timer_start(poller->reactor, &guest->device, device_time_ns(guest));
	return result;
}

static void queue_answered(struct timer *timer)
{
	struct guest *guest = container_of(timer, struct guest, device);

	poller_expect_work(&guest->poller);
	reactor_send(guest->reactor, &guest->answer);
}

static bool queue_sleep(struct poller *poller)
{
	struct guest *guest = container_of(poller, struct guest, poller);

	atomic_store(&guest->notify, true);
	if (atomic_load(&guest->produced) != guest->consumed) {
		atomic_store(&guest->notify, false);
		return false;
	}
	reactor_watch(poller->reactor, &guest->watch);
	return true;
}

static void queue_wake(struct poller *poller)
{
	struct guest *guest = container_of(poller, struct guest, poller);

	atomic_store(&guest->notify, false);
	reactor_unwatch(poller->reactor, &guest->watch);
}

static void queue_ready(struct os_watch *watch)
{
	poller_wake(&container_of(watch, struct guest, watch)->poller);
}

static const struct poller_ops queue_ops = {
	.poll = queue_poll,
	.sleep = queue_sleep,
	.wake = queue_wake,
};

/* ---- the guest ---- */

/* Without libm: the logarithm of a number in (0, 1], by halving. */
static double logarithm(double value)
{
	double result = 0, step = 0.6931471805599453;

	for (; value <= 0.5; value *= 2)
		result -= step;
	/* ln(1 - x) = -(x + x^2/2 + ...), x below a half */
	for (double x = 1 - value, power = x, n = 1; n < 40; n++, power *= x)
		result -= power / n;
	return result;
}

static uint64_t guest_gap_ns(struct guest *guest)
{
	const struct rhythm *rhythm = &guest->rhythm;
	uint64_t gap_ns = rhythm->gap_ns;

	if (rhythm->random) {
		guest->random =
			guest->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
		gap_ns = (uint64_t)((double)gap_ns *
				    -logarithm(((double)(guest->random >> 33) + 1) / 2147483648.0));
	}
	if (rhythm->burst && guest->sent % rhythm->burst == 0)
		gap_ns += rhythm->pause_ns;
	return gap_ns;
}

static void guest_schedule(struct guest *guest)
{
	uint64_t now_ns = reactor_now(guest->reactor);

	guest->due_ns = u64_max(guest->due_ns + guest_gap_ns(guest), now_ns);
	timer_start(guest->reactor, &guest->arrival, guest->due_ns - now_ns);
}

static void guest_sends(struct timer *timer)
{
	struct guest *guest = container_of(timer, struct guest, arrival);
	struct os *os = guest->host->os;

	if (guest->left == 0) {
		atomic_store(&guest->done, true);
		return;
	}
	guest->left--;
	guest->sent++;
	atomic_fetch_add(&guest->produced, 1);
	if (atomic_exchange(&guest->notify, false)) {
		atomic_fetch_add(&guest->signals, 1);
		assert_int_equal(os->ops->event_signal(os, guest->watch.fd), 0);
	}
	if (!guest->rhythm.device_ns)
		guest_schedule(guest);
}

static void guest_is_answered(struct message *message)
{
	struct guest *guest = container_of(message, struct guest, answer);

	guest->due_ns = reactor_now(guest->reactor);
	guest_schedule(guest);
}

static void guest_begins(void *arg)
{
	struct guest *guest = arg;

	guest->arrival.fired = guest_sends;
	guest->due_ns = reactor_now(guest->reactor);
	guest_schedule(guest);
}

/* ---- a run ---- */

struct run {
	struct host host;
	struct reactor *reactor;
	struct guest guests[QUEUES];
	unsigned count;
};

static void run_begin(void *arg)
{
	struct run *run = arg;

	for (unsigned i = 0; i < run->count; i++)
		poller_start(run->reactor, &run->guests[i].poller, &queue_ops);
}

static void run_halt(void *arg)
{
	struct run *run = arg;

	for (unsigned i = 0; i < run->count; i++) {
		poller_stop(&run->guests[i].poller);
		reactor_unwatch(run->reactor, &run->guests[i].watch);
	}
}

static void run_start(struct run *run, uint64_t seed, unsigned count, const struct rhythm *rhythms)
{
	*run = (struct run){.count = count};
	host_start(&run->host, seed);
	if (rhythms[0].by_threads)
		sim_let_threads_work(run->host.sim);
	run->reactor = host_reactor(&run->host, "queues", POLL_ADAPTIVE);
	for (unsigned i = 0; i < count; i++) {
		struct guest *guest = &run->guests[i];
		struct os *os = run->host.os;

		guest->host = &run->host;
		guest->rhythm = rhythms[i];
		guest->random = seed * 7919 + i;
		guest->reactor = host_reactor(&run->host, "guest", POLL_ADAPTIVE);
		guest->answer.run = guest_is_answered;
		guest->device.fired = queue_answered;
		guest->watch.kind = OS_WATCH_EVENT;
		guest->watch.ready = queue_ready;
		assert_int_equal(os->ops->event_create(os, &guest->watch.fd), 0);
	}
	host_call(&run->host, run->reactor, run_begin, run);
}

static bool all_done(void *arg)
{
	struct run *run = arg;

	for (unsigned i = 0; i < run->count; i++)
		if (!atomic_load(&run->guests[i].done))
			return false;
	return true;
}

/* Each guest sends so many; then the figures start from nothing. */
static void run_send(struct run *run, const unsigned *requests)
{
	for (unsigned i = 0; i < run->count; i++) {
		struct guest *guest = &run->guests[i];

		guest->left = requests[i];
		guest->polls = 0;
		atomic_store(&guest->signals, 0);
		atomic_store(&guest->done, false);
		host_call(&run->host, guest->reactor, guest_begins, guest);
	}
	assert_true(host_wait(&run->host, all_done, run));
}

static void run_end(struct run *run)
{
	host_call(&run->host, run->reactor, run_halt, run);
	host_stop_reactor(run->reactor);
	for (unsigned i = 0; i < run->count; i++) {
		host_stop_reactor(run->guests[i].reactor);
		run->host.os->ops->close(run->host.os, run->guests[i].watch.fd);
	}
	host_end(&run->host);
}

struct figures {
	double cold; /* share of the requests that found the queue cold */
	double polls; /* for each request */
	double sleeps; /* of the queue's reactor, for each request */
};

struct count {
	struct reactor *reactor;
	uint64_t sleeps;
};

static void count_sleeps(void *arg)
{
	struct count *count = arg;
	struct reactor_stats stats;

	reactor_get_stats(count->reactor, &stats);
	count->sleeps = stats.sleeps;
}

static uint64_t run_sleeps(struct run *run)
{
	struct count count = {.reactor = run->reactor};

	host_call(&run->host, run->reactor, count_sleeps, &count);
	return count.sleeps;
}

static struct figures measure(uint64_t seed, struct rhythm rhythm)
{
	static struct run run;
	struct figures figures;
	uint64_t sleeps;

	run_start(&run, seed, 1, &rhythm);
	run_send(&run, (unsigned[]){160});
	sleeps = run_sleeps(&run);
	run_send(&run, (unsigned[]){800});
	figures.sleeps = (double)(run_sleeps(&run) - sleeps) / 800.0;
	figures.cold = atomic_load(&run.guests[0].signals) / 800.0;
	figures.polls = run.guests[0].polls / 800.0;
	if (getenv("WINDOW_TRACE"))
		printf("gap %6.1f us random %d burst %u pause %.0f device %.0f: cold %.3f polls "
		       "%.1f sleeps %.2f\n",
			(double)rhythm.gap_ns / 1e3, rhythm.random, rhythm.burst,
			(double)rhythm.pause_ns / 1e3, (double)rhythm.device_ns / 1e3, figures.cold,
			figures.polls, figures.sleeps);
	run_end(&run);
	return figures;
}

/* ---- rhythms ---- */

static void regular_arrivals_up_to_50_us_apart_find_the_queue_hot(void **state)
{
	static const uint64_t gaps_us[] = {2, 5, 10, 20, 30, 40, 50};

	HOST_FOR_EACH_SEED(seed, 4)
	{
		for (unsigned i = 0; i < ARRAY_SIZE(gaps_us); i++) {
			struct rhythm rhythm = {.gap_ns = gaps_us[i] * USEC_NS};

			assert_true(measure(seed, rhythm).cold <= 0.01);
		}
	}
}

static void regular_arrivals_further_apart_are_slept_through(void **state)
{
	static const uint64_t gaps_us[] = {60, 62, 70, 100, 200, 500, 1000, 5000};

	HOST_FOR_EACH_SEED(seed, 4)
	{
		for (unsigned i = 0; i < ARRAY_SIZE(gaps_us); i++) {
			struct rhythm rhythm = {.gap_ns = gaps_us[i] * USEC_NS};
			struct figures figures = measure(seed, rhythm);

			assert_true(figures.cold >= 0.95);
			/* 2 us, not the gap. */
			assert_true(figures.polls <= 12);
		}
	}
}

static void random_arrivals_find_the_queue_hot_while_they_are_frequent(void **state)
{
	HOST_FOR_EACH_SEED(seed, 4)
	{
		struct rhythm rhythm = {.random = true, .gap_ns = 10 * USEC_NS};

		assert_true(measure(seed, rhythm).cold <= 0.02);
		rhythm.gap_ns = 30 * USEC_NS;
		assert_true(measure(seed, rhythm).cold <= 0.03);
		rhythm.gap_ns = 200 * USEC_NS;
		assert_true(measure(seed, rhythm).polls <= 20);
	}
}

static void a_burst_is_woken_for_once(void **state)
{
	HOST_FOR_EACH_SEED(seed, 4)
	{
		struct rhythm rhythm = {.gap_ns = 3 * USEC_NS, .burst = 8};
		struct figures figures;

		rhythm.pause_ns = 1 * MSEC_NS;
		figures = measure(seed, rhythm);
		assert_true(figures.cold <= 0.15); /* one of eight is 0.125 */
		assert_true(figures.polls <= 12);
		rhythm.pause_ns = 20 * MSEC_NS;
		figures = measure(seed, rhythm);
		assert_true(figures.cold <= 0.15);
		assert_true(figures.polls <= 12);
	}
}

static void on_and_off_costs_a_wake_up_for_each_on(void **state)
{
	HOST_FOR_EACH_SEED(seed, 4)
	{
		struct rhythm rhythm = {
			.gap_ns = 5 * USEC_NS, .burst = 200, .pause_ns = 10 * MSEC_NS};
		struct figures figures = measure(seed, rhythm);

		/* Four pauses. */
		assert_true(figures.cold <= 8 / 800.0);
		assert_true(figures.polls <= 15);
	}
}

static void a_queue_is_hot_when_the_answer_of_a_slow_device_brings_the_next_request(void **state)
{
	HOST_FOR_EACH_SEED(seed, 4)
	{
		struct rhythm rhythm = {.gap_ns = 3 * USEC_NS, .device_ns = 200 * USEC_NS};
		struct figures figures = measure(seed, rhythm);

		assert_true(figures.cold <= 0.02);
		/* It slept while the device worked: of its 200 us, which are some 350 polls, a few
		 * times the guest's pause. */
		assert_true(figures.polls <= 100);
	}
}

/* ---- devices ---- */

static void a_device_sooner_done_than_a_wake_up_is_waited_for_by_polling(void **state)
{
	static const uint64_t device_us[] = {5, 15, 25, 40};

	HOST_FOR_EACH_SEED(seed, 4)
	{
		for (unsigned i = 0; i < ARRAY_SIZE(device_us); i++) {
			struct rhythm rhythm = {.gap_ns = 2 * USEC_NS};

			rhythm.device_ns = device_us[i] * USEC_NS;
			assert_true(measure(seed, rhythm).sleeps <= 0.02);
		}
	}
}

static void a_device_that_takes_longer_than_a_wake_up_is_slept_for(void **state)
{
	static const uint64_t device_us[] = {70, 100, 200, 1000, 5000};

	HOST_FOR_EACH_SEED(seed, 4)
	{
		for (unsigned i = 0; i < ARRAY_SIZE(device_us); i++) {
			struct rhythm rhythm = {.gap_ns = 2 * USEC_NS};
			struct figures figures;

			rhythm.device_ns = device_us[i] * USEC_NS;
			figures = measure(seed, rhythm);
			assert_true(figures.sleeps >= 0.95);
			/* The window for the guest's next one, not the device's time. */
			assert_true(figures.polls <= 100);
		}
	}
}

static void between_rare_requests_a_fast_device_is_all_that_is_polled_for(void **state)
{
	HOST_FOR_EACH_SEED(seed, 4)
	{
		struct rhythm rhythm = {.gap_ns = 5 * MSEC_NS, .device_ns = 25 * USEC_NS};
		struct figures figures = measure(seed, rhythm);

		assert_true(figures.cold >= 0.95);
		/* 25 us and twice 2 us behind; 5 ms would be thousands. */
		assert_in_range(figures.polls, 20, 80);
	}
}

static void a_fast_device_is_slept_for_when_threads_do_its_work(void **state)
{
	HOST_FOR_EACH_SEED(seed, 4)
	{
		struct rhythm rhythm = {.gap_ns = 2 * USEC_NS, .device_ns = 40 * USEC_NS};

		rhythm.by_threads = true;
		assert_true(measure(seed, rhythm).sleeps >= 0.95);
	}
}

static void a_device_that_often_stalls_is_not_polled_for(void **state)
{
	HOST_FOR_EACH_SEED(seed, 4)
	{
		struct rhythm rhythm = {.gap_ns = 2 * USEC_NS, .device_ns = 30 * USEC_NS};

		/* Every other takes 10 ms: a window of 90 us would be lost there. With it half
		 * of the requests would be slept for. Some end in the guest's window. */
		rhythm.stall_every = 2;
		assert_true(measure(seed, rhythm).sleeps >= 0.7);
	}
}

static void two_queues_keep_their_own_rhythms(void **state)
{
	HOST_FOR_EACH_SEED(seed, 4)
	{
		static struct run run;
		static const struct rhythm rhythms[] = {
			{.gap_ns = 5 * USEC_NS}, {.gap_ns = 700 * USEC_NS}};

		run_start(&run, seed, 2, rhythms);
		run_send(&run, (unsigned[]){4000, 30});
		run_send(&run, (unsigned[]){8000, 57});
		assert_in_range(atomic_load(&run.guests[0].signals), 0, 80);
		assert_in_range(atomic_load(&run.guests[1].signals), 54, 57);
		assert_in_range(run.guests[1].polls, 57, 57 * 12);
		run_end(&run);
	}
}

static void a_queue_that_becomes_busy_is_hot_within_a_few_requests(void **state)
{
	HOST_FOR_EACH_SEED(seed, 4)
	{
		static struct run run;
		struct rhythm rhythm = {.gap_ns = 5 * MSEC_NS};

		run_start(&run, seed, 1, &rhythm);
		run_send(&run, (unsigned[]){200});
		run.guests[0].rhythm.gap_ns = 5 * USEC_NS;
		run_send(&run, (unsigned[]){400});
		assert_in_range(atomic_load(&run.guests[0].signals), 1, 30);
		run_end(&run);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(regular_arrivals_up_to_50_us_apart_find_the_queue_hot),
		cmocka_unit_test(regular_arrivals_further_apart_are_slept_through),
		cmocka_unit_test(random_arrivals_find_the_queue_hot_while_they_are_frequent),
		cmocka_unit_test(a_burst_is_woken_for_once),
		cmocka_unit_test(on_and_off_costs_a_wake_up_for_each_on),
		cmocka_unit_test(
			a_queue_is_hot_when_the_answer_of_a_slow_device_brings_the_next_request),
		cmocka_unit_test(a_device_sooner_done_than_a_wake_up_is_waited_for_by_polling),
		cmocka_unit_test(a_device_that_takes_longer_than_a_wake_up_is_slept_for),
		cmocka_unit_test(between_rare_requests_a_fast_device_is_all_that_is_polled_for),
		cmocka_unit_test(a_fast_device_is_slept_for_when_threads_do_its_work),
		cmocka_unit_test(a_device_that_often_stalls_is_not_polled_for),
		cmocka_unit_test(two_queues_keep_their_own_rhythms),
		cmocka_unit_test(a_queue_that_becomes_busy_is_hot_within_a_few_requests),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
