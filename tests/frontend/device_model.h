/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device as simple as can be, to try the driver side on: it looks at one ring through
 * guest-physical addresses only, takes chains, gives them back in any order. Slow and plain on
 * purpose; it is written from VIRTIO 1.3, 2.7.14 and 2.8.21, not from the driver.
 */
#ifndef FRONTEND_DEVICE_MODEL_H
#define FRONTEND_DEVICE_MODEL_H

#include "frontend/memory.h"
#include "frontend/ring.h"

#define MODEL_MAX_SEGMENTS 256u

struct model_chain {
	uint16_t id;
	uint32_t slots; /* packed: ring entries it takes */
	uint32_t count;
	struct fe_segment segments[MODEL_MAX_SEGMENTS];
};

struct model {
	const struct fe_memory *memory;
	uint32_t size;
	bool packed, event_idx;
	uint64_t desc, driver, device; /* guest-physical */
	uint32_t avail_idx, used_idx; /* split: free running; packed: positions */
	bool avail_wrap, used_wrap;
};

void model_init(struct model *model, const struct fe_memory *memory, const struct fe_ring *ring,
	uint32_t base);

/* Takes the next chain: 1, 0 when there is none, -1 when it makes no sense. */
int model_take(struct model *model, struct model_chain *ret_chain);

/* Returns `count` chains at once (packed: the flags of the first last). Says whether the driver
 * must be interrupted for them. */
bool model_give(struct model *model, const struct model_chain *const *chains, const uint32_t *lens,
	uint32_t count);

/* Asks to be kicked, or not to be. Returns whether there is something to take already. */
bool model_want_kicks(struct model *model, bool on);

#endif
