/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file or block device itself, read and written through the page cache: metadata is small, and
 * nobody else has it open.
 */
#include "offline/image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int image_fd(const struct image *image)
{
	return container_of(image, struct image_file, image)->fd;
}

static int file_read(struct image *image, uint64_t offset, void *ret_buf, size_t bytes)
{
	char *at = ret_buf;

	while (bytes) {
		ssize_t n = pread(image_fd(image), at, bytes, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += n;
		offset += (uint64_t)n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int file_write(struct image *image, uint64_t offset, const void *buf, size_t bytes)
{
	const char *at = buf;

	while (bytes) {
		ssize_t n = pwrite(image_fd(image), at, bytes, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += n;
		offset += (uint64_t)n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int file_flush(struct image *image)
{
	return fsync(image_fd(image)) < 0 ? -errno : 0;
}

/* Block devices do not know. */
static uint64_t file_next_data(struct image *image, uint64_t offset)
{
	off_t at = lseek(image_fd(image), (off_t)offset, SEEK_DATA);

	if (at >= 0)
		return (uint64_t)at;
	return errno == ENXIO ? image->size_bytes : offset;
}

static const struct image_ops file_ops = {
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.next_data = file_next_data,
};

/* O_EXCL keeps out what is mounted, of block devices only. */
static int file_open(const char *path, bool writable, struct reason *reason)
{
	struct stat st;
	int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK;
	int fd, rc;

	if (stat(path, &st) == 0 && S_ISBLK(st.st_mode) && writable)
		flags |= O_EXCL;
	fd = open(path, flags);
	if (fd >= 0)
		return fd;
	rc = -errno;
	if (rc == -EBUSY)
		return reason_set(reason, rc,
			"%s is in use on this host (mounted, say): take it out of use first", path);
	return reason_set(reason, rc, "%s cannot be opened: %s", path, strerror(-rc));
}

static int file_measure(struct image_file *file, const char *path, struct reason *reason)
{
	struct stat st;
	off_t end = fstat(file->fd, &st) < 0 ? -1 : lseek(file->fd, 0, SEEK_END);

	if (end < 0 || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)))
		return reason_set(reason, -EINVAL, "%s is neither a file nor a block device", path);
	file->image.size_bytes = (uint64_t)end;
	return 0;
}

int image_file_open(struct image_file *file, const char *path, bool writable, struct reason *reason)
{
	int rc;

	*file = (struct image_file){.image.ops = &file_ops};
	file->fd = file_open(path, writable, reason);
	if (file->fd < 0)
		return file->fd;
	rc = file_measure(file, path, reason);
	if (!rc && flock(file->fd, (writable ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0)
		rc = reason_set(reason, -EBUSY,
			"%s is in use by a daemon or another program: close it there first, as "
			"with 'sluice store close'",
			path);
	if (rc)
		close(file->fd);
	return rc;
}

int image_file_close(struct image_file *file)
{
	return close(file->fd) < 0 ? -errno : 0;
}
