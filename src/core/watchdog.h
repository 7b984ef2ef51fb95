/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Watches that reactors come round. One that has begun no turn for a quarter of a second, and does
 * not sleep, hangs in a call: the call is interrupted, and after a second the log says so.
 *
 * There is one call with which somebody else can stop a data thread: the signal to a guest. Its
 * descriptor is shared with the front-end, which may make it block and fill its counter, and Linux
 * has no write to an eventfd that never waits. Interrupted, os_ops.event_signal fails, and its
 * caller gives the descriptor up.
 *
 * Control reactor. It looks four times a second while it is started.
 */
#ifndef CORE_WATCHDOG_H
#define CORE_WATCHDOG_H

#include "core/reactor.h"

struct watchdog_seen {
	uint32_t turns;
	bool awake;
	unsigned stuck; /* looks in a row */
};

struct watchdog {
	struct reactor *control;
	struct reactor **reactors; /* borrowed */
	unsigned count;
	struct watchdog_seen *seen; /* of each */
	struct timer timer;
};

int watchdog_init(struct watchdog *watchdog, struct reactor *control, struct reactor **reactors,
	unsigned count) MUST_CHECK;
void watchdog_fini(struct watchdog *watchdog);
/* Both may be called in either state. */
void watchdog_start(struct watchdog *watchdog);
void watchdog_stop(struct watchdog *watchdog);

#endif
