/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Logical units, attachments and channels (lun.h).
 *
 * The unit of a block device is found through the device's own users: whoever of them is an
 * attachment knows it. So there is no list of units, and none to forget to keep.
 *
 * Closing a channel is a message to its reactor that waits for its tasks (abort.c), then closing
 * the channel to the block device. Visits of aborts that were sent to that reactor before have been
 * answered by then: messages keep their order in both directions.
 */
#include "scsi/lun.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/slab.h"
#include "scsi/copy.h"
#include "scsi/identity.h"
#include "scsi/lun_mode.h"
#include "scsi/lun_reservation.h"
#include "scsi/lun_state.h"
#include "scsi/port.h"
#include "scsi/wipe.h"

static void attachment_removed(struct bdev_user *user);
static void attachment_resized(struct bdev_user *user);
static void attachment_low_water_changed(struct bdev_user *user);
static void attachment_low_space(struct bdev_user *user);

static const struct bdev_user_ops attachment_user_ops = {
	.name = "vhost_scsi",
	.removed = attachment_removed,
	.resized = attachment_resized,
	.low_water_changed = attachment_low_water_changed,
	.low_space = attachment_low_space,
};

static void attachment_removed(struct bdev_user *user)
{
	struct scsi_attachment *attachment = container_of(user, struct scsi_attachment, user);

	attachment->ops->removed(attachment);
}

static void attachment_resized(struct bdev_user *user)
{
	struct scsi_attachment *attachment = container_of(user, struct scsi_attachment, user);

	scsi_attention_raise(attachment, SCSI_UA_CAPACITY_CHANGED);
	attachment->ops->resized(attachment);
}

/* It is in a mode page, and not by MODE SELECT (SBC-4 6.5.9). */
static void attachment_low_water_changed(struct bdev_user *user)
{
	scsi_attention_raise(
		container_of(user, struct scsi_attachment, user), SCSI_UA_MODE_CHANGED);
}

/* SBC-4 4.7.3.7, armed decreasing, on every I_T nexus: the pool tells it once until it has
 * recovered. */
static void attachment_low_space(struct bdev_user *user)
{
	struct scsi_attachment *attachment = container_of(user, struct scsi_attachment, user);

	scsi_attention_raise(attachment, SCSI_UA_SOFT_THRESHOLD);
}

static struct scsi_lun *lun_find(struct bdev *bdev)
{
	struct bdev_user *user;

	list_for_each_entry (user, &bdev->users, link) {
		if (user->ops == &attachment_user_ops)
			return container_of(user, struct scsi_attachment, user)->lun;
	}
	return NULL;
}

static struct scsi_lun *lun_create(struct bdev *bdev, const struct scsi_attachment_options *options)
{
	struct scsi_lun *lun = calloc(1, sizeof(*lun));

	if (!lun)
		return NULL;
	lun->bdev = bdev;
	lun->control = bdev_registry_control(bdev->registry);
	lun->removable = options->removable;
	list_init(&lun->attachments);
	scsi_lun_reservation_init(lun);
	scsi_identity_make(bdev->uuid, lun->serial, lun->naa);
	lun->store = options->store;
	scsi_lun_mode_init(lun);
	lun->timestamp_zero_ns = (int64_t)reactor_now(lun->control);
	return lun;
}

void scsi_lun_destroy(struct scsi_lun *lun)
{
	scsi_lun_reservation_fini(lun);
	free(lun->data_buffer);
	free(lun);
}

static int open_check(const struct bdev *bdev, const struct scsi_lun *lun,
	const struct scsi_attachment_options *options, struct reason *reason)
{
	if (!is_power_of_two(bdev->block_size) || bdev->block_size < 512 ||
		bdev->block_size > slab_object_size(SLAB_128K))
		return reason_set(reason, -EINVAL,
			"blocks of %u bytes cannot be served over SCSI: use a power of two from "
			"512",
			bdev->block_size);
	if (lun && lun->removable != options->removable)
		return reason_set(reason, -EINVAL,
			"%s is on another controller %s removable medium: attach it in the same "
			"way here",
			bdev->name, lun->removable ? "as a" : "without a");
	return 0;
}

int scsi_attachment_open(struct bdev *bdev, const struct scsi_attachment_options *options,
	const struct scsi_attachment_ops *ops, void *owner, struct reason *reason,
	struct scsi_attachment **ret_attachment)
{
	struct scsi_attachment *attachment;
	struct scsi_lun *lun = lun_find(bdev);
	int rc = open_check(bdev, lun, options, reason);

	if (rc)
		return rc;
	attachment = aligned_alloc(CACHE_LINE, align_up(sizeof(*attachment), CACHE_LINE));
	if (!attachment)
		return reason_set(reason, -ENOMEM, "out of memory");
	memset(attachment, 0, sizeof(*attachment));
	attachment->user.ops = &attachment_user_ops;
	attachment->ops = ops;
	attachment->owner = owner;
	attachment->number = options->number;
	attachment->read_only = options->read_only;
	attachment->short_cdbs = options->short_cdbs;
	list_init(&attachment->channels);
	list_init(&attachment->copies);

	if (!lun)
		lun = lun_create(bdev, options);
	if (!lun) {
		rc = reason_set(reason, -ENOMEM, "out of memory");
		goto free_attachment;
	}
	rc = bdev_open(bdev, &attachment->user, reason);
	if (rc)
		goto free_lun;
	attachment->lun = lun;
	scsi_port_init(attachment, options->controller ? options->controller : "", options->target);
	atomic_fetch_or_explicit(&attachment->attention, lun->conditions, memory_order_relaxed);
	lun->attachment_count++;
	list_add_tail(&lun->attachments, &attachment->link);
	if (lun->wipe_state != SCSI_WIPE_NONE)
		atomic_fetch_or_explicit(
			&attachment->attention, SCSI_ATTENTION_WIPED, memory_order_relaxed);
	*ret_attachment = attachment;
	return 0;

free_lun:
	if (lun->attachment_count == 0)
		scsi_lun_destroy(lun);
free_attachment:
	free(attachment);
	return rc;
}

void scsi_attachment_close(struct scsi_attachment *attachment)
{
	struct scsi_lun *lun = attachment->lun;

	invariant(list_is_empty(&attachment->channels));
	scsi_attachment_lose_nexus(attachment);
	scsi_copy_forget(attachment);
	bdev_close(&attachment->user);
	list_remove(&attachment->link);
	if (--lun->attachment_count == 0 && !scsi_wipe_orphan(lun))
		scsi_lun_destroy(lun);
	free(attachment->echo_buffer);
	free(attachment);
}

/* ---- unit attentions --------------------------------------------------------------------- */

void scsi_lun_raise_others(struct scsi_lun *lun, const struct scsi_attachment *except,
	enum scsi_unit_attention attention)
{
	struct scsi_attachment *attachment;

	list_for_each_entry (attachment, &lun->attachments, link) {
		if (attachment != except)
			scsi_attention_raise(attachment, attention);
	}
}

void scsi_attention_restart(struct scsi_attachment *attachment)
{
	atomic_fetch_and_explicit(
		&attachment->attention, ~SCSI_ATTENTION_CONDITIONS, memory_order_relaxed);
	scsi_attention_raise(attachment, SCSI_UA_POWER_ON);
	scsi_lun_state_restart(attachment);
}

bool scsi_attention_take(
	struct scsi_attachment *attachment, enum scsi_unit_attention *ret_attention)
{
	uint32_t pending = atomic_load_explicit(&attachment->attention, memory_order_acquire);
	uint32_t lowest;

	do {
		lowest = pending & SCSI_ATTENTION_CONDITIONS;
		lowest &= -lowest;
		if (!lowest)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&attachment->attention, &pending,
		pending & ~lowest, memory_order_acq_rel, memory_order_acquire));
	*ret_attention = (enum scsi_unit_attention)__builtin_ctz(lowest);
	return true;
}

void scsi_attention_clear(struct scsi_attachment *attachment, enum scsi_unit_attention attention)
{
	uint32_t bit = UINT32_C(1) << attention;

	if (atomic_load_explicit(&attachment->attention, memory_order_relaxed) & bit)
		atomic_fetch_and_explicit(&attachment->attention, ~bit, memory_order_acq_rel);
}

/* ---- channels ---------------------------------------------------------------------------- */

int scsi_channel_create(struct scsi_attachment *attachment, struct reactor *reactor,
	void (*fetch)(void *arg), void *fetch_arg, struct scsi_lun_channel **ret_channel)
{
	struct bdev *bdev = attachment->user.bdev;
	struct scsi_lun_channel *channel =
		aligned_alloc(CACHE_LINE, align_up(sizeof(*channel), CACHE_LINE));

	if (!channel)
		return -ENOMEM;
	memset(channel, 0, sizeof(*channel));
	channel->bdev = bdev;
	channel->reactor = reactor;
	channel->attachment = attachment;
	channel->block_shift = (uint8_t)__builtin_ctz(bdev->block_size);
	channel->transfer_bytes_max = SCSI_TRANSFER_BYTES_MAX;
	channel->read_only = bdev->read_only || attachment->read_only;
	channel->number = attachment->number;
	channel->iovs_max = bdev->max_iovcnt ? bdev->max_iovcnt : UINT16_MAX;
	channel->fetch = fetch;
	channel->fetch_arg = fetch_arg;
	list_init(&channel->tasks);
	list_init(&channel->visits);
	list_init(&channel->link);
	*ret_channel = channel;
	return 0;
}

void scsi_channel_destroy(struct scsi_lun_channel *channel)
{
	free(channel);
}

static void channel_opened(void *arg, int rc)
{
	struct scsi_lun_channel *channel = arg;

	if (rc == 0) {
		scsi_channel_restrict(channel);
		list_add_tail(&channel->attachment->channels, &channel->link);
	}
	channel->done(channel->arg, rc);
}

void scsi_channel_open(struct scsi_lun_channel *channel, done_fn done, void *arg)
{
	channel->done = done;
	channel->arg = arg;
	bdev_channel_open(&channel->attachment->user, channel->reactor, &channel->bdev_channel,
		channel_opened, channel);
}

static void channel_drained(struct scsi_visit *visit);
static void channel_closed(void *arg, int rc);

void scsi_channel_close(struct scsi_lun_channel *channel, done_fn done, void *arg)
{
	struct scsi_visit *visit = &channel->close_visit;

	channel->done = done;
	channel->arg = arg;
	list_remove(&channel->link);
	visit->channel = channel;
	visit->wait = true;
	visit->every_tag = true;
	visit->returned = channel_drained;
	scsi_visit_send(visit);
}

static void channel_drained(struct scsi_visit *visit)
{
	struct scsi_lun_channel *channel = visit->channel;

	bdev_channel_close(channel->bdev_channel, channel_closed, channel);
}

static void channel_closed(void *arg, int rc)
{
	struct scsi_lun_channel *channel = arg;
	done_fn done = channel->done;
	void *done_arg = channel->arg;

	free(channel);
	done(done_arg, 0);
}
