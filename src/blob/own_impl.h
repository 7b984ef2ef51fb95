/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A blob gets clusters of its own: blob_fill.c copies them, blob_inflate.c has the write that
 * decides. Engine.
 */
#ifndef BLOB_OWN_IMPL_H
#define BLOB_OWN_IMPL_H

#include "blob/store_impl.h"

/* Engine: where the blob ends. While it grows or shrinks its map and its metadata differ in length
 * for a time, and only what both have is there. */
static inline uint64_t own_end(const struct blob *blob)
{
	return u64_min(blob->md.num_clusters, blob_map(blob)->num_clusters);
}

/* Can it be done at all? -EROFS, -EINVAL, -ENOTSUP. */
int own_check(const struct blob *blob, bool decouple, struct reason *reason) MUST_CHECK;

/* From *index on, the first cluster that the blob still takes from where it will take nothing any
 * more; decouple: of the parent itself. It stops earlier when *looks is used up. false: it has
 * stopped, or *index is the end. */
bool own_find_missing(const struct blob *blob, bool decouple, uint64_t *index, unsigned *looks);

/* Decoupling the clone of a foreign device is inflating it. */
static inline bool own_is_decoupled(const struct blob *blob, bool decouple) /* control */
{
	return decouple && !blob->view.esnap;
}

#endif
