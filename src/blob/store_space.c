/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is free: clusters and metadata pages.
 *
 * Both are searched from where the last search ended, so that a search is short however full the
 * store is, and what is taken one after the other lies together. Page 0 never becomes an extent
 * page, since 0 in an extent table means none; it is counted as free, but nobody is promised it.
 * Pages are handed out only where a recovery looks (store_ahead_*).
 *
 * What metadata no longer refers to is in a release until it may be used again: a flush makes the
 * metadata stable, clusters are cleared, neighbours together, and then they are free. A power cut
 * before that finds them referred to by nothing, which is free as well. When the flush fails the
 * old metadata may still be what is on the disk: they stay in use until the next load, a recovery.
 * When clearing fails they become free all the same, since nobody relies on what a free cluster
 * holds.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "blob/store_impl.h"

#define CLEARS_MAX 16u

static void publish_clusters(struct blob_store *store)
{
	atomic_store_explicit(
		&store->free_clusters, store_clusters_free(store), memory_order_relaxed);
	store_water_changed(store);
}

static void publish_pages(struct blob_store *store)
{
	atomic_store_explicit(&store->free_pages, store->used_pages.bits - store->used_pages.count,
		memory_order_relaxed);
	store_water_changed(store);
}

void store_space_publish(struct blob_store *store)
{
	publish_clusters(store);
	publish_pages(store);
}

/* ---- low water ---------------------------------------------------------- */

struct water_event {
	struct message message;
	struct blob_store *store;
	enum blob_store_space space;
};

/* Control. The store is there: what closes it was sent later. */
static void water_told(struct message *message)
{
	struct water_event *event = container_of(message, struct water_event, message);
	struct blob_store *store = event->store;

	if (store->opened && store->user.space)
		store->user.space(store->user.arg, event->space);
	free(event);
}

/* What is worse is left only when it is better by half of the mark, so that a store at one of its
 * marks does not tell both in turns. */
static enum blob_store_space water_level(
	enum blob_store_space was, uint64_t unused, uint64_t needed, uint64_t mark)
{
	if (unused < needed || (was == BLOB_STORE_FULL && unused <= mark / 2))
		return BLOB_STORE_FULL;
	if (unused < (was == BLOB_STORE_PLENTY ? mark : mark + mark / 2))
		return BLOB_STORE_LOW;
	return BLOB_STORE_PLENTY;
}

static uint64_t water_mark(const struct blob_store *store, const struct bitmap *of)
{
	return (uint64_t)of->bits *
	       atomic_load_explicit(&store->low_water_percent, memory_order_relaxed) / 100;
}

static enum blob_store_space water_look_at_clusters(struct blob_store *store)
{
	uint64_t unused = store_clusters_free(store) +
			  atomic_load_explicit(&store->reserved_clusters, memory_order_relaxed);

	store->cluster_space = water_level(
		store->cluster_space, unused, 1, water_mark(store, &store->used_clusters));
	return store->cluster_space;
}

/* A first write needs several pages or none: some may be left when it finds too few. */
static enum blob_store_space water_look_at_pages(struct blob_store *store)
{
	enum blob_store_space was = (enum blob_store_space)atomic_load_explicit(
		&store->page_space, memory_order_relaxed);
	uint32_t unused = store_pages_left(store);
	enum blob_store_space space;

	if (unused >= store->pages_lacked)
		store->pages_lacked = 0;
	space = water_level(
		was, unused, store->pages_lacked, water_mark(store, &store->used_pages));
	atomic_store_explicit(&store->page_space, space, memory_order_relaxed);
	return space;
}

/* At the end of a turn: while clusters go into a reserve they are neither here nor there. */
static void water_check(struct deferred *deferred)
{
	struct blob_store *store = container_of(deferred, struct blob_store, water_check);
	enum blob_store_space clusters = water_look_at_clusters(store);
	enum blob_store_space pages = water_look_at_pages(store);
	enum blob_store_space space = clusters > pages ? clusters : pages;
	struct water_event *event;

	if (space == store->space)
		return;
	store->space = space;
	event = alloc_op(sizeof(*event));
	event->store = store;
	event->space = space;
	event->message.run = water_told;
	reactor_send(store->control, &event->message);
}

void store_water_changed(struct blob_store *store)
{
	reactor_defer(store->engine, DEFER_PUBLISH, &store->water_check);
}

static void water_mark_arrived(struct message *message)
{
	struct water_event *event = container_of(message, struct water_event, message);

	store_water_changed(event->store);
	free(event);
}

void blob_store_set_low_water(struct blob_store *store, unsigned percent)
{
	struct water_event *event = alloc_op(sizeof(*event));

	atomic_store_explicit(&store->low_water_percent, percent, memory_order_relaxed);
	event->store = store;
	event->message.run = water_mark_arrived;
	reactor_send(store->engine, &event->message);
}

void store_space_init(struct blob_store *store)
{
	list_init(&store->releases);
	store->water_check.run = water_check;
	store->low_water_percent = BLOB_STORE_LOW_WATER_PERCENT;
}

/* ---- pages -------------------------------------------------------------- */

uint32_t store_pages_left(const struct blob_store *store)
{
	uint32_t unused = store->used_pages.bits - store->used_pages.count -
			  !bitmap_test(&store->used_pages, 0);

	return unused - store->pages_promised;
}

void store_pages_lack(struct blob_store *store, uint32_t pages)
{
	store->pages_lacked = pages;
	store_water_changed(store);
}

static uint32_t page_find(const struct blob_store *store, uint32_t from, bool for_extents)
{
	if (for_extents && from == 0)
		from = 1;
	while (from < store->used_pages.bits) {
		uint32_t index = bitmap_find_clear(&store->used_pages, from);

		if (index == BITMAP_NONE)
			break;
		from = store_ahead_find(store, index);
		if (from == index)
			return index;
	}
	return BITMAP_NONE;
}

uint32_t store_page_take(struct blob_store *store, bool for_extents)
{
	uint32_t index;

	invariant(store->pages_promised > 0);
	index = page_find(store, store->page_hint, for_extents);
	if (index == BITMAP_NONE)
		index = page_find(store, 0, for_extents);
	invariant(index != BITMAP_NONE);
	store->pages_promised--;
	store->page_hint = index + 1;
	bitmap_set(&store->used_pages, index);
	store_ahead_taken(store, index);
	publish_pages(store);
	return index;
}

static void page_free(struct blob_store *store, uint32_t index)
{
	if (!bitmap_clear(&store->used_pages, index))
		return;
	store_ahead_freed(store, index);
	publish_pages(store);
}

void store_page_put_back(struct blob_store *store, uint32_t index)
{
	page_free(store, index);
}

/* ---- clusters ----------------------------------------------------------- */

uint64_t store_clusters_free(const struct blob_store *store)
{
	return store->used_clusters.bits - store->used_clusters.count;
}

static unsigned clusters_take_from(
	struct blob_store *store, uint32_t from, unsigned count, uint32_t *ret_clusters)
{
	unsigned taken = 0;

	while (taken < count && from < store->used_clusters.bits) {
		uint32_t cluster = bitmap_find_clear(&store->used_clusters, from);

		if (cluster == BITMAP_NONE)
			break;
		bitmap_set(&store->used_clusters, cluster);
		ret_clusters[taken++] = cluster;
		from = cluster + 1;
	}
	return taken;
}

/* Around the end it does not go in one call: they would not be in order. */
unsigned store_clusters_take(struct blob_store *store, unsigned count, uint32_t *ret_clusters)
{
	unsigned taken = clusters_take_from(store, store->cluster_hint, count, ret_clusters);

	if (!taken)
		taken = clusters_take_from(store, 0, count, ret_clusters);
	if (taken)
		store->cluster_hint = ret_clusters[taken - 1] + 1;
	publish_clusters(store);
	return taken;
}

static void clusters_free(struct blob_store *store, const uint32_t *clusters, size_t count)
{
	for (size_t i = 0; i < count; i++)
		bitmap_clear(&store->used_clusters, clusters[i]);
	publish_clusters(store);
}

void store_clusters_put_back(struct blob_store *store, const uint32_t *clusters, unsigned count)
{
	clusters_free(store, clusters, count);
}

/* ---- releases ----------------------------------------------------------- */

struct index_list {
	uint32_t *indexes;
	size_t count;
	size_t room;
};

struct store_release {
	struct flow flow;
	struct list link; /* store's releases */
	struct blob_store *store;
	enum blobstore_clear_method method;
	struct index_list clusters;
	struct index_list pages;
	size_t next; /* cluster to be cleared */
	unsigned clearing;
	int clear_rc;
};

struct store_release *store_release_create(
	struct blob_store *store, enum blobstore_clear_method method)
{
	struct store_release *release = alloc_op(sizeof(*release));

	release->store = store;
	release->method = method;
	list_init(&release->link);
	return release;
}

static void release_free(struct store_release *release)
{
	free(release->clusters.indexes);
	free(release->pages.indexes);
	free(release);
}

void store_release_drop(struct store_release *release)
{
	if (release)
		release_free(release);
}

/* Without memory they stay in use until the store is loaded again. */
static void index_add(struct store_release *release, struct index_list *list, uint32_t index)
{
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 16;
		uint32_t *more = realloc(list->indexes, room * sizeof(*more));

		if (!more) {
			log_error("out of memory: space of the volume store at %u is free only "
				  "after its next recovery",
				index);
			release->store->leaks = true;
			return;
		}
		list->indexes = more;
		list->room = room;
	}
	list->indexes[list->count++] = index;
}

void store_release_cluster(struct store_release *release, uint32_t cluster)
{
	index_add(release, &release->clusters, cluster);
}

void store_release_page(struct store_release *release, uint32_t index)
{
	index_add(release, &release->pages, index);
}

static int index_compare(const void *a, const void *b);

static void index_sort(struct index_list *list)
{
	qsort(list->indexes, list->count, sizeof(uint32_t), index_compare);
}

static int index_compare(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a;
	uint32_t right = *(const uint32_t *)b;

	return left < right ? -1 : left > right;
}

static void release_clear(struct store_release *release);

static void release_cleared(void *arg, int rc)
{
	struct store_release *release = arg;

	release->clearing--;
	if (rc && !release->clear_rc)
		release->clear_rc = rc;
	release_clear(release);
}

/* Runs of neighbours, several at a time. */
static void release_clear(struct store_release *release)
{
	const struct index_list *list = &release->clusters;
	struct blob_store *store = release->store;

	while (release->next < list->count && release->clearing < CLEARS_MAX) {
		size_t end = release->next + 1;
		uint32_t first = list->indexes[release->next];

		while (end < list->count && list->indexes[end] == list->indexes[end - 1] + 1)
			end++;
		release->clearing++;
		store_clear(store, super_cluster_offset(&store->super, first),
			(end - release->next) * store->super.cluster_size, release->method,
			release_cleared, release);
		release->next = end;
	}
	if (!release->clearing)
		flow_resume(&release->flow, release->clear_rc);
}

static void release_finish(struct store_release *release)
{
	struct blob_store *store = release->store;

	list_remove(&release->link);
	release_free(release);
	store_refills_serve(store);
	if (store->releases_done && list_is_empty(&store->releases)) {
		done_fn done = store->releases_done;

		store->releases_done = NULL;
		store_answer(store, 0, done, store->releases_arg);
	}
}

static void release_tell(const struct store_release *release, int rc, const char *what)
{
	if (rc != -ENODEV) /* a device that is gone has told so itself */
		log_warning("%s: %s: %s", store_name(release->store), what, strerror(-rc));
}

static void release_pages(struct store_release *release)
{
	for (size_t i = 0; i < release->pages.count; i++)
		page_free(release->store, release->pages.indexes[i]);
}

static void release_clusters(struct store_release *release)
{
	clusters_free(release->store, release->clusters.indexes, release->clusters.count);
}

static enum flow_result release_run(struct flow *f)
{
	struct store_release *release = container_of(f, struct store_release, flow);

	FLOW_BEGIN(f);
	AWAIT(f, store_flush(release->store, flow_resume, f));
	if (flow_failed(f)) {
		release->store->leaks = true;
		release_tell(release, f->rc,
			"space that was given up stays in use until the "
			"store is loaded again");
		goto finish;
	}
	release_pages(release);
	if (!release->clusters.count)
		goto finish;
	index_sort(&release->clusters);
	AWAIT(f, release_clear(release));
	if (flow_failed(f))
		release_tell(release, f->rc, "clusters that are free now were not cleared");
	release_clusters(release);
finish:
	release_finish(release);
	FLOW_END(f);
}

void store_release_start(struct store_release *release)
{
	struct blob_store *store = release->store;

	if (!release->clusters.count && !release->pages.count) {
		release_free(release);
		return;
	}
	list_add_tail(&store->releases, &release->link);
	flow_start(&release->flow, store->engine, "store_release", release_run);
}

void store_releases_wait(struct blob_store *store, done_fn done, void *arg)
{
	if (list_is_empty(&store->releases)) {
		store_answer(store, 0, done, arg);
		return;
	}
	invariant(!store->releases_done);
	store->releases_done = done;
	store->releases_arg = arg;
}
