/* SPDX-License-Identifier: BSD-2-Clause */
/* virtio-scsi over fe_io: commands, task management, events. */
#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "frontend/frontend_impl.h"
#include "frontend/scsi.h"

void fe_scsi_lun(uint8_t lun[8], uint8_t target, uint16_t number)
{
	memset(lun, 0, 8);
	lun[0] = 1;
	lun[1] = target;
	lun[2] = (uint8_t)(0x40 | number >> 8);
	lun[3] = (uint8_t)number;
}

void fe_scsi_init(struct fe_scsi *request, uint8_t target, uint16_t lun, const void *cdb,
	uint32_t cdb_len, const void *out, uint32_t out_len, void *in, uint32_t in_len)
{
	static atomic_uint_fast64_t next_tag = 1;
	struct fe_io *io = &request->io;

	memset(request, 0, sizeof(*request));
	fe_scsi_lun(request->header.lun, target, lun);
	request->header.tag = atomic_fetch_add_explicit(&next_tag, 1, memory_order_relaxed);
	memcpy(request->header.cdb, cdb, cdb_len < 32 ? cdb_len : 32);
	memset(&request->response, 0xee, sizeof(request->response));
	io->head = &request->header;
	io->head_len = sizeof(request->header);
	io->out = out;
	io->out_len = out_len;
	io->in_first = &request->response;
	io->in_first_len = sizeof(request->response);
	io->in_last = in;
	io->in_last_len = in_len;
	io->direct = FE_IO_ALL_DIRECT;
	io->fill = 0xee;
}

int fe_scsi_run(struct fe_ring *ring, struct fe_scsi *request, int timeout_ms)
{
	return fe_io_run(ring, &request->io, timeout_ms);
}

static void fill_rw16(uint8_t cdb[16], uint8_t opcode, uint64_t lba, uint32_t blocks)
{
	uint64_t lba_be = htobe64(lba);
	uint32_t blocks_be = htobe32(blocks);

	memset(cdb, 0, 16);
	cdb[0] = opcode;
	memcpy(cdb + 2, &lba_be, sizeof(lba_be));
	memcpy(cdb + 10, &blocks_be, sizeof(blocks_be));
}

void fe_scsi_init_read(struct fe_scsi *request, uint8_t target, uint16_t lun, uint64_t lba,
	uint32_t blocks, void *data, uint32_t len)
{
	uint8_t cdb[16];

	fill_rw16(cdb, 0x88, lba, blocks);
	fe_scsi_init(request, target, lun, cdb, sizeof(cdb), NULL, 0, data, len);
}

void fe_scsi_init_write(struct fe_scsi *request, uint8_t target, uint16_t lun, uint64_t lba,
	uint32_t blocks, const void *data, uint32_t len)
{
	uint8_t cdb[16];

	fill_rw16(cdb, 0x8a, lba, blocks);
	fe_scsi_init(request, target, lun, cdb, sizeof(cdb), data, len, NULL, 0);
}

uint32_t fe_scsi_sense(const struct fe_scsi_response *response)
{
	const uint8_t *sense = response->sense;
	uint8_t format = sense[0] & 0x7f;

	/* SPC-4 4.5.3: fixed 70h/71h; 4.5.2: descriptors 72h/73h. */
	if ((format == 0x70 || format == 0x71) && response->sense_len >= 14)
		return (uint32_t)(sense[2] & 0xf) << 16 | (uint32_t)sense[12] << 8 | sense[13];
	if ((format == 0x72 || format == 0x73) && response->sense_len >= 4)
		return (uint32_t)(sense[1] & 0xf) << 16 | (uint32_t)sense[2] << 8 | sense[3];
	return 0;
}

/* ---- control ring ---- */

int fe_scsi_tmf(struct fe_ring *control, uint32_t subtype, const uint8_t lun[8], uint64_t tag,
	int timeout_ms)
{
	struct fe_tmf tmf = {.type = FE_CONTROL_TMF, .subtype = subtype, .tag = tag};
	uint8_t response = 0xee;
	struct fe_io io = {
		.head = &tmf,
		.head_len = sizeof(tmf),
		.in_last = &response,
		.in_last_len = sizeof(response),
		.direct = FE_IO_ALL_DIRECT,
		.fill = 0xee,
	};
	int rc;

	memcpy(tmf.lun, lun, sizeof(tmf.lun));
	rc = fe_io_run(control, &io, timeout_ms);
	return rc ? rc : response;
}

int fe_scsi_an(struct fe_ring *control, uint32_t type, const uint8_t lun[8], uint32_t events,
	struct fe_an_answer *ret_answer, uint32_t *ret_used_len, int timeout_ms)
{
	struct fe_an an = {.type = type, .events = events};
	struct fe_io io = {
		.head = &an,
		.head_len = sizeof(an),
		.in_last = ret_answer,
		.in_last_len = sizeof(*ret_answer),
		.direct = FE_IO_ALL_DIRECT,
		.fill = 0xee,
	};
	int rc;

	memcpy(an.lun, lun, sizeof(an.lun));
	rc = fe_io_run(control, &io, timeout_ms);
	if (!rc)
		*ret_used_len = io.used_len;
	return rc;
}

/* ---- event ring ---- */

/* The token of an event buffer is the buffer itself. */
static int post_event(struct fe_ring *ring, struct fe_scsi_event *buffer)
{
	struct fe_segment segment = {
		.gpa = fe_memory_gpa(ring->memory, buffer),
		.len = sizeof(*buffer),
		.write = true,
	};
	struct fe_chain chain = {.segments = &segment, .count = 1, .direct = 1, .token = buffer};

	memset(buffer, 0xee, sizeof(*buffer));
	return fe_ring_add(ring, &chain, NULL);
}

int fe_scsi_post_events(struct fe_ring *event_ring, uint32_t count)
{
	uint32_t i;
	int rc = 0;

	for (i = 0; i < count && !rc; i++) {
		struct fe_scsi_event *buffer =
			fe_memory_alloc(event_ring->memory, sizeof(*buffer), 16);

		rc = buffer ? post_event(event_ring, buffer) : -ENOSPC;
		if (rc)
			fe_memory_free(event_ring->memory, buffer);
	}
	fe_io_publish(event_ring);
	return rc;
}

int fe_scsi_wait_event(
	struct fe_ring *event_ring, struct fe_scsi_event *ret_event, bool keep, int timeout_ms)
{
	struct fe_completion completion;
	struct fe_scsi_event *buffer;
	int rc = fe_ring_wait(event_ring, timeout_ms);

	if (rc)
		return rc;
	rc = fe_ring_pop(event_ring, &completion);
	if (rc < 0)
		return rc;
	buffer = completion.token;
	memcpy(ret_event, buffer, sizeof(*ret_event));
	if (completion.len != sizeof(*ret_event))
		return fe_ring_fault(event_ring, "event with used length %u", completion.len);
	if (keep) {
		fe_memory_free(event_ring->memory, buffer);
		return 0;
	}
	rc = post_event(event_ring, buffer);
	fe_io_publish(event_ring);
	return rc;
}
