/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operations on the super block of an open store: which blob is the super blob, and growing with
 * the device. docs/volumes.md, "Growing".
 *
 * Growing writes size, length of the cluster mask and clean = 0 in one super block; the mask itself
 * is written when the store is closed. Crash table:
 *	before	the old size
 *	after	clean = 0: recovered with the new size, all of what is new is free
 * What is new is unmapped first, and taken by nobody before the super block is stable.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "blob/store_impl.h"

struct super_change_op {
	struct blob_op op;
	uint64_t id; /* set_super */
	uint64_t size; /* grow: of the device, or what of it can be used */
	struct bdev_gate_turn turn;
	struct super super;
	struct super before;
};

/* ---- super blob --------------------------------------------------------- */

static enum flow_result set_super_run(struct flow *f)
{
	struct super_change_op *op = container_of(f, struct super_change_op, op.flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->op.store->super_gate, &op->turn, flow_resume, f));
	op->super = op->op.store->super;
	op->super.super_blob = op->id;
	AWAIT(f, store_super_write(op->op.store, &op->super, flow_resume, f));
	if (!flow_failed(f))
		atomic_store_explicit(&op->op.store->super_blob, op->id, memory_order_relaxed);
	else /* it may have happened */
		AWAIT(f, store_super_write(op->op.store, &op->op.store->super, flow_resume, f));
	bdev_gate_leave(&op->op.store->super_gate);
	blob_op_end(&op->op, f->error);
	FLOW_END(f);
}

void blob_store_set_super(struct blob_store *store, uint64_t id, done_fn done, void *arg)
{
	struct super_change_op *op = alloc_op(sizeof(*op));

	op->id = id;
	blob_op_start(&op->op, store, "blob_store_set_super", set_super_run, NULL, done, arg);
}

/* ---- growing ------------------------------------------------------------ */

/* UINT64_MAX: more than any store has. */
static uint64_t grow_mask_pages(const struct super_change_op *op)
{
	const struct super *super = &op->op.store->super;
	uint64_t clusters = op->size / super->cluster_size;

	if (clusters > BLOBSTORE_BITS_MAX)
		return UINT64_MAX;
	return (mask_bytes((uint32_t)clusters) + super->md_page_size - 1) / super->md_page_size;
}

/* A device may be larger than its store can become: as much of it is used as can be. */
static int grow_limit(struct super_change_op *op)
{
	const struct super *super = &op->op.store->super;
	uint64_t max_bytes = super_max_bytes(super);

	if (grow_mask_pages(op) <= super_cluster_mask_room(super))
		return 0;
	if (super->size_bytes / super->cluster_size >= max_bytes / super->cluster_size)
		return reason_set(op->op.reason, -ENOSPC,
			"the store on %s was made to grow up to %llu bytes and has them, the "
			"device has %llu: make a new store to use them all",
			store_name(op->op.store), (unsigned long long)max_bytes,
			(unsigned long long)op->size);
	log_notice("the store on %s grows to %llu bytes, as far as it was made to; the device has "
		   "%llu",
		store_name(op->op.store), (unsigned long long)max_bytes,
		(unsigned long long)op->size);
	op->size = max_bytes;
	return 0;
}

static int grow_plan(struct super_change_op *op)
{
	const struct super *super = &op->op.store->super;
	int rc;

	if (op->size < super->size_bytes)
		return reason_set(op->op.reason, -EINVAL,
			"%s has %llu bytes, the store on it %llu: a store cannot shrink",
			store_name(op->op.store), (unsigned long long)op->size,
			(unsigned long long)super->size_bytes);
	rc = grow_limit(op);
	if (rc)
		return rc;
	op->before = *super;
	op->before.clean = false;
	op->super = op->before;
	op->super.size_bytes = op->size;
	op->super.cluster_mask_len = (uint32_t)grow_mask_pages(op);
	return 0;
}

static bool grow_is_needed(const struct super_change_op *op)
{
	return op->super.size_bytes != op->op.store->super.size_bytes;
}

/* The end of what is in clusters now; what is behind it is nobody's. */
static uint64_t grow_from(const struct super_change_op *op)
{
	const struct super *super = &op->op.store->super;

	return super_cluster_offset(super, super_clusters(super));
}

static int grow_adopt(struct super_change_op *op)
{
	struct blob_store *store = op->op.store;

	store->dirty = true;
	if (bitmap_grow(&store->used_clusters, super_clusters(&store->super)))
		return -ENOMEM;
	store_space_publish(store);
	return 0;
}

static enum flow_result grow_run(struct flow *f)
{
	struct super_change_op *op = container_of(f, struct super_change_op, op.flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->op.store->super_gate, &op->turn, flow_resume, f));
	flow_fail(f, grow_plan(op));
	if (flow_failed(f) || !grow_is_needed(op))
		goto leave;
	AWAIT(f, store_clear(op->op.store, grow_from(op), op->size - grow_from(op),
			 BLOBSTORE_CLEAR_UNMAP, flow_resume, f));
	if (flow_failed(f))
		goto leave;
	AWAIT(f, store_super_write(op->op.store, &op->super, flow_resume, f));
	if (!flow_failed(f))
		flow_fail(f, grow_adopt(op));
	if (flow_failed(f)) /* it may have happened */
		AWAIT(f, store_super_write(op->op.store, &op->before, flow_resume, f));
leave:
	bdev_gate_leave(&op->op.store->super_gate);
	blob_op_end(&op->op, f->error);
	FLOW_END(f);
}

static void grow_ended(struct blob_op *head, int rc)
{
	struct super_change_op *op = container_of(head, struct super_change_op, op);

	if (rc)
		return;
	head->store->info.total_data_clusters =
		super_clusters(&op->super) - super_md_clusters(&op->super);
}

void blob_store_grow(struct blob_store *store, struct reason *reason, done_fn done, void *arg)
{
	struct super_change_op *op = alloc_op(sizeof(*op));

	op->size = align_down(bdev_size(store->base.bdev), store->base.bdev->block_size);
	op->op.ended = grow_ended;
	blob_op_start(&op->op, store, "blob_store_grow", grow_run, reason, done, arg);
}
