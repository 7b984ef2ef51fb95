/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between malloc.c, the device over memory, malloc_store.c, the memory, and malloc_copy.c, which
 * moves the bytes.
 */
#ifndef BACKEND_MALLOC_IMPL_H
#define BACKEND_MALLOC_IMPL_H

#include "base/reason.h"
#include "bdev/io.h"

#define MALLOC_REGION (2 * MIB) /* memory is taken in such pieces: a huge page */

struct malloc_store {
	uint8_t *bytes;
	uint64_t size;
	void *mapping; /* bytes is aligned in it */
	size_t mapping_length;
	_Atomic uint8_t *present; /* by region; 0: nothing is in it */
};

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

/* ---- malloc_store.c ---- */

int malloc_store_create(
	struct malloc_store *store, uint64_t size, struct reason *reason) MUST_CHECK;
/* Takes a while when there is much: on a worker. */
void malloc_store_destroy(struct malloc_store *store);
/* Takes the memory of the range. Blocks. */
void malloc_store_populate(struct malloc_store *store, uint64_t offset, uint64_t length);
/* Any reactor: gives whole pages back; all of the range reads zeroes then. */
void malloc_store_unmap(struct malloc_store *store, uint64_t offset, uint64_t length);
/* Any reactor: notes that there is memory, after it was written. */
void malloc_store_note_written(struct malloc_store *store, uint64_t offset, uint64_t length);
/* Any reactor: how the range begins. */
struct bdev_extent malloc_store_extent(
	const struct malloc_store *store, uint64_t offset, uint64_t length);

/* Any reactor. True: writing there takes no memory, or little. */
static inline bool malloc_store_is_present(
	const struct malloc_store *store, uint64_t offset, uint64_t length)
{
	uint64_t last = (offset + length - 1) / MALLOC_REGION;

	for (uint64_t region = offset / MALLOC_REGION; region <= last; region++)
		if (!atomic_load_explicit(&store->present[region], memory_order_relaxed))
			return false;
	return true;
}

#endif
