/* SPDX-License-Identifier: BSD-2-Clause */
/* The simulation's clock, threads, workers, rings, faults and checks, used as core uses them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/sim.h"

/* Two threads that pass a token through eventfds, each on a ring of its own, and do I/O. */
struct player {
	struct os *os;
	struct os_ring *ring;
	void *thread;
	int event;
	int other;
	int file;
	unsigned turns;
	unsigned io_done;
	struct os_watch watch;
	struct os_io io;
	struct iovec iov;
	char buf[512];
};

static void player_io_done(struct os_io *io)
{
	struct player *player = container_of(io, struct player, io);

	assert_int_equal(io->result, sizeof(player->buf));
	player->io_done++;
	assert_int_equal(player->os->ops->event_signal(player->os, player->other), 0);
}

static void player_ready(struct os_watch *watch)
{
	struct player *player = container_of(watch, struct player, watch);

	player->turns++;
	player->iov = (struct iovec){player->buf, sizeof(player->buf)};
	player->io = (struct os_io){
		.op = OS_IO_WRITEV,
		.fd = player->file,
		.iov = &player->iov,
		.iovcnt = 1,
		.offset = player->turns * sizeof(player->buf),
		.done = player_io_done,
	};
	player->os->ops->ring_submit(player->ring, &player->io);
	player->os->ops->ring_watch(player->ring, watch);
}

static bool player_step(void *arg)
{
	struct player *player = arg;

	if (player->turns >= 20 && player->io_done == player->turns)
		return false;
	player->os->ops->ring_enter(player->ring, OS_WAIT_FOREVER);
	return true;
}

static void player_start(struct player *player, struct sim *sim)
{
	const struct os_ring_options ring_options = {.entries = 8};
	const struct os_thread_options options = {
		.name = "player", .cpu = -1, .step = player_step, .arg = player};
	struct os *os = sim_os(sim);

	player->os = os;
	assert_int_equal(os->ops->ring_create(os, &ring_options, &player->ring), 0);
	assert_int_equal(os->ops->file_open(os, "/disk", OS_OPEN_WRITE, 0, &player->file), 0);
	player->watch = (struct os_watch){
		.fd = player->event, .kind = OS_WATCH_EVENT, .ready = player_ready};
	os->ops->ring_watch(player->ring, &player->watch);
	assert_int_equal(os->ops->thread_start(os, &options, &player->thread), 0);
}

static void player_end(struct player *player)
{
	struct os *os = player->os;

	os->ops->ring_unwatch(player->ring, &player->watch);
	os->ops->ring_destroy(player->ring);
	os->ops->close(os, player->file);
	os->ops->close(os, player->event);
}

static uint64_t play(uint64_t seed)
{
	struct sim *sim = sim_create(seed);
	struct os *os = sim_os(sim);
	struct player players[2] = {0};
	uint64_t hash;

	(void)sim_file_create(sim, "/disk", 64 * KIB);
	for (int i = 0; i < 2; i++)
		assert_int_equal(os->ops->event_create(os, &players[i].event), 0);
	for (int i = 0; i < 2; i++) {
		players[i].other = players[1 - i].event;
		player_start(&players[i], sim);
	}
	assert_int_equal(os->ops->event_signal(os, players[0].event), 0);
	os->ops->thread_join(os, players[0].thread);
	os->ops->thread_join(os, players[1].thread);
	player_end(&players[0]);
	player_end(&players[1]);
	hash = sim_trace_hash(sim);
	assert_int_equal(sim_destroy(sim), 0);
	return hash;
}

static void the_same_seed_gives_the_same_run_and_others_do_not(void **state)
{
	unsigned equal = 0;

	SIM_FOR_EACH_SEED(seed, 50)
	{
		uint64_t hash = play(seed);

		assert_int_equal(play(seed), hash);
		equal += play(seed + 1) == hash;
	}
	assert_int_equal(equal, 0);
}

static void time_leaps_when_everything_sleeps(void **state)
{
	struct sim *sim = sim_create(1);
	struct os *os = sim_os(sim);
	const struct os_ring_options options = {.entries = 8};
	uint64_t start = sim_now(sim);
	struct os_ring *ring;

	assert_int_equal(os->ops->ring_create(os, &options, &ring), 0);
	while (sim_now(sim) < start + 10 * SEC_NS)
		assert_int_equal(os->ops->ring_enter(ring, 10 * SEC_NS), 0);
	assert_in_range(sim_now(sim) - start, 10 * SEC_NS, 20 * SEC_NS);
	os->ops->ring_destroy(ring);
	assert_false(sim_run(sim, NULL, NULL, SEC_NS));
	assert_int_equal(sim_destroy(sim), 0);
}

struct sleeper {
	struct os *os;
	struct os_ring *ring;
	unsigned steps;
	bool stop;
};

static bool sleeper_step(void *arg)
{
	struct sleeper *sleeper = arg;

	if (sleeper->stop)
		return false;
	sleeper->steps++;
	sleeper->os->ops->ring_enter(sleeper->ring, OS_WAIT_FOREVER);
	return true;
}

static void a_wake_ends_a_sleep_and_is_remembered_when_it_comes_before(void **state)
{
	SIM_FOR_EACH_SEED(seed, 50)
	{
		struct sim *sim = sim_create(seed);
		struct os *os = sim_os(sim);
		const struct os_ring_options ring_options = {.entries = 8};
		struct sleeper sleeper = {.os = os};
		const struct os_thread_options options = {
			.name = "sleeper", .cpu = -1, .step = sleeper_step, .arg = &sleeper};
		void *thread;
		unsigned steps;

		assert_int_equal(os->ops->ring_create(os, &ring_options, &sleeper.ring), 0);
		os->ops->ring_wake(sleeper.ring);
		assert_int_equal(os->ops->thread_start(os, &options, &thread), 0);
		assert_false(sim_run(sim, NULL, NULL, SEC_NS));
		steps = sleeper.steps;
		assert_true(steps >= 2); /* the early wake, then asleep for ever */
		os->ops->ring_wake(sleeper.ring);
		assert_false(sim_run(sim, NULL, NULL, SEC_NS));
		assert_true(sleeper.steps > steps);
		sleeper.stop = true;
		os->ops->ring_wake(sleeper.ring);
		os->ops->thread_join(os, thread);
		os->ops->ring_destroy(sleeper.ring);
		assert_int_equal(sim_destroy(sim), 0);
	}
}

/* ---- workers ---- */

struct job {
	struct os_work work;
	struct os *os;
	unsigned *order;
	unsigned number;
	bool ran;
	bool finished;
};

static void job_run(struct os_work *work)
{
	struct job *job = container_of(work, struct job, work);
	int fd;

	job->ran = true;
	/* May block here. */
	assert_int_equal(job->os->ops->file_open(job->os, "/none", OS_OPEN_READ, 0, &fd), -ENOENT);
}

static void job_finished(struct os_work *work)
{
	struct job *job = container_of(work, struct job, work);

	assert_true(job->ran);
	job->finished = true;
	*job->order = *job->order * 4 + job->number;
}

static void jobs_run_in_no_order_and_each_is_finished_once(void **state)
{
	bool seen[256] = {false};
	unsigned orders = 0;

	SIM_FOR_EACH_SEED(seed, 100)
	{
		struct sim *sim = sim_create(seed);
		struct os *os = sim_os(sim);
		unsigned order = 0;
		struct job jobs[4] = {0};

		for (unsigned i = 0; i < 4; i++) {
			jobs[i].work = (struct os_work){.run = job_run, .finished = job_finished};
			jobs[i].os = os;
			jobs[i].number = i;
			jobs[i].order = &order;
			os->ops->work_queue(os, &jobs[i].work);
		}
		assert_false(sim_run(sim, NULL, NULL, SEC_NS));
		for (unsigned i = 0; i < 4; i++)
			assert_true(jobs[i].finished);
		orders += !seen[order];
		seen[order] = true;
		assert_int_equal(sim_destroy(sim), 0);
	}
	assert_true(orders > 5 || sim_seeds_are_given());
}

/* ---- faults and checks ---- */

static void the_nth_call_of_a_kind_fails_as_ordered(void **state)
{
	struct sim *sim = sim_create(1);
	struct os *os = sim_os(sim);
	int fds[3];

	sim_fail_call(sim, SIM_CALL_EVENT_CREATE, 2, EMFILE);
	assert_int_equal(os->ops->event_create(os, &fds[0]), 0);
	assert_int_equal(os->ops->event_create(os, &fds[1]), -EMFILE);
	assert_int_equal(os->ops->event_create(os, &fds[1]), 0);
	assert_int_equal(sim_count_calls(sim, SIM_CALL_EVENT_CREATE), 3);
	sim_fail_call(sim, SIM_CALL_ANY, 1, ENOMEM);
	assert_int_equal(os->ops->memfd_create(os, "m", 4096, &fds[2]), -ENOMEM);
	os->ops->close(os, fds[0]);
	os->ops->close(os, fds[1]);
	assert_int_equal(sim_destroy(sim), 0);
}

static void what_is_left_behind_is_complained_about(void **state)
{
	struct sim *sim = sim_create(1);
	struct os *os = sim_os(sim);
	const struct os_ring_options options = {.entries = 8};
	struct os_ring *ring;
	void *addr;
	int fd;

	assert_int_equal(os->ops->memfd_create(os, "m", 4096, &fd), 0);
	assert_int_equal(os->ops->map(os, fd, 0, 4096, false, &addr), 0);
	assert_int_equal(os->ops->ring_create(os, &options, &ring), 0);
	assert_int_equal(sim_destroy(sim), 3);
}

static bool blocking_step(void *arg)
{
	struct os *os = arg;
	int fd;

	assert_int_equal(os->ops->file_open(os, "/none", OS_OPEN_READ, 0, &fd), -ENOENT);
	return false;
}

static void a_blocking_call_on_a_thread_is_complained_about(void **state)
{
	struct sim *sim = sim_create(1);
	struct os *os = sim_os(sim);
	const struct os_thread_options options = {
		.name = "data", .cpu = -1, .step = blocking_step, .arg = os};
	void *thread;

	assert_int_equal(os->ops->thread_start(os, &options, &thread), 0);
	os->ops->thread_join(os, thread);
	assert_non_null(strstr(sim_complaint(sim), "data"));
	sim_forgive(sim);
	assert_int_equal(sim_destroy(sim), 0);
}

static void a_kept_file_must_be_dropped_before_it_is_closed(void **state)
{
	const struct os_ring_options options = {.entries = 8};
	struct sim *sim = sim_create(1);
	struct os *os = sim_os(sim);
	struct os_ring *ring;
	int fd;

	sim_file_create(sim, "/disk", 4096);
	assert_int_equal(os->ops->ring_create(os, &options, &ring), 0);
	assert_int_equal(os->ops->file_open(os, "/disk", OS_OPEN_WRITE, 0, &fd), 0);
	os->ops->ring_file_keep(ring, fd);
	os->ops->ring_file_keep(ring, fd);
	assert_non_null(strstr(sim_complaint(sim), "twice"));
	os->ops->close(os, fd);
	assert_non_null(strstr(sim_complaint(sim), "still keeps"));
	os->ops->ring_file_drop(ring, fd);
	os->ops->ring_file_drop(ring, fd);
	assert_non_null(strstr(sim_complaint(sim), "not kept"));
	sim_forgive(sim);
	os->ops->ring_destroy(ring);
	assert_int_equal(sim_destroy(sim), 0);
}

static void mappings_of_one_memfd_alias(void **state)
{
	struct sim *sim = sim_create(1);
	struct os *os = sim_os(sim);
	char *one, *two;
	void *addr;
	int fd;

	assert_int_equal(os->ops->memfd_create(os, "memory", 16 * KIB, &fd), 0);
	assert_int_equal(os->ops->map(os, fd, 0, 16 * KIB, true, &addr), 0);
	one = addr;
	assert_int_equal(os->ops->map(os, fd, 8 * KIB, 8 * KIB, false, &addr), 0);
	two = addr;
	assert_int_equal(os->ops->map(os, fd, 100, 4 * KIB, false, &addr), -EINVAL);
	strcpy(one + 8 * KIB, "alias");
	assert_string_equal(two, "alias");
	os->ops->unmap(os, one, 16 * KIB);
	os->ops->unmap(os, two, 8 * KIB);
	os->ops->close(os, fd);
	assert_int_equal(sim_destroy(sim), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_seed_gives_the_same_run_and_others_do_not),
		cmocka_unit_test(time_leaps_when_everything_sleeps),
		cmocka_unit_test(a_wake_ends_a_sleep_and_is_remembered_when_it_comes_before),
		cmocka_unit_test(jobs_run_in_no_order_and_each_is_finished_once),
		cmocka_unit_test(the_nth_call_of_a_kind_fails_as_ordered),
		cmocka_unit_test(what_is_left_behind_is_complained_about),
		cmocka_unit_test(a_blocking_call_on_a_thread_is_complained_about),
		cmocka_unit_test(a_kept_file_must_be_dropped_before_it_is_closed),
		cmocka_unit_test(mappings_of_one_memfd_alias),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
