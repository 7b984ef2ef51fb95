/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A store on a gated device, for tests that look at what it does with the device: volumes.h over
 * gate_bdev.h, and ways to read and change single structures of the format.
 */
#ifndef UNIT_BLOB_STORE_WORLD_H
#define UNIT_BLOB_STORE_WORLD_H

#include "blob/format.h"
#include "sim/gate_bdev.h"
#include "volumes.h"

struct store_world {
	struct world world;
	struct gate_bdev *gate;
	struct bdev *base;
	struct volumes volumes;
	/* store_world_fill */
	uint64_t empty, thick, thin, snapshot, clone;
};

void store_world_start(struct store_world *sw, uint64_t seed, const struct gate_bdev_options *gate);
/* Once more, after it was unregistered. */
void store_world_register(struct store_world *sw);
/* No store is open. */
void store_world_end(struct store_world *sw);

int store_world_create(struct store_world *sw, uint32_t cluster_size);
int store_world_load(struct store_world *sw);
int store_world_close(struct store_world *sw);

/* Five volumes: empty, thick, thin, a snapshot of the latter and another clone of that, with some
 * data; 704 clusters. */
void store_world_fill(struct store_world *sw, uint32_t cluster_size);
/* They are there and have their data, and nothing else is. */
void store_world_check(struct store_world *sw, uint32_t cluster_size);

/* On the device, without anybody noticing. */
void disk_super(struct store_world *sw, struct super *ret_super);
void disk_set_super(struct store_world *sw, const struct super *super);
void disk_page(struct store_world *sw, uint32_t index, void *ret_page);
void disk_set_page(struct store_world *sw, uint32_t index, const void *page);
/* The first number bits of a mask; fails the test when the mask cannot be read. */
void disk_mask(struct store_world *sw, enum blobstore_mask_type type, struct bitmap *ret_map);
/* Does our mark stand behind the page mask? */
bool disk_is_marked(struct store_world *sw);
/* Writes the page mask as other writers do: zeroes behind it. */
void disk_set_mask(struct store_world *sw, enum blobstore_mask_type type, const struct bitmap *map);

/* A blob's metadata, of a chain of one page, and back. clusters: of a run-length blob. */
void disk_md(struct store_world *sw, uint64_t id, struct md *ret_md);
void disk_set_md(struct store_world *sw, const struct md *md, const uint32_t *clusters);
/* The extent page of a slot; entries may be wrong. */
void disk_extents(
	struct store_world *sw, const struct md *md, uint32_t slot, uint32_t *ret_clusters);
void disk_set_extents(struct store_world *sw, const struct md *md, uint32_t slot,
	const uint32_t *clusters, uint32_t entries);
void disk_set_clean(struct store_world *sw, bool clean);

/* All of the device, and back: what a kill leaves. */
void *disk_save(struct store_world *sw);
void disk_restore(struct store_world *sw, void *image); /* frees it */
/* The store is there as if its process had been killed now. */
void store_world_kill(struct store_world *sw);

/* Requests of that type since the last gate_bdev_forget. */
unsigned count_requests(struct store_world *sw, enum bdev_io_type type);
uint64_t count_bytes(struct store_world *sw, enum bdev_io_type type);

#endif
