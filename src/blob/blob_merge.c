/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A snapshot with one clone is deleted: what the clone does not have itself passes to it.
 * docs/volumes.md, "Deleting".
 *
 * The clone's first writes wait for its metadata gate meanwhile, its other I/O goes on: until its
 * map is filled it reads through the snapshot. All I/O below stands still for a moment when the
 * snapshot leaves the chain of parents.
 *
 * Slots. Only the snapshot has a page: the clone takes that page over, if it has as many entries as
 * the clone's would; both have one, or the numbers differ: a fresh page with both.
 *
 * Crash table, each line until the next write is on the disk:
 *	-			nothing has happened
 *	snapshot, SNAPRM	the clone names it still: load removes the mark, it stays
 *	fresh pages		the same; they are referred to by nothing
 *	clone (decides)		the clone does not name it: load removes the snapshot, without
 *				anything that the clone has now
 *	snapshot's root zeroed	done; what only the snapshot had is free
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "blob/delete_impl.h"

#define MERGE_PAGES_AT_ONCE 256u

struct merge_op {
	struct flow flow;
	struct delete_op *delete;
	struct blob *snapshot;
	struct blob *clone;
	struct md md; /* of the clone, as it will be */
	struct page_writes writes;
	uint32_t slot;
	struct store_release *release; /* pages that the clone had */
	bool *adopted; /* by slot: the snapshot's page is the clone's now */
	done_fn done;
	void *arg;
};

static struct blob *merge_find_clone(const struct blob *snapshot)
{
	struct blob *blob;

	list_for_each_entry (blob, &snapshot->store->blobs, link)
		if (atomic_load_explicit(&blob->parent, memory_order_relaxed) == snapshot)
			return blob;
	invariant(!"a clone that is counted and not there");
	return NULL;
}

/* ---- slots -------------------------------------------------------------- */

static uint32_t slots_shared(const struct merge_op *op)
{
	uint32_t a = blob_map(op->snapshot)->num_slots;
	uint32_t b = blob_map(op->clone)->num_slots;

	return a < b ? a : b;
}

static bool snapshot_has_slot(const struct merge_op *op, uint32_t slot)
{
	return atomic_load_explicit(&blob_map(op->snapshot)->extents[slot], memory_order_relaxed) !=
	       NULL;
}

static bool slot_can_be_adopted(const struct merge_op *op, uint32_t slot)
{
	return op->snapshot->md.uses_table && !op->clone->md.pages[slot] &&
	       op->snapshot->md.pages[slot] &&
	       extent_page_entries(op->snapshot->md.num_clusters, slot) ==
		       extent_page_entries(op->clone->md.num_clusters, slot);
}

/* The clone's cluster at that index when all is done. */
static uint32_t merged_cluster(const struct merge_op *op, uint64_t index)
{
	const struct blob_map *snapshot = blob_map(op->snapshot);
	uint32_t own = blob_map_get(blob_map(op->clone), index);

	if (own || index >= snapshot->num_clusters)
		return own;
	return blob_map_get(snapshot, index);
}

static uint32_t merge_cluster_at(void *arg, uint64_t index)
{
	return merged_cluster(arg, index);
}

static uint32_t merge_fresh_pages(const struct merge_op *op)
{
	uint32_t count = 0;

	for (uint32_t slot = 0; op->clone->md.uses_table && slot < slots_shared(op); slot++)
		count += snapshot_has_slot(op, slot) && !slot_can_be_adopted(op, slot);
	return count;
}

static int merge_fresh_page(struct merge_op *op, uint32_t slot)
{
	struct blob_store *store = op->clone->store;
	uint64_t first = (uint64_t)slot * BLOBSTORE_SLOT_ENTRIES;
	uint32_t entries = extent_page_entries(op->clone->md.num_clusters, slot);
	uint32_t clusters[BLOBSTORE_SLOT_ENTRIES] = {0};
	uint32_t index = store_page_take(store, true);
	void *page = page_writes_add(&op->writes, index);

	op->delete->pages--;
	if (op->md.pages[slot])
		store_release_page(op->release, op->md.pages[slot]);
	op->md.pages[slot] = index;
	if (!page)
		return -ENOMEM;
	for (uint32_t i = 0; i < entries; i++)
		clusters[i] = merged_cluster(op, first + i);
	extent_page_encode(op->clone->id, slot, clusters, entries, page);
	return 0;
}

static int merge_slot(struct merge_op *op, uint32_t slot)
{
	if (!snapshot_has_slot(op, slot))
		return 0;
	if (blob_map_prepare(blob_map(op->clone), slot))
		return -ENOMEM;
	if (!op->clone->md.uses_table)
		return 0;
	if (!slot_can_be_adopted(op, slot))
		return merge_fresh_page(op, slot);
	op->md.pages[slot] = op->snapshot->md.pages[slot];
	op->adopted[slot] = true;
	return 0;
}

static int merge_slots(struct merge_op *op)
{
	int rc = 0;

	while (!rc && op->slot < slots_shared(op) && op->writes.count < MERGE_PAGES_AT_ONCE)
		rc = merge_slot(op, op->slot++);
	return rc;
}

/* ---- metadata ----------------------------------------------------------- */

static int merge_md_parent(struct merge_op *op)
{
	const struct xattr *esnap =
		md_xattr_find(&op->snapshot->md.internal_xattrs, BLOBSTORE_XATTR_ESNAP);
	uint64_t parent = md_internal_id(&op->snapshot->md, BLOBSTORE_XATTR_PARENT);
	int rc = md_internal_set_id(&op->md, BLOBSTORE_XATTR_PARENT, parent);

	if (rc || !esnap || !(op->snapshot->md.invalid_flags & BLOBSTORE_ESNAP))
		return rc;
	op->md.invalid_flags |= BLOBSTORE_ESNAP;
	return md_internal_set(
		&op->md, BLOBSTORE_XATTR_ESNAP, xattr_value(esnap), esnap->value_length);
}

static int merge_begin(struct merge_op *op)
{
	int rc = md_copy(&op->md, &op->clone->md);

	if (!rc)
		rc = merge_md_parent(op);
	op->adopted = calloc((size_t)op->clone->md.num_slots + 1, sizeof(*op->adopted));
	op->release = store_release_create(op->clone->store, BLOBSTORE_CLEAR_NONE);
	return !rc && !op->adopted ? -ENOMEM : rc;
}

static int merge_md_mark(struct merge_op *op, uint64_t clone_id)
{
	int rc = md_copy(&op->delete->md, &op->snapshot->md);

	return rc ? rc
		  : md_internal_set_id(&op->delete->md, BLOBSTORE_XATTR_REMOVAL_PENDING, clone_id);
}

static uint32_t merge_pages(const struct merge_op *op)
{
	return merge_fresh_pages(op) + 4 * (blob_chain_pages_max(&op->snapshot->md) + 1) +
	       2 * (blob_chain_pages_max(&op->clone->md) + 3);
}

/* ---- memory ------------------------------------------------------------- */

static void fill_slot(struct merge_op *op, uint32_t slot)
{
	const struct blob_map *snapshot = blob_map(op->snapshot);
	const struct blob_map *clone = blob_map(op->clone);
	uint64_t index = (uint64_t)slot * BLOBSTORE_SLOT_ENTRIES;
	uint64_t end = u64_min(index + BLOBSTORE_SLOT_ENTRIES,
		u64_min(snapshot->num_clusters, clone->num_clusters));

	for (; index < end; index++) {
		uint32_t cluster = blob_map_get(snapshot, index);

		if (cluster && !blob_map_get(clone, index))
			blob_map_set(op->clone, index, cluster);
	}
}

/*
 * In memory as on the disk, before any further first write of the clone is committed. Who looks
 * meanwhile finds the same cluster in the clone or, through its parent, in the snapshot. A first
 * write under way loses against what is there now, and writes into that.
 */
static void merge_fill(struct merge_op *op)
{
	for (uint32_t slot = 0; slot < slots_shared(op); slot++) {
		if (snapshot_has_slot(op, slot))
			fill_slot(op, slot);
		if (op->adopted[slot])
			op->snapshot->md.pages[slot] = 0;
	}
}

static void detach_slot(struct merge_op *op, uint32_t slot)
{
	const struct blob_map *snapshot = blob_map(op->snapshot);
	const struct blob_map *clone = blob_map(op->clone);
	uint64_t index = (uint64_t)slot * BLOBSTORE_SLOT_ENTRIES;
	uint64_t end = u64_min(index + BLOBSTORE_SLOT_ENTRIES,
		u64_min(snapshot->num_clusters, clone->num_clusters));

	for (; index < end; index++) {
		uint32_t cluster = blob_map_get(snapshot, index);

		if (cluster && cluster == blob_map_get(clone, index))
			blob_map_set(op->snapshot, index, 0);
	}
}

/* Nobody looks: what the clone got is no longer the snapshot's; what stays there goes with it. */
static void merge_detach(struct merge_op *op)
{
	struct blob *parent = atomic_load_explicit(&op->snapshot->parent, memory_order_relaxed);

	for (uint32_t slot = 0; slot < slots_shared(op); slot++)
		if (snapshot_has_slot(op, slot))
			detach_slot(op, slot);
	atomic_store_explicit(&op->clone->parent, parent, memory_order_release);
	op->snapshot->num_clones--;
	if (parent)
		parent->num_clones++;
	op->delete->clone_takes_esnap = op->clone->md.invalid_flags & BLOBSTORE_ESNAP && !parent;
}

static void merge_pages_back(struct merge_op *op)
{
	const struct md *was = &op->clone->md;

	for (uint32_t slot = 0; was->uses_table && op->md.pages && slot < op->slot; slot++)
		if (op->md.pages[slot] != was->pages[slot] && !op->adopted[slot])
			store_page_put_back(op->clone->store, op->md.pages[slot]);
}

static void merge_op_free(struct merge_op *op)
{
	store_release_drop(op->release);
	page_writes_fini(&op->writes);
	md_fini(&op->md);
	free(op->adopted);
	free(op);
}

/* ---- the flow ----------------------------------------------------------- */

static enum flow_result merge_run(struct flow *f)
{
	struct merge_op *op = container_of(f, struct merge_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->clone->md_gate, &op->delete->turn, flow_resume, f));
	op->delete->pages = merge_pages(op);
	AWAIT(f, store_begin_change(op->snapshot->store, op->delete->pages, op->delete->op.reason,
			 flow_resume, f));
	if (flow_failed(f)) {
		op->delete->pages = 0;
		goto leave;
	}
	flow_fail(f, merge_md_mark(op, op->clone->id));
	if (flow_failed(f))
		goto leave;
	AWAIT(f, blob_update(op->snapshot, &op->delete->md, NULL, NULL, &op->delete->pages, true,
			 flow_resume, f));
	if (flow_failed(f))
		goto leave;
	flow_fail(f, merge_begin(op));
	while (!flow_failed(f) && op->slot < slots_shared(op)) {
		flow_fail(f, merge_slots(op));
		if (!flow_failed(f))
			AWAIT(f, page_writes_run(&op->writes, flow_resume, f));
	}
	if (!flow_failed(f))
		AWAIT(f, store_flush(op->clone->store, flow_resume, f));
	if (flow_failed(f))
		goto pages_back;
	AWAIT(f, blob_update(op->clone, &op->md, merge_cluster_at, op, &op->delete->pages, true,
			 flow_resume, f));
	if (flow_failed(f))
		goto unmark; /* fresh pages stay taken: the clone may refer to them */

	/* Decided. The gate is free before I/O is stopped, since first writes wait for it. */
	merge_fill(op);
	bdev_gate_leave(&op->clone->md_gate);
	AWAIT(f, blob_op_freeze(&op->delete->op, flow_resume, f));
	merge_detach(op);
	AWAIT(f, blob_op_thaw(&op->delete->op, flow_resume, f));
	store_release_start(op->release);
	op->release = NULL;
	AWAIT(f, blob_write_no_root(op->snapshot, flow_resume, f));
	/* If that failed the next load does it; until then its clusters stay taken. */
	if (!flow_failed(f))
		delete_release_all(op->snapshot);
	f->error = 0;
	delete_forget(op->delete);
	goto end;

pages_back:
	merge_pages_back(op);
unmark:
	if (op->clone->broken)
		goto leave; /* only load can tell which is true */
	flow_fail(f, merge_md_mark(op, BLOBSTORE_NO_BLOB));
	if (!flow_failed(f))
		AWAIT(f, blob_update(op->snapshot, &op->delete->md, NULL, NULL, &op->delete->pages,
				 true, flow_resume, f));
leave:
	bdev_gate_leave(&op->clone->md_gate);
end:
	blob_op_view(&op->delete->op, op->clone);
	store_end_change(op->snapshot->store, op->delete->pages);
	op->done(op->arg, f->error);
	merge_op_free(op);
	FLOW_END(f);
}

void merge_into_clone(struct delete_op *delete, done_fn done, void *arg)
{
	struct merge_op *op = alloc_op(sizeof(*op));

	op->delete = delete;
	op->snapshot = delete->blob;
	op->clone = merge_find_clone(delete->blob);
	delete->clone = op->clone;
	op->done = done;
	op->arg = arg;
	md_init(&op->md, op->clone->id);
	page_writes_init(&op->writes, op->clone->store);
	flow_start(&op->flow, op->clone->store->engine, "blob_merge", merge_run);
}
