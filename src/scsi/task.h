/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A SCSI command on its way: CDB and data buffers in, status, sense and byte count out. Embedded in
 * the request of whoever has the initiator (a virtqueue's). Everything here runs on one data
 * reactor.
 *
 * READ and WRITE (6, 10, 12, 16) take the straight path: scsi_submit decodes them, checks them and
 * hands the submitter's own iovecs to the block device; its completion calls task->done. All else,
 * and whatever is odd about a READ or WRITE, goes the general way: the command table (command.h).
 *
 * A task is on its channel's list from submit to done. A task management function marks it
 * (ending); it then ends as soon as the block device holds none of its buffers.
 */
#ifndef SCSI_TASK_H
#define SCSI_TASK_H

#include "bdev/place.h"
#include "core/slab.h"
#include "scsi/lun.h"
#include "scsi/target.h"
#include "spec/scsi.h"

#define SCSI_CDB_BYTES   32
#define SCSI_SENSE_BYTES 96

/* What the transport tells the initiator beside the status. */
enum scsi_response {
	SCSI_RESPONSE_OK, /* the logical unit answered: look at status */
	SCSI_RESPONSE_OVERRUN, /* the CDB moves more data than the buffer holds */
	SCSI_RESPONSE_ABORTED, /* by a task management function */
	SCSI_RESPONSE_RESET,
	SCSI_RESPONSE_FAILURE, /* data in both directions */
};

enum scsi_task_attribute { SCSI_TASK_SIMPLE, SCSI_TASK_ORDERED, SCSI_TASK_HEAD, SCSI_TASK_ACA };

struct scsi_command;
struct scsi_copy_record;
struct scsi_lock;
struct scsi_loop;

/* What a command, or a step of one, says when it returns. */
enum scsi_run {
	SCSI_ENDED, /* status and bytes moved are set */
	SCSI_GOES_ON, /* the next step has been arranged */
};

/* Has it had to wait for others before it began (order.h)? */
enum scsi_task_order { SCSI_ORDER_FREE, SCSI_ORDER_WAITS, SCSI_ORDER_WAITED };

struct scsi_task {
	/* The submitter's, borrowed until done. Every field is set before scsi_submit. */
	struct scsi_lun_channel *channel; /* NULL: the target has no such LUN */
	/* For REPORT LUNS, until submit returns: the addressed target, or for the well-known LUN
	 * all targets by their numbers, NULL where there is none. */
	const struct scsi_target_view *const *targets;
	struct reactor *reactor;
	void (*done)(struct scsi_task *task);
	/* Data of the guest; the entries may be changed, what they point to may change under us. */
	struct iovec *out;
	struct iovec *in;
	uint32_t out_bytes;
	uint32_t in_bytes;
	uint16_t out_iovs;
	uint16_t in_iovs;
	uint16_t target_count;
	uint8_t attribute;
	bool well_known; /* addressed to the REPORT LUNS well-known LUN; channel is NULL */
	bool recovered; /* was in flight before a restart, and may have been executed then */
	bool of_copy; /* the copy manager's: unit attentions are not for it (copy.h) */
	uint64_t tag;
	uint8_t cdb[SCSI_CDB_BYTES]; /* zero beyond its length */

	/* At done. */
	uint8_t status;
	uint8_t response;
	uint8_t sense_len;
	uint32_t transferred; /* bytes of out or in that were moved: the rest is the residual */

	/* Ours from here. */
	uint8_t ending; /* the response a task management function has given it, or OK */
	uint8_t order; /* enum scsi_task_order */
	uint32_t sequence;
	uint32_t begun; /* when its order is SCSI_ORDER_WAITED: the channel's sequence then */
	struct list link;
	struct deferred deferred;
	const struct scsi_command *command;
	struct bdev_io io;

	/* Commands of several steps (steps.h). */
	enum scsi_run (*step)(struct scsi_task *task);
	void (*at_control)(struct scsi_task *task);
	const struct scsi_loop *loop; /* bounce.h */
	void *buffer; /* of the slab class below, or NULL */
	struct scsi_lock *lock; /* or NULL; only with a buffer (lock.c) */
	struct scsi_copy_record *copy; /* or NULL; only with a buffer (copy.h) */
	uint8_t buffer_class;
	uint8_t loop_flags;
	enum scsi_run (*after)(struct scsi_task *task); /* a part of a command */
	uint8_t compare; /* BYTCHK (verify.c) */
	uint16_t index;
	uint16_t count;
	uint64_t offset; /* next byte on the device */
	uint64_t left; /* bytes to go */
	uint64_t moved; /* bytes of data behind us */
	struct iovec piece;
	union {
		struct slab_waiter waiter;
		struct message message;
		struct list held; /* before it has begun (order.h) */
	};

	uint8_t sense[SCSI_SENSE_BYTES];
};

/* task->done is called once, later, on the same reactor. */
void scsi_submit(struct scsi_task *task);

/* After done: it ended because there is no space for what it writes, and could be submitted again
 * as if nothing of it had been done. */
bool scsi_task_may_wait_for_space(const struct scsi_task *task);

/* Where a task in flight is; false: not with the block device, and ret_place has only the time from
 * which on it is in its present step. */
bool scsi_task_get_place(const struct scsi_task *task, struct bdev_io_place *ret_place);

/* Bytes of the initiator's buffer that the command did not move. */
static inline uint32_t scsi_task_residual(const struct scsi_task *task)
{
	return task->out_bytes + task->in_bytes - task->transferred;
}

#endif
