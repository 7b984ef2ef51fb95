/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EXTENDED COPY (LID1) and what RECEIVE COPY RESULTS tells of it: SPC-4 6.4, 6.18 to 6.22.
 *
 * The parts: extended_copy.c reads the parameter list, copy_segments.c moves the data,
 * copy_results.c keeps the results.
 *
 * A copy lives in the buffer of its task and runs on the task's reactor. What it does to a source
 * or a destination are commands of its own, READ (16) and WRITE (16), which it sends through this
 * reactor's channel to that logical unit in its initiator's name: so they obey what all commands
 * obey (reservations, write protection, the unit's state, what runs alone), are seen by task
 * management of that unit, and hold it there. A channel is looked up anew for each of them: nothing
 * names one over a wait.
 *
 * Its result is in a record of the attachment, which belongs to the control reactor but for the
 * progress. A record ends before its task does, however that ends.
 */
#ifndef SCSI_COPY_H
#define SCSI_COPY_H

#include "scsi/steps.h"

/* What OPERATING PARAMETERS and VPD page 8Fh tell. */
#define SCSI_COPY_CSCDS_MAX        16
#define SCSI_COPY_SEGMENTS_MAX     16
#define SCSI_COPY_SEGMENT_BYTES    (UINT32_C(64) << 20)
#define SCSI_COPY_CONCURRENT_MAX   255 /* with a list identifier, of one initiator */
#define SCSI_COPY_CSCD_BYTES       32
#define SCSI_COPY_DESCRIPTOR_BYTES 28 /* of a segment from block to block */
#define SCSI_COPY_DESCRIPTORS_BYTES_MAX                                                            \
	(SCSI_COPY_CSCDS_MAX * SCSI_COPY_CSCD_BYTES +                                              \
		SCSI_COPY_SEGMENTS_MAX * SCSI_COPY_DESCRIPTOR_BYTES)

#define SCSI_COPY_HEADER_BYTES 16
#define SCSI_COPY_LIST_BYTES   (SCSI_COPY_HEADER_BYTES + SCSI_COPY_DESCRIPTORS_BYTES_MAX)
#define SCSI_COPY_STATE_BYTES  4096 /* of the task's buffer; data follow */

struct scsi_copy_record;

/* The source or the destination of the segment that is being processed. */
struct scsi_copy_end {
	uint16_t index; /* of its descriptor */
	uint16_t target; /* where it was found */
	uint16_t number;
	uint8_t block_shift;
	uint8_t naa[8];
	uint64_t lba; /* next */
	uint64_t left; /* bytes to go */
};

struct scsi_copy {
	struct scsi_task *task;
	struct scsi_task child; /* the command in flight */
	struct iovec iov;
	unsigned cscd_count;
	unsigned segment_count;

	unsigned segment; /* that is being processed */
	struct scsi_copy_end source;
	struct scsi_copy_end destination;
	uint32_t held; /* bytes of data that were read and not written */
	uint64_t written;

	uint8_t list[SCSI_COPY_LIST_BYTES];
};

_Static_assert(sizeof(struct scsi_copy) <= SCSI_COPY_STATE_BYTES, "leaves the data their place");

static inline struct scsi_copy *scsi_copy_of(const struct scsi_task *task)
{
	return task->buffer;
}

static inline const uint8_t *scsi_copy_cscd(const struct scsi_copy *copy, unsigned index)
{
	return copy->list + SCSI_COPY_HEADER_BYTES + (size_t)index * SCSI_COPY_CSCD_BYTES;
}

static inline const uint8_t *scsi_copy_descriptor(const struct scsi_copy *copy, unsigned segment)
{
	return scsi_copy_cscd(copy, copy->cscd_count) +
	       (size_t)segment * SCSI_COPY_DESCRIPTOR_BYTES;
}

/* copy_segments.c. A step: the list is right, the first segment begins. */
enum scsi_run scsi_copy_segments(struct scsi_task *task);

/* copy_results.c. A step: the copy gets a record, then next; or ends, because its list identifier
 * is in use. */
enum scsi_run scsi_copy_begin(
	struct scsi_task *task, uint8_t list_id, bool keep, scsi_step_fn next);
/* Own reactor: how far it is. */
void scsi_copy_tell_progress(struct scsi_task *task, unsigned segments, uint64_t bytes);
/* For task.c, at the end of a task with a record: ends that, then scsi_task_finish. */
void scsi_copy_end(struct scsi_task *task);
/* Control reactor: the initiator has gone, or the unit has been reset. */
void scsi_copy_forget(struct scsi_attachment *attachment);

#endif
