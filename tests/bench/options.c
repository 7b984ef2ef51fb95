/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of vhost-bench. */
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
	"vhost-bench --socket PATH [options]\n"
	"\n"
	"Drives a vhost-user disk from one polling thread and prints what it measured as JSON.\n"
	"\n"
	"  --socket PATH         of the vhost-user target\n"
	"  --bus blk|scsi        (blk)\n"
	"  --target N --lun N    scsi address (0, 0)\n"
	"  --rw MODE             randread, randwrite, read, write, mix (randread)\n"
	"  --read-share N        per cent of reads in mix (70)\n"
	"  --block-size BYTES    of a request (4096)\n"
	"  --depth N             requests in flight per queue (32)\n"
	"  --queues N            (1)\n"
	"  --seconds S           measured (3)\n"
	"  --warmup S            before that (0.5)\n"
	"  --seed N              of block numbers (1)\n"
	"  --range BYTES         use only the first so many bytes of the disk\n"
	"  --packed              packed rings\n"
	"  --indirect            one indirect descriptor per request, as Linux does\n"
	"  --event-idx on|off    (on)\n"
	"  --notified            sleep on the call eventfd instead of polling\n"
	"  --no-inflight         do not ask for in-flight recording\n"
	"  --batch N             completions taken at once, at most 64 (16)\n"
	"  --ring-size N         entries\n"
	"  --memory BYTES        of guest memory\n"
	"  --verify              check what is read against what was written\n"
	"  --target-pid PID      report the CPU time of that process\n"
	"  --rpc PATH            report the target's own busy time (framework_get_reactors)\n";

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

static int parse_seconds(const char *text, double *ret_value)
{
	char *end;

	*ret_value = strtod(text, &end);
	if (end == text || *end || !(*ret_value >= 0 && *ret_value < 1e6)) {
		fprintf(stderr, "vhost-bench: '%s' is no number of seconds\n", text);
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

static int parse_text(int option, const char *text, struct bench_options *options)
{
	static const char *const buses[] = {"blk", "scsi"}, *const switches[] = {"off", "on"};
	int choice, rc;

	switch (option) {
	case OPT_SOCKET:
		options->socket = text;
		return 0;
	case OPT_RPC:
		options->rpc = text;
		return 0;
	case OPT_BUS:
		rc = parse_choice(text, buses, 2, &choice);
		if (!rc)
			options->bus = choice ? FE_BUS_SCSI : FE_BUS_BLK;
		return rc;
	case OPT_RW:
		rc = parse_choice(text, mode_names, 5, &choice);
		if (!rc)
			options->mode = (enum bench_mode)choice;
		return rc;
	default: /* OPT_EVENT_IDX */
		rc = parse_choice(text, switches, 2, &choice);
		if (!rc)
			options->event_idx = choice;
		return rc;
	}
}

static int parse_one(int option, const char *text, struct bench_options *options)
{
	switch (option) {
	case OPT_TARGET:
		return parse_u32(text, 255, &options->target);
	case OPT_LUN:
		return parse_u32(text, 16383, &options->lun);
	case OPT_READ_SHARE:
		return parse_u32(text, 100, &options->read_share);
	case OPT_BLOCK_SIZE:
		return parse_u32(text, 1u << 24, &options->block_size);
	case OPT_DEPTH:
		return parse_u32(text, BENCH_MAX_DEPTH, &options->depth);
	case OPT_QUEUES:
		return parse_u32(text, BENCH_MAX_QUEUES, &options->queues);
	case OPT_BATCH:
		return parse_u32(text, BENCH_MAX_BATCH, &options->batch);
	case OPT_RING_SIZE:
		return parse_u32(text, FE_RING_MAX, &options->ring_size);
	case OPT_TARGET_PID:
		return parse_u32(text, 1u << 30, (uint32_t *)&options->target_pid);
	case OPT_SEED:
		return parse_u64(text, UINT64_MAX, &options->seed);
	case OPT_RANGE:
		return parse_u64(text, UINT64_MAX, &options->range);
	case OPT_MEMORY:
		return parse_u64(text, UINT64_C(1) << 40, &options->memory);
	case OPT_SECONDS:
		return parse_seconds(text, &options->seconds);
	case OPT_WARMUP:
		return parse_seconds(text, &options->warmup);
	default:
		return parse_text(option, text, options);
	}
}

static bool parse_flag(int option, struct bench_options *options)
{
	switch (option) {
	case OPT_PACKED:
		return options->packed = true;
	case OPT_INDIRECT:
		return options->indirect = true;
	case OPT_NOTIFIED:
		return options->notified = true;
	case OPT_NO_INFLIGHT:
		return options->no_inflight = true;
	case OPT_VERIFY:
		return options->verify = true;
	default:
		return false;
	}
}

int options_parse(int argc, char **argv, struct bench_options *ret_options)
{
	struct bench_options options = {
		.read_share = 70,
		.block_size = 4096,
		.depth = 32,
		.queues = 1,
		.batch = 16,
		.seconds = 3,
		.warmup = 0.5,
		.seed = 1,
		.event_idx = true,
	};
	int option;

	while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (option == OPT_HELP) {
			fputs(usage, stdout);
			exit(0);
		}
		if (option == '?')
			return -EINVAL;
		if (!parse_flag(option, &options) && parse_one(option, optarg, &options))
			return -EINVAL;
	}
	if (optind < argc || !options.socket || !options.depth || !options.queues ||
		!options.batch || !options.block_size) {
		fputs("vhost-bench: --socket PATH is needed, and no size may be 0; see --help\n",
			stderr);
		return -EINVAL;
	}
	*ret_options = options;
	return 0;
}
