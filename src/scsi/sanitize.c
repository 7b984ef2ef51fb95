/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SANITIZE: SBC-3 5.24, and FORMAT UNIT: SBC-3 5.3. What they say is checked here, and done in
 * wipe.c.
 *
 * SANITIZE: OVERWRITE, BLOCK ERASE and EXIT FAILURE MODE. There is no key to throw away, so no
 * CRYPTOGRAPHIC ERASE. After any of them all blocks can be read (WABEREQ 01b in VPD page B1h).
 *
 * FORMAT UNIT has neither lists of defects, nor protection information, nor an initialization
 * pattern of the initiator's: afterwards every block reads zeroes and takes no space, as far as the
 * block device can.
 */
#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/range.h"
#include "scsi/sense.h"
#include "scsi/steps.h"
#include "scsi/wipe.h"

#define FLAG_IMMED 0x80
#define FLAG_AUSE  0x20

#define OVERWRITE_HEADER_BYTES 4

static void sanitize_options(const struct scsi_task *task, struct scsi_wipe_options *options)
{
	options->unrestricted_exit = task->cdb[1] & FLAG_AUSE;
	options->immediate = task->cdb[1] & FLAG_IMMED;
}

/* ---- OVERWRITE --------------------------------------------------------------------------- */

/* Header and pattern are at the start of the buffer: the pattern is made one block long. */
static void pattern_fill(uint8_t *list, uint32_t pattern_len, uint32_t block)
{
	uint8_t *pattern = list + OVERWRITE_HEADER_BYTES;

	for (uint32_t at = pattern_len; at < block; at++)
		pattern[at] = pattern[at - pattern_len];
}

static void overwrite_start(struct scsi_task *task)
{
	const uint8_t *list = task->buffer;
	struct scsi_wipe_options options = {
		.kind = SCSI_WIPE_OVERWRITE,
		.passes = list[0] & 0x1f,
		.invert = list[0] & 0x80,
		.pattern = list + OVERWRITE_HEADER_BYTES,
	};

	sanitize_options(task, &options);
	scsi_wipe_start(task, &options);
}

static enum scsi_run overwrite_check_list(struct scsi_task *task)
{
	uint32_t list_len = be16_get(task->cdb + 7);
	uint32_t block = task->channel->bdev->block_size;
	uint8_t *list = task->buffer;
	uint32_t pattern_len;

	scsi_iov_read(task->out, task->out_iovs, 0, list, list_len);
	pattern_len = be16_get(list + 2);
	if (list[0] & 0x60) /* TEST */
		return scsi_task_check_parameters(task, 0, 6);
	if ((list[0] & 0x1f) == 0) /* OVERWRITE COUNT */
		return scsi_task_check_parameters(task, 0, 4);
	if (pattern_len == 0 || pattern_len > block)
		return scsi_task_check_parameters(task, 2, -1);
	if (pattern_len + OVERWRITE_HEADER_BYTES > list_len)
		return scsi_task_check(
			task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	pattern_fill(list, pattern_len, block);
	task->transferred = list_len;
	return scsi_task_keep_on_control(task, overwrite_start, scsi_wipe_answered);
}

static enum scsi_run sanitize_overwrite(struct scsi_task *task)
{
	uint32_t list_len = be16_get(task->cdb + 7);
	uint32_t most = task->channel->bdev->block_size + OVERWRITE_HEADER_BYTES;

	if (list_len <= OVERWRITE_HEADER_BYTES || list_len > most)
		return scsi_task_check_cdb(task, 7, -1);
	if (task->out_bytes < list_len)
		return scsi_task_overrun(task);
	return scsi_task_get_buffer(task, most <= slab_object_size(SLAB_32K) ? SLAB_32K : SLAB_1M,
		overwrite_check_list);
}

/* ---- BLOCK ERASE, EXIT FAILURE MODE ------------------------------------------------------ */

static void erase_start(struct scsi_task *task)
{
	struct scsi_wipe_options options = {.kind = SCSI_WIPE_ERASE, .passes = 1};

	sanitize_options(task, &options);
	scsi_wipe_start(task, &options);
}

static void exit_failure_mode(struct scsi_task *task)
{
	task->compare = scsi_wipe_exit_failure(task->channel->attachment->lun) != 0;
}

static enum scsi_run exit_failure_mode_ended(struct scsi_task *task)
{
	return task->compare ? scsi_task_check_cdb(task, 1, 4) : SCSI_ENDED;
}

enum scsi_run scsi_run_sanitize(struct scsi_task *task)
{
	uint8_t action = task->cdb[1] & 0x1f;

	if (action == SCSI_SA_SANITIZE_OVERWRITE)
		return sanitize_overwrite(task);
	if (be16_get(task->cdb + 7) != 0)
		return scsi_task_check_cdb(task, 7, -1);
	if (action == SCSI_SA_SANITIZE_EXIT_FAILURE_MODE)
		return scsi_task_on_control(task, exit_failure_mode, exit_failure_mode_ended);
	return scsi_task_keep_on_control(task, erase_start, scsi_wipe_answered);
}

/* ---- FORMAT UNIT ------------------------------------------------------------------------- */

#define FORMAT_LONG_LIST 0x20
#define FORMAT_DATA      0x10
#define FORMAT_COMPLETE  0x08
#define LIST_FOV         0x80
#define LIST_OPTIONS     0x78 /* DPRY, DCRT, STPF, IP */
#define LIST_IP          0x08
#define LIST_IMMED       0x02

static void format_start(struct scsi_task *task)
{
	struct scsi_wipe_options options = {
		.kind = SCSI_WIPE_FORMAT,
		.passes = 1,
		.immediate = task->compare,
	};

	scsi_wipe_start(task, &options);
}

/* SBC-3 5.3.2.2: the short or the long header, which must be all there is. */
static enum scsi_run format_check_list(struct scsi_task *task)
{
	bool long_list = task->cdb[1] & FORMAT_LONG_LIST;
	unsigned len = long_list ? 8 : 4;
	uint8_t list[8] = {0};

	if (task->out_bytes < len)
		return scsi_task_overrun(task);
	scsi_iov_read(task->out, task->out_iovs, 0, list, len);
	if (list[0] & 0x07) /* PROTECTION FIELD USAGE */
		return scsi_task_check_parameters(task, 0, 2);
	if (list[1] & LIST_OPTIONS && !(list[1] & LIST_FOV))
		return scsi_task_check_parameters(task, 1, 7);
	if (list[1] & LIST_IP)
		return scsi_task_check_parameters(task, 1, 3);
	if (long_list && list[3])
		return scsi_task_check_parameters(task, 3, -1);
	if (long_list ? be32_get(list + 4) : be16_get(list + 2))
		return scsi_task_check_parameters(task, long_list ? 4 : 2, -1);
	task->compare = list[1] & LIST_IMMED;
	task->transferred = len;
	return SCSI_GOES_ON;
}

enum scsi_run scsi_run_format_unit(struct scsi_task *task)
{
	uint8_t flags = task->cdb[1];

	task->compare = 0; /* IMMED */
	if (flags & 0xc0) /* FMTPINFO */
		return scsi_task_check_cdb(task, 1, 7);
	if (flags & FORMAT_COMPLETE && !(flags & FORMAT_DATA))
		return scsi_task_check_cdb(task, 1, 3);
	if (flags & FORMAT_DATA && format_check_list(task) == SCSI_ENDED)
		return SCSI_ENDED;
	return scsi_task_keep_on_control(task, format_start, scsi_wipe_answered);
}
