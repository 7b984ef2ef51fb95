/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What split and packed rings have in common: slots of outstanding chains, indirect tables, kicks,
 * waits. The two formats are in split.c and packed.c.
 *
 * Fields in guest memory that both sides use are read and written with the compiler's __atomic
 * builtins: they are C11's operations on objects that are not declared _Atomic, which structures
 * with a layout given from outside cannot be.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "frontend/frontend_impl.h"
#include "frontend/ring.h"

int fe_ring_fault(struct fe_ring *ring, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(ring->fault, sizeof(ring->fault), format, args);
	va_end(args);
	return -EPROTO;
}

void *fe_ring_place(struct fe_ring *ring, uint32_t area, size_t size, uint32_t shift)
{
	uint8_t *buffer = fe_memory_alloc(ring->memory, size + shift, 64);

	ring->areas[area] = buffer;
	return buffer ? buffer + shift : NULL;
}

/* ---- life ---- */

static int open_eventfds(struct fe_ring *ring)
{
	int *fds[] = {&ring->kick_fd, &ring->call_fd};
	uint32_t i;

	for (i = 0; i < 2; i++) {
		*fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (*fds[i] < 0)
			return -errno;
	}
	return 0;
}

int fe_ring_create(
	struct fe_memory *memory, const struct fe_ring_options *options, struct fe_ring **ret_ring)
{
	struct fe_ring *ring = calloc(1, sizeof(*ring));
	int rc;

	if (!ring)
		return -ENOMEM;
	ring->memory = memory;
	ring->size = options->size;
	ring->packed = options->packed;
	ring->event_idx = options->event_idx;
	ring->notified = options->notified;
	ring->kick_fd = ring->call_fd = -1;
	ring->slots = calloc(options->size, sizeof(*ring->slots));
	rc = ring->slots ? open_eventfds(ring) : -ENOMEM;
	if (!rc)
		rc = ring->packed ? fe_packed_create(ring, options->tight)
				  : fe_split_create(ring, options->tight);
	if (rc) {
		fe_ring_destroy(ring);
		return rc;
	}
	fe_ring_reset(ring);
	*ret_ring = ring;
	return 0;
}

static void forget_slots(struct fe_ring *ring)
{
	uint32_t i;

	for (i = 0; i < ring->size; i++) {
		struct fe_slot *slot = &ring->slots[i];

		fe_memory_free(ring->memory, slot->table);
		*slot = (struct fe_slot){.next = (uint16_t)(i + 1)};
	}
}

void fe_ring_destroy(struct fe_ring *ring)
{
	uint32_t i;

	if (ring->slots)
		forget_slots(ring);
	for (i = 0; i < 3; i++)
		fe_memory_free(ring->memory, ring->areas[i]);
	if (ring->kick_fd >= 0)
		close(ring->kick_fd);
	if (ring->call_fd >= 0)
		close(ring->call_fd);
	free(ring->slots);
	free(ring);
}

void fe_ring_reset(struct fe_ring *ring)
{
	fe_ring_reset_at(ring, ring->packed ? 0x8000 : 0);
}

void fe_ring_reset_at(struct fe_ring *ring, uint16_t index)
{
	forget_slots(ring);
	ring->free_count = ring->size;
	ring->free_head = 0;
	ring->outstanding = 0;
	ring->unkicked = 0;
	ring->batch_slots = 0;
	ring->added_total = ring->published_total = 0;
	ring->fault[0] = 0;
	if (ring->packed)
		fe_packed_reset_at(ring, index);
	else
		fe_split_reset_at(ring, index);
	if (!ring->notified)
		fe_ring_interrupts(ring, false);
}

uint32_t fe_ring_base(const struct fe_ring *ring)
{
	uint32_t half;

	if (!ring->packed)
		return fe_ring_peek_used_idx(ring);
	half = ring->used_idx | (ring->used_wrap ? 0x8000u : 0);
	return half | half << 16;
}

/* ---- chains ---- */

static void fill_split_table(
	struct fe_desc *table, const struct fe_segment *segments, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		bool last = i + 1 == count;

		table[i].gpa = segments[i].gpa;
		table[i].len = segments[i].len;
		table[i].flags =
			(segments[i].write ? FE_DESC_WRITE : 0) | (last ? 0 : FE_DESC_NEXT);
		table[i].next = last ? 0 : (uint16_t)(i + 1);
	}
}

/* Read in order: ids and NEXT are reserved. */
static void fill_packed_table(
	struct fe_packed_desc *table, const struct fe_segment *segments, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		table[i].gpa = segments[i].gpa;
		table[i].len = segments[i].len;
		table[i].flags = segments[i].write ? FE_DESC_WRITE : 0;
	}
}

static void *create_table(struct fe_ring *ring, const struct fe_chain *chain)
{
	uint32_t count = chain->count - chain->direct;
	void *table = fe_memory_alloc(ring->memory, count * sizeof(struct fe_desc), 16);

	if (!table)
		return NULL;
	if (ring->packed)
		fill_packed_table(table, chain->segments, count);
	else
		fill_split_table(table, chain->segments + chain->direct, count);
	return table;
}

int fe_ring_add(struct fe_ring *ring, const struct fe_chain *chain, uint16_t *ret_id)
{
	bool indirect = chain->direct < chain->count;
	uint32_t needed = chain->direct + indirect;
	void *table = NULL;
	uint16_t id;
	int rc;

	if (!chain->count || chain->direct > chain->count ||
		(ring->packed && chain->direct && indirect))
		return -EINVAL;
	if (needed > ring->free_count)
		return -ENOSPC;
	if (indirect) {
		table = create_table(ring, chain);
		if (!table)
			return -ENOSPC;
	}
	rc = ring->packed ? fe_packed_add(ring, chain, table, &id)
			  : fe_split_add(ring, chain, table, &id);
	if (rc) {
		fe_memory_free(ring->memory, table);
		return rc;
	}
	ring->free_count -= needed;
	ring->outstanding++;
	if (ret_id)
		*ret_id = id;
	return 0;
}

struct fe_slot *fe_ring_fill_slot(struct fe_ring *ring, uint16_t id, const struct fe_chain *chain,
	void *table, uint16_t descriptors)
{
	struct fe_slot *slot = &ring->slots[id];
	uint32_t i;

	assert(!slot->busy);
	slot->busy = true;
	slot->descriptors = descriptors;
	slot->number = ring->added_total++;
	slot->writable = 0;
	slot->table = table;
	slot->token = chain->token;
	for (i = 0; i < chain->count; i++)
		if (chain->segments[i].write)
			slot->writable += chain->segments[i].len;
	return slot;
}

int fe_ring_take_slot(
	struct fe_ring *ring, uint32_t id, uint32_t len, struct fe_completion *ret_completion)
{
	struct fe_slot *slot;

	if (id >= ring->size)
		return fe_ring_fault(ring, "used id %u of a ring of %u", id, ring->size);
	slot = &ring->slots[id];
	if (!slot->busy || slot->number >= ring->published_total)
		return fe_ring_fault(ring, "used id %u is not outstanding", id);
	if (len > slot->writable)
		return fe_ring_fault(ring, "used id %u: %u bytes written of %llu", id, len,
			(unsigned long long)slot->writable);
	*ret_completion = (struct fe_completion){
		.token = slot->token,
		.id = (uint16_t)id,
		.len = len,
	};
	fe_memory_free(ring->memory, slot->table);
	slot->table = NULL;
	slot->busy = false;
	ring->free_count += slot->descriptors;
	ring->outstanding--;
	return 0;
}

void fe_ring_publish(struct fe_ring *ring)
{
	if (ring->added_total == ring->published_total)
		return;
	ring->published_total = ring->added_total;
	if (ring->packed)
		fe_packed_publish(ring);
	else
		fe_split_publish(ring);
}

int fe_ring_pop(struct fe_ring *ring, struct fe_completion *ret_completion)
{
	return ring->packed ? fe_packed_pop(ring, ret_completion)
			    : fe_split_pop(ring, ret_completion);
}

bool fe_ring_ready(const struct fe_ring *ring)
{
	return ring->packed ? fe_packed_ready(ring) : fe_split_ready(ring);
}

/* ---- notifications ---- */

int fe_ring_kick(struct fe_ring *ring)
{
	bool wanted;

	/* What was published must be visible before the device's wish is read: it stores its wish,
	 * then looks at the ring once more. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	wanted = ring->packed ? fe_packed_wants_kick(ring) : fe_split_wants_kick(ring);
	ring->unkicked = 0;
	if (wanted)
		fe_ring_kick_always(ring);
	return wanted;
}

void fe_ring_kick_always(struct fe_ring *ring)
{
	uint64_t one = 1;

	/* EAGAIN: the counter is full, so it is readable, which is all a kick says. */
	if (write(ring->kick_fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN);
	ring->kicks++;
}

bool fe_ring_interrupts(struct fe_ring *ring, bool on)
{
	if (ring->packed)
		fe_packed_interrupts(ring, on);
	else
		fe_split_interrupts(ring, on);
	/* The wish must be visible before the look: the device publishes, then reads the wish. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return fe_ring_ready(ring);
}

uint64_t fe_eventfd_drain(int fd)
{
	uint64_t count = 0;

	if (read(fd, &count, sizeof(count)) != sizeof(count))
		return 0;
	return count;
}

int fe_eventfd_wait(int fd, int timeout_ms)
{
	int64_t deadline_ms = fe_now_ms() + timeout_ms;

	for (;;) {
		int64_t left_ms = deadline_ms - fe_now_ms();
		struct pollfd entry = {.fd = fd, .events = POLLIN};
		int rc = poll(&entry, 1, left_ms > 0 ? (int)left_ms : 0);

		if (rc > 0)
			return 0;
		if (rc == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int wait_polled(struct fe_ring *ring, int64_t deadline_ms)
{
	uint32_t turns = 0;

	while (!fe_ring_ready(ring)) {
		if (++turns % 1024)
			continue;
		/* The device may have to share our core. */
		sched_yield();
		if (fe_now_ms() >= deadline_ms)
			return fe_ring_ready(ring) ? 0 : -ETIMEDOUT;
	}
	return 0;
}

int fe_ring_wait(struct fe_ring *ring, int timeout_ms)
{
	int64_t deadline_ms = fe_now_ms() + timeout_ms;

	if (!ring->notified)
		return wait_polled(ring, deadline_ms);
	while (!fe_ring_interrupts(ring, true)) {
		int64_t left_ms = deadline_ms - fe_now_ms();
		int rc = fe_eventfd_wait(ring->call_fd, left_ms > 0 ? (int)left_ms : 0);

		if (rc)
			return fe_ring_ready(ring) ? -ENOMSG : rc;
		fe_eventfd_drain(ring->call_fd);
		ring->wakeups++;
	}
	return 0;
}
