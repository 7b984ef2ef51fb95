/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shallow copies: what a read-only volume owns itself, written to the same offsets of another
 * device.
 *
 *	control		copy_run: opens both devices, a channel of each on a data reactor, and waits
 *	data reactor	COPY_PIECES pieces in flight, each read and then written
 *	control		flushes by the last piece, closes; the result waits for lvol_copy_check
 *
 * The clusters are listed at the beginning, under the store's gate; a volume that is read-only
 * keeps what it owns. If one of the devices goes, requests fail and the copy ends with that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/bitmap.h"
#include "lvol/lvol_impl.h"

#define COPY_PIECES      4
#define COPY_PIECE_BYTES (512 * KIB)

struct copy_piece {
	struct bdev_io io;
	struct lvol_copy *copy;
	struct iovec iov;
	void *buf;
	bool ends_cluster;
};

struct lvol_copy {
	struct flow flow;
	struct list link; /* lvols->copies */
	struct lvols *lvols;
	uint32_t number;
	struct lvol *lvol; /* counted until it has ended, as its store is */
	struct bdev *target_bdev; /* held by bdev_operation_begin until it is open */
	struct bdev_gate_turn turn;
	struct bdev_user source_user;
	struct bdev_user target_user;
	struct bdev_channel *source;
	struct bdev_channel *target;
	struct reactor *reactor; /* data */
	struct bitmap clusters;
	uint64_t total;
	_Atomic uint64_t copied; /* data reactor writes */
	_Atomic bool cancelled; /* control writes */
	bool running;
	int error;
	struct reason reason;

	/* data reactor */
	uint32_t cluster; /* of the next piece */
	uint64_t piece_offset; /* in it */
	uint64_t cluster_size;
	unsigned in_flight;
	int rc; /* the first failure */
	struct copy_piece pieces[COPY_PIECES];
	struct bdev_io flush;
	struct message message; /* there and back */
	done_fn done;
	void *arg;
};

/* ---- data reactor ---------------------------------------------------------------------- */

static void copy_back(struct message *message)
{
	struct lvol_copy *copy = container_of(message, struct lvol_copy, message);

	copy->done(copy->arg, copy->rc);
}

static void copy_end(struct lvol_copy *copy)
{
	copy->message.run = copy_back;
	reactor_send(copy->lvols->control, &copy->message);
}

static void copy_flushed(struct bdev_io *io)
{
	struct lvol_copy *copy = container_of(io, struct lvol_copy, flush);

	if (!copy->rc)
		copy->rc = io->status;
	copy_end(copy);
}

static void copy_flush(struct lvol_copy *copy)
{
	if (copy->rc || !bdev_supports(copy->target->bdev, BDEV_IO_FLUSH)) {
		copy_end(copy);
		return;
	}
	copy->flush = (struct bdev_io){.type = BDEV_IO_FLUSH, .done = copy_flushed};
	bdev_submit(copy->target, &copy->flush);
}

static void copy_start_piece(struct copy_piece *piece);

static void copy_piece_end(struct copy_piece *piece, int status)
{
	struct lvol_copy *copy = piece->copy;

	if (status && !copy->rc)
		copy->rc = status;
	else if (!status && piece->ends_cluster)
		atomic_fetch_add_explicit(&copy->copied, 1, memory_order_relaxed);
	copy->in_flight--;
	copy_start_piece(piece);
	if (copy->in_flight == 0)
		copy_flush(copy);
}

static void copy_written(struct bdev_io *io)
{
	copy_piece_end(container_of(io, struct copy_piece, io), io->status);
}

static void copy_read(struct bdev_io *io)
{
	struct copy_piece *piece = container_of(io, struct copy_piece, io);

	if (io->status) {
		copy_piece_end(piece, io->status);
		return;
	}
	io->type = BDEV_IO_WRITE;
	io->done = copy_written;
	bdev_submit(piece->copy->target, io);
}

/* The next of what is left, if there is something. */
static void copy_start_piece(struct copy_piece *piece)
{
	struct lvol_copy *copy = piece->copy;
	uint64_t length;

	if (copy->rc || copy->cluster == BITMAP_NONE)
		return;
	if (atomic_load_explicit(&copy->cancelled, memory_order_relaxed)) {
		copy->rc = -ECANCELED;
		return;
	}
	length = u64_min(COPY_PIECE_BYTES, copy->cluster_size - copy->piece_offset);
	piece->iov = (struct iovec){.iov_base = piece->buf, .iov_len = length};
	piece->io = (struct bdev_io){
		.iov = &piece->iov,
		.iovcnt = 1,
		.offset = copy->cluster * copy->cluster_size + copy->piece_offset,
		.length = length,
		.type = BDEV_IO_READ,
		.done = copy_read,
	};
	copy->piece_offset += length;
	piece->ends_cluster = copy->piece_offset == copy->cluster_size;
	if (piece->ends_cluster) {
		copy->cluster = copy->cluster + 1 < copy->clusters.bits
					? bitmap_find_set(&copy->clusters, copy->cluster + 1)
					: BITMAP_NONE;
		copy->piece_offset = 0;
	}
	copy->in_flight++;
	bdev_submit(copy->source, &piece->io);
}

static void copy_begin(struct message *message)
{
	struct lvol_copy *copy = container_of(message, struct lvol_copy, message);

	for (unsigned i = 0; i < COPY_PIECES; i++)
		copy_start_piece(&copy->pieces[i]);
	if (copy->in_flight == 0)
		copy_flush(copy);
}

/* ---- control --------------------------------------------------------------------------- */

static void copy_pieces(struct lvol_copy *copy, done_fn done, void *arg)
{
	copy->done = done;
	copy->arg = arg;
	copy->message.run = copy_begin;
	reactor_send(copy->reactor, &copy->message);
}

static void copy_cancel(struct lvol_copy *copy)
{
	atomic_store_explicit(&copy->cancelled, true, memory_order_relaxed);
}

static void copy_source_removed(struct bdev_user *user)
{
	copy_cancel(container_of(user, struct lvol_copy, source_user));
}

static void copy_target_removed(struct bdev_user *user)
{
	copy_cancel(container_of(user, struct lvol_copy, target_user));
}

static const struct bdev_user_ops copy_source_ops = {
	.name = "a shallow copy from it",
	.removed = copy_source_removed,
};

static const struct bdev_user_ops copy_target_ops = {
	.name = "a shallow copy to it",
	.removed = copy_target_removed,
};

static int copy_check(struct lvol_copy *copy)
{
	const struct bdev *source = &copy->lvol->bdev;
	const struct bdev *target = copy->target_bdev;

	if (!copy->lvol->blob || !copy->lvol->registered)
		return reason_set(&copy->reason, -ENODEV, "the volume has gone");
	if (!source->read_only)
		return reason_set(&copy->reason, -EPERM,
			"volume %s can be written: copy a snapshot of it", copy->lvol->name);
	if (source->block_size != target->block_size)
		return reason_set(&copy->reason, -EINVAL,
			"volume %s has blocks of %u bytes, %s of %u: they must be equal",
			copy->lvol->name, source->block_size, target->name, target->block_size);
	if (bdev_size(target) < bdev_size(source))
		return reason_set(&copy->reason, -EINVAL, "%s is smaller than volume %s",
			target->name, copy->lvol->name);
	return 0;
}

static int copy_list(struct lvol_copy *copy)
{
	struct blob_store_info store;
	struct blob_info blob;
	uint64_t index;
	int rc;

	blob_store_get_info(copy->lvol->lvs->store, &store);
	blob_get_info(copy->lvol->blob, &blob);
	if (blob.num_clusters >= UINT32_MAX)
		return -EFBIG;
	rc = bitmap_init(&copy->clusters, u64_max(blob.num_clusters, 1));
	if (rc)
		return rc;
	for (index = blob_next_owned(copy->lvol->blob, 0); index < blob.num_clusters;
		index = blob_next_owned(copy->lvol->blob, index + 1))
		bitmap_set(&copy->clusters, (uint32_t)index);
	copy->total = copy->clusters.count;
	copy->cluster_size = store.cluster_size;
	copy->cluster = bitmap_find_set(&copy->clusters, 0);
	return 0;
}

static int copy_open(struct lvol_copy *copy)
{
	int rc = copy_check(copy);

	if (!rc)
		rc = copy_list(copy);
	for (unsigned i = 0; !rc && i < COPY_PIECES; i++) {
		copy->pieces[i].copy = copy;
		copy->pieces[i].buf = aligned_alloc(4096, COPY_PIECE_BYTES);
		if (!copy->pieces[i].buf)
			rc = -ENOMEM;
	}
	if (rc)
		return rc;
	copy->source_user.ops = &copy_source_ops;
	copy->target_user.ops = &copy_target_ops;
	rc = bdev_open(&copy->lvol->bdev, &copy->source_user, &copy->reason);
	if (rc)
		return rc;
	rc = bdev_open(copy->target_bdev, &copy->target_user, &copy->reason);
	if (rc)
		bdev_close(&copy->source_user);
	return rc;
}

static void copy_finish(struct lvol_copy *copy, int rc)
{
	struct lvs *lvs = copy->lvol->lvs;

	for (unsigned i = 0; i < COPY_PIECES; i++) {
		free(copy->pieces[i].buf);
		copy->pieces[i].buf = NULL;
	}
	bitmap_fini(&copy->clusters);
	copy->error = rc;
	copy->running = false;
	lvol_put(copy->lvol);
	lvs_put(lvs);
}

static enum flow_result copy_run(struct flow *f)
{
	struct lvol_copy *copy = container_of(f, struct lvol_copy, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&copy->lvol->lvs->gate, &copy->turn, flow_resume, f));
	flow_fail(f, copy_open(copy));
	bdev_gate_leave(&copy->lvol->lvs->gate);
	bdev_operation_end(copy->target_bdev);
	if (flow_failed(f))
		goto finish;
	AWAIT(f, bdev_claim(&copy->target_user, BDEV_CLAIM_EXCLUSIVE_WRITE, &copy->reason,
			 flow_resume, f));
	if (flow_failed(f))
		goto close;
	AWAIT(f, bdev_channel_open(
			 &copy->source_user, copy->reactor, &copy->source, flow_resume, f));
	if (flow_failed(f))
		goto release;
	AWAIT(f, bdev_channel_open(
			 &copy->target_user, copy->reactor, &copy->target, flow_resume, f));
	if (flow_failed(f))
		goto close_source;
	AWAIT(f, copy_pieces(copy, flow_resume, f));
	AWAIT(f, bdev_channel_close(copy->target, flow_resume, f));
close_source:
	AWAIT(f, bdev_channel_close(copy->source, flow_resume, f));
release:
	AWAIT(f, bdev_release(&copy->target_user, flow_resume, f));
close:
	bdev_close(&copy->target_user);
	bdev_close(&copy->source_user);
finish:
	copy_finish(copy, f->error);
	FLOW_END(f);
}

uint32_t lvol_copy_start(struct lvol *lvol, struct bdev *target)
{
	struct lvols *lvols = lvol->lvs->lvols;
	struct lvol_copy *copy = alloc_op(sizeof(*copy));

	copy->lvols = lvols;
	copy->number = ++lvols->copies_count;
	copy->lvol = lvol;
	lvol_get(lvol);
	lvs_get(lvol->lvs);
	copy->target_bdev = target;
	bdev_operation_begin(target);
	copy->reactor = lvols->options.data[lvols->next_reactor++ % lvols->options.data_count];
	copy->running = true;
	list_add_tail(&lvols->copies, &copy->link);
	flow_start(&copy->flow, lvols->control, "lvol_copy", copy_run);
	return copy->number;
}

static struct lvol_copy *copy_find(struct lvols *lvols, uint32_t number)
{
	struct lvol_copy *copy;

	list_for_each_entry (copy, &lvols->copies, link)
		if (copy->number == number)
			return copy;
	return NULL;
}

static void copy_free(struct lvol_copy *copy)
{
	list_remove(&copy->link);
	free(copy);
}

int lvol_copy_check(struct lvols *lvols, uint32_t number, struct lvol_copy_status *ret_status)
{
	struct lvol_copy *copy = copy_find(lvols, number);

	if (!copy)
		return -ENOENT;
	*ret_status = (struct lvol_copy_status){
		.total_clusters = copy->total,
		.copied_clusters = atomic_load_explicit(&copy->copied, memory_order_relaxed),
		.ended = !copy->running,
		.error = copy->error,
		.reason = copy->reason,
	};
	if (!copy->running)
		copy_free(copy);
	return 0;
}

void lvol_copies_cancel(struct lvols *lvols)
{
	struct lvol_copy *copy;

	list_for_each_entry (copy, &lvols->copies, link)
		copy_cancel(copy);
}

void lvol_copies_free(struct lvols *lvols)
{
	struct lvol_copy *copy, *next;

	list_for_each_entry_safe (copy, next, &lvols->copies, link) {
		invariant(!copy->running);
		copy_free(copy);
	}
}
