/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * UNMAP: SBC-3 5.32.
 *
 * The parameter list is read once into our own memory and checked whole; then the ranges are
 * unmapped one after the other. Limits as VPD page B0h tells them. A list that ends before its
 * descriptors do is a PARAMETER LIST LENGTH ERROR, also for the header; a last incomplete
 * descriptor is ignored as the standard asks.
 */
#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/range.h"
#include "scsi/sense.h"
#include "scsi/steps.h"

#define HEADER_BYTES     8
#define DESCRIPTOR_BYTES 16
#define LIST_BYTES_MAX   (HEADER_BYTES + SCSI_UNMAP_DESCRIPTORS_MAX * DESCRIPTOR_BYTES)

static struct scsi_range unmap_descriptor(const struct scsi_task *task, unsigned index)
{
	const uint8_t *at =
		(const uint8_t *)task->buffer + HEADER_BYTES + (size_t)index * DESCRIPTOR_BYTES;

	return (struct scsi_range){be64_get(at), be32_get(at + 8)};
}

static enum scsi_run unmap_next(struct scsi_task *task)
{
	unsigned shift = task->channel->block_shift;

	while (task->index < task->count) {
		struct scsi_range range = unmap_descriptor(task, task->index++);

		if (range.blocks)
			return scsi_task_io(task, BDEV_IO_UNMAP, range.lba << shift,
				range.blocks << shift, 0, unmap_next);
	}
	return scsi_task_good(task);
}

static enum scsi_run unmap_check_descriptors(struct scsi_task *task)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < task->count; i++) {
		struct scsi_range range = unmap_descriptor(task, i);

		/* No blocks may begin where the disk ends. */
		if ((range.blocks || range.lba != scsi_lun_blocks(task->channel)) &&
			scsi_range_check(task, &range) == SCSI_ENDED)
			return SCSI_ENDED;
		total += range.blocks;
		if (total > SCSI_UNMAP_BLOCKS_MAX)
			return scsi_task_check_parameters(
				task, HEADER_BYTES + i * DESCRIPTOR_BYTES + 8, -1);
	}
	return SCSI_GOES_ON;
}

/* With the buffer, before anything has been done. */
static enum scsi_run unmap_check(struct scsi_task *task)
{
	uint32_t list_len = be16_get(task->cdb + 7);
	uint32_t data_len, descriptors_len;
	uint8_t *list = task->buffer;

	scsi_iov_read(task->out, task->out_iovs, 0, list,
		list_len < LIST_BYTES_MAX ? list_len : LIST_BYTES_MAX);
	data_len = be16_get(list) + 2u;
	descriptors_len = be16_get(list + 2);
	if (data_len > list_len || descriptors_len > list_len - HEADER_BYTES)
		return scsi_task_check(
			task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	if (descriptors_len / DESCRIPTOR_BYTES > SCSI_UNMAP_DESCRIPTORS_MAX)
		return scsi_task_check_parameters(task, 2, -1);
	task->index = 0;
	task->count = (uint16_t)(descriptors_len / DESCRIPTOR_BYTES);
	task->moved = list_len;
	if (unmap_check_descriptors(task) == SCSI_ENDED)
		return SCSI_ENDED;
	return unmap_next(task);
}

enum scsi_run scsi_run_unmap(struct scsi_task *task)
{
	uint32_t list_len = be16_get(task->cdb + 7);

	if (task->cdb[1] & 0x01) /* ANCHOR: there are no anchored blocks here */
		return scsi_task_check_cdb(task, 1, 0);
	if (list_len == 0)
		return SCSI_ENDED;
	if (list_len < HEADER_BYTES)
		return scsi_task_check(
			task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	if (task->out_bytes < list_len)
		return scsi_task_overrun(task);
	return scsi_task_get_buffer(task, SLAB_4K, unmap_check);
}
