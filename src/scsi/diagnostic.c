/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SEND DIAGNOSTIC and RECEIVE DIAGNOSTIC RESULTS: SPC-4 6.43, 6.28; READ DEFECT DATA (10), (12):
 * SBC-3 5.17, 5.18.
 *
 * The default self-test reads the first block: that much can be said of a disk that somebody else
 * keeps. There are no background and no extended tests, and one diagnostic page: the list of pages.
 *
 * A block device has no list of defects: both lists are there and empty, in every format that could
 * name a block.
 */
#include "base/endian.h"
#include "scsi/bounce.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/range.h"
#include "scsi/sense.h"
#include "scsi/steps.h"

#define PAGE_SUPPORTED_PAGES 0x00

/* ---- SEND DIAGNOSTIC --------------------------------------------------------------------- */

static enum scsi_run self_test_ended(struct scsi_task *task)
{
	task->moved = 0;
	return scsi_task_good(task);
}

static const struct scsi_loop self_test_loop = {
	.type = BDEV_IO_READ,
	.ended = self_test_ended,
};

static enum scsi_run self_test(struct scsi_task *task)
{
	if (scsi_lun_blocks(task->channel) == 0)
		return SCSI_ENDED;
	task->offset = 0;
	task->left = task->channel->bdev->block_size;
	task->loop_flags = 0;
	return scsi_loop_start(task, &self_test_loop);
}

/* A page that asks for a page in return: there is only one, which RECEIVE DIAGNOSTIC RESULTS sends
 * in any case. */
static enum scsi_run diagnostic_page(struct scsi_task *task, uint32_t list_len)
{
	uint8_t page[4] = {0};

	if (task->out_bytes < list_len)
		return scsi_task_overrun(task);
	if (list_len < sizeof(page))
		return scsi_task_check(
			task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	scsi_iov_read(task->out, task->out_iovs, 0, page, sizeof(page));
	if (page[0] != PAGE_SUPPORTED_PAGES)
		return scsi_task_check_parameters(task, 0, -1);
	if (be16_get(page + 2) != 0)
		return scsi_task_check_parameters(task, 2, -1);
	task->moved = list_len;
	return scsi_task_good(task);
}

enum scsi_run scsi_run_send_diagnostic(struct scsi_task *task)
{
	bool default_self_test = task->cdb[1] & 0x04;
	bool page_format = task->cdb[1] & 0x10;
	uint32_t list_len = be16_get(task->cdb + 3);

	if (task->cdb[1] & 0xe0) /* SELF-TEST CODE */
		return scsi_task_check_cdb(task, 1, 7);
	if (default_self_test)
		return list_len ? scsi_task_check_cdb(task, 3, -1) : self_test(task);
	if (list_len == 0)
		return SCSI_ENDED;
	if (!page_format)
		return scsi_task_check_cdb(task, 1, 4);
	return diagnostic_page(task, list_len);
}

enum scsi_run scsi_run_receive_diagnostic(struct scsi_task *task)
{
	bool code_valid = task->cdb[1] & 0x01;
	static const uint8_t page[] = {PAGE_SUPPORTED_PAGES, 0, 0, 1, PAGE_SUPPORTED_PAGES};

	if (code_valid && task->cdb[2] != PAGE_SUPPORTED_PAGES)
		return scsi_task_check_cdb(task, 2, -1);
	return scsi_reply(task, be16_get(task->cdb + 3), page, sizeof(page));
}

/* ---- READ DEFECT DATA -------------------------------------------------------------------- */

static bool defect_format_exists(uint8_t format)
{
	return format == 0 || (format >= 3 && format <= 5);
}

enum scsi_run scsi_run_read_defect_data(struct scsi_task *task)
{
	bool long_form = task->cdb[0] == SCSI_READ_DEFECT_DATA_12;
	unsigned byte = long_form ? 1 : 2;
	uint8_t lists_and_format = task->cdb[byte] & 0x1f; /* REQ_PLIST, REQ_GLIST, format */
	uint8_t data[8] = {0, lists_and_format};

	if (!defect_format_exists(lists_and_format & 0x07))
		return scsi_task_check_cdb(task, byte, 2);
	if (long_form)
		return scsi_reply(task, be32_get(task->cdb + 6), data, 8);
	return scsi_reply(task, be16_get(task->cdb + 7), data, 4);
}
