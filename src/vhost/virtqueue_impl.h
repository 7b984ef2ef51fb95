/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside of a virtqueue, for virtqueue.c (life, fairness, sleeping), chain.c (descriptors to
 * iovecs), split.c and packed.c (the two formats of a ring), inflight_*.c (their recovery),
 * dirty_ring.c (either format while its writes are logged), postpone.c (requests that wait for
 * space), query.c (what is in flight).
 *
 * Recording (reference section 11), in each format inline where the step happens:
 *
 *	pop	the chain was read and checked; the mark is set; then the device sees the request
 *	push	the head is noted in inflight.batch; nothing of it is visible yet
 *	publish	the batch is linked into the region; the used index (packed: the first flags) is
 *		stored; the marks of the batch are cleared; the region's used index follows
 *
 * A process that is killed leaves a prefix of its stores in program order, whatever the processor
 * does to their order in the eyes of others: so between these steps fences for the compiler
 * (inflight_step) are enough. Towards the driver the orders are the same as without recording.
 */
#ifndef VHOST_VIRTQUEUE_IMPL_H
#define VHOST_VIRTQUEUE_IMPL_H

#include "spec/vhost_inflight.h"
#include "spec/virtio_ring.h"
#include "vhost/dirty_log.h"
#include "vhost/virtqueue.h"

enum virtqueue_state { VQ_CREATED, VQ_RUNNING, VQ_DRAINING, VQ_PAUSED, VQ_STATES };

/* One request of the control reactor to the queue, embedded: they cannot fail for want of memory.
 * At most one of a kind is under way. */
enum virtqueue_op_kind {
	VQ_OP_START,
	VQ_OP_STOP,
	VQ_OP_PAUSE,
	VQ_OP_RESUME,
	VQ_OP_LEAVE,
	VQ_OP_STAY,
	VQ_OP_FREEZE,
	VQ_OP_REPEAT,
	VQ_OP_RELEASE,
	VQ_OP_SET_KICK,
	VQ_OP_SET_CALL,
	VQ_OP_SET_ERR,
	VQ_OP_SET_LOGGING,
	VQ_OP_KINDS,
};

struct virtqueue_op {
	struct message message;
	struct virtqueue *vq;
	struct reactor *origin;
	bool busy;
	int fd;
	int rc; /* of the answer */
	done_fn done;
	void *arg;
};

enum chain_result { CHAIN_OK, CHAIN_BROKEN, CHAIN_DRY };

/* The ring format's part. create to set_areas on the control reactor, all else on the queue's. */
struct vring_ops {
	/* Does config fit the format? Allocates what it needs. -EINVAL with a sentence, -ENOMEM. */
	int (*create)(struct virtqueue *vq, struct reason *reason);
	void (*destroy)(struct virtqueue *vq);
	void (*set_areas)(
		struct virtqueue *vq, void *descriptors, void *driver_area, void *device_area);
	/* Sets up indices from config base and, where the format says so, from memory. */
	void (*start)(struct virtqueue *vq);
	struct vq_request *(*pop)(struct virtqueue *vq);
	void (*push)(struct virtqueue *vq, struct vq_request *request, uint32_t written);
	/* Makes what was pushed visible; true when the driver wants a signal. */
	bool (*publish)(struct virtqueue *vq);
	/* Kicks from the driver. notify_on: true when the ring is still empty afterwards. */
	bool (*notify_on)(struct virtqueue *vq);
	void (*notify_off)(struct virtqueue *vq);
	uint32_t (*base)(const struct virtqueue *vq);
	/* The ring will be polled soon (core/poller.h). */
	void (*prefetch)(const struct virtqueue *vq, enum poller_distance distance);
	/* With a queue region, before start (virtqueue_recover): initialises a fresh region, or
	 * checks a used one whole, then repairs it, sets the indices (inflight.resumed) and lists
	 * in inflight.recovered what was in flight, in counter order. -EPROTO with a sentence: the
	 * region cannot be that of this ring, and was not changed. */
	int (*recover)(struct virtqueue *vq, struct reason *reason);
	/* The next of inflight.recovered, read and checked as a new one; it is recorded already.
	 * NULL: no more, broken, or dry. */
	struct vq_request *(*pop_recovered)(struct virtqueue *vq);
	/* Reads the chain of a request that was postponed, as it was fetched. */
	enum chain_result (*pop_again)(struct virtqueue *vq, struct vq_request *request);
	/* Not recorded, and nothing is in flight: of the chains that were fetched last, as far as
	 * they are postponed, `most` at the most, becomes VQ_IDLE what base may stand before. */
	void (*take_back)(struct virtqueue *vq, unsigned most);
};

extern const struct vring_ops split_ops;
extern const struct vring_ops packed_ops;

struct split_ring {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t mask;
	uint16_t avail_next; /* next entry to fetch */
	uint16_t avail_seen; /* the driver's index when last looked at */
	uint16_t used_next; /* where the next used element goes; beyond what is published */
	uint16_t used_decided; /* the index at the previous signal decision */
};

/* A fetched chain of a packed ring, by buffer id. */
struct packed_out {
	uint16_t slots;
	uint16_t entry; /* its first in the queue region */
};

/* Our copy of the lists in a packed ring's queue region, by entry. */
struct packed_entry {
	uint16_t next; /* free entries, and those of a chain */
	uint16_t last; /* of a chain: in its first entry */
};

struct packed_ring {
	struct vring_packed_desc *desc;
	union vring_packed_event *driver_event;
	union vring_packed_event *device_event;
	struct vring_packed_desc *chain; /* our copy of the slots being fetched */
	struct packed_out *out;
	struct packed_entry *entries; /* NULL: nothing is recorded */
	uint16_t free_head; /* of the free ones */
	uint32_t out_slots; /* fetched, and not yet published as used */
	uint32_t batch_slots; /* pushed since the last publish */
	uint16_t batch_start; /* the first slot of those */
	uint16_t batch_flags; /* which make it, and so the batch, visible */
	uint16_t avail_next; /* position of the next slot to fetch, and its wrap counter */
	uint16_t used_next; /* where the next used descriptor goes; beyond what is published */
	bool avail_wrap;
	bool used_wrap;
};

/* Recording of one ring. Our own copies count: what the front-end writes into the region while the
 * ring runs is not read, but for a mark that should not be there. */
struct vq_inflight {
	union { /* NULL: nothing is recorded */
		void *region;
		struct vhost_inflight_split *split;
		struct vhost_inflight_packed *packed;
	};
	uint16_t desc_num; /* >= size */
	bool resumed; /* recover has set the indices: config.base does not count */
	uint16_t last_batch_head; /* split */
	uint16_t batch_count;
	uint16_t *batch; /* pushed and not published: heads, packed: entries; room for size */
	uint64_t counter; /* of the next chain */
	uint16_t *recovered; /* heads, packed: entries; NULL: none */
	unsigned recovered_count;
	unsigned recovered_next; /* those before it have been popped */
};

/* vq_request.in_flight. From IDLE on the head is the driver's. */
enum vq_flight {
	VQ_IDLE,
	VQ_IN_FLIGHT,
	VQ_POSTPONED,
	VQ_IN_FLIGHT_AGAIN, /* it was postponed */
};

/* postpone.c */
struct vq_postponed {
	uint16_t *heads; /* a line of them from `first` on, around the end: room for size */
	unsigned first;
	_Atomic unsigned count; /* read by anybody, see COUNTER_ADD */
	bool last_try; /* stopping: what finds no space now is answered so */
	uint64_t period_ns;
	struct timer timer;
};

/* coalesce.c */
struct vq_coalesce {
	_Atomic uint64_t setting; /* any thread's: delay_base_us << 32 | iops_threshold; 0: none */
	uint64_t delay_ns; /* after each signal, by the last sample */
	uint64_t next_ns; /* no signal before */
	uint64_t sampled_ns;
	uint64_t sampled_requests;
	struct timer late; /* a signal waits for next_ns */
};

/* dirty_ring.c */
struct vq_dirty {
	struct virtqueue_logging logging;
	struct virtqueue_logging next; /* of VQ_OP_SET_LOGGING */
	const struct vring_ops *plain; /* NULL: never logged */
	struct vring_ops ops;
	unsigned hint;
};

struct virtqueue {
	struct poller poller;
	struct reactor *reactor;
	const struct virtqueue_ops *ops;
	const struct vring_ops *ring;
	union {
		struct split_ring split;
		struct packed_ring packed;
	};
	struct vq_inflight inflight;
	struct guest_memory *memory;
	unsigned region_hint; /* of data buffers */
	unsigned table_hint; /* of indirect tables */
	uint8_t *requests; /* set up when they are used first (virtqueue_request) */
	size_t request_size;
	uint64_t features;
	uint32_t chain_max; /* descriptors */
	_Atomic unsigned in_flight; /* this and the statistics: read by anybody, see COUNTER_ADD */
	uint16_t size;
	bool event_idx;
	bool indirect;
	_Atomic bool broken;
	bool frozen;
	bool held; /* takes nothing new: by virtqueue_hold, or recovered requests are left */
	bool repeating; /* recovered requests may be popped */
	bool repeat_asked; /* VQ_OP_REPEAT waits for an answer */
	bool is_packed;
	bool dry; /* the last pop wanted memory that was not there yet */
	bool first_decision; /* signal whatever the driver says */
	unsigned due; /* requests that were postponed are to be tried: so many */
	enum virtqueue_state state;
	struct deferred publish;
	uint64_t memory_changed_ns;
	_Atomic uint64_t stat_requests;
	_Atomic uint64_t stat_bytes;
	void *device;
	int call_fd;
	int err_fd;
	struct os_watch kick;
	uint32_t base; /* of the last stop, or as configured */
	enum virtqueue_op_kind draining_for;
	struct vq_coalesce coalesce;
	struct vq_postponed postponed;
	struct virtqueue_op op[VQ_OP_KINDS];
	struct vq_dirty dirty;
	struct log_limit log_limit;
	unsigned queries; /* control reactor's: under way (query.c) */
	bool abandoned; /* destroyed when they have been answered */
	char name[64];
};

/* One writer, its own thread: a plain add, without the bus lock that += on an _Atomic would take.
 */
#define COUNTER_ADD(counter, n)                                                                    \
	atomic_store_explicit(&(counter),                                                          \
		atomic_load_explicit(&(counter), memory_order_relaxed) + (n),                      \
		memory_order_relaxed)

/* The driver broke a rule: nothing more is fetched. reason is a literal; value is what it gave. */
void virtqueue_set_broken(struct virtqueue *vq, const char *reason, uint64_t value);

/* Keeps the stores before it before the stores after it, as the thread that makes them and whoever
 * looks after its death see them. */
static inline void inflight_step(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

/* Recovered requests that have not been popped. */
static inline unsigned inflight_left(const struct virtqueue *vq)
{
	return vq->inflight.recovered_count - vq->inflight.recovered_next;
}

struct inflight_mark { /* found by recover */
	uint64_t counter;
	uint16_t index; /* of the head, packed: entry */
};

/* inflight_recover.c: is a used region, by what its head says, one for this ring? -EPROTO with a
 * sentence. */
int inflight_check_header(const struct virtqueue *vq, uint64_t features, uint16_t version,
	uint16_t desc_num, struct reason *reason) MUST_CHECK;
/* inflight_recover.c: sorts marks by counter into inflight.recovered (once), and sets the counter
 * of the next chain. -ENOMEM. */
int inflight_set_recovered(
	struct virtqueue *vq, struct inflight_mark *marks, unsigned count) MUST_CHECK;

/* Its place: only to be prefetched. */
static inline struct vq_request *virtqueue_request_at(const struct virtqueue *vq, uint16_t head)
{
	return (struct vq_request *)(void *)(vq->requests + head * vq->request_size);
}

void virtqueue_init_request(struct virtqueue *vq, uint16_t head);

static inline struct vq_request *virtqueue_request(struct virtqueue *vq, uint16_t head)
{
	struct vq_request *request = virtqueue_request_at(vq, head);

	if (unlikely(!request->vq))
		virtqueue_init_request(vq, head);
	return request;
}

/* inflight_split.c */
int split_recover(struct virtqueue *vq, struct reason *reason);

void virtqueue_signal(struct virtqueue *vq);

/* virtqueue.c: it is polled, also while it drains. */
void virtqueue_poll_again(struct virtqueue *vq);

/* ---- postpone.c --------------------------------------------------------------------------- */

/* The queue runs, or goes on: requests that wait are tried from now on. And no longer. */
void postponed_resume(struct virtqueue *vq);
void postponed_halt(struct virtqueue *vq);
/* With `due` requests to be tried: the next, in flight again; NULL: none can be just now. */
struct vq_request *postponed_pop(struct virtqueue *vq);
/* One that was tried is returned to the driver. */
void postponed_answered(struct virtqueue *vq);
/* A stop has drained: true while requests that waited have to be answered first. */
bool postponed_go_on(struct virtqueue *vq);

/* ---- coalesce.c --------------------------------------------------------------------------- */

/* The driver wants a signal. True: it will get it later. */
bool coalesce_delays(struct virtqueue *vq);
/* Sends a signal that waits; before the queue leaves its reactor. */
void coalesce_flush(struct virtqueue *vq);
/* A signal that waits is not needed any more. */
void coalesce_forget(struct virtqueue *vq);

static inline bool coalesce_is_on(const struct virtqueue *vq)
{
	return atomic_load_explicit(&vq->coalesce.setting, memory_order_relaxed) != 0;
}

/* packed.c, inflight_packed.c */
static inline void packed_advance(
	const struct virtqueue *vq, uint16_t *position, bool *wrap, uint32_t slots)
{
	uint32_t next = *position + slots;

	if (next >= vq->size) {
		next -= vq->size;
		*wrap = !*wrap;
	}
	*position = (uint16_t)next;
}

/* Old and new position become this one. At once: between an index and its wrap counter recovery
 * could not tell which of two rounds is meant. */
static inline void packed_region_set_used(
	struct vhost_inflight_packed *region, uint16_t position, bool wrap)
{
	const union vhost_inflight_packed_used used = {.idx = position,
		.old_idx = position,
		.wrap_counter = wrap,
		.old_wrap_counter = wrap};

	__atomic_store_n(&region->used.word, used.word, __ATOMIC_RELAXED);
	inflight_step();
}

/* May the ring begin at vq->base? -EINVAL with a sentence. Sets the positions. */
int packed_set_base(struct virtqueue *vq, struct reason *reason) MUST_CHECK;
int packed_recover(struct virtqueue *vq, struct reason *reason);

/* ---- dirty_ring.c ------------------------------------------------------------------------- */

void virtqueue_apply_logging(struct virtqueue *vq, const struct virtqueue_logging *logging);

/* ---- chain.c ------------------------------------------------------------------------------ */

/* Walks the chain at head in the split descriptor table, fills request's iovecs and counts. */
enum chain_result chain_read_split(struct virtqueue *vq, struct vq_request *request, uint16_t head);
/* The same of the slots of a packed ring, already copied: count > 0. */
enum chain_result chain_read_packed(struct virtqueue *vq, struct vq_request *request,
	const struct vring_packed_desc *slots, uint32_t count);
/* Gives the iovecs back. */
static inline void chain_release(struct virtqueue *vq, struct vq_request *request);
void chain_release_slab(struct virtqueue *vq, struct vq_request *request);

static inline void chain_release(struct virtqueue *vq, struct vq_request *request)
{
	if (unlikely(request->iov_slab))
		chain_release_slab(vq, request);
}

#endif
