/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands that go over a range of the device piece by piece, through a buffer of the slab: VERIFY,
 * WRITE SAME with a pattern, buffers in more segments than the device takes.
 */
#ifndef SCSI_BOUNCE_H
#define SCSI_BOUNCE_H

#include "scsi/task.h"

struct scsi_loop {
	enum bdev_io_type type; /* READ or WRITE, with task->loop_flags */
	/* Before a piece is written: its bytes, the first of which is `moved` bytes into the range.
	 */
	void (*fill)(struct scsi_task *task, uint64_t moved, uint32_t bytes);
	/* After a piece was read; SCSI_ENDED with the status set ends the loop. */
	enum scsi_run (*take)(struct scsi_task *task, uint64_t moved, uint32_t bytes);
	/* After the last piece; task->moved is the length of the range. */
	enum scsi_run (*ended)(struct scsi_task *task);
};

/* Over task->left bytes, more than none, from task->offset. */
enum scsi_run scsi_loop_start(struct scsi_task *task, const struct scsi_loop *loop);

#endif
