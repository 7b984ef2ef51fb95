/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice disk detach: the reverse of attach. The disk is taken off every controller; a controller
 * goes with its last disk; a block device over a file is closed, devices of other kinds stay. A
 * disk in several places can be taken off some of them, and is closed with the last.
 *
 * A disk that a connected machine may be using is not taken away unless --force is given: what the
 * machine has not yet written is lost with it. Then a SCSI controller stays as long as its machine
 * is connected, since further disks can be attached to it: the name of a controller without a disk,
 * given in place of a disk's, deletes it.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_impl.h"

static const char help[] =
	"usage: sluice disk detach [OPTION...] DISK\n"
	"\n"
	"Takes DISK (a block device's name or its file) off its controllers and deletes those "
	"that\n"
	"have no other disk. A device that was made from a file is closed; the file stays. A\n"
	"controller without a disk is deleted by its name.\n"
	"\n" CLIENT_HELP "      --controller NAME  take it off this controller only\n"
	"      --target N         ... off this SCSI target only\n"
	"      --lun N            ... off this LUN only\n"
	"  -f, --force            also while a machine is connected: it loses the disk at once\n";

struct detach {
	struct client_options daemon;
	const char *word; /* which disk */
	bool force;
	const char *controller; /* NULL: not said */
	int target; /* -1: not said */
	int lun; /* -1: not said */

	struct client *client;
	struct model model;
};

static bool detach_call(struct detach *detach, const char *method, json_t *params)
{
	json_t *result = client_call(detach->client, method, params);

	if (!result)
		cli_error("%s: %s", detach->word, client_error_text(detach->client));
	json_decref(result);
	return result != NULL;
}

static bool detach_check_place(const struct detach *detach, const json_t *place)
{
	if (detach->force || !json_is_true(json_object_get(place, "connected")))
		return true;
	cli_error(
		"a machine is connected to %s: shut it down, or stop using the disk there and say "
		"--force",
		json_member_text(place, "controller"));
	return false;
}

static bool controller_delete(struct detach *detach, const char *name)
{
	return detach_call(detach, "vhost_delete_controller", json_pack("{s:s}", "ctrlr", name));
}

/* After its target was removed: it may have been the last. */
static bool controller_delete_if_unused(struct detach *detach, const char *name)
{
	json_t *list = client_call(
		detach->client, "vhost_get_controllers", json_pack("{s:s}", "name", name));
	const json_t *controller = json_array_get(list, 0);
	bool empty = controller && controller_is_empty(controller);
	bool connected = controller && controller_is_connected(controller);

	json_decref(list);
	if (empty && !connected)
		return controller_delete(detach, name);
	if (empty)
		printf("Controller %s stays, without a disk, for the machine that is connected to "
		       "it.\nsluice disk detach %s deletes it later.\n",
			name, name);
	return true;
}

/* The other LUNs of its target stay. */
static bool place_clear(struct detach *detach, const json_t *place)
{
	const char *name = json_member_text(place, "controller");
	json_t *target = json_object_get(place, "target");
	json_t *params;

	if (!target)
		return controller_delete(detach, name);
	params = json_pack("{s:s, s:O}", "ctrlr", name, "scsi_target_num", target);
	if (client_is_ours(detach->client))
		json_object_set(params, "lun", json_object_get(place, "lun"));
	return detach_call(detach, "vhost_scsi_controller_remove_target", params) &&
	       controller_delete_if_unused(detach, name);
}

static bool number_is_meant(int wanted, const json_t *number)
{
	return wanted < 0 || (number && json_integer_value(number) == wanted);
}

static bool place_is_meant(const struct detach *detach, const json_t *place)
{
	return (!detach->controller ||
		       strcmp(detach->controller, json_member_text(place, "controller")) == 0) &&
	       number_is_meant(detach->target, json_object_get(place, "target")) &&
	       number_is_meant(detach->lun, json_object_get(place, "lun"));
}

/* Those that are meant, at least one unless all are: new array. NULL after a sentence. */
static json_t *detach_choose_places(const struct detach *detach, const json_t *places)
{
	bool all = !detach->controller && detach->target < 0 && detach->lun < 0;
	json_t *chosen = json_array();
	size_t i;
	json_t *place;

	json_array_foreach(places, i, place)
	{
		if (place_is_meant(detach, place))
			json_array_append(chosen, place);
	}
	if (all || json_array_size(chosen))
		return chosen;
	cli_error("%s is not there: sluice disk list shows where it is", detach->word);
	json_decref(chosen);
	return NULL;
}

/* Closing a device takes a store on it away, and the volumes in it from their machines. */
static bool detach_check_store(struct detach *detach, const json_t *bdev)
{
	const char *name = json_member_text(bdev, "name");
	json_t *stores = client_call(detach->client, "bdev_lvol_get_lvstores", NULL);
	bool ok = true;
	size_t i;
	json_t *store;

	json_array_foreach(stores, i, store)
	{
		if (strcmp(json_member_text(store, "base_bdev"), name) != 0)
			continue;
		cli_error("%s is where store %s is: 'sluice store close %s' closes both",
			detach->word, json_member_text(store, "name"),
			json_member_text(store, "name"));
		ok = false;
	}
	json_decref(stores);
	return ok;
}

static bool detach_disk(struct detach *detach, const json_t *bdev)
{
	const json_t *specific = json_object_get(bdev, "driver_specific");
	json_t *places = places_of_bdev(&detach->model, bdev);
	json_t *chosen = detach_choose_places(detach, places);
	bool last = json_array_size(chosen) == json_array_size(places);
	bool ok = chosen != NULL;
	size_t i;
	json_t *place;

	json_array_foreach(chosen, i, place) ok = ok && detach_check_place(detach, place);
	ok = ok && (!last || !bdev_filename(bdev)[0] || detach_check_store(detach, bdev));
	json_array_foreach(chosen, i, place) ok = ok && place_clear(detach, place);
	json_decref(chosen);
	json_decref(places);
	if (ok && last && bdev_filename(bdev)[0])
		ok = detach_call(detach,
			json_object_get(specific, "aio") ? "bdev_aio_delete" : "bdev_uring_delete",
			json_pack("{s:s}", "name", json_member_text(bdev, "name")));
	return ok;
}

static bool detach_controller(struct detach *detach, const json_t *controller)
{
	json_t *place = place_of_controller(controller, NULL, NULL);
	bool ok = detach_check_place(detach, place) && controller_delete(detach, detach->word);

	json_decref(place);
	return ok;
}

static bool detach_find(struct detach *detach)
{
	const json_t *controller = model_controller(&detach->model, detach->word);
	const json_t *bdev;
	char *file;

	if (!disk_word_find(&detach->model, detach->word, true, &bdev, &file))
		return false;
	free(file);
	if (bdev)
		return detach_disk(detach, bdev);
	if (controller && controller_is_empty(controller))
		return detach_controller(detach, controller);
	if (controller)
		cli_error("%s is a controller with a disk: name the disk, which sluice disk list "
			  "shows",
			detach->word);
	else
		cli_error("there is no disk %s: sluice disk list shows those there are",
			detach->word);
	return false;
}

static bool detach_run(struct detach *detach)
{
	bool ok;

	detach->client = client_open(&detach->daemon);
	if (!detach->client)
		return false;
	ok = client_lock(detach->client) && model_load(detach->client, &detach->model);
	if (ok) {
		ok = detach_find(detach);
		model_free(&detach->model);
	}
	client_close(detach->client);
	return ok;
}

enum { OPTION_CONTROLLER = 256, OPTION_TARGET, OPTION_LUN };

static bool option_take(struct detach *detach, int option)
{
	switch (option) {
	case 'f':
		detach->force = true;
		return true;
	case OPTION_CONTROLLER:
		detach->controller = optarg;
		return true;
	case OPTION_TARGET:
		return cli_number_read("--target", optarg, CLI_TARGET_MAX, &detach->target);
	case OPTION_LUN:
		return cli_number_read("--lun", optarg, CLI_LUN_MAX, &detach->lun);
	default:
		return client_options_take(&detach->daemon, option);
	}
}

int cli_disk_detach(int argc, char **argv)
{
	static char program[] = "sluice disk detach";
	static const struct option options[] = {
		CLIENT_LONG_OPTIONS,
		{"force", no_argument, NULL, 'f'},
		{"controller", required_argument, NULL, OPTION_CONTROLLER},
		{"target", required_argument, NULL, OPTION_TARGET},
		{"lun", required_argument, NULL, OPTION_LUN},
		{0},
	};
	struct detach detach = {.target = -1, .lun = -1};
	int option;

	argv[0] = program; /* in getopt's sentences */
	while ((option = getopt_long(argc, argv, CLIENT_SHORT_OPTIONS "f", options, NULL)) != -1) {
		if (option == 'h') {
			printf("%s", help);
			return CLI_OK;
		}
		if (!option_take(&detach, option))
			return CLI_USAGE;
	}
	if (argc - optind != 1 || !argv[optind][0]) {
		cli_error("name one disk: see sluice disk detach --help");
		return CLI_USAGE;
	}
	detach.word = argv[optind];
	return detach_run(&detach) ? CLI_OK : CLI_FAILED;
}
