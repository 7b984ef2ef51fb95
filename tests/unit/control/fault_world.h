/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control plane with a block device "gate" of 8 MiB that can hold and fail requests and go away
 * (sim/gate_bdev.h): for stores on it.
 */
#ifndef UNIT_CONTROL_FAULT_WORLD_H
#define UNIT_CONTROL_FAULT_WORLD_H

#include "control_world.h"
#include "sim/gate_bdev.h"

struct fault_world {
	struct world *world;
	struct gate_bdev *gate;
	struct message message;
	bool done;
};

void fault_world_start(struct fault_world *fw); /* it is there */
void fault_world_end(struct fault_world *fw);
void fault_world_register(struct fault_world *fw);
/* Until it has gone. */
void fault_world_unregister(struct fault_world *fw);
/* Without waiting; afterwards the same as unregister. */
void fault_world_unregister_begin(struct fault_world *fw);
void fault_world_unregister_finish(struct fault_world *fw);

#endif
