/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One request's way into a ring and out of it, for the two loops that make load: load.c repeats
 * what completes, arrivals.c submits by the clock.
 *
 * The four combinations of split or packed and blk or scsi are one inlined text each, so that none
 * pays for another. Nothing here divides, allocates or calls the kernel, except to kick.
 */
#ifndef BENCH_LOAD_IMPL_H
#define BENCH_LOAD_IMPL_H

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "bench/bench.h"

#define SILENCE_SECONDS 15.0

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define UNLIKELY(x)   __builtin_expect(!!(x), 0)

static ALWAYS_INLINE uint64_t next_random(struct bench_queue *queue)
{
	uint64_t x = queue->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	queue->random = x;
	return x;
}

static ALWAYS_INLINE uint64_t choose_block(struct bench_queue *queue)
{
	uint64_t blocks = queue->guest->blocks;
	uint64_t block;

	if (queue->role->random)
		return (uint64_t)((unsigned __int128)next_random(queue) * blocks >> 64);
	block = queue->next_block;
	queue->next_block = block + 1 == blocks ? 0 : block + 1;
	return block;
}

/* Everything about a request but its place in the ring. */
static ALWAYS_INLINE void prepare(struct bench_queue *queue, uint32_t request, bool scsi)
{
	uint8_t *command = queue->commands + (uint64_t)request * queue->command_stride;
	uint64_t block = choose_block(queue);

	if (UNLIKELY(queue->role->mix)) {
		bool write = (uint32_t)(next_random(queue) >> 16) > queue->role->read_threshold;

		if (write != queue->writes[request])
			bench_lay_out(queue, request, write);
	}
	if (UNLIKELY(queue->guest->verify != NULL))
		block = verify_start(queue, request, block);
	if (scsi) {
		uint32_t lba_be = htobe32((uint32_t)(block * queue->guest->units));

		memcpy(command + offsetof(struct fe_scsi_header, cdb) + 2, &lba_be, 4);
	} else {
		uint64_t sector = block * queue->guest->units;

		memcpy(command + offsetof(struct fe_blk_header, sector), &sector, 8);
		/* In the line that is written anyway: a status nobody wrote is not mistaken. */
		command[BLK_STATUS_AT] = 0xee;
	}
}

static ALWAYS_INLINE void finish(
	struct bench *bench, struct bench_queue *queue, uint32_t request, uint64_t now, bool scsi)
{
	const uint8_t *command = queue->commands + (uint64_t)request * queue->command_stride;
	uint16_t status = command[BLK_STATUS_AT];

	if (scsi) /* SCSI status and response code */
		memcpy(&status,
			command + SCSI_RESPONSE_AT + offsetof(struct fe_scsi_response, status), 2);
	histogram_add(&queue->role->latency, now - queue->stamp[request]);
	if (UNLIKELY(queue->guest->verify != NULL) && !verify_finish(queue, request, status != 0))
		status |= 0x8000;
	if (UNLIKELY(status)) {
		if (!bench->errors++)
			bench->first_error = status;
	}
}

/* ---- split ---- */

static ALWAYS_INLINE void place_split(struct bench_queue *queue, uint32_t request)
{
	queue->ring->avail->ring[queue->avail_idx & queue->mask] =
		(uint16_t)(request << queue->shift);
	queue->avail_idx++;
}

static ALWAYS_INLINE void publish_split(struct bench_queue *queue)
{
	struct fe_ring *ring = queue->ring;
	bool wanted;

	/* Headers and ring entries before the index that shows them. */
	__atomic_store_n(&ring->avail->idx, queue->avail_idx, __ATOMIC_RELEASE);
	/* The index before the look at the device's wish. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (ring->event_idx) {
		uint16_t event = __atomic_load_n(ring->avail_event, __ATOMIC_RELAXED);

		wanted = (uint16_t)(queue->avail_idx - event - 1) <
			 (uint16_t)(queue->avail_idx - queue->kicked_idx);
	} else {
		wanted = !(
			__atomic_load_n(&ring->used->flags, __ATOMIC_RELAXED) & FE_USED_NO_NOTIFY);
	}
	queue->kicked_idx = queue->avail_idx;
	if (wanted) {
		fe_ring_kick_always(ring);
		queue->kicks++;
	}
}

static ALWAYS_INLINE uint32_t collect_split(struct bench_queue *queue, uint32_t *ret_requests)
{
	const struct fe_used *used = queue->ring->used;
	/* The index before the entries it shows. */
	uint32_t count =
		(uint16_t)(__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) - queue->used_idx);
	uint32_t i;

	if (count > queue->batch)
		count = queue->batch;
	for (i = 0; i < count; i++)
		ret_requests[i] =
			used->ring[(queue->used_idx + i) & queue->mask].id >> queue->shift;
	queue->used_idx = (uint16_t)(queue->used_idx + count);
	return count;
}

/* ---- packed ---- */

struct packed_batch {
	struct fe_packed_desc *first; /* whose flags are stored last */
	uint16_t flags;
};

static ALWAYS_INLINE void place_packed(
	struct bench_queue *queue, uint32_t request, struct packed_batch *batch)
{
	const struct fe_packed_desc *chain = queue->packed_chain[request];
	uint16_t i;

	for (i = 0; i < queue->chain_slots; i++) {
		struct fe_packed_desc *desc = &queue->ring->packed_desc[queue->avail_idx];
		uint16_t state = queue->avail_wrap ? FE_PACKED_AVAIL : FE_PACKED_USED;

		desc->gpa = chain[i].gpa;
		desc->len = chain[i].len;
		desc->id = chain[i].id;
		if (!batch->first) {
			batch->first = desc;
			batch->flags = chain[i].flags | state;
		} else {
			desc->flags = chain[i].flags | state;
		}
		if (++queue->avail_idx == queue->ring->size) {
			queue->avail_idx = 0;
			queue->avail_wrap = !queue->avail_wrap;
		}
	}
}

static ALWAYS_INLINE void publish_packed(
	struct bench_queue *queue, uint32_t count, struct packed_batch *batch)
{
	struct fe_ring *ring = queue->ring;
	union {
		uint32_t word;
		struct fe_packed_event event;
	} wish;
	bool wanted;

	/* The rest of the batch before the flags that show it. */
	__atomic_store_n(&batch->first->flags, batch->flags, __ATOMIC_RELEASE);
	/* The flags before the look at the device's wish. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	wish.word = __atomic_load_n((uint32_t *)(void *)ring->device_event, __ATOMIC_RELAXED);
	wanted = wish.event.flags != FE_EVENT_NEVER;
	if (wish.event.flags == FE_EVENT_AT && ring->event_idx) {
		int32_t behind = queue->avail_idx - (wish.event.position & 0x7fff) - 1;

		if ((wish.event.position >> 15) != queue->avail_wrap)
			behind += (int32_t)ring->size;
		wanted = behind >= 0 && behind < (int32_t)(count * queue->chain_slots);
	}
	if (wanted) {
		fe_ring_kick_always(ring);
		queue->kicks++;
	}
}

static ALWAYS_INLINE uint32_t collect_packed(struct bench_queue *queue, uint32_t *ret_requests)
{
	uint32_t count = 0;

	while (count < queue->batch) {
		const struct fe_packed_desc *desc = &queue->ring->packed_desc[queue->used_idx];
		/* The flags before the id they show. */
		uint16_t flags = __atomic_load_n(&desc->flags, __ATOMIC_ACQUIRE);
		uint32_t next;

		if (!!(flags & FE_PACKED_AVAIL) != queue->used_wrap ||
			!!(flags & FE_PACKED_USED) != queue->used_wrap)
			break;
		ret_requests[count++] = desc->id;
		next = queue->used_idx + queue->chain_slots;
		if (next >= queue->ring->size) {
			next -= queue->ring->size;
			queue->used_wrap = !queue->used_wrap;
		}
		queue->used_idx = (uint16_t)next;
	}
	return count;
}

/* ---- both ---- */

/* Fetches the lines that completions changed, all before the first is looked at, since each is a
 * miss to the other core. */
static ALWAYS_INLINE int prefetch_all(struct bench *bench, const struct bench_queue *queue,
	const uint32_t *requests, uint32_t count, bool scsi)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		const uint8_t *command;

		if (UNLIKELY(requests[i] >= queue->depth))
			return bench_fail(bench, -EPROTO, "the device returned request %u of %u",
				requests[i], queue->depth);
		command = queue->commands + (uint64_t)requests[i] * queue->command_stride;
		__builtin_prefetch(command, 1);
		if (scsi)
			__builtin_prefetch(command + SCSI_RESPONSE_AT);
	}
	return 0;
}

static inline uint32_t count_live(const struct bench *bench)
{
	uint32_t live = 0, i;

	for (i = 0; i < bench->queue_count; i++)
		live += bench->queue[i].live;
	return live;
}

#endif
