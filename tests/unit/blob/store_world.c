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
	store_world_register(sw);
}

void store_world_register(struct store_world *sw)
{
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

/* ---- volumes ------------------------------------------------------------ */

#define FILL_THICK 700
#define FILL_THIN  5000

static uint64_t fill_id(struct store_world *sw, struct blob *blob)
{
	struct blob_info info;

	volume_info(&sw->volumes, blob, &info);
	return info.id;
}

void store_world_fill(struct store_world *sw, uint32_t cluster_size)
{
	struct blob *thick, *thin, *empty, *snapshot, *clone;
	struct volumes *volumes = &sw->volumes;
	uint64_t far = UINT64_C(600) * cluster_size;

	assert_int_equal(volume_create(volumes, 0, true, &empty), 0);
	assert_int_equal(volume_create(volumes, FILL_THICK, false, &thick), 0);
	assert_int_equal(volume_write(volumes, thick, 0, far, 4096, 9), 0);
	assert_int_equal(volume_create(volumes, FILL_THIN, true, &thin), 0);
	assert_int_equal(volume_write(volumes, thin, 0, 0, 4096, 1), 0);
	assert_int_equal(volume_write(volumes, thin, 1, far, 4096, 2), 0);
	assert_int_equal(volume_snapshot(volumes, thin, &snapshot), 0);
	assert_int_equal(volume_clone(volumes, snapshot, &clone), 0);
	assert_int_equal(volume_write(volumes, clone, 2, far, 4096, 3), 0);
	assert_int_equal(volume_write(volumes, thin, 2, 4 * far, 4096, 4), 0);
	sw->empty = fill_id(sw, empty);
	sw->thick = fill_id(sw, thick);
	sw->thin = fill_id(sw, thin);
	sw->snapshot = fill_id(sw, snapshot);
	sw->clone = fill_id(sw, clone);
}

static void check_info(struct store_world *sw, uint64_t id, uint64_t clusters, uint64_t allocated,
	uint64_t parent, unsigned clones)
{
	struct blob *blob = volumes_find(&sw->volumes, id);
	struct blob_info info;

	assert_non_null(blob);
	volume_info(&sw->volumes, blob, &info);
	assert_int_equal(info.num_clusters, clusters);
	assert_int_equal(info.num_allocated, allocated);
	assert_int_equal(info.num_clones, clones);
	assert_ptr_equal(info.parent, parent ? volumes_find(&sw->volumes, parent) : NULL);
	assert_int_equal(info.thin, id != sw->thick);
	assert_int_equal(info.read_only, id == sw->snapshot);
}

static void check_bytes(struct store_world *sw, uint64_t id, uint32_t cluster_size, int at_0,
	int at_600, int at_2400)
{
	struct blob *blob = volumes_find(&sw->volumes, id);
	uint64_t far = UINT64_C(600) * cluster_size;

	if (!volume_is_shown(&sw->volumes, blob))
		assert_int_equal(volume_show(&sw->volumes, blob), 0);
	assert_true(volume_holds(&sw->volumes, blob, 0, 4096, at_0));
	assert_true(volume_holds(&sw->volumes, blob, 4096, 4096, 0));
	assert_true(volume_holds(&sw->volumes, blob, far, 4096, at_600));
	if (id != sw->thick)
		assert_true(volume_holds(&sw->volumes, blob, 4 * far, 4096, at_2400));
}

void store_world_check(struct store_world *sw, uint32_t cluster_size)
{
	assert_int_equal(volumes_count(&sw->volumes), 5);
	check_info(sw, sw->empty, 0, 0, 0, 0);
	check_info(sw, sw->thick, FILL_THICK, FILL_THICK, 0, 0);
	check_info(sw, sw->thin, FILL_THIN, 1, sw->snapshot, 0);
	check_info(sw, sw->snapshot, FILL_THIN, 2, 0, 2);
	check_info(sw, sw->clone, FILL_THIN, 1, sw->snapshot, 0);
	check_bytes(sw, sw->thick, cluster_size, 0, 9, 0);
	check_bytes(sw, sw->thin, cluster_size, 1, 2, 4);
	check_bytes(sw, sw->snapshot, cluster_size, 1, 2, 0);
	check_bytes(sw, sw->clone, cluster_size, 1, 3, 0);
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

/* ---- metadata ----------------------------------------------------------- */

void disk_md(struct store_world *sw, uint64_t id, struct md *ret_md)
{
	struct md_decoder decoder;
	struct super super;
	uint8_t page[4096];

	disk_super(sw, &super);
	disk_page(sw, (uint32_t)id, page);
	md_init(ret_md, id);
	md_decode_begin(&decoder, ret_md, super.md_len);
	assert_int_equal(md_decode_page(&decoder, page, NULL), 0);
	assert_int_equal(decoder.index, BLOBSTORE_NO_PAGE);
	assert_int_equal(md_decode_end(&decoder, NULL), 0);
}

static uint32_t cluster_of_array(void *arg, uint64_t index)
{
	return ((const uint32_t *)arg)[index];
}

void disk_set_md(struct store_world *sw, const struct md *md, const uint32_t *clusters)
{
	const uint32_t root = (uint32_t)md->id;
	struct md_image image;

	assert_int_equal(md_encode(md, cluster_of_array, (void *)(uintptr_t)clusters, &image), 0);
	assert_int_equal(image.num_pages, 1);
	md_image_link(&image, md->id, &root);
	disk_set_page(sw, root, image.pages);
	md_image_fini(&image);
}

void disk_extents(
	struct store_world *sw, const struct md *md, uint32_t slot, uint32_t *ret_clusters)
{
	uint32_t entries;
	uint8_t page[4096];

	assert_true(slot < md->num_slots && md->pages[slot]);
	disk_page(sw, md->pages[slot], page);
	assert_int_equal(extent_page_decode(page, slot, ret_clusters, &entries, NULL), 0);
}

void disk_set_extents(struct store_world *sw, const struct md *md, uint32_t slot,
	const uint32_t *clusters, uint32_t entries)
{
	uint8_t page[4096];

	extent_page_encode(md->id, slot, clusters, entries, page);
	disk_set_page(sw, md->pages[slot], page);
}

void disk_set_clean(struct store_world *sw, bool clean)
{
	struct super super;

	disk_super(sw, &super);
	super.clean = clean;
	disk_set_super(sw, &super);
}

void *disk_save(struct store_world *sw)
{
	void *image = malloc(bdev_size(sw->base));

	assert_non_null(image);
	gate_bdev_peek(sw->gate, 0, image, bdev_size(sw->base));
	return image;
}

void disk_restore(struct store_world *sw, void *image)
{
	gate_bdev_poke(sw->gate, 0, image, bdev_size(sw->base));
	free(image);
}

void store_world_kill(struct store_world *sw)
{
	void *image = disk_save(sw);

	assert_int_equal(store_world_close(sw), 0);
	disk_restore(sw, image);
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
