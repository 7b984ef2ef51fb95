/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A running virtqueue: takes chains from the driver's ring, hands each as a checked and translated
 * vq_request to its device, returns it to the used ring. VIRTIO 1.2 section 2.6 to 2.8.
 *
 * Owner: one data reactor at a time, whose thread alone touches the ring and the requests. The
 * control reactor creates it, sends it to a reactor (virtqueue_start), and gets it back drained
 * (virtqueue_stop). In between it may be paused (ENABLE 0, a change of memory, a move to another
 * reactor): nothing is fetched, and what was in flight has ended, before pause is done. leave and
 * enter take it to another reactor; a leave that has not drained yet can be taken back (stay).
 *
 *	CREATED --start--> RUNNING --pause--> DRAINING --in flight 0--> PAUSED --resume--> RUNNING
 *	                      |  ^               |                        |
 *	                      |  +-----stay------+------------------------+
 *	                      +--(violation by the driver)--> BROKEN: fetches nothing, requests in
 *	flight end normally; stop still works. stop is allowed once it runs and drains first.
 *
 * A request lives in an array allocated with the queue, indexed by the head of its chain: the same
 * head cannot be in flight twice. The device's part of a request follows struct vq_request (it is
 * its first member) and is request_size bytes in all.
 *
 * Per turn: pop up to the budget; requests complete whenever they do; what was pushed is published
 * with one store to the used index and at most one signal in the DEFER_PUBLISH phase.
 *
 * With a queue region (config.inflight) requests in flight are recorded there, reference section
 * 11. virtqueue_recover, between create and start, finds what a back-end before us left behind. A
 * queue that has such requests, or that virtqueue_hold was called for, starts held: it pops nothing
 * until virtqueue_repeat, then what was recovered, in the order in which it was fetched first and
 * told by vq_request.recovered, and nothing new until virtqueue_release. Stop repeats what is left,
 * unless the queue is frozen or broken: the base that it answers counts it as done. A queue without
 * handle is never held: its device pops what was recovered first.
 *
 * A device may postpone requests for which its storage has no space (postpone.c). They are not in
 * flight, so nothing waits for them: a pause or a move takes them along, a stop leaves them to the
 * queue region or as if they had not been fetched.
 *
 * After freeze() (the connection is gone, reference section 12.2) nothing is fetched, and
 * completions are dropped: no used entry, no signal, not a byte of guest memory. A device asks
 * virtqueue_is_frozen before it writes a status of its own there.
 */
#ifndef VHOST_VIRTQUEUE_H
#define VHOST_VIRTQUEUE_H

#include "bdev/place.h"
#include "core/flow.h"
#include "core/poller.h"
#include "vhost/guest_memory.h"

#define VQ_INLINE_IOVS       8
#define VQ_SIZE_MAX          32768
#define VQ_SEGMENTS_MAX      1026 /* longest chain served, when the ring is smaller (15.3) */
#define VQ_REQUEST_BYTES_MAX (UINT64_C(64) << 20) /* sum of a chain; beyond: request error */

struct virtqueue;

/*
 * One chain. out: device-readable bytes (header, data-out), in: device-writable bytes. iov holds
 * out_iovs entries followed by in_iovs entries, all in our address space, split where regions end.
 * Zero-length descriptors are gone.
 */
struct vq_request {
	struct virtqueue *vq;
	struct iovec *iov;
	uint64_t out_bytes;
	uint64_t in_bytes;
	uint32_t out_iovs;
	uint32_t in_iovs;
	uint16_t head;
	uint16_t descriptors; /* in whichever tables */
	uint8_t in_flight; /* enum vq_flight; 0: it is not */
	/* A buffer is in no region (its iovec has a NULL base and its length), or the chain is
	 * beyond a limit. Must not go to a block device: the device answers with its error status.
	 * The iovec helpers stop at (read) or pass over (write, zero) such holes. */
	bool faulty;
	/* It may have been executed before, by a back-end that did not live to complete it. */
	bool recovered;
	uint8_t iov_slab; /* slab class + 1 of iov, 0: iov_inline */
	struct iovec iov_inline[VQ_INLINE_IOVS];
};

/* What a device does with a queue. On the queue's reactor. */
struct virtqueue_ops {
	size_t request_size; /* sizeof(its request), struct vq_request first */
	/* Every popped request; ends in virtqueue_push, at once or later. NULL: the queue is not
	 * polled, the device pops when it has something to say (the SCSI event queue). */
	void (*handle)(struct vq_request *request);
	/* What is recovered is repeated after that of all other rings of the front-end. */
	bool repeat_last;
	/* The device's context of a queue will be used soon (core/poller.h). Optional. */
	void (*prefetch)(void *device, enum poller_distance distance);
	/* Where a request in flight is, as far as that can be told; false: nothing of it is with a
	 * block device just now, and ret_place->submitted_ns, 0: not known, is all. */
	bool (*get_place)(const struct vq_request *request, struct bdev_io_place *ret_place);
	/* Space for a request was allocated (zeroed); set what never changes. Optional. */
	void (*request_init)(struct vq_request *request);
	/* Before push, while memory is logged: writable iovecs that were shortened become what they
	 * were, as far as something was written there. Again and again. Optional. */
	void (*restore)(struct vq_request *request);
};

struct dirty_log;

/* What of a queue's writes to guest memory is logged: dirty_ring.c. */
struct virtqueue_logging {
	const struct dirty_log *log; /* borrowed until another was set; NULL: nothing is */
	bool buffers;
	bool ring;
	uint64_t ring_gpa; /* of the device area */
};

struct virtqueue_config {
	uint64_t features; /* acknowledged */
	uint16_t size; /* entries */
	uint32_t base; /* SET_VRING_BASE as received */
	void *descriptors; /* our addresses, checked for alignment and size by the session */
	void *driver_area; /* avail ring, driver event suppression */
	void *device_area; /* used ring, device event suppression */
	struct guest_memory *memory; /* borrowed; the session keeps it until stop or set_memory */
	/* This ring's queue region (spec/vhost_inflight.h), aligned to 8, of inflight_size >= size
	 * entries; borrowed until stop. NULL: nothing is recorded. */
	void *inflight;
	uint16_t inflight_size;
	int kick_fd; /* borrowed until stop; -1: polled */
	int call_fd; /* borrowed until stop or set_call; -1: never signal */
	int err_fd; /* borrowed until stop or set_err; -1: none */
	const char *name; /* "vm1.blk0 queue 2", copied; for log lines */
	uint32_t delay_base_us; /* virtqueue_set_coalescing */
	uint32_t iops_threshold;
	void *device; /* the device's context of this queue, opaque here */
	struct virtqueue_logging logging;
};

struct virtqueue_info { /* a copy for listing */
	unsigned in_flight;
	unsigned postponed; /* wait for space */
	bool broken;
	uint64_t requests;
	uint64_t bytes;
};

/* ---- control reactor --------------------------------------------------------------------- */

/* Allocates ring state and requests; touches no guest memory. -EINVAL with a sentence. */
int virtqueue_create(const struct virtqueue_ops *ops, const struct virtqueue_config *config,
	struct reason *reason, struct virtqueue **ret_vq) MUST_CHECK;
/* Stopped or never started. */
void virtqueue_destroy(struct virtqueue *vq);

/* With a queue region, before start; reads guest memory. Any thread that has the queue to itself: a
 * worker, since tens of thousands of records are sorted. -EPROTO with a sentence: the region is not
 * this ring's, and unchanged. */
int virtqueue_recover(struct virtqueue *vq, struct reason *reason) MUST_CHECK;
/* How many requests it found. Before start. */
unsigned virtqueue_recovered(const struct virtqueue *vq);
/* Before start: it starts held. */
void virtqueue_hold(struct virtqueue *vq);

/* Runs on that reactor from now on; looks at the ring once without a kick. */
void virtqueue_start(struct virtqueue *vq, struct reactor *reactor, done_fn done, void *arg);
/* Drains, signals what is due, leaves the reactor. Only after done may memory and fds go. */
void virtqueue_stop(struct virtqueue *vq, done_fn done, void *arg);
void virtqueue_pause(struct virtqueue *vq, done_fn done, void *arg);
void virtqueue_resume(struct virtqueue *vq, done_fn done, void *arg);
/* Held: executes what was recovered. Done when all of it has been completed, or when it never will
 * be because the queue is broken, frozen or stopped. */
void virtqueue_repeat(struct virtqueue *vq, done_fn done, void *arg);
/* Held, after repeat: takes new requests from now on. */
void virtqueue_release(struct virtqueue *vq, done_fn done, void *arg);
/* Running: drains as pause does, then belongs to no reactor until virtqueue_enter. -ECANCELED: it
 * was told to stay before it had drained, and runs on where it was. */
void virtqueue_leave(struct virtqueue *vq, done_fn done, void *arg);
/* A leave under way is given up, if it has not drained yet; its own done tells. */
void virtqueue_stay(struct virtqueue *vq, done_fn done, void *arg);
/* It has left: runs on that reactor from now on, with that context of the device's. */
void virtqueue_enter(
	struct virtqueue *vq, struct reactor *reactor, void *device, done_fn done, void *arg);
/* From done on nothing is published, signalled or written to the guest any more. Then stop it: its
 * requests end silently. */
void virtqueue_freeze(struct virtqueue *vq, done_fn done, void *arg);
/* Paused, stopped or created: memory and the three areas as translated by the new table. */
void virtqueue_set_memory(struct virtqueue *vq, struct guest_memory *memory, void *descriptors,
	void *driver_area, void *device_area);
/* Running or not. call: signalled once. done: the old fd is not used any more. */
void virtqueue_set_kick(struct virtqueue *vq, int fd, done_fn done, void *arg);
void virtqueue_set_call(struct virtqueue *vq, int fd, done_fn done, void *arg);
void virtqueue_set_err(struct virtqueue *vq, int fd, done_fn done, void *arg);
/* Running or not. done: the log before it is not used any more; what is written from now on is in
 * the new one. */
void virtqueue_set_logging(
	struct virtqueue *vq, const struct virtqueue_logging *logging, done_fn done, void *arg);
/* Any thread. Signals are delayed above that rate of requests (coalesce.c); delay_base_us 0: never.
 * The threshold is not 0. */
void virtqueue_set_coalescing(
	struct virtqueue *vq, uint32_t delay_base_us, uint32_t iops_threshold);
/* Any thread: a snapshot, values of slightly different moments. */
void virtqueue_get_info(const struct virtqueue *vq, struct virtqueue_info *ret_info);

/*
 * What is in flight, and what is postponed. Asked of the queue's own reactor: nothing is recorded
 * for it. A query is its asker's; the queue may be moved, paused, stopped and destroyed as ever
 * meanwhile.
 */
enum vq_request_state { VQ_REQUEST_ELSEWHERE, VQ_REQUEST_PLACED, VQ_REQUEST_POSTPONED };

struct vq_request_info {
	enum vq_request_state state;
	uint16_t head;
	uint64_t age_ns; /* since the block layer had it first; UINT64_MAX: not known */
	struct bdev_io_place place; /* PLACED */
};

struct virtqueue_query {
	uint64_t older_than_ns; /* others are passed over, and those of unknown age */
	unsigned room;
	struct vq_request_info *requests; /* room entries */
	unsigned count; /* filled, at done */
	uint64_t more; /* for which there was no room */
	done_fn done;
	void *arg;

	struct message message;
	struct virtqueue *vq;
	struct reactor *origin;
};

/* Control reactor; not of a queue that has left. False: it is leaving, or has nothing in flight;
 * done is not called then. */
bool virtqueue_query(struct virtqueue *vq, struct virtqueue_query *query);

/* Stopped: the value GET_VRING_BASE answers (reference section 8.3). */
uint32_t virtqueue_base(const struct virtqueue *vq);

/* ---- the queue's reactor ----------------------------------------------------------------- */

/* The next chain, or NULL: ring empty, paused, broken, or no memory for its iovecs just now. For
 * devices without handle, and for a task management function that first takes what the driver has
 * published already. */
struct vq_request *virtqueue_pop(struct virtqueue *vq);

/* Gives the request back to the driver: written bytes from the start of its writable part. */
void virtqueue_push(struct vq_request *request, uint32_t written);

/* Instead of push: there is no space for what it writes. It is handled again, from its beginning,
 * now and then and after pauses, moves and restarts, until it is pushed. Its buffers are no longer
 * the device's. False: it must be answered now, whatever the answer. */
bool virtqueue_postpone(struct vq_request *request);
/* All those are to be handled next; for a task management function. */
void virtqueue_try_postponed(struct virtqueue *vq);

/* The chain was too short to be answered at all, or broke a rule the device checks: breaks the
 * ring (returns the chain with length 0). reason is a literal. */
void virtqueue_break(struct vq_request *request, const char *reason);

/* What ends now ends unseen: its status must not be written to guest memory. */
bool virtqueue_is_frozen(const struct virtqueue *vq);
struct reactor *virtqueue_reactor(const struct virtqueue *vq);
uint16_t virtqueue_size(const struct virtqueue *vq); /* entries */
void *virtqueue_device(const struct virtqueue *vq);
uint64_t virtqueue_features(const struct virtqueue *vq);
const char *virtqueue_name(const struct virtqueue *vq);

/* ---- iovec helpers ----------------------------------------------------------------------- */

/* Copies up to len bytes at byte offset skip of the iovecs; returns the bytes copied, fewer at the
 * end and before a hole. */
size_t vq_iov_read(const struct iovec *iov, unsigned iovcnt, size_t skip, void *buf, size_t len);
size_t vq_iov_write(
	const struct iovec *iov, unsigned iovcnt, size_t skip, const void *buf, size_t len);
/* Zeroes up to len bytes at skip. */
size_t vq_iov_zero(const struct iovec *iov, unsigned iovcnt, size_t skip, size_t len);

/*
 * Cuts the window [skip, skip + len) out of the iovecs in place: adjusts the first and last entry
 * and returns the first entry and in *ret_iovcnt their number. The entries outside keep their
 * place; the cut ones are changed, so copy headers out before. For data between header and status.
 */
struct iovec *vq_iov_slice(
	struct iovec *iov, unsigned iovcnt, size_t skip, size_t len, unsigned *ret_iovcnt);

#endif
