/* SPDX-License-Identifier: BSD-2-Clause */
/* CRC-32C with ISA-L, which picks the best instructions of the CPU. */
#include "base/crc32c.h"

#include <isa-l/crc.h>

#include "base/util.h"

#define PART_MAX (UINT64_C(1) << 30) /* ISA-L takes an int */

uint32_t crc32c(const void *data, size_t length)
{
	uintptr_t at = (uintptr_t)data; /* ISA-L only reads, but does not say so */
	uint32_t crc = UINT32_MAX;

	while (length) {
		size_t part = u64_min(length, PART_MAX);

		crc = crc32_iscsi((unsigned char *)at, (int)part, crc);
		at += part;
		length -= part;
	}
	return ~crc;
}
