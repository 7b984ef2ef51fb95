/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice io: requests in flight, the oldest first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_impl.h"
#include "cli/top_impl.h"

static const char help[] =
	"usage: sluice io [OPTION...]      requests in flight, the oldest first\n"
	"\n"
	"Each line has the controller and queue that a request came by, its disk, how old it is,\n"
	"what it does and where, and who has it: a kind of block device and its name, or what\n"
	"keeps it from one (limit: of bdev_set_qos_limit; range_lock: others work on its blocks;\n"
	"space: there is none left; vhost: a SCSI command between two steps). The age is that of\n"
	"the present step. Nothing is recorded for this while nobody asks. Not on a terminal: one\n"
	"line each, cells separated by tabs.\n"
	"\n" CLIENT_HELP "  -o, --older-than SECONDS\n"
	"                         only those that are older\n"
	"      --json             print JSON\n"
	"\n"
	"  sluice io\n"
	"  sluice io --older-than 5\n";

struct io_command {
	struct client_options daemon;
	bool json;
	int older_than_s;
};

static json_int_t request_age(const json_t *request)
{
	return json_integer_value(json_object_get(request, "age_us"));
}

/* Those of unknown age count as young. */
static int request_compare(const void *a, const void *b)
{
	json_int_t left = request_age(*(json_t *const *)a);
	json_int_t right = request_age(*(json_t *const *)b);

	return left < right ? 1 : left > right ? -1 : 0;
}

/* New reference. */
static json_t *requests_sort(const json_t *requests)
{
	size_t count = json_array_size(requests);
	json_t **all = calloc(count + 1, sizeof(json_t *));
	json_t *sorted = json_array();

	if (!all)
		abort();
	for (size_t i = 0; i < count; i++)
		all[i] = json_array_get(requests, i);
	qsort(all, count, sizeof(json_t *), request_compare);
	for (size_t i = 0; i < count; i++)
		json_array_append(sorted, all[i]);
	free(all);
	return sorted;
}

static json_t *member_cell(const json_t *request, const char *name)
{
	const json_t *member = json_object_get(request, name);

	if (json_is_integer(member))
		return json_sprintf("%lld", (long long)json_integer_value(member));
	return json_string(json_is_string(member) ? json_string_value(member) : "-");
}

static json_t *age_cell(const json_t *request)
{
	char text[TOP_CELL_SIZE];

	if (!json_is_integer(json_object_get(request, "age_us")))
		return json_string("-");
	top_time_format(text, sizeof(text), (double)request_age(request));
	return json_string(text);
}

static void requests_print(const json_t *requests)
{
	static const char *const head[] = {"CONTROLLER", "QUEUE", "DISK", "AGE", "LAYER", "DEVICE",
		"OPERATION", "LBA", "BYTES"};
	json_t *rows = json_array();
	json_t *request;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)requests, i, request)
	{
		json_array_append_new(rows,
			json_pack("[o, o, o, o, o, o, o, o, o]", member_cell(request, "ctrlr"),
				member_cell(request, "queue"), member_cell(request, "disk"),
				age_cell(request), member_cell(request, "layer"),
				member_cell(request, "device"), member_cell(request, "operation"),
				member_cell(request, "lba"), member_cell(request, "length")));
	}
	table_print(head, ARRAY_SIZE(head), rows);
	json_decref(rows);
}

static int io_run(const struct io_command *command)
{
	struct client *client = client_open(&command->daemon);
	json_t *answer, *requests;
	json_int_t more;

	if (!client)
		return CLI_FAILED;
	answer = client_call(client, "vhost_get_requests",
		json_pack("{s:i}", "older_than_ms", command->older_than_s * 1000));
	client_close(client);
	if (!answer)
		return CLI_FAILED;
	requests = requests_sort(json_object_get(answer, "requests"));
	more = json_integer_value(json_object_get(answer, "more"));
	if (command->json)
		json_print(requests);
	else
		requests_print(requests);
	if (more)
		fprintf(stderr, "sluice io: there are %lld more\n", (long long)more);
	json_decref(requests);
	json_decref(answer);
	return cli_flush(CLI_OK);
}

int cli_io(int argc, char **argv)
{
	static char program[] = "sluice io";
	static const struct option options[] = {
		CLIENT_LONG_OPTIONS,
		{"older-than", required_argument, NULL, 'o'},
		{"json", no_argument, NULL, 'j'},
		{0},
	};
	struct io_command command = {0};
	int option;

	argv[0] = program; /* in getopt's sentences */
	while ((option = getopt_long(argc, argv, CLIENT_SHORT_OPTIONS "o:", options, NULL)) != -1) {
		if (option == 'h') {
			printf("%s", help);
			return CLI_OK;
		}
		if (option == 'j') {
			command.json = true;
		} else if (option == 'o') {
			if (!cli_number_read(
				    "--older-than", optarg, 1000000, &command.older_than_s))
				return CLI_USAGE;
		} else if (!client_options_take(&command.daemon, option)) {
			return CLI_USAGE;
		}
	}
	if (argc > optind) {
		cli_error("io takes no words; see sluice io --help");
		return CLI_USAGE;
	}
	return io_run(&command);
}
