/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A blob without clones goes. One with a clone is merged into it (blob_merge.c). docs/volumes.md,
 * "Deleting".
 *
 * Crash table:
 *	before the root is zeroed	it is there, whole
 *	after				it is gone; what it had is free at the next load
 * Clusters and pages are used again only when the zeroed root is stable, and after clusters have
 * been cleared.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "blob/delete_impl.h"

static void release_slot(const struct blob_map *map, uint32_t slot, struct store_release *release)
{
	uint32_t clusters[BLOBSTORE_SLOT_ENTRIES];

	blob_map_copy_slot(map, slot, clusters);
	for (uint32_t i = 0; i < BLOBSTORE_SLOT_ENTRIES; i++)
		if (clusters[i])
			store_release_cluster(release, clusters[i]);
}

void delete_release_all(struct blob *blob)
{
	struct store_release *release =
		store_release_create(blob->store, blob->md.md_ro_flags & BLOBSTORE_CLEAR_MASK);
	const struct blob_map *map = blob_map(blob);

	for (uint32_t slot = 0; slot < map->num_slots; slot++)
		if (atomic_load_explicit(&map->extents[slot], memory_order_relaxed))
			release_slot(map, slot, release);
	for (uint32_t slot = 0; blob->md.uses_table && slot < blob->md.num_slots; slot++)
		if (blob->md.pages[slot])
			store_release_page(release, blob->md.pages[slot]);
	blob_chain_release(blob, release);
	store_release_start(release);
}

void delete_forget(struct delete_op *op)
{
	struct blob *blob = op->blob;
	struct blob *parent = atomic_load_explicit(&blob->parent, memory_order_relaxed);

	if (parent)
		parent->num_clones--;
	bitmap_clear(&blob->store->used_blobids, blob_root_index(blob));
	list_remove(&blob->link);
	op->op.gone = blob;
}

static int delete_check(struct delete_op *op)
{
	if (op->blob->num_clones > 1)
		return reason_set(op->op.reason, -EBUSY,
			"%u clones depend on it: delete or inflate all but one of them first",
			op->blob->num_clones);
	return 0;
}

static enum flow_result delete_run(struct flow *f)
{
	struct delete_op *op = container_of(f, struct delete_op, op.flow);

	FLOW_BEGIN(f);
	flow_fail(f, delete_check(op));
	if (flow_failed(f))
		goto finish;
	if (op->blob->num_clones == 1) {
		AWAIT(f, merge_into_clone(op, flow_resume, f));
		goto finish;
	}
	AWAIT(f, store_begin_change(op->op.store, 0, op->op.reason, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, bdev_gate_enter(&op->blob->md_gate, &op->turn, flow_resume, f));
	AWAIT(f, blob_write_no_root(op->blob, flow_resume, f));
	bdev_gate_leave(&op->blob->md_gate);
	if (flow_failed(f))
		goto restore;
	delete_release_all(op->blob);
	delete_forget(op);
	goto finish;

restore:
	/* It may be gone from the disk: the root is written again. */
	flow_fail(f, md_copy(&op->md, &op->blob->md));
	if (!flow_failed(f))
		AWAIT(f, blob_update(
				 op->blob, &op->md, NULL, NULL, &op->pages, true, flow_resume, f));
	if (flow_failed(f))
		blob_set_broken(op->blob, "writing its root again", f->error);
	blob_op_view(&op->op, op->blob);
finish:
	blob_op_end(&op->op, f->error);
	FLOW_END(f);
}

static void delete_ended(struct blob_op *blob_op, int rc)
{
	struct delete_op *op = container_of(blob_op, struct delete_op, op);

	if (op->clone && op->clone_takes_esnap)
		op->clone->esnap = op->blob->esnap;
	md_fini(&op->md);
}

void blob_delete(struct blob *blob, struct reason *reason, done_fn done, void *arg)
{
	struct delete_op *op = alloc_op(sizeof(*op));

	invariant(!blob->bdev);
	op->blob = blob;
	op->op.ended = delete_ended;
	md_init(&op->md, 0);
	blob_op_freezes(&op->op, blob);
	blob_op_start(&op->op, blob->store, "blob_delete", delete_run, reason, done, arg);
}
