/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copying between our memory and a task's data buffers, and the answer of a command that returns
 * parameter data. Any thread.
 */
#ifndef SCSI_BUFFER_H
#define SCSI_BUFFER_H

#include "scsi/task.h"

/* At byte offset skip; return the bytes copied, fewer where the buffer ends. */
size_t scsi_iov_read(const struct iovec *iov, unsigned count, size_t skip, void *buf, size_t len);
size_t scsi_iov_write(
	const struct iovec *iov, unsigned count, size_t skip, const void *buf, size_t len);

/* How many bytes at skip are as in buf: len, or the place of the first that differs or is missing.
 */
size_t scsi_iov_match(
	const struct iovec *iov, unsigned count, size_t skip, const void *buf, size_t len);

/* ORs len bytes at skip into buf. */
void scsi_iov_or(const struct iovec *iov, unsigned count, size_t skip, void *buf, size_t len);

/* Takes len bytes, no more than they have, from the front of the iovecs, which are changed; returns
 * how many are left, from *iov on. */
unsigned scsi_iov_skip(struct iovec **iov, unsigned count, size_t len);

/* Shortens the iovecs in place to len bytes, no more than they have; returns how many are left. */
unsigned scsi_iov_trim(struct iovec *iov, unsigned count, size_t len);

/*
 * Parameter data: written piece by piece, cut at the smaller of the allocation length and the
 * buffer. The rest of the buffer is not touched and counts as residual.
 */
struct scsi_reply {
	struct scsi_task *task;
	size_t limit;
	size_t len; /* bytes offered so far, beyond the limit as well */
};

void scsi_reply_begin(struct scsi_reply *reply, struct scsi_task *task, size_t allocation_length);
void scsi_reply_put(struct scsi_reply *reply, const void *buf, size_t len);
/* Status GOOD and the bytes moved; SCSI_ENDED. */
enum scsi_run scsi_reply_end(struct scsi_reply *reply);

/* The three in one. */
enum scsi_run scsi_reply(
	struct scsi_task *task, size_t allocation_length, const void *buf, size_t len);

#endif
