/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counters of a device. Each channel has its own, written by its reactor alone; whoever wants to
 * know asks all of them by messages. Those of channels that are gone are kept with the device.
 */
#include <stdlib.h>
#include <string.h>

#include "bdev/bdev_impl.h"

void bdev_stats_add(struct bdev_io_stats *sum, const struct bdev_io_stats *part)
{
	for (unsigned type = 0; type < BDEV_IO_TYPES; type++) {
		struct bdev_io_extremes *extremes = &sum->extremes[type];
		const struct bdev_io_extremes *more = &part->extremes[type];

		sum->of[type].ops += part->of[type].ops;
		sum->of[type].bytes += part->of[type].bytes;
		sum->of[type].latency_ns += part->of[type].latency_ns;
		extremes->slowest_ns = u64_max(extremes->slowest_ns, more->slowest_ns);
		extremes->fastest_inverted =
			u64_max(extremes->fastest_inverted, more->fastest_inverted);
	}
	sum->errors += part->errors;
}

static void stats_reset(struct bdev_io_stats *stats, enum bdev_stats_reset reset)
{
	if (reset == BDEV_STATS_RESET_ALL)
		memset(stats, 0, sizeof(*stats));
	else if (reset == BDEV_STATS_RESET_EXTREMES)
		memset(stats->extremes, 0, sizeof(stats->extremes));
	else if (reset == BDEV_STATS_RESET_ERRORS)
		stats->errors = 0;
}

struct bdev_stats_op {
	struct bdev_io_stats part;
	struct bdev_stats_query query;
	done_fn done;
	void *arg;
};

static int stats_enter(struct bdev *bdev, void *arg)
{
	struct bdev_stats_op *op = arg;

	if (op->query.sum)
		*op->query.sum = bdev->closed_stats;
	stats_reset(&bdev->closed_stats, op->query.reset);
	return 0;
}

static void stats_ask(struct bdev_channel *channel, void *arg)
{
	struct bdev_stats_op *op = arg;

	op->part = channel->stats;
	stats_reset(&channel->stats, op->query.reset);
	if (op->query.reset != BDEV_STATS_KEEP)
		bdev_channel_note_all(channel);
}

static void stats_take(struct bdev_channel *channel, void *arg)
{
	struct bdev_stats_op *op = arg;

	if (op->query.sum)
		bdev_stats_add(op->query.sum, &op->part);
	if (op->query.each)
		op->query.each(channel->reactor, &op->part, op->query.arg);
}

static const struct bdev_each_channel stats_each = {
	.enter = stats_enter,
	.run = stats_ask,
	.after = stats_take,
};

static void stats_taken(void *arg, int rc)
{
	struct bdev_stats_op *op = arg;

	op->done(op->arg, rc);
	free(op);
}

void bdev_query_stats(
	struct bdev *bdev, const struct bdev_stats_query *query, done_fn done, void *arg)
{
	struct bdev_stats_op *op = alloc_op(sizeof(*op));

	op->query = *query;
	op->done = done;
	op->arg = arg;
	bdev_for_each_channel(bdev, &stats_each, op, stats_taken, op);
}

void bdev_get_stats(struct bdev *bdev, struct bdev_io_stats *ret_stats, done_fn done, void *arg)
{
	const struct bdev_stats_query query = {.sum = ret_stats};

	bdev_query_stats(bdev, &query, done, arg);
}
