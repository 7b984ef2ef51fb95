/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bdev_get_bdevs, bdev_wait_for_examine, and what the methods of single backends share.
 *
 * supported_io_types tells what the device really does; kinds of I/O that no guest can send
 * through here (zcopy, abort, copy and their like) are false where SPDK's own modules say true.
 * memory_domains is left out on purpose: a known client cannot decode it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backends.h"
#include "backend/nvme.h"
#include "base/alloc.h"
#include "control/control_impl.h"

void uuid_set(uuid_t uuid, const char *text)
{
	if (!text || uuid_parse(text, uuid))
		uuid_clear(uuid);
}

struct bdev *bdev_find_or_fail(
	struct control *control, struct rpc_request *request, const char *name)
{
	struct bdev *bdev = bdev_find(control->options.registry, name);
	struct reason reason = {0};

	if (!bdev) {
		reason_set(&reason, -ENODEV,
			"there is no block device %s: bdev_get_bdevs lists those there are", name);
		rpc_request_fail(request, -ENODEV, &reason);
	}
	return bdev;
}

void bdev_refuse_kind(struct rpc_request *request, const struct bdev *bdev)
{
	struct reason reason = {0};

	reason_set(&reason, -ENODEV, "%s is of the kind '%s': use the method of that kind",
		bdev->name, bdev->ops->product_name);
	rpc_request_fail(request, -ENODEV, &reason);
}

const struct rpc_param bdev_name_table[] = {
	{PARAM(RPC_STRING, bdev_name_params, name), .flags = RPC_REQUIRED},
	{0},
};

struct created_call {
	struct flow flow;
	struct control *control;
	struct rpc_request *request;
	json_t *result;
};

static enum flow_result bdev_created_run(struct flow *f)
{
	struct created_call *call = container_of(f, struct created_call, flow);

	FLOW_BEGIN(f);
	AWAIT(f, filters_wait_settled(call->control->options.filters, flow_resume, f));
	AWAIT(f, lvols_wait_examined(call->control->options.lvols, flow_resume, f));
	rpc_request_finish(call->request, call->result);
	free(call);
	FLOW_END(f);
}

void bdev_answer_created(struct control *control, struct rpc_request *request,
	const struct bdev *bdev, int rc, const struct reason *reason)
{
	struct created_call *call;

	if (rc) {
		rpc_request_fail(request, rc, reason);
		return;
	}
	call = alloc_op(sizeof(*call));
	call->control = control;
	call->request = request;
	call->result = json_string(bdev->name);
	flow_start(&call->flow, control->options.control, "bdev_created", bdev_created_run);
}

struct leave_op {
	struct flow flow;
	struct control *control;
	struct bdev *bdev;
	struct bdev *above;
	unsigned at;
	done_fn done;
	void *arg;
};

static void bdev_leave_next(struct leave_op *op, struct bdev *bdev, done_fn done, void *arg)
{
	lvols_leave_device(op->control->options.lvols, bdev, done, arg);
}

/* Filters that come or go meanwhile are as if they had come or gone before. */
static enum flow_result bdev_leave_run(struct flow *f)
{
	struct leave_op *op = container_of(f, struct leave_op, flow);

	FLOW_BEGIN(f);
	for (op->at = 0;
		(op->above = filter_bdev_above(op->control->options.filters, op->bdev, op->at));
		op->at++) {
		bdev_operation_begin(op->above);
		AWAIT(f, bdev_leave_next(op, op->above, flow_resume, f));
		bdev_operation_end(op->above);
	}
	AWAIT(f, bdev_leave_next(op, op->bdev, flow_resume, f));
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

void bdev_leave_stores(struct control *control, struct bdev *bdev, done_fn done, void *arg)
{
	struct leave_op *op = alloc_op(sizeof(*op));

	op->control = control;
	op->bdev = bdev;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, control->options.control, "bdev_leave_stores", bdev_leave_run);
}

struct delete_call {
	struct flow flow;
	struct control *control;
	struct rpc_request *request;
	struct bdev *bdev;
};

static enum flow_result bdev_delete_run(struct flow *f)
{
	struct delete_call *call = container_of(f, struct delete_call, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_leave_stores(call->control, call->bdev, flow_resume, f));
	/* Before its removal: the operation would keep it there. */
	bdev_operation_end(call->bdev);
	AWAIT(f, bdev_unregister(call->bdev, flow_resume, f));
	/* Going already counts as gone. */
	if (f->error)
		rpc_request_fail(call->request, f->error == -EALREADY ? -ENODEV : f->error, NULL);
	else
		rpc_request_finish(call->request, NULL);
	free(call);
	FLOW_END(f);
}

void bdev_delete(struct control *control, struct rpc_request *request, struct bdev *bdev)
{
	struct delete_call *call = alloc_op(sizeof(*call));

	call->control = control;
	call->request = request;
	call->bdev = bdev;
	bdev_operation_begin(bdev);
	flow_start(&call->flow, control->options.control, "bdev_delete", bdev_delete_run);
}

/* ---- description ----------------------------------------------------------------------- */

static json_t *io_types_describe(const struct bdev *bdev)
{
	static const struct {
		const char *name;
		int type; /* -1: never, -2: always */
	} types[] = {
		{"read", BDEV_IO_READ},
		{"write", BDEV_IO_WRITE},
		{"unmap", BDEV_IO_UNMAP},
		{"flush", BDEV_IO_FLUSH},
		{"reset", -2},
		{"nvme_admin", -1},
		{"nvme_io", -1},
		{"nvme_io_md", -1},
		{"write_zeroes", BDEV_IO_WRITE_ZEROES},
		{"zcopy", -1},
		{"get_zone_info", -1},
		{"zone_management", -1},
		{"zone_append", -1},
		{"compare", -1},
		{"compare_and_write", -1},
		{"abort", -1},
		{"seek_hole", -1},
		{"seek_data", -1},
		{"copy", -1},
		{"nvme_iov_md", -1},
		{"nvme_nssr", -1},
		{"write_uncorrectable", -1},
	};
	json_t *described = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		bool supported = types[i].type == -2 ||
				 (types[i].type >= 0 &&
					 bdev_supports(bdev, (enum bdev_io_type)types[i].type));

		json_object_set_new(described, types[i].name, json_boolean(supported));
	}
	return described;
}

static void geometry_describe(const struct bdev *bdev, json_t *described)
{
	uint32_t block_size = bdev->block_size;
	uint32_t granularity = bdev->unmap_granularity / block_size;

	json_object_set_new(described, "block_size", json_integer(block_size));
	json_object_set_new(
		described, "num_blocks", json_integer((json_int_t)(bdev_size(bdev) / block_size)));
	json_object_set_new(described, "preferred_write_alignment", json_integer(0));
	json_object_set_new(described, "preferred_write_granularity", json_integer(0));
	json_object_set_new(
		described, "optimal_write_size", json_integer(bdev->optimal_io_bytes / block_size));
	json_object_set_new(described, "preferred_unmap_alignment", json_integer(0));
	json_object_set_new(described, "preferred_unmap_granularity",
		json_integer(granularity > 1 ? granularity : 0));
}

/* Of those that have one, and of volumes on them. */
static bool bdev_has_numa_id(const struct bdev *bdev)
{
	const struct bdev *below = lvol_bdev_below(bdev);

	if (!below)
		below = filter_bdev_below(bdev);
	return below ? bdev_has_numa_id(below) : bdev_is_malloc(bdev) || bdev_is_nvme(bdev);
}

static void alias_append(const char *alias, void *aliases)
{
	json_array_append_new(aliases, json_string(alias));
}

json_t *bdev_describe(const struct bdev *bdev)
{
	static const char *const claim_types[] = {
		[BDEV_CLAIM_EXCLUSIVE_WRITE] = "exclusive_write",
		[BDEV_CLAIM_READ_MANY_WRITE_ONE] = "read_many_write_one",
		[BDEV_CLAIM_READ_MANY_WRITE_NONE] = "read_many_write_none",
	};
	json_t *described = json_object();
	json_t *aliases = json_array();
	json_t *specific = bdev->ops->describe ? bdev->ops->describe(bdev) : json_object();
	char uuid[UUID_STR_LEN];

	uuid_unparse_lower(bdev->uuid, uuid);
	json_object_set_new(described, "name", json_string(bdev->name));
	bdev_alias_for_each(bdev, alias_append, aliases);
	json_object_set_new(described, "aliases", aliases);
	json_object_set_new(described, "product_name", json_string(bdev->ops->product_name));
	geometry_describe(bdev, described);
	json_object_set_new(described, "uuid", json_string(uuid));
	if (bdev_has_numa_id(bdev))
		json_object_set_new(described, "numa_id", json_integer(-1));
	json_object_set_new(described, "assigned_rate_limits", limits_describe(bdev));
	json_object_set_new(described, "claimed", json_boolean(bdev_claim_excludes(bdev->claim)));
	if (bdev_claim_excludes(bdev->claim))
		json_object_set_new(described, "claim_type", json_string(claim_types[bdev->claim]));
	json_object_set_new(described, "zoned", json_false());
	json_object_set_new(described, "supported_io_types", io_types_describe(bdev));
	json_object_set_new(described, "driver_specific", specific);
	return described;
}

/* ---- bdev_get_bdevs -------------------------------------------------------------------- */

struct get_bdevs_params {
	const char *name;
	uint64_t timeout; /* ms */
};

static const struct rpc_param get_bdevs_table[] = {
	{PARAM(RPC_STRING, get_bdevs_params, name)},
	{PARAM(RPC_U64, get_bdevs_params, timeout)},
	{0},
};

struct bdev_waiter {
	struct list link;
	struct timer timer;
	struct control *control;
	struct rpc_request *request;
	const char *name; /* the request's */
};

static void bdev_waiter_free(struct bdev_waiter *waiter)
{
	list_remove(&waiter->link);
	timer_stop(waiter->control->options.control, &waiter->timer);
	free(waiter);
}

static void bdev_waiter_expired(struct timer *timer)
{
	struct bdev_waiter *waiter = container_of(timer, struct bdev_waiter, timer);
	struct rpc_request *request = waiter->request;

	bdev_waiter_free(waiter);
	rpc_request_fail(request, -ETIMEDOUT, NULL);
}

void bdev_waiters_wake(struct control *control, const char *name)
{
	struct bdev_waiter *waiter, *next;

	list_for_each_entry_safe (waiter, next, &control->bdev_waiters, link) {
		const struct bdev *bdev = bdev_find(control->options.registry, waiter->name);
		struct rpc_request *request = waiter->request;

		if (!bdev)
			continue;
		bdev_waiter_free(waiter);
		rpc_request_finish(request, json_pack("[o]", bdev_describe(bdev)));
	}
}

void bdev_waiters_cancel(struct control *control)
{
	struct bdev_waiter *waiter, *next;

	list_for_each_entry_safe (waiter, next, &control->bdev_waiters, link) {
		struct rpc_request *request = waiter->request;

		bdev_waiter_free(waiter);
		rpc_request_fail(request, -ECANCELED, NULL);
	}
}

static void bdev_wait(
	struct control *control, struct rpc_request *request, const struct get_bdevs_params *wanted)
{
	struct bdev_waiter *waiter = calloc(1, sizeof(*waiter));
	uint64_t timeout_ms = u64_min(wanted->timeout, INT64_MAX / MSEC_NS);

	if (!waiter) {
		rpc_request_fail(request, -ENOMEM, NULL);
		return;
	}
	waiter->control = control;
	waiter->request = request;
	waiter->name = wanted->name;
	waiter->timer.fired = bdev_waiter_expired;
	list_add_tail(&control->bdev_waiters, &waiter->link);
	timer_start(control->options.control, &waiter->timer, timeout_ms * MSEC_NS);
}

static void bdev_append(struct bdev *bdev, void *list)
{
	json_array_append_new(list, bdev_describe(bdev));
}

static void bdev_get_bdevs(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct get_bdevs_params *wanted = params;
	const struct bdev *bdev;
	json_t *list;

	if (!wanted->name) {
		list = json_array();
		bdev_for_each(control->options.registry, bdev_append, list);
		rpc_request_finish(request, list);
		return;
	}
	bdev = bdev_find(control->options.registry, wanted->name);
	if (!bdev && wanted->timeout) {
		bdev_wait(control, request, wanted);
		return;
	}
	bdev = bdev_find_or_fail(control, request, wanted->name);
	if (bdev)
		rpc_request_finish(request, json_pack("[o]", bdev_describe(bdev)));
}

static void examines_ended(void *request, int rc)
{
	rpc_request_finish(request, NULL);
}

static void bdev_wait_for_examine(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;

	lvols_wait_examined(control->options.lvols, examines_ended, request);
}

/* Everything but volumes is examined by itself, and there is no way to turn that off. */
static void bdev_examine(struct rpc_request *request, const void *params, void *context)
{
	const struct bdev_name_params *wanted = params;
	struct control *control = context;
	struct bdev *bdev = bdev_find(control->options.registry, wanted->name);

	if (!bdev || lvols_examine_volume(control->options.lvols, bdev))
		rpc_request_fail(request, -EINVAL, NULL);
	else
		lvols_wait_examined(control->options.lvols, examines_ended, request);
}

const struct rpc_method bdev_methods[] = {
	{"bdev_get_bdevs", RPC_RUNTIME, bdev_get_bdevs, get_bdevs_table,
		sizeof(struct get_bdevs_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_wait_for_examine", RPC_RUNTIME, bdev_wait_for_examine},
	{"bdev_examine", RPC_RUNTIME, bdev_examine, bdev_name_table,
		sizeof(struct bdev_name_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{0},
};
