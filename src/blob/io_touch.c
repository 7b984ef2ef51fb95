/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Touching a cluster: the first write to it with no data of a guest, for operations that give a
 * blob clusters of its own. It meets first writes of guests as they meet one another: whose record
 * is first wins, and has all of what was below.
 */
#include "blob/io_impl.h"

static void touch_ended(struct deferred *deferred)
{
	struct blob_touch *touch = container_of(deferred, struct blob_touch, later);

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

void blob_touch_submit(struct bdev_channel *channel, struct blob_touch *touch)
{
	struct blob_channel *own = blob_channel_of(channel);
	struct blob_piece *piece = &touch->piece;

	piece->own = own;
	piece->done = touch_piece_done;
	piece->type = BLOB_PIECE_TOUCH;
	piece->flags = 0;
	piece->offset = touch->index * own->cluster_size;
	piece->length = 0;
	piece_run(piece);
}
