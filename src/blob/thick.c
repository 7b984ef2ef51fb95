/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clusters of thick blobs. Nothing of a former tenant is ever readable: each cluster is zeroed
 * before anything refers to it, in runs as long as they lie side by side.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blob/thick_impl.h"

#define ZERO_RUN_BYTES GIB /* in one request */
#define TAKE_AT_ONCE   65536u
#define PAGES_AT_ONCE  256u

uint32_t thick_slots(uint64_t first, uint64_t count)
{
	return super_slots(first + count) - (uint32_t)(first / BLOBSTORE_SLOT_ENTRIES);
}

static int thick_take(struct thick *thick)
{
	struct blob_store *store = thick->blob->store;

	if (thick->count > store_clusters_free(store))
		return reason_set(thick->reason, -ENOSPC,
			"the store has %llu free clusters and %llu are needed: delete something or "
			"grow the store",
			(unsigned long long)store_clusters_free(store),
			(unsigned long long)thick->count);
	thick->clusters = calloc(thick->count, sizeof(*thick->clusters));
	thick->slot_pages = calloc(thick->num_slots, sizeof(*thick->slot_pages));
	if (!thick->clusters || !thick->slot_pages)
		return -ENOMEM;
	while (thick->taken < thick->count) {
		unsigned wanted = (unsigned)u64_min(thick->count - thick->taken, TAKE_AT_ONCE);
		unsigned got = store_clusters_take(store, wanted, thick->clusters + thick->taken);

		thick->taken += got;
		if (!got)
			return reason_set(thick->reason, -ENOSPC,
				"the store is full: delete something or grow it");
	}
	return 0;
}

/* How many clusters from position on lie side by side. */
static uint64_t thick_run(const struct thick *thick)
{
	uint64_t most = u64_max(ZERO_RUN_BYTES / thick->blob->store->super.cluster_size, 1);
	const uint32_t *first = thick->clusters + thick->position;
	uint64_t run = 1;

	while (run < most && thick->position + run < thick->count && first[run] == first[0] + run)
		run++;
	return run;
}

uint32_t thick_cluster_at(void *arg, uint64_t index)
{
	const struct thick *thick = arg;
	const struct blob_map *map = blob_map(thick->blob);

	if (index >= thick->first)
		return index < thick->first + thick->count ? thick->clusters[index - thick->first]
							   : 0;
	return index < map->num_clusters ? blob_map_get(map, index) : 0;
}

static int thick_add_page(struct thick *thick)
{
	uint32_t slot = thick->first_slot + thick->slot;
	uint32_t entries = extent_page_entries(thick->first + thick->count, slot);
	uint32_t clusters[BLOBSTORE_SLOT_ENTRIES] = {0};
	uint32_t index = store_page_take(thick->blob->store, true);
	void *page;

	--*thick->pages;
	thick->slot_pages[thick->slot] = index;
	page = page_writes_add(&thick->writes, index);
	if (!page)
		return -ENOMEM;
	for (uint32_t i = 0; i < entries; i++)
		clusters[i] = thick_cluster_at(thick, (uint64_t)slot * BLOBSTORE_SLOT_ENTRIES + i);
	extent_page_encode(thick->blob->id, slot, clusters, entries, page);
	thick->slot++;
	return 0;
}

static int thick_add_pages(struct thick *thick)
{
	int rc = 0;

	while (!rc && thick->slot < thick->num_slots && thick->writes.count < PAGES_AT_ONCE)
		rc = thick_add_page(thick);
	return rc;
}

static enum flow_result thick_run_flow(struct flow *f)
{
	struct thick *op = container_of(f, struct thick, flow);

	FLOW_BEGIN(f);
	flow_fail(f, thick_take(op));
	if (flow_failed(f))
		goto finish;
	for (op->position = 0; op->position < op->count; op->position += op->run) {
		op->run = thick_run(op);
		AWAIT(f, store_zero(op->blob->store,
				 super_cluster_offset(
					 &op->blob->store->super, op->clusters[op->position]),
				 op->run * op->blob->store->super.cluster_size, flow_resume, f));
		if (flow_failed(f))
			goto finish;
	}
	while (op->blob->md.uses_table && op->slot < op->num_slots) {
		flow_fail(f, thick_add_pages(op));
		if (flow_failed(f))
			goto finish;
		AWAIT(f, page_writes_run_fresh(&op->writes, flow_resume, f));
		if (flow_failed(f))
			goto finish;
	}
	AWAIT(f, store_flush(op->blob->store, flow_resume, f));
finish:
	page_writes_fini(&op->writes);
	op->done(op->arg, f->error);
	FLOW_END(f);
}

void thick_allocate(struct thick *thick, struct blob *blob, uint64_t first, uint64_t count,
	uint32_t *pages, struct reason *reason, done_fn done, void *arg)
{
	thick->blob = blob;
	thick->first = first;
	thick->count = count;
	thick->first_slot = (uint32_t)(first / BLOBSTORE_SLOT_ENTRIES);
	thick->num_slots = thick_slots(first, count);
	thick->pages = pages;
	thick->reason = reason;
	thick->done = done;
	thick->arg = arg;
	page_writes_init(&thick->writes, blob->store);
	flow_start(&thick->flow, blob->store->engine, "thick_allocate", thick_run_flow);
}

void thick_into_md(const struct thick *thick, struct md *md)
{
	for (uint32_t i = 0; md->uses_table && i < thick->num_slots; i++)
		md->pages[thick->first_slot + i] = thick->slot_pages[i];
}

int thick_prepare_map(const struct thick *thick, struct blob_map *map)
{
	int rc = 0;

	for (uint32_t i = 0; !rc && i < thick->num_slots; i++)
		rc = blob_map_prepare(map, thick->first_slot + i);
	return rc;
}

void thick_into_map(const struct thick *thick, struct blob *blob)
{
	for (uint64_t i = 0; i < thick->count; i++)
		blob_map_set(blob, thick->first + i, thick->clusters[i]);
}

void thick_give_back(struct thick *thick)
{
	struct blob_store *store = thick->blob ? thick->blob->store : NULL;

	for (uint64_t i = 0; i < thick->taken; i++)
		store_clusters_put_back(store, &thick->clusters[i], 1);
	for (uint32_t i = 0; thick->slot_pages && i < thick->num_slots; i++)
		if (thick->slot_pages[i])
			store_page_put_back(store, thick->slot_pages[i]);
	thick->taken = 0;
	thick->num_slots = 0;
}

void thick_fini(struct thick *thick)
{
	free(thick->clusters);
	free(thick->slot_pages);
}
