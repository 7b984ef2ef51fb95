/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The blobstore on disk, format version 3 (docs/volumes.md describes it): structures of the super
 * block, the allocation masks, metadata pages and their descriptors. Every number is little-endian,
 * nothing is padded. Fields in descriptors are unaligned: they are read with le32_get and its like.
 */
#ifndef SPEC_BLOBSTORE_H
#define SPEC_BLOBSTORE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define BLOBSTORE_SIGNATURE    "SPDKBLOB" /* 8 bytes, no terminator */
#define BLOBSTORE_VERSION      3u /* 1 and 2 are read as well */
#define BLOBSTORE_PAGE_BYTES   4096u /* of a page structure, whatever the size of its slot */
#define BLOBSTORE_CRC_BYTES    4092u /* what the checksum of a super block or page covers */
#define BLOBSTORE_TYPE_BYTES   16u
#define BLOBSTORE_NO_BLOB      UINT64_MAX
#define BLOBSTORE_NO_PAGE      UINT32_MAX /* next of the last page of a chain */
#define BLOBSTORE_ID_BIT       (UINT64_C(1) << 32) /* set in every id; the root's index below */
#define BLOBSTORE_SLOT_ENTRIES 512u /* clusters that an extent page covers */
#define BLOBSTORE_BITS_MAX     (UINT32_MAX - 1) /* clusters, and metadata pages, of a store */

struct blobstore_super {
	uint8_t signature[8];
	uint32_t version;
	uint32_t length; /* 4096 */
	uint32_t clean; /* 1: the masks are to be trusted */
	uint64_t super_blob;
	uint32_t cluster_size; /* bytes */
	uint32_t used_page_mask_start; /* positions: pages from byte 0 */
	uint32_t used_page_mask_len;
	uint32_t used_cluster_mask_start;
	uint32_t used_cluster_mask_len;
	uint32_t md_start;
	uint32_t md_len;
	uint8_t bstype[BLOBSTORE_TYPE_BYTES]; /* version 2 */
	uint32_t used_blobid_mask_start; /* version 3 */
	uint32_t used_blobid_mask_len; /* 0: there is none */
	uint64_t size; /* bytes; 0: that of the device */
	uint32_t io_unit_size; /* bytes; 0: 4096 */
	uint32_t md_page_size; /* bytes; 0: 4096 */
	uint8_t reserved[3996];
	uint32_t crc;
} __attribute__((packed));

static_assert(sizeof(struct blobstore_super) == 4096, "super block");
static_assert(offsetof(struct blobstore_super, super_blob) == 20, "super block");
static_assert(offsetof(struct blobstore_super, bstype) == 56, "super block");
static_assert(offsetof(struct blobstore_super, size) == 80, "super block");
static_assert(offsetof(struct blobstore_super, md_page_size) == 92, "super block");
static_assert(offsetof(struct blobstore_super, crc) == BLOBSTORE_CRC_BYTES, "super block");

/* Head of each of the three mask regions; the bits follow, the least significant first. */
struct blobstore_mask {
	uint8_t type;
	uint32_t bits;
} __attribute__((packed));

static_assert(sizeof(struct blobstore_mask) == 5, "mask");

enum blobstore_mask_type {
	BLOBSTORE_MASK_PAGES = 0,
	BLOBSTORE_MASK_CLUSTERS = 1,
	BLOBSTORE_MASK_BLOBIDS = 2,
};

/*
 * Ours, in the zero-filled end of the region of the page mask of a store with clean = 0: all pages
 * in use are in the mask (and some that are not). Whoever else writes the region wipes it.
 */
#define BLOBSTORE_AHEAD_SIGNATURE "Sluice mask mark" /* 16 bytes, no terminator */

struct blobstore_ahead {
	uint8_t signature[16];
	uint32_t version; /* 1 */
	uint32_t cluster_size; /* these as in the super block */
	uint32_t used_page_mask_start;
	uint32_t used_page_mask_len;
	uint32_t md_start;
	uint32_t md_len;
	uint32_t md_page_size;
	uint32_t crc; /* CRC-32C of the bytes before it */
} __attribute__((packed));

static_assert(sizeof(struct blobstore_ahead) == 48, "mark");

#define BLOBSTORE_DESCRIPTOR_AREA 4072u

struct blobstore_page {
	uint64_t id; /* of the blob; of an extent page whoever wrote it last */
	uint32_t sequence; /* in the chain, 0: the root; 0 in extent pages */
	uint32_t reserved;
	uint8_t descriptors[BLOBSTORE_DESCRIPTOR_AREA];
	uint32_t next; /* index of the next page of the chain */
	uint32_t crc;
} __attribute__((packed));

static_assert(sizeof(struct blobstore_page) == BLOBSTORE_PAGE_BYTES, "page");
static_assert(offsetof(struct blobstore_page, next) == 4088, "page");

/* Every descriptor: type (1 byte), length of the rest (4 bytes), the rest. */
#define BLOBSTORE_DESCRIPTOR_HEAD 5u

enum blobstore_descriptor {
	BLOBSTORE_PADDING = 0,
	BLOBSTORE_RUNS = 1, /* pairs of first cluster (0: none) and number of clusters */
	BLOBSTORE_XATTR = 2, /* name length (2), value length (2), name, value */
	BLOBSTORE_FLAGS = 3, /* three words of 8 bytes */
	BLOBSTORE_XATTR_INTERNAL = 4,
	BLOBSTORE_EXTENT_TABLE = 5, /* clusters of the blob (8), pairs of page and repeat count */
	BLOBSTORE_EXTENT_PAGE = 6, /* first cluster (4), clusters (4 each) */
};

#define BLOBSTORE_FLAGS_LENGTH 24u

/* invalid_flags: an unknown bit and the blob cannot be opened */
#define BLOBSTORE_THIN           (UINT64_C(1) << 0)
#define BLOBSTORE_INTERNAL_XATTR (UINT64_C(1) << 1)
#define BLOBSTORE_USES_TABLE     (UINT64_C(1) << 2)
#define BLOBSTORE_ESNAP          (UINT64_C(1) << 3)
#define BLOBSTORE_INVALID_KNOWN  UINT64_C(0xf)
/* data_ro_flags: an unknown bit and it is read-only */
#define BLOBSTORE_READ_ONLY     (UINT64_C(1) << 0)
#define BLOBSTORE_DATA_RO_KNOWN UINT64_C(0x1)
/* md_ro_flags: an unknown bit and its metadata is */
#define BLOBSTORE_CLEAR_MASK  UINT64_C(0x3)
#define BLOBSTORE_MD_RO_KNOWN UINT64_C(0x3)

enum blobstore_clear_method {
	BLOBSTORE_CLEAR_DEFAULT = 0, /* unmap */
	BLOBSTORE_CLEAR_NONE = 1,
	BLOBSTORE_CLEAR_UNMAP = 2,
	BLOBSTORE_CLEAR_WRITE_ZEROES = 3,
};

/* Names of internal xattrs */
#define BLOBSTORE_XATTR_PARENT           "SNAP" /* 8 bytes: id of the parent */
#define BLOBSTORE_XATTR_SNAPSHOT_PENDING "SNAPTMP" /* 8 bytes: the origin; creation goes on */
#define BLOBSTORE_XATTR_REMOVAL_PENDING  "SNAPRM" /* 8 bytes: the only clone; deletion goes on */
#define BLOBSTORE_XATTR_ESNAP            "EXTSNAP" /* what names the external parent */

/* An lvolstore is a blobstore of this type with a super blob; everything else are volumes. */
#define LVOLSTORE_TYPE            "LVOLSTORE" /* and 7 NULs */
#define LVOLSTORE_NAME_MAX        63u /* bytes of the name of a store or volume */
#define LVOLSTORE_XATTR_UUID      "uuid" /* 37 bytes: lower-case text and NUL */
#define LVOLSTORE_XATTR_NAME      "name"
#define LVOLSTORE_XATTR_LOW_WATER "low_water" /* ours, of the super blob: percent as text and NUL */
#define LVOLSTORE_NAME_BYTES      64u /* of a volume's name when it is created */

#endif
