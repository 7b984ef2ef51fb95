/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtio-blk device model over one block device. VIRTIO 1.2 section 5.2. Control reactor.
 */
#ifndef VHOST_BLK_H
#define VHOST_BLK_H

#include "bdev/bdev.h"
#include "vhost/device.h"

/* Opens bdev. read_only: offered to the guest as such; a read-only bdev makes it so by itself.
 * name is borrowed for the life of the device. The device is given up with ops->destroy. */
int blk_device_create(struct reactor *control, struct bdev *bdev, bool read_only, const char *name,
	struct reason *reason, struct vhost_device **ret_device) MUST_CHECK;

/* NULL after the block device was removed under it: guests get I/O errors. */
const char *blk_device_bdev_name(const struct vhost_device *device);
bool blk_device_is_read_only(const struct vhost_device *device);

#endif
