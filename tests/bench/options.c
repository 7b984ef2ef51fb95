/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command line of vhost-bench. Options of a role that come before the first --role are what all
 * roles start from; those behind a --role are of that one.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

const char *const mode_names[] = {
	[MODE_RANDREAD] = "randread",
	[MODE_RANDWRITE] = "randwrite",
	[MODE_READ] = "read",
	[MODE_WRITE] = "write",
	[MODE_MIX] = "mix",
};

static const char usage[] =
	"vhost-bench --socket PATH [options] [--role NAME [options of a role]]...\n"
	"\n"
	"Drives vhost-user disks from one polling thread and prints what it measured as JSON.\n"
	"\n"
	"  --socket PATH         of the vhost-user target; %u in it: the guest's number\n"
	"  --bus blk|scsi        (blk)\n"
	"  --seconds S           measured (3)\n"
	"  --warmup S            before that (0.5)\n"
	"  --seed N              of block numbers (1)\n"
	"  --packed              packed rings\n"
	"  --event-idx on|off    (on)\n"
	"  --notified            sleep on the call eventfd instead of polling\n"
	"  --no-inflight         do not ask for in-flight recording\n"
	"  --drain               stop the target, fill all rings, let it go: time until all is "
	"used\n"
	"  --target-pid PID      report the CPU time and memory of that process\n"
	"  --rpc PATH            report the target's own busy time (framework_get_reactors)\n"
	"\n"
	"Of a role; before the first --role: of all of them:\n"
	"  --guests N            each with a socket, memory and disk of its own (1)\n"
	"  --queues N            driven, of each guest (1)\n"
	"  --idle-queues N       started behind those and never kicked (0)\n"
	"  --idle-guests N       a role more, with all its queues idle\n"
	"  --target N --lun N    scsi address (0, 0)\n"
	"  --rw MODE             randread, randwrite, read, write, mix (randread)\n"
	"  --read-share N        per cent of reads in mix (70)\n"
	"  --block-size BYTES    of a request (4096)\n"
	"  --depth N             requests in flight per queue (32)\n"
	"  --interarrival-us X   a request every X us on each queue, whatever the target does\n"
	"  --random-arrivals     with exponential distances around X instead of regular ones\n"
	"  --burst N             requests at each arrival (1)\n"
	"  --range BYTES         use only the first so many bytes of the disk\n"
	"  --indirect            one indirect descriptor per request, as Linux does\n"
	"  --batch N             completions taken at once, at most 64 (16)\n"
	"  --ring-size N         entries\n"
	"  --memory BYTES        of guest memory\n"
	"  --verify              check what is read against what was written\n";

enum {
	OPT_SOCKET = 256,
	OPT_BUS,
	OPT_TARGET,
	OPT_LUN,
	OPT_RW,
	OPT_READ_SHARE,
	OPT_BLOCK_SIZE,
	OPT_DEPTH,
	OPT_QUEUES,
	OPT_SECONDS,
	OPT_WARMUP,
	OPT_SEED,
	OPT_RANGE,
	OPT_PACKED,
	OPT_INDIRECT,
	OPT_EVENT_IDX,
	OPT_NOTIFIED,
	OPT_NO_INFLIGHT,
	OPT_BATCH,
	OPT_RING_SIZE,
	OPT_MEMORY,
	OPT_VERIFY,
	OPT_TARGET_PID,
	OPT_RPC,
	OPT_GUESTS,
	OPT_IDLE_QUEUES,
	OPT_IDLE_GUESTS,
	OPT_INTERARRIVAL,
	OPT_RANDOM_ARRIVALS,
	OPT_BURST,
	OPT_DRAIN,
	OPT_ROLE,
	OPT_HELP,
};

static const struct option table[] = {
	{"socket", 1, NULL, OPT_SOCKET},
	{"bus", 1, NULL, OPT_BUS},
	{"target", 1, NULL, OPT_TARGET},
	{"lun", 1, NULL, OPT_LUN},
	{"rw", 1, NULL, OPT_RW},
	{"read-share", 1, NULL, OPT_READ_SHARE},
	{"block-size", 1, NULL, OPT_BLOCK_SIZE},
	{"depth", 1, NULL, OPT_DEPTH},
	{"queues", 1, NULL, OPT_QUEUES},
	{"seconds", 1, NULL, OPT_SECONDS},
	{"warmup", 1, NULL, OPT_WARMUP},
	{"seed", 1, NULL, OPT_SEED},
	{"range", 1, NULL, OPT_RANGE},
	{"packed", 0, NULL, OPT_PACKED},
	{"indirect", 0, NULL, OPT_INDIRECT},
	{"event-idx", 1, NULL, OPT_EVENT_IDX},
	{"notified", 0, NULL, OPT_NOTIFIED},
	{"no-inflight", 0, NULL, OPT_NO_INFLIGHT},
	{"batch", 1, NULL, OPT_BATCH},
	{"ring-size", 1, NULL, OPT_RING_SIZE},
	{"memory", 1, NULL, OPT_MEMORY},
	{"verify", 0, NULL, OPT_VERIFY},
	{"target-pid", 1, NULL, OPT_TARGET_PID},
	{"rpc", 1, NULL, OPT_RPC},
	{"guests", 1, NULL, OPT_GUESTS},
	{"idle-queues", 1, NULL, OPT_IDLE_QUEUES},
	{"idle-guests", 1, NULL, OPT_IDLE_GUESTS},
	{"interarrival-us", 1, NULL, OPT_INTERARRIVAL},
	{"random-arrivals", 0, NULL, OPT_RANDOM_ARRIVALS},
	{"burst", 1, NULL, OPT_BURST},
	{"drain", 0, NULL, OPT_DRAIN},
	{"role", 1, NULL, OPT_ROLE},
	{"help", 0, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

static int parse_u64(const char *text, uint64_t most, uint64_t *ret_value)
{
	char *end;

	errno = 0;
	*ret_value = strtoull(text, &end, 0);
	if (errno || end == text || *end || *ret_value > most) {
		fprintf(stderr, "vhost-bench: '%s' is not a number up to %llu\n", text,
			(unsigned long long)most);
		return -EINVAL;
	}
	return 0;
}

static int parse_u32(const char *text, uint32_t most, uint32_t *ret_value)
{
	uint64_t value;
	int rc = parse_u64(text, most, &value);

	if (!rc)
		*ret_value = (uint32_t)value;
	return rc;
}

static int parse_real(const char *text, double *ret_value)
{
	char *end;

	*ret_value = strtod(text, &end);
	if (end == text || *end || !(*ret_value >= 0 && *ret_value < 1e9)) {
		fprintf(stderr, "vhost-bench: '%s' is not a number from 0\n", text);
		return -EINVAL;
	}
	return 0;
}

static int parse_choice(const char *text, const char *const *names, uint32_t count, int *ret_choice)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		if (!strcmp(text, names[i])) {
			*ret_choice = (int)i;
			return 0;
		}
	fprintf(stderr, "vhost-bench: '%s' is none of the choices; see --help\n", text);
	return -EINVAL;
}

/* Where the options of a run are collected. */
struct parse {
	struct bench_options options;
	struct role_options common; /* what a role starts from */
	struct role_options *role; /* that is being described; `common` before the first */
	uint32_t idle_guests;
};

static int parse_names(int option, const char *text, struct parse *parse)
{
	static const char *const buses[] = {"blk", "scsi"}, *const switches[] = {"off", "on"};
	int choice, rc;

	switch (option) {
	case OPT_BUS:
		rc = parse_choice(text, buses, 2, &choice);
		if (!rc)
			parse->options.bus = choice ? FE_BUS_SCSI : FE_BUS_BLK;
		return rc;
	case OPT_RW:
		rc = parse_choice(text, mode_names, 5, &choice);
		if (!rc)
			parse->role->mode = (enum bench_mode)choice;
		return rc;
	default: /* OPT_EVENT_IDX */
		rc = parse_choice(text, switches, 2, &choice);
		if (!rc)
			parse->options.event_idx = choice;
		return rc;
	}
}

/* Of a role. */
static int parse_role(int option, const char *text, struct parse *parse)
{
	struct role_options *role = parse->role;

	switch (option) {
	case OPT_GUESTS:
		return parse_u32(text, BENCH_MAX_GUESTS, &role->guests);
	case OPT_QUEUES:
		return parse_u32(text, BENCH_MAX_QUEUES, &role->queues);
	case OPT_IDLE_QUEUES:
		return parse_u32(text, BENCH_MAX_QUEUES, &role->idle_queues);
	case OPT_TARGET:
		return parse_u32(text, 255, &role->target);
	case OPT_LUN:
		return parse_u32(text, 16383, &role->lun);
	case OPT_READ_SHARE:
		return parse_u32(text, 100, &role->read_share);
	case OPT_BLOCK_SIZE:
		return parse_u32(text, 1u << 24, &role->block_size);
	case OPT_DEPTH:
		return parse_u32(text, BENCH_MAX_DEPTH, &role->depth);
	case OPT_BURST:
		return parse_u32(text, BENCH_MAX_DEPTH, &role->burst);
	case OPT_BATCH:
		return parse_u32(text, BENCH_MAX_BATCH, &role->batch);
	case OPT_RING_SIZE:
		return parse_u32(text, FE_RING_MAX, &role->ring_size);
	case OPT_RANGE:
		return parse_u64(text, UINT64_MAX, &role->range);
	case OPT_MEMORY:
		return parse_u64(text, UINT64_C(1) << 40, &role->memory);
	case OPT_INTERARRIVAL:
		return parse_real(text, &role->interarrival_us);
	default:
		return parse_names(option, text, parse);
	}
}

static int begin_role(const char *name, struct parse *parse)
{
	if (parse->options.role_count == BENCH_MAX_ROLES - 1) { /* one is kept for idle guests */
		fprintf(stderr, "vhost-bench: more than %u roles\n", BENCH_MAX_ROLES - 1);
		return -EINVAL;
	}
	parse->role = &parse->options.role[parse->options.role_count++];
	*parse->role = parse->common;
	parse->role->name = name;
	return 0;
}

static int parse_one(int option, const char *text, struct parse *parse)
{
	struct bench_options *options = &parse->options;

	switch (option) {
	case OPT_ROLE:
		return begin_role(text, parse);
	case OPT_SOCKET:
		options->socket = text;
		return 0;
	case OPT_RPC:
		options->rpc = text;
		return 0;
	case OPT_IDLE_GUESTS:
		return parse_u32(text, BENCH_MAX_GUESTS, &parse->idle_guests);
	case OPT_TARGET_PID:
		return parse_u32(text, 1u << 30, (uint32_t *)&options->target_pid);
	case OPT_SEED:
		return parse_u64(text, UINT64_MAX, &options->seed);
	case OPT_SECONDS:
		return parse_real(text, &options->seconds);
	case OPT_WARMUP:
		return parse_real(text, &options->warmup);
	default:
		return parse_role(option, text, parse);
	}
}

static bool parse_flag(int option, struct parse *parse)
{
	switch (option) {
	case OPT_PACKED:
		return parse->options.packed = true;
	case OPT_NOTIFIED:
		return parse->options.notified = true;
	case OPT_NO_INFLIGHT:
		return parse->options.no_inflight = true;
	case OPT_DRAIN:
		return parse->options.drain = true;
	case OPT_INDIRECT:
		return parse->role->indirect = true;
	case OPT_VERIFY:
		return parse->role->verify = true;
	case OPT_RANDOM_ARRIVALS:
		return parse->role->random_arrivals = true;
	default:
		return false;
	}
}

static int complain(const char *sentence)
{
	fprintf(stderr, "vhost-bench: %s; see --help\n", sentence);
	return -EINVAL;
}

/* The roles that were not named: the only one, and that of idle guests. */
static void add_roles(struct parse *parse)
{
	struct bench_options *options = &parse->options;

	if (!options->role_count)
		begin_role("all", parse);
	if (parse->idle_guests) {
		struct role_options *idle = &options->role[options->role_count++];

		*idle = parse->common;
		idle->name = "idle";
		idle->guests = parse->idle_guests;
		idle->idle_queues += idle->queues;
		idle->queues = 0;
		idle->interarrival_us = 0;
	}
}

static int check(const struct bench_options *options)
{
	uint32_t guests = 0, i;

	if (!options->socket)
		return complain("--socket PATH is needed");
	for (i = 0; i < options->role_count; i++) {
		const struct role_options *role = &options->role[i];

		guests += role->guests;
		if (role->guests && (!role->depth || !role->batch || !role->block_size ||
					    !role->burst || !(role->queues + role->idle_queues)))
			return complain("no size may be 0");
		if (options->drain && role->interarrival_us > 0)
			return complain("--drain has no arrivals");
	}
	if (!guests)
		return complain("there is no guest");
	if (options->drain && !options->target_pid)
		return complain("--drain needs --target-pid");
	return 0;
}

int options_parse(int argc, char **argv, struct bench_options *ret_options)
{
	static struct parse parse = {
		.options = {.seconds = 3, .warmup = 0.5, .seed = 1, .event_idx = true},
		.common = {.guests = 1,
			.queues = 1,
			.read_share = 70,
			.block_size = 4096,
			.depth = 32,
			.batch = 16,
			.burst = 1},
	};
	int option, rc;

	parse.role = &parse.common;
	while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (option == OPT_HELP) {
			fputs(usage, stdout);
			exit(0);
		}
		if (option == '?')
			return -EINVAL;
		if (!parse_flag(option, &parse) && parse_one(option, optarg, &parse))
			return -EINVAL;
	}
	if (optind < argc)
		return complain("there is an argument too many");
	add_roles(&parse);
	rc = check(&parse.options);
	if (!rc)
		*ret_options = parse.options;
	return rc;
}
