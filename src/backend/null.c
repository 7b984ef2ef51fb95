/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device of any size that keeps nothing: every request succeeds at once. For measuring what is
 * above it.
 *
 * READ leaves the buffers as they are. They belong to whoever asked: a guest finds what it had
 * there before, and nothing of the host is copied into them. A layer that reads into memory of its
 * own must have cleared it before it passes it on.
 */
#include <errno.h>
#include <stdlib.h>

#include "backend/backends.h"

#define NULL_ATOMIC_BYTES (1 * MIB) /* what nobody reads nobody finds in part */

struct null_bdev {
	struct bdev bdev;
	struct deferred destroy;
	done_fn destroyed;
	void *arg;
};

static void null_submit(struct bdev_channel *channel, struct bdev_io *io)
{
	if (unlikely(io->type == BDEV_IO_EXTENT))
		*io->extent = (struct bdev_extent){io->length, BDEV_EXTENT_DEALLOCATED};
	bdev_io_complete(io, 0);
}

static bool null_supports(const struct bdev *bdev, enum bdev_io_type type)
{
	return true;
}

static void null_destroy_run(struct deferred *deferred)
{
	struct null_bdev *null = container_of(deferred, struct null_bdev, destroy);
	done_fn done = null->destroyed;
	void *arg = null->arg;

	free(null);
	done(arg, 0);
}

static void null_destroy(struct bdev *bdev, done_fn done, void *arg)
{
	struct null_bdev *null = container_of(bdev, struct null_bdev, bdev);

	null->destroy.run = null_destroy_run;
	null->destroyed = done;
	null->arg = arg;
	reactor_defer(bdev_registry_control(bdev->registry), DEFER_COMPLETE, &null->destroy);
}

static const struct bdev_ops null_ops = {
	.product_name = "Null disk",
	.module = "null",
	.submit = null_submit,
	.supports = null_supports,
	.destroy = null_destroy,
};

bool bdev_is_null(const struct bdev *bdev)
{
	return bdev->ops == &null_ops;
}

static int null_size(
	uint64_t num_blocks, uint32_t block_size, struct reason *reason, uint64_t *ret_size)
{
	if (__builtin_mul_overflow(num_blocks, block_size, ret_size))
		return reason_set(reason, -EINVAL,
			"%llu blocks of %u bytes are more than 64 bits hold",
			(unsigned long long)num_blocks, block_size);
	return 0;
}

int null_bdev_create(struct bdev_registry *registry, const struct null_bdev_options *options,
	struct reason *reason, struct bdev **ret_bdev)
{
	struct null_bdev *null;
	uint64_t size;
	int rc = null_size(options->num_blocks, options->block_size, reason, &size);

	if (rc)
		return rc;
	null = calloc(1, sizeof(*null));
	if (!null)
		return -ENOMEM;
	null->bdev.ops = &null_ops;
	null->bdev.name = options->name;
	uuid_copy(null->bdev.uuid, options->uuid);
	null->bdev.block_size = options->block_size;
	null->bdev.physical_block_size = options->physical_block_size;
	null->bdev.atomic_write_bytes = NULL_ATOMIC_BYTES;
	null->bdev.size_bytes = size;
	rc = bdev_register(registry, &null->bdev, reason);
	if (rc) {
		free(null);
		return rc;
	}
	*ret_bdev = &null->bdev;
	return 0;
}

int null_bdev_resize(struct bdev *bdev, uint64_t num_blocks, struct reason *reason)
{
	uint64_t size;
	int rc;

	if (!bdev_is_null(bdev))
		return reason_set(reason, -EINVAL, "%s is not a null device", bdev->name);
	rc = null_size(num_blocks, bdev->block_size, reason, &size);
	if (rc)
		return rc;
	if (size < bdev_size(bdev) || size > INT64_MAX)
		return reason_set(reason, -EINVAL, "a null device can only grow: %s has %llu bytes",
			bdev->name, (unsigned long long)bdev_size(bdev));
	bdev_set_size(bdev, size);
	return 0;
}
