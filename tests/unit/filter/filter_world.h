/* SPDX-License-Identifier: BSD-2-Clause */
/* Filters on the block devices' world: creators that wait, and what stands on what. */
#ifndef UNIT_FILTER_FILTER_WORLD_H
#define UNIT_FILTER_FILTER_WORLD_H

#include "fake.h"
#include "filter/filters.h"

struct filter_world {
	struct world world;
	struct filters *filters;
};

void filter_world_start(struct filter_world *fw, uint64_t seed);
/* Filters hold nothing back any more. */
void filter_world_close(struct filter_world *fw);
/* Removes all devices that are there, as the daemon does. */
void filter_world_end(struct filter_world *fw);

int passthru_make(
	struct filter_world *fw, const char *name, const char *base, struct reason *reason);
int split_make(struct filter_world *fw, const char *base, uint32_t count, uint64_t size_mib);
int delay_make(struct filter_world *fw, const char *name, const char *base,
	const uint64_t latency_us[DELAY_LATENCIES]);
int error_make(struct filter_world *fw, const char *base);

/* All that can stand does. */
void filters_settle(struct filter_world *fw);
/* A device of that name goes by itself. */
void wait_until_gone(struct filter_world *fw, const char *name);
struct filter *filter_get_named(struct filter_world *fw, enum filter_type type, const char *name);
void filter_remove(struct filter_world *fw, enum filter_type type, const char *name);
/* The device, or NULL. */
struct bdev *device_named(struct filter_world *fw, const char *name);
struct bdev *malloc_make(struct filter_world *fw, const char *name, uint64_t size);

/* A device that has been opened on a reactor. */
struct opened {
	struct world_user user;
	struct bdev_channel *channel;
};

void opened_start(
	struct filter_world *fw, struct opened *opened, const char *name, unsigned reactor);
void opened_end(struct filter_world *fw, struct opened *opened);

#endif
