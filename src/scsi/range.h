/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The blocks a command is about, and the checks that all such commands have in common.
 */
#ifndef SCSI_RANGE_H
#define SCSI_RANGE_H

#include "base/endian.h"
#include "scsi/command.h"
#include "scsi/sense.h"

struct scsi_range {
	uint64_t lba;
	uint64_t blocks;
};

/* Where 10, 12, 16 and 32-byte commands (but those with a service action) have their address and
 * transfer length. */
static inline struct scsi_range scsi_range_decode(const struct scsi_task *task)
{
	const uint8_t *cdb = task->cdb;

	switch (task->command->cdb_len) {
	case 10:
		return (struct scsi_range){be32_get(cdb + 2), be16_get(cdb + 7)};
	case 12:
		return (struct scsi_range){be32_get(cdb + 2), be32_get(cdb + 6)};
	case 32:
		return (struct scsi_range){be64_get(cdb + 12), be32_get(cdb + 28)};
	default:
		return (struct scsi_range){be64_get(cdb + 2), be32_get(cdb + 10)};
	}
}

static inline unsigned scsi_range_length_byte(const struct scsi_task *task)
{
	switch (task->command->cdb_len) {
	case 6:
		return 4;
	case 10:
		return 7;
	case 12:
		return 6;
	case 32:
		return 28;
	default:
		return 10;
	}
}

/* Where the flags are: protection, DPO, FUA, BYTCHK, UNMAP. */
static inline unsigned scsi_range_flags_byte(const struct scsi_task *task)
{
	return task->command->cdb_len == 32 ? 10 : 1;
}

static inline uint8_t scsi_range_flags(const struct scsi_task *task)
{
	return task->cdb[scsi_range_flags_byte(task)];
}

static inline uint64_t scsi_lun_blocks(const struct scsi_lun_channel *channel)
{
	return bdev_size(channel->bdev) >> channel->block_shift;
}

/* Address and end within the capacity, also for no blocks at all (SBC-3 5.2): SCSI_GOES_ON. */
static inline enum scsi_run scsi_range_check(struct scsi_task *task, const struct scsi_range *range)
{
	uint64_t capacity = scsi_lun_blocks(task->channel);

	if (range->lba >= capacity || range->blocks > capacity - range->lba)
		return scsi_task_check(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	return SCSI_GOES_ON;
}

/* The same, and no more than max_bytes, as VPD page B0h says. */
static inline enum scsi_run scsi_range_check_limit(
	struct scsi_task *task, const struct scsi_range *range, uint64_t max_bytes)
{
	if (scsi_range_check(task, range) == SCSI_ENDED)
		return SCSI_ENDED;
	if (range->blocks > max_bytes >> task->channel->block_shift)
		return scsi_task_check_cdb(task, scsi_range_length_byte(task), -1);
	return SCSI_GOES_ON;
}

/* 0: the block device has no atomic writes. */
static inline uint64_t scsi_atomic_write_bytes_max(const struct scsi_lun_channel *channel)
{
	return u64_min(channel->bdev->atomic_write_bytes, channel->transfer_bytes_max);
}

/* The CDB moves more than the buffer holds: nothing is moved (VIRTIO 5.6.6.1.1). */
static inline enum scsi_run scsi_task_overrun(struct scsi_task *task)
{
	task->response = SCSI_RESPONSE_OVERRUN;
	return SCSI_ENDED;
}

#endif
