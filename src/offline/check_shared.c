/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A cluster that is in two places, of two volumes or of one, which nothing explains. Nobody can
 * tell who wrote it last. But nobody has to: one of the two gets a copy. Both read what they read
 * before, from then on each for itself, and what may be wrong is named: in that range of bytes
 * either may hold what the other wrote.
 *
 * A copy goes to a cluster that no volume has and no mask that is to be trusted knows of; so it is
 * made only while all volumes can be read. It is on the disk before an entry points to it
 * (repair.c); a crash before that leaves a free cluster with something in it.
 *
 * An extent page that two volumes have as the same part of themselves is such a place as well: one
 * gets a page of its own with the same entries, and their clusters are then what both share.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "offline/check_impl.h"

#define COPY_BYTES (1 * MIB)
#define TOLD_MAX   200u /* then those of the same two are one fault, wherever they are */

/* Those that are told, and mended, together. */
struct share_run {
	const struct share *first;
	unsigned count;
};

void check_share_add(struct check *check, const struct share *share)
{
	struct share *more =
		reallocarray(check->shares, check->num_shares + 1u, sizeof(*check->shares));

	if (!more) {
		check_fail(check, -ENOMEM, "not enough memory for all clusters");
		return;
	}
	check->shares = more;
	more[check->num_shares++] = *share;
}

void check_page_share_add(struct check *check, const struct page_share *share)
{
	struct page_share *more = reallocarray(
		check->page_shares, check->num_page_shares + 1u, sizeof(*check->page_shares));

	if (!more) {
		check_fail(check, -ENOMEM, "not enough memory for all pages");
		return;
	}
	check->page_shares = more;
	more[check->num_page_shares++] = *share;
}

/* ---- room for copies ----------------------------------------------------------------------- */

static uint32_t copy_find(const struct check *check, uint32_t from)
{
	uint32_t found = bitmap_find_clear(&check->clusters, from);

	while (found != BITMAP_NONE && check->masks_known &&
		bitmap_test(&check->mask_clusters, found))
		found = found + 1 < check->clusters.bits
				? bitmap_find_clear(&check->clusters, found + 1)
				: BITMAP_NONE;
	return found;
}

static bool copies_have_room(const struct check *check)
{
	uint32_t at = 0;

	for (unsigned i = 0; i < check->num_shares; i++) {
		at = at < check->clusters.bits ? copy_find(check, at) : BITMAP_NONE;
		if (at++ == BITMAP_NONE)
			return false;
	}
	return true;
}

static uint32_t page_find(const struct check *check, uint32_t from)
{
	uint32_t found = bitmap_find_clear(&check->pages, from);

	while (found != BITMAP_NONE && check->masks_known && bitmap_test(&check->mask_pages, found))
		found = found + 1 < check->pages.bits ? bitmap_find_clear(&check->pages, found + 1)
						      : BITMAP_NONE;
	return found;
}

static bool pages_have_room(const struct check *check)
{
	uint32_t at = 0;

	for (unsigned i = 0; i < check->num_page_shares; i++) {
		at = at < check->pages.bits ? page_find(check, at) : BITMAP_NONE;
		if (at++ == BITMAP_NONE)
			return false;
	}
	return true;
}

static bool blobs_are_readable(const struct check *check)
{
	bool readable = !check->any_bad;

	for (unsigned i = 0; i < check->num_blobs; i++)
		readable &= check->blobs[i].gone || !check->blobs[i].bad;
	return readable;
}

/* ---- telling and mending ------------------------------------------------------------------- */

static bool share_joins(const struct check *check, const struct share_run *run)
{
	const struct share *last = &run->first[run->count - 1];
	const struct share *next = last + 1;

	if (next == check->shares + check->num_shares || next->blob != last->blob ||
		next->other != last->other)
		return false;
	return check->num_faults >= TOLD_MAX ||
	       (next->index == last->index + 1 && next->other_index == last->other_index + 1);
}

static bool share_tell(struct check *check, const struct share_run *run, enum remedy remedy)
{
	const struct share *share = run->first;
	const struct check_blob *other = share->other;
	uint64_t cluster = check->super.cluster_size;

	return check_fault(check, "shared", remedy, (struct fault_at){share->blob, FAULT_NO_PAGE},
		remedy == REMEDY_REPAIR
			? "a write to one changes the other as well. A repair gives each its own, "
			  "with what is there now: compare both with what you know, for one of "
			  "them may hold what was written to the other"
			: "a write to one changes the other as well. There is no room for copies, "
			  "or a volume that may have what seems to be free cannot be read: mend "
			  "that first",
		"%" PRIu64 " bytes, from byte %" PRIu64 " to %" PRIu64 ", lie in clusters that %s "
		"%#" PRIx64 " has from its byte %" PRIu64 " on, the first is %u",
		run->count * cluster, share->index * cluster,
		(share[run->count - 1].index + 1) * cluster, other->name[0] ? other->name : "blob",
		other->id, share->other_index * cluster, share->cluster);
}

static bool copy_add(struct check *check, const struct share *share)
{
	struct cluster_copy *more =
		reallocarray(check->copies, check->num_copies + 1u, sizeof(*check->copies));
	uint32_t to = copy_find(check, 0);

	if (!more || to == BITMAP_NONE) {
		check_fail(check, -ENOMEM, "not enough memory for all clusters");
		return false;
	}
	check->copies = more;
	more[check->num_copies++] = (struct cluster_copy){share->cluster, to};
	bitmap_set(&check->clusters, to);
	check_blob_set_cluster(share->blob, share->index, to);
	return true;
}

static void share_settle(struct check *check, const struct share_run *run, enum remedy remedy)
{
	if (share_tell(check, run, remedy)) {
		for (unsigned i = 0; i < run->count && !check->rc; i++)
			copy_add(check, &run->first[i]);
		return;
	}
	run->first->blob->bad = run->first->other->bad = true;
	check->any_bad = true;
}

static bool page_share_tell(struct check *check, const struct page_share *share, enum remedy remedy)
{
	return check_fault(check, "shared", remedy,
		(struct fault_at){share->blob, share->blob->md.pages[share->slot]},
		remedy == REMEDY_REPAIR
			? "who writes to one of the two moves what is in the other. A repair gives "
			  "each its own page, and copies of the clusters"
			: "who writes to one of the two moves what is in the other. There is no "
			  "room for copies, or a volume that may have what seems to be free cannot "
			  "be read: mend that first",
		"the extent page of slot %u is that of %s%s%#" PRIx64 " as well", share->slot,
		share->other->name, share->other->name[0] ? ", blob " : "blob ", share->other->id);
}

static void page_share_settle(struct check *check, struct page_share *share, enum remedy remedy)
{
	if (!page_share_tell(check, share, remedy)) {
		share->blob->bad = share->other->bad = true;
		check->any_bad = true;
		return;
	}
	share->blob->md.pages[share->slot] = page_find(check, 0);
	bitmap_set(&check->pages, share->blob->md.pages[share->slot]);
	share->blob->write_chain = true;
	share->fresh = true;
}

void check_shared(struct check *check)
{
	enum remedy remedy;

	if (check->rc || (!check->num_shares && !check->num_page_shares))
		return;
	check_count_used(check);
	if (check->rc)
		return;
	remedy = blobs_are_readable(check) && copies_have_room(check) && pages_have_room(check)
			 ? REMEDY_REPAIR
			 : REMEDY_NONE;
	for (unsigned i = 0; i < check->num_page_shares && !check->rc; i++)
		page_share_settle(check, &check->page_shares[i], remedy);
	for (unsigned i = 0; i < check->num_shares && !check->rc;) {
		struct share_run run = {&check->shares[i], 1};

		while (share_joins(check, &run))
			run.count++;
		share_settle(check, &run, remedy);
		i += run.count;
	}
}

/* ---- onto the disk ------------------------------------------------------------------------- */

static int cluster_copy(struct check *check, const struct cluster_copy *copy, void *buf)
{
	uint64_t cluster = check->super.cluster_size;
	int rc = 0;

	for (uint64_t at = 0; at < cluster && !rc; at += COPY_BYTES) {
		size_t bytes = (size_t)u64_min(COPY_BYTES, cluster - at);

		rc = image_read(check->image, copy->from * cluster + at, buf, bytes);
		if (!rc)
			rc = image_write(check->image, copy->to * cluster + at, buf, bytes);
	}
	return rc;
}

void repair_copy_clusters(struct check *check)
{
	void *buf = check->num_copies && !check->rc ? malloc(COPY_BYTES) : NULL;
	int rc = buf ? 0 : -ENOMEM;

	if (!check->num_copies || check->rc)
		return;
	for (unsigned i = 0; i < check->num_copies && !rc; i++)
		rc = cluster_copy(check, &check->copies[i], buf);
	if (!rc)
		rc = image_flush(check->image);
	if (rc)
		check_fail(check, rc, "a cluster that two volumes share cannot be copied: %s",
			reason_text(NULL, rc));
	free(buf);
}

void repair_write_fresh_pages(struct check *check)
{
	struct blobstore_page page;
	int rc = 0;

	if (!check->num_page_shares || check->rc)
		return;
	for (unsigned i = 0; i < check->num_page_shares && !rc; i++) {
		const struct page_share *share = &check->page_shares[i];
		const struct check_blob *blob = share->blob;

		if (!share->fresh || blob->gone)
			continue;
		extent_page_encode(blob->id, share->slot, blob->slots[share->slot],
			extent_page_entries(blob->md.num_clusters, share->slot), &page);
		rc = image_write(check->image,
			super_page_offset(&check->super, blob->md.pages[share->slot]), &page,
			sizeof(page));
	}
	if (!rc)
		rc = image_flush(check->image);
	if (rc)
		check_fail(
			check, rc, "an extent page cannot be written: %s", reason_text(NULL, rc));
}
