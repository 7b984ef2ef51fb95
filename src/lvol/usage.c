/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is allocated, and for whom. A cluster belongs to one volume; it is shown by that one and by
 * all that stand on it and have none of their own in its place. Exclusive are a volume's own
 * clusters that no clone shows; shared are its own that some clone shows and its parents' that it
 * shows.
 *
 * Maps have millions of entries: a walk stops after USAGE_TURN_CLUSTERS and goes on in the next
 * turn. The gate is held meanwhile, so that no map and no volume goes; but when somebody waits for
 * it he gets it between two turns, and the volume that was being looked at is begun again. So what
 * is said of one volume is of one moment, and of two volumes perhaps of two. A volume that has been
 * begun USAGE_AGAIN_MAX times again is looked at to its end: there always is one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lvol/lvol_impl.h"

#define USAGE_TURN_CLUSTERS    2048
#define USAGE_AGAIN_MAX        3u
#define FRAGMENTS_CLUSTERS_MAX (UINT64_C(1) << 26)

/* A turn is over: the next one. */
struct usage_pause {
	struct timer timer;
	done_fn done;
	void *arg;
};

static void usage_pause_fired(struct timer *timer)
{
	struct usage_pause *pause = container_of(timer, struct usage_pause, timer);

	pause->done(pause->arg, 0);
}

static void usage_pause(struct usage_pause *pause, struct reactor *reactor, done_fn done, void *arg)
{
	pause->timer.fired = usage_pause_fired;
	pause->done = done;
	pause->arg = arg;
	timer_start(reactor, &pause->timer, 1);
}

static bool usage_must_yield(const struct lvs *lvs, unsigned again)
{
	return again < USAGE_AGAIN_MAX && bdev_gate_is_wanted(&lvs->gate);
}

/* ---- usage ----------------------------------------------------------------------------- */

struct usage_op {
	struct flow flow;
	struct bdev_gate_turn turn;
	struct usage_pause pause;
	struct lvs *lvs;
	struct lvol *lvol; /* the volume being looked at, or NULL */
	unsigned again; /* it was begun, after the first time */
	const struct blob *owner; /* it, then its parents */
	uint64_t index; /* in owner */
	struct lvol_usage usage; /* of it */
	struct lvs_usage
		*usages; /* of those before, in the order of the store's list; referenced */
	unsigned count, room;
	struct lvs_usage **ret_usages;
	unsigned *ret_count;
	done_fn done;
	void *arg;
};

static struct lvol *usage_lvol(const struct usage_op *op, struct list *link)
{
	return link == &op->lvs->volumes ? NULL : list_entry(link, struct lvol, link);
}

static void usage_begin_volume(struct usage_op *op, struct lvol *lvol)
{
	op->lvol = lvol;
	op->owner = lvol ? lvol->blob : NULL;
	op->index = 0;
	op->usage = (struct lvol_usage){0};
}

/* Somebody else has had the gate. The store's list may have lost some and got some at its end: what
 * it has lost is left out, and the first of which nothing is known comes next. */
static int usage_go_on(struct usage_op *op)
{
	struct list *link = op->lvs->volumes.next;
	unsigned kept = 0;

	if (op->lvs->state != LVS_OPEN)
		return -ENODEV;
	for (unsigned i = 0; i < op->count; i++) {
		struct lvol *lvol = op->usages[i].lvol;

		if (usage_lvol(op, link) != lvol) {
			lvol_put(lvol);
			continue;
		}
		op->usages[kept++] = op->usages[i];
		link = link->next;
	}
	op->count = kept;
	usage_begin_volume(op, usage_lvol(op, link));
	return 0;
}

static int usage_add(struct usage_op *op)
{
	if (op->count == op->room) {
		unsigned room = op->room * 2 + 16;
		struct lvs_usage *more = realloc(op->usages, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		op->usages = more;
		op->room = room;
	}
	lvol_get(op->lvol);
	op->usages[op->count++] = (struct lvs_usage){.lvol = op->lvol, .usage = op->usage};
	return 0;
}

struct clone_look {
	uint64_t index;
	bool shown;
};

static void clone_look(struct blob *clone, void *arg)
{
	struct clone_look *look = arg;
	struct blob_info info;

	blob_get_info(clone, &info);
	look->shown |= look->index < info.num_clusters && !blob_owns(clone, look->index);
}

static bool cluster_is_shown_by_clones(const struct blob *blob, uint64_t index)
{
	struct clone_look look = {.index = index};

	blob_for_each_clone(blob, clone_look, &look);
	return look.shown;
}

/* Has somebody between the volume and the owner one in its place? */
static bool cluster_is_hidden(const struct blob *blob, const struct blob *owner, uint64_t index)
{
	struct blob_info info;

	for (; blob != owner; blob = info.parent) {
		if (blob_owns(blob, index))
			return true;
		blob_get_info(blob, &info);
		if (index >= info.num_clusters)
			return true; /* beyond the end of one that is shorter: zeroes */
	}
	return false;
}

static void usage_count(struct usage_op *op)
{
	const struct blob *blob = op->lvol->blob;

	if (op->owner != blob)
		op->usage.shared += !cluster_is_hidden(blob, op->owner, op->index);
	else if (cluster_is_shown_by_clones(blob, op->index))
		op->usage.shared++;
	else
		op->usage.exclusive++;
}

/* The next owner, or the next volume. */
static int usage_advance(struct usage_op *op, const struct blob *parent)
{
	int rc = 0;

	op->index = 0;
	op->owner = parent;
	if (parent)
		return 0;
	rc = usage_add(op);
	op->again = 0;
	usage_begin_volume(op, usage_lvol(op, op->lvol->link.next));
	return rc;
}

/* A turn's share; false when all have been counted, or something is wrong. */
static bool usage_step(struct usage_op *op)
{
	struct blob_info info;

	for (unsigned i = 0; i < USAGE_TURN_CLUSTERS; i++) {
		if (op->flow.error || !op->lvol)
			return false;
		blob_get_info(op->owner, &info);
		op->index = blob_next_owned(op->owner, op->index);
		if (op->index >= info.num_clusters) {
			flow_fail(&op->flow, usage_advance(op, info.parent));
			continue;
		}
		usage_count(op);
		op->index++;
	}
	return true;
}

static void usage_end(struct usage_op *op)
{
	for (unsigned i = 0; i < op->count; i++)
		lvol_put(op->usages[i].lvol);
	bdev_gate_leave(&op->lvs->gate);
	if (op->flow.error) {
		free(op->usages);
	} else {
		*op->ret_usages = op->usages;
		*op->ret_count = op->count;
	}
	op->done(op->arg, op->flow.error);
	lvs_put(op->lvs);
	free(op);
}

static enum flow_result usage_run(struct flow *f)
{
	struct usage_op *op = container_of(f, struct usage_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->lvs->gate, &op->turn, flow_resume, f));
	flow_fail(f, usage_go_on(op));
	while (usage_step(op)) {
		AWAIT(f, usage_pause(&op->pause, f->reactor, flow_resume, f));
		if (!usage_must_yield(op->lvs, op->again))
			continue;
		op->again++;
		bdev_gate_leave(&op->lvs->gate);
		AWAIT(f, bdev_gate_enter(&op->lvs->gate, &op->turn, flow_resume, f));
		flow_fail(f, usage_go_on(op));
	}
	usage_end(op);
	FLOW_END(f);
}

void lvs_get_usage(struct lvs *lvs, struct lvs_usage **ret_usages, unsigned *ret_count,
	done_fn done, void *arg)
{
	struct usage_op *op = alloc_op(sizeof(*op));

	op->lvs = lvs;
	lvs_get(lvs);
	op->ret_usages = ret_usages;
	op->ret_count = ret_count;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, lvs->lvols->control, "lvs_get_usage", usage_run);
}

/* ---- fragments ------------------------------------------------------------------------- */

struct fragments_op {
	struct flow flow;
	struct usage_pause pause;
	struct lvol_op *gate; /* the head of an operation: begins and ends it */
	struct lvol *lvol;
	unsigned again; /* it was begun, after the first time */
	uint64_t offset;
	uint64_t length; /* 0: to the end */
	uint64_t first; /* cluster */
	uint64_t index; /* the next one to be looked at */
	struct lvol_fragments fragments;
	struct lvol_fragments *ret_fragments;
	struct reason *reason;
};

static int fragments_prepare(struct fragments_op *op)
{
	struct blob_store_info store;
	struct blob_info blob;
	uint64_t size, length, last;

	blob_store_get_info(op->lvol->lvs->store, &store);
	blob_get_info(op->lvol->blob, &blob);
	size = blob.num_clusters * store.cluster_size;
	if (op->offset > size || op->length > size - op->offset)
		return reason_set(op->reason, -EINVAL, "volume %s has %llu bytes", op->lvol->name,
			(unsigned long long)size);
	length = op->length ? op->length : size - op->offset;
	op->first = op->index = op->offset / store.cluster_size;
	last = (op->offset + length + store.cluster_size - 1) / store.cluster_size;
	op->fragments.num_clusters = last - op->first;
	if (op->fragments.num_clusters > FRAGMENTS_CLUSTERS_MAX)
		return reason_set(op->reason, -EINVAL,
			"that are %llu clusters: ask for smaller ranges, one after another",
			(unsigned long long)op->fragments.num_clusters);
	op->fragments.bytes = (op->fragments.num_clusters + 7) / 8;
	op->fragments.bits = calloc(1, op->fragments.bytes + 1);
	return op->fragments.bits ? 0 : -ENOMEM;
}

static bool fragments_step(struct fragments_op *op)
{
	struct lvol_fragments *fragments = &op->fragments;

	for (unsigned i = 0; i < USAGE_TURN_CLUSTERS; i++) {
		uint64_t bit;

		op->index = blob_next_owned(op->lvol->blob, op->index);
		bit = op->index - op->first;
		if (bit >= fragments->num_clusters)
			return false;
		fragments->bits[bit / 8] |= (uint8_t)(1u << bit % 8);
		fragments->num_allocated++;
		op->index++;
	}
	return true;
}

static void fragments_forget(struct fragments_op *op)
{
	free(op->fragments.bits);
	op->fragments = (struct lvol_fragments){0};
}

static enum flow_result fragments_run(struct flow *f)
{
	struct fragments_op *op = container_of(f, struct fragments_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, lvol_op_enter(op->gate, flow_resume, f));
	if (!flow_failed(f))
		flow_fail(f, fragments_prepare(op));
	if (flow_failed(f))
		goto finish;
	while (fragments_step(op)) {
		AWAIT(f, usage_pause(&op->pause, f->reactor, flow_resume, f));
		if (!usage_must_yield(op->lvol->lvs, op->again))
			continue;
		op->again++;
		fragments_forget(op);
		bdev_gate_leave(&op->lvol->lvs->gate);
		AWAIT(f, lvol_op_enter(op->gate, flow_resume, f));
		if (!flow_failed(f))
			flow_fail(f, fragments_prepare(op));
		if (flow_failed(f))
			goto finish;
	}
	*op->ret_fragments = op->fragments;
finish:
	lvol_op_end(op->gate, f->error);
	free(op);
	FLOW_END(f);
}

void lvol_get_fragments(struct lvol *lvol, uint64_t offset, uint64_t length, struct reason *reason,
	struct lvol_fragments *ret_fragments, done_fn done, void *arg)
{
	struct fragments_op *op = alloc_op(sizeof(*op));

	op->gate = lvol_op_create(lvol->lvs, lvol, reason, done, arg);
	op->gate->any_state = true;
	op->lvol = lvol;
	op->offset = offset;
	op->length = length;
	op->reason = reason;
	op->ret_fragments = ret_fragments;
	flow_start(&op->flow, lvol->lvs->lvols->control, "lvol_get_fragments", fragments_run);
}
