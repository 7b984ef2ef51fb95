/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * GET LBA STATUS (16) and (32): SBC-3 5.6, SBC-4. The block device is asked extent by extent, and
 * equal neighbours become one descriptor, until the list is full, the device ends, or so many
 * questions were asked: a list may end early, the initiator goes on where it does.
 *
 * A device that does not know its extents is one that is mapped, "or in an unknown state" as the
 * standard calls the same value.
 */
#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/range.h"
#include "scsi/sense.h"
#include "scsi/steps.h"

#define DESCRIPTORS_MAX  250
#define QUESTIONS_MAX    4096
#define HEADER_BYTES     8
#define DESCRIPTOR_BYTES 16
#define BLOCKS_MAX       UINT32_MAX /* of one descriptor */

/* In the task's buffer. The data as they go out, the last descriptor still growing. */
struct lba_status {
	struct bdev_extent extent; /* the answer */
	uint8_t data[HEADER_BYTES + DESCRIPTORS_MAX * DESCRIPTOR_BYTES];
};

_Static_assert(sizeof(struct lba_status) <= 4096, "fits in its slab");

static uint8_t *last_descriptor(const struct scsi_task *task)
{
	struct lba_status *status = task->buffer;

	return status->data + HEADER_BYTES + (task->index - 1) * DESCRIPTOR_BYTES;
}

static uint32_t lba_status_allocation(const struct scsi_task *task)
{
	return be32_get(task->cdb + (task->command->cdb_len == 32 ? 28 : 10));
}

static enum scsi_run lba_status_reply(struct scsi_task *task)
{
	struct lba_status *status = task->buffer;
	uint32_t len = HEADER_BYTES + task->index * DESCRIPTOR_BYTES;

	memset(status->data, 0, HEADER_BYTES);
	be32_put(status->data, len - 4);
	return scsi_reply(task, lba_status_allocation(task), status->data, len);
}

static enum scsi_run lba_status_next(struct scsi_task *task);

/* One more range at task->offset; false when there is no room for it. index: descriptors so far. */
static bool lba_status_add(struct scsi_task *task, const struct bdev_extent *extent)
{
	unsigned shift = task->channel->block_shift;
	uint64_t blocks = extent->length >> shift;
	uint8_t *last;

	if (task->index > 0) {
		last = last_descriptor(task);
		if (last[12] == extent->state && be32_get(last + 8) + blocks <= BLOCKS_MAX) {
			be32_put(last + 8, (uint32_t)(be32_get(last + 8) + blocks));
			return true;
		}
	}
	if (task->index == task->count)
		return false;
	task->index++;
	last = last_descriptor(task);
	memset(last, 0, DESCRIPTOR_BYTES);
	be64_put(last, task->offset >> shift);
	be32_put(last + 8, (uint32_t)blocks);
	last[12] = (uint8_t)extent->state; /* the standard's values */
	return true;
}

static enum scsi_run lba_status_answered(struct scsi_task *task)
{
	const struct lba_status *status = task->buffer;

	if (!lba_status_add(task, &status->extent))
		return lba_status_reply(task);
	task->offset += status->extent.length;
	task->left -= status->extent.length;
	if (task->left == 0 || ++task->moved == QUESTIONS_MAX)
		return lba_status_reply(task);
	return lba_status_next(task);
}

static enum scsi_run lba_status_next(struct scsi_task *task)
{
	struct lba_status *status = task->buffer;
	uint64_t length = u64_min(task->left, (uint64_t)BLOCKS_MAX << task->channel->block_shift);

	if (!bdev_supports(task->channel->bdev, BDEV_IO_EXTENT)) {
		status->extent = (struct bdev_extent){length, BDEV_EXTENT_MAPPED};
		lba_status_add(task, &status->extent);
		return lba_status_reply(task);
	}
	task->io.extent = &status->extent;
	return scsi_task_io(task, BDEV_IO_EXTENT, task->offset, length, 0, lba_status_answered);
}

enum scsi_run scsi_run_get_lba_status(struct scsi_task *task)
{
	bool long_form = task->command->cdb_len == 32;
	unsigned type_byte = long_form ? 10 : 14;
	uint64_t lba = be64_get(task->cdb + (long_form ? 12 : 2));
	uint32_t allocation = lba_status_allocation(task);
	uint64_t capacity = scsi_lun_blocks(task->channel);
	struct scsi_range range = {lba, 0};

	if (task->cdb[type_byte]) /* REPORT TYPE: only all */
		return scsi_task_check_cdb(task, type_byte, -1);
	if (scsi_range_check(task, &range) == SCSI_ENDED)
		return SCSI_ENDED;
	task->offset = lba << task->channel->block_shift;
	task->left = (capacity - lba) << task->channel->block_shift;
	task->moved = 0; /* questions */
	task->index = 0;
	task->count = (uint16_t)u64_min(
		DESCRIPTORS_MAX, allocation < HEADER_BYTES + DESCRIPTOR_BYTES
					 ? 1
					 : (allocation - HEADER_BYTES) / DESCRIPTOR_BYTES);
	return scsi_task_get_buffer(task, SLAB_4K, lba_status_next);
}
