/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a store is still good for after a cut: all that is free can be taken and holds nobody's
 * data, and all volumes can be deleted, in any order that clones allow, which leaves it empty.
 */
#include <errno.h>
#include <inttypes.h>

#include "crash/check_impl.h"

/* ---- free clusters --------------------------------------------------------------------------- */

struct use_call {
	struct store_call call;
	struct check *check;
	struct blob *blob;
};

static void create_run(struct store_call *call)
{
	struct use_call *fill = container_of(call, struct use_call, call);
	struct blob_create_options options = {0};
	struct blob_store_info info;

	blob_store_get_info(fill->check->world.store, &info);
	options.num_clusters = info.free_clusters;
	blob_create(fill->check->world.store, &options, &call->reason, &fill->blob, store_call_done,
		call);
}

static void delete_run(struct store_call *call)
{
	struct use_call *fill = container_of(call, struct use_call, call);

	blob_delete(fill->blob, &call->reason, store_call_done, call);
}

static bool blob_reads_zeroes(const struct check_blob *blob)
{
	uint32_t cluster_sectors = blob->check->scenario->model.cluster_sectors;

	for (uint32_t i = 0; i < MODEL_HOT * cluster_sectors; i++)
		if (model_hot_cluster(i / cluster_sectors) < blob->info.num_clusters &&
			blob->ids[i] != MODEL_ZERO)
			return false;
	return true;
}

/* All that is free is there, and nobody's data is in it. */
static int fill_run(struct check *check)
{
	struct use_call fill = {.call.run = create_run, .check = check};
	int rc = store_call_run(&check->world, &fill.call);

	if (rc)
		return check_fault(
			check, "free clusters cannot be taken: %d, %s", rc, fill.call.reason.text);
	rc = check_read_all(check);
	for (unsigned i = 0; i < check->num_blobs && !rc; i++)
		if (check->blobs[i].blob == fill.blob && !blob_reads_zeroes(&check->blobs[i]))
			rc = check_fault(check, "a new volume holds somebody's data");
	fill.call.run = delete_run;
	return store_call_run(&check->world, &fill.call) ? check_fault(check, "delete") : rc;
}

/* ---- deleting ------------------------------------------------------------------------------ */

/* There is always one that has no clone. */
static struct blob *pick_doomed(struct check *check, unsigned clones_max)
{
	struct blob *picked = NULL;
	unsigned count = 0;

	for (unsigned i = 0; i < check->num_blobs; i++)
		if (check->blobs[i].info.num_clones <= clones_max &&
			chance_one_in(&check->chance, ++count))
			picked = check->blobs[i].blob;
	return picked;
}

/* What passes a snapshot's clusters to its clone may find no metadata page; what has no clone goes
 * without any. */
static int delete_one(struct check *check)
{
	struct use_call call = {
		.call.run = delete_run, .check = check, .blob = pick_doomed(check, 1)};
	int rc = store_call_run(&check->world, &call.call);

	if (rc == -ENOSPC) {
		call = (struct use_call){
			.call.run = delete_run, .check = check, .blob = pick_doomed(check, 0)};
		rc = store_call_run(&check->world, &call.call);
	}
	return rc ? check_fault(
			    check, "a volume cannot be deleted: %d, %s", rc, call.call.reason.text)
		  : 0;
}

static int delete_all(struct check *check)
{
	int rc = check_list(check);

	while (!rc && check->num_blobs > 0) {
		rc = delete_one(check);
		if (!rc)
			rc = check_list(check);
	}
	return rc;
}

/* After the close: what goes is free only a while after it was deleted. */
static int check_is_empty(struct check *check)
{
	int rc = store_image_init(&check->store, check->image);

	if (!rc)
		rc = store_image_check_closed(&check->store);
	if (rc)
		check_fault(check, "all volumes were deleted, and %s", check->store.fault);
	else if (check->store.num_blobs > 0)
		rc = check_fault(check, "all volumes were deleted, and there are some");
	store_image_fini(&check->store);
	return rc;
}

int check_use(struct check *check)
{
	int rc = store_world_load(&check->world, NULL);

	if (rc)
		return check_fault(check, "it does not load any more: %d", rc);
	rc = fill_run(check);
	if (!rc)
		rc = delete_all(check);
	if (store_world_close(&check->world) != 0)
		return check_fault(check, "it cannot be closed any more");
	return rc ? rc : check_is_empty(check);
}
