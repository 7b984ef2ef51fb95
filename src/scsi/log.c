/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * LOG SENSE, LOG SELECT: SPC-4 6.6, 6.7, 7.3.
 *
 * Pages of a disk that has no sensors and does not wear: a temperature that it cannot tell, and
 * exceptions of which there are none; and where the block device takes its space from a pool, how
 * much of that it has and how much is left (SBC-4 6.4.5), as it is at that moment: the control
 * reactor knows. Nothing is counted, so there are no thresholds, nothing to reset and nothing to
 * save; all four values of PC are the same.
 */
#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/sense.h"
#include "scsi/steps.h"

#define PAGE_BYTES_MAX 64
#define HEADER_BYTES   4
#define ALL_SUBPAGES   0xff

#define PARAMETER_HEADER_BYTES 4
#define PARAMETER_LIST         0x03 /* a binary list, SPC-4 7.3.2.2.2.5 */
#define NOT_SAVED              0x80 /* DS */
#define HAS_SUBPAGE            0x40 /* SPF */

#define NO_TEMPERATURE 0xff

/* Of the provisioning page: SBC-4 table 199. */
#define SCOPE_OF_THIS_UNIT 0x01
#define SCOPE_OF_ALL_UNITS 0x02

struct log_page {
	uint8_t code;
	uint8_t subpage;
	/* Parameters from that code on, after the header; the length. NULL: a list of pages. */
	unsigned (*fill)(const struct scsi_task *task, uint16_t from, uint8_t *data);
	uint16_t last; /* parameter code */
	bool of_pool;
};

static unsigned parameter_put(
	uint8_t *data, uint16_t from, uint16_t code, const uint8_t *value, uint8_t len)
{
	if (code < from)
		return 0;
	be16_put(data, code);
	data[2] = PARAMETER_LIST;
	data[3] = len;
	memcpy(data + PARAMETER_HEADER_BYTES, value, len);
	return PARAMETER_HEADER_BYTES + len;
}

/* The temperature, and one that it should not pass. */
static unsigned fill_temperature(const struct scsi_task *task, uint16_t from, uint8_t *data)
{
	static const uint8_t unknown[2] = {0, NO_TEMPERATURE};
	unsigned len = parameter_put(data, from, 0, unknown, sizeof(unknown));

	return len + parameter_put(data + len, from, 1, unknown, sizeof(unknown));
}

/* Additional sense code and qualifier of the exception, and the temperature. */
static unsigned fill_exceptions(const struct scsi_task *task, uint16_t from, uint8_t *data)
{
	static const uint8_t none[4] = {0, 0, NO_TEMPERATURE, 0};

	return parameter_put(data, from, 0, none, sizeof(none));
}

static unsigned sets_put(uint8_t *data, uint16_t from, uint16_t code, uint64_t bytes, uint8_t scope)
{
	uint8_t value[8] = {[4] = scope};

	be32_put(value, (uint32_t)u64_min(bytes / SCSI_THRESHOLD_SET_BYTES, UINT32_MAX));
	return parameter_put(data, from, code, value, sizeof(value));
}

static unsigned percent_put(uint8_t *data, uint16_t from, uint16_t code, uint64_t percent)
{
	uint8_t value[8] = {[4] = SCOPE_OF_ALL_UNITS};

	be16_put(value, (uint16_t)percent);
	return parameter_put(data, from, code, value, sizeof(value));
}

/* The task has what take_space has found. */
static unsigned fill_provisioning(const struct scsi_task *task, uint16_t from, uint8_t *data)
{
	unsigned len = sets_put(data, from, 1, task->offset, SCOPE_OF_ALL_UNITS);

	len += sets_put(data + len, from, 2, task->left, SCOPE_OF_THIS_UNIT);
	return len + percent_put(data + len, from, 3, task->index);
}

static const struct log_page pages[] = {
	{SCSI_LOG_SUPPORTED_PAGES, 0, NULL, 0, false},
	{SCSI_LOG_SUPPORTED_PAGES, ALL_SUBPAGES, NULL, 0, false},
	{SCSI_LOG_PROVISIONING, 0, fill_provisioning, 3, true},
	{SCSI_LOG_TEMPERATURE, 0, fill_temperature, 1, false},
	{SCSI_LOG_INFORMATIONAL_EXCEPTIONS, 0, fill_exceptions, 0, false},
};

static bool page_exists(const struct log_page *page, const struct scsi_task *task)
{
	return !page->of_pool || task->channel->bdev->ops->space;
}

static unsigned fill_list(const struct scsi_task *task, bool subpages, uint8_t *data)
{
	unsigned len = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		if ((!subpages && pages[i].subpage) || !page_exists(&pages[i], task))
			continue;
		data[len++] = pages[i].code;
		if (subpages)
			data[len++] = pages[i].subpage;
	}
	return len;
}

static const struct log_page *page_find(const struct scsi_task *task, uint8_t code, uint8_t subpage)
{
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		if (pages[i].code == code && pages[i].subpage == subpage &&
			page_exists(&pages[i], task))
			return &pages[i];
	}
	return NULL;
}

static bool code_exists(const struct scsi_task *task, uint8_t code)
{
	return page_find(task, code, 0) != NULL;
}

static enum scsi_run tell_page(struct scsi_task *task)
{
	const uint8_t *cdb = task->cdb;
	uint8_t code = cdb[2] & 0x3f, subpage = cdb[3];
	const struct log_page *page = page_find(task, code, subpage);
	uint8_t data[PAGE_BYTES_MAX] = {0};
	unsigned len = page->fill ? page->fill(task, be16_get(cdb + 5), data + HEADER_BYTES)
				  : fill_list(task, subpage, data + HEADER_BYTES);

	data[0] = code | (page->fill ? NOT_SAVED : 0) | (subpage ? HAS_SUBPAGE : 0);
	data[1] = subpage;
	be16_put(data + 2, (uint16_t)len);
	return scsi_reply(task, be16_get(cdb + 7), data, HEADER_BYTES + len);
}

/* On the control reactor. */
static void take_space(struct scsi_task *task)
{
	const struct bdev *bdev = task->channel->bdev;
	struct bdev_space space = {0};

	bdev->ops->space(bdev, &space);
	task->offset = space.available_bytes;
	task->left = space.used_bytes;
	task->index =
		(uint16_t)(space.available_bytes / KIB * 100 / u64_max(space.total_bytes / KIB, 1));
}

enum scsi_run scsi_run_log_sense(struct scsi_task *task)
{
	const uint8_t *cdb = task->cdb;
	uint8_t code = cdb[2] & 0x3f;
	const struct log_page *page = page_find(task, code, cdb[3]);

	if (cdb[1] & 0x01) /* SP: nothing is saved */
		return scsi_task_check_cdb(task, 1, 0);
	if (cdb[1] & 0x02) /* PPC, obsolete: only what has changed */
		return scsi_task_check_cdb(task, 1, 1);
	if (!page)
		return code_exists(task, code) ? scsi_task_check_cdb(task, 3, -1)
					       : scsi_task_check_cdb(task, 2, 5);
	if (be16_get(cdb + 5) > page->last)
		return scsi_task_check_cdb(task, 5, -1);
	return page->of_pool ? scsi_task_on_control(task, take_space, tell_page) : tell_page(task);
}

/* A list of parameters may say what is: that none of a page is to be changed. */
static enum scsi_run select_list(struct scsi_task *task, uint32_t len)
{
	uint8_t header[HEADER_BYTES];
	const struct log_page *page;

	if (task->out_bytes < len) {
		task->response = SCSI_RESPONSE_OVERRUN;
		return SCSI_ENDED;
	}
	if (len < sizeof(header))
		return scsi_task_check(
			task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	scsi_iov_read(task->out, task->out_iovs, 0, header, sizeof(header));
	page = page_find(task, header[0] & 0x3f, header[0] & HAS_SUBPAGE ? header[1] : 0);
	if (!page || !page->fill)
		return scsi_task_check_parameters(task, 0, 5);
	if (be16_get(header + 2) != len - sizeof(header))
		return scsi_task_check_parameters(task, 2, -1);
	if (len > sizeof(header)) /* the first parameter */
		return scsi_task_check_parameters(task, sizeof(header), -1);
	task->transferred = len;
	return SCSI_ENDED;
}

/* With PCR, and without a list, all parameters are reset: there is none to reset. */
enum scsi_run scsi_run_log_select(struct scsi_task *task)
{
	const uint8_t *cdb = task->cdb;
	uint16_t len = be16_get(cdb + 7);
	uint8_t code = cdb[2] & 0x3f;

	if (cdb[1] & 0x01) /* SP */
		return scsi_task_check_cdb(task, 1, 0);
	if (len && cdb[1] & 0x02) /* PCR */
		return scsi_task_check_cdb(task, 1, 1);
	if (len && (code || cdb[3]))
		return scsi_task_check_cdb(task, code ? 2 : 3, code ? 5 : -1);
	if (len)
		return select_list(task, len);
	if (!code_exists(task, code))
		return scsi_task_check_cdb(task, 2, 5);
	if (!page_find(task, code, cdb[3]))
		return scsi_task_check_cdb(task, 3, -1);
	return SCSI_ENDED;
}
