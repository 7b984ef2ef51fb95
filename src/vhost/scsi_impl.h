/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the virtio-scsi device model.
 *
 * Objects and who owns them:
 *	scsi_device	control reactor. One for each controller.
 *	scsi_slot	control reactor. A target number in use.
 *	scsi_unit	control reactor. A logical unit of a slot, from the call that adds it until
 *			nothing of it is left.
 *	scsi_local	the device on one data reactor: the table of targets that its request queues
 *			look into. Made by the control reactor when the first ring opens there,
 *			freed when the last ring is closed and the last channel that names it is
 *			gone.
 *	scsi_ring	one virtqueue: its context (virtqueue_config.device).
 *
 * The table of a local is written by messages that run on its reactor, so that its reactor reads it
 * without locks; each entry is an immutable view (scsi/target.h).
 *
 * What changes views, locals or claims (add, remove, ring_open, ring_close, claim, release) takes
 * turns through device->gate. A removal leaves its turn before it waits for commands that a block
 * device may hold for long: then its unit is in no view and the rest concerns nobody else.
 *
 * So whoever has the turn may keep a pointer to a visible unit over a wait; units that are not come
 * and go at any time, and with them the places of the others in the arrays: loops that wait go from
 * unit to unit (scsi_unit_next), not by index.
 */
#ifndef VHOST_SCSI_IMPL_H
#define VHOST_SCSI_IMPL_H

#include "bdev/gate.h"
#include "scsi/abort.h"
#include "scsi/lun_reservation.h"
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

/* A target number in use; freed with its last unit. */
struct scsi_slot {
	struct scsi_device *device;
	struct scsi_target *target; /* its attachments' owners are units */
	bool removing; /* the whole target: nothing can be added to it any more */
	done_fn removed; /* called when it is gone, if removing */
	void *removed_arg;
};

/* The table of what happens when is in scsi_plug.c. */
enum scsi_unit_state {
	SCSI_UNIT_ADDING,
	SCSI_UNIT_PRESENT, /* answers on every reactor that has rings */
	SCSI_UNIT_REMOVING,
};

struct scsi_unit {
	struct scsi_slot *slot;
	struct scsi_attachment *attachment;
	enum scsi_unit_state state;
	bool visible; /* in the views that are made now; changed only by who has the gate's turn */
	bool bdev_gone; /* its block device is being removed */
	uint32_t subscribed; /* VIRTIO_SCSI_EVT_ASYNC_...: what its driver wants to hear of */
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
	bool waits_for_space;
	const char *state_dir;
	uint64_t initiator; /* the port of whoever is connected (scsi/identity.h) */
	struct scsi_store *store;
	struct bdev_gate gate;
	struct scsi_slot *slots[SCSI_DEVICE_TARGETS_MAX];
	struct list locals;
	uint64_t features; /* acknowledged, as the rings were told */
	bool claimed; /* rings run, or are about to: write claims are held */
	bool claim_retrying;
	struct timer claim_retry;
	unsigned removals; /* under way */
	unsigned removals_untold; /* not yet out of the views, and the event was lost */
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
/* Opens the unit's channel. -ENODEV when its device goes. */
void scsi_local_open_unit(
	struct scsi_local *local, struct scsi_unit *unit, done_fn done, void *arg);
/* Closes it, when its tasks have ended, if it is open. rc is 0. */
void scsi_local_close_unit(
	struct scsi_local *local, struct scsi_unit *unit, done_fn done, void *arg);
/* Puts what is visible of the target and has a channel here into the table; the view before it is
 * freed. rc is 0. */
void scsi_local_publish(struct scsi_local *local, struct scsi_slot *slot, done_fn done, void *arg);
/* All targets at once, or none; where no ring of the local runs. */
void scsi_local_set_views(struct scsi_local *local);
void scsi_local_clear_views(struct scsi_local *local);

/* scsi_slot.c */
/* A unit in state ADDING, in a slot that is made for it unless it is there. */
int scsi_unit_create(struct scsi_device *device, unsigned target, unsigned lun, struct bdev *bdev,
	const struct scsi_device_lun_options *options, struct reason *reason,
	struct scsi_unit **ret_unit) MUST_CHECK;
/* No channel, no claim. The slot goes with its last unit. */
void scsi_unit_free(struct scsi_unit *unit);
/* NULL when the number is free. */
struct scsi_unit *scsi_unit_find(const struct scsi_device *device, unsigned target, unsigned lun);
/* The visible unit after that one (NULL: the first), by target and LUN; NULL after the last. */
struct scsi_unit *scsi_unit_next(const struct scsi_device *device, const struct scsi_unit *unit);

/* By who has the gate's turn; waits inside are allowed, unit being a member of the op. */
#define for_each_unit(device, unit)                                                                \
	for ((unit) = scsi_unit_next((device), NULL); (unit);                                      \
		(unit) = scsi_unit_next((device), (unit)))

static inline struct scsi_unit *scsi_unit_of(const struct scsi_attachment *attachment)
{
	return attachment->owner;
}

/* scsi_plug.c */
/* Of a unit that is PRESENT. done may be NULL. */
void scsi_unit_remove(struct scsi_unit *unit, done_fn done, void *arg);
/* Starts removing every unit that is there. */
void scsi_units_remove_all(struct scsi_device *device);

/* scsi_request.c */
extern const struct virtqueue_ops scsi_request_queue_ops;

/* scsi_control.c */
extern const struct virtqueue_ops scsi_control_queue_ops;

/* scsi_event.c */
extern const struct virtqueue_ops scsi_event_queue_ops;
void scsi_events_init(struct scsi_device *device);
void scsi_events_forget(struct scsi_device *device);
void scsi_events_fini(struct scsi_device *device);
/* Delivered when the event ring runs and has a buffer; dropped when no front-end is connected.
 * False: there was no room, so the driver will rescan, soon. */
bool scsi_event_post(
	struct scsi_device *device, uint32_t event, uint32_t reason, unsigned target, uint16_t lun);
/* The driver is to look for itself, now. */
void scsi_events_rescan(struct scsi_device *device);
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
