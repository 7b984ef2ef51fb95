/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A block device has come. Two questions:
 *  - is there a store on it? It is loaded, unless it is no store of volumes or cannot be loaded,
 *    which is logged. Volumes are not asked unless somebody wants it: what is in them is a guest's,
 *    who must not have his disk taken away, or a name taken, by what he writes there.
 *  - do degraded volumes wait for it? Their stores are settled again.
 * The device is held for the time of the examination, not open: its removal waits for the end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "filter/filters.h"
#include "lvol/lvol_impl.h"

struct examine_op {
	struct flow flow;
	struct lvols *lvols;
	struct bdev *bdev;
	struct reason reason;
};

struct examine_waiter {
	struct list link;
	struct deferred deferred;
	done_fn done;
	void *arg;
};

static void waiter_run(struct deferred *deferred)
{
	struct examine_waiter *waiter = container_of(deferred, struct examine_waiter, deferred);

	waiter->done(waiter->arg, 0);
	free(waiter);
}

static void waiters_wake(struct lvols *lvols)
{
	struct examine_waiter *waiter, *next;

	list_for_each_entry_safe (waiter, next, &lvols->examine_waiters, link) {
		list_remove(&waiter->link);
		reactor_defer(lvols->control, DEFER_COMPLETE, &waiter->deferred);
	}
}

void lvols_wait_examined(struct lvols *lvols, done_fn done, void *arg)
{
	struct examine_waiter *waiter = alloc_op(sizeof(*waiter));

	waiter->deferred.run = waiter_run;
	waiter->done = done;
	waiter->arg = arg;
	list_add_tail(&lvols->examine_waiters, &waiter->link);
	if (lvols->examines == 0)
		waiters_wake(lvols);
}

static void examine_end(struct lvols *lvols)
{
	if (--lvols->examines == 0)
		waiters_wake(lvols);
}

/* ---- is there a store on it? ----------------------------------------------------------- */

static void examine_tell(const struct examine_op *op, int rc)
{
	if (rc == -ENODEV)
		return; /* went meanwhile */
	if (rc == -ENXIO)
		log_notice(
			"device %s holds a blobstore that is no store of volumes", op->bdev->name);
	else
		log_error("the volume store on device %s is not loaded: %s", op->bdev->name,
			reason_text(&op->reason, rc));
}

static enum flow_result examine_run(struct flow *f)
{
	struct examine_op *op = container_of(f, struct examine_op, flow);

	FLOW_BEGIN(f);
	if (op->lvols->closing || op->bdev->removing)
		goto finish;
	AWAIT(f, blob_store_probe(op->bdev, flow_resume, f));
	if (flow_failed(f) || op->lvols->closing || op->bdev->removing)
		goto finish;
	AWAIT(f, lvs_load(op->lvols, op->bdev, &op->reason, flow_resume, f));
	if (flow_failed(f))
		examine_tell(op, f->rc);
finish:
	bdev_operation_end(op->bdev);
	examine_end(op->lvols);
	free(op);
	FLOW_END(f);
}

static void examine_start(struct lvols *lvols, struct bdev *bdev)
{
	struct examine_op *op = alloc_op(sizeof(*op));

	op->lvols = lvols;
	op->bdev = bdev;
	lvols->examines++;
	bdev_operation_begin(bdev);
	flow_start(&op->flow, lvols->control, "examine", examine_run);
}

/* ---- do volumes wait for it? ----------------------------------------------------------- */

static enum flow_result awaken_run(struct flow *f)
{
	struct lvol_op *op = container_of(f, struct lvol_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, lvol_op_enter(op, flow_resume, f));
	if (!flow_failed(f))
		AWAIT(f, lvs_settle(op->lvs, flow_resume, f));
	lvol_op_end(op, f->error);
	FLOW_END(f);
}

static void awakened(void *arg, int rc)
{
	examine_end(arg);
}

static void awaken_start(struct lvs *lvs)
{
	struct lvol_op *op = lvol_op_create(lvs, NULL, NULL, awakened, lvs->lvols);

	lvs->lvols->examines++;
	lvol_op_start(op, "awaken", awaken_run);
}

static bool lvs_waits_for(const struct lvs *lvs, const char *uuid)
{
	const struct lvol *lvol;

	list_for_each_entry (lvol, &lvs->volumes, link)
		if (lvol->esnap_id && strcmp(lvol->esnap_id, uuid) == 0 &&
			!blob_esnap_bdev(lvol->blob))
			return true;
	return false;
}

static void awaken_those_waiting(struct lvols *lvols, const struct bdev *bdev)
{
	char uuid[UUID_STR_LEN];
	struct lvs *lvs;

	uuid_unparse_lower(bdev->uuid, uuid);
	list_for_each_entry (lvs, &lvols->stores, link)
		if (lvs->state == LVS_OPEN && lvs_waits_for(lvs, uuid))
			awaken_start(lvs);
}

/* A filter's device below is the filter's: what is in it shows on the filter's own. */
static bool is_below_filter(const struct lvols *lvols, const struct bdev *bdev)
{
	return lvols->options.filters && filters_want(lvols->options.filters, bdev);
}

void lvols_bdev_event(const struct bdev_event *event, void *arg)
{
	struct lvols *lvols = arg;

	if (event->kind != BDEV_REGISTERED || lvols->closing)
		return;
	if (!bdev_is_lvol(event->bdev) && !is_below_filter(lvols, event->bdev))
		examine_start(lvols, event->bdev);
	awaken_those_waiting(lvols, event->bdev);
}

int lvols_examine_volume(struct lvols *lvols, struct bdev *bdev)
{
	if (!bdev_is_lvol(bdev) || lvols->closing)
		return -EINVAL;
	examine_start(lvols, bdev);
	return 0;
}
