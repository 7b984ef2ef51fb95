/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The request of the block layer and the channel it goes through.
 *
 * A bdev_io is embedded in its submitter's own request (a virtqueue's array, a SCSI task, a slab
 * object). The submitter fills the first part, calls bdev_submit on the channel's reactor, and is
 * called back once through done, later, on the same reactor, never from inside submit. Offsets and
 * lengths are bytes, multiples of the device's block size, within its size: the submitter checks
 * (it knows which status its guest gets for a violation). A backend's are multiples of its
 * io_unit_size.
 *
 * The straight path is bdev_submit -> ops->submit -> bdev_io_complete -> done, inline but for one
 * indirect call down and one up.
 *
 * Passing down. A device over another one that would only give its request another offset need not
 * make a second request: it hands down the very one that it was given. Whose it is when:
 *
 *	above	from submit on, and again from its done on: all is as the submitter filled it
 *	below	in between: channel, offset, epoch and done are those of a request to the
 *		device below, which knows no other; io->above keeps what was there before
 *
 * In between it is in flight on both channels, each by an epoch of its own. So a range lock of the
 * device above (a snapshot's) that comes meanwhile waits for it, one of the device below does as
 * well, and neither knows of the other. It is counted on both devices, below whatever its status,
 * above when it ends there: what failed may go on by another way first.
 *
 * There is room for one device above: bdev_channel_set_passing marks those that pass down, and over
 * such a one nobody else does (bdev_channel_takes_passed).
 */
#ifndef BDEV_IO_H
#define BDEV_IO_H

#include "core/reactor.h"

struct bdev;
struct bdev_channel;
struct bdev_range_lock;

enum bdev_io_type {
	BDEV_IO_READ,
	BDEV_IO_WRITE,
	BDEV_IO_FLUSH, /* all writes that completed before are stable when it completes */
	BDEV_IO_UNMAP, /* discard; contents undefined unless the device says zeroes */
	BDEV_IO_WRITE_ZEROES, /* reads zeroes afterwards */
	BDEV_IO_EXTENT, /* changes nothing: says in io->extent how the range begins */
	BDEV_IO_TYPES,
	/* A backend's own work on a range: see bdev_io_step_aside. */
	BDEV_IO_WORK = BDEV_IO_TYPES,
};

enum bdev_io_flags {
	BDEV_IO_FUA = 1 << 0, /* WRITE, WRITE_ZEROES, UNMAP: stable when it completes */
	BDEV_IO_NO_UNMAP = 1 << 1, /* WRITE_ZEROES: the range must stay allocated */
	BDEV_IO_PART = 1 << 2, /* the block layer's: of a request that is counted itself */
};

enum bdev_extent_state {
	BDEV_EXTENT_MAPPED, /* or nobody knows */
	BDEV_EXTENT_DEALLOCATED, /* takes no space, and reads as after UNMAP */
};

struct bdev_extent {
	uint64_t length; /* from io->offset on, as far as that is so; in whole blocks, not 0 */
	enum bdev_extent_state state;
};

#define BDEV_IO_BACKEND_SIZE 96

struct bdev_io {
	/* the submitter's; borrowed until done */
	union {
		const struct iovec *iov; /* READ, WRITE: iovcnt entries of length bytes in all */
		struct bdev_extent *extent; /* EXTENT: set when status is 0 */
	};
	uint64_t offset;
	uint64_t length;
	void (*done)(struct bdev_io *io);
	uint8_t type;
	uint8_t flags;
	uint16_t iovcnt;
	int32_t status; /* at done: 0 or -errno (-EIO, -ENOSPC, -ENODEV, ...) */
	const struct bdev_range_lock *lock; /* the lock this request is made under, or NULL */

	/* the block layer's */
	struct bdev_channel *channel;
	struct bdev_io *next; /* completion list, waiting list; the backend's while it has it */
	uint64_t submitted_ns;
	uint8_t epoch;
	/* of the device above, while one below has the request */
	struct {
		uint8_t epoch;
		struct bdev_channel *channel;
		uint64_t offset;
		void (*done)(struct bdev_io *io);
	} above;

	/* the backend's, for as long as it holds the request */
	union {
		struct os_io os_io;
		uint8_t bytes[BDEV_IO_BACKEND_SIZE];
		void *align;
	} backend;
};

/* 0 until a request has ended, both of them. */
struct bdev_io_extremes {
	uint64_t slowest_ns;
	uint64_t fastest_inverted; /* ~ns */
};

struct bdev_io_stats {
	struct bdev_io_count {
		uint64_t ops;
		uint64_t bytes;
		uint64_t latency_ns; /* sum, of turn time stamps */
		/* Of a channel: what is slower, or faster, is noted (histogram.c). */
		uint32_t slow_ns;
		uint32_t fast_ns;
	} of[BDEV_IO_TYPES];
	uint64_t errors;
	struct bdev_io_extremes extremes[BDEV_IO_TYPES];
};

struct bdev_io_list {
	struct bdev_io *head;
	struct bdev_io **tail;
};

/*
 * A block device on one reactor: counted, shared by all users of the device there. The backend's
 * own state follows at backend (ops->channel_size bytes, zeroed, on a line of its own). A READ or
 * WRITE on the straight path touches the first line, that of stats, and the backend's.
 */
struct bdev_channel {
	/* ops->submit; of a device with a larger io_unit_size what comes before it (sectors.c) */
	void (*submit)(struct bdev_channel *channel, struct bdev_io *io);
	struct reactor *reactor;
	bool detour; /* range locks, limits, removal: requests take the general way */
	bool draining; /* a hold waits until the other epoch is empty */
	uint8_t epoch;
	uint16_t unit_mask; /* io_unit_size - 1 */
	unsigned in_flight[2]; /* by epoch: a lock waits until the old epoch has drained */
	struct bdev_io_list completed;
	struct deferred drain; /* calls done of what is on completed */
	struct bdev *bdev;
	CACHE_ALIGNED struct bdev_io_stats stats; /* first READ and WRITE, which share a line */
	struct bdev_histogram *histogram; /* or NULL */
	void (*submit_units)(struct bdev_channel *channel, struct bdev_io *io); /* ops->submit */
	unsigned users;
	struct list link; /* bdev's channels; control reactor */
	bool removed; /* the device goes: -ENODEV */
	bool passes_down;
	struct list range_holds; /* range locks that concern this channel */
	struct bdev_io_list waiting; /* requests held back by a range lock */
	struct bdev_channel_qos *qos; /* NULL: there are no limits */
	CACHE_ALIGNED uint8_t backend[];
};

/* The general way: limits, range locks, a removed device. */
void bdev_submit_detour(struct bdev_channel *channel, struct bdev_io *io);

static inline unsigned bdev_channel_in_flight(const struct bdev_channel *channel)
{
	return channel->in_flight[0] + channel->in_flight[1];
}

/* Channel's reactor: bdev_io_end where anything is unusual. */
void bdev_io_end_unusual(struct bdev_io *io);

/*
 * For backends. From step aside to step back a request does not count as in flight, so that range
 * locks are granted without waiting for it: for a backend that takes a range lock itself. In
 * between it touches nothing but under such a lock.
 */
void bdev_io_step_aside(struct bdev_io *io);
void bdev_io_step_back(struct bdev_io *io);
/*
 * For backends: work of their own on a range (BDEV_IO_WORK) is submitted like a request, so that
 * range locks hold it up and wait for it, and comes to ops->submit, also on a device that goes
 * (channel->removed). It ends by stepping aside; statistics do not know of it, nobody calls done.
 */

/* Requests will come soon. */
static inline void bdev_channel_prefetch(struct bdev_channel *channel)
{
	__builtin_prefetch(channel, 1);
	__builtin_prefetch(&channel->stats, 1);
	__builtin_prefetch(channel->backend, 1);
}

/* Channel's reactor. */
static inline void bdev_submit(struct bdev_channel *channel, struct bdev_io *io)
{
	io->channel = channel;
	io->submitted_ns = channel->reactor->now_ns;
	if (unlikely(channel->detour)) {
		bdev_submit_detour(channel, io);
		return;
	}
	io->epoch = channel->epoch;
	channel->in_flight[io->epoch]++;
	channel->submit(channel, io);
}

/* For backends: the request has ended. Only queues: done runs in this turn's DEFER_COMPLETE phase,
 * so it may be called from inside ops->submit. */
static inline void bdev_io_complete(struct bdev_io *io, int status)
{
	struct bdev_channel *channel = io->channel;

	io->status = status;
	io->next = NULL;
	*channel->completed.tail = io;
	channel->completed.tail = &io->next;
	reactor_defer(channel->reactor, DEFER_COMPLETE, &channel->drain);
}

/* ---- passing down (above) ----------------------------------------------- */

/* Control reactor, before anybody uses it: requests of this channel will be passed down. */
static inline void bdev_channel_set_passing(struct bdev_channel *channel)
{
	channel->passes_down = true;
}

/* For good: may the requests of a device above be passed down to this channel? */
static inline bool bdev_channel_takes_passed(const struct bdev_channel *below)
{
	return !below->passes_down;
}

/* Just now, and this one? What has waited above has a stamp that is not the time at which the
 * device below would get it. */
static inline bool bdev_io_may_pass(const struct bdev_io *io, const struct bdev_channel *below)
{
	return !below->detour && io->submitted_ns == below->reactor->now_ns;
}

/* In ops->submit, when it may pass: the device below has it, at that offset, until done, in which
 * the first call is bdev_io_take_back. */
static inline void bdev_io_pass_down(struct bdev_io *io, struct bdev_channel *below,
	uint64_t offset, void (*done)(struct bdev_io *io))
{
	io->above.epoch = io->epoch;
	io->above.channel = io->channel;
	io->above.offset = io->offset;
	io->above.done = io->done;
	io->channel = below;
	io->offset = offset;
	io->done = done;
	io->epoch = below->epoch;
	below->in_flight[io->epoch]++;
	below->submit(below, io);
}

/* In flight above only, as it was before pass_down, with the status from below. */
static inline void bdev_io_take_back(struct bdev_io *io)
{
	io->epoch = io->above.epoch;
	io->channel = io->above.channel;
	io->offset = io->above.offset;
	io->done = io->above.done;
}

/* It took longer, or less long, than all before it; or there is a histogram. */
void bdev_io_note(struct bdev_io *io, struct bdev_channel *channel, uint64_t latency_ns);

static inline bool bdev_io_is_noted(const struct bdev_io_count *count, uint64_t latency_ns)
{
	return latency_ns > count->slow_ns || latency_ns < count->fast_ns;
}

/* The rest of the end, but for what comes after done. For channel.c too. */
static inline void bdev_io_count(struct bdev_io *io, struct bdev_channel *channel)
{
	const uint64_t latency_ns = channel->reactor->now_ns - io->submitted_ns;
	struct bdev_io_count *count = &channel->stats.of[(size_t)io->type];

	count->ops++;
	count->latency_ns += latency_ns;
	if (unlikely(bdev_io_is_noted(count, latency_ns)))
		bdev_io_note(io, channel, latency_ns);
	if (likely(!io->status))
		count->bytes += io->length;
	else
		channel->stats.errors++;
	channel->in_flight[io->epoch]--;
}

/* It has ended with io->status, and done is called at once: only from the done of a request to a
 * device below, which is never inside submit either. No call on the usual way but done's, the last,
 * so that it needs no frame. */
static inline void bdev_io_end(struct bdev_io *io)
{
	struct bdev_channel *channel = io->channel;
	const uint64_t latency_ns = channel->reactor->now_ns - io->submitted_ns;
	struct bdev_io_count *count = &channel->stats.of[(size_t)io->type];

	if (unlikely(io->status || channel->draining || bdev_io_is_noted(count, latency_ns))) {
		bdev_io_end_unusual(io);
		return;
	}
	count->ops++;
	count->bytes += io->length;
	count->latency_ns += latency_ns;
	channel->in_flight[io->epoch]--;
	io->done(io);
}

#endif
