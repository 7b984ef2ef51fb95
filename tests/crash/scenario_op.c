/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "crash/scenario_impl.h"
#include "crash/store_image.h"

#define FOREIGN_ID "foreign0" /* with its NUL */

static const char *const op_names[] = {
	[SCENARIO_CREATE_THIN] = "create thin",
	[SCENARIO_CREATE_THICK] = "create thick",
	[SCENARIO_DELETE] = "delete",
	[SCENARIO_DELETE_SNAPSHOT] = "delete snapshot",
	[SCENARIO_GROW] = "grow",
	[SCENARIO_SHRINK] = "shrink",
	[SCENARIO_SNAPSHOT] = "snapshot",
	[SCENARIO_CLONE] = "clone",
	[SCENARIO_INFLATE] = "inflate",
	[SCENARIO_DECOUPLE] = "decouple",
	[SCENARIO_SET_PARENT] = "set parent",
	[SCENARIO_CREATE_ESNAP] = "create foreign clone",
	[SCENARIO_SET_ESNAP_PARENT] = "set foreign parent",
	[SCENARIO_RENAME] = "rename",
	[SCENARIO_READ_ONLY] = "read only",
	[SCENARIO_RELOAD] = "reload",
	[SCENARIO_GROW_STORE] = "grow store",
	[SCENARIO_WRITE] = "write",
	[SCENARIO_REMAKE_STORE] = "remake store",
	[SCENARIO_DESTROY_STORE] = "destroy store",
};

const char *scenario_op_name(enum scenario_op_kind kind)
{
	return op_names[kind];
}

/* ---- what it is done to ---------------------------------------------------------------------- */

static bool blob_has_clones(const struct blob_info *info, unsigned count)
{
	return info->num_clones == count;
}

static bool volume_fits(const struct scenario_volume *volume, enum scenario_op_kind kind)
{
	struct blob_info info;

	blob_get_info(volume->blob, &info);
	switch (kind) {
	case SCENARIO_DELETE:
		return blob_has_clones(&info, 0);
	case SCENARIO_DELETE_SNAPSHOT:
		return volume->is_snapshot && blob_has_clones(&info, 1);
	case SCENARIO_CLONE:
		return info.read_only;
	case SCENARIO_DECOUPLE:
		return (info.parent || info.esnap) && !info.read_only;
	case SCENARIO_SET_PARENT:
	case SCENARIO_SET_ESNAP_PARENT:
		return info.thin && !info.read_only && !info.parent && !info.esnap &&
		       !volume->is_written && volume->subject->bases.count == 1;
	case SCENARIO_SHRINK:
		return !info.read_only && info.num_clusters > 2;
	default:
		return !info.read_only;
	}
}

/* On its volume: it has no device, or its size changes. */
static bool op_is_alone(enum scenario_op_kind kind)
{
	return kind == SCENARIO_DELETE || kind == SCENARIO_DELETE_SNAPSHOT ||
	       kind == SCENARIO_READ_ONLY || kind == SCENARIO_SET_PARENT ||
	       kind == SCENARIO_SET_ESNAP_PARENT || kind == SCENARIO_GROW ||
	       kind == SCENARIO_SHRINK;
}

static struct scenario_volume *volume_pick(struct scenario *s, enum scenario_op_kind kind)
{
	struct scenario_volume *picked = NULL;
	unsigned count = 0;

	for (unsigned i = 0; i < s->model.num_volumes; i++) {
		struct scenario_volume *volume = &s->volumes[i];

		if (volume->blob && !volume->is_busy && !(op_is_alone(kind) && volume->users) &&
			volume_fits(volume, kind) && chance_one_in(&s->chance, ++count))
			picked = volume;
	}
	return picked;
}

/* A snapshot of the same size. */
static struct scenario_volume *parent_pick(struct scenario *s, const struct scenario_volume *child)
{
	for (unsigned i = 0; i < s->model.num_volumes; i++) {
		struct scenario_volume *volume = &s->volumes[i];
		struct blob_info info;

		if (!volume->blob || volume->is_busy || !volume->is_snapshot)
			continue;
		blob_get_info(volume->blob, &info);
		if (info.num_clusters == model_versions_last(&child->subject->sizes))
			return volume;
	}
	return NULL;
}

static uint64_t size_pick(struct scenario *s, uint64_t above, uint64_t below)
{
	static const uint64_t sizes[] = {2, 3, 4, 5, 6, 9, 511, 512, 513, SCENARIO_CLUSTERS_MAX};
	uint64_t picked = 0;
	unsigned count = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		if (sizes[i] > above && sizes[i] < below && chance_one_in(&s->chance, ++count))
			picked = sizes[i];
	return picked;
}

/* For a volume that will get another parent. */
static uint64_t size_of_snapshot(const struct scenario *s)
{
	for (unsigned i = 0; i < s->model.num_volumes; i++)
		if (s->volumes[i].blob && s->volumes[i].is_snapshot)
			return model_versions_last(&s->volumes[i].subject->sizes);
	return 0;
}

static bool size_prepare(struct scenario *s, struct scenario_op *op)
{
	uint64_t now = op->target ? model_versions_last(&op->target->subject->sizes) : 0;
	struct blob_info info = {.thin = op->thin};
	uint64_t most;

	if (op->target)
		blob_get_info(op->target->blob, &info);
	most = info.thin ? UINT64_MAX : MODEL_THICK_MAX + 1;
	if (op->kind == SCENARIO_SHRINK)
		op->clusters = size_pick(s, 0, now);
	else if (op->kind == SCENARIO_GROW)
		op->clusters = size_pick(s, now, most);
	else if (op->kind == SCENARIO_CREATE_THIN && s->op == SCENARIO_SET_PARENT)
		op->clusters = size_of_snapshot(s);
	if (!op->clusters && !op->target)
		op->clusters = size_pick(s, 3, most);
	return op->clusters != 0;
}

static bool target_prepare(struct scenario *s, struct scenario_op *op)
{
	switch (op->kind) {
	case SCENARIO_CREATE_THIN:
	case SCENARIO_CREATE_THICK:
	case SCENARIO_CREATE_ESNAP:
		return size_prepare(s, op);
	case SCENARIO_RELOAD:
	case SCENARIO_GROW_STORE:
	case SCENARIO_WRITE:
	case SCENARIO_REMAKE_STORE:
	case SCENARIO_DESTROY_STORE:
		return true;
	default:
		break;
	}
	op->target = volume_pick(s, op->kind);
	if (!op->target)
		return false;
	if (op->kind == SCENARIO_GROW || op->kind == SCENARIO_SHRINK)
		return size_prepare(s, op);
	if (op->kind != SCENARIO_SET_PARENT)
		return true;
	op->other = parent_pick(s, op->target);
	return op->other != NULL;
}

/* Closes the device that stands in the operation's way, opens the one that it works through; nobody
 * has I/O beyond the new end. */
static void way_prepare(struct scenario *s, struct scenario_op *op)
{
	switch (op->kind) {
	case SCENARIO_DELETE:
	case SCENARIO_DELETE_SNAPSHOT:
	case SCENARIO_READ_ONLY:
	case SCENARIO_SET_PARENT:
	case SCENARIO_SET_ESNAP_PARENT:
		scenario_volume_close(s, op->target);
		break;
	case SCENARIO_INFLATE:
	case SCENARIO_DECOUPLE:
		if (!op->target->is_open)
			scenario_volume_open(s, op->target);
		break;
	case SCENARIO_SHRINK:
		scenario_volume_quiet(s, op->target);
		op->target->guest.num_sectors = (uint32_t)op->clusters * s->model.cluster_sectors;
		break;
	default:
		break;
	}
}

static void xattrs_prepare(struct scenario *s, struct scenario_op *op)
{
	op->name = ++s->names;
	op->xattrs[op->num_xattrs++] =
		(struct blob_xattr){STORE_IMAGE_NAME, &op->name, sizeof(op->name)};
	if (op->kind != SCENARIO_RENAME)
		op->xattrs[op->num_xattrs++] =
			(struct blob_xattr){STORE_IMAGE_TAG, &op->tag, sizeof(op->tag)};
	memset(op->pad, 'p', sizeof(op->pad));
	/* Chains of one page, two or three. */
	if (chance_one_in(&s->chance, 2))
		op->xattrs[op->num_xattrs++] = (struct blob_xattr){
			"pad", op->pad, sizeof(op->pad) - 60 * chance_below(&s->chance, 2)};
}

static void op_run(struct store_call *call);
static void op_acked(struct store_call *call);

bool scenario_op_prepare(
	struct scenario *scenario, struct scenario_op *op, enum scenario_op_kind kind)
{
	*op = (struct scenario_op){.scenario = scenario, .kind = kind};
	op->call.run = op_run;
	op->call.acked = op_acked;
	op->thin = kind == SCENARIO_CREATE_THIN || kind == SCENARIO_CREATE_ESNAP;
	op->clear_method = (enum blobstore_clear_method)chance_below(&scenario->chance, 4);
	if (!target_prepare(scenario, op))
		return false;
	if (op->target) {
		op->target->users++;
		op->target->is_busy = op_is_alone(kind);
	}
	if (op->other)
		op->other->users++;
	way_prepare(scenario, op);
	xattrs_prepare(scenario, op);
	return true;
}

/* ---- doing it: control ----------------------------------------------------------------------- */

static void op_bear(struct scenario_op *op)
{
	struct scenario *s = op->scenario;
	bool is_snapshot = op->kind == SCENARIO_SNAPSHOT;
	bool is_foreign = op->kind == SCENARIO_CREATE_ESNAP;
	struct model_volume *of = op->target ? op->target->subject : NULL;
	struct model_volume *base = is_foreign ? s->foreign_subject : is_snapshot ? NULL : of;

	op->born = model_volume_add(&s->model, of ? model_versions_last(&of->sizes) : op->clusters,
		op->name, is_snapshot ? of : NULL, base, op->called);
	op->tag = op->born->tag;
	op->born->was_thick = op->kind == SCENARIO_CREATE_THICK;
	op->born->had_parent = op->kind == SCENARIO_CLONE || is_foreign;
	if (is_snapshot)
		op->target->subject->had_parent = true;
}

static void op_start_create(struct scenario_op *op)
{
	struct blob_create_options options = {
		.num_clusters = op->clusters,
		.thin = op->thin,
		.clear_method = op->clear_method,
		.xattrs = op->xattrs,
		.num_xattrs = op->num_xattrs,
	};

	if (op->kind == SCENARIO_CREATE_ESNAP) {
		options.esnap_id = FOREIGN_ID;
		options.esnap_id_length = sizeof(FOREIGN_ID);
	}
	op_bear(op);
	blob_create(op->scenario->world.store, &options, &op->call.reason, &op->ret_blob,
		store_call_done, &op->call);
}

static void op_start_copy(struct scenario_op *op)
{
	op_bear(op);
	if (op->kind == SCENARIO_SNAPSHOT)
		blob_snapshot(op->target->blob, op->xattrs, op->num_xattrs, &op->call.reason,
			&op->ret_blob, store_call_done, &op->call);
	else
		blob_clone(op->target->blob, op->xattrs, op->num_xattrs, &op->call.reason,
			&op->ret_blob, store_call_done, &op->call);
}

static void op_start_resize(struct scenario_op *op)
{
	op->span = model_versions_add(&op->target->subject->sizes, op->clusters, op->called);
	if (op->kind == SCENARIO_SHRINK && op->target->is_open)
		volume_set_size(&op->target->volume, op->clusters, op->scenario->cluster_size);
	blob_resize(op->target->blob, op->clusters, &op->call.reason, store_call_done, &op->call);
}

static void op_start_rename(struct scenario_op *op)
{
	op->span = model_versions_add(&op->target->subject->names, op->name, op->called);
	blob_set_xattrs(op->target->blob, op->xattrs, op->num_xattrs, &op->call.reason,
		store_call_done, &op->call);
}

static void op_start_delete(struct scenario_op *op)
{
	op->span = &op->target->subject->deleted;
	op->span->called = op->called;
	blob_delete(op->target->blob, &op->call.reason, store_call_done, &op->call);
}

static void op_start_set_parent(struct scenario_op *op)
{
	op->target->subject->had_parent = true;
	op->span = model_versions_add(
		&op->target->subject->bases, op->other->subject->tag, op->called);
	blob_set_parent(
		op->target->blob, op->other->blob, &op->call.reason, store_call_done, &op->call);
}

static void op_start_set_esnap_parent(struct scenario_op *op)
{
	op->target->subject->had_parent = true;
	op->span = model_versions_add(
		&op->target->subject->bases, op->scenario->foreign_subject->tag, op->called);
	blob_set_esnap_parent(op->target->blob, FOREIGN_ID, sizeof(FOREIGN_ID), &op->call.reason,
		store_call_done, &op->call);
}

/* Copies, and decides; what was taken away in between is copied again. */
static void op_filled(void *arg, int rc);

static void op_start_fill(struct scenario_op *op)
{
	blob_fill(op->target->blob, op->kind == SCENARIO_DECOUPLE, &op->call.reason, op_filled, op);
}

static void op_decided(void *arg, int rc)
{
	struct scenario_op *op = arg;

	if (rc == -EAGAIN)
		op_start_fill(op);
	else
		store_call_done(&op->call, rc);
}

static void op_filled(void *arg, int rc)
{
	struct scenario_op *op = arg;

	if (rc)
		store_call_done(&op->call, rc);
	else if (op->kind == SCENARIO_DECOUPLE)
		blob_decouple(op->target->blob, &op->call.reason, op_decided, op);
	else
		blob_inflate(op->target->blob, &op->call.reason, op_decided, op);
}

static void op_start_grow_store(struct scenario_op *op)
{
	bdev_set_size(&op->scenario->world.disk.bdev, op->scenario->size_bytes);
	blob_store_grow(op->scenario->world.store, &op->call.reason, store_call_done, &op->call);
}

static void op_run(struct store_call *call)
{
	struct scenario_op *op = container_of(call, struct scenario_op, call);
	struct scenario *s = op->scenario;

	op->called = crash_log_tick(&s->log);
	if (s->ops_under_way++ == 0)
		s->oldest_call = op->called;
	switch (op->kind) {
	case SCENARIO_CREATE_THIN:
	case SCENARIO_CREATE_THICK:
	case SCENARIO_CREATE_ESNAP:
		return op_start_create(op);
	case SCENARIO_SNAPSHOT:
	case SCENARIO_CLONE:
		return op_start_copy(op);
	case SCENARIO_DELETE:
	case SCENARIO_DELETE_SNAPSHOT:
		return op_start_delete(op);
	case SCENARIO_GROW:
	case SCENARIO_SHRINK:
		return op_start_resize(op);
	case SCENARIO_INFLATE:
		op->target->subject->was_thick = true;
		return op_start_fill(op);
	case SCENARIO_DECOUPLE:
		return op_start_fill(op);
	case SCENARIO_SET_PARENT:
		return op_start_set_parent(op);
	case SCENARIO_SET_ESNAP_PARENT:
		return op_start_set_esnap_parent(op);
	case SCENARIO_RENAME:
		return op_start_rename(op);
	case SCENARIO_READ_ONLY:
		return blob_set_read_only(op->target->blob, &call->reason, store_call_done, call);
	case SCENARIO_GROW_STORE:
		return op_start_grow_store(op);
	default:
		invariant(false);
	}
}

/* ---- its answer: control --------------------------------------------------------------------- */

static uint32_t tag_of(const struct scenario *s, const struct blob *blob)
{
	for (unsigned i = 0; blob && i < s->model.num_volumes; i++)
		if (s->volumes[i].blob == blob)
			return s->volumes[i].subject->tag;
	return 0;
}

/* What the store says of its blobs from now on must be so after a cut as well. */
static void facts_note(struct scenario *s, uint64_t now)
{
	for (unsigned i = 0; i < s->model.num_volumes; i++) {
		struct scenario_volume *volume = &s->volumes[i];
		struct model_versions *facts;
		struct blob_info info;
		uint64_t value;

		if (!volume->blob)
			continue;
		facts = &volume->subject->facts;
		blob_get_info(volume->blob, &info);
		value = model_facts(tag_of(s, info.parent), info.thin, info.read_only, info.esnap);
		if (!facts->count || model_versions_last(facts) != value)
			model_span_end(model_versions_add(facts, value, s->oldest_call), now, 0);
	}
}

static void op_acked_born(struct scenario_op *op, uint64_t now, int rc)
{
	struct scenario_volume *volume = &op->scenario->volumes[op->born->tag - 1];
	struct blob_info info;

	model_span_end(&op->born->created, now, rc);
	*volume = (struct scenario_volume){
		.subject = op->born, .is_snapshot = op->kind == SCENARIO_SNAPSHOT};
	if (rc)
		return;
	volume->blob = op->ret_blob;
	blob_get_info(op->ret_blob, &info);
	volume->id = info.id;
	store_world_lend_foreign(&op->scenario->world, op->ret_blob);
	op->born->sizes.list[0].value = info.num_clusters;
}

static void op_acked_resize(struct scenario_op *op, uint64_t now, int rc)
{
	if (!rc && op->kind == SCENARIO_SHRINK)
		model_trim(&op->scenario->model, op->target->subject, op->clusters, op->span);
	if (!op->target->is_open || (op->kind == SCENARIO_GROW) == (rc != 0))
		return;
	/* Grown; or what it was is left. */
	if (rc)
		op->clusters = model_versions_last(&op->target->subject->sizes);
	volume_set_size(&op->target->volume, op->clusters, op->scenario->cluster_size);
	op->target->guest.num_sectors =
		(uint32_t)op->clusters * op->scenario->model.cluster_sectors;
}

static void op_acked(struct store_call *call)
{
	struct scenario_op *op = container_of(call, struct scenario_op, call);
	struct scenario *s = op->scenario;
	uint64_t now = crash_log_tick(&s->log);

	if (op->span)
		model_span_end(op->span, now, call->rc);
	if (op->born)
		op_acked_born(op, now, call->rc);
	if (op->kind == SCENARIO_GROW || op->kind == SCENARIO_SHRINK)
		op_acked_resize(op, now, call->rc);
	if ((op->kind == SCENARIO_DELETE || op->kind == SCENARIO_DELETE_SNAPSHOT) && !call->rc)
		op->target->blob = NULL;
	if (op->kind == SCENARIO_SET_ESNAP_PARENT && !call->rc)
		store_world_lend_foreign(&s->world, op->target->blob);
	facts_note(s, now);
	s->ops_under_way--;
}

/* ---- the test's side ------------------------------------------------------------------------- */

void scenario_op_begin(struct scenario_op *op)
{
	store_call_begin(&op->scenario->world, &op->call);
}

/* Refusals that are right: two operations met, or there is no room. */
static bool refusal_is_right(int rc)
{
	return rc == 0 || rc == -EBUSY || rc == -ENOSPC || rc == -EINVAL || rc == -EEXIST ||
	       rc == -EPERM || rc == -ENOTSUP;
}

void scenario_op_finish(struct scenario_op *op)
{
	struct scenario *s = op->scenario;

	if (!store_call_wait(&op->call)) {
		fprintf(stderr, "scenario %llu: %s does not end\n", (unsigned long long)s->number,
			op_names[op->kind]);
		assert_true(false);
	}
	if (!refusal_is_right(op->call.rc) && !s->fault[0])
		snprintf(s->fault, sizeof(s->fault), "%s ended with %d: %s", op_names[op->kind],
			op->call.rc, op->call.reason.text);
	if (op->target) {
		op->target->users--;
		op->target->is_busy = false;
	}
	if (op->other)
		op->other->users--;
}
