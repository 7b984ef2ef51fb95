/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A blob in memory: its map, and what control sees of it.
 *
 * The map has one pointer for each slot of 512 clusters, as the extent table on the disk has one
 * page; a slot without clusters has no extent, so that memory follows what is used. Data reactors
 * read it at any time: an extent is filled before its pointer appears (release), and entries are
 * single stores. An extent never goes while its map lives, also when all its entries became 0.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "blob/store_impl.h"

struct blob_map *blob_map_create(uint64_t num_clusters)
{
	uint32_t slots = super_slots(num_clusters);
	size_t bytes = sizeof(struct blob_map) + slots * sizeof(struct blob_extent *);
	struct blob_map *map = alloc_pages(bytes);

	if (!map)
		return NULL;
	map->num_clusters = num_clusters;
	map->num_slots = slots;
	map->bytes = bytes;
	return map;
}

void blob_map_destroy(struct blob_map *map)
{
	if (!map)
		return;
	for (uint32_t slot = 0; slot < map->num_slots; slot++)
		free(atomic_load_explicit(&map->extents[slot], memory_order_relaxed));
	free_pages(map, map->bytes);
}

struct blob *blob_alloc(struct blob_store *store, uint64_t id)
{
	struct blob *blob = alloc_lines(sizeof(*blob));

	if (!blob)
		return NULL;
	atomic_init(&blob->map, blob_map_create(0));
	if (!blob_map(blob)) {
		free(blob);
		return NULL;
	}
	blob->store = store;
	blob->id = id;
	md_init(&blob->md, id);
	list_init(&blob->link);
	list_init(&blob->control_link);
	list_init(&blob->records);
	bdev_gate_init(&blob->md_gate, store->engine);
	return blob;
}

void blob_free(struct blob *blob)
{
	if (!blob)
		return;
	invariant(list_is_empty(&blob->records) && !blob->committing);
	blob_map_destroy(blob_map(blob));
	md_fini(&blob->md);
	free(blob->chain);
	free(blob);
}

static struct blob_extent *extent_of(struct blob_map *map, uint32_t slot)
{
	return atomic_load_explicit(&map->extents[slot], memory_order_acquire);
}

void blob_map_move_extents(struct blob_map *to, struct blob_map *from)
{
	for (uint32_t slot = 0; slot < from->num_slots && slot < to->num_slots; slot++) {
		struct blob_extent *extent = extent_of(from, slot);

		if (!extent)
			continue;
		free(extent_of(to, slot));
		atomic_store_explicit(&to->extents[slot], extent, memory_order_release);
		atomic_store_explicit(&from->extents[slot], NULL, memory_order_relaxed);
	}
}

int blob_map_prepare(struct blob_map *map, uint32_t slot)
{
	struct blob_extent *extent;

	invariant(slot < map->num_slots);
	if (extent_of(map, slot))
		return 0;
	extent = alloc_lines(sizeof(*extent));
	if (!extent)
		return -ENOMEM;
	atomic_store_explicit(&map->extents[slot], extent, memory_order_release);
	return 0;
}

void blob_map_set(struct blob *blob, uint64_t index, uint32_t cluster)
{
	struct blob_map *map = blob_map(blob);
	struct blob_extent *extent = extent_of(map, (uint32_t)(index / BLOBSTORE_SLOT_ENTRIES));
	_Atomic uint32_t *entry = &extent->clusters[index % BLOBSTORE_SLOT_ENTRIES];
	uint32_t before = atomic_load_explicit(entry, memory_order_relaxed);

	invariant(index < map->num_clusters);
	atomic_store_explicit(entry, cluster, memory_order_release);
	if (!before && cluster)
		atomic_fetch_add_explicit(&blob->num_allocated, 1, memory_order_relaxed);
	else if (before && !cluster)
		atomic_fetch_sub_explicit(&blob->num_allocated, 1, memory_order_relaxed);
}

void blob_map_copy_slot(const struct blob_map *map, uint32_t slot, uint32_t *ret_clusters)
{
	uint64_t first = (uint64_t)slot * BLOBSTORE_SLOT_ENTRIES;

	for (uint32_t i = 0; i < BLOBSTORE_SLOT_ENTRIES; i++)
		ret_clusters[i] = first + i < map->num_clusters ? blob_map_get(map, first + i) : 0;
}

/* ---- what others see ---------------------------------------------------- */

void blob_view_fill(const struct blob *blob, struct blob_view *ret_view)
{
	*ret_view = (struct blob_view){
		.num_clusters = blob->md.num_clusters,
		.thin = blob->md.invalid_flags & BLOBSTORE_THIN,
		.read_only =
			blob->md.data_ro_flags || (blob->md.md_ro_flags & ~BLOBSTORE_MD_RO_KNOWN),
		.esnap = blob->md.invalid_flags & BLOBSTORE_ESNAP,
		.broken = blob->broken,
		.clear_method = blob->md.md_ro_flags & BLOBSTORE_CLEAR_MASK,
		.parent = atomic_load_explicit(&blob->parent, memory_order_relaxed),
	};
}

void blob_refresh(struct blob *blob)
{
	struct blob_view view;

	blob_view_fill(blob, &view);
	atomic_store_explicit(&blob->thin, view.thin, memory_order_relaxed);
	atomic_store_explicit(&blob->foreign_below, view.esnap, memory_order_relaxed);
	atomic_store_explicit(
		&blob->read_only, view.read_only || view.broken, memory_order_relaxed);
}

void blob_set_broken(struct blob *blob, const char *why, int rc)
{
	if (!blob->broken)
		log_error(
			"volume %#llx: %s failed (%s): what is on the disk is not known, it stays "
			"read-only until its store is loaded again",
			(unsigned long long)blob->id, why, strerror(-rc));
	blob->broken = true;
	blob->store->leaks = true;
	blob_refresh(blob);
}

/* ---- control ------------------------------------------------------------ */

void blob_view_apply(struct blob *blob, const struct blob_view *view)
{
	if (blob->view.parent != view->parent) {
		if (blob->view.parent)
			blob->view.parent->view_clones--;
		if (view->parent)
			view->parent->view_clones++;
	}
	blob->view = *view;
}

void blob_get_info(const struct blob *blob, struct blob_info *ret_info)
{
	const struct blob_view *view = &blob->view;

	*ret_info = (struct blob_info){
		.id = blob->id,
		.num_clusters = view->num_clusters,
		.num_allocated = atomic_load_explicit(&blob->num_allocated, memory_order_relaxed),
		.thin = view->thin,
		.read_only = view->read_only || view->broken,
		.esnap = view->esnap,
		.broken = view->broken,
		.clear_method = view->clear_method,
		.parent = view->parent,
		.num_clones = blob->view_clones,
	};
}

struct blob_store *blob_store_of(const struct blob *blob)
{
	return blob->store;
}

void blob_for_each(struct blob_store *store, void (*fn)(struct blob *blob, void *arg), void *arg)
{
	struct blob *blob, *next;

	list_for_each_entry_safe (blob, next, &store->blobs_seen, control_link)
		fn(blob, arg);
}

struct blob *blob_find(struct blob_store *store, uint64_t id)
{
	struct blob *blob;

	list_for_each_entry (blob, &store->blobs_seen, control_link)
		if (blob->id == id)
			return blob;
	return NULL;
}

void blob_for_each_clone(
	const struct blob *blob, void (*fn)(struct blob *clone, void *arg), void *arg)
{
	struct blob *clone, *next;

	list_for_each_entry_safe (clone, next, &blob->store->blobs_seen, control_link)
		if (clone->view.parent == blob)
			fn(clone, arg);
}

void blob_set_user(struct blob *blob, void *user)
{
	blob->user = user;
}

void *blob_user(const struct blob *blob)
{
	return blob->user;
}

void blob_set_bdev(struct blob *blob, struct bdev *bdev)
{
	blob->bdev = bdev;
}

void blob_set_esnap_bdev(struct blob *blob, struct bdev_user *esnap)
{
	blob->esnap = esnap;
}

struct bdev_user *blob_esnap_bdev(const struct blob *blob)
{
	return blob->esnap;
}
