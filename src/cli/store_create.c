/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice store create and open: a store on a file, a device node, or a block device of the daemon.
 *
 * Steps of create: file (only with --size), block device over it, store; a step that fails takes
 * back those that this command has made before, newest first. open makes the block device only: the
 * daemon looks at every new one and loads the store that it finds before it answers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli_impl.h"

#define CLUSTER_BYTES_DEFAULT (64 * KIB)
#define MD_PERCENT_LEAST      10
#define GROWTH_DEFAULT        16

const char store_create_help[] =
	"usage: sluice store create [OPTION...] STORE FILE\n"
	"\n"
	"Makes a store of volumes on FILE: a file, a device node or a block device of the daemon.\n"
	"What was on it is lost. STORE is its name, 1 to 63 bytes.\n"
	"\n"
	"Data is allocated, and copied on write, by clusters. A page of 4 KiB is needed for each\n"
	"volume and snapshot, and one for each 512 clusters that it has touched. Room for them is\n"
	"set aside now: --md-pages says how many for 100 clusters. The default, one for each MiB\n"
	"and at least 10, takes 0.6 % of the room with clusters of 64K and 0.4 % with larger\n"
	"ones, and is enough for some 50 snapshots of a full store that share nothing.\n"
	"\n"
	"      --size SIZE        make FILE, a sparse file, unless it exists: 512M, 10G\n"
	"  -c, --cluster-size SIZE\n"
	"                         16K to 1G (default: 64K)\n"
	"      --md-pages N       metadata pages for 100 clusters, 1 to 1000 (default: 10 with\n"
	"                         clusters of up to 64K, 25 with 256K, 100 from 1M on)\n"
	"      --growth N         the store may grow to N times its size (default: 16); costs a\n"
	"                         bit for each cluster that could come\n"
	"      --clear HOW        what happens to the space behind the metadata: unmap (the\n"
	"                         default), write_zeroes, none\n"
	"  -f, --force            also if FILE is not empty: what is on it is lost\n";

const char store_open_help[] =
	"usage: sluice store open [OPTION...] FILE\n"
	"\n"
	"Opens the store on FILE (a file or device node), as after a restart of the daemon, and\n"
	"prints its name.\n";

struct store_place {
	char *file; /* absolute; NULL: a block device was named */
	char bdev[256];
	bool made_file;
	bool made_bdev;
};

/* ---- the block device ------------------------------------------------------------------------ */

static bool place_open_file(struct volume_work *work, struct store_place *place, const char *word)
{
	bdev_name_choose(&work->model, place->file, place->bdev, sizeof(place->bdev));
	place->made_bdev = volume_do(work, word, "bdev_aio_create",
		json_pack("{s:s, s:s}", "name", place->bdev, "filename", place->file));
	return place->made_bdev;
}

static void place_close(struct volume_work *work, struct store_place *place, const char *word)
{
	if (place->made_bdev)
		json_decref(client_call(
			work->client, "bdev_aio_delete", json_pack("{s:s}", "name", place->bdev)));
	if (place->made_file)
		unlink(word);
	free(place->file);
}

/* What the word means. False after a sentence. */
static bool place_find(struct volume_work *work, struct store_place *place, const char *word,
	const json_t **ret_bdev)
{
	if (!disk_word_find(&work->model, word, false, ret_bdev, &place->file))
		return false;
	if (*ret_bdev)
		snprintf(place->bdev, sizeof(place->bdev), "%s",
			json_member_text(*ret_bdev, "name"));
	if (*ret_bdev || place->file)
		return true;
	cli_error("there is neither a file nor a block device %s: see sluice disk list%s", word,
		strcmp(work->command->name, "create") == 0 ? ", or give --size to make the file"
							   : "");
	return false;
}

/* The store on that block device, or NULL. */
static const json_t *place_store(const json_t *stores, const char *bdev)
{
	size_t i;
	json_t *store;

	json_array_foreach(stores, i, store)
	{
		if (strcmp(json_member_text(store, "base_bdev"), bdev) == 0)
			return store;
	}
	return NULL;
}

/* ---- create ---------------------------------------------------------------------------------- */

static bool create_check_place(
	const struct volume_work *work, const struct store_place *place, const json_t *bdev)
{
	const char *word = work->words[1];
	const json_t *store = place_store(work->stores, place->bdev);
	const char *path = place->file;

	if (store) {
		cli_error("store %s is on %s: delete it first, or name another place",
			json_member_text(store, "name"), word);
		return false;
	}
	if (bdev && !bdev_check_unattached(work, bdev, word))
		return false;
	if (bdev && !path && bdev_filename(bdev)[0])
		path = bdev_filename(bdev);
	return !path ||
	       (image_check(path, false, true) && (work->force || image_check_blank(path)));
}

static uint32_t create_md_percent(const struct volume_work *work, uint64_t cluster_bytes)
{
	uint64_t percent = (cluster_bytes * 100 + MIB - 1) / MIB;

	if (work->md_percent)
		return (uint32_t)work->md_percent;
	return (uint32_t)u64_min(u64_max(percent, MD_PERCENT_LEAST), 100);
}

static bool create_store(struct volume_work *work, const struct store_place *place)
{
	uint64_t cluster_bytes = work->cluster_bytes ? work->cluster_bytes : CLUSTER_BYTES_DEFAULT;
	json_t *params = json_pack("{s:s, s:s, s:I, s:i}", "bdev_name", place->bdev, "lvs_name",
		work->words[0], "cluster_sz", (json_int_t)cluster_bytes,
		"num_md_pages_per_cluster_ratio", (int)create_md_percent(work, cluster_bytes));

	if (client_is_ours(work->client))
		json_object_set_new(params, "growth_factor",
			json_integer(work->growth ? work->growth : GROWTH_DEFAULT));
	volume_clear_set(work, params);
	return volume_do(work, work->words[0], "bdev_lvol_create_lvstore", params);
}

/* A store that was there before and has been loaded with its device gives way. */
static bool create_drop_old(struct volume_work *work, const struct store_place *place)
{
	json_t *stores = place->made_bdev
				 ? volume_call(work, work->words[1], "bdev_lvol_get_lvstores", NULL)
				 : json_array();
	const json_t *store = place_store(stores, place->bdev);
	bool ok = stores != NULL;

	if (store)
		ok = volume_do(work, work->words[1], "bdev_lvol_delete_lvstore",
			json_pack("{s:s}", "uuid", json_member_text(store, "uuid")));
	json_decref(stores);
	return ok;
}

bool store_create_run(struct volume_work *work)
{
	struct store_place place = {0};
	const char *word = work->words[1];
	const json_t *bdev;
	bool ok = true;

	if (strchr(work->words[0], '/')) {
		cli_error("'%s' is no name for a store: 1 to 63 bytes without a slash, then the "
			  "file or device",
			work->words[0]);
		return false;
	}
	if (work->size_bytes && !model_bdev(&work->model, word))
		ok = image_make(word, work->size_bytes, &place.made_file);
	ok = ok && place_find(work, &place, word, &bdev) &&
	     create_check_place(work, &place, bdev) &&
	     (bdev || place_open_file(work, &place, word)) && create_drop_old(work, &place) &&
	     create_store(work, &place);
	if (ok)
		place.made_bdev = place.made_file = false; /* they stay */
	place_close(work, &place, word);
	return ok;
}

/* ---- open ------------------------------------------------------------------------------------ */

static bool open_tell(struct volume_work *work, const struct store_place *place)
{
	json_t *stores = volume_call(work, work->words[0], "bdev_lvol_get_lvstores", NULL);
	const json_t *store = place_store(stores, place->bdev);

	if (store)
		printf("%s\n", json_member_text(store, "name"));
	else if (stores)
		cli_error("there is no store on %s that can be opened: the daemon's log says what "
			  "is wrong with one, and 'sluice check' looks closer",
			work->words[0]);
	json_decref(stores);
	return store != NULL;
}

bool store_open_run(struct volume_work *work)
{
	struct store_place place = {0};
	const char *word = work->words[0];
	const json_t *bdev;
	bool ok = place_find(work, &place, word, &bdev) &&
		  (bdev || (image_check(place.file, false, true) &&
				   place_open_file(work, &place, word))) &&
		  open_tell(work, &place);

	if (ok)
		place.made_bdev = false; /* it stays */
	place_close(work, &place, word);
	return ok;
}
