/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A block device of the tests: memory, whose requests can be held back, failed and counted, and
 * which remembers what is stable. Functions of this header may be called from any thread unless
 * they say otherwise.
 */
#ifndef CONFORMANCE_HELD_BDEV_H
#define CONFORMANCE_HELD_BDEV_H

#include "bdev/bdev.h"

struct held_bdev;

/* Control reactor. Registers a device of that name; bdev_unregister frees it. */
int held_bdev_create(struct bdev_registry *registry, const char *name, uint64_t size_bytes,
	struct held_bdev **ret_held);
struct bdev *held_bdev_bdev(struct held_bdev *held);

/* From now on requests stay inside until release. */
void held_bdev_hold(struct held_bdev *held);
void held_bdev_release(struct held_bdev *held);
/* How many are inside, and the highest number that ever was. */
unsigned held_bdev_waiting(struct held_bdev *held);
/* Waits until at least so many are: false after 5 seconds. */
bool held_bdev_await(struct held_bdev *held, unsigned count);

/* Every request keeps its reactor from everything else for so long. */
void held_bdev_set_cost(struct held_bdev *held, unsigned cost_us);

/* The next so many requests end with -error. */
void held_bdev_fail(struct held_bdev *held, int error, unsigned count);
/* So many requests more that write find space, the others end with -ENOSPC. At first: all. */
#define HELD_BDEV_ROOMY UINT64_MAX
void held_bdev_set_room(struct held_bdev *held, uint64_t requests);
uint64_t held_bdev_count(struct held_bdev *held, enum bdev_io_type type);

/* What a read would see, and what would be left after a power cut. */
uint8_t *held_bdev_data(struct held_bdev *held);
const uint8_t *held_bdev_stable(struct held_bdev *held);

#endif
