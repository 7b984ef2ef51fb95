/* SPDX-License-Identifier: BSD-2-Clause */
/* Metadata of blobs for tests: made by chance, compared, decoded out of an array of pages. */
#ifndef MD_MODEL_H
#define MD_MODEL_H

#include "blob/format.h"

/* Is all the same that a chain of pages tells? */
bool md_equals(const struct md *a, const struct md *b);

/* md_cluster_at out of md->runs. */
uint32_t md_run_at(void *md, uint64_t index);

/* Follows the chain of blob `id` in an array of metadata pages. 0, or md is finished. */
int md_decode_from(const struct blobstore_page *pages, uint32_t md_len, uint32_t clusters,
	uint64_t id, struct md *ret_md, struct reason *reason) MUST_CHECK;

/* Its image in pages md_len - 1, md_len - 2 ... but for the root, which is where the id says. */
void md_write_to(const struct md *md, struct blobstore_page *pages, uint32_t md_len);

/* Encodes md, decodes that. */
int md_round_trip(const struct md *md, uint32_t md_len, uint32_t clusters, struct md *ret_md,
	struct reason *reason) MUST_CHECK;

#endif
