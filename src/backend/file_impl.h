/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between the files of the file backend:
 *
 *	file.c		make, describe, rescan and destroy a device
 *	file_open.c	open a path and find out what it is: on a worker
 *	file_claim.c	the write claim: flock()
 *	file_io.c	READ and WRITE
 *	file_bounce.c	those that need copying; the device on a reactor
 *	file_clear.c	FLUSH, UNMAP and WRITE_ZEROES
 *	file_report.c	what the log says of requests that failed
 */
#ifndef BACKEND_FILE_IMPL_H
#define BACKEND_FILE_IMPL_H

#include "backend/backends.h"
#include "core/poller.h"
#include "core/slab.h"
#include "core/worker.h"

/* What the kernel takes in one call. */
#define FILE_IOV_MAX      1024u
#define FILE_BOUNCE_ALIGN 4096u
/* What a piece through bounce memory has at most. */
#define FILE_BOUNCE_BYTES (128 * KIB)

/* Requests that failed: file_report.c. */
struct file_failures {
	_Atomic bool told;
	_Atomic uint32_t more; /* after the first */
	uint8_t first_type; /* enum bdev_io_type */
	int first_status;
	uint64_t first_offset;
	uint64_t first_length;
	struct message message;
	struct timer timer;
};

struct file_bdev {
	struct bdev bdev;

	/* constant once registered */
	int fd; /* -1: not open */
	bool direct;
	bool is_block;
	bool can_unmap;
	uint32_t offset_align; /* O_DIRECT: of offset and length; at most a block */
	struct os_file_info info;
	struct file_bdev_options options; /* strings are our own */

	/* O_DIRECT: of buffers and their lengths; raised once when that is not enough */
	_Atomic uint32_t memory_align;
	/* What the kernel has refused once is not asked again; any reactor. */
	_Atomic bool no_punch;
	_Atomic bool no_zero_range;

	/* A data reactor has met an end that was not expected: the control reactor looks. */
	_Atomic bool size_doubted;
	struct message doubt_message;
	struct file_failures failures;

	/* control reactor's */
	struct bdev_gate rescan_gate;
	bool claimed;
	struct worker_job job; /* open, close */
	struct reason *reason; /* of the job, borrowed */
	done_fn destroyed;
	void *arg;
};

/* The device on a reactor. */
struct file_channel {
	struct poller poller; /* goes on with what is on later */
	struct bdev_io_list later; /* to be copied, or to begin, in a later turn */
	struct bdev_io_list starved; /* wait until a bounce ends */
	unsigned bounces; /* requests that have bounce memory */
	uint64_t copy_turn; /* the last that copied */
	uint64_t copy_bytes; /* in that turn */
};

/* The request while this backend has it. os_io stands first in both. */
struct file_io {
	union {
		struct os_io os_io; /* under way; of a transfer, length is that of the piece */
		struct slab_waiter waiter; /* waits for bounce memory */
	};
	struct iovec iov; /* a piece that is no part of the request's array */
	uint64_t progress; /* bytes that are done */
	void *bounce; /* of bounce_class, or NULL */
	uint8_t bounce_class;
	uint8_t retries;
	bool bounced; /* this piece goes through bounce */
	bool suspicious; /* the kernel refused this request's own buffers */
};

_Static_assert(sizeof(struct file_io) <= BDEV_IO_BACKEND_SIZE, "fits in the request");
_Static_assert(offsetof(struct file_io, os_io) == 0, "found from the os_io");

static inline struct file_bdev *file_bdev_of(const struct bdev *bdev)
{
	return container_of(bdev, struct file_bdev, bdev);
}

static inline struct file_channel *file_channel_of(struct bdev_channel *channel)
{
	return (struct file_channel *)channel->backend;
}

static inline struct file_io *file_io_of(struct bdev_io *io)
{
	return (struct file_io *)io->backend.bytes;
}

static inline struct bdev_io *file_io_request(const struct os_io *os_io)
{
	return container_of(os_io, struct bdev_io, backend.os_io);
}

/* ---- file.c ---- */

/* Looks at the size. */
void file_check_size(struct file_bdev *file);
/* Any reactor: looks at the size soon. */
void file_doubt_size(struct file_bdev *file);
bool bdev_is_any_file(const struct bdev *bdev);

/* ---- file_report.c ---- */

/* Any reactor: a request is about to end with that error, for the log. */
void file_report_failure(struct file_bdev *file, const struct bdev_io *io, int status);
/* Control reactor: the device goes. */
void file_report_end(struct file_bdev *file);

/* ---- file_open.c, on a worker ---- */

int file_open_job(struct worker_job *job);
int file_close_job(struct worker_job *job);

/* ---- file_claim.c ---- */

void file_claim(struct bdev *bdev, struct reason *reason, done_fn done, void *arg);
void file_release(struct bdev *bdev, done_fn done, void *arg);

/* ---- file_io.c ---- */

void file_submit(struct bdev_channel *channel, struct bdev_io *io);
/* The call was interrupted or could not wait: may it be made again? */
bool file_io_may_retry(struct bdev_io *io, int64_t result);
/* Goes on with the request's next piece. */
void file_transfer(struct file_bdev *file, struct bdev_io *io);
void file_piece_submit(struct file_bdev *file, struct bdev_io *io, const struct iovec *iov,
	unsigned iovcnt, uint64_t length);
/* So many bytes more are where they belong. */
void file_piece_advance(struct bdev_io *io, uint64_t bytes);

struct file_place {
	unsigned index; /* of the iovec */
	size_t skip; /* bytes of it */
};

struct file_place file_io_place(const struct bdev_io *io, uint64_t progress);

/* ---- file_bounce.c ---- */

int file_channel_init(struct bdev_channel *channel);
void file_channel_fini(struct bdev_channel *channel);
/* The next piece goes through bounce memory. */
void file_bounce_transfer(struct file_bdev *file, struct bdev_io *io);
/* So much was read into the bounce memory. */
void file_bounce_read(struct bdev_io *io, size_t length);
/* Gives the memory of a request back. */
void file_bounce_end(struct bdev_io *io);

/* ---- file_clear.c ---- */

void file_flush(struct file_bdev *file, struct bdev_io *io);
/* UNMAP and WRITE_ZEROES. */
void file_clear(struct file_bdev *file, struct bdev_io *io);
/* The kernel or file system does not know this operation. */
bool file_is_unsupported(int64_t result);

#endif
