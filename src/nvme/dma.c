/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Areas are made and ended on workers, since pinning their pages takes a while. Tables hold few
 * regions (a guest has a handful), so that building one anew at each change costs nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "nvme/dma.h"

/* ---- areas -------------------------------------------------------------- */

static int nvme_area_create_job(struct worker_job *job)
{
	struct nvme_area *area = container_of(job, struct nvme_area, job);
	struct nvme_transport *transport = area->transport;
	struct os *os = job->reactor->os;
	void *addr;
	int rc = os->ops->memfd_create(os, "nvme", area->size, &area->fd);

	if (rc)
		return rc;
	rc = os->ops->map(os, area->fd, 0, area->size, true, &addr);
	if (rc)
		goto close_fd;
	rc = transport->ops->dma_map(transport, addr, area->size, &area->iova);
	if (rc)
		goto unmap;
	area->addr = addr;
	return 0;

unmap:
	os->ops->unmap(os, addr, area->size);
close_fd:
	os->ops->close(os, area->fd);
	return rc;
}

void nvme_area_create(struct nvme_area *area, struct reactor *control,
	struct nvme_transport *transport, size_t size, done_fn done, void *arg)
{
	area->addr = NULL;
	area->size = align_up(size, NVME_PAGE);
	area->transport = transport;
	worker_run(&area->job, control, nvme_area_create_job, done, arg);
}

static int nvme_area_destroy_job(struct worker_job *job)
{
	struct nvme_area *area = container_of(job, struct nvme_area, job);
	struct os *os = job->reactor->os;

	if (!area->addr)
		return 0;
	area->transport->ops->dma_unmap(area->transport, area->iova, area->size);
	os->ops->unmap(os, area->addr, area->size);
	os->ops->close(os, area->fd);
	area->addr = NULL;
	return 0;
}

void nvme_area_destroy(struct nvme_area *area, struct reactor *control, done_fn done, void *arg)
{
	worker_run(&area->job, control, nvme_area_destroy_job, done, arg);
}

/* ---- tables ------------------------------------------------------------- */

static struct nvme_table *nvme_table_alloc(unsigned count)
{
	return alloc_op(sizeof(struct nvme_table) + count * sizeof(struct nvme_region));
}

struct nvme_table *nvme_table_with(const struct nvme_table *old, const struct nvme_region *region)
{
	unsigned count = old ? old->count : 0;
	struct nvme_table *table = nvme_table_alloc(count + 1);
	unsigned i = 0;

	for (; i < count && old->regions[i].addr < region->addr; i++)
		table->regions[table->count++] = old->regions[i];
	table->regions[table->count++] = *region;
	for (; i < count; i++)
		table->regions[table->count++] = old->regions[i];
	return table;
}

struct nvme_table *nvme_table_without(const struct nvme_table *old, const void *addr)
{
	struct nvme_table *table = nvme_table_alloc(old->count);

	for (unsigned i = 0; i < old->count; i++)
		if (old->regions[i].addr != addr)
			table->regions[table->count++] = old->regions[i];
	return table;
}

const struct nvme_region *nvme_table_find(const struct nvme_table *table, const void *addr)
{
	unsigned low = 0, high = table ? table->count : 0;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		const struct nvme_region *region = &table->regions[middle];
		uint64_t offset = (uint64_t)((uintptr_t)addr - (uintptr_t)region->addr);

		if (offset < region->size)
			return region;
		if ((const uint8_t *)addr < region->addr)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}
