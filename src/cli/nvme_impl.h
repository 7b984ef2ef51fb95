/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NVMe controllers as the kernel shows them in sysfs (nvme_sysfs.c), and what is done with them
 * (nvme.c: list; nvme_bind.c: bind and unbind).
 */
#ifndef CLI_NVME_IMPL_H
#define CLI_NVME_IMPL_H

#include "base/pci.h"
#include "base/util.h"

#define NVME_TEXT 64

struct nvme_function {
	char address[PCI_ADDRESS_SIZE];
	char driver[NVME_TEXT]; /* "": none */
	char group[NVME_TEXT]; /* of the IOMMU; "": none */
	char model[NVME_TEXT]; /* "": the kernel does not know */
	char serial[NVME_TEXT];
	char firmware[NVME_TEXT];
};

/* False: there is no such PCI function. *ret_is_nvme: it is a controller for drives. */
bool nvme_function_read(const char *address, struct nvme_function *ret_function, bool *ret_is_nvme);
/* All that are NVMe controllers, by address; the caller frees the array. */
unsigned nvme_functions_find(struct nvme_function **ret_functions);

/* A file in the function's folder. 0 or -errno. */
int nvme_function_write(
	const struct nvme_function *function, const char *file, const char *text) MUST_CHECK;
/* The bus looks for a driver. */
void pci_bus_probe(const char *address);
bool pci_has_driver(const char *driver);

/* A block device of it that somebody uses (mounted, in a RAID, open alone), or "". */
void nvme_function_find_user(const struct nvme_function *function, char ret_name[NVME_TEXT]);

/* Exit codes. */
int nvme_bind(const char *address);
int nvme_unbind(const char *address);

#endif
