/* SPDX-License-Identifier: BSD-2-Clause */
#include "crash/crash_image.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

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
		.spare = calloc(pages, sizeof(*image->spare)),
	};
	invariant(image->pages && image->touched && image->spare);
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
