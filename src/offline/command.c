/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice check: the command line, and what is printed.
 */
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "offline/check.h"
#include "offline/offline.h"

static const char help[] =
	"usage: sluice check [OPTION...] FILE\n"
	"\n"
	"Looks at the volume store on FILE, a file or block device that no daemon has open: every\n"
	"structure, and what they say of each other. Nothing is written without --repair. Each\n"
	"fault is told with its volume and metadata page, what it leads to, and what can be done.\n"
	"\n"
	"      --repair           mend what can be mended without losing anything\n"
	"      --lose             with --repair: also what cannot, which gives up what is said\n"
	"      --json             print JSON\n"
	"\n"
	"Exit code 0: there are no faults, or none are left; 1: faults remain; 2: usage.\n";

struct check_command {
	struct check_options check;
	bool json;
	const char *path;
};

/* ---- words --------------------------------------------------------------------------------- */

static void complain(const char *fmt, ...) PRINTF_LIKE(1, 2);

static void complain(const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "sluice: ");
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\n");
}

static const char *fault_remedy(const struct fault *fault)
{
	static const char *const remedies[] = {
		[REMEDY_NONE] = "none",
		[REMEDY_REPAIR] = "repair",
		[REMEDY_LOSE] = "lose",
	};

	return remedies[fault->remedy];
}

static const char *fault_advice(const struct fault *fault)
{
	if (fault->mended)
		return "mended";
	if (fault->remedy == REMEDY_REPAIR)
		return "--repair mends it";
	return fault->remedy == REMEDY_LOSE ? "--repair --lose gives it up"
					    : "it cannot be mended here";
}

static const char *report_result(const struct check_report *report, int rc)
{
	if (rc)
		return "failed";
	if (report->remaining)
		return "faults";
	return report->num_faults ? "repaired" : "clean";
}

/* ---- for people ---------------------------------------------------------------------------- */

static void fault_print(const struct fault *fault)
{
	if (fault->volume[0])
		printf("%s (blob %#" PRIx64 ")", fault->volume, fault->blob);
	else if (fault->blob)
		printf("blob %#" PRIx64, fault->blob);
	else
		printf("store");
	if (fault->page != FAULT_NO_PAGE)
		printf(", page %u", fault->page);
	printf(": %s\n    %s\n    %s\n", fault->text, fault->consequence, fault_advice(fault));
}

static void store_print(const struct check_command *command, const struct check_report *report)
{
	char size[32], used[32];
	uint64_t cluster = report->cluster_size;

	size_format(report->clusters * cluster, size, sizeof(size));
	size_format(report->clusters_used * cluster, used, sizeof(used));
	printf("%s: %s%s%s, %u volumes, %s of %s and %u of %u metadata pages in use, %s\n",
		command->path, report->type[0] ? report->type : "blobstore",
		report->name[0] ? " " : "", report->name, report->volumes, used, size,
		report->pages_used, report->pages, report->closed ? "closed" : "not closed");
}

static void report_print(const struct check_command *command, const struct check_report *report)
{
	unsigned mended = report->num_faults - report->remaining;

	for (unsigned i = 0; i < report->num_faults; i++)
		fault_print(&report->faults[i]);
	if (report->readable)
		store_print(command, report);
	if (!report->num_faults)
		printf("no faults\n");
	else
		printf("%u faults, %u of them mended\n", report->num_faults, mended);
}

/* ---- for programs -------------------------------------------------------------------------- */

static json_t *fault_describe(const struct fault *fault)
{
	json_t *described = json_pack("{s:s, s:s, s:s, s:s, s:b}", "kind", fault->kind, "text",
		fault->text, "consequence", fault->consequence, "remedy", fault_remedy(fault),
		"mended", (int)fault->mended);

	if (fault->blob)
		json_object_set_new(described, "blob", json_integer((json_int_t)fault->blob));
	if (fault->volume[0])
		json_object_set_new(described, "volume", json_string(fault->volume));
	if (fault->page != FAULT_NO_PAGE)
		json_object_set_new(described, "page", json_integer(fault->page));
	return described;
}

static void report_print_json(
	const struct check_command *command, const struct check_report *report, int rc)
{
	json_t *faults = json_array();
	json_t *described = json_pack("{s:s, s:s, s:i, s:i}", "device", command->path, "result",
		report_result(report, rc), "remaining", (int)report->remaining, "mended",
		(int)(report->num_faults - report->remaining));

	for (unsigned i = 0; i < report->num_faults; i++)
		json_array_append_new(faults, fault_describe(&report->faults[i]));
	json_object_set_new(described, "faults", faults);
	if (report->readable) {
		json_t *store = json_pack("{s:s, s:b, s:i, s:I, s:I, s:I, s:I, s:I}", "type",
			report->type, "closed", (int)report->closed, "volumes",
			(int)report->volumes, "cluster_bytes", (json_int_t)report->cluster_size,
			"clusters", (json_int_t)report->clusters, "clusters_used",
			(json_int_t)report->clusters_used, "pages", (json_int_t)report->pages,
			"pages_used", (json_int_t)report->pages_used);

		json_object_set_new(store, "name", json_string(report->name));
		json_object_set_new(described, "store", store);
	}
	json_dumpf(described, stdout, JSON_INDENT(2));
	printf("\n");
	json_decref(described);
}

/* ---- the command ----------------------------------------------------------------------------- */

static int command_run(const struct check_command *command)
{
	struct check_report report;
	struct reason reason = {0};
	struct image_file file;
	int rc = image_file_open(&file, command->path, command->check.repair, &reason);
	int closed;

	if (rc) {
		complain("%s", reason_text(&reason, rc));
		return 1;
	}
	rc = check_run(&file.image, &command->check, &report, &reason);
	closed = image_file_close(&file);
	if (!rc && closed)
		rc = reason_set(&reason, closed, "what was written may not be on the disk");
	if (command->json)
		report_print_json(command, &report, rc);
	else
		report_print(command, &report);
	if (rc)
		complain("%s: %s", command->path, reason_text(&reason, rc));
	check_report_fini(&report);
	return rc || report.remaining ? 1 : 0;
}

enum { OPTION_REPAIR = 256, OPTION_LOSE, OPTION_JSON };

/* -1: go on. */
static int options_read(struct check_command *command, int argc, char **argv)
{
	static char program[] = "sluice check";
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"repair", no_argument, NULL, OPTION_REPAIR},
		{"lose", no_argument, NULL, OPTION_LOSE},
		{"json", no_argument, NULL, OPTION_JSON},
		{0},
	};
	int option;

	argv[0] = program; /* in getopt's sentences */
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h') {
			printf("%s", help);
			return 0;
		}
		if (option == '?')
			return 2;
		command->check.repair |= option == OPTION_REPAIR;
		command->check.lose |= option == OPTION_LOSE;
		command->json |= option == OPTION_JSON;
	}
	return -1;
}

int offline_check(int argc, char **argv)
{
	struct check_command command = {0};
	int rc = options_read(&command, argc, argv);

	if (rc >= 0)
		return rc;
	if (argc - optind != 1 || !argv[optind][0]) {
		complain("name one file or device: see sluice check --help");
		return 2;
	}
	if (command.check.lose && !command.check.repair) {
		complain("--lose says what --repair may do: say both, or neither to look first");
		return 2;
	}
	command.path = argv[optind];
	return command_run(&command);
}
