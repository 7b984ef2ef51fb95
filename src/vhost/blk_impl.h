/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between blk.c (device, control reactor) and blk_queue.c (requests, data reactors).
 */
#ifndef VHOST_BLK_IMPL_H
#define VHOST_BLK_IMPL_H

#include "core/slab.h"
#include "spec/virtio_blk.h"
#include "vhost/blk.h"

/* Segments of one DISCARD or WRITE_ZEROES: what fits an object of SLAB_512. */
#define BLK_SEGMENTS_MAX             32
#define BLK_DISCARD_SECTORS_MAX      0x400000 /* a segment: 2 GiB */
#define BLK_WRITE_ZEROES_SECTORS_MAX 0x40000 /* a segment: 128 MiB */

/*
 * The device on one ring. Filled by the control reactor before the ring runs, constant afterwards
 * but for gone and io_in_flight, which are the ring's reactor's.
 *
 * Removal of the block device: the control reactor sends detach; the queue takes no more I/O and,
 * when the last has ended, sends detached back; then the channel is closed. bdev must not be looked
 * at once gone is set.
 */
struct blk_queue {
	struct bdev *bdev;
	struct bdev_channel *channel;
	struct reactor *reactor;
	struct reactor *control;
	uint64_t features;
	uint32_t block_mask; /* block size - 1 */
	bool read_only;
	bool waits_for_space; /* else what finds none fails */
	bool write_through; /* the driver knows no FLUSH: each write is stable when it completes */
	char id[VIRTIO_BLK_ID_BYTES];

	bool gone;
	unsigned io_in_flight; /* on the channel */

	struct message detach;
	struct message detached;

	/* the control reactor's */
	struct vhost_device *device;
	bool leaving; /* its channel is being closed, or will be when its I/O has ended */
	struct list link;
	done_fn done; /* of ring_open or ring_close, under way */
	void *arg;
};

extern const struct virtqueue_ops blk_queue_ops;

/* Queue's reactor: no new I/O from here on; detached is sent back when the last has ended. */
void blk_queue_detach(struct message *message);

#endif
