/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What `sluice store` and `sluice volume` share: reading the command line, what the daemon has, and
 * the sentences about it. Each command is a struct volume_command; this file opens the connection,
 * takes the lock where something is changed, asks for everything there is once, and closes.
 *
 * A volume is named STORE/VOLUME as the daemon lists it (or by its UUID), never by a file.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli_impl.h"

#define MD_PERCENT_MAX 1000
#define GROWTH_MAX     1024

/* ---- calls --------------------------------------------------------------------------------- */

json_t *volume_call(struct volume_work *work, const char *word, const char *method, json_t *params)
{
	json_t *result = client_call(work->client, method, params);

	if (!result)
		cli_error("%s: %s", word, client_error_text(work->client));
	return result;
}

bool volume_do(struct volume_work *work, const char *word, const char *method, json_t *params)
{
	json_t *result = volume_call(work, word, method, params);

	json_decref(result);
	return result != NULL;
}

void volume_size_set(json_t *params, uint64_t size_bytes)
{
	if (size_bytes % MIB == 0)
		json_object_set_new(
			params, "size_in_mib", json_integer((json_int_t)(size_bytes / MIB)));
	else
		json_object_set_new(params, "size", json_integer((json_int_t)size_bytes));
}

/* What is not said is not asked of a daemon that does not know it. */
bool volume_sectors_set(
	const struct volume_work *work, json_t *params, const json_t *store, uint32_t sector_bytes)
{
	json_int_t unit = json_integer_value(json_object_get(store, "block_size"));
	uint32_t wanted = work->sector_bytes ? work->sector_bytes : sector_bytes;

	if (unit == (json_int_t)wanted)
		return true;
	if (client_is_ours(work->client)) {
		json_object_set_new(params, "block_size", json_integer(wanted));
		return true;
	}
	if (!work->sector_bytes)
		return true;
	cli_error("volumes of this daemon have the sectors of the device below, of %d bytes: leave "
		  "out --sector-size",
		(int)unit);
	return false;
}

/* ---- what there is ------------------------------------------------------------------------- */

static const json_t *store_named(const struct volume_work *work, const char *word)
{
	size_t i;
	json_t *store;

	json_array_foreach(work->stores, i, store)
	{
		if (strcmp(json_member_text(store, "name"), word) == 0 ||
			strcmp(json_member_text(store, "uuid"), word) == 0)
			return store;
	}
	return NULL;
}

const json_t *store_find(const struct volume_work *work, const char *word)
{
	const json_t *store = store_named(work, word);

	if (!store && !word[0])
		cli_error(
			"the name of the store is empty: sluice store list shows those there are");
	else if (!store)
		cli_error("there is no store %s: sluice store list shows those there are, and "
			  "sluice store open opens one that is on a file or device",
			word);
	return store;
}

const json_t *volume_find(const struct volume_work *work, const char *word)
{
	size_t i;
	json_t *volume;

	json_array_foreach(work->volumes, i, volume)
	{
		if (strcmp(json_member_text(volume, "alias"), word) == 0 ||
			strcmp(json_member_text(volume, "uuid"), word) == 0)
			return volume;
	}
	if (strchr(word, '/'))
		cli_error("there is no volume %s: sluice volume list shows those there are", word);
	else
		cli_error("%s is no volume: say STORE/VOLUME, as sluice volume list shows them",
			word);
	return NULL;
}

const json_t *volume_bdev(const struct volume_work *work, const json_t *volume)
{
	return model_bdev(&work->model, json_member_text(volume, "alias"));
}

json_t *volume_size(const json_t *volume)
{
	return json_object_get(volume, "size_in_bytes");
}

const char *volume_store_name(const json_t *volume)
{
	return json_member_text(json_object_get(volume, "lvs"), "name");
}

static json_t *volume_named(const struct volume_work *work, const char *store, const char *name)
{
	size_t i;
	json_t *volume;

	json_array_foreach(work->volumes, i, volume)
	{
		if (strcmp(json_member_text(volume, "name"), name) == 0 &&
			strcmp(volume_store_name(volume), store) == 0)
			return volume;
	}
	return NULL;
}

const char *volume_parent(const json_t *volume)
{
	return json_member_text(volume, "parent");
}

/* What only ours says. One that is degraded has no block device, so its parent is known by the list
 * of clones only, and its size is not. */
static void volume_complete(struct volume_work *work, json_t *volume)
{
	const json_t *bdev = volume_bdev(work, volume);
	const json_t *lvol = json_object_get(json_object_get(bdev, "driver_specific"), "lvol");
	json_int_t blocks = json_integer_value(json_object_get(bdev, "num_blocks"));
	json_int_t bytes = json_integer_value(json_object_get(bdev, "block_size"));
	size_t i;
	json_t *name, *clone;

	if (bdev)
		json_object_set_new(volume, "size_in_bytes", json_integer(blocks * bytes));
	if (bdev)
		json_object_set_new(volume, "block_size", json_integer(bytes));
	if (json_object_get(lvol, "base_snapshot"))
		json_object_set(volume, "parent", json_object_get(lvol, "base_snapshot"));
	if (json_object_get(lvol, "external_snapshot_name"))
		json_object_set(
			volume, "external_parent", json_object_get(lvol, "external_snapshot_name"));
	json_array_foreach(json_object_get(lvol, "clones"), i, name)
	{
		clone = volume_named(work, volume_store_name(volume),
			json_is_string(name) ? json_string_value(name) : "");
		if (clone && !json_object_get(clone, "parent"))
			json_object_set(clone, "parent", json_object_get(volume, "name"));
	}
}

uint64_t store_cluster_bytes(const struct volume_work *work, const char *name)
{
	return (uint64_t)json_integer_value(
		json_object_get(store_named(work, name), "cluster_size"));
}

const char *volume_new_name(const char *word, const char *store)
{
	const char *slash = strchr(word, '/');
	const char *name = slash ? slash + 1 : word;

	if (slash && (strlen(store) != (size_t)(slash - word) ||
			     strncmp(word, store, (size_t)(slash - word)) != 0)) {
		cli_error("%s would be in another store than %s, and a volume stays in its own: "
			  "leave out the store",
			word, store);
		return NULL;
	}
	if (*name && !strchr(name, '/'))
		return name;
	cli_error("'%s' is no name for a volume: 1 to 63 bytes without a slash", word);
	return NULL;
}

bool bdev_check_unattached(const struct volume_work *work, const json_t *bdev, const char *word)
{
	json_t *places = bdev ? places_of_bdev(&work->model, bdev) : NULL;
	bool unattached = json_array_size(places) == 0;

	if (!unattached)
		cli_error("%s is on controller %s: take it off first with 'sluice disk detach %s'",
			word, json_member_text(json_array_get(places, 0), "controller"), word);
	json_decref(places);
	return unattached;
}

json_t *size_cell(const json_t *bytes)
{
	char text[OPTION_SIZE_TEXT_MAX];

	if (!json_is_integer(bytes))
		return json_string("-");
	size_format((uint64_t)json_integer_value(bytes), text, sizeof(text));
	return json_string(text);
}

/* ---- the command line ------------------------------------------------------------------------ */

static bool size_take(const char *option, uint64_t multiple, uint64_t *ret_bytes)
{
	if (size_parse(optarg, ret_bytes) == 0 && *ret_bytes && *ret_bytes <= INT64_MAX &&
		*ret_bytes % multiple == 0)
		return true;
	cli_error("%s is a multiple of %u bytes such as 64K or 10G, not '%s'", option,
		(unsigned)multiple, optarg);
	return false;
}

static bool cluster_size_take(struct volume_work *work)
{
	if (!size_take("--cluster-size", 4 * KIB, &work->cluster_bytes))
		return false;
	if (work->cluster_bytes >= 16 * KIB && work->cluster_bytes <= GIB)
		return true;
	cli_error("--cluster-size is from 16K to 1G, not '%s'", optarg);
	return false;
}

static bool sector_size_take(struct volume_work *work)
{
	uint64_t bytes = 0;

	if (size_parse(optarg, &bytes) ||
		(bytes != SECTOR_BYTES_DEFAULT && bytes != SECTOR_BYTES_LARGE)) {
		cli_error("--sector-size is 512 or 4096, not '%s'", optarg);
		return false;
	}
	work->sector_bytes = (uint32_t)bytes;
	return true;
}

static bool clear_take(struct volume_work *work)
{
	static const char *const methods[] = {"none", "unmap", "write_zeroes"};

	work->clear = optarg;
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		if (strcmp(optarg, methods[i]) == 0)
			return true;
	}
	cli_error("--clear is none, unmap or write_zeroes, not '%s'", optarg);
	return false;
}

void volume_clear_set(const struct volume_work *work, json_t *params)
{
	if (work->clear)
		json_object_set_new(params, "clear_method", json_string(work->clear));
}

static bool option_take(struct volume_work *work, int option)
{
	switch (option) {
	case 'f':
		work->force = true;
		return true;
	case 'c':
		return cluster_size_take(work);
	case VOLUME_SIZE:
		return size_take("--size", 512, &work->size_bytes);
	case VOLUME_RECURSIVE:
		work->recursive = true;
		return true;
	case VOLUME_JSON:
		work->json = true;
		return true;
	case VOLUME_THICK:
		work->thick = true;
		return true;
	case VOLUME_SINCE:
		work->since = optarg;
		return true;
	case VOLUME_FORMAT:
		work->format = optarg;
		if (strcmp(optarg, "raw") == 0 || strcmp(optarg, "qcow2") == 0)
			return true;
		cli_error("--format is raw or qcow2, not '%s'", optarg);
		return false;
	case VOLUME_SECTOR_SIZE:
		return sector_size_take(work);
	case VOLUME_CLEAR:
		return clear_take(work);
	case VOLUME_MD_PAGES:
		return cli_number_read("--md-pages", optarg, MD_PERCENT_MAX, &work->md_percent);
	case VOLUME_GROWTH:
		return cli_number_read("--growth", optarg, GROWTH_MAX, &work->growth);
	default:
		return client_options_take(&work->daemon, option);
	}
}

/* -1: go on. */
static int work_read(struct volume_work *work, int argc, char **argv)
{
	const struct volume_command *command = work->command;
	bool empty = false;
	char program[64];
	int option;

	snprintf(program, sizeof(program), "sluice %s", command->program);
	argv[0] = program; /* in getopt's sentences */
	while ((option = getopt_long(argc, argv, command->short_options, command->options, NULL)) !=
		-1) {
		if (option == 'h') {
			printf("%s\n" CLIENT_HELP, command->help);
			return CLI_OK;
		}
		if (!option_take(work, option))
			return CLI_USAGE;
	}
	work->words = argv + optind;
	work->num_words = (unsigned)(argc - optind);
	for (unsigned i = 0; i < work->num_words; i++)
		empty = empty || !work->words[i][0];
	if (!empty && work->num_words >= command->min_words &&
		work->num_words <= command->max_words)
		return -1;
	cli_error("%s: see sluice %s --help", command->wanted, command->program);
	return CLI_USAGE;
}

/* What is exclusive and what is shared takes the daemon a while. */
static json_t *volumes_load(struct volume_work *work)
{
	bool usage = work->command->usage && client_is_ours(work->client);

	return client_call(
		work->client, "bdev_lvol_get_lvols", usage ? json_pack("{s:b}", "usage", 1) : NULL);
}

static bool work_load(struct volume_work *work)
{
	size_t i;
	json_t *volume;

	if (!model_load(work->client, &work->model))
		return false;
	work->stores = client_call(work->client, "bdev_lvol_get_lvstores", NULL);
	if (work->stores)
		work->volumes = volumes_load(work);
	if (!work->volumes) {
		cli_error("%s", client_error_text(work->client));
		return false;
	}
	if (!client_is_ours(work->client)) {
		json_array_foreach(work->volumes, i, volume) volume_complete(work, volume);
	}
	return true;
}

static void work_unload(struct volume_work *work)
{
	json_decref(work->stores);
	json_decref(work->volumes);
	work->stores = work->volumes = NULL;
	model_free(&work->model);
}

bool volumes_reload(struct volume_work *work)
{
	work_unload(work);
	return work_load(work);
}

static int work_run(struct volume_work *work)
{
	bool ok;

	work->client = client_open(&work->daemon);
	if (!work->client)
		return CLI_FAILED;
	ok = (!work->command->changes || client_lock(work->client)) && work_load(work) &&
	     work->command->run(work);
	work_unload(work);
	client_close(work->client);
	return ok ? CLI_OK : CLI_FAILED;
}

int volume_command_run(
	const struct volume_command *commands, const char *help, int argc, char **argv)
{
	struct volume_work work = {0};
	int rc;

	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		printf("%s", help);
		return CLI_OK;
	}
	for (work.command = commands; argc > 1 && work.command->name; work.command++) {
		if (strcmp(argv[1], work.command->name) != 0)
			continue;
		rc = work_read(&work, argc - 1, argv + 1);
		return rc >= 0 ? rc : work_run(&work);
	}
	cli_error("say what to do: see sluice %s --help", argv[0]);
	return CLI_USAGE;
}
