/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One os_io done with calls that block, on a worker: everything for the epoll engine, and what
 * io_uring cannot do for the other.
 *
 * fallocate on a block device already means BLKZEROOUT for ZERO_RANGE. For PUNCH_HOLE it means
 * "zero it by unmapping, or fail", which many devices that can discard refuse: hence BLKDISCARD.
 */
#include "os/real_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

bool blocking_io_is_discard(const struct os_io *io)
{
	struct stat st;

	return io->op == OS_IO_PUNCH_HOLE && fstat(io->fd, &st) == 0 && S_ISBLK(st.st_mode);
}

int blocking_io_fallocate_mode(const struct os_io *io)
{
	return FALLOC_FL_KEEP_SIZE |
	       (io->op == OS_IO_PUNCH_HOLE ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}

static int64_t write_stable(const struct os_io *io, int iovcnt)
{
	ssize_t n = pwritev2(io->fd, io->iov, iovcnt, (off_t)io->offset, RWF_DSYNC);

	/* An old kernel or a foreign one without the flag. */
	if (n < 0 && errno == EOPNOTSUPP) {
		n = pwritev(io->fd, io->iov, iovcnt, (off_t)io->offset);
		if (n >= 0 && fdatasync(io->fd) < 0)
			return -1;
	}
	return n;
}

static int64_t transfer(const struct os_io *io)
{
	int iovcnt = io->iovcnt > IO_IOV_MAX ? (int)IO_IOV_MAX : io->iovcnt;

	if (io->op == OS_IO_READV)
		return preadv(io->fd, io->iov, iovcnt, (off_t)io->offset);
	if (io->flags & OS_IO_DSYNC)
		return write_stable(io, iovcnt);
	return pwritev(io->fd, io->iov, iovcnt, (off_t)io->offset);
}

static int64_t run_once(const struct os_io *io)
{
	uint64_t range[2] = {io->offset, io->length};

	switch ((enum os_io_op)io->op) {
	case OS_IO_READV:
	case OS_IO_WRITEV:
		return transfer(io);
	case OS_IO_FDATASYNC:
		return fdatasync(io->fd);
	case OS_IO_PUNCH_HOLE:
		if (blocking_io_is_discard(io))
			return ioctl(io->fd, BLKDISCARD, range);
		break;
	case OS_IO_ZERO_RANGE:
		break;
	}
	return fallocate(
		io->fd, blocking_io_fallocate_mode(io), (off_t)io->offset, (off_t)io->length);
}

int64_t blocking_io_run(const struct os_io *io)
{
	int64_t n;

	do
		n = run_once(io);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}
