/* SPDX-License-Identifier: BSD-2-Clause */
/* virtio-blk requests over fe_io: header 16 | data | status 1. */
#include <string.h>

#include "frontend/blk.h"

static bool data_goes_out(uint32_t type)
{
	return type == FE_BLK_OUT || type == FE_BLK_DISCARD || type == FE_BLK_WRITE_ZEROES ||
	       type == FE_BLK_SECURE_ERASE;
}

void fe_blk_init(struct fe_blk *request, uint32_t type, uint64_t sector, void *data, uint32_t len)
{
	struct fe_io *io = &request->io;

	memset(request, 0, sizeof(*request));
	request->header = (struct fe_blk_header){.type = type, .sector = sector};
	request->status = 0xee;
	io->head = &request->header;
	io->head_len = sizeof(request->header);
	io->in_last = &request->status;
	io->in_last_len = 1;
	if (data_goes_out(type)) {
		io->out = data;
		io->out_len = len;
	} else {
		io->in_first = data;
		io->in_first_len = len;
	}
	io->direct = FE_IO_ALL_DIRECT;
	io->fill = 0xee;
}

int fe_blk_run(struct fe_ring *ring, uint32_t type, uint64_t sector, void *data, uint32_t len,
	uint8_t *ret_status, int timeout_ms)
{
	struct fe_blk request;
	int rc;

	fe_blk_init(&request, type, sector, data, len);
	rc = fe_io_run(ring, &request.io, timeout_ms);
	if (!rc)
		*ret_status = request.status;
	return rc;
}

int fe_blk_run_range(struct fe_ring *ring, uint32_t type, uint64_t sector, uint32_t sectors,
	uint32_t flags, uint8_t *ret_status, int timeout_ms)
{
	struct fe_blk_range range = {.sector = sector, .sectors = sectors, .flags = flags};

	return fe_blk_run(ring, type, 0, &range, sizeof(range), ret_status, timeout_ms);
}
