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
	BDEV_IO_TYPES,
	/* A backend's own work on a range: see bdev_io_step_aside. */
	BDEV_IO_WORK = BDEV_IO_TYPES,
};

enum bdev_io_flags {
	BDEV_IO_FUA = 1 << 0, /* WRITE, WRITE_ZEROES, UNMAP: stable when it completes */
	BDEV_IO_NO_UNMAP = 1 << 1, /* WRITE_ZEROES: the range must stay allocated */
};

#define BDEV_IO_BACKEND_SIZE 96

struct bdev_io {
	/* the submitter's; borrowed until done */
	const struct iovec *iov; /* READ, WRITE: iovcnt entries of length bytes in all */
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

	/* the backend's, for as long as it holds the request */
	union {
		struct os_io os_io;
		uint8_t bytes[BDEV_IO_BACKEND_SIZE];
		void *align;
	} backend;
};

struct bdev_io_stats {
	uint64_t ops[BDEV_IO_TYPES];
	uint64_t bytes[BDEV_IO_TYPES];
	uint64_t latency_ns[BDEV_IO_TYPES]; /* sums, of turn time stamps */
	uint64_t errors;
};

struct bdev_io_list {
	struct bdev_io *head;
	struct bdev_io **tail;
};

/*
 * A block device on one reactor: counted, shared by all users of the device there. The backend's
 * own state follows at backend (ops->channel_size bytes, zeroed, aligned to 8).
 */
struct bdev_channel {
	/* ops->submit; of a device with a larger io_unit_size what comes before it (sectors.c) */
	void (*submit)(struct bdev_channel *channel, struct bdev_io *io);
	struct reactor *reactor;
	bool detour; /* range locks, removal: requests take the general way */
	uint8_t epoch;
	uint16_t unit_mask; /* io_unit_size - 1 */
	unsigned in_flight[2]; /* by epoch: a lock waits until the old epoch has drained */
	struct bdev_io_list completed;
	struct deferred drain; /* calls done of what is on completed */
	struct bdev_io_stats stats;
	struct bdev *bdev;
	void (*submit_units)(struct bdev_channel *channel, struct bdev_io *io); /* ops->submit */
	unsigned users;
	struct list link; /* bdev's channels; control reactor */
	bool removed; /* the device goes: -ENODEV */
	bool draining; /* a hold waits until the other epoch is empty */
	struct list range_holds; /* range locks that concern this channel */
	struct bdev_io_list waiting; /* requests held back by a range lock */
	uint8_t backend[] __attribute__((aligned(8)));
};

/* The general way: range locks, a removed device. */
void bdev_submit_detour(struct bdev_channel *channel, struct bdev_io *io);

static inline unsigned bdev_channel_in_flight(const struct bdev_channel *channel)
{
	return channel->in_flight[0] + channel->in_flight[1];
}

/* For backends over another device: the same at once, done and all. Only from the done of a request
 * to that device, which is never inside submit either. */
void bdev_io_complete_within_done(struct bdev_io *io, int status);

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
	__builtin_prefetch(&channel->completed.tail, 1);
	__builtin_prefetch(&channel->stats.latency_ns, 1);
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

#endif
