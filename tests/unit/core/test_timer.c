/* SPDX-License-Identifier: BSD-2-Clause */
/* Timers, and the phases of deferred work. */
#include "host.h"

#include <stdlib.h>

#define TIMERS 40

/* ---- timers against a model ---- */

struct alarm_clock {
	struct timer timer;
	struct bench *bench;
	uint64_t due_ns; /* by the model; 0: must not fire */
	unsigned fired;
};

struct bench {
	struct reactor *reactor;
	struct alarm_clock clocks[TIMERS];
	uint64_t random;
	unsigned wrong;
	unsigned moves;
	atomic_bool done;
};

static uint64_t bench_draw(struct bench *bench, uint64_t below)
{
	bench->random = bench->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (bench->random >> 33) % below;
}

static void clock_start(struct bench *bench, struct alarm_clock *clock, uint64_t delay_ns)
{
	clock->due_ns = reactor_now(bench->reactor) + delay_ns;
	timer_start(bench->reactor, &clock->timer, delay_ns);
	if (!timer_is_started(&clock->timer))
		bench->wrong++;
}

/* From inside a timer: start, move and stop others, whether due in this turn or not. */
static void bench_disturb(struct bench *bench)
{
	struct alarm_clock *clock = &bench->clocks[bench_draw(bench, TIMERS)];

	if (++bench->moves > 400)
		return;
	switch (bench_draw(bench, 3)) {
	case 0:
		timer_stop(bench->reactor, &clock->timer);
		clock->due_ns = 0;
		bench->wrong += timer_is_started(&clock->timer);
		break;
	default:
		clock_start(bench, clock, bench_draw(bench, 50 * USEC_NS));
		break;
	}
}

static void clock_fired(struct timer *timer)
{
	struct alarm_clock *clock = container_of(timer, struct alarm_clock, timer);
	struct bench *bench = clock->bench;
	bool pending = false;

	clock->fired++;
	bench->wrong += clock->due_ns == 0; /* stopped, or fired twice */
	bench->wrong += clock->due_ns > reactor_now(bench->reactor); /* too early */
	bench->wrong += timer_is_started(timer);
	clock->due_ns = 0;
	for (unsigned i = 0; i < 2; i++)
		bench_disturb(bench);
	for (unsigned i = 0; i < TIMERS; i++)
		pending |= timer_is_started(&bench->clocks[i].timer);
	if (!pending)
		atomic_store(&bench->done, true);
}

static void bench_begin(void *arg)
{
	struct bench *bench = arg;

	for (unsigned i = 0; i < TIMERS; i++) {
		bench->clocks[i].timer.fired = clock_fired;
		bench->clocks[i].bench = bench;
		clock_start(bench, &bench->clocks[i], bench_draw(bench, 100 * USEC_NS));
	}
}

static void timers_can_be_started_moved_and_stopped_from_each_other(void **state)
{
	HOST_FOR_EACH_SEED(seed, 100)
	{
		static struct bench bench;
		struct host host;

		bench = (struct bench){.random = seed};
		host_start(&host, seed);
		bench.reactor = host_reactor(&host, "timers", POLL_ADAPTIVE);
		host_call(&host, bench.reactor, bench_begin, &bench);
		assert_true(host_wait_flag(&host, &bench.done));
		host_stop_reactor(bench.reactor);
		assert_int_equal(bench.wrong, 0);
		assert_true(bench.moves > 40);
		host_end(&host);
	}
}

/* ---- order ---- */

struct in_order {
	struct timer timer;
	struct in_order_bench *bench;
	uint64_t delay_ns;
};

struct in_order_bench {
	struct reactor *reactor;
	struct in_order timers[TIMERS];
	uint64_t last_ns;
	unsigned fired;
	unsigned wrong;
	atomic_bool done;
};

static void in_order_fired(struct timer *timer)
{
	struct in_order *mine = container_of(timer, struct in_order, timer);
	struct in_order_bench *bench = mine->bench;

	bench->wrong += mine->delay_ns < bench->last_ns;
	bench->last_ns = mine->delay_ns;
	if (++bench->fired == TIMERS)
		atomic_store(&bench->done, true);
}

static void in_order_begin(void *arg)
{
	struct in_order_bench *bench = arg;

	for (unsigned i = 0; i < TIMERS; i++) {
		struct in_order *mine = &bench->timers[i];

		mine->bench = bench;
		mine->timer.fired = in_order_fired;
		mine->delay_ns = i * 17 % TIMERS * 10 * USEC_NS;
		timer_start(bench->reactor, &mine->timer, mine->delay_ns);
	}
}

static void timers_fire_in_the_order_of_their_deadlines(void **state)
{
	HOST_FOR_EACH_SEED(seed, 50)
	{
		static struct in_order_bench bench;
		struct host host;

		bench = (struct in_order_bench){0};
		host_start(&host, seed);
		bench.reactor = host_reactor(&host, "timers", POLL_ADAPTIVE);
		host_call(&host, bench.reactor, in_order_begin, &bench);
		assert_true(host_wait_flag(&host, &bench.done));
		host_stop_reactor(bench.reactor);
		assert_int_equal(bench.wrong, 0);
		host_end(&host);
	}
}

/* ---- a timer and the turn ---- */

struct again {
	struct timer timer;
	struct reactor *reactor;
	uint64_t turn;
	unsigned same_turn;
	unsigned fired;
	atomic_bool done;
};

static void again_fired(struct timer *timer)
{
	struct again *again = container_of(timer, struct again, timer);
	struct reactor_stats stats;

	reactor_get_stats(again->reactor, &stats);
	again->same_turn += again->fired > 0 && stats.turns == again->turn;
	again->turn = stats.turns;
	if (++again->fired < 100)
		timer_start(again->reactor, timer, 0);
	else
		atomic_store(&again->done, true);
}

static void again_begin(void *arg)
{
	struct again *again = arg;

	timer_start(again->reactor, &again->timer, 0);
}

static void a_timer_that_restarts_itself_without_delay_lets_the_turn_go_on(void **state)
{
	HOST_FOR_EACH_SEED(seed, 50)
	{
		struct again again = {.timer.fired = again_fired};
		struct host host;

		host_start(&host, seed);
		again.reactor = host_reactor(&host, "timers", POLL_ADAPTIVE);
		host_call(&host, again.reactor, again_begin, &again);
		assert_true(host_wait_flag(&host, &again.done));
		host_stop_reactor(again.reactor);
		assert_int_equal(again.same_turn, 0);
		host_end(&host);
	}
}

struct far {
	struct timer timer;
	struct reactor *reactor;
};

static void far_fired(struct timer *timer)
{
	abort();
}

static void far_begin(void *arg)
{
	struct far *far = arg;

	far->timer.fired = far_fired;
	timer_start(far->reactor, &far->timer, UINT64_MAX);
}

static void far_end(void *arg)
{
	struct far *far = arg;

	if (!timer_is_started(&far->timer))
		abort();
	timer_stop(far->reactor, &far->timer);
}

static void the_longest_delay_does_not_wrap(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		struct far far = {0};
		struct host host;

		host_start(&host, seed);
		far.reactor = host_reactor(&host, "timers", POLL_ADAPTIVE);
		host_call(&host, far.reactor, far_begin, &far);
		host_sleep(&host, 5 * MSEC_NS);
		host_call(&host, far.reactor, far_end, &far);
		host_stop_reactor(far.reactor);
		host_end(&host);
	}
}

/* ---- deferred phases ---- */

#define WORKS 6

struct work {
	struct deferred deferred;
	struct phases *phases;
	char name;
};

struct phases {
	struct reactor *reactor;
	struct work works[WORKS];
	char log[32];
	unsigned len;
	atomic_bool done;
};

static void phases_defer(struct phases *phases, enum defer_phase phase, unsigned i)
{
	reactor_defer(phases->reactor, phase, &phases->works[i].deferred);
}

static void work_run(struct deferred *deferred)
{
	struct work *work = container_of(deferred, struct work, deferred);
	struct phases *phases = work->phases;

	phases->log[phases->len++] = work->name;
	if (work->name == 'c') /* from the middle phase back to the first, and once to itself */
		phases_defer(phases, DEFER_SUBMIT, 4);
	if (work->name == 'e' && phases->len < 8)
		phases_defer(phases, DEFER_PUBLISH, 5);
	if (work->name == 'f')
		atomic_store(&phases->done, true);
}

static void phases_begin(void *arg)
{
	struct phases *phases = arg;

	for (unsigned i = 0; i < WORKS; i++)
		phases->works[i] = (struct work){
			.deferred.run = work_run, .phases = phases, .name = (char)('a' + i)};
	phases_defer(phases, DEFER_PUBLISH, 3); /* d */
	phases_defer(phases, DEFER_COMPLETE, 1); /* b */
	phases_defer(phases, DEFER_COMPLETE, 2); /* c */
	phases_defer(phases, DEFER_SUBMIT, 0); /* a */
	phases_defer(phases, DEFER_SUBMIT, 0); /* once, however often */
}

static void deferred_work_runs_in_the_order_of_the_phases_and_once(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct phases phases = {0};
		struct host host;

		host_start(&host, seed);
		phases.reactor = host_reactor(&host, "phases", POLL_ADAPTIVE);
		host_call(&host, phases.reactor, phases_begin, &phases);
		assert_true(host_wait_flag(&host, &phases.done));
		host_stop_reactor(phases.reactor);
		assert_string_equal(phases.log, "abcedf");
		host_end(&host);
	}
}

struct endless {
	struct deferred deferred;
	struct reactor *reactor;
	unsigned runs;
	atomic_bool stop;
};

static void endless_run(struct deferred *deferred)
{
	struct endless *endless = container_of(deferred, struct endless, deferred);

	endless->runs++;
	if (!atomic_load(&endless->stop))
		reactor_defer(endless->reactor, DEFER_SUBMIT, deferred);
}

static void endless_begin(void *arg)
{
	struct endless *endless = arg;

	reactor_defer(endless->reactor, DEFER_SUBMIT, &endless->deferred);
}

static void endless_end(void *arg)
{
	struct endless *endless = arg;

	atomic_store(&endless->stop, true);
}

static void work_that_defers_itself_for_ever_does_not_hold_up_messages(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct endless endless = {.deferred.run = endless_run};
		struct host host;

		host_start(&host, seed);
		endless.reactor = host_reactor(&host, "endless", POLL_ADAPTIVE);
		host_call(&host, endless.reactor, endless_begin, &endless);
		host_call(&host, endless.reactor, endless_end, &endless);
		host_stop_reactor(endless.reactor);
		assert_true(endless.runs > 1);
		host_end(&host);
	}
}

/* ---- what ends a sleep ---- */

struct sleeper {
	struct reactor *reactor;
	struct os_watch watch;
	struct timer timer;
	uint64_t woken_ns; /* by the clock itself */
	uint64_t woken_now_ns; /* as the reactor says */
	uint64_t fired_ns;
	atomic_bool done;
};

#define SLEEPER_DELAY_NS (100 * MSEC_NS)

static uint64_t sleeper_clock(const struct sleeper *sleeper)
{
	struct os *os = sleeper->reactor->os;

	return os->ops->now_ns(os);
}

static void sleeper_woken(struct os_watch *watch)
{
	struct sleeper *sleeper = container_of(watch, struct sleeper, watch);

	sleeper->woken_ns = sleeper_clock(sleeper);
	timer_start(sleeper->reactor, &sleeper->timer, SLEEPER_DELAY_NS);
	sleeper->woken_now_ns = reactor_now(sleeper->reactor);
}

static void sleeper_fired(struct timer *timer)
{
	struct sleeper *sleeper = container_of(timer, struct sleeper, timer);

	sleeper->fired_ns = sleeper_clock(sleeper);
	atomic_store(&sleeper->done, true);
}

static void sleeper_begin(void *arg)
{
	struct sleeper *sleeper = arg;

	reactor_watch(sleeper->reactor, &sleeper->watch);
}

static void what_ends_a_sleep_knows_how_late_it_is(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct sleeper sleeper = {
			.watch = {.kind = OS_WATCH_EVENT, .ready = sleeper_woken},
			.timer.fired = sleeper_fired,
		};
		struct host host;

		host_start(&host, seed);
		assert_int_equal(host.os->ops->event_create(host.os, &sleeper.watch.fd), 0);
		sleeper.reactor = host_reactor(&host, "sleeper", POLL_ADAPTIVE);
		host_call(&host, sleeper.reactor, sleeper_begin, &sleeper);
		host_sleep(&host, 2 * SLEEPER_DELAY_NS);
		host.os->ops->event_signal(host.os, sleeper.watch.fd);
		assert_true(host_wait_flag(&host, &sleeper.done));
		assert_true(sleeper.fired_ns >= sleeper.woken_now_ns + SLEEPER_DELAY_NS);
		assert_true(sleeper.woken_ns - sleeper.woken_now_ns < SLEEPER_DELAY_NS ||
			    sleeper.woken_now_ns >= sleeper.woken_ns);
		assert_true(sleeper.fired_ns - sleeper.woken_ns > SLEEPER_DELAY_NS / 2);
		host_stop_reactor(sleeper.reactor);
		host.os->ops->close(host.os, sleeper.watch.fd);
		host_end(&host);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_can_be_started_moved_and_stopped_from_each_other),
		cmocka_unit_test(timers_fire_in_the_order_of_their_deadlines),
		cmocka_unit_test(a_timer_that_restarts_itself_without_delay_lets_the_turn_go_on),
		cmocka_unit_test(the_longest_delay_does_not_wrap),
		cmocka_unit_test(what_ends_a_sleep_knows_how_late_it_is),
		cmocka_unit_test(deferred_work_runs_in_the_order_of_the_phases_and_once),
		cmocka_unit_test(work_that_defers_itself_for_ever_does_not_hold_up_messages),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
