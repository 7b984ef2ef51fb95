/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-blk requests (VIRTIO 1.3, 5.2.6). Sectors are always 512 bytes.
 *
 * fe_blk_init() prepares a request with the usual layout (16 | data | 1, all direct); change
 * request->io before the submit for any other. request->status is valid when io.done.
 */
#ifndef FRONTEND_BLK_H
#define FRONTEND_BLK_H

#include "frontend/io.h"

struct fe_blk {
	struct fe_io io;
	struct fe_blk_header header;
	uint8_t status; /* 0xee until the device has written it */
};

/* Data goes out for OUT, DISCARD, WRITE_ZEROES and SECURE_ERASE, in for everything else.
 * `data` is borrowed until the request is done. */
void fe_blk_init(struct fe_blk *request, uint32_t type, uint64_t sector, void *data, uint32_t len);

/* Runs one: 0 and the status byte, or the error of fe_io_run(). */
int fe_blk_run(struct fe_ring *ring, uint32_t type, uint64_t sector, void *data, uint32_t len,
	uint8_t *ret_status, int timeout_ms);

/* DISCARD and the like over one range. */
int fe_blk_run_range(struct fe_ring *ring, uint32_t type, uint64_t sector, uint32_t sectors,
	uint32_t flags, uint8_t *ret_status, int timeout_ms);

#endif
