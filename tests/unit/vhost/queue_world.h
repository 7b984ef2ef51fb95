/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtqueue of src/vhost on a reactor of the simulated host, with the test front-end's driver on
 * the other side of the ring. No session, no socket: the test plays the control reactor.
 *
 * The driver is the orderly one of frontend/ring.h: it notices every rule that the device breaks.
 * Its eventfds are the kernel's and stay unused; kicks and calls go over simulated ones.
 *
 * Memory: slot 0 for rings and tables; slots 1 and 2 lie one behind the other in guest-physical
 * space but not in ours, so that buffers cross a border.
 */
#ifndef UNIT_VHOST_QUEUE_WORLD_H
#define UNIT_VHOST_QUEUE_WORLD_H

#include "frontend/ring.h"
#include "sim/sim.h"
#include "vhost/virtqueue.h"

#define WORLD_DATA_GPA  UINT64_C(0x100000000)
#define WORLD_DATA_SIZE (512 * 1024u) /* half in each slot */

/* A ring in memory of the test's own, with a driver of the test's own. */
struct world_ring {
	struct guest_memory *table;
	void *descriptors, *driver_area, *device_area;
	void *inflight;
	uint16_t inflight_size;
};

struct queue_world {
	struct sim *sim;
	struct os *os;
	struct reactor *control; /* never started: the test's own turns */
	struct reactor *data;
	struct fe_memory memory;
	struct fe_ring *ring;
	struct guest_memory *table;
	struct virtqueue *vq;
	int kick_fd, call_fd, err_fd;
	const struct world_ring *own;
	void *inflight; /* NULL: nothing is recorded */
	const struct virtqueue_ops *ops;
	uint64_t features;
	uint32_t size;
	uint32_t base;
	/* what the call and err eventfds have said, seen by a ring of the test's own */
	struct os_ring *watcher;
	struct os_watch call, err;
	unsigned calls, errs;
	bool answered; /* by the operation under way */
};

struct world_options {
	uint64_t seed;
	const struct world_ring *own; /* instead of one of the world's; NULL: none */
	uint32_t size;
	bool packed;
	bool event_idx;
	bool indirect;
	bool recorded; /* in a queue region, which each queue recovers from */
	uint16_t base; /* where both sides begin, packed: with the wrap counter in bit 15 */
	enum poll_mode poll_mode;
	const struct virtqueue_ops *ops;
	void *device;
};

void world_create(struct queue_world *world, const struct world_options *options);
/* Stops the queue if it runs, checks that nothing leaked. */
void world_destroy(struct queue_world *world);

/* Before the start: another device than that of the options. */
void world_set_device(struct queue_world *world, const struct virtqueue_ops *ops, void *device);

/* Stopped: another queue of the same device, from that base on (not recorded). */
void world_renew(struct queue_world *world, uint32_t base);

void world_start(struct queue_world *world);
void world_stop(struct queue_world *world);
void world_pause(struct queue_world *world);
void world_resume(struct queue_world *world);
void world_freeze(struct queue_world *world);
void world_repeat(struct queue_world *world);
void world_release(struct queue_world *world);
/* Ends without waiting: world_answered tells. */
void world_stop_begin(struct queue_world *world);

/* Publishes what was added and kicks if the device wants it. */
void world_publish(struct queue_world *world);
/* A little of everything else. */
void world_run(struct queue_world *world, uint64_t ns);
/* Until the call eventfd was signalled once more than `calls`, within a second. */
bool world_wait_call(struct queue_world *world, unsigned calls);
bool world_wait_ready(struct queue_world *world);

#endif
