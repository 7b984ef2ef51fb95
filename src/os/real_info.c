/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a descriptor is: kind, size, and what O_DIRECT, discard and mappings ask for.
 *
 * Alignment for O_DIRECT comes from statx (STATX_DIOALIGN, Linux 6.1); where a kernel or a file
 * system does not tell, from the logical block size of the device below, and 4096 where there is
 * no such device. tmpfs and hugetlbfs have nothing to be direct to. What sysfs knows of a device
 * (discard, rotational, preferred size) is under /sys/dev/block/MAJOR:MINOR/queue, for a partition
 * in the folder above.
 */
#include "os/real_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DIO_ALIGN_UNKNOWN 4096u

static enum os_file_kind file_kind(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return OS_FILE_REGULAR;
	case S_IFBLK:
		return OS_FILE_BLOCK;
	case S_IFCHR:
		return OS_FILE_CHAR;
	case S_IFSOCK:
		return OS_FILE_SOCKET;
	case S_IFIFO:
		return OS_FILE_PIPE;
	case S_IFDIR:
		return OS_FILE_DIRECTORY;
	default:
		return OS_FILE_ANON;
	}
}

/* A number of the device's queue; fallback when it is not told. */
static uint64_t queue_number(dev_t device, const char *name, uint64_t fallback)
{
	static const char *const folders[] = {"queue", "../queue"};
	unsigned long long value;
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		FILE *file;
		int matched;

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/%s", major(device),
			minor(device), folders[i], name);
		file = fopen(path, "re");
		if (!file)
			continue;
		matched = fscanf(file, "%llu", &value);
		fclose(file);
		if (matched == 1)
			return value;
	}
	return fallback;
}

static uint32_t clamp_u32(uint64_t value)
{
	return (uint32_t)u64_min(value, UINT32_MAX);
}

/* 0 where there is none. */
static uint32_t device_discard_granularity(dev_t device)
{
	if (queue_number(device, "discard_max_bytes", 0) == 0)
		return 0;
	return clamp_u32(queue_number(device, "discard_granularity", 0));
}

static int block_info(int fd, dev_t device, struct os_file_info *info)
{
	int logical = 0;
	unsigned physical = 0;
	int read_only = 0;

	if (ioctl(fd, BLKGETSIZE64, &info->size_bytes) < 0 || ioctl(fd, BLKSSZGET, &logical) < 0)
		return -errno;
	info->block_size = (uint32_t)logical;
	info->physical_block_size = (uint32_t)logical;
	if (ioctl(fd, BLKPBSZGET, &physical) == 0 && physical >= info->block_size)
		info->physical_block_size = physical;
	if (ioctl(fd, BLKROGET, &read_only) == 0)
		info->read_only = read_only != 0;
	info->discard_granularity = device_discard_granularity(device);
	info->optimal_io_bytes = clamp_u32(queue_number(device, "optimal_io_size", 0));
	info->rotational = queue_number(device, "rotational", 0) != 0;
	info->dio_memory_align = info->block_size;
	info->dio_offset_align = info->block_size;
	return 0;
}

/* The file system does not tell: does it take O_DIRECT at all, and what is below it? */
static void file_guess_dio(int fd, dev_t device, struct os_file_info *info)
{
	CLEANUP_FD int direct = -1;
	char path[64];
	uint32_t align;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC | O_NONBLOCK);
	if (direct < 0)
		return;
	align = clamp_u32(queue_number(device, "logical_block_size", DIO_ALIGN_UNKNOWN));
	info->dio_memory_align = align;
	info->dio_offset_align = align;
}

static void regular_info(int fd, const struct stat *st, struct os_file_info *info)
{
	long page = sysconf(_SC_PAGESIZE);
	struct statfs fs;
	int status;

	info->size_bytes = (uint64_t)st->st_size;
	info->map_page_size = (uint32_t)page;
	info->rotational = queue_number(st->st_dev, "rotational", 0) != 0;
	status = fcntl(fd, F_GETFL);
	if (status >= 0 && (status & O_ACCMODE) != O_RDONLY)
		info->discard_granularity = (uint32_t)st->st_blksize;
	if (fstatfs(fd, &fs) < 0)
		return;
	switch ((unsigned long)fs.f_type) {
	case HUGETLBFS_MAGIC:
		info->map_page_size = (uint32_t)fs.f_bsize;
		info->discard_granularity = (uint32_t)fs.f_bsize;
		return;
	case TMPFS_MAGIC:
	case RAMFS_MAGIC:
		return;
	default:
		file_guess_dio(fd, st->st_dev, info);
	}
}

/* The kernel's own word, where it gives one. */
static void statx_dio(int fd, struct os_file_info *info)
{
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) < 0 ||
		!(stx.stx_mask & STATX_DIOALIGN))
		return;
	info->dio_memory_align = stx.stx_dio_mem_align;
	info->dio_offset_align = stx.stx_dio_offset_align;
#endif
}

int real_file_info(struct os *os, int fd, struct os_file_info *ret_info)
{
	struct os_file_info info = {.block_size = 512, .physical_block_size = 512};
	struct stat st;
	int rc = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	info.kind = file_kind(st.st_mode);
	info.device = st.st_dev;
	info.inode = st.st_ino;
	info.map_page_size = (uint32_t)sysconf(_SC_PAGESIZE);
	if (info.kind == OS_FILE_BLOCK) {
		info.device = st.st_rdev;
		rc = block_info(fd, st.st_rdev, &info);
	} else if (info.kind == OS_FILE_REGULAR) {
		regular_info(fd, &st, &info);
	}
	if (rc)
		return rc;
	if (info.dio_offset_align != 0)
		statx_dio(fd, &info);
	*ret_info = info;
	return 0;
}
