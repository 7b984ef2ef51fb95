/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The transport over VFIO (os/vfio.h). Registers and doorbells are BAR 0, mapped: a write to them
 * is one store, behind a fence that keeps it after all that was written to memory before, since the
 * device reads memory as soon as it sees the store.
 *
 * I/O virtual addresses are handed out from the ranges that the IOMMU translates, first fit, from
 * the bottom; page 0 is left out, as some controllers take an address of 0 for none. What is large
 * gets the place in 2 MiB that its memory has, so that the IOMMU can use large pages. Several
 * workers may map at once: one mutex over the list.
 *
 * Interrupts are MSI-X, one eventfd a vector. They are not held back when a queue is hot
 * (interrupt_set does nothing): nobody watches the eventfd then, and the count it has when the
 * queue goes cold costs one look in vain.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/endian.h"
#include "nvme/vfio.h"
#include "os/vfio.h"
#include "spec/nvme_pci.h"

#define NVME_VFIO_VECTORS  64u
#define NVME_VFIO_MAPPINGS 4096u
#define NVME_VFIO_LARGE    (2 * MIB)
#define NVME_VFIO_PAGE     UINT64_C(4096)

struct nvme_vfio_mapping {
	uint64_t iova;
	uint64_t len;
};

struct nvme_vfio {
	struct nvme_transport transport;
	struct os *os;
	struct vfio_function *function;
	volatile uint8_t *bar;
	char *address;
	int fds[NVME_VFIO_VECTORS];
	unsigned fd_count;
	pthread_mutex_t mutex;
	struct nvme_vfio_mapping mappings[NVME_VFIO_MAPPINGS]; /* ascending */
	unsigned mapping_count;
};

static struct nvme_vfio *nvme_vfio_of(struct nvme_transport *transport)
{
	return container_of(transport, struct nvme_vfio, transport);
}

/* ---- registers ---------------------------------------------------------- */

static uint32_t nvme_vfio_read32(struct nvme_transport *transport, uint32_t offset)
{
	return *(volatile uint32_t *)(nvme_vfio_of(transport)->bar + offset);
}

/* As two halves, which every controller takes. */
static uint64_t nvme_vfio_read64(struct nvme_transport *transport, uint32_t offset)
{
	uint64_t low = nvme_vfio_read32(transport, offset);

	return low | (uint64_t)nvme_vfio_read32(transport, offset + 4) << 32;
}

static void nvme_vfio_write32(struct nvme_transport *transport, uint32_t offset, uint32_t value)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* queue entries and data before the doorbell */
	*(volatile uint32_t *)(nvme_vfio_of(transport)->bar + offset) = value;
}

static void nvme_vfio_write64(struct nvme_transport *transport, uint32_t offset, uint64_t value)
{
	nvme_vfio_write32(transport, offset, (uint32_t)value);
	nvme_vfio_write32(transport, offset + 4, (uint32_t)(value >> 32));
}

/* ---- the function ------------------------------------------------------- */

static int nvme_vfio_set_bus_master(struct nvme_transport *transport, bool on)
{
	struct nvme_vfio *vfio = nvme_vfio_of(transport);
	uint8_t command[2];
	int rc = vfio_config_read(vfio->function, PCI_COMMAND_OFFSET, command, sizeof(command));
	uint16_t value;

	if (rc)
		return rc;
	value = le16_get(command) | PCI_COMMAND_MEMORY_BIT;
	value = on ? value | PCI_COMMAND_MASTER_BIT : (uint16_t)(value & ~PCI_COMMAND_MASTER_BIT);
	le16_put(command, value);
	return vfio_config_write(vfio->function, PCI_COMMAND_OFFSET, command, sizeof(command));
}

static int nvme_vfio_reset(struct nvme_transport *transport)
{
	return vfio_reset(nvme_vfio_of(transport)->function);
}

/* ---- memory ------------------------------------------------------------- */

/* The first address from `from` on that has the place in `align` that addr has. */
static uint64_t nvme_vfio_place(uint64_t from, const void *addr, uint64_t align)
{
	uint64_t place = (uintptr_t)addr & (align - 1);
	uint64_t iova = align_down(from, align) + place;

	return iova < from ? iova + align : iova;
}

/* Where a range has room; the index at which the mapping belongs. */
static bool nvme_vfio_find_in(const struct nvme_vfio *vfio, const struct vfio_range *range,
	const void *addr, size_t len, uint64_t *ret_iova, unsigned *ret_index)
{
	uint64_t align = len >= NVME_VFIO_LARGE ? NVME_VFIO_LARGE : NVME_VFIO_PAGE;
	uint64_t at = u64_max(range->first, NVME_VFIO_PAGE);

	for (unsigned i = 0; i <= vfio->mapping_count; i++) {
		const struct nvme_vfio_mapping *next = &vfio->mappings[i];
		bool is_last = i == vfio->mapping_count || next->iova > range->last;
		uint64_t end = is_last ? range->last : next->iova - 1;
		uint64_t iova = nvme_vfio_place(at, addr, align);

		if (iova >= at && iova <= end && len - 1 <= end - iova) {
			*ret_iova = iova;
			*ret_index = i;
			return true;
		}
		if (is_last)
			return false;
		at = u64_max(at, next->iova + next->len);
	}
	return false;
}

static bool nvme_vfio_find(const struct nvme_vfio *vfio, const void *addr, size_t len,
	uint64_t *ret_iova, unsigned *ret_index)
{
	const struct vfio_range *ranges;
	unsigned count = vfio_ranges(vfio->function, &ranges);

	for (unsigned i = 0; i < count; i++)
		if (nvme_vfio_find_in(vfio, &ranges[i], addr, len, ret_iova, ret_index))
			return true;
	return false;
}

static int nvme_vfio_dma_map(
	struct nvme_transport *transport, void *addr, size_t len, uint64_t *ret_iova)
{
	struct nvme_vfio *vfio = nvme_vfio_of(transport);
	unsigned index;
	uint64_t iova;
	int rc;

	SCOPED_LOCK(&vfio->mutex);
	if (vfio->mapping_count == NVME_VFIO_MAPPINGS ||
		!nvme_vfio_find(vfio, addr, len, &iova, &index))
		return -ENOSPC;
	rc = vfio_dma_map(vfio->function, addr, len, iova);
	if (rc)
		return rc;
	memmove(&vfio->mappings[index + 1], &vfio->mappings[index],
		(vfio->mapping_count - index) * sizeof(vfio->mappings[0]));
	vfio->mappings[index] = (struct nvme_vfio_mapping){iova, len};
	vfio->mapping_count++;
	*ret_iova = iova;
	return 0;
}

static void nvme_vfio_dma_unmap(struct nvme_transport *transport, uint64_t iova, size_t len)
{
	struct nvme_vfio *vfio = nvme_vfio_of(transport);

	SCOPED_LOCK(&vfio->mutex);
	vfio_dma_unmap(vfio->function, iova, len);
	for (unsigned i = 0; i < vfio->mapping_count; i++) {
		if (vfio->mappings[i].iova != iova)
			continue;
		vfio->mapping_count--;
		memmove(&vfio->mappings[i], &vfio->mappings[i + 1],
			(vfio->mapping_count - i) * sizeof(vfio->mappings[0]));
		return;
	}
}

/* ---- interrupts --------------------------------------------------------- */

static int nvme_vfio_interrupt_fd(struct nvme_transport *transport, unsigned vector)
{
	return nvme_vfio_of(transport)->fds[vector];
}

static void nvme_vfio_interrupt_set(struct nvme_transport *transport, unsigned vector, bool on)
{
}

static int nvme_vfio_open_vectors(struct nvme_vfio *vfio, struct reason *reason)
{
	unsigned count = (unsigned)u64_min(vfio_vectors(vfio->function), ARRAY_SIZE(vfio->fds));
	int rc = 0;

	if (count == 0)
		return reason_set(reason, -EOPNOTSUPP,
			"%s has no MSI-X interrupts: this driver needs them", vfio->address);
	while (rc == 0 && vfio->fd_count < count) {
		rc = vfio->os->ops->event_create(vfio->os, &vfio->fds[vfio->fd_count]);
		if (!rc)
			vfio->fd_count++;
	}
	if (!rc)
		rc = vfio_set_vectors(vfio->function, vfio->fds, count);
	vfio->transport.vectors = count;
	return rc ? reason_set(reason, rc, "the interrupts of %s cannot be set up: %s",
			    vfio->address, strerror(-rc))
		  : 0;
}

/* ---- life --------------------------------------------------------------- */

static void nvme_vfio_free(struct nvme_vfio *vfio)
{
	if (vfio->function)
		vfio_close(vfio->function);
	for (unsigned i = 0; i < vfio->fd_count; i++)
		vfio->os->ops->close(vfio->os, vfio->fds[i]);
	pthread_mutex_destroy(&vfio->mutex);
	free(vfio->address);
	free(vfio);
}

static void nvme_vfio_close(struct nvme_transport *transport)
{
	nvme_vfio_free(nvme_vfio_of(transport));
}

static const struct nvme_transport_ops nvme_vfio_ops = {
	.type = "PCIe",
	.read32 = nvme_vfio_read32,
	.read64 = nvme_vfio_read64,
	.write32 = nvme_vfio_write32,
	.write64 = nvme_vfio_write64,
	.set_bus_master = nvme_vfio_set_bus_master,
	.reset = nvme_vfio_reset,
	.dma_map = nvme_vfio_dma_map,
	.dma_unmap = nvme_vfio_dma_unmap,
	.interrupt_fd = nvme_vfio_interrupt_fd,
	.interrupt_set = nvme_vfio_interrupt_set,
	.close = nvme_vfio_close,
};

static int nvme_vfio_open_bar(struct nvme_vfio *vfio, struct reason *reason)
{
	void *bar;
	size_t size;
	int rc = vfio_map_bar(vfio->function, 0, &bar, &size);

	if (!rc && size < NVME_PCI_DOORBELLS + NVME_VFIO_PAGE)
		rc = -ENODEV;
	if (rc)
		return reason_set(reason, rc,
			"%s has no registers of an NVMe controller: is it a drive?", vfio->address);
	vfio->bar = bar;
	vfio->transport.doorbells_bytes =
		(uint32_t)u64_min(size - NVME_PCI_DOORBELLS, UINT32_C(1) << 20);
	return 0;
}

static int nvme_vfio_check_class(struct nvme_vfio *vfio, struct reason *reason)
{
	uint8_t class[3];
	int rc = vfio_config_read(vfio->function, PCI_CLASS_OFFSET, class, sizeof(class));

	if (rc)
		return rc;
	if (class[2] != NVME_PCI_CLASS || class[1] != NVME_PCI_SUBCLASS ||
		class[0] != NVME_PCI_INTERFACE)
		return reason_set(reason, -ENODEV, "%s is no NVMe controller", vfio->address);
	return 0;
}

int nvme_vfio_open(struct os *os, const char *address, struct reason *reason,
	struct nvme_transport **ret_transport)
{
	struct nvme_vfio *vfio = calloc(1, sizeof(*vfio));
	int rc;

	if (!vfio)
		return -ENOMEM;
	pthread_mutex_init(&vfio->mutex, NULL);
	vfio->os = os;
	vfio->address = strdup(address);
	vfio->transport.ops = &nvme_vfio_ops;
	vfio->transport.address = vfio->address;
	rc = vfio->address ? vfio_open(address, reason, &vfio->function) : -ENOMEM;
	if (!rc)
		rc = nvme_vfio_check_class(vfio, reason);
	if (!rc)
		rc = nvme_vfio_set_bus_master(&vfio->transport, false);
	if (!rc)
		rc = nvme_vfio_open_bar(vfio, reason);
	if (!rc)
		rc = nvme_vfio_open_vectors(vfio, reason);
	if (rc) {
		nvme_vfio_free(vfio);
		return rc;
	}
	*ret_transport = &vfio->transport;
	return 0;
}
