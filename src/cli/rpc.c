/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice rpc METHOD [JSON]: any method of the daemon; sluice rpc METHOD --help: what it takes.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_impl.h"

static const char help[] =
	"usage: sluice rpc [OPTION...] METHOD [JSON]\n"
	"\n"
	"Calls a method of the daemon with JSON (an object) as its parameters and prints the\n"
	"result. 'sluice rpc rpc_get_methods' lists all methods, 'sluice rpc METHOD --help'\n"
	"says what a method takes.\n"
	"\n" CLIENT_HELP "\n"
	"  sluice rpc bdev_get_bdevs\n"
	"  sluice rpc bdev_null_create "
	"'{\"name\":\"n0\",\"num_blocks\":2048,\"block_size\":512}'\n";

static int rpc_call(const struct client_options *options, const char *method, json_t *params)
{
	struct client *client = client_open(options);
	json_t *result;

	if (!client) {
		json_decref(params);
		return CLI_FAILED;
	}
	result = client_call(client, method, params);
	if (result) {
		json_print(result);
		json_decref(result);
	} else if (client_error_code(client)) {
		cli_error("%s: %s (code %d)", method, client_error_text(client),
			client_error_code(client));
	} else {
		cli_error("%s: %s", method, client_error_text(client));
	}
	client_close(client);
	return result ? CLI_OK : CLI_FAILED;
}

/* One parameter: its name, what it may be, and what it is when it is left out. */
static json_t *param_row(const json_t *param)
{
	const json_t *choices = json_object_get(param, "choices");
	char *choice_text = json_dumps(choices, JSON_COMPACT);
	char *absent = json_dumps(json_object_get(param, "default"), JSON_ENCODE_ANY);
	const char *needed = "required";
	json_t *row;

	if (!json_is_true(json_object_get(param, "required")))
		needed = absent ? absent : "-";
	row = json_pack("[s, s, s]", json_member_text(param, "name"),
		choice_text ? choice_text : json_member_text(param, "type"), needed);
	free(absent);
	free(choice_text);
	return row;
}

/* The daemon knows. */
static int rpc_describe(const struct client_options *options, const char *method)
{
	static const char *const head[] = {"PARAMETER", "TYPE", "DEFAULT"};
	struct client *client = client_open(options);
	json_t *rows = json_array();
	json_t *result = NULL;
	json_t *param;
	size_t i;
	bool ok;

	if (client)
		result = client_call(
			client, "rpc_describe_methods", json_pack("{s:s}", "name", method));
	if (client && !result)
		cli_error("%s: %s", method, client_error_text(client));
	json_array_foreach(json_object_get(json_array_get(result, 0), "params"), i, param)
		json_array_append_new(rows, param_row(param));
	if (result && json_array_size(rows))
		table_print(head, ARRAY_SIZE(head), rows);
	else if (result)
		printf("%s takes no parameters\n", method);
	if (client)
		client_close(client);
	json_decref(rows);
	ok = result != NULL;
	json_decref(result);
	return ok ? CLI_OK : CLI_FAILED;
}

/* NULL after a sentence on stderr. */
static json_t *params_read(const char *text)
{
	json_error_t error;
	json_t *params = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);

	if (json_is_object(params))
		return params;
	if (params)
		cli_error(
			"the parameters are an object, such as '{\"name\":\"n0\"}', not %s", text);
	else if (json_error_code(&error) == json_error_duplicate_key)
		cli_error("a parameter comes twice (%s): say it once", error.text);
	else
		cli_error("the parameters are not JSON (%s at character %d): put them in single "
			  "quotes",
			error.text, error.position);
	json_decref(params);
	return NULL;
}

int cli_rpc(int argc, char **argv)
{
	static char program[] = "sluice rpc";
	static const struct option options[] = {
		CLIENT_LONG_OPTIONS,
		{0},
	};
	struct client_options client = {0};
	json_t *params = NULL;
	bool wants_help = false;
	int option;

	argv[0] = program; /* in getopt's sentences */
	while ((option = getopt_long(argc, argv, CLIENT_SHORT_OPTIONS, options, NULL)) != -1) {
		if (option == 'h')
			wants_help = true;
		else if (!client_options_take(&client, option))
			return CLI_USAGE;
	}
	if (wants_help && optind < argc)
		return rpc_describe(&client, argv[optind]);
	if (wants_help) {
		printf("%s", help);
		return CLI_OK;
	}
	if (argc - optind < 1 || argc - optind > 2) {
		cli_error("name one method and at most one JSON object; see sluice rpc --help");
		return CLI_USAGE;
	}
	if (argc - optind == 2) {
		params = params_read(argv[optind + 1]);
		if (!params)
			return CLI_USAGE;
	}
	return rpc_call(&client, argv[optind], params);
}
