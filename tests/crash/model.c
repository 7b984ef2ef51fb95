/* SPDX-License-Identifier: BSD-2-Clause */
/* The history. */
#include "crash/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "crash/chance.h"

#define SECTOR_WORDS (MODEL_SECTOR / sizeof(uint64_t))

void model_init(struct model *model, uint32_t cluster_sectors, uint32_t clusters_max)
{
	*model = (struct model){
		.cluster_sectors = cluster_sectors,
		.sectors_max = cluster_sectors * clusters_max,
	};
}

void model_fini(struct model *model)
{
	for (unsigned i = 0; i < model->num_volumes; i++) {
		free(model->volumes[i]->zeroes);
		free(model->volumes[i]->live);
		free(model->volumes[i]->floor);
		free(model->volumes[i]);
	}
	free(model->by_stability);
	free(model->writes);
}

static void *model_alloc(size_t count, size_t size)
{
	void *p = calloc(count, size);

	invariant(p != NULL);
	return p;
}

/* ---- volumes --------------------------------------------------------------------------------- */

struct model_volume *model_volume_add(struct model *model, uint64_t clusters, uint64_t name,
	struct model_volume *origin, struct model_volume *base, uint64_t now)
{
	struct model_volume *volume = model_alloc(1, sizeof(*volume));
	size_t floor_bytes = model->sectors_max * sizeof(uint64_t);

	invariant(model->num_volumes < MODEL_VOLUMES_MAX);
	model->volumes[model->num_volumes++] = volume;
	volume->tag = model->num_volumes;
	volume->created.called = now;
	volume->origin = origin;
	volume->floor = model_alloc(1, floor_bytes);
	volume->live = model_alloc(1, floor_bytes);
	if (origin)
		memcpy(volume->floor, origin->live, floor_bytes);
	/* They are there with the volume. */
	model_versions_add(&volume->sizes, clusters, now)->done = now;
	model_versions_add(&volume->names, name, now)->done = now;
	model_versions_add(&volume->bases, base ? base->tag : 0, now)->done = now;
	return volume;
}

struct model_volume *model_foreign_add(struct model *model, uint32_t clusters, uint64_t now)
{
	struct model_volume *volume = model_volume_add(model, clusters, 0, NULL, NULL, now);
	uint32_t end = clusters * model->cluster_sectors;
	uint32_t number = model_write_begin(model, volume, MODEL_WRITE, 0, end, now);

	model_write_end(model, number, true, now + 1);
	memcpy(volume->floor, volume->live, end * sizeof(*volume->floor));
	volume->created.called = 0; /* the store never has it */
	return volume;
}

struct model_span *model_versions_add(struct model_versions *versions, uint64_t value, uint64_t now)
{
	struct model_version *version = &versions->list[versions->count++];

	invariant(versions->count <= MODEL_VERSIONS_MAX);
	*version = (struct model_version){.value = value, .span.called = now};
	return &version->span;
}

uint64_t model_versions_last(const struct model_versions *versions)
{
	unsigned i = versions->count - 1;

	while (i > 0 && (!versions->list[i].span.done || versions->list[i].span.rc))
		i--;
	return versions->list[i].value;
}

void model_span_end(struct model_span *span, uint64_t now, int rc)
{
	span->done = now;
	span->rc = rc;
}

/* ---- writes ---------------------------------------------------------------------------------- */

static void volume_add_zeroes(struct model_volume *volume, uint32_t number)
{
	if (volume->num_zeroes == volume->room_zeroes) {
		volume->room_zeroes = volume->room_zeroes * 2 + 8;
		volume->zeroes =
			realloc(volume->zeroes, volume->room_zeroes * sizeof(*volume->zeroes));
		invariant(volume->zeroes != NULL);
	}
	volume->zeroes[volume->num_zeroes++] = number;
}

uint32_t model_write_begin(struct model *model, struct model_volume *volume,
	enum model_write_kind kind, uint32_t first, uint32_t end, uint64_t now)
{
	uint32_t number = model->num_writes++;

	invariant(first < end && end <= model->sectors_max);
	if (number == model->room_writes) {
		model->room_writes = model->room_writes * 2 + 256;
		model->writes = realloc(model->writes, model->room_writes * sizeof(*model->writes));
		invariant(model->writes != NULL);
	}
	model->writes[number] = (struct model_write){
		.volume = volume, .kind = kind, .first = first, .end = end, .called = now};
	if (kind != MODEL_WRITE)
		volume_add_zeroes(volume, number);
	return number;
}

/* The floor of a set of writes, with this one in it. */
static void floor_raise(uint64_t *floor, const struct model_write *write)
{
	if (write->kind == MODEL_DISCARD)
		return;
	for (uint32_t at = write->first; at < write->end; at++)
		floor[at] = u64_max(floor[at], write->called);
}

void model_write_end(struct model *model, uint32_t number, bool is_fua, uint64_t now)
{
	struct model_write *write = &model->writes[number];

	write->acked = now;
	write->stable = is_fua ? now : 0;
	floor_raise(write->volume->live, write);
}

void model_discard_end(struct model *model, uint32_t number)
{
	struct model_write *write = &model->writes[number];

	if (!write->volume->was_thick && !write->volume->had_parent &&
		(write->first | write->end) % model->cluster_sectors == 0)
		write->kind = MODEL_ZEROES;
}

void model_flush(struct model *model, struct model_volume *volume, uint64_t called, uint64_t now)
{
	for (uint32_t i = 0; i < model->num_writes; i++) {
		struct model_write *write = &model->writes[i];

		if (write->volume == volume && write->acked && write->acked < called &&
			!write->stable)
			write->stable = now;
	}
}

void model_trim(struct model *model, struct model_volume *volume, uint64_t clusters,
	const struct model_span *span)
{
	uint32_t first = (uint32_t)clusters * model->cluster_sectors;
	uint32_t number;

	if (first >= model->sectors_max)
		return;
	number = model_write_begin(
		model, volume, MODEL_TRIM, first, model->sectors_max, span->called);
	model_write_end(model, number, true, span->done);
}

/* ---- sectors --------------------------------------------------------------------------------- */

static uint64_t sector_word(uint64_t id, uint64_t place, unsigned word)
{
	return (id << 32 ^ place) * UINT64_C(0x9e3779b97f4a7c15) + word;
}

/* id, tag and sector, and words that follow from them. */
static void sector_fill(uint64_t *words, uint64_t id, uint64_t place)
{
	words[0] = id;
	words[1] = place;
	for (unsigned i = 2; i < SECTOR_WORDS; i++)
		words[i] = sector_word(id, place, i);
}

void model_fill(const struct model *model, uint32_t number, uint32_t sector, void *ret_data)
{
	uint64_t words[SECTOR_WORDS];

	sector_fill(words, number + 1, (uint64_t)model->writes[number].volume->tag << 32 | sector);
	memcpy(ret_data, words, sizeof(words));
}

/* memcmp is faster at this than a loop over words is: most sectors are empty. */
static bool is_filled(const void *data, uint8_t byte)
{
	static uint8_t full[UINT8_MAX + 1][MODEL_SECTOR];

	if (full[byte][0] != byte)
		memset(full[byte], byte, MODEL_SECTOR);
	return memcmp(data, full[byte], MODEL_SECTOR) == 0;
}

/* Word for word, without a branch. */
static bool is_sector(const void *data, uint64_t id, uint64_t place)
{
	uint64_t words[SECTOR_WORDS];
	uint64_t differs;

	memcpy(words, data, sizeof(words));
	differs = (words[0] ^ id) | (words[1] ^ place);
	for (unsigned i = 2; i < SECTOR_WORDS; i++)
		differs |= words[i] ^ sector_word(id, place, i);
	return !differs;
}

uint32_t model_recognize(const struct model *model, uint32_t sector, const void *data)
{
	uint64_t id;

	memcpy(&id, data, sizeof(id));
	if (id == 0)
		return is_filled(data, 0) ? MODEL_ZERO : MODEL_GARBAGE;
	if (id > model->num_writes)
		return is_filled(data, MODEL_DISCARDED_BYTE) ? MODEL_DISCARDED : MODEL_GARBAGE;
	return is_sector(data, id, (uint64_t)model->writes[id - 1].volume->tag << 32 | sector)
		       ? (uint32_t)id
		       : MODEL_GARBAGE;
}
