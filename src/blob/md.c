/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A blob's metadata in memory. The arrays of extent pages and of runs lie in memory that takes room
 * only where it was written: a blob may be told to be of billions of clusters by whoever wrote the
 * disk, and mostly empty.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/endian.h"
#include "blob/md_impl.h"

void md_init(struct md *md, uint64_t id)
{
	*md = (struct md){
		.id = id,
		.invalid_flags = BLOBSTORE_USES_TABLE,
		.uses_table = true,
	};
	list_init(&md->xattrs);
	list_init(&md->internal_xattrs);
}

static int array_resize(uint32_t **array, uint64_t from, uint64_t to)
{
	size_t old_bytes = from * sizeof(**array), new_bytes = to * sizeof(**array);
	uint32_t *resized;

	if (from == to)
		return 0;
	if (to == 0) {
		free_pages(*array, old_bytes);
		*array = NULL;
		return 0;
	}
	resized = from ? resize_pages(*array, old_bytes, new_bytes) : alloc_pages(new_bytes);
	if (!resized)
		return -ENOMEM;
	*array = resized;
	return 0;
}

int md_runs_grow(struct md *md, uint64_t clusters)
{
	int rc = array_resize(&md->runs, md->num_clusters, md->num_clusters + clusters);

	if (!rc)
		md->num_clusters += clusters;
	return rc;
}

void md_runs_free(struct md *md)
{
	if (md->runs)
		free_pages(md->runs, md->num_clusters * sizeof(*md->runs));
	md->runs = NULL;
}

void md_fini(struct md *md)
{
	md_xattrs_free(&md->xattrs);
	md_xattrs_free(&md->internal_xattrs);
	md_runs_free(md);
	free_pages(md->pages, md->num_slots * sizeof(*md->pages));
	md->pages = NULL;
	md->num_slots = 0;
	md->num_clusters = 0;
}

int md_resize(struct md *md, uint64_t num_clusters)
{
	uint32_t slots;
	int rc = 0;

	if (num_clusters > MD_CLUSTERS_MAX)
		return -EFBIG;
	slots = super_slots(num_clusters);
	if (md->uses_table)
		rc = array_resize(&md->pages, md->num_slots, slots);
	else if (md->runs)
		rc = array_resize(&md->runs, md->num_clusters, num_clusters);
	if (rc)
		return rc;
	if (md->uses_table)
		md->num_slots = slots;
	md->num_clusters = num_clusters;
	return 0;
}

/* ---- xattrs ------------------------------------------------------------------------------- */

struct xattr *md_xattr_create(
	const void *name, uint16_t name_length, const void *value, uint16_t value_length)
{
	struct xattr *xattr = malloc(sizeof(*xattr) + name_length + 1u + value_length);

	if (!xattr)
		return NULL;
	list_init(&xattr->link);
	xattr->name_length = name_length;
	xattr->value_length = value_length;
	memcpy(xattr->name, name, name_length);
	xattr->name[name_length] = '\0';
	if (value_length)
		memcpy(xattr->name + name_length + 1, value, value_length);
	return xattr;
}

const struct xattr *md_xattr_lookup(const struct list *xattrs, const void *name, size_t length)
{
	const struct xattr *xattr;

	list_for_each_entry (xattr, xattrs, link) {
		if (xattr->name_length == length && memcmp(xattr->name, name, length) == 0)
			return xattr;
	}
	return NULL;
}

const struct xattr *md_xattr_find(const struct list *xattrs, const char *name)
{
	return md_xattr_lookup(xattrs, name, strlen(name));
}

static struct xattr *xattr_find(struct list *xattrs, const char *name)
{
	return (struct xattr *)(uintptr_t)md_xattr_find(xattrs, name);
}

int md_xattr_set(struct list *xattrs, const char *name, const void *value, size_t length)
{
	struct xattr *old = xattr_find(xattrs, name), *xattr;
	size_t name_length = strlen(name);

	if (name_length == 0)
		return -EINVAL;
	if (name_length > BLOBSTORE_DESCRIPTOR_AREA || length > BLOBSTORE_DESCRIPTOR_AREA ||
		XATTR_HEAD + name_length + length > BLOBSTORE_DESCRIPTOR_AREA)
		return -ENOSPC;
	xattr = md_xattr_create(name, (uint16_t)name_length, value, (uint16_t)length);
	if (!xattr)
		return -ENOMEM;
	if (!old) {
		list_add_tail(xattrs, &xattr->link);
		return 0;
	}
	list_add_head(&old->link, &xattr->link); /* behind it, into its place */
	list_remove(&old->link);
	free(old);
	return 0;
}

bool md_xattr_remove(struct list *xattrs, const char *name)
{
	struct xattr *xattr = xattr_find(xattrs, name);

	if (!xattr)
		return false;
	list_remove(&xattr->link);
	free(xattr);
	return true;
}

void md_xattrs_free(struct list *xattrs)
{
	struct xattr *xattr, *tmp;

	list_for_each_entry_safe (xattr, tmp, xattrs, link)
		free(xattr);
	list_init(xattrs);
}

int md_xattrs_copy(struct list *to, const struct list *from)
{
	const struct xattr *xattr;

	list_for_each_entry (xattr, from, link) {
		struct xattr *copy = md_xattr_create(
			xattr->name, xattr->name_length, xattr_value(xattr), xattr->value_length);

		if (!copy) {
			md_xattrs_free(to);
			return -ENOMEM;
		}
		list_add_tail(to, &copy->link);
	}
	return 0;
}

/* ---- internal xattrs ---------------------------------------------------------------------- */

uint64_t md_internal_id(const struct md *md, const char *name)
{
	const struct xattr *xattr = md_xattr_find(&md->internal_xattrs, name);

	if (!xattr || xattr->value_length != sizeof(uint64_t))
		return BLOBSTORE_NO_BLOB;
	return le64_get(xattr_value(xattr));
}

int md_internal_set(struct md *md, const char *name, const void *value, size_t length)
{
	int rc = md_xattr_set(&md->internal_xattrs, name, value, length);

	if (rc)
		return rc;
	md->invalid_flags |= BLOBSTORE_INTERNAL_XATTR;
	return 0;
}

int md_internal_set_id(struct md *md, const char *name, uint64_t id)
{
	uint64_t value = htole64(id);

	if (id == BLOBSTORE_NO_BLOB) {
		md_internal_remove(md, name);
		return 0;
	}
	return md_internal_set(md, name, &value, sizeof(value));
}

void md_internal_remove(struct md *md, const char *name)
{
	md_xattr_remove(&md->internal_xattrs, name);
	if (list_is_empty(&md->internal_xattrs))
		md->invalid_flags &= ~BLOBSTORE_INTERNAL_XATTR;
}
