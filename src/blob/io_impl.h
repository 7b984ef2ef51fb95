/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The data path of a volume store, an index by file. All of it runs on the reactor of the channel,
 * but where a function says control.
 *
 *	io.c		a request: the straight path, pieces by cluster, its end
 *	io_piece.c	a piece: reads, writes to what is allocated
 *	io_zero.c	memory that reads zeroes, a share of each turn
 *	io_allocate.c	the first write to a cluster
 *	io_discard.c	UNMAP and WRITE_ZEROES
 *	io_extent.c	what is allocated
 *	io_touch.c	a cluster is allocated without new data
 *	io_iov.c	parts of vectors
 *	io_reserve.c	clusters ahead of need
 *	io_buffers.c	memory to copy through, bounded
 *	io_channel.c	opening and closing
 *
 * What a channel of a blob may rely on while a request, or the touch of a cluster, is in flight on
 * it (or stands aside under a range lock): parents change, and maps are replaced, only by
 * operations that hold a range lock of the whole device of this blob, so the chain below stands
 * still. Only the blob's own map gets new clusters meanwhile, by first writes of any channel, and
 * loses some by discards, which lock the range.
 *
 * What is in a cluster of the reserve is undefined: a first write writes all of it before it enters
 * the map, so nothing of a former tenant is ever read.
 */
#ifndef BLOB_IO_IMPL_H
#define BLOB_IO_IMPL_H

#include "blob/store_impl.h"
#include "core/poller.h"
#include "core/slab.h"

/* ---- io_reserve.c --------------------------------------------------------------------------- */

#define RESERVE_DIRTY_MAX 64
#define RESERVE_ROOM      (2 * STORE_REFILL_MAX)

/* In a flow that waits for a cluster. */
struct reserve_wait {
	struct list link;
	uint32_t cluster; /* at done(0) */
	done_fn done;
	void *arg;
};

struct store_reserve {
	struct store_seat seat;
	struct blob_store *store;
	unsigned count;
	unsigned dirty_count;
	unsigned ahead; /* so many are held ready: adapts to use */
	bool taking;
	bool scarce; /* the last refill brought nothing: none ahead of need */
	struct list waiting; /* struct reserve_wait */
	struct store_refill take;
	struct store_refill recall;
	struct store_refill recall_dirty;
	struct store_refill leave;
	struct reactor *control;
	struct message left;
	done_fn left_done;
	void *left_arg;
	uint32_t clusters[RESERVE_ROOM];
	/* Written to, but never seen by anybody: used first, and cleared before they are free. */
	uint32_t dirty[RESERVE_DIRTY_MAX];
	uint32_t taken[STORE_REFILL_MAX];
	uint32_t recalled[RESERVE_ROOM + RESERVE_DIRTY_MAX]; /* on their way back */
	uint32_t given[RESERVE_ROOM];
};

void reserve_init(struct store_reserve *reserve, struct blob_store *store, struct reactor *home);
/* false: there is none at hand. */
bool reserve_take(struct store_reserve *reserve, uint32_t *ret_cluster);
/* After reserve_take said false. done(-ENOSPC): the store is full. */
void reserve_wait(
	struct store_reserve *reserve, struct reserve_wait *wait, done_fn done, void *arg);
/* One that was taken and is not used after all. false: no room, the engine has to take it. */
bool reserve_put(struct store_reserve *reserve, uint32_t cluster, bool dirty);
/* Control: everything is given back at done. Nobody waits. */
void reserve_leave(struct store_reserve *reserve, struct reactor *control, done_fn done, void *arg);

/* ---- io_buffers.c --------------------------------------------------------------------------- */

#define IO_BUFFERS_MAX (16 * MIB)

struct io_buffers_wait {
	struct list link;
	size_t bytes;
	done_fn done;
	void *arg;
};

struct io_buffers {
	struct reactor *reactor;
	size_t bytes; /* taken */
	struct list waiting; /* struct io_buffers_wait */
	struct deferred serve;
};

void buffers_init(struct io_buffers *buffers, struct reactor *reactor);
/* false: wait. */
bool buffers_take(struct io_buffers *buffers, size_t bytes);
/* done(0), when they are taken. */
void buffers_wait(struct io_buffers *buffers, struct io_buffers_wait *wait, size_t bytes,
	done_fn done, void *arg);
void buffers_give(struct io_buffers *buffers, size_t bytes);
bool buffers_are_unused(const struct io_buffers *buffers);

/* ---- channels ------------------------------------------------------------------------------- */

/* A store on a reactor, shared by the channels of its blobs there. */
struct store_channel {
	/* control */
	struct list link; /* store's channels */
	struct bdev_gate gate; /* opening */
	unsigned users;

	struct blob_store *store;
	struct reactor *reactor;
	struct bdev_channel *base;

	/* reactor */
	struct store_reserve reserve;
	struct io_buffers buffers;
	uint64_t flushed_commits; /* of store->commits: stable */
	struct poller zero_poller; /* io_zero.c */
	struct list zeroing; /* struct blob_piece */
};

#define BLOB_ALLOCATION_LISTS 32

/* In bdev_channel.backend of a device that shows a blob. */
struct blob_channel {
	struct bdev_channel *base;
	struct blob *blob;
	unsigned cluster_shift; /* 63: use cluster_size */
	uint32_t cluster_size;
	uint32_t straight_bytes; /* cluster_size; 0: base takes no request that is passed down */
	struct store_channel *store;
	struct bdev_channel *channel; /* this one */
	struct bdev_channel *esnap; /* of the foreign device at the end of the chain, or NULL */
	struct bdev_io_list fetching; /* until fetched: entries of the map are on their way */
	struct deferred fetched;
	struct list allocations[BLOB_ALLOCATION_LISTS]; /* struct allocation, by index */
};

static inline struct blob_channel *blob_channel_of(struct bdev_channel *channel)
{
	return (struct blob_channel *)channel->backend;
}

static inline uint64_t cluster_index(const struct blob_channel *own, uint64_t offset)
{
	return likely(own->cluster_shift < 63) ? offset >> own->cluster_shift
					       : offset / own->cluster_size;
}

static inline uint64_t cluster_within(const struct blob_channel *own, uint64_t offset)
{
	return likely(own->cluster_shift < 63) ? offset & (own->cluster_size - 1)
					       : offset % own->cluster_size;
}

/* ---- io_iov.c ------------------------------------------------------------------------------- */

struct iov_cursor {
	const struct iovec *iov;
	size_t skip; /* bytes of *iov */
};

static inline struct iov_cursor iov_cursor(const struct iovec *iov)
{
	return (struct iov_cursor){.iov = iov};
}

void iov_skip(struct iov_cursor *cursor, uint64_t bytes);
/* Entries that `bytes` from there on take. */
unsigned iov_count(const struct iov_cursor *cursor, uint64_t bytes);
/* Puts them at ret_iov and moves on; how many. */
unsigned iov_take(struct iov_cursor *cursor, uint64_t bytes, struct iovec *ret_iov);

/* A vector of so many entries from a slab: SLAB_512 .. SLAB_1M. */
enum slab_class iov_class(unsigned count);

/* Zeroes to write: IO_ZEROES bytes that nobody writes to. */
#define IO_ZEROES                (256 * KIB)
#define IO_ZEROES_ENTRIES(bytes) ((unsigned)(((bytes) + IO_ZEROES - 1) / IO_ZEROES))
unsigned iov_add_zeroes(struct iovec *ret_iov, uint64_t bytes);

/* ---- pieces --------------------------------------------------------------------------------- */

/*
 * What a request wants of one cluster (or, UNMAP and WRITE_ZEROES of what is allocated, of
 * neighbours on the device too). From SLAB_512, or part of something larger.
 */
struct blob_piece {
	struct bdev_io io; /* to the device below */
	struct bdev_io *of;
	struct blob_channel *own;
	void (*done)(struct blob_piece *piece, int status); /* may be called from piece_run */
	uint64_t offset; /* of the blob */
	uint64_t length;
	const struct iovec *iov;
	uint16_t iovcnt;
	uint8_t type; /* enum bdev_io_type, BLOB_PIECE_TOUCH */
	uint8_t flags;
	bool iov_taken; /* iov is its own, from iov_class(iovcnt) */
	uint64_t progress; /* io_zero.c, io_discard.c; of a flush: the commits that it covers */
	struct iovec zeroes; /* io_discard.c */
	struct list link; /* of an allocation, or zeroing */
};

#define BLOB_PIECE_TOUCH BDEV_IO_WORK /* length 0: the cluster gets allocated */

_Static_assert(sizeof(struct blob_piece) <= 512, "a piece fits in its slab");

/* Where what is not allocated is read from. */
struct blob_source {
	enum { SOURCE_ZEROES, SOURCE_CLUSTER, SOURCE_FOREIGN, SOURCE_MISSING } kind;
	uint32_t cluster;
};

/* What lies below that cluster of the blob. */
struct blob_source blob_source_below(const struct blob_channel *own, uint64_t index);

/* Of the blob's own map; beyond its end 0. */
static inline uint32_t blob_cluster(const struct blob_channel *own, uint64_t index)
{
	return blob_map_find(blob_map(own->blob), index);
}

void piece_run(struct blob_piece *piece);
/* Submits piece->io: `type` of piece's bytes within that cluster of the device below. */
void piece_submit(struct blob_piece *piece, enum bdev_io_type type, uint32_t cluster);
/* io_zero.c: the piece's vectors get zeroes, then done. */
void piece_zero_memory(struct blob_piece *piece);
void zero_memory_init(struct store_channel *channel);
/* io_allocate.c: a first write, or touch, of a piece within one cluster that is not allocated. */
void piece_allocate(struct blob_piece *piece);
/* io_discard.c: the piece's bytes on the device below, which begin in that cluster, read zeroes
 * (UNMAP: are discarded). */
void piece_clear(struct blob_piece *piece, enum bdev_io_type type, uint32_t cluster);

/* ---- requests ------------------------------------------------------------------------------- */

/* io.c. Before the channel's first request. */
void blob_channel_init_straight(struct blob_channel *own);
/* The end of a request: FUA. */
void io_end(struct blob_channel *own, struct bdev_io *io, int status);
/* io_discard.c */
void io_discard(struct blob_channel *own, struct bdev_io *io);

/* io_extent.c: how the range begins. */
struct bdev_extent blob_extent(const struct blob_channel *own, uint64_t offset, uint64_t length);

/* ---- io_touch.c ----------------------------------------------------------------------------- */

/* The caller's, zeroed but for index and done. */
struct blob_touch {
	uint64_t index;
	void (*done)(struct blob_touch *touch); /* later, on the channel's reactor */
	int status;

	struct bdev_io io; /* as the block layer sees it */
	struct deferred later;
	struct blob_piece piece;
};

/*
 * The blob gets a cluster of its own there, with what it reads now; also of a read-only blob. Done
 * at once where it has one. channel: of the device that shows the blob, open until done. Range
 * locks hold it up and wait for it as for a request. -ENODEV: the device goes.
 */
void blob_touch_submit(struct bdev_channel *channel, struct blob_touch *touch);
/* From blob_submit: BDEV_IO_WORK. */
void blob_touch_begin(struct bdev_io *io);

#endif
