/* SPDX-License-Identifier: BSD-2-Clause */
/* The file device over a real block device: a loop device. Skipped where none can be made. */
#include "file_world.h"
#include "fixture.h"
#include "loop_device.h"
#include "model.h"

#include <errno.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SIZE (8 * MIB)

struct device_world {
	struct fixture *fixture;
	struct world world;
	char path[64];
	int fd; /* keeps the loop device alive */
};

static bool device_world_start(
	struct device_world *dw, void **state, uint32_t block_size, bool read_only)
{
	dw->fixture = *state;
	dw->fd = loop_device_open(dw->fixture, SIZE, block_size, read_only);
	if (dw->fd < 0)
		return false;
	snprintf(dw->path, sizeof(dw->path), "/proc/self/fd/%d", dw->fd);
	world_start_on(&dw->world, dw->fixture->os, NULL);
	return true;
}

static void device_world_end(struct device_world *dw)
{
	world_stop(&dw->world);
	close(dw->fd);
}

static void attach(struct device_world *dw, struct file_world *fw)
{
	const struct file_bdev_options options = {.name = "disk", .filename = dw->path};

	fw->world = dw->world;
	assert_int_equal(file_create(&fw->world, &options, NULL, &fw->bdev), 0);
	world_user_init(&fw->user, "first");
	assert_int_equal(world_open(&fw->world, fw->bdev, &fw->user, NULL), 0);
	assert_int_equal(world_claim(&fw->world, &fw->user, BDEV_CLAIM_SHARED_WRITE, NULL), 0);
	assert_int_equal(world_channel_open(&fw->world, &fw->user, 0, &fw->channel), 0);
}

static void a_device_holds_what_was_written(void **state)
{
	static const uint32_t block_sizes[] = {512, 4096};

	for (size_t i = 0; i < ARRAY_SIZE(block_sizes); i++) {
		struct device_world dw;
		struct file_world fw;
		struct model model;

		if (!device_world_start(&dw, state, block_sizes[i], false))
			skip();
		attach(&dw, &fw);
		assert_int_equal(fw.bdev->block_size, block_sizes[i]);
		assert_int_equal(bdev_size(fw.bdev), SIZE);
		assert_false(fw.bdev->unmap_reads_zeroes);
		model_init(&model, &fw.world, fw.channel, 0, SIZE, i + 1);
		model_run(&model, 300);
		model_check(&model);
		assert_int_equal(
			world_io(&fw.world, fw.channel, BDEV_IO_UNMAP, 0, NULL, 0, 0, SIZE), 0);
		model_fini(&model);
		file_world_detach(&fw);
		device_world_end(&dw);
	}
}

static void blocks_smaller_than_sectors_are_refused(void **state)
{
	struct file_bdev_options options = {.name = "disk", .block_size = 512};
	struct reason reason = {0};
	struct device_world dw;
	struct bdev *bdev;

	if (!device_world_start(&dw, state, 4096, false))
		skip();
	options.filename = dw.path;
	assert_int_equal(file_create(&dw.world, &options, &reason, &bdev), -EINVAL);
	assert_non_null(strstr(reason.text, "sectors of 4096"));
	device_world_end(&dw);
}

static void a_read_only_device_is_read_only(void **state)
{
	struct file_bdev_options options = {.name = "disk"};
	struct device_world dw;
	struct bdev *bdev;

	if (!device_world_start(&dw, state, 512, true))
		skip();
	options.filename = dw.path;
	assert_int_equal(file_create(&dw.world, &options, NULL, &bdev), 0);
	assert_true(bdev->read_only);
	assert_int_equal(world_unregister(&dw.world, bdev), 0);
	device_world_end(&dw);
}

static void rescan_notices_a_device_that_grew(void **state)
{
	uint8_t buf[512] = {1};
	struct device_world dw;
	struct file_world fw;

	if (!device_world_start(&dw, state, 512, false))
		skip();
	attach(&dw, &fw);
	assert_int_equal(truncate(dw.fixture->path, 2 * SIZE), 0);
	assert_int_equal(ioctl(dw.fd, LOOP_SET_CAPACITY), 0);
	assert_int_equal(world_write(&fw.world, fw.channel, buf, SIZE, 512), -EIO);
	assert_int_equal(file_rescan(&fw.world, fw.bdev, NULL), 0);
	assert_int_equal(bdev_size(fw.bdev), 2 * SIZE);
	assert_int_equal(world_write(&fw.world, fw.channel, buf, SIZE, 512), 0);
	file_world_detach(&fw);
	device_world_end(&dw);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(a_device_holds_what_was_written),
		FIXTURE_TEST(blocks_smaller_than_sectors_are_refused),
		FIXTURE_TEST(a_read_only_device_is_read_only),
		FIXTURE_TEST(rescan_notices_a_device_that_grew),
	};
	int rc = fixture_main(argc, argv);

	if (rc)
		return rc;
	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
