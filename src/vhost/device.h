/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a device model (blk.c, scsi_device.c) gives to the session (session.c): which features it
 * has, its configuration space, and what it does when rings come and go. All on the control
 * reactor; the data path is virtqueue_ops.
 *
 * A device outlives its sessions: one front-end at a time is connected, and disconnects and
 * connects again.
 */
#ifndef VHOST_DEVICE_H
#define VHOST_DEVICE_H

#include "vhost/virtqueue.h"

#define VHOST_QUEUES_MAX 256

struct vhost_device;
struct vhost_session;

struct vhost_device_ops {
	const char *kind; /* "blk", "scsi" */

	/* Constant for the life of the device (checklist 11). */
	uint64_t (*features)(const struct vhost_device *device);
	/* Bits that are accepted although not offered: QEMU negotiates them by itself (6.3). */
	uint64_t (*tolerated_features)(const struct vhost_device *device);
	uint64_t (*protocol_features)(const struct vhost_device *device);
	unsigned (*queue_count)(const struct vhost_device *device); /* all rings, scsi: N + 2 */

	/* GET_CONFIG: fills size bytes from offset, zeros beyond the end of the structure. */
	int (*config_get)(struct vhost_device *device, uint32_t offset, void *buf, uint32_t size);
	int (*config_set)(
		struct vhost_device *device, uint32_t offset, const void *buf, uint32_t size);

	/* The front-end connected / is gone (all rings stopped). */
	void (*session_begin)(struct vhost_device *device, struct vhost_session *session);
	void (*session_end)(struct vhost_device *device);
	/* RESET_DEVICE, or a start from the beginning after a stop: forget what belongs to the
	 * guest's driver (pending events). Rings that it has not used yet may run. */
	void (*reset)(struct vhost_device *device);

	/* Before the first ring starts and after the last has stopped: the write claim of what is
	 * below. -EBUSY with the holder's name. */
	void (*claim)(struct vhost_device *device, struct reason *reason, done_fn done, void *arg);
	void (*release)(struct vhost_device *device, done_fn done, void *arg);

	/* A ring is about to run on that reactor, with these acknowledged features: open channels,
	 * say how the ring is served and what its context is (virtqueue_config.device). */
	void (*ring_open)(struct vhost_device *device, unsigned index, struct reactor *reactor,
		uint64_t features, const struct virtqueue_ops **ret_ops, void **ret_context,
		done_fn done, void *arg);
	/* Its virtqueue runs now: events that waited may be delivered. Optional. */
	void (*ring_started)(struct vhost_device *device, void *context, struct virtqueue *vq);
	/* It is about to be stopped: no more virtqueue_pop of the device's own. Optional. */
	void (*ring_stopping)(struct vhost_device *device, void *context, done_fn done, void *arg);
	/* It has stopped; close channels. */
	void (*ring_close)(struct vhost_device *device, unsigned index, void *context, done_fn done,
		void *arg);

	/* The devices of other front-ends that share a disk with this one; some perhaps twice.
	 * Optional: it shares none. */
	void (*for_each_peer)(struct vhost_device *device,
		void (*fn)(struct vhost_device *peer, void *arg), void *arg);

	/* No session. Frees the device. */
	void (*destroy)(struct vhost_device *device, done_fn done, void *arg);
};

/* Somebody who waits until no ring of the device is on its way to another reactor. */
struct vhost_moves_waiter {
	struct vhost_moves_waiter *next;
	done_fn done;
	void *arg;
};

/* First member of a device model's own struct. */
struct vhost_device {
	const struct vhost_device_ops *ops;
	struct vhost_session *session; /* the connected one, or NULL */
	const char *name; /* of the controller, for log lines */

	/* ring_relocate.c's */
	unsigned moves; /* rings on their way to another reactor */
	unsigned moves_held;
	struct vhost_moves_waiter *moves_waiters;
};

/*
 * While moves are held no ring of the device begins to move to another reactor, and those that do
 * are soon where they will stay, whatever the storage does. So:
 *
 *	vhost_device_hold_moves(device);
 *	if (device->moves)
 *		AWAIT(f, vhost_device_await_moves(device, &waiter, flow_resume, f));
 *	...
 *	vhost_device_release_moves(device);
 */
void vhost_device_hold_moves(struct vhost_device *device);
void vhost_device_await_moves(
	struct vhost_device *device, struct vhost_moves_waiter *waiter, done_fn done, void *arg);
void vhost_device_release_moves(struct vhost_device *device);

/* For device models: the configuration space has changed (blk resize). Sends CONFIG_CHANGE_MSG
 * when the back channel is there, coalesced, again after rings start (reference 13.1). */
void vhost_session_config_changed(struct vhost_session *session);
/* The acknowledged features of the connected front-end, 0 before. */
uint64_t vhost_session_features(const struct vhost_session *session);

#endif
