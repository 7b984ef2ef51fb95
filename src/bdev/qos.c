/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Limits: how many requests and bytes a second a device takes from all its users.
 *
 * A limit is a clock that runs ahead: free_at is when all that has been let in so far is paid for
 * at its rate. A request reserves: it may begin at the free_at that it finds, and moves it by what
 * it costs itself; of several limits that concern it the latest counts. So the order is that of
 * arrival over all reactors, and nobody has to ask twice. After a pause free_at is behind, by
 * QOS_BURST_NS at most: so much may come at once.
 *
 * A request that may not begin yet waits with its channel, in no epoch: range locks do not wait for
 * it, and it asks about them when it begins. Reads and all else are two queues; in each of them the
 * times only rise. What is done under a range lock is charged, and does not wait: others wait for
 * it.
 *
 * A change of limits starts the clocks again, and all that waits reserves anew, on each reactor.
 * Without limits there is nothing of this: the straight path does not look (channel->detour).
 */
#include <errno.h>
#include <stdlib.h>

#include "bdev/bdev_impl.h"

#define QOS_BURST_NS      MSEC_NS
#define QOS_FRACTION      6 /* bits of free_at below the nanosecond */
#define QOS_UNIT_FRACTION 20 /* of what a request or byte costs */
#define QOS_COST_MAX      (UINT64_C(1) << 50) /* of a request: some hours */

enum qos_limit { QOS_RW_IOS, QOS_RW_BYTES, QOS_R_BYTES, QOS_W_BYTES, QOS_LIMITS };

struct qos_clock {
	_Atomic uint64_t unit_cost; /* ns of a request or byte; 0: no limit */
	_Atomic uint64_t free_at; /* ns of the os's clock */
};

/* Of a device; shared by its channels' reactors. */
struct bdev_qos {
	struct bdev_limits limits; /* control reactor's */
	CACHE_ALIGNED struct qos_clock clocks[QOS_LIMITS];
};

struct qos_queue {
	struct bdev_io_list list;
	struct bdev_channel *channel;
	struct timer timer;
};

struct bdev_channel_qos {
	struct bdev_qos *qos;
	struct qos_queue queues[2]; /* READ, all else */
};

/* In the backend's part of a request that waits: no backend has it. */
static uint64_t *qos_begins_ns(struct bdev_io *io)
{
	return (uint64_t *)io->backend.bytes;
}

/* ---- the clocks ---------------------------------------------------------------------------- */

static uint64_t qos_cost(uint64_t units, uint64_t unit_cost)
{
	uint64_t cost;

	if (__builtin_mul_overflow(units, unit_cost, &cost))
		return QOS_COST_MAX;
	return u64_min(cost >> (QOS_UNIT_FRACTION - QOS_FRACTION), QOS_COST_MAX);
}

static uint64_t clock_reserve(struct qos_clock *clock, uint64_t units, uint64_t now_ns)
{
	uint64_t unit_cost = atomic_load_explicit(&clock->unit_cost, memory_order_relaxed);
	uint64_t cost = qos_cost(units, unit_cost);
	uint64_t behind = (now_ns - u64_min(now_ns, QOS_BURST_NS)) << QOS_FRACTION;
	uint64_t old = atomic_load_explicit(&clock->free_at, memory_order_relaxed);
	uint64_t from;

	if (!unit_cost || !units)
		return 0;
	do {
		from = u64_max(old, behind);
	} while (!atomic_compare_exchange_weak_explicit(
		&clock->free_at, &old, from + cost, memory_order_relaxed, memory_order_relaxed));
	return from >> QOS_FRACTION;
}

static bool qos_counts(const struct bdev_io *io)
{
	return io->type == BDEV_IO_READ || io->type == BDEV_IO_WRITE || io->type == BDEV_IO_UNMAP ||
	       io->type == BDEV_IO_WRITE_ZEROES;
}

/* When it may begin. UNMAP and WRITE_ZEROES move no data: they count as requests only. */
static uint64_t qos_reserve(struct bdev_qos *qos, const struct bdev_io *io, uint64_t now_ns)
{
	uint64_t read = io->type == BDEV_IO_READ ? io->length : 0;
	uint64_t written = io->type == BDEV_IO_WRITE ? io->length : 0;
	uint64_t begins = clock_reserve(&qos->clocks[QOS_RW_IOS], 1, now_ns);

	begins = u64_max(begins, clock_reserve(&qos->clocks[QOS_RW_BYTES], read + written, now_ns));
	begins = u64_max(begins, clock_reserve(&qos->clocks[QOS_R_BYTES], read, now_ns));
	return u64_max(begins, clock_reserve(&qos->clocks[QOS_W_BYTES], written, now_ns));
}

/* ---- the channel's reactor ----------------------------------------------------------------- */

static void qos_queue_arm(struct qos_queue *queue)
{
	struct reactor *reactor = queue->channel->reactor;
	uint64_t begins_ns;

	if (!queue->list.head)
		return;
	begins_ns = *qos_begins_ns(queue->list.head);
	timer_start(reactor, &queue->timer,
		begins_ns > reactor->now_ns ? begins_ns - reactor->now_ns : 0);
}

static void qos_queue_fired(struct timer *timer)
{
	struct qos_queue *queue = container_of(timer, struct qos_queue, timer);
	struct bdev_channel *channel = queue->channel;
	uint64_t now_ns = channel->reactor->now_ns;

	while (queue->list.head && *qos_begins_ns(queue->list.head) <= now_ns) {
		struct bdev_io *io = queue->list.head;

		queue->list.head = io->next;
		if (!io->next)
			bdev_io_list_init(&queue->list);
		bdev_submit_admitted(channel, io);
	}
	qos_queue_arm(queue);
}

bool bdev_qos_holds_back(struct bdev_channel *channel, struct bdev_io *io)
{
	struct bdev_channel_qos *own = channel->qos;
	struct qos_queue *queue = &own->queues[io->type != BDEV_IO_READ];
	uint64_t now_ns = channel->reactor->now_ns;
	uint64_t begins_ns;
	bool first;

	if (!qos_counts(io))
		return false;
	begins_ns = qos_reserve(own->qos, io, now_ns);
	if (io->lock || (begins_ns <= now_ns && !queue->list.head))
		return false;
	first = !queue->list.head;
	*qos_begins_ns(io) = begins_ns;
	io->epoch = BDEV_EPOCH_LIMIT;
	bdev_io_list_add(&queue->list, io);
	if (first)
		qos_queue_arm(queue);
	return true;
}

struct bdev_io *bdev_qos_take_waiting(struct bdev_channel *channel)
{
	struct bdev_io_list all;

	bdev_io_list_init(&all);
	for (unsigned i = 0; channel->qos && i < ARRAY_SIZE(channel->qos->queues); i++) {
		struct qos_queue *queue = &channel->qos->queues[i];

		timer_stop(channel->reactor, &queue->timer);
		if (!queue->list.head)
			continue;
		*all.tail = queue->list.head;
		all.tail = queue->list.tail;
		bdev_io_list_init(&queue->list);
	}
	return all.head;
}

/* What waits asks again: the clocks are others, or there are none. */
static void qos_channel_again(struct bdev_channel *channel, struct bdev_io *io)
{
	while (io) {
		struct bdev_io *next = io->next;

		bdev_submit_detour(channel, io);
		io = next;
	}
}

/* ---- the control reactor ------------------------------------------------------------------- */

struct bdev_channel_qos *bdev_channel_qos_create(struct bdev_channel *channel)
{
	struct bdev_channel_qos *own = alloc_op(sizeof(*own));

	own->qos = channel->bdev->qos;
	for (unsigned i = 0; i < ARRAY_SIZE(own->queues); i++) {
		bdev_io_list_init(&own->queues[i].list);
		own->queues[i].channel = channel;
		own->queues[i].timer.fired = qos_queue_fired;
	}
	return own;
}

static void clock_set(struct qos_clock *clock, uint64_t rate)
{
	uint64_t unit_cost = rate ? ((uint64_t)1000000000 << QOS_UNIT_FRACTION) / rate : 0;

	/* A rate beyond what can be told from none is none. */
	atomic_store_explicit(&clock->unit_cost, unit_cost, memory_order_relaxed);
	atomic_store_explicit(&clock->free_at, 0, memory_order_relaxed);
}

static void qos_set(struct bdev_qos *qos, const struct bdev_limits *limits)
{
	qos->limits = *limits;
	clock_set(&qos->clocks[QOS_RW_IOS], limits->rw_ios);
	clock_set(&qos->clocks[QOS_RW_BYTES], limits->rw_bytes);
	clock_set(&qos->clocks[QOS_R_BYTES], limits->r_bytes);
	clock_set(&qos->clocks[QOS_W_BYTES], limits->w_bytes);
}

static bool limits_are_none(const struct bdev_limits *limits)
{
	return !(limits->rw_ios | limits->rw_bytes | limits->r_bytes | limits->w_bytes);
}

struct qos_op {
	struct bdev_limits limits;
	struct bdev_channel_qos *made; /* for the channel at hand, unless it has one */
	struct bdev_channel_qos *ended;
	bool none;
	done_fn done;
	void *arg;
};

static int qos_enter(struct bdev *bdev, void *arg)
{
	const struct qos_op *op = arg;

	if (!bdev->qos && !op->none)
		bdev->qos = alloc_lines(sizeof(*bdev->qos));
	if (!bdev->qos)
		return op->none ? 0 : -ENOMEM;
	qos_set(bdev->qos, &op->limits);
	return 0;
}

static void qos_before(struct bdev_channel *channel, void *arg)
{
	struct qos_op *op = arg;

	op->made = op->none ? NULL : bdev_channel_qos_create(channel);
	op->ended = NULL;
}

/* Channel's reactor. */
static void qos_apply(struct bdev_channel *channel, void *arg)
{
	struct qos_op *op = arg;
	struct bdev_io *waiting = bdev_qos_take_waiting(channel);

	if (op->none) {
		op->ended = channel->qos;
		channel->qos = NULL;
	} else if (!channel->qos) {
		channel->qos = op->made;
		op->made = NULL;
	}
	qos_channel_again(channel, waiting);
	bdev_channel_set_detour(channel);
}

static void qos_after(struct bdev_channel *channel, void *arg)
{
	struct qos_op *op = arg;

	free(op->made);
	free(op->ended);
}

static void qos_leave(struct bdev *bdev, void *arg)
{
	const struct qos_op *op = arg;

	if (!op->none)
		return;
	free(bdev->qos);
	bdev->qos = NULL;
}

static const struct bdev_each_channel qos_each = {
	.enter = qos_enter,
	.before = qos_before,
	.run = qos_apply,
	.after = qos_after,
	.leave = qos_leave,
};

static void qos_set_done(void *arg, int rc)
{
	struct qos_op *op = arg;

	op->done(op->arg, rc);
	free(op);
}

void bdev_set_limits(struct bdev *bdev, const struct bdev_limits *limits, done_fn done, void *arg)
{
	struct qos_op *op = alloc_op(sizeof(*op));

	op->limits = *limits;
	op->none = limits_are_none(limits);
	op->done = done;
	op->arg = arg;
	bdev_for_each_channel(bdev, &qos_each, op, qos_set_done, op);
}

struct bdev_limits bdev_get_limits(const struct bdev *bdev)
{
	return bdev->qos ? bdev->qos->limits : (struct bdev_limits){0};
}
