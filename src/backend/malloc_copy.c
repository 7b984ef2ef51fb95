/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copying between buffers and the store of a malloc device.
 *
 * A read from a store that is larger than the cache waits for memory: 4 KiB at a random place take
 * about 280 ns, of which less than half is copying. So while one request is copied, the part of the
 * store that the next one reads is prefetched, line by line in step with the copy: more at a time
 * than a core can have under way would only stall it (280 ns become 190). A write does not wait:
 * its stores are buffered, and what it reads the guest has just written.
 *
 * memcpy is what libc found best for this processor. Stores past the cache are no gain, here or
 * for the guest, which reads its buffers next.
 */
#include <string.h>

#include "backend/malloc_impl.h"

#define COPY_PART   512u /* between two stretches of prefetching */
#define FETCH_BYTES 1024u /* before there is anything to copy meanwhile */

static void malloc_prefetch(const uint8_t *at, size_t length)
{
	for (size_t offset = 0; offset < length; offset += CACHE_LINE)
		__builtin_prefetch(at + offset, 0, 3);
}

void malloc_fetch(const struct bdev_io *io, const uint8_t *store)
{
	if (io->type == BDEV_IO_READ)
		malloc_prefetch(store + io->offset, u64_min(io->length, FETCH_BYTES));
}

struct malloc_ahead {
	const uint8_t *at;
	uint64_t left;
};

static void malloc_copy_part(
	uint8_t *to, const uint8_t *from, size_t length, struct malloc_ahead *ahead)
{
	while (ahead->left && length > 0) {
		size_t part = u64_min(length, COPY_PART);
		size_t fetch = u64_min(ahead->left, COPY_PART);

		malloc_prefetch(ahead->at, fetch);
		ahead->at += fetch;
		ahead->left -= fetch;
		memcpy(to, from, part);
		to += part;
		from += part;
		length -= part;
	}
	if (length > 0)
		memcpy(to, from, length);
}

uint64_t malloc_copy(struct bdev_io *io, uint8_t *store, uint64_t bytes, struct bdev_io *next)
{
	struct malloc_io *state = malloc_io_of(io);
	uint64_t left = u64_min(bytes, io->length - state->progress);
	uint8_t *at = store + io->offset + state->progress;
	struct malloc_ahead ahead = {0};
	uint64_t copied = left;

	if (next && next->type == BDEV_IO_READ)
		ahead = (struct malloc_ahead){.at = store + next->offset, .left = next->length};
	while (left > 0) {
		const struct iovec *iov = &io->iov[state->iov_index];
		size_t part = u64_min(left, iov->iov_len - state->iov_offset);
		uint8_t *buffer = (uint8_t *)iov->iov_base + state->iov_offset;

		invariant(state->iov_index < io->iovcnt);
		if (io->type == BDEV_IO_READ)
			malloc_copy_part(buffer, at, part, &ahead);
		else
			malloc_copy_part(at, buffer, part, &ahead);
		at += part;
		left -= part;
		state->iov_offset += part;
		if (state->iov_offset == iov->iov_len) {
			state->iov_index++;
			state->iov_offset = 0;
		}
	}
	state->progress += copied;
	return copied;
}
