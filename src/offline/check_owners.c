/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages and clusters that are two blobs'. A clone that has the same cluster in the same place as
 * the ancestor that it would show there (a program died while it merged a snapshot into its clone)
 * gives it up and shows the same as before; likewise a whole extent page. Clusters that are in two
 * places in any other way are check_shared.c's, and extent pages that both have in the same place.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "offline/check_impl.h"

struct owners {
	struct check *check;
	struct check_blob *blob; /* that is being looked at */
	uint32_t *of_page; /* its owner's number + 1 */
	uint32_t *of_cluster;
	uint32_t *index_of; /* each cluster, in its owner */
	unsigned other; /* the last other owner that was told, + 1 */
	const struct check_blob *merged; /* the last clone that was told to be half merged */
	bool merged_mend;
};

static uint32_t blob_number(const struct owners *owners)
{
	return (uint32_t)(owners->blob - owners->check->blobs) + 1;
}

static bool is_ancestor(const struct check_blob *blob, const struct check_blob *ancestor)
{
	for (const struct check_blob *up = blob->parent; up; up = up->parent) {
		if (up == ancestor)
			return true;
		if (up == blob)
			return false;
	}
	return false;
}

/* Of the two one stands on the other and would show its cluster there: the one above, or NULL. */
static struct check_blob *owner_above(
	struct check_blob *a, struct check_blob *b, uint64_t index, uint32_t cluster)
{
	struct check_blob *above = is_ancestor(a, b) ? a : is_ancestor(b, a) ? b : NULL;
	const struct check_blob *up;

	if (!above || check_blob_cluster(a, index) != cluster ||
		check_blob_cluster(b, index) != cluster)
		return NULL;
	for (up = above->parent; up && !check_blob_cluster(up, index); up = up->parent)
		;
	return up == (above == a ? b : a) ? above : NULL;
}

/* One of the two is not known to masks that are to be trusted: it is what was left of a volume. */
static bool conflict_is_stale(
	struct owners *owners, struct check_blob *blob, const struct check_blob *other)
{
	if (!blob->unknown || other->unknown)
		return false;
	if (blob->pending || blob->gone)
		return true;
	blob->pending = true;
	blob->gone = check_fault(owners->check, "stale root", REMEDY_LOSE,
		(struct fault_at){blob, blob->chain[0]},
		"after a crash it is taken for a volume; giving it up leaves the others as they "
		"are",
		"nobody knows of this volume, and what it has belongs to others");
	return true;
}

/* Both have it as the same slot, so each can have one of its own. */
static bool page_share(struct owners *owners, struct check_blob *other, uint64_t slot)
{
	const struct md *md = &owners->blob->md;

	if (slot >= other->md.num_slots || other == owners->blob ||
		other->md.pages[slot] != md->pages[slot] || !other->slots[slot] ||
		!owners->blob->slots[slot])
		return false;
	check_page_share_add(owners->check,
		&(struct page_share){.blob = owners->blob, .other = other, .slot = (uint32_t)slot});
	return true;
}

static void page_tell(
	struct owners *owners, struct check_blob *other, uint64_t slot, uint32_t number)
{
	struct check *check = owners->check;
	const struct fault_at at = {owners->blob, FAULT_NO_PAGE};
	uint32_t index = (uint32_t)(other - check->blobs) + 1;

	if (conflict_is_stale(owners, owners->blob, other) ||
		conflict_is_stale(owners, other, owners->blob) || page_share(owners, other, slot))
		return;
	owners->blob->bad = other->bad = true;
	if (owners->other == index)
		return; /* one fault for each pair */
	owners->other = index;
	check_fault(check, "shared", REMEDY_NONE, at,
		"who writes one of the two destroys what is in the other: copy what is needed out "
		"of both and delete them",
		"metadata page %u and perhaps more belong to %s%s%#" PRIx64 " as well", number,
		other->name, other->name[0] ? ", blob " : "blob ", other->id);
}

static void cluster_share(
	struct owners *owners, struct check_blob *other, uint64_t index, uint32_t cluster)
{
	if (!conflict_is_stale(owners, owners->blob, other) &&
		!conflict_is_stale(owners, other, owners->blob))
		check_share_add(owners->check, &(struct share){.blob = owners->blob,
						       .index = index,
						       .other = other,
						       .other_index = owners->index_of[cluster],
						       .cluster = cluster});
}

static void cluster_resolve(
	struct owners *owners, struct check_blob *other, uint64_t index, uint32_t cluster)
{
	struct check_blob *above = owner_above(owners->blob, other, index, cluster);
	const struct fault_at at = {above, FAULT_NO_PAGE};

	if (!above) {
		cluster_share(owners, other, index, cluster);
		return;
	}
	if (owners->merged != above) /* one fault for each clone */
		owners->merged_mend = check_fault(owners->check, "merged twice", REMEDY_REPAIR, at,
			"a write to the clone would change its snapshot",
			"cluster %" PRIu64 " of the volume, and perhaps more, is its snapshot's as "
			"well: a deletion did not come to its end",
			index);
	owners->merged = above;
	if (owners->merged_mend)
		check_blob_drop_cluster(above, index);
	if (above == other)
		owners->of_cluster[cluster] = blob_number(owners);
}

static void cluster_look(void *arg, uint64_t index, uint32_t cluster)
{
	struct owners *owners = arg;
	uint32_t owner;

	if (cluster >= super_clusters(&owners->check->super))
		return;
	owner = owners->of_cluster[cluster];
	if (!owner) {
		owners->of_cluster[cluster] = blob_number(owners);
		owners->index_of[cluster] = (uint32_t)index;
		return;
	}
	if (owner == blob_number(owners))
		cluster_share(owners, owners->blob, index, cluster);
	else
		cluster_resolve(owners, &owners->check->blobs[owner - 1], index, cluster);
}

/* The clone has its snapshot's page in its place: it gives up the whole slot. */
static bool page_resolve(struct owners *owners, struct check_blob *other, uint64_t slot)
{
	struct check_blob *above = is_ancestor(owners->blob, other)   ? owners->blob
				   : is_ancestor(other, owners->blob) ? other
								      : NULL;
	const struct check_blob *below = above == owners->blob ? other : owners->blob;

	if (!above || slot >= other->md.num_slots || above->parent != below ||
		above->md.pages[slot] != below->md.pages[slot])
		return false;
	if (check_fault(owners->check, "merged twice", REMEDY_REPAIR,
		    (struct fault_at){above, above->md.pages[slot]},
		    "a write to the clone would change its snapshot",
		    "slot %" PRIu64 " of the volume is its snapshot's as well: an operation did "
		    "not come to its end",
		    slot)) {
		above->md.pages[slot] = 0;
		free(above->slots[slot]);
		above->slots[slot] = NULL;
		above->write_slots[slot] = false;
		above->write_chain = true;
	}
	return true;
}

static void page_look(void *arg, uint64_t slot, uint32_t page)
{
	struct owners *owners = arg;
	struct check *check = owners->check;
	uint32_t owner = page < check->super.md_len ? owners->of_page[page] : 0;

	if (page >= check->super.md_len)
		return;
	owners->of_page[page] = owner ? owner : blob_number(owners);
	if (owner && (slot == UINT64_MAX || owner == blob_number(owners) ||
			     !page_resolve(owners, &check->blobs[owner - 1], slot)))
		page_tell(owners, &check->blobs[owner - 1], slot, page);
}

static void owners_look(struct owners *owners, bool clusters)
{
	struct check *check = owners->check;

	for (unsigned i = 0; i < check->num_blobs && !check->rc; i++) {
		owners->blob = &check->blobs[i];
		owners->other = 0;
		if (owners->blob->gone || owners->blob->pending)
			continue;
		if (clusters)
			check_blob_for_each_cluster(owners->blob, cluster_look, owners);
		else
			check_blob_for_each_page(owners->blob, page_look, owners);
		check->any_bad |= owners->blob->bad;
	}
}

void check_owners(struct check *check)
{
	struct owners owners = {.check = check};

	if (check->rc)
		return;
	owners.of_page = calloc(check->super.md_len, sizeof(uint32_t));
	owners.of_cluster = calloc(super_clusters(&check->super), sizeof(uint32_t));
	owners.index_of = calloc(super_clusters(&check->super), sizeof(uint32_t));
	if (owners.of_page && owners.of_cluster && owners.index_of) {
		owners_look(&owners, false);
		owners_look(&owners, true);
	} else {
		check_fail(check, -ENOMEM, "not enough memory for all clusters");
	}
	free(owners.of_page);
	free(owners.of_cluster);
	free(owners.index_of);
}
