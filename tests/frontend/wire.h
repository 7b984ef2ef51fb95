/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What goes over the wire and what lies in guest memory, as the tests understand it: messages of
 * vhost-user, virtqueues, requests of virtio-blk and virtio-scsi. Written from the specifications
 * (the vhost-user document of QEMU, VIRTIO 1.3) a second time, on purpose: src/spec is not included
 * here, so an error made there meets a front-end that does not share it.
 *
 * All fields are little-endian; so are the machines we build for.
 */
#ifndef FRONTEND_WIRE_H
#define FRONTEND_WIRE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "fields are used as they lie in memory");

/* ---- vhost-user: header ---- */

struct fe_header {
	uint32_t id;
	uint32_t flags;
	uint32_t size;
};
static_assert(sizeof(struct fe_header) == 12, "vhost-user header");

#define FE_FLAG_VERSION    0x1u
#define FE_FLAG_REPLY      0x4u
#define FE_FLAG_NEED_REPLY 0x8u
#define FE_FLAGS_OF_REPLY  (FE_FLAG_VERSION | FE_FLAG_REPLY)

enum fe_message {
	FE_GET_FEATURES = 1,
	FE_SET_FEATURES = 2,
	FE_SET_OWNER = 3,
	FE_RESET_OWNER = 4,
	FE_SET_MEM_TABLE = 5,
	FE_SET_LOG_BASE = 6,
	FE_SET_LOG_FD = 7,
	FE_SET_VRING_NUM = 8,
	FE_SET_VRING_ADDR = 9,
	FE_SET_VRING_BASE = 10,
	FE_GET_VRING_BASE = 11,
	FE_SET_VRING_KICK = 12,
	FE_SET_VRING_CALL = 13,
	FE_SET_VRING_ERR = 14,
	FE_GET_PROTOCOL_FEATURES = 15,
	FE_SET_PROTOCOL_FEATURES = 16,
	FE_GET_QUEUE_NUM = 17,
	FE_SET_VRING_ENABLE = 18,
	FE_SEND_RARP = 19,
	FE_NET_SET_MTU = 20,
	FE_SET_BACKEND_REQ_FD = 21,
	FE_IOTLB_MSG = 22,
	FE_SET_VRING_ENDIAN = 23,
	FE_GET_CONFIG = 24,
	FE_SET_CONFIG = 25,
	FE_POSTCOPY_ADVISE = 28,
	FE_POSTCOPY_LISTEN = 29,
	FE_POSTCOPY_END = 30,
	FE_GET_INFLIGHT_FD = 31,
	FE_SET_INFLIGHT_FD = 32,
	FE_GPU_SET_SOCKET = 33,
	FE_RESET_DEVICE = 34,
	FE_VRING_KICK = 35,
	FE_GET_MAX_MEM_SLOTS = 36,
	FE_ADD_MEM_REG = 37,
	FE_REM_MEM_REG = 38,
	FE_SET_STATUS = 39,
	FE_GET_STATUS = 40,
	FE_GET_SHARED_OBJECT = 41,
	FE_SET_DEVICE_STATE_FD = 42,
	FE_CHECK_DEVICE_STATE = 43,
	FE_GET_SHMEM_CONFIG = 44,
	FE_GET_VRING_BASE_SKIP_DRAIN = 45,
};

/* Requests of the back-end, on the back channel. */
enum fe_back_message {
	FE_BACK_IOTLB_MSG = 1,
	FE_BACK_CONFIG_CHANGE = 2,
};

/* ---- vhost-user: payloads ---- */

#define FE_NO_FD 0x100u /* in the u64 of SET_VRING_KICK, CALL, ERR: no fd comes with it */

struct fe_vring_state {
	uint32_t index;
	uint32_t num;
};
static_assert(sizeof(struct fe_vring_state) == 8, "vring state");

#define FE_VRING_F_LOG 0x1u

struct fe_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;
	uint64_t used; /* packed: device event suppression */
	uint64_t avail; /* packed: driver event suppression */
	uint64_t log;
};
static_assert(sizeof(struct fe_vring_addr) == 40, "vring address");

struct fe_mem_entry {
	uint64_t gpa;
	uint64_t size;
	uint64_t user;
	uint64_t fd_offset;
};
static_assert(sizeof(struct fe_mem_entry) == 32, "memory region");

struct fe_mem_single {
	uint64_t zero;
	struct fe_mem_entry entry;
};
static_assert(sizeof(struct fe_mem_single) == 40, "single memory region");

struct fe_log_base {
	uint64_t size;
	uint64_t offset;
};
static_assert(sizeof(struct fe_log_base) == 16, "log description");

struct fe_config_header {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
};
static_assert(sizeof(struct fe_config_header) == 12, "config header; the bytes follow");

struct fe_inflight_desc {
	uint64_t mmap_size;
	uint64_t mmap_offset;
	uint16_t queue_count;
	uint16_t queue_size;
	uint32_t zero;
};
static_assert(sizeof(struct fe_inflight_desc) == 24, "inflight description, padded as QEMU does");

/* ---- feature bits ---- */

#define FE_BIT(n) (UINT64_C(1) << (n))

/* Rings and vhost. */
#define FE_F_NOTIFY_ON_EMPTY   FE_BIT(24)
#define FE_F_LOG_ALL           FE_BIT(26)
#define FE_F_ANY_LAYOUT        FE_BIT(27)
#define FE_F_INDIRECT          FE_BIT(28)
#define FE_F_EVENT_IDX         FE_BIT(29)
#define FE_F_PROTOCOL_FEATURES FE_BIT(30)
#define FE_F_VERSION_1         FE_BIT(32)
#define FE_F_ACCESS_PLATFORM   FE_BIT(33)
#define FE_F_PACKED            FE_BIT(34)
#define FE_F_IN_ORDER          FE_BIT(35)
#define FE_F_RING_RESET        FE_BIT(40)

/* virtio-blk. */
#define FE_BLK_F_SIZE_MAX     FE_BIT(1)
#define FE_BLK_F_SEG_MAX      FE_BIT(2)
#define FE_BLK_F_GEOMETRY     FE_BIT(4)
#define FE_BLK_F_RO           FE_BIT(5)
#define FE_BLK_F_BLK_SIZE     FE_BIT(6)
#define FE_BLK_F_FLUSH        FE_BIT(9)
#define FE_BLK_F_TOPOLOGY     FE_BIT(10)
#define FE_BLK_F_CONFIG_WCE   FE_BIT(11)
#define FE_BLK_F_MQ           FE_BIT(12)
#define FE_BLK_F_DISCARD      FE_BIT(13)
#define FE_BLK_F_WRITE_ZEROES FE_BIT(14)
#define FE_BLK_F_LIFETIME     FE_BIT(15)
#define FE_BLK_F_SECURE_ERASE FE_BIT(16)

/* virtio-scsi. */
#define FE_SCSI_F_INOUT   FE_BIT(0)
#define FE_SCSI_F_HOTPLUG FE_BIT(1)
#define FE_SCSI_F_CHANGE  FE_BIT(2)
#define FE_SCSI_F_T10_PI  FE_BIT(3)

/* Protocol features. */
#define FE_PF_MQ             FE_BIT(0)
#define FE_PF_LOG_SHMFD      FE_BIT(1)
#define FE_PF_REPLY_ACK      FE_BIT(3)
#define FE_PF_BACKEND_REQ    FE_BIT(5)
#define FE_PF_PAGEFAULT      FE_BIT(8)
#define FE_PF_CONFIG         FE_BIT(9)
#define FE_PF_INFLIGHT_SHMFD FE_BIT(12)
#define FE_PF_RESET_DEVICE   FE_BIT(13)
#define FE_PF_INBAND         FE_BIT(14)
#define FE_PF_MEM_SLOTS      FE_BIT(15)
#define FE_PF_STATUS         FE_BIT(16)
#define FE_PF_XEN_MMAP       FE_BIT(17)
#define FE_PF_DEVICE_STATE   FE_BIT(19)

/* ---- virtqueues ---- */

#define FE_DESC_NEXT     0x1u
#define FE_DESC_WRITE    0x2u
#define FE_DESC_INDIRECT 0x4u

/* Split: VIRTIO 1.3, 2.7. */
struct fe_desc {
	uint64_t gpa;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};
static_assert(sizeof(struct fe_desc) == 16, "split descriptor");

#define FE_AVAIL_NO_INTERRUPT 0x1u
#define FE_USED_NO_NOTIFY     0x1u

struct fe_avail {
	uint16_t flags;
	uint16_t idx;
	uint16_t ring[]; /* then u16 used_event */
};

struct fe_used_elem {
	uint32_t id;
	uint32_t len;
};

struct fe_used {
	uint16_t flags;
	uint16_t idx;
	struct fe_used_elem ring[]; /* then u16 avail_event */
};
static_assert(offsetof(struct fe_used, ring) == 4, "used ring");

/* Packed: VIRTIO 1.3, 2.8. */
#define FE_PACKED_AVAIL (1u << 7)
#define FE_PACKED_USED  (1u << 15)

struct fe_packed_desc {
	uint64_t gpa;
	uint32_t len;
	uint16_t id;
	uint16_t flags;
};
static_assert(sizeof(struct fe_packed_desc) == 16, "packed descriptor");

#define FE_EVENT_ALWAYS 0u
#define FE_EVENT_NEVER  1u
#define FE_EVENT_AT     2u

struct fe_packed_event {
	uint16_t position; /* bit 15: wrap counter */
	uint16_t flags;
};
static_assert(sizeof(struct fe_packed_event) == 4, "event suppression area");

/* ---- virtio-blk ---- */

enum fe_blk_type {
	FE_BLK_IN = 0,
	FE_BLK_OUT = 1,
	FE_BLK_FLUSH = 4,
	FE_BLK_GET_ID = 8,
	FE_BLK_GET_LIFETIME = 10,
	FE_BLK_DISCARD = 11,
	FE_BLK_WRITE_ZEROES = 13,
	FE_BLK_SECURE_ERASE = 14,
};

enum fe_blk_status { FE_BLK_OK = 0, FE_BLK_IOERR = 1, FE_BLK_UNSUPP = 2 };

struct fe_blk_header {
	uint32_t type;
	uint32_t ioprio;
	uint64_t sector;
};
static_assert(sizeof(struct fe_blk_header) == 16, "virtio-blk request header");

struct fe_blk_range {
	uint64_t sector;
	uint32_t sectors;
	uint32_t flags; /* bit 0: unmap */
};
static_assert(sizeof(struct fe_blk_range) == 16, "discard / write zeroes segment");

struct fe_blk_config {
	uint64_t capacity; /* in units of 512 bytes */
	uint32_t size_max;
	uint32_t seg_max;
	uint16_t cylinders;
	uint8_t heads;
	uint8_t sectors;
	uint32_t blk_size;
	uint8_t physical_block_exp;
	uint8_t alignment_offset;
	uint16_t min_io_size;
	uint32_t opt_io_size;
	uint8_t writeback;
	uint8_t unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors;
	uint32_t max_discard_seg;
	uint32_t discard_sector_alignment;
	uint32_t max_write_zeroes_sectors;
	uint32_t max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap;
	uint8_t unused1[3];
} __attribute__((packed));
static_assert(sizeof(struct fe_blk_config) == 60, "virtio-blk config space, first part");

/* ---- virtio-scsi ---- */

#define FE_SCSI_RING_CONTROL 0u
#define FE_SCSI_RING_EVENT   1u
#define FE_SCSI_RING_REQUEST 2u /* the first of them */

struct fe_scsi_header {
	uint8_t lun[8];
	uint64_t tag;
	uint8_t task_attr;
	uint8_t prio;
	uint8_t crn;
	uint8_t cdb[32];
} __attribute__((packed));
static_assert(sizeof(struct fe_scsi_header) == 51, "virtio-scsi command");

struct fe_scsi_response {
	uint32_t sense_len;
	uint32_t residual;
	uint16_t status_qualifier;
	uint8_t status;
	uint8_t response;
	uint8_t sense[96];
} __attribute__((packed));
static_assert(sizeof(struct fe_scsi_response) == 108, "virtio-scsi response");

enum fe_scsi_response_code {
	FE_SCSI_OK = 0,
	FE_SCSI_OVERRUN = 1,
	FE_SCSI_ABORTED = 2,
	FE_SCSI_BAD_TARGET = 3,
	FE_SCSI_RESET = 4,
	FE_SCSI_BUSY = 5,
	FE_SCSI_TRANSPORT_FAILURE = 6,
	FE_SCSI_TARGET_FAILURE = 7,
	FE_SCSI_NEXUS_FAILURE = 8,
	FE_SCSI_FAILURE = 9,
	FE_TMF_SUCCEEDED = 10,
	FE_TMF_REJECTED = 11,
	FE_SCSI_INCORRECT_LUN = 12,
};

#define FE_CONTROL_TMF       0u
#define FE_CONTROL_AN_QUERY  1u
#define FE_CONTROL_AN_SUBSCR 2u

enum fe_tmf_subtype {
	FE_TMF_ABORT_TASK = 0,
	FE_TMF_ABORT_TASK_SET = 1,
	FE_TMF_CLEAR_ACA = 2,
	FE_TMF_CLEAR_TASK_SET = 3,
	FE_TMF_I_T_NEXUS_RESET = 4,
	FE_TMF_LOGICAL_UNIT_RESET = 5,
	FE_TMF_QUERY_TASK = 6,
	FE_TMF_QUERY_TASK_SET = 7,
};

struct fe_tmf {
	uint32_t type;
	uint32_t subtype;
	uint8_t lun[8];
	uint64_t tag;
};
static_assert(sizeof(struct fe_tmf) == 24, "task management request");

struct fe_an {
	uint32_t type;
	uint8_t lun[8];
	uint32_t events;
} __attribute__((packed));
static_assert(sizeof(struct fe_an) == 16, "asynchronous notification request");

struct fe_an_answer {
	uint32_t events;
	uint8_t response;
} __attribute__((packed));
static_assert(sizeof(struct fe_an_answer) == 5, "asynchronous notification answer");

#define FE_EVENT_MISSED          0x80000000u
#define FE_EVENT_NONE            0u
#define FE_EVENT_TRANSPORT_RESET 1u
#define FE_EVENT_PARAM_CHANGE    3u

struct fe_scsi_event {
	uint32_t event;
	uint8_t lun[8];
	uint32_t reason;
} __attribute__((packed));
static_assert(sizeof(struct fe_scsi_event) == 16, "virtio-scsi event");

#endif
