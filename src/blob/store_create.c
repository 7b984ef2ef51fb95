/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A new store on a device, on the engine. docs/volumes.md, "Creating".
 *
 * Crash table:
 *	1. super block zeroed; flush	what was there before, or no store
 *	2. the metadata's area zeroed,	no store
 *	   the rest cleared; flush
 *	3. super block; flush		no store, or an empty one that was not closed (clean = 0)
 *
 * The super block of an older store goes first, so that none is ever seen over an area that is half
 * wiped.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "blob/store_impl.h"

struct create_op {
	struct flow flow;
	struct blob_store *store;
	struct super super;
	enum blobstore_clear_method method;
	uint64_t size;
	struct reason *reason;
	int plan_rc;
	done_fn done;
	void *arg;
};

static int create_plan(struct create_op *op, const struct blob_store_create_options *options)
{
	const struct bdev *bdev = op->store->md->bdev;
	struct super_plan plan = {
		.device_bytes = op->size,
		.block_size = bdev->block_size,
		.physical_block_size =
			bdev->physical_block_size ? bdev->physical_block_size : bdev->block_size,
		.cluster_size = options->cluster_size,
		.md_page_size = options->md_page_size,
		.md_pages_per_cluster_percent = options->md_pages_per_cluster_percent
							? options->md_pages_per_cluster_percent
							: 100,
		.growth_factor = options->growth_factor ? options->growth_factor : 1,
	};

	if (options->bstype) {
		if (strlen(options->bstype) >= sizeof(plan.bstype))
			return reason_set(op->reason, -EINVAL,
				"a store's type has up to %zu characters: \"%s\" is longer",
				sizeof(plan.bstype) - 1, options->bstype);
		memcpy(plan.bstype, options->bstype, strlen(options->bstype));
	}
	return super_plan(&plan, &op->super, op->reason);
}

static uint64_t create_md_bytes(const struct create_op *op)
{
	return super_page_offset(&op->super, op->super.md_len);
}

static int create_fill(struct create_op *op)
{
	struct blob_store *store = op->store;
	int rc = store_init_super(store, &op->super);

	if (rc)
		return rc;
	bitmap_set_range(&store->used_clusters, 0, super_md_clusters(&op->super));
	rc = store_ahead_adopt(store, NULL, false);
	if (rc)
		return rc;
	store->dirty = true;
	atomic_store_explicit(&store->super_blob, BLOBSTORE_NO_BLOB, memory_order_relaxed);
	store_space_publish(store);
	return 0;
}

static enum flow_result create_run(struct flow *f)
{
	struct create_op *op = container_of(f, struct create_op, flow);

	FLOW_BEGIN(f);
	flow_fail(f, op->plan_rc ? op->plan_rc : create_fill(op));
	if (flow_failed(f))
		goto finish;

	AWAIT(f, store_destroy(op->store, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, store_zero(op->store, BLOBSTORE_PAGE_BYTES,
			 create_md_bytes(op) - BLOBSTORE_PAGE_BYTES, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, store_clear(op->store, create_md_bytes(op), op->size - create_md_bytes(op),
			 op->method, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, store_flush(op->store, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, store_super_write(op->store, &op->super, flow_resume, f));
finish:
	if (flow_failed(f))
		reason_set(op->reason, f->error, "no store can be made on %s: %s",
			store_name(op->store), strerror(-f->error));
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void store_create(struct blob_store *store, const struct blob_store_create_options *options,
	struct reason *reason, done_fn done, void *arg)
{
	struct create_op *op = alloc_op(sizeof(*op));

	op->store = store;
	op->method = options->clear_method;
	op->size = align_down(bdev_size(store->md->bdev), store->md->bdev->block_size);
	op->reason = reason;
	op->done = done;
	op->arg = arg;
	op->plan_rc = create_plan(op, options);
	flow_start(&op->flow, store->engine, "store_create", create_run);
}

/* ---- no store ----------------------------------------------------------- */

struct wipe_op {
	struct flow flow;
	struct blob_store *store;
	void *page;
	done_fn done;
	void *arg;
};

static enum flow_result wipe_run(struct flow *f)
{
	struct wipe_op *op = container_of(f, struct wipe_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, store_releases_wait(op->store, flow_resume, f));
	if (!op->page) {
		flow_fail(f, -ENOMEM);
		goto finish;
	}
	AWAIT(f, store_write(op->store, 0, op->page, BLOBSTORE_PAGE_BYTES, flow_resume, f));
	if (!flow_failed(f))
		AWAIT(f, store_flush(op->store, flow_resume, f));
finish:
	op->done(op->arg, f->error);
	free_pages(op->page, BLOBSTORE_PAGE_BYTES);
	free(op);
	FLOW_END(f);
}

void store_destroy(struct blob_store *store, done_fn done, void *arg)
{
	struct wipe_op *op = alloc_op(sizeof(*op));

	op->store = store;
	op->page = alloc_pages(BLOBSTORE_PAGE_BYTES);
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, store->engine, "store_destroy", wipe_run);
}
