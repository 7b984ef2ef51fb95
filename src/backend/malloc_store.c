/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory of a malloc device: one anonymous mapping, on huge pages where it is large enough.
 *
 * A page that is written first is taken from the host and cleared: of a huge page that is 100 us at
 * best, and 10 ms have been seen in a virtual machine whose host gave the memory at that moment. So
 * workers do it (populate), and it is noted for each region of 2 MiB whether its memory is there.
 * Whoever asks before a write takes that note for a hint: a write to memory that is not there, as
 * an UNMAP has just given it back, takes it then and there, and makes the note good afterwards. An
 * UNMAP takes the note back before the memory. So where there is no note there are only zeroes, and
 * that is what the device says of its extents. Parts of a region that are given back are not noted,
 * as small pages are taken in a microsecond.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "backend/malloc_impl.h"

#define STORE_PAGE (4 * KIB)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

int malloc_store_create(struct malloc_store *store, uint64_t size, struct reason *reason)
{
	bool huge = size >= MALLOC_REGION;

	store->size = size;
	store->mapping_length = align_up(size, STORE_PAGE) + (huge ? MALLOC_REGION : 0);
	store->mapping = mmap(NULL, store->mapping_length, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (store->mapping == MAP_FAILED)
		return reason_set(reason, -errno,
			"no address space for a malloc device of %llu bytes: choose a smaller one",
			(unsigned long long)size);
	store->present = calloc(align_up(size, MALLOC_REGION) / MALLOC_REGION, 1);
	if (!store->present) {
		munmap(store->mapping, store->mapping_length);
		return reason_set(reason, -ENOMEM, "out of memory");
	}
	store->bytes = store->mapping;
	madvise(store->mapping, store->mapping_length, MADV_DONTDUMP);
	if (huge) {
		store->bytes = (uint8_t *)align_up((uintptr_t)store->mapping, MALLOC_REGION);
		madvise(store->bytes, align_down(size, MALLOC_REGION), MADV_HUGEPAGE);
	}
	return 0;
}

void malloc_store_destroy(struct malloc_store *store)
{
	int rc = munmap(store->mapping, store->mapping_length);

	invariant(rc == 0);
	free(store->present);
}

static void store_note(struct malloc_store *store, uint64_t region, uint8_t present)
{
	atomic_store_explicit(&store->present[region], present, memory_order_relaxed);
}

void malloc_store_populate(struct malloc_store *store, uint64_t offset, uint64_t length)
{
	uint64_t last = (offset + length - 1) / MALLOC_REGION;

	for (uint64_t region = offset / MALLOC_REGION; region <= last; region++) {
		uint64_t at = region * MALLOC_REGION;
		uint64_t end = u64_min(at + MALLOC_REGION, align_up(store->size, STORE_PAGE));

		/* Where the kernel does not know how, or has no memory now, the first write does
		 * the same a moment later. */
		if (!malloc_store_is_present(store, at, 1))
			madvise(store->bytes + at, end - at, MADV_POPULATE_WRITE);
		store_note(store, region, 1);
	}
}

/* Whole pages are given back, what is left at both ends is cleared. */
void malloc_store_unmap(struct malloc_store *store, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;
	uint64_t first = align_up(offset, STORE_PAGE);
	uint64_t last =
		end == store->size ? align_up(end, STORE_PAGE) : align_down(end, STORE_PAGE);

	for (uint64_t at = align_up(offset, MALLOC_REGION); at < end; at += MALLOC_REGION)
		if (at + MALLOC_REGION <= end || end == store->size)
			store_note(store, at / MALLOC_REGION, 0);
	if (first >= last ||
		madvise(store->bytes + first, (size_t)(last - first), MADV_DONTNEED) != 0) {
		memset(store->bytes + offset, 0, length);
		return;
	}
	memset(store->bytes + offset, 0, first - offset);
	if (last < end)
		memset(store->bytes + last, 0, end - last);
}

void malloc_store_note_written(struct malloc_store *store, uint64_t offset, uint64_t length)
{
	uint64_t last = (offset + length - 1) / MALLOC_REGION;

	for (uint64_t region = offset / MALLOC_REGION; region <= last; region++)
		store_note(store, region, 1);
}

struct bdev_extent malloc_store_extent(
	const struct malloc_store *store, uint64_t offset, uint64_t length)
{
	bool present = malloc_store_is_present(store, offset, 1);
	uint64_t end = align_down(offset, MALLOC_REGION) + MALLOC_REGION;

	while (end < offset + length && malloc_store_is_present(store, end, 1) == present)
		end += MALLOC_REGION;
	return (struct bdev_extent){
		.length = u64_min(end - offset, length),
		.state = present ? BDEV_EXTENT_MAPPED : BDEV_EXTENT_DEALLOCATED,
	};
}
