/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One request of any device type: a readable byte stream (header and data-out), a writable byte
 * stream (data-in and status), cut into descriptors wherever the test likes. virtio says that a
 * device must parse by bytes, not by descriptors; this is how one proves it.
 *
 * Every segment becomes an allocation of its own in guest memory, the bytes are copied there at
 * submit and back at completion. So it is for tests; the load generator does without.
 *
 * Life: fill the upper half (zero the rest), fe_io_submit(), fe_io_publish(), fe_io_reap(). From
 * submit to reap the struct and the buffers it points to must stay. A request whose ring was reset
 * is taken back by fe_io_drop(); one that may still be completed is left to itself by
 * fe_io_abandon().
 */
#ifndef FRONTEND_IO_H
#define FRONTEND_IO_H

#include "frontend/ring.h"

#define FE_IO_MAX_SEGMENTS 2048u

struct fe_io {
	/* What to send. */
	const void *head; /* start of the readable stream */
	uint32_t head_len;
	const void *out; /* goes on behind it */
	uint32_t out_len;
	void *in_first; /* start of the writable stream */
	uint32_t in_first_len;
	void *in_last; /* goes on behind it */
	uint32_t in_last_len;
	/*
	 * Lengths of the descriptors of each stream; zeroes are allowed. What is left goes into one
	 * more. Without a list: one descriptor for each of the parts above that is not empty.
	 */
	const uint32_t *out_cuts, *in_cuts; /* borrowed until submit returns */
	uint32_t out_cut_count, in_cut_count;
	/* How many descriptors are direct, see fe_chain. FE_IO_ALL_DIRECT: no table. */
	uint32_t direct;
	bool indirect_write;
	uint32_t skew; /* bytes by which each buffer misses its natural alignment (4096 from
			  512 bytes on, 16 below) */
	bool one_region; /* all buffers in region slot `region` */
	uint32_t region;
	uint8_t fill; /* what writable memory holds before */
	void *user; /* the test's own */

	/* What came back. */
	bool done;
	uint32_t used_len; /* as the device reported it */
	uint32_t stray; /* bytes behind used_len that the device changed nevertheless */
	uint16_t id;

	/* ours alone */
	struct fe_segment *segments;
	uint32_t segment_count;
	void **buffers;
};

#define FE_IO_ALL_DIRECT UINT32_MAX

/* Places the request; -ENOSPC, -EINVAL as fe_ring_add(). */
int fe_io_submit(struct fe_ring *ring, struct fe_io *io);
/* Makes all submitted ones visible and kicks if the device wants it. */
void fe_io_publish(struct fe_ring *ring);
/* 1: one request is complete, its buffers filled; 0: none; -EPROTO. */
int fe_io_reap(struct fe_ring *ring, struct fe_io **ret_io);
/* Waits for one and reaps it: 0, -ETIMEDOUT, -ENOMSG, -EPROTO. */
int fe_io_wait(struct fe_ring *ring, struct fe_io **ret_io, int timeout_ms);
/* Submit, publish, wait until this one is done; others that end meanwhile only become `done`. When
 * it fails behind the submit the request has been abandoned. */
int fe_io_run(struct fe_ring *ring, struct fe_io *io, int timeout_ms);
/* Frees what a request holds that will never be reaped. */
void fe_io_drop(struct fe_ring *ring, struct fe_io *io);

/* Nobody waits for this one any more: its completion will be swallowed, its guest memory stays
 * taken, since the device may still write there. The struct is free at once. */
void fe_io_abandon(struct fe_ring *ring, struct fe_io *io);

#endif
