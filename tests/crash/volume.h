/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The block device that shows a blob, with its user: opened, read and written through channels on
 * some reactors, closed. What the volume layer is to the daemon this is to these tests.
 */
#ifndef CRASH_VOLUME_H
#define CRASH_VOLUME_H

#include "crash/store_world.h"

struct volume {
	struct bdev bdev;
	struct blob *blob;
	struct store_world *world;
	char name[24];
	struct bdev_user user;
	struct reactor *reactors[STORE_WORLD_DATA];
	struct bdev_channel *channels[STORE_WORLD_DATA];
	unsigned num_channels;
};

/* Control. Channels on those reactors; done with the first error, and nothing is open then. */
void volume_open(struct volume *volume, struct store_world *world, struct blob *blob,
	struct reactor *const *reactors, unsigned num_reactors, done_fn done, void *arg);
/* Control. No I/O is under way; the memory is the caller's again. */
void volume_close(struct volume *volume, done_fn done, void *arg);
/* Control: of the size that the blob has. */
void volume_set_size(struct volume *volume, uint64_t clusters, uint32_t cluster_size);

#endif
