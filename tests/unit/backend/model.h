/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random requests against a device, compared with a copy of what it should hold: buffers cut into
 * pieces at random, aligned or not.
 */
#ifndef UNIT_BACKEND_MODEL_H
#define UNIT_BACKEND_MODEL_H

#include "world.h"

struct model {
	struct world *world;
	struct bdev_channel *channel;
	uint64_t base; /* part of the device that is this model's */
	uint64_t size;
	uint32_t block_size;
	uint64_t random;
	uint64_t longest; /* bytes of a request */
	bool aligned; /* buffers and their lengths by 512 */
	uint8_t *expected;
};

/* A device, or a part of it, that holds zeroes. */
void model_init(struct model *model, struct world *world, struct bdev_channel *channel,
	uint64_t base, uint64_t size, uint64_t seed);
void model_fini(struct model *model);
uint64_t model_draw(struct model *model, uint64_t below);
/* So many requests of all kinds, one after the other; each succeeds and reads what was written. */
void model_run(struct model *model, unsigned rounds);
/* Reads all of it. */
void model_check(struct model *model);

#endif
