/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The layout of a new store. The super block fills the first page; then the masks of pages, of
 * clusters (with room to grow) and of blob ids, then the metadata. Without a growth factor exactly
 * what the known implementation would choose.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "blob/format.h"

static int plan_check_block(
	const struct super_plan *plan, uint32_t page_size, struct reason *reason)
{
	uint32_t block = plan->block_size;

	if (!is_power_of_two(block) || block < 512 || block > BLOBSTORE_PAGE_BYTES)
		return reason_set(reason, -EINVAL,
			"blocks of %u bytes cannot hold a blobstore: use a device with blocks of "
			"512 "
			"to 4096 bytes",
			block);
	if (plan->physical_block_size % block || page_size % BLOBSTORE_PAGE_BYTES)
		return reason_set(reason, -EINVAL,
			"physical blocks of %u bytes cannot hold a blobstore: use another device",
			plan->physical_block_size);
	return 0;
}

static int plan_check(const struct super_plan *plan, uint32_t page_size, struct reason *reason)
{
	int rc = plan_check_block(plan, page_size, reason);

	if (rc)
		return rc;
	if (plan->md_page_size && (!is_power_of_two(plan->md_page_size) ||
					  plan->md_page_size < 4096 || plan->md_page_size > 65536))
		return reason_set(reason, -EINVAL,
			"a metadata page of %u bytes is impossible: choose a power of two from "
			"4096 "
			"to 65536",
			plan->md_page_size);
	if (plan->cluster_size == 0 || plan->cluster_size % page_size)
		return reason_set(reason, -EINVAL,
			"a cluster of %u bytes is impossible: choose a multiple of %u",
			plan->cluster_size, page_size);
	if (plan->cluster_size > plan->device_bytes)
		return reason_set(reason, -EINVAL,
			"the device has %" PRIu64 " bytes: choose clusters smaller than %u",
			plan->device_bytes, plan->cluster_size);
	if (plan->device_bytes / plan->cluster_size > BLOBSTORE_BITS_MAX)
		return reason_set(reason, -EINVAL,
			"the device has more clusters than a blobstore: choose larger clusters");
	return 0;
}

static uint32_t mask_pages(uint64_t bits, uint32_t page_size)
{
	uint32_t bounded = (uint32_t)u64_min(bits, BLOBSTORE_BITS_MAX);

	return (uint32_t)((mask_bytes(bounded) + page_size - 1) / page_size);
}

static void plan_place(
	const struct super_plan *plan, uint32_t page_size, uint32_t md_len, struct super *super)
{
	uint64_t size = plan->device_bytes / plan->block_size * plan->block_size;
	uint64_t clusters = size / plan->cluster_size;
	uint64_t grown = clusters * u64_max(plan->growth_factor, 1);
	uint32_t md_mask = mask_pages(md_len, page_size);
	uint32_t room = (uint32_t)u64_max(md_mask, mask_pages(grown, page_size));

	*super = (struct super){
		.version = BLOBSTORE_VERSION,
		.super_blob = BLOBSTORE_NO_BLOB,
		.cluster_size = plan->cluster_size,
		.page_mask_start = 1,
		.page_mask_len = md_mask,
		.cluster_mask_start = 1 + md_mask,
		.cluster_mask_len = mask_pages(clusters, page_size),
		.blobid_mask_start = 1 + md_mask + room,
		.blobid_mask_len = md_mask,
		.md_start = 1 + md_mask + room + md_mask,
		.md_len = md_len,
		.size_bytes = size,
		.io_unit_size = plan->block_size,
		.md_page_size = page_size,
	};
	memcpy(super->bstype, plan->bstype, sizeof(super->bstype));
}

int super_plan(const struct super_plan *plan, struct super *ret_super, struct reason *reason)
{
	uint32_t page_size = (uint32_t)u64_max(
		u64_max(plan->physical_block_size, plan->md_page_size), BLOBSTORE_PAGE_BYTES);
	int rc = plan_check(plan, page_size, reason);
	uint64_t clusters, md_len, md_clusters;
	struct super super;

	if (rc)
		return rc;
	clusters = plan->device_bytes / plan->cluster_size;
	md_len = clusters * plan->md_pages_per_cluster_percent / 100;
	if (md_len < 1 || md_len > BLOBSTORE_BITS_MAX)
		return reason_set(reason, -EINVAL,
			"%u %% of %" PRIu64
			" clusters is no number of metadata pages: choose another "
			"ratio",
			plan->md_pages_per_cluster_percent, clusters);
	plan_place(plan, page_size, (uint32_t)md_len, &super);
	md_clusters = (super.md_start + md_len + plan->cluster_size / page_size - 1) /
		      (plan->cluster_size / page_size);
	if (md_clusters > clusters)
		return reason_set(reason, -ENOSPC,
			"the metadata takes %" PRIu64 " clusters, the device has %" PRIu64
			": choose larger clusters or fewer metadata pages",
			md_clusters, clusters);
	*ret_super = super;
	return 0;
}
