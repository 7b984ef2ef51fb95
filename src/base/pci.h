/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Addresses of PCI functions: domain, bus, device, function, as the kernel writes them.
 */
#ifndef BASE_PCI_H
#define BASE_PCI_H

#include "base/util.h"

#define PCI_ADDRESS_SIZE 24 /* "0000:01:00.0"; a domain may have 8 digits */

/* From "0000:01:00.0", "01:00.0" or with dots throughout; any case. -EINVAL: it is none. */
int pci_address_parse(const char *text, char ret_address[PCI_ADDRESS_SIZE]) MUST_CHECK;

#endif
