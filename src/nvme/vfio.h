/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A transport: an NVMe controller that is a PCI function bound to vfio-pci.
 */
#ifndef NVME_VFIO_H
#define NVME_VFIO_H

#include "nvme/transport.h"

/* Blocks. *ret_transport is closed by its ops->close. -ENOENT, -ENODEV, -EBUSY and others, with a
 * sentence. */
int nvme_vfio_open(struct os *os, const char *address, struct reason *reason,
	struct nvme_transport **ret_transport) MUST_CHECK;

#endif
