/* SPDX-License-Identifier: BSD-2-Clause */
#include "crash/crash_image.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "crash/chance.h"

#define SUM_LANES 8u

static const uint8_t zeroes[CRASH_PAGE_BYTES];

void crash_image_init(
	struct crash_image *image, const struct crash_image *below, uint64_t size_bytes)
{
	uint64_t pages = size_bytes / CRASH_PAGE_BYTES;

	invariant(size_bytes % CRASH_PAGE_BYTES == 0);
	*image = (struct crash_image){
		.size_bytes = size_bytes,
		.below = below,
		.pages = calloc(pages, sizeof(*image->pages)),
		.touched = calloc(pages, sizeof(*image->touched)),
		.sums = calloc(pages, sizeof(*image->sums)),
		.spare = calloc(pages, sizeof(*image->spare)),
	};
	invariant(image->pages && image->touched && image->sums && image->spare);
}

void crash_image_reset(struct crash_image *image, const struct crash_image *below)
{
	for (uint32_t i = 0; i < image->num_touched; i++) {
		uint32_t page = image->touched[i];

		image->spare[image->num_spare++] = image->pages[page];
		image->pages[page] = NULL;
	}
	image->num_touched = 0;
	image->below = below;
}

void crash_image_fini(struct crash_image *image)
{
	crash_image_reset(image, NULL);
	for (uint32_t i = 0; i < image->num_spare; i++)
		free(image->spare[i]);
	free(image->spare);
	free(image->sums);
	free(image->touched);
	free(image->pages);
}

static const uint8_t *image_page(const struct crash_image *image, uint64_t page)
{
	for (; image; image = image->below)
		if (image->pages[page])
			return image->pages[page];
	return zeroes;
}

/* Own page, to be overwritten; with what it held unless all of it will be. */
static uint8_t *image_own(struct crash_image *image, uint32_t page, bool whole)
{
	uint8_t *own = image->pages[page];

	image->sums[page] = 0;
	if (own)
		return own;
	own = image->num_spare ? image->spare[--image->num_spare] : malloc(CRASH_PAGE_BYTES);
	invariant(own != NULL);
	if (!whole)
		memcpy(own, image_page(image, page), CRASH_PAGE_BYTES);
	image->pages[page] = own;
	image->touched[image->num_touched++] = page;
	return own;
}

static uint64_t image_piece(const struct crash_image *image, uint64_t offset, uint64_t length)
{
	invariant(offset < image->size_bytes && length <= image->size_bytes - offset);
	return u64_min(length, CRASH_PAGE_BYTES - offset % CRASH_PAGE_BYTES);
}

const uint8_t *crash_image_at(const struct crash_image *image, uint64_t offset)
{
	invariant(offset < image->size_bytes);
	return image_page(image, offset / CRASH_PAGE_BYTES) + offset % CRASH_PAGE_BYTES;
}

void crash_image_read(
	const struct crash_image *image, uint64_t offset, void *ret_buf, uint64_t length)
{
	uint8_t *to = ret_buf;

	while (length > 0) {
		uint64_t piece = image_piece(image, offset, length);

		/* memmove: a memcpy whose bound is known becomes a slow loop */
		memmove(to, crash_image_at(image, offset), piece);
		to += piece;
		offset += piece;
		length -= piece;
	}
}

void crash_image_write(struct crash_image *image, uint64_t offset, const void *buf, uint64_t length)
{
	const uint8_t *from = buf;

	while (length > 0) {
		uint64_t piece = image_piece(image, offset, length);
		uint8_t *own = image_own(
			image, (uint32_t)(offset / CRASH_PAGE_BYTES), piece == CRASH_PAGE_BYTES);

		memmove(own + offset % CRASH_PAGE_BYTES, from, piece);
		from += piece;
		offset += piece;
		length -= piece;
	}
}

static bool page_is_full_of(const uint8_t *page, uint8_t byte)
{
	if (page == zeroes)
		return byte == 0;
	return page[0] == byte && memcmp(page, page + 1, CRASH_PAGE_BYTES - 1) == 0;
}

void crash_image_fill(struct crash_image *image, uint64_t offset, uint8_t byte, uint64_t length)
{
	while (length > 0) {
		uint64_t piece = image_piece(image, offset, length);
		uint32_t page = (uint32_t)(offset / CRASH_PAGE_BYTES);
		bool whole = piece == CRASH_PAGE_BYTES;

		if (!whole || image->pages[page] || !page_is_full_of(image_page(image, page), byte))
			memset(image_own(image, page, whole) + offset % CRASH_PAGE_BYTES, byte,
				piece);
		offset += piece;
		length -= piece;
	}
}

/* ---- sums ------------------------------------------------------------------------------------ */

/* Never 0. Each step can be undone, so one word that differs makes another sum. */
static uint64_t page_sum(const uint8_t *page)
{
	uint64_t lanes[SUM_LANES] = {0};
	uint64_t words[SUM_LANES];
	uint64_t sum = 0;

	for (unsigned at = 0; at < CRASH_PAGE_BYTES; at += sizeof(words)) {
		memcpy(words, page + at, sizeof(words));
		for (unsigned i = 0; i < SUM_LANES; i++) {
			lanes[i] = (lanes[i] ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
			lanes[i] ^= lanes[i] >> 29;
		}
	}
	for (unsigned i = 0; i < SUM_LANES; i++)
		sum = chance_mix(sum + lanes[i] + i);
	return sum ? sum : 1;
}

static uint64_t own_sum(const struct crash_image *image, uint32_t page)
{
	if (!image->sums[page])
		image->sums[page] = page_sum(image->pages[page]);
	return image->sums[page];
}

static uint64_t sum_below(const struct crash_image *image, uint32_t page, uint64_t of_zeroes)
{
	for (image = image->below; image; image = image->below)
		if (image->pages[page])
			return own_sum(image, page);
	return of_zeroes;
}

/* What a page adds to that of its image. */
static uint64_t sum_in_place(uint64_t sum, uint32_t page)
{
	return chance_mix(sum ^ (page + 1) * UINT64_C(0xd1342543de82ef95));
}

uint64_t crash_image_sum(const struct crash_image *image)
{
	uint64_t of_zeroes = page_sum(zeroes);
	uint64_t sum = 0;

	for (; image; image = image->below)
		for (uint32_t i = 0; i < image->num_touched; i++) {
			uint32_t page = image->touched[i];

			sum += sum_in_place(own_sum(image, page), page) -
			       sum_in_place(sum_below(image, page, of_zeroes), page);
		}
	return sum;
}
