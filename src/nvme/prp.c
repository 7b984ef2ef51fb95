/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The buffers of a command as physical region pages (base 4.1.1). The first PRP may begin anywhere
 * in its page, on four bytes; all others begin with a page, and all but the last go to its end. So
 * the data of a command falls into pieces: one up to the end of a page, then whole pages, then a
 * rest. A piece that lies in one buffer, in memory that is mapped, at the place that is asked for,
 * is transferred straight. Any other goes through a bounce page: one buffer that does not fit costs
 * a copy of its own piece, not of the whole request.
 *
 * How long the first piece is, is ours to choose. When the first buffer reaches to the end of its
 * page the piece does as well; when it is shorter and others follow, the piece has its length, so
 * that the others have their chance of being straight.
 *
 * More than two PRPs stand in a list. Each slot has one of its own, whose address never changes.
 */
#include <string.h>

#include "nvme/qpair_impl.h"

void nvme_place_advance(const struct iovec *iov, struct nvme_place *place, uint64_t bytes)
{
	while (bytes > 0) {
		size_t left = iov[place->index].iov_len - place->skip;

		if (bytes < left) {
			place->skip += bytes;
			return;
		}
		bytes -= left;
		place->index++;
		place->skip = 0;
	}
}

static void nvme_place_skip_empty(const struct iovec *iov, struct nvme_place *place)
{
	while (place->skip == iov[place->index].iov_len) {
		place->index++;
		place->skip = 0;
	}
}

/* ---- bounce pages ------------------------------------------------------- */

static uint8_t *nvme_bounce_addr(const struct nvme_qpair *qpair, unsigned page)
{
	return qpair->pages + (size_t)page * NVME_PAGE + qpair->bounces[page].page_offset;
}

static void nvme_bounce_copy(
	struct nvme_qpair *qpair, const struct iovec *iov, unsigned page, bool to_bounce)
{
	const struct nvme_bounce *bounce = &qpair->bounces[page];
	struct nvme_place place = bounce->place;
	uint8_t *data = nvme_bounce_addr(qpair, page);
	size_t left = bounce->length;

	while (left > 0) {
		uint8_t *buffer = (uint8_t *)iov[place.index].iov_base + place.skip;
		size_t part = u64_min(left, iov[place.index].iov_len - place.skip);

		if (part && to_bounce)
			memcpy(data, buffer, part);
		else if (part)
			memcpy(buffer, data, part);
		data += part;
		left -= part;
		place.index++;
		place.skip = 0;
	}
}

static void nvme_bounces_put(struct nvme_qpair *qpair, struct nvme_slot *slot)
{
	while (slot->bounces != NVME_BOUNCE_NONE) {
		struct nvme_bounce *bounce = &qpair->bounces[slot->bounces];
		uint16_t next = bounce->next;

		bounce->next = qpair->free_bounce;
		qpair->free_bounce = slot->bounces;
		slot->bounces = next;
	}
}

void nvme_prp_end(struct nvme_qpair *qpair, struct nvme_slot *slot, bool copy)
{
	if (likely(slot->bounces == NVME_BOUNCE_NONE))
		return;
	for (unsigned page = slot->bounces; copy && page != NVME_BOUNCE_NONE;
		page = qpair->bounces[page].next)
		nvme_bounce_copy(qpair, slot->request->iov, page, false);
	nvme_bounces_put(qpair, slot);
}

/* Where the controller finds it; NVME_IOVA_NONE without a free page. */
static uint64_t nvme_bounce_take(struct nvme_qpair *qpair, struct nvme_slot *slot,
	const struct nvme_place *place, unsigned page_offset, unsigned length)
{
	uint16_t page = qpair->free_bounce;
	struct nvme_bounce *bounce;

	if (page == NVME_BOUNCE_NONE)
		return NVME_IOVA_NONE;
	bounce = &qpair->bounces[page];
	qpair->free_bounce = bounce->next;
	bounce->place = *place;
	bounce->page_offset = (uint16_t)page_offset;
	bounce->length = (uint16_t)length;
	bounce->next = slot->bounces;
	slot->bounces = page;
	if (slot->request->type == NVME_REQUEST_WRITE)
		nvme_bounce_copy(qpair, slot->request->iov, page, true);
	return nvme_qpair_iova(qpair, nvme_bounce_addr(qpair, page));
}

/* ---- pieces ------------------------------------------------------------- */

static unsigned nvme_first_offset(const struct nvme_slot *slot)
{
	const struct nvme_request *request = slot->request;
	const struct iovec *iov = &request->iov[slot->place.index];
	uintptr_t addr = (uintptr_t)iov->iov_base + slot->place.skip;
	size_t left = iov->iov_len - slot->place.skip;
	unsigned in_page = (unsigned)(addr & (NVME_PAGE - 1));

	if (left < NVME_PAGE - in_page && left < slot->length)
		in_page = (unsigned)(NVME_PAGE - left);
	return in_page & 3 ? 0 : in_page;
}

/* The piece's PRP; place moves behind it. */
static uint64_t nvme_piece(struct nvme_qpair *qpair, struct nvme_slot *slot,
	struct nvme_place *place, unsigned page_offset, unsigned length)
{
	const struct iovec *iov = slot->request->iov;
	const uint8_t *addr;
	uint64_t iova = NVME_IOVA_NONE;

	nvme_place_skip_empty(iov, place);
	addr = (const uint8_t *)iov[place->index].iov_base + place->skip;
	if (likely(iov[place->index].iov_len - place->skip >= length &&
		    ((uintptr_t)addr & (NVME_PAGE - 1)) == page_offset)) {
		iova = nvme_table_iova(qpair->table, &qpair->region_hint, addr, length);
		if (unlikely(iova == NVME_IOVA_NONE))
			nvme_want(qpair, addr);
	}
	if (unlikely(iova == NVME_IOVA_NONE))
		iova = nvme_bounce_take(qpair, slot, place, page_offset, length);
	nvme_place_advance(iov, place, length);
	return iova;
}

bool nvme_prp_build(struct nvme_qpair *qpair, struct nvme_slot *slot, struct nvme_sqe *sqe)
{
	unsigned index = (unsigned)(slot - qpair->slots);
	uint64_t *list = nvme_slot_list(qpair, index);
	struct nvme_place place = slot->place;
	unsigned page_offset, count = 0;
	uint64_t left = slot->length, second = 0;

	nvme_bounces_put(qpair, slot);
	nvme_place_skip_empty(slot->request->iov, &slot->place);
	page_offset = nvme_first_offset(slot);
	while (left > 0) {
		unsigned length = (unsigned)u64_min(left, NVME_PAGE - page_offset);
		uint64_t prp = nvme_piece(qpair, slot, &place, page_offset, length);

		if (unlikely(prp == NVME_IOVA_NONE)) {
			nvme_bounces_put(qpair, slot);
			return false;
		}
		if (count == 0) {
			sqe->prp1 = prp;
		} else {
			if (count == 1)
				second = prp;
			list[count - 1] = prp;
		}
		count++;
		left -= length;
		page_offset = 0;
	}
	sqe->prp2 = count > 2 ? nvme_qpair_iova(qpair, list) : second;
	return true;
}
