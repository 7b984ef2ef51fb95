/* SPDX-License-Identifier: BSD-2-Clause */
#include "crash/store_image.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/log.h"

#define SECTOR_BYTES 512u

static const uint8_t no_data[CRASH_PAGE_BYTES];

enum { PAGE_USED = 1, PAGE_ROOT = 2 };

static int PRINTF_LIKE(2, 3) fault(struct store_image *store, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(store->fault, sizeof(store->fault), fmt, args);
	va_end(args);
	return -1;
}

static uint16_t get16(const uint8_t *p)
{
	uint16_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static bool crc_is_right(const void *page)
{
	return crc32c(page, BLOBSTORE_CRC_BYTES) ==
	       get32((const uint8_t *)page + BLOBSTORE_CRC_BYTES);
}

static void page_read(const struct store_image *store, uint32_t index, struct blobstore_page *page)
{
	uint64_t at = ((uint64_t)store->super.md_start + index) * store->super.md_page_size;

	crash_image_read(store->image, at, page, sizeof(*page));
}

static int page_use(struct store_image *store, uint32_t index, uint8_t how)
{
	if (index >= store->super.md_len)
		return fault(store, "page %u is beyond the metadata", index);
	if (store->pages[index])
		return fault(store, "page %u is used twice", index);
	store->pages[index] = how;
	return 0;
}

static int cluster_use(
	struct store_image *store, struct store_image_blob *blob, uint64_t index, uint32_t cluster)
{
	if (index >= blob->num_clusters)
		return fault(store, "blob %" PRIx64 " has more clusters than it says", blob->id);
	if (!cluster)
		return blob->invalid_flags & BLOBSTORE_THIN
			       ? 0
			       : fault(store, "thick blob %" PRIx64 " has no cluster %" PRIu64,
					 blob->id, index);
	if (cluster < store->md_clusters || cluster >= store->num_clusters)
		return fault(store, "cluster %u is out of range", cluster);
	if (store->used[cluster])
		return fault(store, "cluster %u has two owners, one is blob %" PRIx64, cluster,
			blob->id);
	store->used[cluster] = 1;
	blob->clusters[index] = cluster;
	blob->num_allocated++;
	return 0;
}

static int blob_set_size(
	struct store_image *store, struct store_image_blob *blob, uint64_t num_clusters)
{
	if (blob->clusters)
		return blob->num_clusters == num_clusters
			       ? 0
			       : fault(store, "blob %" PRIx64 " has two sizes", blob->id);
	if (num_clusters > (1u << 20))
		return fault(store, "blob %" PRIx64 " is too large", blob->id);
	blob->num_clusters = num_clusters;
	blob->clusters = calloc(num_clusters + 1, sizeof(*blob->clusters));
	invariant(blob->clusters != NULL);
	return 0;
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static int extent_page_read(
	struct store_image *store, struct store_image_blob *blob, uint32_t index, uint64_t slot)
{
	uint64_t first = slot * BLOBSTORE_SLOT_ENTRIES;
	uint64_t entries = u64_min(BLOBSTORE_SLOT_ENTRIES, blob->num_clusters - first);
	struct blobstore_page page;
	int rc;

	if (index == 0)
		return fault(store, "extent page 0");
	rc = page_use(store, index, PAGE_USED);
	if (rc)
		return rc;
	page_read(store, index, &page);
	if (!crc_is_right(&page) || page.sequence != 0 || page.next != BLOBSTORE_NO_PAGE ||
		page.id == (BLOBSTORE_ID_BIT | index) ||
		page.descriptors[0] != BLOBSTORE_EXTENT_PAGE ||
		get32(page.descriptors + 1) != 4 + 4 * entries ||
		get32(page.descriptors + 5) != first)
		return fault(store,
			"extent page %u of blob %" PRIx64 " is wrong (crc %s, length %u"
			" for %" PRIu64 " entries)",
			index, blob->id, crc_is_right(&page) ? "right" : "wrong",
			get32(page.descriptors + 1), entries);
	for (uint64_t i = 0; i < entries && !rc; i++)
		rc = cluster_use(store, blob, first + i, get32(page.descriptors + 9 + 4 * i));
	return rc;
}

struct walk {
	struct store_image *store;
	struct store_image_blob *blob;
	uint64_t slot; /* or cluster, of runs */
	bool has_flags;
};

static int walk_table(struct walk *walk, const uint8_t *body, uint32_t length)
{
	struct store_image_blob *blob = walk->blob;
	int rc;

	if (length < 8 || (length - 8) % 8)
		return fault(walk->store, "extent table of %u bytes", length);
	blob->has_table = true;
	rc = blob_set_size(walk->store, blob, get64(body));
	for (uint32_t at = 8; at < length && !rc; at += 8) {
		uint32_t index = get32(body + at);
		uint32_t repeat = get32(body + at + 4);
		uint64_t slots =
			(blob->num_clusters + BLOBSTORE_SLOT_ENTRIES - 1) / BLOBSTORE_SLOT_ENTRIES;

		if (repeat == 0 || (index && repeat != 1) || repeat > slots - walk->slot)
			return fault(walk->store, "extent table entry %u x %u", index, repeat);
		if (index)
			rc = extent_page_read(walk->store, blob, index, walk->slot);
		else if (!(blob->invalid_flags & BLOBSTORE_THIN))
			return fault(walk->store, "empty slot in a thick blob");
		walk->slot += repeat;
	}
	return rc;
}

static int walk_flags(struct walk *walk, const uint8_t *body, uint32_t length)
{
	if (length != BLOBSTORE_FLAGS_LENGTH || walk->has_flags)
		return fault(walk->store, "flags of %u bytes", length);
	walk->has_flags = true;
	walk->blob->invalid_flags = get64(body);
	walk->blob->data_ro_flags = get64(body + 8);
	walk->blob->md_ro_flags = get64(body + 16);
	return 0;
}

static int walk_xattr(struct walk *walk, const uint8_t *body, uint32_t length, bool internal)
{
	const struct {
		const char *name;
		bool internal;
		uint32_t *ret_32;
		uint64_t *ret_64;
	} known[] = {
		{STORE_IMAGE_TAG, false, &walk->blob->tag, NULL},
		{STORE_IMAGE_NAME, false, &walk->blob->name, NULL},
		{BLOBSTORE_XATTR_PARENT, true, NULL, &walk->blob->parent},
		{BLOBSTORE_XATTR_SNAPSHOT_PENDING, true, NULL, &walk->blob->snapshot_pending},
		{BLOBSTORE_XATTR_REMOVAL_PENDING, true, NULL, &walk->blob->removal_pending},
	};
	uint16_t name_length = length < 4 ? 0 : get16(body);
	const uint8_t *value = body + 4 + name_length;

	if (length < 4 || length != 4u + name_length + get16(body + 2) || !name_length)
		return fault(walk->store, "xattr of %u bytes", length);
	for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
		if (known[i].internal != internal || strlen(known[i].name) != name_length ||
			memcmp(body + 4, known[i].name, name_length) != 0)
			continue;
		if (known[i].ret_32)
			*known[i].ret_32 = get32(value);
		else
			*known[i].ret_64 = get64(value);
	}
	return 0;
}

static int walk_descriptor(struct walk *walk, uint8_t type, const uint8_t *body, uint32_t length)
{
	switch (type) {
	case BLOBSTORE_PADDING:
		return 0;
	case BLOBSTORE_RUNS:
		return fault(walk->store, "a run-length blob: these tests make none");
	case BLOBSTORE_XATTR:
	case BLOBSTORE_XATTR_INTERNAL:
		return walk_xattr(walk, body, length, type == BLOBSTORE_XATTR_INTERNAL);
	case BLOBSTORE_FLAGS:
		return walk_flags(walk, body, length);
	case BLOBSTORE_EXTENT_TABLE:
		return walk_table(walk, body, length);
	default:
		return fault(walk->store, "descriptor of type %u", type);
	}
}

static int walk_page(struct walk *walk, const struct blobstore_page *page)
{
	const uint8_t *area = page->descriptors;
	uint32_t at = 0;
	int rc = 0;

	while (at + BLOBSTORE_DESCRIPTOR_HEAD <= BLOBSTORE_DESCRIPTOR_AREA && !rc) {
		uint32_t length = get32(area + at + 1);

		if (area[at] == BLOBSTORE_PADDING && length == 0)
			break;
		if (length > BLOBSTORE_DESCRIPTOR_AREA - BLOBSTORE_DESCRIPTOR_HEAD - at)
			return fault(walk->store, "a descriptor crosses its page");
		rc = walk_descriptor(walk, area[at], area + at + BLOBSTORE_DESCRIPTOR_HEAD, length);
		at += BLOBSTORE_DESCRIPTOR_HEAD + length;
	}
	return rc;
}

static int blob_walk(struct store_image *store, struct store_image_blob *blob, uint32_t root)
{
	struct walk walk = {.store = store, .blob = blob};
	struct blobstore_page page;
	uint32_t sequence = 0;
	int rc = 0;

	*blob = (struct store_image_blob){.id = BLOBSTORE_ID_BIT | root,
		.parent = BLOBSTORE_NO_BLOB,
		.snapshot_pending = BLOBSTORE_NO_BLOB,
		.removal_pending = BLOBSTORE_NO_BLOB};
	for (uint32_t index = root; index != BLOBSTORE_NO_PAGE && !rc; index = page.next) {
		rc = page_use(store, index, sequence ? PAGE_USED : PAGE_USED | PAGE_ROOT);
		if (rc)
			return rc;
		page_read(store, index, &page);
		if (!crc_is_right(&page) || page.id != blob->id || page.sequence != sequence++)
			return fault(store, "page %u of the chain of blob %" PRIx64 " is wrong",
				index, blob->id);
		rc = walk_page(&walk, &page);
	}
	if (!rc && (!walk.has_flags || !blob->has_table))
		return fault(store, "blob %" PRIx64 " without flags or table", blob->id);
	if (!rc && walk.slot != (blob->num_clusters + BLOBSTORE_SLOT_ENTRIES - 1) /
					BLOBSTORE_SLOT_ENTRIES)
		return fault(store, "the table of blob %" PRIx64 " is too short", blob->id);
	return rc;
}

/* ---- the store ------------------------------------------------------------------------------- */

static int super_check(struct store_image *store)
{
	const struct blobstore_super *super = &store->super;

	if (memcmp(super->signature, BLOBSTORE_SIGNATURE, sizeof(super->signature)) != 0 ||
		!crc_is_right(super))
		return fault(store, "no super block");
	if (super->size > store->image->size_bytes || !super->cluster_size || !super->md_page_size)
		return fault(store, "a super block that cannot be");
	return 0;
}

static bool page_is_root(const struct store_image *store, uint32_t index)
{
	uint64_t at = ((uint64_t)store->super.md_start + index) * store->super.md_page_size;
	struct blobstore_page page;

	crash_image_read(store->image, at, &page, 16);
	if (page.id != (BLOBSTORE_ID_BIT | index) || page.sequence != 0)
		return false;
	page_read(store, index, &page);
	return crc_is_right(&page);
}

static int blobs_read(struct store_image *store)
{
	int rc = 0;

	for (uint32_t index = 0; index < store->super.md_len && !rc; index++) {
		if (!page_is_root(store, index))
			continue;
		if (store->num_blobs == STORE_IMAGE_BLOBS_MAX)
			return fault(store, "too many blobs");
		rc = blob_walk(store, &store->blobs[store->num_blobs++], index);
	}
	return rc;
}

static int parents_check(struct store_image *store)
{
	for (unsigned i = 0; i < store->num_blobs; i++) {
		const struct store_image_blob *blob = &store->blobs[i];
		const struct store_image_blob *parent;

		if (blob->parent == BLOBSTORE_NO_BLOB)
			continue;
		parent = store_image_find(store, blob->parent);
		if (!parent || !(parent->data_ro_flags & BLOBSTORE_READ_ONLY) ||
			!(blob->invalid_flags & BLOBSTORE_THIN))
			return fault(store, "blob %" PRIx64 " has no proper parent", blob->id);
	}
	return 0;
}

int store_image_init(struct store_image *store, const struct crash_image *image)
{
	int rc;

	*store = (struct store_image){.image = image};
	crash_image_read(image, 0, &store->super, sizeof(store->super));
	rc = super_check(store);
	if (rc)
		return rc;
	store->num_clusters = (uint32_t)(store->super.size / store->super.cluster_size);
	store->md_clusters = (uint32_t)((((uint64_t)store->super.md_start + store->super.md_len) *
							store->super.md_page_size +
						store->super.cluster_size - 1) /
					store->super.cluster_size);
	store->pages = calloc(store->super.md_len, 1);
	store->used = calloc(store->num_clusters, 1);
	invariant(store->pages && store->used);
	memset(store->used, 1, store->md_clusters);
	rc = blobs_read(store);
	if (!rc)
		rc = parents_check(store);
	for (uint32_t i = 0; i < store->num_clusters; i++)
		store->free_clusters += !store->used[i];
	for (uint32_t i = 0; i < store->super.md_len; i++)
		store->free_pages += !store->pages[i];
	return rc;
}

void store_image_fini(struct store_image *store)
{
	for (unsigned i = 0; i < store->num_blobs; i++)
		free(store->blobs[i].clusters);
	free(store->pages);
	free(store->used);
}

/* mask: a bit of what is in `used`. */
static int mask_check(struct store_image *store, uint8_t type, uint32_t start, uint32_t pages,
	const uint8_t *used, uint8_t bit, uint32_t count)
{
	uint32_t bytes = (uint32_t)sizeof(struct blobstore_mask) + (count + 7) / 8;
	uint8_t *mask = calloc(1, bytes);
	int rc = 0;

	invariant(mask != NULL);
	crash_image_read(store->image, (uint64_t)start * store->super.md_page_size, mask, bytes);
	if (mask[0] != type || get32(mask + 1) != count)
		rc = fault(
			store, "mask %u has type %u and %u bits", type, mask[0], get32(mask + 1));
	for (uint32_t i = 0; i < count && !rc; i++) {
		bool is_set = mask[5 + i / 8] >> (i % 8) & 1;

		if (is_set != !!(used[i] & bit))
			rc = fault(store, "mask %u: %u is %s", type, i,
				is_set ? "set and nobody's" : "clear and in use");
	}
	free(mask);
	return rc;
}

int store_image_check_closed(struct store_image *store)
{
	const struct blobstore_super *super = &store->super;
	int rc = 0;

	if (super->clean != 1)
		return fault(store, "it is not marked clean");
	for (unsigned i = 0; i < store->num_blobs; i++)
		if (store->blobs[i].snapshot_pending != BLOBSTORE_NO_BLOB ||
			store->blobs[i].removal_pending != BLOBSTORE_NO_BLOB)
			return fault(store, "blob %" PRIx64 " is unfinished", store->blobs[i].id);
	rc = mask_check(store, BLOBSTORE_MASK_PAGES, super->used_page_mask_start,
		super->used_page_mask_len, store->pages, PAGE_USED, super->md_len);
	if (!rc)
		rc = mask_check(store, BLOBSTORE_MASK_BLOBIDS, super->used_blobid_mask_start,
			super->used_blobid_mask_len, store->pages, PAGE_ROOT, super->md_len);
	if (!rc)
		rc = mask_check(store, BLOBSTORE_MASK_CLUSTERS, super->used_cluster_mask_start,
			super->used_cluster_mask_len, store->used, 1, store->num_clusters);
	return rc;
}

const struct store_image_blob *store_image_find(const struct store_image *store, uint64_t id)
{
	for (unsigned i = 0; i < store->num_blobs; i++)
		if (store->blobs[i].id == id)
			return &store->blobs[i];
	return NULL;
}

/* Beyond the end of the device below there are zeroes. */
static const uint8_t *foreign_at(const struct store_image *store, uint32_t sector)
{
	uint64_t at = (uint64_t)sector * SECTOR_BYTES;

	return store->foreign && at < store->foreign->size_bytes
		       ? crash_image_at(store->foreign, at)
		       : no_data;
}

const uint8_t *store_image_at(
	const struct store_image *store, const struct store_image_blob *blob, uint32_t sector)
{
	uint32_t per_cluster = store->super.cluster_size / SECTOR_BYTES;
	uint64_t index = sector / per_cluster;

	for (unsigned depth = 0; blob && depth < STORE_IMAGE_BLOBS_MAX; depth++) {
		if (index >= blob->num_clusters)
			break;
		if (blob->clusters[index])
			return crash_image_at(store->image,
				(uint64_t)blob->clusters[index] * store->super.cluster_size +
					(uint64_t)(sector % per_cluster) * SECTOR_BYTES);
		if (blob->invalid_flags & BLOBSTORE_ESNAP)
			return foreign_at(store, sector);
		if (blob->parent == BLOBSTORE_NO_BLOB)
			break;
		blob = store_image_find(store, blob->parent);
	}
	return no_data;
}

void store_image_sector(const struct store_image *store, const struct store_image_blob *blob,
	uint32_t sector, void *ret_data)
{
	memcpy(ret_data, store_image_at(store, blob, sector), SECTOR_BYTES);
}

uint64_t store_image_md_end(const struct crash_image *image)
{
	struct blobstore_super super;

	crash_image_read(image, 0, &super, sizeof(super));
	if (memcmp(super.signature, BLOBSTORE_SIGNATURE, sizeof(super.signature)) != 0)
		return 0;
	return ((uint64_t)super.md_start + super.md_len) * super.md_page_size;
}
