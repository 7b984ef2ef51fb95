/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The host that core's tests run on: simulated, or the real kernel with either engine, so that each
 * test states its behaviour once. The main of a test passes its arguments to host_select; without
 * any it is "sim".
 *
 *	HOST_FOR_EACH_SEED (seed, 50) {			-- once on the real kernel
 *		struct host host;
 *
 *		host_start(&host, seed);
 *		reactor = host_reactor(&host, "one", POLL_ADAPTIVE);
 *		host_call(&host, reactor, fn, arg);	-- on its thread, until it has ended
 *		assert_true(host_wait(&host, condition, arg));
 *		host_stop_reactor(reactor);
 *		host_end(&host);	-- asserts that nothing was left behind
 *	}
 */
#ifndef UNIT_CORE_HOST_H
#define UNIT_CORE_HOST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/reactor.h"
#include "sim/sim.h"

struct host {
	struct os *os;
	struct sim *sim; /* NULL on the real kernel */
};

void host_select(int argc, char **argv);
bool host_is_simulated(void);

void host_start(struct host *host, uint64_t seed);
void host_end(struct host *host);

/* Created and started. */
struct reactor *host_reactor(struct host *host, const char *name, enum poll_mode poll_mode);
void host_stop_reactor(struct reactor *reactor);

/* Runs fn on the reactor, returns when it has. */
void host_call(struct host *host, struct reactor *reactor, void (*fn)(void *arg), void *arg);

/* Until the condition holds: true; false after 10 s, simulated or real. It is asked by the test's
 * thread: what it reads is atomic. */
bool host_wait(struct host *host, bool (*condition)(void *arg), void *arg);
bool host_wait_flag(struct host *host, atomic_bool *flag);
/* Lets time pass. */
void host_sleep(struct host *host, uint64_t ns);

#define HOST_FOR_EACH_SEED(seed, count)                                                            \
	for (uint64_t seed = sim_seed_first(),                                                     \
		      seed##_end = host_is_simulated() ? sim_seed_end(count) : seed + 1;           \
		seed < seed##_end; seed++)

#endif
