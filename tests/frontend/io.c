/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests as two byte streams that are cut anywhere. Each segment is a buffer of its own in guest
 * memory, so a device that steps over the end of one reaches something else than the next.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/frontend_impl.h"
#include "frontend/io.h"

struct part { /* a piece of ordinary memory; a stream is two of them */
	uint8_t *bytes;
	uint32_t len;
};

/* Lengths of the segments of one stream; the number of them, or -EINVAL. */
static int cut_stream(const struct part parts[2], const uint32_t *cuts, uint32_t cut_count,
	uint32_t *ret_lens, uint32_t room)
{
	uint64_t left = (uint64_t)parts[0].len + parts[1].len;
	uint32_t count = 0, i;

	if (!cuts) {
		for (i = 0; i < 2; i++)
			if (parts[i].len)
				ret_lens[count++] = parts[i].len;
		return (int)count;
	}
	for (i = 0; i < cut_count; i++) {
		if (cuts[i] > left || count == room)
			return -EINVAL;
		ret_lens[count++] = cuts[i];
		left -= cuts[i];
	}
	if (left) {
		if (count == room || left > UINT32_MAX)
			return -EINVAL;
		ret_lens[count++] = (uint32_t)left;
	}
	return (int)count;
}

/* Copies between a stream, from its byte `offset` on, and a buffer. */
static void copy_stream(
	const struct part parts[2], uint32_t offset, uint8_t *buffer, uint32_t len, bool to_buffer)
{
	uint32_t i;

	for (i = 0; i < 2 && len; i++) {
		uint32_t step;

		if (offset >= parts[i].len) {
			offset -= parts[i].len;
			continue;
		}
		step = parts[i].len - offset < len ? parts[i].len - offset : len;
		if (to_buffer)
			memcpy(buffer, parts[i].bytes + offset, step);
		else
			memcpy(parts[i].bytes + offset, buffer, step);
		buffer += step;
		len -= step;
		offset = 0;
	}
}

static void out_parts(const struct fe_io *io, struct part parts[2])
{
	parts[0] = (struct part){(uint8_t *)(uintptr_t)io->head, io->head_len};
	parts[1] = (struct part){(uint8_t *)(uintptr_t)io->out, io->out_len};
}

static void in_parts(const struct fe_io *io, struct part parts[2])
{
	parts[0] = (struct part){io->in_first, io->in_first_len};
	parts[1] = (struct part){io->in_last, io->in_last_len};
}

static void free_segments(struct fe_memory *memory, struct fe_io *io)
{
	uint32_t i;

	for (i = 0; i < io->segment_count; i++)
		fe_memory_free(memory, io->buffers[i]);
	free(io->segments);
	free(io->buffers);
	io->segments = NULL;
	io->buffers = NULL;
	io->segment_count = 0;
}

static int place_segment(struct fe_memory *memory, struct fe_io *io, uint32_t len, bool write)
{
	size_t align = len >= 512 ? 4096 : 16;
	uint8_t *buffer = io->one_region
				  ? fe_memory_alloc_in(memory, io->region, len + io->skew, align)
				  : fe_memory_alloc(memory, len + io->skew, align);
	uint32_t at = io->segment_count;

	if (!buffer)
		return -ENOSPC;
	io->buffers[at] = buffer;
	io->segments[at].gpa = fe_memory_gpa(memory, buffer) + io->skew;
	io->segments[at].len = len;
	io->segments[at].write = write;
	io->segment_count++;
	if (write)
		memset(buffer + io->skew, io->fill, len);
	return 0;
}

static int place_segments(struct fe_memory *memory, struct fe_io *io)
{
	uint32_t lens[FE_IO_MAX_SEGMENTS];
	struct part out[2], in[2];
	uint32_t offset = 0, i, total;
	int outs, ins, rc = 0;

	out_parts(io, out);
	in_parts(io, in);
	outs = cut_stream(out, io->out_cuts, io->out_cut_count, lens, FE_IO_MAX_SEGMENTS);
	if (outs < 0)
		return outs;
	ins = cut_stream(in, io->in_cuts, io->in_cut_count, lens + outs,
		FE_IO_MAX_SEGMENTS - (uint32_t)outs);
	if (ins < 0)
		return ins;
	total = (uint32_t)(outs + ins);
	io->segments = calloc(total ? total : 1, sizeof(*io->segments));
	io->buffers = calloc(total ? total : 1, sizeof(*io->buffers));
	assert(io->segments && io->buffers);
	for (i = 0; i < total && !rc; i++) {
		rc = place_segment(memory, io, lens[i], i >= (uint32_t)outs);
		if (!rc && i < (uint32_t)outs) {
			copy_stream(
				out, offset, (uint8_t *)io->buffers[i] + io->skew, lens[i], true);
			offset += lens[i];
		}
	}
	if (rc)
		free_segments(memory, io);
	return rc;
}

int fe_io_submit(struct fe_ring *ring, struct fe_io *io)
{
	struct fe_chain chain;
	int rc = place_segments(ring->memory, io);

	if (rc)
		return rc;
	io->done = false;
	chain = (struct fe_chain){
		.segments = io->segments,
		.count = io->segment_count,
		.direct = io->direct < io->segment_count ? io->direct : io->segment_count,
		.indirect_write = io->indirect_write,
		.token = io,
	};
	rc = fe_ring_add(ring, &chain, &io->id);
	if (rc)
		free_segments(ring->memory, io);
	return rc;
}

void fe_io_publish(struct fe_ring *ring)
{
	fe_ring_publish(ring);
	fe_ring_kick(ring);
}

/* Brings the writable stream back and counts what changed behind the reported length. */
static void gather(struct fe_io *io)
{
	struct part in[2];
	uint32_t offset = 0, i, j;

	in_parts(io, in);
	io->stray = 0;
	for (i = 0; i < io->segment_count; i++) {
		uint8_t *buffer = (uint8_t *)io->buffers[i] + io->skew;
		uint32_t len = io->segments[i].len;

		if (!io->segments[i].write)
			continue;
		copy_stream(in, offset, buffer, len, false);
		for (j = 0; j < len; j++)
			if (offset + j >= io->used_len && buffer[j] != io->fill)
				io->stray++;
		offset += len;
	}
}

int fe_io_reap(struct fe_ring *ring, struct fe_io **ret_io)
{
	struct fe_completion completion;
	struct fe_io *io;

	do {
		int rc = fe_ring_pop(ring, &completion);

		if (rc != 1)
			return rc;
	} while (!completion.token); /* abandoned */
	io = completion.token;
	io->used_len = completion.len;
	gather(io);
	free_segments(ring->memory, io);
	io->done = true;
	*ret_io = io;
	return 1;
}

int fe_io_wait(struct fe_ring *ring, struct fe_io **ret_io, int timeout_ms)
{
	int64_t deadline_ms = fe_now_ms() + timeout_ms;

	for (;;) {
		int64_t left_ms = deadline_ms - fe_now_ms();
		int rc = fe_ring_wait(ring, left_ms > 0 ? (int)left_ms : 0);

		if (!rc)
			rc = fe_io_reap(ring, ret_io);
		if (rc)
			return rc < 0 ? rc : 0;
	}
}

int fe_io_run(struct fe_ring *ring, struct fe_io *io, int timeout_ms)
{
	int64_t deadline_ms = fe_now_ms() + timeout_ms;
	int rc = fe_io_submit(ring, io);

	if (rc)
		return rc;
	fe_io_publish(ring);
	while (!io->done) {
		int64_t left_ms = deadline_ms - fe_now_ms();
		struct fe_io *other;

		rc = fe_io_wait(ring, &other, left_ms > 0 ? (int)left_ms : 0);
		if (rc) {
			fe_io_abandon(ring, io);
			return rc;
		}
	}
	return 0;
}

void fe_io_drop(struct fe_ring *ring, struct fe_io *io)
{
	free_segments(ring->memory, io);
}

void fe_io_abandon(struct fe_ring *ring, struct fe_io *io)
{
	ring->slots[io->id].token = NULL;
	free(io->segments);
	free(io->buffers);
	io->segments = NULL;
	io->buffers = NULL;
	io->segment_count = 0;
}
