/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Block devices over something. Each create makes and registers a device (control reactor);
 * bdev_unregister ends it.
 */
#ifndef BACKEND_BACKENDS_H
#define BACKEND_BACKENDS_H

#include "bdev/bdev.h"

/* Forgets writes, leaves the buffers of reads as they are (null.c), completes at once. */
struct null_bdev_options {
	const char *name;
	uuid_t uuid;
	uint64_t num_blocks;
	uint32_t block_size;
	uint32_t physical_block_size; /* 0: block_size */
};

int null_bdev_create(struct bdev_registry *registry, const struct null_bdev_options *options,
	struct reason *reason, struct bdev **ret_bdev) MUST_CHECK;
/* Grows only: -EINVAL when smaller or not a null device. */
int null_bdev_resize(struct bdev *bdev, uint64_t num_blocks, struct reason *reason) MUST_CHECK;

/* Over anonymous memory, zeroed; unmap gives the memory back and reads zeroes. */
struct malloc_bdev_options {
	const char *name;
	uuid_t uuid;
	uint64_t num_blocks;
	uint32_t block_size;
	uint32_t physical_block_size;
	uint32_t optimal_io_boundary; /* blocks; 0: none */
};

int malloc_bdev_create(struct bdev_registry *registry, const struct malloc_bdev_options *options,
	struct reason *reason, struct bdev **ret_bdev) MUST_CHECK;

/* Over a regular file or a block device. */
struct file_bdev_options {
	const char *name;
	const char *filename;
	uuid_t uuid;
	uint32_t block_size; /* 0: the device's own, 512 for files */
	bool read_only;
	/* How RPC shows it: "AIO disk" or "URING bdev". The device is the same. */
	enum { FILE_BDEV_AIO, FILE_BDEV_URING } face;
	bool fallocate; /* echoed by RPC only */
	bool nowait; /* echoed by RPC only */
};

/* Opens on a worker. -ENOENT, -EISDIR, -EINVAL (size 0 or not a multiple of block_size, bad block
 * size), -EEXIST. options and strings are copied. *ret_bdev is set before done(0). */
void file_bdev_create(struct bdev_registry *registry, const struct file_bdev_options *options,
	struct reason *reason, struct bdev **ret_bdev, done_fn done, void *arg);

/* What it was made with; valid as long as it. */
const struct file_bdev_options *file_bdev_get_options(const struct bdev *bdev);

/* Which backend made it: for "unknown, also for a bdev of another module". */
bool bdev_is_null(const struct bdev *bdev);
bool bdev_is_malloc(const struct bdev *bdev);
bool bdev_is_file(const struct bdev *bdev, int face);

#endif
