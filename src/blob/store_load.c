/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A store from the disk into memory, on the engine. docs/volumes.md, "Loading".
 *
 *	super block
 *	masks			clean = 1 and they make sense: what is in use, and where volumes are
 *	or roots		otherwise (store_scan.c)
 *	blobs, links, repair	store_load_impl.h
 *
 * Nothing is written but repairs, of which a store that was closed in order has none. Blobs are
 * always read, so that what the masks say is checked against them: what a blob owns is in use
 * whatever they say.
 *
 * A failed load leaves the store as it was before, but for repairs already made.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "blob/store_load_impl.h"

struct load_op {
	struct flow flow;
	struct load load;
	struct blob_store *store;
	const char *bstype; /* NULL: any */
	void *page;
	done_fn done;
	void *arg;
};

/* ---- super block -------------------------------------------------------- */

static int load_check_type(const struct load_op *op, const struct super *super)
{
	uint8_t wanted[BLOBSTORE_TYPE_BYTES] = {0};

	if (!op->bstype)
		return 0;
	strncpy((char *)wanted, op->bstype, sizeof(wanted) - 1);
	if (memcmp(wanted, super->bstype, sizeof(wanted)) == 0)
		return 0;
	return reason_set(op->load.reason, -ENXIO,
		"the store on %s is of type \"%.16s\": it belongs to another program",
		store_name(op->store), (const char *)super->bstype);
}

static int load_check_blocks(const struct load_op *op, const struct super *super)
{
	const struct bdev *bdev = op->store->md->bdev;

	if (super->io_unit_size % bdev->block_size == 0)
		return 0;
	return reason_set(op->load.reason, -EILSEQ,
		"the store on %s was made for blocks of %u bytes, the device has %u now: attach it "
		"with blocks of %u",
		store_name(op->store), super->io_unit_size, bdev->block_size, super->io_unit_size);
}

static int load_decode_super(struct load_op *op)
{
	const struct bdev *bdev = op->store->md->bdev;
	struct super super;
	int rc = super_decode(op->page, bdev_size(bdev), &super, op->load.reason);

	if (!rc)
		rc = load_check_type(op, &super);
	if (!rc)
		rc = load_check_blocks(op, &super);
	if (!rc)
		rc = store_init_super(op->store, &super);
	return rc;
}

/* ---- masks -------------------------------------------------------------- */

struct masks_op {
	struct flow flow;
	struct load *load;
	const struct super *super;
	size_t bytes; /* of the largest region */
	void *region;
	done_fn done;
	void *arg;
};

void load_read_region(
	struct load *load, uint32_t start, void *buf, size_t bytes, done_fn done, void *arg)
{
	store_read(load->store, (uint64_t)start * load->store->super.md_page_size, buf, bytes, done,
		arg);
}

static size_t mask_region(const struct load *load, uint32_t pages)
{
	return (size_t)pages * load->store->super.md_page_size;
}

/* Masks that cannot all be true. */
static bool masks_disagree(const struct blob_store *store)
{
	uint32_t at = bitmap_find_clear(&store->used_clusters, 0);

	if (at != BITMAP_NONE && at < super_md_clusters(&store->super))
		return true;
	for (at = 0; at < store->used_blobids.bits &&
		     (at = bitmap_find_set(&store->used_blobids, at)) != BITMAP_NONE;
		at++)
		if (!bitmap_test(&store->used_pages, at))
			return true;
	return false;
}

static int masks_check(const struct masks_op *op)
{
	return masks_disagree(op->load->store) ? -EILSEQ : 0;
}

static int mask_take(
	struct masks_op *op, enum blobstore_mask_type type, uint32_t pages, struct bitmap *ret_map)
{
	return mask_decode(
		type, op->region, mask_region(op->load, pages), ret_map->bits, ret_map, NULL);
}

static int masks_keep_pages(struct masks_op *op)
{
	const struct super *super = &op->load->store->super;
	int rc = bitmap_init(&op->load->on_disk, super->md_len);

	if (!rc)
		rc = mask_take(op, BLOBSTORE_MASK_PAGES, super->page_mask_len, &op->load->on_disk);
	return rc;
}

static enum flow_result masks_run(struct flow *f)
{
	struct masks_op *op = container_of(f, struct masks_op, flow);

	FLOW_BEGIN(f);
	if (!op->region) {
		flow_fail(f, -ENOMEM);
		goto finish;
	}
	AWAIT(f, load_read_region(op->load, op->super->page_mask_start, op->region,
			 mask_region(op->load, op->super->page_mask_len), flow_resume, f));
	if (!flow_failed(f))
		flow_fail(f, masks_keep_pages(op));
	if (!flow_failed(f))
		flow_fail(f, mask_take(op, BLOBSTORE_MASK_PAGES, op->super->page_mask_len,
				     &op->load->store->used_pages));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, load_read_region(op->load, op->super->cluster_mask_start, op->region,
			 mask_region(op->load, op->super->cluster_mask_len), flow_resume, f));
	if (!flow_failed(f))
		flow_fail(f, mask_take(op, BLOBSTORE_MASK_CLUSTERS, op->super->cluster_mask_len,
				     &op->load->store->used_clusters));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, load_read_region(op->load, op->super->blobid_mask_start, op->region,
			 mask_region(op->load, op->super->blobid_mask_len), flow_resume, f));
	if (!flow_failed(f))
		flow_fail(f, mask_take(op, BLOBSTORE_MASK_BLOBIDS, op->super->blobid_mask_len,
				     &op->load->store->used_blobids));
	if (!flow_failed(f))
		flow_fail(f, masks_check(op));
finish:
	free_pages(op->region, op->bytes);
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

static void load_masks(struct load *load, done_fn done, void *arg)
{
	struct masks_op *op = alloc_op(sizeof(*op));
	const struct super *super = &load->store->super;
	uint64_t pages = u64_max(
		super->page_mask_len, u64_max(super->cluster_mask_len, super->blobid_mask_len));

	op->load = load;
	op->super = super;
	op->bytes = mask_region(load, (uint32_t)pages);
	op->region = alloc_pages(op->bytes);
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, load->store->engine, "load_masks", masks_run);
}

static bool load_trusts_masks(const struct blob_store *store)
{
	return store->super.clean && store->super.blobid_mask_len;
}

static bool load_may_do_without_masks(int rc)
{
	return rc && rc != -ENODEV && rc != -ENOMEM;
}

/* As if there were no masks. */
static int load_forget_masks(struct load *load)
{
	struct blob_store *store = load->store;
	struct super super = store->super;

	log_warning("%s: the masks of the volume store make no sense: looking at all its metadata",
		store_name(store));
	bitmap_fini(&load->on_disk);
	load->on_disk = (struct bitmap){0};
	store_fini_super(store);
	return store_init_super(store, &super);
}

/* ---- all ---------------------------------------------------------------- */

static int load_adopt_pages(struct load *load)
{
	return store_ahead_adopt(
		load->store, load->on_disk.bits ? &load->on_disk : NULL, load->marked);
}

static void load_publish(struct load *load)
{
	struct blob_store *store = load->store;

	for (size_t i = 0; i < load->num_blobs; i++) {
		struct loading *loading = &load->blobs[i];
		struct blob *parent = loading->parent ? loading->parent->blob : NULL;

		if (loading->bad || loading->gone)
			continue;
		list_add_tail(&store->blobs, &loading->blob->link);
		atomic_init(&loading->blob->parent, parent);
		if (parent)
			parent->num_clones++;
		blob_refresh(loading->blob);
	}
	store->recovered = load->recovering;
	atomic_store_explicit(&store->super_blob, store->super.super_blob, memory_order_relaxed);
	store_space_publish(store);
}

static void load_fini(struct load *load)
{
	load_blobs_free(load);
	bitmap_fini(&load->on_disk);
	bitmap_fini(&load->pages);
	bitmap_fini(&load->clusters);
}

static enum flow_result load_run(struct flow *f)
{
	struct load_op *op = container_of(f, struct load_op, flow);

	FLOW_BEGIN(f);
	if (!op->page) {
		flow_fail(f, -ENOMEM);
		goto finish;
	}
	AWAIT(f, store_read(op->store, 0, op->page, BLOBSTORE_PAGE_BYTES, flow_resume, f));
	if (!flow_failed(f))
		flow_fail(f, load_decode_super(op));
	if (flow_failed(f))
		goto finish;

	op->load.recovering = !load_trusts_masks(op->store);
	if (!op->load.recovering) {
		AWAIT(f, load_masks(&op->load, flow_resume, f));
		if (load_may_do_without_masks(f->rc)) {
			op->load.recovering = true;
			f->error = 0;
			flow_fail(f, load_forget_masks(&op->load));
		}
		if (flow_failed(f))
			goto finish;
	}
	if (op->load.recovering) {
		AWAIT(f, load_find_roots(&op->load, flow_resume, f));
		if (flow_failed(f))
			goto finish;
	}
	AWAIT(f, load_blobs(&op->load, flow_resume, f));
	if (!flow_failed(f))
		flow_fail(f, load_links(&op->load));
	if (!flow_failed(f))
		flow_fail(f, load_adopt_pages(&op->load));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, load_repair(&op->load, flow_resume, f));
	if (!flow_failed(f))
		load_publish(&op->load);
finish:
	if (f->error)
		reason_set(op->load.reason, f->error, "the store on %s cannot be loaded: %s",
			store_name(op->store), strerror(-f->error));
	load_fini(&op->load);
	op->done(op->arg, f->error);
	free(op->page);
	free(op);
	FLOW_END(f);
}

void store_load(struct blob_store *store, const char *bstype, struct reason *reason, done_fn done,
	void *arg)
{
	struct load_op *op = alloc_op(sizeof(*op));

	op->store = store;
	op->bstype = bstype;
	op->load.store = store;
	op->load.reason = reason;
	op->page = aligned_alloc(BLOBSTORE_PAGE_BYTES, BLOBSTORE_PAGE_BYTES);
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, store->engine, "store_load", load_run);
}
