/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A queue's requests, written once before the first is sent.
 *
 * Placement. Header and status of a blk request share a cache line, as in Linux' driver. A scsi
 * request has its command in one line and its response in the next two. Descriptors of a direct
 * split chain fill one line (three of CHAIN_SLOTS, the fourth stays unused).
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

static void write_scsi_command(
	const struct bench_guest *guest, uint8_t *command, uint32_t request, bool write)
{
	const struct role_options *options = guest->role->options;
	struct fe_scsi_header header = {.tag = request};
	uint16_t units_be = htobe16((uint16_t)guest->units);

	fe_scsi_lun(header.lun, (uint8_t)options->target, (uint16_t)options->lun);
	header.cdb[0] = write ? 0x2a : 0x28; /* WRITE (10), READ (10) */
	memcpy(header.cdb + 7, &units_be, 2);
	memcpy(command, &header, sizeof(header));
}

/* The segments of a request in their order; how many. */
static uint32_t list_segments(const struct bench_queue *queue, uint32_t request, bool write,
	struct fe_segment segments[3])
{
	const struct fe_memory *memory = &queue->guest->fe->memory;
	bool scsi = queue->guest->fe->options.bus == FE_BUS_SCSI;
	uint64_t command = fe_memory_gpa(memory, queue->commands + request * queue->command_stride);
	uint64_t data = fe_memory_gpa(memory, queue->data + request * queue->data_stride);
	uint32_t len = queue->role->options->block_size;
	struct fe_segment head, body = {data, len, !write}, tail;

	if (scsi) {
		head = (struct fe_segment){command, sizeof(struct fe_scsi_header), false};
		tail = (struct fe_segment){
			command + SCSI_RESPONSE_AT, sizeof(struct fe_scsi_response), true};
	} else {
		head = (struct fe_segment){command, sizeof(struct fe_blk_header), false};
		tail = (struct fe_segment){command + BLK_STATUS_AT, 1, true};
	}
	segments[0] = head;
	/* blk has data-in before its status, scsi behind its response. */
	segments[1] = scsi && !write ? tail : body;
	segments[2] = scsi && !write ? body : tail;
	return 3;
}

static void lay_out_split(struct bench_queue *queue, uint32_t request,
	const struct fe_segment *segments, uint32_t count)
{
	struct fe_ring *ring = queue->ring;
	uint32_t first = request << queue->shift, i;
	struct fe_desc *desc = &ring->desc[first];

	if (queue->role->options->indirect) {
		uint8_t *table = queue->tables + request * 64ull;

		*desc = (struct fe_desc){fe_memory_gpa(&queue->guest->fe->memory, table),
			count * 16, FE_DESC_INDIRECT, 0};
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

static void lay_out_packed(struct bench_queue *queue, uint32_t request,
	const struct fe_segment *segments, uint32_t count)
{
	struct fe_packed_desc *chain = queue->packed_chain[request];
	bool indirect = queue->role->options->indirect;
	uint32_t i;

	if (indirect) {
		uint8_t *table = queue->tables + request * 64ull;

		*chain = (struct fe_packed_desc){fe_memory_gpa(&queue->guest->fe->memory, table),
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

void bench_lay_out(struct bench_queue *queue, uint32_t request, bool write)
{
	uint8_t *command = queue->commands + request * queue->command_stride;
	struct fe_segment segments[3];
	uint32_t count = list_segments(queue, request, write, segments);

	queue->writes[request] = write;
	if (queue->guest->fe->options.bus == FE_BUS_SCSI) {
		write_scsi_command(queue->guest, command, request, write);
	} else {
		struct fe_blk_header header = {.type = write ? FE_BLK_OUT : FE_BLK_IN};

		memcpy(command, &header, sizeof(header));
	}
	if (queue->ring->packed)
		lay_out_packed(queue, request, segments, count);
	else
		lay_out_split(queue, request, segments, count);
}

static int allocate(struct bench_queue *queue)
{
	struct fe_memory *memory = &queue->guest->fe->memory;

	queue->commands = fe_memory_alloc(memory, (size_t)queue->depth * queue->command_stride, 64);
	queue->data = fe_memory_alloc(memory, queue->depth * queue->data_stride, 4096);
	queue->tables = fe_memory_alloc(memory, queue->depth * 64ull, 64);
	queue->stamp = calloc(queue->depth, sizeof(*queue->stamp));
	queue->writes = calloc(queue->depth, sizeof(*queue->writes));
	queue->block = calloc(queue->depth, sizeof(*queue->block));
	queue->spare = calloc(queue->depth, sizeof(*queue->spare));
	queue->packed_chain = calloc(queue->depth, sizeof(*queue->packed_chain));
	return queue->commands && queue->data && queue->tables && queue->stamp && queue->writes &&
			       queue->block && queue->spare && queue->packed_chain
		       ? 0
		       : -ENOMEM;
}

int queue_create(struct bench *bench, struct bench_guest *guest, uint32_t index)
{
	const struct role_options *options = guest->role->options;
	struct bench_queue *queue = &guest->queue[index];
	bool scsi = bench->options.bus == FE_BUS_SCSI;
	bool write = options->mode == MODE_RANDWRITE || options->mode == MODE_WRITE;
	uint64_t number = (uint64_t)(queue - bench->queue);
	uint32_t i;

	queue->role = guest->role;
	queue->guest = guest;
	queue->ring = guest->fe->ring[index + (scsi ? FE_SCSI_RING_REQUEST : 0)];
	queue->depth = options->depth;
	queue->batch = options->batch;
	queue->mask = (uint16_t)(queue->ring->size - 1);
	queue->shift = options->indirect ? 0 : 2;
	queue->chain_slots = options->indirect ? 1 : 3;
	queue->command_stride = scsi ? SCSI_STRIDE : BLK_STRIDE;
	queue->data_stride = (options->block_size + 4095ull) & ~4095ull;
	queue->random = (bench->options.seed + number + 1) * 0x9e3779b97f4a7c15 | 1;
	queue->next_block = guest->blocks / options->queues * index;
	if (allocate(queue))
		return bench_fail(bench, -ENOMEM, "no memory for %u requests", queue->depth);
	for (i = 0; i < queue->depth; i++)
		bench_lay_out(queue, i, write);
	/* The setup's own commands may have gone through this ring. */
	queue->avail_idx = queue->kicked_idx = queue->ring->avail_idx;
	queue->used_idx = queue->ring->used_idx;
	queue->avail_wrap = queue->ring->avail_wrap;
	queue->used_wrap = queue->ring->used_wrap;
	return 0;
}

void queue_destroy(struct bench_queue *queue)
{
	free(queue->stamp);
	free(queue->writes);
	free(queue->block);
	free(queue->spare);
	free(queue->packed_chain);
}
