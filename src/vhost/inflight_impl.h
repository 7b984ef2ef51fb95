/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The in-flight region of a front-end (reference section 11), as its session has it, and the order
 * in which what it tells is repeated. Control reactor; mapping and looking through it on workers.
 *
 *	inflight.c		making, mapping and unmapping it; where a ring's part is
 *	recovery.c		who waits for whom until everything is repeated
 *	messages_inflight.c	GET_INFLIGHT_FD, SET_INFLIGHT_FD
 *
 * A region is set while no ring runs and is used by the rings that start afterwards. It stays
 * mapped until another is set or the session ends, so longer than any virtqueue that uses it. Of
 * what we made for a GET nothing is kept: only the front-end outlives us.
 */
#ifndef VHOST_INFLIGHT_IMPL_H
#define VHOST_INFLIGHT_IMPL_H

#include "core/worker.h"
#include "spec/vhost_inflight.h"
#include "spec/vhost_user.h"
#include "vhost/sigbus_impl.h"

#define INFLIGHT_QUEUES_MAX     256
#define INFLIGHT_QUEUE_SIZE_MAX 32768

struct ring;
struct vhost_device;
struct vhost_session;

struct inflight_region {
	uint16_t queues;
	uint16_t queue_size; /* desc_num of each */
	uint64_t bytes; /* from start */
	uint8_t *start; /* aligned to 8 */
	void *map_addr;
	size_t map_len;
	struct sigbus_slot *sigbus;
};

struct session_inflight {
	struct inflight_region *region; /* NULL: nothing is recorded */
	bool looked; /* through region, for the rings that have records */
	struct timer patience; /* with such rings that do not start */
	bool first; /* no ring has run in this session before the one that looks */
	bool used; /* found: by a back-end before this session, or by the ring's last run */
	struct timer peers_patience; /* with front-ends that share a disk and do not come */

	/* the job at hand, one at a time */
	struct worker_job job;
	struct os *os;
	struct reason *reason;
	struct vhost_user_inflight layout; /* asked for, or told */
	int fd; /* made, or borrowed from the message */
	struct inflight_region *subject; /* mapped, or to be unmapped; NULL: none */
	bool packed;
	bool records[INFLIGHT_QUEUES_MAX]; /* found */
};

/* ---- inflight.c -------------------------------------------------------------------------- */

/* Makes a file that is large enough for inflight.layout in both formats of rings: its size into the
 * layout, its descriptor, the caller's to close, into inflight.fd. */
void inflight_create(struct vhost_session *s, done_fn done, void *arg);
/* Maps inflight.layout of inflight.fd and puts it in the place of the region that was there. */
void inflight_set(struct vhost_session *s, done_fn done, void *arg);
/* No ring runs: unmaps the region. */
void inflight_forget(struct vhost_session *s, done_fn done, void *arg);
/* The driver starts from nothing: so do the records of all rings that are closed. */
void inflight_reset(struct vhost_session *s);
/* The queue region of that ring in the format in force; NULL: nothing is recorded. -EINVAL with a
 * sentence: it has none. */
int inflight_find_queue(const struct vhost_session *s, unsigned index, struct reason *reason,
	void **ret_queue) MUST_CHECK;
/* Fills inflight.records. Only an upper bound: a mark may be of a request that was completed just
 * before the end. */
void inflight_look(struct vhost_session *s, done_fn done, void *arg);

/* ---- recovery.c -------------------------------------------------------------------------- */

enum ring_recovery {
	RECOVERY_NONE, /* nothing to repeat, or all is */
	RECOVERY_EXPECTED, /* the region has records of it, it does not run yet */
	RECOVERY_READY, /* it runs, held, and has to wait for others */
	RECOVERY_REPEATING,
};

void recovery_init(struct vhost_session *s);
/* After inflight_look, before rings open. */
void recovery_expect(struct vhost_session *s);
/* Its virtqueue is about to start: decides whether it starts held. */
void recovery_ring_opening(struct ring *ring);
/* Its virtqueue is gone. */
void recovery_ring_closed(struct ring *ring);
/* Nobody waits any more for rings that are closed. */
void recovery_forget_closed(struct vhost_session *s);
/* Whenever something has changed and no ring is moving: lets repeat and go who can. */
void recovery_advance(struct vhost_session *s);
/* The session ends. */
void recovery_stop(struct vhost_session *s);
/* The session has ended, or has taken a step: who shares a disk with it may go on. */
void recovery_tell_peers(struct vhost_device *device);

#endif
