/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small store as the known implementation writes it: 32 MiB with clusters of 1 MiB, a volume
 * `vol` of 8 clusters, thin, and its snapshot `snap`, closed in order.
 */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <stdint.h>

#define EXAMPLE_DEVICE_BYTES 0x2000000u
#define EXAMPLE_MD_LEN       32u
#define EXAMPLE_CLUSTERS     32u
#define EXAMPLE_SUPER_BLOB   UINT64_C(0x100000000)
#define EXAMPLE_VOL          UINT64_C(0x100000001)
#define EXAMPLE_SNAP         UINT64_C(0x100000003)

/* Pages 0 .. 8 of the device: super block, three masks, metadata pages 0 .. 4. */
enum example_page {
	EXAMPLE_SUPER,
	EXAMPLE_PAGE_MASK,
	EXAMPLE_CLUSTER_MASK,
	EXAMPLE_BLOBID_MASK,
	EXAMPLE_MD,
	EXAMPLE_PAGES = EXAMPLE_MD + 5,
};

void example_page(unsigned index, uint8_t *ret_page); /* 4096 bytes */

#endif
