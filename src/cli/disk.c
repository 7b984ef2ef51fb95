/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice disk list, and which of the three it is.
 *
 * A controller without a disk is listed too: it may be one that lost its disk while a machine was
 * connected, and it is there until somebody deletes it.
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
	"Lists the block devices with size, kind, access (rw or ro), controller (and SCSI "
	"target,\n"
	"and LUN if it is not 0), whether a machine is connected, and the socket; then "
	"controllers\n"
	"without a disk. Not on a terminal: one line each, cells separated by tabs.\n"
	"\n" CLIENT_HELP "      --json             print JSON: the block devices\n";

/* -1: go on. */
static int options_read(int argc, char **argv, struct client_options *client, bool *ret_json)
{
	static char program[] = "sluice disk list";
	static const struct option options[] = {
		CLIENT_LONG_OPTIONS,
		{"json", no_argument, NULL, 'j'},
		{0},
	};
	int option;

	argv[0] = program; /* in getopt's sentences */
	while ((option = getopt_long(argc, argv, CLIENT_SHORT_OPTIONS, options, NULL)) != -1) {
		if (option == 'j') {
			*ret_json = true;
		} else if (option == 'h') {
			printf("%s", list_help);
			return CLI_OK;
		} else if (!client_options_take(client, option)) {
			return CLI_USAGE;
		}
	}
	return -1;
}

/* ---- list ---------------------------------------------------------------------------------- */

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
		json_t *disk = json_pack("{s:s, s:I, s:s, s:b, s:o}", "name", name, "size_bytes",
			size, "kind", json_member_text(bdev, "product_name"), "readonly",
			(int)bdev_is_read_only(bdev), "attached", places_of_bdev(model, bdev));

		if (strcmp(bdev_label(bdev), name) != 0)
			json_object_set_new(disk, "alias", json_string(bdev_label(bdev)));
		if (bdev_filename(bdev)[0])
			json_object_set_new(disk, "file", json_string(bdev_filename(bdev)));
		json_array_append_new(disks, disk);
	}
	return disks;
}

/* "vm:2", and "vm:2:5" for another LUN than 0. */
static json_t *place_describe(const json_t *place)
{
	const char *controller = json_member_text(place, "controller");
	const json_t *target = json_object_get(place, "target");
	int lun = (int)json_integer_value(json_object_get(place, "lun"));

	if (!place)
		return json_string("-");
	if (!target)
		return json_string(controller);
	if (lun == 0)
		return json_sprintf("%s:%d", controller, (int)json_integer_value(target));
	return json_sprintf("%s:%d:%d", controller, (int)json_integer_value(target), lun);
}

static const char *disk_label(const json_t *disk)
{
	const char *alias = json_member_text(disk, "alias");

	return alias[0] ? alias : json_member_text(disk, "name");
}

/* disk NULL: a controller without one; place NULL: a disk that is nowhere. */
static void rows_append(json_t *rows, const json_t *disk, const json_t *place)
{
	const json_t *access = json_object_get(place ? place : disk, "readonly");
	char size[32] = "-";

	if (disk)
		size_format((uint64_t)json_integer_value(json_object_get(disk, "size_bytes")), size,
			sizeof(size));
	json_array_append_new(
		rows, json_pack("[s, s, s, s, s, o, s, s]", disk ? disk_label(disk) : "-", size,
			      disk ? json_member_text(disk, "kind") : "-",
			      !access                ? "-"
			      : json_is_true(access) ? "ro"
						     : "rw",
			      place ? json_member_text(place, "bus") : "-", place_describe(place),
			      !place                                              ? "-"
			      : json_is_true(json_object_get(place, "connected")) ? "connected"
										  : "none",
			      place ? json_member_text(place, "socket") : "-"));
}

static void disks_print(const struct model *model, const json_t *disks)
{
	static const char *const head[] = {
		"DISK",
		"SIZE",
		"KIND",
		"ACCESS",
		"BUS",
		"CONTROLLER",
		"MACHINE",
		"SOCKET",
	};
	json_t *rows = json_array();
	size_t i, j;
	json_t *disk, *place, *controller;

	json_array_foreach(disks, i, disk)
	{
		const json_t *places = json_object_get(disk, "attached");

		if (json_array_size(places) == 0)
			rows_append(rows, disk, NULL);
		json_array_foreach(places, j, place) rows_append(rows, disk, place);
	}
	json_array_foreach(model->controllers, i, controller)
	{
		if (!controller_is_empty(controller))
			continue;
		place = place_of_controller(controller, NULL, NULL);
		rows_append(rows, NULL, place);
		json_decref(place);
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
	int rc = options_read(argc, argv, &options, &json);

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
		disks_print(&model, disks);
	json_decref(disks);
	model_free(&model);
	client_close(client);
	return CLI_OK;
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
