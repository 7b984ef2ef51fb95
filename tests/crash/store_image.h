/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A reader of store images that shares no code with the store: it finds the blobs as a recovery of
 * the known implementation would (every root page with a right checksum), follows chains, extent
 * pages and parents, and looks for what must never be there: two owners of a cluster or page,
 * references out of range, unfinished operations, roots that nobody knows, and in a store that was
 * closed masks that say more or less than what is used.
 */
#ifndef CRASH_STORE_IMAGE_H
#define CRASH_STORE_IMAGE_H

#include "crash/crash_image.h"
#include "spec/blobstore.h"

#define STORE_IMAGE_BLOBS_MAX 64u

/* Names of xattrs of the tests' volumes: numbers of 4 bytes. */
#define STORE_IMAGE_TAG  "tag"
#define STORE_IMAGE_NAME "name"

struct store_image_blob {
	uint64_t id;
	uint64_t invalid_flags, data_ro_flags, md_ro_flags;
	uint64_t parent; /* ids, BLOBSTORE_NO_BLOB: none */
	uint64_t snapshot_pending, removal_pending;
	uint32_t tag, name; /* 0: none */
	uint64_t num_clusters;
	uint32_t *clusters; /* num_clusters, 0: none */
	uint64_t num_allocated;
	bool has_table;
};

struct store_image {
	const struct crash_image *image;
	const struct crash_image *foreign; /* of clones of a foreign device; set after init */
	struct blobstore_super super;
	uint32_t num_clusters; /* of the device */
	uint32_t md_clusters;
	struct store_image_blob blobs[STORE_IMAGE_BLOBS_MAX];
	unsigned num_blobs;
	uint8_t *pages; /* by index: 1 used, 2 root */
	uint8_t *used; /* by cluster */
	uint64_t free_clusters;
	uint64_t free_pages;
	char fault[200];
};

/* 0, or -1 with a sentence in fault; fini in either case. */
int store_image_init(struct store_image *store, const struct crash_image *image) MUST_CHECK;
void store_image_fini(struct store_image *store);
/* 0 when it was closed properly: marked clean, masks right. */
int store_image_check_closed(struct store_image *store);

const struct store_image_blob *store_image_find(const struct store_image *store, uint64_t id);
/* What that blob shows there: 512 bytes; and the bytes from there to the end of a page. */
void store_image_sector(const struct store_image *store, const struct store_image_blob *blob,
	uint32_t sector, void *ret_data);
const uint8_t *store_image_at(
	const struct store_image *store, const struct store_image_blob *blob, uint32_t sector);

/* End of the metadata, in bytes: below it a device writes whole pages. 0: no store. */
uint64_t store_image_md_end(const struct crash_image *image);

#endif
