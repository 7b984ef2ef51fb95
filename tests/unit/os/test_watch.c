/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Watches: one shot, level triggered, and never ready after unwatch.
 */
#include "fixture.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct seen {
	struct os_watch watch;
	unsigned count;
	bool unwatched; /* a call of ready is a failure */
	struct fixture *f;
	struct os_watch *victim; /* unwatched by ready */
	bool again; /* watched again by ready */
};

static void seen_ready(struct os_watch *watch)
{
	struct seen *seen = container_of(watch, struct seen, watch);

	assert_false(seen->unwatched);
	assert_false(watch->armed);
	seen->count++;
	if (seen->victim) {
		container_of(seen->victim, struct seen, watch)->unwatched = true;
		seen->f->os->ops->ring_unwatch(seen->f->ring, seen->victim);
	}
	if (seen->again)
		seen->f->os->ops->ring_watch(seen->f->ring, watch);
}

static struct seen seen_of(struct fixture *f, int fd, enum os_watch_kind kind)
{
	return (struct seen){.watch = {.fd = fd, .kind = kind, .ready = seen_ready}, .f = f};
}

static void arm(struct fixture *f, struct seen *seen)
{
	seen->unwatched = false;
	f->os->ops->ring_watch(f->ring, &seen->watch);
}

static void disarm(struct fixture *f, struct seen *seen)
{
	f->os->ops->ring_unwatch(f->ring, &seen->watch);
	seen->unwatched = true;
}

static int event_create(struct fixture *f)
{
	int fd = -1;

	assert_int_equal(f->os->ops->event_create(f->os, &fd), 0);
	return fd;
}

static void signal_event(struct fixture *f, int fd)
{
	assert_int_equal(f->os->ops->event_signal(f->os, fd), 0);
}

static void an_event_is_told_once_and_drained(void **state)
{
	struct fixture *f = *state;
	int fd = event_create(f);
	struct seen seen = seen_of(f, fd, OS_WATCH_EVENT);
	uint64_t value;

	arm(f, &seen);
	fixture_settle(f);
	assert_int_equal(seen.count, 0);
	signal_event(f, fd);
	signal_event(f, fd);
	fixture_enter_until(f, &seen.count, 1);
	fixture_settle(f);
	assert_int_equal(seen.count, 1);
	assert_int_equal(read(fd, &value, sizeof(value)), -1);
	/* Disarmed: nothing more until armed again, and then what came meanwhile is seen. */
	signal_event(f, fd);
	fixture_settle(f);
	assert_int_equal(seen.count, 1);
	arm(f, &seen);
	fixture_enter_until(f, &seen.count, 2);
	f->os->ops->close(f->os, fd);
}

static void what_was_there_before_arming_is_seen(void **state)
{
	struct fixture *f = *state;
	int fd = event_create(f);
	struct seen seen = seen_of(f, fd, OS_WATCH_EVENT);

	signal_event(f, fd);
	arm(f, &seen);
	fixture_enter_until(f, &seen.count, 1);
	f->os->ops->close(f->os, fd);
}

static void ready_may_watch_again(void **state)
{
	struct fixture *f = *state;
	int fd = event_create(f);
	struct seen seen = seen_of(f, fd, OS_WATCH_EVENT);

	seen.again = true;
	arm(f, &seen);
	for (unsigned i = 1; i <= 20; i++) {
		signal_event(f, fd);
		fixture_enter_until(f, &seen.count, i);
	}
	seen.again = false;
	disarm(f, &seen);
	f->os->ops->close(f->os, fd);
}

static void an_unwatched_event_is_never_told(void **state)
{
	struct fixture *f = *state;
	int fd = event_create(f);
	struct seen seen = seen_of(f, fd, OS_WATCH_EVENT);

	/* Before the kernel has heard of it. */
	signal_event(f, fd);
	arm(f, &seen);
	disarm(f, &seen);
	fixture_settle(f);
	/* After it has, with the event already there. */
	assert_int_equal(f->os->ops->ring_enter(f->ring, 0), 0);
	arm(f, &seen);
	fixture_enter_until(f, &seen.count, 1);
	arm(f, &seen);
	f->os->ops->ring_enter(f->ring, 0);
	signal_event(f, fd);
	disarm(f, &seen);
	fixture_settle(f);
	/* And twice does no harm. */
	disarm(f, &seen);
	f->os->ops->close(f->os, fd);
	assert_int_equal(seen.count, 1);
}

static void ready_may_unwatch_another_of_the_same_batch(void **state)
{
	struct fixture *f = *state;
	int a = event_create(f);
	int b = event_create(f);
	struct seen first = seen_of(f, a, OS_WATCH_EVENT);
	struct seen second = seen_of(f, b, OS_WATCH_EVENT);

	first.victim = &second.watch;
	second.victim = &first.watch;
	arm(f, &first);
	arm(f, &second);
	f->os->ops->ring_enter(f->ring, 0);
	signal_event(f, a);
	signal_event(f, b);
	fixture_settle(f);
	assert_int_equal(first.count + second.count, 1);
	f->os->ops->close(f->os, a);
	f->os->ops->close(f->os, b);
}

static void a_number_used_again_is_another_descriptor(void **state)
{
	struct fixture *f = *state;
	int fd = event_create(f);
	int kept = dup(fd); /* as the front-end keeps its end of an eventfd */
	struct seen seen = seen_of(f, fd, OS_WATCH_EVENT);
	int again;

	arm(f, &seen);
	f->os->ops->ring_enter(f->ring, 0);
	f->os->ops->ring_unwatch(f->ring, &seen.watch);
	f->os->ops->close(f->os, fd);
	again = event_create(f);
	assert_int_equal(again, fd);
	arm(f, &seen);
	signal_event(f, kept);
	fixture_settle(f);
	assert_int_equal(seen.count, 0);
	signal_event(f, again);
	fixture_enter_until(f, &seen.count, 1);
	f->os->ops->close(f->os, again);
	close(kept);
}

static void two_watches_of_one_event_are_both_told(void **state)
{
	struct fixture *f = *state;
	int fd = event_create(f);
	int other = dup(fd);
	struct seen first = seen_of(f, fd, OS_WATCH_EVENT);
	struct seen second = seen_of(f, other, OS_WATCH_EVENT);
	struct seen third = seen_of(f, fd, OS_WATCH_EVENT);

	arm(f, &first);
	arm(f, &second);
	arm(f, &third);
	f->os->ops->ring_enter(f->ring, 0);
	signal_event(f, fd);
	fixture_enter_until(f, &first.count, 1);
	fixture_enter_until(f, &second.count, 1);
	fixture_enter_until(f, &third.count, 1);
	f->os->ops->close(f->os, fd);
	close(other);
}

/* Who sent the descriptor shares its flags and may make it block again, at any time. */
static void an_event_that_blocks_again_does_not_stop_the_ring(void **state)
{
	struct fixture *f = *state;
	int fd = event_create(f);
	struct seen first = seen_of(f, fd, OS_WATCH_EVENT);
	struct seen second = seen_of(f, fd, OS_WATCH_EVENT);

	arm(f, &first);
	arm(f, &second);
	fixture_settle(f);
	assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
	signal_event(f, fd);
	alarm(10); /* it would wait for ever */
	fixture_enter_until(f, &first.count, 1);
	fixture_enter_until(f, &second.count, 1);
	alarm(0);
	f->os->ops->close(f->os, fd);
}

static void a_socket_is_readable_writable_or_both(void **state)
{
	struct fixture *f = *state;
	struct seen readable;
	struct seen writable;
	char buf[8];
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	readable = seen_of(f, pair[0], OS_WATCH_READABLE);
	writable = seen_of(f, pair[0], OS_WATCH_WRITABLE);
	arm(f, &readable);
	arm(f, &writable);
	fixture_enter_until(f, &writable.count, 1);
	fixture_settle(f);
	assert_int_equal(readable.count, 0);
	assert_int_equal(write(pair[1], "x", 1), 1);
	fixture_enter_until(f, &readable.count, 1);
	/* Not drained: armed again it is ready again. */
	arm(f, &readable);
	fixture_enter_until(f, &readable.count, 2);
	assert_int_equal(read(pair[0], buf, sizeof(buf)), 1);
	assert_int_equal(writable.count, 1);
	close(pair[0]);
	close(pair[1]);
}

static void a_hang_up_counts_as_readable(void **state)
{
	struct fixture *f = *state;
	struct seen seen;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	seen = seen_of(f, pair[0], OS_WATCH_READABLE);
	arm(f, &seen);
	f->os->ops->ring_enter(f->ring, 0);
	close(pair[1]);
	fixture_enter_until(f, &seen.count, 1);
	close(pair[0]);
}

static void a_closed_pipe_in_place_of_an_event_goes_silent(void **state)
{
	struct fixture *f = *state;
	struct seen seen;
	int ends[2];

	assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
	seen = seen_of(f, ends[0], OS_WATCH_EVENT);
	seen.again = true;
	arm(f, &seen);
	signal_event(f, ends[1]);
	fixture_enter_until(f, &seen.count, 1);
	close(ends[1]);
	fixture_settle(f);
	assert_int_equal(seen.count, 1);
	assert_true(seen.watch.armed);
	disarm(f, &seen);
	assert_false(seen.watch.armed);
	close(ends[0]);
}

static void a_regular_file_is_always_readable(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);
	struct seen seen = seen_of(f, fd, OS_WATCH_READABLE);

	arm(f, &seen);
	fixture_enter_until(f, &seen.count, 1);
	arm(f, &seen);
	disarm(f, &seen);
	fixture_settle(f);
	assert_int_equal(seen.count, 1);
	f->os->ops->close(f->os, fd);
}

static void more_watches_than_entries_are_all_told(void **state)
{
	enum { COUNT = 300 };
	struct fixture *f = *state;
	struct seen *seen = calloc(COUNT, sizeof(*seen));

	for (unsigned i = 0; i < COUNT; i++) {
		seen[i] = seen_of(f, event_create(f), OS_WATCH_EVENT);
		arm(f, &seen[i]);
	}
	/* Some go before the kernel has seen them all, some after. */
	for (unsigned i = 0; i < COUNT; i += 3)
		disarm(f, &seen[i]);
	f->os->ops->ring_enter(f->ring, 0);
	for (unsigned i = 1; i < COUNT; i += 3)
		disarm(f, &seen[i]);
	for (unsigned i = 0; i < COUNT; i++)
		signal_event(f, seen[i].watch.fd);
	fixture_settle(f);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(seen[i].count, i % 3 == 2 ? 1 : 0);
		f->os->ops->close(f->os, seen[i].watch.fd);
	}
	free(seen);
}

struct noise {
	struct fixture *f;
	int fd;
	_Atomic bool stop;
};

static bool noise_step(void *arg)
{
	struct noise *noise = arg;

	noise->f->os->ops->event_signal(noise->f->os, noise->fd);
	return !atomic_load(&noise->stop);
}

static void an_event_that_comes_while_unwatching_is_never_told_after(void **state)
{
	struct fixture *f = *state;
	int fd = event_create(f);
	struct noise noise = {.f = f, .fd = fd};
	const struct os_thread_options options = {
		.name = "noise", .cpu = -1, .step = noise_step, .arg = &noise};
	void *thread;

	assert_int_equal(f->os->ops->thread_start(f->os, &options, &thread), 0);
	for (unsigned i = 0; i < 3000; i++) {
		struct seen *seen = malloc(sizeof(*seen));

		*seen = seen_of(f, fd, OS_WATCH_EVENT);
		arm(f, seen);
		for (unsigned turn = 0; turn < i % 4; turn++)
			f->os->ops->ring_enter(f->ring, 0);
		disarm(f, seen);
		/* Gone: a late call would be found by the sanitizer, or by the assertion. */
		if (i % 2)
			f->os->ops->ring_enter(f->ring, 0);
		free(seen);
	}
	atomic_store(&noise.stop, true);
	f->os->ops->thread_join(f->os, thread);
	fixture_settle(f);
	f->os->ops->close(f->os, fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(an_event_is_told_once_and_drained),
		FIXTURE_TEST(what_was_there_before_arming_is_seen),
		FIXTURE_TEST(ready_may_watch_again),
		FIXTURE_TEST(an_unwatched_event_is_never_told),
		FIXTURE_TEST(ready_may_unwatch_another_of_the_same_batch),
		FIXTURE_TEST(a_number_used_again_is_another_descriptor),
		FIXTURE_TEST(two_watches_of_one_event_are_both_told),
		FIXTURE_TEST(an_event_that_blocks_again_does_not_stop_the_ring),
		FIXTURE_TEST(a_socket_is_readable_writable_or_both),
		FIXTURE_TEST(a_hang_up_counts_as_readable),
		FIXTURE_TEST(a_closed_pipe_in_place_of_an_event_goes_silent),
		FIXTURE_TEST(a_regular_file_is_always_readable),
		FIXTURE_TEST(more_watches_than_entries_are_all_told),
		FIXTURE_TEST(an_event_that_comes_while_unwatching_is_never_told_after),
	};
	int rc = fixture_main(argc, argv);

	return rc ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
