/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The blobstore format in memory: encoding and decoding only, no I/O, no threads. What is decoded
 * comes from a disk that anybody may have written: every length, position and link is checked here,
 * and refused with a sentence. Used by the store (store_impl.h) and by the off-line check.
 *
 *	super.c		the super block
 *	super_plan.c	the layout of a new store
 *	mask.c		allocation masks
 *	md.c		a blob's metadata in memory: flags, xattrs, the extent table
 *	md_decode.c	from its chain of pages
 *	md_encode.c	into a chain of pages
 *	extent_page.c	extent pages
 *
 * docs/volumes.md, "On the disk".
 */
#ifndef BLOB_FORMAT_H
#define BLOB_FORMAT_H

#include "base/bitmap.h"
#include "base/list.h"
#include "base/reason.h"
#include "spec/blobstore.h"

/* ---- super block and layout ------------------------------------------------------------- */

struct super {
	uint32_t version;
	bool clean;
	uint64_t super_blob; /* BLOBSTORE_NO_BLOB: none */
	uint32_t cluster_size; /* bytes */
	uint32_t page_mask_start; /* pages of md_page_size from byte 0, all of these */
	uint32_t page_mask_len;
	uint32_t cluster_mask_start;
	uint32_t cluster_mask_len;
	uint32_t blobid_mask_start;
	uint32_t blobid_mask_len; /* 0: a store older than version 3 */
	uint32_t md_start;
	uint32_t md_len; /* metadata pages */
	uint8_t bstype[BLOBSTORE_TYPE_BYTES];
	uint64_t size_bytes;
	uint32_t io_unit_size;
	uint32_t md_page_size; /* bytes of a slot; BLOBSTORE_PAGE_BYTES of them are used */
};

/*
 * Of a 4096-byte super block. device_bytes takes the place of a size that old stores do not tell.
 * -EILSEQ: version, signature, checksum, a size beyond the device, and numbers that cannot be:
 * sizes that are 0, no powers or multiples where they must be, regions that overlap or lie outside,
 * more bits than a mask has room for.
 */
int super_decode(const void *page, uint64_t device_bytes, struct super *ret_super,
	struct reason *reason) MUST_CHECK;
void super_encode(const struct super *super, void *ret_page); /* 4096 bytes, checksum included */

struct super_plan {
	uint64_t device_bytes;
	uint32_t block_size; /* logical, of the device */
	uint32_t physical_block_size;
	uint32_t cluster_size;
	uint32_t md_page_size; /* 0: the largest of 4096 and the physical block */
	uint32_t md_pages_per_cluster_percent; /* 100: one page for each cluster */
	/* The store may grow to so many times its size; 1: only what the known implementation's
	 * rule leaves. More makes the room of the cluster mask larger, nothing else. */
	uint32_t growth_factor;
	uint8_t bstype[BLOBSTORE_TYPE_BYTES];
};

/* -EINVAL, -ENOSPC (metadata does not fit) with a sentence. ret_super: version 3, clean = 0,
 * no super blob. At growth_factor 1 exactly the known implementation's layout. */
int super_plan(
	const struct super_plan *plan, struct super *ret_super, struct reason *reason) MUST_CHECK;

uint32_t super_clusters(const struct super *super); /* all, with those of the metadata */
uint32_t super_md_clusters(const struct super *super); /* 0 .. that - 1 are metadata's */
uint64_t super_max_bytes(const struct super *super); /* it can grow to */
/* The longest cluster mask, in pages, that its room holds. */
uint32_t super_cluster_mask_room(const struct super *super);

static inline uint64_t super_page_offset(const struct super *super, uint32_t index) /* bytes */
{
	return ((uint64_t)super->md_start + index) * super->md_page_size;
}

static inline uint64_t super_cluster_offset(const struct super *super, uint32_t cluster)
{
	return (uint64_t)cluster * super->cluster_size;
}

static inline uint32_t super_slots(uint64_t clusters) /* extent pages of a blob so large */
{
	return (uint32_t)((clusters + BLOBSTORE_SLOT_ENTRIES - 1) / BLOBSTORE_SLOT_ENTRIES);
}

/* ---- checksums ---------------------------------------------------------------------------- */

/* Of a 4096-byte super block or page. */
uint32_t page_checksum(const void *page);
bool page_checksum_is_right(const void *page);

/* ---- masks -------------------------------------------------------------------------------- */

/* Fills the whole region: head, the first `bits` bits of the map, zeroes. The region has room. */
void mask_encode(enum blobstore_mask_type type, const struct bitmap *map, uint32_t bits,
	void *ret_region, size_t region_bytes);
/* -EILSEQ: another type; not min_bits bits, of clusters fewer than that (more is what an
 * interrupted growth leaves); no room for them. The first min_bits go to ret_map, which is at least
 * that large. */
int mask_decode(enum blobstore_mask_type type, const void *region, size_t region_bytes,
	uint32_t min_bits, struct bitmap *ret_map, struct reason *reason) MUST_CHECK;
/* Bytes of a mask of that many bits, head included. */
uint64_t mask_bytes(uint32_t bits);

/* ---- a blob's metadata -------------------------------------------------------------------- */

struct xattr {
	struct list link;
	uint16_t name_length;
	uint16_t value_length;
	char name[]; /* a NUL after the name, then the value: xattr_value() */
};

static inline const void *xattr_value(const struct xattr *xattr)
{
	return xattr->name + xattr->name_length + 1;
}

/* What the chain of a blob says. The clusters themselves are in extent pages (table style), or in
 * `runs` as they were decoded (run-length style; the caller keeps its own map from then on). */
struct md {
	uint64_t id;
	uint64_t invalid_flags;
	uint64_t data_ro_flags;
	uint64_t md_ro_flags;
	struct list xattrs; /* struct xattr, in the order of the disk */
	struct list internal_xattrs;
	bool uses_table; /* extent table; false: run-length */
	uint64_t num_clusters;
	uint32_t num_slots; /* table style: super_slots(num_clusters) */
	uint32_t *pages; /* table style: extent page of each slot, 0: none */
	uint32_t *
		runs; /* run-length style after decoding: cluster of each index, 0: none; NULL: 0 */
};

#define MD_CLUSTERS_MAX UINT32_MAX /* of a blob; a thin one may be larger than its store */

/* Table style, no clusters, no flags but BLOBSTORE_USES_TABLE. */
void md_init(struct md *md, uint64_t id);
void md_fini(struct md *md);
/* Changes num_clusters and, table style, num_slots and the room of pages, where new slots have
 * none; run-length, the room of runs if there are any. -ENOMEM, -EFBIG (MD_CLUSTERS_MAX). */
int md_resize(struct md *md, uint64_t num_clusters) MUST_CHECK;

void md_runs_free(struct md *md); /* when the caller has made its map of them */

const struct xattr *md_xattr_find(const struct list *xattrs, const char *name);
/* Replaces in place or adds at the end; -ENOMEM, -EINVAL (empty name), -ENOSPC (does not fit a
 * page: 9 + name + value must be at most 4072 bytes). */
int md_xattr_set(
	struct list *xattrs, const char *name, const void *value, size_t length) MUST_CHECK;
bool md_xattr_remove(struct list *xattrs, const char *name); /* false: there was none */
void md_xattrs_free(struct list *xattrs);
int md_xattrs_copy(struct list *to, const struct list *from) MUST_CHECK; /* to: an empty list */

/* An internal xattr of 8 bytes, BLOBSTORE_NO_BLOB where there is none (or of another length). */
uint64_t md_internal_id(const struct md *md, const char *name);
/* Sets or with BLOBSTORE_NO_BLOB removes one; keeps BLOBSTORE_INTERNAL_XATTR right. */
int md_internal_set_id(struct md *md, const char *name, uint64_t id) MUST_CHECK;
int md_internal_set(struct md *md, const char *name, const void *value, size_t length) MUST_CHECK;
void md_internal_remove(struct md *md, const char *name);

/* ---- decoding a chain --------------------------------------------------------------------- */

struct md_decoder {
	struct md *md;
	uint32_t md_len; /* links lie below */
	/* Of the store: runs lie below and are not of more in all. md_decode_begin sets the most
	 * that there can be; the caller then sets the number, which bounds the memory. */
	uint32_t clusters;
	uint32_t sequence; /* of the page that comes next */
	uint32_t index; /* and where it is; BLOBSTORE_NO_PAGE: that was all */
	bool has_table, has_runs, has_flags;
	unsigned xattrs; /* so far */
	uint64_t decoded; /* slots, or clusters, so far */
	uint64_t allocated; /* clusters of runs so far */
};

/* Is that page, of that index, the root page of a blob? (Checksum, sequence 0, own id.) */
bool md_page_is_root(const void *page, uint32_t index);

/* md: initialised by md_init with the id that the root must have. */
void md_decode_begin(struct md_decoder *decoder, struct md *md, uint32_t md_len);
/* The page at decoder->index. -EILSEQ with a sentence that names page and fault; then md_fini and
 * give up. Clusters and extent pages are not checked against masks, only their range is.
 * Descriptors of unknown types are skipped. Loops are found: a chain has at most
 * md_len pages and sequence numbers rise. */
int md_decode_page(struct md_decoder *decoder, const void *page, struct reason *reason) MUST_CHECK;
/* After the last page: a whole blob? Unknown flags are not judged here. */
int md_decode_end(struct md_decoder *decoder, struct reason *reason) MUST_CHECK;

/* ---- encoding a chain --------------------------------------------------------------------- */

/* Pages of a chain without their links and checksums, 4096 bytes each. */
struct md_image {
	unsigned num_pages; /* at least 1 */
	unsigned room;
	struct blobstore_page *pages; /* aligned to 4096 */
};

/* Cluster of a run-length blob at that index, 0: none. */
typedef uint32_t (*md_cluster_at)(void *arg, uint64_t index);

/* Order: flags, xattrs, internal xattrs, extent table or runs. One entry of the extent table for
 * each slot, empty ones too, so that each slot keeps its place in its page. cluster_at is asked for
 * run-length blobs only. -ENOMEM. */
int md_encode(const struct md *md, md_cluster_at cluster_at, void *arg,
	struct md_image *ret_image) MUST_CHECK;
/* Links page n to indexes[n + 1], sets id, sequence and checksum of all. */
void md_image_link(struct md_image *image, uint64_t id, const uint32_t *indexes);
void md_image_fini(struct md_image *image);

/* ---- extent pages ------------------------------------------------------------------------- */

/* Entries that the page of that slot has in a blob so large: 512, of the last slot the rest. */
uint32_t extent_page_entries(uint64_t num_clusters, uint32_t slot);
void extent_page_encode(
	uint64_t id, uint32_t slot, const uint32_t *clusters, uint32_t entries, void *ret_page);
/* ret_clusters: 512; what the page does not have is 0. ret_entries: how many it had, 0 for the page
 * without entries that the known implementation can leave. -EILSEQ: checksum, sequence, descriptor,
 * a first cluster that is not the slot's, more than 512 entries. */
int extent_page_decode(const void *page, uint32_t slot, uint32_t *ret_clusters,
	uint32_t *ret_entries, struct reason *reason) MUST_CHECK;

#endif
