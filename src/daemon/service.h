/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the service manager is told, when there is one (sd_notify(3): NOTIFY_SOCKET,
 * WATCHDOG_USEC). Without one nothing is done.
 */
#ifndef DAEMON_SERVICE_H
#define DAEMON_SERVICE_H

#include "core/flow.h"
#include "core/reactor.h"

/* "READY=1", "STOPPING=1", ... Any thread. */
void service_tell(const char *state);

/*
 * Life signs, twice as often as the manager wants them, for as long as all reactors come round: the
 * control reactor asks each data reactor by a message, and tells the manager when all have
 * answered. Control reactor.
 */
struct service_watchdog;

/* NULL when nobody watches, or without memory. reactors are borrowed until stop. */
struct service_watchdog *service_watchdog_start(
	struct reactor *control, struct reactor *const *reactors, unsigned count);
/* done when no message is under way, and watchdog is no more. */
void service_watchdog_stop(struct service_watchdog *watchdog, done_fn done, void *arg);

/* All of it goes through relay from now on; NULL: directly again. */
void service_set_relay(void (*relay)(const char *state));

#endif
