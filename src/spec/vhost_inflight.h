/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The in-flight region of vhost-user: which requests were taken from a ring and not yet given back,
 * in memory that the front-end keeps when the back-end dies. Section "Inflight I/O tracking" of the
 * vhost-user document, and what existing back-ends lay down where it is silent.
 *
 * One queue region after the other, one for each ring index, each `stride` bytes, for rings of up
 * to N entries; N is desc_num and comes with GET/SET_INFLIGHT_FD. In the byte order of the host.
 */
#ifndef SPEC_VHOST_INFLIGHT_H
#define SPEC_VHOST_INFLIGHT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define VHOST_INFLIGHT_VERSION 1 /* 0: not initialised */
#define VHOST_INFLIGHT_ALIGN   64

/* ---- split rings ------------------------------------------------------------------------- */

/* Entry i is that of the chain whose head is descriptor i. */
struct vhost_inflight_split_entry {
	uint8_t inflight;
	uint8_t zero[5];
	uint16_t next; /* completed before it, in the list from last_batch_head */
	uint64_t counter; /* order of fetching */
};
static_assert(sizeof(struct vhost_inflight_split_entry) == 16, "split entry");
static_assert(offsetof(struct vhost_inflight_split_entry, next) == 6, "split entry");
static_assert(offsetof(struct vhost_inflight_split_entry, counter) == 8, "split entry");

struct vhost_inflight_split {
	uint64_t features; /* 0 */
	uint16_t version;
	uint16_t desc_num;
	uint16_t last_batch_head; /* completed last */
	uint16_t used_idx; /* the used index up to which marks are cleared */
	struct vhost_inflight_split_entry entries[];
};
static_assert(sizeof(struct vhost_inflight_split) == 16, "split queue region");
static_assert(offsetof(struct vhost_inflight_split, version) == 8, "split queue region");
static_assert(offsetof(struct vhost_inflight_split, last_batch_head) == 12, "split queue region");
static_assert(offsetof(struct vhost_inflight_split, used_idx) == 14, "split queue region");

/* ---- packed rings ------------------------------------------------------------------------ */

/* One descriptor. Entries form lists by next, which end at desc_num: the free ones, and the chains
 * that are in flight. */
struct vhost_inflight_packed_entry {
	uint8_t inflight; /* of a chain: in its first entry only, as num, last and counter */
	uint8_t zero;
	uint16_t next;
	uint16_t last;
	uint16_t num;
	uint64_t counter;
	uint16_t id;
	uint16_t flags;
	uint32_t len;
	uint64_t addr;
};
static_assert(sizeof(struct vhost_inflight_packed_entry) == 32, "packed entry");
static_assert(offsetof(struct vhost_inflight_packed_entry, next) == 2, "packed entry");
static_assert(offsetof(struct vhost_inflight_packed_entry, last) == 4, "packed entry");
static_assert(offsetof(struct vhost_inflight_packed_entry, num) == 6, "packed entry");
static_assert(offsetof(struct vhost_inflight_packed_entry, counter) == 8, "packed entry");
static_assert(offsetof(struct vhost_inflight_packed_entry, id) == 16, "packed entry");
static_assert(offsetof(struct vhost_inflight_packed_entry, len) == 20, "packed entry");
static_assert(offsetof(struct vhost_inflight_packed_entry, addr) == 24, "packed entry");

/* A position and its wrap counter belong together: stored at once. */
union vhost_inflight_packed_used {
	uint64_t word;
	struct {
		uint16_t idx;
		uint16_t old_idx;
		uint8_t wrap_counter;
		uint8_t old_wrap_counter;
		uint8_t zero[2];
	};
};
static_assert(sizeof(union vhost_inflight_packed_used) == 8, "packed queue region");

struct vhost_inflight_packed {
	uint64_t features; /* 0 */
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head;
	uint16_t old_free_head;
	union vhost_inflight_packed_used used;
	uint8_t zero[8]; /* with those in used 10: the document names 7, the entries are aligned */
	struct vhost_inflight_packed_entry entries[];
};
static_assert(sizeof(struct vhost_inflight_packed) == 32, "packed queue region");
static_assert(offsetof(struct vhost_inflight_packed, version) == 8, "packed queue region");
static_assert(offsetof(struct vhost_inflight_packed, free_head) == 12, "packed queue region");
static_assert(offsetof(struct vhost_inflight_packed, used.idx) == 16, "packed queue region");
static_assert(offsetof(struct vhost_inflight_packed, used.old_idx) == 18, "packed queue region");
static_assert(
	offsetof(struct vhost_inflight_packed, used.wrap_counter) == 20, "packed queue region");

/* ---- sizes ------------------------------------------------------------------------------- */

static inline uint64_t vhost_inflight_align(uint64_t bytes)
{
	return (bytes + VHOST_INFLIGHT_ALIGN - 1) & ~(uint64_t)(VHOST_INFLIGHT_ALIGN - 1);
}

static inline uint64_t vhost_inflight_split_stride(uint16_t desc_num)
{
	return vhost_inflight_align(sizeof(struct vhost_inflight_split) +
				    desc_num * sizeof(struct vhost_inflight_split_entry));
}

static inline uint64_t vhost_inflight_packed_stride(uint16_t desc_num)
{
	return vhost_inflight_align(sizeof(struct vhost_inflight_packed) +
				    desc_num * sizeof(struct vhost_inflight_packed_entry));
}

#endif
