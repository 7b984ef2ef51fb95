/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device that is slow: every request is held, after the device below has ended it, for a time of
 * its class. So what is acknowledged late was done in time, as on a disk behind a long cable.
 *
 * Each channel has a queue for each class. In a queue the times are one and the same, so the first
 * to come is the first to go; after a change of the time those that came before go first all the
 * same. Which requests belong to the slow hundredth a generator of the channel's own says. What is
 * held has its buffers; so when the device goes, or the daemon stops, all goes on at once.
 */
#include <errno.h>

#include "filter/filter_impl.h"

struct delay {
	struct filter filter;
	_Atomic uint64_t latency_us[DELAY_LATENCIES]; /* read by data reactors */
};

struct delay_queue {
	struct delay_channel *own;
	struct timer timer;
	struct bdev_io *head;
	struct bdev_io **tail;
};

struct delay_channel {
	struct filter_channel filter;
	struct bdev_channel *channel;
	uint64_t random;
	struct delay_queue queues[DELAY_LATENCIES];
};

/* In the backend's part of a request. */
struct delay_io {
	uint8_t sending[FILTER_SEND_SIZE];
	uint64_t due_ns;
	int status;
};

_Static_assert(sizeof(struct delay_io) <= BDEV_IO_BACKEND_SIZE, "fits in the request");

static struct delay *delay_of(const struct filter *filter)
{
	return container_of((struct filter *)(uintptr_t)filter, struct delay, filter);
}

static struct delay_io *delay_io_of(struct bdev_io *io)
{
	return (struct delay_io *)io->backend.bytes;
}

/* ---- the channel's reactor ----------------------------------------------------------------- */

static void delay_queue_arm(struct delay_queue *queue)
{
	struct reactor *reactor = queue->own->channel->reactor;
	uint64_t due_ns;

	if (!queue->head)
		return;
	due_ns = delay_io_of(queue->head)->due_ns;
	timer_start(
		reactor, &queue->timer, due_ns > reactor->now_ns ? due_ns - reactor->now_ns : 0);
}

static void delay_queue_run(struct delay_queue *queue, bool all)
{
	uint64_t now_ns = queue->own->channel->reactor->now_ns;

	while (queue->head && (all || delay_io_of(queue->head)->due_ns <= now_ns)) {
		struct bdev_io *io = queue->head;

		queue->head = io->next;
		if (!queue->head)
			queue->tail = &queue->head;
		bdev_io_complete(io, delay_io_of(io)->status);
	}
}

static void delay_fired(struct timer *timer)
{
	struct delay_queue *queue = container_of(timer, struct delay_queue, timer);

	delay_queue_run(queue, false);
	delay_queue_arm(queue);
}

static void delay_let_go_channel(struct bdev_channel *channel)
{
	struct delay_channel *own = (struct delay_channel *)channel->backend;

	for (unsigned i = 0; i < DELAY_LATENCIES; i++) {
		timer_stop(channel->reactor, &own->queues[i].timer);
		delay_queue_run(&own->queues[i], true);
	}
}

/* xorshift: its period is that of the state but 0. */
static bool delay_is_slow(struct delay_channel *own)
{
	own->random ^= own->random << 13;
	own->random ^= own->random >> 7;
	own->random ^= own->random << 17;
	return own->random % 100 == 0;
}

static enum delay_latency delay_class(struct delay_channel *own, const struct bdev_io *io)
{
	bool slow = delay_is_slow(own);

	if (io->type == BDEV_IO_READ || io->type == BDEV_IO_EXTENT)
		return slow ? DELAY_P99_READ : DELAY_AVG_READ;
	return slow ? DELAY_P99_WRITE : DELAY_AVG_WRITE;
}

static void delay_ended(struct bdev_io *io, int status)
{
	struct bdev_channel *channel = io->channel;
	struct delay_channel *own = (struct delay_channel *)channel->backend;
	struct delay *delay = delay_of(filter_part_of(channel->bdev)->filter);
	enum delay_latency class = delay_class(own, io);
	uint64_t us = atomic_load_explicit(&delay->latency_us[class], memory_order_relaxed);
	struct delay_queue *queue = &own->queues[class];
	bool first = !queue->head;

	if (!us || channel->removed) {
		bdev_io_complete(io, status);
		return;
	}
	delay_io_of(io)->status = status;
	delay_io_of(io)->due_ns = channel->reactor->now_ns + us * 1000;
	io->next = NULL;
	*queue->tail = io;
	queue->tail = &io->next;
	if (first)
		delay_queue_arm(queue);
}

static void delay_submit(struct bdev_channel *channel, struct bdev_io *io)
{
	filter_send(channel, io, delay_ended);
}

static int delay_channel_init(struct bdev_channel *channel)
{
	struct delay_channel *own = (struct delay_channel *)channel->backend;

	own->channel = channel;
	own->random = channel->reactor->now_ns | 1;
	for (unsigned i = 0; i < DELAY_LATENCIES; i++) {
		own->queues[i].own = own;
		own->queues[i].timer.fired = delay_fired;
		own->queues[i].tail = &own->queues[i].head;
	}
	return 0;
}

/* ---- the control reactor ------------------------------------------------------------------- */

static void delay_ignore(void *arg, int rc)
{
}

static void delay_let_go(struct filter *filter)
{
	for (unsigned i = 0; i < DELAY_LATENCIES; i++)
		delay_set_latency(filter, (enum delay_latency)i, 0);
	filter_call_channels(filter, delay_let_go_channel, delay_ignore, NULL);
}

static json_int_t delay_told(const struct filter *filter, enum delay_latency which)
{
	return (json_int_t)delay_get_latency(filter, which);
}

static json_t *delay_describe(const struct bdev *bdev)
{
	const struct filter *filter = filter_part_of(bdev)->filter;
	char uuid[UUID_STR_LEN];

	uuid_unparse_lower(bdev->uuid, uuid);
	return json_pack("{s:{s:s, s:s, s:s, s:I, s:I, s:I, s:I}}", "delay", "name", filter->name,
		"base_bdev_name", filter->base.bdev->name, "uuid", uuid, "avg_read_latency",
		delay_told(filter, DELAY_AVG_READ), "p99_read_latency",
		delay_told(filter, DELAY_P99_READ), "avg_write_latency",
		delay_told(filter, DELAY_AVG_WRITE), "p99_write_latency",
		delay_told(filter, DELAY_P99_WRITE));
}

static const struct bdev_ops delay_ops = {
	.product_name = "delay",
	.module = "delay",
	.submit = delay_submit,
	.channel_size = sizeof(struct delay_channel),
	.channel_init = delay_channel_init,
	.channel_prepare = filter_channel_prepare,
	.channel_release = filter_channel_release,
	.channel_removed = delay_let_go_channel,
	.supports = filter_supports,
	.describe = delay_describe,
	.destroy = filter_part_destroy,
};

static const struct bdev_user_ops delay_user_ops = FILTER_USER_OPS("delay");

static const struct filter_kind delay_kind = {
	.type = FILTER_DELAY,
	.namespace = "4009b574-6430-4f1b-bc40-ace811091027",
	.text = "delay",
	.ops = &delay_ops,
	.user_ops = &delay_user_ops,
	.fit = filter_fit_all,
	.let_go = delay_let_go,
};

static int delay_check(const struct delay_options *options, struct reason *reason)
{
	const uint64_t *us = options->latency_us;

	if (us[DELAY_P99_READ] < us[DELAY_AVG_READ] || us[DELAY_P99_WRITE] < us[DELAY_AVG_WRITE])
		return reason_set(reason, -EINVAL,
			"the latency of the slowest hundredth cannot be below the average");
	return 0;
}

void delay_create(struct filters *filters, const struct delay_options *options,
	struct reason *reason, done_fn done, void *arg)
{
	int rc = delay_check(options, reason);
	struct filter *filter = NULL;

	if (!rc) {
		filter = filter_alloc(
			filters, &delay_kind, sizeof(struct delay), &options->filter, 1);
		rc = filter ? filter_name_part(filter, 0, options->filter.name, reason) : -ENOMEM;
	}
	for (unsigned i = 0; filter && i < DELAY_LATENCIES; i++)
		delay_set_latency(filter, (enum delay_latency)i, options->latency_us[i]);
	filter_start(filters, filter, rc, reason, done, arg);
}

void delay_set_latency(struct filter *filter, enum delay_latency which, uint64_t latency_us)
{
	atomic_store_explicit(&delay_of(filter)->latency_us[which],
		u64_min(latency_us, INT64_MAX / USEC_NS), memory_order_relaxed);
}

uint64_t delay_get_latency(const struct filter *filter, enum delay_latency which)
{
	return atomic_load_explicit(&delay_of(filter)->latency_us[which], memory_order_relaxed);
}
