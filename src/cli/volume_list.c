/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice volume list: every volume below the snapshot that it is a clone of.
 *
 * Allocated is what a volume owns itself. Exclusive of that is what no clone of it shows, and what
 * deleting it would free; shared is what it shows and others show as well, its own or its parents'.
 * A daemon that cannot tell the last two (SPDK's target) leaves them open.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_impl.h"

const char volume_list_help[] =
	"usage: sluice volume list [OPTION...] [STORE]\n"
	"\n"
	"Lists the volumes of STORE, or of all stores: each below the snapshot that it is a clone\n"
	"of. Size is what a machine sees; allocated what the volume owns of its store; exclusive\n"
	"what of that nobody else shows; shared what it shows together with others, its own or\n"
	"its parents'. Not on a terminal: one line each, cells separated by tabs.\n"
	"\n"
	"      --json             print JSON\n";

struct volume_lister {
	struct volume_work *work;
	json_t *listed; /* what is printed, in order */
};

/* ---- one volume ------------------------------------------------------------------------------ */

static bool volume_is(const json_t *volume, const char *member)
{
	return json_is_true(json_object_get(volume, member));
}

static const char *volume_kind(const json_t *volume, const json_t *bdev)
{
	if (volume_is(volume, "is_degraded"))
		return "degraded";
	if (bdev_is_read_only(bdev))
		return volume_is(volume, "is_snapshot") ? "snapshot" : "read-only";
	if (volume_is(volume, "is_clone") || volume_is(volume, "is_esnap_clone"))
		return "clone";
	return volume_is(volume, "is_thin_provisioned") ? "thin" : "thick";
}

static void clusters_describe(const struct volume_lister *lister, const json_t *volume,
	const char *from, json_t *described, const char *to)
{
	json_int_t cluster =
		(json_int_t)store_cluster_bytes(lister->work, volume_store_name(volume));
	const json_t *clusters = json_object_get(volume, from);

	if (clusters)
		json_object_set_new(
			described, to, json_integer(json_integer_value(clusters) * cluster));
}

static json_t *volume_describe(const struct volume_lister *lister, const json_t *volume)
{
	struct volume_work *work = lister->work;
	const json_t *bdev = volume_bdev(work, volume);
	json_t *foreign = json_object_get(volume, "external_parent");
	json_t *described = json_pack("{s:s, s:s, s:s, s:s}", "store", volume_store_name(volume),
		"name", json_member_text(volume, "name"), "uuid", json_member_text(volume, "uuid"),
		"kind", volume_kind(volume, bdev));

	if (volume_size(volume))
		json_object_set(described, "size_bytes", volume_size(volume));
	if (json_object_get(volume, "block_size"))
		json_object_set(described, "sector_bytes", json_object_get(volume, "block_size"));
	clusters_describe(lister, volume, "num_allocated_clusters", described, "allocated_bytes");
	clusters_describe(lister, volume, "num_exclusive_clusters", described, "exclusive_bytes");
	clusters_describe(lister, volume, "num_shared_clusters", described, "shared_bytes");
	if (volume_parent(volume)[0])
		json_object_set(described, "parent", json_object_get(volume, "parent"));
	if (json_is_string(foreign))
		json_object_set(described, "foreign_parent", foreign);
	json_object_set_new(
		described, "attached", bdev ? places_of_bdev(&work->model, bdev) : json_array());
	return described;
}

/* ---- the tree -------------------------------------------------------------------------------- */

static int volume_compare(const void *a, const void *b)
{
	return strcmp(json_member_text(*(const json_t *const *)a, "name"),
		json_member_text(*(const json_t *const *)b, "name"));
}

/* Those of a store that have that parent ("": none), by name. The caller frees the array. */
static const json_t **volumes_below(
	const struct volume_work *work, const char *store, const char *parent, size_t *ret_count)
{
	const json_t **below = calloc(json_array_size(work->volumes) + 1, sizeof(*below));
	size_t i, count = 0;
	json_t *volume;

	json_array_foreach(work->volumes, i, volume)
	{
		if (below && strcmp(volume_store_name(volume), store) == 0 &&
			strcmp(volume_parent(volume), parent) == 0)
			below[count++] = volume;
	}
	if (below)
		qsort(below, count, sizeof(const json_t *), volume_compare);
	*ret_count = count;
	return below;
}

/* What stands before a name in the tree: branch for itself, indent for those below it. */
static void tree_append(
	struct volume_lister *lister, const char *store, const char *parent, const char *indent)
{
	size_t count;
	const json_t **below = volumes_below(lister->work, store, parent, &count);

	for (size_t i = 0; i < count; i++) {
		bool last = i == count - 1;
		json_t *volume = volume_describe(lister, below[i]);
		json_t *deeper = json_sprintf("%s%s", indent,
			!*parent ? ""
			: last   ? "   "
				 : "\u2502  ");

		json_object_set_new(volume, "branch",
			json_sprintf("%s%s", indent,
				!*parent ? ""
				: last   ? "\u2514\u2500 "
					 : "\u251c\u2500 "));
		json_array_append_new(lister->listed, volume);
		/* Whatever the daemon says, this ends. */
		if (json_array_size(lister->listed) < json_array_size(lister->work->volumes))
			tree_append(lister, store, json_member_text(below[i], "name"),
				json_string_value(deeper));
		json_decref(deeper);
	}
	free(below);
}

/* ---- printing -------------------------------------------------------------------------------- */

static json_t *volume_name_cell(const json_t *volume, bool terminal)
{
	const char *name = json_member_text(volume, "name");
	const char *branch = json_member_text(volume, "branch");

	if (!terminal || !branch[0])
		return json_sprintf("%s/%s", json_member_text(volume, "store"), name);
	return json_sprintf("%s%s", branch, name);
}

static void volumes_print(const json_t *volumes)
{
	static const char *const head[] = {
		"VOLUME", "SIZE", "ALLOCATED", "EXCLUSIVE", "SHARED", "KIND", "PARENT", "ON"};
	bool terminal = isatty(STDOUT_FILENO);
	json_t *rows = json_array();
	size_t i;
	json_t *volume;

	json_array_foreach(volumes, i, volume)
	{
		const char *parent = json_member_text(volume, "parent");
		const json_t *place = json_array_get(json_object_get(volume, "attached"), 0);

		if (!parent[0])
			parent = json_member_text(volume, "foreign_parent");
		json_array_append_new(rows,
			json_pack("[o, o, o, o, o, s, s, s]", volume_name_cell(volume, terminal),
				size_cell(json_object_get(volume, "size_bytes")),
				size_cell(json_object_get(volume, "allocated_bytes")),
				size_cell(json_object_get(volume, "exclusive_bytes")),
				size_cell(json_object_get(volume, "shared_bytes")),
				json_member_text(volume, "kind"), parent[0] ? parent : "-",
				place ? json_member_text(place, "controller") : "-"));
	}
	table_print(head, ARRAY_SIZE(head), rows);
	json_decref(rows);
}

bool volume_list_run(struct volume_work *work)
{
	struct volume_lister lister = {.work = work, .listed = json_array()};
	const json_t *only = NULL;
	size_t i;
	json_t *store, *volume;

	if (work->num_words) {
		only = store_find(work, work->words[0]);
		if (!only) {
			json_decref(lister.listed);
			return false;
		}
	}
	json_array_foreach(work->stores, i, store)
	{
		if (!only || store == only)
			tree_append(&lister, json_member_text(store, "name"), "", "");
	}
	if (work->json) {
		json_array_foreach(lister.listed, i, volume) json_object_del(volume, "branch");
		json_print(lister.listed);
	} else {
		volumes_print(lister.listed);
	}
	json_decref(lister.listed);
	return true;
}
