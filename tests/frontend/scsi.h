/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-scsi (VIRTIO 1.3, 5.6.6): commands on request rings, task management and asynchronous
 * notification on the control ring, events on the event ring.
 */
#ifndef FRONTEND_SCSI_H
#define FRONTEND_SCSI_H

#include "frontend/io.h"

struct fe_scsi {
	struct fe_io io;
	struct fe_scsi_header header;
	struct fe_scsi_response response; /* all 0xee until the device has written it */
};

/* The eight bytes of an address: method 01 (0x40), as Linux writes it; lun below 16384. */
void fe_scsi_lun(uint8_t lun[8], uint8_t target, uint16_t number);

/*
 * A command with the usual layout (51 + data-out | 108 + data-in, header and data in descriptors
 * of their own, all direct) and the next tag of a counter. One of out and in may be NULL, with
 * length 0. Buffers are borrowed until the request is done.
 */
void fe_scsi_init(struct fe_scsi *request, uint8_t target, uint16_t lun, const void *cdb,
	uint32_t cdb_len, const void *out, uint32_t out_len, void *in, uint32_t in_len);

/* Runs a request that was initialised: 0, or the error of fe_io_run(). */
int fe_scsi_run(struct fe_ring *ring, struct fe_scsi *request, int timeout_ms);

/* READ(16) and WRITE(16). */
void fe_scsi_init_read(struct fe_scsi *request, uint8_t target, uint16_t lun, uint64_t lba,
	uint32_t blocks, void *data, uint32_t len);
void fe_scsi_init_write(struct fe_scsi *request, uint8_t target, uint16_t lun, uint64_t lba,
	uint32_t blocks, const void *data, uint32_t len);

/* Sense key, ASC and ASCQ of a response with fixed or descriptor format sense: 0xKKAAQQ, such as
 * 0x052400; 0 when there is no sense. */
uint32_t fe_scsi_sense(const struct fe_scsi_response *response);

/* A task management function on the control ring: its response code (>= 0) or -errno. */
int fe_scsi_tmf(struct fe_ring *control, uint32_t subtype, const uint8_t lun[8], uint64_t tag,
	int timeout_ms);
/* Asynchronous notification query (FE_CONTROL_AN_QUERY) or subscription. 0 or -errno. */
int fe_scsi_an(struct fe_ring *control, uint32_t type, const uint8_t lun[8], uint32_t events,
	struct fe_an_answer *ret_answer, uint32_t *ret_used_len, int timeout_ms);

/* Puts `count` event buffers of 16 bytes on the event ring and publishes them; 0 or -ENOSPC. */
int fe_scsi_post_events(struct fe_ring *event_ring, uint32_t count);
/* Waits for an event, copies it, and puts its buffer back unless `keep`: 0, -ETIMEDOUT, -ENOMSG,
 * -EPROTO (also when the used length is not 16). */
int fe_scsi_wait_event(
	struct fe_ring *event_ring, struct fe_scsi_event *ret_event, bool keep, int timeout_ms);

#endif
