/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening a path for the file backend, on a worker.
 *
 * One descriptor does everything: I/O and flock(), so that the kernel keeps the lock for as long as
 * an I/O is in flight (design, Claims). It is O_DIRECT when the alignment that this needs is no
 * coarser than a block of the device and bounce memory satisfies it; otherwise, as on tmpfs, I/O is
 * buffered.
 *
 * What may not be written is opened read-only and makes a read-only device.
 */
#include <errno.h>
#include <string.h>

#include "backend/file_impl.h"

#define FILE_BLOCK_SIZE_MIN 512u
#define FILE_BLOCK_SIZE_MAX 65536u

static struct os *file_os(const struct worker_job *job)
{
	return job->reactor->os;
}

static bool file_may_not_write(int rc)
{
	return rc == -EACCES || rc == -EPERM || rc == -EROFS;
}

/* direct is left out where the file system has no O_DIRECT. */
static int file_open_path(struct os *os, struct file_bdev *file, bool direct)
{
	unsigned flags = file->bdev.read_only ? OS_OPEN_READ : OS_OPEN_WRITE;
	const char *path = file->options.filename;
	int rc;

	rc = os->ops->file_open(os, path, flags | (direct ? OS_OPEN_DIRECT : 0), 0, &file->fd);
	if (rc == -EINVAL && direct) {
		direct = false;
		rc = os->ops->file_open(os, path, flags, 0, &file->fd);
	}
	if (file_may_not_write(rc) && !file->bdev.read_only) {
		file->bdev.read_only = true;
		return file_open_path(os, file, direct);
	}
	if (rc)
		return reason_set(file->reason, rc, "%s cannot be opened: %s", path, strerror(-rc));
	file->direct = direct;
	rc = os->ops->file_info(os, file->fd, &file->info);
	if (rc)
		return reason_set(
			file->reason, rc, "%s cannot be examined: %s", path, strerror(-rc));
	return 0;
}

static void file_close(struct os *os, struct file_bdev *file)
{
	if (file->fd >= 0)
		os->ops->close(os, file->fd);
	file->fd = -1;
}

static int file_check_kind(const struct file_bdev *file)
{
	const char *path = file->options.filename;

	switch (file->info.kind) {
	case OS_FILE_REGULAR:
	case OS_FILE_BLOCK:
		return 0;
	case OS_FILE_DIRECTORY:
		return reason_set(
			file->reason, -EISDIR, "%s is a directory: name a file in it", path);
	default:
		return reason_set(file->reason, -EINVAL,
			"%s is neither a regular file nor a block device", path);
	}
}

static int file_check_block_size(struct file_bdev *file)
{
	uint32_t block_size = file->options.block_size;

	if (!block_size)
		block_size = file->info.block_size;
	if (!is_power_of_two(block_size) || block_size < FILE_BLOCK_SIZE_MIN ||
		block_size > FILE_BLOCK_SIZE_MAX)
		return reason_set(file->reason, -EINVAL,
			"a block size of %u is not possible: choose a power of two from 512 to "
			"65536",
			block_size);
	if (file->info.kind == OS_FILE_BLOCK && block_size < file->info.block_size)
		return reason_set(file->reason, -EINVAL,
			"%s has sectors of %u bytes: choose a block size of at least that",
			file->options.filename, file->info.block_size);
	file->bdev.block_size = block_size;
	return 0;
}

static int file_check_length(const struct file_bdev *file)
{
	uint64_t size = file->info.size_bytes;

	if (size == 0)
		return reason_set(file->reason, -EINVAL, "%s is empty: give it a size first",
			file->options.filename);
	if (size % file->bdev.block_size)
		return reason_set(file->reason, -EINVAL,
			"%s has %llu bytes, which is not a multiple of the block size of %u: "
			"choose another block size, or change the size of the file",
			file->options.filename, (unsigned long long)size, file->bdev.block_size);
	return 0;
}

static bool file_can_be_direct(const struct file_bdev *file)
{
	const struct os_file_info *info = &file->info;

	return is_power_of_two(info->dio_offset_align) &&
	       info->dio_offset_align <= file->bdev.block_size &&
	       is_power_of_two(info->dio_memory_align) &&
	       info->dio_memory_align <= FILE_BOUNCE_ALIGN;
}

static int file_choose_direct(struct os *os, struct file_bdev *file)
{
	if (file->direct && !file_can_be_direct(file)) {
		int rc;

		file_close(os, file);
		rc = file_open_path(os, file, false);
		if (!rc)
			rc = file_check_kind(file); /* it is another open */
		if (rc)
			return rc;
	}
	atomic_init(&file->memory_align, file->direct ? file->info.dio_memory_align : 1);
	file->offset_align = file->direct ? file->info.dio_offset_align : 1;
	return 0;
}

static void file_fill(struct file_bdev *file)
{
	const struct os_file_info *info = &file->info;
	struct bdev *bdev = &file->bdev;
	uint32_t physical = info->physical_block_size;

	bdev->read_only |= info->read_only;
	bdev->physical_block_size = bdev->block_size;
	if (is_power_of_two(physical) && physical > bdev->block_size)
		bdev->physical_block_size = physical;
	bdev->optimal_io_bytes = (uint32_t)align_down(info->optimal_io_bytes, bdev->block_size);
	bdev->rotational = info->rotational;
	atomic_init(&bdev->size_bytes, info->size_bytes);
	file->is_block = info->kind == OS_FILE_BLOCK;
	file->can_unmap = info->discard_granularity != 0 && !bdev->read_only;
	if (!file->can_unmap)
		return;
	bdev->unmap_granularity = (uint32_t)align_up(info->discard_granularity, bdev->block_size);
	bdev->unmap_reads_zeroes = !file->is_block;
}

int file_open_job(struct worker_job *job)
{
	struct file_bdev *file = container_of(job, struct file_bdev, job);
	struct os *os = file_os(job);
	int rc = file_open_path(os, file, true);

	if (!rc)
		rc = file_check_kind(file);
	if (!rc)
		rc = file_check_block_size(file);
	if (!rc)
		rc = file_choose_direct(os, file);
	if (!rc)
		rc = file_check_length(file);
	if (rc) {
		file_close(os, file);
		return rc;
	}
	file_fill(file);
	return 0;
}

int file_close_job(struct worker_job *job)
{
	file_close(file_os(job), container_of(job, struct file_bdev, job));
	return 0;
}
