/* SPDX-License-Identifier: BSD-2-Clause */
#include "model.h"

#include <stdlib.h>
#include <string.h>

#define MODEL_IOVS 24

void model_init(struct model *model, struct world *world, struct bdev_channel *channel,
	uint64_t base, uint64_t size, uint64_t seed)
{
	*model = (struct model){
		.world = world,
		.channel = channel,
		.base = base,
		.size = size,
		.block_size = channel->bdev->block_size,
		.random = seed * 7919 + base,
		.longest = 384 * KIB,
		.expected = calloc(1, size),
	};
	assert_non_null(model->expected);
}

void model_fini(struct model *model)
{
	free(model->expected);
}

uint64_t model_draw(struct model *model, uint64_t below)
{
	model->random = model->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (model->random >> 33) % below;
}

/* Buffers of a request, with room around each, in one piece of memory. */
struct buffers {
	uint8_t *memory;
	struct iovec iov[MODEL_IOVS];
	unsigned iovcnt;
};

static void buffers_cut(struct model *model, struct buffers *buffers, uint64_t length)
{
	uint64_t unit = model->aligned ? 512 : 1;
	uint8_t *at;

	buffers->iovcnt = 0;
	buffers->memory = aligned_alloc(4096, align_up(length + MODEL_IOVS * 4096, 4096));
	assert_non_null(buffers->memory);
	at = buffers->memory;
	while (length > 0) {
		bool last = buffers->iovcnt == MODEL_IOVS - 1;
		uint64_t part = last ? length : (1 + model_draw(model, length / unit)) * unit;

		if (model_draw(model, 3) == 0) /* runs of whole blocks are common */
			part = u64_min(length, align_up(part, 4096));
		part = u64_min(part, length);
		at += model_draw(model, 1024 / unit) * unit;
		if (model_draw(model, 3) == 0)
			at = (uint8_t *)align_up((uintptr_t)at, 512);
		buffers->iov[buffers->iovcnt++] = (struct iovec){.iov_base = at, .iov_len = part};
		at += part;
		length -= part;
	}
}

static void buffers_copy(const struct buffers *buffers, uint8_t *flat, bool to_flat)
{
	for (unsigned i = 0; i < buffers->iovcnt; i++) {
		const struct iovec *iov = &buffers->iov[i];

		if (to_flat)
			memcpy(flat, iov->iov_base, iov->iov_len);
		else
			memcpy(iov->iov_base, flat, iov->iov_len);
		flat += iov->iov_len;
	}
}

static void model_write(struct model *model, uint64_t offset, uint64_t length, uint8_t flags)
{
	uint8_t *expected = model->expected + offset;
	uint64_t stamp = model_draw(model, UINT64_C(1) << 30);
	struct buffers buffers;
	int rc;

	for (uint64_t i = 0; i < length; i++)
		expected[i] = (uint8_t)(stamp * (i / 64 + 1) >> i % 8 ^ i);
	buffers_cut(model, &buffers, length);
	buffers_copy(&buffers, expected, false);
	rc = world_io(model->world, model->channel, BDEV_IO_WRITE, flags, buffers.iov,
		buffers.iovcnt, model->base + offset, length);
	assert_int_equal(rc, 0);
	free(buffers.memory);
}

static void model_read(struct model *model, uint64_t offset, uint64_t length)
{
	uint8_t *found = malloc(length);
	struct buffers buffers;
	int rc;

	assert_non_null(found);
	buffers_cut(model, &buffers, length);
	memset(found, 0xa5, length);
	buffers_copy(&buffers, found, false);
	rc = world_io(model->world, model->channel, BDEV_IO_READ, 0, buffers.iov, buffers.iovcnt,
		model->base + offset, length);
	assert_int_equal(rc, 0);
	buffers_copy(&buffers, found, true);
	assert_memory_equal(found, model->expected + offset, length);
	free(buffers.memory);
	free(found);
}

static void model_clear(struct model *model, enum bdev_io_type type, uint8_t flags, uint64_t offset,
	uint64_t length)
{
	int rc = world_io(
		model->world, model->channel, type, flags, NULL, 0, model->base + offset, length);

	assert_int_equal(rc, 0);
	memset(model->expected + offset, 0, length);
}

static void model_step(struct model *model)
{
	const struct bdev *bdev = model->channel->bdev;
	uint64_t blocks = model->size / model->block_size;
	uint64_t most = u64_min(blocks, model->longest / model->block_size);
	uint64_t length = 1 + model_draw(model, model_draw(model, 4) ? u64_min(most, 16) : most);
	uint64_t offset = model_draw(model, blocks - length + 1) * model->block_size;
	uint8_t flags = model_draw(model, 4) ? 0 : BDEV_IO_FUA;

	length *= model->block_size;
	switch (model_draw(model, 12)) {
	case 0:
		if (bdev_supports(bdev, BDEV_IO_UNMAP) && bdev->unmap_reads_zeroes)
			model_clear(model, BDEV_IO_UNMAP, flags, offset, length);
		break;
	case 1:
		model_clear(model, BDEV_IO_WRITE_ZEROES, flags, offset, length);
		break;
	case 2:
		model_clear(model, BDEV_IO_WRITE_ZEROES, flags | BDEV_IO_NO_UNMAP, offset, length);
		break;
	case 3:
		assert_int_equal(
			world_io(model->world, model->channel, BDEV_IO_FLUSH, 0, NULL, 0, 0, 0), 0);
		break;
	case 4:
	case 5:
	case 6:
	case 7:
		model_read(model, offset, length);
		break;
	default:
		model_write(model, offset, length, flags);
		break;
	}
}

void model_run(struct model *model, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++)
		model_step(model);
}

void model_check(struct model *model)
{
	uint64_t offset = 0;

	while (offset < model->size) {
		uint64_t length = u64_min(model->size - offset, 1 * MIB);

		model_read(model, offset, length);
		offset += length;
	}
}
