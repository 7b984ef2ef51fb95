/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What was found on a disk depends on what the disk holds, what must be there on the moment of the
 * cut. Many cuts leave the same disk as another one before or after: between them something was
 * called or answered, or what was written is lost all the same. Such a disk is loaded and read
 * once, and what was found judged for each of the cuts.
 */
#include <stdlib.h>
#include <string.h>

#include "crash/check_impl.h"

static uint32_t hot_sectors(const struct check *check)
{
	return MODEL_HOT * check->scenario->model.cluster_sectors;
}

static const uint32_t *ids_of(const struct check *check, uint64_t id)
{
	for (unsigned i = 0; i < check->num_blobs; i++)
		if (check->blobs[i].info.id == id)
			return check->blobs[i].ids;
	return NULL;
}

struct check_found *check_found_create(struct check *check, uint64_t sum)
{
	struct check_found *found = calloc(1, sizeof(*found));
	size_t bytes = hot_sectors(check) * sizeof(*found->ids);

	assert_non_null(found);
	found->sum = sum;
	if (check->fault[0]) {
		found->fault = strdup(check->fault);
		assert_non_null(found->fault);
		return found;
	}
	found->num_blobs = check->store.num_blobs;
	found->blobs = calloc(found->num_blobs + 1, sizeof(*found->blobs));
	found->ids = malloc((found->num_blobs + 1) * bytes);
	assert_true(found->blobs && found->ids);
	for (unsigned i = 0; i < found->num_blobs; i++) {
		found->blobs[i] = check->store.blobs[i];
		found->blobs[i].clusters = NULL;
		memcpy(found->ids + i * hot_sectors(check), ids_of(check, found->blobs[i].id),
			bytes);
	}
	return found;
}

void check_found_free(struct check_found *found)
{
	free(found->fault);
	free(found->blobs);
	free(found->ids);
	free(found);
}

/* Where it is, or may be put. */
static struct check_found **seen_place(const struct check_seen *seen, uint64_t sum)
{
	uint32_t at = (uint32_t)sum & (seen->room - 1);

	while (seen->list[at] && seen->list[at]->sum != sum)
		at = (at + 1) & (seen->room - 1);
	return &seen->list[at];
}

struct check_found *check_seen_find(const struct check *check, uint64_t sum)
{
	return check->seen.room ? *seen_place(&check->seen, sum) : NULL;
}

static void seen_grow(struct check_seen *seen)
{
	struct check_seen old = *seen;

	seen->room = old.room ? old.room * 2 : 1024;
	seen->list = calloc(seen->room, sizeof(*seen->list));
	assert_non_null(seen->list);
	for (uint32_t i = 0; i < old.room; i++)
		if (old.list[i])
			*seen_place(seen, old.list[i]->sum) = old.list[i];
	free(old.list);
}

void check_seen_add(struct check *check, struct check_found *found)
{
	if (check->seen.count * 2 >= check->seen.room)
		seen_grow(&check->seen);
	*seen_place(&check->seen, found->sum) = found;
	check->seen.count++;
}

void check_seen_fini(struct check *check)
{
	for (uint32_t i = 0; i < check->seen.room; i++)
		if (check->seen.list[i])
			check_found_free(check->seen.list[i]);
	free(check->seen.list);
}
