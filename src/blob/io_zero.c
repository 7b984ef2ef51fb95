/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads of what nobody ever wrote: the guest's memory is cleared here. Short ones at once, while
 * the turn has time; long ones, and what the turn has no time for, by a poller, a share of each
 * turn.
 */
#include <string.h>

#include "blob/io_impl.h"

#define ZERO_SHORT_BYTES (32 * KIB)
#define ZERO_STEP_BYTES  (64 * KIB)

static uint64_t piece_zero_some(struct blob_piece *piece, uint64_t most)
{
	struct iov_cursor cursor = iov_cursor(piece->iov);
	uint64_t bytes = u64_min(piece->length - piece->progress, most);
	uint64_t left = bytes;

	iov_skip(&cursor, piece->progress);
	while (left > 0) {
		size_t part = u64_min(left, cursor.iov->iov_len - cursor.skip);

		memset((uint8_t *)cursor.iov->iov_base + cursor.skip, 0, part);
		iov_skip(&cursor, part);
		left -= part;
	}
	piece->progress += bytes;
	return bytes;
}

void piece_zero_memory(struct blob_piece *piece)
{
	struct store_channel *channel = piece->own->store;

	piece->progress = 0;
	if (piece->length <= ZERO_SHORT_BYTES &&
		reactor_has_time(channel->reactor, (unsigned)(piece->length / KIB))) {
		piece_zero_some(piece, piece->length);
		piece->done(piece, 0);
		return;
	}
	list_add_tail(&channel->zeroing, &piece->link);
	poller_wake(&channel->zero_poller);
}

static struct poll_result zero_poll(struct poller *poller, struct poll_budget budget)
{
	struct store_channel *channel = container_of(poller, struct store_channel, zero_poller);
	struct poll_result result = {0};

	while (!list_is_empty(&channel->zeroing) && result.bytes < budget.bytes &&
		result.requests < budget.requests) {
		struct blob_piece *piece =
			list_first_entry(&channel->zeroing, struct blob_piece, link);
		uint64_t bytes = piece_zero_some(piece, ZERO_STEP_BYTES);

		result.bytes += bytes;
		result.requests++;
		if (piece->progress == piece->length) {
			list_remove(&piece->link);
			piece->done(piece, 0);
		}
		if (!reactor_has_time(poller->reactor, (unsigned)(bytes / KIB)))
			break;
	}
	result.more = !list_is_empty(&channel->zeroing);
	return result;
}

static bool zero_poller_sleep(struct poller *poller)
{
	return list_is_empty(&container_of(poller, struct store_channel, zero_poller)->zeroing);
}

static void zero_poller_wake(struct poller *poller)
{
}

static const struct poller_ops zero_poller_ops = {
	.poll = zero_poll,
	.sleep = zero_poller_sleep,
	.wake = zero_poller_wake,
};

void zero_memory_init(struct store_channel *channel)
{
	poller_start(channel->reactor, &channel->zero_poller, &zero_poller_ops);
}
