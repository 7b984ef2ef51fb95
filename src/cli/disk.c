/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice disk list, sluice disk detach, and which of the three it is.
 *
 * Detach is the reverse of attach: the disk is taken off every controller; a block controller goes
 * with its disk, a SCSI controller with its last one unless a machine is connected to it; a block
 * device over a file is closed, devices of other kinds stay.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli_impl.h"

static const char disk_help[] =
	"usage: sluice disk attach [OPTION...] DISK   put a disk on a machine\n"
	"       sluice disk detach [OPTION...] DISK   take it off again\n"
	"       sluice disk list   [OPTION...]        disks and where they are\n"
	"\n"
	"sluice disk attach --help and so on explain each.\n";

static const char list_help[] =
	"usage: sluice disk list [OPTION...]\n"
	"\n"
	"Lists the block devices with size, kind, controller (and SCSI target), socket, and "
	"whether\n"
	"a machine is connected. Not on a terminal: one line each, cells separated by tabs.\n";

static const char detach_help[] =
	"usage: sluice disk detach [OPTION...] DISK\n"
	"\n"
	"Takes DISK (a block device's name or its file) off its controllers. Controllers without "
	"a\n"
	"disk are deleted, SCSI controllers only while no machine is connected. A device that was\n"
	"made from a file is closed; the file stays.\n";

/* Options that both have. -1: go on. */
static int options_read(
	int argc, char **argv, const char *help, struct client_options *client, bool *ret_json)
{
	static char program[] = "sluice disk";
	static const struct option options[] = {
		CLIENT_LONG_OPTIONS,
		{"json", no_argument, NULL, 'j'},
		{0},
	};
	int option;

	argv[0] = program; /* in getopt's sentences */
	while ((option = getopt_long(argc, argv, CLIENT_SHORT_OPTIONS, options, NULL)) != -1) {
		if (option == 'j' && ret_json) {
			*ret_json = true;
		} else if (option == 'h') {
			printf("%s", help);
			return CLI_OK;
		} else if (option == 'j') {
			cli_error("--json is not for this command");
			return CLI_USAGE;
		} else if (!client_options_take(client, option)) {
			return CLI_USAGE;
		}
	}
	return -1;
}

/* ---- list ---------------------------------------------------------------------------------- */

static json_t *place_of_controller(const json_t *controller, const char *bus, const json_t *target)
{
	json_t *place = json_pack("{s:s, s:s, s:s, s:b}", "bus", bus, "controller",
		json_member_text(controller, "ctrlr"), "socket",
		json_member_text(controller, "socket"), "connected",
		(int)controller_is_connected(controller));

	if (target)
		json_object_set(place, "target", json_object_get(target, "scsi_dev_num"));
	return place;
}

static bool target_has_bdev(const json_t *target, const char *bdev)
{
	const json_t *lun = json_array_get(json_object_get(target, "luns"), 0);

	return strcmp(json_member_text(lun, "bdev_name"), bdev) == 0;
}

/* Where a device is: an array of {bus, controller, socket, connected[, target]}. */
json_t *places_of_bdev(const struct model *model, const char *bdev)
{
	json_t *places = json_array();
	size_t i, j;
	json_t *controller, *target;

	json_array_foreach(model->controllers, i, controller)
	{
		const json_t *targets = controller_targets(controller);

		if (!targets && strcmp(controller_bdev(controller), bdev) == 0)
			json_array_append_new(places, place_of_controller(controller, "blk", NULL));
		json_array_foreach(targets, j, target)
		{
			if (target_has_bdev(target, bdev))
				json_array_append_new(
					places, place_of_controller(controller, "scsi", target));
		}
	}
	return places;
}

static json_t *disks_describe(const struct model *model)
{
	json_t *disks = json_array();
	size_t i;
	json_t *bdev;

	json_array_foreach(model->bdevs, i, bdev)
	{
		const char *name = json_member_text(bdev, "name");
		json_int_t size = json_integer_value(json_object_get(bdev, "num_blocks")) *
				  json_integer_value(json_object_get(bdev, "block_size"));
		json_t *disk = json_pack("{s:s, s:I, s:s, s:o}", "name", name, "size_bytes", size,
			"kind", json_member_text(bdev, "product_name"), "attached",
			places_of_bdev(model, name));

		if (bdev_filename(bdev)[0])
			json_object_set_new(disk, "file", json_string(bdev_filename(bdev)));
		json_array_append_new(disks, disk);
	}
	return disks;
}

static void rows_append(json_t *rows, const json_t *disk, const json_t *place)
{
	const json_t *target = json_object_get(place, "target");
	const char *controller = json_member_text(place, "controller");
	json_t *where = target ? json_sprintf("%s:%d", controller, (int)json_integer_value(target))
			       : json_string(place ? controller : "-");
	char size[32];

	size_format((uint64_t)json_integer_value(json_object_get(disk, "size_bytes")), size,
		sizeof(size));
	json_array_append_new(
		rows, json_pack("[s, s, s, s, o, s, s]", json_member_text(disk, "name"), size,
			      json_member_text(disk, "kind"),
			      place ? json_member_text(place, "bus") : "-", where,
			      !place                                              ? "-"
			      : json_is_true(json_object_get(place, "connected")) ? "connected"
										  : "none",
			      place ? json_member_text(place, "socket") : "-"));
}

static void disks_print(const json_t *disks)
{
	static const char *const head[] = {
		"DISK",
		"SIZE",
		"KIND",
		"BUS",
		"CONTROLLER",
		"MACHINE",
		"SOCKET",
	};
	json_t *rows = json_array();
	size_t i, j;
	json_t *disk, *place;

	json_array_foreach(disks, i, disk)
	{
		const json_t *places = json_object_get(disk, "attached");

		if (json_array_size(places) == 0)
			rows_append(rows, disk, NULL);
		json_array_foreach(places, j, place) rows_append(rows, disk, place);
	}
	table_print(head, ARRAY_SIZE(head), rows);
	json_decref(rows);
}

int cli_disk_list(int argc, char **argv)
{
	struct client_options options = {0};
	struct client *client;
	struct model model;
	json_t *disks;
	bool json = false;
	int rc = options_read(argc, argv, list_help, &options, &json);

	if (rc >= 0)
		return rc;
	if (optind < argc) {
		cli_error("disk list takes no '%s': see sluice disk list --help", argv[optind]);
		return CLI_USAGE;
	}
	client = client_open(&options);
	if (!client || !model_load(client, &model)) {
		if (client)
			client_close(client);
		return CLI_FAILED;
	}
	disks = disks_describe(&model);
	if (json)
		json_print(disks);
	else
		disks_print(disks);
	json_decref(disks);
	model_free(&model);
	client_close(client);
	return CLI_OK;
}

/* ---- detach -------------------------------------------------------------------------------- */

static bool call_true(struct client *client, const char *method, json_t *params)
{
	json_t *result = client_call(client, method, params);

	if (!result)
		cli_error("%s: %s", method, client_error_text(client));
	json_decref(result);
	return result != NULL;
}

/* Nobody is left without it: no disk, and no machine connected. */
static bool controller_is_idle(struct client *client, const char *name)
{
	json_t *list =
		client_call(client, "vhost_get_controllers", json_pack("{s:s}", "name", name));
	const json_t *controller = json_array_get(list, 0);
	bool idle = controller && json_array_size(controller_targets(controller)) == 0 &&
		    !controller_is_connected(controller);

	json_decref(list);
	return idle;
}

/* Takes it off one controller. */
static bool place_clear(struct client *client, const json_t *place)
{
	const char *name = json_member_text(place, "controller");
	json_t *target = json_object_get(place, "target");

	if (target && !call_true(client, "vhost_scsi_controller_remove_target",
			      json_pack("{s:s, s:O}", "ctrlr", name, "scsi_target_num", target)))
		return false;
	if (target && !controller_is_idle(client, name))
		return true;
	return call_true(client, "vhost_delete_controller", json_pack("{s:s}", "ctrlr", name));
}

static bool disk_detach(struct client *client, const struct model *model, const json_t *bdev)
{
	const char *name = json_member_text(bdev, "name");
	const json_t *specific = json_object_get(bdev, "driver_specific");
	json_t *places = places_of_bdev(model, name);
	bool ok = true;
	size_t i;
	json_t *place;

	json_array_foreach(places, i, place) ok = ok && place_clear(client, place);
	json_decref(places);
	if (ok && bdev_filename(bdev)[0])
		ok = call_true(client,
			json_object_get(specific, "aio") ? "bdev_aio_delete" : "bdev_uring_delete",
			json_pack("{s:s}", "name", name));
	return ok;
}

int cli_disk_detach(int argc, char **argv)
{
	struct client_options options = {0};
	struct client *client;
	struct model model;
	const json_t *bdev;
	char *file;
	bool ok = false;
	int rc = options_read(argc, argv, detach_help, &options, NULL);

	if (rc >= 0)
		return rc;
	if (argc - optind != 1) {
		cli_error("name one disk: see sluice disk detach --help");
		return CLI_USAGE;
	}
	client = client_open(&options);
	if (!client || !model_load(client, &model)) {
		if (client)
			client_close(client);
		return CLI_FAILED;
	}
	bdev = model_bdev(&model, argv[optind]);
	file = bdev ? NULL : realpath(argv[optind], NULL);
	if (file)
		bdev = model_bdev_of_file(&model, file);
	if (bdev)
		ok = disk_detach(client, &model, bdev);
	else
		cli_error("there is no disk %s: sluice disk list shows those there are",
			argv[optind]);
	free(file);
	model_free(&model);
	client_close(client);
	return ok ? CLI_OK : CLI_FAILED;
}

/* ---- which --------------------------------------------------------------------------------- */

int cli_disk(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "attach") == 0)
		return cli_disk_attach(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "detach") == 0)
		return cli_disk_detach(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "list") == 0)
		return cli_disk_list(argc - 1, argv + 1);
	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		printf("%s", disk_help);
		return CLI_OK;
	}
	cli_error("say attach, detach or list: see sluice disk --help");
	return CLI_USAGE;
}
