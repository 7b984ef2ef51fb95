/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Registered files of a ring: the kernel then need not look a descriptor up and count its users for
 * every operation. Its table has room for every descriptor that this process may have, within
 * reason, and a file stands at the index of its descriptor, so that an operation finds it with one
 * bit. It is made with the first file.
 *
 * Some files and devices cannot be asked "now or not at all" (zram, tmpfs). Each operation on them
 * goes to one of the kernel's threads for this ring, which run where the reactor does: polling
 * would keep them from it for whole time slices. Such files are told by their refusal of
 * RWF_NOWAIT.
 *
 * What the kernel refuses is not registered, and its operations go the ordinary way.
 *
 * A registered file is open for as long as it is in the table, whatever becomes of its descriptor:
 * a lock on it too. Of a killed process the kernel takes the ring down first, which makes its locks
 * free some 30 ms later than they would be.
 */
#include "os/uring_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define FILES_MAX 16384u

void file_table_fini(struct file_table *table)
{
	free(table->bits);
	free(table->slow_bits);
}

static unsigned file_table_choose_size(void)
{
	struct rlimit limit;

	/* The kernel wants no larger table than the limit, and descriptors are below it. */
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	return (unsigned)align_down(u64_min(limit.rlim_cur, FILES_MAX), 64);
}

static int file_table_register(struct uring *uring, unsigned size)
{
	int *fds = malloc(size * sizeof(*fds));
	int rc;

	if (!fds)
		return -ENOMEM;
	for (unsigned i = 0; i < size; i++)
		fds[i] = -1;
	rc = io_uring_register_files(&uring->uring, fds, size);
	free(fds);
	return rc;
}

static void file_table_make(struct uring *uring)
{
	struct file_table *table = &uring->files;
	unsigned size = file_table_choose_size();

	table->refused = true;
	if (size == 0)
		return;
	table->bits = calloc(size / 64, sizeof(*table->bits));
	table->slow_bits = calloc(size / 64, sizeof(*table->slow_bits));
	if (!table->bits || !table->slow_bits || file_table_register(uring, size) < 0)
		return;
	table->size = size;
	table->refused = false;
}

/* The refusal comes before anything else is looked at: one byte is read, if it is there, or the
 * alignment is refused. */
static bool file_is_slow(int fd)
{
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};

	return preadv2(fd, &iov, 1, 0, RWF_NOWAIT) < 0 && errno == EOPNOTSUPP;
}

static void file_table_add(struct file_table *table, int fd)
{
	uint64_t bit = UINT64_C(1) << (fd % 64);

	table->bits[fd / 64] |= bit;
	if (file_is_slow(fd))
		table->slow_bits[fd / 64] |= bit;
	else
		table->slow_bits[fd / 64] &= ~bit;
}

void uring_file_keep(struct os_ring *ring, int fd)
{
	struct uring *uring = uring_of(ring);
	struct file_table *table = &uring->files;

	if (table->size == 0 && !table->refused)
		file_table_make(uring);
	invariant(!file_table_has(table, fd));
	if ((unsigned)fd >= table->size)
		return;
	if (io_uring_register_files_update(&uring->uring, (unsigned)fd, &fd, 1) == 1)
		file_table_add(table, fd);
}

void uring_file_drop(struct os_ring *ring, int fd)
{
	struct uring *uring = uring_of(ring);
	int none = -1;
	int rc;

	if (!file_table_has(&uring->files, fd))
		return;
	rc = io_uring_register_files_update(&uring->uring, (unsigned)fd, &none, 1);
	invariant(rc == 1);
	uring->files.bits[fd / 64] &= ~(UINT64_C(1) << (fd % 64));
}
