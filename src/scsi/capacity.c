/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * READ CAPACITY (10) and (16): SBC-3 5.15, 5.16. The capacity is the block device's of this moment:
 * after a resize the new one is told, whether or not the unit attention has been heard.
 */
#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/range.h"
#include "scsi/sense.h"

static uint64_t last_lba(const struct scsi_lun_channel *channel)
{
	uint64_t blocks = scsi_lun_blocks(channel);

	return blocks ? blocks - 1 : 0;
}

enum scsi_run scsi_run_read_capacity_10(struct scsi_task *task)
{
	bool partial_medium = task->cdb[8] & 0x01;
	uint8_t data[8];

	if (!partial_medium && be32_get(task->cdb + 2))
		return scsi_task_check_cdb(task, 2, -1);
	be32_put(data, (uint32_t)u64_min(last_lba(task->channel), UINT32_MAX));
	be32_put(data + 4, task->channel->bdev->block_size);
	return scsi_reply(task, sizeof(data), data, sizeof(data));
}

enum scsi_run scsi_run_read_capacity_16(struct scsi_task *task)
{
	const struct bdev *bdev = task->channel->bdev;
	bool partial_medium = task->cdb[14] & 0x01;
	uint8_t data[32] = {0};

	if (!partial_medium && be64_get(task->cdb + 2))
		return scsi_task_check_cdb(task, 2, -1);
	be64_put(data, last_lba(task->channel));
	be32_put(data + 8, bdev->block_size);
	if (bdev->physical_block_size > bdev->block_size) {
		uint32_t ratio = bdev->physical_block_size / bdev->block_size;

		data[13] =
			(uint8_t)(31 - __builtin_clz(ratio)); /* logical per physical, exponent */
	}
	if (bdev_supports(bdev, BDEV_IO_UNMAP)) {
		data[14] = 0x80; /* LBPME */
		if (bdev->unmap_reads_zeroes)
			data[14] |= 0x40; /* LBPRZ */
	}
	return scsi_reply(task, be32_get(task->cdb + 10), data, sizeof(data));
}
