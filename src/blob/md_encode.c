/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A blob's metadata into a chain of pages. A descriptor never crosses a page: an xattr that does
 * not fit starts a new one, extent table and runs are cut and go on in another descriptor. What is
 * left of a page stays zero.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/log.h"
#include "blob/md_impl.h"

#define RUNS_MIN (BLOBSTORE_DESCRIPTOR_HEAD + PAIR_BYTES)

struct encoder {
	struct md_image *image;
	uint32_t used; /* of the last page's descriptor area */
};

/* ---- pages -------------------------------------------------------------------------------- */

static int image_grow(struct md_image *image)
{
	unsigned room = image->room ? image->room * 2 : 1;
	struct blobstore_page *pages;

	if (image->num_pages < image->room)
		return 0;
	pages = aligned_alloc(BLOBSTORE_PAGE_BYTES, room * sizeof(*pages));
	if (!pages)
		return -ENOMEM;
	if (image->num_pages)
		memcpy(pages, image->pages, image->num_pages * sizeof(*pages));
	free(image->pages);
	image->pages = pages;
	image->room = room;
	return 0;
}

static int encoder_add_page(struct encoder *encoder)
{
	struct md_image *image = encoder->image;
	int rc = image_grow(image);

	if (rc)
		return rc;
	memset(&image->pages[image->num_pages++], 0, sizeof(*image->pages));
	encoder->used = 0;
	return 0;
}

static uint32_t encoder_left(const struct encoder *encoder)
{
	return BLOBSTORE_DESCRIPTOR_AREA - encoder->used;
}

/* A page with at least so many bytes left. */
static int encoder_need(struct encoder *encoder, uint32_t bytes)
{
	invariant(bytes <= BLOBSTORE_DESCRIPTOR_AREA);
	return encoder_left(encoder) < bytes ? encoder_add_page(encoder) : 0;
}

/* Where the body of a descriptor goes; there is room. */
static uint8_t *encoder_put(struct encoder *encoder, uint8_t type, uint32_t length)
{
	struct md_image *image = encoder->image;
	uint8_t *at = image->pages[image->num_pages - 1].descriptors + encoder->used;

	invariant(BLOBSTORE_DESCRIPTOR_HEAD + length <= encoder_left(encoder));
	at[0] = type;
	le32_put(at + 1, length);
	encoder->used += BLOBSTORE_DESCRIPTOR_HEAD + length;
	return at + BLOBSTORE_DESCRIPTOR_HEAD;
}

/* ---- descriptors -------------------------------------------------------------------------- */

static void encode_flags(struct encoder *encoder, const struct md *md)
{
	uint8_t *body = encoder_put(encoder, BLOBSTORE_FLAGS, BLOBSTORE_FLAGS_LENGTH);

	le64_put(body, md->invalid_flags);
	le64_put(body + 8, md->data_ro_flags);
	le64_put(body + 16, md->md_ro_flags);
}

static int encode_xattrs(struct encoder *encoder, uint8_t type, const struct list *xattrs)
{
	const struct xattr *xattr;

	list_for_each_entry (xattr, xattrs, link) {
		uint32_t lengths = (uint32_t)xattr->name_length + xattr->value_length;
		int rc = encoder_need(encoder, XATTR_HEAD + lengths);
		uint8_t *body;

		if (rc)
			return rc;
		body = encoder_put(encoder, type, 4 + lengths);
		le16_put(body, xattr->name_length);
		le16_put(body + 2, xattr->value_length);
		memcpy(body + 4, xattr->name, xattr->name_length);
		memcpy(body + 4 + xattr->name_length, xattr_value(xattr), xattr->value_length);
	}
	return 0;
}

/* There is a table even of no slots: it tells that the blob uses one. */
static int encode_table(struct encoder *encoder, const struct md *md)
{
	uint32_t slot = 0;

	do {
		int rc = encoder_need(encoder, TABLE_HEAD);
		uint32_t entries;
		uint8_t *body;

		if (rc)
			return rc;
		entries = (uint32_t)u64_min(
			md->num_slots - slot, (encoder_left(encoder) - TABLE_HEAD) / PAIR_BYTES);
		body = encoder_put(encoder, BLOBSTORE_EXTENT_TABLE, 8 + entries * PAIR_BYTES);
		le64_put(body, md->num_clusters);
		for (uint32_t i = 0; i < entries; i++) {
			le32_put(body + 8 + i * PAIR_BYTES, md->pages[slot + i]);
			le32_put(body + 8 + i * PAIR_BYTES + 4, 1);
		}
		slot += entries;
	} while (slot < md->num_slots);
	return 0;
}

struct run_source {
	md_cluster_at cluster_at;
	void *arg;
	uint64_t next, end;
	uint32_t ahead; /* the cluster at next, when that is not the end */
};

static void run_source_step(struct run_source *source)
{
	source->next++;
	if (source->next < source->end)
		source->ahead = source->cluster_at(source->arg, source->next);
}

/* The longest run from here; there is one. */
static void run_source_get(struct run_source *source, uint32_t *ret_first, uint32_t *ret_count)
{
	uint32_t first = source->ahead, count = 0;

	do {
		count++;
		run_source_step(source);
	} while (source->next < source->end && source->ahead == (first ? first + count : 0));
	*ret_first = first;
	*ret_count = count;
}

/* The runs that fit the last page, as one descriptor whose length is known afterwards. */
static void encode_runs_of_page(struct encoder *encoder, struct run_source *source)
{
	uint32_t most = (encoder_left(encoder) - BLOBSTORE_DESCRIPTOR_HEAD) / PAIR_BYTES, runs = 0;
	uint8_t *body = encoder_put(encoder, BLOBSTORE_RUNS, 0);

	for (; runs < most && source->next < source->end; runs++) {
		uint32_t first, count;

		run_source_get(source, &first, &count);
		le32_put(body + runs * PAIR_BYTES, first);
		le32_put(body + runs * PAIR_BYTES + 4, count);
	}
	le32_put(body - 4, runs * PAIR_BYTES);
	encoder->used += runs * PAIR_BYTES;
}

static int encode_runs(
	struct encoder *encoder, const struct md *md, md_cluster_at cluster_at, void *arg)
{
	struct run_source source = {cluster_at, arg, 0, md->num_clusters, 0};

	if (source.end)
		source.ahead = cluster_at(arg, 0);
	while (source.next < source.end) {
		int rc = encoder_need(encoder, RUNS_MIN);

		if (rc)
			return rc;
		encode_runs_of_page(encoder, &source);
	}
	return 0;
}

/* ---- images ------------------------------------------------------------------------------- */

int md_encode(const struct md *md, md_cluster_at cluster_at, void *arg, struct md_image *ret_image)
{
	struct md_image image = {0};
	struct encoder encoder = {.image = &image};
	int rc = encoder_add_page(&encoder);

	if (rc)
		return rc;
	encode_flags(&encoder, md);
	rc = encode_xattrs(&encoder, BLOBSTORE_XATTR, &md->xattrs);
	if (!rc)
		rc = encode_xattrs(&encoder, BLOBSTORE_XATTR_INTERNAL, &md->internal_xattrs);
	if (!rc)
		rc = md->uses_table ? encode_table(&encoder, md)
				    : encode_runs(&encoder, md, cluster_at, arg);
	if (rc) {
		md_image_fini(&image);
		return rc;
	}
	*ret_image = image;
	return 0;
}

void md_image_link(struct md_image *image, uint64_t id, const uint32_t *indexes)
{
	for (unsigned i = 0; i < image->num_pages; i++) {
		struct blobstore_page *page = &image->pages[i];
		bool last = i + 1 == image->num_pages;

		page->id = htole64(id);
		page->sequence = htole32(i);
		page->next = htole32(last ? BLOBSTORE_NO_PAGE : indexes[i + 1]);
		page->crc = htole32(page_checksum(page));
	}
}

void md_image_fini(struct md_image *image)
{
	free(image->pages);
	*image = (struct md_image){0};
}
