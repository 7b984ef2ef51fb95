/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Open files and the calls on them that block. These take effect at once, held files and latency
 * notwithstanding.
 *
 * A lock belongs to the open file, as flock() has it: it goes with the last descriptor and the last
 * operation in flight of that open file, so an operation that hangs keeps a dead process's lock.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/sim_impl.h"

/* ---- open files ---- */

struct sim_open *sim_open_create(struct sim *sim, enum sim_open_kind kind)
{
	struct sim_open *open = sim_alloc(sizeof(*open));

	open->sim = sim;
	open->refs = 1;
	open->kind = kind;
	list_init(&open->link);
	return open;
}

struct sim_open *sim_open_get(struct sim_open *open)
{
	open->refs++;
	return open;
}

void sim_open_put(struct sim_open *open)
{
	invariant(open->refs > 0);
	if (--open->refs > 0)
		return;
	list_remove(&open->link);
	if (open->socket)
		sim_socket_release(open->socket);
	free(open);
}

bool sim_open_is_ready(const struct sim_open *open, enum os_watch_kind kind)
{
	switch (open->kind) {
	case SIM_OPEN_FILE:
		return true;
	case SIM_OPEN_EVENT:
		return kind == OS_WATCH_WRITABLE || open->event_count > 0;
	default:
		return kind == OS_WATCH_WRITABLE ? sim_socket_is_writable(open->socket)
						 : sim_socket_is_readable(open->socket);
	}
}

static int open_check(const struct sim_file *file, unsigned flags)
{
	if ((flags & OS_OPEN_DIRECTORY) && file->kind != OS_FILE_DIRECTORY)
		return -ENOTDIR;
	if ((flags & OS_OPEN_WRITE) && file->kind == OS_FILE_DIRECTORY)
		return -EISDIR;
	if (file->kind == OS_FILE_SOCKET)
		return -ENXIO;
	if ((flags & OS_OPEN_DIRECT) && file->offset_align == 0)
		return -EINVAL;
	return 0;
}

int sim_file_open(struct os *os, const char *path, unsigned flags, unsigned mode, int *ret_fd)
{
	struct sim_process *process = sim_process_of(os);
	struct sim *sim = process->sim;
	struct sim_file *file = sim_file_find(sim, path);
	struct sim_open *open;
	int rc = sim_call_blocking(process, SIM_CALL_FILE_OPEN);

	if (rc)
		return rc;
	if (file && (flags & OS_OPEN_CREATE) && (flags & OS_OPEN_EXCLUSIVE))
		return -EEXIST;
	if (!file && !(flags & OS_OPEN_CREATE))
		return -ENOENT;
	if (!file) {
		file = sim_file_new(sim, OS_FILE_REGULAR);
		rc = sim_name_add(sim, path, file);
	}
	if (!rc)
		rc = open_check(file, flags);
	if (rc)
		return rc;
	if ((flags & OS_OPEN_TRUNCATE) && file->kind == OS_FILE_REGULAR)
		sim_file_resize(file, 0);
	open = sim_open_create(sim, SIM_OPEN_FILE);
	open->flags = flags;
	open->file = file;
	list_add_tail(&file->opens, &open->link);
	*ret_fd = sim_fd_install(process, open);
	return 0;
}

/* The file of a descriptor; -EBADF, or -EINVAL when it is something else. */
static int fd_file(struct sim_process *process, int fd, struct sim_open **ret_open)
{
	struct sim_open *open = sim_fd_open(process, fd);

	if (!open)
		return -EBADF;
	if (open->kind != SIM_OPEN_FILE)
		return -EINVAL;
	*ret_open = open;
	return 0;
}

static void file_tell_info(const struct sim_file *file, struct os_file_info *info)
{
	*info = (struct os_file_info){
		.kind = file->kind,
		.size_bytes = file->disk.size,
		.device = file->kind == OS_FILE_BLOCK ? 0x800 + file->id : 1,
		.inode = file->id,
		.block_size = file->block_size,
		.physical_block_size = file->block_size,
		.dio_memory_align = file->memory_align,
		.dio_offset_align = file->offset_align,
		.map_page_size = SIM_PAGE_BYTES,
		.discard_granularity = file->discard_granularity,
	};
}

int sim_file_info(struct os *os, int fd, struct os_file_info *ret_info)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_open *open = sim_fd_open(process, fd);
	int rc = sim_call(process->sim, SIM_CALL_FILE_INFO);

	if (rc)
		return rc;
	if (!open)
		return -EBADF;
	if (open->kind == SIM_OPEN_FILE)
		file_tell_info(open->file, ret_info);
	else
		*ret_info = (struct os_file_info){
			.kind = open->kind == SIM_OPEN_EVENT ? OS_FILE_ANON : OS_FILE_SOCKET,
			.block_size = 512,
			.physical_block_size = 512,
			.map_page_size = SIM_PAGE_BYTES,
		};
	return 0;
}

/* ---- locks ---- */

int sim_file_lock(struct os *os, int fd, bool exclusive, struct reason *reason)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_open *open, *other;
	int rc = sim_call_blocking(process, SIM_CALL_FILE_LOCK);

	if (!rc)
		rc = fd_file(process, fd, &open);
	if (rc)
		return rc;
	list_for_each_entry (other, &open->file->opens, link) {
		if (other == open || other->lock == SIM_UNLOCKED)
			continue;
		if (exclusive || other->lock == SIM_LOCK_EXCLUSIVE)
			return reason_set(reason, -EWOULDBLOCK,
				"it is in use by process %u (%s): stop that one first",
				other->lock_pid, other->lock_name);
	}
	open->lock = exclusive ? SIM_LOCK_EXCLUSIVE : SIM_LOCK_SHARED;
	open->lock_pid = process->pid;
	snprintf(open->lock_name, sizeof(open->lock_name), "%s", process->name);
	return 0;
}

int sim_file_unlock(struct os *os, int fd)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_open *open;
	int rc = sim_call_blocking(process, SIM_CALL_FILE_UNLOCK);

	if (!rc)
		rc = fd_file(process, fd, &open);
	if (rc)
		return rc;
	open->lock = SIM_UNLOCKED;
	return 0;
}

/* ---- blocking calls ---- */

int sim_file_truncate(struct os *os, int fd, uint64_t size_bytes)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_open *open;
	int rc = sim_call_blocking(process, SIM_CALL_FILE_TRUNCATE);

	if (!rc)
		rc = fd_file(process, fd, &open);
	if (rc)
		return rc;
	if (open->file->kind != OS_FILE_REGULAR || !(open->flags & OS_OPEN_WRITE))
		return -EINVAL;
	if (open->file->memfd >= 0)
		return -EPERM; /* sealed */
	sim_file_resize(open->file, size_bytes);
	return 0;
}

static int transfer_check(
	struct sim_process *process, int fd, enum sim_call call, struct sim_open **ret_open)
{
	int rc = sim_call_blocking(process, call);

	if (!rc)
		rc = fd_file(process, fd, ret_open);
	if (!rc && (*ret_open)->file->kind == OS_FILE_DIRECTORY)
		rc = -EISDIR;
	return rc;
}

static bool is_misaligned(const struct sim_open *open, const void *buf, size_t len, uint64_t offset)
{
	return (open->flags & OS_OPEN_DIRECT) &&
	       ((((uintptr_t)buf | len) & (open->file->memory_align - 1)) ||
		       ((offset | len) & (open->file->offset_align - 1)));
}

int64_t sim_file_read(struct os *os, int fd, void *buf, size_t len, uint64_t offset)
{
	struct sim_open *open;
	int64_t part;
	int rc = transfer_check(sim_process_of(os), fd, SIM_CALL_FILE_READ, &open);

	if (rc)
		return rc;
	if (is_misaligned(open, buf, len, offset))
		return -EINVAL;
	if (open->file->memfd >= 0)
		return pread(open->file->memfd, buf, len, (off_t)offset);
	rc = sim_file_fault(open->file, offset, len);
	if (rc)
		return rc;
	part = sim_file_admit(open->file, open, false, offset, len);
	if (part > 0)
		sim_file_peek(open->file, offset, buf, (size_t)part);
	return part;
}

int64_t sim_file_write(struct os *os, int fd, const void *buf, size_t len, uint64_t offset)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_open *open;
	int64_t part;
	int rc = transfer_check(process, fd, SIM_CALL_FILE_WRITE, &open);

	if (rc)
		return rc;
	if (!(open->flags & OS_OPEN_WRITE))
		return -EBADF;
	if (is_misaligned(open, buf, len, offset))
		return -EINVAL;
	if (open->file->memfd >= 0)
		return pwrite(open->file->memfd, buf, len, (off_t)offset);
	rc = sim_file_fault(open->file, offset, len);
	if (rc)
		return rc;
	part = sim_file_admit(open->file, open, true, offset, len);
	if (part > 0)
		sim_disk_write(
			&open->file->disk, ++process->sim->write_seq, offset, buf, (uint64_t)part);
	return part;
}

int sim_file_sync(struct os *os, int fd)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_open *open;
	int rc = sim_call_blocking(process, SIM_CALL_FILE_SYNC);

	if (!rc)
		rc = fd_file(process, fd, &open);
	if (rc)
		return rc;
	sim_disk_flush(&open->file->disk, process->sim->write_seq);
	return 0;
}
