/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests on a queue pair: the data path. Everything here runs on the queue pair's reactor; it is
 * opened and closed by controller.h.
 *
 * A request of any length and with any buffers is taken. It is cut into commands at what the
 * controller transfers at once and at the namespace's boundary; the commands of one request run
 * side by side. What finds no free slot waits, first in first out. No lock, no allocation.
 */
#ifndef NVME_QPAIR_H
#define NVME_QPAIR_H

#include "nvme/controller.h"

#define NVME_QPAIR_ENTRIES 256u
#define NVME_TRANSFER_MAX  (512u * 1024) /* bytes of a command */

enum nvme_request_type {
	NVME_REQUEST_READ,
	NVME_REQUEST_WRITE,
	NVME_REQUEST_FLUSH,
	NVME_REQUEST_ZEROES,
	NVME_REQUEST_DEALLOCATE,
};

enum nvme_request_flags {
	NVME_REQUEST_FUA = 1 << 0, /* all that change something: stable when it ends */
	NVME_REQUEST_KEEP = 1 << 1, /* ZEROES: must not deallocate */
};

/* Embedded in the submitter's; what is above the line is filled by it and borrowed until done. */
struct nvme_request {
	const struct iovec *iov; /* READ, WRITE: length bytes in all */
	const struct nvme_namespace *ns;
	uint64_t offset; /* bytes, whole blocks */
	uint64_t length;
	void (*done)(struct nvme_request *request); /* see below */
	uint16_t iovcnt;
	uint8_t type;
	uint8_t flags;
	int32_t status; /* at done: 0, -EIO, -ENOSPC, -ENODEV, -EOPNOTSUPP, -EROFS */

	/* the queue pair's */
	struct nvme_request *next;
	uint64_t progress; /* bytes that commands have been made of */
	size_t iov_skip; /* where these end */
	uint16_t iov_index;
	uint16_t commands; /* under way */
	bool queued;
	bool flushing; /* its last command is a FLUSH */
};

/* done may be called from inside, and does not submit itself. */
void nvme_qpair_submit(struct nvme_qpair *qpair, struct nvme_request *request);

#endif
