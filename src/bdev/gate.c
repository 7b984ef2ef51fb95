/* SPDX-License-Identifier: BSD-2-Clause */
#include "bdev/gate.h"

static void bdev_gate_entered(struct deferred *deferred)
{
	struct bdev_gate_turn *turn = container_of(deferred, struct bdev_gate_turn, deferred);

	turn->done(turn->arg, 0);
}

void bdev_gate_init(struct bdev_gate *gate, struct reactor *reactor)
{
	gate->reactor = reactor;
	gate->busy = false;
	list_init(&gate->waiting);
}

void bdev_gate_enter(struct bdev_gate *gate, struct bdev_gate_turn *turn, done_fn done, void *arg)
{
	turn->deferred.run = bdev_gate_entered;
	turn->done = done;
	turn->arg = arg;
	if (gate->busy) {
		list_add_tail(&gate->waiting, &turn->link);
		return;
	}
	gate->busy = true;
	reactor_defer(gate->reactor, DEFER_COMPLETE, &turn->deferred);
}

void bdev_gate_leave(struct bdev_gate *gate)
{
	struct bdev_gate_turn *next;

	invariant(gate->busy);
	if (list_is_empty(&gate->waiting)) {
		gate->busy = false;
		return;
	}
	next = list_first_entry(&gate->waiting, struct bdev_gate_turn, link);
	list_remove(&next->link);
	reactor_defer(gate->reactor, DEFER_COMPLETE, &next->deferred);
}

bool bdev_gate_is_wanted(const struct bdev_gate *gate)
{
	return !list_is_empty(&gate->waiting);
}
