/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A blob's metadata from its chain of pages, one page at a time as they are read.
 *
 * A chain cannot loop: each page tells its place in it, which rises. Descriptors may come in any
 * order, except that the flags precede what they decide about. Memory is bounded before it is
 * taken: an array of extent pages is address space until a slot is filled, clusters in runs are at
 * most those of the store, and there are at most XATTRS_MAX xattrs, many more than any known
 * program sets, so that a look for a name that was there before stays cheap.
 *
 * Descriptors of unknown types are skipped, as the known implementation does when it opens a blob;
 * they are lost when the blob is written again. What is new in the format announces itself in
 * flags.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/endian.h"
#include "base/log.h"
#include "blob/md_impl.h"

#define XATTRS_MAX 4096u

struct descriptor {
	uint8_t type;
	uint32_t length;
	const uint8_t *body;
};

static uint64_t page_id(const struct blobstore_page *page)
{
	return le64toh(page->id);
}

bool md_page_is_root(const void *page, uint32_t index)
{
	const struct blobstore_page *root = page;

	return page_id(root) == (BLOBSTORE_ID_BIT | index) && root->sequence == 0 &&
	       page_checksum_is_right(root);
}

void md_decode_begin(struct md_decoder *decoder, struct md *md, uint32_t md_len)
{
	*decoder = (struct md_decoder){
		.md = md,
		.md_len = md_len,
		.clusters = UINT32_MAX,
		.index = (uint32_t)md->id,
	};
	md->invalid_flags = 0;
	md->uses_table = false;
}

static int refuse(const struct md_decoder *decoder, struct reason *reason, const char *fault)
{
	return reason_set(reason, -EILSEQ, "blob %#" PRIx64 ", metadata page %u: %s",
		decoder->md->id, decoder->index, fault);
}

/* ---- descriptors -------------------------------------------------------------------------- */

static int decode_flags(
	struct md_decoder *decoder, const struct descriptor *descriptor, struct reason *reason)
{
	struct md *md = decoder->md;

	if (descriptor->length != BLOBSTORE_FLAGS_LENGTH)
		return refuse(decoder, reason, "the flags have a wrong length");
	if (decoder->has_flags || decoder->has_table || decoder->has_runs)
		return refuse(decoder, reason, "the flags come twice or after the clusters");
	decoder->has_flags = true;
	md->invalid_flags = le64_get(descriptor->body);
	md->data_ro_flags = le64_get(descriptor->body + 8);
	md->md_ro_flags = le64_get(descriptor->body + 16);
	return 0;
}

static int decode_xattr(struct md_decoder *decoder, const struct descriptor *descriptor,
	struct list *xattrs, struct reason *reason)
{
	const uint8_t *name = descriptor->body + 4;
	uint16_t name_length, value_length;
	struct xattr *xattr;

	if (descriptor->length < 4)
		return refuse(decoder, reason, "an xattr is too short");
	name_length = le16_get(descriptor->body);
	value_length = le16_get(descriptor->body + 2);
	if (descriptor->length != 4u + name_length + value_length)
		return refuse(decoder, reason, "the lengths of an xattr contradict each other");
	if (decoder->xattrs++ == XATTRS_MAX)
		return refuse(decoder, reason, "there are too many xattrs");
	if (md_xattr_lookup(xattrs, name, name_length))
		return refuse(decoder, reason, "an xattr is there twice");
	xattr = md_xattr_create(name, name_length, name + name_length, value_length);
	if (!xattr)
		return -ENOMEM;
	list_add_tail(xattrs, &xattr->link);
	return 0;
}

static bool md_is_thin(const struct md *md)
{
	return md->invalid_flags & BLOBSTORE_THIN;
}

static int decode_table_head(
	struct md_decoder *decoder, const struct descriptor *descriptor, struct reason *reason)
{
	struct md *md = decoder->md;
	uint64_t clusters;
	int rc;

	if (descriptor->length < 8 || descriptor->length % PAIR_BYTES)
		return refuse(decoder, reason, "an extent table has a wrong length");
	clusters = le64_get(descriptor->body);
	if (decoder->has_runs)
		return refuse(decoder, reason, "there are both runs and an extent table");
	if (decoder->has_table)
		return clusters == md->num_clusters
			       ? 0
			       : refuse(decoder, reason, "two extent tables tell different sizes");
	if (clusters > MD_CLUSTERS_MAX)
		return refuse(decoder, reason, "the extent table tells an impossible size");
	decoder->has_table = true;
	md->uses_table = true;
	rc = md_resize(md, clusters);
	return rc ? reason_set(reason, rc, "not enough memory for the extent table") : 0;
}

static int decode_table(
	struct md_decoder *decoder, const struct descriptor *descriptor, struct reason *reason)
{
	struct md *md = decoder->md;
	int rc = decode_table_head(decoder, descriptor, reason);

	if (rc)
		return rc;
	for (uint32_t at = 8; at < descriptor->length; at += PAIR_BYTES) {
		uint32_t page = le32_get(descriptor->body + at);
		uint32_t count = le32_get(descriptor->body + at + 4);

		if (count > md->num_slots - decoder->decoded)
			return refuse(
				decoder, reason, "the extent table has more entries than slots");
		if (page && count != 1)
			return refuse(decoder, reason, "an extent page is in several slots");
		if (page >= decoder->md_len)
			return refuse(decoder, reason, "an extent page lies outside the metadata");
		if (!page && !md_is_thin(md))
			return refuse(decoder, reason,
				"a blob that is not thin has no clusters somewhere");
		if (page)
			md->pages[decoder->decoded] = page;
		decoder->decoded += count;
	}
	return 0;
}

/* Adds up the runs of a descriptor and checks each, before there is memory for them. */
static int runs_check(struct md_decoder *decoder, const struct descriptor *descriptor,
	uint64_t *ret_clusters, struct reason *reason)
{
	uint64_t clusters = 0;

	if (descriptor->length == 0 || descriptor->length % PAIR_BYTES)
		return refuse(decoder, reason, "a list of runs has a wrong length");
	if (decoder->has_table)
		return refuse(decoder, reason, "there are both runs and an extent table");
	for (uint32_t at = 0; at < descriptor->length; at += PAIR_BYTES) {
		uint64_t first = le32_get(descriptor->body + at);
		uint64_t count = le32_get(descriptor->body + at + 4);

		if (first == 0 && !md_is_thin(decoder->md))
			return refuse(decoder, reason,
				"a blob that is not thin has no clusters somewhere");
		if (first && first + count > decoder->clusters)
			return refuse(decoder, reason, "a run lies outside the store");
		clusters += count;
		decoder->allocated += first ? count : 0;
	}
	if (clusters == 0)
		return refuse(decoder, reason, "a list of runs is empty");
	if (clusters > MD_CLUSTERS_MAX - decoder->decoded || decoder->allocated > decoder->clusters)
		return refuse(decoder, reason, "the runs tell an impossible size");
	*ret_clusters = clusters;
	return 0;
}

static int decode_runs(
	struct md_decoder *decoder, const struct descriptor *descriptor, struct reason *reason)
{
	struct md *md = decoder->md;
	uint64_t clusters = 0;
	int rc = runs_check(decoder, descriptor, &clusters, reason);

	if (rc)
		return rc;
	decoder->has_runs = true;
	rc = md_runs_grow(md, clusters);
	if (rc)
		return reason_set(reason, rc, "not enough memory for the runs");
	for (uint32_t at = 0; at < descriptor->length; at += PAIR_BYTES) {
		uint32_t first = le32_get(descriptor->body + at);
		uint32_t count = le32_get(descriptor->body + at + 4);

		for (uint32_t i = 0; first && i < count; i++)
			md->runs[decoder->decoded + i] = first + i;
		decoder->decoded += count;
	}
	return 0;
}

static int decode_descriptor(
	struct md_decoder *decoder, const struct descriptor *descriptor, struct reason *reason)
{
	struct md *md = decoder->md;

	switch (descriptor->type) {
	case BLOBSTORE_RUNS:
		return decode_runs(decoder, descriptor, reason);
	case BLOBSTORE_XATTR:
		return decode_xattr(decoder, descriptor, &md->xattrs, reason);
	case BLOBSTORE_FLAGS:
		return decode_flags(decoder, descriptor, reason);
	case BLOBSTORE_XATTR_INTERNAL:
		return decode_xattr(decoder, descriptor, &md->internal_xattrs, reason);
	case BLOBSTORE_EXTENT_TABLE:
		return decode_table(decoder, descriptor, reason);
	case BLOBSTORE_EXTENT_PAGE:
		return refuse(decoder, reason, "an extent page is part of a chain");
	default: /* padding, and what the head of this file says */
		return 0;
	}
}

/* ---- pages -------------------------------------------------------------------------------- */

static int page_check(
	const struct md_decoder *decoder, const struct blobstore_page *page, struct reason *reason)
{
	if (decoder->index >= decoder->md_len)
		return refuse(decoder, reason, "it lies outside the metadata");
	if (decoder->sequence >= decoder->md_len)
		return refuse(decoder, reason, "the chain is longer than the metadata");
	if (!page_checksum_is_right(page))
		return refuse(decoder, reason, "its checksum is wrong");
	if (page_id(page) != decoder->md->id)
		return refuse(decoder, reason, "it belongs to another blob");
	if (le32toh(page->sequence) != decoder->sequence)
		return refuse(decoder, reason, "its place in the chain is another");
	return 0;
}

int md_decode_page(struct md_decoder *decoder, const void *page, struct reason *reason)
{
	const struct blobstore_page *chain = page;
	uint32_t at = 0, next = le32toh(chain->next);
	int rc = page_check(decoder, chain, reason);

	while (!rc && at + BLOBSTORE_DESCRIPTOR_HEAD <= BLOBSTORE_DESCRIPTOR_AREA) {
		const uint8_t *head = chain->descriptors + at;
		const struct descriptor descriptor = {
			head[0], le32_get(head + 1), head + BLOBSTORE_DESCRIPTOR_HEAD};

		at += BLOBSTORE_DESCRIPTOR_HEAD;
		if (descriptor.type == BLOBSTORE_PADDING && descriptor.length == 0)
			break;
		if (descriptor.length > BLOBSTORE_DESCRIPTOR_AREA - at)
			return refuse(decoder, reason, "a descriptor does not end within it");
		at += descriptor.length;
		rc = decode_descriptor(decoder, &descriptor, reason);
	}
	if (rc)
		return rc;
	if (next != BLOBSTORE_NO_PAGE && next >= decoder->md_len)
		return refuse(decoder, reason, "the next page lies outside the metadata");
	decoder->sequence++;
	decoder->index = next;
	return 0;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static int check_internal_xattrs(const struct md *md, struct reason *reason)
{
	static const char *const ids[] = {BLOBSTORE_XATTR_PARENT, BLOBSTORE_XATTR_SNAPSHOT_PENDING,
		BLOBSTORE_XATTR_REMOVAL_PENDING};
	const struct xattr *xattr;

	for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
		xattr = md_xattr_find(&md->internal_xattrs, ids[i]);
		if (xattr && xattr->value_length != sizeof(uint64_t))
			return reason_set(reason, -EILSEQ,
				"blob %#" PRIx64 ": its internal xattr %s is no blob id", md->id,
				ids[i]);
	}
	xattr = md_xattr_find(&md->internal_xattrs, BLOBSTORE_XATTR_ESNAP);
	if (md->invalid_flags & BLOBSTORE_ESNAP && (!xattr || xattr->value_length == 0))
		return reason_set(reason, -EILSEQ,
			"blob %#" PRIx64 ": it does not name its external parent", md->id);
	return 0;
}

int md_decode_end(struct md_decoder *decoder, struct reason *reason)
{
	const struct md *md = decoder->md;

	invariant(decoder->sequence > 0 && decoder->index == BLOBSTORE_NO_PAGE);
	if (decoder->has_table && decoder->decoded < md->num_slots && !md_is_thin(md))
		return reason_set(reason, -EILSEQ,
			"blob %#" PRIx64 ": its extent table ends after %" PRIu64 " of %u slots",
			md->id, decoder->decoded, md->num_slots);
	return check_internal_xattrs(md, reason);
}
