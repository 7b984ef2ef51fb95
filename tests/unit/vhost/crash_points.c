/* SPDX-License-Identifier: BSD-2-Clause */
#include "crash_points.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "stepped.h"

size_t crash_areas_bytes(const struct crash_areas *areas)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < areas->count; i++)
		bytes += areas->area[i].len;
	return bytes;
}

void crash_areas_save(const struct crash_areas *areas, uint8_t *state)
{
	for (unsigned i = 0; i < areas->count; i++) {
		memcpy(state, areas->area[i].addr, areas->area[i].len);
		state += areas->area[i].len;
	}
}

void crash_areas_load(const struct crash_areas *areas, const uint8_t *state)
{
	for (unsigned i = 0; i < areas->count; i++) {
		memcpy(areas->area[i].addr, state, areas->area[i].len);
		state += areas->area[i].len;
	}
}

static bool crash_areas_differ(const struct crash_areas *areas, const uint8_t *state)
{
	for (unsigned i = 0; i < areas->count; i++) {
		if (memcmp(state, areas->area[i].addr, areas->area[i].len) != 0)
			return true;
		state += areas->area[i].len;
	}
	return false;
}

struct crash_collection {
	const struct crash_areas *areas;
	struct crash_points points;
	void (*fn)(void *arg);
	void *arg;
};

/* Keeps the memory's state if it is a new one. */
static void crash_collection_step(void *arg)
{
	struct crash_collection *collection = arg;
	struct crash_points *points = &collection->points;

	if (points->count && !crash_areas_differ(collection->areas,
				     points->states + (points->count - 1) * points->bytes))
		return;
	if (points->count == CRASH_POINTS_MAX)
		fail_msg("more than %u states", points->count);
	crash_areas_save(collection->areas, points->states + points->count++ * points->bytes);
}

static void crash_collection_run(void *arg)
{
	struct crash_collection *collection = arg;

	stepped_begin();
	collection->fn(collection->arg);
	stepped_end();
}

int crash_points_collect(const struct crash_areas *areas, void (*fn)(void *arg), void *arg,
	struct crash_points *ret_points)
{
	struct crash_collection collection = {
		.areas = areas,
		.points = {.bytes = crash_areas_bytes(areas)},
		.fn = fn,
		.arg = arg,
	};
	const struct stepped_child child = {
		.run = crash_collection_run,
		.arg = &collection,
		.step = crash_collection_step,
		.step_arg = &collection,
	};
	int rc;

	collection.points.states = malloc(CRASH_POINTS_MAX * collection.points.bytes);
	assert_non_null(collection.points.states);
	rc = stepped_child_run(&child);
	if (rc)
		free(collection.points.states);
	else
		*ret_points = collection.points;
	return rc;
}

void crash_points_free(struct crash_points *points)
{
	free(points->states);
}

void crash_points_restore(
	const struct crash_areas *areas, const struct crash_points *points, unsigned point)
{
	crash_areas_load(areas, points->states + point * points->bytes);
}
