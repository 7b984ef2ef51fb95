/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sense data (sense.h).
 *
 * Fixed format has 32 bits of information: an address beyond them is left out and VALID is 0, as
 * SPC-4 4.5.3 asks.
 *
 * How errors of the block device become sense data:
 *	EIO and what is not named	MEDIUM ERROR: unrecovered read error, or write error
 *	ENOSPC			DATA PROTECT, SPACE ALLOCATION FAILED WRITE PROTECT (SBC-3 4.7.3.6)
 *	EROFS, EPERM		DATA PROTECT, WRITE PROTECTED
 *	ENODEV, ENXIO		ILLEGAL REQUEST, LOGICAL UNIT NOT SUPPORTED: it is being removed
 *	ENOMEM, EAGAIN, EBUSY	status BUSY: the initiator tries again
 */
#include "scsi/sense.h"

#include <errno.h>

#include "base/endian.h"
#include "scsi/lun_mode.h"

#define SENSE_FIXED      0x70 /* and one more: deferred */
#define SENSE_DESCRIPTOR 0x72
#define SENSE_VALID      0x80

#define FORWARDED_BYTES_MAX 52 /* so that all of it fits */

/* SPC-4 4.5.2.4: SKSV, C/D, BPV and the pointer, or SKSV and the progress indication. */
static void key_specific_encode(const struct scsi_sense *sense, uint8_t *buf)
{
	buf[0] = 0x80;
	if (sense->progress_valid) {
		be16_put(buf + 1, sense->progress);
		return;
	}
	if (sense->field_in_cdb)
		buf[0] |= 0x40;
	if (sense->field_in_segment)
		buf[0] |= 0x20;
	if (sense->field_bit >= 0)
		buf[0] |= 0x08 | (uint8_t)sense->field_bit;
	be16_put(buf + 1, sense->field_byte);
}

/* SPC-4 4.5.2.3: the number of the segment, in the fixed format's last two bytes of four. */
static unsigned segment_encode(const struct scsi_sense *sense, uint8_t *buf)
{
	buf[0] = 0x01;
	buf[1] = 0x0a;
	be64_put(buf + 4, sense->segment);
	return 12;
}

/* SPC-4 4.5.2.7. */
static unsigned forwarded_encode(const struct scsi_forwarded_sense *forwarded, uint8_t *buf)
{
	unsigned len = forwarded->sense_len;

	buf[0] = 0x0c;
	buf[2] = (uint8_t)forwarded->from;
	if (len > FORWARDED_BYTES_MAX) {
		len = FORWARDED_BYTES_MAX;
		buf[2] |= 0x80; /* FSDT */
	}
	buf[1] = (uint8_t)(2 + len);
	buf[3] = forwarded->status;
	if (len)
		memcpy(buf + 4, forwarded->sense, len);
	return 4 + len;
}

static unsigned descriptors_encode(const struct scsi_sense *sense, uint8_t *buf)
{
	unsigned len = 8;

	buf[0] = SENSE_DESCRIPTOR | sense->deferred;
	buf[1] = sense->key;
	be16_put(buf + 2, sense->code);
	if (sense->information_valid) {
		buf[len + 0] = 0x00;
		buf[len + 1] = 0x0a;
		buf[len + 2] = SENSE_VALID;
		be64_put(buf + len + 4, sense->information);
		len += 12;
	}
	if (sense->field_valid || sense->progress_valid) {
		buf[len + 0] = 0x02;
		buf[len + 1] = 0x06;
		key_specific_encode(sense, buf + len + 4);
		len += 8;
	}
	if (sense->segment_valid)
		len += segment_encode(sense, buf + len);
	if (sense->forwarded.from)
		len += forwarded_encode(&sense->forwarded, buf + len);
	buf[7] = (uint8_t)(len - 8);
	return len;
}

/* SPC-4 6.4.3.4: where the status and sense data of the source or the destination begin. */
static unsigned forwarded_append(const struct scsi_forwarded_sense *forwarded, uint8_t *buf)
{
	unsigned at = SCSI_SENSE_FIXED_BYTES;
	unsigned len = forwarded->sense_len;

	if (len > FORWARDED_BYTES_MAX)
		len = FORWARDED_BYTES_MAX;
	buf[forwarded->from == SCSI_FORWARDED_SOURCE ? 8 : 9] = (uint8_t)at;
	buf[at] = forwarded->status;
	if (len)
		memcpy(buf + at + 1, forwarded->sense, len);
	return at + 1 + len;
}

unsigned scsi_sense_encode(const struct scsi_sense *sense, bool descriptor_format, uint8_t *buf)
{
	unsigned len = SCSI_SENSE_FIXED_BYTES;

	memset(buf, 0, SCSI_SENSE_BYTES);
	if (descriptor_format)
		return descriptors_encode(sense, buf);

	buf[0] = SENSE_FIXED | sense->deferred;
	buf[2] = sense->key;
	be16_put(buf + 12, sense->code);
	if (sense->information_valid && sense->information <= UINT32_MAX) {
		buf[0] |= SENSE_VALID;
		be32_put(buf + 3, (uint32_t)sense->information);
	}
	if (sense->field_valid || sense->progress_valid)
		key_specific_encode(sense, buf + 15);
	if (sense->segment_valid)
		be16_put(buf + 10, sense->segment);
	if (sense->forwarded.from)
		len = forwarded_append(&sense->forwarded, buf);
	buf[7] = (uint8_t)(len - 8);
	return len;
}

enum scsi_run scsi_task_check_sense(struct scsi_task *task, const struct scsi_sense *sense)
{
	bool descriptor_format = false;

	if (task->channel) {
		descriptor_format =
			scsi_lun_mode(task->channel->attachment->lun) & SCSI_MODE_D_SENSE;
		task->channel->stats.check_conditions++;
	}
	task->status = SCSI_STATUS_CHECK_CONDITION;
	task->sense_len = (uint8_t)scsi_sense_encode(sense, descriptor_format, task->sense);
	return SCSI_ENDED;
}

enum scsi_run scsi_task_check(struct scsi_task *task, uint8_t key, uint16_t code)
{
	struct scsi_sense sense = {.key = key, .code = code};

	return scsi_task_check_sense(task, &sense);
}

enum scsi_run scsi_task_check_cdb(struct scsi_task *task, unsigned byte, int bit)
{
	struct scsi_sense sense = {
		.key = SCSI_KEY_ILLEGAL_REQUEST,
		.code = SCSI_ASC_INVALID_FIELD_IN_CDB,
		.field_valid = true,
		.field_in_cdb = true,
		.field_bit = (int8_t)bit,
		.field_byte = (uint16_t)byte,
	};

	return scsi_task_check_sense(task, &sense);
}

enum scsi_run scsi_task_check_parameters(struct scsi_task *task, unsigned byte, int bit)
{
	struct scsi_sense sense = {
		.key = SCSI_KEY_ILLEGAL_REQUEST,
		.code = SCSI_ASC_INVALID_FIELD_IN_PARAMETERS,
		.field_valid = true,
		.field_bit = (int8_t)bit,
		.field_byte = (uint16_t)byte,
	};

	return scsi_task_check_sense(task, &sense);
}

enum scsi_run scsi_task_check_information(
	struct scsi_task *task, uint8_t key, uint16_t code, uint64_t information)
{
	struct scsi_sense sense = {
		.key = key,
		.code = code,
		.information_valid = true,
		.information = information,
	};

	return scsi_task_check_sense(task, &sense);
}

enum scsi_run scsi_task_check_errno(struct scsi_task *task, int error, bool has_lba, uint64_t lba)
{
	bool reading = task->io.type == BDEV_IO_READ || task->io.type == BDEV_IO_EXTENT;
	struct scsi_sense sense = {
		.key = SCSI_KEY_MEDIUM_ERROR,
		.code = reading ? SCSI_ASC_UNRECOVERED_READ_ERROR : SCSI_ASC_WRITE_ERROR,
		.information_valid = has_lba,
		.information = lba,
	};

	switch (-error) {
	case ENOMEM:
	case EAGAIN:
	case EBUSY:
		task->status = SCSI_STATUS_BUSY;
		return SCSI_ENDED;
	case ENOSPC:
		sense.key = SCSI_KEY_DATA_PROTECT;
		sense.code = SCSI_ASC_SPACE_ALLOCATION_FAILED;
		break;
	case EROFS:
	case EPERM:
		sense.key = SCSI_KEY_DATA_PROTECT;
		sense.code = SCSI_ASC_WRITE_PROTECTED;
		sense.information_valid = false;
		break;
	case ENODEV:
	case ENXIO:
		sense.key = SCSI_KEY_ILLEGAL_REQUEST;
		sense.code = SCSI_ASC_LUN_NOT_SUPPORTED;
		sense.information_valid = false;
		break;
	default:
		break;
	}
	return scsi_task_check_sense(task, &sense);
}

/* One that reads what it changes, such as COMPARE AND WRITE, may have changed a part of it. */
static bool task_is_repeatable(const struct scsi_task *task)
{
	switch (task->cdb[0]) {
	case SCSI_WRITE_6:
	case SCSI_WRITE_10:
	case SCSI_WRITE_12:
	case SCSI_WRITE_16:
	case SCSI_WRITE_AND_VERIFY_10:
	case SCSI_WRITE_AND_VERIFY_12:
	case SCSI_WRITE_AND_VERIFY_16:
	case SCSI_WRITE_SAME_10:
	case SCSI_WRITE_SAME_16:
	case SCSI_WRITE_ATOMIC_16:
	case SCSI_UNMAP:
		return true;
	case SCSI_VARIABLE_LENGTH: /* others that write are the same as above */
		return be16_get(task->cdb + 8) != SCSI_SA_ORWRITE_32;
	default:
		return false;
	}
}

bool scsi_task_may_wait_for_space(const struct scsi_task *task)
{
	const uint8_t *code;

	if (task->status != SCSI_STATUS_CHECK_CONDITION || task->sense_len == 0 ||
		task->response != SCSI_RESPONSE_OK)
		return false;
	code = task->sense + ((task->sense[0] & 0x7f) == SENSE_DESCRIPTOR ? 2 : 12);
	return be16_get(code) == SCSI_ASC_SPACE_ALLOCATION_FAILED && task_is_repeatable(task);
}

struct scsi_sense scsi_sense_of_attention(enum scsi_unit_attention attention)
{
	static const uint16_t codes[SCSI_UA_COUNT] = {
		[SCSI_UA_POWER_ON] = SCSI_ASC_POWER_ON,
		[SCSI_UA_DEVICE_RESET] = SCSI_ASC_DEVICE_RESET,
		[SCSI_UA_I_T_NEXUS_LOSS] = SCSI_ASC_I_T_NEXUS_LOSS,
		[SCSI_UA_COMMANDS_CLEARED] = SCSI_ASC_COMMANDS_CLEARED,
		[SCSI_UA_RESERVATIONS_PREEMPTED] = SCSI_ASC_RESERVATIONS_PREEMPTED,
		[SCSI_UA_RESERVATIONS_RELEASED] = SCSI_ASC_RESERVATIONS_RELEASED,
		[SCSI_UA_REGISTRATIONS_PREEMPTED] = SCSI_ASC_REGISTRATIONS_PREEMPTED,
		[SCSI_UA_LUNS_CHANGED] = SCSI_ASC_REPORTED_LUNS_CHANGED,
		[SCSI_UA_CAPACITY_CHANGED] = SCSI_ASC_CAPACITY_CHANGED,
		[SCSI_UA_MODE_CHANGED] = SCSI_ASC_MODE_PARAMETERS_CHANGED,
		[SCSI_UA_SOFT_THRESHOLD] = SCSI_ASC_SOFT_THRESHOLD,
		[SCSI_UA_MEDIUM_CHANGED] = SCSI_ASC_MEDIUM_CHANGED,
		[SCSI_UA_ACCESS_CHANGED] = SCSI_ASC_ACCESS_STATE_CHANGED,
		[SCSI_UA_TIMESTAMP_CHANGED] = SCSI_ASC_TIMESTAMP_CHANGED,
		[SCSI_UA_IDENTIFIER_CHANGED] = SCSI_ASC_IDENTIFIER_CHANGED,
		[SCSI_UA_DEFERRED_ERROR] = SCSI_ASC_WRITE_ERROR,
	};

	bool deferred = attention == SCSI_UA_DEFERRED_ERROR;

	return (struct scsi_sense){
		.key = deferred ? SCSI_KEY_MEDIUM_ERROR : SCSI_KEY_UNIT_ATTENTION,
		.code = codes[attention],
		.deferred = deferred,
		/* Which threshold: by its place in the mode page (SBC-4 4.7.3.7.6). */
		.information_valid = attention == SCSI_UA_SOFT_THRESHOLD,
		.information = SCSI_MODE_THRESHOLD_BYTE,
	};
}

enum scsi_run scsi_task_check_attention(struct scsi_task *task, enum scsi_unit_attention attention)
{
	struct scsi_sense sense = scsi_sense_of_attention(attention);

	return scsi_task_check_sense(task, &sense);
}
