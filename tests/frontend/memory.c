/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest memory. Each region keeps two sorted lists in ordinary memory, what is free and what is
 * taken, so that nothing a device writes can harm the allocator. First fit; tests have few buffers.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "frontend/memory.h"

#define HUGE_SIZE (UINT64_C(2) << 20)

/* User addresses that are neither ours nor guest-physical, but aligned like the latter, since
 * back-ends check the alignment of ring areas on them. */
#define USER_BASE UINT64_C(0x3d0000000000)

void fe_memory_init(struct fe_memory *memory)
{
	memset(memory, 0, sizeof(*memory));
	pthread_mutex_init(&memory->lock, NULL);
}

void fe_memory_fini(struct fe_memory *memory)
{
	uint32_t slot;

	for (slot = 0; slot < memory->region_end; slot++)
		fe_memory_remove(memory, slot);
	pthread_mutex_destroy(&memory->lock);
}

static int create_file(const struct fe_region_spec *spec)
{
	uint64_t size = spec->fd_offset + spec->size;
	unsigned int flags = MFD_CLOEXEC | (spec->sealed ? MFD_ALLOW_SEALING : 0);
	int fd, rc;

	if (spec->huge) {
		flags |= MFD_HUGETLB;
		size = (size + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1);
	}
	fd = memfd_create("guest", flags);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0 ||
		(spec->sealed && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

static int map_region(struct fe_region *region, bool huge)
{
	uint64_t page = huge ? HUGE_SIZE : (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t shift = region->fd_offset & (page - 1);

	region->mapping_size = (size_t)((region->size + shift + page - 1) & ~(page - 1));
	region->mapping = mmap(NULL, region->mapping_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		region->fd, (off_t)(region->fd_offset - shift));
	if (region->mapping == MAP_FAILED)
		return -errno;
	region->ptr = (uint8_t *)region->mapping + shift;
	return 0;
}

int fe_memory_add(struct fe_memory *memory, const struct fe_region_spec *spec, uint32_t *ret_slot)
{
	struct fe_region *region;
	uint32_t slot = 0;
	int rc;

	while (slot < FE_MAX_REGIONS && memory->region[slot].present)
		slot++;
	if (slot == FE_MAX_REGIONS)
		return -ENOSPC;
	region = &memory->region[slot];
	memset(region, 0, sizeof(*region));
	region->gpa = spec->gpa;
	region->user = spec->user ? spec->user : USER_BASE + spec->gpa;
	region->size = spec->size;
	region->fd_offset = spec->fd_offset;
	region->fd =
		spec->fd == FE_NEW_FILE ? create_file(spec) : fcntl(spec->fd, F_DUPFD_CLOEXEC, 0);
	if (region->fd < 0)
		return spec->fd == FE_NEW_FILE ? region->fd : -errno;
	rc = map_region(region, spec->huge);
	if (rc) {
		close(region->fd);
		return rc;
	}
	region->free_room = 16;
	region->free = calloc(region->free_room, sizeof(*region->free));
	assert(region->free);
	region->free[0] = (struct fe_extent){.start = 0, .size = region->size};
	region->free_count = 1;
	region->present = true;
	if (slot >= memory->region_end)
		memory->region_end = slot + 1;
	*ret_slot = slot;
	return 0;
}

void fe_memory_remove(struct fe_memory *memory, uint32_t slot)
{
	struct fe_region *region = &memory->region[slot];

	if (!region->present)
		return;
	munmap(region->mapping, region->mapping_size);
	close(region->fd);
	free(region->free);
	free(region->taken);
	memset(region, 0, sizeof(*region));
}

/* ---- extents ---- */

static void insert_extent(struct fe_extent **list, uint32_t *count, uint32_t *room, uint32_t at,
	struct fe_extent extent)
{
	if (*count == *room) {
		*room = *room ? *room * 2 : 16;
		*list = realloc(*list, *room * sizeof(**list));
		assert(*list);
	}
	memmove(*list + at + 1, *list + at, (*count - at) * sizeof(**list));
	(*list)[at] = extent;
	(*count)++;
}

static void delete_extent(struct fe_extent *list, uint32_t *count, uint32_t at)
{
	memmove(list + at, list + at + 1, (*count - at - 1) * sizeof(*list));
	(*count)--;
}

/* Index of the first extent that starts at or behind `start`. */
static uint32_t find_extent(const struct fe_extent *list, uint32_t count, uint64_t start)
{
	uint32_t low = 0, high = count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (list[middle].start < start)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void *take_extent(struct fe_region *region, uint64_t size, uint64_t align)
{
	uint32_t i;

	for (i = 0; i < region->free_count; i++) {
		struct fe_extent space = region->free[i];
		uint64_t gpa = (region->gpa + space.start + align - 1) & ~(align - 1);
		uint64_t start = gpa - region->gpa;
		uint64_t end = start + size;

		if (start < space.start || end > space.start + space.size)
			continue;
		delete_extent(region->free, &region->free_count, i);
		if (end < space.start + space.size)
			insert_extent(&region->free, &region->free_count, &region->free_room, i,
				(struct fe_extent){end, space.start + space.size - end});
		if (start > space.start)
			insert_extent(&region->free, &region->free_count, &region->free_room, i,
				(struct fe_extent){space.start, start - space.start});
		insert_extent(&region->taken, &region->taken_count, &region->taken_room,
			find_extent(region->taken, region->taken_count, start),
			(struct fe_extent){start, size});
		return region->ptr + start;
	}
	return NULL;
}

static void give_extent(struct fe_region *region, struct fe_extent extent)
{
	uint32_t at = find_extent(region->free, region->free_count, extent.start);
	struct fe_extent *next = at < region->free_count ? &region->free[at] : NULL;
	struct fe_extent *previous = at > 0 ? &region->free[at - 1] : NULL;
	bool joins_next = next && extent.start + extent.size == next->start;
	bool joins_previous = previous && previous->start + previous->size == extent.start;

	if (joins_previous && joins_next) {
		previous->size += extent.size + next->size;
		delete_extent(region->free, &region->free_count, at);
	} else if (joins_previous) {
		previous->size += extent.size;
	} else if (joins_next) {
		next->start = extent.start;
		next->size += extent.size;
	} else {
		insert_extent(&region->free, &region->free_count, &region->free_room, at, extent);
	}
}

void *fe_memory_alloc_in(struct fe_memory *memory, uint32_t slot, size_t size, size_t align)
{
	struct fe_region *region = &memory->region[slot];
	void *buffer = NULL;

	/* A zero-length descriptor still has an address: give it a byte of its own. */
	if (!size)
		size = 1;
	pthread_mutex_lock(&memory->lock);
	if (region->present)
		buffer = take_extent(region, size, align);
	pthread_mutex_unlock(&memory->lock);
	if (buffer)
		memset(buffer, 0, size);
	return buffer;
}

void *fe_memory_alloc(struct fe_memory *memory, size_t size, size_t align)
{
	uint32_t slot;

	for (slot = 0; slot < memory->region_end; slot++) {
		void *buffer = fe_memory_alloc_in(memory, slot, size, align);

		if (buffer)
			return buffer;
	}
	return NULL;
}

static struct fe_region *find_region(const struct fe_memory *memory, const void *ptr)
{
	uint32_t slot;

	for (slot = 0; slot < memory->region_end; slot++) {
		const struct fe_region *region = &memory->region[slot];
		uintptr_t first = (uintptr_t)region->ptr;

		if (region->present && (uintptr_t)ptr >= first &&
			(uintptr_t)ptr - first < region->size)
			return (struct fe_region *)(uintptr_t)region;
	}
	return NULL;
}

void fe_memory_free(struct fe_memory *memory, void *buffer)
{
	struct fe_region *region;

	if (!buffer)
		return;
	pthread_mutex_lock(&memory->lock);
	region = find_region(memory, buffer);
	if (region) {
		uint64_t start = (uint64_t)((uint8_t *)buffer - region->ptr);
		uint32_t at = find_extent(region->taken, region->taken_count, start);

		assert(at < region->taken_count && region->taken[at].start == start);
		give_extent(region, region->taken[at]);
		delete_extent(region->taken, &region->taken_count, at);
	}
	pthread_mutex_unlock(&memory->lock);
}

/* ---- translation ---- */

uint64_t fe_memory_gpa(const struct fe_memory *memory, const void *ptr)
{
	const struct fe_region *region = find_region(memory, ptr);

	assert(region);
	return region->gpa + (uint64_t)((const uint8_t *)ptr - region->ptr);
}

uint64_t fe_memory_user(const struct fe_memory *memory, const void *ptr)
{
	const struct fe_region *region = find_region(memory, ptr);

	assert(region);
	return region->user + (uint64_t)((const uint8_t *)ptr - region->ptr);
}

static const struct fe_region *find_gpa(const struct fe_memory *memory, uint64_t gpa)
{
	uint32_t slot;

	for (slot = 0; slot < memory->region_end; slot++) {
		const struct fe_region *region = &memory->region[slot];

		if (region->present && gpa - region->gpa < region->size)
			return region;
	}
	return NULL;
}

void *fe_memory_ptr(const struct fe_memory *memory, uint64_t gpa, size_t len)
{
	const struct fe_region *region = find_gpa(memory, gpa);

	if (!region || len > region->size - (gpa - region->gpa))
		return NULL;
	return region->ptr + (gpa - region->gpa);
}

static int copy(
	const struct fe_memory *memory, uint64_t gpa, uint8_t *bytes, size_t len, bool write)
{
	while (len) {
		const struct fe_region *region = find_gpa(memory, gpa);
		uint64_t left = region ? region->size - (gpa - region->gpa) : 0;
		size_t step = len < left ? len : (size_t)left;

		if (!region)
			return -EFAULT;
		if (write)
			memcpy(region->ptr + (gpa - region->gpa), bytes, step);
		else
			memcpy(bytes, region->ptr + (gpa - region->gpa), step);
		gpa += step;
		bytes += step;
		len -= step;
	}
	return 0;
}

int fe_memory_write(struct fe_memory *memory, uint64_t gpa, const void *bytes, size_t len)
{
	return copy(memory, gpa, (uint8_t *)(uintptr_t)bytes, len, true);
}

int fe_memory_read(const struct fe_memory *memory, uint64_t gpa, void *bytes, size_t len)
{
	return copy(memory, gpa, bytes, len, false);
}
