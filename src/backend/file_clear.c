/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FLUSH, UNMAP and WRITE_ZEROES of the file backend, on data reactors.
 *
 *	FLUSH			fdatasync
 *	UNMAP			hole punched; BLKDISCARD on a device
 *	WRITE_ZEROES		hole punched, on a device BLKZEROOUT
 *	  with NO_UNMAP		ZERO_RANGE or BLKZEROOUT, which leave the range allocated
 *
 * What the kernel does not know it is asked once; then the next way is taken: ZERO_RANGE after a
 * hole, and after that zeroes are written. An UNMAP that a device does not know is done as it is:
 * it promises nothing there. FUA is an fdatasync at the end.
 */
#include <errno.h>

#include "backend/file_impl.h"

#define FILE_ZERO_BYTES  (128 * KIB)
#define FILE_ZERO_PIECES 8

/* Never written; in memory it is the kernel's one page of zeroes. */
static uint8_t file_zeroes[FILE_ZERO_BYTES] __attribute__((aligned(4096)));
static const struct iovec file_zero_iov[FILE_ZERO_PIECES] = {
	[0 ... FILE_ZERO_PIECES - 1] = {.iov_base = file_zeroes, .iov_len = FILE_ZERO_BYTES},
};

enum file_way { FILE_PUNCH_HOLE, FILE_ZERO_RANGE, FILE_WRITE_ZEROES, FILE_NOTHING };

static void file_io_call(
	struct file_bdev *file, struct bdev_io *io, uint8_t op, void (*done)(struct os_io *os_io))
{
	struct os_io *os_io = &file_io_of(io)->os_io;

	os_io->op = op;
	os_io->flags = 0;
	os_io->iovcnt = 0;
	os_io->iov = NULL;
	os_io->fd = file->fd;
	os_io->offset = io->offset;
	os_io->length = io->length;
	os_io->done = done;
	reactor_submit_io(io->channel->reactor, os_io);
}

/* ---- flush -------------------------------------------------------------- */

static void file_flush_done(struct os_io *os_io)
{
	struct bdev_io *io = file_io_request(os_io);
	struct file_bdev *file = file_bdev_of(io->channel->bdev);

	if (file_io_may_retry(io, os_io->result)) {
		file_flush(file, io);
		return;
	}
	if (os_io->result < 0)
		file_report_failure(file, io, (int)os_io->result);
	bdev_io_complete(io, os_io->result < 0 ? (int)os_io->result : 0);
}

void file_flush(struct file_bdev *file, struct bdev_io *io)
{
	file_io_call(file, io, OS_IO_FDATASYNC, file_flush_done);
}

/* ---- clear -------------------------------------------------------------- */

bool file_is_unsupported(int64_t result)
{
	return result == -EOPNOTSUPP || result == -ENOSYS || result == -ENOTTY;
}

static bool file_flag(const _Atomic bool *flag)
{
	return atomic_load_explicit(flag, memory_order_relaxed);
}

static enum file_way file_clear_way(const struct file_bdev *file, const struct bdev_io *io)
{
	bool unmap = io->type == BDEV_IO_UNMAP;
	bool hole = unmap || (!file->is_block && !(io->flags & BDEV_IO_NO_UNMAP));

	if (hole && !file_flag(&file->no_punch))
		return FILE_PUNCH_HOLE;
	if (unmap && !file->bdev.unmap_reads_zeroes)
		return FILE_NOTHING;
	return file_flag(&file->no_zero_range) ? FILE_WRITE_ZEROES : FILE_ZERO_RANGE;
}

static void file_clear_finish(struct file_bdev *file, struct bdev_io *io)
{
	if (io->flags & BDEV_IO_FUA)
		file_flush(file, io);
	else
		bdev_io_complete(io, 0);
}

static void file_call_done(struct file_bdev *file, struct bdev_io *io, _Atomic bool *unsupported)
{
	int64_t result = file_io_of(io)->os_io.result;

	if (result >= 0) {
		file_clear_finish(file, io);
	} else if (file_is_unsupported(result)) {
		atomic_store_explicit(unsupported, true, memory_order_relaxed);
		file_clear(file, io);
	} else if (file_io_may_retry(io, result)) {
		file_clear(file, io);
	} else {
		file_report_failure(file, io, (int)result);
		bdev_io_complete(io, (int)result);
	}
}

static void file_punch_done(struct os_io *os_io)
{
	struct bdev_io *io = file_io_request(os_io);
	struct file_bdev *file = file_bdev_of(io->channel->bdev);

	file_call_done(file, io, &file->no_punch);
}

static void file_zero_range_done(struct os_io *os_io)
{
	struct bdev_io *io = file_io_request(os_io);
	struct file_bdev *file = file_bdev_of(io->channel->bdev);

	file_call_done(file, io, &file->no_zero_range);
}

static void file_write_zeroes(struct file_bdev *file, struct bdev_io *io);

static void file_zeroes_written(struct os_io *os_io)
{
	struct bdev_io *io = file_io_request(os_io);
	struct file_bdev *file = file_bdev_of(io->channel->bdev);
	struct file_io *fio = file_io_of(io);
	int64_t result = os_io->result;

	if (result > 0)
		result = (int64_t)align_down((uint64_t)result, file->offset_align);
	if (result <= 0 && !file_io_may_retry(io, result)) {
		result = result ? result : -EIO;
		file_report_failure(file, io, (int)result);
		bdev_io_complete(io, (int)result);
		return;
	}
	if (result > 0)
		fio->progress += (uint64_t)result;
	if (fio->progress < io->length)
		file_write_zeroes(file, io);
	else
		file_clear_finish(file, io);
}

static void file_write_zeroes(struct file_bdev *file, struct bdev_io *io)
{
	struct file_io *fio = file_io_of(io);
	struct os_io *os_io = &fio->os_io;
	uint64_t left = io->length - fio->progress;

	os_io->op = OS_IO_WRITEV;
	os_io->flags = 0;
	os_io->fd = file->fd;
	os_io->offset = io->offset + fio->progress;
	os_io->done = file_zeroes_written;
	if (left >= FILE_ZERO_BYTES) {
		os_io->iov = file_zero_iov;
		os_io->iovcnt = (uint16_t)u64_min(left / FILE_ZERO_BYTES, FILE_ZERO_PIECES);
	} else {
		fio->iov = (struct iovec){.iov_base = file_zeroes, .iov_len = left};
		os_io->iov = &fio->iov;
		os_io->iovcnt = 1;
	}
	reactor_submit_io(io->channel->reactor, os_io);
}

void file_clear(struct file_bdev *file, struct bdev_io *io)
{
	switch (file_clear_way(file, io)) {
	case FILE_PUNCH_HOLE:
		file_io_call(file, io, OS_IO_PUNCH_HOLE, file_punch_done);
		return;
	case FILE_ZERO_RANGE:
		file_io_call(file, io, OS_IO_ZERO_RANGE, file_zero_range_done);
		return;
	case FILE_WRITE_ZEROES:
		file_write_zeroes(file, io);
		return;
	case FILE_NOTHING:
		bdev_io_complete(io, 0);
		return;
	}
}
