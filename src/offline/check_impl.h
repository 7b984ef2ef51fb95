/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One round of a check. Its steps, in this order:
 *
 *	check_scan.c	super block, masks, which pages are roots
 *	check_blobs.c	chains and extent pages of each blob, by themselves
 *	check_links.c	unfinished operations, parents
 *	check_owners.c	pages and clusters that are two blobs'
 *	check_shared.c	what nothing explains of these
 *	check_volumes.c	super blob and names
 *	check_masks.c	what is in use against the masks
 *	repair.c	everything that was mended in memory onto the disk
 *
 * A step that finds a fault reports it and is told whether to mend it; if so it changes the blob in
 * memory and notes what has to be written. What is not mended leaves its blob bad where nothing
 * further can be concluded from it.
 */
#ifndef OFFLINE_CHECK_IMPL_H
#define OFFLINE_CHECK_IMPL_H

#include "base/bitmap.h"
#include "blob/format.h"
#include "offline/check.h"

struct check_blob {
	uint64_t id;
	char name[FAULT_VOLUME_MAX]; /* "" : none that can be printed */
	struct md md;
	uint32_t *chain; /* pages, the root first */
	unsigned chain_length;
	uint32_t **slots; /* table style: entries of a slot with a page, as they should be */
	struct check_blob *parent; /* NULL: none, or not there */
	bool bad; /* it cannot be opened */
	bool gone; /* to be removed */
	bool unknown; /* the masks are to be trusted, and do not know of it */
	bool keep_root; /* gone, but its root is somebody else's page */
	bool pending; /* would be removed: what it shares says nothing */
	bool write_chain;
	bool *write_slots; /* of each slot */
	bool write_first; /* a slot that looks like a root */
	uint8_t walk; /* check_links.c */
};

/* A cluster that `blob` has at an index and another, or itself, elsewhere too. */
struct share {
	struct check_blob *blob;
	uint64_t index;
	struct check_blob *other;
	uint32_t other_index;
	uint32_t cluster;
};

/* An extent page that both have as that slot. */
struct page_share {
	struct check_blob *blob;
	struct check_blob *other;
	uint32_t slot;
	bool fresh; /* blob has another one now, which is not on the disk yet */
};

struct cluster_copy {
	uint32_t from, to;
};

struct check {
	struct image *image;
	struct check_options options;
	struct check_report *report;
	struct reason *reason;
	int rc; /* the first failure */

	struct super super;
	bool super_write; /* something in it is to be mended */
	bool ahead; /* our mark is behind the mask of pages */
	bool masks_known; /* clean, and they could be read */
	bool masks_bad; /* to be written */
	struct bitmap mask_pages, mask_clusters, mask_blobs;
	struct check_blob *blobs;
	unsigned num_blobs;
	unsigned blobs_room;
	uint32_t *wipe; /* pages to be zeroed that are nobody's */
	unsigned num_wipe;
	struct share *shares;
	unsigned num_shares;
	struct page_share *page_shares;
	unsigned num_page_shares;
	struct cluster_copy *copies; /* to be made before anything points to them */
	unsigned num_copies;
	bool any_bad; /* so what is in use is not known to the last cluster */

	struct bitmap pages, clusters; /* in use */
	struct bitmap pages_twice; /* used in two places */
	unsigned mended; /* in this round */
	struct fault *faults; /* of this round */
	unsigned num_faults;
};

/* ---- reporting ----------------------------------------------------------------------------- */

struct fault_at {
	const struct check_blob *blob; /* NULL: of the store */
	uint32_t page;
};

/* The fault is told; true: mend it now. consequence must be there. */
bool check_fault(struct check *check, const char *kind, enum remedy remedy, struct fault_at at,
	const char *consequence, const char *fmt, ...) PRINTF_LIKE(6, 7);
/* Ends the check. */
void check_fail(struct check *check, int rc, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* ---- steps: nothing once check->rc is set ---------------------------------------------------- */

bool check_read_super(struct check *check); /* false: there is nothing to go on with */
void check_read_masks(struct check *check);
void check_find_roots(struct check *check);
void check_read_blobs(struct check *check);
void check_resolve_links(struct check *check);
void check_owners(struct check *check);
void check_shared(struct check *check);
void check_volumes(struct check *check);
void check_masks(struct check *check);
void repair_copy_clusters(struct check *check);
void repair_write_fresh_pages(struct check *check); /* before a chain refers to them */
void repair_write(struct check *check);

/* ---- for each other -------------------------------------------------------------------------- */

struct check_blob *check_blob_find(struct check *check, uint64_t id); /* NULL: none */
void check_blob_add(struct check *check, uint32_t root);
void check_blob_fini(struct check_blob *blob);
/* Entry of a cluster of the blob as it should be; 0: none. */
uint32_t check_blob_cluster(const struct check_blob *blob, uint64_t index);
void check_blob_drop_cluster(struct check_blob *blob, uint64_t index);
/* Of an entry that is not 0. */
void check_blob_set_cluster(struct check_blob *blob, uint64_t index, uint32_t cluster);
void check_share_add(struct check *check, const struct share *share);
void check_page_share_add(struct check *check, const struct page_share *share);
/* Calls for every page and cluster that the blob has: index is in the blob, of a page its slot, of
 * a page of the chain UINT64_MAX. */
void check_blob_for_each_page(
	struct check_blob *blob, void (*fn)(void *arg, uint64_t slot, uint32_t page), void *arg);
void check_blob_for_each_cluster(struct check_blob *blob,
	void (*fn)(void *arg, uint64_t index, uint32_t cluster), void *arg);
void check_blob_make_thin(struct check_blob *blob); /* in memory */
/* pages and clusters in check->pages and check->clusters, of all blobs that stay */
void check_count_used(struct check *check);
bool check_read_page(struct check *check, uint32_t index, void *ret_page); /* 4096 bytes */
/* Our own mark at the end of the region of the mask of pages. */
uint64_t check_ahead_offset(const struct super *super); /* 0: there is no room for one */

#endif
