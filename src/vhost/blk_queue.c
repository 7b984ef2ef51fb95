/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-blk requests: from a chain to the block layer and back. VIRTIO 1.2 section 5.2.6.
 *
 * Readable part: a 16-byte header, then data-out or segments. Writable part: data-in, then the
 * status as its very last byte. Any layout: only byte counts matter, not descriptors.
 *
 * READ and WRITE are the straight path: check, trim the header and the status off the iovecs in
 * place, submit. Everything else is below it.
 *
 * A write that finds no space is postponed (postpone.c) unless the disk is made otherwise: there is
 * no status for it, and from an I/O error guests do not recover. It is handled once more then.
 *
 * A chain with no room for a header or a status cannot be answered: it breaks the ring. All other
 * mistakes get a status. The used length is what was written: data-in and the status byte.
 */
#include <errno.h>
#include <string.h>

#include "vhost/blk_impl.h"

struct blk_request {
	struct vq_request vq;
	uint8_t *status;
	struct bdev_io io;
	/* DISCARD, WRITE_ZEROES: several segments are executed one after the other */
	struct virtio_blk_discard_write_zeroes *segments; /* from SLAB_512, or NULL */
	uint32_t segment_count;
	uint32_t segment_next;
	uint32_t type;
	struct slab_waiter waiter;
};

static struct blk_queue *blk_request_queue(const struct blk_request *request)
{
	return virtqueue_device(request->vq.vq);
}

static void blk_finish(struct blk_request *request, uint8_t status, uint64_t written)
{
	if (likely(!virtqueue_is_frozen(request->vq.vq)))
		*request->status = status;
	virtqueue_push(&request->vq, (uint32_t)written + 1);
}

static uint8_t blk_status_of(int rc)
{
	switch (rc) {
	case 0:
		return VIRTIO_BLK_S_OK;
	case -EOPNOTSUPP:
		return VIRTIO_BLK_S_UNSUPP;
	default:
		return VIRTIO_BLK_S_IOERR;
	}
}

/* True: the request is the queue's again. */
static bool blk_postpone(struct blk_queue *queue, struct blk_request *request)
{
	if (likely(request->io.status != -ENOSPC))
		return false;
	return queue->waits_for_space && !queue->gone && virtqueue_postpone(&request->vq);
}

/* The caller has checked that the device is not gone. */
static void blk_io_submit(struct blk_queue *queue, struct blk_request *request)
{
	queue->io_in_flight++;
	bdev_submit(queue->channel, &request->io);
}

static void blk_io_ended(struct blk_queue *queue)
{
	queue->io_in_flight--;
	if (unlikely(queue->gone && queue->io_in_flight == 0))
		reactor_send(queue->control, &queue->detached);
}

/* ---- READ and WRITE ------------------------------------------------------------------------ */

static void blk_read_write_done(struct bdev_io *io)
{
	struct blk_request *request = container_of(io, struct blk_request, io);
	struct blk_queue *queue = blk_request_queue(request);
	uint64_t written = io->type == BDEV_IO_READ && io->status == 0 ? io->length : 0;

	if (!blk_postpone(queue, request))
		blk_finish(request, blk_status_of(io->status), written);
	blk_io_ended(queue);
}

/* The whole transfer lies on the device, in whole blocks. */
static bool blk_range_is_valid(const struct blk_queue *queue, uint64_t sector, uint64_t bytes)
{
	uint64_t size = bdev_size(queue->bdev);
	uint64_t offset = sector * VIRTIO_BLK_SECTOR;

	return sector <= UINT64_MAX / VIRTIO_BLK_SECTOR && offset <= size &&
	       bytes <= size - offset && ((offset | bytes) & queue->block_mask) == 0;
}

static void blk_transfer(struct blk_queue *queue, struct blk_request *request, uint64_t sector,
	struct iovec *iov, unsigned iovcnt, uint64_t bytes, enum bdev_io_type type)
{
	struct bdev_io *io = &request->io;

	if (unlikely(queue->gone || request->vq.faulty ||
		     !blk_range_is_valid(queue, sector, bytes) ||
		     (type == BDEV_IO_WRITE && queue->read_only))) {
		blk_finish(request, VIRTIO_BLK_S_IOERR, 0);
		return;
	}
	if (unlikely(bytes == 0)) {
		blk_finish(request, VIRTIO_BLK_S_OK, 0);
		return;
	}
	if (unlikely(iovcnt > UINT16_MAX)) {
		blk_finish(request, VIRTIO_BLK_S_IOERR, 0);
		return;
	}
	io->iov = iov;
	io->iovcnt = (uint16_t)iovcnt;
	io->offset = sector * VIRTIO_BLK_SECTOR;
	io->length = bytes;
	io->type = (uint8_t)type;
	io->flags = type == BDEV_IO_WRITE && queue->write_through ? BDEV_IO_FUA : 0;
	io->lock = NULL;
	io->done = blk_read_write_done;
	blk_io_submit(queue, request);
}

static void blk_read(struct blk_queue *queue, struct blk_request *request, uint64_t sector)
{
	struct vq_request *vq = &request->vq;
	struct iovec *iov = vq->iov + vq->out_iovs;
	unsigned iovcnt = vq->in_iovs;

	/* The status byte is the end of the last entry (blk_find_status). */
	if (--iov[iovcnt - 1].iov_len == 0)
		iovcnt--;
	blk_transfer(queue, request, sector, iov, iovcnt, vq->in_bytes - 1, BDEV_IO_READ);
}

static void blk_write(struct blk_queue *queue, struct blk_request *request, uint64_t sector)
{
	struct vq_request *vq = &request->vq;
	uint64_t bytes = vq->out_bytes - sizeof(struct virtio_blk_outhdr);
	struct iovec *iov;
	unsigned iovcnt;

	if (likely(vq->iov[0].iov_len == sizeof(struct virtio_blk_outhdr))) {
		iov = vq->iov + 1;
		iovcnt = vq->out_iovs - 1;
	} else {
		iov = vq_iov_slice(
			vq->iov, vq->out_iovs, sizeof(struct virtio_blk_outhdr), bytes, &iovcnt);
	}
	blk_transfer(queue, request, sector, iov, iovcnt, bytes, BDEV_IO_WRITE);
}

/* ---- FLUSH, GET_ID ------------------------------------------------------------------------- */

static void blk_flush_done(struct bdev_io *io)
{
	struct blk_request *request = container_of(io, struct blk_request, io);
	struct blk_queue *queue = blk_request_queue(request);

	blk_finish(request, blk_status_of(io->status), 0);
	blk_io_ended(queue);
}

static void blk_flush(struct blk_queue *queue, struct blk_request *request)
{
	if (queue->gone) {
		blk_finish(request, VIRTIO_BLK_S_IOERR, 0);
		return;
	}
	request->io.iov = NULL;
	request->io.iovcnt = 0;
	request->io.offset = 0;
	request->io.length = bdev_size(queue->bdev);
	request->io.type = BDEV_IO_FLUSH;
	request->io.flags = 0;
	request->io.lock = NULL;
	request->io.done = blk_flush_done;
	blk_io_submit(queue, request);
}

static void blk_get_id(struct blk_queue *queue, struct blk_request *request)
{
	struct vq_request *vq = &request->vq;
	size_t room = u64_min(vq->in_bytes - 1, VIRTIO_BLK_ID_BYTES);
	size_t written = vq_iov_write(vq->iov + vq->out_iovs, vq->in_iovs, 0, queue->id, room);

	blk_finish(request, VIRTIO_BLK_S_OK, written);
}

/* ---- DISCARD, WRITE_ZEROES ----------------------------------------------------------------- */

static void blk_segments_put(struct blk_request *request)
{
	if (request->segments)
		slab_put(blk_request_queue(request)->reactor, SLAB_512, request->segments);
	request->segments = NULL;
}

static void blk_segments_finish(struct blk_request *request, uint8_t status)
{
	blk_segments_put(request);
	blk_finish(request, status, 0);
}

/* One that is postponed begins with the first segment again. */
static void blk_segments_fail(struct blk_queue *queue, struct blk_request *request)
{
	blk_segments_put(request);
	if (!blk_postpone(queue, request))
		blk_finish(request, blk_status_of(request->io.status), 0);
}

static void blk_segments_submit(struct blk_queue *queue, struct blk_request *request);

static void blk_segment_done(struct bdev_io *io)
{
	struct blk_request *request = container_of(io, struct blk_request, io);
	struct blk_queue *queue = blk_request_queue(request);

	if (io->status)
		blk_segments_fail(queue, request);
	else
		blk_segments_submit(queue, request);
	blk_io_ended(queue);
}

/* The next segment that is not empty, or the end. */
static void blk_segments_submit(struct blk_queue *queue, struct blk_request *request)
{
	const struct virtio_blk_discard_write_zeroes *segment;
	struct bdev_io *io = &request->io;

	while (request->segment_next < request->segment_count &&
		request->segments[request->segment_next].num_sectors == 0)
		request->segment_next++;
	if (request->segment_next == request->segment_count) {
		blk_segments_finish(request, VIRTIO_BLK_S_OK);
		return;
	}
	if (queue->gone) {
		blk_segments_finish(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	segment = &request->segments[request->segment_next++];
	io->iov = NULL;
	io->iovcnt = 0;
	io->offset = segment->sector * VIRTIO_BLK_SECTOR;
	io->length = (uint64_t)segment->num_sectors * VIRTIO_BLK_SECTOR;
	io->flags = queue->write_through ? BDEV_IO_FUA : 0;
	io->type = BDEV_IO_UNMAP;
	if (request->type == VIRTIO_BLK_T_WRITE_ZEROES) {
		io->type = BDEV_IO_WRITE_ZEROES;
		if (!(segment->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP))
			io->flags |= BDEV_IO_NO_UNMAP;
	}
	io->lock = NULL;
	io->done = blk_segment_done;
	blk_io_submit(queue, request);
}

/* 5.2.6.2: unknown flags, and unmap in a DISCARD, are unsupported; a range that is not on the
 * device is an error. All are checked before one is executed. */
static uint8_t blk_segments_check(const struct blk_queue *queue, const struct blk_request *request)
{
	bool discard = request->type == VIRTIO_BLK_T_DISCARD;
	uint32_t allowed = discard ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	uint32_t sectors_max = discard ? BLK_DISCARD_SECTORS_MAX : BLK_WRITE_ZEROES_SECTORS_MAX;

	for (uint32_t i = 0; i < request->segment_count; i++) {
		const struct virtio_blk_discard_write_zeroes *segment = &request->segments[i];

		if (segment->flags & ~allowed)
			return VIRTIO_BLK_S_UNSUPP;
		if (segment->num_sectors > sectors_max ||
			!blk_range_is_valid(queue, segment->sector,
				(uint64_t)segment->num_sectors * VIRTIO_BLK_SECTOR))
			return VIRTIO_BLK_S_IOERR;
	}
	return VIRTIO_BLK_S_OK;
}

static void blk_segments_ready(struct slab_waiter *waiter);

static void blk_segments_start(struct blk_queue *queue, struct blk_request *request)
{
	struct vq_request *vq = &request->vq;
	size_t bytes = request->segment_count * sizeof(*request->segments);
	uint8_t status;

	request->segments = slab_get(queue->reactor, SLAB_512);
	if (!request->segments) {
		request->io.channel = NULL; /* for blk_get_place */
		request->waiter.ready = blk_segments_ready;
		slab_wait(queue->reactor, SLAB_512, &request->waiter);
		return;
	}
	if (vq_iov_read(vq->iov, vq->out_iovs, sizeof(struct virtio_blk_outhdr), request->segments,
		    bytes) != bytes) {
		blk_segments_finish(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	status = queue->gone ? VIRTIO_BLK_S_IOERR : blk_segments_check(queue, request);
	if (status == VIRTIO_BLK_S_OK)
		blk_segments_submit(queue, request);
	else
		blk_segments_finish(request, status);
}

static void blk_segments_ready(struct slab_waiter *waiter)
{
	struct blk_request *request = container_of(waiter, struct blk_request, waiter);

	blk_segments_start(blk_request_queue(request), request);
}

static void blk_segments(struct blk_queue *queue, struct blk_request *request, uint32_t type)
{
	uint64_t bytes = request->vq.out_bytes - sizeof(struct virtio_blk_outhdr);
	int feature =
		type == VIRTIO_BLK_T_DISCARD ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES;

	if (!(queue->features & (UINT64_C(1) << feature))) {
		blk_finish(request, VIRTIO_BLK_S_UNSUPP, 0);
		return;
	}
	if (queue->gone || queue->read_only || bytes == 0 ||
		bytes % sizeof(struct virtio_blk_discard_write_zeroes) ||
		bytes / sizeof(struct virtio_blk_discard_write_zeroes) > BLK_SEGMENTS_MAX) {
		blk_finish(request, VIRTIO_BLK_S_IOERR, 0);
		return;
	}
	request->type = type;
	request->segment_count = (uint32_t)(bytes / sizeof(struct virtio_blk_discard_write_zeroes));
	request->segment_next = 0;
	blk_segments_start(queue, request);
}

/* ---- entry --------------------------------------------------------------------------------- */

/* The last writable byte; NULL when there is none in memory. */
static uint8_t *blk_find_status(const struct vq_request *vq)
{
	const struct iovec *last;

	if (unlikely(vq->in_iovs == 0))
		return NULL;
	last = &vq->iov[vq->out_iovs + vq->in_iovs - 1];
	if (unlikely(!last->iov_base))
		return NULL;
	return (uint8_t *)last->iov_base + last->iov_len - 1;
}

static void blk_dispatch(struct blk_queue *queue, struct blk_request *request,
	const struct virtio_blk_outhdr *header)
{
	switch (header->type) {
	case VIRTIO_BLK_T_IN:
		blk_read(queue, request, header->sector);
		break;
	case VIRTIO_BLK_T_OUT:
		blk_write(queue, request, header->sector);
		break;
	case VIRTIO_BLK_T_FLUSH:
	case VIRTIO_BLK_T_FLUSH_OUT:
		blk_flush(queue, request);
		break;
	case VIRTIO_BLK_T_GET_ID:
		blk_get_id(queue, request);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		blk_segments(queue, request, header->type);
		break;
	default:
		blk_finish(request, VIRTIO_BLK_S_UNSUPP, 0);
	}
}

static void blk_handle(struct vq_request *vq)
{
	struct blk_request *request = container_of(vq, struct blk_request, vq);
	struct virtio_blk_outhdr header;

	/* Read once: the guest may change it while we look. */
	if (likely(vq->out_iovs && vq->iov[0].iov_len >= sizeof(header) && vq->iov[0].iov_base)) {
		memcpy(&header, vq->iov[0].iov_base, sizeof(header));
		__asm__ volatile("" : "+m"(header));
	} else if (vq_iov_read(vq->iov, vq->out_iovs, 0, &header, sizeof(header)) !=
		   sizeof(header)) {
		virtqueue_break(vq, "a block request has no header");
		return;
	}
	request->status = blk_find_status(vq);
	if (unlikely(!request->status)) {
		virtqueue_break(vq, "a block request has no status byte");
		return;
	}
	blk_dispatch(blk_request_queue(request), request, &header);
}

/* blk_read has taken the status byte off the last entry. */
static void blk_restore(struct vq_request *vq)
{
	struct blk_request *request = container_of(vq, struct blk_request, vq);
	struct iovec *last = &vq->iov[vq->out_iovs + vq->in_iovs - 1];

	if (vq->in_iovs && last->iov_base)
		last->iov_len = (size_t)(request->status - (uint8_t *)last->iov_base) + 1;
}

static void blk_prefetch(void *device, enum poller_distance distance)
{
	struct blk_queue *queue = device;

	if (distance == POLLER_SECOND) {
		__builtin_prefetch(queue, 1);
		__builtin_prefetch(&queue->io_in_flight, 1);
		return;
	}
	bdev_channel_prefetch(queue->channel);
	__builtin_prefetch(&queue->bdev->size_bytes);
}

static bool blk_get_place(const struct vq_request *vq, struct bdev_io_place *ret_place)
{
	const struct blk_request *request = container_of(vq, const struct blk_request, vq);
	const struct blk_queue *queue = blk_request_queue(request);

	if (!request->io.channel) {
		*ret_place = (struct bdev_io_place){0};
		return false;
	}
	bdev_io_get_place(&request->io, queue->channel, ret_place);
	return true;
}

const struct virtqueue_ops blk_queue_ops = {
	.get_place = blk_get_place,
	.request_size = sizeof(struct blk_request),
	.handle = blk_handle,
	.prefetch = blk_prefetch,
	.restore = blk_restore,
};

void blk_queue_detach(struct message *message)
{
	struct blk_queue *queue = container_of(message, struct blk_queue, detach);

	queue->gone = true;
	if (queue->io_in_flight == 0)
		reactor_send(queue->control, &queue->detached);
}
