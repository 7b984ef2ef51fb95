/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A snapshot takes over what its origin has; the origin becomes an empty clone of it.
 * docs/volumes.md, "Snapshots".
 *
 * The origin's I/O stands still from "freeze" to "thaw". No extent page is written: both point to
 * the same ones for a moment, and which of them owns them is decided by one write.
 *
 * Crash table, each line until the next write is on the disk:
 *	-			nothing has happened
 *	snapshot, SNAPTMP	the origin does not name it: load removes it, without what it points
 *				to
 *	origin (decides)	the origin names it: load completes it: SNAPTMP goes, read-only is
 *				set
 *	snapshot, read-only	done
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "blob/store_impl.h"

struct snapshot_op {
	struct blob_op op;
	struct blob *origin;
	struct blob *snapshot;
	struct blob_map *fresh; /* the origin's */
	struct bdev_gate_turn turn;
	struct list xattrs; /* the user's */
	struct md md; /* being prepared */
	uint32_t pages;
	int xattrs_rc;
	struct blob **ret_snapshot;
};

static int snapshot_check(struct snapshot_op *op)
{
	const struct blob *origin = op->origin;

	if (op->xattrs_rc)
		return reason_set(op->op.reason, op->xattrs_rc,
			"an attribute of the snapshot does not fit: shorten it");
	if (origin->broken)
		return reason_set(op->op.reason, -EROFS,
			"the volume's metadata could not be written: close and load its store");
	if (origin->md.data_ro_flags || origin->md.md_ro_flags & ~BLOBSTORE_MD_RO_KNOWN)
		return reason_set(op->op.reason, -EINVAL,
			"a read-only volume or a snapshot cannot be snapshotted: clone it");
	return 0;
}

static uint32_t snapshot_pages(const struct snapshot_op *op)
{
	/* Root; its chain twice, the origin's once, and again for what must be undone. */
	return 1 + 5 * (blob_chain_pages_max(&op->origin->md) + 2);
}

static int snapshot_build(struct snapshot_op *op)
{
	struct blob_store *store = op->op.store;
	uint32_t root = store_page_take(store, false);

	op->pages--;
	op->snapshot = blob_alloc(store, BLOBSTORE_ID_BIT | root);
	if (!op->snapshot) {
		store_page_put_back(store, root);
		return -ENOMEM;
	}
	bitmap_set(&store->used_blobids, root);
	op->fresh = blob_map_create(op->origin->md.num_clusters);
	return op->fresh ? 0 : -ENOMEM;
}

static void snapshot_unbuild(struct snapshot_op *op, bool keep)
{
	struct blob_store *store = op->op.store;

	if (!keep) {
		bitmap_clear(&store->used_blobids, blob_root_index(op->snapshot));
		store_page_put_back(store, blob_root_index(op->snapshot));
	}
	store->leaks |= keep;
	blob_free(op->snapshot);
	op->snapshot = NULL;
}

static uint32_t cluster_of_origin(void *arg, uint64_t index)
{
	return blob_map_get(blob_map(arg), index);
}

static uint32_t cluster_none(void *arg, uint64_t index)
{
	return 0;
}

/* The snapshot as it is before it is decided: all that the origin has, SNAPTMP. */
static int snapshot_md_pending(struct snapshot_op *op)
{
	int rc = snapshot_check(op);

	if (!rc)
		rc = md_copy(&op->md, &op->origin->md);
	if (rc)
		return rc;
	op->md.id = op->snapshot->id;
	md_xattrs_free(&op->md.xattrs);
	list_move_all(&op->md.xattrs, &op->xattrs);
	return md_internal_set_id(&op->md, BLOBSTORE_XATTR_SNAPSHOT_PENDING, op->origin->id);
}

static int snapshot_md_origin(struct snapshot_op *op)
{
	int rc = md_copy(&op->md, &op->origin->md);

	if (rc)
		return rc;
	for (uint32_t slot = 0; op->md.uses_table && slot < op->md.num_slots; slot++)
		op->md.pages[slot] = 0;
	md_internal_remove(&op->md, BLOBSTORE_XATTR_ESNAP);
	op->md.invalid_flags &= ~BLOBSTORE_ESNAP;
	op->md.invalid_flags |= BLOBSTORE_THIN;
	return md_internal_set_id(&op->md, BLOBSTORE_XATTR_PARENT, op->snapshot->id);
}

static int snapshot_md_final(struct snapshot_op *op)
{
	int rc = md_copy(&op->md, &op->snapshot->md);

	if (rc)
		return rc;
	md_internal_remove(&op->md, BLOBSTORE_XATTR_SNAPSHOT_PENDING);
	op->md.data_ro_flags |= BLOBSTORE_READ_ONLY;
	return 0;
}

/* It is decided: in memory as on the disk. Nothing of the origin is in flight. */
static void snapshot_switch(struct snapshot_op *op)
{
	struct blob *origin = op->origin;
	struct blob *snapshot = op->snapshot;

	blob_map_destroy(blob_map(snapshot));
	atomic_store_explicit(&snapshot->map, blob_map(origin), memory_order_release);
	atomic_store_explicit(&snapshot->num_allocated,
		atomic_load_explicit(&origin->num_allocated, memory_order_relaxed),
		memory_order_relaxed);
	atomic_store_explicit(&origin->map, op->fresh, memory_order_release);
	atomic_store_explicit(&origin->num_allocated, 0, memory_order_relaxed);
	op->fresh = NULL;
	atomic_store_explicit(&snapshot->parent,
		atomic_load_explicit(&origin->parent, memory_order_relaxed), memory_order_release);
	atomic_store_explicit(&origin->parent, snapshot, memory_order_release);
	snapshot->num_clones = 1;
	list_add_tail(&op->op.store->blobs, &snapshot->link);
	op->op.born = snapshot;
}

/* The last write may have failed: what is on the disk is completed by the next load. */
static void snapshot_finish(struct snapshot_op *op)
{
	if (op->op.flow.error)
		blob_set_broken(op->snapshot, "making a snapshot read-only", op->op.flow.error);
	op->op.flow.error = 0;
	blob_op_view(&op->op, op->snapshot);
	blob_op_view(&op->op, op->origin);
}

static void snapshot_ended(struct blob_op *blob_op, int rc)
{
	struct snapshot_op *op = container_of(blob_op, struct snapshot_op, op);

	if (op->snapshot && op->op.born) {
		op->snapshot->esnap = op->origin->esnap;
		op->origin->esnap = NULL;
		*op->ret_snapshot = op->snapshot;
	}
	md_xattrs_free(&op->xattrs);
	md_fini(&op->md);
	blob_map_destroy(op->fresh);
}

static enum flow_result snapshot_run(struct flow *f)
{
	struct snapshot_op *op = container_of(f, struct snapshot_op, op.flow);

	FLOW_BEGIN(f);
	flow_fail(f, snapshot_check(op));
	if (flow_failed(f))
		goto finish;
	op->pages = snapshot_pages(op);
	AWAIT(f, store_begin_change(op->op.store, op->pages, op->op.reason, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	flow_fail(f, snapshot_build(op));
	if (flow_failed(f) && !op->snapshot)
		goto end_change;
	if (flow_failed(f))
		goto unbuild;
	AWAIT(f, blob_op_freeze(&op->op, flow_resume, f));
	AWAIT(f, bdev_gate_enter(&op->origin->md_gate, &op->turn, flow_resume, f));
	flow_fail(f, snapshot_md_pending(op));
	if (flow_failed(f))
		goto thaw_unbuild;
	AWAIT(f, blob_update(op->snapshot, &op->md, cluster_of_origin, op->origin, &op->pages, true,
			 flow_resume, f));
	if (flow_failed(f))
		goto no_root;
	flow_fail(f, snapshot_md_origin(op));
	if (flow_failed(f))
		goto no_root;
	AWAIT(f, blob_update(op->origin, &op->md, cluster_none, NULL, &op->pages, true, flow_resume,
			 f));
	if (flow_failed(f) && op->origin->broken)
		goto keep; /* only load can tell which is true */
	if (flow_failed(f))
		goto no_root;

	/* Decided. */
	snapshot_switch(op);
	bdev_gate_leave(&op->origin->md_gate);
	AWAIT(f, blob_op_thaw(&op->op, flow_resume, f));
	flow_fail(f, snapshot_md_final(op));
	if (!flow_failed(f))
		AWAIT(f, blob_update(op->snapshot, &op->md, NULL, NULL, &op->pages, true,
				 flow_resume, f));
	snapshot_finish(op);
	goto end_change;

keep:
	blob_op_view(&op->op, op->origin);
	bdev_gate_leave(&op->origin->md_gate);
	AWAIT(f, blob_op_thaw(&op->op, flow_resume, f));
	snapshot_unbuild(op, true);
	goto end_change;
no_root:
	AWAIT(f, blob_write_no_root(op->snapshot, flow_resume, f));
	op->op.keep = flow_failed(f);
thaw_unbuild:
	bdev_gate_leave(&op->origin->md_gate);
	AWAIT(f, blob_op_thaw(&op->op, flow_resume, f));
unbuild:
	snapshot_unbuild(op, op->op.keep);
end_change:
	store_end_change(op->op.store, op->pages);
finish:
	blob_op_end(&op->op, f->error);
	FLOW_END(f);
}

void blob_snapshot(struct blob *blob, const struct blob_xattr *xattrs, unsigned num_xattrs,
	struct reason *reason, struct blob **ret_snapshot, done_fn done, void *arg)
{
	struct snapshot_op *op = alloc_op(sizeof(*op));

	op->origin = blob;
	op->ret_snapshot = ret_snapshot;
	op->op.ended = snapshot_ended;
	list_init(&op->xattrs);
	md_init(&op->md, 0);
	for (unsigned i = 0; !op->xattrs_rc && i < num_xattrs; i++)
		op->xattrs_rc = md_xattr_set(
			&op->xattrs, xattrs[i].name, xattrs[i].value, xattrs[i].length);
	blob_op_freezes(&op->op, blob);
	blob_op_start(&op->op, blob->store, "blob_snapshot", snapshot_run, reason, done, arg);
}
