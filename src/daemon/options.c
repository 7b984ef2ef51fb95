/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command line of `sluice serve`: our own options, those of SPDK's programs that mean something
 * here, and those that scripts pass but that concern hugepages, DPDK or PCI: they parse, and one
 * notice says that they do nothing.
 *
 * Defaults: sockets in the run directory, state in the state directory (base/paths.h), one data
 * reactor that is not pinned, adaptive polling. Started as spdk_tgt or vhost it has their places,
 * /var/tmp/spdk.sock and the current directory, and keeps no state, as they do.
 */
#include "daemon/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
	"usage: sluice serve [OPTION...]\n"
	"\n"
	"Runs the daemon. It needs no configuration and no privileges: what is set up by commands\n"
	"is kept in the state directory and there again after a restart.\n"
	"\n"
	"  -r, --rpc-socket PATH   management socket (default: %s)\n"
	"  -S, --vhost-dir DIR     where controllers make their sockets (default: %s)\n"
	"      --state-dir DIR     where the daemon keeps its state (default: %s)\n"
	"  -c, --config FILE       set up what this JSON configuration file says (as SPDK's)\n"
	"                          and neither use nor keep what was configured before\n"
	"      --json-ignore-init-errors  pass over its entries that fail\n"
	"      --no-state          neither use nor keep what was configured before\n"
	"      --keeper            a small process keeps the connections of the machines: a crash\n"
	"                          goes by unnoticed, also for those that cannot reconnect\n"
	"      --no-keeper         the opposite (default)\n"
	"  -m, --cores MASK|LIST   CPUs of the data threads: 0x6, [1-2] or 1,2; one thread is\n"
	"                          pinned to each (default: one thread, not pinned)\n"
	"      --poll MODE         adaptive: poll while there is work, sleep when idle (default)\n"
	"                          always: poll without end; never: only notifications\n"
	"      --wait-for-rpc      start with the framework_start_init call\n"
	"      --rpcs-allowed A,B  only these methods exist\n"
	"      --http [ADDRESS:]PORT\n"
	"                          a web page, and metrics for Prometheus at /metrics; the "
	"address\n"
	"                          is 127.0.0.1 unless another is said\n"
	"      --no-rpc-server     no management socket\n"
	"      --no-io-uring       do I/O through epoll and threads (also: SLUICE_IO_URING=0)\n"
	"  -f, --pid-file FILE     write the process id to FILE\n"
	"      --silence-noticelog log warnings and errors only\n"
	"      --interrupt-mode    same as --poll never\n"
	"  -v, --version           print the version\n"
	"  -h, --help              print this\n"
	"\n"
	"Options of SPDK's programs about hugepages, memory, PCI and tracing are accepted and\n"
	"do nothing. SIGTERM and SIGINT stop the daemon in order; one more ends it at once.\n";

enum {
	OPTION_STATE_DIR = 256,
	OPTION_IGNORE_INIT_ERRORS,
	OPTION_NO_STATE,
	OPTION_KEEPER,
	OPTION_NO_KEEPER,
	OPTION_POLL,
	OPTION_WAIT_FOR_RPC,
	OPTION_RPCS_ALLOWED,
	OPTION_HTTP,
	OPTION_NO_RPC_SERVER,
	OPTION_NO_IO_URING,
	OPTION_SILENCE,
	OPTION_INTERRUPT,
	OPTION_LCORES,
	OPTION_NOTHING, /* parses and does nothing */
};

static const char short_options[] = "r:S:c:m:f:vhs:Rgn:i:uB:A:dp:L:e:";

static const struct option long_options[] = {
	{"rpc-socket", required_argument, NULL, 'r'},
	{"vhost-dir", required_argument, NULL, 'S'},
	{"state-dir", required_argument, NULL, OPTION_STATE_DIR},
	{"config", required_argument, NULL, 'c'},
	{"json", required_argument, NULL, 'c'},
	{"no-state", no_argument, NULL, OPTION_NO_STATE},
	{"keeper", no_argument, NULL, OPTION_KEEPER},
	{"no-keeper", no_argument, NULL, OPTION_NO_KEEPER},
	{"json-ignore-init-errors", no_argument, NULL, OPTION_IGNORE_INIT_ERRORS},
	{"cores", required_argument, NULL, 'm'},
	{"cpumask", required_argument, NULL, 'm'},
	{"lcores", required_argument, NULL, OPTION_LCORES},
	{"poll", required_argument, NULL, OPTION_POLL},
	{"wait-for-rpc", no_argument, NULL, OPTION_WAIT_FOR_RPC},
	{"rpcs-allowed", required_argument, NULL, OPTION_RPCS_ALLOWED},
	{"http", required_argument, NULL, OPTION_HTTP},
	{"no-rpc-server", no_argument, NULL, OPTION_NO_RPC_SERVER},
	{"no-io-uring", no_argument, NULL, OPTION_NO_IO_URING},
	{"pid-file", required_argument, NULL, 'f'},
	{"silence-noticelog", no_argument, NULL, OPTION_SILENCE},
	{"interrupt-mode", no_argument, NULL, OPTION_INTERRUPT},
	{"version", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{"mem-size", required_argument, NULL, OPTION_NOTHING},
	{"no-huge", no_argument, NULL, OPTION_NOTHING},
	{"huge-dir", required_argument, NULL, OPTION_NOTHING},
	{"huge-unlink", no_argument, NULL, OPTION_NOTHING},
	{"single-file-segments", no_argument, NULL, OPTION_NOTHING},
	{"mem-channels", required_argument, NULL, OPTION_NOTHING},
	{"iova-mode", required_argument, NULL, OPTION_NOTHING},
	{"base-virtaddr", required_argument, NULL, OPTION_NOTHING},
	{"enforce-numa", no_argument, NULL, OPTION_NOTHING},
	{"msg-mempool-size", required_argument, NULL, OPTION_NOTHING},
	{"env-context", required_argument, NULL, OPTION_NOTHING},
	{"vfio-vf-token", required_argument, NULL, OPTION_NOTHING},
	{"shm-id", required_argument, NULL, OPTION_NOTHING},
	{"no-pci", no_argument, NULL, OPTION_NOTHING},
	{"pci-blocked", required_argument, NULL, OPTION_NOTHING},
	{"pci-allowed", required_argument, NULL, OPTION_NOTHING},
	{"main-core", required_argument, NULL, OPTION_NOTHING},
	{"disable-cpumask-locks", no_argument, NULL, OPTION_NOTHING},
	{"logflag", required_argument, NULL, OPTION_NOTHING},
	{"tpoint-group", required_argument, NULL, OPTION_NOTHING},
	{"num-trace-entries", required_argument, NULL, OPTION_NOTHING},
	{"limit-coredump", no_argument, NULL, OPTION_NOTHING},
	{0},
};

/* What was seen while parsing and is judged at the end. */
struct parse_state {
	struct serve_options *options;
	bool no_rpc_server;
	bool cores;
	bool lcores;
	bool as_spdk; /* started by the name of one of its programs */
	char ignored[256]; /* names of options that do nothing */
};

static bool path_set(char *target, const char *value, const char *what)
{
	if (value[0] != '\0' && strlen(value) < PATHS_MAX) {
		strcpy(target, value);
		return true;
	}
	fprintf(stderr, "sluice serve: %s needs a path of 1 to %d characters\n", what,
		PATHS_MAX - 1);
	return false;
}

static bool cores_set(struct parse_state *state, const char *text)
{
	state->cores = true;
	state->options->pinned = true;
	if (cpu_set_parse(text, &state->options->cpus) == 0)
		return true;
	fprintf(stderr,
		"sluice serve: '%s' is no set of CPUs: give a mask (0x6) or a list ([1-2] or "
		"1,2)\n",
		text);
	return false;
}

/* DPDK's map of threads to CPUs, as far as one CPU belongs to one thread: "0@4,1@5" or "4,5". */
static bool lcores_set(struct parse_state *state, const char *map)
{
	char *copy = strdup(map);
	char *rest = copy;
	char *entry;
	bool ok = copy != NULL;

	state->lcores = true;
	state->options->pinned = true;
	while (ok && (entry = strsep(&rest, ","))) {
		const char *cpu = strchr(entry, '@') ? strchr(entry, '@') + 1 : entry;
		char *end;
		unsigned long number = strtoul(cpu, &end, 10);

		ok = *cpu >= '0' && *cpu <= '9' && *end == '\0' && number < CPUS_MAX;
		if (ok)
			cpu_set_add(&state->options->cpus, (unsigned)number);
	}
	free(copy);
	if (!ok)
		fprintf(stderr,
			"sluice serve: --lcores '%s' is not a list of THREAD@CPU: use --cores\n",
			map);
	return ok;
}

static bool poll_set(struct serve_options *options, const char *mode)
{
	static const char *const names[] = {
		[POLL_ADAPTIVE] = "adaptive",
		[POLL_ALWAYS] = "always",
		[POLL_NEVER] = "never",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(mode, names[i]) == 0) {
			options->poll_mode = (enum poll_mode)i;
			return true;
		}
	}
	fprintf(stderr, "sluice serve: --poll is always, adaptive or never, not '%s'\n", mode);
	return false;
}

static void ignored_add(struct parse_state *state, int option, int index)
{
	size_t len = strlen(state->ignored);
	size_t room = sizeof(state->ignored) - len;

	if (option == OPTION_NOTHING)
		snprintf(state->ignored + len, room, " --%s", long_options[index].name);
	else
		snprintf(state->ignored + len, room, " -%c", option);
}

static bool option_take(struct parse_state *state, int option, int index)
{
	struct serve_options *options = state->options;

	switch (option) {
	case 'r':
		return path_set(options->rpc_socket, optarg, "--rpc-socket");
	case 'S':
		return path_set(options->vhost_dir, optarg, "--vhost-dir");
	case OPTION_STATE_DIR:
		return path_set(options->state_dir, optarg, "--state-dir");
	case 'c':
		options->config_file = optarg;
		return true;
	case OPTION_NO_STATE:
		options->keeps_state = false;
		return true;
	case OPTION_IGNORE_INIT_ERRORS:
		options->ignore_init_errors = true;
		return true;
	case OPTION_KEEPER:
	case OPTION_NO_KEEPER:
		options->keeper = option == OPTION_KEEPER;
		return true;
	case 'm':
		return cores_set(state, optarg);
	case OPTION_LCORES:
		return lcores_set(state, optarg);
	case OPTION_POLL:
		return poll_set(options, optarg);
	case OPTION_INTERRUPT:
		options->poll_mode = POLL_NEVER;
		return true;
	case OPTION_WAIT_FOR_RPC:
		options->wait_for_rpc = true;
		return true;
	case OPTION_RPCS_ALLOWED:
		options->rpcs_allowed = optarg;
		return true;
	case OPTION_HTTP:
		options->http = optarg;
		return true;
	case OPTION_NO_RPC_SERVER:
		state->no_rpc_server = true;
		return true;
	case OPTION_NO_IO_URING:
		options->io_uring = false;
		return true;
	case OPTION_SILENCE:
		log_set_level(LOG_WARNING);
		return true;
	case 'f':
		options->pid_file = optarg;
		return true;
	case '?':
		fprintf(stderr, "See sluice serve --help.\n");
		return false;
	default:
		ignored_add(state, option, index);
		return true;
	}
}

static void defaults_set(struct serve_options *options)
{
	const char *io_uring = getenv("SLUICE_IO_URING");

	memset(options, 0, sizeof(*options));
	options->poll_mode = POLL_ADAPTIVE;
	options->io_uring = !io_uring || strcmp(io_uring, "0") != 0;
}

/* Places that were not given; false: there is none. */
static bool places_fill(struct parse_state *state, struct reason *reason)
{
	struct serve_options *options = state->options;

	if (state->no_rpc_server) {
		options->rpc_socket[0] = '\0';
	} else if (!options->rpc_socket[0] && state->as_spdk) {
		strcpy(options->rpc_socket, "/var/tmp/spdk.sock");
	} else if (!options->rpc_socket[0]) {
		options->default_rpc_socket = true;
		if (paths_run(PATHS_RPC_SOCKET, options->rpc_socket, PATHS_MAX, reason))
			return false;
	}
	if (!options->vhost_dir[0] && !state->as_spdk &&
		paths_run(PATHS_VHOST_DIR, options->vhost_dir, PATHS_MAX, reason))
		return false;
	return options->state_dir[0] || !paths_state("", options->state_dir, PATHS_MAX, reason);
}

static void help_print(void)
{
	char rpc_socket[PATHS_MAX], vhost_dir[PATHS_MAX], state_dir[PATHS_MAX];

	if (paths_run(PATHS_RPC_SOCKET, rpc_socket, PATHS_MAX, NULL))
		strcpy(rpc_socket, "none");
	if (paths_run(PATHS_VHOST_DIR, vhost_dir, PATHS_MAX, NULL))
		strcpy(vhost_dir, "none");
	if (paths_state("", state_dir, PATHS_MAX, NULL))
		strcpy(state_dir, "none");
	printf(help, rpc_socket, vhost_dir, state_dir);
}

/* Help and version are answered whatever else is on the line. */
static bool answered_at_once(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
			help_print();
			return true;
		}
		if (strcmp(argv[i], "-v") == 0 || strcmp(argv[i], "--version") == 0) {
			printf("sluice %s\n", SLUICE_VERSION);
			return true;
		}
	}
	return false;
}

static bool options_judge(struct parse_state *state)
{
	struct serve_options *options = state->options;
	struct reason reason = {0};

	if (state->cores && state->lcores) {
		fprintf(stderr, "sluice serve: --cores and --lcores exclude each other\n");
		return false;
	}
	if (state->no_rpc_server && options->wait_for_rpc) {
		fprintf(stderr,
			"sluice serve: --wait-for-rpc waits for ever with --no-rpc-server\n");
		return false;
	}
	if (!places_fill(state, &reason)) {
		fprintf(stderr, "sluice serve: %s\n", reason_text(&reason, -ENOENT));
		return false;
	}
	if (options->config_file)
		options->keeps_state = false;
	if (!options->pinned)
		cpu_set_add(&options->cpus, 0);
	if (state->ignored[0])
		log_notice("these options do nothing here:%s", state->ignored);
	return true;
}

bool options_name_is_spdk(const char *program)
{
	const char *slash = strrchr(program, '/');
	const char *name = slash ? slash + 1 : program;

	return strcmp(name, "spdk_tgt") == 0 || strcmp(name, "vhost") == 0;
}

enum options_result serve_options_parse(int argc, char **argv, struct serve_options *options)
{
	static char program[] = "sluice serve";
	struct parse_state state = {.options = options};
	int index = 0;
	int option;

	if (answered_at_once(argc, argv))
		return OPTIONS_EXIT;
	defaults_set(options);
	state.as_spdk = options_name_is_spdk(argv[0]);
	options->keeps_state = !state.as_spdk;
	argv[0] = program; /* in getopt's sentences */
	while ((option = getopt_long(argc, argv, short_options, long_options, &index)) != -1) {
		if (!option_take(&state, option, index))
			return OPTIONS_USAGE;
	}
	if (optind < argc) {
		fprintf(stderr, "sluice serve: '%s' is not an option; see sluice serve --help\n",
			argv[optind]);
		return OPTIONS_USAGE;
	}
	return options_judge(&state) ? OPTIONS_SERVE : OPTIONS_USAGE;
}
