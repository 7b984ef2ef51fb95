/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each blob by itself: its chain, its extent pages, and what they say of its clusters.
 *
 * A chain whose next page is all zeroes is one that was being deleted when its program died: chain
 * pages are zeroed only after the root has let go of them, or with it. To finish that is a repair.
 * Any other break is damage. A page that looks like a root, cannot be read as one, and is not known
 * to masks that are to be trusted, is no volume.
 *
 * The table of a blob tells its size. Extent pages with another number of entries were left by a
 * change of size that did not come to its end (docs/volumes.md, "Where we differ"); they are
 * written again with as many as the size needs. What a thick blob lacks makes it thin: it reads
 * zeroes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "offline/check_impl.h"

/* ---- life ---------------------------------------------------------------------------------- */

void check_blob_add(struct check *check, uint32_t root)
{
	struct check_blob *blob;

	if (check->num_blobs == check->blobs_room) {
		unsigned room = check->blobs_room ? 2 * check->blobs_room : 64;
		struct check_blob *more = reallocarray(check->blobs, room, sizeof(*more));

		if (!more) {
			check_fail(check, -ENOMEM, "not enough memory for all volumes");
			return;
		}
		check->blobs = more;
		check->blobs_room = room;
	}
	blob = &check->blobs[check->num_blobs];
	*blob = (struct check_blob){.id = BLOBSTORE_ID_BIT | root,
		.unknown = check->masks_known && !bitmap_test(&check->mask_blobs, root)};
	blob->chain = malloc(sizeof(*blob->chain));
	if (!blob->chain) {
		check_fail(check, -ENOMEM, "not enough memory for all volumes");
		return;
	}
	blob->chain[0] = root;
	blob->chain_length = 1;
	check->num_blobs++;
}

void check_blob_fini(struct check_blob *blob)
{
	for (uint32_t slot = 0; blob->slots && slot < blob->md.num_slots; slot++)
		free(blob->slots[slot]);
	free(blob->slots);
	free(blob->write_slots);
	free(blob->chain);
	if (blob->md.id)
		md_fini(&blob->md);
}

/* In ascending order of ids. */
struct check_blob *check_blob_find(struct check *check, uint64_t id)
{
	unsigned low = 0, high = check->num_blobs;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (check->blobs[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < check->num_blobs && check->blobs[low].id == id ? &check->blobs[low] : NULL;
}

/* ---- its map ------------------------------------------------------------------------------- */

uint32_t check_blob_cluster(const struct check_blob *blob, uint64_t index)
{
	const uint32_t *slot;

	if (index >= blob->md.num_clusters)
		return 0;
	if (!blob->md.uses_table)
		return blob->md.runs ? blob->md.runs[index] : 0;
	slot = blob->slots ? blob->slots[index / BLOBSTORE_SLOT_ENTRIES] : NULL;
	return slot ? slot[index % BLOBSTORE_SLOT_ENTRIES] : 0;
}

void check_blob_set_cluster(struct check_blob *blob, uint64_t index, uint32_t cluster)
{
	uint64_t slot = index / BLOBSTORE_SLOT_ENTRIES;

	if (!blob->md.uses_table) {
		blob->md.runs[index] = cluster;
		blob->write_chain = true;
	} else {
		blob->slots[slot][index % BLOBSTORE_SLOT_ENTRIES] = cluster;
		blob->write_slots[slot] = true;
	}
}

void check_blob_drop_cluster(struct check_blob *blob, uint64_t index)
{
	check_blob_set_cluster(blob, index, 0);
	check_blob_make_thin(blob);
}

void check_blob_make_thin(struct check_blob *blob)
{
	if (blob->md.invalid_flags & BLOBSTORE_THIN)
		return;
	blob->md.invalid_flags |= BLOBSTORE_THIN;
	blob->write_chain = true;
}

void check_blob_for_each_page(
	struct check_blob *blob, void (*fn)(void *arg, uint64_t slot, uint32_t page), void *arg)
{
	for (unsigned i = 0; i < blob->chain_length; i++)
		fn(arg, UINT64_MAX, blob->chain[i]);
	for (uint32_t slot = 0; slot < blob->md.num_slots; slot++) {
		if (blob->md.pages[slot])
			fn(arg, slot, blob->md.pages[slot]);
	}
}

void check_blob_for_each_cluster(
	struct check_blob *blob, void (*fn)(void *arg, uint64_t index, uint32_t cluster), void *arg)
{
	uint64_t index = 0;

	while (index < blob->md.num_clusters) {
		uint32_t cluster = check_blob_cluster(blob, index);
		uint64_t slot = index / BLOBSTORE_SLOT_ENTRIES;

		if (cluster)
			fn(arg, index, cluster);
		if (blob->md.uses_table && (!blob->slots || !blob->slots[slot]))
			index = (slot + 1) * BLOBSTORE_SLOT_ENTRIES;
		else
			index++;
	}
}

/* ---- the chain ----------------------------------------------------------------------------- */

/* For people: what a terminal can show. */
static void blob_name(struct check_blob *blob)
{
	const struct xattr *xattr = md_xattr_find(&blob->md.xattrs, LVOLSTORE_XATTR_NAME);
	const char *value = xattr ? xattr_value(xattr) : NULL;
	size_t length = xattr ? strnlen(value, xattr->value_length) : 0;

	length = u64_min(length, sizeof(blob->name) - 1);
	for (size_t i = 0; i < length; i++)
		blob->name[i] =
			(char)((unsigned char)value[i] < 0x20 || value[i] == 0x7f ? '?' : value[i]);
}

static bool chain_append(struct check *check, struct check_blob *blob, uint32_t page)
{
	uint32_t *more = reallocarray(blob->chain, blob->chain_length + 1u, sizeof(*more));

	if (!more) {
		check_fail(check, -ENOMEM, "not enough memory");
		return false;
	}
	more[blob->chain_length++] = page;
	blob->chain = more;
	return true;
}

static bool page_is_zero(const void *page)
{
	static const uint8_t zeroes[BLOBSTORE_PAGE_BYTES];

	return memcmp(page, zeroes, sizeof(zeroes)) == 0;
}

static void chain_refuse(struct check *check, struct check_blob *blob, uint32_t index,
	const void *page, const struct reason *reason)
{
	const struct fault_at at = {blob, index};

	blob_name(blob);
	blob->bad = true;
	if (blob->unknown) {
		blob->pending = true;
		blob->gone = check_fault(check, "stale root", REMEDY_REPAIR, at,
			"after a crash it is taken for a volume, and the store may be refused",
			"a page that nobody knows as a volume's first looks like one");
	} else if (blob->chain_length > 1 && page_is_zero(page))
		blob->gone = check_fault(check, "half deleted", REMEDY_REPAIR, at,
			"it cannot be opened or deleted, and what it had is never free again",
			"the volume was being deleted when its program died");
	else
		blob->gone = check_fault(check, "chain", REMEDY_LOSE, at,
			"the volume cannot be opened; giving it up frees its space", "%s",
			reason_text(reason, -EILSEQ));
}

static void chain_read(struct check *check, struct check_blob *blob)
{
	struct blobstore_page page;
	struct md_decoder decoder;
	struct reason reason = {0};
	int rc = 0;

	md_init(&blob->md, blob->id);
	md_decode_begin(&decoder, &blob->md, check->super.md_len);
	decoder.clusters = super_clusters(&check->super);
	while (!rc && decoder.index != BLOBSTORE_NO_PAGE) {
		if (decoder.sequence > 0 && !chain_append(check, blob, decoder.index))
			return;
		if (!check_read_page(check, decoder.index, &page))
			return;
		rc = md_decode_page(&decoder, &page, &reason);
	}
	if (!rc)
		rc = md_decode_end(&decoder, &reason);
	if (rc == -ENOMEM)
		check_fail(check, rc, "not enough memory for all volumes");
	else if (rc)
		chain_refuse(check, blob, blob->chain[blob->chain_length - 1], &page, &reason);
	else
		blob_name(blob);
}

static void flags_check(struct check *check, struct check_blob *blob)
{
	const struct fault_at at = {blob, blob->chain[0]};
	const struct md *md = &blob->md;

	if (md->invalid_flags & ~BLOBSTORE_INVALID_KNOWN) {
		blob->bad = true;
		check_fault(check, "flags", REMEDY_NONE, at,
			"the volume cannot be opened by this program; a newer one may",
			"it has flags that are not known (%#" PRIx64 ")",
			md->invalid_flags & ~BLOBSTORE_INVALID_KNOWN);
	} else if ((md->data_ro_flags & ~BLOBSTORE_DATA_RO_KNOWN) ||
		   (md->md_ro_flags & ~BLOBSTORE_MD_RO_KNOWN)) {
		check_fault(check, "flags", REMEDY_NONE, at,
			"this program can only read the volume; a newer one may do more",
			"it has flags that are not known");
	}
}

/* ---- extent pages -------------------------------------------------------------------------- */

static bool slots_alloc(struct check *check, struct check_blob *blob)
{
	if (!blob->md.uses_table || blob->slots)
		return !check->rc;
	blob->slots = calloc(blob->md.num_slots + 1u, sizeof(*blob->slots));
	blob->write_slots = calloc(blob->md.num_slots + 1u, sizeof(*blob->write_slots));
	if (!blob->slots || !blob->write_slots)
		check_fail(check, -ENOMEM, "not enough memory for all volumes");
	return !check->rc;
}

/* Nothing can be mended in a page that another place uses as well. */
static bool slot_is_shared(const struct check *check, const struct check_blob *blob, uint32_t slot)
{
	return bitmap_test(&check->pages_twice, blob->md.pages[slot]);
}

static void slot_refuse(
	struct check *check, struct check_blob *blob, uint32_t slot, const struct reason *reason)
{
	const struct fault_at at = {blob, blob->md.pages[slot]};

	if (check_fault(check, "extent page", REMEDY_LOSE, at,
		    "neither the volume nor, after a crash, the store can be opened elsewhere; "
		    "giving the page up loses what is in that part of the volume",
		    "%s", reason_text(reason, -EILSEQ))) {
		blob->md.pages[slot] = 0;
		blob->write_chain = true;
		check_blob_make_thin(blob);
	} else {
		blob->bad = true;
	}
}

static void slot_check_count(
	struct check *check, struct check_blob *blob, uint32_t slot, uint32_t entries)
{
	const struct fault_at at = {blob, blob->md.pages[slot]};
	uint32_t wanted = extent_page_entries(blob->md.num_clusters, slot);
	uint32_t *clusters = blob->slots[slot];

	if (entries == wanted || slot_is_shared(check, blob, slot))
		return;
	if (!check_fault(check, entries ? "extent count" : "empty extent page", REMEDY_REPAIR, at,
		    entries ? "the volume has another size, or cannot be opened, elsewhere"
			    : "after a crash the known implementation refuses the whole store",
		    "slot %u has %u entries instead of %u: a change of size did not come to its "
		    "end",
		    slot, entries, wanted))
		return;
	for (uint32_t i = wanted; i < BLOBSTORE_SLOT_ENTRIES; i++)
		clusters[i] = 0;
	blob->write_slots[slot] = true;
}

static bool slot_check_cluster(
	struct check *check, struct check_blob *blob, uint32_t slot, uint32_t i)
{
	const struct fault_at at = {blob, blob->md.pages[slot]};
	uint32_t cluster = blob->slots[slot][i];

	if (cluster >= super_md_clusters(&check->super) && cluster < super_clusters(&check->super))
		return true;
	if (check_fault(check, "cluster",
		    slot_is_shared(check, blob, slot) ? REMEDY_NONE : REMEDY_LOSE, at,
		    "the volume cannot be opened; giving the entry up loses what was there",
		    "cluster %u of the volume is said to be in cluster %u of the store, which %s",
		    slot * BLOBSTORE_SLOT_ENTRIES + i, cluster,
		    cluster < super_clusters(&check->super) ? "is metadata" : "is not there"))
		return false;
	blob->bad = true;
	return true;
}

/* What is behind the end of the volume counts as well as long as it is not mended: elsewhere it
 * does. */
static void slot_check_clusters(struct check *check, struct check_blob *blob, uint32_t slot)
{
	uint32_t wanted = extent_page_entries(blob->md.num_clusters, slot);
	bool holes = false;

	for (uint32_t i = 0; i < BLOBSTORE_SLOT_ENTRIES; i++) {
		if (blob->slots[slot][i] && !slot_check_cluster(check, blob, slot, i)) {
			blob->slots[slot][i] = 0;
			blob->write_slots[slot] = true;
			check_blob_make_thin(blob);
		}
		holes |= i < wanted && !blob->slots[slot][i];
	}
	if (holes && !(blob->md.invalid_flags & BLOBSTORE_THIN) &&
		!slot_is_shared(check, blob, slot)) {
		const struct fault_at at = {blob, blob->md.pages[slot]};

		if (check_fault(check, "hole", REMEDY_REPAIR, at,
			    "the volume cannot be opened elsewhere; as a thin one it reads zeroes "
			    "there",
			    "slot %u of a thick volume has no clusters in places", slot))
			check_blob_make_thin(blob);
	}
}

static void slot_read(struct check *check, struct check_blob *blob, uint32_t slot)
{
	struct reason reason = {0};
	struct blobstore_page page;
	uint32_t entries;
	int rc;

	if (!check_read_page(check, blob->md.pages[slot], &page))
		return;
	blob->slots[slot] = calloc(BLOBSTORE_SLOT_ENTRIES, sizeof(uint32_t));
	if (!blob->slots[slot]) {
		check_fail(check, -ENOMEM, "not enough memory for all volumes");
		return;
	}
	rc = extent_page_decode(&page, slot, blob->slots[slot], &entries, &reason);
	if (rc) {
		free(blob->slots[slot]);
		blob->slots[slot] = NULL;
		slot_refuse(check, blob, slot, &reason);
		return;
	}
	slot_check_count(check, blob, slot, entries);
	slot_check_clusters(check, blob, slot);
}

static void runs_check(struct check *check, struct check_blob *blob)
{
	const struct fault_at at = {blob, blob->chain[0]};

	for (uint64_t i = 0; blob->md.runs && i < blob->md.num_clusters; i++) {
		uint32_t cluster = blob->md.runs[i];

		if (!cluster || cluster >= super_md_clusters(&check->super))
			continue;
		if (check_fault(check, "cluster", REMEDY_LOSE, at,
			    "the volume cannot be opened; giving the entry up loses what was there",
			    "cluster %" PRIu64 " of the volume is said to be in cluster %u of the "
			    "store, which is metadata",
			    i, cluster))
			check_blob_drop_cluster(blob, i);
		else
			blob->bad = true;
	}
}

/* ---- all of them --------------------------------------------------------------------------- */

static void page_note(void *arg, uint64_t slot, uint32_t page)
{
	struct check *check = arg;

	if (page < check->pages.bits && !bitmap_set(&check->pages, page))
		bitmap_set(&check->pages_twice, page);
}

static void pages_note(struct check *check)
{
	if (!check->rc && (bitmap_init(&check->pages, check->super.md_len) ||
				  bitmap_init(&check->pages_twice, check->super.md_len)))
		check_fail(check, -ENOMEM, "not enough memory for all pages");
	for (unsigned i = 0; i < check->num_blobs && !check->rc; i++) {
		if (!check->blobs[i].gone && !check->blobs[i].pending)
			check_blob_for_each_page(&check->blobs[i], page_note, check);
	}
}

static void blob_read(struct check *check, struct check_blob *blob)
{
	if (blob->gone || !slots_alloc(check, blob))
		return;
	if (!blob->bad)
		flags_check(check, blob);
	for (uint32_t slot = 0; slot < blob->md.num_slots && !check->rc; slot++) {
		if (blob->md.pages[slot])
			slot_read(check, blob, slot);
	}
	if (!blob->md.uses_table && !blob->bad)
		runs_check(check, blob);
	check->any_bad |= blob->bad && !blob->gone && !blob->pending;
}

/* What looks like a root is somebody's extent page: that one is written again, with its own id. */
static void stale_root_resolve(struct check *check, struct check_blob *stale)
{
	for (unsigned i = 0; i < check->num_blobs; i++) {
		struct check_blob *blob = &check->blobs[i];

		for (uint32_t slot = 0; blob->slots && slot < blob->md.num_slots; slot++) {
			if (blob->md.pages[slot] != stale->chain[0] || !blob->slots[slot])
				continue;
			blob->write_slots[slot] = true;
			blob->write_first = true;
			stale->keep_root = true;
		}
	}
}

void check_read_blobs(struct check *check)
{
	for (unsigned i = 0; i < check->num_blobs && !check->rc; i++)
		chain_read(check, &check->blobs[i]);
	pages_note(check);
	for (unsigned i = 0; i < check->num_blobs && !check->rc; i++)
		blob_read(check, &check->blobs[i]);
	for (unsigned i = 0; i < check->num_blobs && !check->rc; i++) {
		if (check->blobs[i].unknown && check->blobs[i].gone)
			stale_root_resolve(check, &check->blobs[i]);
	}
}
