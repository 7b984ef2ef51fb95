/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Touching a cluster: the first write to it with no data of a guest, for operations that give a
 * blob clusters of its own. It meets first writes of guests as they meet one another: whose record
 * is first wins, and has all of what was below.
 *
 * And it meets operations as first writes do: what lies below must not become something else, nor
 * the map another one, between the look at them and the record. So a touch is in flight for range
 * locks, of its cluster and of the whole device.
 */
#include <errno.h>

#include "blob/io_impl.h"

static void touch_ended(struct deferred *deferred)
{
	struct blob_touch *touch = container_of(deferred, struct blob_touch, later);

	bdev_io_step_aside(&touch->io);
	touch->done(touch);
}

/* Perhaps called from inside submit. */
static void touch_piece_done(struct blob_piece *piece, int status)
{
	struct blob_touch *touch = container_of(piece, struct blob_touch, piece);

	touch->status = status;
	touch->later.run = touch_ended;
	reactor_defer(piece->own->store->reactor, DEFER_COMPLETE, &touch->later);
}

void blob_touch_begin(struct bdev_io *io)
{
	struct blob_touch *touch = container_of(io, struct blob_touch, io);
	struct blob_channel *own = blob_channel_of(io->channel);
	struct blob_piece *piece = &touch->piece;

	piece->own = own;
	piece->done = touch_piece_done;
	piece->type = BLOB_PIECE_TOUCH;
	piece->flags = 0;
	piece->offset = io->offset;
	piece->length = 0;
	if (io->channel->removed)
		touch_piece_done(piece, -ENODEV);
	else
		piece_run(piece);
}

void blob_touch_submit(struct bdev_channel *channel, struct blob_touch *touch)
{
	const struct blob_channel *own = blob_channel_of(channel);

	touch->io = (struct bdev_io){
		.type = BDEV_IO_WORK,
		.offset = touch->index * own->cluster_size,
		.length = own->cluster_size,
	};
	bdev_submit(channel, &touch->io);
}
