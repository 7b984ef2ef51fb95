/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How much space a store has left, clusters and metadata pages, and who is told: the log, with what
 * to do; whoever asked (lvols_subscribe_space); and the users of its volumes, so that a SCSI
 * initiator hears of it before a write fails. Each change once: the blob layer tells them, with a
 * hysteresis.
 *
 * The mark is a share of all clusters, and of all metadata pages. It is an attribute of the super
 * blob, "low_water", with the number as text; without one it is BLOB_STORE_LOW_WATER_PERCENT. What
 * a store tells before it is open, by a mark that may be another one, is not passed on: only what
 * is true then.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lvol/lvol_impl.h"

/* ---- telling --------------------------------------------------------------------------- */

/* Of both, what there is less of. */
static bool space_is_of_metadata(const struct lvs *lvs, const struct blob_store_info *info)
{
	return lvs->space != BLOB_STORE_PLENTY && info->md_space >= lvs->space;
}

/* Growing adds no pages. */
static void space_log_metadata(const struct lvs *lvs, const struct blob_store_info *info)
{
	if (lvs->space == BLOB_STORE_LOW)
		log_warning("volume store %s has little metadata left, %u of %u pages: delete "
			    "volumes or snapshots, or move some to a store made with more "
			    "metadata pages (sluice store create --md-pages)",
			lvs->name, info->md_pages_free, info->md_pages);
	else
		log_warning("the metadata of volume store %s is full: what machines write to new "
			    "places waits or fails until you delete volumes or snapshots",
			lvs->name);
}

static void space_log(const struct lvs *lvs)
{
	struct blob_store_info info;

	blob_store_get_info(lvs->store, &info);
	if (space_is_of_metadata(lvs, &info))
		space_log_metadata(lvs, &info);
	else if (lvs->space == BLOB_STORE_PLENTY)
		log_notice("volume store %s has space again", lvs->name);
	else if (lvs->space == BLOB_STORE_LOW)
		log_warning(
			"volume store %s has little space left, %llu MiB: grow it (sluice store "
			"grow %s) or delete volumes or snapshots",
			lvs->name,
			(unsigned long long)(info.free_clusters * info.cluster_size / MIB),
			lvs->name);
	else
		log_warning("volume store %s is full: what machines write to new places waits or "
			    "fails until you grow it (sluice store grow %s) or delete volumes or "
			    "snapshots",
			lvs->name, lvs->name);
}

static void space_tell_users(struct lvs *lvs)
{
	struct lvol *lvol;

	list_for_each_entry (lvol, &lvs->volumes, link) {
		struct blob_info info;

		if (!lvol->registered)
			continue;
		blob_get_info(lvol->blob, &info);
		if (info.thin && !info.read_only)
			bdev_tell_low_space(&lvol->bdev);
	}
}

void lvs_tell_space(struct lvs *lvs)
{
	struct lvols *lvols = lvs->lvols;
	bool was_plenty = lvs->space_told == BLOB_STORE_PLENTY;

	if (lvs->state != LVS_OPEN || lvs->space == lvs->space_told)
		return;
	lvs->space_told = lvs->space;
	space_log(lvs);
	if (was_plenty)
		space_tell_users(lvs);
	if (lvols->space)
		lvols->space(lvs, lvs->space, lvols->space_arg);
}

void lvs_space_changed(void *arg, enum blob_store_space space)
{
	struct lvs *lvs = arg;

	lvs->space = space;
	lvs_tell_space(lvs);
}

void lvols_subscribe_space(struct lvols *lvols,
	void (*fn)(struct lvs *lvs, enum blob_store_space space, void *arg), void *arg)
{
	lvols->space = fn;
	lvols->space_arg = arg;
}

/* ---- the mark -------------------------------------------------------------------------- */

void lvs_take_low_water(struct lvs *lvs, const char *text)
{
	char *end = NULL;
	unsigned long percent = text ? strtoul(text, &end, 10) : 0;

	if (!text || end == text || *end || percent > LVS_LOW_WATER_PERCENT_MAX)
		percent = BLOB_STORE_LOW_WATER_PERCENT;
	lvs->low_water_percent = (unsigned)percent;
	blob_store_set_low_water(lvs->store, lvs->low_water_percent);
}

static void low_water_write(struct lvol_op *op, done_fn done, void *arg)
{
	struct blob *super = blob_find(op->lvs->store, blob_store_super(op->lvs->store));

	op->xattrs[0] = (struct blob_xattr){.name = LVOLSTORE_XATTR_LOW_WATER,
		.value = op->name,
		.length = strlen(op->name) + 1};
	blob_set_xattrs(super, op->xattrs, 1, op->reason, done, arg);
}

static void low_water_apply(struct lvol_op *op)
{
	struct lvs *lvs = op->lvs;
	struct lvol *lvol;

	lvs_take_low_water(lvs, op->name);
	list_for_each_entry (lvol, &lvs->volumes, link)
		if (lvol->registered)
			bdev_set_low_water(&lvol->bdev, lvs->low_water_percent);
}

static enum flow_result set_low_water_run(struct flow *f)
{
	struct lvol_op *op = container_of(f, struct lvol_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, lvol_op_enter(op, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, low_water_write(op, flow_resume, f));
	if (!flow_failed(f))
		low_water_apply(op);
finish:
	lvol_op_end(op, f->error);
	FLOW_END(f);
}

void lvs_set_low_water(
	struct lvs *lvs, unsigned percent, struct reason *reason, done_fn done, void *arg)
{
	struct lvol_op *op = lvol_op_create(lvs, NULL, reason, done, arg);

	if (percent > LVS_LOW_WATER_PERCENT_MAX)
		op->refusal = reason_set(reason, -EINVAL,
			"the low-water mark is at most %u percent of a store, 0 is none",
			LVS_LOW_WATER_PERCENT_MAX);
	snprintf(op->name, sizeof(op->name), "%u", percent);
	lvol_op_start(op, "lvs_set_low_water", set_low_water_run);
}
