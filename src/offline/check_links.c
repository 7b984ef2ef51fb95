/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What blobs are to each other: unfinished snapshots and deletions, and parents. The rules are
 * those of loading (docs/volumes.md, "Loading"), so that a repair leaves what a load would.
 */
#include <inttypes.h>

#include "offline/check_impl.h"

enum { WALK_NEW, WALK_ON_PATH, WALK_DONE };

static uint64_t parent_id(const struct check_blob *blob)
{
	if (!(blob->md.invalid_flags & BLOBSTORE_THIN) || blob->md.invalid_flags & BLOBSTORE_ESNAP)
		return BLOBSTORE_NO_BLOB;
	return md_internal_id(&blob->md, BLOBSTORE_XATTR_PARENT);
}

static bool blob_is_usable(const struct check_blob *blob)
{
	return blob && !blob->bad && !blob->gone;
}

/* ---- unfinished operations ------------------------------------------------------------------- */

static bool has_clones(const struct check *check, const struct check_blob *blob)
{
	for (unsigned i = 0; i < check->num_blobs; i++) {
		if (blob_is_usable(&check->blobs[i]) && parent_id(&check->blobs[i]) == blob->id)
			return true;
	}
	return false;
}

static void snapshot_keep(struct check_blob *blob)
{
	md_internal_remove(&blob->md, BLOBSTORE_XATTR_SNAPSHOT_PENDING);
	md_internal_remove(&blob->md, BLOBSTORE_XATTR_REMOVAL_PENDING);
	blob->md.data_ro_flags |= BLOBSTORE_READ_ONLY;
	blob->write_chain = true;
}

static void mark_check(struct check *check, struct check_blob *blob)
{
	const struct fault_at at = {blob, blob->chain[0]};
	const char *mark = BLOBSTORE_XATTR_REMOVAL_PENDING, *verb = "deleted";
	const struct check_blob *partner;
	bool keep;

	if (!md_xattr_find(&blob->md.internal_xattrs, mark)) {
		mark = BLOBSTORE_XATTR_SNAPSHOT_PENDING;
		verb = "made";
	}
	if (!blob_is_usable(blob) || !md_xattr_find(&blob->md.internal_xattrs, mark))
		return;
	partner = check_blob_find(check, md_internal_id(&blob->md, mark));
	keep = has_clones(check, blob);
	if (!blob_is_usable(partner) && !keep) {
		check_fault(check, "unfinished snapshot", REMEDY_NONE, at,
			"whether it is whole cannot be told; its space stays in use",
			"a snapshot was being %s when its program died, and the volume it was of "
			"is not there",
			verb);
		return;
	}
	blob->pending = !keep;
	if (!check_fault(check, "unfinished snapshot", REMEDY_REPAIR, at,
		    "the known implementation counts its clusters twice after a crash, and "
		    "refuses the store if they are more than there is room for",
		    "a snapshot was being %s when its program died: it is to be %s", verb,
		    keep ? "kept" : "removed"))
		return;
	if (keep)
		snapshot_keep(blob);
	else
		blob->gone = true;
}

/* ---- parents ------------------------------------------------------------------------------- */

static void parent_drop(struct check_blob *blob)
{
	md_internal_remove(&blob->md, BLOBSTORE_XATTR_PARENT);
	blob->parent = NULL;
	blob->write_chain = true;
}

static void parent_find(struct check *check, struct check_blob *blob)
{
	const struct fault_at at = {blob, blob->chain[0]};
	bool told = blob_is_usable(blob) &&
		    md_xattr_find(&blob->md.internal_xattrs, BLOBSTORE_XATTR_PARENT);
	uint64_t id = parent_id(blob);

	if (!told || blob->md.invalid_flags & BLOBSTORE_ESNAP)
		return;
	if (!(blob->md.invalid_flags & BLOBSTORE_THIN)) {
		if (check_fault(check, "parent", REMEDY_REPAIR, at,
			    "programs differ in what the volume is",
			    "a thick volume names a parent, of which it can show nothing"))
			parent_drop(blob);
		return;
	}
	blob->parent = id == check->super.super_blob ? NULL : check_blob_find(check, id);
	if (blob->parent && !blob->parent->gone)
		return;
	blob->parent = NULL;
	if (check_fault(check, "parent", REMEDY_LOSE, at,
		    "the volume cannot be opened; without its parent it reads zeroes where it has "
		    "nothing itself",
		    "its parent %#" PRIx64 " is not there, or no volume", id))
		parent_drop(blob);
	else
		blob->bad = true;
}

static void cycle_refuse(struct check *check, struct check_blob *first)
{
	const struct fault_at at = {first, first->chain[0]};

	if (check_fault(check, "parent", REMEDY_LOSE, at,
		    "none of the volumes in the circle can be opened; without a parent this one "
		    "reads zeroes where it has nothing itself",
		    "the volume is its own ancestor"))
		parent_drop(first);
	else
		first->bad = true;
}

/* Up to an ancestor that is known, then once more to mark all of them known. */
static void parents_walk(struct check *check, struct check_blob *blob)
{
	struct check_blob *each = blob;

	while (each && each->walk == WALK_NEW) {
		each->walk = WALK_ON_PATH;
		each = each->parent;
	}
	if (each && each->walk == WALK_ON_PATH)
		cycle_refuse(check, each);
	for (each = blob; each && each->walk == WALK_ON_PATH; each = each->parent)
		each->walk = WALK_DONE;
}

static void parent_check_read_only(struct check *check, struct check_blob *blob)
{
	struct check_blob *parent = blob->parent;

	if (!parent || parent->bad || parent->md.data_ro_flags & BLOBSTORE_READ_ONLY ||
		md_xattr_find(&parent->md.internal_xattrs, BLOBSTORE_XATTR_SNAPSHOT_PENDING))
		return;
	if (check_fault(check, "parent", REMEDY_REPAIR, (struct fault_at){parent, parent->chain[0]},
		    "whoever writes it changes what its clones show",
		    "it has clones and is not read-only")) {
		parent->md.data_ro_flags |= BLOBSTORE_READ_ONLY;
		parent->write_chain = true;
	}
}

void check_resolve_links(struct check *check)
{
	for (unsigned i = 0; i < check->num_blobs && !check->rc; i++)
		mark_check(check, &check->blobs[i]);
	for (unsigned i = 0; i < check->num_blobs && !check->rc; i++)
		parent_find(check, &check->blobs[i]);
	for (unsigned i = 0; i < check->num_blobs && !check->rc; i++)
		parents_walk(check, &check->blobs[i]);
	for (unsigned i = 0; i < check->num_blobs && !check->rc; i++)
		parent_check_read_only(check, &check->blobs[i]);
	for (unsigned i = 0; i < check->num_blobs; i++)
		check->any_bad |= check->blobs[i].bad && !check->blobs[i].gone;
}
