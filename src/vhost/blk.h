/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtio-blk device model over one block device. VIRTIO 1.2 section 5.2. Control reactor.
 */
#ifndef VHOST_BLK_H
#define VHOST_BLK_H

#include "bdev/bdev.h"
#include "vhost/device.h"

struct blk_device_options {
	struct reactor *control;
	const char *name; /* borrowed for the life of the device */
	bool read_only; /* offered to the guest as such; a read-only bdev makes it so by itself */
	bool fails_when_full; /* else what finds no space waits until there is some */
};

/* Opens bdev. The device is given up with ops->destroy. */
int blk_device_create(struct bdev *bdev, const struct blk_device_options *options,
	struct reason *reason, struct vhost_device **ret_device) MUST_CHECK;

/* NULL after the block device was removed under it: guests get I/O errors. */
const char *blk_device_bdev_name(const struct vhost_device *device);
bool blk_device_is_read_only(const struct vhost_device *device);
bool blk_device_waits_for_space(const struct vhost_device *device);

#endif
