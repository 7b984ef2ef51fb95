/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sense data: SPC-4 4.5. Fixed (4.5.3) or descriptor format (4.5.2) as D_SENSE of the control mode
 * page says. The functions on tasks set status and sense and return SCSI_ENDED,
 * so that a command refuses in one line.
 */
#ifndef SCSI_SENSE_H
#define SCSI_SENSE_H

#include "scsi/task.h"

#define SCSI_SENSE_FIXED_BYTES 18

/* What a device of an EXTENDED COPY answered to the copy manager. */
struct scsi_forwarded_sense {
	enum { SCSI_FORWARDED_NONE, SCSI_FORWARDED_SOURCE, SCSI_FORWARDED_DESTINATION } from;
	uint8_t status;
	uint8_t sense_len;
	const uint8_t *sense;
};

struct scsi_sense {
	uint8_t key;
	uint16_t code; /* SCSI_ASC_... */
	bool information_valid;
	uint64_t information;
	bool field_valid; /* sense-key specific: the field pointer of ILLEGAL REQUEST */
	bool field_in_cdb;
	int8_t field_bit; /* -1: the whole byte */
	uint16_t field_byte;
	bool field_in_segment; /* of COPY ABORTED: relative to that segment descriptor (SD) */
	bool segment_valid; /* command-specific information: of COPY ABORTED */
	uint16_t segment;
	struct scsi_forwarded_sense forwarded;
	bool deferred; /* the error is of a command before */
	bool progress_valid; /* sense-key specific: of NOT READY; no field then */
	uint16_t progress; /* of 65536 */
};

/* buf has SCSI_SENSE_BYTES, zeroed or not; returns the length. */
unsigned scsi_sense_encode(const struct scsi_sense *sense, bool descriptor_format, uint8_t *buf);

/* CHECK CONDITION. */
enum scsi_run scsi_task_check(struct scsi_task *task, uint8_t key, uint16_t code);
/* ILLEGAL REQUEST, INVALID FIELD IN CDB; bit -1: the byte as a whole. */
enum scsi_run scsi_task_check_cdb(struct scsi_task *task, unsigned byte, int bit);
/* ILLEGAL REQUEST, INVALID FIELD IN PARAMETER LIST. */
enum scsi_run scsi_task_check_parameters(struct scsi_task *task, unsigned byte, int bit);
enum scsi_run scsi_task_check_information(
	struct scsi_task *task, uint8_t key, uint16_t code, uint64_t information);
enum scsi_run scsi_task_check_sense(struct scsi_task *task, const struct scsi_sense *sense);
/* The status for a failed request to the block device that began at lba. */
enum scsi_run scsi_task_check_errno(struct scsi_task *task, int error, bool has_lba, uint64_t lba);

/* CHECK CONDITION that tells of this attention. */
enum scsi_run scsi_task_check_attention(struct scsi_task *task, enum scsi_unit_attention attention);

/* Key UNIT ATTENTION and the code of this attention. */
struct scsi_sense scsi_sense_of_attention(enum scsi_unit_attention attention);

#endif
