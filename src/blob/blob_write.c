/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A blob's chain of pages onto the disk. docs/volumes.md, "Chains".
 *
 * One write of one page decides. Of the pages that the new metadata encodes to, those are found
 * that differ from what is on the disk (their descriptors are remembered by two checksums):
 *  - none: nothing is written
 *  - one, in a chain as long as before: it is rewritten in place. Since every slot of a blob has an
 *    entry of its own in the extent table, this is what a new extent page costs
 *  - more: pages 1 up to the last that differs take fresh indexes, those behind it stay where they
 *    are; fresh pages are written and flushed, then the root, in place
 *  - more, and the caller says that each entry stands for itself (first writes in several parts of
 *    a large volume: entries of the extent table that were empty): all of them are rewritten in
 *    place. Only where the chain on the disk is as we encode it, so that no entry moves from one
 *    page to another (blob->chain_is_ours)
 *
 * Crash table of the third:
 *	before the root is written	the old chain; fresh pages are referred to by nothing
 *	after				the new chain; the old pages likewise
 * Pages that are referred to by nothing are free at the next load. They are not zeroed: as they are
 * no roots nobody takes them for anything.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "blob/store_impl.h"

#define FNV_PRIME UINT64_C(0x100000001b3)
#define FNV_BASIS UINT64_C(0xcbf29ce484222325)

int md_copy(struct md *to, const struct md *from)
{
	int rc;

	md_init(to, from->id);
	to->invalid_flags = from->invalid_flags;
	to->data_ro_flags = from->data_ro_flags;
	to->md_ro_flags = from->md_ro_flags;
	to->uses_table = from->uses_table;
	rc = md_resize(to, from->num_clusters);
	if (!rc)
		rc = md_xattrs_copy(&to->xattrs, &from->xattrs);
	if (!rc)
		rc = md_xattrs_copy(&to->internal_xattrs, &from->internal_xattrs);
	if (rc) {
		md_fini(to);
		return rc;
	}
	if (from->uses_table && from->num_slots)
		memcpy(to->pages, from->pages, from->num_slots * sizeof(*to->pages));
	return 0;
}

/* A copied list head: its entries point to where it was. */
static void list_relink(struct list *head, const struct list *was)
{
	if (head->next == was)
		list_init(head);
	head->next->prev = head;
	head->prev->next = head;
}

/* from is empty afterwards. */
static void md_move(struct md *to, struct md *from)
{
	*to = *from;
	list_relink(&to->xattrs, &from->xattrs);
	list_relink(&to->internal_xattrs, &from->internal_xattrs);
	md_init(from, to->id);
}

/* ---- what is on the disk ------------------------------------------------ */

static void mark_page(struct page_mark *mark, uint32_t index, const struct blobstore_page *page)
{
	uint64_t hash = FNV_BASIS;
	uint64_t word;

	for (size_t i = 0; i < BLOBSTORE_DESCRIPTOR_AREA; i += sizeof(word)) {
		memcpy(&word, page->descriptors + i, sizeof(word));
		hash = (hash ^ word) * FNV_PRIME;
		hash ^= hash >> 29;
	}
	mark->index = index;
	mark->crc = crc32c(page->descriptors, BLOBSTORE_DESCRIPTOR_AREA);
	mark->hash = hash;
	mark->known = true;
}

static bool mark_is_of(const struct page_mark *a, const struct page_mark *b)
{
	return a->known && b->known && a->crc == b->crc && a->hash == b->hash;
}

int blob_chain_adopt(
	struct blob *blob, const uint32_t *indexes, const void *const *pages, unsigned count)
{
	struct page_mark *chain = calloc(count, sizeof(*chain));

	if (!chain)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++)
		mark_page(&chain[i], indexes[i], pages[i]);
	free(blob->chain);
	blob->chain = chain;
	blob->chain_length = count;
	return 0;
}

void blob_chain_release(struct blob *blob, struct store_release *release)
{
	for (unsigned i = 0; i < blob->chain_length; i++)
		store_release_page(release, blob->chain[i].index);
}

static uint64_t xattrs_bytes(const struct list *xattrs)
{
	const struct xattr *xattr;
	uint64_t bytes = 0;

	list_for_each_entry (xattr, xattrs, link)
		bytes += 9 + (uint64_t)xattr->name_length + xattr->value_length;
	return bytes;
}

uint32_t blob_chain_pages_max(const struct md *md)
{
	uint64_t entries = md->uses_table ? md->num_slots : md->num_clusters;
	uint64_t pages = entries * 8 / (BLOBSTORE_DESCRIPTOR_AREA - 24) + 2;

	/* What begins a page did not fit in the one before: two hold more than one's worth. */
	pages += 2 * (xattrs_bytes(&md->xattrs) + xattrs_bytes(&md->internal_xattrs)) /
		 BLOBSTORE_DESCRIPTOR_AREA;
	return (uint32_t)u64_min(pages, UINT32_MAX);
}

/* ---- writing ------------------------------------------------------------ */

struct chain_op {
	struct flow flow;
	struct blob *blob;
	struct md_image image;
	struct page_mark *marks; /* of the new chain */
	bool *differs; /* by page */
	unsigned first; /* pages that differ */
	unsigned last;
	bool independent; /* each by itself */
	bool in_place;
	struct page_writes writes;
	uint32_t *pages;
	bool stable;
	int plan_rc;
	done_fn done;
	void *arg;
};

static uint32_t cluster_of_map(void *arg, uint64_t index)
{
	const struct blob_map *map = arg;

	return index < map->num_clusters ? blob_map_get(map, index) : 0;
}

/* Which pages differ, and how they are written. first > last: none. */
static void chain_compare(struct chain_op *op)
{
	const struct blob *blob = op->blob;
	unsigned count = op->image.num_pages;

	op->first = count;
	op->last = 0;
	for (unsigned i = 0; i < count; i++) {
		mark_page(&op->marks[i], 0, &op->image.pages[i]);
		op->differs[i] =
			i >= blob->chain_length || !mark_is_of(&op->marks[i], &blob->chain[i]);
		if (!op->differs[i])
			continue;
		op->first = op->first < i ? op->first : i;
		op->last = i;
	}
	op->in_place = count == blob->chain_length;
	if (!op->in_place) {
		op->first = 0;
		op->last = count - 1; /* another length: the links differ */
	} else if (op->first < op->last) {
		op->in_place = op->independent && blob->chain_is_ours;
	}
}

static void chain_place(struct chain_op *op)
{
	const struct blob *blob = op->blob;
	unsigned count = op->image.num_pages;

	op->marks[0].index = blob_root_index(blob);
	for (unsigned i = 1; i < count; i++) {
		bool fresh = !op->in_place && i <= op->last;

		if (fresh) {
			invariant(*op->pages > 0);
			--*op->pages;
			op->marks[i].index = store_page_take(blob->store, false);
		} else {
			op->marks[i].index = blob->chain[i].index;
		}
	}
}

static int chain_link(struct chain_op *op)
{
	uint32_t *indexes = calloc(op->image.num_pages, sizeof(*indexes));

	if (!indexes)
		return -ENOMEM;
	for (unsigned i = 0; i < op->image.num_pages; i++)
		indexes[i] = op->marks[i].index;
	md_image_link(&op->image, op->blob->id, indexes);
	free(indexes);
	return 0;
}

static int chain_plan(
	struct chain_op *op, const struct md *md, md_cluster_at cluster_at, void *cluster_arg)
{
	int rc = md_encode(md, cluster_at ? cluster_at : cluster_of_map,
		cluster_at ? cluster_arg : blob_map(op->blob), &op->image);

	if (rc)
		return rc;
	op->marks = calloc(op->image.num_pages, sizeof(*op->marks));
	op->differs = calloc(op->image.num_pages, sizeof(*op->differs));
	if (!op->marks || !op->differs)
		return -ENOMEM;
	chain_compare(op);
	if (op->first > op->last)
		return 0;
	if (!op->in_place && op->last > *op->pages)
		return -ENOSPC; /* pages_max promised too few: ours */
	chain_place(op);
	return chain_link(op);
}

static int chain_add(struct chain_op *op, unsigned first, unsigned last)
{
	for (unsigned i = first; i <= last; i++) {
		void *page;

		if (op->in_place && !op->differs[i])
			continue;
		page = page_writes_add(&op->writes, op->marks[i].index);
		if (!page)
			return -ENOMEM;
		memcpy(page, &op->image.pages[i], BLOBSTORE_PAGE_BYTES);
	}
	return 0;
}

/* What decides: in place all that differs, else the root. */
static int chain_add_deciding(struct chain_op *op)
{
	return op->in_place ? chain_add(op, op->first, op->last) : chain_add(op, 0, 0);
}

/* Nothing that is on the disk refers to the fresh pages. */
static void chain_put_back(struct chain_op *op)
{
	if (op->in_place)
		return;
	for (unsigned i = 1; i <= op->last; i++) {
		store_page_put_back(op->blob->store, op->marks[i].index);
		++*op->pages;
	}
}

/* It may be on the disk, or not: fresh pages stay taken until the next load, and what decided is
 * written again by whoever writes next. */
static void chain_forget(struct chain_op *op)
{
	struct blob *blob = op->blob;

	blob->chain_is_ours = false;
	for (unsigned i = 0; i < blob->chain_length && i < op->image.num_pages; i++)
		if (op->in_place ? op->differs[i] : i == 0)
			blob->chain[i].known = false;
}

/* The new chain is what is on the disk; the pages it replaced go. */
static void chain_adopt(struct chain_op *op)
{
	struct blob *blob = op->blob;

	if (!op->in_place && blob->chain_length > 1) {
		struct store_release *release =
			store_release_create(blob->store, BLOBSTORE_CLEAR_NONE);

		for (unsigned i = 1; i < blob->chain_length; i++)
			if (i <= op->last || i >= op->image.num_pages)
				store_release_page(release, blob->chain[i].index);
		store_release_start(release);
	}
	free(blob->chain);
	blob->chain = op->marks;
	blob->chain_length = op->image.num_pages;
	blob->chain_is_ours = true;
	op->marks = NULL;
}

static enum flow_result chain_run(struct flow *f)
{
	struct chain_op *op = container_of(f, struct chain_op, flow);

	FLOW_BEGIN(f);
	if (op->plan_rc) {
		flow_fail(f, op->plan_rc);
		goto finish;
	}
	if (op->first > op->last)
		goto flush;
	if (!op->in_place && op->last > 0) {
		flow_fail(f, chain_add(op, 1, op->last));
		if (flow_failed(f))
			goto put_back;
		AWAIT(f, page_writes_run(&op->writes, flow_resume, f));
		if (flow_failed(f))
			goto put_back;
		AWAIT(f, store_flush(op->blob->store, flow_resume, f));
		if (flow_failed(f))
			goto put_back;
	}
	flow_fail(f, chain_add_deciding(op));
	if (flow_failed(f))
		goto put_back;
	AWAIT(f, page_writes_run(&op->writes, flow_resume, f));
	if (flow_failed(f))
		goto forget;
flush:
	if (op->stable)
		AWAIT(f, store_flush(op->blob->store, flow_resume, f));
	if (flow_failed(f))
		goto forget;
	if (op->first <= op->last)
		chain_adopt(op);
	goto finish;

put_back:
	chain_put_back(op);
	goto finish;
forget:
	chain_forget(op);
finish:
	op->done(op->arg, f->error);
	page_writes_fini(&op->writes);
	md_image_fini(&op->image);
	free(op->differs);
	free(op->marks);
	free(op);
	FLOW_END(f);
}

static void blob_write_chain(struct blob *blob, const struct md *md, md_cluster_at cluster_at,
	void *cluster_arg, uint32_t *pages, bool stable, done_fn done, void *arg)
{
	struct chain_op *op = alloc_op(sizeof(*op));

	op->blob = blob;
	op->independent = !stable && md->uses_table;
	op->pages = pages;
	op->stable = stable;
	op->done = done;
	op->arg = arg;
	page_writes_init(&op->writes, blob->store);
	op->plan_rc = chain_plan(op, md, cluster_at, cluster_arg);
	flow_start(&op->flow, blob->store->engine, "blob_write_chain", chain_run);
}

/* ---- a blob's metadata changes ------------------------------------------ */

struct update_op {
	struct flow flow;
	struct blob *blob;
	struct md md;
	md_cluster_at cluster_at;
	void *cluster_arg;
	uint32_t *pages;
	bool stable;
	done_fn done;
	void *arg;
};

static void update_adopt(struct update_op *op)
{
	struct blob *blob = op->blob;

	md_fini(&blob->md);
	md_move(&blob->md, &op->md);
	blob_refresh(blob);
}

static enum flow_result update_run(struct flow *f)
{
	struct update_op *op = container_of(f, struct update_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, blob_write_chain(op->blob, &op->md, op->cluster_at, op->cluster_arg, op->pages,
			 op->stable, flow_resume, f));
	if (!flow_failed(f)) {
		update_adopt(op);
		goto finish;
	}
	if (!op->blob->chain)
		goto finish; /* a new blob: who makes it undoes it */
	AWAIT(f, blob_write_chain(
			 op->blob, &op->blob->md, NULL, NULL, op->pages, true, flow_resume, f));
	if (flow_failed(f))
		blob_set_broken(op->blob, "writing its metadata", f->error);
finish:
	op->done(op->arg, f->error);
	md_fini(&op->md);
	free(op);
	FLOW_END(f);
}

void blob_update(struct blob *blob, struct md *md, md_cluster_at cluster_at, void *cluster_arg,
	uint32_t *pages, bool stable, done_fn done, void *arg)
{
	struct update_op *op = alloc_op(sizeof(*op));

	op->blob = blob;
	md_move(&op->md, md);
	op->cluster_at = cluster_at;
	op->cluster_arg = cluster_arg;
	op->pages = pages;
	op->stable = stable;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, blob->store->engine, "blob_update", update_run);
}

/* ---- no root ------------------------------------------------------------ */

struct no_root_op {
	struct flow flow;
	struct blob *blob;
	struct page_writes writes;
	done_fn done;
	void *arg;
};

static enum flow_result no_root_run(struct flow *f)
{
	struct no_root_op *op = container_of(f, struct no_root_op, flow);

	FLOW_BEGIN(f);
	if (!page_writes_add(&op->writes, blob_root_index(op->blob))) {
		flow_fail(f, -ENOMEM);
		goto finish;
	}
	AWAIT(f, page_writes_run(&op->writes, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, store_flush(op->blob->store, flow_resume, f));
finish:
	if (f->error && op->blob->chain_length)
		op->blob->chain[0].known = false;
	op->done(op->arg, f->error);
	page_writes_fini(&op->writes);
	free(op);
	FLOW_END(f);
}

void blob_write_no_root(struct blob *blob, done_fn done, void *arg)
{
	struct no_root_op *op = alloc_op(sizeof(*op));

	op->blob = blob;
	op->done = done;
	op->arg = arg;
	page_writes_init(&op->writes, blob->store);
	flow_start(&op->flow, blob->store->engine, "blob_write_no_root", no_root_run);
}
