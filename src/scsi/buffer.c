/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Data buffers of tasks (buffer.h). The contents may change while we look: each byte is read once.
 */
#include "scsi/buffer.h"

#include <string.h>

/* The part of entry iov that the window [*skip, *skip + len) covers; moves the window's start. */
static size_t iov_part(const struct iovec *iov, size_t *skip, size_t len, uint8_t **ret_base)
{
	size_t part;

	if (*skip >= iov->iov_len) {
		*skip -= iov->iov_len;
		return 0;
	}
	part = iov->iov_len - *skip;
	*ret_base = (uint8_t *)iov->iov_base + *skip;
	*skip = 0;
	return part < len ? part : len;
}

size_t scsi_iov_read(const struct iovec *iov, unsigned count, size_t skip, void *buf, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < len; i++) {
		uint8_t *base;
		size_t part = iov_part(&iov[i], &skip, len - done, &base);

		if (part)
			memcpy((uint8_t *)buf + done, base, part);
		done += part;
	}
	return done;
}

size_t scsi_iov_write(
	const struct iovec *iov, unsigned count, size_t skip, const void *buf, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < len; i++) {
		uint8_t *base;
		size_t part = iov_part(&iov[i], &skip, len - done, &base);

		if (part)
			memcpy(base, (const uint8_t *)buf + done, part);
		done += part;
	}
	return done;
}

/* a may change under us: what is told lies within it in any case. */
static size_t first_difference(const volatile uint8_t *a, const uint8_t *b, size_t len)
{
	size_t at = 0;

	while (at < len && a[at] == b[at])
		at++;
	return at;
}

size_t scsi_iov_match(
	const struct iovec *iov, unsigned count, size_t skip, const void *buf, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < len; i++) {
		uint8_t *base;
		size_t part = iov_part(&iov[i], &skip, len - done, &base);

		if (part && memcmp(base, (const uint8_t *)buf + done, part) != 0) {
			size_t same = first_difference(base, (const uint8_t *)buf + done, part);

			/* It differed a moment ago. */
			return done + (same < part ? same : part - 1);
		}
		done += part;
	}
	return done;
}

void scsi_iov_or(const struct iovec *iov, unsigned count, size_t skip, void *buf, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < len; i++) {
		uint8_t *to = (uint8_t *)buf + done, *base;
		size_t part = iov_part(&iov[i], &skip, len - done, &base);

		for (size_t at = 0; at < part; at++)
			to[at] |= base[at];
		done += part;
	}
}

unsigned scsi_iov_skip(struct iovec **iov, unsigned count, size_t len)
{
	while (count > 0 && len >= (*iov)->iov_len) {
		len -= (*iov)->iov_len;
		(*iov)++;
		count--;
	}
	if (count > 0) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + len;
		(*iov)->iov_len -= len;
	}
	return count;
}

unsigned scsi_iov_trim(struct iovec *iov, unsigned count, size_t len)
{
	unsigned i;

	for (i = 0; i < count && len > 0; i++) {
		if (iov[i].iov_len > len)
			iov[i].iov_len = len;
		len -= iov[i].iov_len;
	}
	return i;
}

void scsi_reply_begin(struct scsi_reply *reply, struct scsi_task *task, size_t allocation_length)
{
	reply->task = task;
	reply->limit = allocation_length < task->in_bytes ? allocation_length : task->in_bytes;
	reply->len = 0;
}

void scsi_reply_put(struct scsi_reply *reply, const void *buf, size_t len)
{
	if (reply->len < reply->limit) {
		size_t room = reply->limit - reply->len;

		scsi_iov_write(reply->task->in, reply->task->in_iovs, reply->len, buf,
			len < room ? len : room);
	}
	reply->len += len;
}

enum scsi_run scsi_reply_end(struct scsi_reply *reply)
{
	reply->task->transferred =
		(uint32_t)(reply->len < reply->limit ? reply->len : reply->limit);
	reply->task->status = SCSI_STATUS_GOOD;
	return SCSI_ENDED;
}

enum scsi_run scsi_reply(
	struct scsi_task *task, size_t allocation_length, const void *buf, size_t len)
{
	struct scsi_reply reply;

	scsi_reply_begin(&reply, task, allocation_length);
	scsi_reply_put(&reply, buf, len);
	return scsi_reply_end(&reply);
}
