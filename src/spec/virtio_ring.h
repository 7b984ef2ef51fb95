/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtqueues in memory: VIRTIO 1.2 sections 2.6, 2.7, 2.8 and the feature bits of section 6 that a
 * vhost-user back-end meets. Little-endian (native on the hosts we run on; legacy rings are in the
 * guest's byte order, which is the same there).
 */
#ifndef SPEC_VIRTIO_RING_H
#define SPEC_VIRTIO_RING_H

#include <assert.h>
#include <stdint.h>

#define VIRTIO_F_NOTIFY_ON_EMPTY       24
#define VHOST_F_LOG_ALL                26 /* vhost only */
#define VIRTIO_F_ANY_LAYOUT            27
#define VIRTIO_F_INDIRECT_DESC         28
#define VIRTIO_F_EVENT_IDX             29
#define VHOST_USER_F_PROTOCOL_FEATURES 30 /* vhost-user only */
#define VIRTIO_F_VERSION_1             32
#define VIRTIO_F_ACCESS_PLATFORM       33
#define VIRTIO_F_RING_PACKED           34
#define VIRTIO_F_IN_ORDER              35
#define VIRTIO_F_ORDER_PLATFORM        36
#define VIRTIO_F_NOTIFICATION_DATA     38
#define VIRTIO_F_RING_RESET            40

#define VIRTIO_BIT(f) (UINT64_C(1) << (f))

/* 2.6.5 */
struct vring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};
static_assert(sizeof(struct vring_desc) == 16, "2.6.5");

#define VRING_DESC_F_NEXT     1
#define VRING_DESC_F_WRITE    2
#define VRING_DESC_F_INDIRECT 4

/* 2.6.6; used_event follows ring[num] */
struct vring_avail {
	uint16_t flags;
	uint16_t idx;
	uint16_t ring[];
};

#define VRING_AVAIL_F_NO_INTERRUPT 1

/* 2.6.8; avail_event follows ring[num] */
struct vring_used_elem {
	uint32_t id;
	uint32_t len;
};

struct vring_used {
	uint16_t flags;
	uint16_t idx;
	struct vring_used_elem ring[];
};
static_assert(sizeof(struct vring_used_elem) == 8, "2.6.8");
static_assert(sizeof(struct vring_used) == 4, "2.6.8");

#define VRING_USED_F_NO_NOTIFY 1

/* 2.8.13: a slot of the packed ring, and an entry of an indirect table of one. */
struct vring_packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id;
	uint16_t flags; /* VRING_DESC_F_*, and: */
};
static_assert(sizeof(struct vring_packed_desc) == 16, "2.8.13");

#define VRING_PACKED_DESC_F_AVAIL (1u << 7)
#define VRING_PACKED_DESC_F_USED  (1u << 15)

/* 2.8.14: either event suppression area. Position and flags belong together: one access. */
union vring_packed_event {
	uint32_t word;
	struct {
		uint16_t off_wrap; /* a position as in a base, bit 15 its wrap counter */
		uint16_t flags;
	};
};
static_assert(sizeof(union vring_packed_event) == 4, "2.8.14");

#define VRING_PACKED_EVENT_F_ENABLE  0
#define VRING_PACKED_EVENT_F_DISABLE 1
#define VRING_PACKED_EVENT_F_DESC    2 /* at off_wrap; with EVENT_IDX only */

/* A position and its wrap counter in 16 bits; a base is two of these, avail in the low half. */
#define VRING_PACKED_POSITION 0x7fffu
#define VRING_PACKED_WRAP     0x8000u
#define VRING_PACKED_BASE_0   0x80008000u

#endif
