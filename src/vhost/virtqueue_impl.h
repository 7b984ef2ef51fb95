/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside of a virtqueue, for virtqueue.c (life, fairness, sleeping), chain.c (descriptors to
 * iovecs), split.c and packed.c (the two formats of a ring).
 */
#ifndef VHOST_VIRTQUEUE_IMPL_H
#define VHOST_VIRTQUEUE_IMPL_H

#include "spec/virtio_ring.h"
#include "vhost/virtqueue.h"

enum virtqueue_state { VQ_CREATED, VQ_RUNNING, VQ_DRAINING, VQ_PAUSED, VQ_STATES };

/* One request of the control reactor to the queue, embedded: they cannot fail for want of memory.
 * At most one of a kind is under way. */
enum virtqueue_op_kind {
	VQ_OP_START,
	VQ_OP_STOP,
	VQ_OP_PAUSE,
	VQ_OP_RESUME,
	VQ_OP_FREEZE,
	VQ_OP_SET_KICK,
	VQ_OP_SET_CALL,
	VQ_OP_SET_ERR,
	VQ_OP_KINDS,
};

struct virtqueue_op {
	struct message message;
	struct virtqueue *vq;
	struct reactor *origin;
	bool busy;
	int fd;
	done_fn done;
	void *arg;
};

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

/* What a fetched chain takes of a packed ring, by buffer id. */
struct packed_out {
	uint16_t slots;
};

struct packed_ring {
	struct vring_packed_desc *desc;
	union vring_packed_event *driver_event;
	union vring_packed_event *device_event;
	struct vring_packed_desc *chain; /* our copy of the slots being fetched */
	struct packed_out *out;
	uint32_t out_slots; /* fetched, and not yet published as used */
	uint32_t batch_slots; /* pushed since the last publish */
	uint16_t batch_start; /* the first slot of those */
	uint16_t batch_flags; /* which make it, and so the batch, visible */
	uint16_t avail_next; /* position of the next slot to fetch, and its wrap counter */
	uint16_t used_next; /* where the next used descriptor goes; beyond what is published */
	bool avail_wrap;
	bool used_wrap;
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
	struct guest_memory *memory;
	unsigned region_hint; /* of data buffers */
	unsigned table_hint; /* of indirect tables */
	uint8_t *requests;
	size_t request_size;
	uint64_t features;
	uint32_t chain_max; /* descriptors */
	_Atomic unsigned in_flight; /* this and the statistics: read by anybody, see COUNTER_ADD */
	uint16_t size;
	bool event_idx;
	bool indirect;
	_Atomic bool broken;
	bool frozen;
	bool dry; /* the last pop wanted memory that was not there yet */
	bool first_decision; /* signal whatever the driver says */
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
	struct virtqueue_op op[VQ_OP_KINDS];
	struct log_limit log_limit;
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

static inline struct vq_request *virtqueue_request(struct virtqueue *vq, uint16_t head)
{
	return (struct vq_request *)(void *)(vq->requests + head * vq->request_size);
}

/* ---- chain.c ------------------------------------------------------------------------------ */

enum chain_result { CHAIN_OK, CHAIN_BROKEN, CHAIN_DRY };

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
