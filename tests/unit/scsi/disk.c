/* SPDX-License-Identifier: BSD-2-Clause */
#include "disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct disk *disk_of(const struct bdev *bdev)
{
	return container_of(bdev, struct disk, bdev);
}

static bool disk_supports(const struct bdev *bdev, enum bdev_io_type type)
{
	const struct disk *disk = disk_of(bdev);

	switch (type) {
	case BDEV_IO_UNMAP:
		return !disk->options.no_unmap;
	case BDEV_IO_WRITE_ZEROES:
		return !disk->options.no_write_zeroes;
	case BDEV_IO_FLUSH:
		return !disk->options.no_flush;
	case BDEV_IO_EXTENT:
		return !disk->options.no_extents;
	default:
		return true;
	}
}

static void disk_copy(struct disk *disk, const struct bdev_io *io)
{
	uint8_t *at = disk->bytes + io->offset;
	uint64_t sum = 0;

	for (unsigned i = 0; i < io->iovcnt; i++) {
		if (io->type == BDEV_IO_READ)
			memcpy(io->iov[i].iov_base, at + sum, io->iov[i].iov_len);
		else
			memcpy(at + sum, io->iov[i].iov_base, io->iov[i].iov_len);
		sum += io->iov[i].iov_len;
	}
	assert_int_equal(sum, io->length);
}

static void disk_touch(struct disk *disk, const struct bdev_io *io, uint8_t how)
{
	memset(disk->touched + io->offset / disk->options.block_size, how,
		io->length / disk->options.block_size);
}

/* What was never written, or was unmapped, takes no space. */
static void disk_tell_extent(struct disk *disk, const struct bdev_io *io)
{
	uint32_t block = disk->options.block_size;
	const uint8_t *touched = disk->touched + io->offset / block;
	uint64_t blocks = 1;

	while (blocks < io->length / block && (touched[blocks] % 3 == 0) == (touched[0] % 3 == 0))
		blocks++;
	io->extent->length = blocks * block;
	io->extent->state = touched[0] % 3 ? BDEV_EXTENT_MAPPED : BDEV_EXTENT_DEALLOCATED;
}

static void disk_execute(struct disk *disk, struct bdev_io *io)
{
	switch (io->type) {
	case BDEV_IO_READ:
		disk_copy(disk, io);
		break;
	case BDEV_IO_WRITE:
		disk_copy(disk, io);
		disk_touch(disk, io, 1);
		break;
	case BDEV_IO_UNMAP:
	case BDEV_IO_WRITE_ZEROES:
		memset(disk->bytes + io->offset, 0, io->length);
		disk_touch(disk, io,
			io->type == BDEV_IO_UNMAP || !(io->flags & BDEV_IO_NO_UNMAP) ? 3 : 2);
		break;
	case BDEV_IO_EXTENT:
		disk_tell_extent(disk, io);
		break;
	default:
		break;
	}
}

static void disk_end_io(struct disk *disk, struct bdev_io *io)
{
	if (atomic_load(&disk->fail_type) == io->type && atomic_load(&disk->fail_count) > 0) {
		atomic_fetch_sub(&disk->fail_count, 1);
		bdev_io_complete(io, atomic_load(&disk->fail_with));
		return;
	}
	disk_execute(disk, io);
	bdev_io_complete(io, 0);
}

static void disk_submit(struct bdev_channel *channel, struct bdev_io *io)
{
	struct disk *disk = disk_of(channel->bdev);
	uint64_t size = disk->options.blocks * disk->options.block_size;

	/* What the block layer may rely on. */
	assert_true(io->offset % disk->options.block_size == 0);
	assert_true(io->length % disk->options.block_size == 0);
	assert_true(io->offset + io->length <= size);
	if (disk->options.max_iovcnt)
		assert_true(io->iovcnt <= disk->options.max_iovcnt);
	assert_false(
		disk->options.read_only && io->type != BDEV_IO_READ && io->type != BDEV_IO_EXTENT);
	assert_true(disk_supports(&disk->bdev, io->type));

	atomic_fetch_add(&disk->counts[io->type], 1);
	atomic_store(&disk->last_flags[io->type], io->flags);
	if (io->iovcnt > atomic_load(&disk->iovcnt_max))
		atomic_store(&disk->iovcnt_max, io->iovcnt);
	if (atomic_load(&disk->hold)) {
		disk->held[atomic_load(&disk->held_count)] = io;
		atomic_fetch_add(&disk->held_count, 1);
		return;
	}
	disk_end_io(disk, io);
}

/* done is never called from inside the call. */
struct disk_later {
	struct deferred deferred;
	done_fn done;
	void *arg;
	int rc;
};

static void disk_later_run(struct deferred *deferred)
{
	struct disk_later *later = container_of(deferred, struct disk_later, deferred);

	later->done(later->arg, later->rc);
	free(later);
}

static void disk_later(struct bdev *bdev, int rc, done_fn done, void *arg)
{
	struct disk_later *later = calloc(1, sizeof(*later));

	assert_non_null(later);
	later->deferred.run = disk_later_run;
	later->done = done;
	later->arg = arg;
	later->rc = rc;
	reactor_defer(bdev_registry_control(bdev->registry), DEFER_COMPLETE, &later->deferred);
}

static void disk_claim(struct bdev *bdev, struct reason *reason, done_fn done, void *arg)
{
	struct disk *disk = disk_of(bdev);
	int rc = atomic_load(&disk->claim_status);

	atomic_fetch_add(&disk->claims, 1);
	if (rc)
		reason_set(reason, rc, "process 4711 has it");
	disk_later(bdev, rc, done, arg);
}

static void disk_release_claim(struct bdev *bdev, done_fn done, void *arg)
{
	disk_later(bdev, 0, done, arg);
}

static void disk_destroy(struct bdev *bdev, done_fn done, void *arg)
{
	struct disk *disk = disk_of(bdev);

	free(disk->bytes);
	free(disk->touched);
	atomic_store(&disk->destroyed, true);
	disk_later(bdev, 0, done, arg);
}

static void disk_space(const struct bdev *bdev, struct bdev_space *ret_space)
{
	const struct disk *disk = disk_of(bdev);

	assert_ptr_equal(bdev_registry_control(bdev->registry), reactor_self());
	*ret_space = disk->options.space;
}

static const struct bdev_ops disk_ops = {
	.product_name = "Test disk",
	.module = "test",
	.submit = disk_submit,
	.supports = disk_supports,
	.claim = disk_claim,
	.release = disk_release_claim,
	.destroy = disk_destroy,
};

static void disk_register_run(struct world_call *call)
{
	world_done(call, bdev_register(call->world->registry, call->bdev, NULL));
}

void disk_start(struct world *world, struct disk *disk, const struct disk_options *options)
{
	struct world_call call = {.run = disk_register_run, .bdev = &disk->bdev};

	char name[32];

	memset(disk, 0, sizeof(*disk));
	disk->options = *options;
	disk->bytes = calloc(options->blocks, options->block_size);
	disk->touched = calloc(options->blocks, 1);
	assert_true(disk->bytes && disk->touched);
	disk->ops = disk_ops;
	if (options->space.total_bytes)
		disk->ops.space = disk_space;
	disk->bdev.ops = &disk->ops;
	snprintf(name, sizeof(name), "%s", options->name);
	disk->bdev.name = name; /* copied */
	if (options->uuid)
		assert_int_equal(uuid_parse(options->uuid, disk->bdev.uuid), 0);
	disk->bdev.block_size = options->block_size;
	disk->bdev.physical_block_size = options->physical_block_size;
	disk->bdev.optimal_io_bytes = options->optimal_io_bytes;
	disk->bdev.unmap_granularity = options->unmap_granularity;
	disk->bdev.unmap_reads_zeroes = true;
	disk->bdev.atomic_write_bytes = options->atomic_write_bytes;
	disk->bdev.read_only = options->read_only;
	disk->bdev.rotational = options->rotational;
	disk->bdev.max_iovcnt = options->max_iovcnt;
	atomic_init(&disk->bdev.size_bytes, options->blocks * options->block_size);
	assert_int_equal(world_run(world, world->control, &call), 0);
}

void disk_end(struct world *world, struct disk *disk)
{
	assert_int_equal(world_unregister(world, &disk->bdev), 0);
	assert_true(atomic_load(&disk->destroyed));
}

void disk_fail(struct disk *disk, enum bdev_io_type type, int error, int count)
{
	atomic_store(&disk->fail_with, -error);
	atomic_store(&disk->fail_type, (int)type);
	atomic_store(&disk->fail_count, count);
}

static void disk_release_one_run(void *arg)
{
	struct disk *disk = arg;
	struct bdev_io *io = disk->held[0];

	assert_true(atomic_load(&disk->held_count) > 0);
	assert_ptr_equal(io->channel->reactor, reactor_self());
	atomic_fetch_sub(&disk->held_count, 1);
	memmove(disk->held, disk->held + 1, atomic_load(&disk->held_count) * sizeof(disk->held[0]));
	disk_end_io(disk, io);
}

void disk_release_one(struct world *world, struct disk *disk, struct reactor *reactor)
{
	host_call(&world->host, reactor, disk_release_one_run, disk);
}

static void disk_release_run(void *arg)
{
	struct disk *disk = arg;
	unsigned count = atomic_load(&disk->held_count), kept = 0;

	atomic_store(&disk->hold, false);
	for (unsigned i = 0; i < count; i++) {
		struct bdev_io *io = disk->held[i];

		if (io->channel->reactor == reactor_self())
			disk_end_io(disk, io);
		else
			disk->held[kept++] = io;
	}
	atomic_store(&disk->held_count, kept);
}

void disk_release(struct world *world, struct disk *disk, struct reactor *reactor)
{
	host_call(&world->host, reactor, disk_release_run, disk);
}

struct disk_held {
	struct disk *disk;
	unsigned count;
};

static bool disk_holds(void *arg)
{
	struct disk_held *held = arg;

	return atomic_load(&held->disk->held_count) == held->count;
}

void disk_wait_held(struct world *world, struct disk *disk, unsigned count)
{
	struct disk_held held = {disk, count};

	assert_true(host_wait(&world->host, disk_holds, &held));
}
