/* SPDX-License-Identifier: BSD-2-Clause */
#include "crash/crash_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GARBAGE        0xa5
#define SLOW_NS_MAX    (100 * USEC_NS)
#define SLOW_NS_BEYOND (2 * MSEC_NS) /* one in sixteen is much slower */

/* In the request's backend bytes while it is here. */
struct disk_io {
	struct timer timer;
	uint32_t write; /* in the log */
};

_Static_assert(sizeof(struct disk_io) <= BDEV_IO_BACKEND_SIZE, "fits in the request");

static struct crash_disk *disk_of(const struct bdev_io *io)
{
	return container_of(io->channel->bdev, struct crash_disk, bdev);
}

static struct disk_io *own_of(struct bdev_io *io)
{
	return (struct disk_io *)io->backend.bytes;
}

static bool io_is_logged(const struct crash_disk *disk, const struct bdev_io *io)
{
	return disk->log && io->type != BDEV_IO_READ;
}

/* ---- what it does ---------------------------------------------------------------------------- */

static void disk_check(const struct crash_disk *disk, const struct bdev_io *io)
{
	uint64_t in_iovs = 0;

	if (io->type == BDEV_IO_FLUSH)
		return;
	invariant((io->offset | io->length) % disk->options.block_size == 0);
	invariant(io->length > 0 && io->offset <= disk->image->size_bytes);
	invariant(io->length <= disk->image->size_bytes - io->offset);
	if (io->type != BDEV_IO_READ && io->type != BDEV_IO_WRITE)
		return;
	for (unsigned i = 0; i < io->iovcnt; i++)
		in_iovs += io->iov[i].iov_len;
	invariant(in_iovs == io->length);
}

static void disk_read(struct crash_disk *disk, const struct bdev_io *io)
{
	uint64_t at = io->offset;

	disk->reads++;
	for (unsigned i = 0; i < io->iovcnt; i++) {
		crash_image_read(disk->image, at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
}

static void disk_write(struct crash_disk *disk, const struct bdev_io *io)
{
	uint64_t at = io->offset;

	for (unsigned i = 0; i < io->iovcnt; i++) {
		crash_image_write(disk->image, at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
}

static uint8_t disk_fill_byte(const struct crash_disk *disk, const struct bdev_io *io)
{
	return io->type == BDEV_IO_UNMAP && disk->options.unmap_leaves_garbage ? GARBAGE : 0;
}

static void disk_execute(struct crash_disk *disk, const struct bdev_io *io)
{
	switch ((enum bdev_io_type)io->type) {
	case BDEV_IO_READ:
		disk_read(disk, io);
		return;
	case BDEV_IO_WRITE:
		disk_write(disk, io);
		return;
	case BDEV_IO_FLUSH:
		return;
	default:
		crash_image_fill(disk->image, io->offset, disk_fill_byte(disk, io), io->length);
	}
}

/* ---- what it writes down, and where it lies ------------------------------------------------ */

static uint8_t *iovs_copy(const struct bdev_io *io)
{
	uint8_t *copy = malloc(io->length);
	uint8_t *at = copy;

	invariant(copy != NULL);
	for (unsigned i = 0; i < io->iovcnt; i++) {
		memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	return copy;
}

static bool disk_lies_now(struct crash_disk *disk)
{
	unsigned number = disk->flushes++;

	return disk->fault != CRASH_HONEST && number >= disk->fault_first &&
	       (number - disk->fault_first) % disk->fault_nth == 0;
}

/* One that has ended, so that the flush of that number would have to take it. */
static void disk_pass_by(struct crash_disk *disk, uint32_t flush)
{
	struct crash_log *log = disk->log;
	unsigned found = 0;
	uint32_t chosen = 0;

	for (uint32_t i = flush; i > 0 && !log->writes[i - 1].is_flush; i--) {
		const struct crash_write *write = &log->writes[i - 1];

		if (write->ended && !write->is_fua && chance_one_in(&disk->chance, ++found))
			chosen = i - 1;
	}
	if (!found)
		return;
	log->writes[chosen].passed_by = flush + 1;
	disk->swap_next = true;
}

static void disk_log_submit(struct crash_disk *disk, struct bdev_io *io)
{
	struct crash_write write = {
		.offset = io->type == BDEV_IO_FLUSH ? 0 : io->offset,
		.length = io->type == BDEV_IO_FLUSH ? 0 : io->length,
		.data = io->type == BDEV_IO_WRITE ? iovs_copy(io) : NULL,
		.fill = disk_fill_byte(disk, io),
		.is_flush = io->type == BDEV_IO_FLUSH,
		.is_fua = io->flags & BDEV_IO_FUA,
	};
	bool lies = (write.is_flush || write.is_fua) && disk_lies_now(disk);

	write.dropped = lies && disk->fault == CRASH_DROPS_FLUSHES;
	own_of(io)->write = crash_log_submit(disk->log, &write);
	if (lies && disk->fault == CRASH_SWAPS_WRITES && write.is_flush)
		disk_pass_by(disk, own_of(io)->write);
}

static void disk_log_end(struct crash_disk *disk, struct bdev_io *io)
{
	struct crash_write *write = &disk->log->writes[own_of(io)->write];

	crash_log_end(disk->log, own_of(io)->write);
	if (!disk->swap_next || write->is_flush)
		return;
	write->early = true;
	disk->swap_next = false;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void disk_end(struct crash_disk *disk, struct bdev_io *io)
{
	disk_execute(disk, io);
	if (io_is_logged(disk, io))
		disk_log_end(disk, io);
	disk->in_flight--;
	bdev_io_complete(io, 0);
}

static void disk_io_due(struct timer *timer)
{
	struct disk_io *own = container_of(timer, struct disk_io, timer);
	struct bdev_io *io = container_of((uint8_t *)own, struct bdev_io, backend.bytes);

	disk_end(disk_of(io), io);
}

static void disk_submit(struct bdev_channel *channel, struct bdev_io *io)
{
	struct crash_disk *disk = disk_of(io);
	uint64_t delay_ns;

	disk_check(disk, io);
	*own_of(io) = (struct disk_io){.timer.fired = disk_io_due};
	disk->in_flight++;
	if (io_is_logged(disk, io))
		disk_log_submit(disk, io);
	if (!disk->slow) {
		disk_end(disk, io);
		return;
	}
	delay_ns = 1 + chance_below(&disk->chance,
			       chance_one_in(&disk->chance, 16) ? SLOW_NS_BEYOND : SLOW_NS_MAX);
	timer_start(channel->reactor, &own_of(io)->timer, delay_ns);
}

static bool disk_supports(const struct bdev *bdev, enum bdev_io_type type)
{
	return true;
}

/* Embedded: its memory is the test's. */
static void disk_gone(struct bdev *bdev, done_fn done, void *arg);

static const struct bdev_ops disk_ops = {
	.product_name = "Crash disk",
	.module = "crash",
	.submit = disk_submit,
	.supports = disk_supports,
	.destroy = disk_gone,
};

struct disk_farewell {
	struct message message;
	done_fn done;
	void *arg;
};

static void disk_farewell_run(struct message *message)
{
	struct disk_farewell *farewell = container_of(message, struct disk_farewell, message);

	farewell->done(farewell->arg, 0);
	free(farewell);
}

static void disk_gone(struct bdev *bdev, done_fn done, void *arg)
{
	struct disk_farewell *farewell = calloc(1, sizeof(*farewell));

	invariant(farewell != NULL);
	*farewell =
		(struct disk_farewell){.message.run = disk_farewell_run, .done = done, .arg = arg};
	reactor_send(bdev_registry_control(bdev->registry), &farewell->message);
}

void crash_disk_init(struct crash_disk *disk, const struct crash_disk_options *options,
	struct crash_image *image)
{
	*disk = (struct crash_disk){.options = *options, .image = image};
	disk->bdev.ops = &disk_ops;
	disk->bdev.name = options->name;
	disk->bdev.block_size = options->block_size;
	disk->bdev.physical_block_size = options->physical_block_size;
	disk->bdev.unmap_reads_zeroes = !options->unmap_leaves_garbage;
	disk->bdev.size_bytes = image->size_bytes;
}

void crash_disk_set(
	struct crash_disk *disk, struct crash_image *image, struct crash_log *log, uint64_t slow)
{
	invariant(disk->in_flight == 0);
	disk->image = image;
	disk->log = log;
	disk->slow = slow;
	disk->chance.state = slow;
	disk->flushes = 0;
	disk->swap_next = false;
}

void crash_disk_lie(struct crash_disk *disk, enum crash_fault fault, unsigned first, unsigned nth)
{
	disk->fault = fault;
	disk->fault_first = first;
	disk->fault_nth = nth;
}
