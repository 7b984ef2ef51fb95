/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A piece of a request, within one cluster of the blob. The cluster is the blob's own, or lies
 * below: in the nearest parent that has it, on the foreign device, or nowhere and reads zeroes. All
 * blobs of a store have clusters of one size, so a cluster comes from one place as a whole.
 *
 * A parent that ends before the cluster hides what its own parents have there: it was made smaller
 * when nobody had seen that.
 */
#include <errno.h>

#include "blob/io_impl.h"

/* What a chain ends with: zeroes or a foreign device. */
static struct blob_source blob_source_end(
	const struct blob_channel *own, const struct blob *last, uint64_t index)
{
	struct blob_source source = {.kind = SOURCE_ZEROES};

	if (!atomic_load_explicit(&last->foreign_below, memory_order_relaxed))
		return source;
	if (!own->esnap)
		source.kind = SOURCE_MISSING;
	else if (index < bdev_size(own->esnap->bdev) / own->cluster_size)
		source.kind = SOURCE_FOREIGN;
	return source;
}

struct blob_source blob_source_below(const struct blob_channel *own, uint64_t index)
{
	const struct blob *last = own->blob;
	const struct blob *at = atomic_load_explicit(&last->parent, memory_order_acquire);

	while (at) {
		const struct blob *next = atomic_load_explicit(&at->parent, memory_order_acquire);
		const struct blob_map *map = blob_map(at);
		uint32_t cluster;

		if (index >= map->num_clusters)
			return (struct blob_source){.kind = SOURCE_ZEROES};
		cluster = blob_map_get(map, index);
		if (cluster)
			return (struct blob_source){.kind = SOURCE_CLUSTER, .cluster = cluster};
		last = at;
		at = next;
	}
	return blob_source_end(own, last, index);
}

/* ---- to the device below ------------------------------------------------ */

static void piece_io_done(struct bdev_io *io)
{
	struct blob_piece *piece = container_of(io, struct blob_piece, io);

	piece->done(piece, io->status);
}

static void piece_submit_to(struct blob_piece *piece, enum bdev_io_type type,
	struct bdev_channel *channel, uint64_t offset)
{
	struct bdev_io *io = &piece->io;

	*io = (struct bdev_io){
		.iov = piece->iov,
		.offset = offset,
		.length = piece->length,
		.done = piece_io_done,
		.type = type,
		.flags = piece->flags & (BDEV_IO_FUA | BDEV_IO_NO_UNMAP),
		.iovcnt = piece->iovcnt,
	};
	bdev_submit(channel, io);
}

void piece_submit(struct blob_piece *piece, enum bdev_io_type type, uint32_t cluster)
{
	const struct blob_channel *own = piece->own;

	piece_submit_to(piece, type, own->base,
		(uint64_t)cluster * own->cluster_size + cluster_within(own, piece->offset));
}

/* ---- what a piece does -------------------------------------------------- */

static void piece_read_below(struct blob_piece *piece, uint64_t index)
{
	struct blob_source source = blob_source_below(piece->own, index);

	switch (source.kind) {
	case SOURCE_CLUSTER:
		piece_submit(piece, BDEV_IO_READ, source.cluster);
		break;
	case SOURCE_FOREIGN:
		piece_submit_to(piece, BDEV_IO_READ, piece->own->esnap, piece->offset);
		break;
	case SOURCE_ZEROES:
		piece_zero_memory(piece);
		break;
	case SOURCE_MISSING:
		piece->done(piece, -EIO);
		break;
	}
}

static bool piece_is_beyond(const struct blob_piece *piece, uint64_t index)
{
	return index >= blob_map(piece->own->blob)->num_clusters;
}

void piece_run(struct blob_piece *piece)
{
	uint64_t index = cluster_index(piece->own, piece->offset);
	uint32_t cluster = blob_cluster(piece->own, index);

	/* The blob shrinks and this request had not been told. */
	if (piece_is_beyond(piece, index)) {
		piece->done(piece, -EIO);
		return;
	}
	switch (piece->type) {
	case BDEV_IO_READ:
		if (cluster)
			piece_submit(piece, BDEV_IO_READ, cluster);
		else
			piece_read_below(piece, index);
		return;
	case BDEV_IO_WRITE:
		if (cluster)
			piece_submit(piece, BDEV_IO_WRITE, cluster);
		else
			piece_allocate(piece);
		return;
	case BDEV_IO_WRITE_ZEROES:
		if (cluster)
			piece_clear(piece, BDEV_IO_WRITE_ZEROES, cluster);
		else
			piece_allocate(piece);
		return;
	default: /* BLOB_PIECE_TOUCH */
		if (cluster)
			piece->done(piece, 0);
		else
			piece_allocate(piece);
	}
}
