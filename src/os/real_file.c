/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files, directories and mappings. Everything here may block: workers and the start of the process
 * call it. Descriptors are close-on-exec always, and reads and writes go on after interruptions
 * and short transfers until all is done.
 */
#include "os/real_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* since Linux 6.3 */
#endif

static int open_flags(unsigned flags)
{
	/* A FIFO without a writer must not hold the caller. */
	int result = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

	result |= flags & OS_OPEN_WRITE ? O_RDWR : O_RDONLY;
	result |= flags & OS_OPEN_CREATE ? O_CREAT : 0;
	result |= flags & OS_OPEN_EXCLUSIVE ? O_EXCL : 0;
	result |= flags & OS_OPEN_DIRECT ? O_DIRECT : 0;
	result |= flags & OS_OPEN_TRUNCATE ? O_TRUNC : 0;
	result |= flags & OS_OPEN_DIRECTORY ? O_DIRECTORY : 0;
	return result;
}

int real_file_open(struct os *os, const char *path, unsigned flags, unsigned mode, int *ret_fd)
{
	int status;
	int fd;

	do
		fd = open(path, open_flags(flags), (mode_t)mode);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return -errno;
	/* io_uring would answer EAGAIN to what a non-blocking file cannot do at once. */
	status = fcntl(fd, F_GETFL);
	if (status < 0 || fcntl(fd, F_SETFL, status & ~O_NONBLOCK) < 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

int real_file_truncate(struct os *os, int fd, uint64_t size_bytes)
{
	int rc;

	if (size_bytes > INT64_MAX)
		return -EFBIG;
	do
		rc = ftruncate(fd, (off_t)size_bytes);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

int64_t real_file_read(struct os *os, int fd, void *buf, size_t len, uint64_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(offset + done));

		if (n == 0)
			break;
		if (n > 0)
			done += (size_t)n;
		else if (errno != EINTR)
			return -errno;
	}
	return (int64_t)done;
}

int64_t real_file_write(struct os *os, int fd, const void *buf, size_t len, uint64_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n =
			pwrite(fd, (const char *)buf + done, len - done, (off_t)(offset + done));

		if (n > 0)
			done += (size_t)n;
		else if (n == 0)
			return -EIO;
		else if (errno != EINTR)
			return -errno;
	}
	return (int64_t)done;
}

int real_file_sync(struct os *os, int fd)
{
	int rc;

	do
		rc = fsync(fd);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

int real_file_rename(struct os *os, const char *from, const char *to)
{
	return rename(from, to) < 0 ? -errno : 0;
}

int real_file_unlink(struct os *os, const char *path)
{
	return unlink(path) < 0 ? -errno : 0;
}

int real_directory_create(struct os *os, const char *path, unsigned mode)
{
	return mkdir(path, (mode_t)mode) < 0 ? -errno : 0;
}

int real_memfd_create(struct os *os, const char *name, uint64_t size_bytes, int *ret_fd)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
	int rc;

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, flags);
	if (fd < 0)
		return -errno;
	rc = real_file_truncate(os, fd, size_bytes);
	if (rc)
		goto close_fd;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		rc = -errno;
		goto close_fd;
	}
	*ret_fd = fd;
	return 0;

close_fd:
	close(fd);
	return rc;
}

int real_map(struct os *os, int fd, uint64_t offset, size_t len, bool populate, void **ret_addr)
{
	void *addr;

	if (offset > INT64_MAX)
		return -EOVERFLOW;
	addr = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | (populate ? MAP_POPULATE : 0),
		fd, (off_t)offset);
	if (addr == MAP_FAILED)
		return -errno;
	/* A core dump with every guest's memory helps nobody and shows their secrets. */
	madvise(addr, len, MADV_DONTDUMP);
	*ret_addr = addr;
	return 0;
}

void real_unmap(struct os *os, void *addr, size_t len)
{
	int rc = munmap(addr, len);

	invariant(rc == 0);
}

void real_close(struct os *os, int fd)
{
	/* Never again after EINTR: Linux has released the number by then. */
	close(fd);
}
