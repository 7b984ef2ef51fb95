/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes on a disk that should hold a volume store: the codec takes or refuses them; what it
 * takes it writes so that it is taken again, and is the same.
 *
 * The first byte says what the rest is: a super block, an extent page, a mask, or the pages of a
 * chain: for each a byte about its frame, the length of its descriptors and these, so that short
 * inputs reach far. Checksums are made right, since nobody guesses one.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "md_model.h"

#define MD_LEN    16u
#define CLUSTERS  4096u
#define MASK_BITS 77u
#define INPUT_MAX (MD_LEN * BLOBSTORE_PAGE_BYTES)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void make_right(struct blobstore_page *page)
{
	page->crc = htole32(page_checksum(page));
}

static void fuzz_super(struct blobstore_page *page)
{
	uint8_t written[BLOBSTORE_PAGE_BYTES];
	struct super super, again;

	if (super_decode(page, UINT64_C(1) << 50, &super, NULL) != 0)
		return;
	invariant(super_md_clusters(&super) <= super_clusters(&super));
	invariant(super_cluster_mask_room(&super) >= super.cluster_mask_len);
	super_encode(&super, written);
	invariant(super_decode(written, UINT64_C(1) << 50, &again, NULL) == 0);
	invariant(memcmp(&super.bstype, &again.bstype, sizeof(again.bstype)) == 0);
	invariant(super.size_bytes == again.size_bytes && super.clean == again.clean);
	invariant(super_max_bytes(&super) == super_max_bytes(&again));
	super_encode(&again, page);
	invariant(memcmp(page, written, sizeof(written)) == 0);
}

static void fuzz_extent_page(const struct blobstore_page *page)
{
	uint32_t clusters[BLOBSTORE_SLOT_ENTRIES], again[BLOBSTORE_SLOT_ENTRIES], entries, count;
	uint32_t slot = le32toh(page->reserved) % 3;
	struct blobstore_page written;

	if (extent_page_decode(page, slot, clusters, &entries, NULL) != 0 || entries == 0)
		return;
	extent_page_encode(le64toh(page->id), slot, clusters, entries, &written);
	invariant(extent_page_decode(&written, slot, again, &count, NULL) == 0);
	invariant(count == entries && memcmp(clusters, again, sizeof(clusters)) == 0);
}

static void fuzz_mask(const void *region)
{
	uint8_t written[BLOBSTORE_PAGE_BYTES];
	struct bitmap map, again;

	invariant(bitmap_init(&map, MASK_BITS) == 0 && bitmap_init(&again, MASK_BITS) == 0);
	if (mask_decode(BLOBSTORE_MASK_CLUSTERS, region, sizeof(written), MASK_BITS, &map, NULL) ==
		0) {
		mask_encode(BLOBSTORE_MASK_CLUSTERS, &map, MASK_BITS, written, sizeof(written));
		invariant(mask_decode(BLOBSTORE_MASK_CLUSTERS, written, sizeof(written), MASK_BITS,
				  &again, NULL) == 0);
		invariant(map.count == again.count &&
			  memcmp(map.words, again.words, map.words_bytes) == 0);
	}
	bitmap_fini(&map);
	bitmap_fini(&again);
}

static void fuzz_blob(const struct blobstore_page *pages, uint64_t id)
{
	struct reason reason = {0};
	struct md md, again;

	if (md_decode_from(pages, MD_LEN, CLUSTERS, id, &md, &reason) != 0) {
		invariant(reason.text[0]);
		return;
	}
	/* A table of billions of slots is read at no cost, but not written. */
	if (md.num_slots < 100000 && md.num_clusters < 10000000) {
		uint32_t room = 1000;

		invariant(md_round_trip(&md, room, CLUSTERS, &again, &reason) == 0);
		invariant(md_equals(&md, &again));
		md_fini(&again);
	}
	md_fini(&md);
}

enum frame {
	FRAME_NEXT = 0x0f, /* the index of the next page, 0: the one after this */
	FRAME_LAST = 0x10,
	FRAME_WRONG_ID = 0x20,
	FRAME_WRONG_SEQUENCE = 0x40,
};

static void frame_make(struct blobstore_page *pages, unsigned index, uint8_t frame)
{
	struct blobstore_page *page = &pages[index];
	uint32_t next = frame & FRAME_NEXT ? frame & FRAME_NEXT : index + 1;

	page->id = htole64(BLOBSTORE_ID_BIT + (frame & FRAME_WRONG_ID ? 1 : 0));
	page->sequence = htole32(index + (frame & FRAME_WRONG_SEQUENCE ? 1 : 0));
	page->next = htole32(frame & FRAME_LAST ? BLOBSTORE_NO_PAGE : next);
	make_right(page);
}

static void fuzz_chain(const uint8_t *data, size_t size)
{
	struct blobstore_page *pages = calloc(MD_LEN, sizeof(*pages));

	invariant(pages);
	for (unsigned i = 0; i < MD_LEN && size >= 3; i++) {
		size_t length = u64_min((data[1] | (size_t)data[2] << 8) % 4073, size - 3);

		memcpy(pages[i].descriptors, data + 3, length);
		frame_make(pages, i, data[0] | (size - 3 - length < 3 ? FRAME_LAST : 0));
		data += 3 + length;
		size -= 3 + length;
	}
	fuzz_blob(pages, BLOBSTORE_ID_BIT);
	free(pages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct blobstore_page page = {0};

	if (size < 1 || size > INPUT_MAX)
		return -1;
	memcpy(&page, data + 1, u64_min(size - 1, sizeof(page)));
	switch (data[0] % 4) {
	case 0:
		make_right(&page);
		fuzz_super(&page);
		break;
	case 1:
		page.sequence &= htole32(1);
		page.next |= htole32(UINT32_MAX - 1);
		make_right(&page);
		fuzz_extent_page(&page);
		break;
	case 2:
		fuzz_mask(&page);
		break;
	default:
		fuzz_chain(data + 1, size - 1);
	}
	return 0;
}
