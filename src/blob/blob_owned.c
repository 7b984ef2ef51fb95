/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which clusters a blob owns itself, for listings and copies. The map is replaced only by
 * operations on the blob; without one under way it may be read anywhere, and says what is true at
 * the moment.
 */
#include "blob/store_impl.h"

bool blob_owns(const struct blob *blob, uint64_t index)
{
	const struct blob_map *map = blob_map(blob);

	return index < map->num_clusters && blob_map_get(map, index) != 0;
}

uint64_t blob_next_owned(const struct blob *blob, uint64_t from)
{
	const struct blob_map *map = blob_map(blob);
	uint64_t index = from;

	while (index < map->num_clusters) {
		if (!atomic_load_explicit(
			    &map->extents[index / BLOBSTORE_SLOT_ENTRIES], memory_order_acquire))
			index = (index / BLOBSTORE_SLOT_ENTRIES + 1) * BLOBSTORE_SLOT_ENTRIES;
		else if (blob_map_get(map, index))
			return index;
		else
			index++;
	}
	return map->num_clusters;
}
