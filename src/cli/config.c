/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice config save|load|missing|retry|forget: the configuration as a file, and what the daemon
 * could not set up again after a restart. Files are those of SPDK's save_config and load_config.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli_impl.h"

static const char help[] =
	"usage: sluice config COMMAND [OPTION...]\n"
	"\n"
	"The daemon keeps what is configured in its state directory and has it again after a\n"
	"restart. These commands are for having it as a file, and for what is missing.\n"
	"\n"
	"  save [FILE]    write the configuration, to FILE or to the standard output\n"
	"  load FILE      make all the calls that are in FILE\n"
	"  missing        what is configured but could not be set up at the start, and why\n"
	"  retry          try to set it up again\n"
	"  forget NAME    drop what is missing under that name; --all: all of it\n"
	"\n"
	"FILE is what SPDK's save_config writes; sluice serve -c FILE starts with it.\n"
	"\n" CLIENT_HELP "      --json             print JSON\n"
	"\n"
	"  sluice config save /root/disks.json\n"
	"  sluice config load /root/disks.json\n"
	"  sluice config missing\n"
	"  sluice config retry\n"
	"  sluice config forget old.disk\n";

struct config_work {
	struct client *client;
	const char *word; /* NULL: none */
	bool all;
	bool json;
};

/* NULL after a sentence. */
static json_t *config_call(struct config_work *work, const char *method, json_t *params)
{
	json_t *result = client_call(work->client, method, params);

	if (!result)
		cli_error("%s: %s", method, client_error_text(work->client));
	return result;
}

/* ---- save ---------------------------------------------------------------------------------- */

static json_t *config_collect(struct config_work *work)
{
	json_t *subsystems = config_call(work, "framework_get_subsystems", NULL);
	json_t *root = json_pack("{s:[]}", "subsystems");
	json_t *subsystem;
	size_t i;

	json_array_foreach(subsystems, i, subsystem)
	{
		const char *name = json_member_text(subsystem, "subsystem");
		json_t *config =
			config_call(work, "framework_get_config", json_pack("{s:s}", "name", name));

		if (!config) {
			json_decref(subsystems);
			json_decref(root);
			return NULL;
		}
		json_array_append_new(json_object_get(root, "subsystems"),
			json_pack("{s:s, s:o}", "subsystem", name, "config", config));
	}
	if (!subsystems) {
		json_decref(root);
		return NULL;
	}
	json_decref(subsystems);
	return root;
}

static bool config_save(struct config_work *work)
{
	json_t *root = config_collect(work);
	bool ok = root != NULL;

	if (ok && !work->word) {
		json_print(root);
	} else if (ok && json_dump_file(root, work->word, JSON_INDENT(2))) {
		cli_error("cannot write %s: %s", work->word, strerror(errno));
		ok = false;
	}
	json_decref(root);
	return ok;
}

/* ---- load ---------------------------------------------------------------------------------- */

static bool methods_have(const json_t *methods, const char *name)
{
	const json_t *method;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)methods, i, method)
	{
		if (strcmp(json_string_value(method), name) == 0)
			return true;
	}
	return false;
}

/* One call, or a batch of them. Those that may be called now are, and are taken out of entries. */
static bool entries_call(
	struct config_work *work, json_t *entries, const json_t *methods, bool *ret_any)
{
	size_t i = 0;

	while (i < json_array_size(entries)) {
		json_t *entry = json_array_get(entries, i);
		const char *method = json_member_text(entry, "method");
		json_t *result;

		if (json_is_array(entry) && !entries_call(work, entry, methods, ret_any))
			return false;
		if (json_is_array(entry) ? json_array_size(entry) > 0
					 : !methods_have(methods, method)) {
			i++;
			continue;
		}
		if (!json_is_array(entry)) {
			result = config_call(
				work, method, json_incref(json_object_get(entry, "params")));
			if (!result)
				return false;
			json_decref(result);
			*ret_any = true;
		}
		json_array_remove(entries, i);
	}
	return true;
}

static bool subsystems_call(struct config_work *work, const json_t *subsystems, bool *ret_any)
{
	json_t *methods = config_call(work, "rpc_get_methods", json_pack("{s:b}", "current", 1));
	bool ok = methods != NULL;
	json_t *subsystem;
	json_t *result;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)subsystems, i, subsystem)
	{
		if (ok)
			ok = entries_call(
				work, json_object_get(subsystem, "config"), methods, ret_any);
	}
	if (ok && methods_have(methods, "framework_start_init")) {
		result = config_call(work, "framework_start_init", NULL);
		ok = result != NULL;
		*ret_any = true;
		json_decref(result);
	}
	json_decref(methods);
	return ok;
}

static bool left_tell(const json_t *subsystems)
{
	const json_t *subsystem;
	size_t i;
	bool left = false;

	json_array_foreach((json_t *)(uintptr_t)subsystems, i, subsystem)
	{
		json_t *config = json_object_get(subsystem, "config");
		const char *name = json_member_text(subsystem, "subsystem");

		if (json_array_size(config) == 0)
			continue;
		cli_error("%s of subsystem %s cannot be called now: options are for a daemon that "
			  "was started with --wait-for-rpc",
			json_member_text(json_array_get(config, 0), "method"), name);
		left = true;
	}
	return left;
}

static bool config_load(struct config_work *work)
{
	json_error_t error;
	json_t *root = json_load_file(work->word, JSON_REJECT_DUPLICATES, &error);
	const json_t *subsystems = json_object_get(root, "subsystems");
	bool any = true;
	bool ok = json_is_array(subsystems);

	if (!root && error.line < 1) /* it says of which file */
		cli_error("cannot read the configuration: %s", error.text);
	else if (!root)
		cli_error("cannot read %s: %s (line %d)", work->word, error.text, error.line);
	else if (!ok)
		cli_error("%s is no configuration: it has no array of subsystems", work->word);
	while (ok && any) {
		any = false;
		ok = subsystems_call(work, subsystems, &any);
	}
	if (ok)
		left_tell(subsystems);
	json_decref(root);
	return ok;
}

/* ---- what is missing ----------------------------------------------------------------------- */

static bool missing_print(struct config_work *work, json_t *missing)
{
	static const char *const head[] = {"METHOD", "NAME", "ERROR"};
	static const char *const names[] = {"name", "ctrlr", "base_bdev"};
	json_t *rows = json_array();
	json_t *entry;
	size_t i;

	if (!missing)
		return false;
	json_array_foreach(missing, i, entry)
	{
		const json_t *params = json_object_get(entry, "params");
		const char *name = "";

		for (size_t n = 0; n < ARRAY_SIZE(names) && !*name; n++)
			name = json_member_text(params, names[n]);
		json_array_append_new(
			rows, json_pack("[s, s, s]", json_member_text(entry, "method"), name,
				      json_member_text(entry, "error")));
	}
	if (work->json)
		json_print(missing);
	else
		table_print(head, ARRAY_SIZE(head), rows);
	json_decref(rows);
	json_decref(missing);
	return true;
}

static bool config_missing(struct config_work *work)
{
	return missing_print(work, config_call(work, "config_get_missing", NULL));
}

/* Something is still missing: told as a failure. */
static bool config_retry(struct config_work *work)
{
	json_t *missing = config_call(work, "config_retry_missing", NULL);
	bool all_there = json_array_size(missing) == 0;

	return missing_print(work, missing) && all_there;
}

static bool config_forget(struct config_work *work)
{
	json_t *params = work->word ? json_pack("{s:s}", "name", work->word) : NULL;
	json_t *result;

	if (!work->word == !work->all) {
		cli_error("say what is to be forgotten: a name, or --all");
		json_decref(params);
		return false;
	}
	result = client_call(work->client, "config_forget_missing", params);
	if (!result && client_error_code(work->client) == -ENOENT)
		cli_error(
			"nothing of the name %s is missing: 'sluice config missing' lists what is",
			work->word);
	else if (!result)
		cli_error("config_forget_missing: %s", client_error_text(work->client));
	json_decref(result);
	return result != NULL;
}

/* ---- which --------------------------------------------------------------------------------- */

static const struct config_command {
	const char *name;
	bool (*run)(struct config_work *work);
	int min_words, max_words;
} commands[] = {
	{"save", config_save, 0, 1},
	{"load", config_load, 1, 1},
	{"missing", config_missing, 0, 0},
	{"retry", config_retry, 0, 0},
	{"forget", config_forget, 0, 1},
};

static const struct config_command *command_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static int command_run(const struct config_command *command, const struct client_options *options,
	struct config_work *work)
{
	bool ok;

	work->client = client_open(options);
	if (!work->client)
		return CLI_FAILED;
	ok = command->run(work);
	client_close(work->client);
	return ok ? CLI_OK : CLI_FAILED;
}

int cli_config(int argc, char **argv)
{
	enum { CONFIG_JSON = 256, CONFIG_ALL };
	static char program[] = "sluice config";
	static const struct option options[] = {
		CLIENT_LONG_OPTIONS,
		{"json", no_argument, NULL, CONFIG_JSON},
		{"all", no_argument, NULL, CONFIG_ALL},
		{0},
	};
	const struct config_command *command;
	struct client_options client = {0};
	struct config_work work = {0};
	int option;

	argv[0] = program; /* in getopt's sentences */
	while ((option = getopt_long(argc, argv, CLIENT_SHORT_OPTIONS, options, NULL)) != -1) {
		if (option == 'h') {
			printf("%s", help);
			return CLI_OK;
		}
		if (option == CONFIG_JSON)
			work.json = true;
		else if (option == CONFIG_ALL)
			work.all = true;
		else if (!client_options_take(&client, option))
			return CLI_USAGE;
	}
	command = optind < argc ? command_find(argv[optind]) : NULL;
	if (!command || argc - optind - 1 < command->min_words ||
		argc - optind - 1 > command->max_words) {
		cli_error("it is save [FILE], load FILE, missing, retry or forget NAME; see sluice "
			  "config --help");
		return CLI_USAGE;
	}
	work.word = argv[optind + 1]; /* NULL at the end */
	return command_run(command, &client, &work);
}
