/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice volume: volumes in a store. list is in volume_list.c.
 *
 * What would lose data asks to be told so: --force to shrink, --recursive to delete a snapshot with
 * everything made from it. A volume that is on a controller is not deleted at all: `sluice disk
 * detach` asks the right questions about the machine that has it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli_impl.h"

static const char volume_help[] =
	"usage: sluice volume create    [OPTION...] STORE/VOLUME --size SIZE\n"
	"       sluice volume list      [OPTION...] [STORE]\n"
	"       sluice volume resize    [OPTION...] STORE/VOLUME SIZE\n"
	"       sluice volume snapshot  [OPTION...] STORE/VOLUME SNAPSHOT\n"
	"       sluice volume clone     [OPTION...] STORE/SNAPSHOT VOLUME\n"
	"       sluice volume inflate   [OPTION...] STORE/VOLUME   give it all of its clusters\n"
	"       sluice volume decouple  [OPTION...] STORE/VOLUME   free it of its parent\n"
	"       sluice volume set-parent [OPTION...] STORE/VOLUME PARENT\n"
	"       sluice volume read-only [OPTION...] STORE/VOLUME\n"
	"       sluice volume attribute [OPTION...] STORE/VOLUME NAME [VALUE]\n"
	"       sluice volume export    [OPTION...] STORE/VOLUME FILE\n"
	"       sluice volume import    [OPTION...] STORE/VOLUME FILE\n"
	"       sluice volume shallow-copy [OPTION...] STORE/VOLUME DISK\n"
	"       sluice volume rename    [OPTION...] STORE/VOLUME NAME\n"
	"       sluice volume delete    [OPTION...] STORE/VOLUME\n"
	"\n"
	"sluice volume create --help and so on explain each. 'sluice disk attach STORE/VOLUME'\n"
	"gives a volume to a machine.\n";

static const char create_help[] =
	"usage: sluice volume create [OPTION...] STORE/VOLUME --size SIZE\n"
	"\n"
	"Makes a volume that reads zeroes. It is thin: clusters are taken from the store when\n"
	"they are first written. The size is rounded up to whole clusters.\n"
	"\n"
	"      --size SIZE        512M, 10G\n"
	"      --sector-size SIZE of the machine's disk: 512, the default, which every image and\n"
	"                         system knows, or 4096\n"
	"      --thick            take all clusters now, so that the store cannot run out of "
	"them\n"
	"      --clear HOW        what happens to clusters that it gives up: unmap (the default),\n"
	"                         write_zeroes, none. No other volume shows them in any case\n";

static const char resize_help[] =
	"usage: sluice volume resize [OPTION...] STORE/VOLUME SIZE\n"
	"\n"
	"Gives a volume another size, rounded up to whole clusters. Machines see it at once.\n"
	"\n"
	"  -f, --force            also if it gets smaller: what is beyond the new end is lost\n";

static const char snapshot_help[] =
	"usage: sluice volume snapshot [OPTION...] STORE/VOLUME SNAPSHOT\n"
	"\n"
	"Keeps what is in the volume now as SNAPSHOT, a read-only volume of the same store. The\n"
	"volume goes on as a clone of it; machines that use it notice nothing.\n";

static const char clone_help[] =
	"usage: sluice volume clone [OPTION...] STORE/SNAPSHOT VOLUME\n"
	"       sluice volume clone [OPTION...] DISK STORE/VOLUME\n"
	"\n"
	"Makes a volume that begins with what is in a snapshot (or read-only volume) of its "
	"store,\n"
	"or on another block device of the daemon, which nobody may write from then on. What is\n"
	"written goes to the volume only. Its sectors are as large as there.\n";

static const char inflate_help[] =
	"usage: sluice volume inflate [OPTION...] STORE/VOLUME\n"
	"\n"
	"Gives the volume all of its clusters, copied from its parent where they were shared. It\n"
	"is thick and has no parent afterwards. Machines that use it go on.\n";

static const char decouple_help[] =
	"usage: sluice volume decouple [OPTION...] STORE/VOLUME\n"
	"\n"
	"Copies what the volume shows of its parent into it; the parent's own parent, if it has\n"
	"one, takes the parent's place. Machines that use it go on.\n";

static const char set_parent_help[] =
	"usage: sluice volume set-parent [OPTION...] STORE/VOLUME PARENT\n"
	"\n"
	"What the volume has not written itself it shows of PARENT from now on: a snapshot of its\n"
	"store and of the same size, or another block device of the daemon.\n";

static const char read_only_help[] = "usage: sluice volume read-only [OPTION...] STORE/VOLUME\n"
				     "\n"
				     "Nobody can write it from now on, and it can be cloned. There "
				     "is no way back but a clone.\n";

static const char rename_help[] = "usage: sluice volume rename [OPTION...] STORE/VOLUME NAME\n"
				  "\n"
				  "Gives a volume another name in its store: 1 to 63 bytes.\n";

static const char delete_help[] =
	"usage: sluice volume delete [OPTION...] STORE/VOLUME\n"
	"\n"
	"Deletes a volume or snapshot. A snapshot with one clone passes its clusters on to that;\n"
	"one with several stays until all but one are gone. It must not be on a controller.\n"
	"\n"
	"      --recursive        with everything that was made from it: clones, their snapshots\n"
	"                         and clones of these\n";

/* ---- names ----------------------------------------------------------------------------------- */

static const char *volume_alias(const json_t *volume)
{
	return json_member_text(volume, "alias");
}

/* "STORE/VOLUME" for something new: its store, and its bare name in *ret_name. */
static const json_t *new_volume_store(
	const struct volume_work *work, const char *word, const char **ret_name)
{
	const char *slash = strchr(word, '/');
	char *store = slash ? strndup(word, (size_t)(slash - word)) : NULL;
	const json_t *found = NULL;

	if (!slash)
		cli_error("%s does not say in which store: say STORE/VOLUME", word);
	else
		found = store ? store_find(work, store) : NULL;
	*ret_name = found ? volume_new_name(word, store) : NULL;
	free(store);
	return *ret_name ? found : NULL;
}

/* A call with the volume of the first word as "name" and nothing else. */
static bool volume_do_plain(struct volume_work *work, const char *method)
{
	const json_t *volume = volume_find(work, work->words[0]);

	return volume && volume_do(work, work->words[0], method,
				 json_pack("{s:s}", "name", volume_alias(volume)));
}

/* ---- create, resize -------------------------------------------------------------------------- */

static bool size_check(const struct volume_work *work, uint64_t size_bytes)
{
	if (size_bytes % MIB == 0 || client_is_ours(work->client))
		return true;
	cli_error("this daemon knows sizes in whole MiB only: say 512M, not 512.5M");
	return false;
}

static bool create_run(struct volume_work *work)
{
	const char *name;
	const json_t *store;
	json_t *params;

	if (!work->size_bytes) {
		cli_error("a volume has a size: say --size 10G");
		return false;
	}
	store = new_volume_store(work, work->words[0], &name);
	if (!store || !size_check(work, work->size_bytes))
		return false;
	params = json_pack("{s:s, s:s, s:b}", "lvol_name", name, "uuid",
		json_member_text(store, "uuid"), "thin_provision", (int)!work->thick);
	volume_size_set(params, work->size_bytes);
	volume_clear_set(work, params);
	if (!volume_sectors_set(work, params, store, SECTOR_BYTES_DEFAULT)) {
		json_decref(params);
		return false;
	}
	return volume_do(work, work->words[0], "bdev_lvol_create", params);
}

static bool resize_check(
	const struct volume_work *work, const json_t *volume, const char *text, uint64_t *ret_bytes)
{
	uint64_t now = (uint64_t)json_integer_value(volume_size(volume));

	if (size_parse(text, ret_bytes) || !*ret_bytes || *ret_bytes > INT64_MAX ||
		*ret_bytes % 512) {
		cli_error("a size is a multiple of 512 bytes such as 512M or 10G, not '%s'", text);
		return false;
	}
	if (*ret_bytes >= now || work->force)
		return size_check(work, *ret_bytes);
	cli_error("%s would get smaller, and what is beyond its new end would be lost: say --force",
		work->words[0]);
	return false;
}

static bool resize_run(struct volume_work *work)
{
	const json_t *volume = volume_find(work, work->words[0]);
	uint64_t size_bytes;
	json_t *params;

	if (!volume || !resize_check(work, volume, work->words[1], &size_bytes))
		return false;
	params = json_pack("{s:s}", "name", volume_alias(volume));
	volume_size_set(params, size_bytes);
	return volume_do(work, work->words[0], "bdev_lvol_resize", params);
}

/* ---- snapshot, clone ------------------------------------------------------------------------- */

static bool snapshot_run(struct volume_work *work)
{
	const json_t *volume = volume_find(work, work->words[0]);
	const char *name =
		volume ? volume_new_name(work->words[1], volume_store_name(volume)) : NULL;

	return name && volume_do(work, work->words[0], "bdev_lvol_snapshot",
			       json_pack("{s:s, s:s}", "lvol_name", volume_alias(volume),
				       "snapshot_name", name));
}

/* Of a block device that is no volume of the same store. */
static bool clone_foreign(struct volume_work *work, const json_t *bdev)
{
	const char *name;
	const json_t *store = new_volume_store(work, work->words[1], &name);
	json_int_t sector_bytes = json_integer_value(json_object_get(bdev, "block_size"));
	json_t *params;

	if (!store)
		return false;
	params = json_pack("{s:s, s:s, s:s}", "bdev", json_member_text(bdev, "uuid"), "lvs_name",
		json_member_text(store, "name"), "clone_name", name);
	if (!volume_sectors_set(work, params, store, (uint32_t)sector_bytes)) {
		json_decref(params);
		return false;
	}
	return volume_do(work, work->words[0], "bdev_lvol_clone_bdev", params);
}

/* The store that a word names, by length: "STORE/..." */
static bool word_is_in_store(const char *word, const char *store)
{
	size_t length = strlen(store);

	return strncmp(word, store, length) == 0 && word[length] == '/';
}

static bool clone_run(struct volume_work *work)
{
	const json_t *bdev = model_bdev(&work->model, work->words[0]);
	const json_t *lvol = json_object_get(json_object_get(bdev, "driver_specific"), "lvol");
	const json_t *volume;
	const char *name;

	if (bdev && !lvol)
		return clone_foreign(work, bdev);
	volume = volume_find(work, work->words[0]);
	if (!volume)
		return false;
	if (bdev && strchr(work->words[1], '/') &&
		!word_is_in_store(work->words[1], volume_store_name(volume)))
		return clone_foreign(work, bdev);
	name = volume_new_name(work->words[1], volume_store_name(volume));
	return name && volume_do(work, work->words[0], "bdev_lvol_clone",
			       json_pack("{s:s, s:s}", "snapshot_name", volume_alias(volume),
				       "clone_name", name));
}

/* ---- inflate, decouple, parents, names ------------------------------------------------------- */

static bool inflate_run(struct volume_work *work)
{
	return volume_do_plain(work, "bdev_lvol_inflate");
}

static bool decouple_run(struct volume_work *work)
{
	return volume_do_plain(work, "bdev_lvol_decouple_parent");
}

static bool read_only_run(struct volume_work *work)
{
	return volume_do_plain(work, "bdev_lvol_set_read_only");
}

static bool set_parent_run(struct volume_work *work)
{
	const json_t *volume = volume_find(work, work->words[0]);
	const char *word = work->words[1];
	const json_t *parent = volume ? model_bdev(&work->model, word) : NULL;
	const json_t *lvol;
	char *alias = NULL;
	bool ours;

	if (!volume)
		return false;
	/* The bare name of a snapshot of the same store will do. */
	if (!parent && asprintf(&alias, "%s/%s", volume_store_name(volume), word) >= 0)
		parent = model_bdev(&work->model, alias);
	free(alias);
	if (!parent) {
		cli_error("there is no snapshot or block device %s: see sluice volume list and "
			  "sluice disk list",
			word);
		return false;
	}
	lvol = json_object_get(json_object_get(parent, "driver_specific"), "lvol");
	ours = lvol && strcmp(json_member_text(lvol, "lvol_store_uuid"),
			       json_member_text(json_object_get(volume, "lvs"), "uuid")) == 0;
	return volume_do(work, work->words[0],
		ours ? "bdev_lvol_set_parent" : "bdev_lvol_set_parent_bdev",
		json_pack("{s:s, s:s}", "lvol_name", volume_alias(volume), "parent_name",
			ours ? bdev_label(parent) : json_member_text(parent, "name")));
}

static bool rename_run(struct volume_work *work)
{
	const json_t *volume = volume_find(work, work->words[0]);
	const char *name =
		volume ? volume_new_name(work->words[1], volume_store_name(volume)) : NULL;

	return name &&
	       volume_do(work, work->words[0], "bdev_lvol_rename",
		       json_pack("{s:s, s:s}", "old_name", volume_alias(volume), "new_name", name));
}

/* ---- delete ---------------------------------------------------------------------------------- */

/* Those whose parent it is. */
static json_t *volume_clones(const struct volume_work *work, const json_t *volume)
{
	json_t *clones = json_array();
	size_t i;
	json_t *other;

	json_array_foreach(work->volumes, i, other)
	{
		if (strcmp(volume_parent(other), json_member_text(volume, "name")) == 0 &&
			strcmp(volume_store_name(other), volume_store_name(volume)) == 0)
			json_array_append(clones, other);
	}
	return clones;
}

/* What is to go, what was made from it first. */
static void doomed_collect(
	const struct volume_work *work, json_t *volume, size_t depth, json_t *doomed)
{
	json_t *clones = volume_clones(work, volume);
	size_t i;
	json_t *clone;

	json_array_foreach(clones, i, clone)
	{
		/* Whatever the daemon says, this ends. */
		if (depth < json_array_size(work->volumes))
			doomed_collect(work, clone, depth + 1, doomed);
	}
	json_array_append(doomed, volume);
	json_decref(clones);
}

static bool delete_check_clones(const struct volume_work *work, const json_t *volume)
{
	json_t *clones = volume_clones(work, volume);
	size_t count = json_array_size(clones);

	if (count > 1)
		cli_error("%s has %zu clones, %s among them: delete or decouple all but one of "
			  "them first, or say --recursive and lose them",
			work->words[0], count, volume_alias(json_array_get(clones, 0)));
	json_decref(clones);
	return count <= 1;
}

static bool delete_run(struct volume_work *work)
{
	const json_t *volume = volume_find(work, work->words[0]);
	json_t *doomed = json_array();
	bool ok = volume != NULL;
	size_t i;
	json_t *each;

	json_array_foreach(work->volumes, i, each)
	{
		if (each == volume && work->recursive)
			doomed_collect(work, each, 0, doomed);
		else if (each == volume)
			json_array_append(doomed, each);
	}
	json_array_foreach(doomed, i, each) ok =
		ok && bdev_check_unattached(work, volume_bdev(work, each), volume_alias(each));
	ok = ok && (work->recursive || delete_check_clones(work, volume));
	json_array_foreach(doomed, i, each) ok =
		ok && volume_do(work, volume_alias(each), "bdev_lvol_delete",
			      json_pack("{s:s}", "name", volume_alias(each)));
	json_decref(doomed);
	return ok;
}

/* ---- which ----------------------------------------------------------------------------------- */

static const struct option plain_options[] = {CLIENT_LONG_OPTIONS, {0}};

static const struct option create_options[] = {
	CLIENT_LONG_OPTIONS,
	{"size", required_argument, NULL, VOLUME_SIZE},
	{"sector-size", required_argument, NULL, VOLUME_SECTOR_SIZE},
	{"thick", no_argument, NULL, VOLUME_THICK},
	{"clear", required_argument, NULL, VOLUME_CLEAR},
	{0},
};

static const struct option list_options[] = {
	CLIENT_LONG_OPTIONS, {"json", no_argument, NULL, VOLUME_JSON}, {0}};

static const struct option force_options[] = {
	CLIENT_LONG_OPTIONS, {"force", no_argument, NULL, 'f'}, {0}};

static const struct option delete_options[] = {
	CLIENT_LONG_OPTIONS, {"recursive", no_argument, NULL, VOLUME_RECURSIVE}, {0}};

static const struct option import_options[] = {
	CLIENT_LONG_OPTIONS,
	{"force", no_argument, NULL, 'f'},
	{"sector-size", required_argument, NULL, VOLUME_SECTOR_SIZE},
	{0},
};

static const struct option export_options[] = {
	CLIENT_LONG_OPTIONS,
	{"force", no_argument, NULL, 'f'},
	{"format", required_argument, NULL, VOLUME_FORMAT},
	{"since", required_argument, NULL, VOLUME_SINCE},
	{0},
};

#define PLAIN CLIENT_SHORT_OPTIONS, plain_options

static const struct volume_command commands[] = {
	{"create", "volume create", create_help, CLIENT_SHORT_OPTIONS, create_options,
		"name one volume to make, STORE/VOLUME", 1, 1, true, create_run},
	{"list", "volume list", volume_list_help, CLIENT_SHORT_OPTIONS, list_options,
		"name one store at most", 0, 1, false, volume_list_run, .usage = true},
	{"resize", "volume resize", resize_help, CLIENT_SHORT_OPTIONS "f", force_options,
		"name one volume and its new size", 2, 2, true, resize_run},
	{"snapshot", "volume snapshot", snapshot_help, PLAIN,
		"name one volume and the new snapshot", 2, 2, true, snapshot_run},
	{"clone", "volume clone", clone_help, PLAIN, "name one snapshot and the new volume", 2, 2,
		true, clone_run},
	{"inflate", "volume inflate", inflate_help, PLAIN, "name one volume", 1, 1, false,
		inflate_run},
	{"decouple", "volume decouple", decouple_help, PLAIN, "name one volume", 1, 1, false,
		decouple_run},
	{"set-parent", "volume set-parent", set_parent_help, PLAIN,
		"name one volume and its new parent", 2, 2, true, set_parent_run},
	{"read-only", "volume read-only", read_only_help, PLAIN, "name one volume", 1, 1, true,
		read_only_run},
	{"attribute", "volume attribute", volume_attribute_help, PLAIN,
		"name one volume, an attribute and perhaps its value", 2, 3, true,
		volume_attribute_run},
	{"shallow-copy", "volume shallow-copy", volume_shallow_copy_help, PLAIN,
		"name one volume and one block device", 2, 2, false, volume_shallow_copy_run},
	{"export", "volume export", volume_export_help, CLIENT_SHORT_OPTIONS "f", export_options,
		"name one volume and one file", 2, 2, false, volume_export_run},
	{"import", "volume import", volume_import_help, CLIENT_SHORT_OPTIONS "f", import_options,
		"name one volume and one file", 2, 2, false, volume_import_run},
	{"rename", "volume rename", rename_help, PLAIN, "name one volume and its new name", 2, 2,
		true, rename_run},
	{"delete", "volume delete", delete_help, CLIENT_SHORT_OPTIONS, delete_options,
		"name one volume", 1, 1, true, delete_run},
	{0},
};

int cli_volume(int argc, char **argv)
{
	return volume_command_run(commands, volume_help, argc, argv);
}
