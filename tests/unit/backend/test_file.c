/* SPDX-License-Identifier: BSD-2-Clause */
/* The file device: what it opens, reads and writes, on the simulated host and the real kernel. */
#include "file_world.h"
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE (3 * MIB)

/* ---- opening ------------------------------------------------------------ */

static void expect_refusal(struct world *world, const char *filename, uint32_t block_size,
	int expected, const char *word)
{
	const struct file_bdev_options options = {
		.name = "disk", .filename = filename, .block_size = block_size};
	struct reason reason = {0};
	struct bdev *bdev;

	assert_int_equal(file_create(world, &options, &reason, &bdev), expected);
	if (!strstr(reason.text, word))
		fail_msg("\"%s\" does not say \"%s\"", reason.text, word);
	assert_null(world_find(world, "disk"));
}

static void set_size(struct file_world *fw, uint64_t size)
{
	if (fw->file)
		sim_file_resize(fw->file, size);
	else
		assert_int_equal(truncate(fw->path, (off_t)size), 0);
}

static void what_cannot_be_a_disk_is_refused_with_a_reason(void **state)
{
	struct file_world fw;

	file_world_prepare(&fw, 1, SIZE);
	expect_refusal(&fw.world, "/var/tmp/no/such/file", 512, -ENOENT, "cannot be opened");
	expect_refusal(&fw.world, fw.path, 256, -EINVAL, "power of two");
	expect_refusal(&fw.world, fw.path, 1000, -EINVAL, "power of two");
	expect_refusal(&fw.world, fw.path, 131072, -EINVAL, "power of two");
	set_size(&fw, SIZE + 512);
	expect_refusal(&fw.world, fw.path, 4096, -EINVAL, "multiple");
	set_size(&fw, 0);
	expect_refusal(&fw.world, fw.path, 512, -EINVAL, "empty");
	if (fw.file) {
		sim_device_create(fw.world.host.sim, "/dev/sim4k", SIZE, 4096);
		expect_refusal(&fw.world, "/dev/sim4k", 512, -EINVAL, "4096");
	} else {
		expect_refusal(&fw.world, "/dev/null", 512, -EINVAL, "neither");
		expect_refusal(&fw.world, fw.directory, 512, -EISDIR, "directory");
	}
	file_world_clean(&fw);
}

static void a_taken_name_closes_the_file_again(void **state)
{
	const struct file_bdev_options options = {.name = "disk", .face = FILE_BDEV_URING};
	struct file_bdev_options second = options;
	struct reason reason = {0};
	struct file_world fw;
	struct bdev *bdev;

	file_world_start(&fw, 1, SIZE);
	second.filename = fw.path;
	assert_int_equal(file_create(&fw.world, &second, &reason, &bdev), -EEXIST);
	assert_non_null(strstr(reason.text, "disk"));
	file_world_end(&fw); /* the simulated host counts descriptors */
}

static void a_read_only_file_is_a_read_only_device(void **state)
{
	struct file_bdev_options options = {.name = "ro", .read_only = true};
	struct bdev_channel *channel;
	struct world_user user;
	struct file_world fw;
	struct bdev *bdev;
	uint8_t buf[512];

	file_world_prepare(&fw, 1, SIZE);
	options.filename = fw.path;
	assert_int_equal(file_create(&fw.world, &options, NULL, &bdev), 0);
	assert_true(bdev->read_only);
	assert_false(bdev_supports(bdev, BDEV_IO_WRITE));
	assert_false(bdev_supports(bdev, BDEV_IO_UNMAP));
	world_user_init(&user, "first");
	assert_int_equal(world_open(&fw.world, bdev, &user, NULL), 0);
	assert_int_equal(world_claim(&fw.world, &user, BDEV_CLAIM_SHARED_WRITE, NULL), -EROFS);
	assert_int_equal(world_channel_open(&fw.world, &user, 0, &channel), 0);
	assert_int_equal(world_read(&fw.world, channel, buf, 0, 512), 0);
	assert_int_equal(world_write(&fw.world, channel, buf, 0, 512), -EROFS);
	assert_int_equal(
		world_io(&fw.world, channel, BDEV_IO_WRITE_ZEROES, 0, NULL, 0, 0, 512), -EROFS);
	assert_int_equal(world_io(&fw.world, channel, BDEV_IO_FLUSH, 0, NULL, 0, 0, 0), 0);
	world_channel_close(&fw.world, channel);
	world_close(&fw.world, &user);
	assert_int_equal(world_unregister(&fw.world, bdev), 0);
	file_world_clean(&fw);
}

static void both_faces_describe_themselves(void **state)
{
	struct file_bdev_options options = {
		.name = "u", .face = FILE_BDEV_URING, .block_size = 4096};
	json_t *described, *expected;
	struct file_world fw;
	struct bdev *bdev;

	file_world_start(&fw, 1, SIZE);
	described = fw.bdev->ops->describe(fw.bdev);
	expected = json_pack("{s{ss sb sb sb sb}}", "aio", "filename", fw.path,
		"block_size_override", 1, "readonly", 0, "fallocate", 0, "nowait", 0);
	assert_true(json_equal(described, expected));
	json_decref(described);
	json_decref(expected);
	assert_string_equal(fw.bdev->ops->product_name, "AIO disk");
	assert_true(bdev_is_file(fw.bdev, FILE_BDEV_AIO));
	assert_false(bdev_is_file(fw.bdev, FILE_BDEV_URING));

	options.filename = fw.path;
	assert_int_equal(file_create(&fw.world, &options, NULL, &bdev), 0);
	described = bdev->ops->describe(bdev);
	expected = json_pack("{s{ss}}", "uring", "filename", fw.path);
	assert_true(json_equal(described, expected));
	json_decref(described);
	json_decref(expected);
	assert_true(bdev_is_file(bdev, FILE_BDEV_URING));
	assert_int_equal(world_unregister(&fw.world, bdev), 0);
	file_world_end(&fw);
}

/* ---- reading and writing ------------------------------------------------ */

static const struct {
	uint32_t block_size;
	unsigned memory_align;
	unsigned offset_align; /* 0: buffered */
} geometries[] = {{512, 512, 512}, {512, 4, 512}, {4096, 4096, 4096}, {512, 1, 0}, {512, 512, 4096},
	{65536, 512, 4096}};

static void it_holds_what_was_written_whatever_the_buffers(void **state)
{
	HOST_FOR_EACH_SEED(seed, 12)
	{
		for (size_t i = 0; i < ARRAY_SIZE(geometries); i++) {
			struct file_world fw;
			struct model model;

			file_world_prepare(&fw, seed, SIZE);
			if (fw.file)
				sim_file_set_direct(fw.file, geometries[i].memory_align,
					geometries[i].offset_align);
			file_world_attach(&fw, geometries[i].block_size);
			model_init(&model, &fw.world, fw.channel, 0, SIZE, seed + i);
			model.aligned = seed % 4 == 3;
			model_run(&model, fw.file ? 60 : 300);
			model_check(&model);
			model_fini(&model);
			file_world_end(&fw);
		}
	}
}

static void a_file_system_without_o_direct_serves_as_well(void **state)
{
	struct file_world fw;
	struct model model;

	if (access("/dev/shm", W_OK) != 0)
		skip();
	file_world_prepare_in(&fw, "/dev/shm", 1, SIZE);
	file_world_attach(&fw, 512);
	assert_true(bdev_supports(fw.bdev, BDEV_IO_UNMAP));
	model_init(&model, &fw.world, fw.channel, 0, SIZE, 5);
	model_run(&model, 300);
	model_check(&model);
	model_fini(&model);
	file_world_end(&fw);
}

static void more_buffers_than_the_kernel_takes_are_split(void **state)
{
	HOST_FOR_EACH_SEED(seed, 4)
	{
		enum { COUNT = 2504 };
		static struct iovec iov[COUNT];
		static uint8_t back[COUNT * 512];
		uint8_t *memory = aligned_alloc(4096, COUNT * 512);
		struct file_world fw;

		file_world_start(&fw, seed, SIZE);
		for (unsigned i = 0; i < COUNT; i++) {
			/* In reverse. */
			iov[i].iov_base = memory + (size_t)(COUNT - 1 - i) * 512;
			iov[i].iov_len = 512;
			memset(iov[i].iov_base, (int)(i * 7 + seed), 512);
		}
		assert_int_equal(world_io(&fw.world, fw.channel, BDEV_IO_WRITE, 0, iov, COUNT, 4096,
					 COUNT * 512),
			0);
		assert_int_equal(world_read(&fw.world, fw.channel, back, 4096, sizeof(back)), 0);
		for (unsigned i = 0; i < COUNT; i++)
			assert_memory_equal(back + (size_t)i * 512, iov[i].iov_base, 512);
		free(memory);
		file_world_end(&fw);
	}
}

/* More than the reactor has bounce buffers for: they wait, none fails. */
static void misaligned_requests_wait_for_bounce_memory(void **state)
{
	HOST_FOR_EACH_SEED(seed, 4)
	{
		enum { COUNT = 40, LENGTH = 64 * 1024 };
		static struct world_call calls[COUNT];
		static struct iovec iov[COUNT];
		static uint8_t back[LENGTH];
		uint8_t *memory = aligned_alloc(4096, (size_t)COUNT * (LENGTH + 4096));
		struct file_world fw;

		file_world_start(&fw, seed, SIZE);
		memset(calls, 0, sizeof(calls));
		for (unsigned i = 0; i < COUNT; i++) {
			iov[i].iov_base = memory + (size_t)i * (LENGTH + 4096) + 7;
			iov[i].iov_len = LENGTH;
			memset(iov[i].iov_base, (int)i + 1, LENGTH);
			calls[i].channel = fw.channel;
			calls[i].io = (struct bdev_io){.type = BDEV_IO_WRITE,
				.iov = &iov[i],
				.iovcnt = 1,
				.offset = (uint64_t)i * LENGTH,
				.length = LENGTH};
			world_io_begin(&fw.world, &calls[i]);
		}
		for (unsigned i = 0; i < COUNT; i++)
			assert_int_equal(world_finish(&fw.world, &calls[i]), 0);
		for (unsigned i = 0; i < COUNT; i++) {
			uint64_t offset = (uint64_t)i * LENGTH;

			assert_int_equal(
				world_read(&fw.world, fw.channel, back, offset, LENGTH), 0);
			assert_memory_equal(back, iov[i].iov_base, LENGTH);
		}
		free(memory);
		file_world_end(&fw);
	}
}

static void memory_that_is_gone_fails_its_request_alone(void **state)
{
	uint8_t buf[512] = {1}, *hole;
	struct file_world fw;
	int rc;

	file_world_start(&fw, 1, SIZE);
	hole = mmap(NULL, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(hole != MAP_FAILED);
	assert_int_equal(world_write(&fw.world, fw.channel, hole, 0, 65536), -EFAULT);
	rc = world_read(&fw.world, fw.channel, hole, 0, 65536);
	assert_int_equal(rc, -EFAULT);
	assert_int_equal(world_write(&fw.world, fw.channel, buf, 0, 512), 0);
	munmap(hole, 65536);
	file_world_end(&fw);
}

/* ---- size --------------------------------------------------------------- */

static bool size_is(void *arg)
{
	struct file_world *fw = arg;

	return bdev_size(fw->bdev) == SIZE / 2;
}

static void a_file_that_shrank_gives_errors_and_is_noticed(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		static uint8_t buf[64 * 1024];
		uint64_t across = SIZE / 2 - 4096;
		struct file_world fw;

		file_world_start(&fw, seed, SIZE);
		set_size(&fw, SIZE / 2 + 100);
		memset(buf, 0xee, sizeof(buf));
		assert_int_equal(world_read(&fw.world, fw.channel, buf, across, sizeof(buf)), -EIO);
		assert_true(host_wait(&fw.world.host, size_is, &fw));
		assert_int_equal(world_read(&fw.world, fw.channel, buf, 0, 4096), 0);
		assert_int_equal(world_read(&fw.world, fw.channel, buf, SIZE / 2, 512), -EIO);
		/* A write beyond the end that is known now does not grow it again. */
		assert_int_equal(world_write(&fw.world, fw.channel, buf, SIZE / 2, 512), -EIO);
		assert_int_equal(world_io(&fw.world, fw.channel, BDEV_IO_WRITE_ZEROES, 0, NULL, 0,
					 across, sizeof(buf)),
			-EIO);
		assert_int_equal(atomic_load(&fw.user.resized), 1);
		file_world_end(&fw);
	}
}

static void rescan_notices_growth_and_shrinking(void **state)
{
	uint8_t buf[512] = {1};
	struct file_world fw;

	file_world_start(&fw, 1, SIZE);
	assert_int_equal(file_rescan(&fw.world, fw.bdev, NULL), 0);
	assert_int_equal(atomic_load(&fw.user.resized), 0);
	set_size(&fw, 2 * SIZE);
	assert_int_equal(file_rescan(&fw.world, fw.bdev, NULL), 0);
	assert_int_equal(bdev_size(fw.bdev), 2 * SIZE);
	assert_int_equal(atomic_load(&fw.user.resized), 1);
	assert_int_equal(world_write(&fw.world, fw.channel, buf, 2 * SIZE - 512, 512), 0);
	set_size(&fw, SIZE);
	assert_int_equal(file_rescan(&fw.world, fw.bdev, NULL), 0);
	assert_int_equal(bdev_size(fw.bdev), SIZE);
	assert_int_equal(atomic_load(&fw.user.resized), 2);
	file_world_end(&fw);
}

/* ---- claims ------------------------------------------------------------- */

static void two_devices_over_one_file_exclude_each_other_by_name(void **state)
{
	struct file_bdev_options options = {.name = "other"};
	struct reason reason = {0};
	struct world_user user;
	struct file_world fw;
	struct bdev *bdev;

	file_world_start(&fw, 1, SIZE);
	options.filename = fw.path;
	assert_int_equal(file_create(&fw.world, &options, NULL, &bdev), 0);
	world_user_init(&user, "second");
	assert_int_equal(world_open(&fw.world, bdev, &user, NULL), 0);
	assert_int_equal(world_claim(&fw.world, &user, BDEV_CLAIM_SHARED_WRITE, &reason), -EBUSY);
	assert_non_null(strstr(reason.text, "device disk of this daemon"));
	assert_int_equal(world_release(&fw.world, &fw.user), 0);
	assert_int_equal(world_claim(&fw.world, &user, BDEV_CLAIM_SHARED_WRITE, NULL), 0);
	assert_int_equal(world_release(&fw.world, &user), 0);
	world_close(&fw.world, &user);
	assert_int_equal(world_unregister(&fw.world, bdev), 0);
	file_world_end(&fw);
}

static void another_daemon_is_refused_and_told_who_has_it(void **state)
{
	HOST_FOR_EACH_SEED(seed, 5)
	{
		struct file_bdev_options options = {.name = "disk"};
		struct reason reason = {0};
		struct world_user user;
		struct world other;
		struct file_world fw;
		struct bdev *bdev;

		file_world_start(&fw, seed, SIZE);
		world_start_on(&other,
			fw.file ? sim_process_start(fw.world.host.sim, "other") : fw.world.host.os,
			fw.world.host.sim);
		options.filename = fw.path;
		assert_int_equal(file_create(&other, &options, NULL, &bdev), 0);
		world_user_init(&user, "second");
		assert_int_equal(world_open(&other, bdev, &user, NULL), 0);
		assert_int_equal(
			world_claim(&other, &user, BDEV_CLAIM_SHARED_WRITE, &reason), -EBUSY);
		assert_non_null(strstr(reason.text, fw.path));
		assert_non_null(strstr(reason.text, "process"));
		assert_int_equal(world_release(&fw.world, &fw.user), 0);
		assert_int_equal(world_claim(&other, &user, BDEV_CLAIM_SHARED_WRITE, NULL), 0);
		assert_int_equal(world_release(&other, &user), 0);
		world_close(&other, &user);
		assert_int_equal(world_unregister(&other, bdev), 0);
		world_stop(&other);
		file_world_end(&fw);
	}
}

static void claim_begin(struct world_call *call)
{
	bdev_claim(call->user, call->claim, call->reason, world_done, call);
}

/* The source of a migration lets go while the destination tries. */
static void a_claim_waits_a_moment_for_the_holder_to_let_go(void **state)
{
	HOST_FOR_EACH_SEED(seed, 5)
	{
		struct world_call claim = {.run = claim_begin, .claim = BDEV_CLAIM_SHARED_WRITE};
		struct file_bdev_options options = {.name = "disk"};
		struct world_user user;
		struct world other;
		struct file_world fw;

		file_world_start(&fw, seed, SIZE);
		world_start_on(&other,
			fw.file ? sim_process_start(fw.world.host.sim, "other") : fw.world.host.os,
			fw.world.host.sim);
		options.filename = fw.path;
		assert_int_equal(file_create(&other, &options, NULL, &claim.bdev), 0);
		world_user_init(&user, "second");
		assert_int_equal(world_open(&other, claim.bdev, &user, NULL), 0);
		claim.user = &user.user;
		world_begin(&other, other.control, &claim);
		host_sleep(&fw.world.host, 200 * MSEC_NS);
		assert_false(atomic_load(&claim.ended));
		set_size(&fw, 2 * SIZE); /* the last thing the other did */
		assert_int_equal(world_release(&fw.world, &fw.user), 0);
		assert_int_equal(world_finish(&other, &claim), 0);
		host_sleep(&fw.world.host, 50 * MSEC_NS);
		assert_int_equal(bdev_size(claim.bdev), 2 * SIZE);
		assert_int_equal(world_release(&other, &user), 0);
		world_close(&other, &user);
		assert_int_equal(world_unregister(&other, claim.bdev), 0);
		world_stop(&other);
		file_world_end(&fw);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cannot_be_a_disk_is_refused_with_a_reason),
		cmocka_unit_test(a_taken_name_closes_the_file_again),
		cmocka_unit_test(a_read_only_file_is_a_read_only_device),
		cmocka_unit_test(both_faces_describe_themselves),
		cmocka_unit_test(it_holds_what_was_written_whatever_the_buffers),
		cmocka_unit_test(more_buffers_than_the_kernel_takes_are_split),
		cmocka_unit_test(misaligned_requests_wait_for_bounce_memory),
		cmocka_unit_test(a_file_that_shrank_gives_errors_and_is_noticed),
		cmocka_unit_test(rescan_notices_growth_and_shrinking),
		cmocka_unit_test(two_devices_over_one_file_exclude_each_other_by_name),
		cmocka_unit_test(another_daemon_is_refused_and_told_who_has_it),
		cmocka_unit_test(a_claim_waits_a_moment_for_the_holder_to_let_go),
		/* only the kernel can show these */
		cmocka_unit_test(a_file_system_without_o_direct_serves_as_well),
		cmocka_unit_test(memory_that_is_gone_fails_its_request_alone),
	};

	host_select(argc, argv);
	return _cmocka_run_group_tests(
		"tests", tests, ARRAY_SIZE(tests) - (host_is_simulated() ? 2 : 0), NULL, NULL);
}
