/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a round has mended in memory onto the disk.
 *
 *	0. what looks like a root	gone while the masks are still trusted, which do not know it
 *	1. super block, clean = 0	from here on a load looks itself; our mark behind the mask
 *					of pages is wiped, so that it looks at everything
 *	2. copies of clusters		into free ones
 *	   extent pages of volumes that shared one	fresh
 *	3. chains			in place where one page differs; else to fresh pages,
 *					flushed, and then the root
 *	4. extent pages, in place
 *	5. roots of what is given up or removed, zeroed
 *	6. masks, super block with clean = 1: where the store was closed, or a mask was wrong
 * with a flush between each.
 *
 * Crash table: each write is of one page and leaves its blob in a state that the same check mends
 * in the same way, or has nothing to mend about. A thick volume becomes thin (3) before it lacks
 * clusters (4). Nothing is allocated but fresh pages of chains and clusters for copies, which
 * nobody has. Before 6 the masks are not trusted.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "offline/check_impl.h"

static void write_at(struct check *check, uint64_t offset, const void *buf, size_t bytes)
{
	int rc = check->rc ? 0 : image_write(check->image, offset, buf, bytes);

	if (rc)
		check_fail(check, rc, "byte %llu cannot be written: %s", (unsigned long long)offset,
			strerror(-rc));
}

static void write_page(struct check *check, uint32_t index, const void *page)
{
	write_at(check, super_page_offset(&check->super, index), page, BLOBSTORE_PAGE_BYTES);
}

static void flush(struct check *check)
{
	int rc = check->rc ? 0 : image_flush(check->image);

	if (rc)
		check_fail(check, rc, "what was written cannot be flushed: %s", strerror(-rc));
}

/* ---- super block --------------------------------------------------------------------------- */

static void super_write(struct check *check, bool clean)
{
	uint8_t page[BLOBSTORE_PAGE_BYTES];

	check->super.clean = clean;
	super_encode(&check->super, page);
	write_at(check, 0, page, sizeof(page));
	flush(check);
}

static void ahead_wipe(struct check *check)
{
	static const struct blobstore_ahead nothing;

	if (!check->ahead)
		return;
	write_at(check, check_ahead_offset(&check->super), &nothing, sizeof(nothing));
	flush(check);
}

/* ---- chains -------------------------------------------------------------------------------- */

static uint32_t md_cluster(void *arg, uint64_t index)
{
	return check_blob_cluster(arg, index);
}

/* Pages of the image that are not on the disk as they are. */
static unsigned chain_compare(
	struct check *check, const struct check_blob *blob, const struct md_image *image)
{
	unsigned differ = 0;
	struct blobstore_page page;

	for (unsigned i = 0; i < image->num_pages; i++) {
		if (check_read_page(check, blob->chain[i], &page))
			differ += memcmp(&page, &image->pages[i], sizeof(page)) != 0;
	}
	return differ;
}

/* Free ones for all but the root; false and the fault stays: there are not enough. */
static bool chain_take_pages(struct check *check, uint32_t *indexes, unsigned count)
{
	uint32_t from = 1;

	for (unsigned i = 1; i < count; i++) {
		from = bitmap_find_clear(&check->pages, from);
		if (from == BITMAP_NONE)
			return false;
		bitmap_set(&check->pages, from);
		indexes[i] = from;
	}
	return true;
}

static void chain_write_in_place(
	struct check *check, struct check_blob *blob, const struct md_image *image)
{
	struct blobstore_page page;

	for (unsigned i = 0; i < image->num_pages && !check->rc; i++) {
		if (check_read_page(check, blob->chain[i], &page) &&
			memcmp(&page, &image->pages[i], sizeof(page)) != 0)
			write_page(check, blob->chain[i], &image->pages[i]);
	}
}

static void chain_write_fresh(struct check *check, struct check_blob *blob, struct md_image *image)
{
	uint32_t *indexes = calloc(image->num_pages, sizeof(*indexes));

	if (!indexes || !chain_take_pages(check, indexes, image->num_pages)) {
		check_fail(check, indexes ? -ENOSPC : -ENOMEM,
			"there are not enough free metadata pages to write volume %s again: open "
			"the store and delete a volume first",
			blob->name);
		free(indexes);
		return;
	}
	indexes[0] = blob->chain[0];
	md_image_link(image, blob->id, indexes);
	for (unsigned i = 1; i < image->num_pages; i++)
		write_page(check, indexes[i], &image->pages[i]);
	flush(check);
	write_page(check, indexes[0], &image->pages[0]);
	flush(check);
	free(blob->chain);
	blob->chain = indexes;
	blob->chain_length = image->num_pages;
}

static void chain_write(struct check *check, struct check_blob *blob)
{
	struct md_image image;
	int rc = md_encode(&blob->md, md_cluster, blob, &image);

	if (rc) {
		check_fail(check, rc, "volume %s cannot be written again", blob->name);
		return;
	}
	if (image.num_pages == blob->chain_length)
		md_image_link(&image, blob->id, blob->chain);
	if (image.num_pages == 1 || (image.num_pages == blob->chain_length &&
					    chain_compare(check, blob, &image) <= 1)) {
		blob->chain_length = image.num_pages;
		md_image_link(&image, blob->id, blob->chain);
		chain_write_in_place(check, blob, &image);
	} else {
		chain_write_fresh(check, blob, &image);
	}
	md_image_fini(&image);
}

/* ---- extent pages and roots ------------------------------------------------------------------ */

static void slots_write(struct check *check, struct check_blob *blob)
{
	struct blobstore_page page;

	for (uint32_t slot = 0; slot < blob->md.num_slots && blob->write_slots; slot++) {
		if (!blob->write_slots[slot] || !blob->md.pages[slot])
			continue;
		extent_page_encode(blob->id, slot, blob->slots[slot],
			extent_page_entries(blob->md.num_clusters, slot), &page);
		write_page(check, blob->md.pages[slot], &page);
	}
}

static void root_zero(struct check *check, const struct check_blob *blob)
{
	static const struct blobstore_page zeroes;

	if (blob->gone && !blob->keep_root)
		write_page(check, blob->chain[0], &zeroes);
}

static void stale_roots_write(struct check *check)
{
	for (unsigned i = 0; i < check->num_blobs && !check->rc; i++) {
		if (check->blobs[i].write_first && !check->blobs[i].gone)
			slots_write(check, &check->blobs[i]);
		if (check->blobs[i].unknown)
			root_zero(check, &check->blobs[i]);
	}
	flush(check);
}

static void blobs_write(struct check *check)
{
	static const struct blobstore_page zeroes;

	for (unsigned i = 0; i < check->num_blobs && !check->rc; i++) {
		if (check->blobs[i].write_chain && !check->blobs[i].gone)
			chain_write(check, &check->blobs[i]);
	}
	flush(check);
	for (unsigned i = 0; i < check->num_blobs && !check->rc; i++) {
		if (!check->blobs[i].gone)
			slots_write(check, &check->blobs[i]);
	}
	flush(check);
	for (unsigned i = 0; i < check->num_blobs && !check->rc; i++)
		root_zero(check, &check->blobs[i]);
	for (unsigned i = 0; i < check->num_wipe; i++)
		write_page(check, check->wipe[i], &zeroes);
	flush(check);
}

/* ---- masks --------------------------------------------------------------------------------- */

static void mask_write(struct check *check, enum blobstore_mask_type type, const struct bitmap *map,
	uint32_t bits, uint32_t start, uint32_t len)
{
	size_t bytes = (size_t)len * check->super.md_page_size;
	void *region = malloc(bytes);

	if (region) {
		mask_encode(type, map, bits, region, bytes);
		write_at(check, (uint64_t)start * check->super.md_page_size, region, bytes);
	} else {
		check_fail(check, -ENOMEM, "not enough memory for a mask");
	}
	free(region);
}

/* What cannot be read may own what only the old mask knows of. */
static void mask_keep(const struct check *check, struct bitmap *used, const struct bitmap *mask)
{
	for (uint32_t i = 0; check->any_bad && check->masks_known && i < used->bits &&
			     (i = bitmap_find_set(mask, i)) < used->bits;
		i++)
		bitmap_set(used, i);
}

static void masks_write(struct check *check)
{
	const struct super *super = &check->super;
	struct bitmap roots = {0};

	check_count_used(check);
	if (check->rc)
		return;
	if (bitmap_init(&roots, super->md_len)) {
		check_fail(check, -ENOMEM, "not enough memory for a mask");
		return;
	}
	for (unsigned i = 0; i < check->num_blobs; i++) {
		if (!check->blobs[i].gone)
			bitmap_set(&roots, check->blobs[i].chain[0]);
	}
	mask_keep(check, &check->pages, &check->mask_pages);
	mask_keep(check, &check->clusters, &check->mask_clusters);
	mask_write(check, BLOBSTORE_MASK_PAGES, &check->pages, super->md_len,
		super->page_mask_start, super->page_mask_len);
	mask_write(check, BLOBSTORE_MASK_CLUSTERS, &check->clusters, super_clusters(super),
		super->cluster_mask_start, super->cluster_mask_len);
	if (super->blobid_mask_len)
		mask_write(check, BLOBSTORE_MASK_BLOBIDS, &roots, super->md_len,
			super->blobid_mask_start, super->blobid_mask_len);
	flush(check);
	super_write(check, true);
	bitmap_fini(&roots);
}

void repair_write(struct check *check)
{
	bool closed = check->super.clean;

	check_count_used(check);
	stale_roots_write(check);
	ahead_wipe(check);
	if (closed || check->super_write)
		super_write(check, false);
	repair_copy_clusters(check);
	repair_write_fresh_pages(check);
	blobs_write(check);
	if (!check->rc && closed)
		masks_write(check);
}
