/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a filter (filters.h has its states). Raising and deleting go through its gate, one at
 * a time; whatever waits for the gate finds out then what is still to do. SINKING begins in any of
 * three ways, the removal of the base, deleting, and somebody who unregisters a part, and ends with
 * the destruction of the last part, which gives the base back. A filter that is deleted is freed
 * by the last operation that looks at it.
 *
 * A split has several parts. They come and go together: when one is unregistered the others follow.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "filter/filter_impl.h"

/* ---- memory -------------------------------------------------------------------------------- */

void filter_free(struct filter *filter)
{
	if (filter->kind->fini)
		filter->kind->fini(filter);
	for (unsigned i = 0; filter->parts && i < filter->parts_count; i++)
		free(filter->parts[i].name);
	free(filter->parts);
	free(filter->name);
	free(filter->base_name);
	free(filter);
}

struct filter *filter_alloc(struct filters *filters, const struct filter_kind *kind, size_t size,
	const struct filter_options *options, unsigned parts)
{
	struct filter *filter = calloc(1, size);

	if (!filter)
		return NULL;
	filter->kind = kind;
	filter->filters = filters;
	list_init(&filter->link);
	filter->name = strdup(options->name);
	filter->base_name = strdup(options->base);
	uuid_copy(filter->uuid, options->uuid);
	bdev_gate_init(&filter->gate, filters->control);
	filter->parts = calloc(parts, sizeof(*filter->parts));
	filter->parts_count = parts;
	if (!filter->name || !filter->base_name || !filter->parts) {
		filter_free(filter);
		return NULL;
	}
	return filter;
}

int filter_name_part(struct filter *filter, unsigned index, const char *name, struct reason *reason)
{
	int rc = filters_check_name(filter->filters, name, reason);

	if (rc)
		return rc;
	filter->parts[index].filter = filter;
	filter->parts[index].name = strdup(name);
	return filter->parts[index].name ? 0 : -ENOMEM;
}

void filter_get(struct filter *filter)
{
	filter->users++;
}

void filter_put(struct filter *filter)
{
	if (--filter->users == 0 && filter->deleted)
		filter_free(filter);
}

static bool filter_has_parts(const struct filter *filter)
{
	for (unsigned i = 0; i < filter->parts_count; i++)
		if (filter->parts[i].registered)
			return true;
	return false;
}

/* ---- what its devices are ------------------------------------------------------------------ */

bool filter_supports(const struct bdev *bdev, enum bdev_io_type type)
{
	return bdev_supports(filter_part_of(bdev)->filter->base.bdev, type);
}

int filter_fit_all(struct filter *filter, const struct bdev *base, struct reason *reason)
{
	filter->parts[0].offset = 0;
	filter->parts[0].bdev.size_bytes = bdev_size(base);
	return 0;
}

/* The uuid of SPDK's own devices of that kind. Parts of a split differ by what they are. */
static void part_make_uuid(struct filter_part *part, const struct bdev *base)
{
	struct {
		uuid_t uuid;
		uint64_t offset_blocks;
		uint64_t num_blocks;
	} name = {.offset_blocks = part->offset / base->block_size,
		.num_blocks = bdev_size(&part->bdev) / base->block_size};
	const struct filter *filter = part->filter;
	bool whole = filter->kind->type != FILTER_SPLIT && filter->kind->type != FILTER_ERROR;
	uuid_t namespace;

	uuid_copy(name.uuid, base->uuid);
	uuid_parse(filter->kind->namespace, namespace);
	uuid_generate_sha1(part->bdev.uuid, namespace, (const char *)&name,
		whole ? sizeof(name.uuid) : sizeof(name));
}

static void part_fill(struct filter_part *part, const struct bdev *base)
{
	uint64_t size = bdev_size(&part->bdev);
	struct filter *filter = part->filter;

	memset(&part->bdev, 0, sizeof(part->bdev));
	part->bdev.ops = filter->kind->ops;
	part->bdev.name = part->name;
	part->bdev.block_size = base->block_size;
	part->bdev.physical_block_size =
		base->physical_block_size ? base->physical_block_size : base->io_unit_size;
	part->bdev.optimal_io_bytes = base->optimal_io_bytes;
	part->bdev.unmap_granularity =
		base->unmap_granularity ? base->unmap_granularity : base->io_unit_size;
	part->bdev.atomic_write_bytes = base->atomic_write_bytes;
	part->bdev.unmap_reads_zeroes = base->unmap_reads_zeroes;
	part->bdev.read_only = base->read_only;
	part->bdev.rotational = base->rotational;
	part->bdev.may_be_empty = base->may_be_empty;
	part->bdev.max_iovcnt = (uint16_t)u64_max(base->max_iovcnt, filter->kind->spare_iovcnt) -
				filter->kind->spare_iovcnt;
	part->bdev.low_water_percent = base->low_water_percent;
	part->bdev.size_bytes = size;
	if (filter->kind->cuts_bytes) {
		part->bdev.max_iovcnt = 0;
		part->bdev.unmap_reads_zeroes = false;
		part->bdev.atomic_write_bytes =
			(uint32_t)u64_min(base->atomic_write_bytes, filter->kind->cuts_bytes);
	}
	if (uuid_is_null(filter->uuid))
		part_make_uuid(part, base);
	else
		uuid_copy(part->bdev.uuid, filter->uuid);
}

/* ---- raising ------------------------------------------------------------------------------- */

struct filter_op {
	struct flow flow;
	struct filter *filter;
	struct bdev *base;
	struct bdev_gate_turn turn;
	unsigned at;
	bool raises;
	bool creates; /* a failure is the creator's to tell, and ends the filter */
	struct reason own_reason;
	struct reason *reason;
	done_fn done; /* or NULL */
	void *arg;
};

static void filter_move(struct filter *filter, enum filter_state state)
{
	static const unsigned allowed[] = {
		[FILTER_WAITING] = 1 << FILTER_RAISING,
		[FILTER_RAISING] = 1 << FILTER_WAITING | 1 << FILTER_STANDING,
		[FILTER_STANDING] = 1 << FILTER_SINKING,
		[FILTER_SINKING] = 1 << FILTER_WAITING,
	};

	invariant(allowed[filter->state] & 1u << state);
	filter->state = state;
}

static void filter_forget(struct filter *filter)
{
	list_remove(&filter->link);
	list_init(&filter->link);
	filter->deleted = true;
}

static bool filter_may_raise(const struct filter_op *op)
{
	const struct filter *filter = op->filter;

	return filter->state == FILTER_WAITING && !filter->deleted && !filter->filters->closing &&
	       op->base && !op->base->removing;
}

static enum bdev_claim filter_claim(const struct bdev *base)
{
	return base->read_only ? BDEV_CLAIM_READ_MANY_WRITE_NONE : BDEV_CLAIM_EXCLUSIVE_WRITE;
}

/* Those that are registered stay so until they are unregistered. */
static int filter_register_parts(struct filter *filter, struct reason *reason)
{
	const struct bdev *base = filter->base.bdev;
	int rc = filter->kind->fit(filter, base, reason);

	for (unsigned i = 0; !rc && i < filter->parts_count; i++) {
		if (filter->parts[i].absent)
			continue;
		part_fill(&filter->parts[i], base);
		filter->parts[i].registered = true;
		rc = bdev_register(filter->filters->registry, &filter->parts[i].bdev, reason);
		if (rc)
			filter->parts[i].registered = false;
	}
	return rc;
}

static void filter_op_end(struct filter_op *op, int rc)
{
	struct filter *filter = op->filter;

	if (rc && !op->creates && rc != -ENODEV)
		log_error("%s %s over %s is not there: %s", filter->kind->text, filter->name,
			filter->base_name, reason_text(op->reason, rc));
	if (rc && op->creates)
		filter_forget(filter);
	bdev_gate_leave(&filter->gate);
	if (op->base)
		bdev_operation_end(op->base);
	if (op->raises)
		filters_raise_ended(filter->filters);
	if (op->done)
		op->done(op->arg, rc);
	filter_put(filter);
	free(op);
}

static void parts_unregister(struct filter *filter);

static enum flow_result filter_raise_run(struct flow *f)
{
	struct filter_op *op = container_of(f, struct filter_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->filter->gate, &op->turn, flow_resume, f));
	if (!filter_may_raise(op))
		goto finish;
	flow_fail(f, bdev_open(op->base, &op->filter->base, op->reason));
	if (flow_failed(f))
		goto finish;
	filter_move(op->filter, FILTER_RAISING);
	AWAIT(f, bdev_claim(&op->filter->base, filter_claim(op->base), op->reason, flow_resume, f));
	if (flow_failed(f))
		goto close;
	if (op->filter->base.removed_told) {
		flow_fail(f, -ENODEV);
		goto release;
	}
	flow_fail(f, filter_register_parts(op->filter, op->reason));
	if (flow_failed(f) && !filter_has_parts(op->filter))
		goto release;
	filter_move(op->filter, FILTER_STANDING);
	if (f->error)
		parts_unregister(op->filter); /* the first ones: the last of them gives it back */
	goto finish;

release:
	AWAIT(f, bdev_release(&op->filter->base, flow_resume, f));
close:
	bdev_close(&op->filter->base);
	filter_move(op->filter, FILTER_WAITING);
finish:
	filter_op_end(op, f->error);
	FLOW_END(f);
}

static struct filter_op *filter_op_create(struct filter *filter, done_fn done, void *arg)
{
	struct filter_op *op = alloc_op(sizeof(*op));

	op->filter = filter;
	op->reason = &op->own_reason;
	op->done = done;
	op->arg = arg;
	filter_get(filter);
	return op;
}

static void filter_raise(struct filter_op *op)
{
	struct filters *filters = op->filter->filters;

	op->raises = true;
	filters->raising++;
	op->base = bdev_find(filters->registry, op->filter->base_name);
	if (op->base)
		bdev_operation_begin(op->base);
	flow_start(&op->flow, filters->control, "filter_raise", filter_raise_run);
}

/* For the creator that has no filter. */
struct refusal {
	struct deferred deferred;
	int rc;
	done_fn done;
	void *arg;
};

static void refusal_run(struct deferred *deferred)
{
	struct refusal *refusal = container_of(deferred, struct refusal, deferred);

	refusal->done(refusal->arg, refusal->rc);
	free(refusal);
}

static void filter_refuse(struct filters *filters, int rc, done_fn done, void *arg)
{
	struct refusal *refusal = alloc_op(sizeof(*refusal));

	refusal->deferred.run = refusal_run;
	refusal->rc = rc;
	refusal->done = done;
	refusal->arg = arg;
	reactor_defer(filters->control, DEFER_COMPLETE, &refusal->deferred);
}

void filter_start(struct filters *filters, struct filter *filter, int rc, struct reason *reason,
	done_fn done, void *arg)
{
	struct filter_op *op;

	if (rc) {
		if (filter)
			filter_free(filter);
		filter_refuse(filters, rc, done, arg);
		return;
	}
	op = filter_op_create(filter, done, arg);
	filter->base.ops = filter->kind->user_ops;
	list_add_tail(&filters->all, &filter->link);
	op->creates = true;
	op->reason = reason;
	filter_raise(op);
}

void filter_awaken(struct filter *filter)
{
	if (filter->state == FILTER_WAITING)
		filter_raise(filter_op_create(filter, NULL, NULL));
}

/* ---- sinking ------------------------------------------------------------------------------- */

static void part_unregistered(void *arg, int rc)
{
	filter_put(arg);
}

/* All of them: also when one was unregistered by somebody else. */
static void parts_unregister(struct filter *filter)
{
	if (filter->state == FILTER_STANDING)
		filter_move(filter, FILTER_SINKING);
	for (unsigned i = 0; i < filter->parts_count; i++) {
		struct filter_part *part = &filter->parts[i];

		if (!part->registered || part->bdev.removing)
			continue;
		filter_get(filter);
		bdev_unregister(&part->bdev, part_unregistered, filter);
	}
}

void filter_base_removed(struct bdev_user *user)
{
	struct filter *filter = container_of(user, struct filter, base);

	/* RAISING finds it out by itself. */
	if (filter->state == FILTER_STANDING)
		parts_unregister(filter);
}

/* Who waits for that goes on. */
static void filter_sunk(struct filter *filter)
{
	done_fn done = filter->sunk;

	if (filter->state == FILTER_SINKING || !done)
		return;
	filter->sunk = NULL;
	done(filter->sunk_arg, 0);
}

struct part_op {
	struct flow flow;
	struct filter *filter;
	bool last;
	done_fn done;
	void *arg;
};

static enum flow_result part_destroy_run(struct flow *f)
{
	struct part_op *op = container_of(f, struct part_op, flow);

	FLOW_BEGIN(f);
	parts_unregister(op->filter);
	if (!op->last)
		goto finish;
	AWAIT(f, bdev_release(&op->filter->base, flow_resume, f));
	bdev_close(&op->filter->base);
	filter_move(op->filter, FILTER_WAITING);
finish:
	op->done(op->arg, 0);
	filter_sunk(op->filter);
	filter_put(op->filter);
	free(op);
	FLOW_END(f);
}

void filter_part_destroy(struct bdev *bdev, done_fn done, void *arg)
{
	struct filter_part *part = filter_part_of(bdev);
	struct part_op *op = alloc_op(sizeof(*op));

	part->registered = false;
	op->filter = part->filter;
	op->last = !filter_has_parts(part->filter);
	op->done = done;
	op->arg = arg;
	filter_get(op->filter);
	flow_start(&op->flow, op->filter->filters->control, "filter_sink", part_destroy_run);
}

/* ---- deleting ------------------------------------------------------------------------------ */

/* It is STANDING, or SINKING already. */
static void filter_sink(struct filter *filter, done_fn done, void *arg)
{
	invariant(!filter->sunk);
	filter->sunk = done;
	filter->sunk_arg = arg;
	parts_unregister(filter);
}

static enum flow_result filter_delete_run(struct flow *f)
{
	struct filter_op *op = container_of(f, struct filter_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->filter->gate, &op->turn, flow_resume, f));
	if (op->filter->state != FILTER_WAITING)
		AWAIT(f, filter_sink(op->filter, flow_resume, f));
	filter_op_end(op, 0);
	FLOW_END(f);
}

void filter_delete(struct filter *filter, done_fn done, void *arg)
{
	struct filter_op *op = filter_op_create(filter, done, arg);

	filter_forget(filter);
	flow_start(&op->flow, filter->filters->control, "filter_delete", filter_delete_run);
}

/* ---- what the base tells ------------------------------------------------------------------- */

/* A split's parts stay what they are; what goes beyond a smaller end fails below. */
void filter_base_resized(struct bdev_user *user)
{
	struct filter *filter = container_of(user, struct filter, base);

	if (filter->state == FILTER_STANDING && filter->kind->type != FILTER_SPLIT)
		bdev_set_size(&filter->parts[0].bdev, bdev_size(user->bdev));
}

void filter_base_low_water_changed(struct bdev_user *user)
{
	struct filter *filter = container_of(user, struct filter, base);

	for (unsigned i = 0; i < filter->parts_count; i++)
		if (filter->parts[i].registered)
			bdev_set_low_water(&filter->parts[i].bdev, user->bdev->low_water_percent);
}

void filter_base_low_space(struct bdev_user *user)
{
	struct filter *filter = container_of(user, struct filter, base);

	for (unsigned i = 0; i < filter->parts_count; i++)
		if (filter->parts[i].registered)
			bdev_tell_low_space(&filter->parts[i].bdev);
}
