/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A PCI function in the hands of this process: the kernel's VFIO, type 1 (Documentation/driver-api/
 * vfio.rst). It is bound to vfio-pci before. Everything here may block but for the BAR, which is
 * plain memory once it is mapped. No locks: one call at a time, dma_map and dma_unmap excepted.
 */
#ifndef OS_VFIO_H
#define OS_VFIO_H

#include <sys/types.h>

#include "base/reason.h"
#include "base/util.h"

struct vfio_function;

struct vfio_range {
	uint64_t first;
	uint64_t last;
};

#define VFIO_RANGES_MAX 16

/* address as in /sys/bus/pci/devices. -ENOENT: no such function; -ENODEV: not bound to vfio-pci;
 * -EPERM, -EACCES, -EBUSY: with a sentence. */
int vfio_open(
	const char *address, struct reason *reason, struct vfio_function **ret_function) MUST_CHECK;
void vfio_close(struct vfio_function *function);

/* All of the BAR, until close. */
int vfio_map_bar(
	struct vfio_function *function, unsigned bar, void **ret_addr, size_t *ret_size) MUST_CHECK;
int vfio_config_read(
	struct vfio_function *function, unsigned offset, void *buf, size_t len) MUST_CHECK;
int vfio_config_write(
	struct vfio_function *function, unsigned offset, const void *buf, size_t len) MUST_CHECK;
int vfio_reset(struct vfio_function *function) MUST_CHECK; /* -EOPNOTSUPP */

/* MSI-X vectors that it has; each of the first count signals the eventfd of its place. */
unsigned vfio_vectors(struct vfio_function *function);
int vfio_set_vectors(
	struct vfio_function *function, const int *eventfds, unsigned count) MUST_CHECK;

/* The I/O virtual addresses that the IOMMU can translate, ascending; how many ranges. */
unsigned vfio_ranges(const struct vfio_function *function, const struct vfio_range **ret_ranges);
int vfio_dma_map(struct vfio_function *function, void *addr, size_t len, uint64_t iova) MUST_CHECK;
void vfio_dma_unmap(struct vfio_function *function, uint64_t iova, size_t len);

#endif
