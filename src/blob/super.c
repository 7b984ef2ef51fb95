/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The super block: what a store says about itself, and the layout of a new one. All positions are
 * taken from the super block and checked once, here, so that nobody else need doubt them: the masks
 * lie behind the super block and before the metadata, apart from each other, each with room for
 * its bits; the metadata ends within the store.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/endian.h"
#include "blob/format.h"

uint32_t page_checksum(const void *page)
{
	return crc32c(page, BLOBSTORE_CRC_BYTES);
}

bool page_checksum_is_right(const void *page)
{
	return le32_get((const uint8_t *)page + BLOBSTORE_CRC_BYTES) == page_checksum(page);
}

/* ---- derived numbers ---------------------------------------------------------------------- */

uint32_t super_clusters(const struct super *super)
{
	return (uint32_t)(super->size_bytes / super->cluster_size);
}

static uint64_t super_md_clusters_wide(const struct super *super)
{
	uint32_t pages = super->cluster_size / super->md_page_size;

	return ((uint64_t)super->md_start + super->md_len + pages - 1) / pages;
}

uint32_t super_md_clusters(const struct super *super)
{
	return (uint32_t)super_md_clusters_wide(super);
}

uint32_t super_cluster_mask_room(const struct super *super)
{
	uint32_t start = super->cluster_mask_start, end = super->md_start;

	if (super->page_mask_start > start && super->page_mask_start < end)
		end = super->page_mask_start;
	if (super->blobid_mask_len && super->blobid_mask_start > start &&
		super->blobid_mask_start < end)
		end = super->blobid_mask_start;
	return end - start;
}

uint64_t super_max_bytes(const struct super *super)
{
	uint64_t bytes = (uint64_t)super_cluster_mask_room(super) * super->md_page_size;
	uint64_t clusters = (bytes - sizeof(struct blobstore_mask)) * 8;

	return u64_min(clusters, BLOBSTORE_BITS_MAX) * super->cluster_size;
}

/* ---- decoding ----------------------------------------------------------------------------- */

static int super_check_frame(const struct blobstore_super *disk, struct reason *reason)
{
	uint32_t version = le32toh(disk->version);

	if (memcmp(disk->signature, BLOBSTORE_SIGNATURE, sizeof(disk->signature)) != 0)
		return reason_set(reason, -EILSEQ, "there is no blobstore on this device");
	if (version < 1 || version > BLOBSTORE_VERSION)
		return reason_set(reason, -EILSEQ,
			"the blobstore is of version %u, which this program does not know",
			version);
	if (!page_checksum_is_right(disk))
		return reason_set(reason, -EILSEQ,
			"the checksum of the super block is wrong: restore the device from a copy");
	return 0;
}

static void super_read(const struct blobstore_super *disk, uint64_t device_bytes, struct super *ret)
{
	uint64_t size = le64toh(disk->size);
	uint32_t io_unit = le32toh(disk->io_unit_size), page = le32toh(disk->md_page_size);

	*ret = (struct super){
		.version = le32toh(disk->version),
		.clean = le32toh(disk->clean) == 1,
		.super_blob = le64toh(disk->super_blob),
		.cluster_size = le32toh(disk->cluster_size),
		.page_mask_start = le32toh(disk->used_page_mask_start),
		.page_mask_len = le32toh(disk->used_page_mask_len),
		.cluster_mask_start = le32toh(disk->used_cluster_mask_start),
		.cluster_mask_len = le32toh(disk->used_cluster_mask_len),
		.blobid_mask_start = le32toh(disk->used_blobid_mask_start),
		.blobid_mask_len = le32toh(disk->used_blobid_mask_len),
		.md_start = le32toh(disk->md_start),
		.md_len = le32toh(disk->md_len),
		.size_bytes = size ? size : device_bytes,
		.io_unit_size = io_unit ? io_unit : BLOBSTORE_PAGE_BYTES,
		.md_page_size = page ? page : BLOBSTORE_PAGE_BYTES,
	};
	memcpy(ret->bstype, disk->bstype, sizeof(ret->bstype));
}

static int super_check_sizes(
	const struct super *super, uint64_t device_bytes, struct reason *reason)
{
	if (super->size_bytes > device_bytes)
		return reason_set(reason, -EILSEQ,
			"the blobstore is %" PRIu64 " bytes large, the device only %" PRIu64
			": make it as large again",
			super->size_bytes, device_bytes);
	if (!is_power_of_two(super->io_unit_size) || super->io_unit_size < 512 ||
		super->io_unit_size > BLOBSTORE_PAGE_BYTES)
		return reason_set(reason, -EILSEQ, "the super block tells an I/O unit of %u bytes",
			super->io_unit_size);
	if (super->md_page_size % BLOBSTORE_PAGE_BYTES)
		return reason_set(reason, -EILSEQ,
			"the super block tells metadata pages of %u bytes", super->md_page_size);
	if (super->cluster_size % BLOBSTORE_PAGE_BYTES || super->cluster_size < super->md_page_size)
		return reason_set(reason, -EILSEQ, "the super block tells clusters of %u bytes",
			super->cluster_size);
	if (super->size_bytes / super->cluster_size < 1 ||
		super->size_bytes / super->cluster_size > BLOBSTORE_BITS_MAX)
		return reason_set(reason, -EILSEQ,
			"the super block tells %" PRIu64 " bytes in clusters of %u",
			super->size_bytes, super->cluster_size);
	if (super->md_len < 1 || super->md_len > BLOBSTORE_BITS_MAX)
		return reason_set(
			reason, -EILSEQ, "the super block tells %u metadata pages", super->md_len);
	return 0;
}

struct region {
	const char *name;
	uint32_t start, len, bits;
};

static bool regions_overlap(const struct region *a, const struct region *b)
{
	return a->len && b->len && a->start < (uint64_t)b->start + b->len &&
	       b->start < (uint64_t)a->start + a->len;
}

static int super_check_regions(const struct super *super, struct reason *reason)
{
	const struct region masks[] = {
		{"metadata pages", super->page_mask_start, super->page_mask_len, super->md_len},
		{"clusters", super->cluster_mask_start, super->cluster_mask_len,
			super_clusters(super)},
		{"blob ids", super->blobid_mask_start, super->blobid_mask_len, super->md_len},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(masks); i++) {
		const struct region *mask = &masks[i];

		if (mask->len == 0 && i == BLOBSTORE_MASK_BLOBIDS)
			continue;
		if (mask->start < 1 || (uint64_t)mask->start + mask->len > super->md_start)
			return reason_set(reason, -EILSEQ,
				"the mask of used %s does not lie before the metadata", mask->name);
		if (mask_bytes(mask->bits) > (uint64_t)mask->len * super->md_page_size)
			return reason_set(reason, -EILSEQ, "the mask of used %s has no room for %u",
				mask->name, mask->bits);
		if (regions_overlap(mask, &masks[(i + 1) % ARRAY_SIZE(masks)]))
			return reason_set(reason, -EILSEQ, "the mask of used %s overlaps another",
				mask->name);
	}
	if (super_md_clusters_wide(super) > super_clusters(super))
		return reason_set(
			reason, -EILSEQ, "the metadata does not lie within the blobstore");
	return 0;
}

int super_decode(
	const void *page, uint64_t device_bytes, struct super *ret_super, struct reason *reason)
{
	struct super super;
	int rc = super_check_frame(page, reason);

	if (rc)
		return rc;
	super_read(page, device_bytes, &super);
	rc = super_check_sizes(&super, device_bytes, reason);
	if (!rc)
		rc = super_check_regions(&super, reason);
	if (!rc)
		*ret_super = super;
	return rc;
}

void super_encode(const struct super *super, void *ret_page)
{
	struct blobstore_super *disk = ret_page;

	*disk = (struct blobstore_super){
		.version = htole32(super->version),
		.length = htole32(sizeof(*disk)),
		.clean = htole32(super->clean),
		.super_blob = htole64(super->super_blob),
		.cluster_size = htole32(super->cluster_size),
		.used_page_mask_start = htole32(super->page_mask_start),
		.used_page_mask_len = htole32(super->page_mask_len),
		.used_cluster_mask_start = htole32(super->cluster_mask_start),
		.used_cluster_mask_len = htole32(super->cluster_mask_len),
		.md_start = htole32(super->md_start),
		.md_len = htole32(super->md_len),
		.used_blobid_mask_start = htole32(super->blobid_mask_start),
		.used_blobid_mask_len = htole32(super->blobid_mask_len),
		.size = htole64(super->size_bytes),
		.io_unit_size = htole32(super->io_unit_size),
		.md_page_size = htole32(super->md_page_size),
	};
	memcpy(disk->signature, BLOBSTORE_SIGNATURE, sizeof(disk->signature));
	memcpy(disk->bstype, super->bstype, sizeof(disk->bstype));
	disk->crc = htole32(page_checksum(disk));
}
