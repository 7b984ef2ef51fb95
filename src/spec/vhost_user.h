/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vhost-user protocol: header, requests of both sides, payloads, protocol feature bits.
 * Integers are in the byte order of the host: both ends share one machine. Feature bits of the
 * device (GET_FEATURES) are in virtio_ring.h.
 */
#ifndef SPEC_VHOST_USER_H
#define SPEC_VHOST_USER_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

struct vhost_user_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* of the payload that follows */
};
static_assert(sizeof(struct vhost_user_header) == 12, "header");

#define VHOST_USER_VERSION_MASK 0x3u
#define VHOST_USER_VERSION      0x1u
#define VHOST_USER_REPLY        0x4u
#define VHOST_USER_NEED_REPLY   0x8u

/* Exactly this on every reply: QEMU compares the whole word. */
#define VHOST_USER_REPLY_FLAGS (VHOST_USER_VERSION | VHOST_USER_REPLY)

/* Larger than any legal payload of a known front-end. */
#define VHOST_USER_PAYLOAD_MAX 4096u

/* Requests of the front-end. */
enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_LOG_BASE = 6,
	VHOST_USER_SET_LOG_FD = 7,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_SEND_RARP = 19,
	VHOST_USER_NET_SET_MTU = 20,
	VHOST_USER_SET_BACKEND_REQ_FD = 21,
	VHOST_USER_IOTLB_MSG = 22,
	VHOST_USER_SET_VRING_ENDIAN = 23,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_CREATE_CRYPTO_SESSION = 26,
	VHOST_USER_CLOSE_CRYPTO_SESSION = 27,
	VHOST_USER_POSTCOPY_ADVISE = 28,
	VHOST_USER_POSTCOPY_LISTEN = 29,
	VHOST_USER_POSTCOPY_END = 30,
	VHOST_USER_GET_INFLIGHT_FD = 31,
	VHOST_USER_SET_INFLIGHT_FD = 32,
	VHOST_USER_GPU_SET_SOCKET = 33,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_VRING_KICK = 35,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
	VHOST_USER_SET_STATUS = 39,
	VHOST_USER_GET_STATUS = 40,
	VHOST_USER_GET_SHARED_OBJECT = 41,
	VHOST_USER_SET_DEVICE_STATE_FD = 42,
	VHOST_USER_CHECK_DEVICE_STATE = 43,
	VHOST_USER_GET_SHMEM_CONFIG = 44,
	VHOST_USER_GET_VRING_BASE_SKIP_DRAIN = 45,
	VHOST_USER_REQUESTS,
};

/* Requests of the back-end, on the back channel. */
enum vhost_user_backend_request {
	VHOST_USER_BACKEND_IOTLB_MSG = 1,
	VHOST_USER_BACKEND_CONFIG_CHANGE_MSG = 2,
	VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG = 3,
};

/* Bits of GET/SET_PROTOCOL_FEATURES. */
#define VHOST_USER_PF_MQ                      0
#define VHOST_USER_PF_LOG_SHMFD               1
#define VHOST_USER_PF_RARP                    2
#define VHOST_USER_PF_REPLY_ACK               3
#define VHOST_USER_PF_MTU                     4
#define VHOST_USER_PF_BACKEND_REQ             5
#define VHOST_USER_PF_CROSS_ENDIAN            6
#define VHOST_USER_PF_CRYPTO_SESSION          7
#define VHOST_USER_PF_PAGEFAULT               8
#define VHOST_USER_PF_CONFIG                  9
#define VHOST_USER_PF_BACKEND_SEND_FD         10
#define VHOST_USER_PF_HOST_NOTIFIER           11
#define VHOST_USER_PF_INFLIGHT_SHMFD          12
#define VHOST_USER_PF_RESET_DEVICE            13
#define VHOST_USER_PF_INBAND_NOTIFICATIONS    14
#define VHOST_USER_PF_CONFIGURE_MEM_SLOTS     15
#define VHOST_USER_PF_STATUS                  16
#define VHOST_USER_PF_XEN_MMAP                17
#define VHOST_USER_PF_SHARED_OBJECT           18
#define VHOST_USER_PF_DEVICE_STATE            19
#define VHOST_USER_PF_GET_VRING_BASE_INFLIGHT 20
#define VHOST_USER_PF_GPA_ADDRESSES           21
#define VHOST_USER_PF_SHMEM                   22
#define VHOST_USER_PF_SKIP_DRAIN              23

/* SET_VRING_KICK, CALL, ERR: u64. */
#define VHOST_USER_VRING_INDEX_MASK 0xffu
#define VHOST_USER_VRING_NOFD       0x100u

struct vhost_user_vring_state {
	uint32_t index;
	uint32_t num;
};
static_assert(sizeof(struct vhost_user_vring_state) == 8, "vring state");

#define VHOST_USER_VRING_F_LOG 0x1u

struct vhost_user_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t descriptors; /* user addresses */
	uint64_t device_area; /* used ring */
	uint64_t driver_area; /* avail ring */
	uint64_t log; /* guest-physical */
};
static_assert(sizeof(struct vhost_user_vring_addr) == 40, "vring address");

struct vhost_user_region {
	uint64_t gpa;
	uint64_t size;
	uint64_t uva;
	uint64_t offset; /* into the fd */
};
static_assert(sizeof(struct vhost_user_region) == 32, "memory region");

struct vhost_user_mem_table {
	uint32_t count;
	uint32_t zero;
	struct vhost_user_region regions[];
};
static_assert(sizeof(struct vhost_user_mem_table) == 8, "memory table");

struct vhost_user_single_region {
	uint64_t zero;
	struct vhost_user_region region;
};
static_assert(sizeof(struct vhost_user_single_region) == 40, "single region");

struct vhost_user_log {
	uint64_t size;
	uint64_t offset;
};
static_assert(sizeof(struct vhost_user_log) == 16, "log");

struct vhost_user_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t bytes[];
};
static_assert(sizeof(struct vhost_user_config) == 12, "config");

struct vhost_user_inflight {
	uint64_t mmap_size;
	uint64_t mmap_offset;
	uint16_t queues;
	uint16_t queue_size;
	uint32_t padding;
};
static_assert(sizeof(struct vhost_user_inflight) == 24, "inflight, padded as QEMU sends it");

#endif
