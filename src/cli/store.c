/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice store: list, grow, low-water, rename, close, delete; create and open are in
 * store_create.c.
 *
 * A store sits on one block device of the daemon. Where that is one over a file it is made with the
 * store and goes with it: close and delete close the file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli_impl.h"

#define LOW_WATER_MAX 50

static const char store_help[] =
	"usage: sluice store create [OPTION...] STORE FILE   make a store of volumes\n"
	"       sluice store open   [OPTION...] FILE         use one that is there\n"
	"       sluice store list   [OPTION...]              stores and their room\n"
	"       sluice store grow   [OPTION...] STORE        use what its device has more\n"
	"       sluice store low-water [OPTION...] STORE PERCENT   when little is left\n"
	"       sluice store rename [OPTION...] STORE NAME\n"
	"       sluice store close  [OPTION...] STORE        the reverse of open\n"
	"       sluice store delete [OPTION...] STORE        with all that is in it\n"
	"\n"
	"FILE is a file, a device node or a block device of the daemon. sluice store create\n"
	"--help and so on explain each; sluice volume --help what goes into a store.\n";

static const char list_help[] =
	"usage: sluice store list [OPTION...]\n"
	"\n"
	"Lists the stores that are open: name, file or block device, size, what is used of it and\n"
	"what is free, whether that is enough (ok, low, full), the size of a cluster, and how "
	"many\n"
	"volumes there are. Not on a terminal: one line each, cells separated by tabs.\n"
	"\n"
	"      --json             print JSON\n";

static const char grow_help[] =
	"usage: sluice store grow [OPTION...] STORE\n"
	"\n"
	"Uses what the store's file or device has more than before. With --size a file is made\n"
	"that large first. How far a store can grow is fixed when it is made.\n"
	"\n"
	"      --size SIZE        the file's new size: 512M, 10G\n";

static const char low_water_help[] =
	"usage: sluice store low-water [OPTION...] STORE PERCENT\n"
	"\n"
	"When less than so much of the store is free, the log says so, machines hear of it over\n"
	"SCSI, and management programs by a notification: 0 to 50, 0 never. A new store has 5.\n";

static const char rename_help[] = "usage: sluice store rename [OPTION...] STORE NAME\n"
				  "\n"
				  "Gives a store another name: 1 to 63 bytes.\n";

static const char close_help[] =
	"usage: sluice store close [OPTION...] STORE\n"
	"\n"
	"Closes the store and the file that it is on; 'sluice store open' opens it again. None of\n"
	"its volumes may be on a controller.\n";

static const char delete_help[] =
	"usage: sluice store delete [OPTION...] STORE\n"
	"\n"
	"Deletes the store. The file that it was on is closed and stays. None of its volumes may\n"
	"be on a controller.\n"
	"\n"
	"  -f, --force            also if there are volumes in it: they are lost\n";

/* ---- list ------------------------------------------------------------------------------------ */

static unsigned store_count_volumes(const struct volume_work *work, const json_t *store)
{
	unsigned count = 0;
	size_t i;
	json_t *volume;

	json_array_foreach(work->volumes, i, volume)
	{
		if (strcmp(volume_store_name(volume), json_member_text(store, "name")) == 0)
			count++;
	}
	return count;
}

/* The file, where it is on one. */
static const char *store_place(const struct volume_work *work, const json_t *store)
{
	const char *base = json_member_text(store, "base_bdev");
	const json_t *bdev = model_bdev(&work->model, base);
	const char *file = bdev ? bdev_filename(bdev) : "";

	return file[0] ? file : base;
}

/* "": the daemon is of another make and does not say. */
static const char *store_space(const json_t *store)
{
	if (!json_object_get(store, "low_on_space"))
		return "";
	if (json_is_true(json_object_get(store, "md_full")))
		return "metadata full";
	if (json_is_true(json_object_get(store, "full")))
		return "full";
	if (!json_is_true(json_object_get(store, "low_on_space")))
		return "ok";
	return json_is_true(json_object_get(store, "md_low")) ? "metadata low" : "low";
}

static json_t *store_describe(const struct volume_work *work, const json_t *store)
{
	json_int_t cluster = json_integer_value(json_object_get(store, "cluster_size"));
	json_int_t total = json_integer_value(json_object_get(store, "total_data_clusters"));
	json_int_t unused = json_integer_value(json_object_get(store, "free_clusters"));
	json_t *growable = json_object_get(store, "max_growable_size");
	json_t *mark = json_object_get(store, "low_water_percent");
	json_t *described = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:i}", "name",
		json_member_text(store, "name"), "uuid", json_member_text(store, "uuid"), "bdev",
		json_member_text(store, "base_bdev"), "device", store_place(work, store),
		"size_bytes", total * cluster, "used_bytes", (total - unused) * cluster,
		"free_bytes", unused * cluster, "cluster_bytes", cluster, "volumes",
		(int)store_count_volumes(work, store));

	if (growable)
		json_object_set(described, "growable_to_bytes", growable);
	if (store_space(store)[0])
		json_object_set_new(described, "space", json_string(store_space(store)));
	if (mark)
		json_object_set(described, "low_water_percent", mark);
	return described;
}

static void stores_print(const json_t *stores)
{
	static const char *const head[] = {
		"STORE", "DEVICE", "SIZE", "USED", "FREE", "SPACE", "CLUSTER", "VOLUMES"};
	json_t *rows = json_array();
	size_t i;
	json_t *store;

	json_array_foreach(stores, i, store)
	{
		json_array_append_new(rows,
			json_pack("[s, s, o, o, o, s, o, o]", json_member_text(store, "name"),
				json_member_text(store, "device"),
				size_cell(json_object_get(store, "size_bytes")),
				size_cell(json_object_get(store, "used_bytes")),
				size_cell(json_object_get(store, "free_bytes")),
				json_object_get(store, "space") ? json_member_text(store, "space")
								: "-",
				size_cell(json_object_get(store, "cluster_bytes")),
				json_sprintf("%d", (int)json_integer_value(
							   json_object_get(store, "volumes")))));
	}
	table_print(head, ARRAY_SIZE(head), rows);
	json_decref(rows);
}

static bool list_run(struct volume_work *work)
{
	json_t *stores = json_array();
	size_t i;
	json_t *store;

	json_array_foreach(work->stores, i, store)
		json_array_append_new(stores, store_describe(work, store));
	if (work->json)
		json_print(stores);
	else
		stores_print(stores);
	json_decref(stores);
	return true;
}

/* ---- its device ------------------------------------------------------------------------------ */

static bool store_check_unattached(const struct volume_work *work, const json_t *store)
{
	size_t i;
	json_t *volume;

	json_array_foreach(work->volumes, i, volume)
	{
		if (strcmp(volume_store_name(volume), json_member_text(store, "name")) == 0 &&
			!bdev_check_unattached(
				work, volume_bdev(work, volume), json_member_text(volume, "alias")))
			return false;
	}
	return true;
}

/* "aio" or "uring" for a device over a file, whose methods have that name; NULL for others. */
static const char *store_file_kind(const struct volume_work *work, const json_t *store)
{
	const json_t *bdev = model_bdev(&work->model, json_member_text(store, "base_bdev"));
	const json_t *specific = json_object_get(bdev, "driver_specific");

	if (json_object_get(specific, "aio"))
		return "aio";
	return json_object_get(specific, "uring") ? "uring" : NULL;
}

static bool store_file_do(struct volume_work *work, const json_t *store, const char *verb)
{
	char method[32];

	snprintf(method, sizeof(method), "bdev_%s_%s", store_file_kind(work, store), verb);
	return volume_do(work, work->words[0], method,
		json_pack("{s:s}", "name", json_member_text(store, "base_bdev")));
}

/* ---- grow ------------------------------------------------------------------------------------ */

static bool file_grow(const char *path, uint64_t size_bytes)
{
	struct stat st;
	int rc = stat(path, &st) < 0 ? -errno : 0;

	if (!rc && S_ISREG(st.st_mode) && (uint64_t)st.st_size > size_bytes) {
		cli_error("%s is larger than that: a store does not shrink", path);
		return false;
	}
	if (!rc)
		rc = !S_ISREG(st.st_mode)                    ? -EINVAL
		     : truncate(path, (off_t)size_bytes) < 0 ? -errno
							     : 0;
	if (rc)
		cli_error("%s cannot be given that size here (%s): make it larger where it is, "
			  "and leave out --size",
			path, strerror(-rc));
	return rc == 0;
}

/* Before the file is touched: once larger than the store can use it cannot be made smaller here. */
static bool grow_check_limit(const struct volume_work *work, const json_t *store)
{
	const json_t *limit = json_object_get(store, "max_growable_size");
	uint64_t limit_bytes = (uint64_t)json_integer_value(limit);

	if (!limit || work->size_bytes <= limit_bytes)
		return true;
	cli_error("%s was made to grow up to %llu bytes: give that or less as --size, or make a "
		  "new store",
		work->words[0], (unsigned long long)limit_bytes);
	return false;
}

static bool grow_run(struct volume_work *work)
{
	const json_t *store = store_find(work, work->words[0]);

	if (!store)
		return false;
	if (work->size_bytes && !(grow_check_limit(work, store) &&
					file_grow(store_place(work, store), work->size_bytes)))
		return false;
	if (store_file_kind(work, store) && !store_file_do(work, store, "rescan"))
		return false;
	return volume_do(work, work->words[0], "bdev_lvol_grow_lvstore",
		json_pack("{s:s}", "uuid", json_member_text(store, "uuid")));
}

/* ---- low-water ------------------------------------------------------------------------------- */

static bool low_water_run(struct volume_work *work)
{
	const json_t *store = store_find(work, work->words[0]);
	int percent = 0;

	if (!store || !cli_number_read("PERCENT", work->words[1], LOW_WATER_MAX, &percent))
		return false;
	return volume_do(work, work->words[0], "bdev_lvol_set_low_water",
		json_pack(
			"{s:s, s:i}", "uuid", json_member_text(store, "uuid"), "percent", percent));
}

/* ---- rename, close, delete ------------------------------------------------------------------- */

static bool rename_run(struct volume_work *work)
{
	const json_t *store = store_find(work, work->words[0]);

	if (!store)
		return false;
	if (strchr(work->words[1], '/')) {
		cli_error("'%s' is no name for a store: 1 to 63 bytes without a slash",
			work->words[1]);
		return false;
	}
	return volume_do(work, work->words[0], "bdev_lvol_rename_lvstore",
		json_pack("{s:s, s:s}", "old_name", json_member_text(store, "name"), "new_name",
			work->words[1]));
}

static bool close_run(struct volume_work *work)
{
	const json_t *store = store_find(work, work->words[0]);

	if (!store || !store_check_unattached(work, store))
		return false;
	if (store_file_kind(work, store))
		return store_file_do(work, store, "delete");
	cli_error("%s is on %s, which is no file: it is closed when that device is deleted",
		work->words[0], json_member_text(store, "base_bdev"));
	return false;
}

static bool delete_run(struct volume_work *work)
{
	const json_t *store = store_find(work, work->words[0]);
	unsigned volumes = store ? store_count_volumes(work, store) : 0;

	if (!store)
		return false;
	if (volumes && !work->force) {
		cli_error("there %s in %s: delete them first with 'sluice volume delete', or say "
			  "--force and lose them",
			volumes == 1 ? "is a volume" : "are volumes", work->words[0]);
		return false;
	}
	if (!store_check_unattached(work, store))
		return false;
	return volume_do(work, work->words[0], "bdev_lvol_delete_lvstore",
		       json_pack("{s:s}", "uuid", json_member_text(store, "uuid"))) &&
	       (!store_file_kind(work, store) || store_file_do(work, store, "delete"));
}

/* ---- which ----------------------------------------------------------------------------------- */

static const struct option plain_options[] = {CLIENT_LONG_OPTIONS, {0}};

static const struct option list_options[] = {
	CLIENT_LONG_OPTIONS, {"json", no_argument, NULL, VOLUME_JSON}, {0}};

static const struct option size_options[] = {
	CLIENT_LONG_OPTIONS, {"size", required_argument, NULL, VOLUME_SIZE}, {0}};

static const struct option force_options[] = {
	CLIENT_LONG_OPTIONS, {"force", no_argument, NULL, 'f'}, {0}};

static const struct option create_options[] = {
	CLIENT_LONG_OPTIONS,
	{"clear", required_argument, NULL, VOLUME_CLEAR},
	{"cluster-size", required_argument, NULL, 'c'},
	{"force", no_argument, NULL, 'f'},
	{"growth", required_argument, NULL, VOLUME_GROWTH},
	{"md-pages", required_argument, NULL, VOLUME_MD_PAGES},
	{"size", required_argument, NULL, VOLUME_SIZE},
	{0},
};

static const struct volume_command commands[] = {
	{"create", "store create", store_create_help, CLIENT_SHORT_OPTIONS "c:f", create_options,
		"name the store and one file or device", 2, 2, true, store_create_run},
	{"open", "store open", store_open_help, CLIENT_SHORT_OPTIONS, plain_options,
		"name one file or device", 1, 1, true, store_open_run},
	{"list", "store list", list_help, CLIENT_SHORT_OPTIONS, list_options,
		"store list takes no further words", 0, 0, false, list_run},
	{"grow", "store grow", grow_help, CLIENT_SHORT_OPTIONS, size_options, "name one store", 1,
		1, true, grow_run},
	{"low-water", "store low-water", low_water_help, CLIENT_SHORT_OPTIONS, plain_options,
		"name a store and a percentage", 2, 2, true, low_water_run},
	{"rename", "store rename", rename_help, CLIENT_SHORT_OPTIONS, plain_options,
		"name a store and its new name", 2, 2, true, rename_run},
	{"close", "store close", close_help, CLIENT_SHORT_OPTIONS, plain_options, "name one store",
		1, 1, true, close_run},
	{"delete", "store delete", delete_help, CLIENT_SHORT_OPTIONS "f", force_options,
		"name one store", 1, 1, true, delete_run},
	{0},
};

int cli_store(int argc, char **argv)
{
	return volume_command_run(commands, store_help, argc, argv);
}
