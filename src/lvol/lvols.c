/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All stores of a daemon. At the end they are closed in the reverse order of their coming, so that
 * a store inside a volume is closed before the one that the volume is of.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lvol/lvol_impl.h"

int lvols_create(const struct lvols_options *options, struct lvols **ret_lvols)
{
	struct lvols *lvols = calloc(1, sizeof(*lvols));
	int rc;

	if (!lvols)
		return -ENOMEM;
	lvols->options = *options;
	lvols->control = bdev_registry_control(options->registry);
	lvol_bdev_ops_fill(&lvols->bdev_ops);
	list_init(&lvols->stores);
	list_init(&lvols->copies);
	list_init(&lvols->examine_waiters);
	rc = bdev_registry_subscribe(options->registry, lvols_bdev_event, lvols);
	if (rc) {
		free(lvols);
		return rc;
	}
	*ret_lvols = lvols;
	return 0;
}

void lvols_destroy(struct lvols *lvols)
{
	invariant(list_is_empty(&lvols->stores) && lvols->examines == 0);
	lvol_copies_free(lvols);
	free(lvols);
}

/* ---- closing --------------------------------------------------------------------------- */

struct lvols_close_op {
	struct flow flow;
	struct lvols *lvols;
	struct lvs *lvs;
	done_fn done;
	void *arg;
};

static struct lvs *lvols_last(const struct lvols *lvols)
{
	return list_is_empty(&lvols->stores) ? NULL
					     : list_entry(lvols->stores.prev, struct lvs, link);
}

static enum flow_result lvols_close_run(struct flow *f)
{
	struct lvols_close_op *op = container_of(f, struct lvols_close_op, flow);

	FLOW_BEGIN(f);
	lvol_copies_cancel(op->lvols);
	AWAIT(f, lvols_wait_examined(op->lvols, flow_resume, f));
	while ((op->lvs = lvols_last(op->lvols)))
		AWAIT(f, lvs_close(op->lvs, LVS_CLOSE, flow_resume, f));
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

void lvols_close(struct lvols *lvols, done_fn done, void *arg)
{
	struct lvols_close_op *op = alloc_op(sizeof(*op));

	lvols->closing = true;
	op->lvols = lvols;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, lvols->control, "lvols_close", lvols_close_run);
}

struct lvols_leave_op {
	struct deferred none;
	done_fn done;
	void *arg;
};

static void lvols_leave_none(struct deferred *deferred)
{
	struct lvols_leave_op *op = container_of(deferred, struct lvols_leave_op, none);

	op->done(op->arg, 0);
	free(op);
}

static void lvols_left(void *arg, int rc)
{
	lvols_leave_none(&((struct lvols_leave_op *)arg)->none);
}

static struct lvs *lvs_find_on(struct lvols *lvols, const struct bdev *bdev)
{
	struct lvs *lvs;

	list_for_each_entry (lvs, &lvols->stores, link)
		if (lvs->store && blob_store_base(lvs->store) == bdev)
			return lvs;
	return NULL;
}

void lvols_leave_device(struct lvols *lvols, struct bdev *bdev, done_fn done, void *arg)
{
	struct lvols_leave_op *op = alloc_op(sizeof(*op));
	struct lvs *lvs = lvs_find_on(lvols, bdev);

	op->none.run = lvols_leave_none;
	op->done = done;
	op->arg = arg;
	if (lvs)
		lvs_close(lvs, LVS_CLOSE, lvols_left, op);
	else
		reactor_defer(lvols->control, DEFER_COMPLETE, &op->none);
}

/* ---- names ----------------------------------------------------------------------------- */

int lvol_check_name(const char *name, const char *what, struct reason *reason)
{
	size_t length = strlen(name);

	if (length == 0)
		return reason_set(reason, -EINVAL, "the name of a %s cannot be empty", what);
	if (length > LVOLSTORE_NAME_MAX)
		return reason_set(reason, -EINVAL,
			"the name of a %s can have %u bytes, this one has %zu: shorten it", what,
			LVOLSTORE_NAME_MAX, length);
	return 0;
}

bool lvs_name_is_taken(const struct lvols *lvols, const char *name, const struct lvs *but)
{
	const struct lvs *lvs;

	list_for_each_entry (lvs, &lvols->stores, link)
		if (lvs != but &&
			(strcmp(lvs->name, name) == 0 || strcmp(lvs->new_name, name) == 0))
			return true;
	return false;
}

bool lvs_uuid_is_taken(const struct lvols *lvols, const char *uuid, const struct lvs *but)
{
	const struct lvs *lvs;

	list_for_each_entry (lvs, &lvols->stores, link)
		if (lvs != but && strcmp(lvs->uuid, uuid) == 0)
			return true;
	return false;
}

/* ---- stores that are open -------------------------------------------------------------- */

struct lvs *lvs_find(struct lvols *lvols, const char *name)
{
	struct lvs *lvs;

	list_for_each_entry (lvs, &lvols->stores, link)
		if (lvs->state == LVS_OPEN && strcmp(lvs->name, name) == 0)
			return lvs;
	return NULL;
}

struct lvs *lvs_find_by_uuid(struct lvols *lvols, const char *uuid)
{
	struct lvs *lvs;

	list_for_each_entry (lvs, &lvols->stores, link)
		if (lvs->state == LVS_OPEN && strcasecmp(lvs->uuid, uuid) == 0)
			return lvs;
	return NULL;
}

void lvs_for_each(struct lvols *lvols, void (*fn)(struct lvs *lvs, void *arg), void *arg)
{
	struct lvs *lvs;

	list_for_each_entry (lvs, &lvols->stores, link)
		if (lvs->state == LVS_OPEN)
			fn(lvs, arg);
}
