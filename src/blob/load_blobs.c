/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blobs from the disk into memory: first the pages of all chains, in rounds, the first pages of all
 * in the first round and so on; then all extent pages in one. Each round reads its pages in the
 * order of the disk (pages_read), whosever they are.
 *
 * docs/volumes.md, "Loading". What cannot be read, or makes no sense, makes its blob bad: it is
 * logged and not shown, but what is known of its pages and clusters stays in use, so that nothing
 * is lost that a repair could bring back.
 *
 * The extent table tells how large a blob is. An extent page with too few entries has zeroes there,
 * what is too many is ignored, and such a page is written again with the right number before
 * anybody can allocate one of the clusters that were too many. A thick blob with clusters missing
 * (another writer has died while it was resized) becomes thin.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "blob/store_load_impl.h"

/* A page that is to be read for somebody. */
struct page_want {
	uint32_t index;
	uint32_t slot; /* of an extent page */
	struct loading *loading;
};

struct blobs_op {
	struct flow flow;
	struct load *load;
	struct page_want *wants; /* by index */
	size_t num_wants;
	struct bitmap wanted;
	bool extents;
	done_fn done;
	void *arg;
};

/* ---- one blob ----------------------------------------------------------- */

void loading_refuse(struct loading *loading, const char *fmt, ...)
{
	char why[REASON_MAX];
	va_list args;

	if (loading->bad)
		return;
	loading->bad = true;
	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	log_error("%s: volume %#llx cannot be used, what it occupies stays so: %s",
		store_name(loading->load->store), (unsigned long long)loading->blob->id, why);
}

struct loading *loading_find(const struct load *load, uint64_t id)
{
	size_t low = 0, high = load->num_blobs;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (load->blobs[middle].blob->id == id)
			return &load->blobs[middle];
		if (load->blobs[middle].blob->id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

int loading_write_slot(struct loading *loading, uint32_t slot)
{
	if (!loading->blob->md.uses_table) {
		loading->write_chain = true;
		return 0;
	}
	if (!loading->write_slots.bits &&
		bitmap_init(&loading->write_slots, super_slots(loading->num_clusters)))
		return -ENOMEM;
	bitmap_set(&loading->write_slots, slot);
	return 0;
}

static int loading_keep_page(struct loading *loading, const void *page)
{
	void *copy;

	if (loading->count == loading->room) {
		unsigned room = loading->room ? loading->room * 2 : 1;
		uint32_t *indexes = realloc(loading->indexes, room * sizeof(*indexes));
		void **pages;

		if (!indexes)
			return -ENOMEM;
		loading->indexes = indexes;
		pages = realloc(loading->pages, room * sizeof(*pages));
		if (!pages)
			return -ENOMEM;
		loading->pages = pages;
		loading->room = room;
	}
	copy = malloc(BLOBSTORE_PAGE_BYTES);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, page, BLOBSTORE_PAGE_BYTES);
	loading->indexes[loading->count] = loading->decoder.index;
	loading->pages[loading->count++] = copy;
	return 0;
}

static void loading_free_pages(struct loading *loading)
{
	for (unsigned i = 0; loading->pages && i < loading->count; i++)
		free(loading->pages[i]);
	free(loading->pages);
	loading->pages = NULL;
}

/* A page of the chain, the one at decoder.index. -ENOMEM only. */
static int loading_chain_page(struct loading *loading, const void *page)
{
	struct reason reason = {0};
	int rc;

	if (!page) {
		loading_refuse(loading, "metadata page %u cannot be read", loading->decoder.index);
		return 0;
	}
	rc = loading_keep_page(loading, page);
	if (rc)
		return rc;
	rc = md_decode_page(&loading->decoder, page, &reason);
	if (!rc && loading->decoder.index == BLOBSTORE_NO_PAGE)
		rc = md_decode_end(&loading->decoder, &reason);
	if (rc == -ENOMEM)
		return rc;
	if (rc)
		loading_refuse(loading, "%s", reason_text(&reason, rc));
	return 0;
}

static bool loading_wants_page(const struct loading *loading)
{
	return !loading->bad && loading->decoder.index != BLOBSTORE_NO_PAGE;
}

/* The chain has been read: a map of that size. */
static int loading_make_map(struct loading *loading)
{
	struct blob *blob = loading->blob;
	struct blob_map *map;

	loading->num_clusters = blob->md.num_clusters;
	if (loading->bad)
		loading->num_clusters = loading->decoder.decoded *
					(loading->decoder.has_table ? BLOBSTORE_SLOT_ENTRIES : 1);
	map = blob_map_create(loading->num_clusters);
	if (!map)
		return -ENOMEM;
	blob_map_destroy(blob_map(blob));
	atomic_init(&blob->map, map);
	if (loading->bad)
		return 0;
	return blob_chain_adopt(
		blob, loading->indexes, (const void *const *)loading->pages, loading->count);
}

/* -ENOMEM */
static int loading_set(struct loading *loading, uint64_t index, uint32_t cluster)
{
	const struct super *super = &loading->load->store->super;
	int rc;

	if (!cluster) {
		loading->holes = true;
		return 0;
	}
	if (cluster < super_md_clusters(super) || cluster >= super_clusters(super)) {
		loading_refuse(loading, "its cluster %llu would be at %u, which is outside",
			(unsigned long long)index, cluster);
		return 0;
	}
	rc = blob_map_prepare(blob_map(loading->blob), (uint32_t)(index / BLOBSTORE_SLOT_ENTRIES));
	if (!rc)
		blob_map_set(loading->blob, index, cluster);
	return rc;
}

static int loading_adopt_runs(struct loading *loading)
{
	struct md *md = &loading->blob->md;
	int rc = 0;

	if (md->uses_table || !md->runs) {
		loading->holes |= !md->uses_table && loading->num_clusters;
		return 0;
	}
	for (uint64_t index = 0; !rc && index < loading->num_clusters; index++)
		rc = loading_set(loading, index, md->runs[index]);
	free(md->runs);
	md->runs = NULL;
	return rc;
}

/* -ENOMEM only */
static int loading_extent_page(struct loading *loading, uint32_t slot, const void *page)
{
	uint32_t exact = extent_page_entries(loading->num_clusters, slot);
	uint64_t first = (uint64_t)slot * BLOBSTORE_SLOT_ENTRIES;
	uint32_t index = loading->blob->md.pages[slot];
	uint32_t clusters[BLOBSTORE_SLOT_ENTRIES];
	struct reason reason = {0};
	uint32_t entries;
	int rc;

	if (!page) {
		loading_refuse(loading, "metadata page %u cannot be read", index);
		return 0;
	}
	rc = extent_page_decode(page, slot, clusters, &entries, &reason);
	if (rc) {
		loading_refuse(loading, "metadata page %u: %s", index, reason_text(&reason, rc));
		return 0;
	}
	for (uint32_t i = 0; !rc && i < exact; i++)
		rc = loading_set(loading, first + i, clusters[i]);
	if (rc || loading->bad || entries == exact)
		return rc;
	log_warning("%s: extent page %u of volume %#llx has %u entries and should have %u: it is "
		    "written again",
		store_name(loading->load->store), index, (unsigned long long)loading->blob->id,
		entries, exact);
	return loading_write_slot(loading, slot);
}

bool loading_next_cluster(const struct loading *loading, uint64_t *index)
{
	struct blob_map *map = blob_map(loading->blob);

	while (*index < map->num_clusters) {
		uint64_t slot = *index / BLOBSTORE_SLOT_ENTRIES;

		if (blob_map_get(map, *index))
			return true;
		if (atomic_load_explicit(&map->extents[slot], memory_order_relaxed))
			++*index;
		else
			*index = (slot + 1) * BLOBSTORE_SLOT_ENTRIES;
	}
	return false;
}

/* ---- rounds ------------------------------------------------------------- */

static int want_compare(const void *a, const void *b)
{
	const struct page_want *left = a;
	const struct page_want *right = b;

	return left->index < right->index ? -1 : left->index > right->index;
}

uint32_t loading_slots(const struct loading *loading)
{
	const struct md *md = &loading->blob->md;

	if (!md->uses_table || !md->pages)
		return 0;
	return super_slots(loading->num_clusters);
}

static size_t wants_of(const struct blobs_op *op, struct loading *loading, struct page_want *wants)
{
	const struct md *md = &loading->blob->md;
	size_t count = 0;

	if (!op->extents) {
		if (loading_wants_page(loading) && wants)
			wants[0] = (struct page_want){loading->decoder.index, 0, loading};
		return loading_wants_page(loading);
	}
	for (uint32_t slot = 0; slot < loading_slots(loading); slot++) {
		if (!md->pages[slot]) {
			loading->holes = true;
			continue;
		}
		if (wants)
			wants[count] = (struct page_want){md->pages[slot], slot, loading};
		count++;
	}
	return count;
}

static int round_prepare(struct blobs_op *op)
{
	struct load *load = op->load;
	size_t count = 0;

	free(op->wants);
	bitmap_fini(&op->wanted);
	op->wants = NULL;
	op->wanted = (struct bitmap){0};
	for (size_t i = 0; i < load->num_blobs; i++)
		count += wants_of(op, &load->blobs[i], NULL);
	op->num_wants = count;
	if (!count)
		return 0;
	op->wants = calloc(count, sizeof(*op->wants));
	if (!op->wants || bitmap_init(&op->wanted, load->store->super.md_len))
		return -ENOMEM;
	count = 0;
	for (size_t i = 0; i < load->num_blobs; i++)
		count += wants_of(op, &load->blobs[i], op->wants + count);
	qsort(op->wants, count, sizeof(*op->wants), want_compare);
	for (size_t i = 0; i < count; i++)
		bitmap_set(&op->wanted, op->wants[i].index);
	return 0;
}

static size_t wants_first(const struct blobs_op *op, uint32_t index)
{
	size_t low = 0, high = op->num_wants;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (op->wants[middle].index < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int round_seen(void *arg, uint32_t index, const void *page)
{
	struct blobs_op *op = arg;
	int rc = 0;

	for (size_t i = wants_first(op, index);
		!rc && i < op->num_wants && op->wants[i].index == index; i++) {
		struct page_want *want = &op->wants[i];

		rc = op->extents ? loading_extent_page(want->loading, want->slot, page)
				 : loading_chain_page(want->loading, page);
	}
	return rc;
}

/* ---- all ---------------------------------------------------------------- */

static int blobs_begin(struct load *load)
{
	struct blob_store *store = load->store;
	size_t i = 0;

	load->blobs = calloc(store->used_blobids.count + 1, sizeof(*load->blobs));
	if (!load->blobs)
		return -ENOMEM;
	for (uint32_t root = 0; root < store->used_blobids.bits &&
				(root = bitmap_find_set(&store->used_blobids, root)) != BITMAP_NONE;
		root++, i++) {
		struct loading *loading = &load->blobs[i];

		loading->load = load;
		loading->blob = blob_alloc(store, BLOBSTORE_ID_BIT | root);
		if (!loading->blob)
			return -ENOMEM;
		load->num_blobs++;
		md_decode_begin(&loading->decoder, &loading->blob->md, store->super.md_len);
	}
	return 0;
}

static int blobs_make_maps(struct load *load)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < load->num_blobs; i++) {
		struct loading *loading = &load->blobs[i];

		rc = loading_make_map(loading);
		loading_free_pages(loading);
		if (!rc)
			rc = loading_adopt_runs(loading);
	}
	return rc;
}

static enum flow_result blobs_run(struct flow *f)
{
	struct blobs_op *op = container_of(f, struct blobs_op, flow);

	FLOW_BEGIN(f);
	flow_fail(f, blobs_begin(op->load));
	if (!flow_failed(f))
		flow_fail(f, round_prepare(op));
	while (!flow_failed(f) && op->num_wants) {
		AWAIT(f, pages_read(op->load->store, &op->wanted, round_seen, op, flow_resume, f));
		if (!flow_failed(f))
			flow_fail(f, round_prepare(op));
	}
	if (flow_failed(f))
		goto finish;
	flow_fail(f, blobs_make_maps(op->load));
	if (flow_failed(f))
		goto finish;
	op->extents = true;
	flow_fail(f, round_prepare(op));
	if (flow_failed(f) || !op->num_wants)
		goto finish;
	AWAIT(f, pages_read(op->load->store, &op->wanted, round_seen, op, flow_resume, f));
finish:
	free(op->wants);
	bitmap_fini(&op->wanted);
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void load_blobs(struct load *load, done_fn done, void *arg)
{
	struct blobs_op *op = alloc_op(sizeof(*op));

	op->load = load;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, load->store->engine, "load_blobs", blobs_run);
}

/* Those that joined the store's list are the store's. */
void load_blobs_free(struct load *load)
{
	for (size_t i = 0; i < load->num_blobs; i++) {
		struct loading *loading = &load->blobs[i];

		loading_free_pages(loading);
		free(loading->indexes);
		bitmap_fini(&loading->write_slots);
		if (list_is_empty(&loading->blob->link))
			blob_free(loading->blob);
	}
	free(load->blobs);
	load->blobs = NULL;
	load->num_blobs = 0;
}
