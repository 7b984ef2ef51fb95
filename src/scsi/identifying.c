/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * REPORT IDENTIFYING INFORMATION, SET IDENTIFYING INFORMATION: SPC-4 6.32, 6.44. What a machine's
 * owner writes on the label of a disk: some bytes, and a text in UTF-8. It is in the store
 * (store.h), under "identifying", in hexadecimal digits, and stable before the status goes out;
 * where there is no store there are no such commands. The control reactor has it.
 */
#include <stdio.h>
#include <string.h>

#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/range.h"
#include "scsi/sense.h"
#include "scsi/steps.h"
#include "scsi/store.h"

#define STORE_KEY        "identifying"
#define HEADER_BYTES     4
#define INFORMATION_MAX  512
#define BUFFER_CLASS     SLAB_4K
#define TYPE_DESCRIPTION 0x7f

static const struct information {
	uint8_t type;
	bool text; /* ends with a zero */
	uint16_t bytes_max;
	const char *name; /* in the store */
} informations[] = {
	{0x00, false, INFORMATION_MAX, "information"},
	{0x02, true, 256, "text"},
};

static const struct information *information_of(const struct scsi_task *task)
{
	for (unsigned i = 0; i < ARRAY_SIZE(informations); i++) {
		if (informations[i].type == task->cdb[10] >> 1)
			return &informations[i];
	}
	return NULL;
}

static const json_t *stored(const struct scsi_lun *lun)
{
	return scsi_store_get(lun->store, lun->serial, STORE_KEY);
}

/* ---- REPORT ---------------------------------------------------------------------------------- */

/* What is no pair of digits ends it. */
static unsigned digits_decode(const char *digits, uint8_t *bytes, unsigned bytes_max)
{
	unsigned len = 0, byte;
	int used;

	while (len < bytes_max && sscanf(digits + 2 * len, "%2x%n", &byte, &used) == 1 && used == 2)
		bytes[len++] = (uint8_t)byte;
	return len;
}

/* On the control reactor. */
static const char *digits_stored(const struct scsi_task *task)
{
	const json_t *all = stored(task->channel->attachment->lun);
	const char *digits = json_string_value(json_object_get(all, information_of(task)->name));

	return digits ? digits : "";
}

/* On the control reactor. */
static void information_find(struct scsi_task *task)
{
	task->left =
		digits_decode(digits_stored(task), task->buffer, information_of(task)->bytes_max);
}

static enum scsi_run information_tell(struct scsi_task *task)
{
	uint8_t header[HEADER_BYTES] = {0};
	struct scsi_reply reply;

	be16_put(header + 2, (uint16_t)task->left);
	scsi_reply_begin(&reply, task, be32_get(task->cdb + 6));
	scsi_reply_put(&reply, header, sizeof(header));
	scsi_reply_put(&reply, task->buffer, task->left);
	return scsi_reply_end(&reply);
}

static enum scsi_run information_ask(struct scsi_task *task)
{
	return scsi_task_on_control(task, information_find, information_tell);
}

/* Which types there are, and the longest of each. */
static enum scsi_run describe_types(struct scsi_task *task)
{
	uint8_t data[HEADER_BYTES + 4 * ARRAY_SIZE(informations)] = {0};

	be16_put(data + 2, sizeof(data) - HEADER_BYTES);
	for (unsigned i = 0; i < ARRAY_SIZE(informations); i++) {
		data[HEADER_BYTES + 4 * i] = (uint8_t)(informations[i].type << 1);
		be16_put(data + HEADER_BYTES + 4 * i + 2, informations[i].bytes_max);
	}
	return scsi_reply(task, be32_get(task->cdb + 6), data, sizeof(data));
}

enum scsi_run scsi_run_report_identifying(struct scsi_task *task)
{
	if (task->cdb[10] >> 1 == TYPE_DESCRIPTION)
		return describe_types(task);
	if (!information_of(task))
		return scsi_task_check_cdb(task, 10, 7);
	return scsi_task_get_buffer(task, BUFFER_CLASS, information_ask);
}

/* ---- SET ------------------------------------------------------------------------------------- */

static void information_stored(void *arg, int rc)
{
	struct scsi_task *task = arg;

	task->index = rc != 0;
	scsi_task_leave_control(task);
}

/* On the control reactor. */
static void information_set(struct scsi_task *task)
{
	const struct information *information = information_of(task);
	struct scsi_attachment *attachment = task->channel->attachment;
	struct scsi_lun *lun = attachment->lun;
	json_t *all = json_deep_copy(stored(lun));
	char digits[2 * INFORMATION_MAX + 1] = "";

	for (unsigned i = 0; i < task->left; i++)
		snprintf(digits + 2 * i, 3, "%02x", ((const uint8_t *)task->buffer)[i]);
	if (strcmp(digits, digits_stored(task)) != 0)
		scsi_lun_raise_others(lun, attachment, SCSI_UA_IDENTIFIER_CHANGED);
	if (!all)
		all = json_object();
	if (task->left)
		json_object_set_new(all, information->name, json_string(digits));
	else
		json_object_del(all, information->name);
	if (json_object_size(all) == 0) {
		json_decref(all);
		all = NULL;
	}
	scsi_store_set(lun->store, lun->serial, STORE_KEY, all, information_stored, task);
}

static enum scsi_run information_kept(struct scsi_task *task)
{
	if (task->index)
		return scsi_task_check(
			task, SCSI_KEY_HARDWARE_ERROR, SCSI_ASC_INTERNAL_TARGET_FAILURE);
	return scsi_task_good(task);
}

static enum scsi_run information_take(struct scsi_task *task)
{
	const uint8_t *bytes = task->buffer;

	scsi_iov_read(task->out, task->out_iovs, 0, task->buffer, task->left);
	if (information_of(task)->text && task->left && bytes[task->left - 1] != 0)
		return scsi_task_check_parameters(task, (unsigned)task->left - 1, -1);
	task->moved = task->left;
	return scsi_task_keep_on_control(task, information_set, information_kept);
}

/* Without bytes there is none from now on. */
enum scsi_run scsi_run_set_identifying(struct scsi_task *task)
{
	const struct information *information = information_of(task);

	task->left = be32_get(task->cdb + 6);
	if (!information)
		return scsi_task_check_cdb(task, 10, 7);
	if (task->left > information->bytes_max)
		return scsi_task_check_cdb(task, 6, -1);
	if (task->out_bytes < task->left)
		return scsi_task_overrun(task);
	return scsi_task_get_buffer(task, BUFFER_CLASS, information_take);
}
