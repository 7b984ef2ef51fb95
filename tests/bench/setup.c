/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From options to queues that are ready to run: connection, size of the disk, guest memory, and all
 * that can be written before the first request.
 *
 * Placement. Header and status of a blk request share a cache line, as in Linux' driver. A scsi
 * request has its command in one line and its response in the next two. Descriptors of a direct
 * split chain fill one line (three of CHAIN_SLOTS, the fourth stays unused).
 */
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

static int fail(struct bench *bench, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(struct bench *bench, int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(bench->why, sizeof(bench->why), format, args);
	va_end(args);
	return rc;
}

static bool is_scsi(const struct bench *bench)
{
	return bench->options.bus == FE_BUS_SCSI;
}

/* ---- connection ---- */

static uint32_t ring_size(const struct bench_options *options)
{
	uint32_t need = options->depth, size = 128;

	if (options->ring_size)
		return options->ring_size;
	if (!options->indirect)
		need *= CHAIN_SLOTS;
	while (size < need)
		size *= 2;
	return size;
}

static uint64_t data_stride(const struct bench_options *options)
{
	return (options->block_size + 4095ull) & ~4095ull;
}

static uint64_t memory_size(const struct bench_options *options)
{
	uint64_t request = data_stride(options) + SCSI_STRIDE + 64;
	uint64_t ring = ring_size(options) * 40ull + 4096;
	uint64_t need = (request * options->depth + ring) * options->queues;

	/* Room for control and event rings, the setup's own requests and alignment. */
	need += (8ull << 20) + 2 * ring;
	if (options->memory > need)
		need = options->memory;
	return (need + 4095) & ~4095ull;
}

static int connect_target(struct bench *bench)
{
	const struct bench_options *options = &bench->options;
	struct fe_options wish = fe_options_default(options->bus, options->socket);
	uint32_t size = ring_size(options);
	int rc;

	if (size > FE_RING_MAX || (!options->packed && (size & (size - 1))))
		return fail(bench, -EINVAL, "a ring of %u entries does not do", size);
	if (size < options->depth * (options->indirect ? 1 : options->packed ? 3 : CHAIN_SLOTS))
		return fail(
			bench, -EINVAL, "%u entries do not hold %u requests", size, options->depth);
	wish.ring_count = options->queues + (is_scsi(bench) ? FE_SCSI_RING_REQUEST : 0);
	wish.ring_size = size;
	wish.memory_size = memory_size(options);
	wish.skip_inflight = options->no_inflight;
	wish.notified = options->notified;
	wish.timeout_ms = 10000;
	if (options->packed)
		wish.features |= FE_F_PACKED;
	if (!options->event_idx)
		wish.features &= ~FE_F_EVENT_IDX;
	rc = fe_open(&wish, &bench->fe);
	if (rc)
		return fail(bench, rc, "%s", wish.why);
	if (options->packed && !(bench->fe->features & FE_F_PACKED))
		return fail(bench, -ENOTSUP, "the target has no packed rings");
	if (options->indirect && !(bench->fe->features & FE_F_INDIRECT))
		return fail(bench, -ENOTSUP, "the target has no indirect descriptors");
	if (bench->fe->queue_num < wish.ring_count)
		return fail(bench, -ENOTSUP, "the target has %llu rings of the %u asked for",
			(unsigned long long)bench->fe->queue_num, wish.ring_count);
	return 0;
}

/* ---- size of the disk ---- */

static int scsi_command(struct bench *bench, const void *cdb, uint32_t cdb_len, void *in,
	uint32_t in_len, struct fe_scsi_response *ret_response)
{
	struct fe_ring *ring = bench->fe->ring[FE_SCSI_RING_REQUEST];
	struct fe_scsi request;
	int rc;

	fe_scsi_init(&request, (uint8_t)bench->options.target, (uint16_t)bench->options.lun, cdb,
		cdb_len, NULL, 0, in, in_len);
	rc = fe_scsi_run(ring, &request, 10000);
	if (rc)
		return fail(bench, rc, "a SCSI command got no answer: %s %s", strerror(-rc),
			ring->fault);
	*ret_response = request.response;
	return 0;
}

static int scsi_size(struct bench *bench, uint64_t *ret_bytes, uint32_t *ret_unit)
{
	static const uint8_t test_unit_ready[6] = {0};
	static const uint8_t read_capacity[16] = {[0] = 0x9e, [1] = 0x10, [13] = 32};
	struct fe_scsi_response response = {.response = FE_SCSI_FAILURE};
	uint8_t answer[32];
	uint64_t last;
	uint32_t unit, tries;
	int rc;

	/* Unit attentions of a fresh nexus are reported first, one a command. */
	for (tries = 0; tries < 8; tries++) {
		rc = scsi_command(bench, test_unit_ready, 6, NULL, 0, &response);
		if (rc)
			return rc;
		if (!response.response && !response.status)
			break;
	}
	if (response.response || response.status)
		return fail(bench, -ENXIO, "target %u lun %u is not ready: response %u status %u",
			bench->options.target, bench->options.lun, response.response,
			response.status);
	rc = scsi_command(bench, read_capacity, 16, answer, sizeof(answer), &response);
	if (rc)
		return rc;
	if (response.response || response.status)
		return fail(bench, -EIO, "READ CAPACITY (16) failed with sense %06x",
			fe_scsi_sense(&response));
	memcpy(&last, answer, 8);
	memcpy(&unit, answer + 8, 4);
	*ret_unit = be32toh(unit);
	*ret_bytes = (be64toh(last) + 1) * *ret_unit;
	return 0;
}

static int find_size(struct bench *bench)
{
	const struct bench_options *options = &bench->options;
	uint64_t bytes = bench->fe->config.capacity * 512;
	uint32_t unit = 512;
	int rc = 0;

	if (is_scsi(bench))
		rc = scsi_size(bench, &bytes, &unit);
	if (rc)
		return rc;
	if (!unit || options->block_size % unit)
		return fail(bench, -EINVAL, "blocks of %u bytes are no multiple of %u",
			options->block_size, unit);
	if (options->range && options->range < bytes)
		bytes = options->range;
	bench->blocks = bytes / options->block_size;
	bench->units = options->block_size / unit;
	if (!bench->blocks)
		return fail(bench, -EINVAL, "the disk is smaller than one block");
	if (is_scsi(bench) && bench->blocks * bench->units > UINT32_MAX)
		return fail(bench, -E2BIG, "READ (10) does not reach that far: use --range");
	return 0;
}

/* ---- layout ---- */

static void write_scsi_command(
	const struct bench *bench, uint8_t *command, uint32_t request, bool write)
{
	struct fe_scsi_header header = {.tag = request};
	uint16_t units_be = htobe16((uint16_t)bench->units);

	fe_scsi_lun(header.lun, (uint8_t)bench->options.target, (uint16_t)bench->options.lun);
	header.cdb[0] = write ? 0x2a : 0x28; /* WRITE (10), READ (10) */
	memcpy(header.cdb + 7, &units_be, 2);
	memcpy(command, &header, sizeof(header));
}

/* The segments of a request in their order; how many. */
static uint32_t list_segments(const struct bench *bench, const struct bench_queue *queue,
	uint32_t request, bool write, struct fe_segment segments[3])
{
	const struct fe_memory *memory = &bench->fe->memory;
	uint64_t command = fe_memory_gpa(memory, queue->commands + request * queue->command_stride);
	uint64_t data = fe_memory_gpa(memory, queue->data + request * queue->data_stride);
	uint32_t len = bench->options.block_size;
	struct fe_segment head, body = {data, len, !write}, tail;

	if (is_scsi(bench)) {
		head = (struct fe_segment){command, sizeof(struct fe_scsi_header), false};
		tail = (struct fe_segment){
			command + SCSI_RESPONSE_AT, sizeof(struct fe_scsi_response), true};
	} else {
		head = (struct fe_segment){command, sizeof(struct fe_blk_header), false};
		tail = (struct fe_segment){command + BLK_STATUS_AT, 1, true};
	}
	segments[0] = head;
	/* blk has data-in before its status, scsi behind its response. */
	segments[1] = is_scsi(bench) && !write ? tail : body;
	segments[2] = is_scsi(bench) && !write ? body : tail;
	return 3;
}

static void lay_out_split(const struct bench *bench, struct bench_queue *queue, uint32_t request,
	const struct fe_segment *segments, uint32_t count)
{
	struct fe_ring *ring = queue->ring;
	uint32_t first = request << queue->shift, i;
	struct fe_desc *desc = &ring->desc[first];

	if (bench->options.indirect) {
		uint8_t *table = queue->tables + request * 64ull;

		*desc = (struct fe_desc){
			fe_memory_gpa(&bench->fe->memory, table), count * 16, FE_DESC_INDIRECT, 0};
		desc = (struct fe_desc *)(void *)table;
		first = 0;
	}
	for (i = 0; i < count; i++) {
		bool last = i + 1 == count;

		desc[i].gpa = segments[i].gpa;
		desc[i].len = segments[i].len;
		desc[i].flags = (segments[i].write ? FE_DESC_WRITE : 0) | (last ? 0 : FE_DESC_NEXT);
		desc[i].next = last ? 0 : (uint16_t)(first + i + 1);
	}
}

static void lay_out_packed(const struct bench *bench, struct bench_queue *queue, uint32_t request,
	const struct fe_segment *segments, uint32_t count)
{
	struct fe_packed_desc *chain = queue->packed_chain[request];
	bool indirect = bench->options.indirect;
	uint32_t i;

	if (indirect) {
		uint8_t *table = queue->tables + request * 64ull;

		*chain = (struct fe_packed_desc){fe_memory_gpa(&bench->fe->memory, table),
			count * 16, (uint16_t)request, FE_DESC_INDIRECT};
		chain = (struct fe_packed_desc *)(void *)table;
	}
	for (i = 0; i < count; i++) {
		bool next = !indirect && i + 1 < count;

		chain[i].gpa = segments[i].gpa;
		chain[i].len = segments[i].len;
		chain[i].id = (uint16_t)request;
		chain[i].flags =
			(segments[i].write ? FE_DESC_WRITE : 0) | (next ? FE_DESC_NEXT : 0);
	}
}

void bench_lay_out(struct bench *bench, struct bench_queue *queue, uint32_t request, bool write)
{
	uint8_t *command = queue->commands + request * queue->command_stride;
	struct fe_segment segments[3];
	uint32_t count = list_segments(bench, queue, request, write, segments);

	queue->writes[request] = write;
	if (is_scsi(bench)) {
		write_scsi_command(bench, command, request, write);
	} else {
		struct fe_blk_header header = {.type = write ? FE_BLK_OUT : FE_BLK_IN};

		memcpy(command, &header, sizeof(header));
	}
	if (queue->ring->packed)
		lay_out_packed(bench, queue, request, segments, count);
	else
		lay_out_split(bench, queue, request, segments, count);
}

static int create_queue(struct bench *bench, uint32_t index)
{
	const struct bench_options *options = &bench->options;
	struct bench_queue *queue = &bench->queue[index];
	struct fe_memory *memory = &bench->fe->memory;
	bool write = options->mode == MODE_RANDWRITE || options->mode == MODE_WRITE;
	uint32_t i;

	queue->ring = bench->fe->ring[index + (is_scsi(bench) ? FE_SCSI_RING_REQUEST : 0)];
	queue->depth = options->depth;
	queue->batch = options->batch;
	queue->mask = (uint16_t)(queue->ring->size - 1);
	queue->shift = options->indirect ? 0 : 2;
	queue->chain_slots = options->indirect ? 1 : 3;
	queue->command_stride = is_scsi(bench) ? SCSI_STRIDE : BLK_STRIDE;
	queue->data_stride = data_stride(options);
	queue->random = (options->seed + index + 1) * 0x9e3779b97f4a7c15 | 1;
	queue->next_block = bench->blocks / options->queues * index;
	queue->commands = fe_memory_alloc(memory, (size_t)queue->depth * queue->command_stride, 64);
	queue->data = fe_memory_alloc(memory, queue->depth * queue->data_stride, 4096);
	queue->tables = fe_memory_alloc(memory, queue->depth * 64ull, 64);
	queue->stamp = calloc(queue->depth, sizeof(*queue->stamp));
	queue->writes = calloc(queue->depth, sizeof(*queue->writes));
	queue->block = calloc(queue->depth, sizeof(*queue->block));
	queue->packed_chain = calloc(queue->depth, sizeof(*queue->packed_chain));
	if (!queue->commands || !queue->data || !queue->tables || !queue->stamp || !queue->writes ||
		!queue->block || !queue->packed_chain)
		return fail(bench, -ENOMEM, "no memory for %u requests", queue->depth);
	for (i = 0; i < queue->depth; i++)
		bench_lay_out(bench, queue, i, write);
	/* The setup's own commands may have gone through this ring. */
	queue->avail_idx = queue->kicked_idx = queue->ring->avail_idx;
	queue->used_idx = queue->ring->used_idx;
	queue->avail_wrap = queue->ring->avail_wrap;
	queue->used_wrap = queue->ring->used_wrap;
	return 0;
}

int bench_open(struct bench *bench)
{
	const struct bench_options *options = &bench->options;
	uint32_t i;
	int rc = connect_target(bench);

	if (!rc)
		rc = find_size(bench);
	for (i = 0; i < options->queues && !rc; i++)
		rc = create_queue(bench, i);
	if (rc)
		return rc;
	bench->random = options->mode != MODE_READ && options->mode != MODE_WRITE;
	bench->mix = options->mode == MODE_MIX;
	bench->read_threshold = (uint32_t)(options->read_share * UINT64_C(0xffffffff) / 100);
	return options->verify ? verify_create(bench) : 0;
}

void bench_close(struct bench *bench)
{
	uint32_t i;

	for (i = 0; i < bench->options.queues; i++) {
		free(bench->queue[i].stamp);
		free(bench->queue[i].writes);
		free(bench->queue[i].block);
		free(bench->queue[i].packed_chain);
	}
	verify_destroy(bench);
	if (bench->fe)
		fe_close(bench->fe);
}
