/* SPDX-License-Identifier: BSD-2-Clause */
#include "crash/crash_image.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

void crash_image_init(struct crash_image *image, const uint8_t *base, uint64_t size_bytes)
{
	uint64_t pages = size_bytes / CRASH_PAGE_BYTES;

	invariant(size_bytes % CRASH_PAGE_BYTES == 0);
	*image = (struct crash_image){
		.size_bytes = size_bytes,
		.base = base,
		.pages = calloc(pages, sizeof(*image->pages)),
		.touched = calloc(pages, sizeof(*image->touched)),
		.spare = calloc(pages, sizeof(*image->spare)),
	};
	invariant(image->pages && image->touched && image->spare);
}

void crash_image_reset(struct crash_image *image, const uint8_t *base)
{
	for (uint32_t i = 0; i < image->num_touched; i++) {
		uint32_t page = image->touched[i];

		image->spare[image->num_spare++] = image->pages[page];
		image->pages[page] = NULL;
	}
	image->num_touched = 0;
	image->base = base;
}

void crash_image_fini(struct crash_image *image)
{
	crash_image_reset(image, NULL);
	for (uint32_t i = 0; i < image->num_spare; i++)
		free(image->spare[i]);
	free(image->spare);
	free(image->touched);
	free(image->pages);
}

/* Own page, to be overwritten; with what it held unless all of it will be. */
static uint8_t *image_own(struct crash_image *image, uint32_t page, bool whole)
{
	uint8_t *own = image->pages[page];

	if (own)
		return own;
	own = image->num_spare ? image->spare[--image->num_spare] : malloc(CRASH_PAGE_BYTES);
	invariant(own != NULL);
	if (!whole)
		memcpy(own, image->base + (uint64_t)page * CRASH_PAGE_BYTES, CRASH_PAGE_BYTES);
	image->pages[page] = own;
	image->touched[image->num_touched++] = page;
	return own;
}

static uint64_t image_piece(const struct crash_image *image, uint64_t offset, uint64_t length)
{
	invariant(offset < image->size_bytes && length <= image->size_bytes - offset);
	return u64_min(length, CRASH_PAGE_BYTES - offset % CRASH_PAGE_BYTES);
}

void crash_image_read(
	const struct crash_image *image, uint64_t offset, void *ret_buf, uint64_t length)
{
	uint8_t *to = ret_buf;

	while (length > 0) {
		uint64_t piece = image_piece(image, offset, length);
		const uint8_t *own = image->pages[offset / CRASH_PAGE_BYTES];

		/* memmove: a memcpy whose bound is known becomes a slow loop */
		memmove(to, own ? own + offset % CRASH_PAGE_BYTES : image->base + offset, piece);
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
	return page[0] == byte && memcmp(page, page + 1, CRASH_PAGE_BYTES - 1) == 0;
}

void crash_flat_copy(uint8_t *flat, const uint8_t *from, uint64_t length)
{
	for (uint64_t at = 0; at < length; at += CRASH_PAGE_BYTES)
		if (memcmp(flat + at, from + at, CRASH_PAGE_BYTES) != 0)
			memcpy(flat + at, from + at, CRASH_PAGE_BYTES);
}

void crash_flat_fill(uint8_t *flat, uint8_t byte, uint64_t length)
{
	for (uint64_t at = 0; at < length; at += CRASH_PAGE_BYTES) {
		uint64_t piece = u64_min(length - at, CRASH_PAGE_BYTES);

		if (piece < CRASH_PAGE_BYTES || !page_is_full_of(flat + at, byte))
			memset(flat + at, byte, piece);
	}
}

void crash_image_fill(struct crash_image *image, uint64_t offset, uint8_t byte, uint64_t length)
{
	while (length > 0) {
		uint64_t piece = image_piece(image, offset, length);
		uint32_t page = (uint32_t)(offset / CRASH_PAGE_BYTES);
		bool whole = piece == CRASH_PAGE_BYTES;

		if (!whole || image->pages[page] || !page_is_full_of(image->base + offset, byte))
			memset(image_own(image, page, whole) + offset % CRASH_PAGE_BYTES, byte,
				piece);
		offset += piece;
		length -= piece;
	}
}

void crash_image_flatten(const struct crash_image *image, uint8_t *ret_flat)
{
	crash_flat_copy(ret_flat, image->base, image->size_bytes);
	for (uint32_t i = 0; i < image->num_touched; i++) {
		uint32_t page = image->touched[i];

		memcpy(ret_flat + (uint64_t)page * CRASH_PAGE_BYTES, image->pages[page],
			CRASH_PAGE_BYTES);
	}
}
