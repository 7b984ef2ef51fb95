/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice nvme list, and which of the three it is.
 *
 * Drives are found in sysfs, so that the list is complete without a daemon. One that runs tells of
 * the drives that it has what only their driver can: model, health, temperature, wear.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_impl.h"
#include "cli/nvme_impl.h"

static const char help[] =
	"usage: sluice nvme list [OPTION...]       NVMe drives of this machine\n"
	"       sluice nvme bind ADDRESS...        give them to the daemon's driver\n"
	"       sluice nvme unbind ADDRESS...      give them back to the kernel\n"
	"\n"
	"A drive that is bound (to vfio-pci) is attached with bdev_nvme_attach_controller; its\n"
	"namespaces are disks then, and stores can be made on them. Binding is for root and needs\n"
	"an IOMMU; a drive that is in use is left alone.\n"
	"\n"
	"The list has address, model, serial number, driver, name at the daemon and, of drives\n"
	"that it has, state, health (ok, or what is wrong), temperature and wear. Not on a\n"
	"terminal: one line each, cells separated by tabs.\n"
	"\n" CLIENT_HELP "      --json             print JSON\n"
	"\n"
	"  sluice nvme list\n"
	"  sluice nvme bind 0000:01:00.0\n"
	"  sluice rpc bdev_nvme_attach_controller \\\n"
	"      '{\"name\":\"Nvme0\",\"trtype\":\"PCIe\",\"traddr\":\"0000:01:00.0\"}'\n"
	"  sluice store create fast Nvme0n1\n"
	"  sluice nvme unbind 0000:01:00.0\n";

struct nvme_work {
	struct client_options daemon;
	bool json;
};

/* ---- what the daemon says ------------------------------------------------------------------ */

/* Of the drive at that address; NULL: it has none there. New reference. */
static json_t *drive_find(const json_t *controllers, const char *address)
{
	json_t *controller;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)controllers, i, controller)
	{
		json_t *path = json_array_get(json_object_get(controller, "ctrlrs"), 0);
		json_t *trid = json_object_get(path, "trid");

		if (strcmp(json_member_text(trid, "traddr"), address) == 0)
			return json_pack("{s:O, s:O}", "name", json_object_get(controller, "name"),
				"state", json_object_get(path, "state"));
	}
	return NULL;
}

/* base 5.16.1.3: critical warning, the bits that a drive has. */
static const char *warning_text(json_int_t warning)
{
	static const char *const texts[] = {"spare low", "temperature", "unreliable", "read only",
		"no power backup", "memory read only"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (warning & 1 << i)
			return texts[i];
	}
	return warning ? "warning" : "ok";
}

static void drive_add_health(struct client *client, json_t *drive, json_t *described)
{
	json_t *health = client_call(client, "bdev_nvme_get_controller_health_info",
		json_pack("{s:O}", "name", json_object_get(drive, "name")));

	if (!health)
		return; /* it is being reset, or gone: its state says so */
	json_object_set(described, "model", json_object_get(health, "model_number"));
	json_object_set(described, "serial", json_object_get(health, "serial_number"));
	json_object_set(described, "firmware", json_object_get(health, "firmware_revision"));
	json_object_set_new(described, "health",
		json_string(warning_text(
			json_integer_value(json_object_get(health, "critical_warning")))));
	json_object_set(
		described, "temperature_celsius", json_object_get(health, "temperature_celsius"));
	json_object_set(described, "percentage_used", json_object_get(health, "percentage_used"));
	json_decref(health);
}

static json_t *function_describe(
	struct client *client, const json_t *controllers, const struct nvme_function *function)
{
	json_t *described = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "address",
		function->address, "model", function->model, "serial", function->serial, "firmware",
		function->firmware, "driver", function->driver, "iommu_group", function->group);
	json_t *drive = drive_find(controllers, function->address);

	if (drive) {
		json_object_set(described, "name", json_object_get(drive, "name"));
		json_object_set(described, "state", json_object_get(drive, "state"));
		drive_add_health(client, drive, described);
		json_decref(drive);
	}
	return described;
}

/* ---- list ---------------------------------------------------------------------------------- */

static json_t *text_cell(const json_t *described, const char *name)
{
	const char *text = json_member_text(described, name);

	return json_string(text[0] ? text : "-");
}

static json_t *number_cell(const json_t *described, const char *name, const char *unit)
{
	const json_t *number = json_object_get(described, name);

	return number ? json_sprintf("%d%s", (int)json_integer_value(number), unit)
		      : json_string("-");
}

static void functions_print(const json_t *functions)
{
	static const char *const head[] = {"ADDRESS", "MODEL", "SERIAL", "DRIVER", "DRIVE", "STATE",
		"HEALTH", "TEMPERATURE", "WEAR"};
	json_t *rows = json_array();
	json_t *function;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)functions, i, function)
	{
		json_array_append_new(rows,
			json_pack("[o, o, o, o, o, o, o, o, o]", text_cell(function, "address"),
				text_cell(function, "model"), text_cell(function, "serial"),
				text_cell(function, "driver"), text_cell(function, "name"),
				text_cell(function, "state"), text_cell(function, "health"),
				number_cell(function, "temperature_celsius", " C"),
				number_cell(function, "percentage_used", "%")));
	}
	table_print(head, ARRAY_SIZE(head), rows);
	json_decref(rows);
}

static int nvme_list(struct nvme_work *work)
{
	struct client *client = NULL;
	struct nvme_function *found;
	json_t *controllers = NULL;
	json_t *functions = json_array();
	unsigned count;

	if (work->daemon.rpc_socket || client_is_there(&work->daemon)) {
		client = client_open(&work->daemon);
		if (!client) {
			json_decref(functions);
			return CLI_FAILED;
		}
		controllers = client_call(client, "bdev_nvme_get_controllers", NULL);
	}
	count = nvme_functions_find(&found);
	for (unsigned i = 0; i < count; i++)
		json_array_append_new(functions, function_describe(client, controllers, &found[i]));
	if (work->json)
		json_print(functions);
	else
		functions_print(functions);
	free(found);
	json_decref(functions);
	json_decref(controllers);
	if (client)
		client_close(client);
	return CLI_OK;
}

/* ---- which --------------------------------------------------------------------------------- */

static int each_address(int (*fn)(const char *address), char **addresses)
{
	int code = CLI_OK;

	for (; *addresses; addresses++) {
		int rc = fn(*addresses);

		if (rc)
			code = rc;
	}
	return code;
}

static int nvme_run(struct nvme_work *work, char **words)
{
	const char *command = words[0] ? words[0] : "";

	if (strcmp(command, "list") == 0 && !words[1])
		return nvme_list(work);
	if (strcmp(command, "bind") == 0 && words[1])
		return each_address(nvme_bind, words + 1);
	if (strcmp(command, "unbind") == 0 && words[1])
		return each_address(nvme_unbind, words + 1);
	cli_error("it is list, bind ADDRESS... or unbind ADDRESS...; see sluice nvme --help");
	return CLI_USAGE;
}

int cli_nvme(int argc, char **argv)
{
	static char program[] = "sluice nvme";
	static const struct option options[] = {
		CLIENT_LONG_OPTIONS,
		{"json", no_argument, NULL, 'j'},
		{0},
	};
	struct nvme_work work = {0};
	int option;

	argv[0] = program; /* in getopt's sentences */
	while ((option = getopt_long(argc, argv, CLIENT_SHORT_OPTIONS, options, NULL)) != -1) {
		if (option == 'h') {
			printf("%s", help);
			return CLI_OK;
		}
		if (option == 'j')
			work.json = true;
		else if (!client_options_take(&work.daemon, option))
			return CLI_USAGE;
	}
	return nvme_run(&work, argv + optind);
}
