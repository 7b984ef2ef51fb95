/* SPDX-License-Identifier: BSD-2-Clause */
#include "store_world.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

static void world_register(void *arg)
{
	struct store_world *sw = arg;

	assert_int_equal(gate_bdev_register(sw->gate, sw->world.registry, NULL), 0);
}

void store_world_start(struct store_world *sw, uint64_t seed, const struct gate_bdev_options *gate)
{
	memset(sw, 0, sizeof(*sw));
	world_start(&sw->world, seed);
	sw->gate = gate_bdev_create(gate);
	sw->base = gate_bdev_of(sw->gate);
	host_call(&sw->world.host, sw->world.control, world_register, sw);
}

void store_world_end(struct store_world *sw)
{
	if (sw->base)
		assert_int_equal(world_unregister(&sw->world, sw->base), 0);
	gate_bdev_destroy(sw->gate);
	world_end(&sw->world);
}

int store_world_create(struct store_world *sw, uint32_t cluster_size)
{
	const struct blob_store_create_options options = {
		.bstype = "TEST", .cluster_size = cluster_size};

	return volumes_create(&sw->volumes, &sw->world, sw->base, &options);
}

int store_world_load(struct store_world *sw)
{
	return volumes_load(&sw->volumes, &sw->world, sw->base);
}

int store_world_close(struct store_world *sw)
{
	return volumes_close(&sw->volumes);
}

/* ---- the disk ----------------------------------------------------------- */

void disk_super(struct store_world *sw, struct super *ret_super)
{
	uint8_t page[4096];

	gate_bdev_peek(sw->gate, 0, page, sizeof(page));
	assert_int_equal(super_decode(page, bdev_size(sw->base), ret_super, NULL), 0);
}

void disk_set_super(struct store_world *sw, const struct super *super)
{
	uint8_t page[4096];

	super_encode(super, page);
	gate_bdev_poke(sw->gate, 0, page, sizeof(page));
}

void disk_page(struct store_world *sw, uint32_t index, void *ret_page)
{
	struct super super;

	disk_super(sw, &super);
	gate_bdev_peek(sw->gate, super_page_offset(&super, index), ret_page, BLOBSTORE_PAGE_BYTES);
}

void disk_set_page(struct store_world *sw, uint32_t index, const void *page)
{
	struct super super;

	disk_super(sw, &super);
	gate_bdev_poke(sw->gate, super_page_offset(&super, index), page, BLOBSTORE_PAGE_BYTES);
}

struct region {
	uint64_t offset;
	size_t bytes;
	uint32_t bits;
};

static void region_find(
	struct store_world *sw, enum blobstore_mask_type type, struct region *ret_region)
{
	struct super super;
	uint32_t start, len;

	disk_super(sw, &super);
	start = type == BLOBSTORE_MASK_PAGES      ? super.page_mask_start
		: type == BLOBSTORE_MASK_CLUSTERS ? super.cluster_mask_start
						  : super.blobid_mask_start;
	len = type == BLOBSTORE_MASK_PAGES      ? super.page_mask_len
	      : type == BLOBSTORE_MASK_CLUSTERS ? super.cluster_mask_len
						: super.blobid_mask_len;
	ret_region->offset = (uint64_t)start * super.md_page_size;
	ret_region->bytes = (size_t)len * super.md_page_size;
	ret_region->bits = type == BLOBSTORE_MASK_CLUSTERS ? super_clusters(&super) : super.md_len;
}

void disk_mask(struct store_world *sw, enum blobstore_mask_type type, struct bitmap *ret_map)
{
	struct region region;
	void *bytes;

	region_find(sw, type, &region);
	bytes = calloc(1, region.bytes);
	assert_non_null(bytes);
	gate_bdev_peek(sw->gate, region.offset, bytes, region.bytes);
	assert_int_equal(bitmap_init(ret_map, region.bits), 0);
	assert_int_equal(mask_decode(type, bytes, region.bytes, region.bits, ret_map, NULL), 0);
	free(bytes);
}

void disk_set_mask(struct store_world *sw, enum blobstore_mask_type type, const struct bitmap *map)
{
	struct region region;
	void *bytes;

	region_find(sw, type, &region);
	bytes = calloc(1, region.bytes);
	assert_non_null(bytes);
	mask_encode(type, map, region.bits, bytes, region.bytes);
	gate_bdev_poke(sw->gate, region.offset, bytes, region.bytes);
	free(bytes);
}

bool disk_is_marked(struct store_world *sw)
{
	struct blobstore_ahead mark;
	struct region region;

	region_find(sw, BLOBSTORE_MASK_PAGES, &region);
	gate_bdev_peek(sw->gate, region.offset + region.bytes - sizeof(mark), &mark, sizeof(mark));
	return memcmp(mark.signature, BLOBSTORE_AHEAD_SIGNATURE, sizeof(mark.signature)) == 0;
}

/* ---- what was asked of it ----------------------------------------------- */

static uint64_t sum_requests(struct store_world *sw, enum bdev_io_type type, bool bytes)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < gate_bdev_record_count(sw->gate); i++) {
		struct gate_record record;

		gate_bdev_record_at(sw->gate, i, &record);
		if (record.type == type)
			sum += bytes ? record.length : 1;
	}
	return sum;
}

unsigned count_requests(struct store_world *sw, enum bdev_io_type type)
{
	return (unsigned)sum_requests(sw, type, false);
}

uint64_t count_bytes(struct store_world *sw, enum bdev_io_type type)
{
	return sum_requests(sw, type, true);
}
