/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The orderly end of a store, on the engine: what is in use goes into the masks, and the super
 * block says that they are right. Nobody changes anything any more.
 *
 * A store whose super block says clean = 1 still has had no change since it was loaded: nothing is
 * written. One that was recovered and not changed is written like others, clean = 0 first, since
 * that may have been read from a cache that was never flushed. One where something is in use that
 * nobody has, after writes that failed, stays as it is: the next load finds it.
 *
 * Crash table in store_change.c. When anything fails the store stays as it is, not closed, and the
 * next load recovers it.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "blob/store_impl.h"

struct mask_write {
	enum blobstore_mask_type type;
	const struct bitmap *map;
	uint32_t start;
	uint32_t pages;
};

struct close_op {
	struct flow flow;
	struct blob_store *store;
	struct mask_write masks[3];
	unsigned next;
	void *region;
	size_t bytes;
	struct super super;
	done_fn done;
	void *arg;
};

static void close_plan(struct close_op *op)
{
	const struct blob_store *store = op->store;
	const struct super *super = &store->super;

	op->masks[0] = (struct mask_write){BLOBSTORE_MASK_PAGES, &store->used_pages,
		super->page_mask_start, super->page_mask_len};
	op->masks[1] = (struct mask_write){BLOBSTORE_MASK_BLOBIDS, &store->used_blobids,
		super->blobid_mask_start, super->blobid_mask_len};
	op->masks[2] = (struct mask_write){BLOBSTORE_MASK_CLUSTERS, &store->used_clusters,
		super->cluster_mask_start, super->cluster_mask_len};
}

static void close_free_region(struct close_op *op)
{
	free_pages(op->region, op->bytes);
	op->region = NULL;
	op->bytes = 0;
}

static int close_encode(struct close_op *op)
{
	const struct mask_write *mask = &op->masks[op->next];

	close_free_region(op);
	op->bytes = (size_t)mask->pages * op->store->super.md_page_size;
	op->region = alloc_pages(op->bytes);
	if (!op->region)
		return -ENOMEM;
	mask_encode(mask->type, mask->map, mask->map->bits, op->region, op->bytes);
	return 0;
}

static void close_write(struct close_op *op, done_fn done, void *arg)
{
	const struct mask_write *mask = &op->masks[op->next];

	store_write(op->store, (uint64_t)mask->start * op->store->super.md_page_size, op->region,
		op->bytes, done, arg);
}

static enum flow_result close_run(struct flow *f)
{
	struct close_op *op = container_of(f, struct close_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, store_releases_wait(op->store, flow_resume, f));
	if (op->store->super.clean || op->store->leaks)
		goto finish;
	if (!op->store->dirty)
		AWAIT(f, store_mark_dirty(op->store, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	close_plan(op);
	for (op->next = 0; op->next < ARRAY_SIZE(op->masks); op->next++) {
		if (!op->masks[op->next].pages)
			continue;
		flow_fail(f, close_encode(op));
		if (flow_failed(f))
			goto finish;
		AWAIT(f, close_write(op, flow_resume, f));
		if (flow_failed(f))
			goto finish;
	}
	AWAIT(f, store_flush(op->store, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	op->super = op->store->super;
	op->super.clean = true;
	AWAIT(f, store_super_write(op->store, &op->super, flow_resume, f));
finish:
	close_free_region(op);
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void store_close(struct blob_store *store, done_fn done, void *arg)
{
	struct close_op *op = alloc_op(sizeof(*op));

	op->store = store;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, store->engine, "store_close", close_run);
}
