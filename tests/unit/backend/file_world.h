/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A world (bdev/world.h) with a file device that one user has open and claimed on one channel; on
 * the simulated host the file is simulated, on the real kernel it is in a directory of its own.
 */
#ifndef UNIT_BACKEND_FILE_WORLD_H
#define UNIT_BACKEND_FILE_WORLD_H

#include "backend/backends.h"
#include "world.h"

struct file_world {
	struct world world;
	struct sim_file *file; /* NULL on the real kernel */
	char directory[64];
	char path[96];
	struct bdev *bdev;
	struct world_user user;
	struct bdev_channel *channel;
};

int file_create(struct world *world, const struct file_bdev_options *options, struct reason *reason,
	struct bdev **ret_bdev);

/* In pieces, so that a test can change the file in between. where: a real directory, /var/tmp when
 * not said. */
void file_world_prepare_in(struct file_world *fw, const char *where, uint64_t seed, uint64_t size);
void file_world_prepare(struct file_world *fw, uint64_t seed, uint64_t size);
void file_world_attach(struct file_world *fw, uint32_t block_size);
/* prepare and attach */
void file_world_start(struct file_world *fw, uint64_t seed, uint64_t size);
void file_world_detach(struct file_world *fw);
/* After detach: the host ends. */
void file_world_clean(struct file_world *fw);
/* detach and clean */
void file_world_end(struct file_world *fw);

int file_rescan(struct world *world, struct bdev *bdev, struct reason *reason);

#endif
