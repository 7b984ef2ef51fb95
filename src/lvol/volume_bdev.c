/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A volume as a block device. Its name is the volume's identifier, its alias "store/name". Requests
 * go straight to the blob; what is here is what a device says of itself, and its coming and going.
 *
 * Its block size may have been chosen, smaller or larger than that of the device below: what is
 * smaller the block layer makes of whole I/O units of the store (bdev/sectors.c), so the store
 * never sees less.
 *
 * A cluster is told as the best size of a request only up to 1 MiB: guests read ahead twice of what
 * they are told.
 */
#include <errno.h>
#include <string.h>

#include "lvol/lvol_impl.h"

#define LVOL_OPTIMAL_BYTES_MAX (1 * MIB)

struct lvol *lvol_of_bdev(struct bdev *bdev)
{
	return container_of(bdev, struct lvol, bdev);
}

static const struct lvol *lvol_of(const struct bdev *bdev)
{
	return container_of(bdev, struct lvol, bdev);
}

bool bdev_is_lvol(const struct bdev *bdev)
{
	return bdev->ops->submit == blob_submit;
}

const struct bdev *lvol_bdev_below(const struct bdev *bdev)
{
	return bdev_is_lvol(bdev) ? blob_store_base(lvol_of(bdev)->lvs->store) : NULL;
}

static int lvol_channel_init(struct bdev_channel *channel)
{
	return blob_channel_init(lvol_of(channel->bdev)->blob, channel);
}

static void lvol_channel_prepare(struct bdev_channel *channel, done_fn done, void *arg)
{
	blob_channel_prepare(lvol_of(channel->bdev)->blob, channel, done, arg);
}

static void lvol_channel_release(struct bdev_channel *channel, done_fn done, void *arg)
{
	blob_channel_release(lvol_of(channel->bdev)->blob, channel, done, arg);
}

static bool lvol_supports(const struct bdev *bdev, enum bdev_io_type type)
{
	return type == BDEV_IO_READ || type == BDEV_IO_FLUSH || type == BDEV_IO_EXTENT ||
	       !atomic_load_explicit(&lvol_of(bdev)->read_only, memory_order_relaxed);
}

/* ---- driver_specific ------------------------------------------------------------------- */

static void clone_append(struct lvol *clone, void *names)
{
	json_array_append_new(names, json_string(clone->name));
}

static void clones_describe(const struct lvol *lvol, json_t *described)
{
	json_t *names = json_array();

	lvol_for_each_clone(lvol, clone_append, names);
	if (json_array_size(names))
		json_object_set(described, "clones", names);
	json_decref(names);
}

static json_t *lvol_describe(const struct bdev *bdev)
{
	const struct lvol *lvol = lvol_of(bdev);
	json_t *described = json_object();
	struct lvol_info info;
	struct lvs_info store;

	lvol_get_info(lvol, &info);
	lvs_get_info(lvol->lvs, &store);
	json_object_set_new(described, "lvol_store_uuid", json_string(store.uuid));
	json_object_set_new(described, "base_bdev", json_string(store.base_bdev));
	json_object_set_new(described, "thin_provision", json_boolean(info.blob.thin));
	json_object_set_new(described, "num_allocated_clusters",
		json_integer((json_int_t)info.blob.num_allocated));
	json_object_set_new(described, "snapshot", json_boolean(info.snapshot));
	json_object_set_new(described, "clone", json_boolean(info.parent != NULL));
	if (info.parent)
		json_object_set_new(described, "base_snapshot", json_string(info.parent->name));
	clones_describe(lvol, described);
	json_object_set_new(described, "esnap_clone", json_boolean(info.blob.esnap));
	if (info.esnap_id)
		json_object_set_new(
			described, "external_snapshot_name", json_string(info.esnap_id));
	return json_pack("{s:o}", "lvol", described);
}

static void lvol_space(const struct bdev *bdev, struct bdev_space *ret_space)
{
	const struct lvol *lvol = lvol_of(bdev);
	struct blob_store_info store;
	struct blob_info blob;

	blob_store_get_info(lvol->lvs->store, &store);
	blob_get_info(lvol->blob, &blob);
	*ret_space = (struct bdev_space){
		.used_bytes = blob.num_allocated * store.cluster_size,
		.available_bytes = store.free_clusters * store.cluster_size,
		.total_bytes = store.total_data_clusters * store.cluster_size,
	};
}

/* ---- coming and going ------------------------------------------------------------------ */

static void lvol_destroyed(struct deferred *deferred)
{
	struct lvol *lvol = container_of(deferred, struct lvol, destroyed);

	lvol->destroyed_done(lvol->destroyed_arg, 0);
}

static void lvol_bdev_destroy(struct bdev *bdev, done_fn done, void *arg)
{
	struct lvol *lvol = lvol_of_bdev(bdev);

	lvol->registered = false;
	blob_set_bdev(lvol->blob, NULL);
	lvol->destroyed.run = lvol_destroyed;
	lvol->destroyed_done = done;
	lvol->destroyed_arg = arg;
	reactor_defer(lvol->lvs->lvols->control, DEFER_COMPLETE, &lvol->destroyed);
}

void lvol_bdev_ops_fill(struct bdev_ops *ops)
{
	*ops = (struct bdev_ops){
		.product_name = "Logical Volume",
		.module = "lvol",
		.submit = blob_submit,
		.channel_size = blob_channel_size,
		.channel_init = lvol_channel_init,
		.channel_fini = blob_channel_fini,
		.channel_prepare = lvol_channel_prepare,
		.channel_release = lvol_channel_release,
		.supports = lvol_supports,
		.space = lvol_space,
		.describe = lvol_describe,
		.destroy = lvol_bdev_destroy,
	};
}

/* Requests go to the store's device with the vectors they came with, or to the foreign parent. */
static uint16_t lvol_max_iovcnt(const struct lvol *lvol, const struct bdev *base)
{
	const struct lvol_esnap *esnap = lvol_esnap_below(lvol, NULL);
	uint16_t below = esnap ? esnap->user.bdev->max_iovcnt : 0;

	if (base->max_iovcnt && (!below || base->max_iovcnt < below))
		return base->max_iovcnt;
	return below;
}

static void lvol_bdev_fill(struct lvol *lvol)
{
	const struct bdev *base = blob_store_base(lvol->lvs->store);
	struct blob_store_info store;
	struct blob_info blob;

	blob_store_get_info(lvol->lvs->store, &store);
	blob_get_info(lvol->blob, &blob);
	atomic_store_explicit(&lvol->read_only, blob.read_only, memory_order_relaxed);
	memset(&lvol->bdev, 0, sizeof(lvol->bdev));
	lvol->bdev.ops = &lvol->lvs->lvols->bdev_ops;
	lvol->bdev.name = lvol->id;
	uuid_copy(lvol->bdev.uuid, lvol->uuid);
	lvol->bdev.block_size = lvol_block_size(lvol);
	lvol->bdev.io_unit_size = (uint32_t)u64_max(lvol->bdev.block_size, store.io_unit_size);
	if (base->physical_block_size > lvol->bdev.io_unit_size)
		lvol->bdev.physical_block_size = base->physical_block_size;
	if (store.cluster_size <= LVOL_OPTIMAL_BYTES_MAX)
		lvol->bdev.optimal_io_bytes = store.cluster_size;
	lvol->bdev.read_only = blob.read_only;
	lvol->bdev.low_water_percent = (uint8_t)lvol->lvs->low_water_percent;
	lvol->bdev.rotational = base->rotational;
	lvol->bdev.may_be_empty = true;
	lvol->bdev.max_iovcnt = lvol_max_iovcnt(lvol, base);
	lvol->bdev.size_bytes = blob.num_clusters * store.cluster_size;
}

/* When the alias is somebody else's name the volume goes by its identifier. */
int lvol_register(struct lvol *lvol, struct reason *reason)
{
	struct bdev_registry *registry = lvol->lvs->lvols->options.registry;
	char alias[LVOL_ALIAS_MAX];
	int rc;

	lvol_alias_format(lvol->lvs->name, lvol->name, alias, sizeof(alias));
	lvol_bdev_fill(lvol);
	if (bdev_find(registry, alias))
		log_warning("volume %s is known as %s only: that is the name of another device",
			alias, lvol->id);
	else
		lvol->bdev.alias = alias;
	lvol->registered = true;
	lvol->under = lvol_esnap_below(lvol, NULL);
	blob_set_bdev(lvol->blob, &lvol->bdev);
	rc = bdev_register(registry, &lvol->bdev, reason);
	if (rc) {
		blob_set_bdev(lvol->blob, NULL);
		lvol->registered = false;
	}
	return rc;
}

bool lvol_is_used(const struct lvol *lvol)
{
	return lvol->registered && !list_is_empty(&lvol->bdev.users);
}

struct unregister_op {
	struct flow flow;
	struct bdev_gate_turn turn;
	struct lvol *lvol;
	done_fn done;
	void *arg;
};

static enum flow_result unregister_run(struct flow *f)
{
	struct unregister_op *op = container_of(f, struct unregister_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->lvol->device_gate, &op->turn, flow_resume, f));
	if (!op->lvol->registered)
		goto finish;
	AWAIT(f, lvols_leave_device(op->lvol->lvs->lvols, &op->lvol->bdev, flow_resume, f));
	AWAIT(f, bdev_unregister(&op->lvol->bdev, flow_resume, f));
	invariant(!op->lvol->registered);
finish:
	bdev_gate_leave(&op->lvol->device_gate);
	op->done(op->arg, 0);
	lvol_put(op->lvol);
	free(op);
	FLOW_END(f);
}

void lvol_unregister(struct lvol *lvol, done_fn done, void *arg)
{
	struct unregister_op *op = alloc_op(sizeof(*op));

	op->lvol = lvol;
	op->done = done;
	op->arg = arg;
	lvol_get(lvol);
	flow_start(&op->flow, lvol->lvs->lvols->control, "lvol_unregister", unregister_run);
}
