/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An NVMe controller as a PCI Express function: NVMe over PCIe Transport 1.0 ("pcie").
 */
#ifndef SPEC_NVME_PCI_H
#define SPEC_NVME_PCI_H

#include <stdint.h>

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
