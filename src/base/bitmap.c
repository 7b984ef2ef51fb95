/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Words of 64 bits in memory that the kernel gives page by page: a set of billions, nearly empty,
 * costs what is in it. Bits past the end of the last word are always clear. Whatever writes here
 * leaves words alone that keep their value, so that an empty part stays untouched.
 */
#include "base/bitmap.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/endian.h"
#include "base/log.h"

static size_t bitmap_words(uint32_t bits)
{
	return ((size_t)bits + 63) / 64;
}

static size_t bitmap_bytes(uint32_t bits)
{
	return bits ? bitmap_words(bits) * sizeof(uint64_t) : sizeof(uint64_t);
}

int bitmap_init(struct bitmap *map, uint32_t bits)
{
	size_t bytes = bitmap_bytes(bits);
	uint64_t *words = alloc_pages(bytes);

	if (!words)
		return -ENOMEM;
	*map = (struct bitmap){.bits = bits, .words = words, .words_bytes = bytes};
	return 0;
}

void bitmap_fini(struct bitmap *map)
{
	free_pages(map->words, map->words_bytes);
	*map = (struct bitmap){0};
}

int bitmap_grow(struct bitmap *map, uint32_t bits)
{
	size_t bytes = bitmap_bytes(bits);
	uint64_t *words;

	invariant(bits >= map->bits);
	words = resize_pages(map->words, map->words_bytes, bytes);
	if (!words)
		return -ENOMEM;
	map->bits = bits;
	map->words = words;
	map->words_bytes = bytes;
	return 0;
}

static void bitmap_put_word(struct bitmap *map, size_t i, uint64_t word)
{
	uint64_t old = map->words[i];

	if (word == old)
		return;
	map->count = map->count - (uint32_t)__builtin_popcountll(old) +
		     (uint32_t)__builtin_popcountll(word);
	map->words[i] = word;
}

/* The bits of word i that lie below `end`. */
static uint64_t word_below(size_t i, uint64_t end)
{
	uint64_t first = (uint64_t)i * 64;

	if (end <= first)
		return 0;
	return end - first >= 64 ? UINT64_MAX : (UINT64_C(1) << (end - first)) - 1;
}

void bitmap_set_range(struct bitmap *map, uint32_t first, uint32_t count)
{
	uint64_t end = (uint64_t)first + count;

	invariant(end <= map->bits);
	for (size_t i = first / 64; i < (end + 63) / 64; i++)
		bitmap_put_word(
			map, i, map->words[i] | (word_below(i, end) & ~word_below(i, first)));
}

/* The first bit at or after `from` of the set, or with invert of what is not in it. */
static uint32_t bitmap_find(const struct bitmap *map, uint32_t from, uint64_t invert)
{
	if (from >= map->bits)
		return BITMAP_NONE;
	for (size_t i = from / 64; i < bitmap_words(map->bits); i++) {
		uint64_t word =
			(map->words[i] ^ invert) & word_below(i, map->bits) & ~word_below(i, from);

		if (word)
			return (uint32_t)(i * 64) + (uint32_t)__builtin_ctzll(word);
	}
	return BITMAP_NONE;
}

uint32_t bitmap_find_clear(const struct bitmap *map, uint32_t from)
{
	return bitmap_find(map, from, UINT64_MAX);
}

uint32_t bitmap_find_set(const struct bitmap *map, uint32_t from)
{
	return bitmap_find(map, from, 0);
}

void bitmap_export(const struct bitmap *map, uint32_t bits, void *ret_bytes)
{
	size_t left = ((size_t)bits + 7) / 8;
	uint8_t *at = ret_bytes;

	invariant(bits <= map->bits);
	for (size_t i = 0; left; i++) {
		uint64_t word = htole64(map->words[i] & word_below(i, bits));
		size_t part = u64_min(left, sizeof(word));

		memcpy(at, &word, part);
		at += part;
		left -= part;
	}
}

void bitmap_import(struct bitmap *map, const void *bytes, uint32_t bits)
{
	size_t left = ((size_t)bits + 7) / 8;
	const uint8_t *at = bytes;

	invariant(bits <= map->bits);
	for (size_t i = 0; left; i++) {
		uint64_t here = word_below(i, bits), word = 0;
		size_t part = u64_min(left, sizeof(word));

		memcpy(&word, at, part);
		bitmap_put_word(map, i, (map->words[i] & ~here) | (le64toh(word) & here));
		at += part;
		left -= part;
	}
}
