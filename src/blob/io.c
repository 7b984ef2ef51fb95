/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests for a blob.
 *
 * The straight path is a READ or WRITE within one cluster that the blob has itself: one look at the
 * map, and the request itself is passed down to the device below, at another offset (bdev/io.h says
 * whose it is when). It asks for no parent, for an entry of the map hides them all; only a READ of
 * what the blob has not goes on to the cluster of the nearest parent that has it. What the entry
 * said stays true until the request comes back: clusters leave a map only under a range lock (a
 * discard's, or that of the whole device), which waits for all that is in flight above, and so for
 * what is below. A lock that is there already has sent the request round (bdev_submit_detour)
 * before it came here. When it comes back it ends at once; with an error, or FUA, it goes to where
 * requests on the general way end, and is one of those from there on.
 *
 * A map that is larger than the near caches makes each look wait for memory. So the entries of all
 * requests of a turn are asked for as these come, and looked at when they have come: one wait.
 *
 * The device below may have no room for it just then: a lock on it, or its removal, or the request
 * has waited above first and its stamp is older than its visit below. And a device that passes down
 * itself, a volume under the store, takes no other's. Then the general way makes its own requests.
 *
 * Everything else goes the general way. READ and WRITE are cut at the boundaries of clusters, and a
 * few pieces at a time are under way (io_piece.c); UNMAP and WRITE_ZEROES are io_discard.c's.
 *
 * What is stable when. A FLUSH goes to the device below: the metadata that completed writes need
 * has been written before they completed, so it is flushed with them. FUA goes down with the data;
 * but the entry of a cluster that has been allocated, by this write or an earlier one, may still be
 * in the cache of the device. So the store counts its commits, the channel remembers which count
 * its last flush has covered, and a FUA write that finds another one ends only after a flush of its
 * own. Once nothing is allocated any more FUA costs nothing.
 *
 * A request that found no space ends with -ENOSPC. Parts of it may have been written, and may be
 * written again.
 */
#include <errno.h>

#include "blob/io_impl.h"

#define IO_PIECES_MAX 32

/* In the backend's part of a READ or WRITE on the general way, and of what waits for a slab. */
struct blob_io {
	struct slab_waiter waiter;
	bool waits;
	bool advancing;
	unsigned pending;
	int status; /* the first error */
	uint64_t at; /* pieces have begun up to here */
	struct iov_cursor cursor;
};

_Static_assert(sizeof(struct blob_io) <= BDEV_IO_BACKEND_SIZE, "fits in the request");

static struct blob_io *blob_io_of(struct bdev_io *io)
{
	return (struct blob_io *)io->backend.bytes;
}

static struct bdev_io *io_of_waiter(struct slab_waiter *waiter)
{
	struct blob_io *state = container_of(waiter, struct blob_io, waiter);

	return container_of((uint8_t *)state, struct bdev_io, backend.bytes);
}

static void io_wait(
	struct bdev_io *io, enum slab_class class, void (*ready)(struct slab_waiter *waiter))
{
	struct blob_io *state = blob_io_of(io);

	state->waits = true;
	state->waiter.ready = ready;
	slab_wait(io->channel->reactor, class, &state->waiter);
}

/* ---- flushes ------------------------------------------------------------ */

static void io_flushed(struct bdev_io *child)
{
	struct blob_piece *piece = container_of(child, struct blob_piece, io);
	struct store_channel *store = piece->own->store;
	struct bdev_io *io = piece->of;
	int status = child->status;

	if (!status)
		store->flushed_commits = piece->progress;
	slab_put(store->reactor, SLAB_512, piece);
	bdev_io_complete(io, status);
}

static void io_flush(struct slab_waiter *waiter)
{
	struct bdev_io *io = io_of_waiter(waiter);
	struct blob_channel *own = blob_channel_of(io->channel);
	struct blob_piece *piece = slab_get(own->store->reactor, SLAB_512);

	if (!piece) {
		io_wait(io, SLAB_512, io_flush);
		return;
	}
	piece->own = own;
	piece->of = io;
	piece->progress = atomic_load_explicit(&own->blob->store->commits, memory_order_acquire);
	piece->io = (struct bdev_io){.type = BDEV_IO_FLUSH, .done = io_flushed};
	bdev_submit(own->base, &piece->io);
}

static void io_begin_flush(struct blob_channel *own, struct bdev_io *io)
{
	if (bdev_supports(own->base->bdev, BDEV_IO_FLUSH))
		io_flush(&blob_io_of(io)->waiter);
	else
		bdev_io_complete(io, 0);
}

static bool io_needs_flush(const struct blob_channel *own, const struct bdev_io *io)
{
	return io->flags & BDEV_IO_FUA && io->type != BDEV_IO_READ &&
	       own->store->flushed_commits !=
		       atomic_load_explicit(&own->blob->store->commits, memory_order_acquire);
}

void io_end(struct blob_channel *own, struct bdev_io *io, int status)
{
	if (!status && io_needs_flush(own, io))
		io_begin_flush(own, io);
	else
		bdev_io_complete(io, status);
}

/* ---- the general way ---------------------------------------------------- */

static void io_advance(struct bdev_io *io);

static void io_slab_ready(struct slab_waiter *waiter)
{
	struct bdev_io *io = io_of_waiter(waiter);

	blob_io_of(io)->waits = false;
	io_advance(io);
}

static void io_piece_done(struct blob_piece *piece, int status)
{
	struct bdev_io *io = piece->of;
	struct blob_io *state = blob_io_of(io);
	struct reactor *reactor = io->channel->reactor;

	if (piece->iov_taken)
		slab_put(reactor, iov_class(piece->iovcnt), (void *)(uintptr_t)piece->iov);
	slab_put(reactor, SLAB_512, piece);
	state->pending--;
	if (status && !state->status)
		state->status = status;
	io_advance(io);
}

/* The part of the vectors that the piece is for. */
static bool piece_take_iov(struct blob_piece *piece)
{
	struct bdev_io *io = piece->of;
	struct blob_io *state = blob_io_of(io);
	struct iovec *iov;
	unsigned count;

	piece->iov_taken = piece->length != io->length;
	if (!piece->iov_taken) {
		piece->iov = io->iov;
		piece->iovcnt = io->iovcnt;
		return true;
	}
	count = iov_count(&state->cursor, piece->length);
	iov = slab_get(io->channel->reactor, iov_class(count));
	if (!iov) {
		io_wait(io, iov_class(count), io_slab_ready);
		return false;
	}
	piece->iovcnt = (uint16_t)iov_take(&state->cursor, piece->length, iov);
	piece->iov = iov;
	return true;
}

static bool io_begin_piece(struct blob_channel *own, struct bdev_io *io)
{
	struct blob_io *state = blob_io_of(io);
	struct blob_piece *piece = slab_get(io->channel->reactor, SLAB_512);

	if (!piece) {
		io_wait(io, SLAB_512, io_slab_ready);
		return false;
	}
	piece->of = io;
	piece->own = own;
	piece->done = io_piece_done;
	piece->type = io->type;
	piece->flags = io->flags;
	piece->offset = io->offset + state->at;
	piece->length = u64_min(
		io->length - state->at, own->cluster_size - cluster_within(own, piece->offset));
	if (!piece_take_iov(piece)) {
		slab_put(io->channel->reactor, SLAB_512, piece);
		return false;
	}
	state->at += piece->length;
	state->pending++;
	piece_run(piece);
	return true;
}

/* Called again by what it begins: the outermost goes on. */
static void io_advance(struct bdev_io *io)
{
	struct blob_channel *own = blob_channel_of(io->channel);
	struct blob_io *state = blob_io_of(io);

	if (state->advancing || state->waits)
		return;
	state->advancing = true;
	while (state->at < io->length && !state->status && state->pending < IO_PIECES_MAX)
		if (!io_begin_piece(own, io))
			break;
	state->advancing = false;
	if (!state->pending && !state->waits)
		io_end(own, io, state->status);
}

static bool blob_is_read_only(const struct blob *blob)
{
	return atomic_load_explicit(&blob->read_only, memory_order_relaxed);
}

static __attribute__((noinline)) void io_begin(struct blob_channel *own, struct bdev_io *io)
{
	if (io->type == BDEV_IO_WORK) {
		blob_touch_begin(io);
		return;
	}
	if (io->type == BDEV_IO_EXTENT) {
		*io->extent = blob_extent(own, io->offset, io->length);
		bdev_io_complete(io, 0);
		return;
	}
	*blob_io_of(io) = (struct blob_io){.cursor = iov_cursor(io->iov)};
	if (io->type == BDEV_IO_FLUSH) {
		io_begin_flush(own, io);
		return;
	}
	if (io->type != BDEV_IO_READ && blob_is_read_only(own->blob)) {
		bdev_io_complete(io, -EROFS);
		return;
	}
	if (io->length == 0)
		bdev_io_complete(io, 0);
	else if (io->type == BDEV_IO_READ || io->type == BDEV_IO_WRITE)
		io_advance(io);
	else
		io_discard(own, io);
}

/* ---- the straight path -------------------------------------------------- */

static void straight_done(struct bdev_io *io)
{
	bdev_io_take_back(io);
	if (likely(!io->status && !(io->flags & BDEV_IO_FUA)))
		bdev_io_end(io);
	else
		io_end(blob_channel_of(io->channel), io, io->status);
}

static inline void straight_pass(
	struct blob_channel *own, struct bdev_io *io, uint32_t cluster, uint64_t within)
{
	bdev_io_pass_down(
		io, own->base, (uint64_t)cluster * own->cluster_size + within, straight_done);
}

/* Of a parent; 0: none, or beyond the end. */
static uint32_t straight_cluster_below(const struct blob_channel *own, uint64_t index)
{
	struct blob_source source;

	if (index >= blob_map(own->blob)->num_clusters)
		return 0;
	source = blob_source_below(own, index);
	return source.kind == SOURCE_CLUSTER ? source.cluster : 0;
}

/* The blob itself has not got the cluster. On its own, so that the straight path keeps nothing
 * across a call. */
static __attribute__((noinline)) void straight_below(struct blob_channel *own, struct bdev_io *io)
{
	uint32_t cluster = 0;

	if (io->type == BDEV_IO_READ)
		cluster = straight_cluster_below(own, cluster_index(own, io->offset));
	if (cluster && bdev_io_may_pass(io, own->base))
		straight_pass(own, io, cluster, cluster_within(own, io->offset));
	else
		io_begin(own, io);
}

static inline void straight_run(struct blob_channel *own, struct bdev_io *io,
	const struct blob_map *map, uint64_t index, uint64_t within)
{
	uint32_t cluster = blob_map_find(map, index);

	if (unlikely(!cluster))
		straight_below(own, io);
	else if (unlikely(!bdev_io_may_pass(io, own->base)))
		io_begin(own, io);
	else
		straight_pass(own, io, cluster, within);
}

static void fetching_init(struct blob_channel *own)
{
	own->fetching.head = NULL;
	own->fetching.tail = &own->fetching.head;
}

static void straight_fetched(struct deferred *deferred)
{
	struct blob_channel *own = container_of(deferred, struct blob_channel, fetched);
	struct bdev_io *io = own->fetching.head;

	fetching_init(own);
	while (io) {
		struct bdev_io *next = io->next;

		straight_run(own, io, blob_map(own->blob), cluster_index(own, io->offset),
			cluster_within(own, io->offset));
		io = next;
	}
}

/* Its entry will be there when all of this turn's have been asked for. */
static __attribute__((noinline)) void straight_fetch(struct blob_channel *own, struct bdev_io *io)
{
	blob_map_prefetch(blob_map(own->blob), cluster_index(own, io->offset));
	io->next = NULL;
	*own->fetching.tail = io;
	own->fetching.tail = &io->next;
	reactor_defer(own->store->reactor, DEFER_SUBMIT, &own->fetched);
}

void blob_channel_init_straight(struct blob_channel *own)
{
	own->fetched.run = straight_fetched;
	fetching_init(own);
}

/* READ is 0, WRITE 1: one branch, whichever of both comes. */
static inline bool straight_fits(
	const struct blob_channel *own, const struct bdev_io *io, uint64_t within)
{
	return io->type <= BDEV_IO_WRITE && io->length &&
	       within + io->length <= own->straight_bytes &&
	       !(io->type & (unsigned)blob_is_read_only(own->blob));
}

static inline void straight_begin(
	struct blob_channel *own, struct bdev_io *io, uint64_t index, uint64_t within)
{
	const struct blob_map *map = blob_map(own->blob);

	if (unlikely(blob_map_is_far(map)))
		straight_fetch(own, io);
	else
		straight_run(own, io, map, index, within);
}

/* Clusters whose size is no power of two: the divisions are here. */
static __attribute__((noinline)) void submit_odd(struct blob_channel *own, struct bdev_io *io)
{
	uint64_t within = io->offset % own->cluster_size;

	if (likely(straight_fits(own, io, within)))
		straight_begin(own, io, io->offset / own->cluster_size, within);
	else
		io_begin(own, io);
}

void blob_submit(struct bdev_channel *channel, struct bdev_io *io)
{
	struct blob_channel *own = blob_channel_of(channel);
	uint64_t within = io->offset & (own->cluster_size - 1);

	if (unlikely(own->cluster_shift >= 63))
		submit_odd(own, io);
	else if (likely(straight_fits(own, io, within)))
		straight_begin(own, io, io->offset >> own->cluster_shift, within);
	else
		io_begin(own, io);
}
