/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A blob is no clone any more, or that of its parent's parent: it has clusters of its own for what
 * it saw through its parent (blob_fill.c). docs/volumes.md, "Inflating".
 *
 * With I/O standing still it is checked that nothing is missing (a guest may have discarded, an
 * operation may have taken the clusters away: -EAGAIN, and they are copied again), and flags and
 * parent change with the one write that decides.
 *
 * Crash table:
 *	before the write that decides	what was copied stays, the blob reads the same
 *	after it			done
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "blob/own_impl.h"

struct own_op {
	struct blob_op op;
	struct blob *blob;
	bool decouple;
	struct bdev_gate_turn turn;
	struct md md;
	uint32_t pages;
};

static struct blob *own_parent(const struct blob *blob)
{
	return atomic_load_explicit(&blob->parent, memory_order_relaxed);
}

/* ---- what is missing ---------------------------------------------------- */

int own_check(const struct blob *blob, bool decouple, struct reason *reason)
{
	const struct blob *parent = own_parent(blob);

	if (blob->broken)
		return reason_set(reason, -EROFS,
			"the volume's metadata could not be written: close and load its store");
	if (!decouple)
		return 0;
	if (!parent)
		return reason_set(reason, -EINVAL, "the volume has no parent to part from");
	if (parent->md.invalid_flags & BLOBSTORE_ESNAP)
		return reason_set(reason, -ENOTSUP,
			"the parent is a clone of a foreign device: inflate the volume instead");
	return 0;
}

static bool slot_is_empty(const struct blob_map *map, uint64_t index)
{
	uint32_t slot = (uint32_t)(index / BLOBSTORE_SLOT_ENTRIES);

	return slot >= map->num_slots ||
	       !atomic_load_explicit(&map->extents[slot], memory_order_relaxed);
}

static bool own_has_all(const struct blob *blob)
{
	return atomic_load_explicit(&blob->num_allocated, memory_order_relaxed) ==
	       blob->md.num_clusters;
}

bool own_find_missing(const struct blob *blob, bool decouple, uint64_t *index, unsigned *looks)
{
	const struct blob *parent = own_parent(blob);
	const struct blob_map *below = decouple && parent ? blob_map(parent) : NULL;
	uint64_t end = own_end(blob);

	/* Who has lost his parent meanwhile takes nothing from it. */
	if (own_has_all(blob) || (decouple && !parent))
		*index = end;
	for (; *index<end && * looks> 0; --*looks) {
		if (below && slot_is_empty(below, *index)) {
			*index =
				align_down(*index, BLOBSTORE_SLOT_ENTRIES) + BLOBSTORE_SLOT_ENTRIES;
			continue;
		}
		if (!blob_map_get(blob_map(blob), *index) &&
			(!below || (*index < below->num_clusters && blob_map_get(below, *index))))
			return true;
		++*index;
	}
	return false;
}

static bool own_lacks_something(const struct blob *blob, bool decouple)
{
	unsigned looks = UINT32_MAX;
	uint64_t index = 0;

	return own_find_missing(blob, decouple, &index, &looks);
}

/* ---- the write that decides --------------------------------------------- */

static int own_md(struct own_op *op)
{
	int rc = own_check(op->blob, op->decouple, op->op.reason);

	if (rc)
		return rc;
	if (own_lacks_something(op->blob, op->decouple))
		return -EAGAIN;
	rc = md_copy(&op->md, &op->blob->md);
	if (rc)
		return rc;
	if (op->decouple)
		return md_internal_set_id(&op->md, BLOBSTORE_XATTR_PARENT,
			md_internal_id(&own_parent(op->blob)->md, BLOBSTORE_XATTR_PARENT));
	op->md.invalid_flags &= ~(BLOBSTORE_THIN | BLOBSTORE_ESNAP);
	md_internal_remove(&op->md, BLOBSTORE_XATTR_PARENT);
	md_internal_remove(&op->md, BLOBSTORE_XATTR_ESNAP);
	return 0;
}

static void own_switch(struct own_op *op)
{
	struct blob *parent = own_parent(op->blob);
	struct blob *next = parent && op->decouple ? own_parent(parent) : NULL;

	if (parent)
		parent->num_clones--;
	if (next)
		next->num_clones++;
	atomic_store_explicit(&op->blob->parent, next, memory_order_release);
}

static enum flow_result own_run(struct flow *f)
{
	struct own_op *op = container_of(f, struct own_op, op.flow);

	FLOW_BEGIN(f);
	AWAIT(f, blob_op_freeze(&op->op, flow_resume, f));
	AWAIT(f, bdev_gate_enter(&op->blob->md_gate, &op->turn, flow_resume, f));
	flow_fail(f, own_md(op));
	if (flow_failed(f))
		goto leave;
	op->pages = 2 * blob_chain_pages_max(&op->md);
	AWAIT(f, store_begin_change(op->op.store, op->pages, op->op.reason, flow_resume, f));
	if (flow_failed(f)) {
		op->pages = 0;
		goto leave;
	}
	/* First writes are answered before their extent pages are stable: they must be now. */
	AWAIT(f, store_flush(op->op.store, flow_resume, f));
	if (!flow_failed(f))
		AWAIT(f, blob_update(
				 op->blob, &op->md, NULL, NULL, &op->pages, true, flow_resume, f));
	if (!flow_failed(f))
		own_switch(op);
leave:
	store_end_change(op->op.store, op->pages);
	bdev_gate_leave(&op->blob->md_gate);
	AWAIT(f, blob_op_thaw(&op->op, flow_resume, f));
	blob_op_view(&op->op, op->blob);
	blob_op_end(&op->op, f->error);
	FLOW_END(f);
}

static void own_ended(struct blob_op *blob_op, int rc)
{
	md_fini(&container_of(blob_op, struct own_op, op)->md);
}

static void own_start(struct blob *blob, bool decouple, const char *name, struct reason *reason,
	done_fn done, void *arg)
{
	struct own_op *op = alloc_op(sizeof(*op));

	op->blob = blob;
	op->decouple = own_is_decoupled(blob, decouple);
	op->op.ended = own_ended;
	md_init(&op->md, blob->id);
	blob_op_freezes(&op->op, blob);
	blob_op_start(&op->op, blob->store, name, own_run, reason, done, arg);
}

void blob_inflate(struct blob *blob, struct reason *reason, done_fn done, void *arg)
{
	own_start(blob, false, "blob_inflate", reason, done, arg);
}

void blob_decouple(struct blob *blob, struct reason *reason, done_fn done, void *arg)
{
	own_start(blob, true, "blob_decouple", reason, done, arg);
}
