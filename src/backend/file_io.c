/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * READ and WRITE of the file backend, on data reactors.
 *
 * A request is transferred in pieces, nearly always one: all of it, straight between the guest's
 * buffers and the file. There are more when
 *  - the kernel transferred less than asked: the rest follows;
 *  - there are more buffers than the kernel takes in one call;
 *  - the file is O_DIRECT and buffers are misaligned: these go through bounce memory, 128 KiB at a
 *    time (file_bounce.c).
 * Pieces of one request follow each other. O_DIRECT pieces begin and end at the alignment of
 * offsets, which a block is a multiple of.
 *
 * A read that meets the end of the file ends with -EIO: what is in the buffers then is the guest's
 * own and what the file had. A write never grows the file as far as its size is known here; one
 * that somebody else has truncated a moment ago can grow again.
 */
#include <errno.h>

#include "backend/file_impl.h"

#define FILE_RETRIES_MAX 100

/* ---- where a piece begins ----------------------------------------------- */

struct file_place file_io_place(const struct bdev_io *io, uint64_t progress)
{
	struct file_place place = {0};

	while (progress >= io->iov[place.index].iov_len) {
		progress -= io->iov[place.index++].iov_len;
		invariant(place.index < io->iovcnt); /* the buffers are as long as the request */
	}
	place.skip = progress;
	return place;
}

/* ---- the end ------------------------------------------------------------ */

static void file_io_end(struct bdev_io *io, int status)
{
	if (unlikely(file_io_of(io)->bounce))
		file_bounce_end(io);
	if (unlikely(status))
		file_report_failure(file_bdev_of(io->channel->bdev), io, status);
	bdev_io_complete(io, status);
}

bool file_io_may_retry(struct bdev_io *io, int64_t result)
{
	struct file_io *fio = file_io_of(io);

	return (result == -EINTR || result == -EAGAIN) && fio->retries++ < FILE_RETRIES_MAX;
}

static void file_piece_failed(struct file_bdev *file, struct bdev_io *io, int64_t result)
{
	struct file_io *fio = file_io_of(io);

	if (file_io_may_retry(io, result)) {
		file_transfer(file, io);
		return;
	}
	if (result == -EINVAL && file->direct && !fio->bounced && !fio->suspicious) {
		/* The file system wants more alignment than it says. */
		fio->suspicious = true;
		file_transfer(file, io);
		return;
	}
	if (result == -EIO || result == -ENXIO)
		file_doubt_size(file);
	file_io_end(io, (int)result);
}

static void file_piece_done(struct os_io *os_io)
{
	struct bdev_io *io = file_io_request(os_io);
	struct file_bdev *file = file_bdev_of(io->channel->bdev);
	struct file_io *fio = file_io_of(io);
	int64_t result = os_io->result;

	if (unlikely(result < 0)) {
		file_piece_failed(file, io, result);
		return;
	}
	if (unlikely((uint64_t)result != os_io->length)) {
		/* Short: the end of the file, or a kernel that gives less for another reason. */
		result = (int64_t)align_down((uint64_t)result, file->offset_align);
		if (io->type == BDEV_IO_READ)
			file_doubt_size(file);
		if (result == 0) {
			file_io_end(io, -EIO);
			return;
		}
	}
	if (unlikely(fio->suspicious)) /* so that was it */
		atomic_store_explicit(&file->memory_align, FILE_BOUNCE_ALIGN, memory_order_relaxed);
	if (unlikely(fio->bounced && io->type == BDEV_IO_READ))
		file_bounce_read(io, (size_t)result);
	else
		file_piece_advance(io, (uint64_t)result);
}

void file_piece_advance(struct bdev_io *io, uint64_t bytes)
{
	struct file_io *fio = file_io_of(io);

	fio->progress += bytes;
	if (likely(fio->progress == io->length))
		file_io_end(io, 0);
	else
		file_transfer(file_bdev_of(io->channel->bdev), io);
}

/* ---- pieces ------------------------------------------------------------- */

void file_piece_submit(struct file_bdev *file, struct bdev_io *io, const struct iovec *iov,
	unsigned iovcnt, uint64_t length)
{
	struct os_io *os_io = &file_io_of(io)->os_io;

	os_io->op = io->type == BDEV_IO_READ ? OS_IO_READV : OS_IO_WRITEV;
	os_io->flags = io->type == BDEV_IO_WRITE && (io->flags & BDEV_IO_FUA) ? OS_IO_DSYNC : 0;
	os_io->fd = file->fd;
	os_io->offset = io->offset + file_io_of(io)->progress;
	os_io->length = length;
	os_io->iov = iov;
	os_io->iovcnt = (uint16_t)iovcnt;
	os_io->done = file_piece_done;
	reactor_submit_io(io->channel->reactor, os_io);
}

/* How many of these buffers can be transferred as they are, and their bytes. */
static unsigned file_straight_run(const struct file_bdev *file, const struct iovec *iov,
	unsigned iovcnt, uint64_t *ret_length)
{
	uint32_t align = atomic_load_explicit(&file->memory_align, memory_order_relaxed);
	unsigned count = 0;
	uint64_t sum = 0;

	*ret_length = 0;
	for (unsigned i = 0; i < iovcnt; i++) {
		uintptr_t bits = (uintptr_t)iov[i].iov_base | iov[i].iov_len;

		if (bits & (align - 1))
			break;
		sum += iov[i].iov_len;
		if (sum & (file->offset_align - 1))
			continue;
		count = i + 1;
		*ret_length = sum;
	}
	return count;
}

void file_transfer(struct file_bdev *file, struct bdev_io *io)
{
	struct file_io *fio = file_io_of(io);
	struct file_place place = file_io_place(io, fio->progress);
	const struct iovec *iov = &io->iov[place.index];
	unsigned iovcnt = (unsigned)u64_min(io->iovcnt - place.index, FILE_IOV_MAX);
	uint64_t left = io->length - fio->progress;
	uint64_t length;

	if (unlikely(place.skip)) {
		fio->iov.iov_base = (uint8_t *)iov->iov_base + place.skip;
		fio->iov.iov_len = iov->iov_len - place.skip;
		iov = &fio->iov;
		iovcnt = 1;
	}
	iovcnt = file_straight_run(file, iov, iovcnt, &length);
	/* Short runs between misaligned buffers are not worth a call each. */
	if (unlikely(fio->suspicious ||
		     (file->direct && length < left && length < FILE_BOUNCE_BYTES))) {
		file_bounce_transfer(file, io);
		return;
	}
	fio->bounced = false;
	file_piece_submit(file, io, iov, iovcnt, length);
}

/* ---- requests ----------------------------------------------------------- */

static int file_io_check(const struct file_bdev *file, const struct bdev_io *io)
{
	uint64_t size = bdev_size(&file->bdev);

	if (io->type == BDEV_IO_FLUSH)
		return 0;
	if (unlikely(io->type != BDEV_IO_READ && file->bdev.read_only))
		return -EROFS;
	/* The file has shrunk since the request was checked. */
	if (unlikely(io->offset > size || io->length > size - io->offset))
		return -EIO;
	return 0;
}

void file_submit(struct bdev_channel *channel, struct bdev_io *io)
{
	struct file_bdev *file = file_bdev_of(channel->bdev);
	struct file_io *fio = file_io_of(io);
	int rc = file_io_check(file, io);

	if (unlikely(rc || (io->length == 0 && io->type != BDEV_IO_FLUSH))) {
		bdev_io_complete(io, rc);
		return;
	}
	fio->progress = 0;
	fio->bounce = NULL;
	fio->retries = 0;
	fio->bounced = false;
	fio->suspicious = false;
	switch ((enum bdev_io_type)io->type) {
	case BDEV_IO_READ:
	case BDEV_IO_WRITE:
		file_transfer(file, io);
		return;
	case BDEV_IO_FLUSH:
		file_flush(file, io);
		return;
	case BDEV_IO_UNMAP:
	case BDEV_IO_WRITE_ZEROES:
		file_clear(file, io);
		return;
	case BDEV_IO_EXTENT:
	case BDEV_IO_TYPES:
		break;
	}
	bdev_io_complete(io, -EOPNOTSUPP);
}
