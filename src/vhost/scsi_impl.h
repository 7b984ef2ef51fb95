/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the virtio-scsi device model.
 *
 * Objects and who owns them:
 *	scsi_device	control reactor. One for each controller.
 *	scsi_slot	control reactor. A target number in use, its logical units.
 *	scsi_local	the device on one data reactor: the table of targets that its request queues
 *			look into. Made by the control reactor when the first ring opens there,
 *			freed when the last ring is closed and the last channel that names it is
 *			gone.
 *	scsi_ring	one virtqueue: its context (virtqueue_config.device).
 *
 * The table of a local is written by messages that run on its reactor, so that its reactor reads it
 * without locks; each entry is an immutable view (scsi/target.h).
 *
 * What changes targets, locals or claims (add, remove, ring_open, ring_close, claim, release) takes
 * turns through device->gate. A removal leaves its turn before it waits for commands that a block
 * device may hold for long: then only its own channels are left to close.
 */
#ifndef VHOST_SCSI_IMPL_H
#define VHOST_SCSI_IMPL_H

#include "bdev/gate.h"
#include "scsi/abort.h"
#include "scsi/task.h"
#include "spec/virtio_ring.h"
#include "spec/virtio_scsi.h"
#include "vhost/scsi_device.h"

struct scsi_device;
struct scsi_local;

/* ---- a function on another reactor and back ----------------------------------------------- */

struct scsi_call {
	struct message message;
	struct reactor *control;
	void (*fn)(struct scsi_call *call);
	done_fn done;
	void *arg;
};

/* Control reactor; fn runs on reactor, then done(arg, 0) on the control reactor. */
void scsi_call(struct scsi_call *call, struct reactor *control, struct reactor *reactor,
	void (*fn)(struct scsi_call *call), done_fn done, void *arg);

/* ---- targets ------------------------------------------------------------------------------ */

enum scsi_slot_state {
	SCSI_SLOT_ADDING,
	SCSI_SLOT_PRESENT, /* answers on every reactor that has rings */
	SCSI_SLOT_REMOVING,
};

struct scsi_slot {
	struct scsi_device *device;
	enum scsi_slot_state state;
	struct scsi_target *target;
	bool bdev_gone; /* a block device of it is being removed */
};

/* ---- the device on a reactor -------------------------------------------------------------- */

struct scsi_ring {
	struct scsi_device *device;
	struct scsi_local *local; /* request rings */
	unsigned index;
	struct virtqueue *vq;
	struct list link; /* local->rings; its reactor */
	struct message join; /* ring_started tells the local */
	struct scsi_call leave;
};

struct scsi_local {
	/* the reactor's; its first lines are what every command reads */
	const struct scsi_target_view *targets[SCSI_DEVICE_TARGETS_MAX];
	struct list rings; /* request rings that run */

	/* control reactor's */
	struct scsi_device *device;
	struct reactor *reactor;
	struct list link; /* device->locals, while it has rings */
	unsigned open_rings;
	unsigned refs; /* open rings, channels */
	struct scsi_target_view *published[SCSI_DEVICE_TARGETS_MAX];
};

/* ---- events ------------------------------------------------------------------------------- */

#define SCSI_EVENTS_MAX 32

struct scsi_events {
	struct virtio_scsi_event waiting[SCSI_EVENTS_MAX]; /* oldest first */
	unsigned count;
	bool missed; /* one had no room */
	struct virtqueue *vq; /* while it runs */
	bool sending; /* the message is under way */
	bool delivered;
	struct virtio_scsi_event current;
	struct scsi_call call;
	struct timer retry;
	uint64_t retry_ns;
	done_fn stopped; /* ring_stopping waits for the message */
	void *stopped_arg;
};

/* ---- the device --------------------------------------------------------------------------- */

struct scsi_device {
	struct vhost_device device; /* first */
	struct reactor *control;
	unsigned queue_count;
	struct bdev_gate gate;
	struct scsi_slot *slots[SCSI_DEVICE_TARGETS_MAX];
	struct list locals;
	uint64_t features; /* acknowledged, as the rings were told */
	bool claimed; /* rings run, or are about to: write claims are held */
	bool claim_retrying;
	struct timer claim_retry;
	unsigned removals; /* under way */
	struct scsi_events events;
	struct flow *destroyer;
	char *name;
};

static inline struct scsi_device *scsi_device_of(struct vhost_device *device)
{
	return container_of(device, struct scsi_device, device);
}

/* For operations, which have no way to fail before they have begun: zeroed, never NULL. */
void *scsi_op_alloc(size_t size);

/* scsi_claim.c */
void scsi_claim_init(struct scsi_device *device);
void scsi_device_claim(struct vhost_device *device, struct reason *reason, done_fn done, void *arg);
void scsi_device_release(struct vhost_device *device, done_fn done, void *arg);
/* Does this logical unit need the write claim, and has it not? */
bool scsi_attachment_wants_claim(const struct scsi_attachment *attachment);

/* scsi_ring.c */
void scsi_device_ring_open(struct vhost_device *device, unsigned index, struct reactor *reactor,
	uint64_t features, const struct virtqueue_ops **ret_ops, void **ret_context, done_fn done,
	void *arg);
void scsi_device_ring_started(struct vhost_device *device, void *context, struct virtqueue *vq);
void scsi_device_ring_stopping(struct vhost_device *device, void *context, done_fn done, void *arg);
void scsi_device_ring_close(
	struct vhost_device *device, unsigned index, void *context, done_fn done, void *arg);

/* scsi_local.c */
struct scsi_local *scsi_local_find(struct scsi_device *device, struct reactor *reactor);
struct scsi_local *scsi_local_create(struct scsi_device *device, struct reactor *reactor);
void scsi_local_put(struct scsi_local *local);
/* Opens channels of all logical units of the slot; on failure none is open. */
void scsi_local_open_slot(
	struct scsi_local *local, struct scsi_slot *slot, done_fn done, void *arg);
/* Closes those that are open, when their tasks have ended. rc is 0. */
void scsi_local_close_slot(
	struct scsi_local *local, struct scsi_slot *slot, done_fn done, void *arg);
/* A view over the open channels; NULL: no memory. */
struct scsi_target_view *scsi_local_make_view(
	struct scsi_local *local, const struct scsi_slot *slot);
/* Puts the view into the table, NULL: takes the target out; the view before it is freed. */
void scsi_local_publish(struct scsi_local *local, unsigned target, struct scsi_target_view *view,
	done_fn done, void *arg);
/* The same where no ring of the local runs. */
void scsi_local_set_view(struct scsi_local *local, unsigned target, struct scsi_target_view *view);

/* scsi_slot.c */
/* Starts removing every target that is there. */
void scsi_slots_remove_all(struct scsi_device *device);

/* scsi_request.c */
extern const struct virtqueue_ops scsi_request_queue_ops;

/* scsi_control.c */
extern const struct virtqueue_ops scsi_control_queue_ops;

/* scsi_event.c */
extern const struct virtqueue_ops scsi_event_queue_ops;
void scsi_events_init(struct scsi_device *device);
void scsi_events_forget(struct scsi_device *device);
void scsi_events_fini(struct scsi_device *device);
/* Delivered when the event ring runs and has a buffer; dropped when no front-end is connected. */
void scsi_event_post(
	struct scsi_device *device, uint32_t event, uint32_t reason, unsigned target, uint16_t lun);
void scsi_events_start(struct scsi_device *device, struct virtqueue *vq);
/* done when the ring will not be touched any more. */
void scsi_events_stop(struct scsi_device *device, done_fn done, void *arg);

/* ---- addresses: what the eight bytes of a request say ---------------------------------------- */
enum scsi_address_kind {
	SCSI_ADDRESS_LUN,
	SCSI_ADDRESS_WELL_KNOWN, /* REPORT LUNS, of the whole controller */
	SCSI_ADDRESS_BAD_TARGET,
	SCSI_ADDRESS_INCORRECT_LUN,
};

struct scsi_address {
	uint8_t target;
	uint16_t lun;
};

/* Reference section 16.4: methods 00 and 01. Method 00 has a bus in its upper six bits, which
 * drivers leave 0; like QEMU we take all fourteen bits as the number in both. */
static inline enum scsi_address_kind scsi_address_parse(
	const uint8_t bytes[8], struct scsi_address *ret_address)
{
	uint16_t lun = (uint16_t)(bytes[2] << 8 | bytes[3]);

	if (unlikely(bytes[4] | bytes[5] | bytes[6] | bytes[7]))
		return bytes[0] == 1 || bytes[0] == 0xc1 ? SCSI_ADDRESS_INCORRECT_LUN
							 : SCSI_ADDRESS_BAD_TARGET;
	if (unlikely(bytes[0] != 1)) {
		if (bytes[0] != 0xc1)
			return SCSI_ADDRESS_BAD_TARGET;
		return bytes[1] == 1 && lun == 0 ? SCSI_ADDRESS_WELL_KNOWN
						 : SCSI_ADDRESS_INCORRECT_LUN;
	}
	if (unlikely(lun & 0x8000))
		return SCSI_ADDRESS_INCORRECT_LUN;
	ret_address->target = bytes[1];
	ret_address->lun = lun & 0x3fff;
	return SCSI_ADDRESS_LUN;
}

#endif
