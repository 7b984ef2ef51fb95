/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtio-blk device: features, configuration space, and what happens to its rings' channels.
 * VIRTIO 1.2 sections 5.2.3 to 5.2.5. Requests are in blk_queue.c. All here runs on the control
 * reactor.
 *
 * Features are constant for the life of the device, also across its block device's removal: a
 * front-end that reconnects must not find less than it had. Not offered: SIZE_MAX (0 with the bit
 * set confuses drivers), GEOMETRY (firmware makes its own), CONFIG_WCE (after a migration nobody
 * tells the destination what the guest had set).
 *
 * Hot removal: the device stays, the guest's requests fail, bdev is NULL in listings. bdev_close
 * waits for every queue's channel and for a claim or release that is under way.
 */
#include "vhost/blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "spec/vhost_user.h"
#include "spec/virtio_ring.h"
#include "vhost/blk_impl.h"

/* Told to the driver before the ring's size is known: fits the usual ring of 128 beside the header
 * and the status. More is served (VQ_SEGMENTS_MAX). */
#define BLK_SEG_MAX 126

#define BLK_QUEUES 64

struct blk_device {
	struct vhost_device device;
	struct reactor *control;
	struct bdev_user user;
	bool open; /* user holds the block device */
	bool removed; /* it is going: close as soon as nothing uses it */
	bool claimed;
	unsigned calls_under_way; /* claims, channels being opened */
	bool read_only;
	bool waits_for_space;
	uint64_t features;
	struct virtio_blk_config config; /* capacity is filled in when asked */
	uint64_t capacity; /* last known, in sectors */
	char id[VIRTIO_BLK_ID_BYTES];
	struct list queues;
};

static struct blk_device *blk_device_of(const struct vhost_device *device)
{
	return container_of(device, struct blk_device, device);
}

/* ---- features and configuration space ------------------------------------------------------- */

static uint64_t blk_features(const struct vhost_device *device)
{
	return blk_device_of(device)->features;
}

static uint64_t blk_tolerated_features(const struct vhost_device *device)
{
	return 0; /* for blk QEMU masks with what was offered */
}

static uint64_t blk_protocol_features(const struct vhost_device *device)
{
	return UINT64_C(1) << VHOST_USER_PF_MQ | UINT64_C(1) << VHOST_USER_PF_LOG_SHMFD |
	       UINT64_C(1) << VHOST_USER_PF_REPLY_ACK | UINT64_C(1) << VHOST_USER_PF_BACKEND_REQ |
	       UINT64_C(1) << VHOST_USER_PF_CONFIG | UINT64_C(1) << VHOST_USER_PF_INFLIGHT_SHMFD |
	       UINT64_C(1) << VHOST_USER_PF_RESET_DEVICE |
	       UINT64_C(1) << VHOST_USER_PF_CONFIGURE_MEM_SLOTS;
}

static unsigned blk_queue_count(const struct vhost_device *device)
{
	return BLK_QUEUES;
}

static int blk_config_get(struct vhost_device *device, uint32_t offset, void *buf, uint32_t size)
{
	struct blk_device *blk = blk_device_of(device);
	const uint8_t *config = (const uint8_t *)&blk->config;

	blk->config.capacity = blk->capacity;
	memset(buf, 0, size);
	if (offset < sizeof(blk->config))
		memcpy(buf, config + offset, u64_min(size, sizeof(blk->config) - offset));
	return 0;
}

static int blk_config_set(
	struct vhost_device *device, uint32_t offset, const void *buf, uint32_t size)
{
	return -EINVAL; /* only writeback could be written, and CONFIG_WCE is not offered */
}

static uint64_t blk_features_make(const struct bdev *bdev, bool read_only)
{
	uint64_t features = VIRTIO_BIT(VHOST_USER_F_PROTOCOL_FEATURES) |
			    VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_ANY_LAYOUT) |
			    VIRTIO_BIT(VHOST_F_LOG_ALL) | VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) |
			    VIRTIO_BIT(VIRTIO_F_EVENT_IDX) | VIRTIO_BIT(VIRTIO_F_RING_PACKED) |
			    VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) |
			    VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY) | VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) |
			    VIRTIO_BIT(VIRTIO_BLK_F_MQ);

	if (read_only)
		return features | VIRTIO_BIT(VIRTIO_BLK_F_RO);
	if (bdev_supports(bdev, BDEV_IO_UNMAP))
		features |= VIRTIO_BIT(VIRTIO_BLK_F_DISCARD);
	if (bdev_supports(bdev, BDEV_IO_WRITE_ZEROES))
		features |= VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	return features;
}

static void blk_config_make(struct blk_device *blk, const struct bdev *bdev)
{
	uint32_t physical = bdev->physical_block_size > bdev->block_size ? bdev->physical_block_size
									 : bdev->block_size;
	uint32_t granularity = bdev->unmap_granularity > bdev->block_size ? bdev->unmap_granularity
									  : bdev->block_size;

	blk->config = (struct virtio_blk_config){
		.seg_max = BLK_SEG_MAX,
		.blk_size = bdev->block_size,
		.physical_block_exp = (uint8_t)__builtin_ctz(physical / bdev->block_size),
		.min_io_size = (uint16_t)u64_min(physical / bdev->block_size, UINT16_MAX),
		.opt_io_size = bdev->optimal_io_bytes / bdev->block_size,
		.num_queues = BLK_QUEUES,
		.max_discard_sectors = BLK_DISCARD_SECTORS_MAX,
		.max_discard_seg = BLK_SEGMENTS_MAX,
		.discard_sector_alignment = granularity / VIRTIO_BLK_SECTOR,
		.max_write_zeroes_sectors = BLK_WRITE_ZEROES_SECTORS_MAX,
		.max_write_zeroes_seg = BLK_SEGMENTS_MAX,
		.write_zeroes_may_unmap = bdev_supports(bdev, BDEV_IO_UNMAP),
	};
	blk->capacity = bdev_size(bdev) / VIRTIO_BLK_SECTOR;
}

/* ---- the block device below ----------------------------------------------------------------- */

static enum flow_result blk_release_run(struct flow *f);
static void blk_claim_start(struct vhost_device *device, struct reason *reason, const char *name,
	enum flow_result (*run)(struct flow *), done_fn done, void *arg);

static void blk_released(void *arg, int rc)
{
	/* blk_release_run has closed the device if it could. */
}

static void blk_close_when_unused(struct blk_device *blk)
{
	struct blk_queue *queue;

	if (!blk->removed || !blk->open || blk->calls_under_way)
		return;
	list_for_each_entry (queue, &blk->queues, link) {
		if (queue->channel)
			return;
	}
	if (blk->claimed) { /* its end calls this again */
		blk_claim_start(
			&blk->device, NULL, "blk release", blk_release_run, blk_released, blk);
		return;
	}
	blk->open = false;
	bdev_close(&blk->user);
}

static void blk_queue_channel_closed(void *arg, int rc)
{
	struct blk_queue *queue = arg;
	struct blk_device *blk = blk_device_of(queue->device);

	queue->channel = NULL;
	queue->leaving = false;
	if (queue->done) { /* the ring closed while the device was leaving */
		queue->done(queue->arg, 0);
		list_remove(&queue->link);
		free(queue);
	}
	blk_close_when_unused(blk);
}

static void blk_queue_detached(struct message *message)
{
	struct blk_queue *queue = container_of(message, struct blk_queue, detached);

	bdev_channel_close(queue->channel, blk_queue_channel_closed, queue);
}

static void blk_queue_detach_start(struct blk_queue *queue)
{
	queue->leaving = true;
	queue->detach.run = blk_queue_detach;
	queue->detached.run = blk_queue_detached;
	reactor_send(queue->reactor, &queue->detach);
}

static void blk_removed(struct bdev_user *user)
{
	struct blk_device *blk = container_of(user, struct blk_device, user);
	struct blk_queue *queue;

	blk->removed = true;
	log_notice("%s: its block device was removed; the guest gets I/O errors", blk->device.name);
	list_for_each_entry (queue, &blk->queues, link) {
		if (queue->channel && !queue->leaving)
			blk_queue_detach_start(queue);
	}
	blk_close_when_unused(blk);
}

static void blk_resized(struct bdev_user *user)
{
	struct blk_device *blk = container_of(user, struct blk_device, user);

	blk->capacity = bdev_size(user->bdev) / VIRTIO_BLK_SECTOR;
	if (blk->device.session)
		vhost_session_config_changed(blk->device.session);
}

static const struct bdev_user_ops blk_user_ops = {
	.name = "vhost_blk",
	.removed = blk_removed,
	.resized = blk_resized,
};

/* ---- claims ---------------------------------------------------------------------------------- */

struct blk_claim_op {
	struct flow flow;
	struct blk_device *blk;
	struct reason *reason;
	done_fn done;
	void *arg;
};

/* What failed because the block device went meanwhile is no failure of the front-end's: its
 * requests get I/O errors, as they do where the device had gone before. */
static void blk_forgive_removal(const struct blk_device *blk, struct flow *f)
{
	if (blk->removed)
		f->error = 0;
}

static enum flow_result blk_claim_run(struct flow *f)
{
	struct blk_claim_op *op = container_of(f, struct blk_claim_op, flow);

	FLOW_BEGIN(f);
	/* Readers need no claim; a device that is gone answers errors without one. */
	if (op->blk->read_only || op->blk->removed || op->blk->claimed)
		goto finish;
	op->blk->calls_under_way++;
	AWAIT(f, bdev_claim(&op->blk->user, BDEV_CLAIM_SHARED_WRITE, op->reason, flow_resume, f));
	op->blk->calls_under_way--;
	op->blk->claimed = !flow_failed(f);
	blk_forgive_removal(op->blk, f);
	blk_close_when_unused(op->blk);
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

static enum flow_result blk_release_run(struct flow *f)
{
	struct blk_claim_op *op = container_of(f, struct blk_claim_op, flow);

	FLOW_BEGIN(f);
	if (!op->blk->claimed)
		goto finish;
	op->blk->calls_under_way++;
	AWAIT(f, bdev_release(&op->blk->user, flow_resume, f));
	op->blk->calls_under_way--;
	op->blk->claimed = false;
	blk_close_when_unused(op->blk);
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

static void blk_claim_start(struct vhost_device *device, struct reason *reason, const char *name,
	enum flow_result (*run)(struct flow *), done_fn done, void *arg)
{
	struct blk_claim_op *op = alloc_op(sizeof(*op));

	op->blk = blk_device_of(device);
	op->reason = reason;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, op->blk->control, name, run);
}

static void blk_claim(struct vhost_device *device, struct reason *reason, done_fn done, void *arg)
{
	blk_claim_start(device, reason, "blk claim", blk_claim_run, done, arg);
}

static void blk_release(struct vhost_device *device, done_fn done, void *arg)
{
	blk_claim_start(device, NULL, "blk release", blk_release_run, done, arg);
}

/* ---- rings ----------------------------------------------------------------------------------- */

struct blk_ring_op {
	struct flow flow;
	struct blk_device *blk;
	struct blk_queue *queue;
	struct bdev_channel *channel;
	const struct virtqueue_ops **ret_ops;
	void **ret_context;
	done_fn done;
	void *arg;
};

static enum flow_result blk_ring_open_run(struct flow *f)
{
	struct blk_ring_op *op = container_of(f, struct blk_ring_op, flow);

	FLOW_BEGIN(f);
	if (op->blk->removed) {
		op->queue->gone = true;
		goto answer;
	}
	op->blk->calls_under_way++;
	AWAIT(f, bdev_channel_open(
			 &op->blk->user, op->queue->reactor, &op->channel, flow_resume, f));
	op->blk->calls_under_way--;
	blk_forgive_removal(op->blk, f);
	if (f->error) {
		list_remove(&op->queue->link);
		free(op->queue);
		goto finish;
	}
	if (flow_failed(f)) { /* gone meanwhile */
		op->queue->gone = true;
		blk_close_when_unused(op->blk);
		goto answer;
	}
	op->queue->channel = op->channel;
	if (op->blk->removed) /* meanwhile: blk_removed saw no channel to close */
		blk_queue_detach_start(op->queue);
answer:
	*op->ret_ops = &blk_queue_ops;
	*op->ret_context = op->queue;
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

static void blk_ring_open(struct vhost_device *device, unsigned index, struct reactor *reactor,
	uint64_t features, const struct virtqueue_ops **ret_ops, void **ret_context, done_fn done,
	void *arg)
{
	struct blk_device *blk = blk_device_of(device);
	struct blk_ring_op *op = alloc_op(sizeof(*op));
	struct blk_queue *queue = alloc_lines(sizeof(*queue));

	invariant(queue); /* as alloc_op */
	queue->device = device;
	queue->bdev = blk->user.bdev;
	queue->reactor = reactor;
	queue->control = blk->control;
	queue->features = features;
	queue->block_mask = blk->config.blk_size - 1;
	queue->read_only = blk->read_only;
	queue->waits_for_space = blk->waits_for_space;
	queue->write_through = !(features & VIRTIO_BIT(VIRTIO_BLK_F_FLUSH));
	memcpy(queue->id, blk->id, sizeof(queue->id));
	list_add_tail(&blk->queues, &queue->link);
	op->blk = blk;
	op->queue = queue;
	op->ret_ops = ret_ops;
	op->ret_context = ret_context;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, blk->control, "blk ring open", blk_ring_open_run);
}

static enum flow_result blk_ring_close_run(struct flow *f)
{
	struct blk_ring_op *op = container_of(f, struct blk_ring_op, flow);

	FLOW_BEGIN(f);
	if (op->queue->leaving) {
		/* blk_queue_channel_closed answers and frees the queue. */
		op->queue->done = op->done;
		op->queue->arg = op->arg;
		free(op);
		return FLOW_ENDED;
	}
	op->queue->leaving = true; /* a removal must not close the channel once more */
	if (op->queue->channel)
		AWAIT(f, bdev_channel_close(op->queue->channel, flow_resume, f));
	op->queue->channel = NULL;
	list_remove(&op->queue->link);
	blk_close_when_unused(blk_device_of(op->queue->device));
	op->done(op->arg, 0);
	free(op->queue);
	free(op);
	FLOW_END(f);
}

static void blk_ring_close(
	struct vhost_device *device, unsigned index, void *context, done_fn done, void *arg)
{
	struct blk_ring_op *op = alloc_op(sizeof(*op));

	op->blk = blk_device_of(device);
	op->queue = context;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, op->blk->control, "blk ring close", blk_ring_close_run);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void blk_session_begin(struct vhost_device *device, struct vhost_session *session)
{
	device->session = session;
}

static void blk_session_end(struct vhost_device *device)
{
	device->session = NULL;
}

static void blk_reset(struct vhost_device *device)
{
	/* Nothing of the guest's driver is remembered outside the rings. */
}

static enum flow_result blk_destroy_run(struct flow *f)
{
	struct blk_claim_op *op = container_of(f, struct blk_claim_op, flow);

	FLOW_BEGIN(f);
	invariant(list_is_empty(&op->blk->queues));
	if (op->blk->claimed)
		AWAIT(f, bdev_release(&op->blk->user, flow_resume, f));
	if (op->blk->open)
		bdev_close(&op->blk->user);
	free(op->blk);
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

static void blk_destroy(struct vhost_device *device, done_fn done, void *arg)
{
	blk_claim_start(device, NULL, "blk destroy", blk_destroy_run, done, arg);
}

static const struct vhost_device_ops blk_device_ops = {
	.kind = "blk",
	.features = blk_features,
	.tolerated_features = blk_tolerated_features,
	.protocol_features = blk_protocol_features,
	.queue_count = blk_queue_count,
	.config_get = blk_config_get,
	.config_set = blk_config_set,
	.session_begin = blk_session_begin,
	.session_end = blk_session_end,
	.reset = blk_reset,
	.claim = blk_claim,
	.release = blk_release,
	.ring_open = blk_ring_open,
	.ring_close = blk_ring_close,
	.destroy = blk_destroy,
};

int blk_device_create(struct bdev *bdev, const struct blk_device_options *options,
	struct reason *reason, struct vhost_device **ret_device)
{
	struct blk_device *blk = calloc(1, sizeof(*blk));
	int rc;

	if (!blk)
		return -ENOMEM;
	blk->device.ops = &blk_device_ops;
	blk->device.name = options->name;
	blk->control = options->control;
	blk->waits_for_space = !options->fails_when_full;
	blk->user.ops = &blk_user_ops;
	list_init(&blk->queues);
	rc = bdev_open(bdev, &blk->user, reason);
	if (rc) {
		free(blk);
		return rc;
	}
	blk->open = true;
	blk->read_only = options->read_only || bdev->read_only;
	blk->features = blk_features_make(bdev, blk->read_only);
	blk_config_make(blk, bdev);
	/* The name, cut: unlike a random uuid it is the same after a restart. */
	memcpy(blk->id, bdev->name, u64_min(strlen(bdev->name), sizeof(blk->id)));
	*ret_device = &blk->device;
	return 0;
}

const char *blk_device_bdev_name(const struct vhost_device *device)
{
	const struct blk_device *blk = blk_device_of(device);

	return blk->open && !blk->removed ? blk->user.bdev->name : NULL;
}

bool blk_device_is_read_only(const struct vhost_device *device)
{
	return blk_device_of(device)->read_only;
}

bool blk_device_waits_for_space(const struct vhost_device *device)
{
	return blk_device_of(device)->waits_for_space;
}
