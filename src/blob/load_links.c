/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What blobs are to each other, once all are in memory: decided here, written by load_repair.c.
 *
 * An operation that was not finished has left its mark in a snapshot, the id of the partner.
 * Whether it is completed or undone follows from whom the partner points to:
 *
 *	SNAPTMP	partner is not a clone of it	the origin was not switched over: it goes
 *		partner is			it was: kept, read-only
 *	SNAPRM	partner is a clone of it	the clone was not detached: kept, read-only
 *		partner is not			it was: it goes
 *
 * With a partner that cannot be used nothing is decided. One that others still are clones of is
 * kept whatever the mark says.
 *
 * A parent that is missing or bad, or that is its own ancestor, makes a blob bad: what it does not
 * have itself could not be read.
 *
 * A cluster, or an extent page, belongs to one blob. Where a clone has the same cluster at the same
 * place as the ancestor that it would see there (another writer died while it merged a snapshot
 * into its clone), the clone gives it up: it sees the same as before. Any other double ownership
 * cannot be resolved without guessing who wrote last, and makes all owners bad.
 */
#include <errno.h>
#include <stdlib.h>

#include "blob/store_load_impl.h"

static bool loading_is_usable(const struct loading *loading)
{
	return loading && !loading->bad && !loading->gone;
}

/* ---- flags -------------------------------------------------------------- */

static void check_flags(struct loading *loading)
{
	struct md *md = &loading->blob->md;
	uint64_t unknown = md->invalid_flags & ~BLOBSTORE_INVALID_KNOWN;

	if (unknown) {
		loading_refuse(loading, "it needs what this version does not know (flags %#llx)",
			(unsigned long long)unknown);
		return;
	}
	if ((md->invalid_flags & BLOBSTORE_ESNAP) &&
		!md_xattr_find(&md->internal_xattrs, BLOBSTORE_XATTR_ESNAP)) {
		loading_refuse(loading, "its external parent has no name");
		return;
	}
	if (!loading->holes || (md->invalid_flags & BLOBSTORE_THIN))
		return;
	log_warning("%s: thick volume %#llx has clusters missing: it is thin from now on",
		store_name(loading->load->store), (unsigned long long)loading->blob->id);
	md->invalid_flags |= BLOBSTORE_THIN;
	loading->write_chain = true;
}

/* ---- parents ------------------------------------------------------------ */

/* BLOBSTORE_NO_BLOB: none */
static uint64_t parent_id(const struct loading *loading)
{
	const struct md *md = &loading->blob->md;

	if (!(md->invalid_flags & BLOBSTORE_THIN) || (md->invalid_flags & BLOBSTORE_ESNAP))
		return BLOBSTORE_NO_BLOB;
	return md_internal_id(md, BLOBSTORE_XATTR_PARENT);
}

static bool parent_is_told(const struct loading *loading)
{
	const struct md *md = &loading->blob->md;

	return (md->invalid_flags & BLOBSTORE_THIN) && !(md->invalid_flags & BLOBSTORE_ESNAP) &&
	       md_xattr_find(&md->internal_xattrs, BLOBSTORE_XATTR_PARENT);
}

static void find_parent(struct loading *loading)
{
	uint64_t id = parent_id(loading);

	loading->parent = NULL;
	loading->walk = LOADING_NEW;
	if (!loading_is_usable(loading) || !parent_is_told(loading))
		return;
	loading->parent = loading_find(loading->load, id);
	if (!loading->parent || loading->parent->gone) {
		loading->parent = NULL;
		loading_refuse(loading, "its parent %#llx is not there", (unsigned long long)id);
	}
}

static void refuse_cycle(struct loading *first)
{
	struct loading *loading = first;

	do {
		loading_refuse(loading, "it is its own ancestor");
		loading = loading->parent;
	} while (loading != first);
}

/* Up to an ancestor whose fate is known, and down again. */
static void walk_parents(struct loading *loading)
{
	struct loading *below = NULL;

	while (loading && loading->walk == LOADING_NEW) {
		loading->walk = LOADING_ON_PATH;
		loading->down = below;
		below = loading;
		loading = loading->parent;
	}
	if (loading && loading->walk == LOADING_ON_PATH)
		refuse_cycle(loading);
	for (; below; below = below->down) {
		below->walk = LOADING_WALKED;
		if (below->parent && below->parent->bad)
			loading_refuse(below, "its parent %#llx cannot be used",
				(unsigned long long)below->parent->blob->id);
	}
}

static void resolve_parents(struct load *load)
{
	for (size_t i = 0; i < load->num_blobs; i++)
		find_parent(&load->blobs[i]);
	for (size_t i = 0; i < load->num_blobs; i++)
		walk_parents(&load->blobs[i]);
}

/* ---- unfinished operations ---------------------------------------------- */

static bool has_clones(const struct loading *loading)
{
	const struct load *load = loading->load;

	for (size_t i = 0; i < load->num_blobs; i++)
		if (!load->blobs[i].bad && !load->blobs[i].gone &&
			parent_id(&load->blobs[i]) == loading->blob->id)
			return true;
	return false;
}

static void keep_snapshot(struct loading *loading)
{
	struct md *md = &loading->blob->md;

	md_internal_remove(md, BLOBSTORE_XATTR_SNAPSHOT_PENDING);
	md_internal_remove(md, BLOBSTORE_XATTR_REMOVAL_PENDING);
	md->data_ro_flags |= BLOBSTORE_READ_ONLY;
	loading->write_chain = true;
}

static void decide_marked(struct loading *loading)
{
	const struct md *md = &loading->blob->md;
	const char *mark = BLOBSTORE_XATTR_REMOVAL_PENDING;
	const struct loading *partner;
	bool creating;

	creating = !md_xattr_find(&md->internal_xattrs, mark);
	if (creating)
		mark = BLOBSTORE_XATTR_SNAPSHOT_PENDING;
	if (!md_xattr_find(&md->internal_xattrs, mark))
		return;
	partner = loading_find(loading->load, md_internal_id(md, mark));
	if (!loading_is_usable(partner)) {
		log_warning("%s: an operation on snapshot %#llx was not finished, and cannot be as "
			    "volume %#llx is not there",
			store_name(loading->load->store), (unsigned long long)loading->blob->id,
			(unsigned long long)md_internal_id(md, mark));
		return;
	}
	loading->gone = parent_id(partner) != loading->blob->id && !has_clones(loading);
	log_notice("%s: %s of snapshot %#llx was not finished: the snapshot is %s",
		store_name(loading->load->store), creating ? "creation" : "deletion",
		(unsigned long long)loading->blob->id, loading->gone ? "deleted" : "kept");
	if (!loading->gone)
		keep_snapshot(loading);
}

/* ---- owners ------------------------------------------------------------- */

struct owners {
	struct bitmap pages;
	struct bitmap pages_twice;
	struct bitmap clusters;
	struct bitmap clusters_twice;
};

static void owners_fini(struct owners *owners)
{
	bitmap_fini(&owners->pages);
	bitmap_fini(&owners->pages_twice);
	bitmap_fini(&owners->clusters);
	bitmap_fini(&owners->clusters_twice);
}

static int owners_init(struct owners *owners, const struct super *super)
{
	*owners = (struct owners){0};
	if (bitmap_init(&owners->pages, super->md_len) ||
		bitmap_init(&owners->pages_twice, super->md_len) ||
		bitmap_init(&owners->clusters, super_clusters(super)) ||
		bitmap_init(&owners->clusters_twice, super_clusters(super))) {
		owners_fini(owners);
		return -ENOMEM;
	}
	bitmap_set_range(&owners->clusters, 0, super_md_clusters(super));
	return 0;
}

static void own(struct bitmap *map, struct bitmap *twice, uint32_t bit)
{
	if (!bitmap_set(map, bit))
		bitmap_set(twice, bit);
}

static void owners_add(struct owners *owners, const struct loading *loading)
{
	const struct md *md = &loading->blob->md;

	own(&owners->pages, &owners->pages_twice, blob_root_index(loading->blob));
	for (unsigned i = 1; i < loading->count; i++)
		own(&owners->pages, &owners->pages_twice, loading->indexes[i]);
	for (uint32_t slot = 0; slot < loading_slots(loading); slot++)
		if (md->pages[slot])
			own(&owners->pages, &owners->pages_twice, md->pages[slot]);
	for (uint64_t index = 0; loading_next_cluster(loading, &index); index++)
		own(&owners->clusters, &owners->clusters_twice,
			blob_map_get(blob_map(loading->blob), index));
}

static int owners_find(struct owners *owners, const struct load *load)
{
	int rc = owners_init(owners, &load->store->super);

	for (size_t i = 0; !rc && i < load->num_blobs; i++)
		if (!load->blobs[i].gone)
			owners_add(owners, &load->blobs[i]);
	return rc;
}

static bool owners_share(const struct owners *owners)
{
	return owners->pages_twice.count || owners->clusters_twice.count;
}

/* ---- clones give up ----------------------------------------------------- */

static uint32_t ancestor_cluster(const struct loading *loading, uint64_t index)
{
	const struct loading *up;

	for (up = loading->parent; up; up = up->parent) {
		const struct blob_map *map = blob_map(up->blob);
		uint32_t cluster = index < map->num_clusters ? blob_map_get(map, index) : 0;

		if (cluster)
			return cluster;
	}
	return 0;
}

static int give_up_clusters(struct loading *loading, const struct owners *owners)
{
	int rc = 0;

	for (uint64_t index = 0; !rc && loading_next_cluster(loading, &index); index++) {
		uint32_t cluster = blob_map_get(blob_map(loading->blob), index);

		if (!bitmap_test(&owners->clusters_twice, cluster) ||
			ancestor_cluster(loading, index) != cluster)
			continue;
		blob_map_set(loading->blob, index, 0);
		rc = loading_write_slot(loading, (uint32_t)(index / BLOBSTORE_SLOT_ENTRIES));
	}
	return rc;
}

static void give_up_slot(struct loading *loading, uint32_t slot)
{
	uint64_t index = (uint64_t)slot * BLOBSTORE_SLOT_ENTRIES;
	uint64_t end = u64_min(index + BLOBSTORE_SLOT_ENTRIES, loading->num_clusters);

	loading->blob->md.pages[slot] = 0;
	loading->write_chain = true;
	if (loading->write_slots.bits)
		bitmap_clear(&loading->write_slots, slot);
	for (; loading_next_cluster(loading, &index) && index < end; index++)
		blob_map_set(loading->blob, index, 0);
}

static void give_up_pages(struct loading *loading, const struct owners *owners)
{
	const struct loading *parent = loading->parent;
	uint32_t slots = (uint32_t)u64_min(loading_slots(loading), loading_slots(parent));

	for (uint32_t slot = 0; slot < slots; slot++) {
		uint32_t index = loading->blob->md.pages[slot];

		if (index && bitmap_test(&owners->pages_twice, index) &&
			parent->blob->md.pages[slot] == index)
			give_up_slot(loading, slot);
	}
}

static bool loading_shares(const struct loading *loading, const struct owners *owners)
{
	const struct md *md = &loading->blob->md;

	if (bitmap_test(&owners->pages_twice, blob_root_index(loading->blob)))
		return true;
	for (unsigned i = 1; i < loading->count; i++)
		if (bitmap_test(&owners->pages_twice, loading->indexes[i]))
			return true;
	for (uint32_t slot = 0; slot < loading_slots(loading); slot++)
		if (md->pages[slot] && bitmap_test(&owners->pages_twice, md->pages[slot]))
			return true;
	for (uint64_t index = 0; loading_next_cluster(loading, &index); index++)
		if (bitmap_test(
			    &owners->clusters_twice, blob_map_get(blob_map(loading->blob), index)))
			return true;
	return false;
}

static int clones_give_up(struct load *load, const struct owners *owners)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < load->num_blobs; i++) {
		struct loading *loading = &load->blobs[i];

		if (!loading_is_usable(loading) || !loading->parent)
			continue;
		give_up_pages(loading, owners);
		rc = give_up_clusters(loading, owners);
	}
	return rc;
}

static void refuse_sharers(struct load *load, const struct owners *owners)
{
	for (size_t i = 0; i < load->num_blobs; i++)
		if (!load->blobs[i].gone && loading_shares(&load->blobs[i], owners))
			loading_refuse(&load->blobs[i],
				"it shares metadata pages or clusters with another volume");
}

static int resolve_sharing(struct load *load)
{
	struct owners owners;
	int rc = owners_find(&owners, load);

	if (rc || !owners_share(&owners))
		goto finish;
	log_warning("%s: %u metadata pages and %u clusters belong to two volumes each",
		store_name(load->store), owners.pages_twice.count, owners.clusters_twice.count);
	rc = clones_give_up(load, &owners);
	owners_fini(&owners);
	if (rc)
		return rc;
	rc = owners_find(&owners, load);
	if (rc)
		return rc;
	if (owners_share(&owners)) {
		refuse_sharers(load, &owners);
		resolve_parents(load);
	}
finish:
	load->pages = owners.pages;
	load->clusters = owners.clusters;
	bitmap_fini(&owners.pages_twice);
	bitmap_fini(&owners.clusters_twice);
	return rc;
}

/* ---- what is in use ----------------------------------------------------- */

/* How many were not. */
static uint32_t use_all(struct bitmap *used, const struct bitmap *owned)
{
	uint32_t count = 0;

	for (uint32_t bit = 0;
		bit < owned->bits && (bit = bitmap_find_set(owned, bit)) != BITMAP_NONE; bit++)
		count += bitmap_set(used, bit);
	return count;
}

static void use_gone(struct load *load)
{
	struct blob_store *store = load->store;

	for (size_t i = 0; i < load->num_blobs; i++) {
		const struct loading *loading = &load->blobs[i];
		uint64_t index = 0;

		if (!loading->gone)
			continue;
		for (unsigned j = 0; j < loading->count; j++)
			bitmap_set(&store->used_pages, loading->indexes[j]);
		for (uint32_t slot = 0; slot < loading_slots(loading); slot++)
			if (loading->blob->md.pages[slot])
				bitmap_set(&store->used_pages, loading->blob->md.pages[slot]);
		for (; loading_next_cluster(loading, &index); index++)
			bitmap_set(&store->used_clusters,
				blob_map_get(blob_map(loading->blob), index));
	}
}

static void use_owned(struct load *load)
{
	struct blob_store *store = load->store;
	uint32_t pages = use_all(&store->used_pages, &load->pages);
	uint32_t clusters = use_all(&store->used_clusters, &load->clusters);

	if (!load->recovering && (pages || clusters)) {
		log_error("%s: the store was closed with %u metadata pages and %u clusters of "
			  "volumes taken for free: they are in use now, what may have been "
			  "written into them is not known",
			store_name(store), pages, clusters);
		load->recovering = true;
	}
	use_gone(load);
}

int load_links(struct load *load)
{
	int rc;

	for (size_t i = 0; i < load->num_blobs; i++)
		if (!load->blobs[i].bad)
			check_flags(&load->blobs[i]);
	for (size_t i = 0; i < load->num_blobs; i++)
		if (!load->blobs[i].bad)
			decide_marked(&load->blobs[i]);
	resolve_parents(load);
	rc = resolve_sharing(load);
	if (!rc)
		use_owned(load);
	return rc;
}
