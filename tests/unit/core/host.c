/* SPDX-License-Identifier: BSD-2-Clause */
#include "host.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static enum { SIMULATED, IO_URING, EPOLL } host_kind;

void host_select(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "io_uring") == 0)
		host_kind = IO_URING;
	else if (argc > 1 && strcmp(argv[1], "epoll") == 0)
		host_kind = EPOLL;
}

bool host_is_simulated(void)
{
	return host_kind == SIMULATED;
}

void host_start(struct host *host, uint64_t seed)
{
	const struct os_real_options options = {.io_uring = host_kind == IO_URING};
	struct reason reason = {0};

	*host = (struct host){0};
	if (host_kind == SIMULATED) {
		host->sim = sim_create(seed);
		host->os = sim_os(host->sim);
		return;
	}
	assert_int_equal(os_real_create(&options, &reason, &host->os), 0);
}

void host_end(struct host *host)
{
	if (host->sim)
		assert_int_equal(sim_destroy(host->sim), 0);
	else
		os_real_destroy(host->os);
}

struct reactor *host_reactor(struct host *host, const char *name, enum poll_mode poll_mode)
{
	const struct reactor_options options = {.name = name, .cpu = -1, .poll_mode = poll_mode};
	struct reactor *reactor;

	assert_int_equal(reactor_create(host->os, &options, NULL, &reactor), 0);
	assert_int_equal(reactor_start(reactor, NULL), 0);
	return reactor;
}

void host_stop_reactor(struct reactor *reactor)
{
	reactor_stop(reactor);
	reactor_destroy(reactor);
}

static void host_nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

bool host_wait(struct host *host, bool (*condition)(void *arg), void *arg)
{
	if (host->sim)
		return sim_run(host->sim, condition, arg, 10 * SEC_NS);
	for (unsigned naps = 0; naps < 50000; naps++) {
		if (condition(arg))
			return true;
		host_nap();
	}
	return false;
}

static bool flag_is_set(void *arg)
{
	return atomic_load((atomic_bool *)arg);
}

bool host_wait_flag(struct host *host, atomic_bool *flag)
{
	return host_wait(host, flag_is_set, flag);
}

void host_sleep(struct host *host, uint64_t ns)
{
	if (host->sim)
		sim_run_for(host->sim, ns);
	else
		nanosleep(&(struct timespec){.tv_sec = (time_t)(ns / SEC_NS),
				  .tv_nsec = (long)(ns % SEC_NS)},
			NULL);
}

struct host_call {
	struct message message;
	void (*fn)(void *arg);
	void *arg;
	atomic_bool done;
};

static void host_call_run(struct message *message)
{
	struct host_call *call = container_of(message, struct host_call, message);

	call->fn(call->arg);
	atomic_store(&call->done, true);
}

void host_call(struct host *host, struct reactor *reactor, void (*fn)(void *arg), void *arg)
{
	struct host_call call = {.message.run = host_call_run, .fn = fn, .arg = arg};

	reactor_send(reactor, &call.message);
	assert_true(host_wait_flag(host, &call.done));
}
