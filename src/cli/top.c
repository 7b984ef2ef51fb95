/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice top: what disks and data threads do just now. On a terminal a screen that renews itself
 * (top_screen.c), elsewhere or when asked for a number of looks a table for each.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/top_impl.h"

static const char help[] =
	"usage: sluice top [OPTION...]\n"
	"\n"
	"Shows what disks do: requests and bytes a second, how long requests take, and how busy\n"
	"the data threads are. On a terminal: q ends it, a shows all disks or those at work.\n"
	"\n"
	"  -d, --delay SECONDS    from one look to the next, 1 to 3600 (default: 1)\n"
	"  -n, --number COUNT     so many looks, as tables (default: 1 when the output is no "
	"terminal)\n"
	"  -a, --all              disks that do nothing, too\n"
	"      --json             an object for each look\n" CLIENT_HELP "\n"
	"While it runs the daemon counts how long requests of busy disks take, for percentiles.\n"
	"\n"
	"  sluice top\n"
	"  sluice top -n 1 --json\n";

static volatile sig_atomic_t interrupted;

static void interrupt(int signal_number)
{
	interrupted = 1;
}

bool top_is_interrupted(void)
{
	return interrupted;
}

/* ---- cells --------------------------------------------------------------------------------- */

void top_count_format(char *text, size_t size, double count)
{
	if (count >= 99999.5)
		snprintf(text, size, "%.0fk", count / 1000);
	else if (count >= 9.95 || count == 0)
		snprintf(text, size, "%.0f", count);
	else
		snprintf(text, size, "%.1f", count);
}

void top_bytes_format(char *text, size_t size, double bytes)
{
	static const char *const units[] = {"", "K", "M", "G"};
	unsigned unit = 0;

	while (bytes >= 1023.5 && unit < ARRAY_SIZE(units) - 1) {
		bytes /= 1024;
		unit++;
	}
	snprintf(text, size, bytes < 9.95 && unit ? "%.1f%s" : "%.0f%s", bytes, units[unit]);
}

void top_time_format(char *text, size_t size, double us)
{
	if (us < 0)
		snprintf(text, size, "-");
	else if (us < 999.5)
		snprintf(text, size, us < 9.95 ? "%.1fus" : "%.0fus", us);
	else if (us < 999500)
		snprintf(text, size, us < 9950 ? "%.1fms" : "%.0fms", us / 1000);
	else
		snprintf(text, size, "%.1fs", us / 1e6);
}

void top_row_make(const struct load *load, const struct load_disk *disk,
	char cells[TOP_COLUMNS][TOP_CELL_SIZE])
{
	const struct load_counters *more = &disk->more;

	snprintf(cells[0], TOP_CELL_SIZE, "%s", disk->label);
	top_count_format(cells[1], TOP_CELL_SIZE, load_per_second(load, more->reads));
	top_count_format(cells[2], TOP_CELL_SIZE, load_per_second(load, more->writes));
	top_bytes_format(cells[3], TOP_CELL_SIZE, load_per_second(load, more->read_bytes));
	top_bytes_format(cells[4], TOP_CELL_SIZE, load_per_second(load, more->written_bytes));
	top_time_format(cells[5], TOP_CELL_SIZE, load_average_us(disk));
	for (unsigned i = 0; i < LOAD_PERCENTILES; i++)
		top_time_format(cells[6 + i], TOP_CELL_SIZE, disk->percentile_us[i]);
	snprintf(cells[9], TOP_CELL_SIZE, "%llu", (unsigned long long)more->errors);
}

const char *const top_head[TOP_COLUMNS] = {"DISK", "READS/S", "WRITES/S", "READ/S", "WRITTEN/S",
	"AVERAGE", "P50", "P99", "P99.9", "ERRORS"};

/* ---- tables -------------------------------------------------------------------------------- */

bool top_is_shown(const struct top *top, const struct load_disk *disk)
{
	return top->all || load_requests(disk) || disk->more.errors;
}

static void table_show(const struct top *top)
{
	static const char *const thread_head[] = {"THREAD", "BUSY"};
	json_t *rows = json_array();
	json_t *threads = json_array();
	char cells[TOP_COLUMNS][TOP_CELL_SIZE];

	for (unsigned i = 0; i < top->load.disks_count; i++) {
		json_t *row = json_array();

		if (top_is_shown(top, &top->load.disks[i])) {
			top_row_make(&top->load, &top->load.disks[i], cells);
			for (unsigned c = 0; c < TOP_COLUMNS; c++)
				json_array_append_new(row, json_string(cells[c]));
			json_array_append(rows, row);
		}
		json_decref(row);
	}
	for (unsigned i = 0; i < top->load.threads_count; i++)
		json_array_append_new(
			threads, json_pack("[s, o]", top->load.threads[i].name,
					 json_sprintf("%.1f%%", top->load.threads[i].busy * 100)));
	table_print(top_head, TOP_COLUMNS, rows);
	printf("\n");
	table_print(thread_head, 2, threads);
	json_decref(threads);
	json_decref(rows);
}

static json_t *time_json(double us)
{
	return us < 0 ? json_null() : json_real(us);
}

static json_t *disk_json(const struct load *load, const struct load_disk *disk)
{
	const struct load_counters *more = &disk->more;

	return json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:o, s:o, s:o, s:o, s:I}", "disk",
		disk->label, "name", disk->name, "reads_per_second",
		load_per_second(load, more->reads), "writes_per_second",
		load_per_second(load, more->writes), "read_bytes_per_second",
		load_per_second(load, more->read_bytes), "written_bytes_per_second",
		load_per_second(load, more->written_bytes), "average_us",
		time_json(load_average_us(disk)), "p50_us",
		time_json(disk->percentile_us[LOAD_P50]), "p99_us",
		time_json(disk->percentile_us[LOAD_P99]), "p999_us",
		time_json(disk->percentile_us[LOAD_P999]), "errors", (json_int_t)more->errors);
}

static void json_show(const struct top *top)
{
	json_t *disks = json_array();
	json_t *threads = json_array();
	json_t *all;

	for (unsigned i = 0; i < top->load.disks_count; i++)
		if (top_is_shown(top, &top->load.disks[i]))
			json_array_append_new(disks, disk_json(&top->load, &top->load.disks[i]));
	for (unsigned i = 0; i < top->load.threads_count; i++)
		json_array_append_new(
			threads, json_pack("{s:s, s:f}", "name", top->load.threads[i].name, "busy",
					 top->load.threads[i].busy));
	all = json_pack("{s:f, s:o, s:o}", "seconds", top->load.seconds, "disks", disks, "threads",
		threads);
	json_print(all);
	json_decref(all);
}

static void top_pause(const struct top *top)
{
	struct timespec left = {.tv_sec = top->delay_s};

	while (nanosleep(&left, &left) && errno == EINTR && !interrupted)
		;
}

/* Two looks before something can be said, three for percentiles. */
static bool tables_run(struct top *top)
{
	bool good = load_look(&top->load);
	struct timespec moment = {.tv_nsec = 200000000};

	nanosleep(&moment, NULL);
	good = good && load_look(&top->load);
	for (int i = 0; good && i < top->number && !interrupted; i++) {
		top_pause(top);
		good = load_look(&top->load);
		if (!good || interrupted)
			break;
		if (top->json)
			json_show(top);
		else
			table_show(top);
		good = fflush(stdout) == 0;
	}
	return good;
}

/* ---- the command --------------------------------------------------------------------------- */

static bool top_option_take(struct top *top, struct client_options *client, int option)
{
	switch (option) {
	case 'd':
		if (!cli_number_read("--delay", optarg, 3600, &top->delay_s))
			return false;
		if (top->delay_s > 0)
			return true;
		cli_error("--delay is at least a second");
		return false;
	case 'n':
		return cli_number_read("--number", optarg, 1000000000, &top->number);
	case 'a':
		top->all = true;
		return true;
	case 'j':
		top->json = true;
		return true;
	default:
		return client_options_take(client, option);
	}
}

static int top_run(struct top *top, const struct client_options *options)
{
	struct client *client = client_open(options);
	bool on_screen = !top->number && !top->json && isatty(STDOUT_FILENO);
	bool good;

	if (!client)
		return CLI_FAILED;
	signal(SIGINT, interrupt);
	signal(SIGTERM, interrupt);
	signal(SIGPIPE, SIG_IGN);
	if (!top->number)
		top->number = 1;
	load_init(&top->load, client);
	good = on_screen ? top_screen_run(top) : tables_run(top);
	load_fini(&top->load);
	client_close(client);
	return cli_flush(good ? CLI_OK : CLI_FAILED);
}

int cli_top(int argc, char **argv)
{
	static char program[] = "sluice top";
	static const struct option options[] = {
		{"delay", required_argument, NULL, 'd'},
		{"number", required_argument, NULL, 'n'},
		{"all", no_argument, NULL, 'a'},
		{"json", no_argument, NULL, 'j'},
		CLIENT_LONG_OPTIONS,
		{0},
	};
	struct client_options client = {0};
	struct top top = {.delay_s = 1};
	int option;

	argv[0] = program; /* in getopt's sentences */
	while ((option = getopt_long(argc, argv, "d:n:a" CLIENT_SHORT_OPTIONS, options, NULL)) !=
		-1) {
		if (option == 'h') {
			printf("%s", help);
			return CLI_OK;
		}
		if (!top_option_take(&top, &client, option))
			return CLI_USAGE;
	}
	if (argc > optind) {
		cli_error("top takes no words; see sluice top --help");
		return CLI_USAGE;
	}
	return top_run(&top, &client);
}
