/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What makes a blobstore a store of volumes (docs/volumes.md, "The store of volumes"): a super blob
 * with a UUID and a name, and volumes with names. A name that is too long makes the known
 * implementation refuse the whole store; it can be cut, since the volume is the same under any.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <uuid/uuid.h>

#include "offline/check_impl.h"

/* Its name as it is on the disk: does the known implementation take it? */
static bool name_is_right(const struct xattr *xattr)
{
	return xattr && xattr->value_length && xattr->value_length <= LVOLSTORE_NAME_BYTES &&
	       memchr(xattr_value(xattr), '\0', xattr->value_length) &&
	       ((const char *)xattr_value(xattr))[0];
}

static bool name_is_taken(const struct check *check, const char *name)
{
	for (unsigned i = 0; i < check->num_blobs; i++) {
		if (strcmp(check->blobs[i].name, name) == 0)
			return true;
	}
	return false;
}

/* The beginning of the old one, if there is anything, and a number unless it is the only one. */
static void name_mend(struct check *check, struct check_blob *blob)
{
	const struct xattr *old = md_xattr_find(&blob->md.xattrs, LVOLSTORE_XATTR_NAME);
	char name[LVOLSTORE_NAME_BYTES] = "volume";
	char first[LVOLSTORE_NAME_BYTES - 12];
	size_t length = old ? strnlen(xattr_value(old), old->value_length) : 0;

	if (length)
		snprintf(name, sizeof(name), "%.*s", (int)u64_min(length, LVOLSTORE_NAME_MAX),
			(const char *)xattr_value(old));
	snprintf(first, sizeof(first), "%s", name);
	for (unsigned i = 1; name_is_taken(check, name); i++)
		snprintf(name, sizeof(name), "%s-%u", first, i);
	if (md_xattr_set(&blob->md.xattrs, LVOLSTORE_XATTR_NAME, name, strlen(name) + 1))
		check_fail(check, -ENOMEM, "not enough memory for a name");
	snprintf(blob->name, sizeof(blob->name), "%s", name);
	blob->write_chain = true;
}

static void volume_check(struct check *check, struct check_blob *blob)
{
	const struct xattr *xattr = md_xattr_find(&blob->md.xattrs, LVOLSTORE_XATTR_NAME);

	if (name_is_right(xattr))
		return;
	if (check_fault(check, "name", REMEDY_REPAIR, (struct fault_at){blob, blob->chain[0]},
		    "the known implementation refuses the whole store", "the volume has %s",
		    xattr ? "a name that is too long or empty" : "no name"))
		name_mend(check, blob);
}

static void names_check_unique(struct check *check)
{
	for (unsigned i = 0; i < check->num_blobs; i++) {
		struct check_blob *blob = &check->blobs[i];

		for (unsigned j = 0; blob->name[0] && !blob->gone && j < i; j++) {
			if (strcmp(blob->name, check->blobs[j].name) != 0 || check->blobs[j].gone ||
				check->blobs[j].id == check->super.super_blob)
				continue;
			check_fault(check, "name", REMEDY_NONE,
				(struct fault_at){blob, blob->chain[0]},
				"only one of them is found by its name: rename one, by its UUID",
				"two volumes have this name");
			break;
		}
	}
}

static void super_blob_check(struct check *check)
{
	static const char lost[] = "the store cannot be opened as a store of volumes";
	struct check_blob *blob = check_blob_find(check, check->super.super_blob);
	const struct fault_at at = {blob, blob ? blob->chain[0] : FAULT_NO_PAGE};
	const struct xattr *xattr;
	uuid_t uuid;

	if (!blob || blob->bad) {
		check_fault(check, "super blob", REMEDY_NONE, at, lost,
			blob ? "the super blob cannot be read" : "there is no super blob");
		return;
	}
	xattr = md_xattr_find(&blob->md.xattrs, LVOLSTORE_XATTR_UUID);
	if (!xattr || xattr->value_length != UUID_STR_LEN ||
		((const char *)xattr_value(xattr))[UUID_STR_LEN - 1] ||
		uuid_parse(xattr_value(xattr), uuid) < 0)
		check_fault(check, "super blob", REMEDY_NONE, at, lost,
			"the store has no UUID that can be read");
	xattr = md_xattr_find(&blob->md.xattrs, LVOLSTORE_XATTR_NAME);
	if (name_is_right(xattr))
		return;
	if (check_fault(check, "name", REMEDY_REPAIR, at,
		    "the known implementation refuses the store", "the store has no usable name"))
		name_mend(check, blob);
}

void check_volumes(struct check *check)
{
	static const uint8_t type[BLOBSTORE_TYPE_BYTES] = LVOLSTORE_TYPE;

	if (check->rc || memcmp(check->super.bstype, type, sizeof(type)) != 0)
		return;
	super_blob_check(check);
	for (unsigned i = 0; i < check->num_blobs && !check->rc; i++) {
		struct check_blob *blob = &check->blobs[i];

		if (!blob->bad && !blob->gone && blob->id != check->super.super_blob)
			volume_check(check, blob);
	}
	names_check_unique(check);
}
