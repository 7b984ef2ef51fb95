/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A new store. docs/volumes.md, "The store of volumes".
 *
 * Crash table:
 *	blob_store_create ...	a store of this type without a super blob: it is no store of
 *				volumes, a load refuses it, a new creation wipes it
 *	super blob written	the same
 *	super block names it	it is there
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lvol/lvol_impl.h"

struct lvs_create_op {
	struct flow flow;
	struct bdev_gate_turn turn;
	struct lvs *lvs;
	struct bdev *base;
	struct blob_store_create_options options;
	struct blob_store_user user;
	struct blob_create_options super;
	struct blob_xattr xattrs[2];
	struct blob *blob;
	struct blob_info info;
	struct reason *reason;
	struct lvs **ret_lvs;
	int refusal;
	done_fn done;
	void *arg;
};

static void lvs_create_prepare(struct lvs_create_op *op)
{
	struct lvs *lvs = op->lvs;
	uuid_t uuid;

	uuid_generate_random(uuid);
	uuid_unparse_lower(uuid, lvs->uuid);
	op->user = lvs_store_user_template;
	op->user.arg = lvs;
	op->xattrs[0] = (struct blob_xattr){
		.name = LVOLSTORE_XATTR_UUID, .value = lvs->uuid, .length = UUID_STR_LEN};
	op->xattrs[1] = (struct blob_xattr){
		.name = LVOLSTORE_XATTR_NAME, .value = lvs->name, .length = strlen(lvs->name) + 1};
	op->super = (struct blob_create_options){
		.xattrs = op->xattrs, .num_xattrs = ARRAY_SIZE(op->xattrs)};
}

static void lvs_create_make(struct lvs_create_op *op, done_fn done, void *arg)
{
	blob_store_create(
		op->base, &op->options, &op->user, op->reason, &op->lvs->store, done, arg);
}

static void lvs_create_super(struct lvs_create_op *op, done_fn done, void *arg)
{
	blob_create(op->lvs->store, &op->super, op->reason, &op->blob, done, arg);
}

static uint64_t lvs_create_super_id(struct lvs_create_op *op)
{
	blob_get_info(op->blob, &op->info);
	return op->info.id;
}

static enum flow_result lvs_create_run(struct flow *f)
{
	struct lvs_create_op *op = container_of(f, struct lvs_create_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->lvs->gate, &op->turn, flow_resume, f));
	flow_fail(f, op->refusal);
	if (flow_failed(f))
		goto drop;
	AWAIT(f, lvs_create_make(op, flow_resume, f));
	if (flow_failed(f))
		goto drop;
	AWAIT(f, lvs_create_super(op, flow_resume, f));
	if (flow_failed(f))
		goto destroy_store;
	AWAIT(f, blob_store_set_super(op->lvs->store, lvs_create_super_id(op), flow_resume, f));
	if (flow_failed(f))
		goto destroy_store;
	op->lvs->state = LVS_OPEN;
	*op->ret_lvs = op->lvs;
	goto finish;

destroy_store:
	AWAIT(f, blob_store_destroy(op->lvs->store, flow_resume, f));
drop:
	lvs_drop(op->lvs);
finish:
	bdev_gate_leave(&op->lvs->gate);
	op->done(op->arg, f->error);
	bdev_operation_end(op->base);
	lvs_put(op->lvs);
	free(op);
	FLOW_END(f);
}

static int lvs_create_check(
	struct lvols *lvols, const struct lvs_create_options *options, struct reason *reason)
{
	int rc = lvol_check_name(options->name, "store", reason);

	if (rc)
		return rc;
	if (lvols->closing)
		return reason_set(reason, -ECANCELED, "the daemon is being stopped");
	if (lvs_name_is_taken(lvols, options->name, NULL))
		return reason_set(reason, -EEXIST,
			"there is a store %s already: choose another name", options->name);
	return 0;
}

void lvs_create(struct lvols *lvols, struct bdev *base, const struct lvs_create_options *options,
	struct reason *reason, struct lvs **ret_lvs, done_fn done, void *arg)
{
	struct lvs_create_op *op = alloc_op(sizeof(*op));

	op->refusal = lvs_create_check(lvols, options, reason);
	op->lvs = lvs_alloc(lvols);
	lvs_get(op->lvs);
	op->base = base;
	bdev_operation_begin(base);
	op->options = (struct blob_store_create_options){
		.bstype = LVOLSTORE_TYPE,
		.cluster_size = options->cluster_size,
		.md_page_size = options->md_page_size,
		.md_pages_per_cluster_percent = options->md_pages_per_cluster_percent,
		.growth_factor = options->growth_factor,
		.clear_method = options->clear_method,
	};
	if (!op->refusal)
		memcpy(op->lvs->name, options->name, strlen(options->name) + 1);
	lvs_create_prepare(op);
	op->reason = reason;
	op->ret_lvs = ret_lvs;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, lvols->control, "lvs_create", lvs_create_run);
}
