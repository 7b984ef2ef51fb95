/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Range locks as a channel sees them. A hold arrives by message; from then on new requests that
 * overlap it wait, and when all that was in flight before has ended the message goes back.
 *
 *	QUEUED --the channel's epoch is turned--> DRAINING --old epoch empty--> HELD
 *
 * A request in flight is counted under the epoch it was submitted in. Turning the epoch needs the
 * other one to be empty, so holds that come while one drains are QUEUED and drain together in the
 * next round: a hold waits for two rounds at most, however busy the channel is. Requests held back
 * are in no epoch.
 */
#include "bdev/bdev_impl.h"

enum bdev_hold_phase { HOLD_QUEUED, HOLD_DRAINING, HOLD_HELD };

static bool bdev_range_hold_overlaps(const struct bdev_range_hold *hold, const struct bdev_io *io)
{
	if (hold->lock == io->lock)
		return false;
	if (hold->length == BDEV_RANGE_ALL)
		return true;
	if (io->type == BDEV_IO_FLUSH)
		return false;
	return io->offset < hold->offset + hold->length && hold->offset < io->offset + io->length;
}

bool bdev_range_holds_back(const struct bdev_channel *channel, const struct bdev_io *io)
{
	const struct bdev_range_hold *hold;

	list_for_each_entry (hold, &channel->range_holds, link)
		if (bdev_range_hold_overlaps(hold, io))
			return true;
	return false;
}

/* Holds in from come to; returns whether there were any. */
static bool bdev_range_holds_move(
	struct bdev_channel *channel, enum bdev_hold_phase from, enum bdev_hold_phase to)
{
	struct bdev_range_hold *hold;
	bool any = false;

	list_for_each_entry (hold, &channel->range_holds, link) {
		if (hold->phase != from)
			continue;
		hold->phase = to;
		any = true;
		if (to == HOLD_HELD)
			bdev_range_hold_return(hold);
	}
	return any;
}

void bdev_range_holds_check(struct bdev_channel *channel)
{
	for (;;) {
		if (channel->draining) {
			if (channel->in_flight[channel->epoch ^ 1] > 0)
				return;
			channel->draining = false;
			bdev_range_holds_move(channel, HOLD_DRAINING, HOLD_HELD);
		}
		if (!bdev_range_holds_move(channel, HOLD_QUEUED, HOLD_DRAINING))
			return;
		channel->epoch ^= 1;
		channel->draining = true;
	}
}

void bdev_range_hold_run(struct message *message)
{
	struct bdev_range_hold *hold = container_of(message, struct bdev_range_hold, message);
	struct bdev_channel *channel = hold->channel;

	hold->phase = HOLD_QUEUED;
	list_add_tail(&channel->range_holds, &hold->link);
	channel->detour = true;
	bdev_range_holds_check(channel);
}

/* Requests that nothing holds back any more go on, the others keep their order. */
static void bdev_channel_resume_waiting(struct bdev_channel *channel)
{
	struct bdev_io *io = channel->waiting.head;

	bdev_io_list_init(&channel->waiting);
	while (io) {
		struct bdev_io *next = io->next;

		bdev_submit_admitted(channel, io);
		io = next;
	}
	bdev_channel_set_detour(channel);
}

void bdev_range_release_run(struct message *message)
{
	struct bdev_range_hold *hold = container_of(message, struct bdev_range_hold, message);

	list_remove(&hold->link);
	if (hold->channel)
		bdev_channel_resume_waiting(hold->channel);
	bdev_range_hold_return(hold);
}

void bdev_range_holds_detach(struct bdev_channel *channel)
{
	struct bdev_range_hold *hold, *next;

	list_for_each_entry_safe (hold, next, &channel->range_holds, link) {
		invariant(hold->phase == HOLD_HELD);
		list_remove(&hold->link);
		hold->channel = NULL;
	}
}
