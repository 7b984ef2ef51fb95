/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A store is opened: the super blob says what it is called, every other blob is a volume. A volume
 * whose attributes cannot be used is listed under what can be said of it; only a store without a
 * name and UUID of its own, or with those of another one that is open, is refused.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lvol/lvol_impl.h"

struct lvs_load_op {
	struct flow flow;
	struct bdev_gate_turn turn;
	struct lvs *lvs;
	struct bdev *base;
	struct blob_store_user user;
	struct blob *super;
	struct list *at; /* volumes */
	struct lvol *lvol; /* at it */
	size_t length;
	char value[256];
	struct reason *reason;
	done_fn done;
	void *arg;
};

static void load_open(struct lvs_load_op *op, done_fn done, void *arg)
{
	op->user = lvs_store_user_template;
	op->user.arg = op->lvs;
	blob_store_load(
		op->base, LVOLSTORE_TYPE, &op->user, op->reason, &op->lvs->store, done, arg);
}

static void load_read(
	struct lvs_load_op *op, struct blob *blob, const char *name, done_fn done, void *arg)
{
	op->length = 0;
	blob_get_xattr(blob, name, op->value, sizeof(op->value), &op->length, done, arg);
}

static int load_find_super(struct lvs_load_op *op)
{
	uint64_t id = blob_store_super(op->lvs->store);

	op->super = id == BLOBSTORE_NO_BLOB ? NULL : blob_find(op->lvs->store, id);
	if (op->super)
		return 0;
	return reason_set(op->reason, -EILSEQ,
		"it has no super blob: its creation has not been finished, create it again");
}

/* Of the store: text of at least one byte and a NUL. */
static bool load_value_is_text(const struct lvs_load_op *op, size_t bytes_max)
{
	return op->length > 1 && op->length <= bytes_max &&
	       memchr(op->value, '\0', op->length) != NULL && op->value[0];
}

static int load_take_store_uuid(struct lvs_load_op *op, int rc)
{
	uuid_t uuid;

	if (rc || op->length != UUID_STR_LEN || !load_value_is_text(op, UUID_STR_LEN) ||
		uuid_parse(op->value, uuid))
		return reason_set(op->reason, -EINVAL, "its UUID cannot be read");
	uuid_unparse_lower(uuid, op->value);
	if (lvs_uuid_is_taken(op->lvs->lvols, op->value, op->lvs))
		return reason_set(op->reason, -EEXIST,
			"another store of the same UUID is open: is it a copy?");
	memcpy(op->lvs->uuid, op->value, UUID_STR_LEN);
	return 0;
}

static int load_take_store_name(struct lvs_load_op *op, int rc)
{
	if (rc || !load_value_is_text(op, LVOL_NAME_SIZE))
		return reason_set(op->reason, -EINVAL, "its name cannot be read");
	if (lvs_name_is_taken(op->lvs->lvols, op->value, op->lvs))
		return reason_set(op->reason, -EEXIST,
			"another store named %s is open: rename that one, and create this device "
			"again",
			op->value);
	memcpy(op->lvs->name, op->value, strlen(op->value) + 1);
	return 0;
}

static void load_take_low_water(struct lvs_load_op *op, int rc)
{
	bool usable = !rc && load_value_is_text(op, sizeof(op->value));

	lvs_take_low_water(op->lvs, usable ? op->value : NULL);
}

static void load_collect(struct blob *blob, void *arg)
{
	struct lvs_load_op *op = arg;

	if (blob != op->super)
		lvol_alloc(op->lvs, blob);
}

/* ---- volumes --------------------------------------------------------------------------- */

static void load_take_uuid(struct lvs_load_op *op, int rc)
{
	bool usable =
		!rc && load_value_is_text(op, sizeof(op->value)) && op->length == UUID_STR_LEN;

	lvol_set_uuid(op->lvol, usable ? op->value : NULL);
	if (uuid_is_null(op->lvol->uuid))
		log_warning("a volume of store %s has no UUID: it is known as %s", op->lvs->name,
			op->lvol->id);
}

/* Its identifier is unique in the store and as long as a name may be, but for old ones. */
static void load_take_name(struct lvs_load_op *op, int rc)
{
	if (!rc && load_value_is_text(op, sizeof(op->value)) &&
		strlen(op->value) <= LVOLSTORE_NAME_MAX && !lvol_find_in(op->lvs, op->value)) {
		memcpy(op->lvol->name, op->value, strlen(op->value) + 1);
		return;
	}
	memcpy(op->lvol->name, op->lvol->id, u64_min(strlen(op->lvol->id), LVOLSTORE_NAME_MAX));
	op->lvol->no_name = true;
	log_warning("volume %s of store %s has no name that can be used: rename it", op->lvol->id,
		op->lvs->name);
}

static void load_take_block_size(struct lvs_load_op *op, int rc)
{
	if (rc)
		return; /* none was chosen */
	if (load_value_is_text(op, sizeof(op->value)) && strcmp(op->value, "512") == 0)
		op->lvol->block_size = LVOL_BLOCK_SIZE_SMALL;
	else if (load_value_is_text(op, sizeof(op->value)) && strcmp(op->value, "4096") == 0)
		op->lvol->block_size = LVOL_BLOCK_SIZE_LARGE;
	else
		log_warning("volume %s of store %s has a block size that cannot be read: it has "
			    "that of the device below",
			op->lvol->id, op->lvs->name);
}

static struct lvol *load_next(struct lvs_load_op *op)
{
	op->at = op->at->next;
	if (list_is_end(&op->lvs->volumes, op->at))
		return NULL;
	return list_entry(op->at, struct lvol, link);
}

static void load_opened(struct lvs_load_op *op)
{
	struct lvs_info info;

	op->lvs->state = LVS_OPEN;
	lvs_get_info(op->lvs, &info);
	log_notice("volume store %s is open on %s%s", op->lvs->name, info.base_bdev,
		info.store.recovered ? ", recovered: it had not been closed" : "");
	lvs_tell_space(op->lvs);
}

static enum flow_result lvs_load_run(struct flow *f)
{
	struct lvs_load_op *op = container_of(f, struct lvs_load_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->lvs->gate, &op->turn, flow_resume, f));
	AWAIT(f, load_open(op, flow_resume, f));
	if (flow_failed(f))
		goto drop;
	flow_fail(f, load_find_super(op));
	if (flow_failed(f))
		goto close_store;
	AWAIT(f, load_read(op, op->super, LVOLSTORE_XATTR_UUID, flow_resume, f));
	flow_fail(f, load_take_store_uuid(op, f->rc));
	if (flow_failed(f))
		goto close_store;
	AWAIT(f, load_read(op, op->super, LVOLSTORE_XATTR_NAME, flow_resume, f));
	flow_fail(f, load_take_store_name(op, f->rc));
	if (flow_failed(f))
		goto close_store;
	AWAIT(f, load_read(op, op->super, LVOLSTORE_XATTR_LOW_WATER, flow_resume, f));
	load_take_low_water(op, f->rc);
	blob_for_each(op->lvs->store, load_collect, op);

	op->at = &op->lvs->volumes;
	while ((op->lvol = load_next(op))) {
		AWAIT(f, load_read(op, op->lvol->blob, LVOLSTORE_XATTR_UUID, flow_resume, f));
		load_take_uuid(op, f->rc);
		AWAIT(f, load_read(op, op->lvol->blob, LVOLSTORE_XATTR_NAME, flow_resume, f));
		load_take_name(op, f->rc);
		AWAIT(f, load_read(op, op->lvol->blob, LVOL_XATTR_BLOCK_SIZE, flow_resume, f));
		load_take_block_size(op, f->rc);
	}
	f->error = 0; /* what was missing has been dealt with */
	load_opened(op);
	AWAIT(f, lvs_settle(op->lvs, flow_resume, f));
	goto finish;

close_store:
	AWAIT(f, blob_store_close(op->lvs->store, flow_resume, f));
drop:
	lvs_drop(op->lvs);
finish:
	bdev_gate_leave(&op->lvs->gate);
	op->done(op->arg, f->error);
	lvs_put(op->lvs);
	free(op);
	FLOW_END(f);
}

void lvs_load(
	struct lvols *lvols, struct bdev *base, struct reason *reason, done_fn done, void *arg)
{
	struct lvs_load_op *op = alloc_op(sizeof(*op));

	op->lvs = lvs_alloc(lvols);
	lvs_get(op->lvs);
	op->base = base;
	op->reason = reason;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, lvols->control, "lvs_load", lvs_load_run);
}
