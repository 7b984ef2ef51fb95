/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Extent pages: where the clusters of one slot are. Such a page bears the id of whoever wrote it
 * last, which says nothing. One with too few entries, even none, is what an interrupted change of
 * size leaves; the extent table's number of clusters decides, what is missing is not there.
 */
#include <errno.h>
#include <string.h>

#include "base/endian.h"
#include "base/log.h"
#include "blob/format.h"

#define HEAD (BLOBSTORE_DESCRIPTOR_HEAD + 4u) /* and the first cluster */

uint32_t extent_page_entries(uint64_t num_clusters, uint32_t slot)
{
	uint64_t first = (uint64_t)slot * BLOBSTORE_SLOT_ENTRIES;

	if (num_clusters <= first)
		return 0;
	return (uint32_t)u64_min(num_clusters - first, BLOBSTORE_SLOT_ENTRIES);
}

void extent_page_encode(
	uint64_t id, uint32_t slot, const uint32_t *clusters, uint32_t entries, void *ret_page)
{
	struct blobstore_page *page = ret_page;
	uint8_t *at = page->descriptors;

	invariant(entries > 0 && entries <= BLOBSTORE_SLOT_ENTRIES);
	memset(page, 0, sizeof(*page));
	page->id = htole64(id);
	at[0] = BLOBSTORE_EXTENT_PAGE;
	le32_put(at + 1, 4 + 4 * entries);
	le32_put(at + 5, slot * BLOBSTORE_SLOT_ENTRIES);
	for (uint32_t i = 0; i < entries; i++)
		le32_put(at + HEAD + 4 * i, clusters[i]);
	page->next = htole32(BLOBSTORE_NO_PAGE);
	page->crc = htole32(page_checksum(page));
}

/* Is the page's frame that of an extent page? */
static int extent_page_check(
	const struct blobstore_page *page, uint32_t slot, struct reason *reason)
{
	if (!page_checksum_is_right(page))
		return reason_set(
			reason, -EILSEQ, "the extent page of slot %u has a wrong checksum", slot);
	if (page->sequence || le32toh(page->next) != BLOBSTORE_NO_PAGE)
		return reason_set(reason, -EILSEQ,
			"the extent page of slot %u is a page of a chain instead", slot);
	return 0;
}

int extent_page_decode(const void *page, uint32_t slot, uint32_t *ret_clusters,
	uint32_t *ret_entries, struct reason *reason)
{
	const struct blobstore_page *extent = page;
	const uint8_t *at = extent->descriptors;
	uint32_t length = le32_get(at + 1), entries;
	int rc = extent_page_check(extent, slot, reason);

	if (rc)
		return rc;
	if (at[0] != BLOBSTORE_EXTENT_PAGE || length < 4 || length % 4 ||
		length > 4 + 4 * BLOBSTORE_SLOT_ENTRIES)
		return reason_set(reason, -EILSEQ,
			"the extent page of slot %u holds a descriptor of type %u and length %u",
			slot, at[0], length);
	if (le32_get(at + 5) != (uint64_t)slot * BLOBSTORE_SLOT_ENTRIES)
		return reason_set(reason, -EILSEQ,
			"the extent page of slot %u begins with cluster %u", slot,
			le32_get(at + 5));
	entries = length / 4 - 1;
	if (le32_get(at + HEAD + 4 * entries + 1))
		return reason_set(reason, -EILSEQ,
			"the extent page of slot %u holds more than its clusters", slot);
	memset(ret_clusters, 0, BLOBSTORE_SLOT_ENTRIES * sizeof(*ret_clusters));
	for (uint32_t i = 0; i < entries; i++)
		ret_clusters[i] = le32_get(at + HEAD + 4 * i);
	*ret_entries = entries;
	return 0;
}
