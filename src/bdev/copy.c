/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A copy between devices.
 *
 *	control		copy_run: opens both devices and a channel of each, claims the target
 *	data reactor	COPY_PIECES pieces in flight, each read and then written, then a flush
 *	control		closes everything
 *
 * Pieces are small, so that of a sparse source little is written that need not be, and many, since
 * that is what a device likes.
 */
#include "bdev/copy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/alloc.h"

#define COPY_PIECES      16
#define COPY_PIECE_BYTES (64 * KIB)

struct bdev_copy_op;

struct copy_piece {
	struct bdev_io io;
	struct bdev_copy_op *op;
	struct iovec iov;
};

struct bdev_copy_op {
	struct flow flow;
	struct bdev *source_bdev; /* held by bdev_operation_begin until they are open */
	struct bdev *target_bdev;
	struct reactor *reactor;
	struct bdev_range *ranges;
	unsigned num_ranges;
	bool skip_zeroes;
	struct bdev_user source_user;
	struct bdev_user target_user;
	struct bdev_channel *source;
	struct bdev_channel *target;
	_Atomic bool cancelled; /* control writes */
	struct reason *reason;
	done_fn done;
	void *arg;

	/* data reactor */
	unsigned range; /* of the next piece */
	uint64_t at; /* in it */
	unsigned in_flight;
	int rc; /* the first failure */
	uint8_t *buffers;
	struct copy_piece pieces[COPY_PIECES];
	struct bdev_io flush;
	struct message message; /* there and back */
	done_fn pieces_done;
	void *pieces_arg;
};

/* ---- data reactor -------------------------------------------------------------------------- */

static void copy_back(struct message *message)
{
	struct bdev_copy_op *op = container_of(message, struct bdev_copy_op, message);

	op->pieces_done(op->pieces_arg, op->rc);
}

static void copy_end(struct bdev_copy_op *op)
{
	op->message.run = copy_back;
	reactor_send(bdev_registry_control(op->target_bdev->registry), &op->message);
}

static void copy_flushed(struct bdev_io *io)
{
	struct bdev_copy_op *op = container_of(io, struct bdev_copy_op, flush);

	if (!op->rc)
		op->rc = io->status;
	copy_end(op);
}

static void copy_flush(struct bdev_copy_op *op)
{
	if (op->rc || !bdev_supports(op->target_bdev, BDEV_IO_FLUSH)) {
		copy_end(op);
		return;
	}
	op->flush = (struct bdev_io){.type = BDEV_IO_FLUSH, .done = copy_flushed};
	bdev_submit(op->target, &op->flush);
}

static void copy_start_piece(struct copy_piece *piece);

static void copy_piece_end(struct copy_piece *piece, int status)
{
	struct bdev_copy_op *op = piece->op;

	if (status && !op->rc)
		op->rc = status;
	op->in_flight--;
	copy_start_piece(piece);
	if (op->in_flight == 0)
		copy_flush(op);
}

static void copy_written(struct bdev_io *io)
{
	copy_piece_end(container_of(io, struct copy_piece, io), io->status);
}

static bool bytes_are_zero(const uint8_t *bytes, size_t length)
{
	return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

static void copy_read(struct bdev_io *io)
{
	struct copy_piece *piece = container_of(io, struct copy_piece, io);

	if (io->status || (piece->op->skip_zeroes &&
				  bytes_are_zero(piece->iov.iov_base, piece->iov.iov_len))) {
		copy_piece_end(piece, io->status);
		return;
	}
	io->type = BDEV_IO_WRITE;
	io->done = copy_written;
	bdev_submit(piece->op->target, io);
}

/* The next of what is left, if there is something. */
static void copy_start_piece(struct copy_piece *piece)
{
	struct bdev_copy_op *op = piece->op;
	const struct bdev_range *range = &op->ranges[op->range];

	if (op->rc || op->range == op->num_ranges)
		return;
	if (atomic_load_explicit(&op->cancelled, memory_order_relaxed)) {
		op->rc = -ECANCELED;
		return;
	}
	piece->iov.iov_len = u64_min(COPY_PIECE_BYTES, range->length - op->at);
	piece->io = (struct bdev_io){
		.iov = &piece->iov,
		.iovcnt = 1,
		.offset = range->offset + op->at,
		.length = piece->iov.iov_len,
		.type = BDEV_IO_READ,
		.done = copy_read,
	};
	op->at += piece->iov.iov_len;
	if (op->at == range->length) {
		op->range++;
		op->at = 0;
	}
	op->in_flight++;
	bdev_submit(op->source, &piece->io);
}

static void copy_begin(struct message *message)
{
	struct bdev_copy_op *op = container_of(message, struct bdev_copy_op, message);

	for (unsigned i = 0; i < COPY_PIECES; i++)
		copy_start_piece(&op->pieces[i]);
	if (op->in_flight == 0)
		copy_flush(op);
}

/* ---- control ------------------------------------------------------------------------------- */

static void copy_pieces(struct bdev_copy_op *op, done_fn done, void *arg)
{
	op->pieces_done = done;
	op->pieces_arg = arg;
	op->message.run = copy_begin;
	reactor_send(op->reactor, &op->message);
}

static void copy_source_removed(struct bdev_user *user)
{
	struct bdev_copy_op *op = container_of(user, struct bdev_copy_op, source_user);

	atomic_store_explicit(&op->cancelled, true, memory_order_relaxed);
}

static void copy_target_removed(struct bdev_user *user)
{
	struct bdev_copy_op *op = container_of(user, struct bdev_copy_op, target_user);

	atomic_store_explicit(&op->cancelled, true, memory_order_relaxed);
}

static const struct bdev_user_ops copy_source_ops = {
	.name = "a copy from it",
	.removed = copy_source_removed,
};

static const struct bdev_user_ops copy_target_ops = {
	.name = "a copy to it",
	.removed = copy_target_removed,
};

static int copy_check_range(const struct bdev_copy_op *op, const struct bdev_range *range)
{
	const struct bdev *source = op->source_bdev, *target = op->target_bdev;
	uint32_t block = (uint32_t)u64_max(source->block_size, target->block_size);
	uint64_t size = u64_min(bdev_size(source), bdev_size(target));

	if (range->length == 0 || range->offset % block || range->length % block)
		return reason_set(op->reason, -EINVAL,
			"a range of %" PRIu64 " bytes at %" PRIu64 " is not of whole blocks of %u",
			range->length, range->offset, block);
	if (range->offset > size || range->length > size - range->offset)
		return reason_set(op->reason, -EINVAL,
			"a range of %" PRIu64 " bytes at %" PRIu64 " is not on both %s and %s",
			range->length, range->offset, source->name, target->name);
	return 0;
}

static int copy_open(struct bdev_copy_op *op)
{
	int rc = 0;

	if (op->source_bdev == op->target_bdev)
		return reason_set(op->reason, -EINVAL, "a device is not copied to itself");
	for (unsigned i = 0; i < op->num_ranges && !rc; i++)
		rc = copy_check_range(op, &op->ranges[i]);
	if (rc)
		return rc;
	op->buffers = aligned_alloc(4096, COPY_PIECES * COPY_PIECE_BYTES);
	if (!op->buffers)
		return -ENOMEM;
	for (unsigned i = 0; i < COPY_PIECES; i++) {
		op->pieces[i].op = op;
		op->pieces[i].iov.iov_base = op->buffers + i * COPY_PIECE_BYTES;
	}
	op->source_user.ops = &copy_source_ops;
	op->target_user.ops = &copy_target_ops;
	rc = bdev_open(op->source_bdev, &op->source_user, op->reason);
	if (rc)
		return rc;
	rc = bdev_open(op->target_bdev, &op->target_user, op->reason);
	if (rc)
		bdev_close(&op->source_user);
	return rc;
}

static enum flow_result copy_run(struct flow *f)
{
	struct bdev_copy_op *op = container_of(f, struct bdev_copy_op, flow);

	FLOW_BEGIN(f);
	flow_fail(f, copy_open(op));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, bdev_claim(
			 &op->target_user, BDEV_CLAIM_EXCLUSIVE_WRITE, op->reason, flow_resume, f));
	if (flow_failed(f))
		goto close;
	AWAIT(f, bdev_channel_open(&op->source_user, op->reactor, &op->source, flow_resume, f));
	if (flow_failed(f))
		goto release;
	AWAIT(f, bdev_channel_open(&op->target_user, op->reactor, &op->target, flow_resume, f));
	if (flow_failed(f))
		goto close_source;
	AWAIT(f, copy_pieces(op, flow_resume, f));
	AWAIT(f, bdev_channel_close(op->target, flow_resume, f));
close_source:
	AWAIT(f, bdev_channel_close(op->source, flow_resume, f));
release:
	AWAIT(f, bdev_release(&op->target_user, flow_resume, f));
close:
	bdev_close(&op->target_user);
	bdev_close(&op->source_user);
finish:
	bdev_operation_end(op->source_bdev);
	bdev_operation_end(op->target_bdev);
	op->done(op->arg, f->error);
	free(op->buffers);
	free(op->ranges);
	free(op);
	FLOW_END(f);
}

void bdev_copy(
	const struct bdev_copy_options *options, struct reason *reason, done_fn done, void *arg)
{
	struct bdev_copy_op *op = alloc_op(sizeof(*op));

	op->source_bdev = options->source;
	op->target_bdev = options->target;
	bdev_operation_begin(options->source);
	bdev_operation_begin(options->target);
	op->reactor = options->reactor;
	op->skip_zeroes = options->skip_zeroes;
	op->num_ranges = options->num_ranges;
	op->ranges = alloc_op((options->num_ranges + 1u) * sizeof(*op->ranges));
	memcpy(op->ranges, options->ranges, options->num_ranges * sizeof(*op->ranges));
	op->reason = reason;
	op->done = done;
	op->arg = arg;
	flow_start(
		&op->flow, bdev_registry_control(options->source->registry), "bdev_copy", copy_run);
}
