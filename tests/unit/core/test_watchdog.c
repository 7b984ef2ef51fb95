/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A watchdog over reactors of the real kernel: it frees one that hangs in a call, and leaves one
 * alone that sleeps.
 */
#include "core/watchdog.h"

#include <errno.h>
#include <unistd.h>

#include "unit/core/host.h"

struct hung {
	struct host host;
	struct reactor *control;
	struct reactor *data;
	struct watchdog watchdog;
	int fds[2];
	atomic_bool ended;
	atomic_int rc;
};

static void hung_begin(void *arg)
{
	struct hung *hung = arg;

	assert_int_equal(watchdog_init(&hung->watchdog, hung->control, &hung->data, 1), 0);
	watchdog_start(&hung->watchdog);
	watchdog_start(&hung->watchdog);
}

static void hung_end(void *arg)
{
	struct hung *hung = arg;

	watchdog_stop(&hung->watchdog);
	watchdog_fini(&hung->watchdog);
}

static void hung_start(struct hung *hung)
{
	*hung = (struct hung){0};
	host_start(&hung->host, 1);
	hung->control = host_reactor(&hung->host, "control", POLL_NEVER);
	hung->data = host_reactor(&hung->host, "data", POLL_ADAPTIVE);
	assert_int_equal(pipe(hung->fds), 0);
	host_call(&hung->host, hung->control, hung_begin, hung);
}

static void hung_stop(struct hung *hung)
{
	host_call(&hung->host, hung->control, hung_end, hung);
	host_stop_reactor(hung->data);
	host_stop_reactor(hung->control);
	close(hung->fds[0]);
	close(hung->fds[1]);
	host_end(&hung->host);
}

struct hang_message {
	struct message message;
	struct hung *hung;
};

static void hang(struct message *message)
{
	struct hung *hung = container_of(message, struct hang_message, message)->hung;
	char byte;

	atomic_store(&hung->rc, read(hung->fds[0], &byte, 1) < 0 ? -errno : 0);
	atomic_store(&hung->ended, true);
}

static void a_reactor_that_hangs_in_a_call_is_freed(void **state)
{
	struct hung hung;
	struct hang_message message = {.message.run = hang, .hung = &hung};

	hung_start(&hung);
	reactor_send(hung.data, &message.message);
	assert_true(host_wait_flag(&hung.host, &hung.ended));
	assert_int_equal(atomic_load(&hung.rc), -EINTR);
	hung_stop(&hung);
}

static void count_sleeps(void *arg)
{
	struct reactor_stats stats;

	reactor_get_stats(reactor_self(), &stats);
	*(uint64_t *)arg = stats.sleeps;
}

static void a_reactor_that_sleeps_is_left_alone(void **state)
{
	struct hung hung;
	uint64_t before, after;

	hung_start(&hung);
	host_call(&hung.host, hung.data, count_sleeps, &before);
	host_sleep(&hung.host, SEC_NS);
	host_call(&hung.host, hung.data, count_sleeps, &after);
	/* One for the call, and what it takes to settle. */
	assert_in_range(after - before, 1, 3);
	hung_stop(&hung);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reactor_that_hangs_in_a_call_is_freed),
		cmocka_unit_test(a_reactor_that_sleeps_is_left_alone),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
