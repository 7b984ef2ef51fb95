/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Histograms of latency: how many requests of each type took how long, in buckets that are linear
 * within a power of two (bdev.h). Each channel counts for itself; who asks adds them up, and those
 * of channels that are gone are kept with the device.
 *
 * The straight path knows nothing of them: it calls bdev_io_note for what is slower or faster than
 * all before, and while there is a histogram for everything: the channel's bounds stay as those of
 * one that has seen no request.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bdev/bdev_impl.h"

/* The range that a time is in: 0 up to 2^granularity - 1, then one for each power of two. */
static unsigned histogram_range(unsigned granularity, uint64_t ns)
{
	unsigned log = ns ? 63 - (unsigned)__builtin_clzll(ns) : 0;

	return log < granularity ? 0 : log - granularity + 1;
}

static unsigned histogram_bucket(const struct bdev_histogram *histogram, uint64_t ns)
{
	unsigned granularity = histogram->options.granularity;
	unsigned range = histogram_range(granularity, ns);
	uint64_t within = range ? ns >> (range - 1) : ns;

	if (range < histogram->min_range)
		return 0;
	if (range > histogram->max_range)
		return histogram->buckets - 1;
	within &= (UINT64_C(1) << granularity) - 1;
	return (range - histogram->min_range) << granularity | (unsigned)within;
}

uint64_t bdev_histogram_bucket_end(const struct bdev_histogram *histogram, unsigned bucket)
{
	unsigned granularity = histogram->options.granularity;
	unsigned range = histogram->min_range + (bucket >> granularity);
	uint64_t within = (bucket & ((1u << granularity) - 1)) + 1;

	if (range == 0)
		return within;
	return ((UINT64_C(1) << granularity) + within) << (range - 1);
}

static uint64_t *histogram_of(struct bdev_histogram *histogram, unsigned type)
{
	return histogram->counts + (size_t)type * histogram->buckets;
}

static size_t histogram_counts(const struct bdev_histogram *histogram)
{
	return (size_t)BDEV_IO_TYPES * histogram->buckets;
}

static void histogram_add(struct bdev_histogram *sum, const struct bdev_histogram *part)
{
	for (size_t i = 0; i < histogram_counts(sum); i++)
		sum->counts[i] += part->counts[i];
}

static struct bdev_histogram *histogram_alloc(const struct bdev_histogram_options *options)
{
	unsigned min_range = histogram_range(options->granularity, options->min_ns);
	unsigned max_range = histogram_range(options->granularity, options->max_ns);
	unsigned buckets = (max_range - min_range + 1) << options->granularity;
	struct bdev_histogram *histogram =
		alloc_lines(sizeof(*histogram) + sizeof(uint64_t) * BDEV_IO_TYPES * buckets);

	if (!histogram)
		return NULL;
	histogram->options = *options;
	histogram->min_range = min_range;
	histogram->max_range = max_range;
	histogram->buckets = buckets;
	return histogram;
}

/* ---- the channel's reactor ----------------------------------------------------------------- */

void bdev_channel_note_all(struct bdev_channel *channel)
{
	for (unsigned type = 0; type < BDEV_IO_TYPES; type++) {
		channel->stats.of[type].slow_ns = 0;
		channel->stats.of[type].fast_ns = UINT32_MAX;
	}
}

/* Beyond 32 bits, 4 s, each is noted. */
static void bounds_set(struct bdev_io_count *count, const struct bdev_io_extremes *extremes)
{
	count->slow_ns = (uint32_t)u64_min(extremes->slowest_ns, UINT32_MAX);
	count->fast_ns = (uint32_t)u64_min(~extremes->fastest_inverted, UINT32_MAX);
}

void bdev_io_note(struct bdev_io *io, struct bdev_channel *channel, uint64_t latency_ns)
{
	struct bdev_io_extremes *extremes = &channel->stats.extremes[io->type];
	struct bdev_histogram *histogram = channel->histogram;

	if (io->flags & BDEV_IO_PART)
		return;
	extremes->slowest_ns = u64_max(extremes->slowest_ns, latency_ns);
	extremes->fastest_inverted = u64_max(extremes->fastest_inverted, ~latency_ns);
	if (!histogram)
		bounds_set(&channel->stats.of[io->type], extremes);
	else if (histogram->options.types & 1u << io->type)
		histogram_of(histogram, io->type)[histogram_bucket(histogram, latency_ns)]++;
}

/* ---- the control reactor ------------------------------------------------------------------- */

int bdev_channel_histogram_create(struct bdev_channel *channel)
{
	if (!channel->bdev->histogram)
		return 0;
	channel->histogram = histogram_alloc(&channel->bdev->histogram->options);
	return channel->histogram ? 0 : -ENOMEM;
}

/* Options that have changed since then have begun another count. */
void bdev_channel_histogram_free(struct bdev_channel *channel)
{
	if (channel->histogram && channel->bdev->histogram)
		histogram_add(channel->bdev->histogram, channel->histogram);
	free(channel->histogram);
}

struct histogram_op {
	struct bdev_histogram_options options;
	bool off;
	int rc; /* no memory for a channel's */
	struct bdev_histogram *swapped; /* goes to the channel, what it had comes back */
	struct bdev_histogram *sum; /* of who asks */
	struct bdev_histogram **ret_sum;
	done_fn done;
	void *arg;
};

static int histogram_enter_set(struct bdev *bdev, void *arg)
{
	const struct histogram_op *op = arg;
	struct bdev_histogram *histogram = op->off ? NULL : histogram_alloc(&op->options);

	if (!op->off && !histogram)
		return -ENOMEM;
	free(bdev->histogram);
	bdev->histogram = histogram;
	return 0;
}

static void histogram_before_set(struct bdev_channel *channel, void *arg)
{
	struct histogram_op *op = arg;

	op->swapped = op->off ? NULL : histogram_alloc(&op->options);
	if (!op->off && !op->swapped)
		op->rc = -ENOMEM;
}

static void histogram_run_set(struct bdev_channel *channel, void *arg)
{
	struct histogram_op *op = arg;
	struct bdev_histogram *before = channel->histogram;

	channel->histogram = op->swapped;
	bdev_channel_note_all(channel);
	op->swapped = before;
}

static void histogram_after_set(struct bdev_channel *channel, void *arg)
{
	free(((struct histogram_op *)arg)->swapped);
}

static const struct bdev_each_channel histogram_set = {
	.enter = histogram_enter_set,
	.before = histogram_before_set,
	.run = histogram_run_set,
	.after = histogram_after_set,
};

static void histogram_set_done(void *arg, int rc)
{
	struct histogram_op *op = arg;

	op->done(op->arg, rc ? rc : op->rc);
	free(op);
}

void bdev_set_histogram(
	struct bdev *bdev, const struct bdev_histogram_options *options, done_fn done, void *arg)
{
	struct histogram_op *op = alloc_op(sizeof(*op));

	invariant(!options || (options->granularity <= BDEV_HISTOGRAM_GRANULARITY_MAX &&
				      options->min_ns <= options->max_ns));
	op->off = !options;
	if (options)
		op->options = *options;
	op->done = done;
	op->arg = arg;
	bdev_for_each_channel(bdev, &histogram_set, op, histogram_set_done, op);
}

static int histogram_enter_get(struct bdev *bdev, void *arg)
{
	struct histogram_op *op = arg;

	if (!bdev->histogram)
		return -ENOENT;
	op->sum = histogram_alloc(&bdev->histogram->options);
	if (!op->sum)
		return -ENOMEM;
	histogram_add(op->sum, bdev->histogram);
	return 0;
}

static void histogram_run_get(struct bdev_channel *channel, void *arg)
{
	struct histogram_op *op = arg;

	if (channel->histogram)
		histogram_add(op->sum, channel->histogram);
}

static const struct bdev_each_channel histogram_get = {
	.enter = histogram_enter_get,
	.run = histogram_run_get,
};

static void histogram_get_done(void *arg, int rc)
{
	struct histogram_op *op = arg;

	*op->ret_sum = op->sum;
	op->done(op->arg, rc);
	free(op);
}

void bdev_get_histogram(
	struct bdev *bdev, struct bdev_histogram **ret_histogram, done_fn done, void *arg)
{
	struct histogram_op *op = alloc_op(sizeof(*op));

	op->ret_sum = ret_histogram;
	op->done = done;
	op->arg = arg;
	bdev_for_each_channel(bdev, &histogram_get, op, histogram_get_done, op);
}

uint64_t bdev_histogram_count(
	const struct bdev_histogram *histogram, unsigned type, unsigned bucket)
{
	return histogram->counts[(size_t)type * histogram->buckets + bucket];
}
