/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sectors smaller than what the backend reads and writes: 512 bytes on a device of 4096.
 *
 * A backend that says a larger io_unit_size than the block_size of its device gets requests of
 * whole units only. Those that are, FLUSH and EXTENT (a backend answers for any block) go straight
 * to it, for one test and one jump. What begins or ends within a unit:
 *
 *	READ		all of its units; what was not asked for goes to memory that nobody looks at
 *	WRITE		the units that it has a part of are read, at most two, and one write takes
 *			the data with what was read around it
 *	WRITE_ZEROES	zeroes into the parts of units, unless they are there already; beside it
 *			WRITE_ZEROES of the units in between
 *	UNMAP		the whole units; parts are left as they are, or as WRITE_ZEROES where the
 *			device promises that what is unmapped reads zeroes
 *
 * What reads and then writes is alone meanwhile on all of its units, on every reactor, by a range
 * lock of the device; a request under a lock of somebody else is so already, since locks of such a
 * device are of whole units. The request stands aside until its end, so that its own lock, and a
 * backend's below a part of it, need not wait for it. The lock is given back after the request has
 * ended: the device outlives its locks, and nothing else is touched by then.
 *
 * A power cut: the backend writes a unit at once or not at all as far as its device does, and what
 * is written around the data is what was there; so neighbours are as they were, or written again
 * with what they were. FUA and NO_UNMAP are those of the request.
 *
 * Parts are no requests of a user: statistics do not count them, and locks that came after the
 * request do not hold them back. A part that finds the device removed ends with -ENODEV, one that
 * finds no space with -ENOSPC, and so does the request.
 *
 * Memory is the reactor's (slab.h): the state, and a unit for each end. All of it is there before
 * anything is begun; while it is not the request waits for it.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "bdev/bdev_impl.h"
#include "core/slab.h"

/* A request to the backend. */
struct sector_part {
	struct bdev_io io;
	struct sector_op *op;
	struct iovec iov;
};

struct sector_op {
	struct flow flow;
	struct bdev_channel *channel;
	struct bdev_io *io; /* the user's */
	uint64_t start; /* the units that it touches */
	uint64_t end;
	uint8_t *head; /* memory for the unit at start, or NULL: not needed */
	uint8_t *tail; /* for the last one, when that is another */
	struct iovec *iov; /* of a READ or WRITE of all, or NULL: not needed */
	bool locks; /* a range lock of its own */
	bool head_changed; /* zeroes have come into it */
	bool tail_changed;
	unsigned pending; /* parts */
	int status; /* the first failure of one */
	void (*ended)(struct sector_op *op); /* all that are pending */
	struct bdev_range_lock lock;
	struct sector_part parts[3];
	struct iovec few[];
};

#define FEW_ENTRIES ((slab_object_size(SLAB_4K) - sizeof(struct sector_op)) / sizeof(struct iovec))

_Static_assert(sizeof(struct sector_op) <= 2048, "half of a slab object is vectors");

static uint64_t sector_unit(const struct sector_op *op)
{
	return op->channel->bdev->io_unit_size;
}

static uint64_t sector_io_end(const struct sector_op *op)
{
	return op->io->offset + op->io->length;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static void sector_part_done(struct bdev_io *io)
{
	struct sector_op *op = container_of(io, struct sector_part, io)->op;

	bdev_channel_uncount(op->channel, io);
	if (io->status && !op->status)
		op->status = io->status;
	if (--op->pending == 0)
		op->ended(op);
}

static void sector_part_submit(struct sector_op *op, const struct bdev_io *what)
{
	struct bdev_channel *channel = op->channel;
	struct sector_part *part = &op->parts[op->pending++];
	struct bdev_io *io = &part->io;

	part->op = op;
	*io = *what;
	io->flags |= BDEV_IO_PART;
	io->done = sector_part_done;
	io->lock = op->locks ? &op->lock : op->io->lock;
	io->channel = channel;
	io->submitted_ns = channel->reactor->now_ns;
	if (channel->removed) {
		bdev_channel_refuse(channel, io, -ENODEV);
		return;
	}
	io->epoch = channel->epoch;
	channel->in_flight[io->epoch]++;
	channel->submit_units(channel, io);
}

static uint8_t sector_flags(const struct sector_op *op, enum bdev_io_type type)
{
	return type == BDEV_IO_READ ? 0 : op->io->flags & BDEV_IO_FUA;
}

/* Of a unit, between its memory and the device. */
static void sector_unit_submit(
	struct sector_op *op, enum bdev_io_type type, uint64_t offset, uint8_t *memory)
{
	struct iovec *iov = &op->parts[op->pending].iov;

	*iov = (struct iovec){.iov_base = memory, .iov_len = sector_unit(op)};
	sector_part_submit(op, &(struct bdev_io){
				       .type = (uint8_t)type,
				       .flags = sector_flags(op, type),
				       .iov = iov,
				       .iovcnt = 1,
				       .offset = offset,
				       .length = sector_unit(op),
			       });
}

/* All units by one request: what is before, the user's, what is behind. */
static void sector_all_submit(struct sector_op *op, uint8_t *before, uint8_t *behind)
{
	const struct bdev_io *io = op->io;
	struct iovec *iov = op->iov;
	unsigned count = 0;

	if (io->offset > op->start)
		iov[count++] = (struct iovec){before, io->offset - op->start};
	memcpy(iov + count, io->iov, io->iovcnt * sizeof(*iov));
	count += io->iovcnt;
	if (op->end > sector_io_end(op))
		iov[count++] = (struct iovec){behind, op->end - sector_io_end(op)};
	sector_part_submit(op, &(struct bdev_io){
				       .type = io->type,
				       .flags = sector_flags(op, io->type),
				       .iov = iov,
				       .iovcnt = (uint16_t)count,
				       .offset = op->start,
				       .length = op->end - op->start,
			       });
}

/* The whole units of an UNMAP or WRITE_ZEROES; length 0: none. */
struct sector_span {
	uint64_t offset;
	uint64_t length;
};

static struct sector_span sector_middle(const struct sector_op *op)
{
	uint64_t from = align_up(op->io->offset, sector_unit(op));
	uint64_t to = align_down(sector_io_end(op), sector_unit(op));

	return (struct sector_span){from, from < to ? to - from : 0};
}

static void sector_middle_submit(struct sector_op *op, const struct sector_span *middle)
{
	sector_part_submit(op, &(struct bdev_io){
				       .type = op->io->type,
				       .flags = op->io->flags & (BDEV_IO_FUA | BDEV_IO_NO_UNMAP),
				       .offset = middle->offset,
				       .length = middle->length,
			       });
}

/* ---- memory ---------------------------------------------------------------------------------- */

static enum slab_class sector_class(size_t bytes)
{
	enum slab_class class = SLAB_4K;

	while (slab_object_size(class) < bytes)
		class ++;
	return class;
}

static size_t sector_iov_bytes(const struct sector_op *op)
{
	return (op->io->iovcnt + 2u) * sizeof(*op->iov);
}

static void sector_put_memory(struct sector_op *op)
{
	struct reactor *reactor = op->channel->reactor;

	if (op->iov && op->iov != op->few)
		slab_put(reactor, sector_class(sector_iov_bytes(op)), op->iov);
	if (op->head)
		slab_put(reactor, sector_class(sector_unit(op)), op->head);
	if (op->tail)
		slab_put(reactor, sector_class(sector_unit(op)), op->tail);
	op->iov = NULL;
	op->head = op->tail = NULL;
}

static bool sector_unmap_is_plain(const struct bdev_channel *channel, const struct bdev_io *io)
{
	return io->type == BDEV_IO_UNMAP && !channel->bdev->unmap_reads_zeroes;
}

/* What is read of the last unit and not asked for can go to the memory of the first one. */
static bool sector_needs_tail(const struct sector_op *op)
{
	return op->io->type != BDEV_IO_READ && op->end > sector_io_end(op) &&
	       op->end - op->start > sector_unit(op);
}

static bool sector_needs_head(const struct sector_op *op)
{
	return op->io->type == BDEV_IO_READ || op->io->offset > op->start || !sector_needs_tail(op);
}

static bool sector_needs_iov(const struct sector_op *op)
{
	return op->io->type == BDEV_IO_READ || op->io->type == BDEV_IO_WRITE;
}

/* false: *ret_dry has none. */
static bool sector_get_memory(struct sector_op *op, enum slab_class *ret_dry)
{
	struct reactor *reactor = op->channel->reactor;

	if (sector_unmap_is_plain(op->channel, op->io))
		return true;
	*ret_dry = sector_class(sector_unit(op));
	if (sector_needs_head(op) && !(op->head = slab_get(reactor, *ret_dry)))
		return false;
	if (sector_needs_tail(op) && !(op->tail = slab_get(reactor, *ret_dry)))
		return false;
	if (!sector_needs_iov(op))
		return true;
	*ret_dry = sector_class(sector_iov_bytes(op));
	op->iov = op->io->iovcnt + 2u <= FEW_ENTRIES ? op->few : slab_get(reactor, *ret_dry);
	return op->iov != NULL;
}

/* ---- the end of a request -------------------------------------------------------------------- */

static void sector_op_free(struct sector_op *op)
{
	slab_put(op->flow.reactor, SLAB_4K, op);
}

/* The channel is not touched any more. */
static void sector_answer(struct sector_op *op)
{
	struct bdev_io *io = op->io;

	sector_put_memory(op);
	if (op->locks)
		bdev_io_step_back(io);
	bdev_io_complete(io, op->status);
}

static void sector_ended(struct sector_op *op)
{
	sector_answer(op);
	sector_op_free(op);
}

/* ---- READ, and UNMAP that promises nothing --------------------------------------------------- */

static void sector_read(struct sector_op *op)
{
	op->ended = sector_ended;
	sector_all_submit(op, op->head, op->head);
}

/* Is it alone on its units already? A lock of the device above, of which it comes, is none here. */
static bool sector_is_locked(const struct sector_op *op)
{
	return op->io->lock && op->io->lock->bdev == op->channel->bdev;
}

/* A backend may take a lock of its own for it. */
static void sector_unmap_ended(struct sector_op *op)
{
	if (!sector_is_locked(op))
		bdev_io_step_back(op->io);
	sector_ended(op);
}

static void sector_unmap(struct sector_op *op)
{
	struct sector_span middle = sector_middle(op);

	if (!middle.length) {
		sector_ended(op);
		return;
	}
	op->ended = sector_unmap_ended;
	sector_middle_submit(op, &middle);
	if (!sector_is_locked(op))
		bdev_io_step_aside(op->io);
}

/* ---- what reads and then writes -------------------------------------------------------------- */

static void sector_parts_ended(struct sector_op *op)
{
	flow_resume(&op->flow, op->status);
}

static void sector_read_ends(struct sector_op *op)
{
	op->ended = sector_parts_ended;
	if (op->head)
		sector_unit_submit(op, BDEV_IO_READ, op->start, op->head);
	if (op->tail)
		sector_unit_submit(op, BDEV_IO_READ, op->end - sector_unit(op), op->tail);
}

static void sector_write(struct sector_op *op)
{
	uint64_t behind = sector_io_end(op) % sector_unit(op);

	sector_all_submit(op, op->head, (op->tail ? op->tail : op->head) + behind);
}

/* false: they were there already. */
static bool sector_zero(struct sector_op *op, uint8_t *memory, uint64_t length)
{
	bool zeroes = memory[0] == 0 && memcmp(memory, memory + 1, length - 1) == 0;

	memset(memory, 0, length);
	return !zeroes || op->io->flags & (BDEV_IO_FUA | BDEV_IO_NO_UNMAP);
}

static bool sector_has_work(struct sector_op *op)
{
	uint64_t in_head = op->io->offset - op->start;
	uint64_t room = sector_unit(op) - in_head;

	if (op->io->type == BDEV_IO_WRITE)
		return true;
	op->head_changed =
		op->head && sector_zero(op, op->head + in_head, u64_min(op->io->length, room));
	op->tail_changed =
		op->tail && sector_zero(op, op->tail, sector_io_end(op) % sector_unit(op));
	return op->head_changed || op->tail_changed || sector_middle(op).length;
}

static void sector_clear(struct sector_op *op)
{
	struct sector_span middle = sector_middle(op);

	if (op->head_changed)
		sector_unit_submit(op, BDEV_IO_WRITE, op->start, op->head);
	if (op->tail_changed)
		sector_unit_submit(op, BDEV_IO_WRITE, op->end - sector_unit(op), op->tail);
	if (middle.length)
		sector_middle_submit(op, &middle);
}

static void sector_change(struct sector_op *op)
{
	if (op->io->type == BDEV_IO_WRITE)
		sector_write(op);
	else
		sector_clear(op);
}

static void sector_lock(struct sector_op *op, done_fn done, void *arg)
{
	bdev_io_step_aside(op->io);
	bdev_range_lock(&op->lock, op->channel->bdev, op->channel->reactor, op->start,
		op->end - op->start, done, arg);
}

static enum flow_result sector_change_run(struct flow *f)
{
	struct sector_op *op = container_of(f, struct sector_op, flow);

	FLOW_BEGIN(f);
	if (op->locks)
		AWAIT(f, sector_lock(op, flow_resume, f));
	AWAIT(f, sector_read_ends(op));
	if (flow_failed(f))
		goto answer;
	if (sector_has_work(op))
		AWAIT(f, sector_change(op));
answer:
	sector_answer(op);
	if (op->locks)
		AWAIT(f, bdev_range_unlock(&op->lock, flow_resume, f));
	sector_op_free(op);
	FLOW_END(f);
}

/* ---- begun ----------------------------------------------------------------------------------- */

static void sector_begin(struct bdev_channel *channel, struct bdev_io *io);

static void sector_slab_ready(struct slab_waiter *waiter)
{
	struct bdev_io *io = container_of((uint8_t *)waiter, struct bdev_io, backend.bytes);

	sector_begin(io->channel, io);
}

static void sector_wait(struct bdev_io *io, enum slab_class class)
{
	struct slab_waiter *waiter = (struct slab_waiter *)io->backend.bytes;

	waiter->ready = sector_slab_ready;
	slab_wait(io->channel->reactor, class, waiter);
}

/* NULL: the request waits for memory. */
static struct sector_op *sector_op_create(struct bdev_channel *channel, struct bdev_io *io)
{
	struct sector_op *op = slab_get(channel->reactor, SLAB_4K);
	enum slab_class dry = SLAB_4K;

	if (!op) {
		sector_wait(io, dry);
		return NULL;
	}
	*op = (struct sector_op){.channel = channel, .io = io, .flow.reactor = channel->reactor};
	op->start = align_down(io->offset, sector_unit(op));
	op->end = align_up(sector_io_end(op), sector_unit(op));
	if (sector_get_memory(op, &dry))
		return op;
	sector_put_memory(op);
	sector_op_free(op);
	sector_wait(io, dry);
	return NULL;
}

static __attribute__((noinline)) void sector_begin(struct bdev_channel *channel, struct bdev_io *io)
{
	struct sector_op *op;

	if (io->type == BDEV_IO_FLUSH || io->type == BDEV_IO_EXTENT) {
		channel->submit_units(channel, io);
		return;
	}
	if (io->length == 0 || io->iovcnt > UINT16_MAX - 2) {
		bdev_io_complete(io, io->length ? -EIO : 0);
		return;
	}
	op = sector_op_create(channel, io);
	if (!op)
		return;
	if (io->type == BDEV_IO_READ) {
		sector_read(op);
	} else if (sector_unmap_is_plain(channel, io)) {
		sector_unmap(op);
	} else {
		op->locks = !sector_is_locked(op);
		flow_start(&op->flow, channel->reactor, "bdev_sectors", sector_change_run);
	}
}

void bdev_sectors_submit(struct bdev_channel *channel, struct bdev_io *io)
{
	if (likely(((io->offset | io->length) & channel->unit_mask) == 0))
		channel->submit_units(channel, io);
	else
		sector_begin(channel, io);
}
