/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pieces of READ and WRITE that go through bounce memory, since O_DIRECT does not take the guest's
 * own buffers. On data reactors.
 *
 *	WRITE	memory -> copied in -> file -> next piece
 *	READ	memory -> file -> copied out -> next piece
 *
 * Copying takes the reactor's time, also that of other guests, and much of it can come at once: in
 * one turn hundreds of pieces may end. So a channel copies a bounded amount in a turn; what is
 * beyond waits on its list, first in first out, and its poller goes on with it in the next turns.
 *
 * Memory is the reactor's (slab.h): of the smallest size that holds the piece, kept for all pieces
 * of a request, and used by a bounded number of requests of a channel at once. Those beyond wait on
 * the same list: each that ends lets the first of them in.
 */
#include <string.h>

#include "backend/file_impl.h"

#define FILE_TURN_COPY_BYTES (256 * KIB) /* 15 to 40 us */
#define FILE_BOUNCES_MAX     128u /* at most 16 MiB */

static void file_bounce_copy(struct bdev_io *io, bool to_bounce, size_t length)
{
	struct file_io *fio = file_io_of(io);
	struct file_place place = file_io_place(io, fio->progress);
	uint8_t *bounce = fio->bounce;

	while (length > 0) {
		const struct iovec *iov = &io->iov[place.index];
		uint8_t *guest = (uint8_t *)iov->iov_base + place.skip;
		size_t part = u64_min(length, iov->iov_len - place.skip);

		if (part && to_bounce)
			memcpy(bounce, guest, part);
		else if (part)
			memcpy(guest, bounce, part);
		bounce += part;
		length -= part;
		place.index++;
		place.skip = 0;
	}
}

/* ---- what waits --------------------------------------------------------- */

static void file_wait_list_init(struct bdev_io_list *list)
{
	list->head = NULL;
	list->tail = &list->head;
}

static void file_wait_list_add(struct bdev_io_list *list, struct bdev_io *io)
{
	io->next = NULL;
	*list->tail = io;
	list->tail = &io->next;
}

/* Not empty. */
static struct bdev_io *file_wait_list_take(struct bdev_io_list *list)
{
	struct bdev_io *io = list->head;

	list->head = io->next;
	if (!list->head)
		list->tail = &list->head;
	return io;
}

static void file_bounce_later(struct file_channel *channel, struct bdev_io *io)
{
	file_wait_list_add(&channel->later, io);
	poller_wake(&channel->poller);
}

/* May this turn still copy? */
static bool file_channel_has_time(struct file_channel *channel)
{
	uint64_t turn = channel->poller.reactor->stats.turns;

	if (channel->copy_turn != turn)
		channel->copy_bytes = 0;
	channel->copy_turn = turn;
	return channel->copy_bytes < FILE_TURN_COPY_BYTES;
}

/* ---- pieces ------------------------------------------------------------- */

static enum slab_class file_bounce_class(uint64_t length)
{
	if (length <= slab_object_size(SLAB_4K))
		return SLAB_4K;
	return length <= slab_object_size(SLAB_32K) ? SLAB_32K : SLAB_128K;
}

static void file_bounce_ready(struct slab_waiter *waiter)
{
	struct file_io *fio = container_of(waiter, struct file_io, waiter);
	struct bdev_io *io = file_io_request(&fio->os_io);

	file_bounce_later(file_channel_of(io->channel), io);
}

/* False: the request waits for memory. */
static bool file_bounce_begin(struct file_channel *channel, struct bdev_io *io)
{
	struct reactor *reactor = io->channel->reactor;
	struct file_io *fio = file_io_of(io);
	enum slab_class class = file_bounce_class(io->length - fio->progress);

	if (channel->bounces == FILE_BOUNCES_MAX) {
		file_wait_list_add(&channel->starved, io);
		return false;
	}
	fio->bounce = slab_get(reactor, class);
	if (!fio->bounce) {
		fio->waiter.ready = file_bounce_ready;
		slab_wait(reactor, class, &fio->waiter);
		return false;
	}
	fio->bounce_class = (uint8_t) class;
	channel->bounces++;
	return true;
}

void file_bounce_end(struct bdev_io *io)
{
	struct file_channel *channel = file_channel_of(io->channel);
	struct file_io *fio = file_io_of(io);

	slab_put(io->channel->reactor, (enum slab_class)fio->bounce_class, fio->bounce);
	channel->bounces--;
	if (channel->starved.head)
		file_bounce_later(channel, file_wait_list_take(&channel->starved));
}

/* The memory is there; what is to be written has been copied, or nothing is. */
static void file_bounce_submit(struct file_bdev *file, struct bdev_io *io, uint64_t length)
{
	struct file_io *fio = file_io_of(io);

	fio->bounced = true;
	fio->iov = (struct iovec){.iov_base = fio->bounce, .iov_len = length};
	file_piece_submit(file, io, &fio->iov, 1, length);
}

static void file_bounce_write(struct file_channel *channel, struct bdev_io *io, uint64_t length)
{
	channel->copy_bytes += length;
	file_bounce_copy(io, true, length);
	file_bounce_submit(file_bdev_of(io->channel->bdev), io, length);
}

static uint64_t file_bounce_length(const struct bdev_io *io, const struct file_io *fio)
{
	return u64_min(
		io->length - fio->progress, slab_object_size((enum slab_class)fio->bounce_class));
}

void file_bounce_transfer(struct file_bdev *file, struct bdev_io *io)
{
	struct file_channel *channel = file_channel_of(io->channel);
	struct file_io *fio = file_io_of(io);

	if (!fio->bounce && !file_bounce_begin(channel, io))
		return;
	if (io->type == BDEV_IO_READ)
		file_bounce_submit(file, io, file_bounce_length(io, fio));
	else if (!channel->later.head && file_channel_has_time(channel))
		file_bounce_write(channel, io, file_bounce_length(io, fio));
	else
		file_bounce_later(channel, io);
}

static void file_bounce_finish_read(struct file_channel *channel, struct bdev_io *io, size_t length)
{
	channel->copy_bytes += length;
	file_bounce_copy(io, false, length);
	file_piece_advance(io, length);
}

void file_bounce_read(struct bdev_io *io, size_t length)
{
	struct file_channel *channel = file_channel_of(io->channel);

	if (!channel->later.head && file_channel_has_time(channel)) {
		file_bounce_finish_read(channel, io, length);
		return;
	}
	file_io_of(io)->os_io.result = (int64_t)length;
	file_bounce_later(channel, io);
}

/* ---- the poller --------------------------------------------------------- */

/* Goes on with what has waited; returns the bytes that were copied. */
static uint64_t file_bounce_resume(struct file_channel *channel, struct bdev_io *io)
{
	struct file_bdev *file = file_bdev_of(io->channel->bdev);
	struct file_io *fio = file_io_of(io);
	uint64_t before = channel->copy_bytes;

	if (!fio->bounce) {
		if (!file_bounce_begin(channel, io))
			return 0;
		if (io->type == BDEV_IO_READ) {
			file_bounce_submit(file, io, file_bounce_length(io, fio));
			return 0;
		}
	}
	if (io->type == BDEV_IO_READ)
		file_bounce_finish_read(channel, io, (size_t)fio->os_io.result);
	else
		file_bounce_write(channel, io, file_bounce_length(io, fio));
	return channel->copy_bytes - before;
}

static struct poll_result file_poll(struct poller *poller, struct poll_budget budget)
{
	struct file_channel *channel = container_of(poller, struct file_channel, poller);
	struct poll_result result = {0};

	while (channel->later.head && result.requests < budget.requests &&
		result.bytes < budget.bytes && file_channel_has_time(channel)) {
		result.bytes += file_bounce_resume(channel, file_wait_list_take(&channel->later));
		result.requests++;
	}
	result.more = channel->later.head != NULL;
	return result;
}

static bool file_poller_sleep(struct poller *poller)
{
	return container_of(poller, struct file_channel, poller)->later.head == NULL;
}

static void file_poller_wake(struct poller *poller)
{
}

static const struct poller_ops file_poller_ops = {
	.poll = file_poll,
	.sleep = file_poller_sleep,
	.wake = file_poller_wake,
};

int file_channel_init(struct bdev_channel *channel)
{
	struct file_channel *own = file_channel_of(channel);

	file_wait_list_init(&own->later);
	file_wait_list_init(&own->starved);
	poller_start(channel->reactor, &own->poller, &file_poller_ops);
	reactor_keep_file(channel->reactor, file_bdev_of(channel->bdev)->fd);
	return 0;
}

void file_channel_fini(struct bdev_channel *channel)
{
	struct file_channel *own = file_channel_of(channel);

	invariant(own->bounces == 0);
	reactor_drop_file(channel->reactor, file_bdev_of(channel->bdev)->fd);
	poller_stop(&own->poller);
}
