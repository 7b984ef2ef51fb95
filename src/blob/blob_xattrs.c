/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attributes and the read-only flag: metadata without clusters. One write decides.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "blob/store_impl.h"

/* ---- changing ----------------------------------------------------------- */

struct xattr_change {
	struct xattr_change *next;
	char *name;
	void *value; /* NULL: remove */
	size_t length;
};

struct xattrs_op {
	struct blob_op op;
	struct blob *blob;
	struct xattr_change *changes; /* in their order */
	bool read_only; /* becomes so */
	struct bdev_gate_turn turn;
	struct md md;
	uint32_t pages;
};

static int xattr_apply(struct xattrs_op *op, const struct xattr_change *change)
{
	int rc;

	if (!change->value)
		return md_xattr_remove(&op->md.xattrs, change->name)
			       ? 0
			       : reason_set(op->op.reason, -ENOENT, "there is no attribute %s",
					 change->name);
	rc = md_xattr_set(&op->md.xattrs, change->name, change->value, change->length);
	return rc ? reason_set(op->op.reason, rc,
			    "attribute %s does not fit: name and value have at most 4063 bytes "
			    "together",
			    change->name)
		  : 0;
}

static int xattrs_md(struct xattrs_op *op)
{
	int rc;

	if (op->blob->broken)
		return reason_set(op->op.reason, -EROFS,
			"the volume's metadata could not be written: close and load its store");
	rc = md_copy(&op->md, &op->blob->md);
	for (struct xattr_change *change = op->changes; !rc && change; change = change->next)
		rc = xattr_apply(op, change);
	if (op->read_only)
		op->md.data_ro_flags |= BLOBSTORE_READ_ONLY;
	return rc;
}

static enum flow_result xattrs_run(struct flow *f)
{
	struct xattrs_op *op = container_of(f, struct xattrs_op, op.flow);

	FLOW_BEGIN(f);
	/* Requests that came before it is read-only are still made. */
	AWAIT(f, blob_op_freeze(&op->op, flow_resume, f));
	AWAIT(f, bdev_gate_enter(&op->blob->md_gate, &op->turn, flow_resume, f));
	flow_fail(f, xattrs_md(op));
	if (flow_failed(f))
		goto leave;
	op->pages = 2 * blob_chain_pages_max(&op->md);
	AWAIT(f, store_begin_change(op->op.store, op->pages, op->op.reason, flow_resume, f));
	if (flow_failed(f)) {
		op->pages = 0;
		goto leave;
	}
	AWAIT(f, blob_update(op->blob, &op->md, NULL, NULL, &op->pages, true, flow_resume, f));
leave:
	store_end_change(op->op.store, op->pages);
	bdev_gate_leave(&op->blob->md_gate);
	AWAIT(f, blob_op_thaw(&op->op, flow_resume, f));
	blob_op_view(&op->op, op->blob);
	blob_op_end(&op->op, f->error);
	FLOW_END(f);
}

static void xattrs_ended(struct blob_op *blob_op, int rc)
{
	struct xattrs_op *op = container_of(blob_op, struct xattrs_op, op);

	while (op->changes) {
		struct xattr_change *next = op->changes->next;

		free(op->changes->name);
		free(op->changes->value);
		free(op->changes);
		op->changes = next;
	}
	md_fini(&op->md);
}

static struct xattrs_op *xattrs_op_create(struct blob *blob)
{
	struct xattrs_op *op = alloc_op(sizeof(*op));

	op->blob = blob;
	op->op.ended = xattrs_ended;
	md_init(&op->md, blob->id);
	return op;
}

static struct xattr_change *xattr_change_create(const struct blob_xattr *xattr)
{
	struct xattr_change *change = alloc_op(sizeof(*change));
	size_t length = strlen(xattr->name);

	change->name = alloc_op(length + 1);
	memcpy(change->name, xattr->name, length);
	if (!xattr->value)
		return change;
	change->value = alloc_op(xattr->length + 1);
	memcpy(change->value, xattr->value, xattr->length);
	change->length = xattr->length;
	return change;
}

void blob_set_xattrs(struct blob *blob, const struct blob_xattr *xattrs, unsigned num_xattrs,
	struct reason *reason, done_fn done, void *arg)
{
	struct xattrs_op *op = xattrs_op_create(blob);
	struct xattr_change **end = &op->changes;

	for (unsigned i = 0; i < num_xattrs; i++) {
		*end = xattr_change_create(&xattrs[i]);
		end = &(*end)->next;
	}
	blob_op_start(&op->op, blob->store, "blob_set_xattrs", xattrs_run, reason, done, arg);
}

void blob_set_read_only(struct blob *blob, struct reason *reason, done_fn done, void *arg)
{
	struct xattrs_op *op = xattrs_op_create(blob);

	op->read_only = true;
	blob_op_freezes(&op->op, blob);
	blob_op_start(&op->op, blob->store, "blob_set_read_only", xattrs_run, reason, done, arg);
}

/* ---- asking ------------------------------------------------------------- */

struct xattr_query {
	struct reactor_call call;
	struct blob *blob;
	bool internal;
	char *name;
	void *ret_value;
	size_t size;
	size_t *ret_length;
	done_fn done;
	void *arg;
};

static int xattr_look(struct reactor_call *call)
{
	struct xattr_query *query = container_of(call, struct xattr_query, call);
	const struct md *md = &query->blob->md;
	const struct xattr *xattr =
		md_xattr_find(query->internal ? &md->internal_xattrs : &md->xattrs, query->name);

	if (!xattr)
		return -ENOENT;
	*query->ret_length = xattr->value_length;
	if (xattr->value_length > query->size)
		return -ENOSPC;
	memcpy(query->ret_value, xattr_value(xattr), xattr->value_length);
	return 0;
}

static void xattr_answered(void *arg, int rc)
{
	struct xattr_query *query = arg;

	query->done(query->arg, rc);
	free(query->name);
	free(query);
}

static void xattr_ask(struct blob *blob, bool internal, const char *name, void *ret_value,
	size_t size, size_t *ret_length, done_fn done, void *arg)
{
	struct xattr_query *query = alloc_op(sizeof(*query));
	size_t length = strlen(name);

	query->blob = blob;
	query->internal = internal;
	query->name = alloc_op(length + 1);
	memcpy(query->name, name, length);
	query->ret_value = ret_value;
	query->size = size;
	query->ret_length = ret_length;
	query->done = done;
	query->arg = arg;
	reactor_call(&query->call, blob->store->control, blob->store->engine, xattr_look,
		xattr_answered, query);
}

void blob_get_xattr(struct blob *blob, const char *name, void *ret_value, size_t size,
	size_t *ret_length, done_fn done, void *arg)
{
	xattr_ask(blob, false, name, ret_value, size, ret_length, done, arg);
}

void blob_get_esnap_id(
	struct blob *blob, void *ret_id, size_t size, size_t *ret_length, done_fn done, void *arg)
{
	xattr_ask(blob, true, BLOBSTORE_XATTR_ESNAP, ret_id, size, ret_length, done, arg);
}
