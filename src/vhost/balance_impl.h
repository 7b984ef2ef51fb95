/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where queues should run, by load: balance.c. Control reactor.
 */
#ifndef VHOST_BALANCE_IMPL_H
#define VHOST_BALANCE_IMPL_H

#include "core/flow.h"
#include "vhost/placement_impl.h"

struct vhost;
struct ring;
struct balance_probe;

struct balance_load { /* of a reactor, in per mille of its time */
	unsigned busy;
	unsigned busy_before; /* in the period before */
};

struct balance_queue {
	unsigned reactor; /* index in the placement */
	uint64_t weight; /* its part in what the reactor has to do */
	const struct cpu_set *cpus; /* where it may go; NULL: anywhere */
	bool movable;
};

struct balance {
	struct vhost *vhost;
	struct timer timer;
	unsigned looks; /* with work, one after the other */
	uint64_t weight; /* of all queues, in this look */
	unsigned queue_count;
	struct balance_probe *probes; /* one for each data reactor */
	struct balance_load *loads;
	unsigned waiting; /* probes under way */
	bool moving;
	struct reason reason;

	/* while it decides */
	struct balance_queue *queues;
	struct ring **rings;
	unsigned described;

	done_fn idle; /* who waits until probes are back, at the end */
	void *idle_arg;
};

/* placement and control of vhost are there. -ENOMEM. */
int balance_init(struct balance *balance, struct vhost *vhost) MUST_CHECK;
/* No session, no probe under way. */
void balance_fini(struct balance *balance);
/* Stopped; probes are under way (balance.waiting): done when they are back. */
void balance_await_idle(struct balance *balance, done_fn done, void *arg);

/* With the first session and after the last. */
void balance_start(struct balance *balance);
void balance_stop(struct balance *balance);

/* The move that helps most; false: none is worth it. */
bool balance_choose(const struct placement *placement, const struct balance_load *loads,
	const struct balance_queue *queues, unsigned count, unsigned *ret_queue, unsigned *ret_to);

#endif
