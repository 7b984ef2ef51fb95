/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A set of numbers 0 .. bits - 1, and how many are in it. Not thread safe.
 */
#ifndef BASE_BITMAP_H
#define BASE_BITMAP_H

#include "base/util.h"

struct bitmap {
	uint32_t bits;
	uint32_t count; /* of those set */
	uint64_t *words; /* takes memory only where something was set */
	size_t words_bytes;
};

#define BITMAP_NONE UINT32_MAX

int bitmap_init(struct bitmap *map, uint32_t bits) MUST_CHECK; /* empty; -ENOMEM */
void bitmap_fini(struct bitmap *map); /* of a zeroed one too */
/* Larger, the new ones are clear; -ENOMEM and nothing has changed. */
int bitmap_grow(struct bitmap *map, uint32_t bits) MUST_CHECK;

static inline bool bitmap_test(const struct bitmap *map, uint32_t bit)
{
	return map->words[bit / 64] >> (bit % 64) & 1;
}

/* Both: was it otherwise before? */
static inline bool bitmap_set(struct bitmap *map, uint32_t bit)
{
	uint64_t mask = UINT64_C(1) << (bit % 64);

	if (map->words[bit / 64] & mask)
		return false;
	map->words[bit / 64] |= mask;
	map->count++;
	return true;
}

static inline bool bitmap_clear(struct bitmap *map, uint32_t bit)
{
	uint64_t mask = UINT64_C(1) << (bit % 64);

	if (!(map->words[bit / 64] & mask))
		return false;
	map->words[bit / 64] &= ~mask;
	map->count--;
	return true;
}

void bitmap_set_range(struct bitmap *map, uint32_t first, uint32_t count);

/* The first clear, or set, bit at or after `from`; BITMAP_NONE when there is none up to the end. */
uint32_t bitmap_find_clear(const struct bitmap *map, uint32_t from);
uint32_t bitmap_find_set(const struct bitmap *map, uint32_t from);

/* The bits as little-endian bytes, the least significant first: ceil(bits / 8) of them. What lies
 * past the end is written 0 and ignored. */
void bitmap_export(const struct bitmap *map, uint32_t bits, void *ret_bytes);
void bitmap_import(struct bitmap *map, const void *bytes, uint32_t bits); /* bits <= map->bits */

#endif
