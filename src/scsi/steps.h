/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands of more than one step. A step arranges for the next one and returns SCSI_GOES_ON, or
 * sets the status and returns SCSI_ENDED. Between steps the task may have been marked by a task
 * management function: then no further step is called and it ends.
 */
#ifndef SCSI_STEPS_H
#define SCSI_STEPS_H

#include "scsi/task.h"

typedef enum scsi_run (*scsi_step_fn)(struct scsi_task *task);

/* Hands task->io to the block device, its iov and iovcnt set by the caller where there is data.
 * next is called when it has succeeded; a failure ends the task with the right sense data. */
enum scsi_run scsi_task_io(struct scsi_task *task, enum bdev_io_type type, uint64_t offset,
	uint64_t length, uint8_t flags, scsi_step_fn next);

/* task->buffer becomes an object of that class, given back when the task ends. */
enum scsi_run scsi_task_get_buffer(
	struct scsi_task *task, enum slab_class class, scsi_step_fn next);

/* fn runs on the control reactor, then next here. fn must not touch the task's data buffers. */
enum scsi_run scsi_task_on_control(
	struct scsi_task *task, void (*fn)(struct scsi_task *task), scsi_step_fn next);

/* The same, but the task stays on the control reactor until scsi_task_leave_control is called
 * there. */
enum scsi_run scsi_task_keep_on_control(
	struct scsi_task *task, void (*fn)(struct scsi_task *task), scsi_step_fn next);
void scsi_task_leave_control(struct scsi_task *task);

/* The task, which has a buffer, is alone on that range of the device until it ends, against all
 * other requests of all initiators; its own go on through scsi_task_io. */
enum scsi_run scsi_task_lock(
	struct scsi_task *task, uint64_t offset, uint64_t length, scsi_step_fn next);

/* Data-out at skip against the task's buffer: SCSI_ENDED with MISCOMPARE and the offset in data-out
 * of the first byte that differs. */
enum scsi_run scsi_task_compare(struct scsi_task *task, uint64_t skip, uint32_t bytes);

/* What was written is stable, where that can be said, then next. */
enum scsi_run scsi_task_flush(struct scsi_task *task, scsi_step_fn next);

/* A last step: status GOOD, moved bytes were transferred. */
enum scsi_run scsi_task_good(struct scsi_task *task);

#endif
