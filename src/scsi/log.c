/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * LOG SENSE, LOG SELECT: SPC-4 6.6, 6.7, 7.3.
 *
 * Pages of a disk that has no sensors and does not wear: a temperature that it cannot tell, and
 * exceptions of which there are none. Nothing is counted, so there are no thresholds, nothing to
 * reset and nothing to save; all four values of PC are the same.
 */
#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/sense.h"

#define PAGE_BYTES_MAX 64
#define HEADER_BYTES   4
#define ALL_SUBPAGES   0xff

#define PARAMETER_HEADER_BYTES 4
#define PARAMETER_LIST         0x03 /* a binary list, SPC-4 7.3.2.2.2.5 */
#define NOT_SAVED              0x80 /* DS */
#define HAS_SUBPAGE            0x40 /* SPF */

#define NO_TEMPERATURE 0xff

struct log_page {
	uint8_t code;
	uint8_t subpage;
	/* Parameters from that code on, after the header; the length. NULL: a list of pages. */
	unsigned (*fill)(uint16_t from, uint8_t *data);
	uint16_t last; /* parameter code */
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
static unsigned fill_temperature(uint16_t from, uint8_t *data)
{
	static const uint8_t unknown[2] = {0, NO_TEMPERATURE};
	unsigned len = parameter_put(data, from, 0, unknown, sizeof(unknown));

	return len + parameter_put(data + len, from, 1, unknown, sizeof(unknown));
}

/* Additional sense code and qualifier of the exception, and the temperature. */
static unsigned fill_exceptions(uint16_t from, uint8_t *data)
{
	static const uint8_t none[4] = {0, 0, NO_TEMPERATURE, 0};

	return parameter_put(data, from, 0, none, sizeof(none));
}

static const struct log_page pages[] = {
	{SCSI_LOG_SUPPORTED_PAGES, 0, NULL, 0},
	{SCSI_LOG_SUPPORTED_PAGES, ALL_SUBPAGES, NULL, 0},
	{SCSI_LOG_TEMPERATURE, 0, fill_temperature, 1},
	{SCSI_LOG_INFORMATIONAL_EXCEPTIONS, 0, fill_exceptions, 0},
};

static unsigned fill_list(bool subpages, uint8_t *data)
{
	unsigned len = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		if (!subpages && pages[i].subpage)
			continue;
		data[len++] = pages[i].code;
		if (subpages)
			data[len++] = pages[i].subpage;
	}
	return len;
}

static const struct log_page *page_find(uint8_t code, uint8_t subpage)
{
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		if (pages[i].code == code && pages[i].subpage == subpage)
			return &pages[i];
	}
	return NULL;
}

static bool code_exists(uint8_t code)
{
	return page_find(code, 0) != NULL;
}

enum scsi_run scsi_run_log_sense(struct scsi_task *task)
{
	const uint8_t *cdb = task->cdb;
	uint8_t code = cdb[2] & 0x3f, subpage = cdb[3];
	uint16_t from = be16_get(cdb + 5);
	const struct log_page *page = page_find(code, subpage);
	uint8_t data[PAGE_BYTES_MAX] = {0};
	unsigned len;

	if (cdb[1] & 0x01) /* SP: nothing is saved */
		return scsi_task_check_cdb(task, 1, 0);
	if (cdb[1] & 0x02) /* PPC, obsolete: only what has changed */
		return scsi_task_check_cdb(task, 1, 1);
	if (!page)
		return code_exists(code) ? scsi_task_check_cdb(task, 3, -1)
					 : scsi_task_check_cdb(task, 2, 5);
	if (from > page->last)
		return scsi_task_check_cdb(task, 5, -1);

	len = page->fill ? page->fill(from, data + HEADER_BYTES)
			 : fill_list(subpage, data + HEADER_BYTES);
	data[0] = code | (page->fill ? NOT_SAVED : 0) | (subpage ? HAS_SUBPAGE : 0);
	data[1] = subpage;
	be16_put(data + 2, (uint16_t)len);
	return scsi_reply(task, be16_get(cdb + 7), data, HEADER_BYTES + len);
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
	page = page_find(header[0] & 0x3f, header[0] & HAS_SUBPAGE ? header[1] : 0);
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
	if (!code_exists(code))
		return scsi_task_check_cdb(task, 2, 5);
	if (!page_find(code, cdb[3]))
		return scsi_task_check_cdb(task, 3, -1);
	return SCSI_ENDED;
}
