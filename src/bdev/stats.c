/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counters of a device. Each channel has its own, written by its reactor alone; whoever wants to
 * know asks all of them by messages. Those of channels that are gone are kept with the device.
 */
#include <stdlib.h>
#include <string.h>

#include "bdev/bdev_impl.h"

void bdev_io_note_extreme(struct bdev_io *io, struct bdev_channel *channel, uint64_t latency_ns)
{
	struct bdev_io_extremes *extremes = &channel->stats.extremes[io->type];

	if (io->flags & BDEV_IO_PART)
		return;
	extremes->slowest_ns = u64_max(extremes->slowest_ns, latency_ns);
	extremes->fastest_inverted = u64_max(extremes->fastest_inverted, ~latency_ns);
}

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
	struct flow flow;
	struct bdev *bdev;
	struct bdev_channel *channel; /* being asked */
	struct bdev_gate_turn turn;
	struct reactor_call call;
	struct bdev_io_stats part;
	struct bdev_stats_query query;
	done_fn done;
	void *arg;
};

static int bdev_channel_ask(struct reactor_call *call)
{
	struct bdev_stats_op *op = container_of(call, struct bdev_stats_op, call);

	op->part = op->channel->stats;
	stats_reset(&op->channel->stats, op->query.reset);
	return 0;
}

static void bdev_stats_take(struct bdev_stats_op *op)
{
	if (op->query.sum)
		bdev_stats_add(op->query.sum, &op->part);
	if (op->query.each)
		op->query.each(op->channel->reactor, &op->part, op->query.arg);
}

static enum flow_result bdev_stats_run(struct flow *f)
{
	struct bdev_stats_op *op = container_of(f, struct bdev_stats_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->bdev->channel_gate, &op->turn, flow_resume, f));
	if (op->query.sum)
		*op->query.sum = op->bdev->closed_stats;
	stats_reset(&op->bdev->closed_stats, op->query.reset);
	for (op->channel = list_first_entry(&op->bdev->channels, struct bdev_channel, link);
		list_member(op->channel, link) != &op->bdev->channels;
		op->channel = list_first_entry(&op->channel->link, struct bdev_channel, link)) {
		AWAIT(f, reactor_call(&op->call, f->reactor, op->channel->reactor, bdev_channel_ask,
				 flow_resume, f));
		bdev_stats_take(op);
	}
	bdev_gate_leave(&op->bdev->channel_gate);
	bdev_operation_end(op->bdev);
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

void bdev_query_stats(
	struct bdev *bdev, const struct bdev_stats_query *query, done_fn done, void *arg)
{
	struct bdev_stats_op *op = alloc_op(sizeof(*op));

	op->bdev = bdev;
	op->query = *query;
	op->done = done;
	op->arg = arg;
	bdev_operation_begin(bdev);
	flow_start(&op->flow, bdev->registry->control, "bdev_query_stats", bdev_stats_run);
}

void bdev_get_stats(struct bdev *bdev, struct bdev_io_stats *ret_stats, done_fn done, void *arg)
{
	const struct bdev_stats_query query = {.sum = ret_stats};

	bdev_query_stats(bdev, &query, done, arg);
}
