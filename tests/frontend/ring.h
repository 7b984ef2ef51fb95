/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtqueue from the driver's side, split or packed, polled or notified.
 *
 * Two ways to use it. The orderly one: fe_ring_add() chains, fe_ring_publish() them,
 * fe_ring_kick(), fe_ring_wait(), fe_ring_pop(). It keeps every rule of VIRTIO and watches that the
 * device does: whatever the device does wrong makes fe_ring_pop() return -EPROTO with a sentence in
 * `fault`. The raw one, for hostile drivers: `desc`, `avail`, `used` and so on point straight into
 * guest memory, and fe_ring_poke_*() stores to them without any check or bookkeeping. After raw use
 * only fe_ring_reset() makes the orderly functions usable again.
 *
 * A ring needs no connection; it only needs memory. One thread drives a ring; different rings of a
 * session may be driven by different threads.
 *
 * Order of accesses: a publish is a store-release of the index (packed: of the first descriptor's
 * flags), a pop starts with a load-acquire; a full fence stands between a publish and reading the
 * other side's suppression fields, and between enabling interrupts and the look that follows.
 */
#ifndef FRONTEND_RING_H
#define FRONTEND_RING_H

#include "frontend/memory.h"
#include "frontend/wire.h"

#define FE_RING_MAX 32768u

struct fe_segment {
	uint64_t gpa;
	uint32_t len;
	bool write; /* the device writes it */
};

struct fe_chain {
	const struct fe_segment *segments; /* borrowed until fe_ring_add() returns */
	uint32_t count; /* > 0 */
	/*
	 * How many of them are direct descriptors; the rest go to an indirect table behind these.
	 * `count`: all direct. 0: all indirect. Between: split rings only. The ring does not check
	 * that INDIRECT was negotiated.
	 */
	uint32_t direct;
	bool indirect_write; /* set WRITE on the INDIRECT descriptor; the device must ignore it */
	void *token; /* returned by fe_ring_pop() */
};

struct fe_completion {
	void *token;
	uint16_t id; /* split: head; packed: buffer id */
	uint32_t len; /* bytes the device says it wrote */
};

struct fe_slot { /* one outstanding chain, by head or buffer id */
	bool busy;
	uint16_t descriptors; /* of the ring */
	uint16_t next; /* split: next of the chain or free list; packed: next free id */
	uint64_t number; /* in the order of fe_ring_add() */
	uint64_t writable; /* bytes */
	void *table; /* indirect table, or NULL */
	void *token;
};

struct fe_ring {
	/* Set before use; constant afterwards. */
	struct fe_memory *memory; /* borrowed */
	uint32_t size;
	bool packed;
	bool event_idx;
	bool notified; /* fe_ring_wait() sleeps on call_fd; else interrupts are off and it polls */
	int kick_fd, call_fd; /* non-blocking eventfds, owned */

	/* Areas in guest memory. Split: the first three. Packed: the last three. */
	struct fe_desc *desc;
	struct fe_avail *avail;
	struct fe_used *used;
	uint16_t *used_event, *avail_event; /* always there; used only with EVENT_IDX */
	struct fe_packed_desc *packed_desc;
	struct fe_packed_event *driver_event, *device_event;

	/* Driver's state, for reading. */
	uint32_t free_count; /* descriptors */
	uint32_t outstanding; /* chains added and not popped */
	uint16_t avail_idx; /* split: next index; packed: next position */
	uint16_t published_idx; /* what the device has been shown */
	uint16_t used_idx; /* next used index or position */
	bool avail_wrap, used_wrap, published_wrap; /* packed */
	uint32_t unkicked; /* entries (packed: slots) published since the last kick decision */
	uint64_t kicks; /* written to kick_fd */
	uint64_t wakeups; /* of call_fd */
	char fault[160]; /* what the device did wrong, after -EPROTO */

	/* ours alone */
	uint16_t free_head; /* split: free descriptors; packed: free ids */
	uint32_t batch_start; /* packed: slot of the first descriptor not yet published */
	uint16_t batch_flags; /* packed: what its flags will be */
	uint32_t batch_slots; /* packed: slots not yet published */
	uint64_t added_total, published_total; /* chains */
	void *areas[3]; /* as allocated */
	struct fe_slot *slots;
};

struct fe_ring_options {
	uint32_t size; /* 1..32768; a power of two for split (not checked, tests want others) */
	bool packed;
	bool event_idx;
	bool notified;
	bool tight; /* areas at the least alignment that VIRTIO allows, not on cache lines */
};

/* Allocates the areas from `memory` (borrowed; must outlive the ring) and the eventfds.
 * Returns 0, -ENOSPC when guest memory is full, or -errno of eventfd. */
int fe_ring_create(
	struct fe_memory *memory, const struct fe_ring_options *options, struct fe_ring **ret_ring);
void fe_ring_destroy(struct fe_ring *ring);

/* Zeroes the areas and forgets every outstanding chain (their tables are freed, their tokens
 * dropped). As after a virtio reset: base is 0 (packed: position 0, both wrap counters 1). */
void fe_ring_reset(struct fe_ring *ring);

/* As fe_ring_reset(), but indices start at `index` (split: any u16; packed: bits 0-14 position,
 * bit 15 wrap counter, for avail and used alike). To get to a wrap without 65,000 requests. */
void fe_ring_reset_at(struct fe_ring *ring, uint16_t index);

/* What SET_VRING_BASE must say after a lost back-end. Split: the used index in guest memory, as
 * QEMU says. Packed: the next used position and wrap counter of this driver in both halves; right
 * when everything used was popped. */
uint32_t fe_ring_base(const struct fe_ring *ring);

/* Places a chain, invisible to the device until fe_ring_publish(). Returns 0; -ENOSPC when
 * descriptors (or guest memory for the table) are short; -EINVAL for a chain that cannot be
 * expressed. ret_id may be NULL. */
int fe_ring_add(struct fe_ring *ring, const struct fe_chain *chain, uint16_t *ret_id);
void fe_ring_publish(struct fe_ring *ring);

/* Writes kick_fd if the device wants it by the rules of suppression: 1 if written, 0 if not. */
int fe_ring_kick(struct fe_ring *ring);
void fe_ring_kick_always(struct fe_ring *ring);

/* 1 and one completion; 0 when there is none; -EPROTO when the device broke the rules: an id that
 * is not outstanding, a length above the writable bytes, an index that jumped. */
int fe_ring_pop(struct fe_ring *ring, struct fe_completion *ret_completion);

/* Is there something to pop? */
bool fe_ring_ready(const struct fe_ring *ring);

/*
 * Waits until there is something to pop: 0, or -ETIMEDOUT. A notified ring enables interrupts,
 * looks once more, then sleeps on call_fd and believes nothing but call_fd: when time is up and
 * entries are there all the same, it returns -ENOMSG: the device forgot to call.
 */
int fe_ring_wait(struct fe_ring *ring, int timeout_ms);

/* Tells the device to call (from the next used entry on) or not to. fe_ring_wait() does this by
 * itself. Returns whether entries are already there, looked at after a full fence. */
bool fe_ring_interrupts(struct fe_ring *ring, bool on);

/* Reads an eventfd's counter without blocking and clears it; 0 when it was not signalled. */
uint64_t fe_eventfd_drain(int fd);

/* Waits until an eventfd is readable; 0 or -ETIMEDOUT. The counter is left as it is. */
int fe_eventfd_wait(int fd, int timeout_ms);

/* ---- raw ---- */

void fe_ring_poke_desc(struct fe_ring *ring, uint32_t slot, uint64_t gpa, uint32_t len,
	uint16_t flags, uint16_t next);
void fe_ring_poke_avail(
	struct fe_ring *ring, uint16_t index, uint16_t head); /* at index mod size */
void fe_ring_poke_avail_idx(struct fe_ring *ring, uint16_t index); /* release */
void fe_ring_poke_packed(struct fe_ring *ring, uint32_t slot, uint64_t gpa, uint32_t len,
	uint16_t id, uint16_t flags); /* flags last, with release */
uint16_t fe_ring_peek_used_idx(const struct fe_ring *ring); /* split; acquire */

#endif
