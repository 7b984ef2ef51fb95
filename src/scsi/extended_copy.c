/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EXTENDED COPY (LID1): SPC-4 6.4. The parameter list is read once into our own memory and checked
 * whole, as far as it can be without asking the devices.
 *
 * There are identification descriptors for sources and destinations (E4h), segments from block to
 * block (02h), and no inline data; STR and the priority say nothing to a copy manager that copies
 * segment by segment. The list identifier of a copy whose results the initiator allows to discard
 * is taken only while it runs.
 */
#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/copy.h"
#include "scsi/range.h"
#include "scsi/sense.h"

/* SPC-4 table 104: LIST ID USAGE */
enum list_id_usage { USAGE_KEEP, USAGE_RESERVED, USAGE_DISCARD, USAGE_NONE };

static enum scsi_run copy_check(struct scsi_task *task, uint16_t code, unsigned byte)
{
	struct scsi_sense sense = {
		.key = SCSI_KEY_ILLEGAL_REQUEST,
		.code = code,
		.field_valid = true,
		.field_bit = -1,
		.field_byte = (uint16_t)byte,
	};

	return scsi_task_check_sense(task, &sense);
}

static enum list_id_usage list_id_usage(const struct scsi_copy *copy)
{
	return copy->list[1] >> 3 & 3;
}

static enum scsi_run check_list_id(struct scsi_task *task)
{
	const struct scsi_copy *copy = scsi_copy_of(task);

	if (list_id_usage(copy) == USAGE_RESERVED)
		return scsi_task_check_parameters(task, 1, 4);
	if (list_id_usage(copy) == USAGE_NONE && copy->list[0])
		return scsi_task_check_parameters(task, 0, -1);
	return SCSI_GOES_ON;
}

/* Which lengths the header says, against the list's and against what we take. */
static enum scsi_run check_lengths(struct scsi_task *task)
{
	const struct scsi_copy *copy = scsi_copy_of(task);
	uint32_t cscds = be16_get(copy->list + 2);
	uint64_t segments = be32_get(copy->list + 8);
	uint64_t inline_data = be32_get(copy->list + 12);

	if (cscds + segments > SCSI_COPY_DESCRIPTORS_BYTES_MAX)
		return scsi_task_check(
			task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	if (inline_data)
		return copy_check(task, SCSI_ASC_INLINE_DATA_EXCEEDED, 12);
	if (SCSI_COPY_HEADER_BYTES + cscds + segments > task->moved)
		return scsi_task_check(
			task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	return SCSI_GOES_ON;
}

static enum scsi_run check_cscds(struct scsi_task *task)
{
	struct scsi_copy *copy = scsi_copy_of(task);
	uint32_t bytes = be16_get(copy->list + 2);

	if (bytes % SCSI_COPY_CSCD_BYTES)
		return scsi_task_check_parameters(task, 2, -1);
	copy->cscd_count = bytes / SCSI_COPY_CSCD_BYTES;
	if (copy->cscd_count > SCSI_COPY_CSCDS_MAX)
		return copy_check(task, SCSI_ASC_TOO_MANY_TARGETS, 2);
	for (unsigned i = 0; i < copy->cscd_count; i++) {
		const uint8_t *cscd = scsi_copy_cscd(copy, i);
		unsigned at = (unsigned)(cscd - copy->list);

		if (cscd[0] != SCSI_CSCD_IDENTIFICATION)
			return copy_check(task, SCSI_ASC_UNSUPPORTED_TARGET_TYPE, at);
		if (cscd[7] > 20) /* the designator's place */
			return scsi_task_check_parameters(task, at + 7, -1);
	}
	return SCSI_GOES_ON;
}

static enum scsi_run check_segments(struct scsi_task *task)
{
	struct scsi_copy *copy = scsi_copy_of(task);
	uint32_t left = be32_get(copy->list + 8);

	for (copy->segment_count = 0; left; copy->segment_count++) {
		const uint8_t *descriptor = scsi_copy_descriptor(copy, copy->segment_count);
		unsigned at = (unsigned)(descriptor - copy->list);

		if (descriptor[0] != SCSI_SEGMENT_BLOCK_BLOCK)
			return copy_check(task, SCSI_ASC_UNSUPPORTED_SEGMENT_TYPE, at);
		if (left < SCSI_COPY_DESCRIPTOR_BYTES)
			return scsi_task_check(
				task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
		if (be16_get(descriptor + 2) != SCSI_COPY_DESCRIPTOR_BYTES - 4)
			return scsi_task_check_parameters(task, at + 2, -1);
		if (copy->segment_count == SCSI_COPY_SEGMENTS_MAX)
			return copy_check(task, SCSI_ASC_TOO_MANY_SEGMENTS, 8);
		left -= SCSI_COPY_DESCRIPTOR_BYTES;
	}
	return SCSI_GOES_ON;
}

static enum scsi_run copy_parse(struct scsi_task *task)
{
	struct scsi_copy *copy = scsi_copy_of(task);

	memset(copy, 0, sizeof(*copy));
	copy->task = task;
	scsi_iov_read(
		task->out, task->out_iovs, 0, copy->list, u64_min(task->moved, sizeof(copy->list)));
	if (check_list_id(task) == SCSI_ENDED || check_lengths(task) == SCSI_ENDED ||
		check_cscds(task) == SCSI_ENDED || check_segments(task) == SCSI_ENDED)
		return SCSI_ENDED;
	if (list_id_usage(copy) == USAGE_NONE)
		return scsi_copy_segments(task);
	return scsi_copy_begin(
		task, copy->list[0], list_id_usage(copy) == USAGE_KEEP, scsi_copy_segments);
}

enum scsi_run scsi_run_extended_copy(struct scsi_task *task)
{
	uint32_t list_len = be32_get(task->cdb + 10);

	if (list_len == 0)
		return SCSI_ENDED;
	if (list_len < SCSI_COPY_HEADER_BYTES)
		return scsi_task_check(
			task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	if (task->out_bytes < list_len)
		return scsi_task_overrun(task);
	task->moved = list_len;
	return scsi_task_get_buffer(task, SLAB_128K, copy_parse);
}
