/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a descriptor chain to iovecs in our address space. VIRTIO 1.2 sections 2.6.5 and 2.8.5;
 * hostile chains by section 18 of our notes in docs/vhost-user.md.
 *
 * In a split ring descriptors are linked by next, and a chain of direct ones may end in an indirect
 * one. In a packed ring they follow one another, in the ring (packed.c has copied them out already)
 * as in an indirect table, and an indirect one stands alone (2.8.19).
 *
 * Each descriptor is read from guest memory once, into a local copy, and checked before use. What
 * violates virtio breaks the ring: index out of bounds, too many descriptors (which bounds loops),
 * indirect where it must not be, readable after writable, an address that wraps, an indirect table
 * outside memory. A data buffer outside memory does not: it becomes an iovec without base and the
 * request is marked faulty, so that the device can answer it with an error.
 *
 * iovecs: eight in the request itself, then arrays from the reactor's slabs, each eight times the
 * one before. When a slab is dry nothing has been changed and the chain is read again later.
 */
#include <string.h>

#include "core/slab.h"
#include "vhost/virtqueue_impl.h"

/* After memory was taken away its replacement may be on the way (a front-end removes before it
 * adds): for this long a buffer that is not found is waited for. */
#define CHAIN_MEMORY_GRACE_NS (200 * MSEC_NS)

struct chain {
	struct virtqueue *vq;
	struct vq_request *request;
	unsigned iovs;
	unsigned capacity;
	uint32_t steps;
};

/* Where descriptors of the current table are. */
struct chain_table {
	const struct vring_desc *desc; /* NULL: not in one piece, use gpa */
	uint64_t gpa;
	uint32_t count;
	bool indirect;
};

static const struct {
	enum slab_class class;
	unsigned iovs;
} chain_slabs[] = {
	{SLAB_4K, 4096 / sizeof(struct iovec)},
	{SLAB_32K, 32768 / sizeof(struct iovec)},
	{SLAB_1M, 1048576 / sizeof(struct iovec)},
};

void chain_release_slab(struct virtqueue *vq, struct vq_request *request)
{
	slab_put(vq->reactor, chain_slabs[request->iov_slab - 1].class, request->iov);
	request->iov_slab = 0;
}

static enum chain_result chain_grow(struct chain *chain)
{
	struct vq_request *request = chain->request;
	unsigned next = request->iov_slab; /* 0-based index of the next larger one */
	struct iovec *iov;

	if (next == ARRAY_SIZE(chain_slabs)) {
		virtqueue_set_broken(chain->vq, "a chain has too many segments", chain->iovs);
		return CHAIN_BROKEN;
	}
	iov = slab_get(chain->vq->reactor, chain_slabs[next].class);
	if (!iov)
		return CHAIN_DRY;
	memcpy(iov, request->iov, chain->iovs * sizeof(*iov));
	chain_release(chain->vq, request);
	request->iov = iov;
	request->iov_slab = (uint8_t)(next + 1);
	chain->capacity = chain_slabs[next].iovs;
	return CHAIN_OK;
}

static enum chain_result chain_add_iov(struct chain *chain, void *base, uint64_t len, bool writable)
{
	struct vq_request *request = chain->request;

	if (unlikely(chain->iovs == chain->capacity)) {
		enum chain_result result = chain_grow(chain);

		if (result != CHAIN_OK)
			return result;
	}
	request->iov[chain->iovs++] = (struct iovec){.iov_base = base, .iov_len = len};
	if (writable) {
		request->in_iovs++;
		request->in_bytes += len;
	} else {
		request->out_iovs++;
		request->out_bytes += len;
	}
	return CHAIN_OK;
}

/* A buffer of which at least a part is in no region. */
static enum chain_result chain_add_hole(struct chain *chain, uint64_t len, bool writable)
{
	struct virtqueue *vq = chain->vq;

	/* (The clock of this turn may have been read before the change.) */
	if (vq->memory_changed_ns &&
		reactor_now(vq->reactor) < vq->memory_changed_ns + CHAIN_MEMORY_GRACE_NS)
		return CHAIN_DRY;
	chain->request->faulty = true;
	return chain_add_iov(chain, NULL, len, writable);
}

static enum chain_result chain_add_buffer(
	struct chain *chain, uint64_t gpa, uint32_t size, uint16_t flags)
{
	struct virtqueue *vq = chain->vq;
	bool writable = flags & VRING_DESC_F_WRITE;
	uint64_t left = size;

	if (unlikely(!writable && chain->request->in_iovs)) {
		virtqueue_set_broken(vq, "a readable descriptor follows a writable one", gpa);
		return CHAIN_BROKEN;
	}
	if (unlikely(gpa + left < gpa)) {
		virtqueue_set_broken(vq, "a descriptor's address wraps around", gpa);
		return CHAIN_BROKEN;
	}
	while (left) {
		uint64_t len;
		void *addr = guest_memory_translate(vq->memory, &vq->region_hint, gpa, left, &len);
		enum chain_result result = likely(addr != NULL)
						   ? chain_add_iov(chain, addr, len, writable)
						   : chain_add_hole(chain, left, writable);

		if (unlikely(result != CHAIN_OK))
			return result;
		if (unlikely(!addr))
			return CHAIN_OK;
		gpa += len;
		left -= len;
	}
	return CHAIN_OK;
}

/* One descriptor of a table that lies across regions, byte by byte if need be. */
static bool chain_copy_desc(struct virtqueue *vq, uint64_t gpa, struct vring_desc *ret_desc)
{
	uint8_t *to = (uint8_t *)ret_desc;
	uint64_t left = sizeof(*ret_desc);

	while (left) {
		uint64_t len;
		const void *from =
			guest_memory_translate(vq->memory, &vq->table_hint, gpa, left, &len);

		if (!from)
			return false;
		memcpy(to, from, len);
		to += len;
		gpa += len;
		left -= len;
	}
	return true;
}

static bool chain_read_desc(struct virtqueue *vq, const struct chain_table *table, uint32_t index,
	struct vring_desc *ret_desc)
{
	if (likely(table->desc != NULL)) {
		/* Once, whole: the guest may change it while we look. The barrier keeps the
		 * compiler from reading a field again from there. */
		*ret_desc = table->desc[index];
		__asm__ volatile("" : "+m"(*ret_desc));
		return true;
	}
	return chain_copy_desc(vq, table->gpa + index * sizeof(*ret_desc), ret_desc);
}

/* table: the one the indirect descriptor is in, then the one it tells of. */
static enum chain_result chain_enter_indirect(struct virtqueue *vq, uint64_t gpa, uint32_t size,
	uint16_t flags, struct chain_table *table)
{
	uint64_t len;
	void *addr;

	if (!vq->indirect || table->indirect || flags & VRING_DESC_F_NEXT) {
		virtqueue_set_broken(vq, "an indirect descriptor where none is allowed", gpa);
		return CHAIN_BROKEN;
	}
	if (size == 0 || size % sizeof(struct vring_desc)) {
		virtqueue_set_broken(vq, "an indirect table has an impossible length", size);
		return CHAIN_BROKEN;
	}
	if (size / sizeof(struct vring_desc) > vq->chain_max) {
		virtqueue_set_broken(vq, "an indirect table is too long", size);
		return CHAIN_BROKEN;
	}
	addr = gpa + size < gpa
		       ? NULL
		       : guest_memory_translate(vq->memory, &vq->table_hint, gpa, size, &len);
	if (!addr) {
		virtqueue_set_broken(vq, "an indirect table is not in memory", gpa);
		return CHAIN_BROKEN;
	}
	/* A table that crosses regions or is not aligned is copied a descriptor at a time. */
	table->desc =
		len == size && (uintptr_t)addr % _Alignof(struct vring_desc) == 0 ? addr : NULL;
	table->gpa = gpa;
	table->count = size / sizeof(struct vring_desc);
	table->indirect = true;
	return CHAIN_OK;
}

static enum chain_result chain_walk(struct chain *chain, struct chain_table *table, uint32_t index)
{
	struct virtqueue *vq = chain->vq;
	enum chain_result result;
	struct vring_desc desc;

	for (;;) {
		if (unlikely(++chain->steps > vq->chain_max)) {
			virtqueue_set_broken(vq, "a chain is too long or a loop", chain->steps);
			return CHAIN_BROKEN;
		}
		if (unlikely(!chain_read_desc(vq, table, index, &desc))) {
			virtqueue_set_broken(vq, "an indirect table is not in memory", table->gpa);
			return CHAIN_BROKEN;
		}
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			chain->steps--; /* the table's entries count, not the way to them */
			result = chain_enter_indirect(vq, desc.addr, desc.len, desc.flags, table);
			if (unlikely(result != CHAIN_OK))
				return result;
			index = 0;
			continue;
		}
		result = chain_add_buffer(chain, desc.addr, desc.len, desc.flags);
		if (unlikely(result != CHAIN_OK))
			return result;
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return CHAIN_OK;
		index = desc.next;
		if (unlikely(index >= table->count)) {
			virtqueue_set_broken(vq, "a descriptor's next is out of bounds", index);
			return CHAIN_BROKEN;
		}
	}
}

static void chain_begin(struct vq_request *request)
{
	request->iov = request->iov_inline;
	request->iov_slab = 0;
	request->out_iovs = 0;
	request->in_iovs = 0;
	request->out_bytes = 0;
	request->in_bytes = 0;
	request->faulty = false;
	request->recovered = false;
}

static enum chain_result chain_end(struct chain *chain, enum chain_result result)
{
	struct vq_request *request = chain->request;

	request->descriptors = (uint16_t)chain->steps;
	if (unlikely(result != CHAIN_OK))
		chain_release(chain->vq, request);
	else if (unlikely(request->out_bytes + request->in_bytes > VQ_REQUEST_BYTES_MAX))
		request->faulty = true;
	return result;
}

enum chain_result chain_read_split(struct virtqueue *vq, struct vq_request *request, uint16_t head)
{
	struct chain chain = {.vq = vq, .request = request, .capacity = VQ_INLINE_IOVS};
	struct chain_table table = {.desc = vq->split.desc, .count = vq->size};

	chain_begin(request);
	return chain_end(&chain, chain_walk(&chain, &table, head));
}

/* ---- packed ------------------------------------------------------------------------------ */

/* WRITE is the only flag that means anything in the table of a packed ring (2.8.7). */
static enum chain_result chain_walk_packed_table(
	struct chain *chain, const struct vring_packed_desc *slot)
{
	struct virtqueue *vq = chain->vq;
	struct chain_table table = {0};
	enum chain_result result;

	result = chain_enter_indirect(vq, slot->addr, slot->len, slot->flags, &table);
	if (unlikely(result != CHAIN_OK))
		return result;
	for (; chain->steps < table.count; chain->steps++) {
		union {
			struct vring_desc split; /* the same bytes */
			struct vring_packed_desc packed;
		} desc;

		if (unlikely(!chain_read_desc(vq, &table, chain->steps, &desc.split))) {
			virtqueue_set_broken(vq, "an indirect table is not in memory", table.gpa);
			return CHAIN_BROKEN;
		}
		if (unlikely(desc.packed.flags & VRING_DESC_F_INDIRECT)) {
			virtqueue_set_broken(
				vq, "an indirect descriptor where none is allowed", table.gpa);
			return CHAIN_BROKEN;
		}
		result = chain_add_buffer(
			chain, desc.packed.addr, desc.packed.len, desc.packed.flags);
		if (unlikely(result != CHAIN_OK))
			return result;
	}
	return CHAIN_OK;
}

static enum chain_result chain_walk_packed(
	struct chain *chain, const struct vring_packed_desc *slots, uint32_t count)
{
	if (slots[0].flags & VRING_DESC_F_INDIRECT)
		return chain_walk_packed_table(chain, &slots[0]);
	for (; chain->steps < count; chain->steps++) {
		const struct vring_packed_desc *slot = &slots[chain->steps];
		enum chain_result result;

		if (unlikely(slot->flags & VRING_DESC_F_INDIRECT)) {
			virtqueue_set_broken(chain->vq,
				"an indirect descriptor where none is allowed", slot->addr);
			return CHAIN_BROKEN;
		}
		result = chain_add_buffer(chain, slot->addr, slot->len, slot->flags);
		if (unlikely(result != CHAIN_OK))
			return result;
	}
	return CHAIN_OK;
}

enum chain_result chain_read_packed(struct virtqueue *vq, struct vq_request *request,
	const struct vring_packed_desc *slots, uint32_t count)
{
	struct chain chain = {.vq = vq, .request = request, .capacity = VQ_INLINE_IOVS};

	chain_begin(request);
	return chain_end(&chain, chain_walk_packed(&chain, slots, count));
}

/* ---- iovec helpers ------------------------------------------------------------------------- */

size_t vq_iov_read(const struct iovec *iov, unsigned iovcnt, size_t skip, void *buf, size_t len)
{
	uint8_t *to = buf;
	size_t copied = 0;

	for (; iovcnt && copied < len; iov++, iovcnt--) {
		size_t part;

		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		if (!iov->iov_base)
			break;
		part = u64_min(iov->iov_len - skip, len - copied);
		memcpy(to + copied, (const uint8_t *)iov->iov_base + skip, part);
		copied += part;
		skip = 0;
	}
	return copied;
}

/* from NULL: zeroes. */
static size_t vq_iov_fill(
	const struct iovec *iov, unsigned iovcnt, size_t skip, const uint8_t *from, size_t len)
{
	size_t filled = 0;

	for (; iovcnt && filled < len; iov++, iovcnt--) {
		size_t part;

		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		part = u64_min(iov->iov_len - skip, len - filled);
		if (iov->iov_base && from)
			memcpy((uint8_t *)iov->iov_base + skip, from + filled, part);
		else if (iov->iov_base)
			memset((uint8_t *)iov->iov_base + skip, 0, part);
		filled += part;
		skip = 0;
	}
	return filled;
}

size_t vq_iov_write(
	const struct iovec *iov, unsigned iovcnt, size_t skip, const void *buf, size_t len)
{
	return vq_iov_fill(iov, iovcnt, skip, buf, len);
}

size_t vq_iov_zero(const struct iovec *iov, unsigned iovcnt, size_t skip, size_t len)
{
	return vq_iov_fill(iov, iovcnt, skip, NULL, len);
}

struct iovec *vq_iov_slice(
	struct iovec *iov, unsigned iovcnt, size_t skip, size_t len, unsigned *ret_iovcnt)
{
	unsigned count = 0;

	while (iovcnt && skip >= iov->iov_len) {
		skip -= iov->iov_len;
		iov++;
		iovcnt--;
	}
	if (iovcnt && skip) {
		if (iov->iov_base)
			iov->iov_base = (uint8_t *)iov->iov_base + skip;
		iov->iov_len -= skip;
	}
	while (count < iovcnt && len) {
		if (iov[count].iov_len > len)
			iov[count].iov_len = len;
		len -= iov[count].iov_len;
		count++;
	}
	*ret_iovcnt = count;
	return iov;
}
