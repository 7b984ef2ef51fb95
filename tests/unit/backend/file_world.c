/* SPDX-License-Identifier: BSD-2-Clause */
#include "file_world.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void file_create_run(struct world_call *call)
{
	file_bdev_create(
		call->world->registry, call->options, call->reason, &call->bdev, world_done, call);
}

int file_create(struct world *world, const struct file_bdev_options *options, struct reason *reason,
	struct bdev **ret_bdev)
{
	struct world_call call = {.run = file_create_run, .options = options, .reason = reason};
	int rc = world_run(world, world->control, &call);

	*ret_bdev = call.bdev;
	return rc;
}

static void file_world_make_real(struct file_world *fw, const char *where, uint64_t size)
{
	int fd;

	snprintf(fw->directory, sizeof(fw->directory), "%s/sluice-test-XXXXXX", where);
	assert_non_null(mkdtemp(fw->directory));
	snprintf(fw->path, sizeof(fw->path), "%s/disk.img", fw->directory);
	fd = open(fw->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

void file_world_prepare_in(struct file_world *fw, const char *where, uint64_t seed, uint64_t size)
{
	memset(fw, 0, sizeof(*fw));
	world_start(&fw->world, seed);
	if (fw->world.host.sim) {
		snprintf(fw->path, sizeof(fw->path), "/disk.img");
		fw->file = sim_file_create(fw->world.host.sim, fw->path, size);
	} else {
		file_world_make_real(fw, where, size);
	}
}

void file_world_prepare(struct file_world *fw, uint64_t seed, uint64_t size)
{
	file_world_prepare_in(fw, "/var/tmp", seed, size);
}

void file_world_attach(struct file_world *fw, uint32_t block_size)
{
	const struct file_bdev_options options = {
		.name = "disk", .filename = fw->path, .block_size = block_size};
	struct world *world = &fw->world;

	assert_int_equal(file_create(world, &options, NULL, &fw->bdev), 0);
	world_user_init(&fw->user, "first");
	assert_int_equal(world_open(world, fw->bdev, &fw->user, NULL), 0);
	assert_int_equal(world_claim(world, &fw->user, BDEV_CLAIM_SHARED_WRITE, NULL), 0);
	assert_int_equal(world_channel_open(world, &fw->user, 0, &fw->channel), 0);
}

void file_world_start(struct file_world *fw, uint64_t seed, uint64_t size)
{
	file_world_prepare(fw, seed, size);
	file_world_attach(fw, 512);
}

void file_world_detach(struct file_world *fw)
{
	struct world *world = &fw->world;

	world_channel_close(world, fw->channel);
	assert_int_equal(world_release(world, &fw->user), 0);
	world_close(world, &fw->user);
	assert_int_equal(world_unregister(world, fw->bdev), 0);
}

void file_world_clean(struct file_world *fw)
{
	if (!fw->file) {
		unlink(fw->path);
		rmdir(fw->directory);
	}
	world_end(&fw->world);
}

void file_world_end(struct file_world *fw)
{
	file_world_detach(fw);
	file_world_clean(fw);
}

static void file_rescan_run(struct world_call *call)
{
	call->bdev->ops->rescan(call->bdev, call->reason, world_done, call);
}

int file_rescan(struct world *world, struct bdev *bdev, struct reason *reason)
{
	struct world_call call = {.run = file_rescan_run, .bdev = bdev, .reason = reason};

	return world_run(world, world->control, &call);
}
