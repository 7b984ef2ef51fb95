/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Read strictly: hexadecimal digits, separators, nothing around them.
 */
#include "base/pci.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEX_DIGITS "0123456789abcdefABCDEF"

/* The numbers of text into parts, at most 4; how many there are, 0 for what is no address. */
static unsigned pci_address_split(const char *text, unsigned long parts[4])
{
	for (unsigned count = 0; count < 4; count++) {
		size_t digits = strspn(text, HEX_DIGITS);

		if (digits < 1 || digits > 8)
			return 0;
		parts[count] = strtoul(text, NULL, 16);
		if (text[digits] == '\0')
			return digits == 1 ? count + 1 : 0; /* the function: one digit */
		if (text[digits] != ':' && text[digits] != '.')
			return 0;
		text += digits + 1;
	}
	return 0;
}

int pci_address_parse(const char *text, char ret_address[PCI_ADDRESS_SIZE])
{
	unsigned long parts[4];
	unsigned count = pci_address_split(text, parts);
	const unsigned long *part = count == 4 ? &parts[1] : parts;
	unsigned long domain = count == 4 ? parts[0] : 0;

	if (count < 3 || part[0] > 0xff || part[1] > 0x1f || part[2] > 7)
		return -EINVAL;
	snprintf(ret_address, PCI_ADDRESS_SIZE, "%04lx:%02lx:%02lx.%lx", domain, part[0], part[1],
		part[2]);
	return 0;
}
