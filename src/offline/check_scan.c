/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The super block, the masks where they are to be trusted, and the roots: a root is what says so
 * itself (docs/volumes.md, "Pages and chains"), whether a mask knows of it or not, since that is
 * what a recovery brings to life.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/endian.h"
#include "offline/check_impl.h"

#define SCAN_BYTES MIB

static const struct fault_at nowhere = {.page = FAULT_NO_PAGE};

bool check_read_page(struct check *check, uint32_t index, void *ret_page)
{
	int rc = image_read(check->image, super_page_offset(&check->super, index), ret_page,
		BLOBSTORE_PAGE_BYTES);

	if (rc)
		check_fail(check, rc, "metadata page %u cannot be read: %s", index, strerror(-rc));
	return rc == 0;
}

/* ---- super block --------------------------------------------------------------------------- */

bool check_read_super(struct check *check)
{
	static const char lost[] = "the store cannot be opened";
	struct blobstore_super page;
	struct reason reason = {0};
	int rc = check->image->size_bytes < sizeof(page)
			 ? -EILSEQ
			 : image_read(check->image, 0, &page, sizeof(page));

	if (rc && rc != -EILSEQ) {
		check_fail(check, rc, "the super block cannot be read: %s", strerror(-rc));
		return false;
	}
	if (rc)
		reason_set(&reason, rc, "there is no blobstore on this device: it is too small");
	else
		rc = super_decode(&page, check->image->size_bytes, &check->super, &reason);
	if (rc) {
		check_fault(check, "super block", REMEDY_NONE, nowhere, lost, "%s",
			reason_text(&reason, rc));
		return false;
	}
	if (le32toh(page.clean) > 1)
		check->super_write = check_fault(check, "super block", REMEDY_REPAIR, nowhere,
			"programs differ in whether they trust its masks",
			"the super block says neither clean nor not, but %u", le32toh(page.clean));
	return true;
}

uint64_t check_ahead_offset(const struct super *super)
{
	uint64_t bytes = (uint64_t)super->page_mask_len * super->md_page_size;

	if (mask_bytes(super->md_len) + sizeof(struct blobstore_ahead) > bytes)
		return 0;
	return (uint64_t)super->page_mask_start * super->md_page_size + bytes -
	       sizeof(struct blobstore_ahead);
}

/* ---- masks --------------------------------------------------------------------------------- */

static bool mask_read(struct check *check, enum blobstore_mask_type type, uint32_t start,
	uint32_t len, uint32_t bits, struct bitmap *ret_map)
{
	size_t bytes = (size_t)len * check->super.md_page_size;
	void *region = malloc(bytes);
	struct reason reason = {0};
	int rc = region ? bitmap_init(ret_map, bits) : -ENOMEM;

	if (!rc)
		rc = image_read(
			check->image, (uint64_t)start * check->super.md_page_size, region, bytes);
	if (rc)
		check_fail(check, rc, "a mask cannot be read: %s", strerror(-rc));
	if (!rc)
		rc = mask_decode(type, region, bytes, bits, ret_map, &reason);
	free(region);
	if (rc && !check->rc)
		check->masks_bad |= check_fault(check, "mask", REMEDY_REPAIR, nowhere,
			"what is in use may be given away", "%s", reason_text(&reason, rc));
	return rc == 0;
}

static void ahead_read(struct check *check)
{
	uint64_t offset = check_ahead_offset(&check->super);
	struct blobstore_ahead mark;
	int rc = offset ? image_read(check->image, offset, &mark, sizeof(mark)) : -ENOENT;

	check->ahead = rc == 0 && memcmp(mark.signature, BLOBSTORE_AHEAD_SIGNATURE,
					  sizeof(mark.signature)) == 0;
}

void check_read_masks(struct check *check)
{
	const struct super *super = &check->super;

	ahead_read(check);
	if (!super->clean || !super->blobid_mask_len)
		return;
	check->masks_known =
		mask_read(check, BLOBSTORE_MASK_PAGES, super->page_mask_start, super->page_mask_len,
			super->md_len, &check->mask_pages) &&
		mask_read(check, BLOBSTORE_MASK_CLUSTERS, super->cluster_mask_start,
			super->cluster_mask_len, super_clusters(super), &check->mask_clusters) &&
		mask_read(check, BLOBSTORE_MASK_BLOBIDS, super->blobid_mask_start,
			super->blobid_mask_len, super->md_len, &check->mask_blobs);
}

/* ---- roots --------------------------------------------------------------------------------- */

static bool page_is_blank(const struct blobstore_page *page)
{
	static const struct blobstore_page blank;

	return memcmp(page, &blank, sizeof(blank)) == 0;
}

static void page_wipe(struct check *check, uint32_t index)
{
	uint32_t *more = reallocarray(check->wipe, check->num_wipe + 1u, sizeof(*more));

	if (!more) {
		check_fail(check, -ENOMEM, "not enough memory");
		return;
	}
	more[check->num_wipe++] = index;
	check->wipe = more;
}

/* It has the head of a root, or a mask says that it is one, and it is none. */
static void root_judge(struct check *check, uint32_t index, const struct blobstore_page *page)
{
	bool head = le64toh(page->id) == (BLOBSTORE_ID_BIT | index) && page->sequence == 0;
	bool known = check->masks_known && bitmap_test(&check->mask_blobs, index);
	const struct fault_at at = {.page = index};

	if (md_page_is_root(page, index)) {
		check_blob_add(check, index);
	} else if (known && page_is_blank(page)) {
		if (check_fault(check, "root", REMEDY_LOSE, at,
			    "a volume is lost, and its space with it; giving it up frees that",
			    "the masks know of a volume in page %u, and there is none", index))
			check->masks_bad = true;
		else
			check->any_bad = true;
	} else if (known || (head && !check->masks_known)) {
		if (check_fault(check, "root", REMEDY_LOSE, at,
			    "a volume cannot be opened, and which one it was is not known",
			    "page %u is, or was, the first of a volume, and its checksum is wrong",
			    index))
			page_wipe(check, index);
		else
			check->any_bad = true;
	}
}

static void roots_look(struct check *check, uint32_t first, const uint8_t *buf, uint32_t count)
{
	for (uint32_t i = 0; i < count && !check->rc; i++)
		root_judge(check, first + i,
			(const void *)(buf + (size_t)i * check->super.md_page_size));
}

/* A page that only a mask knows of lies in a hole of the file. */
static void roots_in_holes(struct check *check, uint32_t from, uint32_t to)
{
	static const struct blobstore_page blank;

	for (uint32_t i = from; check->masks_known && i < to && !check->rc; i++) {
		i = bitmap_find_set(&check->mask_blobs, i);
		if (i >= to)
			return;
		root_judge(check, i, &blank);
	}
}

void check_find_roots(struct check *check)
{
	const struct super *super = &check->super;
	uint32_t each = (uint32_t)u64_max(1, SCAN_BYTES / super->md_page_size);
	uint8_t *buf = aligned_alloc(4096, (size_t)each * super->md_page_size);
	uint64_t start = super_page_offset(super, 0);
	uint32_t index = 0, count;

	if (!buf)
		check_fail(check, -ENOMEM, "not enough memory");
	while (buf && index < super->md_len && !check->rc) {
		uint64_t data =
			check->image->ops->next_data(check->image, super_page_offset(super, index));
		uint32_t next = (uint32_t)u64_min(
			(u64_max(data, start) - start) / super->md_page_size, super->md_len);
		int rc;

		roots_in_holes(check, index, next);
		index = (uint32_t)u64_max(index, next);
		count = (uint32_t)u64_min(each, super->md_len - index);
		rc = count && !check->rc ? image_read(check->image, super_page_offset(super, index),
						   buf, (size_t)count * super->md_page_size)
					 : 0;
		if (rc)
			check_fail(check, rc,
				"metadata page %u or one behind it cannot be read: %s", index,
				strerror(-rc));
		roots_look(check, index, buf, check->rc ? 0 : count);
		index += count;
	}
	free(buf);
}
