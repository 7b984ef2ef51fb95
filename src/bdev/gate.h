/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One at a time, first come first served: operations of several waits on the same thing. A flow
 * awaits bdev_gate_enter and calls bdev_gate_leave before it ends. One reactor, no locks.
 */
#ifndef BDEV_GATE_H
#define BDEV_GATE_H

#include "core/flow.h"

struct bdev_gate {
	struct reactor *reactor;
	struct list waiting;
	bool busy;
};

/* Embedded in the op that waits, zeroed. */
struct bdev_gate_turn {
	struct deferred deferred;
	struct list link;
	done_fn done;
	void *arg;
};

void bdev_gate_init(struct bdev_gate *gate, struct reactor *reactor);
/* done(arg, 0) when it is this one's turn. */
void bdev_gate_enter(struct bdev_gate *gate, struct bdev_gate_turn *turn, done_fn done, void *arg);
void bdev_gate_leave(struct bdev_gate *gate);
/* For whoever is in it: somebody waits. */
bool bdev_gate_is_wanted(const struct bdev_gate *gate);

#endif
