/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The test front-end: a virtio driver and a vhost-user front-end, for tests and load generators
 * against any vhost-user target of virtio-blk or virtio-scsi. It shares no code with src/.
 *
 * A test of one paragraph:
 *
 *	struct fe_options options = fe_options_default(FE_BUS_BLK, "/run/disk.sock");
 *	struct fe *fe;
 *	uint8_t data[4096], status;
 *
 *	if (fe_open(&options, &fe))
 *		fail_msg("%s", options.why);
 *	assert_int_equal(fe_blk_run(fe->ring[0], FE_BLK_IN, 0, data, 4096, &status, 5000), 0);
 *	fe_close(fe);
 *
 * Levels, from the comfortable to the raw; they may be mixed, since each is made of the next:
 *	fe_open, fe_close			a running device
 *	fe_negotiate, fe_start, fe_stop, ...	the phases of a front-end's life, in the order of
 *						messages that a given front-end sends
 *	fe_get_*, fe_set_*, ...			one message each, checked
 *	fe_msg_send, fe_msg_recv		any message (connection.h; fe->conn)
 *	fe_conn_send, fe_conn_recv		any bytes
 * and for rings: fe_blk_*, fe_scsi_* (a request), fe_io_* (any layout), fe_ring_add (any chain),
 * fe_ring_poke_* (anything).
 *
 * Functions return 0 or -errno (connection.h lists what they mean); fe->conn.why says what
 * happened. None waits longer than fe->conn.timeout_ms for one answer. A session belongs to one
 * thread; its rings may be driven by others while the session rests.
 */
#ifndef FRONTEND_FRONTEND_H
#define FRONTEND_FRONTEND_H

#include "frontend/blk.h"
#include "frontend/connection.h"
#include "frontend/io.h"
#include "frontend/memory.h"
#include "frontend/ring.h"
#include "frontend/scsi.h"
#include "frontend/wire.h"

#define FE_MAX_RINGS 256u

enum fe_bus { FE_BUS_BLK, FE_BUS_SCSI };

/* Whose order of messages (and whose use of NEED_REPLY) fe_negotiate() to fe_reset() follow. */
enum fe_order {
	FE_QEMU_7_2,
	FE_QEMU_10,
	FE_CLOUD_HYPERVISOR, /* blk */
	FE_LIBBLKIO, /* blk */
};

/* Which configuration messages carry NEED_REPLY once REPLY_ACK is agreed. */
enum fe_ack { FE_ACK_BY_ORDER, FE_ACK_ALWAYS, FE_ACK_NEVER };

struct fe_options {
	const char *path; /* of the socket; NULL: fe->conn was opened or adopted before */
	enum fe_bus bus;
	enum fe_order order;
	enum fe_ack ack;
	/* Acknowledged is what is wanted and offered; scsi acknowledges VERSION_1, ANY_LAYOUT and
	 * CHANGE in any case when wanted, as QEMU does. `force_*` bits are acknowledged unoffered.
	 */
	uint64_t features, force_features;
	uint64_t protocol_features, force_protocol_features;
	uint32_t ring_count; /* of the device; scsi: control, event and request rings */
	uint32_t configured_rings; /* bit i: ring i gets memory and is started; 0: all. From index
				      32 on always all. */
	uint32_t ring_size;
	bool notified;
	bool mem_table; /* SET_MEM_TABLE even when MEM_SLOTS is agreed: no ADD_MEM_REG */
	bool skip_inflight;
	uint64_t memory_size; /* of the one region that fe_open() creates; 0: none */
	uint64_t memory_gpa;
	int timeout_ms;
	char why[200]; /* set by fe_open() when it fails */
};

struct fe_inflight {
	struct fe_inflight_desc desc;
	int fd; /* -1: none; owned */
	uint8_t *ptr; /* the region itself, mapped by us too */
	void *mapping;
	size_t mapping_size;
};

struct fe_log {
	int fd; /* -1: none; owned */
	uint64_t size;
	uint8_t *ptr;
};

struct fe {
	struct fe_conn conn;
	struct fe_conn back; /* our end of the back channel; fd -1 without one */
	struct fe_options options; /* a copy; may be changed between phases */
	struct fe_memory memory;
	struct fe_ring *ring[FE_MAX_RINGS]; /* NULL: not configured by the driver */
	uint32_t ring_count;

	uint64_t offered, features; /* what was read; what was sent last (without LOG_ALL) */
	uint64_t protocol_offered, protocol_features;
	bool features_acknowledged; /* bit 30 in a SET_FEATURES that was sent */
	uint64_t queue_num; /* of GET_QUEUE_NUM; 1 without MQ */
	uint64_t mem_slots; /* of GET_MAX_MEM_SLOTS; 8 without MEM_SLOTS */
	struct fe_blk_config config;
	bool announced[FE_MAX_REGIONS]; /* regions that the back-end was told of, by slot */
	struct fe_mem_entry told[FE_MAX_REGIONS]; /* and what it was told */
	bool started[FE_MAX_RINGS], enabled[FE_MAX_RINGS];
	uint32_t base[FE_MAX_RINGS]; /* what the next start says; from GET_VRING_BASE */
	int err_fd[FE_MAX_RINGS]; /* eventfds of SET_VRING_ERR; -1 until fe_negotiate(); owned */
	struct fe_inflight inflight;
	struct fe_log log;
	bool logging;
	uint32_t config_changes; /* CONFIG_CHANGE messages served on the back channel */
};

/* ---- a running device ---- */

/* All that is offered except what a test must ask for: no PACKED, no LOG_ALL. blk: one ring, scsi:
 * three; 128 entries, polled, 64 MiB at GPA 0, QEMU 10's order, 5 s. */
struct fe_options fe_options_default(enum fe_bus bus, const char *path);

/* An empty session with nothing connected; fails only for want of memory (NULL). */
struct fe *fe_create(const struct fe_options *options);
/* Closes and frees everything, in the manner of a killed front-end: no messages. NULL is allowed.
 */
void fe_destroy(struct fe *fe);

/* fe_create, fe_conn_connect, fe_negotiate, memory, fe_create_rings, fe_start. On failure
 * options->why says why and *ret_fe is untouched. */
int fe_open(struct fe_options *options, struct fe **ret_fe);
/* fe_stop() and fe_destroy(); the result is that of fe_stop(). */
int fe_close(struct fe *fe);

/* ---- phases ---- */

/* From a fresh connection to a device that can be started: owner, features, protocol features,
 * queue number, memory slots, back channel, placeholder call fds, config, reset: as options.order
 * has them. SET_FEATURES comes with fe_start() except where the order has it earlier. */
int fe_negotiate(struct fe *fe);
/* Creates ring[i] for each configured ring that has none, from the agreed features. */
int fe_create_rings(struct fe *fe);
/* As the driver's DRIVER_OK (or `cont` after fe_stop()): inflight region, features, memory, rings.
 */
int fe_start(struct fe *fe);
/* ENABLE 0 for every ring, GET_VRING_BASE for the configured ones; keeps the bases for fe_start().
 * cloud-hypervisor's order: the same. */
int fe_stop(struct fe *fe);
/* A virtio reset: fe_stop() if started, RESET_DEVICE where the order has it, rings and inflight
 * region thrown away. Then fe_create_rings() (sizes and features may differ) and fe_start(). */
int fe_reset(struct fe *fe);
/* Drops the connection. Rings, memory and inflight region stay. */
void fe_disconnect(struct fe *fe);
/* Connects to options.path again (retrying until timeout_ms while it is not there), negotiates
 * without GET_CONFIG and starts as QEMU does after a lost back-end: kept inflight region, bases =
 * used indices (cloud-hypervisor's order: available indices). */
int fe_reconnect(struct fe *fe);

/* ---- one message each ---- */

/* Sends any request and, when `reply_size` is not FE_NO_REPLY, receives and checks its reply, which
 * must carry `reply_fds` fds. `ret_reply` may be NULL only without a reply. */
#define FE_NO_REPLY UINT32_MAX
int fe_call(struct fe *fe, struct fe_msg *request, uint32_t reply_size, uint32_t reply_fds,
	struct fe_msg *ret_reply);
/* Sends a request that has no reply of its own, with NEED_REPLY where options.ack says so (and
 * REPLY_ACK is agreed), and takes the status: 0 or -EREMOTEIO. */
int fe_tell(struct fe *fe, struct fe_msg *request);

int fe_get_u64(struct fe *fe, uint32_t id, uint64_t *ret_value); /* requests without payload */
int fe_set_u64(struct fe *fe, uint32_t id, uint64_t value);
int fe_set_empty(struct fe *fe, uint32_t id); /* SET_OWNER, RESET_DEVICE, ... */
int fe_set_features(struct fe *fe, uint64_t features); /* remembers them in fe->features */
int fe_set_vring_state(struct fe *fe, uint32_t id, uint32_t index, uint32_t num);
int fe_get_vring_base(struct fe *fe, uint32_t index, uint32_t *ret_base);
int fe_set_vring_addr(struct fe *fe, uint32_t index, bool log); /* of ring[index] */
int fe_set_vring_fd(struct fe *fe, uint32_t id, uint32_t index, int fd); /* fd -1: none */
int fe_get_config(struct fe *fe, uint32_t offset, uint32_t size, void *ret_bytes);
int fe_set_config(struct fe *fe, uint32_t offset, uint32_t size, uint32_t flags, const void *bytes);

/* Memory: tells the back-end of all regions in fe->memory that it does not know and takes back
 * those that are gone, with ADD/REM_MEM_REG or SET_MEM_TABLE as agreed. */
int fe_memory_announce(struct fe *fe);
int fe_set_mem_table(struct fe *fe); /* all present regions */
int fe_add_mem_reg(struct fe *fe, uint32_t slot);
int fe_rem_mem_reg(struct fe *fe, uint32_t slot); /* tells it; fe_memory_remove() is yours */

/* One ring: NUM, BASE, ADDR, CALL, ERR, KICK. For tests that go ring by ring. */
int fe_setup_ring(struct fe *fe, uint32_t index);
int fe_enable_ring(struct fe *fe, uint32_t index, bool on);
int fe_stop_ring(struct fe *fe, uint32_t index); /* GET_VRING_BASE into fe->base */

/* ---- dirty-page log ---- */

/* A new bitmap for all memory (plus `extra` bytes), SET_LOG_BASE, its reply checked; the previous
 * one, if any, is unmapped after that. */
int fe_log_set_base(struct fe *fe, uint64_t extra);
/* SET_FEATURES with or without LOG_ALL and SET_VRING_ADDR of the running rings, in QEMU's order. */
int fe_log_enable(struct fe *fe, bool on);
/* Is the page's bit set? Also: read and clear it, atomically. */
bool fe_log_test(const struct fe *fe, uint64_t gpa);
bool fe_log_test_clear(struct fe *fe, uint64_t gpa);
void fe_log_close(struct fe *fe);

/* ---- inflight region ---- */

int fe_inflight_get(struct fe *fe); /* GET_INFLIGHT_FD; maps the answer */
int fe_inflight_set(struct fe *fe); /* SET_INFLIGHT_FD with what there is */
void fe_inflight_close(struct fe *fe);
/* Bytes of one queue's part, and where it begins. */
uint64_t fe_inflight_stride(const struct fe *fe, bool packed);

/* ---- back channel ---- */

/* SET_BACKEND_REQ_FD with a new socket pair. */
int fe_back_open(struct fe *fe);
/* Serves messages of the back-end for at most timeout_ms, or until one came: CONFIG_CHANGE is
 * answered by reading the config on the main channel (as QEMU does, before it acknowledges).
 * Returns 1 when something was served, 0 when nothing came, or -errno. */
int fe_back_serve(struct fe *fe, int timeout_ms);

#endif
