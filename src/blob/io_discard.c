/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * UNMAP and WRITE_ZEROES, run by run, each as long as the same is to be done for all of it:
 *
 *	nothing		not allocated, and nothing below or (UNMAP) what is below goes on showing
 *	free		whole clusters, allocated, nothing below, of a thin blob that may give them
 *			up: they go back to the store and read zeroes from then on
 *	clear		other allocated ones: the device below clears them. UNMAP where there is
 *			something below becomes zeroes: older data must not show again
 *	write		WRITE_ZEROES of what shows the parent's data: a first write, of zeroes
 *
 * docs/volumes.md, "Discarding".
 *
 * A cluster may be freed only when no request for it is in flight on any channel. So from its
 * first run of that kind on a request stands aside, which means that it does not count as in
 * flight, and does everything under range locks of its own; a run is looked at again when its
 * lock is held. A request that came under a lock of its submitter is alone on its range already.
 */
#include <errno.h>

#include "blob/io_impl.h"

#define RUN_CLUSTERS_MAX (4u * BLOBSTORE_SLOT_ENTRIES) /* one lock and one record */

enum discard_kind { DISCARD_NOTHING, DISCARD_FREE, DISCARD_CLEAR, DISCARD_WRITE };

struct discard_run {
	enum discard_kind kind;
	uint64_t length;
	uint32_t cluster; /* CLEAR: the first */
};

struct discard_op {
	struct flow flow;
	struct blob_channel *own;
	struct bdev_io *io;
	uint64_t at; /* of the blob */
	uint64_t end;
	struct discard_run run;
	bool aside;
	struct bdev_range_lock lock;
	struct blob_record record;
	struct blob_piece piece;
	struct timer timer;
};

_Static_assert(sizeof(struct discard_op) <= 4096, "fits in its slab");

/* ---- what is to be done -------------------------------------------------- */

static bool discard_may_free(const struct discard_op *op)
{
	return atomic_load_explicit(&op->own->blob->thin, memory_order_relaxed) &&
	       !(op->io->flags & BDEV_IO_NO_UNMAP);
}

/* Of the cluster that `at` is in, up to `end` or the cluster's. */
static struct discard_run discard_look_at(const struct discard_op *op, uint64_t at, uint64_t end)
{
	const struct blob_channel *own = op->own;
	uint64_t index = cluster_index(own, at);
	struct discard_run run = {
		.length = u64_min(end - at, own->cluster_size - cluster_within(own, at)),
		.cluster = blob_cluster(own, index),
	};

	if (!run.cluster && op->io->type == BDEV_IO_UNMAP)
		return run;
	if (blob_source_below(own, index).kind != SOURCE_ZEROES)
		run.kind = run.cluster ? DISCARD_CLEAR : DISCARD_WRITE;
	else if (!run.cluster)
		run.kind = DISCARD_NOTHING;
	else if (run.length == own->cluster_size && discard_may_free(op))
		run.kind = DISCARD_FREE;
	else
		run.kind = DISCARD_CLEAR;
	return run;
}

/* How far a run without clusters goes at least: slots of the map that are empty are skipped whole
 * where nothing below can matter. */
static uint64_t discard_empty_bytes(const struct discard_op *op, uint64_t at)
{
	const struct blob_channel *own = op->own;
	const struct blob_map *map = blob_map(own->blob);
	uint64_t index = cluster_index(own, at);
	uint32_t slot = (uint32_t)(index / BLOBSTORE_SLOT_ENTRIES);
	bool below = atomic_load_explicit(&own->blob->parent, memory_order_acquire) ||
		     atomic_load_explicit(&own->blob->foreign_below, memory_order_relaxed);

	if ((below && op->io->type != BDEV_IO_UNMAP) || slot >= map->num_slots ||
		atomic_load_explicit(&map->extents[slot], memory_order_acquire))
		return 0;
	return ((uint64_t)slot + 1) * BLOBSTORE_SLOT_ENTRIES * own->cluster_size - at;
}

static bool discard_goes_on(
	const struct discard_run *run, const struct discard_run *next, uint32_t clusters)
{
	switch (run->kind) {
	case DISCARD_NOTHING:
		return next->kind == DISCARD_NOTHING;
	case DISCARD_FREE: /* there is no harm in freeing nothing */
		return next->kind == DISCARD_FREE || next->kind == DISCARD_NOTHING;
	case DISCARD_CLEAR:
		return next->kind == DISCARD_CLEAR && next->cluster == run->cluster + clusters;
	default:
		return false;
	}
}

static struct discard_run discard_look(const struct discard_op *op, uint64_t end)
{
	struct discard_run run = {.kind = DISCARD_NOTHING};
	uint32_t clusters = 0;

	run.length = u64_min(discard_empty_bytes(op, op->at), end - op->at);
	if (run.length)
		return run;
	run = discard_look_at(op, op->at, end);
	while (op->at + run.length < end && ++clusters < RUN_CLUSTERS_MAX) {
		struct discard_run next = discard_look_at(op, op->at + run.length, end);

		if (!discard_goes_on(&run, &next, clusters) ||
			(run.kind == DISCARD_FREE && next.length < op->own->cluster_size))
			break;
		run.length += next.length;
	}
	return run;
}

/* ---- doing it ------------------------------------------------------------ */

static void discard_recorded(struct blob_record *record)
{
	flow_resume(&container_of(record, struct discard_op, record)->flow, record->status);
}

static void discard_free(struct discard_op *op)
{
	op->record = (struct blob_record){
		.blob = op->own->blob,
		.home = op->own->store->reactor,
		.done = discard_recorded,
		.kind = BLOB_RECORD_FREE,
		.index = cluster_index(op->own, op->at),
		.count = op->run.length / op->own->cluster_size,
	};
	list_init(&op->record.link);
	blob_record_send(&op->record);
}

static void discard_piece_done(struct blob_piece *piece, int status);

static void discard_prepare_piece(struct discard_op *op)
{
	op->piece.own = op->own;
	op->piece.of = op->io;
	op->piece.done = discard_piece_done;
	op->piece.type = BDEV_IO_WRITE_ZEROES;
	op->piece.flags = op->io->flags;
	op->piece.offset = op->at;
	op->piece.length = op->run.length;
	op->piece.iov = NULL;
	op->piece.iovcnt = 0;
}

static void discard_piece_done(struct blob_piece *piece, int status)
{
	flow_resume(&container_of(piece, struct discard_op, piece)->flow, status);
}

/* UNMAP where nothing is below, and a device that cannot: its contents are undefined, so what is
 * there will do. */
static bool discard_is_needless(const struct discard_op *op, enum bdev_io_type type)
{
	return type == BDEV_IO_UNMAP && !bdev_supports(op->own->base->bdev, BDEV_IO_UNMAP);
}

static enum bdev_io_type discard_clear_type(const struct discard_op *op)
{
	uint64_t index = cluster_index(op->own, op->at);

	return blob_source_below(op->own, index).kind == SOURCE_ZEROES
		       ? (enum bdev_io_type)op->io->type
		       : BDEV_IO_WRITE_ZEROES;
}

/* Not one that ends at once. */
static void discard_do(struct discard_op *op)
{
	discard_prepare_piece(op);
	if (op->run.kind == DISCARD_FREE)
		discard_free(op);
	else if (op->run.kind == DISCARD_CLEAR)
		piece_clear(&op->piece, discard_clear_type(op), op->run.cluster);
	else
		piece_allocate(&op->piece);
}

static bool discard_has_work(const struct discard_op *op)
{
	if (op->run.kind == DISCARD_CLEAR)
		return !discard_is_needless(op, discard_clear_type(op));
	return op->run.kind != DISCARD_NOTHING;
}

/* ---- the flow ------------------------------------------------------------ */

static void discard_timer_fired(struct timer *timer)
{
	flow_resume(&container_of(timer, struct discard_op, timer)->flow, 0);
}

static void discard_wait_turn(struct discard_op *op)
{
	op->timer.fired = discard_timer_fired;
	timer_start(op->own->store->reactor, &op->timer, 0);
}

static void discard_lock(struct discard_op *op, done_fn done, void *arg)
{
	bdev_range_lock(&op->lock, op->own->channel->bdev, op->own->store->reactor, op->at,
		op->run.length, done, arg);
}

static void discard_step_aside(struct discard_op *op)
{
	if (op->aside || op->io->lock || op->run.kind != DISCARD_FREE)
		return;
	op->aside = true;
	bdev_io_step_aside(op->io);
}

static void discard_finish(struct discard_op *op, int status)
{
	struct blob_channel *own = op->own;
	struct bdev_io *io = op->io;

	if (op->aside)
		bdev_io_step_back(io);
	slab_put(own->store->reactor, SLAB_4K, op);
	io_end(own, io, status);
}

static enum flow_result discard_run(struct flow *f)
{
	struct discard_op *op = container_of(f, struct discard_op, flow);

	FLOW_BEGIN(f);
	for (; op->at < op->end && !f->error; op->at += op->run.length) {
		if (!reactor_has_time(f->reactor, 16))
			AWAIT(f, discard_wait_turn(op));
		op->run = discard_look(op, op->end);
		if (!discard_has_work(op))
			continue;
		discard_step_aside(op);
		if (op->aside) {
			AWAIT(f, discard_lock(op, flow_resume, f));
			op->run = discard_look(op, op->at + op->run.length);
		}
		if (discard_has_work(op))
			AWAIT(f, discard_do(op));
		if (op->aside)
			AWAIT(f, bdev_range_unlock(&op->lock, flow_resume, f));
	}
	discard_finish(op, f->error);
	FLOW_END(f);
}

static void discard_slab_ready(struct slab_waiter *waiter)
{
	struct bdev_io *io = container_of((uint8_t *)waiter, struct bdev_io, backend.bytes);

	io_discard(blob_channel_of(io->channel), io);
}

void io_discard(struct blob_channel *own, struct bdev_io *io)
{
	struct slab_waiter *waiter = (struct slab_waiter *)io->backend.bytes;
	struct discard_op *op = slab_get(own->store->reactor, SLAB_4K);

	if (!op) {
		waiter->ready = discard_slab_ready;
		slab_wait(own->store->reactor, SLAB_4K, waiter);
		return;
	}
	*op = (struct discard_op){
		.own = own, .io = io, .at = io->offset, .end = io->offset + io->length};
	flow_start(&op->flow, own->store->reactor, "blob_discard", discard_run);
}

/* ---- clearing on the device below ---------------------------------------- */

static void piece_write_zeroes_step(struct blob_piece *piece);

static void piece_zeroes_written(struct bdev_io *io)
{
	struct blob_piece *piece = container_of(io, struct blob_piece, io);

	piece->progress += io->length;
	if (io->status || piece->progress == piece->length)
		piece->done(piece, io->status);
	else
		piece_write_zeroes_step(piece);
}

/* A device without WRITE_ZEROES: they are written. progress follows io.offset. */
static void piece_write_zeroes_step(struct blob_piece *piece)
{
	struct bdev_io *io = &piece->io;

	io->offset += io->length;
	io->length = u64_min(piece->length - piece->progress, IO_ZEROES);
	iov_add_zeroes(&piece->zeroes, io->length);
	bdev_submit(piece->own->base, io);
}

void piece_clear(struct blob_piece *piece, enum bdev_io_type type, uint32_t cluster)
{
	const struct blob_channel *own = piece->own;

	if (bdev_supports(own->base->bdev, type)) {
		piece_submit(piece, type, cluster);
		return;
	}
	piece->progress = 0;
	piece->io = (struct bdev_io){
		.type = BDEV_IO_WRITE,
		.offset =
			(uint64_t)cluster * own->cluster_size + cluster_within(own, piece->offset),
		.iov = &piece->zeroes,
		.iovcnt = 1,
		.flags = piece->flags & BDEV_IO_FUA,
		.done = piece_zeroes_written,
	};
	piece_write_zeroes_step(piece);
}
