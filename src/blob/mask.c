/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Allocation masks: five bytes of head, one bit for each item. They bear no checksum; what they say
 * is trusted only in a store that was closed in order. A growth that was interrupted leaves a
 * cluster mask that tells more clusters than the store has.
 */
#include <errno.h>
#include <string.h>

#include "base/endian.h"
#include "base/log.h"
#include "blob/format.h"

#define HEAD sizeof(struct blobstore_mask)

uint64_t mask_bytes(uint32_t bits)
{
	return HEAD + ((uint64_t)bits + 7) / 8;
}

void mask_encode(enum blobstore_mask_type type, const struct bitmap *map, uint32_t bits,
	void *ret_region, size_t region_bytes)
{
	const struct blobstore_mask head = {.type = type, .bits = htole32(bits)};
	uint64_t used = mask_bytes(bits);
	uint8_t *at = ret_region;

	invariant(used <= region_bytes);
	memcpy(at, &head, HEAD);
	bitmap_export(map, bits, at + HEAD);
	memset(at + used, 0, region_bytes - used);
}

int mask_decode(enum blobstore_mask_type type, const void *region, size_t region_bytes,
	uint32_t min_bits, struct bitmap *ret_map, struct reason *reason)
{
	static const char *const names[] = {"metadata pages", "clusters", "blob ids"};
	struct blobstore_mask head;
	uint32_t bits;

	if (mask_bytes(min_bits) > region_bytes)
		return reason_set(reason, -EILSEQ, "the mask of used %s has no room for %u",
			names[type], min_bits);
	memcpy(&head, region, HEAD);
	bits = le32toh(head.bits);
	if (head.type != type)
		return reason_set(reason, -EILSEQ,
			"where the mask of used %s should be lies a mask of type %u", names[type],
			head.type);
	if (bits < min_bits || (type != BLOBSTORE_MASK_CLUSTERS && bits != min_bits))
		return reason_set(reason, -EILSEQ, "the mask of used %s is of %u, not of %u",
			names[type], bits, min_bits);
	bitmap_import(ret_map, (const uint8_t *)region + HEAD, min_bits);
	return 0;
}
