/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a disk holds, as pages of its own over a base that many images share: a fresh image costs
 * nothing, a write costs the pages that it touches, and going back to the base costs as much as was
 * written. The base belongs to somebody else and does not change while the image stands on it.
 */
#ifndef CRASH_IMAGE_H
#define CRASH_IMAGE_H

#include "base/util.h"

#define CRASH_PAGE_BYTES 4096u

struct crash_image {
	uint64_t size_bytes; /* a multiple of CRASH_PAGE_BYTES */
	const uint8_t *base; /* size_bytes, borrowed */
	uint8_t **pages; /* own ones; NULL: the base's */
	uint32_t *touched; /* numbers of pages that are not the base's */
	uint32_t num_touched;
	uint8_t **spare; /* pages to use again */
	uint32_t num_spare;
};

void crash_image_init(struct crash_image *image, const uint8_t *base, uint64_t size_bytes);
void crash_image_fini(struct crash_image *image);
/* All that was written is forgotten; from now on over that base. */
void crash_image_reset(struct crash_image *image, const uint8_t *base);

void crash_image_read(
	const struct crash_image *image, uint64_t offset, void *ret_buf, uint64_t length);
void crash_image_write(
	struct crash_image *image, uint64_t offset, const void *buf, uint64_t length);
/* Pages that hold that already stay the base's. */
void crash_image_fill(struct crash_image *image, uint64_t offset, uint8_t byte, uint64_t length);
/* The whole of it, flat: size_bytes, which are zero. */
void crash_image_flatten(const struct crash_image *image, uint8_t *ret_flat);

/* Flat contents, of whole pages: what is there already is not touched, so that zeroes that nobody
 * ever wrote take no memory. */
void crash_flat_copy(uint8_t *flat, const uint8_t *from, uint64_t length);
void crash_flat_fill(uint8_t *flat, uint8_t byte, uint64_t length);

#endif
