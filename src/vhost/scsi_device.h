/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtio-scsi device model (VIRTIO 1.2 section 5.6) over src/scsi: what the session and the
 * control interface see of it. Control reactor. The session drives it through struct vhost_device
 * (device.h); logical units come and go while guests run.
 *
 * Rings: 0 control, 1 event, 2 and up requests.
 */
#ifndef VHOST_SCSI_DEVICE_H
#define VHOST_SCSI_DEVICE_H

#include "bdev/bdev.h"
#include "vhost/device.h"

#define SCSI_DEVICE_TARGETS_MAX        256
#define SCSI_DEVICE_LUNS_MAX           16384 /* of a target: what an address can say */
#define SCSI_DEVICE_LUN_UNSAID         (-1)
#define SCSI_DEVICE_REQUEST_QUEUES_MAX 64

struct scsi_store;

struct scsi_device_options {
	const char *name; /* of the controller; copied */
	struct bdev_registry *registry;
	bool waits_for_space; /* else commands that find none end with the status for it */
	const char *state_dir; /* for reservations; NULL: they end with the LUN; borrowed */
	struct scsi_store *store; /* borrowed; may be NULL */
	unsigned request_queues; /* offered; 0: SCSI_DEVICE_REQUEST_QUEUES_MAX */
};

/* No targets yet. vhost_device_ops.destroy removes what targets there are, then frees it. */
int scsi_device_create(const struct scsi_device_options *options, struct reason *reason,
	struct vhost_device **ret_device) MUST_CHECK;

struct scsi_device_lun_options {
	bool read_only; /* also when the block device is not */
	bool removable; /* the medium can be ejected; the same wherever the device is attached */
	bool short_cdbs; /* no commands of more than 16 bytes */
};

/*
 * Puts the block device behind that target as that LUN; the first makes the target. UNSAID: as LUN
 * 0 of a target that has none yet. While rings run its write claim is taken first. The guest is
 * told by an event if it wants to hear of it. -EINVAL number, -EEXIST used (also by what is still
 * being removed, the LUN or all of the target), -EBUSY another process has the claim, and what
 * bdev_open and bdev_claim return. reason is borrowed until done; bdev and options (NULL: a usual
 * disk) only until the call returns.
 */
void scsi_device_add_lun(struct vhost_device *device, unsigned target, int lun, struct bdev *bdev,
	const struct scsi_device_lun_options *options, struct reason *reason, done_fn done,
	void *arg);

/* Tells the guest, lets the commands in flight end, answers from then on as if it had never been;
 * done when the block device is closed. UNSAID: all LUNs of the target; otherwise the target goes
 * with its last. -EINVAL number, -EBUSY nothing there, or being added or removed. */
void scsi_device_remove_lun(struct vhost_device *device, unsigned target, int lun,
	struct reason *reason, done_fn done, void *arg);

struct scsi_device_lun_info {
	unsigned target;
	unsigned device_id; /* of the target: process-wide scsi device number */
	unsigned lun;
	const char *bdev_name;
	bool read_only;
	bool removable;
	bool short_cdbs;
};

bool scsi_device_waits_for_space(const struct vhost_device *device);

/* True when nothing has that number. */
bool scsi_device_target_is_free(const struct vhost_device *device, unsigned target);

/* LUNs that answer, by target and LUN; pointers are valid until fn returns. */
void scsi_device_for_each_lun(const struct vhost_device *device,
	void (*fn)(const struct scsi_device_lun_info *info, void *arg), void *arg);

#endif
