/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clusters for thick blobs, when one is made or grows: taken, zeroed, in extent pages, all of that
 * stable, but referred to by nothing yet.
 */
#ifndef BLOB_THICK_IMPL_H
#define BLOB_THICK_IMPL_H

#include "blob/store_impl.h"

/* Zeroed at first, part of an operation's struct. */
struct thick {
	struct flow flow;
	struct blob *blob;
	uint64_t first; /* index in the blob */
	uint64_t count;
	uint32_t *clusters; /* taken */
	uint64_t taken;
	uint32_t first_slot;
	uint32_t num_slots;
	uint32_t *slot_pages; /* of table style; taken, 0: not yet */
	uint32_t slot; /* being written, of num_slots */
	uint64_t position; /* being zeroed, of count */
	uint64_t run;
	uint32_t *pages;
	struct page_writes writes;
	struct reason *reason;
	done_fn done;
	void *arg;
};

/*
 * Engine, within store_begin_change, thick_slots pages of which are for this: clusters for the end
 * of a blob, [first, first + count). The slot of first may have clusters below it already (in the
 * blob's map): its fresh page has them too. -ENOSPC: not enough clusters; then, and after any other
 * failure, thick_give_back.
 */
void thick_allocate(struct thick *thick, struct blob *blob, uint64_t first, uint64_t count,
	uint32_t *pages, struct reason *reason, done_fn done, void *arg);
uint32_t thick_slots(uint64_t first, uint64_t count);
/* The pages of its slots into metadata as it will be. */
void thick_into_md(const struct thick *thick, struct md *md);
/* A run-length blob as it will be: for blob_update, with the thick as arg. */
uint32_t thick_cluster_at(void *arg, uint64_t index);
/* Extents for its clusters into a map of the new size; -ENOMEM. */
int thick_prepare_map(const struct thick *thick, struct blob_map *map) MUST_CHECK;
/* The clusters into the blob's map, prepared before. */
void thick_into_map(const struct thick *thick, struct blob *blob);
/* Nothing refers to what was taken: it is free again. */
void thick_give_back(struct thick *thick);
void thick_fini(struct thick *thick);

#endif
