/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * READ BUFFER (10) and WRITE BUFFER: SPC-4 6.18, 6.50. They test the way of data to the unit and
 * back, and nothing else: there is no microcode to load and no history of errors.
 *
 * A logical unit has one data buffer, number 0, which all initiators share, and each nexus an echo
 * buffer of its own, which nobody else overwrites. Both are made when they are written first. The
 * control reactor has them; data passes through a buffer of the task's. A buffer that was never
 * written is zeroes, and an echo buffer then a COMMAND SEQUENCE ERROR.
 */
#include <stdlib.h>

#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/range.h"
#include "scsi/sense.h"
#include "scsi/steps.h"

#define BUFFER_BYTES SCSI_DATA_BUFFER_BYTES
#define BUFFER_CLASS SLAB_4K /* holds it */

enum buffer_mode {
	MODE_DATA = 0x02,
	MODE_DESCRIPTOR = 0x03,
	MODE_ECHO = 0x0a,
	MODE_ECHO_DESCRIPTOR = 0x0b,
};

static enum buffer_mode task_mode(const struct scsi_task *task)
{
	return task->cdb[1] & 0x1f;
}

static bool is_echo(const struct scsi_task *task)
{
	return task_mode(task) == MODE_ECHO;
}

static uint8_t **buffer_of(const struct scsi_task *task)
{
	struct scsi_attachment *attachment = task->channel->attachment;

	return is_echo(task) ? &attachment->echo_buffer : &attachment->lun->data_buffer;
}

/* ---- READ BUFFER ----------------------------------------------------------------------------- */

/* On the control reactor. Leaves in task->index: there is something to tell. */
static void buffer_copy_out(struct scsi_task *task)
{
	const struct scsi_attachment *attachment = task->channel->attachment;
	const uint8_t *buffer = *buffer_of(task);

	task->index = buffer != NULL;
	if (buffer)
		memcpy(task->buffer, buffer, BUFFER_BYTES);
	else if (!is_echo(task))
		memset(task->buffer, 0, BUFFER_BYTES);
	task->left = is_echo(task) ? attachment->echo_bytes : BUFFER_BYTES;
}

static enum scsi_run buffer_tell(struct scsi_task *task)
{
	const uint8_t *cdb = task->cdb;

	if (is_echo(task) && !task->index)
		return scsi_task_check(
			task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_COMMAND_SEQUENCE_ERROR);
	return scsi_reply(task, be24_get(cdb + 6), (uint8_t *)task->buffer + task->offset,
		task->left - task->offset);
}

static enum scsi_run buffer_ask(struct scsi_task *task)
{
	return scsi_task_on_control(task, buffer_copy_out, buffer_tell);
}

static enum scsi_run read_data(struct scsi_task *task)
{
	task->offset = 0;
	if (!is_echo(task)) {
		if (task->cdb[2] != 0)
			return scsi_task_check_cdb(task, 2, -1);
		task->offset = be24_get(task->cdb + 3);
		if (task->offset > BUFFER_BYTES)
			return scsi_task_check_cdb(task, 3, -1);
	}
	return scsi_task_get_buffer(task, BUFFER_CLASS, buffer_ask);
}

/* Of a buffer that is not there everything is 0. Offsets may be of any byte: 2^0. */
static enum scsi_run read_descriptor(struct scsi_task *task)
{
	uint8_t data[4] = {0};

	if (task->cdb[2] == 0)
		be32_put(data, BUFFER_BYTES); /* of which the highest byte is the boundary */
	return scsi_reply(task, be24_get(task->cdb + 6), data, sizeof(data));
}

static enum scsi_run read_echo_descriptor(struct scsi_task *task)
{
	uint8_t data[4] = {0};

	be16_put(data + 2, BUFFER_BYTES);
	return scsi_reply(task, be24_get(task->cdb + 6), data, sizeof(data));
}

enum scsi_run scsi_run_read_buffer(struct scsi_task *task)
{
	switch (task_mode(task)) {
	case MODE_DATA:
	case MODE_ECHO:
		return read_data(task);
	case MODE_DESCRIPTOR:
		return read_descriptor(task);
	case MODE_ECHO_DESCRIPTOR:
		return read_echo_descriptor(task);
	default:
		return scsi_task_check_cdb(task, 1, 4);
	}
}

/* ---- WRITE BUFFER ---------------------------------------------------------------------------- */

/* On the control reactor. Leaves in task->index: there was no memory. */
static void buffer_copy_in(struct scsi_task *task)
{
	uint8_t **buffer = buffer_of(task);

	if (!*buffer)
		*buffer = calloc(1, BUFFER_BYTES);
	task->index = !*buffer;
	if (!*buffer)
		return;
	memcpy(*buffer + task->offset, task->buffer, task->left);
	if (is_echo(task))
		task->channel->attachment->echo_bytes = (uint32_t)task->left;
}

static enum scsi_run buffer_written(struct scsi_task *task)
{
	if (task->index)
		return scsi_task_check(
			task, SCSI_KEY_HARDWARE_ERROR, SCSI_ASC_INTERNAL_TARGET_FAILURE);
	return scsi_task_good(task);
}

static enum scsi_run buffer_take(struct scsi_task *task)
{
	scsi_iov_read(task->out, task->out_iovs, 0, task->buffer, task->left);
	task->moved = task->left;
	return scsi_task_on_control(task, buffer_copy_in, buffer_written);
}

enum scsi_run scsi_run_write_buffer(struct scsi_task *task)
{
	const uint8_t *cdb = task->cdb;

	if (task_mode(task) != MODE_DATA && !is_echo(task))
		return scsi_task_check_cdb(task, 1, 4);
	task->offset = is_echo(task) ? 0 : be24_get(cdb + 3);
	task->left = be24_get(cdb + 6);
	if (!is_echo(task) && cdb[2] != 0)
		return scsi_task_check_cdb(task, 2, -1);
	if (task->offset > BUFFER_BYTES)
		return scsi_task_check_cdb(task, 3, -1);
	if (task->left > BUFFER_BYTES - task->offset)
		return scsi_task_check_cdb(task, 6, -1);
	if (task->left == 0)
		return SCSI_ENDED;
	if (task->out_bytes < task->left)
		return scsi_task_overrun(task);
	return scsi_task_get_buffer(task, BUFFER_CLASS, buffer_take);
}
