/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A volume's life in memory, its names, and the listing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lvol/lvol_impl.h"

struct lvol *lvol_alloc(struct lvs *lvs, struct blob *blob)
{
	struct lvol *lvol = alloc_op(sizeof(*lvol));

	lvol->lvs = lvs;
	lvol->blob = blob;
	lvol->refs = 1; /* the store's */
	bdev_gate_init(&lvol->device_gate, lvs->lvols->control);
	blob_set_user(blob, lvol);
	list_add_tail(&lvs->volumes, &lvol->link);
	return lvol;
}

void lvol_get(struct lvol *lvol)
{
	lvol->refs++;
}

void lvol_put(struct lvol *lvol)
{
	if (--lvol->refs > 0)
		return;
	invariant(!lvol->registered && !lvol->blob);
	free(lvol->esnap_id);
	free(lvol);
}

void lvol_drop(struct lvol *lvol)
{
	lvol->blob = NULL;
	list_remove(&lvol->link);
	lvol_put(lvol);
}

void lvol_set_uuid(struct lvol *lvol, const char *text)
{
	struct blob_info info;

	if (text && uuid_parse(text, lvol->uuid) == 0 && !uuid_is_null(lvol->uuid)) {
		uuid_unparse_lower(lvol->uuid, lvol->id);
		return;
	}
	uuid_clear(lvol->uuid);
	blob_get_info(lvol->blob, &info);
	snprintf(lvol->id, sizeof(lvol->id), "%s_%" PRIu64, lvol->lvs->uuid, info.id);
}

uint32_t lvol_block_size(const struct lvol *lvol)
{
	struct blob_store_info store;

	blob_store_get_info(lvol->lvs->store, &store);
	return lvol->block_size ? lvol->block_size : store.io_unit_size;
}

void lvol_alias_format(const char *store, const char *name, char *buf, size_t size)
{
	snprintf(buf, size, "%s/%s", store, name);
}

int lvol_check_free(struct lvs *lvs, const char *name, struct reason *reason)
{
	char alias[LVOL_ALIAS_MAX];

	lvol_alias_format(lvs->name, name, alias, sizeof(alias));
	if (lvol_find_in(lvs, name))
		return reason_set(reason, -EEXIST,
			"there is a volume %s already: choose another name", alias);
	if (bdev_find(lvs->lvols->options.registry, alias))
		return reason_set(reason, -EEXIST,
			"there is a block device named %s: choose another name", alias);
	return 0;
}

/* ---- finding and listing --------------------------------------------------------------- */

struct lvol *lvol_find_in(struct lvs *lvs, const char *name)
{
	struct lvol *lvol;

	list_for_each_entry (lvol, &lvs->volumes, link)
		if (strcmp(lvol->name, name) == 0)
			return lvol;
	return NULL;
}

static bool lvol_is_called(const struct lvol *lvol, const char *text)
{
	char alias[LVOL_ALIAS_MAX];

	if (strcmp(lvol->id, text) == 0)
		return true;
	lvol_alias_format(lvol->lvs->name, lvol->name, alias, sizeof(alias));
	return strcmp(alias, text) == 0;
}

/* Those with a device are found by its names, without a walk over thousands. */
struct lvol *lvol_find(struct lvols *lvols, const char *text)
{
	struct bdev *bdev = bdev_find(lvols->options.registry, text);
	struct lvol *lvol;
	struct lvs *lvs;

	if (bdev)
		return bdev_is_lvol(bdev) ? lvol_of_bdev(bdev) : NULL;
	list_for_each_entry (lvs, &lvols->stores, link) {
		if (lvs->state != LVS_OPEN)
			continue;
		list_for_each_entry (lvol, &lvs->volumes, link)
			if (lvol_is_called(lvol, text))
				return lvol;
	}
	return NULL;
}

static void lvol_for_each_in(struct lvs *lvs, void (*fn)(struct lvol *lvol, void *arg), void *arg)
{
	struct lvol *lvol;

	if (lvs->state != LVS_OPEN)
		return;
	list_for_each_entry (lvol, &lvs->volumes, link)
		fn(lvol, arg);
}

void lvol_for_each(
	struct lvols *lvols, struct lvs *lvs, void (*fn)(struct lvol *lvol, void *arg), void *arg)
{
	if (lvs) {
		lvol_for_each_in(lvs, fn, arg);
		return;
	}
	list_for_each_entry (lvs, &lvols->stores, link)
		lvol_for_each_in(lvs, fn, arg);
}

const char *lvol_name(const struct lvol *lvol)
{
	return lvol->name;
}

void lvol_get_info(const struct lvol *lvol, struct lvol_info *ret_info)
{
	struct blob_store_info store;

	*ret_info = (struct lvol_info){
		.id = lvol->id,
		.name = lvol->name,
		.lvs = lvol->lvs,
		.esnap_id = lvol->esnap_id,
	};
	blob_get_info(lvol->blob, &ret_info->blob);
	blob_store_get_info(lvol->lvs->store, &store);
	ret_info->size_bytes = ret_info->blob.num_clusters * store.cluster_size;
	if (ret_info->blob.parent)
		ret_info->parent = blob_user(ret_info->blob.parent);
	if (!ret_info->blob.esnap)
		ret_info->esnap_id = NULL;
	ret_info->snapshot = lvol->was_snapshot || ret_info->blob.num_clones > 0;
	ret_info->degraded = !lvol->registered;
	ret_info->block_size = lvol_block_size(lvol);
}

struct clone_walk {
	void (*fn)(struct lvol *clone, void *arg);
	void *arg;
};

static void clone_tell(struct blob *clone, void *arg)
{
	const struct clone_walk *walk = arg;

	if (blob_user(clone))
		walk->fn(blob_user(clone), walk->arg);
}

void lvol_for_each_clone(
	const struct lvol *lvol, void (*fn)(struct lvol *clone, void *arg), void *arg)
{
	struct clone_walk walk = {.fn = fn, .arg = arg};

	blob_for_each_clone(lvol->blob, clone_tell, &walk);
}
