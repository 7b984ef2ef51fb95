/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * After an operation, a load, or when a device has come or gone: what should be open is opened,
 * what should have a device gets one, and what nobody needs is closed. One look at everything
 * instead of each operation knowing what it has changed for others: a snapshot takes its origin's
 * foreign parent along, deleting it gives that to its clone, inflating lets go of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lvol/lvol_impl.h"

struct settle_op {
	struct flow flow;
	struct lvs *lvs;
	struct list *at;
	struct lvol *lvol; /* at it */
	struct lvol_esnap *esnap;
	struct reason reason;
	size_t length;
	char id[UUID_STR_LEN + 1];
	done_fn done;
	void *arg;
};

/* ---- identifiers of foreign parents ---------------------------------------------------- */

static struct lvol *settle_next(
	struct settle_op *op, bool (*wanted)(struct settle_op *op, struct lvol *lvol))
{
	for (op->at = op->at->next; !list_is_end(&op->lvs->volumes, op->at);
		op->at = op->at->next) {
		op->lvol = list_entry(op->at, struct lvol, link);
		if (wanted(op, op->lvol))
			return op->lvol;
	}
	return NULL;
}

static bool settle_lacks_id(struct settle_op *op, struct lvol *lvol)
{
	struct blob_info info;

	blob_get_info(lvol->blob, &info);
	lvol->was_snapshot |= info.num_clones > 0;
	if (!info.esnap) {
		free(lvol->esnap_id);
		lvol->esnap_id = NULL;
		blob_set_esnap_bdev(lvol->blob, NULL);
	}
	return info.esnap && !lvol->esnap_id;
}

static void settle_read_id(struct settle_op *op, done_fn done, void *arg)
{
	memset(op->id, 0, sizeof(op->id));
	blob_get_esnap_id(op->lvol->blob, op->id, UUID_STR_LEN, &op->length, done, arg);
}

static void settle_take_id(struct settle_op *op, int rc)
{
	op->lvol->esnap_id = strdup(rc ? "unknown" : op->id);
	invariant(op->lvol->esnap_id != NULL);
}

/* ---- foreign parents ------------------------------------------------------------------- */

static struct bdev *settle_find_parent(const struct settle_op *op)
{
	struct bdev *bdev = bdev_find(op->lvs->lvols->options.registry, op->lvol->esnap_id);

	return bdev && !bdev->removing ? bdev : NULL;
}

static bool settle_lacks_parent(struct settle_op *op, struct lvol *lvol)
{
	return lvol->esnap_id && !blob_esnap_bdev(lvol->blob);
}

static void settle_open_parent(struct settle_op *op, done_fn done, void *arg)
{
	op->reason.text[0] = '\0';
	lvs_esnap_open(op->lvs, settle_find_parent(op), &op->reason, &op->esnap, done, arg);
}

static void settle_take_parent(struct settle_op *op, int rc)
{
	if (!rc)
		blob_set_esnap_bdev(op->lvol->blob, &op->esnap->user);
	else
		log_warning("the parent of volume %s/%s cannot be used: %s", op->lvs->name,
			op->lvol->name, reason_text(&op->reason, rc));
}

/* ---- devices --------------------------------------------------------------------------- */

static void settle_register(struct settle_op *op)
{
	struct lvol *lvol = op->lvol;
	bool missing;
	int rc;

	lvol_esnap_below(lvol, &missing);
	if (lvol->registered || lvol->leaving || missing)
		return;
	op->reason.text[0] = '\0';
	rc = lvol_register(lvol, &op->reason);
	if (rc)
		log_error("volume %s/%s has no device: %s", op->lvs->name, lvol->name,
			reason_text(&op->reason, rc));
}

static bool settle_any(struct settle_op *op, struct lvol *lvol)
{
	return true;
}

static void settle_devices(struct settle_op *op)
{
	op->at = &op->lvs->volumes;
	while (settle_next(op, settle_any))
		settle_register(op);
}

/* ---- what nobody needs any more -------------------------------------------------------- */

/* Channels that are open hold on to what was below them then. Devices for which that has become
 * another one have been made anew (parent.c), so here there is none now. */
static bool settle_holds_on(struct settle_op *op, struct lvol *lvol)
{
	return lvol->registered && lvol->under && lvol_esnap_below(lvol, NULL) != lvol->under;
}

static bool esnap_is_needed(const struct lvs *lvs, const struct lvol_esnap *esnap)
{
	const struct lvol *lvol;

	list_for_each_entry (lvol, &lvs->volumes, link)
		if (blob_esnap_bdev(lvol->blob) == &esnap->user)
			return true;
	return false;
}

static struct lvol_esnap *settle_find_unneeded(struct settle_op *op)
{
	struct lvol_esnap *esnap;

	list_for_each_entry (esnap, &op->lvs->esnaps, link)
		if (!esnap_is_needed(op->lvs, esnap))
			return esnap;
	return NULL;
}

static enum flow_result settle_run(struct flow *f)
{
	struct settle_op *op = container_of(f, struct settle_op, flow);

	FLOW_BEGIN(f);
	op->at = &op->lvs->volumes;
	while (settle_next(op, settle_lacks_id)) {
		AWAIT(f, settle_read_id(op, flow_resume, f));
		settle_take_id(op, f->rc);
	}
	op->at = &op->lvs->volumes;
	while (settle_next(op, settle_lacks_parent)) {
		if (!settle_find_parent(op))
			continue;
		AWAIT(f, settle_open_parent(op, flow_resume, f));
		settle_take_parent(op, f->rc);
	}
	settle_devices(op);
	op->at = &op->lvs->volumes;
	while (settle_next(op, settle_holds_on)) {
		AWAIT(f, blob_esnap_release(op->lvol->blob, flow_resume, f));
		op->lvol->under = NULL;
	}
	while ((op->esnap = settle_find_unneeded(op)))
		AWAIT(f, lvol_esnap_close(op->esnap, flow_resume, f));
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

void lvs_settle(struct lvs *lvs, done_fn done, void *arg)
{
	struct settle_op *op = alloc_op(sizeof(*op));

	op->lvs = lvs;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, lvs->lvols->control, "lvs_settle", settle_run);
}
