/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An NVMe controller as a PCI Express function: NVMe over PCIe Transport 1.0 ("pcie").
 */
#ifndef SPEC_NVME_PCI_H
#define SPEC_NVME_PCI_H

#include <stdint.h>

/* PCI Local Bus 3.0, 6.2: configuration space */
#define PCI_COMMAND_OFFSET     0x04u
#define PCI_COMMAND_MEMORY_BIT 0x2u
#define PCI_COMMAND_MASTER_BIT 0x4u
#define PCI_CLASS_OFFSET       0x09u /* interface, subclass, class */

/* pcie 3.8.1: class code */
#define NVME_PCI_CLASS     0x01
#define NVME_PCI_SUBCLASS  0x08
#define NVME_PCI_INTERFACE 0x02

/* pcie 3.1.2: doorbells behind the registers in BAR 0; queue 0 is the admin queue */
#define NVME_PCI_DOORBELLS 0x1000u

static inline uint32_t nvme_pci_sq_doorbell(unsigned qid, unsigned dstrd)
{
	return NVME_PCI_DOORBELLS + 2 * qid * (4u << dstrd);
}

static inline uint32_t nvme_pci_cq_doorbell(unsigned qid, unsigned dstrd)
{
	return NVME_PCI_DOORBELLS + (2 * qid + 1) * (4u << dstrd);
}

#endif
