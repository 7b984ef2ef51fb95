/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mapping and unmapping guest memory: on workers, since a large mmap or the last munmap of
 * gigabytes takes longer than a reactor may wait. Reference 9.1, 9.2, 9.4.
 *
 * Pages are not populated: that would take all of the guest's memory at once (a guest of 64 GiB
 * that uses 4 would cost 64), undo ballooning, and hold up the reply, for which the whole VM waits.
 * The price is a minor fault at our first touch of each page.
 *
 * The worker does the system calls and judges the files; the control reactor counts references and
 * enters mappings in the SIGBUS table, before any data reactor knows them.
 *
 * Memory in a table is told to the block devices' registry (bdev/memory.h), so that a drive can
 * reach it by itself; before it is unmapped every such drive has let go of it.
 *
 * QEMU's share=off memory looks the same from here and shows stale data; it cannot be told from
 * the descriptor.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vhost/session_impl.h"

/* ---- on a worker ------------------------------------------------------------------------- */

static int memory_check_file(const struct memory_change *change,
	const struct memory_request *request, const struct os_file_info *info)
{
	const struct vhost_user_region *region = &request->region;

	if (info->kind != OS_FILE_REGULAR && info->kind != OS_FILE_BLOCK &&
		info->kind != OS_FILE_CHAR)
		return reason_set(change->reason, -EINVAL,
			"the descriptor of the memory region at 0x%" PRIx64 " is no file",
			region->gpa);
	if (info->kind != OS_FILE_CHAR && region->offset + region->size > info->size_bytes)
		return reason_set(change->reason, -EINVAL,
			"the file of the memory region at 0x%" PRIx64 " has %" PRIu64
			" bytes, 0x%" PRIx64 " + 0x%" PRIx64 " are announced",
			region->gpa, info->size_bytes, region->offset, region->size);
	return 0;
}

static struct guest_mapping *memory_find_old(const struct memory_change *change,
	const struct vhost_user_region *region, const struct os_file_info *info)
{
	for (unsigned i = 0; change->old && i < change->old->count; i++) {
		struct guest_mapping *mapping = change->old->regions[i].mapping;

		if (mapping->device == info->device && mapping->inode == info->inode &&
			mapping->offset == region->offset && mapping->size == region->size)
			return mapping;
	}
	return NULL;
}

static int memory_map_file(struct memory_change *change, struct memory_request *request,
	const struct os_file_info *info)
{
	const struct vhost_user_region *region = &request->region;
	uint64_t page = info->map_page_size ? info->map_page_size : 4096;
	uint64_t before = region->offset & (page - 1);
	struct guest_mapping *mapping = calloc(1, sizeof(*mapping));
	uint64_t len = align_up(before + region->size, page);
	int rc;

	if (!mapping)
		return -ENOMEM;
	if (len < region->size) {
		free(mapping);
		return reason_set(change->reason, -EINVAL, "a memory region is too large to map");
	}
	rc = change->os->ops->map(change->os, request->fd, region->offset - before, (size_t)len,
		false, &mapping->addr);
	if (rc) {
		free(mapping);
		return reason_set(change->reason, rc,
			"the memory region at 0x%" PRIx64 " cannot be mapped: %s", region->gpa,
			strerror(-rc));
	}
	mapping->len = (size_t)len;
	mapping->start = (uint8_t *)mapping->addr + before;
	mapping->device = info->device;
	mapping->inode = info->inode;
	mapping->offset = region->offset;
	mapping->size = region->size;
	request->mapping = mapping;
	return 0;
}

static int memory_map_one(struct memory_change *change, struct memory_request *request)
{
	struct os_file_info info;
	int rc = change->os->ops->file_info(change->os, request->fd, &info);

	if (rc)
		return reason_set(change->reason, rc,
			"the descriptor of the memory region at 0x%" PRIx64 " cannot be used: %s",
			request->region.gpa, strerror(-rc));
	rc = memory_check_file(change, request, &info);
	if (rc)
		return rc;
	request->mapping = memory_find_old(change, &request->region, &info);
	request->reused = request->mapping != NULL;
	return request->reused ? 0 : memory_map_file(change, request, &info);
}

/* Worker or, for what a failed sigbus_add leaves, the control reactor. */
static void memory_unmap_new(struct memory_change *change)
{
	for (unsigned i = 0; i < change->count; i++) {
		struct memory_request *request = &change->requests[i];

		if (!request->mapping || request->reused)
			continue;
		sigbus_remove(request->mapping->sigbus);
		change->os->ops->unmap(change->os, request->mapping->addr, request->mapping->len);
		free(request->mapping);
		request->mapping = NULL;
	}
}

static int memory_map_job(struct worker_job *job)
{
	struct memory_change *change = container_of(job, struct memory_change, job);
	int rc = 0;

	for (unsigned i = 0; i < change->count && rc == 0; i++)
		rc = memory_map_one(change, &change->requests[i]);
	if (rc)
		memory_unmap_new(change);
	return rc;
}

static int memory_map_undo_job(struct worker_job *job)
{
	memory_unmap_new(container_of(job, struct memory_change, job));
	return 0;
}

static int memory_unmap_job(struct worker_job *job)
{
	struct memory_change *change = container_of(job, struct memory_change, job);
	struct guest_mapping *mapping = change->unmaps;

	while (mapping) {
		struct guest_mapping *next = mapping->next;

		change->os->ops->unmap(change->os, mapping->addr, mapping->len);
		free(mapping);
		mapping = next;
	}
	change->unmaps = NULL;
	return 0;
}

/* ---- control reactor --------------------------------------------------------------------- */

static void memory_map_done(void *arg, int rc);

void memory_map(struct memory_change *change, struct reactor *reactor, struct sigbus_owner *owner,
	done_fn done, void *arg)
{
	change->owner = owner;
	change->job_done = done;
	change->job_arg = arg;
	worker_run(&change->job, reactor, memory_map_job, memory_map_done, change);
}

static void memory_map_done(void *arg, int rc)
{
	struct memory_change *change = arg;

	for (unsigned i = 0; i < change->count && rc == 0; i++) {
		struct guest_mapping *mapping = change->requests[i].mapping;

		if (!change->requests[i].reused)
			rc = sigbus_add(
				mapping->addr, mapping->len, change->owner, &mapping->sigbus);
		if (rc)
			memory_unmap_new(change);
	}
	change->job_done(change->job_arg, rc);
}

void memory_map_undo(struct memory_change *change, struct reactor *reactor, done_fn done, void *arg)
{
	for (unsigned i = 0; i < change->count; i++) {
		if (!change->requests[i].reused) {
			sigbus_remove(change->requests[i].mapping->sigbus);
			change->requests[i].mapping->sigbus = NULL;
		}
	}
	worker_run(&change->job, reactor, memory_map_undo_job, done, arg);
}

/* The mappings that nobody uses any more: no fault can come from them. */
static void memory_collect(struct memory_change *change, struct guest_memory *memory)
{
	for (unsigned i = 0; i < memory->count; i++) {
		struct guest_mapping *mapping = memory->regions[i].mapping;

		if (--mapping->refs > 0)
			continue;
		sigbus_remove(mapping->sigbus);
		mapping->next = change->unmaps;
		change->unmaps = mapping;
	}
	free(memory);
}

void memory_tell(struct memory_change *change)
{
	for (unsigned i = 0; i < change->count && change->registry; i++) {
		struct guest_mapping *mapping = change->requests[i].mapping;

		if (mapping->is_told)
			continue;
		mapping->told.addr = mapping->addr;
		mapping->told.len = mapping->len;
		mapping->is_told = true;
		bdev_memory_add(change->registry, &mapping->told);
	}
}

static enum flow_result memory_put_run(struct flow *f)
{
	struct memory_change *change = container_of(f, struct memory_change, put_flow);

	FLOW_BEGIN(f);
	for (change->leaving = change->unmaps; change->leaving;
		change->leaving = change->leaving->next) {
		if (change->leaving->is_told)
			AWAIT(f, bdev_memory_remove(
					 change->registry, &change->leaving->told, flow_resume, f));
	}
	AWAIT(f, worker_run(&change->job, f->reactor, memory_unmap_job, flow_resume, f));
	change->put_done(change->put_arg, 0);
	FLOW_END(f);
}

void memory_put(struct memory_change *change, struct reactor *reactor, struct guest_memory *memory,
	done_fn done, void *arg)
{
	if (memory && --memory->refs == 0)
		memory_collect(change, memory);
	change->put_done = done;
	change->put_arg = arg;
	flow_start(&change->put_flow, reactor, "memory_put", memory_put_run);
}
