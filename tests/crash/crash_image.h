/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a disk holds, as pages of its own over another image that many share, or over zeroes: a
 * fresh image costs nothing, a write costs the pages that it touches, and going back to what is
 * below costs as much as was written. What is below belongs to somebody else and does not change
 * while an image stands on it.
 */
#ifndef CRASH_IMAGE_H
#define CRASH_IMAGE_H

#include "base/util.h"

#define CRASH_PAGE_BYTES 4096u

struct crash_image {
	uint64_t size_bytes; /* a multiple of CRASH_PAGE_BYTES */
	const struct crash_image *below; /* of the same size, borrowed; NULL: zeroes */
	uint8_t **pages; /* own ones; NULL: as below */
	uint32_t *touched; /* numbers of pages that are not as below */
	uint32_t num_touched;
	uint64_t *sums; /* of own pages; 0: not known */
	uint8_t **spare; /* pages to use again */
	uint32_t num_spare;
};

void crash_image_init(
	struct crash_image *image, const struct crash_image *below, uint64_t size_bytes);
void crash_image_fini(struct crash_image *image);
/* All that was written is forgotten; from now on over that. */
void crash_image_reset(struct crash_image *image, const struct crash_image *below);

void crash_image_read(
	const struct crash_image *image, uint64_t offset, void *ret_buf, uint64_t length);
void crash_image_write(
	struct crash_image *image, uint64_t offset, const void *buf, uint64_t length);
/* Pages that hold that already stay as below. */
void crash_image_fill(struct crash_image *image, uint64_t offset, uint8_t byte, uint64_t length);
/* Of all that it holds, wherever that lies: images with the same are the same, others differ. */
uint64_t crash_image_sum(const struct crash_image *image);
/* The bytes from there to the end of their page, until something is written. */
const uint8_t *crash_image_at(const struct crash_image *image, uint64_t offset);

#endif
