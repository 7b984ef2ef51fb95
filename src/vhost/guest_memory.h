/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's memory as one session sees it: a table of regions, sorted by guest-physical address,
 * immutable once built. A change (SET_MEM_TABLE, ADD/REM_MEM_REG) builds a new table that shares
 * the mappings of regions that stay; the virtqueues are given the new table while they fetch
 * nothing, and the old one is put when the last request translated with it has ended.
 *
 * Tables and mappings are counted; gets and puts on the control reactor only. Mapping and unmapping
 * run on workers (memory.c). Data reactors only look up: a few compares, the last hit first.
 *
 * Every address and length here is checked against overflow by the lookups: a guest can ask for
 * anything.
 */
#ifndef VHOST_GUEST_MEMORY_H
#define VHOST_GUEST_MEMORY_H

#include "base/util.h"

#define GUEST_REGIONS_MAX 509 /* answer to GET_MAX_MEM_SLOTS */

struct guest_mapping; /* counted mmap of one region, in memory.c */

struct guest_region {
	uint64_t gpa; /* guest-physical start */
	uint64_t size; /* > 0, gpa + size does not wrap */
	uint64_t uva; /* front-end's user address of the start */
	uint8_t *addr; /* ours */
	struct guest_mapping *mapping;
};

struct guest_memory {
	unsigned refs;
	unsigned count;
	struct guest_region regions[]; /* sorted by gpa, no overlap */
};

/* The region that holds gpa, or NULL. *hint is the caller's cache: any value. */
static inline const struct guest_region *guest_memory_region(
	const struct guest_memory *memory, unsigned *hint, uint64_t gpa)
{
	unsigned low = 0, high = memory->count;

	if (likely(*hint < memory->count)) {
		const struct guest_region *last = &memory->regions[*hint];

		if (likely(gpa - last->gpa < last->size)) /* gpa below wraps to a large number */
			return last;
	}
	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		const struct guest_region *region = &memory->regions[middle];

		if (gpa - region->gpa < region->size) {
			*hint = middle;
			return region;
		}
		if (gpa < region->gpa)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* Our address of gpa and in *ret_len how many bytes (at most len) are contiguous there; NULL when
 * gpa is in no region. len > 0. */
static inline void *guest_memory_translate(const struct guest_memory *memory, unsigned *hint,
	uint64_t gpa, uint64_t len, uint64_t *ret_len)
{
	const struct guest_region *region = guest_memory_region(memory, hint, gpa);
	uint64_t offset;

	if (unlikely(!region))
		return NULL;
	offset = gpa - region->gpa;
	*ret_len = u64_min(len, region->size - offset);
	return region->addr + offset;
}

/* Our address of the front-end's user address range, NULL unless all of it lies in one region. For
 * ring areas; control reactor. */
void *guest_memory_from_user(const struct guest_memory *memory, uint64_t uva, uint64_t len);

#endif
