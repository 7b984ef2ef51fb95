/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MODE SENSE (6) and (10): SPC-4 6.14, 6.15; block descriptors: SBC-3 6.4.2.
 */
#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/mode_pages.h"
#include "scsi/range.h"
#include "scsi/sense.h"

#define ALL_SUBPAGES 0xff

struct mode_data {
	unsigned len;
	uint8_t bytes[256];
};

static void put_block_descriptor(
	struct mode_data *data, const struct scsi_lun_channel *channel, bool long_lba)
{
	uint8_t *at = data->bytes + data->len;
	uint64_t blocks = scsi_lun_blocks(channel);

	if (long_lba) {
		be64_put(at, blocks);
		be32_put(at + 12, channel->bdev->block_size);
		data->len += 16;
	} else {
		be32_put(at, (uint32_t)u64_min(blocks, UINT32_MAX));
		be32_put(at + 4, channel->bdev->block_size); /* the upper byte is reserved */
		data->len += 8;
	}
}

static bool page_wanted(const struct mode_page *page, uint8_t code, uint8_t subpage)
{
	if (code != SCSI_MODE_ALL && page->code != code)
		return false;
	return page->subpage == subpage || subpage == ALL_SUBPAGES;
}

static unsigned put_pages(struct mode_data *data, const struct scsi_task *task,
	enum mode_values values, uint8_t code, uint8_t subpage)
{
	uint8_t page[MODE_PAGE_BYTES_MAX];
	unsigned count = 0;

	for (unsigned i = 0; i < mode_page_count; i++) {
		if (!page_wanted(&mode_pages[i], code, subpage))
			continue;
		mode_page_build(&mode_pages[i], task->channel, values, page);
		invariant(data->len + mode_pages[i].len <= sizeof(data->bytes));
		memcpy(data->bytes + data->len, page, mode_pages[i].len);
		data->len += mode_pages[i].len;
		count++;
	}
	return count;
}

enum scsi_run scsi_run_mode_sense(struct scsi_task *task)
{
	const uint8_t *cdb = task->cdb;
	bool ten = cdb[0] == SCSI_MODE_SENSE_10;
	bool no_descriptors = cdb[1] & 0x08;
	bool long_lba = ten && cdb[1] & 0x10;
	uint8_t code = cdb[2] & 0x3f, subpage = cdb[3];
	unsigned values = cdb[2] >> 6;
	struct mode_data data = {.len = ten ? 8 : 4};
	unsigned descriptors;

	if (values == MODE_SAVED && !task->channel->attachment->lun->store)
		return scsi_task_check(
			task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_SAVING_NOT_SUPPORTED);
	if (code == SCSI_MODE_ALL && subpage != 0 && subpage != ALL_SUBPAGES)
		return scsi_task_check_cdb(task, 3, -1);
	if (!no_descriptors)
		put_block_descriptor(&data, task->channel, long_lba);
	descriptors = data.len - (ten ? 8 : 4);
	if (put_pages(&data, task, values, code, subpage) == 0)
		return scsi_task_check_cdb(task, 2, 5);

	if (ten) {
		be16_put(data.bytes, (uint16_t)(data.len - 2));
		data.bytes[3] = mode_device_specific(task->channel);
		data.bytes[4] = long_lba && descriptors ? 0x01 : 0x00;
		be16_put(data.bytes + 6, (uint16_t)descriptors);
		return scsi_reply(task, be16_get(cdb + 7), data.bytes, data.len);
	}
	data.bytes[0] = (uint8_t)(data.len - 1);
	data.bytes[2] = mode_device_specific(task->channel);
	data.bytes[3] = (uint8_t)descriptors;
	return scsi_reply(task, cdb[4], data.bytes, data.len);
}
