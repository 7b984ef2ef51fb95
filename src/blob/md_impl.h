/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files about a blob's metadata share: xattrs by the bytes of their name, which on a disk
 * may contain anything.
 */
#ifndef BLOB_MD_IMPL_H
#define BLOB_MD_IMPL_H

#include "blob/format.h"

#define XATTR_HEAD (BLOBSTORE_DESCRIPTOR_HEAD + 4u) /* and the two lengths */
#define TABLE_HEAD (BLOBSTORE_DESCRIPTOR_HEAD + 8u) /* and the number of clusters */
#define PAIR_BYTES 8u /* of the extent table and of runs */

/* On no list; NULL without memory. */
struct xattr *md_xattr_create(
	const void *name, uint16_t name_length, const void *value, uint16_t value_length);
const struct xattr *md_xattr_lookup(const struct list *xattrs, const void *name, size_t length);

/* While a run-length blob is decoded: room for so many clusters more, none of them there. */
int md_runs_grow(struct md *md, uint64_t clusters) MUST_CHECK;

#endif
