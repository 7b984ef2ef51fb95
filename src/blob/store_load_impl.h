/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between the files that load a store:
 *
 *	store_load.c	what comes after what; super block and masks
 *	store_scan.c	pages read in large pieces; roots after a crash
 *	load_blobs.c	chains and extent pages into blobs in memory
 *	load_links.c	parents, unfinished operations, what two blobs own: decided in memory
 *	load_repair.c	and written
 *
 * Everything runs on the engine, before anybody else knows the store.
 */
#ifndef BLOB_STORE_LOAD_IMPL_H
#define BLOB_STORE_LOAD_IMPL_H

#include "blob/store_impl.h"

struct load;

enum loading_walk { LOADING_NEW, LOADING_ON_PATH, LOADING_WALKED };

/* A blob on its way into memory. */
struct loading {
	struct load *load;
	struct blob *blob; /* never NULL */
	struct md_decoder decoder;
	/* the chain so far; its contents until it is complete */
	uint32_t *indexes;
	void **pages;
	unsigned count;
	unsigned room;
	uint64_t num_clusters; /* of its map; of a broken chain what it told */
	bool bad; /* not to be used. What is known to belong to it stays in use */
	bool holes; /* thick, with clusters missing */
	/* decided by load_links.c */
	struct loading *parent;
	struct loading *down; /* while walking up */
	enum loading_walk walk;
	bool keep; /* a snapshot whose creation or removal is completed, or undone, by keeping it */
	bool gone; /* by deleting it */
	/* to be written by load_repair.c */
	bool write_chain;
	struct bitmap write_slots; /* extent pages; empty: not initialised */
};

struct load {
	struct blob_store *store;
	struct reason *reason;
	bool recovering; /* masks are not used */
	struct bitmap on_disk; /* the page mask, where it can be relied on; else not initialised */
	bool marked; /* it is followed by our mark */
	struct loading *blobs; /* in the order of their ids */
	size_t num_blobs;
	/* what belongs to those that are not gone */
	struct bitmap pages;
	struct bitmap clusters;
};

/* page NULL: it cannot be read. A result that is not 0 ends it. */
typedef int (*page_seen_fn)(void *arg, uint32_t index, const void *page);

/* The wanted pages, in any order; the set is borrowed and does not change. */
void pages_read(struct blob_store *store, const struct bitmap *wanted, page_seen_fn seen,
	void *seen_arg, done_fn done, void *arg);

/* A region of the super block into memory aligned to 4096. */
void load_read_region(
	struct load *load, uint32_t start, void *buf, size_t bytes, done_fn done, void *arg);

/* Recovery: used_blobids from the roots there are; on_disk and marked. */
void load_find_roots(struct load *load, done_fn done, void *arg);

/* Everything of used_blobids into load->blobs. Blobs that are not whole are bad, and logged. */
void load_blobs(struct load *load, done_fn done, void *arg);
void load_blobs_free(struct load *load);

struct loading *loading_find(const struct load *load, uint64_t id);
/* Logs, once. */
void loading_refuse(struct loading *loading, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The extent page of that slot is to be written (or the chain, where there are no such pages). */
int loading_write_slot(struct loading *loading, uint32_t slot) MUST_CHECK;

/* Extent pages that are known. */
uint32_t loading_slots(const struct loading *loading);
/* The first cluster of its map at or after *index: true, and *index is where it is. */
bool loading_next_cluster(const struct loading *loading, uint64_t *index);

/* What is decided about each, in memory. Afterwards pages and clusters of all are in use, those of
 * the gone too. -ENOMEM. */
int load_links(struct load *load) MUST_CHECK;

/* load_links.c has decided, the disk follows. */
void load_repair(struct load *load, done_fn done, void *arg);

#endif
