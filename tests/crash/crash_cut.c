/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cutter (crash_log.h).
 *
 * `cached` is the disk's cache in the order in which writes ended. A flush makes a run from its
 * head stable; FUA, or a disk that lies, makes single ones in the middle stable: these are pinned
 * and go to `stable` when nothing below them can be lost any more, so that what is lower never
 * comes to lie on top.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "crash/crash_log.h"

#define TEAR_BYTES        512u
#define TEAR_ATOMIC_BYTES 4096u
#define TEAR_UNITS_MAX    256u /* of more than so many, runs survive and not single ones */

void crash_cutter_init(struct crash_cutter *cutter, const struct crash_log *log,
	const struct crash_image *before, uint64_t size_bytes)
{
	uint32_t writes = log->num_writes + 1;

	*cutter = (struct crash_cutter){
		.log = log,
		.cached = calloc(writes, sizeof(*cutter->cached)),
		.pinned = calloc(writes, sizeof(*cutter->pinned)),
		.flying = calloc(writes, sizeof(*cutter->flying)),
		.order = calloc(writes, sizeof(*cutter->order)),
		.room_seen = 1024,
	};
	cutter->seen = calloc(cutter->room_seen, sizeof(*cutter->seen));
	invariant(cutter->cached && cutter->pinned && cutter->flying && cutter->order &&
		  cutter->seen);
	crash_image_init(&cutter->stable, before, size_bytes);
}

void crash_cutter_fini(struct crash_cutter *cutter)
{
	free(cutter->seen);
	free(cutter->order);
	free(cutter->flying);
	free(cutter->pinned);
	free(cutter->cached);
	crash_image_fini(&cutter->stable);
}

/* ---- the state of the disk ----------------------------------------------------------------- */

static void cutter_settle(struct crash_cutter *cutter)
{
	uint32_t settled = 0;

	while (settled < cutter->num_cached && cutter->pinned[settled])
		crash_write_apply(&cutter->log->writes[cutter->cached[settled++]], &cutter->stable);
	if (!settled)
		return;
	cutter->version++;
	cutter->num_cached -= settled;
	memmove(cutter->cached, cutter->cached + settled,
		cutter->num_cached * sizeof(*cutter->cached));
	memmove(cutter->pinned, cutter->pinned + settled,
		cutter->num_cached * sizeof(*cutter->pinned));
}

static void cutter_flush(struct crash_cutter *cutter, uint32_t number)
{
	const struct crash_write *flush = &cutter->log->writes[number];

	if (flush->dropped)
		return;
	for (uint32_t i = 0; i < cutter->num_cached; i++) {
		const struct crash_write *write = &cutter->log->writes[cutter->cached[i]];

		if (write->ended < flush->submitted && write->passed_by != number + 1)
			cutter->pinned[i] = true;
	}
	cutter_settle(cutter);
}

static void cutter_land(struct crash_cutter *cutter, uint32_t number)
{
	const struct crash_write *write = &cutter->log->writes[number];
	uint32_t at = 0;

	while (cutter->flying[at] != number)
		at++;
	cutter->flying[at] = cutter->flying[--cutter->num_flying];
	cutter->cached[cutter->num_cached] = number;
	cutter->pinned[cutter->num_cached++] = (write->is_fua && !write->dropped) || write->early;
	cutter_settle(cutter);
}

static void cutter_event(struct crash_cutter *cutter, const struct crash_event *event)
{
	const struct crash_write *write = &cutter->log->writes[event->write];

	if (write->is_flush && event->is_end)
		cutter_flush(cutter, event->write);
	else if (write->is_flush)
		return;
	else if (event->is_end)
		cutter_land(cutter, event->write);
	else
		cutter->flying[cutter->num_flying++] = event->write;
}

bool crash_cutter_next(struct crash_cutter *cutter)
{
	const struct crash_log *log = cutter->log;
	uint64_t last = cutter->now;
	const struct crash_event *event;

	if (cutter->next_event == log->num_events)
		return false;
	event = &log->events[cutter->next_event++];
	cutter_event(cutter, event);
	cutter->now = cutter->next_event < log->num_events
			      ? log->events[cutter->next_event].time - 1
			      : log->now;
	if (cutter->now > last + 1)
		cutter->marks++;
	return true;
}

/* ---- what survives --------------------------------------------------------------------------- */

struct survival {
	struct crash_cutter *cutter;
	struct crash_image *image;
	struct chance chance;
	uint64_t hash;
};

static void survive_range(struct survival *s, uint32_t number, const struct crash_write *write,
	uint64_t from, uint64_t to)
{
	struct crash_write part = *write;

	part.offset += from;
	part.length = to - from;
	if (part.data)
		part.data += from;
	crash_write_apply(&part, s->image);
	s->hash = chance_mix(s->hash ^ chance_mix((uint64_t)number << 32 ^ from << 1 ^ 1));
	s->hash = chance_mix(s->hash ^ to);
}

static void survive_whole(struct survival *s, uint32_t number)
{
	const struct crash_write *write = &s->cutter->log->writes[number];

	survive_range(s, number, write, 0, write->length);
}

/* Some units of it: a beginning, an end, or any. */
static void survive_torn(struct survival *s, uint32_t number)
{
	const struct crash_write *write = &s->cutter->log->writes[number];
	uint64_t unit = write->offset < s->cutter->log->atomic_end ? TEAR_ATOMIC_BYTES : TEAR_BYTES;
	uint64_t units = write->length / unit;
	uint64_t cut = chance_below(&s->chance, units + 1) * unit;
	uint64_t step = units > TEAR_UNITS_MAX ? units / TEAR_UNITS_MAX * unit : unit;

	if (units < 2 || write->length % unit || write->offset % unit)
		return chance_one_in(&s->chance, 2) ? survive_whole(s, number) : (void)0;
	switch (chance_below(&s->chance, 3)) {
	case 0:
		if (cut)
			survive_range(s, number, write, 0, cut);
		return;
	case 1:
		if (cut < write->length)
			survive_range(s, number, write, cut, write->length);
		return;
	default:
		for (uint64_t at = 0; at < write->length; at += step)
			if (chance_one_in(&s->chance, 2))
				survive_range(
					s, number, write, at, u64_min(at + step, write->length));
	}
}

enum survival_kind { SURVIVE_NONE, SURVIVE_ALL, SURVIVE_PREFIX, SURVIVE_MOST, SURVIVE_ANY };

static bool survives(struct survival *s, enum survival_kind kind, uint32_t nth, uint32_t prefix)
{
	switch (kind) {
	case SURVIVE_NONE:
		return false;
	case SURVIVE_ALL:
		return true;
	case SURVIVE_PREFIX:
		return nth < prefix;
	case SURVIVE_MOST:
		return !chance_one_in(&s->chance, 8);
	default:
		return chance_one_in(&s->chance, 2);
	}
}

static void survive_one(
	struct survival *s, enum survival_kind kind, uint32_t number, uint32_t nth, uint32_t prefix)
{
	bool torn = (kind == SURVIVE_ANY && chance_one_in(&s->chance, 3)) ||
		    (kind == SURVIVE_PREFIX && nth == prefix);

	if (torn)
		survive_torn(s, number);
	else if (survives(s, kind, nth, prefix))
		survive_whole(s, number);
}

/* Writes that are under way have no order among themselves: one by chance. */
static void cutter_order_flying(struct crash_cutter *cutter, struct chance *chance)
{
	for (uint32_t i = 0; i < cutter->num_flying; i++) {
		uint32_t at = chance ? (uint32_t)chance_below(chance, i + 1) : i;

		cutter->order[i] = cutter->order[at];
		cutter->order[at] = cutter->flying[i];
	}
}

static bool cutter_has_seen(struct crash_cutter *cutter, uint64_t hash);

static void cutter_see_more(struct crash_cutter *cutter)
{
	uint64_t *old = cutter->seen;
	uint32_t room = cutter->room_seen;

	cutter->room_seen *= 2;
	cutter->num_seen = 0;
	cutter->seen = calloc(cutter->room_seen, sizeof(*old));
	invariant(cutter->seen != NULL);
	for (uint32_t i = 0; i < room; i++)
		if (old[i])
			cutter_has_seen(cutter, old[i]);
	free(old);
}

/* And remembers it. */
static bool cutter_has_seen(struct crash_cutter *cutter, uint64_t hash)
{
	uint32_t at;

	if (cutter->num_seen * 2 > cutter->room_seen)
		cutter_see_more(cutter);
	hash = hash ? hash : 1;
	for (at = (uint32_t)hash & (cutter->room_seen - 1); cutter->seen[at];
		at = (at + 1) & (cutter->room_seen - 1))
		if (cutter->seen[at] == hash)
			return true;
	cutter->seen[at] = hash;
	cutter->num_seen++;
	return false;
}

bool crash_cutter_image(
	struct crash_cutter *cutter, unsigned choice, uint64_t seed, struct crash_image *ret_image)
{
	static const enum survival_kind by_chance[] = {
		SURVIVE_PREFIX, SURVIVE_ANY, SURVIVE_MOST, SURVIVE_ANY};
	struct survival s = {
		.cutter = cutter,
		.image = ret_image,
		.chance.state = chance_mix(seed ^ cutter->now << 8 ^ choice),
		.hash = chance_mix(cutter->version ^ cutter->marks << 32),
	};
	enum survival_kind kind = choice == CRASH_LOSE_ALL   ? SURVIVE_NONE
				  : choice == CRASH_KEEP_ALL ? SURVIVE_ALL
							     : by_chance[choice % 4];
	uint32_t all = cutter->num_cached + cutter->num_flying;
	uint32_t prefix = (uint32_t)chance_below(&s.chance, all + 1);

	crash_image_reset(ret_image, &cutter->stable);
	cutter_order_flying(cutter, choice > CRASH_KEEP_ALL ? &s.chance : NULL);
	for (uint32_t i = 0; i < cutter->num_cached; i++) {
		if (cutter->pinned[i])
			survive_whole(&s, cutter->cached[i]);
		else
			survive_one(&s, kind, cutter->cached[i], i, prefix);
	}
	for (uint32_t i = 0; i < cutter->num_flying; i++)
		survive_one(&s, kind, cutter->order[i], cutter->num_cached + i, prefix);
	return !cutter_has_seen(cutter, s.hash);
}
