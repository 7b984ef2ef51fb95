/* SPDX-License-Identifier: BSD-2-Clause */
#include "md_model.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static bool xattrs_equal(const struct list *a, const struct list *b)
{
	const struct list *at = a->next, *bt = b->next;

	for (; at != a && bt != b; at = at->next, bt = bt->next) {
		const struct xattr *ax = list_entry(at, struct xattr, link);
		const struct xattr *bx = list_entry(bt, struct xattr, link);

		if (ax->name_length != bx->name_length || ax->value_length != bx->value_length)
			return false;
		if (memcmp(ax->name, bx->name, ax->name_length + 1u + ax->value_length) != 0)
			return false;
	}
	return at == a && bt == b;
}

bool md_equals(const struct md *a, const struct md *b)
{
	if (a->id != b->id || a->invalid_flags != b->invalid_flags ||
		a->data_ro_flags != b->data_ro_flags || a->md_ro_flags != b->md_ro_flags)
		return false;
	if (!xattrs_equal(&a->xattrs, &b->xattrs) ||
		!xattrs_equal(&a->internal_xattrs, &b->internal_xattrs))
		return false;
	if (a->uses_table != b->uses_table || a->num_clusters != b->num_clusters)
		return false;
	if (a->uses_table)
		return a->num_slots == b->num_slots &&
		       (a->num_slots == 0 ||
			       memcmp(a->pages, b->pages, 4 * (size_t)a->num_slots) == 0);
	return a->num_clusters == 0 || memcmp(a->runs, b->runs, 4 * a->num_clusters) == 0;
}

uint32_t md_run_at(void *md, uint64_t index)
{
	return ((const struct md *)md)->runs[index];
}

int md_decode_from(const struct blobstore_page *pages, uint32_t md_len, uint32_t clusters,
	uint64_t id, struct md *ret_md, struct reason *reason)
{
	struct md_decoder decoder;
	int rc = 0;

	md_init(ret_md, id);
	md_decode_begin(&decoder, ret_md, md_len);
	decoder.clusters = clusters;
	while (!rc && decoder.index != BLOBSTORE_NO_PAGE) {
		invariant(decoder.index < md_len);
		rc = md_decode_page(&decoder, &pages[decoder.index], reason);
	}
	if (!rc)
		rc = md_decode_end(&decoder, reason);
	if (rc)
		md_fini(ret_md);
	return rc;
}

void md_write_to(const struct md *md, struct blobstore_page *pages, uint32_t md_len)
{
	struct md_image image;
	uint32_t *indexes, root = (uint32_t)md->id, next = md_len;

	invariant(md_encode(md, md_run_at, (void *)(uintptr_t)md, &image) == 0);
	invariant(image.num_pages <= md_len && root < md_len);
	indexes = calloc(image.num_pages, sizeof(*indexes));
	invariant(indexes);
	indexes[0] = root;
	for (unsigned i = 1; i < image.num_pages; i++) {
		next -= next - 1 == root ? 2 : 1;
		indexes[i] = next;
	}
	md_image_link(&image, md->id, indexes);
	for (unsigned i = 0; i < image.num_pages; i++)
		pages[indexes[i]] = image.pages[i];
	free(indexes);
	md_image_fini(&image);
}

int md_round_trip(const struct md *md, uint32_t md_len, uint32_t clusters, struct md *ret_md,
	struct reason *reason)
{
	struct blobstore_page *pages = calloc(md_len, sizeof(*pages));
	int rc;

	invariant(pages);
	md_write_to(md, pages, md_len);
	rc = md_decode_from(pages, md_len, clusters, md->id, ret_md, reason);
	free(pages);
	return rc;
}
