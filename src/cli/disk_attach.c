/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice disk attach: puts a disk on a machine's controller and says how QEMU is told.
 *
 * The disk is a block device that the daemon has, or a file or device node, for which one is made
 * (once: a file that is attached twice is one block device). The controller is made when there is
 * none of that name. Steps: file (only with --size), block device, controller, target, and the
 * socket of a SCSI controller; a step that fails takes back those that this command has made
 * before, newest first.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli_impl.h"

static const char help[] =
	"usage: sluice disk attach [OPTION...] DISK\n"
	"\n"
	"Puts DISK, a file, a device node or a block device of the daemon, on a controller and\n"
	"prints the arguments with which QEMU gets it.\n"
	"\n" CLIENT_HELP "      --bus scsi|blk     kind of a new controller (default: scsi)\n"
	"      --controller NAME  the controller, made unless it exists (default: DISK.scsi or\n"
	"                         DISK.blk)\n"
	"      --target N         SCSI target number (default: the lowest free)\n"
	"      --lun N            LUN behind --target, which may be in use (default: 0)\n"
	"      --readonly         the machine cannot write\n"
	"      --when-full WHAT   what becomes of a write that finds no space: wait until there "
	"is\n"
	"                         some, or error (default: blk wait, scsi error, which has a "
	"status\n"
	"                         for it)\n"
	"      --removable        the machine can eject DISK (bus scsi)\n"
	"      --shared           DISK may be on other controllers: for machines that share it\n"
	"      --raw              DISK is the machine's disk byte by byte, whatever it looks like\n"
	"      --size SIZE        make DISK, a sparse file, unless it exists: 512M, 10G\n"
	"      --json             print JSON\n";

struct attach {
	/* what was asked for */
	struct client_options daemon;
	const char *disk;
	const char *bus; /* NULL: not said */
	const char *controller; /* NULL: not said */
	const char *when_full; /* NULL: not said */
	int target; /* -1: the lowest free */
	int lun; /* -1: not said, so the target must be free */
	bool readonly;
	bool removable;
	bool shared;
	bool raw;
	bool json;
	uint64_t size_bytes; /* 0: not said */

	/* what came of it */
	struct client *client;
	struct model model;
	char *file; /* absolute; NULL: a block device was named */
	char bdev[256];
	char name[264]; /* of the controller */
	bool scsi;
	bool bdev_readonly;
	bool made_file;
	bool made_bdev;
	bool made_controller;
	bool connected; /* a machine to the controller, before the disk came */
};

static bool attach_call(
	struct attach *attach, const char *method, json_t *params, json_t **ret_result)
{
	json_t *result = client_call(attach->client, method, params);

	if (!result)
		cli_error("%s: %s", attach->disk, client_error_text(attach->client));
	if (ret_result)
		*ret_result = result;
	else
		json_decref(result);
	return result != NULL;
}

/* ---- the block device ---------------------------------------------------------------------- */

static void attach_take_bdev(struct attach *attach, const json_t *bdev)
{
	snprintf(attach->bdev, sizeof(attach->bdev), "%s", bdev_label(bdev));
	attach->bdev_readonly = bdev_is_read_only(bdev);
}

/* A file that the daemon may read and not write makes a device that is read-only. */
static bool attach_check_access(struct attach *attach)
{
	json_t *list;

	if (!attach_call(attach, "bdev_get_bdevs", json_pack("{s:s}", "name", attach->bdev), &list))
		return false;
	attach->bdev_readonly = bdev_is_read_only(json_array_get(list, 0));
	json_decref(list);
	if (attach->readonly || !attach->bdev_readonly)
		return true;
	cli_error("the daemon may not write %s: say --readonly, or let the daemon's user write it",
		attach->disk);
	return false;
}

static bool attach_open_file(struct attach *attach)
{
	if (!image_check(attach->file, attach->readonly, attach->raw))
		return false;
	bdev_name_choose(&attach->model, attach->file, attach->bdev, sizeof(attach->bdev));
	attach->made_bdev = attach_call(attach, "bdev_aio_create",
		json_pack("{s:s, s:s, s:b}", "name", attach->bdev, "filename", attach->file,
			"readonly", (int)attach->readonly),
		NULL);
	return attach->made_bdev && attach_check_access(attach);
}

static bool attach_check_word(const struct attach *attach, const json_t *bdev)
{
	if (bdev && !attach->file && attach->size_bytes) {
		cli_error("%s is a block device that exists already: leave out --size, or say ./%s "
			  "for a file",
			attach->disk, attach->disk);
		return false;
	}
	if (bdev && attach->made_file) {
		cli_error("a file %s that has been removed is still open as disk %s: detach that "
			  "first",
			attach->file, json_member_text(bdev, "name"));
		return false;
	}
	if (!bdev && !attach->file) {
		cli_error("there is neither a block device nor a file %s: give --size to make the "
			  "file, or see sluice disk list",
			attach->disk);
		return false;
	}
	return true;
}

static bool attach_find_bdev(struct attach *attach)
{
	const json_t *bdev;

	if (attach->size_bytes && !model_bdev(&attach->model, attach->disk) &&
		!image_make(attach->disk, attach->size_bytes, &attach->made_file))
		return false;
	if (!disk_word_find(&attach->model, attach->disk, false, &bdev, &attach->file) ||
		!attach_check_word(attach, bdev))
		return false;
	if (!bdev)
		return attach_open_file(attach);
	attach_take_bdev(attach, bdev);
	return true;
}

/* Two machines that write one disk, unaware of each other, destroy what is on it. */
static bool attach_check_sharing(const struct attach *attach)
{
	const json_t *bdev = model_bdev(&attach->model, attach->bdev);
	json_t *places = bdev ? places_of_bdev(&attach->model, bdev) : json_array();
	const char *controller = json_member_text(json_array_get(places, 0), "controller");
	bool ok = json_array_size(places) == 0 || attach->shared || attach->readonly ||
		  attach->bdev_readonly;

	if (!ok)
		cli_error("%s is on controller %s already: detach it first, or say --shared if its "
			  "machines know how to share a disk",
			attach->bdev, controller);
	json_decref(places);
	return ok;
}

/* ---- the controller ------------------------------------------------------------------------ */

static bool attach_choose_bus(struct attach *attach, const json_t *controller)
{
	bool scsi = !attach->bus || strcmp(attach->bus, "scsi") == 0;

	if (controller) {
		bool is_scsi = controller_targets(controller) != NULL;

		if (attach->bus && scsi != is_scsi) {
			cli_error("controller %s is not for %s: choose another with --controller",
				attach->name, attach->bus);
			return false;
		}
		scsi = is_scsi;
	}
	if (controller && !scsi) {
		cli_error("controller %s has its disk already: choose another with --controller",
			attach->name);
		return false;
	}
	if (!scsi && attach->target >= 0) {
		cli_error("a blk controller has no targets: leave out --target");
		return false;
	}
	if (attach->lun >= 0 && attach->target < 0) {
		cli_error("a LUN is behind a target: say which with --target");
		return false;
	}
	if (!scsi && attach->removable) {
		cli_error("a blk controller's disk cannot be ejected: leave out --removable");
		return false;
	}
	attach->scsi = scsi;
	return true;
}

/* Of a controller that exists it was said when it was made. */
static bool attach_check_when_full(const struct attach *attach, const json_t *controller)
{
	const char *when_full = json_member_text(controller, "when_full");

	if (!attach->when_full || strcmp(attach->when_full, when_full) == 0)
		return true;
	cli_error("controller %s was made with --when-full %s, which is for all its disks: choose "
		  "another with --controller",
		attach->name, when_full[0] ? when_full : "error");
	return false;
}

static bool attach_make_controller(struct attach *attach)
{
	const json_t *controller;
	json_t *params;

	/* The bus in the name: sockets may be where the disk's file is. */
	if (attach->controller)
		snprintf(attach->name, sizeof(attach->name), "%s", attach->controller);
	else
		snprintf(attach->name, sizeof(attach->name), "%s.%s", attach->bdev,
			attach->bus ? attach->bus : "scsi");
	if (!attach->controller)
		name_make_plain(attach->name);
	controller = model_controller(&attach->model, attach->name);
	if (!attach_choose_bus(attach, controller))
		return false;
	attach->connected = controller && controller_is_connected(controller);
	if (controller)
		return attach_check_when_full(attach, controller);
	/* A machine that connects again must find its disk: the socket comes after the target. */
	if (attach->scsi)
		params = json_pack("{s:s, s:b}", "ctrlr", attach->name, "delay", 1);
	else
		params = json_pack("{s:s, s:s, s:b}", "ctrlr", attach->name, "dev_name",
			attach->bdev, "readonly", (int)attach->readonly);
	if (attach->when_full)
		json_object_set_new(params, "when_full", json_string(attach->when_full));
	attach->made_controller = attach_call(attach,
		attach->scsi ? "vhost_create_scsi_controller" : "vhost_create_blk_controller",
		params, NULL);
	return attach->made_controller;
}

static bool attach_add_target(struct attach *attach)
{
	json_t *params, *target;

	if (!attach->scsi)
		return true;
	params = json_pack("{s:s, s:i, s:s}", "ctrlr", attach->name, "scsi_target_num",
		attach->target, "bdev_name", attach->bdev);
	if (attach->lun >= 0)
		json_object_set_new(params, "lun", json_integer(attach->lun));
	if (attach->readonly)
		json_object_set_new(params, "readonly", json_true());
	if (attach->removable)
		json_object_set_new(params, "removable", json_true());
	if (!attach_call(attach, "vhost_scsi_controller_add_target", params, &target))
		return false;
	attach->target = (int)json_integer_value(target);
	json_decref(target);
	return !attach->made_controller || attach_call(attach, "vhost_start_scsi_controller",
						   json_pack("{s:s}", "ctrlr", attach->name), NULL);
}

/* ---- what to tell -------------------------------------------------------------------------- */

/* In QEMU's options a comma in a value is written twice. */
static json_t *qemu_option(const char *before, const char *value, const char *after)
{
	char text[2 * PATHS_MAX + 64];
	size_t len = (size_t)snprintf(text, sizeof(text), "%s", before);

	for (; *value && len < sizeof(text) - 2; value++) {
		if (*value == ',')
			text[len++] = ',';
		text[len++] = *value;
	}
	snprintf(text + len, sizeof(text) - len, "%s", after);
	return json_string(text);
}

/* A guest whose QEMU connects again goes on when the daemon was killed and has its disks again.
 * With vhost-user-scsi that is so from QEMU 8.2 on, and those before do not even start with it. */
static json_t *qemu_arguments(const struct attach *attach, const char *socket)
{
	char chardev[512], device[1024], id[sizeof(attach->name)];

	/* It begins with a letter and has letters, digits, "-", "." and "_". */
	snprintf(id, sizeof(id), "%s", attach->name);
	name_make_plain(id);
	snprintf(chardev, sizeof(chardev), "socket,id=char-%s,path=", id);
	snprintf(device, sizeof(device), "vhost-user-%s-pci,id=disk-%s,chardev=char-%s",
		attach->scsi ? "scsi" : "blk", id, id);
	return json_pack("[s, s, s, s, s, o, s, s]", "-object",
		"memory-backend-memfd,id=mem,size=2G,share=on", "-machine", "memory-backend=mem",
		"-chardev", qemu_option(chardev, socket, attach->scsi ? "" : ",reconnect=1"),
		"-device", device);
}

static void attach_print(const struct attach *attach, const char *socket, const json_t *arguments)
{
	size_t i;

	if (attach->scsi && attach->lun > 0)
		printf("%s is LUN %d of target %d of the SCSI controller %s.\n", attach->bdev,
			attach->lun, attach->target, attach->name);
	else if (attach->scsi)
		printf("%s is target %d of the SCSI controller %s.\n", attach->bdev, attach->target,
			attach->name);
	else
		printf("%s is the block controller %s.\n", attach->bdev, attach->name);
	printf("Its socket is %s.\n\n", socket);
	if (attach->connected) {
		printf("A machine is connected to it and sees the disk now.\n");
		return;
	}
	printf("Give QEMU these arguments (2G is the size of the machine's memory, as in -m 2G; a\n"
	       "machine with more controllers has the first two once):\n");
	for (i = 0; i + 1 < json_array_size(arguments); i += 2) {
		printf("%s\n  %s ", i ? " \\" : "",
			json_string_value(json_array_get(arguments, i)));
		shell_print(json_string_value(json_array_get(arguments, i + 1)));
	}
	printf("\n");
	if (attach->scsi)
		printf("\nFrom QEMU 8.2 on, add ,reconnect=1 to -chardev: then the machine goes on "
		       "after\na restart of the daemon.\n");
}

static bool attach_tell(struct attach *attach)
{
	json_t *controllers, *arguments;
	const char *socket;

	if (!attach_call(attach, "vhost_get_controllers", json_pack("{s:s}", "name", attach->name),
		    &controllers))
		return false;
	socket = json_member_text(json_array_get(controllers, 0), "socket");
	arguments = qemu_arguments(attach, socket);
	if (attach->json) {
		json_t *told = json_pack("{s:s, s:s, s:s, s:s, s:o}", "disk", attach->bdev, "bus",
			attach->scsi ? "scsi" : "blk", "controller", attach->name, "socket", socket,
			"qemu", json_incref(arguments));

		if (attach->scsi) {
			json_object_set_new(told, "target", json_integer(attach->target));
			json_object_set_new(
				told, "lun", json_integer(attach->lun < 0 ? 0 : attach->lun));
		}
		json_print(told);
		json_decref(told);
	} else {
		attach_print(attach, socket, arguments);
	}
	json_decref(arguments);
	json_decref(controllers);
	return true;
}

/* ---- the command --------------------------------------------------------------------------- */

static void attach_undo(struct attach *attach)
{
	if (attach->made_controller)
		json_decref(client_call(attach->client, "vhost_delete_controller",
			json_pack("{s:s}", "ctrlr", attach->name)));
	if (attach->made_bdev)
		json_decref(client_call(attach->client, "bdev_aio_delete",
			json_pack("{s:s}", "name", attach->bdev)));
	if (attach->made_file)
		unlink(attach->disk);
}

static bool attach_run(struct attach *attach)
{
	bool ok;

	attach->client = client_open(&attach->daemon);
	if (!attach->client)
		return false;
	ok = client_lock(attach->client) && model_load(attach->client, &attach->model);
	if (ok) {
		ok = attach_find_bdev(attach) && attach_check_sharing(attach) &&
		     attach_make_controller(attach) && attach_add_target(attach) &&
		     attach_tell(attach);
		if (!ok)
			attach_undo(attach);
		model_free(&attach->model);
	}
	free(attach->file);
	client_close(attach->client);
	return ok;
}

enum {
	OPTION_BUS = 256,
	OPTION_CONTROLLER,
	OPTION_TARGET,
	OPTION_LUN,
	OPTION_READONLY,
	OPTION_REMOVABLE,
	OPTION_SHARED,
	OPTION_RAW,
	OPTION_SIZE,
	OPTION_WHEN_FULL,
	OPTION_JSON
};

static const struct option long_options[] = {
	CLIENT_LONG_OPTIONS,
	{"bus", required_argument, NULL, OPTION_BUS},
	{"controller", required_argument, NULL, OPTION_CONTROLLER},
	{"target", required_argument, NULL, OPTION_TARGET},
	{"lun", required_argument, NULL, OPTION_LUN},
	{"readonly", no_argument, NULL, OPTION_READONLY},
	{"removable", no_argument, NULL, OPTION_REMOVABLE},
	{"shared", no_argument, NULL, OPTION_SHARED},
	{"raw", no_argument, NULL, OPTION_RAW},
	{"size", required_argument, NULL, OPTION_SIZE},
	{"when-full", required_argument, NULL, OPTION_WHEN_FULL},
	{"json", no_argument, NULL, OPTION_JSON},
	{0},
};

static bool size_read(struct attach *attach, const char *text)
{
	if (size_parse(text, &attach->size_bytes) || attach->size_bytes == 0 ||
		attach->size_bytes > INT64_MAX || attach->size_bytes % 512) {
		cli_error("--size is a multiple of 512 bytes such as 512M or 10G, not '%s'", text);
		return false;
	}
	return true;
}

static bool when_full_read(struct attach *attach, const char *text)
{
	attach->when_full = text;
	if (strcmp(text, "wait") == 0 || strcmp(text, "error") == 0)
		return true;
	cli_error("--when-full is wait or error, not '%s'", text);
	return false;
}

static bool option_take(struct attach *attach, int option)
{
	switch (option) {
	case OPTION_BUS:
		attach->bus = optarg;
		if (strcmp(optarg, "scsi") == 0 || strcmp(optarg, "blk") == 0)
			return true;
		cli_error("--bus is scsi or blk, not '%s'", optarg);
		return false;
	case OPTION_CONTROLLER:
		attach->controller = optarg;
		return true;
	case OPTION_TARGET:
		return cli_number_read("--target", optarg, CLI_TARGET_MAX, &attach->target);
	case OPTION_LUN:
		return cli_number_read("--lun", optarg, CLI_LUN_MAX, &attach->lun);
	case OPTION_READONLY:
		attach->readonly = true;
		return true;
	case OPTION_REMOVABLE:
		attach->removable = true;
		return true;
	case OPTION_SHARED:
		attach->shared = true;
		return true;
	case OPTION_RAW:
		attach->raw = true;
		return true;
	case OPTION_SIZE:
		return size_read(attach, optarg);
	case OPTION_WHEN_FULL:
		return when_full_read(attach, optarg);
	case OPTION_JSON:
		attach->json = true;
		return true;
	default:
		return client_options_take(&attach->daemon, option);
	}
}

int cli_disk_attach(int argc, char **argv)
{
	static char program[] = "sluice disk attach";
	struct attach attach = {.target = -1, .lun = -1};
	int option;

	argv[0] = program; /* in getopt's sentences */
	while ((option = getopt_long(argc, argv, CLIENT_SHORT_OPTIONS, long_options, NULL)) != -1) {
		if (option == 'h') {
			printf("%s", help);
			return CLI_OK;
		}
		if (!option_take(&attach, option))
			return CLI_USAGE;
	}
	if (argc - optind != 1 || !argv[optind][0]) {
		cli_error("name one disk: see sluice disk attach --help");
		return CLI_USAGE;
	}
	attach.disk = argv[optind];
	return attach_run(&attach) ? CLI_OK : CLI_FAILED;
}
