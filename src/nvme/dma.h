/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that a controller may reach.
 *
 * Areas are the driver's own: queues, PRP lists, bounce pages. Each is a memfd of its own, so that
 * it could be handed to a successor.
 *
 * A table is what is mapped of other people's memory (guests'): immutable once built, sorted; a
 * change builds a new one. Data reactors look up, the control reactor builds and frees. Memory that
 * is in no table is not an error: what is there goes through bounce pages.
 */
#ifndef NVME_DMA_H
#define NVME_DMA_H

#include "core/worker.h"
#include "nvme/transport.h"

#define NVME_PAGE      4096u
#define NVME_IOVA_NONE UINT64_MAX

struct nvme_area {
	uint8_t *addr; /* NULL: none */
	size_t size;
	uint64_t iova;
	int fd;

	/* one call at a time */
	struct worker_job job;
	struct nvme_transport *transport;
};

/* Control reactor. Zeroed memory; -ENOMEM and what the transport says. */
void nvme_area_create(struct nvme_area *area, struct reactor *control,
	struct nvme_transport *transport, size_t size, done_fn done, void *arg);
/* The controller does not use it any more. One without memory is allowed. */
void nvme_area_destroy(struct nvme_area *area, struct reactor *control, done_fn done, void *arg);

struct nvme_region {
	uint8_t *addr;
	uint64_t size;
	uint64_t iova;
};

struct nvme_table {
	unsigned count;
	struct nvme_region regions[]; /* sorted by addr, no overlap */
};

/* The table of old (may be NULL) with that region, or without the one that begins at addr. */
struct nvme_table *nvme_table_with(const struct nvme_table *old, const struct nvme_region *region);
struct nvme_table *nvme_table_without(const struct nvme_table *old, const void *addr);
const struct nvme_region *nvme_table_find(const struct nvme_table *table, const void *addr);

/* Where the controller finds these bytes; NVME_IOVA_NONE unless one region has all of them. *hint
 * is the caller's cache: any value. */
static inline uint64_t nvme_table_iova(
	const struct nvme_table *table, unsigned *hint, const uint8_t *addr, size_t len)
{
	const struct nvme_region *region;
	uint64_t offset;

	if (!table || table->count == 0)
		return NVME_IOVA_NONE;
	region = &table->regions[*hint < table->count ? *hint : 0];
	offset = (uint64_t)((uintptr_t)addr - (uintptr_t)region->addr); /* below it is large */
	if (unlikely(offset >= region->size)) {
		region = nvme_table_find(table, addr);
		if (!region)
			return NVME_IOVA_NONE;
		*hint = (unsigned)(region - table->regions);
		offset = (uint64_t)((uintptr_t)addr - (uintptr_t)region->addr);
	}
	return len <= region->size - offset ? region->iova + offset : NVME_IOVA_NONE;
}

#endif
