/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-scsi: VIRTIO 1.2 section 5.6. Little-endian. The sense and CDB sizes of the configuration
 * space are constants here: nobody can change them behind vhost-user.
 */
#ifndef SPEC_VIRTIO_SCSI_H
#define SPEC_VIRTIO_SCSI_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define VIRTIO_SCSI_F_INOUT   0
#define VIRTIO_SCSI_F_HOTPLUG 1
#define VIRTIO_SCSI_F_CHANGE  2
#define VIRTIO_SCSI_F_T10_PI  3

#define VIRTIO_SCSI_RING_CONTROL 0
#define VIRTIO_SCSI_RING_EVENT   1
#define VIRTIO_SCSI_RING_REQUEST 2 /* the first of them */

#define VIRTIO_SCSI_CDB_BYTES   32
#define VIRTIO_SCSI_SENSE_BYTES 96

/* 5.6.6.1 */
struct virtio_scsi_req_cmd {
	uint8_t lun[8];
	uint64_t tag;
	uint8_t task_attr;
	uint8_t prio;
	uint8_t crn;
	uint8_t cdb[VIRTIO_SCSI_CDB_BYTES];
} __attribute__((packed));
static_assert(sizeof(struct virtio_scsi_req_cmd) == 51, "5.6.6.1");
static_assert(offsetof(struct virtio_scsi_req_cmd, cdb) == 19, "5.6.6.1");

struct virtio_scsi_resp_cmd {
	uint32_t sense_len;
	uint32_t residual;
	uint16_t status_qualifier;
	uint8_t status;
	uint8_t response;
	uint8_t sense[VIRTIO_SCSI_SENSE_BYTES];
} __attribute__((packed));
static_assert(sizeof(struct virtio_scsi_resp_cmd) == 108, "5.6.6.1");
static_assert(offsetof(struct virtio_scsi_resp_cmd, sense) == 12, "5.6.6.1");

#define VIRTIO_SCSI_S_SIMPLE  0
#define VIRTIO_SCSI_S_ORDERED 1
#define VIRTIO_SCSI_S_HEAD    2
#define VIRTIO_SCSI_S_ACA     3

#define VIRTIO_SCSI_S_OK                 0
#define VIRTIO_SCSI_S_OVERRUN            1
#define VIRTIO_SCSI_S_ABORTED            2
#define VIRTIO_SCSI_S_BAD_TARGET         3
#define VIRTIO_SCSI_S_RESET              4
#define VIRTIO_SCSI_S_BUSY               5
#define VIRTIO_SCSI_S_TRANSPORT_FAILURE  6
#define VIRTIO_SCSI_S_TARGET_FAILURE     7
#define VIRTIO_SCSI_S_NEXUS_FAILURE      8
#define VIRTIO_SCSI_S_FAILURE            9
#define VIRTIO_SCSI_S_FUNCTION_SUCCEEDED 10
#define VIRTIO_SCSI_S_FUNCTION_REJECTED  11
#define VIRTIO_SCSI_S_INCORRECT_LUN      12

/* 5.6.6.2: the control ring */
#define VIRTIO_SCSI_T_TMF          0
#define VIRTIO_SCSI_T_AN_QUERY     1
#define VIRTIO_SCSI_T_AN_SUBSCRIBE 2

/* of asynchronous notification, in event_requested and event_actual */
#define VIRTIO_SCSI_EVT_ASYNC_MEDIA_CHANGE UINT32_C(16)

#define VIRTIO_SCSI_T_TMF_ABORT_TASK         0
#define VIRTIO_SCSI_T_TMF_ABORT_TASK_SET     1
#define VIRTIO_SCSI_T_TMF_CLEAR_ACA          2
#define VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET     3
#define VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET    4
#define VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET 5
#define VIRTIO_SCSI_T_TMF_QUERY_TASK         6
#define VIRTIO_SCSI_T_TMF_QUERY_TASK_SET     7

struct virtio_scsi_ctrl_tmf {
	uint32_t type;
	uint32_t subtype;
	uint8_t lun[8];
	uint64_t tag;
} __attribute__((packed));
static_assert(sizeof(struct virtio_scsi_ctrl_tmf) == 24, "5.6.6.2");

struct virtio_scsi_ctrl_an {
	uint32_t type;
	uint8_t lun[8];
	uint32_t event_requested;
} __attribute__((packed));
static_assert(sizeof(struct virtio_scsi_ctrl_an) == 16, "5.6.6.2");

struct virtio_scsi_ctrl_an_resp {
	uint32_t event_actual;
	uint8_t response;
} __attribute__((packed));
static_assert(sizeof(struct virtio_scsi_ctrl_an_resp) == 5, "5.6.6.2");

/* 5.6.6.3: the event ring */
struct virtio_scsi_event {
	uint32_t event;
	uint8_t lun[8];
	uint32_t reason;
} __attribute__((packed));
static_assert(sizeof(struct virtio_scsi_event) == 16, "5.6.6.3");

#define VIRTIO_SCSI_T_EVENTS_MISSED   UINT32_C(0x80000000)
#define VIRTIO_SCSI_T_NO_EVENT        0
#define VIRTIO_SCSI_T_TRANSPORT_RESET 1
#define VIRTIO_SCSI_T_ASYNC_NOTIFY    2
#define VIRTIO_SCSI_T_PARAM_CHANGE    3

#define VIRTIO_SCSI_EVT_RESET_HARD    0
#define VIRTIO_SCSI_EVT_RESET_RESCAN  1
#define VIRTIO_SCSI_EVT_RESET_REMOVED 2

#endif
