/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Another number of clusters. docs/volumes.md, "Resizing".
 *
 * The extent page of a slot that gets more or fewer entries is written to a fresh page, so that the
 * one write that decides (blob_update) switches size and page at once.
 *
 * Crash table:
 *	before it	the old size; fresh pages and clusters are referred to by nothing
 *	after		the new one; what was cut off is free at the next load
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "blob/thick_impl.h"

struct resize_op {
	struct blob_op op;
	struct blob *blob;
	uint64_t from;
	uint64_t to;
	struct bdev_gate_turn turn;
	struct md md;
	struct md old; /* which pages it had */
	struct blob_map *map;
	struct thick thick;
	uint32_t fresh_page; /* of the slot where the smaller size ends, 0: none */
	uint32_t pages; /* promised, not taken */
	struct page_writes writes;
};

static int resize_check(struct resize_op *op)
{
	const struct blob *blob = op->blob;

	if (blob->broken || blob->md.data_ro_flags)
		return reason_set(op->op.reason, -EPERM,
			"a snapshot or read-only volume keeps its size: clone it");
	if (op->to > BLOBSTORE_BITS_MAX)
		return reason_set(op->op.reason, -EFBIG,
			"a volume has at most %u clusters: use larger clusters",
			BLOBSTORE_BITS_MAX);
	return 0;
}

static bool resize_is_thick_growth(const struct resize_op *op)
{
	return op->to > op->from && !(op->blob->md.invalid_flags & BLOBSTORE_THIN);
}

/* The slot whose number of entries changes while it has a page, if there is one. */
static bool resize_cuts_slot(const struct resize_op *op, uint32_t *ret_slot)
{
	uint64_t edge = u64_min(op->from, op->to);
	uint32_t slot = (uint32_t)(edge / BLOBSTORE_SLOT_ENTRIES);

	if (edge % BLOBSTORE_SLOT_ENTRIES == 0 || !op->blob->md.uses_table ||
		!op->blob->md.pages[slot] || resize_is_thick_growth(op))
		return false;
	*ret_slot = slot;
	return true;
}

static uint32_t resize_pages_wanted(const struct resize_op *op)
{
	uint32_t pages = 2 * blob_chain_pages_max(&op->md) + 1;

	return resize_is_thick_growth(op) ? pages + thick_slots(op->from, op->to - op->from)
					  : pages;
}

static int resize_begin(struct resize_op *op)
{
	int rc;

	op->from = op->blob->md.num_clusters;
	rc = resize_check(op);
	if (!rc)
		rc = md_copy(&op->md, &op->blob->md);
	if (!rc)
		rc = md_resize(&op->md, op->to);
	if (rc)
		return rc;
	op->map = blob_map_create(op->to);
	return op->map ? 0 : -ENOMEM;
}

static int resize_add_page(struct resize_op *op)
{
	uint32_t clusters[BLOBSTORE_SLOT_ENTRIES];
	uint32_t entries, slot;
	void *page;

	if (!resize_cuts_slot(op, &slot))
		return 0;
	op->fresh_page = store_page_take(op->op.store, true);
	op->pages--;
	page = page_writes_add(&op->writes, op->fresh_page);
	if (!page)
		return -ENOMEM;
	entries = extent_page_entries(op->to, slot);
	blob_map_copy_slot(blob_map(op->blob), slot, clusters);
	extent_page_encode(op->blob->id, slot, clusters, entries, page);
	op->md.pages[slot] = op->fresh_page;
	return 0;
}

/* Of a run-length blob; beyond the old end there is nothing. */
static uint32_t resize_cluster_at(void *arg, uint64_t index)
{
	const struct resize_op *op = arg;

	return index < op->from ? blob_map_get(blob_map(op->blob), index) : 0;
}

/* ---- decided ------------------------------------------------------------ */

/* What lies beyond the new end, cluster by cluster: out of the map and into the release. */
static void resize_cut_clusters(struct resize_op *op, struct store_release *release)
{
	struct blob_map *map = blob_map(op->blob);

	for (uint64_t index = op->to; index < op->from;) {
		uint32_t slot = (uint32_t)(index / BLOBSTORE_SLOT_ENTRIES);
		uint32_t cluster;

		if (!atomic_load_explicit(&map->extents[slot], memory_order_relaxed)) {
			index = ((uint64_t)slot + 1) * BLOBSTORE_SLOT_ENTRIES;
			continue;
		}
		cluster = blob_map_get(map, index);
		if (cluster) {
			store_release_cluster(release, cluster);
			blob_map_set(op->blob, index, 0);
		}
		index++;
	}
}

/* The blob's md is the new one already. */
static void resize_release(struct resize_op *op)
{
	struct blob *blob = op->blob;
	const struct md *old = &op->old;
	struct store_release *release =
		store_release_create(blob->store, blob->md.md_ro_flags & BLOBSTORE_CLEAR_MASK);

	resize_cut_clusters(op, release);
	for (uint32_t slot = 0; old->uses_table && slot < old->num_slots; slot++)
		if (old->pages[slot] &&
			(slot >= blob->md.num_slots || blob->md.pages[slot] != old->pages[slot]))
			store_release_page(release, old->pages[slot]);
	store_release_start(release);
}

static void resize_switch(struct resize_op *op)
{
	struct blob_map *old = blob_map(op->blob);

	blob_map_move_extents(op->map, old);
	atomic_store_explicit(&op->blob->map, op->map, memory_order_release);
	op->map = NULL;
	blob_map_destroy(old);
	if (op->thick.taken)
		thick_into_map(&op->thick, op->blob);
}

static void resize_undo(struct resize_op *op)
{
	thick_give_back(&op->thick);
	if (op->fresh_page)
		store_page_put_back(op->op.store, op->fresh_page);
}

static enum flow_result resize_run(struct flow *f)
{
	struct resize_op *op = container_of(f, struct resize_op, op.flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->blob->md_gate, &op->turn, flow_resume, f));
	flow_fail(f, resize_begin(op));
	if (flow_failed(f) || op->to == op->from)
		goto leave;
	op->pages = resize_pages_wanted(op);
	AWAIT(f, store_begin_change(op->op.store, op->pages, op->op.reason, flow_resume, f));
	if (flow_failed(f)) {
		op->pages = 0;
		goto leave;
	}
	if (resize_is_thick_growth(op)) {
		AWAIT(f, thick_allocate(&op->thick, op->blob, op->from, op->to - op->from,
				 &op->pages, op->op.reason, flow_resume, f));
		if (!flow_failed(f))
			flow_fail(f, thick_prepare_map(&op->thick, op->map));
		if (flow_failed(f))
			goto undo;
		thick_into_md(&op->thick, &op->md);
	}
	flow_fail(f, resize_add_page(op));
	if (flow_failed(f))
		goto undo;
	AWAIT(f, page_writes_run(&op->writes, flow_resume, f));
	if (!flow_failed(f))
		AWAIT(f, store_flush(op->op.store, flow_resume, f));
	if (flow_failed(f))
		goto undo;
	flow_fail(f, md_copy(&op->old, &op->blob->md));
	if (flow_failed(f))
		goto undo;
	AWAIT(f, blob_update(op->blob, &op->md,
			 op->thick.taken ? thick_cluster_at : resize_cluster_at,
			 op->thick.taken ? (void *)&op->thick : op, &op->pages, true, flow_resume,
			 f));
	if (flow_failed(f))
		goto leave;
	/* Decided. The gate is free before I/O is stopped, since first writes wait for it; those
	 * that are made meanwhile are of clusters that both sizes have. */
	bdev_gate_leave(&op->blob->md_gate);
	AWAIT(f, blob_op_freeze(&op->op, flow_resume, f));
	resize_release(op);
	resize_switch(op);
	AWAIT(f, blob_op_thaw(&op->op, flow_resume, f));
	goto end;

undo:
	resize_undo(op);
leave:
	bdev_gate_leave(&op->blob->md_gate);
end:
	store_end_change(op->op.store, op->pages);
	blob_op_view(&op->op, op->blob);
	blob_op_end(&op->op, f->error);
	FLOW_END(f);
}

static void resize_ended(struct blob_op *blob_op, int rc)
{
	struct resize_op *op = container_of(blob_op, struct resize_op, op);

	blob_map_destroy(op->map);
	page_writes_fini(&op->writes);
	thick_fini(&op->thick);
	md_fini(&op->md);
	md_fini(&op->old);
}

void blob_resize(
	struct blob *blob, uint64_t num_clusters, struct reason *reason, done_fn done, void *arg)
{
	struct resize_op *op = alloc_op(sizeof(*op));

	op->blob = blob;
	op->to = num_clusters;
	op->op.ended = resize_ended;
	md_init(&op->md, blob->id);
	md_init(&op->old, blob->id);
	page_writes_init(&op->writes, blob->store);
	blob_op_freezes(&op->op, blob);
	blob_op_start(&op->op, blob->store, "blob_resize", resize_run, reason, done, arg);
}
