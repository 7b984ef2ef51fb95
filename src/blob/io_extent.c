/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What of a blob takes space: BDEV_IO_EXTENT. Deallocated is a cluster that the blob does not have
 * and below which there are zeroes; what shows the data of a parent or of a foreign device is
 * mapped. The map is read as READ does, so the answer is that of one moment for each cluster.
 *
 * An answer is about so many clusters at most that a turn does not notice.
 */
#include "blob/io_impl.h"

#define EXTENT_CLUSTERS_MAX 1024

static enum bdev_extent_state extent_state(const struct blob_channel *own, uint64_t index)
{
	if (blob_cluster(own, index) || blob_source_below(own, index).kind != SOURCE_ZEROES)
		return BDEV_EXTENT_MAPPED;
	return BDEV_EXTENT_DEALLOCATED;
}

struct bdev_extent blob_extent(const struct blob_channel *own, uint64_t offset, uint64_t length)
{
	uint64_t index = cluster_index(own, offset);
	struct bdev_extent extent = {
		.length = own->cluster_size - cluster_within(own, offset),
		.state = extent_state(own, index),
	};

	for (unsigned i = 1; i < EXTENT_CLUSTERS_MAX && extent.length < length; i++) {
		if (extent_state(own, index + i) != extent.state)
			break;
		extent.length += own->cluster_size;
	}
	extent.length = u64_min(extent.length, length);
	return extent;
}
