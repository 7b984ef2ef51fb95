/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One connected front-end, for the files that make up a session:
 *
 *	session.c	life: the flow that takes one message after the other, and the end
 *	messages.c	table of messages, what is due as an answer
 *	messages_device.c, messages_ring.c, messages_memory.c	what each message does
 *	ring.c		from what was told about a ring to a virtqueue that runs, and back
 *	ring_relocate.c	a ring that runs moves to another reactor
 *	inflight.c, messages_inflight.c, recovery.c	what was in flight before a restart
 *	memory.c	tables of guest memory, their change while rings run
 *	memory_map.c	mapping and unmapping on workers
 *	session_log.c	the log of what is written to it
 *	backchannel.c	our requests to the front-end
 *
 * Everything here belongs to the control reactor.
 */
#ifndef VHOST_SESSION_IMPL_H
#define VHOST_SESSION_IMPL_H

#include "core/worker.h"
#include "spec/virtio_ring.h"
#include "vhost/backchannel_impl.h"
#include "vhost/connection_impl.h"
#include "vhost/device.h"
#include "vhost/inflight_impl.h"
#include "vhost/memory_impl.h"
#include "vhost/placement_impl.h"
#include "vhost/sigbus_impl.h"

/* ---- rings ------------------------------------------------------------------------------- */

/* What a ring's virtqueue should be doing, from all that was told (reference section 8). */
enum ring_goal {
	RING_CLOSED, /* no virtqueue: not started, or its memory is not there */
	RING_PAUSED, /* fetches nothing */
	RING_RUNNING,
};

struct ring_load { /* balance.c's */
	uint64_t requests; /* of the virtqueue, at the last look */
	uint64_t bytes;
	uint64_t weight;
	uint64_t rest_until_ns;
};

struct ring {
	struct vhost_session *session;
	struct vhost_device *device; /* the session's */
	unsigned index;

	/* as told by the front-end */
	uint32_t num; /* 0: not told */
	uint32_t base;
	bool has_base;
	bool has_addr;
	struct vhost_user_vring_addr addr;
	int kick_fd; /* owned, all three; -1: none */
	int call_fd;
	int err_fd;
	bool started;
	bool enabled;

	/* as it is */
	struct virtqueue *vq; /* NULL: closed */
	bool paused;
	bool broken; /* closed after the driver broke it: until GET_VRING_BASE or a reset */
	bool moved; /* it stood beyond its beginning when it was closed, for this driver */
	void *context; /* the device's */
	struct reactor *reactor;
	struct virtqueue_logging logging; /* as vq was told */
	enum { RING_LIVE, RING_FREEZING, RING_FROZEN } freeze;
	struct connection_waiter frozen; /* who waits for RING_FROZEN */
	enum ring_recovery recovery; /* recovery.c */
	bool held; /* its virtqueue takes nothing new */
	bool late; /* the others no longer wait for it */
	struct relocation *relocation; /* to another reactor, under way */
	uint64_t relocations;
	struct ring_load load;

	/* the move under way */
	struct flow flow;
	enum ring_goal goal;
	const struct virtqueue_ops *ops;
	struct virtqueue *fresh; /* created, not started: not yet vq */
	struct worker_job recover_job;
	struct reason recover_reason;
	void *descriptors;
	void *driver_area;
	void *device_area;
	done_fn done;
	void *arg;
};

/* ---- the session ------------------------------------------------------------------------- */

struct message_type;

struct session_log {
	struct dirty_log *log; /* NULL: the front-end has given none */
	struct flow flow; /* session_log_relog */
	unsigned next; /* ring */
	done_fn done;
	void *arg;

	/* the job at hand */
	struct worker_job job;
	struct os *os;
	struct reason *reason;
	struct vhost_user_log layout;
	int fd; /* borrowed from the message */
	struct dirty_log *subject; /* mapped, or to be unmapped; NULL: none */
};

struct session_limits {
	uint64_t drain_ns; /* a message that takes longer ends the session */
	uint64_t reply_ns; /* as does a reply that cannot be written for so long */
	uint64_t memory_bytes; /* sum of all regions */
};

struct session_coalescing {
	uint32_t delay_base_us; /* 0: none */
	uint32_t iops_threshold;
};

struct session_options {
	struct os *os;
	struct reactor *control;
	struct bdev_registry *registry; /* told of memory; NULL: nobody is */
	struct placement *placement;
	const struct cpu_set *cpus; /* borrowed; NULL: all */
	struct reactor *const *pins; /* borrowed: of each queue, NULL: any */
	const struct session_coalescing *coalescing; /* borrowed */
	struct vhost_device *device;
	struct session_limits limits;
	struct log_limit *log_limit; /* of the controller: connecting again does not reset it */
	int fd; /* handed over */
	bool kept; /* the other end is the keeper's */
	bool resumed; /* the session was a dead process's */
	int event_fd; /* for struct sigbus_owner */
	unsigned vid;
	unsigned id;
	void (*ended)(void *arg); /* everything is given back; the session is freed after it */
	void *arg;
};

struct vhost_session {
	struct session_options options;
	struct os *os;
	struct reactor *control;
	struct vhost_device *device;
	struct connection conn;
	struct backchannel back;
	struct reason reason; /* why the message at hand is refused */

	/* negotiated */
	uint64_t features;
	bool features_set;
	uint64_t protocol_features;

	struct ring *rings;
	unsigned ring_count;
	bool claimed; /* the device's write claim */
	bool has_run; /* rings have run before in this session */
	bool driver_known; /* since the claim: whether it is the one of before */

	struct guest_memory *memory; /* never NULL */
	struct sigbus_owner sigbus;
	bool memory_switching; /* to change.table: no ring runs */

	struct session_inflight inflight;
	struct session_log log;

	struct flow inflight_flow; /* inflight_set */
	done_fn inflight_done;
	void *inflight_arg;

	/* the message at hand: one at a time */
	const struct message_type *type;
	int status;
	bool need_reply;
	bool reply_due;
	uint32_t reply_size; /* of reply_buf: the handler's own reply */
	uint8_t reply_buf[VHOST_USER_PAYLOAD_MAX];
	int reply_fd; /* goes with it; owned, -1: none */
	struct flow message_flow; /* of a handler that waits */
	done_fn message_done;
	void *message_arg;
	struct ring *ring; /* it is about */
	int new_fd; /* it brought */
	struct memory_change change;

	/* rings_settle */
	struct flow settle;
	bool settling; /* rings are moving */
	bool settle_may_open;
	unsigned settle_pending;
	int settle_rc;
	done_fn settle_move_done;
	void *settle_move_arg;
	done_fn settle_done;
	void *settle_arg;

	struct vhost_moves_waiter moves_waiter;

	struct flow flow; /* the session's life */
	struct timer limit; /* of the message or reply at hand */
	bool ending;
};

/* The first sentence about why it ends is logged; NULL: the front-end went away. The connection is
 * closed and the rings are frozen at once; the rest follows in the session's flow. */
void session_abort(struct vhost_session *s, const char *why);

int session_create(
	const struct session_options *options, struct vhost_session **ret_session) MUST_CHECK;
unsigned session_in_flight(const struct vhost_session *s);
bool session_is_started(const struct vhost_session *s);
unsigned session_queues(const struct vhost_session *s);

static inline bool session_has_packed_rings(const struct vhost_session *s)
{
	return s->features & VIRTIO_BIT(VIRTIO_F_RING_PACKED);
}

static inline bool session_has_protocol_feature(const struct vhost_session *s, unsigned bit)
{
	return s->protocol_features >> bit & 1;
}

/* ---- messages.c -------------------------------------------------------------------------- */

struct message_type {
	const char *name;
	uint32_t size; /* of the payload */
	uint32_t size_max; /* 0: exactly size */
	unsigned fds_min;
	unsigned fds_max;
	bool own_reply;
	bool empty_on_error; /* own reply with an empty payload instead of closing */
	uint64_t needs; /* protocol features that must be acknowledged */
	/* What it does; one of them may be NULL. handle takes in what it says: 0 or -errno with
	 * s->reason. run follows where that went well and something must wait: a flow over
	 * s->message_flow that ends with message_done. */
	int (*handle)(struct vhost_session *s);
	enum flow_result (*run)(struct flow *flow);
};

/* Finds the type of the received message and checks its form: 0 or -errno with s->reason. */
int message_check(struct vhost_session *s);
/* The flow of a message's run. */
void message_run(struct vhost_session *s, done_fn done, void *arg);
/* Last statement of such a flow. */
void message_done(struct vhost_session *s, int rc);
/* The run of messages that only change what the rings should do. */
enum flow_result message_settle_rings_run(struct flow *f);
/* After it was handled with s->status: sets s->reply_due, and makes the reply. False: it has to be
 * refused and there is no other way than to close the connection. */
bool message_finish(struct vhost_session *s) MUST_CHECK;
/* For handlers: an own reply of that size, zeroed. */
void *message_reply_init(struct vhost_session *s, uint32_t size);
void message_reply_u64(struct vhost_session *s, uint64_t value);

static inline struct vhost_session *session_of_message_flow(struct flow *flow)
{
	return container_of(flow, struct vhost_session, message_flow);
}

/* ---- messages_device.c ------------------------------------------------------------------- */

/* The handlers' messages. */
int message_get_features(struct vhost_session *s);
int message_set_features(struct vhost_session *s);
int message_set_owner(struct vhost_session *s);
enum flow_result message_reset_owner_run(struct flow *f);
enum flow_result message_reset_device_run(struct flow *f);
int message_get_protocol_features(struct vhost_session *s);
int message_set_protocol_features(struct vhost_session *s);
int message_get_queue_num(struct vhost_session *s);
int message_get_max_mem_slots(struct vhost_session *s);
int message_set_backend_req_fd(struct vhost_session *s);
int message_get_config(struct vhost_session *s);
int message_set_config(struct vhost_session *s);
int message_set_log_fd(struct vhost_session *s);

/* ---- messages_ring.c --------------------------------------------------------------------- */

int message_set_vring_num(struct vhost_session *s);
int message_set_vring_addr(struct vhost_session *s);
int message_set_vring_base(struct vhost_session *s);
int message_get_vring_base(struct vhost_session *s);
enum flow_result message_get_vring_base_run(struct flow *f);
int message_set_vring_fd(struct vhost_session *s); /* KICK, CALL, ERR */
enum flow_result message_set_vring_fd_run(struct flow *f);
int message_set_vring_enable(struct vhost_session *s);
enum flow_result message_set_vring_enable_run(struct flow *f);

/* ---- messages_inflight.c ----------------------------------------------------------------- */

enum flow_result message_get_inflight_fd_run(struct flow *f);
enum flow_result message_set_inflight_fd_run(struct flow *f);

/* ---- session_log.c ----------------------------------------------------------------------- */

int message_set_log_base(struct vhost_session *s);
enum flow_result message_set_log_base_run(struct flow *f);
/* The run of messages that change whether rings are logged: settles them, then logs. */
enum flow_result message_relog_rings_run(struct flow *f);
/* What of that ring's writes is to be logged now. */
struct virtqueue_logging session_ring_logging(const struct ring *ring);
/* No ring runs: unmaps the bitmap. */
void session_log_forget(struct vhost_session *s, done_fn done, void *arg);

/* ---- messages_memory.c ------------------------------------------------------------------- */

int message_set_mem_table(struct vhost_session *s);
int message_add_mem_reg(struct vhost_session *s);
int message_rem_mem_reg(struct vhost_session *s);
/* The run of the three. */
enum flow_result message_change_memory_run(struct flow *f);

/* ---- ring.c ------------------------------------------------------------------------------ */

void ring_init(struct ring *ring, struct vhost_session *s, unsigned index);
/* Closes what descriptors it has. */
void ring_fini(struct ring *ring);
/* num and addresses are there. */
bool ring_is_complete(const struct ring *ring);
/* Closes the old descriptor of that place and keeps the new one. */
void ring_replace_fd(struct ring *ring, int *place, int fd);
/* Where it begins: as told, or as after a reset. */
uint32_t ring_base(const struct ring *ring);
/* Where its areas are in that table. False: not in it, or misaligned there. */
bool ring_resolve(struct ring *ring, const struct guest_memory *memory);

/* Brings every ring from what it does to what it should do; may_open: rings that are closed may be
 * opened. Takes the device's write claim before the first opens, gives it up after the last has
 * stopped. done: the first failure; rings that could not be opened stay closed. */
void rings_settle(struct vhost_session *s, bool may_open, done_fn done, void *arg);
/* Nothing is published to the guest any more, from soon on; session_abort. */
void rings_freeze(struct vhost_session *s);
bool rings_any_started(const struct vhost_session *s);
/* For moves: done when a freeze under way (RING_FREEZING) is over. */
void ring_await_frozen(struct ring *ring, done_fn done, void *arg);
void ring_tell_started(struct ring *ring);

/* ---- ring_relocate.c --------------------------------------------------------------------- */

/* Moves a ring that runs to that reactor. -EBUSY at once, without done, while there is a hold or it
 * is moving already. done: 0; -ECANCELED when requests in flight did not end within the limit or
 * somebody took a hold, or why channels could not be opened: then it goes on where it was. reason
 * is borrowed until done. */
int ring_relocate(struct ring *ring, struct reactor *reactor, uint64_t limit_ns,
	struct reason *reason, done_fn done, void *arg) MUST_CHECK;

#endif
