/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device over anonymous memory. Zero after creation and after UNMAP, which gives whole pages back
 * to the host; gone with the daemon.
 *
 * Short requests are copied between guest and store in the turn they came in, but after all queues
 * have been looked at: while one is copied the store's bytes of the next are fetched from memory
 * (malloc_copy.c), and the rings stay in the cache while they are read. What is more than a turn
 * should do is left to the channel's own poller. That one also does all long requests and all
 * UNMAPs that give pages back, as much of them in a turn as its fair share allows, in the order
 * they came: neither a guest that writes megabytes nor one that discards its disk takes a turn for
 * itself, and short requests never stand behind long ones.
 *
 * Memory is taken when it is written first, 2 MiB at a time, by a worker: clearing so much takes
 * longer than a turn may (malloc_store.c). The requests that need it wait meanwhile, no others.
 *
 * The store is one mapping that all channels use; two requests that overlap at the same time leave
 * there any mixture of both, as on a disk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backends.h"
#include "backend/malloc_impl.h"
#include "core/poller.h"
#include "core/worker.h"

/* Of a write that was cut off nothing is left, as of all others. */
#define MALLOC_ATOMIC_BYTES (1 * MIB)

#define MALLOC_SHORT_BYTES (32 * KIB) /* the longest of the short ones */
#define MALLOC_TURN_BYTES  (512 * KIB) /* of short ones in a turn: 25 to 50 us */
#define MALLOC_PIECE_BYTES (64 * KIB) /* of a long one, between two looks at the time */

struct malloc_bdev {
	struct bdev bdev;
	struct malloc_store store;
	struct worker_job job; /* destroy */
	done_fn destroyed;
	void *arg;
};

struct malloc_channel {
	struct deferred batch; /* short_ios are done at the end of the turn */
	struct bdev_io_list short_ios; /* READ and WRITE */
	uint64_t short_turn; /* the last in which some were done */
	uint64_t short_bytes; /* in that turn */
	struct bdev_io_list long_ios;
	struct poller poller;
	struct worker_job job; /* takes memory for populating */
	struct bdev_io_list populating;
	struct bdev_io_list absent; /* wait for the next job */
};

static struct malloc_bdev *malloc_bdev_of(const struct bdev *bdev)
{
	return container_of(bdev, struct malloc_bdev, bdev);
}

/* ---- the work ----------------------------------------------------------- */

static bool malloc_gives_pages_back(const struct bdev_io *io)
{
	return io->type == BDEV_IO_UNMAP ||
	       (io->type == BDEV_IO_WRITE_ZEROES && !(io->flags & BDEV_IO_NO_UNMAP) &&
		       io->length > MALLOC_SHORT_BYTES);
}

/* An UNMAP beside it may have taken the note of this memory back. */
static inline void malloc_written(
	const struct bdev_io *io, struct malloc_store *store, uint64_t offset, uint64_t length)
{
	if (unlikely(io->type == BDEV_IO_WRITE && !malloc_store_is_present(store, offset, length)))
		malloc_store_note_written(store, offset, length);
}

/* A piece of a request; returns what it counts for. */
static uint64_t malloc_advance(struct bdev_io *io, struct malloc_store *store, uint64_t bytes)
{
	struct malloc_io *state = malloc_io_of(io);
	uint64_t at = io->offset + state->progress;
	uint64_t left = io->length - state->progress;

	if (io->type == BDEV_IO_READ)
		return malloc_copy(io, store->bytes, bytes, NULL);
	if (io->type == BDEV_IO_WRITE) {
		uint64_t copied = malloc_copy(io, store->bytes, bytes, NULL);

		malloc_written(io, store, at, copied);
		return copied;
	}
	if (malloc_gives_pages_back(io)) {
		/* Pieces end at whole pages of the store, not of the request. */
		left = u64_min(left, MALLOC_REGION - (at & (MALLOC_REGION - 1)));
		malloc_store_unmap(store, at, left);
		state->progress += left;
		return u64_max(left / 16, 1);
	}
	left = u64_min(left, bytes);
	memset(store->bytes + at, 0, left);
	state->progress += left;
	return left;
}

static void malloc_list_init(struct bdev_io_list *list)
{
	list->head = NULL;
	list->tail = &list->head;
}

static void malloc_list_add(struct bdev_io_list *list, struct bdev_io *io)
{
	io->next = NULL;
	*list->tail = io;
	list->tail = &io->next;
}

/* Not empty. */
static struct bdev_io *malloc_list_take(struct bdev_io_list *list)
{
	struct bdev_io *io = list->head;

	list->head = io->next;
	if (!list->head)
		list->tail = &list->head;
	return io;
}

/* Called for the batch of a turn and by the poller, which may come before it in the same turn. */
static void malloc_run_short(struct malloc_channel *channel, struct poll_result *result)
{
	uint64_t turn = channel->poller.reactor->stats.turns;

	if (channel->short_turn != turn)
		channel->short_bytes = 0;
	channel->short_turn = turn;
	while (channel->short_ios.head && channel->short_bytes < MALLOC_TURN_BYTES) {
		struct bdev_io *io = malloc_list_take(&channel->short_ios);
		struct malloc_store *store = &malloc_bdev_of(io->channel->bdev)->store;
		unsigned units = (unsigned)(io->length / KIB);

		malloc_copy(io, store->bytes, io->length, channel->short_ios.head);
		malloc_written(io, store, io->offset, io->length);
		channel->short_bytes += io->length;
		result->bytes += io->length;
		result->requests++;
		bdev_io_complete(io, 0);
		if (unlikely(!reactor_has_time(channel->poller.reactor, units)))
			break;
	}
}

static void malloc_batch_run(struct deferred *deferred)
{
	struct malloc_channel *channel = container_of(deferred, struct malloc_channel, batch);
	struct poll_result result = {0};

	if (likely(reactor_has_time(channel->poller.reactor, 0)))
		malloc_run_short(channel, &result);
	if (unlikely(channel->short_ios.head))
		poller_wake(&channel->poller);
}

static struct poll_result malloc_poll(struct poller *poller, struct poll_budget budget)
{
	struct malloc_channel *channel = container_of(poller, struct malloc_channel, poller);
	struct bdev_io_list *list = &channel->long_ios;
	struct poll_result result = {0};

	malloc_run_short(channel, &result);
	while (list->head && result.bytes < budget.bytes && result.requests < budget.requests) {
		struct bdev_io *io = list->head;
		struct malloc_store *store = &malloc_bdev_of(io->channel->bdev)->store;
		uint64_t bytes = u64_min(budget.bytes - result.bytes, MALLOC_PIECE_BYTES);
		uint64_t done = malloc_advance(io, store, bytes);

		result.bytes += done;
		result.requests++;
		if (malloc_io_of(io)->progress == io->length) {
			malloc_list_take(list);
			bdev_io_complete(io, 0);
		}
		if (!reactor_has_time(poller->reactor, (unsigned)(done / KIB)))
			break;
	}
	result.more = list->head || channel->short_ios.head;
	return result;
}

static bool malloc_poller_sleep(struct poller *poller)
{
	const struct malloc_channel *channel = container_of(poller, struct malloc_channel, poller);

	return !channel->long_ios.head && !channel->short_ios.head;
}

static void malloc_poller_wake(struct poller *poller)
{
}

static const struct poller_ops malloc_poller_ops = {
	.poll = malloc_poll,
	.sleep = malloc_poller_sleep,
	.wake = malloc_poller_wake,
};

/* ---- requests ----------------------------------------------------------- */

static void malloc_submit_long(struct malloc_channel *channel, struct bdev_io *io)
{
	malloc_list_add(&channel->long_ios, io);
	poller_wake(&channel->poller);
}

static void malloc_submit_short(
	struct malloc_channel *channel, struct bdev_io *io, const uint8_t *store)
{
	/* The others are fetched while the one before them is copied. */
	if (!channel->short_ios.head)
		malloc_fetch(io, store);
	malloc_list_add(&channel->short_ios, io);
	reactor_defer(io->channel->reactor, DEFER_SUBMIT, &channel->batch);
}

static void malloc_begin(struct malloc_channel *channel, struct bdev_io *io)
{
	struct malloc_store *store = &malloc_bdev_of(io->channel->bdev)->store;

	if (io->length > MALLOC_SHORT_BYTES || malloc_gives_pages_back(io)) {
		malloc_submit_long(channel, io);
	} else if (likely(io->type == BDEV_IO_READ || io->type == BDEV_IO_WRITE)) {
		malloc_submit_short(channel, io, store->bytes);
	} else {
		malloc_advance(io, store, io->length);
		bdev_io_complete(io, 0);
	}
}

static int malloc_populate_job(struct worker_job *job)
{
	struct malloc_channel *channel = container_of(job, struct malloc_channel, job);
	const struct bdev_io *io;

	for (io = channel->populating.head; io; io = io->next)
		malloc_store_populate(
			&malloc_bdev_of(io->channel->bdev)->store, io->offset, io->length);
	return 0;
}

static void malloc_populated(void *arg, int rc);

static void malloc_populate_absent(struct malloc_channel *channel)
{
	while (channel->absent.head)
		malloc_list_add(&channel->populating, malloc_list_take(&channel->absent));
	worker_run(&channel->job, channel->poller.reactor, malloc_populate_job, malloc_populated,
		channel);
}

/* Each goes on, whatever has become of its memory meanwhile: an UNMAP may have taken it again. */
static void malloc_populated(void *arg, int rc)
{
	struct malloc_channel *channel = arg;

	invariant(rc == 0);
	while (channel->populating.head)
		malloc_begin(channel, malloc_list_take(&channel->populating));
	if (channel->absent.head)
		malloc_populate_absent(channel);
}

static void malloc_submit(struct bdev_channel *channel, struct bdev_io *io)
{
	struct malloc_channel *own = (struct malloc_channel *)channel->backend;
	struct malloc_bdev *dev = malloc_bdev_of(channel->bdev);
	uint64_t size = bdev_size(&dev->bdev);

	*malloc_io_of(io) = (struct malloc_io){0};
	if (io->type == BDEV_IO_FLUSH || io->length == 0) {
		bdev_io_complete(io, 0);
		return;
	}
	/* Checked above already; here a mistake would cost the host's memory. */
	invariant(io->offset < size && io->length <= size - io->offset);
	if (unlikely(io->type == BDEV_IO_EXTENT)) {
		*io->extent = malloc_store_extent(&dev->store, io->offset, io->length);
		bdev_io_complete(io, 0);
		return;
	}
	if (likely(io->type == BDEV_IO_READ || malloc_gives_pages_back(io) ||
		    malloc_store_is_present(&dev->store, io->offset, io->length))) {
		malloc_begin(own, io);
		return;
	}
	malloc_list_add(&own->absent, io);
	if (!own->populating.head)
		malloc_populate_absent(own);
}

static int malloc_channel_init(struct bdev_channel *channel)
{
	struct malloc_channel *own = (struct malloc_channel *)channel->backend;

	own->batch.run = malloc_batch_run;
	malloc_list_init(&own->short_ios);
	malloc_list_init(&own->long_ios);
	malloc_list_init(&own->populating);
	malloc_list_init(&own->absent);
	poller_start(channel->reactor, &own->poller, &malloc_poller_ops);
	return 0;
}

static void malloc_channel_fini(struct bdev_channel *channel)
{
	struct malloc_channel *own = (struct malloc_channel *)channel->backend;

	poller_stop(&own->poller);
}

static bool malloc_supports(const struct bdev *bdev, enum bdev_io_type type)
{
	return true;
}

/* ---- life --------------------------------------------------------------- */

static int malloc_destroy_job(struct worker_job *job)
{
	struct malloc_bdev *dev = container_of(job, struct malloc_bdev, job);

	malloc_store_destroy(&dev->store);
	return 0;
}

static void malloc_destroy_done(void *arg, int rc)
{
	struct malloc_bdev *dev = arg;
	done_fn done = dev->destroyed;
	void *done_arg = dev->arg;

	invariant(rc == 0);
	free(dev);
	done(done_arg, 0);
}

/* Giving back gigabytes takes a while: on a worker. */
static void malloc_destroy(struct bdev *bdev, done_fn done, void *arg)
{
	struct malloc_bdev *dev = malloc_bdev_of(bdev);

	dev->destroyed = done;
	dev->arg = arg;
	worker_run(&dev->job, bdev_registry_control(bdev->registry), malloc_destroy_job,
		malloc_destroy_done, dev);
}

static const struct bdev_ops malloc_ops = {
	.product_name = "Malloc disk",
	.module = "malloc",
	.submit = malloc_submit,
	.channel_size = sizeof(struct malloc_channel),
	.channel_init = malloc_channel_init,
	.channel_fini = malloc_channel_fini,
	.supports = malloc_supports,
	.destroy = malloc_destroy,
};

bool bdev_is_malloc(const struct bdev *bdev)
{
	return bdev->ops == &malloc_ops;
}

static int malloc_bdev_fill(
	struct malloc_bdev *dev, const struct malloc_bdev_options *options, struct reason *reason)
{
	uint64_t size;

	if (__builtin_mul_overflow(options->num_blocks, options->block_size, &size) ||
		size > INT64_MAX)
		return reason_set(reason, -EINVAL, "%llu blocks of %u bytes are too many",
			(unsigned long long)options->num_blocks, options->block_size);
	if (__builtin_mul_overflow(
		    options->optimal_io_boundary, options->block_size, &dev->bdev.optimal_io_bytes))
		return reason_set(reason, -EINVAL,
			"an optimal I/O boundary of %u blocks is too large",
			options->optimal_io_boundary);
	dev->bdev.ops = &malloc_ops;
	dev->bdev.name = options->name;
	uuid_copy(dev->bdev.uuid, options->uuid);
	dev->bdev.block_size = options->block_size;
	dev->bdev.physical_block_size = options->physical_block_size;
	dev->bdev.unmap_reads_zeroes = true;
	dev->bdev.atomic_write_bytes = MALLOC_ATOMIC_BYTES;
	dev->bdev.size_bytes = size;
	if (size == 0)
		return reason_set(reason, -EINVAL, "a malloc device needs at least one block");
	return malloc_store_create(&dev->store, size, reason);
}

int malloc_bdev_create(struct bdev_registry *registry, const struct malloc_bdev_options *options,
	struct reason *reason, struct bdev **ret_bdev)
{
	struct malloc_bdev *dev = calloc(1, sizeof(*dev));
	int rc;

	if (!dev)
		return -ENOMEM;
	rc = malloc_bdev_fill(dev, options, reason);
	if (rc)
		goto free_dev;
	rc = bdev_register(registry, &dev->bdev, reason);
	if (rc)
		goto unmap_store;
	*ret_bdev = &dev->bdev;
	return 0;

unmap_store:
	malloc_store_destroy(&dev->store);
free_dev:
	free(dev);
	return rc;
}
