/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is looked at off line: a file or block device, as a table, so that tests can put one in its
 * place that loses power. All calls block; this is a program of its own, with nobody to hold up.
 */
#ifndef OFFLINE_IMAGE_H
#define OFFLINE_IMAGE_H

#include "base/reason.h"

struct image;

struct image_ops {
	/* All of it or -errno (-EIO beyond the end). */
	int (*read)(struct image *image, uint64_t offset, void *ret_buf, size_t bytes);
	int (*write)(struct image *image, uint64_t offset, const void *buf, size_t bytes);
	int (*flush)(struct image *image);
	/* The first byte at or after offset that may be something else than zero; size_bytes when
	 * there is none. */
	uint64_t (*next_data)(struct image *image, uint64_t offset);
};

struct image {
	const struct image_ops *ops;
	uint64_t size_bytes;
};

static inline int image_read(struct image *image, uint64_t offset, void *ret_buf, size_t bytes)
{
	return image->ops->read(image, offset, ret_buf, bytes);
}

static inline int image_write(struct image *image, uint64_t offset, const void *buf, size_t bytes)
{
	return image->ops->write(image, offset, buf, bytes);
}

static inline int image_flush(struct image *image)
{
	return image->ops->flush(image);
}

struct image_file {
	struct image image;
	int fd;
};

/* Locked as the daemon locks what it writes: shared for reading, alone for writing, so that a store
 * that is open is refused (-EBUSY). A sentence in every case. */
int image_file_open(
	struct image_file *file, const char *path, bool writable, struct reason *reason) MUST_CHECK;
int image_file_close(struct image_file *file); /* 0, or -errno of what was written */

#endif
