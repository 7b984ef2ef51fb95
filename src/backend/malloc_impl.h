/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between malloc.c, the device over memory, and malloc_copy.c, which moves the bytes.
 */
#ifndef BACKEND_MALLOC_IMPL_H
#define BACKEND_MALLOC_IMPL_H

#include "bdev/io.h"

/* How far a request is. */
struct malloc_io {
	uint64_t progress;
	size_t iov_offset;
	unsigned iov_index;
};

_Static_assert(sizeof(struct malloc_io) <= BDEV_IO_BACKEND_SIZE, "fits in the request");

static inline struct malloc_io *malloc_io_of(struct bdev_io *io)
{
	return (struct malloc_io *)io->backend.bytes;
}

/* Goes on with a READ or WRITE: copies at most bytes of it, returns how many. Meanwhile what next
 * (or NULL) will read from the store, a request that has not begun, is fetched into the cache. */
uint64_t malloc_copy(struct bdev_io *io, uint8_t *store, uint64_t bytes, struct bdev_io *next);
/* Begins to fetch what the request will read from the store. */
void malloc_fetch(const struct bdev_io *io, const uint8_t *store);

#endif
