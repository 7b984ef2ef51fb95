/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Another parent for a thin blob: what it has itself stays, what it has not comes from there.
 * docs/volumes.md, "Another parent". One write decides.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "blob/store_impl.h"

struct parent_op {
	struct blob_op op;
	struct blob *blob;
	struct blob *parent; /* NULL: a foreign device, or none */
	void *esnap_id; /* NULL: no foreign device */
	size_t esnap_length;
	struct bdev_gate_turn turn;
	struct md md;
	uint32_t pages;
};

static int parent_check_blob(const struct parent_op *op)
{
	const struct blob *ancestor = op->parent;

	if (op->parent->num_clones == 0 && !op->parent->md.data_ro_flags)
		return reason_set(op->op.reason, -EINVAL,
			"only a snapshot or read-only volume can be a parent");
	if (op->parent->md.num_clusters != op->blob->md.num_clusters)
		return reason_set(op->op.reason, -EINVAL,
			"the parent has %llu clusters and the volume %llu: they must be equal",
			(unsigned long long)op->parent->md.num_clusters,
			(unsigned long long)op->blob->md.num_clusters);
	if (atomic_load_explicit(&op->blob->parent, memory_order_relaxed) == op->parent)
		return reason_set(op->op.reason, -EEXIST, "it is the parent already");
	for (; ancestor; ancestor = atomic_load_explicit(&ancestor->parent, memory_order_relaxed))
		if (ancestor == op->blob)
			return reason_set(op->op.reason, -EINVAL,
				"a volume cannot be below itself: choose another parent");
	return 0;
}

static bool parent_has_any(const struct parent_op *op)
{
	return atomic_load_explicit(&op->blob->parent, memory_order_relaxed) ||
	       op->blob->md.invalid_flags & BLOBSTORE_ESNAP;
}

static int parent_check(const struct parent_op *op)
{
	if (op->blob->broken)
		return -EROFS;
	if (!(op->blob->md.invalid_flags & BLOBSTORE_THIN))
		return reason_set(
			op->op.reason, -EINVAL, "a thick volume has no parent: clone one instead");
	if (!op->parent && !op->esnap_id && !parent_has_any(op))
		return reason_set(op->op.reason, -EINVAL, "the volume has no parent");
	return op->parent ? parent_check_blob(op) : 0;
}

static int parent_md(struct parent_op *op)
{
	int rc = md_copy(&op->md, &op->blob->md);

	if (rc)
		return rc;
	if (!op->esnap_id) {
		md_internal_remove(&op->md, BLOBSTORE_XATTR_ESNAP);
		op->md.invalid_flags &= ~BLOBSTORE_ESNAP;
		return md_internal_set_id(&op->md, BLOBSTORE_XATTR_PARENT,
			op->parent ? op->parent->id : BLOBSTORE_NO_BLOB);
	}
	rc = md_internal_set_id(&op->md, BLOBSTORE_XATTR_PARENT, BLOBSTORE_NO_BLOB);
	op->md.invalid_flags |= BLOBSTORE_ESNAP;
	return rc ? rc
		  : md_internal_set(&op->md, BLOBSTORE_XATTR_ESNAP, op->esnap_id, op->esnap_length);
}

static void parent_switch(struct parent_op *op)
{
	struct blob *before = atomic_load_explicit(&op->blob->parent, memory_order_relaxed);

	if (before)
		before->num_clones--;
	if (op->parent)
		op->parent->num_clones++;
	atomic_store_explicit(&op->blob->parent, op->parent, memory_order_release);
}

static enum flow_result parent_run(struct flow *f)
{
	struct parent_op *op = container_of(f, struct parent_op, op.flow);

	FLOW_BEGIN(f);
	flow_fail(f, parent_check(op));
	if (flow_failed(f))
		goto finish;
	/* No cluster is filled from the old parent any more. */
	AWAIT(f, blob_op_freeze(&op->op, flow_resume, f));
	AWAIT(f, bdev_gate_enter(&op->blob->md_gate, &op->turn, flow_resume, f));
	flow_fail(f, parent_md(op));
	if (flow_failed(f))
		goto leave;
	op->pages = 2 * blob_chain_pages_max(&op->md);
	AWAIT(f, store_begin_change(op->op.store, op->pages, op->op.reason, flow_resume, f));
	if (flow_failed(f)) {
		op->pages = 0;
		goto leave;
	}
	AWAIT(f, blob_update(op->blob, &op->md, NULL, NULL, &op->pages, true, flow_resume, f));
	if (!flow_failed(f))
		parent_switch(op);
leave:
	store_end_change(op->op.store, op->pages);
	bdev_gate_leave(&op->blob->md_gate);
	AWAIT(f, blob_op_thaw(&op->op, flow_resume, f));
	blob_op_view(&op->op, op->blob);
finish:
	blob_op_end(&op->op, f->error);
	FLOW_END(f);
}

static void parent_ended(struct blob_op *blob_op, int rc)
{
	struct parent_op *op = container_of(blob_op, struct parent_op, op);

	md_fini(&op->md);
	free(op->esnap_id);
}

static struct parent_op *parent_op_create(struct blob *blob, struct blob *parent)
{
	struct parent_op *op = alloc_op(sizeof(*op));

	op->blob = blob;
	op->parent = parent;
	op->op.ended = parent_ended;
	md_init(&op->md, blob->id);
	blob_op_freezes(&op->op, blob);
	return op;
}

void blob_set_parent(
	struct blob *blob, struct blob *parent, struct reason *reason, done_fn done, void *arg)
{
	struct parent_op *op = parent_op_create(blob, parent);

	blob_op_start(&op->op, blob->store, "blob_set_parent", parent_run, reason, done, arg);
}

void blob_set_esnap_parent(struct blob *blob, const void *id, size_t length, struct reason *reason,
	done_fn done, void *arg)
{
	struct parent_op *op = parent_op_create(blob, NULL);

	op->esnap_id = alloc_op(length + 1);
	op->esnap_length = length;
	memcpy(op->esnap_id, id, length);
	blob_op_start(&op->op, blob->store, "blob_set_esnap_parent", parent_run, reason, done, arg);
}
