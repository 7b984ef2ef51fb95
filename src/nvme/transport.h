/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The edge between the driver and an NVMe controller: registers, memory that the controller may
 * reach, interrupts. vfio.c is a PCI function through the kernel's VFIO; the tests have one that is
 * simulated (tests/sim/nvme_sim.h).
 *
 * Addresses on the controller's side are I/O virtual addresses (iova): the transport chooses them,
 * equal to the memory's own within a page, so that what is aligned for the one is for the other.
 */
#ifndef NVME_TRANSPORT_H
#define NVME_TRANSPORT_H

#include "os/os.h"

struct nvme_transport;

struct nvme_transport_ops {
	const char *type; /* "PCIe": trtype of RPC */

	/* Registers and doorbells; any thread. What the memory holds before a write is seen by the
	 * controller when it sees the write. A controller that is gone reads as all ones. */
	uint32_t (*read32)(struct nvme_transport *transport, uint32_t offset);
	uint64_t (*read64)(struct nvme_transport *transport, uint32_t offset);
	void (*write32)(struct nvme_transport *transport, uint32_t offset, uint32_t value);
	void (*write64)(struct nvme_transport *transport, uint32_t offset, uint64_t value);

	/* May the controller reach memory at all? Off, nothing is changed by it any more, whatever
	 * state it is in. Blocks. */
	int (*set_bus_master)(struct nvme_transport *transport, bool on);
	/* As after power on; -EOPNOTSUPP where that cannot be. Blocks. */
	int (*reset)(struct nvme_transport *transport);

	/* Whole pages of 4096 bytes, pinned until unmapped. Blocks. */
	int (*dma_map)(
		struct nvme_transport *transport, void *addr, size_t len, uint64_t *ret_iova);
	void (*dma_unmap)(struct nvme_transport *transport, uint64_t iova, size_t len);

	/* The eventfd that interrupts of this vector add to; borrowed. */
	int (*interrupt_fd)(struct nvme_transport *transport, unsigned vector);
	/* Off, interrupts of this vector may be held back until it is on again; a hint. Any thread,
	 * a vector at a time. Starts on. */
	void (*interrupt_set)(struct nvme_transport *transport, unsigned vector, bool on);

	/* Everything mapped has been unmapped. Blocks. */
	void (*close)(struct nvme_transport *transport);
};

struct nvme_transport {
	const struct nvme_transport_ops *ops;
	const char *address; /* "0000:01:00.0" */
	unsigned vectors; /* >= 1; vector 0 is the admin queue's */
	uint32_t doorbells_bytes; /* from NVME_PCI_DOORBELLS on */
};

#endif
