/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * INQUIRY: SPC-4 6.6. Standard data here, vital product data in vpd.c.
 *
 * Vendor, product and revision are constants: guests build names and quirk lists from them, so they
 * may never follow what the disk happens to lie on.
 */
#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/identity.h"
#include "scsi/sense.h"

#define INQUIRY_BYTES 96

/* SPC-4 6.6.2, table 152. */
static const uint16_t version_descriptors[] = {
	0x00a0, /* SAM-5 */
	0x0460, /* SPC-4 */
	0x04c0, /* SBC-3 */
};

static uint8_t peripheral(const struct scsi_task *task)
{
	if (task->well_known)
		return SCSI_PERIPHERAL_WELL_KNOWN;
	return task->channel ? SCSI_PERIPHERAL_DISK : SCSI_PERIPHERAL_ABSENT;
}

static enum scsi_run inquiry_standard(struct scsi_task *task, size_t allocation_length)
{
	uint8_t data[INQUIRY_BYTES] = {0};

	data[0] = peripheral(task);
	if (task->channel && task->channel->attachment->lun->removable)
		data[1] = 0x80; /* RMB */
	data[2] = 0x06; /* SPC-4 */
	data[3] = 0x10 | 0x02; /* HISUP, response data format */
	data[4] = INQUIRY_BYTES - 5;
	if (task->channel)
		data[5] = 0x20 | 0x08; /* TPGS: access states are set by command only; 3PC */
	data[7] = 0x02; /* CMDQUE */
	memcpy(data + 8, SCSI_VENDOR, 8);
	memcpy(data + 16, SCSI_PRODUCT, 16);
	memcpy(data + 32, SCSI_REVISION, 4);
	for (unsigned i = 0; i < ARRAY_SIZE(version_descriptors); i++)
		be16_put(data + 58 + 2 * i, version_descriptors[i]);
	return scsi_reply(task, allocation_length, data, sizeof(data));
}

enum scsi_run scsi_run_inquiry(struct scsi_task *task)
{
	bool vital = task->cdb[1] & 0x01;
	size_t allocation_length = be16_get(task->cdb + 3);

	if (task->cdb[1] & 0x02) /* CMDDT, obsolete */
		return scsi_task_check_cdb(task, 1, 1);
	if (vital)
		return scsi_run_inquiry_vpd(task, task->cdb[2], allocation_length);
	if (task->cdb[2])
		return scsi_task_check_cdb(task, 2, -1);
	return inquiry_standard(task, allocation_length);
}
