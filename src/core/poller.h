/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A queue that a reactor serves: a virtqueue, later an NVMe completion queue.
 *
 *            work within the window           window over, sleep() true
 *   HOT  <--------------------------- HOT --------------------------------> COLD
 *    ^        polled every turn,                 notifications on, its            |
 *    |        notifications off                  descriptor watched; costs        |
 *    +-------------------------------------------nothing per turn ----------------+
 *                       poller_wake (its descriptor became ready)
 *
 * The window adapts to the gaps between pieces of work: a queue stays hot for several times the
 * usual gap where that pays, and goes cold at once where it does not. The same goes for the time
 * that a device takes, while it has requests of the queue.
 *
 * Fairness: deficit round robin over requests and bytes. Each visit a poller may take the budget it
 * is given and reports what it took; what it did not use is carried over only while it has a
 * backlog. A turn ends its round early when its time is used up; the next one goes on with those
 * that were not visited.
 */
#ifndef CORE_POLLER_H
#define CORE_POLLER_H

#include "core/reactor.h"

struct poller;

struct poll_budget {
	unsigned requests; /* take at most this many */
	uint64_t bytes; /* stop after the request that goes beyond */
};

struct poll_result {
	unsigned requests; /* taken; 0: the queue was empty or could not be served */
	uint64_t bytes;
	bool more; /* the budget ended before the queue did */
	bool waits; /* for requests taken earlier: the device has them */
};

/* How many polls of others come first. */
enum poller_distance { POLLER_NEXT, POLLER_SECOND };

struct poller_ops {
	/* May stop and wake pollers, itself included; its own memory stays until it returns. */
	struct poll_result (*poll)(struct poller *poller, struct poll_budget budget);
	/* Going cold: switch notifications on, arm the descriptor, look again. False: there is
	 * work after all, notifications are off again, it stays hot. */
	bool (*sleep)(struct poller *poller);
	/* Going hot: switch notifications off. */
	void (*wake)(struct poller *poller);
	/* Its poll comes soon: prefetch what that will look at. Optional. Called once at each
	 * distance, so that the nearer can look at what the farther has fetched. */
	void (*prefetch)(struct poller *poller, enum poller_distance distance);
};

enum poller_state { POLLER_STOPPED, POLLER_HOT, POLLER_COLD };

/* Of the time that polling would have to bridge: moving averages over some sixteen gaps. */
struct poller_gaps {
	uint32_t usual_ns; /* of those that a window can bridge */
	uint32_t long_share; /* of the others: POLLER_SHARE_ALL is all */
};

struct poller {
	struct list link;
	const struct poller_ops *ops;
	struct reactor *reactor;
	enum poller_state state;
	uint64_t last_work_ns; /* something was taken, or was given back */
	uint64_t window_ns;
	uint64_t wait_window_ns; /* while a device has requests of it */
	struct poller_gaps gaps;
	struct poller_gaps waits; /* for the device */
	int64_t deficit_bytes;
};

#define POLLER_MANY 4

/* So many are hot that what one needs leaves the near caches before its next turn. */
static inline bool poller_has_many(const struct reactor *reactor)
{
	return reactor->hot_count >= POLLER_MANY;
}

/* One turn of all hot pollers; called by reactor_turn. */
void poller_poll_all(struct reactor *reactor);

/* Own reactor's thread, all of them. Starts hot: looks once without being told. */
void poller_start(struct reactor *reactor, struct poller *poller, const struct poller_ops *ops);
void poller_stop(struct poller *poller);
/* Its own requests have just ended: whoever waited for them may well send the next at once, so the
 * window begins anew, and a cold poller that has one goes hot. */
void poller_expect_work(struct poller *poller);
/* From the ready callback of the poller's descriptor, or when work is known to be there. */
void poller_wake(struct poller *poller);

#endif
