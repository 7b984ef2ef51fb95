/* SPDX-License-Identifier: BSD-2-Clause */
/* What is right (model.h). */
#include "crash/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* ---- versions -------------------------------------------------------------------------------- */

/* One that the versions from index on may have: of those that have happened the last, or one that
 * goes on. */
static bool version_is_current(const struct model_versions *versions, unsigned i, uint64_t now)
{
	if (!model_span_may(&versions->list[i].span, now))
		return false;
	for (unsigned later = i + 1; later < versions->count; later++)
		if (model_span_must(&versions->list[later].span, now))
			return false;
	return true;
}

bool model_versions_allow(const struct model_versions *versions, uint64_t value, uint64_t now)
{
	for (unsigned i = 0; i < versions->count; i++)
		if (versions->list[i].value == value && version_is_current(versions, i, now))
			return true;
	return false;
}

bool model_size_is_right(const struct model *model, const struct model_volume *volume,
	uint64_t num_clusters, uint64_t now)
{
	const struct model_volume *origin = volume->origin;
	uint64_t until = now;

	if (!origin)
		return model_versions_allow(&volume->sizes, num_clusters, now);
	if (model_span_must(&volume->created, now))
		until = volume->created.done;
	/* What it was at some moment between call and answer. */
	for (unsigned i = 0; i < origin->sizes.count; i++)
		if (origin->sizes.list[i].value == num_clusters &&
			model_span_may(&origin->sizes.list[i].span, until) &&
			version_is_current(&origin->sizes, i,
				u64_max(volume->created.called, origin->sizes.list[i].span.called)))
			return true;
	return false;
}

/* ---- clusters -------------------------------------------------------------------------------- */

/*
 * Nobody writes outside the hot clusters: what is there comes from a volume that was thick once.
 * It passes to its snapshot, from there to who takes the snapshot's clusters or copies them, and
 * stays when that grows.
 */
bool model_may_have_cluster(const struct model_volume *volume, uint64_t cluster)
{
	if (model_is_hot(cluster))
		return true;
	return cluster < MODEL_THICK_MAX &&
	       (volume->was_thick || volume->had_parent || volume->origin);
}

/* ---- values ---------------------------------------------------------------------------------- */

static bool write_is_visible(
	const struct model_write *write, uint32_t sector, uint64_t floor, uint64_t now)
{
	if (sector < write->first || sector >= write->end || write->called > now)
		return false;
	if (write->kind == MODEL_TRIM && write->acked > now)
		return false;
	return !(write->acked && write->acked < floor);
}

static bool volume_says(const struct model *model, const struct model_volume *volume,
	uint32_t sector, uint32_t id, uint64_t floor, uint64_t now)
{
	if (id != MODEL_ZERO && id != MODEL_DISCARDED)
		return model->writes[id - 1].volume == volume &&
		       write_is_visible(&model->writes[id - 1], sector, floor, now);
	for (unsigned i = 0; i < volume->num_zeroes; i++) {
		const struct model_write *write = &model->writes[volume->zeroes[i]];

		if (write_is_visible(write, sector, floor, now) &&
			(id == MODEL_ZERO || write->kind == MODEL_DISCARD))
			return true;
	}
	return false;
}

static uint64_t snapshot_until(const struct model_volume *snapshot, uint64_t now)
{
	return model_span_must(&snapshot->created, now) ? snapshot->created.done : now;
}

static unsigned bases_that_say(const struct model *model, const struct model_volume *volume,
	uint32_t sector, uint32_t id, uint64_t now);

/* Which of its bases would make this right; all ones: it is without any. */
static unsigned value_bases(const struct model *model, const struct model_volume *volume,
	uint32_t sector, uint32_t id, uint64_t floor, uint64_t now)
{
	if (volume_says(model, volume, sector, id, floor, now))
		return ~0u;
	return floor ? 0 : bases_that_say(model, volume, sector, id, now);
}

/* Of a snapshot, or of a volume that nobody writes any more. */
static unsigned fixed_bases(const struct model *model, const struct model_volume *volume,
	uint32_t sector, uint32_t id, uint64_t now)
{
	if (!volume->origin)
		return value_bases(model, volume, sector, id, volume->floor[sector], now);
	return value_bases(model, volume->origin, sector, id, volume->floor[sector],
		snapshot_until(volume, now));
}

static unsigned bases_that_say(const struct model *model, const struct model_volume *volume,
	uint32_t sector, uint32_t id, uint64_t now)
{
	unsigned bases = 0;

	for (unsigned i = 0; i < volume->bases.count; i++) {
		uint64_t tag = volume->bases.list[i].value;

		if (!version_is_current(&volume->bases, i, now))
			continue;
		if (tag == 0 ? id == MODEL_ZERO
			     : fixed_bases(model, model->volumes[tag - 1], sector, id, now) != 0)
			bases |= 1u << i;
	}
	return bases;
}

bool model_read_is_right(const struct model *model, const struct model_volume *volume,
	uint32_t sector, uint32_t id, uint64_t floor, uint64_t now)
{
	if (id == MODEL_GARBAGE)
		return false;
	if (volume->origin)
		return fixed_bases(model, volume, sector, id, now) != 0;
	return value_bases(model, volume, sector, id, floor, now) != 0;
}

/* ---- cuts ------------------------------------------------------------------------------------ */

static int compare_stability(const void *a, const void *b, void *arg)
{
	const struct model *model = arg;
	uint64_t of_a = model->writes[*(const uint32_t *)a].stable;
	uint64_t of_b = model->writes[*(const uint32_t *)b].stable;

	return (of_a > of_b) - (of_a < of_b);
}

void model_seal(struct model *model)
{
	model->by_stability = calloc(model->num_writes + 1, sizeof(*model->by_stability));
	invariant(model->by_stability != NULL);
	for (uint32_t i = 0; i < model->num_writes; i++)
		if (model->writes[i].stable)
			model->by_stability[model->num_stable++] = i;
	qsort_r(model->by_stability, model->num_stable, sizeof(*model->by_stability),
		compare_stability, model);
}

void model_set_cut(struct model *model, uint64_t now)
{
	model->now = now;
	while (model->next_stable < model->num_stable) {
		const struct model_write *write =
			&model->writes[model->by_stability[model->next_stable]];

		if (write->stable > now)
			return;
		model->next_stable++;
		for (uint32_t at = write->first; at < write->end; at++)
			if (write->kind != MODEL_DISCARD)
				write->volume->floor[at] =
					u64_max(write->volume->floor[at], write->called);
	}
}

/* What was asked of that sector, the youngest last. */
static void tell_history(const struct model *model, const struct model_volume *volume,
	uint32_t sector, char *ret_text, size_t size)
{
	static const char *const kinds[] = {"write", "zeroes", "discard", "trim"};
	size_t length = strlen(ret_text);

	for (uint32_t i = 0; i < model->num_writes && length < size; i++) {
		const struct model_write *write = &model->writes[i];

		if (write->volume == volume && sector >= write->first && sector < write->end)
			length += (size_t)snprintf(ret_text + length, size - length,
				" [%s %u of %u-%u: %" PRIu64 ", %" PRIu64 ", %" PRIu64 "]",
				kinds[write->kind], i + 1, write->first, write->end, write->called,
				write->acked, write->stable);
	}
}

static int tell(const struct model *model, const struct model_volume *volume, uint32_t sector,
	uint32_t id, const char *what, char *ret_text, size_t size)
{
	const struct model_write *write =
		id && id <= model->num_writes ? &model->writes[id - 1] : NULL;
	int length = snprintf(ret_text, size, "volume %u sector %u (cluster %u) %s", volume->tag,
		sector, sector / model->cluster_sectors, what);

	if (write)
		snprintf(ret_text + length, size - (size_t)length,
			" write %u of volume %u, sectors %u-%u, called %" PRIu64 ", acked %" PRIu64
			", stable %" PRIu64 "; floor %" PRIu64 ", cut %" PRIu64,
			id, write->volume->tag, write->first, write->end, write->called,
			write->acked, write->stable, volume->floor[sector], model->now);
	else
		snprintf(ret_text + length, size - (size_t)length,
			" %s; floor %" PRIu64 ", cut %" PRIu64,
			id == MODEL_ZERO        ? "zeroes"
			: id == MODEL_DISCARDED ? "what a discard left"
						: "garbage",
			volume->floor[sector], model->now);
	tell_history(model, volume->origin ? volume->origin : volume, sector, ret_text, size);
	return -1;
}

/* Of its hot clusters it has so many. */
static unsigned hot_count(uint64_t num_clusters)
{
	unsigned count = 0;

	while (count < MODEL_HOT && model_hot_cluster(count) < num_clusters)
		count++;
	return count;
}

/* Where the id of a sector of a hot cluster is. */
static uint32_t hot_place(const struct model *model, uint32_t sector)
{
	return model_hot_number(sector / model->cluster_sectors) * model->cluster_sectors +
	       sector % model->cluster_sectors;
}

static uint64_t youngest_of(const struct model *model, const struct model_volume *snapshot,
	uint32_t hot_sectors, const uint32_t *ids)
{
	uint64_t youngest = snapshot->created.called;

	for (uint32_t i = 0; i < hot_sectors; i++)
		if (ids[i] && ids[i] <= model->num_writes &&
			model->writes[ids[i] - 1].volume == snapshot->origin)
			youngest = u64_max(youngest, model->writes[ids[i] - 1].called);
	return youngest;
}

/* A snapshot is of one moment: not before the youngest write that is in it. */
static int check_moment(const struct model *model, const struct model_volume *snapshot,
	uint64_t num_clusters, const uint32_t *ids, char *ret_text, size_t size)
{
	uint32_t sectors = (uint32_t)num_clusters * model->cluster_sectors;
	uint64_t youngest =
		youngest_of(model, snapshot, hot_count(num_clusters) * model->cluster_sectors, ids);

	for (uint32_t i = 0; i < model->num_writes; i++) {
		const struct model_write *write = &model->writes[i];

		if (write->volume != snapshot->origin || write->kind != MODEL_WRITE ||
			!write->acked || write->acked <= snapshot->created.called ||
			write->acked >= youngest)
			continue;
		for (uint32_t at = write->first; at < write->end && at < sectors; at++) {
			uint32_t id = ids[hot_place(model, at)];

			if (!value_bases(model, snapshot->origin, at, id,
				    u64_max(snapshot->floor[at], write->called),
				    snapshot_until(snapshot, model->now)))
				return tell(model, snapshot, at, id,
					"is older than others of this snapshot:", ret_text, size);
		}
	}
	return 0;
}

static unsigned bases_allowed(
	const struct model *model, const struct model_volume *volume, uint32_t sector, uint32_t id)
{
	if (id == MODEL_GARBAGE)
		return 0;
	if (volume->origin)
		return fixed_bases(model, volume, sector, id, model->now);
	return value_bases(model, volume, sector, id, volume->floor[sector], model->now);
}

int model_check_volume(const struct model *model, const struct model_volume *volume,
	uint64_t num_clusters, const uint32_t *ids, char *ret_text, size_t size)
{
	unsigned count = hot_count(num_clusters);
	const uint32_t *id = ids;
	unsigned bases = ~0u;

	for (unsigned nth = 0; nth < count; nth++) {
		uint32_t first = model_hot_cluster(nth) * model->cluster_sectors;

		for (uint32_t at = first; at < first + model->cluster_sectors; at++, id++) {
			unsigned allowed = bases_allowed(model, volume, at, *id);

			if (!allowed)
				return tell(
					model, volume, at, *id, "must not hold", ret_text, size);
			bases &= allowed;
			if (!bases)
				return tell(model, volume, at, *id,
					"is of another parent than others: it holds", ret_text,
					size);
		}
	}
	return volume->origin ? check_moment(model, volume, num_clusters, ids, ret_text, size) : 0;
}
