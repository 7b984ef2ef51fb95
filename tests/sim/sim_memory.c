/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Eventfds, memfds and mappings. Behind a simulated memfd is one of the kernel's, so that two
 * mappings of it alias as guest memory shared with a front-end does; nothing else can be mapped.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sim/sim_impl.h"

int sim_memfd_create(struct os *os, const char *name, uint64_t size_bytes, int *ret_fd)
{
	struct sim_process *process = sim_process_of(os);
	struct sim *sim = process->sim;
	struct sim_open *open;
	struct sim_file *file;
	int rc = sim_call_blocking(process, SIM_CALL_MEMFD_CREATE);
	int memfd;

	if (rc)
		return rc;
	memfd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (memfd < 0)
		return -errno;
	if (ftruncate(memfd, (off_t)size_bytes) < 0 ||
		fcntl(memfd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0) {
		rc = -errno;
		close(memfd);
		return rc;
	}
	file = sim_file_new(sim, OS_FILE_REGULAR);
	file->memfd = memfd;
	file->offset_align = 0;
	file->disk.size = file->disk.durable_size = size_bytes;
	open = sim_open_create(sim, SIM_OPEN_FILE);
	open->flags = OS_OPEN_WRITE;
	open->file = file;
	list_add_tail(&file->opens, &open->link);
	*ret_fd = sim_fd_install(process, open);
	return 0;
}

int sim_map(struct os *os, int fd, uint64_t offset, size_t len, bool populate, void **ret_addr)
{
	struct sim_process *process = sim_process_of(os);
	struct sim *sim = process->sim;
	struct sim_open *open = sim_fd_open(process, fd);
	struct sim_mapping *mapping;
	void *addr;
	int rc = populate ? sim_call_blocking(process, SIM_CALL_MAP) : sim_call(sim, SIM_CALL_MAP);

	if (rc)
		return rc;
	if (!open)
		return -EBADF;
	if (open->kind != SIM_OPEN_FILE || open->file->memfd < 0)
		return -ENODEV;
	if (len == 0 || offset % SIM_PAGE_BYTES)
		return -EINVAL;
	addr = mmap(
		NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, open->file->memfd, (off_t)offset);
	if (addr == MAP_FAILED)
		return -errno;
	mapping = sim_alloc(sizeof(*mapping));
	mapping->addr = addr;
	mapping->len = len;
	list_add_tail(&process->mappings, &mapping->link);
	*ret_addr = addr;
	return 0;
}

static void mapping_free(struct sim_mapping *mapping)
{
	munmap(mapping->addr, mapping->len);
	list_remove(&mapping->link);
	free(mapping);
}

void sim_unmap(struct os *os, void *addr, size_t len)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_mapping *mapping, *next;

	if (process->dead)
		return;
	list_for_each_entry_safe (mapping, next, &process->mappings, link) {
		if (mapping->addr == addr && mapping->len == len) {
			mapping_free(mapping);
			return;
		}
	}
	sim_complain(process->sim, "%s unmapped %zu bytes that it had not mapped so", process->name,
		len);
}

void sim_mappings_free(struct sim_process *process)
{
	struct sim_mapping *mapping, *next;

	list_for_each_entry_safe (mapping, next, &process->mappings, link)
		mapping_free(mapping);
}

/* ---- eventfds ---- */

int sim_event_create(struct os *os, int *ret_fd)
{
	struct sim_process *process = sim_process_of(os);
	int rc = process->dead ? -ESRCH : sim_call(process->sim, SIM_CALL_EVENT_CREATE);

	if (rc)
		return rc;
	*ret_fd = sim_fd_install(process, sim_open_create(process->sim, SIM_OPEN_EVENT));
	return 0;
}

int sim_event_signal(struct os *os, int fd)
{
	struct sim_process *process = sim_process_of(os);
	int rc = process->dead ? -ESRCH : sim_call(process->sim, SIM_CALL_EVENT_SIGNAL);
	struct sim_open *open;

	if (rc)
		return rc;
	sim_preempt(process->sim, 8);
	open = sim_fd_open(process, fd);
	if (!open)
		return -EBADF;
	if (open->kind == SIM_OPEN_STREAM)
		return sim_socket_write_event(open);
	if (open->kind != SIM_OPEN_EVENT)
		return -EINVAL;
	open->event_count++;
	return 0;
}

int sim_event_adopt(struct os *os, int fd)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_open *open = sim_fd_open(process, fd);
	int rc = process->dead ? -ESRCH : sim_call(process->sim, SIM_CALL_EVENT_ADOPT);

	if (rc)
		return rc;
	if (!open)
		return -EBADF;
	return open->kind == SIM_OPEN_FILE ? -EPERM : 0;
}
