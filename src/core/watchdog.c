/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A reactor is stuck when two looks find the same number of turns and it slept at neither. A
 * thread that the host just does not run looks the same: interrupting it changes nothing, since
 * only a call that waits can be interrupted, and none of a reactor's others gives up then.
 */
#include "core/watchdog.h"

#include <errno.h>
#include <stdlib.h>

#define WATCHDOG_PERIOD_NS (250 * MSEC_NS)
#define WATCHDOG_LOG_AFTER 4 /* looks */

static void watchdog_look(struct reactor *reactor, struct watchdog_seen *seen)
{
	uint32_t turns = atomic_load_explicit(&reactor->turns, memory_order_relaxed);
	bool awake = !atomic_load_explicit(&reactor->asleep, memory_order_relaxed);
	bool stuck = awake && seen->awake && turns == seen->turns;

	seen->turns = turns;
	seen->awake = awake;
	seen->stuck = stuck ? seen->stuck + 1 : 0;
	if (!stuck)
		return;
	reactor_interrupt(reactor);
	if (seen->stuck == WATCHDOG_LOG_AFTER)
		log_warning("%s: the thread has been stuck in one turn for a second: the disks it "
			    "serves stand still",
			reactor->name);
}

static void watchdog_fired(struct timer *timer)
{
	struct watchdog *watchdog = container_of(timer, struct watchdog, timer);

	for (unsigned i = 0; i < watchdog->count; i++)
		watchdog_look(watchdog->reactors[i], &watchdog->seen[i]);
	timer_start(watchdog->control, timer, WATCHDOG_PERIOD_NS);
}

int watchdog_init(struct watchdog *watchdog, struct reactor *control, struct reactor **reactors,
	unsigned count)
{
	*watchdog = (struct watchdog){
		.control = control,
		.reactors = reactors,
		.count = count,
		.seen = calloc(count, sizeof(*watchdog->seen)),
		.timer.fired = watchdog_fired,
	};
	return watchdog->seen ? 0 : -ENOMEM;
}

void watchdog_fini(struct watchdog *watchdog)
{
	watchdog_stop(watchdog);
	free(watchdog->seen);
}

void watchdog_start(struct watchdog *watchdog)
{
	if (timer_is_started(&watchdog->timer))
		return;
	for (unsigned i = 0; i < watchdog->count; i++)
		watchdog->seen[i] = (struct watchdog_seen){0};
	timer_start(watchdog->control, &watchdog->timer, WATCHDOG_PERIOD_NS);
}

void watchdog_stop(struct watchdog *watchdog)
{
	if (timer_is_started(&watchdog->timer))
		timer_stop(watchdog->control, &watchdog->timer);
}
