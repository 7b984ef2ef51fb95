/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A new blob: thin, thick, clone of a read-only blob or of a foreign device. docs/volumes.md,
 * "Creating".
 *
 * Crash table:
 *	before its root is written	nothing refers to the clusters and pages it took: they are
 *					free at the next load
 *	after				it is there, whole: its extent pages are stable, and the
 *					clusters of a thick one read zeroes
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "blob/store_impl.h"
#include "blob/thick_impl.h"

struct create_op {
	struct blob_op op;
	struct md md; /* as it will be, id not known yet */
	struct blob *parent; /* clone of that, or NULL */
	struct blob *blob;
	struct thick thick;
	uint32_t pages; /* promised, not taken */
	struct blob **ret_blob;
};

/* ---- control ------------------------------------------------------------ */

static int create_xattrs(struct md *md, const struct blob_xattr *xattrs, unsigned count)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < count; i++)
		rc = md_xattr_set(&md->xattrs, xattrs[i].name, xattrs[i].value, xattrs[i].length);
	return rc;
}

static void create_ended(struct blob_op *blob_op, int rc)
{
	struct create_op *op = container_of(blob_op, struct create_op, op);

	if (!rc)
		*op->ret_blob = op->blob;
	md_fini(&op->md);
}

/* Something was wrong before the engine was asked: it only passes through. */
struct create_refused {
	struct reactor_call call;
	struct create_op *op;
	done_fn done;
	void *arg;
	int rc;
};

static int create_pass(struct reactor_call *call)
{
	return container_of(call, struct create_refused, call)->rc;
}

static void create_passed(void *arg, int rc)
{
	struct create_refused *refused = arg;

	refused->done(refused->arg, rc);
	free(refused);
}

static void create_refuse(struct create_op *op, struct blob_store *store, struct reason *reason,
	int rc, done_fn done, void *arg)
{
	struct create_refused *refused = alloc_op(sizeof(*refused));

	reason_set(reason, rc, "a blob of this kind cannot be made: %s", strerror(-rc));
	refused->done = done;
	refused->arg = arg;
	refused->rc = rc;
	md_fini(&op->md);
	free(op);
	reactor_call(&refused->call, store->control, store->control, create_pass, create_passed,
		refused);
}

/* ---- engine ------------------------------------------------------------- */

static bool create_is_thick(const struct create_op *op)
{
	return !(op->md.invalid_flags & BLOBSTORE_THIN) && op->md.num_clusters > 0;
}

static int create_build(struct create_op *op)
{
	struct blob_store *store = op->op.store;
	uint32_t root = store_page_take(store, false);
	struct blob_map *map = blob_map_create(op->md.num_clusters);
	int rc;

	op->pages--;
	op->blob = blob_alloc(store, BLOBSTORE_ID_BIT | root);
	if (!op->blob || !map) {
		store_page_put_back(store, root);
		blob_map_destroy(map);
		blob_free(op->blob);
		op->blob = NULL;
		return -ENOMEM;
	}
	blob_map_destroy(blob_map(op->blob));
	atomic_store_explicit(&op->blob->map, map, memory_order_relaxed);
	bitmap_set(&store->used_blobids, root);
	op->md.id = op->blob->id;
	rc = md_resize(&op->blob->md, op->md.num_clusters);
	if (rc)
		return rc;
	op->blob->md.uses_table = op->md.uses_table;
	return 0;
}

static void create_finish(struct create_op *op)
{
	struct blob *blob = op->blob;

	list_add_tail(&op->op.store->blobs, &blob->link);
	if (op->parent) {
		atomic_store_explicit(&blob->parent, op->parent, memory_order_release);
		op->parent->num_clones++;
	}
	op->op.born = blob;
	blob_op_view(&op->op, blob);
}

/* keep: what the disk refers to is not known. */
static void create_undo(struct create_op *op, bool keep)
{
	struct blob_store *store = op->op.store;

	if (!keep) {
		thick_give_back(&op->thick);
		bitmap_clear(&store->used_blobids, blob_root_index(op->blob));
		store_page_put_back(store, blob_root_index(op->blob));
	}
	store->leaks |= keep;
	blob_free(op->blob);
	op->blob = NULL;
}

static int clone_prepare(struct create_op *op)
{
	const struct md *origin = &op->parent->md;
	int rc;

	if (!op->parent->md.data_ro_flags)
		return reason_set(op->op.reason, -EINVAL,
			"only a snapshot or a read-only volume can be cloned: take a snapshot "
			"first");
	op->md.uses_table = origin->uses_table;
	op->md.invalid_flags = BLOBSTORE_THIN | (origin->uses_table ? BLOBSTORE_USES_TABLE : 0);
	op->md.md_ro_flags = origin->md_ro_flags & BLOBSTORE_CLEAR_MASK;
	rc = md_resize(&op->md, origin->num_clusters);
	return rc ? rc : md_internal_set_id(&op->md, BLOBSTORE_XATTR_PARENT, op->parent->id);
}

static uint32_t create_pages(const struct create_op *op)
{
	return 1 + blob_chain_pages_max(&op->md) +
	       (create_is_thick(op) ? thick_slots(0, op->md.num_clusters) : 0);
}

static enum flow_result create_run(struct flow *f)
{
	struct create_op *op = container_of(f, struct create_op, op.flow);

	FLOW_BEGIN(f);
	if (op->parent)
		flow_fail(f, clone_prepare(op));
	if (flow_failed(f))
		goto finish;
	op->pages = create_pages(op);
	AWAIT(f, store_begin_change(op->op.store, op->pages, op->op.reason, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	flow_fail(f, create_build(op));
	if (flow_failed(f) && !op->blob)
		goto end_change;
	if (flow_failed(f))
		goto undo;
	if (create_is_thick(op)) {
		AWAIT(f, thick_allocate(&op->thick, op->blob, 0, op->md.num_clusters, &op->pages,
				 op->op.reason, flow_resume, f));
		if (!flow_failed(f))
			flow_fail(f, thick_prepare_map(&op->thick, blob_map(op->blob)));
		if (flow_failed(f))
			goto undo;
		thick_into_md(&op->thick, &op->md);
		thick_into_map(&op->thick, op->blob);
	}
	AWAIT(f, blob_update(op->blob, &op->md, NULL, NULL, &op->pages, true, flow_resume, f));
	if (flow_failed(f))
		goto no_root;
	create_finish(op);
	goto end_change;

no_root:
	/* It may be there: it must not come to life at the next load. */
	AWAIT(f, blob_write_no_root(op->blob, flow_resume, f));
	create_undo(op, flow_failed(f));
	goto end_change;
undo:
	create_undo(op, false);
end_change:
	store_end_change(op->op.store, op->pages);
finish:
	thick_fini(&op->thick);
	blob_op_end(&op->op, f->error);
	FLOW_END(f);
}

/* ---- control ------------------------------------------------------------ */

static int create_prepare(struct create_op *op, const struct blob_create_options *options)
{
	int rc;

	op->md.invalid_flags = BLOBSTORE_USES_TABLE | (options->thin ? BLOBSTORE_THIN : 0);
	op->md.md_ro_flags = options->clear_method & BLOBSTORE_CLEAR_MASK;
	rc = md_resize(&op->md, options->num_clusters);
	if (!rc)
		rc = create_xattrs(&op->md, options->xattrs, options->num_xattrs);
	if (rc || !options->esnap_id)
		return rc;
	op->md.invalid_flags |= BLOBSTORE_ESNAP;
	return options->thin ? md_internal_set(&op->md, BLOBSTORE_XATTR_ESNAP, options->esnap_id,
				       options->esnap_id_length)
			     : -EINVAL;
}

void blob_create(struct blob_store *store, const struct blob_create_options *options,
	struct reason *reason, struct blob **ret_blob, done_fn done, void *arg)
{
	struct create_op *op = alloc_op(sizeof(*op));
	int rc;

	md_init(&op->md, 0);
	op->ret_blob = ret_blob;
	op->op.ended = create_ended;
	rc = create_prepare(op, options);
	if (rc) {
		create_refuse(op, store, reason, rc, done, arg);
		return;
	}
	blob_op_start(&op->op, store, "blob_create", create_run, reason, done, arg);
}

/* ---- clones ------------------------------------------------------------- */

void blob_clone(struct blob *blob, const struct blob_xattr *xattrs, unsigned num_xattrs,
	struct reason *reason, struct blob **ret_clone, done_fn done, void *arg)
{
	struct create_op *op = alloc_op(sizeof(*op));
	int rc;

	md_init(&op->md, 0);
	op->parent = blob;
	op->ret_blob = ret_clone;
	op->op.ended = create_ended;
	rc = create_xattrs(&op->md, xattrs, num_xattrs);
	if (rc) {
		create_refuse(op, blob->store, reason, rc, done, arg);
		return;
	}
	blob_op_start(&op->op, blob->store, "blob_clone", create_run, reason, done, arg);
}
