/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What load_links.c has decided onto the disk, blob by blob, before anybody else may allocate:
 *
 *	gone		root zeroed; its pages and clusters that are nobody else's are released
 *	slots		extent pages rewritten in place: with the right number of entries, or
 *			without clusters that are the ancestor's
 *	chain		no mark of an unfinished operation, read-only, thin
 *
 * Crash table: each write is of one page and leaves a blob that the next load decides the same way
 * about, since what decided (whom the partner points to) is not written here. A snapshot loses its
 * mark in the same write that makes it read-only.
 *
 * A write that fails ends the load: what is not repaired must not be used.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "blob/store_load_impl.h"

struct repair_op {
	struct flow flow;
	struct load *load;
	size_t next;
	struct loading *loading;
	uint32_t pages;
	struct md md;
	struct page_writes writes;
	done_fn done;
	void *arg;
};

static int repair_add_slots(struct repair_op *op)
{
	struct blob *blob = op->loading->blob;
	const struct bitmap *slots = &op->loading->write_slots;
	uint32_t clusters[BLOBSTORE_SLOT_ENTRIES];

	for (uint32_t slot = 0;
		slot < slots->bits && (slot = bitmap_find_set(slots, slot)) != BITMAP_NONE;
		slot++) {
		void *page = page_writes_add(&op->writes, blob->md.pages[slot]);

		if (!page)
			return -ENOMEM;
		blob_map_copy_slot(blob_map(blob), slot, clusters);
		extent_page_encode(blob->id, slot, clusters,
			extent_page_entries(blob->md.num_clusters, slot), page);
	}
	return 0;
}

static bool repair_is_needed(const struct loading *loading)
{
	return !loading->bad &&
	       (loading->gone || loading->write_chain || loading->write_slots.count);
}

/* What nobody else has. */
static void repair_release(struct repair_op *op)
{
	struct load *load = op->load;
	const struct loading *loading = op->loading;
	struct store_release *release = store_release_create(
		load->store, loading->blob->md.md_ro_flags & BLOBSTORE_CLEAR_MASK);
	uint64_t index = 0;

	for (unsigned i = 0; i < loading->count; i++)
		if (bitmap_set(&load->pages, loading->indexes[i]))
			store_release_page(release, loading->indexes[i]);
	for (uint32_t slot = 0; slot < loading_slots(loading); slot++) {
		uint32_t page = loading->blob->md.pages[slot];

		if (page && bitmap_set(&load->pages, page))
			store_release_page(release, page);
	}
	for (; loading_next_cluster(loading, &index); index++) {
		uint32_t cluster = blob_map_get(blob_map(loading->blob), index);

		if (bitmap_set(&load->clusters, cluster))
			store_release_cluster(release, cluster);
	}
	bitmap_clear(&load->store->used_blobids, blob_root_index(loading->blob));
	store_release_start(release);
}

static enum flow_result repair_run(struct flow *f)
{
	struct repair_op *op = container_of(f, struct repair_op, flow);

	FLOW_BEGIN(f);
	for (; op->next < op->load->num_blobs; op->next++) {
		op->loading = &op->load->blobs[op->next];
		if (!repair_is_needed(op->loading))
			continue;
		op->pages = op->loading->write_chain && !op->loading->gone
				    ? blob_chain_pages_max(&op->loading->blob->md)
				    : 0;
		AWAIT(f, store_begin_change(
				 op->load->store, op->pages, op->load->reason, flow_resume, f));
		if (flow_failed(f))
			goto finish;
		if (op->loading->gone) {
			AWAIT(f, blob_write_no_root(op->loading->blob, flow_resume, f));
			if (flow_failed(f))
				goto end_change;
			repair_release(op);
			continue;
		}
		if (op->loading->write_slots.count) {
			flow_fail(f, repair_add_slots(op));
			if (flow_failed(f))
				goto end_change;
			AWAIT(f, page_writes_run(&op->writes, flow_resume, f));
			if (flow_failed(f))
				goto end_change;
			AWAIT(f, store_flush(op->load->store, flow_resume, f));
			if (flow_failed(f))
				goto end_change;
		}
		if (op->loading->write_chain) {
			flow_fail(f, md_copy(&op->md, &op->loading->blob->md));
			if (flow_failed(f))
				goto end_change;
			AWAIT(f, blob_update(op->loading->blob, &op->md, NULL, NULL, &op->pages,
					 true, flow_resume, f));
			if (flow_failed(f))
				goto end_change;
		}
		store_end_change(op->load->store, op->pages);
	}
	goto finish;

end_change:
	store_end_change(op->load->store, op->pages);
	reason_set(op->load->reason, f->error,
		"the store on %s was not closed, and what was under way cannot be finished: %s",
		store_name(op->load->store), strerror(-f->error));
finish:
	page_writes_fini(&op->writes);
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void load_repair(struct load *load, done_fn done, void *arg)
{
	struct repair_op *op = alloc_op(sizeof(*op));

	op->load = load;
	op->done = done;
	op->arg = arg;
	page_writes_init(&op->writes, load->store);
	flow_start(&op->flow, load->store->engine, "load_repair", repair_run);
}
