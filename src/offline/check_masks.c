/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is in use, counted, against what the masks say, where they are to be trusted. As long as a
 * volume cannot be read, what the masks have more may be its own: it stays in use.
 */
#include <errno.h>
#include <stdlib.h>

#include "offline/check_impl.h"

static const struct fault_at nowhere = {.page = FAULT_NO_PAGE};

static void page_use(void *arg, uint64_t slot, uint32_t page)
{
	struct check *check = arg;

	if (page < check->pages.bits)
		bitmap_set(&check->pages, page);
}

static void cluster_use(void *arg, uint64_t index, uint32_t cluster)
{
	struct check *check = arg;

	if (cluster < check->clusters.bits)
		bitmap_set(&check->clusters, cluster);
}

void check_count_used(struct check *check)
{
	bitmap_fini(&check->pages);
	bitmap_fini(&check->clusters);
	if (bitmap_init(&check->pages, check->super.md_len) ||
		bitmap_init(&check->clusters, super_clusters(&check->super))) {
		check_fail(check, -ENOMEM, "not enough memory for all clusters");
		return;
	}
	bitmap_set_range(&check->clusters, 0, super_md_clusters(&check->super));
	for (unsigned i = 0; i < check->num_blobs; i++) {
		if (check->blobs[i].gone)
			continue;
		check_blob_for_each_page(&check->blobs[i], page_use, check);
		check_blob_for_each_cluster(&check->blobs[i], cluster_use, check);
	}
}

struct difference {
	uint32_t missing, first_missing; /* used, and free in the mask */
	uint32_t surplus, first_surplus; /* the other way round */
};

static struct difference masks_compare(const struct bitmap *used, const struct bitmap *mask)
{
	struct difference found = {0};

	for (uint32_t i = 0; i < used->bits && (i = bitmap_find_set(used, i)) < used->bits; i++) {
		if (!bitmap_test(mask, i) && found.missing++ == 0)
			found.first_missing = i;
	}
	for (uint32_t i = 0; i < used->bits && (i = bitmap_find_set(mask, i)) < used->bits; i++) {
		if (!bitmap_test(used, i) && found.surplus++ == 0)
			found.first_surplus = i;
	}
	return found;
}

static void mask_check(
	struct check *check, const struct bitmap *used, const struct bitmap *mask, const char *what)
{
	struct difference found = masks_compare(used, mask);

	if (found.missing)
		check->masks_bad |= check_fault(check, "mask", REMEDY_REPAIR, nowhere,
			"they would be given away, and what is in them destroyed",
			"%u %s are in use and free in the mask, the first is %u", found.missing,
			what, found.first_missing);
	if (found.surplus && !check->any_bad)
		check->masks_bad |= check_fault(check, "leak", REMEDY_REPAIR, nowhere,
			"they cannot be used for anything",
			"%u %s belong to nobody, the first is %u", found.surplus, what,
			found.first_surplus);
}

void check_masks(struct check *check)
{
	struct bitmap roots = {0};

	if (!check->masks_known || check->rc)
		return;
	if (bitmap_init(&roots, check->super.md_len)) {
		check_fail(check, -ENOMEM, "not enough memory for all volumes");
		return;
	}
	for (unsigned i = 0; i < check->num_blobs; i++) {
		if (!check->blobs[i].gone)
			bitmap_set(&roots, check->blobs[i].chain[0]);
	}
	/* What is removed in this round is no leak. */
	if (!check->mended) {
		mask_check(check, &check->pages, &check->mask_pages, "metadata pages");
		mask_check(check, &check->clusters, &check->mask_clusters, "clusters");
		mask_check(check, &roots, &check->mask_blobs, "volumes");
	}
	bitmap_fini(&roots);
}
